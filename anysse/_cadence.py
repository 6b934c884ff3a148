"""The cadence of a stream: from how long it was silent, how long it may be. Pure; durations are arguments.

What a rhythm is. A server that sends a heartbeat whenever it has sent nothing for a while is silent for at
most that while: however many events come, the longest silences agree. Silences between events that come at
random do not: the longest is far above the next ones, and there is no end to how long one may be. So the
longest are kept, and once enough of them agree they are the rhythm. The shorter ones are judged alike, once
there are many of them and no long one between: the server may beat faster than it did.
"""

from array import array
from collections.abc import MutableSequence, Sequence

FLOOR = 45.0
"""Seconds that a timeout has at least: three beats as the standard advises them, one each 15 s. A busy stream
that is left with such a heartbeat, or with one each 30 s, is not given up for that."""
SHORTEST = 0.5
"""Seconds of silence from which on it says something; below lie tokens and the pieces of a burst."""

_TIMES = 3.0
"""A connection is given up at so many times the longest silence of its rhythm."""
_KEPT = 32
"""How many long silences are remembered, and how many short ones."""
_ENOUGH = 12
"""How many of them have to agree,"""
_AGREEMENT = 0.85
"""each with at least this part of the longest; with fewer, or less alike, random ones agree by chance."""
_ODD = 2
"""So many may be longer than those: packets were lost, or this process was held up."""
_LONG = 0.6
"""A silence below this part of the longest, odd ones aside, is short: an event came before the heartbeat."""
_FASTER_AFTER = 64
"""So many short ones in a row, if they agree, are the rhythm, and the long ones are forgotten;"""
_FORGOTTEN_AFTER = 128
"""so many, if they do not, make the longest be forgotten. Fewer are a burst of events between heartbeats."""
_MOST_PATIENT = 8
"""How many times the timeout is waited for, at most, after connections that were given up."""
_TRIAL = 6.0
"""Trust takes so many times as long as what was heard before a doubt. Found by simulation: a server that
pauses each hour, or each day, is given up four times, or five, in a thousand pauses."""


class Cadence:
    """What is known of a stream's rhythm, over all its connections; some 900 bytes.

    A connection that is given up may have been alive, and its server only become slower. So all that was
    learnt is forgotten then, and what is learnt anew counts twice as long, four times, eight times. It is
    halved after a trial in which no connection was given up, and each one that is makes trials longer: a
    server that pauses each hour is not cut off each hour.
    """

    __slots__ = ("_heard_for", "_in_a_row", "_long", "_patience", "_short", "_short_for", "_trial", "timeout")

    def __init__(self) -> None:
        self._long = array("d")  # the latest last, as in the next
        self._short = array("d")
        self._in_a_row = 0  # how many short ones came since the last long one,
        self._short_for = 0.0  # and how long they were together
        self._heard_for = 0.0
        self._trial = 0.0  # how long it has to be heard before patience is halved
        self._patience = 1
        self.timeout: float | None = None
        """Seconds of silence after which the peer is taken for gone; None while there is no rhythm."""

    def heard(self, silence: float) -> None:
        """Bytes came after so many seconds without any, on a connection that was read all that time."""
        if silence < SHORTEST:
            return
        self._heard_for += silence
        usual = _usual(self._long)
        if silence < _LONG * usual:
            self._keep_short(silence, usual)
        else:
            self._keep_long(silence)
        self.timeout = self._judged(_rhythm(self._long))

    def doubt(self) -> None:
        """A connection was given up for its silence: which may have been a mistake."""
        self._trial = _TRIAL * (self._trial + self._heard_for)
        self._patience = min(2 * self._patience, _MOST_PATIENT)
        self._heard_for = 0.0
        del self._long[:]
        self._forget_short()
        self.timeout = None

    def _keep_long(self, silence: float) -> None:
        _keep(self._long, silence)
        self._forget_short()

    def _keep_short(self, silence: float, usual: float) -> None:
        _keep(self._short, silence)
        self._in_a_row += 1
        self._short_for += silence
        if self._is_faster(usual):
            self._long = self._short[:]
            self._forget_short()
        elif self._in_a_row % _FORGOTTEN_AFTER == 0:
            self._long.remove(max(self._long))

    def _is_faster(self, usual: float) -> bool:
        # A minute of ticks says little of a server that beats once a minute.
        lasted = self._in_a_row >= _FASTER_AFTER and self._short_for >= _TIMES * usual
        return lasted and _rhythm(self._short) > 0

    def _forget_short(self) -> None:
        del self._short[:]
        self._in_a_row = 0
        self._short_for = 0.0

    def _judged(self, rhythm: float) -> float | None:
        timeout = max(FLOOR, _TIMES * rhythm)
        if not rhythm or self._heard_for < timeout:  # a rhythm of less than that may be a mere passage
            return None
        if self._patience > 1 and self._heard_for >= self._trial:
            self._patience //= 2
            self._trial *= 2
        return self._patience * timeout


def _keep(silences: MutableSequence[float], silence: float) -> None:
    silences.append(silence)
    if len(silences) > _KEPT:
        silences.pop(0)


def _usual(silences: Sequence[float]) -> float:
    """Give the longest silence, but for odd ones."""
    return sorted(silences)[-1 - _ODD] if len(silences) > _ODD else 0.0


def _rhythm(silences: Sequence[float]) -> float:
    """Give the longest of enough silences that agree, or 0.0; odd ones may be longer."""
    descending = sorted(silences, reverse=True)
    for longest, least in zip(descending[: _ODD + 1], descending[_ENOUGH - 1 :], strict=False):
        if least >= _AGREEMENT * longest:
            return longest
    return 0.0
