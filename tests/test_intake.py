"""What one connection brings: events until the one that ends the stream, and the last event ID after them."""

from collections.abc import Callable
from typing import Any

import pytest

from anysse import EventTooLarge, InvalidRequest, ServerSentEvent
from anysse._intake import Done, EndMark, Intake, mark_of


def intake(done: Done | EndMark | None = None, **options: Any) -> Intake:
    settings: dict[str, Any] = {
        "on_comment": None,
        "max_event_size": 100,
        "oversize": "raise",
        "last_event_id": "41",
    }
    return Intake(done=done, **(settings | options))


def data_of(events: Any) -> list[str]:
    return [event.data for event in events]


def test_all_events_are_taken_where_none_ends_the_stream() -> None:
    it = intake()
    assert data_of(it.take(b"data: a\n\ndata: [DONE]\n\n")) == ["a", "[DONE]"]
    assert not it.is_over


def test_the_last_event_id_starts_from_the_connection_before() -> None:
    it = intake()
    assert it.last_event_id == "41"
    [event] = it.take(b"data: a\n\n")
    assert (event.id, it.last_event_id) == ("41", "41")


def test_the_last_event_id_moves_without_an_event_too() -> None:
    it = intake()
    assert list(it.take(b"id: 42\n\n")) == []
    assert it.last_event_id == "42"


def test_the_reconnection_time_is_as_the_stream_set_it() -> None:
    it = intake()
    assert it.reconnection_time is None
    it.take(b"retry: 1500\n")
    assert it.reconnection_time == 1.5


def test_comments_are_handed_on() -> None:
    comments: list[str] = []
    intake(on_comment=comments.append).take(b": hello\n")
    assert [comment.strip() for comment in comments] == ["hello"]


def test_a_done_text_is_not_delivered_and_nothing_after_it_counts() -> None:
    it = intake("[DONE]")
    taken = it.take(b"id: 1\ndata: a\n\nid: 2\ndata: [DONE]\n\nid: 3\ndata: b\n\n")
    assert data_of(taken) == ["a"]
    assert it.is_over
    assert it.last_event_id == "2"


def test_a_done_test_is_asked_about_the_whole_event_and_its_event_is_delivered() -> None:
    def is_end(event: ServerSentEvent) -> bool:
        return event.event == "end"

    it = intake(is_end)
    assert data_of(it.take(b"data: a\n\n")) == ["a"]
    assert not it.is_over
    assert not it.is_done
    assert data_of(it.take(b"data: b\n\nid: 9\nevent: end\ndata: c\n\ndata: d\n\n")) == ["b", "c"]
    assert it.is_over
    assert it.is_done
    assert it.last_event_id == "9"


def test_an_empty_text_may_be_the_done_event() -> None:
    it = intake("")
    assert data_of(it.take(b"data: a\n\ndata\n\n")) == ["a"]
    assert it.is_over


def test_an_event_that_is_too_large_comes_after_those_before_it() -> None:
    it = intake()
    assert data_of(it.take(b"data: a\n\ndata: " + b"x" * 200)) == ["a"]
    assert isinstance(it.error, EventTooLarge)
    assert it.is_over
    assert not it.is_done


def test_an_event_that_is_too_large_can_be_left_out() -> None:
    it = intake(oversize="skip")
    assert data_of(it.take(b"data: " + b"x" * 200 + b"\n\ndata: b\n\n")) == ["b"]
    assert it.error is None


@pytest.mark.parametrize("done", ["[DONE]", lambda event: event.data == "[DONE]"])
def test_what_is_too_large_after_the_done_event_is_nobodys_business(done: Done) -> None:
    it = intake(done)
    it.take(b"data: [DONE]\n\ndata: " + b"x" * 200)
    assert it.is_over
    assert it.error is None


def test_what_is_too_large_before_the_done_event_ends_the_stream() -> None:
    it = intake("[DONE]")
    it.take(b"data: " + b"x" * 200 + b"\n\ndata: [DONE]\n\n")
    assert isinstance(it.error, EventTooLarge)


@pytest.mark.parametrize("done", [None, "", "[DONE]", callable])
def test_what_can_tell_the_end_is_taken(done: Any) -> None:
    mark_of(done)


