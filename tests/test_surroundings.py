"""What goes on around streams: the machine's network comes and goes, and the machine sleeps and wakes."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from types import ModuleType
from typing import Any

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

import anysse
from anysse import ConnectError, StreamStatus, Timeouts
from anysse._http import Exchange
from anysse._sleep import time_asleep
from anysse._steering import NETWORK_FLOOR, PROBE_GRACE
from anysse._surroundings import SLEEP_CHECK
from anysse.network import NetworkChange
from tests.server import feed, held, serve
from tests.streams import (
    Answer,
    Recorder,
    Tap,
    held_stream,
    in_virtual_time,
    memory_client,
    stream_of,
    turns,
)

URL = "http://a.test/"
SLOW = anysse.ExponentialBackoff(initial=30.0, jitter=0, max_connect_retries=None)
LOOPBACK = frozenset({"127.0.0.1"})


class Machine:
    """The machine of a test: its network, and its sleep."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.watches = 0
        self._watchers: list[MemoryObjectSendStream[NetworkChange]] = []

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[MemoryObjectReceiveStream[NetworkChange]]:
        self.watches += 1
        send, receive = anyio.create_memory_object_stream[NetworkChange](100)
        self._watchers.append(send)
        try:
            with send, receive:
                yield receive
        finally:
            self._watchers.remove(send)
            self.watches -= 1

    def change(self, *, lost: frozenset[str] = frozenset(), is_back: bool = False) -> None:
        gained = frozenset({"192.0.2.7"}) if is_back else frozenset[str]()
        for watcher in self._watchers:
            watcher.send_nowait(NetworkChange(gained=gained, lost=lost, is_back=is_back))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr("anysse._surroundings.watch", made.watch)
    monkeypatch.setattr("anysse._surroundings.time_asleep", lambda: made.slept)
    return made


def following(client: Any, **options: Any) -> Any:
    return anysse.open_stream(URL, **{"client": client, "network": True, "retry": SLOW, **options})


def machine_streams(events: "anysse.EventStream") -> list[Any]:
    """Give what surroundings steer, to have something happen in this very tick."""
    return list(events._reader._surroundings._streams)  # type: ignore[union-attr]


def broken_off(*parts: bytes) -> Answer:
    """A stream whose connection is lost."""

    async def reset() -> None:
        raise OSError("reset by peer")

    return Answer(parts=parts, after=reset)


async def take(events: "anysse.EventStream", count: int) -> list[str]:
    texts: list[str] = []
    with anyio.fail_after(10):
        while len(texts) < count:
            texts.append((await events.receive()).data)
    return texts


# --- the network comes back ---


def test_a_stream_that_waits_tries_at_once_as_the_network_comes_back(
    library: ModuleType, machine: Machine
) -> None:
    async def main() -> None:
        answers = [broken_off(b"retry: 60000\nid: 7\ndata: x\n\n"), held_stream(b"data: y\n\n")]
        async with memory_client(library, *answers) as client:
            async with following(client) as events:
                assert await take(events, 1) == ["x"]
                await anyio.sleep(5)
                machine.change(lost=frozenset({"192.0.2.1"}))
                await anyio.sleep(5)
                assert events.status is StreamStatus.WAITING
                began = anyio.current_time()
                machine.change(is_back=True)
                assert await take(events, 1) == ["y"]
                assert anyio.current_time() == began
        assert client.sent[1].headers["last-event-id"] == "7"

    in_virtual_time(main)


def test_a_network_that_flaps_makes_no_storm(library: ModuleType, machine: Machine) -> None:
    async def main() -> None:
        times = []

        async def refuse(request: Any) -> Answer:
            times.append(anyio.current_time())
            return Answer(status=503)

        answers = [stream_of(b"data: x\n\n"), *[refuse] * 60]
        async with memory_client(library, *answers) as client:
            async with following(client) as events:
                assert await take(events, 1) == ["x"]
                began = anyio.current_time()
                while anyio.current_time() < began + 10:
                    await anyio.sleep(0.05)
                    machine.change(is_back=True)
                assert 15 <= len(times) <= 1 + 10 / NETWORK_FLOOR
                gaps = [after - before for before, after in pairwise(times)]
                assert min(gaps) == pytest.approx(NETWORK_FLOOR, abs=0.001)

    in_virtual_time(main)


