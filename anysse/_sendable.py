"""What may be sent: URLs, methods, headers, last event IDs; all else is an ``InvalidRequest``. No httpx."""

import re
from collections.abc import AsyncIterable
from types import ModuleType
from typing import Any

from ._check import shown
from ._errors import InvalidRequest
from ._redact import redact_url

MAX_LAST_EVENT_ID = 8192
"""Bytes: servers refuse longer header lines, and with them the whole request."""

# The authority of a URL, as RFC 3986, section 3.2 has it; what httpx would take beyond it is a mistake.
_AUTHORITY = re.compile(
    r"(?:[^@/?#\s\\]*@)?(?:\[[0-9A-Fa-f:.%A-Za-z]+\]|[^@:/?#\[\]\s\\<>^`{|}\"%]+)(?::(\d{1,5}))?", re.ASCII
)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?://([^/?#]*))?", re.ASCII)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110, section 5.5: visible characters, spaces and tabs inside, and bytes above ASCII.
_FIELD_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_sendable_id(last_event_id: str) -> bool:
    """Tell whether a last event ID can be the value of a header."""
    if _CONTROL.search(last_event_id.strip(" \t").replace("\t", "")):
        return False
    return is_encodable(last_event_id) and len(last_event_id.encode()) <= MAX_LAST_EVENT_ID


def type_name(value: object) -> str:
    """Name what was given, where the value itself may be a secret."""
    module = type(value).__module__
    return type(value).__qualname__ if module == "builtins" else f"{module}.{type(value).__qualname__}"


def is_encodable(value: object) -> bool:
    """Tell whether it is text that UTF-8 can write, and so without lone surrogates."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def check_last_event_id(last_event_id: object, argument: str = "last_event_id") -> None:
    """Refuse a last event ID of the caller's that cannot be sent."""
    if not isinstance(last_event_id, str):
        raise InvalidRequest(argument, f"must be a str, not {shown(last_event_id)}")
    if not is_sendable_id(last_event_id):
        problem = f"it has a control character, or more than {MAX_LAST_EVENT_ID} bytes"
        raise InvalidRequest(argument, f"the last event ID cannot be sent in a header: {problem}")


def check_method(method: object) -> None:
    """Refuse what is no HTTP method (RFC 9110, section 9.1)."""
    if not isinstance(method, str) or not _TOKEN.fullmatch(method.encode("utf-8", "replace")):
        raise InvalidRequest("method", f"must be a name such as 'GET' or 'POST', not {shown(method)}")


def check_stream(stream: object) -> None:
    """Refuse the body of a request that was made for a client that is not async."""
    if not isinstance(stream, AsyncIterable):
        raise InvalidRequest("content", "of a request must be bytes, str or an async iterable")


def checked_auth(library: ModuleType, auth: object) -> object:
    """Refuse what httpx would refuse only when it sends.

    Raises:
        InvalidRequest: It names ``auth``.
    """
    if isinstance(auth, tuple) and len(auth) == 2:
        if not all(isinstance(part, bytes) or is_encodable(part) for part in auth):
            raise InvalidRequest("auth", "must be a name and a password that are str or bytes")
    elif not (auth is None or isinstance(auth, library.Auth) or _is_function(auth)):
        wanted = f"a pair of name and password, a {library.__name__}.Auth, a function or None"
        raise InvalidRequest("auth", f"must be {wanted}, not {type_name(auth)}")
    return auth


def _is_function(value: object) -> bool:
    return callable(value) and not isinstance(value, type)  # the class of an auth flow is a mistake


def check_url(text: str, url: Any) -> None:
    """Refuse a URL that nothing can be asked of.

    Args:
        text: As it was written.
        url: As httpx understood it.
    """
    check_url_text(text)
    if not url.scheme or not url.host:
        raise InvalidRequest("url", f"{_quoted(text)} names no host: write it as 'https://host/path'")
    # RFC 1035, section 2.3.4; Python's own resolver raises a UnicodeError on some event loops.
    labels = url.host.removesuffix(".").split(".")
    if ":" not in url.host and not all(0 < len(label) < 64 for label in labels):
        raise InvalidRequest("url", f"{_quoted(text)} has a host of which a part is empty or too long")


def check_url_text(text: str) -> None:
    """Refuse what httpx would take and no browser would."""
    if _CONTROL.search(text) or text != text.strip():
        raise InvalidRequest("url", f"{_quoted(text)} has a control character, or white space around it")
    match = _URL.match(text)
    if match and match[1].lower() not in ("http", "https"):
        raise InvalidRequest("url", f"{_quoted(text)} is neither http:// nor https://")
    if match and match[2] is not None:
        _check_authority(text, match[2])


def _check_authority(text: str, authority: str) -> None:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        problem = "names no host" if authority in ("", "@") else "has no valid host and port"
        raise InvalidRequest("url", f"{_quoted(text)} {problem}: write it as 'https://host:port/path'")
    if parts[1] and not 0 < int(parts[1]) < 65536:
        raise InvalidRequest("url", f"{_quoted(text)} has port {parts[1]}, and ports go from 1 to 65535")


def check_transport(url: Any, *, https_only: bool) -> None:
    """Refuse plain http to anyone but this machine, where the caller asked for that."""
    if https_only and url.scheme != "https" and not _is_loopback(url.host):
        # A name may be anybody's: this machine has to be written as a number.
        number = ", and so does 127.0.0.1" if url.host == "localhost" else ""
        place = _quoted(f"{url.scheme}://{url.host}")
        raise InvalidRequest("url", f"{place} is not https: https_only=False allows it{number}")


def _quoted(url: str) -> str:
    """Quote a URL, which may be a redirect's, and as long as a server likes."""
    return f"{redact_url(url)!r:.200}"


def _is_loopback(host: str) -> bool:
    import ipaddress  # for https_only alone

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_headers(raw: list[tuple[bytes, bytes]]) -> None:
    """Refuse a header that would break out of its line; a value may be a secret, so none is shown."""
    for name, value in raw:
        if not _TOKEN.fullmatch(name):
            # Up to a colon: who writes a whole line as a name does not want its value shown.
            shown = name.decode("latin-1").partition(":")[0]
            raise InvalidRequest("headers", f"{shown!r} is no header name, or more than that")
        if not _FIELD_VALUE.fullmatch(value):
            argument = "cookies" if name.lower() == b"cookie" else "headers"
            problem = (
                f"the value of {name.decode('latin-1')!r} has a control character, or white space around it"
            )
            raise InvalidRequest(argument, problem)
