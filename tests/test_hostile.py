"""Hostile servers: each attack ends in a clear error or does nothing, in bounded memory that is measured."""

import json
import logging
import re
import tracemalloc
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Final

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anysse
from anysse import _parser
from anysse._redact import redact_reason
from anysse.testing import Connection
from tests.hostile import (
    ATTACKS,
    DEADLINE,
    MIB,
    OPEN,
    Attack,
    Outcome,
    answered,
    endless,
    hostile_server,
    suffered,
    times,
)
from tests.server import event_stream, feed, serve
from tests.streams import Recorder, data_of, memory_client, stream_of

pytestmark = pytest.mark.once

TRANSPORTS: Final = ("ours", "theirs")
READ_AHEAD: Final = 10 * MIB
"""What AnyIO may hold over uvloop: libuv reads 256 KiB up to 32 times before it can be told to stop."""


def client_of(library: ModuleType, transport: str) -> Any:
    """Make a client with our transport, or with the library's own."""
    ours = {"transport": anysse.StreamingTransport()} if transport == "ours" else {}
    return library.AsyncClient(timeout=None, trust_env=False, verify=False, **ours)


def read_ahead(transport: str, backend: tuple[str, dict[str, Any]]) -> int:
    """Give what is not a stream's to bound: uvloop has some under a library's own transport."""
    factory = backend[1].get("loop_factory")
    is_uvloop = getattr(factory, "__module__", "") == "uvloop"
    return READ_AHEAD if is_uvloop and transport == "theirs" else 0


def shown(error: BaseException | None, records: Iterable[logging.LogRecord]) -> list[str]:
    """Give all that a person or a log may get to see."""
    lines = [record.getMessage() for record in records if record.name == "anysse"]
    return [*lines, str(error), repr(error), getattr(error, "headline", "")]


def is_harmless(text: str) -> bool:
    """Tell whether it is one line, of nothing that a terminal acts upon."""
    return all(char.isprintable() for char in text)


# --- each attack ------------------------------------------------------------------------------------------


def attacks() -> Iterable[Any]:
    """Give each attack over each transport; what h11 refuses never comes to us."""
    for attack in ATTACKS:
        for transport in attack.over:
            is_slow = transport in attack.slow_over or (transport == "theirs" and attack.theirs is not None)
            marks = [pytest.mark.slow] if is_slow else []
            yield pytest.param(attack, transport, marks=marks, id=f"{attack.name}, {transport}")


