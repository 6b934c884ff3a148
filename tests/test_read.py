"""Events of a response that is already there: `read_events` and `iter_events`, which are to do the same."""
# ruff: noqa: SIM117 - a server, and a response of it: two lines read better than one.

import gc
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from types import ModuleType
from typing import Any

import anyio
import pytest

import anysse
from anysse import ServerSentEvent, iter_events, read_events
from anysse.testing import Connection
from tests.server import event_stream, feed, serve
from tests.streams import gzip_of, held_stream, memory_client, stream_of, turns

TWO = b"id: 1\ndata: one\n\n: comment\nretry: 2500\nevent: e\ndata: two\n\n"


async def agen(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class Coded:
    """A response of neither library: headers, and a raw body to be read in either way."""

    def __init__(self, coding: str, *parts: bytes) -> None:
        self.headers = {"content-encoding": coding}
        self._parts = parts

    def iter_raw(self) -> Iterator[bytes]:
        return iter(self._parts)

    def aiter_raw(self) -> AsyncIterator[bytes]:
        return agen(*self._parts)


async def both(*parts: bytes, coding: str | None = None, **options: Any) -> list[ServerSentEvent]:
    """Read in both ways, and give the events if both agree; an error that both raise is raised."""
    outcomes: list[tuple[list[ServerSentEvent], Exception | None]] = []
    for is_async in (True, False):
        seen: list[ServerSentEvent] = []
        error = None
        try:
            if is_async:
                source: Any = agen(*parts) if coding is None else Coded(coding, *parts)
                async with aclosing(read_events(source, **options)) as reader:
                    async for event in reader:
                        seen.append(event)
                        assert reader.last_event_id == event.id
            else:
                source = iter(parts) if coding is None else Coded(coding, *parts)
                iterator = iter_events(source, **options)
                for event in iterator:
                    seen.append(event)
                    assert iterator.last_event_id == event.id
        except anysse.AnysseError as exc:
            error = exc
        outcomes.append((seen, error))
    (events, error), (others, other_error) = outcomes
    assert events == others
    assert repr(error) == repr(other_error)
    if error is not None:
        error.add_note(f"{len(events)} events")
        raise error
    return events


def data_of(events: list[ServerSentEvent]) -> list[str]:
    return [event.data for event in events]


# --- what comes out ---------------------------------------------------------------------------------------


async def test_the_events_of_an_iterable() -> None:
    expected = [
        ServerSentEvent(data="one", id="1"),
        ServerSentEvent(event="e", data="two", id="1", retry=2500),
    ]
    assert await both(TWO) == expected
    assert await both(*[bytes([byte]) for byte in TWO]) == expected
    assert await both() == []
    assert await both(b"", b"data: x\n\ndata: unfinished") == [ServerSentEvent(data="x")]


def test_any_iterable_will_do() -> None:
    for source in ([TWO], (TWO,), iter([TWO]), {TWO: 1}):
        assert len(list(iter_events(source))) == 2


async def test_what_an_iterator_knows_meanwhile() -> None:
    parts = [b"data: a\n\n", b"id: 7\nretry: 0\n\n", b"data: b\n\n", b"id: 8\n\n"]
    reader, iterator = read_events(agen(*parts), last_event_id="6"), iter_events(parts, last_event_id="6")
    for way in (reader, iterator):
        assert (way.last_event_id, way.reconnection_time) == ("6", None)
    for data, last_event_id, reconnection_time in (("a", "6", None), ("b", "7", 0.0)):
        assert await anext(reader) == next(iterator) == ServerSentEvent(data=data, id=last_event_id)
        for way in (reader, iterator):
            assert (way.last_event_id, way.reconnection_time) == (last_event_id, reconnection_time)
    with pytest.raises(StopAsyncIteration):
        await anext(reader)
    with pytest.raises(StopIteration):
        next(iterator)
    for way in (reader, iterator):
        assert way.last_event_id == "8"


@pytest.mark.parametrize(
    ("done", "expected"),
    [("[DONE]", ["a"]), (lambda event: event.data == "[DONE]", ["a", "[DONE]"]), ("a", [])],
)
async def test_the_done_event_ends_it(done: Any, expected: list[str]) -> None:
    for parts in (
        [b"data: a\n\ndata: [DONE]\n\ndata: b\n\n"],
        [b"data: a\n\n", b"data: [DONE]\n\n", b"data: b\n\n"],
    ):
        assert data_of(await both(*parts, done=done)) == expected


async def test_nothing_is_read_after_the_done_event() -> None:
    def parts() -> Iterator[bytes]:
        yield b"data: [DONE]\n\n"
        pytest.fail("read on")

    async def async_parts() -> AsyncIterator[bytes]:
        for part in parts():
            yield part

    iterator = iter_events(parts(), done="[DONE]")
    assert list(iterator) == list(iterator) == []
    async with aclosing(async_parts()) as source:
        reader = read_events(source, done="[DONE]")
        for _ in range(2):
            assert [event async for event in reader] == []


async def test_an_end_before_the_done_event_is_a_cut() -> None:
    with pytest.raises(anysse.StreamDropped, match="before its done event") as caught:
        await both(b"data: a\n\n", done="[DONE]")
    assert caught.value.__notes__ == ["1 events"]


async def test_comments_are_told() -> None:
    seen: list[str] = []
    await both(TWO, on_comment=seen.append)
    assert seen == ["comment", "comment"]


async def test_an_event_over_the_limit_comes_after_those_before_it() -> None:
    body = b"data: a\n\ndata: " + b"x" * 100 + b"\n\ndata: b\n\n"
    with pytest.raises(anysse.EventTooLarge) as caught:
        await both(body, max_event_size=50)
    assert caught.value.__notes__ == ["1 events"]
    assert data_of(await both(body, max_event_size=50, oversize="skip")) == ["a", "b"]


async def test_after_an_event_over_the_limit_there_is_nothing_more() -> None:
    iterator = iter_events([b"data: " + b"x" * 100, b"\n\ndata: b\n\n"], max_event_size=50)
    for _ in range(2):
        with pytest.raises(anysse.EventTooLarge):
            next(iterator)


# --- compressed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip_of(TWO)),
        ("deflate", zlib.compress(TWO)),
        ("gzip, gzip", gzip_of(gzip_of(TWO))),
        ("identity", TWO),
    ],
)
async def test_what_is_compressed_is_inflated(coding: str, body: bytes) -> None:
    assert data_of(await both(body, coding=coding)) == ["one", "two"]
    assert data_of(await both(*[bytes([byte]) for byte in body], coding=coding)) == ["one", "two"]


