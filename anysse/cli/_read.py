"""``anysse URL``: opens the stream that the options describe, and prints what comes."""

import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final, final

import anysse

from ._arguments import ReadOptions, UsageError
from ._logs import logging_to_stderr
from ._printing import printer_for
from ._run import OK
from ._terminal import Output, complain

_OPTIONS: Final = {
    "url": "URL",
    "method": "-X/--request",
    "headers": "-H/--header",
    "content": "-d/--data",
    "last_event_id": "--last-event-id",
    "done": "--done",
}
"""What the user calls the arguments that can be refused after argparse took them."""

_HINTS: Final = {
    "timeouts.connect": "--connect-timeout",
    "timeouts.response": "--response-timeout",
    "timeouts.idle": "--idle-timeout",
    "timeouts.total": "--timeout",
    "resend=": "--resend",
    ", or pass accept_response= to take another type": "",
}
"""What hints name, and what that is called here."""


async def read(options: ReadOptions, output: Output) -> int:
    """Print a stream until it completes, or enough of it came; give the exit code.

    Raises:
        UsageError: The request cannot be made.
        anysse.StreamError: The stream failed.
        OutputError: What came cannot be written.
    """
    with logging_to_stderr(options.verbosity):
        try:
            await _print(options, output)
        except anysse.AnysseError as error:
            error.hint = _in_options(error.hint)
            raise
    return OK


async def _print(options: ReadOptions, output: Output) -> None:
    printer = printer_for(output, is_json=options.json)
    left = options.max_events
    async with _job() as visibility, _opened(options, printer.comment, visibility) as events:
        async for event in events:
            printer.event(event)
            await output.drain()
            left = None if left is None else left - 1
            if left == 0:
                break
    await output.drain()


def _job() -> AbstractAsyncContextManager[anysse.Visibility]:
    """Tell when the shell stops this job; in a thread, as tests have it, nobody can."""
    if threading.current_thread() is threading.main_thread():
        return anysse.terminal_visibility()
    return nullcontext(anysse.Visibility())


def _opened(
    options: ReadOptions, on_comment: Callable[[str], object], visibility: anysse.Visibility
) -> AbstractAsyncContextManager[anysse.EventStream]:
    try:
        return anysse.open_stream(
            options.url,
            method=options.method,
            headers=options.headers,
            content=options.content,
            last_event_id=options.last_event_id,
            timeouts=_timeouts(options),
            retry=anysse.ExponentialBackoff() if options.reconnect else None,
            resend=options.resend,
            done=options.done,
            on_comment=on_comment if options.comments else None,
            visibility=visibility,
            network=options.network,
            observers=[] if options.verbosity else [_Notes()],
        )
    except anysse.InvalidRequest as error:
        raise UsageError(f"{_OPTIONS.get(error.argument, error.argument)}: {error.reason}") from error


def _timeouts(options: ReadOptions) -> anysse.Timeouts:
    return anysse.Timeouts(
        connect=options.connect_timeout,
        response=options.response_timeout,
        idle="default" if options.idle_timeout is None else options.idle_timeout,
        total=options.timeout,
    )


def _in_options(hint: str) -> str:
    for argument, option in _HINTS.items():
        hint = hint.replace(argument, option)
    return hint


@final
class _Notes(anysse.Observer):
    """Tells, where nothing is logged, why nothing comes just now."""

    def observe(self, fact: anysse.Fact, /) -> None:
        if isinstance(fact, anysse.AttemptFailed) and fact.retry_in is not None:
            headline = getattr(fact.error, "headline", str(fact.error))
            complain(f"{headline}; trying again in {fact.retry_in:.1f} s")
