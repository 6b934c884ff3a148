"""So many connections, so many requests a second: in order, and who is cancelled takes nothing."""

import asyncio
import gc
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from types import ModuleType
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup, TaskStatus
from hypothesis import given
from hypothesis import strategies as st

import anysse
from anysse._limits import StreamLimits, _Bucket
from tests.server import feed, held, in_turn, serve
from tests.streams import Answer, Recorder, data_of, held_stream, in_virtual_time, memory_client, turns

URL = "http://a/"
ATTEMPT = anysse.Attempt(number=1, last_event_id="", last_error=None)
SETTLED = 20
"""Turns after which whoever may go in is in."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose clock jumps to what is next, as trio's MockClock does."""

    def __init__(self) -> None:
        super().__init__()
        self._jumped = 0.0
        self.jumps = 0
        selector = self._selector  # type: ignore[attr-defined]
        self._really_select = selector.select
        selector.select = self._jump

    def time(self) -> float:
        return self._jumped

    def _jump(self, timeout: float | None) -> Any:
        if timeout is not None and timeout > 0 and not (ready := self._really_select(0)):
            self._jumped += timeout
            self.jumps += 1
            return ready
        return self._really_select(timeout)


def on_jumping_asyncio(main: Callable[[], Awaitable[None]]) -> None:
    anyio.run(main, backend="asyncio", backend_options={"loop_factory": JumpingLoop})


each_virtual_time = pytest.mark.parametrize("run", [in_virtual_time, on_jumping_asyncio])


def admission(limits: StreamLimits) -> AbstractAsyncContextManager[None]:
    return limits.admit(ATTEMPT)


class Crowd:
    """Tasks that want in, each with a name; who is in stays until it is told to go."""

    def __init__(self, limits: StreamLimits, tasks: TaskGroup) -> None:
        self._limits = limits
        self._tasks = tasks
        self._may_go = defaultdict[int, anyio.Event](anyio.Event)
        self._struck: set[int] = set()  # cancelled natively
        self.scopes: dict[int, anyio.CancelScope] = {}
        self.native: dict[int, Any] = {}
        self.entered: list[int] = []
        self.times: list[float] = []
        self.inside: set[int] = set()
        self.most = 0

    async def come(self, *names: int) -> None:
        """Let each come, in this order."""
        for name in names:
            await self._tasks.start(self._visit, name)

    def go(self, *names: int) -> None:
        for name in names:
            self._may_go[name].set()

    def cancel(self, name: int, *, natively: bool) -> None:
        if natively:
            self._struck.add(name)
            self.native[name].cancel()
        else:
            self.scopes[name].cancel()

    async def _visit(self, name: int, *, task_status: TaskStatus[None]) -> None:
        if isinstance(asyncio_task := current_asyncio_task(), asyncio.Task):
            self.native[name] = asyncio_task
        try:
            with anyio.CancelScope() as self.scopes[name]:
                task_status.started()
                await self._stay(name)
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103 - a native one would end the whole group
            if name not in self._struck:
                raise

    async def _stay(self, name: int) -> None:
        async with admission(self._limits):
            self.entered.append(name)
            self.times.append(anyio.current_time())
            self.inside.add(name)
            self.most = max(self.most, len(self.inside))
            try:
                await self._may_go[name].wait()
            finally:
                self.inside.remove(name)


def current_asyncio_task() -> Any:
    try:
        return asyncio.current_task()
    except RuntimeError:  # trio
        return None


async def entry_times(limits: StreamLimits, count: int) -> list[float]:
    """Let so many come at once, each leaving at once; give when they went in, from now."""
    start = anyio.current_time()
    times: list[float] = []

    async def one() -> None:
        async with admission(limits):
            times.append(anyio.current_time() - start)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return times


# --- arguments ---


@pytest.mark.parametrize("name", ["max_connections", "max_requests_per_second", "burst"])
@pytest.mark.parametrize("value", [0, -1, True, False, "1", float("nan"), float("inf"), 10**400 * -1, [1]])
def test_a_bound_that_is_none_is_refused_and_named(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"max_requests_per_second": 1.0, name: value}
    with pytest.raises(anysse.InvalidRequest) as caught:
        StreamLimits(**arguments)
    assert caught.value.argument == f"limits.{name}"


