"""Whether a request may be sent again. Values; no clock, no I/O.

A prompt that is sent twice is answered, and billed, twice: that is never done by accident.
"""

from dataclasses import dataclass

from ._errors import AnysseError, ConnectError, StatusError, StreamTimeout
from ._options import Resend

_UNTOUCHED = frozenset({401, 408, 425, 429})
"""Statuses that say that a request was not acted upon; 503 does if it says when to come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """What went out of a request, as far as it matters for sending it again. By default nothing did."""

    is_safe: bool = True
    has_idempotency_key: bool = False
    is_body_spent: bool = False
    """Whether its body can be read only once, and was, or may be just now."""
    was_acted_upon: bool = False
    """Whether a redirect led on from it to its result."""

    def may_be_sent_again(self, resend: Resend, error: AnysseError, *, was_delivered: bool) -> bool:
        """Decide.

        Args:
            resend: What the caller decided.
            error: What became of it.
            was_delivered: Whether an event of its answer came, on whichever connection. What is received
                counts as handed out, since what is buffered still will be.
        """
        if self.is_body_spent:
            return False
        if self.is_safe or resend == "always":
            return True
        if not self.was_acted_upon and (_was_not_sent(error) or _was_refused(error)):
            return True
        return not was_delivered and (resend == "undelivered" or self.has_idempotency_key)

    def hint(self, hint: str) -> str:
        """Add to the hint of an error why it was not sent again, and what would allow it."""
        if self.is_body_spent:
            why = "it was not sent again, since its body can be read only once: pass bytes instead"
        else:
            why = (
                "it was not sent again, since the server may have acted upon it: pass resend= to allow that, "
                "or an Idempotency-Key header"
            )
        return f"{hint}; {why}" if hint else why


def _was_not_sent(error: AnysseError) -> bool:
    return isinstance(error, ConnectError) or (
        isinstance(error, StreamTimeout) and error.phase in ("pool", "connect")
    )


def _was_refused(error: AnysseError) -> bool:
    if not isinstance(error, StatusError):
        return False
    if error.status_code == 503:
        return error.retry_after is not None
    return error.status_code in _UNTOUCHED
