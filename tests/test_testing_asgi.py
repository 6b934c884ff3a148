"""`StreamingASGITransport`: a response comes as the application sends it, which hears of the disconnect."""

import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import ModuleType
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import anysse
from anysse.testing._asgi import StreamingASGITransport
from tests.server import EVENT_STREAM
from tests.streams import data_of, in_virtual_time, turns
from tests.test_transport import Pieces, Strike, nothing_left
from tests.test_transport import strike as strike

URL = "http://test/events"
QUICK = anysse.ExponentialBackoff(initial=0.1, jitter=0.0)
DEADLINE = 30.0


@pytest.fixture(autouse=True)
def no_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server that ended in this process left to sse-starlette is no business of these."""
    monkeypatch.setattr(AppStatus, "should_exit", False)


class App:
    """An application that answers each request with a function of its own, and remembers what it was told."""

    def __init__(self, answer: "Callable[[App], Awaitable[None]]") -> None:
        self.answer = answer
        self.scopes: list[Any] = []
        self.receive: Any
        self._send: Any
        self.taken = 0
        self.ended = anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http", "no lifespan"
        self.scopes.append(scope)
        self.receive, self._send = receive, send
        try:
            await self.answer(self)
        finally:
            self.ended.set()

    async def start(self, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
        headers = headers or ((b"content-type", EVENT_STREAM.encode()),)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, data: bytes, *, more_body: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more_body})
        self.taken += 1

    async def sent(self, message: dict[str, Any]) -> None:
        await self._send(message)


def client_of(library: ModuleType, app: Any, timeout: float | None = DEADLINE, **options: Any) -> Any:
    return library.AsyncClient(transport=StreamingASGITransport(app, **options), timeout=timeout)


def body_of(response: Any) -> Any:
    """Give the body without the library's generators around it, which trio wants to see to their end."""
    return aiter(response.stream._stream)


@asynccontextmanager
async def answering(library: ModuleType, answer: Any, **options: Any) -> AsyncIterator[tuple[Any, App]]:
    """Give a client whose requests a function answers."""
    app = App(answer)
    with anyio.fail_after(DEADLINE):
        async with client_of(library, app, **options) as client:
            yield client, app


async def two_events(app: App) -> None:
    await app.start()
    await app.send(b"data: one\n\n")
    await app.send(b"data: two\n\n", more_body=False)


async def endless(app: App) -> None:
    await app.start()
    await endless_body(app)


async def endless_body(app: App) -> None:
    while True:
        await app.send(b"data: x\n\n")


async def idle(app: App) -> None:
    """Send nothing after the first event, and wait for the disconnect."""
    await app.start()
    await app.send(b"id: 1\ndata: x\n\n")
    while (await app.receive())["type"] != "http.disconnect":
        pass


async def silent(app: App) -> None:
    while (await app.receive())["type"] != "http.disconnect":
        pass


# --- what it is -------------------------------------------------------------------------------------------


def test_it_is_a_transport_of_both_libraries(library: ModuleType) -> None:
    transport = StreamingASGITransport(App(silent))
    assert isinstance(transport, httpx.AsyncBaseTransport)
    assert isinstance(transport, library.AsyncBaseTransport)


@pytest.mark.parametrize("options", [{"app": None}, {"spec_version": "3"}, {"grace": 0}])
def test_an_argument_that_is_none_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(anysse.InvalidRequest, match=next(iter(options))):
        StreamingASGITransport(**{"app": App(silent), **options})


async def test_a_client_that_is_not_entered_is_told_what_to_do(library: ModuleType) -> None:
    client = client_of(library, App(silent))
    with pytest.raises(RuntimeError, match="enter the client"):
        await client.get(URL)


async def test_one_that_was_left_is_told_so_too(library: ModuleType) -> None:
    transport = StreamingASGITransport(App(silent))
    async with transport:
        client = library.AsyncClient(transport=transport)
    with pytest.raises(RuntimeError, match="enter the client"):
        await client.get(URL)


async def test_a_stream_of_a_client_that_is_not_entered_is_told_so_too(library: ModuleType) -> None:
    client = client_of(library, App(silent))
    with pytest.raises(RuntimeError, match="enter the client"):
        async with anysse.open_stream(URL, client=client) as events:
            await events.receive()


@pytest.mark.parametrize("url", ["ftp://test/", "/events"])
async def test_a_url_that_is_not_http_is_the_librarys_own_error(library: ModuleType, url: str) -> None:
    async with answering(library, silent) as (client, _):
        with pytest.raises(library.UnsupportedProtocol):
            await client.get(url)


