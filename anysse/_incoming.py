"""What one connection brings in answer: the head of a response, then its body. Knows AnyIO, and no httpx."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import anyio

from ._http11 import ResponseHead, ResponseParser, TransportFailure, is_last
from ._log import logger
from ._outgoing import OutgoingRequest, traced
from ._wire import CLOSE_GRACE, Wire


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
            await traced(self._trace, "http11.response_closed", {}, self._let_go)
        finally:
            if not self._is_let_go:  # the trace failed, or was cancelled
                await self.wire.aclose()

    async def _let_go(self) -> None:
        self._is_let_go = True
        if self._parser.is_complete and self._parser.is_reusable and not self._is_last:
            await self._give_back(self.wire)
        else:
            await hang_up(self.wire)


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


async def hang_up(wire: Wire) -> None:
    """Close a connection, and say so."""
    logger.debug("closed the connection to %s:%d", wire.origin.host, wire.origin.port)
    await wire.aclose()