async def test_a_coding_that_cannot_be_undone_is_an_error_at_once() -> None:
    for coding in ("br", "gzip, gzip, gzip"):
        with pytest.raises(anysse.ResponseError):
            read_events(Coded(coding))
        with pytest.raises(anysse.ResponseError):
            iter_events(Coded(coding))


async def test_a_compressed_body_that_ends_too_soon_or_is_none() -> None:
    with pytest.raises(anysse.StreamDropped, match="ended too soon"):
        await both(gzip_of(TWO)[:-4], coding="gzip")
    with pytest.raises(anysse.ResponseError, match="cannot be decompressed"):
        await both(TWO, coding="gzip")
    squeeze = zlib.compressobj(wbits=31)
    good = squeeze.compress(TWO) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(anysse.ResponseError) as caught:
        await both(good, b"\xff" * 100, coding="gzip")
    assert caught.value.__notes__ == ["2 events"]


async def test_a_bomb_comes_in_pieces() -> None:
    """An endless line is found out after its limit, and not after it was inflated."""
    squeeze = zlib.compressobj(9, wbits=31)
    once = squeeze.compress(b"data: ") + b"".join([squeeze.compress(b"x" * 2**20) for _ in range(64)])
    once += squeeze.flush()
    with pytest.raises(anysse.EventTooLarge):
        await both(gzip_of(once), coding="gzip, gzip", max_event_size=100)


