"""What may be shown of a URL, a header or a reason in messages and logs; text in, text out, no I/O."""

import re
from urllib.parse import unquote_plus

REDACTED = "***"

_SECRET_NAME = re.compile(
    r"(keys?|tokens?|secrets?|password|passwd|passphrase|pwd|auth|authorization|authentication|sig|signature"
    r"|credentials?|session|sessionid|sid|jwt|cookie)($|[^a-z])"
)
_START = re.compile(r"((?:[a-z][a-z0-9+.\-]*:)?[/\\]*)([^/\\?#]*)", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?")
_PAIR = re.compile(r"[^&;]+")
_JSON_NAME = re.compile(r'"([^"]*)"\s*:')
_QUOTED_BYTES = re.compile(r""":?\s*(?:bytearray\(|\s)b['"].*""", re.DOTALL)
_LONGEST_REASON = 300
_WITH_URL = frozenset({"content-location", "location", "referer"})


def is_secret_name(name: str) -> bool:
    """Tell whether a header or query parameter of this name usually carries a secret."""
    return _SECRET_NAME.search(name.lower()) is not None


def redact_url(url: str) -> str:
    """Give the URL with its credentials and the values of secret-looking parameters hidden.

    It may be any text: a URL is also shown where it is refused for being none.
    """
    shown, mark, fragment = _without_credentials(url).partition("#")
    shown, question, query = shown.partition("?")
    return shown + question + _redact_pairs(query) + mark + _redact_pairs(fragment)


class Redacted:
    """A URL for the log: hidden is what is secret once somebody reads it."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def __str__(self) -> str:
        return redact_url(self._url)


def _without_credentials(url: str) -> str:
    scheme, authority = _START.match(url).groups()  # type: ignore[union-attr] # it matches anything
    if "@" in authority:
        end = len(scheme) + authority.rindex("@")
    elif _HOST_AND_PORT.fullmatch(authority):
        return url
    else:  # "user:pass/word@host": who forgot to escape a password does not want it shown either
        end = url.rfind("@")
    return url if end < 0 else f"{scheme}{REDACTED}{url[end:]}"


def redact_reason(text: str) -> str:
    """Give another library's words as one short line, without the bytes of the peer's that they quote.

    h11 and h2 quote the line that they refuse: it may be a cookie.
    """
    shown = _QUOTED_BYTES.sub("", text)[:_LONGEST_REASON]
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)


def redact_headers(items: "list[tuple[str, str]]") -> list[tuple[str, str]]:
    """Give the headers with the values of secret-looking ones hidden, and what is secret in a URL."""
    return [(name, _redact_header(name, value)) for name, value in items]


def _redact_header(name: str, value: str) -> str:
    if is_secret_name(name):
        return REDACTED
    return redact_url(value) if name.lower() in _WITH_URL else value


def _redact_pairs(query: str) -> str:
    return _PAIR.sub(lambda pair: _redact_pair(pair[0]), query)


def _redact_pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    is_secret = equals and _is_secret_pair(unquote_plus(name), unquote_plus(value))
    return f"{name}={REDACTED}" if is_secret else pair


def _is_secret_pair(name: str, value: str) -> bool:
    # A nested payload is JSON, whose own names may be those of secrets.
    return is_secret_name(name) or any(map(is_secret_name, _JSON_NAME.findall(value)))
