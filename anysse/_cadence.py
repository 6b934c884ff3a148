"""The cadence of a stream: from how long it was silent, how long it may be. Pure; durations are arguments.

What a rhythm is. A server that sends a heartbeat whenever it has sent nothing for a while is silent for at
most that while: however many events come, the longest silences agree. Silences between events that come at
random do not: the longest is far above the next ones, and there is no end to how long one may be. So the
longest are kept, and once enough of them agree they are the rhythm.
"""

from array import array

FLOOR = 45.0
"""Seconds that a timeout has at least: three beats as the standard advises them, one each 15 s. A busy stream
that is left with such a heartbeat, or with one each 30 s, is not given up for that."""
SHORTEST = 0.5
"""Seconds of silence from which on it says something; below lie tokens and the pieces of a burst."""

_TIMES = 3.0
"""A connection is given up at so many times the longest silence that is remembered."""
_KEPT = 32
"""How many long silences are remembered."""
_ENOUGH = 12
"""How many of them have to agree,"""
_AGREEMENT = 0.85
"""each with at least this part of the longest; with fewer, or less alike, random ones agree by chance."""
_ODD = 2
"""So many may be longer than all others: packets were lost, or this process was held up."""
_LONG = 0.6
"""A silence below this part of the longest is a short one: an event came before the heartbeat."""
_FORGOTTEN_AFTER = 128
"""So many short ones in a row make the longest be forgotten: the server may beat faster than it did."""
_MOST_PATIENT = 8
"""How many times the timeout is waited for, at most, after connections that were given up."""


class Cadence:
    """What is known of a stream's rhythm, over all its connections; some 500 bytes.

    A connection that is given up may have been alive, and its server only become slower. So all that was
    learnt is forgotten then, and what is learnt anew counts twice as long, four times, eight times, until the
    stream kept its rhythm for twice as long as the connections that were given up: whatever the server does
    after an hour each time, it is not cut off for it each time.
    """

    __slots__ = ("_doubted_for", "_heard_for", "_patience", "_short", "_silences", "timeout")

    def __init__(self) -> None:
        self._silences = array("d")  # the long ones, the latest last
        self._short = 0  # silences since the last long one
        self._heard_for = 0.0
        self._doubted_for = 0.0
        self._patience = 1
        self.timeout: float | None = None
        """Seconds of silence after which the peer is taken for gone; None while there is no rhythm."""

    def heard(self, silence: float) -> None:
        """Bytes came after so many seconds without any, on a connection that was read all that time."""
        if silence < SHORTEST:
            return
        self._heard_for += silence
        if silence < _LONG * self._usual(sorted(self._silences)):
            self._count_short()
        else:
            self._keep(silence)
        self.timeout = self._judged(sorted(self._silences))

    def doubt(self) -> None:
        """A connection was given up for its silence: which may have been a mistake."""
        self._doubted_for = 2 * self._heard_for
        self._patience = min(2 * self._patience, _MOST_PATIENT)
        self._heard_for = 0.0
        self._short = 0
        del self._silences[:]
        self.timeout = None

    def _keep(self, silence: float) -> None:
        self._silences.append(silence)
        self._short = 0
        if len(self._silences) > _KEPT:
            self._silences.pop(0)

    def _count_short(self) -> None:
        self._short += 1
        if self._short == _FORGOTTEN_AFTER:
            self._silences.remove(max(self._silences))
            self._short = 0

    def _judged(self, ascending: list[float]) -> float | None:
        if len(ascending) < _ENOUGH or ascending[-_ENOUGH] < _AGREEMENT * self._usual(ascending):
            return None
        timeout = max(FLOOR, _TIMES * ascending[-1])
        if self._heard_for < timeout:  # a rhythm of less than that may be a mere passage
            return None
        if self._heard_for >= self._doubted_for:
            self._patience = 1
        return self._patience * timeout

    @staticmethod
    def _usual(ascending: list[float]) -> float:
        """Give the longest silence, but for odd ones."""
        return ascending[-1 - _ODD] if len(ascending) > _ODD else 0.0
