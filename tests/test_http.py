"""One HTTP exchange: where redirects lead and what goes along, what is decompressed, whose error it is."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import ssl
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import product
from types import ModuleType
from typing import Any

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSListener

import anysse
from anysse import Timeouts
from anysse._clients import library_of, own_client
from anysse.testing import Connection
from tests.server import event_stream, held, serve
from tests.streams import (
    Answer,
    Recorder,
    data_of,
    gzip_of,
    held_stream,
    in_virtual_time,
    memory_client,
    stream_of,
    turns,
)

QUICK = anysse.ExponentialBackoff(initial=0.1, jitter=0.0)
ASKED = {"accept", "accept-encoding", "cache-control", "host", "user-agent"}


async def refusal(opening: Any) -> Exception:
    """Give the error with which a stream does not open."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the test looks at it
        async with opening:
            pass
    return caught.value


def to(location: str, status: int = 302, **headers: str) -> Answer:
    items = [("Location", location), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return Answer(status=status, headers=items)


# --- redirects to another origin --------------------------------------------------------------------------

SECRETS: dict[str, Any] = {
    "headers": {
        "X-Api-Key": "secret",
        "Authorization": "secret",
        "Cookie": "secret",
        "User-Agent": "secret",
        "Referer": "secret",
        "Idempotency-Key": "secret",
    },
    "last_event_id": "secret",
}
SECRETS_OTHERWISE: dict[str, Any] = {"cookies": {"call": "secret"}, "auth": ("secret", "secret")}
CLIENT_SECRETS: dict[str, Any] = {
    "headers": {"X-Client-Key": "secret", "User-Agent": "secret"},
    "cookies": {"client": "secret"},
    "auth": ("secret", "secret"),
    "params": {"key": "secret"},
}


@pytest.mark.parametrize(
    "target", ["http://b/", "https://a/", "http://a:81/", "http://sub.a/", "//b/x", "http://u:p@b/"]
)
async def test_nothing_goes_along_to_another_origin(library: ModuleType, target: str) -> None:
    for status, arguments in product([301, 302, 303, 307, 308], [SECRETS, SECRETS_OTHERWISE]):
        async with memory_client(library, to(target, status), held_stream(), **CLIENT_SECRETS) as client:
            async with anysse.open_stream("http://user:secret@a/", client=client, **arguments):
                pass
        asked, followed = client.sent
        assert "secret" in str(asked.headers.raw)
        allowed = ASKED | ({"authorization"} if "@" in target else set())  # what the redirect itself says
        assert set(followed.headers) == allowed
        assert "secret" not in str(followed.url) + str(followed.headers.raw)
        assert followed.headers["user-agent"].startswith("anysse/")
        assert followed.headers["accept"] == "text/event-stream"


async def test_a_request_that_was_given_leaves_all_behind_too(library: ModuleType) -> None:
    given = library.Request("GET", "http://a/", headers=SECRETS["headers"], extensions={"sni_hostname": "a"})

    def prepare(request: Any, attempt: anysse.Attempt) -> None:
        request.headers["X-Prepared"] = "secret"

    async with memory_client(library, to("http://b/"), held_stream()) as client:
        async with anysse.open_stream(given, client=client, prepare=prepare):
            pass
    assert client.sent[0].headers["x-prepared"] == "secret"
    assert set(client.sent[1].headers) == ASKED
    assert "sni_hostname" not in client.sent[1].extensions


async def test_once_gone_it_stays_gone(library: ModuleType) -> None:
    hops = [to("http://b/"), to("http://b/2"), to("http://a/back"), to("http://a/on"), held_stream()]
    async with memory_client(library, *hops, **CLIENT_SECRETS) as client:
        async with anysse.open_stream("http://a/", client=client, **SECRETS):
            pass
    assert [str(request.url) for request in client.sent[1:]] == [
        "http://b/",
        "http://b/2",
        "http://a/back",
        "http://a/on",
    ]
    for request in client.sent[1:]:
        assert set(request.headers) == ASKED


async def test_the_learnt_last_event_id_goes_along_and_the_callers_does_not(library: ModuleType) -> None:
    answers = [to("http://b/"), stream_of(b"retry: 100\ndata: x\n\n"), to("http://b/")]
    answers += [stream_of(b"id: 7\ndata: y\n\n"), to("http://b/"), held_stream(b"data: z\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream("http://a/", client=client, last_event_id="mine") as events:
            assert [(await events.receive()).data for _ in range(3)] == ["x", "y", "z"]
    sent = [(request.url.host, request.headers.get("last-event-id")) for request in client.sent]
    assert sent == [("a", "mine"), ("b", None), ("a", "mine"), ("b", None), ("a", "7"), ("b", "7")]


async def test_https_never_becomes_http(library: ModuleType) -> None:
    for hops in (["http://a/"], ["/x", "http://a/"], ["https://b/", "http://c/"]):
        async with memory_client(library, *(to(location) for location in hops)) as client:
            error = await refusal(anysse.open_stream("https://a/", client=client))
            assert isinstance(error, anysse.StatusError)
            assert "from https to http" in str(error)
            assert len(client.sent) == len(hops)


async def test_http_may_become_https(library: ModuleType) -> None:
    async with memory_client(library, to("https://a/"), held_stream()) as client:
        async with anysse.open_stream("http://a/", client=client) as events:
            assert events.response is not None
            assert events.response.url == "https://a/"


async def test_https_only_holds_at_a_redirect(library: ModuleType) -> None:
    async with memory_client(library, to("http://a/"), to("http://[::1]:2/"), held_stream()) as client:
        error = await refusal(anysse.open_stream("http://127.0.0.1/", client=client, https_only=True))
        assert isinstance(error, anysse.StatusError)
        assert "https_only" in str(error)
        async with anysse.open_stream("http://127.0.0.1/", client=client, https_only=True):
            pass


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("body", [{"content": b"x"}, {"json": {}}, {"data": {"a": "b"}}])
async def test_a_body_is_refused_another_origin(
    library: ModuleType, status: int, body: dict[str, Any]
) -> None:
    async with memory_client(library, to("http://b/", status)) as client:
        error = await refusal(anysse.open_stream("http://a/", method="POST", client=client, **body))
    assert isinstance(error, anysse.StatusError)
    assert error.status_code == status
    assert error.headers["location"] == "http://b/"
    assert "a body to another origin" in str(error)
    assert len(client.sent) == 1


async def test_a_body_is_refused_the_way_back_from_another_origin(library: ModuleType) -> None:
    hops = [to("http://a/x", 307), to("http://b/", 307)]
    async with memory_client(library, *hops) as client:
        error = await refusal(anysse.open_stream("http://a/", method="PUT", client=client, content=b"x"))
    assert "a body to another origin" in str(error)
    assert [request.content for request in client.sent] == [b"x", b"x"]


async def test_a_post_without_a_body_follows_anywhere(library: ModuleType) -> None:
    async with memory_client(library, to("http://b/", 307), stream_of(b"data: x\n\n")) as client:
        async with anysse.open_stream("http://a/", method="POST", client=client) as events:
            assert await data_of(events) == ["x"]
    assert [request.method for request in client.sent] == ["POST", "POST"]


# --- redirects within an origin ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/b", "http://a/b", "http://a:80/b", "HTTP://A/b"])
async def test_everything_goes_along_within_an_origin(library: ModuleType, target: str) -> None:
    def prepare(request: Any, attempt: anysse.Attempt) -> None:
        request.headers["X-Prepared"] = "yes"
        request.extensions["mine"] = 1

    async with memory_client(library, to(target), held_stream(), **CLIENT_SECRETS) as client:
        timeouts = Timeouts(connect=3.0)
        async with anysse.open_stream(
            "http://a/", client=client, prepare=prepare, timeouts=timeouts, **SECRETS
        ):
            pass
    asked, followed = client.sent
    assert followed.headers.multi_items() == asked.headers.multi_items()
    assert followed.headers["x-prepared"] == "yes"
    assert followed.headers["authorization"].startswith("Basic ")
    assert followed.extensions["mine"] == 1
    assert followed.extensions["timeout"]["connect"] == 3.0


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_is_sent_again_within_an_origin(library: ModuleType, status: int) -> None:
    async with memory_client(library, to("/b", status), stream_of(b"data: x\n\n")) as client:
        async with anysse.open_stream("http://a/", method="POST", json=[1], client=client) as events:
            assert await data_of(events) == ["x"]
    assert [(request.method, request.content) for request in client.sent] == [("POST", b"[1]")] * 2
    assert client.sent[1].headers["content-type"] == "application/json"


async def test_credentials_of_the_url_go_along_within_an_origin(library: ModuleType) -> None:
    async with memory_client(library, to("http://a/b"), held_stream()) as client:
        async with anysse.open_stream("http://user:secret@a/", client=client):
            pass
    first, second = client.sent
    assert first.headers["authorization"] == second.headers["authorization"]


@pytest.mark.parametrize(("count", "is_followed"), [(20, True), (21, False)])
async def test_twenty_redirects_are_followed(library: ModuleType, count: int, is_followed: bool) -> None:
    hops = [to(f"/{number}") for number in range(count)]
    async with memory_client(library, *hops, stream_of(b"data: x\n\n")) as client:
        opening = anysse.open_stream("http://a/", client=client, retry=None)
        if is_followed:
            async with opening as events:
                assert await data_of(events) == ["x"]
        else:
            error = await refusal(opening)
            assert isinstance(error, anysse.StatusError)
            assert "more than 20 times" in str(error)
    assert len(client.sent) == 21


@pytest.mark.parametrize(
    "location",
    [
        "http://a b/",
        "http://a:0/",
        "http://a:99999/",
        "ftp://a/",
        "http://[::1",
        "https:",
        "/\x01",
        "//\x7f/",
    ],
)
async def test_a_location_that_is_none_is_an_error_of_the_answer(library: ModuleType, location: str) -> None:
    async with memory_client(library, to(location)) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client))
    assert isinstance(error, anysse.ResponseError)
    assert "it redirects to" in str(error)
    assert len(client.sent) == 1


async def test_a_location_with_a_secret_does_not_show_it(library: ModuleType) -> None:
    async with memory_client(library, to("http://user:s3cr3t@b:0/?token=s3cr3t")) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client))
    assert isinstance(error, anysse.StatusError)
    assert "s3cr3t" not in str(error) + repr(error)


