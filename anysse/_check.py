"""Checks of arguments: a wrong one is an ``InvalidRequest`` that names it. No state, no I/O."""

import math
from typing import TypeGuard

from ._errors import InvalidRequest


def check_seconds(argument: str, value: object) -> None:
    """Refuse what is no positive, finite number of seconds."""
    if not _is_finite(value) or value <= 0:
        raise InvalidRequest(argument, f"must be seconds above zero or None, not {_shown(value)}")


def check_number(argument: str, value: object, *, minimum: float) -> None:
    """Refuse what is no finite number from ``minimum`` on."""
    if not _is_finite(value) or value < minimum:
        raise InvalidRequest(argument, f"must be a number from {minimum} on, not {_shown(value)}")


def check_count(argument: str, value: object, *, minimum: int) -> None:
    """Refuse what is no whole number from ``minimum`` on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise InvalidRequest(argument, f"must be a whole number from {minimum} on, not {_shown(value)}")


def check_choice(argument: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse what is none of ``choices``."""
    if value not in choices:
        known = " or ".join(repr(choice) for choice in choices)
        raise InvalidRequest(argument, f"must be {known}, not {_shown(value)}")


def check_callable(argument: str, value: object) -> None:
    """Refuse what is neither None nor can be called."""
    if value is not None and not callable(value):
        raise InvalidRequest(argument, f"must be a function or None, not {_shown(value)}")


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # an int of more digits than Python writes
        return f"this {type(value).__name__}"


def _is_finite(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False
