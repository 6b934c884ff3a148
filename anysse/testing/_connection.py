"""One connection of a client, as a script sees it: what may be done there. Knows AnyIO, and no client."""

import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeAlias

import anyio
from anyio.abc import ByteStream, ObjectSendStream
from anyio.lowlevel import checkpoint
from anyio.streams.tls import TLSStream

from anysse._check import check_number
from anysse._groups import bare_exception

from ._arguments import check_expected, check_pieces, check_redirect, check_text, check_until, checked_head
from ._lines import Line
from ._requests import ANY, Request, RequestReader, ScriptFailed, asks_to_close, differences
from ._responses import WITHOUT_BODY, Content, HeaderItems, comment, encoded, response_head

_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, ssl.SSLError)
"""What a line raises once either side has closed it, or broke what it agreed to."""

_POLL: Final = 0.01
"""Seconds between two looks at an event of another thread."""


class ClientLeft(anyio.BrokenResourceError):
    """What a connection raises once it is closed: no error of a step that is its own looks like it."""


class Waitable(Protocol):
    """What can be waited for: an ``anyio.Event``, or that of asyncio or trio."""

    async def wait(self) -> object:
        """Return once it has happened."""


class Host(Protocol):
    """What a connection knows of its server."""

    def changed(self) -> None:
        """Be told that the connection is not what it was."""

    def refuse_for(self, seconds: float) -> None:
        """Have nobody connect for a while."""


