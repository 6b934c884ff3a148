"""Runs peers: each in a process of its own on one core, the server on the other, in turn, best of several.

A benchmark is one module, which is started twice. `python -m benchmarks.NAME` is the parent: it names its
peers and its trials, and hands both to `measure`. For each peer and round the parent starts
`python -m benchmarks.NAME --peer TASK`, or `node benchmarks/node/SCRIPT TASK`. There `peer_task` gives the
task, a JSON object: the peer's name, the case, and what else the trial has. The peer prints its figures with
`tell`, as one JSON object, the last line of its output. What cannot run here is missing, and says why.
"""

# ruff: noqa: INP001, S603, T201 - it starts what it was told to, and prints

import argparse
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

Figures: TypeAlias = dict[str, float]
"""What a peer measured: `cpu` and `wall` in seconds, `events`, and what else the benchmark is about."""

Case: TypeAlias = dict[str, str]
"""What distinguishes a trial from the others of its benchmark, as columns of the table: `{"on": "trio"}`."""

HERE = Path(__file__).parent
ROOT = HERE.parent
NODE_MODULES = HERE / "node_modules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One of those that are compared.

    Args:
        name: What the table calls it.
        packages: The distributions that it is made of, its own first; npm's, where it runs on Node.
        script: The script in `benchmarks/node` that runs it; where empty, the benchmark's own module does.
    """

    name: str
    packages: tuple[str, ...] = ()
    script: str = ""

    def command(self, module: str) -> list[str]:
        """Give the command that starts it, without its task."""
        if self.script:
            return ["node", str(HERE / "node" / self.script)]
        return [sys.executable, "-m", module, "--peer"]

    def versions(self) -> dict[str, str]:
        """Give the versions of its packages, as far as they are here."""
        of = node_version if self.script else python_version
        return {name: found for name in self.packages if (found := of(name))}

    def why_missing(self) -> str:
        """Say why it cannot run here; empty if it can."""
        if self.script and shutil.which("node") is None:
            return "node is not installed"
        absent = sorted(set(self.packages) - self.versions().keys())
        return f"not installed: {', '.join(absent)}" if absent else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One case, and the peers that are in it.

    Args:
        case: What the table says of it, which the peers get as well.
        peers: Who takes part.
        task: What else the peers get, such as a URL.
        environment: Variables that the peers' processes have besides ours.
    """

    case: Case
    peers: Sequence[Peer]
    task: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a peer in a trial.

    Args:
        case: The trial's.
        peer: The peer's name.
        figures: The least of each figure over all rounds; empty if it is missing.
        rounds: The figures of each round.
        missing: Why there are none.
    """

    case: Case
    peer: str
    figures: Figures = field(default_factory=dict)
    rounds: list[Figures] = field(default_factory=list)
    missing: str = ""


class PeerError(Exception):
    """A peer has no figures; the message says why, to be read after its name."""


class GaveUpError(Exception):
    """A peer's process raises it where measuring would take for ever; the message says why."""


# --- the parent ---


