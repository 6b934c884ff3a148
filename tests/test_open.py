"""Arguments that are about the stream, its lifetime, and what its callbacks see and may do."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import math
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from types import ModuleType
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup

import anysse
from anysse import StreamStatus, Timeouts
from anysse._intake import EndMark
from anysse._plan import default_kind
from tests.server import held, serve
from tests.streams import (
    Answer,
    Recorder,
    Tap,
    data_of,
    held_stream,
    in_virtual_time,
    memory_client,
    stream_of,
    turns,
)

URL = "http://a/"
QUICK = anysse.ExponentialBackoff(initial=0.1, jitter=0.0)


class Quiet(anysse.Observer):
    """Overrides nothing."""


class Half:
    """Looks on, and admits nobody."""

    def observe(self, fact: anysse.Fact, /) -> None: ...


class NoFunctions:
    observe = 5
    admit = 5


# --- arguments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *[("timeouts", value) for value in (-1, 0, math.nan, math.inf, "x", True, 10**400, 10**5000, [])],
        *[("kind", value) for value in ("FEED", "", 5, [], True)],
        *[("resend", value) for value in ("never", None, 5, [], True)],
        *[("oversize", value) for value in ("drop", None, 5, [])],
        *[("buffer", value) for value in (0, -1, True, 1.5, "1", None)],
        *[("max_event_size", value) for value in (0, -1, True, 1.5, "1", None)],
        *[("done", value) for value in (5, b"[DONE]", [])],
        *[("prepare", value) for value in (5, "x", [])],
        *[("accept_response", value) for value in (5, "x", [])],
        *[("on_comment", value) for value in (5, "x", [])],
        *[("retry", value) for value in (5, "x", [], 1.0)],
        *[("observers", value) for value in (5, None, Quiet(), [5], "x", [Half()], [NoFunctions()])],
        *[("task_group", value) for value in (5, "x", False, object())],
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_wrong_argument_is_named_at_the_call(argument: str, value: Any) -> None:
    client = memory_client(httpx)
    with pytest.raises(anysse.InvalidRequest) as caught:
        anysse.open_stream(URL, client=client, **{argument: value})
    assert caught.value.argument == argument
    assert str(caught.value).startswith(f"{argument}: must ")


@pytest.mark.parametrize("phase", ["connect", "response", "first_event", "idle", "total"])
@pytest.mark.parametrize("seconds", [-1, 0, math.nan, math.inf, "x", True, 10**400])
def test_wrong_timeouts_are_named(phase: str, seconds: Any) -> None:
    with pytest.raises(anysse.InvalidRequest) as caught:
        Timeouts(**{phase: seconds})
    assert caught.value.argument == f"timeouts.{phase}"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("timeouts", None),
        ("timeouts", 0.5),
        ("timeouts", 10**300),
        ("buffer", 1),
        ("buffer", 10**30),
        ("max_event_size", 1),
        ("done", ""),
        ("done", len),
        ("retry", None),
        ("retry", lambda failure: None),
        ("observers", ()),
        ("observers", {Quiet()}),
        ("observers", iter([Quiet()])),
        ("kind", None),
    ],
)
def test_what_is_right_is_taken(argument: str, value: Any) -> None:
    client = memory_client(httpx)
    anysse.open_stream(URL, client=client, **{argument: value})


@pytest.mark.parametrize(
    ("method", "done", "kind"),
    [("GET", None, "feed"), ("GET", "[DONE]", "reply"), ("POST", None, "reply"), ("HEAD", None, "reply")],
)
def test_what_a_stream_is_by_default(method: str, done: Any, kind: str) -> None:
    assert default_kind(method, done) == kind


async def test_a_methods_letter_case_does_not_count(library: ModuleType) -> None:
    answers = [stream_of(b"retry: 100\ndata: x\n\n"), stream_of(b"data: y\n\n"), Answer(status=204)]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, method="get", client=client) as events:
            assert await data_of(events) == ["x", "y"]
    assert [request.method for request in client.sent] == ["GET"] * 3


async def test_an_iterator_of_observers_is_read_once(library: ModuleType) -> None:
    recorders = [Recorder(), Recorder()]
    async with memory_client(library, held_stream()) as client:
        async with anysse.open_stream(URL, client=client, observers=iter(recorders)):
            pass
    for recorder in recorders:
        assert recorder.statuses == ["connecting", "connected", "idle"]


async def test_without_a_client_the_stream_has_its_own_of_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    async with serve(held("data: x\n\n")) as server:
        async with anysse.open_stream(server.url) as events:
            assert (await events.receive()).data == "x"
    agent = server.requests[0].headers.get("User-Agent")
    assert agent is not None
    assert agent.startswith("anysse/")


# --- entering and leaving ---------------------------------------------------------------------------------


@pytest.mark.parametrize("has_own_group", [True, False])
async def test_a_stream_is_entered_once(library: ModuleType, has_own_group: bool) -> None:
    async with memory_client(library, held_stream()) as client, anyio.create_task_group() as tasks:
        opening = anysse.open_stream(URL, client=client, task_group=None if has_own_group else tasks)
        async with opening:
            with pytest.raises(RuntimeError, match="entered once: call open_stream"):
                await opening.__aenter__()
        with pytest.raises(RuntimeError, match="entered once: call open_stream"):
            await opening.__aenter__()
    assert len(client.sent) == 1


async def test_nothing_is_sent_before_entering(library: ModuleType) -> None:
    async with memory_client(library) as client:
        anysse.open_stream(URL, client=client)
        await turns(10)
    assert client.sent == []


def mine_of(kind: str) -> BaseException:
    nested = ExceptionGroup("inner", [LookupError("two")])
    mine: dict[str, BaseException] = {
        "bare": LookupError("one"),
        "stop": StopAsyncIteration("mine"),
        "timeout": TimeoutError("mine"),
        "group": ExceptionGroup("mine", [LookupError("one")]),
        "nested": ExceptionGroup("mine", [LookupError("one"), nested]),
        "base": BaseExceptionGroup("mine", [GeneratorExit()]),
    }
    return mine[kind]


@pytest.mark.parametrize("kind", ["bare", "stop", "timeout", "group", "nested", "base"])
@pytest.mark.parametrize("has_own_group", [True, False])
async def test_the_exception_of_the_block_leaves_as_itself(
    library: ModuleType, kind: str, has_own_group: bool
) -> None:
    mine = mine_of(kind)
    answer = held_stream(b"data: x\n\n")
    async with memory_client(library, answer) as client, anyio.create_task_group() as tasks:
        with pytest.raises(type(mine)) as caught:  # noqa: PT012 - leaving is the point
            async with anysse.open_stream(
                URL, client=client, task_group=None if has_own_group else tasks
            ) as events:
                await events.receive()
                raise mine
    if isinstance(mine, BaseExceptionGroup):  # trio copies a group on its way
        assert isinstance(caught.value, BaseExceptionGroup)
        assert caught.value.message == "mine"
        assert [repr(error) for error in caught.value.exceptions] == [
            repr(error) for error in mine.exceptions
        ]
    else:
        assert caught.value is mine
        assert mine.__cause__ is None
    assert answer.is_closed


async def test_a_task_group_within_the_block_is_the_users_own(library: ModuleType) -> None:
    async def fail() -> None:
        raise LookupError("mine")

    async with memory_client(library, held_stream()) as client:
        with pytest.raises(ExceptionGroup) as caught:
            async with anysse.open_stream(URL, client=client), anyio.create_task_group() as tasks:
                tasks.start_soon(fail)
    assert [repr(error) for error in caught.value.exceptions] == ["LookupError('mine')"]


async def test_an_error_while_handling_another_keeps_its_context(library: ModuleType) -> None:
    async with memory_client(library, held_stream()) as client:
        with pytest.raises(LookupError) as caught:  # noqa: PT012 - leaving is the point
            async with anysse.open_stream(URL, client=client):
                try:
                    {}["first"]
                except KeyError:
                    raise LookupError("second")  # noqa: B904 - the context is what the test is about
    assert isinstance(caught.value.__context__, KeyError)


async def test_a_stream_that_does_not_open_raises_its_error_bare(library: ModuleType) -> None:
    async with memory_client(library, *[Answer(status=404)] * 2) as client:
        async with anyio.create_task_group() as tasks:
            for group in (None, tasks):
                with pytest.raises(anysse.StatusError) as caught:
                    async with anysse.open_stream(URL, client=client, task_group=group):
                        pytest.fail("entered")
                assert caught.value.url == URL


async def test_leaving_while_it_opens_sends_nothing_more(library: ModuleType) -> None:
    async def silent(request: Any) -> Answer:
        scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError

    async with memory_client(library, silent) as client:
        with anyio.CancelScope() as scope:
            async with anysse.open_stream(URL, client=client):
                pytest.fail("entered")
        assert scope.cancelled_caught


@pytest.mark.parametrize("has_own_group", [True, False])
async def test_leaving_before_the_reader_had_its_first_turn(library: ModuleType, has_own_group: bool) -> None:
    async with memory_client(library) as client, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with anysse.open_stream(URL, client=client, task_group=None if has_own_group else tasks):
                pytest.fail("entered")
        assert scope.cancelled_caught
    assert client.sent == []


# --- in the caller's task group ---------------------------------------------------------------------------


async def test_nothing_is_held_across_a_yield(library: ModuleType) -> None:
    answer = held_stream(b"data: x\n\ndata: y\n\n")

    async def proxied(tasks: TaskGroup) -> AsyncIterator[str]:
        async with anysse.open_stream(URL, client=client, task_group=tasks) as events:
            async for event in events:
                yield event.data

    async with memory_client(library, answer) as client, anyio.create_task_group() as tasks:
        async with aclosing(proxied(tasks)) as generator:
            # Entered in one scope, left in another: a scope held across the yield would not take that.
            with anyio.CancelScope():
                assert await anext(generator) == "x"
            with anyio.move_on_after(5):
                assert await anext(generator) == "y"
        assert answer.is_closed


async def test_the_end_of_a_stream_leaves_its_group_alone(library: ModuleType) -> None:
    async with memory_client(library, stream_of(b"data: x\n\n"), Answer(status=404)) as client:
        async with anyio.create_task_group() as tasks:
            async with anysse.open_stream(URL, client=client, task_group=tasks, retry=None) as events:
                assert await data_of(events) == ["x"]
            with pytest.raises(anysse.StatusError):
                async with anysse.open_stream(URL, client=client, task_group=tasks, retry=None):
                    pass
            assert not tasks.cancel_scope.cancel_called


async def test_a_group_that_is_cancelled_closes_its_stream(library: ModuleType) -> None:
    answer = held_stream(b"data: x\n\n")
    async with memory_client(library, answer) as client, anyio.create_task_group() as outer:
        own = await outer.start(hold_a_group)
        async with anysse.open_stream(URL, client=client, task_group=own) as events:
            assert (await events.receive()).data == "x"
            own.cancel_scope.cancel()
            with pytest.raises(anyio.ClosedResourceError):
                await events.receive()
            assert events.status is StreamStatus.IDLE
            with pytest.raises(anyio.ClosedResourceError):
                await events.wait_for(StreamStatus.CONNECTED)
            with pytest.raises(anyio.ClosedResourceError):
                events.reconnect_now()
        assert answer.is_closed


async def hold_a_group(*, task_status: anyio.abc.TaskStatus[TaskGroup]) -> None:
    async with anyio.create_task_group() as tasks:
        task_status.started(tasks)
        await anyio.sleep_forever()


async def test_a_group_that_is_cancelled_while_it_opens_ends_the_wait(library: ModuleType) -> None:
    async def silent(request: Any) -> Answer:
        own.cancel_scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError

    async with memory_client(library, silent) as client, anyio.create_task_group() as outer:
        own = await outer.start(hold_a_group)
        with pytest.raises(anyio.ClosedResourceError):
            async with anysse.open_stream(URL, client=client, task_group=own):
                pytest.fail("entered")


async def test_a_group_that_is_already_cancelled(library: ModuleType) -> None:
    async with memory_client(library) as client, anyio.create_task_group() as outer:
        own = await outer.start(hold_a_group)
        own.cancel_scope.cancel()
        with pytest.raises(anyio.ClosedResourceError):
            async with anysse.open_stream(URL, client=client, task_group=own):
                pytest.fail("entered")
    assert client.sent == []


async def test_a_group_that_is_closed_says_so(library: ModuleType) -> None:
    async with anyio.create_task_group() as closed:
        pass
    async with memory_client(library) as client:
        with pytest.raises(RuntimeError, match=r"(?i)active|closed"):
            async with anysse.open_stream(URL, client=client, task_group=closed):
                pytest.fail("entered")


# --- prepare ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
async def test_prepare_may_change_the_request(library: ModuleType, is_async: bool) -> None:
    seen: list[anysse.Attempt] = []

    def change(request: Any, attempt: anysse.Attempt) -> None:
        seen.append(attempt)
        request.headers["Authorization"] = f"token {attempt.number}"
        request.url = request.url.copy_merge_params({"since": attempt.last_event_id})

    async def change_later(request: Any, attempt: anysse.Attempt) -> None:
        await turns(3)
        change(request, attempt)

    answers = [Answer(status=503), stream_of(b"retry: 100\nid: 7\ndata: x\n\n"), held_stream(b"data: y\n\n")]
    prepare = change_later if is_async else change
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(
            URL, client=client, prepare=prepare, retry=QUICK, last_event_id="3"
        ) as events:
            assert [(await events.receive()).data for _ in range(2)] == ["x", "y"]
    assert [request.headers["authorization"] for request in client.sent] == ["token 1", "token 2", "token 3"]
    assert [request.url.query for request in client.sent] == [b"since=3", b"since=3", b"since=7"]
    assert [request.headers["last-event-id"] for request in client.sent] == ["3", "3", "7"]
    assert [attempt.number for attempt in seen] == [1, 2, 3]
    assert isinstance(seen[1].last_error, anysse.StatusError)
    assert (seen[0].last_error, seen[2].last_error) == (None, None)


@pytest.mark.parametrize("is_async", [False, True])
async def test_prepare_may_give_another_request(library: ModuleType, is_async: bool) -> None:
    """A reply that is resumed by another method: nothing of the first request is left."""

    def replace(request: Any, attempt: anysse.Attempt) -> Any:
        if attempt.number == 1:
            return None
        return library.Request("GET", f"http://a/replies/{attempt.last_event_id}")

    async def replace_later(request: Any, attempt: anysse.Attempt) -> Any:
        await turns(3)
        return replace(request, attempt)

    answers = [stream_of(b"retry: 100\nid: 7\ndata: x\n\n"), stream_of(b"data: [DONE]\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(
            URL,
            method="POST",
            json={},
            client=client,
            done="[DONE]",
            resend="always",
            prepare=replace_later if is_async else replace,
            retry=QUICK,
        ) as events:
            assert await data_of(events) == ["x"]
    first, second = client.sent
    assert (first.method, first.content) == ("POST", b"{}")
    assert (second.method, str(second.url), second.content) == ("GET", "http://a/replies/7", b"")


async def test_the_method_that_prepare_gives_decides_whether_to_send_again(library: ModuleType) -> None:
    def as_get(request: Any, attempt: anysse.Attempt) -> Any:
        return library.Request("GET", URL)

    def as_post(request: Any, attempt: anysse.Attempt) -> Any:
        return library.Request("POST", URL)

    async with memory_client(library, Answer(status=500), stream_of(b"data: x\n\n")) as client:
        async with anysse.open_stream(
            URL, method="POST", client=client, prepare=as_get, retry=QUICK
        ) as events:
            assert await data_of(events) == ["x"]
    async with memory_client(library, Answer(status=500)) as client:
        with pytest.raises(anysse.StatusError, match="resend"):
            async with anysse.open_stream(URL, client=client, prepare=as_post, retry=QUICK):
                pass


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("number", [1, 2])
async def test_what_prepare_raises_leaves_bare(library: ModuleType, is_async: bool, number: int) -> None:
    mine = LookupError("no token")

    def fail(request: Any, attempt: anysse.Attempt) -> None:
        if attempt.number == number:
            raise mine

    async def fail_later(request: Any, attempt: anysse.Attempt) -> None:
        await turns(3)
        fail(request, attempt)

    prepare = fail_later if is_async else fail
    async with memory_client(library, stream_of(b"retry: 100\ndata: x\n\n")) as client:
        with pytest.raises(LookupError) as caught:  # noqa: PT012 - it is raised on entering, or at the read
            async with anysse.open_stream(URL, client=client, prepare=prepare, retry=QUICK) as events:
                assert number == 2
                assert (await events.receive()).data == "x"
                await events.receive()
    assert caught.value is mine
    assert mine.__cause__ is None
    assert len(client.sent) == number - 1


async def test_a_401_asks_prepare_once_more(library: ModuleType) -> None:
    errors: list[Exception | None] = []

    def token(request: Any, attempt: anysse.Attempt) -> None:
        errors.append(attempt.last_error)
        request.headers["Authorization"] = f"token {attempt.number}"

    async with memory_client(library, *[Answer(status=401)] * 2) as client:
        with pytest.raises(anysse.StatusError) as caught:
            async with anysse.open_stream(URL, method="POST", client=client, prepare=token):
                pass
    assert caught.value.status_code == 401
    assert [request.headers["authorization"] for request in client.sent] == ["token 1", "token 2"]
    assert [type(error) for error in errors] == [type(None), anysse.StatusError]


async def test_a_401_asks_again_after_each_good_connection(library: ModuleType) -> None:
    good = b"retry: 100\ndata: x\n\n"
    answers = [Answer(status=401), stream_of(good), Answer(status=401), stream_of(good)]
    answers += [Answer(status=401), Answer(status=401)]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, prepare=lambda request, attempt: None) as events:
            assert [(await events.receive()).data for _ in range(2)] == ["x", "x"]
            with pytest.raises(anysse.StatusError):
                await events.receive()
    assert len(client.sent) == 6


async def test_a_401_is_final_without_prepare(library: ModuleType) -> None:
    async with memory_client(library, Answer(status=401)) as client:
        with pytest.raises(anysse.StatusError):
            async with anysse.open_stream(URL, client=client):
                pass
    assert len(client.sent) == 1


# --- when a request is sent again -------------------------------------------------------------------------

POST: dict[str, Any] = {"method": "POST", "json": {}}
KEYED: dict[str, Any] = {**POST, "headers": {"Idempotency-Key": "1"}}


async def broken_off(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise ConnectionResetError


def failure(kind: str) -> Any:
    """Give an answer that is one, or is cut off at some point."""

    async def at_once(request: Any) -> Answer:
        raise ConnectionResetError

    cuts: dict[str, Any] = {
        "503 later": Answer(status=503, headers=[("Retry-After", "0")]),
        "cut at once": at_once,
        "cut after the head": Answer(parts=broken_off()),
        "cut after an event": Answer(parts=broken_off(b"data: x\n\n")),
    }
    return cuts[kind] if kind in cuts else Answer(status=int(kind))


@pytest.mark.parametrize(
    ("kind", "arguments", "counts"),
    [
        ("408", POST, (2, 2, 2)),
        ("425", POST, (2, 2, 2)),
        ("429", POST, (2, 2, 2)),
        ("503 later", POST, (2, 2, 2)),
        ("503", POST, (1, 2, 2)),
        ("500", POST, (1, 2, 2)),
        ("500", KEYED, (2, 2, 2)),
        ("404", KEYED, (1, 1, 1)),
        ("cut at once", POST, (1, 2, 2)),
        ("cut at once", KEYED, (2, 2, 2)),
        ("cut after the head", POST, (1, 2, 2)),
        ("cut after the head", KEYED, (2, 2, 2)),
        ("cut after an event", POST, (1, 1, 2)),
        ("cut after an event", KEYED, (1, 1, 2)),
        ("cut after an event", {"method": "PUT"}, (1, 1, 2)),
        ("cut after an event", {}, (2, 2, 2)),
    ],
)
def test_how_often_a_request_is_sent(
    library: ModuleType, kind: str, arguments: dict[str, Any], counts: tuple[int, ...]
) -> None:
    async def sent(resend: str) -> int:
        answers = [failure(kind), stream_of(b"data: [DONE]\n\n")]
        async with memory_client(library, *answers) as client:
            with suppress(anysse.StreamError):
                async with anysse.open_stream(
                    URL, client=client, done="[DONE]", resend=resend, **arguments
                ) as events:
                    await data_of(events)
            return len(client.sent)

    async def main() -> None:
        assert tuple([await sent(resend) for resend in ("safe", "undelivered", "always")]) == counts

    in_virtual_time(main)


async def test_what_was_not_sent_at_all_is_sent_again(library: ModuleType) -> None:
    for name in ("ConnectError", "ConnectTimeout", "PoolTimeout"):
        async with memory_client(library, getattr(library, name)(""), stream_of(b"data: x\n\n")) as client:
            async with anysse.open_stream(URL, client=client, retry=QUICK, **POST) as events:
                assert await data_of(events) == ["x"]


# --- observers --------------------------------------------------------------------------------------------


async def test_admission_is_held_while_connected_and_not_while_waiting(library: ModuleType) -> None:
    log: list[str] = []

    class Gate(Recorder):
        @asynccontextmanager
        async def _turn(self, attempt: anysse.Attempt) -> AsyncIterator[None]:
            log.append(f"in {attempt.number}")
            await turns(2)
            try:
                yield
            finally:
                log.append(f"out {attempt.number}")

        def admit(self, attempt: anysse.Attempt, /) -> Any:
            return self._turn(attempt)

        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.StatusChanged):
                log.append(fact.status.value)

    answers = [stream_of(b"retry: 100\ndata: x\n\n"), Answer(status=503), held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, retry=QUICK, observers=[Gate()]) as events:
            assert [(await events.receive()).data for _ in range(2)] == ["x", "y"]
    assert log == [
        *("connecting", "in 1", "connected", "waiting", "out 1"),
        *("connecting", "in 2", "waiting", "out 2"),
        *("connecting", "in 3", "connected", "out 3", "idle"),
    ]


async def test_an_attempt_that_is_not_admitted_is_not_made(library: ModuleType) -> None:
    class Full(Quiet):
        def admit(self, attempt: anysse.Attempt, /) -> Any:
            raise LookupError("no more streams")

    async with memory_client(library) as client:
        with pytest.raises(LookupError, match="no more streams"):
            async with anysse.open_stream(URL, client=client, observers=[Quiet(), Full()]):
                pass
    assert client.sent == []


async def test_waiting_for_admission_is_no_timeout_of_the_response(library: ModuleType) -> None:
    may_go = anyio.Event()

    class Slow(Quiet):
        @asynccontextmanager
        async def _turn(self) -> AsyncIterator[None]:
            await may_go.wait()
            yield

        def admit(self, attempt: anysse.Attempt, /) -> Any:
            return self._turn()

    async def go(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        task_status.started()
        await anyio.sleep(0.1)
        may_go.set()

    async with memory_client(library, held_stream()) as client, anyio.create_task_group() as tasks:
        await tasks.start(go)
        async with anysse.open_stream(URL, client=client, observers=[Slow()], timeouts=0.02, retry=None):
            pass


async def test_observers_that_raise_are_logged_and_harmless(
    library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Quiet):
        def observe(self, fact: anysse.Fact, /) -> None:
            raise LookupError("mine")

    after = Recorder()
    answers = [stream_of(b"retry: 100\ndata: x\n\n"), Answer(status=503), held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, retry=QUICK, observers=[Broken(), after]) as events:
            assert [(await events.receive()).data for _ in range(2)] == ["x", "y"]
    problems = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(problems) == len(after.facts)
    assert {type(fact) for fact in after.facts} == {
        anysse.AttemptFailed,
        anysse.AttemptStarted,
        anysse.Connected,
        anysse.Ended,
        anysse.StatusChanged,
    }
    assert "an observer failed at StatusChanged" in problems[0].getMessage()


# --- facts, and where they are among the events -----------------------------------------------------------


def places(recorder: Recorder) -> list[tuple[str, int]]:
    """Give the facts in order, in short; a status by its word."""
    return [
        (
            fact.status.value if isinstance(fact, anysse.StatusChanged) else type(fact).__name__,
            fact.events_received,
        )
        for fact in recorder.facts
    ]


def test_each_fact_says_after_how_many_events_it_happened(library: ModuleType) -> None:
    async def main() -> None:
        recorder = Recorder()
        answers = [
            stream_of(b"data: 1\n\ndata: 2\n\n", b"data: 3\n\n"),
            Answer(status=503),
            stream_of(b"data: 4\n\ndata: [DONE]\n\ndata: 5\n\n"),
        ]
        async with memory_client(library, *answers) as client:
            async with anysse.open_stream(
                URL, client=client, kind="feed", done="[DONE]", observers=[recorder]
            ) as events:
                assert await data_of(events) == ["1", "2", "3", "4"]
        assert places(recorder) == [
            *(("connecting", 0), ("AttemptStarted", 0), ("connected", 0), ("Connected", 0)),
            *(("waiting", 3), ("AttemptFailed", 3)),  # it ended, and not with its done event
            *(("connecting", 3), ("AttemptStarted", 3), ("waiting", 3), ("AttemptFailed", 3)),
            *(("connecting", 3), ("AttemptStarted", 3), ("connected", 3), ("Connected", 3)),
            *(("DoneReceived", 4), ("completed", 4)),
        ]

    in_virtual_time(main)


async def test_the_end_of_a_connection_says_after_how_many_events_it_came(library: ModuleType) -> None:
    recorder = Recorder()
    async with memory_client(library, stream_of(b"data: 1\n\ndata: 2\n\n")) as client:
        async with anysse.open_stream(URL, client=client, kind="reply", observers=[recorder]) as events:
            await data_of(events)
    [fact] = recorder.of(anysse.Ended)
    assert (fact.events_received, fact.retry_in) == (2, None)


@pytest.mark.parametrize(("done", "place"), [("[DONE]", 3), (lambda event: event.data == "[DONE]", 4)])
async def test_the_done_event_is_told_with_its_place_in_the_middle_of_a_read(
    library: ModuleType, done: Any, place: int
) -> None:
    for mark, is_final in ((done, True), (EndMark(done=done, is_final=False), False)):
        recorder = Recorder()
        parts = [b"data: 1\n\n", b"data: 2\n\ndata: 3\n\ndata: [DONE]\n\ndata: 5\n\ndata: 6\n\n"]
        async with memory_client(library, stream_of(*parts)) as client:
            async with anysse.open_stream(URL, client=client, done=mark, observers=[recorder]) as events:
                count = len(await data_of(events))
        [fact] = recorder.of(anysse.DoneReceived)
        assert (fact.events_received, count) == (place, place + (0 if is_final else 2))


async def test_a_stream_that_ends_without_a_done_event_tells_of_none(library: ModuleType) -> None:
    recorder = Recorder()
    async with memory_client(library, stream_of(b"data: 1\n\n")) as client:
        async with anysse.open_stream(
            URL, client=client, done="[DONE]", retry=None, observers=[recorder]
        ) as events:
            with pytest.raises(anysse.StreamDropped):
                await data_of(events)
    assert recorder.of(anysse.DoneReceived) == []


def test_an_error_says_when_the_stream_tries_again(library: ModuleType) -> None:
    async def main() -> None:
        recorder = Recorder()
        retry = anysse.ExponentialBackoff(initial=2, factor=2, jitter=0, max_retries=2)
        async with memory_client(library, *[Answer(status=503)] * 3) as client:
            with pytest.raises(anysse.StatusError) as caught:
                async with anysse.open_stream(URL, client=client, retry=retry, observers=[recorder]):
                    pass
        failures = recorder.of(anysse.AttemptFailed)
        assert [fact.retry_in for fact in failures] == [2, 4, None]
        assert [fact.error.retry_in for fact in failures] == [2, 4, None]  # type: ignore[attr-defined]
        assert caught.value is failures[-1].error

    in_virtual_time(main)


def test_the_time_for_the_whole_stream_being_up_is_told_like_any_failure(library: ModuleType) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with memory_client(library, held_stream(b"data: 1\n\n")) as client:
            async with anysse.open_stream(
                URL, client=client, timeouts=Timeouts(total=60), observers=[recorder]
            ) as events:
                with pytest.raises(anysse.StreamTimeout) as caught:
                    await data_of(events)
        [fact] = recorder.of(anysse.AttemptFailed)
        assert (fact.error, fact.retry_in, fact.events_received) == (caught.value, None, 1)
        assert recorder.statuses[-1] == "error"

    in_virtual_time(main)


def fail(*arguments: Any) -> Any:
    raise LookupError("mine")


@pytest.mark.parametrize("name", ["prepare", "on_comment", "done", "retry"])
async def test_whatever_ends_the_stream_with_an_error_is_told(library: ModuleType, name: str) -> None:
    recorder = Recorder()
    async with memory_client(library, stream_of(b":\ndata: 1\n\n")) as client:
        with pytest.raises(LookupError):
            async with anysse.open_stream(
                URL, client=client, kind="feed", observers=[recorder], **{"done": "[DONE]", name: fail}
            ) as events:
                await data_of(events)
    [fact] = recorder.of(anysse.AttemptFailed)
    assert (type(fact.error), fact.retry_in) == (LookupError, None)


async def test_a_stream_that_is_closed_has_not_failed(library: ModuleType) -> None:
    recorder = Recorder()
    async with memory_client(library, held_stream()) as client:
        async with anysse.open_stream(URL, client=client, observers=[recorder]):
            pass
    assert recorder.of(anysse.AttemptFailed) == []
    assert recorder.statuses[-1] == "idle"


# --- time that is spent in admit() ------------------------------------------------------------------------


class Held(Recorder):
    """Holds each attempt back for so long."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self._seconds = list(seconds)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        await anyio.sleep(self._seconds.pop(0))
        yield

    def admit(self, attempt: anysse.Attempt, /) -> Any:
        return self._turn()


