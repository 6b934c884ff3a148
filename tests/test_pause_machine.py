"""A stream beside a model of it, under whatever its user, who looks on, and its server do, in any order."""

from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anysse
from anysse import InvalidRequest, StreamStatus, Visibility
from anysse.testing import Connection, serve_in_memory
from tests.streams import in_virtual_time

SETTLED = 1.0
"""Seconds after which nothing goes on: above the floor between two attempts, and the retry policy's wait."""

acts = st.lists(
    st.sampled_from(
        ["pause", "pause close", "pause hold", "resume", "hide", "show", "drop", "event", "reconnect"]
    ),
    max_size=25,
)


@dataclass(kw_only=True)
class Model:
    """What is to be true of a stream once it has settled."""

    is_safe: bool
    """Whether its request may be sent again."""
    reasons: set[str] = field(default_factory=set)
    is_open: bool = True
    """Whether there is a connection, as far as the stream knows."""
    is_dropped: bool = False
    """Whether the server has dropped it, and the stream does not read."""
    requests: int = 1
    is_failed: bool = False

    def pause(self, mode: str | None, reason: str) -> bool:
        """Tell whether that is allowed."""
        if self.is_open and mode == "close" and not self.is_safe:
            return False
        was_held = bool(self.reasons)
        self.reasons.add(reason)
        if mode == "close" or (mode is None and not was_held and self.is_safe):
            self.is_open = False
        return True

    def resume(self, reason: str) -> None:
        was_paused = bool(self.reasons)
        self.reasons.discard(reason)
        if not was_paused or self.reasons:
            return
        if not self.is_open or self.is_dropped:
            self.connect(is_again=self.is_open)

    def connect(self, *, is_again: bool) -> None:
        """Make a connection, where one was lost or given up."""
        if is_again and not self.is_safe:
            self.is_failed, self.is_open = True, False
            return
        self.is_open, self.is_dropped = True, False
        self.requests += 1

    def drop(self) -> None:
        if self.reasons:
            self.is_dropped = self.is_open
        else:
            self.connect(is_again=True)

    @property
    def status(self) -> StreamStatus:
        if self.is_failed:
            return StreamStatus.ERROR
        return StreamStatus.PAUSED if self.reasons else StreamStatus.CONNECTED


class Numbers:
    """A feed of the numbers that there are by now, after the last event ID."""

    def __init__(self) -> None:
        self.last = 0
        self.requests = 0
        self.connections: list[Connection] = []
        self._more = anyio.Event()

    async def answer(self, connection: Connection) -> None:
        assert not self.live, "a second connection"
        self.requests += 1
        self.connections.append(connection)
        number = int(connection.request.headers.get("Last-Event-ID", "0"))
        await connection.respond(200)
        while True:
            while number < self.last:
                number += 1
                await connection.send(f"id: {number}\ndata: {number}\n\n")
            await self._more.wait()

    @property
    def live(self) -> list[Connection]:
        return [each for each in self.connections if each.is_open and not each.closed_by_peer.is_set()]

    def add(self) -> None:
        self.last += 1
        self._more.set()
        self._more = anyio.Event()

    def drop(self) -> None:
        for connection in self.live:
            connection.hang_up(reset=True)


class Story:
    """A stream, its model, and what happens to both."""

    def __init__(self, events: "anysse.EventStream", numbers: Numbers, visibility: Visibility) -> None:
        self._events = events
        self._numbers = numbers
        self._visibility = visibility
        self._received: list[int] = []

    async def tell(self, model: Model, told: list[str]) -> None:
        for act in told:
            was_paused, before = bool(model.reasons), len(self._received)
            self.happen(act, model)
            await anyio.sleep(SETTLED)
            self.take()
            await anyio.sleep(SETTLED)
            assert not (was_paused and model.reasons) or len(self._received) == before
            assert self._events.status is model.status
            assert self._numbers.requests == model.requests
            assert len(self._numbers.live) == (model.is_open and not model.is_dropped)
            if model.is_failed:
                return
            if not model.reasons:
                self.take()
                assert len(self._received) == self._numbers.last, "an event is missing"
        self._visibility.show()
        self._events.resume()

    def happen(self, act: str, model: Model) -> None:
        """Have something happen to both."""
        match act.split():
            case ["pause", *modes]:
                mode: Any = modes[0] if modes else None
                if model.pause(mode, "user"):
                    self._events.pause(mode)
                else:
                    with pytest.raises(InvalidRequest):
                        self._events.pause(mode)
            case ["resume"]:
                model.resume("user")
                self._events.resume()
            case ["hide"] if self._visibility.is_visible:
                model.pause(None, "hidden")
                self._visibility.hide()
            case ["show"]:
                model.resume("hidden")
                self._visibility.show()
            case ["drop"]:
                model.drop()
                self._numbers.drop()
            case ["event"]:
                self._numbers.add()
            case ["reconnect"] if model.is_safe:
                if not model.reasons:
                    model.connect(is_again=True)
                self._events.reconnect_now()

    def take(self) -> None:
        """Take what came, each number once and in order."""
        try:
            while True:
                self._received.append(int(self._events.receive_nowait().id))
                assert self._received[-1] == len(self._received)
        except (anyio.WouldBlock, anysse.StreamError):
            pass


@pytest.mark.parametrize("method", ["GET", "POST"])
@given(told=acts)
def test_a_stream_is_where_its_model_is(method: str, told: list[str]) -> None:
    async def main() -> None:
        numbers, visibility = Numbers(), Visibility()
        async with (
            serve_in_memory(then=numbers.answer) as server,
            httpx.AsyncClient(transport=server.transport()) as client,
            anysse.open_stream(
                server.url,
                method=method,
                client=client,
                kind="feed",
                retry=anysse.ExponentialBackoff(initial=0.2, maximum=0.2, jitter=0),
                visibility=visibility,
            ) as events,
        ):
            await Story(events, numbers, visibility).tell(Model(is_safe=method == "GET"), told)

    in_virtual_time(main)
