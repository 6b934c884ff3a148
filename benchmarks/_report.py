"""Says what was measured: a table, the bars, and a JSON file with all figures and versions. Measures nothing.

The files in `benchmarks/results` are what `python -m benchmarks.plot` draws from.
"""

# ruff: noqa: INP001, S603, T201 - it prints, and asks node for its version

import json
import os
import platform
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks._run import HERE, Case, Peer, Result

RESULTS = HERE / "results"
HAVE_BARS = ("parse", "stream", "fanout", "soak")
"""The benchmarks that are saved, and have bars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One of the bars: a ratio of two figures of one run, and what it must be.

    Args:
        measure: What is compared with what.
        ratio: What came out; none where one of the two is missing.
        side: Whether the ratio must be at least the bar, or at most.
        bound: The bar; none where it is only to be known.
        unit: Where it is no ratio, what the bar is in.
    """

    measure: str
    ratio: float | None
    side: Literal[">=", "<="]
    bound: float | None
    unit: str = "×"

    @property
    def must_be(self) -> str:
        """What the bar is, in words."""
        side = "≥" if self.side == ">=" else "≤"
        return "–" if self.bound is None else f"{side} {self.bound:g} {self.unit}"

    @property
    def verdict(self) -> str:
        """Whether it is met."""
        if self.ratio is None:
            return "not measured"
        if self.bound is None:
            return "no bar"
        is_met = self.ratio >= self.bound if self.side == ">=" else self.ratio <= self.bound
        return "met" if is_met else "missed"


def figure(results: Iterable[Result], peer: str, name: str, **case: str) -> float | None:
    """Give one figure of one peer; nothing where it is missing.

    Args:
        results: All of them.
        peer: The peer's name.
        name: The figure's.
        case: What the case must have; the first that has it is taken.
    """
    for result in results:
        if result.peer == peer and case.items() <= result.case.items():
            return result.figures.get(name)
    return None


def ratio(one: float | None, other: float | None) -> float | None:
    """Divide, if there is something to divide."""
    return None if one is None or not other else one / other


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table: the first columns, which are words, to the left, the others to the right."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    is_words = [not all(map(is_number, column[1:])) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if words else cell.rjust(width)
            for cell, width, words in zip(line, widths, is_words, strict=True)
        ).rstrip()
        for line in lines
    )


def is_number(cell: str) -> bool:
    """Say whether it is a number, or the dash in the place of one."""
    return cell.replace(".", "", 1).isdecimal() or cell == "–"


def bars_table(bars: Iterable[Bar]) -> str:
    """Lay out the bars."""
    rows = [
        (
            bar.measure,
            "–" if bar.ratio is None else f"{bar.ratio:.2f}",
            bar.must_be,
            bar.verdict,
        )
        for bar in bars
    ]
    return table(("bar", "is", "must be", ""), rows)


def saved_bars() -> Iterator[tuple[str, Bar]]:
    """Give the bars of all that is saved, and which benchmark's they are."""
    for name in HAVE_BARS:
        path = RESULTS / f"{name}.json"
        saved = json.loads(path.read_text(encoding="utf-8"))["bars"] if path.exists() else []
        for fields in saved:
            fields.pop("verdict")
            yield name, Bar(**fields)


def all_bars() -> str:
    """Lay out the bars of all that is saved, and count those that are met."""
    found = list(saved_bars())
    verdicts = Counter(bar.verdict for _, bar in found)
    absent = [name for name in HAVE_BARS if name not in {name for name, _ in found}]
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    nothing_of = f"\nnot measured yet: {', '.join(absent)}" if absent else ""
    return f"{bars_table(bar for _, bar in found)}\n\n{counted}{nothing_of}"


def missing(results: Iterable[Result]) -> dict[str, str]:
    """Give who is missing, and why, by peer and where it is."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for result in results:
        if result.missing:
            reasons.setdefault(result.peer, {}).setdefault(result.missing, []).append(words(result.case))
    return {
        peer: "; ".join(
            f"{reason} ({'; '.join(cases[:3])}{'; …' * (len(cases) > 3)})" for reason, cases in of.items()
        )
        for peer, of in reasons.items()
    }


def words(case: Case) -> str:
    """Say which case."""
    return ", ".join(case.values())


def machine() -> dict[str, Any]:
    """Say what it ran on."""
    node = shutil.which("node")
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "node": node
        and subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout.strip(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def versions(peers: Iterable[Peer]) -> dict[str, str]:
    """Give the versions of all that took part; those of npm's packages say so."""
    found = {
        f"{name} (npm)" if peer.script else name: number
        for peer in peers
        for name, number in peer.versions().items()
    }
    return dict(sorted(found.items()))


def save(
    name: str,
    results: Sequence[Result],
    *,
    peers: Iterable[Peer],
    bars: Sequence[Bar],
    **more: Any,
) -> None:
    """Write the JSON file of a benchmark.

    Args:
        name: The benchmark's.
        results: All of them.
        peers: All that could have taken part.
        bars: The bars.
        more: What else is to be kept.
    """
    content = {
        "benchmark": name,
        "command": f"python -m benchmarks.{name}",
        "machine": machine(),
        "versions": versions(peers),
        **more,
        "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in bars],
        "missing": missing(results),
        "results": [asdict(result) for result in results],
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def close(
    name: str,
    results: Sequence[Result],
    *,
    peers: Sequence[Peer],
    bars: Sequence[Bar],
    is_whole: bool = True,
    **more: Any,
) -> None:
    """Print how a report ends: bars, who is missing, versions; and save it, unless it is of a part."""
    if bars:
        print("\n" + bars_table(bars))
    for peer, why in missing(results).items():
        print(f"missing: {peer}: {why}")
    print(f"\n{machine()}\n{versions(peers)}")
    if is_whole:
        save(name, results, peers=peers, bars=bars, **more)
        print(f"saved: {RESULTS / name}.json")
