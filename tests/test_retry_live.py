"""When a stream comes back, as its server sees it: not too soon, not all at once, no prompt twice.

The rules as values are in `test_retry.py` and `test_session.py`.
"""
# ruff: noqa: SIM117 - a server, and a stream in it: two lines read better than one.

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from itertools import pairwise
from types import ModuleType
from typing import Any, Final, TypeAlias

import anyio
import pytest

import anysse
from anysse import ExponentialBackoff, Failure, Timeouts
from anysse.testing import Connection, Script
from anysse.testing import SocketServer as Server
from tests.server import answer, event_stream, feed, held, serve
from tests.streams import (
    Answer,
    Recorder,
    at_full_speed,
    data_of,
    in_virtual_time,
    memory_client,
    stream_of,
)

pytestmark = pytest.mark.once

FLOOR: Final = 0.1
MANY: Final = 25
"""Attempts, to see that not one comes too soon."""
TICK: Final = 0.002
"""Seconds by which uvloop, whose clock ticks in milliseconds, may be early."""
DEADLINE: Final = 30.0
TRANSPORTS: Final = ("ours", "its own")

Break: TypeAlias = Callable[[Connection], Awaitable[None]]


def at_once(failure: Failure) -> float | None:
    """Try again as soon as possible, so many times."""
    return 0.0 if failure.retry_count < MANY - 1 else None


class Starts(anysse.Observer):
    """Notes when each attempt began."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def observe(self, fact: anysse.Fact, /) -> None:
        if isinstance(fact, anysse.AttemptStarted):
            self.times.append(anyio.current_time())


@asynccontextmanager
async def client_of(library: ModuleType, transport: str) -> AsyncIterator[Any]:
    options = {"transport": anysse.StreamingTransport(verify=False)} if transport == "ours" else {}
    async with library.AsyncClient(trust_env=False, verify=False, **options) as client:
        yield client


def gaps(times: Sequence[float]) -> list[float]:
    return [later - sooner for sooner, later in pairwise(times)]


# --- the floor --------------------------------------------------------------------------------------------


async def reset(connection: Connection) -> None:
    await connection.reset()


async def begin_and_reset(connection: Connection) -> None:
    await event_stream(connection, "retry: 0\n")
    await connection.reset()


HASTY: Final[dict[str, Script | None]] = {
    "it closes at once, and wishes no wait": feed("retry: 0\n\n"),
    "it closes after an event, and wishes no wait": feed("retry: 0\ndata: x\n\n"),
    "it resets the request": reset,
    "it resets the answer": begin_and_reset,
    "it is busy and does not say for how long": answer(503),
    "it is busy for no time": answer(503, {"Retry-After": "0"}),
    "nobody listens": None,
}
"""How a server may have its clients come back at full speed."""


async def test_no_two_attempts_are_closer_than_the_floor(
    library: ModuleType, anyio_backend_name: str
) -> None:
    starts: dict[str, list[float]] = {}
    arrivals: dict[str, list[float]] = {}

    async def be_hasty(name: str, script: Script | None) -> None:
        scripts = [] if script is None else [script] * (MANY - 1)
        observer = Starts()
        async with serve(*scripts, then=answer(204)) as server:
            if script is None:
                await server.refuse()
            request = library.Request("GET", server.url)
            with suppress(anysse.StreamError):
                async with anysse.open_stream(request, retry=at_once, observers=[observer]) as events:
                    await data_of(events)
            starts[name] = observer.times
            arrivals[name] = [request.time for request in server.requests]

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            for name, script in HASTY.items():
                tasks.start_soon(be_hasty, name, script)
    assert {name: len(times) for name, times in starts.items()} == dict.fromkeys(HASTY, MANY)
    assert {name: len(times) for name, times in arrivals.items()} == {
        name: 0 if script is None else MANY for name, script in HASTY.items()
    }
    closest = {name: min(gaps(times)) for name, times in starts.items()}
    closest |= {
        f"{name}, as the server sees it": min(gaps(times)) for name, times in arrivals.items() if times
    }
    assert {name: gap for name, gap in closest.items() if gap < FLOOR - TICK} == {}


@pytest.mark.parametrize("retry", [lambda failure: 0.0, ExponentialBackoff(initial=0, factor=1, jitter=0)])
def test_who_wishes_no_wait_comes_back_at_the_floor(library: ModuleType, retry: Any) -> None:
    async def main() -> None:
        failures = [stream_of(b"retry: 0\n\n"), Answer(status=503), library.ReadError(""), stream_of()]
        starts = Starts()
        async with memory_client(
            library, stream_of(b"data: x\n\n"), *failures * 6, Answer(status=204)
        ) as client:
            async with anysse.open_stream(
                "http://a", client=client, retry=retry, last_event_id="1", observers=[starts]
            ) as events:
                await data_of(events)
        # The first of them is after a clean end, and the server had set no other time than the default.
        first, *rest = gaps(starts.times)
        assert 3.0 <= first <= 4.5
        assert rest == pytest.approx([FLOOR] * len(failures) * 6)

    in_virtual_time(main)


# --- Retry-After ------------------------------------------------------------------------------------------

NOW: Final = 1_800_000_000.25
"""What the clock on the wall says where time is virtual: a quarter of a second into a date of HTTP's."""


