"""``StreamingASGITransport``: an ASGI application as httpx and httpx2 reach it, with no server between."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import anyio
from anyio.abc import TaskGroup

from anysse._check import check_choice, check_seconds, shown
from anysse._errors import InvalidRequest
from anysse._libraries import body_class, library_of, new_transport
from anysse._log import logger
from anysse._redact import redact_url

from ._exchange import Application, ClientGone, Exchange, Message
from ._lifespan import Lifespan, sheltered, started

if TYPE_CHECKING:
    import httpx
    import httpx2

    class _Transport(httpx.AsyncBaseTransport, httpx2.AsyncBaseTransport): ...  # type: ignore[misc]
else:
    _Transport = object

_PORTS: Final = {"http": 80, "https": 443}
_NOT_ENTERED: Final = (
    "StreamingASGITransport is not entered, so no application runs: enter the client that has it, "
    "`async with AsyncClient(transport=StreamingASGITransport(app)) as client`, or the transport itself"
)


class StreamingASGITransport(_Transport):
    """A transport of httpx and httpx2 that streams what an ASGI application sends, as it sends it.

    Enter it, or the client that has it: the application starts, and runs in a task for each request::

        async with httpx.AsyncClient(transport=StreamingASGITransport(app)) as client:
            async with anysse.open_stream("http://test/events", client=client) as events:
                ...

    The head of a response comes with ``http.response.start``, and each ``http.response.body`` is a piece.
    Nothing is buffered: the application's ``send`` returns once whoever reads the response took the piece,
    but for the last one, which is held. Once the response is closed, or its reading cancelled, ``receive``
    gives ``http.disconnect``, and ``send`` raises an ``OSError``. Read timeouts of the client are kept.

    What the application raises leaves from the request, or from the reading of its response, as it is. What
    no request can have any more, such as an error in a background task, leaves from leaving the transport;
    what comes of the ``OSError`` that ``send`` raised does not.

    It lives in the task that entered it first: other tasks may enter and leave it meanwhile. When that task
    leaves it, the applications that still run are told that their clients are gone, and those that have not
    ended in time are cancelled; then the application shuts down, within 10 s. Until then no cancellation of
    whoever entered it reaches them.

    Args:
        app: The application, of ASGI 3.
        raise_app_exceptions: Whether the client gets what the application raises. If not it gets what a
            server gives: status 500 in the place of a response, ``RemoteProtocolError`` in the middle of one.
        root_path: Where the application is mounted.
        client: The host and the port that requests come from.
        lifespan: Whether the application is started and shut down; one that knows no lifespan is not.
        spec_version: The version of ASGI's HTTP that the application is told. With ``"2.3"``, which is what
            uvicorn tells, ``send`` does nothing once the client is gone, and Starlette's streams end at once.
        grace: Seconds that an application has to end, once it was told on leaving that its client is gone.

    Raises:
        InvalidRequest: An argument is none of these.
    """

    def __new__(cls, *_arguments: object, **_options: object) -> "StreamingASGITransport":
        """Make one that both libraries take for one of their own; neither is imported before."""
        return new_transport(cls)

    def __init__(
        self,
        app: Application,
        *,
        raise_app_exceptions: bool = True,
        root_path: str = "",
        client: tuple[str, int] = ("127.0.0.1", 123),
        lifespan: bool = True,
        spec_version: Literal["2.3", "2.4"] = "2.4",
        grace: float = 1.0,
    ) -> None:
        if not callable(app):
            raise InvalidRequest("app", f"must be an ASGI application, not {shown(app)}")
        check_choice("spec_version", spec_version, ("2.3", "2.4"))
        check_seconds("grace", grace)
        self._application = app
        self._raises = raise_app_exceptions
        self._root_path = root_path
        self._peer = client
        self._has_lifespan = lifespan
        self._spec_version = spec_version
        self._grace = grace
        self._owner: int | None = None  # the task whose it is to start and to end all
        self._depth = 0  # how often that one entered
        self._guests = 0  # who entered from other tasks
        self._life: AbstractAsyncContextManager[None] = nullcontext()
        self._tasks: TaskGroup | None = None
        self._state: dict[str, object] = {}
        self._exchanges: set[Exchange] = set()

    async def __aenter__(self) -> "StreamingASGITransport":
        """Start the application; what is entered already stays as it is.

        Raises:
            Exception: What the application raised as it started, or a RuntimeError of what it said.
        """
        task = anyio.get_current_task().id
        if self._owner is None:
            await self._start(task)
        elif self._owner == task:
            self._depth += 1
        else:
            await self._has_started.wait()
            self._guests += 1
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """End what runs, and shut the application down, once the task that entered it first has left it.

        Raises:
            Exception: What the application raised, and no request could have; a group if that is several.
            RuntimeError: It is left in another task than entered it, which its task group does not allow.
        """
        if self._owner == anyio.get_current_task().id:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                await self._life.__aexit__(exc_type, exc_value, traceback)  # noqa: ASYNC102 - shielded within
        elif self._guests:
            self._guests -= 1
        elif self._owner is not None:
            raise RuntimeError(
                "a StreamingASGITransport is left in another task than entered it, which its task group does "
                "not allow: enter it, or its client, and leave it in one task, such as the test's own"
            )

    async def _start(self, task: int) -> None:
        self._owner, self._has_started = task, anyio.Event()
        try:
            self._life = self._running()
            await self._life.__aenter__()
            self._depth = 1
        except BaseException:
            self._owner = None
            raise
        finally:
            self._has_started.set()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        lifespan = Lifespan(self._application)
        self._state, self._exchanges = lifespan.state, set()
        try:
            async with (
                started(lifespan, self._grace) if self._has_lifespan else nullcontext(),
                sheltered(self._leave, lambda: self._grace) as self._tasks,
            ):
                yield
        finally:
            for exchange in self._exchanges:
                exchange.discard()
        failures = [exchange.untold for exchange in self._exchanges if exchange.untold is not None]
        if failures:
            raise failures[0] if len(failures) == 1 else ExceptionGroup("the application failed", failures)

    def _leave(self) -> None:
        self._tasks = None
        for exchange in self._exchanges:
            exchange.leave()

    @overload
    async def handle_async_request(self, request: "httpx.Request") -> "httpx.Response": ...
    @overload
    async def handle_async_request(self, request: "httpx2.Request") -> "httpx2.Response": ...
    async def handle_async_request(
        self, request: "httpx.Request | httpx2.Request"
    ) -> "httpx.Response | httpx2.Response":
        """Call the application, and give its response once the head is there, with the body still to be read.

        Raises:
            httpx.ReadTimeout: The head did not come in time; or that of httpx2, whichever the request is of.
            RuntimeError: The transport is not entered, or the application ended without a response.
            Exception: What the application raised.
        """
        library = library_of(request)
        exchange = self._begun(request, library)
        try:
            head = await exchange.head()
        except BaseException:
            exchange.leave()
            raise
        return library.Response(  # type: ignore[no-any-return]
            head.status,
            headers=head.headers,
            stream=body_class(library)(exchange),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def _begun(self, request: Any, library: ModuleType) -> Exchange:
        if self._tasks is None:
            raise RuntimeError(_NOT_ENTERED)
        scope = self._scope(request, library)
        is_quiet = self._spec_version == "2.3"
        exchange = Exchange(request, library, is_quiet=is_quiet, raises=self._raises)
        self._exchanges = {other for other in self._exchanges if not other.is_done} | {exchange}
        self._tasks.start_soon(exchange.upload)
        self._tasks.start_soon(self._serve, exchange, scope)
        return exchange

    async def _serve(self, exchange: Exchange, scope: Message) -> None:
        failure: Exception | None = None
        try:
            await self._application(scope, exchange.receive, exchange.send)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is to have it
            failure = None if _is_about_leaving(exc) else exc
            logger.debug("the application failed", exc_info=exc)
        except anyio.get_cancelled_exc_class():
            exchange.finish(None)
            raise
        exchange.finish(failure)  # what is no Exception leaves by the task group, and says more than this

    def _scope(self, request: Any, library: ModuleType) -> Message:
        url = request.url
        if url.scheme not in _PORTS or not url.host:
            raise library.UnsupportedProtocol(
                f"the URL {redact_url(str(url))!r} is no absolute one of http or https"
            )
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": self._spec_version},
            "http_version": "1.1",
            "method": request.method.upper(),
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": self._root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self._peer,
            "server": (url.host, url.port or _PORTS[url.scheme]),
            "state": self._state.copy(),
            "extensions": {},
        }


def _is_about_leaving(exc: BaseException | None) -> bool:
    """Whether it comes of nothing but the disconnect of the client."""
    if isinstance(exc, BaseExceptionGroup):
        return all(map(_is_about_leaving, exc.exceptions))
    seen: set[int] = set()  # causes may go round in circles
    while exc is not None and id(exc) not in seen:
        if isinstance(exc, ClientGone):
            return True
        seen.add(id(exc))
        exc = exc.__cause__ or exc.__context__
    return False
