"""What is counted of a stream, and what it adds up to."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import copy
import pickle
from dataclasses import FrozenInstanceError, fields
from types import ModuleType
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anysse
from anysse import Durations, StreamStatistics, StreamStatus, Timeouts
from anysse._statistics import Counters
from tests.streams import Answer, Tap, in_virtual_time, memory_client, turns

URL = "http://a/"
NEVER = Timeouts.of(None)

counts = st.integers(0, 10**6)
seconds = st.integers(0, 10**6).map(float)  # whole ones: adding them up in another order changes nothing
ages = st.none() | seconds
durations = st.builds(Durations, count=counts, total=seconds, longest=seconds)
statistics = st.builds(
    StreamStatistics,
    requests=counts,
    connections=counts,
    retries=counts,
    bytes_received=counts,
    events_received=counts,
    connect_times=durations,
    first_event_times=durations,
    gaps=durations,
    parser_time=seconds,
    handler_time=seconds,
    connected_for=ages,
    last_byte_age=ages,
    last_event_age=ages,
)


def once(took: float) -> Durations:
    return Durations(count=1, total=took, longest=took)


# --- values -----------------------------------------------------------------------------------------------


def test_durations_have_a_mean_once_there_was_one() -> None:
    assert Durations().mean is None
    assert Durations(count=4, total=10.0, longest=9.0).mean == 2.5


def test_durations_are_taken_together() -> None:
    one, other = Durations(count=2, total=5.0, longest=4.0), Durations(count=1, total=7.0, longest=7.0)
    assert one + other == other + one == Durations(count=3, total=12.0, longest=7.0)
    assert one + Durations() == one


def test_statistics_of_several_streams_add_up() -> None:
    one = StreamStatistics(
        connections=2,
        retries=1,
        bytes_received=100,
        events_received=10,
        connect_times=once(1.0),
        first_event_times=once(2.0),
        gaps=once(3.0),
        parser_time=0.5,
        handler_time=0.25,
        connected_for=60.0,
        last_byte_age=2.0,
        last_event_age=5.0,
    )
    other = StreamStatistics(
        connections=1,
        bytes_received=1,
        events_received=1,
        connect_times=once(4.0),
        parser_time=0.5,
        connected_for=10.0,
        last_byte_age=1.0,
        last_event_age=9.0,
    )
    assert one + other == StreamStatistics(
        requests=2,
        connections=3,
        retries=1,
        bytes_received=101,
        events_received=11,
        connect_times=Durations(count=2, total=5.0, longest=4.0),
        first_event_times=once(2.0),
        gaps=once(3.0),
        parser_time=1.0,
        handler_time=0.25,
        connected_for=60.0,  # the oldest connection
        last_byte_age=1.0,  # the latest byte
        last_event_age=5.0,
    )


def test_what_one_of_two_streams_does_not_know_is_the_others() -> None:
    one, other = StreamStatistics(connected_for=3.0), StreamStatistics(last_byte_age=0.0)
    both = one + other
    assert (both.connected_for, both.last_byte_age, both.last_event_age) == (3.0, 0.0, None)


@given(st.lists(statistics, min_size=3, max_size=3))
def test_the_order_of_adding_does_not_count(several: list[StreamStatistics]) -> None:
    one, two, three = several
    assert (one + two) + three == three + (two + one)


@given(statistics)
def test_nothing_added_changes_nothing(some: StreamStatistics) -> None:
    assert some + StreamStatistics(requests=0) == some


@given(statistics, statistics)
def test_no_field_is_left_out_of_a_sum(one: StreamStatistics, other: StreamStatistics) -> None:
    for field in fields(StreamStatistics):
        only = StreamStatistics(**({"requests": 0} | {field.name: getattr(other, field.name)}))
        rest = {name.name: getattr(one, name.name) for name in fields(StreamStatistics) if name is not field}
        assert one + only == StreamStatistics(**(rest | {field.name: getattr(one + other, field.name)}))


def test_they_are_frozen_and_survive_pickle() -> None:
    for value, name in ((once(1.0), "count"), (StreamStatistics(gaps=once(2.0)), "requests")):
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, 3)


# --- counters ---------------------------------------------------------------------------------------------


def test_nothing_is_measured_before_anything_happened() -> None:
    assert Counters().statistics(5.0) == StreamStatistics()


def test_counters_do_not_share_what_they_count() -> None:
    one, other = Counters(), Counters()
    one.connected(1.0)
    assert other.statistics(1.0) == StreamStatistics()


def test_connecting_is_measured_from_the_start_of_the_attempt_that_made_it() -> None:
    counters = Counters()
    counters.attempted(10.0)
    counters.attempted(20.0)
    counters.connected(21.0)
    counters.attempted(30.0)
    counters.connected(33.0)
    counted = counters.statistics(40.0)
    assert counted.connect_times == Durations(count=2, total=4.0, longest=3.0)
    assert (counted.connections, counted.connected_for) == (2, 7.0)


def test_the_first_event_is_measured_from_the_start_of_the_first_attempt() -> None:
    counters = Counters()
    counters.attempted(10.0)
    counters.attempted(20.0)
    counters.connected(21.0)
    assert counters.statistics(25.0).first_event_times == Durations()
    for moment in (25.0, 26.0):
        counters.had_events(1, moment)
        assert counters.statistics(30.0).first_event_times == once(15.0)


def test_events_without_an_attempt_have_no_first_time() -> None:
    counters = Counters()
    counters.had_events(1, 5.0)
    assert counters.statistics(6.0).first_event_times == Durations()


@given(st.lists(st.integers(0, 1000).map(float), min_size=1))
def test_gaps_are_what_lies_between_reads_that_brought_events(gaps: list[float]) -> None:
    counters, now = Counters(), 100.0
    counters.had_events(1, now)
    assert counters.statistics(now).gaps == Durations()
    for gap in gaps:
        now += gap
        counters.had_events(2, now)
    counted = counters.statistics(now + 1)
    assert counted.gaps == Durations(count=len(gaps), total=sum(gaps), longest=max(gaps))
    assert (counted.events_received, counted.last_event_age) == (1 + 2 * len(gaps), 1.0)


def test_ages_count_from_their_moments() -> None:
    counters = Counters(connected_at=1.0, last_byte_at=3.0)
    counted = counters.statistics(10.0)
    assert (counted.connected_for, counted.last_byte_age, counted.last_event_age) == (9.0, 7.0, None)


# --- of a stream, in virtual time -------------------------------------------------------------------------


def test_a_stream_measures_what_it_waits_for(library: ModuleType) -> None:
    first, second = Tap(), Tap()

    async def refuse(request: Any) -> Answer:
        await anyio.sleep(2)
        return Answer(status=503)

    async def accept(request: Any) -> Answer:
        await anyio.sleep(3)
        return Answer(parts=first)

    async def accept_again(request: Any) -> Answer:
        await anyio.sleep(1)
        return Answer(parts=second)

    async def main() -> None:
        retry = anysse.ExponentialBackoff(initial=10, jitter=0)
        async with memory_client(library, refuse, accept, accept_again) as client:
            async with anysse.open_stream(URL, client=client, retry=retry, timeouts=NEVER) as events:
                assert events.statistics().connect_times == once(3.0)
                await anyio.sleep(5)
                first.put(b"data: 1\n\ndata: 2\n\n")
                await anyio.sleep(4)
                first.put(b":\n")
                await anyio.sleep(3)
                first.put(b"data: 3\n\n")
                await anyio.sleep(1)
                first.end()
                await events.wait_for(StreamStatus.WAITING)
                await events.wait_for(StreamStatus.CONNECTED)
                second.put(b"data: 4\n\n")
                await turns(5)
                counted = events.statistics()
        assert (counted.requests, counted.connections, counted.retries) == (1, 2, 1)
        assert counted.connect_times == Durations(count=2, total=4.0, longest=3.0)
        assert counted.first_event_times == once(2.0 + 10.0 + 3.0 + 5.0)
        # The second gap has the reconnection in it: 1 s until the end, 3 s of waiting, 1 s of connecting.
        assert counted.gaps == Durations(count=2, total=7.0 + 5.0, longest=7.0)
        assert counted.last_event_age == 0.0

    in_virtual_time(main)


def test_what_callbacks_take_is_the_parsers_time_and_waiting_is_not(library: ModuleType) -> None:
    async def main() -> None:
        import trio.testing

        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        tap = Tap()
        async with memory_client(library, Answer(parts=tap)) as client:
            async with anysse.open_stream(
                URL, client=client, timeouts=NEVER, on_comment=lambda text: clock.jump(float(text))
            ) as events:
                await anyio.sleep(50)
                tap.put(b":2\n:3\n")
                await turns(10)
                assert events.statistics().parser_time == 5.0

    in_virtual_time(main)


def test_a_slow_consumer_is_no_slow_parser(library: ModuleType) -> None:
    async def main() -> None:
        whole = (b"data: " + b"x" * 1000 + b"\n\n") * 300
        assert len(whole) > 4 * 65_536  # it comes in one read, and is cut into pieces
        async with memory_client(library, Answer(parts=[whole], after=anyio.sleep_forever)) as client:
            async with anysse.open_stream(URL, client=client, buffer=1, timeouts=NEVER) as events:
                await anyio.sleep(100)
                for _ in range(300):
                    await events.receive()
                counted = events.statistics()
        assert (counted.events_received, counted.parser_time) == (300, 0.0)

    in_virtual_time(main)
