"""The plugin for pytest: the fixture ``anysse_server``, for tests of any kind. Nothing else imports it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Protocol

import pytest
from anyio.from_thread import start_blocking_portal

from ._script import Script
from ._server import SocketServer, serve


class Serve(Protocol):
    """What ``anysse_server`` is: ``serve``, as a function that needs no event loop."""

    def __call__(
        self,
        *scripts: Script,
        then: Script | None = None,
        routes: Mapping[str, Script] | None = None,
        tls: bool = False,
        must_use_all: bool = True,
    ) -> SocketServer:
        """Serve scripts until the test is over."""


@pytest.fixture
def anysse_server() -> Iterator[Serve]:
    """Give a function that serves scripts until the test is over, and gives the server.

    It takes what ``anysse.testing.serve`` takes, any number of times. The servers have a thread of their own,
    so that a test may be synchronous, or under any event loop. A script that failed, or was never asked for,
    is an error once the test is over.
    """
    with start_blocking_portal() as portal, ExitStack() as servers:

        def start(
            *scripts: Script,
            then: Script | None = None,
            routes: Mapping[str, Script] | None = None,
            tls: bool = False,
            must_use_all: bool = True,
        ) -> SocketServer:
            served = serve(*scripts, then=then, routes=routes, tls=tls, must_use_all=must_use_all)
            return servers.enter_context(portal.wrap_async_context_manager(served))

        yield start
