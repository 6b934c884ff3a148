"""Whatever is under way can be cancelled at each of its checkpoints, in each way there is.

Nothing is left of it then: no task, no connection, no response, no warning. What leaves is the cancellation
itself, or the KeyboardInterrupt. And ``last_event_id`` is that of the last event that was handed out.

A scene is a line of ``SCENES``: one async function that ends by itself.
"""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import signal
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeAlias

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

import anysse
import anysse.testing
from anysse import ExponentialBackoff, StreamClient, StreamLimits, StreamStatus
from anysse._groups import bare_exception
from anysse.testing import Connection
from anysse.testing import SocketServer as Server
from tests.server import event_stream, serve
from tests.streams import Recorder, turns
from tests.sweep import (
    BY_TURNS,
    DEADLINE,
    MOST,
    Aftermath,
    Driven,
    Play,
    Way,
    by_interrupt,
    raised_by,
    sweep,
    ways,
)

FAST: Final = ExponentialBackoff(initial=0.001, jitter=0.0)
DONE: Final = "[DONE]"
NOBODY: Final = 1
"""A port on which nobody listens."""
TURNS_OF_A_STEP: Final = 3
"""Turns of the event loop between two strikes, where others are not a checkpoint apart."""
LAST: Final = 11
"""The number of the last event of a feed here, and its ID."""


# --- what the server does ---------------------------------------------------------------------------------


def numbered(numbers: Iterable[int]) -> str:
    return "".join(f"id: {number}\ndata: {number}\n\n" for number in numbers)


def first_of(connection: Connection) -> int:
    """Give the number to go on with."""
    return int(connection.request.headers.get("Last-Event-ID") or -1) + 1


async def numbers(connection: Connection) -> None:
    """Send what comes after the last event ID, in pieces, with turns between them; then the done event."""
    await event_stream(connection)
    for start in range(first_of(connection), LAST + 1, 3):
        await connection.send(numbered(range(start, min(start + 3, LAST + 1))))
        await turns(2)
    await connection.send(f"data: {DONE}\n\n")


async def late(connection: Connection) -> None:
    """Answer after some turns."""
    await turns(10)
    await numbers(connection)


async def crowded(connection: Connection) -> None:
    """Send hundreds of events, each a chunk of its own, at once: an HTTP library buffers them all."""
    events = [f"id: {number}\ndata: {number}\n\n" for number in range(200)]
    await event_stream(connection)
    await connection.write("".join(f"{len(event):x}\r\n{event}\r\n" for event in events))
    await connection.send(f"data: {DONE}\n\n")


async def squeezed(connection: Connection) -> None:
    """Send compressed events, flushed now and then."""
    squeeze = zlib.compressobj(wbits=31)
    await event_stream(connection, headers={"Content-Encoding": "gzip"})
    for number in range(4):
        event = f"id: {number}\ndata: {'x' * 20_000}\n\n".encode()
        await connection.send(squeeze.compress(event * 5) + squeeze.flush(zlib.Z_SYNC_FLUSH))
        await checkpoint()
    done = squeeze.compress(f"data: {DONE}\n\n".encode())
    await connection.send(done + squeeze.flush())


async def cut(connection: Connection) -> None:
    """Break off in the middle of an event, once; then go on."""
    if first_of(connection):
        await numbers(connection)
        return
    await event_stream(connection, numbered(range(4)), "id: 4\nda")
    await turns(2)
    await connection.drop()


async def busy(connection: Connection) -> None:
    """Refuse the first attempt, with a body that takes its time; then go on."""
    if connection.request.headers.get("X-Attempt") != "1":
        await numbers(connection)
        return
    await connection.respond(503, {"Retry-After": "0"}, chunked=True)
    await turns(3)
    await connection.send("not yet")
    await turns(3)


async def hop(connection: Connection) -> None:
    """Redirect, with a body that takes its time."""
    left = int(connection.request.path.rpartition("/")[2])
    location = f"/hop/{left - 1}" if left else "/numbers"
    await connection.respond(307, {"Location": location}, chunked=True)
    await turns(3)
    await connection.send("there")


async def missing(connection: Connection) -> None:
    """Refuse for good."""
    await connection.respond(404, chunked=True)
    await turns(3)
    await connection.send("nothing here")


