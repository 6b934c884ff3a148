"""Everything that anysse raises of its own. Values with derived messages: no I/O, no httpx.

::

    AnysseError
    ├── InvalidRequest (ValueError)      refused before any I/O
    ├── StreamError                      the stream could not go on
    │   ├── ConnectError                 DNS, TCP, TLS, proxy
    │   ├── ResponseError                the answer was no event stream
    │   │   ├── StatusError              ... because of its status code
    │   │   └── ContentTypeError         ... because of its content type
    │   ├── StreamDropped                cut off, or ended before `done`
    │   ├── StreamTimeout (TimeoutError) which of pool, connect, response, first_event, idle, total
    │   └── EventTooLarge                one event exceeded `max_event_size`
    ├── DecodeError                      one event could not be decoded; the stream goes on
    └── CheckpointError                  a last event ID could not be loaded or saved

Misuse of a stream raises AnyIO's own errors: ``ClosedResourceError``, ``BusyResourceError``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

from ._events import Headers, ServerSentEvent
from ._redact import redact_url

TimeoutPhase: TypeAlias = Literal["pool", "connect", "response", "first_event", "idle", "total"]

_SHOWN_BODY = 200
"""How many characters of a refused body a message quotes."""


class Facts(TypedDict, total=False):
    """What every error can be told when it is made: see ``AnysseError``."""

    url: str | None
    status_code: int | None
    headers: Mapping[str, str] | None
    retry_count: int
    hint: str


class AnysseError(Exception):
    """The base of all errors of anysse.

    ``str(error)`` says what happened and what to do, with secrets hidden; the attributes have
    everything whole, and keep it through ``copy`` and ``pickle``.

    Attributes:
        reason: What happened underneath, in the words of whoever noticed it first.
        url: The URL that was asked for, or None where there was none yet.
        status_code: The status of the last response, or None.
        headers: The headers of the last response; empty where there was none.
        retry_count: How many times the stream had tried again, since it was last good.
        retry_in: Seconds after which the stream tries again, or None where it does not.
        hint: What to do about it.
    """

    def __init__(
        self,
        reason: str = "",
        *,
        url: str | None = None,
        status_code: int | None = None,
        headers: Mapping[str, str] | None = None,
        retry_count: int = 0,
        hint: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.url = url
        self.status_code = status_code
        self.headers: Mapping[str, str] = (
            headers if isinstance(headers, Headers) else Headers((headers or {}).items())
        )
        self.retry_count = retry_count
        self.retry_in: float | None = None
        self.hint = hint

    def __str__(self) -> str:
        advice = self._advice()
        return f"{self.headline}{self._tried()}{advice and '; '}{advice}{self._details()}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # An OSError shrinks its arguments and __cause__ is never copied: rebuild from the attributes.
        return _rebuild, (type(self), self.args, self.__dict__.copy())

    @property
    def headline(self) -> str:
        """What happened, in one line that may be logged: nothing of a body is in it, and no secret."""
        return self.reason or "the stream failed"

    def _advice(self) -> str:
        return self.hint

    def _details(self) -> str:
        """What only a person wants to see, and no log should keep."""
        return ""

    def _tried(self) -> str:
        if not self.retry_count:
            return ""
        return f" (after {self.retry_count} {'retry' if self.retry_count == 1 else 'retries'})"

    def _place(self) -> str:
        return redact_url(self.url) if self.url else "the server"

    def _because(self) -> str:
        return f": {self.reason}" if self.reason else ""


def _rebuild(cls: type[AnysseError], args: tuple[Any, ...], state: dict[str, Any]) -> AnysseError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidRequest(AnysseError, ValueError):
    """An argument was refused, before any I/O.

    Attributes:
        argument: The name of the argument.
    """

    def __init__(self, argument: str, problem: str, *, url: str | None = None) -> None:
        super().__init__(problem, url=url)
        self.argument = argument

    @property
    def headline(self) -> str:
        return f"{self.argument}: {self.reason}"


class StreamError(AnysseError):
    """The stream could not go on."""


class ConnectError(StreamError):
    """No connection: the name did not resolve, nobody listened, TLS or a proxy refused.

    Nothing of the request was sent.
    """

    def __init__(self, reason: str = "", **facts: Unpack[Facts]) -> None:
        facts.setdefault("hint", "check the host, the port and that the server is up")
        super().__init__(reason, **facts)

    @property
    def headline(self) -> str:
        return f"cannot connect to {self._place()}{self._because()}"


class ResponseError(StreamError):
    """The server answered, but not with an event stream that can be read.

    Attributes:
        body: The first bytes of the body, at most 64 KiB.
        retry_after: The seconds that a ``Retry-After`` header asked to wait, or None.
    """

    def __init__(
        self,
        reason: str = "",
        *,
        body: bytes = b"",
        retry_after: float | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(reason, **facts)
        self.body = body
        self.retry_after = retry_after

    @property
    def text(self) -> str:
        """``body`` as text; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def headline(self) -> str:
        return f"cannot read the answer of {self._place()}{self._because()}"

    def _details(self) -> str:
        shown = self.text[:_SHOWN_BODY].strip()
        return f". The body begins: {shown!r}" if shown else ""


