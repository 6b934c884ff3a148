"""Thousands of streams, ended in every way: descriptors, tasks and memory are back where they were."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

import anyio
import pytest

import anysse
from anysse import StreamClient, StreamStatus
from anysse.testing import Connection
from anysse.testing import SocketServer as Server
from tests.server import answer, event_stream, feed, held, serve
from tests.streams import at_full_speed, living_tasks, turns

DEADLINE: Final = 900.0
DESCRIPTORS: Final = Path("/proc/self/fd")
MEMORY: Final = {"asyncio": 60_000, "trio": 600_000}
"""Bytes that may be left however few streams there were: caches fill, and measuring takes some, too.

trio keeps up to a thousand deadlines that are not needed any more, and the scopes that they are of.
"""
MEMORY_OF_EACH: Final = 10
"""Bytes that each may leave: far less than any object, for there may be as many as one likes."""

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not DESCRIPTORS.exists(), reason="the system does not tell of descriptors"),
]

Way: TypeAlias = Callable[[Any], Awaitable[None]]


class Away(Exception):
    """What a consumer raises."""


async def read(open_one: Any, path: str) -> int:
    async with open_one(path) as events:
        return len([event async for event in events])


async def to_the_end(open_one: Any) -> None:
    assert await read(open_one, "/whole") == 2


async def by_break(open_one: Any) -> None:
    async with open_one("/held") as events:
        async for _ in events:
            break


async def by_cancelling(open_one: Any) -> None:
    with anyio.CancelScope() as scope:
        async with open_one("/held") as events:
            async for _ in events:
                scope.cancel()


async def by_cancelling_at_once(open_one: Any) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with open_one("/held"):
            pass


async def by_an_error(open_one: Any) -> None:
    async def fail() -> None:
        async with open_one("/held") as events:
            async for _ in events:
                raise Away

    with pytest.raises(Away):
        await fail()


async def by_closing(open_one: Any) -> None:
    async with open_one("/held") as events:
        async for _ in events:
            await events.aclose()


async def refused(open_one: Any) -> None:
    with pytest.raises(anysse.StatusError):
        await read(open_one, "/missing")


async def cut_off(open_one: Any) -> None:
    with pytest.raises(anysse.StreamDropped):
        await read(open_one, "/cut")


WAYS: Final[tuple[Way, ...]] = (
    to_the_end,
    by_break,
    by_cancelling,
    by_cancelling_at_once,
    by_an_error,
    by_closing,
    refused,
    cut_off,
)


async def cut(connection: Connection) -> None:
    await event_stream(connection, "data: 1\n\ndata: ")
    await connection.drop()


ROUTES: Final = {
    "/whole": feed("id: 1\ndata: 1\n\n", "data: 2\n\n"),
    "/held": held("id: 1\ndata: 1\n\n"),
    "/missing": answer(404, body="no such thing"),
    "/cut": cut,
}


async def handled(client: "StreamClient[Any]") -> None:
    """Send a request with a handler to its end, and end another one by hand."""
    messages: list[object] = []
    request = client.start(path="/whole", on_message=lambda data, event: messages.append(data))
    assert await request.wait() is StreamStatus.COMPLETED
    assert len(messages) == 2
    request = client.start(path="/held")
    await request.wait_for(StreamStatus.CONNECTED)
    request.disconnect()
    assert await request.wait() is StreamStatus.IDLE


@dataclass(frozen=True, kw_only=True)
class Held:
    """What this process holds."""

    descriptors: int
    tasks: int
    memory: int

    @classmethod
    async def when_settled(cls, server: Server, backend: str) -> "Held":
        """Say what is held once the server knows that its clients are gone."""
        await server.until(lambda: not any(each.is_open for each in server.connections))
        server.connections.clear()
        server.requests.clear()
        await turns(10)  # what served them ends
        gc.collect()
        memory, _ = tracemalloc.get_traced_memory()
        return cls(descriptors=len(list(DESCRIPTORS.iterdir())), tasks=living_tasks(backend), memory=memory)


async def by_themselves(library: ModuleType, url: str, count: int) -> None:
    """Open so many streams, each with a client of its own."""

    def open_one(path: str) -> Any:
        return anysse.open_stream(library.Request("GET", url + path), retry=None)

    await at_once([partial(WAYS[number % len(WAYS)], open_one) for number in range(count)])


async def by_a_client(library: ModuleType, url: str, count: int) -> None:
    """Send so many requests, all with one client."""
    async with (
        library.AsyncClient(transport=anysse.StreamingTransport(), timeout=None) as http,
        StreamClient(url, client=http, method="GET", retry=None) as client,
    ):

        def open_one(path: str) -> Any:
            return client.stream(path=path)

        ways = [*(partial(way, open_one) for way in WAYS), partial(handled, client)]
        await at_once([ways[number % len(ways)] for number in range(count)])
        assert client.requests == ()


async def at_once(calls: list[Callable[[], Awaitable[None]]]) -> None:
    """Make all calls, ten at a time."""

    async def work() -> None:
        while calls:
            await calls.pop()()

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(work)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(
    "count", [pytest.param(250, id="some"), pytest.param(5_000, id="many", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("opened", [by_themselves, by_a_client])
@pytest.mark.usefixtures("quiet", "traced")
async def test_streams_that_ended_leave_nothing(
    library: ModuleType,
    anyio_backend_name: str,
    opened: Callable[[ModuleType, str, int], Awaitable[None]],
    count: int,
    record_property: Callable[[str, object], None],
) -> None:
    with anyio.fail_after(DEADLINE), at_full_speed(anyio_backend_name):
        async with serve(routes=ROUTES) as server:
            await opened(library, server.url, max(50, count // 20))  # what is made once, and kept
            before = await Held.when_settled(server, anyio_backend_name)
            await opened(library, server.url, count)
            after = await Held.when_settled(server, anyio_backend_name)
    record_property("before", str(before))
    record_property("after", str(after))
    assert (after.descriptors, after.tasks) == (before.descriptors, before.tasks)
    assert after.memory - before.memory <= MEMORY[anyio_backend_name] + count * MEMORY_OF_EACH, (
        before,
        after,
    )