async def test_a_304_and_a_300_are_no_redirects(library: ModuleType) -> None:
    for status in (300, 304, 305):
        async with memory_client(library, to("/b", status)) as client:
            error = await refusal(anysse.open_stream("http://a/", client=client))
            assert isinstance(error, anysse.StatusError)
            assert error.status_code == status


async def test_the_redirect_itself_gives_its_connection_back(library: ModuleType) -> None:
    async def with_body(connection: Connection) -> None:
        await connection.respond(302, {"Location": "/b"}, b"x" * 1000)

    async with serve(with_body, held("data: x\n\n")) as server:
        async with library.AsyncClient(trust_env=False, verify=False) as client:
            async with anysse.open_stream(f"{server.url}/a", client=client) as events:
                await events.receive()
                assert len(server.connections) == 1


async def test_an_endless_redirect_body_is_given_up(library: ModuleType) -> None:
    async def endless(connection: Connection) -> None:
        await connection.respond(302, {"Location": "/b"}, chunked=True)
        while True:
            await connection.send(b"x" * 1000)

    async def silent(connection: Connection) -> None:
        await connection.respond(302, {"Location": "/b"}, chunked=True)
        await connection.hang()

    async def cut(connection: Connection) -> None:
        await connection.respond(302, {"Location": "/b"}, chunked=True)
        await connection.send(b"x")
        await connection.reset()

    async with library.AsyncClient(trust_env=False, verify=False) as client:
        for script in (endless, silent, cut):
            with anyio.fail_after(10):
                async with serve(script, held("data: x\n\n")) as server:
                    async with anysse.open_stream(server.url, client=client) as events:
                        assert (await events.receive()).data == "x"
                    await server.all_closed()