# --- responses of the libraries ---------------------------------------------------------------------------


async def test_a_response_of_an_async_client(library: ModuleType) -> None:
    async def compressed(connection: Connection) -> None:
        await event_stream(connection, gzip_of(TWO), headers={"Content-Encoding": "gzip"})

    async with library.AsyncClient(trust_env=False, verify=False) as client:
        async with serve(feed(TWO), compressed) as server:
            for _ in range(2):
                async with client.stream("GET", server.url) as response:
                    assert data_of([event async for event in read_events(response)]) == ["one", "two"]
            assert len(server.connections) == 1


async def test_a_response_of_a_client_that_is_not_async(library: ModuleType) -> None:
    async def compressed(connection: Connection) -> None:
        await event_stream(connection, gzip_of(TWO), headers={"Content-Encoding": "gzip"})

    def read(url: str) -> list[str]:
        with library.Client(trust_env=False, verify=False) as client, client.stream("GET", url) as response:
            return data_of(list(iter_events(response)))

    async with serve(feed(TWO), compressed) as server:
        for _ in range(2):
            assert await anyio.to_thread.run_sync(read, server.url) == ["one", "two"]


async def test_a_response_that_was_read_whole(library: ModuleType) -> None:
    """Those of the libraries' mocks are, too; what was compressed is not any more."""

    def respond(request: Any) -> Any:
        headers = {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}
        return library.Response(200, headers=headers, content=gzip_of(TWO))

    mock = library.MockTransport(respond)
    async with library.AsyncClient(transport=mock) as client:
        async with client.stream("GET", "http://a/") as response:
            assert data_of([event async for event in read_events(response)]) == ["one", "two"]
        response = await client.get("http://a/")
        assert data_of([event async for event in read_events(response)]) == ["one", "two"]
    with library.Client(transport=mock) as client:
        assert data_of(list(iter_events(client.get("http://a/")))) == ["one", "two"]


async def test_a_response_that_was_streamed_before_says_so(library: ModuleType) -> None:
    async with memory_client(library, stream_of(TWO)) as client:
        async with client.stream("GET", "http://a/") as response:
            assert b"".join([part async for part in response.aiter_raw()]) == TWO
            with pytest.raises(library.StreamConsumed):
                assert [event async for event in read_events(response)]


async def test_the_errors_of_the_source_leave_as_they_are(library: ModuleType) -> None:
    async def cut(connection: Connection) -> None:
        await event_stream(connection, "data: x\n\n")
        await connection.reset()

    async with library.AsyncClient(trust_env=False, verify=False) as client:
        async with serve(cut) as server, client.stream("GET", server.url) as response:
            with pytest.raises(library.HTTPError):
                assert [event async for event in read_events(response)]


async def test_the_errors_of_an_iterable_leave_as_they_are() -> None:
    mine = LookupError("mine")

    def broken() -> Iterator[bytes]:
        yield b"data: x\n\n"
        raise mine

    async def broken_later() -> AsyncIterator[bytes]:
        yield b"data: x\n\n"
        raise mine

    reader, iterator = read_events(broken_later()), iter_events(broken())
    assert (await anext(reader)).data == next(iterator).data == "x"
    with pytest.raises(LookupError) as caught:
        next(iterator)
    assert caught.value is mine
    with pytest.raises(LookupError) as caught:
        await anext(reader)
    assert caught.value is mine


async def test_leaving_early_in_order_leaves_nothing(library: ModuleType) -> None:
    """On trio a body that is left parked is found in the garbage, which warns."""

    async def many(connection: Connection) -> None:
        await event_stream(connection)
        await connection.write(b"9\r\ndata: x\n\n\r\n" * 2000)
        await connection.hang()

    async with library.AsyncClient(trust_env=False, verify=False) as client:
        async with serve(many) as server:
            async with client.stream("GET", server.url) as response:
                async with aclosing(read_events(response)) as events:
                    async for event in events:
                        assert event.data == "x"
                        break
            await server.all_closed()
        assert client._transport._pool.connections == []
    gc.collect()