@pytest.mark.parametrize(
    ("name", "value"), [("max_connections", 1.5), ("burst", 1.5), ("burst", None)], ids=str
)
def test_what_is_counted_is_a_whole_number(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"max_requests_per_second": 1.0, name: value}
    with pytest.raises(anysse.InvalidRequest, match=rf"limits\.{name}"):
        StreamLimits(**arguments)


def test_a_rate_that_no_float_can_hold_is_refused() -> None:
    with pytest.raises(anysse.InvalidRequest, match=r"limits\.max_requests_per_second"):
        StreamLimits(max_requests_per_second=10**400)


def test_a_burst_without_a_rate_is_refused_and_told_what_to_do() -> None:
    with pytest.raises(
        anysse.InvalidRequest, match=r"limits\.burst: needs max_requests_per_second"
    ) as caught:
        StreamLimits(max_connections=2, burst=2)
    assert caught.value.argument == "limits.burst"
    StreamLimits(max_connections=2, burst=1)


def test_it_tells_its_bounds_and_they_cannot_be_changed() -> None:
    limits = StreamLimits(max_connections=3, max_requests_per_second=0.5, burst=2)
    assert (limits.max_connections, limits.max_requests_per_second, limits.burst) == (3, 0.5, 2)
    assert repr(limits) == "StreamLimits(max_connections=3, max_requests_per_second=0.5, burst=2)"
    assert repr(StreamLimits()) == (
        "StreamLimits(max_connections=None, max_requests_per_second=None, burst=1)"
    )
    for name in ("max_connections", "max_requests_per_second", "burst", "connections", "waiting"):
        with pytest.raises(AttributeError):
            setattr(limits, name, 1)


def test_it_is_an_observer_that_looks_at_nothing() -> None:
    limits = StreamLimits()
    assert anysse.Observer in StreamLimits.__mro__
    limits.observe(anysse.Ended(retry_in=None))


# --- so many connections ---


async def test_so_many_are_inside_and_no_more() -> None:
    limits = StreamLimits(max_connections=2)
    async with anyio.create_task_group() as tasks:
        crowd = Crowd(limits, tasks)
        await crowd.come(*range(6))
        await turns(SETTLED)
        assert (crowd.entered, limits.connections, limits.waiting) == ([0, 1], 2, 4)
        crowd.go(1)
        await turns(SETTLED)
        assert (crowd.entered, limits.connections, limits.waiting) == ([0, 1, 2], 2, 3)
        crowd.go(*range(6))
    assert crowd.entered == list(range(6))
    assert (crowd.most, limits.connections, limits.waiting) == (2, 0, 0)


async def test_without_bounds_nobody_is_held_back() -> None:
    limits = StreamLimits()
    async with AsyncExitStack() as stack:
        for _ in range(50):
            await stack.enter_async_context(admission(limits))
        assert (limits.connections, limits.waiting) == (50, 0)
    assert limits.connections == 0


async def test_they_go_in_in_the_order_in_which_they_came() -> None:
    limits = StreamLimits(max_connections=3)
    async with anyio.create_task_group() as tasks:
        crowd = Crowd(limits, tasks)
        await crowd.come(*range(30))
        await turns(SETTLED)
        for name in (2, 0, 1, *range(3, 30)):
            crowd.go(name)
            await turns(name % 4)
    assert crowd.entered == list(range(30))
    assert crowd.most == 3


@pytest.mark.parametrize("bounds", [{"max_connections": 1}, {"max_requests_per_second": 1e6}, {}])
async def test_those_that_come_in_one_tick_go_in_in_their_order(bounds: dict[str, Any]) -> None:
    limits = StreamLimits(**bounds)
    came: list[int] = []
    went_in: list[int] = []

    async def visit(name: int) -> None:
        came.append(name)
        async with admission(limits):
            went_in.append(name)
            await turns(1)

    async with anyio.create_task_group() as tasks:
        for name in range(20):
            tasks.start_soon(visit, name)  # trio begins them in any order
    assert went_in == came


