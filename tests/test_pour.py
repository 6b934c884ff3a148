"""Reading by being handed what comes: at each level, from a stream of bytes to that of events."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Final

import anyio
import anyio.abc
import pytest
from anyio.lowlevel import checkpoint

import anysse
from anysse._asyncio import AsyncioStream
from anysse._transport import bare_body
from anysse._wire import Origin, Wire
from anysse.testing import Connection
from tests.server import event_stream, serve
from tests.streams import turns

DEADLINE: Final = 20.0
"""Seconds that nothing here comes near to, unless it hangs."""
Taken = tuple[list[bytes], Callable[[bytes], bool]]


def taking(enough: bytes = b"") -> Taken:
    """Give a list, and what puts there whatever it is handed until that is ``enough``."""
    taken: list[bytes] = []

    def take(data: bytes) -> bool:
        taken.append(data)
        return data != enough

    return taken, take


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks, or the event loop, bring about."""
    with anyio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - of what tells in no other way
            await checkpoint()


@asynccontextmanager
async def wired() -> AsyncIterator[tuple[Wire, anyio.abc.ByteStream]]:
    """Give a connection, and its other end."""
    accepted: list[anyio.abc.ByteStream] = []

    async def handle(stream: anyio.abc.ByteStream) -> None:
        accepted.append(stream)
        async with stream:
            with suppress(anyio.get_cancelled_exc_class()):
                await anyio.sleep_forever()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, handle)  # noqa: ASYNC113 - the listener listens already
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            wire = Wire(Origin(is_tls=False, host="127.0.0.1", port=port, server_hostname=""))
            await wire.connect(None)
            await until(lambda: bool(accepted))
            yield wire, accepted[0]
            await wire.aclose()
            tasks.cancel_scope.cancel()


# --- of a connection ---


async def test_what_comes_is_handed_on_in_order_and_then_its_end() -> None:
    async with wired() as (wire, other):
        taken, take = taking(enough=b"")

        async def read_on() -> None:
            while b"" not in taken:
                await wire.pour(take)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_on)
            for data in (b"one", b"two"):
                await other.send(data)
                await until(lambda data=data: data in taken)
            await other.aclose()
        assert taken == [b"one", b"two", b""]


async def test_after_enough_the_rest_is_there_for_the_next() -> None:
    async with wired() as (wire, other):
        taken, take = taking(enough=b"one")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.pour, take)
            await turns(5)
            await other.send(b"one")
        await other.send(b"two")
        assert await wire.receive(None) == b"two"
        await other.send(b"one")
        await turns(10)  # what came before it was asked for is handed on as well
        await wire.pour(take)
        assert taken == [b"one", b"one"]


async def test_what_came_before_it_was_asked_for_is_handed_on_first() -> None:
    async with wired() as (wire, other):
        taken, take = taking(enough=b"two")
        await other.send(b"one")
        with anyio.fail_after(DEADLINE):
            await until(lambda: not wire.is_quiet())
            await turns(5)  # asyncio reads by itself
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wire.pour, take)
                await until(lambda: taken == [b"one"])
                await other.send(b"two")
        assert taken == [b"one", b"two"]


async def test_what_the_one_who_takes_raises_leaves_as_itself_and_only_once() -> None:
    def take(data: bytes) -> bool:
        raise ZeroDivisionError(data)

    async def pour() -> None:
        with pytest.raises(ZeroDivisionError, match="one"):
            await wire.pour(take)

    async with wired() as (wire, other):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pour)
            await turns(5)
            await other.send(b"one")
        await other.send(b"two")
        taken, take_two = taking(enough=b"two")
        await wire.pour(take_two)
        assert taken == [b"two"]


async def test_who_is_cancelled_has_nothing_taken_from_then_on() -> None:
    async with wired() as (wire, other):
        taken, take = taking()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.pour, take)
            await turns(5)
            tasks.cancel_scope.cancel()
        await other.send(b"one")
        assert await wire.receive(None) == b"one"
        assert taken == []


async def test_what_comes_in_the_tick_of_a_cancellation_is_not_taken(anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("the stream is asyncio's")
    async with wired() as (wire, _):
        stream: Any = wire._socket_stream
        assert isinstance(stream, AsyncioStream)
        taken, take = taking()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.pour, take)
            await turns(5)
            tasks.cancel_scope.cancel()
            stream.data_received(b"one")
        assert taken == []
        assert await wire.receive(None) == b"one"


async def test_one_task_reads_and_the_other_is_told() -> None:
    async with wired() as (wire, other):
        taken, take = taking(enough=b"one")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.pour, take)
            await turns(5)
            for read in (wire.pour, wire.receive):
                with pytest.raises(anyio.BusyResourceError):
                    await read(None)  # type: ignore[arg-type] # it gets no further
            await other.send(b"one")
        assert taken == [b"one"]


# --- where it asks first ---