class StatusError(ResponseError):
    """The server answered with a status that is no event stream.

    ``status_code``, ``headers``, ``body`` and ``retry_after`` tell what it said.
    """

    @property
    def headline(self) -> str:
        return f"{self._place()} answered {self._status()}, not with an event stream{self._because()}"

    def _status(self) -> str:
        from http import HTTPStatus  # only an error needs it

        code = self.status_code or 0
        try:
            return f"{code} {HTTPStatus(code).phrase}"
        except ValueError:
            return str(code)

    def _advice(self) -> str:
        known = _STATUS_HINTS.get(self.status_code or 0, "")
        wait = f"come back in {self.retry_after:g} s" if self.retry_after else ""
        return "; ".join(filter(None, (known, wait, self.hint)))


_STATUS_HINTS = {
    401: "pass auth= or an Authorization header, or prepare= for a token that expires",
    403: "check that the credentials allow it",
    404: "check the URL",
    405: "check the method",
    407: "check the credentials for the proxy",
}


class ContentTypeError(ResponseError):
    """The server answered 200, but not with ``text/event-stream``."""

    def __init__(
        self,
        reason: str = "",
        *,
        body: bytes = b"",
        retry_after: float | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        facts.setdefault("hint", "check the URL, or pass accept_response= to take another type")
        super().__init__(reason, body=body, retry_after=retry_after, **facts)

    @property
    def headline(self) -> str:
        content_type = self.headers.get("content-type")
        kind = f"content type {content_type!r:.80}" if content_type else "no content type"
        return f"{self._place()} answered with {kind}, not text/event-stream{self._because()}"


class StreamDropped(StreamError):
    """The connection was lost, or the stream ended before it was done."""

    @property
    def headline(self) -> str:
        return f"the event stream of {self._place()} was cut off{self._because()}"


class StreamTimeout(StreamError, TimeoutError):
    """One of the stream's timeouts passed.

    Attributes:
        phase: Which one: ``"pool"``, ``"connect"``, ``"response"``, ``"first_event"``, ``"idle"`` or
            ``"total"``.
        seconds: How long was waited, or None where the HTTP client did not say.
    """

    def __init__(self, phase: TimeoutPhase, seconds: float | None = None, **facts: Unpack[Facts]) -> None:
        super().__init__(f"{phase} timeout", **facts)
        self.phase: TimeoutPhase = phase
        self.seconds = seconds
        self.hint: str = self.hint or _TIMEOUT_HINTS[phase]

    @property
    def headline(self) -> str:
        within = f" within {self.seconds:g} s" if self.seconds is not None else " in time"
        return f"{_TIMEOUT_TEXTS[self.phase]} {self._place()}{within}"


_TIMEOUT_TEXTS: dict[TimeoutPhase, str] = {
    "pool": "the HTTP client had no free connection to",
    "connect": "no connection to",
    "response": "no response from",
    "first_event": "no event from",
    "idle": "not a byte from",
    "total": "no end of the event stream of",
}
_TIMEOUT_HINTS: dict[TimeoutPhase, str] = {
    "pool": "raise the client's limits: each open stream holds one of its connections",
    "connect": "check the host, or raise timeouts.connect",
    "response": "raise timeouts.response if the server needs longer to answer",
    "first_event": "raise timeouts.first_event if the server needs longer to begin",
    "idle": "raise timeouts.idle if the stream may be quiet for longer",
    "total": "raise timeouts.total if it may take longer",
}


class EventTooLarge(StreamError):
    """One event has more bytes than ``max_event_size``.

    Attributes:
        max_event_size: The limit, in bytes.
        events: The events that were complete before it, in the chunk that was fed.
    """

    def __init__(
        self, max_event_size: int, events: Sequence[ServerSentEvent] = (), **facts: Unpack[Facts]
    ) -> None:
        super().__init__(f"an event is larger than {max_event_size} bytes", **facts)
        self.max_event_size = max_event_size
        self.events: list[ServerSentEvent] = list(events)
        self.hint: str = self.hint or 'raise max_event_size, or pass oversize="skip" to leave it out'

    @property
    def headline(self) -> str:
        return f"{self.reason}, in the event stream of {self._place()}"


class DecodeError(AnysseError):
    """One event could not be decoded. The stream itself goes on.

    Attributes:
        event: The event as it came.
    """

    def __init__(self, reason: str = "", *, event: ServerSentEvent, **facts: Unpack[Facts]) -> None:
        super().__init__(reason, **facts)
        self.event = event

    @property
    def headline(self) -> str:
        # Whatever a server sends as a type, it is one short line.
        return f"cannot decode an event of type {self.event.event!r:.80}{self._because()}"


class CheckpointError(AnysseError):
    """A last event ID could not be loaded or saved."""
