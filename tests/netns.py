"""Two network namespaces joined by a cable, for tests of a network that goes away and comes back.

    with linked_namespaces() as link:
        server = link.server.popen([sys.executable, "-c", SERVER])
        link.down()
        link.client.run([sys.executable, "-c", CLIENT, link.server_address])

Nothing of it is seen from outside, and nothing is left of it: a namespace is gone once nobody is in it.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

Command: TypeAlias = Sequence[str | Path]

DEADLINE: Final = 60.0  # a shared machine is slow at times
INTERFACE: Final = "eth0"
"""How each end of the cable is called."""
PREFIX: Final = "10.91.0"
"""A private network, /24."""
TOOLS: Final = ("ip", "nsenter", "unshare")


class Namespace:
    """A network of its own; processes that are run in it see no other."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._children: list[subprocess.Popen[str]] = []
        self._watchdogs: list[threading.Timer] = []

    def command(self, command: Command) -> list[str]:
        """Give the command that runs this one in here, as the same process: for ``anyio.open_process``."""
        return ["nsenter", f"--target={self.pid}", "--net", "--", *map(str, command)]

    def run(
        self, command: Command, *, check: bool = True, timeout: float = DEADLINE, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run something to its end, which is to be a good one; its output is kept as text."""
        whole = self.command(command)
        ended = subprocess.run(whole, check=False, capture_output=True, text=True, timeout=timeout, **options)
        assert ended.returncode == 0 or not check, f"{command}: {ended.returncode}\n{ended.stderr}"
        return ended

    def popen(self, command: Command, **options: Any) -> subprocess.Popen[str]:
        """Start something, its pipes (``stdout=subprocess.PIPE``) as text; it is killed where this ends.

        And after a while, so that a test that reads from it does not hang with it.
        """
        child = subprocess.Popen(self.command(command), text=True, **options)
        self._children.append(child)
        self._watchdogs.append(threading.Timer(2 * DEADLINE, child.kill))
        self._watchdogs[-1].start()
        return child

    def ip(self, *words: str) -> str:
        """Run ``ip``, as in ``ip("address", "add", ...)``, and give what it printed."""
        return self.run(["ip", *words]).stdout

    def kill(self) -> None:
        """Kill all that ``popen`` started."""
        for watchdog in self._watchdogs:
            watchdog.cancel()
        for child in self._children:
            end_process(child)


class Link:
    """A cable: its two ends, and what may happen to it. Each end has an IPv4 address, and no IPv6."""

    def __init__(self, client: Namespace, server: Namespace) -> None:
        self.client = client
        self.server = server
        self.server_address = f"{PREFIX}.1"
        self.client_address = f"{PREFIX}.2"

    def down(self) -> None:
        """Take the client's interface down: its routes go, its address stays."""
        self.client.ip("link", "set", INTERFACE, "down")

    def up(self) -> None:
        """Bring it up again."""
        self.client.ip("link", "set", INTERFACE, "up")

    def replace_client_address(self, address: str) -> None:
        """Give the client another address (``"10.91.0.3/24"``): connections from the old one are dead."""
        self.client.ip("address", "flush", "dev", INTERFACE)
        self.client.ip("address", "add", address, "dev", INTERFACE)
        self.client_address = address.partition("/")[0]


@contextmanager
def linked_namespaces() -> Generator[Link]:
    """Make two namespaces, joined; whatever runs in them is killed at the end."""
    with namespace() as client, namespace() as server:
        peer = ("peer", "name", INTERFACE, "netns", str(server.pid))
        client.ip("link", "add", INTERFACE, "type", "veth", *peer)
        link = Link(client, server)
        _plug_in(client, link.client_address)
        _plug_in(server, link.server_address)
        yield link


@contextmanager
def namespace() -> Generator[Namespace]:
    """Make a namespace with a loopback and nothing else; whatever runs in it is killed at the end."""
    with ExitStack() as stack:
        # Its input ends where this process does, even a killed one: then so does it.
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(end_process, holder)
        assert holder.stdout is not None
        assert holder.stdout.readline(), "unshare was refused"
        made = Namespace(holder.pid)
        stack.callback(made.kill)
        made.ip("link", "set", "lo", "up")
        yield made


def end_process(child: subprocess.Popen[str]) -> None:
    """Kill a process, if it still runs, and close what leads to it."""
    child.kill()
    with child:
        pass


def _plug_in(end: Namespace, address: str) -> None:
    # An address that comes by itself, seconds later, would be a change that no test asked for.
    end.run(["ip", "link", "set", INTERFACE, "addrgenmode", "none"], check=False)  # not without IPv6
    end.ip("address", "add", f"{address}/24", "dev", INTERFACE)
    end.ip("link", "set", INTERFACE, "up")


@cache
def missing() -> str | None:
    """Give why there can be no namespaces here, for ``pytest.mark.skipif(bool(missing()), reason=...)``."""
    reasons: dict[str, Callable[[], bool]] = {
        "network namespaces are Linux's": lambda: sys.platform != "linux",
        "only root may make network namespaces": lambda: os.geteuid() != 0,
        f"not all of {', '.join(TOOLS)} are installed": lambda: not all(map(shutil.which, TOOLS)),
        "the system refuses network namespaces, or veth": lambda: not _are_allowed(),
    }
    return next((reason for reason, holds in reasons.items() if holds()), None)


def _are_allowed() -> bool:
    attempt = ["unshare", "--net", "ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", "eth1"]
    return subprocess.run(attempt, capture_output=True, timeout=DEADLINE, check=False).returncode == 0
