"""What the user of a stream holds, reads and steers; its timeouts, in virtual time."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import ModuleType
from typing import Any

import anyio
import pytest

import anysse
from anysse import ServerSentEvent, StreamStatus, StreamTimeout, Timeouts
from anysse.testing import Connection
from tests.server import event_stream, feed, held, serve
from tests.streams import (
    Answer,
    Recorder,
    Tap,
    data_of,
    held_stream,
    in_virtual_time,
    memory_client,
    stream_of,
    turns,
)

URL = "http://a/"
QUICK = anysse.ExponentialBackoff(initial=0.1, jitter=0.0)
NEVER = Timeouts.of(None)


async def take(events: "anysse.EventStream", count: int) -> list[str]:
    return [(await events.receive()).data for _ in range(count)]


async def failing(*parts: bytes, error: Exception) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise error


# --- status -----------------------------------------------------------------------------------------------


async def test_each_status_is_told_and_can_be_waited_for(library: ModuleType) -> None:
    recorder = Recorder()
    passed: list[str] = []

    async def wait_for(status: StreamStatus) -> None:
        await events.wait_for(status)
        passed.append(status.value)

    first = Tap()
    answers = [Answer(parts=first), Answer(status=503), stream_of(b"data: [DONE]\n\n")]
    async with memory_client(library, *answers) as client, anyio.create_task_group() as tasks:
        async with anysse.open_stream(
            URL, client=client, kind="feed", done="[DONE]", retry=QUICK, observers=[recorder]
        ) as events:
            assert events.status is StreamStatus.CONNECTED
            await events.wait_for(StreamStatus.CONNECTED)
            for status in (StreamStatus.WAITING, StreamStatus.CONNECTING, StreamStatus.COMPLETED):
                tasks.start_soon(wait_for, status)
            await turns(3)
            first.end()
            assert await data_of(events) == []
            assert events.status is StreamStatus.COMPLETED
            await events.wait_for(StreamStatus.COMPLETED)
    assert passed == ["waiting", "connecting", "completed"]
    once = ["connecting", "connected", "waiting"]
    assert recorder.statuses == [*once, "connecting", "waiting", "connecting", "connected", "completed"]


async def test_a_status_that_is_passed_through_in_one_tick_counts(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap), Answer(status=204)) as client:
        async with anyio.create_task_group() as tasks:
            async with anysse.open_stream(URL, client=client, retry=QUICK) as events:
                tasks.start_soon(events.wait_for, StreamStatus.CONNECTING)
                await turns(3)
                tap.put(b"data: x\n\n")
                tap.end()
                await events.wait_for(StreamStatus.WAITING)
                events.reconnect_now()
                await events.wait_for(StreamStatus.COMPLETED)


async def test_waiting_for_what_will_never_be_raises_how_it_ended(library: ModuleType) -> None:
    async def ended(*answers: Any, **options: Any) -> "anysse.EventStream":
        async with memory_client(library, *answers) as client:
            async with anysse.open_stream(URL, client=client, **options) as events:
                for _ in range(2):
                    with pytest.raises((anyio.EndOfStream, anysse.StreamError)) as caught:
                        await events.wait_for(StreamStatus.WAITING)
                    ends.append(caught.value)
                return events

    ends: list[Exception] = []
    events = await ended(Answer(status=204))
    assert [type(end) for end in ends] == [anyio.EndOfStream] * 2
    ends.clear()
    events = await ended(stream_of(b"data: x\n\n"), done="[DONE]", retry=None)
    assert ends == [events.last_error] * 2
    assert isinstance(events.last_error, anysse.StreamDropped)


async def test_waiting_for_a_status_of_a_closed_stream(library: ModuleType) -> None:
    async with memory_client(library, held_stream()) as client:
        async with anysse.open_stream(URL, client=client) as events:
            with pytest.raises(anysse.InvalidRequest) as caught:
                await events.wait_for("no such status")  # type: ignore[arg-type]
            assert caught.value.argument == "status"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(closed_while_waiting, events)
                await turns(3)
                await events.aclose()
            await events.wait_for(StreamStatus.IDLE)
            with pytest.raises(anyio.ClosedResourceError):
                await events.wait_for(StreamStatus.CONNECTED)


async def closed_while_waiting(events: "anysse.EventStream") -> None:
    with pytest.raises(anyio.ClosedResourceError):
        await events.wait_for(StreamStatus.WAITING)


# --- closing, and two readers -----------------------------------------------------------------------------


async def test_closing_from_another_task_ends_a_loop_that_waits(library: ModuleType) -> None:
    answer = held_stream(b"data: x\n\n")

    async def loop() -> None:
        seen.extend(await data_of(events))
        with pytest.raises(anyio.ClosedResourceError):
            await anext(events)

    seen: list[str] = []
    async with memory_client(library, answer) as client, anyio.create_task_group() as tasks:
        async with anysse.open_stream(URL, client=client) as events:
            tasks.start_soon(loop)
            await turns(10)
            await events.aclose()
            assert answer.is_closed
            for _ in range(2):
                with pytest.raises(anyio.ClosedResourceError):
                    await events.receive()
                with pytest.raises(anyio.ClosedResourceError):
                    await data_of(events)
    assert seen == ["x"]


async def test_closing_from_another_task_ends_a_receive_that_waits(library: ModuleType) -> None:
    async def receive() -> None:
        with pytest.raises(anyio.EndOfStream):
            await events.receive()

    async with memory_client(library, held_stream()) as client, anyio.create_task_group() as tasks:
        async with anysse.open_stream(URL, client=client) as events:
            tasks.start_soon(receive)
            await turns(5)
            await events.aclose()


async def test_a_loop_that_closes_its_stream_ends_in_order(library: ModuleType) -> None:
    seen = []
    async with memory_client(library, held_stream(b"data: x\n\n" * 3)) as client:
        async with anysse.open_stream(URL, client=client) as events:
            async for event in events:
                seen.append(event.data)
                await events.aclose()
    assert seen == ["x"]


async def test_two_readers_are_told(library: ModuleType) -> None:
    tap = Tap()

    async def read() -> None:
        seen.append(await events.receive())

    seen: list[ServerSentEvent] = []
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, client=client) as events, anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await turns(5)
            with pytest.raises(anyio.BusyResourceError):
                await events.receive()
            with pytest.raises(anyio.BusyResourceError):
                await anext(events)
            tap.put(b"data: x\n\n")
    assert [event.data for event in seen] == ["x"]


async def test_whoever_reads_beside_a_loop_is_told(library: ModuleType) -> None:
    tap = Tap()

    async def loop() -> None:
        seen.extend(await data_of(events))

    seen: list[str] = []
    async with memory_client(library, Answer(parts=tap), Answer(status=204)) as client:
        async with anysse.open_stream(URL, client=client, retry=QUICK) as events:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(loop)
                for data in (b"x", b"y"):
                    await turns(5)
                    with pytest.raises(anyio.BusyResourceError):
                        events.receive_nowait()
                    with pytest.raises(anyio.BusyResourceError):
                        await events.receive()
                    with pytest.raises(anyio.BusyResourceError):
                        await anext(events)
                    tap.put(b"data: " + data + b"\n\n")
                tap.end()
    assert seen == ["x", "y"]


async def test_the_end_and_the_failure_are_told_to_whoever_reads_again(library: ModuleType) -> None:
    async with memory_client(
        library, stream_of(b"data: x\n\n"), Answer(parts=failing(error=OSError()))
    ) as client:
        async with anysse.open_stream(URL, client=client, retry=None) as events:
            assert await data_of(events) == ["x"]
            assert await data_of(events) == []
            with pytest.raises(anyio.EndOfStream):
                await events.receive()
        async with anysse.open_stream(URL, client=client, retry=None) as events:
            for _ in range(2):
                with pytest.raises(anysse.StreamDropped) as caught:
                    await events.receive()
                assert caught.value is events.last_error
            with pytest.raises(anysse.StreamDropped):
                await data_of(events)


async def test_the_status_of_a_stream_that_was_left(library: ModuleType) -> None:
    async with memory_client(library, held_stream(), stream_of()) as client:
        async with anysse.open_stream(URL, client=client) as events:
            pass
        assert events.status is StreamStatus.IDLE
        async with anysse.open_stream(URL, client=client, kind="reply") as events:
            await data_of(events)
        assert events.status is StreamStatus.COMPLETED


# --- reconnecting on demand -------------------------------------------------------------------------------


async def test_reconnect_now_cuts_a_wait_short(library: ModuleType) -> None:
    answers = [stream_of(b"retry: 60000\nid: 7\ndata: x\n\n"), held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client) as events:
            assert await take(events, 1) == ["x"]
            await events.wait_for(StreamStatus.WAITING)
            # Due from the tick in which that is decided, though the connection is still being closed.
            assert events.next_attempt_in is not None
            assert 59 < events.next_attempt_in <= 90
            await turns(20)
            events.reconnect_now()
            events.reconnect_now()
            with anyio.fail_after(5):
                assert await take(events, 1) == ["y"]
            assert events.next_attempt_in is None
    assert client.sent[1].headers["last-event-id"] == "7"


async def test_reconnect_now_counts_while_the_old_connection_is_being_closed(library: ModuleType) -> None:
    answers = [stream_of(b"retry: 60000\ndata: x\n\n"), held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client) as events:
            await events.wait_for(StreamStatus.WAITING)
            events.reconnect_now()
            with anyio.fail_after(5):
                assert await take(events, 2) == ["x", "y"]


async def test_reconnect_now_gives_up_a_connection_that_is_fine(library: ModuleType) -> None:
    first = held_stream(b"id: 7\ndata: x\n\n")
    recorder = Recorder()
    async with memory_client(library, first, held_stream(b"data: y\n\n")) as client:
        async with anysse.open_stream(URL, client=client, observers=[recorder]) as events:
            assert await take(events, 1) == ["x"]
            events.reconnect_now()
            assert await take(events, 1) == ["y"]
            assert (events.retry_count, events.last_error) == (0, None)
            assert events.statistics().retries == 0
        assert first.is_closed
    assert client.sent[1].headers["last-event-id"] == "7"
    assert recorder.of(anysse.AttemptFailed) == []


async def test_reconnect_now_while_connecting_does_nothing(library: ModuleType) -> None:
    may_answer = anyio.Event()

    async def later(request: Any) -> Answer:
        await may_answer.wait()
        return held_stream(b"data: y\n\n")

    async with memory_client(library, stream_of(b"retry: 100\ndata: x\n\n"), later) as client:
        async with anysse.open_stream(URL, client=client) as events:
            await events.wait_for(StreamStatus.CONNECTING)
            events.reconnect_now()
            may_answer.set()
            assert await take(events, 2) == ["x", "y"]
    assert len(client.sent) == 2


async def test_reconnect_now_is_refused_where_the_request_may_not_be_sent_again(library: ModuleType) -> None:
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        async with anysse.open_stream(URL, method="POST", client=client) as events:
            await events.receive()
            with pytest.raises(anysse.InvalidRequest) as caught:
                events.reconnect_now()
            assert caught.value.argument == "resend"
            assert events.status is StreamStatus.CONNECTED


async def test_reconnect_now_of_a_stream_that_is_over(library: ModuleType) -> None:
    async with memory_client(library, Answer(status=204), held_stream()) as client:
        for _ in range(2):
            async with anysse.open_stream(URL, client=client) as events:
                await events.aclose()
                with pytest.raises(anyio.ClosedResourceError):
                    events.reconnect_now()


def test_a_wait_for_the_floor_is_no_time_to_hurry(library: ModuleType) -> None:
    async def main() -> None:
        answers = [held_stream(), held_stream(), held_stream(b"data: x\n\n")]
        async with memory_client(library, *answers) as client:
            async with anysse.open_stream(URL, client=client) as events:
                times = [anyio.current_time()]
                for _ in range(2):
                    events.reconnect_now()
                    await events.wait_for(StreamStatus.WAITING)
                    events.reconnect_now()  # not closer than 0.1 s to the attempt before
                    await events.wait_for(StreamStatus.CONNECTED)
                    times.append(anyio.current_time())
                assert await take(events, 1) == ["x"]
        assert times == pytest.approx([times[0], times[0] + 0.1, times[0] + 0.2])

    in_virtual_time(main)


# --- a connection that is given up in the very tick in which it brings something --------------------------


async def test_a_restart_in_the_tick_of_a_read_keeps_the_order(library: ModuleType) -> None:
    tap = Tap()
    answers = [Answer(parts=tap), held_stream(b"data: 3\n\n", b"data: 4\n\n", b"data: 5\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, buffer=1) as events:
            tap.put(b"data: 1\n\n")  # fills the buffer
            await turns(20)
            tap.put(b"id: 2\ndata: 2\n\n")  # wakes the reader, for which there is no room
            events.reconnect_now()
            await turns(20)
            assert await take(events, 5) == ["1", "2", "3", "4", "5"]
    assert client.sent[1].headers["last-event-id"] == "2"


async def test_a_restart_while_the_buffer_is_full_comes_after_what_was_read(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap), held_stream(b"data: 4\n\n")) as client:
        async with anysse.open_stream(URL, client=client, buffer=1) as events:
            for number in (1, 2, 3):
                tap.put(b"id: %d\ndata: %d\n\n" % (number, number))
            await turns(20)
            events.reconnect_now()
            assert await take(events, 2) == ["1", "2"]
            assert await take(events, 1) == ["4"]  # the third was never read; its server knows
    assert client.sent[1].headers["last-event-id"] == "2"


async def test_a_restart_in_the_tick_of_the_done_event_changes_nothing(
    library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, client=client, done="[DONE]") as events:
            await turns(20)
            tap.put(b"data: x\n\ndata: [DONE]\n\n")
            events.reconnect_now()
            assert await data_of(events) == ["x"]
            assert events.status is StreamStatus.COMPLETED
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_restart_that_an_event_overtakes_is_a_cut(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, method="POST", client=client, resend="undelivered") as events:
            await turns(20)
            tap.put(b"data: x\n\n")
            events.reconnect_now()
            assert await take(events, 1) == ["x"]
            with pytest.raises(anysse.StreamDropped, match="resend"):
                await events.receive()
    assert len(client.sent) == 1


# --- looking on -------------------------------------------------------------------------------------------


def test_statistics(library: ModuleType) -> None:
    async def main() -> None:
        tap = Tap()
        answers = [Answer(parts=tap), Answer(status=503), Answer(status=503), held_stream()]
        async with memory_client(library, *answers) as client:
            retry = anysse.ExponentialBackoff(initial=10, factor=2, jitter=0)
            async with anysse.open_stream(URL, client=client, retry=retry, timeouts=NEVER) as events:
                zero = events.statistics()
                assert (zero.connections, zero.retries) == (1, 0)
                assert (zero.bytes_received, zero.events_received) == (0, 0)
                assert (zero.connected_for, zero.last_byte_age, zero.last_event_age) == (0, None, None)
                await anyio.sleep(5)
                tap.put(b"data: x\n\ndata: y\n\n")
                await anyio.sleep(2)
                tap.put(b":\n")
                await anyio.sleep(1)
                some = events.statistics()
                assert (some.bytes_received, some.events_received) == (20, 2)
                assert (some.connected_for, some.last_byte_age, some.last_event_age) == (8, 1, 3)
                tap.end()
                await events.wait_for(StreamStatus.WAITING)
                await anyio.sleep(1)
                assert events.statistics().connected_for is None
                await events.wait_for(StreamStatus.CONNECTING)
                await events.wait_for(StreamStatus.WAITING)
                assert (events.next_attempt_in, events.retry_count) == (10, 1)
                await anyio.sleep(4)
                assert events.next_attempt_in == 6
                await anyio.sleep(6.5)
                assert (events.next_attempt_in, events.retry_count) == (19.5, 2)
                assert isinstance(events.last_error, anysse.StatusError)
                assert events.statistics().retries == 2
                await events.wait_for(StreamStatus.CONNECTED)
                assert events.statistics().connections == 2
                assert events.next_attempt_in is None
                await events.aclose()
                assert events.statistics().connected_for is None

    in_virtual_time(main)


async def test_the_last_event_id_is_that_of_what_was_handed_out(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap), held_stream()) as client:
        async with anysse.open_stream(URL, client=client, last_event_id="0") as events:
            assert events.last_event_id == "0"
            tap.put(b"id: 1\ndata: x\n\nid: 2\ndata: y\n\nid: 3\n\n")
            await turns(20)
            assert events.last_event_id == "0"
            assert (await events.receive()).id == "1"
            assert events.last_event_id == "1"
            # The one received goes into a reconnection: what is buffered will still be handed out.
            events.reconnect_now()
            await events.wait_for(StreamStatus.WAITING)
            await events.wait_for(StreamStatus.CONNECTED)
            assert client.sent[-1].headers["last-event-id"] == "3"
            assert events.last_event_id == "1"
            assert (await events.receive()).id == "2"
            assert events.last_event_id == "2"
            with anyio.move_on_after(0.05):
                await events.receive()
            assert events.last_event_id == "3"


async def test_a_block_with_an_id_alone_counts_once_what_came_before_was_handed_out(
    library: ModuleType,
) -> None:
    async with memory_client(library, stream_of(b"id: 1\ndata: x\n\n", b"id: 2\n\n")) as client:
        async with anysse.open_stream(URL, client=client, retry=None) as events:
            assert [(event.id, events.last_event_id) async for event in events] == [("1", "1")]
            assert events.last_event_id == "2"


async def test_the_url_and_that_of_the_response(library: ModuleType) -> None:
    moved = Answer(status=302, headers=[("Location", "/b?token=x")])
    async with memory_client(library, moved, held_stream()) as client:
        async with anysse.open_stream("http://u:p@a", params={"x": "y"}, client=client) as events:
            assert events.url in ("http://u:p@a?x=y", "http://u:p@a/?x=y")
            assert events.response is not None
            assert events.response.url == "http://u:p@a/b?token=x"
            assert events.response.status_code == 200
            assert "token=x" not in repr(events.response)


async def test_the_reconnection_time_is_the_servers(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, client=client) as events:
            assert events.reconnection_time is None
            for line, seconds in ((b"retry: 1", 0.1), (b"retry: 20000", 20.0), (b"retry: 9999999", 3600.0)):
                tap.put(line + b"\ndata: x\n\n")
                await events.receive()
                assert events.reconnection_time == seconds


# --- delivery ---------------------------------------------------------------------------------------------


async def test_a_slow_consumer_holds_the_server_back(library: ModuleType) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            await turns(1)
            yield b"data: %d\n\n" % given

    async with memory_client(library, Answer(parts=endless())) as client:
        async with anysse.open_stream(URL, client=client, buffer=5) as events:
            await turns(200)
            assert given == 6  # five in the buffer, and one in the reader's hand
            assert await take(events, 100) == [str(number) for number in range(1, 101)]
            await turns(200)
            assert given <= 106


async def test_one_read_of_a_transport_is_cut_into_pieces(library: ModuleType) -> None:
    whole = b"".join(b"data: %d\n\n" % number for number in range(50_000))
    assert len(whole) > 5 * 65_536
    async with memory_client(library, stream_of(whole)) as client:
        async with anysse.open_stream(URL, client=client, buffer=2, retry=None) as events:
            await turns(100)
            assert events.statistics().bytes_received == 2 * 65_536  # one waits, one is in the reader's hand
            assert await data_of(events) == [str(number) for number in range(50_000)]


async def test_a_consumer_that_never_waits_lets_others_have_their_turn(library: ModuleType) -> None:
    count = 0

    async def other() -> None:
        nonlocal count
        while True:
            await turns(1)
            count += 1

    async with memory_client(library, stream_of(b"data: x\n\n" * 3200)) as client:
        async with anysse.open_stream(URL, client=client, retry=None) as events:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(other)
                await events.receive()
                before = count
                async for _ in events:
                    pass
                assert count - before >= 99
                tasks.cancel_scope.cancel()


async def test_a_reader_that_never_waits_lets_others_have_their_turn(library: ModuleType) -> None:
    async def without_waiting() -> AsyncIterator[bytes]:
        for _ in range(320):
            yield b":\n"

    count = 0

    async def other() -> None:
        nonlocal count
        while True:
            await turns(1)
            count += 1

    async with memory_client(library, Answer(parts=without_waiting())) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            async with anysse.open_stream(URL, client=client, retry=None) as events:
                before = count
                assert await data_of(events) == []
                assert count - before >= 9
            tasks.cancel_scope.cancel()


async def test_what_came_before_a_failure_is_delivered_first(library: ModuleType) -> None:
    parts = [b"data: %d\n\n" % number for number in range(10)]
    answer = Answer(parts=failing(*parts, error=OSError("gone")))
    async with memory_client(library, answer) as client:
        async with anysse.open_stream(URL, client=client, retry=None) as events:
            await events.wait_for(StreamStatus.ERROR)
            assert await take(events, 10) == [str(number) for number in range(10)]
            with pytest.raises(anysse.StreamDropped, match="gone"):
                await events.receive()


async def test_too_large_an_event_is_told_after_those_before_it(library: ModuleType) -> None:
    body = b"data: 1\n\ndata: 2\n\ndata: " + b"x" * 100 + b"\n\ndata: 3\n\n"
    async with memory_client(library, stream_of(body), stream_of(body)) as client:
        async with anysse.open_stream(URL, client=client, max_event_size=50) as events:
            assert await take(events, 2) == ["1", "2"]
            with pytest.raises(anysse.EventTooLarge) as caught:
                await events.receive()
            assert (caught.value.url, caught.value.status_code) == (URL, 200)
        async with anysse.open_stream(
            URL, client=client, max_event_size=50, oversize="skip", retry=None
        ) as events:
            assert await data_of(events) == ["1", "2", "3"]


async def test_comments_are_told_and_what_the_callback_raises_leaves_bare(library: ModuleType) -> None:
    seen: list[str] = []

    def note(comment: str) -> None:
        seen.append(comment)
        if comment == "bad":
            raise LookupError("mine")

    async with memory_client(library, held_stream(b": one\n:two\n\ndata: x\n\n", b":bad\n")) as client:
        async with anysse.open_stream(URL, client=client, on_comment=note) as events:
            assert await take(events, 1) == ["x"]
            with pytest.raises(LookupError, match="mine"):
                await events.receive()
            assert events.status is StreamStatus.ERROR
    assert seen == ["one", "two", "bad"]


async def test_an_observer_that_is_left_behind_by_an_error_on_the_way_out_is_logged(
    library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy(anysse.Observer):
        def admit(self, attempt: anysse.Attempt, /) -> Any:
            return Falls()

    class Falls:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None:
            raise LookupError("mine")

    async with memory_client(library, stream_of(b"data: [DONE]\n\n")) as client:
        async with anysse.open_stream(URL, client=client, done="[DONE]", observers=[Clumsy()]) as events:
            assert await data_of(events) == []
        assert events.status is StreamStatus.COMPLETED
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "cleaning up after http://a/ failed" in record.getMessage()


# --- done -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ("[DONE]", ["a", "b"]),
        (lambda event: event.data == "[DONE]", ["a", "b", "[DONE]"]),
        (lambda event: event.event == "end", ["a"]),
        ("", ["a", "b", "[DONE]", "c"]),
    ],
)
async def test_the_done_event_ends_the_stream(library: ModuleType, done: Any, expected: list[str]) -> None:
    body = b"data: a\n\ndata: b\n\ndata: [DONE]\n\ndata: c\n\n"
    if expected == ["a"]:
        body = b"event: end\n" + body
    if done == "":
        body += b"data\n\ndata: d\n\n"
    async with memory_client(library, stream_of(body)) as client:
        async with anysse.open_stream(URL, client=client, done=done) as events:
            assert await data_of(events) == expected
            assert events.status is StreamStatus.COMPLETED


async def test_what_a_done_predicate_raises_leaves_bare(library: ModuleType) -> None:
    def done(event: ServerSentEvent) -> bool:
        return bool(event.json()["done"])

    async with memory_client(library, held_stream(b"data: {}\n\n")) as client:
        async with anysse.open_stream(URL, client=client, done=done) as events:
            with pytest.raises(KeyError):
                await events.receive()


async def test_an_end_before_done_is_a_cut(library: ModuleType) -> None:
    async with memory_client(library, stream_of(b"data: a\n\n")) as client:
        async with anysse.open_stream(URL, method="POST", client=client, done="[DONE]") as events:
            assert await take(events, 1) == ["a"]
            with pytest.raises(anysse.StreamDropped, match="before its done event"):
                await events.receive()


async def test_the_connection_of_a_done_stream_serves_the_next_request(library: ModuleType) -> None:
    async def done_with_a_tail(connection: Connection) -> None:
        await event_stream(connection, "data: x\n\n", "data: [DONE]\n\n", "data: tail\n\n")

    async def plain(connection: Connection) -> None:
        await connection.respond(200, {}, b"ok")

    async with library.AsyncClient(trust_env=False, verify=False) as client:
        async with serve(done_with_a_tail, plain, feed("data: y\n\n"), plain) as server:
            async with anysse.open_stream(server.url, client=client, done="[DONE]") as events:
                async for event in events:
                    assert event.data == "x"
            assert (await client.get(server.url)).text == "ok"
            async with anysse.open_stream(server.url, client=client, kind="reply") as events:
                assert await data_of(events) == ["y"]
            assert (await client.get(server.url)).text == "ok"
            assert len(server.connections) == 1


async def test_a_done_stream_that_goes_on_is_given_up(library: ModuleType) -> None:
    async def endless(connection: Connection) -> None:
        await event_stream(connection, "data: [DONE]\n\n")
        while True:
            await connection.send(b":" * 10_000)

    async with library.AsyncClient(trust_env=False, verify=False) as client:
        with anyio.fail_after(10):
            for script in (endless, held("data: [DONE]\n\n")):
                async with serve(script) as server:
                    async with anysse.open_stream(server.url, client=client, done="[DONE]") as events:
                        assert await data_of(events) == []
                    await server.all_closed()


async def test_a_short_idle_timeout_does_not_undo_a_done_event(
    library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_client(library, held_stream(b"data: [DONE]\n\n")) as client:
        async with anysse.open_stream(
            URL, client=client, done="[DONE]", timeouts=Timeouts(idle=0.02)
        ) as events:
            assert await data_of(events) == []
        assert events.status is StreamStatus.COMPLETED
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# --- timeouts, in virtual time ----------------------------------------------------------------------------


def test_the_first_event_has_a_timeout_of_its_own(library: ModuleType) -> None:
    async def main() -> None:
        taps = [Tap(), Tap()]
        async with memory_client(library, *(Answer(parts=tap) for tap in taps)) as client:
            timeouts = Timeouts(first_event=30, idle=100)
            async with anysse.open_stream(URL, client=client, timeouts=timeouts, retry=None) as events:
                await anyio.sleep(29)
                taps[0].put(b":\n\ndata: x\n\n")
                assert await take(events, 1) == ["x"]
                await anyio.sleep(90)  # what comes after the first event is the idle timeout's
                assert events.status is StreamStatus.CONNECTED
            async with anysse.open_stream(URL, client=client, timeouts=timeouts, retry=None) as events:
                for _ in range(29):
                    await anyio.sleep(1)
                    taps[1].put(b":\n")
                assert events.status is StreamStatus.CONNECTED
                with pytest.raises(StreamTimeout) as caught:
                    await events.receive()
            assert (caught.value.phase, caught.value.seconds) == ("first_event", 30)
            assert (caught.value.url, caught.value.status_code) == (URL, 200)

    in_virtual_time(main)


def test_silence_is_given_up_never_too_early_and_a_sixteenth_late_at_most(library: ModuleType) -> None:
    async def main() -> None:
        tap = Tap()
        async with memory_client(library, Answer(parts=tap)) as client:
            async with anysse.open_stream(
                URL, client=client, timeouts=Timeouts(idle=160), retry=None
            ) as events:
                for _ in range(51):  # the last one comes when the deadline was not moved just before
                    tap.put(b":\n")
                    await anyio.sleep(7)
                tap.put(b"data: x\n\n")
                last = anyio.current_time()
                assert await take(events, 1) == ["x"]
                with pytest.raises(StreamTimeout) as caught:
                    await events.receive()
                assert 160 <= anyio.current_time() - last <= 170
        assert (caught.value.phase, caught.value.seconds) == ("idle", 160)

    in_virtual_time(main)


def test_the_default_idle_timeout_is_that_of_a_feed(library: ModuleType) -> None:
    async def main() -> None:
        async with memory_client(library, held_stream(), held_stream()) as client:
            async with anysse.open_stream(URL, client=client, retry=None) as events:
                with pytest.raises(StreamTimeout) as caught:
                    await events.receive()
                assert (caught.value.phase, caught.value.seconds) == ("idle", 300)
            async with anysse.open_stream(URL, client=client, kind="reply", retry=None) as events:
                with anyio.move_on_after(1_000_000):
                    await events.receive()
                assert events.status is StreamStatus.CONNECTED

    in_virtual_time(main)


def test_a_slow_consumer_is_no_silent_server(library: ModuleType) -> None:
    async def main() -> None:
        tap = Tap()
        async with memory_client(library, Answer(parts=tap)) as client:
            async with anysse.open_stream(
                URL, client=client, buffer=1, timeouts=Timeouts(idle=10), retry=None
            ) as events:
                for number in range(4):
                    tap.put(b"data: %d\n\n" % number)
                for number in range(3):  # while one more waits for room, nobody listens to the server
                    await anyio.sleep(1000)
                    assert await take(events, 1) == [str(number)]
                assert events.status is StreamStatus.CONNECTED
                before = anyio.current_time()
                assert await take(events, 1) == ["3"]
                with pytest.raises(StreamTimeout):
                    await events.receive()
                assert 10 <= anyio.current_time() - before < 11

    in_virtual_time(main)


def test_total_ends_the_stream_at_the_next_read_and_never_in_the_consumers_code(library: ModuleType) -> None:
    async def main() -> None:
        tap = Tap()
        async with memory_client(library, Answer(parts=tap)) as client:
            async with anysse.open_stream(URL, client=client, timeouts=Timeouts(total=60)) as events:
                tap.put(b"data: 1\n\n")
                tap.put(b"data: 2\n\n")
                assert await take(events, 1) == ["1"]
                await anyio.sleep(1000)
                assert events.status is StreamStatus.ERROR
                assert await take(events, 1) == ["2"]
                with pytest.raises(StreamTimeout) as caught:
                    await events.receive()
        assert (caught.value.phase, caught.value.seconds, caught.value.url) == ("total", 60, URL)

    in_virtual_time(main)


def test_total_delivers_what_waits_for_room_too(library: ModuleType) -> None:
    async def main() -> None:
        tap = Tap()
        async with memory_client(library, Answer(parts=tap)) as client:
            async with anysse.open_stream(
                URL, client=client, timeouts=Timeouts(total=60), buffer=1
            ) as events:
                for number in range(3):
                    tap.put(b"data: %d\n\n" % number)
                await anyio.sleep(100)
                assert await take(events, 2) == ["0", "1"]
                with pytest.raises(StreamTimeout):
                    await events.receive()

    in_virtual_time(main)


def test_total_counts_over_reconnections_and_while_connecting(library: ModuleType) -> None:
    async def silent(request: Any) -> Answer:
        await anyio.sleep_forever()
        raise AssertionError

    async def main() -> None:
        timeouts = Timeouts(total=60, response=None)
        async with memory_client(library, *[Answer(status=503)] * 100) as client:
            retry = anysse.ExponentialBackoff(max_connect_retries=None)
            with pytest.raises(StreamTimeout) as caught:
                async with anysse.open_stream(URL, client=client, timeouts=timeouts, retry=retry):
                    pass
            assert caught.value.phase == "total"
            assert anyio.current_time() == 60
        async with memory_client(library, silent) as client:
            with pytest.raises(StreamTimeout):
                async with anysse.open_stream(URL, client=client, timeouts=timeouts):
                    pass
            assert anyio.current_time() == 120

    in_virtual_time(main)


def test_no_timeout_at_all(library: ModuleType) -> None:
    async def slow(request: Any) -> Answer:
        await anyio.sleep(80_000)
        return held_stream(b"data: x\n\n")

    async def main() -> None:
        async with memory_client(library, slow) as client:
            async with anysse.open_stream(URL, client=client, timeouts=None) as events:
                assert await take(events, 1) == ["x"]
                with anyio.move_on_after(1_000_000):
                    await events.receive()
                assert events.status is StreamStatus.CONNECTED

    in_virtual_time(main)


def test_retry_count_starts_anew_once_a_connection_lasted(library: ModuleType) -> None:
    async def drop_after(seconds: float) -> AsyncIterator[bytes]:
        await anyio.sleep(seconds)
        yield b":\n"
        raise OSError("gone")

    async def main() -> None:
        answers = [Answer(parts=drop_after(seconds)) for seconds in (1, 1, 31, 1)]
        async with memory_client(library, *answers, held_stream()) as client:
            recorder = Recorder()
            async with anysse.open_stream(URL, client=client, observers=[recorder]) as events:
                while events.statistics().connections < 5:
                    await events.wait_for(StreamStatus.WAITING)
                    await events.wait_for(StreamStatus.CONNECTED)
        counts = [fact.error.retry_count for fact in recorder.of(anysse.AttemptFailed)]  # type: ignore[attr-defined]
        assert counts == [0, 1, 0, 1]

    in_virtual_time(main)


# --- what a review found ----------------------------------------------------------------------------------


async def test_what_was_buffered_is_not_handed_out_after_closing(library: ModuleType) -> None:
    """Not even where a receive was about to take it."""
    parts = [b"data: x\n\n"] * 40
    async with memory_client(library, held_stream(*parts)) as client:
        async with anysse.open_stream(URL, client=client) as events, anyio.create_task_group() as tasks:

            async def read() -> None:
                with pytest.raises(anyio.EndOfStream):
                    await take(events, 100)

            tasks.start_soon(read)
            await turns(2)
            await events.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await anext(events)


async def test_an_observer_may_ask_for_a_new_connection_as_it_is_told_of_one(library: ModuleType) -> None:
    stream: list[anysse.EventStream] = []

    class Restless(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.Connected) and stream:
                stream.pop().reconnect_now()

    answers = [held_stream(b"retry: 100\n\n"), held_stream(b"data: x\n\n"), held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, observers=[Restless()]) as events:
            stream.append(events)
            events.reconnect_now()
            assert (await events.receive()).data == "y"
            assert len(client.sent) == 3


async def test_a_callback_may_close_the_stream(library: ModuleType) -> None:
    stream: list[anysse.EventStream] = []

    async def prepare(request: Any, attempt: anysse.Attempt) -> None:
        if attempt.number == 2:
            await stream[0].aclose()

    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        with anyio.fail_after(1):
            async with anysse.open_stream(URL, client=client, prepare=prepare) as events:
                stream.append(events)
                await events.receive()
                events.reconnect_now()
                assert await data_of(events) == []
        assert len(client.sent) == 1


async def test_an_observer_that_swallows_is_an_error(library: ModuleType) -> None:
    class Swallower(anysse.Observer):
        def admit(self, attempt: anysse.Attempt, /) -> Any:
            return suppressing()

    async with memory_client(library, held_stream(), held_stream()) as client:
        with pytest.raises(RuntimeError, match=r"admit\(\) swallowed"):
            async with anysse.open_stream(
                URL, client=client, observers=[Swallower()], accept_response=lambda response: 1 / 0 > 1
            ):
                pass


@asynccontextmanager
async def suppressing() -> AsyncIterator[None]:
    with suppress(ZeroDivisionError):
        yield


async def test_what_fails_while_closing_is_no_failure_of_the_stream(library: ModuleType) -> None:
    class Body(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"retry: 100\nid: 1\ndata: x\n\n"
            raise library.ReadError("reset")

        async def aclose(self) -> None:
            raise library.CloseError("reset, too")

    class Transport(library.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            await turns(1)
            return library.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Body())

        async def aclose(self) -> None:
            raise library.CloseError("this as well")

    client = library.AsyncClient(transport=Transport())
    async with anysse.open_stream(URL, client=client, kind="feed") as events:
        assert [(await events.receive()).id for _ in range(2)] == ["1", "1"]


async def test_a_native_cancellation_while_leaving_leaves_nothing(
    library: ModuleType, anyio_backend_name: str
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("asyncio's own")
    for ticks in range(30):
        async with memory_client(library, stream_of(b"data: x\n\n")) as client:

            async def leave(client: Any = client) -> None:
                async with anysse.open_stream(URL, client=client, kind="reply") as events:
                    await data_of(events)

            task = asyncio.get_running_loop().create_task(leave())
            await turns(ticks)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    gc.collect()
