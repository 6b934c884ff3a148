"""What may be shown of a URL or a header in messages and logs; text in, text out, no I/O."""

import re
from urllib.parse import unquote_plus

REDACTED = "***"

_SECRET_NAME = re.compile(
    r"(key|token|secret|password|passwd|pwd|auth|authorization|authentication|sig|signature"
    r"|credentials?|session|sessionid|sid|jwt|cookie)($|[^a-z])"
)


def is_secret_name(name: str) -> bool:
    """Tell whether a header or query parameter of this name usually carries a secret."""
    return _SECRET_NAME.search(name.lower()) is not None


def redact_url(url: str) -> str:
    """Give the URL with its credentials and the values of secret-looking parameters hidden."""
    head, mark, fragment = url.partition("#")
    head, question, query = head.partition("?")
    scheme, slashes, rest = head.partition("://")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        authority = f"{REDACTED}@{authority.rpartition('@')[2]}"
    shown = scheme + slashes + authority + slash + path
    return shown + question + _redact_pairs(query) + mark + _redact_pairs(fragment)


def redact_headers(items: "list[tuple[str, str]]") -> list[tuple[str, str]]:
    """Give the headers with the values of secret-looking ones hidden."""
    return [(name, REDACTED if is_secret_name(name) else value) for name, value in items]


def _redact_pairs(query: str) -> str:
    return "&".join(_redact_pair(pair) for pair in query.split("&"))


def _redact_pair(pair: str) -> str:
    name, equals, _value = pair.partition("=")
    return f"{name}={REDACTED}" if equals and is_secret_name(unquote_plus(name)) else pair
