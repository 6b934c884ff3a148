"""The server of `fanout`, and nothing else: one epoll loop, many event streams, each at a pace.

A stream is asked for with `GET /?group=NAME&streams=N&rate=R&events=K&ends=B`. A group gets nothing but the
heads of its responses until N streams are in it; from then on each gets R events a second, evenly spread over
the second. After K events (0: for ever) a stream ends, and leaves its connection open, or (B = 0) goes on
without a further event. With N = 0 a stream is idle: it gets one event at once, and no other. An event has
the server's monotonic nanoseconds in it, taken as it is sent.
"""

# ruff: noqa: INP001, FBT003 - a script's; a socket's method takes no keyword

import os
import resource
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, urlsplit

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"sent":%020d,"id":"chatcmpl-AbC123","object":"chat.completion.chunk","created":1730000000,'
    b'"model":"gpt","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n'
)
END = b"0\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT % 0), EVENT)
MOST_LATE = 0.005
"""Seconds."""
LONGEST_WAIT = 0.1
"""Seconds; a shorter wait than a millisecond is a sleep, since epoll cannot wait for one."""


@dataclass(eq=False, slots=True, kw_only=True)
class Group:
    """The streams of one measurement, and when which of them gets its next event."""

    streams: int
    rate: float
    events: int
    ends: bool
    members: list[socket.socket | None] = field(default_factory=list)
    open_count: int = 0
    place: int = 0
    rounds: int = 0
    due: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be sent."""
        return not self.open_count or (self.events > 0 and self.rounds >= self.events)

    def begin(self, now: float) -> None:
        """Let the first event be due."""
        self.due = now

    def send_due(self, now: float) -> None:
        """Send what is due, and only that."""
        while self.due <= now and not self.is_over:
            self._send_next()
            step = 1 / self.rate / len(self.members)
            # What is far too late is not made up for: events that come together cost a reader less.
            self.due = self.due + step if now < self.due + MOST_LATE else now + step

    def _send_next(self) -> None:
        peer = self.members[self.place]
        end = END if self.ends and self.rounds == self.events - 1 else b""
        if peer is not None:
            with suppress(OSError):  # gone, or slower than ever: epoll tells, or nobody needs to know
                peer.send(CHUNK % time.monotonic_ns() + end)
        self.place += 1
        if self.place == len(self.members):
            self.place = 0
            self.rounds += 1


class Server:
    """The loop, and who is connected."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._groups: dict[str, Group] = {}
        self._paced: list[Group] = []
        self._peers: dict[int, socket.socket] = {}
        self._requests: dict[int, bytes] = {}
        self._places: dict[int, tuple[Group, int]] = {}
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serve as long as the process that started this one is there."""
        parent = os.getppid()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        while os.getppid() == parent:
            for number, _ in self._wait():
                if number == self._listener.fileno():
                    self._accept()
                else:
                    self._read(number)
            now = time.monotonic()
            for group in self._paced:
                group.send_due(now)
            self._paced = [group for group in self._paced if not group.is_over]

    def _wait(self) -> list[tuple[int, int]]:
        due = min((group.due for group in self._paced), default=float("inf"))
        wait = min(due - time.monotonic(), LONGEST_WAIT)
        if wait >= 0.002:
            return self._epoll.poll(wait - 0.001)
        if wait > 0 and not (events := self._epoll.poll(0)):
            time.sleep(wait)
            return events
        return self._epoll.poll(0)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                peer, _ = self._listener.accept()
                peer.setblocking(False)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._peers[peer.fileno()] = peer
                self._epoll.register(peer.fileno(), select.EPOLLIN)

    def _read(self, number: int) -> None:
        try:
            received = self._peers[number].recv(65536)
        except OSError:
            received = b""
        if not received:
            self._leave(number)
            return
        request = self._requests.pop(number, b"") + received
        if request.endswith(b"\r\n\r\n"):
            self._answer(number, request)
        else:
            self._requests[number] = request

    def _answer(self, number: int, request: bytes) -> None:
        query = parse_qs(urlsplit(request.split(b" ", 2)[1].decode()).query)
        asked = {name: values[0] for name, values in query.items()}
        peer = self._peers[number]
        with suppress(OSError):
            peer.send(HEAD)
        if asked.get("streams", "0") == "0":
            with suppress(OSError):
                peer.send(CHUNK % time.monotonic_ns())
        else:
            self._join(asked, peer)

    def _join(self, asked: dict[str, str], peer: socket.socket) -> None:
        group = self._groups.get(asked["group"])
        if group is None:
            group = self._groups[asked["group"]] = Group(
                streams=int(asked["streams"]),
                rate=float(asked["rate"]),
                events=int(asked["events"]),
                ends=asked["ends"] == "1",
            )
        self._places[peer.fileno()] = group, len(group.members)
        group.members.append(peer)
        group.open_count += 1
        if len(group.members) == group.streams:
            group.begin(time.monotonic())
            self._paced.append(group)

    def _leave(self, number: int) -> None:
        self._epoll.unregister(number)
        self._peers.pop(number).close()
        self._requests.pop(number, None)
        if number in self._places:
            group, place = self._places.pop(number)
            group.members[place] = None
            group.open_count -= 1
            if not group.open_count:
                group.members.clear()


def open_many_files() -> None:
    """Let this process have as many sockets as it may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(tell_port: Connection) -> None:
    """Tell the port, and serve."""
    open_many_files()
    server = Server()
    tell_port.send(server.port)
    server.run()
