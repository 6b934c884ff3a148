"""What `fanout` measures, in the process of one peer: the pace, an idle stream, a lap.

The tasks are those of the backend itself, so that nobody pays for the tasks of a library. CPU time is that of
this process alone. Memory is what only this process has, as the kernel counts it. A few streams are opened,
read and closed before anything is measured.
"""

# ruff: noqa: INP001 - a script's

import asyncio
import cProfile
import ctypes
import gc
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any, NoReturn, TypeAlias

import anyio
import trio
import uvloop

from benchmarks._fanout_peers import READERS, Read, Take
from benchmarks._fanout_server import open_many_files
from benchmarks._run import Figures, tell

Job: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Start: TypeAlias = Callable[[Job], None]

LIBRARY = ctypes.CDLL(None)
"""What this process is linked to, the C library included."""
SENT = slice(8, 28)
"""Where in its data an event says when it was sent."""
WARM_UP = 20
FILLING = 1 / 3
"""The share of idle streams that are open before memory counts: they take what importing left free."""
AT_ONCE = 10
"""Idle streams that are being opened at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured.

    Args:
        what: The measurement's name.
        peer: Who is measured.
        on: The backend.
        port: The server's.
        streams: How many.
        rate: Events a second of each.
        seconds: How long to measure.
        settle: Seconds before those that count.
        events: Events of each stream in a lap.
        collector: Whether the garbage collector is on.
        profile: Where to write a profile.
    """

    what: str
    peer: str
    on: str
    port: int
    streams: int
    rate: float = 10.0
    seconds: float = 2.0
    settle: float = 0.5
    events: int = 4
    collector: bool = True
    profile: str = ""

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> "Asked":
        """Take a task, in which what the table shows is words."""
        known = {name: value for name, value in task.items() if name != "measured"}
        collector = task.get("collector", "on") == "on"
        return cls(**{**known, "streams": int(task["streams"]), "collector": collector})

    def url(self, *, streams: int, rate: float, events: int = 0, ends: bool = False) -> str:
        """Say what the server is to do, for a group of its own."""
        group = f"{os.getpid()}-{time.monotonic_ns()}"
        asked = f"group={group}&streams={streams}&rate={rate}&events={events}&ends={int(ends)}"
        return f"http://127.0.0.1:{self.port}/?{asked}"


def measure(task: Mapping[str, Any]) -> None:
    """Measure as asked, and tell."""
    asked = Asked.of(task)
    open_many_files()
    try:
        run(asked.on, lambda: measured(asked))
    except BaseExceptionGroup as group:
        raise first_of(group) from group


