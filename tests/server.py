"""The scripted server of ``anysse.testing``, and whole scripts by a name: what most tests here need.

::

    async def half_an_event(connection: Connection) -> None:
        await event_stream(connection, "data: one\\n\\n", "data: tw")
        await connection.reset()


    async with serve(half_an_event, feed("data: two\\n\\n")) as server:
        ...  # server.url, server.requests
"""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from anysse import testing
from anysse.testing import Connection, Script, SocketServer, Step
from anysse.testing._responses import HeaderItems

EVENT_STREAM: Final = "text/event-stream"


@asynccontextmanager
async def serve(
    *scripts: Script, then: Script | None = None, routes: Mapping[str, Script] | None = None
) -> AsyncIterator[SocketServer]:
    """Serve; a script that nobody asks for is no failure here, and a request without one is answered 404."""
    unscripted = testing.respond(404, body="nothing is scripted for this")
    async with testing.serve(*scripts, then=then or unscripted, routes=routes, must_use_all=False) as server:
        yield server


async def event_stream(
    connection: Connection, *parts: bytes | str, headers: HeaderItems = (), chunked: bool = True
) -> None:
    """Begin an event stream, and send each part by itself."""
    await connection.respond(200, headers, chunked=chunked)
    for part in parts:
        await connection.send(part)


def feed(*parts: bytes | str, headers: HeaderItems = ()) -> Step:
    """Send an event stream, and end it cleanly."""

    async def script(connection: Connection) -> None:
        await event_stream(connection, *parts, headers=headers)

    return script


def held(*parts: bytes | str, headers: HeaderItems = ()) -> Step:
    """Send an event stream, and hold it open until the peer closes it."""

    async def script(connection: Connection) -> None:
        await event_stream(connection, *parts, headers=headers)
        await connection.hang()

    return script


def answer(status: int, headers: HeaderItems = (), body: bytes | str = b"") -> Step:
    """Send a whole response."""
    return testing.respond(status, headers, body)


def redirect(location: str, status: int = 302) -> Step:
    """Send the client elsewhere."""
    return answer(status, {"Location": location})


def in_turn(*scripts: Step) -> Step:
    """Answer each request of a path by another script."""
    left = deque(scripts)

    async def script(connection: Connection) -> None:
        await left.popleft()(connection)

    return script
