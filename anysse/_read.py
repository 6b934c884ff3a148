"""Events of a response that is already there: no task, no group, no reconnection, no connection of ours.

For those who look at the answer before they read it, and for use inside of generators.
"""

from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
)
from typing import Any, Literal, Protocol, TypeAlias, final

import anyio

from ._answer import content_codings
from ._check import shown
from ._errors import InvalidRequest, ResponseError, StreamDropped
from ._events import ServerSentEvent
from ._inflate import BadCoding, Inflater
from ._intake import Done, Intake
from ._parser import MAX_EVENT_SIZE
from ._unwind import unwind


class AsyncResponse(Protocol):
    """A response of httpx or httpx2 whose body was not read yet."""

    @property
    def headers(self) -> Any: ...
    def aiter_raw(self) -> AsyncIterator[bytes]: ...


class SyncResponse(Protocol):
    """The same, of a client that is not async."""

    @property
    def headers(self) -> Any: ...
    def iter_raw(self) -> Iterator[bytes]: ...


class _Body:
    """What both iterators share: pieces of a body go in, events come out, and its end is judged. No I/O."""

    def __init__(self, intake: Intake, inflater: Inflater | None, *, needs_done: bool) -> None:
        self._intake = intake
        self._inflater = inflater
        self._needs_done = needs_done
        self._pieces: Iterator[bytes] = iter(())
        self._ready: deque[ServerSentEvent] = deque()
        self.last_event_id: str = intake.last_event_id

    @property
    def reconnection_time(self) -> float | None:
        return self._intake.reconnection_time

    @property
    def is_done(self) -> bool:
        """Whether the event that ends the stream came."""
        return self._intake.is_done

    def next(self) -> ServerSentEvent | None:
        """Give the next event of what was taken, or None where more is needed."""
        while not self._ready:
            if self._intake.error is not None:
                raise self._intake.error
            piece = None if self.is_done else next(self._pieces, None)
            self.last_event_id = self._intake.last_event_id
            if piece is None:
                return None
            self._ready.extend(self._intake.take(piece))
        event = self._ready.popleft()
        self.last_event_id = event.id
        return event

    def take(self, chunk: bytes) -> None:
        self._pieces = iter((chunk,)) if self._inflater is None else self._inflated(self._inflater, chunk)

    def end(self) -> None:
        """Judge the end of the body.

        Raises:
            StreamDropped: It came before its done event, or in the middle of what was compressed.
        """
        if self._needs_done:
            raise StreamDropped("it ended before its done event")
        if self._inflater is not None and not self._inflater.is_complete:
            raise StreamDropped("the compressed body ended too soon")

    @staticmethod
    def _inflated(inflater: Inflater, chunk: bytes) -> Iterator[bytes]:
        try:
            yield from inflater.feed(chunk)
        except BadCoding as exc:
            raise ResponseError(str(exc)) from exc


