"""Each input that fuzzing found worth keeping, once, without the fuzzer: on every Python, in no time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz import parser, response, stream
from fuzz.pieces import Case, input_of

pytestmark = pytest.mark.once

FUZZ = Path(parser.__file__).parent


CHECKS = {"parser": parser.check, "response": response.check, "stream": stream.check}


@pytest.mark.parametrize(("name", "check"), CHECKS.items(), ids=CHECKS)
def test_what_was_found_once_holds(name: str, check: Callable[[bytes], None]) -> None:
    inputs = sorted((FUZZ / "corpus" / name).iterdir())
    assert len(inputs) > 50
    for path in inputs:
        try:
            check(path.read_bytes())
        except Exception as exc:
            exc.add_note(f"with {path}")
            raise


def test_the_corpora_are_small() -> None:
    assert sum(path.stat().st_size for path in FUZZ.glob("corpus/*/*")) < 300_000


@pytest.mark.parametrize("sizes", [b"", b"\1", b"\0\3", b"\1\2\3\4\5\xff"])
def test_an_input_is_all_read_however_it_is_cut(sizes: bytes) -> None:
    what = bytes(range(256)) * 2
    case = Case.of(input_of(what, choice=3, limit=20, sizes=sizes))
    assert (case.choice, case.limit, case.whole) == (3, 20, what)
    assert b"".join(case.cut(what)) == what
    assert len(case.cut(what)) > 1 or not sizes


def test_no_input_is_too_short() -> None:
    for data in (b"", b"1", b"12345678"):
        assert Case.of(data).cut(b"") == [b""]
