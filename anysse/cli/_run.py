"""Runs a command in an event loop: signals end it in order, errors become one line and an exit code."""

import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from anysse import AnysseError

from ._arguments import Backend
from ._terminal import Output, OutputClosed, OutputError, complain

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as shells have it."""


def run(command: Callable[[], Awaitable[int]], output: Output, backend: Backend) -> int:
    """Run a command, and give its exit code.

    Raises:
        UsageError: As the command raises it.
        KeyboardInterrupt: It was interrupted where the event loop cannot take signals.
    """
    options: dict[str, Any] = {}
    if backend == "asyncio" and find_spec("uvloop") is not None:
        options["use_uvloop"] = True
    result = anyio.run(_until_signal, command, output, backend=backend, backend_options=options)
    if isinstance(result, int):
        return result
    raise result


async def _until_signal(command: Callable[[], Awaitable[int]], output: Output) -> int | Exception:
    """Run the command until it ends, a signal comes, or nobody reads its output any more.

    What it raises is given rather than raised, for the task group here would wrap it.
    """
    result: int | Exception = OK
    received: list[int] = []
    with _signals() as signals:
        async with anyio.create_task_group() as tasks:
            if signals is not None:
                tasks.start_soon(_watch_signals, signals, received, tasks)
            tasks.start_soon(_watch_reader, output, tasks)
            result = await _exit_code(command)
            tasks.cancel_scope.cancel()
    if not received:
        return result
    if output.is_tty:
        with suppress(OutputError):
            output.put("\n")  # the terminal wrote ^C; a prompt is better off in a line of its own
    return 128 + received[0]


async def _exit_code(command: Callable[[], Awaitable[int]]) -> int | Exception:
    try:
        return await command()
    except OutputClosed:
        return OK
    except OutputError as error:
        complain(f"cannot write the output: {error}")
        return FAILED
    except AnysseError as error:
        complain(str(error))
        return FAILED
    except Exception as error:  # noqa: BLE001 - a usage error, or a bug: raised outside of the event loop
        return error


async def _watch_signals(signals: AsyncIterator[int], received: list[int], tasks: TaskGroup) -> None:
    async for number in signals:
        received.append(number)
        tasks.cancel_scope.cancel()


def _signals() -> Any:
    """Give SIGINT and SIGTERM as they come, where that is possible; else Ctrl-C is a KeyboardInterrupt."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return nullcontext()
    return anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM)


async def _watch_reader(output: Output, tasks: TaskGroup) -> None:
    await output.closed()
    tasks.cancel_scope.cancel()
