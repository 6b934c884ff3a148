"""What the parser promises, a test for each, and the shared vectors under many cuts."""

import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import pytest

from anysse import EventTooLarge, InvalidRequest, ServerSentEvent, _parser
from anysse._parser import EventStreamParser

VECTORS = json.loads((Path(__file__).parent / "conformance" / "vectors.json").read_text("utf-8"))
KIB = 1024
MIB = 1024 * KIB


def parse(*chunks: bytes, **options: Any) -> list[ServerSentEvent]:
    parser = EventStreamParser(**options)
    return [event for chunk in chunks for event in parser.feed(chunk)]


def data_of(*chunks: bytes, **options: Any) -> list[str]:
    return [event.data for event in parse(*chunks, **options)]


def comments_of(*chunks: bytes, **options: Any) -> list[str]:
    comments: list[str] = []
    parse(*chunks, on_comment=comments.append, **options)
    return comments


def cuts_of(stream: bytes) -> Iterator[list[bytes]]:
    """Give the stream whole, byte by byte, and in two at each place: of a long one, at some places."""
    yield [stream]
    yield [stream[i : i + 1] for i in range(len(stream))]
    step = 1 if len(stream) <= 200 else len(stream) // 50
    for i in range(1, len(stream), step):
        yield [stream[:i], b"", stream[i:]]


