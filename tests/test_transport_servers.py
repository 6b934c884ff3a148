"""The transport against servers of other makes: uvicorn with both parsers, hypercorn, granian, Node, nginx.

Those in Python are one process, Node's is another, and nginx is in front of uvicorn; each is started once.
The stock transport of each library says what an answer should look like.
"""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import functools
import hashlib
import importlib
import itertools
import json
import os
import random
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import anyio
import anyio.abc
import pytest
import trustme

import anysse
from anysse._transport import bare_body
from tests.conftest import available_libraries, is_importable

pytestmark = pytest.mark.once

FOLDER = Path(__file__).parent / "servers"
DEADLINE = 30.0
SERVERS = ["uvicorn-httptools", "uvicorn-h11", "hypercorn", "granian", "node", "nginx"]
TWO = ["uvicorn-h11", "node"]
"""Those for what hangs on no server's ways, and those for httpx2: it has the same engine below it."""
LARGE = random.Random(4).randbytes(4 * 1024 * 1024)
PROMPT = "why is the sky über-blue?"

numbers = itertools.count()


# --- the servers ---


class Server(NamedTuple):
    """Where a server is: in the open, behind TLS, and where it closes idle connections soon."""

    name: str
    http: str
    https: str
    authority: trustme.CA
    short: str = ""

    def trusting(self) -> ssl.SSLContext:
        """Give a new context that trusts it: the stock transports change those that they are given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context


class Certificate(NamedTuple):
    """A certificate for servers, as files, and who issued it."""

    chain: str
    key: str
    authority: trustme.CA


Ports = Mapping[str, int]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    return Certificate(str(chain), str(key), authority)


@contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, and end it in order."""
    # It is no part of what is measured, and would only be slower.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= options.pop("env", {})
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, **options) as server:
        try:
            yield server
            assert server.poll() is None, f"{command} ended by itself"
            server.terminate()
            assert server.wait(DEADLINE) in (0, -signal.SIGTERM)
        finally:
            server.kill()


@contextmanager
def telling(*command: str) -> Iterator[Mapping[str, Ports]]:
    """Run a server that prints its ports."""
    with running(*command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        ready, _, _ = select.select([server.stdout], [], [], DEADLINE)
        line = server.stdout.readline() if ready else b""
        assert line, f"{command} did not start: {server.poll()}"
        yield json.loads(line)


NGINX = """
daemon off;
{user}
worker_processes 1;
worker_shutdown_timeout 1s;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    client_max_body_size 0;
    keepalive_requests 10000;
    keepalive_timeout 60s;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_hide_header X-Port;
    add_header X-Port $remote_port always;
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl;
        location / {{ proxy_pass {behind}; }}
        location = /close {{ proxy_pass {behind}; keepalive_timeout 0; }}
        location = /until-close {{ proxy_pass {behind}/chunked; chunked_transfer_encoding off; }}
    }}
    server {{
        listen 127.0.0.1:{short};
        keepalive_timeout 50ms;
        location / {{ proxy_pass {behind}; }}
    }}
}}
"""


def nginx_program() -> str:
    """Give the path of nginx; skip where there is none."""
    # Debian has it where only root looks.
    program = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if program is None:
        pytest.skip("nginx is not installed")
    return program


@contextmanager
def nginx(folder: Path, certificate: Certificate, behind: str) -> Iterator[Ports]:
    """Run nginx in front of another server. It is given its sockets, as at an upgrade: no port is guessed."""
    program = nginx_program()
    with ExitStack() as listeners:
        sockets = {
            kind: listeners.enter_context(socket.create_server(("127.0.0.1", 0)))
            for kind in ("http", "https", "short")
        }
        ports = {kind: listener.getsockname()[1] for kind, listener in sockets.items()}
        user = "user root;" if os.geteuid() == 0 else ""
        text = NGINX.format(user=user, chain=certificate.chain, key=certificate.key, behind=behind, **ports)
        (folder / "nginx.conf").write_text(text)
        inherited = [listener.fileno() for listener in sockets.values()]
        command = [program, "-e", "stderr", "-p", str(folder), "-c", "nginx.conf"]
        with (
            (folder / "errors").open("wb") as errors,
            running(
                *command,
                env={"NGINX": "".join(f"{number};" for number in inherited)},
                pass_fds=inherited,
                stderr=errors,
            ),
        ):
            listeners.close()
            yield ports


@pytest.fixture(scope="module")
def ports_of(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Ports]]:
    """Start a server when it is first asked for; all run to the end, in whatever order the tests do."""
    files = (certificate.chain, certificate.key)
    with ExitStack() as servers:

        @functools.cache
        def asgi() -> Mapping[str, Ports]:
            return servers.enter_context(telling(sys.executable, str(FOLDER / "asgi.py"), *files))

        @functools.cache
        def node() -> Mapping[str, Ports]:
            program = shutil.which("node")
            if program is None:
                pytest.skip("node is not installed")
            return servers.enter_context(telling(program, str(FOLDER / "exchanges.mjs"), *files))

        @functools.cache
        def ports(name: str) -> Ports:
            if name == "nginx":
                nginx_program()
                behind = f"http://127.0.0.1:{asgi()['uvicorn-h11']['http']}"
                return servers.enter_context(nginx(tmp_path_factory.mktemp("nginx"), certificate, behind))
            known = node() if name == "node" else asgi()
            if name not in known:
                pytest.skip(f"what {name} needs is not installed")
            return known[name]

        yield ports


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, ports_of: Callable[[str], Ports], certificate: Certificate
) -> Server:
    ports = ports_of(request.param)
    urls = {kind: f"{'https' if kind == 'https' else 'http'}://127.0.0.1:{ports[kind]}" for kind in ports}
    return Server(request.param, **urls, authority=certificate.authority)


