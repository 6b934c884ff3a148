"""The command: what each option does, what is printed, how it ends."""

import errno
import fcntl
import importlib
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias
from unittest.mock import AsyncMock

import anyio
import anyio.from_thread
import pytest

import anysse
from anysse.cli import _run, _terminal, main
from anysse.cli._arguments import parse
from anysse.cli._terminal import Output, OutputClosed, OutputError, escape
from anysse.testing import Connection, Script
from anysse.testing import SocketServer as Server
from tests.conftest import is_importable
from tests.server import answer, event_stream, feed, held, serve

DEADLINE = 30.0
QUICK = "retry: 100\n"

Serve: TypeAlias = Callable[..., AbstractContextManager[Server]]


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("ANYSSE_LOG", raising=False)


@contextmanager
def scripted(*scripts: Script, **options: Any) -> Iterator[Server]:
    """Serve from another thread: the command has an event loop of its own."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(*scripts, **options)) as server,
    ):
        yield server


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the command in this process."""

    def run(*arguments: str) -> Result:
        code = main(arguments)
        return Result(code, *capfd.readouterr())

    return run


Command: TypeAlias = Callable[..., Result]

backends = pytest.mark.parametrize(
    "backend",
    ["asyncio", pytest.param("trio", marks=pytest.mark.skipif(not is_importable("trio"), reason="no trio"))],
)


