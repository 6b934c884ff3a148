"""The option values of a stream: frozen, checked when made. No clock, no I/O."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Literal, TypeAlias

from ._check import check_seconds, shown
from ._errors import InvalidRequest

Kind: TypeAlias = Literal["feed", "reply"]
Resend: TypeAlias = Literal["safe", "undelivered", "always"]
PauseMode: TypeAlias = Literal["close", "hold"]

FEED_IDLE = 300.0
"""Seconds of silence after which a feed's connection is given up, unless told otherwise."""


class StreamStatus(StrEnum):
    """Where a stream is in its life."""

    IDLE = "idle"
    """Not begun, or closed by its user."""
    CONNECTING = "connecting"
    """An attempt is under way."""
    CONNECTED = "connected"
    """The server accepted the stream; events come as it sends them."""
    WAITING = "waiting"
    """Between two attempts."""
    PAUSED = "paused"
    """It rests until it is resumed, or shown."""
    COMPLETED = "completed"
    """Ended as it should, at its done event, its end, or a 204."""
    ERROR = "error"
    """Failed for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a stream waits, in seconds; None waits for ever.

    Args:
        connect: For a TCP and TLS connection, and for a place in the client's pool.
        response: For the response, from the start of an attempt; redirects are part of it.
        first_event: For the first event of a connection, from its response.
        idle: For the next byte, comments included: a connection that is silent longer is given up,
            at most a sixteenth of this later. ``"default"`` is 300 s for a feed, None for a reply.
            ``"auto"`` learns how long this stream may be silent, and waits three times that, at least 45 s;
            a stream without a rhythm, such as a heartbeat, is left to TCP keep-alive.
        total: For the whole stream, reconnections included; but not while an observer, such as
            ``StreamLimits``, holds an attempt back.

    Raises:
        InvalidRequest: A value is no positive number, nor one of these words.
    """

    connect: float | None = 10.0
    response: float | None = 60.0
    first_event: float | None = None
    idle: float | Literal["default", "auto"] | None = "default"
    total: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "idle":
                _check_idle(value)
            elif value is not None:
                check_seconds(f"timeouts.{field.name}", value)

    @classmethod
    def of(cls, timeouts: "Timeouts | float | None") -> "Timeouts":
        """Take what a caller may write: a number is the seconds until the response, None no timeout at all.

        Raises:
            InvalidRequest: It is neither, or no positive number.
        """
        if isinstance(timeouts, Timeouts):
            return timeouts
        if timeouts is None:
            return cls(connect=None, response=None, idle=None)
        check_seconds("timeouts", timeouts)
        # Connecting ends first, so that a request that was never sent is known as such, and sent again.
        return cls(connect=min(10.0, 0.9 * timeouts), response=timeouts)

    def idle_of(self, kind: Kind) -> float | None:
        """Give the idle timeout of a stream of this kind, in seconds or None; None too where it is learnt."""
        if self.idle == "default":
            return FEED_IDLE if kind == "feed" else None
        return None if self.idle == "auto" else self.idle


def _check_idle(value: object) -> None:
    if value is None or (isinstance(value, str) and value in ("default", "auto")):
        return
    try:
        check_seconds("timeouts.idle", value)
    except InvalidRequest:
        problem = f"must be seconds above zero, 'default', 'auto' or None, not {shown(value)}"
        raise InvalidRequest("timeouts.idle", problem) from None
