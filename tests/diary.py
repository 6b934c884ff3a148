"""Handlers that keep what they are called with, for tests of ``StreamClient``."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import httpx
from anyio.lowlevel import checkpoint

import anysse
from anysse import ExponentialBackoff, ServerSentEvent
from tests.streams import memory_client

URL = "https://a/chat"
QUICK = ExponentialBackoff(initial=0.1, jitter=0.0, max_retries=3)
EXACT = ExponentialBackoff(initial=1.0, jitter=0.0, max_retries=3)
HANDLERS = (
    "on_open",
    "on_message",
    "on",
    "on_retry",
    "on_complete",
    "on_error",
    "on_close",
    "on_status",
)

Hook: TypeAlias = Callable[[], Awaitable[object] | object]


class Diary:
    """Keeps what happens to one request, a line each; and does what a test asks for as it happens."""

    def __init__(self, *, is_async: bool = False) -> None:
        self.lines: list[str] = []
        self.errors: list[anysse.AnysseError] = []
        self._is_async = is_async
        self._is_busy = False
        self._hooks: dict[str, Hook] = {}

    def when(self, line: str, hook: Hook) -> None:
        """Have something done, once, in the handler that writes this line."""
        self._hooks[line] = hook

    def handlers(self, *, leave_out: Iterable[str] = ()) -> dict[str, Any]:
        """Give all handlers, by name."""
        handlers = {
            "on_open": self._handler(lambda: "open"),
            "on_message": self._handler(self._message),
            "on": {"named": self._handler(lambda data, event: f"named {data}")},
            "on_retry": self._handler(self._retry),
            "on_complete": self._handler(lambda: "complete"),
            "on_error": self._handler(self._error),
            "on_close": self._handler(lambda status: f"close {status}"),
            "on_status": self._handler(lambda status: f"status {status}"),
        }
        return {name: handler for name, handler in handlers.items() if name not in leave_out}

    def without_statuses(self) -> list[str]:
        return [line for line in self.lines if not line.startswith("status")]

    def _message(self, data: object, event: ServerSentEvent) -> str:
        assert isinstance(event, ServerSentEvent)
        return f"message {data}"

    def _error(self, error: anysse.AnysseError, count: int) -> str:
        assert error.retry_count == count
        self.errors.append(error)
        return f"error {count}"

    def _retry(self, error: anysse.AnysseError, delay: float) -> str:
        assert error is self.errors[-1]
        assert error.retry_in == delay
        return f"retry {delay:g}"

    def _handler(self, line_of: Callable[..., str]) -> Callable[..., Any]:
        def plain(*arguments: Any) -> None:
            assert not self._is_busy, "two handlers at once"
            line = line_of(*arguments)
            self.lines.append(line)
            hook = self._hooks.pop(line, None)
            if hook is not None:
                hook()

        async def with_await(*arguments: Any) -> None:
            assert not self._is_busy, "two handlers at once"
            self._is_busy = True
            try:
                line = line_of(*arguments)
                self.lines.append(line)
                hook = self._hooks.pop(line, None)
                result = hook() if hook is not None else None
                await (checkpoint() if result is None else result)  # type: ignore[misc]
            finally:
                self._is_busy = False

        return with_await if self._is_async else plain


@asynccontextmanager
async def client_of(*answers: Any, **options: Any) -> AsyncIterator["anysse.StreamClient[Any]"]:
    """Give a client that is answered in memory."""
    async with (
        memory_client(httpx, *answers) as http,
        anysse.StreamClient(URL, client=http, **options) as client,
    ):
        yield client


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    """Give a body that is cut off after these parts."""
    for part in parts:
        await checkpoint()
        yield part
    raise httpx.RemoteProtocolError("cut off")
