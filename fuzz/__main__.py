"""Runs one harness under libFuzzer: ``python -m fuzz parser -max_total_time=60 CORPUS…``; needs atheris."""

import sys
from importlib import import_module

import atheris


def main() -> None:
    """Instrument anysse alone, and go on until libFuzzer is told to stop or something is found."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["anysse"]):
        check = import_module(f"fuzz.{name}").check
    # libFuzzer calls itself, where it merges, with a shell.
    atheris.Setup([f"{sys.executable} -m fuzz {name}", *options], check)
    atheris.Fuzz()


main()