async def test_what_was_read_of_many_small_chunks_is_left_in_order(library: ModuleType) -> None:
    async def many(connection: Connection) -> None:
        await event_stream(connection)
        await connection.write(b"1\r\n\n\r\n" * 10_000 + b"9\r\ndata: x\n\n\r\n" + b"1\r\n\n\r\n" * 20_000)
        await connection.hang()

    async with library.AsyncClient(trust_env=False, verify=False) as client:
        async with serve(many) as server:
            async with anysse.open_stream(server.url, client=client) as events:
                await events.receive()
            await server.all_closed()
            assert client._transport._pool.connections == []


# --- codings ----------------------------------------------------------------------------------------------


def coded(coding: str, *parts: bytes, status: int = 200, **options: Any) -> Answer:
    headers = [("Content-Type", "text/event-stream"), ("Content-Encoding", coding)]
    return Answer(status=status, headers=headers, parts=parts, **options)


EVENTS = b"data: one\n\ndata: two\n\n"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip_of(EVENTS)),
        ("X-GZip", gzip_of(EVENTS)),
        ("gzip", gzip_of(EVENTS[:11]) + gzip_of(EVENTS[11:])),
        ("deflate", zlib.compress(EVENTS)),
        ("deflate", zlib.compress(EVENTS)[2:-4]),
        ("gzip, gzip", gzip_of(gzip_of(EVENTS))),
        ("deflate, gzip", gzip_of(zlib.compress(EVENTS))),
        ("identity", EVENTS),
        ("", EVENTS),
        ("identity, gzip", gzip_of(EVENTS)),
    ],
)
@pytest.mark.parametrize("step", [1, 10_000])
async def test_what_is_compressed_is_inflated(
    library: ModuleType, coding: str, body: bytes, step: int
) -> None:
    parts = [body[start : start + step] for start in range(0, len(body), step)]
    async with memory_client(library, coded(coding, *parts)) as client:
        async with anysse.open_stream("http://a/", client=client, retry=None) as events:
            assert await data_of(events) == ["one", "two"]


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip, gzip", "chunked"])
async def test_a_coding_that_is_not_undone_is_an_error_of_the_answer(
    library: ModuleType, coding: str
) -> None:
    async with memory_client(library, coded(coding, b"xxxx")) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client))
    assert type(error) is anysse.ResponseError
    assert error.status_code == 200
    assert error.headers["content-encoding"] == coding


