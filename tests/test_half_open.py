"""A peer that vanishes without a word: packets are dropped between two networks, and the client finds out.

Reader and server are processes of their own. The reader learns at a smaller scale than users do: its cadence
knows shorter silences, and has a lower floor. It prints what becomes of it, and the server what it is asked.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import pytest

from tests import netns
from tests.conftest import is_importable

pytestmark = pytest.mark.once

FLOOR: Final = 1.0
BEAT: Final = 0.2
PORT: Final = 8000

SERVER: Final = """
import json
import sys

import anyio

HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n"
connections = 0


async def serve(stream):
    global connections
    connections += 1
    async with stream:
        try:
            request = b""
            while b"\\r\\n\\r\\n" not in request:
                request += await stream.receive()
            fields = [line.partition(b": ") for line in request.lower().split(b"\\r\\n")]
            ids = [value.decode() for name, _, value in fields if name == b"last-event-id"]
            print(json.dumps(ids), flush=True)
            await stream.send(HEAD + b"id: %d\\ndata: hello\\n\\n" % connections)
            while True:
                await anyio.sleep(float(sys.argv[3]))
                await stream.send(b":\\n")
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            pass


async def main():
    listener = await anyio.create_tcp_listener(local_host=sys.argv[1], local_port=int(sys.argv[2]))
    print("ready", flush=True)
    await listener.serve(serve)


anyio.run(main)
"""

CLIENT: Final = """
import json
import sys

import anyio

import anysse
from anysse import _cadence, _silence

url, name, floor = sys.argv[1:]
_cadence.FLOOR = float(floor)
_cadence.SHORTEST = _silence.SHORTEST = float(floor) / 50
heard_by_cadence = _cadence.Cadence.heard
heard_at = 0.0


def heard(cadence, silence):
    global heard_at
    heard_at, before = anyio.current_time(), cadence.timeout
    heard_by_cadence(cadence, silence)
    if cadence.timeout != before:
        tell(rhythm=cadence.timeout)


class Teller(anysse.Observer):
    def observe(self, fact):
        error = getattr(fact, "error", None)
        if isinstance(error, anysse.StreamTimeout) and error.phase == "idle":
            tell(gone=error.seconds, after=anyio.current_time() - heard_at)


def tell(**facts):
    print(json.dumps(facts), flush=True)


async def main():
    _cadence.Cadence.heard = heard
    timeouts = anysse.Timeouts(idle="auto", connect=0.5)
    retry = anysse.ExponentialBackoff(initial=0.2, maximum=0.2)
    async with anysse.open_stream(url, timeouts=timeouts, retry=retry, observers=[Teller()]) as events:
        async for event in events:
            tell(event=event.id)


options = {"use_uvloop": True} if name == "uvloop" else {}
anyio.run(main, backend="trio" if name == "trio" else "asyncio", backend_options=options)
"""

NO_PACKETS: Final = """
table inet gone {
    chain in { type filter hook input priority 0; policy drop; }
    chain out { type filter hook output priority 0; policy drop; }
}
"""


@cache
def nft_program() -> str | None:
    return shutil.which("nft", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


@contextmanager
def no_packets(end: netns.Namespace) -> Generator[None]:
    """Drop all that comes and goes at an end; neither end is told."""
    nft = nft_program()
    assert nft is not None
    end.run([nft, "-f", "-"], input=NO_PACKETS)
    yield
    end.run([nft, "delete", "table", "inet", "gone"])


def facts(child: subprocess.Popen[str]) -> Iterator[Any]:
    """Give what a child prints, as it does."""
    assert child.stdout is not None
    return map(json.loads, child.stdout)


def until(told: Iterator[Any], name: str) -> Any:
    """Read on until something is told; give it."""
    return next(fact for fact in told if fact.get(name) is not None)


@pytest.fixture
def link() -> Iterator[netns.Link]:
    why_not = netns.missing() or (None if nft_program() else "nft is not installed")
    if why_not:
        pytest.skip(why_not)
    with netns.linked_namespaces() as made:
        yield made


def start_server(link: netns.Link) -> Iterator[Any]:
    """Start it; give the last event IDs that it is asked for, a list for each connection."""
    where = [link.server_address, str(PORT), str(BEAT)]
    server = link.server.popen([sys.executable, "-c", SERVER, *where], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n", "the server did not start"
    return facts(server)


def start_client(link: netns.Link, loop: str) -> Iterator[Any]:
    url = f"http://{link.server_address}:{PORT}/"
    command = [sys.executable, "-c", CLIENT, url, loop, str(FLOOR)]
    return facts(link.client.popen(command, stdout=subprocess.PIPE))


@pytest.mark.parametrize(
    ("loop", "end"),
    [("asyncio", "server"), ("asyncio", "client"), ("uvloop", "server"), ("trio", "server")],
)
def test_a_peer_that_vanishes_is_noticed_and_asked_again_once_it_is_back(
    link: netns.Link, loop: str, end: str
) -> None:
    if not is_importable(loop):
        pytest.skip(f"no {loop}")
    asked, told = start_server(link), start_client(link, loop)
    assert next(told) == {"event": "1"}
    assert next(asked) == []
    until(told, "rhythm")
    with no_packets(getattr(link, end)):
        gone = until(told, "gone")
    assert gone["gone"] >= FLOOR
    assert 0.99 * gone["gone"] < gone["after"] < 1.2 * gone["gone"] + 5.0  # a shared machine is slow at times
    assert until(told, "event") == {"event": "2"}
    assert next(asked) == ["1"]
    until(told, "rhythm")  # and it is learnt anew
