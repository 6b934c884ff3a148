"""Bytes over TCP, or over TLS on it: opened, sent, received, closed. Knows AnyIO, and no HTTP."""

import select
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSAttribute, TLSStream

from ._http11 import FailureKind, TransportFailure

Result = TypeVar("Result")

READ_SIZE: Final = 262_144
"""Bytes of one read, at most: what asyncio reads at once."""
CLOSE_GRACE: Final = 2.0
"""Seconds that closing may take once it is shielded."""
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A peer that is gone without a word is found after 60 + 4 × 15 seconds; no system has all the names."""


class Origin(NamedTuple):
    """Who is at the other end: connections with the same one can stand in for each other."""

    is_tls: bool
    host: str
    port: int
    server_hostname: str
    """The name that the certificate has to be for."""


class Wire:
    """One connection, for one request at a time; what goes wrong is a ``TransportFailure``.

    Made before it is connected, so that whoever is cancelled meanwhile has something to close.
    """

    __slots__ = (
        "_late_error",
        "_socket_stream",
        "_ssl_object",
        "_stream",
        "idle_since",
        "is_broken",
        "origin",
    )

    def __init__(self, origin: Origin) -> None:
        self.origin: Final = origin
        self.idle_since = 0.0
        self.is_broken = False
        self._socket_stream: ByteStream
        self._stream: ByteStream  # that, or the one of TLS on it
        self._ssl_object: ssl.SSLObject | None = None
        self._late_error: ssl.SSLError | None = None  # of what came behind what was given

    async def connect(self, seconds: float | None) -> None:
        """Connect to whichever address of the host answers first (RFC 8305)."""
        try:
            self._stream = self._socket_stream = await _in_time(seconds, "ConnectTimeout", self._connected)
        except (OSError, anyio.BrokenResourceError) as exc:
            _fail("ConnectError", exc)
        raw = self._stream.extra(SocketAttribute.raw_socket, None)
        if raw is not None:
            with suppress(OSError):  # a peer that has hung up again is told of by the first read
                _set_options(raw)

    async def _connected(self) -> ByteStream:
        host, port = self.origin.host, self.origin.port
        if not _is_trio() and _is_address(host):
            from ._asyncio import connect  # for whoever runs asyncio alone

            return await connect(host, port)
        self._stream = stream = await anyio.connect_tcp(host, port)
        return _polled(stream) if _is_trio() else _always_read(stream)

    async def start_tls(self, context: ssl.SSLContext, seconds: float | None) -> None:
        """Shake hands."""
        name = self.origin.server_hostname
        context.set_alpn_protocols(["http/1.1"])  # as httpcore does: another client may have asked for h2
        try:
            stream = await _in_time(
                seconds,
                "ConnectTimeout",
                # Many servers end without a farewell: HTTP says by itself where a body ends.
                lambda: TLSStream.wrap(
                    self._stream, hostname=name, ssl_context=context, standard_compatible=False
                ),
            )
        except (OSError, ValueError, anyio.BrokenResourceError, anyio.EndOfStream) as exc:
            _fail("ConnectError", exc)  # a ValueError is about the name
        self._stream = stream
        self._ssl_object = stream.extra(TLSAttribute.ssl_object)

    async def send(self, data: bytes, seconds: float | None) -> None:
        """Send all of it."""
        try:
            await _in_time(seconds, "WriteTimeout", lambda: self._stream.send(data))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            self.is_broken = True
            _fail("WriteError", exc)

    async def receive(self, seconds: float | None) -> bytes:
        """Give what one read brought, up to 256 KiB, all of its TLS records; nothing is the end."""
        if self._late_error is not None:
            _fail("ReadError", self._late_error)
        try:
            if seconds is None:
                data = await self._stream.receive(READ_SIZE)
            else:
                data = await _in_time(seconds, "ReadTimeout", lambda: self._stream.receive(READ_SIZE))
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            _fail("ReadError", exc)
        return data if self._ssl_object is None else self._with_more(data, self._ssl_object)

    async def pour(self, take: Callable[[bytes], bool]) -> None:
        """Hand what each read brings to ``take``, until that gives False; or return, to be called again.

        Where that is sooner, it is called in no task, and in any context. The end is handed on as nothing.
        """
        pour = getattr(self._stream, "pour", None)
        if pour is None:  # as with TLS
            take(await self.receive(None))
            return
        try:
            await pour(take)
        except anyio.EndOfStream:
            take(b"")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            _fail("ReadError", exc)

    def _with_more(self, data: bytes, ssl_object: ssl.SSLObject) -> bytes:
        """Add the records that came along with the first: AnyIO gives one at a time."""
        pieces, room = [data], READ_SIZE - len(data)
        try:
            while room > 0 and (piece := ssl_object.read(room)):
                pieces.append(piece)
                room -= len(piece)
        except (ssl.SSLWantReadError, ssl.SSLEOFError):
            pass  # the next read waits for more, or is told of the end
        except ssl.SSLError as exc:
            self._late_error = exc  # once told, the next read would look like the end
        return data if len(pieces) == 1 else b"".join(pieces)

    def is_quiet(self) -> bool:
        """Whether nothing came, nor the end, that nobody has read: else it is of no use any more."""
        return not self.is_broken and not self._has_read_ahead() and not _is_readable(self._socket_stream)

    def _has_read_ahead(self) -> bool:
        if self._ssl_object is not None:
            try:
                self._ssl_object.read(1)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return True
            else:
                return True
        # What is not ours may hold something where nobody sees it.
        return not getattr(self._socket_stream, "is_quiet", False)

    def info(self, name: str) -> object:
        """Give what httpcore's network streams give by this name, or None."""
        attributes = {
            "client_addr": SocketAttribute.local_address,
            "server_addr": SocketAttribute.remote_address,
            "socket": SocketAttribute.raw_socket,
            "ssl_object": TLSAttribute.ssl_object,
        }
        attribute = attributes.get(name)
        try:
            return None if attribute is None else self._stream.extra(attribute, None)
        except (AttributeError, OSError, ValueError):  # it is closed, which each loop says in its own way
            return None

    async def aclose(self) -> None:
        """Close it, whoever cancels; any number of times."""
        if hasattr(self, "_stream"):  # else it was never connected
            with anyio.move_on_after(CLOSE_GRACE, shield=True):
                await self._stream.aclose()


