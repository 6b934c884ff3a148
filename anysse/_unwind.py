"""Makes the nested generators of an HTTP library leave in order; knows anyio and nothing else of ours."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

import anyio

MAX_PULLS = 16_384
"""How often it is asked: what was read, 64 KiB at most, comes first, in chunks of six bytes at least."""
UNWIND_GRACE = 0.1
"""Seconds for that on asyncio, where a server that floods us may keep a cancellation from being seen."""


async def unwind(chunks: AsyncIterator[bytes]) -> None:
    """Unwind an iterator that is parked in mid body.

    Left parked, trio finds its generators in the garbage, and warns; closing the outermost leaves the
    others. Asked once more in a cancelled scope they raise from wherever they are, all of them.
    """
    # Whatever the library calls it that it is cut off.
    with anyio.CancelScope() as scope, suppress(Exception):
        scope.cancel()
        until = anyio.current_time() + UNWIND_GRACE if _may_starve() else float("inf")
        for _ in range(MAX_PULLS):
            await anext(chunks)
            if anyio.current_time() > until:
                break
    if isinstance(chunks, AsyncGenerator):
        with anyio.CancelScope() as scope, suppress(Exception):
            scope.cancel()
            await chunks.aclose()


def _may_starve() -> bool:
    """Whether a task that always finds something to do may never see that it is cancelled: not on trio."""
    return not anyio.get_cancelled_exc_class().__module__.startswith("trio")
