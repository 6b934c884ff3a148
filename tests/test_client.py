"""The life of a client's requests: how they end, who ends them, and that none of them is in another's way."""
# ruff: noqa: SIM117 - a server, and a client of it: two lines read better than one.

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

import anysse
from anysse import (
    ContentTypeError,
    EventTooLarge,
    InvalidRequest,
    ResponseError,
    ServerSentEvent,
    StatusError,
    StreamClient,
    StreamDropped,
    StreamError,
    StreamLimits,
    StreamRequest,
    StreamStatus,
    StreamTimeout,
    Timeouts,
)
from anysse.testing import Connection, Script
from anysse.testing import SocketServer as Server
from tests.diary import QUICK, URL, Diary, broken, client_of
from tests.server import answer, event_stream, feed, held, redirect, serve
from tests.streams import Answer, Tap, held_stream, in_virtual_time, memory_client, stream_of, turns

BEGUN = ["status connecting", "status connected", "open"]
COMPLETED = ["status completed", "complete", "close completed"]
CLOSED = ["status idle", "close idle"]


@pytest.fixture(
    params=[
        pytest.param(range(0, 160, 5), id="some"),
        pytest.param(range(160), id="all", marks=pytest.mark.slow),
    ]
)
def moments(request: pytest.FixtureRequest) -> range:
    """When to strike, in turns of the event loop: a request takes fewer than 160."""
    moments: range = request.param
    return moments


