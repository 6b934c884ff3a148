"""The functions that a client calls as things happen: checked and frozen. It calls none of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from ._check import check_callable, shown
from ._errors import AnysseError, InvalidRequest
from ._events import ServerSentEvent
from ._options import StreamStatus

if TYPE_CHECKING:
    from typing import TypedDict

M = TypeVar("M", default=Any)
"""What a message is decoded to: whatever JSON gives, where nobody makes anything else of it."""


# Without slots: with them, Handlers[str](...) is a TypeError of typing's on Python 3.11.
@dataclass(frozen=True, kw_only=True)
class Handlers(Generic[M]):
    """What to call as a request of a ``StreamClient`` goes on; each may be a plain or an async function.

    They are called one after the other, in the order in which things happened, in the request's own task.
    While one is waited for the request takes nothing more, and its server is held back.

    Args:
        on_open: The server accepted the stream; again for each connection.
        on_message: A message came: what it was decoded to, and the event itself.
        on: The same, by the event's type, which then goes to its own function instead of ``on_message``.
        on_retry: The request is tried again: the error, and the seconds until then.
        on_complete: The request came to its end; once.
        on_error: An attempt failed, or a message could not be decoded: the error, and how many times it had
            been tried again before that. ``error.retry_in`` has the seconds until it is tried again, or None.
        on_close: The request is over; always, once, and last. It is given the status that it ended with.
        on_status: The status is another one; called before whatever else is called for the same reason.

    Raises:
        InvalidRequest: One of them cannot be called.
    """

    on_open: Callable[[], object] | None = None
    on_message: Callable[[M, ServerSentEvent], object] | None = None
    on: Mapping[str, Callable[[M, ServerSentEvent], object]] = field(default_factory=dict)
    on_retry: Callable[[AnysseError, float], object] | None = None
    on_complete: Callable[[], object] | None = None
    on_error: Callable[[AnysseError, int], object] | None = None
    on_close: Callable[[StreamStatus], object] | None = None
    on_status: Callable[[StreamStatus], object] | None = None

    def __post_init__(self) -> None:
        for name in HANDLER_NAMES - {"on"}:
            check_callable(name, getattr(self, name))
        if not isinstance(self.on, Mapping):
            problem = f"must be functions by event type, as in on={{'ping': f}}, not {shown(self.on)}"
            raise InvalidRequest("on", problem)
        for event_type, handler in self.on.items():
            if not isinstance(event_type, str) or not callable(handler):
                raise InvalidRequest("on", f"must have a function for the event type {shown(event_type)}")
        object.__setattr__(self, "on", dict(self.on))

    def with_others(self, others: Mapping[str, Any]) -> "Handlers[M]":
        """Give these, with others in the place of some."""
        return replace(self, **others) if others else self


HANDLER_NAMES = frozenset(entry.name for entry in fields(Handlers))

if TYPE_CHECKING:

    class HandlerOptions(TypedDict, Generic[M], total=False):
        """The same, as the keyword arguments of a request."""

        on_open: Callable[[], object] | None
        on_message: Callable[[M, ServerSentEvent], object] | None
        on: Mapping[str, Callable[[M, ServerSentEvent], object]]
        on_retry: Callable[[AnysseError, float], object] | None
        on_complete: Callable[[], object] | None
        on_error: Callable[[AnysseError, int], object] | None
        on_close: Callable[[StreamStatus], object] | None
        on_status: Callable[[StreamStatus], object] | None
