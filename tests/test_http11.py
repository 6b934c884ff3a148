"""The parser of responses, without any I/O: what is accepted is read as what it is, all else is refused.

Every case of the corpus is fed whole, in every two pieces and byte by byte.
"""

import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from anysse._http11 import (
    MAX_HEAD_SIZE,
    MAX_HEADER_FIELDS,
    ResponseParser,
    TransportFailure,
    request_body_length,
)
from tests.http11_corpus import BAD, CHUNKED, ENDLESS, GOOD, LAST_CHUNK, STATUS_LINE, Bad, Good, head, length
from tests.readings import Outcome, comparable, read_by_h11
from tests.readings import read_response as read

pytestmark = pytest.mark.once


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def every_split(data: bytes) -> Iterator[list[bytes]]:
    """Give bytes whole, byte by byte, and in every two pieces (every few hundredth, of what is long)."""
    yield [data]
    yield each_byte(data)
    for at in range(1, len(data), 1 + len(data) // 500):
        yield [data[:at], data[at:]]


def named(cases: Iterable[Good | Bad]) -> list[str]:
    return [case.name for case in cases]


def is_as_it_should_be(case: Good, outcome: Outcome) -> bool:
    return outcome.failure is None and (
        outcome.status,
        outcome.headers,
        outcome.body,
        outcome.is_complete,
    ) == (
        case.status,
        case.headers,
        case.body,
        True,
    )


def test_the_names_of_the_corpus_are_its_cases() -> None:
    for names in (named(GOOD), named(BAD), [case.name for case in ENDLESS]):
        assert len(set(names)) == len(names)


def test_what_is_accepted_is_read_as_what_it_is_however_it_is_split() -> None:
    wrong = [
        (case.name, pieces, outcome)
        for case in GOOD
        for pieces in every_split(case.data)
        for outcome in [read(pieces, method=case.method, at_end=case.until_close)]
        if not is_as_it_should_be(case, outcome)
    ]
    assert wrong == []


def test_only_what_may_be_reused_is_called_so() -> None:
    wrong = [
        (case.name, pieces)
        for case in GOOD
        for pieces in every_split(case.data)
        for outcome in [read(pieces, method=case.method, at_end=case.until_close)]
        if not case.surplus and case.is_reusable not in (None, outcome.is_reusable)
    ]
    assert wrong == []


def test_what_follows_a_response_in_the_same_read_is_dropped_and_the_connection_with_it() -> None:
    for case in GOOD:
        if not case.surplus:
            continue
        for at in range(len(case.data)):  # the last piece has an end of the response in it
            pieces = [case.data[:at], case.data[at:] + case.surplus]
            outcome = read(pieces, method=case.method)
            assert is_as_it_should_be(case, outcome), (case.name, at, outcome)
            assert case.is_reusable in (None, outcome.is_reusable), (case.name, at)


def test_what_is_refused_is_refused_however_it_is_split_and_before_the_connection_ends() -> None:
    wrong = [
        (case.name, pieces, outcome)
        for case in BAD
        for pieces in every_split(case.data)
        for outcome in [read(pieces, method=case.method, at_end=case.only_at_the_end)]
        if outcome.failure is None or outcome.failure.kind != "RemoteProtocolError"
    ]
    assert wrong == []


def test_what_is_refused_gave_nothing_that_is_not_of_its_body() -> None:
    for case in BAD:
        for pieces in every_split(case.data):
            outcome = read(pieces, method=case.method, at_end=case.only_at_the_end)
            assert case.body.startswith(outcome.body), (case.name, pieces, outcome)
            assert not outcome.is_complete, (case.name, pieces, outcome)


def test_a_response_that_was_refused_stays_refused() -> None:
    for case in BAD:
        parser = ResponseParser(case.method.encode())
        with pytest.raises(TransportFailure):  # noqa: PT012 - as a connection has it: fed, then at its end
            parser.feed(case.data)
            parser.feed_eof()
        with pytest.raises(TransportFailure):  # noqa: PT012
            parser.feed(head(length(5)) + b"hello")
            parser.feed_eof()
        assert not parser.is_complete, case.name


def test_the_end_of_the_connection_in_mid_response_is_an_error_at_every_byte() -> None:
    for case in GOOD:
        if case.until_close:
            continue
        for at in range(0, len(case.data), 1 + len(case.data) // 500):
            outcome = read([case.data[:at]], method=case.method, at_end=True)
            assert outcome.failure is not None, (case.name, case.data[:at])
            assert outcome.failure.kind == "RemoteProtocolError"
            assert case.body.startswith(outcome.body), (case.name, case.data[:at])


def test_a_body_until_the_connection_ends_is_what_came_of_it() -> None:
    for case in GOOD:
        if not case.until_close:
            continue
        size_of_head = len(case.data) - len(case.body)
        for at in range(len(case.data)):
            outcome = read([case.data[:at]], method=case.method, at_end=True)
            assert (outcome.failure is None) is (at >= size_of_head), (case.name, case.data[:at])
            assert outcome.body == case.data[size_of_head:at]
            assert not outcome.is_reusable


def test_the_end_of_the_connection_after_a_response_is_no_error() -> None:
    for case in GOOD:
        parser = ResponseParser(case.method.encode())
        parser.feed(case.data)
        parser.feed_eof()
        assert parser.is_complete, case.name
        assert not parser.is_reusable, case.name


@pytest.mark.parametrize("size", [1, 4096, 65_536])
def test_what_has_no_end_is_refused_before_it_took_much(size: int) -> None:
    for case in ENDLESS:
        parser = ResponseParser(b"GET")
        fed = 0
        tracemalloc.start()
        try:
            with pytest.raises(TransportFailure):  # noqa: PT012 - it is one of many that raises
                for piece in case.pieces(size):
                    fed += len(piece)
                    assert not parser.feed(piece), case.name
                    assert fed <= 2 * MAX_HEAD_SIZE + size, case.name
            assert tracemalloc.get_traced_memory()[1] < 1_000_000, case.name
        finally:
            tracemalloc.stop()


def test_a_response_may_have_as_many_headers_as_the_limit_says() -> None:
    field = (b"X", b"y")
    for count in (MAX_HEADER_FIELDS - 1, MAX_HEADER_FIELDS):
        outcome = read([head(*[field] * count, length(0))])
        assert (outcome.failure is None) is (count + 1 <= MAX_HEADER_FIELDS)


def test_trailers_count_as_headers() -> None:
    many = b"X: y\r\n" * MAX_HEADER_FIELDS
    assert read([head(CHUNKED) + b"0\r\n" + many + b"\r\n"]).failure is not None


def test_a_large_body_is_given_in_full() -> None:
    body = bytes(range(256)) * 4096
    for data in (
        head(length(len(body))) + body,
        head(CHUNKED) + b"%x\r\n%b\r\n" % (len(body), body) + LAST_CHUNK,
    ):
        pieces = [data[at : at + 1400] for at in range(0, len(data), 1400)]
        assert read(pieces).body == body


def test_a_chunk_for_each_byte_is_no_waste() -> None:
    count = 4 * MAX_HEAD_SIZE
    outcome = read(iter([head(CHUNKED), *[b"1\r\nx\r\n"] * count, LAST_CHUNK]))
    assert outcome.failure is None
    assert outcome.body == b"x" * count


# Responses that a model makes.

TOKEN: Final = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12).map(str.encode)
VALUE: Final = (
    st.binary(max_size=30)
    .map(lambda data: bytes(byte for byte in data if byte in b"\t " or (byte > 0x20 and byte != 0x7F)))
    .map(lambda value: value.strip(b" \t"))
)
SPACE: Final = st.sampled_from([b"", b" ", b"\t", b"  ", b" \t "])
RESERVED: Final = (b"content-length", b"transfer-encoding", b"connection", b"proxy-connection", b"upgrade")
FIELDS: Final = st.lists(
    st.tuples(TOKEN.filter(lambda name: name.lower() not in RESERVED), VALUE), max_size=6
)
REASON: Final = st.sampled_from([b"", b" ", b" OK", b" Not\tfound", b" caf\xe9", b"  x "])
EXTENSION: Final = st.sampled_from([b"", b"", b"", b";a", b";a=b", b';a="b;c"', b';a="\\"";d=e'])


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A response, and its bytes."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    data: bytes
    until_close: bool


@st.composite
def responses(draw: st.DrawFn) -> Model:
    """Make a response that is well-formed."""
    data = b""
    for status in draw(st.lists(st.sampled_from([100, 102, 103, 104]), max_size=2)):
        data += b"HTTP/1.1 %d%b\r\n" % (status, draw(REASON)) + _fields(draw, draw(FIELDS)) + b"\r\n"
    status = draw(st.sampled_from([200, 200, 206, 404, 500, 204, 304]))
    body = draw(st.binary(max_size=200))
    framing: str = draw(st.sampled_from(["length", "chunked", "close"]))
    headers = draw(FIELDS)
    if framing != "close":
        field = length(len(body)) if framing == "length" else CHUNKED
        headers.insert(draw(st.integers(0, len(headers))), field)
    data += b"HTTP/1.1 %d%b\r\n" % (status, draw(REASON)) + _fields(draw, headers) + b"\r\n"
    if status in (204, 304):
        body = b""
    elif framing == "chunked":
        data += _chunks(draw, body)
    else:
        data += body
    return Model(
        status=status,
        headers=tuple(headers),
        body=body,
        data=data,
        until_close=framing == "close" and status not in (204, 304),
    )


def _fields(draw: st.DrawFn, fields: list[tuple[bytes, bytes]]) -> bytes:
    lines = []
    for name, value in fields:
        after = draw(SPACE)
        if name.lower() in RESERVED:
            after = after.replace(b"\t", b" ")  # llhttp knows no tabs there
        lines.append(b"%b:%b%b%b\r\n" % (name, draw(SPACE), value, after))
    return b"".join(lines)


def _chunks(draw: st.DrawFn, body: bytes) -> bytes:
    data = b""
    while body:
        size = draw(st.integers(1, len(body)))
        number = draw(st.sampled_from([b"%x", b"%X", b"%04x"])) % size
        data += number + draw(EXTENSION) + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    trailers = draw(st.lists(st.tuples(TOKEN.map(lambda name: b"X-" + name), VALUE), max_size=2))
    return data + b"0" + draw(EXTENSION) + b"\r\n" + _fields(draw, trailers) + b"\r\n"


@st.composite
def cut_up(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Give bytes in pieces."""
    sizes = draw(st.lists(st.integers(1, max(1, len(data))), max_size=12))
    ends = [0, *(end for end in accumulate(sizes) if end < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@given(st.data(), responses())
def test_a_well_formed_response_is_read_as_what_it_is(data: st.DataObject, response: Model) -> None:
    pieces = data.draw(cut_up(response.data))
    outcome = read(pieces, at_end=response.until_close)
    assert outcome.failure is None
    assert (outcome.status, outcome.headers, outcome.body, outcome.is_complete) == (
        response.status,
        response.headers,
        response.body,
        True,
    )
    assert outcome.is_reusable is not response.until_close


# Responses that were damaged, with h11 as the judge of those that are taken nevertheless.

NASTY: Final = st.one_of(
    st.sampled_from([bytes([byte]) for byte in b'\r\n \t\x00\x0b\x7f\xff:;,="\\-+_0159afAFgxHT/.']),
    st.sampled_from(
        [b"\r\n", b"\n\n", b"\r\n\r\n", b"0\r\n\r\n", b"\r\n ", b"Content-Length: 3\r\n", b"chunked"]
    ),
    st.binary(min_size=1, max_size=3),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Make a response, and change, insert or delete a few bytes of it."""
    data = draw(responses()).data
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["change", "insert", "delete"]))
        inserted = draw(NASTY) if kind != "delete" else b""
        data = data[:at] + inserted + data[at + (0 if kind == "insert" else 1) :]
    return data


