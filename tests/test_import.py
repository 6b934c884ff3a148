"""What is loaded, in a fresh interpreter: by `import anysse`, and by a stream over one library."""

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import anyio.from_thread
import pytest

from tests.conftest import is_importable
from tests.server import feed, serve

OPTIONAL = {"anysse.__main__", "anysse.cli", "argparse", "httpx", "httpx2", "trio", "uvloop"}
NOT_OF_CLIENTS = OPTIONAL - {"argparse", "trio"}
"""Without what httpx and httpx2 load by themselves."""

OVER_A_CLIENT = """
import anyio, anysse, sys, {library} as library

async def main():
    async with library.AsyncClient() as client:
        async with anysse.open_stream(sys.argv[1], client=client, retry=None) as events:
            assert [event.data async for event in events] == ["x"]

anyio.run(main, backend="{backend}")
"""
WITHOUT_A_CLIENT = """
import anyio, anysse, sys

async def main():
    async with anysse.open_stream(sys.argv[1], retry=None) as events:
        assert [event.data async for event in events] == ["x"]

anyio.run(main)
"""


def modules_loaded_by(program: str, *arguments: str) -> set[str]:
    code = f"{program}\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return set(run.stdout.split())


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(then=feed("data: x\n\n"))) as server,
    ):
        yield server.url


def test_importing_anysse_loads_nothing_optional_and_no_client() -> None:
    # Whatever an environment starts by itself (as coverage does) is not ours.
    assert not modules_loaded_by("import anysse") & OPTIONAL - modules_loaded_by("pass")


@pytest.mark.parametrize(
    "backend",
    ["asyncio", pytest.param("trio", marks=pytest.mark.skipif(not is_importable("trio"), reason="no trio"))],
)
def test_a_stream_loads_no_other_library_than_its_clients(
    url: str, library: ModuleType, backend: str
) -> None:
    name = library.__name__
    loaded = modules_loaded_by(OVER_A_CLIENT.format(library=name, backend=backend), url)
    assert loaded & NOT_OF_CLIENTS == {name}


def test_a_stream_without_a_client_loads_httpx_alone(url: str) -> None:
    assert modules_loaded_by(WITHOUT_A_CLIENT, url) & NOT_OF_CLIENTS == {"httpx"}
