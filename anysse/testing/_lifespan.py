"""How long an ASGI application and its tasks live: from its startup to its shutdown, and no longer."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.abc import TaskGroup

from anysse._groups import bare_exception
from anysse._log import logger

from ._exchange import Application, Message

SHUTDOWN_GRACE: Final = 10.0
"""Seconds that an application has to shut down."""


class Lifespan:
    """The lifespan protocol of ASGI, as the server sees it."""

    def __init__(self, application: Application) -> None:
        self.state: dict[str, object] = {}
        """What the application left there for its requests."""
        self.failure: Exception | None = None
        """What it raised, or said, of a startup or a shutdown that failed."""
        self._application = application
        self.is_up = False
        """Whether it said that its startup is complete."""
        self._is_told = False
        self._has_answered, self._is_shut = anyio.Event(), anyio.Event()

    async def run(self) -> None:
        """Run the application, until it shut down, or does not want to know."""
        scope: Message = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._application(scope, self._receive, self._send)
        except Exception as exc:  # noqa: BLE001 - whatever it is, whoever enters or leaves is to have it
            # What it raised says more than what it sent.
            self.failure = exc
        finally:
            self._has_answered.set()

    async def started(self) -> None:
        """Wait for its startup.

        Raises:
            Exception: What the application raised, or a RuntimeError of what it said.
        """
        await self._has_answered.wait()
        if self._is_shut.is_set():
            assert self.failure is not None  # noqa: S101 - it said so
            raise self.failure
        if not self.is_up:
            logger.debug("the application knows no lifespan", exc_info=self.failure)
            self.failure = None

    def shut(self) -> None:
        """Ask for its shutdown."""
        self._is_shut.set()

    async def _receive(self) -> Message:
        if not self._is_told:
            self._is_told = True
            return {"type": "lifespan.startup"}
        await self._is_shut.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Mapping[str, object]) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self.is_up = True
        elif kind in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
            self.failure = RuntimeError(f"{kind}: {message.get('message', '')}")
            self._is_shut.set()
        elif kind != "lifespan.shutdown.complete":
            raise RuntimeError(f"the application answered its lifespan with {kind!r}")
        self._has_answered.set()


@asynccontextmanager
async def started(lifespan: Lifespan, grace: float) -> AsyncIterator[None]:
    """Keep an application up, which shuts down on leaving, within a bounded time.

    Args:
        lifespan: Its lifespan.
        grace: Seconds that it has where this is left before it is up.

    Raises:
        Exception: What the application raised as it started or shut down.
    """
    async with sheltered(lifespan.shut, lambda: SHUTDOWN_GRACE if lifespan.is_up else grace) as tasks:
        tasks.start_soon(lifespan.run)
        await lifespan.started()
        yield
    if lifespan.failure is not None:
        raise lifespan.failure


@asynccontextmanager
async def sheltered(tell: Callable[[], None], grace: Callable[[], float]) -> AsyncIterator[TaskGroup]:
    """Open a task group that no cancellation from without reaches.

    Args:
        tell: Says to the tasks, as the group is left, that they are to end.
        grace: Gives the seconds that they then have, before they are cancelled.
    """
    tasks = anyio.create_task_group()
    is_open, is_left, is_over = anyio.Event(), anyio.Event(), anyio.Event()

    async def hold() -> None:
        try:
            # Shielded for as long as the group is open, and then for `grace`.
            with anyio.CancelScope(shield=True), bare_exception():
                async with tasks:
                    is_open.set()
                    await is_left.wait()
        finally:
            is_over.set()

    with bare_exception():
        async with anyio.create_task_group() as holder:
            holder.start_soon(hold)
            try:
                with anyio.CancelScope(shield=True):  # for the turn that a task takes to begin
                    await is_open.wait()
                yield tasks
            finally:
                tell()
                is_left.set()
                with anyio.move_on_after(grace(), shield=True):
                    await is_over.wait()
                tasks.cancel_scope.cancel()
