"""``anysse.testing``: each step does what it says, on sockets and in memory, and a failure tells all."""

# ruff: noqa: SIM117 - a server, and a stream of it: two lines read better than one.

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, TypeAlias

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anysse
from anysse import ExponentialBackoff, InvalidRequest, ServerSentEvent
from anysse.testing import (
    Connection,
    Script,
    ScriptFailed,
    Server,
    Step,
    comment,
    drop,
    end,
    expect,
    hang,
    redirect,
    refuse,
    reset,
    respond,
    send,
    serve,
    serve_in_memory,
    split,
    trickle,
    truncate,
    wait,
    write,
)
from tests.streams import data_of, in_virtual_time

QUICK = ExponentialBackoff(initial=0.1, jitter=0.0)
DEADLINE = 20.0

Served: TypeAlias = Callable[..., AbstractAsyncContextManager[tuple[Server, Any]]]


@pytest.fixture(params=["socket", "memory"])
def served(request: pytest.FixtureRequest, library: ModuleType) -> Served:
    """Serve scripts in one of both ways; gives the server, and a client that reaches it."""

    @asynccontextmanager
    async def served(*scripts: Script, **options: Any) -> AsyncIterator[tuple[Server, Any]]:
        with anyio.fail_after(DEADLINE):
            if request.param == "memory":
                async with (
                    serve_in_memory(*scripts, **options) as in_memory,
                    library.AsyncClient(transport=in_memory.transport()) as client,
                ):
                    yield in_memory, client
            else:
                async with (
                    serve(*scripts, **options) as server,
                    library.AsyncClient(transport=anysse.StreamingTransport()) as client,
                ):
                    yield server, client

    return served


async def pieces_of(client: Any, url: str) -> list[bytes]:
    async with client.stream("GET", url) as response:
        return [piece async for piece in response.aiter_raw()]


# --- What is sent -----------------------------------------------------------------------------------------


async def test_what_is_sent_is_an_event_stream_unless_it_says_otherwise(served: Served) -> None:
    async with served([send("data: one\n\n"), send(b"data: two\n\n")]) as (server, client):
        response = await client.get(server.url)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text == "data: one\n\ndata: two\n\n"


async def test_an_event_is_written_as_the_standard_says(served: Served) -> None:
    event = ServerSentEvent(event="tick", data="one\ntwo\r\nthree\rfour", id="ü 7", retry=250)
    async with served([send(event), send(ServerSentEvent(data=""))]) as (server, client):
        async with anysse.open_stream(server.url, client=client) as events:
            received = await events.receive()
            empty = await events.receive()
    assert received == event._replace(data="one\ntwo\nthree\nfour")
    assert empty.data == ""


async def test_a_comment_is_no_event(served: Served) -> None:
    comments: list[str] = []
    script = [comment(), comment("still\nthere"), send("data: x\n\n")]
    async with served(script) as (server, client):
        async with anysse.open_stream(server.url, client=client, on_comment=comments.append) as events:
            assert (await events.receive()).data == "x"
    assert comments == ["", "still", "there"]


async def test_a_response_has_the_status_headers_and_body_that_it_is_given(served: Served) -> None:
    script = respond(503, {"Retry-After": "7"}, "later")
    async with served(script) as (server, client):
        response = await client.get(server.url)
    assert (response.status_code, response.headers["retry-after"], response.text) == (503, "7", "later")


@pytest.mark.parametrize("status", [204, 304])
async def test_a_response_that_has_no_body_has_none(served: Served, status: int) -> None:
    async with served(respond(status), [end()]) as (server, client):
        response = await client.get(server.url)
        assert (await client.get(server.url)).text == ""
    assert (response.status_code, response.content) == (status, b"")
    assert "transfer-encoding" not in response.headers
    assert len(server.connections) == 1


async def test_headers_that_are_none_are_left_out(served: Served) -> None:
    async with served([respond(200, [("Content-Type", None), ("X-A", "1"), ("X-A", "2")])]) as (
        server,
        client,
    ):
        response = await client.get(server.url)
    assert "content-type" not in response.headers
    assert response.headers.get_list("x-a") == ["1", "2"]