@asynccontextmanager
async def client_at(server: Server, **options: Any) -> AsyncIterator["StreamClient[Any]"]:
    """Give a client of a server, whose making costs nothing, and whose pool is empty in the end."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        async with StreamClient(server.url, client=http, **options) as client:
            yield client
        pool = http._transport._pool  # type: ignore[attr-defined]
        assert pool._requests == []
        assert [each for each in pool.connections if not each.is_idle()] == []


def on_data(seen: list[Any]) -> Callable[[Any, ServerSentEvent], None]:
    return lambda data, event: seen.append(data)


# --- done -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"data: 1\n\ndata: [DONE]\n\ndata: 2\n\n", b"data: 1\n\n"])
async def test_the_done_event_ends_a_request_and_need_not_come(body: bytes) -> None:
    diary = Diary()
    async with client_of(stream_of(body)) as client:
        assert await client.send_request(**diary.handlers()) is StreamStatus.COMPLETED
    assert diary.lines == [*BEGUN, "message 1", *COMPLETED]


async def test_the_done_event_ends_a_request_whose_server_goes_on() -> None:
    diary = Diary()
    async with serve(held("data: 1\n\ndata: [DONE]\n\n")) as server, client_at(server) as client:
        assert await client.send_request(**diary.handlers()) is StreamStatus.COMPLETED
        await server.all_closed()
    assert diary.lines == [*BEGUN, "message 1", *COMPLETED]


async def test_what_is_done_is_the_requests_own_business() -> None:
    body = b"data: 1\n\ndata: [DONE]\n\ndata: 2\n\ndata: end\n\ndata: 3\n\n"
    results = []
    async with client_of(*[stream_of(body)] * 3, done="end") as client:
        for own in ({}, {"done": "[DONE]"}, {"done": None}):
            results.append(seen := list[Any]())
            await client.send_request(on_message=on_data(seen), **own)
    assert results == [[1, "[DONE]", 2], [1], [1, "[DONE]", 2, "end", 3]]


async def test_an_event_that_a_function_takes_for_the_end_is_handed_out() -> None:
    diary = Diary()
    body = b"data: 1\n\nevent: named\ndata: 2\n\ndata: 3\n\n"
    async with client_of(stream_of(body), done=lambda event: event.event == "named") as client:
        await client.send_request(**diary.handlers())
    assert diary.lines == [*BEGUN, "message 1", "named 2", *COMPLETED]


PASSED = [*BEGUN, "message 1", "complete", "message 2", "status completed", "close completed"]


@pytest.mark.parametrize("is_in_one_read", [True, False])
async def test_a_done_event_that_closes_nothing_completes_where_it_stands(is_in_one_read: bool) -> None:
    diary = Diary()
    parts = [b"data: 1\n\n", b"data: [DONE]\n\n", b"data: 2\n\n"]
    if is_in_one_read:
        parts = [b"".join(parts)]
    async with client_of(stream_of(*parts), close_on_done=False) as client:
        assert await client.send_request(**diary.handlers()) is StreamStatus.COMPLETED
    assert diary.lines == PASSED


async def test_a_function_of_the_event_that_closes_nothing_completes_after_that_event() -> None:
    diary = Diary()
    done = lambda event: event.data == "1"  # noqa: E731 - as a caller writes it
    answers = [stream_of(b"data: 1\n\ndata: 2\n\n")]
    async with client_of(*answers, close_on_done=False, done=done) as client:
        await client.send_request(**diary.handlers())
    assert diary.lines == PASSED


async def test_it_completes_at_the_done_event_while_the_server_is_quiet() -> None:
    completed = anyio.Event()
    tap = Tap()
    async with client_of(Answer(parts=tap), close_on_done=False) as client:
        request = client.start(on_complete=completed.set)
        tap.put(b"data: [DONE]\n\n")
        await completed.wait()
        assert request.is_connected
        tap.end()
        assert await request.wait() is StreamStatus.COMPLETED


async def reset(connection: Connection) -> None:
    await connection.reset()


async def close(connection: Connection) -> None:
    await connection.drop()


async def hang(connection: Connection) -> None:
    await connection.hang()


async def send_too_much(connection: Connection) -> None:
    await connection.send(f"data: {'x' * 5000}\n\n")


async def be_done_again(connection: Connection) -> None:
    await connection.send("data: [DONE]\n\n")


ENDS = [
    pytest.param(end, id=end.__name__)
    for end in (reset, close, hang, send_too_much, be_done_again, lambda connection: checkpoint())
]


@pytest.mark.parametrize("timeouts", [Timeouts(idle=0.05), Timeouts(total=0.3)], ids=["idle", "total"])
@pytest.mark.parametrize("kind", ["reply", "feed"])
@pytest.mark.parametrize("end", ENDS)
async def test_whatever_follows_the_done_event_the_request_stays_completed(
    end: Script, kind: Any, timeouts: Timeouts
) -> None:
    async def script(connection: Connection) -> None:
        await event_stream(connection, "data: 1\n\n", "data: [DONE]\n\n", "data: 2\n\n")
        await may_end.wait()
        await end(connection)

    diary, may_end = Diary(), anyio.Event()
    diary.when("message 2", may_end.set)
    async with serve(script) as server:
        options: Any = {"method": "GET", "kind": kind, "retry": QUICK, "timeouts": timeouts}
        async with client_at(server, close_on_done=False, max_event_size=1000, **options) as client:
            assert await client.send_request(**diary.handlers()) is StreamStatus.COMPLETED
        assert len(server.requests) == 1
    assert [line for line in diary.lines if line != "message [DONE]"] == PASSED


# --- looking on -------------------------------------------------------------------------------------------


async def test_a_client_shows_its_latest_request() -> None:
    first, second = Tap(), Tap()
    async with client_of(Answer(parts=first), Answer(parts=second), last_event_id="0") as client:
        assert (client.status, client.is_connected, client.requests) == (StreamStatus.IDLE, False, ())
        assert (client.retry_count, client.last_event_id) == (0, "0")
        one = client.start()
        await one.wait_for(StreamStatus.CONNECTED)
        assert client.is_connected
        two = client.start(last_event_id="7")
        assert (client.status, client.last_event_id) == (two.status, "7")
        await two.wait_for(StreamStatus.CONNECTED)
        assert client.requests == (one, two)
        first.put(b"id: 1\ndata: x\n\n")
        first.end()
        assert await one.wait() is StreamStatus.COMPLETED
        assert client.requests == (two,)
        assert (one.last_event_id, one.is_connected) == ("1", False)
        assert (client.status, client.last_event_id) == (StreamStatus.CONNECTED, "7")
        second.put(b"id: 2\ndata: x\n\n")
        second.end()
        await two.wait()
        assert (client.status, client.is_connected, client.last_event_id) == ("completed", False, "2")
        assert repr(two) == f"<StreamRequest {two.number}: completed>"
        assert one.number < two.number


def test_the_retry_count_grows_and_falls_with_the_stream() -> None:
    async def main() -> None:
        def note(*_: object) -> None:
            seen.append((client.retry_count, client.requests[0].retry_count))

        seen: list[tuple[int, int]] = []
        answers = [Answer(status=503), Answer(status=503), stream_of(b"data: 1\n\n")]
        async with client_of(*answers, method="GET", retry=QUICK) as client:
            await client.send_request(on_retry=note, on_message=note)
            assert seen == [(1, 1), (2, 2), (0, 0)]

    in_virtual_time(main)


async def test_each_status_can_be_waited_for() -> None:
    async def wait_for(status: StreamStatus) -> None:
        await request.wait_for(status)
        passed.append(status.value)

    passed: list[str] = []
    answers = [Answer(parts=broken()), stream_of()]
    async with client_of(*answers, method="GET", retry=QUICK) as client, anyio.create_task_group() as tasks:
        request = client.start()
        for status in ("connecting", "connected", "waiting", "completed"):
            tasks.start_soon(wait_for, StreamStatus(status))
        await request.wait()
        await turns(3)
        with pytest.raises(anyio.EndOfStream):
            await request.wait_for(StreamStatus.WAITING)
    assert sorted(passed) == ["completed", "connected", "connecting", "waiting"]


async def test_who_waits_for_what_will_not_come_is_told_why() -> None:
    async with client_of(Answer(status=404), held_stream()) as client:
        failed = client.start()
        with pytest.raises(StatusError):
            await failed.wait_for(StreamStatus.CONNECTED)
        with pytest.raises(StatusError):
            await failed.wait()
        await failed.wait_for(StreamStatus.ERROR)
        disconnected = client.start()
        disconnected.disconnect()
        with pytest.raises(anyio.ClosedResourceError):
            await disconnected.wait_for(StreamStatus.CONNECTED)
        with pytest.raises(InvalidRequest):
            await disconnected.wait_for("gone")  # type: ignore[arg-type]


async def test_waiting_for_a_request_can_be_cancelled_and_ends_nothing() -> None:
    async with client_of(held_stream()) as client:
        request = client.start()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await request.wait()
        assert client.requests == (request,)


def test_a_request_that_waits_tells_for_how_long_and_may_be_hurried() -> None:
    async def main() -> None:
        answers = [Answer(status=503), held_stream(b"data: 1\n\n")]
        async with client_of(*answers, method="GET", retry=lambda failure: 60.0) as client:
            request = client.start()
            assert (request.response, request.last_error, request.next_attempt_in) == (None, None, None)
            await request.wait_for(StreamStatus.WAITING)
            await anyio.sleep(20)
            assert request.next_attempt_in == 40
            assert isinstance(request.last_error, StatusError)
            began = anyio.current_time()
            request.reconnect_now()
            await request.wait_for(StreamStatus.CONNECTED)
            assert anyio.current_time() == began
            assert request.response is not None
            assert request.response.status_code == 200
            request.disconnect()
            with pytest.raises(anyio.ClosedResourceError):
                request.reconnect_now()

    in_virtual_time(main)


# --- disconnecting ----------------------------------------------------------------------------------------

LIFE = [
    *BEGUN,
    *["message 1", "status waiting", "error 0", "retry 0.1"],
    *["status connecting", "status connected", "open", "named 2", *COMPLETED],
]


def life() -> list[Answer]:
    """Give answers to a request in the course of which each handler is called."""
    return [Answer(parts=broken(b"data: 1\n\n")), stream_of(b"event: named\ndata: 2\n\n")]


def after(line: str) -> list[str]:
    """Give what is written once a request was disconnected in the handler that wrote this line."""
    if line == "complete":  # it did, and nothing can change that
        return ["close completed"]
    return [] if line.startswith("close") else CLOSED


@pytest.mark.parametrize("is_of_client", [True, False])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("line", dict.fromkeys(LIFE))
def test_a_handler_that_disconnects_goes_on_to_its_own_end(
    line: str, is_async: bool, is_of_client: bool
) -> None:
    async def main() -> None:
        async with client_of(*life(), method="GET", retry=QUICK) as client:

            def disconnect() -> Any:
                before = client.requests[0].status
                (client if is_of_client else client.requests[0]).disconnect()
                assert client.status == (before if line.startswith("close") and not is_of_client else "idle")
                return go_on() if is_async else None

            async def go_on() -> None:
                await anyio.sleep(1)
                ends.append(line)

            diary.when(line, disconnect)
            end = await client.send_request(**diary.handlers())
            assert end is StreamStatus(diary.lines[-1].removeprefix("close "))

    diary, ends = Diary(is_async=is_async), list[str]()
    in_virtual_time(main)
    assert diary.lines == [*LIFE[: LIFE.index(line) + 1], *after(line)]
    assert ends == [line] * is_async


@pytest.mark.parametrize("line", dict.fromkeys(LIFE))
def test_a_handler_under_way_is_cancelled_when_another_task_disconnects(line: str) -> None:
    async def main() -> None:
        async def stay() -> None:
            is_there.set()
            try:
                await anyio.sleep(60)
            except anyio.get_cancelled_exc_class():
                cancelled.append(line)
                raise

        diary.when(line, stay)
        is_there = anyio.Event()
        async with client_of(*life(), method="GET", retry=QUICK) as client:
            request = client.start(**diary.handlers())
            await is_there.wait()
            client.disconnect()
            client.disconnect()
            assert client.status is StreamStatus.IDLE
            end = await request.wait()
            assert diary.lines[-1] == f"close {end}"

    diary, cancelled = Diary(is_async=True), list[str]()
    in_virtual_time(main)
    assert diary.lines == [*LIFE[: LIFE.index(line) + 1], *after(line)]
    assert cancelled == ([] if line.startswith("close") else [line])


async def never(request: Any) -> Answer:
    await anyio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("how", ["send_request", "start"])
@pytest.mark.parametrize(
    ("answers", "status"),
    [
        pytest.param([never], StreamStatus.CONNECTING, id="connecting"),
        pytest.param([httpx.ConnectError("no")], StreamStatus.WAITING, id="waiting"),
        pytest.param([held_stream()], StreamStatus.CONNECTED, id="connected"),
    ],
)
async def test_a_request_can_be_disconnected_in_each_status(
    answers: list[Any], status: StreamStatus, how: str
) -> None:
    diary, results = Diary(), []

    async def send() -> None:
        results.append(await client.send_request(**diary.handlers()))

    async with client_of(*answers, stream_of(), retry=lambda failure: 60.0) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send) if how == "send_request" else client.start(**diary.handlers())
            await anyio.wait_all_tasks_blocked()
            request = client.requests[0]
            assert request.status is status
            request.disconnect()
            assert request.status is StreamStatus.IDLE
            assert client.status is StreamStatus.IDLE
            request.disconnect()
            assert await request.wait() is StreamStatus.IDLE
        assert diary.lines[-2:] == CLOSED
        assert diary.lines.count("close idle") == 1
        assert results == [StreamStatus.IDLE] * (how == "send_request")
        request.disconnect()
        assert client.requests == ()
        assert await client.send_request() is StreamStatus.COMPLETED
        request.disconnect()
        assert client.status is StreamStatus.COMPLETED


async def test_a_request_that_is_disconnected_before_it_begins_sends_nothing() -> None:
    diary = Diary()
    async with memory_client(httpx, stream_of()) as http, StreamClient(URL, client=http) as client:
        request = client.start(**diary.handlers())
        request.disconnect()
        again = client.start()
        assert await request.wait() is StreamStatus.IDLE
        assert await again.wait() is StreamStatus.COMPLETED
        assert len(http.sent) == 1
    assert diary.lines == ["close idle"]


async def test_a_request_that_waits_for_its_turn_can_be_disconnected() -> None:
    diary, limits = Diary(), StreamLimits(max_connections=1)
    async with client_of(held_stream(), stream_of(), limits=limits) as client:
        first = client.start()
        await first.wait_for(StreamStatus.CONNECTED)
        second = client.start(**diary.handlers())
        await anyio.wait_all_tasks_blocked()
        assert limits.waiting == 1
        second.disconnect()
        assert await second.wait() is StreamStatus.IDLE
        assert (limits.connections, limits.waiting) == (1, 0)
        first.disconnect()
        assert await client.send_request() is StreamStatus.COMPLETED
    assert diary.lines == ["status connecting", *CLOSED]


async def test_messages_that_wait_for_a_handler_are_not_handled_any_more() -> None:
    async def stay() -> None:
        is_there.set()
        await anyio.sleep_forever()

    diary, is_there = Diary(is_async=True), anyio.Event()
    diary.when("message 1", stay)
    async with client_of(stream_of(b"data: 1\n\ndata: 2\n\n")) as client:
        request = client.start(**diary.handlers())
        await is_there.wait()
        await request.wait_for(StreamStatus.COMPLETED)
        request.disconnect()
        assert await request.wait() is StreamStatus.IDLE
    assert diary.lines == [*BEGUN, "message 1", *CLOSED]


async def test_a_bad_message_is_not_told_of_once_it_is_disconnected() -> None:
    def decode(event: ServerSentEvent) -> str:
        client.disconnect()
        raise ValueError

    diary = Diary()
    async with client_of(held_stream(b"data: 1\n\n"), decode=decode) as client:
        assert await client.send_request(**diary.handlers()) is StreamStatus.IDLE
    assert diary.lines == [*BEGUN, *CLOSED]


async def test_a_message_is_not_handled_once_it_is_disconnected() -> None:
    def decode(event: ServerSentEvent) -> str:
        client.disconnect()
        return "1"

    diary = Diary()
    async with client_of(held_stream(b"data: 1\n\n"), decode=decode) as client:
        assert await client.send_request(**diary.handlers()) is StreamStatus.IDLE
    assert diary.lines == [*BEGUN, *CLOSED]


async def test_a_client_is_idle_and_can_be_used_at_once() -> None:
    answers = [held_stream(), held_stream(), held_stream(b"data: 1\n\n")]
    diaries = [Diary(), Diary(), Diary()]
    async with client_of(*answers) as client:
        requests = [client.start(**diary.handlers()) for diary in diaries[:2]]
        for request in requests:
            await request.wait_for(StreamStatus.CONNECTED)
        client.disconnect()
        assert [request.status for request in requests] == [StreamStatus.IDLE] * 2
        assert (client.status, client.is_connected, client.retry_count) == (StreamStatus.IDLE, False, 0)
        third = client.start(**diaries[2].handlers())
        await third.wait_for(StreamStatus.CONNECTED)
        assert client.is_connected
        for request in requests:
            assert await request.wait() is StreamStatus.IDLE
        assert client.requests == (third,)
    for diary in diaries:
        assert diary.lines[-2:] == CLOSED


@pytest.mark.parametrize("lag", [0, 20])
async def test_a_handler_of_the_last_error_may_disconnect(lag: int) -> None:
    """Whether the request has caught up with its stream by then makes no difference."""
    diary = Diary(is_async=True)
    diary.when("message 1", lambda: turns(lag))
    async with client_of(Answer(parts=broken(b"data: 1\n\n"))) as client:
        diary.when("error 0", client.disconnect)
        assert await client.send_request(**diary.handlers()) is StreamStatus.IDLE
    assert diary.lines == [*BEGUN, "message 1", "status error", "error 0", *CLOSED]


async def test_an_observer_may_disconnect() -> None:
    """It is called in the task that reads, which is no handler's."""

    class Impatient(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.Connected):
                client.disconnect()

    diary = Diary()
    async with client_of(held_stream(b"data: 1\n\n"), observers=[Impatient()]) as client:
        assert await client.send_request(**diary.handlers()) is StreamStatus.IDLE
    assert diary.lines[-2:] == CLOSED
    assert "message 1" not in diary.lines


