"""Any bytes as a response, in any pieces, are refused, or read as h11 reads them; and so is their body."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from anysse import EventTooLarge, ServerSentEvent
from anysse._answer import content_codings
from anysse._inflate import PIECE, BadCoding, Inflater
from anysse._intake import Intake
from fuzz.pieces import Case
from tests import reference
from tests.readings import Outcome, comparable, read_by_h11, read_response

METHODS: Final = ("GET", "GET", "GET", "HEAD")
DONE: Final = (None, "[DONE]")
LENGTH_IN_TRAILERS: Final = re.compile("Content-Length|Transfer-Encoding")
MOST_INFLATED: Final = 1_000_000
"""Bytes: a bomb would take all day."""


def check(data: bytes) -> None:
    """Read a response whole, in pieces and by h11, and compare; then what it holds."""
    case = Case.of(data)
    method = METHODS[case.choice % len(METHODS)]
    whole = read_response([case.whole], method=method, at_end=True)
    cut = read_response(case.cut(case.whole), method=method, at_end=True)
    assert_same(whole, cut)
    assert len(cut.body) <= len(case.whole)
    if whole.failure is None:
        assert_as_by_h11(whole, read_by_h11(case.whole, method=method))
        check_body(case, whole)


def assert_same(whole: Outcome, cut: Outcome) -> None:
    """Compare what came of the same bytes, whole and in pieces."""
    kinds = {outcome.failure.kind for outcome in (whole, cut) if outcome.failure is not None}
    assert kinds <= {"RemoteProtocolError"}
    assert (whole.failure is None) is (cut.failure is None)
    assert (whole.status, whole.headers, whole.body) == (cut.status, cut.headers, cut.body)
    assert whole.is_complete is cut.is_complete is (whole.failure is None)
    assert cut.is_reusable or not whole.is_reusable  # what comes behind it may not have been read


def assert_as_by_h11(ours: Outcome, theirs: Outcome) -> None:
    """Compare what we took with what h11 made of it."""
    # A length among the trailers says nothing (RFC 9110, section 6.5.1), and h11 refuses some all the same.
    is_about_trailers = theirs.status is not None and LENGTH_IN_TRAILERS.search(str(theirs.failure))
    assert theirs.failure is None or is_about_trailers, theirs.failure
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert comparable(ours.headers) == comparable(theirs.headers)
    assert theirs.is_reusable or not ours.is_reusable or is_about_trailers


# The body: what its codings hold, and what events that is.


def check_body(case: Case, outcome: Outcome) -> None:
    """Inflate a body whole and in pieces, and compare; then its events with the reference parser's."""
    fields = [(name.lower(), value.decode("latin-1")) for name, value in outcome.headers]
    codings = content_codings([value for name, value in fields if name == b"content-encoding"])
    whole = inflate(codings, [outcome.body])
    cut = inflate(codings, case.cut(outcome.body))
    shorter, longer = sorted((whole.text, cut.text), key=len)
    assert longer.startswith(shorter)  # what one call makes is lost where it fails
    if not (whole.is_left_off or cut.is_left_off):
        assert whole.is_refused is cut.is_refused
    if not (whole.is_left_off or cut.is_left_off or whole.is_refused):
        assert whole == cut
    check_events(case, cut.text[:65_536])


class Content(NamedTuple):
    """What a body holds."""

    text: bytes = b""
    is_refused: bool = False
    is_complete: bool = False
    is_left_off: bool = False


def inflate(codings: list[str], chunks: Iterable[bytes]) -> Content:
    """Undo codings, up to a bound."""
    text = b""
    try:
        inflater = Inflater(codings)
        for chunk in chunks:
            for piece in inflater.feed(chunk):
                assert not codings or len(piece) <= PIECE
                text += piece
                if len(text) > MOST_INFLATED:
                    return Content(text, is_left_off=True)
    except BadCoding:
        return Content(text, is_refused=True)
    return Content(text, is_complete=inflater.is_complete)


def check_events(case: Case, text: bytes) -> None:
    """Take events until the end mark, or one that is too large, and compare."""
    done = DONE[case.choice // 4 % len(DONE)]
    intake = Intake(done=done, on_comment=None, max_event_size=case.limit, oversize="raise", last_event_id="")
    events: list[ServerSentEvent] = []
    for piece in case.cut(text):
        events += intake.take(piece)
        if intake.is_over:
            break
    expected, is_too_large = reference.read_until_too_large(text, case.limit)
    ends = [index for index, event in enumerate(expected) if event.data == done][:1]
    assert events == expected[: ends[0] if ends else None]
    assert isinstance(intake.error, EventTooLarge) is (is_too_large and not ends)
    assert intake.is_done is bool(ends)
