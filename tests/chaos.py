"""A feed of numbered events that breaks by a seeded random, in every way that a right client survives.

A request is answered with what comes after its ``Last-Event-ID``, as far as the next turn of the feed says,
and what that turn has for a fault. Once there are no turns left the rest is sent, and then a 204.
"""

import random
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import anyio
from anyio.lowlevel import checkpoint

import anysse
from anysse.testing import Connection
from anysse.testing import SocketServer as Server
from tests.server import event_stream, serve

V = TypeVar("V")

CUTS: Final = ("cut in an event", "cut in a character", "cut in an id")
BROKEN: Final = (*CUTS, "cut in a coding", "reset", "bad chunk", "silence", "restart", "end")
UNANSWERED: Final = ("busy", "no HTTP", "no answer")
FAULTS: Final = (*BROKEN, *UNANSWERED)
DEAR: Final = ("silence", "no answer", "busy", "restart")
"""Those that take a timeout, a wait or two attempts: once for each feed."""
CODINGS: Final = ("identity", "gzip", "deflate")
PACES: Final = ("bulk", "pieces", "bytes")
LINE_ENDS: Final = ("\n", "\r\n", "\r")
BULK: Final = 16_384
NO_HTTP: Final = (
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x16\x03\x01\x00\x02\x01\x00",
    b"HTTP/9.9 banana\r\n\r\n",
    b"HTTP/1.1 200",
    b"data: 1\n\n" * 100,
    bytes(range(256)),
)
BAD_CHUNKS: Final = (b"zz\r\n", b"-1\r\n", b"f" * 20 + b"\r\n", b"\r\n\r\n", b"data: 1\n\n")
NOISE: Final = (
    ": a comment",
    ":id: 7",
    "unknown: 1",
    "retry: soon",
    "retry:",
    "id: 7\0",
    "ID: 7",
    " id: 7",
    "\ufeffid: 7",
)
"""Lines that mean nothing, wherever they stand."""


def data_of(number: int) -> str:
    """Give what the event with this id says."""
    return f"{number} né 😀" + ("\nand more" if number % 7 == 0 else "")


def type_of(number: int) -> str:
    return "tenth" if number % 10 == 0 else "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How one connection goes."""

    fault: str
    last: int
    """The last id that is sent whole; where something is cut, it is the event after it."""
    retry_after: str
    seed: int
    coding: str = "identity"
    pace: str = "bulk"
    is_chunked: bool = True
    is_noisy: bool = False
    line_end: str = "\n"

    def __str__(self) -> str:
        if self.fault in UNANSWERED:
            return self.fault + (f" for {self.retry_after} s" if self.fault == "busy" else "")
        framing = "chunked" if self.is_chunked else "unframed"
        noise = "noise, " if self.is_noisy else ""
        manner = f"{framing}, {self.coding}, {self.pace}, {noise}{self.line_end!r}"
        return f"{manner}; to {self.last}, then {self.fault}"

    @property
    def kinds(self) -> list[str]:
        """What is to be counted of it."""
        if self.fault in UNANSWERED:
            return [self.fault]
        return [self.fault, self.coding, self.pace, self.line_end, "noise" if self.is_noisy else "no noise"]


