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
_PROTOCOL: Final = b"HTTP/1."
_STATUS_LINE: Final = re.compile(
    rb"(HTTP/1\.[01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r"
).fullmatch
_MOST_LENGTH_DIGITS: Final = 19
_MOST_LENGTH: Final = 2**63 - 1


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
    length = _length_of(lengths[0]) if lengths else 0
    if length is None:
        _refuse("Content-Length is no number")
    return length


def chunk_of(data: bytes) -> bytes:
    """Give a piece of a chunked body; the one of no bytes ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def is_last(headers: RawHeaders) -> bool:
    """Whether a head says that its connection is for no further message (RFC 9112, section 9.6)."""
    options = b",".join(_values(headers, b"connection")).lower().split(b",")
    return b"close" in (option.strip(b" \t") for option in options)


def _refuse(why: str) -> NoReturn:
    raise TransportFailure("LocalProtocolError", why)


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if len(name) == len(wanted) and name.lower() == wanted]


def _length_of(value: bytes) -> int | None:
    is_length = value.isdigit() and len(value) <= _MOST_LENGTH_DIGITS and int(value) <= _MOST_LENGTH
    return int(value) if is_length else None


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
        "_has_head_ended",
        "_has_message_ended",
        "_headers",
        "_is_delimited",
        "_is_of_head",
        "_parser",
        "_pieces",
        "_status_line",
        "_unread",
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
        self._is_delimited = True  # else the end of the connection is that of the body
        self._unread = bytearray()  # of a head that is not complete
        self._status_line: re.Match[bytes] | None = None  # of that head
        self._headers: list[tuple[bytes, bytes]] = []
        self._fields = 0
        self._wasted = 0
        self._has_head_ended = False  # as the parser sees it
        self._has_message_ended = False
        self._pieces: list[bytes] = []
        # A function of C's: for a chunk nothing of Python's runs.
        self.on_body: Callable[[bytes], None] = self._pieces.append
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def check(self) -> None:
        """Raise what is wrong with it, if that is known."""
        if self.failure is not None:
            raise self.failure

    def feed(self, data: bytes) -> bytes:
        """Take what was read, and give what there is of the body in it.

        Raises:
            TransportFailure: It is no response. What came of the body before that was given.
        """
        if self.failure is not None:
            raise self.failure
        rest = data if self.head is not None else self._after_heads(data)
        if self.is_complete:  # What follows is no answer to a request of ours.
            self.is_reusable = self.is_reusable and not rest
        elif rest:
            self._parse(rest)
        pieces = self._pieces
        if not pieces:
            self._waste(len(data))
            return b""
        self._wasted = 0
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return body

    def feed_eof(self) -> bytes:
        """Take the end of the connection, and give nothing.

        Raises:
            TransportFailure: The response was not complete.
        """
        self.check()
        if self.head is None:
            self._fail("the server closed the connection without an answer")
        if self._is_delimited and not self.is_complete:
            self._fail("the server closed the connection in mid body")
        self.is_complete, self.is_reusable = True, False
        return b""

    def release(self) -> None:
        """Let go of what parses, and of what is wrong, which hold on to this: no cycle for the collector."""
        self._parser = self.failure = None

    # --- heads ---

    def _after_heads(self, data: bytes) -> bytes:
        """Take interim heads and the final one, and give what follows."""
        raw = self._unread
        while self.head is None and data:
            seen = len(raw)
            raw += data
            while raw.startswith(b"\r\n"):  # RFC 9112, section 2.2, has it for requests
                del raw[:2]
            if self._status_line is None:
                self._take_status_line(raw)
            found = raw.find(b"\r\n\r\n", max(seen - 3, 0))
            rest = 0 if found < 0 else len(raw) - found - 4
            if len(raw) - rest > MAX_HEAD_SIZE:
                self._fail(f"the head of the response is larger than {MAX_HEAD_SIZE} bytes")
            self._parse(data[: len(data) - rest])
            self.check()
            data = data[len(data) - rest :] if rest else b""
            if found >= 0:
                self._take_head()
        return data

    def _take_status_line(self, raw: bytearray) -> None:
        """Refuse what is no HTTP as soon as that is known; llhttp takes RTSP and ICE, too."""
        end = raw.find(b"\n")
        self._status_line = _STATUS_LINE(bytes(raw[:end])) if end >= 0 else None
        is_begun = _PROTOCOL.startswith(raw[: len(_PROTOCOL)]) or raw == b"\r"
        if not is_begun or (end >= 0 and self._status_line is None):
            self._fail("the server sent what is no HTTP/1.1 (its status line)")
        if self._status_line is not None and self._status_line[2] == b"101":
            self._fail("the server switched protocols, though not asked to")

    def _take_head(self) -> None:
        assert self._status_line is not None  # noqa: S101 - no head ends without
        version, code, reason = self._status_line.groups(b"")
        status = int(code)
        if not self._has_head_ended:  # pragma: no cover - no llhttp that we know sees it elsewhere
            self._fail("the server sent what is no HTTP/1.1 (its head)")
        self._frame(version, status)
        if status >= 200:
            # Without the space around it, of which llhttp leaves the one behind (RFC 9110, section 5.5).
            headers = [(name, value.rstrip(b" \t")) for name, value in self._headers]
            self.head = ResponseHead(version, status, reason, headers)
        self._unread.clear()
        self._status_line, self._headers = None, []
        self._has_head_ended = self._has_message_ended = False

    def _frame(self, version: bytes, status: int) -> None:
        """Find out where the body ends (RFC 9112, section 6.3), beyond what llhttp looks at."""
        codings = _values(self._headers, b"transfer-encoding")
        lengths = _values(self._headers, b"content-length")
        # A tab behind it, and llhttp takes it for another coding.
        if codings and (
            version != b"HTTP/1.1" or [coding.strip(b" ").lower() for coding in codings] != [b"chunked"]
        ):
            self._fail("the response has a Transfer-Encoding other than chunked")
        if len(lengths) + len(codings) > 1:  # pragma: no cover - llhttp refuses that by itself
            self._fail("the response has more than one length")
        if lengths and _length_of(lengths[0].strip(b" \t")) is None:
            self._fail("the response has a Content-Length that is none")
        if status < 200:
            if codings or lengths:
                self._fail("an interim response has a body")
            return
        is_bodyless = self._is_of_head or status in (204, 304)
        self._is_delimited = bool(codings or lengths or is_bodyless)
        self.is_complete = is_bodyless or self._has_message_ended
        is_kept = version == b"HTTP/1.1" and not is_last(self._headers)
        self.is_reusable = is_kept and self._is_delimited

    # --- the body ---

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None  # noqa: S101 - nobody reads what was released
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._parser = None
            if self.is_complete:
                self.is_reusable = False
            elif self.failure is None:
                self.failure = _malformed(f"the server sent what is no HTTP/1.1 ({exc})")

    def _waste(self, count: int) -> None:
        """Count bytes that brought nothing, or raise what is wrong with them."""
        self._wasted += count
        if self.failure is None and not self.is_complete and self._wasted > MAX_HEAD_SIZE:
            self.failure = _malformed(f"the server sent {MAX_HEAD_SIZE} bytes with nothing of a body")
        if self.failure is not None:
            raise self.failure

    # --- what httptools calls; what is raised ends the parsing ---

    def on_message_begin(self) -> None:
        """A response begins."""
        if self.is_complete:
            raise _malformed("the server answered more than it was asked")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer."""
        self._fields += 1
        if self._fields > MAX_HEADER_FIELDS:
            self._fail(f"the response has more than {MAX_HEADER_FIELDS} header fields")
        if self.head is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of a head."""
        self._has_head_ended = True

    def on_message_complete(self) -> None:
        """The end of a response, or of an interim one."""
        self._has_message_ended = True
        self.is_complete = self.head is not None

    def _fail(self, reason: str) -> NoReturn:
        self.failure = _malformed(reason)
        raise self.failure


def _malformed(reason: str) -> TransportFailure:
    return TransportFailure("RemoteProtocolError", reason)
