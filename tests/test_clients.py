"""Clients of a stream's own: of proxies and certificates they know what the libraries' own would."""
# ruff: noqa: SIM117 - a server, and a stream in it: two lines read better than one.

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import anyio
import anyio.abc
import pytest
import trustme
from anyio.streams.tls import TLSListener

import anysse
from anysse._clients import own_client
from anysse._transport import tls_context
from anysse.testing import Connection
from tests.server import answer, event_stream, feed, serve

PROXY: Final = "http://proxy.example:3128"
NAMES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")
HOSTS: Final = (
    "a.example",
    "www.a.example",
    "deep.www.a.example",
    "wwwa.example",
    "b.example",
    "localhost",
    "sub.localhost",
    "127.0.0.1",
    "127.0.0.2",
    "192.168.0.0",
    "192.168.1.1",
    "[::1]",
    "[::2]",
    "example",
)
URLS: Final = [
    f"{scheme}://{host}{port}/"
    for scheme in ("http", "https")
    for host in HOSTS
    for port in ("", ":80", ":8080")
]
ENVIRONMENTS: Final[list[dict[str, str]]] = [
    {},
    {"http_proxy": PROXY},
    {"HTTP_PROXY": PROXY},
    {"https_proxy": PROXY},
    {"HTTPS_PROXY": PROXY},
    {"all_proxy": PROXY},
    {"ALL_PROXY": PROXY, "HTTP_PROXY": "http://other.example"},
    {"http_proxy": "proxy.example:3128"},
    {"http_proxy": "", "https_proxy": PROXY},
    {"http_proxy": "http://user:pass@proxy.example"},
    {"https_proxy": "https://proxy.example"},
    {"no_proxy": "a.example"},
    *(
        {"all_proxy": PROXY, name: exempt}
        for name in ("no_proxy", "NO_PROXY")
        for exempt in (
            "",
            "*",
            "b.example,*",
            "a.example",
            ".a.example",
            "A.Example",
            " a.example , b.example ",
            "www.a.example",
            "example",
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "::1",
            "192.168.0.0/16",
            "http://a.example",
            "https://a.example",
            "http://a.example:8080",
            "all://a.example",
            "a.example:8080",
            "a.example,127.0.0.1,::1,localhost",
        )
    ),
]
ODD: Final = (
    "fe80::/10",
    "[::1]",
    "[",
    "a b",
    "http://[",
    "*.a.example",
    "http://",
    ",,",
    "a.example:x",
    "ü.example",
)
"""What one of the libraries cannot take, or takes for something else."""


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what this machine says of proxies."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


def routes_of(client: Any, library: ModuleType) -> dict[str, Any]:
    """Say of each URL which proxy is asked for it, if any."""
    routes = {}
    for url in URLS:
        pool = getattr(client._transport_for_url(library.URL(url)), "_pool", None)
        proxy = getattr(pool, "_proxy_url", None) or getattr(getattr(pool, "_proxy", None), "url", None)
        routes[url] = None if proxy is None else (proxy.scheme, proxy.host, proxy.port)
    return routes


