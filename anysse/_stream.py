"""``open_stream()`` and what it gives: a stream of events that outlives its connections.

Checks arguments, puts session, connection and reader together, and owns their lifetime.
"""

import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias, final

import anyio
from anyio.abc import ObjectReceiveStream, TaskGroup
from anyio.lowlevel import checkpoint

from ._check import check_choice, check_count
from ._delivery import Mailbox
from ._errors import InvalidRequest
from ._events import ServerSentEvent, StreamResponse
from ._groups import bare_exception
from ._http import CLOSE_GRACE, DRAIN_GRACE, AcceptResponse, Connection, library_of, own_client, user_agent
from ._intake import Done, check_done
from ._observer import Observer, StatusChanged
from ._options import Kind, Resend, StreamStatus, Timeouts
from ._parser import MAX_EVENT_SIZE
from ._reader import Reader, ReaderOptions, tell
from ._request import (
    Body,
    RequestTemplate,
    check_auth,
    check_callable,
    check_given,
    check_last_event_id,
    check_method,
)
from ._retry import ExponentialBackoff, RetryPolicy
from ._session import Rules, Session

if TYPE_CHECKING:
    import httpx
    import httpx2

    from ._reader import Prepare

    URLTypes: TypeAlias = str | httpx.URL | httpx2.URL
    RequestTypes: TypeAlias = httpx.Request | httpx2.Request
    ClientTypes: TypeAlias = httpx.AsyncClient | httpx2.AsyncClient
    HeaderTypes: TypeAlias = (
        httpx.Headers
        | httpx2.Headers
        | Mapping[str, str]
        | Mapping[bytes, bytes]
        | Sequence[tuple[str, str]]
        | Sequence[tuple[bytes, bytes]]
    )
    ParamTypes: TypeAlias = (
        httpx.QueryParams
        | httpx2.QueryParams
        | Mapping[str, object]
        | Sequence[tuple[str, object]]
        | str
        | bytes
    )
    CookieTypes: TypeAlias = httpx.Cookies | httpx2.Cookies | dict[str, str] | list[tuple[str, str]]
    AuthTypes: TypeAlias = (
        tuple[str | bytes, str | bytes]
        | httpx.Auth
        | httpx2.Auth
        | Callable[[httpx.Request], httpx.Request]
        | Callable[[httpx2.Request], httpx2.Request]
    )
    FileContent: TypeAlias = IO[bytes] | bytes | str
    FileTypes: TypeAlias = (
        FileContent
        | tuple[str | None, FileContent]
        | tuple[str | None, FileContent, str | None]
        | tuple[str | None, FileContent, str | None, Mapping[str, str]]
    )
    FilesTypes: TypeAlias = Mapping[str, FileTypes] | Sequence[tuple[str, FileTypes]]

DEFAULT_BUFFER = 64
FAIR_SHARE = 32
"""Events in a row that are handed out without letting other tasks have their turn."""


