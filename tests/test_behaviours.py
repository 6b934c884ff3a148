"""What a client does beyond parsing: one test for each case of our list, named by its id.

REQ the request · RSP accepting the response · RED redirects · REC reconnecting · CLS closing and
cancelling · DLV delivery in time · LIM limits; FES is in `test_behaviours_fes.py`. A docstring says where
anysse differs on purpose from what the standard, or another client, does; `docs/conformance.md` has them
all in one place.

Each runs over the HTTP library's own transport (``theirs``), and over the one that a stream has where no
client is passed (``ours``).

Times are short: ``retry: 100`` is the floor. A delay is read from the facts that an observer gets, and
waited for only where the wait is the point.
"""
# ruff: noqa: SIM117 - a server, and a stream in it: two lines read better than one.

import asyncio
import base64
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import pairwise
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
import pytest

import anysse
from anysse import ExponentialBackoff, ServerSentEvent, StreamStatus
from anysse.testing import Connection, Script
from anysse.testing import SocketServer as Server
from tests.behaviours import (
    DEADLINE,
    POST,
    QUICK_LINE,
    TRANSPORTS,
    Recorder,
    client_over,
    kept_connections,
    nothing_more,
    scripted,
)
from tests.diary import Diary
from tests.server import EVENT_STREAM, answer, event_stream, feed, held, in_turn, redirect

Events: TypeAlias = "anysse.EventStream"
Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Events]]
E = TypeVar("E", bound=Exception)
V = TypeVar("V")

QUICK = ExponentialBackoff(initial=0.1, jitter=0.0)
TRANSIENT = [408, 425, 429, 500, 502, 503, 504, 520, 529]
FATAL = [201, 202, 203, 205, 206, 210, 299, 304, 400, 401, 403, 404, 410, 418, 501, 505, 511]


@pytest.fixture(params=TRANSPORTS)
def new_client(
    request: pytest.FixtureRequest, library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    """A function that makes a client of the library's, over its own transport or over ours."""
    monkeypatch.setenv("no_proxy", "*")
    return partial(client_over, request.param, library)


@pytest.fixture
async def client(new_client: Callable[[], Any]) -> AsyncIterator[Any]:
    async with new_client() as client:
        yield client


@pytest.fixture
def connect(client: Any) -> Open:
    """`open_stream` over such a client, quick to try again."""
    return partial(anysse.open_stream, client=client, retry=QUICK)


async def take(events: Events, count: int) -> list[ServerSentEvent]:
    return [await events.receive() for _ in range(count)]


async def everything(events: Events) -> list[ServerSentEvent]:
    return [event async for event in events]


async def refusal(kind: type[E], opening: AbstractAsyncContextManager[Events]) -> E:
    """Give the error with which a stream does not open."""
    with pytest.raises(kind) as caught:
        async with opening:
            pass
    return caught.value


async def for_each(values: Iterable[V], check: Callable[[V], Awaitable[None]]) -> None:
    """See that something holds for each value; for all at once, since what takes time is waiting."""
    async with anyio.create_task_group() as tasks:
        for value in values:
            tasks.start_soon(check, value)


def data_of(events: list[ServerSentEvent]) -> list[str]:
    return [event.data for event in events]


# --- 1. The request ---------------------------------------------------------------------------------------


async def test_req_01_default_request_is_a_get_without_body_or_last_event_id(connect: Open) -> None:
    async with scripted(held()) as server, connect(server.url):
        pass
    [request] = server.requests
    assert request.method == "GET"
    assert request.body == b""
    assert request.headers.get_list("Last-Event-ID") == []
    assert request.headers.get("Content-Length") is None
    assert request.headers.get("Transfer-Encoding") is None


async def test_req_02_accept_is_exactly_the_event_stream_type(connect: Open) -> None:
    async with scripted(held()) as server, connect(server.url):
        pass
    assert server.requests[0].headers.get_list("Accept") == ["text/event-stream"]


async def test_req_03_cache_control_is_no_cache_each_time(new_client: Callable[[], Any]) -> None:
    async with scripted(held(), held()) as server:
        for _ in range(2):
            async with new_client() as client, anysse.open_stream(server.url, client=client):
                pass
    assert [request.headers.get_list("Cache-Control") for request in server.requests] == [["no-cache"]] * 2


async def test_req_04_no_pragma(connect: Open) -> None:
    """Differs: a browser's HTTP/1.0 courtesy, which no cache of today needs beside Cache-Control."""
    async with scripted(held()) as server, connect(server.url):
        pass
    assert server.requests[0].headers.get("Pragma") is None


async def test_req_05_responses_are_not_cached(connect: Open) -> None:
    fresh = {"Cache-Control": "max-age=3600"}
    async with scripted(held("data: 1\n\n", headers=fresh), held("data: 2\n\n", headers=fresh)) as server:
        seen = []
        for _ in range(2):
            async with connect(server.url) as events:
                seen.append((await events.receive()).data)
    assert seen == ["1", "2"]


async def test_req_06_custom_headers_arrive_beside_ours(connect: Open) -> None:
    headers = {"X-One": "1", "X-Two": "two words"}
    async with scripted(held()) as server, connect(server.url, headers=headers):
        pass
    request = server.requests[0]
    assert (request.headers["X-One"], request.headers["X-Two"]) == ("1", "two words")
    assert request.headers["Accept"] == "text/event-stream"
    assert request.headers["Cache-Control"] == "no-cache"


async def test_req_07_custom_headers_survive_a_reconnect(connect: Open) -> None:
    async with scripted(feed(QUICK_LINE, "id: 7\ndata: x\n\n"), held("data: y\n\n")) as server:
        async with connect(server.url, headers={"X-One": "1"}) as events:
            await take(events, 2)
    assert [request.headers.get("X-One") for request in server.requests] == ["1", "1"]
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, "7"]


@pytest.mark.parametrize("name", ["accept", "Accept", "ACCEPT"])
async def test_req_08_the_caller_may_replace_accept(connect: Open, name: str) -> None:
    headers = {name: "text/event-stream, application/json"}
    async with scripted(held()) as server, connect(server.url, headers=headers):
        pass
    assert server.requests[0].headers.get_list("Accept") == ["text/event-stream, application/json"]
    assert headers == {name: "text/event-stream, application/json"}


async def sent_with(connect: Open, method: str) -> None:
    """See that a request with a body arrives as it was given."""
    async with scripted(feed("data: x\n\n")) as server:
        async with connect(server.url, **{**POST, "method": method}) as events:
            assert data_of(await everything(events)) == ["x"]
    [request] = server.requests
    assert (request.method, request.body) == (method, b'{"a": 1}')
    assert request.headers.get_list("Content-Type") == ["application/json; charset=utf-8"]


async def test_req_09_a_post_with_a_body_arrives_unchanged(connect: Open) -> None:
    await sent_with(connect, "POST")


async def test_req_10_another_method_with_a_body_arrives_unchanged(connect: Open) -> None:
    await sent_with(connect, "REPORT")


async def test_req_11_an_initial_last_event_id_is_sent_and_counts_as_received(connect: Open) -> None:
    async with scripted(held("data: x\n\n")) as server:
        async with connect(server.url, last_event_id="abc") as events:
            assert events.last_event_id == "abc"
            assert await events.receive() == ServerSentEvent(data="x", id="abc")
    assert server.requests[0].headers.get_list("Last-Event-ID") == ["abc"]


async def test_req_12_an_empty_initial_id_sends_no_header(connect: Open) -> None:
    async with scripted(held()) as server, connect(server.url, last_event_id=""):
        pass
    assert server.requests[0].headers.get_list("Last-Event-ID") == []


@pytest.mark.parametrize(
    "url", ["http://h a/", "http:", "http://", "//host/", "http://127.0.0.1:99999/", "", 5, None]
)
def test_req_13_a_bad_url_is_an_error_before_any_traffic(library: ModuleType, url: Any) -> None:
    with pytest.raises(anysse.InvalidRequest) as caught:
        anysse.open_stream(url, client=library.AsyncClient(trust_env=False, verify=False))
    assert caught.value.argument == "url"


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "about:blank", "mailto:a@b.c", "javascript:alert(1)", "ws://h/"]
)
def test_req_14_a_url_that_is_not_http_fails_before_any_traffic(library: ModuleType, url: str) -> None:
    with pytest.raises(anysse.InvalidRequest) as caught:
        anysse.open_stream(url, client=library.AsyncClient(trust_env=False, verify=False))
    assert caught.value.argument == "url"


