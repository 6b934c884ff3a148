"""A deadline around anything of anysse that is awaited is a ``TimeoutError``, and leaves nothing behind."""
# ruff: noqa: SIM117 - a server, and a client of it: two lines read better than one.

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

import anysse
from anysse import Attempt, ExponentialBackoff, ServerSentEvent, StreamClient, StreamLimits, StreamStatus
from anysse.testing import Connection
from anysse.testing import SocketServer as Server
from tests.diary import URL, client_of
from tests.server import answer, held, redirect, serve
from tests.streams import Answer, Tap, held_stream, in_virtual_time, memory_client, turns

PATIENCE = 60.0
"""Seconds that no deadline lasts: each is made due once what it is about was reached."""
EVENT = "data: 1\n\n"
ATTEMPT = Attempt(number=1, last_event_id="", last_error=None)
SLOWLY = ExponentialBackoff(initial=3600.0, maximum=3600.0)

Call: TypeAlias = Callable[[], Awaitable[object]]


# --- what can be awaited ----------------------------------------------------------------------------------

WAITS_FOR_NOTHING = {
    "EventStream.__aenter__": "gives itself: open_stream has opened it",
    "Observer.admit": "lets everybody in at once",
    "StreamClient.__aenter__": "sends nothing",
    "StreamingTransport.aclose": "closes what is idle, without a farewell",
    "EventReader.aclose": "asks for what there is, with a cancellation that is there already",
}


def everything_to_await() -> Iterator[str]:
    """Find it in the public names, so that what is new is asked for here."""
    for name in anysse.__all__:
        value = getattr(anysse, name)
        if not isinstance(value, type):
            if callable(value) and is_awaited(value):
                yield name
            continue
        for attribute in dir(value):
            is_public = not attribute.startswith("_") or attribute in ("__aenter__", "__aexit__", "__anext__")
            if is_public and is_awaited(getattr(value, attribute)):
                yield f"{name}.{attribute}"


def is_awaited(value: object) -> bool:
    if not inspect.isfunction(value):
        return False
    return inspect.iscoroutinefunction(value) or "AsyncContextManager" in str(
        inspect.signature(value).return_annotation
    )


def test_each_thing_to_await_has_its_deadlines_here() -> None:
    rows = {name for name, _ in [*CASES, *VIRTUAL_CASES]}
    assert rows | WAITS_FOR_NOTHING.keys() == set(everything_to_await())
    assert not rows & WAITS_FOR_NOTHING.keys()


# --- deadlines --------------------------------------------------------------------------------------------


async def by_anyio(call: Call, reached: Call) -> None:
    async with anyio.create_task_group() as tasks:
        with pytest.raises(TimeoutError) as caught:  # noqa: PT012 - it is all one call
            with anyio.fail_after(PATIENCE) as scope:
                tasks.start_soon(strike, reached, lambda: setattr(scope, "deadline", anyio.current_time()))
                await call()
    assert type(caught.value) is TimeoutError


async def by_asyncio(call: Call, reached: Call) -> None:
    async with anyio.create_task_group() as tasks:
        with pytest.raises(TimeoutError) as caught:  # noqa: PT012 - it is all one call
            async with asyncio.timeout(PATIENCE) as timeout:
                tasks.start_soon(strike, reached, lambda: timeout.reschedule(anyio.current_time()))
                await call()
    assert type(caught.value) is TimeoutError


async def by_wait_for(call: Call, reached: Call) -> None:
    task = asyncio.ensure_future(ensured(call))
    await strike(reached, lambda: None)
    with pytest.raises(TimeoutError) as caught:
        await asyncio.wait_for(task, 0.01)  # it waits for ever
    assert type(caught.value) is TimeoutError


async def by_trio(call: Call, reached: Call) -> None:
    trio = pytest.importorskip("trio")
    async with anyio.create_task_group() as tasks:
        with pytest.raises(trio.TooSlowError):  # noqa: PT012 - it is all one call
            with trio.fail_after(PATIENCE) as scope:
                tasks.start_soon(strike, reached, lambda: setattr(scope, "deadline", trio.current_time()))
                await call()


async def ensured(call: Call) -> object:
    return await call()


async def strike(reached: Call, now: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE / 2):
        await reached()
        await turns(5)
    now()


Deadline: TypeAlias = Callable[[Call, Call], Awaitable[None]]
NATIVE: dict[str, list[Deadline]] = {"asyncio": [by_asyncio, by_wait_for], "trio": [by_trio]}


