"""Draws what the benchmarks measured, from `benchmarks/results` into `docs/benchmarks`; measures nothing.

For each of them an SVG, and the text that `docs/benchmarks.md` includes: the bars, who was compared at which
versions, who is missing. The same results give the same files, byte by byte. Run `python -m benchmarks.plot`.
"""

# ruff: noqa: INP001, T201 - a script, which prints

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks._report import RESULTS
from benchmarks._run import ROOT

Content: TypeAlias = dict[str, Any]
"""What a results file says."""

PAGES = ROOT / "docs" / "benchmarks"
OURS, THEIRS, ON_NODE = "#c2410c", "#94a3b8", "#65a30d"
MARKERS = "osv^D<>P"
TIMES = (0.3, 0.5, 1, 2, 5, 10, 20)
LOOPS = ("asyncio", "uvloop", "trio")


# --- what the plots share ---


def found(content: Content, figure: str, **case: str) -> Iterator[tuple[dict[str, str], str, float]]:
    """Give case, peer and figure of each result that has the case."""
    for result in content["results"]:
        if figure in result["figures"] and case.items() <= result["case"].items():
            yield result["case"], result["peer"], result["figures"][figure]


def values(content: Content, name: str) -> list[str]:
    """Give the values that cases have, as they come."""
    return list(dict.fromkeys(result["case"][name] for result in content["results"]))


def colour(peer: str, loop: str = "") -> str:
    """Give a peer's colour: ours, that of the others, that of Node's."""
    if peer.startswith("anysse"):
        return OURS
    return ON_NODE if loop == "node" else THEIRS


def bars(axes: Axes, rows: Sequence[tuple[str, float, str]], *, digits: int = 0) -> None:
    """Draw bars from the top to the bottom: what each is, how long, in which colour."""
    labels, lengths, colours = zip(*rows, strict=True) if rows else ((), (), ())
    drawn = axes.barh(range(len(rows)), lengths, color=colours)
    axes.bar_label(drawn, [f"{length:,.{digits}f}" for length in lengths], padding=3, fontsize=7)
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    plain(axes)


