"""What a type checker sees of the errors. Checked by mypy and pyright, both strict; never run."""

from collections.abc import Mapping
from typing import Literal, assert_type

from anysse import (
    AnysseError,
    CheckpointError,
    ConnectError,
    ContentTypeError,
    DecodeError,
    EventTooLarge,
    InvalidRequest,
    ResponseError,
    ServerSentEvent,
    StatusError,
    StreamDropped,
    StreamError,
    StreamTimeout,
)


def every_error_has_the_facts(error: AnysseError) -> None:
    assert_type(error.reason, str)
    assert_type(error.url, str | None)
    assert_type(error.status_code, int | None)
    assert_type(error.headers, Mapping[str, str])
    assert_type(error.retry_count, int)
    assert_type(error.hint, str)


def a_refused_response_can_be_read(error: StatusError | ContentTypeError) -> None:
    assert_type(error.body, bytes)
    assert_type(error.text, str)
    assert_type(error.retry_after, float | None)


def a_timeout_says_which(error: StreamTimeout) -> None:
    assert_type(error.phase, Literal["pool", "connect", "response", "first_event", "idle", "total"])
    assert_type(error.seconds, float | None)


def the_others_have_what_they_need(
    argument: InvalidRequest, large: EventTooLarge, undecoded: DecodeError
) -> None:
    assert_type(argument.argument, str)
    assert_type(large.max_event_size, int)
    assert_type(large.events, list[ServerSentEvent])
    assert_type(undecoded.event, ServerSentEvent)


def the_tree_is_as_drawn() -> None:
    of_a_stream: tuple[type[StreamError], ...] = (
        ConnectError,
        ResponseError,
        StreamDropped,
        StreamTimeout,
        EventTooLarge,
    )
    of_a_response: tuple[type[ResponseError], ...] = (StatusError, ContentTypeError)
    others: tuple[type[AnysseError], ...] = (InvalidRequest, StreamError, DecodeError, CheckpointError)
    known_to_python: tuple[type[ValueError], type[TimeoutError]] = (InvalidRequest, StreamTimeout)
    assert_type(len((of_a_stream, of_a_response, others, known_to_python)), int)
