"""The fast road for httpx and httpx2: dresses connections of our own as a transport of either library."""

import functools
import ssl
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, overload

from ._check import check_count, check_seconds, shown
from ._connections import Connections
from ._errors import InvalidRequest
from ._http11 import TransportFailure
from ._incoming import ResponseBody
from ._libraries import body_class, library_of, new_transport
from ._outgoing import OutgoingRequest
from ._wire import Origin, Wire

if TYPE_CHECKING:
    import httpx
    import httpx2

    class _Transport(httpx.AsyncBaseTransport, httpx2.AsyncBaseTransport): ...  # type: ignore[misc]
else:
    _Transport = object

_PORTS: Final = {"http": 80, "https": 443}


class StreamingTransport(_Transport):
    """A transport for ``httpx.AsyncClient`` and ``httpx2.AsyncClient`` that is made for streams.

    HTTP/1.1 over TCP or TLS, on asyncio, uvloop and trio. What one read of the socket brought is one piece
    of the body, however many HTTP chunks or TLS records that is. A request looks at its own connection and at
    no other, however many there are, and there is no bound on those in use. A peer that vanished without a
    word is found out within two minutes, by TCP keep-alive.

    ``open_stream`` and ``StreamClient`` use it where no client is passed. For proxies, which it does
    not look for in the environment, HTTP/2 and Unix sockets use the libraries' own transports.

    It is stricter than theirs about what could be taken for another message (RFC 9112, section 11.2):
    repeated lengths, a length beside ``chunked``, folded headers, bare line feeds and the like are a
    ``RemoteProtocolError``, as is a head above 64 KiB.

    Args:
        verify: A context for TLS; or whether certificates are checked, by the library's own context.
        max_keepalive_connections: How many connections are kept for another request.
        keepalive_expiry: Seconds that they are kept; None for as long as there is room.

    Raises:
        InvalidRequest: An argument is none of these.
    """

    def __new__(cls, *_arguments: object, **_options: object) -> "StreamingTransport":
        """Make one that both libraries take for one of their own; neither is imported before."""
        return new_transport(cls)

    def __init__(
        self,
        *,
        verify: ssl.SSLContext | bool = True,
        max_keepalive_connections: int = 20,
        keepalive_expiry: float | None = 5.0,
    ) -> None:
        if not isinstance(verify, ssl.SSLContext | bool):
            raise InvalidRequest("verify", f"must be an SSLContext or a bool, not {shown(verify)}")
        check_count("max_keepalive_connections", max_keepalive_connections, minimum=0)
        if keepalive_expiry is not None:
            check_seconds("keepalive_expiry", keepalive_expiry)
        self._verify = verify
        self._connections = Connections(max_idle=max_keepalive_connections, expiry=keepalive_expiry)

    @overload
    async def handle_async_request(self, request: "httpx.Request") -> "httpx.Response": ...
    @overload
    async def handle_async_request(self, request: "httpx2.Request") -> "httpx2.Response": ...
    async def handle_async_request(
        self, request: "httpx.Request | httpx2.Request"
    ) -> "httpx.Response | httpx2.Response":
        """Send a request, and give its response once the head is there, with the body still to be read.

        Raises:
            httpx.TransportError: Or that of httpx2, whichever the request is of.
        """
        library = library_of(request)
        try:
            head, body = await self._connections.send(
                _outgoing(request, self._tls_contexts(library), _translation(library))
            )
        except TransportFailure as failure:
            raise _translated(library, failure, request) from failure
        return library.Response(  # type: ignore[no-any-return]
            head.status_code,
            headers=head.headers,
            stream=body_class(library)(body),
            extensions={
                "http_version": head.version,
                "reason_phrase": head.reason,
                "network_stream": NetworkStream(body.wire),
            },
        )

    async def aclose(self) -> None:
        """Close the connections that are idle; those in use are closed by whoever has them."""
        await self._connections.aclose()

    def _tls_contexts(self, library: ModuleType) -> Callable[[], ssl.SSLContext]:
        verify = self._verify
        return lambda: tls_context(library, verify=verify) if isinstance(verify, bool) else verify


class NetworkStream:
    """What httpcore gives as ``network_stream``, as far as it is to be looked at."""

    __slots__ = ("_wire",)

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def get_extra_info(self, info: str) -> object:
        """Give ``client_addr``, ``server_addr``, ``socket`` or ``ssl_object``; None where there is none."""
        return self._wire.info(info)


@functools.cache
def tls_context(library: ModuleType, *, verify: bool = True) -> ssl.SSLContext:
    """Give the library's own context, one for all: loading certificates takes longer than a handshake."""
    context: ssl.SSLContext = library.create_ssl_context(verify=verify)
    return context


def bare_body(library: ModuleType, response: Any) -> ResponseBody | None:
    """Give the body of a response without the library's layer, where that is the only one around ours."""
    stream = getattr(response.stream, "_stream", None)
    body = stream.body if isinstance(stream, body_class(library)) else None
    return body if isinstance(body, ResponseBody) else None


def _outgoing(
    request: Any,
    tls_context: Callable[[], ssl.SSLContext],
    translate: Callable[[TransportFailure], Exception],
) -> OutgoingRequest:
    url, extensions = request.url, request.extensions
    timeout = extensions.get("timeout", {})
    return OutgoingRequest(
        origin=_origin(url, extensions.get("sni_hostname")),
        method=request.method.encode("ascii", "replace"),
        target=extensions.get("target", url.raw_path),
        headers=request.headers.raw,
        body=request.stream,
        tls_context=tls_context,
        translate=translate,
        connect_timeout=timeout.get("connect"),
        read_timeout=timeout.get("read"),
        write_timeout=timeout.get("write"),
        trace=extensions.get("trace"),
    )


def _origin(url: Any, sni_hostname: str | bytes | None) -> Origin:
    scheme = url.scheme
    if scheme not in _PORTS or not url.host:
        problem = (
            f"the URL is of {scheme}://, and neither http nor https" if scheme else "the URL has no scheme"
        )
        raise TransportFailure("UnsupportedProtocol", problem)
    host = url.raw_host.decode("ascii")
    try:
        name = sni_hostname.decode("ascii") if isinstance(sni_hostname, bytes) else sni_hostname
    except UnicodeDecodeError:
        raise TransportFailure("LocalProtocolError", "sni_hostname is not ASCII") from None
    return Origin(scheme == "https", host, url.port or _PORTS[scheme], name or host)


@functools.cache
def _translation(library: ModuleType) -> Callable[[TransportFailure], Exception]:
    """Give what makes errors for who reads a body: the library itself says of which request, as it reads."""
    return functools.partial(_translated, library)


def _translated(library: ModuleType, failure: TransportFailure, request: Any = None) -> Exception:
    error: Exception = getattr(library, failure.kind)(str(failure), request=request)
    return error
