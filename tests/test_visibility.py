"""Whether a program can be seen, as a plain value: who is told of what, in which order, whatever fails."""

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import anysse
from anysse import Visibility


@pytest.fixture
def told() -> list[str]:
    return []


def listener(told: list[str], name: str, visibility: Visibility) -> Callable[[], None]:
    return lambda: told.append(f"{name} {visibility.is_visible}")


def test_it_is_visible_until_it_is_hidden() -> None:
    visibility = Visibility()
    assert visibility.is_visible
    visibility.hide()
    assert not visibility.is_visible
    visibility.show()
    assert visibility.is_visible


def test_it_may_begin_hidden() -> None:
    assert not Visibility(is_visible=False).is_visible


def test_its_repr_is_short() -> None:
    assert repr(Visibility()) == "Visibility(is_visible=True)"
    assert repr(Visibility(is_visible=False)) == "Visibility(is_visible=False)"


@pytest.mark.parametrize("wrong", [0, 1, None, "yes"])
def test_what_is_no_bool_is_refused(wrong: Any) -> None:
    with pytest.raises(anysse.InvalidRequest) as caught:
        Visibility(is_visible=wrong)
    assert caught.value.argument == "is_visible"


def test_listeners_are_told_after_each_change_in_the_order_of_subscription(told: list[str]) -> None:
    visibility = Visibility()
    for name in "ab":
        visibility._subscribe(listener(told, name, visibility))
    visibility.hide()
    visibility.show()
    assert told == ["a False", "b False", "a True", "b True"]


def test_the_same_said_twice_is_one_change(told: list[str]) -> None:
    visibility = Visibility()
    visibility._subscribe(listener(told, "a", visibility))
    visibility.show()
    assert told == []
    visibility.hide()
    visibility.hide()
    assert told == ["a False"]


def test_whoever_unsubscribed_is_told_no_more(told: list[str]) -> None:
    visibility = Visibility()
    first = listener(told, "a", visibility)
    visibility._subscribe(first)
    visibility._unsubscribe(first)
    visibility._unsubscribe(first)
    visibility.hide()
    assert told == []


def test_a_listener_may_unsubscribe_itself_and_others(told: list[str]) -> None:
    visibility = Visibility()
    later = listener(told, "later", visibility)

    def leaving() -> None:
        told.append("leaving")
        visibility._unsubscribe(leaving)
        visibility._unsubscribe(later)

    for each in (leaving, later, listener(told, "last", visibility)):
        visibility._subscribe(each)
    visibility.hide()
    visibility.show()
    assert told == ["leaving", "last False", "last True"]


def test_who_subscribes_during_a_round_is_told_from_the_next_one_on(told: list[str]) -> None:
    visibility = Visibility()
    new = listener(told, "new", visibility)
    visibility._subscribe(lambda: visibility._subscribe(new))
    visibility.hide()
    assert told == []
    visibility.show()
    assert told == ["new True"]


def test_a_listener_may_change_it_and_all_see_what_is_true_by_then(told: list[str]) -> None:
    visibility = Visibility()
    visibility._subscribe(visibility.show)
    visibility._subscribe(listener(told, "a", visibility))
    visibility.hide()
    assert set(told) == {"a True"}


def test_one_that_fails_is_logged_and_stops_nobody(told: list[str], caplog: pytest.LogCaptureFixture) -> None:
    def failing() -> None:
        raise LookupError("mine")

    visibility = Visibility()
    visibility._subscribe(failing)
    visibility._subscribe(listener(told, "a", visibility))
    visibility.hide()
    assert told == ["a False"]
    [record] = caplog.records
    assert (record.name, record.levelno) == ("anysse", logging.ERROR)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_what_is_no_failure_leaves() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    visibility = Visibility()
    visibility._subscribe(interrupted)
    with pytest.raises(KeyboardInterrupt):
        visibility.hide()
    assert not visibility.is_visible


def test_it_keeps_nobody_who_unsubscribed() -> None:
    class Reader:
        def look(self) -> None: ...

    visibility, reader = Visibility(), Reader()
    visibility._subscribe(reader.look)
    visibility._unsubscribe(reader.look)
    found = weakref.ref(reader)
    del reader
    gc.collect()
    assert found() is None