@pytest.mark.parametrize("cut", [1, 5, 15, 20, -1])
async def test_a_compressed_body_that_ends_too_soon_was_cut_off(library: ModuleType, cut: int) -> None:
    async with memory_client(library, coded("gzip", gzip_of(EVENTS)[:cut])) as client:
        async with anysse.open_stream("http://a/", client=client, retry=None) as events:
            with pytest.raises(anysse.StreamDropped, match="compressed body ended too soon"):
                await data_of(events)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_that_is_not_what_it_says_is_an_error_of_the_answer(
    library: ModuleType, coding: str
) -> None:
    async with memory_client(library, coded(coding, EVENTS)) as client:
        async with anysse.open_stream("http://a/", client=client) as events:
            with pytest.raises(anysse.ResponseError, match="cannot be decompressed") as caught:
                await events.receive()
    assert type(caught.value) is anysse.ResponseError
    assert caught.value.status_code == 200
    assert isinstance(caught.value.__cause__, ValueError)


async def test_events_before_the_corrupt_part_come_first(library: ModuleType) -> None:
    squeeze = zlib.compressobj(wbits=31)
    good = squeeze.compress(EVENTS) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    async with memory_client(library, coded("gzip", good, b"\xff" * 100)) as client:
        async with anysse.open_stream("http://a/", client=client) as events:
            assert [(await events.receive()).data for _ in range(2)] == ["one", "two"]
            with pytest.raises(anysse.ResponseError):
                await events.receive()


