"""Which event ends a stream. Pure."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ._errors import InvalidRequest
from ._events import ServerSentEvent

Done: TypeAlias = str | Callable[[ServerSentEvent], bool]
"""The data of the event that ends a stream and is not delivered, or a test for one that is delivered."""


def check_done(done: object) -> None:
    """Refuse what cannot tell the end of a stream."""
    if not (done is None or isinstance(done, str) or callable(done)):
        raise InvalidRequest("done", f"must be a str, a function of the event or None, not {done!r:.80}")


def cut_at_done(
    events: Sequence[ServerSentEvent], done: Done
) -> tuple[Sequence[ServerSentEvent], ServerSentEvent | None]:
    """Give the events that are still to be delivered, and the one that ends the stream, if it is there."""
    for index, event in enumerate(events):
        if isinstance(done, str):
            if event.data == done:
                return events[:index], event
        elif done(event):
            return events[: index + 1], event
    return events, None
