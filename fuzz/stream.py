"""Whatever a server sends, a stream gives its events or fails in one of its ways, and leaves nothing."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from socket import socket
from typing import Any, Final
from unittest import mock

import anyio
import httpx
from anyio.abc import ByteStream, SocketAttribute

import anysse
from anysse._answer import content_codings, is_event_stream
from anysse._wire import Wire
from fuzz.pieces import Case
from tests import reference
from tests.readings import Outcome, read_response

KINDS: Final = ("feed", "reply")
PATIENCE: Final = 60.0
"""Seconds until it is said to hang, on a machine that may have a lot to do."""


def check(data: bytes) -> None:
    """Open a stream to a server that sends the input on each connection, and compare what comes of it."""
    case = Case.of(data)
    server = Server(case)
    with mock.patch.object(Wire, "_connected", server.connected):
        events, error = asyncio.run(read(case))
    assert server.open == 0, "a connection stays open"
    outcome = read_response([case.whole], at_end=True)
    expected, is_too_large = content_of(outcome, case.limit)
    if expected is not None:
        assert events == expected
        assert isinstance(error, anysse.EventTooLarge) is is_too_large, error
        assert error is None or is_too_large, error


async def read(case: Case) -> tuple[list[anysse.ServerSentEvent], anysse.AnysseError | None]:
    """Read a stream to its end, or to its error, which is one of those that are documented."""
    events: list[anysse.ServerSentEvent] = []
    error: anysse.AnysseError | None = None
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(PATIENCE))
        transport = anysse.StreamingTransport()
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, trust_env=False))
        try:
            async with anysse.open_stream(
                "http://127.0.0.1:9/",
                client=client,
                kind="feed" if case.choice % 2 else "reply",
                max_event_size=case.limit,
                retry=None,
            ) as stream:
                async for event in stream:
                    events.append(event)  # noqa: PERF401 - those before an error are wanted, too
        except anysse.StreamError as exc:
            error = exc
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task stays"
    return events, error


def content_of(outcome: Outcome, limit: int) -> tuple[list[anysse.ServerSentEvent] | None, bool]:
    """Give the events of a response that is a plain stream, and whether one is too large; else None."""
    headers = httpx.Headers(list(outcome.headers))
    is_stream = (
        outcome.failure is None
        and outcome.status == 200
        and not content_codings(headers.get_list("content-encoding"))
    )
    if not is_stream or not is_event_stream(headers.get_list("content-type")):
        return None, False
    return reference.read_until_too_large(outcome.body, limit)


class Server:
    """Sends the same on every connection, and counts those that are open."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.open = 0

    async def connected(self) -> ByteStream:
        """Take a connection, in the place of a socket."""
        self.open += 1
        return Pipe(self._case.cut(self._case.whole), self)


class Pipe(ByteStream):
    """One connection: gives pieces, then its end; what is sent to it is lost."""

    def __init__(self, pieces: list[bytes], server: Server) -> None:
        self._pieces = [piece for piece in reversed(pieces) if piece]
        self._server = server
        self._socket = socket()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """What a connection is asked for."""
        return {SocketAttribute.raw_socket: lambda: self._socket}

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """Give a piece."""
        await anyio.lowlevel.checkpoint()
        if not self._pieces:
            raise anyio.EndOfStream
        return self._pieces.pop()

    async def send(self, item: bytes) -> None:
        """Take anything."""
        await anyio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Take the end."""

    async def aclose(self) -> None:
        """Count it as closed."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            self._server.open -= 1
        await anyio.lowlevel.checkpoint()
