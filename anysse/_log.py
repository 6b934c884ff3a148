"""The one logger, and a number for each stream in it: silent unless ``logging`` or ``ANYSSE_LOG`` asks."""

import itertools
import logging
import os
from collections.abc import MutableMapping
from typing import Any

logger = logging.getLogger("anysse")
_numbers = itertools.count(1)


def next_number() -> int:
    """Give the number by which a stream is known in the log: from 1 on, each for one in this process."""
    return next(_numbers)


class NumberedLogger(logging.LoggerAdapter[logging.Logger]):
    """Begins each line with which stream it is about; records have it as ``request``."""

    def __init__(self, number: int) -> None:
        super().__init__(logger)
        self._number = number

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"request {self._number}: {msg}", {**kwargs, "extra": {"request": self._number}}


def follow_environment() -> None:
    """Log to standard error, at the level that ``ANYSSE_LOG`` names, if it names one."""
    level = logging.getLevelNamesMapping().get(os.environ.get("ANYSSE_LOG", "").upper())
    if level is None or logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)


# Once, as the package is imported. Without a handler Python would print warnings by itself.
follow_environment()
logger.addHandler(logging.NullHandler())
