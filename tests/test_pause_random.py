"""Streams that are hidden, shown, dropped, refused, paused and resumed at random: every id comes once."""

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx
import pytest

import anysse
from anysse import Visibility
from anysse.testing import Connection, Server, serve, serve_in_memory
from tests.streams import in_virtual_time

IN_MEMORY = 1000
"""Stories in virtual time, over our own transport."""
ON_SOCKETS = 5
"""And over TCP, on each event loop."""
LAST = 40
"""The last event of each stream."""
ACTS = 25
"""What befalls a story, from each of two tasks at once."""

Story = tuple[random.Random, "Feeds", "list[anysse.EventStream]", Visibility]


class Feeds:
    """A server of numbered events, one feed for each path, which goes on after the last event ID."""

    def __init__(self, draw: random.Random, longest: float) -> None:
        self._draw = draw
        self._longest = longest
        self._refusals = 0
        self.server: Server
        self.connections: dict[str, list[Connection]] = {}
        self.most = 0
        """How many connections a stream had at once, at most."""

    async def answer(self, connection: Connection) -> None:
        mine = self.connections.setdefault(connection.request.target, [])
        mine[:] = [other for other in mine if other.is_open and not other.closed_by_peer.is_set()]
        if connection not in mine:
            mine.append(connection)
        self.most = max(self.most, len(mine))
        if self._refusals:
            self._refusals -= 1
            await connection.respond(503, body="not now")
            mine.remove(connection)  # it is kept for another request
            return
        number = int(connection.request.headers.get("Last-Event-ID", "0"))
        while number < LAST:
            await connection.wait(self._draw.choice([0, 0, self._draw.random() * self._longest]))
            number += 1
            await connection.send(f"retry: 100\nid: {number}\ndata: {number}\n\n")
        await connection.hang()

    async def drop(self) -> None:
        for mine in self.connections.values():
            for connection in mine:
                connection.hang_up(reset=self._draw.random() < 0.5)

    async def refuse(self) -> None:
        """Say no for a while: in an answer, or by having nobody connect."""
        if self._draw.random() < 0.5:
            self._refusals += self._draw.randrange(1, 3)
            await self.drop()
            return
        await self.drop()
        self.server.refuse_for(self._draw.random() * self._longest)


async def befall(story: Story, longest: float) -> None:
    """Have all happen, in any order and at any time."""
    draw, feeds, streams, visibility = story

    def said(act: Callable[[], object]) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            act()

        return do

    for _ in range(ACTS):
        stream = draw.choice(streams)
        mode: Any = draw.choice([None, None, "close", "hold"])
        act = draw.choice(
            [
                *(said(visibility.hide), said(visibility.show), feeds.drop, feeds.refuse),
                *(said(lambda s=stream, m=mode: s.pause(m)), said(stream.resume)),  # type: ignore[misc]
                said(stream.reconnect_now),
            ]
        )
        await act()
        if draw.random() < 0.7:
            await anyio.sleep(draw.choice([0, 0, draw.random() * longest]))


async def read(events: "anysse.EventStream", draw: random.Random, longest: float) -> None:
    ids = []
    while len(ids) < LAST:
        ids.append(int((await events.receive()).id))
        if draw.random() < 0.2:
            await anyio.sleep(draw.random() * longest)
    assert ids == list(range(1, LAST + 1))


async def tell(seed: int, serving: Any, longest: float) -> None:
    draw = random.Random(seed)
    feeds, visibility = Feeds(draw, longest), Visibility()
    async with AsyncExitStack() as stack:
        server = feeds.server = await stack.enter_async_context(serving(then=feeds.answer))
        is_in_memory = serving is serve_in_memory
        transport = server.transport() if is_in_memory else anysse.StreamingTransport()
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport))
        streams = [
            await stack.enter_async_context(
                anysse.open_stream(
                    f"{server.url}/{number}",
                    client=client,
                    visibility=visibility,
                    buffer=draw.choice([1, 2, 64]),
                    retry=anysse.ExponentialBackoff(initial=0.1, maximum=0.3),
                )
            )
            for number in range(draw.choice([1, 1, 2, 3]))
        ]
        story = draw, feeds, streams, visibility
        async with anyio.create_task_group() as readers:
            for stream in streams:
                readers.start_soon(read, stream, draw, longest)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(befall, story, longest)
                tasks.start_soon(befall, story, longest)
            visibility.show()
            for stream in streams:
                stream.resume()
        assert feeds.most == 1


@pytest.mark.chaos
@pytest.mark.parametrize("first", range(0, IN_MEMORY, 100))
def test_in_a_thousand_stories_there_is_one_connection_and_every_id_comes_once_and_in_order(
    first: int,
) -> None:
    for seed in range(first, first + 100):

        async def main(seed: int = seed) -> None:
            with anyio.fail_after(3600):
                await tell(seed, serve_in_memory, longest=0.5)

        in_virtual_time(main)


@pytest.mark.parametrize("seed", range(ON_SOCKETS))
async def test_so_it_is_over_tcp(seed: int) -> None:
    with anyio.fail_after(60):
        await tell(seed, serve, longest=0.03)
