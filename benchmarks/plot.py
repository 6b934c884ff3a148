"""Draws what the benchmarks measured, from `benchmarks/results` into `docs/benchmarks`; measures nothing.

For each of them an SVG, and the text that `docs/benchmarks.md` includes: who was compared at which versions,
who is missing. The bars of all are one table, `bars.inc`. A plot is as wide as a page of the docs, so that
its text is as large as the page's. The same results give the same files, byte by byte. It takes a few
seconds: run `python -m benchmarks.plot`.
"""

# ruff: noqa: INP001, T201 - a script, which prints

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from benchmarks._report import RESULTS, saved_bars
from benchmarks._run import ROOT

Content: TypeAlias = dict[str, Any]
"""What a results file says."""
Row: TypeAlias = tuple[str, float | None, str]
"""A bar: what it is of, how long it is, its colour. Without a length it is a heading."""

PAGES = ROOT / "docs" / "benchmarks"
WIDTH = 7.7
"""Inches, of 96 pixels as a browser has them: 740 pixels."""
OURS, THEIRS, ON_NODE, GRID = "#c2410c", "#94a3b8", "#65a30d", "#e2e8f0"
COLOURS = ("#c2410c", "#1d4ed8", "#0e7490", "#7c3aed", "#a16207", "#475569", "#be185d", "#4d7c0f")
MARKERS = "oX^DsPv*"
TIMES = (0.5, 1, 2, 5, 10, 20)
LOOPS = ("asyncio", "uvloop", "trio")
LABELS = {
    "anysse": "anysse",
    "anysse-open": "anysse, open_stream",
    "anysse-transport": "anysse under httpx",
    "httpx-sse": "httpx-sse",
    "httpx2": "httpx2",
    "aiohttp": "aiohttp, lines only",
    "bare": "bare sockets",
}
"""What the peers of `fanout` are called in its plot, from the top to the bottom."""
LONGEST = 4
"""How many times as long as ours a bar of `fanout` is drawn; a longer one is cut."""
ROW = 0.185
"""Inches that a bar takes."""
STYLE = {
    # Names of its parts that are the same each time, and text that stays text.
    "svg.hashsalt": "anysse",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#64748b",
    "text.color": "#0f172a",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    # White, whatever the page's own background is.
    "figure.facecolor": "white",
}


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


def bars(
    axes: Axes, rows: Sequence[Row], *, digits: int = 0, is_named: bool = True, longest: float = math.inf
) -> None:
    """Draw bars from the top to the bottom, each with its figure.

    Args:
        axes: Where.
        rows: The bars; one of no length was not measured.
        digits: Those of a figure after the point.
        is_named: Whether it says what they are of: the panel is the leftmost.
        longest: What is longer is cut, and says so.
    """
    labels, lengths, colours = zip(*rows, strict=True)
    drawn = axes.barh(
        range(len(rows)), [min(length or 0.0, longest) for length in lengths], color=colours, height=0.75
    )
    shown = [
        "" if length is None else f"{length:,.{digits}f}{' »' * (length > longest)}" if length else "–"
        for length in lengths
    ]
    axes.bar_label(drawn, shown, padding=3, fontsize=8)
    axes.set_yticks(range(len(rows)), labels if is_named else [""] * len(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.3)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    for label, peer, length in zip(axes.get_yticklabels(), labels, lengths, strict=True):
        label.set_fontweight("bold" if length is None or peer.startswith("anysse") else "normal")


# --- a plot for each benchmark ---


def parse(content: Content) -> Figure:
    """Draw how many times as fast as httpx-sse each is, a panel for each size of pieces."""
    base = {tuple(case.values()): cpu for case, peer, cpu in found(content, "cpu") if peer == "httpx-sse"}
    sizes, corpora = values(content, "pieces")[:3], values(content, "corpus")
    peers = list(dict.fromkeys(result["peer"] for result in content["results"]))
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        axes.axvline(1, color=THEIRS, linewidth=1)
        for number, peer in enumerate(peers):
            points = [
                (base[tuple(case.values())] / cpu, corpora.index(case["corpus"]))
                for case, name, cpu in found(content, "cpu", pieces=size)
                if name == peer and tuple(case.values()) in base
            ]
            is_ours = peer == "anysse"
            axes.scatter(
                *(zip(*points, strict=True) if points else ((), ())),
                marker=MARKERS[number],
                label=peer,
                color=COLOURS[number],
                s=75 if is_ours else 26,
                zorder=3 if is_ours else 2,
                alpha=1.0 if is_ours else 0.75,
                linewidth=0,
            )
        axes.set_xscale("log")
        axes.set_xticks(TIMES, [f"{times:g}" for times in TIMES])
        axes.minorticks_off()
        axes.set_title(f"pieces of {size}")
        axes.grid(axis="y", color=GRID)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(corpora)), corpora)
    panels[0].invert_yaxis()
    figure.supxlabel("events in a second of CPU time, httpx-sse = 1 (to the right is faster)", fontsize=8.5)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=4)
    return figure


