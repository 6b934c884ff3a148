"""Payloads: how one becomes a query or a JSON body, and which are refused, with no value shown."""

import json
import math
from collections import OrderedDict, namedtuple
from datetime import date
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysse import InvalidRequest
from anysse._payload import MAX_DEPTH, json_body_of, query_of

SECRET = "hunter2"


class Colour(StrEnum):
    RED = "red"


class OldColour(str, Enum):  # noqa: UP042 - written so before Python 3.11, and its str() is its name
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Plain(Enum):
    ONE = 1


class Odd(float):
    """A float that does not write itself as one: numpy has such."""

    def __repr__(self) -> str:
        return "Odd(1.5)"


Point = namedtuple("Point", "x y")


def circular_list() -> list[object]:
    around: list[object] = []
    around.append(around)
    return around


def circular_mapping() -> dict[str, object]:
    around: dict[str, object] = {}
    around["again"] = MappingProxyType(around)
    return around


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def problem_of(payload: object) -> str:
    with pytest.raises(InvalidRequest) as caught:
        query_of(payload)
    assert caught.value.argument == "payload"
    assert caught.value.__cause__ is None
    return caught.value.reason


# --- What becomes of a payload in a query.


def test_no_payload_is_no_pair() -> None:
    assert query_of(None) == []
    assert query_of({}) == []


def test_a_mapping_is_one_pair_for_each_key_in_order() -> None:
    assert query_of({"b": "1", "a": "2", "": ""}) == [("b", "1"), ("a", "2"), ("", "")]
    assert query_of(MappingProxyType({"a": "1"})) == [("a", "1")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is, ü&=+", "as it is, ü&=+"),
        ('"quoted"', '"quoted"'),
        ("", ""),
        (12, "12"),
        (-1.5, "-1.5"),
        (1e22, "1e+22"),
        (0.1, "0.1"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_a_scalar_is_written_plainly(value: object, text: str) -> None:
    assert query_of({"key": value}) == [("key", text)]


@pytest.mark.parametrize(
    ("value", "text"),
    [(Colour.RED, "red"), (OldColour.RED, "red"), (Level.HIGH, "3"), (Odd(1.5), "1.5")],
)
def test_a_value_of_a_subclass_is_written_as_what_it_is_of(value: object, text: str) -> None:
    assert query_of({"key": value}) == [("key", text)]
    assert query_of({"key": [value]}) == [("key", text)]
    written = json.dumps({"in": text}) if isinstance(value, str) else f'{{"in":{text}}}'
    assert query_of({"key": {"in": value}}) == [("key", written.replace(" ", ""))]


def test_a_key_of_a_subclass_is_written_as_the_text_it_is() -> None:
    assert query_of({OldColour.RED: {OldColour.RED: 1}}) == [("red", '{"red":1}')]


def test_none_is_left_out() -> None:
    assert query_of({"a": None, "b": 0, "c": False}) == [("b", "0"), ("c", "false")]


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_items_of_a_list_are_joined_by_commas(kind: Any) -> None:
    assert query_of({"a": kind(["x", 1, 2.5, True, None, ""])}) == [("a", "x,1,2.5,true,")]
    assert query_of({"a": kind()}) == [("a", "")]
    assert query_of({"a": kind([None])}) == [("a", "")]


def test_a_named_tuple_is_a_tuple() -> None:
    assert query_of({"at": Point(1, 2)}) == [("at", "1,2")]


def test_what_is_nested_in_a_list_is_compact_json() -> None:
    assert query_of({"a": ["x", ["y", None], {"ü": (1, True)}]}) == [("a", 'x,["y",null],{"ü":[1,true]}')]


def test_a_nested_mapping_is_compact_json() -> None:
    value = {"b": [1, "ü"], "c": MappingProxyType({"d": OrderedDict(e=None)})}
    assert query_of({"a": value}) == [("a", '{"b":[1,"ü"],"c":{"d":{"e":null}}}')]


@pytest.mark.parametrize(
    ("payload", "text"),
    [("text", "text"), (7, "7"), (True, "true"), ([1, "a", None, [2]], "1,a,[2]"), ((), "")],
)
def test_a_payload_that_is_no_mapping_is_one_pair(payload: object, text: str) -> None:
    assert query_of(payload) == [("payload", text)]


def test_the_payload_is_not_changed() -> None:
    payload = {"a": [1, {"b": None}], "c": None}
    query_of(payload)
    assert payload == {"a": [1, {"b": None}], "c": None}


# --- What is refused.


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "object"),
        ({SECRET}, "set"),
        (SECRET.encode(), "bytes"),
        (bytearray(b"hunter2"), "bytearray"),
        (date(2026, 1, 1), "date"),
        (Decimal("1.5"), "Decimal"),
        (1j, "complex"),
        (Plain.ONE, "Plain"),
        (iter([1]), "list_iterator"),
        (int, "type"),
    ],
)
def test_a_value_without_one_form_is_refused_and_its_type_named(value: object, name: str) -> None:
    advice = f"is of type {name}, which has no one form in a query; convert it, or pass encode_params="
    assert problem_of(value) == f"payload {advice}"
    assert problem_of({"when": value}) == f"payload['when'] {advice}"
    assert problem_of({"a": [1, {"b": value}]}) == f"payload['a'][1]['b'] {advice}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    assert problem_of({"a": [value]}).startswith("payload['a'][0] is no finite number;")