async def test_a_body_without_a_length_may_end_with_the_connection(served: Served) -> None:
    script = [respond(chunked=False), send("data: x\n\n")]
    async with served(script) as (server, client):
        response = await client.get(server.url)
        await server.all_closed()
    assert response.text == "data: x\n\n"
    assert response.headers["connection"] == "close"


async def test_a_framing_of_ones_own_is_left_as_it_is(served: Served, library: ModuleType) -> None:
    script = [respond(200, {"Content-Length": "10"}), send("12345"), drop()]
    async with served(script) as (server, client):
        with pytest.raises(library.RemoteProtocolError):
            await client.get(server.url)


async def test_what_is_written_goes_out_as_it_is(served: Served, library: ModuleType) -> None:
    async with served(write("no HTTP at all\r\n\r\n"), [respond(), write(b"zz\r\n")]) as (server, client):
        for _ in range(2):
            with pytest.raises(library.RemoteProtocolError):
                await client.get(server.url)


async def test_nothing_is_added_to_a_response_that_is_written(served: Served) -> None:
    whole = "HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\nfine"
    async with served(write(whole), [write(whole[:20]), write(whole[20:]), end()]) as (server, client):
        assert [(await client.get(server.url)).text for _ in range(2)] == ["fine", "fine"]
    assert len(server.connections) == 1


async def test_an_interim_response_may_be_written_before_the_stream(served: Served) -> None:
    script = [write("HTTP/1.1 103 Early Hints\r\n\r\n"), send("data: x\n\n")]
    async with served(script) as (server, client):
        assert (await client.get(server.url)).text == "data: x\n\n"


async def test_split_sends_in_pieces_until_it_is_told_otherwise() -> None:
    import httpx

    script = [split(every=3), send("12345678"), split(every=None), send("90")]
    async with serve_in_memory(script) as server:
        async with httpx.AsyncClient(transport=server.transport()) as client:
            assert await pieces_of(client, server.url) == [b"123", b"456", b"78", b"90"]


async def test_trickle_sends_a_byte_at_a_time() -> None:
    import httpx

    async with serve_in_memory([trickle("12", pause=0.001), send("34"), send("")]) as server:
        async with httpx.AsyncClient(transport=server.transport()) as client:
            assert await pieces_of(client, server.url) == [b"1", b"2", b"34"]


async def test_wait_waits_for_an_event(served: Served) -> None:
    gate = anyio.Event()
    async with served([send("data: one\n\n"), wait(gate), send("data: two\n\n")]) as (server, client):
        async with anysse.open_stream(server.url, client=client) as events:
            assert (await events.receive()).data == "one"
            gate.set()
            assert (await events.receive()).data == "two"


def test_nothing_takes_time_in_virtual_time() -> None:
    async def main() -> None:
        import httpx

        script = [send("data: one\n\n"), wait(3600), split(every=1, pause=60), send("data: two\n\n")]
        async with (
            serve_in_memory(script) as server,
            httpx.AsyncClient(transport=server.transport()) as client,
        ):
            begin = anyio.current_time()
            timeouts = anysse.Timeouts(idle=None)
            async with anysse.open_stream(server.url, client=client, retry=None, timeouts=timeouts) as events:
                assert await data_of(events) == ["one", "two"]
            assert anyio.current_time() - begin == pytest.approx(3600 + 60 * 10, abs=1)

    in_virtual_time(main)


# --- How it ends ------------------------------------------------------------------------------------------


async def test_a_script_that_is_over_ends_its_response_and_keeps_the_connection(served: Served) -> None:
    async with served([send("a")], [send("b"), end()]) as (server, client):
        assert [(await client.get(server.url)).text for _ in range(2)] == ["a", "b"]
    assert len(server.connections) == 1


