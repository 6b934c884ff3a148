"""What tests of behaviours share: a client over either transport, a server within a deadline, the facts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import anyio

import anysse
from anysse._clients import own_client
from anysse.testing import Script
from anysse.testing import SocketServer as Server
from tests import streams
from tests.server import serve

DEADLINE = 30.0  # a shared machine is slow at times
QUICK_LINE = "retry: 100\n"
JSON = "application/json; charset=utf-8"
POST: dict[str, Any] = {"method": "POST", "content": b'{"a": 1}', "headers": {"Content-Type": JSON}}
TRANSPORTS = ("theirs", "ours")


def client_over(transport: str, library: ModuleType) -> Any:
    """Make a client over the library's own transport, or the one that a stream has where none is passed."""
    # verify=False: reading certificates would take longer than most of these tests; ours are read once.
    return (
        library.AsyncClient(trust_env=False, verify=False) if transport == "theirs" else own_client(library)
    )


def kept_connections(client: Any) -> list[Any]:
    """Give the connections that its transport knows of; those in use, ours leaves to whoever has them."""
    transport = client._transport
    if isinstance(transport, anysse.StreamingTransport):
        return list(transport._connections._idle._all)
    return list(transport._pool.connections)


@asynccontextmanager
async def scripted(*scripts: Script, **options: Any) -> AsyncIterator[Server]:
    """Serve within a deadline; what the test opened is over when it ends."""
    with anyio.fail_after(DEADLINE):
        async with serve(*scripts, **options) as server:
            yield server
            await server.all_idle()


async def nothing_more(server: Server, seconds: float = 0.2) -> None:
    """See that no further request comes, for longer than any delay of the test."""
    count = len(server.requests)
    with anyio.move_on_after(seconds):
        await server.requested(count + 1)
    assert len(server.requests) == count


class Recorder(streams.Recorder):
    """Keeps the facts of a stream, and knows its delays."""

    @property
    def delays(self) -> list[float | None]:
        """Give the wait after each end or failure, None for the last."""
        facts = self.of(anysse.Ended | anysse.AttemptFailed)  # type: ignore[arg-type]
        return [fact.retry_in for fact in facts]