def plain(axes: Axes) -> None:
    """Leave away what says nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


# --- a plot for each benchmark ---


def parse(content: Content) -> Figure:
    """Draw how many times as fast as httpx-sse each is, a panel for each size of pieces."""
    base = {tuple(case.values()): cpu for case, peer, cpu in found(content, "cpu") if peer == "httpx-sse"}
    sizes, corpora = values(content, "pieces"), values(content, "corpus")
    peers = list(dict.fromkeys(result["peer"] for result in content["results"]))
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        axes.axvline(1, color=THEIRS, linewidth=1)
        for number, peer in enumerate(peers):
            points = [
                (base[tuple(case.values())] / cpu, corpora.index(case["corpus"]))
                for case, name, cpu in found(content, "cpu", pieces=size)
                if name == peer and tuple(case.values()) in base
            ]
            style = (
                {"color": OURS, "s": 60, "zorder": 3}
                if peer == "anysse"
                else {"color": f"C{number}", "s": 25}
            )
            axes.scatter(
                *(zip(*points, strict=True) if points else ((), ())),
                marker=MARKERS[number],
                label=peer,
                **style,
            )
        axes.set_xscale("log")
        axes.set_xticks(TIMES, [f"{times:g}" for times in TIMES])
        axes.minorticks_off()
        axes.set_title(f"in pieces of {size}", fontsize=9)
        axes.grid(axis="y", color="#e2e8f0")
        plain(axes)
    panels[0].set_yticks(range(len(corpora)), corpora)
    panels[0].invert_yaxis()
    figure.supxlabel(
        "events a second of CPU time, httpx-sse = 1 (logarithmic; to the right is faster)", fontsize=9
    )
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(peers), fontsize=8
    )
    return figure


def stream(content: Content) -> Figure:
    """Draw how many events a second each takes, a panel for each kind of connection."""
    kinds = values(content, "over")
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, over in zip(panels, kinds, strict=True):
        bars(axes, [stream_row(result) for result in content["results"] if result["case"]["over"] == over])
        axes.set_title(over, fontsize=9)
    figure.supxlabel("thousands of events in a second of CPU time (longer is faster)", fontsize=9)
    return figure


def stream_row(result: dict[str, Any]) -> tuple[str, float, str]:
    """Give a bar of thousands of events a second; it has no length where the peer is missing."""
    figures, on = result["figures"], result["case"]["on"]
    rate = figures["events"] / figures["cpu"] / 1e3 if figures else 0.0
    return f"{result['peer']} · {on}", rate, colour(result["peer"], on)


def fanout(content: Content) -> Figure:
    """Draw what many streams cost, a row for each measurement and a column for each event loop."""
    measured = {
        "paced": ("cpu_us", "CPU of an event, µs"),
        "one": ("delay_p50_us", "one stream: median delay, µs"),
        "idle": ("kib", "memory of a stream, KiB"),
        "lap": ("cpu_per_stream_us", "CPU to open, read, close, µs"),
    }
    figure = Figure(figsize=(12, 13), layout="constrained")
    grid = figure.subplots(len(measured), len(LOOPS), squeeze=False)
    for panels, (name, (figure_name, title)) in zip(grid, measured.items(), strict=True):
        for axes, on in zip(panels, LOOPS, strict=True):
            rows = [
                (f"{peer}, {case['streams']}", cost, colour(peer))
                for case, peer, cost in found(content, figure_name, measured=name, on=on)
            ]
            bars(axes, rows)
            axes.set_xticks([])
            axes.set_title(f"{title} · {on}", fontsize=9, loc="left")
    figure.supxlabel("each peer, and how many streams (shorter is better)", fontsize=9)
    return figure


def soak(content: Content) -> Figure:
    """Draw how memory grows, a panel for each soak."""
    names = values(content, "soaked in")
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for result in content["results"]:
            if result["figures"] and result["case"]["soaked in"] == name:
                percents, grown = grown_of(result["figures"])
                axes.plot(percents, grown, marker="o", label=result["case"]["on"])
        axes.axhline(2, color=THEIRS, linestyle="dashed")
        axes.set_title(name, fontsize=9)
        axes.legend(fontsize=8)
        plain(axes)
    panels[0].set_ylabel("MB above that at 1 %", fontsize=9)
    figure.supxlabel("% of the way (the dashed line is the bar)", fontsize=9)
    return figure


def grown_of(figures: dict[str, float]) -> tuple[list[int], list[float]]:
    """Give where memory was taken, and how much more it was than at first."""
    taken = {
        int(name.removeprefix("mb_at_")): mb for name, mb in figures.items() if name.startswith("mb_at_")
    }
    first = taken[min(taken)]
    return list(taken), [mb - first for mb in taken.values()]


PLOTS: dict[str, Callable[[Content], Figure]] = {
    "parse": parse,
    "stream": stream,
    "fanout": fanout,
    "soak": soak,
}


# --- the text beside it ---


def text(content: Content) -> str:
    """Give what the page says of it: the plot, the bars, and who was compared."""
    name, machine = content["benchmark"], content["machine"]
    against = ", ".join(f"{package} {number}" for package, number in content["versions"].items())
    node = f", Node {machine['node']}" if machine["node"] else ""
    where = f"on {machine['python']}{node}, {machine['platform']}, {machine['cores']} cores"
    lines = [
        f"![{name}, as the text says](benchmarks/{name}.svg)",
        "",
        f"Made by `{content['command']}`, {where}, with {against}.",
        "",
        *(f"Missing: {peer}: {why}.\n" for peer, why in content["missing"].items()),
        "| bar | is | must be | |",
        "|---|---:|---:|---|",
        *map(bar_line, content["bars"]),
    ]
    return "\n".join(lines) + "\n"


def bar_line(bar: dict[str, Any]) -> str:
    """Give a bar's line of the table."""
    is_now = "–" if bar["ratio"] is None else f"{bar['ratio']:.2f}"
    side = {">=": "≥", "<=": "≤"}[bar["side"]]
    return f"| {bar['measure']} | {is_now} | {side} {bar['bound']:g} {bar['unit']} | {bar['verdict']} |"


def draw(name: str) -> str:
    """Draw one, and say what was done."""
    page = PAGES / f"{name}.inc"
    results = RESULTS / f"{name}.json"
    if not results.exists():
        page.write_text(f"Not measured yet: `python -m benchmarks.{name}` does it.\n", encoding="utf-8")
        return f"{name}: not measured yet"
    content = json.loads(results.read_text(encoding="utf-8"))
    PLOTS[name](content).savefig(PAGES / f"{name}.svg", metadata={"Date": None, "Creator": None})
    page.write_text(text(content), encoding="utf-8")
    return f"{name}: drawn"


def main() -> None:
    """Draw all."""
    # Names of its parts that are the same each time, and text that stays text.
    mpl.rcParams.update({"svg.hashsalt": "anysse", "svg.fonttype": "none"})
    PAGES.mkdir(exist_ok=True)
    for name in PLOTS:
        print(draw(name))


if __name__ == "__main__":
    main()
