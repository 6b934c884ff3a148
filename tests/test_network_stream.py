"""A stream whose network goes away and comes back with another address, between two network namespaces."""

import statistics
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests import far, netns
from tests.conftest import is_importable

pytestmark = pytest.mark.once

BACKOFF: Final = 30
"""Seconds that a stream waits that knows nothing of the network."""
TIMES: Final = 3

CLIENT: Final = """
import json
import sys
import time

import anyio

import anysse

url, name, backoff, follows = sys.argv[1:]


class Teller(anysse.Observer):
    def observe(self, fact):
        if isinstance(fact, anysse.AttemptFailed):
            tell(waits=fact.retry_in)


def tell(**facts):
    print(json.dumps(facts), flush=True)


async def main():
    options = {
        "timeouts": anysse.Timeouts(idle=2.0),
        "retry": anysse.ExponentialBackoff(initial=float(backoff), maximum=float(backoff), jitter=0),
        "network": follows == "follows",
        "observers": [Teller()],
    }
    async with anysse.open_stream(url, **options) as events:
        async for event in events:
            tell(event=event.id, at=time.monotonic())


options = {"use_uvloop": True} if name == "uvloop" else {}
anyio.run(main, backend="trio" if name == "trio" else "asyncio", backend_options=options)
"""


@pytest.fixture
def link() -> Iterator[netns.Link]:
    if why_not := netns.missing():
        pytest.skip(why_not)
    with netns.linked_namespaces() as made:
        yield made


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_the_next_event_comes_within_a_second_of_the_link(
    link: netns.Link, loop: str, request: pytest.FixtureRequest
) -> None:
    if not is_importable(loop):
        pytest.skip(f"no {loop}")
    asked = far.start_server(link, beat=0.5)
    told = far.start_client(link, CLIENT, loop, str(BACKOFF), "follows")
    assert far.until(told, "event")["event"] == "1"
    assert next(asked) == []
    took = []
    for turn in range(TIMES):
        link.down()
        link.replace_client_address(f"{netns.PREFIX}.{turn + 3}/24")
        assert far.until(told, "waits")["waits"] == BACKOFF  # it knows at once, and cannot connect
        time.sleep(1.0)  # longer than the floor between its attempts
        link.up()
        back_at = time.monotonic()
        event = far.until(told, "event")
        assert event["event"] == str(turn + 2)
        assert next(asked) == [str(turn + 1)]
        took.append(event["at"] - back_at)
    request.node.user_properties.append(("seconds", took))  # in what --junitxml writes
    assert statistics.median(took) <= 1.0


@pytest.mark.slow
def test_a_stream_that_does_not_follow_the_network_waits_its_backoff(link: netns.Link) -> None:
    far.start_server(link, beat=0.5)
    told = far.start_client(link, CLIENT, "asyncio", str(BACKOFF), "waits")
    assert far.until(told, "event")["event"] == "1"
    link.down()
    link.replace_client_address(f"{netns.PREFIX}.3/24")
    assert far.until(told, "waits")["waits"] == BACKOFF  # it finds out by its idle timeout
    link.up()
    began = time.monotonic()
    assert far.until(told, "event")["at"] - began > BACKOFF - 5