async def test_req_15_credentials_in_the_url_are_used(connect: Open) -> None:
    async def guarded(connection: Connection) -> None:
        if connection.request.headers.get("Authorization") is None:
            await connection.respond(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
        else:
            await event_stream(connection, "data: x\n\n")
            await connection.hang()

    async with scripted(then=guarded) as server:
        async with connect(f"http://user:p%40ss@127.0.0.1:{server.port}/") as events:
            assert (await events.receive()).data == "x"
    credentials = base64.b64encode(b"user:p@ss").decode()
    assert server.requests[-1].headers.get("Authorization") == f"Basic {credentials}"


async def test_req_16_the_reported_url_is_the_one_it_was_opened_with(connect: Open) -> None:
    during = []

    async def next_time(connection: Connection) -> None:
        during.append(events.url)
        await held("data: y\n\n")(connection)

    routes = {"/a": redirect("/b"), "/b": in_turn(feed(QUICK_LINE, "data: x\n\n"), next_time)}
    async with scripted(routes=routes) as server:
        url = f"{server.url}/a"
        async with connect(url) as events:
            assert events.url == url
            await take(events, 2)
            assert events.url == url
        assert events.url == url
    assert during == [url]


# --- 2. Accepting the response ----------------------------------------------------------------------------


async def test_rsp_01_open_on_the_head_without_waiting_for_the_body(connect: Open) -> None:
    recorder = Recorder()
    async with scripted(held()) as server:
        async with connect(server.url, observers=[recorder]) as events:
            assert events.status is StreamStatus.CONNECTED
            assert recorder.statuses == ["connecting", "connected"]
            assert len(recorder.of(anysse.Connected)) == 1


@pytest.mark.parametrize(
    "content_type",
    [
        "text/event-stream",
        "text/event-stream;",
        "text/event-stream; charset=utf-8",
        "text/event-stream;charset=UTF-8",
        'text/event-stream; charset="UTF-8"',
        "text/event-stream; foo=bar",
        "TEXT/Event-Stream",
        " \ttext/event-stream \t",
        "text/event-stream ; charset=utf-8",
    ],
)
async def test_rsp_02_accepted_content_types(connect: Open, content_type: str) -> None:
    async with scripted(answer(200, {"Content-Type": content_type}, "data: x\n\n")) as server:
        async with connect(server.url, retry=None) as events:
            assert data_of(await everything(events)) == ["x"]


@pytest.mark.parametrize("charset", ["windows-1252", "windows-1251", "utf-16", "no-such-charset"])
async def test_rsp_03_the_charset_is_not_honoured(connect: Open, charset: str) -> None:
    content_type = f"text/event-stream; charset={charset}"
    async with scripted(answer(200, {"Content-Type": content_type}, "data: ok…\n\n")) as server:
        async with connect(server.url, retry=None) as events:
            assert data_of(await everything(events)) == ["ok…"]


@pytest.mark.parametrize(
    "lines",
    [
        ["application/json, text/event-stream; charset=utf-8"],
        ["application/json", "text/event-stream; charset=utf-8"],
        ['text/html; x="a,b", text/event-stream'],
    ],
)
async def test_rsp_04_the_last_of_several_content_types_counts(connect: Open, lines: list[str]) -> None:
    headers = [("Content-Type", line) for line in lines]
    async with scripted(answer(200, headers, "data: x\n\n")) as server:
        async with connect(server.url, retry=None) as events:
            assert data_of(await everything(events)) == ["x"]


@pytest.mark.parametrize(
    "lines", [["text/event-stream, text/html"], ["text/event-stream", "text/html"]], ids=["one", "two"]
)
async def test_rsp_04_an_event_stream_before_another_type_is_refused(connect: Open, lines: list[str]) -> None:
    async with scripted(answer(200, [("Content-Type", line) for line in lines], "data: x\n\n")) as server:
        await refusal(anysse.ContentTypeError, connect(server.url))
    assert len(server.requests) == 1


REFUSED_TYPES = [
    "text/x-bogus",
    "x bogus",
    "text/event-stream-foobar;",
    "text/event-streamx",
    "text/html",
    "text/plain",
    "application/json",
    "text/*",
    "",
    None,
]


@pytest.mark.parametrize("content_type", REFUSED_TYPES)
async def test_rsp_05_refused_content_types(connect: Open, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    recorder = Recorder()
    async with scripted(answer(200, headers, "data: x\n\n")) as server:
        error = await refusal(anysse.ContentTypeError, connect(server.url, observers=[recorder]))
    assert error.body == b"data: x\n\n"
    assert recorder.statuses == ["connecting", "error"]
    assert recorder.delays == [None]
    assert len(server.requests) == 1


async def test_rsp_05_a_refusal_is_final(connect: Open) -> None:
    async with scripted(then=answer(200, {"Content-Type": "text/html"}, "<p>")) as server:
        await refusal(anysse.ContentTypeError, connect(server.url))
        await nothing_more(server, 0.35)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", FATAL)
async def test_rsp_06_statuses_that_fail(connect: Open, status: int) -> None:
    body = b"" if status in (205, 304) else b"data: x\n\n"
    recorder = Recorder()
    async with scripted(answer(status, {"Content-Type": EVENT_STREAM, "X-Why": "so"}, body)) as server:
        error = await refusal(anysse.StatusError, connect(server.url, observers=[recorder]))
    assert (error.status_code, error.body) == (status, body)
    assert error.headers["x-why"] == "so"
    assert recorder.statuses == ["connecting", "error"]
    assert len(server.requests) == 1


async def test_rsp_06_a_status_that_fails_is_final(connect: Open) -> None:
    async with scripted(then=answer(404, {"Content-Type": EVENT_STREAM}, "data: x\n\n")) as server:
        await refusal(anysse.StatusError, connect(server.url))
        await nothing_more(server, 0.35)
    assert len(server.requests) == 1


async def test_rsp_06_statuses_that_may_pass_are_tried_again(connect: Open) -> None:
    """Differs: the standard gives up. These say "not now", and a feed that lives for weeks meets them all."""

    async def is_tried_again(status: int) -> None:
        refusing = answer(status, {"Content-Type": EVENT_STREAM}, "data: no\n\n")
        async with scripted(refusing, held("data: x\n\n")) as server, connect(server.url) as events:
            assert (await events.receive()).data == "x"
        assert len(server.requests) == 2, status

    await for_each(TRANSIENT, is_tried_again)


@pytest.mark.parametrize("status", TRANSIENT)
async def test_rsp_06_without_a_policy_they_fail_as_the_standard_says(connect: Open, status: int) -> None:
    async with scripted(answer(status, {"Content-Type": EVENT_STREAM}, "data: no\n\n")) as server:
        error = await refusal(anysse.StatusError, connect(server.url, retry=None))
    assert error.status_code == status
    assert len(server.requests) == 1


async def test_rsp_07_204_says_stop(connect: Open) -> None:
    recorder = Recorder()
    async with scripted(then=answer(204)) as server:
        async with connect(server.url, observers=[recorder]) as events:
            assert await everything(events) == []
            assert events.status is StreamStatus.COMPLETED
            await nothing_more(server)
    assert recorder.statuses == ["connecting", "completed"]
    assert len(server.requests) == 1


async def test_rsp_08_204_on_a_reconnect(connect: Open) -> None:
    """Differs: `retry: 2` waits 100 ms, which is the floor."""
    recorder = Recorder()
    scripts = [feed("retry: 2\ndata: opened\n\n"), feed("data: reconnected\n\n"), answer(204)]
    async with scripted(*scripts) as server:
        async with connect(server.url, observers=[recorder]) as events:
            assert data_of(await everything(events)) == ["opened", "reconnected"]
            assert events.status is StreamStatus.COMPLETED
    once = ["connecting", "connected", "waiting"]
    assert recorder.statuses == [*once, *once, "connecting", "completed"]
    assert recorder.delays == [0.1, 0.1]
    assert len(server.requests) == 3


async def test_rsp_08_handlers_are_told_of_it_in_this_order(client: Any) -> None:
    diary = Diary()
    scripts = [feed("retry: 2\ndata: opened\n\n"), feed("data: reconnected\n\n"), answer(204)]
    options: dict[str, Any] = {"method": "GET", "kind": "feed", "retry": QUICK}
    async with scripted(*scripts) as server:
        async with anysse.StreamClient(server.url, client=client, **options) as streams:
            await streams.send_request(**diary.handlers())
    opening = ["status connecting", "status connected", "open"]
    assert diary.lines == [
        *(*opening, "message opened", "status waiting"),
        *(*opening, "message reconnected", "status waiting"),
        *("status connecting", "status completed", "complete", "close completed"),
    ]


async def test_rsp_09_204_after_a_redirect(connect: Open) -> None:
    recorder = Recorder()
    async with scripted(routes={"/a": redirect("/b", 301), "/b": answer(204)}) as server:
        async with connect(f"{server.url}/a", observers=[recorder]) as events:
            assert await everything(events) == []
            assert events.url == f"{server.url}/a"
    assert recorder.statuses == ["connecting", "completed"]
    assert [request.path for request in server.requests] == ["/a", "/b"]


async def test_rsp_10_a_large_unused_body_is_not_read_to_its_end(connect: Open) -> None:
    async def endless(connection: Connection) -> None:
        await connection.respond(500, chunked=True)
        while True:
            await connection.send(b"x" * 65536)

    async with scripted(endless) as server:
        error = await refusal(anysse.StatusError, connect(server.url, retry=None))
        await server.all_closed()
    assert len(error.body) == 65536


async def test_rsp_10_a_slow_unused_body_is_waited_for_within_a_bound(
    connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anysse._http.BODY_GRACE", 0.2)

    async def slow(connection: Connection) -> None:
        await connection.respond(500, chunked=True)
        await connection.send("begun")
        await connection.hang()

    async with scripted(slow) as server:
        error = await refusal(anysse.StatusError, connect(server.url, retry=None))
        await server.all_closed()
    assert error.body == b"begun"


async def test_rsp_11_interim_responses_are_passed_over(connect: Open) -> None:
    async def hinting(connection: Connection) -> None:
        await connection.write("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        await event_stream(connection, "data: x\n\n")
        await connection.hang()

    async with scripted(hinting) as server, connect(server.url) as events:
        assert events.response is not None
        assert events.response.status_code == 200
        assert (await events.receive()).data == "x"


@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("deflate", 15), ("GZip", 31), ("x-gzip", 31)])
async def test_rsp_12_a_compressed_body_comes_as_it_is_flushed(
    connect: Open, coding: str, wbits: int
) -> None:
    go_on = anyio.Event()

    async def compressed(connection: Connection) -> None:
        squeeze = zlib.compressobj(wbits=wbits)
        await event_stream(connection, headers={"Content-Encoding": coding})
        await connection.send(squeeze.compress(b"data: one\n\n") + squeeze.flush(zlib.Z_SYNC_FLUSH))
        await go_on.wait()
        await connection.send(squeeze.compress(b"data: two\n\n") + squeeze.flush(zlib.Z_SYNC_FLUSH))
        await connection.hang()

    async with scripted(compressed) as server, connect(server.url) as events:
        assert (await events.receive()).data == "one"
        go_on.set()
        assert (await events.receive()).data == "two"
    assert server.requests[0].headers.get("Accept-Encoding") == "identity"


async def test_rsp_13_the_callers_check_takes_the_place_of_ours(connect: Open) -> None:
    seen: list[anysse.StreamResponse] = []

    def accept(response: anysse.StreamResponse) -> bool:
        seen.append(response)
        return True

    async with scripted(answer(201, {"Content-Type": "text/plain", "X-A": "b"}, "data: x\n\n")) as server:
        async with connect(server.url, accept_response=accept, retry=None) as events:
            assert [(response.status_code, response.headers["x-a"]) for response in seen] == [(201, "b")]
            assert data_of(await everything(events)) == ["x"]


async def test_rsp_13_the_callers_check_may_refuse(connect: Open) -> None:
    async def refuse(response: anysse.StreamResponse) -> bool:
        await anyio.lowlevel.checkpoint()
        return "x-good" in response.headers

    async with scripted(feed("data: x\n\n"), held("data: y\n\n", headers={"X-Good": "1"})) as server:
        error = await refusal(anysse.ResponseError, connect(server.url, accept_response=refuse))
        async with connect(server.url, accept_response=refuse) as events:
            assert (await events.receive()).data == "y"
    assert error.status_code == 200


async def test_rsp_13_what_the_callers_check_raises_is_raised(connect: Open) -> None:
    def accept(response: anysse.StreamResponse) -> bool:
        raise LookupError(response.url)

    async with scripted(held("data: x\n\n")) as server:
        error = await refusal(LookupError, connect(server.url, accept_response=accept))
        assert error.args == (server.url,)
    assert len(server.requests) == 1


async def test_rsp_14_response_headers_are_those_of_the_current_connection(connect: Open) -> None:
    scripts = [
        feed(QUICK_LINE, "data: x\n\n", headers={"X-Connection": "1"}),
        held("data: y\n\n", headers={"X-Connection": "2"}),
    ]
    async with scripted(*scripts) as server, connect(server.url) as events:
        seen = []
        for _ in range(2):
            await events.receive()
            assert events.response is not None
            seen.append(events.response.headers["x-connection"])
    assert seen == ["1", "2"]


async def test_rsp_14_headers_of_a_refused_response_are_on_the_error(connect: Open) -> None:
    async with scripted(answer(429, {"Retry-After": "1000"}, "later")) as server:
        error = await refusal(anysse.StatusError, connect(server.url))
    assert (error.status_code, error.headers["retry-after"]) == (429, "1000")
    assert error.retry_after == 1000.0


# --- 3. Redirects -----------------------------------------------------------------------------------------

REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
async def test_red_01_redirects_are_followed(connect: Open, status: int) -> None:
    recorder = Recorder()
    async with scripted(routes={"/a": redirect("/b", status), "/b": held("data: x\n\n")}) as server:
        async with connect(f"{server.url}/a", observers=[recorder]) as events:
            assert (await events.receive()).data == "x"
            assert events.url == f"{server.url}/a"
    assert recorder.delays == []
    assert recorder.statuses[:2] == ["connecting", "connected"]
    assert [request.target for request in server.requests] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("location", "target"),
    [("http://127.0.0.1:{port}/b", "/b"), ("b", "/b"), ("?x=1", "/a?x=1"), ("//127.0.0.1:{port}/b", "/b")],
)
async def test_red_02_absolute_and_relative_locations(connect: Open, location: str, target: str) -> None:
    async def script(connection: Connection) -> None:
        if connection.request.target == "/a":
            await connection.respond(302, {"Location": location.format(port=server.port)}, b"")
        else:
            await event_stream(connection, "data: x\n\n")
            await connection.hang()

    async with scripted(then=script) as server, connect(f"{server.url}/a") as events:
        assert (await events.receive()).data == "x"
    assert [request.target for request in server.requests] == ["/a", target]


@pytest.mark.parametrize("location", ["http://{host}/b", "//{host}/b"])
async def test_red_02_another_host_is_followed(connect: Open, location: str) -> None:
    async with scripted(held("data: x\n\n")) as other:
        host = other.url.removeprefix("http://")
        async with scripted(redirect(location.format(host=host))) as server:
            async with connect(f"{server.url}/a") as events:
                assert (await events.receive()).data == "x"
    assert [request.target for request in other.requests] == ["/b"]


async def test_red_03_where_events_come_from_is_reported(connect: Open) -> None:
    async with scripted(held("data: x\n\n")) as other, scripted(redirect(f"{other.url}/b")) as server:
        async with connect(f"{server.url}/a") as events:
            await events.receive()
            assert events.response is not None
            assert events.response.url == f"{other.url}/b"
            assert events.url == f"{server.url}/a"


@pytest.mark.parametrize("status", [301, 307])
async def test_red_04_a_missing_location_is_an_error(connect: Open, status: int) -> None:
    async with scripted(then=answer(status)) as server:
        error = await refusal(anysse.StatusError, connect(server.url))
    assert error.status_code == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 307])
