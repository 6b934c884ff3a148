"""What Azure's fetch-event-source does, and what `StreamClient` does there: a test for each case, by its id.

A docstring says where anysse differs on purpose; the rest is as in `test_behaviours.py`.
"""
# ruff: noqa: SIM117 - a server, and a client of it: two lines read better than one.

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias

import anyio
import pytest

import anysse
from anysse import StreamStatus
from anysse.testing import Connection, Script
from tests.behaviours import QUICK_LINE, TRANSPORTS, client_over, nothing_more, scripted
from tests.diary import EXACT, QUICK, Diary
from tests.server import EVENT_STREAM, answer, event_stream, feed, held

Streams: TypeAlias = Callable[..., AbstractAsyncContextManager["anysse.StreamClient[Any]"]]


@pytest.fixture(params=TRANSPORTS)
async def client(
    request: pytest.FixtureRequest, library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """A client of the library's, over its own transport or over ours."""
    monkeypatch.setenv("no_proxy", "*")
    async with client_over(request.param, library) as client:
        yield client


@pytest.fixture
def streams(client: Any) -> Streams:
    """`StreamClient` over such a client, quick to try again."""
    return partial(anysse.StreamClient, client=client, retry=QUICK)


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.mark.parametrize("accept", [None, "text/event-stream, application/json"])
async def test_fes_01_accept_is_the_event_stream_type_or_the_callers(
    streams: Streams, accept: str | None
) -> None:
    headers = {} if accept is None else {"accept": accept}
    async with scripted(feed("data: x\n\n")) as server, streams(server.url, headers=headers) as requests:
        await requests.send_request()
    assert server.requests[0].headers.get_list("Accept") == [accept or "text/event-stream"]


async def test_fes_01_an_accept_without_event_streams_is_not_the_one_that_is_sent(streams: Streams) -> None:
    """Differs: nothing else could be read. `open_stream` takes the caller's word (REQ-08)."""
    headers = {"accept": "application/json"}
    async with scripted(feed("data: x\n\n")) as server, streams(server.url, headers=headers) as requests:
        await requests.send_request()
    assert server.requests[0].headers.get_list("Accept") == ["text/event-stream"]


@pytest.mark.parametrize("content_type", ["text/html", "text/event-streamx"])
async def test_fes_02_another_content_type_takes_the_path_of_errors(
    streams: Streams, diary: Diary, content_type: str
) -> None:
    """Differs: the whole type is checked, not how it begins."""
    async with scripted(answer(200, {"Content-Type": content_type}, "data: x\n\n")) as server:
        async with streams(server.url) as requests:
            with pytest.raises(anysse.ContentTypeError):
                await requests.send_request(**diary.handlers())
    assert diary.without_statuses() == ["error 0", "close error"]


async def test_fes_02_the_status_is_checked_too(streams: Streams, diary: Diary) -> None:
    """Differs: there a 404 of the right type is a stream."""
    async with scripted(answer(404, {"Content-Type": EVENT_STREAM}, "data: x\n\n")) as server:
        async with streams(server.url) as requests:
            with pytest.raises(anysse.StatusError):
                await requests.send_request(**diary.handlers())
    assert diary.without_statuses() == ["error 0", "close error"]
    assert len(server.requests) == 1


async def test_fes_03_the_end_of_the_body_closes_and_the_call_returns(streams: Streams, diary: Diary) -> None:
    async with scripted(feed("data: x\n\n")) as server, streams(server.url) as requests:
        assert await requests.send_request(**diary.handlers()) is StreamStatus.COMPLETED
        await nothing_more(server)
    assert diary.without_statuses() == ["open", "message x", "complete", "close completed"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["on_complete", "on_close"])
async def test_fes_03_raising_at_the_end_ends_the_request(streams: Streams, name: str) -> None:
    """Differs: no reconnect is asked for by an exception; `kind="feed"` is what asks for it."""
    errors: list[Exception] = []

    def fail(*_: object) -> None:
        raise LookupError("mine")

    options: dict[str, Any] = {name: fail, "on_error": lambda error, count: errors.append(error)}
    async with scripted(feed("data: x\n\n")) as server, streams(server.url) as requests:
        with pytest.raises(LookupError, match="mine"):
            await requests.send_request(**options)
        await nothing_more(server)
    assert errors == []
    assert len(server.requests) == 1


async def test_fes_03_a_feed_reconnects_at_the_end_of_the_body(streams: Streams, diary: Diary) -> None:
    async with scripted(feed(QUICK_LINE, "data: x\n\n"), answer(204)) as server:
        async with streams(server.url, method="GET", kind="feed") as requests:
            await requests.send_request(**diary.handlers())
    assert diary.without_statuses() == ["open", "message x", "complete", "close completed"]
    assert len(server.requests) == 2


async def cut(connection: Connection) -> None:
    """Send one event, and break in the middle of the next."""
    await event_stream(connection, "data: x\n\n", "data: half")
    await connection.drop()


async def refused(connection: Connection) -> None:
    await connection.respond(503, body="later")


@pytest.mark.parametrize("failing", [cut, refused], ids=["cut", "refused"])
async def test_fes_04_an_error_is_told_and_the_policy_says_when_to_try_again(
    streams: Streams, diary: Diary, failing: Script
) -> None:
    """Differs: `retry` gives the delay, in seconds; what `on_error` returns has no meaning."""
    handlers = diary.handlers()
    asked: list[anysse.Failure] = []

    def on_error(error: anysse.AnysseError, count: int) -> int:
        handlers["on_error"](error, count)
        return 5000

    def policy(failure: anysse.Failure) -> float:
        asked.append(failure)
        return 0.125

    options: dict[str, Any] = {"method": "GET", "retry": policy}
    async with scripted(failing, feed("data: y\n\n")) as server, streams(server.url, **options) as requests:
        await requests.send_request(**{**handlers, "on_error": on_error})
    assert [failure.error for failure in asked] == diary.errors
    told = [line for line in diary.without_statuses() if line.startswith(("error", "retry"))]
    assert told == ["error 0", "retry 0.125"]
    assert diary.lines[-1] == "close completed"
    assert len(server.requests) == 2


async def test_fes_04_raising_at_an_error_is_final(streams: Streams) -> None:
    def fail(error: anysse.AnysseError, count: int) -> None:
        raise LookupError("mine")

    async with scripted(then=refused) as server, streams(server.url, method="GET") as requests:
        with pytest.raises(LookupError, match="mine"):
            await requests.send_request(on_error=fail)
        await nothing_more(server)
    assert len(server.requests) == 1


async def test_fes_04_what_a_response_check_raises_is_final(streams: Streams, diary: Diary) -> None:
    """Differs: a bug is no fault of the network, so it is not told as one, nor tried again."""

    def check(response: anysse.StreamResponse) -> bool:
        raise LookupError("mine")

    async with scripted(then=held("data: x\n\n")) as server:
        async with streams(server.url, accept_response=check) as requests:
            with pytest.raises(LookupError, match="mine"):
                await requests.send_request(**diary.handlers())
            await nothing_more(server)
    assert diary.errors == []
    assert diary.lines[-1] == "close error"
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["on_open", "on_message"])
async def test_fes_04_what_a_handler_raises_is_final(streams: Streams, diary: Diary, name: str) -> None:
    """Differs in the same way."""

    def fail(*_: object) -> None:
        raise LookupError("mine")

    async with scripted(then=held("data: x\n\n")) as server, streams(server.url) as requests:
        with pytest.raises(LookupError, match="mine"):
            await requests.send_request(**{**diary.handlers(), name: fail})
        await server.connections[0].closed_by_peer.wait()
        await nothing_more(server)
    assert diary.errors == []
    assert diary.lines[-1] == "close error"


