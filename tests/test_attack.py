"""Leaving a stream at any moment, in any way: nothing is lost, nothing is left, nothing warns.

Moments are counted in turns of the event loop, so that a sweep meets every await, of the client, of
the HTTP library and of the server. Warnings are errors, those of the garbage collector too. What is
cancelled at each of its own checkpoints is in ``test_cancellation``.
"""
# ruff: noqa: SIM117 - a server, and a stream in it: two lines read better than one.

import asyncio
import gc
import random
import warnings
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

import anysse
from anysse import ExponentialBackoff, StreamStatus
from anysse.testing import Connection, Script
from anysse.testing import SocketServer as Server
from tests.server import answer, event_stream, feed, held, serve
from tests.streams import at_full_speed, living_tasks, turns

pytestmark = pytest.mark.once

QUICK = ExponentialBackoff(initial=0.1, jitter=0.0)


@pytest.fixture
async def client(library: ModuleType) -> AsyncIterator[Any]:
    async with library.AsyncClient(trust_env=False, verify=False) as client:
        yield client


@pytest.fixture(
    params=[
        pytest.param(range(0, 200, 6), id="some"),
        pytest.param(range(200), id="all", marks=pytest.mark.slow),
    ]
)
def moments(request: pytest.FixtureRequest) -> range:
    """When to strike, in turns of the event loop: opening a stream and reading it takes fewer than 200."""
    moments: range = request.param
    return moments


@asynccontextmanager
async def nothing_left(client: Any, backend: str) -> AsyncIterator[None]:
    """See that the block leaves no task, and nothing in the client's pool but idle connections."""
    before = living_tasks(backend)
    yield
    gc.collect()
    with anyio.fail_after(2):
        while living_tasks(backend) > before:
            await checkpoint()
    assert client._transport._pool._requests == []
    assert [each for each in client._transport._pool.connections if not each.is_idle()] == []


@asynccontextmanager
async def attacked(script: Script, client: Any, backend: str) -> AsyncIterator[Server]:
    """Give a server for a block that leaves nothing behind."""
    with anyio.fail_after(100):
        async with serve(then=script) as server, nothing_left(client, backend):
            yield server


# --- what servers do --------------------------------------------------------------------------------------


async def lively(connection: Connection) -> None:
    """Send an event in each of some turns, and several in one piece, then be quiet."""
    await event_stream(connection, "retry: 100\n\n")
    for number in range(0, 40, 4):
        await connection.send("".join(f"id: {number + i}\ndata: x\n\n" for i in range(4)))
        await checkpoint()
    await connection.hang()


async def crowded(connection: Connection) -> None:
    """Send a thousand events, each a chunk of its own, at once: the HTTP library buffers them all."""
    events = [f"id: {number}\ndata: x\n\n" for number in range(1000)]
    await event_stream(connection, "retry: 100\n\n")
    await connection.write("".join(f"{len(event):x}\r\n{event}\r\n" for event in events))
    await connection.hang()


async def squeezed(connection: Connection) -> None:
    """Send compressed events, flushed now and then."""
    squeeze = zlib.compressobj(wbits=31)
    await event_stream(connection, headers={"Content-Encoding": "gzip"})
    for number in range(10):
        event = f"id: {number}\ndata: {'x' * 20_000}\n\n".encode()
        await connection.send(squeeze.compress(event * 10) + squeeze.flush(zlib.Z_SYNC_FLUSH))
        await checkpoint()
    await connection.hang()


# --- leaving ----------------------------------------------------------------------------------------------


async def read(url: str, client: Any) -> None:
    async with anysse.open_stream(url, client=client, retry=QUICK) as events:
        async for _ in events:
            pass


