"""A stream of events that outlives its connections: what its user holds, reads and steers."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from operator import length_hint
from typing import Final, Generic, NoReturn, final

import anyio
from anyio.abc import ObjectReceiveStream, TaskGroup
from anyio.lowlevel import checkpoint

from ._check import check_choice
from ._decode import SKIP, Decode, Skip, T, decoded
from ._delivery import Mailbox
from ._errors import DecodeError
from ._events import ServerSentEvent, StreamResponse
from ._http import CLOSE_GRACE, DRAIN_GRACE, Connection
from ._log import NumberedLogger, next_number
from ._observer import StatusChanged
from ._options import PauseMode, StreamStatus
from ._plan import StreamPlan
from ._reader import Reader
from ._request import RequestTemplate
from ._session import Session
from ._statistics import StreamStatistics
from ._surroundings import Surroundings
from ._wakeup import Latch

FAIR_SHARE = 32
"""Events in a row that are handed out without letting other tasks have their turn."""
_CLOSED = "the event stream was closed: open another one"


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody in ``wait_for``."""

    status: StreamStatus
    woken: anyio.Event
    is_reached: bool = False


@final
class EventStream(ObjectReceiveStream[T], Generic[T]):
    """The events of one stream, in order, over as many connections as it takes.

    Made by ``open_stream``. Iterate over it, or call ``receive``, from one task at a time; everything
    else may be used from any task. With ``decode=`` it gives what that makes of the events; an event that
    cannot be decoded raises a ``DecodeError`` where it would have come, and reading on gives the next one.
    """

    def __init__(
        self,
        plan: StreamPlan,
        template: RequestTemplate,
        connection: Connection,
        decode: Decode[T] | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.url: Final = plan.url
        """The URL that was asked for; ``response.url`` is where redirects led."""
        self.number: Final = next_number()
        """Its number in the log; no other stream of this process has it."""
        self._log = NumberedLogger(self.number)
        self._decode = decode
        self._session = Session(
            plan.rules, last_event_id=plan.last_event_id, chance=random.random, on_status=self._on_status
        )
        self._mailbox = Mailbox(plan.buffer)
        self._reader = Reader(
            self._session, template, connection, self._mailbox, plan, self.number, surroundings
        )
        self._last_event_id = plan.last_event_id
        # The batch that is being handed out, and the last event ID after it.
        self._pending: Iterator[ServerSentEvent] = iter(())
        self._pending_id = plan.last_event_id
        self._streak = 0
        self._is_iterated = False
        self._is_closed = False
        self._guard = anyio.ResourceGuard("reading from")
        self._waiters: list[_Waiter] = []
        self._bug: Exception | None = None  # the decoder's, which may look like our own end
        self._settled = Latch()

    # --- reading ---

    def __aiter__(self) -> "EventStream[T]":
        self._is_iterated = not self._is_closed
        return self

    async def __anext__(self) -> T:
        # The short way: no checkpoint, but for one in every so many events.
        while self._streak < FAIR_SHARE or await self._let_others_run():
            event = next(self._pending, None) or self._next_buffered()
            if event is None:
                if await self._has_waited():
                    continue
                break
            self._streak += 1
            if self._decode is None:  # as in _handed_out, whose call would cost more than all of this
                self._last_event_id = event.id
                return event  # type: ignore[return-value] # without a decoder, T is the event itself
            item = self._handed_out(event)
            if item is not SKIP:
                return item
        if self._is_closed and self._is_iterated:
            # The loop that was under way ends in order; whoever reads after that is told.
            self._is_iterated = False
            raise StopAsyncIteration
        try:
            return await self.receive()
        except anyio.EndOfStream as end:
            if end is self._bug or end is self._session.last_error:  # what a callback raised is no end
                raise
            self._is_iterated = False
            raise StopAsyncIteration from None

    async def _let_others_run(self) -> bool:
        """Let other tasks have their turn; tell whether the stream is open still."""
        if not self._is_closed:
            with self._guard:
                await checkpoint()
        if not self._is_closed:  # closing leaves no short way
            self._streak = 0
        return not self._is_closed

    async def _has_waited(self) -> bool:
        """Wait until something changes, which lets others run as well; not at the end of the stream."""
        if self._mailbox.is_finished:
            return False
        with self._guard:
            await self._mailbox.wait()
        if not self._is_closed:
            self._streak = 0
        return True

    async def receive(self) -> T:
        """Wait for the next event.

        Cancelling this call loses no event, whether by a cancel scope or by ``task.cancel()``.

        Raises:
            anyio.EndOfStream: The stream completed, or was closed while this waited.
            anyio.ClosedResourceError: The stream had been closed before.
            anyio.BusyResourceError: Another task is reading.
            StreamError: The stream failed, and the policy gave up; what came before was handed out.
            DecodeError: An event could not be decoded; the next call gives the one after it.
        """
        if self._is_closed:
            raise anyio.ClosedResourceError(_CLOSED)
        with self._guard:
            if self._is_anything_here:  # else it waits, which is a checkpoint as well
                # Not between taking an event and recording it: a cancellation would lose it.
                await checkpoint()
            while not self._is_closed:
                self._streak = 0
                item = self._next_item()
                if item is not SKIP:
                    return item
                if self._streak == FAIR_SHARE:  # all of them left out by the decoder
                    await checkpoint()
                else:
                    await self._wait()
            raise anyio.EndOfStream

    def receive_nowait(self) -> T:
        """Give the next event if it has come already.

        It lets no other task have its turn: who calls it in a loop has to, now and then.

        Raises:
            anyio.WouldBlock: None has come yet.
            anyio.EndOfStream: The stream completed.
            anyio.ClosedResourceError: The stream had been closed before.
            anyio.BusyResourceError: Another task is reading.
            StreamError: The stream failed, and the policy gave up; what came before was handed out.
            DecodeError: An event could not be decoded; the next call gives the one after it.
        """
        if self._is_closed:
            raise anyio.ClosedResourceError(_CLOSED)
        with self._guard:
            while not self._is_closed:
                self._streak = 0
                item = self._next_item()
                if item is not SKIP:
                    return item
                if self._streak < FAIR_SHARE:
                    self._raise_if_ended()
                    raise anyio.WouldBlock
            raise anyio.EndOfStream

    def _next_item(self) -> T | Skip:
        """Give what the next event was decoded to; SKIP where that needs waiting, or after a fair share."""
        while self._streak < FAIR_SHARE:
            event = next(self._pending, None) or self._next_buffered()
            if event is None:
                break
            self._streak += 1
            item = self._handed_out(event)
            if item is not SKIP:
                return item
        return SKIP

    def _handed_out(self, event: ServerSentEvent) -> T | Skip:
        """Record that an event is handed out, and decode it."""
        self._last_event_id = event.id
        if self._decode is None:
            return event  # type: ignore[return-value] # without a decoder, T is the event itself
        try:
            return decoded(event, self._decode)
        except DecodeError as error:
            error.url = error.url or self.url
            raise
        except anyio.EndOfStream as exc:
            self._bug = exc
            raise

    @property
    def _is_anything_here(self) -> bool:
        """Whether there are events, or the end, without waiting."""
        return bool(length_hint(self._pending)) or not self._mailbox.is_empty or self._mailbox.is_finished

    def _next_buffered(self) -> ServerSentEvent | None:
        """Take batches until one has an event; None where that needs waiting, or is the end."""
        while True:
            self._last_event_id = self._pending_id
            if self._mailbox.is_empty and not self._mailbox.is_finished:  # dearer to learn by an exception
                return None
            try:
                events, self._pending_id, _size = self._mailbox.take_nowait()
            except (anyio.WouldBlock, anyio.EndOfStream):
                return None
            self._pending = iter(events)
            event = next(self._pending, None)
            if event is not None:
                return event

    async def _wait(self) -> None:
        """Wait for a batch, or raise what the stream ended with."""
        self._raise_if_ended()
        await self._mailbox.wait()

    def _raise_if_ended(self) -> None:
        if self._mailbox.is_finished:
            self._raise_end()

    @property
    def _has_ended(self) -> bool:
        """Whether its status stays what it is: at its end, closed, or its task group was cancelled."""
        return self._is_closed or self._session.is_over or self._mailbox.is_finished

    def _raise_end(self) -> NoReturn:
        if self._session.status is StreamStatus.ERROR and self._session.last_error is not None:
            raise self._session.last_error
        if self._session.status is StreamStatus.COMPLETED:
            raise anyio.EndOfStream
        raise anyio.ClosedResourceError(_CLOSED)

    # --- looking on ---

    @property
    def status(self) -> StreamStatus:
        """Where the stream is in its life; what is buffered may still be handed out after its end."""
        if self._is_closed and not self._session.is_over:
            return StreamStatus.IDLE
        return self._session.status

    @property
    def last_event_id(self) -> str:
        """The last event ID of what was handed out: to resume after the event that was read last.

        A reconnection sends the one *received*, since what is buffered will still be handed out.
        """
        return self._last_event_id

    @property
    def reconnection_time(self) -> float | None:
        """Seconds between a feed's connections, as its server set them, from 0.1 to 3600; None by default."""
        return self._session.reconnection_time

    @property
    def response(self) -> StreamResponse | None:
        """Status, headers and URL of the current connection, or of the last one; None before the first."""
        return self._reader.response

    @property
    def retry_count(self) -> int:
        """How many times in a row it was tried again, since the stream was last good."""
        return self._session.retry_count

    @property
    def last_error(self) -> Exception | None:
        """What the last attempt failed with; None once the stream is good again."""
        return self._session.last_error

    @property
    def next_attempt_in(self) -> float | None:
        """Seconds until the next attempt; None where none is being waited for."""
        at = self._reader.steering.next_attempt_at
        # Rounded: a moment plus a delay, minus the moment, is not quite the delay.
        return None if at is None else max(0.0, round(at - anyio.current_time(), 6))

    def statistics(self) -> StreamStatistics:
        """Give what was counted so far."""
        return self._reader.counters.statistics(anyio.current_time())

    async def wait_for(self, status: StreamStatus) -> None:
        """Wait until the stream has a status; one that it passes through counts, however shortly.

        Raises:
            StreamError: The stream failed, and will not have that status.
            anyio.EndOfStream: It completed, and will not have it.
            anyio.ClosedResourceError: It was closed, and will not have it.
            InvalidRequest: There is no such status.
        """
        check_choice("status", status, tuple(StreamStatus))
        await checkpoint()
        if self.status == status:
            return
        if self._has_ended:
            self._raise_end()
        waiter = _Waiter(StreamStatus(status), anyio.Event())
        self._waiters.append(waiter)
        try:
            await waiter.woken.wait()
        finally:
            self._waiters.remove(waiter)
        if not waiter.is_reached:
            self._raise_end()

    # --- steering ---

    def pause(self, mode: PauseMode | None = None) -> None:
        """Hold the stream, and be ``paused``, until ``resume`` is called.

        From any task, in any status, any number of times; nothing happens to a stream that is over. What was
        received is still handed out, and ``timeouts.total`` goes on.

        Args:
            mode: What becomes of the connection, or of the attempt to get one. ``"close"`` ends it: resuming
                connects again, with the last event ID. ``"hold"`` keeps it and reads no more, so that TCP
                holds the server back; ``idle`` and ``first_event`` rest; what the server did meanwhile is
                found on resuming. By default it is closed where another one would go on from here, and held
                where the request may not be sent again (see ``resend``), or a reply without IDs would begin
                anew. Of a stream that is paused already, ``"close"`` ends what is held.

        Raises:
            InvalidRequest: There is no such mode; or it is ``"close"``, and this may not be sent again.
        """
        self._check_pause(mode)
        if not self._has_ended:
            self._reader.steering.pause(mode)

    def resume(self) -> None:
        """Go on after ``pause``: at once, with the connection that was held, or with a new one.

        From any task, in any status, any number of times. A new connection comes not closer than 0.1 s to the
        attempt before. A stream that pauses while hidden (see ``visibility``) goes on once it is shown, too.
        """
        if not self._has_ended:
            self._reader.steering.resume()

    def reconnect_now(self) -> None:
        """Make the next attempt now: cut a wait short, or give up a connection for a new one.

        Not closer than 0.1 s to the attempt before; while an attempt is under way, or it is paused, nothing
        happens.

        Raises:
            InvalidRequest: There is a connection, and its request may not be sent again (see ``resend``).
            anyio.ClosedResourceError: The stream is over, or closed.
        """
        if self._has_ended:
            raise anyio.ClosedResourceError("the event stream is over: open another one")
        self._reader.steering.reconnect()

    async def aclose(self) -> None:
        """End the stream: its connection is closed, a loop that reads it ends in order.

        From any task, any number of times. What was buffered is not handed out any more.
        """
        self._stop()
        await self._finish(CLOSE_GRACE)
        await checkpoint()

    # --- its lifetime ---

    def _check_pause(self, mode: PauseMode | None) -> None:
        if mode is not None:
            check_choice("mode", mode, ("close", "hold"))
        if not self._has_ended:
            self._session.check_pause(mode)

    def _start(self, task_group: TaskGroup) -> None:
        """Start the reader."""
        try:
            task_group.start_soon(self._reader.run, name=f"anysse reader {self.number}")
        except BaseException:  # the group is closed: there is no reader to wait for
            self._abandon()
            raise

    def _abandon(self) -> None:
        """End what has not begun, and tell whoever waits for it."""
        self._close()
        self._reader.finished.set()
        self._mailbox.discard()
        self._settled.set()
        for waiter in self._waiters:
            waiter.woken.set()

    async def _settle(self) -> None:
        """Wait until the server accepted the stream; raise if it never will."""
        try:
            await self._settled.wait()
            if not self._session.was_open and self._session.status is not StreamStatus.COMPLETED:
                self._raise_end()
        except BaseException:
            await self._end()  # noqa: ASYNC102 - it shields itself, for a bounded time
            raise

    async def _leave(self) -> None:
        """End in order: a stream that is done may take a moment to give its connection back."""
        try:
            if self._session.is_over:
                await self._finish(2 * DRAIN_GRACE)
        finally:  # a native cancellation goes through shields
            await self._end()  # noqa: ASYNC102 - it shields itself, for a bounded time

    async def _end(self) -> None:
        self._close()
        try:
            await self._finish(2 * CLOSE_GRACE)
        finally:
            self._mailbox.discard()

    def _stop(self) -> None:
        """Close it for whoever reads, and have the reader end."""
        self._close()
        self._mailbox.finish()

    def _close(self) -> None:
        self._is_closed = True
        self._streak = FAIR_SHARE  # no short way any more
        self._reader.stop()

    async def _finish(self, grace: float) -> None:
        if self._reader.finished.is_set or self._reader.is_current_task():  # a callback of ours closes it
            return
        with anyio.move_on_after(grace, shield=True):
            await self._reader.finished.wait()

    def _on_status(self, status: StreamStatus, previous: StreamStatus) -> None:
        is_end = status in (StreamStatus.COMPLETED, StreamStatus.ERROR, StreamStatus.IDLE)
        if is_end or status is StreamStatus.CONNECTED:
            self._settled.set()
        for waiter in self._waiters:
            waiter.is_reached = waiter.is_reached or waiter.status is status
            if is_end or waiter.is_reached:
                waiter.woken.set()
        self._log.debug("%s, after %s", status, previous)
        position = self._reader.counters.events_received
        self._reader.tell(StatusChanged(status=status, previous=previous, events_received=position))
