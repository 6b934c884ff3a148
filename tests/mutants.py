"""Mutation testing of the rooms where the rules of event streams live: `nox -s mutate`.

mutmut changes one thing in one function, runs the tests that reach it, and at least one should fail: a change
that no test notices *survives*. `tests/survivors.toml` lists those that were looked at, each with the
reason why it may; one that is not there is printed. All happens in a copy of the source tree.

    nox -s mutate               # all, in about half an hour on two cores
    nox -s mutate -- _retry     # one module
"""

# ruff: noqa: T201 - it prints

import argparse
import ast
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = ("_parser", "_session", "_resend", "_retry")
TESTS = ("parser", "parser_properties", "intake", "retry", "session", "session_machine")
BAR = 90.0
CONFIG = f"""
[tool.mutmut]
source_paths = ["anysse"]
only_mutate = {[f"anysse/{module}.py" for module in MODULES]}
pytest_add_cli_args = ["-p", "no:xdist", "-p", "no:randomly", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {[f"tests/test_{name}.py" for name in TESTS]}
timeout_multiplier = 5.0
timeout_constant = 20.0
"""
ENVIRONMENT = {
    "ANYSSE_TEST_BACKENDS": "asyncio",
    "ANYSSE_TEST_LIBRARY": "httpx",
    "HYPOTHESIS_PROFILE": "mutants",
}


def copy_to(place: Path) -> None:
    """Copy what the tests need, with mutmut's configuration."""
    for folder in ("anysse", "tests"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    configured = (ROOT / "pyproject.toml").read_text("utf-8") + CONFIG
    (place / "pyproject.toml").write_text(configured, "utf-8")
    for module in MODULES:
        path = place / "anysse" / f"{module}.py"
        path.write_text(without_decorated_properties(path.read_text("utf-8")), "utf-8")


def without_decorated_properties(source: str) -> str:
    """Write `@property` in the way that mutmut does not leave out: as a call, behind its function."""
    lines = source.split("\n")
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for function in sorted(functions, key=lambda node: node.lineno, reverse=True):
        if [ast.unparse(decorator) for decorator in function.decorator_list] == ["property"]:
            assert function.end_lineno is not None
            margin = " " * function.col_offset
            lines.insert(function.end_lineno, f"{margin}{function.name} = property({function.name})")
            del lines[function.lineno - 2]
    return "\n".join(lines)


def run_mutmut(place: Path, modules: list[str], children: int) -> None:
    """Test the mutants; what mutmut prints of each goes into `mutmut.log`, and is shown where it fails."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(children)]
    command += [f"anysse.{module}.*" for module in modules]
    log = place / "mutmut.log"
    with log.open("wb") as output:
        status = subprocess.run(
            command,
            cwd=place,
            env=os.environ | ENVIRONMENT,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if status != 0:
        sys.exit(f"{log.read_text('utf-8', 'replace')[-5000:]}\nmutmut failed with {status}")


def verdicts(place: Path, module: str) -> dict[str, str]:
    """Give what became of each mutant of a module, by its name."""
    from mutmut.stats import status_by_exit_code

    meta = json.loads((place / "mutants" / "anysse" / f"{module}.py.meta").read_text("utf-8"))
    return {name: status_by_exit_code[code] for name, code in meta["exit_code_by_key"].items()}


def change_of(place: Path, module: str, mutant: str) -> str:
    """Say what a mutant changes, in the words of the source: its number moves with mutmut's version."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    function, owner = orig_function_and_class_names_from_key(mutant)
    with contextlib.chdir(place):
        changed = get_diff_for_mutant(mutant, path=f"anysse/{module}.py").split("\n")[2:]
    was, becomes = (
        " ".join(line[1:].partition("  # ")[0].strip() for line in changed if line[:1] == sign)
        for sign in "-+"
    )
    place_name = ".".join(filter(None, (module, owner, function.rpartition(".")[2])))
    return f"{place_name}: {was} => {becomes}"


def known_survivors() -> dict[str, str]:
    """Give the reason for each survivor that was looked at."""
    table = tomllib.loads((ROOT / "tests" / "survivors.toml").read_text("utf-8"))
    return {change: group["why"] for group in table["group"] for change in group["mutants"]}


def report(place: Path, modules: list[str]) -> bool:
    """Print the table, and each survivor that is news; say whether each module meets the bar."""
    known = known_survivors()
    seen: set[str] = set()
    is_met = True
    rows: list[tuple[object, ...]] = [("module", "mutants", "killed", "by time", "survived", "killed")]
    for module in modules:
        found = verdicts(place, module)
        counts = Counter(found.values())
        killed = counts["killed"] + counts["timeout"]
        share = 100 * killed / len(found)
        is_met &= share >= BAR
        rows.append((module, len(found), killed, counts["timeout"], len(found) - killed, f"{share:.1f} %"))
        for mutant, verdict in found.items():
            if verdict not in ("killed", "timeout"):
                change = change_of(place, module, mutant)
                seen.add(change)
                if change not in known:
                    print(f"new ({verdict}): {change}")
    for change in known:
        if change not in seen and change.partition(".")[0] in modules:
            print(f"listed, but killed or gone: {change}")
    for row in rows:
        print("".join(f"{cell!s:>18}" for cell in row))
    return is_met


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s mutate --", description="Mutation testing.")
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help=f"one of {', '.join(MODULES)}; default: all"
    )
    parser.add_argument("--children", type=int, default=2, help="how many mutants are tested at once")
    parser.add_argument("--keep", type=Path, help="the copy: goes on there, where an earlier run left one")
    given = parser.parse_args()
    if unknown := set(given.modules) - set(MODULES):
        parser.error(f"no such module here: {', '.join(sorted(unknown))}")
    return given


@contextlib.contextmanager
def copy_at(kept: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="anysse-mutants-") as temporary:
        place = kept or Path(temporary)
        if not (place / "pyproject.toml").exists():
            copy_to(place)
        yield place


def main() -> None:
    given = arguments()
    modules = given.modules or list(MODULES)
    with copy_at(given.keep) as place:
        run_mutmut(place, modules, given.children)
        if not report(place, modules):
            sys.exit(f"fewer than {BAR:.0f} % of a module's mutants are killed")


if __name__ == "__main__":
    main()
