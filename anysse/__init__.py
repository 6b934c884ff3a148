"""A Server-Sent Events client for structured concurrency: asyncio, uvloop and trio, over httpx and httpx2."""

from ._errors import (
    AnysseError,
    CheckpointError,
    ConnectError,
    ContentTypeError,
    DecodeError,
    EventTooLarge,
    InvalidRequest,
    ResponseError,
    StatusError,
    StreamDropped,
    StreamError,
    StreamTimeout,
)
from ._events import Headers, ServerSentEvent, StreamResponse
from ._options import StreamStatus, Timeouts

__all__ = [
    "AnysseError",
    "CheckpointError",
    "ConnectError",
    "ContentTypeError",
    "DecodeError",
    "EventTooLarge",
    "Headers",
    "InvalidRequest",
    "ResponseError",
    "ServerSentEvent",
    "StatusError",
    "StreamDropped",
    "StreamError",
    "StreamResponse",
    "StreamStatus",
    "StreamTimeout",
    "Timeouts",
]
