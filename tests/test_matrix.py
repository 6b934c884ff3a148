"""The matrix of `conftest.py` is what it says."""

import asyncio
import sys
from types import ModuleType

import anyio.lowlevel
import pytest

from tests.conftest import is_importable


def running_backend() -> str:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio" if is_importable("trio") and in_trio_run() else "none"
    return "asyncio"


def in_trio_run() -> bool:
    import trio

    return trio.lowlevel.in_trio_run()


async def test_async_tests_run_on_the_named_backend(anyio_backend_name: str) -> None:
    await anyio.lowlevel.checkpoint()
    assert running_backend() == anyio_backend_name


async def test_each_asyncio_flavour_is_what_its_id_says(
    anyio_backend_name: str, request: pytest.FixtureRequest
) -> None:
    if anyio_backend_name != "asyncio":
        return
    flavour = request.node.callspec.id
    loop = asyncio.get_running_loop()
    assert loop.get_debug()
    assert (type(loop).__module__.partition(".")[0] == "uvloop") == (flavour == "uvloop")
    if sys.version_info >= (3, 12):
        assert (loop.get_task_factory() is asyncio.eager_task_factory) == (flavour == "asyncio-eager")


def test_every_library_has_the_same_face(library: ModuleType) -> None:
    assert {"AsyncClient", "Request", "TransportError"} <= set(vars(library))
