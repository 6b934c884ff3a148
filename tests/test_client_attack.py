"""What a saboteur tried with a client, and what it does about it."""
# ruff: noqa: SIM117 - a server, and a client of it: two lines read better than one.

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

import anysse
from anysse import StreamStatus
from tests.diary import Diary, client_of
from tests.streams import held_stream, in_virtual_time, memory_client, stream_of, turns

# --- exceptions that are words of a stream's own ------------------------------------------------------------

SIGNALS = [anyio.EndOfStream, anyio.ClosedResourceError, anyio.WouldBlock]


@pytest.mark.parametrize("signal", SIGNALS)
async def test_what_a_decoder_raises_is_never_taken_for_the_end_of_the_stream(
    signal: type[Exception],
) -> None:
    def decode(event: anysse.ServerSentEvent) -> str:
        if event.data == "2":
            raise signal
        return event.data

    diary = Diary()
    async with client_of(stream_of(b"data: 1\n\ndata: 2\n\n", b"data: 3\n\n"), decode=decode) as client:
        with pytest.raises(signal):
            await client.send_request(**diary.handlers())
    assert diary.without_statuses() == ["open", "message 1", "close error"]


@pytest.mark.parametrize("signal", SIGNALS)
async def test_what_prepare_raises_is_never_taken_for_the_end_of_the_stream(signal: type[Exception]) -> None:
    def prepare(request: Any, attempt: anysse.Attempt) -> None:
        raise signal  # a channel of tokens that ended, say

    diary = Diary()
    async with client_of(prepare=prepare) as client:
        with pytest.raises(signal):
            await client.send_request(**diary.handlers())
    assert diary.without_statuses() == ["close error"]


@pytest.mark.parametrize("culprit", ["decode", "done"])
async def test_a_loop_does_not_end_in_order_where_a_callback_raises_that_it_is_over(culprit: str) -> None:
    def fail(event: anysse.ServerSentEvent) -> Any:
        if event.data == "2":
            raise anyio.EndOfStream
        return culprit == "decode" and event.data

    options: dict[str, Any] = {"decode": anysse.decoders.text, culprit: fail}
    async with memory_client(httpx, stream_of(b"data: 1\n\n", b"data: 2\n\n")) as http:
        async with anysse.open_stream("https://a/", client=http, **options) as events:
            assert await anext(events) == "1"
            with pytest.raises(anyio.EndOfStream):
                await anext(events)


# --- waiting for what does not come -------------------------------------------------------------------------


async def test_who_waits_for_a_request_that_never_begins_is_told() -> None:
    may_close = anyio.Event()

    async def close(status: StreamStatus) -> None:
        await may_close.wait()

    async def wait() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await second.wait_for(StreamStatus.CONNECTED)
        may_close.set()

    async with client_of(held_stream(), exclusive=True) as client:
        first = client.start(on_close=close)
        await first.wait_for(StreamStatus.CONNECTED)
        second = client.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await turns(5)
            second.disconnect()  # while it waits for the first one to be told its end


async def test_a_stream_that_is_displaced_while_it_waits_for_its_turn_holds_nobody_up() -> None:
    may_close = anyio.Event()
    ends = []

    async def close(status: StreamStatus) -> None:
        await may_close.wait()
        ends.append(await client.send_request())  # which displaces the loop that waits for this handler

    async def loop() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await client.stream().__aenter__()

    async with client_of(held_stream(), stream_of(b"data: 1\n\n"), exclusive=True) as client:
        first = client.start(on_close=close)
        await first.wait_for(StreamStatus.CONNECTED)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop)
            await turns(5)
            may_close.set()
    assert ends == [StreamStatus.COMPLETED]


def test_a_closing_handler_whose_tasks_send_the_next_request_holds_it_up_for_a_bounded_time() -> None:
    async def main() -> None:
        async def close(status: StreamStatus) -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.send_request)

        async with client_of(stream_of(), stream_of(), exclusive=True) as client:
            with anyio.fail_after(10):
                assert await client.send_request(on_close=close) is StreamStatus.COMPLETED

    in_virtual_time(main)


async def test_a_handler_that_waits_for_its_own_request_is_told_so() -> None:
    async def wait(data: object, event: anysse.ServerSentEvent) -> None:
        await request.wait()

    async with client_of(stream_of(b"data: 1\n\n")) as client:
        request = client.start(on_message=wait)
        with pytest.raises(RuntimeError, match="its own request"):
            await request.wait()


@pytest.mark.parametrize("is_over", [False, True])
async def test_the_error_of_a_handler_can_be_waited_for_as_any_other_status(is_over: bool) -> None:
    def fail(data: object, event: anysse.ServerSentEvent) -> None:
        raise ZeroDivisionError

    async with client_of(held_stream(b"data: 1\n\n")) as client:
        request = client.start(on_message=fail)
        if is_over:
            with pytest.raises(ZeroDivisionError):
                await request.wait()
        await request.wait_for(StreamStatus.ERROR)
        assert request.status is StreamStatus.ERROR
        with pytest.raises(anyio.ClosedResourceError):
            await request.wait_for(StreamStatus.COMPLETED)


async def test_what_completed_at_its_done_event_can_be_waited_for_whatever_ends_it() -> None:
    body = b"data: 1\n\ndata: [DONE]\n\n"
    async with client_of(held_stream(body), close_on_done=False) as client:
        request = client.start(on_complete=client.disconnect)
        await request.wait_for(StreamStatus.COMPLETED)
        assert request.status is StreamStatus.COMPLETED


async def test_who_waits_for_a_stream_is_told_its_failure_even_if_its_loop_caught_it() -> None:
    async with client_of(stream_of(b"data: too large\n\n"), max_event_size=5) as client:
        async with client.stream() as messages:
            (request,) = client.requests
            with pytest.raises(anysse.EventTooLarge):
                await messages.receive()
        with pytest.raises(anysse.EventTooLarge):
            await request.wait()


def test_limits_that_are_an_observer_too_are_refused_since_they_would_wait_for_themselves() -> None:
    limits = anysse.StreamLimits(max_connections=1)
    with pytest.raises(anysse.InvalidRequest, match=r"^observers: "):
        anysse.StreamClient("https://a/", limits=limits, observers=[limits])
    anysse.StreamClient("https://a/", limits=limits, observers=[anysse.StreamLimits()])


# --- closing ------------------------------------------------------------------------------------------------


async def test_a_cancellation_lets_a_closing_handler_finish_even_where_another_handler_fails_by_it() -> None:
    lines = []

    async def fail(data: object, event: anysse.ServerSentEvent) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError

    async def close(status: StreamStatus) -> None:
        await checkpoint()
        lines.append(status)

    async with client_of(stream_of(b"data: 1\n\n")) as client:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(turns_then, 20, scope.cancel)
                with suppress(ValueError):
                    await client.send_request(on_message=fail, on_close=close)
    assert lines == [StreamStatus.ERROR]


# --- what a server may do to the log ------------------------------------------------------------------------


async def test_a_bad_message_of_a_type_without_end_is_a_short_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors: list[str] = []
    body = b"event: " + b"x" * 100_000 + b"\ndata: 1\n\n"
    async with client_of(stream_of(body), decode=lambda event: int("x")) as client:
        await client.send_request(on_error=lambda error, count: errors.append(str(error)))
    assert max(map(len, [*errors, *caplog.messages])) < 1000


async def turns_then(count: int, function: Callable[[], object]) -> None:
    await turns(count)
    function()
