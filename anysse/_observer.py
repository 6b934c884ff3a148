"""Facts about a stream's life, and who may look on or hold an attempt back. Values and protocols; no I/O."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeAlias

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
class StatusChanged:
    """The stream's status is another one now."""

    status: StreamStatus
    previous: StreamStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """A request is about to be sent."""

    attempt: Attempt
    url: str

    def __repr__(self) -> str:
        return f"AttemptStarted(attempt={self.attempt!r}, url={redact_url(self.url)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The server accepted the stream."""

    response: StreamResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """An attempt, or the connection that it had made, failed."""

    error: Exception
    retry_in: float | None
    """Seconds until the next attempt, or None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A connection came to the clean end of its body."""

    retry_in: float | None
    """Seconds until the next attempt, or None where there is none."""


Fact: TypeAlias = StatusChanged | AttemptStarted | Connected | AttemptFailed | Ended


class Observer(Protocol):
    """One who looks on: inherit from it and override what is of interest."""

    def observe(self, fact: Fact, /) -> None:
        """Take notice of a fact, at once and in order.

        What it raises is logged and goes no further: an observer cannot break the stream.
        """
        return  # Without it, type checkers take this for abstract.

    def admit(self, attempt: Attempt, /) -> AbstractAsyncContextManager[None]:
        """Give a context that an attempt enters before it sends, and leaves when its connection is over.

        Waiting on entry holds the attempt back, and counts towards no timeout but ``total``.
        """
        return nullcontext()