async def test_red_05_an_empty_location_ends_after_a_bounded_number_of_requests(
    connect: Open, status: int
) -> None:
    async with scripted(then=redirect("", status)) as server:
        await refusal(anysse.ResponseError, connect(server.url))
    assert len(server.requests) <= 21


async def test_red_06_a_loop_ends_after_twenty_hops(connect: Open) -> None:
    async with scripted(routes={"/a": redirect("/b"), "/b": redirect("/a")}) as server:
        await refusal(anysse.ResponseError, connect(f"{server.url}/a"))
    assert len(server.requests) == 21


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/b", "file:///etc/passwd", "http://h a/", "javascript:x"]
)
async def test_red_07_a_location_that_is_not_http_fails(connect: Open, location: str) -> None:
    async with scripted(then=redirect(location)) as server:
        await refusal(anysse.ResponseError, connect(server.url))
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_red_08_a_post_becomes_a_get_without_a_body(connect: Open, status: int) -> None:
    async with scripted(routes={"/a": redirect("/b", status), "/b": feed("data: x\n\n")}) as server:
        async with connect(f"{server.url}/a", **POST) as events:
            assert data_of(await everything(events)) == ["x"]
    first, second = server.requests
    assert (first.method, first.body) == ("POST", b'{"a": 1}')
    assert (second.method, second.body) == ("GET", b"")
    for name in ("Content-Type", "Content-Length", "Transfer-Encoding"):
        assert second.headers.get(name) is None


async def test_red_08_a_post_is_not_sent_again_where_only_its_result_is_out_of_reach(connect: Open) -> None:
    """Ours: after a 303 the prompt was acted upon, and a retry would start it anew."""
    async with scripted(routes={"/a": redirect("/b", 303), "/b": answer(429)}) as server:
        error = await refusal(anysse.StatusError, connect(f"{server.url}/a", **POST))
        assert "not sent again" in str(error)
        await nothing_more(server)
    assert [request.method for request in server.requests] == ["POST", "GET"]


@pytest.mark.parametrize("status", [307, 308])
async def test_red_08_a_post_is_posted_again(connect: Open, status: int) -> None:
    async with scripted(routes={"/a": redirect("/b", status), "/b": feed("data: x\n\n")}) as server:
        async with connect(f"{server.url}/a", **POST) as events:
            assert data_of(await everything(events)) == ["x"]
    assert [request.method for request in server.requests] == ["POST", "POST"]
    assert [request.body for request in server.requests] == [b'{"a": 1}'] * 2
    assert [request.headers.get("Content-Type") for request in server.requests] == [
        POST["headers"]["Content-Type"]
    ] * 2


@pytest.mark.parametrize("status", [307, 308])
async def test_red_08_a_body_does_not_follow_to_another_origin(connect: Open, status: int) -> None:
    """Differs: Fetch sends it on. A prompt is as secret as the credentials that are not sent on either."""
    async with scripted() as other, scripted(redirect(f"{other.url}/b", status)) as server:
        await refusal(anysse.ResponseError, connect(f"{server.url}/a", **POST))
    assert other.requests == []


