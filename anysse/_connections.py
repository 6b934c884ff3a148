"""Which connection carries what: opens them, has a request answered on each, keeps idle ones. No httpx."""

import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from ssl import SSLContext
from typing import Final, TypeAlias, TypeVar

import anyio
from anyio.lowlevel import current_token

from ._http11 import (
    RawHeaders,
    ResponseHead,
    ResponseParser,
    TransportFailure,
    chunk_of,
    is_last,
    request_body_length,
    request_head,
)
from ._log import logger
from ._wire import CLOSE_GRACE, Origin, Wire

Result = TypeVar("Result")
Trace: TypeAlias = Callable[[str, dict[str, object]], Awaitable[None]]
"""Told of each step, by the names that httpcore has for them."""

_REPEATABLE: Final = (b"GET", b"HEAD", b"OPTIONS")
_HANGING_UP: Final = ("ReadError", "RemoteProtocolError")


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


class IdleWires:
    """Connections that wait for another request; every step takes the same time, however many there are.

    Args:
        max_wires: How many are kept, of all origins together.
        expiry: Seconds that one is kept; None for as long as there is room.
    """

    def __init__(self, max_wires: int, expiry: float | None) -> None:
        self._max_wires = max_wires
        self._expiry = float("inf") if expiry is None else expiry
        self._all: OrderedDict[Wire, None] = OrderedDict()  # the one that has waited longest first
        self._by_origin: dict[Origin, OrderedDict[Wire, None]] = {}

    def put(self, wire: Wire, now: float) -> None:
        """Keep one that is not in use any more."""
        wire.idle_since = now
        self._all[wire] = None
        self._by_origin.setdefault(wire.origin, OrderedDict())[wire] = None

    def take(self, origin: Origin) -> Wire | None:
        """Give the one that was in use last: the likeliest to be open still."""
        wires = self._by_origin.get(origin)
        return None if wires is None else self._taken(next(reversed(wires)))

    def take_surplus(self, now: float) -> list[Wire]:
        """Give those that nobody should use any more."""
        surplus = []
        while self._all:
            oldest = next(iter(self._all))
            if len(self._all) <= self._max_wires and now - oldest.idle_since < self._expiry:
                break
            surplus.append(self._taken(oldest))
        return surplus

    def take_all(self) -> list[Wire]:
        """Give all of them."""
        return [self._taken(wire) for wire in list(self._all)]

    def _taken(self, wire: Wire) -> Wire:
        del self._all[wire]
        wires = self._by_origin[wire.origin]
        del wires[wire]
        if not wires:
            del self._by_origin[wire.origin]
        return wire


class ResponseBody(AsyncIterator[bytes]):
    """The body of one response: a piece for each read from the socket that brought some.

    Whoever has it closes it. Cancelling a read closes its connection.
    """

    __slots__ = (
        "_first",
        "_give_back",
        "_is_last",
        "_is_let_go",
        "_is_released",
        "_parser",
        "_timeout",
        "_trace",
        "_translate",
        "has_begun",
        "wire",
    )

    def __init__(
        self, wire: Wire, request: OutgoingRequest, give_back: Callable[[Wire], Awaitable[None]]
    ) -> None:
        self.wire: Final = wire
        self.has_begun = False
        """Whether any byte of the response came."""
        self._give_back = give_back
        self._parser = ResponseParser(request.method)
        self._timeout = request.read_timeout
        self._trace = request.trace
        self._translate = request.translate
        self._is_last = is_last(request.headers)
        self._first = b""  # what came along with the head
        self._is_released = False
        self._is_let_go = False

    async def read_head(self) -> ResponseHead:
        """Wait for the head of the response."""
        parser = self._parser
        while parser.head is None:
            data = await self.wire.receive(self._timeout)
            self.has_begun = self.has_begun or bool(data)
            self._first = parser.feed(data) if data else parser.feed_eof()
        return parser.head

    async def __anext__(self) -> bytes:
        pieces: list[bytes] = []

        def take(piece: bytes) -> bool:
            pieces.append(piece)
            return False

        while not pieces:
            if not await self.pour(take):
                raise StopAsyncIteration
        return pieces[0]

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """Hand what comes to ``take``, until that gives False or for a while; tell whether there may be more.

        Where that is sooner, it is called in no task, and in any context.
        """
        parser = self._parser
        is_wanted = True

        def feed(data: bytes) -> bool:
            nonlocal is_wanted
            if self._is_released:
                raise TransportFailure("ReadError", "the response was closed while it was being read")
            piece = parser.feed(data) if data else parser.feed_eof()
            if piece:
                is_wanted = take(piece)
            return is_wanted and not parser.is_complete and parser.failure is None

        try:
            first, self._first = self._first, b""
            if first:
                is_wanted = take(first)
            if is_wanted and not parser.is_complete:
                parser.check()
                await (self.wire.pour(feed) if self._timeout is None else self._read_in_time(feed))
            if is_wanted and parser.is_complete:
                await self.aclose()
                return False
        except TransportFailure as failure:
            await self.aclose()
            raise self._translate(failure) from failure
        except anyio.BusyResourceError:  # it is the other task's to close
            raise
        except BaseException:
            await self.aclose()
            raise
        return True

    async def _read_in_time(self, feed: Callable[[bytes], bool]) -> None:
        feed(await self.wire.receive(self._timeout))

    async def aclose(self) -> None:
        """Let go of the connection: it is kept where all of the body was read, else closed."""
        if self._is_released:
            return
        self._is_released = True
        self._parser.release()
        try:
            await _traced(self._trace, "http11.response_closed", {}, self._let_go)
        finally:
            if not self._is_let_go:  # the trace failed, or was cancelled
                await self.wire.aclose()

    async def _let_go(self) -> None:
        self._is_let_go = True
        if self._parser.is_complete and self._parser.is_reusable and not self._is_last:
            await self._give_back(self.wire)
        else:
            await _close([self.wire])


