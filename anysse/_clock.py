"""The event loop's clock, and a stopwatch, as functions: asked for once and called often. Knows anyio."""

import sys
from collections.abc import Callable
from time import perf_counter

import anyio


def loop_clock() -> Callable[[], float]:
    """Give what tells the time of the event loop that runs, as ``anyio.current_time`` does.

    Which loop it is, that function finds out anew at each call, which costs more than parsing an event.
    """
    library = _library()
    if library == "asyncio":
        return sys.modules[library].get_running_loop().time  # type: ignore[no-any-return]
    if library == "trio":
        return sys.modules[library].lowlevel.current_clock().current_time  # type: ignore[no-any-return]
    return anyio.current_time  # pragma: no cover - AnyIO has no third event loop


def stopwatch() -> Callable[[], float]:
    """Give what measures how long something took that may be over in microseconds.

    The clock of uvloop knows milliseconds only; that of trio is as good as any, and the one that jumps
    where time is virtual.
    """
    return perf_counter if _library() == "asyncio" else loop_clock()


def _library() -> str:
    # What a cancellation is, and not which module is loaded, tells who runs this task: trio may be a guest.
    return anyio.get_cancelled_exc_class().__module__.partition(".")[0]