def bomb(begin: bytes, size: int) -> bytes:
    """Compress so many bytes twice: to some hundred."""
    squeeze = zlib.compressobj(9, wbits=31)
    once = squeeze.compress(begin)
    for _ in range(size // 2**20):
        once += squeeze.compress(b"x" * 2**20)
    return gzip_of(once + squeeze.flush())


async def peak_of(block: Callable[[], Awaitable[None]]) -> int:
    """Give the bytes that a block needed at most, over what there was before."""
    tracemalloc.start()
    try:
        await block()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_bomb_is_inflated_in_bounded_memory(library: ModuleType, anyio_backend_name: str) -> None:
    comment, line = bomb(b":", 64 * 2**20), bomb(b"data: ", 64 * 2**20)
    assert len(comment) < 1000

    async def ignored() -> None:
        async with anysse.open_stream("http://a/", client=client, retry=None) as events:
            assert await data_of(events) == []

    async def too_large() -> None:
        async with anysse.open_stream("http://a/", client=client, max_event_size=2**20) as events:
            with pytest.raises(anysse.EventTooLarge):
                await events.receive()

    async def error_body() -> None:
        error = await refusal(anysse.open_stream("http://a/", client=client))
        assert isinstance(error, anysse.StatusError)
        assert len(error.body) == 65_536

    answers = [coded("gzip, gzip", comment), coded("gzip, gzip", line)]
    answers.append(coded("gzip, gzip", line, status=404))
    async with memory_client(library, *answers) as client:
        for block, limit in ((ignored, 2), (too_large, 8), (error_body, 2)):
            assert await peak_of(block) < limit * 2**20


@pytest.mark.parametrize("coding", ["br", "gzip", "gzip, gzip, gzip"])
async def test_an_error_stays_one_of_its_status_though_its_body_cannot_be_read(
    library: ModuleType, coding: str
) -> None:
    answers = [coded(coding, b"no gzip", status=503), stream_of(b"data: x\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream("http://a/", client=client, retry=QUICK) as events:
            assert (await events.receive()).data == "x"


# --- what an answer is worth ------------------------------------------------------------------------------


async def test_a_refused_answer_is_released(library: ModuleType) -> None:
    answers = [Answer(status=404, parts=[b"gone"]), held_stream(headers=[("Content-Type", "text/html")])]
    async with memory_client(library, *answers) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client))
        assert isinstance(error, anysse.StatusError)
        assert (error.body, error.text) == (b"gone", "gone")
    assert answers[0].is_closed


def test_what_is_read_of_an_error_has_a_deadline(library: ModuleType) -> None:
    async def main() -> None:
        answer = held_stream(b"begun", headers=[("Content-Type", "text/html")])
        async with memory_client(library, answer) as client:
            before = anyio.current_time()
            error = await refusal(anysse.open_stream("http://a/", client=client))
            assert isinstance(error, anysse.ContentTypeError)
            assert error.body == b"begun"
            assert anyio.current_time() - before == 2.0
            assert answer.is_closed

    in_virtual_time(main)


async def test_accept_response_that_refuses_is_named(library: ModuleType) -> None:
    async with memory_client(library, stream_of(EVENTS), Answer(status=404)) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client, accept_response=lambda _: False))
        assert type(error) is anysse.ResponseError
        assert "accept_response" in str(error)
        assert error.body == EVENTS
        error = await refusal(anysse.open_stream("http://a/", client=client, accept_response=lambda _: False))
        assert isinstance(error, anysse.StatusError)


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_accept_response_raises_leaves_bare_and_releases_the_answer(
    library: ModuleType, is_async: bool
) -> None:
    mine = LookupError("mine")

    def accept(response: anysse.StreamResponse) -> bool:
        raise mine

    async def accept_later(response: anysse.StreamResponse) -> bool:
        await turns(3)
        raise mine

    answer = held_stream()
    async with memory_client(library, answer) as client:
        opening = anysse.open_stream(
            "http://a/", client=client, accept_response=accept_later if is_async else accept
        )
        assert await refusal(opening) is mine
        assert answer.is_closed


async def test_accept_response_is_asked_for_each_connection(library: ModuleType) -> None:
    seen: list[tuple[int, str]] = []

    async def accept(response: anysse.StreamResponse) -> bool:
        await turns(3)
        seen.append((response.status_code, response.url))
        return True

    answers = [
        stream_of(b"retry: 100\ndata: x\n\n", headers=[]),
        to("/b"),
        stream_of(b"data: y\n\n", status=500),
    ]
    async with memory_client(library, *answers, Answer(status=204)) as client:
        async with anysse.open_stream("http://a/", client=client, accept_response=accept) as events:
            assert await data_of(events) == ["x", "y"]
    assert seen == [(200, "http://a/"), (500, "http://a/b")]