def stream(content: Content) -> Figure:
    """Draw how many events a second each takes, a panel for each kind of connection."""
    kinds = values(content, "over")
    most = max(len(list(stream_rows(content, over))) for over in kinds)
    figure = Figure(figsize=(WIDTH, ROW * most + 1.0), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, over in zip(panels, kinds, strict=True):
        rows = list(stream_rows(content, over))
        bars(axes, [row for row, _ in rows], is_named=axes is panels[0])
        firsts = [(first, place) for place, (_, first) in enumerate(rows) if first]
        if firsts:
            lengths, places = zip(*firsts, strict=True)
            axes.scatter(
                lengths, places, marker="|", s=90, color="#0f172a", linewidth=1.6, label="first stream"
            )
        axes.set_title(over)
    if firsts:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right")
    figure.supxlabel("thousands of events in a second of CPU time (longer is faster)", fontsize=8.5)
    return figure


def stream_rows(content: Content, over: str) -> Iterator[tuple[Row, float]]:
    """Give the bars in thousands of events a second, and how many it were of the first stream."""
    for on in values(content, "on"):
        yield ((f"{'Node' if on == 'node' else on}:", None, OURS), 0.0)
        for result in content["results"]:
            if result["case"] == {"over": over, "on": on}:
                figures = result["figures"]
                rate, first = (
                    figures["events"] / figures[name] / 1e3 if figures.get(name) else 0.0
                    for name in ("cpu", "first")
                )
                yield (result["peer"], rate, colour(result["peer"], on)), first


FANOUT = (
    # What was measured, with how many streams, the figure, its title, its digits.
    ("paced", "100", "cpu_us", "100 paced streams: CPU of an event, µs", 0),
    ("one", "1", "delay_p50_us", "One paced stream: median delay of an event, µs", 0),
    ("idle", "1500", "kib", "1,500 idle streams: memory of one, KiB", 1),
    ("lap", "1500", "cpu_per_stream_us", "1,500 streams opened, read, closed: CPU of one, µs", 0),
)


def fanout(content: Content) -> Figure:
    """Draw what many streams cost, a row for each measurement and a column for each event loop."""
    peers = [peers_of(content, name, streams) for name, streams, *_ in FANOUT]
    growths = growth_rows(content)
    lines = [*map(len, peers), max(map(len, growths.values()), default=1)]
    heights = [ROW * count + 0.45 for count in lines]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08)
    parts = figure.subfigures(len(lines), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, names, (name, streams, what, title, digits) in zip(parts, peers, FANOUT, strict=False):
        headed(part, title)
        costs = {
            (case["on"], peer): cost
            for case, peer, cost in found(content, what, measured=name, streams=streams)
        }
        ours = max((cost for (_, peer), cost in costs.items() if peer == "anysse"), default=math.inf)
        longest = min(max(costs.values(), default=1.0), LONGEST * ours)
        for axes, on in zip(part.subplots(1, len(LOOPS)), LOOPS, strict=True):
            rows = [(LABELS[peer], costs.get((on, peer), 0.0), colour(peer)) for peer in names]
            bars(axes, rows, digits=digits, is_named=on == LOOPS[0], longest=longest)
            axes.set_xlim(0, longest * 1.35)
            axes.set_title(on, fontweight="normal")
    headed(parts[-1], "Few streams and many opened, read, closed: CPU of one, µs")
    panels = parts[-1].subplots(1, max(len(growths), 1), squeeze=False)[0]
    for axes, (on, rows) in zip(panels, growths.items(), strict=False):
        bars(axes, rows)
        axes.set_ylim(lines[-1] - 0.4, -0.6)
        axes.set_title(on, fontweight="normal")
    figure.supxlabel("shorter is better", fontsize=8.5)
    return figure


def headed(part: SubFigure, title: str) -> None:
    """Give a part of a plot a title."""
    part.suptitle(title, fontsize=9, fontweight="bold", x=0.01, ha="left")


def peers_of(content: Content, name: str, streams: str) -> list[str]:
    """Give who took part in a measurement, ours first."""
    took_part = {
        result["peer"]
        for result in content["results"]
        if (result["case"]["measured"], result["case"]["streams"]) == (name, streams)
    }
    return [peer for peer in LABELS if peer in took_part]


def growth_rows(content: Content) -> dict[str, list[Row]]:
    """Give what a stream of a lap costs, for few and many streams, by event loop."""
    rows: dict[str, list[Row]] = {}
    for case, peer, cost in found(content, "cpu_per_stream_us", measured="growth"):
        collector = "" if case["collector"] == "on" else ", no collector"
        label = f"{peer}, {int(case['streams']):,}{collector}"
        rows.setdefault(case["on"], []).append((label, cost, colour(peer)))
    return {on: sorted(of_loop, key=lambda row: row[2] != OURS) for on, of_loop in rows.items()}


def soak(content: Content) -> Figure:
    """Draw how memory grows, a panel for each soak."""
    names = values(content, "soaked in")
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for number, on in enumerate(LOOPS):
            for result in content["results"]:
                if result["figures"] and result["case"] == {"soaked in": name, "on": on}:
                    percents, grown = grown_of(result["figures"])
                    axes.plot(percents, grown, marker=MARKERS[number], color=COLOURS[number], label=on)
        axes.axhline(2, color=THEIRS, linestyle="dashed", label="bar")
        axes.set_title(name)
        axes.grid(axis="y", color=GRID)
        axes.set_xlabel("% of the way")
    panels[0].set_ylabel("MB above that at 1 %")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=4)
    return figure


