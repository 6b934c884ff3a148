"""What the head of an answer means: an event stream, a redirect, a time to come back. Pure; no httpx."""

import re
from collections.abc import Sequence
from typing import Protocol

EVENT_STREAM = "text/event-stream"
MAX_REDIRECTS = 20
"""As in Fetch (https://fetch.spec.whatwg.org/#http-redirect-fetch, step 7)."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ESSENCE = re.compile(rf"{_TOKEN}/{_TOKEN}", re.ASCII)
# A quoted string may hold commas; outside of it a comma separates two values. Nothing is tried in another
# way, or each character would take 140 bytes meanwhile.
_LIST_ITEM = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"?|[^",]++)++')
_MAX_DELAY_DIGITS = 12
_MAX_DATE_LENGTH = 64


class Location(Protocol):
    """What is asked of a URL, whichever library made it."""

    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int | None: ...


def is_event_stream(content_types: Sequence[str]) -> bool:
    """Tell whether Content-Type lines say ``text/event-stream``, whatever their parameters.

    Of several values the last valid one counts (https://fetch.spec.whatwg.org/#concept-header-extract-mime-type).
    """
    essences = [_essence(item) for item in _LIST_ITEM.findall(",".join(content_types))]
    valid = [essence for essence in essences if essence and essence != "*/*"]
    return bool(valid) and valid[-1] == EVENT_STREAM


def _essence(value: str) -> str | None:
    essence = value.partition(";")[0].strip(" \t\r\n").lower()
    return essence if _ESSENCE.fullmatch(essence) else None


def content_codings(content_encodings: Sequence[str]) -> list[str]:
    """Give the codings of a body, in the order in which they were applied (RFC 9110, section 8.4)."""
    codings = [coding.strip(" \t").lower() for coding in ",".join(content_encodings).split(",")]
    return [coding for coding in codings if coding not in ("", "identity")]


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Give the seconds that a ``Retry-After`` header asks for, or None where it says nothing valid.

    Args:
        value: A number of seconds or an HTTP date (RFC 9110, section 10.2.3).
        now: The time of day, in seconds since the epoch.
    """
    text = (value or "").strip(" \t")
    if text.isascii() and text.isdigit():
        # Bounded before it is converted: a server may send any number of digits.
        return float(text[-_MAX_DELAY_DIGITS:]) if len(text.lstrip("0")) <= _MAX_DELAY_DIGITS else 1e12
    is_date = text.isascii() and 0 < len(text) <= _MAX_DATE_LENGTH
    return _seconds_until(text, now) if is_date else None


def _seconds_until(date: str, now: float) -> float | None:
    from datetime import UTC  # heavy, and seldom needed
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(date)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now)
    except (ValueError, OverflowError):
        return None


def redirected_method(status_code: int, method: str) -> str | None:
    """Give the method with which a redirect is followed, or None where the status is no redirect.

    See https://fetch.spec.whatwg.org/#http-redirect-fetch, step 12.
    """
    if status_code in (301, 302):
        return "GET" if method == "POST" else method
    if status_code == 303:
        return method if method in ("GET", "HEAD") else "GET"
    return method if status_code in (307, 308) else None


def is_same_origin(one: Location, other: Location) -> bool:
    """Tell whether two URLs have the same scheme, host and port."""
    return (one.scheme, one.host, _port(one)) == (other.scheme, other.host, _port(other))


def _port(url: Location) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)
