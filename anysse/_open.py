"""``open_stream()``: checks arguments, puts a stream together, and owns its lifetime."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, Literal

import anyio
from anyio.abc import TaskGroup

from ._check import check_callable, shown
from ._clients import library_of, own_client, user_agent
from ._decode import Decode, T
from ._errors import InvalidRequest
from ._groups import bare_exception
from ._http import AcceptResponse, Connection
from ._intake import Done
from ._observer import Observer
from ._options import Kind, PauseMode, Resend, Timeouts
from ._parser import MAX_EVENT_SIZE
from ._plan import StreamPlan, checked_observers, default_kind
from ._request import Body, RequestTemplate
from ._retry import ExponentialBackoff, RetryPolicy
from ._sendable import check_last_event_id, checked_auth
from ._stream import EventStream
from ._surroundings import Surroundings
from ._visibility import Visibility

if TYPE_CHECKING:
    from ._types import (
        AuthTypes,
        ClientTypes,
        CookieTypes,
        FilesTypes,
        HeaderTypes,
        ParamTypes,
        Prepare,
        RequestTypes,
        URLTypes,
    )

# Frozen values: one for all calls.
DEFAULT_TIMEOUTS: Final = Timeouts()
DEFAULT_RETRY: Final = ExponentialBackoff()
DEFAULT_BUFFER: Final = 64


class ClientAuth(Enum):
    """The default of ``auth``: what the client has. None, as in httpx, is no authentication."""

    OF_CLIENT = "of the client"


class Lifetime(AbstractAsyncContextManager[EventStream[T]]):
    """A stream whose reader runs in a task group of someone else's; it holds no scope while it is open.

    Made within the event loop that it is to live in.
    """

    def __init__(self, stream: EventStream[T], task_group: TaskGroup) -> None:
        self.stream: Final = stream
        self._task_group = task_group
        self._is_started = False
        self._is_stopped = False

    def start(self) -> None:
        """Start it without waiting until the server accepts it: whoever reads is told if it never does."""
        if self._is_stopped:
            return
        self._is_started = True
        self.stream._start(self._task_group)

    def check_pause(self, mode: PauseMode | None) -> None:
        """Refuse a pause that would give up what may not be sent again."""
        self.stream._check_pause(mode)

    def stop(self) -> None:
        """Close it at once, as far as that needs no waiting; it still has to be left."""
        self._is_stopped = True
        if self._is_started:
            self.stream._stop()
        else:  # nor will it be: nobody has to wait for it
            self.stream._abandon()

    async def gone(self) -> None:
        """Wait until nothing of it is under way any more."""
        await self.stream._reader.finished.wait()

    async def __aenter__(self) -> EventStream[T]:
        self.start()
        await self.stream._settle()
        return self.stream

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave(in_order=exc is None)  # noqa: ASYNC102 - shielded within, for a bounded time

    async def leave(self, *, in_order: bool) -> None:
        """End it; in order, a stream that is done gets a moment to give its connection back."""
        if not self._is_started:
            self.stream._abandon()
        elif in_order:
            await self.stream._leave()
        else:
            await self.stream._end()


@asynccontextmanager
async def _in_own_group(make: Callable[[], EventStream[T]]) -> AsyncIterator[EventStream[T]]:
    with bare_exception():
        async with anyio.create_task_group() as task_group:
            try:
                async with Lifetime(make(), task_group) as stream:
                    yield stream
            finally:
                task_group.cancel_scope.cancel()


class Opening(AbstractAsyncContextManager[EventStream[T]], Generic[T]):
    """What ``open_stream`` gives: to be entered once, for its arguments may hold what can be read once."""

    def __init__(
        self, make: Callable[[Surroundings | None], EventStream[T]], task_group: TaskGroup | None
    ) -> None:
        self._make = make
        self._task_group = task_group
        self._lifetime: AbstractAsyncContextManager[EventStream[T]] | None = None
        self._stream: EventStream[T] | None = None
        self._task_id: int | None = None

    def within(self, task_group: TaskGroup, surroundings: Surroundings | None = None) -> Lifetime[T]:
        """Give the stream, not yet started, and what starts and ends it in a task group.

        Args:
            task_group: Where its task is to run.
            surroundings: Whose task runs there as well, if the stream follows the network with others.
        """
        return Lifetime(self._make(surroundings), task_group)

    async def __aenter__(self) -> EventStream[T]:
        if self._lifetime is not None:
            raise RuntimeError("an event stream can be entered once: call open_stream() again")
        group = self._task_group
        self._lifetime = _in_own_group(lambda: self._make(None)) if group is None else self.within(group)
        self._task_id = anyio.get_current_task().id
        self._stream = await self._lifetime.__aenter__()
        return self._stream

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._lifetime is None or self._stream is None:
            raise RuntimeError(
                "an event stream is left that was not entered: use async with open_stream(...)"
            )
        if self._task_group is None and anyio.get_current_task().id != self._task_id:
            await self._stream.aclose()  # noqa: ASYNC102 - shielded within
            # Its task group cannot be left here: whose turn it is to run would be in a muddle ever after.
            raise RuntimeError(
                "an event stream is left in another task than entered it, which its own task group does not"
                " allow: leave it where it was entered, or pass task_group= to open_stream()"
            )
        return await self._lifetime.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - shielded within


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
    timeouts: Timeouts | float | None = DEFAULT_TIMEOUTS,
    retry: RetryPolicy | None = DEFAULT_RETRY,
    resend: Resend = "safe",
    done: Done | None = None,
    decode: Decode[T] | None = None,
    prepare: "Prepare | None" = None,
    accept_response: AcceptResponse | None = None,
    on_comment: Callable[[str], object] | None = None,
    max_event_size: int = MAX_EVENT_SIZE,
    oversize: Literal["raise", "skip"] = "raise",
    buffer: int = DEFAULT_BUFFER,
    https_only: bool = False,
    observers: Iterable[Observer] = (),
    visibility: Visibility | None = None,
    open_when_hidden: bool = False,
    network: bool = False,
) -> AbstractAsyncContextManager[EventStream[T]]:
    """Open an event stream, and keep it open.

    ``async with open_stream(url) as events:`` returns from entering once the server accepted the stream.
    It reconnects and resumes by itself; leaving the block closes it. An exception of the block leaves as
    itself, never in a group; what the stream fails with is raised where the events are read.

    Args:
        url: Where the stream is, or a request of httpx or httpx2 that says it all.
        method: As in httpx, like all arguments up to ``json``; they add to what ``client`` has.
        params: The query.
        headers: Over the client's; ``Accept``, ``Accept-Encoding`` and ``Cache-Control`` are set if they
            are not here.
        cookies: Beside the client's.
        auth: By default what the client has; None for no authentication. It stays within one origin.
        content: A body. What can be iterated over only once can be sent only once.
        data: A form.
        files: Files for a multipart form.
        json: A body to be made into JSON.
        client: Whose connections to use. It stays open. Without one the stream makes its own, with httpx.
        task_group: Where the reader is to run. Without one the stream has a group of its own, and so may
            not be used inside of an async generator; with one it may.
        kind: A ``"feed"`` goes on for ever: its clean end is a reason to reconnect, and 300 s of silence
            are, too. A ``"reply"`` has an end. By default a GET without ``done`` is a feed, all else a reply.
        last_event_id: Where to resume from.
        timeouts: A number is the seconds until the response; None is no timeout at all.
        retry: What to do about a failure: a function of it that gives the seconds to wait, or None to
            stop. None in its place never tries again, and a feed's clean end is its end then.
        resend: When a request that is no GET may be sent again. ``"safe"``: if it was not sent at all, or
            was refused (401, 408, 425, 429, 503 with Retry-After), or has an Idempotency-Key and no event
            came. ``"undelivered"``: as long as no event came. ``"always"``: always.
        done: The data of the event that ends the stream, which is not delivered then; or a test of an
            event that is. An end without it is a ``StreamDropped``.
        decode: Makes of an event what is handed out, as ``anysse.decoders`` do; ``SKIP`` leaves it out. A
            ``ValueError`` of it is a ``DecodeError`` where that event is read, and the stream goes on.
        prepare: Called before every attempt with its request and an ``Attempt``; may change the request, or
            give another one. Asked once more after a 401, unless ``retry`` is None. May be async; its time
            counts towards no timeout but ``total``.
        accept_response: Asked whether to read a response, in place of the check of status and content
            type; may be async. A 204 always completes the stream.
        on_comment: Called with the text of every comment, as it is read.
        max_event_size: Bytes of one event's lines. A larger one is an ``EventTooLarge``.
        oversize: ``"skip"`` leaves larger events out instead.
        buffer: How many reads may wait for the consumer before the server is held back, and how many times
            4 KiB. A read that is larger than all of that waits alone, as does an event.
        https_only: Refuse ``http://``, but for literal loopback addresses.
        observers: Who is told of the stream's life.
        visibility: Whether your program can be seen. While it cannot, the stream is paused, as by
            ``events.pause()``; entering waits until it is shown.
        open_when_hidden: Whether it goes on nevertheless.
        network: Whether to follow this machine's network, and its sleep. The next attempt is made at once
            where the network comes back or the machine slept; a connection is given up for a new one where
            its local address is gone, and where nothing came within 5 s of sleep.

    Raises:
        InvalidRequest: At once, and before any I/O: an argument is wrong, and named.
        StreamError: On entering: the server did not accept the stream, and the policy gave up.
    """
    if task_group is not None and not isinstance(task_group, TaskGroup):
        raise InvalidRequest("task_group", f"must be a task group of anyio's, not {shown(task_group)}")
    check_last_event_id(last_event_id)
    check_callable("accept_response", accept_response)
    check_callable("decode", decode)
    times = Timeouts.of(timeouts)
    library = library_of(client, url)
    template = RequestTemplate(
        library=library,
        client=client if client is not None else own_client(library),
        given=url,
        method=method,
        params=params,
        headers=headers,
        cookies=cookies,
        body=Body(content=content, data=data, files=files, json=json),
        timeouts=times,
        https_only=https_only,
        user_agent=user_agent(),
    )
    # What is wrong with it is said now, and not when it is sent.
    first = template.build_first(last_event_id)
    plan = StreamPlan(
        url=str(first.url),
        kind=default_kind(first.method, done) if kind is None else kind,
        last_event_id=last_event_id or template.check_given_id(),
        timeouts=times,
        retry=retry,
        resend=resend,
        done=done,
        prepare=prepare,
        on_comment=on_comment,
        max_event_size=max_event_size,
        oversize=oversize,
        buffer=buffer,
        observers=checked_observers(observers),
        visibility=visibility,
        open_when_hidden=open_when_hidden,
        network=network,
    )
    connection = Connection(
        template,
        auth=library.USE_CLIENT_DEFAULT if auth is ClientAuth.OF_CLIENT else checked_auth(library, auth),
        accept_response=accept_response,
        owns_client=client is None,
    )
    return Opening(lambda around: EventStream(plan, template, connection, decode, around), task_group)
