"""What the benchmarks share that compare anysse with itself: readers in turn, in one process, by CPU time.

Differences of one percent are not seen between processes: memory lies elsewhere in each. Here the readers
alternate on one event loop, each with a client that is open, and what counts is the best of several turns.
"""

# ruff: noqa: INP001 - a part of a script

import gc
import platform
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from time import perf_counter, process_time
from typing import Any, NamedTuple, TypeAlias

import anyio

import anysse
from benchmarks._bulk import BACKENDS, DONE, EVENTS

Reader: TypeAlias = Callable[[Any, str], Awaitable[int]]


class Cost(NamedTuple):
    """Microseconds of one event."""

    cpu: float
    wall: float


async def by_anysse_until_done(client: Any, url: str) -> int:
    """Read with anysse to what says that it is done, which is not handed out."""
    count = 1
    async with anysse.open_stream(url, client=client, done=DONE) as events:
        async for _ in events:
            count += 1
    return count


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
