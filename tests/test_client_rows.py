"""What a ``StreamClient`` has, one promise after the other, over real sockets; the other files go deeper."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import anyio
import pytest

import anysse
from anysse import ExponentialBackoff, StreamClient, StreamLimits, StreamStatus, Timeouts
from anysse.testing import Connection, Script
from anysse.testing import SocketServer as Server
from tests.diary import Diary
from tests.server import answer, event_stream, feed, held, redirect, serve

QUICK = ExponentialBackoff(initial=0.1, jitter=0, max_retries=3)
BUSY = answer(503, {"Retry-After": "0"})
GET_FEED: dict[str, Any] = {"method": "GET", "kind": "feed", "done": None}
CLOSED_WELL = ["status completed", "complete", "close completed"]


@asynccontextmanager
async def serving(
    *scripts: Script, then: Script | None = None, **options: Any
) -> AsyncIterator[tuple["StreamClient[Any]", Server]]:
    """Give a client of a server; when both are done no connection is left."""
    with anyio.fail_after(10):
        async with serve(*scripts, then=then) as server:
            async with StreamClient(server.url + "/api/?v=1", **{"retry": QUICK} | options) as client:
                yield client, server
            await server.all_closed()


async def cut(connection: Connection) -> None:
    await event_stream(connection, "id: 1\ndata: 1\n\n", chunked=True)
    await connection.reset()


# --- what is sent ---


async def test_base_url_and_path_are_joined_and_the_query_is_kept() -> None:
    async with serving(then=feed(), method="GET", params={"w": 2}) as (client, server):
        await client.send_request({"a": [1, 2], "b": {"c": None}, "d": True, "e": None})
        await client.send_request("x", path="more?x=y")
        await client.send_request(path="/root")
    assert [request.target for request in server.requests] == [
        "/api/?v=1&w=2&a=1%2C2&b=%7B%22c%22%3Anull%7D&d=true",
        "/api/more?x=y&w=2&payload=x",
        "/root?w=2",
    ]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_payload_is_a_json_body(method: str) -> None:
    async with serving(then=feed(), headers={"X-Who": "client"}) as (client, server):
        await client.send_request({"prompt": "你好"}, method=method)
        await client.send_request(method=method, headers={"content-type": "application/x", "x-who": "me"})
    first, second = server.requests
    assert (first.method, json.loads(first.body), second.body) == (method, {"prompt": "你好"}, b"{}")
    assert (first.headers.get("Content-Type"), second.headers.get("Content-Type")) == (
        "application/json",
        "application/x",
    )
    assert (first.headers.get("X-Who"), second.headers.get("X-Who")) == ("client", "me")
    assert first.headers.get("Accept") == second.headers.get("Accept") == "text/event-stream"


async def test_what_a_request_says_goes_over_what_its_client_says() -> None:
    async with serving(
        then=feed(), auth=("me", "pw"), cookies={"a": "1"}, params={"p": "1"}, last_event_id="7"
    ) as (client, server):
        await client.send_request()
        await client.send_request(auth=None, cookies={"a": "2"}, params={"p": "2"}, last_event_id="8")
    first, second = server.requests
    assert (first.headers.get("Authorization"), second.headers.get("Authorization")) == (
        "Basic bWU6cHc=",
        None,
    )
    assert (first.headers.get("Cookie"), second.headers.get("Cookie")) == ("a=1", "a=2")
    assert (first.target, second.target) == ("/api/?v=1&p=1", "/api/?v=1&p=2")
    assert (first.headers.get("Last-Event-ID"), second.headers.get("Last-Event-ID")) == ("7", "8")


async def test_both_libraries_serve_and_a_passed_client_stays_open(library: ModuleType) -> None:
    diary = Diary()
    async with serve(feed("data: 1\n\n")) as server, library.AsyncClient() as http:
        async with StreamClient(server.url, client=http) as client:
            assert await client.send_request({}, **diary.handlers()) == "completed"
        assert "message 1" in diary.lines
        assert not http.is_closed


# --- timeouts and retries ---


@pytest.mark.parametrize("phase", ["response", "first_event", "idle", "total"])
async def test_a_timeout_says_which(phase: str) -> None:
    async def silent(connection: Connection) -> None:
        await connection.hang()

    script = silent if phase == "response" else held(": hi\n\n")
    timeouts = 0.05 if phase == "response" else Timeouts(**{phase: 0.05})
    async with serving(script, timeouts=timeouts, retry=None) as (client, _):
        with pytest.raises(anysse.StreamTimeout) as caught:
            await client.send_request()
    assert caught.value.phase == phase


async def test_it_is_tried_again_and_then_an_error() -> None:
    diary = Diary()
    async with serving(then=BUSY) as (client, server):
        with pytest.raises(anysse.StatusError):
            await client.send_request({}, **diary.handlers())
        assert (client.status, len(server.requests)) == ("error", 4)
    delays = ("0.1", "0.2", "0.4")
    again = [
        line
        for count, delay in enumerate(delays)
        for line in ("status waiting", f"error {count}", f"retry {delay}", "status connecting")
    ]
    assert diary.lines == ["status connecting", *again, "status error", "error 3", "close error"]


async def test_a_good_connection_resets_the_count_and_a_feed_resumes() -> None:
    counts: list[int] = []
    async with serving(BUSY, cut, BUSY, answer(204), **GET_FEED) as (client, server):
        assert await client.send_request(on_error=lambda error, count: counts.append(count)) == "completed"
        assert client.last_event_id == "1"
    assert counts == [0, 0, 1]
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, None, "1", "1"]


async def test_a_function_is_the_strategy() -> None:
    async with serving(answer(404), feed(), retry=lambda failure: 0.1) as (client, server):
        with pytest.raises(anysse.StatusError):  # a POST that may have been acted upon is not sent again
            await client.send_request()
    async with serving(answer(404), feed(), retry=lambda failure: 0.1, resend="always") as (client, server):
        assert await client.send_request() == "completed"
        assert len(server.requests) == 2


# --- the end ---


@pytest.mark.parametrize("tail", ["data: [DONE]\n\n", ""])
async def test_the_done_event_is_recognised_and_not_required(tail: str) -> None:
    diary = Diary()
    async with serving(feed("data: 1\n\n", tail)) as (client, _):
        assert await client.send_request({}, **diary.handlers()) is StreamStatus.COMPLETED
    assert diary.lines == ["status connecting", "status connected", "open", "message 1", *CLOSED_WELL]


async def test_what_follows_the_done_event_is_handed_out_where_that_is_wanted() -> None:
    diary = Diary()
    async with serving(feed("data: 1\n\ndata: [DONE]\n\ndata: 2\n\n"), close_on_done=False) as (client, _):
        assert await client.send_request({}, **diary.handlers()) is StreamStatus.COMPLETED
    assert diary.lines[2:] == [
        "open",
        "message 1",
        "complete",
        "message 2",
        "status completed",
        "close completed",
    ]


# --- messages ---


async def test_messages_are_json_or_text_or_what_the_decoder_says() -> None:
    async with serving(then=feed('data: {"a": 1}\n\ndata: {oops\n\n')) as (client, _):
        seen: list[object] = []
        await client.send_request(on_message=lambda data, event: seen.append((data, event.data)))
        await client.send_request(
            decode=anysse.decoders.text, on_message=lambda data, event: seen.append(data)
        )
    assert seen == [({"a": 1}, '{"a": 1}'), ("{oops", "{oops"), '{"a": 1}', "{oops"]


async def test_a_bad_message_is_an_error_and_the_stream_goes_on_but_a_bug_is_a_bug() -> None:
    def decode(event: anysse.ServerSentEvent) -> Any:
        return anysse.SKIP if event.data == "skip" else 1 // int(event.data)

    diary = Diary()
    body = "data: 1\n\ndata: bad\n\ndata: skip\n\ndata: 1\n\ndata: 0\n\n"
    async with serving(feed(body), decode=decode) as (client, _):
        with pytest.raises(ZeroDivisionError):
            await client.send_request({}, **diary.handlers())
    assert diary.lines[3:] == [
        "message 1",
        "error 0",
        "message 1",
        "status error",
        "close error",
    ]


async def test_events_go_to_the_handler_of_their_type() -> None:
    seen: list[str] = []
    async with serving(feed("event: ping\ndata: 1\n\ndata: 2\n\n")) as (client, _):
        await client.send_request(
            on={"ping": lambda data, event: seen.append(f"ping {data}")},
            on_message=lambda data, event: seen.append(f"message {data}"),
        )
    assert seen == ["ping 1", "message 2"]


async def test_a_handler_that_raises_ends_its_request_alone() -> None:
    def fail(data: object, event: anysse.ServerSentEvent) -> None:
        raise LookupError("mine")

    async with serving(held("data: 1\n\n"), feed("data: 2\n\n")) as (client, _):
        bad = client.start(on_message=fail)
        with pytest.raises(LookupError, match="mine"):
            await bad.wait()
        assert bad.status is StreamStatus.ERROR
        diary = Diary()
        assert await client.send_request({}, **diary.handlers()) == "completed"
        assert "message 2" in diary.lines


# --- status, disconnecting, one at a time ---


async def test_the_latest_request_is_what_a_client_shows() -> None:
    async with serving(held("id: 5\ndata: 1\n\n"), held()) as (client, _):
        assert (client.status, client.is_connected, client.retry_count, client.requests) == (
            "idle",
            False,
            0,
            (),
        )
        came = anyio.Event()
        first = client.start(on_message=lambda data, event: came.set())
        await came.wait()
        assert (client.status, client.is_connected, client.last_event_id) == ("connected", True, "5")
        second = client.start()
        assert client.requests == (first, second)
        await second.wait_for(StreamStatus.CONNECTED)
        first.disconnect()
        assert await first.wait() is StreamStatus.IDLE
        assert (client.requests, client.status) == ((second,), "connected")
        client.disconnect()
        assert client.status == "idle"
        assert await second.wait() is StreamStatus.IDLE


async def test_disconnecting_inside_a_handler_and_going_on() -> None:
    diary = Diary()
    async with serving(held("data: 1\n\ndata: 2\n\n"), feed("data: 3\n\n")) as (client, _):
        handlers = anysse.Handlers(**diary.handlers())
        end = await client.send_request({}, handlers, on_message=lambda data, event: client.disconnect())
        assert end is StreamStatus.IDLE
        assert diary.lines[-2:] == ["status idle", "close idle"]
        assert await client.send_request({}, handlers) is StreamStatus.COMPLETED


async def test_an_exclusive_request_disconnects_the_one_before() -> None:
    async with serving(held("data: 1\n\n"), feed("data: 2\n\n"), exclusive=True) as (client, server):
        first = client.start()
        await first.wait_for(StreamStatus.CONNECTED)
        assert await client.send_request() is StreamStatus.COMPLETED
        assert first.status is StreamStatus.IDLE
        assert server.connections[0].closed_by_peer.is_set()


async def test_a_loop_in_an_async_generator_that_is_left() -> None:
    async def proxy(client: "StreamClient[Any]") -> AsyncIterator[Any]:
        async with client.stream() as messages:
            async for message in messages:
                yield message

    async with serving(then=held("data: 1\n\ndata: 2\n\n")) as (client, _):
        one, other = proxy(client), proxy(client)
        assert [await anext(one), await anext(other), await anext(one)] == [1, 1, 2]
        await one.aclose()
        await other.aclose()
        assert client.requests == ()


# --- bounds, safety, looking on ---


async def test_limits_let_requests_in_one_after_the_other() -> None:
    limits = StreamLimits(max_connections=1, max_requests_per_second=100, burst=2)
    async with serving(then=feed("data: 1\n\n"), limits=limits) as (client, server):
        requests = [client.start(path=str(number)) for number in range(5)]
        assert [await request.wait() for request in requests] == ["completed"] * 5
    assert [request.path for request in server.requests] == [f"/api/{number}" for number in range(5)]


def test_plain_http_is_refused_but_for_this_machine() -> None:
    with pytest.raises(anysse.InvalidRequest, match=r"^base_url: .*https_only") as caught:
        StreamClient("http://example.com/")
    assert caught.value.argument == "base_url"
    for url in ("http://127.0.0.1/", "http://[::1]/", "https://example.com/"):
        StreamClient(url)
    StreamClient("http://example.com/", https_only=False)


async def test_what_is_wrong_is_said_before_any_io() -> None:
    diary = Diary()
    async with serving() as (client, server):
        for arguments in (
            {"method": "HEAD"},
            {"timeouts": -1},
            {"path": "http://other/"},
            {"headers": {"a": "b\n"}},
        ):
            with pytest.raises(anysse.InvalidRequest) as caught:
                await client.send_request({}, **diary.handlers(), **arguments)
            assert caught.value.argument in arguments
        with pytest.raises(anysse.InvalidRequest, match="payload"):
            client.start({"a": object()})
        assert (server.connections, diary.lines, client.requests) == ([], [], ())


async def test_leaving_ends_every_request() -> None:
    async with serve(then=held("data: 1\n\n")) as server:
        diary = Diary()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks, StreamClient(server.url) as client:
                started = client.start({}, **diary.handlers())
                tasks.start_soon(client.send_request)
                await server.requested(2)
        assert (started.status, diary.lines[-1]) == ("idle", "close idle")
        await server.all_closed()


async def test_statistics_of_a_request_and_of_all() -> None:
    async with serving(BUSY, feed("data: 1\n\n"), feed("data: 1\n\ndata: 2\n\n")) as (client, _):
        first = client.start()
        await first.wait()
        await client.send_request()
        one, all_of_them = first.statistics(), client.statistics()
    assert (one.requests, one.connections, one.retries, one.events_received) == (1, 1, 1, 1)
    assert (all_of_them.requests, all_of_them.connections, all_of_them.events_received) == (2, 2, 3)
    assert one.connect_times.total > 0
    assert one.bytes_received == len("data: 1\n\n")


async def test_the_log_tells_requests_apart_and_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="anysse")
    secret = {"Authorization": "Bearer s3cret", "Cookie": "a=s3cret"}
    async with serving(then=feed(), headers=secret, params={"api_key": "s3cret"}) as (client, _):
        requests = [client.start() for _ in range(2)]
        for request in requests:
            await request.wait()
    lines = [record.getMessage() for record in caplog.records if record.name == "anysse"]
    for request in requests:
        assert f"request {request.number}: ended: completed" in lines
    assert "s3cret" not in "".join(lines)


async def test_a_redirect_is_followed_without_what_is_secret() -> None:
    async with (
        serve(feed("data: 1\n\n")) as other,
        serving(redirect(other.url, 303), headers={"X-Api-Key": "k"}) as (client, _),
    ):
        assert await client.send_request() is StreamStatus.COMPLETED
    assert (other.requests[0].method, other.requests[0].headers.get("X-Api-Key")) == ("GET", None)
