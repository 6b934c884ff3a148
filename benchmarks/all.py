"""Runs all benchmarks, one after the other, draws what they measured, and says which bars are met.

`python -m benchmarks.all` takes about twenty minutes on two cores, half of them in `fanout`. It wants a
machine that does nothing else: then commit `benchmarks/results` and `docs/benchmarks`. The failure of one
does not stop it.

    python -m benchmarks.all                  # all, with few rounds
    python -m benchmarks.all parse stream     # these alone; draws all
    python -m benchmarks.all --check          # measures nothing: draws, and says which bars are met
"""

# ruff: noqa: INP001, S603, T201 - it starts the benchmarks, and prints

import argparse
import subprocess
import sys
from time import monotonic

from benchmarks._report import all_bars
from benchmarks._run import ROOT

COMMANDS = {
    "parse": [],
    "stream": [],
    "fanout": [],
    "soak": [],
    # These take turns, and nothing depends on them.
    "client": ["3"],
    "statistics": ["5"],
    "startup": ["7"],
}


def is_run(name: str) -> bool:
    """Run one, and say whether that went well."""
    print(f"\n=== {name} ===\n", flush=True)
    begun = monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", *COMMANDS.get(name, [])]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"\n({name} took {monotonic() - begun:.0f} s)", flush=True)
    return status == 0


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[*COMMANDS, []], metavar="|".join(COMMANDS))
    parser.add_argument("--check", action="store_true", help="measure nothing")
    options = parser.parse_args()
    names = [] if options.check else options.names or COMMANDS
    failed = [name for name in (*names, "plot") if not is_run(name)]
    print(f"\n=== bars ===\n\n{all_bars()}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