class ChaoticFeed(anysse.Observer):
    """One feed, its turns and a diary of them; it observes its client, to know when a restart was noticed.

    Args:
        seed: Two feeds with the same one have the same turns.
        last: The last id.
        more: How many faults there are beside one of each kind.
    """

    def __init__(self, seed: int, *, last: int, more: int) -> None:
        self.seed: Final = seed
        self.last: Final = last
        self.diary: list[str] = []
        self.met: Counter[str] = Counter()
        """How many times the feed was what: faults, codings, paces and line ends."""
        self.failures: Counter[str] = Counter()
        """What its client's attempts failed with: names of errors, phases of timeouts."""
        self._turns = list(self._dealt_turns(more))
        self._after = 0
        self._refused = anyio.Event()
        self._server: Server | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Server]:
        """Serve it, within 60 s; whatever goes wrong says which seed it was, and what the feed did."""
        try:
            with anyio.fail_after(60):
                async with serve(then=self._answer) as self._server:
                    yield self._server
        except BaseException as exc:
            exc.add_note("\n".join([f"The feed's seed is {self.seed}; it did:", *self.diary]))
            raise

    def observe(self, fact: anysse.Fact, /) -> None:
        if isinstance(fact, anysse.AttemptFailed):
            error = fact.error
            kind = error.phase if isinstance(error, anysse.StreamTimeout) else type(error).__name__
            self.failures[kind] += 1
            self.diary.append(f"    the client: {error}")
            if isinstance(error, anysse.ConnectError):
                self._refused.set()

    def _dealt_turns(self, more: int) -> Iterator[Turn]:
        chance = random.Random(self.seed)
        faults = [*FAULTS, *chance.choices([fault for fault in FAULTS if fault not in DEAR], k=more)]
        chance.shuffle(faults)
        marks = sorted(chance.sample(range(1, self.last), len(faults)))
        dealt = (_dealt(chance, kinds) for kinds in (CODINGS, PACES, LINE_ENDS, (False, True), (False, True)))
        codings, paces, line_ends, framings, noises = dealt
        for fault, mark in zip([*faults, "end"], [*marks, self.last], strict=True):
            retry_after = "1" if self.seed % 4 == 0 else "0"
            turn = Turn(fault=fault, last=mark, retry_after=retry_after, seed=chance.randrange(2**32))
            if fault in UNANSWERED:
                yield turn
                continue
            yield replace(
                turn,
                coding=chance.choice(CODINGS[1:]) if fault == "cut in a coding" else next(codings),
                pace=next(paces),
                is_chunked=next(framings) or fault == "bad chunk",
                is_noisy=next(noises),
                line_end=next(line_ends),
            )

    async def _answer(self, connection: Connection) -> None:
        after = int(connection.request.headers.get("Last-Event-ID") or 0)
        assert self._after <= after <= self.last, f"resumed after {after}, having resumed after {self._after}"
        self._after = after
        if not self._turns:
            self.diary.append(f"after {after}: 204")
            await connection.respond(204)
            return
        turn = self._turns.pop(0)
        self.diary.append(f"after {after}: {turn}")
        self.met.update(turn.kinds)
        if turn.fault in UNANSWERED:
            await _refuse(connection, turn)
        else:
            await _Answer(connection, turn).send(after)
        if turn.fault == "restart":
            await self._restart()

    async def _restart(self) -> None:
        """Be gone, with all connections, until the client noticed."""
        assert self._server is not None
        self._refused = anyio.Event()
        await self._server.refuse()
        for connection in self._server.connections:
            await connection.reset()
        await self._refused.wait()
        await self._server.listen_again()


def _dealt(chance: random.Random, kinds: Sequence[V]) -> Iterator[V]:
    """Give one after the other at random, but all of them to begin with."""
    yield from chance.sample(kinds, len(kinds))
    while True:
        yield chance.choice(kinds)


async def _refuse(connection: Connection, turn: Turn) -> None:
    if turn.fault == "busy":
        await connection.respond(503, [("Retry-After", turn.retry_after)], "busy")
    elif turn.fault == "no HTTP":
        await connection.write(random.Random(turn.seed).choice(NO_HTTP))
        await connection.drop()
    else:
        await connection.hang()


