"""What a server sends: heads, events and comments, as bytes. Pure: no sockets, no event loop."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from anysse._check import shown
from anysse._errors import InvalidRequest
from anysse._events import ServerSentEvent

HeaderItems: TypeAlias = Mapping[str, str | None] | Iterable[tuple[str, str | None]]
"""Headers to send; None leaves out one that would be sent otherwise."""
Content: TypeAlias = bytes | str | ServerSentEvent
"""What a body is made of: bytes as they are, text as UTF-8, or an event as the standard writes it."""

_EVENT_STREAM: Final = "text/event-stream"
WITHOUT_BODY: Final = frozenset({204, 304})
"""Statuses of responses that end with their head."""
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[^\0\r\n\u0100-\U0010ffff]*")
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


class Head(NamedTuple):
    """The head of a response, and how its body ends."""

    data: bytes
    is_chunked: bool
    is_last: bool
    """Whether the connection ends with it: it says so, or nothing else ends the body."""


def encoded(data: Content, argument: str = "data") -> bytes:
    """Give it as it goes over the wire."""
    if isinstance(data, ServerSentEvent):
        data = _event(data, argument)
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError as exc:
            raise InvalidRequest(argument, f"cannot be written as UTF-8: {shown(data)}") from exc
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise InvalidRequest(argument, f"must be bytes, text or a ServerSentEvent, not {shown(data)}")


def check_header(name: str, value: str | None) -> None:
    """Refuse what would not be one header: that is for ``write``.

    Raises:
        TypeError: It is no text.
        ValueError: It cannot be sent.
    """
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch("" if value is None else value):
        raise ValueError(name)


def comment(text: str) -> bytes:
    """Give a comment, a line for each of the text's."""
    return "".join(f": {line}".rstrip() + "\n" for line in _LINE_END.split(text)).encode()


def response_head(status: int, headers: HeaderItems, length: int | None, *, chunked: bool) -> Head:
    """Give the head of a response with a body of that length, or of none that is known.

    An event stream is what a 200 without a known length is, unless ``headers`` have a type; they may also
    have a framing of their own.
    """
    items = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in items}
    if status == 200 and length is None and "content-type" not in names:
        items.append(("Content-Type", _EVENT_STREAM))
    if not names & {"content-length", "transfer-encoding"} and status not in WITHOUT_BODY:
        items.append(_framing(length, chunked=chunked))
    fields = [(name, value) for name, value in items if value is not None]
    names = {name.lower() for name, _ in fields}
    is_chunked = "transfer-encoding" in names
    has_end = is_chunked or status in WITHOUT_BODY or "content-length" in names
    options = [value.lower().split(",") for name, value in fields if name.lower() == "connection"]
    is_last = any(option.strip() == "close" for listed in options for option in listed)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    data = f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1")
    return Head(data, is_chunked, is_last or not has_end)


def _framing(length: int | None, *, chunked: bool) -> tuple[str, str]:
    if length is not None:
        return "Content-Length", str(length)
    return ("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")


def _event(event: ServerSentEvent, argument: str) -> str:
    if not all(isinstance(text, str) for text in (event.event, event.data, event.id)):
        raise InvalidRequest(argument, f"has what is no text: {shown(event)}")
    if _LINE_END.search(event.event) or _LINE_END.search(event.id):
        raise InvalidRequest(argument, f"has a line end where none can be written: {shown(event)}")
    fields = [("event", event.event)] if event.event != "message" else []
    fields += [("id", event.id)] if event.id else []
    fields += [("retry", str(event.retry))] if event.retry is not None else []
    fields += [("data", line) for line in _LINE_END.split(event.data)]
    return "".join(f"{name}: {value}\n" for name, value in fields) + "\n"