async def kept(connection: Connection) -> None:
    """Send some events, and no end."""
    await event_stream(connection, numbered(range(4)))
    await connection.hang()


ROUTES: Final = {
    "/numbers": numbers,
    "/late": late,
    "/crowded": crowded,
    "/squeezed": squeezed,
    "/cut": cut,
    "/busy": busy,
    "/hop/2": hop,
    "/hop/1": hop,
    "/hop/0": hop,
    "/missing": missing,
    "/held": kept,
}


# --- what plays -------------------------------------------------------------------------------------------


class Stage:
    """Where scenes play: a server, and a client of it or none; remembers what was handed out."""

    def __init__(self, server: Server, library: ModuleType, client: Any) -> None:
        self.server = server
        self.library = library
        self.client = client
        self.limits = StreamLimits(max_connections=1)
        self._handed_out: dict[Any, list[str]] = {}

    def open(self, path: str, *, method: str = "GET", content: Any = None, **options: Any) -> Any:
        """Open a stream over the client, or over one of its own."""
        url = self.server.url + path
        request = self.library.Request(method, url, content=content)
        return anysse.open_stream(request, client=self.client, **{"done": DONE, "retry": FAST, **options})

    def connect(self, path: str, **options: Any) -> "StreamClient[Any]":
        """Make a ``StreamClient``, over the client or over one of its own."""
        plain = {"https_only": False, "retry": FAST, "method": "GET"}
        return StreamClient(self.server.url + path, client=self.client, **{**plain, **options})

    def handed_out(self, source: Any) -> list[str]:
        """Give where to write down the ID of each event that is handed out."""
        return self._handed_out.setdefault(source, [source.last_event_id])

    async def read(self, events: Any, most: int = 1000) -> None:
        """Read a stream to its end, or some of it."""
        ids = self.handed_out(events)
        async for event in events:
            ids.append(event.id)
            most -= 1
            if not most:
                break

    async def left(self) -> None:
        """See that the server has nothing more to do, the pool has all its places, and IDs are right."""
        with anyio.fail_after(DEADLINE):
            await (self.server.all_closed() if self.client is None else self.server.all_idle())
        if self.client is not None:
            pool = self.client._transport._pool
            assert pool._requests == []
            assert [each for each in pool.connections if not each.is_idle()] == []
        for gate in self.limits._gates.values():
            assert (gate.inside, len(gate.line)) == (0, 0)
        seen, self._handed_out = self._handed_out, {}
        for source, ids in seen.items():
            assert source.last_event_id == ids[-1]


@asynccontextmanager
async def bare_group() -> AsyncIterator[TaskGroup]:
    """Give a task group that puts nothing around what leaves it."""
    with bare_exception():
        async with anyio.create_task_group() as tasks:
            yield tasks


Scene: TypeAlias = Callable[[Stage], Coroutine[Any, Any, None]]


async def connecting(stage: Stage) -> None:
    async with stage.open("/late"):
        pass


async def reading(stage: Stage) -> None:
    async with stage.open("/numbers") as events:
        await stage.read(events)


async def reading_what_is_there_already(stage: Stage) -> None:
    async with stage.open("/crowded") as events:
        await stage.read(events)


async def reading_compressed(stage: Stage) -> None:
    async with stage.open("/squeezed") as events:
        await stage.read(events)


async def redirected(stage: Stage) -> None:
    async with stage.open("/hop/2") as events:
        await stage.read(events, 4)


async def held_back(stage: Stage) -> None:
    """The buffer is full, and the reader waits for its consumer."""
    async with stage.open("/numbers", buffer=1) as events:
        await stage.read(events, 1)
        await turns(12)
        await stage.read(events)


async def reconnecting(stage: Stage) -> None:
    async with stage.open("/cut") as events:
        await stage.read(events)


async def waiting(stage: Stage) -> None:
    async with stage.open("/cut", retry=ExponentialBackoff(initial=60.0)) as events:
        await events.wait_for("waiting")
        await turns(2)
        events.reconnect_now()
        await stage.read(events)


async def reconnecting_now(stage: Stage) -> None:
    async with stage.open("/held") as events:
        await stage.read(events, 4)
        events.reconnect_now()
        await stage.read(events, 4)