# --- who waits for ever -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a case has: an HTTP client, and the deadline to be put around what it waits for."""

    library: ModuleType
    http: Any
    out_of_time: Deadline

    def open(self, server: Server, **options: Any) -> Any:
        return anysse.open_stream(server.url, client=self.http, timeouts=None, **options)

    def client(self, server: Server, **options: Any) -> "StreamClient[Any]":
        return StreamClient(server.url, client=self.http, timeouts=None, **options)


Case: TypeAlias = Callable[[Scene], Awaitable[None]]
CASES: list[tuple[str, Case]] = []
VIRTUAL_CASES: list[tuple[str, Callable[[], Awaitable[None]]]] = []


def waiting_in(name: str) -> Callable[[Case], Case]:
    def keep(case: Case) -> Case:
        CASES.append((name, case))
        return case

    return keep


def leaving_by(name: str) -> Callable[[Callable[[], Awaitable[None]]], Callable[[], Awaitable[None]]]:
    def keep(case: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        VIRTUAL_CASES.append((name, case))
        return case

    return keep


async def silent(connection: Connection) -> None:
    await connection.hang()


async def entered(context: Any) -> None:
    """Enter it, and stay inside."""
    async with context:
        await anyio.sleep_forever()


async def looped(context: Any) -> None:
    async with context as events:
        async for _ in events:
            pass


def flag() -> tuple[anyio.Event, Callable[..., Awaitable[None]]]:
    """Give a callback that never returns, and an event that tells that it was called."""
    called = anyio.Event()

    async def never(*arguments: object) -> None:
        called.set()
        await anyio.sleep_forever()

    return called, never


@waiting_in("open_stream")
async def before_the_head(scene: Scene) -> None:
    async with serve(silent) as server:
        await scene.out_of_time(partial(entered, scene.open(server)), partial(server.requested, 1))
        await server.all_closed()


@waiting_in("open_stream")
async def after_a_redirect(scene: Scene) -> None:
    async with serve(redirect("/there"), silent) as server:
        await scene.out_of_time(partial(entered, scene.open(server)), partial(server.requested, 2))
        await server.all_idle()


@waiting_in("open_stream")
async def in_tls(scene: Scene) -> None:
    async with serve() as server:  # which never says hello
        # The libraries' own transports leave the socket to the garbage collector here.
        transport = anysse.StreamingTransport(verify=False)
        async with scene.library.AsyncClient(transport=transport) as http:
            url = server.url.replace("http:", "https:")
            opening = anysse.open_stream(url, client=http, timeouts=None)
            is_there = partial(server.until, lambda: bool(server.connections))
            await scene.out_of_time(partial(entered, opening), is_there)
            await server.all_closed()


@waiting_in("open_stream")
async def before_the_next_attempt(scene: Scene) -> None:
    async def is_waiting() -> None:
        await server.requested(1)
        await server.all_idle()

    async with serve(answer(503)) as server:
        await scene.out_of_time(partial(entered, scene.open(server, retry=SLOWLY)), is_waiting)
        assert len(server.requests) == 1


@waiting_in("open_stream")
async def behind_a_full_limit(scene: Scene) -> None:
    async def is_waiting() -> None:
        while not limits.waiting:  # noqa: ASYNC110 - it has no event of its own
            await checkpoint()

    limits = StreamLimits(max_connections=1)
    async with serve() as server, limits.admit(ATTEMPT):
        opening = scene.open(server, observers=[limits])
        await scene.out_of_time(partial(entered, opening), is_waiting)
        assert (limits.connections, limits.waiting, server.connections) == (1, 0, [])


@waiting_in("open_stream")
async def in_prepare(scene: Scene) -> None:
    called, never = flag()
    async with serve() as server:
        await scene.out_of_time(partial(entered, scene.open(server, prepare=never)), called.wait)
        assert server.connections == []


@waiting_in("open_stream")
async def in_accept_response(scene: Scene) -> None:
    called, never = flag()
    async with serve(held(EVENT)) as server:
        await scene.out_of_time(partial(entered, scene.open(server, accept_response=never)), called.wait)
        await server.all_closed()


@waiting_in("EventStream.__anext__")
async def in_the_middle_of_an_event(scene: Scene) -> None:
    async with serve(held(EVENT, "data: tw")) as server:
        await scene.out_of_time(partial(looped, scene.open(server)), partial(server.requested, 1))
        await server.all_closed()


@waiting_in("EventStream.receive")
async def in_the_middle_of_another(scene: Scene) -> None:
    async with serve(held(EVENT, "data: tw")) as server:
        async with scene.open(server) as events:
            assert (await events.receive()).data == "1"
            await scene.out_of_time(events.receive, checkpoint)
            assert events.status is StreamStatus.CONNECTED
        await server.all_closed()


@waiting_in("EventStream.receive")
async def while_it_waits_to_reconnect(scene: Scene) -> None:
    async with serve(held(EVENT), answer(503)) as server, scene.open(server, retry=SLOWLY) as events:
        await events.receive()
        await server.connections[0].drop()
        # A lost connection is taken up again after an hour, as its policy says.
        await scene.out_of_time(events.receive, partial(events.wait_for, StreamStatus.WAITING))
        assert events.status is StreamStatus.WAITING


@waiting_in("EventStream.wait_for")
async def for_what_does_not_come(scene: Scene) -> None:
    async with serve(held(EVENT)) as server:
        async with scene.open(server) as events:
            await scene.out_of_time(partial(events.wait_for, StreamStatus.COMPLETED), checkpoint)
            assert (await events.receive()).data == "1"
        await server.all_closed()


@waiting_in("EventReader.__anext__")
async def in_the_middle_of_a_response(scene: Scene) -> None:
    async with serve(held(EVENT, "data: tw")) as server:
        async with scene.http.stream("GET", server.url, timeout=None) as response:
            events = anysse.read_events(response)
            assert (await anext(events)).data == "1"
            await scene.out_of_time(events.__anext__, checkpoint)
            with pytest.raises(anysse.StreamDropped, match="cancelled before"):  # as it is promised
                await anext(events)
            await events.aclose()
        await server.all_closed()


@waiting_in("StreamClient.send_request")
async def before_the_head_of_an_answer(scene: Scene) -> None:
    async with serve(silent) as server, scene.client(server) as client:
        await scene.out_of_time(client.send_request, partial(server.requested, 1))
        assert client.requests == ()
        await server.all_closed()


@waiting_in("StreamClient.send_request")
async def before_the_next_request(scene: Scene) -> None:
    async def is_waiting() -> None:
        await server.requested(1)
        await client.requests[0].wait_for(StreamStatus.WAITING)

    async with serve(answer(429)) as server, scene.client(server, retry=SLOWLY) as client:
        await scene.out_of_time(client.send_request, is_waiting)
        assert client.requests == ()
        await server.all_idle()


@waiting_in("StreamClient.send_request")
async def in_a_handler(scene: Scene) -> None:
    called, never = flag()
    async with serve(held(EVENT)) as server, scene.client(server) as client:
        await scene.out_of_time(partial(client.send_request, on_message=never), called.wait)
        assert client.requests == ()
        await server.all_closed()


@waiting_in("StreamClient.send_request")
async def in_a_handler_that_waits_for_its_own_place(scene: Scene) -> None:
    async def again(data: object, event: ServerSentEvent) -> None:
        called.set()
        await client.send_request()

    called = anyio.Event()
    limits = StreamLimits(max_connections=1)
    async with serve(held(EVENT)) as server, scene.client(server, limits=limits) as client:
        await scene.out_of_time(partial(client.send_request, on_message=again), called.wait)
        assert (client.requests, limits.connections, limits.waiting) == ((), 0, 0)
        await server.all_closed()


@waiting_in("StreamClient.stream")
async def before_the_head_of_a_loop(scene: Scene) -> None:
    async with serve(silent) as server, scene.client(server) as client:
        await scene.out_of_time(partial(entered, client.stream()), partial(server.requested, 1))
        assert client.requests == ()
        await server.all_closed()


@waiting_in("StreamClient.stream")
async def in_the_loop(scene: Scene) -> None:
    async with serve(held(EVENT, "data: tw")) as server, scene.client(server) as client:
        await scene.out_of_time(partial(looped, client.stream()), partial(server.requested, 1))
        assert client.requests == ()
        await server.all_closed()


@waiting_in("StreamClient.__aexit__")
async def in_the_block_of_a_client(scene: Scene) -> None:
    async def use() -> None:
        async with scene.client(server) as client:
            client.start()
            await anyio.sleep_forever()

    async with serve(silent) as server:
        await scene.out_of_time(use, partial(server.requested, 1))
        await server.all_closed()


@waiting_in("StreamRequest.wait")
async def for_the_end_of_a_request(scene: Scene) -> None:
    async with serve(held(EVENT)) as server:
        async with scene.client(server) as client:
            request = client.start()
            await scene.out_of_time(request.wait, partial(request.wait_for, StreamStatus.CONNECTED))
            assert client.requests == (request,)  # it goes on
        await server.all_closed()


@waiting_in("StreamRequest.wait_for")
async def for_a_status_of_a_request(scene: Scene) -> None:
    async with serve(held(EVENT)) as server:
        async with scene.client(server) as client:
            request = client.start()
            await scene.out_of_time(
                partial(request.wait_for, StreamStatus.ERROR), partial(server.requested, 1)
            )
            await request.wait_for(StreamStatus.CONNECTED)
        await server.all_closed()


@waiting_in("StreamLimits.admit")
async def for_a_slot(scene: Scene) -> None:
    limits = StreamLimits(max_connections=1)
    async with limits.admit(ATTEMPT):
        await scene.out_of_time(partial(entered, limits.admit(ATTEMPT)), checkpoint)
    assert (limits.connections, limits.waiting) == (0, 0)


@waiting_in("StreamLimits.admit")
async def for_a_token(scene: Scene) -> None:
    limits = StreamLimits(max_requests_per_second=0.0001)
    async with limits.admit(ATTEMPT):
        await scene.out_of_time(partial(entered, limits.admit(ATTEMPT)), checkpoint)
    assert (limits.connections, limits.waiting) == (0, 0)


@waiting_in("StreamingTransport.handle_async_request")
async def for_a_head(scene: Scene) -> None:
    transport = anysse.StreamingTransport()
    async with serve(silent) as server:
        request = scene.library.Request("GET", server.url)
        await scene.out_of_time(
            partial(transport.handle_async_request, request), partial(server.requested, 1)
        )
        await server.all_closed()
    await transport.aclose()


@waiting_in("StreamingTransport.handle_async_request")
async def for_a_body(scene: Scene) -> None:
    transport = anysse.StreamingTransport()
    async with serve(held(EVENT)) as server:
        response: Any = await transport.handle_async_request(scene.library.Request("GET", server.url))
        pieces = aiter(response.stream)
        assert await anext(pieces) == EVENT.encode()
        await scene.out_of_time(pieces.__anext__, checkpoint)
        await server.all_closed()  # as it is promised
    await transport.aclose()


@pytest.fixture(params=["of the library", "of ours"])
def transport_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return (
        {"verify": False}
        if request.param == "of the library"
        else {"transport": anysse.StreamingTransport(verify=False)}
    )


@asynccontextmanager
async def nothing_is_left(http: Any) -> AsyncIterator[None]:
    yield
    with anyio.fail_after(PATIENCE):
        while [task for task in anyio.get_running_tasks() if (task.name or "").startswith("anysse")]:
            await checkpoint()
    pool = getattr(http._transport, "_pool", None)
    if pool is not None:
        assert pool._requests == []
        assert [each for each in pool.connections if not each.is_idle()] == []


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{name}-{case.__name__}") for name, case in CASES])
async def test_it_is_a_timeout_error_and_nothing_is_left(
    library: ModuleType, transport_options: dict[str, Any], case: Case
) -> None:
    async with library.AsyncClient(trust_env=False, **transport_options) as http, nothing_is_left(http):
        await case(Scene(library=library, http=http, out_of_time=by_anyio))


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{name}-{case.__name__}") for name, case in CASES])
async def test_it_is_that_of_the_event_loop_as_well(anyio_backend_name: str, case: Case) -> None:
    transport = anysse.StreamingTransport(verify=False)
    async with httpx.AsyncClient(transport=transport) as http, nothing_is_left(http):
        for out_of_time in NATIVE[anyio_backend_name]:
            await case(Scene(library=httpx, http=http, out_of_time=out_of_time))


# --- who takes a while to leave ---------------------------------------------------------------------------


@asynccontextmanager
async def never_closing() -> AsyncIterator[Any]:
    """Give an HTTP client whose responses never come to the end of their closing."""
    async with memory_client(httpx, held_stream(EVENT.encode())) as http:
        transport = http._transport
        handle = transport.handle_async_request

        async def handle_stubbornly(request: Any) -> Any:
            response = await handle(request)
            response.stream.aclose = anyio.sleep_forever
            return response

        transport.handle_async_request = handle_stubbornly
        yield http


@asynccontextmanager
async def late_by(least: float, most: float) -> AsyncIterator[None]:
    """Let the block be cut off by a deadline after a second, and be held up by no more than its clean-up."""
    began = anyio.current_time()
    with pytest.raises(TimeoutError) as caught:
        with anyio.fail_after(1):  # noqa: ASYNC100 - its block has them
            yield
    assert type(caught.value) is TimeoutError
    assert least <= anyio.current_time() - began - 1 <= most


@leaving_by("open_stream")
async def out_of_the_block() -> None:
    async with never_closing() as http, late_by(0, 4):
        await looped(anysse.open_stream(URL, client=http))


@leaving_by("EventStream.aclose")
async def closing_a_stream() -> None:
    async with never_closing() as http, anysse.open_stream(URL, client=http) as events:
        async with late_by(0, 2):
            await events.aclose()
        assert events.status is StreamStatus.IDLE


@leaving_by("EventStream.__aexit__")
async def leaving_a_stream_itself() -> None:
    async with never_closing() as http, anysse.open_stream(URL, client=http) as events:
        async with late_by(0, 2), events:
            pass
        assert events.status is StreamStatus.IDLE


@leaving_by("StreamClient.__aexit__")
async def leaving_a_client_whose_handler_stays() -> None:
    async with memory_client(httpx, held_stream(EVENT.encode())) as http:
        async with late_by(0, 10), StreamClient(URL, client=http) as client:
            request = client.start(on_close=lambda status: anyio.sleep_forever())
            await request.wait_for(StreamStatus.CONNECTED)
        assert client.requests == ()


@leaving_by("StreamClient.send_request")
async def leaving_a_request_whose_handler_stays() -> None:
    async with client_of(held_stream(EVENT.encode())) as client:
        async with late_by(0, 10):
            await client.send_request(on_close=lambda status: anyio.sleep_forever())
        assert client.requests == ()


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{name}-{case.__name__}") for name, case in VIRTUAL_CASES]
)
def test_clean_up_that_hangs_makes_it_late_and_nothing_else(case: Callable[[], Awaitable[None]]) -> None:
    in_virtual_time(case)