@pytest.fixture(params=["short reads too", "long reads alone"])
def any_read_is_long(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small streams take the fast way, too."""
    if request.param == "short reads too":
        monkeypatch.setattr(_parser, "_SHORT_READ", 0)
        monkeypatch.setattr(_parser, "_LONG_READ", 0)


every_way = pytest.mark.usefixtures("any_read_is_long")


# The vectors


def assert_conforms(chunks: Iterable[bytes], vector: dict[str, Any]) -> None:
    parser = EventStreamParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    assert [(event.event, event.data, event.id) for event in events] == [
        (event["type"], event["data"], event["last_event_id"]) for event in vector["events"]
    ]
    assert parser.last_event_id == vector["last_event_id_string"]
    retry = vector["retry_ms"]
    assert parser.reconnection_time == (None if retry is None else min(retry, 10**18 - 1) / 1000)


@every_way
@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_a_vector_gives_its_events_however_it_is_cut(vector: dict[str, Any]) -> None:
    chunks = [bytes.fromhex(chunk) for chunk in vector["chunks_hex"]]
    assert_conforms(chunks, vector)
    for cut in cuts_of(b"".join(chunks)):
        assert_conforms(cut, vector)


# The byte order mark


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_byte_order_mark_at_the_start_is_dropped_even_when_cut(cut: int) -> None:
    stream = b"\xef\xbb\xbfdata: x\n\n"
    assert data_of(stream[:cut], stream[cut:]) == ["x"]


def test_only_one_byte_order_mark_is_dropped() -> None:
    assert data_of(b"\xef\xbb\xbf\xef\xbb\xbfdata: lost\n\ndata: x\n\n") == ["x"]


def test_a_byte_order_mark_later_is_text() -> None:
    assert data_of(b"data: \xef\xbb\xbfx\n\n\xef\xbb\xbfdata: lost\n\n") == ["\ufeffx"]


def test_what_begins_like_a_byte_order_mark_but_is_none_is_kept() -> None:
    comments = comments_of(b"\xef", b"\xbb", b": no comment\n", b": one\n")
    assert comments == ["one"]


# Line ends


@every_way
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_all_three_line_ends_end_a_line(end: bytes) -> None:
    lines = [b"event: t", b"data: a", b"data: b", b"", b"data: c", b"", b""]
    expected = [ServerSentEvent("t", "a\nb"), ServerSentEvent(data="c")]
    for chunks in cuts_of(end.join(lines)):
        assert parse(*chunks) == expected


def test_a_cr_at_the_end_of_a_read_ends_its_line_at_once() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: x\r\r") == [ServerSentEvent(data="x")]
    assert parser.feed(b"data: y\r\n\r") == [ServerSentEvent(data="y")]


def test_an_lf_that_follows_such_a_cr_in_the_next_read_is_swallowed() -> None:
    assert data_of(b"data: x\r", b"\ndata: y\r", b"\n\r", b"\n") == ["x\ny"]
    assert data_of(b"data: x\r", b"", b"\ndata: y\r\n\r\n") == ["x\ny"], "an empty read changes nothing"


def test_only_one_lf_is_swallowed() -> None:
    assert data_of(b"data: x\r", b"\n\n") == ["x"]
    assert data_of(b"data: x\r", b"\n", b"\n") == ["x"]
    assert data_of(b"data: x\r", b"data: y\r", b"\r") == ["x\ny"]


@every_way
@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_what_other_formats_take_for_a_line_end_is_text(mark: str) -> None:
    for chunks in cuts_of(f"data: a{mark}b\n\n".encode()):
        assert data_of(*chunks) == [f"a{mark}b"]


# UTF-8


@every_way
@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff", "\ufffd"),
        (b"\xc0\x80", "\ufffd\ufffd"),
        (b"\xe2\x82", "\ufffd"),
        (b"\xf0\x9f\x92", "\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),
        ("日本😀é".encode(), "日本😀é"),
    ],
)
def test_broken_utf_8_is_replaced_and_never_raises(raw: bytes, text: str) -> None:
    for chunks in cuts_of(b"data: <" + raw + b"\ndata: " + raw + b">\n\ndata: ok\n\n"):
        assert data_of(*chunks) == [f"<{text}\n{text}>", "ok"]


# Fields


@every_way
def test_one_space_after_the_colon_is_dropped_and_no_more() -> None:
    stream = b"data:x\n\ndata: x\n\ndata:  x\n\ndata:\tx\n\n data: x\n\ndata : x\n\n"
    assert data_of(stream) == ["x", "x", " x", "\tx"]


@every_way
def test_a_data_field_without_a_value_is_an_empty_line() -> None:
    assert data_of(b"data\n\ndata:\n\ndata: \n\ndata\ndata\n\ndata:\ndata: x\ndata\n\n") == [
        "",
        "",
        "",
        "\n",
        "\nx\n",
    ]


@every_way
def test_field_names_are_matched_exactly() -> None:
    stream = (
        b"Data: a\ndat: b\ndatax: c\nDATA\nids: 1\nevents: e\nretry2: 1\n\xef\xbb\xbfdata: d\ndata: x\n\n"
    )
    for chunks in cuts_of(stream):
        parser = EventStreamParser()
        assert [event for chunk in chunks for event in parser.feed(chunk)] == [ServerSentEvent(data="x")]
        assert parser.reconnection_time is None


@every_way
def test_the_event_type_lasts_for_its_block_and_an_empty_one_is_message() -> None:
    stream = b"event: a\ndata: 1\n\ndata: 2\n\nevent: a\nevent\ndata: 3\n\nevent: lost\n\ndata: 4\n\n"
    assert [event.event for event in parse(stream)] == ["a", "message", "message", "message"]


@every_way
def test_a_block_without_data_is_no_event() -> None:
    assert parse(b"\n\n\nevent: t\n\nid: 7\n\nretry: 5\n\n: comment\n\nunknown: x\n\n") == []


@every_way
def test_blank_lines_after_an_id_are_no_events() -> None:
    assert parse(b"id: 1\ndata: x\n\n: heartbeat\n\n\n\n: heartbeat\n\n") == [
        ServerSentEvent(data="x", id="1")
    ]


@every_way
def test_an_unfinished_block_is_dropped() -> None:
    assert parse(b"data: x\n\ndata: y\n") == [ServerSentEvent(data="x")]
    assert parse(b"data: x\n\ndata: y") == [ServerSentEvent(data="x")]


# The last event ID


@every_way
def test_the_id_persists_until_another_comes() -> None:
    stream = b"data: 0\n\nid: 1\ndata: 1\n\ndata: 1\n\nid: 2\nid: 3\ndata: 3\n\nid\ndata: none\n\n"
    assert [event.id for event in parse(stream)] == ["", "1", "1", "3", ""]


@every_way
def test_the_last_event_id_moves_with_a_complete_block_even_without_data() -> None:
    parser = EventStreamParser()
    parser.feed(b"id: 7\n")
    assert parser.last_event_id == ""
    parser.feed(b"\n")
    assert parser.last_event_id == "7"


@every_way
def test_the_last_event_id_ignores_an_unfinished_block() -> None:
    parser = EventStreamParser()
    parser.feed(b"id: 1\ndata: x\n\nid: 2\ndata: y\n")
    assert parser.last_event_id == "1"


@every_way
def test_an_id_with_nul_is_ignored() -> None:
    assert [event.id for event in parse(b"id: 1\ndata: x\n\nid: 2\0\ndata: y\n\n")] == ["1", "1"]


def test_the_stream_goes_on_from_a_given_last_event_id() -> None:
    parser = EventStreamParser(last_event_id="41")
    assert parser.last_event_id == "41"
    assert parser.feed(b"data: x\n\n") == [ServerSentEvent(data="x", id="41")]


# The reconnection time


@every_way
@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [("0", 0), ("150", 150), ("00150", 150), ("000", 0), ("9" * 18, 10**18 - 1), ("1" + "0" * 17, 10**17)],
)
def test_a_retry_of_ascii_digits_is_a_number_of_milliseconds(value: str, milliseconds: int) -> None:
    parser = EventStreamParser()
    assert parser.feed(f"retry: {value}\ndata: x\n\n".encode()) == [
        ServerSentEvent(data="x", retry=milliseconds)
    ]
    assert parser.reconnection_time == milliseconds / 1000


@every_way
@pytest.mark.parametrize(
    "value",
    ["", "-1", "+1", "1.5", "1_000", "1e3", "0x1", " 1", "1 ", "\u0661", "\uff15", "\u00b2", "1\0", "150abc"],
)
def test_a_retry_of_anything_else_is_ignored(value: str) -> None:
    parser = EventStreamParser()
    assert parser.feed(f"retry: {value}\ndata: x\n\n".encode()) == [ServerSentEvent(data="x")]
    assert parser.reconnection_time is None


@every_way
@pytest.mark.parametrize("value", ["1" + "0" * 18, "9" * 5000, "0" * 100_000 + "9" * 19])
def test_a_huge_retry_saturates(value: str) -> None:
    parser = EventStreamParser()
    assert parser.feed(f"retry: {value}\ndata: x\n\n".encode())[0].retry == 10**18 - 1
    assert parser.reconnection_time == pytest.approx(1e15)


def test_leading_zeros_do_not_saturate() -> None:
    assert parse(b"retry: " + b"0" * 100_000 + b"5\ndata: x\n\n") == [ServerSentEvent(data="x", retry=5)]


@every_way
def test_a_retry_line_takes_effect_at_once() -> None:
    parser = EventStreamParser()
    parser.feed(b"data: x\nretry: 150\n")
    assert parser.reconnection_time == 0.15
    parser.feed(b"retry: 25")
    assert parser.reconnection_time == 0.15, "its line has not ended"
    parser.feed(b"0\n")
    assert parser.reconnection_time == 0.25


@every_way
def test_an_event_has_the_retry_of_its_own_block_alone() -> None:
    stream = b"retry: 1\n\ndata: a\n\nretry: 2\ndata: b\n\ndata: c\n\nretry: 3\nretry: x\ndata: d\n\n"
    assert [event.retry for event in parse(stream)] == [None, 2, None, 3]


# Comments


@every_way
def test_comments_are_told_in_order_without_one_leading_space() -> None:
    stream = b": a\n:b\n:  c\n:\n: \ndata: x\n: d: e\n\n:\xff\n"
    for chunks in cuts_of(stream):
        assert comments_of(*chunks) == ["a", "b", " c", "", "", "d: e", "\ufffd"]


def test_a_comment_is_told_as_soon_as_its_line_ends() -> None:
    comments: list[str] = []
    parser = EventStreamParser(on_comment=comments.append)
    parser.feed(b"data: x\n: beat")
    assert comments == []
    parser.feed(b"\r")
    assert comments == ["beat"]


def test_a_comment_within_a_block_leaves_it_whole() -> None:
    assert data_of(b"data: a\n: comment\ndata: b\n\n") == ["a\nb"]


def test_what_a_comment_callback_raises_leaves_feed() -> None:
    def fail(text: str) -> None:
        raise LookupError(text)

    with pytest.raises(LookupError, match="beat"):
        EventStreamParser(on_comment=fail).feed(b": beat\n")


def test_a_comment_above_the_limit_is_left_out() -> None:
    for chunks in cuts_of(b": 345678\n: 3456789\n: ok\n"):
        assert comments_of(*chunks, max_event_size=8) == ["345678", "ok"]


# The limit


def feed_until_too_large(chunks: list[bytes], limit: int) -> tuple[list[ServerSentEvent], bool]:
    parser = EventStreamParser(max_event_size=limit)
    events: list[ServerSentEvent] = []
    for chunk in chunks:
        try:
            events += parser.feed(chunk)
        except EventTooLarge as error:
            return events + error.events, True
    return events, False


@every_way
def test_an_event_of_just_the_limit_passes_and_one_byte_more_is_too_large() -> None:
    stream = b"event: e\ndata: 12\nid: 1\n\n"  # 8 + 8 + 5 bytes
    for chunks in cuts_of(stream):
        assert feed_until_too_large(chunks, 21) == ([ServerSentEvent("e", "12", "1")], False)
        assert feed_until_too_large(chunks, 20) == ([], True)


@every_way
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("line", [b"data: 89", b"data:789", b"event: 9", b"id: 6789", b"retry: 9"])
def test_every_kind_of_field_counts_and_its_line_end_does_not(line: bytes, end: bytes) -> None:
    assert len(line) == 8
    assert not feed_until_too_large([line + end + end], 8)[1]
    assert feed_until_too_large([line + end + end], 7)[1]
    assert feed_until_too_large([line + end], 7)[1]
    assert feed_until_too_large([line], 7)[1]


def test_the_limit_is_of_bytes_not_of_characters() -> None:
    assert feed_until_too_large(["data: é\n\n".encode()], 8) == ([ServerSentEvent(data="é")], False)
    assert feed_until_too_large(["data: é\n\n".encode()], 7)[1]
    assert not feed_until_too_large([b"data: \xff\n\n"], 7)[1]


def test_an_event_is_too_large_as_soon_as_it_exceeds_the_limit() -> None:
    parser = EventStreamParser(max_event_size=10)
    parser.feed(b"data: 7890")
    with pytest.raises(EventTooLarge):
        parser.feed(b"1")


@every_way
def test_the_error_has_the_events_before_it() -> None:
    parser = EventStreamParser(max_event_size=10)
    with pytest.raises(EventTooLarge) as caught:
        parser.feed(b"id: 1\n\ndata: a\n\ndata: b\n\nid: 2\ndata: 789012345\n\ndata: after\n\n")
    assert caught.value.max_event_size == 10
    assert [event.data for event in caught.value.events] == ["a", "b"]
    assert parser.last_event_id == "1"


def test_the_error_has_the_events_before_it_however_many_came_in_one_read() -> None:
    parser = EventStreamParser(max_event_size=3000)
    with pytest.raises(EventTooLarge) as caught:
        parser.feed(b"data: a\n\n" * 200 + b"data: " + b"x" * 3000)
    assert [event.data for event in caught.value.events] == ["a"] * 200


def test_after_it_every_feed_raises_again() -> None:
    parser = EventStreamParser(max_event_size=10)
    for chunk in (b"data: too large\n", b"\n\ndata: x\n\n", b""):
        with pytest.raises(EventTooLarge) as caught:
            parser.feed(chunk)
        assert caught.value.events == []
        assert caught.value.max_event_size == 10


@every_way
def test_the_size_is_of_one_event_not_of_the_stream() -> None:
    for chunks in cuts_of(b"data: 7890\n\n" * 5 + b"event: 890\n\n" * 5):
        assert len(feed_until_too_large(chunks, 10)[0]) == 5


@every_way
@pytest.mark.parametrize(
    "ignored", [b": beat", b": a comment", b"colour: blue", b"dat: x", b"data2: x", b"colourless"]
)
def test_comments_and_unknown_fields_do_not_count(ignored: bytes) -> None:
    for chunks in cuts_of(ignored + b"\ndata: 7890\n" + ignored + b"\n\n"):
        assert feed_until_too_large(chunks, 10) == ([ServerSentEvent(data="7890")], False)
        assert data_of(*chunks, max_event_size=10, on_comment=len) == ["7890"]


@every_way
def test_a_skipped_event_is_left_out_and_the_next_one_comes() -> None:
    stream = b"data: a\n\nevent: e\ndata: too large\ndata: b\n\ndata: c\n\n"
    for chunks in cuts_of(stream):
        assert parse(*chunks, max_event_size=12, oversize="skip") == [
            ServerSentEvent(data="a"),
            ServerSentEvent(data="c"),
        ]


@every_way
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_skipped_event_still_moves_the_last_event_id_and_the_reconnection_time(at: int) -> None:
    lines = [b"data: a", b"data: too large"]
    lines[at:at] = [b"id: 9\nretry: 50\n: beat"]
    for chunks in cuts_of(b"\n".join(lines) + b"\n\n"):
        comments: list[str] = []
        parser = EventStreamParser(max_event_size=12, oversize="skip", on_comment=comments.append)
        assert [event for chunk in chunks for event in parser.feed(chunk)] == []
        assert parser.last_event_id == "9"
        assert parser.reconnection_time == 0.05
        assert comments == ["beat"]


@every_way
@pytest.mark.parametrize("line", [b"id: 567890", b"retry: 890"])
def test_a_line_of_just_the_limit_is_heeded_in_a_skipped_event(line: bytes) -> None:
    assert len(line) == 10
    for chunks in cuts_of(b"data: too large\n" + line + b"\n\n"):
        parser = EventStreamParser(max_event_size=10, oversize="skip")
        for chunk in chunks:
            assert parser.feed(chunk) == []
        expected = ("567890", None) if line.startswith(b"id") else ("", 0.89)
        assert (parser.last_event_id, parser.reconnection_time) == expected


@every_way
def test_an_id_that_is_too_large_itself_is_ignored() -> None:
    for chunks in cuts_of(b"id: 1\n\nid: 345678901\ndata: a\n\ndata: b\n\n"):
        assert parse(*chunks, max_event_size=10, oversize="skip") == [ServerSentEvent(data="b", id="1")]


# Memory and work


def peak_of(action: Callable[[], object]) -> int:
    """Give how many bytes were allocated at most."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("start", [b":", b"colour: ", b"colour", b"dat", b"date: "])
@pytest.mark.parametrize("on_comment", [None, lambda text: None])
def test_an_endless_ignored_line_takes_no_memory(
    start: bytes, on_comment: Callable[[str], object] | None
) -> None:
    parser = EventStreamParser(on_comment=on_comment, max_event_size=16 * KIB if on_comment else MIB)
    piece = b"x" * KIB

    def feed() -> None:
        parser.feed(start)
        for _ in range(4 * KIB):
            parser.feed(piece)

    assert peak_of(feed) < 64 * KIB
    assert parser.feed(b"\ndata: ok\n\n") == [ServerSentEvent(data="ok")]


@pytest.mark.parametrize(
    "line", [b": beat\n", b"colour: blue\n", b"id: 1\n\n", b"retry: 1\n\n", b"event: e\n\n", b"\n"]
)
def test_endless_lines_without_data_take_no_memory(line: bytes) -> None:
    parser = EventStreamParser()
    piece = line * 100

    def feed() -> None:
        for _ in range(500):
            parser.feed(piece)

    assert peak_of(feed) < 64 * KIB


@pytest.mark.parametrize("piece", [b"x" * KIB, b"x\ndata: " * 128])
def test_a_skipped_event_takes_no_more_memory_than_the_limit(piece: bytes) -> None:
    parser = EventStreamParser(max_event_size=16 * KIB, oversize="skip")

    def feed() -> None:
        parser.feed(b"data: ")
        for _ in range(KIB):
            parser.feed(piece)

    assert peak_of(feed) < 256 * KIB
    assert parser.feed(b"\n\ndata: ok\n\n") == [ServerSentEvent(data="ok")]


@pytest.mark.parametrize("oversize", ["raise", "skip"])
def test_an_event_that_is_too_large_gives_its_memory_back(oversize: Literal["raise", "skip"]) -> None:
    parser = EventStreamParser(max_event_size=MIB, oversize=oversize)
    tracemalloc.start()
    try:
        parser.feed(b"event: " + b"x" * 500 * KIB + b"\n")
        for _ in range(500):
            parser.feed(b"data: " + b"x" * KIB + b"\n")
        with pytest.raises(EventTooLarge) if oversize == "raise" else nullcontext():
            parser.feed(b"data: " + b"x" * 100 * KIB)
        assert tracemalloc.get_traced_memory()[0] < 64 * KIB
    finally:
        tracemalloc.stop()


def test_a_growing_line_is_not_copied_at_each_read() -> None:
    # Work is counted, not timed: a buffer that grows in place stays the same object.
    parser = EventStreamParser()
    parser.feed(b"data: ")
    copies = 0
    for _ in range(KIB):
        before = parser._line
        parser.feed(b"x" * KIB)
        copies += parser._line is not before
    assert copies == 1
    assert parser.feed(b"\n\n")[0].data == "x" * MIB


def test_a_large_event_of_many_lines_comes_whole_from_small_reads() -> None:
    stream = b"data: line\n" * 100_000 + b"\n"
    chunks = [stream[i : i + 100] for i in range(0, len(stream), 100)]
    assert data_of(*chunks) == ["\n".join(["line"] * 100_000)]


def test_many_lines_of_an_event_are_kept_as_few_and_not_copied_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_parser, "_MANY_LINES", 8)
    parser = EventStreamParser()
    parser.feed(b"data: x\n" * 8)
    assert len(parser._data) == 8
    parser.feed(b"data: x\n")
    assert len(parser._data) == 1, "one more is too many"
    kept = []
    for _ in range(8):
        parser.feed(b"data: x\n" * 9)
        kept.append(len(parser._data))
    assert kept == [2, 3, 4, 1, 2, 3, 4, 1], "what was joined is joined again once it is half of many"
    assert parser.feed(b"\n") == [ServerSentEvent(data="\n".join(["x"] * 81))]