@pytest.mark.parametrize("step", [drop(), reset(), truncate(), truncate("data: ha"), refuse(0.0)])
async def test_a_connection_that_breaks_is_made_anew(served: Served, step: Step) -> None:
    is_read = anyio.Event()  # else a reset may take back what is on its way
    async with served(
        [send("id: 1\ndata: one\n\n"), wait(is_read), step],
        [expect(header={"Last-Event-ID": "1"}), send("data: two\n\n")],
    ) as (server, client):
        async with anysse.open_stream(server.url, client=client, retry=QUICK) as events:
            assert (await events.receive()).data == "one"
            is_read.set()
            assert await data_of(events) == ["two"]


async def test_a_reset_is_a_reset(served: Served, library: ModuleType) -> None:
    async with served([respond(), reset()]) as (server, client):
        with pytest.raises(library.ReadError, match=r"(?i)reset"):
            await client.get(server.url)


async def test_a_chunk_that_is_cut_short_is_an_incomplete_body(served: Served, library: ModuleType) -> None:
    async with served([truncate("data: ha")]) as (server, client):
        with pytest.raises(library.RemoteProtocolError):
            await client.get(server.url)


async def test_a_body_that_ends_with_the_connection_can_be_cut_short_too(served: Served) -> None:
    async with served([respond(chunked=False), truncate("data: ha")]) as (server, client):
        assert (await client.get(server.url)).text == "data: ha"


async def test_hang_holds_the_connection_until_the_client_closes_it(served: Served) -> None:
    async with served([send("data: x\n\n"), hang()]) as (server, client):
        async with anysse.open_stream(server.url, client=client) as events:
            await events.receive()
            assert server.open_connections == 1
        await server.all_closed()
    assert server.connections[0].closed_by_peer.is_set()
    assert server.connections[0].closed_at is not None


async def test_redirect_sends_the_client_elsewhere(served: Served) -> None:
    async with (
        served(redirect("/there", 307), [expect(target="/there"), send("data: x\n\n")]) as (
            server,
            client,
        ),
        anysse.open_stream(server.url, client=client, retry=None) as events,
    ):
        assert await data_of(events) == ["x"]


async def test_nobody_can_connect_while_the_server_refuses(served: Served, library: ModuleType) -> None:
    async with served(then=respond(200, body="x")) as (server, client):
        await client.get(server.url)
        await server.refuse()
        await server.refuse()  # again, which is nothing
        with pytest.raises(library.ConnectError):
            await client.get(server.url)
        await server.listen_again()
        await server.listen_again()
        assert (await client.get(server.url)).text == "x"
    assert len(server.connections) == 2


async def test_nobody_else_gets_the_port_of_a_server_that_refuses() -> None:
    async with serve(must_use_all=False) as server:
        await server.refuse()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", server.port))
        await server.listen_again()


async def test_who_has_a_request_under_way_goes_on_while_the_server_refuses(served: Served) -> None:
    gate = anyio.Event()
    async with served([send("data: one\n\n"), wait(gate), send("data: two\n\n")]) as (server, client):
        async with anysse.open_stream(server.url, client=client) as events:
            await events.receive()
            await server.requested(1)
            await server.refuse()
            gate.set()
            assert (await events.receive()).data == "two"


async def test_refuse_shuts_the_listener_for_a_while(served: Served) -> None:
    refused = anyio.Event()

    class Watch(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.AttemptFailed) and isinstance(fact.error, anysse.ConnectError):
                refused.set()

    async with served([send("data: one\n\n"), refuse(0.2)], [send("data: two\n\n")]) as (server, client):
        async with anysse.open_stream(server.url, client=client, retry=QUICK, observers=[Watch()]) as events:
            assert await data_of(events) == ["one", "two"]
    assert refused.is_set()


@pytest.mark.parametrize("steps", [[refuse(100), wait(50), refuse(10)], [refuse(10), wait(5), refuse(95)]])
def test_the_longest_of_several_refusals_counts(steps: list[Step]) -> None:
    async def main() -> None:
        import httpx

        async with (
            serve_in_memory(steps, then=respond(200, body="x")) as server,
            httpx.AsyncClient(transport=server.transport(), timeout=None) as client,
        ):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(server.url)
            for is_open in (False, True):
                await anyio.sleep(75)
                with nullcontext() if is_open else pytest.raises(httpx.ConnectError):
                    await client.get(server.url)

    in_virtual_time(main)