def test_a_network_that_flaps_uses_up_no_retries(library: ModuleType, machine: Machine) -> None:
    async def main() -> None:
        retry = anysse.ExponentialBackoff(initial=1.0, jitter=0, max_retries=3)
        refusals = [Answer(status=503)] * 60
        async with memory_client(library, broken_off(b"data: x\n\n"), *refusals) as client:
            async with following(client, retry=retry) as events:
                assert await take(events, 1) == ["x"]
                for _ in range(20):
                    await anyio.sleep(0.5)
                    machine.change(is_back=True)
                assert len(client.sent) >= 15
                began = anyio.current_time()
                with pytest.raises(anysse.StatusError):
                    await events.receive()
                assert 6.5 <= anyio.current_time() - began <= 7.5  # 1, 2 and 4 s, as if nothing had been

    in_virtual_time(main)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([stream_of(b"retry: 60000\ndata: x\n\n")], id="after its end"),
        pytest.param(
            [stream_of(b"retry: 100\ndata: x\n\n"), Answer(status=503, headers=[("Retry-After", "60")])],
            id="after a refusal",
        ),
    ],
)
def test_a_server_that_asks_to_be_left_alone_is(
    library: ModuleType, machine: Machine, first: list[Answer]
) -> None:
    async def main() -> None:
        async with memory_client(library, *first, held_stream(b"data: y\n\n")) as client:
            async with following(client) as events:
                assert await take(events, 1) == ["x"]
                await anyio.sleep(30)
                for _ in range(20):
                    machine.change(is_back=True)
                    await anyio.sleep(1)
                assert len(client.sent) == len(first)
                machine.slept += 30  # which goes by as well
                with anyio.fail_after(SLEEP_CHECK + 0.5):
                    assert (await events.receive()).data == "y"

    in_virtual_time(main)


async def test_who_waits_in_line_as_the_network_comes_back_is_not_cut_later(machine: Machine) -> None:
    limits = anysse.StreamLimits(max_connections=1)
    may_answer = anyio.Event()

    async def script(connection: Any) -> None:
        await may_answer.wait()
        await feed("data: y\n\n")(connection)

    async with serve(held("data: x\n\n"), script) as server:
        async with anysse.StreamClient(server.url, limits=limits, network=True) as client:
            first, second = client.start(), client.start()
            await first.wait_for(StreamStatus.CONNECTED)
            await anyio.sleep(NETWORK_FLOOR + 0.1)  # as long as counts as stuck
            machine.change(is_back=True)
            await turns(20)
            first.disconnect()
            await server.requested(2)
            second.pause("hold")
            second.resume()
            may_answer.set()
            with anyio.fail_after(10):
                assert await second.wait() is StreamStatus.COMPLETED
        assert len(server.requests) == 2


def test_a_connection_whose_packets_were_lost_on_the_way_is_begun_anew(
    library: ModuleType, machine: Machine
) -> None:
    async def main() -> None:
        async def lost(request: Any) -> Answer:
            return await anyio.sleep_forever()  # type: ignore[return-value]

        answers = [stream_of(b"retry: 1000\ndata: x\n\n"), lost, held_stream(b"data: y\n\n")]
        async with memory_client(library, *answers) as client:
            async with following(client) as events:
                assert await take(events, 1) == ["x"]
                await events.wait_for(StreamStatus.CONNECTING)
                await anyio.sleep(0.2)
                machine.change(is_back=True)  # an attempt that has just begun knows of it
                await anyio.sleep(3)
                assert len(client.sent) == 2
                machine.change(is_back=True)
                assert await take(events, 1) == ["y"]
                assert (events.retry_count, events.statistics().retries) == (0, 0)

    in_virtual_time(main)