def arguments(*, rounds: int) -> argparse.Namespace:
    """Read the command line that all benchmarks share: `--rounds`, `--peers`, `--cases`.

    Args:
        rounds: How many there are, if the command line does not say it.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=rounds, help="the best of so many")
    parser.add_argument("--peers", default="", help="these alone, by commas; then nothing is saved")
    parser.add_argument(
        "--cases", default="", help="those that have all these words, by commas; nothing is saved"
    )
    return parser.parse_args()


def chosen(trials: Iterable[Trial], options: argparse.Namespace) -> Iterator[Trial]:
    """Give what of the trials the command line asks for."""
    words = {word for word in options.cases.split(",") if word}
    names = {name for name in options.peers.split(",") if name}
    for trial in trials:
        if words <= set(trial.case.values()):
            peers = [peer for peer in trial.peers if not names or peer.name in names]
            yield replace(trial, peers=peers)


def measure(module: str, trial: Trial, *, rounds: int, seconds: float = 120) -> list[Result]:
    """Run the peers of a trial in turn, and give what came of each.

    Args:
        module: The benchmark's, such as `benchmarks.parse`.
        trial: What is measured.
        rounds: How often.
        seconds: How long a process may take.
    """
    missing = {peer.name: peer.why_missing() for peer in trial.peers}
    figures: dict[str, list[Figures]] = {peer.name: [] for peer in trial.peers}
    for _ in range(rounds):
        for peer in trial.peers:
            if missing[peer.name]:
                continue
            try:
                figures[peer.name].append(run(module, peer, trial, seconds=seconds))
            except PeerError as exc:
                missing[peer.name] = str(exc)
    return [result(trial.case, name, figures[name], missing[name]) for name in figures]


def result(case: Case, peer: str, rounds: list[Figures], missing: str) -> Result:
    """Give the best of all rounds; a peer that failed in any has none."""
    if missing:
        return Result(case=case, peer=peer, missing=missing)
    best = {name: min(figures[name] for figures in rounds) for name in rounds[0]}
    return Result(case=case, peer=peer, figures=best, rounds=rounds)


def run(module: str, peer: Peer, trial: Trial, *, seconds: float) -> Figures:
    """Run one peer once.

    Raises:
        PeerError: It failed.
    """
    task = json.dumps({"peer": peer.name, **trial.case, **trial.task})
    try:
        done = subprocess.run(
            [*peer.command(module), task],
            cwd=ROOT,
            env={**os.environ, **trial.environment},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            preexec_fn=settle if os.name == "posix" else None,
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"gave up after {seconds:g} s") from None
    if done.returncode != 0:
        error = last_error(done.stderr) or f"exit status {done.returncode}"
        _, gave_up, why = error.partition(f"{GaveUpError.__name__}: ")
        raise PeerError(why if gave_up else f"failed: {error}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def last_error(said: str) -> str:
    """Give the line that names the error, of a traceback by Python or by Node."""
    lines = said.strip().splitlines()
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit)\b", line)]
    return (named or lines or [""])[-1].strip()


@contextmanager
def server(serve: Callable[..., None], *given: object) -> Iterator[Any]:
    """Run a server in a process of its own, on the other core, and give what it tells, such as its port.

    Args:
        serve: What runs there, for good; at the top of a module. It gets the writing end of a pipe,
            through which it sends one thing as soon as it listens.
        given: What else it gets.
    """
    context = multiprocessing.get_context("spawn")
    told, tell_us = context.Pipe(duplex=False)
    process = context.Process(target=serve_pinned, args=(serve, tell_us, *given), daemon=True)
    process.start()
    tell_us.close()
    try:
        yield told.recv()
    finally:
        process.terminate()
        process.join()


def serve_pinned(serve: Callable[..., None], *given: object) -> None:
    """Serve on the other core."""
    pin(1)
    serve(*given)


def settle() -> None:
    """Have the process that is about to start stay on the first core.

    It gets no limit of CPU time: under one, Linux counts the time of a process by ticks, of milliseconds.
    """
    pin(0)


def pin(place: int) -> None:
    """Stay on one core, if there are two and the system lets us."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[place]})


def python_version(name: str) -> str:
    """Give the version of a distribution, empty if it is not here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def node_version(name: str) -> str:
    """Give the version of a package that npm installed, empty if it is not here."""
    try:
        described = json.loads((NODE_MODULES / name / "package.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    return str(described["version"])


# --- the peer ---


def peer_task() -> dict[str, Any] | None:
    """Give the task if this process is a peer's, else nothing."""
    if len(sys.argv) == 3 and sys.argv[1] == "--peer":
        task: dict[str, Any] = json.loads(sys.argv[2])
        return task
    return None


def tell(figures: Figures) -> None:
    """Tell the parent what was measured."""
    print(json.dumps(figures), flush=True)