def test_a_server_that_is_told_to_refuse_does_so_until_it_is_told_otherwise() -> None:
    async def main() -> None:
        import httpx

        async with (
            serve_in_memory(refuse(10), then=respond(200, body="x")) as server,
            httpx.AsyncClient(transport=server.transport()) as client,
        ):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(server.url)
            await server.refuse()
            await anyio.sleep(20)  # when the step has listened again
            with pytest.raises(httpx.ConnectError):
                await client.get(server.url)
            await server.listen_again()
            assert (await client.get(server.url)).text == "x"

    in_virtual_time(main)


async def test_who_has_no_request_under_way_is_hung_up_on_by_a_server_that_refuses(served: Served) -> None:
    gate = anyio.Event()
    async with served([send("data: x\n\n"), wait(gate), refuse(100)], respond(204)) as (server, client):
        async with anysse.open_stream(server.url, client=client, retry=None) as events:
            await events.receive()
            await client.get(server.url)
            assert server.open_connections == 2
            gate.set()
            await server.all_closed()


# --- What came --------------------------------------------------------------------------------------------


async def test_requests_are_kept_as_they_came(served: Served) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await checkpoint()
        yield b"two"

    async with served(respond(204), respond(204), respond(204)) as (server, client):
        await client.post(f"{server.url}/a?b=c", content=b"body", headers={"X-Name": "ü".encode()})
        await client.post(server.url, content=body())
        await client.post(server.url, content=bytes(300_000))
        await server.all_idle()
    first, second, third = server.requests
    assert (first.method, first.target, first.path, first.body) == ("POST", "/a?b=c", "/a", b"body")
    assert first.headers["x-NAME"] == "ü".encode().decode("latin-1")
    assert second.body == b"onetwo"
    assert third.body == bytes(300_000)
    assert second.time >= first.time


async def test_routes_are_by_path_and_do_not_use_up_scripts(served: Served) -> None:
    routes = {"/a": respond(200, body="a")}
    async with served(respond(200, body="one"), routes=routes) as (server, client):
        texts = [(await client.get(f"{server.url}{path}")).text for path in ("/a?x", "/", "/a")]
    assert texts == ["a", "one", "a"]


async def test_what_comes_after_all_scripts_is_told_to_stop(served: Served) -> None:
    async with served([send("data: x\n\n")]) as (server, client):
        async with anysse.open_stream(server.url, client=client, retry=QUICK) as events:
            assert await data_of(events) == ["x"]
    assert len(server.requests) == 2


async def test_a_step_may_be_a_function_of_ones_own(served: Served) -> None:
    async def count(connection: Connection) -> None:
        for number in range(int(connection.request.headers["x-count"])):
            await connection.send(f"{number}")

    async with served(count) as (server, client):
        response = await client.get(server.url, headers={"X-Count": "3"})
    assert response.text == "012"


async def test_a_large_body_is_held_back_until_it_is_read(served: Served) -> None:
    async with served([send(bytes(3_000_000)), send(bytes(1_000_000))]) as (server, client):
        async with client.stream("GET", server.url) as response:
            assert sum([len(piece) async for piece in response.aiter_raw()]) == 4_000_000


async def test_a_client_that_leaves_ends_the_script_which_is_no_failure(served: Served) -> None:
    async with served([send(bytes(10_000_000)), hang()]) as (server, client):
        async with client.stream("GET", server.url):
            pass
        await server.all_closed()


# --- What fails -------------------------------------------------------------------------------------------


