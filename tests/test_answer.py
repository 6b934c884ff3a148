"""What the head of an answer means."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysse._answer import (
    content_codings,
    is_event_stream,
    is_same_origin,
    parse_retry_after,
    redirected_method,
)

NOON = 1_700_000_000.0
"""Tue, 14 Nov 2023 22:13:20 GMT."""


# --- RSP-02 to RSP-05: the content type ---


@pytest.mark.parametrize(
    "value",
    [
        "text/event-stream",
        "text/event-stream;",
        "text/event-stream; charset=utf-8",
        "text/event-stream;charset=UTF-8",
        'text/event-stream; charset="UTF-8"',
        "text/event-stream; foo=bar",
        "TEXT/Event-Stream",
        " text/event-stream",
        "text/event-stream\t",
        "\t text/event-stream ;charset=utf-8 ",
        "text/event-stream; charset=windows-1252",
        "text/event-stream; charset=utf-16",
        'text/event-stream; note="a, b"',
        'text/event-stream; note="a \\", text/html"',
        'text/event-stream; note="never closed, text/html',
    ],
)
def test_an_event_stream_is_one_whatever_its_parameters(value: str) -> None:
    assert is_event_stream([value])


@pytest.mark.parametrize(
    "value",
    [
        "text/x-bogus",
        "x bogus",
        "text/event-stream-foobar;",
        "text/event-streamx",
        "text/html",
        "text/plain",
        "application/json",
        "text/*",
        "*/*",
        "",
        " ",
        ";",
        ",",
        "/",
        "text/",
        "/event-stream",
        "text /event-stream",
        "text/ event-stream",
        "text/event-stream charset=utf-8",
        '"text/event-stream"',
        "text/event\u2011stream",
        "text/event-\u017ftream",
    ],
)
def test_anything_else_is_none(value: str) -> None:
    assert not is_event_stream([value])


def test_no_content_type_is_no_event_stream() -> None:
    assert not is_event_stream([])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["application/json, text/event-stream; charset=utf-8"], True),
        (["application/json", "text/event-stream; charset=utf-8"], True),
        (["text/event-stream, text/html"], False),
        (["text/event-stream", "text/html"], False),
        (["text/event-stream", "*/*"], True),
        (["text/event-stream", "not a type"], True),
        (["text/event-stream", ""], True),
        (["text/event-stream,,"], True),
        (['text/html; x="', 'text/event-stream"'], False),
    ],
)
def test_of_several_content_types_the_last_valid_one_counts(values: list[str], expected: bool) -> None:
    assert is_event_stream(values) is expected


@given(st.lists(st.text(alphabet='text/event-stream;,"\\ \t=*é') | st.text()))
def test_no_content_type_is_too_strange_to_be_judged(values: list[str]) -> None:
    is_event_stream(values)


@pytest.mark.parametrize("value", ['"' * 20_000, '\\"' * 10_000, '"\\' * 10_000, "," * 20_000, '",' * 10_000])
def test_a_content_type_is_judged_in_linear_time(value: str) -> None:
    assert not is_event_stream([value])


# --- codings ---


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([""], []),
        (["identity"], []),
        (["gzip"], ["gzip"]),
        ([" GZip\t"], ["gzip"]),
        (["gzip, deflate"], ["gzip", "deflate"]),
        (["gzip", "deflate"], ["gzip", "deflate"]),
        (["gzip,,identity, br"], ["gzip", "br"]),
    ],
)
def test_codings_come_in_the_order_in_which_they_were_applied(values: list[str], expected: list[str]) -> None:
    assert content_codings(values) == expected


# --- Retry-After ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120\t", 120.0),
        ("0000000000000000120", 120.0),
        ("999999999999", 999_999_999_999.0),
        ("1000000000000", 1e12),
        ("9" * 5000, 1e12),
        ("0" * 5000, 0.0),
        ("0" * 5000 + "7", 7.0),
    ],
    ids=lambda value: str(value)[:20],
)
def test_retry_after_may_be_seconds_of_any_number_of_digits(value: str, expected: float) -> None:
    assert parse_retry_after(value, NOON) == expected


@pytest.mark.parametrize(
    "value",
    [
        "Tue, 14 Nov 2023 22:14:20 GMT",
        "Tuesday, 14-Nov-23 22:14:20 GMT",
        "Tue Nov 14 22:14:20 2023",
        "Tue, 14 Nov 2023 22:14:20 -0000",
        "Tue, 14 Nov 2023 23:14:20 +0100",
    ],
)
def test_retry_after_may_be_a_date(value: str) -> None:
    assert parse_retry_after(value, NOON) == 60.0


def test_a_date_that_is_past_asks_for_no_wait() -> None:
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", NOON) == 0.0


def test_a_date_at_the_end_of_time_is_a_long_wait() -> None:
    delay = parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", NOON)
    assert delay is not None
    assert delay > 1e11


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "-1",
        "+5",
        "1.5",
        "1e3",
        "1_000",
        "0x10",
        "soon",
        "120 seconds",
        "12:30",
        "inf",
        "nan",
        "²",
        "٣٠",
        "Tue, ١٤ Nov 2023 22:14:20 GMT",
        "Tue, 14 Nov 2023 22:14:20 GMT" + " " * 60 + "x",
        "Tue, 99 Nov 2023 22:14:20 GMT",
        "Tue, 14 Nov 99999 22:14:20 GMT",
        "Tue, 14 Nov 2023 25:61:61 GMT",
        "Tue, 14 Nov 2023 22:14:20 +9999999",
        "Mon, 01 Jan 0001 00:00:00 +2359",
    ],
)
def test_what_says_nothing_valid_asks_for_nothing(value: str | None) -> None:
    assert parse_retry_after(value, NOON) in (None, 0.0)
    if value is None or "Jan 0001" not in value:
        assert parse_retry_after(value, NOON) is None


@given(st.text() | st.text(alphabet="0123456789 ,:-+GMTNovTue", max_size=64))
def test_no_retry_after_is_too_strange_to_be_read(value: str) -> None:
    delay = parse_retry_after(value, NOON)
    assert delay is None or 0 <= delay <= 1e12


# --- redirects ---


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (200, "GET", None),
        (300, "GET", None),
        (304, "GET", None),
        (305, "GET", None),
        (301, "GET", "GET"),
        (302, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (301, "PUT", "PUT"),
        (303, "GET", "GET"),
        (303, "HEAD", "HEAD"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (309, "GET", None),
    ],
)
def test_redirects_change_the_method_as_fetch_says(status: int, method: str, expected: str | None) -> None:
    assert redirected_method(status, method) == expected


@dataclass
class Place:
    scheme: str
    host: str
    port: int | None = None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Place("http", "a"), Place("http", "a", 80), True),
        (Place("https", "a"), Place("https", "a", 443), True),
        (Place("http", "a", 81), Place("http", "a", 81), True),
        (Place("http", "a"), Place("https", "a"), False),
        (Place("http", "a", 443), Place("https", "a", 443), False),
        (Place("http", "a"), Place("http", "b"), False),
        (Place("http", "a"), Place("http", "a", 81), False),
        (Place("ftp", "a"), Place("ftp", "a"), True),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: Place, other: Place, expected: bool) -> None:
    assert is_same_origin(one, other) is expected
    assert is_same_origin(other, one) is expected
