"""What tests of streams share: HTTP in memory, time that jumps, and an observer that remembers."""

import asyncio
import gzip
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anysse
from tests.server import EVENT_STREAM

F = TypeVar("F")


def gzip_of(data: bytes) -> bytes:
    """Compress the same way at any time: the name of a test may have its bytes in it."""
    return gzip.compress(data, mtime=0)


@dataclass(kw_only=True)
class Answer:
    """What a server in memory says to one request."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = (("Content-Type", EVENT_STREAM),)
    parts: AsyncIterable[bytes] | Iterable[bytes] = ()
    after: Callable[[], Awaitable[None]] | None = None
    """What happens once the parts are sent, before the body ends."""
    is_closed: bool = field(default=False, init=False)
    """Whether the client closed the response."""


Script: TypeAlias = Callable[[Any], Awaitable[Answer]]


def stream_of(*parts: bytes, **options: Any) -> Answer:
    return Answer(parts=parts, **options)


def held_stream(*parts: bytes, **options: Any) -> Answer:
    return Answer(parts=parts, after=anyio.sleep_forever, **options)


def memory_client(library: ModuleType, *answers: "Answer | Script | Exception", **options: Any) -> Any:
    """Make a client whose requests are answered in memory, one answer a request; ``client.sent`` has them.

    Nothing in it takes time, or waits, but what the answers do. An exception is raised before anything
    is sent.
    """
    left = list(answers)

    class Body(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, answer: Answer) -> None:
            self._answer = answer

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for part in one_by_one(self._answer.parts):
                yield part
            if self._answer.after is not None:
                await self._answer.after()

        async def aclose(self) -> None:
            self._answer.is_closed = True

    class Transport(library.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            await checkpoint()
            if left and isinstance(left[0], Exception):
                raise left.pop(0)
            # Not aread(), after which the request would have its body at hand.
            content = b"".join([part async for part in request.stream])
            client.sent.append(copied(request, content))
            answer = left.pop(0)
            if not isinstance(answer, Answer):
                answer = await answer(request)
            return library.Response(answer.status, headers=list(answer.headers), stream=Body(answer))

    def copied(request: Any, content: bytes) -> Any:
        headers, extensions = request.headers.copy(), request.extensions
        return library.Request(
            request.method, request.url, headers=headers, content=content, extensions=extensions
        )

    client = library.AsyncClient(transport=Transport(), **options)
    client.sent = []
    return client


class Tap:
    """A body that gives what a test puts in, when it does; nobody has to close it."""

    def __init__(self) -> None:
        self._parts: deque[bytes | None] = deque()
        self._arrival: anyio.Event | None = None

    def put(self, data: bytes | None) -> None:
        self._parts.append(data)
        if self._arrival is not None:
            self._arrival.set()

    def end(self) -> None:
        self.put(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while not self._parts:
                self._arrival = anyio.Event()
                await self._arrival.wait()
            part = self._parts.popleft()
            if part is None:
                return
            yield part


async def one_by_one(parts: AsyncIterable[bytes] | Iterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(parts, AsyncIterable):
        async for part in parts:
            yield part
    else:
        for part in parts:
            await checkpoint()
            yield part


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    """Run on trio with a clock that jumps to the next deadline whenever all tasks wait."""
    trio = pytest.importorskip("trio")
    testing = pytest.importorskip("trio.testing")
    trio.run(main, clock=testing.MockClock(autojump_threshold=0))


class Recorder(anysse.Observer):
    """Keeps the facts of a stream."""

    def __init__(self) -> None:
        self.facts: list[anysse.Fact] = []

    def observe(self, fact: anysse.Fact, /) -> None:
        self.facts.append(fact)

    def of(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def statuses(self) -> list[str]:
        return [fact.status.value for fact in self.of(anysse.StatusChanged)]


async def data_of(events: "anysse.EventStream") -> list[str]:
    """Read a stream to its end."""
    return [event.data async for event in events]


async def turns(count: int) -> None:
    """Let the event loop turn so many times."""
    for _ in range(count):
        await checkpoint()


def living_tasks(backend: str) -> int:
    """How many tasks there are, this one and the library's own included."""
    if backend == "trio":
        import trio

        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


@contextmanager
def at_full_speed(backend: str) -> Iterator[None]:
    """Switch asyncio's debug mode off, which makes these ten times slower, and tells nothing about them."""
    if backend == "trio":
        yield
        return
    loop = asyncio.get_running_loop()
    was_debugged = loop.get_debug()
    loop.set_debug(False)
    try:
        yield
    finally:
        loop.set_debug(was_debugged)
