"""A Server-Sent Events client for structured concurrency: asyncio, uvloop and trio, over httpx and httpx2."""

from . import decoders, network
from ._client import StreamClient
from ._decode import SKIP
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
from ._handle import StreamRequest
from ._handlers import Handlers
from ._limits import StreamLimits
from ._observer import (
    Attempt,
    AttemptFailed,
    AttemptStarted,
    Connected,
    DoneReceived,
    Ended,
    Fact,
    Observer,
    StatusChanged,
)
from ._open import open_stream
from ._options import StreamStatus, Timeouts
from ._parser import EventStreamParser
from ._read import EventIterator, EventReader, iter_events, read_events
from ._retry import ExponentialBackoff, Failure, RetryPolicy
from ._statistics import Durations, StreamStatistics
from ._stream import EventStream
from ._terminal_visibility import terminal_visibility
from ._transport import StreamingTransport
from ._visibility import Visibility

__all__ = [
    "SKIP",
    "AnysseError",
    "Attempt",
    "AttemptFailed",
    "AttemptStarted",
    "CheckpointError",
    "ConnectError",
    "Connected",
    "ContentTypeError",
    "DecodeError",
    "DoneReceived",
    "Durations",
    "Ended",
    "EventIterator",
    "EventReader",
    "EventStream",
    "EventStreamParser",
    "EventTooLarge",
    "ExponentialBackoff",
    "Fact",
    "Failure",
    "Handlers",
    "Headers",
    "InvalidRequest",
    "Observer",
    "ResponseError",
    "RetryPolicy",
    "ServerSentEvent",
    "StatusChanged",
    "StatusError",
    "StreamClient",
    "StreamDropped",
    "StreamError",
    "StreamLimits",
    "StreamRequest",
    "StreamResponse",
    "StreamStatistics",
    "StreamStatus",
    "StreamTimeout",
    "StreamingTransport",
    "Timeouts",
    "Visibility",
    "decoders",
    "iter_events",
    "network",
    "open_stream",
    "read_events",
    "terminal_visibility",
]
