"""When a connection is given up for its silence; on virtual time, most with a scope and nothing else."""

import math
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import Any

import anyio
import pytest

import anysse
from anysse import InvalidRequest, Timeouts
from anysse._cadence import FLOOR, SHORTEST, Cadence
from anysse._silence import SilenceWatch
from tests.streams import Answer, Recorder, in_virtual_time, memory_client, stream_of


class Read:
    """A connection that is read, and its watch."""

    def __init__(
        self,
        idle: float | None = None,
        first_event: float | None = None,
        cadence: Cadence | None = None,
    ) -> None:
        self.scope = anyio.CancelScope()
        self.began = self.last_byte_at = anyio.current_time()
        self.watch = SilenceWatch(self.scope, idle, first_event, self.began, cadence)

    def read(self) -> None:
        """Do as the reader does where bytes come."""
        now = anyio.current_time()
        if now >= self.watch.moves_at:
            self.watch.heard(now, self.last_byte_at)
        self.last_byte_at = now

    async def beat(self, *silences: float) -> None:
        for silence in silences:
            await anyio.sleep(silence)
            self.read()

    async def silence(self) -> float:
        """Hear nothing more; give how long that was borne."""
        began = anyio.current_time()
        with self.scope:
            await anyio.sleep_forever()
        assert self.scope.cancelled_caught
        return anyio.current_time() - began

    @property
    def borne(self) -> float:
        """How long from now on a silence would be."""
        return self.scope.deadline - anyio.current_time()


def heard(*silences: float) -> Cadence:
    cadence = Cadence()
    for silence in silences:
        cadence.heard(silence)
    return cadence


def facts(error: anysse.StreamTimeout) -> tuple[str, float | None]:
    return error.phase, error.seconds


# --- a timeout that is given ---


def test_a_silence_is_borne_for_the_timeout_and_a_sixteenth_at_most() -> None:
    async def main() -> None:
        connection = Read(idle=16.0)
        await connection.beat(0.5, 0.4, 5.0)
        assert await connection.silence() == pytest.approx(17.0)
        assert facts(connection.watch.expired()) == ("idle", 16.0)

    in_virtual_time(main)


def test_bytes_that_come_at_once_move_nothing() -> None:
    async def main() -> None:
        connection = Read(idle=16.0)
        await connection.beat(0.5, 0.4)
        assert connection.borne == pytest.approx(16.1)

    in_virtual_time(main)


def test_without_a_timeout_a_silence_is_borne_for_ever() -> None:
    async def main() -> None:
        connection = Read()
        await connection.beat(100.0)
        assert connection.borne == math.inf

    in_virtual_time(main)


def test_the_first_event_is_waited_for_whatever_bytes_come() -> None:
    async def main() -> None:
        connection = Read(idle=20.0, first_event=30.0)
        await connection.beat(15.0, 10.0)
        assert await connection.silence() == pytest.approx(5.0)
        assert facts(connection.watch.expired()) == ("first_event", 30.0)

    in_virtual_time(main)


def test_after_the_first_event_only_silence_counts() -> None:
    async def main() -> None:
        connection = Read(idle=16.0, first_event=30.0)
        assert connection.watch.awaits_event
        await anyio.sleep(10.0)
        connection.watch.had_event(anyio.current_time())
        assert not connection.watch.awaits_event
        await connection.beat(15.0, 15.0)
        assert await connection.silence() == pytest.approx(17.0)
        assert facts(connection.watch.expired()) == ("idle", 16.0)

    in_virtual_time(main)


def test_a_consumer_that_is_slow_is_no_silence() -> None:
    async def main() -> None:
        connection = Read(idle=16.0)
        connection.watch.rest(anyio.current_time())
        assert connection.borne == math.inf
        await anyio.sleep(1000.0)
        connection.watch.move(anyio.current_time())
        assert connection.borne == 17.0

    in_virtual_time(main)


def test_the_time_for_the_first_event_rests_as_well() -> None:
    async def main() -> None:
        connection = Read(first_event=10.0)
        await anyio.sleep(4.0)
        for _ in range(2):
            connection.watch.rest(anyio.current_time())
            await anyio.sleep(50.0)
            connection.watch.rest(anyio.current_time())  # for another reason
            await anyio.sleep(50.0)
            connection.watch.move(anyio.current_time())
            assert connection.borne == 6.0
        assert connection.watch.phase == "first_event"

    in_virtual_time(main)


def test_nor_does_the_first_event_have_less_time_for_it() -> None:
    async def main() -> None:
        connection = Read(first_event=30.0)
        for _ in range(2):  # the consumer is slow, and pauses
            connection.watch.rest(anyio.current_time())
            await anyio.sleep(100.0)
        connection.watch.move(anyio.current_time())
        assert connection.borne == 30.0

    in_virtual_time(main)


