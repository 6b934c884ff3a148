"""What one event costs from a server to `async for`, as ratios to ten others: plain and TLS, on three loops.

One bulk stream of 20,001 events, each its own HTTP chunk (`benchmarks/_bulk.py`), from loopback. `anysse` is
`open_stream(url)`, nothing else passed. `anysse over httpx2` is given an open client of httpx2, as
`httpx2.sse` is: the bar between the two is an older one. Where a peer takes a client, it is open before; what
makes its own makes it in the time that counts. A peer's process reads a few events to warm up, so that it
has imported and connected, and then the stream again and again. Two figures come of it: the `first` stream,
as a chat program reads a few and ends, and the best of all, by when Node has compiled what is hot. The bars
compare CPU time, that of the peer's process alone, with all its threads; the wall's shows whether anybody
waited for the server. All peers trust the server's certificate by their environment, not by an argument.
`fetch-event-source` is made for browsers: under Node it gets a `window` and a `document` that do nothing.

Run `python -m benchmarks.stream [--rounds N]`: three rounds, and two over TLS, take about four minutes and a
half.
"""

# ruff: noqa: INP001, T201 - a script, which prints

import gc
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeAlias

import anyio

from benchmarks._bulk import BACKENDS, EVENTS, FEW, certified, serve, serve_records
from benchmarks._report import Bar, close, figure, ratio, table
from benchmarks._run import (
    Figures,
    Peer,
    Result,
    Trial,
    arguments,
    chosen,
    measure,
    peer_task,
    server,
    tell,
)

Read: TypeAlias = Callable[[str, int], Awaitable[int]]
"""Reads a stream that has so many events, and says how many it found."""

NAME = "stream"
READS_FOR = 0.5
READS_FOR_ON_NODE = 1.5
"""How many seconds of CPU time a peer reads again and again: Node compiles what is hot for about one."""

ANYIO = (
    Peer(name="anysse", packages=("anysse", "anyio")),
    Peer(name="anysse over httpx2", packages=("anysse", "anyio", "httpx2", "httpcore2")),
    Peer(name="httpx-sse", packages=("httpx-sse", "httpx", "httpcore")),
    Peer(name="httpx2.sse", packages=("httpx2", "httpcore2")),
)
AIOHTTP = (
    Peer(name="ld_eventsource", packages=("launchdarkly-eventsource", "aiohttp")),
    Peer(name="aiohttp-sse-client2", packages=("aiohttp-sse-client2", "aiohttp")),
)
NODE = tuple(
    Peer(name=name.removeprefix("@microsoft/"), packages=(name,), script="stream.mjs")
    for name in ("eventsource", "@microsoft/fetch-event-source", "undici")
)
PEERS = (*ANYIO, *AIOHTTP, *NODE)
LOOPS = {"asyncio": (*ANYIO, *AIOHTTP), "uvloop": (*ANYIO, *AIOHTTP), "trio": ANYIO, "node": NODE}
TLS = "TLS"
RECORDS = "TLS, a record an event"


# --- the peers ---


@asynccontextmanager
async def anysse() -> AsyncIterator[Read]:
    """Read with what there is by default."""
    from anysse import open_stream

    async def read(url: str, events: int) -> int:
        async with open_stream(url) as stream:
            return await counted(stream, events)

    yield read


@asynccontextmanager
async def anysse_over_httpx2() -> AsyncIterator[Read]:
    """Read through the caller's client, which is httpx2's own."""
    import httpx2

    from anysse import open_stream

    async with httpx2.AsyncClient(timeout=None) as client:

        async def read(url: str, _: int) -> int:
            async with open_stream(url, client=client, kind="reply") as stream:
                return await counted(stream)

        yield read


@asynccontextmanager
async def httpx_sse() -> AsyncIterator[Read]:
    """Read with httpx-sse."""
    import httpx
    from httpx_sse import aconnect_sse

    async with httpx.AsyncClient(timeout=None) as client:  # noqa: S113 - a stream may pause

        async def read(url: str, _: int) -> int:
            async with aconnect_sse(client, "GET", url) as source:
                return await counted(source.aiter_sse())

        yield read


@asynccontextmanager
async def httpx2_sse() -> AsyncIterator[Read]:
    """Read with httpx2's own."""
    import httpx2

    async with httpx2.AsyncClient(timeout=None) as client:

        async def read(url: str, _: int) -> int:
            async with client.sse(url) as stream:
                return await counted(stream)

        yield read


@asynccontextmanager
async def ld_eventsource() -> AsyncIterator[Read]:
    """Read with LaunchDarkly's."""
    import aiohttp
    from ld_eventsource.async_client import AsyncSSEClient
    from ld_eventsource.config.async_connect_strategy import AsyncConnectStrategy

    async with aiohttp.ClientSession() as session:

        async def read(url: str, events: int) -> int:
            strategy = AsyncConnectStrategy.http(url, session=session)
            async with AsyncSSEClient(connect=strategy) as client:
                return await counted(client.events, events)

        yield read


@asynccontextmanager
async def aiohttp_sse_client2() -> AsyncIterator[Read]:
    """Read with the second aiohttp-sse-client."""
    import aiohttp
    from aiohttp_sse_client2.client import EventSource

    # aiohttp ends a request after five minutes, unless it is told not to.
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:

        async def read(url: str, events: int) -> int:
            async with EventSource(url, session=session) as stream:
                return await counted(stream, events)

        yield read


READERS = {
    "anysse": anysse,
    "anysse over httpx2": anysse_over_httpx2,
    "httpx-sse": httpx_sse,
    "httpx2.sse": httpx2_sse,
    "ld_eventsource": ld_eventsource,
    "aiohttp-sse-client2": aiohttp_sse_client2,
}


