"""A line of ``anysse.testing`` is the same over a socket as in memory."""

import socket
from collections.abc import AsyncIterator

import anyio
import pytest

from anysse.testing._lines import Line, SocketLine, memory_lines

MUCH = bytes(20_000_000)
"""More than is on its way at any time."""


@pytest.fixture(params=["socket", "memory"])
async def lines(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Line, Line]]:
    """Both ends of a connection."""
    if request.param == "memory":
        one, other = memory_lines()
        yield one, other
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        yield (one := SocketLine(client)), (other := SocketLine(server))
    one.hang_up()
    other.hang_up()


@pytest.fixture
def line(lines: tuple[Line, Line]) -> Line:
    return lines[0]


@pytest.fixture
def peer(lines: tuple[Line, Line]) -> Line:
    return lines[1]


async def read_all(line: Line) -> int:
    count = 0
    try:
        while True:
            count += len(await line.receive())
    except anyio.EndOfStream:
        return count


async def test_what_is_sent_is_received(line: Line, peer: Line) -> None:
    await line.send(b"")
    await line.send(b"one")
    assert await peer.receive() == b"one"


async def test_no_more_is_received_than_was_asked_for(line: Line, peer: Line) -> None:
    await line.send(b"12345")
    assert [await peer.receive(2) for _ in range(3)] == [b"12", b"34", b"5"]


async def test_who_sends_is_held_back_and_nothing_is_lost(line: Line, peer: Line) -> None:
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            for start in range(0, len(MUCH), 1_000_000):
                await line.send(MUCH[start : start + 1_000_000])
            await line.aclose()

        with anyio.fail_after(20):
            tasks.start_soon(send)
            assert await read_all(peer) == len(MUCH)


async def test_what_was_sent_before_it_was_hung_up_is_received(line: Line, peer: Line) -> None:
    await line.send(b"one")
    await line.send_eof()
    await line.aclose()  # again, which is nothing
    assert await read_all(peer) == 3


async def test_a_reset_breaks_what_waits(line: Line, peer: Line) -> None:
    async with anyio.create_task_group() as tasks:

        async def receive() -> None:
            with pytest.raises(anyio.BrokenResourceError) as broken:
                await line.receive()
            assert isinstance(broken.value.__cause__, ConnectionResetError)

        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        peer.hang_up(reset=True)


async def test_hanging_up_wakes_who_waits_at_the_same_end(line: Line, peer: Line) -> None:
    async with anyio.create_task_group() as tasks:

        async def receive() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await line.receive()

        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        line.hang_up()


async def test_hanging_up_wakes_who_sends_at_the_same_end(line: Line, peer: Line) -> None:
    async def send() -> None:
        with pytest.raises(anyio.ClosedResourceError):  # noqa: PT012 - in memory the first is taken whole
            while True:
                await line.send(MUCH)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            line.hang_up()


async def test_what_is_closed_can_neither_send_nor_receive(line: Line, peer: Line) -> None:
    line.hang_up()
    with pytest.raises(anyio.ClosedResourceError):
        await line.send(b"x")
    with pytest.raises(anyio.ClosedResourceError):
        await line.receive()


async def test_who_sends_to_nobody_is_told_sooner_or_later(line: Line, peer: Line) -> None:
    peer.hang_up()
    with anyio.fail_after(20), pytest.raises(anyio.BrokenResourceError):  # noqa: PT012 - it takes a few
        while True:
            await line.send(b"x")
