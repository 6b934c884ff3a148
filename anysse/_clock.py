"""The event loop's clock as a function, to be asked for once and called often. Knows anyio."""

import sys
from collections.abc import Callable

import anyio


def loop_clock() -> Callable[[], float]:
    """Give what tells the time of the event loop that runs, as ``anyio.current_time`` does.

    Which loop it is, that function finds out anew at each call, which costs more than parsing an event.
    """
    # What a cancellation is, and not which module is loaded, tells who runs this task: trio may be a guest.
    library = anyio.get_cancelled_exc_class().__module__.partition(".")[0]
    if library == "asyncio":
        return sys.modules[library].get_running_loop().time  # type: ignore[no-any-return]
    if library == "trio":
        return sys.modules[library].lowlevel.current_clock().current_time  # type: ignore[no-any-return]
    return anyio.current_time  # pragma: no cover - AnyIO has no third event loop