async def cut_after_retry(connection: Connection) -> None:
    await event_stream(connection, "retry: 250\n", "data: x\n\n")
    await connection.drop()


@pytest.mark.parametrize(
    ("script", "delay"), [(refused, 1.0), (cut_after_retry, 0.25)], ids=["at the start", "as the server says"]
)
async def test_fes_05_the_interval_starts_at_a_second_and_follows_the_server(
    streams: Streams, script: Script, delay: float
) -> None:
    delays: list[float] = []

    def on_retry(error: anysse.AnysseError, delay: float) -> None:
        delays.append(delay)
        requests.disconnect()

    async with scripted(script) as server, streams(server.url, method="GET", retry=EXACT) as requests:
        assert await requests.send_request(on_retry=on_retry) is StreamStatus.IDLE
    assert delays == [delay]


async def test_fes_06_the_id_counts_once_its_block_is_whole_and_an_empty_one_takes_it_away(
    streams: Streams,
) -> None:
    """Differs in its first half, as the standard does (REC-22): there the line itself counts."""
    bodies = ["id: 1\ndata: x\n\nid: 2\ndata: half", "id\ndata: y\n\n", "data: z\n\n"]
    scripts = [feed(QUICK_LINE + body) for body in bodies]
    async with scripted(*scripts, answer(204)) as server:
        async with streams(server.url, method="GET", kind="feed") as requests:
            await requests.send_request()
            assert requests.last_event_id == ""
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, "1", None, None]


