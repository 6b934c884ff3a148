"""What the library logs, and how much of that the user wants to see."""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from ._terminal import escape

_LEVELS: Final = (logging.ERROR, logging.INFO, logging.DEBUG)
_LOGGERS: Final = ("anysse", "httpcore", "httpcore2")
"""Ours, and with -vv those that tell of the connections beneath."""


@contextmanager
def logging_to_stderr(verbosity: int) -> Iterator[None]:
    """Log for as long as this lasts; where ``ANYSSE_LOG`` is set, somebody does so already."""
    loggers = [logging.getLogger(name) for name in _LOGGERS[: 1 if verbosity < 2 else None]]
    if not verbosity and _handlers(loggers[0]):
        loggers = []
    level = _LEVELS[min(verbosity, len(_LEVELS) - 1)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_EscapingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(level)
            if not _handlers(logger):
                stack.callback(logger.removeHandler, handler)
                logger.addHandler(handler)
        yield


def _handlers(logger: logging.Logger) -> list[logging.Handler]:
    """Those that write: the library has one that does not, so that Python stays silent, too."""
    return [handler for handler in logger.handlers if not isinstance(handler, logging.NullHandler)]


class _EscapingFormatter(logging.Formatter):
    """Logs quote servers."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(escape(line) for line in super().format(record).split("\n"))