@pytest.mark.parametrize("done", [0, True, b"[DONE]", ["[DONE]"]])
def test_what_cannot_tell_the_end_is_refused(done: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^done: "):
        mark_of(done)


@pytest.mark.parametrize("done", [None, "[DONE]"])
def test_an_error_of_on_comment_comes_after_the_events_of_its_read(done: str | None) -> None:
    heard: list[int] = []

    def fail(text: str) -> None:
        heard.append(1 // int(text))

    it = intake(done, on_comment=fail)
    chunk = b":1\ndata: a\n\n:0\ndata: b\n\n:1\ndata: [DONE]\n\n"
    assert data_of(it.take(chunk))[:2] == ["a", "b"]
    assert heard == [1]
    assert it.is_over
    assert not it.is_done
    assert isinstance(it.error, ZeroDivisionError)


def test_an_error_of_the_done_test_comes_after_the_events_before_it() -> None:
    fail: Callable[[ServerSentEvent], bool] = lambda event: 1 / int(event.data) > 1  # noqa: E731
    it = intake(fail)
    assert data_of(it.take(b"id: 1\ndata: 2\n\nid: 2\ndata: 0\n\nid: 3\ndata: 1\n\n")) == ["2"]
    assert it.is_over
    assert not it.is_done
    assert isinstance(it.error, ZeroDivisionError)
    assert it.last_event_id == "1"


# --- where the end mark is, and one that need not be the end ---


def is_end(event: ServerSentEvent) -> bool:
    return event.event == "end"


MIDDLE = b"id: 1\ndata: a\n\nid: 2\nevent: end\ndata: [DONE]\n\nid: 3\ndata: b\n\nid: 4\ndata: [DONE]\n\n"


@pytest.mark.parametrize("is_final", [True, False])
@pytest.mark.parametrize(("done", "before"), [("[DONE]", ["a"]), (is_end, ["a", "[DONE]"])])
def test_how_many_events_came_before_the_end_mark_is_known_however_they_are_split(
    done: Done, before: list[str], is_final: bool
) -> None:
    for place in range(len(MIDDLE)):
        it = intake(EndMark(done=done, is_final=is_final))
        count, taken = None, 0
        for chunk in (MIDDLE[:place], MIDDLE[place:]):
            had = it.done_after is not None
            data = data_of(it.take(chunk)) if not it.is_over else []
            if not had and it.done_after is not None:
                count = taken + it.done_after
            taken += len(data)
        assert count == len(before)
        assert taken == len(before) + (0 if is_final else 2)
        assert it.is_done is it.is_over is is_final


def test_what_follows_a_mark_that_is_not_final_is_delivered_and_so_is_its_like() -> None:
    it = intake(EndMark(done="[DONE]", is_final=False))
    assert data_of(it.take(MIDDLE)) == ["a", "b", "[DONE]"]
    assert (it.done_after, it.is_over, it.last_event_id) == (1, False, "4")
    assert data_of(it.take(b"data: c\n\ndata: [DONE]\n\n")) == ["c", "[DONE]"]
    assert (it.done_after, it.is_over) == (1, False)


def test_a_mark_that_is_not_final_is_looked_for_once() -> None:
    asked: list[str] = []

    def is_it(event: ServerSentEvent) -> bool:
        asked.append(event.data)
        return is_end(event)

    it = intake(EndMark(done=is_it, is_final=False))
    assert data_of(it.take(MIDDLE)) == ["a", "[DONE]", "b", "[DONE]"]
    it.take(b"event: end\ndata: c\n\n")
    assert asked == ["a", "[DONE]"]


def test_the_last_event_id_moves_on_after_a_mark_that_is_not_final() -> None:
    it = intake(EndMark(done="[DONE]", is_final=False))
    it.take(b"id: 1\ndata: [DONE]\n\nid: 2\n\n")
    assert it.last_event_id == "2"
    it.take(b"id: 3\n\n")
    assert it.last_event_id == "3"


def test_what_is_too_large_after_a_mark_that_is_not_final_is_an_error() -> None:
    it = intake(EndMark(done="[DONE]", is_final=False))
    assert data_of(it.take(b"data: [DONE]\n\ndata: b\n\ndata: " + b"x" * 200)) == ["b"]
    assert it.done_after == 0
    assert isinstance(it.error, EventTooLarge)
    assert it.is_over
    assert not it.is_done


def test_no_mark_is_no_place() -> None:
    for done in (None, "[DONE]"):
        it = intake(done)
        it.take(b"data: a\n\n")
        assert it.done_after is None


def test_a_mark_is_required_and_final_where_nobody_says_more() -> None:
    assert mark_of(None) is None
    assert mark_of("[DONE]") == EndMark(done="[DONE]", is_required=True, is_final=True)
    assert mark_of(is_end) == EndMark(done=is_end)
    mark = EndMark(done="", is_required=False)
    assert mark_of(mark) is mark
