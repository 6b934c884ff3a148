"""The task behind a stream: it performs what the session decides, and puts what it reads into the mailbox.

It never raises what a stream may fail with: the session keeps it, and whoever reads is told.
"""

import logging
from collections.abc import Awaitable
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio.lowlevel import checkpoint

from ._cadence import Cadence
from ._clock import loop_clock
from ._delivery import Mailbox
from ._errors import AnysseError, StreamDropped, StreamError, StreamTimeout
from ._events import Headers, StreamResponse
from ._http import FAIR_SHARE, Connection, Exchange
from ._intake import Intake
from ._log import NumberedLogger
from ._observer import Attempt, AttemptFailed, AttemptStarted, Connected, DoneReceived, Ended, Fact, Observer
from ._options import StreamStatus
from ._plan import StreamPlan
from ._receiver import Receiver
from ._redact import Redacted
from ._request import RequestTemplate
from ._sendable import is_sendable_id
from ._session import Rest, Session, Step, Stop, Wait
from ._silence import SilenceWatch
from ._statistics import Counters
from ._steering import Steering
from ._surroundings import Surroundings
from ._wakeup import Latch

if TYPE_CHECKING:
    import httpx


class Reader:
    """One stream's task, from its first attempt to its end."""

    def __init__(
        self,
        session: Session,
        template: RequestTemplate,
        connection: Connection,
        mailbox: Mailbox,
        plan: StreamPlan,
        number: int,
        surroundings: Surroundings | None,
    ) -> None:
        self._session = session
        self._template = template
        self._connection = connection
        self._mailbox = mailbox
        self._plan = plan
        self._log = NumberedLogger(number)
        self._clock = loop_clock()
        self.counters = Counters()
        self.response: StreamResponse | None = None
        """The head of the current connection, or of the last one."""
        self.steering = Steering(session, self._clock)
        self._receiver = Receiver(plan, session, mailbox, self.counters, self.steering, self._tell_done)
        self.finished = Latch()
        self._own_surroundings = Surroundings() if plan.network and surroundings is None else None
        self._surroundings = surroundings or self._own_surroundings
        self._cadence = Cadence() if plan.timeouts.idle == "auto" else None
        self._life: anyio.CancelScope | None = None
        self._total: anyio.CancelScope | None = None  # for a stream whose whole has a deadline
        self._time_left = 0.0  # of that, while an attempt is held back
        self._task_id: int | None = None
        self._is_stopped = False
        self._head: StreamResponse | None = None  # of this attempt
        self._untold: list[Fact] = []  # few: an empty deque takes ten times as much
        self._is_telling = False

    # --- what others may ask of it; never waits ---

    def stop(self) -> None:
        """End as soon as possible; ``finished`` tells when that was."""
        self._is_stopped = True
        if self._life is not None:
            self._life.cancel()

    def is_current_task(self) -> bool:
        """Whether it is this task that asks: it cannot wait for its own end."""
        return anyio.get_current_task().id == self._task_id

    # --- its life ---

    async def run(self) -> None:
        """Live until the stream is over, or ``stop`` is called."""
        self._task_id = anyio.get_current_task().id
        try:
            with anyio.CancelScope() as self._life:
                if self._is_stopped:
                    self._life.cancel()
                self._look_around()
                await self._living()
        except Exception as exc:  # noqa: BLE001 - a bug, ours or a callback's: raised where events are read
            self._broken(exc)
        finally:
            self._look_away()
            self._session.close()
            self._mailbox.finish()
            self.steering.next_attempt_at = None
            self._life = None  # to cancel what is over takes time as well
            try:
                await self._connection.aclose()
            finally:
                self.finished.set()

    def _look_around(self) -> None:
        """Be told from now on of what the stream is to follow."""
        if self._plan.visibility is not None and not self._plan.open_when_hidden:
            self.steering.follow(self._plan.visibility)
        if self._surroundings is not None:
            self._surroundings.join(self.steering)

    def _look_away(self) -> None:
        self.steering.leave_off()
        if self._surroundings is not None:
            self._surroundings.leave(self.steering)

    def _living(self) -> Awaitable[None]:
        total = self._plan.timeouts.total
        live = self._live if total is None else partial(self._live_for, total)
        if self._own_surroundings is not None:
            return self._own_surroundings.during(live)
        return live()

    def _broken(self, exc: Exception) -> None:
        self._receiver.tell_done()
        if self._session.is_over:
            self._log.error("cleaning up after %s failed", Redacted(self._plan.url), exc_info=exc)
            return
        self._session.broken(exc)
        if self._session.status is StreamStatus.ERROR:
            if isinstance(exc, AnysseError):
                self._log.warning("%s; giving up", exc.headline)
            self.tell(AttemptFailed(error=exc, retry_in=None, events_received=self._position))

    async def _live_for(self, seconds: float) -> None:
        with anyio.CancelScope(deadline=self._clock() + seconds) as self._total:
            await self._live()
        if self._total.cancelled_caught and not self._session.is_over:
            self._broken(self._described(StreamTimeout("total", seconds)))

    async def _live(self) -> None:
        step = self._session.start(self._clock())
        while not isinstance(step, Stop):
            await checkpoint()
            following = await self._performed(step)
            if following is None:
                raise RuntimeError("the context of an observer's admit() swallowed an exception")
            step = following

    def _performed(self, step: Step) -> Awaitable[Step | None]:
        match step:
            case Wait(delay):
                return self._wait(delay)
            case Rest():
                return self._rest()
            case _:
                return self._attempt()

    async def _wait(self, delay: float) -> Step:
        await self.steering.until_due(delay)
        return self._session.waited(self._clock())

    async def _rest(self) -> Step:
        await self.steering.until_resumed()
        return self._session.resume(self._clock())

    def _noted(self, step: Step) -> Step:
        """Keep when the next attempt is due."""
        if isinstance(step, Wait):
            self.steering.due_in(step.delay)
        return step

    # --- an attempt ---

    def _attempt(self) -> Awaitable[Step | None]:
        """Make an attempt, once this is awaited: with few frames, which last as long as its connection."""
        session = self._session
        attempt = Attempt(
            number=session.attempts, last_event_id=session.last_event_id, last_error=session.last_error
        )
        self._head = None
        if not self._plan.observers:
            return self._made(attempt)
        return self._admitted(attempt, self._plan.observers, self._hold_deadline())

    async def _made(self, attempt: Attempt) -> Step:
        session = self._session
        if session.is_paused:  # while an observer kept it waiting
            return session.given_up(self._clock())
        session.admitted(self._clock())
        try:
            exchange = await self._exchange(attempt)
            if exchange is None:
                return self._left_off()
        except StreamError as error:
            return await self._lost(error)
        try:
            await self.steering.until_let_go()
            if session.is_paused:
                return session.given_up(self._clock())
            now = self._clock()
            return self._noted(self._accepted(exchange, now) or await self._read_watched(exchange, now))
        except StreamError as error:
            return await self._lost(error)
        finally:
            self.counters.connected_at = None
            await exchange.aclose()

    async def _lost(self, error: StreamError) -> Step:
        """Decide about a failure, but not while it is held; what was given up anyway has none."""
        await self.steering.until_let_go()
        if self._session.is_paused and self._session.may_restart:
            return self._session.given_up(self._clock())
        return self._noted(self._failed(error))

    def _left_off(self) -> Step:
        """Give what follows upon an attempt, or a connection, that was cut off at someone's word."""
        if not self._session.may_restart:  # its address is gone, or an event came in that very tick
            raise StreamDropped("it was given up for a new connection")
        if self._session.is_paused:
            return self._session.given_up(self._clock())
        return self._session.restart(self._clock())

    async def _admitted(self, attempt: Attempt, observers: tuple[Observer, ...], began: float) -> Step | None:
        """Make an attempt within what each of them gives; None where one of those swallowed an exception.

        A frame for each, and no stack of contexts, which takes a kilobyte for as long as the stream is open.
        """
        first, *others = observers
        async with first.admit(attempt):
            if others:
                return await self._admitted(attempt, tuple(others), began)
            waited = self._release_deadline(began)
            self._log.debug("attempt %d: admitted after %.1f s", attempt.number, waited)
            return await self._made(attempt)
        return None

    def _hold_deadline(self) -> float:
        """Give the time: who is held back from now on is not slow, and no timeout counts that."""
        now = self._clock()
        if self._total is not None:
            self._time_left = self._total.deadline - now
            self._total.deadline = float("inf")
        return now

    def _release_deadline(self, began: float) -> float:
        """Count on; give how long that was not done."""
        now = self._clock()
        if self._total is not None:
            self._total.deadline = now + self._time_left
        return now - began

    async def _exchange(self, attempt: Attempt) -> Exchange | None:
        """Send a request, and give its answer; None where that is given up."""
        with anyio.CancelScope() as scope:
            self.steering.begin(scope)
            try:
                return await self._answered(attempt)
            finally:
                self.steering.end()
        return None

    async def _answered(self, attempt: Attempt) -> Exchange:
        request = await self._request(attempt)
        self.counters.attempted(self._clock())
        self.tell(AttemptStarted(attempt=attempt, url=self._plan.url, events_received=self._position))
        if self._log.isEnabledFor(logging.DEBUG):
            headers = Headers(request.headers.multi_items())  # ours hide what is secret
            self._log.debug("attempt %d: %s %s", attempt.number, request.method, headers)
        self._log.info("connecting to %s", Redacted(self._plan.url))
        try:
            return await self._connection.exchange(request, learnt_id=self._session.learnt_id)
        finally:
            self._session.sent(
                is_body_spent=self._template.is_body_spent,
                was_acted_upon=self._connection.was_acted_upon,
            )

    async def _request(self, attempt: Attempt) -> "httpx.Request":
        if not is_sendable_id(attempt.last_event_id):
            self._log.warning("the last event ID cannot be sent in a header, and is left out")
        request = self._template.build(attempt.last_event_id)
        if self._plan.prepare is not None:
            # Its request is of whichever library the client is; so is the one that it gives.
            prepared = self._plan.prepare(cast("Any", request), attempt)
            request = cast(
                "httpx.Request", (await prepared if isawaitable(prepared) else prepared) or request
            )
            self._template.check(request)
        await self.steering.hold()
        self._session.sending(
            request.method,
            has_idempotency_key="idempotency-key" in request.headers,
            is_body_read_once=self._template.is_body_read_once,
        )
        return request

    # --- a connection ---

    def _accepted(self, exchange: Exchange, now: float) -> Step | None:
        """Begin with a connection; None where it is to be read."""
        self._head = self.response = exchange.head
        if exchange.head.status_code == 204:
            return self._session.finished()
        self.steering.settled()
        if self._surroundings is not None:
            self.steering.local_address = exchange.local_address
        self.counters.connected(now)
        self._session.opened(now)
        self.tell(Connected(response=exchange.head, events_received=self._position))
        self._log.info("connected to %s", Redacted(exchange.head.url))
        self._log.debug("status %d, %s", exchange.head.status_code, exchange.head.headers)
        return None

    async def _read_watched(self, exchange: Exchange, now: float) -> Step:
        plan = self._plan
        with anyio.CancelScope() as scope:
            watch = SilenceWatch(scope, plan.idle, plan.timeouts.first_event, now, self._cadence)
            self.steering.begin(scope, watch)
            try:
                return await self._read(exchange, watch)
            finally:
                self.steering.end()
        # Cut off. It may have been in the very tick in which something was read.
        self._receiver.cut_off()
        if self._session.is_over:
            return Stop()
        is_cut = self.steering.is_restarting or (self._session.is_paused and not self._session.is_held)
        if is_cut or watch.is_probing:
            return self._left_off()
        raise watch.expired()

    async def _read(self, exchange: Exchange, watch: SilenceWatch) -> Step:
        """Read until the body ends, or the stream does."""
        session, receiver = self._session, self._receiver
        await receiver.begin(watch)
        take = receiver.take
        is_open, rounds = True, 0
        while is_open:
            try:
                is_open = await exchange.pour(take)
            except exchange.errors as exc:
                raise exchange.translate(exc) from exc
            await receiver.take_rest()
            if receiver.intake.is_over:
                return await self._finish(exchange, receiver.intake)
            rounds += 1
            if not rounds % FAIR_SHARE:
                await checkpoint()
            if session.is_paused:
                await self.steering.hold()
            if self.steering.is_restarting and (session.may_restart or self.steering.is_cut_off):
                return self._left_off()
        cut = session.cut_by_end()
        if cut is not None:
            raise cut
        return self._ended(session.ended())

    async def _finish(self, exchange: Exchange, intake: Intake) -> Step:
        if intake.error is not None:
            raise intake.error
        step = self._session.finished()
        self._mailbox.finish()
        await exchange.drain()
        return step

    # --- what it tells ---

    def _tell_done(self, fact: DoneReceived) -> None:
        self._log.debug("its done event came")
        self.tell(fact)

    def _failed(self, error: StreamError) -> Step:
        self._described(error)
        self.steering.settled()
        step = self._session.failed(error, self._clock())
        if isinstance(step, Wait):
            self.counters.retries += 1
            error.retry_in = step.delay
            self._log.warning("%s; next attempt in %.1f s", error.headline, step.delay)
        elif isinstance(step, Rest):
            self._log.warning("%s; paused", error.headline)
        else:
            self._mailbox.finish()
            if self._session.status is StreamStatus.COMPLETED:  # it had been done before
                return self._ended(step)
            self._log.warning("%s; giving up", error.headline)
        self.tell(AttemptFailed(error=error, retry_in=error.retry_in, events_received=self._position))
        return step

    def _ended(self, step: Step) -> Step:
        self._log.info("the connection to %s ended", Redacted(self._plan.url))
        retry_in = step.delay if isinstance(step, Wait) else None
        if retry_in is not None:
            self._log.debug("next attempt in %.1f s", retry_in)
        self.tell(Ended(retry_in=retry_in, events_received=self._position))
        return step

    def _described(self, error: StreamError) -> StreamError:
        """Add what only the stream knows."""
        error.url = error.url or self._plan.url
        if error.status_code is None and self._head is not None:
            error.status_code, error.headers = self._head.status_code, self._head.headers
        return error

    @property
    def _position(self) -> int:
        return self.counters.events_received

    def tell(self, fact: Fact) -> None:
        """Let observers know, in order: what one of them makes happen is told once all know of this."""
        self._untold.append(fact)
        while not self._is_telling and self._untold:
            self._is_telling = True
            try:
                self._tell_all(self._untold.pop(0))
            finally:
                self._is_telling = False

    def _tell_all(self, fact: Fact) -> None:
        """Tell each; none of them can break the stream."""
        for observer in self._plan.observers:
            try:
                observer.observe(fact)
            except Exception:  # noqa: BLE001 - that is the promise
                self._log.exception("an observer failed at %s", type(fact).__name__)
