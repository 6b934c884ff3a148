"""Responses of HTTP/1.1 as bytes, each with what must become of it; it knows nothing of anysse.

The shapes are those that llhttp's and h11's tests know of, and what RFC 9110 and RFC 9112 forbid beside them.
Wherever two recipients might disagree on where a message ends, it is refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Final, TypeAlias, final

Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A response that is accepted, and what it says."""

    name: str
    data: bytes
    """All of it, and nothing of what comes after it."""
    status: int = 200
    headers: Fields = ()
    """Names as they came; trailers and interim responses have no share in it."""
    body: bytes = b""
    is_reusable: bool | None = True
    """Whether the connection may carry another request; None where it does no harm either way."""
    until_close: bool = False
    """Whether the end of the connection is the end of the body."""
    method: str = "GET"
    surplus: bytes = b""
    """What comes after it in the same breath."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A response that is refused."""

    name: str
    data: bytes
    only_at_the_end: bool = False
    """Whether only the end of the connection shows that it is bad: until then it may be good yet."""
    method: str = "GET"
    body: bytes = b""
    """What may be given of a body, at most, before it is refused."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Endless:
    """A response that goes on, and is refused before it has taken much memory."""

    name: str
    start: bytes
    unit: bytes

    def pieces(self, size: int = 4096) -> Iterator[bytes]:
        yield self.start
        yield from repeat(self.unit * (size // len(self.unit) + 1))


STATUS_LINE: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = (b"Transfer-Encoding", b"chunked")
LAST_CHUNK: Final = b"0\r\n\r\n"


def head(*fields: tuple[bytes, bytes], status_line: bytes = STATUS_LINE) -> bytes:
    return status_line + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"


def length(value: bytes | int) -> tuple[bytes, bytes]:
    return b"Content-Length", value if isinstance(value, bytes) else b"%d" % value


def shown(data: bytes) -> str:
    """Give bytes as a part of a name."""
    text = repr(data)[2:-1]
    return text if len(text) <= 40 else f"{text[:18]}…{text[-18:]} ({len(data)} bytes)"


# What is accepted.


def _sized(
    name: str, body: bytes = b"hello", *fields: tuple[bytes, bytes], reusable: bool | None = True
) -> Good:
    """Give a response with a length, and with header fields of its own."""
    headers = (*fields, length(len(body)))
    return Good(name=name, data=head(*headers) + body, headers=headers, body=body, is_reusable=reusable)


def _chunks(name: str, chunks: bytes, body: bytes = b"hello") -> Good:
    return Good(name=name, data=head(CHUNKED) + chunks, headers=(CHUNKED,), body=body)


def _status_line(name: str, line: bytes, status: int = 200, *, reusable: bool = True) -> Good:
    data = head(length(5), status_line=line) + b"hello"
    return Good(
        name=name, data=data, status=status, headers=(length(5),), body=b"hello", is_reusable=reusable
    )


def _value(name: str, raw: bytes, value: bytes) -> Good:
    """Give a response with one header value, as it is on the wire and as it is read."""
    data = STATUS_LINE + b"X:" + raw + b"\r\nContent-Length: 5\r\n\r\nhello"
    return Good(name=name, data=data, headers=((b"X", value), length(5)), body=b"hello")


def _connection(value: bytes, *, reusable: bool) -> Good:
    verb = "leaves the connection open" if reusable else "ends the connection"
    return _sized(f"`Connection: {shown(value)}` {verb}", b"hello", (b"Connection", value), reusable=reusable)


def _http_1_0(name: str, *fields: tuple[bytes, bytes], reusable: bool) -> Good:
    headers = (length(5), *fields)
    data = head(*headers, status_line=b"HTTP/1.0 200 OK\r\n") + b"hello"
    return Good(name=name, data=data, headers=headers, body=b"hello", is_reusable=reusable)


def _after_interim(name: str, interim: bytes) -> Good:
    return Good(name=name, data=interim + head(length(5)) + b"hello", headers=(length(5),), body=b"hello")


def _bodyless(
    name: str,
    status: int,
    *fields: tuple[bytes, bytes],
    method: str = "GET",
    surplus: bytes = b"",
    reusable: bool | None = True,
) -> Good:
    return Good(
        name=name,
        data=head(*fields, status_line=b"HTTP/1.1 %d Whatever\r\n" % status),
        status=status,
        headers=fields,
        method=method,
        surplus=surplus,
        is_reusable=reusable,
    )


def _until_close(name: str, data: bytes, headers: Fields, body: bytes, status: int = 200) -> Good:
    return Good(
        name=name,
        data=data,
        status=status,
        headers=headers,
        body=body,
        is_reusable=False,
        until_close=True,
    )


_LINK: Final = (b"Link", b"</style.css>; rel=preload")
_CLOSE: Final = (b"Connection", b"close")
_KEEP_ALIVE: Final = (b"Connection", b"keep-alive")
_EVERY_TCHAR: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EVERY_VALUE_BYTE: Final = bytes(range(0x21, 0x7F)) + b" \t " + bytes(range(0x80, 0x100))

_GOOD_STATUS_LINES: Final = (
    _status_line("no reason phrase, but the space before it", b"HTTP/1.1 200 \r\n"),
    _status_line("no reason phrase, and no space before it", b"HTTP/1.1 200\r\n"),
    _status_line("two spaces before the reason phrase", b"HTTP/1.1 200  OK\r\n"),
    _status_line("a tab in the reason phrase", b"HTTP/1.1 200 all\tright\r\n"),
    _status_line("a reason phrase in Latin-1", b"HTTP/1.1 200 Orientati\xebprobleem\r\n"),
    _status_line("a reason phrase in UTF-8", "HTTP/1.1 200 好\r\n".encode()),
    _status_line("a reason phrase that looks like a header", b"HTTP/1.1 200 Content-Length: 3\r\n"),
    _status_line("a status nobody has heard of", b"HTTP/1.1 299 Odd\r\n", 299),
    _status_line("the largest status that is in a class", b"HTTP/1.1 599 Odd\r\n", 599),
    _status_line("a CRLF before the status line", b"\r\nHTTP/1.1 200 OK\r\n"),
)
_GOOD_HEADERS: Final = (
    _value("an empty header value", b"", b""),
    _value("a header value of nothing but white space", b" \t \t ", b""),
    _value("no space after the colon", b"x", b"x"),
    _value("white space around a header value", b"\t  x \t", b"x"),
    _value("white space within a header value", b" a \t b ", b"a \t b"),
    _value("a colon in a header value", b" :a:", b":a:"),
    _value("a header value in Latin-1", b" caf\xe9", b"caf\xe9"),
    _value("every byte that a header value may have", b" " + _EVERY_VALUE_BYTE, _EVERY_VALUE_BYTE),
    _value("a long header value", b" " + b"v" * 8000, b"v" * 8000),
    _sized("every byte that a header name may have", b"hello", (_EVERY_TCHAR, b"x")),
    _sized("a header twice", b"hello", (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")),
    _sized("an empty header before another", b"hello", (b"Pragma", b""), (b"Location", b"/x")),
    _sized("sixty headers", b"hello", *((b"X-%d" % number, b"x") for number in range(60))),
    _sized("a header that begins like Content-Length", b"hello", (b"Content-Length-X", b"0")),
    _sized("a header that begins like Transfer-Encoding", b"hello", (b"Transfer-Encoding-X", b"chunked")),
    _sized(
        "an underscore where Transfer-Encoding has a hyphen", b"hello", (b"Transfer_Encoding", b"chunked")
    ),
    _sized("an underscore where Content-Length has a hyphen", b"hello", (b"Content_Length", b"3")),
    _sized("a header that ends like Content-Length", b"hello", (b"X-Content-Length", b"3")),
    _sized("a header that is called TE", b"hello", (b"TE", b"gzip, trailers")),
    _sized("an offer to upgrade, not taken", b"hello", (b"Connection", b"upgrade"), (b"Upgrade", b"h2c")),
    _sized("a Trailer header without chunks", b"hello", (b"Trailer", b"X")),
)
_GOOD_LENGTHS: Final = (
    _sized("a length of nothing", b""),
    _sized("a body of a CRLF", b"\r\n"),
    _sized("a body that looks like a last chunk", LAST_CHUNK),
    _sized("a body that looks like a response", head(length(3)) + b"abc"),
    _sized("a body of every byte", bytes(range(256))),
    Good(
        name="a length with zeros before it",
        data=head(length(b"005")) + b"hello",
        headers=(length(b"005"),),
        body=b"hello",
    ),
    Good(
        name="white space around a length",
        data=STATUS_LINE + b"Content-Length:\t 5  \r\n\r\nhello",
        headers=(length(5),),
        body=b"hello",
    ),
    Good(
        name="a length whose name is written oddly",
        data=head((b"conTENT-lenGTH", b"5")) + b"hello",
        headers=((b"conTENT-lenGTH", b"5"),),
        body=b"hello",
    ),
)
_GOOD_CHUNKS: Final = (
    _chunks("no chunk but the last", LAST_CHUNK, b""),
    _chunks("one chunk", b"5\r\nhello\r\n" + LAST_CHUNK),
    _chunks("a chunk for each byte", b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n" + LAST_CHUNK),
    _chunks("a chunk size with zeros before it", b"00005\r\nhello\r\n" + LAST_CHUNK),
    _chunks("a last chunk of many zeros", b"5\r\nhello\r\n00000\r\n\r\n"),
    _chunks("a chunk size in small letters", b"a\r\n0123456789\r\n" + LAST_CHUNK, b"0123456789"),
    _chunks("a chunk size in capitals", b"A\r\n0123456789\r\n" + LAST_CHUNK, b"0123456789"),
    _chunks("a chunk size in mixed case", b"aA\r\n" + b"x" * 0xAA + b"\r\n" + LAST_CHUNK, b"x" * 0xAA),
    _chunks("a chunk of a CRLF", b"2\r\n\r\n\r\n" + LAST_CHUNK, b"\r\n"),
    _chunks("a chunk that looks like a last chunk", b"5\r\n0\r\n\r\n\r\n" + LAST_CHUNK, LAST_CHUNK),
    _chunks("a chunk extension", b"5;a\r\nhello\r\n" + LAST_CHUNK),
    _chunks("a chunk extension with a value", b"5;a=b\r\nhello\r\n" + LAST_CHUNK),
    _chunks("several chunk extensions", b"5;a;b=c;d=e;f\r\nhello\r\n" + LAST_CHUNK),
    _chunks("a quoted chunk extension", b'5;a="b; c"\r\nhello\r\n' + LAST_CHUNK),
    _chunks("quoted pairs in a chunk extension", b'5;a="\\"b\\" \\\\";c\r\nhello\r\n' + LAST_CHUNK),
    _chunks("an extension on the last chunk", b"5\r\nhello\r\n0;a=b\r\n\r\n"),
    *(
        _chunks(f"the harmless extension {shown(extension)}", b"5%b\r\nhello\r\n" % extension + LAST_CHUNK)
        for extension in (b";;a", b";=b", b";a=", b";a=;b")
    ),
    _chunks("a trailer", b"5\r\nhello\r\n0\r\nX-Sum: abc\r\n\r\n"),
    _chunks("several trailers", b"5\r\nhello\r\n0\r\nA: 1\r\nB:\r\nC: 3\r\n\r\n"),
    _chunks("a trailer that is no header of the response", b"5\r\nhello\r\n0\r\nLocation: /evil\r\n\r\n"),
    _chunks("a trailer that speaks of an encoding", b"5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n"),
    _chunks("a trailer that closes", b"5\r\nhello\r\n0\r\nConnection: close\r\n\r\n"),
    _chunks("a trailer after no chunks", b"0\r\nX: y\r\n\r\n", b""),
    Good(
        name="chunked in capitals",
        data=head((b"TRANSFER-ENCODING", b"CHUNKED")) + b"5\r\nhello\r\n" + LAST_CHUNK,
        headers=((b"TRANSFER-ENCODING", b"CHUNKED"),),
        body=b"hello",
    ),
    Good(
        name="white space around chunked",
        data=STATUS_LINE + b"Transfer-Encoding:\t chunked  \r\n\r\n5\r\nhello\r\n" + LAST_CHUNK,
        headers=(CHUNKED,),
        body=b"hello",
    ),
    Good(
        name="chunks on a connection that closes",
        data=head(CHUNKED, _CLOSE) + b"5\r\nhello\r\n" + LAST_CHUNK,
        headers=(CHUNKED, _CLOSE),
        body=b"hello",
        is_reusable=False,
    ),
)
_GOOD_CONNECTIONS: Final = (
    _connection(b"close", reusable=False),
    _connection(b"Close", reusable=False),
    _connection(b"CLOSE", reusable=False),
    _connection(b"keep-alive, close", reusable=False),
    _connection(b"close, keep-alive", reusable=False),
    _connection(b"keep-alive,close", reusable=False),
    _connection(b"foo ,\tclose ,", reusable=False),
    _connection(b"upgrade, close", reusable=False),
    _connection(b"keep-alive", reusable=True),
    _connection(b"Keep-Alive, Upgrade", reusable=True),
    _connection(b"closed", reusable=True),
    _connection(b"x-close", reusable=True),
    _connection(b"", reusable=True),
    _sized("close in a second Connection header", b"hello", _KEEP_ALIVE, _CLOSE, reusable=False),
    _sized("close in a first Connection header", b"hello", _CLOSE, _KEEP_ALIVE, reusable=False),
    _sized("close in a Proxy-Connection header", b"hello", (b"Proxy-Connection", b"close"), reusable=None),
    _http_1_0("HTTP/1.0 with a length", reusable=False),
    _http_1_0("HTTP/1.0 with a length that closes", _CLOSE, reusable=False),
    _http_1_0("HTTP/1.0 that keeps the connection, and closes it", _KEEP_ALIVE, _CLOSE, reusable=False),
)
_GOOD_INTERIM: Final = (
    _after_interim("100 first", b"HTTP/1.1 100 Continue\r\n\r\n"),
    _after_interim("100 without a reason phrase first", b"HTTP/1.1 100\r\n\r\n"),
    _after_interim("100 with headers first", head(_LINK, status_line=b"HTTP/1.1 100 Continue\r\n")),
    _after_interim("102 first", b"HTTP/1.1 102 Processing\r\n\r\n"),
    _after_interim("103 first", head(_LINK, status_line=b"HTTP/1.1 103 Early Hints\r\n")),
    _after_interim("104 first", b"HTTP/1.1 104 Upload Resumption Supported\r\n\r\n"),
    _after_interim("199 first", b"HTTP/1.1 199 Odd\r\n\r\n"),
    _after_interim("103 three times first", head(_LINK, status_line=b"HTTP/1.1 103 Early Hints\r\n") * 3),
    _after_interim("100, 102 and 103 first", b"".join(b"HTTP/1.1 %d \r\n\r\n" % n for n in (100, 102, 103))),
    Good(
        name="100 first, then a refusal",
        data=b"HTTP/1.1 100 Continue\r\n\r\n" + head(length(2), status_line=b"HTTP/1.1 404 No\r\n") + b"no",
        status=404,
        headers=(length(2),),
        body=b"no",
    ),
    Good(
        name="100 first, then chunks",
        data=b"HTTP/1.1 100 Continue\r\n\r\n" + head(CHUNKED) + b"5\r\nhello\r\n" + LAST_CHUNK,
        headers=(CHUNKED,),
        body=b"hello",
    ),
    Good(
        name="100 first, then no content",
        data=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        status=204,
    ),
)
_GOOD_BODYLESS: Final = (
    _bodyless("204", 204),
    _bodyless("204 with a length of nothing", 204, length(0)),
    _bodyless("204 with a length", 204, length(5)),
    _bodyless("304", 304),
    _bodyless("304 with a length", 304, length(10)),
    _bodyless("304 with chunks that never come", 304, CHUNKED, reusable=None),
    _bodyless("HEAD", 200, method="HEAD", reusable=None),
    _bodyless("HEAD with a length", 200, length(5), method="HEAD"),
    _bodyless("HEAD with a length of nothing", 200, length(0), method="HEAD"),
    _bodyless("HEAD with the largest length", 200, length(2**63 - 1), method="HEAD"),
    _bodyless("HEAD with chunks that never come", 200, CHUNKED, method="HEAD", reusable=None),
    *(
        _bodyless(
            f"HEAD with {shown(part)} of a chunk after it",
            200,
            CHUNKED,
            method="HEAD",
            surplus=part,
            reusable=False,
        )
        for part in (b"5", b"5\r\n", b"5\r\nhel", b"5\r\nhello\r\n0\r\n\r\n")
    ),
    _bodyless("204 with a CRLF after it", 204, surplus=b"\r\n", reusable=None),
    _bodyless("204 with half a CRLF after it", 204, surplus=b"\r", reusable=None),
    _bodyless("HEAD of something that is not there", 404, length(9), method="HEAD"),
    _bodyless("205 with a length of nothing", 205, length(0)),
)
_GOOD_UNTIL_CLOSE: Final = (
    _until_close("neither length nor chunks", head() + b"hello", (), b"hello"),
    _until_close("neither length nor chunks, and no body", head(), (), b""),
    _until_close("no length on a connection that closes", head(_CLOSE) + b"hello", (_CLOSE,), b"hello"),
    _until_close(
        "no length on one that says it stays", head(_KEEP_ALIVE) + b"hello", (_KEEP_ALIVE,), b"hello"
    ),
    _until_close(
        "a body that looks like chunks", head() + b"5\r\nhello\r\n0\r\n\r\n", (), b"5\r\nhello\r\n0\r\n\r\n"
    ),
    _until_close("a body that looks like another response", head() + head(length(0)), (), head(length(0))),
    _until_close(
        "HTTP/1.0 without a length", head(status_line=b"HTTP/1.0 200 OK\r\n") + b"hello", (), b"hello"
    ),
    _until_close(
        "HTTP/1.0 without a length that says it stays",
        head(_KEEP_ALIVE, status_line=b"HTTP/1.0 200 OK\r\n") + b"hello",
        (_KEEP_ALIVE,),
        b"hello",
    ),
    _until_close("404 without headers", head(status_line=b"HTTP/1.1 404 Not Found\r\n"), (), b"", 404),
    _until_close(
        "an underscore where the only Transfer-Encoding has a hyphen",
        head((b"Transfer_Encoding", b"chunked")) + b"0\r\n\r\n",
        ((b"Transfer_Encoding", b"chunked"),),
        b"0\r\n\r\n",
    ),
)
_SECOND: Final = head(length(4)) + b"evil"
_GOOD_WITH_SURPLUS: Final = tuple(
    Good(
        name=f"{name}, and {shown(surplus)} after it",
        data=data,
        status=status,
        headers=headers,
        body=body,
        method=method,
        is_reusable=False,
        surplus=surplus,
    )
    for surplus in (b"x", b"HTTP/1.1 200 OK\r\nContent-Le", _SECOND, b"\x00\xff\n\r")
    for name, data, status, headers, body, method in (
        ("a body with a length", head(length(5)) + b"hello", 200, (length(5),), b"hello", "GET"),
        ("a body in chunks", head(CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n", 200, (CHUNKED,), b"hello", "GET"),
        (
            "a body that ends the connection",
            head(length(5), _CLOSE) + b"hello",
            200,
            (length(5), _CLOSE),
            b"hello",
            "GET",
        ),
        ("no body", head(length(0)), 200, (length(0),), b"", "GET"),
        ("204", head(status_line=b"HTTP/1.1 204 No\r\n"), 204, (), b"", "GET"),
        (
            "304 with a length",
            head(length(5), status_line=b"HTTP/1.1 304 No\r\n"),
            304,
            (length(5),),
            b"",
            "GET",
        ),
        ("HEAD with a length", head(length(5)), 200, (length(5),), b"", "HEAD"),
        ("HEAD without one", head(), 200, (), b"", "HEAD"),
    )
)

GOOD: Final[tuple[Good, ...]] = (
    *_GOOD_STATUS_LINES,
    *_GOOD_HEADERS,
    *_GOOD_LENGTHS,
    *_GOOD_CHUNKS,
    *_GOOD_CONNECTIONS,
    *_GOOD_INTERIM,
    *_GOOD_BODYLESS,
    *_GOOD_UNTIL_CLOSE,
    *_GOOD_WITH_SURPLUS,
)


# What is refused.


def _bad(name: str, data: bytes, *, method: str = "GET", body: bytes = b"") -> Bad:
    return Bad(name=name, data=data, method=method, body=body)


def _bad_starts() -> Iterator[Bad]:
    """Give what no status line is."""
    rest = b"Content-Length: 5\r\n\r\nhello"
    for line in (
        b"HTTP/0.9 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/3.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.9 200 OK",
        b"HTTP/5.6 200 OK",
        b"HTTP/01.1 200 OK",
        b"HTTP/11.1 200 OK",
        b"HTTP/1.01 200 OK",
        b"HTTP/1.10 200 OK",
        b"HTTP/1 200 OK",
        b"HTTP/1. 200 OK",
        b"HTTP/.1 200 OK",
        b"HTTP/1,1 200 OK",
        b"HTTP/1.x 200 OK",
        b"HTTP/-1.1 200 OK",
        b"HTTP/+1.1 200 OK",
        b"HTTP/1.1.1 200 OK",
        b"HTTP/ 1.1 200 OK",
        b"HTTP /1.1 200 OK",
        b"HTTP1.1 200 OK",
        b"HTTP//1.1 200 OK",
        b"http/1.1 200 OK",
        b"Http/1.1 200 OK",
        b"HTP/1.1 200 OK",
        b"HTTPS/1.1 200 OK",
        b"HTTPER/1.1 200 OK",
        b"XHTTP/1.1 200 OK",
        b"RTSP/1.0 200 OK",
        b"RTSP/1.1 200 OK",
        b"ICE/1.0 200 OK",
        b"ICE/1.1 200 OK",
        b"ICY 200 OK",
        b"GET / HTTP/1.1",
        b"200 OK",
        b"HTTP/1.1 OK",
        b"HTTP/1.1 OK 200",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1200 OK",
        b"HTTP/1.1 2 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 0200 OK",
        b"HTTP/1.1 000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 -200 OK",
        b"HTTP/1.1 +200 OK",
        b"HTTP/1.1 2x0 OK",
        b"HTTP/1.1 20O OK",
        b"HTTP/1.1 0xC8 OK",
        b"HTTP/1.1 2.0 OK",
        b"HTTP/1.1 200.1 OK",
        b"HTTP/1.1 \xb2\xb0\xb0 OK",
        "HTTP/1.1 \N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT ZERO}0 OK".encode(),
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 200-OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 200\x00OK",
        b"HTTP/1.1 200\x0bOK",
        b" HTTP/1.1 200 OK",
        b"\tHTTP/1.1 200 OK",
        b"\nHTTP/1.1 200 OK",
        b"\rHTTP/1.1 200 OK",
        b"\r\r\nHTTP/1.1 200 OK",
        b"\r\n HTTP/1.1 200 OK",
        b"\x00HTTP/1.1 200 OK",
        b"x\r\nHTTP/1.1 200 OK",
        b"\xef\xbb\xbfHTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r",
        b"HTTP/1.1 200 OK\r\r",
    ):
        yield _bad(f"a first line {shown(line)}", line + b"\r\n" + rest)
    yield _bad("a status line that ends with LF", b"HTTP/1.1 200 OK\n" + rest)
    yield _bad("a status line without a reason that ends with LF", b"HTTP/1.1 200\n" + rest)
    yield _bad("a status line that ends with CR", b"HTTP/1.1 200 OK\r" + rest)
    yield _bad("a status line without a reason that ends with CR", b"HTTP/1.1 200\r" + rest)
    yield _bad("a status line that ends with LF CR", b"HTTP/1.1 200 OK\n\r" + rest)
    yield _bad("a page without a head", b"<!doctype html>\r\n<p>Not found</p>\r\n")
    yield _bad("a greeting of SMTP", b"220 mail.example.com ESMTP\r\n")
    yield _bad("an identification of SSH", b"SSH-2.0-OpenSSH_9.6\r\n")
    yield _bad("an alert of TLS", b"\x15\x03\x01\x00\x02\x02\x50")
    yield _bad("settings of HTTP/2", b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64")
    yield _bad("an event stream without a head", b"data: hello\n\n")
    for byte in (*range(9), *range(0x0B, 0x0D), *range(0x0E, 0x20), 0x7F):
        yield _bad(
            f"{bytes([byte])!r} in the reason phrase", b"HTTP/1.1 200 O" + bytes([byte]) + b"K\r\n" + rest
        )


def _bad_headers() -> Iterator[Bad]:
    """Give heads with a line that is no header field."""
    rest = b"Content-Length: 5\r\n\r\nhello"
    for line in (
        b"X : y",
        b"X\t: y",
        b"X \t : y",
        b" X: y",
        b"\tX: y",
        b": y",
        b" : y",
        b":",
        b"X",
        b"X y",
        b"X y: z",
        b"X=y",
        b"X\r: y",
        b"X\n: y",
        b"X\r\n : y",
        b"X: y\r\n z",
        b"X: y\r\n\tz",
        b"X: y\r\n ",
        b"X:\r\n y",
        b"X: y\r\n : z",
        b"X: y\nZ: z",
        b"X: y\rZ: z",
        b"X:\nZ: z",
        b"X:\rZ: z",
        b"X: y\r\rZ: z",
        b"X: y\n\rZ: z",
        b"X: y\n",
        b"X: y\r",
        b"X: y\r\n\rZ: z",
        b"X: y\r\n\nZ: z",
        b"X: y\r\n\r\r\n",
        b"Content\rLength: 3",
        b"Content-Length : 5",
        b"Content-Length\t: 5",
        b"Content-Length\x00: 5",
        b"Content-Length: 5\n",
        b"Content-Length: 5\r",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b"Transfer-Encoding: chunked\r\n abc",
        b"Transfer-Encoding: chunked\nX: y",
        b"Transfer-Encoding\r\n : chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X:\rTransfer-Encoding: chunked",
        b" Content-Length: 3",
        b"Content-Length:\r\n 3",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200: OK",
    ):
        yield _bad(f"a header line {shown(line)}", STATUS_LINE + line + b"\r\n" + rest)
        yield _bad(
            f"a header line {shown(line)} after another", STATUS_LINE + b"A: b\r\n" + line + b"\r\n" + rest
        )
    for end in (b"\n", b"\n\n", b"\n\r\n", b"\r\n\n", b"\r\n\r", b"\r\r\n", b"\r\r", b"\r\n\rx"):
        data = STATUS_LINE + b"Content-Length: 5" + end + b"hello"
        yield _bad(f"a head that ends with {shown(end)}", data)
    yield _bad("nothing but LF", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")
    yield _bad("nothing but LF, and no length", b"HTTP/1.1 200 OK\nX: y\n\nhello")
    yield _bad("nothing but CR", b"HTTP/1.1 200 OK\rContent-Length: 5\r\rhello")
    for byte in range(256):
        character = bytes([byte])
        if character not in _EVERY_TCHAR and character != b":":
            data = STATUS_LINE + b"X" + character + b"Y: z\r\n" + rest
            yield _bad(f"{character!r} in a header name", data)
    for byte in (*range(9), *range(0x0A, 0x20), 0x7F):
        data = STATUS_LINE + b"X: y" + bytes([byte]) + b"z\r\n" + rest
        yield _bad(f"{bytes([byte])!r} in a header value", data)


_BAD_LENGTHS: Final = (
    b"",
    b" ",
    b"-1",
    b"-5",
    b"-0",
    b"+5",
    b"0x5",
    b"5h",
    b"a",
    b"5, 5",
    b"5,5",
    b"5,",
    b",5",
    b"5 5",
    b"5\t5",
    b"5;5",
    b"5.0",
    b"5e0",
    b"1_0",
    b'"5"',
    b"'5'",
    b"5\x0b",
    b"\x0b5",
    b"5\x0c",
    b"5\x00",
    b"\x005",
    b"\xb2",
    b"5\xa0",
    "\N{ARABIC-INDIC DIGIT FIVE}".encode(),
    "\N{FULLWIDTH DIGIT FIVE}".encode(),
    b"5\r\n 5",
    b"chunked",
    b"%d" % 2**63,
    b"%d" % (2**64 - 1),
    b"%d" % 2**64,
    b"%d" % (2**64 + 5),
    b"%d" % (2**128 + 5),
    b"1" * 5000,
    b"0" * 5000 + b"5",
)


def _bad_lengths() -> Iterator[Bad]:
    """Give heads with a length that is none, or that is not the only one."""
    for value in _BAD_LENGTHS:
        yield _bad(f"a length of {shown(value)}", head(length(value)) + b"hello")
        yield _bad(f"HEAD with a length of {shown(value)}", head(length(value)), method="HEAD")
    for first, second in (("5", "5"), ("5", "6"), ("6", "5"), ("0", "5"), ("5", "0"), ("5", ""), ("5", "05")):
        fields = (length(first.encode()), length(second.encode()))
        yield _bad(f"a length of {first!r} and one of {second!r}", head(*fields) + b"hello!")
        yield _bad(
            f"a length of {first!r}, and later one of {second!r}",
            head(fields[0], (b"X", b"y"), fields[1]) + b"hello!",
        )
    yield _bad(
        "two lengths in different case", head((b"content-length", b"5"), (b"CONTENT-LENGTH", b"5")) + b"hello"
    )
    chunks = b"5\r\nhello\r\n" + LAST_CHUNK
    for size in (0, 5, len(chunks)):
        yield _bad(f"a length of {size} before chunked", head(length(size), CHUNKED) + chunks)
        yield _bad(f"a length of {size} after chunked", head(CHUNKED, length(size)) + chunks)
        yield _bad(
            f"a length of {size}, and later chunked", head(length(size), (b"X", b"y"), CHUNKED) + chunks
        )
        yield _bad(
            f"chunked, and later a length of {size}", head(CHUNKED, (b"X", b"y"), length(size)) + chunks
        )
    for value in (b"identity", b"", b"gzip"):
        encoding = (b"Transfer-Encoding", value)
        yield _bad(f"a length before the encoding {shown(value)}", head(length(5), encoding) + b"hello")
        yield _bad(f"a length after the encoding {shown(value)}", head(encoding, length(5)) + b"hello")
    yield _bad("HEAD with a length and chunked", head(length(5), CHUNKED), method="HEAD")
    yield _bad("HEAD with two lengths", head(length(5), length(6)), method="HEAD")
    for status in (204, 304):
        line = b"HTTP/1.1 %d No\r\n" % status
        yield _bad(f"{status} with a length and chunked", head(length(5), CHUNKED, status_line=line))
        yield _bad(f"{status} with two lengths", head(length(5), length(6), status_line=line))
        yield _bad(f"{status} with a negative length", head(length(-1), status_line=line))


_BAD_ENCODINGS: Final = (
    b"",
    b" ",
    b",",
    b"gzip",
    b"identity",
    b"trailers",
    b"pigeons",
    b"gzip, chunked",
    b"gzip,chunked",
    b"identity, chunked",
    b"chunked, chunked",
    b"chunked,chunked",
    b"chunked, gzip",
    b"chunked, identity",
    b"chunked,",
    b",chunked",
    b", chunked",
    b"chunked;",
    b"chunked;a=b",
    b"chunked ;a",
    b"chunked chunked",
    b"chunked gzip",
    b"chunkedchunked",
    b"xchunked",
    b"x chunked",
    b"chunkedx",
    b"chunked x",
    b"chunke",
    b"hunked",
    b"chun ked",
    b"chun\tked",
    b"chunk\x00ed",
    b"\x00chunked",
    b"chunked\x00",
    b"chunked\t",
    b"chunked \t",
    b"\x0bchunked",
    b"chunked\x0b",
    b"\x0cchunked",
    b"chunked\x0c",
    b"chunked\x85",
    b"\xa0chunked",
    b"chunked\xa0",
    b'"chunked"',
    b"'chunked'",
    b"chunked\r\n chunked",
    b"\r\n chunked",
    "chun\N{KELVIN SIGN}ed".encode(),
    "\N{FULLWIDTH LATIN SMALL LETTER C}hunked".encode(),
)


def _bad_encodings() -> Iterator[Bad]:
    """Give heads with a transfer coding that is not chunked alone."""
    chunks = b"5\r\nhello\r\n" + LAST_CHUNK
    for value in _BAD_ENCODINGS:
        yield _bad(f"the encoding {shown(value)}", head((b"Transfer-Encoding", value)) + chunks)
    for first, second in (
        (b"chunked", b"chunked"),
        (b"gzip", b"chunked"),
        (b"chunked", b"gzip"),
        (b"identity", b"chunked"),
        (b"chunked", b"identity"),
        (b"chunked", b""),
        (b"", b"chunked"),
        (b"", b""),
    ):
        fields = ((b"Transfer-Encoding", first), (b"Transfer-Encoding", second))
        yield _bad(f"the encodings {shown(first)!r} and {shown(second)!r}", head(*fields) + chunks)
        fields = (fields[0], (b"X", b"y"), fields[1])
        yield _bad(f"the encodings {shown(first)!r} and later {shown(second)!r}", head(*fields) + chunks)
    line = b"HTTP/1.0 200 OK\r\n"
    yield _bad("chunks on HTTP/1.0", head(CHUNKED, status_line=line) + chunks)
    yield _bad("chunks on HTTP/1.0 that stays", head(_KEEP_ALIVE, CHUNKED, status_line=line) + chunks)
    yield _bad(
        "HEAD with an encoding that is not chunked", head((b"Transfer-Encoding", b"gzip")), method="HEAD"
    )


_BAD_CHUNKS: Final = (
    # No size, or one that is none.
    b"\r\nhello\r\n",
    b";a\r\nhello\r\n",
    b"-1\r\nhello\r\n",
    b"-5\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"0X5\r\nhello\r\n",
    b"x5\r\nhello\r\n",
    b"g\r\nhello\r\n",
    b"5g\r\nhello\r\n",
    b"5h\r\nhello\r\n",
    b"5.\r\nhello\r\n",
    b"5,\r\nhello\r\n",
    b"5:\r\nhello\r\n",
    b"5=\r\nhello\r\n",
    b"5_\r\nhello\r\n",
    b'"5"\r\nhello\r\n',
    b"5\x00\r\nhello\r\n",
    b"\x005\r\nhello\r\n",
    b"5\x0b\r\nhello\r\n",
    b"5\x0c\r\nhello\r\n",
    b"5\xa0\r\nhello\r\n",
    b"\xb2\r\nhello\r\n",
    b"\xef\xbc\x95\r\nhello\r\n",
    b" 5\r\nhello\r\n",
    b"\t5\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b"5\t\r\nhello\r\n",
    b"5  \r\nhello\r\n",
    b"5 5\r\nhello\r\n",
    b"5 a\r\nhello\r\n",
    b"\r\n5\r\nhello\r\n",
    b"1" + b"0" * 16 + b"\r\nhello\r\n",
    b"1" + b"0" * 15 + b"5;a\r\nhello\r\n",
    b"f" * 17 + b"\r\nhello\r\n",
    b"9" * 100 + b"\r\nhello\r\n",
    # The line of the size ends with something else than CRLF.
    b"5\nhello\r\n",
    b"5\rhello\r\n",
    b"5\r\rhello\r\n",
    b"5\r\r\nhello\r\n",
    b"5\n\rhello\r\n",
    b"5\n\r\nhello\r\n",
    b"5\r;a\r\nhello\r\n",
    b"5\r\r;a\r\nhello\r\n",
    b"5 \n\r\nhello\r\n",
    b"3 \n  \r\nfoo\r\n",
    # Extensions.
    b"5;\nhello\r\n",
    b"5;\rhello\r\n",
    b"5;a\nhello\r\n",
    b"5;a\rhello\r\n",
    b"5;a\r\rhello\r\n",
    b"5;a\r\r\nhello\r\n",
    b"5;a\n\r\nhello\r\n",
    b"5;a\nb\r\nhello\r\n",
    b"5;a\rb\r\nhello\r\n",
    b"5;a=\nhello\r\n",
    b"5;a=b\nhello\r\n",
    b"5;a=b\rhello\r\n",
    b"5;a=b\nc\r\nhello\r\n",
    b"5;a=b\rc\r\nhello\r\n",
    b'5;a="b\nc"\r\nhello\r\n',
    b'5;a="b\rc"\r\nhello\r\n',
    b'5;a="b\r\nc"\r\nhello\r\n',
    b'5;a="b"\nhello\r\n',
    b'5;a="b"\rhello\r\n',
    b'5;a="b\\\nc"\r\nhello\r\n',
    b'5;a="b\\\r\nhello\r\n',
    b'5;a="b\r\nhello\r\n',
    b'5;a="b;c\r\nhello\r\n',
    b'5;a="b"c\r\nhello\r\n',
    b'5;"a"\r\nhello\r\n',
    b"5;a\x00\r\nhello\r\n",
    b"5;a=\x00\r\nhello\r\n",
    b"5;a=b\x00\r\nhello\r\n",
    b'5;a="\x00"\r\nhello\r\n',
    b'5;a="\\\x00"\r\nhello\r\n',
    b"5;a\x01\r\nhello\r\n",
    b"5;a\x7f\r\nhello\r\n",
    b"5;a=\x7f\r\nhello\r\n",
    b"5;a\xff\r\nhello\r\n",
    b"5;a=\xff\r\nhello\r\n",
    b"5;a=b c\r\nhello\r\n",
    b"5;a b\r\nhello\r\n",
    b"5;a=b=c\r\nhello\r\n",
    b"5;a,b\r\nhello\r\n",
    b"5;\r\nhello\r\n",
    b"5;;\r\nhello\r\n",
    b"5;a;\r\nhello\r\n",
    b"5;a=b;\r\nhello\r\n",
    # What follows the data is something else than CRLF.
    b"5\r\nhello\n",
    b"5\r\nhello\r",
    b"5\r\nhello",
    b"5\r\nhello\n\r\n",
    b"5\r\nhello\r\r\n",
    b"5\r\nhello\n\n",
    b"5\r\nhello  \r\n",
    b"5\r\nhello!\r\n",
    b"5\r\nhello__",
    b"5\r\nhello\r_",
    b"5\r\nhello_\n",
    b"4\r\nhello\r\n",
    b"5\r\nhello\r\n\r\n",
    b"5\r\nhello\r\n\n",
    b"5\r\nhello\r\n\r",
)
_BAD_ENDS: Final = (
    b"0\n\n",
    b"0\n\r\n",
    b"0\r\r\n",
    b"0\r\n\n",
    b"0\r\n\rX",
    b"0\r\n\r\r\n",
    b"0;\n\r\n",
    b"0;a\n\r\n",
    b"0 \r\n\r\n",
    b"0\t\r\n\r\n",
    b"0 a\r\n\r\n",
    b"00x\r\n\r\n",
    b"-0\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\n X: y\r\n\r\n",
    b"0\r\nX: y\r\n z\r\n\r\n",
    b"0\r\nX: y\nZ: z\r\n\r\n",
    b"0\r\nX: y\rZ: z\r\n\r\n",
    b"0\r\nX: y\n\r\n",
    b"0\r\nX: y\r\n\n",
    b"0\r\nX: \x00\r\n\r\n",
    b"0\r\nX\x00: y\r\n\r\n",
    b"0\r\n: y\r\n\r\n",
    b"0\r\nX\r\n\r\n",
    b"0\r\nhello\r\n\r\n",
    b"0\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
)


def _bad_chunks() -> Iterator[Bad]:
    """Give bodies whose chunks cannot be told apart with certainty."""
    for chunk in _BAD_CHUNKS:
        rest = chunk + b"6\r\n world\r\n" + LAST_CHUNK
        body = b"hello" if chunk.startswith((b"4\r\n", b"5\r\n")) else b""
        yield _bad(f"a chunk {shown(chunk)}", head(CHUNKED) + rest, body=body)
        before = head(CHUNKED) + b"6\r\nhello \r\n"
        yield _bad(f"a second chunk {shown(chunk)}", before + rest, body=b"hello " + body)
    for end in _BAD_ENDS:
        yield _bad(f"the end {shown(end)}", head(CHUNKED) + end)
        yield _bad(
            f"the end {shown(end)} after a chunk", head(CHUNKED) + b"5\r\nhello\r\n" + end, body=b"hello"
        )


def _bad_interim() -> Iterator[Bad]:
    """Give interim responses that are none, and switches of the protocol that nobody asked for."""
    final_response = head(length(5)) + b"hello"
    upgrade = ((b"Connection", b"upgrade"), (b"Upgrade", b"h2c"))
    line = b"HTTP/1.1 101 Switching Protocols\r\n"
    yield _bad("101", head(status_line=line) + final_response)
    yield _bad("101 to another protocol", head(*upgrade, status_line=line) + b"proto")
    yield _bad("101 with a length", head(*upgrade, length(5), status_line=line) + b"hello")
    yield _bad("101 with chunks", head(*upgrade, CHUNKED, status_line=line) + b"5\r\nhello\r\n" + LAST_CHUNK)
    yield _bad("101 after 100", b"HTTP/1.1 100 Continue\r\n\r\n" + head(*upgrade, status_line=line))
    yield _bad("101 for HEAD", head(*upgrade, status_line=line), method="HEAD")
    for status in (100, 102, 103, 104, 199):
        line = b"HTTP/1.1 %d Odd\r\n" % status
        yield _bad(f"{status} with a body", head(status_line=line) + b"hello\r\n" + final_response)
        yield _bad(
            f"{status} with a length and a body",
            head(length(5), status_line=line) + b"hello" + final_response,
        )
        chunks = head(CHUNKED, status_line=line) + b"5\r\nhello\r\n" + LAST_CHUNK
        yield _bad(f"{status} with chunks", chunks + final_response)
        yield _bad(
            f"{status} with an odd encoding",
            head((b"Transfer-Encoding", b"x"), status_line=line) + final_response,
        )
        yield _bad(
            f"{status} with two lengths", head(length(0), length(0), status_line=line) + final_response
        )
        yield _bad(f"{status} with LF alone", b"HTTP/1.1 %d\n\n" % status + final_response)
        yield _bad(f"{status}, then a bad version", head(status_line=line) + b"HTTP/2.0 200 OK\r\n\r\n")
        yield _bad(f"{status}, then LF", head(status_line=line) + b"\n" + final_response)
        yield _bad(f"{status}, then another protocol", head(status_line=line) + b"RTSP/1.1 200 OK\r\n\r\n")
        yield _bad(f"{status}, then a page", head(status_line=line) + b"<!doctype html>\r\n\r\n")


def _cut() -> Iterator[Bad]:
    """Give good responses whose connection ends too early, and lengths that nothing can fill."""
    for name, data in (
        ("nothing", b""),
        ("a CRLF", b"\r\n"),
        ("half a status line", b"HTTP/1.1 20"),
        ("a status line", STATUS_LINE),
        ("half a head", STATUS_LINE + b"Content-Length: 5\r\n"),
        ("a head without its last LF", STATUS_LINE + b"Content-Length: 5\r\n\r"),
        ("an interim response", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("two interim responses", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"),
        ("a head with a length", head(length(5))),
        ("less than its length", head(length(5)) + b"hell"),
        ("less than the largest length", head(length(2**63 - 1)) + b"hello"),
        ("a head with chunks", head(CHUNKED)),
        ("half a chunk", head(CHUNKED) + b"5\r\nhel"),
        ("a chunk without its CRLF", head(CHUNKED) + b"5\r\nhello"),
        ("a chunk", head(CHUNKED) + b"5\r\nhello\r\n"),
        ("a last chunk without its last CRLF", head(CHUNKED) + b"5\r\nhello\r\n0\r\n"),
        ("a trailer without its last CRLF", head(CHUNKED) + b"5\r\nhello\r\n0\r\nX: y\r\n"),
    ):
        yield Bad(name=f"{name}, then the end", data=data, body=b"hello", only_at_the_end=True)
    rest = b"hello\r\n" + LAST_CHUNK
    for size in (b"10", b"7fffffffffffffff", b"8000000000000000", b"ffffffffffffffff"):
        data = head(CHUNKED) + size + b"\r\n" + rest
        yield Bad(name=f"a chunk of {shown(size)} that is cut", data=data, body=rest, only_at_the_end=True)


def _unique(cases: Iterable[Bad]) -> tuple[Bad, ...]:
    by_name = {case.name: case for case in cases}
    return tuple(by_name.values())


BAD: Final[tuple[Bad, ...]] = _unique(
    (
        *_bad_starts(),
        *_bad_headers(),
        *_bad_lengths(),
        *_bad_encodings(),
        *_bad_chunks(),
        *_bad_interim(),
        *_cut(),
    )
)


# What has no end.

ENDLESS: Final[tuple[Endless, ...]] = (
    Endless(name="empty lines before the status line", start=b"\r\n", unit=b"\r\n"),
    Endless(name="a version without an end", start=b"HTTP/1.", unit=b"1"),
    Endless(name="a status without an end", start=b"HTTP/1.1 ", unit=b"0"),
    Endless(name="a reason phrase without an end", start=b"HTTP/1.1 200 ", unit=b"O"),
    Endless(name="a header name without an end", start=STATUS_LINE, unit=b"X"),
    Endless(name="a header value without an end", start=STATUS_LINE + b"X: ", unit=b"y"),
    Endless(name="white space before a header value", start=STATUS_LINE + b"X:", unit=b" "),
    Endless(name="headers without an end", start=STATUS_LINE, unit=b"X: y\r\n"),
    Endless(name="empty headers without an end", start=STATUS_LINE, unit=b"X:\r\n"),
    Endless(name="a length without an end", start=STATUS_LINE + b"Content-Length: ", unit=b"0"),
    Endless(name="an encoding without an end", start=STATUS_LINE + b"Transfer-Encoding: ", unit=b"chunked, "),
    Endless(name="interim responses without an end", start=b"", unit=b"HTTP/1.1 100 Continue\r\n\r\n"),
    Endless(name="early hints without an end", start=b"", unit=head(_LINK, status_line=b"HTTP/1.1 103 \r\n")),
    Endless(name="zeros before a chunk size", start=head(CHUNKED), unit=b"0"),
    Endless(name="a chunk extension without an end", start=head(CHUNKED) + b"5;", unit=b"a"),
    Endless(name="a value of an extension without an end", start=head(CHUNKED) + b"5;a=", unit=b"b"),
    Endless(name="a quoted value without an end", start=head(CHUNKED) + b'5;a="', unit=b"b"),
    Endless(name="chunk extensions without an end", start=head(CHUNKED) + b"5", unit=b";a=b"),
    Endless(name="an extension of the last chunk without an end", start=head(CHUNKED) + b"0;", unit=b"a"),
    Endless(name="trailers without an end", start=head(CHUNKED) + b"0\r\n", unit=b"X: y\r\n"),
    Endless(name="a trailer's name without an end", start=head(CHUNKED) + b"0\r\n", unit=b"X"),
    Endless(name="a trailer's value without an end", start=head(CHUNKED) + b"0\r\nX: ", unit=b"y"),
)
