"""What a type checker sees of the client. Checked by mypy and pyright, both strict; never run."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias, assert_type

import httpx
import httpx2

from anysse import (
    SKIP,
    AnysseError,
    Attempt,
    Durations,
    EventStream,
    ExponentialBackoff,
    Failure,
    Handlers,
    Observer,
    ServerSentEvent,
    StreamClient,
    StreamLimits,
    StreamRequest,
    StreamStatistics,
    StreamStatus,
    Timeouts,
    decoders,
)

URL = "http://h/"
Chunk: TypeAlias = dict[str, object]


def number_of(event: ServerSentEvent) -> int:
    return int(event.data)


def flag_of(event: ServerSentEvent) -> bool:
    return event.data == "yes"


def show_number(data: int, event: ServerSentEvent) -> None: ...
async def store_number(data: int, event: ServerSentEvent) -> None: ...
def show_flag(data: bool, event: ServerSentEvent) -> None: ...
def show_text(data: str, event: ServerSentEvent) -> None: ...
def show_object(data: object, event: ServerSentEvent) -> None: ...
def show_chunk(data: Chunk, event: ServerSentEvent) -> None: ...
def note(*_: object) -> None: ...


# --- what it is generic in --------------------------------------------------------------------------------


def without_a_decoder_it_gives_whatever_json_is() -> None:
    assert_type(StreamClient(URL), StreamClient[Any])
    assert_type(StreamClient(URL), StreamClient)


def it_can_be_said_what_the_json_is() -> None:
    assert_type(StreamClient[Chunk](URL), StreamClient[Chunk])
    client: StreamClient[Chunk] = StreamClient(URL)
    assert_type(client, StreamClient[Chunk])


def a_decoder_says_it_by_itself() -> None:
    assert_type(StreamClient(URL, decode=number_of), StreamClient[int])
    assert_type(StreamClient(URL, decode=decoders.text), StreamClient[str])
    assert_type(StreamClient(URL, decode=lambda event: event), StreamClient[ServerSentEvent])
    StreamClient[str](URL, decode=number_of)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def what_a_decoder_leaves_out_is_of_no_type() -> None:
    client = StreamClient(URL, decode=lambda event: int(event.data) if event.data else SKIP)
    assert_type(client, StreamClient[int])


async def entering_gives_the_client_itself() -> None:
    async with StreamClient(URL, decode=number_of) as client:
        assert_type(client, StreamClient[int])
    async with StreamClient[Chunk](URL) as chunks:
        assert_type(chunks, StreamClient[Chunk])


# --- streams ----------------------------------------------------------------------------------------------


async def a_stream_gives_what_the_client_decodes(client: StreamClient[int]) -> None:
    assert_type(client.stream(), AbstractAsyncContextManager[EventStream[int]])
    async with client.stream({"prompt": "x"}, path="v2", done=None) as numbers:
        assert_type(numbers, EventStream[int])
        async for number in numbers:
            assert_type(number, int)
        assert_type(await numbers.receive(), int)
        assert_type(numbers.receive_nowait(), int)
    assert_type(client.stream(decode=None), AbstractAsyncContextManager[EventStream[int]])


async def a_request_may_decode_otherwise(client: StreamClient[int]) -> None:
    assert_type(client.stream(decode=flag_of), AbstractAsyncContextManager[EventStream[bool]])
    async with client.stream(decode=decoders.text, method="GET") as texts:
        async for text in texts:
            assert_type(text, str)


async def json_needs_no_cast(client: StreamClient) -> None:
    async with client.stream() as messages:
        async for message in messages:
            note(message["choices"][0])


async def a_stream_may_be_relayed(client: StreamClient[str]) -> AsyncIterator[str]:
    async with client.stream() as texts:
        async for text in texts:
            yield text


def a_stream_has_no_handlers(client: StreamClient[int]) -> None:
    client.stream(on_message=show_number)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    client.stream(None, Handlers())  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


# --- handlers ---------------------------------------------------------------------------------------------


async def handlers_take_what_the_client_decodes(client: StreamClient[int]) -> None:
    assert_type(await client.send_request({"a": [1]}, on_message=show_number), StreamStatus)
    await client.send_request(on_message=store_number)
    await client.send_request(on_message=show_object)
    await client.send_request(on_message=lambda data, event: note(data.bit_length(), event.data))
    await client.send_request(on={"tick": show_number, "tock": store_number}, on_message=None)
    await client.send_request(on_message=show_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.send_request(on={"tick": show_text})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    await client.send_request(on_message=print_one)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def print_one(data: int) -> None: ...


async def handlers_of_any_json_take_anything(client: StreamClient) -> None:
    await client.send_request(on_message=show_chunk, on={"text": show_text})
    await client.send_request(on_message=lambda data, event: note(data["choices"], event.id))


async def handlers_take_what_their_request_decodes(client: StreamClient[int]) -> None:
    assert_type(await client.send_request(decode=decoders.text, on_message=show_text), StreamStatus)
    assert_type(client.start(decode=decoders.text, on_message=show_text), StreamRequest)
    await client.send_request(decode=decoders.text, on_message=lambda text, event: note(text.upper(), event))
    await client.send_request(decode=None, on_message=show_number)
    await client.send_request(decode=decoders.text, on_message=show_number)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    client.start(decode=decoders.text, on_message=show_number)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def every_handler_has_its_arguments(client: StreamClient[int]) -> None:
    def on_error(error: AnysseError, retry_count: int) -> None:
        assert_type(error.retry_in, float | None)

    async def on_retry(error: AnysseError, delay: float) -> None: ...

    def on_close(status: StreamStatus) -> None: ...

    async def on_open() -> None: ...

    await client.send_request(
        on_open=on_open, on_error=on_error, on_retry=on_retry, on_close=on_close, on_status=on_close
    )
    await client.send_request(on_complete=on_open, on_open=None, on_close=None)
    await client.send_request(on_error=on_close)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.send_request(on_retry=on_error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.send_request(on_open=on_close)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.send_request(on_status=on_open)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def handlers_are_a_value(client: StreamClient[int]) -> None:
    handlers = Handlers(on_message=show_number, on_close=note)
    assert_type(handlers, Handlers[int])
    assert_type(Handlers(on={"tick": show_text}), Handlers[str])
    assert_type(Handlers(), Handlers[Any])
    client.start({"a": 1}, handlers)
    client.start(handlers=handlers, on_open=None)
    client.start(None, Handlers(on_message=show_object))
    client.start(None, Handlers())
    client.start(None, Handlers(on_message=show_text), decode=decoders.text)
    client.start(None, Handlers[str](on_message=show_text))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Handlers[int](on_message=show_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Handlers(note)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Handlers(on_mesage=note)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    handlers.on_message = None  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# --- requests ---------------------------------------------------------------------------------------------


async def a_request_in_the_background_can_be_steered(client: StreamClient[int]) -> None:
    request = client.start(on_message=show_number)
    assert_type(request, StreamRequest)
    assert_type(request.number, int)
    assert_type(request.status, StreamStatus)
    assert_type(request.is_connected, bool)
    assert_type(request.retry_count, int)
    assert_type(request.last_event_id, str)
    assert_type(request.statistics(), StreamStatistics)
    assert_type(await request.wait_for(StreamStatus.CONNECTED), None)
    assert_type(await request.wait(), StreamStatus)
    assert_type(request.disconnect(), None)
    request.pause("hold")
    assert_type(request.resume(), None)
    await request.wait_for("connected")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    request.status = StreamStatus.IDLE  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def a_client_can_be_looked_at(client: StreamClient[int]) -> None:
    assert_type(client.status, StreamStatus)
    assert_type(client.is_connected, bool)
    assert_type(client.retry_count, int)
    assert_type(client.last_event_id, str)
    assert_type(client.requests, tuple[StreamRequest, ...])
    assert_type(client.disconnect(), None)
    counted = client.statistics()
    assert_type(counted, StreamStatistics)
    assert_type(counted.requests, int)
    assert_type(counted.connect_times, Durations)
    assert_type(counted.gaps.mean, float | None)
    assert_type(counted.handler_time, float)
    assert_type(counted.connected_for, float | None)
    client.status = StreamStatus.IDLE  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def a_request_has_options_of_its_own(client: StreamClient[int]) -> None:
    await client.send_request(
        "any payload",
        method="GET",
        path="v2/chat",
        params={"a": 1},
        headers={"A": "b"},
        cookies={"a": "b"},
        auth=("me", "pw"),
        timeouts=5,
        done=lambda event: event.event == "end",
        last_event_id="7",
    )
    client.start(auth=None, timeouts=None, done=None, params=[("a", "b")], headers=httpx.Headers())
    client.stream(timeouts=Timeouts(total=1), headers=httpx2.Headers(), params=httpx2.QueryParams())
    await client.send_request(path=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await client.send_request(retry=None)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await client.send_request(on_mesage=note)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    client.start(timeouts="5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    client.stream(headers=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    client.stream(decode=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


# --- the constructor --------------------------------------------------------------------------------------


def what_a_client_may_be_told(client: httpx.AsyncClient, client2: httpx2.AsyncClient) -> None:
    def policy(failure: Failure) -> float | None:
        return None if failure.retry_count else 1.0

    def query(payload: Mapping[str, object]) -> dict[str, object]:
        return dict(payload)

    async def prepare(request: httpx.Request, attempt: Attempt) -> None: ...

    class Looker(Observer): ...

    StreamClient(URL, client=client, method="PUT", path="a", params={"a": 1}, headers={"A": "b"})
    StreamClient(httpx.URL(URL), client=client2, cookies={"a": "b"}, auth=("me", "pw"), last_event_id="7")
    StreamClient(httpx2.URL(URL), encode_params=query, timeouts=5, retry=policy, resend="undelivered")
    StreamClient(URL, retry=ExponentialBackoff(initial=1.0, max_retries=3), kind="feed", done="[DONE]")
    StreamClient(URL, retry=None, kind="reply", done=flag_of, close_on_done=False, prepare=prepare)
    StreamClient(URL, accept_response=lambda response: response.status_code == 200, on_comment=print)
    StreamClient(URL, max_event_size=1024, oversize="skip", buffer=8, exclusive=True, https_only=False)
    StreamClient(URL, limits=StreamLimits(max_connections=5), observers=[Looker()], timeouts=None)


def what_it_may_not_be_told() -> None:
    StreamClient()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    StreamClient(URL, "POST")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    StreamClient(URL, on_message=show_number)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    StreamClient(URL, kind="other")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamClient(URL, retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamClient(URL, limits=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamClient(URL, timeouts="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamClient(URL, client=httpx.Client())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamClient(URL, observers=[print])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