@pytest.fixture(scope="module")
def library(request: pytest.FixtureRequest) -> ModuleType:
    """The module `httpx` or `httpx2`."""
    return importlib.import_module(request.param)


def against(*names: str) -> Callable[[Any], Any]:
    """Name the servers that a test is run against, where that is not all of them."""

    def named(test: Any) -> Any:
        test.servers = names
        return test

    return named


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test against the servers that it names, or all."""
    names = getattr(metafunc.function, "servers", SERVERS)
    if "library" not in metafunc.fixturenames:
        metafunc.parametrize("server", names, indirect=True)
        return
    few = [name for name in names if name in TWO] or names
    pairs = [
        pytest.param(library, name, id=f"{library}-{name}")
        for library in available_libraries()
        for name in (names if library == "httpx" else few)
    ]
    metafunc.parametrize(("library", "server"), pairs, indirect=True)


# --- clients ---


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def client_of(library: ModuleType, url: str, **options: Any) -> Any:
    """Give a client of the library over our transport; options are for the latter."""
    transport = anysse.StreamingTransport(**options)
    return library.AsyncClient(transport=transport, base_url=url, timeout=DEADLINE)


def stock_client_of(library: ModuleType, url: str) -> Any:
    """Give a client of the library over its own transport."""
    return library.AsyncClient(transport=library.AsyncHTTPTransport(), base_url=url, timeout=DEADLINE)


def port_of(response: Any) -> str:
    """Give what tells one connection from another."""
    port: str = response.headers["x-port"]
    return port


def pieces_of(response: Any) -> AsyncIterator[bytes]:
    """Give the pieces of a body that need not be read to its end: the libraries' iterators do, on trio."""
    library = sys.modules[type(response).__module__.partition(".")[0]]
    pieces = bare_body(library, response)
    assert pieces is not None
    return pieces


async def sent_in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def new_room() -> str:
    return f"room={next(numbers)}"


async def until_nobody_listens(client: Any, room: str) -> None:
    while (await client.get(f"/listeners?{room}")).text != "0":  # noqa: ASYNC110 - of another process
        await anyio.sleep(0.01)


async def receive(pieces: AsyncIterator[bytes], expected: bytes) -> None:
    """Take as many pieces as these bytes come in."""
    received = b""
    while len(received) < len(expected):
        received += await anext(pieces)
    assert received == expected


# --- an exchange ---


class Asked(NamedTuple):
    """A request, and what every server answers."""

    method: str
    path: str
    status: int
    body: bytes
    options: Callable[[], dict[str, Any]] = dict
    by: tuple[str, ...] = tuple(SERVERS)