class ClientAuth(Enum):
    """The default of ``auth``: what the client has. None, as in httpx, is no authentication."""

    OF_CLIENT = "of the client"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """What a stream has seen so far. Ages and durations are in seconds, None where there is nothing to measure."""

    connections: int
    """Responses that were accepted."""
    retries: int
    """Attempts after a failure; a feed's reconnection after a clean end is none."""
    bytes_received: int
    """Bytes of bodies, as they came out of decompression where there was any."""
    events_received: int
    """Events that were parsed, those included that still wait to be handed out."""
    connected_for: float | None
    """How long the current connection has lasted."""
    last_byte_age: float | None
    last_event_age: float | None


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody in ``wait_for``."""

    status: StreamStatus
    woken: anyio.Event
    is_reached: bool = False


@final
class EventStream(ObjectReceiveStream[ServerSentEvent]):
    """The events of one stream, in order, over as many connections as it takes.

    Made by ``open_stream``. Iterate over it, or call ``receive``, from one task at a time; everything
    else may be used from any task.
    """

    def __init__(self, url: str, rules: Rules, last_event_id: str, observers: Sequence[Observer]) -> None:
        # Made by open_stream alone: everything of it that needs an event loop comes with _begin.
        self.url: Final = url
        """The URL that was asked for; ``response.url`` is where redirects led."""
        self._observers = observers
        self._session = Session(
            rules, last_event_id=last_event_id, chance=random.random, on_status=self._on_status
        )
        self._last_event_id = last_event_id
        self._pending: Iterator[ServerSentEvent] = iter(())
        self._pending_id = last_event_id
        self._streak = 0
        self._is_iterated = False
        self._is_closed = False
        self._guard = anyio.ResourceGuard("reading from")
        self._waiters: list[_Waiter] = []
        self._reader: Reader
        self._mailbox: Mailbox
        self._settled: anyio.Event

    # --- reading ---

    def __aiter__(self) -> "EventStream":
        self._is_iterated = not self._is_closed
        return self

    async def __anext__(self) -> ServerSentEvent:
        # The short way: no checkpoint, but for one in every so many events.
        if self._streak < FAIR_SHARE:
            event = next(self._pending, None) or self._next_buffered()
            if event is not None:
                self._streak += 1
                self._last_event_id = event.id
                return event
        if self._is_closed and self._is_iterated:
            # The loop that was under way ends in order; whoever reads after that is told.
            self._is_iterated = False
            raise StopAsyncIteration
        try:
            return await self.receive()
        except anyio.EndOfStream:
            self._is_iterated = False
            raise StopAsyncIteration from None

    async def receive(self) -> ServerSentEvent:
        """Wait for the next event.

        Cancelling this call loses no event, whether by a cancel scope or by ``task.cancel()``.

        Raises:
            anyio.EndOfStream: The stream completed, or was closed while this waited.
            anyio.ClosedResourceError: The stream had been closed before.
            anyio.BusyResourceError: Another task is reading.
            StreamError: The stream failed, and the policy gave up; what came before was handed out.
        """
        if self._is_closed:
            raise anyio.ClosedResourceError
        with self._guard:
            # Not between taking an event and recording it: a cancellation would lose it.
            await checkpoint()
            self._streak = 0
            while not self._is_closed:
                event = next(self._pending, None) or self._next_buffered()
                if event is not None:
                    self._streak = 1
                    self._last_event_id = event.id
                    return event
                await self._wait()
            raise anyio.EndOfStream

    def _next_buffered(self) -> ServerSentEvent | None:
        """Take batches until one has an event; None where that needs waiting, or is the end."""
        while True:
            self._last_event_id = self._pending_id
            try:
                events, self._pending_id = self._mailbox.take_nowait()
            except (anyio.WouldBlock, anyio.EndOfStream):
                return None
            self._pending = iter(events)
            event = next(self._pending, None)
            if event is not None:
                return event

    async def _wait(self) -> None:
        """Wait for a batch, or raise what the stream ended with."""
        if self._mailbox.is_finished:
            self._raise_end()
        await self._mailbox.wait()

    def _raise_end(self) -> NoReturn:
        if self._session.status is StreamStatus.ERROR and self._session.last_error is not None:
            raise self._session.last_error
        if self._session.status is StreamStatus.COMPLETED:
            raise anyio.EndOfStream
        raise anyio.ClosedResourceError

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
        at = self._reader.next_attempt_at
        return None if at is None else max(0.0, at - anyio.current_time())

    def statistics(self) -> StreamStatistics:
        """Give what was counted so far."""
        counters, now = self._reader.counters, anyio.current_time()
        return StreamStatistics(
            connections=counters.connections,
            retries=counters.retries,
            bytes_received=counters.bytes_received,
            events_received=counters.events_received,
            connected_for=_age(counters.connected_at, now),
            last_byte_age=_age(counters.last_byte_at, now),
            last_event_age=_age(counters.last_event_at, now),
        )

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
        if self._is_closed or self._session.is_over:
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

    def reconnect_now(self) -> None:
        """Make the next attempt now: cut a wait short, or give up a connection for a new one.

        Not closer than 0.1 s to the attempt before; while an attempt is under way, nothing happens.

        Raises:
            InvalidRequest: There is a connection, and its request may not be sent again (see ``resend``).
            anyio.ClosedResourceError: The stream is over, or closed.
        """
        if self._is_closed or self._session.is_over:
            raise anyio.ClosedResourceError
        self._reader.reconnect()

    async def aclose(self) -> None:
        """End the stream: its connection is closed, a loop that reads it ends in order.

        From any task, any number of times. What was buffered is not handed out any more.
        """
        self._close()
        self._mailbox.finish()
        await self._finish(CLOSE_GRACE)
        await checkpoint()

    # --- its lifetime ---

    def _begin(self, make_reader: "Callable[[Session, Mailbox], Reader]", buffer: int) -> Reader:
        """Make what needs an event loop."""
        self._mailbox = Mailbox(buffer)
        self._settled = anyio.Event()
        self._reader = make_reader(self._session, self._mailbox)
        return self._reader

    async def _accepted(self) -> None:
        """Wait until the server accepted the stream; raise if it never will."""
        await self._settled.wait()
        if not self._session.was_open and self._session.status is not StreamStatus.COMPLETED:
            self._raise_end()

    async def _leave(self) -> None:
        """End in order: a stream that is done may take a moment to give its connection back."""
        if self._session.is_over:
            await self._finish(2 * DRAIN_GRACE)
        await self._end()

    async def _end(self) -> None:
        self._close()
        await self._finish(2 * CLOSE_GRACE)
        self._mailbox.discard()

    def _close(self) -> None:
        self._is_closed = True
        self._streak = FAIR_SHARE  # no short way any more
        self._reader.stop()

    async def _finish(self, grace: float) -> None:
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
        tell(self._observers, StatusChanged(status=status, previous=previous))


def _checked_observers(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    if not isinstance(observers, Iterable):
        raise InvalidRequest("observers", f"must be several, as in observers=[mine], not {observers!r:.80}")
    watchers = tuple(observers)
    for watcher in watchers:
        if not hasattr(watcher, "observe") or not hasattr(watcher, "admit"):
            raise InvalidRequest("observers", f"must inherit from anysse.Observer: {watcher!r:.80} does not")
    return watchers


def _age(moment: float | None, now: float) -> float | None:
    return None if moment is None else now - moment


class _Lifetime(AbstractAsyncContextManager[EventStream]):
    """A stream whose reader runs in a task group of someone else's; it holds no scope while it is open."""

    def __init__(
        self, stream: EventStream, task_group: TaskGroup, start: Callable[[], Reader]
    ) -> None:
        self._stream = stream
        self._task_group = task_group
        self._start: Callable[[], Reader] | None = start

    async def __aenter__(self) -> EventStream:
        if self._start is None:
            raise RuntimeError("an event stream can be entered once: call open_stream() again")
        reader, self._start = self._start(), None
        self._task_group.start_soon(reader.run, name="anysse reader")
        try:
            await self._stream._accepted()
        except BaseException:
            await self._stream._end()
            raise
        return self._stream

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            await self._stream._leave()
        else:
            await self._stream._end()


