"""What holds for any bytes in any pieces, by comparison with the reference parser."""

from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st

from anysse import ServerSentEvent, _parser
from tests import reference
from tests.readings import read_stream as read
from tests.readings import read_until_too_large

# Pieces of streams that are likely to go wrong side by side.
FRAGMENTS = [
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\n\ndata: ", b"\n\ndata:"),
    *(b"data: ", b"data:", b"data", b"event: ", b"event", b"id: ", b"id:", b"id", b"retry: ", b"retry"),
    *(b":", b": ", b" ", b"d", b"da", b"dat", b"colour: blue", b"x", b"xyz", b"\0", b"?"),
    *(
        b"0",
        b"1",
        b"99",
        b"0" * 20,
        b"9" * 19,
        b"-",
        b"+",
        b"_",
        "\u0661".encode(),
        "\u00b2".encode(),
        "\uff15".encode(),
    ),
    *(b"\xef\xbb\xbf", b"\xef\xbb", b"\xef", b"\xbf"),
    *("é".encode(), "日".encode(), "😀".encode(), "\u2028".encode(), "\x85".encode(), b"\x0b\x0c\x1c"),
    *(b"\xff", b"\xc0\x80", b"\xe2\x82", b"\xf0\x9f\x92", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80"),
]
NAMES = st.sampled_from([b"data", b"event", b"id", b"retry", b"", b"colour", b"dat", b"datax"])
COLONS = st.sampled_from([b": ", b":", b":  ", b""])
VALUES = st.sampled_from([b"", b"x", b"7", b"1500", b"a: b", b"\0", b"\xff", "日本".encode(), b"y" * 12])
ENDS = st.sampled_from([b"\n", b"\n", b"\r", b"\r\n", b"\n\n", b"\n\n", b"\r\r", b"\r\n\r\n"])
LINES = st.tuples(NAMES, COLONS, VALUES, ENDS).map(b"".join)

streams = st.one_of(
    st.lists(LINES, max_size=20).map(b"".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join),
    st.lists(st.one_of(LINES, st.sampled_from(FRAGMENTS)), max_size=30).map(b"".join),
    st.binary(max_size=60),
)
limits = st.integers(1, 40)
# From how many bytes on a read or a line is taken another way: small streams must see all of them.
thresholds = st.fixed_dictionaries(
    {
        "_SHORT_READ": st.sampled_from([0, 20, _parser._SHORT_READ]),
        "_LONG_READ": st.sampled_from([0, 20, _parser._LONG_READ]),
        "_SHORT_LINE": st.sampled_from([1, 10, _parser._SHORT_LINE]),
    }
)


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """Give a stream, cut anywhere: mostly into few pieces, some of them empty."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    if draw(st.integers(0, 9)) == 0:
        cuts = list(range(len(stream)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@settings(deadline=None)
@given(pieces(), thresholds, st.sampled_from(["", "41"]))
@example([b"data: a\n\ndata: \n\n\ndata: b\n\n"], {"_SHORT_READ": 0}, "")
@example([b"data: a\r", b"\n\r", b"\n"], {"_SHORT_READ": 0}, "")
def test_any_bytes_in_any_pieces_read_as_the_specification_says(
    chunks: list[bytes], ways: dict[str, int], last_event_id: str
) -> None:
    expected = reference.read(b"".join(chunks), last_event_id=last_event_id)
    with mock.patch.multiple(_parser, **ways):
        assert read(chunks, last_event_id=last_event_id) == expected


@settings(deadline=None)
@given(pieces(), thresholds, limits)
def test_an_event_above_the_limit_is_left_out_however_it_is_cut(
    chunks: list[bytes], ways: dict[str, int], limit: int
) -> None:
    expected = reference.read(b"".join(chunks), limit=limit)
    with mock.patch.multiple(_parser, **ways):
        assert read(chunks, limit=limit) == expected


@settings(deadline=None)
@given(pieces(), thresholds, limits)
def test_an_event_above_the_limit_raises_with_the_events_before_it(
    chunks: list[bytes], ways: dict[str, int], limit: int
) -> None:
    expected = reference.read_until_too_large(b"".join(chunks), limit)
    with mock.patch.multiple(_parser, **ways):
        assert read_until_too_large(chunks, limit) == expected


text = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)))
events = st.builds(
    ServerSentEvent,
    event=text.filter(bool),
    data=st.lists(text).map("\n".join),
    id=text.filter(lambda value: "\0" not in value),
    retry=st.none() | st.integers(0, 10**18 - 1),
)


def serialise(event: ServerSentEvent, end: str) -> str:
    lines = [f"event: {event.event}", f"id: {event.id}"]
    lines += [f"data: {line}" for line in event.data.split("\n")]
    if event.retry is not None:
        lines.append(f"retry: {event.retry}")
    return end.join([*lines, "", ""])


@settings(deadline=None)
@given(st.lists(events, max_size=5), st.sampled_from(["\n", "\r", "\r\n"]), st.integers(1, 50), thresholds)
def test_what_was_written_as_events_is_read_as_the_same(
    written: list[ServerSentEvent], end: str, size: int, ways: dict[str, int]
) -> None:
    stream = "".join(serialise(event, end) for event in written).encode()
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    with mock.patch.multiple(_parser, **ways):
        assert read(chunks).events == written
