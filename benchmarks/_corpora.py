"""What the benchmarks parse: event streams in the shapes that servers send, each event by its number."""

# ruff: noqa: INP001 - a part of a script

import json
from collections.abc import Callable, Iterator
from pathlib import Path

TOTAL = 1 << 20
"""About how many bytes a corpus has."""

LARGE = "8 MiB events"


def chat(number: int) -> bytes:
    """Give an event in the shape of a chat completion's chunk."""
    choice = {"index": 0, "delta": {"content": f" token{number % 97}"}, "finish_reason": None}
    chunk = {
        "id": "chatcmpl-AbC123",
        "object": "chat.completion.chunk",
        "created": 1730000000,
        "choices": [choice],
    }
    return b"data: %s\n\n" % dumped(chunk)


def anthropic(number: int) -> bytes:
    """Give an event with a type and data, as a message's deltas have them."""
    delta = {"type": "text_delta", "text": f" token{number % 97}"}
    content = {"type": "content_block_delta", "index": 0, "delta": delta}
    return b"event: content_block_delta\ndata: %s\n\n" % dumped(content)


def wiki(number: int) -> bytes:
    """Give an event of 1.4 KB in the shape of an encyclopedia's recent changes, with a long ID."""
    place = [{"topic": "site.recentchange", "partition": 0, "offset": 5_000_000_000 + number}]
    change = {
        "meta": {"uri": f"/wiki/Page_{number}", "id": f"{number:032x}", "stream": "recentchange"},
        "id": 1_900_000_000 + number,
        "type": "edit",
        "namespace": 0,
        "title": f"Page {number}",
        "comment": "a sentence about what was changed, and why; " * 20,
        "user": "Somebody",
        "bot": False,
        "length": {"old": 10_000, "new": 10_000 + number % 97},
    }
    return b"event: message\nid: %s\ndata: %s\n\n" % (dumped(place), dumped(change))


def multi_line(number: int) -> bytes:
    """Give an event of eight lines of data, with a type and an ID."""
    return b"event: log\nid: %d\n%s\n" % (number, b"data: one line of a longer text\n" * 8)


def crlf(number: int) -> bytes:
    """Give a chat's event with the other line ends."""
    return chat(number).replace(b"\n", b"\r\n")


def tiny(number: int) -> bytes:
    """Give the least that an event may be."""
    return b"data: %d\n\n" % number


def non_ascii(number: int) -> bytes:
    """Give an event in several scripts."""
    return f'data: {{"delta":"日本語 ünï {number} 😀"}}\n\n'.encode()


def large(_: int) -> bytes:
    """Give an event of 8 MiB, in one line."""
    return b"data: " + b"x" * (8 << 20) + b"\n\n"


CORPORA: dict[str, Callable[[int], bytes]] = {
    "chat": chat,
    "anthropic": anthropic,
    "wiki": wiki,
    "multi-line": multi_line,
    "CRLF": crlf,
    "tiny": tiny,
    "non-ASCII": non_ascii,
    LARGE: large,
}


def dumped(value: object) -> bytes:
    """Give it as the JSON that servers send."""
    return json.dumps(value, separators=(",", ":")).encode()


def written(folder: Path) -> Iterator[tuple[str, Path, int]]:
    """Write each corpus to a file, and give its name, its path and how many events it has."""
    for number, (name, make) in enumerate(CORPORA.items()):
        path = folder / f"{number}.txt"
        count = max(TOTAL // len(make(0)), 1)
        path.write_bytes(b"".join(map(make, range(count))))
        yield name, path, count
