"""Runs all benchmarks, one after the other, and draws what they measured; a failure of one does not stop it.

`python -m benchmarks.all` takes an hour or two, most of it in `fanout` and `soak`. It wants a machine that
does nothing else: then commit `benchmarks/results` and `docs/benchmarks`. `python -m benchmarks.all parse
stream` runs these alone, and draws all.
"""

# ruff: noqa: INP001, S603, T201 - it starts the benchmarks, and prints

import argparse
import subprocess
import sys

from benchmarks._run import ROOT

NAMES = ("parse", "stream", "fanout", "soak", "client", "statistics", "startup")


def is_run(name: str) -> bool:
    """Run one, and say whether that went well."""
    print(f"\n=== {name} ===\n", flush=True)
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=False).returncode == 0


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="these alone")
    names = parser.parse_args().names or NAMES
    failed = [name for name in (*names, "plot") if not is_run(name)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
