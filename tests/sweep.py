"""Strikes a call at its k-th checkpoint, for every k, and sees what that leaves; knows no scenario.

A checkpoint is counted where the call itself comes to wait: its coroutine is driven by hand. What runs
beside it, such as the reader of a stream, has steps of its own; those are met by counting turns of the
event loop.
"""

import asyncio
import gc
import logging
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeAlias

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.streams import turns

DEADLINE: Final = 30.0
"""Seconds that nothing here comes near to, unless it hangs."""
MOST: Final = 2000
"""Checkpoints of one call, at most: a sweep that goes on for longer is a scenario without end."""

_SERVERS: Final = ("tests.server.", "anysse.testing.")

Play: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Strike: TypeAlias = Callable[[object], BaseException | None]
"""Called with what is about to be waited for; gives what is to be raised there, or None."""


# --- where: at the k-th checkpoint ------------------------------------------------------------------------


class Driven(Awaitable[None]):
    """A call that is struck as it comes to wait for the ``at``-th time."""

    def __init__(self, call: Coroutine[Any, Any, None], at: int, strike: Strike) -> None:
        self._call = call
        self._at = at
        self._strike = strike
        self.steps = 0
        """How many times it came to wait."""

    @property
    def is_struck(self) -> bool:
        return self.steps >= self._at

    def __await__(self) -> Generator[Any, Any, None]:
        resume: Callable[[], Any] = partial(self._call.send, None)
        while True:
            try:
                trap = resume()
            except StopIteration:
                return
            self.steps += 1
            error = self._strike(trap) if self.steps == self._at else None
            if error is not None:
                resume = partial(self._call.throw, error)
                continue
            try:
                value = yield trap
            except BaseException as exc:  # noqa: ASYNC103, BLE001 - whatever it is, it is the call's
                resume = partial(self._call.throw, exc)
            else:
                resume = partial(self._call.send, value)


# --- how --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a call."""

    is_struck: bool
    left: BaseException | None
    """What left it."""


Way: TypeAlias = Callable[[Play, int], Awaitable[Outcome]]


async def by_scope(play: Play, at: int) -> Outcome:
    """Cancel a scope around the call as it comes to wait."""
    return await _in_scope(play, at, lambda scope, _trap: _once_it_waits(scope.cancel))


async def by_scope_as_it_wakes(play: Play, at: int) -> Outcome:
    """Cancel a scope around the call in the tick in which what it waits for comes. For asyncio."""
    return await _in_scope(play, at, lambda scope, trap: _once_done(trap, scope.cancel))


async def natively(play: Play, at: int) -> Outcome:
    """Have asyncio cancel the task as it comes to wait."""
    return await _in_task(play, at, lambda cancel, _trap: cancel())


async def natively_as_it_wakes(play: Play, at: int) -> Outcome:
    """Have asyncio cancel the task in the tick in which what it waits for comes."""
    return await _in_task(play, at, lambda cancel, trap: _once_done(trap, cancel))


async def by_interrupt(play: Play, at: int) -> Outcome:
    """Raise a KeyboardInterrupt in the call as it comes to wait."""
    interrupt = KeyboardInterrupt()
    # On trio a task that waits is asked to let go first, and there are waits that do not: then the next one.
    driven = Driven(play(), at, lambda trap: interrupt if _lets_go(trap) else _postpone(driven))
    left = await raised_by(driven)
    return Outcome(is_struck=driven.is_struck, left=left)


