"""The test server does what its scripts say."""

from types import ModuleType

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint

from tests.server import Connection, answer, feed, held, redirect, serve


async def drain(stream: ByteReceiveStream) -> None:
    while True:
        await stream.receive()


async def test_scripts_are_used_up_in_order(library: ModuleType) -> None:
    async with serve(answer(200, body="one"), feed("two"), then=answer(500)) as server:
        with anyio.fail_after(5):
            async with library.AsyncClient() as client:
                first = await client.post(
                    f"{server.url}/a?b=c", content=b"body", headers={"X-Name": "ü".encode()}
                )
                second = await client.get(server.url)
                third = await client.get(server.url)
            await server.all_closed()
    assert (first.text, second.text, third.status_code) == ("one", "two", 500)
    assert [request.method for request in server.requests] == ["POST", "GET", "GET"]
    assert server.requests[0].target == "/a?b=c"
    assert server.requests[0].body == b"body"
    assert server.requests[0].get("x-NAME") == "ü".encode().decode("latin-1")
    assert len(server.connections) == 1


async def test_a_chunked_request_body_is_read(library: ModuleType) -> None:
    async def body() -> object:
        yield b"one"
        await checkpoint()
        yield b"two"

    async with serve(answer(204)) as server, library.AsyncClient() as client:
        with anyio.fail_after(5):
            await client.post(server.url, content=body())
    assert server.requests[0].body == b"onetwo"


async def test_routes_have_their_own_scripts(library: ModuleType) -> None:
    async with serve(routes={"/a": redirect("/b"), "/b": [answer(200), answer(201)]}) as server:
        with anyio.fail_after(5):
            async with library.AsyncClient(follow_redirects=True) as client:
                found = [(await client.get(f"{server.url}/a")).status_code for _ in range(3)]
    assert found == [200, 201, 404]


async def test_a_reset_is_a_reset() -> None:
    async def script(connection: Connection) -> None:
        await connection.event_stream("data: x")
        await connection.reset()

    async with serve(script) as server, await anyio.connect_tcp("127.0.0.1", server.port) as stream:
        with anyio.fail_after(5):
            await stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(anyio.BrokenResourceError):
                await drain(stream)
            await server.all_closed()


async def test_a_close_of_the_peer_is_seen_while_the_script_hangs() -> None:
    async with serve(held("data: x\n\n")) as server:
        with anyio.fail_after(5):
            async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                await stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await server.requested(1)
                assert server.open_connections == 1
            await server.connections[0].closed_by_peer.wait()
            await server.all_closed()


async def test_a_listener_that_is_shut_refuses_and_may_listen_again(library: ModuleType) -> None:
    async with serve(then=answer(200)) as server, library.AsyncClient() as client:
        with anyio.fail_after(5):
            await client.get(server.url)
            await server.refuse()
            await server.refuse()  # again, which is nothing
            with pytest.raises(library.ConnectError):
                await client.get(server.url)
            await server.listen_again()
            await client.get(server.url)
    assert len(server.requests) == 2


async def test_an_exception_of_the_body_leaves_as_itself() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serve():
            raise KeyError("mine")


async def test_an_exception_of_a_script_is_not_lost() -> None:
    async def script(connection: Connection) -> None:
        await checkpoint()
        raise LookupError(connection.request.path)

    with pytest.raises(LookupError, match="/a"):  # noqa: PT012 - the server raises as its block ends
        async with serve(script) as server, await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            await anyio.sleep_forever()


async def test_the_end_of_the_test_ends_what_hangs() -> None:
    async with serve(held("data: x\n\n")) as server:
        stream = await anyio.connect_tcp("127.0.0.1", server.port)
        await stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.requested(1)
    async with stream:
        with anyio.fail_after(5), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await drain(stream)
