"""Who holds something of anysse the wrong way is told what was done, and what to do instead, by one error."""
# ruff: noqa: SIM117 - a server, and a client of it: two lines read better than one.

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import ModuleType
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

import anysse
from anysse import Attempt, ServerSentEvent, StreamClient, StreamLimits, StreamStatus
from tests.diary import URL, client_of
from tests.server import held, serve
from tests.streams import Answer, Tap, held_stream, memory_client, stream_of, turns

ATTEMPT = Attempt(number=1, last_event_id="", last_error=None)
EVENT = b"data: 1\n\n"


async def in_another_task(function: Callable[..., Awaitable[object]], *arguments: object) -> Exception | None:
    """Call it there; give what it raises, which is to be one exception and no group."""
    raised: list[Exception | None] = []

    async def run() -> None:
        try:
            await function(*arguments)
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            raised.append(exc)
        else:
            raised.append(None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    (error,) = raised
    return error


@asynccontextmanager
async def idle_client() -> AsyncIterator["StreamClient[Any]"]:
    """Give a client that nobody has entered yet, whose requests never end."""
    async with memory_client(httpx, *[held_stream(EVENT) for _ in range(3)]) as http:
        yield StreamClient(URL, client=http)


# --- leaving in another task ------------------------------------------------------------------------------


async def test_a_stream_is_left_by_the_task_that_entered_it(library: ModuleType) -> None:
    async with serve(held(EVENT.decode())) as server, library.AsyncClient(trust_env=False) as http:
        opening = anysse.open_stream(server.url, client=http)
        async with opening as events:
            error = await in_another_task(opening.__aexit__, None, None, None)
            assert type(error) is RuntimeError
            assert "left in another task than entered it" in str(error)
            assert "or pass task_group= to open_stream()" in str(error)
            assert events.status is StreamStatus.IDLE
            await server.all_closed()  # it is ended all the same


async def test_a_stream_within_a_task_group_of_its_users_may_be_left_by_any_task(library: ModuleType) -> None:
    answer = held_stream(EVENT)
    async with memory_client(library, answer) as http, anyio.create_task_group() as tasks:
        opening = anysse.open_stream(URL, client=http, task_group=tasks)
        assert await in_another_task(opening.__aenter__) is None
        assert await in_another_task(opening.__aexit__, None, None, None) is None
        assert answer.is_closed


async def test_the_loop_of_a_client_may_be_left_by_any_task() -> None:
    async with idle_client() as client, client:
        stream = client.stream()
        assert await in_another_task(stream.__aenter__) is None
        assert len(client.requests) == 1
        assert await in_another_task(stream.__aexit__, None, None, None) is None
        assert client.requests == ()


async def test_a_client_is_left_by_the_task_that_entered_it() -> None:
    async with idle_client() as client:
        async with client:
            request = client.start()
            await request.wait_for(StreamStatus.CONNECTED)
            error = await in_another_task(client.__aexit__, None, None, None)
            assert type(error) is RuntimeError
            assert "left in another task than entered it" in str(error)
            assert await request.wait() is StreamStatus.IDLE
            async with client.stream() as messages:  # it can be used still
                assert await messages.receive() == 1


def test_a_generator_that_is_closed_in_another_task_says_what_is_wrong_with_it(library: ModuleType) -> None:
    async def events_of(http: Any) -> AsyncIterator[ServerSentEvent]:  # a fixture, say
        async with anysse.open_stream(URL, client=http) as events:
            async for event in events:
                yield event

    async def in_a_task(awaitable: Any) -> Any:
        task = asyncio.create_task(awaitable)
        return await task

    async def main() -> None:
        # Of the task group that nobody can leave any more, asyncio has to say something as well.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        answer = held_stream(EVENT, EVENT)
        async with memory_client(library, answer) as http:
            generator: Any = events_of(http)
            assert (await in_a_task(anext(generator))).data == "1"
            with pytest.raises(RuntimeError, match=r"pass task_group= to open_stream\(\)"):
                await in_a_task(generator.aclose())
            assert answer.is_closed

    asyncio.run(main())  # trio itself stops, and says why, as the task ends that entered the stream


@pytest.mark.parametrize("how", ["send_request", "start"])
async def test_a_handler_cannot_leave_its_own_client(how: str) -> None:
    async def leave(data: object, event: ServerSentEvent) -> None:
        await client.__aexit__(None, None, None)

    async with idle_client() as client:
        async with client:
            use = client.start(on_message=leave).wait if how == "start" else client.send_request
            handlers = {} if how == "start" else {"on_message": leave}
            with pytest.raises(RuntimeError, match=r"leave its own client: call client.disconnect\(\)"):
                await use(**handlers)
            assert client.requests == ()
            async with client.stream() as messages:
                assert await messages.receive() == 1


async def test_a_callback_cannot_leave_its_own_stream(library: ModuleType) -> None:
    async def prepare(request: Any, attempt: Attempt) -> None:
        await opening.__aexit__(None, None, None)

    async with memory_client(library) as http:
        opening = anysse.open_stream(URL, client=http, prepare=prepare)
        with pytest.raises(RuntimeError, match="was not entered"):  # yet
            async with opening:
                pytest.fail("it was entered")


# --- leaving what was not entered, entering twice ---------------------------------------------------------


def everything_to_enter(http: Any) -> dict[str, tuple[Any, str]]:
    return {
        "open_stream": (anysse.open_stream(URL, client=http), r"async with open_stream\(...\)"),
        "StreamClient": (StreamClient(URL, client=http), r"async with StreamClient\(...\)"),
        "stream": (StreamClient(URL, client=http).stream(), r"async with client.stream\(...\)"),
        "admit": (StreamLimits().admit(ATTEMPT), "async with"),
    }


@pytest.mark.parametrize("what", ["open_stream", "StreamClient", "stream", "admit"])
async def test_what_was_not_entered_cannot_be_left(library: ModuleType, what: str) -> None:
    async with memory_client(library) as http:
        context, instead = everything_to_enter(http)[what]
        with pytest.raises(RuntimeError, match=f"entered: use {instead}"):
            await context.__aexit__(None, None, None)


async def test_what_was_left_can_be_left_again_to_no_effect(library: ModuleType) -> None:
    async with memory_client(library, held_stream(), held_stream()) as http:
        client = StreamClient(URL, client=http)
        contexts: list[AbstractAsyncContextManager[Any]]
        async with client:
            contexts = [anysse.open_stream(URL, client=http), client.stream()]
            for context in contexts:
                async with context:
                    pass
                await context.__aexit__(None, None, None)
        await client.__aexit__(None, None, None)


async def test_a_slot_is_given_back_once() -> None:
    limits = StreamLimits(max_connections=1)
    admission = limits.admit(ATTEMPT)
    async with admission:
        pass
    with pytest.raises(RuntimeError, match="left once"):
        await admission.__aexit__(None, None, None)
    assert limits.connections == 0


async def test_of_two_who_enter_a_stream_at_once_one_is_told(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as http, anyio.create_task_group() as tasks:
        opening = anysse.open_stream(URL, client=http, task_group=tasks)
        async with opening as events:
            error = await in_another_task(opening.__aenter__)
            assert "entered once: call open_stream() again" in str(error)
            tap.put(EVENT)
            assert (await events.receive()).data == "1"


async def test_of_two_who_enter_a_client_at_once_one_is_told() -> None:
    async def use() -> None:
        async with client:
            await entered.wait()

    entered = anyio.Event()
    async with idle_client() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(use)
        await turns(5)
        error = await in_another_task(use)
        assert "entered once: make another one" in str(error)
        entered.set()


async def test_a_stream_that_could_not_begin_can_be_entered_once_it_can() -> None:
    async with idle_client() as client:
        stream = client.stream()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="enter the client before it is used"):
                await stream.__aenter__()
        async with client:
            async with stream as messages:
                assert await messages.receive() == 1
            with pytest.raises(RuntimeError, match=r"entered once: call client.stream\(\) again"):
                await stream.__aenter__()


# --- use after close --------------------------------------------------------------------------------------


async def test_a_stream_that_was_closed_says_so_whatever_it_is_asked_for(library: ModuleType) -> None:
    async with memory_client(library, held_stream(EVENT)) as http:
        async with anysse.open_stream(URL, client=http) as events:
            await events.aclose()
            for use in (events.receive, events.__anext__, lambda: events.wait_for(StreamStatus.CONNECTED)):
                with pytest.raises(anyio.ClosedResourceError, match="was closed: open another one"):
                    await use()
            with pytest.raises(anyio.ClosedResourceError, match="was closed: open another one"):
                events.receive_nowait()
            with pytest.raises(anyio.ClosedResourceError, match="is over: open another one"):
                events.reconnect_now()
            await events.aclose()
        assert (events.status, events.last_event_id, events.url) == (StreamStatus.IDLE, "", URL)
        assert events.statistics().requests == 1


async def test_a_handle_of_a_request_that_is_over_says_so() -> None:
    async with idle_client() as client, client:
        request = client.start()
        await request.wait_for(StreamStatus.CONNECTED)
        request.disconnect()
        assert await request.wait() is StreamStatus.IDLE
        with pytest.raises(anyio.ClosedResourceError, match="open another one"):
            request.reconnect_now()
        with pytest.raises(anyio.ClosedResourceError, match="was closed"):
            await request.wait_for(StreamStatus.CONNECTED)
        request.disconnect()
        assert await request.wait() is StreamStatus.IDLE


# --- two who read -----------------------------------------------------------------------------------------


async def test_two_readers_of_a_response_are_told_and_the_first_reads_on(library: ModuleType) -> None:
    async def read() -> None:
        seen.extend([event.data async for event in events])

    tap, seen = Tap(), list[str]()
    async with memory_client(library, Answer(parts=tap)) as http, http.stream("GET", URL) as response:
        events = anysse.read_events(response)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await turns(5)
            for use in (events.__anext__, events.aclose):
                with pytest.raises(anyio.BusyResourceError):
                    await use()
            tap.put(EVENT)
            tap.end()
        assert seen == ["1"]


@pytest.mark.parametrize("done", [None, "[DONE]"])
async def test_a_reader_of_a_response_that_was_closed_says_so(library: ModuleType, done: str | None) -> None:
    async with memory_client(library, stream_of(EVENT * 2, EVENT)) as http:
        async with http.stream("GET", URL) as response:
            events = anysse.read_events(response, done=done)
            async for _ in events:  # the loop that closes it ends in order
                await events.aclose()
            for _ in range(2):
                with pytest.raises(anyio.ClosedResourceError, match="event reader was closed"):
                    await anext(events)
                with pytest.raises(anyio.ClosedResourceError, match="event reader was closed"):
                    [event async for event in events]


async def test_a_response_is_read_once(library: ModuleType) -> None:
    async with memory_client(library, stream_of(EVENT)) as http, http.stream("GET", URL) as response:
        assert [event.data async for event in anysse.read_events(response)] == ["1"]
        with pytest.raises(library.StreamConsumed):  # which is the library's own to say
            await anext(anysse.read_events(response))


def test_a_callback_that_reads_on_itself_is_told_and_nothing_is_lost() -> None:
    def pieces() -> Any:
        yield EVENT
        with pytest.raises(ValueError, match="already executing"):  # as of any iterator of Python's
            next(events)
        yield EVENT

    events = anysse.iter_events(pieces())
    assert [event.data for event in events] == ["1", "1"]


async def test_a_loop_of_a_client_has_one_reader() -> None:
    async def read() -> None:
        seen.append(await messages.receive())

    tap, seen = Tap(), list[Any]()
    async with client_of(Answer(parts=tap)) as client, client.stream() as messages:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await turns(5)
            for use in (messages.receive, messages.__anext__):
                with pytest.raises(anyio.BusyResourceError, match="already reading from"):
                    await use()
            tap.put(EVENT)
        assert seen == [1]


async def test_a_body_of_the_transport_that_was_closed_gives_no_more(library: ModuleType) -> None:
    async with serve(held(EVENT.decode())) as server:
        transport = anysse.StreamingTransport()
        response: Any = await transport.handle_async_request(library.Request("GET", server.url))
        body = aiter(response.stream)
        assert await anext(body) == EVENT
        await response.stream.aclose()
        await server.all_closed()
        for _ in range(2):
            with pytest.raises(library.ReadError, match="closed"):
                await anext(body)
        await checkpoint()
        await transport.aclose()
