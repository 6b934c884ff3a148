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
    retry: int | None = None


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


def read(stream: bytes, *, limit: float = float("inf"), last_event_id: str = "") -> Reading:
    """Read a stream to its end, leaving out events above `limit` bytes."""
    reading = Reading(last_event_id=last_event_id)
    blocks, unfinished, _ = split(stream)
    id_buffer = last_event_id
    for lines in [*blocks, unfinished]:
        is_too_large = size_of(lines) > limit
        data: list[str] = []
        event_type = ""
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
                id_buffer = line.value
            elif line.name == "retry" and re.fullmatch("[0-9]+", line.value):
                retry = min(int(line.value[-4000:]), 10**18 - 1)
                if len(line.value.lstrip("0")) > 18:
                    retry = 10**18 - 1
                reading.retry = retry
        if lines is unfinished:
            break
        reading.last_event_id = id_buffer
        if data and not is_too_large:
            event = ServerSentEvent(event_type or "message", "\n".join(data), id_buffer, retry)
            reading.events.append(event)
    return reading


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
