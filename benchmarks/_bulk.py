"""The server of a bulk stream, plain or over TLS: 20,001 events, one HTTP chunk each, from another process.

At the path `/few` there is a stream of a few such events, to be warmed up with.
The events have the shape of a chat completion's chunks, the last one is `[DONE]`. Over TLS they come in
records as large as TLS has them, 16 KiB, or in a record for each event, as a server that flushes sends them.
All is encrypted before anything is sent, so that nobody waits for the server.
"""

# ruff: noqa: INP001 - a part of a script

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

EVENTS = 20_001
FEW = 20
DONE = "[DONE]"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = (
    b'data: {"id":"chatcmpl-AbC123","object":"chat.completion.chunk","created":1730000000,"model":"gpt",'
    b'"choices":[{"index":0,"delta":{"content":" token%d"},"finish_reason":null}]}\n\n'
)
BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


class Certificate(NamedTuple):
    """The files of a certificate for 127.0.0.1, and of who signed it."""

    chain: str
    authority: str


def certified(folder: Path) -> Certificate:
    """Write a certificate that nobody else trusts."""
    import trustme

    authority, certificate = folder / "authority.pem", folder / "chain.pem"
    signer = trustme.CA()
    signer.cert_pem.write_to_path(str(authority))
    signer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    return Certificate(str(certificate), str(authority))


def chunks(count: int) -> list[bytes]:
    """Give the response, one piece an event."""
    events = [CHUNK % number for number in range(count - 1)] + [b"data: %s\n\n" % DONE.encode()]
    return [HEAD, *(b"%x\r\n%b\r\n" % (len(event), event) for event in events), b"0\r\n\r\n"]


def serve(tell_port: Connection, chain: str = "", *, records: bool = False) -> None:
    """Serve until the process is ended.

    Args:
        tell_port: Gets the port.
        chain: The file of a certificate; without, there is no TLS.
        records: Whether each event is a TLS record of its own.
    """
    many, few = (pieces if records else [b"".join(pieces)] for pieces in (chunks(EVENTS), chunks(FEW)))
    answer: Callable[[socket.socket], None] = Plain(many, few)
    if chain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        answer = Encrypted(many, few, context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tell_port.send(listener.getsockname()[1])
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=answer, args=(peer,), daemon=True).start()


def serve_records(tell_port: Connection, chain: str) -> None:
    """Serve over TLS, each event in a record of its own."""
    serve(tell_port, chain, records=True)


class Plain:
    """Answers request after request of a connection."""

    def __init__(self, many: Sequence[bytes], few: Sequence[bytes]) -> None:
        self._many, self._few = b"".join(many), b"".join(few)

    def __call__(self, peer: socket.socket) -> None:
        """Answer until the other side has had enough."""
        with peer, suppress(OSError):
            while request := peer.recv(65536):
                while not request.endswith(b"\r\n\r\n"):
                    request += peer.recv(65536)
                peer.sendall(self._few if is_for_few(request) else self._many)


class Encrypted:
    """Answers request after request of a TLS connection, whose records are made before they are sent."""

    def __init__(self, many: Sequence[bytes], few: Sequence[bytes], context: ssl.SSLContext) -> None:
        self._many, self._few = many, few
        self._context = context

    def __call__(self, peer: socket.socket) -> None:
        """Answer until the other side has had enough."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(incoming, outgoing, server_side=True)

        def perform(step: Callable[[], bytes | None]) -> bytes | None:
            while True:
                try:
                    done = step()
                except ssl.SSLWantReadError:
                    peer.sendall(outgoing.read())
                    incoming.write(peer.recv(65536) or end())
                    continue
                peer.sendall(outgoing.read())
                return done

        with peer, suppress(OSError, EOFError):
            perform(tls.do_handshake)
            while request := perform(lambda: tls.read(65536)):
                while not request.endswith(b"\r\n\r\n"):
                    request += perform(lambda: tls.read(65536)) or end()
                for piece in self._few if is_for_few(request) else self._many:
                    tls.write(piece)
                peer.sendall(outgoing.read())


def is_for_few(request: bytes) -> bool:
    """Say which stream is asked for."""
    return request.startswith(b"GET /few ")


def end() -> bytes:
    """Say that the other side has gone."""
    raise EOFError