def first_of(error: BaseException) -> BaseException:
    """Give the error that a group is about."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def measured(asked: Asked) -> None:
    """Warm up, measure and tell."""
    await lap(replace(asked, rate=40.0), streams=WARM_UP)
    gc.collect()
    if not asked.collector:
        gc.disable()
    await MEASUREMENTS[asked.what](asked)


# --- the measurements ---


async def whole_lap(asked: Asked) -> None:
    """Say what it takes to open streams, read some events of each, and close them."""
    with profiled(asked):
        figures = await lap(asked, streams=asked.streams)
    tell(figures)


async def lap(asked: Asked, *, streams: int) -> Figures:
    """Open streams, read some events of each once all are open, and close them, or see them end."""
    ends = asked.what != "leave"
    url = asked.url(streams=streams, rate=asked.rate, events=asked.events, ends=ends)
    read_count = 0

    def take() -> Take:
        missing = asked.events

        def one(_: str | bytes) -> bool:
            nonlocal missing, read_count
            missing -= 1
            read_count += 1
            return not ends and not missing

        return one

    cpu, wall = process_time(), perf_counter()
    async with READERS[asked.peer](url, "reply" if ends else "feed") as read, tasks() as start:
        for _ in range(streams):
            start(lambda: read(ignore, take()))
    cpu, wall = process_time() - cpu, perf_counter() - wall
    if read_count != streams * asked.events:
        raise RuntimeError(f"{read_count} events instead of {streams * asked.events}")
    return {"cpu": cpu, "wall": wall, "cpu_per_stream_us": cpu / streams * 1e6}


async def paced(asked: Asked) -> None:
    """Read streams that all are open for a while, and say what an event took."""
    delays: list[int] = []
    missing, all_open = asked.streams, anyio.Event()
    now, note = time.monotonic_ns, delays.append

    def opened() -> None:
        nonlocal missing
        missing -= 1
        if not missing:
            all_open.set()

    def take(data: str | bytes) -> bool:
        note(now() - int(data[SENT]))
        return False

    url = asked.url(streams=asked.streams, rate=asked.rate)
    async with READERS[asked.peer](url, "feed") as read, tasks() as start:
        for _ in range(asked.streams):
            start(lambda: read(opened, take))
        await all_open.wait()
        await anyio.sleep(asked.settle)
        gc.collect()
        delays.clear()
        with profiled(asked):
            cpu = process_time()
            await anyio.sleep(asked.seconds)
            cpu = process_time() - cpu
        tell_and_leave({"events": len(delays), "cpu_us": cpu / len(delays) * 1e6, **delays_of(delays)})


def delays_of(nanoseconds: list[int]) -> Figures:
    """Give the delays that count, in microseconds."""
    return {
        "delay_p50_us": median(nanoseconds) / 1e3,
        "delay_p99_us": quantiles(nanoseconds, n=100)[98] / 1e3,
    }


async def idle(asked: Asked) -> None:
    """Open streams that get one event and no other, and say what one costs to open and to keep."""
    before = int(asked.streams * FILLING)
    counted = asked.streams - before
    async with READERS[asked.peer](asked.url(streams=0, rate=1), "feed") as read, tasks() as start:
        crowd = Crowd(read, start)
        await crowd.grow(before)
        give_back()
        memory = private_memory()
        with profiled(asked):
            cpu = process_time()
            await crowd.grow(counted)
            cpu = process_time() - cpu
        give_back()
        grown = private_memory() - memory
        tell_and_leave({"open_us": cpu * 1e6 / counted, "kib": grown / 1024 / counted})


class Crowd:
    """Idle streams, opened a few at a time: what opening takes for a moment is not what an open one takes."""

    def __init__(self, read: Read, start: Start) -> None:
        self._stream: Job = lambda: read(self._open_next, self._take)
        self._start = start
        self._unopened = 0
        self._unread = 0
        self._all_read = anyio.Event()

    async def grow(self, streams: int) -> None:
        """Open so many more, and return once each of them got its event."""
        self._unopened = self._unread = streams
        self._all_read = anyio.Event()
        for _ in range(AT_ONCE):
            self._open_next()
        await self._all_read.wait()

    def _open_next(self) -> None:
        if self._unopened:
            self._unopened -= 1
            self._start(self._stream)

    def _take(self, _: str | bytes) -> bool:
        self._unread -= 1
        if not self._unread:
            self._all_read.set()
        return False


MEASUREMENTS = {"lap": whole_lap, "leave": whole_lap, "paced": paced, "idle": idle}


# --- what they are made of ---


def ignore() -> None:
    """Take no notice of a stream that is open."""


def give_back() -> None:
    """Give free memory back, else what is opened next would take it, and look as if it took none."""
    gc.collect()
    if hasattr(LIBRARY, "malloc_trim"):
        LIBRARY.malloc_trim(0)


def private_memory() -> int:
    """Give the bytes of memory that this process alone has."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024


@contextmanager
def profiled(asked: Asked) -> Iterator[None]:
    """Write what the block spent its time with, if that is asked for."""
    if not asked.profile:
        yield
        return
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        profile.dump_stats(asked.profile)


def tell_and_leave(figures: Figures) -> NoReturn:
    """Tell, and end at once, whatever is open: what it costs to close is for a lap to say."""
    tell(figures)
    os._exit(0)


def run(backend: str, main: Job) -> None:
    """Run on a backend."""
    if backend == "trio":
        trio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if backend == "uvloop" else None) as runner:
        runner.run(main())


@asynccontextmanager
async def tasks() -> AsyncIterator[Start]:
    """Give what starts tasks of the backend; all are over at the end."""
    if trio.lowlevel.in_trio_run():
        async with trio.open_nursery() as nursery:
            yield nursery.start_soon
    else:
        async with asyncio.TaskGroup() as group:
            yield lambda job: keep(group.create_task(job()))


def keep(_: object) -> None:
    """Leave a task to its group, which holds it."""