class _Answer:
    """The response of one turn: its events as text, coded, framed, written at its pace, and its fault."""

    def __init__(self, connection: Connection, turn: Turn) -> None:
        self._connection = connection
        self._turn = turn
        self._chance = random.Random(turn.seed)
        bits = {"gzip": 31, "deflate": 15}.get(turn.coding)
        self._squeeze = None if bits is None else zlib.compressobj(1, wbits=bits)

    async def send(self, after: int) -> None:
        connection, turn = self._connection, self._turn
        headers = {} if self._squeeze is None else {"Content-Encoding": turn.coding}
        await event_stream(connection, headers=headers, chunked=turn.is_chunked)
        await self._write_at_pace(self._coded(self._text(after)))
        match turn.fault:
            case "end":
                await self._write(b"" if self._squeeze is None else self._squeeze.flush())
            case "cut in a coding":
                await connection.end()
            case "bad chunk":
                await connection.write(self._chance.choice(BAD_CHUNKS))
                await connection.drop()
            case "silence":
                await connection.hang()
            case "reset":
                await connection.reset()
            case "cut in an event" | "cut in a character" | "cut in an id":
                beginning = self._framed(self._coded(self._beginning()), missing=self._chance.randint(1, 99))
                await connection.write(beginning)
                await connection.drop()

    # --- as text ---

    def _text(self, after: int) -> bytes:
        begin = f"retry: {self._chance.choice([0, 100, 101])}{self._turn.line_end * 2}"
        if self._turn.is_noisy:
            begin = f"\ufeff{begin}"
        events = (
            self._with_noise(number) + self._event(number) for number in range(after + 1, self._turn.last + 1)
        )
        return "".join([begin, *events]).encode()

    def _event(self, number: int) -> str:
        lines = [f"id: {number}", *(f"data: {line}" for line in data_of(number).split("\n"))]
        if number % 2:
            lines.append(lines.pop(0))
        if number % 10 == 0:
            lines.append("event: tenth")
        return self._turn.line_end.join([*lines, "", ""])

    def _with_noise(self, number: int) -> str:
        """Give now and then what may come before an event, and makes none."""
        if not self._turn.is_noisy or self._chance.random() > 0.05:
            return ""
        noise = self._chance.choice(NOISE)
        # A block of its own, with the id that there is anyway; or the first line of the event's.
        lines = self._chance.choice([[noise], ["event: none", noise, f"id: {number - 1}", ""]])
        return self._turn.line_end.join([*lines, ""])

    def _beginning(self) -> bytes:
        """Give the start of the event after the last one, cut where the turn says."""
        number = self._turn.last + 1
        event = self._event(number).encode()
        match self._turn.fault:
            case "cut in a character":
                size = event.index("😀".encode()) + self._chance.randint(1, 3)
            case "cut in an id":
                size = event.index(b"id: ") + len(b"id: ") + self._chance.randint(0, len(str(number)))
            case _:  # at most up to where its last line is whole, and the empty one is missing
                size = self._chance.randint(1, len(event) - len(self._turn.line_end))
        return event[:size]

    # --- as bytes ---

    def _coded(self, text: bytes) -> bytes:
        if self._squeeze is None:
            return text
        return self._squeeze.compress(text) + self._squeeze.flush(zlib.Z_SYNC_FLUSH)

    def _framed(self, coded: bytes, missing: int = 0) -> bytes:
        """Make a chunk of it, that ends so many bytes before its end; or leave it as it is."""
        if not self._turn.is_chunked or not coded:
            return coded
        return b"%x\r\n%b%b" % (len(coded) + missing, coded, b"" if missing else b"\r\n")

    async def _write(self, coded: bytes) -> None:
        for start in range(0, len(coded), BULK):
            await self._connection.write(self._framed(coded[start : start + BULK]))

    async def _write_at_pace(self, coded: bytes) -> None:
        """Write the first of it in pieces, or a byte at a time, with a turn of the event loop after each."""
        start = 0
        for _ in range({"bulk": 0, "pieces": 100, "bytes": 300}[self._turn.pace]):
            size = 1 if self._turn.pace == "bytes" else self._chance.choice([1, 7, 50, 1_000])
            framed = self._framed(coded[start : start + size])
            step = 1 if self._turn.pace == "bytes" else len(framed) + 1
            for at in range(0, len(framed), step):
                await self._connection.write(framed[at : at + step])
                await checkpoint()
            start += size
        await self._write(coded[start:])
