"""The transport on sockets: what is reused, what is closed, what it tells, and how it is left at any moment.

Warnings are errors, those of the garbage collector too: no socket, task or generator is left behind.
"""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import asyncio
import gc
import logging
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import anyio
import anyio.abc
import httpx
import pytest
import trustme
from anyio.lowlevel import checkpoint
from anyio.streams.tls import TLSListener, TLSStream

import anysse
from anysse._asyncio import HIGH_WATER, AsyncioStream
from anysse._transport import bare_body
from anysse._wire import Origin, Wire, _always_read
from anysse.testing import Connection, Script
from anysse.testing import SocketServer as Server
from tests.conftest import is_importable
from tests.server import answer, event_stream
from tests.server import serve as scripted
from tests.streams import living_tasks, turns

DEADLINE: Final = 20.0
"""Seconds that nothing here comes near to, unless it hangs."""
SHORT: Final = 0.02
"""Seconds of a timeout that is to pass."""
MEGABYTES: Final = 64 * 1024 * 1024
"""More than any system's socket buffers hold."""

fine = answer(200, body="fine")


def client_of(library: ModuleType = httpx, **options: Any) -> Any:
    """Give a client of the library over our transport; options are for the latter."""
    return library.AsyncClient(transport=anysse.StreamingTransport(**options), timeout=None)


def idle_in(client: Any) -> int:
    """How many connections the client's transport keeps."""
    return len(client._transport._connections._idle._all)


def body_of(response: Any) -> Any:
    """Give the body itself, which need not be read to its end: the libraries' iterators do, on trio."""
    library = sys.modules[type(response).__module__.partition(".")[0]]
    body = bare_body(library, response)
    assert body is not None
    return body


@asynccontextmanager
async def serve(*scripts: Script, **options: Any) -> AsyncIterator[Server]:
    """Run the scripted server, for a time that is more than enough."""
    with anyio.fail_after(DEADLINE):
        async with scripted(*scripts, **options) as server:
            yield server


def sniffed_loop() -> object:
    """Give asyncio's event loop, or None where it is not asyncio's."""
    is_trio = anyio.get_cancelled_exc_class().__module__.startswith("trio")
    return None if is_trio else asyncio.get_running_loop()


async def raised_by(call: Awaitable[Any]) -> Exception:
    """Give the error of a call, whatever it is."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the test looks at it
        await call
    return caught.value


class Pieces:
    """A body that comes in pieces, and then does something; no generator, for httpx would leave it open."""

    def __init__(self, *pieces: bytes, then: Callable[[], Awaitable[None]] | None = None) -> None:
        self._pieces = iter(pieces)
        self._then = then

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await checkpoint()
        for piece in self._pieces:
            return piece
        if self._then is not None:
            await self._then()
        raise StopAsyncIteration


# --- a server that speaks TLS -----------------------------------------------------------------------------


class TlsServer:
    """Answers each request with what its path names; for what the scripted server cannot say over TLS."""

    def __init__(self, port: int, authority: trustme.CA) -> None:
        self.port = port
        self.url = f"https://127.0.0.1:{port}"
        self.authority = authority
        self.connections = 0
        self.open = 0
        self.names: list[str | None] = []
        """What each client said that it wants to talk to."""

    def trusting(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context


Handler = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def tls_server(handle: "Handler | None" = None, *names: str) -> AsyncIterator[TlsServer]:
    """Run a server whose certificate is for these names; a handler has the stream of one connection."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names or ("127.0.0.1",), key_type=trustme.KeyType.ECDSA).configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: server.names.append(name)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = TlsServer(listener.extra(anyio.abc.SocketAttribute.local_port), authority)

    async def count(stream: TLSStream) -> None:
        server.connections += 1
        server.open += 1
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, OSError):
                await (handle or answering)(stream)
        server.open -= 1

    with anyio.fail_after(DEADLINE):
        async with TLSListener(listener, context, False) as tls, anyio.create_task_group() as tasks:
            tasks.start_soon(tls.serve, count)
            yield server
            tasks.cancel_scope.cancel()


async def head_of(stream: Any) -> bytes:
    """Read the head of a request."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive()
    return head


async def answering(stream: Any) -> None:
    while await head_of(stream):
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")


@asynccontextmanager
async def tcp_server(handle: Handler) -> AsyncIterator[int]:
    """Run a server that is handed each connection, and give its port."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    with anyio.fail_after(DEADLINE):
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, handle)
            yield listener.extra(anyio.abc.SocketAttribute.local_port)
            tasks.cancel_scope.cancel()