@contextmanager
def process(*arguments: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the command in a process of its own."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0, **options}
    with subprocess.Popen([sys.executable, "-W", "error", "-m", "anysse", *arguments], **options) as child:
        try:
            yield child
        finally:
            child.kill()


def end_of(child: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Give exit code and standard error."""
    assert child.stderr is not None
    err = child.stderr.read().decode()
    return child.wait(DEADLINE), err


# --- what is printed ---


@backends
def test_prints_the_lines_of_data_as_they_are(command: Command, backend: str) -> None:
    with scripted(feed("data: one\n\n", "data: two\ndata:\ndata: \tthree ü\n\n")) as server:
        result = command(server.url, "--no-reconnect", "--backend", backend)
    assert result == (0, "one\ntwo\n\n\tthree ü\n", "")


def test_a_header_goes_before_an_event_of_another_type(command: Command) -> None:
    stream = "event: trade\ndata: 1\n\n", "event: trade\nid: 17\ndata: 2\n\n", "data: 3\n\n"
    with scripted(feed(*stream)) as server:
        result = command(server.url, "--no-reconnect")
    assert result.out == "[trade]\n1\n[trade 17]\n2\n3\n"


def test_json_is_one_object_a_line(command: Command) -> None:
    stream = f"data: ü\ndata: \N{LINE SEPARATOR}\n\n{QUICK}id: 7\nevent: a\ndata: {{}}\n\n"
    with scripted(feed(stream)) as server:
        result = command(server.url, "--no-reconnect", "--json")
    assert result.out.split("\n") == [
        '{"event": "message", "data": "ü\\n\\u2028", "id": "", "retry": null}',
        '{"event": "a", "data": "{}", "id": "7", "retry": 100}',
        "",
    ]


HOSTILE = "\x00\x07\x08\x0b\x1b[2J\x7f\x85\x9b\N{RIGHT-TO-LEFT OVERRIDE}\N{LEFT-TO-RIGHT ISOLATE}"
HARMLESS = r"\x00\x07\x08\x0b\x1b[2J\x7f\x85\x9b\u202e\u2066"


def test_nothing_of_the_server_drives_the_terminal(command: Command) -> None:
    # No NUL in the id: it would be ignored.
    stream = f": {HOSTILE}\nevent: {HOSTILE}\nid: {HOSTILE[1:]}\ndata: {HOSTILE}\n\n"
    with scripted(feed(stream)) as server:
        result = command(server.url, "--no-reconnect", "--comments")
    assert result.out == f": {HARMLESS}\n[{HARMLESS} {HARMLESS[4:]}]\n{HARMLESS}\n"


def test_json_drives_no_terminal_and_means_the_same(command: Command) -> None:
    stream = f": {HOSTILE}\nevent: {HOSTILE}\ndata: {HOSTILE}\n\n"
    with scripted(feed(stream)) as server:
        result = command(server.url, "--no-reconnect", "--comments", "--json")
    assert not re.search(r"[^ -~\n]", result.out)
    comment, event = (json.loads(line) for line in result.out.splitlines())
    assert comment == {"comment": HOSTILE}
    assert (event["event"], event["data"]) == (HOSTILE, HOSTILE)


def test_errors_drive_no_terminal(command: Command) -> None:
    headers = {"Content-Type": b"text/\x1b[31mplain".decode("latin-1")}
    with scripted(answer(200, headers, "\x1b[2J\x9b\n")) as server:
        result = command(server.url, "--no-reconnect")
    assert result.code == 1
    assert not re.search(r"[^ -~\n]", result.err)
    assert result.err.count("\n") == 1


def test_joiners_of_scripts_and_emoji_stay() -> None:
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{GIRL} می\N{ZERO WIDTH NON-JOINER}خواهم\t"
    assert escape(family) == family


@backends
def test_comments_are_printed_if_asked_for(command: Command, backend: str) -> None:
    with scripted(then=feed(": hello\n\ndata: x\n\n")) as server:
        assert command(server.url, "--no-reconnect", "--backend", backend).out == "x\n"
        assert command(server.url, "--no-reconnect", "--comments", "--backend", backend).out == ": hello\nx\n"


def printed_on_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    with open(slave, "w") as terminal, monkeypatch.context() as patch:  # noqa: PTH123 - it is a number
        patch.setattr(sys, "stdout", terminal)
        assert main(arguments) == 0
    shown = b""
    with suppress(OSError):  # as Linux says the end, once nobody has the other side
        while data := os.read(master, 65536):
            shown += data
    os.close(master)
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_shows_ids_and_dims_what_is_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = f": hi\ndata: 1\n\nid: 7\ndata: 2\n\nid: {'9' * 100}\ndata: 3\n\n"
    with scripted(then=feed(stream)) as server:
        shown = printed_on_terminal(monkeypatch, server.url, "--no-reconnect", "--comments")
        assert shown == (
            f"\x1b[2m: hi\x1b[0m\n1\n\x1b[2m[message 7]\x1b[0m\n2\n\x1b[2m[message {'9' * 60}…]\x1b[0m\n3\n"
        )
        for name, value in [("NO_COLOR", "1"), ("TERM", "dumb")]:
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                assert "\x1b" not in printed_on_terminal(monkeypatch, server.url, "--no-reconnect")


def test_works_where_standard_output_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(feed("data: ü\n\n")) as server:
        assert main([server.url, "--no-reconnect"]) == 0
    assert capsys.readouterr().out == "ü\n"


# --- the request ---


def test_asks_as_event_sources_do(command: Command) -> None:
    with scripted(feed("data: x\n\n")) as server:
        command(server.url, "--no-reconnect")
    (request,) = server.requests
    assert (request.method, request.body) == ("GET", b"")
    assert request.headers.get("Accept") == "text/event-stream"
    assert request.headers.get("Last-Event-ID") is None


def test_sends_method_headers_and_last_event_id(command: Command) -> None:
    arguments = ["-X", "QUERY", "-H", "X-One: ü:1 ", "--header", "X-Two:", "--last-event-id", "ö 7"]
    with scripted(feed("data: x\n\n")) as server:
        assert command(server.url, *arguments).code == 0
    (request,) = server.requests
    assert request.method == "QUERY"
    assert request.headers.get("X-One") == "ü:1".encode().decode("latin-1")
    assert request.headers.get("X-Two") == ""
    assert request.headers.get("Last-Event-ID") == "ö 7".encode().decode("latin-1")


FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.mark.parametrize(
    ("arguments", "method", "body", "content_type"),
    [
        (["-d", "a=ü"], "POST", "a=ü", FORM),
        (["--data", "a", "-X", "PUT"], "PUT", "a", FORM),
        (["--data", "", "-H", "content-type: text/csv"], "POST", "", "text/csv"),
        (["--data", "@FILE"], "POST", '{"a": 1}\n', FORM),
        (["--data", "@-"], "POST", '{"b": 2}\n', FORM),
        (["--data-json", '{"a":  1.10}'], "POST", '{"a":  1.10}', JSON),
        (["--data-json", "@FILE"], "POST", '{"a": 1}\n', JSON),
        (["--data-json", "@-", "-H", "Content-Type: a/b"], "POST", '{"b": 2}\n', "a/b"),
    ],
)
def test_sends_a_body(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    method: str,
    body: str,
    content_type: str,
) -> None:
    file = tmp_path / "body"
    file.write_text('{"a": 1}\n')
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"b": 2}\n')))
    with scripted(feed("data: x\n\n")) as server:
        result = command(server.url, *(argument.replace("FILE", str(file)) for argument in arguments))
    assert result == (0, "x\n", "")
    (request,) = server.requests
    assert (request.method, request.body.decode()) == (method, body)
    assert request.headers.get("Content-Type") == content_type


# --- the stream ---


def test_it_follows_the_network_where_it_is_told_to(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[bool] = []

    @asynccontextmanager
    async def watch() -> AsyncIterator[Any]:
        watched.append(True)
        send, receive = anyio.create_memory_object_stream[Any](1)
        with send, receive:
            yield receive

    monkeypatch.setattr("anysse._surroundings.watch", watch)
    with scripted(feed("data: x\n\n")) as server:
        assert command(server.url, "--no-reconnect").out == "x\n"
        assert watched == []
    with scripted(feed("data: x\n\n")) as server:
        assert command(server.url, "--no-reconnect", "--network").out == "x\n"
        assert watched == [True]


@backends
def test_reconnects_resumes_and_says_why(command: Command, backend: str) -> None:
    async def cut(connection: Connection) -> None:
        await event_stream(connection, f"{QUICK}id: 1\ndata: one\n\ndata: half")
        await connection.drop()

    with scripted(cut, feed("id: 2\ndata: two\n\n"), answer(204)) as server:
        result = command(server.url, "--backend", backend)
    assert (result.code, result.out) == (0, "one\ntwo\n")
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, "1", "2"]
    assert re.fullmatch(
        rf"anysse: the event stream of {server.url} was cut off.*again in 0\.1 s\n", result.err
    )


def test_an_end_without_a_failure_is_nothing_to_tell(command: Command) -> None:
    with scripted(feed(f"{QUICK}data: one\n\n"), answer(204)) as server:
        assert command(server.url) == (0, "one\n", "")


def test_no_reconnect_takes_the_first_failure_for_the_last(command: Command) -> None:
    with scripted(answer(503, {"Retry-After": "1"})) as server:
        result = command(server.url, "--no-reconnect")
    assert (result.code, result.out) == (1, "")
    (line,) = result.err.splitlines()
    assert line.startswith(f"anysse: {server.url} answered 503 Service Unavailable, not with an event stream")


def test_ends_after_max_events(command: Command) -> None:
    with scripted(held("data: 1\n\ndata: 2\n\ndata: 3\n\n")) as server:
        assert command(server.url, "--max-events", "2") == (0, "1\n2\n", "")


def test_ends_at_done(command: Command) -> None:
    with scripted(held("data: 1\n\ndata: [DONE]\n\n")) as server:
        assert command(server.url, "--done", "[DONE]") == (0, "1\n", "")


def test_an_end_before_done_is_an_error(command: Command) -> None:
    with scripted(feed("data: 1\n\n")) as server:
        result = command(server.url, "--done", "[DONE]", "--no-reconnect")
    assert (result.code, result.out) == (1, "1\n")
    assert "ended before its done event" in result.err


@pytest.mark.parametrize("option", ["--timeout", "--idle-timeout", "--response-timeout"])
def test_a_timeout_is_an_error_that_names_its_option(command: Command, option: str) -> None:
    async def silent(connection: Connection) -> None:
        await connection.hang()

    script = silent if option == "--response-timeout" else held("data: 1\n\n")
    with scripted(script) as server:
        result = command(server.url, option, "0.2", "--no-reconnect")
    assert result.code == 1
    assert re.fullmatch(rf"anysse: .* within 0\.2 s; raise {option} if .*\n", result.err)


def test_timeouts_reach_the_stream(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[anysse.Timeouts] = []

    def refuse(url: str, *, timeouts: anysse.Timeouts, **others: object) -> None:
        seen.append(timeouts)
        raise anysse.InvalidRequest("no_option", "is wrong")

    monkeypatch.setattr(anysse, "open_stream", refuse)
    options = ["--connect-timeout", "1", "--response-timeout", "2", "--idle-timeout", "3", "--timeout", "4"]
    assert command("http://localhost", *options) == (2, "", "anysse: no_option: is wrong\n")
    assert command("http://localhost").code == 2
    assert command("http://localhost", "--idle-timeout", "auto").code == 2
    assert seen == [
        anysse.Timeouts(connect=1, response=2, idle=3, total=4),
        anysse.Timeouts(),
        anysse.Timeouts(idle="auto"),
    ]


def test_resend_is_an_option(command: Command) -> None:
    async def cut(connection: Connection) -> None:
        await event_stream(connection, f"{QUICK}data: 1\n\n: x")
        await connection.drop()

    with scripted(cut, cut, feed("data: 2\n\n")) as server:
        refused = command(server.url, "-d", "prompt")
        result = command(server.url, "-d", "prompt", "--resend", "always")
    assert (refused.code, refused.out) == (1, "1\n")
    assert "pass --resend to allow that" in refused.err
    assert (result.code, result.out) == (0, "1\n2\n")


# --- what it tells beside the output ---


def test_verbose_logs_what_goes_on(command: Command) -> None:
    with scripted(answer(503), then=held("data: x\n\n")) as server:
        result = command(server.url, "-v", "--max-events", "1")
    assert result.out == "x\n"
    lines = result.err.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d (INFO|WARNING) anysse: ", line) for line in lines)
    steps = [re.sub(r".*anysse: request \d+: (\w+).*", r"\1", line) for line in lines]
    assert steps[-2:] == ["connecting", "connected"]


def test_more_verbose_logs_the_connections_beneath(command: Command) -> None:
    with scripted(feed("data: x\n\n")) as server:
        result = command(server.url, "-vvv", "--no-reconnect", "-H", "Authorization: Bearer s3cret")
    there = server.url.removeprefix("http://")
    assert f"DEBUG anysse: opened a connection to {there}\n" in result.err
    assert f"DEBUG anysse: keeping the connection to {there}\n" in result.err
    assert "s3cret" not in result.err


def test_logs_drive_no_terminal(command: Command) -> None:
    async def hostile(connection: Connection) -> None:
        await connection.write("HTTP/1.1 200 OK\r\nX-\x1b[2J: 1\r\n\r\n")

    with scripted(hostile) as server:
        result = command(server.url, "-vv", "--no-reconnect")
    assert result.code == 1
    assert "\x1b" not in result.err


def test_logging_is_as_it_was_afterwards(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("anysse")
    before = logger.level, list(logger.handlers)
    command("http://127.0.0.1:1", "--no-reconnect", "-vv")
    assert (logger.level, list(logger.handlers)) == before


@pytest.mark.parametrize(("options", "level"), [([], logging.INFO), (["-vv"], logging.DEBUG)])
def test_a_logger_that_is_listened_to_is_left_to_its_listener(
    command: Command, options: list[str], level: int
) -> None:
    logger, seen = logging.getLogger("anysse"), []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(logger.level)

    listener, before = Listener(), logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        result = command("http://127.0.0.1:1", "--no-reconnect", *options)
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before)
    assert set(seen) == {level}
    assert "INFO anysse" not in result.err


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: URL"),
        (["localhost:80/x"], "URL: 'localhost:80/x' does not begin with http:// or https://"),
        (["-v", "demo"], "URL: for the demo"),
        (["http://h a/"], "URL: "),
        (["http://"], "URL: "),
        (["http://h:99999/"], "URL: "),
        (["ftp://h/"], "URL: 'ftp://h/' is neither"),
        (["http://h/\x1b[2J"], r"\x1b[2J"),
        (["http://h/", "-X", "G T"], "-X/--request: "),
        (["http://h/", "-H", "s3cret"], "-H/--header: has no colon"),
        (["http://h/", "-H", "a b: c"], "-H/--header: "),
        (["http://h/", "-H", "a: s3cret\n: b"], "-H/--header: "),
        (["http://h/", "--last-event-id", "a\nb"], "--last-event-id: "),
        (["http://h/", "--last-event-id", "\udcff"], "--last-event-id: "),
        (["http://h/", "--data", "@/no/such/file"], "-d/--data: cannot read '/no/such/file': No such file"),
        (["http://h/", "--data", "@/a\0b"], "-d/--data: cannot read "),
        (["http://h/", "--data-json", "{"], "--data-json: is no JSON: "),
        (["http://h/", "--data-json", "[" * 100_000], "--data-json: is no JSON: "),
        (["http://h/", "-d", "a", "--data-json", "1"], "not allowed with"),
        (["http://h/", "--timeout", "0"], "--timeout: must be seconds above zero, not '0'"),
        (["http://h/", "--timeout", "-1"], "--timeout: must be seconds above zero, not '-1'"),
        (["http://h/", "--idle-timeout", "nan"], "--idle-timeout: must be seconds"),
        (
            ["http://h/", "--idle-timeout", "Auto"],
            "must be seconds above zero, or auto, not 'Auto'",
        ),
        (["http://h/", "--connect-timeout", "x"], "--connect-timeout: must be seconds"),
        (["http://h/", "--max-events", "0"], "--max-events: must be a whole number"),
        (["http://h/", "--max-events", "1.5"], "--max-events: must be a whole number"),
        (["http://h/", "--backend", "curio"], "--backend: "),
        (["http://h/", "--resend", "x"], "--resend: "),
        (["http://h/", "--max", "1"], "--max"),
        (["demo", "--port", "65536"], "--port: must be from 0 to 65535"),
        (["demo", "--port", "http"], "--port: must be from 0 to 65535"),
        (["demo", "http://h/"], "unrecognized arguments"),
    ],
)
def test_a_mistake_is_named_as_the_user_knows_it(command: Command, arguments: list[str], said: str) -> None:
    result = command(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.splitlines()[-1].startswith("anysse")
    assert "s3cret" not in result.err
    assert "\x1b" not in result.err


def test_trio_has_to_be_there(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anysse.cli._arguments.find_spec", lambda name: None)
    result = command("http://h/", "--backend", "trio")
    assert (result.code, result.err) == (
        2,
        "anysse: --backend: trio is not installed: pip install 'anysse[trio]'\n",
    )


def test_nobody_there_is_a_stream_error(command: Command) -> None:
    result = command("http://127.0.0.1:1/", "--no-reconnect")
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(r"anysse: cannot connect to http://127.0.0.1:1/: .*; check the host.*\n", result.err)


def test_a_wrong_content_type_is_a_stream_error_that_hints_at_options_only(command: Command) -> None:
    with scripted(answer(200, {"Content-Type": "text/html"}, "<h1>")) as server:
        result = command(server.url)
    assert result.code == 1
    assert result.err.endswith("not text/event-stream; check the URL. The body begins: '<h1>'\n")


def test_help_tells_every_exit_code(command: Command) -> None:
    for arguments in (["--help"], ["demo", "-h"]):
        result = command(*arguments)
        assert result.code == 0
        assert re.findall(r"^  (\d+) ", result.out, re.MULTILINE) == ["0", "1", "2", "130"]
        assert max(map(len, result.out.splitlines())) <= 110


def test_version(command: Command) -> None:
    assert re.fullmatch(r"anysse \d+\.\d+\.\d+\S*\n", command("--version").out)


# --- how it ends ---


@backends
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_order(backend: str, number: signal.Signals, code: int) -> None:
    with (
        scripted(held("data: x\n\n")) as server,
        process(server.url, "--backend", backend) as child,
    ):
        assert child.stdout is not None
        assert child.stdout.readline() == b"x\n"
        child.send_signal(number)
        assert end_of(child) == (code, "")


@pytest.fixture
def full_feed() -> Script:
    """More than a pipe holds."""
    return held(f"data: {'x' * 1000}\n\n" * 1000)


def wait_until_full(pipe: Any) -> None:
    held_now, before = 0, -1
    deadline = time.monotonic() + DEADLINE
    while (
        held_now < 4096 or held_now != before
    ):  # it may be less than the pipe's size, where pages are not full
        assert time.monotonic() < deadline
        time.sleep(0.02)
        before, held_now = (
            held_now,
            int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder),
        )


@backends
def test_a_signal_ends_it_though_nobody_reads_what_it_prints(backend: str, full_feed: Script) -> None:
    with scripted(full_feed) as server, process(server.url, "--backend", backend) as child:
        wait_until_full(child.stdout)
        child.send_signal(signal.SIGINT)
        assert end_of(child) == (130, "")


def test_a_signal_on_a_terminal_leaves_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()

    async def interrupt(connection: Connection) -> None:
        await event_stream(connection, "data: x\n\n")
        while b"x\r\n" not in await anyio.to_thread.run_sync(os.read, master, 100):
            pass
        os.kill(os.getpid(), signal.SIGINT)
        await connection.hang()

    with open(slave, "w") as terminal, scripted(interrupt) as server:  # noqa: PTH123 - it is a number
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main([server.url]) == 130
        assert os.read(master, 100) == b"\r\n"
    os.close(master)


@backends
def test_ends_quietly_once_nobody_reads_its_output(backend: str) -> None:
    with (
        scripted(held("data: x\n\n")) as server,  # which sends nothing more: no write would tell
        process(server.url, "--backend", backend) as child,
    ):
        assert child.stdout is not None
        assert child.stdout.readline() == b"x\n"
        child.stdout.close()
        assert end_of(child) == (0, "")


def test_ends_quietly_in_mid_output_once_nobody_reads_it(full_feed: Script) -> None:
    with scripted(full_feed) as server, process(server.url) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"x"
        child.stdout.close()
        assert end_of(child) == (0, "")


def test_closed_standard_files_are_no_place_for_a_socket() -> None:
    with scripted(then=feed("data: x\n\n")) as server:
        for closing, out in [("<&-", "x\n"), ("2>&-", "x\n"), (">&-", ""), ("<&- 2>&-", "x\n")]:
            line = f'exec "$0" -W error -m anysse "$@" {closing}'
            shell = ["sh", "-c", line, sys.executable, server.url, "--no-reconnect"]
            done = subprocess.run(shell, capture_output=True, text=True, timeout=DEADLINE, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, out, "")


def test_missing_standard_files_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def fstat(fd: int) -> None:
        if fd == 1:
            raise OSError(errno.EBADF, "")

    monkeypatch.setattr(
        _terminal,
        "os",
        SimpleNamespace(
            fstat=fstat, open=lambda path, flags: opened.append(path), devnull=os.devnull, O_RDWR=os.O_RDWR
        ),
    )
    _terminal.fill_standard_files()
    assert opened == [os.devnull]


def test_says_nothing_where_there_is_no_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["nonsense"]) == 2


def test_output_that_cannot_be_written_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted(then=feed("data: x\n\n")) as server, Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main([server.url]) == 1
    assert capsys.readouterr().err == "anysse: cannot write the output: No space left on device\n"


def test_no_output_at_all_is_as_output_that_nobody_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with scripted(feed("data: x\n\n")) as server:
        assert main([server.url]) == 0
    assert capsys.readouterr().err == ""


def test_runs_in_another_thread_too(command: Command) -> None:
    codes: list[int] = []
    with scripted(feed("data: x\n\n")) as server:
        thread = threading.Thread(target=lambda: codes.append(main([server.url, "--no-reconnect"])))
        thread.start()
        thread.join(DEADLINE)
    assert codes == [0]


def test_runs_without_uvloop(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "find_spec", lambda name: None)
    with scripted(feed("data: x\n\n")) as server:
        assert command(server.url, "--no-reconnect") == (0, "x\n", "")


def raise_for_read(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    monkeypatch.setattr("anysse.cli.read", AsyncMock(side_effect=error))


@backends
@pytest.mark.filterwarnings("ignore:.*unawaited.*")
def test_a_keyboard_interrupt_from_wherever_is_an_interruption(
    command: Command, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    raise_for_read(monkeypatch, KeyboardInterrupt())
    assert command("http://h/", "--backend", backend) == (130, "", "")


def test_a_keyboard_interrupt_before_the_loop_is_one_too(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("anysse.cli.parse", parse)
    assert command("http://h/") == (130, "", "")


@pytest.mark.parametrize("bug", [KeyError("bug"), ExceptionGroup("bugs", [KeyError("bug")])])
def test_a_bug_leaves_as_itself(monkeypatch: pytest.MonkeyPatch, bug: Exception) -> None:
    raise_for_read(monkeypatch, bug)
    with pytest.raises(type(bug)) as caught:
        main(["http://h/"])
    assert caught.value is bug


def test_arguments_are_those_of_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["anysse", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("anysse ")


def test_is_a_module_too() -> None:
    with process("--version") as child:
        assert child.stdout is not None
        assert child.stdout.read().startswith(b"anysse ")
        assert end_of(child) == (0, "")


def test_is_no_command_where_it_is_only_imported() -> None:
    assert importlib.import_module("anysse.__main__").main is main


def test_a_sequence_of_any_kind_has_the_arguments() -> None:
    assert parse(("demo", "--seed", "7")) == parse(["demo", "--seed", "7"])


# --- the output itself ---


@contextmanager
def piped() -> Iterator[tuple[Output, int]]:
    reading, writing = os.pipe()
    with open(writing, "w") as stream:  # noqa: PTH123 - it is a number
        yield Output(stream), reading
    with suppress(OSError):  # the test closed it
        os.close(reading)


def read_all(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(fd, 1 << 20)
    return data


async def test_whoever_drains_waits_for_the_reader_and_the_loop_goes_on() -> None:
    text = "x" * 300_000
    with piped() as (output, reading):
        output.put(text)
        with anyio.move_on_after(0.05) as scope:
            await output.drain()
        assert scope.cancelled_caught
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(output.drain)
            assert await anyio.to_thread.run_sync(read_all, reading, len(text)) == text.encode()


def test_where_nobody_can_wait_not_more_than_a_mebibyte_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_terminal, "_poll", lambda fd, events: False)
    text = "x" * 600_000
    with piped() as (output, reading):
        output.put_bounded(text)  # is kept
        reader = threading.Thread(target=read_all, args=(reading, 2 * len(text)))
        reader.start()
        output.put_bounded(text)  # would be too much, and all is written now
        reader.join(DEADLINE)
        assert not reader.is_alive()


async def test_a_pipe_that_nobody_reads_is_closed() -> None:
    with piped() as (output, reading):
        output.put("x" * 300_000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(output.closed)
            os.close(reading)
        with pytest.raises(OutputClosed):
            await output.drain()


async def test_a_file_that_does_not_wait_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with piped() as (output, reading):
        os.set_blocking(output._stream.fileno(), False)  # type: ignore[union-attr]
        monkeypatch.setattr(_terminal, "_poll", lambda fd, events: True)
        output.put("x" * 300_000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, read_all, reading, 300_000)
            await output.drain()


def test_where_there_is_no_poll_the_stream_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_terminal, "_HAS_POLL", False)
    with piped() as (output, reading):
        output.put("ü\n")
        assert os.read(reading, 100) == "ü\n".encode()


def test_a_stream_that_is_no_file_may_fail_too() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no room")

    with pytest.raises(OutputError, match="no room"):
        Output(Full()).put("x")


def test_what_the_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    output = Output(io.TextIOWrapper(raw, encoding="ascii"))
    output.put("ü\N{SNOWMAN}")
    assert raw.getvalue() == rb"\xfc\u2603"
