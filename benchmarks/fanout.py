"""What many paced streams cost, as ratios to httpx-sse, httpx2's `sse()` and bare aiohttp.

Six measurements, each of one peer in a process of its own, the server in another one on the other core:

- `one`: one stream, 100 events a second: the delay between the server's `send` and the reader's loop.
- `paced`: N streams, their events evenly spread over the second: CPU time of one event, and its delay.
- `idle`: N streams that got one event and wait: private memory of one, and the CPU time to open it,
  both as the last two thirds are opened, ten at a time.
- `lap`: N streams opened, four events of each read, one a second, once all are open, and then their ends,
  which leave the connections open: CPU time of one stream.
- `leave`: the same, but the server ends nothing: the reader leaves after its fourth event.
- `growth`: `lap` with few and with many streams, which have as many events a second together, the garbage
  collector on and off.

`anysse` is one StreamClient, `anysse-open` is `open_stream` without a client, `anysse-transport` is httpx's
client over our transport; the others share one client of theirs, without bounds. `aiohttp` only splits
lines, and `bare`, AnyIO's sockets with httptools, only events. httpcore's pool looks at all its connections
whenever one is opened or closed: a lap of httpx takes 40 s of CPU, so it is done once, on asyncio, and
httpx-sse is left out where there are many streams and no bar for it.

All of it takes about thirteen minutes.

    python -m benchmarks.fanout                            # everything; saved
    python -m benchmarks.fanout --quick                    # few streams, few seconds; two minutes
    python -m benchmarks.fanout paced --peers anysse,aiohttp --on asyncio --seconds 5 --rounds 1
    python -m benchmarks.fanout idle --streams 5000        # more than by default
    python -m benchmarks.fanout lap --peers anysse --on trio --streams 500 --rounds 1 --profile lap.prof
"""

# ruff: noqa: INP001, T201 - a script, which prints

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks import _report as report
from benchmarks._fanout_measures import measure as measure_as_peer
from benchmarks._fanout_server import serve
from benchmarks._run import Case, Peer, Result, Trial, measure, peer_task, server

OURS = "anysse"
BACKENDS = ("asyncio", "uvloop", "trio")
PEERS = (
    Peer(name=OURS, packages=("anysse", "anyio", "httptools")),
    Peer(name="anysse-open", packages=("anysse", "anyio", "httptools")),
    Peer(name="anysse-transport", packages=("anysse", "anyio", "httptools", "httpx")),
    Peer(name="httpx-sse", packages=("httpx-sse", "httpx", "httpcore")),
    Peer(name="httpx2", packages=("httpx2", "httpcore2")),
    Peer(name="aiohttp", packages=("aiohttp",)),
    Peer(name="bare", packages=("anyio", "httptools")),
)
NOT_ON_TRIO = frozenset({"aiohttp"})
PATIENCE = 400.0
"""Seconds that one process may take: what httpx takes for 1,500 streams, and some more."""
QUICKLY = 10
"""How many times fewer streams there are where it has to be quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One of the six, or a part of it.

    Args:
        name: What it is called here.
        what: What it is called in the peer's process.
        peers: Who takes part.
        streams: How many there are, one table row each.
        rates: Events a second of each stream, for each number of them.
        figures: The columns of its table: the figure, its head.
        rounds: It is the best of so many.
        backends: On which it is done.
        collectors: Whether the garbage collector is on, one table row each.
    """

    name: str
    what: str
    peers: frozenset[str]
    streams: tuple[int, ...]
    rates: tuple[float, ...]
    figures: dict[str, str]
    rounds: int = 1
    backends: tuple[str, ...] = BACKENDS
    collectors: tuple[str, ...] = ("on",)

    def cases(self) -> Iterator[tuple[Case, float]]:
        """Give its cases, and the rate of each."""
        for backend in self.backends:
            for streams, rate in zip(self.streams, self.rates, strict=True):
                for collector in self.collectors:
                    yield self._case(backend, streams, collector), rate

    def _case(self, backend: str, streams: int, collector: str) -> Case:
        case = {"measured": self.name, "on": backend, "streams": str(streams)}
        return {**case, "collector": collector} if self.name == "growth" else case


