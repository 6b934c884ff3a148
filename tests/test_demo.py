"""The demo: its server does what it says, its story measures, and notices what is wrong."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from types import ModuleType
from typing import Any

import anyio
import pytest

import anysse
from anysse.cli import _content, _server, _story, main
from anysse.cli._content import (
    DONE,
    Fault,
    FeedEvent,
    feed_event,
    feed_plans,
    reply_plans,
    tokens_for,
)
from anysse.cli._server import CHAT, FEED, DemoServer, PortError, serve_demo
from anysse.cli._wire import Peer
from tests.conftest import is_importable

pytestmark = pytest.mark.once

DEADLINE = 30.0
QUICK = anysse.ExponentialBackoff(initial=0.1, jitter=0.0)

backends = pytest.mark.parametrize(
    "backend",
    ["asyncio", pytest.param("trio", marks=pytest.mark.skipif(not is_importable("trio"), reason="no trio"))],
)


# --- what it says, as values ---


def test_the_feed_is_the_same_for_the_same_seed() -> None:
    events = [feed_event(1, number) for number in range(1, 101)]
    assert events == [feed_event(1, number) for number in range(1, 101)]
    assert events != [feed_event(2, number) for number in range(1, 101)]
    assert {event.type for event in events} == {"trade", "quote", "status"}
    assert all(isinstance(json.loads(event.data), dict) for event in events)
    assert any("\n" in event.data for event in events)


def test_an_event_survives_the_wire() -> None:
    parser = anysse.EventStreamParser()
    event = feed_event(1, 26)
    (parsed,) = parser.feed(event.encode())
    assert parsed == anysse.ServerSentEvent(event.type, event.data, "26")


@pytest.mark.parametrize("seed", range(20))
def test_the_feed_fails_in_every_way_but_is_never_refused_first_or_twice_in_a_row(seed: int) -> None:
    plans = list(islice(feed_plans(seed, drop=True), 40))
    faults = [fault for fault, _ in plans]
    assert set(faults[:4]) == set(Fault)
    assert faults[0] is not Fault.REFUSE
    assert all((one, two) != (Fault.REFUSE, Fault.REFUSE) for one, two in pairwise(faults))
    assert plans == list(islice(feed_plans(seed, drop=True), 40))


def test_a_server_that_drops_nothing_drops_nothing() -> None:
    for plans in (feed_plans(1, drop=False), reply_plans(1, drop=False)):
        assert {fault for fault, _ in islice(plans, 20)} == {None}


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ('{"prompt": "a"}', "a"),
        ('{"messages": [{"content": "a"}, {"role": "user", "content": "b"}]}', "b"),
        ('{"messages": []}', None),
        ('{"prompt": 1}', None),
        ('{"prompt"', None),
        ("[]", None),
        ("1", None),
        ("", None),
        ("\xff", None),
        ("[" * 100_000, None),
    ],
)
def test_a_prompt_is_found_or_not(body: str, prompt: str | None) -> None:
    assert _content.prompt_of(body.encode("latin-1")) == prompt


@pytest.mark.parametrize(
    ("text", "number"), [("17", 17), ("", 0), ("-1", 0), ("²", 0), ("\u0661", 0), ("9" * 16, 0), ("a", 0)]
)
def test_a_number_to_resume_from_is_bounded(text: str, number: int) -> None:
    assert _content.number_of(text) == number


# --- the feed ---


async def test_the_feed_is_resumed_with_nothing_lost(library: ModuleType) -> None:
    numbers, comments = [], []
    with anyio.fail_after(DEADLINE):
        async with (
            serve_demo(seed=3, gap=0) as demo,
            library.AsyncClient(trust_env=False) as client,
            anysse.open_stream(
                f"{demo.url}{FEED}?until=70", client=client, retry=QUICK, on_comment=comments.append
            ) as events,
        ):
            async for event in events:
                published = feed_event(3, int(event.id))
                assert (event.event, event.data) == (published.type, published.data)
                numbers.append(int(event.id))
            assert events.reconnection_time == _content.RETRY_MS / 1000
    assert numbers == list(range(1, 71))
    assert set(comments) == {"heartbeat"}
    assert {fault for path, fault in demo.drops if path == FEED} == set(Fault)


@pytest.mark.parametrize(("query", "options"), [("", {"last_event_id": "100"}), ("?after=100", {})])
async def test_a_feed_that_drops_nothing_goes_on_from_anywhere(query: str, options: Any) -> None:
    with anyio.fail_after(DEADLINE):
        async with (
            serve_demo(drop=False, gap=0) as demo,
            opened(demo, FEED + query, **options) as events,
        ):
            numbers = [int((await events.receive()).id) for _ in range(100)]
    assert numbers == list(range(101, 201))
    assert not demo.drops


def opened(demo: DemoServer, path: str, **options: Any) -> Any:
    return anysse.open_stream(f"{demo.url}{path}", **{"retry": QUICK, **options})


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("NO_PROXY", raising=False)


# --- the LLM ---


async def answer_to(demo: DemoServer, request: object) -> list[str]:
    async with opened(demo, CHAT, method="POST", json=request, done=DONE) as events:
        chunks = [event.json()["choices"][0] async for event in events]
    assert [chunk["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    return [chunk["delta"]["content"] for chunk in chunks[:-1]]


async def test_a_prompt_is_answered_token_by_token_refused_or_cut() -> None:
    prompt = "What are server-sent events?"
    visits: list[str] = []
    with anyio.fail_after(DEADLINE):
        async with serve_demo(gap=0, on_visit=visits.append) as demo:
            assert await answer_to(demo, {"prompt": prompt}) == tokens_for(prompt)
            echo = await answer_to(demo, {"messages": [{"content": "Moin"}]})  # refused, and asked again
            with pytest.raises(anysse.StreamDropped):
                await answer_to(demo, {"prompt": prompt})
            await answer_to(demo, {"prompt": prompt})
    assert "“Moin”" in "".join(echo)
    assert demo.replies_begun == 4
    assert demo.drops == {(CHAT, Fault.REFUSE): 1, (CHAT, Fault.CUT): 1}
    count = len(tokens_for(prompt))
    told = [visit.removeprefix("POST /v1/chat – ") for visit in visits]
    assert re.fullmatch(r"\d+ tokens, then cut in mid chunk", told.pop(3))
    assert told == [f"{count} tokens", "503, come back in 1 s", f"{len(echo)} tokens", f"{count} tokens"]


async def test_a_request_without_a_prompt_is_told_so() -> None:
    with anyio.fail_after(DEADLINE):
        async with serve_demo() as demo:
            with pytest.raises(anysse.StatusError, match="send JSON with a prompt"):
                await answer_to(demo, {"question": "?"})
    assert demo.replies_begun == 0


# --- the server ---


async def exchange(demo: DemoServer, request: bytes) -> bytes:
    """Send what may be no request, and read to the end."""
    answer = b""
    async with await anyio.connect_tcp("127.0.0.1", demo.port) as stream:
        await stream.send(request)
        try:
            while True:
                answer += await stream.receive()
        except anyio.EndOfStream:
            return answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 200),
        (b"GET /?a HTTP/1.0\r\n\r\n", 200),
        (b"GET /x HTTP/1.1\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\n\r\n", 405),
        (b"DELETE /feed HTTP/1.1\r\n\r\n", 405),
        (b"GET /v1/chat HTTP/1.1\r\n\r\n", 405),
        (b"POST /v1/chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /v1/chat HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 411),
        (b"POST /v1/chat HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413),
        (b"POST /v1/chat HTTP/1.1\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5000), 413),
        (b"GET /" + b"x" * 20_000, 431),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"POST /v1/chat HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n1", 100),
    ],
)
async def test_whatever_is_asked_is_answered(request_bytes: bytes, status: int) -> None:
    with anyio.fail_after(DEADLINE):
        async with serve_demo() as demo:
            answer = await exchange(demo, request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_a_client_may_go_at_any_time() -> None:
    visits: list[str] = []
    with anyio.fail_after(DEADLINE):
        async with serve_demo(drop=False, gap=0, on_visit=visits.append) as demo:
            async with await anyio.connect_tcp("127.0.0.1", demo.port) as stream:
                await stream.send(b"POST /v1/chat HTTP/1.1\r\nContent-Length: 5\r\n\r\nhal")
            async with await anyio.connect_tcp("127.0.0.1", demo.port) as stream:
                await stream.send(b"GET /feed HTTP/1.1\r\n\r\n")
                await stream.receive()
            while not visits:  # noqa: ASYNC110 - the server's callback is synchronous
                await anyio.sleep(0.01)
    assert visits == ["GET /feed – the client went away"]


async def test_a_client_that_does_not_read_is_waited_for() -> None:
    data = b"x" * (16 << 20)
    got = 0
    with (
        anyio.fail_after(DEADLINE),
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as guest,
        listener.accept()[0] as host,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Peer(host).chunk, data)
            await anyio.wait_all_tasks_blocked()
            while got < len(data):
                got += len(await anyio.to_thread.run_sync(guest.recv, 1 << 20))


async def test_a_client_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "_REQUEST_TIMEOUT", 0.01)
    with anyio.fail_after(DEADLINE):
        async with serve_demo() as demo:
            assert await exchange(demo, b"GET /") == b""


async def test_an_exception_of_the_body_leaves_as_itself() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serve_demo():
            raise KeyError("mine")


async def test_a_port_that_is_taken_is_an_error_of_its_own() -> None:
    async with serve_demo() as demo:
        with pytest.raises(PortError, match=f"cannot serve on port {demo.port}: "):
            async with serve_demo(port=demo.port):
                raise AssertionError


async def test_a_connection_that_is_gone_before_it_is_accepted_is_no_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serve_demo(drop=False, gap=0) as demo:
        real, failures = demo._listener, [ConnectionAbortedError()]

        class Listener:
            def fileno(self) -> int:
                return real.fileno()

            def accept(self) -> Any:
                if failures:
                    raise failures.pop()
                return real.accept()

        monkeypatch.setattr(demo, "_listener", Listener())
        with anyio.fail_after(DEADLINE):
            for _ in range(2):  # the first may still be taken by the real one
                async with opened(demo, FEED) as events:
                    await events.receive()
    assert not failures


# --- the story ---


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_story, "_EVENTS", 60)
    monkeypatch.setattr(_story, "_GAP", 0.0)


@backends
def test_the_demo_measures_that_nothing_was_lost(
    backend: str, short: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--backend", backend]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "events   60 of 60: 0 lost, 0 doubled, 0 out of order, 0 wrong" in out
    assert "prompts  4 asked, 4 answered" in out
    assert "1 refused and waited for, 1 cut" in out
    assert out.endswith("Nothing was lost, nothing came twice.\n")
    drawn = "".join(re.findall(r"^   ([tqs.]+)  ", out, re.MULTILINE))
    expected = Counter(feed_event(1, number).type[0] for number in range(1, 61))
    assert Counter(drawn) - Counter({".": 6}) == expected
    drops, resumed = (re.search(pattern, out) for pattern in (r"drops +(\d+) by", r"resumed +(\d+) times"))
    assert drops is not None
    assert resumed is not None
    assert drops[1] == resumed[1]


def test_without_drops_all_is_quiet(short: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--no-drop", "--seed", "7"]) == 0
    out = capsys.readouterr().out
    assert "drops    1 by the server: 1 ended" in out
    assert "0 refused and waited for, 0 cut" in out


def test_a_proxy_in_the_environment_is_passed_by(
    short: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert main(["demo", "--no-drop"]) == 0
    assert "no_proxy" not in os.environ
    assert os.environ["NO_PROXY"] == "example.com"


def test_the_demo_notices_what_is_wrong(
    short: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(seed: int, number: int) -> FeedEvent:
        return feed_event(seed + 1, number)

    encoded = FeedEvent.encode

    def misnumbered(self: FeedEvent) -> bytes:
        return encoded(self).replace(b"id: 30\n", b"id: 12\n")

    monkeypatch.setattr(_story, "feed_event", other)
    monkeypatch.setattr(FeedEvent, "encode", misnumbered)
    assert main(["demo", "--no-drop"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"BAD events   60 of 60: 1 lost, 1 doubled, 1 out of order, [1-9]\d* wrong", out)
    assert out.endswith("This is not as it should be.\n")


def test_the_demo_ends_though_its_streams_fail(
    short: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_story, "_GAP", 0.05)  # between two tokens
    monkeypatch.setattr(_story, "_PATIENCE", 0.01)  # over before the second token, always
    assert main(["demo"]) == 1
    out = capsys.readouterr().out
    assert "BAD problem  no answer to 'What are server-sent events?'" in out
    assert re.search(r"BAD problem .* within 0\.01 s", out)


def test_other_failures_than_cuts_are_told_too(
    short: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = anysse.Timeouts

    def hasty(*, total: float) -> anysse.Timeouts:
        return times(total=total, first_event=0.02)

    monkeypatch.setattr(anysse, "Timeouts", hasty)
    monkeypatch.setattr(_story, "_GAP", 0.05)
    monkeypatch.setattr(_story, "_PATIENCE", 1.0)
    assert main(["demo", "--no-drop"]) == 1
    assert "no event from http://127.0.0.1" in capsys.readouterr().out


def test_the_port_of_the_demo_may_be_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for serve in ([], ["--serve"]):
            assert main(["demo", "--port", str(port), *serve]) == 2
            assert capsys.readouterr().err.startswith(f"anysse: --port: cannot serve on port {port}: ")


def test_the_real_demo_ends_well_within_its_time() -> None:
    command = [sys.executable, "-W", "error", "-m", "anysse", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    took = re.search(r"Measured, in (\d+\.\d) s", done.stdout)
    assert took is not None
    assert float(took[1]) < 20  # about 7, where the machine is not busy


# --- only serving ---


@contextmanager
def standard_output(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the reading end of a pipe that is standard output."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as writer, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", writer)
        yield reader


def while_serving(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], visit: Callable[[str], None]
) -> tuple[int, list[str]]:
    """Run `demo --serve`, visit it from another thread, then press Ctrl-C."""
    lines: list[str] = []

    def guest(reader: Any) -> None:
        try:
            while not lines or lines[-1] != "Every request that ended:\n":
                lines.append(reader.readline())
            visit(re.findall(r"http://[\d.]+:\d+", lines[0])[0])
            lines.append(reader.readline())
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    with standard_output(monkeypatch) as reader:
        thread = threading.Thread(target=guest, args=[reader])
        thread.start()
        code = main(["demo", "--serve", *arguments])
        thread.join(DEADLINE)
    return code, lines


@backends
def test_serves_until_it_is_interrupted(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def visit(url: str) -> None:
        command = [sys.executable, "-m", "anysse", f"{url}/feed?until=1", "--no-reconnect"]
        assert subprocess.run(command, capture_output=True, timeout=DEADLINE, check=True).stdout.startswith(
            b"["
        )

    code, lines = while_serving(monkeypatch, ["--port", "0", "--backend", backend], visit)
    assert code == 130
    assert lines[-1] == "GET /feed?until=1 – 1 events after 0, then ended\n"
    assert any("curl -N http://127.0.0.1:" in line for line in lines)
    assert capsys.readouterr().err == ""


def test_serves_on_a_free_port_where_the_usual_one_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def visit(url: str) -> None:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as guest:
            guest.sendall(b"GET /\x1b[2J?\x9b HTTP/1.1\r\n\r\n")  # is not found, and not told
            guest.recv(100)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as guest:
            guest.sendall(b"GET /?\x1b[2J\x9b HTTP/1.1\r\n\r\n")
            guest.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr("anysse.cli._serve.DEMO_PORT", port)
        code, lines = while_serving(monkeypatch, [], visit)
    assert code == 130
    assert lines[-1] == "GET /?\\x1b[2J\\x9b – the page\n"
    assert re.fullmatch(
        rf"anysse: cannot serve on port {port}: .*; this is a free one\n", capsys.readouterr().err
    )


def test_the_page_is_text_that_escapes_what_it_shows() -> None:
    page = _server.PAGE
    assert "innerHTML" not in page
    assert "new EventSource(" in page
    assert 'split("\\n\\n")' in page