# --- deadlines around a single read -----------------------------------------------------------------------


@pytest.mark.parametrize("read", ["receive", "__anext__"])
@pytest.mark.parametrize("is_after", [False, True], ids=["event first", "deadline first"])
@pytest.mark.parametrize("count", range(4))
async def test_a_read_that_is_out_of_time_loses_no_event(read: str, is_after: bool, count: int) -> None:
    async def put_and_strike(scope: anyio.CancelScope, data: str) -> None:
        await turns(5)
        if is_after:
            scope.deadline = anyio.current_time()
            await turns(count)
        tap.put(f"id: {data}\ndata: {data}\n\n".encode())
        if not is_after:
            await turns(count)
            scope.deadline = anyio.current_time()

    tap, seen = Tap(), list[str]()
    async with memory_client(httpx, Answer(parts=tap)) as http:
        async with anysse.open_stream(URL, client=http) as events, anyio.create_task_group() as tasks:
            for number in range(1, 6):
                try:
                    with anyio.fail_after(PATIENCE) as scope:
                        tasks.start_soon(put_and_strike, scope, str(number))
                        seen.append((await getattr(events, read)()).data)
                except TimeoutError:
                    assert events.last_event_id == ("" if not seen else seen[-1])
                    seen.append((await events.receive()).data)
            assert (seen, events.last_event_id) == ([*"12345"], "5")


def test_nor_does_a_task_that_asyncio_cancels() -> None:
    async def main() -> None:
        tap, seen = Tap(), list[str]()
        async with memory_client(httpx, Answer(parts=tap)) as http:
            async with anysse.open_stream(URL, client=http) as events:
                for number in range(1, 11):
                    reading = asyncio.create_task(events.receive())
                    await turns(5)
                    tap.put(f"data: {number}\n\n".encode())
                    await turns(number % 5)
                    reading.cancel()
                    await asyncio.wait([reading])
                    event = await events.receive() if reading.cancelled() else reading.result()
                    seen.append(event.data)
        assert seen == [str(number) for number in range(1, 11)]

    asyncio.run(main())


async def test_a_loop_of_a_client_is_read_on_after_a_deadline() -> None:
    tap = Tap()
    async with client_of(Answer(parts=tap)) as client, client.stream() as messages:
        for number in range(1, 4):
            await by_anyio(messages.receive, checkpoint)
            tap.put(f"data: {number}\n\n".encode())
            assert await messages.receive() == number
