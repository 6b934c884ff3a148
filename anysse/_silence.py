"""When a connection is given up for its silence: the deadline of a scope. Time comes in as an argument."""

import anyio

from ._errors import TimeoutPhase


class SilenceWatch:
    """When a connection is given up for its silence.

    Moving a deadline costs more than parsing an event, so it moves only once a sixteenth of the
    timeout went by, and is that much longer: never too early, and a sixteenth too late at most.
    """

    def __init__(
        self, scope: anyio.CancelScope, idle: float | None, first_event: float | None, now: float
    ) -> None:
        self._scope = scope
        self._idle = idle if idle is not None else float("inf")
        self._slack = self._idle / 16
        self._first_event_by = now + first_event if first_event is not None else float("inf")
        self.awaits_event = first_event is not None
        """Whether to tell of the next event."""
        self.move(now)

    def had_event(self, now: float) -> None:
        """The first event came."""
        self.awaits_event = False
        self._first_event_by = float("inf")
        self.move(now)

    def rest(self) -> None:
        """A slow consumer is no silent server."""
        self._scope.deadline = float("inf")

    @property
    def phase(self) -> TimeoutPhase:
        """What the scope's deadline stood for."""
        return "first_event" if self._first_event_by <= self._idle_by else "idle"

    @property
    def _idle_by(self) -> float:
        return self._moved_at + self._idle + self._slack

    def move(self, now: float) -> None:
        """Bytes came; to be told of the first of them from ``moves_at`` on."""
        self._moved_at = now
        self.moves_at = now + self._slack
        self._scope.deadline = min(self._idle_by, self._first_event_by)