# --- a probe ---


@pytest.mark.parametrize("cadence", [None, heard(*[60.0] * 20)])
def test_a_connection_that_is_probed_has_so_long_to_show_life(cadence: Cadence | None) -> None:
    async def main() -> None:
        connection = Read(idle=None if cadence else 100.0, cadence=cadence)
        assert not connection.watch.is_probing
        connection.watch.probe(anyio.current_time(), 5.0)
        assert connection.watch.is_probing
        assert await connection.silence() == 5.0
        assert facts(connection.watch.expired()) == ("idle", 5.0)

    in_virtual_time(main)
    if cadence is not None:  # which is no mistake of the cadence
        assert cadence.timeout == 180.0


def test_one_that_shows_life_is_as_before() -> None:
    async def main() -> None:
        connection = Read(idle=16.0)
        connection.watch.probe(anyio.current_time(), 5.0)
        await connection.beat(0.1)
        assert connection.borne == 17.0
        assert not connection.watch.is_probing

    in_virtual_time(main)


def test_a_probe_is_no_reprieve() -> None:
    async def main() -> None:
        for idle, first_event in ((16.0, None), (None, 17.0)):
            connection = Read(idle, first_event)
            await anyio.sleep(15.0)
            connection.watch.probe(anyio.current_time(), 5.0)
            assert connection.borne == pytest.approx(2.0)

    in_virtual_time(main)


def test_what_was_silent_while_the_machine_slept_says_nothing() -> None:
    async def main() -> None:
        cadence = heard(*[15.0] * 20)
        connection = Read(cadence=cadence)
        await anyio.sleep(40.0)
        connection.watch.probe(anyio.current_time(), 5.0)
        await connection.beat(1.0)
        assert cadence.timeout == 45.0

    in_virtual_time(main)


# --- a timeout that is learnt ---


def test_while_there_is_no_rhythm_a_silence_is_borne_for_ever() -> None:
    async def main() -> None:
        connection = Read(cadence=Cadence())
        await connection.beat(*[15.0] * 11)
        assert connection.borne == math.inf

    in_virtual_time(main)


def test_once_there_is_one_a_silence_is_borne_three_times_as_long() -> None:
    async def main() -> None:
        connection = Read(cadence=Cadence())
        await connection.beat(*[32.0] * 12)
        assert await connection.silence() == 96.0 * 17 / 16
        assert facts(connection.watch.expired()) == ("idle", 96.0)

    in_virtual_time(main)


@pytest.mark.parametrize("period", [1.0, 5.0, 15.0, 30.0])
def test_a_peer_that_is_gone_is_noticed_within_three_periods_and_the_floor(period: float) -> None:
    async def main() -> None:
        connection = Read(cadence=Cadence())
        await connection.beat(*[period] * 100)
        assert await connection.silence() <= 3 * period * 17 / 16 + FLOOR

    in_virtual_time(main)


def test_what_was_learnt_holds_for_the_next_connection() -> None:
    async def main() -> None:
        cadence = Cadence()
        await Read(cadence=cadence).beat(*[20.0] * 12)
        assert Read(cadence=cadence).borne == 60.0 * 17 / 16

    in_virtual_time(main)


def test_but_not_after_a_connection_that_was_given_up() -> None:
    async def main() -> None:
        cadence = heard(*[20.0] * 12)
        connection = Read(cadence=cadence)
        await connection.silence()
        assert facts(connection.watch.expired()) == ("idle", 60.0)
        again = Read(cadence=cadence)
        assert again.borne == math.inf
        await again.beat(*[20.0] * 12)
        assert again.borne == 120.0 * 17 / 16

    in_virtual_time(main)


def test_a_first_event_that_does_not_come_is_nothing_against_the_rhythm() -> None:
    async def main() -> None:
        cadence = heard(*[20.0] * 12)
        connection = Read(first_event=30.0, cadence=cadence)
        await connection.silence()
        assert facts(connection.watch.expired()) == ("first_event", 30.0)
        assert cadence.timeout == 60.0

    in_virtual_time(main)


def test_every_silence_is_measured_from_its_last_byte() -> None:
    async def main() -> None:
        cadence = heard(*[20.0] * 12)
        connection = Read(cadence=cadence)
        await connection.beat(*[0.9, 0.9, 0.9, 20.0] * 40)
        assert cadence.timeout == pytest.approx(60.0)

    in_virtual_time(main)


