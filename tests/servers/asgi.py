"""Servers of other makes, one application behind each: uvicorn with both of its parsers, hypercorn, granian.

A process of its own: `asgi.py CERTIFICATE KEY` prints a line of JSON once connections are taken, and ends at
SIGTERM. The line has the ports of each server that is installed, `{"uvicorn-h11": {"http": 1, "https": 2,
"short": 3}}`. "short" keeps an idle connection for a moment only; it is missing where one that has just been
opened would be closed as soon. `exchanges.mjs` answers the same, in Node; `tests/test_transport_servers.py`
talks to both. It knows nothing of anysse.
"""

# ruff: noqa: INP001, T201 - a program, which prints

import asyncio
import json
import logging
import signal
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

SHORT = 0.05
"""Seconds for which an idle connection is kept where that is short."""
LAST = 20
EACH = 10
"""How many numbers of the feed come over one connection."""
TEXT = b"text/plain"
EVENTS = b"text/event-stream"


class Exchange:
    """One request, and its answer."""

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.method = scope["method"]
        self.headers = {bytes(name): bytes(value) for name, value in scope["headers"]}
        self.query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        self._port = scope["client"][1]
        self._receive = receive
        self._send = send

    async def body(self) -> list[bytes]:
        """Take what the client sends, to the end."""
        pieces = []
        while True:
            message = await self._receive()
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                return pieces

    async def until_gone(self) -> None:
        """Wait until the client leaves."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, status: int = 200, **headers: bytes) -> None:
        """Send the head; the client's port with it tells one connection from another."""
        items = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
        items.append((b"x-port", str(self._port).encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": items})

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def answer(self, data: bytes, status: int = 200, **headers: bytes) -> None:
        """Send all of an answer."""
        await self.begin(status, content_type=TEXT, content_length=str(len(data)).encode(), **headers)
        await self.end(data)


class Application:
    """What all of the servers answer."""

    def __init__(self) -> None:
        self._rooms: dict[str, set[asyncio.Queue[bytes | None]]] = defaultdict(set)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Be an application of ASGI."""
        if scope["type"] == "lifespan":
            for name in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{name}.complete"})
            return
        exchange = Exchange(scope, receive, send)
        route = getattr(self, "on_" + scope["path"].strip("/").replace("-", "_"), self.nothing)
        await route(exchange)

    async def nothing(self, exchange: Exchange) -> None:
        """Know no such path."""
        await exchange.answer(b"nothing", 404)

    async def on_length(self, exchange: Exchange) -> None:
        """Say how long the body is."""
        await exchange.answer(b"hello")

    async def on_chunked(self, exchange: Exchange) -> None:
        """Send a body of pieces, whose length no one knows."""
        await exchange.begin(content_type=TEXT)
        for piece in (b"one ", b"two ", b"three"):
            await exchange.write(piece)
        await exchange.end()

    async def on_empty(self, exchange: Exchange) -> None:
        """Send a body of no bytes."""
        await exchange.answer(b"")

    async def on_empty_chunked(self, exchange: Exchange) -> None:
        """Send no bytes, and say so at the end of them."""
        await exchange.begin(content_type=TEXT)
        await exchange.end()

    async def on_no_content(self, exchange: Exchange) -> None:
        """Answer without a body."""
        await exchange.begin(204)
        await exchange.end()

    async def on_not_modified(self, exchange: Exchange) -> None:
        """Answer without a body, and with what is known of one."""
        await exchange.begin(304, etag=b'"a"')
        await exchange.end()

    async def on_close(self, exchange: Exchange) -> None:
        """Answer, and close the connection."""
        await exchange.answer(b"closing", connection=b"close")

    async def on_echo(self, exchange: Exchange) -> None:
        """Send back what came, and how it came."""
        pieces = await exchange.body()
        how = exchange.headers.get(b"transfer-encoding") or exchange.headers.get(b"content-length", b"none")
        media = exchange.headers.get(b"content-type", b"none")
        length = str(sum(map(len, pieces))).encode()
        await exchange.begin(
            content_length=length, x_how=how, x_type=media, x_method=exchange.method.encode()
        )
        for piece in pieces:
            await exchange.write(piece)
        await exchange.end()

    async def on_listen(self, exchange: Exchange) -> None:
        """Send an event stream: what is said in a room, when it is said."""
        room = self._rooms[exchange.query["room"]]
        said: asyncio.Queue[bytes | None] = asyncio.Queue()
        room.add(said)
        leaving = asyncio.create_task(exchange.until_gone())
        leaving.add_done_callback(lambda _: said.put_nowait(None))
        try:
            await exchange.begin(content_type=EVENTS)
            await exchange.write(b": welcome\n\n")
            while (piece := await said.get()) is not None:
                await exchange.write(piece)
            if not leaving.done():
                await exchange.end()
        finally:
            room.discard(said)
            leaving.cancel()

    async def on_say(self, exchange: Exchange) -> None:
        """Send the body to all who listen in a room; one without bytes ends their streams."""
        data = b"".join(await exchange.body())
        for said in self._rooms[exchange.query["room"]]:
            said.put_nowait(data or None)
        await exchange.answer(b"")

    async def on_listeners(self, exchange: Exchange) -> None:
        """Tell how many listen in a room."""
        await exchange.answer(str(len(self._rooms[exchange.query["room"]])).encode())

    async def on_feed(self, exchange: Exchange) -> None:
        """Send the numbers after the last event ID, some of them; 204 after the last one."""
        received = int(exchange.headers.get(b"last-event-id", b"0"))
        if received >= LAST:
            await self.on_no_content(exchange)
            return
        await exchange.begin(content_type=EVENTS)
        await exchange.write(b"retry: 10\n\n")
        for number in range(received + 1, received + EACH + 1):
            await exchange.write(f"id: {number}\ndata: {number}\n\n".encode())
        await exchange.end()

    async def on_chat(self, exchange: Exchange) -> None:
        """Say the prompt back, a word at a time."""
        prompt = json.loads(b"".join(await exchange.body()))["prompt"]
        await exchange.begin(content_type=EVENTS)
        for word in prompt.split(" "):
            await exchange.write(f"data:  {word}\n\n".encode())
        await exchange.write(b"data: [DONE]\n\n")
        await exchange.end()


# --- how each of them is run: a thread and an event loop for each port ---

Stop = threading.Event
Serve = Callable[[socket.socket, str], Callable[[Stop], Awaitable[None]]]
"""Takes a listener, and which kind of port it is."""


async def stopped(stop: Stop) -> None:
    await asyncio.to_thread(stop.wait)


def uvicorn_with(parser: str, files: tuple[str, str]) -> Serve:
    """Run uvicorn."""
    import uvicorn

    def prepared(listener: socket.socket, kind: str) -> Callable[[Stop], Awaitable[None]]:
        config = uvicorn.Config(
            Application(),
            http=parser,  # type: ignore[arg-type]
            log_level="critical",
            lifespan="off",
            timeout_keep_alive=SHORT if kind == "short" else 60,  # type: ignore[arg-type]
            timeout_graceful_shutdown=1,
            ssl_certfile=files[0] if kind == "https" else None,
            ssl_keyfile=files[1] if kind == "https" else None,
        )
        server = uvicorn.Server(config)

        async def serve(stop: Stop) -> None:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await stopped(stop)
            server.should_exit = True
            await serving

        return serve

    return prepared


def hypercorn(files: tuple[str, str]) -> Serve:
    """Run hypercorn."""
    import hypercorn.asyncio
    from hypercorn.config import Config

    def prepared(listener: socket.socket, kind: str) -> Callable[[Stop], Awaitable[None]]:
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.loglevel = "CRITICAL"
        config.keep_alive_timeout = 60
        config.graceful_timeout = 0.1
        if kind == "https":
            config.certfile, config.keyfile = files
        application: Any = Application()

        async def serve(stop: Stop) -> None:
            await hypercorn.asyncio.serve(application, config, shutdown_trigger=lambda: stopped(stop))

        return serve

    return prepared


def granian(files: tuple[str, str]) -> Serve:
    """Run granian."""
    from granian.constants import Interfaces
    from granian.server.embed import Server

    def prepared(listener: socket.socket, kind: str) -> Callable[[Stop], Awaitable[None]]:
        port = listener.getsockname()[1]

        async def serve(stop: Stop) -> None:
            server = Server(
                Application(),
                "127.0.0.1",
                port,
                interface=Interfaces.ASGINL,
                log_enabled=False,
                ssl_cert=Path(files[0]) if kind == "https" else None,
                ssl_key=Path(files[1]) if kind == "https" else None,
            )
            serving = asyncio.create_task(server.serve())
            await stopped(stop)
            server.stop()
            await serving

        return serve

    return prepared


def servers(files: tuple[str, str]) -> Iterable[tuple[str, Serve]]:
    """Give each server that is installed."""
    if find_spec("httptools"):
        yield "uvicorn-httptools", uvicorn_with("httptools", files)
    yield "uvicorn-h11", uvicorn_with("h11", files)
    if find_spec("hypercorn"):
        yield "hypercorn", hypercorn(files)
    if find_spec("granian"):
        yield "granian", granian(files)


def listen(*, is_only_bound: bool) -> socket.socket:
    """Take a free port. Granian listens by itself, to a port that it shares, and that no one else gets."""
    # asyncio switches TCP_NODELAY on for those only that say that they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if is_only_bound:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", 0))
    if not is_only_bound:
        listener.listen(128)
    return listener


def wait_for(port: int) -> None:
    """Return once connections are taken."""
    while True:
        with suppress(ConnectionRefusedError), closing(socket.create_connection(("127.0.0.1", port))):
            return


def main(*files: str) -> None:
    """Serve, on free ports."""
    logging.disable()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # threads have it so, too
    certificate, key = files
    stop = threading.Event()
    ports: dict[str, dict[str, int]] = defaultdict(dict)
    threads = []
    listeners = []
    for name, serve in servers((certificate, key)):
        kinds = ("http", "https", "short") if name.startswith("uvicorn") else ("http", "https")
        for kind in kinds:
            listener = listen(is_only_bound=name == "granian")
            listeners.append(listener)
            ports[name][kind] = listener.getsockname()[1]
            run = serve(listener, kind)
            threads.append(threading.Thread(target=lambda run=run: asyncio.run(run(stop))))  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for port in ports.get("granian", {}).values():
        wait_for(port)
    print(json.dumps(ports), flush=True)
    signal.sigwait([signal.SIGTERM])
    stop.set()
    for thread in threads:
        thread.join()
    for listener in listeners:
        listener.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
