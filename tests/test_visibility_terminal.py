"""A terminal's Ctrl-Z: hidden before the process stops, shown once it goes on, everything put back."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.lowlevel import checkpoint

import anysse
from anysse import Visibility, _terminal_visibility, terminal_visibility
from anysse.testing import Connection, Script
from anysse.testing import SocketServer as Server
from tests.conftest import is_importable
from tests.server import event_stream, held, serve

SIGTSTP = getattr(signal, "SIGTSTP", 0)
DEADLINE = 60.0

pytestmark = pytest.mark.skipif(not SIGTSTP, reason="nothing stops a process here")


backends = pytest.mark.parametrize(
    "backend",
    ["asyncio", pytest.param("trio", marks=pytest.mark.skipif(not is_importable("trio"), reason="no trio"))],
)


@pytest.fixture(autouse=True)
def _default_before_and_after() -> Iterator[None]:
    """Whoever runs the tests may ignore the signal."""
    before = signal.signal(SIGTSTP, signal.SIG_DFL)
    yield
    signal.signal(SIGTSTP, before)


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would do something in place of each stop of this process: the handler that the signal has then."""
    handlers: list[Any] = []

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), SIGTSTP)
        handlers.append(signal.getsignal(number))

    monkeypatch.setattr(os, "kill", kill)
    return handlers


def ctrl_z() -> None:
    assert signal.getsignal(SIGTSTP) is not signal.SIG_DFL, "this would stop the tests"
    signal.raise_signal(SIGTSTP)


class Changes:
    """Of a visibility, as they come."""

    def __init__(self, visibility: Visibility) -> None:
        self.visibility = visibility
        self.seen: list[bool] = []
        self._change = anyio.Event()
        visibility._subscribe(self._note)

    def _note(self) -> None:
        self.seen.append(self.visibility.is_visible)
        self._change.set()
        self._change = anyio.Event()

    async def until(self, *seen: bool) -> None:
        with anyio.fail_after(30):
            while self.seen != list(seen):
                await self._change.wait()


async def test_a_stop_hides_and_going_on_shows_any_number_of_times(stops: list[Any]) -> None:
    async with terminal_visibility() as visibility:
        assert visibility.is_visible
        changes = Changes(visibility)
        ours = signal.getsignal(SIGTSTP)
        for times in (1, 2):
            ctrl_z()
            await changes.until(*[False, True] * times)
            assert stops == [signal.SIG_DFL] * times
            assert signal.getsignal(SIGTSTP) == ours


async def test_the_loop_runs_between_hiding_and_the_stop(stops: list[Any]) -> None:
    closed: list[int] = []

    async def close() -> None:
        await hidden.wait()
        for _ in range(5):
            await checkpoint()
        closed.append(len(stops))

    hidden = anyio.Event()
    async with terminal_visibility() as visibility, anyio.create_task_group() as tasks:
        visibility._subscribe(hidden.set)
        tasks.start_soon(close)
        changes = Changes(visibility)
        ctrl_z()
        await changes.until(False, True)
    assert closed == [0]
    assert len(stops) == 1


async def test_what_you_hid_stays_hidden(stops: list[Any]) -> None:
    stopped = anyio.Event()
    async with terminal_visibility() as visibility:
        visibility.hide()
        visibility._subscribe(stopped.set)
        ctrl_z()
        with anyio.fail_after(30):
            while not stops:  # noqa: ASYNC110 - it tells nobody
                await anyio.sleep(0.01)
        await checkpoint()
        assert not visibility.is_visible
    assert not stopped.is_set()


async def test_what_you_hide_as_it_stops_stays_hidden(stops: list[Any]) -> None:
    async with terminal_visibility() as visibility:
        changes = Changes(visibility)
        ctrl_z()
        await changes.until(False)
        visibility.show()
        assert not visibility.is_visible  # it is about to be stopped, whatever you say
        visibility.hide()
        with anyio.fail_after(30):
            while not stops:  # noqa: ASYNC110 - it tells nobody
                await anyio.sleep(0.01)
        await anyio.wait_all_tasks_blocked()
        assert not visibility.is_visible
        visibility.show()
        assert changes.seen == [False, True]


async def test_ctrl_z_twice_stops_once(stops: list[Any]) -> None:
    async with terminal_visibility() as visibility:
        changes = Changes(visibility)
        ctrl_z()
        await changes.until(False)
        ctrl_z()
        await checkpoint()
        ctrl_z()
        await changes.until(False, True)
        await anyio.wait_all_tasks_blocked()
        assert changes.seen == [False, True]
        assert len(stops) == 1


async def test_a_stop_that_began_is_carried_out_though_the_block_is_left(stops: list[Any]) -> None:
    async with terminal_visibility() as visibility:
        changes = Changes(visibility)
        ctrl_z()
        await changes.until(False)
    assert changes.seen == [False, True]
    assert stops == [signal.SIG_DFL]