async def test_what_was_expected_and_what_came_is_told_step_by_step(served: Served) -> None:
    script = [
        wait(0),
        expect(method="POST", target="/x", header={"X-A": "1", "Cookie": None}, body="hi", json=[1]),
        send("data: one\n\n"),
    ]
    with pytest.raises(ScriptFailed) as failure:
        async with served(script) as (server, client):
            await client.put(
                f"{server.url}/a?token=hidden",
                content=b"ho",
                headers={"Cookie": "a=b", "Authorization": "hidden"},
            )
    lines = str(failure.value).splitlines()
    assert lines[:10] == [
        "script 1 of 1 failed at step 2 of 3",
        "    wait(0)  (done)",
        "    expect(method='POST', target='/x', header={'X-A': '1', 'Cookie': None}, body='hi', json=[1])",
        "    > method: expected 'POST', got 'PUT'",
        "    > target: expected '/x', got '/a?token=hidden'",
        "    > header X-A: expected '1', got none",
        "    > header Cookie: expected none, got 'a=b'",
        "    > body: expected b'hi', got b'ho'",
        "    > JSON body: expected [1], got b'ho'",
        "    send('data: one\\n\\n')",
    ]
    assert lines[10:12] == ["in answer to", "    PUT /a?token=***"]
    assert "    authorization: ***" in lines
    assert lines[-1] == "    (2 bytes)"
    assert failure.value.request is server.requests[0]


async def test_what_is_as_expected_goes_on(served: Served) -> None:
    script = [expect(method="POST", header={"x-a": "1"}, json={"a": [1]}), respond(200, body="fine")]
    async with served(script) as (server, client):
        response = await client.post(server.url, json={"a": [1]}, headers={"X-A": "1"})
    assert response.text == "fine"


async def test_an_assertion_of_a_step_of_ones_own_is_told_as_well(served: Served) -> None:
    async def is_right(connection: Connection) -> None:
        await checkpoint()
        assert connection.request.target == "/b", "not /b"

    with pytest.raises(ScriptFailed, match=r"(?s)step 1 of 1\n.*is_right\n    > not /b") as failure:
        async with served(is_right) as (server, client):
            await client.get(server.url)
    assert isinstance(failure.value.__cause__, AssertionError)


async def test_another_exception_of_a_step_of_ones_own_leaves_as_itself(served: Served) -> None:
    async def is_broken(connection: Connection) -> None:
        await checkpoint()
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        async with served(is_broken) as (server, client):
            await client.get(server.url)


async def test_an_exception_of_the_body_leaves_as_itself(served: Served) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with served(hang(), hang()):
            raise KeyError("mine")


async def test_a_group_of_the_body_stays_one(served: Served) -> None:
    with pytest.raises(ExceptionGroup, match="mine"):
        async with served(hang(), hang()):
            raise ExceptionGroup("mine", [KeyError("one"), KeyError("two")])


async def test_a_script_that_was_never_asked_for_is_a_failure(served: Served) -> None:
    with pytest.raises(
        ScriptFailed, match=r"script 2 of 2 was never asked for\n    send\('b'\)\n    drop"
    ) as failure:
        async with served(send("a"), [send("b"), drop()]) as (server, client):
            await client.get(server.url)
    assert failure.value.request is None
    async with served(send("a"), must_use_all=False):
        pass


async def test_what_is_no_request_is_a_failure() -> None:
    with (  # noqa: PT012 - the server raises as its block ends
        anyio.fail_after(DEADLINE),
        pytest.raises(ScriptFailed, match=r"expected a request of HTTP/1\.1, and not b'rub"),
    ):
        async with serve(hang()) as server, await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(b"rubbish\r\n\r\n")
            await anyio.sleep_forever()


async def test_what_is_no_request_is_told_before_what_came_of_it() -> None:
    with (  # noqa: PT012 - likewise
        anyio.fail_after(DEADLINE),
        pytest.raises(ScriptFailed, match="and not b'rubbish'"),
    ):
        async with serve(hang()) as server:
            try:
                async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                    await stream.send(b"rubbish\r\n\r\n")
                    await anyio.sleep_forever()
            finally:
                raise KeyError("of the client")


