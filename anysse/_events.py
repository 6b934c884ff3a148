"""The values a stream hands out: the event, response headers, the response. Frozen; stdlib only."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from ._redact import redact_headers, redact_url


class ServerSentEvent(NamedTuple):
    """One dispatched event, with the field names that httpx-sse, httpx2, openai and anthropic use.

    See https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage
    """

    event: str = "message"
    """The event type; ``"message"`` where the stream set none."""
    data: str = ""
    """The data lines of the block, joined by line feeds."""
    id: str = ""
    """The last event ID string when the event was dispatched; it persists from block to block."""
    retry: int | None = None
    """The reconnection time in milliseconds that this event's block set, or None."""

    # Any, as json.loads has it: a caller must be able to index what comes back without a cast.
    def json(self) -> Any:
        """Parse ``data`` as JSON.

        Raises:
            json.JSONDecodeError: The data is no JSON, or none that Python can hold: it is nested too deeply,
                or has an integer of thousands of digits (a ``ValueError``).
        """
        import json  # only who calls this needs it

        try:
            return json.loads(self.data)
        except json.JSONDecodeError:
            raise
        except RecursionError as exc:
            raise json.JSONDecodeError("Nested too deeply", self.data, 0) from exc
        except ValueError as exc:
            raise json.JSONDecodeError("Integer of too many digits", self.data, 0) from exc


@final
class Headers(Mapping[str, str]):
    """Response headers: names in any letter case, in the order of arrival, never changed.

    A header that came several times reads as one value, joined by ``", "`` (RFC 9110, section 5.3).
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items = tuple((name.lower(), value) for name, value in items)

    def get_list(self, name: str) -> list[str]:
        """Give every value of one header, in order."""
        wanted = name.lower()
        return [value for key, value in self._items if key == wanted]

    def multi_items(self) -> list[tuple[str, str]]:
        """Give every header line as ``(lower-case name, value)``."""
        return list(self._items)

    def __getitem__(self, name: str) -> str:
        values = self.get_list(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._items))

    def __len__(self) -> int:
        return len({name for name, _ in self._items})

    def __repr__(self) -> str:
        return f"Headers({redact_headers(self.multi_items())!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResponse:
    """The head of the response that a connection got."""

    status_code: int
    headers: Headers
    url: str
    """Where the response came from, after redirects."""

    def __repr__(self) -> str:
        shown = f"status_code={self.status_code}, headers={self.headers!r}, url={redact_url(self.url)!r}"
        return f"StreamResponse({shown})"