async def test_a_stop_that_began_is_carried_out_though_the_block_is_cancelled(stops: list[Any]) -> None:
    with anyio.CancelScope() as scope:
        async with terminal_visibility() as visibility:
            changes = Changes(visibility)
            ctrl_z()
            await changes.until(False)
            scope.cancel()
            await anyio.sleep_forever()
    assert changes.seen == [False, True]
    assert stops == [signal.SIG_DFL]


async def test_a_slow_loop_delays_the_stop_a_second_at_most(
    stops: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_terminal_visibility, "_GRACE", 1000.0)
    monkeypatch.setattr(_terminal_visibility, "_MAX_GRACE", 0.01)
    async with terminal_visibility() as visibility:
        changes = Changes(visibility)
        ctrl_z()
        await changes.until(False, True)


async def test_a_handler_of_yours_is_called_in_place_of_stopping_and_put_back() -> None:
    called: list[int] = []

    def handler(number: int, frame: object) -> None:
        called.append(number)

    signal.signal(SIGTSTP, handler)
    async with terminal_visibility() as visibility:
        changes = Changes(visibility)
        ctrl_z()
        await changes.until(False, True)
        for _ in range(10):  # in which the event loop would hear of it again
            await checkpoint()
        assert called == [SIGTSTP]
        assert changes.seen == [False, True]
    assert signal.getsignal(SIGTSTP) is handler


async def test_leaving_puts_the_default_back() -> None:
    async with terminal_visibility():
        assert signal.getsignal(SIGTSTP) is not signal.SIG_DFL
    assert signal.getsignal(SIGTSTP) is signal.SIG_DFL


async def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(SIGTSTP, signal.SIG_IGN)
    async with terminal_visibility() as visibility:
        assert signal.getsignal(SIGTSTP) is signal.SIG_IGN
        assert visibility.is_visible
    assert signal.getsignal(SIGTSTP) is signal.SIG_IGN


async def test_what_python_did_not_install_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    async with terminal_visibility() as visibility:
        monkeypatch.undo()
        assert signal.getsignal(SIGTSTP) is signal.SIG_DFL
        assert visibility.is_visible


async def test_where_nothing_stops_a_process_it_stays_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_terminal_visibility, "_SIGTSTP", None)
    async with terminal_visibility() as visibility:
        assert signal.getsignal(SIGTSTP) is signal.SIG_DFL
        assert visibility.is_visible


async def test_an_exception_of_the_block_leaves_as_itself() -> None:
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with terminal_visibility():
            raise error
    assert caught.value is error
    assert signal.getsignal(SIGTSTP) is signal.SIG_DFL


async def test_a_group_of_the_block_leaves_as_one() -> None:
    error = LookupError("mine")
    with pytest.raises(ExceptionGroup) as caught:
        async with terminal_visibility():
            raise ExceptionGroup("mine", [error])
    assert caught.value.exceptions == (error,)


async def enter() -> None:
    async with terminal_visibility():
        pass


async def test_one_at_a_time_has_the_signal(stops: list[Any]) -> None:
    for _ in range(2):
        async with terminal_visibility() as visibility:
            with pytest.raises(RuntimeError, match="share what it gave"):
                await enter()
            changes = Changes(visibility)
            ctrl_z()
            await changes.until(False, True)
    assert stops == [signal.SIG_DFL] * 2


async def stop_and_wait() -> None:
    async with terminal_visibility():
        ctrl_z()
        await anyio.sleep_forever()


async def test_an_exception_of_your_handler_leaves_from_the_block() -> None:
    def handler(number: int, frame: object) -> None:
        raise LookupError("mine")

    signal.signal(SIGTSTP, handler)
    with pytest.raises(LookupError, match="mine"):
        await stop_and_wait()
    assert signal.getsignal(SIGTSTP) is handler


