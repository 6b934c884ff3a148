"""Compressed bodies come out whole, in bounded pieces, however they were cut, or are refused."""

import contextlib
import tracemalloc
import zlib
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysse._inflate import PIECE, BadCoding, Inflater
from tests.streams import gzip_of

TEXT = b"id: 7\ndata: caf\xc3\xa9\n\n" * 9


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


def packed_members(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip_of(data[:half]) + gzip_of(b"") + gzip_of(data[half:])


CODERS: dict[str, tuple[list[str], Callable[[bytes], bytes]]] = {
    "gzip": (["gzip"], gzip_of),
    "x-gzip": (["x-gzip"], gzip_of),
    "several members": (["gzip"], packed_members),
    "deflate": (["deflate"], zlib.compress),
    "raw deflate": (["deflate"], raw_deflate),
    "gzip, gzip": (["gzip", "gzip"], lambda data: gzip_of(gzip_of(data))),
    "gzip, deflate": (["gzip", "deflate"], lambda data: zlib.compress(gzip_of(data))),
    "deflate, gzip": (["deflate", "gzip"], lambda data: gzip_of(raw_deflate(data))),
    "several, twice": (["gzip", "gzip"], lambda data: packed_members(packed_members(data))),
    "none": ([], lambda data: data),
}
each_coder = pytest.mark.parametrize(("codings", "code"), CODERS.values(), ids=CODERS)
each_real_coder = pytest.mark.parametrize(
    ("codings", "code"), list(CODERS.values())[:-1], ids=list(CODERS)[:-1]
)


def inflate(codings: list[str], chunks: Iterable[bytes]) -> tuple[bytes, bool]:
    inflater, pieces = Inflater(codings), []
    for chunk in chunks:
        for piece in inflater.feed(chunk):
            assert len(piece) <= PIECE
            pieces.append(piece)
    return b"".join(pieces), inflater.is_complete


@each_coder
def test_a_body_comes_out_whole_at_every_cut(codings: list[str], code: Callable[[bytes], bytes]) -> None:
    packed = code(TEXT)
    for place in range(len(packed) + 1):
        assert inflate(codings, [packed[:place], packed[place:]]) == (TEXT, True)


@each_coder
def test_a_body_comes_out_whole_byte_by_byte(codings: list[str], code: Callable[[bytes], bytes]) -> None:
    packed = code(TEXT)
    assert inflate(codings, (packed[place : place + 1] for place in range(len(packed)))) == (TEXT, True)


@given(
    name=st.sampled_from(list(CODERS)),
    data=st.binary(max_size=2000) | st.builds(lambda some: some * 400, st.binary(max_size=400)),
    sizes=st.lists(st.integers(0, 300), max_size=30),
)
def test_any_body_comes_out_whole_in_any_pieces(name: str, data: bytes, sizes: list[int]) -> None:
    codings, code = CODERS[name]
    rest, chunks = code(data), []
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    pieces = [rest[start : start + PIECE] for start in range(0, len(rest), PIECE)]
    assert inflate(codings, [*chunks, *pieces]) == (data, True)


@each_real_coder
def test_a_truncated_body_is_incomplete_and_what_came_is_given(
    codings: list[str], code: Callable[[bytes], bytes]
) -> None:
    packed = code(TEXT)
    for place in range(1, len(packed)):
        data, is_complete = inflate(codings, [packed[:place]])
        assert TEXT.startswith(data)
        # Between two members nothing tells that there is another.
        assert not is_complete or code in (CODERS["several members"][1], CODERS["several, twice"][1])


def test_nothing_at_all_is_complete() -> None:
    assert inflate(["gzip"], []) == (b"", True)
    assert inflate(["deflate"], [b"", b""]) == (b"", True)


def test_the_first_byte_of_a_deflate_body_waits_for_the_second() -> None:
    inflater = Inflater(["deflate"])
    assert list(inflater.feed(zlib.compress(TEXT)[:1])) == []
    assert not inflater.is_complete
    assert b"".join(inflater.feed(zlib.compress(TEXT)[1:])) == TEXT
    assert inflater.is_complete


@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS])
def test_each_event_comes_when_it_is_flushed(wbits: int) -> None:
    coder = zlib.compressobj(wbits=wbits)
    inflater = Inflater(["gzip" if wbits > zlib.MAX_WBITS else "deflate"])
    for number in range(50):
        event = b"data: %d\n\n" % number
        packed = coder.compress(event) + coder.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(inflater.feed(packed)) == event