async def by_scope_after_turns(play: Play, at: int) -> Outcome:
    """Cancel a scope around the call after so many turns of the event loop, wherever all tasks are then."""
    left: list[BaseException | None] = []

    async def run() -> None:
        left.append(await raised_by(play()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await turns(at)
        is_struck = not left
        tasks.cancel_scope.cancel()
    return Outcome(is_struck=is_struck, left=left[0])


async def natively_after_turns(play: Play, at: int) -> Outcome:
    """Have asyncio cancel the task after so many turns of the event loop."""
    task = asyncio.ensure_future(play())
    await turns(at)
    is_struck = task.cancel()
    return Outcome(is_struck=is_struck, left=await _ended(task))


BY_TURNS: Final = (by_scope_after_turns, natively_after_turns)


def ways() -> tuple[Way, ...]:
    """Give all ways that there are on this backend."""
    everywhere = (by_scope, by_interrupt, by_scope_after_turns)
    of_asyncio = (natively, natively_as_it_wakes, by_scope_as_it_wakes, natively_after_turns)
    return everywhere if is_trio() else everywhere + of_asyncio


async def _in_scope(play: Play, at: int, strike: Callable[[anyio.CancelScope, object], None]) -> Outcome:
    left = None
    with anyio.CancelScope() as scope:
        driven = Driven(play(), at, lambda trap: strike(scope, trap))
        left = await raised_by(driven)
        if isinstance(left, anyio.get_cancelled_exc_class()):
            raise left
    if not is_trio():  # what a scope cancels is not cancelled for those around it
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
    return Outcome(is_struck=driven.is_struck, left=left)


async def _in_task(play: Play, at: int, strike: Callable[[Callable[[], object], object], object]) -> Outcome:
    def act(trap: object) -> None:
        task = asyncio.current_task()  # which may be eager, and not have a name here yet
        assert task is not None
        strike(task.cancel, trap)

    async def run() -> None:
        await driven

    driven = Driven(play(), at, act)
    task = asyncio.ensure_future(run())
    left = await _ended(task)
    return Outcome(is_struck=driven.is_struck, left=left)


async def _ended(task: "asyncio.Task[None]") -> BaseException | None:
    await asyncio.wait([task])
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def raised_by(call: Awaitable[None]) -> BaseException | None:
    try:
        await call
    except BaseException as exc:  # noqa: ASYNC103, BLE001 - the caller looks at it
        return exc  # noqa: ASYNC104
    return None


def _once_it_waits(cancel: Callable[[], object]) -> None:
    """Cancel from without: of a scope that is cancelled within, AnyIO tells asyncio's other tasks first."""
    if is_trio():
        cancel()
    else:
        asyncio.get_running_loop().call_soon(cancel)


def _once_done(trap: object, strike: Callable[[], object]) -> None:
    """Strike before the task is told: its own callback comes behind this one."""
    if isinstance(trap, asyncio.Future):
        trap.add_done_callback(lambda _: strike())
    else:
        strike()


def _lets_go(trap: object) -> bool:
    if not is_trio():
        return True
    import trio

    abort = getattr(trap, "abort_func", None)  # of what trio's wait_task_rescheduled() yields
    return abort is not None and abort(_interrupt) is trio.lowlevel.Abort.SUCCEEDED


def _interrupt() -> None:
    raise KeyboardInterrupt


def _postpone(driven: Driven) -> None:
    driven._at += 1


def is_trio() -> bool:
    return anyio.get_cancelled_exc_class().__module__.startswith("trio")


# --- what it leaves ---------------------------------------------------------------------------------------


class Aftermath:
    """Looks for what a call left behind, again and again."""

    def __init__(self, library: ModuleType) -> None:
        self._library = library
        self._tasks: set[int] = set()
        self._responses: weakref.WeakSet[Any] = weakref.WeakSet()
        self._complaints: list[str] = []

    @contextmanager
    def watching(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Hear what is said of tasks, sockets and generators that are found in the garbage."""
        made, response = self._responses, self._library.Response
        init = response.__init__

        def remembered(self: Any, *arguments: Any, **options: Any) -> None:
            init(self, *arguments, **options)
            made.add(self)

        handler = logging.Handler(logging.ERROR)
        handler.emit = lambda record: self._complaints.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("anysse")
        with monkeypatch.context() as patch:
            patch.setattr(response, "__init__", remembered)
            patch.setattr(sys, "unraisablehook", self._unraisable)
            patch.setattr(logger, "level", logging.ERROR)
            logger.addHandler(handler)
            # Or each look at the garbage were one at all of pytest's memory.
            gc.collect()
            gc.freeze()
            try:
                yield
            finally:
                gc.unfreeze()
                logger.removeHandler(handler)

    def _unraisable(self, unraisable: Any) -> None:
        self._complaints.append(f"{unraisable.err_msg or ''} {unraisable.exc_value!r} {unraisable.object!r}")

    def _of_loop(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._complaints.append(f"{context['message']} {context.get('exception')!r}")

    def begin(self) -> None:
        """Remember which tasks there are, before the first call of an event loop."""
        self._tasks = {task.id for task in anyio.get_running_tasks()}
        if not is_trio():
            asyncio.get_running_loop().set_exception_handler(self._of_loop)

    def _new_tasks(self) -> list[anyio.TaskInfo]:
        """Give those of nobody else: a server has some for each connection that it keeps."""
        new = (task for task in anyio.get_running_tasks() if task.id not in self._tasks)
        return [task for task in new if not any(name in (task.name or "") for name in _SERVERS)]

    async def nothing(self) -> None:
        """See that no task is left, no response is open, and nobody complained."""
        try:
            with anyio.fail_after(DEADLINE):
                while self._new_tasks():
                    await checkpoint()
        except TimeoutError:
            raise AssertionError(f"tasks are left: {self._new_tasks()}") from None
        gc.collect()
        assert [each for each in self._responses if not each.is_closed] == []
        assert self._complaints == []


# --- all of it --------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Count:
    """How many strikes there were."""

    strikes: int = 0
    late: int = 0
    """Of these, how many came after all that could be cancelled: leaving is shielded."""


async def sweep(
    way: Way,
    steps: range,
    play: Play,
    check: Callable[[], Awaitable[None]],
    *,
    end: type[Exception] | None = None,
) -> Count:
    """Strike a call at its k-th checkpoint, for each k of ``steps``, until it ends by itself.

    Args:
        way: How.
        steps: Where.
        play: Makes the call.
        check: Looks each time at what that left.
        end: What the call raises where nobody strikes.
    """
    count = Count()
    for at in steps:
        try:
            with anyio.fail_after(DEADLINE):
                outcome = await way(play, at)
            is_late = _is_late(outcome, way, end)
            await check()
        except BaseException as exc:
            exc.add_note(f"struck at {at}, {way.__name__}")
            raise
        if not outcome.is_struck:
            return count
        count.strikes += 1
        count.late += is_late
    raise AssertionError(f"it does not end by itself within {steps[-1]} checkpoints")


def _is_late(outcome: Outcome, way: Way, end: type[Exception] | None) -> bool:
    """See that what leaves is the strike itself, that nothing swallowed it, or that it came too late.

    A scope that is cancelled while leaving is shielded has nothing more to cancel; and an error that is on
    its way out of a task group goes first.
    """
    left = outcome.left
    is_end = left is None if end is None else isinstance(left, end)
    if not outcome.is_struck or (is_end and (end is not None or "scope" in way.__name__)):
        if not is_end:
            raise AssertionError(f"nothing was struck, and it ends with {left!r}") from left
        return True
    strike = KeyboardInterrupt if way is by_interrupt else anyio.get_cancelled_exc_class()
    if isinstance(left, strike):
        return False
    raise AssertionError(f"not the strike itself left, but {left!r}") from left