SECRETS = {"Authorization": "Bearer secret", "X-Api-Key": "secret", "Cookie": "session=secret"}


async def test_red_09_credentials_follow_on_the_same_origin(connect: Open) -> None:
    async with scripted(routes={"/a": redirect("/b"), "/b": held("data: x\n\n")}) as server:
        async with connect(f"{server.url}/a", headers=SECRETS) as events:
            await events.receive()
    for request in server.requests:
        assert {name: request.headers.get(name) for name in SECRETS} == SECRETS


async def test_red_09_credentials_stay_behind_on_another_origin(connect: Open) -> None:
    """Goes further than Fetch: no header of the caller's follows, for a key may have any name."""
    async with scripted(held("data: x\n\n")) as other, scripted(redirect(f"{other.url}/b")) as server:
        async with connect(f"{server.url}/a", headers=SECRETS) as events:
            await events.receive()
    assert [other.requests[0].headers.get(name) for name in SECRETS] == [None, None, None]
    assert other.requests[0].headers.get("Accept") == "text/event-stream"


async def test_red_09_another_name_of_the_host_is_another_origin(connect: Open) -> None:
    async def script(connection: Connection) -> None:
        if connection.request.path == "/a":
            await redirect(f"http://localhost:{server.port}/b")(connection)
        else:
            await held("data: x\n\n")(connection)

    async with scripted(then=script) as server:
        async with connect(f"{server.url}/a", headers=SECRETS) as events:
            await events.receive()
    assert [request.path for request in server.requests] == ["/a", "/b"]
    assert [server.requests[1].headers.get(name) for name in SECRETS] == [None, None, None]


async def test_red_09_once_gone_credentials_stay_gone(connect: Open) -> None:
    async def there(connection: Connection) -> None:
        await redirect(f"{other.url}/b")(connection)

    async def back(connection: Connection) -> None:
        await redirect(f"{server.url}/c")(connection)

    async with scripted(back) as other, scripted(there, held("data: x\n\n")) as server:
        async with connect(f"{server.url}/a", headers=SECRETS) as events:
            await events.receive()
    assert [request.path for request in server.requests] == ["/a", "/c"]
    assert [server.requests[1].headers.get(name) for name in SECRETS] == [None, None, None]


async def test_red_10_a_reconnect_starts_at_the_first_url(connect: Open) -> None:
    routes = {"/a": redirect("/b", 301), "/b": in_turn(feed("retry: 100\ndata: x\n\n"), held("data: y\n\n"))}
    async with scripted(routes=routes) as server, connect(f"{server.url}/a") as events:
        await take(events, 2)
    assert [request.path for request in server.requests] == ["/a", "/b", "/a", "/b"]


async def test_red_11_last_event_id_goes_through_a_redirect(connect: Open) -> None:
    there = in_turn(feed("retry: 100\nid: 7\ndata: x\n\n"), held("data: y\n\n"))
    routes = {"/a": redirect("/b", 301), "/b": there}
    async with scripted(routes=routes) as server, connect(f"{server.url}/a") as events:
        await take(events, 2)
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, None, "7", "7"]


async def test_red_11_the_id_that_the_stream_learnt_goes_to_another_origin_too(connect: Open) -> None:
    async with scripted(feed("retry: 100\nid: 7\ndata: x\n\n"), held("data: y\n\n")) as other:
        async with scripted(then=redirect(f"{other.url}/b")) as server, connect(f"{server.url}/a") as events:
            await take(events, 2)
    assert [request.headers.get("Last-Event-ID") for request in other.requests] == [None, "7"]


# --- 4. Reconnecting --------------------------------------------------------------------------------------


async def delays_after(connect: Open, *parts: bytes | str, retry: Any = QUICK) -> list[float | None]:
    """Give how long a stream would wait after the end of such a connection, without waiting for it."""
    recorder = Recorder()
    async with scripted(feed(*parts)) as server:
        async with connect(server.url, observers=[recorder], retry=retry) as events:
            await events.wait_for(StreamStatus.WAITING)
    return recorder.delays


async def test_rec_01_after_the_end_of_the_body(connect: Open) -> None:
    recorder = Recorder()
    async with scripted(feed(QUICK_LINE, "data: data\n\n"), held("data: data\n\n")) as server:
        async with connect(server.url, observers=[recorder]) as events:
            assert data_of(await take(events, 2)) == ["data", "data"]
    assert recorder.statuses[:5] == ["connecting", "connected", "waiting", "connecting", "connected"]
    assert [type(fact) for fact in recorder.of(anysse.Ended)] == [anysse.Ended]
    assert len(server.requests) == 2


async def test_rec_02_after_an_empty_body(connect: Open) -> None:
    """Differs in the count only: an end without one event is a failure, so that the wait grows."""
    recorder = Recorder()
    async with scripted(feed(), feed(), held("data: x\n\n")) as server:
        async with connect(server.url, observers=[recorder]) as events:
            assert (await events.receive()).data == "x"
    assert recorder.delays == [0.1, 0.2]
    assert recorder.statuses[:3] == ["connecting", "connected", "waiting"]


def ending(how: str, is_read: anyio.Event) -> Script:
    """Send one block and a half, and end in this way; a reset only once the block was read."""

    async def script(connection: Connection) -> None:
        whole, half = "retry: 100\ndata: whole\n\n", "data: half\n"
        if how == "length":
            await connection.respond(200, {"Content-Type": EVENT_STREAM}, whole + half)
        elif how == "short of its length":
            await connection.respond(200, {"Content-Type": EVENT_STREAM, "Content-Length": "1000"})
            await connection.write(whole + half)
            await connection.drop()
        else:
            await event_stream(connection, whole, half, chunked=how != "connection")
        if how == "reset":
            await is_read.wait()
            await connection.reset()
        elif how == "cut":
            await connection.drop()

    return script


@pytest.mark.parametrize("how", ["length", "short of its length", "connection", "chunked", "cut", "reset"])
async def test_rec_03_every_way_to_end_reconnects_and_drops_half_a_block(connect: Open, how: str) -> None:
    recorder, is_read = Recorder(), anyio.Event()
    async with scripted(ending(how, is_read), held("data: next\n\n")) as server:
        async with connect(server.url, observers=[recorder]) as events:
            assert (await events.receive()).data == "whole"
            is_read.set()
            assert (await events.receive()).data == "next"
    is_clean = how in ("length", "connection", "chunked")
    assert len(recorder.of(anysse.Ended)) == is_clean
    failures = recorder.of(anysse.AttemptFailed)
    assert [type(fact.error) for fact in failures] == ([] if is_clean else [anysse.StreamDropped])
    assert recorder.delays == [0.1]


async def test_rec_04_a_first_connect_that_is_refused_is_tried_again(connect: Open) -> None:
    is_refused = anyio.Event()

    def again(failure: anysse.Failure) -> float:
        assert isinstance(failure.error, anysse.ConnectError)
        assert not failure.was_open
        is_refused.set()
        return 0.1

    async def reopen() -> None:
        await is_refused.wait()
        await server.listen_again()

    async with scripted(held("data: x\n\n")) as server, anyio.create_task_group() as tasks:
        await server.refuse()
        tasks.start_soon(reopen)
        async with connect(server.url, retry=again) as events:
            assert (await events.receive()).data == "x"


async def test_rec_05_refused_later_keeps_trying(connect: Open) -> None:
    refusals: list[anysse.Failure] = []
    is_refused_twice = anyio.Event()

    def again(failure: anysse.Failure) -> float:
        refusals.append(failure)
        if len(refusals) == 2:
            is_refused_twice.set()
        return 0.1

    async def once(connection: Connection) -> None:
        await event_stream(connection, QUICK_LINE, "data: one\n\n")
        await server.refuse()
        await connection.end()
        await connection.drop()
        await is_refused_twice.wait()
        await server.listen_again()

    async with scripted(once, held("data: two\n\n")) as server, connect(server.url, retry=again) as events:
        assert data_of(await take(events, 2)) == ["one", "two"]
    assert [type(failure.error) for failure in refusals[:2]] == [anysse.ConnectError] * 2
    assert all(failure.was_open and failure.is_transient for failure in refusals)


async def test_rec_06_an_unknown_host_is_tried_a_few_times(connect: Open) -> None:
    """Differs: browsers try for ever. Before the stream was ever open it may well be a typing error."""
    recorder = Recorder()
    policy = ExponentialBackoff(initial=0.1, jitter=0.0, max_connect_retries=2)
    opening = connect("http://name.invalid/", retry=policy, observers=[recorder])
    with anyio.fail_after(DEADLINE):
        error = await refusal(anysse.ConnectError, opening)
    assert error.retry_count == 2
    assert recorder.delays == [0.1, 0.2, None]


async def test_rec_07_retry_sets_the_delay_in_decimal(connect: Open) -> None:
    assert await delays_after(connect, "retry:02000\ndata:x\n\n") == [2.0]


async def test_rec_07_the_delay_is_waited(connect: Open) -> None:
    ended_at = 0.0

    async def script(connection: Connection) -> None:
        nonlocal ended_at
        await event_stream(connection, "retry:0250\ndata:x\n\n")
        ended_at = anyio.current_time()

    async with scripted(script, held("data: y\n\n")) as server, connect(server.url) as events:
        await take(events, 2)
    assert server.requests[1].time - ended_at > 0.24