async def test_it_may_be_entered_within_itself_and_again(library: ModuleType) -> None:
    transport = StreamingASGITransport(App(two_events))
    for _ in range(2):
        async with transport:
            for _ in range(2):
                async with library.AsyncClient(transport=transport) as client:
                    assert (await client.get(URL)).text == "data: one\n\ndata: two\n\n"


async def test_the_application_is_told_all_of_the_request(library: ModuleType) -> None:
    options: Any = {"root_path": "/api", "client": ("10.0.0.1", 5)}
    async with answering(library, two_events, **options) as (client, app):
        await client.get("https://test/a%20b%2Fc?x=%20y", headers=[("X-One", "1"), ("x-one", "2")])
        await client.get("http://test:81/")
    scope, other = app.scopes
    headers = scope.pop("headers")
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/a b/c",
        "raw_path": b"/a%20b%2Fc",
        "query_string": b"x=%20y",
        "root_path": "/api",
        "client": ("10.0.0.1", 5),
        "server": ("test", 443),
        "state": {},
        "extensions": {},
    }
    assert [value for name, value in headers if name == b"x-one"] == [b"1", b"2"]
    assert (b"host", b"test") in headers
    assert other["server"] == ("test", 81)


async def test_the_application_sees_the_context_of_the_request(library: ModuleType) -> None:
    who = contextvars.ContextVar("who", default="nobody")

    async def answer(app: App) -> None:
        await app.start()
        await app.send(who.get().encode(), more_body=False)

    async with answering(library, answer) as (client, _):
        who.set("me")
        assert (await client.get(URL)).text == "me"


# --- the response, as it is sent --------------------------------------------------------------------------


async def test_the_head_comes_before_the_body(library: ModuleType) -> None:
    gate = anyio.Event()

    async def answer(app: App) -> None:
        await app.start(201, (b"x-one", b"1"), (b"x-one", b"2"))
        await gate.wait()
        await app.send(b"late", more_body=False)

    async with answering(library, answer) as (client, _), client.stream("GET", URL) as response:
        assert response.status_code == 201
        assert response.headers.get_list("x-one") == ["1", "2"]
        assert response.http_version == "HTTP/1.1"
        gate.set()
        assert await response.aread() == b"late"


async def test_each_message_is_a_piece_and_an_empty_one_is_none(library: ModuleType) -> None:
    async def answer(app: App) -> None:
        await app.start()
        for piece in (b"", b"one", b"", memoryview(b"two"), b""):
            await app.send(piece)
        await app.send(b"three", more_body=False)

    async with answering(library, answer) as (client, _), client.stream("GET", URL) as response:
        assert [piece async for piece in response.aiter_raw()] == [b"one", b"two", b"three"]


async def test_send_waits_until_the_reader_took_the_piece(library: ModuleType) -> None:
    async with answering(library, endless) as (client, app), client.stream("GET", URL) as response:
        pieces = body_of(response)
        for taken in range(3):
            await turns(20)
            assert app.taken == taken
            await anext(pieces)


async def test_the_last_piece_is_held_for_the_reader(library: ModuleType) -> None:
    async def answer(app: App) -> None:
        await app.start()
        await app.send(b"x", more_body=False)

    async with answering(library, answer) as (client, app), client.stream("GET", URL) as response:
        await app.ended.wait()
        assert await response.aread() == b"x"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_what_has_no_body_has_none(library: ModuleType, method: str, status: int) -> None:
    async def answer(app: App) -> None:
        await app.start(status)
        await app.send(b"not seen")
        await app.send(b"nor this", more_body=False)

    async with answering(library, answer) as (client, _):
        assert (await client.request(method, URL)).content == b""


async def test_a_head_of_an_endless_stream_ends_it(library: ModuleType) -> None:
    async with answering(library, endless) as (client, app):
        assert (await client.head(URL)).content == b""
        await app.ended.wait()


async def test_a_second_reader_is_told(library: ModuleType) -> None:
    async with answering(library, idle) as (client, _), client.stream("GET", URL) as response:
        body = body_of(response)
        await anext(body)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_to_the_end_of, body)
            await turns(10)
            with pytest.raises(anyio.BusyResourceError):
                await anext(body)
            tasks.cancel_scope.cancel()


async def read_to_the_end_of(body: Any) -> None:
    async for _ in body:
        pass


async def test_many_requests_are_answered_at_the_same_time(library: ModuleType) -> None:
    arrived = 0
    all_here = anyio.Event()

    async def answer(app: App) -> None:
        nonlocal arrived
        send, arrived = app._send, arrived + 1
        if arrived == 5:
            all_here.set()
        await all_here.wait()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x"})

    async with answering(library, answer) as (client, _), anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(client.get, URL)


