"""``StreamClient``: many requests to one place, each with its handlers; owns the task group of them all."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, cast, overload

import anyio
from anyio.abc import TaskGroup
from typing_extensions import TypeVar

from ._call import REQUEST_OPTIONS, CallPlan
from ._check import check_callable, check_choice, shown
from ._clients import library_of, own_client
from ._decode import Decode, json_or_text
from ._dispatch import Dispatch
from ._errors import AnysseError, InvalidRequest
from ._groups import bare_exception
from ._handle import HandledLife, Life, Reading, StreamRequest
from ._handlers import HANDLER_NAMES, Handlers, M
from ._http import CLOSE_GRACE, AcceptResponse
from ._intake import Done
from ._limits import StreamLimits
from ._log import NumberedLogger
from ._observer import Observer
from ._open import DEFAULT_BUFFER, DEFAULT_TIMEOUTS, ClientAuth, Opening, open_stream
from ._options import Kind, PauseMode, Resend, StreamStatus, Timeouts
from ._parser import MAX_EVENT_SIZE
from ._plan import checked_observers
from ._retry import ExponentialBackoff, RetryPolicy
from ._sendable import type_name
from ._statistics import StreamStatistics
from ._stream import EventStream
from ._surroundings import Surroundings
from ._visibility import Visibility

if TYPE_CHECKING:
    from typing import Self, Unpack

    from ._call import RequestOptions
    from ._handlers import HandlerOptions
    from ._types import AuthTypes, ClientTypes, CookieTypes, HeaderTypes, ParamTypes, Prepare, URLTypes

    class HandledOptions(RequestOptions, HandlerOptions[M]):
        """What a request with handlers may have otherwise than its client."""


U = TypeVar("U")

DEFAULT_RETRY: Final = ExponentialBackoff(initial=1.0, max_retries=3)
LEAVE_GRACE: Final = 5.0
"""Seconds that requests have for their own clean-up as their client is left."""


class StreamClient(Generic[M]):
    """Sends requests to one place, and gives what is streamed back to handlers, or to a loop.

    ``async with StreamClient(url) as client:`` owns all that its requests need: leaving the block ends
    them, whatever they are at, and closes its connections. What it has in common with ``open_stream`` has
    the same name, and means the same.

    Args:
        base_url: Where to; ``path`` is joined to it as a browser does that, and its query is kept.
        method: GET, POST, PUT, PATCH or DELETE. The payload of a GET is its query, else it is a JSON body.
        path: Relative to ``base_url``, within its origin.
        params: Added to the query of the URL.
        headers: Beside ``Accept: text/event-stream``, which is always there.
        cookies: As in httpx.
        auth: As in httpx; by default what ``client`` has.
        encode_params: Makes the query of a GET of its payload. By default a list is joined by commas, a
            nested mapping is compact JSON, True is ``true``, None is left out, and what is no mapping is
            ``payload=``.
        timeouts: A number is the seconds until the response; None is no timeout at all.
        retry: What to do about a failure: a function of it that gives the seconds to wait, or None to stop.
            By default it is tried again after 1, 2 and 4 s, or a little more.
        resend: When a request that is no GET may be sent again: see ``open_stream``.
        kind: A ``"reply"`` has an end; a ``"feed"`` is taken up again when its connection ends.
        done: The data of the event that ends a stream, or a test of one. It need not come: a stream that
            just ends is complete as well.
        close_on_done: Whether to close a stream at that event. If not, the request completes there, once,
            what follows is still handed out, and the request is over when the server ends it.
        decode: Makes of an event what is handed out, or ``SKIP``. By default that is its data parsed as
            JSON, or as it is where it is no JSON; ``anysse.decoders.text`` leaves it as it is.
        prepare: Called before every attempt with its request: see ``open_stream``.
        accept_response: Asked whether to read a response: see ``open_stream``.
        on_comment: Called with the text of every comment, as it is read.
        last_event_id: Where to resume from.
        max_event_size: Bytes of one event's lines. A larger one is an ``EventTooLarge``.
        oversize: ``"skip"`` leaves larger events out instead.
        buffer: How many reads may wait to be handled before the server is held back: see ``open_stream``.
        client: Whose connections to use. It stays open. Without one the client makes its own, with httpx.
        exclusive: Whether a request first disconnects the one under way, as in a chat box.
        limits: How many connections there may be, and how many requests a second; may be shared.
        https_only: Refuse ``http://``, but for literal loopback addresses.
        observers: Who is told of the life of each request.
        visibility: Whether your program can be seen; while it cannot, requests are paused, and new ones wait.
        open_when_hidden: Whether they go on nevertheless.
        network: Whether to follow the machine's network and its sleep: see ``open_stream``.

    Raises:
        InvalidRequest: At once, and before any I/O: an argument is wrong, and named.
    """

    def __init__(
        self,
        base_url: "URLTypes",
        *,
        method: str = "POST",
        path: str = "",
        params: "ParamTypes | None" = None,
        headers: "HeaderTypes | None" = None,
        cookies: "CookieTypes | None" = None,
        auth: "AuthTypes | ClientAuth | None" = ClientAuth.OF_CLIENT,
        encode_params: "Callable[[Any], ParamTypes] | None" = None,
        timeouts: Timeouts | float | None = DEFAULT_TIMEOUTS,
        retry: RetryPolicy | None = DEFAULT_RETRY,
        resend: Resend = "safe",
        kind: Kind = "reply",
        done: Done | None = "[DONE]",
        close_on_done: bool = True,
        decode: Decode[M] | None = None,
        prepare: "Prepare | None" = None,
        accept_response: AcceptResponse | None = None,
        on_comment: Callable[[str], object] | None = None,
        last_event_id: str = "",
        max_event_size: int = MAX_EVENT_SIZE,
        oversize: Literal["raise", "skip"] = "raise",
        buffer: int = DEFAULT_BUFFER,
        client: "ClientTypes | None" = None,
        exclusive: bool = False,
        limits: StreamLimits | None = None,
        https_only: bool = True,
        observers: Iterable[Observer] = (),
        visibility: Visibility | None = None,
        open_when_hidden: bool = False,
        network: bool = False,
    ) -> None:
        for name, flag in {
            "close_on_done": close_on_done,
            "exclusive": exclusive,
            "https_only": https_only,
            "network": network,
        }.items():
            check_choice(name, flag, (True, False))
        check_choice("kind", kind, ("feed", "reply"))
        check_callable("encode_params", encode_params)
        check_callable("decode", decode)
        if limits is not None and not isinstance(limits, StreamLimits):
            raise InvalidRequest("limits", f"must be a StreamLimits or None, not {shown(limits)}")
        library = library_of(client, None)
        self._client: Any = client if client is not None else own_client(library)
        self._owns_client = client is None
        self._decode: Decode[Any] = json_or_text if decode is None else decode
        self._closes_on_done = close_on_done
        self._is_exclusive = exclusive
        self._limits = limits or StreamLimits()
        self._observers = checked_observers(observers)
        if any(observer is self._limits for observer in self._observers):  # each would wait for the other
            raise InvalidRequest("observers", "has what is given as limits: leave it out of one of them")
        self._stream_options = {
            "client": self._client,
            "retry": retry,
            "resend": resend,
            "kind": kind,
            "prepare": prepare,
            "accept_response": accept_response,
            "on_comment": on_comment,
            "max_event_size": max_event_size,
            "oversize": oversize,
            "buffer": buffer,
            "https_only": https_only,
            "visibility": visibility,
            "open_when_hidden": open_when_hidden,
            "network": network,
        }
        self._surroundings = Surroundings() if network else None
        self._calls = CallPlan(
            library,
            self._client,
            base_url,
            encode_params=encode_params,
            closes_on_done=close_on_done,
            options={
                "method": method,
                "path": path,
                "params": params,
                "headers": headers,
                "cookies": cookies,
                "auth": auth,
                "timeouts": timeouts,
                "done": done,
                "last_event_id": last_event_id,
            },
        )
        self._last_event_id = last_event_id
        self._lifetime: AbstractAsyncContextManager[None] | None = None
        self._task_id: int | None = None  # of whoever entered it
        self._group: TaskGroup | None = None
        self._is_closing = False
        self._live: dict[StreamRequest, Life] = {}
        self._latest: StreamRequest | None = None
        self._is_reset = False
        self._is_paused = False
        self._past = StreamStatistics(requests=0)
        # What is wrong is said now, and not when it is sent; a POST, since no payload is there to be encoded.
        self._opening(None, {"method": "POST"}, self._decode, ())

    def __repr__(self) -> str:
        return f"<StreamClient {self._calls.place}: {self.status}>"

    # --- requests ---

    @overload
    async def send_request(
        self,
        payload: object = None,
        handlers: Handlers[M] | None = None,
        *,
        decode: None = None,
        **options: "Unpack[HandledOptions[M]]",
    ) -> StreamStatus: ...
    @overload
    async def send_request(
        self,
        payload: object = None,
        handlers: Handlers[U] | None = None,
        *,
        decode: Decode[U],
        **options: "Unpack[HandledOptions[U]]",
    ) -> StreamStatus: ...
    async def send_request(
        self,
        payload: object = None,
        handlers: Handlers[Any] | None = None,
        *,
        decode: Decode[Any] | None = None,
        **options: Any,
    ) -> StreamStatus:
        """Send a request, call handlers with what comes, and return when it is over.

        Args:
            payload: What to send: a JSON body, or the query of a GET.
            handlers: What to call; by name as well, and then in the place of those in here.
            decode: As the client has it, for this request.
            **options: The handlers by name (see ``Handlers``); and, for this request, ``method``, ``path``,
                ``params``, ``headers``, ``cookies``, ``auth``, ``timeouts``, ``done``, ``last_event_id``.

        Returns:
            How it ended: ``completed``, or ``idle`` where it was disconnected.

        Raises:
            InvalidRequest: Before any I/O, and before any handler is called: an argument is wrong, and named.
            StreamError: It failed, and the policy gave up; ``on_error`` was called with it.
            Exception: What a handler raised, as itself. It ends this request, and no other one.
            RuntimeError: The client was not entered, or was left.
        """
        request, life = self._begin_handled(payload, handlers, decode, options)
        return await self._run(request, life)

    @overload
    def start(
        self,
        payload: object = None,
        handlers: Handlers[M] | None = None,
        *,
        decode: None = None,
        **options: "Unpack[HandledOptions[M]]",
    ) -> StreamRequest: ...
    @overload
    def start(
        self,
        payload: object = None,
        handlers: Handlers[U] | None = None,
        *,
        decode: Decode[U],
        **options: "Unpack[HandledOptions[U]]",
    ) -> StreamRequest: ...
    def start(
        self,
        payload: object = None,
        handlers: Handlers[Any] | None = None,
        *,
        decode: Decode[Any] | None = None,
        **options: Any,
    ) -> StreamRequest:
        """Send a request in the background, and call handlers with what comes, as ``send_request`` does.

        What it fails with, and what a handler raises, is for who calls ``wait()`` on what this gives; the
        latter is logged as well.

        Raises:
            InvalidRequest: Before any I/O: an argument is wrong, and named.
            RuntimeError: The client was not entered, or was left.
        """
        request, life = self._begin_handled(payload, handlers, decode, options)
        self._open_group.start_soon(self._run_alone, request, life, name=f"anysse request {request.number}")
        return request

    @overload
    def stream(
        self, payload: object = None, *, decode: None = None, **options: "Unpack[RequestOptions]"
    ) -> AbstractAsyncContextManager[EventStream[M]]: ...
    @overload
    def stream(
        self, payload: object = None, *, decode: Decode[U], **options: "Unpack[RequestOptions]"
    ) -> AbstractAsyncContextManager[EventStream[U]]: ...
    def stream(
        self, payload: object = None, *, decode: Decode[Any] | None = None, **options: Any
    ) -> AbstractAsyncContextManager[EventStream[Any]]:
        """Send a request, and give what comes to a loop: ``async with client.stream(...) as messages:``.

        Entering returns once the server accepted the stream. It holds no task group and no cancel scope, so
        it may be used inside of an async generator.

        Args:
            payload: What to send: a JSON body, or the query of a GET.
            decode: As the client has it, for this request.
            **options: For this request: ``method``, ``path``, ``params``, ``headers``, ``cookies``,
                ``auth``, ``timeouts``, ``done``, ``last_event_id``.

        Raises:
            InvalidRequest: At once, and before any I/O: an argument is wrong, and named.
            StreamError: On entering: the server did not accept the stream, and the policy gave up.
            anyio.ClosedResourceError: On entering: it was disconnected before that.
            RuntimeError: The client was left; on entering, too, and where it was not entered.
        """
        self._check_not_left()
        _check_names("stream", options, REQUEST_OPTIONS)
        check_callable("decode", decode)
        place = self._limits.place()
        opening = self._opening(payload, options, decode or self._decode, (place,))

        def begin() -> tuple[StreamRequest, Life]:
            group = self._open_group
            lifetime = opening.within(group, self._surroundings)
            life = Life(lifetime, place=place, predecessors=self._displaced())
            return self._enlist(life), life

        return Reading(begin, self._forget)

    # --- looking on ---

    @property
    def requests(self) -> tuple[StreamRequest, ...]:
        """Those that are live, the oldest first."""
        return tuple(self._live)

    @property
    def status(self) -> StreamStatus:
        """That of the latest request; ``idle`` before the first, and after ``disconnect``."""
        return StreamStatus.IDLE if self._shown is None else self._shown.status

    @property
    def is_connected(self) -> bool:
        """Whether the latest request has its stream, and that goes on."""
        return self._shown is not None and self._shown.is_connected

    @property
    def retry_count(self) -> int:
        """How many times in a row the latest request was tried again, since it was last good."""
        return 0 if self._shown is None else self._shown.retry_count

    @property
    def last_event_id(self) -> str:
        """The last event ID of what was handed out of the latest request, to resume from."""
        return self._last_event_id if self._latest is None else self._latest.last_event_id

    def statistics(self) -> StreamStatistics:
        """Give what was counted so far, over all requests, live and ended."""
        past = replace(self._past, connected_for=None, last_byte_age=None, last_event_age=None)
        return sum((request.statistics() for request in self._live), past)

    # --- steering ---

    def pause(self, mode: PauseMode | None = None) -> None:
        """Hold all requests until ``resume`` is called: see ``EventStream.pause``.

        What is sent meanwhile waits, ``paused``, and goes out then. One request can be resumed by itself.

        Args:
            mode: What becomes of connections: ``"close"`` ends them, ``"hold"`` keeps them and reads no
                more. By default those are closed that another one could go on from; others are held.

        Raises:
            InvalidRequest: There is no such mode; or it is ``"close"``, and one of the requests may not be
                sent again. Nothing was paused then.
        """
        if mode is not None:
            check_choice("mode", mode, ("close", "hold"))
        lives = list(self._live.values())
        for life in lives:
            life.check_pause(mode)
        self._is_paused = True
        for life in lives:
            life.stream.pause(mode)

    def resume(self) -> None:
        """Go on with all requests: at once, with the connections that were held, or with new ones."""
        self._is_paused = False
        for life in list(self._live.values()):
            life.stream.resume()

    def disconnect(self) -> None:
        """End all requests, and be ``idle``; the client can be used again at once, also if it was paused.

        From any task, and from inside a handler: see ``StreamRequest.disconnect``.
        """
        self._is_reset, self._is_paused = True, False
        for life in list(self._live.values()):
            life.disconnect()

    # --- its own lifetime ---

    async def __aenter__(self) -> "Self":
        if self._lifetime is not None:
            raise RuntimeError("a StreamClient can be entered once: make another one")
        self._lifetime = self._open()
        self._task_id = anyio.get_current_task().id
        await self._lifetime.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._lifetime is None:
            raise RuntimeError(
                "a StreamClient is left that was not entered: use async with StreamClient(...)"
            )
        if any(life.is_own_task() for life in self._live.values()):
            raise RuntimeError("a handler cannot leave its own client: call client.disconnect()")
        if anyio.get_current_task().id != self._task_id:
            self.disconnect()
            # Its task group cannot be left here: whose turn it is to run would be in a muddle ever after.
            raise RuntimeError(
                "a StreamClient is left in another task than entered it, which its task group does not allow:"
                " leave it where it was entered"
            )
        return await self._lifetime.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - shielded within

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[None]:
        try:
            with bare_exception():
                async with anyio.create_task_group() as self._group:
                    if self._surroundings is not None:
                        self._group.start_soon(self._surroundings.run, name="anysse surroundings")
                    try:
                        yield
                    finally:
                        await self._end_all()  # noqa: ASYNC102 - shielded within, for a bounded time
                        self._group.cancel_scope.cancel()
        finally:
            if self._owns_client:
                with anyio.move_on_after(CLOSE_GRACE, shield=True):
                    await self._client.aclose()

    async def _end_all(self) -> None:
        self._is_closing = True
        self.disconnect()
        with anyio.move_on_after(LEAVE_GRACE, shield=True):
            for life in list(self._live.values()):
                if isinstance(life, HandledLife):  # else it ends when its user leaves it
                    await life.ended.wait()

    # --- the life of a request ---

    @property
    def _open_group(self) -> TaskGroup:
        if self._group is None:
            raise RuntimeError("enter the client before it is used: async with StreamClient(...) as client")
        self._check_not_left()
        return self._group

    def _check_not_left(self) -> None:
        if self._is_closing:
            raise RuntimeError("the client was left: make another one")

    @property
    def _shown(self) -> StreamRequest | None:
        return None if self._is_reset else self._latest

    def _begin_handled(
        self,
        payload: object,
        handlers: Handlers[Any] | None,
        decode: Decode[Any] | None,
        options: Mapping[str, Any],
    ) -> tuple[StreamRequest, HandledLife[Any]]:
        group = self._open_group
        _check_names("a request", options, REQUEST_OPTIONS | HANDLER_NAMES)
        check_callable("decode", decode)
        if not isinstance(handlers, Handlers | None):
            problem = f"must be a Handlers or None, not {type_name(handlers)}: pass others by name"
            raise InvalidRequest("handlers", problem)
        own = {name: options[name] for name in options.keys() & REQUEST_OPTIONS}
        named = {name: options[name] for name in options.keys() & HANDLER_NAMES}
        dispatch: Dispatch[Any] = Dispatch(
            (handlers or Handlers()).with_others(named),
            decode or self._decode,
            closes_on_done=self._closes_on_done,
        )
        place = self._limits.place()
        opening = self._opening(payload, own, dispatch.decode, (dispatch, place))
        predecessors = self._displaced()
        lifetime = opening.within(group, self._surroundings)
        life = HandledLife(lifetime, dispatch, place=place, predecessors=predecessors)
        return self._enlist(life), life

    def _opening(
        self, payload: object, given: Mapping[str, Any], decode: Decode[Any], watchers: tuple[Observer, ...]
    ) -> Opening[Any]:
        """Have all that is asked for checked, and ready to begin."""
        arguments = self._calls.arguments(payload, given) | self._stream_options
        try:
            opening = open_stream(**arguments, decode=decode, observers=(*watchers, *self._observers))
        except InvalidRequest as exc:
            if exc.argument not in _CLIENT_NAMES:
                raise
            raise InvalidRequest(_CLIENT_NAMES[exc.argument], exc.reason) from exc
        return cast("Opening[Any]", opening)

    def _displaced(self) -> list[Life]:
        """Disconnect what is under way where only one may be; give what its successor waits for."""
        lives = list(self._live.values()) if self._is_exclusive else []
        for life in lives:
            life.disconnect()
        # A handler that sends the next request would wait for itself.
        return [life for life in lives if not life.is_own_task()]

    def _enlist(self, life: Life) -> StreamRequest:
        request = StreamRequest(life)
        self._live[request] = life
        if self._is_paused:
            life.stream.pause()
        self._latest, self._is_reset = request, False
        return request

    def _forget(self, request: StreamRequest) -> None:
        if self._live.pop(request, None) is not None:
            self._past += request.statistics()

    async def _run(self, request: StreamRequest, life: HandledLife[Any]) -> StreamStatus:
        try:
            return await life.run()
        finally:
            self._forget(request)

    async def _run_alone(self, request: StreamRequest, life: HandledLife[Any]) -> None:
        try:
            await self._run(request, life)
        except Exception as exc:  # noqa: BLE001 - it ends this request, and no other; who waits is told
            if not isinstance(exc, AnysseError) or exc is not life.stream.last_error:
                NumberedLogger(request.number).exception("a bug ended it")  # the stream logs its own errors


_CLIENT_NAMES: Final = {"json": "payload", "url": "base_url"}
"""What ``open_stream`` calls otherwise."""


def _check_names(function: str, options: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in options:
        if name not in known:
            raise TypeError(f"{function} got an unexpected keyword argument {name!r}")
