"""Holds the list of behaviours: each case of it has a test that is named for it, and is told of rightly."""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import TypeAlias

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "conformance.md").read_text(encoding="utf-8")
LINES = (TESTS / "conformance" / "behaviours.txt").read_text(encoding="utf-8").splitlines()
CASES = [line.partition(" ")[0] for line in LINES if not line.startswith("#")]
SIZES = {"REQ": 16, "RSP": 14, "RED": 11, "REC": 37, "CLS": 14, "DLV": 10, "LIM": 3, "FES": 10}
"""How many there are of each kind, numbered from 1: a line that is lost is missed."""

NAMED_CASE = re.compile(r"\b[A-Z]{3}-\d\d\b")
NAMED_TEST = re.compile(r"\btest_[a-z0-9_]+(?![a-z0-9_./])")
Test: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def written_in(pattern: str) -> list[Test]:
    """Give the tests of these modules, as they are written there."""
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(TESTS.glob(pattern))]
    nodes = [node for module in modules for node in ast.walk(module)]
    functions = [node for node in nodes if isinstance(node, Test)]
    return [function for function in functions if function.name.startswith("test_")]


def case_of(test: Test) -> str:
    """Give the case that a test is named for."""
    return "-".join(test.name.split("_")[1:3]).upper()


BEHAVIOURS = [*written_in("test_behaviours.py"), *written_in("test_behaviours_fes.py")]


def test_the_list_is_whole() -> None:
    numbered = [f"{kind}-{number:02}" for kind, size in SIZES.items() for number in range(1, size + 1)]
    assert numbered == CASES


def test_each_case_has_a_test_and_each_test_a_case() -> None:
    assert {case_of(test) for test in BEHAVIOURS} == set(CASES)


def test_no_two_tests_have_one_name() -> None:
    names = Counter(test.name for test in BEHAVIOURS)
    assert [name for name, count in names.items() if count > 1] == []


def test_the_page_names_cases_and_tests_that_there_are() -> None:
    names = {test.name for test in written_in("test_*.py")}
    assert set(NAMED_CASE.findall(PAGE)) <= set(CASES)
    assert set(NAMED_TEST.findall(PAGE)) <= names


def test_the_page_has_whatever_differs() -> None:
    differing = {
        case_of(test) for test in BEHAVIOURS if (ast.get_docstring(test) or "").startswith("Differs")
    }
    assert differing <= set(NAMED_CASE.findall(PAGE))