def test_a_limit_below_the_size_of_a_read_holds_within_the_read() -> None:
    stream = b"data: 7890\n\n" * 1000 + b"data: 78901\n\n"
    events, is_too_large = feed_until_too_large([stream], 10)
    assert (len(events), is_too_large) == (1000, True)


# The short ways. Work is counted, not timed: what the long way is asked to take.


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What each part of the parser was given."""
    given: dict[str, list[Any]] = {}
    for name in ("_take_lines", "_take_blocks", "_take_fields", "_process_field", "_is_of_use"):
        given[name] = note_calls(name, monkeypatch)
    return given


def note_calls(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    method = getattr(EventStreamParser, name)

    def noting(parser: EventStreamParser, *args: Any) -> Any:
        if args[0]:
            calls.append(args[0])
        return method(parser, *args)

    monkeypatch.setattr(EventStreamParser, name, noting)
    return calls


@pytest.mark.parametrize("limit", [7, 8])
def test_a_read_that_is_one_data_line_is_not_cut_into_lines(taken: dict[str, list[Any]], limit: int) -> None:
    parser = EventStreamParser(max_event_size=limit)
    assert parser.feed(b"data: a\n\n") == parser.feed(b"data: a\n\n") == [ServerSentEvent(data="a")]
    assert not any(taken.values())


BLOCK = b"data: 7890\n\n"


def test_whole_blocks_of_a_long_read_are_not_taken_line_by_line(taken: dict[str, list[Any]]) -> None:
    parser = EventStreamParser()
    assert len(parser.feed(b"data: be" + BLOCK * 200)) == 200
    assert len(parser.feed(b"data: be")) == 0
    assert len(parser.feed(b"gun\n\n" + BLOCK * 200 + b"data: x")) == 201
    assert len(parser.feed(b"\n\n" + BLOCK * 200 + b": beat\n")) == 201
    assert taken["_take_lines"] == [b"data: be", b"gun\n\n", b"data: x", b"\n\n", b": beat\n"]
    assert not taken["_take_fields"]


@pytest.mark.parametrize("held", [b"", b"data: a", b"data: a\n"])
@pytest.mark.parametrize(("spare", "is_fast"), [(0, True), (-1, False)])
def test_as_many_bytes_as_an_event_may_have_are_not_counted(
    taken: dict[str, list[Any]], held: bytes, spare: int, is_fast: bool
) -> None:
    blocks = BLOCK * 200
    parser = EventStreamParser(max_event_size=len(blocks) - 2 + spare)
    parser.feed(held)
    parser.feed((b"\n\n" if held else b"") + blocks)
    assert bool(taken["_take_blocks"]) is is_fast


@pytest.mark.parametrize("held", [b"", b"data: a"])
@pytest.mark.parametrize(("length", "is_fast"), [(511, True), (512, False)])
def test_a_long_line_says_that_cutting_out_blocks_would_be_slow(
    taken: dict[str, list[Any]], held: bytes, length: int, is_fast: bool
) -> None:
    parser = EventStreamParser()
    parser.feed(held)
    parser.feed((b"\n\n" if held else b"") + b"data: ".ljust(length, b"x") + b"\n\n" + BLOCK * 100)
    assert bool(taken["_take_blocks"]) is is_fast


@pytest.mark.parametrize(("size", "is_cut"), [(1023, False), (1024, True)])
def test_whole_blocks_are_cut_out_where_that_is_worth_it(
    taken: dict[str, list[Any]], size: int, is_cut: bool
) -> None:
    rest = BLOCK * 80
    EventStreamParser().feed(b"data: ".ljust(size - len(rest) - 2, b"x") + b"\n\n" + rest)
    assert bool(taken["_take_blocks"]) is is_cut


@pytest.mark.parametrize(("size", "is_long"), [(4095, False), (4096, True)])
def test_a_long_read_of_long_lines_is_split_in_the_way_that_is_fast_for_them(
    monkeypatch: pytest.MonkeyPatch, size: int, is_long: bool
) -> None:
    split, reads = _parser._split_long, []

    def noting(text: bytes) -> list[bytes]:
        reads.append(text)
        return split(text)

    monkeypatch.setattr(_parser, "_split_long", noting)
    stream = b"data: ".ljust(size - 2, b"x") + b"\n\n"
    assert len(EventStreamParser().feed(stream)) == 1
    assert reads == ([stream] if is_long else [])


def test_bare_data_lines_are_not_looked_at_field_by_field(taken: dict[str, list[Any]]) -> None:
    named = b"event: e\ndata: a\ndata: b\n\n"
    parser = EventStreamParser()
    assert len(parser.feed(BLOCK * 200 + named + BLOCK * 200)) == 401
    assert taken["_take_fields"] == [(BLOCK + named).decode()[:-2]]
    assert taken["_process_field"] == ["event"]


def test_a_data_line_that_grows_is_not_judged_at_each_read(taken: dict[str, list[Any]]) -> None:
    parser = EventStreamParser(max_event_size=10)
    for piece in (b"data:", b"6", b"78", b"90"):
        parser.feed(piece)
    assert not taken["_is_of_use"]
    assert parser.feed(b"\n\n") == [ServerSentEvent(data="67890")]


@pytest.mark.parametrize("limit", [18, 19])
def test_data_lines_are_taken_as_such_wherever_they_come(taken: dict[str, list[Any]], limit: int) -> None:
    parser = EventStreamParser(max_event_size=limit + 1)
    assert data_of(b"data: a\ndata: b\nid:9\n\n", max_event_size=limit) == ["a\nb"]
    assert taken["_process_field"] == ["id"]
    assert parser.feed(b"event:7890\ndata: 678\n") == []
    assert taken["_process_field"] == ["id", "event"]


# Arguments


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_taken(convert: Callable[[bytes], Any]) -> None:
    assert data_of(*map(convert, [b"data: ", b"x", b"y", b"\n\n", b"data: z\n\n"])) == ["xy", "z"]


def test_a_chunk_may_be_changed_after_it_was_fed() -> None:
    parser = EventStreamParser()
    parser.feed(b": the start\n")
    chunk = bytearray(b"data: x")
    parser.feed(chunk)
    chunk[:] = b"garbage"
    assert parser.feed(b"\n\n") == [ServerSentEvent(data="x")]


# Between events


@every_way
@pytest.mark.parametrize(
    ("stream", "is_between"),
    [
        (b"", True),
        (b"\xef\xbb\xbf", True),
        (b"\n", True),
        (b"data: x\n\n", True),
        (b"data: x\r\n\r\n", True),
        (b"data: x\r\r", True),
        (b"data: x\n\n: beat\n", True),
        (b"data: x\n\n: beat\n\n", True),
        (b": beat\r", True),
        (b"of no use: x\n", True),
        (b"d", False),
        (b":", False),
        (b"of no use", False),
        (b"data: x", False),
        (b"data: x\n", False),
        (b"data: x\r", False),
        (b"data\n", False),
        (b"id: 1\n", False),
        (b"event: a\n", False),
        (b"data: x\n: beat\n", False),
        (b"data: x\n\n: beat", False),
        (b"data: x\n\ndata: y\n", False),
    ],
)
@pytest.mark.parametrize("on_comment", [None, str])
def test_it_says_whether_it_is_between_events(
    stream: bytes, is_between: bool, on_comment: Callable[[str], object] | None
) -> None:
    for cut in cuts_of(stream):
        parser = EventStreamParser(on_comment=on_comment)
        for chunk in cut:
            parser.feed(chunk)
        assert parser.is_between_events == is_between


@every_way
def test_between_events_the_rest_is_a_stream_of_its_own() -> None:
    stream = b"data: 1\n\n: beat\n\nid: a\nevent: b\ndata: 2\ndata: 3\n\n"
    stream += b"none: x\r\ndata: 4\r\n\r\n:\n\ndata: 5\n\n"
    betweens = 0
    for cut in range(len(stream) + 1):
        parser = EventStreamParser()
        parser.feed(stream[:cut])
        if parser.is_between_events:
            betweens += 1
            fresh = EventStreamParser(last_event_id=parser.last_event_id)
            assert fresh.feed(stream[cut:]) == parser.feed(stream[cut:]), cut
    assert betweens == 12


def test_an_event_that_is_skipped_has_begun_until_it_ends() -> None:
    parser = EventStreamParser(max_event_size=10, oversize="skip")
    parser.feed(b"data: " + b"x" * 20 + b"\n")
    assert not parser.is_between_events
    parser.feed(b"\n")
    assert parser.is_between_events


@pytest.mark.parametrize("chunk", ["data: x\n\n", None, 5, [1, 2]])
def test_what_is_no_bytes_is_refused(chunk: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"chunk: must be bytes, not {type(chunk).__name__}"):
        EventStreamParser().feed(chunk)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("max_event_size", 0),
        ("max_event_size", -1),
        ("max_event_size", 1.5),
        ("max_event_size", True),
        ("max_event_size", None),
        ("oversize", "drop"),
        ("oversize", None),
        ("on_comment", "print"),
        ("last_event_id", None),
        ("last_event_id", b"1"),
        ("last_event_id", "1\0"),
        ("last_event_id", "1\n"),
        ("last_event_id", "1\r"),
    ],
)
def test_a_wrong_argument_is_refused_by_its_name(argument: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        EventStreamParser(**{argument: value})
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("on_comment", "print", "must be a function or None, not 'print'"),
        pytest.param(
            "last_event_id", 10**5000, "must be a str without NUL, CR and LF, not this int", id="a huge one"
        ),
        ("last_event_id", "1\n", "must be a str without NUL, CR and LF, not '1\\n'"),
    ],
)
def test_what_is_refused_is_shown(argument: str, value: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        EventStreamParser(**{argument: value})
    assert caught.value.reason == reason


def test_one_byte_is_the_least_limit() -> None:
    assert EventStreamParser(max_event_size=1).feed(b": beat\n\n") == []


def test_options_are_keywords() -> None:
    with pytest.raises(TypeError):
        EventStreamParser(1024)  # type: ignore[misc]
