"""The scripted server: takes connections, over TCP or in memory, and has their requests answered."""

import math
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from threading import get_ident
from typing import Final, TypeVar, final

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from anysse._errors import InvalidRequest
from anysse._groups import bare_exception
from anysse._transport import StreamingTransport

from ._connection import Connection
from ._lines import Line, MemoryLine, SocketLine, memory_lines
from ._memory import MemoryTransport
from ._requests import Request, ScriptFailed
from ._script import Script, Scripts

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 1024


class Server(ABC):
    """A server that does what its scripts say, with what came in so far.

    Attributes:
        url: Where it is, without a path.
        requests: Every request, in the order in which their scripts began.
        connections: Every connection, in the order in which they were opened.
    """

    url: str

    def __init__(self, tasks: TaskGroup, scripts: Scripts) -> None:
        self._tasks = tasks
        self._scripts = scripts
        self._change = anyio.Event()
        self._shut_until = -math.inf
        self._thread = get_ident()
        self.requests: list[Request] = []
        self.connections: list[Connection] = []

    @property
    def open_connections(self) -> int:
        """How many connections neither side has closed."""
        return sum(peer.is_open and not peer.closed_by_peer.is_set() for peer in self.connections)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until ``is_so``; asked whenever a request comes, or a connection opens or closes."""
        self._check_thread()
        while not is_so():
            await self._change.wait()

    async def requested(self, count: int) -> None:
        """Wait until that many requests came."""
        await self.until(lambda: len(self.requests) >= count)

    async def all_closed(self) -> None:
        """Wait until no connection is open."""
        await self.until(lambda: self.open_connections == 0)

    async def all_idle(self) -> None:
        """Wait until no request is under way; a connection may be open for another one."""
        await self.until(lambda: all(peer.is_idle for peer in self.connections))

    async def refuse(self) -> None:
        """Have nobody connect, and hang up on whoever has no request under way."""
        self._check_thread()
        self._refuse_until(math.inf)
        await checkpoint()

    async def listen_again(self) -> None:
        """Take connections once more."""
        self._check_thread()
        self._shut_until = -math.inf
        self._open()
        await checkpoint()

    # What connections say.

    def changed(self) -> None:
        """Have whoever waits for something look again."""
        self._change.set()
        self._change = anyio.Event()

    def refuse_for(self, seconds: float) -> None:
        """Have nobody connect for a while, and hang up on whoever has no request under way."""
        end = anyio.current_time() + seconds

        async def run() -> None:
            await anyio.sleep_until(end)
            if self._shut_until <= end:  # else it is to be shut for longer by now
                self._open()

        self._refuse_until(end)
        self._tasks.start_soon(run)

    def _refuse_until(self, end: float) -> None:
        self._shut_until = max(self._shut_until, end)
        self._shut()
        for connection in self.connections:
            if connection.is_idle:
                connection.hang_up()

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise RuntimeError(
                "this server runs in a thread of its own, where nothing can be awaited from another one: "
                "use steps, such as refuse(seconds) and wait(threading.Event())"
            )

    # How it is reached.

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _shut(self) -> None: ...

    @abstractmethod
    def _leave(self) -> None: ...

    def _take(self, line: Line, context: ssl.SSLContext | None = None) -> None:
        connection = Connection(line, self)
        self.connections.append(connection)
        self.changed()
        self._tasks.start_soon(connection.run, self._answer, context)

    async def _answer(self, connection: Connection) -> None:
        self.requests.append(connection.request)
        self.changed()
        await self._scripts.answer(connection)

    def _close(self) -> None:
        self._leave()
        for connection in self.connections:
            connection.hang_up()
        self._tasks.cancel_scope.cancel()


@final
class SocketServer(Server):
    """One on a free port of the loopback interface.

    Attributes:
        port: The port.
        ssl_context: What a client needs to trust it: ``httpx.AsyncClient(verify=server.ssl_context)``;
            None without TLS.
    """

    def __init__(self, tasks: TaskGroup, scripts: Scripts, *, tls: bool) -> None:
        super().__init__(tasks, scripts)
        self.ssl_context: ssl.SSLContext | None = None
        self._context: ssl.SSLContext | None = None
        if tls:
            self.ssl_context, self._context = _throw_away_contexts()
        self._placeholder: socket.socket | None = None  # while nobody can connect
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.url: str = f"{'https' if tls else 'http'}://{_HOST}:{self.port}"

    def _open(self) -> None:
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
            self._listener = self._listen(self.port)

    def _shut(self) -> None:
        if self._placeholder is None:
            self._stop_listening()
            self._placeholder = _bound(self.port)

    def _leave(self) -> None:
        self._stop_listening()
        if self._placeholder is not None:
            self._placeholder.close()

    def _stop_listening(self) -> None:
        if self._listener.fileno() >= 0:
            anyio.notify_closing(self._listener)
            self._listener.close()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server((_HOST, port), backlog=_BACKLOG)
        listener.settimeout(0)
        self._tasks.start_soon(self._accept, listener)
        return listener

    async def _accept(self, listener: socket.socket) -> None:
        with listener, suppress(OSError, anyio.ClosedResourceError):  # what it raises once it is closed
            while True:
                try:
                    sock, _ = listener.accept()
                except BlockingIOError:
                    await anyio.wait_readable(listener)
                else:
                    self._take(SocketLine(sock), self._context)


@final
class MemoryServer(Server):
    """One without a socket, whatever the URL: in virtual time where the event loop has that."""

    url = "https://server.test"

    def __init__(self, tasks: TaskGroup, scripts: Scripts) -> None:
        super().__init__(tasks, scripts)
        self._is_listening = True

    def transport(self) -> StreamingTransport:
        """Give a transport of httpx or httpx2 that connects to this server and to no other.

        ``https`` is taken as it is, with no TLS.
        """
        return MemoryTransport(self._connect)

    async def _connect(self) -> MemoryLine:
        await checkpoint()
        if not self._is_listening:
            raise ConnectionRefusedError("the scripted server takes no connections")
        ours, theirs = memory_lines()
        self._take(ours)
        return theirs

    def _open(self) -> None:
        self._is_listening = True

    def _shut(self) -> None:
        self._is_listening = False

    def _leave(self) -> None:
        self._shut()


ServerT = TypeVar("ServerT", bound=Server)


@asynccontextmanager
async def serve(
    *scripts: Script,
    then: Script | None = None,
    routes: Mapping[str, Script] | None = None,
    tls: bool = False,
    must_use_all: bool = True,
) -> AsyncIterator[SocketServer]:
    """Serve scripts over TCP, on a free port of the loopback interface.

    A script is a step, or a sequence of them, and answers one request, on whichever connection that comes:
    the first request has the first script, the next one the next. A step is one of this module, or an async
    function of yours that takes a ``Connection``. When the steps are over the response is ended as it should
    be. Once the client has closed the connection, the next step that sends ends the script, and that is no
    failure; a step that can never be done, such as one that sends after ``drop()``, is one.

    When the context is left, the listener and all connections are closed.

    Args:
        scripts: One for each request, in order.
        then: What answers the requests after these; 204 by default, which has a client stop for good.
        routes: Scripts by path, without a query, each for all requests of its path; these are not counted
            among the others.
        tls: Whether to speak TLS, with a certificate made for this server alone; it needs ``trustme``.
        must_use_all: Whether a script that no request asked for is a failure, when the context is left
            without an exception.

    Raises:
        InvalidRequest: An argument is none of these, or trustme is missing.
        ScriptFailed: A script expected something else than what came, or has a step that can never be done:
            the body is cancelled at once. Or no request asked for it.
    """
    turns = Scripts(scripts, then, routes)
    async with _running(partial(SocketServer, tls=tls), turns) as server:
        yield server
    if must_use_all:
        turns.check_all_used()


@asynccontextmanager
async def serve_in_memory(
    *scripts: Script,
    then: Script | None = None,
    routes: Mapping[str, Script] | None = None,
    must_use_all: bool = True,
) -> AsyncIterator[MemoryServer]:
    """Serve the same scripts without a socket, to ``httpx.AsyncClient(transport=server.transport())``.

    Nothing in it takes time but the steps that wait: under trio's ``MockClock`` none of it does. Each piece
    that a script sends is received by itself.

    Args:
        scripts: As in ``serve``.
        then: As in ``serve``.
        routes: As in ``serve``.
        must_use_all: As in ``serve``.

    Raises:
        InvalidRequest: An argument is none of these.
        ScriptFailed: A script expected something else than what came. The body is cancelled at once.
    """
    turns = Scripts(scripts, then, routes)
    async with _running(MemoryServer, turns) as server:
        yield server
    if must_use_all:
        turns.check_all_used()


@asynccontextmanager
async def _running(make: Callable[[TaskGroup, Scripts], ServerT], scripts: Scripts) -> AsyncIterator[ServerT]:
    try:
        with bare_exception():
            async with anyio.create_task_group() as tasks:
                server = make(tasks, scripts)
                try:
                    yield server
                finally:
                    server._close()  # noqa: SLF001 - it owns its lifetime, which is no business of its user
    except ExceptionGroup as group:
        failure = scripts.failure or _first(group.subgroup(ScriptFailed))
        if failure is None:
            raise
        # The client failed because of it, in the same turn.
        raise failure from failure.__cause__


def _first(error: Exception | None) -> Exception | None:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _bound(port: int) -> socket.socket:
    """Hold a port, to which nobody can connect, so that nobody else gets it meanwhile."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
    holder.bind((_HOST, port))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return holder


def _throw_away_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Give what a client trusts, and what the server shows."""
    try:
        import trustme
    except ImportError as exc:
        raise InvalidRequest("tls", "needs trustme: pip install 'anysse[testing]'") from exc
    authority = trustme.CA()
    client, server = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(client)
    authority.issue_cert(_HOST, "localhost").configure_cert(server)
    return client, server
