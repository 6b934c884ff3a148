"""How many connections at once and how many requests a second, shared by any number of streams; knows anyio.

One line of waiters for both bounds, and only the first in it may go in: nobody overtakes. It goes in, in one
step without an await, once there is a slot and then a token; until then it has taken neither, so that
cancelling it has nothing to give back.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import current_token

from ._check import check_count, check_number
from ._errors import InvalidRequest
from ._observer import Attempt, Fact, Observer, StatusChanged
from ._options import StreamStatus

_MAX_TOKENS = 2**53
"""One more or less makes no difference to a float of this size: a larger burst is no bound."""


class StreamLimits(Observer):
    """Bounds how many connections are open at once, and how many requests are sent each second.

    Give one object to all streams that it is for, as in ``observers=[limits]``; reconnections count as well.
    Attempts go in strictly in the order in which they came. An attempt holds its slot until its connection
    is over, and none while its stream waits to reconnect. It takes its slot first, then its token.
    Cancelling one that waits, at any moment, takes nothing and holds nobody up. Whoever waits for a further
    stream while holding a slot, as a handler that awaits another request, may wait for itself.

    It may be made where no event loop runs. Its bounds are those of one event loop: another one, or the
    next, begins with no connection and a full burst.

    Args:
        max_connections: Attempts and connections at a time; None is no bound.
        max_requests_per_second: Attempts each second, once those of the burst are used up; None is no bound.
        burst: Attempts that may come at once, after a time with fewer of them: a token bucket's capacity.

    Raises:
        InvalidRequest: A value is out of its range, or there is a burst without a rate.
    """

    def __init__(
        self,
        *,
        max_connections: int | None = None,
        max_requests_per_second: float | None = None,
        burst: int = 1,
    ) -> None:
        if max_connections is not None:
            check_count("limits.max_connections", max_connections, minimum=1)
        check_count("limits.burst", burst, minimum=1)
        if max_requests_per_second is not None:
            _check_rate(max_requests_per_second)
        elif burst != 1:
            raise InvalidRequest("limits.burst", "needs max_requests_per_second: give it, or leave burst out")
        self._max_connections: int | None = max_connections
        self._rate: float | None = max_requests_per_second
        self._burst: int = burst
        self._gates: WeakKeyDictionary[object, _Gate] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(max_connections={self._max_connections}, "
            f"max_requests_per_second={self._rate}, burst={self._burst})"
        )

    @property
    def max_connections(self) -> int | None:
        """How many attempts and connections there may be at a time; None is no bound."""
        return self._max_connections

    @property
    def max_requests_per_second(self) -> float | None:
        """How many attempts there may be each second, beyond the burst; None is no bound."""
        return self._rate

    @property
    def burst(self) -> int:
        """How many attempts may come at once."""
        return self._burst

    @property
    def connections(self) -> int:
        """How many attempts and connections there are now, in whichever event loop."""
        return sum(gate.inside for gate in self._gates.values())

    @property
    def waiting(self) -> int:
        """How many attempts wait now, in whichever event loop."""
        return sum(len(gate.line) for gate in self._gates.values())

    def admit(self, attempt: Attempt, /) -> AbstractAsyncContextManager[None]:
        """Give a context that holds one slot; it can be entered once.

        Entering waits for the slot, then for a token. Leaving waits for nothing.
        """
        return self._admission()

    def place(self) -> "Place":
        """Give a place in the line, for one stream; not yet taken."""
        return Place(self._admission)

    def _admission(self) -> "_Admission":
        return _Admission(self._gate)

    def _gate(self) -> "_Gate":
        """Give the state of the event loop that runs: no other one, and no earlier one, has a say in it."""
        loop = current_token().native_token
        gate = self._gates.get(loop)
        if gate is None:
            bucket = None if self._rate is None else _Bucket(self._rate, self._burst)
            gate = self._gates[loop] = _Gate(self._max_connections, bucket)
        return gate


class Place(Observer):
    """The place in the line of one stream, which may be taken before its task comes to its first attempt.

    Tasks do not always begin in the order in which they were started, and places are to be in that order.
    """

    def __init__(self, admission: Callable[[], "_Admission"]) -> None:
        self._admission = admission
        self._first: _Admission | None = None

    def take(self) -> None:
        """Line up now, with the first attempt. Nobody passes by until it came, or this is given up."""
        self._first = self._admission()
        self._first.line_up()

    def give_up(self) -> None:
        """Leave the line, if that first attempt never came."""
        admission, self._first = self._first, None
        if admission is not None:
            admission.give_up()

    def observe(self, fact: Fact, /) -> None:
        """Let others pass where the stream is paused before it came to its first attempt."""
        if isinstance(fact, StatusChanged) and fact.status is StreamStatus.PAUSED:
            self.give_up()

    def admit(self, attempt: Attempt, /) -> AbstractAsyncContextManager[None]:
        admission, self._first = self._first or self._admission(), None
        return admission


class _Admission(AbstractAsyncContextManager[None]):
    """What ``admit`` gives. A class, for a generator found in the garbage would want its event loop."""

    def __init__(self, find_gate: Callable[[], "_Gate"]) -> None:
        self._find_gate = find_gate
        self._is_used = False
        self._is_inside = False
        self._turn: anyio.Event | None = None

    def line_up(self) -> anyio.Event:
        self._gate = self._find_gate()
        self._turn = self._gate.line_up()
        return self._turn

    def give_up(self) -> None:
        """Leave the line in which this stands."""
        if self._turn is not None:  # pragma: no branch - who gives up has lined up
            self._gate.give_up(self._turn)

    async def __aenter__(self) -> None:
        if self._is_used:
            raise RuntimeError("an admission can be entered once: call admit() again")
        self._is_used = True
        turn, self._turn = self._turn or self.line_up(), None
        await self._gate.enter(turn)
        self._is_inside = True

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_inside:
            raise RuntimeError("an admission is left once, after it was entered: use async with")
        self._is_inside = False
        self._gate.leave()


class _Gate:
    """Who is inside and who waits, in one event loop."""

    def __init__(self, size: int | None, bucket: "_Bucket | None") -> None:
        self._size = size
        self._bucket = bucket
        self.inside = 0
        self.line: OrderedDict[anyio.Event, None] = OrderedDict()  # any of them may leave it, at any time

    def line_up(self) -> anyio.Event:
        turn = anyio.Event()
        self.line[turn] = None
        self._call_first()
        return turn

    def give_up(self, turn: anyio.Event) -> None:
        del self.line[turn]
        self._call_first()

    async def enter(self, turn: anyio.Event) -> None:
        try:
            await turn.wait()
            if self._bucket is not None:
                due = self._bucket.due(anyio.current_time())
                await anyio.sleep_until(due)
                self._bucket.take(due, anyio.current_time())
            self.inside += 1
        finally:
            self.give_up(turn)

    def leave(self) -> None:
        self.inside -= 1
        self._call_first()

    def _call_first(self) -> None:
        """Tell the first in line if there is a slot: it stays there until it takes it, for only it may."""
        if self.line and (self._size is None or self.inside < self._size):
            next(iter(self.line)).set()


class _Bucket:
    """Tokens that come at a rate, up to a number of them. Pure: time is an argument."""

    def __init__(self, rate: float, capacity: int) -> None:
        self._rate = rate
        self._capacity = min(capacity, _MAX_TOKENS)
        self._tokens: float = self._capacity
        self._now = -math.inf

    def due(self, now: float) -> float:
        """Tell when there is a token to take."""
        self._refill(now)
        return now + max(1.0 - self._tokens, 0.0) / self._rate

    def take(self, due: float, now: float) -> None:
        """Take the token that was due.

        A timer is a little late each time, or early: this does not add up. One that is late by a whole token
        is another matter: there would be two requests at once.
        """
        self._refill(due if (now - due) * self._rate < 1.0 else now)
        self._tokens -= 1.0

    def _refill(self, now: float) -> None:
        self._tokens = min(self._tokens + (now - self._now) * self._rate, self._capacity)
        self._now = now


def _check_rate(rate: float) -> None:
    check_number("limits.max_requests_per_second", rate, minimum=0)
    if rate == 0:
        raise InvalidRequest("limits.max_requests_per_second", "must be above 0, or None for no bound, not 0")
