"""A TCP stream on asyncio that is read all the time, up to a bound; knows asyncio and AnyIO, and no HTTP.

AnyIO's own starts and stops reading around each read, which is much of what a small event costs; it may hold
what nobody asked for where nobody sees it; and where a server closes it while idle, it stays open.
"""

import asyncio
from collections.abc import Callable, Iterable
from socket import socket
from typing import Final, cast, final

import anyio
from anyio.abc import SocketStream
from anyio.lowlevel import checkpoint

READ_SIZE: Final = 262_144
"""Bytes that asyncio reads at once, and uvloop."""
HIGH_WATER: Final = 65_536
"""Bytes that may wait for whoever reads before the other side is held back; the last read comes on top."""


async def connect(address: str, port: int) -> "AsyncioStream":
    """Connect to an address: where there is but one, nothing has to race."""
    _, stream = await asyncio.get_running_loop().create_connection(AsyncioStream, address, port)
    return stream


@final
class AsyncioStream(SocketStream, asyncio.Protocol):
    """The stream of a transport whose protocol it is; for one task that reads and one that sends.

    Args:
        chunks: What came before; uvloop reads as soon as it is connected.
        is_over: Whether the end came, too.
    """

    def __init__(self, chunks: Iterable[bytes] = (), *, is_over: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._chunks = list(chunks)  # few, and so smaller and no slower than a deque
        self._size = sum(map(len, self._chunks))
        self._is_paused = False
        self._is_closed = False
        self._is_over = is_over  # nothing more will come
        self._is_lost = False  # the transport is gone: not even closing it is allowed
        self._is_full = False  # what was written is not with the system yet
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None  # what the task that reads waits for
        self._writer: asyncio.Future[None] | None = None  # what the task that sends waits for
        self._take: Callable[[bytes], bool] | None = None  # whom that task wants what comes handed to
        self._failure: Exception | None = None  # of whoever took it

    def take_over(self, transport: asyncio.Transport) -> None:
        """Become the protocol of a transport that is connected, and not being read now."""
        self._transport = transport
        transport.set_protocol(self)
        transport.resume_reading()

    @property
    def _raw_socket(self) -> socket:
        """What AnyIO's attributes of sockets are made of."""
        raw: socket = self._transport.get_extra_info("socket")
        return raw

    @property
    def is_quiet(self) -> bool:
        """Whether nothing came that nobody has taken, nor the end."""
        return not self._chunks and not self._is_over

    async def receive(self, max_bytes: int = READ_SIZE) -> bytes:
        """Give what came; no checkpoint where something is here already, which cannot go on for long."""
        while not self._chunks:
            await self._wait()
        return self._next_chunk(max_bytes)

    async def pour(self, take: Callable[[bytes], bool]) -> None:
        """Hand what comes to ``take`` as it arrives, until that gives False; or return, to be called again.

        It is called where the event loop reads: in no task, and in any context. No task has to be woken
        for each read, nor the loop to go round once more.
        """
        while self._chunks:
            if not take(self._next_chunk()):
                return
        await self._wait(take)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def _wait(self, take: Callable[[bytes], bool] | None = None) -> None:
        """Wait until something came, or the end; or until ``take`` has enough."""
        if self._is_over or self._is_closed:
            raise self._end()
        if self._reader is not None:
            raise anyio.BusyResourceError("reading from")
        self._reader, self._take = self._loop.create_future(), take
        try:
            await self._reader
        finally:
            self._reader = self._take = None

    def _next_chunk(self, max_bytes: int = READ_SIZE) -> bytes:
        chunk = self._chunks.pop(0)
        if len(chunk) > max_bytes:
            self._chunks.insert(0, chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self._size -= len(chunk)
        if self._is_paused and self._size < HIGH_WATER:
            self._is_paused = False
            if not self._is_over:
                self._transport.resume_reading()
        return chunk

    def _end(self) -> Exception:
        if self._is_closed:
            return anyio.ClosedResourceError()
        if self._error is None:
            return anyio.EndOfStream()
        broken = anyio.BrokenResourceError()
        broken.__cause__ = self._error
        return broken

    async def send(self, item: bytes) -> None:
        """Send all of it."""
        await checkpoint()
        if not self._is_closed and not self._transport.is_closing():
            self._transport.write(item)
            await self._drain()
        if self._is_closed:
            raise anyio.ClosedResourceError
        if self._transport.is_closing():
            raise anyio.BrokenResourceError from self._error

    async def _drain(self) -> None:
        while self._is_full and not self._is_lost:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    async def send_eof(self) -> None:
        """Say that no more will be sent."""
        self._transport.write_eof()

    async def aclose(self) -> None:
        """Close it; whoever waits is told."""
        self._is_closed = True
        self._chunks.clear()
        if not self._is_lost:
            self._transport.abort()
        await checkpoint()

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._take is not None and self._reader is not None and not self._reader.done():
            self._pour_now(data, self._take, self._reader)
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size >= HIGH_WATER and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _pour_now(self, data: bytes, take: Callable[[bytes], bool], reader: "asyncio.Future[None]") -> None:
        try:
            is_wanted = take(data)
        except Exception as exc:  # noqa: BLE001 - the task's that wanted it handed on
            self._failure, is_wanted = exc, False
        if not is_wanted:
            self._wake(reader)  # which may have been cancelled by what it took

    def eof_received(self) -> None:
        """The transport closes itself: a server that says no more wants no more."""
        self._is_over = True
        self._wake(self._reader)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = self._is_lost = True
        self._error = exc
        self._wake(self._reader)
        self._wake(self._writer)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._wake(self._writer)

    @staticmethod
    def _wake(waiter: "asyncio.Future[None] | None") -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
