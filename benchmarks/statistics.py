"""What `statistics()` costs while nobody asks for it: a stream as it is, against one that counts nothing.

The stream and its server are those of `benchmarks/stream.py`: 20,001 events, each its own HTTP chunk, and so,
over httpx2, a read of its own, which is the dearest case: what is counted is counted once a read. CPU time is
the client's process alone, the two alternate in it, the figures are the best of several turns. To count
nothing, the lines that count are taken out of the source of the two functions that have them; where among the
events a fact is, which handlers need, stays. Run
`python -m benchmarks.statistics [turns]`: fifteen take about a minute.
"""

# ruff: noqa: INP001, S102, SLF001, T201 - a script, which prints, and knows the insides that it measures

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

import httpx2

import anysse._client
import anysse._dispatch
import anysse._reader
import anysse._stream
from anysse import decoders
from benchmarks._bulk import BACKENDS, serve
from benchmarks._run import pin, server
from benchmarks._turns import Reader, best_of, by_anysse_until_done, versions_of
from benchmarks.client import call_handlers, decoding


def without(function: Callable[..., Any], *lines: tuple[str, str]) -> Any:
    """Give a function with other lines in the place of some."""
    source = textwrap.dedent(inspect.getsource(function))
    for line, other in lines:
        if source.count(line) != 1:
            raise RuntimeError(f"{function.__qualname__} has changed: say what counts in it now")
        source = source.replace(line, other)
    namespace = dict(sys.modules[function.__module__].__dict__)
    exec(source, namespace)
    return namespace[function.__name__]


class Uncounted(anysse._reader.Reader):
    """A reader that counts nothing but where it is."""

    _take = without(
        anysse._reader.Reader._take,
        ("counters.bytes_received += len(chunk)\n", "\n"),
        ("counters.last_byte_at = now\n", "\n"),
        ("began = self._stopwatch()\n", "\n"),
        ("counters.parser_time += self._stopwatch() - began\n", "\n"),
        ("counters.had_events(len(events), now)\n", "counters.events_received += len(events)\n"),
    )


class Unmeasured(anysse._dispatch.Dispatch[Any]):
    """Handlers whose time nobody takes."""

    _call = without(
        anysse._dispatch.Dispatch._call,
        ("began, self.is_handling = self._stopwatch(), True\n", "self.is_handling = True\n"),
        ("self.handler_time += self._stopwatch() - began\n", "\n"),
    )


def nothing_counted() -> AbstractContextManager[Any]:
    """Have what is made in here count nothing."""
    return mock.patch.multiple(anysse._stream, Reader=Uncounted)


def nothing_measured() -> AbstractContextManager[Any]:
    """Have handlers of clients that are made in here take no time."""
    return mock.patch.multiple(anysse._client, Dispatch=Unmeasured)


def within(read: Reader, *contexts: Callable[[], AbstractContextManager[Any]]) -> Reader:
    """Give a reader that reads so."""

    async def reader(client: Any, url: str) -> int:
        one, other = (*contexts, nullcontext, nullcontext)[:2]
        with one(), other():
            return await read(client, url)

    return reader


STREAM, HANDLERS = by_anysse_until_done, decoding(call_handlers, decoders.text)
READERS: dict[str, list[tuple[str, Reader]]] = {
    # The first is what the other is compared with.
    "open_stream": [
        ("without", within(STREAM, nothing_counted)),
        ("as it is", within(STREAM)),
    ],
    "on_message": [
        ("without", within(HANDLERS, nothing_counted, nothing_measured)),
        ("as it is", within(HANDLERS)),
    ],
}


def rows(url: str, turns: int) -> Iterator[tuple[str, ...]]:
    """Measure everything, and give the table line by line."""
    for backend in BACKENDS:
        for name, readers in READERS.items():
            best = best_of(turns, readers, httpx2, backend, url)
            for (reader, _), cost in zip(readers, best, strict=True):
                more = (cost.cpu - best[0].cpu) * 1000
                yield (
                    backend,
                    name,
                    reader,
                    f"{cost.cpu:.2f}",
                    f"{more:.0f}",
                    f"{cost.cpu / best[0].cpu:.3f}",
                )


def main() -> None:
    """Print the table."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    versions = versions_of("anysse", "anyio", "httpcore2", "httpx2", "trio", "uvloop")
    print(f"{versions}; best of {turns}, CPU time of a read, which is an event")
    layout = "{:<8} {:<12} {:<9} {:>12} {:>8} {:>6}".format
    print(layout("on", "through", "counted", "microseconds", "more, ns", "x"))
    with server(serve) as port:
        pin(0)
        for row in rows(f"http://127.0.0.1:{port}/", turns):
            print(layout(*row), flush=True)


if __name__ == "__main__":
    main()
