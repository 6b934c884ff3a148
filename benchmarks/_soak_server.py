"""The server of `soak`, and nothing else: a stream of very many events, and streams that soon end.

`/events?N` is a stream of N events, each its own HTTP chunk, which then ends. Any other path is a stream of
one event, with an ID and the shortest reconnection time: every other one then ends, and leaves its
connection open; the others are cut off in the middle of an event.
"""

# ruff: noqa: INP001 - a script's

import socket
import threading
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
BLOCK = 1000
"""Events that are sent at once."""
EVENT = (
    b'id: %d\ndata: {"id":"chatcmpl-AbC123","object":"chat.completion.chunk","created":1730000000,'
    b'"model":"gpt","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n'
)


def serve(tell_port: Connection) -> None:
    """Tell the port, and serve until the process is ended."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        tell_port.send(listener.getsockname()[1])
        numbers = count()
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=answer, args=(peer, numbers), daemon=True).start()


def answer(peer: socket.socket, numbers: "count[int]") -> None:
    """Answer the requests of a connection."""
    with peer, suppress(OSError):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while target := target_of(peer):
            path, _, query = target.partition(b"?")
            if path == b"/events":
                send_many(peer, int(query))
            elif not send_one(peer, next(numbers)):
                return


def target_of(peer: socket.socket) -> bytes:
    """Take a request, and give its target; empty where there is no more."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        received = peer.recv(65536)
        if not received:
            return b""
        request += received
    return request.split(b" ", 2)[1]


def send_many(peer: socket.socket, events: int) -> None:
    """Send very many events, and the end."""
    block = b"".join(chunk(EVENT % number) for number in range(BLOCK))
    peer.sendall(HEAD)
    for _ in range(events // BLOCK):
        peer.sendall(block)
    peer.sendall(b"".join(chunk(EVENT % number) for number in range(events % BLOCK)) + END)


def send_one(peer: socket.socket, number: int) -> bool:
    """Send an event, and say whether the connection goes on."""
    event = HEAD + chunk(b"retry: 1\n" + EVENT % number)
    goes_on = number % 2 == 0
    peer.sendall(event + (END if goes_on else chunk(b"data: and no more")))
    return goes_on


def chunk(content: bytes) -> bytes:
    """Give an HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content)
