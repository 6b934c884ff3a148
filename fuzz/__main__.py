"""Runs one harness under libFuzzer: ``python -m fuzz parser -max_total_time=60 CORPUS…``; needs atheris."""

import ast
import random
import sys
from importlib import import_module
from pathlib import Path

import atheris

from fuzz.pieces import changed_by_lines


def main() -> None:
    """Instrument anysse alone, and go on until libFuzzer is told to stop or something is found."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["anysse"]):
        check = import_module(f"fuzz.{name}").check
    dictionary = Path(__file__).with_name(f"{name}.dict")
    words = [ast.literal_eval(f"b{line}") for line in dictionary.read_text().splitlines() if line[0] == '"']

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return changed_by_lines(data, words, chance)[:max_size]

    # libFuzzer calls itself, where it merges, with a shell.
    command = f"{sys.executable} -m fuzz {name}"
    atheris.Setup([command, f"-dict={dictionary}", *options], check, custom_mutator=mutate)
    atheris.Fuzz()


main()
