"""What is counted of a client's requests: of each, and of all together, live and ended."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import anyio
import pytest

import anysse
from anysse import Durations, StreamClient, StreamStatistics, StreamStatus, Timeouts
from tests.diary import EXACT, URL
from tests.streams import Answer, Tap, held_stream, in_virtual_time, memory_client, stream_of

NEVER = Timeouts.of(None)


def once(took: float) -> Durations:
    return Durations(count=1, total=took, longest=took)


def after(seconds: float, answer: Answer) -> Callable[[Any], Awaitable[Answer]]:
    """Give an answer, some time after it was asked for."""

    async def script(request: Any) -> Answer:
        await anyio.sleep(seconds)
        return answer

    return script


async def two_seconds(data: object, event: object) -> None:
    await anyio.sleep(2)


# --- one request ------------------------------------------------------------------------------------------


def test_all_is_counted_of_a_request_with_handlers(library: ModuleType) -> None:
    first, second = Tap(), Tap()

    async def main() -> None:
        answers = [
            after(3, Answer(status=503)),
            after(2, Answer(parts=first)),
            after(4, Answer(parts=second)),
        ]
        async with memory_client(library, *answers) as http:
            async with StreamClient(
                URL, client=http, kind="feed", resend="always", retry=EXACT, timeouts=NEVER
            ) as client:
                request = client.start(on_message=two_seconds)
                assert request.statistics() == client.statistics() == StreamStatistics()
                await request.wait_for(StreamStatus.CONNECTED)  # 3 s, 1 s of waiting, 2 s
                await anyio.sleep(5)
                first.put(b"data: 1\n\ndata: 2\n\n")  # 18 bytes
                await anyio.sleep(3)
                assert request.statistics().handler_time == 2.0  # of the first one; the second is under way
                await anyio.sleep(7)
                first.put(b":\n")
                await anyio.sleep(1)
                assert request.statistics() == StreamStatistics(
                    connections=1,
                    retries=1,
                    bytes_received=20,
                    events_received=2,
                    connect_times=once(2.0),
                    first_event_times=once(3.0 + 1.0 + 2.0 + 5.0),
                    handler_time=4.0,
                    connected_for=16.0,
                    last_byte_age=1.0,
                    last_event_age=11.0,
                )
                first.put(b"retry: 6000\ndata: 3\n\n")
                first.end()
                await request.wait_for(StreamStatus.WAITING)
                assert request.statistics().connected_for is None
                await request.wait_for(StreamStatus.CONNECTED)
                second.put(b"data: 4\n\n")
                await anyio.sleep(8)
                counted = request.statistics()
                assert client.statistics() == counted
                request.disconnect()
                with pytest.raises(anyio.ClosedResourceError):
                    await request.wait_for(StreamStatus.COMPLETED)
        assert (counted.connections, counted.retries) == (2, 1)  # a clean end is no failure
        assert counted.connect_times == Durations(count=2, total=6.0, longest=4.0)
        assert counted.first_event_times == once(11.0)
        # The reconnection is in the second one: 6 s of waiting, 4 s of connecting.
        assert counted.gaps == Durations(count=2, total=11.0 + 10.0, longest=11.0)
        assert (counted.events_received, counted.handler_time) == (4, 8.0)
        assert (counted.connected_for, counted.last_byte_age, counted.last_event_age) == (8.0, 8.0, 8.0)

    in_virtual_time(main)


def test_every_handler_takes_time(library: ModuleType) -> None:
    async def wait(*_: object) -> None:
        await anyio.sleep(1)

    async def main() -> None:
        answers = [Answer(status=503), stream_of(b"data: x\n\nevent: named\ndata: 1\n\n")]
        async with memory_client(library, *answers) as http:
            async with StreamClient(
                URL, client=http, resend="always", retry=EXACT, decode=lambda event: int(event.data)
            ) as client:
                request = client.start(
                    on_open=wait,
                    on={"named": wait},
                    on_retry=wait,
                    on_complete=wait,
                    on_error=wait,
                    on_close=wait,
                    on_status=wait,
                )
                await request.wait()
                # Five statuses, two errors, and the others once.
                assert request.statistics().handler_time == client.statistics().handler_time == 5 + 2 + 5

    in_virtual_time(main)


def test_a_handler_that_is_cancelled_has_taken_its_time(library: ModuleType) -> None:
    async def main() -> None:
        async with memory_client(library, stream_of(b"data: 1\n\n")) as http:
            async with StreamClient(URL, client=http) as client:
                request = client.start(on_message=lambda data, event: anyio.sleep_forever())
                await anyio.sleep(3)
                assert request.statistics().handler_time == 0.0  # so far
                request.disconnect()
                assert await request.wait() is StreamStatus.IDLE
                assert request.statistics().handler_time == client.statistics().handler_time == 3.0

    in_virtual_time(main)


def test_a_slow_handler_is_no_gap(library: ModuleType) -> None:
    async def main() -> None:
        tap = Tap()
        async with memory_client(library, Answer(parts=tap)) as http:
            async with StreamClient(URL, client=http, timeouts=NEVER) as client:
                request = client.start(on_message=two_seconds)
                for _ in range(5):
                    await anyio.sleep(1)
                    tap.put(b"data: 1\n\n")
                tap.end()
                await request.wait()
                counted = request.statistics()
        assert counted.gaps == Durations(count=4, total=4.0, longest=1.0)
        assert (counted.handler_time, counted.first_event_times) == (10.0, once(1.0))
        assert counted.parser_time == 0.0

    in_virtual_time(main)


def test_a_stream_without_handlers_spends_no_time_in_them(library: ModuleType) -> None:
    async def main() -> None:
        async with memory_client(library, after(2, stream_of(b"data: 1\n\n", b"data: 2\n\n"))) as http:
            async with StreamClient(URL, client=http) as client:
                async with client.stream() as stream:
                    [request] = client.requests
                    async for _ in stream:
                        await anyio.sleep(5)
                    assert request.statistics() == stream.statistics() == client.statistics()
                counted = client.statistics()
        assert (counted.connected_for, counted.last_byte_age, counted.last_event_age) == (None, None, None)
        assert counted.connect_times == once(2.0)
        assert (counted.requests, counted.events_received, counted.handler_time) == (1, 2, 0.0)

    in_virtual_time(main)


# --- a client ---------------------------------------------------------------------------------------------


def without_ages(statistics: StreamStatistics) -> StreamStatistics:
    return replace(statistics, connected_for=None, last_byte_age=None, last_event_age=None)


def test_before_the_first_request_there_is_nothing_to_count() -> None:
    assert StreamClient(URL).statistics() == StreamStatistics(requests=0)


def test_live_and_ended_requests_are_added_up(library: ModuleType) -> None:
    async def main() -> None:
        answers = [
            after(1, stream_of(b"data: 1\n\n")),
            Answer(status=404),
            after(3, held_stream(b"data: 2\n\n", b"data: 3\n\n")),
            after(2, held_stream(b"data: 4\n\n")),
        ]
        async with memory_client(library, *answers) as http:
            async with StreamClient(URL, client=http, timeouts=NEVER) as client:
                one = client.start(on_message=two_seconds)
                await one.wait()
                two = client.start(None)
                with pytest.raises(anysse.StatusError):
                    await two.wait()
                assert client.statistics() == without_ages(one.statistics()) + without_ages(two.statistics())
                assert client.statistics().last_event_age is None  # of the live ones, and there is none
                three = client.start(on_message=two_seconds)
                await three.wait_for(StreamStatus.CONNECTED)
                async with client.stream() as stream:
                    await stream.receive()
                    await anyio.sleep(10)
                    both = three.statistics() + stream.statistics()
                    assert client.statistics() == (
                        without_ages(one.statistics()) + without_ages(two.statistics()) + both
                    )
                    assert client.statistics() == StreamStatistics(
                        requests=4,
                        connections=3,
                        bytes_received=4 * 9,
                        events_received=4,
                        connect_times=Durations(count=3, total=6.0, longest=3.0),
                        first_event_times=Durations(count=3, total=6.0, longest=3.0),
                        gaps=Durations(count=1),
                        handler_time=2.0 + 2 * 2.0,
                        connected_for=12.0,
                        last_byte_age=10.0,
                        last_event_age=10.0,
                    )
                    # What is looked at is not added up.
                    assert client.statistics() == client.statistics()
            ended = client.statistics()
        assert ended == sum(
            (without_ages(request.statistics()) for request in (one, two, three)),
            without_ages(stream.statistics()),
        )
        assert (ended.requests, ended.events_received, ended.handler_time) == (4, 4, 6.0)

    in_virtual_time(main)


def test_leaving_a_client_counts_what_it_ends(library: ModuleType) -> None:
    async def main() -> None:
        async with memory_client(library, *[held_stream(b"data: 1\n\n") for _ in range(5)]) as http:
            async with StreamClient(URL, client=http) as client:
                requests = [client.start(on_message=two_seconds) for _ in range(5)]
                await anyio.sleep(1)
                assert client.statistics().handler_time == 0.0
        counted = client.statistics()
        assert (counted.requests, counted.connections, counted.events_received) == (5, 5, 5)
        assert counted.handler_time == 5.0  # they were cancelled after a second
        assert counted.connected_for is None
        assert all(request.statistics().handler_time == 1.0 for request in requests)

    in_virtual_time(main)


async def test_a_request_that_never_connected_is_a_request(library: ModuleType) -> None:
    async with memory_client(library, library.ConnectError("no"), library.ConnectError("no")) as http:
        async with StreamClient(URL, client=http, retry=None) as client:
            with pytest.raises(anysse.ConnectError):
                await client.send_request()
            with pytest.raises(anysse.ConnectError):
                async with client.stream():
                    pass
            with pytest.raises(anysse.InvalidRequest):
                await client.send_request(path=7)  # type: ignore[call-overload]
            assert client.statistics() == StreamStatistics(requests=2)


async def test_a_request_that_gave_way_to_another_is_counted(library: ModuleType) -> None:
    answers = [held_stream(b"data: 1\n\n"), stream_of(b"data: 2\n\n")]
    async with memory_client(library, *answers) as http:
        async with StreamClient(URL, client=http, exclusive=True) as client:
            seen = anyio.Event()
            first = client.start(on_message=lambda data, event: seen.set())
            await seen.wait()
            await client.send_request()
            assert await first.wait() is StreamStatus.IDLE
            counted = client.statistics()
    assert (counted.requests, counted.connections, counted.events_received) == (2, 2, 2)


# --- in real time -----------------------------------------------------------------------------------------


async def test_parser_and_handlers_take_time(library: ModuleType) -> None:
    """However short: a clock of milliseconds, as uvloop's is, would mostly see none."""
    many = b"data: x\n\n" * 10
    for _ in range(3):
        async with memory_client(library, stream_of(many), stream_of(many)) as http:
            async with StreamClient(URL, client=http) as client:
                await client.send_request(on_message=lambda data, event: None)
                handled = client.statistics()
                async with client.stream() as stream:
                    async for _message in stream:
                        pass
                streamed = stream.statistics()
        assert 0.0 < handled.parser_time < 1.0
        assert 0.0 < handled.handler_time < 1.0
        assert 0.0 < streamed.parser_time < 1.0
        assert streamed.handler_time == 0.0
        assert client.statistics().parser_time == handled.parser_time + streamed.parser_time