@pytest.mark.parametrize("later", range(8))
async def test_a_newcomer_never_overtakes_one_that_waits(later: int) -> None:
    limits = StreamLimits(max_connections=1)
    async with anyio.create_task_group() as tasks:
        crowd = Crowd(limits, tasks)
        await crowd.come(0, 1)
        await turns(SETTLED)
        crowd.go(0, 1, 2)
        await turns(later)  # the slot is free, or being handed on
        await crowd.come(2)
    assert crowd.entered == [0, 1, 2]
    assert crowd.most == 1


async def test_one_that_leaves_and_comes_again_is_behind_those_that_wait() -> None:
    limits = StreamLimits(max_connections=1)
    order: list[str] = []

    async def visit(name: str, times: int) -> None:
        for _ in range(times):
            async with admission(limits):
                order.append(name)
                await turns(3)

    async with anyio.create_task_group() as tasks, admission(limits):
        for name in "ab":
            tasks.start_soon(visit, name, 4)
        await turns(SETTLED)
        assert order == []
    assert sorted(order[:2]) == ["a", "b"]
    assert order == order[:2] * 4


async def test_leaving_waits_for_nothing_and_works_where_all_is_cancelled() -> None:
    limits = StreamLimits(max_connections=1)
    for error in (None, LookupError("mine")):
        context = admission(limits)
        await context.__aenter__()
        with pytest.raises(StopIteration):  # at the first step
            context.__aexit__(type(error) if error else None, error, None).__await__().__next__()  # type: ignore[attr-defined]
        assert limits.connections == 0
    with anyio.CancelScope() as scope:
        async with admission(limits):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert limits.connections == 0


async def test_what_the_body_raises_goes_through_and_the_slot_comes_back() -> None:
    limits = StreamLimits(max_connections=1)
    with pytest.raises(LookupError, match="mine"):
        async with admission(limits):
            raise LookupError("mine")
    assert limits.connections == 0


async def test_an_admission_can_be_entered_once() -> None:
    limits = StreamLimits(max_connections=2)
    context = admission(limits)
    async with context:
        with pytest.raises(RuntimeError, match="call admit\\(\\) again"):
            await context.__aenter__()
        assert limits.connections == 1
    with pytest.raises(RuntimeError, match="entered once"):
        await context.__aenter__()
    assert (limits.connections, limits.waiting) == (0, 0)


async def test_an_admission_that_is_never_entered_takes_nothing() -> None:
    limits = StreamLimits(max_connections=1)
    waste = [admission(limits) for _ in range(5)]
    async with admission(limits):
        assert (len(waste), limits.connections, limits.waiting) == (5, 1, 0)


# --- so many requests a second ---


@each_virtual_time
@pytest.mark.parametrize(("rate", "burst"), [(20, 5), (20.0, 1), (3, 1), (0.1, 2), (7, 100), (1e6, 3)])
def test_a_burst_goes_in_at_once_and_then_so_many_a_second(run: Any, rate: float, burst: int) -> None:
    limits = StreamLimits(max_requests_per_second=rate, burst=burst)

    async def main() -> None:
        expected = [max(0, index - burst + 1) / rate for index in range(100)]
        assert await entry_times(limits, 100) == pytest.approx(expected, abs=1e-9)

    run(main)


@each_virtual_time
def test_what_is_not_used_is_saved_up_to_the_burst_and_no_further(run: Any) -> None:
    limits = StreamLimits(max_requests_per_second=2, burst=3)

    async def main() -> None:
        assert await entry_times(limits, 4) == pytest.approx([0, 0, 0, 0.5])
        await anyio.sleep(0.75)  # one and a half
        assert await entry_times(limits, 2) == pytest.approx([0, 0.25])
        await anyio.sleep(1000)
        assert await entry_times(limits, 5) == pytest.approx([0, 0, 0, 0.5, 1])

    run(main)


