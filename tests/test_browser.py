"""Generated event streams, as Chromium's `EventSource` reads them, and as we do: the same events and IDs.

The server and the browser's page are here; the browser is whatever Chromium the machine has. It runs once,
and reads all the streams from the server that anysse reads them from. `nox -s slow -- tests/test_browser.py`
"""

import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import anyio
import anyio.from_thread
import pytest

import anysse
from anysse.testing import Connection
from anysse.testing import SocketServer as Server
from tests.server import event_stream, serve

pytestmark = [pytest.mark.once, pytest.mark.slow]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # the page is ours, and root has no other way
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)
DEADLINE = 300.0
COUNT = 300
"""Streams of each kind: read to their end once, and resumed after it."""

PAGE = """<!doctype html><meta charset="utf-8"><script>
function read({ path, types, resumes }) {
  return new Promise((resolve) => {
    const events = [];
    const source = new EventSource(path + "?browser");
    const take = (event) => {
      if (event instanceof MessageEvent) events.push([event.type, event.data, event.lastEventId]);
    };
    for (const type of types) source.addEventListener(type, take);
    source.addEventListener("error", (event) => {
      if (event instanceof MessageEvent) return; // one that the server sent
      if (resumes && source.readyState === EventSource.CONNECTING) return;
      source.close();
      resolve(events);
    });
  });
}
async function main() {
  const cases = await (await fetch("/cases")).json();
  const results = {};
  const next = cases.values();
  const worker = async () => { for (const each of next) results[each.path] = await read(each); };
  await Promise.all([worker(), worker(), worker(), worker()]);
  await fetch("/results", { method: "POST", body: JSON.stringify(results) });
}
main();
</script>"""