# --- the request ------------------------------------------------------------------------------------------


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        await checkpoint()
        yield piece


async def request_of(app: App) -> list[tuple[bytes, bool]]:
    messages = []
    while True:
        message = await app.receive()
        assert message["type"] == "http.request"
        messages.append((message["body"], message["more_body"]))
        if not message["more_body"]:
            return messages


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (None, [(b"", False)]),
        (b"whole", [(b"whole", False)]),
        ([b"one", b"two"], [(b"one", True), (b"two", True), (b"", False)]),
    ],
)
async def test_the_body_of_the_request_comes_in_the_pieces_that_it_is_of(
    library: ModuleType, content: Any, messages: list[tuple[bytes, bool]]
) -> None:
    seen = []

    async def answer(app: App) -> None:
        seen.extend(await request_of(app))
        await two_events(app)

    async with answering(library, answer) as (client, _):
        await client.post(URL, content=pieces_of(*content) if isinstance(content, list) else content)
    assert seen == messages


async def test_a_body_need_be_no_generator(library: ModuleType) -> None:
    class Body(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __aiter__(self) -> AsyncIterator[bytes]:
            return Pieces(b"one", b"two")

    seen = []

    async def answer(app: App) -> None:
        seen.extend(await request_of(app))
        await two_events(app)

    async with answering(library, answer) as (client, _):
        await client.send(library.Request("POST", URL, stream=Body()))
    assert seen == [(b"one", True), (b"two", True), (b"", False)]


async def test_a_body_comes_back_while_it_is_sent(library: ModuleType) -> None:
    async def answer(app: App) -> None:
        await app.start()
        more = True
        while more:
            message = await app.receive()
            more = message["more_body"]
            await app.send(message["body"], more_body=more)

    said = anyio.create_memory_object_stream[bytes](0)

    async with answering(library, answer) as (client, _), said[0], said[1]:

        async def ask() -> AsyncIterator[bytes]:
            yield b"one"
            assert await said[1].receive() == b"one"
            yield b"two"

        async with client.stream("POST", URL, content=ask()) as response:
            pieces = response.aiter_raw()
            await said[0].send(await anext(pieces))
            assert [piece async for piece in pieces] == [b"two"]


async def test_an_answer_that_waits_for_no_body_leaves_its_generator_in_order(library: ModuleType) -> None:
    closed = []

    async def ask() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    class Body(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __aiter__(self) -> AsyncIterator[bytes]:
            return ask()

    async with answering(library, two_events) as (client, _):
        request = client.build_request("POST", URL, content=b"")
        request.stream = Body()
        assert (await client.send(request)).status_code == 200
    assert closed == [True]


class OfTheClient(Exception):
    """What is wrong with the client."""


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("begins", [True, False])
async def test_a_body_that_raises_leaves_as_itself(library: ModuleType, begins: bool, raises: bool) -> None:
    async def answer(app: App) -> None:
        await app.receive()
        if begins:
            await app.start()
            await app.send(b"x")
        assert (await app.receive())["type"] == "http.disconnect"

    async def fail() -> None:
        raise OfTheClient

    async with answering(library, answer, raise_app_exceptions=raises) as (client, app):
        with pytest.raises(OfTheClient):
            await client.post(URL, content=Pieces(b"x", then=fail))
        await app.ended.wait()


# --- the disconnect ---------------------------------------------------------------------------------------


async def read_one(client: Any) -> None:
    async with client.stream("GET", URL) as response:
        await anext(body_of(response))


async def test_receive_tells_of_a_response_that_is_closed_however_often_it_is_asked(
    library: ModuleType,
) -> None:
    async def answer(app: App) -> None:
        await idle(app)
        for _ in range(3):
            assert await app.receive() == {"type": "http.disconnect"}

    async with answering(library, answer) as (client, app):
        await read_one(client)
        await app.ended.wait()


async def test_receive_tells_of_the_end_of_the_response(library: ModuleType) -> None:
    told = []

    async def answer(app: App) -> None:
        await two_events(app)
        told.append(await app.receive())

    async with answering(library, answer) as (client, app):
        await client.get(URL)
        await app.ended.wait()
    assert told == [{"type": "http.disconnect"}]


async def test_receive_can_be_asked_in_a_cancelled_scope_and_loses_nothing(library: ModuleType) -> None:
    """As Starlette's `is_disconnected()` does."""
    told = []

    async def asked(app: App) -> Any:
        with anyio.CancelScope() as scope:
            scope.cancel()
            return await app.receive()
        return None

    async def answer(app: App) -> None:
        told.append(await asked(app))
        assert (await app.receive())["type"] == "http.request"
        told.append(await asked(app))
        await app.start()
        with suppress(OSError):
            await endless_body(app)
        told.append(await asked(app))

    async with answering(library, answer) as (client, app):
        await read_one(client)
        await app.ended.wait()
    assert told == [None, None, {"type": "http.disconnect"}]


@pytest.mark.parametrize("send", [b"x", b""])
async def test_send_to_a_client_that_is_gone_raises_an_os_error(library: ModuleType, send: bytes) -> None:
    raised = []

    async def answer(app: App) -> None:
        await idle(app)
        try:
            await app.send(send)
        except OSError as exc:
            raised.append(exc)
            raise

    async with answering(library, answer) as (client, app):
        await read_one(client)
        await app.ended.wait()
    assert len(raised) == 1


async def test_a_send_that_waits_raises_it_too(library: ModuleType) -> None:
    async with answering(library, endless) as (client, app):
        await read_one(client)
        await app.ended.wait()


async def test_before_2_4_send_does_nothing_then(library: ModuleType) -> None:
    async def answer(app: App) -> None:
        await idle(app)
        await app.send(b"x")
        await app.send(b"x", more_body=False)

    async with answering(library, answer, spec_version="2.3") as (client, app):
        await read_one(client)
        await app.ended.wait()
        assert app.scopes[0]["asgi"]["spec_version"] == "2.3"


async def test_a_request_that_is_given_up_is_a_disconnect(library: ModuleType) -> None:
    async with answering(library, silent) as (client, app):
        with anyio.move_on_after(0.01):
            await client.get(URL)
        await app.ended.wait()


async def test_a_reading_that_is_cancelled_is_a_disconnect(library: ModuleType) -> None:
    async with answering(library, idle) as (client, app), client.stream("GET", URL) as response:
        pieces = body_of(response)
        await anext(pieces)
        with anyio.move_on_after(0.01):
            await anext(pieces)
        await app.ended.wait()


def in_virtual_time_over(library: ModuleType, answer: Any, main: Any, **options: Any) -> None:
    async def run() -> None:
        async with answering(library, answer, **options) as (client, app):
            await main(client, app)

    in_virtual_time(run)


def test_a_head_that_does_not_come_is_a_read_timeout(library: ModuleType) -> None:
    async def main(client: Any, app: App) -> None:
        began = anyio.current_time()
        with pytest.raises(library.ReadTimeout, match="no head"):
            await client.get(URL)
        assert anyio.current_time() - began == pytest.approx(5.0)
        await app.ended.wait()

    in_virtual_time_over(library, silent, main, timeout=5.0)


def test_a_piece_that_does_not_come_is_a_read_timeout(library: ModuleType) -> None:
    async def main(client: Any, app: App) -> None:
        began = anyio.current_time()
        with pytest.raises(library.ReadTimeout, match="nothing"):
            await client.get(URL)
        assert anyio.current_time() - began == pytest.approx(5.0)
        await app.ended.wait()

    in_virtual_time_over(library, idle, main, timeout=5.0)


# --- what applications do wrong ---------------------------------------------------------------------------


class Crash(Exception):
    """What an application raises that crashes."""


async def crash(app: App) -> None:
    raise Crash


async def crash_with_the_head(app: App) -> None:
    await app.start()
    raise Crash


async def answer_500_and_crash(app: App) -> None:
    """As Starlette does."""
    await app.start(500)
    await app.send(b"sorry", more_body=False)
    raise Crash


async def crash_in_mid_body(app: App) -> None:
    await app.start()
    await app.send(b"data: x\n\n")
    raise Crash


async def crash_at_the_end(app: App) -> None:
    await two_events(app)
    raise Crash


async def say_nothing(app: App) -> None:
    pass


async def stop_in_mid_body(app: App) -> None:
    await app.start()
    await app.send(b"data: x\n\n")


@pytest.mark.parametrize("answer", [crash, crash_with_the_head, answer_500_and_crash])
async def test_what_it_raises_for_a_head_leaves_from_the_request(library: ModuleType, answer: Any) -> None:
    async with answering(library, answer) as (client, _):
        with pytest.raises(Crash):
            async with client.stream("GET", URL):
                pytest.fail("there is no response")


@pytest.mark.parametrize("answer", [crash_in_mid_body, crash_at_the_end])
async def test_what_it_raises_later_leaves_from_the_body(library: ModuleType, answer: Any) -> None:
    async with answering(library, answer) as (client, _), client.stream("GET", URL) as response:
        body = body_of(response)
        assert await anext(body) in (b"data: one\n\n", b"data: x\n\n")
        with pytest.raises(Crash):
            await read_to_the_end_of(body)


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (crash, 500, "Internal Server Error"),
        (say_nothing, 500, "Internal Server Error"),
        (answer_500_and_crash, 500, "sorry"),
        (crash_at_the_end, 200, "data: one\n\ndata: two\n\n"),
    ],
)
async def test_a_client_can_be_given_what_a_server_gives(
    library: ModuleType, answer: Any, status: int, text: str
) -> None:
    async with answering(library, answer, raise_app_exceptions=False) as (client, _):
        response = await client.get(URL)
        assert (response.status_code, response.text) == (status, text)