@each_virtual_time
def test_a_token_is_taken_after_the_slot_so_that_waiting_makes_no_burst(run: Any) -> None:
    limits = StreamLimits(max_connections=1, max_requests_per_second=1)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            crowd = Crowd(limits, tasks)
            await crowd.come(*range(5))
            await anyio.sleep(100)  # a token each second, while all but one wait for the slot
            crowd.go(*range(5))
        assert crowd.entered == list(range(5))
        # One token was saved meanwhile, and no more.
        start = crowd.times[0]
        assert [at - start for at in crowd.times] == pytest.approx([0, 100, 101, 102, 103])

    run(main)


@each_virtual_time
def test_a_newcomer_never_overtakes_one_that_waits_for_its_token(run: Any) -> None:
    limits = StreamLimits(max_connections=8, max_requests_per_second=1)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            crowd = Crowd(limits, tasks)
            await crowd.come(0, 1, 2)
            await anyio.sleep(1)  # in the instant in which a token is there
            await crowd.come(3)
            await anyio.sleep(1.5)
            await crowd.come(4)
            crowd.go(*range(5))
        assert crowd.entered == list(range(5))
        start = crowd.times[0]
        assert [at - start for at in crowd.times] == pytest.approx([0, 1, 2, 3, 4])

    run(main)


def test_nobody_polls() -> None:
    limits = StreamLimits(max_connections=50, max_requests_per_second=4, burst=2)
    loop = JumpingLoop()

    async def main() -> None:
        await entry_times(limits, 42)

    anyio.run(main, backend="asyncio", backend_options={"loop_factory": lambda: loop})
    assert loop.jumps <= 40


@each_virtual_time
def test_a_rate_next_to_nothing_lets_the_burst_in_and_nobody_after_it(run: Any) -> None:
    limits = StreamLimits(max_requests_per_second=5e-324, burst=2)

    async def main() -> None:
        async with admission(limits), admission(limits):
            pass
        with anyio.move_on_after(1e6):
            async with admission(limits):
                pytest.fail("it went in")
        assert limits.waiting == 0

    run(main)


async def test_a_rate_or_a_burst_beyond_all_measure_is_no_bound() -> None:
    for arguments in (
        {"max_requests_per_second": 10**308},
        {"max_requests_per_second": 1.7e308, "burst": 10**400},
        {"max_requests_per_second": 5e-324, "burst": 10**400},
    ):
        assert len(await entry_times(StreamLimits(**arguments), 20)) == 20  # type: ignore[arg-type]


@given(
    rate=st.sampled_from([0.5, 1.0, 8.0]),
    burst=st.integers(1, 4),
    steps=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 0.12)), max_size=40),
)
def test_timers_that_are_late_add_up_to_nothing(
    rate: float, burst: int, steps: list[tuple[float, float]]
) -> None:
    bucket, now = _Bucket(rate, burst), 1000.0
    taken: list[float] = []
    for pause, late in steps:
        now += pause
        due = bucket.due(now)
        assert due >= now
        now = due + late
        bucket.take(due, now)
        taken.append(due)
    for first, start in enumerate(taken):
        for count, end in enumerate(taken[first:], 1):
            assert count <= burst + (end - start) * rate + 1e-6


@pytest.mark.parametrize("late", [-0.0005, 0.0, 0.001, 0.04])
def test_a_timer_that_is_off_each_time_makes_no_drift(late: float) -> None:
    bucket, now = _Bucket(20, 1), 50.0
    for _ in range(101):
        due = bucket.due(now)
        now = due + late
        bucket.take(due, now)
    assert due == pytest.approx(55.0)


@pytest.mark.parametrize("start", [-1e9, -0.5, 0.0, 1e9])
def test_it_begins_full_wherever_the_clock_is(start: float) -> None:
    bucket = _Bucket(1, 2)
    for due in (start, start, start + 1):
        assert bucket.due(start) == due
        bucket.take(due, start)


def test_an_event_loop_that_was_blocked_makes_no_burst() -> None:
    bucket = _Bucket(1, 1)
    bucket.take(bucket.due(10.0), 10.0)
    assert bucket.due(10.0) == 11.0
    bucket.take(11.0, 20.0)  # it was to be at 11
    assert bucket.due(20.0) == 21.0


# --- cancelled ---


