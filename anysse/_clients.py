"""Which client a stream has, of httpx or httpx2: the caller's, or one of its own with the fast transport."""

import functools
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._check import shown
from ._errors import InvalidRequest
from ._transport import StreamingTransport, tls_context

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

MAX_COOKIES = 50
"""Of those that servers set, in a client of our own (RFC 6265, section 6.1)."""


def library_of(client: object, given: object) -> ModuleType:
    """Give httpx or httpx2, whichever the client or the request is from; httpx where neither says.

    Raises:
        InvalidRequest: The client is of neither.
    """
    for name in ("httpx", "httpx2"):
        library = sys.modules.get(name)
        if library is None:
            continue
        if isinstance(client, library.AsyncClient):
            return library
        if client is None and isinstance(given, library.Request):
            return library
    if client is not None:
        raise InvalidRequest("client", f"must be an AsyncClient of httpx or httpx2, not {shown(client)}")
    import httpx

    return httpx


@functools.cache
def user_agent() -> str:
    """What we call ourselves where no client does."""
    from importlib.metadata import version  # as long to import as all of anysse

    return f"anysse/{version('anysse')}"


def own_client(library: ModuleType) -> Any:
    """Make a client, for whoever has to close it."""
    transport = StreamingTransport(verify=tls_context(library))
    return _client_class(library)(
        transport=transport,
        mounts=dict(_mounts(library, transport)),
        timeout=None,
        headers={"User-Agent": user_agent()},
    )


@functools.cache
def _client_class(library: ModuleType) -> Any:
    """Give a class of clients that look for cookies where an answer sets some, which few of ours do.

    To look for them, the library makes a request and a response of ``urllib`` out of each.
    """

    class Cookies(library.Cookies):  # type: ignore[misc, name-defined]
        def extract_cookies(self, response: Any) -> None:
            if "set-cookie" in response.headers:
                super().extract_cookies(response)
                _drop_surplus(self.jar)

    class AsyncClient(library.AsyncClient):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._jar = Cookies()

        @property
        def cookies(self) -> Cookies:
            return self._jar

    return AsyncClient


def _drop_surplus(jar: "CookieJar") -> None:
    """Keep of a server's cookies those that can be sent back, and no more than a browser has to."""
    for place, cookie in enumerate(list(jar)):
        text = f"{cookie.name}{cookie.value or ''}"
        if place >= MAX_COOKIES or not (text.isascii() and text.isprintable()):
            jar.clear(cookie.domain, cookie.path, cookie.name)


def _mounts(library: ModuleType, direct: StreamingTransport) -> Iterator[tuple[str, Any]]:
    """Give what the environment says of proxies, as httpx has it: with a transport it would not look there.

    A proxy is the business of the library's own transport.
    """
    from urllib.request import (
        getproxies,  # which takes as long to import as all of anysse; the libraries have it
    )

    proxies = getproxies()
    exempt = [host.strip() for host in proxies.get("no", "").split(",")]
    if "*" in exempt:
        return
    for scheme in ("http", "https", "all"):
        proxy = proxies.get(scheme)
        if proxy:
            try:
                yield f"{scheme}://", _proxied(library, proxy if "://" in proxy else f"http://{proxy}")
            except (library.InvalidURL, ImportError, ValueError) as exc:  # its text may hold a password
                problem = f"the environment's {scheme}_proxy is of no use to {library.__name__}"
                raise InvalidRequest("client", f"{problem} ({type(exc).__name__})") from exc
    for host in filter(None, exempt):
        pattern = _pattern(host)
        try:
            library.URL(pattern)
        except library.InvalidURL:  # what is no host exempts none: curl leaves it out, too
            continue
        yield pattern, direct


def _proxied(library: ModuleType, url: str) -> Any:
    return library.AsyncHTTPTransport(
        proxy=library.Proxy(url),
        verify=tls_context(library),
        # A stream holds its connection: the usual bound of 100 would let the next one wait for ever.
        limits=library.Limits(max_connections=None, max_keepalive_connections=20),
    )


def _pattern(host: str) -> str:
    """Give a host of ``NO_PROXY`` as a pattern of httpx's: a domain stands for what is below it, too.

    The bits of a network are for httpx2; httpx looks at its first address alone.
    """
    if "://" in host:
        return host
    address, slash, bits = host.partition("/")
    try:
        is_v6 = ip_address(address).version == 6
    except ValueError:
        is_whole = host.lower() == "localhost" or host.startswith(("[", "*."))
        return f"all://{host}" if is_whole else f"all://*{host}"
    return f"all://[{address}]{slash}{bits}" if is_v6 else f"all://{host}"