def test_a_server_that_takes_its_time_is_asked_anew_once(library: ModuleType, machine: Machine) -> None:
    async def main() -> None:
        async def slow(request: Any) -> Answer:
            await anyio.sleep(3)
            return held_stream(b"data: y\n\n")

        answers = [stream_of(b"retry: 1000\ndata: x\n\n"), slow, slow, slow]
        async with memory_client(library, *answers) as client:
            async with following(client) as events:
                assert await take(events, 1) == ["x"]
                await events.wait_for(StreamStatus.CONNECTING)
                for _ in range(20):
                    await anyio.sleep(1)
                    machine.change(is_back=True)
                assert await take(events, 1) == ["y"]
        assert len(client.sent) == 3

    in_virtual_time(main)


@pytest.mark.parametrize("resend", ["safe", "always"])
def test_a_prompt_on_its_way_is_not_begun_anew(library: ModuleType, machine: Machine, resend: str) -> None:
    async def main() -> None:
        async def slow(request: Any) -> Answer:
            await anyio.sleep(20)
            return stream_of(b"data: x\n\n")

        async with memory_client(library, slow, slow) as client:
            async with anyio.create_task_group() as tasks:

                async def change() -> None:
                    await anyio.sleep(5)
                    machine.change(is_back=True)

                tasks.start_soon(change)
                async with following(client, method="POST", resend=resend) as events:
                    assert await take(events, 1) == ["x"]
        assert len(client.sent) == 1

    in_virtual_time(main)


async def test_a_stream_that_is_paused_stays_so(library: ModuleType, machine: Machine) -> None:
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        async with following(client) as events:
            for mode in ("hold", "close"):
                events.pause(mode)
                machine.change(is_back=True)
                await turns(50)
                assert events.status is StreamStatus.PAUSED
    assert len(client.sent) == 1


async def test_a_connection_that_is_fine_is_left_alone(library: ModuleType, machine: Machine) -> None:
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        async with following(client) as events:
            machine.change(is_back=True, lost=LOOPBACK)  # whose address nobody knows here
            await turns(50)
            assert events.status is StreamStatus.CONNECTED


async def test_nothing_is_watched_unless_it_is_asked_for(library: ModuleType, machine: Machine) -> None:
    async with memory_client(library, held_stream()) as client:
        async with anysse.open_stream(URL, client=client):
            await turns(20)
            assert machine.watches == 0


# --- the local address is gone ---


@pytest.mark.parametrize("is_ours", [True, False], ids=["own transport", "httpx's"])
async def test_a_connection_whose_local_address_is_gone_is_made_anew_at_once(
    library: ModuleType, machine: Machine, is_ours: bool
) -> None:
    async with serve(held("id: 7\ndata: x\n\n"), held("data: y\n\n")) as server:
        transport = anysse.StreamingTransport() if is_ours else library.AsyncHTTPTransport()
        async with library.AsyncClient(transport=transport, timeout=5) as client:
            recorder = Recorder()
            async with anysse.open_stream(
                server.url, client=client, network=True, retry=SLOW, observers=[recorder]
            ) as events:
                assert await take(events, 1) == ["x"]
                machine.change(lost=frozenset({"192.0.2.1"}), is_back=True)
                await turns(50)
                assert events.status is StreamStatus.CONNECTED
                machine.change(lost=LOOPBACK)
                assert await take(events, 1) == ["y"]
                assert (events.retry_count, events.last_error) == (0, None)
        assert server.requests[1].headers["last-event-id"] == "7"
        assert recorder.of(anysse.AttemptFailed) == []


@pytest.mark.parametrize(
    ("place", "address"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("2001:db8::1", 80, 0, 0), "2001:db8::1"),
        (("fe80::1%eth0", 80, 0, 2), "fe80::1"),
        ("/run/socket", None),  # of a connection within the machine
        (None, None),
    ],
)
def test_a_local_address_is_one_that_a_change_may_name(
    library: ModuleType, place: object, address: str | None
) -> None:
    class NetworkStream:
        def get_extra_info(self, info: str) -> object:
            assert info == "client_addr"
            return place

    request = library.Request("GET", URL)
    response = library.Response(200, request=request, stream=library.ByteStream(b""))
    response.extensions["network_stream"] = NetworkStream()
    assert Exchange(response, None, (), ConnectError).local_address == address