TEXT = "Zwölf Boxkämpfer".encode()
ASKED = {
    "a length": Asked("GET", "/length", 200, b"hello"),
    "chunks": Asked("GET", "/chunked", 200, b"one two three"),
    "no bytes": Asked("GET", "/empty", 200, b""),
    "no chunks": Asked("GET", "/empty-chunked", 200, b""),
    "a HEAD with a length": Asked("HEAD", "/length", 200, b""),
    "a HEAD with chunks": Asked("HEAD", "/chunked", 200, b""),
    "204": Asked("GET", "/no-content", 204, b""),
    "304": Asked("GET", "/not-modified", 304, b"", lambda: {"headers": {"If-None-Match": '"a"'}}),
    "404": Asked("GET", "/what?is=this", 404, b"nothing"),
    "JSON": Asked("POST", "/echo", 200, b'{"a":1}', lambda: {"content": b'{"a":1}'}),
    "a body of no bytes": Asked("POST", "/echo", 200, b""),
    "a body in pieces": Asked(
        "PUT", "/echo", 200, TEXT, lambda: {"content": sent_in_pieces(b"", TEXT[:5], TEXT[5:])}
    ),
    "a body to be asked for": Asked(
        "POST", "/echo", 200, TEXT, lambda: {"content": TEXT, "headers": {"Expect": "100-continue"}}
    ),
    "another method": Asked("DELETE", "/echo", 200, b""),
    "interim responses": Asked("GET", "/interim", 200, b"hello", by=("node",)),
    "trailers": Asked("GET", "/trailers", 200, b"hello", by=("node",)),
    "an early answer": Asked("POST", "/early", 413, b"too large", lambda: {"content": TEXT}, by=("node",)),
}
CLOSING = {
    "a server that closes": Asked("GET", "/close", 200, b"closing"),
    "a client that closes": Asked(
        "GET", "/length", 200, b"hello", lambda: {"headers": {"Connection": "close"}}
    ),
    "a body until the end": Asked("GET", "/until-close", 200, b"one two three", by=("node", "nginx")),
}


def asked_of(server: Server, cases: Mapping[str, Asked]) -> list[tuple[str, Asked]]:
    return [(name, asked) for name, asked in cases.items() if server.name in asked.by]


async def ask(client: Any, asked: Asked) -> Any:
    with anyio.fail_after(DEADLINE):
        response = await client.request(asked.method, asked.path, **asked.options())
    assert (response.status_code, response.content) == (asked.status, asked.body)
    return response


def seen(response: Any) -> dict[str, Any]:
    """Give what is the same whenever and over whatever connection it comes; nginx may undo small chunks."""
    changing = (b"date", b"x-port", b"x-how")
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in changing]
    known = {name: response.extensions[name] for name in ("http_version", "reason_phrase")}
    return {"status": response.status_code, "headers": headers, "body": response.content, **known}


async def test_an_answer_is_what_the_stock_transport_gives(server: Server, library: ModuleType) -> None:
    async with client_of(library, server.http) as client, stock_client_of(library, server.http) as stock:
        for name, asked in asked_of(server, ASKED | CLOSING):
            ours, theirs = await ask(client, asked), await ask(stock, asked)
            assert seen(ours) == seen(theirs), name


async def test_one_connection_does_for_all_kinds_of_requests(server: Server, library: ModuleType) -> None:
    async with client_of(library, server.http) as client:
        ports = {name: port_of(await ask(client, asked)) for name, asked in asked_of(server, ASKED) * 2}
    assert len(set(ports.values())) == 1, ports


async def test_a_connection_that_either_closes_is_not_used_again(server: Server, library: ModuleType) -> None:
    async with client_of(library, server.http) as client:
        for name, asked in asked_of(server, CLOSING):
            first = port_of(await client.get("/length"))
            assert port_of(await ask(client, asked)) == first, name
            assert port_of(await client.get("/length")) != first, name


@against(*TWO)
async def test_the_server_is_told_how_long_a_body_is_and_what(server: Server, library: ModuleType) -> None:
    async with client_of(library, server.http) as client:
        whole = await client.post("/echo", json={"a": "ü"})
        assert whole.json() == {"a": "ü"}
        assert (whole.headers["x-how"], whole.headers["x-type"]) == (
            str(len(whole.content)),
            "application/json",
        )
        pieces = await client.post("/echo", content=sent_in_pieces(b"one", b"two"))
        assert (pieces.content, pieces.headers["x-how"]) == (b"onetwo", "chunked")


@against("uvicorn-h11", "granian", "node", "nginx")
async def test_megabytes_are_the_same_both_ways(server: Server, library: ModuleType) -> None:
    step = 100_000
    async with client_of(library, server.http) as client:
        for content in (LARGE, sent_in_pieces(*(LARGE[i : i + step] for i in range(0, len(LARGE), step)))):
            digest = hashlib.sha256()
            with anyio.fail_after(DEADLINE):
                async with client.stream("POST", "/echo", content=content) as response:
                    async for piece in response.aiter_raw():
                        digest.update(piece)
            assert digest.digest() == hashlib.sha256(LARGE).digest()
        assert port_of(response) == port_of(await client.get("/length"))