# --- whose errors are whose -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "phase"),
    [
        ("ConnectError", anysse.ConnectError, None),
        ("ProxyError", anysse.ConnectError, None),
        ("UnsupportedProtocol", anysse.ConnectError, None),
        ("ConnectTimeout", anysse.StreamTimeout, "connect"),
        ("PoolTimeout", anysse.StreamTimeout, "pool"),
        ("ReadTimeout", anysse.StreamTimeout, "response"),
        ("WriteTimeout", anysse.StreamTimeout, "response"),
        ("ReadError", anysse.StreamDropped, None),
        ("WriteError", anysse.StreamDropped, None),
        ("CloseError", anysse.StreamDropped, None),
        ("RemoteProtocolError", anysse.StreamDropped, None),
        ("DecodingError", anysse.StreamDropped, None),
        ("TooManyRedirects", anysse.StreamDropped, None),
        ("LocalProtocolError", anysse.InvalidRequest, None),
        ("InvalidURL", anysse.ResponseError, None),
    ],
)
async def test_each_error_of_the_library_becomes_one_of_ours(
    library: ModuleType, name: str, kind: type[Exception], phase: str | None
) -> None:
    theirs = getattr(library, name)("so it is")
    async with memory_client(library, theirs) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client, retry=None))
    assert type(error) is kind
    assert error.__cause__ is theirs
    assert getattr(error, "phase", None) == phase
    if kind is not anysse.InvalidRequest:
        assert isinstance(error, anysse.AnysseError)
        assert error.url == "http://a/"


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        (OSError("no route"), "no route"),
        (ssl.SSLError("bad record"), "bad record"),
        (anyio.BrokenResourceError(), "BrokenResourceError"),
        (anyio.ClosedResourceError(), "ClosedResourceError"),
    ],
)
async def test_errors_beneath_the_library_become_ours(
    library: ModuleType, theirs: Exception, reason: str
) -> None:
    async with memory_client(library, theirs) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client, retry=None))
    assert isinstance(error, anysse.StreamDropped)
    assert reason in str(error)


async def test_an_error_without_words_has_those_of_its_cause(library: ModuleType) -> None:
    theirs = library.ReadError("")
    theirs.__cause__ = anyio.BrokenResourceError()
    theirs.__cause__.__context__ = ConnectionResetError(104, "Connection reset by peer")
    async with memory_client(library, theirs) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client, retry=None))
    assert "Connection reset by peer" in str(error)


async def test_the_words_of_several_connections_that_failed_are_those_of_the_first(
    library: ModuleType,
) -> None:
    theirs = library.ConnectError("All connection attempts failed")
    theirs.__cause__ = ExceptionGroup("several", [OSError(113, "No route to host"), OSError(111, "Refused")])
    async with memory_client(library, theirs) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client, retry=None))
    assert "No route to host" in str(error)


async def test_an_endless_chain_of_causes_is_followed_for_a_while(library: ModuleType) -> None:
    theirs, other = library.ReadError(""), LookupError("")
    theirs.__cause__, other.__cause__ = other, theirs
    async with memory_client(library, theirs) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client, retry=None))
    assert "ReadError" in str(error)


async def test_an_error_that_is_no_failure_of_a_connection_leaves_as_itself(library: ModuleType) -> None:
    theirs = LookupError("a bug")
    async with memory_client(library, theirs) as client:
        assert await refusal(anysse.open_stream("http://a/", client=client)) is theirs


async def test_a_refused_header_shows_no_secret(library: ModuleType) -> None:
    class Injecting(library.Auth):  # type: ignore[misc, name-defined]
        def auth_flow(self, request: Any) -> Iterator[Any]:
            request.headers["Authorization"] = "s3cr3t\n"
            yield request

    async with serve() as server, library.AsyncClient(trust_env=False, verify=False) as client:
        error = await refusal(anysse.open_stream(server.url, client=client, auth=Injecting()))
        assert isinstance(error, anysse.InvalidRequest)
        assert error.argument == "request"
        assert "s3cr3t" not in str(error)
        assert server.requests == []


async def test_a_hook_that_raises_for_the_status_says_what_the_status_says(library: ModuleType) -> None:
    async def check(response: Any) -> None:
        response.raise_for_status()

    async with memory_client(
        library,
        Answer(status=429, headers=[("Retry-After", "0"), ("X-Why", "so")]),
        Answer(status=404),
        event_hooks={"response": [check]},
    ) as client:
        recorder = Recorder()
        error = await refusal(
            anysse.open_stream("http://a/", client=client, retry=QUICK, observers=[recorder])
        )
    assert isinstance(error, anysse.StatusError)
    assert error.status_code == 404
    first = recorder.of(anysse.AttemptFailed)[0].error
    assert isinstance(first, anysse.StatusError)
    assert (first.status_code, first.headers["x-why"], first.retry_after) == (429, "so", 0.0)


