"""How many events a second the parser takes, as a ratio to httpx-sse and httpx2 fed the same bytes.

Each figure is the best of several turns, in which the parsers alternate; events are counted and dropped. The
peers' pipelines are what their `aiter_sse` and `__aiter__` do with the bytes of a response: an incremental
UTF-8 decoder (as httpx's `TextDecoder`), then lines, then events. Run `python -m benchmarks.parse [turns]`.
"""

# ruff: noqa: INP001, T201 - a script, which prints

import codecs
import json
import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from time import perf_counter
from typing import TypeAlias

from anysse._parser import EventStreamParser

Count: TypeAlias = Callable[[list[bytes]], int]

TOTAL = 2_000_000
"""About how many bytes a corpus has."""


def anysse(chunks: list[bytes]) -> int:
    """Count the events with our parser."""
    feed = EventStreamParser().feed
    return sum(len(feed(chunk)) for chunk in chunks)


def httpx_sse(chunks: list[bytes]) -> int:
    """Count the events with httpx-sse."""
    from httpx_sse._decoders import SSEDecoder, SSELineDecoder

    text, lines, decoder = codecs.getincrementaldecoder("utf-8")("replace"), SSELineDecoder(), SSEDecoder()
    count = 0
    for chunk in chunks:
        for line in lines.decode(text.decode(chunk)):
            if decoder.decode(line.rstrip("\n")) is not None:
                count += 1
    return count


def httpx2(chunks: list[bytes]) -> int:
    """Count the events with httpx2."""
    from httpx2._sse import _SSEParser

    text, parser = codecs.getincrementaldecoder("utf-8")("replace"), _SSEParser()
    return sum(1 for chunk in chunks for _ in parser.decode(text.decode(chunk)))


def chat(i: int) -> bytes:
    """Give an event in the shape of an OpenAI chat completion chunk."""
    choice = {"index": 0, "delta": {"content": f" token{i % 97}"}, "finish_reason": None}
    chunk = {
        "id": "chatcmpl-AbC123",
        "object": "chat.completion.chunk",
        "created": 1730000000,
        "choices": [choice],
    }
    return b"data: %s\n\n" % json.dumps(chunk, separators=(",", ":")).encode()


CORPORA: dict[str, Callable[[int], bytes]] = {
    "chat": chat,
    "tiny": lambda i: b"data: %d\n\n" % i,
    "non-ASCII": lambda i: f'data: {{"delta":"日本語 ünï {i} 😀"}}\n\n'.encode(),
    "anthropic": lambda i: b"event: content_block_delta\n" + chat(i),
    "long, with id": lambda i: b"id: %d\ndata: %s\n\n" % (i, b'{"key": "value"},' * 82),
    "multi-line": lambda i: b"event: log\nid: %d\n%s\n" % (i, b"data: one line of a longer text\n" * 8),
    "chat, CRLF": lambda i: chat(i).replace(b"\n", b"\r\n"),
    "chat, CR": lambda i: chat(i).replace(b"\n", b"\r"),
}


def events_of(make: Callable[[int], bytes]) -> list[bytes]:
    """Give a corpus, event by event."""
    return [make(i) for i in range(TOTAL // len(make(0)))]


def pieces(stream: bytes, size: int) -> list[bytes]:
    """Cut a stream into reads."""
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def measure(counters: list[Count], chunks: list[bytes], turns: int) -> list[float]:
    """Give the best seconds of each."""
    best = [float("inf")] * len(counters)
    for _ in range(turns):
        for i, count in enumerate(counters):
            begun = perf_counter()
            count(chunks)
            best[i] = min(best[i], perf_counter() - begun)
    return best


def rows(turns: int) -> Iterator[tuple[str, ...]]:
    """Measure every corpus in every size of reads, and give the table line by line."""
    for name, make in CORPORA.items():
        events = events_of(make)
        stream = b"".join(events)
        cuts = {"64 KiB": pieces(stream, 65536), "4 KiB": pieces(stream, 4096), "200 B": pieces(stream, 200)}
        for size, chunks in {**cuts, "an event": events}.items():
            ours, theirs, others = measure([anysse, httpx_sse, httpx2], chunks, turns)
            rate = f"{len(events) / ours / 1e6:.2f}"
            yield name, size, rate, f"{theirs / ours:.2f}", f"{others / ours:.2f}"


def main() -> None:
    """Print the table."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    versions = ", ".join(f"{name} {version(name)}" for name in ("httpx-sse", "httpx2"))
    print(f"Python {platform.python_version()}, {versions}; best of {turns}")
    layout = "{:<14} {:>9} {:>12} {:>12} {:>10}".format
    print(layout("corpus", "reads", "M events/s", "x httpx-sse", "x httpx2"))
    for row in rows(turns):
        print(layout(*row))
    large = pieces(b"data: " + b"x" * (8 << 20) + b"\n\n", 1024)
    print(f"one event of 8 MiB in reads of 1 KiB: {measure([anysse], large, turns)[0] * 1000:.0f} ms")


if __name__ == "__main__":
    main()
