"""The cadence of a stream: what is a rhythm, and what is none. Simulated, over thousands of hours."""

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice, repeat
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysse._cadence import FLOOR, SHORTEST, Cadence

HOUR = 3600.0
Feed: TypeAlias = Callable[[random.Random], Iterator[float]]
"""Makes the times between two reads, without an end."""


def told(silences: Iterable[float], cadence: Cadence | None = None) -> Cadence:
    cadence = cadence or Cadence()
    for silence in silences:
        cadence.heard(silence)
    return cadence


# --- feeds ---


def beats(period: float, jitter: float = 0.0) -> Feed:
    def make(rng: random.Random) -> Iterator[float]:
        while True:
            yield period * (1 + rng.uniform(-jitter, jitter))

    return make


def events(mean: float) -> Feed:
    """Give a Poisson process."""

    def make(rng: random.Random) -> Iterator[float]:
        while True:
            yield rng.expovariate(1 / mean)

    return make


def events_or_heartbeat(mean: float, period: float) -> Feed:
    """Give a server that sends a heartbeat where it has sent nothing else for a period."""

    def make(rng: random.Random) -> Iterator[float]:
        while True:
            yield min(rng.expovariate(1 / mean), period * rng.uniform(0.99, 1.01))

    return make


def events_beside_heartbeat(mean: float, period: float) -> Feed:
    """Give a server whose heartbeat comes each period, whatever else it sends."""

    def make(rng: random.Random) -> Iterator[float]:
        event, beat = rng.expovariate(1 / mean), period
        while True:
            silence = min(event, beat)
            yield silence
            event = event - silence or rng.expovariate(1 / mean)
            beat = beat - silence or period

    return make


def bursts(size: int, period: float) -> Feed:
    """Give ten events within ten seconds or so, and then nothing but heartbeats for a while."""

    def make(rng: random.Random) -> Iterator[float]:
        while True:
            yield from (rng.uniform(0, 2) for _ in range(size))
            yield from (period * rng.uniform(0.99, 1.01) for _ in range(rng.randrange(1, 5)))

    return make


def pauses(pause: float, every: float) -> Feed:
    """Give a heartbeat each 15 s, and silence where the server is deployed, or its machine is asleep."""

    def make(rng: random.Random) -> Iterator[float]:
        while True:
            yield from repeat(15.0, int(every / 15))
            yield rng.uniform(0.9, 1.0) * pause

    return make


def answers(rng: random.Random) -> Iterator[float]:
    """Give the tokens of a language model, and how long it thinks."""
    while True:
        yield from (rng.uniform(0, 0.04) for _ in range(500))
        yield rng.lognormvariate(1.5, 1.2)  # 4 s as a rule, a minute now and then


# --- a life with a cadence ---


@dataclass
class Life:
    cuts: int = 0
    """Connections that were given up while their server was alive."""
    hours: float = 0.0
    known: float = 0.0
    """The part of the time in which there was a timeout."""


def lived(feed: Iterable[float], reads: int, cadence: Cadence | None = None) -> Life:
    """Do as `SilenceWatch` does: the cadence hears of a read once a sixteenth of the timeout went by."""
    cadence, life = cadence or Cadence(), Life()
    now = moved_at = known = 0.0
    for silence in islice(feed, reads):
        timeout = cadence.timeout
        slack = SHORTEST if timeout is None else timeout / 16
        now += silence
        known += 0.0 if timeout is None else silence
        if timeout is not None and now > moved_at + timeout + slack:
            life.cuts += 1
            cadence.doubt()
            moved_at = now
        elif now >= moved_at + slack:
            cadence.heard(silence)
            moved_at = now
    life.hours, life.known = now / HOUR, known / now
    return life


def connected(feed: Iterable[float], cadence: Cadence) -> bool:
    """Read one connection to its end; tell whether it was given up before."""
    return any(lived([silence], 1, cadence).cuts for silence in feed)


# --- a heartbeat is a rhythm ---


def test_there_is_no_timeout_before_a_rhythm() -> None:
    assert Cadence().timeout is None
    assert told([20.0] * 11).timeout is None


@pytest.mark.parametrize(
    ("period", "timeout"), [(5, 45), (15, 45), (20, 60), (30, 90), (60, 180), (600, 1800)]
)
def test_a_heartbeat_is_known_after_twelve(period: float, timeout: float) -> None:
    assert told([period] * 12).timeout == timeout


@pytest.mark.parametrize("period", [1, 5, 10, 15, 30, 60, 300])
def test_a_peer_that_is_gone_is_noticed_within_three_periods_and_the_floor(period: float) -> None:
    cadence = told(islice(beats(period, 0.02)(random.Random(1)), 100))
    assert cadence.timeout is not None
    assert cadence.timeout * 17 / 16 < 3.3 * period + FLOOR


