"""What our parsers, and h11, make of bytes in pieces: values to compare. Needs no pytest."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import h11

from anysse import EventTooLarge, ServerSentEvent
from anysse._http11 import ResponseParser, TransportFailure
from anysse._parser import MAX_EVENT_SIZE, EventStreamParser
from tests import reference

# Streams of events, by ours; `reference` is what they are compared with.


def read_stream(
    chunks: Iterable[bytes], *, limit: int = MAX_EVENT_SIZE, last_event_id: str = ""
) -> reference.Reading:
    """Read a stream, leaving out events above the limit."""
    comments: list[str] = []
    parser = EventStreamParser(
        max_event_size=limit, oversize="skip", on_comment=comments.append, last_event_id=last_event_id
    )
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return reference.Reading(events, comments, parser.last_event_id, parser.reconnection_time)


def read_until_too_large(chunks: Iterable[bytes], limit: int) -> tuple[list[ServerSentEvent], bool]:
    """Give the events before the first one above the limit, and whether there is such a one."""
    parser = EventStreamParser(max_event_size=limit)
    events: list[ServerSentEvent] = []
    is_too_large = False
    for chunk in chunks:
        try:
            events += parser.feed(chunk)
        except EventTooLarge as error:
            events += error.events
            is_too_large = True
    return events, is_too_large


# Responses, by ours and by h11.


@dataclass(slots=True)
class Outcome:
    """What a parser made of some bytes."""

    body: bytes = b""
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    is_complete: bool = False
    is_reusable: bool = False
    failure: TransportFailure | None = None


def read_response(pieces: Iterable[bytes], *, method: str = "GET", at_end: bool = False) -> Outcome:
    """Feed pieces to a parser until it has what it wants, as a connection does."""
    parser = ResponseParser(method.encode())
    outcome = Outcome()
    try:
        for piece in pieces:
            outcome.body += parser.feed(piece)
            if parser.failure is not None:
                raise parser.failure
            if parser.is_complete:
                break
        if at_end and not parser.is_complete:
            parser.feed_eof()
    except TransportFailure as exc:
        outcome.failure = exc
    if parser.head is not None:
        outcome.status, outcome.headers = parser.head.status_code, tuple(parser.head.headers)
    outcome.is_complete = parser.is_complete
    outcome.is_reusable = parser.is_reusable
    return outcome


_BLANK_LINES: Final = re.compile(rb"(\A|\r\n\r\n)(?:\r\n)+HTTP/1\.")


def read_by_h11(data: bytes, *, method: str = "GET") -> Outcome:
    """Give what h11 makes of a response, and of the end of the connection after it."""
    outcome = _read_by_h11(data, method)
    # It takes no CRLF before a status line. One after the other, since a body may look like that, too.
    while outcome.failure is not None and _BLANK_LINES.search(data):
        data = _BLANK_LINES.sub(rb"\1HTTP/1.", data, count=1)
        outcome = _read_by_h11(data, method)
    return outcome


def _read_by_h11(data: bytes, method: str) -> Outcome:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    outcome = Outcome()
    while True:
        try:
            happened = connection.next_event()
        except h11.RemoteProtocolError as exc:
            outcome.failure = TransportFailure("RemoteProtocolError", str(exc))
            return outcome
        match happened:
            case h11.Response():
                outcome.status, outcome.headers = happened.status_code, tuple(happened.headers)
            case h11.Data():
                outcome.body += bytes(happened.data)
            case h11.InformationalResponse():
                pass
            case _:
                outcome.is_complete = isinstance(happened, h11.EndOfMessage)
                is_done = connection.our_state is connection.their_state is h11.DONE
                # Blank lines belong to no response, and do no harm before the next one either.
                outcome.is_reusable = is_done and not connection.trailing_data[0].strip(b"\r\n")
                return outcome


def comparable(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Give headers as h11 has them: it writes names, and chunked, in small letters."""
    fields = [(name.lower(), value) for name, value in headers]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in fields]
