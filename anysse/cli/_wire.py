"""One HTTP/1.1 exchange over a raw socket, as the demo server needs it; it knows nothing of events.

Raw, because a stream of AnyIO's says farewell (FIN) before any reset could be sent.
"""

import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, final
from urllib.parse import parse_qs

import anyio

_MAX_HEAD: Final = 16_384
_MAX_BODY: Final = 1 << 20
_LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class BadRequest(Exception):
    """The request is refused."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request, of which nobody knows yet whether it makes sense."""

    method: str
    target: str
    headers: Mapping[str, str]
    """By lower-case name; of several with one name the last."""
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def parameter(self, name: str) -> str:
        """Give a parameter of the query, or the empty string."""
        return parse_qs(self.target.partition("?")[2]).get(name, [""])[0]


@final
class Peer:
    """A client, for one request. Whatever its socket fails with is an ``OSError``."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a token must not wait for the next one
        self._socket = sock
        self._unread = b""

    async def read_request(self) -> Request:
        """Read the request.

        Raises:
            BadRequest: It is none, or not one for a demo.
            EOFError: The client went away.
        """
        while b"\r\n\r\n" not in self._unread:
            if len(self._unread) > _MAX_HEAD:
                raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            self._unread += await self._receive()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        request = _parsed(head.decode("latin-1"))
        body = await self._read_body(request.headers)
        return Request(method=request.method, target=request.target, headers=request.headers, body=body)

    async def _read_body(self, headers: Mapping[str, str]) -> bytes:
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
            raise BadRequest(HTTPStatus.LENGTH_REQUIRED)
        if len(length) > len(str(_MAX_BODY)) or int(length) > _MAX_BODY:
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if headers.get("expect", "").lower() == "100-continue":
            await self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(self._unread) < int(length):
            self._unread += await self._receive()
        return self._unread[: int(length)]

    async def respond(
        self, status: HTTPStatus, body: str = "", content_type: str = "text/plain", **headers: str
    ) -> None:
        """Send a whole response; an underscore in a header's name stands for a hyphen."""
        content = body.encode()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if status is not HTTPStatus.NO_CONTENT:
            fields |= {"Content-Type": f"{content_type}; charset=utf-8", "Content-Length": str(len(content))}
        await self._send(_head(status, fields) + content)

    async def start_stream(self) -> None:
        """Begin an event stream."""
        fields = {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            "Transfer-Encoding": "chunked",
        }
        await self._send(_head(HTTPStatus.OK, fields))

    async def chunk(self, data: bytes) -> None:
        """Send a piece of the stream."""
        await self._send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """End the stream as it should end."""
        await self._send(b"0\r\n\r\n")

    async def cut(self, data: bytes) -> None:
        """Send half of a piece, and say no more."""
        await self._send(b"%x\r\n%b" % (len(data), data[: len(data) // 2]))

    async def reset(self, data: bytes) -> None:
        """Send half of what the piece has, and have the connection reset when it is closed."""
        await self.chunk(data[: len(data) // 2])
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)

    async def _send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)

    async def _receive(self) -> bytes:
        while True:
            await anyio.wait_readable(self._socket)
            try:
                data = self._socket.recv(65_536)
            except BlockingIOError:  # pragma: no cover - kernels wake up for nothing, but not to order
                continue
            if not data:
                raise EOFError
            return data


def _parsed(head: str) -> Request:
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip(" \t") for name, _, value in fields}
    return Request(method=words[0], target=words[1], headers=headers)


def _head(status: HTTPStatus, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")