async def test_an_event_of_another_thread_is_looked_at_now_and_then(served: Served) -> None:
    class Late(threading.Event):
        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks > 2

    async with served([wait(Late()), send("x")]) as (server, client):
        assert (await client.get(server.url)).text == "x"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ([drop(), send("x")], "closed the connection"),
        ([reset(), respond()], "closed the connection"),
        ([truncate(), hang()], "closed the connection"),
        ([refuse(0), comment()], "closed the connection"),
        ([respond(chunked=False), end(), write("x")], "closed the connection"),
        ([send("x"), end(), send("y")], "the response is over"),
        ([respond(200, body="x"), truncate()], "the response is over"),
        ([send("x"), respond(503)], "the response has begun"),
    ],
)
async def test_a_step_that_can_never_be_done_is_a_failure(
    served: Served, library: ModuleType, script: list[Step], problem: str
) -> None:
    told = rf"failed at step {len(script)} of [\s\S]*> .*{problem}"
    with pytest.raises(ScriptFailed, match=told):  # noqa: PT012 - the server raises as its block ends
        async with served(script) as (server, client):
            with suppress(library.TransportError):
                await client.get(server.url)
            await anyio.sleep_forever()


async def test_of_a_long_json_body_what_differs_is_told(served: Served) -> None:
    came = {"messages": [{"role": "user", "content": "helo"}], "text": "x" * 600}
    wanted = {"messages": [{"role": "user", "content": "hello"}], "text": "x" * 600}
    with pytest.raises(ScriptFailed) as failure:
        async with served(expect(json=wanted)) as (server, client):
            await client.post(server.url, json=came)
    assert "> JSON body['messages'][0]['content']: expected 'hello', got 'helo'" in str(failure.value)


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ({"a": 1, "b": 2}, "JSON body['b']: expected 2, got none"),
        ({}, "JSON body['a']: expected none, got 1"),
        ({"a": "y" * 600}, f"JSON body['a']: expected '{'y' * 499}…, got 1"),
    ],
)
async def test_what_is_missing_or_too_much_is_told(served: Served, wanted: object, line: str) -> None:
    with pytest.raises(ScriptFailed) as failure:
        async with served(expect(json=wanted)) as (server, client):
            await client.post(server.url, json={"a": 1})
    assert f"    > {line}\n" in str(failure.value)


async def test_of_a_long_body_where_it_differs_is_told(served: Served) -> None:
    with pytest.raises(ScriptFailed) as failure:
        async with served(expect(body="x" * 900 + "y")) as (server, client):
            await client.post(server.url, content="x" * 900 + "z")
    shown = "x" * 20
    assert f"    > body, from byte 880 on: expected b'{shown}y', got b'{shown}z'\n" in str(failure.value)


@pytest.mark.parametrize("error", [ssl.SSLCertVerificationError("upstream"), anyio.EndOfStream()])
async def test_an_error_of_a_step_of_ones_own_is_no_client_that_left(
    served: Served, library: ModuleType, error: Exception
) -> None:
    async def own(connection: Connection) -> None:
        raise error

    with pytest.raises(type(error)) as failure:  # noqa: PT012 - the server raises as its block ends
        async with served(own) as (server, client):
            with suppress(library.TransportError):
                await client.get(server.url)
            await anyio.sleep_forever()
    assert failure.value is error


async def test_several_tasks_of_a_step_may_find_that_the_client_left(served: Served) -> None:
    async def beat(connection: Connection) -> None:
        while True:
            await connection.comment()

    async def own(connection: Connection) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat, connection)
            tasks.start_soon(beat, connection)

    async with served(own) as (server, client):
        async with anysse.open_stream(server.url, client=client):
            pass
        await server.all_closed()


async def test_what_fails_beside_it_is_told(served: Served, library: ModuleType) -> None:
    async def fail(connection: Connection) -> None:
        await connection.closed_by_peer.wait()
        raise LookupError("the feed is gone")

    async def own(connection: Connection) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail, connection)
            await connection.send("data: x\n\n")

    with pytest.raises(ExceptionGroup) as failure:  # noqa: PT012 - the server raises as its block ends
        async with served(own) as (server, client):
            async with anysse.open_stream(server.url, client=client):
                pass
            await anyio.sleep_forever()
    assert failure.group_contains(LookupError, match="the feed is gone")


async def test_a_step_has_to_be_an_async_function(served: Served, library: ModuleType) -> None:
    def own(connection: Connection) -> None:
        pass

    with pytest.raises(TypeError, match=r"has to be an async function, and <function .*own"):  # noqa: PT012
        async with served(own) as (server, client):
            with suppress(library.TransportError):
                await client.get(server.url)
            await anyio.sleep_forever()


