"""What a caller sends along with a question: a payload → a query, or a JSON body. No I/O, no httpx."""

import math
from collections.abc import Mapping
from typing import TypeAlias

from ._errors import InvalidRequest

MAX_DEPTH = 100
"""Nesting beyond it is refused, and so is what contains itself: JSON parsers have limits like it."""

_Path: TypeAlias = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""


def query_of(payload: object) -> list[tuple[str, str]]:
    """Write the payload of a request without a body as the pairs of its query.

    A mapping gives one pair for each key, in order; what is no mapping gives the one pair ``payload``.
    Text stands as it is, numbers as Python writes them, booleans as ``true`` and ``false``; None is left
    out. The items of a list or tuple are joined by commas (a comma inside an item is not escaped), and
    anything nested deeper, or a mapping inside the mapping, is compact JSON.

    The payload is not changed, and nothing of its values is in an error.

    Raises:
        InvalidRequest: A key is no text; a value has no one form in a query (a date, bytes, NaN); text
            cannot be written as UTF-8, or an int at all; or the nesting is deeper than 100.
    """
    plain = _plain(payload, ())
    pairs = plain if isinstance(plain, dict) else {"payload": plain}
    return [(key, _parameter(value)) for key, value in pairs.items() if value is not None]


def json_body_of(payload: object) -> object:
    """Give what is written as the JSON body of a request: the empty object where there is no payload.

    It is a copy, in which mappings of any kind became dicts and tuples lists; other values, and keys, are
    left for who writes them.

    Raises:
        InvalidRequest: The nesting is deeper than 100.
    """
    return {} if payload is None else _copied(payload, ())


def _parameter(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_written(item) for item in value if item is not None)
    return _written(value)


def _written(value: object) -> str:
    """Write text as it is, all else as JSON, which writes numbers as Python does."""
    from json import dumps  # only who sends something needs it

    return value if isinstance(value, str) else dumps(value, ensure_ascii=False, separators=(",", ":"))


def _plain(value: object, path: _Path) -> object:
    """Copy a value into what JSON can write, or refuse it."""
    _check_depth(path)
    if isinstance(value, Mapping):
        return _plain_mapping(value, path)
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index)) for index, item in enumerate(value)]
    if isinstance(value, str):
        return _plain_text(value, path)
    if problem := _problem_of(value):
        raise _refused(path, problem)
    return value


def _plain_mapping(mapping: Mapping[object, object], path: _Path) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise _refused(path, f"has a key of type {type(key).__name__}, and keys must be str")
        inner = (*path, str.__str__(key))
        plain[_plain_text(key, inner)] = _plain(value, inner)
    return plain


def _plain_text(value: str, path: _Path) -> str:
    bare = str.__str__(value)  # whatever class it is of: an enum that is asked itself may write its name
    try:
        bare.encode()
    except UnicodeEncodeError:
        # Not from the error: it has the text.
        raise _refused(path, "has an unpaired surrogate, which UTF-8 cannot write") from None
    return bare


def _problem_of(value: object) -> str:
    """Say why what is no text cannot be written; nothing where it can."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else "is no finite number"
    if isinstance(value, int):
        return "" if _has_digits(value) else "is an int of more digits than Python writes"
    return "" if value is None else f"is of type {type(value).__name__}, which has no one form in a query"


def _has_digits(value: int) -> bool:
    try:
        return bool(int.__repr__(value))
    except ValueError:
        return False


def _copied(value: object, path: _Path) -> object:
    _check_depth(path)
    if isinstance(value, Mapping):
        return {key: _copied(item, (*path, _step(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item, (*path, index)) for index, item in enumerate(value)]
    return value


def _step(key: object) -> str:
    return str.__str__(key) if isinstance(key, str) else type(key).__name__


def _check_depth(path: _Path) -> None:
    if len(path) > MAX_DEPTH:
        raise _refused(path[:1], f"contains itself, or is nested more than {MAX_DEPTH} deep")


def _refused(path: _Path, problem: str) -> InvalidRequest:
    place = "payload" + "".join(f"[{step!r:.80}]" for step in path)
    return InvalidRequest("payload", f"{place} {problem}; convert it, or pass encode_params=")
