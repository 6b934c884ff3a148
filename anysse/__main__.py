"""``python -m anysse`` is the command ``anysse``; nothing else."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