async def test_fes_07_a_reconnect_repeats_method_body_and_headers(streams: Streams) -> None:
    """Differs: what is no GET is repeated where the caller says that it may be (REC-31)."""
    options: dict[str, Any] = {"headers": {"X-One": "1"}, "resend": "always", "kind": "feed"}
    async with scripted(feed(QUICK_LINE, "id: 7\ndata: x\n\n"), answer(204)) as server:
        async with streams(server.url, **options) as requests:
            await requests.send_request({"a": 1})
    first, second = server.requests
    assert (first.method, first.body) == (second.method, second.body)
    assert (first.method, json.loads(first.body)) == ("POST", {"a": 1})  # each library has its own spaces
    for name in ("X-One", "Content-Type", "Accept"):
        assert first.headers.get(name) == second.headers.get(name) is not None
    assert (first.headers.get("Last-Event-ID"), second.headers.get("Last-Event-ID")) == (None, "7")


async def test_fes_07_without_leave_a_prompt_is_not_repeated(streams: Streams, diary: Diary) -> None:
    async with scripted(cut) as server, streams(server.url) as requests:
        with pytest.raises(anysse.StreamDropped, match="resend"):
            await requests.send_request({"a": 1}, **diary.handlers())
        await nothing_more(server)
    assert len(server.requests) == 1


async def test_fes_08_one_handler_gets_every_event_whatever_its_type(streams: Streams) -> None:
    """Differs: a type that is empty is `message`, as the standard has it."""
    seen: list[tuple[str, object]] = []
    body = "event: a\ndata: x\n\ndata: y\n\nevent:\ndata: z\n\n"
    async with scripted(feed(body)) as server, streams(server.url) as requests:
        await requests.send_request(on_message=lambda data, event: seen.append((event.event, data)))
    assert seen == [("a", "x"), ("message", "y"), ("message", "z")]


async def test_fes_09_disconnecting_ends_a_stream_quietly(streams: Streams, diary: Diary) -> None:
    async with scripted(held("data: x\n\n")) as server, streams(server.url) as requests:
        request = requests.start(**diary.handlers())
        await request.wait_for(StreamStatus.CONNECTED)
        request.disconnect()
        assert await request.wait() is StreamStatus.IDLE
        await server.connections[0].closed_by_peer.wait()
        await nothing_more(server)
    assert diary.errors == []
    assert diary.lines[-1] == "close idle"


async def test_fes_09_disconnecting_ends_the_wait_for_a_retry(streams: Streams, diary: Diary) -> None:
    options: dict[str, Any] = {"method": "GET", "retry": lambda failure: 1e6}
    async with scripted(then=refused) as server, streams(server.url, **options) as requests:
        request = requests.start(**diary.handlers())
        await request.wait_for(StreamStatus.WAITING)
        request.disconnect()
        assert await request.wait() is StreamStatus.IDLE
        await nothing_more(server)
    assert len(server.requests) == 1
    assert diary.lines[-1] == "close idle"


async def test_fes_10_a_stream_is_closed_while_hidden_and_taken_up_again_where_it_was(client: Any) -> None:
    visibility = anysse.Visibility()
    async with scripted(held("id: 7\ndata: x\n\n"), held("data: y\n\n")) as server:
        async with anysse.open_stream(server.url, client=client, visibility=visibility) as events:
            await events.receive()
            visibility.hide()
            await server.connections[0].closed_by_peer.wait()
            visibility.show()
            assert (await events.receive()).id == "7"
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, "7"]


async def test_fes_10_hiding_and_showing_while_a_retry_is_pending_makes_one_request(client: Any) -> None:
    visibility = anysse.Visibility()
    async with scripted(feed("retry: 60000\ndata: x\n\n"), held("data: y\n\n")) as server:
        async with anysse.open_stream(server.url, client=client, visibility=visibility) as events:
            await events.wait_for(StreamStatus.WAITING)
            for _ in range(5):
                visibility.hide()
                visibility.show()
            assert [(await events.receive()).data for _ in range(2)] == ["x", "y"]
            await nothing_more(server)
    assert len(server.requests) == 2


async def test_fes_10_a_prompt_is_held_while_hidden(streams: Streams, diary: Diary) -> None:
    """Differs: it is not sent again, which would be paid for twice."""
    visibility = anysse.Visibility()
    more = anyio.Event()

    async def script(connection: Connection) -> None:
        await connection.respond(200)
        await connection.send("data: x\n\n")
        await more.wait()
        await connection.send("data: y\n\n")
        await connection.end()

    async with scripted(script) as server, streams(server.url, visibility=visibility) as requests:
        request = requests.start(**diary.handlers())
        await request.wait_for(StreamStatus.CONNECTED)
        visibility.hide()
        more.set()
        assert request.status is StreamStatus.PAUSED
        visibility.show()
        assert await request.wait() is StreamStatus.COMPLETED
    assert len(server.requests) == 1


async def test_fes_10_a_stream_may_stay_open_while_hidden(client: Any) -> None:
    visibility = anysse.Visibility(is_visible=False)
    async with scripted(held("data: x\n\n")) as server:
        async with anysse.open_stream(
            server.url, client=client, visibility=visibility, open_when_hidden=True
        ) as events:
            assert (await events.receive()).data == "x"