@pytest.mark.parametrize(
    ("part", "delay"),
    [("retry:3000\nretry:1000x\ndata:x\n\n", 3.0), ("retry:1000\nretry:5000x\ndata:x\n\n", 1.0)],
)
async def test_rec_08_a_later_bogus_retry_changes_nothing(connect: Open, part: str, delay: float) -> None:
    assert await delays_after(connect, part) == [delay]


async def test_rec_09_an_empty_retry_changes_nothing(connect: Open) -> None:
    assert await delays_after(connect, "retry: 300\n\n", "retry\ndata: x\n\n") == [0.3]


async def test_rec_10_retry_without_an_event(connect: Open) -> None:
    async with scripted(feed("retry: 100\n\n"), held("data: x\n\n")) as server, connect(server.url) as events:
        assert (await events.receive()).data == "x"
        assert events.reconnection_time == 0.1
    policy = ExponentialBackoff(initial=5.0, jitter=0.0)
    assert await delays_after(connect, "retry: 100\n\n", retry=policy) == [0.1]


async def test_rec_11_retry_takes_effect_at_its_line(connect: Open) -> None:
    policy = ExponentialBackoff(initial=5.0, jitter=0.0)
    assert await delays_after(connect, "retry: 100\n", retry=policy) == [0.1]


async def test_rec_12_retry_is_remembered(connect: Open) -> None:
    recorder = Recorder()
    policy = ExponentialBackoff(initial=5.0, factor=1.0, jitter=0.0)
    async with scripted(feed("retry: 100\n\n"), feed(), held("data: x\n\n")) as server:
        async with connect(server.url, observers=[recorder], retry=policy) as events:
            assert (await events.receive()).data == "x"
    assert recorder.delays == [0.1, 0.1]


async def test_rec_13_retry_0_is_no_busy_loop(connect: Open) -> None:
    async with scripted(then=feed("retry: 0\ndata: x\n\n")) as server, connect(server.url) as events:
        await take(events, 4)
    times = [request.time for request in server.requests]
    assert all(later - earlier > 0.09 for earlier, later in pairwise(times))


async def test_rec_14_a_huge_retry_is_capped_and_closing_ends_the_wait(connect: Open) -> None:
    async with scripted(feed(f"retry: {'9' * 400}\ndata: x\n\n")) as server, connect(server.url) as events:
        await events.receive()
        await events.wait_for(StreamStatus.WAITING)
        assert events.reconnection_time == 3600.0
        assert events.next_attempt_in is not None
        assert 3500.0 < events.next_attempt_in <= 3600.0
        await events.aclose()  # long before that: see the deadline
        assert events.status is StreamStatus.IDLE


async def test_rec_15_the_default_delay_is_three_seconds(connect: Open) -> None:
    assert await delays_after(connect, "data: x\n\n") == [3.0]


async def test_rec_15_the_default_delay_is_spread(connect: Open) -> None:
    [delay] = await delays_after(connect, "data: x\n\n", retry=ExponentialBackoff(jitter=0.5))
    assert delay is not None
    assert 3.0 <= delay <= 4.5


async def test_rec_16_backoff_grows_to_its_maximum(connect: Open) -> None:
    recorder = Recorder()
    policy = ExponentialBackoff(initial=0.1, factor=2.0, maximum=0.3, jitter=0.0, max_connect_retries=4)
    async with scripted() as server:
        await server.refuse()
        await refusal(anysse.ConnectError, connect(server.url, retry=policy, observers=[recorder]))
    assert recorder.delays == [0.1, 0.2, 0.3, 0.3, None]


async def test_rec_16_backoff_starts_anew_after_a_good_connection(connect: Open) -> None:
    recorder = Recorder()

    async def cut(connection: Connection) -> None:
        await event_stream(connection, "data: x\n\n")
        await connection.drop()

    scripts = [answer(503), answer(503), cut, answer(503), held("data: y\n\n")]
    async with scripted(*scripts) as server:
        async with connect(server.url, observers=[recorder]) as events:
            assert data_of(await take(events, 2)) == ["x", "y"]
            assert events.retry_count == 0
            assert events.last_error is None
    assert recorder.delays == [0.1, 0.2, 0.1, 0.2]


async def ids_sent(connect: Open, *bodies: bytes | str) -> tuple[list[ServerSentEvent], list[str | None]]:
    """Serve these bodies one after another, then 204; give the events, and the header of each request."""
    first, *others = bodies
    scripts = [feed(f"{QUICK_LINE}\n", first), *(feed(body) for body in others), answer(204)]
    async with scripted(*scripts) as server:
        async with connect(server.url) as events:
            received = await everything(events)
    return received, [request.headers.get("Last-Event-ID") for request in server.requests]


async def test_rec_17_last_event_id(connect: Open) -> None:
    _, sent = await ids_sent(connect, "id: abc\ndata: Hello\n\n")
    assert sent == [None, "abc"]


async def test_rec_18_later_events_without_an_id_keep_it(connect: Open) -> None:
    events, sent = await ids_sent(connect, "id: abc\ndata: a\n\ndata: b\n\n")
    assert [event.id for event in events] == ["abc", "abc"]
    assert sent == [None, "abc"]


async def test_rec_19_an_empty_id_takes_the_header_away(connect: Open) -> None:
    events, sent = await ids_sent(connect, "id: abc\ndata: a\n\nid: \ndata: b\n\n")
    assert [event.id for event in events] == ["abc", ""]
    assert sent == [None, None]


async def test_rec_20_an_id_that_was_sent_can_be_taken_back(connect: Open) -> None:
    _, sent = await ids_sent(connect, "id: 1\ndata: a\n\n", "id\ndata: b\n\n")
    assert sent == [None, "1", None]


async def test_rec_21_a_block_without_data_moves_the_id(connect: Open) -> None:
    events, sent = await ids_sent(connect, "id: 1337\n\n")
    assert events == []
    assert sent == [None, "1337"]


async def test_rec_22_an_unfinished_block_does_not_count(connect: Open) -> None:
    first = "id: abc\ndata: Hello\n\nid: def\ndata: Goodbye"
    events, sent = await ids_sent(connect, first, "data: We meet again\n\n")
    assert data_of(events) == ["Hello", "We meet again"]
    assert sent == [None, "abc", "abc"]


async def test_rec_23_an_unfinished_block_leaves_no_id(connect: Open) -> None:
    body = "data:test1\n\nid:test\ndata:test2"
    events, sent = await ids_sent(connect, body, body)
    assert events == [ServerSentEvent(data="test1")] * 2
    assert sent == [None, None, None]


async def test_rec_24_a_non_ascii_id_goes_out_as_utf_8(connect: Open) -> None:
    async def echo(connection: Connection) -> None:
        header = connection.request.headers.get("Last-Event-ID") or ""
        await event_stream(connection, b"data: " + header.encode("latin-1") + b"\n\n")
        await connection.hang()

    async def comes_back(value: str) -> None:
        async with scripted(feed(QUICK_LINE, f"id: {value}\ndata: hello\n\n"), echo) as server:
            async with connect(server.url) as events:
                assert data_of(await take(events, 2)) == ["hello", value]
        assert (server.requests[1].headers.get("Last-Event-ID") or "").encode("latin-1") == value.encode()

    await for_each(["…", "😀", "ü"], comes_back)


async def test_rec_25_the_id_persists_into_the_next_connection(connect: Open) -> None:
    """The standard's letter empties the buffer; browsers, their tests and anysse keep it."""
    events, sent = await ids_sent(connect, "id: 7\ndata: a\n\n", "data: b\n\n", "data: c\n\n")
    assert [(event.data, event.id) for event in events] == [("a", "7"), ("b", "7"), ("c", "7")]
    assert sent == [None, "7", "7", "7"]


async def test_rec_26_an_id_with_null_is_ignored(connect: Open) -> None:
    async def is_ignored(value: bytes) -> None:
        events, sent = await ids_sent(connect, b"id: " + value + b"\ndata: hello\n\n")
        assert (events[0].id, sent) == ("", [None, None]), value

    await for_each([b"\0\0", b"x\0", b"\0x", b"x\0x", b" \0"], is_ignored)


AWKWARD = [
    "a" * 255,
    "e5p3n<3k0k0s",
    "in ner",
    "tab\tbed",
    'quo"ted',
    "com,ma",
    "co:lon",
    "a;b=c",
    "\\",
    "%41",
    "0",
]


async def test_rec_27_awkward_ids_come_back(connect: Open) -> None:
    async def comes_back(value: str) -> None:
        events, sent = await ids_sent(connect, f"id: {value}\ndata: x\n\n")
        assert (events[0].id, sent) == (value, [None, value])

    await for_each(AWKWARD, comes_back)


async def test_rec_27_outer_spaces_are_trimmed_from_the_header_alone(connect: Open) -> None:
    async def is_trimmed(value: str) -> None:
        events, sent = await ids_sent(connect, f"id: {value}\ndata: x\n\n")
        assert (events[0].id, sent) == (value, [None, value.strip() or None])

    await for_each([" leading", "trailing ", "  "], is_trimmed)