@pytest.mark.parametrize("is_handling", [True, False])
async def test_a_plain_callback_of_the_event_loop_may_disconnect(
    anyio_backend_name: str, is_handling: bool
) -> None:
    """No task runs then, so it is no handler's own."""
    diary = Diary(is_async=True)
    if is_handling:
        diary.when("open", anyio.sleep_forever)
    async with client_of(held_stream()) as client:
        request = client.start(**diary.handlers())
        await anyio.wait_all_tasks_blocked()
        if anyio_backend_name == "asyncio":
            asyncio.get_running_loop().call_soon(request.disconnect)
        else:
            import trio

            trio.lowlevel.current_trio_token().run_sync_soon(request.disconnect)
        assert await request.wait() is StreamStatus.IDLE
    assert diary.lines == [*BEGUN, *CLOSED]


async def test_a_disconnected_request_closes_its_connection() -> None:
    async with serve(held("data: 1\n\n")) as server, client_at(server) as client:
        await client.send_request(on_message=lambda data, event: client.disconnect())
        await server.all_closed()


# --- one at a time ----------------------------------------------------------------------------------------


@asynccontextmanager
async def exclusive_client(*answers: Any) -> AsyncIterator[tuple["StreamClient[Any]", Any]]:
    async with memory_client(httpx, *answers) as http:
        async with StreamClient(URL, client=http, exclusive=True) as client:
            with anyio.fail_after(10):  # noqa: ASYNC100 - its body has them
                yield client, http