def test_a_slow_consumer_makes_no_silence() -> None:
    async def main() -> None:
        cadence = heard(*[20.0] * 12)
        connection = Read(cadence=cadence)
        connection.watch.rest(anyio.current_time())
        await anyio.sleep(500.0)
        connection.watch.move(anyio.current_time())
        await connection.beat(5.0)
        assert cadence.timeout == 60.0

    in_virtual_time(main)


def test_nor_does_the_time_between_two_connections() -> None:
    async def main() -> None:
        cadence = heard(*[20.0] * 12)
        last_byte_at = Read(cadence=cadence).last_byte_at
        await anyio.sleep(500.0)
        connection = Read(cadence=cadence)
        connection.last_byte_at = last_byte_at
        await connection.beat(5.0)
        assert cadence.timeout == 60.0

    in_virtual_time(main)


def test_nor_does_an_event_loop_that_was_blocked() -> None:
    async def main() -> None:
        cadence = heard(*[20.0] * 12)
        connection = Read(cadence=cadence)
        await connection.beat(500.0)  # the deadline is over, and nothing was cut off
        assert cadence.timeout == 60.0
        assert connection.borne == 60.0 * 17 / 16

    in_virtual_time(main)


def test_the_first_byte_of_a_stream_has_none_before_it() -> None:
    async def main() -> None:
        cadence = Cadence()
        with anyio.CancelScope() as scope:
            watch = SilenceWatch(scope, None, None, anyio.current_time(), cadence)
            for _ in range(12):
                await anyio.sleep(20.0)
                watch.heard(anyio.current_time(), None)
        assert cadence.timeout == 60.0

    in_virtual_time(main)


def test_a_cadence_hears_twice_a_second_at_most_until_it_has_a_rhythm() -> None:
    async def main() -> None:
        connection = Read(cadence=Cadence())
        assert connection.watch.moves_at == anyio.current_time() + SHORTEST

    in_virtual_time(main)


# --- a stream ---


def beating(*silences: float) -> Answer:
    """Give an answer whose server sends a comment after each of these, and then vanishes."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"id: 7\ndata: 1\n\n"
        for silence in silences:
            await anyio.sleep(silence)
            yield b":\n"

    return Answer(parts=parts(), after=anyio.sleep_forever)


def test_a_stream_whose_server_vanished_goes_on_with_another_connection(library: ModuleType) -> None:
    async def main() -> None:
        recorder, began = Recorder(), anyio.current_time()
        client = memory_client(library, beating(*[15.0] * 20), stream_of(b"data: 2\n\n"))
        async with client, auto(client, observers=[recorder]) as events:
            assert [(await events.receive()).data for _ in range(2)] == ["1", "2"]
            assert 345.0 < anyio.current_time() - began < 352.0
        (failure,) = recorder.of(anysse.AttemptFailed)
        assert isinstance(failure.error, anysse.StreamTimeout)
        assert facts(failure.error) == ("idle", 45.0)
        assert client.sent[1].headers["Last-Event-ID"] == "7"

    in_virtual_time(main)


def test_a_stream_without_a_rhythm_may_be_silent_for_days(library: ModuleType) -> None:
    async def main() -> None:
        rng = random.Random(8)
        silences = [rng.expovariate(1 / 3600) for _ in range(100)]
        client = memory_client(library, beating(*silences))
        async with client, auto(client) as events:
            await anyio.sleep(sum(silences) + 86_400.0)
            assert events.status == "connected"

    in_virtual_time(main)


def auto(client: Any, **options: Any) -> AbstractAsyncContextManager[anysse.EventStream]:
    timeouts = Timeouts(idle="auto")
    return anysse.open_stream("http://h/", client=client, timeouts=timeouts, **options)


# --- the option ---


def test_auto_is_learnt_and_no_number_of_seconds() -> None:
    timeouts = Timeouts(idle="auto")
    assert timeouts.idle == "auto"
    assert (timeouts.idle_of("feed"), timeouts.idle_of("reply")) == (None, None)


@pytest.mark.parametrize("word", ["Auto", "", "none", "1"])
def test_another_word_is_refused_with_those_that_there_are(word: str) -> None:
    said = f"timeouts.idle: must be seconds above zero, 'default', 'auto' or None, not {word!r}"
    with pytest.raises(InvalidRequest) as caught:
        Timeouts(idle=word)  # type: ignore[arg-type]
    assert (str(caught.value), caught.value.argument) == (said, "timeouts.idle")


@pytest.mark.parametrize("name", ["connect", "response", "first_event", "total"])
def test_nothing_else_is_learnt(name: str) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"^timeouts\.{name}: must be seconds above zero or None, not 'auto'$"
    ):
        Timeouts(**{name: "auto"})  # type: ignore[arg-type]
