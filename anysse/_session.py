"""The life of one stream as a value: its status, what it has learnt, and what to do next.

No clock, no randomness, no I/O: time and chance come in as arguments, and a step comes out. Whoever
drives a session performs the step and tells it what happened; every transition of a stream is here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from ._check import check_number
from ._errors import (
    AnysseError,
    InvalidRequest,
    ResponseError,
    StatusError,
    StreamDropped,
    StreamTimeout,
)
from ._options import Kind, PauseMode, Resend, StreamStatus
from ._resend import SentRequest
from ._retry import (
    DEFAULT_JITTER,
    DEFAULT_RECONNECTION_TIME,
    DEFAULT_RESET_AFTER,
    MAX_RECONNECTION_TIME,
    MIN_DELAY,
    ExponentialBackoff,
    Failure,
    RetryPolicy,
    is_transient,
    spread,
)

S = StreamStatus

# Where each status may go. A stream that is over goes nowhere; IDLE is also where closing leads, for good.
# What a pause holds may also go back to where it was.
_MOVES: dict[StreamStatus, frozenset[StreamStatus]] = {
    S.IDLE: frozenset({S.CONNECTING, S.PAUSED}),
    S.CONNECTING: frozenset({S.CONNECTED, S.WAITING, S.PAUSED, S.COMPLETED, S.ERROR, S.IDLE}),
    S.CONNECTED: frozenset({S.WAITING, S.PAUSED, S.COMPLETED, S.ERROR, S.IDLE}),
    S.WAITING: frozenset({S.CONNECTING, S.PAUSED, S.ERROR, S.IDLE}),
    S.PAUSED: frozenset({S.CONNECTING, S.WAITING, S.COMPLETED, S.ERROR, S.IDLE}),
    S.COMPLETED: frozenset(),
    S.ERROR: frozenset(),
}
_UNDER_WAY = frozenset({S.CONNECTING, S.CONNECTED})


@dataclass(frozen=True, slots=True)
class Connect:
    """Make the next attempt now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Make the next attempt after this many seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Make no attempt until ``resume`` is called."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Make no attempt ever again: the stream is over."""