@pytest.mark.parametrize(("attack", "transport"), list(attacks()))
async def test_an_attack_ends_as_it_should_in_bounded_memory(
    attack: Attack,
    transport: str,
    library: ModuleType,
    anyio_backend: tuple[str, dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "anysse")
    async with client_of(library, transport) as client:
        outcome = await suffered(attack, client)
    check(outcome, attack, transport)
    assert outcome.peak <= attack.peak + read_ahead(transport, anyio_backend)
    assert all(map(is_harmless, shown(outcome.error, caplog.records)))


def check(outcome: Outcome, attack: Attack, transport: str) -> None:
    """See that the stream ended as it should."""
    expected, says = attack.expected(transport)
    if expected is None:
        assert outcome.error is None
        assert outcome.last is not None
        assert outcome.last.data == "the end"
    else:
        assert type(outcome.error) is expected
        assert re.search(says, str(outcome.error))
        assert len(str(outcome.error)) < 1000


# In full on one event loop; the test above has them on each, smaller, and in full where it is slow.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", ["1 MB → 1 GB: a comment, gzip", "a million empty blocks"])
async def test_the_largest_attacks_do_nothing_in_bounded_memory(name: str, library: ModuleType) -> None:
    attack = next(attack for attack in ATTACKS if attack.name == name)
    async with client_of(library, "ours") as client:
        outcome = await suffered(attack, client)
    check(outcome, attack, "ours")
    assert outcome.peak <= attack.peak


async def test_while_a_bomb_inflates_other_tasks_have_their_turns(library: ModuleType) -> None:
    bomb = next(attack for attack in ATTACKS if attack.name == "64 KB → 64 MB: a comment, deflate")
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with client_of(library, "ours") as client, anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        await suffered(bomb, client, is_traced=False)
        tasks.cancel_scope.cancel()
    assert turns >= 32  # of 1,024 pieces


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_nobody_reads_is_not_fetched(
    library: ModuleType, transport: str, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    unit = b"data: " + b"x" * 32_000 + b"\n\n"
    with hostile_server(endless(OPEN, unit)) as url, hostile_server(times(OPEN, unit, 8 * MIB)) as other:
        async with client_of(library, transport) as client:
            tracemalloc.start()
            try:
                with anyio.fail_after(DEADLINE):
                    async with anysse.open_stream(url, client=client) as events:
                        await events.receive()
                        # As much could have come here, on the same loop, as comes to one that is read.
                        async with anysse.open_stream(other, client=client, retry=None) as read:
                            count = len([None async for _ in read])
                        received = events.statistics().bytes_received
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert count > 200
    assert received < MIB
    assert peak < 4 * MIB + 2 * read_ahead(transport, anyio_backend)


# --- what is made of what it said -------------------------------------------------------------------------

NASTY: Final = {
    "NUL": b"a\x00b",
    "CR": b"a\rX-Injected: 1",
    "LF": b"a\nX-Injected: 1",
    "CRLF": b"a\r\nX-Injected: 1",
    "a folded line": b"a\r\n X-Injected: 1",
    "NEL": b"a\x85b",
    "NEL in UTF-8": b"a\xc2\x85X-Injected: 1",
    "LINE SEPARATOR": b"a\xe2\x80\xa8X-Injected: 1",
    "half a surrogate": b"a\xed\xa0\x80b",
    "ESC": b"a\x1b[2J\x1b]0;owned\x07b",
    "CSI": b"a\x9b2Jb",
    "CSI in UTF-8": b"a\xc2\x9b2Jb",
    "from right to left": b"a\xe2\x80\xaeb",
    "DEL": b"a\x7fb",
    "white space around": b" \ta\t ",
}
PLACES: Final = {
    "a path to redirect to": lambda text: answered(307, b"Location: /" + text),
    "a host to redirect to": lambda text: answered(307, b"Location: http://" + text + b"/"),
    "a scheme to redirect to": lambda text: answered(307, b"Location: " + text + b":x"),
    "a cookie": lambda text: answered(307, b"Set-Cookie: a=" + text, b"Location: /next"),
    "a cookie's name": lambda text: answered(307, b"Set-Cookie: " + text + b"=a", b"Location: /next"),
    "a time to come back": lambda text: answered(503, b"Retry-After: " + text),
    "a content type": lambda text: answered(200, b"Content-Type: text/" + text),
    "a content coding": lambda text: OPEN[:-2] + b"Content-Encoding: " + text + b"\r\n\r\n",
    "an ETag": lambda text: answered(404, b"ETag: " + text),
    "a header's name": lambda text: answered(404, text + b": a"),
    "a challenge": lambda text: answered(401, b"WWW-Authenticate: Digest realm=" + text),
    "a reason phrase": lambda text: b"HTTP/1.1 404 " + text + b"\r\nContent-Length: 0\r\n\r\n",
    "a status line": lambda text: text + b"\r\n\r\n",
    "a length": lambda text: OPEN[:-2] + b"Content-Length: " + text + b"\r\n\r\n",
    "a chunk size": lambda text: OPEN[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + text + b"\r\n",
    "a refused body": lambda text: answered(404, body=text),
}


def places() -> Iterable[Any]:
    """Give each place over our transport; over theirs, in time, those that differ most."""
    for place in PLACES:
        yield pytest.param(place, "ours", id=f"{place}, ours")
        is_soon = place in ("a path to redirect to", "a cookie", "a reason phrase")
        yield pytest.param(
            place, "theirs", marks=[] if is_soon else [pytest.mark.slow], id=f"{place}, theirs"
        )


@pytest.mark.parametrize(("place", "transport"), list(places()))
async def test_nothing_that_a_server_says_breaks_out_of_its_place(
    place: str, transport: str, library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "anysse")
    said = iter(NASTY.values())

    async def say(connection: Connection) -> None:
        if connection.request.path != "/":  # it was redirected there
            await connection.respond(404, body="")
            return
        await connection.write(PLACES[place](next(said)))
        await connection.drop()

    async with serve(then=say) as server, client_of(library, transport) as client:
        for name in NASTY:
            caplog.clear()
            client.cookies.clear()
            error = await failure_of(f"{server.url}/", client)
            assert all(map(is_harmless, shown(error, caplog.records))), name
        for request in server.requests:
            fields = request.headers.multi_items()
            names = {name.lower() for name, _ in fields}
            assert "x-injected" not in names
            assert len(names) == len(fields)


async def failure_of(url: str, client: Any) -> anysse.AnysseError | None:
    """Read to the end, and give the error that this is."""
    try:
        with anyio.fail_after(DEADLINE):
            async with anysse.open_stream(url, client=client, retry=None) as events:
                await data_of(events)
    except anysse.AnysseError as error:
        return error
    return None


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_last_event_id_is_sent_as_it_came_or_not_at_all(
    library: ModuleType, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "anysse")
    ids = [*NASTY.values(), b"i" * 8192, b"i" * 8193, b"i" * 1_000_000]
    sent: dict[bytes, str | None] = {}

    async def resume(client: Any, text: bytes) -> None:
        body = b"id: " + text + b"\ndata: x\nretry: 1\n\n"
        scripts = feed(body), feed("data: y\n\n")
        async with serve(*scripts) as server, anysse.open_stream(server.url, client=client) as events:
            assert [(await events.receive()).data for _ in range(2)] == ["x", "y"]
            sent[text] = server.requests[1].headers.get("last-event-id")
            assert server.requests[1].headers.get("x-injected") is None

    with anyio.fail_after(DEADLINE):
        async with client_of(library, transport) as client, anyio.create_task_group() as tasks:
            for text in ids:
                tasks.start_soon(resume, client, text)
    assert {text for text, value in sent.items() if value is None} >= {
        NASTY["NUL"], NASTY["ESC"], NASTY["DEL"], b"i" * 8193, b"i" * 1_000_000
    }  # fmt: skip
    assert sent[b"i" * 8192] == "i" * 8192
    for text, value in sent.items():
        if value is not None:
            # The server reads Latin-1; what is no UTF-8 was replaced as it was read.
            as_read = text.decode("utf-8", "replace").partition("\n")[0].partition("\r")[0]
            assert value.encode("latin-1").decode() == as_read.strip(" \t")
    assert all(map(is_harmless, shown(None, caplog.records)))


async def test_a_reconnection_time_of_10_to_the_400_is_an_hour_at_most(library: ModuleType) -> None:
    recorder = Recorder()
    async with (
        serve(feed(b"retry: 1" + b"0" * 400 + b"\ndata: x\n\n")) as server,
        library.AsyncClient() as client,
    ):
        with anyio.fail_after(DEADLINE):
            async with anysse.open_stream(server.url, client=client, observers=[recorder]) as events:
                event = await events.receive()
                while not recorder.of(anysse.Ended):
                    await checkpoint()
    assert event.retry == 10**18 - 1
    retry_in = recorder.of(anysse.Ended)[0].retry_in
    assert retry_in is not None
    assert 3600 <= retry_in <= 5400  # with half of it again, drawn at random


@pytest.mark.parametrize("seconds", [b"1" + b"0" * 400, b"301", b"Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_server_cannot_put_a_client_to_sleep(library: ModuleType, seconds: bytes) -> None:
    async def later(connection: Connection) -> None:
        await connection.write(answered(503, b"Retry-After: " + seconds))

    async with serve(later) as server, library.AsyncClient() as client:
        with pytest.raises(anysse.StatusError, match="come back in"), anyio.fail_after(DEADLINE):
            async with anysse.open_stream(server.url, client=client):
                pass


@pytest.mark.parametrize("value", [b"\x85b", "\u00fc".encode()])
async def test_a_cookie_that_cannot_be_sent_back_is_dropped_or_a_clear_error(
    library: ModuleType, value: bytes
) -> None:
    async def set_it(connection: Connection) -> None:
        await connection.write(answered(307, b"Set-Cookie: a=hunter2" + value, b"Location: /"))

    async def set_it_and_end(connection: Connection) -> None:
        cookie = ("Set-Cookie", f"a=hunter2{value.decode('latin-1')}")
        await event_stream(connection, "data: x\nretry: 1\n\n", headers=[cookie])

    with anyio.fail_after(DEADLINE):
        async with serve(set_it, set_it_and_end, feed("data: y\n\n")) as server:
            async with anysse.open_stream(server.url) as events:  # a client of its own
                assert [(await events.receive()).data for _ in range(2)] == ["x", "y"]
            assert all(request.headers.get("cookie") is None for request in server.requests)
        async with serve(set_it) as server, client_of(library, "ours") as client:
            with pytest.raises(
                anysse.ResponseError, match=r"it sets a cookie that httpx2? cannot send back"
            ) as caught:
                await anysse.open_stream(server.url, client=client).__aenter__()
            assert "hunter2" not in str(caught.value)
        async with serve(set_it_and_end) as server, client_of(library, "ours") as client:
            async with anysse.open_stream(server.url, client=client) as events:
                await events.receive()
                with pytest.raises(anysse.InvalidRequest, match="has a cookie for this URL") as refused:
                    await events.receive()
            assert "hunter2" not in str(refused.value)


async def test_what_a_hook_cannot_encode_is_not_blamed_on_a_cookie(library: ModuleType) -> None:
    async def encode(_: Any) -> None:
        "\u00fc".encode("ascii")

    hooks = {"request": [encode]}
    async with library.AsyncClient(transport=library.MockTransport(print), event_hooks=hooks) as client:
        client.cookies.set("a", "\u00e9", path="/elsewhere")
        with pytest.raises(UnicodeEncodeError):
            await anysse.open_stream("http://a", client=client).__aenter__()


async def test_a_server_fills_no_jar_of_ours() -> None:
    async def set_many(connection: Connection) -> None:
        count = len(server.requests)
        cookies = [("Set-Cookie", f"{count}-{number}=x") for number in range(200)]
        await event_stream(connection, "data: x\nretry: 1\n\n", headers=cookies)

    with anyio.fail_after(DEADLINE):
        async with serve(then=set_many) as server:
            async with anysse.open_stream(server.url) as events:
                for _ in range(3):
                    await events.receive()
            assert len((server.requests[2].headers.get("cookie") or "").split(";")) == 50


# --- secrets ----------------------------------------------------------------------------------------------

SECRETS: Final = {
    "a cookie that is malformed": b"HTTP/1.1 200 So\r\nSet-Cookie: session=hunter2\x00\r\n\r\n",
    "a header's name with a space": b"HTTP/1.1 200 So\r\nSet Cookie: session=hunter2\r\n\r\n",
    "a status line": b"HTTP hunter2\r\n\r\n",
    "a URL with a password": answered(302, b"Location: http://me:hunter2@localhost:99999/"),
    "a URL with a token": answered(302, b"Location: ftp://localhost/?token=hunter2"),
    "a cookie of a refusal": answered(404, b"Set-Cookie: session=hunter2"),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_secret_of_an_answer_is_not_shown(
    library: ModuleType, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "anysse")
    for name, data in SECRETS.items():

        async def say(connection: Connection, data: bytes = data) -> None:
            await connection.write(data)
            await connection.drop()

        async with serve(say) as server, client_of(library, transport) as client:
            error = await failure_of(server.url, client)
        assert error is not None, name
        assert not any("hunter2" in text for text in shown(error, caplog.records)), name


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ("illegal header line: bytearray(b'Set-Cookie: a=b')", "illegal header line"),
        ('illegal header line: bytearray(b"a\'b")', "illegal header line"),
        ("Received header value with whitespace b' hunter2'", "Received header value with whitespace"),
        ("two\nlines\x1b[2J\x85\u2028", r"two\nlines\x1b[2J\x85\u2028"),
        ("the web's end: 'b'", "the web's end: 'b'"),
        ("x" * 10_000, "x" * 300),
    ],
)  # fmt: skip
def test_another_librarys_words_are_one_short_line_without_what_they_quote(said: str, given: str) -> None:
    assert redact_reason(said) == given


# --- what is in an event ----------------------------------------------------------------------------------

BAD_JSON: Final = {
    "arrays in arrays": "[" * 100_000,
    "objects in objects": '{"a":' * 100_000,
    "deep, and whole": "[" * 100_000 + "]" * 100_000,
    "an integer without an end": "9" * 100_000,
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_that_python_cannot_hold_is_bad_json(name: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        anysse.ServerSentEvent(data=BAD_JSON[name]).json()


async def test_json_that_python_cannot_hold_ends_no_stream(library: ModuleType) -> None:
    parts = [f"data: {text}\n\n".encode() for text in [*BAD_JSON.values(), "1"]]
    parse = anysse.ServerSentEvent.json
    async with (
        memory_client(library, stream_of(*parts)) as client,
        anysse.open_stream("http://a", client=client, retry=None, decode=parse) as values,
    ):
        for _ in BAD_JSON:
            with pytest.raises(anysse.DecodeError) as caught:
                await values.receive()
            assert len(str(caught.value)) < 200
        assert await values.receive() == 1


@pytest.mark.parametrize("size", [1, 3, 7, 50, 1000])
def test_an_event_of_many_lines_is_whole_however_they_are_kept(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_parser, "_MANY_LINES", 8)
    lines = [str(number) if number % 5 else "" for number in range(300)]
    text = "".join(f"data: {line}\n" for line in lines).encode() + b"\n"
    parser = anysse.EventStreamParser()
    events = [event for at in range(0, len(text), size) for event in parser.feed(text[at : at + size])]
    assert [event.data for event in events] == ["\n".join(lines)]
    assert [event.data for event in parser.feed(b"data: next\n\n")] == ["next"]
