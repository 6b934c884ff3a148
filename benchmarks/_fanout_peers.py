"""The peers of `fanout`: how each of them reads many streams. Measures nothing.

A peer is an async context manager that gives a function, which opens one stream, says so, and hands on the
data of each event until it is told that it is enough. All streams share what the peer would have its user
share: one client. `aiohttp` only reads lines, and `bare` (sockets of AnyIO's, httptools, a split at blank
lines) parses no more than that: nobody need be below these two.
"""

# ruff: noqa: INP001, S113 - a script's; no timeout is one more thing that no peer pays for

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, TypeAlias

import anyio

Take: TypeAlias = Callable[[str | bytes], bool]
"""Takes the data of an event, and says whether it was enough."""
Read: TypeAlias = Callable[[Callable[[], None], Take], Coroutine[Any, Any, None]]
"""Opens a stream, says so, and has what it reads taken."""
Kind: TypeAlias = Literal["feed", "reply"]
"""Whether a stream goes on for ever, or ends."""
Peer: TypeAlias = Callable[[str, Kind], AbstractAsyncContextManager[Read]]


@asynccontextmanager
async def by_anysse(url: str, kind: Kind) -> AsyncIterator[Read]:
    """Read with one StreamClient."""
    import anysse

    decode = anysse.decoders.text
    async with anysse.StreamClient(url, method="GET", kind=kind, decode=decode) as client:

        async def read(opened: Callable[[], None], take: Take) -> None:
            async with client.stream() as messages:
                opened()
                async for data in messages:
                    if take(data):
                        break

        yield read


def by_open_stream(make_client: Callable[[], Any] | None) -> Peer:
    """Read with `open_stream`, over one client or each stream with its own."""

    @asynccontextmanager
    async def peer(url: str, kind: Kind) -> AsyncIterator[Read]:
        import anysse

        client = make_client() if make_client is not None else None

        async def read(opened: Callable[[], None], take: Take) -> None:
            async with anysse.open_stream(url, client=client, kind=kind) as events:
                opened()
                async for event in events:
                    if take(event.data):
                        break

        yield read
        if client is not None:
            await client.aclose()

    return peer


def httpx_client() -> Any:
    """Make a client of httpx that has no bounds."""
    import httpx

    return httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))


def httpx_client_over_anysse() -> Any:
    """Make a client of httpx over our transport."""
    import httpx

    import anysse

    transport: Any = anysse
    return httpx.AsyncClient(transport=transport.StreamingTransport())


@asynccontextmanager
async def by_httpx_sse(url: str, _: Kind) -> AsyncIterator[Read]:
    """Read with httpx-sse."""
    import httpx_sse

    async with httpx_client() as client:

        async def read(opened: Callable[[], None], take: Take) -> None:
            async with httpx_sse.aconnect_sse(client, "GET", url) as source:
                opened()
                async for event in source.aiter_sse():
                    if take(event.data):
                        break

        yield read


@asynccontextmanager
async def by_httpx2(url: str, _: Kind) -> AsyncIterator[Read]:
    """Read with httpx2's own."""
    import httpx2

    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=None, limits=limits) as client:

        async def read(opened: Callable[[], None], take: Take) -> None:
            async with client.sse(url) as events:
                opened()
                async for event in events:
                    if take(event.data):
                        break

        yield read


@asynccontextmanager
async def by_aiohttp(url: str, _: Kind) -> AsyncIterator[Read]:
    """Read lines with aiohttp."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

        async def read(opened: Callable[[], None], take: Take) -> None:
            async with session.get(url) as response:
                opened()
                async for line in response.content:
                    if line.startswith(b"data:") and take(line[6:]):
                        break

        yield read


class Body:
    """What httptools found in the bytes of a response."""

    def __init__(self) -> None:
        self.is_begun = self.is_complete = False
        self.pieces: list[bytes] = []

    def on_headers_complete(self) -> None:
        """Know that the head is there."""
        self.is_begun = True

    def on_message_complete(self) -> None:
        """Know that nothing follows."""
        self.is_complete = True

    def on_body(self, piece: bytes) -> None:
        """Keep a piece."""
        self.pieces.append(piece)


@asynccontextmanager
async def by_bare_sockets(url: str, _: Kind) -> AsyncIterator[Read]:
    """Read with a socket of AnyIO's and httptools."""
    import httptools

    asked = httptools.parse_url(url.encode())
    request = b"GET %b?%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (asked.path, asked.query, asked.host)

    async def read(opened: Callable[[], None], take: Take) -> None:
        async with await anyio.connect_tcp(asked.host.decode(), asked.port) as peer:
            await peer.send(request)
            body = Body()
            parser = httptools.HttpResponseParser(body)
            while not body.is_begun:
                parser.feed_data(await peer.receive())
            opened()
            rest = b""
            while True:
                *events, rest = (rest + b"".join(body.pieces)).split(b"\n\n")
                body.pieces.clear()
                for event in events:
                    if take(event[6:]):
                        return
                if body.is_complete:
                    return
                parser.feed_data(await peer.receive())

    yield read


READERS: dict[str, Peer] = {
    "anysse": by_anysse,
    "anysse-open": by_open_stream(None),
    "anysse-httpx": by_open_stream(httpx_client),
    "anysse-transport": by_open_stream(httpx_client_over_anysse),
    "httpx-sse": by_httpx_sse,
    "httpx2": by_httpx2,
    "aiohttp": by_aiohttp,
    "bare": by_bare_sockets,
}
