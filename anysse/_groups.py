"""Takes the one real exception out of our own task group; knows anyio and nothing else of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


@contextmanager
def bare_exception() -> Iterator[None]:
    """Let a task group's only exception leave as itself.

    A task group wraps even the exception of its own body. Exactly one level is taken off, so that a
    group that the body itself raised stays one. Where two real errors remain, so does the group.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        error = _only_error(group)
        if error is None:
            raise
        context = error.__context__
        try:
            raise error
        finally:
            # Raising sets the context anew: it is the body's business, not ours.
            error.__context__ = context
            del error, context


def _only_error(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    # On trio the cancellations of the other tasks come along; on asyncio they do not.
    cancelled = anyio.get_cancelled_exc_class()
    errors = [error for error in group.exceptions if not isinstance(error, cancelled)]
    return errors[0] if len(errors) == 1 else None