@pytest.mark.parametrize("how", ["send_request", "start", "stream"])
async def test_the_older_request_is_closed_before_the_new_one_sends(how: str) -> None:
    async def second(request: Any) -> Answer:
        assert diary.lines == [*BEGUN, "message 1", *CLOSED]
        return stream_of(b"data: 2\n\n")

    async def say_goodbye() -> None:
        await turns(20)
        said.append("goodbye")

    diary, said, seen = Diary(is_async=True), list[str](), list[Any]()
    diary.when("close idle", say_goodbye)
    async with exclusive_client(held_stream(b"data: 1\n\n"), second) as (client, _):
        older = client.start(**diary.handlers())
        await older.wait_for(StreamStatus.CONNECTED)
        await turns(5)
        if how == "send_request":
            await client.send_request(on_message=on_data(seen))
        elif how == "start":
            await client.start(on_message=on_data(seen)).wait()
        else:
            async with client.stream() as messages:
                seen += [message async for message in messages]
        assert older.status is StreamStatus.IDLE
    assert said == ["goodbye"]
    assert seen == [2]


async def test_a_loop_of_the_older_stream_ends_in_order_before_the_new_one_sends() -> None:
    older = held_stream(b"data: 1\n\n")

    async def second(request: Any) -> Answer:
        assert older.is_closed
        return stream_of(b"data: 2\n\n")

    async def read() -> None:
        async with client.stream() as messages:
            async for message in messages:
                seen.append(message)
                is_open.set()
            seen.append("end")

    seen, is_open = list[Any](), anyio.Event()
    async with exclusive_client(older, second) as (client, _), anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await is_open.wait()
        await client.send_request(on_message=on_data(seen))
    assert sorted(seen, key=str) == [1, 2, "end"]


@pytest.mark.parametrize("how", ["send_request", "start", "stream"])
@pytest.mark.parametrize("line", ["status connecting", "open", "message 1", *CLOSED])
async def test_a_handler_may_send_the_next_request_itself(line: str, how: str) -> None:
    async def send_next() -> None:
        if how == "send_request":
            await client.send_request(on_message=on_data(seen))
        elif how == "start":
            client.start(on_message=on_data(seen))
        else:
            async with client.stream() as messages:
                seen.extend([data async for data in messages])

    diary, seen = Diary(is_async=True), list[Any]()
    diary.when(line, send_next)
    answers = [stream_of(b"data: 2\n\n")]
    if line != "status connecting":
        answers.insert(0, held_stream(b"data: 1\n\n"))
    async with exclusive_client(*answers) as (client, http):
        request = client.start(**diary.handlers())
        if line in CLOSED:
            await request.wait_for(StreamStatus.CONNECTED)
            await turns(10)
            request.disconnect()
        assert await request.wait() is StreamStatus.IDLE
        for other in client.requests:
            await other.wait()
        assert len(http.sent) == len(answers)
    assert seen == [2]
    assert diary.lines[-2:] == CLOSED


