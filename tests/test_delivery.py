"""From the task that reads to the one that consumes: in order, none lost, none doubled."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import ModuleType

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

import anysse
from anysse import ServerSentEvent
from anysse._delivery import PLACE_SIZE, Batch, Mailbox
from anysse._wakeup import Wakeup, wakeups
from tests.streams import Answer, Tap, held_stream, memory_client, stream_of, turns


def batch(number: int) -> Batch:
    return [ServerSentEvent(data=str(number))], str(number), 10


async def awaited(wakeup: Wakeup) -> None:
    await wakeup


def numbers(mailbox: Mailbox) -> list[int]:
    """Take what is there."""
    taken: list[int] = []
    with suppress(anyio.WouldBlock, anyio.EndOfStream):
        while True:
            taken.append(int(mailbox.take_nowait()[1]))
    return taken


# --- without waiting ---


async def test_what_waits_is_bounded_in_bytes_too() -> None:
    mailbox = Mailbox(4)
    large = ([ServerSentEvent(data="large")], "1", 3 * PLACE_SIZE)
    assert mailbox.put_nowait(large)
    assert not mailbox.put_nowait(large)
    assert mailbox.put_nowait(batch(2))
    assert mailbox.take_nowait() == large
    assert mailbox.put_nowait(large)
    mailbox.discard()


async def test_a_batch_above_the_bound_waits_alone() -> None:
    mailbox = Mailbox(1)
    huge = ([ServerSentEvent(data="huge")], "1", 256 * PLACE_SIZE)
    assert mailbox.put_nowait(huge)
    assert not mailbox.put_nowait(batch(2))
    assert mailbox.take_nowait() == huge
    assert mailbox.put_nowait(batch(2))
    mailbox.discard()


async def test_batches_come_in_order() -> None:
    mailbox = Mailbox(3)
    assert [mailbox.put_nowait(batch(number)) for number in range(3)] == [True] * 3
    assert numbers(mailbox) == [0, 1, 2]
    mailbox.discard()


async def test_there_is_room_for_so_many_and_no_more() -> None:
    mailbox = Mailbox(2)
    assert [mailbox.put_nowait(batch(number)) for number in range(3)] == [True, True, False]
    mailbox.take_nowait()
    assert mailbox.put_nowait(batch(3))
    assert numbers(mailbox) == [1, 3]
    mailbox.discard()


async def test_nothing_to_take_yet_is_told_from_nothing_ever_more() -> None:
    mailbox = Mailbox(2)
    with pytest.raises(anyio.WouldBlock):
        mailbox.take_nowait()
    assert not mailbox.is_finished
    mailbox.put_nowait(batch(0))
    mailbox.finish()
    assert mailbox.is_finished
    assert mailbox.take_nowait() == batch(0)
    for _ in range(2):
        with pytest.raises(anyio.EndOfStream):
            mailbox.take_nowait()
    mailbox.discard()


async def test_finishing_and_discarding_may_be_repeated() -> None:
    mailbox = Mailbox(1)
    for end in (mailbox.finish, mailbox.finish, mailbox.discard, mailbox.discard, mailbox.finish):
        end()
    assert mailbox.is_finished


@pytest.mark.parametrize("end", [Mailbox.finish, Mailbox.discard])
async def test_what_is_put_after_the_end_is_dropped(end: Callable[[Mailbox], None]) -> None:
    mailbox = Mailbox(1)
    end(mailbox)
    assert mailbox.put_nowait(batch(0))
    await mailbox.put(batch(1))
    with pytest.raises((anyio.EndOfStream, anyio.ClosedResourceError)):
        mailbox.take_nowait()
    mailbox.discard()


async def test_what_is_put_where_nobody_takes_is_dropped() -> None:
    mailbox = Mailbox(1)
    mailbox.discard()
    assert mailbox.put_nowait(batch(0))
    assert mailbox.is_empty


# --- waiting ---


async def test_who_takes_is_woken_by_a_batch() -> None:
    mailbox = Mailbox(1)
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(mailbox.wait)
        await anyio.wait_all_tasks_blocked()
        mailbox.put_nowait(batch(0))
    assert numbers(mailbox) == [0]
    mailbox.discard()


@pytest.mark.parametrize("end", [Mailbox.finish, Mailbox.discard])
async def test_who_takes_is_woken_by_the_end(end: Callable[[Mailbox], None]) -> None:
    mailbox = Mailbox(1)
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(mailbox.wait)
        await anyio.wait_all_tasks_blocked()
        end(mailbox)
    mailbox.discard()


@pytest.mark.parametrize(("size", "taken"), [(1, 1), (2, 1), (3, 2), (4, 2), (8, 4)])
async def test_who_puts_is_woken_once_half_of_the_room_is_free(size: int, taken: int) -> None:
    mailbox = Mailbox(size)
    for number in range(size):
        mailbox.put_nowait(batch(number))
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(mailbox.put, batch(size))
        for _ in range(taken):
            await anyio.wait_all_tasks_blocked()
            assert mailbox._room is not None
            mailbox.take_nowait()
    assert numbers(mailbox) == list(range(taken, size + 1))
    mailbox.discard()


async def test_a_put_that_is_cancelled_still_comes_after_all_others() -> None:
    mailbox = Mailbox(1)
    await mailbox.put(batch(0))
    with anyio.move_on_after(0):
        await mailbox.put(batch(1))
    assert numbers(mailbox) == [0]
    mailbox.finish()
    assert numbers(mailbox) == [1]
    assert numbers(mailbox) == []
    mailbox.discard()


async def test_a_put_that_was_cancelled_can_be_made_good() -> None:
    mailbox = Mailbox(1)
    await mailbox.put(batch(0))
    with anyio.move_on_after(0):
        await mailbox.put(batch(1))
    with anyio.move_on_after(0):
        await mailbox.put_late()
    assert numbers(mailbox) == [0]
    await mailbox.put_late()
    await mailbox.put_late()
    assert numbers(mailbox) == [1]
    await mailbox.put(batch(2))
    mailbox.finish()
    assert numbers(mailbox) == [2]
    mailbox.discard()


async def test_a_wait_that_is_cancelled_leaves_no_trace() -> None:
    mailbox = Mailbox(1)
    with anyio.move_on_after(0):
        await mailbox.wait()
    mailbox.put_nowait(batch(0))
    assert numbers(mailbox) == [0]
    mailbox.discard()


async def test_a_wakeup_is_not_missed_before_it_is_awaited_and_may_come_twice() -> None:
    early, late, cancelled = (wakeups()() for _ in range(3))
    early.set()
    early.set()
    with anyio.fail_after(5):
        await early
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(awaited, late)
            await turns(3)
            late.set()
            late.set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(awaited, cancelled)
            await turns(3)
            tasks.cancel_scope.cancel()
        cancelled.set()


async def test_a_wakeup_in_the_tick_of_a_cancellation_wakes_once() -> None:
    for is_set_first in (True, False):
        wakeup = wakeups()()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(awaited, wakeup)
                await turns(3)
                if is_set_first:
                    wakeup.set()
                tasks.cancel_scope.cancel()
                wakeup.set()
                await turns(3)
                wakeup.set()


# --- whoever is cancelled, whenever ---


async def ticks(count: int) -> None:
    for _ in range(count):
        await checkpoint()


class Traffic:
    """One who puts, one who takes, at a random pace; a test cancels either."""

    def __init__(self, seed: int, size: int, total: int = 60) -> None:
        self.chance = random.Random(seed)
        self.mailbox = Mailbox(size)
        self.total = total
        self.begun = 0
        """How many batches were put, the one included that a cancellation met."""
        self.taken: list[int] = []

    async def put(self) -> None:
        """Put all that is left; may be cancelled, and called again."""
        await self.mailbox.put_late()
        while self.begun < self.total:
            await ticks(self.chance.choice((0, 0, 0, 1, 3)))
            number, self.begun = self.begun, self.begun + 1
            if not self.mailbox.put_nowait(batch(number)):
                await self.mailbox.put(batch(number))
        self.mailbox.finish()

    async def take(self) -> None:
        """Take until the end; may be cancelled, and called again."""
        while True:
            try:
                # No await between taking and recording.
                self.taken.append(int(self.mailbox.take_nowait()[1]))
            except anyio.WouldBlock:
                await self.mailbox.wait()
            except anyio.EndOfStream:
                return
            await ticks(self.chance.choice((0, 0, 0, 1, 3)))

    def check(self) -> None:
        self.mailbox.discard()
        assert self.taken == list(range(self.begun))


seeds = st.integers(0, 2**32)
sizes = st.integers(1, 6)


@given(seed=seeds, size=sizes, cuts=st.integers(0, 5))
async def test_cancel_scopes_lose_and_double_nothing(seed: int, size: int, cuts: int) -> None:
    traffic = Traffic(seed, size)
    scopes: dict[str, anyio.CancelScope] = {}

    async def in_scopes(name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do it again where it is cancelled; after the last cut, who puts gives up."""
        for turn in itertools.count(1):
            with anyio.CancelScope() as scopes[name]:
                await work()
                break
            if name == "put" and turn == cuts:
                traffic.mailbox.finish()
                break
        del scopes[name]

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(in_scopes, "put", traffic.put)
        task_group.start_soon(in_scopes, "take", traffic.take)
        await checkpoint()
        while scopes:
            await ticks(traffic.chance.choice((1, 1, 2, 5)))
            for name, scope in list(scopes.items()):
                if traffic.chance.random() < (0.7 if name == "take" else 0.3 if cuts else 0.0):
                    scope.cancel()
    traffic.check()
    assert cuts or len(traffic.taken) == traffic.total


