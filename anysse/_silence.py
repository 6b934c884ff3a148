"""When a connection is given up for its silence: the deadline of a scope. Time comes in as an argument."""

import anyio

from ._cadence import SHORTEST, Cadence
from ._errors import StreamTimeout, TimeoutPhase


class SilenceWatch:
    """When a connection is given up for its silence.

    Moving a deadline costs more than parsing an event, so it moves only once a sixteenth of the
    timeout went by, and is that much longer: never too early, and a sixteenth too late at most.
    With a cadence it is this one that says what the timeout is, once it knows; until then there is none.
    """

    __slots__ = (
        "_cadence",
        "_first_event",
        "_first_event_by",
        "_idle",
        "_idle_by",
        "_moved_at",
        "_probed",
        "_put_off",
        "_rested_at",
        "_scope",
        "_slack",
        "awaits_event",
        "moves_at",
    )

    def __init__(
        self,
        scope: anyio.CancelScope,
        idle: float | None,
        first_event: float | None,
        now: float,
        cadence: Cadence | None = None,
    ) -> None:
        self._scope = scope
        self._cadence = cadence
        self._first_event = first_event
        self._first_event_by = now + first_event if first_event is not None else float("inf")
        self.awaits_event: bool = first_event is not None
        """Whether to tell of the next event."""
        self.moves_at: float = now
        """From when on to tell of bytes."""
        self._probed: float | None = None
        self._rested_at: float | None = None
        self._put_off: float | None = None  # the grace of a probe that comes once it moves
        self._idle_by = float("inf")
        self._wait_for(idle if cadence is None else cadence.timeout)
        self._count_from(now)

    def _wait_for(self, idle: float | None) -> None:
        self._idle = idle if idle is not None else float("inf")
        # A cadence is to hear of every silence that it counts.
        self._slack = SHORTEST if idle is None and self._cadence is not None else self._idle / 16

    def heard(self, now: float, last_byte_at: float | None) -> None:
        """Bytes came, and before them some at ``last_byte_at``; to be called from ``moves_at`` on."""
        # Past the deadline and not cut off: it is this process that was held up, and not the server.
        if self._cadence is not None and now <= self._scope.deadline:
            # What came before this connection, or before its consumer caught up, is no silence of it.
            self._cadence.heard(now - max(last_byte_at or self._moved_at, self._moved_at))
            self._wait_for(self._cadence.timeout)
        self._count_from(now)

    def had_event(self, now: float) -> None:
        """The first event came."""
        self.awaits_event = False
        self._first_event_by = float("inf")
        self._count_from(now)

    def rest(self, now: float) -> None:
        """Count nothing until ``move``: neither a slow consumer nor a pause is a silent server."""
        if self._rested_at is None:
            self._rested_at = now
            self._put_off = self._probed
        self._scope.deadline = float("inf")

    def probe(self, now: float, grace: float) -> None:
        """Give a connection that may have died unseen so many seconds to show life; once it does not rest."""
        if self._rested_at is not None:
            self._put_off = grace
            return
        self._moved_at = self.moves_at = now  # the next byte counts, the silence before does not
        if now + grace < self._idle_by:
            self._probed, self._idle_by = grace, now + grace
            self._set_deadline()

    def expired(self) -> StreamTimeout:
        """Give the error of a scope that its deadline cut off; to be asked once, since it is learnt from."""
        if self.phase == "first_event":
            return StreamTimeout("first_event", self._first_event)
        if self._probed is not None:
            return StreamTimeout("idle", self._probed)
        error = StreamTimeout("idle", self._idle)
        if self._cadence is not None:
            self._cadence.doubt()
            error.hint = "pass timeouts.idle in seconds if the stream may be quiet for longer"
        return error

    @property
    def is_probing(self) -> bool:
        """Whether its deadline is that of a probe."""
        return self._probed is not None and self.phase == "idle"

    @property
    def phase(self) -> TimeoutPhase:
        """What the scope's deadline stood for."""
        return "first_event" if self._first_event_by <= self._idle_by else "idle"

    def move(self, now: float) -> None:
        """Count from now on, if it rested."""
        if self._rested_at is not None:
            self._first_event_by += now - self._rested_at
            self._rested_at = None
        grace = self._put_off
        self._count_from(now)
        if grace is not None:
            self.probe(now, grace)

    def _count_from(self, now: float) -> None:
        self._probed = self._put_off = None
        self._moved_at = now
        self.moves_at = now + self._slack
        self._idle_by = self.moves_at + self._idle
        self._set_deadline()

    def _set_deadline(self) -> None:
        if self._rested_at is None:
            self._scope.deadline = min(self._idle_by, self._first_event_by)
