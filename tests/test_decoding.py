"""Streams that give what a decoder makes of their events, and reading without waiting."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup

import anysse
from anysse import SKIP, DecodeError, EventStream, ServerSentEvent, StreamStatus, decoders
from tests.streams import Answer, Tap, held_stream, memory_client, stream_of, turns

URL = "http://a/"


def number(event: ServerSentEvent) -> int:
    """Fail with a ValueError where it is none."""
    return int(event.data)


def without_pings(event: ServerSentEvent) -> Any:
    return SKIP if event.data == "ping" else event.data


def numbered(*data: object) -> bytes:
    """Give events whose IDs are their places, from 1 on."""
    return b"".join(b"id: %d\ndata: %s\n\n" % (place, str(one).encode()) for place, one in enumerate(data, 1))


async def by_iteration(events: "EventStream[Any]") -> Any:
    return await anext(events)


async def by_receive(events: "EventStream[Any]") -> Any:
    return await events.receive()


async def at_once(events: "EventStream[Any]") -> Any:
    """Let the reader have its turns, so that nothing has to be waited for."""
    await turns(10)
    return events.receive_nowait()


Read = Callable[["EventStream[Any]"], Awaitable[Any]]
each_way = pytest.mark.parametrize("read", [by_iteration, by_receive, at_once])


# --- what is handed out -----------------------------------------------------------------------------------


@each_way
async def test_what_the_decoder_gives_is_handed_out(library: ModuleType, read: Read) -> None:
    async with memory_client(library, held_stream(numbered(7, 8))) as client:
        async with anysse.open_stream(URL, client=client, decode=number) as events:
            assert [await read(events) for _ in range(2)] == [7, 8]


async def test_none_and_false_are_handed_out_like_anything(library: ModuleType) -> None:
    async with memory_client(library, stream_of(numbered("null", "false", "[]"))) as client:
        async with anysse.open_stream(
            URL, client=client, kind="reply", decode=decoders.json_or_text
        ) as events:
            assert [item async for item in events] == [None, False, []]


async def test_without_a_decoder_events_are_handed_out(library: ModuleType) -> None:
    async with memory_client(library, held_stream(b"data: x\n\n" * 2)) as client:
        async with anysse.open_stream(URL, client=client) as events:
            assert await anext(events) == events.receive_nowait() == ServerSentEvent(data="x")


@each_way
async def test_what_is_skipped_is_left_out(library: ModuleType, read: Read) -> None:
    parts = numbered("ping", "a", *["ping"] * 40, "b")
    async with memory_client(library, held_stream(parts)) as client:
        async with anysse.open_stream(URL, client=client, decode=without_pings) as events:
            assert [await read(events) for _ in range(2)] == ["a", "b"]


async def test_what_is_skipped_at_the_end_is_no_trouble(library: ModuleType) -> None:
    answer = stream_of(b"data: a\n\ndata: ping\n\n", b"data: ping\n\n")
    async with memory_client(library, answer) as client:
        async with anysse.open_stream(URL, client=client, kind="reply", decode=without_pings) as events:
            assert [item async for item in events] == ["a"]
            with pytest.raises(anyio.EndOfStream):
                await events.receive()


async def test_an_event_is_decoded_as_it_is_read_and_once(library: ModuleType) -> None:
    seen: list[str] = []

    def look(event: ServerSentEvent) -> str:
        seen.append(event.data)
        return event.data

    async with memory_client(library, stream_of(b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n")) as client:
        async with anysse.open_stream(URL, client=client, done="[DONE]", decode=look) as events:
            await events.wait_for(StreamStatus.COMPLETED)
            assert seen == []
            assert await events.receive() == "1"
            assert seen == ["1"]
            assert [item async for item in events] == ["2"]
    assert seen == ["1", "2"]  # a done text is nobody's event


async def test_the_last_event_id_moves_over_what_is_skipped(library: ModuleType) -> None:
    parts = numbered("a", "ping", "b", "ping")
    async with memory_client(library, stream_of(parts)) as client:
        async with anysse.open_stream(URL, client=client, kind="reply", decode=without_pings) as events:
            assert (await anext(events), events.last_event_id) == ("a", "1")
            assert (await anext(events), events.last_event_id) == ("b", "3")
            assert [item async for item in events] == []
            assert events.last_event_id == "4"


@pytest.mark.parametrize("decode", [5, "json", [], object()], ids=lambda value: type(value).__name__)
def test_what_is_no_decoder_is_refused(decode: Any) -> None:
    with pytest.raises(anysse.InvalidRequest) as caught:
        anysse.open_stream(URL, client=memory_client(httpx), decode=decode)
    assert caught.value.argument == "decode"


# --- what cannot be decoded -------------------------------------------------------------------------------


@each_way
async def test_a_decode_error_is_raised_where_its_event_is_read_and_the_stream_goes_on(
    library: ModuleType, read: Read
) -> None:
    async with memory_client(library, held_stream(numbered(1, "oops", 3))) as client:
        async with anysse.open_stream(URL, client=client, decode=number) as events:
            assert (await read(events), events.last_event_id) == (1, "1")
            with pytest.raises(DecodeError) as caught:
                await read(events)
            assert events.last_event_id == "2"
            assert (await read(events), events.last_event_id) == (3, "3")
            assert (events.status, events.last_error) == (StreamStatus.CONNECTED, None)
    assert caught.value.event == ServerSentEvent(data="oops", id="2")
    assert caught.value.url == URL
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_loop_may_be_taken_up_after_a_decode_error(library: ModuleType) -> None:
    items: list[object] = []
    parts = numbered("oops", 2, "oops", "oops", 5)
    async with memory_client(library, stream_of(parts)) as client:
        async with anysse.open_stream(URL, client=client, kind="reply", decode=number) as events:
            while events.status is not StreamStatus.COMPLETED or 5 not in items:
                try:
                    async for item in events:
                        items.append(item)  # noqa: PERF401 - a list of them would be lost with the error
                except DecodeError as error:
                    items.append(error.event.id)  # type: ignore[union-attr]
    assert items == ["1", 2, "3", "4", 5]


async def test_a_decode_error_of_the_callers_own_is_as_it_was_made(library: ModuleType) -> None:
    mine = DecodeError("why", event=ServerSentEvent(data="mine"), url="http://elsewhere/")

    def fail(event: ServerSentEvent) -> int:
        raise mine

    async with memory_client(library, held_stream(numbered(1))) as client:
        async with anysse.open_stream(URL, client=client, decode=fail) as events:
            with pytest.raises(DecodeError) as caught:
                await events.receive()
    assert caught.value is mine
    assert mine.url == "http://elsewhere/"


@each_way
async def test_anything_else_that_a_decoder_raises_leaves_as_itself_and_reading_goes_on(
    library: ModuleType, read: Read
) -> None:
    async with memory_client(library, held_stream(numbered(1, 0, 4))) as client:
        async with anysse.open_stream(URL, client=client, decode=lambda event: 4 // number(event)) as events:
            assert await read(events) == 4
            with pytest.raises(ZeroDivisionError):
                await read(events)
            assert await read(events) == 1


async def test_what_a_decoder_raises_leaves_the_block_bare(library: ModuleType) -> None:
    async with memory_client(library, held_stream(numbered(0))) as client:
        with pytest.raises(ZeroDivisionError):
            async with anysse.open_stream(URL, client=client, decode=lambda event: 1 // number(event)) as it:
                await anext(it)


# --- fairness and cancellation ----------------------------------------------------------------------------


class Others:
    """Another task, and how many turns it had."""

    def __init__(self) -> None:
        self.turns = 0

    async def run(self) -> None:
        while True:
            await turns(1)
            self.turns += 1


@pytest.mark.parametrize("is_iterated", [True, False], ids=["iterated", "received"])
async def test_others_have_their_turn_while_all_is_skipped(library: ModuleType, is_iterated: bool) -> None:
    others = Others()
    parts = numbered("first", *["ping"] * 3200, "last")
    async with memory_client(library, held_stream(parts)) as client, anyio.create_task_group() as tasks:
        async with anysse.open_stream(URL, client=client, decode=without_pings) as events:
            tasks.start_soon(others.run)
            assert await events.receive() == "first"
            before = others.turns
            assert await (anext(events) if is_iterated else events.receive()) == "last"
            assert others.turns - before >= 95
        tasks.cancel_scope.cancel()


async def test_others_have_their_turn_while_nothing_can_be_decoded(library: ModuleType) -> None:
    others = Others()
    errors = 0
    parts = numbered(*["oops"] * 3200, "1")
    async with memory_client(library, held_stream(parts)) as client, anyio.create_task_group() as tasks:
        async with anysse.open_stream(URL, client=client, decode=number) as events:
            tasks.start_soon(others.run)
            await turns(10)
            before = others.turns
            while errors < 3200:
                with pytest.raises(DecodeError):
                    await anext(events)
                errors += 1
            assert others.turns - before >= 95
            assert await anext(events) == 1
        tasks.cancel_scope.cancel()


async def test_a_receive_that_is_cancelled_while_it_skips_loses_nothing(library: ModuleType) -> None:
    parts = numbered(*["ping"] * 100, "a")
    for ticks in range(6):
        async with memory_client(library, held_stream(parts)) as client, anyio.create_task_group() as tasks:
            async with anysse.open_stream(URL, client=client, decode=without_pings) as events:
                got: list[str] = []
                with anyio.CancelScope() as scope:
                    tasks.start_soon(cancel_after, scope, ticks)
                    got.append(await events.receive())
                if not got:
                    got.append(await events.receive())
                assert got == ["a"]


async def cancel_after(scope: anyio.CancelScope, ticks: int) -> None:
    await turns(ticks)
    scope.cancel()


async def test_a_receive_that_is_closed_while_it_skips_ends(library: ModuleType) -> None:
    async with memory_client(library, held_stream(numbered(*["ping"] * 100, "a"))) as client:
        async with anyio.create_task_group() as tasks:
            stopper = Stopper(client, tasks, without_pings)
            async with stopper.lifetime as events:
                stopper.at = "1"
                with pytest.raises(anyio.EndOfStream):
                    await events.receive()


# --- without waiting --------------------------------------------------------------------------------------


async def test_receive_nowait_gives_what_has_come_and_else_would_block(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, client=client, decode=number) as events:
            with pytest.raises(anyio.WouldBlock):
                events.receive_nowait()
            tap.put(numbered(1, 2))
            await turns(10)
            assert [events.receive_nowait(), events.receive_nowait()] == [1, 2]
            with pytest.raises(anyio.WouldBlock):
                events.receive_nowait()
            assert events.last_event_id == "2"


async def test_receive_nowait_after_skipping_would_block(library: ModuleType) -> None:
    for count in (1, 31, 32, 33, 100):  # a fair share is 32
        async with memory_client(library, held_stream(numbered(*["ping"] * count))) as client:
            async with anysse.open_stream(URL, client=client, decode=without_pings) as events:
                await turns(10)
                with pytest.raises(anyio.WouldBlock):
                    events.receive_nowait()
                assert events.last_event_id == str(count)


async def test_receive_nowait_of_a_stream_that_completed(library: ModuleType) -> None:
    async with memory_client(library, stream_of(numbered(1))) as client:
        async with anysse.open_stream(URL, client=client, kind="reply", decode=number) as events:
            await events.wait_for(StreamStatus.COMPLETED)
            assert events.receive_nowait() == 1
            for _ in range(2):
                with pytest.raises(anyio.EndOfStream):
                    events.receive_nowait()


async def test_receive_nowait_of_a_stream_that_failed(library: ModuleType) -> None:
    async with memory_client(library, stream_of(numbered(1))) as client:
        async with anysse.open_stream(URL, client=client, retry=None, done="end", decode=number) as events:
            await turns(20)
            assert events.status is StreamStatus.ERROR
            assert events.receive_nowait() == 1
            for _ in range(2):
                with pytest.raises(anysse.StreamDropped) as caught:
                    events.receive_nowait()
                assert caught.value is events.last_error


async def test_receive_nowait_of_a_stream_that_was_closed(library: ModuleType) -> None:
    async with memory_client(library, held_stream(numbered(1))) as client:
        async with anysse.open_stream(URL, client=client) as events:
            await turns(10)
            await events.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                events.receive_nowait()


async def test_receive_nowait_while_another_task_reads(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, client=client) as events, anyio.create_task_group() as tasks:
            tasks.start_soon(events.receive)
            await turns(5)
            with pytest.raises(anyio.BusyResourceError):
                events.receive_nowait()
            tap.put(b"data: x\n\n")


class Stopper:
    """A decoder that stops its stream at the event with a certain ID, as a client's callback may."""

    def __init__(self, client: Any, tasks: TaskGroup, then: Callable[[ServerSentEvent], Any]) -> None:
        self.at = ""
        self._then = then
        opening: Any = anysse.open_stream(URL, client=client, decode=self)
        self.lifetime = opening.within(tasks)

    def __call__(self, event: ServerSentEvent) -> Any:
        if event.id == self.at:
            self.lifetime.stop()
        return self._then(event)


