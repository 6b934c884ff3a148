"""What the log and a ``repr`` say of a client's requests: each step, of which request, and nothing secret."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import logging
import os
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

import anysse
from anysse import Handlers, InvalidRequest, StreamClient, StreamError, StreamLimits, StreamStatus
from anysse._redact import redact_headers, redact_url
from anysse.testing import SocketServer as Server
from tests.diary import EXACT, URL
from tests.server import answer, event_stream, feed, in_turn, serve
from tests.streams import Answer, held_stream, in_virtual_time, memory_client, stream_of

# All of them are told from one another, and from anything that is no secret.
SECRETS = {
    "user": "s3cr-user",
    "password": "s3cr-password",
    "base": "s3cr-base",
    "params": "s3cr-params",
    "payload": "s3cr-payload",
    "nested": "s3cr-nested",
    "listed": "s3cr-listed",
    "authorization": "s3cr-authorization",
    "proxy": "s3cr-proxy",
    "cookie": "s3cr-cookie",
    "x-api-key": "s3cr-x-api-key",
    "request header": "s3cr-request-header",
    "set-cookie": "s3cr-set-cookie",
    "location": "s3cr-location",
}
HEADERS = {
    "Authorization": f"Bearer {SECRETS['authorization']}",
    "Proxy-Authorization": f"Basic {SECRETS['proxy']}",
    "Cookie": f"session={SECRETS['cookie']}",
    "X-Api-Key": SECRETS["x-api-key"],
}
PROMPT = "s3cr-prompt"  # what is sent and what is received is nobody's business either
DATA = "s3cr-data"
KEYS = {
    "token": SECRETS["payload"],
    "options": {"deep": {"api_key": SECRETS["nested"]}},
    "messages": [{"accessToken": SECRETS["listed"]}],
}


def lines_of(records: Iterable[logging.LogRecord], number: int) -> list[str]:
    """Give what is said of one request, without its number."""
    lines = [record.getMessage() for record in records if getattr(record, "request", None) == number]
    assert all(line.startswith(f"request {number}: ") for line in lines)
    return [line.removeprefix(f"request {number}: ") for line in lines]


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "anysse"]


def assert_in_order(lines: list[str], *patterns: str) -> None:
    """Every pattern has a line, after that of the one before it."""
    rest = iter(lines)
    for pattern in patterns:
        assert any(re.search(pattern, line) for line in rest), (pattern, lines)


def assert_hides(text: str, *more: str) -> None:
    for secret in (*SECRETS.values(), *more):
        assert secret not in text, secret


def shown(record: logging.LogRecord) -> str:
    """Give all that a formatter could make of a record, but for a traceback."""
    arguments = record.args if isinstance(record.args, tuple) else (record.args,)
    texts = [record.getMessage(), repr(record.args), *map(str, arguments), *map(repr, arguments)]
    return "\n".join([*texts, str(record.msg)])


async def failing(connection: Any) -> None:
    await event_stream(connection, f"data: {DATA}\n\n")
    await connection.reset()


# --- each step --------------------------------------------------------------------------------------------


def test_each_step_of_a_request_is_a_line(library: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        answers = [
            Answer(status=503),
            stream_of(b"data: 1\n\ndata: bad\n\ndata: [DONE]\n\n"),
        ]
        async with memory_client(library, *answers) as http:
            async with StreamClient(
                URL, client=http, retry=EXACT, resend="always", decode=lambda event: int(event.data)
            ) as client:
                request = client.start(None)
                assert await request.wait() is StreamStatus.COMPLETED
        assert_in_order(
            lines_of(ours(caplog), request.number),
            r"^connecting, after idle$",
            r"^attempt 1: admitted after 0\.0 s$",
            r"^attempt 1: POST Headers\(",
            r"^connecting to https://a/chat$",
            r"^waiting, after connecting$",
            r"answered 503 Service Unavailable.*; next attempt in 1\.0 s$",
            r"^connecting, after waiting$",
            r"^attempt 2: admitted",
            r"^connecting to ",
            r"^connected, after connecting$",
            r"^connected to https://a/chat$",
            r"^status 200, Headers\(",
            r"^its done event came$",
            r"^completed, after connected$",
            r"^cannot decode an event of type 'message': ValueError$",
            r"^ended: completed$",
        )

    in_virtual_time(main)


def test_how_long_a_request_waited_for_admission_is_said(
    library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with memory_client(library, *[held_stream() for _ in range(2)]) as http:
            limits = StreamLimits(max_connections=1)
            async with StreamClient(URL, client=http, limits=limits) as client:
                first = client.start(None)
                await first.wait_for(StreamStatus.CONNECTED)
                second = client.start(None)
                await anyio.sleep(7)
                # It waits for its turn, which looks otherwise than waiting for the server.
                assert lines_of(ours(caplog), second.number) == ["connecting, after idle"]
                first.disconnect()
                await second.wait_for(StreamStatus.CONNECTED)
                assert_in_order(lines_of(ours(caplog), second.number), r"^attempt 1: admitted after 7\.0 s$")

    in_virtual_time(main)


def test_a_feed_says_when_it_comes_back(library: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with memory_client(library, stream_of(b"retry: 4000\ndata: 1\n\n"), held_stream()) as http:
            retry = anysse.ExponentialBackoff(jitter=0.0)
            async with StreamClient(URL, client=http, kind="feed", resend="always", retry=retry) as client:
                request = client.start(None)
                await request.wait_for(StreamStatus.WAITING)
                await request.wait_for(StreamStatus.CONNECTED)
        assert_in_order(
            lines_of(ours(caplog), request.number),
            r"^the connection to https://a/chat ended$",
            r"^next attempt in 4\.0 s$",
            r"^connected to",
        )

    in_virtual_time(main)


def test_a_request_that_is_given_up_says_so(library: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with memory_client(library, *[Answer(status=503) for _ in range(4)]) as http:
            async with StreamClient(URL, client=http, retry=EXACT, resend="always") as client:
                request = client.start(None)
                with pytest.raises(anysse.StatusError):
                    await request.wait()
        assert_in_order(
            lines_of(ours(caplog), request.number),
            r"; next attempt in 1\.0 s$",
            r"; next attempt in 2\.0 s$",
            r"; next attempt in 4\.0 s$",
            r"^error, after connecting$",
            r"; giving up$",
            r"^ended: error \(StatusError\)$",
        )

    in_virtual_time(main)


async def test_who_was_disconnected_is_said(caplog: pytest.LogCaptureFixture) -> None:
    import httpx

    async with memory_client(httpx, held_stream(b"data: 1\n\n"), held_stream()) as http:
        async with StreamClient(URL, client=http) as client:
            request = client.start(on_message=lambda data, event: request.disconnect())
            await request.wait()
            async with client.stream() as stream:
                client.disconnect()
    for number in (request.number, stream.number):
        lines = lines_of(ours(caplog), number)
        assert_in_order(lines, "^disconnected$", "^ended: idle")
        assert [lines.count("disconnected"), lines.count("ended: idle")] == [1, 1]


async def test_a_handler_that_fails_is_said_and_where(caplog: pytest.LogCaptureFixture) -> None:
    import httpx

    def fail(data: object, event: object) -> None:
        raise LookupError("mine")

    async with memory_client(httpx, *[stream_of(b"data: 1\n\n") for _ in range(2)]) as http:
        async with StreamClient(URL, client=http) as client:
            with pytest.raises(LookupError):
                await client.send_request(on_message=fail)
            # Its caller has it: the log says no more than that it ended so.
            assert "ended: error (LookupError)" in ours(caplog)[-1].getMessage()
            request = client.start(on_message=fail)
            with pytest.raises(LookupError):
                await request.wait()
            # Nobody need wait for this one.
            await anyio.wait_all_tasks_blocked()
            record = ours(caplog)[-1]
            assert record.levelno == logging.ERROR
            assert record.exc_info is not None
            assert record.exc_info[0] is LookupError
            assert_in_order(lines_of(ours(caplog), request.number), r"^ended: error \(LookupError\)$")


# --- of which request -------------------------------------------------------------------------------------


async def test_concurrent_requests_can_be_told_apart(
    library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    async def by_path(request: Any) -> Answer:
        return Answer(status=404) if request.url.path == "/lost" else stream_of(b"data: 1\n\n")

    async with memory_client(library, *[by_path] * 13) as http:
        async with StreamClient(URL, client=http) as client:
            requests = [client.start(None, path="/chat" if n % 3 else "/lost") for n in range(12)]
            async with client.stream(path="/stream") as stream:
                pass
            for request in requests:
                try:
                    await request.wait()
                except anysse.StatusError:
                    assert request.status is StreamStatus.ERROR
    records = ours(caplog)
    numbers = [request.number for request in requests] + [stream.number]
    assert len(set(numbers)) == len(numbers)
    assert {getattr(record, "request", None) for record in records} == set(numbers)
    assert sum(len(lines_of(records, number)) for number in numbers) == len(records)
    for request in requests:
        lines = lines_of(records, request.number)
        assert lines[0] == "connecting, after idle"
        assert lines[-1].startswith(f"ended: {request.status}")
    assert "connecting to https://a/stream" in lines_of(records, stream.number)
    # They were under way at the same time: else this test says nothing.
    order = [record.request for record in records]  # type: ignore[attr-defined]
    assert order != sorted(order)


# --- nothing secret ---------------------------------------------------------------------------------------


async def use_every_secret(server: Server, user: str) -> list[object]:
    """Have requests of all kinds that end in all manners; give what has a repr."""
    seen: list[object] = []

    def see(*values: object) -> None:
        seen.extend(values)

    retry = anysse.ExponentialBackoff(initial=0.1, jitter=0.0, max_retries=1)
    async with StreamClient(
        f"http://{user}{server.url.removeprefix('http://')}/s?api_key={SECRETS['base']}&shown=yes",
        headers=HEADERS,
        params={"token": SECRETS["params"]},
        retry=retry,
        resend="always",
    ) as client:
        handlers = Handlers(on_error=see, on_retry=see)
        one = client.start({"prompt": PROMPT, **KEYS}, handlers)
        two = client.start(KEYS, handlers, method="GET", headers={"X-Auth-Token": SECRETS["request header"]})
        for request in (one, two):
            try:
                await request.wait()
            except StreamError as error:
                see(error)
        await client.send_request(
            handlers=Handlers(on_error=see), decode=lambda event: int(event.data), path="/ok"
        )
        for wrong in ({"headers": {"Authorization": object()}}, {"path": f"//b/?key={SECRETS['base']}"}):
            with pytest.raises(InvalidRequest) as caught:
                client.start(None, **wrong)  # type: ignore[call-overload]
            see(caught.value)
        async with client.stream(KEYS, path=f"/ok?token={SECRETS['base']}") as stream:
            see(stream, stream.response, client, client.requests)
            assert [message async for message in stream] == [DATA]
        see(client, one, two, client.requests, handlers, client.statistics())
    return seen


def scripts_for_secrets() -> dict[str, Any]:
    location = f"/s?access_token={SECRETS['location']}"
    headers = {"Set-Cookie": f"sid={SECRETS['set-cookie']}", "Content-Location": location}
    good = feed(f"data: {DATA}\n\n", headers=headers)
    bad = in_turn(answer(503, headers), failing, answer(401, headers), answer(500, headers))
    return {"/s": bad, "/ok": good}


@pytest.mark.parametrize("user", ["", f"{SECRETS['user']}:{SECRETS['password']}@"])
async def test_no_record_has_a_secret(caplog: pytest.LogCaptureFixture, user: str) -> None:
    async with serve(routes=scripts_for_secrets(), then=feed(f"data: {DATA}\n\n")) as server:
        seen = await use_every_secret(server, user)
        sent = "".join(
            f"{request.target} {request.headers.multi_items()} {request.body!r}"
            for request in server.requests
        )
    for name in SECRETS.keys() - {"user", "password", "set-cookie", "location"}:
        if not (name == "authorization" and user):  # what is in a URL is more than a header
            assert SECRETS[name] in sent, name  # they were in use: else this test says nothing
    records = ours(caplog)
    assert len(records) > 30
    assert any("shown=yes" in record.getMessage() for record in records)
    for record in records:
        assert record.exc_info is None
        assert_hides(shown(record), PROMPT, DATA)
    for value in seen:
        # Of the data, an event's own repr has all: it is the user's.
        assert_hides(repr(value), PROMPT)
        if isinstance(value, anysse.AnysseError):
            assert_hides(str(value), PROMPT, DATA)


def test_what_an_error_has_is_there_whole_and_hidden_in_its_text() -> None:
    error = anysse.StatusError(url=f"http://a/?token={SECRETS['base']}", status_code=401, headers=HEADERS)
    for same in (error, pickle.loads(pickle.dumps(error))):
        assert_hides(repr(same) + str(same) + repr(same.headers))
        assert same.url is not None
        assert SECRETS["base"] in same.url
        assert SECRETS["x-api-key"] in same.headers["x-api-key"]


@pytest.mark.parametrize(
    ("query", "is_shown"),
    [
        ('options={"api_key":"x"}', False),
        ("options=%7B%22deep%22%3A%7B%22password%22+%3A%22x%22%7D%7D", False),
        ('list=1,{"accessToken":"x"}', False),
        ('options={"keyboard":"x"}', True),
        ('options={"name":"token"}', True),
        ("text=the+key+is:+x", True),
        ('text="token', True),
    ],
)
def test_a_nested_payload_shows_no_secret_in_a_query(query: str, is_shown: bool) -> None:
    name = query.partition("=")[0]
    assert redact_url(f"http://a/?{query}&b=1") == f"http://a/?{query if is_shown else name + '=***'}&b=1"


@pytest.mark.parametrize("piece", ['\\"', '"', '"a" ', " "], ids=["escaped", "quotes", "names", "spaces"])
def test_a_long_query_without_a_secret_is_shown_as_it_is(piece: str) -> None:
    """Names are looked for in time that grows with the text, or this takes minutes."""
    url = f'http://a/?q=""{piece * 50_000}'
    assert redact_url(url) == url


def test_a_header_with_a_url_shows_no_secret_of_it() -> None:
    url, redacted = "https://me:pw@a/?token=x&b=1", "https://***@a/?token=***&b=1"
    names = ("Location", "content-location", "Referer", "X-Other")
    assert redact_headers([(name, url) for name in names]) == [
        *((name, redacted) for name in names[:3]),
        ("X-Other", url),
    ]


# --- by the environment -----------------------------------------------------------------------------------

PROGRAM = """
    import anyio, anysse, sys

    async def main():
        headers = {"Authorization": "Bearer s3cr-authorization", "X-Api-Key": "s3cr-x-api-key"}
        async with anysse.StreamClient(sys.argv[1], headers=headers) as client:
            await client.send_request({"prompt": "s3cr-prompt"}, params={"token": "s3cr-params"})
            async with client.stream({"token": "s3cr-payload"}, method="GET") as stream:
                async for message in stream:
                    print(message)

    anyio.run(main)