async def failing_body(error: Exception, *parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise error


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ReadError", anysse.StreamDropped),
        ("RemoteProtocolError", anysse.StreamDropped),
        ("ReadTimeout", anysse.StreamTimeout),
    ],
)
async def test_an_error_in_mid_body_comes_after_what_came_before_it(
    library: ModuleType, name: str, kind: type[anysse.StreamError]
) -> None:
    theirs = getattr(library, name)("")
    answer = Answer(parts=failing_body(theirs, b"data: x\n\ndata: y\n\n"))
    async with memory_client(library, answer) as client:
        async with anysse.open_stream("http://a/", client=client, retry=None) as events:
            assert [(await events.receive()).data for _ in range(2)] == ["x", "y"]
            with pytest.raises(kind) as caught:
                await events.receive()
    assert caught.value.__cause__ is theirs
    assert caught.value.status_code == 200
    assert getattr(caught.value, "phase", "idle") == "idle"


# --- timeouts of the phases -------------------------------------------------------------------------------


async def test_a_full_pool_is_a_pool_timeout(library: ModuleType) -> None:
    limits = library.Limits(max_connections=1)
    async with library.AsyncClient(trust_env=False, verify=False, limits=limits) as client:
        async with serve(held()) as server, anysse.open_stream(server.url, client=client):
            error = await refusal(
                anysse.open_stream(server.url, client=client, timeouts=Timeouts(connect=0.1), retry=None)
            )
    assert isinstance(error, anysse.StreamTimeout)
    assert (error.phase, error.seconds) == ("pool", 0.1)


async def test_a_silent_handshake_is_a_connect_timeout(library: ModuleType) -> None:
    async def silent(connection: Connection) -> None:
        await connection.hang()

    async with serve(silent) as server, library.AsyncClient(trust_env=False, verify=False) as client:
        url = server.url.replace("http:", "https:")
        error = await refusal(
            anysse.open_stream(url, client=client, timeouts=Timeouts(connect=0.1), retry=None)
        )
    assert isinstance(error, anysse.StreamTimeout)
    assert (error.phase, error.seconds) == ("connect", 0.1)


def silent_after(*answers: Any) -> Any:
    async def silence(request: Any) -> Answer:
        await anyio.sleep_forever()
        raise AssertionError

    return [*answers, silence]


def test_the_response_timeout_spans_the_redirects(library: ModuleType) -> None:
    async def slow(request: Any) -> Answer:
        await anyio.sleep(20)
        return to("/b")

    async def main() -> None:
        recorder = Recorder()
        async with memory_client(library, *silent_after(slow, slow)) as client:
            before = anyio.current_time()
            error = await refusal(
                anysse.open_stream("http://a/", client=client, timeouts=50, retry=None, observers=[recorder])
            )
            assert anyio.current_time() - before == 50.0
        assert isinstance(error, anysse.StreamTimeout)
        assert (error.phase, error.seconds) == ("response", 50)
        assert len(client.sent) == 3
        assert recorder.of(anysse.AttemptFailed)[0].error is error

    in_virtual_time(main)


# --- auth -------------------------------------------------------------------------------------------------


async def test_auth_is_as_in_httpx(library: ModuleType) -> None:
    def sign(request: Any) -> Any:
        request.headers["X-Signature"] = f"of {request.url.path}"
        return request

    async with memory_client(library, *[held_stream()] * 3, auth=("client", "x")) as client:
        for options in ({}, {"auth": ("call", "x")}, {"auth": sign}):
            async with anysse.open_stream("http://a/b", client=client, **options):
                pass
    headers = [request.headers for request in client.sent]
    assert headers[0]["authorization"] == "Basic Y2xpZW50Ong="
    assert headers[1]["authorization"] == "Basic Y2FsbDp4"
    assert "authorization" not in headers[2]
    assert headers[2]["x-signature"] == "of /b"


async def test_no_auth_takes_away_that_of_the_client(library: ModuleType) -> None:
    async with memory_client(library, held_stream(), auth=("client", "x")) as client:
        async with anysse.open_stream("http://a/", client=client, auth=None):
            pass
    assert "authorization" not in client.sent[0].headers


