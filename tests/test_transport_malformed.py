"""Malformed responses over real sockets: one error each, of the library that asked; no hang, no wrong body.

The server leaves the connection open wherever the bytes alone should be enough for a refusal.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

import anysse
from anysse.testing import Connection
from tests.http11_corpus import (
    BAD,
    CHUNKED,
    ENDLESS,
    GOOD,
    LAST_CHUNK,
    STATUS_LINE,
    Bad,
    Endless,
    Good,
    head,
    length,
)
from tests.server import answer, serve

DEADLINE: Final = 20.0
"""Seconds that nothing here comes near to, unless it hangs."""
EVENTS: Final = head((b"Content-Type", b"text/event-stream"), CHUNKED)


@dataclass(slots=True)
class Outcome:
    """What a client was told."""

    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    error: Exception | None = None


async def ask(client: Any, url: str, method: str = "GET", **options: Any) -> Outcome:
    """Send a request, and give whatever comes of it."""
    outcome = Outcome()
    try:
        with anyio.fail_after(DEADLINE):
            async with client.stream(method, url, **options) as response:
                outcome.status, outcome.headers = response.status_code, tuple(response.headers.raw)
                async for piece in response.aiter_raw():
                    outcome.body += piece
    except Exception as exc:  # noqa: BLE001 - the test looks at it
        outcome.error = exc
    return outcome


def played(cases: tuple[Good | Bad | Endless, ...]) -> Any:
    """Give a script that plays the case whose number is the path, and anything else for `/`."""

    async def script(connection: Connection) -> None:
        number = connection.request.path[1:]
        if not number:
            await connection.respond(200, body="fine")
            return
        match cases[int(number)]:
            case Good() as good:
                await connection.write(good.data + good.surplus)
                if good.until_close:
                    await connection.drop()
            case Bad() as bad:
                await connection.write(bad.data)
                await (connection.drop() if bad.only_at_the_end else connection.hang())
            case Endless() as endless:
                for piece in endless.pieces():
                    await connection.write(piece)

    return script


def streaming_client(library: ModuleType = httpx) -> Any:
    return library.AsyncClient(transport=anysse.StreamingTransport(), timeout=None)


# --- one by one -------------------------------------------------------------------------------------------


async def test_what_is_refused_is_one_protocol_error_and_closes_the_connection() -> None:
    async with serve(then=played(BAD)) as server, streaming_client() as client:
        for number, case in enumerate(BAD):
            outcome = await ask(client, f"{server.url}/{number}", case.method)
            assert type(outcome.error) is httpx.RemoteProtocolError, (case.name, outcome)
            assert case.body.startswith(outcome.body), (case.name, outcome)
            assert len(server.requests) == number + 1, f"{case.name} was asked for again"
        with anyio.fail_after(DEADLINE):
            await server.all_closed()
        assert len(server.connections) == len(BAD)


async def test_what_is_accepted_is_what_the_caller_gets_and_only_sound_connections_are_reused() -> None:
    async with serve(then=played(GOOD)) as server, streaming_client() as client:
        for number, case in enumerate(GOOD):
            outcome = await ask(client, f"{server.url}/{number}", case.method)
            expected = (None, case.status, case.headers, case.body)
            assert (outcome.error, outcome.status, outcome.headers, outcome.body) == expected, case.name
            connections = len(server.connections)
            assert (await ask(client, server.url)).body == b"fine", case.name
            if case.is_reusable is not None:
                assert (len(server.connections) == connections) is case.is_reusable, case.name
    with anyio.fail_after(DEADLINE):
        await server.all_closed()


async def test_what_has_no_end_is_refused() -> None:
    async with serve(then=played(ENDLESS)) as server, streaming_client() as client:
        for number, case in enumerate(ENDLESS):
            outcome = await ask(client, f"{server.url}/{number}")
            assert type(outcome.error) is httpx.RemoteProtocolError, (case.name, outcome)
            assert outcome.body == b"", case.name
        with anyio.fail_after(DEADLINE):
            await server.all_closed()


# --- over either library ----------------------------------------------------------------------------------

SAMPLES: Final = {
    "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "another protocol": b"ICY 200 OK\r\n\r\n",
    "both lengths": head(length(5), CHUNKED) + b"5\r\nhello\r\n" + LAST_CHUNK,
    "two lengths": head(length(5), length(5)) + b"hello",
    "a NUL in a value": head((b"X", b"\x00"), length(5)) + b"hello",
    "a chunk extension with LF": head(CHUNKED) + b"5;a\nhello\r\n" + LAST_CHUNK,
    "a chunk size that is too large": head(CHUNKED) + b"f" * 17 + b"\r\nhello\r\n" + LAST_CHUNK,
    "a switch of the protocol": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
}


def sent_and_held(data: bytes) -> Any:
    async def script(connection: Connection) -> None:
        await connection.write(data)
        await connection.hang()

    return script


def sent_and_cut(data: bytes) -> Any:
    async def script(connection: Connection) -> None:
        await connection.write(data)
        await connection.drop()

    return script


def sent_and_reset(data: bytes) -> Any:
    async def script(connection: Connection) -> None:
        await connection.write(data)
        await connection.reset()

    return script


async def test_the_error_is_that_of_the_library_that_asked(library: ModuleType) -> None:
    for name, data in SAMPLES.items():
        async with serve(sent_and_held(data)) as server, streaming_client(library) as client:
            outcome = await ask(client, server.url)
            assert type(outcome.error) is library.RemoteProtocolError, (name, outcome)
            assert str(outcome.error.request.url) == server.url, name
            with anyio.fail_after(DEADLINE):
                await server.all_closed()


async def test_what_was_cut_is_a_protocol_error_and_what_was_reset_a_read_error(library: ModuleType) -> None:
    for data in (
        b"",
        STATUS_LINE,
        head(length(5)),
        head(length(5)) + b"hell",
        head(CHUNKED) + b"5\r\nhello\r\n",
    ):
        async with (
            serve(sent_and_cut(data), sent_and_reset(data)) as server,
            streaming_client(library) as client,
        ):
            cut, reset = [await ask(client, server.url) for _ in range(2)]
            assert type(cut.error) is library.RemoteProtocolError, (data, cut)
            assert type(reset.error) is library.ReadError, (data, reset)
            with anyio.fail_after(DEADLINE):
                await server.all_closed()


async def test_a_reset_ends_no_body_that_goes_on_until_the_connection_closes(library: ModuleType) -> None:
    async with serve(sent_and_reset(head() + b"hello")) as server, streaming_client(library) as client:
        assert type((await ask(client, server.url)).error) is library.ReadError


def sent_in_single_bytes(data: bytes) -> Any:
    async def script(connection: Connection) -> None:
        for at in range(len(data)):
            await connection.write(data[at : at + 1])
            await checkpoint()
        await connection.hang()

    return script


async def test_bytes_that_come_one_by_one_mean_what_they_mean_together(library: ModuleType) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    good = interim + head(CHUNKED) + b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n"
    async with streaming_client(library) as client:
        async with serve(sent_in_single_bytes(good)) as server:
            outcome = await ask(client, server.url)
            assert (outcome.body, outcome.error) == (b"hello", None)
        for name, data in SAMPLES.items():
            async with serve(sent_in_single_bytes(data)) as server:
                outcome = await ask(client, server.url)
                assert type(outcome.error) is library.RemoteProtocolError, (name, outcome)


async def test_a_malformed_answer_on_a_reused_connection_is_not_asked_for_again() -> None:
    for name, data in SAMPLES.items():
        async with (
            serve(answer(200, body="fine"), sent_and_held(data)) as server,
            streaming_client() as client,
        ):
            assert (await ask(client, server.url)).body == b"fine"
            outcome = await ask(client, server.url)
            assert type(outcome.error) is httpx.RemoteProtocolError, (name, outcome)
            with anyio.fail_after(DEADLINE):
                await server.all_closed()
            assert (len(server.connections), len(server.requests)) == (1, 2), name


async def test_an_answer_that_nobody_asked_for_is_nobodys() -> None:
    """It came after the one that was asked for, while the connection was idle."""
    answered, poisoned = anyio.Event(), anyio.Event()

    async def twice(connection: Connection) -> None:
        await connection.write(head(length(5)) + b"hello")
        await answered.wait()
        await connection.write(head(length(4)) + b"evil")
        poisoned.set()

    async with serve(twice, answer(200, body="good")) as server, streaming_client() as client:
        assert (await ask(client, server.url)).body == b"hello"
        answered.set()
        with anyio.fail_after(DEADLINE):
            await poisoned.wait()
        assert (await ask(client, server.url)).body == b"good"
        assert len(server.connections) == 2


async def test_what_follows_the_head_of_a_head_is_no_answer_to_the_next_request() -> None:
    data = head(length(40)) + head(length(4)) + b"evil"
    async with serve(sent_and_held(data), answer(200, body="good")) as server, streaming_client() as client:
        assert (await ask(client, server.url, "HEAD")).status == 200
        assert (await ask(client, server.url)).body == b"good"


# --- as a stream ------------------------------------------------------------------------------------------


async def events_of(url: str) -> tuple[list[str], anysse.StreamError | None]:
    """Read a stream without a second attempt: what came, and what it ended with."""
    seen = []
    try:
        async with anysse.open_stream(url, retry=None) as events:
            async for happened in events:
                seen.append(happened.data)  # noqa: PERF401 - what came before an error is wanted, too
    except anysse.StreamError as exc:
        return seen, exc
    return seen, None


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_stream_over_a_malformed_head_does_not_open(name: str) -> None:
    data = SAMPLES[name].replace(
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    )
    async with serve(sent_and_held(data)) as server:
        with anyio.fail_after(DEADLINE):
            seen, error = await events_of(server.url)
            await server.all_closed()
        assert type(error) is anysse.StreamDropped, error
        assert seen == []
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "end",
    [
        b"5 \r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"-1\r\nhello\r\n",
        b"5\nhello\n",
        b"5;a\rb\r\nhello\r\n",
        b"5\r\nhelloworld",
        b"0\r\nX : y\r\n\r\n",
    ],
)
async def test_a_stream_gives_the_events_before_a_malformed_chunk_and_drops(end: bytes) -> None:
    event = b"data: one\n\n"
    data = EVENTS + b"%x\r\n%b\r\n" % (len(event), event) + end
    async with serve(sent_and_held(data)) as server:
        with anyio.fail_after(DEADLINE):
            seen, error = await events_of(server.url)
            await server.all_closed()
        assert type(error) is anysse.StreamDropped, error
        assert seen == ["one"]


# --- what is sent -----------------------------------------------------------------------------------------

BAD_NAMES: Final = (
    b"",
    b" ",
    b"X ",
    b" X",
    b"X Y",
    b"X\tY",
    b"X:",
    b"X\r",
    b"X\n",
    b"X\x00",
    b"X\r\nY",
    b'"X"',
)
BAD_VALUES: Final = (
    b"x\r\nY: z",
    b"x\nY: z",
    b"x\rY: z",
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b"a\x00b",
    b"a\x01b",
    b"a\x0bb",
    b"a\x7fb",
    b"x\r\n y",
)
BAD_METHODS: Final = (
    "",
    " ",
    "GE T",
    "GET ",
    " GET",
    "GET\r\n",
    "GET\n",
    "GET\x00",
    "GET /x HTTP/1.1\r\nX:",
    "GÉT",
    "G:T",
)
BAD_TARGETS: Final = (
    b"",
    b" ",
    b"/ x",
    b"/\tx",
    b"/\r\nX: y",
    b"/\nx",
    b"/\rx",
    b"/\x00",
    b"/\x7f",
    b"/ HTTP/1.1\r\nX: y",
)
BAD_FRAMINGS: Final[tuple[dict[str, Any], ...]] = (
    {"headers": [(b"Content-Length", b"5"), (b"Content-Length", b"5")]},
    {"headers": [(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")]},
    {"headers": [(b"Content-Length", b"-5")]},
    {"headers": [(b"Content-Length", b"+5")]},
    {"headers": [(b"Content-Length", b"5, 5")]},
    {"headers": [(b"Content-Length", b"0x5")]},
    {"headers": [(b"Content-Length", b"\xb2")]},
    {"headers": [(b"Content-Length", b"9" * 5000)]},
    {"headers": [(b"Transfer-Encoding", b"gzip")]},
    {"headers": [(b"Transfer-Encoding", b"gzip, chunked")]},
    {"headers": [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")]},
    {"headers": [(b"Host", b"a"), (b"Host", b"b")]},
    {"headers": [(b"Host", b"a\r\nX: y")]},
)
REFUSED_REQUESTS: Final[tuple[dict[str, Any], ...]] = (
    *({"headers": [(name, b"x")]} for name in BAD_NAMES),
    *({"headers": [(b"X", value)]} for value in BAD_VALUES),
    *({"method": method} for method in BAD_METHODS),
    *({"extensions": {"target": target}} for target in BAD_TARGETS),
    *({"method": "POST", "content": b"hello", **framing} for framing in BAD_FRAMINGS),
)


async def test_what_cannot_be_sent_without_doubt_is_refused_before_anything_is_sent(
    library: ModuleType,
) -> None:
    async with serve(then=answer(200)) as server, streaming_client(library) as client:
        for options in REFUSED_REQUESTS:
            with anyio.fail_after(DEADLINE), pytest.raises(library.LocalProtocolError) as caught:
                await client.request(**{"method": "GET", "url": server.url, **options})
            assert type(caught.value) is library.LocalProtocolError, options
        assert server.connections == []


async def test_odd_but_sound_requests_are_sent_as_they_are(library: ModuleType) -> None:
    value = b"caf\xe9 \t " + bytes(range(0x21, 0x7F))
    name = b"!#$%&'*+-.^_`|~"
    async with serve(then=answer(200)) as server, streaming_client(library) as client:
        outcome = await ask(
            client,
            server.url,
            "M-SEARCH",
            headers=[(name, value), (b"Empty", b"")],
            extensions={"target": b"/?q=\xe9&r='<>|"},
        )
    assert outcome.error is None
    (request,) = server.requests
    assert (request.method, request.target) == ("M-SEARCH", "/?q=\xe9&r='<>|")
    assert request.headers.get(name.decode()) == value.decode("latin-1")
    assert request.headers.get("Empty") == ""


class Pieces:
    """A body that comes in pieces; no generator, for httpx would leave it open."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


@pytest.mark.parametrize(
    "pieces",
    [(b"",), (b"hell",), (b"hel", b"l"), (b"hello!",), (b"hello", b"!"), (b"hello" * 20_000,)],
    ids=["nothing", "less", "less-in-pieces", "more", "more-in-pieces", "much-more"],
)
async def test_a_body_that_is_not_as_long_as_its_length_closes_the_connection(
    library: ModuleType, pieces: tuple[bytes, ...]
) -> None:
    async with serve(then=answer(200, body="fine")) as server, streaming_client(library) as client:
        assert (await ask(client, server.url)).body == b"fine"  # and the connection is idle
        outcome = await ask(
            client, server.url, "POST", headers={"Content-Length": "5"}, content=Pieces(*pieces)
        )
        assert type(outcome.error) is library.LocalProtocolError, outcome
        with anyio.fail_after(DEADLINE):
            await server.all_closed()
        posted = [request for request in server.requests if request.method == "POST"]
        assert all(request.body == pieces[0] for request in posted)  # all that was announced, and no more
        assert (await ask(client, server.url)).body == b"fine"
        assert len(server.connections) == 2
