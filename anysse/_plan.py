"""What the caller decided about a stream: checked when made, frozen from then on. No I/O, no httpx."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ._check import check_callable, check_choice, check_count, shown
from ._errors import InvalidRequest
from ._intake import Done, EndMark, Intake, mark_of
from ._observer import Observer
from ._options import Kind, Resend, Timeouts
from ._retry import RetryPolicy
from ._session import Rules
from ._visibility import Visibility

if TYPE_CHECKING:
    from ._types import Prepare


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StreamPlan:
    """The arguments of ``open_stream`` that are about the stream, and not about its request."""

    url: str
    kind: Kind
    last_event_id: str
    timeouts: Timeouts
    retry: RetryPolicy | None
    resend: Resend
    done: Done | EndMark | None
    prepare: "Prepare | None"
    on_comment: Callable[[str], object] | None
    max_event_size: int
    oversize: Literal["raise", "skip"]
    buffer: int
    observers: tuple[Observer, ...]
    visibility: Visibility | None
    open_when_hidden: bool
    network: bool

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("feed", "reply"))
        check_choice("resend", self.resend, ("safe", "undelivered", "always"))
        check_choice("oversize", self.oversize, ("raise", "skip"))
        check_count("max_event_size", self.max_event_size, minimum=1)
        check_count("buffer", self.buffer, minimum=1)
        mark_of(self.done)
        check_callable("retry", self.retry)
        check_callable("prepare", self.prepare)
        check_callable("on_comment", self.on_comment)
        if self.visibility is not None and not isinstance(self.visibility, Visibility):
            is_unentered = isinstance(self.visibility, AbstractAsyncContextManager)
            hint = ": enter that with async with, and pass what it gives" if is_unentered else ""
            problem = f"must be an anysse.Visibility or None, not {shown(self.visibility)}{hint}"
            raise InvalidRequest("visibility", problem)
        check_choice("open_when_hidden", self.open_when_hidden, (True, False))
        check_choice("network", self.network, (True, False))

    @property
    def rules(self) -> Rules:
        mark = mark_of(self.done)
        return Rules(
            kind=self.kind,
            retry=self.retry,
            resend=self.resend,
            is_done_required=mark is not None and mark.is_required,
            can_reauthorize=self.prepare is not None,
        )

    @property
    def idle(self) -> float | None:
        """Seconds of silence, or None."""
        return self.timeouts.idle_of(self.kind)

    @property
    def calls_while_parsing(self) -> bool:
        """Whether somebody's code is called while events are parsed: it is to run in the stream's task."""
        mark = mark_of(self.done)
        return self.on_comment is not None or (mark is not None and callable(mark.done))

    def intake(self, last_event_id: str) -> Intake:
        """Make what parses one connection."""
        return Intake(
            done=self.done,
            on_comment=self.on_comment,
            max_event_size=self.max_event_size,
            oversize=self.oversize,
            last_event_id=last_event_id,
        )


def default_kind(method: str, done: object) -> Kind:
    """A GET that is not said to end is a feed; all else is a reply."""
    return "feed" if method == "GET" and done is None else "reply"


def checked_observers(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    """Refuse what could not be told of anything.

    Raises:
        InvalidRequest: It names ``observers``.
    """
    try:
        watchers = tuple(observers)
    except TypeError:
        problem = f"must be several, as in observers=[mine], not {shown(observers)}"
        raise InvalidRequest("observers", problem) from None
    for watcher in watchers:
        if not callable(getattr(watcher, "observe", None)) or not callable(getattr(watcher, "admit", None)):
            raise InvalidRequest("observers", f"must inherit from anysse.Observer: {shown(watcher)} does not")
    return watchers