@pytest.mark.parametrize("answer", [crash_with_the_head, crash_in_mid_body, stop_in_mid_body])
async def test_a_client_can_be_given_a_body_that_is_cut(library: ModuleType, answer: Any) -> None:
    async with answering(library, answer, raise_app_exceptions=False) as (client, _):
        with pytest.raises(library.RemoteProtocolError):
            await client.get(URL)


@pytest.mark.parametrize(
    ("answer", "problem"), [(say_nothing, "without a response"), (stop_in_mid_body, "in the middle")]
)
async def test_a_response_that_is_none_is_an_error_that_says_so(
    library: ModuleType, answer: Any, problem: str
) -> None:
    async with answering(library, answer) as (client, _):
        with pytest.raises(RuntimeError, match=problem):
            await client.get(URL)


START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body"}


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([BODY], RuntimeError),
        ([START, START], RuntimeError),
        ([{"type": "websocket.accept"}], RuntimeError),
        ([START, BODY, BODY], RuntimeError),
        ([{**START, "status": "200"}], TypeError),
        ([{**START, "headers": [("x", b"y")]}], TypeError),
        ([{**START, "headers": [(b"x", "y")]}], TypeError),
    ],
)
async def test_a_message_that_is_out_of_place_is_the_applications_error(
    library: ModuleType, messages: list[Any], error: type[Exception]
) -> None:
    async def answer(app: App) -> None:
        for message in messages:
            await app.sent(message)

    async with answering(library, answer) as (client, _):
        with pytest.raises(error):
            await client.get(URL)


