"""The handlers of a client's request: called in order, each by itself, whatever they do themselves."""
# ruff: noqa: SIM117 - a client, and a request of it: two lines read better than one.

import logging
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

import anysse
from anysse import (
    SKIP,
    AnysseError,
    DecodeError,
    Handlers,
    InvalidRequest,
    ServerSentEvent,
    StatusError,
    StreamDropped,
    StreamStatus,
    StreamTimeout,
    Timeouts,
    decoders,
)
from anysse._dispatch import MAX_FACTS
from anysse.testing import Connection
from tests.diary import EXACT, HANDLERS, QUICK, URL, Diary, broken, client_of
from tests.server import event_stream, feed, serve
from tests.streams import Answer, Recorder, held_stream, in_virtual_time, memory_client, stream_of, turns

BEGUN = ["status connecting", "status connected", "open"]
COMPLETED = ["status completed", "complete", "close completed"]
FAILED = ["status error", "close error"]


@pytest.fixture(params=[False, True], ids=["plain", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    flag: bool = request.param
    return flag


@pytest.fixture
def diary(is_async: bool) -> Diary:
    return Diary(is_async=is_async)


class Bug(Exception):
    """What a handler raises."""


def raise_bug(*_: object) -> Any:
    raise Bug


async def raise_bug_later(*_: object) -> None:
    await checkpoint()
    raise Bug


# --- in order ---------------------------------------------------------------------------------------------


async def test_a_request_that_completes_tells_each_thing_in_order(diary: Diary) -> None:
    async with client_of(stream_of(b"data: 1\n\ndata: 2\n\n", b"data: [DONE]\n\n")) as client:
        assert await client.send_request({"a": 1}, **diary.handlers()) is StreamStatus.COMPLETED
    assert diary.lines == [*BEGUN, "message 1", "message 2", *COMPLETED]


async def test_it_is_the_same_in_the_background(diary: Diary) -> None:
    async with client_of(stream_of(b"data: 1\n\n")) as client:
        request = client.start({"a": 1}, **diary.handlers())
        assert await request.wait() is StreamStatus.COMPLETED
    assert diary.lines == [*BEGUN, "message 1", *COMPLETED]


async def test_it_is_the_same_over_a_socket(diary: Diary) -> None:
    async with serve(feed("data: 1\n\n", "event: named\ndata: 2\n\n", "data: [DONE]\n\n")) as server:
        async with anysse.StreamClient(server.url) as client:
            await client.send_request({"a": 1}, **diary.handlers())
    assert diary.lines == [*BEGUN, "message 1", "named 2", *COMPLETED]


async def test_a_204_completes_without_being_open(diary: Diary) -> None:
    async with client_of(Answer(status=204)) as client:
        assert await client.send_request(**diary.handlers()) is StreamStatus.COMPLETED
    assert diary.lines == ["status connecting", *COMPLETED]


@pytest.mark.parametrize("is_async", [False, True])
def test_each_connection_is_open_and_each_failure_an_error_with_its_count(is_async: bool) -> None:
    diary = Diary(is_async=is_async)

    async def main() -> None:
        answers = [
            Answer(parts=broken(b"data: 1\n\n")),
            Answer(status=503),
            stream_of(b"data: 2\n\n"),
        ]
        async with client_of(*answers, method="GET", retry=EXACT) as client:
            await client.send_request(**diary.handlers())

    in_virtual_time(main)
    assert diary.lines == [
        *[*BEGUN, "message 1"],
        *["status waiting", "error 0", "retry 1"],
        *["status connecting", "status waiting", "error 1", "retry 2"],
        *[*BEGUN, "message 2", *COMPLETED],
    ]


@pytest.mark.parametrize("is_async", [False, True])
def test_the_last_error_says_that_it_is_not_tried_again(is_async: bool) -> None:
    diary = Diary(is_async=is_async)
    began = 0.0

    async def main() -> None:
        nonlocal began
        async with client_of(*[Answer(status=503)] * 4, method="GET", retry=EXACT) as client:
            began = -anyio.current_time()
            with pytest.raises(StatusError) as caught:
                await client.send_request(**diary.handlers())
            began += anyio.current_time()
            assert caught.value is diary.errors[-1]
            assert client.status is StreamStatus.ERROR

    in_virtual_time(main)
    assert began == pytest.approx(1 + 2 + 4)
    assert diary.lines == [
        *["status connecting", "status waiting", "error 0", "retry 1"],
        *["status connecting", "status waiting", "error 1", "retry 2"],
        *["status connecting", "status waiting", "error 2", "retry 4"],
        *["status connecting", "status error", "error 3", "close error"],
    ]
    assert [error.retry_in for error in diary.errors] == [1.0, 2.0, 4.0, None]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_total_timeout_is_an_error_as_any_other(is_async: bool) -> None:
    diary = Diary(is_async=is_async)

    async def main() -> None:
        async with client_of(held_stream(b"data: 1\n\n"), timeouts=Timeouts(total=50.0)) as client:
            with pytest.raises(StreamTimeout) as caught:
                await client.send_request(**diary.handlers())
            assert caught.value is diary.errors[-1]
            assert caught.value.phase == "total"
            assert caught.value.retry_in is None

    in_virtual_time(main)
    assert diary.lines == [*BEGUN, "message 1", "status error", "error 0", "close error"]


async def test_a_handler_that_lags_behind_still_gets_all_in_order() -> None:
    """The stream has come back already as the first connection's first message is handled."""
    diary = Diary(is_async=True)
    is_over = anyio.Event()

    async def second(connection: Connection) -> None:
        await event_stream(connection, "data: 3\n\n", "data: 4\n\n")
        await connection.end()
        is_over.set()

    async def first(connection: Connection) -> None:
        await event_stream(connection, "data: 1\n\n", "data: 2\n\n")
        await connection.drop()

    async def lag() -> None:
        await is_over.wait()
        await turns(20)

    diary.when("message 1", lag)
    async with serve(first, second) as server:
        async with anysse.StreamClient(server.url, method="GET", retry=QUICK) as client:
            await client.send_request(**diary.handlers())
    assert diary.lines == [
        *[*BEGUN, "message 1", "message 2"],
        *["status waiting", "error 0", "retry 0.1"],
        *[*BEGUN, "message 3", "message 4", *COMPLETED],
    ]


async def test_a_handler_that_lags_behind_from_the_start_still_gets_all_in_order() -> None:
    diary = Diary(is_async=True)
    diary.when("status connecting", lambda: turns(100))
    async with client_of(stream_of(*[b"data: %d\n\n" % number for number in range(100)])) as client:
        await client.send_request(**diary.handlers())
    assert diary.lines == [*BEGUN, *[f"message {number}" for number in range(100)], *COMPLETED]


async def test_an_error_is_told_after_all_that_came_before_it(diary: Diary) -> None:
    async with client_of(Answer(parts=broken(b"data: 1\n\ndata: 2\n\n")), resend="safe") as client:
        with pytest.raises(StreamDropped):
            await client.send_request(**diary.handlers())
    assert diary.lines == [*BEGUN, "message 1", "message 2", "status error", "error 0", "close error"]


# --- which handler ----------------------------------------------------------------------------------------


async def test_handlers_come_as_one_object_too(diary: Diary) -> None:
    async with client_of(stream_of(b"data: 1\n\nevent: named\ndata: 2\n\n")) as client:
        await client.send_request(None, Handlers(**diary.handlers()))
    assert diary.lines == [*BEGUN, "message 1", "named 2", *COMPLETED]


async def test_a_handler_by_name_takes_the_place_of_the_objects(diary: Diary) -> None:
    seen: list[Any] = []
    async with client_of(stream_of(b"data: 1\n\n")) as client:
        handlers = Handlers(**diary.handlers())
        await client.send_request(None, handlers, on_message=lambda data, event: seen.append(data))
    assert diary.lines == [*BEGUN, *COMPLETED]
    assert seen == [1]


async def test_events_go_to_the_handler_of_their_type() -> None:
    seen: list[Any] = []

    def keep(name: str) -> Callable[[Any, ServerSentEvent], None]:
        return lambda data, event: seen.append((name, data, event.event))

    body = b"data: 1\n\nevent: a\ndata: 2\n\nevent: b\ndata: 3\n\nevent: c\ndata: 4\n\n"
    async with client_of(stream_of(body)) as client:
        await client.send_request(None, on_message=keep("other"), on={"a": keep("a"), "b": keep("b")})
    assert seen == [("other", 1, "message"), ("a", 2, "a"), ("b", 3, "b"), ("other", 4, "c")]


async def test_a_request_needs_no_handlers() -> None:
    answers = [stream_of(b"data: 1\n\n"), Answer(status=404)]
    async with client_of(*answers) as client:
        assert await client.send_request() is StreamStatus.COMPLETED
        with pytest.raises(StatusError):
            await client.send_request()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"on_message": 1}, "on_message"),
        ({"on": [1]}, "on"),
        ({"on": {"a": 1}}, "on"),
        ({"on": {1: print}}, "on"),
        ({"handlers": {"on_message": print}}, "handlers"),
        ({"decode": 1}, "decode"),
    ],
)
async def test_what_is_no_handler_is_refused_by_name(arguments: dict[str, Any], name: str) -> None:
    async with client_of() as client:
        with pytest.raises(InvalidRequest) as caught:
            await client.send_request(**arguments)
        assert caught.value.argument == name
        assert client.requests == ()


