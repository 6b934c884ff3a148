"""How many events a second the parsers take from bytes that are already there, as ratios to httpx-sse.

Eight corpora (`benchmarks/_corpora.py`), cut into pieces of 64 KiB (what a fast reader gets), 1,400 bytes (a
segment) and 200 bytes (a token); events of 8 MiB in 1 KiB pieces, too. Each peer is the pipeline from bytes
to events that its own package has, no less: where the package decodes first, as httpx does, so does it here.
Events are counted and dropped. CPU time of the peer's process alone, the best of several reads, which follow
one of a quarter of the corpus. A peer that is slow with that, since it copies what it has with every piece,
is said to be missing. What has a bar is measured in all rounds, the rest in half of them.

Run `python -m benchmarks.parse [--rounds N]`: two rounds take about four minutes.
"""

# ruff: noqa: INP001, T201 - a script, which prints, and feeds what its peers keep to themselves

import codecs
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Any, TypeAlias

from benchmarks._corpora import LARGE, written
from benchmarks._report import Bar, close, figure, ratio, table
from benchmarks._run import (
    Figures,
    GaveUpError,
    Peer,
    Result,
    Trial,
    arguments,
    chosen,
    measure,
    peer_task,
    tell,
)

Count: TypeAlias = Callable[[Sequence[bytes]], int]

NAME = "parse"
PIECES = {"64 KiB": 65_536, "1,400 B": 1_400, "200 B": 200}
SMALLER = {"1 KiB": 1_024}
HAVE_BARS = {"64 KiB", "1 KiB"}
BARS = {"chat": 2.2, "tiny": 2.2, "non-ASCII": 2.2}
OTHER_BAR = 1.25
LARGE_BAR = 0.1
SLOW = 0.3
"""How many seconds a quarter of a corpus may take: whoever needs more copies what it has with every piece."""
READS_FOR = 0.25
"""How many seconds a peer reads again and again; at least twice, unless that takes long."""

PEERS = (
    Peer(name="anysse", packages=("anysse",)),
    Peer(name="httpx-sse", packages=("httpx-sse",)),
    Peer(name="httpx2", packages=("httpx2",)),
    Peer(name="openai", packages=("openai",)),
    Peer(name="anthropic", packages=("anthropic",)),
    Peer(name="ld_eventsource", packages=("launchdarkly-eventsource",)),
    Peer(name="sseclient-py", packages=("sseclient-py",)),
    Peer(name="eventsource-parser", packages=("eventsource-parser",), script="parse.mjs"),
)


# --- the peers ---


def counted(events: Iterable[object]) -> int:
    """Count the events, and keep none."""
    return sum(1 for _ in events)


def anysse() -> Count:
    """Parse with ours."""
    from anysse._parser import EventStreamParser

    def count(chunks: Sequence[bytes]) -> int:
        feed = EventStreamParser().feed
        return sum(len(feed(chunk)) for chunk in chunks)

    return count


def httpx_sse() -> Count:
    """Parse with what `aiter_sse` does with the bytes of a response."""
    from httpx_sse._decoders import SSEDecoder, SSELineDecoder

    def count(chunks: Sequence[bytes]) -> int:
        text = codecs.getincrementaldecoder("utf-8")("replace")
        lines, decoder = SSELineDecoder(), SSEDecoder()
        events = 0
        for chunk in chunks:
            for line in lines.decode(text.decode(chunk)):
                if decoder.decode(line.rstrip("\n")) is not None:
                    events += 1
        return events

    return count


def httpx2() -> Count:
    """Parse with what httpx2's `EventSource` does with the bytes of a response."""
    from httpx2._sse import _SSEParser

    def count(chunks: Sequence[bytes]) -> int:
        text, parser = codecs.getincrementaldecoder("utf-8")("replace"), _SSEParser()
        return counted(event for chunk in chunks for event in parser.decode(text.decode(chunk)))

    return count


def openai() -> Count:
    """Parse with the decoder of openai's streams."""
    from openai._streaming import SSEDecoder

    return lambda chunks: counted(SSEDecoder().iter_bytes(iter(chunks)))


def anthropic() -> Count:
    """Parse with the decoder of anthropic's streams."""
    from anthropic._streaming import SSEDecoder

    return lambda chunks: counted(SSEDecoder().iter_bytes(iter(chunks)))