def test_who_is_held_back_is_not_slow(library: ModuleType) -> None:
    async def main() -> None:
        answers = [stream_of(b"data: 1\n\n"), held_stream(b"data: 2\n\n")]
        async with memory_client(library, *answers) as client:
            async with anysse.open_stream(
                URL,
                client=client,
                timeouts=Timeouts(connect=1, response=1, first_event=1, idle=100, total=20),
                observers=[Held(1000, 5000), Held(500, 0)],
            ) as events:
                assert anyio.current_time() == 1500
                assert [(await events.receive()).data for _ in range(2)] == ["1", "2"]
                connected_at = anyio.current_time()
                assert 6503 <= connected_at < 6505  # 3 s of waiting, and the jitter
                with pytest.raises(anysse.StreamTimeout) as caught:
                    await events.receive()
                assert caught.value.phase == "total"
                # What counts is all but the admission.
                assert anyio.current_time() == pytest.approx(1500 + 5000 + 20)

    in_virtual_time(main)


def test_a_stream_that_is_never_admitted_waits_for_ever(library: ModuleType) -> None:
    async def main() -> None:
        async with memory_client(library) as client:
            with anyio.move_on_after(1_000_000) as scope:
                async with anysse.open_stream(
                    URL, client=client, timeouts=Timeouts(total=1), observers=[Held(10**9)]
                ):
                    pass
        assert scope.cancelled_caught
        assert client.sent == []

    in_virtual_time(main)