async def test_what_is_no_argument_is_a_type_error() -> None:
    async with client_of() as client:
        with pytest.raises(TypeError, match="on_mesage"):
            client.start(None, on_mesage=print)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="on_message"):
            client.stream(None, on_message=print)  # type: ignore[call-arg]


# --- decoding ---------------------------------------------------------------------------------------------


async def test_data_is_json_or_else_the_text_as_it_is() -> None:
    seen: list[Any] = []
    body = b'data: {"a": [1]}\n\ndata: {"a"\n\ndata: null\n\n'
    async with client_of(stream_of(body)) as client:
        await client.send_request(on_message=lambda data, event: seen.append(data))
    assert seen == [{"a": [1]}, '{"a"', None]


async def test_the_client_decodes_and_a_request_may_do_otherwise() -> None:
    body = b"data: 1\n\n"
    seen: list[Any] = []
    async with client_of(stream_of(body), stream_of(body), decode=decoders.text) as client:
        for decode in (None, lambda event: [event.data]):
            await client.send_request(on_message=lambda data, event: seen.append(data), decode=decode)
    assert seen == ["1", ["1"]]


async def test_what_a_decoder_skips_reaches_no_handler(diary: Diary) -> None:
    def decode(event: ServerSentEvent) -> Any:
        return SKIP if event.data == "skip" else event.data

    body = b"data: skip\n\ndata: 1\n\ndata: skip\n\ndata: skip\n\ndata: 2\n\ndata: skip\n\n"
    async with client_of(stream_of(body), decode=decode) as client:
        await client.send_request(**diary.handlers())
    assert diary.lines == [*BEGUN, "message 1", "message 2", *COMPLETED]