async def test_handlers_that_send_the_next_request_may_nest() -> None:
    async def send_next(data: object, event: ServerSentEvent) -> None:
        seen.append(data)
        end = await client.send_request(
            on_message=send_next, on_close=lambda status: seen.append(status.value)
        )
        seen.append(end.value)

    seen: list[Any] = []
    answers = [held_stream(b"data: %d\n\n" % number) for number in range(3)]
    async with exclusive_client(*answers, stream_of()) as (client, _):
        assert await client.send_request(on_message=send_next) is StreamStatus.IDLE
    assert seen == [0, 1, 2, "completed", "completed", "idle", "idle", "idle", "idle"]


async def test_of_several_new_requests_only_the_last_is_sent() -> None:
    diaries = [Diary() for _ in range(4)]
    async with exclusive_client(held_stream(), stream_of(b"data: 1\n\n")) as (client, http):
        first = client.start(**diaries[0].handlers())
        await first.wait_for(StreamStatus.CONNECTED)
        requests = [client.start(**diary.handlers()) for diary in diaries[1:]]
        assert await requests[-1].wait() is StreamStatus.COMPLETED
        assert len(http.sent) == 2
    assert [diary.lines[-1] for diary in diaries] == ["close idle"] * 3 + ["close completed"]


async def test_a_closing_handler_that_sends_again_is_displaced_as_any_other() -> None:
    async def again(status: StreamStatus) -> None:
        closed.append(status.value)
        if len(closed) == 1:
            closed.append(await client.send_request(on_close=again))

    closed: list[str] = []
    async with exclusive_client(held_stream(), held_stream(), stream_of()) as (client, http):
        first = client.start(on_close=again)
        await first.wait_for(StreamStatus.CONNECTED)
        first.disconnect()
        while len(http.sent) < 2:
            await checkpoint()
        assert await client.send_request() is StreamStatus.COMPLETED
        assert closed == ["idle", "idle", "idle"]


@pytest.mark.parametrize(
    "arguments", [{"timeouts": -1.0}, {"payload": object()}, {"path": "https://b/"}, {"on_open": 1}]
)
async def test_an_invalid_new_request_disconnects_nothing(arguments: dict[str, Any]) -> None:
    async with exclusive_client(held_stream()) as (client, _):
        older = client.start()
        await older.wait_for(StreamStatus.CONNECTED)
        with pytest.raises(InvalidRequest):
            await client.send_request(**arguments)
        with pytest.raises(InvalidRequest):
            client.start(**arguments)
        assert older.is_connected
        assert client.requests == (older,)


async def test_what_is_only_made_and_not_entered_disconnects_nothing() -> None:
    async with exclusive_client(held_stream(), stream_of()) as (client, _):
        older = client.start()
        await older.wait_for(StreamStatus.CONNECTED)
        stream = client.stream()
        assert older.is_connected
        async with stream as messages:
            assert older.status is StreamStatus.IDLE
            assert [message async for message in messages] == []


async def test_a_client_that_is_not_exclusive_has_many_at_once() -> None:
    async with client_of(*[held_stream() for _ in range(3)]) as client:
        requests = [client.start() for _ in range(3)]
        for request in requests:
            await request.wait_for(StreamStatus.CONNECTED)
        assert all(request.is_connected for request in requests)


# --- a loop -----------------------------------------------------------------------------------------------


async def test_a_stream_gives_what_handlers_get() -> None:
    def decode(event: ServerSentEvent) -> Any:
        return anysse.SKIP if event.event == "named" else event.data

    body = b"data: 1\n\nevent: named\ndata: 2\n\ndata: [DONE]\n\n"
    async with client_of(stream_of(body), stream_of(body)) as client:
        async with client.stream({"a": 1}) as messages:
            assert [message async for message in messages] == [1, 2]
            assert client.status is StreamStatus.COMPLETED
        assert client.requests == ()
        async with client.stream(decode=decode) as texts:
            assert [text async for text in texts] == ["1"]


async def test_two_streams_at_once_have_nothing_to_do_with_each_other() -> None:
    async with client_of(stream_of(b"data: 1\n\n"), stream_of(b"data: 2\n\n")) as client:
        async with client.stream() as one, client.stream() as two:
            assert len(client.requests) == 2
            assert [message async for message in two] == [2]
            assert [message async for message in one] == [1]


async def test_a_stream_is_entered_once() -> None:
    async with client_of(stream_of(), stream_of()) as client:
        stream = client.stream()
        async with stream:
            with pytest.raises(RuntimeError):
                await stream.__aenter__()
        with pytest.raises(RuntimeError):
            await stream.__aenter__()


async def test_leaving_a_stream_twice_counts_once() -> None:
    async with client_of(stream_of()) as client:
        stream = client.stream()
        await stream.__aenter__()
        for _ in range(2):
            await stream.__aexit__(None, None, None)
        assert client.requests == ()
        assert client.statistics().requests == 1


async def test_a_stream_that_is_refused_raises_as_it_is_entered() -> None:
    async with client_of(Answer(status=404)) as client:
        with pytest.raises(StatusError) as caught:
            async with client.stream():
                pytest.fail("it was refused")
        assert (client.status, client.requests) == (StreamStatus.ERROR, ())
        assert caught.value.retry_in is None


async def test_a_stream_raises_where_it_is_read_and_is_over_then() -> None:
    async with client_of(Answer(parts=broken(b"data: 1\n\n"))) as client:
        seen = []
        with pytest.raises(StreamDropped) as caught:  # noqa: PT012 - leaving is the point
            async with client.stream() as messages:
                request = client.requests[0]
                async for message in messages:
                    seen.append(message)  # noqa: PERF401 - what comes before the failure counts
        assert seen == [1]
        assert request.status is StreamStatus.ERROR
        with pytest.raises(StreamDropped) as again:
            await request.wait()
        assert again.value is caught.value


async def test_an_exception_of_the_block_leaves_as_itself() -> None:
    async with client_of(held_stream()) as client:
        with pytest.raises(LookupError) as caught:  # noqa: PT012 - leaving is the point
            async with client.stream():
                request = client.requests[0]
                raise LookupError
        assert caught.value.__cause__ is None
        assert (request.status, client.requests) == (StreamStatus.IDLE, ())


