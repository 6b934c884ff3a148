"""What a type checker sees of the values. Checked by mypy and pyright, both strict; never run."""

from collections.abc import Mapping
from typing import Any, assert_type

from anysse import Headers, ServerSentEvent, StreamResponse, StreamStatus, Timeouts


def an_event_has_typed_fields(event: ServerSentEvent) -> None:
    assert_type(event.event, str)
    assert_type(event.data, str)
    assert_type(event.id, str)
    assert_type(event.retry, int | None)
    assert_type(event.json(), Any)


def an_event_is_a_tuple_of_its_fields(event: ServerSentEvent) -> None:
    kind, data, event_id, retry = event
    assert_type(kind, str)
    assert_type(data, str)
    assert_type(event_id, str)
    assert_type(retry, int | None)


def an_event_can_be_made_for_a_test() -> None:
    assert_type(ServerSentEvent(data="x"), ServerSentEvent)
    ServerSentEvent(data=b"x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def an_event_never_changes(event: ServerSentEvent) -> None:
    event.data = "y"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def a_response_has_its_head(response: StreamResponse) -> None:
    assert_type(response.status_code, int)
    assert_type(response.headers, Headers)
    assert_type(response.url, str)
    assert_type(response.headers["content-type"], str)
    assert_type(response.headers.get("retry-after"), str | None)
    assert_type(response.headers.get_list("set-cookie"), list[str])
    assert_type(response.headers.multi_items(), list[tuple[str, str]])
    headers: Mapping[str, str] = response.headers
    assert headers


def timeouts_are_named_and_may_be_none() -> None:
    timeouts = Timeouts(connect=1, response=None, first_event=2.5, idle="default", total=60)
    assert_type(timeouts.connect, float | None)
    assert_type(timeouts.total, float | None)
    Timeouts(1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Timeouts(idle="never")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    timeouts.total = 1.0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def a_status_is_text(status: StreamStatus) -> None:
    text: str = status
    assert text
