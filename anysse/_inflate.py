"""Compressed bytes become bytes, piece by piece, each piece bounded. No I/O.

A kilobyte may inflate to a gigabyte, so nobody may inflate "what came" in one go.
"""

import zlib
from collections.abc import Iterator, Sequence

PIECE = 65_536
"""The most bytes that one piece has."""

MAX_CODINGS = 2


class BadCoding(ValueError):
    """The body is coded in a way that cannot be undone."""


class Inflater:
    """Undo a chain of ``gzip`` and ``deflate`` codings (RFC 9110, section 8.4.1).

    Raises:
        BadCoding: A coding is unknown, or there are too many.
    """

    def __init__(self, codings: Sequence[str]) -> None:
        if len(codings) > MAX_CODINGS:
            raise BadCoding(f"the body is compressed {len(codings)} times over")
        # What was applied last is undone first.
        self._layers = [_layer(coding) for coding in reversed(codings)]

    @property
    def is_complete(self) -> bool:
        """Whether every layer has seen its end, or nothing at all."""
        return all(layer.is_complete for layer in self._layers)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Give what the chunk inflates to, in pieces of at most 64 KiB.

        Raises:
            BadCoding: The bytes are not what they claim to be.
        """
        return self._through(0, chunk)

    def _through(self, depth: int, chunk: bytes) -> Iterator[bytes]:
        if depth == len(self._layers):
            yield chunk
            return
        for piece in self._layers[depth].feed(chunk):
            yield from self._through(depth + 1, piece)


class _Layer:
    """One coding; gzip may have several members, one after the other (RFC 1952, section 2.2)."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == "gzip"
        self._decoder: zlib._Decompress | None = None
        self._head = b""

    @property
    def is_complete(self) -> bool:
        return not self._head and (self._decoder is None or self._decoder.eof)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            decoder = self._current(chunk)
            if decoder is None:
                return
            chunk, self._head = self._head + chunk, b""
            piece = self._inflate(decoder, chunk)
            chunk = decoder.unconsumed_tail or decoder.unused_data
            if piece:
                yield piece
        # zlib may hold back more output than one piece takes, with all input consumed.
        while self._decoder is not None and not self._decoder.eof:
            piece = self._inflate(self._decoder, b"")
            if not piece:
                return
            yield piece

    def _inflate(self, decoder: "zlib._Decompress", chunk: bytes) -> bytes:
        try:
            return decoder.decompress(chunk, PIECE)
        except zlib.error as exc:
            raise BadCoding(f"the body cannot be decompressed: {exc}") from exc

    def _current(self, chunk: bytes) -> "zlib._Decompress | None":
        """The decoder for what comes next, or None while its first two bytes are not there yet."""
        if self._decoder is not None and self._decoder.eof and not self._is_gzip:
            raise BadCoding("the body goes on after its compressed end")
        if self._decoder is None or self._decoder.eof:
            self._decoder = self._begin(chunk)
        return self._decoder

    def _begin(self, chunk: bytes) -> "zlib._Decompress | None":
        if self._is_gzip:
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        if len(self._head + chunk) < 2:
            self._head += chunk
            return None
        # "deflate" is the zlib format; some servers send the raw one (RFC 9110, section 8.4.1.2, note).
        first, second = (self._head + chunk)[:2]
        is_zlib = first & 0x0F == 8 and (first * 256 + second) % 31 == 0  # RFC 1950, section 2.2
        return zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)


def _layer(coding: str) -> _Layer:
    known = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
    if coding not in known:
        raise BadCoding(f"the body is coded as {coding[:40]!r}, which was not asked for")
    return _Layer(known[coding])