async def crash_once_alone(app: App) -> None:
    await idle(app)
    raise Crash


async def read_times(library: ModuleType, count: int, then: Exception | None = None) -> None:
    async with answering(library, crash_once_alone) as (client, _):
        for _ in range(count):
            await read_one(client)
        if then is not None:
            raise then


async def test_what_no_request_can_have_leaves_from_leaving(library: ModuleType) -> None:
    with pytest.raises(Crash):
        await read_times(library, 1)


async def test_several_of_them_leave_as_a_group(library: ModuleType) -> None:
    with pytest.raises(ExceptionGroup, match="application") as raised:
        await read_times(library, 2)
    assert [type(error) for error in raised.value.exceptions] == [Crash, Crash]


async def test_an_error_of_the_block_comes_first(library: ModuleType) -> None:
    with pytest.raises(OfTheClient):
        await read_times(library, 1, OfTheClient())


async def test_what_comes_of_the_disconnect_is_no_error(library: ModuleType) -> None:
    async def answer(app: App) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(endless, app)

    async with answering(library, answer) as (client, app):
        await read_one(client)
        await app.ended.wait()


# --- its life ---------------------------------------------------------------------------------------------


async def deaf(app: App) -> None:
    """Send, and never hear of the disconnect."""
    await app.start()
    await app.send(b"x")
    await anyio.sleep_forever()


def test_leaving_gives_who_is_deaf_to_it_some_time_and_no_more(library: ModuleType) -> None:
    left = []

    async def main(client: Any, app: App) -> None:
        await read_one(client)
        await turns(10)
        assert not app.ended.is_set()
        left.append(anyio.current_time())

    in_virtual_time_over(library, deaf, main, grace=3.0)

    async def run() -> None:
        async with answering(library, deaf, grace=3.0) as (client, app):
            await read_one(client)
            began = anyio.current_time()
        assert app.ended.is_set()
        assert anyio.current_time() - began == pytest.approx(3.0)

    in_virtual_time(run)


async def test_leaving_tells_who_still_reads_and_who_waits(library: ModuleType) -> None:
    errors = []

    async def ask(client: Any) -> None:
        try:
            await client.get(URL)
        except library.ReadError as exc:
            errors.append(str(exc))

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            for answer in (idle, silent):
                app = App(answer)
                async with StreamingASGITransport(app) as transport:
                    client = library.AsyncClient(transport=transport)
                    tasks.start_soon(ask, client)
                    await turns(30)
    assert [error.partition(" ")[0] for error in errors] == ["the", "the"]


