"""What an event looks like: for people, or as a line of JSON. Everything of the server is escaped."""

import json
from typing import Final, Protocol, final

from anysse import ServerSentEvent

from ._terminal import Output, escape, escape_json

_MAX_SHOWN_ID: Final = 60


class Printer(Protocol):
    """Prints a stream."""

    def event(self, event: ServerSentEvent, /) -> None:
        """Print an event; ``Output.drain`` has to follow."""

    def comment(self, text: str, /) -> None:
        """Print a comment; it may come from a callback, so nothing has to follow."""


def printer_for(output: Output, *, is_json: bool) -> Printer:
    """Give the printer that the user asked for."""
    return JSONPrinter(output) if is_json else HumanPrinter(output)


@final
class HumanPrinter:
    """Data as it is, so that it can be piped on; a header where there is something to say."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def event(self, event: ServerSentEvent, /) -> None:
        """Print the header, if it has one, and the lines of its data."""
        lines = [escape(line) for line in event.data.split("\n")]
        header = self._header(event)
        if header:
            lines.insert(0, self._output.styled("dim", header))
        self._output.put("".join(f"{line}\n" for line in lines))

    def comment(self, text: str, /) -> None:
        """Print a comment as it was sent."""
        self._output.put_bounded(self._output.styled("dim", f": {escape(text)}") + "\n")

    def _header(self, event: ServerSentEvent) -> str:
        shown_id = event.id
        if self._output.is_tty and len(shown_id) > _MAX_SHOWN_ID:  # some are JSON documents
            shown_id = f"{shown_id[:_MAX_SHOWN_ID]}…"
        if event.event == "message" and not (self._output.is_tty and shown_id):
            return ""
        return escape(f"[{event.event} {shown_id}]" if shown_id else f"[{event.event}]")


@final
class JSONPrinter:
    """One object a line, for programs."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def event(self, event: ServerSentEvent, /) -> None:
        """Print all four fields."""
        self._output.put(_line(event._asdict()))

    def comment(self, text: str, /) -> None:
        """Print an object that has nothing but the comment."""
        self._output.put_bounded(_line({"comment": text}))


def _line(value: object) -> str:
    return escape_json(json.dumps(value, ensure_ascii=False)) + "\n"
