"""One request of a client: its life from start to end, and what its user holds of it. Builds no request."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Generic, final

import anyio

from ._dispatch import Dispatch, Message
from ._errors import StreamError
from ._events import StreamResponse
from ._handlers import M
from ._http import CLOSE_GRACE
from ._limits import Place
from ._log import NumberedLogger
from ._open import Lifetime
from ._options import PauseMode, StreamStatus
from ._statistics import StreamStatistics
from ._stream import EventStream
from ._wakeup import Latch


class Life:
    """The life of one request whose stream is read by its user."""

    def __init__(
        self,
        lifetime: Lifetime[Any],
        *,
        place: Place,
        predecessors: "Sequence[Life]" = (),
    ) -> None:
        self.stream: Final[EventStream[Any]] = lifetime.stream
        self.error: Exception | None = None
        self.ended: Final = Latch()
        self._lifetime = lifetime
        self._predecessors = predecessors  # which have been disconnected
        self._place = place
        if not predecessors:  # else nobody is to wait behind one that waits
            place.take()
        self._log = NumberedLogger(self.stream.number)
        self._end: StreamStatus | None = None
        self._is_disconnected = False

    @property
    def status(self) -> StreamStatus:
        if self._end is not None:
            return self._end
        return StreamStatus.IDLE if self._is_disconnected else self.stream.status

    @property
    def handler_time(self) -> float:
        return 0.0

    def is_own_task(self) -> bool:
        """Whether it is a handler of this request that asks."""
        return False

    def check_pause(self, mode: PauseMode | None) -> None:
        """Refuse a pause that would give up what may not be sent again."""
        self._lifetime.check_pause(mode)

    def disconnect(self) -> None:
        if self._end is None and not self._is_disconnected:
            self._log.debug("disconnected")
            self._is_disconnected = True
            self._lifetime.stop()
            self._place.give_up()

    async def gone(self) -> None:
        """Wait, once it was disconnected, until its successor has nothing of it beside itself."""
        await self._lifetime.gone()

    async def enter(self) -> EventStream[Any]:
        """Begin, and wait until the server accepted the stream."""
        try:
            await self._wait_for_predecessors()
            return await self._lifetime.__aenter__()
        except BaseException as exc:
            # To be disconnected is no failure, even if whoever enters has to be told somehow.
            is_told = self._is_disconnected and isinstance(exc, anyio.ClosedResourceError)
            await self.leave(None if is_told else exc)  # noqa: ASYNC102 - shielded within, for a bounded time
            raise

    async def leave(self, exc: BaseException | None) -> None:
        """End, with what its user's block raised, if it did."""
        try:
            await self._lifetime.leave(in_order=exc is None)
        finally:
            has_failed = exc is None and self.status is StreamStatus.ERROR  # and its user saw to that
            self._end_with(self.stream.last_error if has_failed else exc, self.status)
            self.ended.set()

    async def _wait_for_predecessors(self) -> None:
        for life in self._predecessors:
            await life.gone()
        self._predecessors = ()

    def _end_with(self, exc: BaseException | None, status: StreamStatus) -> None:
        self._log.debug("ended: %s%s", status, "" if exc is None else f" ({type(exc).__name__})")
        self._place.give_up()
        self._end = status
        self.error = exc if isinstance(exc, Exception) else None


class HandledLife(Life, Generic[M]):
    """The life of one request whose messages go to handlers."""

    def __init__(
        self,
        lifetime: Lifetime[Message[M]],
        dispatch: Dispatch[M],
        *,
        place: Place,
        predecessors: Sequence[Life] = (),
    ) -> None:
        super().__init__(lifetime, place=place, predecessors=predecessors)
        self._dispatch = dispatch
        self._scope = anyio.CancelScope()
        self._task_id: int | None = None

    @property
    def handler_time(self) -> float:
        return self._dispatch.handler_time

    def is_own_task(self) -> bool:
        return self._dispatch.is_handling and _current_task_id() == self._task_id

    def disconnect(self) -> None:
        super().disconnect()
        self._dispatch.is_stopped = True
        if not self.is_own_task():  # a handler that disconnects may go on to its own end
            self._scope.cancel()

    async def gone(self) -> None:
        await super().gone()
        with anyio.move_on_after(CLOSE_GRACE):  # its handlers may themselves wait for the successor
            await self.ended.wait()

    async def run(self) -> StreamStatus:
        """Live, in the task that calls this; raise what the stream fails with, or what a handler raises."""
        self._task_id = _current_task_id()
        error: BaseException | None = None
        try:
            with self._scope:
                await self._wait_for_predecessors()
                self._lifetime.start()
                await self._dispatch.run(self.stream)
        except BaseException as exc:
            error = exc
            raise
        finally:
            await self._close(error)  # noqa: ASYNC102 - what has to be done is shielded, for a bounded time
        return self.status

    async def _close(self, error: BaseException | None) -> None:
        """End the stream, and tell so, whatever happens."""
        try:
            await self._lifetime.leave(in_order=error is None)
        finally:
            self._end_with(error, self._status_after(error))
            is_cut = isinstance(error, anyio.get_cancelled_exc_class()) or _is_cancelled()
            try:
                grace = anyio.current_time() + CLOSE_GRACE if is_cut else math.inf
                with anyio.CancelScope(deadline=grace, shield=is_cut):
                    await self._dispatch.close(self.status)  # noqa: ASYNC102 - shielded where it has to be
            except Exception as exc:
                if error is None:
                    self._end, self.error = StreamStatus.ERROR, exc
                    raise
                self._log.exception("a handler failed as the request ended")
            finally:
                self.ended.set()

    def _status_after(self, error: BaseException | None) -> StreamStatus:
        if isinstance(error, Exception):
            return StreamStatus.ERROR
        return StreamStatus.COMPLETED if self._dispatch.has_completed else StreamStatus.IDLE