@pytest.mark.parametrize("value", ["\x01", "a\x7fb", "a\x1b[31mb", "a" * 9000])
async def test_rec_27_an_id_that_cannot_be_a_header_is_not_sent_and_warned_of(
    connect: Open, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    events, sent = await ids_sent(connect, f"id: {value}\ndata: x\n\n")
    assert events[0].id == value
    assert sent == [None, None]
    assert [record.levelname for record in caplog.records if "event ID" in record.getMessage()] == ["WARNING"]


async def test_rec_28_nothing_leaks_into_the_next_connection(connect: Open) -> None:
    events, _ = await ids_sent(connect, "data: whole\n\nevent: foo\ndata: half\n", "data: x\n\n")
    assert events[1:] == [ServerSentEvent(event="message", data="x")]


async def test_rec_29_the_decoder_starts_afresh(connect: Open) -> None:
    events, _ = await ids_sent(connect, b"data: a\n\ndata: \xe2\x82", b"\xef\xbb\xbfdata: b\n\n")
    assert data_of(events) == ["a", "b"]


async def test_rec_30_the_new_connection_works_in_full(connect: Open) -> None:
    events, sent = await ids_sent(connect, "id: abc\ndata: Hello\n\n", "id: def\ndata: World\n\n")
    assert [(event.id, event.data) for event in events] == [("abc", "Hello"), ("def", "World")]
    assert sent == [None, "abc", "def"]


async def test_rec_31_a_body_is_sent_again_where_the_caller_allows_it(connect: Open) -> None:
    """Differs: nothing but a GET is repeated unless the caller says that it may be."""
    async with scripted(feed(QUICK_LINE, "data: x\n\n"), held("data: y\n\n")) as server:
        async with connect(server.url, **POST, kind="feed", resend="always") as events:
            assert data_of(await take(events, 2)) == ["x", "y"]
    assert [(request.method, request.body) for request in server.requests] == [("POST", b'{"a": 1}')] * 2
    assert [request.headers.get("Content-Type") for request in server.requests] == [
        POST["headers"]["Content-Type"]
    ] * 2


async def test_rec_31_a_body_is_not_sent_again_otherwise(connect: Open) -> None:
    async with scripted(feed(QUICK_LINE, "data: x\n\n")) as server:
        async with connect(server.url, **POST, kind="feed") as events:
            assert (await events.receive()).data == "x"
            with pytest.raises(anysse.StreamDropped, match="resend"):
                await events.receive()
            await nothing_more(server)


async def test_rec_31_a_body_that_can_be_read_once_is_never_sent_empty(connect: Open) -> None:
    async def body() -> AsyncIterator[bytes]:
        await anyio.lowlevel.checkpoint()
        yield b"once"

    async with scripted(feed(QUICK_LINE, "data: x\n\n")) as server:
        async with connect(server.url, method="POST", content=body(), kind="feed", resend="always") as events:
            assert (await events.receive()).data == "x"
            with pytest.raises(anysse.StreamError, match="once"):
                await events.receive()
            await nothing_more(server)
    assert [request.body for request in server.requests] == [b"once"]


async def test_rec_32_silence_is_given_up(connect: Open) -> None:
    recorder = Recorder()
    timeouts = anysse.Timeouts(idle=0.5)
    scripts = [held(QUICK_LINE + "data: Hello\n\n")]
    async with scripted(*scripts, then=held("data: again\n\n")) as server:
        async with connect(server.url, timeouts=timeouts, observers=[recorder]) as events:
            assert data_of(await take(events, 2)) == ["Hello", "again"]
    failure = recorder.of(anysse.AttemptFailed)[0]
    assert isinstance(failure.error, anysse.StreamTimeout)
    assert failure.error.phase == "idle"


async def test_rec_33_any_byte_is_life(connect: Open) -> None:
    async def comments(connection: Connection) -> None:
        await event_stream(connection, "data: Hello\n\n")
        for _ in range(7):
            await anyio.sleep(0.25)
            await connection.send(":\n")
        await connection.send("data: end\n\n")
        await connection.hang()

    async with scripted(comments) as server:
        async with connect(server.url, timeouts=anysse.Timeouts(idle=1.5)) as events:
            assert data_of(await take(events, 2)) == ["Hello", "end"]
    assert len(server.requests) == 1


async def test_rec_34_restart_on_demand(connect: Open) -> None:
    async with scripted(held("id: 1\ndata: one\n\n"), held("data: two\n\n")) as server:
        async with connect(server.url) as events:
            await events.receive()
            events.reconnect_now()
            assert (await events.receive()).data == "two"
            await server.connections[0].closed_by_peer.wait()
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, "1"]


@pytest.mark.parametrize("then", [answer(404), answer(200, {"Content-Type": "text/html"}, "<p>")])
async def test_rec_35_a_fatal_answer_while_reconnecting_is_final(connect: Open, then: Script) -> None:
    async with scripted(feed(QUICK_LINE, "data: x\n\n"), then) as server, connect(server.url) as events:
        assert (await events.receive()).data == "x"
        with pytest.raises(anysse.ResponseError):
            await events.receive()
        assert events.status is StreamStatus.ERROR
        await nothing_more(server)
    assert len(server.requests) == 2


async def test_rec_35_a_500_while_reconnecting_is_tried_again(connect: Open) -> None:
    """Differs: see RSP-06."""
    async with scripted(feed(QUICK_LINE, "data: x\n\n"), answer(500), held("data: y\n\n")) as server:
        async with connect(server.url) as events:
            assert data_of(await take(events, 2)) == ["x", "y"]
    assert len(server.requests) == 3


async def test_rec_36_a_bounded_number_of_retries(connect: Open) -> None:
    policy = ExponentialBackoff(initial=0.1, jitter=0.0, max_retries=2)
    async with scripted(feed(QUICK_LINE, "data: x\n\n"), then=answer(503, body="no")) as server:
        async with connect(server.url, retry=policy) as events:
            assert (await events.receive()).data == "x"
            with pytest.raises(anysse.StatusError) as caught:
                await events.receive()
    assert (caught.value.status_code, caught.value.retry_count, caught.value.body) == (503, 2, b"no")
    assert len(server.requests) == 4


async def test_rec_36_without_retries_the_first_end_is_the_end(connect: Open) -> None:
    async with scripted(feed("data: x\n\n")) as server, connect(server.url, retry=None) as events:
        assert data_of(await everything(events)) == ["x"]
        assert events.status is StreamStatus.COMPLETED
    assert len(server.requests) == 1


async def test_rec_36_a_policy_may_be_any_function(connect: Open) -> None:
    asked: list[anysse.Failure] = []

    def twice(failure: anysse.Failure) -> float | None:
        asked.append(failure)
        return 0.1 if failure.retry_count < 1 else None

    async with scripted(then=answer(404)) as server:
        await refusal(anysse.StatusError, connect(server.url, retry=twice))
    assert [(failure.retry_count, failure.is_transient) for failure in asked] == [(0, False), (1, False)]


async def test_rec_37_a_cookie_of_the_clients_jar_goes_along(connect: Open) -> None:
    first = feed(QUICK_LINE, "data: x\n\n", headers={"Set-Cookie": "a=b; Path=/"})
    async with scripted(first, held("data: y\n\n")) as server, connect(server.url) as events:
        await take(events, 2)
    assert [request.headers.get("Cookie") for request in server.requests] == [None, "a=b"]


# --- 5. State, closing and cancelling ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, *REDIRECTS])
async def test_cls_01_states_of_a_stream_that_opens(connect: Open, status: int) -> None:
    recorder = Recorder()
    first = feed("data: x\n\n") if status == 200 else redirect("/b", status)
    async with scripted(routes={"/a": first, "/b": feed("data: x\n\n")}) as server:
        async with connect(f"{server.url}/a", observers=[recorder]) as events:
            await events.receive()
            await events.wait_for(StreamStatus.WAITING)
    assert recorder.statuses == ["connecting", "connected", "waiting", "idle"]


@pytest.mark.parametrize(
    ("status", "last"), [(202, "error"), (204, "completed"), (205, "error"), (404, "error")]
)
async def test_cls_01_states_of_a_stream_that_does_not(connect: Open, status: int, last: str) -> None:
    recorder = Recorder()
    async with scripted(answer(status)) as server:
        if last == "completed":
            async with connect(server.url, observers=[recorder]):
                pass
        else:
            await refusal(anysse.StatusError, connect(server.url, observers=[recorder]))
    assert recorder.statuses == ["connecting", last]


async def test_cls_02_close_as_soon_as_it_is_open(connect: Open) -> None:
    recorder = Recorder()
    async with scripted(held("data: x\n\n")) as server:
        async with connect(server.url, observers=[recorder]) as events:
            await events.aclose()
            assert events.status is StreamStatus.IDLE
            with pytest.raises(anyio.ClosedResourceError):
                await events.receive()
            await server.connections[0].closed_by_peer.wait()
    assert recorder.of(anysse.AttemptFailed) == []


async def sent_nothing(connection: Connection) -> None:
    await connection.hang()


@pytest.fixture
def handled(client: Any) -> Callable[[str], AbstractAsyncContextManager[Any]]:
    """A client with handlers, whose requests are feeds, as those of an `EventSource` are."""
    return partial(anysse.StreamClient, client=client, method="GET", kind="feed", retry=QUICK)