@pytest.mark.parametrize("status", [503, 429])
@pytest.mark.parametrize(
    ("told", "seconds"),
    [("7", 7.0), ("120", 120.0), ("300", 300.0), (formatdate(NOW // 1 + 45, usegmt=True), 44.75)],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["while-opening", "later"])
def test_retry_after_is_used_in_full(
    library: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    told: str,
    seconds: float,
    is_first: bool,
) -> None:
    async def main() -> None:
        before = [] if is_first else [stream_of(b"retry: 100\ndata: x\n\n")]
        busy = Answer(status=status, headers=[("Retry-After", told)])
        starts = Starts()
        async with memory_client(library, *before, *[busy] * 3, Answer(status=204)) as client:
            # The longest wait of its own is far below what it is told.
            retry = ExponentialBackoff(initial=0.1, maximum=2.0)
            async with anysse.open_stream(
                "http://a", client=client, retry=retry, observers=[starts]
            ) as events:
                await data_of(events)
        waits = gaps(starts.times)[len(before) :]
        assert len(waits) == 3
        assert all(seconds <= wait <= seconds * 1.5 for wait in waits), waits

    monkeypatch.setattr(time, "time", lambda: NOW)
    in_virtual_time(main)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nobody_comes_back_before_the_time_that_the_server_told(
    library: ModuleType, transport: str
) -> None:
    early: dict[str, float] = {}

    async def be_told(client: Any, status: int, *, as_date: bool) -> None:
        told = 0.0

        async def busy(connection: Connection) -> None:
            nonlocal told
            told = time.time() // 1 + 2 if as_date else time.time() + 1
            value = formatdate(told, usegmt=True) if as_date else "1"
            await connection.respond(status, {"Retry-After": value}, b"")

        async def again(connection: Connection) -> None:
            early[f"{status}, {'date' if as_date else 'seconds'}"] = told - time.time()
            await connection.respond(204)

        async with serve(busy, again) as server:
            retry = ExponentialBackoff(initial=0.0, maximum=0.1, jitter=0.0)
            async with anysse.open_stream(server.url, client=client, retry=retry) as events:
                await data_of(events)

    with anyio.fail_after(DEADLINE):
        async with client_of(library, transport) as client, anyio.create_task_group() as tasks:
            for status in (503, 429):
                for as_date in (False, True):
                    tasks.start_soon(partial(be_told, client, status, as_date=as_date))
    assert len(early) == 4
    assert {name: seconds for name, seconds in early.items() if seconds > TICK} == {}


# --- a thousand clients -----------------------------------------------------------------------------------

CLIENTS: Final = 1_000


@pytest.fixture(
    params=[
        pytest.param(0, id="seed-0"),
        pytest.param(1, id="seed-1", marks=pytest.mark.slow),
        pytest.param(None, id="unseeded", marks=pytest.mark.slow),
    ]
)
def luck(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have jitter drawn by a seed, or by chance; nothing else is drawn by it afterwards."""
    state = random.getstate()
    random.seed(request.param)
    yield
    random.setstate(state)


def busiest(times: Sequence[float], window: float = 0.1) -> float:
    """Give the share of all that falls into the busiest so many seconds."""
    ordered, first, most = sorted(times), 0, 0
    for last, moment in enumerate(ordered):
        while ordered[first] < moment - window:
            first += 1
        most = max(most, last - first + 1)
    return most / len(ordered)


def told_of(times: Sequence[float]) -> str:
    """Say how many come back when, for a message and for a report."""
    return (
        f"{len(times)} from {min(times):.2f} s to {max(times):.2f} s, "
        f"{busiest(times):.1%} of them in the busiest 0.1 s, {busiest(times, 0.01):.1%} in the busiest 0.01 s"
    )


@dataclass(frozen=True, kw_only=True)
class Restart:
    """How a server restarts under its clients, and how they are to come back."""

    beginning: bytes = b""
    is_in_order: bool = False
    """Whether it ends what it was sending; else that is cut."""
    down_for: float = 0.0
    busy_for: float = 0.0
    """What each is told by a 503 as it comes back the first time."""
    back: tuple[float, float]
    """Between how many seconds after the restart they are to come back."""
    share: float
    """How many of them may do so in the same 0.1 s."""


RESTARTS: Final = [
    pytest.param(Restart(back=(1.0, 1.5), share=0.28), id="they-are-cut"),
    pytest.param(Restart(is_in_order=True, back=(3.0, 4.5), share=0.11), id="they-are-ended"),
    pytest.param(
        Restart(beginning=b"retry: 10000\n", back=(10.0, 15.0), share=0.05),
        id="they-are-cut-and-know-when-to-come",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        Restart(busy_for=5.0, back=(6.0, 9.0), share=0.08), id="they-are-sent-away", marks=pytest.mark.slow
    ),
    pytest.param(Restart(down_for=10.0, back=(10.0, 22.5), share=0.06), id="it-is-down-for-ten-seconds"),
]


@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.usefixtures("luck", "quiet")
def test_a_thousand_clients_do_not_come_back_in_one_instant(library: ModuleType, restart: Restart) -> None:
    async def main() -> None:
        times = await times_of_return(library, restart)
        told = told_of(times)
        first, last = restart.back
        assert len(times) == CLIENTS
        assert first <= min(times), told
        assert max(times) <= last, told
        assert busiest(times) <= restart.share, told

    in_virtual_time(main)


async def times_of_return(library: ModuleType, restart: Restart) -> list[float]:
    """Give how long after a restart each client comes whose request is answered."""
    restarted = anyio.Event()
    times: list[float] = []

    async def until_restart() -> AsyncIterator[bytes]:
        yield restart.beginning + b"data: x\n\n"
        await restarted.wait()
        if not restart.is_in_order:
            raise library.ReadError("")

    async def before(request: Any) -> Answer:
        return Answer(parts=until_restart())

    async def busy(request: Any) -> Answer:
        return Answer(status=503, headers=[("Retry-After", f"{restart.busy_for:.0f}")])

    async def after(request: Any) -> Answer:
        since = anyio.current_time() - began
        if since < restart.down_for:
            raise library.ConnectError("")
        times.append(since)
        return Answer(status=204)

    answers = [before] * CLIENTS + [busy] * (CLIENTS if restart.busy_for else 0) + [after] * CLIENTS * 9
    async with memory_client(library, *answers) as client, anyio.create_task_group() as tasks:
        for _ in range(CLIENTS):
            tasks.start_soon(read, "http://a", client)
        await anyio.sleep(1)
        began = anyio.current_time()
        restarted.set()
    return times


async def read(target: Any, client: Any = None, **options: Any) -> None:
    async with anysse.open_stream(target, client=client, **options) as events:
        await data_of(events)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
async def test_a_thousand_real_connections_do_not_come_back_in_one_instant(
    library: ModuleType, anyio_backend_name: str, record_property: Callable[[str, object], None]
) -> None:
    class Delays(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.AttemptFailed) and fact.retry_in is not None:
                delays.append(fact.retry_in)

    async def note(connection: Connection) -> None:
        times.append(connection.request.time - began)
        await connection.respond(204)

    delays: list[float] = []
    times: list[float] = []
    options = {"observers": [Delays()]}
    with anyio.fail_after(300), at_full_speed(anyio_backend_name):
        async with serve(*[held("data: x\n\n")] * CLIENTS, then=note) as server:
            async with anyio.create_task_group() as tasks:
                for _ in range(CLIENTS):
                    tasks.start_soon(partial(read, library.Request("GET", server.url), **options))
                await server.requested(CLIENTS)
                await anyio.sleep(1)  # until all have read their event: a reset takes away what was not
                began = anyio.current_time()
                for connection in server.connections:
                    await connection.reset()
    record_property("times", told_of(times))
    assert len(times) == CLIENTS
    assert min(times) >= 1.0 - TICK, told_of(times)
    # A machine that is busy with as many connections is late with some: what was decided tells of the spread.
    assert len(delays) == CLIENTS
    assert max(delays) - min(delays) >= 0.4, told_of(delays)
    assert busiest(delays) <= 0.3, told_of(delays)


# --- a prompt is never sent twice by accident -------------------------------------------------------------

RESENDS: Final = ("safe", "undelivered", "always")
GET: Final[dict[str, Any]] = {"method": "GET"}
POST: Final[dict[str, Any]] = {"method": "POST"}
KEYED: Final[dict[str, Any]] = {"method": "POST", "headers": {"Idempotency-Key": "1"}}
DONE: Final = feed("data: [DONE]\n\n")


@dataclass(frozen=True, kw_only=True)
class Breaking:
    """Where the first of two requests comes to grief, and how often each is then sent.

    Attributes:
        script: What its server does about the first request, where it comes to see that.
        post: How often a POST is tried, with each ``resend``.
        keyed: The same of one with an Idempotency-Key.
        seen: How many of two requests the server sees whole.
    """

    script: Script = DONE
    post: tuple[int, int, int]
    keyed: tuple[int, int, int]
    seen: int = 2


async def half_a_head(connection: Connection) -> None:
    await connection.write("HTTP/1.1 200 OK\r\nContent-")
    await connection.drop()


async def cut_after_the_head(connection: Connection) -> None:
    await event_stream(connection)
    await connection.drop()


async def cut_after_an_event(connection: Connection) -> None:
    await event_stream(connection, "data: x\n\n", "data: y")
    await connection.drop()


async def cut_after_a_comment(connection: Connection) -> None:
    await event_stream(connection, ": working on it\n\n")
    await connection.drop()


BREAKS: Final = {
    "refused": Breaking(post=(2, 2, 2), keyed=(2, 2, 2), seen=1),
    "no TLS": Breaking(post=(2, 2, 2), keyed=(2, 2, 2), seen=0),
    "sent in part": Breaking(post=(1, 2, 2), keyed=(2, 2, 2), seen=1),
    "no answer": Breaking(script=reset, post=(1, 2, 2), keyed=(2, 2, 2)),
    "no answer in time": Breaking(script=Connection.hang, post=(1, 2, 2), keyed=(2, 2, 2)),
    "half a head": Breaking(script=half_a_head, post=(1, 2, 2), keyed=(2, 2, 2)),
    "500": Breaking(script=answer(500), post=(1, 2, 2), keyed=(2, 2, 2)),
    "503": Breaking(script=answer(503), post=(1, 2, 2), keyed=(2, 2, 2)),
    "503, later": Breaking(script=answer(503, {"Retry-After": "0"}), post=(2, 2, 2), keyed=(2, 2, 2)),
    "429": Breaking(script=answer(429), post=(2, 2, 2), keyed=(2, 2, 2)),
    "the head came": Breaking(script=cut_after_the_head, post=(1, 2, 2), keyed=(2, 2, 2)),
    "a comment came": Breaking(script=cut_after_a_comment, post=(1, 2, 2), keyed=(2, 2, 2)),
    "an event came": Breaking(script=cut_after_an_event, post=(1, 1, 2), keyed=(1, 1, 2)),
    "it ended too soon": Breaking(script=feed("data: x\n\n"), post=(1, 1, 2), keyed=(1, 1, 2)),
}


class Pieces(AsyncIterator[bytes]):
    """A body of 20 kB, and what happens once some of it is sent; no generator: httpx leaves it open."""

    def __init__(self, between: Callable[[], Awaitable[object]] | None) -> None:
        self._between = between
        self._left = 20

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        if self._left == 18 and self._between is not None:
            await self._between()
        return b"x" * 1_000


def request_in_pieces(
    library: ModuleType, url: str, between: Callable[[], Awaitable[object]], options: dict[str, Any]
) -> Any:
    """Give a request with a body that can be read again, and is disturbed the first time."""
    disturbances = [between]

    class Body(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __aiter__(self) -> Pieces:
            return Pieces(disturbances.pop() if disturbances else None)

    headers = {**options.pop("headers", {}), "Content-Length": "20000"}
    request = library.Request(options.pop("method"), url, headers=headers)
    request.stream = Body()
    return request


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("where", BREAKS)
@pytest.mark.usefixtures("quiet")
async def test_a_prompt_is_sent_as_often_as_the_rule_has_it(
    library: ModuleType, anyio_backend_name: str, where: str, transport: str
) -> None:
    breaking = BREAKS[where]
    expected = {"GET": (2, 2, 2), "POST": breaking.post, "POST with a key": breaking.keyed}
    cases = {"GET": GET, "POST": POST, "POST with a key": KEYED}
    tries: dict[str, dict[str, int]] = {name: {} for name in cases}
    seen: dict[str, dict[str, int]] = {name: {} for name in cases}

    async def send(client: Any, name: str, resend: str) -> None:
        recorder = Recorder()
        async with serve(breaking.script, then=DONE) as server:
            options = {**cases[name], "resend": resend, "client": client, "observers": [recorder]}
            await send_into(library, where, server, options)
            tries[name][resend] = len(recorder.of(anysse.AttemptStarted))
            seen[name][resend] = len(server.requests)

    with anyio.fail_after(DEADLINE), at_full_speed(anyio_backend_name):
        async with client_of(library, transport) as client, anyio.create_task_group() as tasks:
            for name in cases:
                for resend in RESENDS:
                    tasks.start_soon(send, client, name, resend)
    in_order = {name: tuple(tries[name][resend] for resend in RESENDS) for name in cases}
    assert in_order == expected
    assert {name: tuple(seen[name][resend] for resend in RESENDS) for name in cases} == {
        name: tuple(max(0, count - 2 + breaking.seen) for count in counts)
        for name, counts in expected.items()
    }


def once(failure: Failure) -> float | None:
    return 0.0 if failure.retry_count == 0 else None


async def send_into(library: ModuleType, where: str, server: Server, options: dict[str, Any]) -> None:
    """Send a request that breaks there the first time."""

    async def listen_the_second_time(request: Any, attempt: anysse.Attempt) -> None:
        if attempt.number == 2:
            await server.listen_again()

    async def reset_one() -> None:
        await server.until(lambda: server.open_connections > 0)
        await server.connections[-1].reset()

    async def reset_each() -> None:
        while True:
            await reset_one()

    url: Any = server.url
    arguments = {**options}
    async with anyio.create_task_group() as tasks:
        if where == "refused":
            await server.refuse()
            arguments["prepare"] = listen_the_second_time
        elif where == "no TLS":
            url = url.replace("http:", "https:")
            tasks.start_soon(reset_each)
        elif where == "sent in part":
            url = request_in_pieces(library, url, reset_one, arguments)
        elif where == "no answer in time":
            arguments["timeouts"] = Timeouts(response=2.0)
        with suppress(anysse.StreamError):
            await read(url, done="[DONE]", retry=once, **arguments)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_prompt_on_a_connection_that_served_before_is_sent_once(
    library: ModuleType, transport: str
) -> None:
    """A server that closes such a connection may have seen the request, or not: it cannot be told."""
    async with serve(DONE, reset, then=DONE) as server, client_of(library, transport) as client:
        with anyio.fail_after(DEADLINE):
            await read(server.url, client, method="POST", done="[DONE]")
            await server.all_idle()
            with pytest.raises(anysse.StreamDropped):
                await read(server.url, client, method="POST", done="[DONE]")
        assert len(server.requests) == 2
        assert len(server.connections) == 1
