"""A scripted HTTP/1.1 server for tests, in the test's own event loop; it knows nothing of anysse.

A script is an async function that answers one request::

    async def half_an_event(connection: Connection) -> None:
        await connection.event_stream("data: one\\n\\n", "data: tw")
        await connection.reset()


    async with serve(half_an_event, feed("data: two\\n\\n")) as server:
        ...  # server.url, server.requests

Scripts are used up one a request, in order, on whatever connection the request comes; ``then`` answers
what comes after them, and ``routes`` has scripts by path: a list of them is used up, a single one stays.
A script that returns ends its response cleanly, if it did not do so itself.

The sockets are raw ones, for a stream of AnyIO's says farewell (FIN) before any reset could be sent.
"""

import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import anyio
from anyio.abc import ObjectSendStream, TaskGroup
from anyio.lowlevel import checkpoint

HeaderItems: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

EVENT_STREAM: Final = "text/event-stream"
_READ_SIZE: Final = 65536
_WITHOUT_BODY: Final = (204, 304)
_GONE: Final = (OSError, anyio.ClosedResourceError)
"""What a socket raises once either side has closed it."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came; text is Latin-1, so that no byte of it is lost."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    time: float
    """When it was complete, on the event loop's clock."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def get_list(self, name: str) -> list[str]:
        """Give every value of a header, whatever the case of its letters."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Give a header's value, or None; a header that came twice is a mistake of the client."""
        values = self.get_list(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None


class Connection:
    """One connection of a client, and the request that it waits on."""

    request: Request

    def __init__(self, sock: socket.socket, changed: Callable[[], None]) -> None:
        self._socket = sock
        self._changed = changed
        self._unread = b""
        self._is_chunked = False
        self._is_reusable = True
        self._is_answered = True
        self.is_open = True
        self.closed_by_peer = anyio.Event()
        self.closed_at: float | None = None
        """When it was closed, by either side, on the event loop's clock."""

    # What a script may do.

    async def write(self, data: bytes | str) -> None:
        """Write bytes as they are; text goes out as UTF-8."""
        left = memoryview(data.encode() if isinstance(data, str) else data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)

    async def respond(
        self,
        status: int = 200,
        headers: HeaderItems = (),
        body: bytes | str | None = None,
        *,
        chunked: bool = False,
    ) -> None:
        """Send a head; with ``body`` the whole response, else ``chunked`` or until the connection ends."""
        items = list(headers.items() if isinstance(headers, Mapping) else headers)
        content = body.encode() if isinstance(body, str) else body
        if content is not None:
            if status not in _WITHOUT_BODY:
                items.append(("Content-Length", str(len(content))))
        else:
            items.append(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close"))
        self._is_chunked = content is None and chunked
        self._is_reusable = content is not None or chunked
        self._is_answered = content is not None
        head = "".join(f"{name}: {value}\r\n" for name, value in items)
        await self.write(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode("latin-1") + (content or b""))

    async def event_stream(
        self, *parts: bytes | str, headers: HeaderItems = (), chunked: bool = True, status: int = 200
    ) -> None:
        """Begin an event stream, and send each part by itself."""
        items = list(headers.items() if isinstance(headers, Mapping) else headers)
        await self.respond(status, [("Content-Type", EVENT_STREAM), *items], chunked=chunked)
        for part in parts:
            await self.send(part)

    async def send(self, data: bytes | str) -> None:
        """Send a piece of the body, in the framing that the head announced."""
        content = data.encode() if isinstance(data, str) else data
        if content:
            await self.write(b"%x\r\n%b\r\n" % (len(content), content) if self._is_chunked else content)

    async def end(self) -> None:
        """End the response cleanly; a chunked one leaves the connection open for another request."""
        if self._is_chunked and not self._is_answered:
            await self.write(b"0\r\n\r\n")
        self._is_answered = True
        self._changed()
        if not self._is_reusable:
            self.hang_up()

    async def hang(self) -> None:
        """Hold the connection open until the peer closes it."""
        await self.closed_by_peer.wait()

    async def close(self) -> None:
        """Close the connection, in the middle of whatever goes on."""
        self.hang_up()
        await checkpoint()

    async def reset(self) -> None:
        """Close the connection with a TCP reset."""
        if self.is_open:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.close()

    # What the server does.

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self._is_answered or not self.is_open or self.closed_by_peer.is_set()

    def hang_up(self) -> None:
        if self.is_open:
            self.is_open = False
            self.closed_at = anyio.current_time()
            anyio.notify_closing(self._socket)
            self._socket.close()
            self._changed()

    async def run(self, script_for: Callable[[Request], "Script"]) -> None:
        """Answer request after request until either side closes."""
        send_requests, requests = anyio.create_memory_object_stream[Request](16)
        with send_requests, requests:
            try:
                async with _task_group() as tasks:
                    tasks.start_soon(self._read_requests, send_requests)
                    async for self.request in requests:
                        self._is_answered = False
                        await self._answer(script_for(self.request))
                    tasks.cancel_scope.cancel()
            finally:
                self.hang_up()

    async def _answer(self, script: "Script") -> None:
        try:
            await script(self)
            if self.is_open:
                await self.end()
        except _GONE:
            self.hang_up()

    async def _read_requests(self, requests: ObjectSendStream[Request]) -> None:
        async with requests:
            try:
                while True:
                    await requests.send(await self._read_request())
            except (*_GONE, anyio.EndOfStream):
                if self.is_open:  # it was not us
                    self.closed_by_peer.set()
                    self._changed()

    async def _read_request(self) -> Request:
        head = await self._read_past(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        fields = (line.partition(":") for line in lines)
        headers = tuple((name, value.strip(" \t")) for name, _, value in fields)
        framing = {name.lower(): value for name, value in headers}
        if framing.get("transfer-encoding") == "chunked":
            body = await self._read_chunks()
        else:
            body = await self._read_exactly(int(framing.get("content-length", "0")))
        return Request(method=method, target=target, headers=headers, body=body, time=anyio.current_time())

    async def _read_chunks(self) -> bytes:
        body = b""
        while size := int(await self._read_past(b"\r\n"), 16):
            body += (await self._read_exactly(size + 2))[:-2]
        await self._read_past(b"\r\n")
        return body

    async def _read_past(self, mark: bytes) -> bytes:
        while mark not in self._unread:
            self._unread += await self._receive()
        before, _, self._unread = self._unread.partition(mark)
        return before

    async def _read_exactly(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._unread += await self._receive()
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    async def _receive(self) -> bytes:
        while self.is_open:
            await anyio.wait_readable(self._socket)
            try:
                data = self._socket.recv(_READ_SIZE)
            except BlockingIOError:
                continue
            if data:
                return data
            break
        raise anyio.EndOfStream


Script: TypeAlias = Callable[[Connection], Awaitable[None]]
Routes: TypeAlias = Mapping[str, Script | Sequence[Script]]


@final
class Server:
    """A listener on a free port of the loopback interface, with what came in so far."""

    def __init__(
        self, tasks: TaskGroup, scripts: Sequence[Script], then: Script | None, routes: Routes
    ) -> None:
        self._tasks = tasks
        self._scripts = deque(scripts)
        self._then = then
        self._routes = {path: route if callable(route) else deque(route) for path, route in routes.items()}
        self._change = anyio.Event()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[Request] = []
        self.connections: list[Connection] = []

    @property
    def open_connections(self) -> int:
        """How many connections neither side has closed."""
        return sum(peer.is_open and not peer.closed_by_peer.is_set() for peer in self.connections)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until ``is_so``; asked whenever a request comes, or a connection opens or closes."""
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
        """Stop listening, so that connecting is refused, and hang up on whoever has no request under way."""
        self._stop_listening()
        for connection in self.connections:
            if connection.is_idle:
                connection.hang_up()
        await checkpoint()

    async def listen_again(self) -> None:
        """Listen on the same port once more."""
        self._listener = self._listen(self.port)
        await checkpoint()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        listener.setblocking(False)
        self._tasks.start_soon(self._accept, listener)
        return listener

    def _stop_listening(self) -> None:
        if self._listener.fileno() >= 0:
            anyio.notify_closing(self._listener)
            self._listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while listener.fileno() >= 0:
                try:
                    await anyio.wait_readable(listener)
                    sock, _ = listener.accept()
                except BlockingIOError:
                    continue
                except _GONE:
                    return
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = Connection(sock, self._notify)
                self.connections.append(connection)
                self._notify()
                self._tasks.start_soon(connection.run, self._script_for)

    def _script_for(self, request: Request) -> Script:
        self.requests.append(request)
        self._notify()
        route = self._routes.get(request.path, self._scripts)
        if callable(route):
            return route
        if route:
            return route.popleft()
        return self._then or answer(404, body=f"nothing is scripted for {request.method} {request.target}")

    def _notify(self) -> None:
        self._change.set()
        self._change = anyio.Event()

    def close(self) -> None:
        """Close the listener and every connection."""
        self._stop_listening()
        for connection in self.connections:
            connection.hang_up()
        self._tasks.cancel_scope.cancel()


@asynccontextmanager
async def serve(
    *scripts: Script, then: Script | None = None, routes: Routes | None = None
) -> AsyncIterator[Server]:
    """Run a server; an exception of the body, or of a script, leaves as itself."""
    async with _task_group() as tasks:
        server = Server(tasks, scripts, then, routes or {})
        try:
            yield server
        finally:
            server.close()


@asynccontextmanager
async def _task_group() -> AsyncIterator[TaskGroup]:
    """Make a task group from which a single exception leaves as itself."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        error = group.exceptions[0]
    else:
        return
    raise error


# Scripts for what most tests need.


def feed(*parts: bytes | str, headers: HeaderItems = ()) -> Script:
    """Send an event stream, and end it cleanly."""

    async def script(connection: Connection) -> None:
        await connection.event_stream(*parts, headers=headers)

    return script


def held(*parts: bytes | str, headers: HeaderItems = ()) -> Script:
    """Send an event stream, and hold it open until the peer closes it."""

    async def script(connection: Connection) -> None:
        await connection.event_stream(*parts, headers=headers)
        await connection.hang()

    return script


def answer(status: int, headers: HeaderItems = (), body: bytes | str = b"") -> Script:
    """Send a whole response."""

    async def script(connection: Connection) -> None:
        await connection.respond(status, headers, body)

    return script


def redirect(location: str, status: int = 302) -> Script:
    """Send the client elsewhere."""
    return answer(status, {"Location": location})
