"""Which connection carries what: opens them, has a request answered on each, keeps idle ones. No httpx."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import anyio
from anyio.lowlevel import current_token

from ._http11 import ResponseHead, TransportFailure, request_body_length, request_head
from ._incoming import ResponseBody, TracedBody, hang_up
from ._log import logger
from ._outgoing import OutgoingRequest, Sending, traced
from ._wire import Origin, Wire

_REPEATABLE: Final = (b"GET", b"HEAD", b"OPTIONS")
_HANGING_UP: Final = ("ReadError", "RemoteProtocolError")


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


class Connections:
    """Has requests answered, each on a connection of its own.

    Args:
        max_idle: How many connections are kept for another request.
        expiry: Seconds that they are kept; None for ever.
        wire: Makes a connection that is not yet open.
    """

    def __init__(self, *, max_idle: int, expiry: float | None, wire: Callable[[Origin], Wire] = Wire) -> None:
        self._max_idle = max_idle
        self._expiry = expiry
        self._make_wire = wire
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
        wire = self._make_wire(origin)
        info: dict[str, object] = {"host": origin.host, "port": origin.port, "timeout": timeout}
        try:
            await traced(trace, "connection.connect_tcp", info, lambda: wire.connect(timeout))
            if origin.is_tls:
                context = request.tls_context()
                info = {"ssl_context": context, "server_hostname": origin.server_hostname, "timeout": timeout}
                await traced(trace, "connection.start_tls", info, lambda: wire.start_tls(context, timeout))
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
            await Sending(wire, request, head, length).run()
            return await traced(request.trace, "http11.receive_response_headers", {}, body.read_head), body
        except BaseException as exc:
            if isinstance(exc, TransportFailure):
                exc.is_unanswered = not body.has_begun and exc.kind in _HANGING_UP
            await body.aclose()
            raise


async def _close(wires: Iterable[Wire]) -> None:
    left = iter(wires)
    try:
        for wire in left:
            await hang_up(wire)
    finally:  # asyncio's own cancellation knows no shield
        for wire in left:
            await wire.aclose()
