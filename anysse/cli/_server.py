"""The demo server: a market feed and an LLM on a loopback port, which drop connections now and then.

::

    async with serve_demo(seed=1) as demo:
        ...  # f"{demo.url}/feed", f"{demo.url}/v1/chat"
"""

import json
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from itertools import count
from typing import Final, final

import anyio
from anyio.abc import TaskGroup

from ._content import (
    DONE,
    RETRY_AFTER,
    RETRY_MS,
    Fault,
    encode,
    feed_event,
    feed_plans,
    number_of,
    prompt_of,
    reply_chunk,
    reply_plans,
    tokens_for,
)
from ._page import PAGE
from ._terminal import escape
from ._wire import BadRequest, Peer, Request

FEED: Final = "/feed"
CHAT: Final = "/v1/chat"

_HOST: Final = "127.0.0.1"
_REQUEST_TIMEOUT: Final = 10.0
_HEARTBEAT_EVERY: Final = 10
_WENT_AWAY: Final = (OSError, EOFError)


class PortError(Exception):
    """There is no serving on this port."""


@final
class DemoServer:
    """A running server, and what it did so far."""

    def __init__(
        self, listener: socket.socket, *, seed: int, drop: bool, gap: float, on_visit: Callable[[str], object]
    ) -> None:
        self.port: Final[int] = listener.getsockname()[1]
        self.url: Final = f"http://{_HOST}:{self.port}"
        self.seed: Final = seed
        self.drops: Counter[tuple[str, Fault]] = Counter()
        """How often each path failed, and how."""
        self.replies_begun = 0
        self._listener = listener
        self._gap = gap
        self._on_visit = on_visit
        self._feed_plans = feed_plans(seed, drop=drop)
        self._reply_plans = reply_plans(seed, drop=drop)

    async def run(self, tasks: TaskGroup) -> None:
        """Take connections until it is cancelled."""
        while True:
            await anyio.wait_readable(self._listener)
            try:
                sock, _ = self._listener.accept()
            except OSError:  # it is gone already
                continue
            tasks.start_soon(self._serve, sock)

    async def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(*_WENT_AWAY):  # then nobody is there to be told
            peer = Peer(sock)
            try:
                with anyio.fail_after(_REQUEST_TIMEOUT):
                    request = await peer.read_request()
                await self._visit(peer, request)
            except BadRequest as error:
                await peer.respond(error.status, f"{error.status.value} {error.status.phrase}\n")

    async def _visit(self, peer: Peer, request: Request) -> None:
        try:
            outcome = await self._answer(peer, request)
        except _WENT_AWAY:
            outcome = "the client went away"
        self._on_visit(escape(f"{request.method} {request.target} – {outcome}"))

    async def _answer(self, peer: Peer, request: Request) -> str:
        """Answer, and tell how that went."""
        match request.method, request.path:
            case "GET", "/":
                await peer.respond(HTTPStatus.OK, PAGE, "text/html")
                return "the page"
            case "GET", "/feed":
                return await self._feed(peer, request)
            case "POST", "/v1/chat":
                return await self._chat(peer, request)
            case _, "/" | "/feed" | "/v1/chat":
                raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED)
        raise BadRequest(HTTPStatus.NOT_FOUND)

    # --- the feed ---

    async def _feed(self, peer: Peer, request: Request) -> str:
        after = number_of(request.headers.get("last-event-id") or request.parameter("after"))
        until = number_of(request.parameter("until"))
        if until and after >= until:
            await peer.respond(HTTPStatus.NO_CONTENT)
            return "204, there is no more"
        fault, length = next(self._feed_plans)
        if fault is Fault.REFUSE:
            return await self._unavailable(peer, FEED)
        await peer.start_stream()
        await peer.chunk(f"retry: {RETRY_MS}\n\n".encode())
        for number in count(after + 1):
            await anyio.sleep(self._gap)
            if until and number > until:
                fault, length = Fault.END, 0
            event = feed_event(self.seed, number).encode()
            if fault is not None and number > after + length:
                self.drops[FEED, fault] += 1
                await _break(peer, fault, event)
                return f"{number - after - 1} events after {after}, then {fault}"
            await peer.chunk(event)
            if number % _HEARTBEAT_EVERY == 0:
                await peer.chunk(b": heartbeat\n\n")
        raise AssertionError("numbers do not end")  # pragma: no cover - they do not

    # --- the LLM ---

    async def _chat(self, peer: Peer, request: Request) -> str:
        prompt = prompt_of(request.body)
        if prompt is None:
            problem = {"error": "send JSON with a prompt, or with messages"}
            await peer.respond(HTTPStatus.BAD_REQUEST, json.dumps(problem), "application/json")
            return "400, no prompt"
        fault, length = next(self._reply_plans)
        if fault is Fault.REFUSE:
            return await self._unavailable(peer, CHAT)
        self.replies_begun += 1
        await peer.start_stream()
        tokens = tokens_for(prompt)
        for index, token in enumerate(tokens):
            await anyio.sleep(self._gap)
            event = encode(reply_chunk(token))
            if fault is not None and index == length:
                self.drops[CHAT, fault] += 1
                await _break(peer, fault, event)
                return f"{index} tokens, then {fault}"
            # In two pieces, which may well part the bytes of a character.
            await peer.chunk(event[: len(event) // 2])
            await peer.chunk(event[len(event) // 2 :])
        await peer.chunk(encode(reply_chunk(None)) + encode(DONE))
        await peer.end()
        return f"{len(tokens)} tokens"

    async def _unavailable(self, peer: Peer, path: str) -> str:
        self.drops[path, Fault.REFUSE] += 1
        busy = "busy, come back later\n"
        await peer.respond(HTTPStatus.SERVICE_UNAVAILABLE, busy, Retry_After=str(RETRY_AFTER))
        return f"503, come back in {RETRY_AFTER} s"


async def _break(peer: Peer, fault: Fault, event: bytes) -> None:
    """End a stream before its time, in the way of the fault; half of an event may still go out."""
    if fault is Fault.END:
        await peer.end()
    elif fault is Fault.CUT:
        await peer.cut(event)
    else:
        await peer.reset(event)


def _listening(port: int) -> socket.socket:
    try:
        listener = socket.create_server((_HOST, port), backlog=128)
    except OSError as error:
        raise PortError(f"cannot serve on port {port}: {os.strerror(error.errno or 0)}") from error
    listener.settimeout(0)
    return listener


@asynccontextmanager
async def serve_demo(
    *,
    port: int = 0,
    seed: int = 1,
    drop: bool = True,
    gap: float = 0.01,
    on_visit: Callable[[str], object] = lambda text: None,
) -> AsyncIterator[DemoServer]:
    """Serve on the loopback interface for as long as the block runs.

    What a client gets depends on ``seed`` and on the order of requests, and on nothing else.

    Args:
        port: 0 is a free one.
        seed: Other prices, other drops.
        drop: Whether connections fail now and then.
        gap: Seconds between two events.
        on_visit: Is called with a line of text, safe to print, for every request that was answered.

    Raises:
        PortError: The port is taken, or not for everyone.
    """
    error: Exception | None = None
    with _listening(port) as listener:
        demo = DemoServer(listener, seed=seed, drop=drop, gap=gap, on_visit=on_visit)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(demo.run, tasks)
            try:
                yield demo
            except Exception as exc:  # noqa: BLE001 - kept from the group, which would wrap it
                error = exc
            tasks.cancel_scope.cancel()
    if error is not None:
        raise error