async def counted(stream: Any, events: int = -1) -> int:
    """Count the events up to the end, or up to the last: what reconnects would never end."""
    count = 0
    async for _ in stream:
        count += 1
        if count == events:
            break
    return count


async def read_again(peer: str, url: str, reads_for: float) -> Figures:
    """Have a peer read the stream, again and again, and give the first and the best."""
    costs: list[tuple[float, float]] = []
    async with READERS[peer]() as read:
        await read(f"{url}few", FEW)
        while not costs or sum(cpu for cpu, _ in costs) < reads_for:
            gc.collect()
            cpu, wall = process_time(), perf_counter()
            count = await read(url, EVENTS)
            costs.append((process_time() - cpu, perf_counter() - wall))
            if count != EVENTS:
                raise ValueError(f"{count} events instead of {EVENTS}")
    cpu, wall = map(min, zip(*costs, strict=True))
    return {"cpu": cpu, "wall": wall, "first": costs[0][0], "events": EVENTS}


def be_peer(peer: str, url: str, on: str, reads_for: float, **_: Any) -> None:
    """Read, and tell."""
    backend, options = BACKENDS[on]
    tell(anyio.run(read_again, peer, url, reads_for, backend=backend, backend_options=options))


# --- the report ---


def trials(stack: ExitStack) -> Iterator[Trial]:
    """Give each loop over each kind of connection."""
    certificate = certified(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    environment = {"SSL_CERT_FILE": certificate.authority, "NODE_EXTRA_CA_CERTS": certificate.authority}
    ports = {
        "plain": stack.enter_context(server(serve)),
        TLS: stack.enter_context(server(serve, certificate.chain)),
        RECORDS: stack.enter_context(server(serve_records, certificate.chain)),
    }
    for over, port in ports.items():
        url = f"{'http' if over == 'plain' else 'https'}://127.0.0.1:{port}/"
        for on, peers in LOOPS.items():
            reads_for = READS_FOR_ON_NODE if on == "node" else READS_FOR
            task = {"url": url, "events": EVENTS, "few": FEW, "reads_for": reads_for}
            yield Trial(case={"over": over, "on": on}, peers=peers, task=task, environment=environment)


def rows(results: Sequence[Result]) -> Iterator[list[str]]:
    """Give a line for each peer of a trial: what an event costs, and how many that is in a second."""
    for result in results:
        found = result.figures
        if not found:
            yield [*result.case.values(), result.peer, *"–––––"]
            continue
        costs = [found[name] / found["events"] * 1e6 for name in ("cpu", "first", "wall")]
        rates = [found["events"] / found[name] / 1e3 for name in ("cpu", "first")]
        yield [
            *(*result.case.values(), result.peer),
            *(f"{cost:.2f}" for cost in costs),
            *(f"{rate:.0f}" for rate in rates),
        ]


def bars(results: Sequence[Result]) -> Iterator[Bar]:
    """Give the bars."""
    for on in ("asyncio", "trio"):
        for peer, its_loop, bound in (("httpx-sse", on, 8.0), ("ld_eventsource", "asyncio", 2.0)):
            yield beside(results, peer, bound, over="plain", on=on, its_loop=its_loop)
        for name in ("cpu", "first"):
            yield beside(results, "eventsource", 1.0, name, over="plain", on=on, its_loop="node")
    for over in (TLS, RECORDS):
        for on in ("asyncio", "trio"):
            yield beside(results, "httpx-sse", 6.0, over=over, on=on, its_loop=on)
    for on in BACKENDS:
        cpu = partial(figure, results, name="cpu", over="plain", on=on)
        both = ratio(cpu(peer="anysse over httpx2"), cpu(peer="httpx2.sse"))
        measured = f"anysse over httpx2, plain, {on}: CPU beside httpx2.sse"
        yield Bar(measure=measured, ratio=both, side="<=", bound=1)


def beside(
    results: Sequence[Result],
    peer: str,
    bound: float,
    name: str = "cpu",
    *,
    over: str,
    on: str,
    its_loop: str,
) -> Bar:
    """Compare how many events a second we take with how many a peer does."""
    theirs = figure(results, peer, name, over=over, on=its_loop)
    ours = figure(results, "anysse", name, over=over, on=on)
    whose = {"node": "Node's "}.get(its_loop, "")
    where = f" on {its_loop}" if its_loop not in {on, "node"} else ""
    which = ", first stream" if name == "first" else ""
    measured = f"{over}, {on}{which}: events/s beside {whose}{peer}{where}"
    return Bar(measure=measured, ratio=ratio(theirs, ours), side=">=", bound=bound)


def main() -> None:
    """Measure, and report; or be a peer."""
    if task := peer_task():
        be_peer(**task)
        return
    options = arguments(rounds=3)
    results: list[Result] = []
    with ExitStack() as stack:
        for trial in chosen(trials(stack), options):
            rounds = options.rounds if trial.case["over"] == "plain" else (options.rounds + 1) // 2
            of_trial = measure(f"benchmarks.{NAME}", trial, rounds=rounds)
            results += of_trial
            print(*("\t".join(row) for row in rows(of_trial)), sep="\n", flush=True)
    heads = ("over", "on", "peer", "CPU, µs", "first, µs", "wall, µs", "1000/s of CPU", "first, 1000/s")
    print("\n" + table(heads, rows(results)))
    is_whole = not (options.peers or options.cases)
    close(NAME, results, peers=PEERS, bars=list(bars(results)), is_whole=is_whole, rounds=options.rounds)


if __name__ == "__main__":
    main()