Step: TypeAlias = Connect | Wait | Rest | Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the caller decided about the stream; it does not change."""

    kind: Kind
    retry: RetryPolicy | None
    resend: Resend = "safe"
    is_done_required: bool = False
    """Whether the stream has an event that ends it, so that its end without one is a cut."""
    can_reauthorize: bool = False
    """Whether someone is there to be asked for other credentials after a 401."""

    @property
    def jitter(self) -> float:
        return self.retry.jitter if isinstance(self.retry, ExponentialBackoff) else DEFAULT_JITTER

    @property
    def reset_after(self) -> float:
        retry = self.retry
        return retry.reset_after if isinstance(retry, ExponentialBackoff) else DEFAULT_RESET_AFTER


class Session:
    """The state of one stream.

    Args:
        rules: What the caller decided.
        last_event_id: Where to resume from; empty for the beginning.
        chance: Gives a random number from 0 to 1.
        on_status: Is called with the new status and the one before it.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        last_event_id: str = "",
        chance: Callable[[], float],
        on_status: Callable[[StreamStatus, StreamStatus], None] = lambda new, old: None,
    ) -> None:
        self._rules = rules
        self._chance = chance
        self._on_status = on_status
        self.status: StreamStatus = StreamStatus.IDLE
        self.last_event_id: str = last_event_id
        """The one received: what a reconnection sends."""
        self.learnt_id: str = ""
        """The same, where the stream itself learnt it; empty while it is only what the caller said."""
        self.reconnection_time: float | None = None
        """Seconds that the server set, clamped, or None."""
        self.retry_count: int = 0
        """Attempts in a row since the stream was last good, without the first."""
        self.attempts: int = 0
        self.last_error: Exception | None = None
        self.was_open: bool = False
        self.is_done: bool = False
        """Whether its done event came; whatever happens then is its end, and a good one."""
        self._is_closed = False
        self._kept: StreamStatus | None = None  # the status of what a pause keeps as it is
        self._is_held_back = False  # this attempt: nothing of it is under way yet
        self._is_hurried = False  # this attempt: it came before its time
        self._is_open = False  # there is a connection, whatever the status
        self._is_good = False  # this connection: it delivered, or lasted
        self._delivered = False  # any event of the stream: a prompt with an answer is not sent again
        self._may_reauthorize = True  # once for each good connection
        self._opened_at = 0.0
        self._good_at = 0.0
        self.started_at: float = 0.0
        """When this attempt began, or the one before; nobody held it back any more."""
        self._request = SentRequest()

    # --- what the user does ---

    def start(self, now: float) -> Step:
        """Begin, unless it was paused before."""
        self._good_at = now
        return Rest() if self.is_paused else self._connect(now)

    def close(self) -> None:
        """End at the user's word; a stream that is over stays what it is."""
        if not self.is_over:
            self._move(StreamStatus.IDLE)
            self._is_closed = True

    def pause(self, mode: PauseMode | None = None) -> None:
        """Make no attempt, and take nothing in, until it is resumed.

        Args:
            mode: What becomes of an attempt, or a connection: ``"close"`` gives it up, ``"hold"`` keeps it.
                By default it is given up where it can be taken up again. What is given up stays so.

        Raises:
            InvalidRequest: It would be given up, and may not be sent again.
        """
        if self.is_over or self._is_closed or (self.is_paused and not self.is_held):
            return
        self.check_pause(mode)
        if self.status in _UNDER_WAY:
            self._kept = self._kept_by(mode)
        elif mode == "close":
            self._kept = None
        self._move(StreamStatus.PAUSED)

    def _kept_by(self, mode: PauseMode | None) -> StreamStatus | None:
        """Give the status of what a pause is to keep as it is."""
        is_given_up = mode == "close" or (mode is None and self._can_be_taken_up)
        # An attempt of which nothing is under way has its place in a line to lose, and nothing to close.
        return self.status if self._is_held_back or not is_given_up else None

    def check_pause(self, mode: PauseMode | None) -> None:
        """Refuse a pause that would give up what may not be sent again.

        Raises:
            InvalidRequest: As ``check_restart`` has it.
        """
        is_under_way = self.is_held or self.status in _UNDER_WAY
        if mode == "close" and is_under_way and not self._is_held_back:
            self.check_restart()

    @property
    def is_paused(self) -> bool:
        """Whether it makes no attempt, and takes nothing in."""
        return self.status is StreamStatus.PAUSED

    @property
    def is_held(self) -> bool:
        """Whether it is paused with what was under way kept; all else is to be given up."""
        return self._kept is not None

    def let_go(self) -> None:
        """Go on with what is held, where it was."""
        if self._kept is not None:
            self._move(self._kept)

    def given_up(self, now: float) -> Step:
        """What was under way as it was paused is closed, or never came to be sent."""
        self._judge(now)
        return self._rest()

    def resume(self, now: float) -> Step:
        """Make an attempt after a pause: at once, but not closer than the floor to the one before."""
        self._good_at = now  # a pause is no time spent failing
        return self._connect(now)

    def restart(self, now: float) -> Step:
        """Give up a connection that may be fine, for a new one: no failure, and no retry.

        Raises:
            InvalidRequest: As ``check_restart`` has it; something may have come since that was called.
        """
        self.check_restart()
        self._judge(now)
        return self._wait_or_rest(max(0.0, self.started_at + MIN_DELAY - now))

    def check_restart(self) -> None:
        """Refuse a restart where the request may not be sent again.

        Raises:
            InvalidRequest: It names ``resend``, or ``done`` where that event came.
        """
        if self.is_done:
            raise InvalidRequest("done", "its event came: this request is not sent again")
        if not self.may_restart:
            raise InvalidRequest("resend", f"{self._rules.resend!r} does not let this request be sent again")

    @property
    def is_safe(self) -> bool:
        """Whether it does nothing twice if the request is sent twice."""
        return self._request.is_safe

    @property
    def may_restart(self) -> bool:
        """Whether the request could be sent again, had its connection been lost just now."""
        return self._may_send_again(StreamDropped())

    @property
    def _can_be_taken_up(self) -> bool:
        """Whether another connection would go on where this one is, and not bring all of a reply again."""
        goes_on = self._rules.kind == "feed" or not self._delivered or bool(self.learnt_id)
        return goes_on and self.may_restart

    @property
    def asked_delay(self) -> float:
        """Seconds for which the server asked to be left alone, if it did, as the stream waits."""
        if self.last_error is None:
            return self.reconnection_time or 0.0
        return (self.last_error.retry_after or 0.0) if isinstance(self.last_error, ResponseError) else 0.0

    @property
    def is_over(self) -> bool:
        """Whether the stream ended by itself, well or not."""
        return self.status in (StreamStatus.COMPLETED, StreamStatus.ERROR)

    # --- what happens to it ---

    def waited(self, now: float) -> Step:
        """The wait is over, or was cut short."""
        return Rest() if self.is_paused else self._connect(now)

    def hurried(self) -> None:
        """The wait is cut short, and not at the user's word: if that is in vain, it counts for nothing."""
        self._is_hurried = True

    def admitted(self, now: float) -> None:
        """Nobody holds the attempt back any more."""
        self._is_held_back = False
        self.started_at = now

    def sending(self, method: str, *, has_idempotency_key: bool, is_body_read_once: bool = False) -> None:
        """A request is about to be sent; a body that can be read once may be spent any moment."""
        self._is_held_back = False
        self._request = SentRequest(
            is_safe=method.upper() == "GET",
            has_idempotency_key=has_idempotency_key,
            is_body_spent=is_body_read_once,
        )

    def sent(self, *, is_body_spent: bool, was_acted_upon: bool = False) -> None:
        """A request was sent, or could not be.

        Args:
            is_body_spent: Whether its body is used up, and so cannot be sent again.
            was_acted_upon: Whether a redirect said so, by leading on to the result with a GET; what goes
                wrong after that is no reason to send the request itself again.
        """
        self._request = replace(self._request, is_body_spent=is_body_spent, was_acted_upon=was_acted_upon)

    def opened(self, now: float) -> None:
        """The server accepted the stream."""
        self._opened_at = now
        self.was_open = self._is_open = True
        self._is_hurried = False
        self._move(StreamStatus.CONNECTED)

    def received(
        self, last_event_id: str, reconnection_time: float | None, now: float, *, has_events: bool
    ) -> None:
        """Something was read, and parsed."""
        if last_event_id != self.last_event_id or self.learnt_id:
            self.last_event_id = self.learnt_id = last_event_id
        if reconnection_time is not None:
            # Clamped before any arithmetic: `retry: 0` would be a busy loop.
            self.reconnection_time = min(max(reconnection_time, MIN_DELAY), MAX_RECONNECTION_TIME)
        if has_events and not self._is_good:
            self._delivered = True
            self._be_good(now)

    def done(self) -> None:
        """The done event came, and what follows it is still of interest: nothing is sent again."""
        self.is_done = True

    def finished(self) -> Step:
        """The stream came to its end: with its done event, or the server said stop (204)."""
        self.retry_count, self.last_error = 0, None
        self._move(StreamStatus.COMPLETED)
        return Stop()

    def cut_by_end(self) -> StreamDropped | None:
        """Give the failure that a clean end of the body is now, or None where it is none.

        A stream with a done event is cut off without it. A feed's end is no failure, but for one without
        an event (a server that closes at once would be asked for ever, at full speed), and one whose
        request may not be sent again.
        """
        if self._rules.is_done_required and not self.is_done:
            return StreamDropped("it ended before its done event")
        if not self._is_taken_up:
            return None
        if not self._is_good:
            return StreamDropped("it ended without an event")
        return None if self.may_restart else StreamDropped("it ended, and a feed goes on")

    def ended(self) -> Step:
        """The body came to its clean end, and that is no failure: a feed is taken up again."""
        if not self._is_taken_up:
            return self.finished()
        delay = self.reconnection_time or DEFAULT_RECONNECTION_TIME
        return self._wait_or_rest(spread(delay, self._rules.jitter, self._chance()))

    def failed(self, error: AnysseError, now: float) -> Step:
        """An attempt failed, or its connection was lost: the policy decides."""
        if self.is_done:
            return self.finished()
        self._judge(now)
        self._is_good = False
        if self._is_hurried and self.retry_count:
            self.retry_count -= 1
        self._is_hurried = False
        error.retry_count = self.retry_count
        self.last_error = error
        delay = self._delay_after(error, now)
        if delay is None:
            return self._fail(error)
        if not self._may_send_again(error):
            error.hint = self._request.hint(error.hint)
            return self._fail(error)
        self.retry_count += 1
        return self._wait_or_rest(max(delay, MIN_DELAY))

    def broken(self, error: Exception) -> Step:
        """Something that no policy is asked about: a bug, or the time for the whole stream is up."""
        if self.is_done and isinstance(error, StreamTimeout):
            return self.finished()
        if isinstance(error, AnysseError):
            error.retry_count = self.retry_count
        return self._fail(error)

    # --- how it decides ---

    @property
    def _is_taken_up(self) -> bool:
        """Whether the stream goes on after a clean end, as ``EventSource`` does."""
        return self._rules.kind == "feed" and self._rules.retry is not None and not self.is_done

    def _delay_after(self, error: AnysseError, now: float) -> float | None:
        if self._rules.retry is None:
            return None
        if self._reauthorizes(error):
            return MIN_DELAY
        failure = Failure(
            error=error,
            is_transient=is_transient(error),
            was_open=self.was_open,
            retry_count=self.retry_count,
            elapsed=now - self._good_at,
            reconnection_time=self.reconnection_time,
            retry_after=error.retry_after if isinstance(error, ResponseError) else None,
        )
        delay = self._rules.retry(failure)
        if delay is not None:
            check_number("retry", delay, minimum=0)
        return delay

    def _reauthorizes(self, error: AnysseError) -> bool:
        """A token may have expired: ask for another one, once for each good connection."""
        is_refusal = isinstance(error, StatusError) and error.status_code == 401
        if not (is_refusal and self._rules.can_reauthorize and self._may_reauthorize):
            return False
        self._may_reauthorize = False
        return True

    def _may_send_again(self, error: AnysseError) -> bool:
        return not self.is_done and self._request.may_be_sent_again(
            self._rules.resend, error, was_delivered=self._delivered
        )

    def _judge(self, now: float) -> None:
        """The connection is over. If it delivered, or lasted, it was good until now."""
        if self._is_open and (self._is_good or now - self._opened_at >= self._rules.reset_after):
            self._be_good(now)

    def _be_good(self, now: float) -> None:
        self._is_good = True
        self._may_reauthorize = True
        self._good_at = now
        self.retry_count = 0
        self.last_error = None

    # --- how it moves ---

    def _connect(self, now: float) -> Step:
        if self.attempts and now < self.started_at + MIN_DELAY:
            return self._wait(self.started_at + MIN_DELAY - now)
        if self._is_good:  # and its connection ended without a failure
            self._good_at = now
        self.started_at = now
        self._is_open = self._is_good = False
        self._request = SentRequest(is_body_spent=self._request.is_body_spent)
        self._is_held_back = True
        self.attempts += 1
        self._move(StreamStatus.CONNECTING)
        return Connect()

    def _wait_or_rest(self, delay: float) -> Step:
        """Wait, unless it was paused by whoever was asked about it."""
        return self._rest() if self.is_paused else self._wait(delay)

    def _rest(self) -> Step:
        self._kept = None
        return Rest()

    def _wait(self, delay: float) -> Step:
        self._move(StreamStatus.WAITING)
        return Wait(delay)

    def _fail(self, error: Exception) -> Step:
        self.last_error = error
        self._move(StreamStatus.ERROR)
        return Stop()

    def _move(self, status: StreamStatus) -> None:
        previous = self.status
        if status is previous:
            return
        if self._is_closed or not (status in _MOVES[previous] or status is self._kept):
            raise RuntimeError(f"a stream that is {previous} cannot become {status}")
        self.status = status
        if status is not StreamStatus.PAUSED:
            self._kept = None
        self._on_status(status, previous)
