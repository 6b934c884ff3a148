"""What goes on around streams: the network and the sleep of the machine, watched once, told to all."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from ._groups import bare_exception
from ._log import logger
from ._network import watch
from ._sleep import time_asleep
from ._steering import Steering

SLEEP_CHECK: Final = 2.0
"""Seconds between looks at the clocks: no system tells all programs that it slept."""
SHORTEST_SLEEP: Final = 1.0
"""Seconds that count as sleep: no connection and no wait is worse for less."""


class Surroundings:
    """The machine that streams run on. One task watches it, ``run``, for all that joined."""

    def __init__(self) -> None:
        self._streams: dict[Steering, None] = {}  # in the order in which they came

    def join(self, stream: Steering) -> None:
        """Have a stream told of what happens."""
        self._streams[stream] = None

    def leave(self, stream: Steering) -> None:
        """Have it told no more."""
        self._streams.pop(stream, None)

    async def run(self) -> None:
        """Watch until this is cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow_network, name="anysse network")
            await self._follow_sleep()

    async def during(self, live: Callable[[], Awaitable[None]]) -> None:
        """Watch for as long as a function takes; what that raises leaves as itself."""
        with bare_exception():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.run, name="anysse surroundings")
                await live()
                tasks.cancel_scope.cancel()

    async def _follow_network(self) -> None:
        try:
            async with watch() as changes:
                async for change in changes:
                    logger.debug("the network changed: %s", change)
                    for stream in tuple(self._streams):
                        stream.addresses_are_gone(change.lost)
                        if change.is_back:
                            stream.network_is_back()
        except Exception as error:  # noqa: BLE001 - an aid that fails: no stream is worse for it than without
            is_bug = not isinstance(error, OSError)
            logger.warning("the network cannot be watched: %s", error, exc_info=is_bug)

    async def _follow_sleep(self) -> None:
        asleep = time_asleep()
        while True:
            await anyio.sleep(SLEEP_CHECK)
            before, asleep = asleep, time_asleep()
            if asleep - before >= SHORTEST_SLEEP:
                logger.info("the machine slept for %.0f s", asleep - before)
                for stream in tuple(self._streams):
                    stream.woke_up(asleep - before)
