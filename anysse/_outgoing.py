"""One request on its way out: what is to be sent, and how. Knows AnyIO, and no httpx."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from ssl import SSLContext
from typing import TypeAlias, TypeVar

import anyio

from ._http11 import RawHeaders, TransportFailure, chunk_of
from ._wire import CLOSE_GRACE, Origin, Wire

Result = TypeVar("Result")
Trace: TypeAlias = Callable[[str, dict[str, object]], Awaitable[None]]
"""Told of each step, by the names that httpcore has for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRequest:
    """What is to be sent, to whom, and how long each step may take: seconds, or None."""

    origin: Origin
    method: bytes
    target: bytes
    headers: RawHeaders
    body: AsyncIterable[bytes] | Iterable[bytes]
    tls_context: Callable[[], SSLContext]
    """Gives the context for TLS, if that is what the origin wants."""
    translate: Callable[[TransportFailure], Exception]
    """What whoever reads the body gets in the place of a failure."""
    connect_timeout: float | None
    read_timeout: float | None
    write_timeout: float | None
    trace: Trace | None = None


class Sending:
    """One request on its way out."""

    def __init__(self, wire: Wire, request: OutgoingRequest, head: bytes, length: int | None) -> None:
        self._wire = wire
        self._request = request
        self._unsent = head
        self._length = length
        self._sent = 0

    async def run(self) -> None:
        """Send it; a server that hangs up may have answered before."""
        trace = self._request.trace
        try:
            if trace is not None or self._length is None:
                await traced(trace, "http11.send_request_headers", {}, self._flush)
            await traced(trace, "http11.send_request_body", {}, self._send_body)
        except TransportFailure as failure:
            if failure.kind != "WriteError":
                raise

    async def _send_body(self) -> None:
        body = self._request.body
        if isinstance(body, Iterable):
            for piece in body:
                await self._send(piece)
        else:
            await self._send_pieces(aiter(body))
        if self._length is None:
            self._unsent += chunk_of(b"")
        elif self._sent != self._length:
            raise TransportFailure("LocalProtocolError", "the body is shorter than its Content-Length")
        await self._flush()

    async def _send_pieces(self, pieces: AsyncIterator[bytes]) -> None:
        try:
            async for piece in pieces:
                await self._send(piece)
        finally:
            # A generator that is left in its middle is for trio a mistake.
            if isinstance(pieces, AsyncGenerator):
                with anyio.move_on_after(CLOSE_GRACE, shield=True):
                    await pieces.aclose()

    async def _send(self, piece: bytes) -> None:
        if not piece:  # as a chunk it would be the end
            return
        self._sent += len(piece)
        if self._length is not None and self._sent > self._length:
            raise TransportFailure("LocalProtocolError", "the body is longer than its Content-Length")
        self._unsent += piece if self._length is not None else chunk_of(piece)
        await self._flush()

    async def _flush(self) -> None:
        data, self._unsent = self._unsent, b""
        if data:
            await self._wire.send(data, self._request.write_timeout)


async def traced(
    trace: Trace | None, name: str, info: dict[str, object], call: Callable[[], Awaitable[Result]]
) -> Result:
    """Do one step, and have it told of."""
    if trace is None:
        return await call()
    await trace(f"{name}.started", info)
    try:
        result = await call()
    except BaseException as exc:
        with anyio.move_on_after(CLOSE_GRACE, shield=True):
            await trace(f"{name}.failed", {"exception": exc})
        raise
    await trace(f"{name}.complete", {"return_value": result})
    return result
