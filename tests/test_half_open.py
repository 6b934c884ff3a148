"""A peer that vanishes without a word: packets are dropped between two networks, and the client finds out.

Reader and server are processes of their own. The reader learns at a smaller scale than users do: its cadence
knows shorter silences, and has a lower floor. It prints what becomes of it, and the server what it is asked.
"""

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

import pytest

from tests import far, netns
from tests.conftest import is_importable

pytestmark = pytest.mark.once

FLOOR: Final = 1.0
BEAT: Final = 0.2

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


@pytest.fixture
def link() -> Iterator[netns.Link]:
    why_not = netns.missing() or (None if nft_program() else "nft is not installed")
    if why_not:
        pytest.skip(why_not)
    with netns.linked_namespaces() as made:
        yield made


@pytest.mark.parametrize(
    ("loop", "end"),
    [("asyncio", "server"), ("asyncio", "client"), ("uvloop", "server"), ("trio", "server")],
)
def test_a_peer_that_vanishes_is_noticed_and_asked_again_once_it_is_back(
    link: netns.Link, loop: str, end: str
) -> None:
    if not is_importable(loop):
        pytest.skip(f"no {loop}")
    asked, told = far.start_server(link, beat=BEAT), far.start_client(link, CLIENT, loop, str(FLOOR))
    assert next(told) == {"event": "1"}
    assert next(asked) == []
    far.until(told, "rhythm")
    with no_packets(getattr(link, end)):
        gone = far.until(told, "gone")
    assert gone["gone"] >= FLOOR
    assert 0.99 * gone["gone"] < gone["after"] < 1.2 * gone["gone"] + 5.0  # a shared machine is slow at times
    assert far.until(told, "event") == {"event": "2"}
    assert next(asked) == ["1"]
    far.until(told, "rhythm")  # and it is learnt anew
