"""A server of events in one network namespace for clients in another: processes that print lines of JSON."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

from tests import netns

PORT: Final = 8000

SERVER: Final = """
import json
import sys

import anyio

HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n"
connections = 0


async def serve(stream):
    global connections
    connections += 1
    async with stream:
        try:
            request = b""
            while b"\\r\\n\\r\\n" not in request:
                request += await stream.receive()
            fields = [line.partition(b": ") for line in request.lower().split(b"\\r\\n")]
            ids = [value.decode() for name, _, value in fields if name == b"last-event-id"]
            print(json.dumps(ids), flush=True)
            await stream.send(HEAD + b"id: %d\\ndata: hello\\n\\n" % connections)
            while True:
                await anyio.sleep(float(sys.argv[3]))
                await stream.send(b":\\n")
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            pass


async def main():
    listener = await anyio.create_tcp_listener(local_host=sys.argv[1], local_port=int(sys.argv[2]))
    print("ready", flush=True)
    await listener.serve(serve)


anyio.run(main)
"""


def url_of(link: netns.Link) -> str:
    return f"http://{link.server_address}:{PORT}/"


def start_server(link: netns.Link, *, beat: float) -> Iterator[Any]:
    """Start it; give the last event IDs that it is asked for, a list for each connection."""
    where = [link.server_address, str(PORT), str(beat)]
    server = link.server.popen([sys.executable, "-c", SERVER, *where], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n", "the server did not start"
    return facts(server)


def start_client(link: netns.Link, program: str, *arguments: str) -> Iterator[Any]:
    """Start a program with the URL of the server and what else it takes; give what it tells."""
    command = [sys.executable, "-c", program, url_of(link), *arguments]
    return facts(link.client.popen(command, stdout=subprocess.PIPE))


def facts(child: subprocess.Popen[str]) -> Iterator[Any]:
    """Give what a child prints, as it does."""
    assert child.stdout is not None
    return map(json.loads, child.stdout)


def until(told: Iterator[Any], name: str) -> Any:
    """Read on until something is told; give it."""
    return next(fact for fact in told if fact.get(name) is not None)