@pytest.mark.parametrize("is_of_client", [True, False])
async def test_the_loop_of_a_disconnected_stream_ends_in_order(is_of_client: bool) -> None:
    async with client_of(held_stream(b"data: 1\n\ndata: 2\n\n"), stream_of()) as client:
        seen = []
        async with client.stream() as messages:
            request = client.requests[0]
            async for message in messages:
                seen.append(message)
                (client if is_of_client else request).disconnect()
                assert request.status is StreamStatus.IDLE
            with pytest.raises(anyio.ClosedResourceError):
                await messages.receive()
        assert seen == [1]
        assert await request.wait() is StreamStatus.IDLE
        assert await client.send_request() is StreamStatus.COMPLETED


async def test_a_loop_that_waits_ends_in_order_when_another_task_disconnects() -> None:
    async def read() -> None:
        async with client.stream() as messages:
            assert [message async for message in messages] == [1]
        ended.append(True)

    ended: list[bool] = []
    async with client_of(held_stream(b"data: 1\n\n")) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        client.disconnect()
    assert ended == [True]


async def test_a_stream_that_is_disconnected_while_it_is_entered_was_not_opened() -> None:
    async def enter() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            async with client.stream():
                pytest.fail("there was no answer")
        refused.append(True)

    refused: list[bool] = []
    async with client_of(never) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(enter)
        await anyio.wait_all_tasks_blocked()
        request = client.requests[0]
        request.disconnect()
        assert await request.wait() is StreamStatus.IDLE
    assert refused == [True]


async def proxied(client: "StreamClient[Any]") -> AsyncIterator[str]:
    async with client.stream() as messages:
        async for message in messages:
            yield str(message)