def test_a_rhythm_has_to_last_as_long_as_the_silence_it_allows() -> None:
    assert told([1.0] * 44).timeout is None
    assert told([1.0] * 45).timeout == FLOOR


@pytest.mark.parametrize("jitter", [0.0, 0.05, 0.1, 0.2])
def test_a_heartbeat_may_come_early_or_late(jitter: float) -> None:
    life = lived(beats(15, jitter)(random.Random(1)), 20_000)
    assert life.cuts == 0
    assert life.known > 0.95


@pytest.mark.parametrize(
    "feed",
    [
        events_or_heartbeat(60, 15),
        events_or_heartbeat(15, 15),
        events_or_heartbeat(7.5, 15),
        events_or_heartbeat(30, 60),
        events_beside_heartbeat(60, 15),
        events_beside_heartbeat(30, 30),
        bursts(10, 15),
        bursts(40, 30),
    ],
)
def test_a_heartbeat_between_events_is_a_rhythm(feed: Feed) -> None:
    life = lived(feed(random.Random(2)), 20_000)
    assert life.cuts == 0
    assert life.known > 0.95


def test_a_feed_may_fall_back_to_its_heartbeat_after_hours_of_events() -> None:
    for period in (10, 15, 30, 40):
        rng = random.Random(3)
        busy_days = (chain(islice(events(1)(rng), 5000), repeat(period, 500)) for _ in range(5))
        life = lived(chain.from_iterable(busy_days), 5 * 5500)
        assert life.cuts == 0, period


def test_two_odd_silences_do_not_hide_a_rhythm() -> None:
    assert told([20.0] * 20 + [55.0, 20.0, 35.0]).timeout == 60.0
    assert told([20.0] * 11 + [300.0] * 2).timeout is None  # nor do they count
    assert told([20.0] * 12 + [300.0] * 2).timeout == 60.0


def test_a_third_one_does_until_it_is_forgotten() -> None:
    cadence = told([15.0] * 20 + [40.0] * 3)
    assert told([15.0] * 63, cadence).timeout is None
    assert told([15.0], cadence).timeout == 45.0


# --- a rhythm changes ---


@pytest.mark.parametrize(("before", "later"), [(60, 5), (40, 20), (30, 15), (600, 60)])
def test_a_server_that_beats_faster_is_found_out_after_64_beats(before: float, later: float) -> None:
    cadence = told([before] * 100)
    assert told([later] * 63, cadence).timeout == 3 * before
    assert told([later], cadence).timeout == max(FLOOR, 3 * later)


@pytest.mark.parametrize(("before", "later"), [(60, 40), (60, 10), (600, 15)])
def test_it_is_found_out_between_events(before: float, later: float) -> None:
    cadence = told([before] * 100)
    told(islice(events_or_heartbeat(later, later)(random.Random(2)), 400), cadence)
    assert cadence.timeout == pytest.approx(max(FLOOR, 3 * later), rel=0.02)


def test_beats_have_to_be_faster_for_as_long_as_a_silence_is_borne() -> None:
    cadence = told([60.0] * 100)
    assert told([1.0] * 179, cadence).timeout == 180.0
    assert told([1.0], cadence).timeout == FLOOR


@pytest.mark.parametrize(("ticks", "tick"), [(63, 5), (128, 1), (128, 0.5)])
def test_ticks_between_two_heartbeats_are_no_faster_rhythm(ticks: int, tick: float) -> None:
    cadence = told([60.0] * 20)
    for _ in range(100):
        assert told([tick] * ticks, cadence).timeout == 180.0
        told([60.0], cadence)


