"""One request to an ASGI application: what the client does, and what the application does and sees of it."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeAlias, cast, final

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint

Message: TypeAlias = dict[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Mapping[str, object]], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

CLOSE_GRACE: Final = 2.0
"""Seconds that the generator of a request's body has to end, once it is shielded."""
_WITHOUT_BODY: Final = frozenset({204, 304})
_CUT_SHORT: Final = (
    "the application ended without a response",
    "the application ended in the middle of its response",
)


@final
class ClientGone(BrokenPipeError):
    """What ``send`` raises once the client closed the response, as ASGI has it from 2.4 on."""


class Head(NamedTuple):
    """How a response begins."""

    status: int
    headers: list[tuple[bytes, bytes]]


class Exchange:
    """A request on its way and its response: the body of it, which the client reads and closes.

    ``receive`` and ``send`` are the application's, and ``finish`` is called once that has ended.
    """

    def __init__(self, request: Any, library: ModuleType, *, is_quiet: bool, raises: bool) -> None:
        """Begin.

        Args:
            request: The request, of httpx or httpx2.
            library: The one that it is of.
            is_quiet: Whether ``send`` does nothing once the client is gone, as before ASGI 2.4.
            raises: Whether the client gets what the application raises as it is.
        """
        self._request, self._library = request, library
        self._is_quiet, self._raises = is_quiet, raises
        self._timeout: float | None = request.extensions.get("timeout", {}).get("read")
        self._head: Head | None = None
        self._failure: Exception | None = None  # until whoever reads the response is told
        self._is_complete = self._is_gone = self._is_finished = self._is_read = False
        self._has_begun, self._is_over = anyio.Event(), anyio.Event()
        # Without a buffer: whoever sends waits for whoever reads.
        self._pieces_in, self._pieces_out = anyio.create_memory_object_stream[bytes](0)
        self._last = b""
        self._messages_in, self._messages_out = anyio.create_memory_object_stream[Message](0)
        self._upload = anyio.CancelScope()

    # --- what the application does ---

    async def receive(self) -> Message:
        """Give the next of the request, or wait until the response is over, one way or the other."""
        if self._is_over.is_set():
            # Applications ask in a cancelled scope whether the client is there: it is not to be cancelled.
            await cancel_shielded_checkpoint()
        else:
            with suppress(anyio.EndOfStream, anyio.ClosedResourceError):
                return await self._messages_out.receive()
            await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, object]) -> None:
        """Take a part of the response; return once whoever reads took it, but for the last, which is held."""
        kind = message["type"]
        if self._is_complete:
            raise RuntimeError(f"the application sent {kind!r} after the end of its response")
        if self._is_gone:
            await self._refuse()
        elif kind == "http.response.start" and self._head is None:
            self._begin(message)
        elif kind == "http.response.body" and self._head is not None:
            await self._continue(message)
        else:
            raise RuntimeError(
                f"the application sent {kind!r} {'after' if self._head else 'before'} the head"
            )

    def _begin(self, message: Mapping[str, object]) -> None:
        status, headers = message["status"], list(cast("Iterable[Any]", message.get("headers", ())))
        if not isinstance(status, int):
            raise TypeError(f"the status must be an int, not {status!r}")
        if not all(isinstance(name, bytes) and isinstance(value, bytes) for name, value in headers):
            raise TypeError("the names and the values of headers must be bytes")
        self._head = Head(status, [(name, value) for name, value in headers])
        # No checkpoint up to the end of the application's step: what it raises in it is an answer to the
        # request, as it is where a server of Starlette's answers 500, and raises.
        self._has_begun.set()

    async def _continue(self, message: Mapping[str, object]) -> None:
        body = message.get("body", b"")
        if not isinstance(body, bytes | bytearray | memoryview):
            raise TypeError(f"the body must be bytes, not {body!r}")
        piece = b"" if self._is_bodiless() else bytes(body)
        if not message.get("more_body", False):
            self._last, self._is_complete = piece, True
            self._end()
        elif not piece:
            await checkpoint()
        else:
            try:
                await self._pieces_in.send(piece)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._refuse()

    async def _refuse(self) -> None:
        if not self._is_quiet:
            raise ClientGone("the client closed the response")
        await checkpoint()

    def finish(self, failure: Exception | None) -> None:
        """Say that the application ended, and with what."""
        if failure is None and not self._is_complete and not self._is_gone:
            failure = RuntimeError(_CUT_SHORT[self._head is not None])
        if isinstance(failure, StopIteration | StopAsyncIteration):  # which would be taken for the end
            cause, failure = failure, RuntimeError(f"the application raised {type(failure).__name__}")
            failure.__cause__ = cause
        if self._failure is None:
            self._failure = failure
        self._is_finished = True
        self._has_begun.set()
        self._end()

    @property
    def untold(self) -> Exception | None:
        """What the client was to be told, and was not."""
        return self._failure if self._raises else None

    @property
    def is_done(self) -> bool:
        """Whether neither side has anything left to do with it, nor to hear of it."""
        return self._is_gone and self._is_finished and self.untold is None

    def _end(self) -> None:
        self._is_over.set()
        self._pieces_in.close()
        self._messages_out.close()
        self._upload.cancel()

    # --- what the client does ---

    async def upload(self) -> None:
        """Hand the body of the request over, a piece when the application asks for one."""
        stream = self._request.stream
        with self._upload, self._messages_in:
            if isinstance(stream, self._library.ByteStream):  # of which all is there
                await self._hand_over(b"".join(stream), more_body=False)
                return
            try:
                await self._upload_pieces(stream)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is for whoever sends the request
                self._failure, self._raises = exc, True
                self.leave()

    async def _upload_pieces(self, stream: AsyncIterable[bytes]) -> None:
        pieces = aiter(stream)
        try:
            async for piece in pieces:
                await self._hand_over(piece, more_body=True)
        finally:
            # A generator that is left in its middle is for trio a mistake.
            if isinstance(pieces, AsyncGenerator):
                with anyio.move_on_after(CLOSE_GRACE, shield=True):
                    await pieces.aclose()
        await self._hand_over(b"", more_body=False)

    async def _hand_over(self, piece: bytes, *, more_body: bool) -> None:
        with suppress(anyio.BrokenResourceError):
            await self._messages_in.send({"type": "http.request", "body": piece, "more_body": more_body})
            return
        await anyio.sleep_forever()  # which is cancelled already: the response is over

    async def head(self) -> Head:
        """Wait for the head of the response.

        Raises:
            Exception: What the application raised in the place of one, or with it.
        """
        try:
            with anyio.fail_after(self._timeout):
                await self._has_begun.wait()
        except TimeoutError:
            raise self._error("ReadTimeout", "the application sent no head in time") from None
        self._tell()
        if self._head is None and self._failure is None:
            raise self._error("ReadError", "the transport was left before the application answered")
        return self._head or self._server_error()

    def _server_error(self) -> Head:
        self._last, self._is_complete = b"Internal Server Error", True
        self._head = Head(500, [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")])
        self._last = b"" if self._is_bodiless() else self._last
        return self._head

    def __aiter__(self) -> "Exchange":
        return self

    async def __anext__(self) -> bytes:
        if self._is_read:
            raise anyio.BusyResourceError("reading from")
        self._is_read = True
        try:
            return self._rest() if self._is_bodiless() else await self._piece()
        except StopAsyncIteration:
            raise
        except BaseException:
            self.leave()
            raise
        finally:
            self._is_read = False

    async def _piece(self) -> bytes:
        try:
            with anyio.fail_after(self._timeout):
                return await self._pieces_out.receive()
        except TimeoutError:
            raise self._error("ReadTimeout", "the application sent nothing in time") from None
        except anyio.ClosedResourceError:
            self._tell()  # what it was closed for, if anything
            raise self._error("ReadError", "the response is closed") from None
        except anyio.EndOfStream:
            return self._rest()

    def _rest(self) -> bytes:
        last, self._last = self._last, b""
        if last:
            return last
        self._tell()
        raise StopAsyncIteration

    def _tell(self) -> None:
        failure = self._failure
        if failure is None:
            return
        if self._raises:
            self._failure = None
            raise failure
        if not self._is_complete and self._head is not None:
            raise self._error("RemoteProtocolError", "the application failed in mid response") from failure

    def _error(self, kind: str, text: str) -> Exception:
        return cast("Exception", getattr(self._library, kind)(text, request=self._request))

    def _is_bodiless(self) -> bool:
        assert self._head is not None  # noqa: S101 - who asks has it
        return self._request.method == "HEAD" or self._head.status in _WITHOUT_BODY

    def leave(self) -> None:
        """Close the response, or give the request up; the application is told. Any number of times."""
        self._is_gone = True
        self._has_begun.set()
        self._is_over.set()
        self._pieces_out.close()
        self._upload.cancel()

    def discard(self) -> None:
        """Let go of it: nothing of either side runs any more."""
        self.leave()
        self._end()

    async def aclose(self) -> None:
        """Close the response."""
        self.leave()
