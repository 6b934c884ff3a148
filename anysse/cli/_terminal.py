"""How text reaches a terminal or a pipe: escaped, styled, and without holding up the event loop."""

import os
import re
import select
import sys
from contextlib import suppress
from typing import Final, TextIO, final

import anyio

# C0 but the tab, DEL, C1; line and paragraph separators; overrides and isolates of text direction.
_UNSAFE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u206f]")
_STYLES: Final = {"dim": "2", "bold": "1", "good": "32", "bad": "31"}

# Windows has no poll(): there everything goes through the text stream.
_HAS_POLL: Final = hasattr(select, "poll")
_PIECE: Final = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes without blocking once it is ready."""
_MAX_KEPT: Final = 1 << 20


class OutputError(Exception):
    """What is printed cannot be written."""


class OutputClosed(OutputError):
    """Nobody reads what is printed any more."""


def escape(text: str) -> str:
    """Give one line that cannot drive a terminal, whoever wrote the text."""
    return _UNSAFE.sub(_escaped, text)


def escape_json(text: str) -> str:
    """Do the same to JSON, which stays JSON and means the same."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def complain(text: str) -> None:
    """Tell the user in one line, beside the output."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # if nobody listens there either, that is that
            print(f"anysse: {escape(text)}", file=sys.stderr, flush=True)


def fill_standard_files() -> None:
    """Open what is closed of standard input, output and error, or a socket takes its place."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


@final
class Output:
    """Standard output, written as things come.

    A terminal that is stopped, or a pager that rests, holds back whoever awaits ``drain``, and not the event
    loop: signals and timeouts go on.

    Args:
        stream: Standard output, or None where there is none.
        encoding: By default the stream's own; what it lacks is escaped.
    """

    def __init__(self, stream: TextIO | None, encoding: str | None = None) -> None:
        self._stream = stream
        self._fd = _fd_of(stream)
        self._kept = bytearray()
        self._encoding = encoding or getattr(stream, "encoding", None) or "utf-8"
        self.is_tty = stream is not None and stream.isatty()
        self._has_styles = self.is_tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def styled(self, style: str, text: str) -> str:
        """Give the text in a style, where the terminal has any."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._has_styles and text else text

    def put(self, text: str) -> None:
        """Write as much as goes without waiting, and keep the rest.

        Raises:
            OutputClosed: Nobody reads it any more.
            OutputError: It cannot be written.
        """
        if self._stream is None:
            raise OutputClosed
        data = text.encode(self._encoding, "backslashreplace")
        if self._fd is None:
            try:
                self._stream.write(data.decode(self._encoding))
                self._stream.flush()
            except OSError as error:
                raise _output_error(error) from error
        else:
            self._kept += data
            self._write()

    def put_bounded(self, text: str) -> None:
        """Do the same where nobody can await ``drain``; rather wait here than keep more and more."""
        self.put(text)
        if len(self._kept) > _MAX_KEPT:
            self._write(is_waiting=True)

    async def drain(self) -> None:
        """Wait until everything is written.

        Raises:
            OutputClosed: Nobody reads it any more.
            OutputError: It cannot be written.
        """
        delay = 0.001
        while self._kept:
            # Asked again and again, since not every event loop can wait for every kind of file.
            await anyio.sleep(delay)
            delay = min(2 * delay, 0.05)
            self._write()

    async def closed(self) -> None:
        """Wait until nobody reads any more, which else only the next write would tell."""
        while self._fd is None or not _poll(self._fd, 0):  # noqa: ASYNC110 - a pipe sets no event
            await anyio.sleep(0.25)

    def _write(self, *, is_waiting: bool = False) -> None:
        while self._fd is not None and self._kept and (is_waiting or _poll(self._fd, select.POLLOUT)):
            try:
                written = os.write(self._fd, self._kept[:_PIECE])
            except BlockingIOError:  # whoever shares the file made it so
                return
            except OSError as error:
                raise _output_error(error) from error
            del self._kept[:written]


def _output_error(error: OSError) -> OutputError:
    return OutputClosed() if isinstance(error, BrokenPipeError) else OutputError(error.strerror or str(error))


def _fd_of(stream: TextIO | None) -> int | None:
    if stream is None or not _HAS_POLL:
        return None
    try:
        stream.flush()
        return stream.fileno()
    except (OSError, ValueError):  # no file, but something in its place
        return None


def _poll(fd: int, events: int) -> bool:
    """Tell whether a file is ready for these events, or broken, which needs no asking."""
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(0))
