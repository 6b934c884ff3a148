"""How one task wakes another: by AnyIO's events, or on asyncio by bare futures, which cost a quarter of them.

For one waiter, and for one time. Knows AnyIO, and asyncio where that is what runs.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import anyio

if TYPE_CHECKING:
    import asyncio


class Wakeup(Protocol):
    """What ``anyio.Event`` has, as far as it is needed here."""

    def set(self) -> object:
        """Wake whoever waits, now or later."""

    async def wait(self) -> object:
        """Wait until it is set."""


class _Future:
    """An ``asyncio.Event`` has a queue of those who wait: here is one, and nobody comes back."""

    __slots__ = ("_future",)

    def __init__(self, future: "asyncio.Future[None]") -> None:
        self._future = future

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        await self._future


def wakeups() -> Callable[[], Wakeup]:
    """Give what makes them in the event loop that runs."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not anyio.get_cancelled_exc_class().__module__.startswith("asyncio"):
        return anyio.Event
    create_future = asyncio.get_running_loop().create_future
    return lambda: _Future(create_future())