@asynccontextmanager
async def _in_own_group(stream: EventStream, start: Callable[[], Reader]) -> AsyncIterator[EventStream]:
    with bare_exception():
        async with anyio.create_task_group() as task_group:
            try:
                async with _Lifetime(stream, task_group, start):
                    yield stream
            finally:
                task_group.cancel_scope.cancel()


def open_stream(
    url: "URLTypes | RequestTypes",
    *,
    method: str = "GET",
    params: "ParamTypes | None" = None,
    headers: "HeaderTypes | None" = None,
    cookies: "CookieTypes | None" = None,
    auth: "AuthTypes | ClientAuth | None" = ClientAuth.OF_CLIENT,
    content: str | bytes | AsyncIterable[bytes] | None = None,
    data: Mapping[str, object] | None = None,
    files: "FilesTypes | None" = None,
    json: object = None,
    client: "ClientTypes | None" = None,
    task_group: TaskGroup | None = None,
    kind: Kind | None = None,
    last_event_id: str = "",
    timeouts: Timeouts | float | None = Timeouts(),
    retry: RetryPolicy | None = ExponentialBackoff(),
    resend: Resend = "safe",
    done: Done | None = None,
    prepare: "Prepare | None" = None,
    accept_response: AcceptResponse | None = None,
    on_comment: Callable[[str], object] | None = None,
    max_event_size: int = MAX_EVENT_SIZE,
    oversize: Literal["raise", "skip"] = "raise",
    buffer: int = DEFAULT_BUFFER,
    https_only: bool = False,
    observers: Iterable[Observer] = (),
) -> AbstractAsyncContextManager[EventStream]:
    """Open an event stream, and keep it open.

    ``async with open_stream(url) as events:`` returns from entering once the server accepted the stream.
    It reconnects and resumes by itself; leaving the block closes it. An exception of the block leaves as
    itself, never in a group; what the stream fails with is raised where the events are read.

    Args:
        url: Where the stream is, or a request of httpx or httpx2 that says it all.
        method: As in httpx, like all arguments up to ``json``; they add to what ``client`` has.
        params: The query.
        headers: Over the client's. ``Accept``, ``Accept-Encoding`` and ``Cache-Control`` are set if they are not here.
        cookies: Beside the client's.
        auth: None for no authentication; by default what the client has. It does not go to other origins.
        content: A body; an iterator can be read, and so sent, only once.
        data: A form.
        files: Files for a multipart form.
        json: A body to be made into JSON.
        client: Whose connections to use. It stays open. Without one the stream makes its own, with httpx.
        task_group: Where the reader is to run. Without one the stream has a group of its own, and so may not
            be used inside of an async generator; with one it may.
        kind: A ``"feed"`` goes on for ever: its clean end is a reason to reconnect, and silence is limited to
            300 s. A ``"reply"`` has an end. By default a GET without ``done`` is a feed, all else a reply.
        last_event_id: Where to resume from.
        timeouts: A number is the seconds until the response; None is no timeout at all.
        retry: What to do about a failure: a function of it that gives the seconds to wait, or None to stop.
            None never tries again, and a feed's clean end is its end then.
        resend: When a request that is no GET may be sent again. ``"safe"``: only if it was not sent at all, or
            refused (401, 408, 425, 429, 503 with Retry-After), or has an Idempotency-Key and no event came.
            ``"undelivered"``: as long as no event came. ``"always"``: always.
        done: The data of the event that ends the stream, which is not delivered then; or a test of an event that
            is. An end without it is a ``StreamDropped``.
        prepare: Is called before every attempt with its request and an ``Attempt``; may change the request, or
            give another one. Is asked once more after a 401. May be async.
        accept_response: Is asked, in place of the check of status and content type, whether to read a response;
            may be async. A 204 always completes the stream.
        on_comment: Is called with the text of every comment, when it is read.
        max_event_size: Bytes of one event's lines. A larger one is an ``EventTooLarge``.
        oversize: ``"skip"`` leaves larger events out instead.
        buffer: How many reads, of at most 64 KiB each, may wait for the consumer before the server is held back.
        https_only: Refuse ``http://``, but for literal loopback addresses.
        observers: Who is told of the stream's life.

    Raises:
        InvalidRequest: At once, and before any I/O: an argument is wrong, and named.
        StreamError: On entering: the server did not accept the stream, and the policy gave up.
    """
    check_choice("kind", kind, (None, "feed", "reply"))
    check_choice("resend", resend, ("safe", "undelivered", "always"))
    check_choice("oversize", oversize, ("raise", "skip"))
    check_count("max_event_size", max_event_size, minimum=1)
    check_count("buffer", buffer, minimum=1)
    check_done(done)
    check_last_event_id(last_event_id)
    callbacks = {"retry": retry, "prepare": prepare, "accept_response": accept_response, "on_comment": on_comment}
    for name, callback in callbacks.items():
        check_callable(name, callback)
    if task_group is not None and not isinstance(task_group, TaskGroup):
        raise InvalidRequest("task_group", f"must be a task group of anyio's, not {task_group!r:.80}")
    check_method(method)
    times = Timeouts.of(timeouts)
    library = library_of(client, url)
    given = {
        "method": None if method == "GET" else method,
        "params": params,
        "headers": headers,
        "cookies": cookies,
        "content": content,
        "data": data,
        "files": files,
        "json": json,
    }
    check_given(library, url, given)
    if auth is not ClientAuth.OF_CLIENT:
        check_auth(library, auth)
    watchers = _checked_observers(observers)
    template = RequestTemplate(
        library=library,
        client=client if client is not None else own_client(library),
        given=url if isinstance(url, library.Request) else str(url),
        method=method,
        params=params,
        headers=headers,
        cookies=cookies,
        body=Body(content=content, data=data, files=files, json=json),
        timeouts=times,
        https_only=https_only,
        user_agent=user_agent(),
    )
    first = template.build(last_event_id)  # What is wrong with it is said now, and not when it is sent.
    is_feed = kind == "feed" or (kind is None and first.method == "GET" and done is None)
    rules = Rules(
        kind="feed" if is_feed else "reply",
        retry=retry,
        resend=resend,
        has_done=done is not None,
        can_reauthorize=prepare is not None,
    )
    options = ReaderOptions(
        url=str(first.url),
        idle=times.idle_of(rules.kind),
        first_event=times.first_event,
        total=times.total,
        done=done,
        prepare=prepare,
        on_comment=on_comment,
        max_event_size=max_event_size,
        oversize=oversize,
        observers=watchers,
    )
    connection = Connection(
        template,
        auth=library.USE_CLIENT_DEFAULT if auth is ClientAuth.OF_CLIENT else auth,
        accept_response=accept_response,
        owns_client=client is None,
    )
    stream = EventStream(options.url, rules, last_event_id or template.initial_last_event_id, watchers)

    def start() -> Reader:
        return stream._begin(lambda session, mailbox: Reader(session, template, connection, mailbox, options), buffer)

    return _in_own_group(stream, start) if task_group is None else _Lifetime(stream, task_group, start)