async def pausing(stage: Stage) -> None:
    async with stage.open("/held") as events:
        await stage.read(events, 2)
        events.pause("hold")
        await turns(3)
        events.resume()
        await stage.read(events, 2)
        events.pause("close")
        await turns(3)
        events.resume()
        await stage.read(events, 4)


async def hidden(stage: Stage) -> None:
    """And with an eye on the network, whose task is the stream's as well."""
    visibility = anysse.Visibility(is_visible=False)
    with bare_exception():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(show, visibility)
            async with stage.open("/numbers", visibility=visibility, network=True) as events:
                await stage.read(events)


async def show(visibility: anysse.Visibility) -> None:
    await turns(3)
    visibility.show()


async def told_to_come_back(stage: Stage) -> None:
    async with stage.open("/busy", prepare=count_attempts) as events:
        await stage.read(events)


async def count_attempts(request: Any, attempt: anysse.Attempt) -> None:
    await checkpoint()
    request.headers["X-Attempt"] = str(attempt.number)


async def refused(stage: Stage) -> None:
    async with stage.open("/missing"):
        pass


async def unheard(stage: Stage) -> None:
    """Nobody listens there."""
    twice = ExponentialBackoff(initial=0.001, jitter=0.0, max_retries=2)
    async with anysse.open_stream(f"http://127.0.0.1:{NOBODY}", client=stage.client, retry=twice):
        pass


async def asked_of_callbacks(stage: Stage) -> None:
    async def accept(response: anysse.StreamResponse) -> bool:
        await turns(2)
        return True

    async with stage.open("/numbers", prepare=count_attempts, accept_response=accept) as events:
        await stage.read(events, 1)


async def posting(stage: Stage) -> None:
    async with stage.open("/numbers", method="POST", content=Pieces()) as events:
        await stage.read(events)


