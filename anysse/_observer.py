"""Facts about a stream's life, and who may look on or hold an attempt back. Values and protocols; no I/O."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from ._events import StreamResponse
from ._options import StreamStatus
from ._redact import redact_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to get the stream, about to begin."""

    number: int
    """1 for the first attempt of the stream, and one more for each after it."""
    last_event_id: str
    """What a server resumes from; empty where it starts at its beginning."""
    last_error: Exception | None
    """What the attempt before failed with, if it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened in a stream's life."""

    events_received: int = 0
    """How many of the stream's events had been received by then: where among them it happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged(Fact):
    """The stream's status is another one now."""

    status: StreamStatus
    previous: StreamStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Fact):
    """A request is about to be sent."""

    attempt: Attempt
    url: str

    def __repr__(self) -> str:
        return f"AttemptStarted(attempt={self.attempt!r}, url={redact_url(self.url)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(Fact):
    """The server accepted the stream."""

    response: StreamResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(Fact):
    """An attempt, or the connection that it had made, failed."""

    error: Exception
    retry_in: float | None
    """Seconds until the next attempt, or None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneReceived(Fact):
    """The event that ends the stream came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Fact):
    """A connection came to the clean end of its body; or to any end, where the done event had come."""

    retry_in: float | None
    """Seconds until the next attempt, or None where there is none."""


class Observer(Protocol):
    """One who looks on: inherit from it and override what is of interest."""

    def observe(self, fact: Fact, /) -> None:
        """Take notice of a fact, at once and in order.

        What it raises is logged and goes no further: an observer cannot break the stream.
        """
        return  # Without it, type checkers take this for abstract.

    def admit(self, attempt: Attempt, /) -> AbstractAsyncContextManager[None]:
        """Give a context that an attempt enters before it sends, and leaves when its connection is over.

        Waiting on entry holds the attempt back, and counts towards no timeout.
        """
        return nullcontext()