async def test_the_first_failure_is_told_whatever_fails_as_others_end(served: Served) -> None:
    begun = anyio.Event()

    async def clean_up(connection: Connection) -> None:
        try:
            begun.set()
            await anyio.sleep_forever()
        finally:
            raise KeyError("in cleaning up")

    async def fail(connection: Connection) -> None:
        raise AssertionError("the first")

    with pytest.raises(ScriptFailed, match="the first"):  # noqa: PT012 - the server raises as its block ends
        async with served(routes={"/a": clean_up, "/b": fail}) as (server, client):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.get, f"{server.url}/a")
                await begun.wait()
                tasks.start_soon(client.get, f"{server.url}/b")


# --- TLS --------------------------------------------------------------------------------------------------


async def test_tls_has_a_certificate_that_the_servers_context_trusts(library: ModuleType) -> None:
    with anyio.fail_after(DEADLINE):
        async with serve([send("data: x\n\n"), reset()], then=send("y"), tls=True) as server:
            assert server.ssl_context is not None
            async with library.AsyncClient(verify=server.ssl_context, trust_env=False) as client:
                async with anysse.open_stream(server.url, client=client) as events:
                    assert (await events.receive()).data == "x"
    assert server.url.startswith("https://")


async def test_who_does_not_trust_it_gets_no_further(library: ModuleType) -> None:
    with anyio.fail_after(DEADLINE):
        async with serve(tls=True) as server:
            transport = anysse.StreamingTransport(verify=ssl.create_default_context())
            async with library.AsyncClient(transport=transport) as client:
                with pytest.raises(library.ConnectError):
                    await client.get(server.url)
            await server.all_closed()
    assert server.requests == []


async def test_tls_without_trustme_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trustme", None)
    with pytest.raises(InvalidRequest, match=r"tls.*pip install 'anysse\[testing\]'"):
        async with serve(tls=True):
            pass