@contextmanager
def what_trio_says_of_abandoned_generators() -> Iterator[None]:
    """Let pass what trio says of a generator that its user left to the garbage collector."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Async generator 'tests\.test_client\.proxied'")
        yield


async def lively(connection: Connection) -> None:
    """Send some events, each in a turn of its own, and be quiet."""
    await event_stream(connection)
    for number in range(6):
        await connection.send(f"id: {number}\ndata: {number}\n\n")
        await turns(2)
    await connection.hang()


@pytest.mark.parametrize("is_closed", [True, False])
async def test_a_generator_around_a_stream_may_be_abandoned_at_any_moment(is_closed: bool) -> None:
    async def use(count: int) -> None:
        if is_closed:
            async with aclosing(proxied(client)) as generator:  # type: ignore[type-var]
                await take(generator, count)
        else:
            await take(proxied(client), count)

    async def take(generator: AsyncIterator[str], count: int) -> None:
        async for _ in generator:
            count -= 1
            if count < 0:
                break

    with what_trio_says_of_abandoned_generators(), anyio.fail_after(30):
        async with serve(then=lively) as server, client_at(server) as client:
            for count in range(6):
                await use(count)
                gc.collect()
                await server.all_idle()
                while client.requests:
                    await checkpoint()


async def test_a_generator_around_a_stream_may_be_cancelled_at_any_moment(moments: range) -> None:
    async def use() -> None:
        async with aclosing(proxied(client)) as generator:  # type: ignore[type-var]
            async for _ in generator:
                await checkpoint()

    with anyio.fail_after(60):
        async with serve(then=lively) as server, client_at(server) as client:
            for count in moments:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(use)
                    await turns(count)
                    tasks.cancel_scope.cancel()
                await server.all_idle()
                assert client.requests == ()


# --- isolation --------------------------------------------------------------------------------------------


async def count_to_twenty(connection: Connection) -> None:
    await event_stream(connection)
    for number in range(20):
        await connection.send(f"data: {number}\n\n")
        await turns(3)
    await connection.send("data: [DONE]\n\n")


async def be_truncated(connection: Connection) -> None:
    await event_stream(connection, "data: 0\n\ndata: 1")
    await connection.drop()


async def be_reset(connection: Connection) -> None:
    await event_stream(connection, "data: 0\n\n")
    await connection.reset()


async def hang_up(connection: Connection) -> None:
    await connection.drop()


async def be_no_http(connection: Connection) -> None:
    await connection.write("SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await connection.drop()


async def be_redirected_nowhere(connection: Connection) -> None:
    await connection.respond(302, {"Location": "http://127.0.0.1:1/"}, b"")


FAILING: dict[str, Script] = {
    "/refused": be_redirected_nowhere,
    "/404": answer(404),
    "/503": answer(503, body="busy"),
    "/type": answer(200, {"Content-Type": "application/json"}, b"{}"),
    "/truncated": be_truncated,
    "/reset": be_reset,
    "/nothing": hang_up,
    "/garbage": be_no_http,
    "/loop": redirect("/loop"),
    "/large": feed(f"data: {'x' * 5000}\n\n"),
    "/bad-gzip": feed("data: 1\n\n", headers={"Content-Encoding": "gzip"}),
    "/silent": hang,
    "/quiet": held("data: 0\n\n"),
    "/total": held("data: 0\n\n"),
    "/handler": held("data: 0\n\n"),
    "/decode": held("data: 0\n\n"),
    "/disconnected": held("data: 0\n\n"),
    "/cancelled": held("data: 0\n\n"),
}
OUTCOMES: dict[str, Any] = {
    "/refused": anysse.ConnectError,
    "/404": StatusError,
    "/503": StatusError,
    "/type": ContentTypeError,
    "/large": EventTooLarge,
    "/loop": ResponseError,
    "/silent": StreamTimeout,
    "/quiet": StreamTimeout,
    "/total": StreamTimeout,
    "/handler": ZeroDivisionError,
    "/decode": ZeroDivisionError,
    "/disconnected": StreamStatus.IDLE,
    "/cancelled": "cancelled",
}


def divide_by(data: Any, event: ServerSentEvent) -> float:
    return float(1 / data)


async def outcome_of(client: "StreamClient[Any]", path: str) -> Any:
    """Send a request that fails in its own way; tell how it ended."""
    special: dict[str, dict[str, Any]] = {
        "/silent": {"timeouts": Timeouts(response=0.2)},
        "/quiet": {"timeouts": Timeouts(idle=0.2)},
        "/total": {"timeouts": Timeouts(total=0.2)},
        "/handler": {"on_message": divide_by},
        "/decode": {"decode": lambda event: 1 / 0},
        "/disconnected": {"on_message": lambda data, event: request.disconnect()},
    }
    try:
        if path != "/cancelled":
            request = client.start(path=path, **special.get(path, {}))
            return await request.wait()
        with anyio.CancelScope() as scope:
            await client.send_request(path=path, on_message=lambda data, event: scope.cancel())
    except (StreamError, ZeroDivisionError) as error:
        return error
    return "cancelled" if scope.cancelled_caught else None


async def test_of_a_hundred_requests_those_that_fail_are_in_nobodys_way() -> None:
    async def fail(path: str) -> None:
        outcomes.append((path, await outcome_of(client, path)))

    async def succeed(number: int) -> None:
        diary = diaries[number]
        assert await client.send_request(path="/good", **diary.handlers()) is StreamStatus.COMPLETED

    outcomes: list[tuple[str, Any]] = []
    diaries = [Diary(is_async=number % 2 == 0) for number in range(70)]
    paths = [*FAILING, *FAILING][:30]
    with anyio.fail_after(60):
        async with serve(routes={"/good": count_to_twenty, **FAILING}) as server:
            async with httpx.AsyncClient(trust_env=False, verify=False, limits=httpx.Limits()) as http:
                async with StreamClient(server.url, client=http, max_event_size=1000, retry=QUICK) as client:
                    async with anyio.create_task_group() as tasks:
                        for number in range(70):
                            tasks.start_soon(succeed, number)
                            if number < 30:
                                tasks.start_soon(fail, paths[number])
                    assert client.requests == ()
    expected = [*BEGUN, *(f"message {number}" for number in range(20)), *COMPLETED]
    assert [diary.lines for diary in diaries] == [expected] * 70
    assert len(outcomes) == 30
    for path, outcome in outcomes:
        expectation = OUTCOMES.get(path, StreamError)
        is_type = isinstance(expectation, type)
        assert isinstance(outcome, expectation) if is_type else outcome == expectation, (path, outcome)


# --- cancelled at any moment ------------------------------------------------------------------------------


async def brief(connection: Connection) -> None:
    """Send a few events, and be done."""
    await event_stream(connection, "data: 0\n\n")
    await turns(5)
    await connection.send("data: 1\n\ndata: [DONE]\n\n")


async def cut(connection: Connection) -> None:
    """Break off, so that the stream waits, and comes back."""
    await event_stream(connection, "retry: 100\ndata: 0\n\n")
    await connection.drop()


async def refusing(connection: Connection) -> None:
    await connection.respond(404, body="no")


SCRIPTS = [pytest.param(script, id=script.__name__) for script in (lively, brief, cut, refusing)]


def check_closed(diary: Diary) -> None:
    """See that a request that told of anything told of its end, once and last."""
    closings = [line for line in diary.lines if line.startswith("close")]
    assert len(closings) == bool(diary.lines)
    assert diary.lines[-1:] == closings


@pytest.mark.parametrize("script", SCRIPTS)
async def test_sending_may_be_cancelled_at_any_moment(script: Script, moments: range) -> None:
    async def send() -> None:
        with suppress(StatusError):
            await client.send_request(**diary.handlers())

    with anyio.fail_after(60):
        async with serve(then=script) as server, client_at(server, resend="always", retry=QUICK) as client:
            for count in moments:
                diary = Diary(is_async=count % 2 == 0)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(send)
                    await turns(count)
                    tasks.cancel_scope.cancel()
                check_closed(diary)
                assert client.requests == ()
                await server.all_idle()


@pytest.mark.parametrize("script", SCRIPTS)
async def test_sending_may_be_cancelled_natively_at_any_moment(
    anyio_backend_name: str, script: Script, moments: range
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("a native task.cancel() is asyncio's")

    async def send() -> None:
        with suppress(StatusError):
            await client.send_request(**diary.handlers())

    with anyio.fail_after(60):
        async with serve(then=script) as server, client_at(server, resend="always", retry=QUICK) as client:
            for count in moments:
                diary = Diary(is_async=count % 2 == 0)
                task = asyncio.create_task(send())
                await turns(count)
                task.cancel()
                await asyncio.wait([task])
                check_closed(diary)
                assert task.cancelled() or diary.lines[-1] in ("close completed", "close error")
                assert client.requests == ()
                await server.all_idle()


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_client_may_be_cancelled_at_any_moment(script: Script, moments: range) -> None:
    async def use() -> None:
        async with StreamClient(server.url, client=http, resend="always", retry=QUICK) as client:
            client.start(**diaries[0].handlers())
            with suppress(StatusError):
                async with client.stream() as messages:
                    async for _ in messages:
                        break
            with suppress(StatusError):
                await client.send_request(**diaries[1].handlers())

    with anyio.fail_after(60):
        async with serve(then=script) as server, httpx.AsyncClient(verify=False) as http:
            for count in moments:
                diaries = [Diary(), Diary(is_async=True)]
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(use)
                    await turns(count)
                    tasks.cancel_scope.cancel()
                for diary in diaries:
                    check_closed(diary)
                await server.all_idle()
            assert http._transport._pool._requests == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_client_may_be_disconnected_at_any_moment(script: Script, moments: range) -> None:
    with anyio.fail_after(60):
        async with serve(then=script) as server, client_at(server, resend="always", retry=QUICK) as client:
            for count in moments:
                diary = Diary(is_async=count % 2 == 0)
                request = client.start(**diary.handlers())
                await turns(count)
                client.disconnect()
                assert client.status is StreamStatus.IDLE
                with suppress(StatusError):
                    assert await request.wait() in (StreamStatus.IDLE, StreamStatus.COMPLETED)
                check_closed(diary)
                assert diary.lines[-1] == f"close {request.status}"
                await server.all_idle()


async def test_a_cancellation_cuts_a_closing_handler_short_only_after_a_while() -> None:
    async def say_goodbye(status: StreamStatus) -> None:
        await turns(20)
        said.append(status.value)

    said: list[str] = []
    async with client_of(held_stream()) as client:
        async with anyio.create_task_group() as tasks:
            send = lambda: client.send_request(on_close=say_goodbye)  # noqa: E731 - start_soon takes a function
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert said == ["idle"]


def test_a_closing_handler_that_hangs_holds_a_cancellation_up_for_a_bounded_time() -> None:
    async def main() -> None:
        async with client_of(held_stream()) as client:
            with anyio.move_on_after(1):
                await client.send_request(on_close=lambda status: anyio.sleep_forever())
            assert anyio.current_time() - began < 10

    began = 0.0

    async def timed() -> None:
        nonlocal began
        began = anyio.current_time()
        await main()

    in_virtual_time(timed)


async def test_a_closing_handler_that_fails_does_not_hide_a_cancellation() -> None:
    def fail(status: StreamStatus) -> None:
        raise LookupError

    async with client_of(held_stream()) as client:
        with anyio.CancelScope() as scope:
            await client.send_request(on_open=scope.cancel, on_close=fail)
        assert scope.cancelled_caught


async def test_an_event_that_comes_with_a_native_cancellation_is_no_reason_to_go_on(
    anyio_backend_name: str,
) -> None:
    """What wakes the request for a fact is a scope of its own: it takes no cancellation for its own."""
    if anyio_backend_name != "asyncio":
        pytest.skip("a native task.cancel() is asyncio's")
    for is_first in (True, False):
        tap = Tap()
        async with client_of(Answer(parts=tap), close_on_done=False) as client:
            task = asyncio.create_task(client.send_request())
            await anyio.wait_all_tasks_blocked()
            dispatch: Any = next(iter(client._live.values()))._dispatch  # type: ignore[attr-defined]
            if is_first:
                task.cancel()
            dispatch.observe(anysse.DoneReceived())
            if not is_first:
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


# --- leaving ----------------------------------------------------------------------------------------------


async def leave_at_the_end() -> None:
    pass


async def leave_with_an_exception() -> None:
    raise LookupError


async def leave_cancelled() -> None:
    await checkpoint()


WAYS = [leave_at_the_end, leave_with_an_exception, leave_cancelled]


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_a_client_ends_all_of_its_requests(way: Callable[[], Awaitable[None]]) -> None:
    async def send() -> None:
        ends.append(await client.send_request(**diaries[0].handlers()))

    async def read() -> None:
        async with client.stream() as messages:
            ends.append([message async for message in messages])

    diaries, ends = [Diary(is_async=True), Diary(is_async=True)], list[Any]()
    with anyio.fail_after(20):
        async with serve(then=held("data: 1\n\n")) as server, anyio.create_task_group() as tasks:
            with suppress(LookupError):
                with anyio.CancelScope() as scope:
                    async with StreamClient(server.url) as client:
                        tasks.start_soon(send)
                        tasks.start_soon(read)
                        request = client.start(**diaries[1].handlers())
                        await server.requested(3)
                        while not all(other.is_connected for other in client.requests):
                            await checkpoint()
                        await turns(20)
                        if way is leave_cancelled:
                            scope.cancel()
                        await way()
            assert client._client.is_closed
            assert request.status is StreamStatus.IDLE
            assert client.status is StreamStatus.IDLE
            await server.all_closed()
    for diary in diaries:
        assert diary.lines == [*BEGUN, "message 1", *CLOSED]
    assert sorted(ends, key=str) == [[1], StreamStatus.IDLE]


async def test_a_request_of_another_task_is_idle_as_soon_as_its_client_is_cancelled() -> None:
    """Its reader is gone then, whatever the block still does."""

    async def send() -> None:
        ends.append(await client.send_request(**diary.handlers()))
        has_ended.set()

    diary, ends, has_ended = Diary(), list[StreamStatus](), anyio.Event()
    async with memory_client(httpx, held_stream()) as http, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            async with StreamClient(URL, client=http) as client:
                tasks.start_soon(send)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
                with anyio.fail_after(5, shield=True):
                    await has_ended.wait()
    assert ends == [StreamStatus.IDLE]
    assert diary.lines == [*BEGUN, *CLOSED]


async def test_a_client_that_was_passed_stays_open() -> None:
    async with memory_client(httpx, stream_of()) as http:
        async with StreamClient(URL, client=http) as client:
            await client.send_request()
        assert not http.is_closed


async def test_a_client_is_used_within_its_block() -> None:
    client = StreamClient("https://a/")
    for use in (client.send_request, client.stream().__aenter__):
        with pytest.raises(RuntimeError, match="enter the client"):
            await use()
    with pytest.raises(RuntimeError, match="enter the client"):
        client.start()
    client.disconnect()
    stream = client.stream()
    async with client:
        with pytest.raises(RuntimeError, match="entered once: make another"):
            await client.__aenter__()
    for use in (client.send_request, client.__aenter__, stream.__aenter__):
        with pytest.raises(RuntimeError, match="make another"):
            await use()
    for use_at_once in (client.start, client.stream):
        with pytest.raises(RuntimeError, match="was left"):
            use_at_once()
    assert client.requests == ()


async def test_a_handler_that_is_told_of_the_end_can_start_nothing_more() -> None:
    async def again(status: StreamStatus) -> None:
        with pytest.raises(RuntimeError, match="was left"):
            await client.send_request()
        refused.append(status.value)

    refused: list[str] = []
    async with client_of(held_stream()) as client:
        request = client.start(on_close=again)
        await request.wait_for(StreamStatus.CONNECTED)
    assert refused == ["idle"]


def test_closing_handlers_have_a_bounded_time_as_their_client_is_left() -> None:
    async def main() -> None:
        async with client_of(held_stream(), held_stream()) as client:
            for _ in range(2):
                client.start(on_close=lambda status: anyio.sleep_forever())
            await anyio.wait_all_tasks_blocked()
            began = anyio.current_time()
        assert anyio.current_time() - began <= 10

    in_virtual_time(main)


async def test_a_group_of_the_blocks_own_leaves_as_it_is() -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - leaving is the point
        async with client_of(held_stream()) as client:
            client.start()
            raise ExceptionGroup("mine", [LookupError()])
    assert caught.value.message == "mine"
    assert len(caught.value.exceptions) == 1


async def test_a_request_that_ended_leaves_nothing_behind() -> None:
    async with client_of(*[stream_of(b"data: 1\n\n") for _ in range(3)]) as client:
        requests: list[StreamRequest] = [client.start() for _ in range(3)]
        for request in requests:
            await request.wait()
        assert client.requests == ()
        assert client.statistics().requests == 3