@given(st.data(), damaged())
@example(None, head(length(5)) + b"hello")
def test_a_damaged_response_is_refused_or_read_as_h11_reads_it(
    data: st.DataObject | None, response: bytes
) -> None:
    pieces = data.draw(cut_up(response)) if data else [response]
    ours = read(pieces, at_end=True)
    event("refused" if ours.failure else "taken")
    if ours.failure is not None:
        assert ours.failure.kind == "RemoteProtocolError"
        return
    theirs = read_by_h11(response)
    assert theirs.failure is None, (response, theirs.failure)
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert comparable(ours.headers) == comparable(theirs.headers)


@given(st.data(), damaged())
def test_how_a_damaged_response_is_cut_changes_nothing(data: st.DataObject, response: bytes) -> None:
    whole, cut = (read(pieces, at_end=True) for pieces in ([response], data.draw(cut_up(response))))
    assert (whole.failure is None) is (cut.failure is None)
    if whole.failure is None:
        assert (whole.status, whole.headers, whole.body) == (cut.status, cut.headers, cut.body)


@given(st.lists(st.binary(max_size=40), max_size=5))
@example([STATUS_LINE, b"\r\n"])
def test_no_bytes_at_all_make_it_raise_anything_else(pieces: list[bytes]) -> None:
    outcome = read(pieces, at_end=True)
    assert outcome.failure is not None or outcome.is_complete


# --- a request ---


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], 0),
        ([(b"Content-Length", b"12")], 12),
        ([(b"transfer-encoding", b"Chunked")], None),
    ],
)
def test_a_request_says_how_long_its_body_is(headers: list[tuple[bytes, bytes]], length: int | None) -> None:
    assert request_body_length([(b"Host", b"a"), *headers]) == length


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Transfer-Encoding", b"gzip")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        [(b"Content-Length", b"1"), (b"content-length", b"1")],
        [(b"Content-Length", b"+1")],
    ],
)
def test_a_request_whose_length_is_in_doubt_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(TransportFailure) as caught:
        request_body_length(headers)
    assert caught.value.kind == "LocalProtocolError"