async def cancelled_one(
    limits: StreamLimits, victim: int, after: int, go_at: int, *, natively: bool
) -> Crowd:
    """Let four come, the first of them in; cancel one after so many turns, and let the first go at some."""
    async with anyio.create_task_group() as tasks:
        crowd = Crowd(limits, tasks)
        await crowd.come(0)
        await turns(SETTLED)
        await crowd.come(1, 2, 3)
        for turn in range(SETTLED):
            if turn == go_at:
                crowd.go(0)
            if turn == after:
                crowd.cancel(victim, natively=natively)
            await turns(1)
        crowd.go(*range(4))
    return crowd


@pytest.mark.parametrize("natively", [False, True], ids=["scope", "natively"])
@pytest.mark.parametrize("victim", [1, 2, 3])
async def test_cancelling_at_any_moment_leaks_no_slot_and_holds_nobody_up(
    anyio_backend_name: str, victim: int, natively: bool
) -> None:
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("a native task.cancel() is asyncio's")
    outcomes = set()
    for go_at in (0, 3):
        for after in range(10):
            limits = StreamLimits(max_connections=1)
            with anyio.fail_after(10):
                crowd = await cancelled_one(limits, victim, after, go_at, natively=natively)
            outcomes.add(victim in crowd.entered)
            assert [name for name in crowd.entered if name != victim] == [
                name for name in range(4) if name != victim
            ]
            assert crowd.entered == sorted(crowd.entered)
            assert (crowd.most, limits.connections, limits.waiting) == (1, 0, 0)
    assert False in outcomes  # there were moments at which it waited still
    assert victim != 1 or True in outcomes


@pytest.mark.parametrize("natively", [False, True], ids=["scope", "natively"])
@each_virtual_time
def test_cancelling_at_any_moment_spends_no_token(run: Any, natively: bool) -> None:
    """Whoever is cancelled while it waits, the others go in when they would had it never come."""
    if natively and run is in_virtual_time:
        pytest.skip("a native task.cancel() is asyncio's")

    async def cancelled(limits: StreamLimits, victim: int, moment: float, after: int) -> None:
        async with anyio.create_task_group() as tasks:
            crowd = Crowd(limits, tasks)
            start = anyio.current_time()
            await crowd.come(0, 1, 2, 3)
            await anyio.sleep_until(start + moment)
            await turns(after)
            crowd.cancel(victim, natively=natively)
            await anyio.sleep(10)
            crowd.go(*range(4))
        went_in = dict(zip(crowd.entered, (at - start for at in crowd.times), strict=True))
        # A victim that was in already has spent its token.
        paid = [name for name in range(4) if name != victim or name in went_in]
        assert list(went_in) == paid
        assert list(went_in.values()) == pytest.approx([float(place) for place in range(len(paid))])
        assert (limits.connections, limits.waiting) == (0, 0)

    async def main() -> None:
        for max_connections in (None, 4):
            for victim in range(4):
                for moment in (0, 0.5, 1, 1.5, 2, 3):
                    for after in range(6):
                        limits = StreamLimits(max_connections=max_connections, max_requests_per_second=1)
                        await cancelled(limits, victim, moment, after)

    run(main)


async def test_cancelling_all_that_wait_leaves_nothing() -> None:
    limits = StreamLimits(max_connections=1, max_requests_per_second=1e-6)

    async def wait() -> None:
        async with admission(limits):
            pytest.fail("it went in")

    async with admission(limits):
        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(wait)
            await turns(SETTLED)
            assert limits.waiting == 300
            tasks.cancel_scope.cancel()
        assert (limits.connections, limits.waiting) == (1, 0)
    assert limits.connections == 0


async def test_one_that_is_cancelled_before_it_comes_takes_nothing() -> None:
    limits = StreamLimits(max_connections=1, max_requests_per_second=1e-6)
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with admission(limits):
            pytest.fail("it went in")
    assert (limits.connections, limits.waiting) == (0, 0)
    async with admission(limits):  # the only token for days
        pass


# --- one object, many event loops ---

MODULE_LEVEL = StreamLimits(max_connections=1, max_requests_per_second=1e-6)


