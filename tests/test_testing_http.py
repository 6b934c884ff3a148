"""What is HTTP in ``anysse.testing``: each request of a client is understood, each answer is one."""

from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.abc import SocketStream

from anysse.testing import Request, ScriptFailed, SocketServer, end, respond, send, serve, wait

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