async def test_a_cancellation_from_without_reaches_the_application_as_a_disconnect(
    library: ModuleType,
) -> None:
    told = []

    async def answer(app: App) -> None:
        await idle(app)
        await turns(10)
        told.append("disconnect")

    async with anyio.create_task_group() as tasks:
        with suppress(anyio.get_cancelled_exc_class()):
            async with answering(library, answer) as (client, _), client.stream("GET", URL) as response:
                pieces = body_of(response)
                await anext(pieces)
                tasks.cancel_scope.cancel()
                await anext(pieces)
    assert told == ["disconnect"]


class Lifely:
    """An application that knows its lifespan."""

    def __init__(self, *script: str) -> None:
        self.script = script
        self.told: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send(START)
            await send({**BODY, "body": scope["state"].get("db", "none").encode()})
            return
        scope["state"]["db"] = "ready"
        for step in self.script:
            if step == "crash":
                raise Crash
            if step == "hang":
                await anyio.sleep_forever()
            if step == "receive":
                self.told.append((await receive())["type"])
            else:
                await send({"type": step, "message": "no database"})


UP = ("receive", "lifespan.startup.complete", "receive")


async def test_the_application_is_started_and_shut_down(library: ModuleType) -> None:
    app = Lifely(*UP, "lifespan.shutdown.complete")
    async with client_of(library, app) as client:
        assert app.told == ["lifespan.startup"]
        assert (await client.get(URL)).text == "ready"
    assert app.told == ["lifespan.startup", "lifespan.shutdown"]


async def test_the_application_is_not_where_that_is_not_wanted(library: ModuleType) -> None:
    app = Lifely("crash")
    async with client_of(library, app, lifespan=False) as client:
        assert (await client.get(URL)).text == "none"


@pytest.mark.parametrize("script", [(), ("crash",), ("http.response.start",), ("receive", "crash")])
async def test_an_application_that_knows_no_lifespan_is_fine(
    library: ModuleType, script: tuple[str, ...]
) -> None:
    async with client_of(library, Lifely(*script)) as client:
        assert (await client.get(URL)).status_code == 200


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (("receive", "lifespan.startup.failed"), RuntimeError),
        (("receive", "lifespan.startup.failed", "receive", "receive"), RuntimeError),
        (("receive", "lifespan.startup.failed", "crash"), Crash),
    ],
)
async def test_a_startup_that_fails_is_an_error_of_entering(
    library: ModuleType, script: tuple[str, ...], error: type[Exception]
) -> None:
    client = client_of(library, Lifely(*script))
    with pytest.raises(error, match="no database" if error is RuntimeError else None):
        await client.__aenter__()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ((*UP, "lifespan.shutdown.failed"), RuntimeError),
        ((*UP, "lifespan.shutdown.failed", "crash"), Crash),
        ((*UP, "crash"), Crash),
    ],
)
async def test_a_shutdown_that_fails_is_an_error_of_leaving(
    library: ModuleType, script: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        async with client_of(library, Lifely(*script)):
            pass


def test_a_shutdown_that_hangs_is_cancelled(library: ModuleType) -> None:
    async def run() -> None:
        async with client_of(library, Lifely(*UP, "hang")):
            began = anyio.current_time()
        assert anyio.current_time() - began == pytest.approx(10.0)

    in_virtual_time(run)


# --- applications as people write them --------------------------------------------------------------------


class Feed:
    """Event streams of Starlette and sse-starlette, and what becomes of their generators."""

    def __init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/pinging", self.pinging),
                Route("/resuming", self.resuming),
                Route("/asking", self.asking),
                Route("/chat", self.chat, methods=["POST"]),
            ]
        )
        self.ended = anyio.Event()
        self.ids: list[str | None] = []

    async def idle(self) -> AsyncIterator[ServerSentEvent]:
        try:
            yield ServerSentEvent("one")
            await anyio.sleep_forever()
        finally:
            self.ended.set()

    async def pinging(self, request: Request) -> Response:
        return EventSourceResponse(self.idle(), ping=0.01)

    async def resuming(self, request: Request) -> Response:
        last = request.headers.get("last-event-id")
        self.ids.append(last)
        if last == "4":
            return Response(status_code=204)
        return EventSourceResponse(self.numbers(int(last or 0)))

    async def numbers(self, last: int) -> AsyncIterator[ServerSentEvent]:
        for number in range(last + 1, last + 3):
            yield ServerSentEvent(str(number), id=str(number), retry=100)

    async def asking(self, request: Request) -> Response:
        return StreamingResponse(self.until_gone(request), media_type=EVENT_STREAM)

    async def until_gone(self, request: Request) -> AsyncIterator[str]:
        yield "data: one\n\n"
        while not await request.is_disconnected():
            await checkpoint()
        self.ended.set()

    async def chat(self, request: Request) -> Response:
        prompt = (await request.json())["prompt"]
        words = [f"data: {word}\n\n" for word in [*prompt.split(), "[DONE]"]]
        return StreamingResponse(iter_of(words), media_type=EVENT_STREAM)


