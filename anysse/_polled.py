"""A TCP stream on trio that is read once the system says that something is there. Knows no HTTP.

AnyIO's own tries first, and asks after that. Between two events of a paced stream nothing is there yet,
and to be told so costs as much as to parse one.
"""

from collections.abc import Callable
from socket import socket
from typing import Final, final

import anyio
import trio
from anyio.abc import SocketAttribute, SocketStream

READ_SIZE: Final = 262_144
"""Bytes of one read, at most."""


@final
class PolledStream(SocketStream):
    """A stream of AnyIO's, but for how it is read; for one task that reads and one that sends."""

    is_quiet: Final = True
    """Whether it holds nothing that nobody has taken: it takes nothing that nobody asked for."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._raw: socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - no Django
        self._is_closed = False

    @property
    def _raw_socket(self) -> socket:
        """What AnyIO's attributes of sockets are made of."""
        return self._raw

    async def receive(self, max_bytes: int = READ_SIZE) -> bytes:
        """Wait until something is there, and give it."""
        chunks: list[bytes] = []

        def take(chunk: bytes) -> bool:
            chunks.append(chunk)
            return False

        await self.pour(take, max_bytes)
        return chunks[0]

    async def pour(self, take: Callable[[bytes], bool], max_bytes: int = READ_SIZE) -> None:
        """Hand on what comes until ``take`` gives False."""
        raw, is_wanted = self._raw, True
        while is_wanted:
            if self._is_closed:
                raise anyio.ClosedResourceError
            try:
                await trio.lowlevel.wait_readable(raw)
                data = raw.recv(max_bytes)
            except BlockingIOError:  # what was there may be gone again (select(2))
                continue
            except trio.BusyResourceError:
                raise anyio.BusyResourceError("reading from") from None
            except trio.ClosedResourceError:
                raise anyio.ClosedResourceError from None
            except OSError as exc:
                raise anyio.BrokenResourceError from exc
            if not data:
                raise anyio.EndOfStream
            is_wanted = take(data)

    async def send(self, item: bytes) -> None:
        """Send all of it."""
        await self._stream.send(item)

    async def send_eof(self) -> None:
        """Say that no more will be sent."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close it; whoever waits is told."""
        self._is_closed = True
        await self._stream.aclose()