Handled: TypeAlias = Callable[[str], AbstractAsyncContextManager["anysse.StreamClient[Any]"]]


async def test_cls_02_disconnect_in_the_open_handler(handled: Handled) -> None:
    diary = Diary()
    async with scripted(held("data: x\n\n")) as server, handled(server.url) as streams:
        diary.when("open", streams.disconnect)
        assert await streams.send_request(**diary.handlers()) == "idle"
        await server.connections[0].closed_by_peer.wait()
    assert diary.without_statuses() == ["open", "close idle"]


async def test_cls_03_disconnect_before_the_response(handled: Handled) -> None:
    diary = Diary()
    async with scripted(sent_nothing) as server, handled(server.url) as streams:
        request = streams.start(**diary.handlers())
        await server.requested(1)
        request.disconnect()
        assert request.status is StreamStatus.IDLE
        await server.connections[0].closed_by_peer.wait()
        assert await request.wait() == "idle"
        await nothing_more(server)
        assert request.status is StreamStatus.IDLE
    assert diary.without_statuses() == ["close idle"]


async def test_cls_03_cancel_before_the_response(connect: Open) -> None:
    recorder = Recorder()
    async with scripted(sent_nothing) as server:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_once_requested, server, scope)
                async with connect(server.url, observers=[recorder]):
                    pass
        await server.connections[0].closed_by_peer.wait()
    assert recorder.statuses[-1] == "idle"
    assert recorder.of(anysse.Connected) == []
    assert recorder.of(anysse.AttemptFailed) == []


async def cancel_once_requested(server: Server, scope: anyio.CancelScope) -> None:
    await server.requested(1)
    scope.cancel()


async def test_cls_04_close_at_an_event_delivers_no_second_one(connect: Open) -> None:
    seen = []
    ten = "".join(f"data: {number}\n\n" for number in range(10))
    async with scripted(held(ten)) as server, connect(server.url) as events:
        async for event in events:
            seen.append(event.data)
            await events.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await events.receive()
    assert seen == ["0"]


async def test_cls_04_disconnect_in_a_message_handler(handled: Handled) -> None:
    diary = Diary()
    ten = "".join(f"data: {number}\n\n" for number in range(10))
    async with scripted(held(ten)) as server, handled(server.url) as streams:
        diary.when("message 0", streams.disconnect)
        assert await streams.send_request(**diary.handlers()) == "idle"
    assert diary.without_statuses() == ["open", "message 0", "close idle"]


async def test_cls_05_close_while_waiting_to_reconnect(connect: Open) -> None:
    async with scripted(feed(QUICK_LINE, "data: x\n\n")) as server, connect(server.url) as events:
        await events.wait_for(StreamStatus.WAITING)
        await events.aclose()
        assert events.status is StreamStatus.IDLE
        await nothing_more(server)
    assert len(server.requests) == 1


async def test_cls_06_close_from_within_the_notice_of_the_end(connect: Open) -> None:
    may_end = anyio.Event()

    class Closer(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.Ended):
                tasks.start_soon(events.aclose)

    async def script(connection: Connection) -> None:
        await event_stream(connection, QUICK_LINE, "data: x\n\n")
        await may_end.wait()

    async with scripted(script) as server, anyio.create_task_group() as tasks:
        async with connect(server.url, observers=[Closer()]) as events:
            assert (await events.receive()).data == "x"
            may_end.set()
            await events.wait_for(StreamStatus.IDLE)
            await nothing_more(server)
    assert len(server.requests) == 1


async def test_cls_06_cancel_from_within_the_notice_of_a_failure(connect: Open) -> None:
    class Canceller(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.AttemptFailed):
                scope.cancel()

    async with scripted(then=answer(503)) as server:
        with anyio.CancelScope() as scope:
            async with connect(server.url, observers=[Canceller()]):
                pass
        await nothing_more(server)
    assert scope.cancelled_caught
    assert len(server.requests) == 1


async def test_cls_06_disconnect_in_the_error_handler(handled: Handled) -> None:
    diary = Diary()
    async with scripted(then=answer(503)) as server, handled(server.url) as streams:
        diary.when("error 0", streams.disconnect)
        assert await streams.send_request(**diary.handlers()) == "idle"
        await nothing_more(server)
    assert diary.without_statuses() == ["error 0", "close idle"]
    assert len(server.requests) == 1


async def test_cls_07_closing_again_does_nothing(connect: Open) -> None:
    async with scripted(held("data: x\n\n"), answer(204)) as server:
        async with connect(server.url) as events:
            await events.aclose()
            await events.aclose()
        await events.aclose()
        async with connect(server.url) as events:
            await events.aclose()
            assert events.status is StreamStatus.COMPLETED


async def test_cls_07_closing_after_a_failure_does_nothing(connect: Open) -> None:
    async with scripted(feed(QUICK_LINE, "data: x\n\n"), answer(404)) as server:
        async with connect(server.url) as events:
            await events.wait_for(StreamStatus.ERROR)
            await events.aclose()
            assert events.status is StreamStatus.ERROR
        await events.aclose()