class Seen(NamedTuple):
    """An event, and the last event ID when it was dispatched."""

    type: str
    data: str
    last_event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A stream as it is sent, read by read; one that is resumed gets a 204 for its second request."""

    path: str
    chunks: tuple[bytes, ...]
    resumes: bool

    @property
    def stream(self) -> bytes:
        return b"".join(self.chunks)


# --- what is sent ---

LINE_ENDS = [b"\n", b"\n", b"\r\n", b"\r\n", b"\r"]
BOM = b"\xef\xbb\xbf"
BEGINNINGS = [b"", b"", b"", BOM, BOM, BOM * 2, BOM[:2], BOM[1:], b"\xfe\xff", b" " + BOM]
NAMES = [*["data"] * 8, *["id"] * 4, *["event"] * 3]
NAMES += ["DATA", " data", "data ", "datax", "\ufeffdata", "x", "da\0ta"]
COLONS = [b":"] * 3 + [b": "] * 4 + [b":  ", b"", b" :", b":\t", b"::", b":\xc2\xa0"]
# Line ends of other standards, spaces, NULs, digits of other scripts.
TEXTS = ["", *"x :\t\0\v\f\x1c\x85\u2028\u2029\ufeff\u3000\xfc\u65e5\U0001f600", "a b", "error", "open"]
TEXTS += ["17", "+5", "-1", "1_000", "1e3", "\u0661\u0662", "\xb2", "\uff19", "9" * 30]
# No UTF-8: cut off, too long, a surrogate, out of range, and what never occurs.
BROKEN = [
    b"\xff",
    b"\x80",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
]
SENDABLE = ["1", "17", "a b", "\xfc", "\u65e5", "\U0001f600", "\u0661", ":", "-", "\x85"]
"""What an ID may be made of that is to go out as a header."""


def value(draw: random.Random, texts: list[str]) -> bytes:
    pieces = [draw.choice(texts).encode() for _ in range(draw.choice([0, 1, 1, 1, 2, 3]))]
    if texts is TEXTS and draw.random() < 0.2:
        pieces.insert(draw.randint(0, len(pieces)), draw.choice(BROKEN))
    return b"".join(pieces)


def line(draw: random.Random, *, resumes: bool) -> bytes:
    name = draw.choice(NAMES if resumes else [*NAMES, "retry", "retry"])
    if draw.random() < 0.1:
        return b":" + value(draw, TEXTS)
    colons, texts = (COLONS[:7], SENDABLE) if resumes and name == "id" else (COLONS, TEXTS)
    return name.encode() + draw.choice(colons) + value(draw, texts)


def generated(draw: random.Random, *, resumes: bool) -> bytes:
    """Give a stream; one that is resumed sets the reconnection time, and IDs that can be a header."""
    stream = draw.choice(BEGINNINGS)
    stream += draw.choice(LINE_ENDS) + b"retry:1" + draw.choice(LINE_ENDS) if resumes else b""
    for _ in range(draw.randint(1, 6)):
        for _ in range(draw.choice([0, 1, 1, 2, 3, 5])):
            stream += line(draw, resumes=resumes) + draw.choice(LINE_ENDS)
        stream += draw.choice(LINE_ENDS)
    stream += line(draw, resumes=resumes) if draw.random() < 0.3 else b""
    # Chromium (156) takes a lone LF or CR right after the BOM for a part of the line that follows.
    return re.sub(rb"^\xef\xbb\xbf(?=\n|\r(?!\n))", BOM + b":", stream)


def cut(draw: random.Random, stream: bytes) -> tuple[bytes, ...]:
    """Cut anywhere, and rather where it hurts: around line ends, and within characters."""
    places = range(1, len(stream))
    sore = [place for place in places if stream[place - 1] in b"\r\n" or stream[place] >= 0x80]
    cuts = {draw.choice(sore) for _ in range(draw.randint(0, 6)) if sore}
    cuts |= {draw.choice(places) for _ in range(draw.randint(0, 3)) if places}
    marks = [0, *sorted(cuts), len(stream)]
    return tuple(stream[start:end] for start, end in pairwise(marks))


def case(number: int, *, resumes: bool) -> Case:
    draw = random.Random(f"{number} {resumes}")
    chunks = cut(draw, generated(draw, resumes=resumes))
    return Case(path=f"/{'resume' if resumes else 'read'}/{number}", chunks=chunks, resumes=resumes)


@functools.cache
def cases() -> dict[str, Case]:
    """Give every stream by its path."""
    made = [case(number, resumes=resumes) for resumes in (False, True) for number in range(COUNT)]
    return {each.path: each for each in made}


def types_of(stream: bytes) -> list[str]:
    """Give every type that anyone might read out of a stream: a page hears only what it listens for."""
    text = stream.decode("utf-8", "replace")
    values = {part.partition(":")[2] for part in [*text.splitlines(), *re.split("\r\n|\r|\n", text)]}
    cleaned = {
        variant for value in values for variant in (value, value[1:], value.strip(), value.split("\0")[0])
    }
    return sorted({"message", "open"} | cleaned - {""})


# --- who reads ---


class Answers:
    """What the server says; the results of the page end up in `results`."""

    def __init__(self) -> None:
        self.results: Future[dict[str, list[list[str]]]] = Future()
        self._asked: Counter[str] = Counter()

    async def __call__(self, connection: Connection) -> None:
        path = connection.request.path
        if case := cases().get(path):
            await self._stream(connection, case)
        elif path == "/page":
            await connection.respond(200, {"Content-Type": "text/html"}, PAGE)
        elif path == "/cases":
            described = [
                {"path": each.path, "types": types_of(each.stream), "resumes": each.resumes}
                for each in cases().values()
            ]
            await connection.respond(200, {"Content-Type": "application/json"}, json.dumps(described))
        elif path == "/results":
            await connection.respond(204, body=b"")
            self.results.set_result(json.loads(connection.request.body))
        else:
            await connection.respond(404, body=b"")

    async def _stream(self, connection: Connection, case: Case) -> None:
        target = connection.request.target
        self._asked[target] += 1
        if self._asked[target] == 2:
            await connection.respond(204, body=b"")
            return
        await event_stream(connection)
        for chunk in case.chunks:
            await anyio.sleep(0.0005)  # so that the browser reads them one by one, mostly
            await connection.send(chunk)


@contextmanager
def browsing(browser: str, folder: Path, url: str) -> Iterator[None]:
    """Let the browser show a page."""
    errors = folder / "stderr"
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", url]
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(command, stdout=stderr, stderr=stderr, start_new_session=True) as process,
    ):
        try:
            yield
        except BaseException as exc:
            exc.add_note(errors.read_text(errors="replace")[-5000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers()


@pytest.fixture(scope="module")
def server(answers: Answers) -> Iterator[Server]:
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(then=answers)) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def seen_by_browser(
    server: Server, answers: Answers, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Seen]]:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
    with browsing(browser, tmp_path_factory.mktemp("browser"), f"{server.url}/page"):
        results = answers.results.result(DEADLINE)
    return {path: [Seen(*event) for event in events] for path, events in results.items()}


async def read(server: Server, case: Case, who: str, options: dict[str, Any]) -> list[Seen]:
    url = f"{server.url}{case.path}?{who}"
    async with anysse.open_stream(url, kind="feed", **options) as events:
        return [Seen(event.event, event.data, event.id) async for event in events]


def ids_sent(server: Server, case: Case, who: str) -> list[str | None]:
    """Give the last event ID of each request."""
    return [
        request.headers.get("last-event-id")
        for request in server.requests
        if request.target == f"{case.path}?{who}"
    ]


@pytest.mark.parametrize("resumes", [False, True], ids=["to the end", "resumed"])
async def test_a_browser_reads_the_same(
    server: Server,
    seen_by_browser: dict[str, list[Seen]],
    resumes: bool,
    library: ModuleType,
    request: pytest.FixtureRequest,
) -> None:
    who = request.node.callspec.id.replace(" ", "-")
    differences: list[str] = []
    async with library.AsyncClient(trust_env=False) as client:
        limiter = anyio.CapacityLimiter(20)
        options = {"client": client} if resumes else {"client": client, "retry": None}

        async def compare(case: Case) -> None:
            async with limiter:
                ours = await read(server, case, who, options)
            theirs = seen_by_browser[case.path]
            ids, their_ids = ids_sent(server, case, who), ids_sent(server, case, "browser")
            if (ours, ids) != (theirs, their_ids):
                differences.append(f"{case}:\n  anysse: {ours} {ids}\n  browser: {theirs} {their_ids}")

        async with anyio.create_task_group() as tasks:
            for case in cases().values():
                if case.resumes == resumes:
                    tasks.start_soon(compare, case)
    assert not differences, f"{len(differences)} of {COUNT}:\n" + "\n".join(differences[:10])
