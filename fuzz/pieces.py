"""What an input is: eight bytes that say how, then what is to be read."""

from collections.abc import Sequence
from itertools import cycle, islice
from random import Random
from typing import Final, NamedTuple

HOW: Final = 8
MOST_PIECES: Final = 40
"""The last is the rest: a long input in pieces of one would be slow to read, and find nothing else."""


class Case(NamedTuple):
    """One input, taken apart."""

    choice: int
    """0 to 255, for a harness to choose by."""
    limit: int
    """1 to 256, for a harness to take as a limit."""
    sizes: bytes
    """Of pieces, again and again."""
    whole: bytes
    """What is to be read."""

    @classmethod
    def of(cls, data: bytes) -> "Case":
        """Take an input apart."""
        how = data[:HOW].ljust(HOW, b"\0")
        return cls(how[0], how[1] + 1, how[2:], data[HOW:])

    def cut(self, what: bytes) -> list[bytes]:
        """Give bytes in the pieces that the input asks for; some may be empty."""
        pieces, at = [], 0
        if any(self.sizes):
            for size in islice(cycle(self.sizes), MOST_PIECES):
                pieces.append(what[at : at + size])
                at += size
                if at >= len(what):
                    return pieces
        return [*pieces, what[at:]]


def input_of(whole: bytes, *, choice: int = 0, limit: int = 256, sizes: bytes = b"") -> bytes:
    """Make an input of which that becomes; without sizes it is read whole."""
    return bytes([choice, limit - 1]) + sizes.ljust(HOW - 2, b"\0") + whole


def changed_by_lines(data: bytes, words: Sequence[bytes], chance: Random) -> bytes:
    """Insert, replace, delete or repeat a line of what is to be read: bytes alone seldom make a header."""
    how, lines = data[:HOW].ljust(HOW, b"\0"), data[HOW:].splitlines(keepends=True)
    at = chance.randrange(len(lines) + 1)
    is_put, is_known = chance.random() < 0.75, chance.random() < 0.75
    new = chance.choice(words if is_known or not lines else lines)
    lines[at : at + chance.randrange(2)] = [new] if is_put else []
    return how + b"".join(lines)