def grown_of(figures: dict[str, float]) -> tuple[list[int], list[float]]:
    """Give where memory was taken, and how much more it was than at first."""
    taken = {
        int(name.removeprefix("mb_at_")): mb for name, mb in figures.items() if name.startswith("mb_at_")
    }
    first = taken[min(taken)]
    return list(taken), [mb - first for mb in taken.values()]


PLOTS: dict[str, tuple[Callable[[Content], Figure], str]] = {
    "parse": (
        parse,
        "Parsers compared by events a second, for eight kinds of streams and three sizes of pieces",
    ),
    "stream": (stream, "Clients compared by events a second, over plain connections and TLS"),
    "fanout": (fanout, "Clients compared by CPU time, delay and memory of many streams"),
    "soak": (soak, "Memory over ten million events and ten thousand reconnections"),
}


# --- the text beside it ---


def text(content: Content) -> str:
    """Give what the page says of it: the plot, and who was compared."""
    name, machine = content["benchmark"], content["machine"]
    against = ", ".join(f"{package} {number}" for package, number in content["versions"].items())
    node = f", Node {machine['node']}" if machine["node"] else ""
    where = f"on {machine['python']}{node}, {machine['platform']}, {machine['cores']} cores"
    lines = [
        f"![{PLOTS[name][1]}](benchmarks/{name}.svg)",
        "",
        *(f"Missing is {peer}: {why}.\n" for peer, why in content["missing"].items()),
        f"Made by `{content['command']}`, {where}, with {against}.",
    ]
    return "\n".join(lines) + "\n"


def bars_text() -> str:
    """Give the table of all bars."""
    lines = ["| | bar | is | must be | |", "|---|---|---:|---:|---|"]
    for name, bar in saved_bars():
        is_now = "–" if bar.ratio is None else f"{bar.ratio:.2f}"
        verdict = f"**{bar.verdict}**" if bar.verdict == "missed" else bar.verdict
        lines.append(f"| {name} | {bar.measure} | {is_now} | {bar.must_be} | {verdict} |")
    return "\n".join(lines) + "\n"


def draw(name: str) -> str:
    """Draw one, and say what was done."""
    page = PAGES / f"{name}.inc"
    results = RESULTS / f"{name}.json"
    if not results.exists():
        page.write_text(f"Not measured yet: `python -m benchmarks.{name}` does it.\n", encoding="utf-8")
        return f"{name}: not measured yet"
    content = json.loads(results.read_text(encoding="utf-8"))
    PLOTS[name][0](content).savefig(PAGES / f"{name}.svg", metadata={"Date": None, "Creator": None})
    page.write_text(text(content), encoding="utf-8")
    return f"{name}: drawn"


def main() -> None:
    """Draw all."""
    mpl.rcParams.update(STYLE)
    PAGES.mkdir(exist_ok=True)
    for name in PLOTS:
        print(draw(name))
    (PAGES / "bars.inc").write_text(bars_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
