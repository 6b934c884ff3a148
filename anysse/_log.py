"""The one logger: silent unless asked, by ``logging`` or by ``ANYSSE_LOG=debug`` in the environment."""

import logging
import os

logger = logging.getLogger("anysse")


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