@final
class EventReader(AsyncIterator[ServerSentEvent]):
    """The events of an async response, made by ``read_events``.

    A loop that is left early leaves the response's own iterator parked; ``aclose()``, as with
    ``contextlib.aclosing``, unwinds it in order, which trio asks for.
    """

    def __init__(self, body: _Body, chunks: AsyncIterator[bytes]) -> None:
        self._body = body
        self._chunks = chunks
        self._guard = anyio.ResourceGuard("reading from")
        self._is_cut = False
        self._is_iterated = False
        self._is_closed = False

    @property
    def last_event_id(self) -> str:
        """The last event ID of what was handed out."""
        return self._body.last_event_id

    @property
    def reconnection_time(self) -> float | None:
        """Seconds that the stream set with ``retry``, or None."""
        return self._body.reconnection_time

    def __aiter__(self) -> "EventReader":
        self._is_iterated = not self._is_closed
        return self

    async def __anext__(self) -> ServerSentEvent:
        """Wait for the next event.

        Cancelling this call ends the body, as it does in httpx: the next one raises ``StreamDropped``.

        Raises:
            StreamDropped: The body ended before its done event, or reading it was cancelled before.
            EventTooLarge: An event exceeds the limit.
            ResponseError: The body cannot be decompressed.
            anyio.ClosedResourceError: This was closed before.
            anyio.BusyResourceError: Another task is reading.
        """
        while not self._is_closed:
            event = self._body.next()
            if event is not None:
                return event
            if self._body.is_done:
                raise StopAsyncIteration
            with self._guard:
                chunk = await self._chunk()
            self._body.take(chunk)
        if self._is_iterated:  # the loop that closed it ends in order; whoever reads after that is told
            self._is_iterated = False
            raise StopAsyncIteration
        raise anyio.ClosedResourceError("the event reader was closed: what was left of the body is gone")

    async def _chunk(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            if self._is_cut:
                raise StreamDropped("reading was cancelled before, which ended the body") from None
            self._body.end()
            raise
        except BaseException:
            # A generator that was cut off says that it is at its end from then on.
            self._is_cut = isinstance(self._chunks, AsyncGenerator)
            raise

    async def aclose(self) -> None:
        """Leave the response's iterator in order. The response itself is its owner's to close.

        Raises:
            anyio.BusyResourceError: Another task is reading.
        """
        with self._guard:
            self._is_closed = True
            await unwind(self._chunks)


@final
class EventIterator(Iterator[ServerSentEvent]):
    """The events of a response that is read without async, made by ``iter_events``."""

    def __init__(self, body: _Body, chunks: Iterator[bytes]) -> None:
        self._body = body
        self._chunks = chunks

    @property
    def last_event_id(self) -> str:
        """The last event ID of what was handed out."""
        return self._body.last_event_id

    @property
    def reconnection_time(self) -> float | None:
        """Seconds that the stream set with ``retry``, or None."""
        return self._body.reconnection_time

    def __iter__(self) -> "EventIterator":
        return self

    def __next__(self) -> ServerSentEvent:
        """Give the next event.

        Raises:
            StreamDropped: The body ended before its done event.
            EventTooLarge: An event exceeds the limit.
            ResponseError: The body cannot be decompressed.
        """
        while True:
            event = self._body.next()
            if event is not None:
                return event
            if self._body.is_done:
                raise StopIteration
            try:
                chunk = next(self._chunks)
            except StopIteration:
                self._body.end()
                raise
            self._body.take(chunk)


AsyncSource: TypeAlias = AsyncResponse | AsyncIterable[bytes]
SyncSource: TypeAlias = SyncResponse | Iterable[bytes]


def read_events(
    response: AsyncSource,
    *,
    last_event_id: str = "",
    done: Done | None = None,
    on_comment: Callable[[str], object] | None = None,
    max_event_size: int = MAX_EVENT_SIZE,
    oversize: Literal["raise", "skip"] = "raise",
) -> EventReader:
    """Read the events of a response that is already there, or of any async iterable of bytes.

    No task and no cancel scope is involved, so it may be used inside of an async generator. Status and
    content type are the caller's to look at; what the source itself raises leaves as it is.

    Args:
        response: A streaming response of httpx or httpx2, or one that was read whole; or what gives bytes.
        last_event_id: The last event ID before it.
        done: The data of the event that ends the stream, or a test of it, as with ``open_stream``.
        on_comment: Is called with the text of every comment.
        max_event_size: Bytes of one event's lines.
        oversize: ``"skip"`` leaves larger events out.

    Raises:
        InvalidRequest: An argument is wrong.
    """
    content, inflater = _content_of(response), None
    source: AsyncIterable[bytes]
    if content is not None:
        source = _Whole(content)
    elif hasattr(response, "aiter_raw"):
        inflater, source = _inflater(response), response.aiter_raw()
    elif isinstance(response, AsyncIterable):
        source = response
    else:
        raise InvalidRequest(
            "response", f"must be a response or an async iterable of bytes, not {shown(response)}"
        )
    intake = _intake(done, on_comment, max_event_size, oversize, last_event_id)
    return EventReader(_Body(intake, inflater, needs_done=done is not None), aiter(source))


def iter_events(
    response: SyncSource,
    *,
    last_event_id: str = "",
    done: Done | None = None,
    on_comment: Callable[[str], object] | None = None,
    max_event_size: int = MAX_EVENT_SIZE,
    oversize: Literal["raise", "skip"] = "raise",
) -> EventIterator:
    """Read the events of a response of a client that is not async, or of any iterable of bytes.

    The synchronous twin of ``read_events``, with the same arguments.

    Raises:
        InvalidRequest: An argument is wrong.
    """
    content, inflater = _content_of(response), None
    source: Iterable[bytes]
    if content is not None:
        source = (content,)
    elif hasattr(response, "iter_raw"):
        inflater, source = _inflater(response), response.iter_raw()
    elif isinstance(response, Iterable) and not isinstance(response, str | bytes | bytearray | memoryview):
        source = response
    else:
        raise InvalidRequest("response", f"must be a response or an iterable of bytes, not {shown(response)}")
    intake = _intake(done, on_comment, max_event_size, oversize, last_event_id)
    return EventIterator(_Body(intake, inflater, needs_done=done is not None), iter(source))


def _intake(
    done: Done | None,
    on_comment: Callable[[str], object] | None,
    max_event_size: int,
    oversize: Literal["raise", "skip"],
    last_event_id: str,
) -> Intake:
    return Intake(
        done=done,
        on_comment=on_comment,
        max_event_size=max_event_size,
        oversize=oversize,
        last_event_id=last_event_id,
    )


def _inflater(response: Any) -> Inflater | None:
    codings = content_codings([response.headers.get("content-encoding", "")])
    try:
        return Inflater(codings) if codings else None
    except BadCoding as exc:
        raise ResponseError(str(exc)) from exc


def _content_of(response: object) -> bytes | None:
    """The body of a response that was read whole before, as those of httpx's mocks are, or None."""
    if not getattr(response, "is_stream_consumed", False):
        return None
    try:
        content: bytes = response.content  # type: ignore[attr-defined]
    except RuntimeError:  # it was not read, but streamed: its own error will say so
        return None
    return content


class _Whole(AsyncIterator[bytes]):
    """Gives one piece. No generator, which would have to be closed."""

    def __init__(self, content: bytes) -> None:
        self._left = [content]

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()
