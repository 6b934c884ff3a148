"""What is HTTP in ``anysse.testing``: each request of a client is understood, each answer is one."""

# ruff: noqa: SIM117 - a server, and a stream to it: two lines read better than one.

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketStream
from anyio.lowlevel import checkpoint

from anysse.testing import (
    Connection,
    Request,
    ScriptFailed,
    SocketServer,
    drop,
    end,
    expect,
    hang,
    respond,
    send,
    serve,
    truncate,
    wait,
    write,
)

GET = b"GET / HTTP/1.1\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
DEADLINE = 20.0


async def read_until(stream: SocketStream, mark: bytes) -> bytes:
    came = b""
    while not came.endswith(mark):
        came += await stream.receive()
    return came


async def read_all(stream: SocketStream) -> bytes:
    return b"".join([piece async for piece in stream])


async def asked(server: SocketServer, data: bytes) -> bytes:
    """Send it, and give all that comes until the server closes the connection."""
    with anyio.fail_after(DEADLINE):
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(data)
            return await read_all(stream)


async def requests_of(data: bytes, count: int = 1) -> list[Request]:
    with anyio.fail_after(DEADLINE):
        async with (
            serve(then=respond(204)) as server,
            await anyio.connect_tcp("127.0.0.1", server.port) as stream,
        ):
            await stream.send(data)
            await server.requested(count)
            return server.requests


@pytest.fixture
async def server() -> AsyncIterator[SocketServer]:
    """One that sends ``x`` to whoever asks, as an event stream."""
    async with serve(then=send("x")) as server:
        yield server


# --- Requests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chunks",
    [
        b"3\r\nabc\r\n0\r\n\r\n",
        b"1;name=value\r\na\r\n02 \r\nbc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n",
    ],
)
async def test_a_chunked_body_is_read_to_its_end_and_no_further(chunks: bytes) -> None:
    requests = await requests_of(POST.replace(b"chunked", b"Chunked") + chunks + GET, 2)
    assert [(request.method, request.body) for request in requests] == [("POST", b"abc"), ("GET", b"")]


async def test_a_client_that_waits_for_a_100_gets_one() -> None:
    head = b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n"
    with anyio.fail_after(DEADLINE):
        async with serve(respond(204)) as server, await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(head)
            assert await read_until(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await stream.send(b"abc")
            assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    assert server.requests[0].body == b"abc"


async def test_a_large_body_takes_no_longer_than_its_size_says() -> None:
    much = bytes(40_000_000)  # read in pieces of 64 KiB, each copied but once
    (request,) = await requests_of(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(much) + much)
    assert request.body == much


async def test_a_request_knows_its_version() -> None:
    requests = await requests_of(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" + GET, 2)
    assert [request.http_version for request in requests] == ["HTTP/1.0", "HTTP/1.1"]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"rubbish\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
        POST + b"zz\r\n",
        POST + b"-1\r\n",
    ],
)
async def test_what_is_no_request_is_a_failure(rubbish: bytes) -> None:
    with pytest.raises(ScriptFailed, match=r"expected a request of HTTP/1\.1, and not b'"):
        await requests_of(rubbish)