async def test_it_may_be_made_outside_of_an_event_loop_and_used_in_each() -> None:
    async with admission(MODULE_LEVEL):
        assert MODULE_LEVEL.connections == 1


def test_it_can_be_asked_outside_of_an_event_loop() -> None:
    limits = StreamLimits(max_connections=1)
    assert (limits.connections, limits.waiting) == (0, 0)


def test_a_run_is_not_held_up_by_the_one_before_wherever_its_clock_is() -> None:
    trio = pytest.importorskip("trio")
    testing = pytest.importorskip("trio.testing")
    limits = StreamLimits(max_connections=1, max_requests_per_second=1e-3)

    async def main() -> None:
        assert await entry_times(limits, 2) == pytest.approx([0, 1000])

    for start in (0, 0, 500, 1e9, 10, 2000):
        clock = testing.MockClock(autojump_threshold=0)
        clock.jump(start)
        trio.run(main, clock=clock)
        on_jumping_asyncio(main)


def test_what_hangs_in_another_event_loop_holds_nothing_up() -> None:
    limits = StreamLimits(max_connections=1, max_requests_per_second=1e-6)
    loop = asyncio.new_event_loop()

    async def hang() -> None:
        async with admission(limits):
            await asyncio.sleep(1000)

    async def begin() -> list["asyncio.Task[None]"]:
        tasks = [asyncio.create_task(hang()) for _ in range(3)]
        await turns(SETTLED)
        return tasks

    async def main() -> None:
        async with admission(limits):
            assert (limits.connections, limits.waiting) == (2, 2)

    try:
        left = loop.run_until_complete(begin())
        assert (limits.connections, limits.waiting) == (1, 2)
        anyio.run(main)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left))
        assert (limits.connections, limits.waiting) == (0, 0)
    finally:
        loop.close()


def test_event_loops_in_threads_do_not_disturb_each_other() -> None:
    limits = StreamLimits(max_connections=1)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            crowd = Crowd(limits, tasks)
            await crowd.come(*range(50))
            crowd.go(*range(50))
        assert crowd.entered == list(range(50))
        assert crowd.most == 1

    with ThreadPoolExecutor(4) as threads:
        for run in [threads.submit(anyio.run, main) for _ in range(12)]:
            run.result()
    assert (limits.connections, limits.waiting) == (0, 0)


def test_nothing_is_kept_of_event_loops_that_are_gone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "asyncio")  # its records would keep the loops
    limits = StreamLimits(max_connections=1, max_requests_per_second=1e6)

    async def main() -> None:
        await entry_times(limits, 3)

    for _ in range(5):
        anyio.run(main)
        in_virtual_time(main)
    gc.collect()
    assert len(limits._gates) == 0


# --- the real thing ---


async def test_of_six_streams_two_are_open_at_a_time(library: ModuleType) -> None:
    limits = StreamLimits(max_connections=2)
    may_go = [anyio.Event() for _ in range(6)]
    is_over = [anyio.Event() for _ in range(6)]

    async with serve(then=held("data: x\n\n")) as server:

        async def read(place: int) -> None:
            async with anysse.open_stream(
                f"{server.url}/{place}", client=client, observers=[limits]
            ) as events:
                assert (await events.receive()).data == "x"
                await may_go[place].wait()
            is_over[place].set()

        async with library.AsyncClient() as client, anyio.create_task_group() as tasks:
            for place in range(6):
                tasks.start_soon(read, place)
            for asked in range(2, 7):
                await server.requested(asked)
                await turns(100)
                assert len(server.requests) == asked
                assert (limits.connections, limits.waiting) == (2, 6 - asked)
                await server.until(lambda: server.open_connections == 2)
                oldest = int(server.requests[asked - 2].path[1:])
                may_go[oldest].set()
                await is_over[oldest].wait()
            for event in may_go:
                event.set()
    assert (limits.connections, limits.waiting) == (0, 0)
    assert len(server.requests) == 6