async def test_a_prompt_whose_local_address_is_gone_is_an_error_at_once(machine: Machine) -> None:
    async with serve(held("data: x\n\n")) as server:
        async with anysse.open_stream(server.url, method="POST", network=True) as events:
            assert await take(events, 1) == ["x"]
            machine.change(lost=LOOPBACK)
            with pytest.raises(anysse.StreamDropped, match="given up for a new connection"):
                await take(events, 1)


async def test_what_is_held_is_closed_where_its_local_address_is_gone(machine: Machine) -> None:
    async with serve(held("id: 7\ndata: x\n\n"), held("data: y\n\n")) as server:
        async with anysse.open_stream(server.url, network=True) as events:
            assert await take(events, 1) == ["x"]
            events.pause("hold")
            machine.change(lost=LOOPBACK)
            await server.all_closed()
            assert events.status is StreamStatus.PAUSED
            events.resume()
            assert await take(events, 1) == ["y"]


async def test_a_prompt_that_is_held_is_an_error_on_resuming_where_its_local_address_is_gone(
    machine: Machine,
) -> None:
    async with serve(held("data: x\n\n")) as server:
        async with anysse.open_stream(server.url, method="POST", network=True) as events:
            assert await take(events, 1) == ["x"]
            events.pause()
            machine.change(lost=LOOPBACK)
            await turns(50)
            assert events.status is StreamStatus.PAUSED
            assert server.open_connections == 1
            events.resume()
            with pytest.raises(anysse.StreamDropped, match="given up for a new connection"):
                await take(events, 1)


async def test_what_was_received_is_delivered_before_its_connection_is_made_anew(machine: Machine) -> None:
    parts = [f"id: {number}\ndata: {number}\n\n" for number in range(9)]

    async def second(connection: Any) -> None:
        await connection.respond(200)
        for part in parts[int(connection.request.headers["last-event-id"]) + 1 :]:
            await connection.send(part)
        await connection.hang()

    async with serve(held(*parts), second) as server:
        async with anysse.open_stream(server.url, network=True, buffer=1) as events:
            await turns(100)
            machine.change(lost=LOOPBACK)
            await turns(100)
            assert await take(events, 9) == [str(number) for number in range(9)]


@pytest.mark.parametrize("is_hidden", [False, True])
async def test_a_prompt_is_not_sent_again_where_it_is_paused_just_then(
    machine: Machine, is_hidden: bool
) -> None:
    visibility = anysse.Visibility()
    async with serve(held("data: x\n\n")) as server:
        async with anysse.open_stream(
            server.url, method="POST", network=True, visibility=visibility
        ) as events:
            assert await take(events, 1) == ["x"]
            await anyio.wait_all_tasks_blocked()
            for stream in machine_streams(events):
                stream.addresses_are_gone(LOOPBACK)
            visibility.hide() if is_hidden else events.pause()
            await turns(50)
            visibility.show()
            events.resume()
            with pytest.raises(anysse.StreamDropped, match="given up for a new connection"):
                await take(events, 1)
        assert len(server.requests) == 1


async def test_a_prompt_whose_local_address_is_gone_is_delivered_as_far_as_it_came(machine: Machine) -> None:
    parts = [f"data: {number}\n\n" for number in range(4)]
    async with serve(held(*parts)) as server:
        async with anysse.open_stream(server.url, method="POST", network=True, buffer=1) as events:
            await turns(100)
            machine.change(lost=LOOPBACK)
            await turns(50)
            with pytest.raises(anysse.StreamDropped, match="given up for a new connection"):
                await take(events, 5)


async def test_the_address_of_an_earlier_connection_does_not_matter(machine: Machine) -> None:
    may_answer = anyio.Event()

    async def script(connection: Any) -> None:
        await may_answer.wait()
        await held("data: y\n\n")(connection)

    async with serve(feed("retry: 100\ndata: x\n\n"), script) as server:
        async with anysse.open_stream(server.url, network=True) as events:
            assert await take(events, 1) == ["x"]
            await server.requested(2)
            events.pause("hold")
            machine.change(lost=LOOPBACK)
            await turns(50)
            events.resume()
            may_answer.set()
            assert await take(events, 1) == ["y"]
        assert len(server.requests) == 2