# --- Answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [[send("x"), send("y")], respond(200, body="xy"), [respond(), end()]])
async def test_the_answer_to_a_head_has_no_body(script: list[object]) -> None:
    async with serve(then=script) as server:  # type: ignore[arg-type]
        came = await asked(server, b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    head, _, body = came.partition(b"\r\n\r\n")
    assert body == b""
    assert b"Content-Length: 2" in head or b"Transfer-Encoding: chunked" in head


@pytest.mark.parametrize(
    "request_head",
    [b"GET / HTTP/1.1\r\nConnection: Close, TE\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"],
)
async def test_the_connection_is_closed_for_who_wants_no_other_request(
    server: SocketServer, request_head: bytes
) -> None:
    assert (await asked(server, request_head)).startswith(b"HTTP/1.1 200 ")


async def test_the_connection_is_closed_after_an_answer_that_says_so() -> None:
    async with serve([respond(200, {"Connection": "close"}), send("x")]) as server:
        assert (await asked(server, GET)).endswith(b"1\r\nx\r\n0\r\n\r\n")


async def test_a_client_of_http_1_0_gets_no_chunks(server: SocketServer) -> None:
    came = await asked(server, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    head, _, body = came.partition(b"\r\n\r\n")
    assert body == b"x"
    assert b"chunked" not in head


async def test_a_whole_body_is_framed_as_its_headers_say() -> None:
    script = respond(200, {"Transfer-Encoding": "chunked", "Connection": "close"}, "hello")
    async with serve(script) as server:
        assert (await asked(server, GET)).endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


async def test_requests_that_come_at_once_are_answered_in_their_order() -> None:
    async with serve([send("one"), wait(0)], respond(200, {"Connection": "close"}, "two")) as server:
        came = await asked(server, GET + GET)
    assert came.index(b"one") < came.index(b"two")


async def test_a_request_that_came_too_late_is_answered_by_nobody_and_uses_up_no_script() -> None:
    late = anyio.Event()
    scripts = [respond(200, body="one"), wait(late), drop()], respond(200, body="two")
    with anyio.fail_after(DEADLINE):
        async with serve(*scripts) as server:
            async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                await stream.send(GET)
                await stream.receive()
                await stream.send(GET)
                await server.until(lambda: not server.connections[0].is_idle)
                late.set()
                assert await read_all(stream) == b""
            assert (await asked(server, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"two")


async def test_who_uploads_has_a_request_under_way() -> None:
    with anyio.fail_after(DEADLINE):
        async with serve([expect(body="ab"), respond(204, {"Connection": "close"})]) as server:
            async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                await stream.send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na")
                await server.until(lambda: bool(server.connections))
                while server.connections[0].is_idle:  # noqa: ASYNC110 - bytes that come change nothing else
                    await checkpoint()
                await server.refuse()
                await stream.send(b"b")
                assert (await read_all(stream)).startswith(b"HTTP/1.1 204 ")


async def test_nobody_is_busy_once_the_answer_is_whole() -> None:
    with anyio.fail_after(DEADLINE):
        async with serve([wait(0), respond(200, body="x"), hang()]) as server:
            async with (
                await anyio.connect_tcp("127.0.0.1", server.port) as stream,
                anyio.create_task_group() as tasks,
            ):
                await stream.send(GET)
                await server.requested(1)
                tasks.start_soon(server.all_idle)
            await server.all_closed()


async def test_a_step_that_hangs_ends_as_the_server_hangs_up() -> None:
    ended = anyio.Event()

    async def own(connection: Connection) -> None:
        await connection.respond(200, body="x")
        await connection.hang()
        ended.set()

    with anyio.fail_after(DEADLINE):
        async with serve(own) as server, await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(GET)
            await stream.receive()
            await server.refuse()
            await ended.wait()


async def test_empty_lines_before_a_request_are_none_of_it() -> None:
    (request,) = await requests_of(b"\r\n\r\n" + GET)
    assert request.method == "GET"


async def test_a_client_of_http_1_0_is_not_told_to_continue() -> None:
    async with serve(respond(200, body="x")) as server:
        came = await asked(server, b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na")
    assert came.startswith(b"HTTP/1.1 200 ")


async def test_a_written_answer_ends_with_the_connection_for_who_wants_no_other_request() -> None:
    async with serve(write("HTTP/1.0 200 OK\r\n\r\nhello")) as server:
        assert (await asked(server, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"hello")


async def test_close_may_be_one_of_several_options() -> None:
    async with serve([respond(200, {"Connection": "x, Close"}), send("x")]) as server:
        assert (await asked(server, GET)).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "script"),
    [
        (b"GET", respond(204, {"Connection": "close"}, "abc")),
        (b"GET", [respond(304, {"Connection": "close"}), send("abc")]),
        (b"HEAD", truncate("abc")),
    ],
)
async def test_what_ends_with_its_head_has_no_body_whatever_is_sent(method: bytes, script: Any) -> None:
    async with serve(script) as server:
        assert (await asked(server, method + b" / HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")


async def test_a_step_that_answers_a_head_for_ever_is_told_that_the_client_left() -> None:
    async def own(connection: Connection) -> None:
        while True:
            await connection.send("x")

    with anyio.fail_after(DEADLINE):
        async with serve(own) as server:
            async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                await stream.send(b"HEAD / HTTP/1.1\r\n\r\n")
                await stream.receive()
            await server.all_closed()
            await server.until(lambda: not server.connections[0].is_open)


async def test_tasks_of_one_step_send_one_after_the_other() -> None:
    large, small = "a" * 300_000, "b" * 100

    async def own(connection: Connection) -> None:
        await connection.split(every=100_000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.send, large)
            for _ in range(3):
                tasks.start_soon(connection.trickle, small)

    async with serve([own, end()]) as server, httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(server.url)).text
    assert sorted(text) == sorted(large + 3 * small)
    assert large in text
    assert len(server.connections) == 1