def test_what_has_no_rhythm_makes_a_rhythm_be_forgotten_bit_by_bit() -> None:
    cadence = told([60.0] * 100)
    unlike = cycle([16.0, 8.0, 4.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    assert told(islice(unlike, 128 * 21 - 1), cadence).timeout == 180.0
    assert told(islice(unlike, 1), cadence).timeout is None


# --- what is none ---


@pytest.mark.parametrize("mean", [0.5, 2, 5, 10, 15, 30, 60, 300, 3600])
def test_events_at_random_are_never_given_up(mean: float) -> None:
    rng = random.Random(4)
    life = lived(events(mean)(rng), 20_000)
    assert life.cuts == 0
    assert life.known < 0.3
    for _ in range(100):  # nor while there is little to know
        assert lived(events(mean)(rng), 100).cuts == 0


@pytest.mark.slow
@pytest.mark.parametrize("mean", [1, 3, 5, 10, 20, 60])
def test_events_at_random_are_never_given_up_in_thousands_of_hours(mean: float) -> None:
    life = lived(events(mean)(random.Random(5)), 3_000_000)
    assert life.hours > 800
    assert life.cuts == 0


def test_whoever_sends_tokens_may_think() -> None:
    life = lived(answers(random.Random(6)), 100_000)
    assert life.cuts == 0
    assert life.known < 0.1


def test_what_is_shorter_than_half_a_second_is_no_silence() -> None:
    assert told([SHORTEST * 0.99] * 1000).timeout is None
    assert told([SHORTEST] * 1000).timeout == FLOOR


# --- doubt ---


def test_a_connection_that_was_given_up_is_no_evidence() -> None:
    cadence = told([15.0] * 12)
    cadence.doubt()
    assert told([15.0] * 11, cadence).timeout is None


def test_each_time_it_is_waited_for_twice_as_long_but_at_most_eight_times() -> None:
    cadence = told([15.0] * 12)
    seen: list[float | None] = []
    for _ in range(5):
        cadence.doubt()
        seen.append(told([15.0] * 12, cadence).timeout)
    assert seen == [90.0, 180.0, 360.0, 360.0, 360.0]


def test_trust_is_back_after_six_times_the_time() -> None:
    cadence = told([15.0] * 100)
    cadence.doubt()
    assert told([15.0] * 599, cadence).timeout == 90.0
    assert told([15.0], cadence).timeout == 45.0


def test_it_comes_back_by_halves_and_takes_longer_after_each_doubt() -> None:
    cadence = told([15.0] * 12)
    cadence.doubt()
    told([15.0] * 12, cadence).doubt()
    assert told([15.0] * (6 * (6 * 12 + 12) - 1), cadence).timeout == 180.0
    assert told([15.0], cadence).timeout == 90.0
    assert told([15.0] * (6 * (6 * 12 + 12) - 1), cadence).timeout == 90.0
    assert told([15.0], cadence).timeout == 45.0


@pytest.mark.parametrize("pause", [60, 100, 150, 200, 350])
def test_a_server_that_pauses_is_given_up_four_times_in_a_thousand(pause: float) -> None:
    life = lived(pauses(pause, 900)(random.Random(9)), 61 * 1000)
    assert 0 < life.cuts <= 4


@pytest.mark.slow
@pytest.mark.parametrize(("pause", "every"), [(60, HOUR), (350, HOUR), (100, 24 * HOUR)])
def test_so_is_one_that_pauses_each_hour_or_each_day(pause: float, every: float) -> None:
    life = lived(pauses(pause, every)(random.Random(9)), (int(every / 15) + 1) * 1000)
    assert 0 < life.cuts <= 4


@pytest.mark.parametrize(("later", "cuts"), [(40, 0), (60, 1), (170, 1), (1000, 1)])
def test_a_heartbeat_that_becomes_rarer_is_not_cut_off_again_and_again(later: float, cuts: int) -> None:
    assert lived(chain(repeat(10.0, 180), repeat(later, 10_000)), 10_180).cuts == cuts


@pytest.mark.parametrize(("later", "cuts"), [(40, 0), (60, 1), (100, 2), (170, 2), (300, 3)])
def test_nor_if_it_does_so_on_each_connection(later: float, cuts: int) -> None:
    cadence, cut = Cadence(), 0
    for _ in range(20):
        cut += connected(chain(repeat(10.0, 180), repeat(later, 180)), cadence)
    assert cut == cuts


def test_a_heartbeat_that_becomes_rarer_bit_by_bit_is_never_cut_off() -> None:
    slower = (10 + beat / 2 for beat in range(1000))
    assert lived(slower, 1000).cuts == 0


# --- cost ---


def test_it_takes_less_than_a_kilobyte() -> None:
    cadence = told([60.0] * 100 + [5.0, 3.0, 2.0, 1.0] * 30)
    parts = [getattr(cadence, slot) for slot in Cadence.__slots__]
    assert sys.getsizeof(cadence) + sum(map(sys.getsizeof, parts)) < 1024


@given(st.lists(st.floats(min_value=0, max_value=1e9), max_size=300))
def test_a_timeout_is_the_floor_or_three_times_a_silence_that_was_heard(
    silences: list[float],
) -> None:
    cadence = Cadence()
    for count, silence in enumerate(silences, 1):
        cadence.heard(silence)
        if cadence.timeout is not None:
            assert cadence.timeout >= FLOOR
            assert cadence.timeout in {FLOOR, *(3 * heard for heard in silences[:count])}
