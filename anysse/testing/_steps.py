"""The steps of a script, each a value that says what it is. What they do is in ``Connection``."""

import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

from anysse._check import check_number

from ._arguments import check_expected, check_pieces, check_redirect, check_text, check_until, checked_head
from ._connection import Connection, Step, Waitable
from ._requests import ANY
from ._responses import Content, HeaderItems, encoded

_SHOWN: Final = 120


@final
@dataclass(frozen=True, slots=True)
class _Step:
    text: str
    action: Callable[[Connection], Awaitable[None]]

    def __call__(self, connection: Connection) -> Awaitable[None]:
        return self.action(connection)

    def __repr__(self) -> str:
        return self.text


def respond(
    status: int = 200, headers: HeaderItems = (), body: Content | None = None, *, chunked: bool = True
) -> Step:
    """Send the head of a response, with ``body`` all of it.

    A step that sends begins an event stream by itself where nothing was responded before, so this is for
    another status, or for headers.

    Args:
        status: The status code, from 200 to 599.
        headers: Headers to send. ``Content-Type: text/event-stream`` (of a 200) and the framing are added
            where they are not among them; None as a value leaves them out.
        body: The whole body; without it, steps that follow send the body, and the end of the script ends it.
        chunked: Whether a body without a length is framed; else it goes on until the connection ends.

    Raises:
        InvalidRequest: An argument is none of these.
    """
    items = checked_head(status, headers)
    if body is not None:
        body = encoded(body, "body")
    shown_headers = dict(items) if isinstance(headers, Mapping) else items
    unframed = {} if chunked else {"chunked": chunked}
    return _Step(
        _called("respond", status, **_given(headers=shown_headers, body=body), **unframed),
        lambda connection: connection.respond(status, items, body, chunked=chunked),
    )


def send(data: Content) -> Step:
    """Send a piece of the body: bytes, text, or a ``ServerSentEvent`` as the standard writes it."""
    content = encoded(data)
    return _Step(_called("send", data), lambda connection: connection.send(content))


def comment(text: str = "") -> Step:
    """Send a comment, which keeps a stream alive and is no event."""
    check_text("text", text)
    return _Step(_called("comment", text), lambda connection: connection.comment(text))


def trickle(data: Content, *, pause: float = 0.0) -> Step:
    """Send a piece of the body a byte at a time, with so many seconds between them."""
    content = encoded(data)
    check_pieces(1, pause)
    return _Step(
        _called("trickle", data, pause=pause), lambda connection: connection.trickle(content, pause=pause)
    )


def split(*, every: int | None, pause: float = 0.0) -> Step:
    """Have what this script sends from now on go out in pieces of so many bytes; None no longer.

    Args:
        every: Bytes of a piece. Each is a chunk of its own, and is written by itself: in memory it is
            received by itself as well; on a socket the network may join what is not ``pause`` apart.
        pause: Seconds between the pieces.

    Raises:
        InvalidRequest: An argument is none of these.
    """
    check_pieces(every, pause)
    return _Step(
        _called("split", every=every, pause=pause),
        lambda connection: connection.split(every=every, pause=pause),
    )


def write(data: bytes | str) -> Step:
    """Write bytes as they are, whatever that does to the framing; nothing is added to them."""
    content = encoded(data)
    return _Step(_called("write", data), lambda connection: connection.write(content))


def wait(until: float | Waitable | threading.Event) -> Step:
    """Wait for so many seconds, or until an event has happened.

    That is anything with ``await event.wait()`` of the same event loop, or a ``threading.Event`` where
    whoever sets it has another thread, as a test with the fixture ``anysse_server`` has.
    """
    check_until(until)
    return _Step(_called("wait", until), lambda connection: connection.wait(until))


def end() -> Step:
    """End the response as it should be, which the end of the script does by itself."""
    return _Step("end()", Connection.end)


def drop() -> Step:
    """Close the connection (FIN), in the middle of whatever goes on."""
    return _Step("drop()", Connection.drop)


def reset() -> Step:
    """Close the connection with a TCP reset (RST)."""
    return _Step("reset()", Connection.reset)


def truncate(data: Content = "data: cut") -> Step:
    """Send a chunk that is a byte shorter than it says, and close the connection."""
    content = encoded(data)
    return _Step(_called("truncate", data), lambda connection: connection.truncate(content))


def hang() -> Step:
    """Send nothing more, and hold the connection open until the client closes it."""
    return _Step("hang()", Connection.hang)


def redirect(location: str, status: int = 302) -> Step:
    """Answer that what is asked for is elsewhere."""
    check_redirect(location, status)
    return _Step(
        _called("redirect", location, status), lambda connection: connection.redirect(location, status)
    )


def refuse(seconds: float) -> Step:
    """Close the connection and those that are idle, and have nobody connect for so many seconds.

    So it is with a server that is restarted. Of several refusals the one that ends last counts.
    """
    check_number("seconds", seconds, minimum=0)
    return _Step(_called("refuse", seconds), lambda connection: connection.refuse(seconds))


def expect(
    *,
    method: str | None = None,
    target: str | None = None,
    header: Mapping[str, str | None] | None = None,
    body: bytes | str | None = None,
    json: object = ANY,
) -> Step:
    """Go on if the request is such a one; else fail, with what was expected and what came.

    Args:
        method: Its method.
        target: Its path and query.
        header: Values of headers, by name; None for one that must not be there.
        body: Its body; text is UTF-8.
        json: Its body as JSON.

    Raises:
        InvalidRequest: An argument is none of these.
    """
    check_expected(method, target, header, body, json)
    header = None if header is None else dict(header)
    wanted = _given(method=method, target=target, header=header, body=body)
    wanted |= {} if json is ANY else {"json": json}
    return _Step(_called("expect", **wanted), lambda connection: connection.expect(**wanted))  # type: ignore[arg-type]


def _called(name: str, *arguments: object, **options: object) -> str:
    shown_arguments = [_short(argument) for argument in arguments]
    shown_options = [f"{option}={_short(value)}" for option, value in options.items()]
    return f"{name}({', '.join(shown_arguments + shown_options)})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _given(**options: object) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None and value not in ({}, [])}