async def test_closing_streams_that_wait_gives_back_their_place(library: ModuleType) -> None:
    limits = StreamLimits(max_connections=1)
    async with serve(then=held("data: x\n\n")) as server, library.AsyncClient() as client:
        opened = partial(anysse.open_stream, server.url, client=client, observers=[limits])
        async with opened() as first:
            assert (await first.receive()).data == "x"
            async with anyio.create_task_group() as tasks:

                async def wait() -> None:
                    async with opened():
                        pytest.fail("it went in")

                for _ in range(3):
                    tasks.start_soon(wait)
                while limits.waiting < 3:
                    await turns(1)
                tasks.cancel_scope.cancel()
            assert (limits.connections, limits.waiting) == (1, 0)
        async with opened() as second:
            assert (await second.receive()).data == "x"
    assert (limits.connections, len(server.requests)) == (0, 2)


async def test_a_reconnection_takes_its_place_behind_those_that_wait(library: ModuleType) -> None:
    limits = StreamLimits(max_connections=1)
    routes = {"/a": in_turn(feed("retry: 100\ndata: 1\n\n"), feed("data: 2\n\n")), "/b": held("data: b\n\n")}
    async with serve(routes=routes) as server, library.AsyncClient() as client:
        opened = partial(anysse.open_stream, client=client, observers=[limits])
        async with opened(f"{server.url}/a") as first, opened(f"{server.url}/b") as second:
            assert (await first.receive()).data == "1"
            assert (await second.receive()).data == "b"
            await first.wait_for(anysse.StreamStatus.CONNECTING)
            while not limits.waiting:
                await turns(1)
            assert [request.path for request in server.requests] == ["/a", "/b"]
            await second.aclose()
            assert (await first.receive()).data == "2"
    assert [request.path for request in server.requests] == ["/a", "/b", "/a"]


def test_a_reconnection_passes_the_rate_limit_as_well(library: ModuleType) -> None:
    async def main() -> None:
        limits = StreamLimits(max_requests_per_second=0.1, burst=2)
        sent: list[float] = []

        async def answer(request: Any) -> Answer:
            sent.append(anyio.current_time() - start)
            return Answer(status=503) if len(sent) < 5 else held_stream(b"data: x\n\n")

        retry = anysse.ExponentialBackoff(initial=1, factor=1, jitter=0, max_connect_retries=None)
        async with memory_client(library, *[answer] * 5) as client:
            start = anyio.current_time()
            async with anysse.open_stream(URL, client=client, retry=retry, observers=[limits]) as events:
                assert (await events.receive()).data == "x"
        assert sent == pytest.approx([0, 1, 10, 20, 30])

    in_virtual_time(main)


def test_a_stream_that_backs_off_holds_no_slot(library: ModuleType) -> None:
    async def main() -> None:
        limits = StreamLimits(max_connections=1)
        recorder = Recorder()
        retry = anysse.ExponentialBackoff(initial=100, jitter=0)
        one = memory_client(library, Answer(status=503), Answer(status=204))
        other = memory_client(library, held_stream(b"data: x\n\n"))

        async def back_off() -> None:
            async with anysse.open_stream(
                URL, client=one, retry=retry, timeouts=None, observers=[recorder, limits]
            ) as events:
                assert await data_of(events) == []

        async with one, other, anyio.create_task_group() as tasks:
            tasks.start_soon(back_off)
            while not recorder.of(anysse.AttemptFailed):
                await turns(1)
            failed_at = anyio.current_time()
            async with anysse.open_stream(URL, client=other, timeouts=None, observers=[limits]) as events:
                assert (await events.receive()).data == "x"
                assert anyio.current_time() == failed_at
                assert limits.connections == 1
                await anyio.sleep(500)
                assert (limits.waiting, len(one.sent)) == (1, 1)
        assert (limits.connections, len(one.sent)) == (0, 2)

    in_virtual_time(main)


@pytest.mark.slow
async def test_a_hundred_requests_at_twenty_a_second_take_so_long() -> None:
    limits = StreamLimits(max_requests_per_second=20, burst=5)
    start = time.monotonic()
    times = await entry_times(limits, 100)
    assert time.monotonic() - start == pytest.approx(4.75, rel=0.1)
    assert times == sorted(times)
