"""Servers that misbehave on cue, for tests of code that reads streams: the public face of this package.

::

    from anysse.testing import drop, expect, send, serve

    async with serve(
        [send(ServerSentEvent(id="1", data="one")), drop()],
        [expect(header={"Last-Event-ID": "1"}), send(ServerSentEvent(id="2", data="two"))],
    ) as server:
        ...  # open_stream(server.url)
"""

from ._asgi import StreamingASGITransport
from ._connection import Connection, Step, Waitable
from ._requests import Request, ScriptFailed
from ._script import Script
from ._server import MemoryServer, Server, SocketServer, serve, serve_in_memory
from ._steps import (
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
    split,
    trickle,
    truncate,
    wait,
    write,
)

__all__ = [
    "Connection",
    "MemoryServer",
    "Request",
    "Script",
    "ScriptFailed",
    "Server",
    "SocketServer",
    "Step",
    "StreamingASGITransport",
    "Waitable",
    "comment",
    "drop",
    "end",
    "expect",
    "hang",
    "redirect",
    "refuse",
    "reset",
    "respond",
    "send",
    "serve",
    "serve_in_memory",
    "split",
    "trickle",
    "truncate",
    "wait",
    "write",
]