# --- the machine sleeps ---


def test_a_connection_that_shows_no_life_after_sleep_is_made_anew(
    library: ModuleType, machine: Machine
) -> None:
    async def main() -> None:
        recorder = Recorder()
        answers = [held_stream(b"id: 7\ndata: x\n\n"), held_stream(b"data: y\n\n")]
        async with memory_client(library, *answers) as client:
            async with following(client, observers=[recorder]) as events:
                assert await take(events, 1) == ["x"]
                await anyio.sleep(100)
                began = anyio.current_time()
                machine.slept += 3600
                assert (await events.receive()).data == "y"
                assert anyio.current_time() - began <= SLEEP_CHECK + PROBE_GRACE + 0.1
                assert (events.retry_count, events.last_error) == (0, None)
                await anyio.sleep(100)
        assert client.sent[1].headers["last-event-id"] == "7"
        assert recorder.of(anysse.AttemptFailed) == []

    in_virtual_time(main)


def test_a_connection_that_shows_life_after_sleep_is_kept(library: ModuleType, machine: Machine) -> None:
    async def main() -> None:
        tap = Tap()
        async with memory_client(library, Answer(parts=tap)) as client:
            async with following(client) as events:
                await anyio.sleep(50 * SLEEP_CHECK + 1)  # between two looks at the clocks
                machine.slept += 3600
                await anyio.sleep(SLEEP_CHECK - 1 + PROBE_GRACE - 0.5)
                tap.put(b":\n")
                await anyio.sleep(250)
                assert events.status is StreamStatus.CONNECTED
        assert len(client.sent) == 1

    in_virtual_time(main)


@pytest.mark.parametrize("is_held_first", [True, False])
def test_a_connection_that_is_held_over_sleep_is_probed_on_resuming(
    library: ModuleType, machine: Machine, is_held_first: bool
) -> None:
    async def main() -> None:
        answers = [held_stream(b"id: 7\ndata: x\n\n"), held_stream(b"data: y\n\n")]
        async with memory_client(library, *answers) as client:
            async with following(client) as events:
                assert await take(events, 1) == ["x"]
                if is_held_first:
                    events.pause("hold")
                await anyio.sleep(50)
                machine.slept += 3600
                await anyio.sleep(SLEEP_CHECK + 1)
                events.pause("hold")
                await anyio.sleep(1000)
                assert events.status is StreamStatus.PAUSED
                events.resume()
                began = anyio.current_time()
                assert (await events.receive()).data == "y"
                assert anyio.current_time() - began <= PROBE_GRACE + 0.1

    in_virtual_time(main)


def test_sleep_cuts_a_wait_short(library: ModuleType, machine: Machine) -> None:
    async def main() -> None:
        answers = [broken_off(b"data: x\n\n"), held_stream(b"data: y\n\n")]
        async with memory_client(library, *answers) as client:
            async with following(client) as events:
                assert await take(events, 1) == ["x"]
                await anyio.sleep(10)
                machine.slept += 60
                began = anyio.current_time()
                assert await take(events, 1) == ["y"]
                assert anyio.current_time() - began <= SLEEP_CHECK

    in_virtual_time(main)


def test_a_prompt_is_not_given_up_for_sleep(library: ModuleType, machine: Machine) -> None:
    async def main() -> None:
        async with memory_client(library, held_stream(b"data: x\n\n")) as client:
            async with following(client, method="POST") as events:
                assert await take(events, 1) == ["x"]
                machine.slept += 3600
                await anyio.sleep(100)
                assert events.status is StreamStatus.CONNECTED

    in_virtual_time(main)


def test_a_slow_consumer_is_not_taken_for_a_dead_connection_after_sleep(
    library: ModuleType, machine: Machine
) -> None:
    async def main() -> None:
        parts = [f"data: {number}\n\n".encode() for number in range(5)]
        async with memory_client(library, held_stream(*parts)) as client:
            async with following(client, buffer=1) as events:
                await anyio.sleep(1)
                machine.slept += 3600
                await anyio.sleep(100)
                assert await take(events, 5) == list("01234")
                assert events.status is StreamStatus.CONNECTED

    in_virtual_time(main)


