"""What a hostile server may send, and what reading it takes: for tests and `python -m benchmarks.hostile`.

The server is a thread with blocking sockets. What it sends was made before anything is measured, so that what
is measured is the client's.
"""

import gzip
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain, repeat
from time import perf_counter
from typing import Any, Final, TypeAlias

import anyio

import anysse

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
DEADLINE: Final = 300.0
"""Seconds that nothing here comes near to, unless it hangs."""
MAX_EVENT_SIZE: Final = 16 * MIB
"""As it is unless told otherwise."""
SMALL: Final = 256 * KIB
"""A ``max_event_size`` for what takes long; what is kept grows with it in proportion."""

STATUS_LINE: Final = b"HTTP/1.1 200 OK\r\n"
HEADERS: Final = STATUS_LINE + b"Content-Type: text/event-stream\r\nConnection: close\r\n"
OPEN: Final = HEADERS + b"\r\n"
CHUNKED: Final = HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"
LAST_EVENT: Final = b"\n\ndata: the end\n\n"
"""Shows that a stream went on after whatever came before."""
ONE_CHUNK: Final = b"%x\r\n%b\r\n" % (len(LAST_EVENT), LAST_EVENT)

Pieces: TypeAlias = Iterable[bytes]
Answer: TypeAlias = Callable[[], Pieces]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One answer that means harm, and what is to become of it."""

    name: str
    answer: Answer
    """What every connection gets: without an end, or until it is closed."""
    error: type[anysse.AnysseError] | None = None
    """What it leads to; None where the stream goes on to the last event, and ends."""
    says: str = ""
    """What the error says: a pattern."""
    theirs: tuple[type[anysse.AnysseError], str] | None = None
    """Both over the libraries' own transports, where it is h11 that refuses."""
    over: tuple[str, ...] = ("ours", "theirs")
    """Over which transports it is of interest."""
    peak: int = 2 * MIB
    """Bytes of memory, at most."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the stream is opened with."""
    slow_over: tuple[str, ...] = ()
    """Over which transports it takes long."""

    def expected(self, transport: str) -> tuple[type[anysse.AnysseError] | None, str]:
        """Give the error, and what it says."""
        if transport == "theirs" and self.theirs is not None:
            return self.theirs
        return self.error, self.says


@dataclass(slots=True)
class Outcome:
    """What became of it."""

    events: int = 0
    last: "anysse.ServerSentEvent | None" = None
    error: Exception | None = None
    peak: int = 0
    """Bytes of memory at once, of those that Python counts: zlib's are among them."""
    seconds: float = 0.0


async def suffered(attack: Attack, client: Any, *, is_traced: bool = True) -> Outcome:
    """Read what the server sends until that ends, one way or another."""
    outcome = Outcome()
    attack.answer()  # what is made once is made by now
    with hostile_server(attack.answer) as url, _measured(outcome, is_traced=is_traced):
        try:
            with anyio.fail_after(DEADLINE):
                async with anysse.open_stream(url, client=client, retry=None, **attack.options) as events:
                    async for event in events:
                        outcome.events += 1
                        outcome.last = event
        except anysse.AnysseError as exc:
            outcome.error = exc
    return outcome


@contextmanager
def _measured(outcome: Outcome, *, is_traced: bool) -> Iterator[None]:
    if is_traced:
        tracemalloc.start()
    began = perf_counter()
    try:
        yield
    finally:
        outcome.seconds = perf_counter() - began
        if is_traced:
            outcome.peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()


# --- the server -------------------------------------------------------------------------------------------