DELAYS = {"delay_p50_us": "median delay, µs", "delay_p99_us": "99th percentile, µs"}
PACE = {"cpu_us": "CPU/event, µs", **DELAYS}
IDLE = {"kib": "KiB/stream", "open_us": "CPU to open, µs"}
LAP = {"cpu_per_stream_us": "CPU/stream, µs", "cpu": "CPU, s", "wall": "wall, s"}
OVER_HTTPCORE = frozenset({"httpx-sse", "httpx2"})
LEAN = frozenset({OURS, "aiohttp", "bare"})
MEASUREMENTS = (
    Measurement(
        name="one",
        what="paced",
        peers=frozenset({OURS, "httpx-sse", "httpx2", "aiohttp"}),
        streams=(1,),
        rates=(100.0,),
        figures={**DELAYS, "cpu_us": "CPU/event, µs"},
        rounds=2,
    ),
    Measurement(
        name="paced",
        what="paced",
        peers=LEAN | OVER_HTTPCORE,
        streams=(100,),
        rates=(10.0,),
        figures=PACE,
        rounds=2,
    ),
    Measurement(
        name="paced",
        what="paced",
        peers=LEAN | {"httpx2"},
        streams=(1500,),
        rates=(1.0,),
        figures=PACE,
        backends=("asyncio", "trio"),
    ),
    Measurement(
        name="paced",
        what="paced",
        peers=frozenset({OURS, "aiohttp"}),
        streams=(5000,),
        rates=(0.3,),
        figures=PACE,
        backends=("asyncio", "trio"),
    ),
    Measurement(
        name="idle", what="idle", peers=LEAN | OVER_HTTPCORE, streams=(100,), rates=(1.0,), figures=IDLE
    ),
    Measurement(
        name="idle",
        what="idle",
        peers=LEAN | {"anysse-open", "httpx2"},
        streams=(1500,),
        rates=(1.0,),
        figures=IDLE,
    ),
    Measurement(
        name="idle",
        what="idle",
        peers=frozenset({OURS, "aiohttp"}),
        streams=(5000,),
        rates=(1.0,),
        figures=IDLE,
        backends=("asyncio", "trio"),
    ),
    Measurement(
        name="lap",
        what="lap",
        peers=LEAN,
        streams=(1500,),
        rates=(1.0,),
        figures=LAP,
        rounds=2,
    ),
    Measurement(
        name="lap",
        what="lap",
        peers=frozenset({"anysse-open", "anysse-transport"}),
        streams=(1500,),
        rates=(1.0,),
        figures=LAP,
    ),
    Measurement(
        name="lap",
        what="lap",
        peers=OVER_HTTPCORE,
        streams=(1500,),
        rates=(1.0,),
        figures=LAP,
        backends=("asyncio",),
    ),
    Measurement(
        name="leave",
        what="leave",
        peers=LEAN | {"httpx2"},
        streams=(1500,),
        rates=(1.0,),
        figures=LAP,
        backends=("asyncio",),
    ),
    Measurement(
        name="growth",
        what="lap",
        peers=frozenset({OURS, "aiohttp"}),
        streams=(500, 5000),
        rates=(8.0, 0.8),
        figures=LAP,
        rounds=2,
        backends=("asyncio", "trio"),
    ),
    Measurement(
        name="growth",
        what="lap",
        peers=frozenset({OURS}),
        streams=(500, 5000),
        rates=(8.0, 0.8),
        figures=LAP,
        backends=("asyncio", "trio"),
        collectors=("off",),
    ),
)


def trials(measurement: Measurement, options: argparse.Namespace, port: int) -> Iterator[Trial]:
    """Give the trials of a measurement."""
    for case, rate in measurement.cases():
        task = {
            "what": measurement.what,
            "port": port,
            "rate": options.rate or rate,
            "seconds": options.seconds,
            "profile": options.profile,
        }
        yield Trial(case=case, peers=peers_of(measurement, case, options), task=task)


def peers_of(measurement: Measurement, case: Case, options: argparse.Namespace) -> list[Peer]:
    """Give those that can take part, of those that were asked for."""
    names = set(measurement.peers)
    if case["on"] == "trio":
        names -= NOT_ON_TRIO
    if options.peers:
        names &= set(options.peers.split(","))
    return [peer for peer in PEERS if peer.name in names]