async def test_leaving_early_closes_a_generator_that_never_waits() -> None:
    closed = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: x\n\n"
        finally:
            closed.append(True)

    async with aclosing(read_events(endless())) as events:
        await anext(events)
    assert closed == [True]
    await events.aclose()
    gc.collect()


async def test_leaving_early_takes_what_the_source_raises_then() -> None:
    async def clumsy() -> AsyncIterator[bytes]:
        yield b"data: x\n\n"
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("mine")

    events = read_events(clumsy())
    await anext(events)
    await events.aclose()


async def test_leaving_early_leaves_an_iterator_of_other_kinds_alone() -> None:
    class Endless:
        def __aiter__(self) -> "Endless":
            return self

        async def __anext__(self) -> bytes:
            return b"data: x\n\n"

    source = Endless()
    events = read_events(source)
    await anext(events)
    await events.aclose()
    assert await anext(source) == b"data: x\n\n"


async def test_a_read_that_is_cancelled_leaves_the_response_to_its_owner(library: ModuleType) -> None:
    answer = held_stream(b"data: x\n\n")
    async with memory_client(library, answer) as client:
        async with client.stream("GET", "http://a/") as response:
            async with aclosing(read_events(response)) as events:
                assert (await anext(events)).data == "x"
                with anyio.move_on_after(0.01) as scope:
                    await anext(events)
                assert scope.cancelled_caught
        assert answer.is_closed


async def test_it_may_be_used_inside_of_a_generator(library: ModuleType) -> None:
    async def proxied(client: Any) -> AsyncIterator[str]:
        async with client.stream("GET", "http://a/") as response:
            async with aclosing(read_events(response)) as events:
                async for event in events:
                    yield event.data

    async with memory_client(library, held_stream(b"data: x\n\ndata: y\n\n")) as client:
        async with aclosing(proxied(client)) as texts:
            with anyio.CancelScope():
                assert await anext(texts) == "x"
            with anyio.move_on_after(5):
                assert await anext(texts) == "y"
        await turns(1)
    gc.collect()


# --- arguments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [5, None, "text", b"bytes", bytearray(b"x"), memoryview(b"x"), object()])
def test_what_cannot_be_read_is_refused(source: Any) -> None:
    for read in (iter_events, read_events):
        with pytest.raises(anysse.InvalidRequest) as caught:
            read(source)
        assert caught.value.argument == "response"


def test_each_is_refused_the_others_source() -> None:
    with pytest.raises(anysse.InvalidRequest, match="async iterable"):
        read_events([b"x"])  # type: ignore[arg-type]
    with pytest.raises(anysse.InvalidRequest, match="an iterable"):
        iter_events(Coded.aiter_raw(Coded("")))  # type: ignore[call-overload, arg-type]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("done", 5),
        ("on_comment", 5),
        ("max_event_size", 0),
        ("max_event_size", True),
        ("oversize", "drop"),
        ("last_event_id", 5),
        ("last_event_id", None),
    ],
)
def test_a_wrong_argument_is_named(argument: str, value: Any) -> None:
    for call in (
        lambda **options: iter_events([b""], **options),
        lambda **options: read_events(agen(), **options),
    ):
        with pytest.raises(anysse.InvalidRequest) as caught:
            call(**{argument: value})
        assert caught.value.argument == argument


async def test_reading_that_was_cancelled_is_not_taken_for_the_end(library: ModuleType) -> None:
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        async with client.stream("GET", "http://h/") as response, aclosing(read_events(response)) as events:
            assert (await anext(events)).data == "x"
            with anyio.move_on_after(0):
                await anext(events)
            with pytest.raises(anysse.StreamDropped, match="cancelled"):
                await anext(events)
