"""Any bytes, in any pieces, are the events that the reference parser finds in the whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from anysse import _parser
from fuzz.pieces import Case
from tests import reference
from tests.readings import read_stream, read_until_too_large

# From how many bytes on a read or a line is taken another way: small inputs must see all of them.
WAYS: Final = [
    {"_SHORT_READ": short, "_LONG_READ": long, "_SHORT_LINE": line}
    for short in (0, 20, 1024)
    for long in (0, 20, 4096)
    for line in (1, 10, 512)
]


def check(data: bytes) -> None:
    """Read a stream in pieces, with no limit and with one, and compare."""
    case = Case.of(data)
    whole, pieces, limit = case.whole, case.cut(case.whole), case.limit
    last_event_id = "41" if case.choice >= 128 else ""
    with _taken(WAYS[case.choice % len(WAYS)]):
        unbounded = read_stream(pieces, last_event_id=last_event_id)
        bounded = read_stream(pieces, limit=limit)
        raised = read_until_too_large(pieces, limit)
    assert unbounded == reference.read(whole, last_event_id=last_event_id)
    assert bounded == reference.read(whole, limit=limit)
    assert raised == reference.read_until_too_large(whole, limit)


@contextmanager
def _taken(way: dict[str, int]) -> Iterator[None]:
    before = {name: getattr(_parser, name) for name in way}
    vars(_parser).update(way)
    try:
        yield
    finally:
        vars(_parser).update(before)
