"""What was counted of a stream: the counters of its reader, and values made of them. Moments come in."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long something took, over all the times it happened; in seconds."""

    count: int = 0
    total: float = 0.0
    longest: float = 0.0

    @property
    def mean(self) -> float | None:
        """The average, or None where it never happened."""
        return self.total / self.count if self.count else None

    def __add__(self, other: "Durations") -> "Durations":
        """Take both together."""
        return Durations(
            count=self.count + other.count,
            total=self.total + other.total,
            longest=max(self.longest, other.longest),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """What a stream has seen so far; or all the requests of a client, added up. Times are in seconds.

    What is about this moment (``connected_for`` and the ages) is None where there is nothing to measure.
    Of a client it is about the live requests: the oldest connection, the latest byte, the latest event.
    """

    requests: int = 1
    """How many streams it is about."""
    connections: int = 0
    """Responses that were accepted."""
    retries: int = 0
    """Attempts after a failure; a feed's reconnection after a clean end is none."""
    bytes_received: int = 0
    """Bytes of bodies, as they came out of decompression where there was any."""
    events_received: int = 0
    """Events that were parsed, those included that still wait to be handed out."""
    connect_times: Durations = Durations()
    """Of each connection, from the start of its attempt until its response was accepted."""
    first_event_times: Durations = Durations()
    """Of each stream that had an event, from the start of its first attempt until then."""
    gaps: Durations = Durations()
    """From a read that brought events to the next one that did, reconnecting in between included."""
    parser_time: float = 0.0
    """Spent in the parser, with what ``on_comment`` and a ``done`` function took."""
    handler_time: float = 0.0
    """Spent in the handlers of a ``StreamClient``, with what they waited for."""
    connected_for: float | None = None
    """How long the current connection has lasted."""
    last_byte_age: float | None = None
    last_event_age: float | None = None

    def __add__(self, other: "StreamStatistics") -> "StreamStatistics":
        """Add up two that are about different streams."""
        return StreamStatistics(
            requests=self.requests + other.requests,
            connections=self.connections + other.connections,
            retries=self.retries + other.retries,
            bytes_received=self.bytes_received + other.bytes_received,
            events_received=self.events_received + other.events_received,
            connect_times=self.connect_times + other.connect_times,
            first_event_times=self.first_event_times + other.first_event_times,
            gaps=self.gaps + other.gaps,
            parser_time=self.parser_time + other.parser_time,
            handler_time=self.handler_time + other.handler_time,
            connected_for=_chosen(max, self.connected_for, other.connected_for),
            last_byte_age=_chosen(min, self.last_byte_age, other.last_byte_age),
            last_event_age=_chosen(min, self.last_event_age, other.last_event_age),
        )


def _chosen(choose: Callable[[list[float]], float], *values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None


@dataclass(slots=True, eq=False)
class Counters:
    """What a reader keeps; its moments are those of the event loop's clock."""

    connections: int = 0
    retries: int = 0
    bytes_received: int = 0
    events_received: int = 0
    parser_time: float = 0.0
    connect_times: Durations = field(default_factory=Durations)
    connected_at: float | None = None
    last_byte_at: float | None = None
    last_event_at: float | None = None
    _began_at: float | None = None
    _attempt_at: float = 0.0
    _first_event_at: float | None = None
    _gap_count: int = 0
    _longest_gap: float = 0.0

    def attempted(self, now: float) -> None:
        """A request is about to be sent."""
        self._attempt_at = now
        if self._began_at is None:
            self._began_at = now

    def connected(self, now: float) -> None:
        """Its response was accepted."""
        self.connections += 1
        self.connected_at = now
        took = now - self._attempt_at
        self.connect_times += Durations(count=1, total=took, longest=took)

    def had_events(self, count: int, now: float) -> None:
        """A read brought events; this is on the hot path."""
        self.events_received += count
        if self.last_event_at is None:
            self._first_event_at = now
        else:
            self._gap_count += 1
            gap = now - self.last_event_at
            if gap > self._longest_gap:
                self._longest_gap = gap
        self.last_event_at = now

    def statistics(self, now: float) -> StreamStatistics:
        """Give them as a value."""
        return StreamStatistics(
            connections=self.connections,
            retries=self.retries,
            bytes_received=self.bytes_received,
            events_received=self.events_received,
            connect_times=self.connect_times,
            first_event_times=self._first_event_times(),
            gaps=self._gaps(),
            parser_time=self.parser_time,
            connected_for=_age(self.connected_at, now),
            last_byte_age=_age(self.last_byte_at, now),
            last_event_age=_age(self.last_event_at, now),
        )

    def _first_event_times(self) -> Durations:
        if self._first_event_at is None or self._began_at is None:
            return Durations()
        took = self._first_event_at - self._began_at
        return Durations(count=1, total=took, longest=took)

    def _gaps(self) -> Durations:
        if self.last_event_at is None or self._first_event_at is None:
            return Durations()
        # They join end to end, so that nobody has to add them up.
        total = self.last_event_at - self._first_event_at
        return Durations(count=self._gap_count, total=total, longest=self._longest_gap)


def _age(moment: float | None, now: float) -> float | None:
    return None if moment is None else now - moment
