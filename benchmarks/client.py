"""What one message costs through `StreamClient`, as ratios to httpx2's `client.sse()` and `open_stream`.

The stream and its server are those of `benchmarks/stream.py`: 20,001 events in the shape of a chat's,
each its own HTTP chunk, the last one `[DONE]`. CPU time is that of the client's process alone; the readers
alternate in it, and the figures are the best of several turns. All run over httpx2. The first rows hand out
text, the others JSON, parsed. Run `python -m benchmarks.client [turns]`: seven take about a minute.
"""

# ruff: noqa: INP001, T201 - a script, which prints

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx2

import anysse
from anysse import decoders
from benchmarks._bulk import BACKENDS, DONE, serve
from benchmarks._run import pin, server
from benchmarks._turns import Reader, best_of, by_anysse_until_done, versions_of


async def httpx2_text(client: Any, url: str) -> int:
    """Read text with httpx2's own."""
    count = 1
    async with client.sse(url) as events:
        async for event in events:
            if event.data == DONE:
                break
            count += 1
    return count


async def httpx2_json(client: Any, url: str) -> int:
    """Read with httpx2's own, and parse what is JSON."""
    count = 1
    async with client.sse(url) as events:
        async for event in events:
            if event.data == DONE:
                break
            json.loads(event.data)
            count += 1
    return count


async def open_stream_json(client: Any, url: str) -> int:
    """Read JSON from a stream."""
    count = 1
    async with anysse.open_stream(url, client=client, done=DONE, decode=decoders.json_or_text) as messages:
        async for _ in messages:
            count += 1
    return count


async def read_stream(http: Any, url: str, decode: Any) -> int:
    """Read from the stream of a client."""
    count = 1
    client = anysse.StreamClient(url, client=http, method="GET", decode=decode)
    async with client, client.stream() as messages:
        async for _ in messages:
            count += 1
    return count


async def call_handlers(http: Any, url: str, decode: Any) -> int:
    """Have a client call a plain function."""
    count = 1

    def on_message(*_: object) -> None:
        nonlocal count
        count += 1

    async with anysse.StreamClient(url, client=http, method="GET", decode=decode) as client:
        await client.send_request(on_message=on_message)
    return count


async def call_async_handlers(http: Any, url: str, decode: Any) -> int:
    """Have a client call an async function."""
    count = 1

    async def on_message(*_: object) -> None:
        nonlocal count
        count += 1

    async with anysse.StreamClient(url, client=http, method="GET", decode=decode) as client:
        await client.send_request(on_message=on_message)
    return count


def decoding(read: Any, decode: Any) -> Reader:
    """Give a reader that decodes so."""
    return lambda client, url: read(client, url, decode)


READERS: dict[str, list[tuple[str, Reader]]] = {
    # The first is what the others are compared with, and then the second.
    "text": [
        ("httpx2.sse", httpx2_text),
        ("open_stream", by_anysse_until_done),
        ("client.stream", decoding(read_stream, decoders.text)),
        ("on_message", decoding(call_handlers, decoders.text)),
        ("async on_message", decoding(call_async_handlers, decoders.text)),
    ],
    "JSON": [
        ("httpx2.sse", httpx2_json),
        ("open_stream", open_stream_json),
        ("client.stream", decoding(read_stream, None)),
        ("on_message", decoding(call_handlers, None)),
        ("async on_message", decoding(call_async_handlers, None)),
    ],
}


def rows(url: str, turns: int) -> Iterator[tuple[str, ...]]:
    """Measure everything, and give the table line by line."""
    for backend in BACKENDS:
        for kind, readers in READERS.items():
            best = best_of(turns, readers, httpx2, backend, url)
            for (reader, _), cost in zip(readers, best, strict=True):
                ratios = (f"{cost.cpu / other.cpu:.2f}" for other in best[:2])
                yield (backend, kind, reader, f"{cost.cpu:.2f}", f"{cost.wall:.2f}", *ratios)


def main() -> None:
    """Print the table."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    versions = versions_of("anysse", "anyio", "httpcore2", "httpx2", "trio", "uvloop")
    print(f"{versions}; best of {turns}, microseconds a message; ratios of CPU time")
    layout = "{:<8} {:<5} {:<17} {:>7} {:>7} {:>12} {:>13}".format
    print(layout("on", "gives", "reader", "CPU", "wall", "x httpx2.sse", "x open_stream"))
    with server(serve) as port:
        pin(0)
        for row in rows(f"http://127.0.0.1:{port}/", turns):
            print(layout(*row), flush=True)


if __name__ == "__main__":
    main()
