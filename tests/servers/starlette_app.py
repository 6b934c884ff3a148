"""Event streams as an application of Starlette and sse-starlette gives them, under uvicorn.

A process of its own: it prints its port once connections are taken, and ends at SIGTERM. `plain.mjs` answers
the same, in Node; `tests/test_real_servers.py` reads both. It knows nothing of anysse.
"""

# ruff: noqa: INP001, T201 - a program, which prints

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LAST = 30
EACH = 10
"""How many numbers come over one connection."""
CUT_AT = 20
"""The number after which a connection is not ended but cut, in the middle of an event."""

prompts: Counter[str] = Counter()
readers = 0


class Cut(Exception):
    """What an application that crashes raises."""


async def feed(request: Request) -> Response:
    """Give the numbers after the last event ID, some of them; 204 after the last one."""
    received = int(request.headers.get("last-event-id", "0"))
    if received >= LAST:
        return Response(status_code=204)
    return EventSourceResponse(numbers(received))


async def numbers(received: int) -> AsyncIterator[ServerSentEvent | bytes]:
    """Give the events of one connection."""
    yield ServerSentEvent(comment="welcome", retry=100)
    for number in range(received + 1, received + EACH + 1):
        yield ServerSentEvent(f"{number}\nünï", event="number", id=str(number))
    if received + EACH == CUT_AT:
        yield b"id: 1000\r\ndata: 10"
        raise Cut


async def chat(request: Request) -> Response:
    """Say the prompt back, a word at a time."""
    if request.headers.get("content-type") != "application/json":
        return JSONResponse({"error": "JSON, please"}, status_code=415)
    question = await request.json()
    prompt = question["prompt"]
    prompts[prompt] += 1
    times = {"X-Times": str(prompts[prompt])}
    return EventSourceResponse(words(prompt, is_cut=question.get("cut", False)), headers=times)


async def words(prompt: str, *, is_cut: bool) -> AsyncIterator[ServerSentEvent]:
    """Give an answer."""
    for word in prompt.split(" "):
        yield ServerSentEvent(f" {word}")
    if is_cut:
        raise Cut
    yield ServerSentEvent("[DONE]")


async def held(_: Request) -> Response:
    """Give one event, and nothing but pings after it."""
    return EventSourceResponse(one_event(), ping=0.05)


async def one_event() -> AsyncIterator[ServerSentEvent]:
    """Count whoever reads."""
    global readers  # noqa: PLW0603 - one process, one count
    readers += 1
    try:
        yield ServerSentEvent("one")
        await asyncio.Event().wait()
    finally:
        readers -= 1


async def count_readers(_: Request) -> Response:
    """Tell how many have not gone away."""
    return JSONResponse(readers)


def main() -> None:
    """Serve, on a free port."""
    app = Starlette(
        routes=[
            Route("/feed", feed),
            Route("/chat", chat, methods=["POST"]),
            Route("/held", held),
            Route("/readers", count_readers),
        ]
    )
    # It listens before its port is known: whoever connects from then on is served.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