class TracedBody(ResponseBody):
    """One whose reading is told of, too."""

    __slots__ = ("_is_begun", "_is_ended")

    def __init__(
        self, wire: Wire, request: OutgoingRequest, give_back: Callable[[Wire], Awaitable[None]]
    ) -> None:
        super().__init__(wire, request, give_back)
        self._is_begun = self._is_ended = False

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """Tell that the reading begins, then read."""
        if not self._is_begun:
            self._is_begun = True
            await self._tell("started", {})
        return await super().pour(take)

    async def aclose(self) -> None:
        """Tell how the reading ended, then let go of the connection."""
        try:
            if self._is_begun and not self._is_ended:
                self._is_ended = True
                await self._tell_end(sys.exception())
        finally:
            await super().aclose()  # noqa: ASYNC102 - it shields itself, for a bounded time

    async def _tell_end(self, failure: BaseException | None) -> None:
        if self._parser.is_complete:
            await self._tell("complete", {"return_value": None})
            return
        with anyio.move_on_after(CLOSE_GRACE, shield=True):
            await self._tell("failed", {"exception": failure})

    async def _tell(self, step: str, info: dict[str, object]) -> None:
        assert self._trace is not None  # noqa: S101 - else it were not of this class
        await self._trace(f"http11.receive_response_body.{step}", info)


class Connections:
    """Has requests answered, each on a connection of its own.

    Args:
        max_idle: How many connections are kept for another request.
        expiry: Seconds that they are kept; None for ever.
    """

    def __init__(self, *, max_idle: int, expiry: float | None) -> None:
        self._max_idle = max_idle
        self._expiry = expiry
        self._idle = IdleWires(max_idle, expiry)
        self._loop: object = None  # whose the idle ones are
        self._is_closed = False

    async def send(self, request: OutgoingRequest) -> tuple[ResponseHead, ResponseBody]:
        """Send a request, and wait for the head of its response.

        Raises:
            TransportFailure: It cannot be sent, there is no connection, or no answer that is one.
        """
        head = request_head(request.method, request.target, request.headers)
        length = request_body_length(request.headers)
        self._forget_dead_loop()
        wire = await self._idle_wire(request.origin)
        if wire is not None:
            try:
                return await self._exchange(wire, request, head, length)
            except TransportFailure as failure:
                # The server closed it meanwhile: it had waited for too long (RFC 9112, section 9.3.1).
                if not failure.is_unanswered or request.method not in _REPEATABLE or length != 0:
                    raise
        wire = await self._open(request)
        return await self._exchange(wire, request, head, length)

    async def aclose(self) -> None:
        """Close what is idle, and keep no more."""
        self._is_closed = True
        self._forget_dead_loop()
        await _close(self._idle.take_all())

    def _forget_dead_loop(self) -> None:
        """What another event loop left here cannot be used, nor closed."""
        loop = current_token()
        if loop != self._loop:
            self._loop, self._idle = loop, IdleWires(self._max_idle, self._expiry)

    async def _idle_wire(self, origin: Origin) -> Wire | None:
        await _close(self._idle.take_surplus(anyio.current_time()))
        while (wire := self._idle.take(origin)) is not None:
            if wire.is_quiet():
                logger.debug("reusing the connection to %s:%d", origin.host, origin.port)
                return wire
            await _close([wire])
        return None

    async def _give_back(self, wire: Wire) -> None:
        now = anyio.current_time()
        logger.debug("keeping the connection to %s:%d", wire.origin.host, wire.origin.port)
        self._idle.put(wire, now)
        await _close(self._idle.take_all() if self._is_closed else self._idle.take_surplus(now))

    async def _open(self, request: OutgoingRequest) -> Wire:
        origin, timeout, trace = request.origin, request.connect_timeout, request.trace
        wire = Wire(origin)
        info: dict[str, object] = {"host": origin.host, "port": origin.port, "timeout": timeout}
        try:
            await _traced(trace, "connection.connect_tcp", info, lambda: wire.connect(timeout))
            if origin.is_tls:
                context = request.tls_context()
                info = {"ssl_context": context, "server_hostname": origin.server_hostname, "timeout": timeout}
                await _traced(trace, "connection.start_tls", info, lambda: wire.start_tls(context, timeout))
        except BaseException:
            await wire.aclose()
            raise
        logger.debug("opened a connection to %s:%d", origin.host, origin.port)
        return wire

    async def _exchange(
        self, wire: Wire, request: OutgoingRequest, head: bytes, length: int | None
    ) -> tuple[ResponseHead, ResponseBody]:
        body = (ResponseBody if request.trace is None else TracedBody)(wire, request, self._give_back)
        try:
            await _Sending(wire, request, head, length).run()
            return await _traced(request.trace, "http11.receive_response_headers", {}, body.read_head), body
        except BaseException as exc:
            if isinstance(exc, TransportFailure):
                exc.is_unanswered = not body.has_begun and exc.kind in _HANGING_UP
            await body.aclose()
            raise


class _Sending:
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
                await _traced(trace, "http11.send_request_headers", {}, self._flush)
            await _traced(trace, "http11.send_request_body", {}, self._send_body)
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


async def _traced(
    trace: Trace | None, name: str, info: dict[str, object], call: Callable[[], Awaitable[Result]]
) -> Result:
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


async def _close(wires: Iterable[Wire]) -> None:
    left = iter(wires)
    try:
        for wire in left:
            logger.debug("closed the connection to %s:%d", wire.origin.host, wire.origin.port)
            await wire.aclose()
    finally:  # asyncio's own cancellation knows no shield
        for wire in left:
            await wire.aclose()
