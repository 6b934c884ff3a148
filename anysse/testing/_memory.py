"""Our own transport, with connections in memory in the place of sockets."""

import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias, final

from anysse._connections import Connections
from anysse._transport import StreamingTransport
from anysse._wire import Origin, Wire

from ._lines import MemoryLine

Dial: TypeAlias = Callable[[], Awaitable[MemoryLine]]


class MemoryTransport(StreamingTransport):
    """A transport of httpx and httpx2 that reaches a ``MemoryServer``, whatever the URL says."""

    def __init__(self, dial: Dial) -> None:
        super().__init__()
        self._connections = Connections(
            max_idle=20, expiry=5.0, wire=lambda origin: _MemoryWire(origin, dial)
        )


@final
class _MemoryWire(Wire):
    __slots__ = ("_dial", "_line")

    def __init__(self, origin: Origin, dial: Dial) -> None:
        super().__init__(origin)
        self._dial = dial

    async def _connected(self) -> MemoryLine:
        self._line = await self._dial()
        return self._line

    async def start_tls(self, context: ssl.SSLContext, seconds: float | None) -> None:
        """Take it for done: nobody listens in."""

    def is_quiet(self) -> bool:
        """Whether nothing came, nor the end, that nobody has read."""
        return not self.is_broken and self._line.is_quiet
