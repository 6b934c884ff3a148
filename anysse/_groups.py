"""Takes the one real exception out of our own task group; knows anyio and nothing else of ours."""

from contextlib import AbstractContextManager
from types import TracebackType

import anyio


class bare_exception(AbstractContextManager[None]):  # noqa: N801 - it is used as a function
    """Let a task group's only exception leave as itself.

    A task group wraps even the exception of its own body. Exactly one level is taken off, so that a
    group that the body itself raised stays one. Where two real errors remain, so does the group.
    """

    # A class, since a StopIteration of the body's could not leave through a generator.
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        error = _only_error(exc) if isinstance(exc, BaseExceptionGroup) else None
        if error is None:
            return
        context = error.__context__
        try:
            raise error
        finally:
            # Raising sets the context anew: it is the body's business, not ours.
            error.__context__ = context
            del error, context


def _only_error(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    # On trio the cancellations of the other tasks come along; on asyncio they do not.
    errors = [error for error in group.exceptions if not _is_cancellation(error)]
    return errors[0] if len(errors) == 1 else None


def _is_cancellation(error: BaseException) -> bool:
    """Whether it is one, or a group of nothing else: what a task group in a callback may leave behind."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(anyio.get_cancelled_exc_class())[1] is None
    return isinstance(error, anyio.get_cancelled_exc_class())