async def _in_time(seconds: float | None, kind: FailureKind, call: Callable[[], Awaitable[Result]]) -> Result:
    if seconds is None:
        return await call()
    with anyio.move_on_after(seconds):
        return await call()
    raise TransportFailure(kind, f"it took more than {seconds:g} s")


def _set_options(raw: socket.socket) -> None:
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _polled(stream: SocketStream) -> SocketStream:
    from ._polled import PolledStream  # for whoever runs trio alone

    return PolledStream(stream)


def _always_read(stream: SocketStream) -> SocketStream:
    """Give a stream in the place of AnyIO's, where that is one of asyncio's."""
    # Not public, and not relied upon.
    transport: Any = getattr(stream, "_transport", None)
    inbox: Any = getattr(stream, "_protocol", None)
    if not hasattr(transport, "set_protocol") or not hasattr(inbox, "read_queue"):
        return stream
    if transport.is_closing():
        raise anyio.BrokenResourceError from inbox.exception
    from ._asyncio import AsyncioStream  # for whoever runs asyncio alone

    own = AsyncioStream(inbox.read_queue, is_over=inbox.is_at_eof)
    own.take_over(transport)
    return own


def _is_trio() -> bool:
    return anyio.get_cancelled_exc_class().__module__.startswith("trio")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_readable(stream: ByteStream) -> bool:
    raw = stream.extra(SocketAttribute.raw_socket)
    if not hasattr(select, "poll"):  # pragma: no cover - Windows alone has no poll
        return bool(select.select([raw], [], [], 0)[0])
    poll = select.poll()
    poll.register(raw.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _fail(kind: FailureKind, exc: Exception) -> NoReturn:
    reason = str(exc.__cause__ or exc)
    if not reason:
        is_ours = isinstance(exc, anyio.ClosedResourceError)
        reason = "the connection was closed here" if is_ours else "the connection was lost"
    raise TransportFailure(kind, reason) from exc