@given(seed=seeds, size=sizes, cuts=st.integers(0, 5))
async def test_native_cancellation_loses_and_doubles_nothing(
    anyio_backend: tuple[str, object], seed: int, size: int, cuts: int
) -> None:
    if anyio_backend[0] != "asyncio":
        return
    traffic = Traffic(seed, size)
    work = {"put": traffic.put, "take": traffic.take}
    tasks = {name: asyncio.create_task(work[name]()) for name in work}
    cut = 0
    while tasks:
        await ticks(traffic.chance.choice((0, 1, 1, 2, 5)))
        for name, task in list(tasks.items()):
            if traffic.chance.random() < (0.5 if name == "take" else 0.2 if cuts else 0.0):
                task.cancel()
        await ticks(1)
        for name, task in list(tasks.items()):
            if not task.done():
                continue
            cut += name == "put" and task.cancelled()
            if not task.cancelled():
                del tasks[name]
            elif name == "put" and cut == cuts:
                traffic.mailbox.finish()
                del tasks[name]
            else:
                tasks[name] = asyncio.create_task(work[name]())
    traffic.check()
    assert cuts or len(traffic.taken) == traffic.total


async def test_a_cancellation_in_the_very_tick_of_delivery_loses_nothing(
    anyio_backend: tuple[str, object],
) -> None:
    if anyio_backend[0] != "asyncio":
        return
    for order in ("put first", "cancel first"):
        mailbox = Mailbox(2)
        taking = asyncio.create_task(mailbox.wait())
        await anyio.wait_all_tasks_blocked()
        if order == "put first":
            mailbox.put_nowait(batch(0))
        taking.cancel()
        if order == "cancel first":
            mailbox.put_nowait(batch(0))
        with suppress(asyncio.CancelledError):
            await taking
        assert numbers(mailbox) == [0]
        mailbox.discard()


