"""A visibility that a terminal's Ctrl-Z hides and ``fg`` shows again. Knows signals and anyio, no stream."""

import os
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Final, TypeAlias

import anyio

from ._groups import bare_exception
from ._visibility import Visibility

_SIGTSTP: Final = getattr(signal, "SIGTSTP", None)
"""What Ctrl-Z sends; None on Windows, whose terminals stop nothing."""
_GRACE: Final = 0.1
"""Seconds from Ctrl-Z to the stop: nobody notices, and a stream needs a fraction of it to hang up."""
_TURNS: Final = 10
"""Of the event loop in that time, at least: one that is slow has longer."""
_MAX_GRACE: Final = 1.0
_taken: Final = threading.Lock()
"""Held by whoever has the signal: an event loop has one receiver of it."""

_Handler: TypeAlias = Callable[[int, FrameType | None], object] | int


@asynccontextmanager
async def terminal_visibility() -> AsyncGenerator[Visibility]:
    """Give a visibility that is hidden while your program is stopped: from Ctrl-Z to ``fg`` or ``bg``.

    ``async with terminal_visibility() as visibility:`` takes SIGTSTP until the block is left. At Ctrl-Z it
    hides, gives the event loop 0.1 s to close connections, and stops the process as it would have stopped
    without it; once the process goes on it shows again, unless you had hidden it. A stop that began is
    carried out even if the block is left, or cancelled, meanwhile.

    If you had a handler of SIGTSTP, that is called in place of stopping, and is put back when the block is
    left. Where SIGTSTP is ignored, as by a shell without job control, it stays ignored; there, and on
    Windows, nothing hides. SIGSTOP tells nobody: connections stay open, as in any program, and those that
    died meanwhile are found as always.

    Raises:
        RuntimeError: On entering: this is not the main thread, the only one to which Python gives signals; or
            it is entered already, and what it gave is to be shared.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("terminal_visibility() takes a signal: enter it in the main thread")
    visibility = Visibility()
    former = None if _SIGTSTP is None else signal.getsignal(_SIGTSTP)
    # None is also what Python calls a handler that it did not install, and could not put back.
    if _SIGTSTP is None or former is None or former is signal.SIG_IGN:
        yield visibility
        return
    if not _taken.acquire(blocking=False):
        raise RuntimeError("terminal_visibility() is entered already: share what it gave")
    try:
        with bare_exception(), anyio.open_signal_receiver(_SIGTSTP) as signals:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_stop_at_each, signals, visibility, former)
                yield visibility
                tasks.cancel_scope.cancel()
    finally:
        signal.signal(_SIGTSTP, former)  # asyncio leaves the default behind
        _taken.release()


async def _stop_at_each(signals: AsyncIterator[int], visibility: Visibility, former: _Handler) -> None:
    async for number in signals:
        visibility._stop()
        await _let_hang_up(signals)
        _stop(number, former)
        visibility._go_on()


async def _let_hang_up(signals: AsyncIterator[int]) -> None:
    """Let streams close their connections. What peers are told of it then is up to the kernel.

    Who presses Ctrl-Z twice meanwhile wants one stop, as the kernel has it.
    """
    with anyio.move_on_after(_MAX_GRACE, shield=True):
        for _ in range(_TURNS):
            with anyio.move_on_after(_GRACE / _TURNS):
                async for _again in signals:
                    pass


def _stop(number: int, former: _Handler) -> None:
    """Have the signal do what it did before: by default, return once the process goes on.

    That is at once where nobody could continue it: the kernel stops no process whose group is orphaned.
    """
    ours = signal.signal(number, former)
    try:
        if callable(former):  # by itself, for asyncio hears of each signal that any handler in Python has
            former(number, None)
        else:
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, ours)
