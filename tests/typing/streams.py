"""What a type checker sees of streams. Checked by mypy and pyright, both strict; never run."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, assert_type

import anyio
import anyio.abc
import httpx
import httpx2

from anysse import (
    SKIP,
    Attempt,
    DoneReceived,
    Durations,
    EventIterator,
    EventReader,
    EventStream,
    EventStreamParser,
    ExponentialBackoff,
    Fact,
    Failure,
    Observer,
    RetryPolicy,
    ServerSentEvent,
    StatusChanged,
    StreamResponse,
    StreamStatistics,
    StreamStatus,
    Timeouts,
    Visibility,
    decoders,
    iter_events,
    network,
    open_stream,
    read_events,
    terminal_visibility,
)


async def a_stream_is_paused_and_follows_what_goes_on_around_it() -> None:
    async with terminal_visibility() as visibility:
        assert_type(visibility, Visibility)
        assert_type(visibility.is_visible, bool)
    timeouts = Timeouts(idle="auto")
    Timeouts(idle="never")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    options = open_stream(
        "http://h/", timeouts=timeouts, visibility=Visibility(), open_when_hidden=True, network=True
    )
    async with options as events:
        events.pause()
        events.pause("close")
        events.pause(mode="hold")
        events.pause("stop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(events.resume(), None)


async def changes_of_the_network_are_told() -> None:
    async with network.watch() as changes:
        assert_type(await changes.receive(), network.NetworkChange)
        async for change in changes:
            assert_type(change.gained, frozenset[str])
            assert_type(change.is_back, bool)


async def a_stream_gives_events() -> None:
    assert_type(open_stream("http://h/"), AbstractAsyncContextManager[EventStream])
    assert_type(open_stream("http://h/"), AbstractAsyncContextManager[EventStream[ServerSentEvent]])
    async with open_stream("http://h/") as events:
        assert_type(events, EventStream)
        async for event in events:
            assert_type(event, ServerSentEvent)
        assert_type(await events.receive(), ServerSentEvent)
        assert_type(await events.aclose(), None)


async def a_stream_is_one_of_anyio() -> None:
    async with open_stream("http://h/") as events:
        await take_any(events)


async def take_any(stream: anyio.abc.ObjectReceiveStream[ServerSentEvent]) -> None:
    assert_type(await stream.receive(), ServerSentEvent)


async def a_stream_gives_what_its_decoder_makes_of_events() -> None:
    def number(event: ServerSentEvent) -> int:
        return int(event.data)

    assert_type(open_stream("http://h/", decode=number), AbstractAsyncContextManager[EventStream[int]])
    assert_type(open_stream("http://h/", decode=decoders.text), AbstractAsyncContextManager[EventStream[str]])
    assert_type(
        open_stream("http://h/", decode=decoders.json_or_text), AbstractAsyncContextManager[EventStream[Any]]
    )
    assert_type(open_stream("http://h/", decode=None), AbstractAsyncContextManager[EventStream])
    async with open_stream("http://h/", decode=number) as events:
        assert_type(events, EventStream[int])
        async for item in events:
            assert_type(item, int)
        assert_type(await events.receive(), int)
        assert_type(events.receive_nowait(), int)
        await take_numbers(events)
        await take_any(events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stream("http://h/", decode=str.upper)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def take_numbers(stream: anyio.abc.ObjectReceiveStream[int]) -> None:
    assert_type(await stream.receive(), int)


async def a_class_is_a_decoder() -> None:
    class Tick:
        def __init__(self, event: ServerSentEvent) -> None:
            self.price = int(event.data)

    async with open_stream("http://h/", decode=Tick) as ticks:
        assert_type(await ticks.receive(), Tick)


async def what_is_skipped_is_no_item() -> None:
    async with open_stream(
        "http://h/", decode=lambda event: SKIP if event.event == "ping" else event.data
    ) as texts:
        assert_type(await texts.receive(), str)


async def a_stream_without_a_decoder_is_one_of_events(
    bare: EventStream, events: EventStream[ServerSentEvent]
) -> None:
    bare, events = events, bare
    assert_type(await bare.receive(), ServerSentEvent)
    assert_type(bare.receive_nowait(), ServerSentEvent)


async def a_stream_can_be_looked_at(events: EventStream) -> None:
    assert_type(events.url, str)
    assert_type(events.status, StreamStatus)
    assert_type(events.last_event_id, str)
    assert_type(events.reconnection_time, float | None)
    assert_type(events.response, StreamResponse | None)
    assert_type(events.retry_count, int)
    assert_type(events.last_error, Exception | None)
    assert_type(events.next_attempt_in, float | None)
    assert_type(events.number, int)
    assert_type(events.statistics(), StreamStatistics)
    assert_type(events.statistics() + events.statistics(), StreamStatistics)
    assert_type(events.statistics().gaps, Durations)
    assert_type(events.statistics().gaps.mean, float | None)
    assert_type(await events.wait_for(StreamStatus.CONNECTED), None)
    events.status = StreamStatus.IDLE  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def either_library_serves(client: httpx.AsyncClient, client2: httpx2.AsyncClient) -> None:
    open_stream("http://h/", client=client)
    open_stream("http://h/", client=client2)
    open_stream(httpx.URL("http://h/"))
    open_stream(httpx2.URL("http://h/"))
    open_stream(httpx.Request("GET", "http://h/"))
    open_stream(httpx2.Request("GET", "http://h/"))
    open_stream("http://h/", client=httpx.Client())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def arguments_mean_what_they_mean_in_httpx(group: anyio.abc.TaskGroup) -> None:
    open_stream("http://h/", params={"a": 1}, headers={"A": "b"}, cookies={"a": "b"}, auth=("me", "pw"))
    open_stream("http://h/", params=[("a", "b")], headers=[("A", "b")], auth=None)
    open_stream("http://h/", method="POST", json={"a": [1]})
    open_stream("http://h/", method="POST", content=b"x", timeouts=5)
    open_stream("http://h/", method="POST", data={"a": "b"}, files={"f": b"x"}, timeouts=Timeouts(total=1))
    open_stream("http://h/", task_group=group, kind="reply", resend="undelivered", oversize="skip")
    open_stream("http://h/", "POST")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_stream("http://h/", kind="other")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def the_end_is_a_text_or_a_test() -> None:
    def is_last(event: ServerSentEvent) -> bool:
        return event.event == "end"

    open_stream("http://h/", done="[DONE]")
    open_stream("http://h/", done=is_last)
    open_stream("http://h/", done=lambda event: event.data == "")


def a_request_can_be_prepared() -> None:
    def change(request: httpx.Request, attempt: Attempt) -> None:
        request.headers["N"] = str(attempt.number)

    def replace(request: httpx2.Request, attempt: Attempt) -> httpx2.Request:
        return request

    async def wait(request: httpx.Request, attempt: Attempt) -> None:
        assert_type(attempt.last_event_id, str)
        assert_type(attempt.last_error, Exception | None)

    open_stream("http://h/", prepare=change)
    open_stream("http://h/", prepare=replace)
    open_stream("http://h/", prepare=wait)


def a_response_can_be_judged() -> None:
    async def is_good(response: StreamResponse) -> bool:
        return response.status_code == 200

    open_stream("http://h/", accept_response=is_good)
    open_stream("http://h/", accept_response=lambda response: response.status_code == 200)


def a_policy_is_a_function() -> None:
    def never_twice(failure: Failure) -> float | None:
        assert_type(failure.retry_count, int)
        assert_type(failure.elapsed, float)
        assert_type(failure.is_transient, bool)
        assert_type(failure.was_open, bool)
        assert_type(failure.reconnection_time, float | None)
        assert_type(failure.retry_after, float | None)
        return None if failure.retry_count else 1.0

    policy: RetryPolicy = ExponentialBackoff(max_retries=3, also=(404,))
    open_stream("http://h/", retry=policy)
    open_stream("http://h/", retry=never_twice)
    open_stream("http://h/", retry=None)


def an_observer_is_told_facts() -> None:
    class Looker(Observer):
        def observe(self, fact: Fact, /) -> None:
            assert_type(fact.events_received, int)
            match fact:
                case StatusChanged(status=status, previous=previous):
                    assert_type(status, StreamStatus)
                    assert_type(previous, StreamStatus)
                case DoneReceived(events_received=count):
                    assert_type(count, int)
                case _:
                    pass

    open_stream("http://h/", observers=[Looker()])


def a_response_that_is_there_can_be_read(
    response: httpx.Response,
    response2: httpx2.Response,
    chunks: AsyncIterator[bytes],
    pieces: Iterator[bytes],
) -> None:
    assert_type(read_events(response), EventReader)
    assert_type(read_events(response2), EventReader)
    assert_type(read_events(chunks), EventReader)
    assert_type(iter_events(response), EventIterator)
    assert_type(iter_events(response2), EventIterator)
    assert_type(iter_events(pieces), EventIterator)
    assert_type(list(iter_events(pieces)), list[ServerSentEvent])


def a_parser_takes_bytes() -> None:
    shown: Callable[[str], None] = print
    parser = EventStreamParser(max_event_size=1024, oversize="skip", on_comment=shown)
    assert_type(parser.feed(b"data: x\n\n"), list[ServerSentEvent])
    assert_type(parser.last_event_id, str)
    assert_type(parser.reconnection_time, float | None)
    parser.feed("data: x\n\n")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
