"""How one task wakes others, for less than an event of AnyIO's takes. Knows AnyIO, and asyncio if it runs."""

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


class _Event:
    """An event of AnyIO's, to be awaited itself."""

    __slots__ = ("_event", "set")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self.set = self._event.set

    def __await__(self) -> Generator[Any, Any, None]:
        return self._event.wait().__await__()


def wakeups() -> Callable[[], Wakeup]:
    """Give what makes them in the event loop that runs."""
    is_asyncio = anyio.get_cancelled_exc_class().__module__.startswith("asyncio")
    return _future_class() if is_asyncio else _Event


@cache
def _future_class() -> Callable[[], Wakeup]:
    import asyncio  # where it runs it is there

    class Future(asyncio.Future[None]):
        """An ``asyncio.Event`` has a queue of those who wait: here is one, and nobody comes back."""

        def set(self) -> None:
            if not self.done():
                self.set_result(None)

    return Future