@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS])
@pytest.mark.parametrize("zeros", [PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 4 * PIECE + 7])
def test_nothing_is_held_back_that_the_bytes_so_far_inflate_to(wbits: int, zeros: int) -> None:
    coder = zlib.compressobj(9, wbits=wbits)
    packed = coder.compress(bytes(zeros)) + coder.flush()
    coding = "gzip" if wbits > zlib.MAX_WBITS else "deflate"
    for place in range(2, len(packed) + 1):
        data, _ = inflate([coding], [packed[:place]])
        assert data == zlib.decompressobj(wbits).decompress(packed[:place])


def bomb(layers: int, size: int) -> bytes:
    """Zeros, packed by a coder that never held them all."""
    coder = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    zeros = bytes(1 << 20)
    packed = b"".join(coder.compress(zeros) for _ in range(size >> 20)) + coder.flush()
    for _ in range(layers - 1):
        packed = gzip_of(packed)
    return packed


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_comes_in_small_pieces_and_flat_memory(layers: int) -> None:
    size = 64 << 20
    packed, total = bomb(layers, size), 0
    tracemalloc.start()
    try:
        for piece in Inflater(["gzip"] * layers).feed(packed):
            assert len(piece) <= PIECE
            total += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == size
    assert peak < 1 << 20


def test_nothing_is_inflated_that_nobody_asks_for() -> None:
    pieces = Inflater(["gzip", "gzip"]).feed(bomb(2, 256 << 20))
    assert len(next(pieces)) <= PIECE


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "x" * 1000, "GZIP", ""])
def test_a_coding_that_was_not_asked_for_is_refused(coding: str) -> None:
    with pytest.raises(BadCoding, match="not asked for") as caught:
        Inflater([coding])
    assert len(str(caught.value)) < 100


def test_more_than_two_codings_are_refused() -> None:
    with pytest.raises(BadCoding, match="3 times over"):
        Inflater(["gzip"] * 3)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"data: plain\n\n"),
        ("gzip", zlib.compress(TEXT)),
        ("gzip", gzip_of(TEXT)[:-8] + bytes(8)),
        ("gzip", gzip_of(TEXT) + b"garbage"),
        ("deflate", b"data: plain\n\n"),
        ("deflate", gzip_of(TEXT)),
        ("deflate", zlib.compress(TEXT)[:-4] + bytes(4)),
        ("deflate", zlib.compress(TEXT) + b"garbage"),
        ("deflate", raw_deflate(TEXT) + b"garbage"),
        (
            "deflate",
            zlib.compressobj(zdict=b"data").compress(b"data") + zlib.compressobj(zdict=b"data").flush(),
        ),
    ],
)
def test_what_is_not_what_it_claims_to_be_is_refused(coding: str, body: bytes) -> None:
    for place in range(len(body) + 1):
        with pytest.raises(BadCoding):
            inflate([coding], [body[:place], body[place:]])


def test_what_follows_the_end_of_deflate_is_refused_later_too() -> None:
    inflater = Inflater(["deflate"])
    assert b"".join(inflater.feed(zlib.compress(TEXT))) == TEXT
    with pytest.raises(BadCoding, match="compressed end"):
        list(inflater.feed(b"more"))


@given(
    codings=st.lists(st.sampled_from(["gzip", "deflate"]), max_size=2),
    chunks=st.lists(st.binary(max_size=99)),
)
def test_no_bytes_raise_anything_else(codings: list[str], chunks: list[bytes]) -> None:
    with contextlib.suppress(BadCoding):
        inflate(codings, chunks)