def test_less_than_a_second_is_no_sleep(library: ModuleType, machine: Machine) -> None:
    async def main() -> None:
        async with memory_client(library, held_stream(b"data: x\n\n")) as client:
            async with following(client) as events:
                for _ in range(60):
                    machine.slept += 0.9
                    await anyio.sleep(1.5 * SLEEP_CHECK)
                assert events.status is StreamStatus.CONNECTED

    in_virtual_time(main)


def test_how_long_the_machine_slept_is_what_its_clocks_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 <= time_asleep() <= time_asleep() + 1
    clocks = {11: 4000.0, 12: 1000.0, 13: 900.0, 14: 300.0}
    names = ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_UPTIME_RAW")
    for name, number in zip(names, clocks, strict=True):
        monkeypatch.setattr(time, name, number, raising=False)
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    assert time_asleep() == 3000.0
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert time_asleep() == 600.0  # as macOS has it
    monkeypatch.delattr(time, "CLOCK_UPTIME_RAW")
    assert time_asleep() == 0.0


# --- watching itself ---


async def test_watching_ends_with_the_stream(library: ModuleType, machine: Machine) -> None:
    async with memory_client(library, held_stream(), held_stream()) as client:
        async with following(client):
            await turns(20)
            assert machine.watches == 1
        assert machine.watches == 0
        async with anyio.create_task_group() as tasks:
            async with following(client, task_group=tasks) as events:
                await turns(20)
                assert machine.watches == 1
                await events.aclose()
                assert machine.watches == 0


async def test_streams_of_a_client_share_one_watch(library: ModuleType, machine: Machine) -> None:
    async with serve(*[held("data: x\n\n")] * 6) as server:
        async with anysse.StreamClient(server.url, method="GET", network=True) as client:
            requests = [client.start() for _ in range(3)]
            for request in requests:
                await request.wait_for(StreamStatus.CONNECTED)
            assert machine.watches == 1
            machine.change(lost=LOOPBACK)
            await server.requested(6)
            for request in requests:
                await request.wait_for(StreamStatus.CONNECTED)
            assert machine.watches == 1
        assert machine.watches == 0


async def test_a_stream_that_ended_is_told_of_nothing(library: ModuleType, machine: Machine) -> None:
    async with memory_client(library, stream_of(b"data: [DONE]\n\n"), held_stream()) as client:
        options: dict[str, Any] = {"client": client, "https_only": False, "network": True, "method": "GET"}
        async with anysse.StreamClient(URL, **options) as manager:
            await manager.send_request()
            request = manager.start()
            await request.wait_for(StreamStatus.CONNECTED)
            machine.change(is_back=True)
            await turns(20)
            assert request.is_connected


@pytest.mark.parametrize(
    ("error", "is_bug"), [(PermissionError("not in this sandbox"), False), (ValueError("a bug"), True)]
)
async def test_a_network_that_cannot_be_watched_breaks_no_stream(
    library: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    is_bug: bool,
) -> None:
    @asynccontextmanager
    async def refused() -> AsyncIterator[None]:
        raise error
        yield

    monkeypatch.setattr("anysse._surroundings.watch", refused)
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        with caplog.at_level(logging.WARNING, logger="anysse"):
            async with following(client) as events:
                assert await take(events, 1) == ["x"]
                await turns(20)
                assert events.status is StreamStatus.CONNECTED
    assert f"the network cannot be watched: {error}" in caplog.text
    assert ("Traceback" in caplog.text) is is_bug


async def test_the_exception_of_a_block_leaves_as_itself(library: ModuleType, machine: Machine) -> None:
    async with memory_client(library, held_stream(), Answer(status=404)) as client:
        with pytest.raises(ValueError, match="mine"):
            async with following(client):
                raise ValueError("mine")
        with pytest.raises(anysse.StatusError):
            async with following(client):
                raise AssertionError


async def test_the_real_network_can_be_followed(library: ModuleType) -> None:
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        async with following(client, timeouts=Timeouts(idle=60)) as events:
            assert await take(events, 1) == ["x"]
            await anyio.wait_all_tasks_blocked()