def ld_eventsource() -> Count:
    """Parse with LaunchDarkly's reader."""
    from ld_eventsource.reader import _BufferedLineReader, _SSEReader

    return lambda chunks: counted(_SSEReader(_BufferedLineReader.lines_from(chunks)).events_and_comments())


def sseclient() -> Count:
    """Parse with sseclient-py, which takes any iterable of bytes."""
    from sseclient import SSEClient

    return lambda chunks: counted(SSEClient(iter(chunks)).events())


COUNTERS: dict[str, Callable[[], Count]] = {
    "anysse": anysse,
    "httpx-sse": httpx_sse,
    "httpx2": httpx2,
    "openai": openai,
    "anthropic": anthropic,
    "ld_eventsource": ld_eventsource,
    "sseclient-py": sseclient,
}


def read(peer: str, path: str, size: int, events: int, **_: Any) -> Figures:
    """Have a peer parse a corpus, again and again, and give the best."""
    stream = Path(path).read_bytes()
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    count = COUNTERS[peer]()
    begun = process_time()
    count(chunks[: len(chunks) // 4])
    if process_time() - begun > SLOW:
        raise GaveUpError("quadratic, given up after a quarter of an event")
    best, spent = float("inf"), 0.0
    for turn in itertools.count():
        if spent > (READS_FOR if turn > 1 else 3 * READS_FOR):
            break
        begun = process_time()
        found = count(chunks)
        cpu = process_time() - begun
        best, spent = min(best, cpu), spent + cpu
        if found != events:
            raise ValueError(f"{found} events instead of {events}")
    return {"cpu": best, "events": events}


# --- the report ---


def trials(folder: Path) -> Iterator[Trial]:
    """Give every corpus in every size of pieces."""
    for corpus, path, events in written(folder):
        for pieces, size in (PIECES | (SMALLER if corpus == LARGE else {})).items():
            task = {"path": str(path), "size": size, "events": events}
            case = {"corpus": corpus, "pieces": pieces}
            yield Trial(case=case, peers=PEERS, task=task)


def row(results: Sequence[Result]) -> list[str]:
    """Give one line: our rate, and how many times as fast as each peer it is."""
    ours, *theirs = results
    rate = f"{ours.figures['events'] / ours.figures['cpu'] / 1e3:.1f}" if ours.figures else "–"
    ratios = [ratio(result.figures.get("cpu"), ours.figures.get("cpu")) for result in theirs]
    return [*ours.case.values(), rate, *("–" if each is None else f"{each:.2f}" for each in ratios)]


def bars(results: Sequence[Result]) -> Iterator[Bar]:
    """Give the bars."""
    for corpus in dict.fromkeys(result.case["corpus"] for result in results):
        theirs, ours = (
            figure(results, peer, "cpu", corpus=corpus, pieces="64 KiB") for peer in ("httpx-sse", "anysse")
        )
        yield Bar(
            measure=f"{corpus}, 64 KiB pieces: events/s beside httpx-sse",
            ratio=ratio(theirs, ours),
            side=">=",
            bound=BARS.get(corpus, OTHER_BAR),
        )
    yield Bar(
        measure="an event of 8 MiB in 1 KiB pieces",
        ratio=figure(results, "anysse", "cpu", corpus=LARGE, pieces="1 KiB"),
        side="<=",
        bound=LARGE_BAR,
        unit="s",
    )


def main() -> None:
    """Measure, and report; or be a peer."""
    if task := peer_task():
        tell(read(**task))
        return
    options = arguments(rounds=2)
    results, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for trial in chosen(trials(Path(folder)), options):
            has_bar = trial.case["pieces"] in HAVE_BARS
            rounds = options.rounds if has_bar else (options.rounds + 1) // 2
            of_trial = measure(f"benchmarks.{NAME}", trial, rounds=rounds)
            results += of_trial
            rows.append(row(of_trial))
            print(*rows[-1], sep="\t", flush=True)
    names = [result.peer for result in of_trial]
    print(
        "\n" + table(["corpus", "pieces", f"{names[0]}, 1000/s", *(f"× {name}" for name in names[1:])], rows)
    )
    is_whole = not (options.peers or options.cases)
    close(NAME, results, peers=PEERS, bars=list(bars(results)), is_whole=is_whole, rounds=options.rounds)


if __name__ == "__main__":
    main()
