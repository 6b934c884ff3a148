"""How one task wakes others, for less than an event of AnyIO's takes. Knows AnyIO, and the loop that runs."""

from collections.abc import Awaitable, Callable, Generator
from functools import cache
from typing import Any, Protocol

import anyio
from anyio.lowlevel import checkpoint


class Latch:
    """An event that takes a kilobyte only where somebody waits for it."""

    __slots__ = ("_event", "is_set")

    def __init__(self) -> None:
        self.is_set: bool = False
        self._event: anyio.Event | None = None

    def set(self) -> None:
        """Wake all who wait, now or later."""
        self.is_set = True
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait until it is set."""
        if self.is_set:
            await checkpoint()
            return
        self._event = self._event or anyio.Event()
        await self._event.wait()


class Wakeup(Awaitable[None], Protocol):
    """What one task awaits, for one time, and another one sets."""

    def set(self) -> object:
        """Wake whoever awaits it, now or later; once more does nothing."""


def wakeups() -> Callable[[], Wakeup]:
    """Give what makes them in the event loop that runs."""
    return _of_asyncio() if anyio.get_cancelled_exc_class().__module__.startswith("asyncio") else _of_trio()


@cache
def _of_asyncio() -> Callable[[], Wakeup]:
    import asyncio  # where it runs it is there

    class Future(asyncio.Future[None]):
        """An ``asyncio.Event`` has a queue of those who wait: here is one, and nobody comes back."""

        def set(self) -> None:
            if not self.done():
                self.set_result(None)

    return Future


@cache
def _of_trio() -> Callable[[], Wakeup]:
    import trio

    class Rescheduling:
        """As a ``trio.Event``, which has a parking lot, for one who waits."""

        __slots__ = ("_is_set", "_task")

        def __init__(self) -> None:
            self._is_set = False
            self._task: trio.lowlevel.Task | None = None

        def set(self) -> None:
            self._is_set = True
            task, self._task = self._task, None
            if task is not None:
                trio.lowlevel.reschedule(task)

        def __await__(self) -> Generator[Any, Any, None]:
            if self._is_set:
                return trio.lowlevel.checkpoint().__await__()  # noqa: ASYNC105 - the caller awaits it
            self._task = trio.lowlevel.current_task()
            return trio.lowlevel.wait_task_rescheduled(self._abort).__await__()  # noqa: ASYNC105 - as above

        def _abort(self, _: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

    return Rescheduling
