"""What one event costs, from a server to `async for`, as a ratio to what httpx2 and httpx-sse take for it.

One stream of 20,001 events from loopback, in the shape of a chat completion, each its own HTTP chunk, the
last one `[DONE]`. The server is another process, on another core where there are two. A reader gets a
client that is open, and counts; the readers alternate, and the figures are the best of several turns. CPU
time is the client's process alone. `bare` is what the HTTP library takes to give the bytes, with nothing
parsed: nobody can be below it. The bar: over httpx2 no more than httpx2's own `client.sse()`.
Run `python -m benchmarks.stream [turns]`.
"""

# ruff: noqa: INP001, T201 - a script, which prints

import gc
import multiprocessing
import os
import platform
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from multiprocessing.connection import Connection
from time import perf_counter, process_time
from typing import Any, NamedTuple, TypeAlias

import anyio
import httpx
import httpx2
import httpx_sse

import anysse

EVENTS = 20_001
BAR = 1.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = (
    b'data: {"id":"chatcmpl-AbC123","object":"chat.completion.chunk","created":1730000000,"model":"gpt",'
    b'"choices":[{"index":0,"delta":{"content":" token%d"},"finish_reason":null}]}\n\n'
)

Reader: TypeAlias = Callable[[Any, str], Awaitable[int]]


class Cost(NamedTuple):
    """Microseconds of one event."""

    cpu: float
    wall: float


# --- the server ---


def body() -> bytes:
    """Give a whole chunked body."""
    events = [CHUNK % number for number in range(EVENTS - 1)] + [b"data: [DONE]\n\n"]
    return b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


def answer(peer: socket.socket, response: bytes) -> None:
    """Answer request after request."""
    with peer, suppress(OSError):
        while request := peer.recv(65536):
            while not request.endswith(b"\r\n\r\n"):
                request += peer.recv(65536)
            peer.sendall(response)


def serve(tell_port: Connection) -> None:
    """Serve until the process is ended."""
    pin(1)
    response = HEAD + body()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tell_port.send(listener.getsockname()[1])
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=answer, args=(peer, response), daemon=True).start()


def pin(place: int) -> None:
    """Stay on one core, if there are two and the system lets us."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[place]})


@contextmanager
def server() -> Iterator[str]:
    """Run the server in a process of its own, and give its URL."""
    context = multiprocessing.get_context("spawn")
    port, tell_port = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(tell_port,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port.recv()}/"
    finally:
        process.terminate()
        process.join()


# --- the readers ---


async def by_anysse(client: Any, url: str) -> int:
    """Read with anysse, as a reply."""
    count = 0
    async with anysse.open_stream(url, client=client, kind="reply") as events:
        async for _ in events:
            count += 1
    return count


async def by_anysse_until_done(client: Any, url: str) -> int:
    """Read with anysse to what says that it is done, which is not handed out."""
    count = 1
    async with anysse.open_stream(url, client=client, done="[DONE]") as events:
        async for _ in events:
            count += 1
    return count


async def by_httpx2(client: httpx2.AsyncClient, url: str) -> int:
    """Read with httpx2's own."""
    count = 0
    async with client.sse(url) as events:
        async for _ in events:
            count += 1
    return count


async def by_httpx_sse(client: httpx.AsyncClient, url: str) -> int:
    """Read with httpx-sse."""
    count = 0
    async with httpx_sse.aconnect_sse(client, "GET", url) as source:
        async for _ in source.aiter_sse():
            count += 1
    return count


async def bare(client: Any, url: str) -> int:
    """Take the bytes, one chunk an event, and parse nothing."""
    count = 0
    async with client.stream("GET", url) as response:
        async for _ in response.aiter_raw():
            count += 1
    return EVENTS if count else 0  # the last chunks may come together


READERS: dict[str, list[tuple[str, Reader]]] = {
    # The first is what the others are compared with.
    "httpx2": [
        ("httpx2.sse", by_httpx2),
        ("anysse", by_anysse),
        ("anysse, done=", by_anysse_until_done),
        ("bare", bare),
    ],
    "httpx": [
        ("httpx-sse", by_httpx_sse),
        ("anysse", by_anysse),
        ("anysse, done=", by_anysse_until_done),
        ("bare", bare),
    ],
}
LIBRARIES = {"httpx": httpx, "httpx2": httpx2}
BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


async def one_turn(readers: list[tuple[str, Reader]], library: Any, url: str) -> list[Cost]:
    """Measure each reader once."""
    costs = []
    async with library.AsyncClient(timeout=None) as client:
        for _, read in readers:
            gc.collect()
            cpu, wall = process_time(), perf_counter()
            count = await read(client, url)
            cpu, wall = process_time() - cpu, perf_counter() - wall
            if count != EVENTS:
                raise RuntimeError(f"{count} events instead of {EVENTS}")
            costs.append(Cost(cpu / EVENTS * 1e6, wall / EVENTS * 1e6))
    return costs


def best_of(
    turns: int, readers: list[tuple[str, Reader]], library: Any, backend_name: str, url: str
) -> list[Cost]:
    """Give the least that each reader cost."""
    backend, options = BACKENDS[backend_name]
    # A loop of its own for each turn; the first one warms up.
    measured = [
        anyio.run(one_turn, readers, library, url, backend=backend, backend_options=options)
        for _ in range(turns + 1)
    ][1:]
    return [Cost(*map(min, zip(*costs, strict=True))) for costs in zip(*measured, strict=True)]


def versions_of(*names: str) -> str:
    """Say what was measured."""
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)


def rows(url: str, turns: int) -> Iterator[tuple[str, ...]]:
    """Measure everything, and give the table line by line."""
    for library, readers in READERS.items():
        for name in BACKENDS:
            best = best_of(turns, readers, LIBRARIES[library], name, url)
            for (reader, _), cost in zip(readers, best, strict=True):
                is_bar = library == "httpx2" and reader == "anysse"
                yield (
                    library,
                    name,
                    reader,
                    f"{cost.cpu:.2f}",
                    f"{cost.wall:.2f}",
                    f"{cost.cpu / best[0].cpu:.2f}",
                    f"{cost.wall / best[0].wall:.2f}",
                    f"(bar: {BAR})" if is_bar else "",
                )


def main() -> None:
    """Print the table."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    names = ("anysse", "anyio", "httpcore", "httpcore2", "httpx", "httpx-sse", "httpx2", "trio", "uvloop")
    print(f"{versions_of(*names)}; best of {turns}, microseconds an event")
    layout = "{:<7} {:<8} {:<14} {:>7} {:>7} {:>8} {:>8} {}".format
    print(layout("over", "on", "reader", "CPU", "wall", "x CPU", "x wall", "").rstrip())
    with server() as url:
        pin(0)
        for row in rows(url, turns):
            print(layout(*row).rstrip(), flush=True)


if __name__ == "__main__":
    main()