# --- streams ---


async def test_every_piece_comes_when_it_is_sent(server: Server, library: ModuleType) -> None:
    room = new_room()
    async with client_of(library, server.http) as client:
        with anyio.fail_after(DEADLINE):
            async with client.stream("GET", f"/listen?{room}") as response:
                pieces = pieces_of(response)
                await receive(pieces, b": welcome\n\n")
                for said in (b"data: one\n\n", b"da", b"ta: two", b"\n", b"\n"):
                    await client.post(f"/say?{room}", content=said)
                    await receive(pieces, said)
                await client.post(f"/say?{room}")
                with pytest.raises(StopAsyncIteration):
                    await anext(pieces)


@against("uvicorn-httptools", "node")
async def test_fifty_streams_at_once_each_get_all_that_is_said(server: Server, library: ModuleType) -> None:
    room, ports = new_room(), set()
    said = (b": welcome\n\n", b"data: 1\n\n", b"data: 2\n\n", b"")
    heard_by = [0 for _ in said]
    is_heard = [anyio.Event() for _ in said]

    async def listen() -> None:
        async with client.stream("GET", f"/listen?{room}") as response:
            ports.add(port_of(response))
            pieces = pieces_of(response)
            for turn, expected in enumerate(said[:-1]):
                await receive(pieces, expected)
                heard_by[turn] += 1
                if heard_by[turn] == 50:
                    is_heard[turn].set()
            assert [piece async for piece in pieces] == []

    with anyio.fail_after(DEADLINE):
        async with client_of(library, server.http) as client, anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(listen)
            for heard, data in zip(is_heard, said[1:], strict=False):
                await heard.wait()
                await client.post(f"/say?{room}", content=data)
    assert len(ports) == 50


async def test_the_server_sees_a_client_that_leaves_in_the_middle(
    server: Server, library: ModuleType
) -> None:
    room = new_room()
    with anyio.fail_after(DEADLINE):
        async with client_of(library, server.http) as client:
            async with client.stream("GET", f"/listen?{room}") as response:
                await receive(pieces_of(response), b": welcome\n\n")
                assert (await client.get(f"/listeners?{room}")).text == "1"
            await until_nobody_listens(client, room)


@against(*TWO)
async def test_the_server_sees_a_client_that_is_cancelled(server: Server, library: ModuleType) -> None:
    room = new_room()

    async def listen(task_status: anyio.abc.TaskStatus[None]) -> None:
        async with client.stream("GET", f"/listen?{room}") as response:
            pieces = pieces_of(response)
            await receive(pieces, b": welcome\n\n")
            task_status.started()
            await anext(pieces)

    with anyio.fail_after(DEADLINE):
        async with client_of(library, server.http) as client:
            async with anyio.create_task_group() as tasks:
                await tasks.start(listen)
                tasks.cancel_scope.cancel()
            await until_nobody_listens(client, room)


@against(*TWO)
async def test_a_silent_stream_is_a_read_timeout(server: Server, library: ModuleType) -> None:
    room = new_room()
    with anyio.fail_after(DEADLINE):
        async with client_of(library, server.http) as client:
            with pytest.raises(library.ReadTimeout):
                await client.get(f"/listen?{room}", timeout=library.Timeout(DEADLINE, read=0.05))
            await until_nobody_listens(client, room)


@against("node")
@pytest.mark.parametrize("path", ["/cut-length", "/cut-chunked"])
async def test_a_body_cut_short_is_an_error(server: Server, library: ModuleType, path: str) -> None:
    async with client_of(library, server.http) as client:
        with anyio.fail_after(DEADLINE), pytest.raises(library.RemoteProtocolError):
            await client.get(path)


# --- connections ---


@against(*TWO)
async def test_many_requests_at_once_use_few_connections(server: Server, library: ModuleType) -> None:
    ports = []

    async def ask_often() -> None:
        for _ in range(10):
            response = await client.post("/echo", content=b"hello")
            assert response.content == b"hello"
            ports.append(port_of(response))

    with anyio.fail_after(DEADLINE):
        async with client_of(library, server.http) as client, anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(ask_often)
    assert len(ports) == 100
    assert len(set(ports)) <= 10


def is_open(port: str, server: str) -> bool:
    """Tell whether the connection from a port to a server, both of this machine, is open here (Linux)."""
    ends = [f"0100007F:{int(number):04X}" for number in (port, server.rpartition(":")[2])]
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1:4] == [*ends, "01"] for row in rows)


