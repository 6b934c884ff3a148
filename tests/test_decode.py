"""Decoders: what becomes of an event, whatever a server sends, and what their errors say."""

import json
import math
import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anysse import DecodeError, InvalidRequest, ServerSentEvent, decoders
from anysse._decode import SKIP, Skip, decoded, json_or_text, text

SECRET = "hunter2"


def event(data: str) -> ServerSentEvent:
    return ServerSentEvent(event="tick", data=data)


def raising(error: BaseException) -> Any:
    def decode(event: ServerSentEvent) -> str:
        raise error

    return decode


def failure_of(decode: Any, data: str) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decoded(event(data), decode)
    return caught.value


def refuse_constant(name: str) -> None:
    raise ValueError(name)


def test_the_public_decoders_are_the_ones_tested_here() -> None:
    assert decoders.__all__ == ["Skip", "json_or_text", "text"]
    assert (decoders.Skip, decoders.json_or_text, decoders.text) == (Skip, json_or_text, text)


# --- text


@given(st.text(st.characters()))
def test_text_gives_the_data_as_it_is(data: str) -> None:
    assert text(event(data)) == data


# --- json_or_text


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ('"quoted"', "quoted"),
        ("12", 12),
        ("null", None),
        (" [\n] ", []),
        ('{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_json_is_parsed(data: str, value: object) -> None:
    assert json_or_text(event(data)) == value


@pytest.mark.parametrize("data", ["[DONE]", "hello", "{", "1 2", "'a'", "01", "\ufeff1", '"\n"', "\x00"])
def test_what_is_no_json_is_the_text_itself(data: str) -> None:
    assert json_or_text(event(data)) == data


def test_no_data_is_the_empty_text() -> None:
    assert json_or_text(event("")) == ""


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("frame", ["{}", "[{}]", '{{"a": [1, {}]}}'])
def test_nan_and_infinity_are_no_json_wherever_they_stand(name: str, frame: str) -> None:
    data = frame.format(name)
    assert json_or_text(event(data)) == data


def test_the_words_nan_and_infinity_may_be_in_json_as_text() -> None:
    assert json_or_text(event('["NaN", "Infinity"]')) == ["NaN", "Infinity"]


def test_a_number_that_no_float_holds_is_infinite() -> None:
    assert json_or_text(event("[1e999, -1e999]")) == [math.inf, -math.inf]


@pytest.mark.parametrize(
    "data",
    ["[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000, "9" * 5000, f"[-{'9' * 5000}]"],
    ids=["lists", "objects", "closed lists", "digits", "digits in a list"],
)
def test_json_that_python_cannot_parse_is_the_text_itself(data: str) -> None:
    assert json_or_text(event(data)) == data


def test_hostile_data_leaves_the_decoder_as_good_as_it_was() -> None:
    json_or_text(event('{"a":' * 200_000))
    assert json_or_text(event('{"a": 1}')) == {"a": 1}


def test_unpaired_surrogates_raise_nothing() -> None:
    assert json_or_text(event("\ud83d")) == "\ud83d"
    # The grammar of RFC 8259 allows it, and servers that cut text into tokens send it: half an emoji.
    assert json_or_text(event('{"token": "\\ud83d"}')) == {"token": "\ud83d"}


json_text = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
).map(json.dumps)


@given(st.text(st.characters()) | st.text('[]{}":,0123456789.eE+-\\utrnaflsINty \n') | json_text)
@example("[NaN]")
def test_any_text_is_its_json_or_itself(data: str) -> None:
    try:
        wanted = json.loads(data, parse_constant=refuse_constant)
    except ValueError:
        wanted = data
    given = json_or_text(event(data))
    assert (type(given), given) == (type(wanted), wanted)


# --- decoded


def test_what_a_decoder_gives_is_handed_on() -> None:
    assert decoded(event("7"), lambda event: int(event.data)) == 7
    assert decoded(event("7"), ServerSentEvent.json) == 7


def test_a_class_is_a_decoder() -> None:
    class Tick:
        def __init__(self, event: ServerSentEvent) -> None:
            self.price = event.json()["price"]

    tick = decoded(event('{"price": 3}'), Tick)
    assert isinstance(tick, Tick)
    assert tick.price == 3


def test_skip_is_handed_on_as_the_one_it_is() -> None:
    def decode(event: ServerSentEvent) -> str | Skip:
        return SKIP

    assert decoded(event("ping"), decode) is SKIP
    assert pickle.loads(pickle.dumps(SKIP)) is SKIP


def test_a_value_error_is_a_decode_error_with_the_event_and_the_cause() -> None:
    cause = ValueError("why")
    error = failure_of(raising(cause), "a")
    assert error.event == event("a")
    assert error.__cause__ is cause
    assert str(error) == "cannot decode an event of type 'tick': ValueError"


def test_a_json_error_says_where_in_the_data() -> None:
    error = failure_of(ServerSentEvent.json, f'{{\n"{SECRET}": oops}}')
    assert isinstance(error.__cause__, json.JSONDecodeError)
    assert error.reason == "JSONDecodeError at line 2, column 12"


@pytest.mark.parametrize(
    "decode",
    [
        ServerSentEvent.json,
        lambda event: int(event.data),
        lambda event: event.data.encode("ascii"),
        raising(InvalidRequest("data", SECRET)),
    ],
)
def test_a_decode_error_shows_nothing_of_the_data(decode: Any) -> None:
    error = failure_of(decode, f"{SECRET} ²")
    assert SECRET not in f"{error}{error!r}{error.headline}{error.reason}"


def test_a_decode_error_of_a_decoder_passes_as_it_is() -> None:
    class BadTick(DecodeError, ValueError):
        pass

    for error in (DecodeError("why", event=event("a")), BadTick("why", event=event("a"))):
        assert failure_of(raising(error), "b") is error
        assert error.__cause__ is None


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("a"), RecursionError(), KeyboardInterrupt()])
def test_anything_else_that_a_decoder_raises_leaves_as_itself(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        decoded(event("a"), raising(error))
    assert caught.value is error
