"""What attacks of a hostile server take: memory at once, and time, over our transport and over httpx's.

The attacks are those of `tests/hostile.py`; each is read twice, once with every allocation traced, which
gives the memory, and once without, which gives the time. The server is a thread that sends what was made
before; some of the time is its own. It is about bounds, so there are no peers. Run
`python -m benchmarks.hostile [part of a name]`: all of them take some minutes.
"""

# ruff: noqa: INP001, T201 - a script, which prints

import platform
import sys
from importlib.metadata import version

import anyio
import httpx

import anysse
from tests.hostile import ATTACKS, MIB, Attack, Outcome, suffered

LAYOUT = "{:<52} {:<6}  {:<17} {:>9} {:>9}".format


async def read(attack: Attack, transport: str, *, is_traced: bool) -> Outcome:
    """Suffer an attack with a client of its own."""
    ours = {"transport": anysse.StreamingTransport()} if transport == "ours" else {}
    async with httpx.AsyncClient(trust_env=False, **ours) as client:
        return await suffered(attack, client, is_traced=is_traced)


async def main() -> None:
    """Print the table."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("anysse", "anyio", "httpx", "httptools", "h11")
    )
    print(f"Python {platform.python_version()}, asyncio, {versions}")
    print(LAYOUT("attack", "over", "outcome", "MiB", "s"))
    for attack in ATTACKS:
        for transport in attack.over if wanted in attack.name else ():
            seconds = (await read(attack, transport, is_traced=False)).seconds
            outcome = await read(attack, transport, is_traced=True)
            what = f"{outcome.events:,} events" if outcome.error is None else type(outcome.error).__name__
            print(
                LAYOUT(attack.name, transport, what, f"{outcome.peak / MIB:.1f}", f"{seconds:.2f}"),
                flush=True,
            )


if __name__ == "__main__":
    anyio.run(main)
