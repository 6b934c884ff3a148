"""What one connection brings: bytes in, events out, until the event that ends the stream. No I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ._check import check_callable, shown
from ._errors import EventTooLarge, InvalidRequest
from ._events import ServerSentEvent
from ._parser import EventStreamParser

Done: TypeAlias = str | Callable[[ServerSentEvent], bool]
"""The data of the event that ends a stream and is not delivered, or a test for one that is delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMark:
    """The event that ends a stream, and what that means: ``done``, as it is where nobody says more."""

    done: Done
    is_required: bool = True
    """Whether the stream is cut off where it ends without it."""
    is_final: bool = True
    """Whether the stream is over with it; else what follows is delivered, too."""


class Intake:
    """A parser, and an eye on the end of the stream."""

    __slots__ = ("_mark", "_on_comment", "_parser", "done_after", "error", "is_over", "last_event_id")

    def __init__(
        self,
        *,
        done: Done | EndMark | None,
        on_comment: Callable[[str], object] | None,
        max_event_size: int,
        oversize: Literal["raise", "skip"],
        last_event_id: str,
    ) -> None:
        check_callable("on_comment", on_comment)
        self._parser = EventStreamParser(
            max_event_size=max_event_size,
            oversize=oversize,
            on_comment=None if on_comment is None else self._comment,
            last_event_id=last_event_id,
        )
        self._on_comment = on_comment
        self._mark = mark_of(done)
        self.done_after: int | None = None
        """Once the end mark came: how many of its read's events are delivered, and came no later."""
        self.is_over: bool = False
        """Whether nothing is to be taken any more: it is done, or there is an error."""
        self.error: Exception | None = None
        """What is wrong with the stream; what came before it is still to be delivered."""
        self.last_event_id: str = last_event_id
        """The last event ID after all that was taken."""

    @property
    def is_done(self) -> bool:
        """Whether the event came with which all is over."""
        return self.is_over and self.error is None

    @property
    def is_between_events(self) -> bool:
        """Whether nothing is held of an event that has begun."""
        return self._parser.is_between_events

    @property
    def reconnection_time(self) -> float | None:
        """Seconds that the stream set, as it set them, or None."""
        return self._parser.reconnection_time

    def take(self, chunk: bytes) -> Sequence[ServerSentEvent]:
        """Parse what was read, and give the events that are to be delivered."""
        events: Sequence[ServerSentEvent]
        try:
            events = self._parser.feed(chunk)
        except EventTooLarge as error:
            events, self.error = error.events, self.error or error
        self.is_over = self.error is not None
        if self._mark is not None:
            return self._marked(events, self._mark)
        self.last_event_id = self._parser.last_event_id
        return events

    def _marked(self, events: Sequence[ServerSentEvent], mark: EndMark) -> Sequence[ServerSentEvent]:
        """Look for the end mark; give what is to be delivered of the events."""
        if isinstance(mark.done, str) and mark.done not in [event.data for event in events]:  # soon said
            self.last_event_id = self._parser.last_event_id
            return events
        for index, event in enumerate(events):
            try:
                is_done = _is_done(event, mark.done)
            except Exception as exc:  # noqa: BLE001 - the caller's own: raised after what came before it
                self.is_over, self.error = True, exc
                return events[:index]
            self.last_event_id = event.id
            if is_done:
                is_delivered = not isinstance(mark.done, str)
                before = [*events[:index], event] if is_delivered else events[:index]
                self.done_after = len(before)
                return self._ended(before) if mark.is_final else self._passed(before, events[index + 1 :])
        self.last_event_id = self._parser.last_event_id
        return events

    def _ended(self, events: Sequence[ServerSentEvent]) -> Sequence[ServerSentEvent]:
        self.is_over = True
        if isinstance(self.error, EventTooLarge):
            self.error = None  # What follows is not of this stream any more.
        return events

    def _passed(
        self, before: Sequence[ServerSentEvent], after: Sequence[ServerSentEvent]
    ) -> Sequence[ServerSentEvent]:
        """The mark came; from now on nobody looks for it."""
        self._mark = None
        self.last_event_id = self._parser.last_event_id
        return [*before, *after]

    def _comment(self, text: str) -> None:
        """Tell of a comment; what the callback raises comes after the events of this read."""
        if self.error is None and self._on_comment is not None:
            try:
                self._on_comment(text)
            except Exception as exc:  # noqa: BLE001 - the caller's own
                self.error = exc


def _is_done(event: ServerSentEvent, done: Done) -> bool:
    return event.data == done if isinstance(done, str) else done(event)


def mark_of(done: Done | EndMark | None) -> EndMark | None:
    """Take what a caller may write.

    Raises:
        InvalidRequest: It cannot tell the end of a stream.
    """
    if done is None or isinstance(done, EndMark):
        return done
    if not (isinstance(done, str) or callable(done)):
        raise InvalidRequest("done", f"must be a str, a function of the event or None, not {shown(done)}")
    return EndMark(done=done)