async def test_another_thread_is_told_that_it_is_one(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    name, options = anyio_backend

    def run() -> None:
        with pytest.raises(RuntimeError, match="main thread"):
            anyio.run(enter, backend=name, backend_options=options)

    await anyio.to_thread.run_sync(run)


def test_it_is_public() -> None:
    assert anysse.terminal_visibility is terminal_visibility


# --- a process that is really stopped ---


TELLS = """
import anyio, anysse, sys

async def main():
    async with anysse.terminal_visibility() as visibility:
        visibility._subscribe(lambda: print(visibility.is_visible, flush=True))
        print("ready", flush=True)
        await anyio.sleep_forever()

anyio.run(main, backend=sys.argv[1])
"""


@contextmanager
def child(*arguments: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Python. It is killed in the end; earlier if that takes long, so that nobody waits for ever."""
    command = [sys.executable, "-W", "error", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, **options) as process:
        alarm = Timer(DEADLINE, process.kill)
        alarm.start()
        try:
            yield process
        finally:
            alarm.cancel()
            alarm.join()
            process.kill()


def line_of(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().rstrip()


def stopping_signal_of(process: "subprocess.Popen[bytes]") -> int | None:
    """Wait until it stops, or ends; give the signal that stopped it."""
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    return os.WSTOPSIG(status) if os.WIFSTOPPED(status) else None


@backends
def test_a_process_hides_then_stops_and_shows_once_it_goes_on(backend: str) -> None:
    with child("-c", TELLS, backend, process_group=0) as process:
        assert line_of(process) == "ready"
        for _ in range(2):
            process.send_signal(signal.SIGTSTP)
            assert stopping_signal_of(process) == signal.SIGTSTP
            assert line_of(process) == "False"
            process.send_signal(signal.SIGCONT)
            assert line_of(process) == "True"


def test_a_process_that_nobody_could_continue_goes_on_at_once() -> None:
    with child("-c", TELLS, "asyncio", start_new_session=True) as process:
        assert line_of(process) == "ready"
        process.send_signal(signal.SIGTSTP)
        assert [line_of(process), line_of(process)] == ["False", "True"]


def test_what_sigstop_stops_was_never_hidden() -> None:
    with child("-c", TELLS, "asyncio", process_group=0) as process:
        assert line_of(process) == "ready"
        process.send_signal(signal.SIGSTOP)
        assert stopping_signal_of(process) == signal.SIGSTOP
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTSTP)
        assert stopping_signal_of(process) == signal.SIGTSTP
        assert line_of(process) == "False"
        process.send_signal(signal.SIGCONT)
        assert line_of(process) == "True"


# --- the command, at a shell ---


CTRL_C, CTRL_Z = b"\x03", b"\x1a"

IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """Where somebody types, and reads what is shown."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.shown = ""

    def type(self, keys: bytes | str) -> None:
        os.write(self._fd, keys if isinstance(keys, bytes) else f"{keys}\n".encode())

    def read_until(self, text: str) -> str:
        """Read on until this is shown; give what was shown until then."""
        while text not in self.shown:
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # as Linux says the end
                data = b""
            assert data, f"the shell was killed, or ended; shown was {self.shown!r}"
            self.shown += data.decode()
        before, _, self.shown = self.shown.partition(text)
        return before


@contextmanager
def shell() -> Iterator[Terminal]:
    """Run a shell with job control. Its end is a hangup for all that it started, stopped or not."""
    master, slave = os.openpty()
    environment = {**os.environ, "PS1": "ready> ", "ENV": "", "TERM": "dumb", "LC_ALL": "C", "no_proxy": "*"}
    command = [sys.executable, "-c", IN_A_TERMINAL, "sh", "-i"]
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment
    ) as process:
        os.close(slave)
        alarm = Timer(DEADLINE, process.kill)
        alarm.start()
        try:
            yield Terminal(master)
        finally:
            alarm.cancel()
            alarm.join()
            process.kill()
            os.close(master)


@contextmanager
def scripted(*scripts: Script) -> Iterator[tuple[Server, BlockingPortal]]:
    """Serve from another thread: this one waits for a terminal."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(*scripts)) as server:
        yield server, portal


def command(*arguments: str) -> str:
    return shlex.join([sys.executable, "-W", "error", "-m", "anysse", *arguments])


async def all_closed(server: Server) -> None:
    with anyio.fail_after(DEADLINE):
        await server.all_closed()


@backends
def test_the_command_hangs_up_while_it_is_stopped_and_resumes(backend: str) -> None:
    scripts = held("id: 1\ndata: one\n\n", "id: 2\ndata: two\n\n"), held("id: 3\ndata: three\n\n")
    with scripted(*scripts) as (server, portal), shell() as terminal:
        terminal.read_until("ready> ")
        terminal.type(command(server.url, "--backend", backend))
        terminal.read_until("two\r\n")
        terminal.type(CTRL_Z)
        terminal.read_until("Stopped")
        terminal.read_until("ready> ")
        portal.call(all_closed, server)
        assert len(server.requests) == 1
        terminal.type("fg")
        shown = terminal.read_until("three\r\n")
        assert "one" not in shown
        assert "two" not in shown
        assert server.requests[1].headers["last-event-id"] == "2"
        terminal.type(CTRL_C)
        terminal.read_until("ready> ")
        terminal.type("echo code=$?")
        terminal.read_until("code=130")
    assert len(server.requests) == 2


def test_the_command_holds_what_may_not_be_sent_again() -> None:
    may_go_on = threading.Event()

    async def reply(connection: Connection) -> None:
        await event_stream(connection, "data: one\n\n")
        await connection.wait(may_go_on)
        await connection.send("data: two\n\n")

    with scripted(reply) as (server, _), shell() as terminal:
        terminal.read_until("ready> ")
        terminal.type(command(server.url, "--data", "x"))
        terminal.read_until("one\r\n")
        terminal.type(CTRL_Z)
        terminal.read_until("Stopped")
        terminal.read_until("ready> ")
        assert server.open_connections == 1
        may_go_on.set()
        terminal.type("fg")
        terminal.read_until("two\r\n")
        terminal.read_until("ready> ")
        terminal.type("echo code=$?")
        terminal.read_until("code=0")
    assert len(server.requests) == 1
