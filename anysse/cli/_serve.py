"""``anysse demo --serve``: only the demo server, until it is interrupted."""

from contextlib import suppress
from typing import Final

import anyio

from ._arguments import DEMO_PORT, DemoOptions, UsageError
from ._content import DONE
from ._server import CHAT, FEED, DemoServer, PortError, serve_demo
from ._terminal import Output, OutputError, complain

_GAP: Final = 0.3
"""Seconds between two events: what a person can follow."""


async def serve(options: DemoOptions, output: Output) -> int:
    """Serve, say what there is to try, and tell of every request; it never returns.

    Raises:
        UsageError: The port is taken.
        OutputError: What is told cannot be written.
    """
    port = DEMO_PORT if options.port is None else options.port
    try:
        await _serve_on(port, options, output)
    except PortError as error:
        if options.port is not None:
            raise UsageError(f"--port: {error}; 0 is a free one") from error
        complain(f"{error}; this is a free one")
    await _serve_on(0, options, output)
    raise AssertionError("it is cancelled, or raises")  # pragma: no cover - it is


async def _serve_on(port: int, options: DemoOptions, output: Output) -> None:
    def tell(text: str) -> None:
        with suppress(OutputError):  # whoever looks on may go
            output.put_bounded(output.styled("dim", text) + "\n")

    async with serve_demo(port=port, seed=options.seed, drop=options.drop, gap=_GAP, on_visit=tell) as demo:
        output.put(_welcome(demo, output))
        await output.drain()
        await anyio.sleep_forever()


def _welcome(demo: DemoServer, output: Output) -> str:
    url, body = demo.url, '{"prompt": "Hello"}'
    lines = [
        f"The demo server is at {output.styled('bold', url)} until Ctrl-C.",
        "In a browser it shows the feed; other things to try:",
        "",
        f"  anysse {url}{FEED}",
        f"  anysse {url}{CHAT} --data-json '{body}' --done '{DONE}'",
        f"  curl -N {url}{FEED}",
        f"  curl -N {url}{FEED} -H 'Last-Event-ID: 100'",
        f"  curl -N {url}{CHAT} -d '{body}'",
        "",
        "Every request that ended:",
        "",
    ]
    return "\n".join(lines)