async def test_a_digest_flow_is_gone_through(library: ModuleType) -> None:
    challenge = [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5')]
    answers = [Answer(status=401, headers=challenge), stream_of(b"data: x\n\n")]
    async with memory_client(library, *answers) as client:
        auth = library.DigestAuth("user", "secret")
        async with anysse.open_stream("http://a/", method="POST", json=1, client=client, auth=auth) as events:
            assert await data_of(events) == ["x"]
    assert client.sent[1].headers["authorization"].startswith("Digest ")
    assert [request.content for request in client.sent] == [b"1", b"1"]


async def test_what_an_auth_flow_raises_leaves_bare(library: ModuleType) -> None:
    def refuse(request: Any) -> Any:
        raise LookupError("no token")

    async with memory_client(library) as client:
        error = await refusal(anysse.open_stream("http://a/", client=client, auth=refuse))
    assert isinstance(error, LookupError)


# --- clients ----------------------------------------------------------------------------------------------


def test_the_library_is_the_clients(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    client = library.AsyncClient(verify=False)
    assert library_of(client, "http://a/") is library
    assert library_of(None, library.Request("GET", "http://a/")) is library
    assert library_of(None, "http://a/").__name__ == "httpx"
    monkeypatch.delitem(sys.modules, "httpx2", raising=False)
    assert library_of(None, "http://a/").__name__ == "httpx"


async def test_a_stream_without_a_client_makes_and_closes_its_own(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    make = library.AsyncClient.__init__

    def spied(client: Any, **options: Any) -> None:
        make(client, **options)
        made.append(client)

    monkeypatch.setattr(library.AsyncClient, "__init__", spied)
    async with serve(then=held("data: x\n\n")) as server:
        for _ in range(3):
            async with anysse.open_stream(library.Request("GET", server.url), retry=None) as events:
                assert (await events.receive()).data == "x"
                assert not made[-1].is_closed
            assert made[-1].is_closed
        await server.all_closed()
    assert len(made) == 3
    assert all(isinstance(client._transport, anysse.StreamingTransport) for client in made)
    # Making one takes longer than a handshake: they share it.
    assert len({id(client._transport._verify) for client in made}) == 1
    assert isinstance(made[0]._transport._verify, ssl.SSLContext)


async def test_an_own_client_is_closed_where_the_stream_does_not_open(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def spied(module: ModuleType) -> Any:
        made.append(own_client(module))
        return made[-1]

    monkeypatch.setattr("anysse._open.own_client", spied)
    async with serve() as server:
        error = await refusal(anysse.open_stream(library.Request("GET", server.url)))
        assert isinstance(error, anysse.StatusError)
        assert made[0].is_closed


async def test_the_callers_client_stays_open(library: ModuleType) -> None:
    async with library.AsyncClient(trust_env=False, verify=False) as client:
        async with serve(held("data: x\n\n")) as server, anysse.open_stream(server.url, client=client):
            pass
        assert not client.is_closed


async def test_the_callers_tls_settings_count(library: ModuleType) -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive()
            head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            await stream.send(f"{head}data: x\n\n".encode())

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    tls = TLSListener(listener, server_side, standard_compatible=False)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    url = f"https://127.0.0.1:{port}/"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tls.serve, handle)
        async with library.AsyncClient(trust_env=False, verify=trusting) as client:
            async with anysse.open_stream(url, client=client, retry=None, https_only=True) as events:
                assert (await events.receive()).data == "x"
        tasks.cancel_scope.cancel()
    await tls.aclose()


async def test_a_certificate_that_is_not_trusted_is_a_connect_error(library: ModuleType) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server_side)

    async def handle(stream: anyio.abc.ByteStream) -> None:
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    # A handshake that fails is the test's point, and not the listener's to raise.
    tls = TLSListener(listener, server_side)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tls.serve, handle)
        async with library.AsyncClient(trust_env=False) as client:
            error = await refusal(anysse.open_stream(f"https://127.0.0.1:{port}/", client=client, retry=None))
        tasks.cancel_scope.cancel()
    await tls.aclose()
    assert isinstance(error, anysse.ConnectError)
    assert "certificate" in str(error).lower()
