"""A feed of 100,000 ids behind a server that breaks in every way: each id comes once, and in order.

A test that fails says which seed it was, and all that the server did; the same seed does it again.
"""

import importlib
import random
from types import ModuleType
from typing import Any, Final

import anyio
import pytest

import anysse
from anysse import ExponentialBackoff, Timeouts
from tests.chaos import CODINGS, FAULTS, LINE_ENDS, PACES, ChaoticFeed, data_of, type_of
from tests.conftest import available_backends, available_libraries
from tests.streams import at_full_speed

RETRY: Final = ExponentialBackoff(initial=0.0, maximum=0.1, jitter=0.0, max_connect_retries=None)
TIMEOUTS: Final = Timeouts(connect=10.0, response=0.5, idle=0.4)
CHAOTIC: Final = range(20)
SLOW: Final = range(20, 200)
TRANSPORTS: Final = [
    *((name, transport) for transport in ("ours", "its own") for name in available_libraries())
]


def cases(seeds: range, *marks: Any) -> list[Any]:
    """Give each seed on each backend; those that are asyncio with another loop have every fourth."""
    return [
        pytest.param(
            *backend.values,
            seed,
            *TRANSPORTS[seed % len(TRANSPORTS)],
            id=f"{backend.id}-{seed}",
            marks=marks,
        )
        for backend in available_backends()
        for seed in seeds
        if backend.id in ("asyncio", "trio") or seed % 4 == 0
    ]


@pytest.mark.parametrize(
    ("anyio_backend", "seed", "name", "transport"),
    [*cases(CHAOTIC, pytest.mark.chaos), *cases(SLOW, pytest.mark.slow)],
    indirect=["anyio_backend"],
)
async def test_each_id_comes_once_and_in_order(
    anyio_backend_name: str, seed: int, name: str, transport: str
) -> None:
    await read_chaos(seed, 100_000, 6, anyio_backend_name, importlib.import_module(name), transport)


async def test_each_id_of_a_short_feed_comes_once_and_in_order(
    library: ModuleType, anyio_backend_name: str
) -> None:
    transport = "its own" if anyio_backend_name == "trio" else "ours"
    await read_chaos(1, 5_000, 0, anyio_backend_name, library, transport)


async def read_chaos(
    seed: int, last: int, more: int, backend: str, library: ModuleType, transport: str
) -> None:
    feed = ChaoticFeed(seed, last=last, more=more)
    with at_full_speed(backend):
        async with feed.serving() as server:
            if transport == "ours":
                await read(library.Request("GET", server.url), feed)
            else:
                async with library.AsyncClient(trust_env=False) as client:
                    await read(server.url, feed, client=client)
            await server.all_idle()
    # It did misbehave, in all ways, and its client noticed.
    assert [kind for kind in (*FAULTS, *CODINGS, *PACES, *LINE_ENDS, "noise") if not feed.met[kind]] == []
    kinds = ("ConnectError", "StatusError", "StreamDropped", "response", "idle")
    assert [kind for kind in kinds if not feed.failures[kind]] == []


async def read(target: Any, feed: ChaoticFeed, **options: Any) -> None:
    """Read it to its end, now and then so slowly that buffers fill."""
    chance = random.Random(feed.seed)
    number = 0
    async with anysse.open_stream(
        target,
        retry=RETRY,
        timeouts=TIMEOUTS,
        buffer=chance.choice([1, 4, 64]),
        observers=[feed],
        **options,
    ) as events:
        async for event in events:
            number += 1
            assert (event.id, event.data, event.event) == (str(number), data_of(number), type_of(number))
            if chance.random() < 20 / feed.last:
                await anyio.sleep(chance.choice([0.0, 0.0, 0.01, 0.05]))
    assert number == feed.last
