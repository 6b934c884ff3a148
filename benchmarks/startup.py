"""How long `import anysse` takes, as a ratio to `import httpx`, each in a fresh interpreter.

The statements alternate; the time is that of the import alone, without starting Python. Medians, and the
median of the ratios turn by turn. Bytecode is cached, as pip caches what it installs. What a stream needs
to open, httpx included, is shown too. The bar: 1.2. Run
`python -m benchmarks.startup [turns]`: 21 take about a minute.
"""

# ruff: noqa: INP001, S603, T201 - a script, which starts what it wrote, and prints

import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from statistics import median

STATEMENTS = ("import httpx", "import anysse", "import anyio", "import httpx, anysse", "import httpx2")
BAR = 1.2
CACHE = tempfile.TemporaryDirectory()
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": CACHE.name}


def milliseconds(statement: str) -> float:
    """Give the time of a statement in an interpreter of its own."""
    program = f"from time import perf_counter as t; s = t(); {statement}; print(t() - s)"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    return float(run.stdout) * 1000


def main() -> None:
    """Print the table."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    versions = ", ".join(f"{name} {version(name)}" for name in ("anysse", "anyio", "httpx", "httpx2"))
    print(f"Python {platform.python_version()}, {versions}; median of {turns}")
    for statement in STATEMENTS:
        milliseconds(statement)  # So that everything is compiled, and in the page cache.
    times = [[milliseconds(statement) for statement in STATEMENTS] for _ in range(turns)]
    layout = "{:<22} {:>8} {:>16}".format
    print(layout("", "ms", "x import httpx"))
    for place, statement in enumerate(STATEMENTS):
        ratio = median(turn[place] / turn[0] for turn in times)
        mark = f"  (bar: {BAR})" if statement == "import anysse" else ""
        print(layout(statement, f"{median(turn[place] for turn in times):.1f}", f"{ratio:.2f}") + mark)


if __name__ == "__main__":
    main()
