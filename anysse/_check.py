"""Checks of arguments: a wrong one is an ``InvalidRequest`` that names it. No state, no I/O."""

import math
from typing import TypeGuard

from ._errors import InvalidRequest


def check_seconds(argument: str, value: object) -> None:
    """Refuse what is no positive, finite number of seconds."""
    if not _is_finite(value) or value <= 0:
        raise InvalidRequest(argument, f"must be seconds above zero or None, not {shown(value)}")


def check_number(argument: str, value: object, *, minimum: float) -> None:
    """Refuse what is no finite number from ``minimum`` on."""
    if not _is_finite(value) or value < minimum:
        raise InvalidRequest(argument, f"must be a number from {minimum} on, not {shown(value)}")


def check_count(argument: str, value: object, *, minimum: int) -> None:
    """Refuse what is no whole number from ``minimum`` on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise InvalidRequest(argument, f"must be a whole number from {minimum} on, not {shown(value)}")


def check_choice(argument: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse what is none of ``choices``, which are texts or booleans."""
    # Nothing else is compared: what equals True or raises is up to whoever wrote its class.
    if not isinstance(value, str | bool) or value not in choices:
        known = " or ".join(repr(choice) for choice in choices)
        raise InvalidRequest(argument, f"must be {known}, not {shown(value)}")


def check_callable(argument: str, value: object) -> None:
    """Refuse what is neither None nor can be called."""
    if value is not None and not callable(value):
        raise InvalidRequest(argument, f"must be a function or None, not {shown(value)}")


def shown(value: object) -> str:
    """Show what was refused, whatever its own repr does: an int of too many digits has none."""
    try:
        return f"{value!r:.80}"
    except Exception:  # noqa: BLE001 - likewise
        return f"this {type(value).__name__}"


def _is_finite(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False
