"""A client within limits: requests line up in their order, and wait on nobody's time."""

import time

import anyio
import httpx
import pytest

import anysse
from anysse import StreamClient, StreamLimits, StreamStatus
from anysse.testing import SocketServer as Server
from tests.server import feed, held, serve
from tests.streams import Answer, held_stream, in_virtual_time, memory_client, stream_of, turns

URL = "https://a/"


class Starts(anysse.Observer):
    """Remembers which requests were sent, in order, and when."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.times: list[float] = []

    def observe(self, fact: anysse.Fact, /) -> None:
        if isinstance(fact, anysse.AttemptStarted):
            self.names.append(fact.url.rpartition("/")[2])
            self.times.append(anyio.current_time())


async def all_ended(requests: list[anysse.StreamRequest]) -> None:
    for request in requests:
        assert await request.wait() is StreamStatus.COMPLETED


def test_a_hundred_requests_go_out_as_the_token_bucket_says_and_in_order() -> None:
    async def main() -> None:
        starts, limits = Starts(), StreamLimits(max_requests_per_second=20, burst=5)
        async with (
            memory_client(httpx, *[stream_of() for _ in range(100)]) as http,
            StreamClient(URL, client=http, limits=limits, observers=[starts]) as client,
        ):
            begin = anyio.current_time()
            await all_ended([client.start(path=str(number)) for number in range(100)])
        assert starts.names == [str(number) for number in range(100)]
        gaps = [max(0, number - 4) / 20 for number in range(100)]
        assert [moment - begin for moment in starts.times] == pytest.approx(gaps)
        assert starts.times[-1] - begin == pytest.approx(4.75)

    in_virtual_time(main)


@pytest.mark.slow
async def test_a_hundred_requests_take_that_long_in_real_time() -> None:
    starts, limits = Starts(), StreamLimits(max_requests_per_second=20, burst=5)
    async with (
        serve(then=feed("data: x\n\n")) as server,
        StreamClient(server.url, limits=limits, observers=[starts]) as client,
    ):
        begin = time.monotonic()
        await all_ended([client.start(path=str(number)) for number in range(100)])
        assert time.monotonic() - begin == pytest.approx(4.75, rel=0.1)
    assert starts.names == [str(number) for number in range(100)]


async def test_so_many_are_connected_at_a_time_and_the_others_follow_in_order() -> None:
    starts, limits = Starts(), StreamLimits(max_connections=2)
    async with (
        serve(then=held("data: x\n\n")) as server,
        StreamClient(server.url, limits=limits, observers=[starts]) as client,
    ):
        requests = [client.start(path=str(number)) for number in range(5)]
        for number, request in enumerate(requests):
            await request.wait_for(StreamStatus.CONNECTED)
            await until_held_back(server, limits, sent=min(number + 2, 5))
            request.disconnect()
            assert await request.wait() is StreamStatus.IDLE
        assert starts.names == ["0", "1", "2", "3", "4"]
    assert (limits.connections, limits.waiting) == (0, 0)


async def until_held_back(server: Server, limits: StreamLimits, *, sent: int) -> None:
    """Wait until all that may be sent was, and see that no more is."""
    await server.requested(sent)
    await turns(10)
    assert limits.connections <= 2
    assert len(server.requests) == sent


async def test_without_limits_there_are_none() -> None:
    """Not that of an HTTP client, either."""
    async with serve(then=held("data: x\n\n")) as server, StreamClient(server.url) as client:
        requests = [client.start() for _ in range(120)]
        for request in requests:
            await request.wait_for(StreamStatus.CONNECTED)
        assert len(server.connections) == 120


async def test_a_loop_takes_its_place_as_it_is_entered() -> None:
    limits = StreamLimits(max_connections=1)
    async with (
        serve(held("data: 1\n\n"), feed("data: 2\n\n")) as server,
        StreamClient(server.url, limits=limits) as client,
    ):
        later = client.stream(path="later")
        async with client.stream(path="first") as messages:
            assert await messages.receive() == 1
            second = client.start(path="second")
            assert (limits.connections, limits.waiting) == (1, 1)
        await second.wait()
        with pytest.raises(anysse.StatusError):
            await later.__aenter__()
    assert [request.path for request in server.requests] == ["/first", "/second", "/later"]


async def test_limits_are_shared_between_clients() -> None:
    limits = StreamLimits(max_connections=1)
    async with (
        serve(held("data: 1\n\n"), feed("data: 2\n\n")) as server,
        StreamClient(server.url, limits=limits) as one,
        StreamClient(server.url, limits=limits) as other,
    ):
        first = one.start()
        await first.wait_for(StreamStatus.CONNECTED)
        second = other.start()
        await turns(20)
        assert (len(server.requests), limits.waiting) == (1, 1)
        one.disconnect()
        assert await second.wait() is StreamStatus.COMPLETED


def test_waiting_counts_towards_no_timeout() -> None:
    async def main() -> None:
        limits = StreamLimits(max_connections=1)
        timeouts = anysse.Timeouts(connect=1, response=2, first_event=3, idle=4, total=5)
        async with (
            memory_client(httpx, held_stream(b"data: 1\n\n"), stream_of(b"data: 2\n\n")) as http,
            StreamClient(URL, client=http, limits=limits) as client,
        ):
            holder = client.start()
            waiter = client.start(timeouts=timeouts)
            await anyio.sleep(1000)
            assert (holder.status, waiter.status) == (StreamStatus.CONNECTED, StreamStatus.CONNECTING)
            holder.disconnect()
            assert await waiter.wait() is StreamStatus.COMPLETED

    in_virtual_time(main)


def test_a_reconnection_passes_the_rate_limit_and_a_backoff_holds_no_slot() -> None:
    async def main() -> None:
        starts, limits = Starts(), StreamLimits(max_connections=1, max_requests_per_second=0.1)
        busy = Answer(status=503, headers=[("Retry-After", "0")])
        retry = anysse.ExponentialBackoff(initial=1, jitter=0)
        async with (
            memory_client(httpx, busy, stream_of(b"data: 1\n\n"), stream_of(b"data: 2\n\n")) as http,
            StreamClient(URL, client=http, limits=limits, retry=retry, observers=[starts]) as client,
        ):
            begin = anyio.current_time()
            await all_ended([client.start(path="refused"), client.start(path="other")])
        assert starts.names == ["refused", "other", "refused"]
        assert [moment - begin for moment in starts.times] == pytest.approx([0, 10, 20])

    in_virtual_time(main)


@pytest.mark.parametrize("cut", ["disconnect", "cancel"])
async def test_waiting_can_be_cut_short_and_holds_nobody_up(cut: str) -> None:
    limits = StreamLimits(max_connections=1)
    async with (
        serve(held("data: 1\n\n"), feed("data: 3\n\n")) as server,
        StreamClient(server.url, limits=limits) as client,
        anyio.create_task_group() as tasks,
    ):
        holder = client.start(path="holder")
        await holder.wait_for(StreamStatus.CONNECTED)
        tasks.start_soon(send, client, scope := anyio.CancelScope())
        while len(client.requests) < 2:
            await turns(1)
        third = client.start(path="third")
        await turns(10)
        assert limits.waiting == 2
        if cut == "cancel":
            scope.cancel()
        else:
            client.requests[1].disconnect()
        while limits.waiting > 1:
            await turns(1)
        holder.disconnect()
        assert await third.wait() is StreamStatus.COMPLETED
    assert [request.path for request in server.requests] == ["/holder", "/third"]
    assert (limits.connections, limits.waiting) == (0, 0)


async def send(client: StreamClient, scope: anyio.CancelScope) -> None:
    with scope:
        await client.send_request(path="second")


async def test_one_that_never_comes_to_its_first_attempt_leaves_the_line() -> None:
    """Disconnected in the very tick in which it was started, or for another one's sake."""
    limits = StreamLimits(max_connections=1)
    async with serve(then=feed("data: x\n\n")) as server:
        async with StreamClient(server.url, limits=limits, exclusive=True) as client:
            requests = [client.start(path=str(number)) for number in range(4)]
            assert [await request.wait() for request in requests] == ["idle", "idle", "idle", "completed"]
        async with StreamClient(server.url, limits=limits) as client:
            for _ in range(3):
                client.start().disconnect()
            assert await client.send_request(path="last") is StreamStatus.COMPLETED
    assert [request.path for request in server.requests] == ["/3", "/last"]
    assert (limits.connections, limits.waiting) == (0, 0)


async def test_leaving_the_client_leaves_the_line() -> None:
    limits = StreamLimits(max_connections=1)
    async with serve(held("data: 1\n\n")) as server:
        async with StreamClient(server.url, limits=limits) as client:
            requests = [client.start() for _ in range(3)]
            await requests[0].wait_for(StreamStatus.CONNECTED)
        assert [await request.wait() for request in requests] == ["idle"] * 3
    assert (limits.connections, limits.waiting, len(server.requests)) == (0, 0, 1)
