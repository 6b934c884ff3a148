"""Calls the handlers of one request in the order in which things happened; sees a stream from outside only.

A stream reads ahead of its user, so what its observer is told is early: each fact says after how many
events it happened, and waits here until those were handled.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from inspect import isawaitable
from typing import Generic, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from ._clock import stopwatch
from ._decode import SKIP, Decode, Skip
from ._errors import AnysseError, DecodeError
from ._events import ServerSentEvent
from ._handlers import Handlers, M
from ._log import NumberedLogger
from ._observer import Attempt, AttemptFailed, Connected, DoneReceived, Fact, Observer, StatusChanged
from ._options import StreamStatus
from ._stream import EventStream

FAIR_SHARE = 32
"""Messages in a row that are handled without letting other tasks have their turn."""
MAX_FACTS = 64
"""Facts that may wait to be handled, before the stream makes no further attempt."""

_TOLD = (StatusChanged, Connected, AttemptFailed, DoneReceived)

Message: TypeAlias = tuple[M | Skip, ServerSentEvent]
"""What an event was decoded to. One that is left out comes, too: what happened before it is handled first."""


class Dispatch(Observer, Generic[M]):
    """Between one stream, which it observes and decodes for, and the handlers of its user."""

    def __init__(self, handlers: Handlers[M], decode: Decode[M], *, closes_on_done: bool) -> None:
        self._handlers = handlers
        self._decode = decode
        self._closes_on_done = closes_on_done
        self._stopwatch: Callable[[], float] = stopwatch()
        self._facts: deque[Fact] = deque()
        self._room: anyio.Event | None = None
        self._nap: anyio.CancelScope | None = None  # while there is nothing to handle
        self._taken = 0  # events of the stream that were handed out, those left out included
        self._status = StreamStatus.IDLE  # that was told
        self._bug: Exception | None = None  # the decoder's, which may look like a word of the stream's
        self.is_stopped = False
        self.is_handling = False
        """Whether a handler is under way."""
        self.has_completed = False
        self.handler_time = 0.0

    # --- what the stream calls, in its reader's task or ours; never waits, but for admission ---

    def observe(self, fact: Fact, /) -> None:
        if not isinstance(fact, _TOLD):
            return
        self._facts.append(fact)
        if self._nap is not None:
            self._nap.cancel()

    def admit(self, attempt: Attempt, /) -> AbstractAsyncContextManager[None]:
        """Hold attempts back while too much of what happened is not handled yet."""
        return self._admission()

    @asynccontextmanager
    async def _admission(self) -> AsyncIterator[None]:
        while len(self._facts) >= MAX_FACTS:
            self._room = anyio.Event()
            await self._room.wait()
        yield

    def decode(self, event: ServerSentEvent) -> Message[M]:
        """Decode for the stream; called for each event that is handed out, in order."""
        self._taken += 1
        try:
            return self._decode(event), event
        except Exception as exc:
            self._bug = exc
            raise

    # --- the request's own task ---

    async def run(self, stream: EventStream[Message[M]]) -> None:
        """Handle everything, to the stream's end; what it fails with is raised after it was handled."""
        handlers, streak = self._handlers, 0
        while not self.is_stopped:
            streak += 1
            if not streak % FAIR_SHARE:
                await checkpoint()
            try:
                message = await self._next(stream)
            except DecodeError as error:
                await self._catch_up(self._taken - 1)
                await self._on_bad_message(stream, error)
            except Exception as error:
                # Of the stream itself, after all events; or a bug of the decoder's, at its event.
                is_of_stream = error is not self._bug
                is_failure = not is_of_stream or error is stream.last_error
                # Cancelled meanwhile, it is no news any more.
                await self._catch_up(self._taken if is_of_stream else self._taken - 1)  # noqa: ASYNC120
                if is_of_stream and self.is_stopped:  # by a handler that was told of it
                    return
                if is_failure or not isinstance(error, anyio.EndOfStream | anyio.ClosedResourceError):
                    raise
                return
            else:
                if self._facts:
                    await self._catch_up(self._taken if message is None else self._taken - 1)
                if message is not None and message[0] is not SKIP and not self.is_stopped:
                    data, event = message
                    await self._call(handlers.on.get(event.event, handlers.on_message), data, event)

    async def _next(self, stream: EventStream[Message[M]]) -> Message[M] | None:
        """Give the next message, or None where there are facts to handle first.

        What is taken counts for the last event ID: a handler of such a fact may fail, or be cancelled.
        """
        if self._facts and self._facts[0].events_received <= self._taken:
            return None
        try:
            return stream.receive_nowait()
        except anyio.WouldBlock as exc:
            if exc is self._bug:
                raise
        with anyio.CancelScope() as nap:
            self._nap = nap
            try:
                return await stream.receive()
            finally:
                self._nap = None
        return None

    async def _on_bad_message(self, stream: EventStream[Message[M]], error: DecodeError) -> None:
        NumberedLogger(stream.number).warning("%s", error.headline)
        if not self.is_stopped:
            await self._call(self._handlers.on_error, error, error.retry_count)

    async def _catch_up(self, position: int) -> None:
        """Handle what happened after so many events, and before the next."""
        facts = self._facts
        while facts and facts[0].events_received <= position and not self.is_stopped:
            await self._handle(facts.popleft())
            if self._room is not None:
                self._room.set()
                self._room = None

    async def _handle(self, fact: Fact) -> None:
        handlers = self._handlers
        match fact:
            case StatusChanged(status=StreamStatus.IDLE):
                pass  # closed: how the request ended is told at its end
            case StatusChanged(status=status):
                await self._on_status(status)
                if status is StreamStatus.COMPLETED and not self.is_stopped:
                    await self._complete()
            case DoneReceived() if not self._closes_on_done:
                await self._complete()
            case Connected():
                await self._call(handlers.on_open)
            case AttemptFailed(error=AnysseError() as error, retry_in=delay):
                await self._call(handlers.on_error, error, error.retry_count)
                if delay is not None and not self.is_stopped:
                    await self._call(handlers.on_retry, error, delay)
            case _:
                pass  # a bug of its user's: it leaves as itself, or a done event that closes

    async def _complete(self) -> None:
        if not self.has_completed:
            self.has_completed = True
            await self._call(self._handlers.on_complete)

    async def _on_status(self, status: StreamStatus) -> None:
        if status is not self._status:
            self._status = status
            await self._call(self._handlers.on_status, status)

    async def close(self, status: StreamStatus) -> None:
        """Tell how the request ended; it fails where a handler does, and is closed all the same."""
        try:
            await self._on_status(status)
        except Exception:
            status = StreamStatus.ERROR
            raise
        finally:
            # Who calls this shields it, where it has to be.
            await self._call(self._handlers.on_close, status)  # noqa: ASYNC102

    async def _call(self, handler: Callable[..., object] | None, *arguments: object) -> None:
        if handler is None:
            return
        began, self.is_handling = self._stopwatch(), True
        try:
            result = handler(*arguments)
            if result is not None and isawaitable(result):
                await result
        finally:
            self.is_handling = False
            self.handler_time += self._stopwatch() - began