def test_time_in_prepare_counts_towards_total(library: ModuleType) -> None:
    async def prepare(request: Any, attempt: anysse.Attempt) -> None:
        await anyio.sleep(1000)

    async def main() -> None:
        async with memory_client(library) as client:
            with pytest.raises(anysse.StreamTimeout):
                async with anysse.open_stream(
                    URL, client=client, timeouts=Timeouts(total=60), prepare=prepare, observers=[Held(100)]
                ):
                    pass
        assert anyio.current_time() == 160

    in_virtual_time(main)


# --- an end mark that need not be there, or need not be the end -------------------------------------------


MAYBE: Any = EndMark(done="[DONE]", is_required=False)
ON: Any = EndMark(done="[DONE]", is_final=False)


async def cut(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise OSError("gone")


MARKED = b"data: 1\n\ndata: [DONE]\n\ndata: 2\n\n"


async def test_an_end_without_a_mark_that_is_not_required_completes_the_stream(library: ModuleType) -> None:
    for data in (b"data: 1\n\n", b"data: 1\n\ndata: [DONE]\n\ndata: 2\n\n"):
        recorder = Recorder()
        async with memory_client(library, stream_of(data)) as client:
            async with anysse.open_stream(URL, client=client, done=MAYBE, observers=[recorder]) as events:
                assert await data_of(events) == ["1"]
                assert events.status is StreamStatus.COMPLETED
        assert len(recorder.of(anysse.DoneReceived)) == (b"DONE" in data)


async def test_a_cut_without_a_mark_that_is_not_required_is_a_cut(library: ModuleType) -> None:
    async with memory_client(library, Answer(parts=cut(b"data: 1\n\n"))) as client:
        async with anysse.open_stream(URL, client=client, done=MAYBE, retry=None) as events:
            with pytest.raises(anysse.StreamDropped):
                await data_of(events)


@pytest.mark.parametrize("kind", ["feed", "reply"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: stream_of(MARKED, b"data: 3\n\n"),
        lambda: Answer(parts=cut(MARKED, b"data: 3\n\n")),
        lambda: held_stream(MARKED, b"data: 3\n\n"),
        lambda: stream_of(MARKED, b"data: 3\n\n" + b"data: " + b"x" * 200),
    ],
    ids=["it ends", "it is cut", "it is silent", "it is too large"],
)
def test_whatever_ends_a_stream_after_its_mark_is_its_end(library: ModuleType, make: Any, kind: Any) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with memory_client(library, make()) as client:
            async with anysse.open_stream(
                URL,
                client=client,
                kind=kind,
                done=ON,
                max_event_size=100,
                timeouts=Timeouts(idle=50),
                observers=[recorder],
            ) as events:
                assert await data_of(events) == ["1", "2", "3"]
                assert (events.status, events.last_error) == (StreamStatus.COMPLETED, None)
        assert len(client.sent) == 1
        assert [fact.events_received for fact in recorder.of(anysse.DoneReceived)] == [1]
        assert [fact.events_received for fact in recorder.of(anysse.Ended)] == [3]
        assert recorder.of(anysse.AttemptFailed) == []

    in_virtual_time(main)


def test_the_time_being_up_after_its_mark_is_the_end_of_a_stream(library: ModuleType) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with memory_client(library, held_stream(MARKED)) as client:
            async with anysse.open_stream(
                URL, client=client, done=ON, timeouts=Timeouts(total=60), observers=[recorder]
            ) as events:
                assert await data_of(events) == ["1", "2"]
                assert anyio.current_time() == 60
        assert recorder.of(anysse.AttemptFailed) == []
        assert recorder.statuses[-1] == "completed"

    in_virtual_time(main)


async def test_a_new_connection_is_refused_after_the_mark(library: ModuleType) -> None:
    async with memory_client(library, held_stream(MARKED)) as client:
        async with anysse.open_stream(URL, client=client, kind="feed", resend="always", done=ON) as events:
            assert [(await events.receive()).data for _ in range(2)] == ["1", "2"]
            with pytest.raises(anysse.InvalidRequest):
                events.reconnect_now()
            assert events.status is StreamStatus.CONNECTED


async def test_a_restart_that_the_mark_overtakes_is_the_end(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, client=client, kind="feed", done=ON) as events:
            await turns(20)
            tap.put(MARKED)
            events.reconnect_now()  # in the tick in which it comes
            assert await data_of(events) == ["1", "2"]
            assert events.status is StreamStatus.COMPLETED
    assert len(client.sent) == 1


async def test_a_bug_after_the_mark_is_a_bug(library: ModuleType) -> None:
    recorder = Recorder()
    parts = [MARKED, b": 0\n\n"]
    async with memory_client(library, stream_of(*parts)) as client:
        async with anysse.open_stream(
            URL, client=client, done=ON, on_comment=fail, observers=[recorder]
        ) as events:
            with pytest.raises(LookupError):
                await data_of(events)
    assert len(recorder.of(anysse.AttemptFailed)) == 1