async def iter_of(words: list[str]) -> AsyncIterator[str]:
    for word in words:
        yield word


async def test_pings_come_and_the_generator_is_left_once_the_stream_is(library: ModuleType) -> None:
    feed, pinged = Feed(), anyio.Event()
    with anyio.fail_after(DEADLINE):
        async with client_of(library, feed.app) as client:
            async with anysse.open_stream(
                "http://test/pinging", client=client, on_comment=lambda _: pinged.set()
            ) as events:
                assert (await events.receive()).data == "one"
                await pinged.wait()
            await feed.ended.wait()


async def test_an_application_that_asks_is_told_that_the_client_is_gone(library: ModuleType) -> None:
    feed = Feed()
    with anyio.fail_after(DEADLINE):
        async with client_of(library, feed.app) as client:
            async with anysse.open_stream("http://test/asking", client=client) as events:
                assert (await events.receive()).data == "one"
            await feed.ended.wait()


async def test_a_stream_resumes_after_the_last_event(library: ModuleType) -> None:
    feed = Feed()
    with anyio.fail_after(DEADLINE):
        async with (
            client_of(library, feed.app) as client,
            anysse.open_stream("http://test/resuming", client=client, retry=QUICK) as events,
        ):
            assert await data_of(events) == ["1", "2", "3", "4"]
    assert feed.ids == [None, "2", "4"]


async def test_a_client_of_many_requests_goes_over_it(library: ModuleType) -> None:
    with anyio.fail_after(DEADLINE):
        async with (
            client_of(library, Feed().app) as client,
            anysse.StreamClient("https://test/chat", client=client) as chat,
            chat.stream({"prompt": "why is that"}) as events,
        ):
            assert [word async for word in events] == ["why", "is", "that"]


async def test_what_an_endpoint_raises_leaves_from_the_stream(library: ModuleType) -> None:
    async def endpoint(request: Request) -> Response:
        raise Crash

    app = Starlette(routes=[Route("/events", endpoint)])
    async with client_of(library, app) as client:
        with pytest.raises(Crash):
            async with anysse.open_stream(URL, client=client) as events:
                await events.receive()


async def test_what_a_background_task_raises_leaves_from_leaving(library: ModuleType) -> None:
    async def fail() -> None:
        await turns(5)
        raise Crash

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("fine", background=BackgroundTask(fail))

    with pytest.raises(Crash):
        async with client_of(library, Starlette(routes=[Route("/events", endpoint)])) as client:
            assert (await client.get(URL)).text == "fine"


# --- cancelled at any moment ------------------------------------------------------------------------------


async def lively(app: App) -> None:
    """Take the request, and answer in some pieces, with turns between them; hear the disconnect."""
    await turns(2)
    await app.receive()
    await app.start()
    for _ in range(3):
        await turns(2)
        await app.send(b"data: x\n\n")
    await app.send(b"data: y\n\n", more_body=False)


@pytest.mark.parametrize("content", [None, [b"one", b"two"]])
async def test_a_request_that_is_cancelled_at_any_moment_leaves_no_task(
    strike: Strike, anyio_backend_name: str, content: list[bytes] | None
) -> None:
    async with answering(httpx, lively) as (client, _):
        transport = client._transport

        async def once() -> None:
            async with client.stream("POST", URL, content=Pieces(*content) if content else None) as response:
                async for _ in body_of(response):
                    pass

        async def after() -> None:
            while not all(exchange.is_done for exchange in transport._exchanges):
                await checkpoint()

        assert await strike.sweep(once, after) > 2
        assert len(transport._exchanges) <= 1


async def test_a_life_that_is_cancelled_at_any_moment_leaves_no_task(
    strike: Strike, anyio_backend_name: str
) -> None:
    async with nothing_left(anyio_backend_name):

        async def once() -> None:
            starlette = Starlette(routes=[Route("/events", endpoint)], lifespan=lifespan)
            async with client_of(httpx, starlette) as client:
                await read_one(client)

        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[None]:
            open_now.append(app)
            await checkpoint()
            try:
                yield
            finally:
                await checkpoint()  # noqa: ASYNC102 - what the application does is sheltered
                open_now.remove(app)

        async def endpoint(request: Request) -> Response:
            return StreamingResponse(pieces_of(b"one", b"two"))

        async def after() -> None:
            assert not open_now

        open_now: list[Any] = []
        assert await strike.sweep(once, after) > 5


