"""Whether a stream that lasts takes more and more memory: 10 million events, and 10,000 reconnections.

Both with `open_stream` as it is by default, in a process of its own for each backend. The events come through
one stream, each in its own HTTP chunk. The reconnections are those of 40 streams, since no two attempts of
one are closer than 0.1 s; half of the connections end, the others are cut off. Memory is what only this
process has, as the kernel counts it, and the number of objects that the garbage collector knows, both after
it ran: at 1 %, at each 10 % and at the end. The bar: at the end no more than 2 MB above that at 1 %.

On each backend the events take about twenty seconds, and the reconnections half a minute: all of it takes
about three minutes.

    python -m benchmarks.soak                      # everything; saved
    python -m benchmarks.soak --quick              # a twentieth of it
    python -m benchmarks.soak events --on trio
"""

# ruff: noqa: INP001, T201 - a script, which prints

import argparse
import gc
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import anyio

import anysse
from benchmarks import _report as report
from benchmarks._fanout_measures import private_memory, run
from benchmarks._run import Figures, Peer, Result, Trial, measure, peer_task, server, tell
from benchmarks._soak_server import serve

BACKENDS = ("asyncio", "uvloop", "trio")
PEER = Peer(name="anysse", packages=("anysse", "anyio", "httptools", "httpx", "trio", "uvloop"))
TOTALS = {"events": 10_000_000, "reconnections": 10_000}
QUICK = 20
"""What part of it is done where it has to be quick."""
STREAMS = 40
PERCENTS = (1, *range(10, 101, 10))
PATIENCE = 1800.0
"""Seconds that one process may take."""


# --- in the peer's process ---


class Diary:
    """Counts, and notes at the percents how much memory there is."""

    def __init__(self, total: int) -> None:
        self._counts = {total * percent // 100: percent for percent in PERCENTS}
        self._begun = perf_counter()
        self.total = total
        self.count = 0
        self.figures: Figures = {}

    def add(self) -> None:
        """Count one more."""
        self.count += 1
        if self.count in self._counts:
            self._note(self._counts[self.count])

    def _note(self, percent: int) -> None:
        gc.collect()
        self.figures[f"mb_at_{percent}"] = private_memory() / 1e6
        self.figures[f"objects_at_{percent}"] = len(gc.get_objects())
        self.figures["wall"] = perf_counter() - self._begun


async def read_events(url: str, diary: Diary) -> None:
    """Read one stream to its end."""
    add = diary.add
    async with anysse.open_stream(f"{url}events?{diary.total}", kind="reply") as events:
        async for _ in events:
            add()


async def reconnect(url: str, diary: Diary) -> None:
    """Read streams that reconnect again and again; every event is one that came after that."""

    async def read() -> None:
        async with anysse.open_stream(url, retry=lambda _: 0.0) as events:
            async for _ in events:
                diary.add()
                if diary.count >= diary.total:
                    group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(STREAMS):
            group.start_soon(read)


SOAKS = {"events": read_events, "reconnections": reconnect}


def soak(task: Mapping[str, Any]) -> None:
    """Soak as asked, and tell."""
    diary = Diary(int(task["total"]))
    url = f"http://127.0.0.1:{task['port']}/"
    run(task["on"], lambda: SOAKS[task["soaked in"]](url, diary))
    if diary.count < diary.total:
        raise RuntimeError(f"{diary.count} instead of {diary.total}")
    first, last = PERCENTS[0], PERCENTS[-1]
    for name in ("mb", "objects"):
        grown = diary.figures[f"{name}_at_{last}"] - diary.figures[f"{name}_at_{first}"]
        diary.figures[f"{name}_grown"] = grown
    tell(diary.figures)


# --- in the parent's ---


def trials(options: argparse.Namespace, port: int) -> Iterator[Trial]:
    """Give the trials that the command line asks for."""
    for name, total in TOTALS.items():
        if options.soaks and name not in options.soaks:
            continue
        for backend in options.on.split(",") if options.on else BACKENDS:
            share = total // QUICK if options.quick else total
            case = {"soaked in": name, "on": backend}
            yield Trial(case=case, peers=[PEER], task={"port": port, "total": share})


def row(result: Result) -> list[str]:
    """Give the row of one result."""
    names = ("mb_at_1", "mb_at_50", "mb_at_100", "mb_grown", "objects_at_1", "objects_grown", "wall")
    figures = [f"{result.figures[name]:.1f}" if result.figures else "–" for name in names]
    return [*result.case.values(), *figures]


HEADS = ("soaked in", "on", "MB at 1 %", "at 50 %", "at the end", "more", "objects at 1 %", "more", "wall, s")


def bars(results: Sequence[Result]) -> Iterator[report.Bar]:
    """Compare with the bar."""
    for result in results:
        named = f"{TOTALS[result.case['soaked in']]:,} {result.case['soaked in']}"
        measured = f"{named}, {result.case['on']}: memory at the end above that at 1 %"
        grown = result.figures.get("mb_grown")
        yield report.Bar(measure=measured, ratio=grown, side="<=", bound=2.0, unit="MB")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "soaks",
        nargs="*",
        choices=[*TOTALS, []],
        metavar="|".join(TOTALS),
        help="these alone; nothing is saved",
    )
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many")
    parser.add_argument("--on", "--backends", default="", help="these backends alone; nothing is saved")
    parser.add_argument("--quick", action="store_true", help="a twentieth of it; nothing is saved")
    return parser.parse_args()


def main() -> None:
    """Soak, print, save."""
    task = peer_task()
    if task is not None:
        soak(task)
        return
    options = arguments()
    results: list[Result] = []
    with server(serve) as port:
        for trial in trials(options, port):
            results += measure("benchmarks.soak", trial, rounds=options.rounds, seconds=PATIENCE)
    print(report.table(HEADS, map(row, results)), flush=True)
    whole = not any([options.soaks, options.on, options.quick])
    report.close("soak", results, peers=[PEER], bars=list(bars(results)), is_whole=whole)


if __name__ == "__main__":
    main()