class Socket:
    """One on which a read does what the test says."""

    def __init__(self, *reads: bytes | OSError) -> None:
        self._reads = list(reads)
        self._real, other = socket.socketpair()
        other.close()  # always readable
        self.fileno = self._real.fileno
        self.close = self._real.close

    def recv(self, _: int) -> bytes:
        read = self._reads.pop(0)
        if isinstance(read, OSError):
            raise read
        return read


class Beneath:
    """What of a stream of AnyIO's is used."""

    def __init__(self, raw: Socket) -> None:
        self._raw = raw
        self.said: list[str] = []

    def extra(self, attribute: object) -> Socket:
        assert attribute is anyio.abc.SocketAttribute.raw_socket
        return self._raw

    async def send_eof(self) -> None:
        self.said.append("eof")

    async def aclose(self) -> None:
        self.said.append("closed")


@pytest.fixture
def scripted_socket(anyio_backend_name: str) -> Iterator[Callable[..., Any]]:
    if anyio_backend_name != "trio":
        pytest.skip("the stream is trio's")
    from anysse._polled import PolledStream

    made: list[Socket] = []

    def make(*reads: bytes | OSError) -> Any:
        made.append(Socket(*reads))
        beneath: Any = Beneath(made[-1])
        return PolledStream(beneath)

    yield make
    for raw in made:
        raw.close()


async def test_a_socket_that_is_called_readable_in_vain_is_waited_for_again(
    scripted_socket: Callable[..., Any],
) -> None:
    stream = scripted_socket(BlockingIOError(), BlockingIOError(), b"one")
    assert await stream.receive() == b"one"


async def test_an_error_of_the_system_says_that_it_is_broken(scripted_socket: Callable[..., Any]) -> None:
    error = OSError(errno.ETIMEDOUT, "timed out")
    with pytest.raises(anyio.BrokenResourceError) as caught:
        await scripted_socket(error).receive()
    assert caught.value.__cause__ is error


async def test_who_reads_what_was_closed_is_told(scripted_socket: Callable[..., Any]) -> None:
    stream = scripted_socket(b"one")
    await stream.aclose()
    for read in (stream.receive, lambda: stream.pour(pytest.fail)):
        with pytest.raises(anyio.ClosedResourceError):
            await read()


async def test_the_end_of_what_is_sent_is_said_below(scripted_socket: Callable[..., Any]) -> None:
    stream = scripted_socket()
    await stream.send_eof()
    assert stream._stream.said == ["eof"]


# --- of a response ---


async def test_a_response_that_is_being_closed_takes_nothing_any_more(library: ModuleType) -> None:
    async def handle(connection: Connection) -> None:
        await event_stream(connection, "one")
        await may_go_on.wait()
        await connection.send("two")
        await connection.hang()

    async def trace(name: str, _: dict[str, Any]) -> None:
        if name == "http11.response_closed.started":
            may_go_on.set()
            await was_refused.wait()

    async def read_on() -> None:
        with pytest.raises(library.ReadError, match="closed while it was being read"):
            await anext(body)
        was_refused.set()

    may_go_on, was_refused = anyio.Event(), anyio.Event()
    with anyio.fail_after(DEADLINE):
        async with serve(then=handle) as server:
            async with library.AsyncClient(transport=anysse.StreamingTransport()) as client:
                async with client.stream("GET", server.url, extensions={"trace": trace}) as response:
                    body: Any = bare_body(library, response)
                    assert await anext(body) == b"one"
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(read_on)
                        await turns(5)
                        tasks.start_soon(response.aclose)


# --- of an event stream ---


class Told(anysse.Observer):
    """Calls back when the done event came."""

    def __init__(self, call: Callable[[object], object]) -> None:
        self._call = call

    def observe(self, fact: anysse.Fact, /) -> None:
        if isinstance(fact, anysse.DoneReceived):
            self._call(fact)


whose: ContextVar[str] = ContextVar("whose")


@pytest.mark.parametrize("who", ["on_comment", "done", "observers"])
async def test_who_is_called_while_events_are_parsed_is_called_in_the_stream_s_task(who: str) -> None:
    async def handle(connection: Connection) -> None:
        await event_stream(connection, ":\n\ndata: x\n\n")
        await may_go_on.wait()
        await connection.send(":\n\ndata: [DONE]\n\n")
        await connection.hang()

    def call(thing: object) -> bool:
        anyio.get_current_task()  # raises where there is none
        called.append(whose.get())
        return isinstance(thing, anysse.ServerSentEvent) and thing.data == "[DONE]"

    options: dict[str, Any] = {
        "on_comment": {"on_comment": call, "done": "[DONE]"},
        "done": {"done": call},
        "observers": {"observers": [Told(call)], "done": "[DONE]"},
    }[who]
    called: list[str] = []
    whose.set("mine")
    may_go_on = anyio.Event()
    with anyio.fail_after(DEADLINE):
        async with serve(then=handle) as server, anysse.open_stream(server.url, **options) as events:
            assert (await events.receive()).data == "x"
            may_go_on.set()
            async for _ in events:
                pass
    assert called == ["mine"] * (1 if who == "observers" else 2)
