"""The ``anysse`` command: reads a stream and prints it, or shows a demo. It knows the public API only."""

import sys
from collections.abc import Sequence
from functools import partial

from ._arguments import DemoOptions, ReadOptions, UsageError, parse
from ._read import read
from ._run import INTERRUPTED, USAGE, run
from ._serve import serve
from ._story import tell
from ._terminal import Output, complain, fill_standard_files

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and give its exit code, which ``anysse --help`` explains.

    Args:
        argv: The arguments without the program's name; by default those of the process.
    """
    fill_standard_files()
    try:
        return _perform(parse(sys.argv[1:] if argv is None else argv))
    except UsageError as error:
        complain(str(error))
        return USAGE
    except SystemExit as end:  # how argparse leaves after --help, --version and a mistake
        return int(end.code or 0)
    except KeyboardInterrupt:  # before the event loop ran, or where it cannot take signals
        return INTERRUPTED
    except BaseExceptionGroup as group:  # the same, once task groups are about
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        return INTERRUPTED


def _perform(options: ReadOptions | DemoOptions) -> int:
    if isinstance(options, ReadOptions):
        output = Output(sys.stdout, "utf-8" if options.json else None)
        return run(partial(read, options, output), output, options.backend)
    output = Output(sys.stdout)
    return run(partial(serve if options.serve else tell, options, output), output, options.backend)
