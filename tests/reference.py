"""A slow parser that is obviously right: the whole stream at once, in the words of the specification.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import re
from dataclasses import dataclass, field

from anysse import ServerSentEvent

FIELDS = ("data", "event", "id", "retry")


@dataclass
class Reading:
    """What came of a stream."""

    events: list[ServerSentEvent] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    last_event_id: str = ""
    reconnection_time: float | None = None


@dataclass
class Line:
    """A line, ended or not; `size` is its length in bytes."""

    name: str
    value: str
    size: int
    has_colon: bool

    @classmethod
    def of(cls, raw: bytes) -> "Line":
        name, colon, value = raw.decode("utf-8", "replace").partition(":")
        return cls(name, value[1:] if value[:1] == " " else value, len(raw), has_colon=bool(colon))


def split(stream: bytes) -> tuple[list[list[Line]], list[Line], Line]:
    """Give the complete blocks, the complete lines after them, and the line that has not ended."""
    if stream[:3] == b"\xef\xbb\xbf":
        stream = stream[3:]
    *lines, rest = re.split(rb"\r\n|\n|\r", stream)
    blocks: list[list[Line]] = []
    block: list[Line] = []
    for raw in lines:
        if raw:
            block.append(Line.of(raw))
        else:
            blocks.append(block)
            block = []
    return blocks, block, Line.of(rest)


def size_of(lines: list[Line]) -> int:
    return sum(line.size for line in lines if line.name in FIELDS)


def saturated(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= 18 else 10**18 - 1


def read(stream: bytes, *, limit: float = float("inf"), last_event_id: str = "") -> Reading:
    """Read a stream to its end, leaving out events above `limit` bytes."""
    reading = Reading(last_event_id=last_event_id)
    blocks, unfinished, _ = split(stream)
    for lines in blocks:
        event = read_block(lines, reading, limit)
        reading.last_event_id = event.id
        if size_of(lines) <= limit and any(line.name == "data" for line in lines):
            reading.events.append(event)
    read_block(unfinished, reading, limit)
    return reading


def read_block(lines: list[Line], reading: Reading, limit: float) -> ServerSentEvent:
    data: list[str] = []
    event_type = ""
    last_event_id = reading.last_event_id
    retry = None
    for line in lines:
        if line.size > limit:
            continue
        if line.name == "" and line.has_colon:
            reading.comments.append(line.value)
        elif line.name == "data":
            data.append(line.value)
        elif line.name == "event":
            event_type = line.value
        elif line.name == "id" and "\0" not in line.value:
            last_event_id = line.value
        elif line.name == "retry" and re.fullmatch("[0-9]+", line.value):
            retry = saturated(line.value)
            reading.reconnection_time = retry / 1000
    return ServerSentEvent(event_type or "message", "\n".join(data), last_event_id, retry)


def read_until_too_large(stream: bytes, limit: int) -> tuple[list[ServerSentEvent], bool]:
    """Give the events before the first one above `limit` bytes, and whether there is such a one."""
    blocks, unfinished, rest = split(stream)
    last = [*unfinished, rest] if rest.has_colon else unfinished
    count = 0
    for lines in [*blocks, last]:
        if size_of(lines) > limit:
            break
        count += 1
    is_too_large = count <= len(blocks)
    data_blocks = sum(any(line.name == "data" for line in lines) for lines in blocks[:count])
    return read(stream).events[:data_blocks], is_too_large