def chosen(options: argparse.Namespace) -> Iterator[Measurement]:
    """Give the measurements that the command line asks for, as it wants them."""
    for measurement in MEASUREMENTS:
        if options.measurements and measurement.name not in options.measurements:
            continue
        streams, rates = measurement.streams, measurement.rates
        if options.quick:
            streams = tuple(max(number // QUICKLY, 1) for number in streams)
        if options.streams:
            streams = tuple(map(int, options.streams.split(",")))
            known = dict(zip(measurement.streams, measurement.rates, strict=True))
            rates = tuple(known.get(number, measurement.rates[0]) for number in streams)
        backends = measurement.backends
        if options.on:
            backends = tuple(name for name in backends if name in options.on.split(","))
        rounds = options.rounds or (1 if options.quick else measurement.rounds)
        yield replace(measurement, streams=streams, rates=rates, backends=backends, rounds=rounds)


# --- what is said ---


def print_table(measurement: Measurement, found: Sequence[Result], results: Sequence[Result]) -> None:
    """Print what came of one measurement; the last column is what we take of what that peer takes."""
    main = next(iter(measurement.figures))
    names = [name for name in (found[0].case if found else ()) if name != "measured"]
    heads = [*names, "peer", *measurement.figures.values(), f"{OURS} is"]
    rows = [row(result, measurement, main, results) for result in found]
    print(f"\n{measurement.name}\n{report.table(heads, rows)}", flush=True)


def row(result: Result, measurement: Measurement, main: str, results: Sequence[Result]) -> list[str]:
    """Give the row of one result."""
    case = [value for name, value in result.case.items() if name != "measured"]
    figures = [f"{result.figures[name]:.1f}" if result.figures else "–" for name in measurement.figures]
    ours = report.figure(results, OURS, main, **result.case)
    ratio = report.ratio(ours, result.figures.get(main))
    return [*case, result.peer, *figures, "–" if ratio is None else f"{ratio:.2f} ×"]


def bars(results: Sequence[Result]) -> Iterator[report.Bar]:
    """Compare with the bars."""
    paced, lap = "100 paced streams: CPU/event", "1,500 streams opened, read, closed: CPU"
    for on in BACKENDS:
        yield beside(results, paced, "httpx2", 0.65, "cpu_us", measured="paced", on=on, streams="100")
    yield beside(results, paced, "aiohttp", 1.15, "cpu_us", measured="paced", on="asyncio", streams="100")
    yield beside(results, lap, "httpx-sse", 0.1, "cpu", measured="lap", on="asyncio", streams="1500")
    yield beside(results, lap, "aiohttp", 2.0, "cpu", measured="lap", on="asyncio", streams="1500")
    kept = "1,500 idle streams: memory of one"
    yield beside(results, kept, "aiohttp", 1.5, "kib", measured="idle", on="asyncio", streams="1500")
    for on in BACKENDS:
        delay = "one paced stream: median delay"
        yield beside(results, delay, "httpx-sse", 1.0, "delay_p50_us", measured="one", on=on)
    for on in ("asyncio", "trio"):
        for collector in ("on", "off"):
            yield growth(results, on=on, collector=collector)


def beside(
    results: Sequence[Result], measure: str, peer: str, bound: float, name: str, **case: str
) -> report.Bar:
    """Compare one figure of ours with that of a peer."""
    ratio = report.ratio(
        report.figure(results, OURS, name, **case), report.figure(results, peer, name, **case)
    )
    return report.Bar(measure=f"{measure} beside {peer}, {case['on']}", ratio=ratio, side="<=", bound=bound)


def growth(results: Sequence[Result], **case: str) -> report.Bar:
    """Compare what one of many streams costs with what one of few does; no bar without the collector."""
    many, few = (
        report.figure(results, OURS, "cpu_per_stream_us", measured="growth", streams=streams, **case)
        for streams in ("5000", "500")
    )
    is_on = case["collector"] == "on"
    return report.Bar(
        measure=f"CPU/stream, 5,000 beside 500, collector {case['collector']}, {case['on']}",
        ratio=report.ratio(many, few),
        side="<=",
        bound=1.3 if is_on else None,
    )


# --- the command ---


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    names = list(dict.fromkeys(measurement.name for measurement in MEASUREMENTS))
    parser.add_argument(
        "measurements",
        nargs="*",
        choices=[*names, []],
        metavar="|".join(names),
        help="these alone; nothing is saved",
    )
    parser.add_argument("--rounds", type=int, default=0, help="the best of so many (1 or 2; 1 if quick)")
    parser.add_argument("--peers", default="", help="these alone, by commas; nothing is saved")
    parser.add_argument("--on", "--backends", default="", help="these backends alone; nothing is saved")
    parser.add_argument("--streams", default="", help="so many streams, by commas; nothing is saved")
    parser.add_argument("--rate", type=float, default=0.0, help="events a second of each; nothing is saved")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long to watch a pace (2; 1 if quick)")
    parser.add_argument("--profile", default="", help="where the (one) peer writes what cProfile saw")
    parser.add_argument("--quick", action="store_true", help="few streams, few seconds; nothing is saved")
    options = parser.parse_args()
    options.seconds = options.seconds or (1.0 if options.quick else 2.0)
    return options


def is_whole(options: argparse.Namespace) -> bool:
    """Tell whether nothing was left out."""
    given: list[Any] = [options.measurements, options.peers, options.on, options.streams, options.rate]
    return not any([*given, options.profile, options.quick])


def main() -> None:
    """Measure, print, save."""
    task = peer_task()
    if task is not None:
        measure_as_peer(task)
        return
    options = arguments()
    results: list[Result] = []
    with server(serve) as port:
        for measurement in chosen(options):
            found: list[Result] = []
            for trial in trials(measurement, options, port):
                found += measure("benchmarks.fanout", trial, rounds=measurement.rounds, seconds=PATIENCE)
            results += found
            print_table(measurement, found, results)
    whole = is_whole(options)
    checked = [bar for bar in bars(results) if whole or bar.ratio is not None]
    report.close("fanout", results, peers=PEERS, bars=checked, is_whole=whole)


if __name__ == "__main__":
    main()