async def test_cls_08_closing_is_no_failure(connect: Open, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    async with scripted(held("data: x\n\n")) as server, connect(server.url, observers=[recorder]) as events:
        await events.receive()
        await events.aclose()
    assert recorder.statuses == ["connecting", "connected", "idle"]
    assert recorder.of(anysse.AttemptFailed) == []
    assert events.last_error is None
    ours = [record.levelname for record in caplog.records if record.name == "anysse"]
    assert "WARNING" not in ours
    assert "ERROR" not in ours


SCRIPT_FOR = {
    "connecting": sent_nothing,
    "connected": held("data: x\n\n"),
    "waiting": feed("retry: 100000\ndata: x\n\n"),
}


@pytest.mark.parametrize("state", ["connecting", "connected", "waiting"])
async def test_cls_09_cancelling_leaves_nothing(connect: Open, client: Any, state: str) -> None:
    is_reached = anyio.Event()

    class Signal(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.StatusChanged) and fact.status == state:
                is_reached.set()

    async def read() -> None:
        async with connect(server.url, observers=[Signal()]) as events:
            await everything(events)

    async with scripted(SCRIPT_FOR[state]) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await is_reached.wait()
            await server.requested(1)
            tasks.cancel_scope.cancel()
        assert tasks.cancel_scope.cancelled_caught
        await server.all_idle()
        await nothing_more(server, 0.05)
    assert state == "waiting" or kept_connections(client) == []


@pytest.mark.parametrize("state", ["connecting", "connected", "waiting"])
async def test_cls_09_native_cancelling_leaves_nothing(
    connect: Open, client: Any, state: str, anyio_backend_name: str
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("a native task.cancel() is asyncio's")
    reached = asyncio.Event()

    class Signal(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.StatusChanged) and fact.status == state:
                reached.set()

    async def read() -> None:
        async with connect(server.url, observers=[Signal()]) as events:
            await everything(events)

    async with scripted(SCRIPT_FOR[state]) as server:
        before = asyncio.all_tasks()
        task = asyncio.create_task(read())
        await reached.wait()
        await server.requested(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {task for task in asyncio.all_tasks() - before if "anysse" in repr(task.get_coro())} == set()
        await server.all_idle()
    assert state == "waiting" or kept_connections(client) == []


async def test_cls_10_leaving_the_loop_closes_the_response(connect: Open, client: Any) -> None:
    async with scripted(held("data: x\n\n", "data: y\n\n")) as server:
        async with connect(server.url) as events:
            async for _ in events:
                break
        assert kept_connections(client) == []
        await server.connections[0].closed_by_peer.wait()
        await nothing_more(server)


async def test_cls_10_an_exception_in_the_loop_leaves_as_itself(connect: Open, client: Any) -> None:
    async with scripted(held("data: x\n\n", "data: y\n\n")) as server:
        with pytest.raises(LookupError, match="mine") as caught:  # noqa: PT012 - leaving is the point
            async with connect(server.url) as events:
                async for _ in events:
                    raise LookupError("mine")
        assert caught.value.__cause__ is None
        assert kept_connections(client) == []
        await server.connections[0].closed_by_peer.wait()
        await nothing_more(server)


async def test_cls_11_a_broken_stream_raises_and_releases_the_response(connect: Open, client: Any) -> None:
    is_read = anyio.Event()
    async with scripted(ending("reset", is_read)) as server, connect(server.url, retry=None) as events:
        assert (await events.receive()).data == "whole"
        is_read.set()
        with pytest.raises(anysse.StreamDropped):
            await events.receive()
        await server.all_closed()
        assert kept_connections(client) == []


async def test_cls_12_an_event_named_error_is_an_event(connect: Open) -> None:
    async with scripted(held("event: error\ndata: x\n\n")) as server, connect(server.url) as events:
        assert await events.receive() == ServerSentEvent(event="error", data="x")
        assert events.status is StreamStatus.CONNECTED
        assert events.last_error is None


async def test_cls_12_and_its_handler_is_not_that_of_errors(handled: Handled) -> None:
    diary = Diary()
    async with scripted(feed(QUICK_LINE, "event: error\ndata: x\n\n"), answer(204)) as server:
        async with handled(server.url) as streams:
            await streams.send_request(**diary.handlers())
    assert diary.errors == []
    assert "message x" in diary.lines


async def test_cls_13_an_event_named_open_is_an_event(connect: Open) -> None:
    recorder = Recorder()
    async with scripted(held("event: open\ndata: x\n\n")) as server:
        async with connect(server.url, observers=[recorder]) as events:
            assert await events.receive() == ServerSentEvent(event="open", data="x")
    assert len(recorder.of(anysse.Connected)) == 1


async def test_cls_14_events_go_to_the_handler_of_their_type(client: Any) -> None:
    by_type: list[str] = []
    others: list[str] = []
    body = "event:test\ndata:x\n\ndata:y\n\nevent: message\ndata: z\n\n"
    async with scripted(feed(body)) as server, anysse.StreamClient(server.url, client=client) as streams:
        await streams.send_request(
            on={"test": lambda data, event: by_type.append(data)},
            on_message=lambda data, event: others.append(data),
        )
    assert (by_type, others) == (["x"], ["y", "z"])


# --- 6. Delivery in time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
async def test_dlv_01_an_event_is_delivered_at_once(connect: Open, end: str) -> None:
    async with scripted(held(f"data: a{end}")) as server, connect(server.url) as events:
        assert await events.receive() == ServerSentEvent(data="a")


@pytest.mark.parametrize("end", ["\r\r", "\n\r", "\r\n\r"])
async def test_dlv_02_a_carriage_return_at_the_end_holds_nothing_back(connect: Open, end: str) -> None:
    async with scripted(held(f"data: a{end}")) as server, connect(server.url) as events:
        assert await events.receive() == ServerSentEvent(data="a")


async def test_dlv_03_a_line_feed_that_comes_late_adds_nothing(connect: Open) -> None:
    is_delivered = anyio.Event()

    async def late(connection: Connection) -> None:
        await event_stream(connection, "data: a\r\n\r")
        await is_delivered.wait()
        await connection.send("\n")
        await connection.send("data: b\n\n")
        await connection.hang()

    async with scripted(late) as server, connect(server.url) as events:
        assert (await events.receive()).data == "a"
        is_delivered.set()
        assert (await events.receive()).data == "b"


async def test_dlv_04_byte_by_byte(connect: Open) -> None:
    async def slowly(connection: Connection) -> None:
        await event_stream(connection)
        for byte in "data: €豆腐\n\n".encode():
            await connection.send(bytes([byte]))
            await anyio.sleep(0.002)
        await connection.hang()

    async with scripted(slowly) as server, connect(server.url) as events:
        assert await events.receive() == ServerSentEvent(data="€豆腐")


async def test_dlv_05_order_and_number(connect: Open) -> None:
    hundred = "".join(f"data: {number}\n\n" for number in range(100))
    async with scripted(feed(hundred)) as server, connect(server.url, retry=None) as events:
        assert data_of(await everything(events)) == [str(number) for number in range(100)]


@pytest.mark.parametrize("pieces", [1, 2, 5000])
async def test_dlv_06_a_large_message(connect: Open, pieces: int) -> None:
    """The time is linear, too: `test_a_growing_line_is_not_copied_at_each_read` counts."""
    text = base64.b64encode(bytes(range(256)) * 15 * 1024).decode()
    body = f"data: {text}\n\n".encode()
    size = -(-len(body) // pieces)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    async with scripted(feed(*parts)) as server, connect(server.url, retry=None) as events:
        [event] = await everything(events)
    assert event.data == text


@pytest.mark.slow
async def test_dlv_06_a_message_of_64_mib_and_one_byte(connect: Open) -> None:
    half = "x" * 2**25
    parts = ["data: ", half, half, "x\n\n"]
    async with scripted(feed(*parts)) as server:
        async with connect(server.url, max_event_size=2**27, retry=None) as events:
            [event] = await everything(events)
    assert len(event.data) == 2**26 + 1


async def test_dlv_07_a_character_that_is_split(connect: Open) -> None:
    has_begun = anyio.Event()

    async def split(connection: Connection) -> None:
        await event_stream(connection, b"data: first\n\ndata: \xe2")
        await has_begun.wait()
        await connection.send(b"\x82")
        await connection.send(b"\xac\n\n")
        await connection.hang()

    async with scripted(split) as server, connect(server.url) as events:
        assert (await events.receive()).data == "first"
        has_begun.set()
        assert (await events.receive()).data == "€"


async def test_dlv_08_a_comment_is_told_as_soon_as_its_line_is_there(connect: Open) -> None:
    told: list[str] = []
    is_told = anyio.Event()

    def on_comment(comment: str) -> None:
        told.append(comment)
        is_told.set()

    async with scripted(held(":Hello\n")) as server:
        async with connect(server.url, on_comment=on_comment):
            await is_told.wait()
    assert told == ["Hello"]


async def test_dlv_08_comments_are_told_as_they_are_read(connect: Open) -> None:
    """Differs: in order with what is read, which may be ahead of what is handed out."""
    told: list[str] = []
    go_on = anyio.Event()

    async def script(connection: Connection) -> None:
        await event_stream(connection, "data: a\n\n:one\ndata: b\n: two\n\n")
        await go_on.wait()
        await connection.send(":  three\n\ndata: c\n\n")
        await connection.hang()

    async with scripted(script) as server, connect(server.url, on_comment=told.append) as events:
        assert (await events.receive()).data == "a"
        assert told == ["one", "two"]  # the same read brought them
        assert (await events.receive()).data == "b"
        go_on.set()
        assert (await events.receive()).data == "c"
    assert told == ["one", "two", " three"]  # without one leading space


async def test_dlv_09_keep_alives_do_nothing(connect: Open) -> None:
    parts = [":\n\n"] * 20 + ["id: 1\ndata: x\n\n"] + [":\n\n"] * 20
    async with scripted(feed(*parts)) as server, connect(server.url, retry=None) as events:
        assert await everything(events) == [ServerSentEvent(data="x", id="1")]


async def test_dlv_10_a_slow_reader_holds_the_server_back_and_loses_nothing(connect: Open) -> None:
    total, sent = 1_200, 0  # twice what all the buffers of two sockets hold
    padding = "x" * 16_384

    async def fast(connection: Connection) -> None:
        nonlocal sent
        await event_stream(connection)
        for number in range(total):
            await connection.send(f"id: {number}\ndata: {padding}\n\n")
            sent = number + 1
        await connection.hang()

    async with scripted(fast) as server, connect(server.url, buffer=4) as events:
        first = await events.receive()
        while True:  # until the server stands still, since nobody reads
            before = sent
            await anyio.sleep(0.1)
            if sent == before:
                break
        assert sent < total * 0.8
        rest = await take(events, total - 1)
    assert [event.id for event in [first, *rest]] == [str(number) for number in range(total)]


# --- 7. Limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("data: xxxxxxxxx\n" * 20 + "\n", id="many lines"),
        pytest.param("data: " + "x" * 200, id="one line without an end"),
    ],
)
async def test_lim_01_an_event_over_the_limit_is_one_clear_error(
    connect: Open, client: Any, block: str
) -> None:
    async with scripted(held("data: before\n\n", block)) as server:
        async with connect(server.url, max_event_size=100) as events:
            assert (await events.receive()).data == "before"
            with pytest.raises(anysse.EventTooLarge) as caught:
                await events.receive()
            assert caught.value.max_event_size == 100
            assert events.status is StreamStatus.ERROR
            await server.connections[0].closed_by_peer.wait()
            assert kept_connections(client) == []
    assert len(server.requests) == 1


async def test_lim_01_events_of_the_same_read_come_before_the_error(connect: Open) -> None:
    body = "data: before\n\n" + "data: " + "x" * 200
    async with scripted(held(body)) as server, connect(server.url, max_event_size=100) as events:
        assert (await events.receive()).data == "before"
        with pytest.raises(anysse.EventTooLarge):
            await events.receive()


async def test_lim_01_an_event_over_the_limit_may_be_left_out(connect: Open) -> None:
    parts = ["data: before\n\n", "data: " + "x" * 200 + "\n\n", "data: after\n\n"]
    async with scripted(feed(*parts)) as server:
        async with connect(server.url, max_event_size=100, oversize="skip", retry=None) as events:
            assert data_of(await everything(events)) == ["before", "after"]


@pytest.mark.parametrize("beginning", [":", "unknown: "])
async def test_lim_02_ignored_text_does_not_count(connect: Open, beginning: str) -> None:
    """Nor does it take memory: `test_an_endless_ignored_line_takes_no_memory` measures."""
    parts = [beginning, *["x" * 65536] * 32, "\ndata: ok\n\n"]
    async with scripted(feed(*parts)) as server:
        async with connect(server.url, max_event_size=1000, retry=None) as events:
            assert data_of(await everything(events)) == ["ok"]


async def test_lim_03_the_default_limit_is_large_and_holds(connect: Open) -> None:
    megabyte = "x" * 2**20
    async with scripted(feed("data: ", *[megabyte] * 15, "\n\n"), feed("data: ", *[megabyte] * 17)) as server:
        async with connect(server.url, retry=None) as events:
            [event] = await everything(events)
        assert len(event.data) == 15 * 2**20
        async with connect(server.url, retry=None) as events:
            with pytest.raises(anysse.EventTooLarge) as caught:
                await everything(events)
    assert caught.value.max_event_size == 16 * 2**20