class Pieces:
    """A body that comes in pieces, with turns between them."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(4):
            await turns(2)
            yield b"piece"


async def closing(stage: Stage) -> None:
    async with stage.open("/held") as events:
        await stage.read(events, 2)
        await events.aclose()


async def leaving(stage: Stage) -> None:
    async with stage.open("/held") as events:
        await stage.read(events, 2)


async def closed_by_another_task(stage: Stage) -> None:
    async with stage.open("/held") as events:
        async with bare_group() as tasks:
            tasks.start_soon(stage.read, events)
            await turns(6)
            await events.aclose()


async def in_a_group_of_its_users(stage: Stage) -> None:
    async with bare_group() as tasks:
        async with stage.open("/held", task_group=tasks) as events:
            await stage.read(events, 2)


async def in_a_generator(stage: Stage) -> None:
    async def events_of(tasks: TaskGroup) -> AsyncIterator[str]:
        async with stage.open("/held", task_group=tasks) as events:
            ids = stage.handed_out(events)
            async for event in events:
                ids.append(event.id)
                yield event.data

    async with bare_group() as tasks, aclosing(events_of(tasks)) as data:  # type: ignore[type-var]
        async for number in data:
            if number == "2":
                break


async def of_a_response(stage: Stage) -> None:
    # Over our transport in any case: httpcore itself does not survive all of this in a task of ours.
    transport = anysse.StreamingTransport()
    # AnyIO connects in a group, and what a KeyboardInterrupt leaves that in is one.
    with bare_exception():
        async with stage.library.AsyncClient(transport=transport, timeout=None) as client:
            async with client.stream("GET", stage.server.url + "/numbers") as response:
                async with aclosing(anysse.read_events(response, done=DONE)) as events:
                    await stage.read(events)


async def handled(stage: Stage) -> None:
    async with stage.connect("/cut") as client:
        ids = stage.handed_out(client)
        await client.send_request(**handlers(ids))


def handlers(ids: list[str]) -> dict[str, Any]:
    """Give handlers that take their time."""

    async def on_message(_data: object, event: anysse.ServerSentEvent) -> None:
        ids.append(event.id)
        await checkpoint()

    async def on_any(*_: object) -> None:
        await turns(2)

    others = ("on_open", "on_retry", "on_complete", "on_error", "on_close", "on_status")
    return {"on_message": on_message, **dict.fromkeys(others, on_any)}


async def handled_late(stage: Stage) -> None:
    """The next event is there before its handlers are told that the connection was lost, and came back."""
    recorder = Recorder()
    async with stage.connect("/cut", observers=[recorder]) as client:
        ids = stage.handed_out(client)

        async def on_message(_data: object, event: anysse.ServerSentEvent) -> None:
            ids.append(event.id)
            if event.id == "3":
                while len(recorder.of(anysse.Connected)) < 2:
                    await checkpoint()
                await turns(5)

        await client.send_request(**handlers(ids) | {"on_message": on_message})


async def in_the_background(stage: Stage) -> None:
    async with stage.connect("/numbers") as client:
        ids = stage.handed_out(client)
        await client.start(**handlers(ids)).wait()


async def looped_over(stage: Stage) -> None:
    async with stage.connect("/numbers") as client:
        async with client.stream() as messages:
            async for _ in messages:
                pass


async def disconnected(stage: Stage) -> None:
    async with stage.connect("/held") as client:
        request = client.start(**handlers(stage.handed_out(client)))
        await request.wait_for("connected")
        await turns(3)
        client.disconnect()
        assert await request.wait() is StreamStatus.IDLE


async def client_left(stage: Stage) -> None:
    async with stage.connect("/held") as client:
        ids = stage.handed_out(client)
        client.start()
        await client.start(**handlers(ids)).wait_for("connected")


async def displaced(stage: Stage) -> None:
    async with stage.connect("/held", exclusive=True) as client:
        await client.start().wait_for("connected")
        async with client.stream() as messages:
            await anext(messages)


async def waiting_for_its_turn(stage: Stage) -> None:
    async with stage.connect("/held", limits=stage.limits) as client:
        async with client.stream() as messages:
            second = client.start()
            await anext(messages)
        await second.wait_for("connected")


async def waiting_for_a_token(stage: Stage) -> None:
    limits = StreamLimits(max_requests_per_second=1000, burst=1)
    async with stage.connect("/numbers", limits=limits) as client:
        await client.send_request()
        await client.send_request()


SCENES: Final[tuple[Scene, ...]] = (
    connecting,
    reading,
    reading_what_is_there_already,
    reading_compressed,
    redirected,
    held_back,
    reconnecting,
    waiting,
    reconnecting_now,
    pausing,
    hidden,
    told_to_come_back,
    refused,
    unheard,
    asked_of_callbacks,
    posting,
    closing,
    leaving,
    closed_by_another_task,
    in_a_group_of_its_users,
    in_a_generator,
    of_a_response,
    handled,
    handled_late,
    in_the_background,
    looped_over,
    disconnected,
    client_left,
    displaced,
    waiting_for_its_turn,
    waiting_for_a_token,
)


ENDS: Final[dict[Scene, type[Exception]]] = {refused: anysse.StatusError, unheard: anysse.ConnectError}
"""What a scene ends with by itself, where that is an error."""


WITHOUT: Final[dict[Scene, tuple[Way, ...]]] = {of_a_response: (by_interrupt,)}
"""How a scene is not struck: an interrupt while uvloop connects leaves the socket open, if nobody cancels."""

SIGNALLED: Final = (reading, held_back, reconnecting, posting, closing, of_a_response, handled, client_left)
"""What is struck by a real signal, too; each time in an event loop of its own."""


# --- the sweep --------------------------------------------------------------------------------------------


@pytest.fixture(params=["own", "given"])
async def stage(
    request: pytest.FixtureRequest, library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """Give a stage whose streams make their own clients, or are given one."""
    # The floor between two attempts is of no interest here, and would be most of the time that this takes.
    monkeypatch.setattr("anysse._session.MIN_DELAY", 0.001)
    async with AsyncExitStack() as stack:
        client = None
        if request.param == "given":
            client = await stack.enter_async_context(library.AsyncClient(trust_env=False, verify=False))
        yield Stage(await stack.enter_async_context(serve(routes=ROUTES)), library, client)


@pytest.fixture(params=[pytest.param(1, id="all", marks=pytest.mark.slow), pytest.param(5, id="some")])
def stride(request: pytest.FixtureRequest) -> int:
    step: int = request.param
    return step


@pytest.mark.parametrize("scene", SCENES)
async def test_nothing_is_left_wherever_it_is_struck(
    scene: Scene, stage: Stage, stride: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    aftermath = Aftermath(stage.library)

    async def check() -> None:
        await stage.left()
        await aftermath.nothing()

    with aftermath.watching(monkeypatch):
        aftermath.begin()
        end, without = ENDS.get(scene), WITHOUT.get(scene, ())
        await strike_everywhere(partial(scene, stage), check, stride, request, end=end, without=without)


async def strike_everywhere(
    play: Play,
    check: Callable[[], Awaitable[None]],
    stride: int,
    request: pytest.FixtureRequest,
    *,
    end: type[Exception] | None = None,
    without: Sequence[Way] = (),
) -> None:
    """Sweep in each way there is; how many strikes that were is in what --junitxml writes."""
    for number, way in enumerate(way for way in ways() if way not in without):
        # Each way begins elsewhere: where there is a stride, they miss different ones.
        is_coarse = way in BY_TURNS and stride > 1
        steps = range(1 + number % stride, MOST, stride * (TURNS_OF_A_STEP if is_coarse else 1))
        count = await sweep(way, steps, play, check, end=end)
        request.node.user_properties += [(way.__name__, count.strikes), ("late", count.late)]


async def test_nothing_is_left_of_a_stream_over_tls_wherever_it_is_struck(
    library: ModuleType,
    stride: int,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    async def play() -> None:
        assert server.ssl_context is not None
        # Not over the library's own transport: cancelled while it shakes hands, it leaves the socket open.
        transport = anysse.StreamingTransport(verify=server.ssl_context)
        async with library.AsyncClient(transport=transport, timeout=None) as client:
            async with anysse.open_stream(server.url, client=client, done=DONE) as events:
                assert len([event async for event in events]) == LAST + 1

    async def check() -> None:
        with anyio.fail_after(DEADLINE):
            await server.all_closed()
        await aftermath.nothing()

    aftermath = Aftermath(library)
    async with anysse.testing.serve(then=numbers_in_pieces, tls=True) as server:
        with aftermath.watching(monkeypatch):
            aftermath.begin()
            await strike_everywhere(play, check, stride, request)


async def numbers_in_pieces(connection: anysse.testing.Connection) -> None:
    """Send the numbers, with turns between them."""
    for start in range(0, LAST + 1, 3):
        await connection.send(numbered(range(start, start + 3)))
        await turns(2)
    await connection.send(f"data: {DONE}\n\n")


# --- what is read on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/numbers", "/crowded"])
async def test_a_read_that_is_struck_anywhere_loses_nothing_and_doubles_nothing(
    stage: Stage, path: str
) -> None:
    numbers_there = 200 if path == "/crowded" else LAST + 1
    total = 0
    for way in ways():
        async with stage.open(path) as events:

            async def read() -> None:
                async for event in events:
                    assert events.last_event_id == event.id
                    seen.append(int(event.data))  # noqa: B023

            seen, strikes = list[int](), 0
            while (await way(read, 1 + strikes % 4)).is_struck:
                strikes += 1
            assert seen == list(range(numbers_there)), way.__name__
            total += strikes
    assert total > 3  # hundreds may be read in one turn, and without a checkpoint at which trio interrupts


# --- a signal ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", SIGNALLED)
def test_ctrl_c_at_any_checkpoint_leaves_nothing(
    scene: Scene,
    anyio_backend: tuple[str, dict[str, Any]],
    library: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        aftermath.begin()
        async with serve(routes=ROUTES) as server:
            stage = Stage(server, library, None)
            driven = Driven(scene(stage), at, interrupt)
            left = await raised_by(driven)  # of asyncio's main task a first signal makes a cancellation
            await stage.left()
            await aftermath.nothing()
            if left is not None:
                raise left

    def interrupt(_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("anysse._session.MIN_DELAY", 0.001)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    aftermath = Aftermath(library)
    backend, options = anyio_backend
    strikes = 0
    try:
        with aftermath.watching(monkeypatch):
            for at in range(1, MOST):  # noqa: B007 - it is for main()
                try:
                    anyio.run(main, backend=backend, backend_options=options)
                except KeyboardInterrupt:
                    strikes += 1
                else:
                    break
    finally:
        signal.signal(signal.SIGINT, before)
    assert strikes > 1