@pytest.mark.parametrize("last", ["a", "ping"])
@each_way
async def test_a_decoder_may_stop_its_stream(library: ModuleType, read: Read, last: str) -> None:
    async with memory_client(library, held_stream(numbered("a", last, "b"))) as client:
        async with anyio.create_task_group() as tasks:
            stopper = Stopper(client, tasks, without_pings)
            async with stopper.lifetime as events:
                stopper.at = "2"
                aiter(events)
                assert await read(events) == "a"
                if last == "a":  # what it was asked about is handed out yet
                    assert await read(events) == "a"
                with pytest.raises((StopAsyncIteration, anyio.EndOfStream, anyio.ClosedResourceError)):
                    await read(events)
                with pytest.raises(anyio.ClosedResourceError):
                    await read(events)


async def test_a_stream_with_a_decoder_may_be_used_inside_of_a_generator(library: ModuleType) -> None:
    async def numbers(tasks: TaskGroup, client: Any) -> AsyncIterator[int]:
        async with anysse.open_stream(
            URL, client=client, kind="reply", decode=number, task_group=tasks
        ) as events:
            async for item in events:
                yield item

    async with memory_client(library, stream_of(numbered(1, 2))) as client:
        async with anyio.create_task_group() as tasks:
            assert [item async for item in numbers(tasks, client)] == [1, 2]