@contextmanager
def hostile_server(answer: Answer) -> Iterator[str]:
    """Answer each connection's one request, and close it; gives the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, answer, is_over))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            is_over.set()
            with suppress(OSError), socket.create_connection(listener.getsockname()):
                pass  # so that it stops waiting for one
            thread.join()


def _serve(listener: socket.socket, answer: Answer, is_over: threading.Event) -> None:
    while not is_over.is_set():
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.settimeout(DEADLINE)
            if _was_asked(connection):
                for piece in answer():
                    connection.sendall(piece)


def _was_asked(connection: socket.socket) -> bool:
    request = b""
    while b"\r\n\r\n" not in request:
        data = connection.recv(64 * KIB)
        if not data:
            return False
        request += data
    return True


# --- what it sends ----------------------------------------------------------------------------------------


def whole(*parts: bytes) -> Answer:
    """Send this."""
    return lambda: parts


def endless(start: bytes, unit: bytes) -> Answer:
    """Send a start, then a unit again and again."""
    block = _block(unit, 64 * KIB)
    return lambda: chain([start], repeat(block))


def times(start: bytes, unit: bytes, size: int, end: bytes = LAST_EVENT) -> Answer:
    """Send a unit until there were about so many bytes of it, then the end."""
    block = _block(unit, 64 * KIB)
    return lambda: chain([start], repeat(block, size // len(block)), [end])


def dripping(start: bytes, unit: bytes) -> Answer:
    """Send a byte now and then, without an end."""

    def pieces() -> Iterator[bytes]:
        pause = threading.Event()
        yield start
        while True:
            yield unit
            pause.wait(0.01)

    return pieces


def redirects(count: int = 10_000) -> Answer:
    """Redirect to another URL each time."""
    numbers = iter(range(count))

    def pieces() -> Pieces:
        return [answered(302, b"Location: /%d" % next(numbers))]

    return pieces


def answered(status: int, *headers: bytes, body: bytes = b"") -> bytes:
    """Give a whole response."""
    framing = (b"Content-Length: %d" % len(body), b"Connection: close")
    return b"\r\n".join([b"HTTP/1.1 %d So" % status, *headers, *framing, b"", body])


def bomb(
    coding: str, unit: bytes, size: int, *, start: bytes = b"", status: int = 200, layers: int = 1
) -> Answer:
    """Send a unit until there were so many bytes of it, compressed to a thousandth."""
    codings = ", ".join([coding] * layers).encode()
    head = OPEN.replace(b"200", b"%d" % status)[:-2] + b"Content-Encoding: " + codings + b"\r\n\r\n"
    return lambda: [head, _packed(coding, start, unit, size, layers)]


@cache
def _packed(coding: str, start: bytes, unit: bytes, size: int, layers: int) -> bytes:
    """Compress what was never there as a whole: a block that is compressed by itself may be repeated."""
    block = _block(unit, min(size, 4 * MIB))
    count = size // len(block)
    deflated = _deflated(start) + _deflated(block) * count + _deflated(LAST_EVENT, zlib.Z_FINISH)
    plain = chain([start], repeat(block, count), [LAST_EVENT])
    if coding == "gzip":
        crc = 0
        for piece in plain:
            crc = zlib.crc32(piece, crc)
        length = len(start) + len(block) * count + len(LAST_EVENT)
        packed = gzip.compress(b"", mtime=0)[:10] + deflated + _little(crc) + _little(length)
    else:
        adler = 1
        for piece in plain:
            adler = zlib.adler32(piece, adler)
        packed = b"\x78\x9c" + deflated + adler.to_bytes(4, "big")
    compress = partial(gzip.compress, mtime=0) if coding == "gzip" else zlib.compress
    for _ in range(layers - 1):
        packed = compress(packed)
    return packed


def _deflated(data: bytes, mode: int = zlib.Z_FULL_FLUSH) -> bytes:
    coder = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush(mode)


def _little(number: int) -> bytes:
    return (number % 2**32).to_bytes(4, "little")


def _block(unit: bytes, size: int) -> bytes:
    return unit * max(1, size // len(unit))


# --- the attacks ------------------------------------------------------------------------------------------

_DROPPED: Final = anysse.StreamDropped
_NO_ROOM: Final = (anysse.StreamDropped, "Receive buffer too long")  # h11's limit is 100 KiB
_BOTH: Final = ("ours", "theirs")
_SOON_ANSWERED: Final = {"timeouts": anysse.Timeouts(response=0.3)}
_SOON_BEGUN: Final = {"timeouts": anysse.Timeouts(first_event=0.3)}
_SMALL: Final = {"max_event_size": SMALL}

HEADS: Final = (
    Attack(
        name="a header line without an end",
        answer=endless(HEADERS + b"X: ", b"y"),
        error=_DROPPED,
        says="the head of the response is larger than 65536 bytes",
        theirs=_NO_ROOM,
    ),
    Attack(
        name="headers without an end",
        answer=endless(HEADERS, b"X: y\r\n"),
        error=_DROPPED,
        # Whichever is sooner: that is up to how much one read gives.
        says="the head of the response is larger than 65536 bytes|more than 256 header fields",
        theirs=_NO_ROOM,
    ),
    Attack(
        name="100,000 Set-Cookie",
        answer=whole(HEADERS + b"".join(b"Set-Cookie: %d=%d\r\n" % (n, n) for n in range(100_000)) + b"\r\n"),
        error=_DROPPED,
        says="the head of the response is larger than 65536 bytes|more than 256 header fields",
        theirs=_NO_ROOM,
    ),
    Attack(
        name="300 headers",
        answer=whole(HEADERS + b"X: y\r\n" * 300 + b"\r\n" + LAST_EVENT),
        error=_DROPPED,
        says="more than 256 header fields",
        over=("ours",),
    ),
    Attack(
        name="interim responses without an end",
        answer=endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        error=_DROPPED,
        says="the server sent 65536 bytes with nothing of a body",
        over=("ours",),
    ),
    Attack(
        name="interim responses without an end, for h11",
        answer=endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        error=anysse.StreamTimeout,
        says="no response from .* within 0.3 s; raise timeouts.response",
        over=("theirs",),
        options=_SOON_ANSWERED,
        slow_over=("theirs",),
    ),
    Attack(
        name="empty lines without an end, and no status line",
        answer=endless(b"", b"\r\n"),
        error=_DROPPED,
        says="the server sent 65536 bytes with nothing of a body",
        theirs=(anysse.StreamDropped, "no response line received"),
    ),
    Attack(
        name="garbage without an end",
        answer=endless(b"", b"\x00\xff\x1b[31m"),
        error=_DROPPED,
        says="the server sent what is no HTTP/1.1",
        theirs=(anysse.StreamDropped, "illegal request line"),
    ),
    Attack(
        name="a status line of garbage",
        answer=whole(b"\x1b[31mHELO\r\n\r\n"),
        error=_DROPPED,
        says="the server sent what is no HTTP/1.1",
        theirs=(anysse.StreamDropped, "illegal status line$"),
    ),
    Attack(
        name="a head that drips without an end",
        answer=dripping(HEADERS + b"X: ", b"y"),
        error=anysse.StreamTimeout,
        says="no response from .* within 0.3 s; raise timeouts.response",
        options=_SOON_ANSWERED,
    ),
    Attack(
        name="10,000 redirects",
        answer=redirects(),
        error=anysse.StatusError,
        says="it redirects more than 20 times",
    ),
    Attack(
        name="a Content-Length of 10^30",
        answer=whole(HEADERS + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n"),
        error=_DROPPED,
        says="Content-Length",
        slow_over=("theirs",),
    ),
    Attack(
        name="a content type of 60 KB",
        answer=whole(answered(200, b"Content-Type: text/" + b"x" * 60_000)),
        error=anysse.ContentTypeError,
        says="answered with content type 'text/x{60,80}, not text/event-stream",
    ),
    Attack(
        name="the body of an error without an end",
        answer=endless(b"HTTP/1.1 404 No\r\nConnection: close\r\n\r\n", b"\x1b[2Jno"),
        error=anysse.StatusError,
        says=r"404 Not Found.* The body begins: '\\x1b\[2Jno",
    ),
)

FRAMES: Final = (
    Attack(
        name="a chunk of 2^70 bytes",
        answer=whole(CHUNKED + b"4" + b"0" * 17 + b"\r\ndata: x"),
        error=_DROPPED,
        says="Chunk size overflow",
        theirs=(anysse.StreamDropped, "without sending complete message body"),
    ),
    Attack(
        name="a chunk extension without an end",
        answer=endless(CHUNKED + b"5;", b"a"),
        error=_DROPPED,
        says="the server sent 65536 bytes with nothing of a body",
        theirs=_NO_ROOM,
    ),
    Attack(
        name="trailers without an end",
        answer=endless(CHUNKED + ONE_CHUNK + b"0\r\n", b"X: y\r\n"),
        error=_DROPPED,
        says="the response has more than 256 header fields",
        theirs=_NO_ROOM,
    ),
    Attack(
        name="a trailer without an end",
        answer=endless(CHUNKED + ONE_CHUNK + b"0\r\nX: ", b"y"),
        error=_DROPPED,
        says="the server sent 65536 bytes with nothing of a body",
        theirs=_NO_ROOM,
    ),
    Attack(
        name="a chunk for each byte",
        answer=times(CHUNKED, b"1\r\n:\r\n", MIB, ONE_CHUNK + b"0\r\n\r\n"),
        peak=8 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="45,000 chunks of a byte",
        answer=times(CHUNKED, b"1\r\n:\r\n", 256 * KIB, ONE_CHUNK + b"0\r\n\r\n"),
        peak=8 * MIB,
        slow_over=("theirs",),
    ),
)

EVENTS: Final = (
    Attack(
        name="a data line without an end",
        answer=endless(OPEN + b"data: ", b"x"),
        error=anysse.EventTooLarge,
        says="larger than 16777216 bytes.* raise max_event_size",
        peak=MAX_EVENT_SIZE * 5 // 4 + 2 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="data lines without an end",
        answer=endless(OPEN, b"data:xy\n"),
        error=anysse.EventTooLarge,
        says="larger than 262144 bytes",
        peak=2 * SMALL + 10 * MIB,  # a read of 256 KiB is 32,768 lines, each an object
        options=_SMALL,
        slow_over=("theirs",),
    ),
    Attack(
        name="data lines without an end, until they are 16 MiB",
        answer=endless(OPEN, "data:\U0001f600\n".encode()),
        error=anysse.EventTooLarge,
        says="larger than 16777216 bytes",
        peak=MAX_EVENT_SIZE * 5 // 4 + 10 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="one event of 16 MiB, as the widest text there is",
        answer=times(OPEN + b"id: ", b"x", MAX_EVENT_SIZE - 64 * KIB, "\U0001f600".encode() + LAST_EVENT),
        peak=10 * MAX_EVENT_SIZE,  # four bytes a character, and a copy without what is before it
        slow_over=("theirs",),
    ),
    Attack(
        name="a line of an unknown field, 16 MiB",
        answer=times(OPEN + b"x: ", b"y", 16 * MIB),
        slow_over=("theirs",),
    ),
    Attack(
        name="a comment of 16 MiB",
        answer=times(OPEN + b":", b"y", 16 * MIB),
        slow_over=("theirs",),
    ),
    Attack(
        name="a comment of 16 MiB that somebody listens to",
        answer=times(OPEN + b":", b"y", 16 * MIB),
        peak=2 * SMALL + 2 * MIB,
        options={**_SMALL, "on_comment": len},
        slow_over=("theirs",),
    ),
    Attack(
        name="a million empty blocks",
        answer=times(OPEN, b"\n\n", 2_000_000),
        peak=8 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="50,000 empty blocks",
        answer=times(OPEN, b"\n\n", 100_000),
        peak=8 * MIB,
    ),
    Attack(
        name="a million empty blocks that end with CR",
        answer=times(OPEN, b"\r\r", 2_000_000),
        peak=8 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="200,000 empty blocks that end with CR",
        answer=times(OPEN, b"\r\r", 400_000),
        peak=8 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="a million empty blocks that end with CR LF",
        answer=times(OPEN, b"\r\n\r\n", 4_000_000),
        peak=8 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="a retry of 10^400",
        answer=whole(OPEN + b"retry: 1" + b"0" * 400 + b"\ndata: x" + LAST_EVENT),
    ),
    Attack(
        name="an id of 1 MB",
        answer=whole(OPEN + b"id: " + b"i" * 1_000_000 + b"\ndata: x" + LAST_EVENT),
        peak=6 * MIB,
    ),
    Attack(
        name="an event type of 1 MB",
        answer=whole(OPEN + b"event: " + b"e" * 1_000_000 + b"\ndata: x" + LAST_EVENT),
        peak=6 * MIB,
    ),
    Attack(
        name="10,000 events of 6 bytes",
        answer=times(OPEN, b"data\n\n", 130_000),
        peak=16 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="500,000 events of 6 bytes",
        answer=times(OPEN, b"data\n\n", 3_000_000),
        slow_over=_BOTH,
        peak=16 * MIB,  # an event is 100 bytes where it took 6: 256 KiB wait, and a read of 256 KiB
    ),
    Attack(
        name="a body that drips without an event",
        answer=dripping(OPEN, b":"),
        error=anysse.StreamTimeout,
        says="no event from .* within 0.3 s; raise timeouts.first_event",
        options=_SOON_BEGUN,
    ),
)

BOMBS: Final = (
    Attack(
        name="1 MB → 1 GB: a data line",
        answer=bomb("gzip", b"x", GIB, start=b"data: "),
        error=anysse.EventTooLarge,
        says="larger than 16777216 bytes",
        peak=MAX_EVENT_SIZE * 5 // 4 + 4 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="64 KB → 64 MB: a data line",
        answer=bomb("gzip", b"x", 64 * MIB, start=b"data: "),
        error=anysse.EventTooLarge,
        says="larger than 16777216 bytes",
        peak=MAX_EVENT_SIZE * 5 // 4 + 4 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="1 MB → 1 GB: a comment, gzip",
        answer=bomb("gzip", b":", GIB),
        peak=4 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="1 MB → 1 GB: a comment, deflate",
        answer=bomb("deflate", b":", GIB),
        peak=4 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="64 KB → 64 MB: a comment, deflate",
        answer=bomb("deflate", b":", 64 * MIB),
        peak=4 * MIB,
    ),
    Attack(
        name="128 KB of newlines",
        answer=bomb("gzip", b"\n", 256 * KIB),
        peak=6 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="16 MB of newlines from 16 KB",
        answer=bomb("gzip", b"\n", 16 * MIB),
        peak=6 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="128 KB of comments",
        answer=bomb("gzip", b":\n", 256 * KIB),
        peak=6 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="16 MB of comments from 16 KB",
        answer=bomb("gzip", b":\n", 16 * MIB),
        peak=6 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="128 KB of small events",
        answer=bomb("gzip", b"data: x\n\n", 256 * KIB),
        peak=16 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="16 MB of small events from 16 KB",
        answer=bomb("gzip", b"data: x\n\n", 16 * MIB),
        peak=16 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="a bomb of a bomb: 4 KB → 1 GB",
        answer=bomb("gzip", b":", GIB, layers=2),
        peak=4 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="a bomb of a bomb: 400 bytes → 64 MB",
        answer=bomb("gzip", b":", 64 * MIB, layers=2),
        peak=4 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="1 MB → 1 GB: the body of an error",
        answer=bomb("gzip", b":", GIB, status=500),
        error=anysse.StatusError,
        says="answered 500 ",
        peak=4 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="64 KB → 64 MB: the body of an error",
        answer=bomb("gzip", b":", 64 * MIB, status=500),
        error=anysse.StatusError,
        says="answered 500 ",
        peak=4 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="50,000 gzip members of nothing",
        answer=times(
            OPEN[:-2] + b"Content-Encoding: gzip\r\n\r\n",
            gzip.compress(b"", mtime=0),
            MIB,
            gzip.compress(LAST_EVENT, mtime=0),
        ),
        peak=4 * MIB,
        slow_over=_BOTH,
    ),
    Attack(
        name="6,000 gzip members of nothing",
        answer=times(
            OPEN[:-2] + b"Content-Encoding: gzip\r\n\r\n",
            gzip.compress(b"", mtime=0),
            128 * KIB,
            gzip.compress(LAST_EVENT, mtime=0),
        ),
        peak=4 * MIB,
        slow_over=("theirs",),
    ),
    Attack(
        name="compressed three times over",
        answer=whole(OPEN[:-2] + b"Content-Encoding: gzip, gzip, gzip\r\n\r\n"),
        error=anysse.ResponseError,
        says="the body is compressed 3 times over",
    ),
)

ATTACKS: Final = (*HEADS, *FRAMES, *EVENTS, *BOMBS)
