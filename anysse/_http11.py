"""HTTP/1.1 as bytes (RFC 9112): the head of a request out, a response in. No I/O, no clock; httptools parses.

httptools is llhttp, the parser of Node. What it is too lenient about for a client that uses a connection
again is refused here: how a body is framed has to be beyond doubt.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple, NoReturn, TypeAlias

import httptools

MAX_HEAD_SIZE: Final = 65_536
"""Bytes in a row that may bring nothing of a body: of a head, of trailers, of chunk extensions."""
MAX_HEADER_FIELDS: Final = 256
"""How many header fields a response may have, with those of interim responses and trailers."""

FailureKind: TypeAlias = Literal[
    "ConnectError",
    "ConnectTimeout",
    "LocalProtocolError",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
]
"""The names that httpx, and httpx2, have for what may go wrong below them."""

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

# RFC 9110, sections 5.6.2 and 5.5; a target is what RFC 9112, section 3, can hold without white space.
_IS_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_IS_VALUE: Final = re.compile(
    rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
).fullmatch
_IS_TARGET: Final = re.compile(rb"[\x21-\x7e\x80-\xff]+").fullmatch
_MOST_LENGTH_DIGITS: Final = 18


class TransportFailure(Exception):
    """What a transport could not do; whoever dresses it for a library raises that library's own."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Final = kind
        self.is_unanswered = False
        """Whether the connection ended before the server answered with as much as a byte."""


# --- a request ---


def request_head(method: bytes, target: bytes, headers: RawHeaders) -> bytes:
    """Give the bytes of a request's head.

    Raises:
        TransportFailure: Something in it would not be read as what it is.
    """
    if not _IS_TOKEN(method):
        _refuse("the method is no token")
    if not _IS_TARGET(target):
        _refuse("the target has white space or control characters")
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    for name, value in headers:
        if not _IS_TOKEN(name):
            _refuse("the name of a header is no token")
        if not _IS_VALUE(value):
            _refuse(f"the value of {name.decode()} has control characters, or space around it")
        lines.append(b"%b: %b" % (name, value))
    if len(_values(headers, b"host")) != 1:
        _refuse("a request has one Host")
    return b"\r\n".join([*lines, b"", b""])


def request_body_length(headers: RawHeaders) -> int | None:
    """Give how many bytes a request's head announces; None where it comes in chunks.

    Raises:
        TransportFailure: The head leaves that in doubt.
    """
    codings, lengths = _values(headers, b"transfer-encoding"), _values(headers, b"content-length")
    if len(codings) + len(lengths) > 1:
        _refuse("a request has one Content-Length, or is chunked")
    if codings:
        if codings[0].lower() != b"chunked":
            _refuse("Transfer-Encoding can only be chunked")
        return None
    length = lengths[0] if lengths else b"0"
    if not length.isdigit() or len(length) > _MOST_LENGTH_DIGITS:
        _refuse("Content-Length is no number")
    return int(length)