@pytest.mark.parametrize("value", [10**5000, -(10**5000)], ids=["above zero", "below zero"])
def test_an_int_that_python_does_not_write_is_refused(value: int) -> None:
    for payload in ({"a": value}, {"a": [value]}, {"a": {"b": value}}, value):
        assert " is an int of more digits than Python writes;" in problem_of(payload)


def test_text_that_utf_8_cannot_write_is_refused() -> None:
    problem = "has an unpaired surrogate, which UTF-8 cannot write;"
    assert problem_of({"a": f"{SECRET}\ud800"}).startswith(f"payload['a'] {problem}")
    assert problem_of({"a": {"b": "\udfff"}}).startswith(f"payload['a']['b'] {problem}")
    assert problem_of({"\ud800": 1}).startswith(f"payload['\\ud800'] {problem}")


@pytest.mark.parametrize("key", [1, None, b"a", ("a",), True, Level.HIGH])
def test_a_key_that_is_no_text_is_refused_and_its_type_named(key: object) -> None:
    problem = f"has a key of type {type(key).__name__}, and keys must be str;"
    assert problem_of({key: SECRET}).startswith(f"payload {problem}")
    assert problem_of({"a": {key: SECRET}}).startswith(f"payload['a'] {problem}")


def test_what_contains_itself_is_refused() -> None:
    problem = f"contains itself, or is nested more than {MAX_DEPTH} deep;"
    assert problem_of({"a": circular_list()}).startswith(f"payload['a'] {problem}")
    assert problem_of(circular_list()).startswith(f"payload[0] {problem}")
    assert problem_of(circular_mapping()).startswith(f"payload['again'] {problem}")


def test_nesting_is_taken_up_to_the_limit() -> None:
    assert query_of(nested(MAX_DEPTH)) == [("payload", "[" * (MAX_DEPTH - 1) + "1" + "]" * (MAX_DEPTH - 1))]
    assert "nested more than" in problem_of(nested(MAX_DEPTH + 1))


def test_the_same_list_may_come_twice() -> None:
    twice = [1]
    assert query_of({"a": [twice, twice], "b": twice}) == [("a", "[1],[1]"), ("b", "1")]


def test_a_long_key_is_cut_where_it_is_shown() -> None:
    assert len(problem_of({"k" * 10_000: object()})) < 200


@pytest.mark.parametrize(
    "value",
    [
        f"{SECRET}\ud800",
        SECRET.encode(),
        {SECRET},
        {1: SECRET},
        [SECRET, math.nan],
        {"a": SECRET, "b": circular_list()},
    ],
)
def test_no_value_is_in_an_error(value: object) -> None:
    for payload in (value, {"key": value}, {"key": [value]}):
        assert SECRET not in problem_of(payload)


keys = st.text(st.characters(), max_size=5)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | keys | st.binary(max_size=3)
payloads = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys | st.integers(), inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4).map(MappingProxyType)
    ),
    max_leaves=8,
)


@given(payloads)
def test_any_payload_is_pairs_of_text_or_refused(payload: object) -> None:
    try:
        pairs = query_of(payload)
    except InvalidRequest:
        assert problem_of(payload).endswith("; convert it, or pass encode_params=")
    else:
        assert all(type(name) is str and type(value) is str for name, value in pairs)
        assert parse_qsl(urlencode(pairs), keep_blank_values=True) == pairs


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers() | st.text() | st.none())))
def test_a_nested_mapping_can_be_read_back(payload: dict[str, dict[str, object]]) -> None:
    assert {name: json.loads(value) for name, value in query_of(payload)} == payload


# --- What becomes of a payload in a body.


def test_no_payload_is_an_empty_object_in_a_body() -> None:
    assert json_body_of(None) == {}


@pytest.mark.parametrize("payload", [{}, [], "", 0, False, "text", 1.5])
def test_any_other_payload_is_the_body(payload: object) -> None:
    body = json_body_of(payload)
    assert (type(body), body) == (type(payload), payload)


def test_json_can_write_a_body_with_mappings_of_any_kind() -> None:
    payload = MappingProxyType({"a": (MappingProxyType({"b": 1}), OrderedDict(c=None)), 5: [Level.HIGH]})
    assert json.dumps(json_body_of(payload)) == '{"a": [{"b": 1}, {"c": null}], "5": [3]}'


def test_a_body_is_a_copy() -> None:
    payload: dict[str, list[int]] = {"a": [1]}
    body = json_body_of(payload)
    payload["a"].append(2)
    assert body == {"a": [1]}


def test_a_body_that_contains_itself_is_refused() -> None:
    for payload in (circular_list(), circular_mapping(), {10**5000: circular_list()}):
        with pytest.raises(
            InvalidRequest, match=f"itself, or is nested more than {MAX_DEPTH} deep"
        ) as caught:
            json_body_of(payload)
        assert caught.value.argument == "payload"
