"""The matrix: async tests run on every backend that is installed, HTTP tests over both libraries."""

import asyncio
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

ON_CI = os.environ.get("CI", "") not in ("", "0", "false")


def is_importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def eager_event_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    return loop


def available_backends() -> list[Any]:
    """Give what `anyio_backend` takes: all that are installed, or those that nox names."""
    named = os.environ.get("ANYSSE_TEST_BACKENDS", "").split()
    return [backend for backend in installed_backends() if not named or backend.id in named]


def installed_backends() -> list[Any]:
    """Give each backend of this environment, with its options."""
    backends = [pytest.param(("asyncio", {"debug": True}), id="asyncio")]
    if sys.version_info >= (3, 12):
        backends.append(
            pytest.param(("asyncio", {"debug": True, "loop_factory": eager_event_loop}), id="asyncio-eager")
        )
    if is_importable("uvloop"):
        import uvloop

        options = {"debug": True, "loop_factory": uvloop.new_event_loop}
        backends.append(pytest.param(("asyncio", options), id="uvloop"))
    if is_importable("trio"):
        backends.append(
            pytest.param(("trio", {"restrict_keyboard_interrupt_to_checkpoints": True}), id="trio")
        )
    return backends


def available_libraries() -> list[str]:
    """Give the HTTP libraries to test over: all that are installed, or the one that nox names."""
    named = os.environ.get("ANYSSE_TEST_LIBRARY")
    return [named] if named else [name for name in ("httpx", "httpx2") if is_importable(name)]


# Wider than one test, so that Hypothesis may run many examples in one; each test has a new event loop anyway.
@pytest.fixture(scope="module", params=available_backends())
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """One backend, with its options; `anyio_backend_name` has the bare name."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


@pytest.fixture(scope="session", params=available_libraries())
def library(request: pytest.FixtureRequest) -> ModuleType:
    """The module `httpx` or `httpx2`: `library.AsyncClient()`."""
    return importlib.import_module(request.param)


@pytest.fixture(scope="session", autouse=True)
def _children_as_users_run_them() -> Iterator[None]:
    """Keep development mode to this process: in a child asyncio tells on standard error what took long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDEVMODE", raising=False)
        yield


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep no log: that of a thousand streams takes longer than all they do, and memory."""
    for name in ("anysse", "httpx", "httpcore", "httpx2", "httpcore2"):
        caplog.set_level(logging.ERROR, name)


# A shared machine is slow at times: no deadline, and no verdict on how long drawing takes.
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=100, **_CALM)  # type: ignore[arg-type]
settings.register_profile("ci", max_examples=100, derandomize=True, database=None, **_CALM)  # type: ignore[arg-type]
settings.register_profile("thorough", max_examples=5000, **_CALM)  # type: ignore[arg-type]
# Of a mutant it is asked whether an example fails at all; the smallest that does takes long to find.
settings.register_profile(
    "mutants",
    max_examples=50,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    **_CALM,  # type: ignore[arg-type]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if ON_CI else "dev"))