# --- what an application may do to it ---------------------------------------------------------------------


async def test_causes_that_go_round_in_circles_have_an_end(library: ModuleType) -> None:
    async def in_circles(app: App) -> None:
        one, other = LookupError("one"), OSError("other")
        one.__cause__, other.__cause__ = other, one
        raise one

    async with answering(library, in_circles) as (client, _):
        with pytest.raises(LookupError, match="one"):
            await client.get("http://test")


async def test_an_application_that_raises_the_end_of_an_iteration_cuts_its_response(
    library: ModuleType,
) -> None:
    async def cut(app: App) -> None:
        await app.start()
        await app.send(b"one")
        raise StopAsyncIteration

    async with answering(library, cut) as (client, _):
        with pytest.raises(RuntimeError, match="the application raised StopAsyncIteration"):
            await client.get("http://test")


async def test_a_body_has_to_be_bytes(library: ModuleType) -> None:
    async def wrong(app: App) -> None:
        await app.start()
        await app.sent({"type": "http.response.body", "body": 5})

    async with answering(library, wrong) as (client, _):
        with pytest.raises(TypeError, match="the body must be bytes, not 5"):
            await client.get("http://test")


async def test_an_upload_that_fails_is_what_fails_the_reading(library: ModuleType) -> None:
    async def upload() -> AsyncIterator[bytes]:
        yield b"a"
        await taken.wait()
        raise LookupError("nothing to upload")

    async def take(app: App) -> None:
        await app.receive()
        await app.start()
        await app.send(b"one")
        taken.set()
        await anyio.sleep_forever()

    taken = anyio.Event()
    async with answering(library, take, grace=0.01) as (client, _):
        with pytest.raises(LookupError, match="nothing to upload"):
            await client.post("http://test", content=upload())


async def test_the_answer_of_a_server_to_a_head_has_no_body(library: ModuleType) -> None:
    async def fail(app: App) -> None:
        raise LookupError

    async with answering(library, fail, raise_app_exceptions=False) as (client, _):
        response = await client.head("http://test")
    assert (response.status_code, response.content) == (500, b"")


async def test_what_is_no_exception_leaves_alone_and_as_itself(library: ModuleType) -> None:
    class Outcome(BaseException):
        """As that of ``pytest.fail()`` is one."""

    async def give_up(app: App) -> None:
        raise Outcome

    with pytest.raises(Outcome):
        async with answering(library, give_up) as (client, _):
            await client.get("http://test")


async def test_other_tasks_may_enter_and_leave_it_while_it_is_entered(library: ModuleType) -> None:
    lives = 0

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        nonlocal lives
        lives += 1
        await checkpoint()
        yield

    async def hold() -> None:
        async with transport:
            await has_asked.wait()

    async def ask() -> None:
        async with library.AsyncClient(transport=transport) as client:
            assert (await client.get("http://test/missing")).status_code == 404

    transport = StreamingASGITransport(Starlette(lifespan=lifespan))
    has_asked = anyio.Event()
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await checkpoint()
            await ask()  # which waits for it to be up
            has_asked.set()
        async with transport, anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            tasks.start_soon(ask)
        await transport.__aexit__()  # which nobody entered
        await ask()
    assert lives == 3


async def test_to_leave_it_in_another_task_is_an_error_that_says_so() -> None:
    transport = StreamingASGITransport(App(silent), lifespan=False)

    async def leave() -> None:
        with pytest.raises(RuntimeError, match="left in another task than entered it"):
            await transport.__aexit__()

    async with transport, anyio.create_task_group() as tasks:
        tasks.start_soon(leave)


async def test_who_gave_up_waiting_until_it_is_up_has_not_entered_it() -> None:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        await may_start.wait()
        yield

    async def give_up() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await transport.__aenter__()
        may_start.set()
        await is_up.wait()
        with pytest.raises(RuntimeError, match="left in another task than entered it"):
            await transport.__aexit__()
        has_tried.set()

    transport = StreamingASGITransport(Starlette(lifespan=lifespan))
    may_start, is_up, has_tried = anyio.Event(), anyio.Event(), anyio.Event()
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(give_up)
            async with transport:
                is_up.set()
                await has_tried.wait()


async def test_a_startup_that_hangs_is_given_up_after_the_grace(library: ModuleType) -> None:
    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(DEADLINE):
        with anyio.move_on_after(0.01) as scope:
            async with client_of(library, hangs, grace=0.01):
                raise AssertionError("it is not up")
    assert scope.cancelled_caught
