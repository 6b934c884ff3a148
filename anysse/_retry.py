"""Facts of a failure become a delay, or an end. Pure: time and randomness come in as arguments."""

import random
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

from ._check import check_count, check_number, shown
from ._errors import (
    AnysseError,
    ConnectError,
    InvalidRequest,
    ResponseError,
    StatusError,
    StreamDropped,
    StreamTimeout,
)

MIN_DELAY = 0.1
"""Seconds: no two attempts are closer, whatever a server or a policy says."""
MAX_RECONNECTION_TIME = 3600.0
"""Seconds: what a server's ``retry`` field counts for at most."""
DEFAULT_RECONNECTION_TIME = 3.0
"""Seconds between a feed's clean end and its next connection, where the server set none."""
DEFAULT_JITTER = 0.5
DEFAULT_RESET_AFTER = 30.0

_RETRIED = frozenset({408, 425, 429})
_NOT_RETRIED = frozenset({501, 505, 511})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a retry policy is told.

    Attributes:
        error: What happened.
        is_transient: Whether trying again can be expected to help.
        was_open: Whether the server ever accepted this stream.
        retry_count: How many times in a row it was tried again, without success, before this failure.
        elapsed: Seconds since the stream was last good, or since it was opened.
        reconnection_time: Seconds that the server set with a ``retry`` field, or None.
        retry_after: Seconds that the server asked for with a ``Retry-After`` header, or None.
    """

    error: AnysseError
    is_transient: bool
    was_open: bool
    retry_count: int
    elapsed: float
    reconnection_time: float | None
    retry_after: float | None


RetryPolicy: TypeAlias = Callable[[Failure], float | None]
"""Takes a failure, gives the seconds to wait before the next attempt, or None to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialBackoff:
    """Wait longer from failure to failure.

    A delay *d* is drawn from *d* to *d × (1 + jitter)*: never below what the server asked for.

    Args:
        initial: Seconds before the first retry; a ``retry`` field of the server takes its place.
        factor: By how much a delay grows from one failure to the next.
        maximum: Seconds to which it grows at most; a larger ``retry`` of the server still holds.
        jitter: The share of the delay that is drawn at random.
        max_retries: Retries in a row before the error is final; None never gives up.
        max_connect_retries: The same, while the stream was never open: a mistyped host is an error soon.
        reset_after: Seconds after which a connection counts as good even without an event.
        max_retry_after: Seconds above which a ``Retry-After`` is an error rather than a wait.
        also: Statuses to try again, beside 408, 425, 429 and those of 5xx that may pass.

    Raises:
        InvalidRequest: A value is out of its range.
    """

    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = DEFAULT_JITTER
    max_retries: int | None = None
    max_connect_retries: int | None = 3
    reset_after: float = DEFAULT_RESET_AFTER
    max_retry_after: float = 300.0
    also: Collection[int] = ()

    def __post_init__(self) -> None:
        for name in ("initial", "maximum", "jitter", "reset_after", "max_retry_after"):
            check_number(f"retry.{name}", getattr(self, name), minimum=0)
        check_number("retry.factor", self.factor, minimum=1)
        for name in ("max_retries", "max_connect_retries"):
            if getattr(self, name) is not None:
                check_count(f"retry.{name}", getattr(self, name), minimum=0)
        try:
            also = frozenset(self.also)
        except TypeError:
            problem = f"must be several statuses, as in also=(404,), not {shown(self.also)}"
            raise InvalidRequest("retry.also", problem) from None
        for status in also:
            check_count("retry.also", status, minimum=100)
        object.__setattr__(self, "also", also)

    def __call__(self, failure: Failure) -> float | None:
        """Give the seconds to wait, or None to stop."""
        return self.delay(failure, random.random())

    def delay(self, failure: Failure, chance: float) -> float | None:
        """Give the seconds to wait, or None to stop; ``chance`` is the random number, from 0 to 1."""
        if not self._goes_on(failure):
            return None
        initial = self.initial if failure.reconnection_time is None else failure.reconnection_time
        grown = _grown(initial, self.factor, failure.retry_count, max(self.maximum, initial))
        return spread(max(grown, failure.retry_after or 0.0), self.jitter, chance)

    def _goes_on(self, failure: Failure) -> bool:
        if not failure.is_transient and not self._is_named(failure.error):
            return False
        if failure.retry_after is not None and failure.retry_after > self.max_retry_after:
            return False
        bounds = [self.max_retries] if failure.was_open else [self.max_retries, self.max_connect_retries]
        return all(bound is None or failure.retry_count < bound for bound in bounds)

    def _is_named(self, error: AnysseError) -> bool:
        # Other errors have a status too: that of the response which was accepted.
        return isinstance(error, ResponseError) and error.status_code in self.also


def spread(delay: float, jitter: float, chance: float) -> float:
    """Draw from ``delay`` to ``delay * (1 + jitter)``, so that clients do not come back in one instant."""
    return min(delay * (1.0 + jitter * chance), sys.float_info.max)  # never "inf"


def is_transient(error: Exception) -> bool:
    """Tell whether trying again can be expected to help."""
    if isinstance(error, StatusError):
        code = error.status_code or 0
        return code in _RETRIED or (500 <= code <= 599 and code not in _NOT_RETRIED)
    return isinstance(error, ConnectError | StreamDropped | StreamTimeout)


def _grown(initial: float, factor: float, count: int, maximum: float) -> float:
    try:
        # As floats: an int would grow to any number of digits.
        return min(float(initial) * float(factor) ** count, maximum)
    except OverflowError:  # after some thousand failures in a row
        return maximum if initial else 0.0