@against("uvicorn-httptools", "uvicorn-h11", "node", "nginx")
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="tells whether a connection is open by /proc")
async def test_a_request_just_works_after_the_server_closed_idle_connections(
    server: Server, library: ModuleType
) -> None:
    with anyio.fail_after(DEADLINE):
        async with client_of(library, server.short, keepalive_expiry=DEADLINE) as client:
            first = port_of(await client.post("/echo", content=b"hello"))
            while is_open(first, server.short):  # noqa: ASYNC110 - of another process
                await anyio.sleep(0.01)
            assert port_of(await client.post("/echo", content=b"hello")) != first


# --- TLS ---


async def test_tls_carries_the_same(server: Server, library: ModuleType) -> None:
    room = new_room()
    with anyio.fail_after(DEADLINE):
        async with client_of(library, server.https, verify=server.trusting()) as client:
            ports = {port_of(await ask(client, asked)) for _, asked in asked_of(server, ASKED)}
            assert len(ports) == 1
            assert (await client.post("/echo", content=LARGE)).content == LARGE
            for _, asked in asked_of(server, CLOSING):
                await ask(client, asked)
            async with client.stream("GET", f"/listen?{room}") as response:
                assert response.http_version == "HTTP/1.1"
                pieces = pieces_of(response)
                await receive(pieces, b": welcome\n\n")
                for said in (b"data: one\n\n", b"data: two\n\n"):
                    await client.post(f"/say?{room}", content=said)
                    await receive(pieces, said)
            await until_nobody_listens(client, room)


@against(*TWO)
async def test_a_certificate_that_no_one_trusts_is_refused(server: Server, library: ModuleType) -> None:
    async with client_of(library, server.https, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
        with (
            anyio.fail_after(DEADLINE),
            pytest.raises(library.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            await client.get("/length")


@against("hypercorn")
async def test_a_context_that_offers_http_2_as_well_is_for_http_1_here(
    server: Server, library: ModuleType
) -> None:
    context = server.trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with client_of(library, server.https, verify=context) as client:
        with anyio.fail_after(DEADLINE):
            response = await client.get("/length")
    assert (response.text, response.http_version) == ("hello", "HTTP/1.1")


# --- event streams, end to end ---


async def check_feed(events: anysse.EventStream) -> None:
    """Read the feed, which takes two connections."""
    received = [(event.id, event.data) async for event in events]
    assert received == [(str(number), str(number)) for number in range(1, 21)]
    assert (events.status, events.statistics().connections) == ("completed", 2)


async def test_every_number_of_a_feed_comes_once(server: Server) -> None:
    with anyio.fail_after(DEADLINE):
        async with anysse.open_stream(f"{server.http}/feed") as events:
            await check_feed(events)


async def test_a_chat_uses_one_connection_for_all_its_turns(server: Server) -> None:
    ports = set()
    with anyio.fail_after(DEADLINE):
        async with anysse.StreamClient(server.http, path="/chat", decode=anysse.decoders.text) as client:
            for _ in range(5):
                async with client.stream({"prompt": PROMPT}) as words:
                    assert "".join([word async for word in words]) == f" {PROMPT}"
                    assert words.response is not None
                    ports.add(words.response.headers["x-port"])
    assert len(ports) == 1


@against(*TWO)
async def test_the_server_sees_a_reader_that_leaves(server: Server, library: ModuleType) -> None:
    room = new_room()
    with anyio.fail_after(DEADLINE):
        async with client_of(library, server.http) as client:
            async with anysse.open_stream(f"{server.http}/listen?{room}") as events:
                await client.post(f"/say?{room}", content=b"data: one\n\n")
                assert (await events.receive()).data == "one"
            await until_nobody_listens(client, room)


@against("hypercorn", "node")
async def test_streams_come_over_tls(server: Server, library: ModuleType) -> None:
    url = f"{server.https}/feed"
    with anyio.fail_after(DEADLINE):
        async with client_of(library, "", verify=server.trusting()) as client:
            async with anysse.open_stream(url, client=client) as events:
                await check_feed(events)


@pytest.mark.skipif(not is_importable("h2"), reason="h2 is not installed")
@against("hypercorn")
async def test_streams_come_over_http_2_by_the_library_s_own_transport(
    server: Server, library: ModuleType
) -> None:
    with anyio.fail_after(DEADLINE):
        async with library.AsyncClient(http2=True, verify=server.trusting()) as client:
            assert (await client.get(f"{server.https}/length")).http_version == "HTTP/2"
            async with anysse.open_stream(f"{server.https}/feed", client=client) as events:
                await check_feed(events)