@pytest.mark.parametrize("kind", [ValueError, DecodeError])
async def test_a_message_that_cannot_be_decoded_is_an_error_and_the_stream_goes_on(
    diary: Diary, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def decode(event: ServerSentEvent) -> str:
        if event.data.startswith("bad"):
            raise DecodeError("a secret", event=event) if kind is DecodeError else ValueError("a secret")
        return event.data

    body = b"data: 1\n\ndata: bad 1\n\ndata: 2\n\ndata: bad 2\n\n"
    async with client_of(stream_of(body), decode=decode) as client:
        assert await client.send_request(**diary.handlers()) is StreamStatus.COMPLETED
    assert diary.lines == [*BEGUN, "message 1", "error 0", "message 2", "error 0", *COMPLETED]
    assert [error.retry_in for error in diary.errors] == [None, None]
    assert [error.event.data for error in diary.errors if isinstance(error, DecodeError)] == [
        "bad 1",
        "bad 2",
    ]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2


async def test_a_bad_message_is_told_after_what_came_before_it_and_before_the_rest() -> None:
    diary = Diary(is_async=True)
    diary.when("status connecting", lambda: turns(50))

    def decode(event: ServerSentEvent) -> str:
        if event.data == "bad":
            raise ValueError
        return event.data

    async with client_of(stream_of(b"data: bad\n\ndata: 1\n\ndata: bad\n\n"), decode=decode) as client:
        await client.send_request(**diary.handlers())
    assert diary.lines == [*BEGUN, "error 0", "message 1", "error 0", *COMPLETED]


CALLBACKS = {
    "decode": {"decode": lambda event: raise_bug() if event.data == "2" else event.data},
    "done": {"done": lambda event: raise_bug() if event.data == "2" else False},
    "on_comment": {"on_comment": raise_bug},
    "prepare": {"prepare": lambda request, attempt: raise_bug() if attempt.number == 2 else None},
    "accept_response": {
        "accept_response": lambda response: raise_bug() if "second" in response.headers else True
    },
}


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("lag", [0, 10])
def test_any_other_exception_of_a_callback_leaves_as_itself_after_what_came_before(
    name: str, lag: int
) -> None:
    async def main() -> None:
        headers = [("Content-Type", "text/event-stream"), ("Second", "yes")]
        answers = [Answer(parts=broken(b"data: 1\n\n")), stream_of(b"data: 2\n\n: x\n\n", headers=headers)]
        async with client_of(*answers, method="GET", retry=QUICK, **CALLBACKS[name]) as client:
            with pytest.raises(Bug):
                await client.send_request(**diary.handlers())
            assert client.status is StreamStatus.ERROR

    diary = Diary(is_async=True)
    diary.when("message 1", lambda: anyio.sleep(lag))
    in_virtual_time(main)
    assert diary.lines == [
        *[*BEGUN, "message 1", "status waiting", "error 0", "retry 0.1", "status connecting"],
        *(["status connected", "open"] if name not in ("prepare", "accept_response") else []),
        *(["message 2"] if name == "on_comment" else []),
        *FAILED,
    ]


# --- handlers that raise ----------------------------------------------------------------------------------


def drop_in(name: str) -> list[Any]:
    """Give answers in the course of which a handler is called."""
    if name in ("on_error", "on_retry"):
        return [Answer(parts=broken(b"data: 1\n\n")), stream_of(b"data: 2\n\n")]
    return [stream_of(b"event: named\ndata: 1\n\ndata: 1\n\n", b"data: [DONE]\n\n")]


RAISING = [
    pytest.param(handler, id=identity)
    for identity, handler in {"plain": raise_bug, "async": raise_bug_later}.items()
]


@pytest.mark.parametrize("raising", RAISING)
@pytest.mark.parametrize("name", HANDLERS)
async def test_a_handler_that_raises_ends_its_request_and_leaves_as_itself(
    name: str, raising: Callable[..., Any]
) -> None:
    diary = Diary()
    handlers = diary.handlers() | {name: {"named": raising} if name == "on" else raising}
    async with client_of(*drop_in(name), method="GET", retry=QUICK) as client:
        with pytest.raises(Bug) as caught:
            await client.send_request(None, **handlers)
        assert caught.value.__cause__ is None
        assert client.status is StreamStatus.ERROR
        assert client.requests == ()
    if name != "on_close":
        assert diary.lines[-1] == "close error"
        assert sum(line.startswith("close") for line in diary.lines) == 1
    assert diary.lines.count("status error") == (name not in ("on_close", "on_status"))


@pytest.mark.parametrize("raising", RAISING)
@pytest.mark.parametrize("name", HANDLERS)
async def test_a_handler_that_raises_in_the_background_is_logged_and_waiting_raises_it(
    name: str, raising: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary()
    handlers = {name: {"named": raising} if name == "on" else raising}
    answers = [held_stream(b"data: 1\n\n"), *drop_in(name), stream_of(b"data: 3\n\n")]
    async with client_of(*answers, method="GET", retry=QUICK) as client:
        other = client.start(None, **diary.handlers())
        await other.wait_for(StreamStatus.CONNECTED)
        request = client.start(None, **handlers)
        for _ in range(2):
            with pytest.raises(Bug):
                await request.wait()
        assert request.status is StreamStatus.ERROR
        assert client.requests == (other,)
        assert other.is_connected
        assert await client.send_request() is StreamStatus.COMPLETED
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    # It raises again as it is told how that ended.
    assert [record.exc_info[0] for record in failures if record.exc_info] == [Bug] * (
        1 + (name == "on_status")
    )
    assert diary.lines == [*BEGUN, "message 1", "status idle", "close idle"]


@pytest.mark.parametrize("raising", RAISING)
async def test_handlers_that_raise_at_an_error_of_the_stream_leave_in_its_place(
    raising: Callable[..., Any],
) -> None:
    diary = Diary()
    handlers = diary.handlers() | {"on_error": raising}
    async with client_of(Answer(status=404)) as client:
        with pytest.raises(Bug):
            await client.send_request(**handlers)
    assert diary.lines == ["status connecting", *FAILED]


async def test_a_handler_that_raises_the_error_it_was_given_is_no_other_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def raise_again(error: AnysseError, count: int) -> None:
        raise error

    async with client_of(Answer(status=404)) as client:
        with pytest.raises(StatusError):
            await client.send_request(on_error=raise_again)
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]


async def test_an_error_of_ours_that_a_handler_raises_is_logged_as_any_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client_of(stream_of(b"data: 1\n\n")) as client:
        request = client.start(on_message=lambda data, event: client.start(timeouts=-1.0))
        with pytest.raises(InvalidRequest):
            await request.wait()
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


async def test_closing_that_raises_after_a_failure_does_not_hide_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client_of(Answer(status=404)) as client:
        with pytest.raises(StatusError):
            await client.send_request(on_close=raise_bug)
        assert client.status is StreamStatus.ERROR
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info[0] for record in failures if record.exc_info] == [Bug]