def chunk_of(data: bytes) -> bytes:
    """Give a piece of a chunked body; the one of no bytes ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _refuse(why: str) -> NoReturn:
    raise TransportFailure("LocalProtocolError", why)


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if len(name) == len(wanted) and name.lower() == wanted]


# --- a response ---


class ResponseHead(NamedTuple):
    """Status line and header fields, as they came; in the order in which httpcore has them."""

    version: bytes
    status_code: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]


class ResponseParser:
    """Take the bytes of one response, cut anywhere.

    Args:
        method: That of the request: what answers a HEAD has no body, whatever its head says.
    """

    __slots__ = (
        "_fields",
        "_headers",
        "_is_bodyless",
        "_is_delimited",
        "_is_of_head",
        "_parser",
        "_pieces",
        "_reason",
        "_start",
        "_wasted",
        "failure",
        "head",
        "is_complete",
        "is_reusable",
        "on_body",
    )

    def __init__(self, method: bytes) -> None:
        self.head: ResponseHead | None = None
        """The head of the final response, once it is complete; interim ones are read over."""
        self.is_complete = False
        """Whether all of the response has come."""
        self.is_reusable = False
        """Once it is complete: whether the connection may carry another request."""
        self.failure: TransportFailure | None = None
        """What is wrong with it; whoever feeds it is told once nothing of the body is left to give."""
        self._is_of_head = method == b"HEAD"
        self._is_bodyless = False
        self._is_delimited = True  # else the end of the connection is that of the body
        self._start: bytes | None = b""  # of the status line; None once that is known to be HTTP's
        self._headers: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._fields = 0
        self._wasted = 0
        self._pieces: list[bytes] = []
        # A function of C's: for a chunk nothing of Python's runs.
        self.on_body: Callable[[bytes], None] = self._pieces.append
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bytes:
        """Take what was read, and give what there is of the body in it.

        Raises:
            TransportFailure: It is no response. What came of the body before that was given.
        """
        if self._parser is not None:
            if self._start is not None:
                self._check_start(data)
            self._parse(self._parser, data)
        pieces = self._pieces
        if not pieces:
            self._waste(len(data))
            return b""
        self._wasted = 0
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return body

    def feed_eof(self) -> None:
        """Take the end of the connection.

        Raises:
            TransportFailure: The response was not complete.
        """
        if self.failure is not None:
            raise self.failure
        if self.head is None:
            raise _malformed("the server closed the connection without an answer")
        if self._is_delimited and not self.is_complete:
            raise _malformed("the server closed the connection in mid body")
        self.is_complete, self.is_reusable = True, False

    def release(self) -> None:
        """Let go of what parses, which holds on to this: a cycle less for the garbage collector."""
        self._parser = None

    def _parse(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self.release()
            self.is_reusable = False  # what follows a complete response is of no request of ours
            if not self.is_complete and self.failure is None:
                self.failure = _malformed(f"the server sent what is no HTTP/1.1 ({exc})")
        if self._is_bodyless:
            self._have_no_body()

    def _have_no_body(self) -> None:
        """A HEAD's answer, a 204 and a 304 have none, though a parser may believe their length."""
        self.is_reusable = self.is_reusable and not self._pieces
        self._pieces.clear()

    def _waste(self, count: int) -> None:
        """Count bytes that brought nothing, or raise what is wrong with them."""
        self._wasted += count
        if self.failure is None and not self.is_complete and self._wasted > MAX_HEAD_SIZE:
            self.failure = _malformed(f"the server sent {MAX_HEAD_SIZE} bytes with nothing of a body")
        if self.failure is not None:
            self.release()
            raise self.failure

    def _check_start(self, data: bytes) -> None:
        """Refuse the other protocols that llhttp takes."""
        start = ((self._start or b"") + data).lstrip(b"\r\n")[:5]
        self._start = start if len(start) < 5 else None
        if not b"HTTP/".startswith(start):
            self.failure = _malformed("the server sent what is no HTTP/1.1")
            raise self.failure

    # --- what httptools calls ---

    def on_message_begin(self) -> None:
        """A response begins; what is raised ends the parsing."""
        if self.is_complete:
            raise _malformed("the server answered more than it was asked")

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer."""
        self._fields += 1
        if self._fields > MAX_HEADER_FIELDS:
            self._fail(f"the response has more than {MAX_HEADER_FIELDS} header fields")
        if self.head is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of a head."""
        assert self._parser is not None  # noqa: S101 - it is what calls
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if status == 101 or not 100 <= status <= 999:
            self._fail(f"the server answered with the status {status:03}, though not asked to")
        if version not in ("1.1", "1.0"):
            self._fail(f"the server answered in HTTP/{version}")
        if status < 200:
            self._headers, self._reason = [], b""
            return
        self._frame(status, version)
        self.is_reusable = self._parser.should_keep_alive()
        self.head = ResponseHead(b"HTTP/" + version.encode(), status, self._reason, self._headers)
        self.is_complete = self._is_bodyless

    def on_message_complete(self) -> None:
        """The end of a response, or of an interim one."""
        if self.head is not None:
            self.is_complete = True

    def _frame(self, status: int, version: str) -> None:
        """Find out where the body ends (RFC 9112, section 6.3), beyond what llhttp looks at."""
        codings = _values(self._headers, b"transfer-encoding")
        lengths = _values(self._headers, b"content-length")
        if codings and (version == "1.0" or b",".join(codings).lower() != b"chunked"):
            self._fail("the response has a Transfer-Encoding other than chunked")
        if len(lengths) + len(codings) > 1:
            self._fail("the response has more than one length")
        self._is_bodyless = self._is_of_head or status in (204, 304)
        self._is_delimited = bool(codings or lengths or self._is_bodyless)

    def _fail(self, reason: str) -> NoReturn:
        self.failure = _malformed(reason)
        raise self.failure


def _malformed(reason: str) -> TransportFailure:
    return TransportFailure("RemoteProtocolError", reason)
