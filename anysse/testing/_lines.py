"""One end of a connection, as bytes: over a socket, or in memory. Knows AnyIO, and no HTTP."""

import socket
import struct
import sys
from abc import abstractmethod
from collections import deque
from typing import Final, final

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

_READ_SIZE: Final = 65_536
_CAPACITY: Final = 65_536
"""Bytes on their way in memory, before whoever sends has to wait."""
_LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Line(ByteStream):
    """A stream of bytes that can be hung up at once, without or with a reset."""

    @abstractmethod
    def hang_up(self, *, reset: bool = False) -> None:
        """Close it, in the middle of whatever goes on; any number of times."""

    async def send_eof(self) -> None:
        """Hang up: nothing here ends one way alone."""
        await self.aclose()

    async def aclose(self) -> None:
        """Hang up."""
        self.hang_up()
        await checkpoint()


@final
class SocketLine(Line):
    """A raw socket: a stream of AnyIO's says farewell (FIN) before any reset could be sent."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each piece goes out by itself
        self._socket = sock

    async def send(self, item: bytes) -> None:
        """Send all of it."""
        await checkpoint()
        left = memoryview(item)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError as exc:
                raise self._gone() from exc

    async def receive(self, max_bytes: int = _READ_SIZE) -> bytes:
        """Give what one read brings."""
        await checkpoint()
        while (data := self._read(max_bytes)) is None:
            await anyio.wait_readable(self._socket)
        if not data:
            raise anyio.EndOfStream
        return data

    def _read(self, max_bytes: int) -> bytes | None:
        try:
            return self._socket.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as exc:
            raise self._gone() from exc

    def _gone(self) -> Exception:
        return anyio.ClosedResourceError() if self._socket.fileno() < 0 else anyio.BrokenResourceError()

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the socket, and wake whoever waits for it."""
        if self._socket.fileno() < 0:
            return
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        anyio.notify_closing(self._socket)
        self._socket.close()


class _Pipe:
    """Bytes on their way from one end to the other: what is sent at once, is received at once."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._change = anyio.Event()
        self._is_ended = False
        self._is_reset = False
        self._is_abandoned = False

    @property
    def is_quiet(self) -> bool:
        """Whether nothing came that nobody has received, nor the end."""
        return not self._pieces and not self._is_ended

    async def put(self, data: bytes) -> None:
        await checkpoint()
        while self._size >= _CAPACITY and not (self._is_abandoned or self._is_ended):
            await self._change.wait()
        if self._is_ended:
            raise anyio.ClosedResourceError
        if self._is_abandoned:
            raise anyio.BrokenResourceError from BrokenPipeError("the peer closed the connection")
        if data:
            self._pieces.append(data)
            self._size += len(data)
            self._notify()

    async def get(self, max_bytes: int) -> bytes:
        await checkpoint()
        while not self._pieces:
            if self._is_abandoned:
                raise anyio.ClosedResourceError
            if self._is_reset:
                raise anyio.BrokenResourceError from ConnectionResetError("the peer reset the connection")
            if self._is_ended:
                raise anyio.EndOfStream
            await self._change.wait()
        piece = self._pieces.popleft()
        if len(piece) > max_bytes:
            self._pieces.appendleft(piece[max_bytes:])
        self._size -= min(len(piece), max_bytes)
        self._notify()
        return piece[:max_bytes]

    def end(self, *, reset: bool = False) -> None:
        if not self._is_ended:
            self._is_ended, self._is_reset = True, reset
            self._notify()

    def abandon(self) -> None:
        """Have nobody receive any more."""
        self._is_abandoned = True
        self._pieces.clear()
        self._notify()

    def _notify(self) -> None:
        self._change.set()
        self._change = anyio.Event()


@final
class MemoryLine(Line):
    """One end of a connection without a socket."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def is_quiet(self) -> bool:
        """Whether nothing came that nobody has received, nor the end."""
        return self._incoming.is_quiet

    async def send(self, item: bytes) -> None:
        """Send it, once there is room."""
        await self._outgoing.put(item)

    async def receive(self, max_bytes: int = _READ_SIZE) -> bytes:
        """Give what was sent at once, or the beginning of it."""
        return await self._incoming.get(max_bytes)

    def hang_up(self, *, reset: bool = False) -> None:
        """Close both ways; what was sent can still be received."""
        self._outgoing.end(reset=reset)
        self._incoming.abandon()


def memory_lines() -> tuple[MemoryLine, MemoryLine]:
    """Give both ends of a connection."""
    one, other = _Pipe(), _Pipe()
    return MemoryLine(one, other), MemoryLine(other, one)