async def test_a_group_that_a_handler_raises_stays_one() -> None:
    mine = ExceptionGroup("mine", [Bug()])

    async def raise_mine(*_: object) -> None:
        raise mine

    async with client_of(stream_of(b"data: 1\n\n")) as client:
        with pytest.raises(ExceptionGroup) as caught:
            await client.send_request(on_message=raise_mine)
        assert caught.value is mine


# --- back-pressure ----------------------------------------------------------------------------------------


async def test_a_slow_handler_holds_the_server_back() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            await checkpoint()
            yield b"data: 1\n\n"
            sent += 1

    blocked = anyio.Event()

    async def block(data: object, event: ServerSentEvent) -> None:
        blocked.set()
        await anyio.sleep_forever()

    async with client_of(Answer(parts=endless()), buffer=4) as client:
        client.start(on_message=block)
        await blocked.wait()
        await turns(500)
        assert sent <= 4 + 3


async def test_a_slow_handler_blocks_the_send_of_a_server_far_away() -> None:
    limit, sent = 64 * 2**20, 0

    async def flood(connection: Connection) -> None:
        nonlocal sent
        await event_stream(connection)
        while sent < limit:
            await connection.send(f"data: {'x' * 65_000}\n\n")
            sent += 65_000

    async def block(data: object, event: ServerSentEvent) -> None:
        await anyio.sleep_forever()

    async with serve(flood) as server:
        async with anysse.StreamClient(server.url, buffer=1) as client:
            client.start(on_message=block)
            await server.requested(1)
            before = -1
            while sent != before or not sent:
                before = sent
                await anyio.wait_all_tasks_blocked()
                await turns(50)
            assert sent < limit


