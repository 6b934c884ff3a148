"""Bytes in, events out, as the WHATWG algorithm says: no clock, no I/O, bounded memory.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

A long read of short lines is taken in three parts: the rest of the block that was begun before, whole blocks,
and the beginning of one more. Whole blocks are decoded and split at once, which is fast (``_take_blocks``);
the two ends, and all other reads, are taken line by line and counted, which is bounded (``_take_lines``).
Both end in the same steps of the specification: ``_process_field`` and ``_dispatch``.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Final, Literal

from ._check import check_callable, check_choice, check_count, shown
from ._errors import EventTooLarge, InvalidRequest
from ._events import ServerSentEvent

MAX_EVENT_SIZE: Final = 16 * 1024 * 1024
"""How many bytes an event may have, unless told otherwise."""

_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 0x0A
_CR: Final = 0x0D  # An int, since `13 in text` takes a fifth of the time of `b"\r" in text`.
_SHORT_READ: Final = 1024  # Bytes: below it, cutting out whole blocks takes longer than it saves.
_SHORT_LINE: Final = 512  # Bytes: in longer lines a separator of several characters is slow to find.
_LONG_READ: Final = 4096  # Bytes: from it on, BytesIO finds the ends of long lines many times faster.
_FIELDS: Final = frozenset(("data", "event", "id", "retry"))
_KEPT_OF_OVERSIZE: Final = frozenset(("id", "retry"))
_MANY_LINES: Final = 4096  # Of one event: a line takes 50 bytes and more, however short it is.
_NO_FIELD: Final = b"?"  # Stands for a line of which nothing will be needed, however long it grows.
_MOST_RETRY_DIGITS: Final = 18
_MOST_RETRY: Final = 10**_MOST_RETRY_DIGITS - 1

# NamedTuple's own constructor costs three times as much.
_new_event: Callable[[type[ServerSentEvent], tuple[str, str, str, int | None]], ServerSentEvent]
_new_event = tuple.__new__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


class EventStreamParser:
    """Turn the bytes of one event stream into its events.

    Feed it what arrives, cut anywhere; an unfinished block at the end is dropped by feeding no more.
    For the next connection make a new parser, with ``last_event_id`` of this one.

    Args:
        max_event_size: How many bytes the field lines of one event may have, without their line ends.
            Comments and unknown fields do not count, and take no memory.
        oversize: What to do about a larger event: ``"raise"`` an ``EventTooLarge``, as soon as the limit is
            exceeded, and again at every later ``feed``; or ``"skip"`` it and go on with the next. The
            comments of a skipped event, its retry and its id (each no longer than the limit) are heeded:
            it is the position in the stream that the server has reached.
        on_comment: Called with the text of every comment as soon as its line is complete, so before
            ``feed`` returns the events around it; without the colon and one space after it. A comment line
            above ``max_event_size`` bytes is left out. What this raises leaves ``feed``, and the rest of
            that chunk is lost.
        last_event_id: The last event ID of the stream so far.

    Raises:
        InvalidRequest: An argument is none of these.
    """

    __slots__ = (
        "_data",
        "_event_type",
        "_held_start",
        "_id",
        "_is_after_cr",
        "_last_event_id",
        "_line",
        "_max_event_size",
        "_on_comment",
        "_oversize",
        "_reconnection_time",
        "_retry",
        "_size",
    )

    def __init__(
        self,
        *,
        max_event_size: int = MAX_EVENT_SIZE,
        oversize: Literal["raise", "skip"] = "raise",
        on_comment: Callable[[str], object] | None = None,
        last_event_id: str = "",
    ) -> None:
        check_count("max_event_size", max_event_size, minimum=1)
        check_choice("oversize", oversize, ("raise", "skip"))
        check_callable("on_comment", on_comment)
        _check_last_event_id(last_event_id)
        self._max_event_size = max_event_size
        self._oversize = oversize
        self._on_comment = on_comment

        # The stream.
        self._held_start: bytes | None = b""  # What may be the beginning of a BOM; None once that is known.
        self._is_after_cr = False  # An LF that comes next belongs to the CR that ended the last read.
        self._last_event_id = last_event_id
        self._reconnection_time: float | None = None

        # The block: the specification's buffers. The ID buffer alone outlives it.
        self._data: list[str] = []
        self._event_type = ""
        self._id = last_event_id
        self._retry: int | None = None
        self._size = 0  # The bytes of its complete field lines; above the limit once it is exceeded.

        # The line that is under way.
        self._line: bytes | bytearray = b""

    @property
    def last_event_id(self) -> str:
        """The last event ID that a reconnection sends: it moves with each complete block, data or not."""
        return self._last_event_id

    @property
    def is_between_events(self) -> bool:
        """Whether no line, and no event, has begun that what is fed next may complete."""
        return not self._line and not self._size

    @property
    def reconnection_time(self) -> float | None:
        """The seconds that the last ``retry`` line asked to wait, or None; never below zero, nor infinite."""
        return self._reconnection_time

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[ServerSentEvent]:
        """Take what arrived and give the events that it completes.

        Raises:
            EventTooLarge: An event exceeds ``max_event_size`` and is not to be skipped. The error has the
                events of this chunk that were complete before it; the parser is of no use any more.
            InvalidRequest: The chunk is no bytes.
        """
        text = chunk if isinstance(chunk, bytes) else _as_bytes(chunk)
        if self._size > self._max_event_size and self._oversize == "raise":
            raise EventTooLarge(self._max_event_size)
        if self._held_start is not None:
            text = self._without_bom(text)
        if self._is_after_cr or _CR in text:
            text = self._with_plain_line_ends(text)
        events: list[ServerSentEvent] = []
        if len(text) < _SHORT_READ:
            if self._is_one_data_line(text):
                value = text[6:-2].decode("utf-8", "replace")
                return [_new_event(ServerSentEvent, ("message", value, self._id, None))]
            self._take_lines(text, events)
            return events
        # One byte is sought many times faster than two, so go to the outermost line ends first.
        begun = text.find(b"\n\n", text.find(b"\n")) + 2 if self._line or self._size else 0
        whole = text.rfind(b"\n\n", begun, text.rfind(b"\n") + 1)
        # No event within so few bytes can be too large, so there is nothing to count.
        is_bounded = begun < whole <= begun + self._max_event_size
        if is_bounded and text.find(b"\n", begun) < begun + _SHORT_LINE:
            self._take_lines(text[:begun], events)
            self._take_blocks(text[begun:whole].decode("utf-8", "replace"), events)
            self._take_lines(text[whole + 2 :], events)
        else:
            self._take_lines(text, events)
        return events

    def _is_one_data_line(self, text: bytes) -> bool:
        """Tell whether a read is a block of one data line: what most servers send at once."""
        if self._line or self._size or not text.startswith(b"data: ") or not text.endswith(b"\n\n"):
            return False
        return text.find(b"\n") == len(text) - 2 <= self._max_event_size

    # Bytes: the BOM and the line ends.

    def _without_bom(self, chunk: bytes) -> bytes:
        # "One leading U+FEFF BYTE ORDER MARK character must be ignored if any are present."
        start = (self._held_start or b"") + chunk
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._held_start = start
            return b""
        self._held_start = None
        return start.removeprefix(_BOM)

    def _with_plain_line_ends(self, chunk: bytes) -> bytes:
        # A line ends with CR LF, LF or CR. A CR that is the last byte to come so far ends it now: the
        # server may wait for long before it sends more.
        if not chunk:
            return b""
        if self._is_after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._is_after_cr = chunk.endswith(b"\r")
        # Of bytes, `splitlines` knows these three line ends and no other. It is faster than `replace`.
        end = b"\n" if chunk.endswith((b"\r", b"\n")) else b""
        return b"\n".join(chunk.splitlines()) + end

    # Whole blocks, fast.

    def _take_blocks(self, text: str, events: list[ServerSentEvent]) -> None:
        """Take blocks that begin and end here; the last one's blank line is implied."""
        if not text.startswith("data: "):
            self._take_fields(text, events)
            return
        # Where one block is a mere data line, most are: cut so that their bare values are left.
        for value in text[6:].split("\n\ndata: "):
            if "\n" in value:
                self._take_fields(f"data: {value}", events)
            else:
                events.append(_new_event(ServerSentEvent, ("message", value, self._id, None)))

    def _take_fields(self, text: str, events: list[ServerSentEvent]) -> None:
        """Take blocks of any lines; the last one's blank line is implied."""
        data = self._data
        for line in text.split("\n"):
            if line.startswith("data: "):  # What _process_field does, for the line that there is most of.
                data.append(line[6:])
            elif line:
                name, _, value = line.partition(":")
                self._process_field(name, value)
            else:
                self._dispatch(events)
        self._dispatch(events)

    # Line by line, bounded.

    def _take_lines(self, text: bytes, events: list[ServerSentEvent]) -> None:
        """Take any part of the stream."""
        if _LF not in text:
            if text:
                self._hold(text, events)
            return
        lines = text.split(b"\n") if len(text) < _LONG_READ else _split_long(text)
        rest = lines.pop()
        if self._line:
            lines[0] = bytes(self._line + lines[0])
            self._line = b""
        for line in lines:
            if line.startswith(b"data: ") and self._size + len(line) <= self._max_event_size:
                self._size += len(line)
                self._data.append(line[6:].decode("utf-8", "replace"))
            elif line:
                name, _, value = line.decode("utf-8", "replace").partition(":")
                if self._is_of_use(name, len(line), events):
                    self._size += len(line) if name else 0  # A comment does not count.
                    self._process_field(name, value)
            else:
                self._dispatch(events)
        if len(self._data) > _MANY_LINES:
            self._join_data()
        if rest:
            self._hold(rest, events)

    def _join_data(self) -> None:
        """Keep many lines as few: only those that came since, or each byte would be copied each time."""
        data = self._data
        joined = sum("\n" in lines for lines in data)
        start = joined if joined < _MANY_LINES // 2 else 0
        data[start:] = ["\n".join(data[start:])]

    def _hold(self, piece: bytes, events: list[ServerSentEvent]) -> None:
        """Keep a piece of a line that has not ended."""
        if not self._line:
            self._line = piece
        else:
            if isinstance(self._line, bytes):
                self._line = bytearray(self._line)  # Which grows without being copied each time.
            self._line += piece
        line = self._line
        if line.startswith(b"data:") and self._size + len(line) <= self._max_event_size:
            return
        name, colon, _ = line[:6].decode("utf-8", "replace").partition(":")
        if colon:
            is_of_use = self._is_of_use(name, len(line), events)
        else:
            is_of_use = any(field.startswith(name) for field in _FIELDS)
        if not is_of_use:
            self._line = _NO_FIELD

    def _is_of_use(self, name: str, size: int, events: list[ServerSentEvent]) -> bool:
        """Tell whether to keep a line that has so many bytes by now: this is what bounds the memory."""
        if name in _FIELDS:
            if self._size + size <= self._max_event_size:
                return True
            self._exceed(events)
            return name in _KEPT_OF_OVERSIZE and size <= self._max_event_size
        return not name and self._on_comment is not None and size <= self._max_event_size

    def _exceed(self, events: list[ServerSentEvent]) -> None:
        self._size = self._max_event_size + 1  # And so it stays, until the block ends.
        self._data.clear()
        self._event_type = ""
        if self._oversize == "raise":
            self._line = b""
            raise EventTooLarge(self._max_event_size, events)

    # The steps of the specification.

    def _process_field(self, name: str, value: str) -> None:
        # "If value starts with a U+0020 SPACE character, remove it from value."
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event_type = value
        elif name == "id":
            # "If the field value does not contain U+0000 NULL", else "ignore the field".
            if "\0" not in value:
                self._id = value
        elif name == "retry":
            self._process_retry(value)
        elif not name and self._on_comment is not None:
            self._on_comment(value)

    def _process_retry(self, value: str) -> None:
        # "If the field value consists of only ASCII digits", it is a number of milliseconds "in base ten".
        # It takes effect here, whether or not the block is ever complete.
        if value.isascii() and value.isdigit():
            digits = value.lstrip("0") or "0"
            self._retry = int(digits) if len(digits) <= _MOST_RETRY_DIGITS else _MOST_RETRY
            self._reconnection_time = self._retry / 1000

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        # Step 1: a block without data moves the last event ID, too.
        self._last_event_id = self._id
        # Step 2: "if the data buffer is an empty string", nothing is dispatched.
        if self._data:
            data = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
            fields = (self._event_type or "message", data, self._id, self._retry)
            events.append(_new_event(ServerSentEvent, fields))
            self._data.clear()
        self._event_type = ""
        self._retry = None
        self._size = 0


def _split_long(text: bytes) -> list[bytes]:
    return [line[:-1] for line in BytesIO(text + b"\n")]


def _as_bytes(chunk: object) -> bytes:
    if isinstance(chunk, bytearray):
        return bytes(chunk)
    if isinstance(chunk, memoryview):
        return chunk.tobytes()
    raise InvalidRequest("chunk", f"must be bytes, not {type(chunk).__name__}")


def _check_last_event_id(value: object) -> None:
    # No stream can set an ID with one of these, and no header can carry it.
    if not isinstance(value, str) or not {"\0", "\r", "\n"}.isdisjoint(value):
        raise InvalidRequest("last_event_id", f"must be a str without NUL, CR and LF, not {shown(value)}")