@pytest.mark.parametrize("script", [lively, crowded, squeezed])
@pytest.mark.parametrize("has_own_group", [True, False])
async def test_a_consumer_that_breaks_at_any_moment(
    client: Any, anyio_backend_name: str, has_own_group: bool, script: Script, moments: range
) -> None:
    async with attacked(script, client, anyio_backend_name) as server:
        async with anyio.create_task_group() as tasks:
            for count in moments:
                group = None if has_own_group else tasks
                async with anysse.open_stream(server.url, client=client, task_group=group) as events:
                    left = count % 40
                    async for _ in events:
                        await turns(count // 10)
                        left -= 1
                        if left < 0:
                            break
                await server.all_idle()


@pytest.mark.parametrize("has_own_group", [True, False])
async def test_an_exception_of_the_consumer_leaves_bare_at_any_moment(
    client: Any, anyio_backend_name: str, has_own_group: bool, moments: range
) -> None:
    async with attacked(lively, client, anyio_backend_name) as server:
        async with anyio.create_task_group() as tasks:
            for count in moments:
                group = None if has_own_group else tasks
                mine = LookupError(count)
                with pytest.raises(LookupError) as caught:  # noqa: PT012 - leaving is the point
                    async with anysse.open_stream(server.url, client=client, task_group=group) as events:
                        async for _ in events:
                            await turns(count)
                            raise mine
                assert caught.value is mine
                assert mine.__cause__ is None
                await server.all_idle()


async def test_a_group_of_the_consumers_own_leaves_as_it_is(client: Any) -> None:
    async with serve(then=lively) as server:
        mine = ExceptionGroup("mine", [LookupError("one")])
        with pytest.raises(ExceptionGroup) as caught:
            async with anysse.open_stream(server.url, client=client):
                raise mine
        assert caught.value.message == "mine"
        assert caught.value.exceptions == mine.exceptions  # trio makes a copy of the group itself


async def test_closing_from_another_task_at_any_moment(
    client: Any, anyio_backend_name: str, moments: range
) -> None:
    async with attacked(lively, client, anyio_backend_name) as server:
        for count in moments:
            async with anyio.create_task_group() as tasks:
                async with anysse.open_stream(server.url, client=client) as events:
                    tasks.start_soon(close_after, events, count)
                    with pytest.raises((anyio.EndOfStream, anyio.ClosedResourceError)):
                        await drain(events)
                    with pytest.raises(anyio.ClosedResourceError):
                        await events.receive()
                    assert events.status is StreamStatus.IDLE
            await server.all_idle()


async def test_a_reader_whose_task_group_is_cancelled_under_it(client: Any, anyio_backend_name: str) -> None:
    async with attacked(lively, client, anyio_backend_name) as server:
        for count in range(50):
            async with anyio.create_task_group() as tasks:
                # The consumer is in another task, which nobody cancels.
                tasks.start_soon(read_in_a_group_that_is_cancelled, server.url, client, count)
            await server.all_idle()


async def read_in_a_group_that_is_cancelled(url: str, client: Any, count: int) -> None:
    async with anyio.create_task_group() as outer:
        group = anyio.create_task_group()
        ready, over = anyio.Event(), anyio.Event()

        async def hold() -> None:
            async with group:
                ready.set()
                await over.wait()

        outer.start_soon(hold)
        await ready.wait()
        outer.start_soon(cancel_after, group, count)
        with suppress(anyio.ClosedResourceError):
            async with anysse.open_stream(url, client=client, task_group=group) as events:
                await drain(events)
        over.set()


async def cancel_after(tasks: TaskGroup, count: int) -> None:
    await turns(count)
    tasks.cancel_scope.cancel()


async def close_after(events: "anysse.EventStream", count: int) -> None:
    await turns(count)
    await events.aclose()


async def drain(events: "anysse.EventStream") -> None:
    while True:
        await events.receive()


# --- every number once ------------------------------------------------------------------------------------

NUMBERS = 30_000
SEEDS = [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]


async def count_up(connection: Connection) -> None:
    """Send 30,000 numbered events in pieces of any size."""
    body = "".join(f"id: {number}\ndata: {number}\n\n" for number in range(NUMBERS)).encode()
    chance = random.Random(1)
    await event_stream(connection)
    start = 0
    while start < len(body):
        size = chance.choice([1, 10, 100, 1_000])
        await connection.send(body[start : start + size])
        start += size
        await turns(chance.randrange(40))  # so slow that whoever reads has to wait now and then


def any_delay(chance: random.Random) -> float:
    return chance.choice([0.0, 1e-5, 1e-4, 1e-3, 1e-2]) * chance.random()


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_scopes_around_each_read_lose_and_double_nothing(
    client: Any, anyio_backend_name: str, seed: int
) -> None:
    chance, seen, cancelled = random.Random(seed), list[int](), 0
    with anyio.fail_after(100), at_full_speed(anyio_backend_name):
        async with serve(count_up) as server:
            async with anysse.open_stream(server.url, client=client, retry=None) as events:
                while len(seen) < NUMBERS:
                    with anyio.move_on_after(any_delay(chance)) as scope:
                        event = await events.receive()
                        assert events.last_event_id == event.id
                        seen.append(int(event.data))
                    cancelled += scope.cancelled_caught
    assert seen == list(range(NUMBERS))
    assert cancelled > 100


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_native_timeouts_around_each_read_lose_and_double_nothing(
    client: Any, anyio_backend_name: str, seed: int
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("asyncio.timeout() is asyncio's")
    chance, seen, cancelled = random.Random(seed), list[int](), 0
    with anyio.fail_after(100), at_full_speed(anyio_backend_name):
        async with serve(count_up) as server:
            async with anysse.open_stream(server.url, client=client, retry=None) as events:
                while len(seen) < NUMBERS:
                    try:
                        async with asyncio.timeout(any_delay(chance)):
                            seen.append(int((await events.receive()).data))
                    except TimeoutError:
                        cancelled += 1
    assert seen == list(range(NUMBERS))
    assert cancelled > 100


async def test_a_native_cancel_in_the_tick_of_delivery_loses_nothing(
    client: Any, anyio_backend_name: str
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("a native task.cancel() is asyncio's")
    go_on = asyncio.Event()
    seen: list[str] = []

    async def one_by_one(connection: Connection) -> None:
        await event_stream(connection)
        for number in range(100):
            await go_on.wait()
            go_on.clear()
            await connection.send(f"data: {number}\n\ndata: {number}+\n\n")
        await connection.hang()

    async def read_one() -> None:
        seen.append((await events.receive()).data)

    with anyio.fail_after(60):
        async with serve(one_by_one) as server, anysse.open_stream(server.url, client=client) as events:
            for number in range(100):
                reader = asyncio.create_task(read_one())
                await turns(2)
                go_on.set()
                await turns(number % 20)
                reader.cancel()
                await asyncio.wait([reader])
                while len(seen) < 2 * (number + 1):
                    await read_one()
    assert seen == [text for number in range(100) for text in (f"{number}", f"{number}+")]


# --- a proxy that streams on ------------------------------------------------------------------------------


class ClosingResponse(StreamingResponse):
    """Closes its generator, which Starlette leaves to the garbage collector."""

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)


async def proxied(url: str, client: Any, tasks: TaskGroup) -> AsyncIterator[str]:
    async with anysse.open_stream(url, client=client, task_group=tasks) as events:
        async for event in events:
            yield f"data: {event.data}\n\n"


async def proxied_by(streams: "anysse.StreamClient[Any]") -> AsyncIterator[str]:
    async with streams.stream() as messages:
        async for message in messages:
            yield f"data: {message}\n\n"


class Visitor:
    """A client of the proxy that goes away after some messages, and then some turns of the loop."""

    def __init__(self, *, messages: int, count: int, how: str) -> None:
        self.how, self._left, self._count = how, messages, count
        self._may_go = anyio.Event()

    async def receive(self) -> Message:
        await self._may_go.wait()
        await turns(self._count)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await checkpoint()
        self._left -= 1
        if self._left > 0:
            return
        self._may_go.set()
        if self.how == "send fails":
            raise OSError("gone")
        if self.how == "send blocks":
            await anyio.sleep_forever()


@pytest.mark.parametrize("response_class", [StreamingResponse, ClosingResponse])
@pytest.mark.parametrize("how", ["send fails", "send blocks", "disconnect"])
async def test_a_proxy_whose_client_goes_away_at_any_moment(
    client: Any,
    anyio_backend_name: str,
    response_class: type[StreamingResponse],
    how: str,
    moments: range,
) -> None:
    with what_trio_says_of_abandoned_generators():
        async with attacked(lively, client, anyio_backend_name) as server:
            async with anyio.create_task_group() as tasks:
                content = partial(proxied, server.url, client, tasks)
                await keep_visiting(server, content, response_class, how, moments)


@pytest.mark.parametrize("response_class", [StreamingResponse, ClosingResponse])
@pytest.mark.parametrize("how", ["send fails", "disconnect"])
async def test_a_proxy_on_one_stream_client_whose_client_goes_away_at_any_moment(
    client: Any,
    anyio_backend_name: str,
    response_class: type[StreamingResponse],
    how: str,
    moments: range,
) -> None:
    with what_trio_says_of_abandoned_generators():
        async with attacked(lively, client, anyio_backend_name) as server:
            async with anysse.StreamClient(server.url, client=client) as streams:
                await keep_visiting(server, partial(proxied_by, streams), response_class, how, moments)


@contextmanager
def what_trio_says_of_abandoned_generators() -> Iterator[None]:
    """Let pass what trio says of any generator that Starlette leaves to the garbage collector.

    It is no word about anysse, which has to close the stream all the same.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Async generator 'tests\.test_attack\.proxied\w*'")
        yield


async def keep_visiting(
    server: Server,
    content: Callable[[], AsyncIterator[str]],
    response_class: type[StreamingResponse],
    how: str,
    moments: range,
) -> None:
    """Go away at each moment, and see each time that the stream behind the proxy went, too."""
    for count in moments:
        visitor = Visitor(messages=1 + count % 9, count=count // 4, how=how)
        await visit(content, visitor, response_class)
        gc.collect(2 if count % 5 == 0 else 0)
        with anyio.fail_after(1):
            await server.all_idle()


async def visit(
    content: Callable[[], AsyncIterator[str]], visitor: Visitor, response_class: type[StreamingResponse]
) -> None:
    """Drive the proxy as a server does: in a task of its own."""
    scope = {"type": "http", "asgi": {"spec_version": "2.4" if visitor.how == "send fails" else "2.0"}}

    async def run() -> None:
        response = response_class(content(), media_type="text/event-stream")
        with suppress(ClientDisconnect):  # told to whoever runs the application
            await response(scope, visitor.receive, visitor.send)

    async with anyio.create_task_group() as own:
        own.start_soon(run)


async def test_a_proxy_that_is_cancelled_from_without(
    client: Any, anyio_backend_name: str, moments: range
) -> None:
    with what_trio_says_of_abandoned_generators():
        async with attacked(lively, client, anyio_backend_name) as server:
            async with anyio.create_task_group() as tasks:
                for count in moments:
                    visitor = Visitor(messages=1000, count=0, how="disconnect")
                    content = partial(proxied, server.url, client, tasks)
                    async with anyio.create_task_group() as own:
                        own.start_soon(visit, content, visitor, ClosingResponse)
                        await turns(count)
                        own.cancel_scope.cancel()
                    with anyio.fail_after(1):
                        await server.all_idle()


# --- two who want the same --------------------------------------------------------------------------------


async def test_waiting_for_a_place_in_the_pool_can_be_cancelled(library: ModuleType, moments: range) -> None:
    limits = library.Limits(max_connections=1)
    async with library.AsyncClient(trust_env=False, verify=False, limits=limits) as client:
        async with serve(then=lively) as server:
            for count in moments[::4]:
                with anyio.fail_after(10):
                    async with anysse.open_stream(server.url, client=client) as events:
                        async with anyio.create_task_group() as tasks:
                            tasks.start_soon(read, server.url, client)
                            await turns(count)
                            tasks.cancel_scope.cancel()
                        await events.receive()
                    await server.all_idle()
            assert client._transport._pool._requests == []


async def test_two_readers_at_once_are_told(client: Any) -> None:
    with anyio.fail_after(10):
        async with serve(held()) as server, anysse.open_stream(server.url, client=client) as events:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(events.receive)
                await turns(5)
                with pytest.raises(anyio.BusyResourceError):
                    await events.receive()
                tasks.cancel_scope.cancel()


async def test_a_connection_that_ended_cleanly_serves_again(client: Any) -> None:
    done = ["data: x\n\n", "data: [DONE]\n\n"]
    with anyio.fail_after(10):
        async with serve(feed(*done), feed(*done), answer(204)) as server:
            for _ in range(2):
                async with anysse.open_stream(server.url, client=client, done="[DONE]") as events:
                    assert [event.data async for event in events] == ["x"]
            assert len(server.connections) == 1