class Connection:
    """A connection of a client, and the request that it waits on: what a step of a script is called with.

    Its methods do what the steps of the same names do. Once the client has closed the connection they
    raise, which ends the script and is no failure. A wrong argument is an ``InvalidRequest``.

    Attributes:
        request: The request that is being answered.
        is_open: Whether this side has not closed it.
        closed_by_peer: Set once the client has closed it.
        closed_at: When this side closed it, in seconds on the event loop's clock, or None.
    """

    request: Request

    def __init__(self, line: Line, host: Host) -> None:
        self._line = line
        self._stream: ByteStream = line  # that, or the one of TLS on it
        self._reader = RequestReader(line)
        self._waiting = 0  # requests that came, and wait for their turn
        self._turn = anyio.Lock(fast_acquire=True)  # two tasks of a step send one after the other
        self._host = host
        self._every: int | None = None
        self._pause = 0.0
        self._is_begun = self._is_written = False
        self._is_closed_by_script = False
        self._is_answered = True
        self._is_chunked = False
        self._is_bodiless = False
        self._is_last = False
        self._is_over = anyio.Event()  # either side has closed it
        self.is_open: bool = True
        self.closed_by_peer: anyio.Event = anyio.Event()
        self.closed_at: float | None = None

    # What a script may do.

    async def respond(
        self,
        status: int = 200,
        headers: HeaderItems = (),
        body: Content | None = None,
        *,
        chunked: bool = True,
    ) -> None:
        """Send the head of a response; with ``body`` all of it."""
        items = checked_head(status, headers)
        content = None if body is None else encoded(body, "body")
        async with self._turn:
            await self._respond(status, items, content, chunked=chunked)

    async def send(self, data: Content) -> None:
        """Send a piece of the body, in the framing that the head announced."""
        await self._send(encoded(data), self._every, self._pause)

    async def comment(self, text: str = "") -> None:
        """Send a comment."""
        check_text("text", text)
        await self.send(comment(text))

    async def trickle(self, data: Content, *, pause: float = 0.0) -> None:
        """Send a piece of the body a byte at a time."""
        check_pieces(1, pause)
        await self._send(encoded(data), 1, pause)

    async def split(self, *, every: int | None, pause: float = 0.0) -> None:
        """Have what is sent from now on go out in pieces of so many bytes; None no longer."""
        check_pieces(every, pause)
        self._every, self._pause = every, pause
        await checkpoint()

    async def write(self, data: bytes | str) -> None:
        """Write bytes as they are; to a response whose head was written so, its end adds nothing."""
        content = encoded(data)
        async with self._turn:
            self._is_written = True
            await self._put(content)

    async def wait(self, until: float | Waitable | threading.Event) -> None:
        """Wait for so many seconds, or for an event."""
        check_until(until)
        if isinstance(until, int | float):
            await anyio.sleep(until)
        elif isinstance(until, threading.Event):
            while not until.is_set():  # noqa: ASYNC110 - nothing else tells of it without blocking a thread
                await anyio.sleep(_POLL)
        else:
            await until.wait()

    async def end(self) -> None:
        """End the response as it should be; the connection stays for another request, where it may."""
        async with self._turn:
            await self._finish()
        self._host.changed()
        if self._is_last:
            self._close()

    async def drop(self) -> None:
        """Close the connection, in the middle of whatever goes on."""
        self._close()
        await checkpoint()

    async def reset(self) -> None:
        """Close the connection with a TCP reset."""
        self._close(reset=True)
        await checkpoint()

    async def truncate(self, data: Content = "data: cut") -> None:
        """Send a chunk that is a byte shorter than it says, and close the connection."""
        content = encoded(data)
        async with self._turn:
            await self._begin()
            self._check_unanswered()
            size = b"%x\r\n" % (len(content) + 1) if self._is_chunked else b""
            await self._put(b"" if self._is_bodiless else size + content)
        await self.drop()

    async def hang(self) -> None:
        """Send nothing more, and hold the connection open until the client closes it."""
        self._check_unclosed()
        await self._is_over.wait()

    async def redirect(self, location: str, status: int = 302) -> None:
        """Answer that what is asked for is elsewhere."""
        check_redirect(location, status)
        await self.respond(status, {"Location": location}, b"")

    async def refuse(self, seconds: float) -> None:
        """Close the connection and those that are idle, and have nobody connect for a while."""
        check_number("seconds", seconds, minimum=0)
        self._host.refuse_for(seconds)
        await self.drop()

    async def expect(
        self,
        *,
        method: str | None = None,
        target: str | None = None,
        header: Mapping[str, str | None] | None = None,
        body: bytes | str | None = None,
        json: object = ANY,
    ) -> None:
        """Go on if the request is such a one, else fail."""
        check_expected(method, target, header, body, json)
        await checkpoint()
        found = differences(
            self.request, method=method, target=target, header=header or {}, body=body, json=json
        )
        if problems := "\n".join(found):
            raise ScriptFailed(problems, self.request)

    # What the server does.

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way, nor on its way."""
        is_free = self._is_answered and not self._waiting and self._reader.is_idle
        return is_free or self._is_over.is_set()

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection at once."""
        if self.is_open:
            self.is_open = False
            self._is_over.set()
            self.closed_at = anyio.current_time()
            self._line.hang_up(reset=reset)
            self._host.changed()

    async def run(
        self, answer: "Callable[[Connection], Awaitable[None]]", context: ssl.SSLContext | None
    ) -> None:
        """Have request after request answered, until either side closes."""
        try:
            if context is None or await self._is_trusted(context):
                with bare_exception():
                    await self._answer_all(answer)
        finally:
            self.hang_up()

    async def _is_trusted(self, context: ssl.SSLContext) -> bool:
        """Agree on TLS; tell whether the client did."""
        try:
            self._stream = await TLSStream.wrap(
                self._line, server_side=True, ssl_context=context, standard_compatible=False
            )
        except _GONE:
            return False
        self._reader = RequestReader(self._stream)
        return True

    async def _answer_all(self, answer: "Callable[[Connection], Awaitable[None]]") -> None:
        send_requests, requests = anyio.create_memory_object_stream[Request](16)
        with send_requests, requests:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read_requests, send_requests)
                async for self.request in requests:
                    self._waiting -= 1
                    if not self.is_open:  # what came too late is answered by nobody
                        break
                    await self._answer(answer)
                tasks.cancel_scope.cancel()

    async def _read_requests(self, requests: ObjectSendStream[Request]) -> None:
        async with requests:
            try:
                while True:
                    request = await self._reader.read()
                    self._waiting += 1
                    self._host.changed()
                    await requests.send(request)
            except _GONE:
                if self.is_open:  # it was not us
                    self.closed_by_peer.set()
                    self._is_over.set()
                    self._host.changed()

    async def _answer(self, answer: "Callable[[Connection], Awaitable[None]]") -> None:
        self._is_begun = self._is_written = self._is_answered = False
        self._is_chunked = self._is_bodiless = False
        self._is_last = asks_to_close(self.request)
        self._every, self._pause = None, 0.0
        try:
            await answer(self)
            if self.is_open:
                await self.end()
        except ClientLeft:
            self.hang_up()

    async def _respond(
        self, status: int, headers: HeaderItems, content: bytes | None, *, chunked: bool
    ) -> None:
        if self._is_begun:
            raise ScriptFailed("the response has begun: a second head can only be written, with write()")
        is_old = self.request.http_version == "HTTP/1.0"  # which knows no chunks
        length = None if content is None else len(content)
        head = response_head(status, headers, length, chunked=chunked and not is_old)
        self._is_begun = True
        self._is_chunked = head.is_chunked
        self._is_bodiless = self.request.method == "HEAD" or status in WITHOUT_BODY
        self._is_last = self._is_last or head.is_last
        if content is None:
            await self._put(head.data)
        else:
            await self._put(head.data + self._framed(content) + self._ending())
            self._is_answered = True
            self._host.changed()

    async def _send(self, content: bytes, every: int | None, pause: float) -> None:
        every = every or len(content) or 1
        async with self._turn:
            await self._begin()
            self._check_unanswered()
            for start in range(0, len(content) or 1, every):
                if start:
                    await (anyio.sleep(pause) if pause else checkpoint())
                await self._put(self._framed(content[start : start + every]))

    async def _finish(self) -> None:
        if self._is_answered:
            return
        if not self._is_written:
            await self._begin()
        await self._put(self._ending())
        self._is_answered = True

    async def _begin(self) -> None:
        if not self._is_begun:
            await self._respond(200, (), None, chunked=True)

    def _close(self, *, reset: bool = False) -> None:
        """Close it as the script says."""
        self._is_closed_by_script = True
        self.hang_up(reset=reset)

    def _check_unanswered(self) -> None:
        if self._is_answered:
            raise ScriptFailed("the response is over: what comes after it can only be written, with write()")

    def _check_unclosed(self) -> None:
        if self._is_closed_by_script:
            raise ScriptFailed("the script has closed the connection: nothing can be sent any more")

    async def _put(self, data: bytes) -> None:
        self._check_unclosed()
        if not data:  # of a response without a body: no line would notice that the client left
            await checkpoint()
            if self._is_over.is_set():
                raise ClientLeft
            return
        try:
            await self._stream.send(data)
        except _GONE as exc:
            raise ClientLeft from exc

    def _framed(self, content: bytes) -> bytes:
        if self._is_bodiless:
            return b""
        return b"%x\r\n%b\r\n" % (len(content), content) if self._is_chunked and content else content

    def _ending(self) -> bytes:
        return b"0\r\n\r\n" if self._is_chunked and not self._is_bodiless else b""


Step: TypeAlias = Callable[[Connection], Awaitable[None]]
"""One step of a script: those of this module, or an async function of your own."""