"""


@pytest.mark.parametrize("level", ["debug", "warning"])
async def test_the_environment_asks_for_it(level: str, anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("it is the server alone that runs here")
    async with serve(then=feed(f"data: {DATA}\n\n")) as server:
        done = await anyio.run_process(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), f"{server.url}/s?api_key=s3cr-base"],
            env={**os.environ, "ANYSSE_LOG": level},
            cwd=Path(__file__).parent.parent,
            stderr=subprocess.PIPE,
        )
    text = done.stderr.decode()
    assert done.stdout.decode().split() == [DATA]
    assert_hides(text, PROMPT, DATA)
    if level == "debug":
        lines = [line.split(" anysse: ")[1] for line in text.splitlines()]
        # A connection may serve one request after the other, and so its lines name none.
        of_connections = r"(opened|keeping|reusing|closed) (a|the) connection to 127\.0\.0\.1:\d+$"
        assert all(re.match(rf"request [12]: |{of_connections}", line) for line in lines)
        for number in (1, 2):
            assert f"request {number}: ended: completed" in lines
    else:
        assert text == ""


# --- repr -------------------------------------------------------------------------------------------------


async def test_a_client_shows_its_place_and_its_status() -> None:
    import httpx

    url = f"https://me:{SECRETS['password']}@a/s?api_key={SECRETS['base']}&x=1"
    async with memory_client(httpx, held_stream()) as http:
        client: StreamClient = StreamClient(url, client=http, headers=HEADERS, auth=("me", SECRETS["user"]))
        assert repr(client) == "<StreamClient https://***@a/s?api_key=***&x=1: idle>"
        async with client:
            request = client.start({"prompt": PROMPT})
            await request.wait_for(StreamStatus.CONNECTED)
            assert repr(client).endswith(": connected>")
            assert repr(request) == f"<StreamRequest {request.number}: connected>"
