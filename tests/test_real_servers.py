"""Servers that people run: Starlette with sse-starlette under uvicorn, and Node's own.

Each is a process of its own, started once. Its standard error goes where ours does, so that pytest shows it
with the test that failed.
"""

import functools
import json
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import anyio
import pytest

import anysse
from tests.conftest import is_importable

pytestmark = pytest.mark.once

FOLDER = Path(__file__).parent / "servers"
DEADLINE = 30.0
LAST = 30
"""The last number of the feed, which takes three connections: one ends, one is cut, one ends."""
PROMPT = "why is the sky über-blue?"


def command_of(name: str) -> list[str]:
    """Give what starts a server; skip where the machine cannot run it."""
    if name == "starlette":
        return [sys.executable, str(FOLDER / "starlette_app.py")]
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    return [node, str(FOLDER / "plain.mjs")]


@contextmanager
def running(*command: str) -> Iterator[str]:
    """Run a server that prints its port, give its URL, and end it in order."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            ready, _, _ = select.select([server.stdout], [], [], DEADLINE)
            port = server.stdout.readline().decode().strip() if ready else ""
            assert port.isdigit(), f"{command} did not start: {server.poll()}"
            yield f"http://127.0.0.1:{port}"
            assert server.poll() is None, f"{command} ended by itself"
            server.terminate()
            assert server.wait(DEADLINE) in (0, -signal.SIGTERM)
        finally:
            server.kill()


@pytest.fixture(scope="module")
def url_of() -> Iterator[Callable[[str], str]]:
    """Start a server when it is first asked for; both run to the end, in whatever order the tests do."""
    with ExitStack() as servers:
        yield functools.cache(lambda name: servers.enter_context(running(*command_of(name))))


@pytest.fixture(params=["starlette", "node"])
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    return url_of(request.param)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


async def text_of(events: anysse.EventStream) -> str:
    return "".join([event.data async for event in events])


async def check_feed(events: anysse.EventStream) -> None:
    received = [event async for event in events]
    assert [event.data for event in received] == [f"{number}\nünï" for number in range(1, LAST + 1)]
    assert [event.id for event in received] == [str(number) for number in range(1, LAST + 1)]
    assert {event.event for event in received} == {"number"}
    assert events.status == "completed"
    assert events.last_event_id == str(LAST)
    assert events.reconnection_time == 0.1
    # The 204 is no connection; what was cut is a failure, what ended is not.
    assert (events.statistics().connections, events.statistics().retries) == (3, 1)


async def test_every_number_of_a_feed_comes_once(url: str, library: ModuleType) -> None:
    comments: list[str] = []
    with anyio.fail_after(DEADLINE):
        async with (
            library.AsyncClient() as client,
            anysse.open_stream(f"{url}/feed", client=client, on_comment=comments.append) as events,
        ):
            await check_feed(events)
    assert comments == ["welcome"] * 3


async def test_every_number_of_a_feed_comes_once_without_a_client(url: str) -> None:
    with anyio.fail_after(DEADLINE):
        async with anysse.open_stream(f"{url}/feed") as events:
            await check_feed(events)


async def test_resumes_where_another_program_stopped(url: str, library: ModuleType) -> None:
    with anyio.fail_after(DEADLINE):
        async with (
            library.AsyncClient() as client,
            anysse.open_stream(f"{url}/feed", client=client, last_event_id="25") as events,
        ):
            assert (await events.receive()).id == "26"


async def test_an_answer_ends_with_done_and_leaves_its_connection(url: str, library: ModuleType) -> None:
    limits = library.Limits(max_connections=1)
    with anyio.fail_after(DEADLINE):
        async with library.AsyncClient(limits=limits) as client:
            for _ in range(3):
                async with anysse.open_stream(
                    f"{url}/chat", method="POST", json={"prompt": PROMPT}, client=client, done="[DONE]"
                ) as events:
                    assert await text_of(events) == f" {PROMPT}"
                assert events.status == "completed"


async def test_an_answer_ends_with_done_without_a_client(url: str) -> None:
    with anyio.fail_after(DEADLINE):
        async with anysse.open_stream(
            f"{url}/chat", method="POST", json={"prompt": PROMPT}, done="[DONE]"
        ) as events:
            assert await text_of(events) == f" {PROMPT}"


async def test_a_prompt_whose_answer_is_cut_is_not_sent_again(
    url: str, library: ModuleType, request: pytest.FixtureRequest
) -> None:
    prompt = f"{PROMPT} {request.node.name}"
    with anyio.fail_after(DEADLINE):
        async with (
            library.AsyncClient() as client,
            anysse.open_stream(
                f"{url}/chat",
                method="POST",
                json={"prompt": prompt, "cut": True},
                client=client,
                done="[DONE]",
            ) as events,
        ):
            with pytest.raises(anysse.StreamDropped) as caught:
                await text_of(events)
    assert caught.value.headers is not None
    assert caught.value.headers["x-times"] == "1"


async def test_a_refusal_has_the_answer_of_the_server(url: str, library: ModuleType) -> None:
    async with library.AsyncClient() as client:
        opening = anysse.open_stream(f"{url}/chat", method="POST", data={"prompt": PROMPT}, client=client)
        with pytest.raises(anysse.StatusError) as caught:
            await opening.__aenter__()
    assert caught.value.status_code == 415
    assert json.loads(caught.value.body) == {"error": "JSON, please"}


async def test_the_server_sees_whoever_leaves(url: str, library: ModuleType) -> None:
    async with library.AsyncClient() as client:

        async def until(count: int) -> None:
            while (await client.get(f"{url}/readers")).json() != count:  # noqa: ASYNC110 - of another process
                await anyio.sleep(0.01)

        with anyio.fail_after(DEADLINE):
            async with anysse.open_stream(f"{url}/held", client=client) as events:
                async for event in events:
                    assert event.data == "one"
                    await until(1)
                    break
            await until(0)


# --- the command ---


def run(*arguments: str) -> tuple[list[dict[str, object]], str]:
    """Run the command, which is to succeed; give the objects that it printed, and standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "anysse", *arguments, "--json"],
        capture_output=True,
        timeout=DEADLINE,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize(
    "backend",
    ["asyncio", pytest.param("trio", marks=pytest.mark.skipif(not is_importable("trio"), reason="no trio"))],
)
def test_the_command_reads_a_feed(url: str, backend: str) -> None:
    events, told = run(f"{url}/feed", "--max-events", "25", "--backend", backend)
    assert [event["id"] for event in events] == [str(number) for number in range(1, 26)]
    assert events[0] == {"event": "number", "data": "1\nünï", "id": "1", "retry": None}
    assert told.count("\n") == told.count("trying again in 0.1 s") == 1  # after the cut; an end is no news


@pytest.mark.parametrize("options", [["--data-json"], ["-H", "Content-Type: application/json", "-d"]])
def test_the_command_reads_an_answer(url: str, options: list[str]) -> None:
    events, told = run(f"{url}/chat", *options, json.dumps({"prompt": PROMPT}), "--done", "[DONE]")
    assert "".join(str(event["data"]) for event in events) == f" {PROMPT}"
    assert told == ""