async def test_a_cancellation_in_the_very_tick_of_room_loses_and_doubles_nothing(
    anyio_backend: tuple[str, object],
) -> None:
    if anyio_backend[0] != "asyncio":
        return
    for order in ("take first", "cancel first"):
        mailbox = Mailbox(1)
        mailbox.put_nowait(batch(0))
        putting = asyncio.create_task(mailbox.put(batch(1)))
        await anyio.wait_all_tasks_blocked()
        taken: list[int] = []
        if order == "take first":
            taken += numbers(mailbox)
        putting.cancel()
        if order == "cancel first":
            taken += numbers(mailbox)
        with suppress(asyncio.CancelledError):
            await putting
        mailbox.finish()
        assert taken + numbers(mailbox) == [0, 1]
        mailbox.discard()


# --- what counts as waiting ---


async def test_comments_do_not_fill_the_buffer(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream("http://a/", client=client, buffer=16) as events:
            for _ in range(6):
                for part in (b": ", b"x" * 16 * PLACE_SIZE, b"\n", b"\n"):
                    tap.put(part)
            for number in range(10):
                tap.put(b"data: %d\n\n" % number)
            with anyio.fail_after(5):
                while events.statistics().events_received < 10:  # noqa: ASYNC110 - nobody takes any
                    await checkpoint()
            assert events._mailbox._bytes < PLACE_SIZE
            assert [(await events.receive()).data for _ in range(10)] == [str(n) for n in range(10)]


async def test_what_an_event_took_to_come_counts_with_the_comments_in_it(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream("http://a/", client=client, buffer=16) as events:
            parts = [b": beat\n\n", b"data: ", b"x" * PLACE_SIZE, b"\n", b": beat\n", b"\n"]
            for part in parts:
                tap.put(part)
            while not events.statistics().events_received:  # noqa: ASYNC110 - nobody takes any
                await checkpoint()
            assert events._mailbox._bytes == len(b"".join(parts[1:]))


async def test_what_a_lost_connection_left_half_read_does_not_count(library: ModuleType) -> None:
    policy = anysse.ExponentialBackoff(initial=0.001)
    half, whole = stream_of(b"data: " + b"x" * PLACE_SIZE), held_stream(b"data: x\n\n")
    async with memory_client(library, half, whole) as client:
        async with anysse.open_stream("http://a/", client=client, buffer=16, retry=policy) as events:
            with anyio.fail_after(5):
                while not events.statistics().events_received:  # noqa: ASYNC110 - nobody takes any
                    await checkpoint()
            assert events._mailbox._bytes == len(b"data: x\n\n")
