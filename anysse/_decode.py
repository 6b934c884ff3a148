"""What becomes of one event on its way to the caller: decoders, and how one is applied. No state, no I/O."""

from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from typing_extensions import TypeVar  # the one with defaults, which typing has from Python 3.13 on

from ._errors import DecodeError
from ._events import ServerSentEvent

if TYPE_CHECKING:
    from json import JSONDecoder

T = TypeVar("T", default=ServerSentEvent)
"""What is handed out: the event itself, where nobody makes anything else of it."""


# An enum, so that type checkers narrow `T | Skip` to T by `is SKIP`.
class Skip(Enum):
    """What a decoder gives for an event that is not to be handed out; ``SKIP`` is the only one."""

    SKIP = "skip"


SKIP: Final = Skip.SKIP
"""What a decoder gives for an event that is not to be handed out."""

Decode: TypeAlias = Callable[[ServerSentEvent], T | Skip]
"""Makes of an event what is handed out; ``SKIP`` leaves it out, a ``ValueError`` says that it cannot."""


def text(event: ServerSentEvent) -> str:
    """Give the data as it is: raw tokens, say."""
    return event.data


# Any, as json.loads has it: a caller must be able to index what comes back without a cast.
def json_or_text(event: ServerSentEvent) -> Any:
    """Give the data parsed as JSON (RFC 8259), or as it is where it is no JSON.

    Whatever a server sends, it raises nothing: what Python cannot parse (an integer of thousands of
    digits, nesting that is too deep) is handed out as the text it came as, and so are ``NaN`` and
    ``Infinity``, which are no JSON wherever they stand. A number that no float holds, such as ``1e999``, is
    JSON: it is ``inf``, as Python reads it.
    """
    try:
        return _decoder().decode(event.data)
    except (ValueError, RecursionError):
        return event.data


def decoded(event: ServerSentEvent, decode: Decode[T]) -> T | Skip:
    """Apply a decoder; what it raises beyond a ``ValueError`` leaves as itself.

    Raises:
        DecodeError: The decoder raised a ``ValueError``, which is its cause, or this itself. The message
            shows nothing of the data.
    """
    try:
        return decode(event)
    except DecodeError:  # it may be a ValueError too, in a caller's own class
        raise
    except ValueError as exc:
        raise DecodeError(_reason(exc), event=event) from exc


@cache
def _decoder() -> "JSONDecoder":
    """Make the one decoder of this process: it has no state, and making it costs more than using it."""
    from json import JSONDecoder  # only who decodes JSON needs it

    return JSONDecoder(parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _reason(error: ValueError) -> str:
    """Say what went wrong without the error's own words: they quote the data."""
    from json import JSONDecodeError  # only an error needs it

    place = f" at line {error.lineno}, column {error.colno}" if isinstance(error, JSONDecodeError) else ""
    return f"{type(error).__name__}{place}"