def test_what_goes_where_is_what_a_plain_client_says(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for environment in ENVIRONMENTS:
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            plain, own = library.AsyncClient(verify=False), own_client(library)
            expected = routes_of(plain, library)
            assert routes_of(own, library) == expected, environment
        for url, proxy in expected.items():
            is_ours = isinstance(own._transport_for_url(library.URL(url)), anysse.StreamingTransport)
            assert is_ours is (proxy is None), environment
        is_proxied = any("_proxy" in name.lower() and "no_" not in name.lower() for name in environment)
        exempts_all = "*" in environment.get("no_proxy", environment.get("NO_PROXY", ""))
        assert any(expected.values()) is (is_proxied and not exempts_all), environment


@pytest.mark.parametrize("exempt", ODD)
async def test_an_odd_exemption_keeps_no_stream_from_opening(
    library: ModuleType, exempt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", f"{exempt},127.0.0.1")
    monkeypatch.setenv("http_proxy", PROXY)
    async with serve(feed("data: x\n\n")) as server:
        async with anysse.open_stream(library.Request("GET", server.url), retry=None) as events:
            assert (await events.receive()).data == "x"


async def test_a_stream_without_a_client_goes_through_the_proxy(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def proxy(connection: Connection) -> None:
        assert connection.request.target == "http://there.example/path?a=b"
        await event_stream(connection, "data: x\n\n")
        await connection.hang()

    async with serve(then=proxy) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        request = library.Request("GET", "http://there.example/path?a=b")
        async with anysse.open_stream(request, retry=None, https_only=False) as events:
            assert (await events.receive()).data == "x"
        await server.all_closed()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with serve(feed("data: y\n\n")) as direct:
            async with anysse.open_stream(library.Request("GET", direct.url), retry=None) as events:
                assert (await events.receive()).data == "y"
        assert len(server.requests) == 1


async def test_the_environments_certificates_are_trusted(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    request = library.Request("GET", f"https://127.0.0.1:{port}")
    async with TLSListener(listener, context, False) as tls, anyio.create_task_group() as tasks:
        tasks.start_soon(tls.serve, handle)
        with pytest.raises(anysse.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            async with anysse.open_stream(request, retry=None):
                pass
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        tls_context.cache_clear()  # it is read once
        async with anysse.open_stream(request, retry=None) as events:
            assert (await events.receive()).data == "x"
        tasks.cancel_scope.cancel()


# --- a client that is passed ------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
async def test_a_client_over_a_unix_socket_is_used_as_it_is(library: ModuleType, tmp_path: Path) -> None:
    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")

    path = tmp_path / "socket"
    listener = await anyio.create_unix_listener(path)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        async with library.AsyncClient(transport=library.AsyncHTTPTransport(uds=str(path))) as client:
            options: dict[str, Any] = {"client": client, "retry": None, "https_only": False}
            async with anysse.open_stream("http://there.example/", **options) as events:
                assert (await events.receive()).data == "x"
        tasks.cancel_scope.cancel()


async def test_a_client_of_the_callers_keeps_its_transport(library: ModuleType) -> None:
    async with library.AsyncClient(http2=True, verify=False) as client:
        transport, mounts = client._transport, dict(client._mounts)
        async with serve(feed("data: x\n\n")) as server:
            async with anysse.open_stream(server.url, client=client, retry=None) as events:
                assert (await events.receive()).data == "x"
        assert client._transport is transport
        assert client._mounts == mounts


@pytest.mark.parametrize("client", ["httpx", object(), anysse.StreamingTransport()])
async def test_what_is_no_client_is_refused_by_name(client: Any) -> None:
    with pytest.raises(anysse.InvalidRequest) as caught:
        async with anysse.open_stream("http://localhost/", client=client):
            pass
    assert caught.value.argument == "client"


async def test_a_client_that_was_closed_is_refused_by_name(library: ModuleType) -> None:
    async with library.AsyncClient(verify=False) as client:
        pass
    with pytest.raises(anysse.InvalidRequest) as caught:
        async with anysse.open_stream("http://localhost/", client=client):
            pass
    assert caught.value.argument == "client"


async def test_a_redirect_to_nowhere_is_refused(library: ModuleType) -> None:
    async with serve(answer(302)) as server, library.AsyncClient(verify=False) as client:
        with pytest.raises(anysse.StatusError, match="names no Location"):
            async with anysse.open_stream(server.url, client=client):
                pass


@pytest.mark.parametrize("proxy", ["ftp://me:s3cret@proxy.example", "http://proxy.example:x"])
def test_a_proxy_of_the_environment_that_is_none_is_named(
    monkeypatch: pytest.MonkeyPatch, library: ModuleType, proxy: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(anysse.InvalidRequest, match="the environment's https_proxy is of no use") as caught:
        own_client(library)
    assert caught.value.argument == "client"
    assert "s3cret" not in str(caught.value)


async def test_a_client_of_our_own_keeps_the_cookies_that_it_is_given(library: ModuleType) -> None:
    async with serve(
        feed("data: 1\n\n", headers={"Set-Cookie": "a=b; Path=/"}), feed("data: 2\n\n"), feed("data: 3\n\n")
    ) as server:
        async with own_client(library) as client:
            for _ in range(3):
                async with anysse.open_stream(server.url, client=client, kind="reply") as events:
                    assert [event async for event in events]
            assert dict(client.cookies) == {"a": "b"}
    assert [request.headers.get("Cookie") for request in server.requests] == [None, "a=b", "a=b"]
