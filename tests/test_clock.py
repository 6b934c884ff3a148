"""The event loop's clock, asked for once."""

import asyncio
import math
import time

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anysse._clock import loop_clock, stopwatch
from tests.streams import in_virtual_time


async def test_it_tells_the_time_of_the_event_loop() -> None:
    clock = loop_clock()
    before = anyio.current_time()
    now = clock()
    assert before <= now <= anyio.current_time()
    await checkpoint()
    assert clock() >= now


def test_it_tells_virtual_time() -> None:
    async def main() -> None:
        clock = loop_clock()
        before = clock()
        await anyio.sleep(1000)
        assert clock() - before == 1000

    in_virtual_time(main)


def test_where_trio_is_a_guest_of_asyncio_each_has_its_own() -> None:
    trio = pytest.importorskip("trio")
    testing = pytest.importorskip("trio.testing")

    async def guest() -> None:
        assert math.isclose(loop_clock()(), 5.0)

    async def host() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        clock = testing.MockClock()
        clock.jump(5.0)
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
            clock=clock,
        )
        assert abs(loop_clock()() - loop.time()) < 5
        (await done).unwrap()

    asyncio.run(host())


async def test_a_stopwatch_counts_microseconds() -> None:
    watch, until = stopwatch(), time.perf_counter() + 0.005
    seen = set()
    while time.perf_counter() < until:
        seen.add(watch())
    assert len(seen) > 20  # a clock of milliseconds would show 6


def test_a_stopwatch_jumps_where_time_is_virtual() -> None:
    async def main() -> None:
        watch = stopwatch()
        before = watch()
        await anyio.sleep(1000)
        assert watch() - before == 1000

    in_virtual_time(main)