def test_attempts_are_held_back_while_their_errors_are_not_handled() -> None:
    held_back: list[int] = []

    async def main() -> None:
        async def block(error: AnysseError, count: int) -> None:
            errors.append(count)
            if count == 3:
                await anyio.sleep(10_000)
                held_back.append(len(http.sent))

        errors: list[int] = []
        async with memory_client(httpx, *[Answer(status=503)] * 200, Answer(status=204)) as http:
            async with anysse.StreamClient(
                URL, client=http, method="GET", retry=lambda failure: 1.0
            ) as client:
                assert await client.send_request(on_error=block) is StreamStatus.COMPLETED
        assert errors == list(range(200))

    in_virtual_time(main)
    assert 4 < held_back[0] <= MAX_FACTS


def test_a_request_whose_attempts_are_held_back_can_be_disconnected() -> None:
    async def main() -> None:
        diary = Diary(is_async=True)
        diary.when("error 0", anyio.sleep_forever)
        async with memory_client(httpx, *[Answer(status=503)] * 200) as http:
            async with anysse.StreamClient(
                URL, client=http, method="GET", retry=lambda failure: 1.0
            ) as client:
                request = client.start(**diary.handlers())
                await anyio.sleep(1000)
                count = len(http.sent)
                assert count < 200
                request.disconnect()
                assert await request.wait() is StreamStatus.IDLE
                await anyio.sleep(1000)
                assert len(http.sent) == count
        assert diary.lines[-3:] == ["error 0", "status idle", "close idle"]

    in_virtual_time(main)


async def test_many_messages_at_once_leave_other_tasks_their_turn() -> None:
    seen = 0

    def count(data: object, event: ServerSentEvent) -> None:
        nonlocal seen
        seen += 1

    async def watch() -> None:
        while seen < 3000:
            shares.append(seen)
            await checkpoint()

    shares: list[int] = []
    async with client_of(stream_of(b"data: x\n\n" * 3000)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await client.send_request(on_message=count)
    assert max(later - earlier for earlier, later in pairwise(shares)) <= 64


@pytest.mark.parametrize("leaves_out", [False, True])
async def test_no_event_counts_before_what_came_ahead_of_it_was_handled(leaves_out: bool) -> None:
    async def take_long(data: object, event: ServerSentEvent) -> None:
        while len(recorder.of(anysse.Connected)) < 2:
            await checkpoint()
        await turns(5)  # the next event is here, and the loss of the connection was not told yet

    def decode(event: ServerSentEvent) -> object:
        return SKIP if event.data == "left out" else event.data

    recorder = Recorder()
    first = [b"id: 1\ndata: 1\n\n", *[b"id: 2\ndata: left out\n\n"] * leaves_out]
    answers = [Answer(parts=broken(*first)), stream_of(b"id: 3\ndata: 3\n\n")]
    async with client_of(*answers, method="GET", retry=QUICK, decode=decode, observers=[recorder]) as client:
        with pytest.raises(Bug):
            await client.send_request(on_message=take_long, on_retry=raise_bug)
        assert client.last_event_id == ("2" if leaves_out else "1")