# --- Rubbish ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: send(7), "data"),
        (lambda: send(ServerSentEvent(id="a\nb")), "data"),
        (lambda: send(ServerSentEvent(event="a\rb")), "data"),
        (lambda: send(ServerSentEvent(data={"a": 1})), "data"),
        (lambda: send("\ud800"), "data"),
        (lambda: send(ServerSentEvent(data="\ud800")), "data"),
        (lambda: comment(7), "text"),
        (lambda: trickle(None), "data"),
        (lambda: trickle("x", pause=-1), "pause"),
        (lambda: split(every=0), "every"),
        (lambda: split(every=1, pause="x"), "pause"),
        (lambda: write(7), "data"),
        (lambda: wait(-1), "until"),
        (lambda: wait("x"), "until"),
        (lambda: wait(float("nan")), "until"),
        (lambda: truncate(7), "data"),
        (lambda: redirect(7), "location"),
        (lambda: redirect("/\u20ac"), "headers"),
        (lambda: redirect("/", 200), "status"),
        (lambda: refuse(-1), "seconds"),
        (lambda: respond("200"), "status"),
        (lambda: respond(True), "status"),
        (lambda: respond(100), "status"),
        (lambda: respond(200, {"A": 7}), "headers"),
        (lambda: respond(200, {"A": 0}), "headers"),
        (lambda: respond(200, {"A": "x\r\nB: y"}), "headers"),
        (lambda: respond(200, {"A b": "x"}), "headers"),
        (lambda: respond(200, "Content-Type"), "headers"),
        (lambda: respond(200, 7), "headers"),
        (lambda: respond(200, body=7), "body"),
        (expect, "expect"),
        (lambda: expect(header=[("a", "b")]), "header"),
        (lambda: expect(body=7), "body"),
        (lambda: expect(body=ServerSentEvent(data="x")), "body"),
        (lambda: expect(method=7), "method"),
        (lambda: expect(target=b"/"), "target"),
        (lambda: expect(header={"a": 7}), "header"),
    ],
)
def test_a_wrong_argument_of_a_step_is_named(make: Callable[[], Step], argument: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        make()
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("act", "argument"),
    [
        (lambda connection: connection.respond(True), "status"),
        (lambda connection: connection.respond(200, {"A": 7}), "headers"),
        (lambda connection: connection.respond(200, body=7), "body"),
        (lambda connection: connection.send(7), "data"),
        (lambda connection: connection.comment(7), "text"),
        (lambda connection: connection.trickle("x", pause=-1), "pause"),
        (lambda connection: connection.split(every=0), "every"),
        (lambda connection: connection.write(7), "data"),
        (lambda connection: connection.wait("x"), "until"),
        (lambda connection: connection.truncate(7), "data"),
        (lambda connection: connection.redirect("/", True), "status"),
        (lambda connection: connection.refuse(-1), "seconds"),
        (lambda connection: connection.expect(), "expect"),
        (lambda connection: connection.expect(header=[("a", "b")]), "header"),
    ],
)
async def test_a_wrong_argument_of_a_step_of_ones_own_is_named(
    served: Served, library: ModuleType, act: Callable[[Connection], Awaitable[None]], argument: str
) -> None:
    async def own(connection: Connection) -> None:
        await act(connection)

    with pytest.raises(InvalidRequest) as refused:  # noqa: PT012 - the server raises as its block ends
        async with served(own) as (server, client):
            with suppress(library.TransportError):
                await client.get(server.url)
            await anyio.sleep_forever()
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("scripts", "options", "argument"),
    [
        ([7], {}, "script 1"),
        ([send("x"), "data: x"], {}, "script 2"),
        ([[send("x"), 7]], {}, "script 1"),
        ([], {"then": 7}, "then"),
        ([], {"routes": {"/a": 7}}, "routes"),
        ([], {"routes": [send("x")]}, "routes"),
        ([], {"routes": {"a": send("x")}}, "routes"),
        ([], {"routes": {"/a?b": send("x")}}, "routes"),
    ],
)
@pytest.mark.parametrize("serving", [serve, serve_in_memory])
async def test_a_wrong_script_is_named(serving: Any, scripts: Any, options: Any, argument: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        async with serving(*scripts, **options):
            pass
    assert refused.value.argument == argument


# --- pytest -----------------------------------------------------------------------------------------------


def test_the_fixture_serves_a_synchronous_test(anysse_server: Any, library: ModuleType) -> None:
    one, other = anysse_server([send("data: a\n\n")], tls=True), anysse_server(send("b"))
    with library.Client(verify=one.ssl_context, trust_env=False) as client:
        assert client.get(one.url).text == "data: a\n\n"
    with library.Client(verify=False, trust_env=False) as client:
        assert client.get(other.url).text == "b"
    assert [request.path for request in one.requests] == ["/"]


async def test_the_fixture_serves_a_test_under_any_event_loop(anysse_server: Any) -> None:
    server = anysse_server([send("data: a\n\n"), hang()])
    async with anysse.open_stream(server.url) as events:
        assert (await events.receive()).data == "a"


def test_a_script_waits_for_a_test_in_another_thread(anysse_server: Any, library: ModuleType) -> None:
    go = threading.Event()
    server = anysse_server([send("one"), wait(go), send("two")])
    with library.Client(trust_env=False) as client, client.stream("GET", server.url) as response:
        texts = response.iter_text()
        assert next(texts) == "one"
        go.set()
        assert next(texts) == "two"


async def test_what_can_be_awaited_in_the_servers_thread_alone_says_so(anysse_server: Any) -> None:
    server = anysse_server()
    for method in (server.all_idle, server.refuse, server.listen_again):
        with pytest.raises(RuntimeError, match=r"thread of its own.*use steps"):
            await method()


def test_a_script_that_failed_is_an_error_of_the_fixture(tmp_path: Path) -> None:
    test = """
        import urllib.request
        from contextlib import suppress
        from anysse.testing import expect

        def test_it(anysse_server):
            server = anysse_server(expect(method="POST"))
            with suppress(OSError):
                urllib.request.urlopen(server.url)
    """
    (tmp_path / "test_it.py").write_text(dedent(test))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "1 passed, 1 error" in run.stdout
    assert "> method: expected 'POST', got 'GET'" in run.stdout