_ENDS: Final = (StreamStatus.COMPLETED, StreamStatus.ERROR, StreamStatus.IDLE)


def _is_cancelled() -> bool:
    """Whether a scope around us was: a handler may have made another exception of it."""
    return anyio.current_effective_deadline() == -math.inf


def _current_task_id() -> int | None:
    try:
        return anyio.get_current_task().id
    except RuntimeError:  # a callback of the event loop's own
        return None


@final
class StreamRequest:
    """One request of a ``StreamClient``, live or ended: to look at, to wait for, to disconnect.

    ``start`` gives it, and ``client.requests`` has those that are live. It may be used from any task.
    """

    def __init__(self, life: Life) -> None:
        self._life = life

    def __repr__(self) -> str:
        return f"<StreamRequest {self.number}: {self.status}>"

    @property
    def number(self) -> int:
        """Its number in the log; no other request of this process has it."""
        return self._life.stream.number

    @property
    def status(self) -> StreamStatus:
        """Where it is in its life; its handlers may have to be told yet."""
        return self._life.status

    @property
    def is_connected(self) -> bool:
        """Whether the server accepted the stream, which goes on."""
        return self.status is StreamStatus.CONNECTED

    @property
    def retry_count(self) -> int:
        """How many times in a row it was tried again, since it was last good."""
        return self._life.stream.retry_count

    @property
    def last_event_id(self) -> str:
        """The last event ID of what was handed out, to resume from."""
        return self._life.stream.last_event_id

    @property
    def last_error(self) -> Exception | None:
        """What the last attempt failed with; None once it is good again."""
        return self._life.stream.last_error

    @property
    def next_attempt_in(self) -> float | None:
        """Seconds until the next attempt; None where none is being waited for."""
        return self._life.stream.next_attempt_in

    @property
    def response(self) -> StreamResponse | None:
        """Status, headers and URL of the current connection, or of the last one; None before the first."""
        return self._life.stream.response

    def statistics(self) -> StreamStatistics:
        """Give what was counted so far."""
        statistics, handler_time = self._life.stream.statistics(), self._life.handler_time
        return replace(statistics, handler_time=handler_time) if handler_time else statistics

    def disconnect(self) -> None:
        """End it, and be ``idle``: its connection is closed, and only ``on_status`` and ``on_close`` follow.

        From any task, and from inside a handler, any number of times. A handler that is under way is
        cancelled, except one that calls this itself: it goes on to its own end. Of ``client.stream()`` the
        loop ends in order.
        """
        self._life.disconnect()

    def pause(self, mode: PauseMode | None = None) -> None:
        """Hold it, and be ``paused``, until ``resume`` is called: see ``EventStream.pause``.

        What was received is still handled.

        Raises:
            InvalidRequest: There is no such mode; or it is ``"close"``, and this may not be sent again.
        """
        self._life.stream.pause(mode)

    def resume(self) -> None:
        """Go on after ``pause``: at once, with the connection that was held, or with a new one."""
        self._life.stream.resume()

    def reconnect_now(self) -> None:
        """Make the next attempt now: cut a wait short, or give up a connection for a new one.

        Raises:
            InvalidRequest: There is a connection, and its request may not be sent again (see ``resend``).
            anyio.ClosedResourceError: It is over, or disconnected.
        """
        self._life.stream.reconnect_now()

    async def wait_for(self, status: StreamStatus) -> None:
        """Wait until it has a status; one that it passes through counts, however shortly.

        Raises:
            StreamError: It failed, and will not have that status.
            anyio.EndOfStream: It completed, and will not have it.
            anyio.ClosedResourceError: It was disconnected, and will not have it.
            InvalidRequest: There is no such status.
        """
        try:
            await self._life.stream.wait_for(status)
        except (StreamError, anyio.EndOfStream, anyio.ClosedResourceError):
            # A handler that raises has the last word, as has the done event of a stream that goes on.
            has_handlers = isinstance(self._life, HandledLife)
            if status not in _ENDS or not has_handlers or self._life.is_own_task():
                raise
            await self._life.ended.wait()  # noqa: ASYNC120 - cancelled meanwhile, it is no news any more
            if self.status != status:
                raise

    async def wait(self) -> StreamStatus:
        """Wait until it is over, and its handlers know; give the status that it ended with.

        Raises:
            StreamError: What it failed with.
            Exception: What a handler raised, as itself.
            RuntimeError: A handler of this very request asks, and would wait for itself.
        """
        if self._life.is_own_task():
            raise RuntimeError("a handler cannot wait for the end of its own request")
        await self._life.ended.wait()
        if self._life.error is not None:
            raise self._life.error
        return self.status


class Reading(AbstractAsyncContextManager[EventStream[M]]):
    """What ``client.stream`` gives: to be entered once."""

    def __init__(
        self, begin: Callable[[], tuple[StreamRequest, Life]], forget: Callable[[StreamRequest], None]
    ) -> None:
        self._begin: Callable[[], tuple[StreamRequest, Life]] | None = begin
        self._forget = forget
        self._begun: tuple[StreamRequest, Life] | None = None

    async def __aenter__(self) -> EventStream[M]:
        if self._begin is None:
            raise RuntimeError("a stream can be entered once: call client.stream() again")
        request, life = self._begun = self._begin()
        self._begin = None  # it holds what is needed to open a stream, and no longer
        try:
            return await life.enter()
        except BaseException:
            self._forget(request)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._begun is None:
            raise RuntimeError("a stream is left that was not entered: use async with client.stream(...)")
        request, life = self._begun
        try:
            await life.leave(exc)  # noqa: ASYNC102 - shielded within, for a bounded time
        finally:
            self._forget(request)
