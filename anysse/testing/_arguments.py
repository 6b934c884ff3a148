"""What a step may be given: checked where it is written down, and by the connection that does it. No I/O."""

from collections.abc import Mapping, Sequence

from anysse._check import check_count, check_number, shown
from anysse._errors import InvalidRequest

from ._requests import ANY
from ._responses import HeaderItems, check_header

_REDIRECTS = (301, 302, 303, 307, 308)


def checked_head(status: int, headers: HeaderItems) -> Sequence[tuple[str, str | None]]:
    """Give the headers, read once, of a response with that status."""
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise InvalidRequest("status", f"must be a status code from 200 to 599, not {shown(status)}")
    try:
        items = list(headers.items() if isinstance(headers, Mapping) else headers)
        for name, value in items:
            check_header(name, value)
    except (TypeError, ValueError) as exc:
        problem = f"must be names and values that can be sent, or None, not {shown(headers)}"
        raise InvalidRequest("headers", problem) from exc
    return items


def check_redirect(location: str, status: int) -> None:
    """Refuse what leads nowhere."""
    check_text("location", location)
    checked_head(302, {"Location": location})
    if isinstance(status, bool) or status not in _REDIRECTS:
        raise InvalidRequest("status", f"must be 301, 302, 303, 307 or 308, not {shown(status)}")


def check_pieces(every: int | None, pause: float) -> None:
    """Refuse what is no size, or no pause."""
    if every is not None:
        check_count("every", every, minimum=1)
    check_number("pause", pause, minimum=0)


def check_until(until: object) -> None:
    """Refuse what cannot be waited for."""
    if not hasattr(until, "wait"):
        check_number("until", until, minimum=0)


def check_expected(method: object, target: object, header: object, body: object, json: object) -> None:
    """Refuse what no request could be compared with."""
    for argument, value in (("method", method), ("target", target)):
        if value is not None:
            check_text(argument, value)
    if body is not None and not isinstance(body, bytes | str):
        raise InvalidRequest("body", f"must be bytes or text, not {shown(body)}")
    if header is not None:
        _check_header_map(header)
    if method is target is body is None and not header and json is ANY:
        raise InvalidRequest("expect", "needs a method, target, header, body or json to look at")


def check_text(argument: str, value: object) -> None:
    """Refuse what is no text."""
    if not isinstance(value, str):
        raise InvalidRequest(argument, f"must be text, not {shown(value)}")


def _check_header_map(header: object) -> None:
    items = list(header.items()) if isinstance(header, Mapping) else [(None, header)]
    if not all(isinstance(name, str) and isinstance(value, str | None) for name, value in items):
        raise InvalidRequest("header", f"must map names to values or None, not {shown(header)}")