@contextmanager
def blocking_server(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run a server in threads, for what is to happen while no event loop turns; give its port."""

    def accept() -> None:
        while True:
            sock = listener.accept()[0]
            if is_over.is_set():
                sock.close()
                return
            accepted.append(sock)
            threads.append(threading.Thread(target=serve_one, args=(sock,)))
            threads[-1].start()

    def serve_one(sock: socket.socket) -> None:
        with sock, suppress(OSError):
            handle(sock)

    is_over = threading.Event()
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            is_over.set()
            socket.create_connection(listener.getsockname()).close()
            threads[0].join()
            for sock in accepted:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def read_all(sock: socket.socket) -> None:
    while sock.recv(1_000_000):
        pass


# --- what it is -------------------------------------------------------------------------------------------


def test_it_is_a_transport_of_both_libraries(library: ModuleType) -> None:
    transport = anysse.StreamingTransport()
    assert isinstance(transport, httpx.AsyncBaseTransport)
    assert isinstance(transport, library.AsyncBaseTransport)
    assert isinstance(transport, anysse.StreamingTransport)
    assert type(transport).__name__ == "StreamingTransport"
    assert type(transport).__module__ == anysse.StreamingTransport.__module__


@pytest.mark.skipif(not is_importable("httpx2"), reason="httpx2 is not installed")
def test_a_library_that_is_imported_later_has_its_transports_too() -> None:
    code = """
import sys, anysse
first = anysse.StreamingTransport()
assert "httpx2" not in sys.modules
import httpx2
assert isinstance(anysse.StreamingTransport(), httpx2.AsyncBaseTransport)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_can_be_a_base_class() -> None:
    class Mine(anysse.StreamingTransport):
        pass

    assert isinstance(Mine(verify=False), Mine)
    assert isinstance(type(Mine())(), httpx.AsyncBaseTransport)


def test_a_class_made_of_it_may_have_positional_arguments_of_its_own() -> None:
    class Mine(anysse.StreamingTransport):
        def __init__(self, name: str, kept: int) -> None:
            super().__init__(max_keepalive_connections=kept)
            self.name = name

    mine = Mine("mine", 0)
    assert mine.name == "mine"
    assert isinstance(mine, Mine)
    assert isinstance(mine, httpx.AsyncBaseTransport)
    with pytest.raises(TypeError):
        anysse.StreamingTransport(True)  # type: ignore[misc]


RUBBISH: Final = [
    *(("verify", value) for value in (None, 0, 1, "", "/etc/ssl", b"", object(), ssl.SSLContext)),
    *(("max_keepalive_connections", value) for value in (None, -1, 1.0, True, "1", float("inf"), [])),
    *(
        ("keepalive_expiry", value)
        for value in (0, -1, float("inf"), float("nan"), True, "5", 10**400, [], -0.0)
    ),
]


@pytest.mark.parametrize(("name", "value"), RUBBISH, ids=range(len(RUBBISH)))
def test_an_argument_that_is_none_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(anysse.InvalidRequest) as caught:
        anysse.StreamingTransport(**{name: value})
    assert caught.value.argument == name


@pytest.mark.parametrize("request_", [None, "GET", object(), httpx.Response(200)])
async def test_what_is_no_request_is_refused(request_: Any) -> None:
    async with anysse.StreamingTransport() as transport:
        error = await raised_by(transport.handle_async_request(request_))
    assert isinstance(error, anysse.InvalidRequest)
    assert error.argument == "request"


@pytest.mark.parametrize("url", ["ftp://a/", "ws://a/", "file:///a", "/a", "//a/", ""])
async def test_a_url_that_is_not_http_is_the_librarys_own_error(library: ModuleType, url: str) -> None:
    async with anysse.StreamingTransport() as transport:
        request = library.Request("GET", url)
        error = await raised_by(transport.handle_async_request(request))
    assert type(error) is library.UnsupportedProtocol
    assert error.request is request


# --- connections that wait for another request ------------------------------------------------------------


async def test_one_connection_does_for_requests_in_turn(library: ModuleType) -> None:
    async with serve(then=fine) as server, client_of(library) as client:
        for method in ("GET", "POST", "PUT", "GET"):
            assert (await client.request(method, server.url, content=b"x")).status_code == 200
            assert idle_in(client) == 1
        assert len(server.connections) == 1
    assert idle_in(client) == 0


async def test_the_one_used_last_serves_next() -> None:
    async with serve(then=fine) as server, client_of() as client:
        async with client.stream("GET", server.url) as first, client.stream("GET", server.url) as second:
            ports = [
                response.extensions["network_stream"].get_extra_info("client_addr")[1]
                for response in (await read(first), await read(second))
            ]
        response = await client.get(server.url)
        assert response.extensions["network_stream"].get_extra_info("client_addr")[1] == ports[1]
        assert (len(server.connections), idle_in(client)) == (2, 2)


async def read(response: Any) -> Any:
    await response.aread()
    return response


async def test_an_origin_does_not_get_the_connection_of_another() -> None:
    async with serve(then=fine) as one, serve(then=fine) as other, client_of() as client:
        for _ in range(2):
            await client.get(one.url)
            await client.get(other.url)
            await client.get(one.url.replace("127.0.0.1", "localhost"))
        assert (len(one.connections), len(other.connections), idle_in(client)) == (2, 1, 3)


@pytest.mark.parametrize("kept", [0, 1, 3])
async def test_no_more_are_kept_than_asked_for(kept: int) -> None:
    async with serve(then=fine) as server, client_of(max_keepalive_connections=kept) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(client.get, server.url)
        assert idle_in(client) == min(kept, len(server.connections))
        await server.until(lambda: server.open_connections == idle_in(client))


async def test_what_waited_for_too_long_is_closed() -> None:
    async with serve(then=fine) as server, client_of(keepalive_expiry=SHORT) as client:
        for count in (1, 2, 3):
            await client.get(server.url)
            assert len(server.connections) == count
            await anyio.sleep(2 * SHORT)  # by the clock that the transport reads
        await server.until(lambda: server.open_connections <= 1)


async def test_without_expiry_they_are_kept() -> None:
    async with serve(then=fine) as server, client_of(keepalive_expiry=None) as client:
        await client.get(server.url)
        await client.get(server.url)
        assert len(server.connections) == 1


async def test_what_the_server_closed_meanwhile_is_not_used_and_does_not_pile_up() -> None:
    async def closing(connection: Connection) -> None:
        await connection.respond(200, body="fine")
        closable.append(connection)

    closable: list[Connection] = []
    async with serve(then=closing) as server, client_of() as client:
        for count in range(1, 6):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(client.post, server.url)
            assert len(server.connections) <= 3 * count
            while closable:
                await closable.pop().drop()
            await turns(20)  # for whatever notices it
            assert idle_in(client) <= 3
        assert len(server.requests) == 15


async def test_closing_the_transport_closes_what_is_idle_and_leaves_what_is_not() -> None:
    async def slow(connection: Connection) -> None:
        await event_stream(connection, "one")
        await may_end.wait()
        await connection.send("two")

    may_end = anyio.Event()
    async with serve(routes={"/": fine, "/slow": slow}) as server:
        transport = anysse.StreamingTransport()
        client = httpx.AsyncClient(transport=transport, timeout=None)
        await client.get(server.url)
        async with client.stream("GET", f"{server.url}/slow") as response:
            await client.get(server.url)
            assert idle_in(client) == 1
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(transport.aclose)
            await transport.aclose()
            await server.until(lambda: server.open_connections == 1)
            may_end.set()
            assert await response.aread() == b"onetwo"
        await server.all_closed()
        assert idle_in(client) == 0
        await client.get(server.url)  # still works, and keeps nothing
        await server.all_closed()
        await client.aclose()


async def test_what_says_close_is_closed() -> None:
    script = answer(200, {"Connection": "close"}, "fine")
    async with serve(script, fine, fine) as server, client_of() as client:
        await client.get(server.url)
        await server.all_closed()
        await client.get(server.url, headers={"Connection": "close"})
        await client.get(server.url)
        assert len(server.requests) == 3


def surplus_of(size: int) -> Script:
    """Send a response of so many bytes, and in the same breath one that nobody asked for."""

    async def script(connection: Connection) -> None:
        body = b"x" * (size - len(b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n") - len(str(size)))
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %0*d\r\n\r\n" % (len(str(size)), len(body))
        assert len(head + body) == size
        await connection.write(head + body + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await connection.hang()

    return script


@pytest.mark.parametrize("size", [100, 65_536, 131_072, 256_000, 262_144, 512_000, 524_288])
async def test_an_answer_that_nobody_asked_for_is_nobodys_wherever_reads_end(size: int) -> None:
    async with serve(surplus_of(size), fine) as server, client_of() as client:
        await client.get(server.url)
        assert (await client.get(server.url)).text == "fine"
        assert len(server.connections) == 2


@pytest.mark.parametrize("headers", ["", "Connection: upgrade\r\nUpgrade: h2c\r\n"])
async def test_a_switch_of_the_protocol_is_refused_as_that(headers: str) -> None:
    async def switching(connection: Connection) -> None:
        await connection.write(f"HTTP/1.1 101 Switching\r\n{headers}\r\n")
        await connection.hang()

    async with serve(then=switching) as server, client_of() as client:
        error = await raised_by(client.get(server.url))
        assert isinstance(error, httpx.RemoteProtocolError)
        assert "switched protocols" in str(error)


# --- a connection that dies as it is used again -----------------------------------------------------------


async def closing(connection: Connection) -> None:
    await connection.drop()


async def resetting(connection: Connection) -> None:
    await connection.reset()


@pytest.mark.parametrize("dying", [closing, resetting])
async def test_a_get_is_repeated_once_and_a_post_never(library: ModuleType, dying: Script) -> None:
    for method, script in (("GET", fine), ("HEAD", answer(200)), ("OPTIONS", fine)):
        async with serve(fine, dying, script, dying, dying) as server, client_of(library) as client:
            await client.get(server.url)
            assert (await client.request(method, server.url)).status_code == 200
            assert (len(server.requests), len(server.connections)) == (3, 2)
            error = await raised_by(client.request(method, server.url))
            assert isinstance(error, library.ReadError | library.RemoteProtocolError)
            assert (len(server.requests), len(server.connections)) == (5, 3)
            assert idle_in(client) == 0
    for method, body in (("POST", b""), ("POST", b"x"), ("PUT", b""), ("DELETE", b""), ("GET", b"x")):
        async with serve(fine, dying) as server, client_of(library) as client:
            await client.get(server.url)
            error = await raised_by(client.request(method, server.url, content=body))
            assert isinstance(error, library.ReadError | library.RemoteProtocolError)
            assert (len(server.requests), len(server.connections)) == (2, 1)
            await server.all_closed()


async def test_a_get_that_was_answered_by_a_byte_is_not_repeated() -> None:
    async def begun(connection: Connection) -> None:
        await connection.write("H")
        await connection.drop()

    async with serve(fine, begun) as server, client_of() as client:
        await client.get(server.url)
        error = await raised_by(client.get(server.url))
        assert isinstance(error, httpx.RemoteProtocolError)
        assert len(server.requests) == 2


async def test_a_get_on_a_new_connection_is_not_repeated() -> None:
    async with serve(closing) as server, client_of() as client:
        assert isinstance(await raised_by(client.get(server.url)), httpx.RemoteProtocolError)
        assert len(server.requests) == 1


async def test_a_get_that_was_not_answered_in_time_is_not_repeated() -> None:
    async with serve(fine, then=Connection.hang) as server, client_of() as client:
        await client.get(server.url)
        error = await raised_by(client.get(server.url, timeout=httpx.Timeout(None, read=SHORT)))
        assert isinstance(error, httpx.ReadTimeout)
        assert len(server.requests) == 2
        await server.all_closed()


# --- a server that says something at once, or hangs up ----------------------------------------------------

MANY: Final = 30
"""Connections, of which some meet the moment that is meant."""


def busy(sock: socket.socket) -> None:
    """Answer before anything was asked, and say no more."""
    sock.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    sock.shutdown(socket.SHUT_WR)
    read_all(sock)


def busy_and_gone(sock: socket.socket) -> None:
    """Answer before anything was asked, and hang up: the request is answered by a reset."""
    sock.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def outcomes_of(client: Any, library: ModuleType, url: str) -> Counter[str]:
    """Count what many requests give; anything but an answer, or an error of the library's, is raised."""
    outcomes: Counter[str] = Counter()
    with anyio.fail_after(DEADLINE):
        for _ in range(MANY):
            try:
                response = await client.get(url)
            except library.TransportError:
                outcomes["error"] += 1
            else:
                outcomes[f"{response.status_code} {response.text}"] += 1
    return outcomes


async def test_what_a_server_says_before_it_is_asked_is_not_lost(library: ModuleType) -> None:
    with blocking_server(busy) as port:
        async with client_of(library) as client:
            outcomes = await outcomes_of(client, library, f"http://127.0.0.1:{port}")
            assert outcomes == {"503 no": MANY}
            assert idle_in(client) == 0


async def test_a_server_that_answers_and_hangs_up_before_it_is_asked_leaves_nobody_waiting(
    library: ModuleType,
) -> None:
    with blocking_server(busy_and_gone) as port:
        async with client_of(library) as client:
            outcomes = await outcomes_of(client, library, f"http://127.0.0.1:{port}")
            assert set(outcomes) <= {"503 no", "error"}
            assert idle_in(client) == 0


async def test_a_server_that_resets_whoever_comes_is_an_error_of_the_library(library: ModuleType) -> None:
    with blocking_server(reset) as port:
        async with client_of(library) as client:
            assert await outcomes_of(client, library, f"http://127.0.0.1:{port}") == {"error": MANY}
            assert idle_in(client) == 0


async def test_a_server_that_resets_whoever_comes_is_an_error_of_the_stream(library: ModuleType) -> None:
    with blocking_server(reset) as port, anyio.fail_after(DEADLINE):
        async with client_of(library) as client:
            for _ in range(MANY):
                with pytest.raises(anysse.StreamError):
                    async with anysse.open_stream(f"http://127.0.0.1:{port}", client=client, retry=None):
                        pass


# --- timeouts ---------------------------------------------------------------------------------------------


@contextmanager
def full_listener() -> Iterator[int]:
    """Give the port of a listener that accepts nobody, and has no room for more to wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for sock in waiting:
                sock.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full listener refuses")
async def test_a_connection_that_nobody_accepts_is_a_connect_timeout(library: ModuleType) -> None:
    with full_listener() as port:
        async with client_of(library) as client:
            timeout = library.Timeout(None, connect=SHORT)
            error = await raised_by(client.get(f"http://127.0.0.1:{port}", timeout=timeout))
    assert type(error) is library.ConnectTimeout
    assert str(SHORT) in str(error)


async def test_a_handshake_that_hangs_is_a_connect_timeout(library: ModuleType) -> None:
    async with serve() as server, client_of(library, verify=False) as client:
        timeout = library.Timeout(None, connect=SHORT)
        error = await raised_by(client.get(server.url.replace("http", "https"), timeout=timeout))
        await server.all_closed()
    assert type(error) is library.ConnectTimeout


async def test_a_head_that_does_not_come_is_a_read_timeout(library: ModuleType) -> None:
    async with serve(then=Connection.hang) as server, client_of(library) as client:
        timeout = library.Timeout(None, read=SHORT)
        assert type(await raised_by(client.get(server.url, timeout=timeout))) is library.ReadTimeout
        await server.all_closed()


async def test_a_body_that_does_not_come_is_a_read_timeout(library: ModuleType) -> None:
    async def halting(connection: Connection) -> None:
        await event_stream(connection, "one")
        await connection.hang()

    async with serve(then=halting) as server, client_of(library) as client:
        async with client.stream("GET", server.url, timeout=library.Timeout(None, read=SHORT)) as response:
            body = body_of(response)
            assert await anext(body) == b"one"
            assert type(await raised_by(anext(body))) is library.ReadTimeout
            await server.all_closed()
            assert type(await raised_by(anext(body))) is library.ReadError


@contextmanager
def deaf_server() -> Iterator[int]:
    """Give the port of a listener that lets whoever comes wait: the system takes what it has room for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_body_that_nobody_takes_is_a_write_timeout(library: ModuleType) -> None:
    with deaf_server() as port:
        async with client_of(library) as client:
            timeout = library.Timeout(None, write=SHORT)
            error = await raised_by(
                client.post(f"http://127.0.0.1:{port}", content=bytes(MEGABYTES), timeout=timeout)
            )
    assert type(error) is library.WriteTimeout


async def test_refused_and_unknown_hosts_are_connect_errors(library: ModuleType) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with client_of(library) as client:
        for url in (f"http://127.0.0.1:{port}", f"http://[::1]:{port}", f"http://{'a' * 64}.invalid"):
            assert type(await raised_by(client.get(url))) is library.ConnectError, url


# --- extensions -------------------------------------------------------------------------------------------


async def traced(client: Any, url: str, **options: Any) -> list[str]:
    """Give what a trace is told of an exchange, failed or not."""
    told = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        told.append(name)
        assert isinstance(info, dict)

    with suppress(httpx.TransportError, *other_errors()):
        await client.request(**{"method": "GET", "url": url, "extensions": {"trace": trace}, **options})
    return told


def other_errors() -> list[type[Exception]]:
    httpx2 = sys.modules.get("httpx2")
    return [httpx2.TransportError] if httpx2 else []


async def test_a_trace_is_told_what_the_stock_transport_tells(library: ModuleType) -> None:
    scripts = [fine, fine, fine, closing, Connection.hang]
    asked: list[dict[str, Any]] = [
        {},
        {},
        {"method": "POST", "content": b"x"},
        {"method": "POST"},
        {"timeout": library.Timeout(None, read=SHORT)},
    ]
    told = []
    for transport in (anysse.StreamingTransport(), library.AsyncHTTPTransport()):
        async with library.AsyncClient(transport=transport, timeout=None) as client:
            async with serve(*scripts) as server:
                steps = [await traced(client, server.url, **options) for options in asked]
            steps.append(await traced(client, server.url))  # nobody listens there any more
        async with tls_server() as secure:
            for trusting in (secure.trusting(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
                verifying = type(transport)(verify=trusting)
                async with library.AsyncClient(transport=verifying, timeout=None) as client:
                    steps.append(await traced(client, secure.url))
        told.append(steps)
    ours, theirs = told
    for mine, stock in zip(ours, theirs, strict=True):
        assert mine == stock
    assert ours[0] == [
        f"{name}.{step}"
        for name in (
            "connection.connect_tcp",
            "http11.send_request_headers",
            "http11.send_request_body",
            "http11.receive_response_headers",
            "http11.receive_response_body",
            "http11.response_closed",
        )
        for step in ("started", "complete")
    ]
    assert ours[5] == ["connection.connect_tcp.started", "connection.connect_tcp.failed"]
    assert ours[6][2:4] == ["connection.start_tls.started", "connection.start_tls.complete"]
    assert ours[7][2:] == ["connection.start_tls.started", "connection.start_tls.failed"]


async def test_a_trace_is_told_what_of(library: ModuleType) -> None:
    infos: dict[str, dict[str, Any]] = {}

    async def trace(name: str, info: dict[str, Any]) -> None:
        infos[name] = info

    async with tls_server() as server:
        context = server.trusting()
        async with client_of(library, verify=context) as client:
            await client.get(
                server.url, timeout=library.Timeout(None, connect=9), extensions={"trace": trace}
            )
    started, secured = infos["connection.connect_tcp.started"], infos["connection.start_tls.started"]
    assert started == {"host": "127.0.0.1", "port": server.port, "timeout": 9}
    assert secured == {"ssl_context": context, "server_hostname": "127.0.0.1", "timeout": 9}
    version, status, reason, headers = infos["http11.receive_response_headers.complete"]["return_value"]
    assert (version, status, reason, headers) == (b"HTTP/1.1", 200, b"OK", [(b"Content-Length", b"4")])


async def test_a_trace_of_a_body_read_while_an_error_is_handled_is_told_that_it_is_complete() -> None:
    async with serve(then=fine) as server, client_of() as client:
        try:
            {}["of somebody else"]
        except KeyError:
            told = await traced(client, server.url)
    assert told[-4:] == [
        f"http11.{name}.{step}"
        for name in ("receive_response_body", "response_closed")
        for step in ("started", "complete")
    ]


async def test_a_request_that_is_the_last_of_its_connection_is() -> None:
    async with serve(then=fine) as server, client_of() as client:
        for _ in range(2):
            await client.get(server.url, headers={"Connection": "keep-alive, Close"})
        await server.all_closed()
        assert len(server.connections) == 2
        assert idle_in(client) == 0


STEPS: Final = [
    "connection.connect_tcp.started",
    "connection.connect_tcp.complete",
    "http11.send_request_headers.started",
    "http11.send_request_body.complete",
    "http11.receive_response_headers.started",
    "http11.receive_response_headers.complete",
    "http11.receive_response_body.started",
    "http11.receive_response_body.complete",
    "http11.response_closed.started",
]


@pytest.mark.parametrize("step", STEPS)
async def test_a_trace_that_fails_or_is_cancelled_leaves_no_connection(step: str) -> None:
    async def failing(name: str, info: dict[str, Any]) -> None:
        if name == step:
            raise LookupError(name)

    async def cancelled(name: str, info: dict[str, Any]) -> None:
        if name == step:
            tasks.cancel_scope.cancel()
            await checkpoint()

    async with serve(then=fine) as server, client_of() as client:
        error = await raised_by(client.get(server.url, extensions={"trace": failing}))
        assert isinstance(error, LookupError)
        await server.until(lambda: server.open_connections == idle_in(client))
        await client.aclose()
    async with serve(then=fine) as server, client_of() as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(client.get, server.url, extensions={"trace": cancelled}))
        await server.until(lambda: server.open_connections == idle_in(client))


async def test_a_trace_that_waits_as_a_reader_is_cancelled_keeps_no_connection_open() -> None:
    async def trace(name: str, info: dict[str, Any]) -> None:
        await checkpoint()

    async def halting(connection: Connection) -> None:
        await event_stream(connection, "one")
        await connection.hang()

    async with serve(then=halting) as server, client_of() as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(client.get, server.url, extensions={"trace": trace}))
            await server.requested(1)
            await turns(20)
            tasks.cancel_scope.cancel()
        await server.all_closed()


async def test_a_name_for_tls_is_sent_and_checked(library: ModuleType) -> None:
    async with tls_server(None, "there.example") as server:
        async with client_of(library, verify=server.trusting()) as client:
            for name in ("there.example", b"there.example"):
                response = await client.get(server.url, extensions={"sni_hostname": name})
                assert response.text == "fine"
            assert server.connections == 1
            for extensions in ({}, {"sni_hostname": "elsewhere.example"}):
                error = await raised_by(client.get(server.url, extensions=extensions))
                assert type(error) is library.ConnectError
                assert "CERTIFICATE_VERIFY_FAILED" in str(error)
            assert server.names == ["there.example", None, "elsewhere.example"]


async def test_a_name_that_tls_cannot_say_is_a_connect_error(library: ModuleType) -> None:
    async with tls_server() as server, client_of(library, verify=server.trusting()) as client:
        for name in (".a", "a" * 300, "a..ü"):
            error = await raised_by(client.get(server.url, extensions={"sni_hostname": name}))
            assert type(error) is library.ConnectError, name


async def test_a_name_that_is_not_ascii_is_a_local_protocol_error(library: ModuleType) -> None:
    async with tls_server() as server, client_of(library, verify=server.trusting()) as client:
        error = await raised_by(client.get(server.url, extensions={"sni_hostname": b"\xff"}))
        assert type(error) is library.LocalProtocolError
        assert "sni_hostname" in str(error)
        assert server.connections == 0


async def test_a_connection_that_is_closed_can_still_be_asked_what_it_was(library: ModuleType) -> None:
    """Each loop forgets something else; none of them raises its own error."""
    names = ("client_addr", "server_addr", "socket", "ssl_object", "nonsense")
    script = answer(200, {"Connection": "close"}, "fine")
    async with serve(script) as server, client_of(library) as client:
        async with client.stream("GET", server.url) as response:
            stream = response.extensions["network_stream"]
            before = {name: stream.get_extra_info(name) for name in names}
            await response.aread()
        await server.all_closed()
        await turns(5)
        after = {name: stream.get_extra_info(name) for name in names}
    for name in names:
        if name != "socket":
            assert after[name] in (None, before[name]), name
    assert after["socket"] is None or after["socket"].fileno() == -1


async def test_the_target_can_be_any(library: ModuleType) -> None:
    async with serve(then=fine) as server, client_of(library) as client:
        for target in (b"*", b"/a?b", b"http://b/c"):
            await client.request("OPTIONS", server.url, extensions={"target": target})
            assert server.requests[-1].target == target.decode()


async def test_a_response_says_what_it_came_by(library: ModuleType) -> None:
    async def old(connection: Connection) -> None:
        await connection.write("HTTP/1.0 203 So so\r\nContent-Length: 0\r\n\r\n")

    async with serve(old) as server, client_of(library) as client:
        async with client.stream("GET", server.url) as response:
            assert (response.http_version, response.reason_phrase) == ("HTTP/1.0", "So so")
            stream = response.extensions["network_stream"]
            assert stream.get_extra_info("server_addr")[:2] == ("127.0.0.1", server.port)
            assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
            assert stream.get_extra_info("socket").fileno() > 0
            assert stream.get_extra_info("ssl_object") is None
            assert stream.get_extra_info("nonsense") is None


# --- TLS --------------------------------------------------------------------------------------------------


async def test_certificates_are_checked_unless_not_wanted(library: ModuleType) -> None:
    async with tls_server() as server:
        for verify, is_trusted in [(server.trusting(), True), (False, True), (True, False)]:
            async with client_of(library, verify=verify) as client:
                if is_trusted:
                    response = await client.get(server.url)
                    assert response.text == "fine"
                    ssl_object = response.extensions["network_stream"].get_extra_info("ssl_object")
                    assert ssl_object.version().startswith("TLS")
                    assert (await client.get(server.url)).text == "fine"
                else:
                    error = await raised_by(client.get(server.url))
                    assert type(error) is library.ConnectError
                    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
        assert server.connections == 2


async def test_a_certificate_for_another_host_is_refused(library: ModuleType) -> None:
    async with tls_server(None, "there.example") as server:
        async with client_of(library, verify=server.trusting()) as client:
            error = await raised_by(client.get(server.url))
    assert type(error) is library.ConnectError
    assert "127.0.0.1" in str(error)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x01"])
async def test_a_server_that_hangs_up_in_the_handshake_is_a_connect_error(
    library: ModuleType, said: bytes
) -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(said)

    async with tcp_server(handle) as port, client_of(library, verify=False) as client:
        error = await raised_by(client.get(f"https://127.0.0.1:{port}"))
    assert type(error) is library.ConnectError
    assert str(error)


@pytest.mark.parametrize("says_farewell", [True, False])
async def test_tls_may_end_without_a_farewell(library: ModuleType, says_farewell: bool) -> None:
    async def handle(stream: TLSStream) -> None:
        await head_of(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\nfine")
        if says_farewell:
            with suppress(anyio.EndOfStream, ssl.SSLError):
                await stream.unwrap()
        await stream.transport_stream.aclose()

    async with tls_server(handle) as server, client_of(library, verify=server.trusting()) as client:
        assert (await client.get(server.url)).text == "fine"
        assert idle_in(client) == 0


async def test_a_body_cut_short_over_tls_is_an_error(library: ModuleType) -> None:
    async def handle(stream: TLSStream) -> None:
        await head_of(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine")
        await stream.transport_stream.aclose()

    async with tls_server(handle) as server, client_of(library, verify=server.trusting()) as client:
        assert type(await raised_by(client.get(server.url))) is library.RemoteProtocolError


async def test_records_that_are_no_records_are_a_read_error(library: ModuleType) -> None:
    async def handle(stream: TLSStream) -> None:
        await head_of(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfi")
        await stream.transport_stream.send(b"\x17\x03\x03\x00\x05hello")
        await stream.transport_stream.receive()

    async with tls_server(handle) as server, client_of(library, verify=server.trusting()) as client:
        error = await raised_by(client.get(server.url))
        assert isinstance(error, library.ReadError | library.RemoteProtocolError)


async def test_records_that_came_together_are_one_piece() -> None:
    async def handle(stream: TLSStream) -> None:
        await head_of(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1003\r\n\r\n")
        await stream.receive()
        out = stream._write_bio  # what is written to it is sent at once, records and all
        for _ in range(1000):
            stream._ssl_object.write(b"x")
        await stream.transport_stream.send(out.read())
        await stream.receive()
        await stream.send(b"end")
        await head_of(stream)

    async with tls_server(handle) as server, client_of(verify=server.trusting()) as client:
        async with client.stream("GET", server.url) as response:
            body = body_of(response)
            wire = body.wire
            await wire.send(b"!", None)
            pieces, received = [], b""
            while len(received) < 1000:
                pieces.append(await anext(body))
                received += pieces[-1]
            assert received == b"x" * 1000
            assert len(pieces) <= 3  # however the system cut them
            await wire.send(b"!", None)
            assert await anext(body) == b"end"


async def test_what_tls_holds_back_is_not_forgotten() -> None:
    """An answer that nobody asked for, in the records behind the one that was."""

    async def handle(stream: TLSStream) -> None:
        await head_of(stream)
        stream._ssl_object.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
        if server.connections == 1:
            stream._ssl_object.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await stream.transport_stream.send(stream._write_bio.read())
        await stream.receive()

    async with tls_server(handle) as server, client_of(verify=server.trusting()) as client:
        assert [(await client.get(server.url)).text for _ in range(2)] == ["fine", "fine"]
        assert server.connections == 2


@pytest.mark.parametrize("end", ["farewell", "nonsense"])
async def test_what_ended_in_the_records_behind_an_answer_is_not_used_again(end: str) -> None:
    async def handle(stream: TLSStream) -> None:
        await head_of(stream)
        stream._ssl_object.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
        with suppress(ssl.SSLError):
            if end == "farewell":
                stream._ssl_object.unwrap()
        nonsense = b"\x17\x03\x03\x00\x05hello" if end == "nonsense" else b""
        await stream.transport_stream.send(stream._write_bio.read() + nonsense)
        await anyio.sleep_forever()  # neither hangs up nor says more: the records alone tell

    async with tls_server(handle) as server, client_of(verify=server.trusting()) as client:
        assert [(await client.post(server.url)).text for _ in range(2)] == ["fine", "fine"]
        assert server.connections == 2


async def test_a_broken_record_behind_good_ones_is_an_error_and_no_end(library: ModuleType) -> None:
    async def handle(stream: TLSStream) -> None:
        await head_of(stream)
        stream._ssl_object.write(b"HTTP/1.1 200 OK\r\n\r\nall of it?")
        nonsense = b"\x17\x03\x03\x00\x20" + b"x" * 32
        await stream.transport_stream.send(stream._write_bio.read() + nonsense)
        await anyio.sleep_forever()

    async with tls_server(handle) as server, client_of(library, verify=server.trusting()) as client:
        async with client.stream("GET", server.url) as response:
            pieces = response.aiter_raw()
            with anyio.fail_after(5):
                assert await anext(pieces) == b"all of it?"
                with pytest.raises(library.ReadError):
                    await anext(pieces)


async def test_megabytes_over_tls_are_the_same() -> None:
    body = bytes(range(256)) * 8_192

    async def handle(stream: TLSStream) -> None:
        while await head_of(stream):
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with tls_server(handle) as server, client_of(verify=server.trusting()) as client:
        for _ in range(2):
            assert (await client.get(server.url)).content == body
        assert server.connections == 1


# --- the socket -------------------------------------------------------------------------------------------


async def test_the_socket_is_quick_and_finds_out_who_is_gone_within_two_minutes() -> None:
    async with serve(then=fine) as server, client_of() as client:
        async with client.stream("GET", server.url) as response:
            raw = response.extensions["network_stream"].get_extra_info("socket")
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                idle, interval, count = (
                    raw.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
                )
                assert idle + interval * count <= 120
                assert min(idle, interval, count) > 1


# --- the body of a request --------------------------------------------------------------------------------


def early(*, closes: bool) -> Handler:
    """Answer before the body of the request is there, and read none of it."""

    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            if not closes:
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    while True:
                        await stream.receive()

    return handle


async def test_an_early_answer_is_the_answer(library: ModuleType) -> None:
    content = Pieces(*[b"x" * 1_000_000] * 20)
    async with tcp_server(early(closes=False)) as port, client_of(library) as client:
        response = await client.post(f"http://127.0.0.1:{port}", content=content)
        assert (response.status_code, response.text) == (413, "no")


async def test_a_server_that_hangs_up_on_a_body_may_have_answered(library: ModuleType) -> None:
    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            await stream.send_eof()
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()

    async with tcp_server(handle) as port, client_of(library) as client:
        content = Pieces(*[b"x" * 10_000] * 20)
        response = await client.post(f"http://127.0.0.1:{port}", content=content)
        assert (response.status_code, response.text) == (413, "no")
        response = await client.post(f"http://127.0.0.1:{port}", content=b"x" * 200_000)
        assert (response.status_code, response.text) == (413, "no")


def answering_early(sock: socket.socket) -> None:
    """Answer while much of the body is on its way, say that this is all, and read on."""
    sock.recv(1_000)
    sock.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\n\r\nsorry")
    sock.shutdown(socket.SHUT_WR)
    time.sleep(0.1)  # the end is there, and what was sent is not
    read_all(sock)


async def test_an_early_answer_of_a_server_that_reads_on_is_the_answer(library: ModuleType) -> None:
    content = bytes(MEGABYTES // 2)
    with blocking_server(answering_early) as port, anyio.fail_after(DEADLINE):
        async with client_of(library) as client:
            url = f"http://127.0.0.1:{port}"
            response = await client.post(url, content=content)
            assert (response.status_code, response.text) == (413, "sorry")
            response = await client.post(url, content=Pieces(*[content[:1_000_000]] * 30))
            assert (response.status_code, response.text) == (413, "sorry")
            with pytest.raises(anysse.StatusError) as caught:
                async with anysse.open_stream(url, client=client, method="POST", content=content):
                    pass
            assert caught.value.status_code == 413
            assert idle_in(client) == 0


async def test_a_server_that_resets_in_mid_body_is_an_error_and_closed(library: ModuleType) -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive(1)

    async with tcp_server(handle) as port, client_of(library) as client:
        error = await raised_by(client.post(f"http://127.0.0.1:{port}", content=bytes(MEGABYTES)))
        assert isinstance(error, library.ReadError | library.RemoteProtocolError)
        assert idle_in(client) == 0


async def test_a_body_that_raises_leaves_as_itself_and_closes_the_connection(library: ModuleType) -> None:
    async def fail() -> None:
        raise LookupError("mine")

    async with serve(then=fine) as server, client_of(library) as client:
        await client.get(server.url)
        error = await raised_by(client.post(server.url, content=Pieces(b"x", then=fail)))
        assert repr(error) == "LookupError('mine')"
        await server.all_closed()
        assert idle_in(client) == 0


async def test_a_generator_is_left_in_order(library: ModuleType) -> None:
    left = []

    async def generated() -> AsyncIterator[bytes]:
        try:
            for _ in range(3):
                yield b"x"
        finally:
            left.append(True)

    async with serve(then=fine) as server, client_of(library) as client:
        await client.post(server.url, content=generated())
        assert server.requests[0].body == b"xxx"
        assert left == [True]


async def test_a_generator_is_closed_where_it_cannot_go_on() -> None:
    """By whoever sends it: one of the libraries' own would leave it to the garbage collector."""
    left = []

    async def generated() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1_000_000
        finally:
            left.append(True)

    class Body(httpx.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return generated()

    with deaf_server() as port:
        request = httpx.Request(
            "POST",
            f"http://127.0.0.1:{port}",
            headers={"Host": "a", "Transfer-Encoding": "chunked"},
            stream=Body(),
            extensions={"timeout": {"write": SHORT}},
        )
        async with client_of() as client:
            assert type(await raised_by(client.send(request))) is httpx.WriteTimeout
        assert left == [True]


@pytest.mark.parametrize("is_endless", [True, False])
async def test_a_body_need_be_no_generator(is_endless: bool) -> None:
    class Body(httpx.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return Pieces(b"one", b"", b"two", then=fail if is_endless else None)

    async def fail() -> None:
        raise LookupError

    async with serve(then=fine) as server, client_of() as client:
        headers = {"Host": "a", "Transfer-Encoding": "chunked"}
        request = httpx.Request("POST", server.url, headers=headers, stream=Body())
        if is_endless:
            assert isinstance(await raised_by(client.send(request)), LookupError)
        else:
            await client.send(request)
            assert server.requests[0].body == b"onetwo"


async def test_a_body_that_is_waited_for_can_be_cancelled() -> None:
    async with serve(then=fine) as server, client_of() as client:
        async with anyio.create_task_group() as tasks:
            content = Pieces(b"x", then=anyio.sleep_forever)
            tasks.start_soon(partial(client.post, server.url, content=content))
            await server.until(lambda: server.open_connections == 1)
            await turns(20)
            tasks.cancel_scope.cancel()
        await server.all_closed()


# --- the body of a response -------------------------------------------------------------------------------


async def halting(connection: Connection) -> None:
    """Send a piece, and no more."""
    await event_stream(connection, "one")
    await connection.hang()


async def test_a_response_can_be_closed_any_number_of_times(library: ModuleType) -> None:
    async with serve(then=halting) as server, client_of(library) as client:
        async with client.stream("GET", server.url) as response:
            body = body_of(response)
            assert await anext(body) == b"one"
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(body.aclose)
            await body.aclose()
            await server.all_closed()
            assert type(await raised_by(anext(body))) is library.ReadError


async def test_what_waits_to_be_read_is_gone_with_the_response() -> None:
    async def much(connection: Connection) -> None:
        await connection.respond(200, body=bytes(4_000_000))

    async with serve(then=much) as server, client_of() as client:
        async with client.stream("GET", server.url) as response:
            body = body_of(response)
            assert await anext(body)
            await turns(10)  # more comes, and waits
            await body.aclose()
            assert type(await raised_by(anext(body))) is httpx.ReadError
            assert type(await raised_by(anext(body))) is httpx.ReadError
        await server.all_closed()


async def test_a_response_that_was_read_can_be_read_on_and_closed_to_no_effect() -> None:
    async with serve(then=fine) as server, client_of() as client:
        async with client.stream("GET", server.url) as response:
            body = body_of(response)
            assert [piece async for piece in body] == [b"fine"]
            for _ in range(3):
                assert [piece async for piece in body] == []
                await body.aclose()
            assert idle_in(client) == 1
            assert (await client.get(server.url)).text == "fine"
            await body.aclose()
        assert (len(server.connections), idle_in(client)) == (1, 1)


async def test_a_response_that_is_closed_under_a_reader_ends_its_wait(library: ModuleType) -> None:
    async def read_on() -> None:
        errors.append(await raised_by(anext(body)))

    errors: list[Exception] = []
    async with serve(then=halting) as server, client_of(library) as client:
        async with client.stream("GET", server.url) as response:
            body = body_of(response)
            await anext(body)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_on)
                await turns(5)
                await body.aclose()
            assert [type(error) for error in errors] == [library.ReadError]
            await server.all_closed()


async def test_a_response_that_is_closed_while_it_comes_is_a_read_error(library: ModuleType) -> None:
    def endless(sock: socket.socket) -> None:
        sock.recv(10_000)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            sock.sendall(bytes(1_000_000))

    async def read_on(response: Any) -> None:
        async for _ in response.aiter_raw():
            pass

    async def reading(response: Any) -> None:
        errors.append(await raised_by(read_on(response)))

    errors: list[Exception] = []
    with blocking_server(endless) as port, anyio.fail_after(DEADLINE):
        async with client_of(library) as client:
            for _ in range(5):
                async with client.stream("GET", f"http://127.0.0.1:{port}") as response:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(reading, response)
                        await anyio.sleep(SHORT)
                        await response.stream.aclose()
            assert idle_in(client) == 0
    assert [type(error) for error in errors] == [library.ReadError] * 5


async def test_a_second_reader_is_told_and_the_first_reads_on(library: ModuleType) -> None:
    async def in_parts(connection: Connection) -> None:
        await connection.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for part in ("abc", "def"):
            await may_go_on[part].wait()
            await connection.write(part)

    async def read_on() -> None:
        async for piece in response.stream:
            received.append(piece)  # noqa: PERF401 - each as it comes

    may_go_on = {"abc": anyio.Event(), "def": anyio.Event()}
    received: list[bytes] = []
    async with serve(in_parts, fine) as server, client_of(library) as client:
        async with client.stream("GET", server.url) as response, anyio.create_task_group() as tasks:
            tasks.start_soon(read_on)
            await turns(5)
            for part in ("abc", "def"):
                for _ in range(2):
                    error = await raised_by(anext(body_of(response)))
                    assert isinstance(error, anyio.BusyResourceError)
                may_go_on[part].set()
                while not b"".join(received).endswith(part.encode()):  # noqa: ASYNC110
                    await checkpoint()
                if part == "abc":
                    await turns(5)  # it waits again
        assert b"".join(received) == b"abcdef"
        assert (await client.get(server.url)).text == "fine"
        assert len(server.connections) == 1


async def test_a_body_that_was_not_read_closes_the_connection() -> None:
    async with serve(then=fine) as server, client_of() as client:
        async with client.stream("GET", server.url, headers={"A": "b"}):
            pass
        await server.until(lambda: server.open_connections == idle_in(client))


async def test_a_host_with_a_name_is_looked_up(library: ModuleType) -> None:
    async with serve(then=fine) as server, client_of(library) as client:
        url = server.url.replace("127.0.0.1", "localhost")
        for _ in range(2):
            assert (await client.get(url)).text == "fine"
        assert len(server.connections) == 1


async def test_of_the_addresses_of_a_host_one_that_answers_is_taken(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    if type(sniffed_loop()).__module__.startswith("uvloop"):
        pytest.skip("uvloop looks names up by itself")

    def look_up(host: str | bytes, port: Any, *_: Any, **__: Any) -> list[Any]:
        assert host in ("two.example", b"two.example")
        addresses = ("127.0.0.2", "127.0.0.1")  # nobody listens at the first
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, int(port or 0))) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with serve(then=fine) as server, client_of(library) as client:
        url = server.url.replace("127.0.0.1", "two.example")
        assert (await client.get(url)).text == "fine"


# --- the stream beneath, on asyncio -----------------------------------------------------------------------


@asynccontextmanager
async def connected(handle: Handler) -> AsyncIterator[Any]:
    """Give the stream of a connection to a server."""
    async with tcp_server(handle) as port:
        wire = Wire(Origin(is_tls=False, host="127.0.0.1", port=port, server_hostname=""))
        await wire.connect(None)
        yield wire._socket_stream
        await wire.aclose()
        await wire.aclose()


async def test_the_stream_gives_no_more_than_asked_for() -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.send(b"x" * 100_000)
            with suppress(anyio.EndOfStream):
                await stream.receive()

    async with connected(handle) as stream:
        received = b""
        while len(received) < 100_000:
            piece = await stream.receive(1_000)
            assert len(piece) <= 1_000
            received += piece
        assert received == b"x" * 100_000


async def test_a_stream_that_broke_gives_what_it_has(anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("the stream is asyncio's")

    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream):
                await stream.receive()

    async with connected(handle) as stream:
        stream.data_received(b"x" * HIGH_WATER)  # it stops reading
        stream.data_received(b"y")
        stream.connection_lost(ConnectionResetError())  # as where a write fails
        assert not stream.is_quiet
        assert await stream.receive() == b"x" * HIGH_WATER
        assert await stream.receive() == b"y"
        error = await raised_by(stream.receive())
        assert isinstance(error, anyio.BrokenResourceError)
        assert isinstance(error.__cause__, ConnectionResetError)
        stream._transport.abort()  # which was not lost in truth


async def test_a_send_that_was_cancelled_leaves_nothing_for_the_next() -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await may_read.wait()
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    received.append((await stream.receive(1_000_000))[-1:])

    async def send(stream: Any, data: bytes) -> None:
        await stream.send(data)
        sent.append(data)  # what a left-over cancels, a task group takes for its own, and is silent

    may_read = anyio.Event()
    received: list[bytes] = []
    sent: list[bytes] = []
    async with connected(handle) as stream:
        with anyio.move_on_after(SHORT) as scope:
            await stream.send(bytes(MEGABYTES // 2))
        assert scope.cancelled_caught
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, stream, b"y")
            may_read.set()
        await send(stream, b"z")
        while received[-1:] != [b"z"]:  # noqa: ASYNC110 - of a server that tells no other way
            await checkpoint()
    assert (sent, received[-1:]) == ([b"y", b"z"], [b"z"])


class FormerTransport:
    """What asyncio's transports have of use to a stream."""

    def __init__(self, *, is_closing: bool) -> None:
        self._is_closing = is_closing
        self.protocol: Any = None
        self.is_reading = False

    def is_closing(self) -> bool:
        return self._is_closing

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def resume_reading(self) -> None:
        self.is_reading = True


def former_stream(
    *chunks: bytes, is_at_eof: bool = False, is_closing: bool = False, error: Exception | None = None
) -> Any:
    """Give what AnyIO's connect_tcp gives: a transport, and a protocol that holds what came already."""
    protocol = SimpleNamespace(read_queue=deque(chunks), is_at_eof=is_at_eof, exception=error)
    return SimpleNamespace(_transport=FormerTransport(is_closing=is_closing), _protocol=protocol)


@pytest.mark.parametrize("error", [None, ConnectionResetError("gone")])
def test_a_connection_that_is_lost_already_is_broken_by_its_own_error(error: Exception | None) -> None:
    former = former_stream(b"one", is_closing=True, error=error)
    with pytest.raises(anyio.BrokenResourceError) as caught:
        _always_read(former)
    assert caught.value.__cause__ is error
    assert former._transport.protocol is None


def test_a_stream_that_is_not_known_is_left_as_it_is() -> None:
    transport = FormerTransport(is_closing=True)
    known_in_part: list[Any] = [
        SimpleNamespace(),
        SimpleNamespace(_transport=transport),
        SimpleNamespace(_transport=transport, _protocol=SimpleNamespace()),
        SimpleNamespace(_transport=object(), _protocol=former_stream()._protocol),
    ]
    for stream in known_in_part:
        assert _always_read(stream) is stream
    assert transport.protocol is None


async def test_what_came_before_the_stream_did_comes_first(anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("the stream is asyncio's")
    former = former_stream(b"one", b"two")
    stream: Any = _always_read(former)
    assert former._transport.protocol is stream
    assert former._transport.is_reading
    assert not stream.is_quiet
    stream.data_received(b"three")
    assert [await stream.receive() for _ in range(3)] == [b"one", b"two", b"three"]
    assert stream.is_quiet
    assert isinstance(_always_read(former_stream()), AsyncioStream)


async def test_an_end_that_came_before_the_stream_did_is_its_end(anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("the stream is asyncio's")
    stream: Any = _always_read(former_stream(b"one", is_at_eof=True))
    assert await stream.receive() == b"one"
    assert not stream.is_quiet
    for _ in range(2):
        assert isinstance(await raised_by(stream.receive()), anyio.EndOfStream)


async def test_the_stream_has_one_reader() -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream):
                await stream.receive()

    async with connected(handle) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(stream.receive)
        await turns(5)
        assert isinstance(await raised_by(stream.receive()), anyio.BusyResourceError)
        tasks.cancel_scope.cancel()


async def test_the_stream_says_that_no_more_will_come_and_still_hears() -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            received = b"".join([piece async for piece in stream])
            await stream.send(received * 2)

    async with connected(handle) as stream:
        await stream.send(b"x")
        await stream.send_eof()
        assert b"".join([piece async for piece in stream]) == b"xx"


async def test_a_stream_that_is_closed_sends_nothing() -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.send(b"x" * 200_000)

    async with connected(handle) as stream:
        await stream.receive(1)
        await turns(5)
        await stream.aclose()
        await turns(5)
        with suppress(anyio.ClosedResourceError):
            while True:
                await stream.receive()  # what it has already, if anything
        assert isinstance(await raised_by(stream.send(b"x")), anyio.ClosedResourceError)


# --- left at any moment -----------------------------------------------------------------------------------


class Strike:
    """What is cancelled after so many turns of the event loop, more each time, until that is too late."""

    def __init__(self, step: int, strike: Callable[..., Awaitable[None]]) -> None:
        self.step, self.strike = step, strike

    async def sweep(self, call: Callable[[], Awaitable[None]], after: Callable[[], Awaitable[None]]) -> int:
        """Strike at each moment, and say at how many."""
        is_over, moments = False, 0

        async def called() -> None:
            nonlocal is_over
            await call()
            is_over = True

        while not is_over:
            await self.strike(called, moments * self.step)
            await after()
            moments += 1
            assert moments < 3000
        return moments


async def by_scope(call: Callable[[], Awaitable[None]], moment: int) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await turns(moment)
        tasks.cancel_scope.cancel()


async def natively(call: Callable[[], Awaitable[None]], moment: int) -> None:
    task = asyncio.ensure_future(call())
    await turns(moment)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture(
    params=[
        pytest.param((step, strike), id=f"{strike.__name__}-{name}", marks=marks)
        for strike in (by_scope, natively)
        for step, name, marks in ((2, "some", []), (1, "all", [pytest.mark.slow]))
    ]
)
def strike(request: pytest.FixtureRequest, anyio_backend_name: str) -> Strike:
    step, strike = request.param
    if strike is natively and anyio_backend_name != "asyncio":
        pytest.skip("a native task.cancel() is asyncio's")
    return Strike(step, strike)


@asynccontextmanager
async def nothing_left(backend: str) -> AsyncIterator[None]:
    before = living_tasks(backend)
    yield
    gc.collect()
    while living_tasks(backend) > before:
        await checkpoint()


async def lively(connection: Connection) -> None:
    """Answer in some pieces, with turns between them."""
    await event_stream(connection, "one")
    for _ in range(3):
        await turns(2)
        await connection.send("two")


async def posted(client: Any, url: str) -> None:
    """Send and read in pieces."""
    async with client.stream("POST", url, content=Pieces(b"one", b"two")) as response:
        async for _ in body_of(response):
            pass


async def left(client: Any, url: str) -> None:
    """Leave after the first piece."""
    async with client.stream("GET", url) as response:
        await anext(body_of(response))


@pytest.mark.parametrize("call", [posted, left])
@pytest.mark.parametrize("reuses", [False, True])
async def test_an_exchange_that_is_cancelled_at_any_moment(
    strike: Strike, anyio_backend_name: str, call: Callable[..., Awaitable[None]], reuses: bool
) -> None:
    async with nothing_left(anyio_backend_name), serve(then=lively) as server:
        async with client_of(max_keepalive_connections=int(reuses)) as client:

            async def after() -> None:
                await server.until(lambda: server.open_connections <= idle_in(client))
                if reuses:
                    await posted(client, server.url)
                    assert idle_in(client) == 1

            assert await strike.sweep(partial(call, client, server.url), after) > 2
            assert idle_in(client) <= 1
        await server.all_closed()


async def test_an_exchange_over_tls_that_is_cancelled_at_any_moment(
    strike: Strike, anyio_backend_name: str
) -> None:
    async with nothing_left(anyio_backend_name), tls_server() as server:
        context = server.trusting()

        async def once() -> None:
            async with client_of(verify=context) as client:
                assert (await client.get(server.url)).text == "fine"

        async def after() -> None:
            while server.open:
                await checkpoint()

        assert await strike.sweep(once, after) > 3


async def test_closing_that_is_cancelled_at_any_moment(strike: Strike, anyio_backend_name: str) -> None:
    async with nothing_left(anyio_backend_name), serve(then=fine) as server:

        async def once() -> None:
            transport = anysse.StreamingTransport()
            client = httpx.AsyncClient(transport=transport, timeout=None)
            clients.append(client)
            async with client.stream("GET", server.url) as one, client.stream("GET", server.url) as other:
                await read(one)
                await read(other)
            await client.aclose()

        async def after() -> None:
            while clients:
                await clients.pop()._transport.aclose()
            await server.all_closed()

        clients: list[Any] = []
        assert await strike.sweep(once, after) > 3


async def test_a_body_that_is_cancelled_as_nobody_takes_it(strike: Strike, anyio_backend_name: str) -> None:
    with deaf_server() as port:
        async with nothing_left(anyio_backend_name), client_of() as client:
            for moment in range(0, 40, 4):
                content = Pieces(*[bytes(MEGABYTES // 8)] * 8)
                call = partial(client.post, f"http://127.0.0.1:{port}", content=content)
                await strike.strike(call, moment)
            assert idle_in(client) == 0


# --- streams over it --------------------------------------------------------------------------------------

DONE: Final = ["data: x\n\n", "data: [DONE]\n\n"]


async def chat(client: Any, url: str) -> list[str]:
    async with anysse.open_stream(url, client=client, done="[DONE]") as events:
        return [event.data async for event in events]


async def test_a_done_mark_leaves_the_connection_for_the_next_turn(library: ModuleType) -> None:
    async def late(connection: Connection) -> None:
        await event_stream(connection, *DONE)
        await turns(5)
        await connection.send(": the rest\n" * 100)

    async with serve(then=late) as server, client_of(library) as client:
        for _ in range(3):
            assert await chat(client, server.url) == ["x"]
            assert idle_in(client) == 1
        assert len(server.connections) == 1


async def test_the_next_turn_pays_no_new_handshake() -> None:
    async def handle(stream: TLSStream) -> None:
        while await head_of(stream):
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
            await stream.send(
                b"Transfer-Encoding: chunked\r\n\r\n1b\r\n" + "".join(DONE).encode() + b"\n\n\n\n"
            )
            await stream.send(b"\r\n0\r\n\r\n")

    async with tls_server(handle) as server, client_of(verify=server.trusting()) as client:
        for _ in range(3):
            assert await chat(client, server.url) == ["x"]
        assert server.connections == 1


async def much(connection: Connection) -> None:
    await event_stream(connection, *DONE)
    with suppress(OSError, anyio.ClosedResourceError):
        for _ in range(100):
            await connection.send(":" * 10_000)
            await checkpoint()
        await connection.hang()


async def never(connection: Connection) -> None:
    await event_stream(connection, *DONE)
    await connection.hang()


@pytest.mark.parametrize("script", [much, never])
async def test_a_rest_that_is_too_large_or_too_late_closes_it(script: Script) -> None:
    async with serve(then=script) as server, client_of() as client:
        before = anyio.current_time()
        assert await chat(client, server.url) == ["x"]
        assert anyio.current_time() - before < 5
        await server.all_closed()
        assert idle_in(client) == 0


class Wrapping:
    """A transport around ours, of either library, that lets one in at a time and changes what is read."""

    def __init__(self, library: ModuleType, change: Callable[[bytes], bytes]) -> None:
        turn = anyio.Semaphore(1)
        inner = anysse.StreamingTransport()
        read, closed = self.read, self.closed = list[bytes](), list[bool]()

        class Body(library.AsyncByteStream):  # type: ignore[misc, name-defined]
            def __init__(self, body: Any) -> None:
                self._body, self._pieces = body, aiter(body)

            def __aiter__(self) -> "Body":
                return self

            async def __anext__(self) -> bytes:
                piece = await anext(self._pieces)
                read.append(piece)
                return change(piece)

            async def aclose(self) -> None:
                closed.append(True)
                turn.release()
                await self._body.aclose()

        class Transport(library.AsyncBaseTransport):  # type: ignore[misc, name-defined]
            async def handle_async_request(self, request: Any) -> Any:
                await turn.acquire()
                response = await inner.handle_async_request(request)
                response.stream = Body(response.stream)
                return response

            async def aclose(self) -> None:
                await inner.aclose()

        self.client = library.AsyncClient(transport=Transport(), timeout=None)


@pytest.mark.parametrize("changed", ["x", "y"])
async def test_a_transport_around_it_has_each_body_read_and_closed(library: ModuleType, changed: str) -> None:
    async def script(connection: Connection) -> None:
        await event_stream(connection, *DONE)

    wrapping = Wrapping(library, lambda piece: piece.replace(b"data: x", f"data: {changed}".encode()))
    async with serve(then=script) as server, wrapping.client as client:
        for count in (1, 2, 3):
            assert await chat(client, server.url) == [changed]
            assert b"".join(wrapping.read) == "".join(DONE).encode() * count
            assert len(wrapping.closed) == count


# --- one event loop after another -------------------------------------------------------------------------


def answering_each(sock: socket.socket) -> None:
    while b"\r\n\r\n" in sock.recv(10_000):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")


@pytest.mark.parametrize("expiry", [None, SHORT])
def test_a_client_works_in_one_event_loop_after_another(
    library: ModuleType,
    anyio_backend: tuple[str, dict[str, Any]],
    expiry: float | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "asyncio")  # its records would keep what is to be collected

    def run(*ports: int, closes: bool = False) -> list[str]:
        async def main() -> list[str]:
            with anyio.fail_after(DEADLINE):
                answers = [(await client.get(f"http://127.0.0.1:{port}")).text for port in ports]
                kept.append(idle_in(client))
                if closes:
                    await client.aclose()
            return answers

        backend, options = anyio_backend
        return anyio.run(main, backend=backend, backend_options=options)

    kept: list[int] = []
    client = client_of(library, keepalive_expiry=expiry)
    with blocking_server(answering_each) as one, blocking_server(answering_each) as other:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # what a loop leaves open, nobody can close
            for ports in ((one,), (other,), (one, one), (one, other)):
                assert run(*ports) == ["fine"] * len(ports)
                time.sleep(2 * SHORT)  # noqa: ASYNC251 - no loop turns
            assert run(other, closes=True) == ["fine"]
            gc.collect()
    # Where they expire so soon, the first may have before the second was done with.
    assert kept == [1, 1, 1, 2, 1] or (expiry == SHORT and kept == [1, 1, 1, 1, 1])
    assert idle_in(client) == 0


# --- what is left in memory -------------------------------------------------------------------------------


async def ended(transport: anysse.StreamingTransport, url: str) -> None:
    response = await transport.handle_async_request(request_for(f"{url}/ended"))
    async for _ in response.stream:
        pass
    await response.stream.aclose()


async def abandoned(transport: anysse.StreamingTransport, url: str) -> None:
    response = await transport.handle_async_request(request_for(f"{url}/halting"))
    await anext(aiter(response.stream))
    await response.stream.aclose()


async def failed(transport: anysse.StreamingTransport, url: str) -> None:
    with suppress(httpx.TransportError):
        await transport.handle_async_request(request_for(f"{url}/closing"))


async def failed_later(transport: anysse.StreamingTransport, url: str) -> None:
    response = await transport.handle_async_request(request_for(f"{url}/cut"))
    with suppress(httpx.TransportError):
        async for _ in response.stream:
            pass


async def cancelled(transport: anysse.StreamingTransport, url: str) -> None:
    response = await transport.handle_async_request(request_for(f"{url}/halting"))
    with anyio.CancelScope() as scope:
        await anext(aiter(response.stream))
        scope.cancel()
        await anext(aiter(response.stream))


def request_for(url: str) -> httpx.Request:
    """Give a request; what a client adds to a response refers to it, and that to the client's."""
    return httpx.Request("GET", url)


async def cut(connection: Connection) -> None:
    await event_stream(connection, "one")
    await connection.drop()


def ours() -> Counter[str]:
    """Count objects of our classes."""
    kinds = (type(each) for each in gc.get_objects())
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("anysse."))


def forget(server: Server) -> None:
    """Let go of what the server keeps of clients: it is of our classes, too."""
    server.requests.clear()
    server.connections.clear()


@pytest.mark.parametrize("call", [ended, abandoned, failed, failed_later, cancelled])
async def test_nothing_is_left_to_the_garbage_collector(
    call: Callable[..., Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asyncio")  # its records would keep what is to be let go of
    routes = {"/ended": lively, "/halting": halting, "/closing": closing, "/cut": cut}
    async with serve(routes=routes) as server, anysse.StreamingTransport() as transport:
        await call(transport, server.url)
        forget(server)
        gc.collect()
        gc.disable()
        try:
            before = ours()
            for _ in range(50):
                await call(transport, server.url)
            await turns(3)
            forget(server)
            after = ours()
        finally:
            gc.enable()
        assert after - before == Counter()


# --- the log ----------------------------------------------------------------------------------------------


async def test_the_log_says_what_becomes_of_connections(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="anysse")
    async with serve(fine, halting, fine) as server, client_of() as client:
        await client.get(server.url, headers={"X-Api-Key": "s3cret"})
        async with client.stream("GET", server.url + "/?key=s3cret") as response:
            await anext(body_of(response))
        await client.get(server.url)
    there = f"127.0.0.1:{server.port}"
    assert [record.getMessage() for record in caplog.records if record.name == "anysse"] == [
        f"opened a connection to {there}",
        f"keeping the connection to {there}",
        f"reusing the connection to {there}",
        f"closed the connection to {there}",
        f"opened a connection to {there}",
        f"keeping the connection to {there}",
        f"closed the connection to {there}",
    ]
