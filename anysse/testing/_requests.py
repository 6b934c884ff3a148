"""What a client sends: bytes → requests, and how one differs from what was expected. No sockets."""

import json as json_module
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, TypeVar, final

import anyio
from anyio.abc import ByteStream

from anysse._events import Headers
from anysse._redact import redact_headers, redact_url

ANY: Final[Any] = ...
"""In the place of what is not looked at."""
_READ_SIZE: Final = 65_536
_SHOWN: Final = 500
_BEFORE: Final = 20
"""Bytes of two bodies that are shown before they begin to differ."""

T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came; its text is Latin-1, so that no byte of it is lost.

    As text, it hides what usually is a secret.
    """

    method: str
    target: str
    """What was asked for: a path, and a query perhaps."""
    http_version: str
    """``"HTTP/1.1"``, or that of 1.0."""
    headers: Headers
    body: bytes
    time: float
    """When it was complete, in seconds on the event loop's clock."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        fields = redact_headers(self.headers.multi_items())
        lines = [f"{self.method} {redact_url(self.target)}", *(f"{name}: {value}" for name, value in fields)]
        return "\n".join([*lines, f"({len(self.body)} bytes)"] if self.body else lines)


class ScriptFailed(AssertionError):
    """A script did not go as it says: what it expected and what came, step by step.

    Attributes:
        request: The request that the script was to answer, or None where none came.
    """

    def __init__(self, message: str, request: Request | None = None) -> None:
        super().__init__(message)
        self.request = request


class RequestReader:
    """Reads one request after another."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._unread = bytearray()
        self._is_within = False  # a head was read, and its body was not

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request came that was not given."""
        return not self._unread and not self._is_within

    async def read(self) -> Request:
        """Wait for all of the next request; what ends the connection, or ended it, is raised by the stream.

        Raises:
            ScriptFailed: What came is no request of HTTP/1.1.
        """
        head = await self._read_head()
        method, target, version, headers, length = _understood(_head, head)
        self._is_within = True
        if headers.get("expect", "").lower() == "100-continue" and version != "HTTP/1.0":
            await self._stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await (self._read_chunks() if length is None else self._read_exactly(length))
        self._is_within = False
        return Request(
            method=method,
            target=target,
            http_version=version,
            headers=headers,
            body=body,
            time=anyio.current_time(),
        )

    async def _read_head(self) -> bytes:
        """Give a head, without the empty lines that may come before it."""
        while not (unread := self._unread.lstrip(b"\r\n")):
            self._unread += await self._stream.receive(_READ_SIZE)
        self._unread = unread
        return await self._read_past(b"\r\n\r\n")

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := _understood(_chunk_size, await self._read_past(b"\r\n")):
            body += await self._read_exactly(size)
            await self._read_past(b"\r\n")
        while await self._read_past(b"\r\n"):
            pass  # a trailer
        return bytes(body)

    async def _read_past(self, mark: bytes) -> bytes:
        while (end := self._unread.find(mark)) < 0:
            self._unread += await self._stream.receive(_READ_SIZE)
        before = bytes(self._unread[:end])
        del self._unread[: end + len(mark)]
        return before

    async def _read_exactly(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._unread += await self._stream.receive(_READ_SIZE)
        taken = bytes(self._unread[:count])
        del self._unread[:count]
        return taken


def asks_to_close(request: Request) -> bool:
    """Whether its connection is not for another one: in HTTP/1.0 it is not unless that is asked for."""
    options = [option.strip() for option in request.headers.get("connection", "").lower().split(",")]
    return "close" in options or (request.http_version == "HTTP/1.0" and "keep-alive" not in options)


def _head(data: bytes) -> tuple[str, str, str, Headers, int | None]:
    """Give method, target, version and headers, and the length of the body, or None of chunks."""
    first, *lines = data.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    if version not in ("HTTP/1.0", "HTTP/1.1") or not all(":" in line for line in lines):
        raise ValueError(first)
    fields = [line.partition(":") for line in lines]
    headers = Headers((name, value.strip(" \t")) for name, _, value in fields)
    is_chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    length = None if is_chunked else _number(headers.get("content-length", "0"), 10)
    return method, target, version, headers, length


def _chunk_size(line: bytes) -> int:
    return _number(line.partition(b";")[0].decode("latin-1").strip(" \t"), 16)


def _number(text: str, base: int) -> int:
    if not (text.isascii() and text.isalnum()):  # int() takes signs, and underscores
        raise ValueError(text)
    return int(text, base)


def _understood(read: Callable[[bytes], T], data: bytes) -> T:
    try:
        return read(data)
    except ValueError as exc:
        raise ScriptFailed(f"expected a request of HTTP/1.1, and not {data[:80]!r}") from exc


def differences(
    request: Request,
    *,
    method: str | None,
    target: str | None,
    header: Mapping[str, str | None],
    body: bytes | str | None,
    json: object,
) -> Iterator[str]:
    """Say of each thing what was expected and what came."""
    if method is not None and request.method != method:
        yield _difference("method", method, request.method)
    if target is not None and request.target != target:
        yield _difference("target", target, request.target)
    for name, value in header.items():
        if request.headers.get(name) != value:
            yield _difference(f"header {name}", value, request.headers.get(name))
    wanted = body.encode() if isinstance(body, str) else body
    if wanted is not None and request.body != wanted:
        start = _where_to_look(wanted, request.body)
        where = f"body, from byte {start} on" if start else "body"
        yield _difference(where, wanted[start:], request.body[start:])
    if json is not ANY and json != (came := _parsed(request.body)):
        yield _difference(*_first_difference("JSON body", json, came))


def _difference(what: str, expected: object, came: object) -> str:
    return f"{what}: expected {_shown(expected)}, got {_shown(came)}"


def _where_to_look(wanted: bytes, came: bytes) -> int:
    """Give 0, or where the first difference of two bodies is if that would not be shown."""
    pairs = enumerate(zip(wanted, came, strict=False))
    first = next((index for index, (one, other) in pairs if one != other), min(len(wanted), len(came)))
    return first - _BEFORE if first > _SHOWN // 2 else 0


def _first_difference(where: str, expected: object, came: object) -> tuple[str, object, object]:
    """Go down to what alone differs: conversations are long."""
    pairs: Iterable[tuple[object, object, object]] = ()
    if isinstance(expected, dict) and isinstance(came, dict):
        pairs = [(key, expected.get(key, ANY), came.get(key, ANY)) for key in {**expected, **came}]
    elif isinstance(expected, list) and isinstance(came, list):
        pairs = [(index, *pair) for index, pair in enumerate(zip_longest(expected, came, fillvalue=ANY))]
    for key, wanted, got in pairs:
        if wanted != got:
            return _first_difference(f"{where}[{key!r}]", wanted, got)
    return where, expected, came


def _shown(value: object) -> str:
    if value is None or value is ANY:
        return "none"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _parsed(body: bytes) -> object:
    try:
        return json_module.loads(body)
    except ValueError:
        return body
