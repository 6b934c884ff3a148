"""When the network of this machine changes: the system tells, or is asked now and then. Knows sockets, AnyIO.

There is no task in it: whoever receives reads, and what nobody reads waits with the system, which has a
bound for it.
"""

import errno
import math
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from typing import Final, Protocol, final

import anyio
from anyio.abc import ObjectReceiveStream
from anyio.lowlevel import checkpoint

from . import _addresses, _netlink

_QUIET: Final = 0.05
"""Seconds without a message after which a change is whole: a link, its addresses and routes come together."""
_LONGEST: Final = 0.3
"""Seconds that a change takes at most: a stream is to be back within one."""
_PERIOD: Final = 2.0
"""Seconds between two looks, where the system does not tell."""

_READ_SIZE: Final = 65_536
"""Bytes of a datagram: Linux sends 32 KiB at most."""
_READS: Final = 1024
"""Datagrams that are read at once: a machine with so many links as that is a strange one."""
_TRIES: Final = 3
"""How often all is asked for at once, where the answer is interrupted."""
_AGAIN: Final = 1.0
"""Seconds until all may be asked for again: in a storm of changes that would take all the time there is."""
_PASSING: Final = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What asking may fail with for a while: there is too little of something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChange:
    """What is different about the network of this machine.

    Addresses are text, as ``socket.getsockname()`` gives them, without a scope. Those that lead nowhere
    (``127.0.0.1``, ``::1``) are not told of, and one of IPv6 is only once nobody else turned out to have it.
    """

    gained: frozenset[str]
    """Addresses that the machine has now, and did not have."""
    lost: frozenset[str]
    """Addresses that it had, and has no more."""
    is_back: bool
    """Whether an address, a route, or a link that has an address came: a reason to try again.

    Addresses and routes of one link alone (``fe80::/10``, ``169.254.0.0/16``) are none. A link that leads to
    containers or virtual machines alone may be one, such as a bridge that has an address, as its first
    container starts. It is true as well where more happened than the system keeps. So it may come often,
    and with no way to others: bound what you do about it.
    """


@asynccontextmanager
async def watch() -> AsyncGenerator[ObjectReceiveStream[NetworkChange]]:
    """Give an async context manager of a stream that tells when the network of this machine changes.

    What happens after it was entered is told, by ``receive()`` or ``async for``, which have no end. What
    belongs together is one change: on Linux it is told once it was quiet for 0.05 seconds, after 0.3 at most,
    though addresses may follow a second later where more happens than the system keeps.
    On other systems, and where a sandbox refuses netlink sockets, the system is asked every 2 seconds which
    addresses it would use; nothing is sent for that. Nothing is told where all is as it was: scans of a
    wireless network, an address whose time was extended, a route that was refreshed.

    Cancelling ``receive()`` loses no change. To one who reads late, all that happened meanwhile is one
    change, and takes no more memory the longer it lasts. Leaving the context, or ``aclose()``, closes the
    socket at once. There may be many watches at once, with a socket each. One task may receive at a time.

    Raises:
        anyio.ClosedResourceError: By ``receive()``, where the watch was closed.
        anyio.BusyResourceError: By ``receive()``, where another task is receiving.
    """
    changes = Changes(open_source())
    try:
        yield changes
    finally:
        changes.close()


class Source(Protocol):
    """Where it is known from what addresses there are."""

    is_back: bool
    """Whether something came by which others may be reached; whoever takes note of it resets it."""

    @property
    def addresses(self) -> frozenset[str]:
        """Those that the machine has, as far as this knows by now."""
        ...

    async def wait(self) -> None:
        """Wait until there may be news, and take them in. Raises an ``OSError`` where there will be none."""

    def close(self) -> None:
        """Close it at once; whoever waits is told, as anyone who comes later."""


def open_source() -> Source:
    """Give the best source that there is here."""
    if sys.platform == "linux":
        with suppress(OSError):
            return TellingSource()
    return AskingSource()


def open_socket() -> socket.socket:
    """Open a socket on which Linux tells of its network."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


@final
class TellingSource:
    """Linux tells, by a netlink socket.

    Raises:
        OSError: It is refused: a sandbox may know no such sockets.
    """

    def __init__(self) -> None:
        self.is_back = False
        self._interfaces = _netlink.Interfaces()
        self._is_closed = False
        self._is_whole = True  # nothing was lost that is to be asked for
        self._renews_at = -math.inf
        self._socket = open_socket()
        try:
            self._socket.settimeout(0)
            self._socket.bind((0, _netlink.GROUPS))
            self._renew()
        except BaseException:
            self._socket.close()
            raise
        self.is_back = False  # what was there before

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset(_text(packed) for packed in self._interfaces.addresses)

    async def wait(self) -> None:
        self._check_open()
        with anyio.CancelScope(deadline=math.inf if self._is_whole else self._renews_at):
            await anyio.wait_readable(self._socket)
        self._check_open()  # it may have been closed just as there was something to read
        # While there is more to read, Linux may leave out more, and says so only once.
        is_all = self._read()
        if is_all and not self._is_whole and anyio.current_time() >= self._renews_at:
            self._mend()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            anyio.notify_closing(self._socket)
            self._socket.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise anyio.ClosedResourceError

    def _read(self) -> bool:
        """Take in what there is, and tell whether that was all."""
        for _ in range(_READS):
            try:
                messages = _receive(self._socket)
            except BlockingIOError:
                return True
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
                self._is_whole = False
                self.is_back = True  # a route may have come: nobody can tell
            else:
                self.is_back |= self._interfaces.apply(messages)
        return False

    def _mend(self) -> None:
        """Ask for what was lost; where that cannot be done now, it is done later."""
        self._renews_at = anyio.current_time() + _AGAIN
        try:
            self._renew()
        except OSError as exc:
            if exc.errno not in _PASSING:
                raise

    def _renew(self) -> None:
        """Take in all that there is; what is left out of it now is asked for later."""
        for _ in range(_TRIES):
            answers = _ask_for_all()
            self.is_back |= self._interfaces.renew(answers)
            self._is_whole = _netlink.Interrupted() not in answers
            if self._is_whole:
                break


def _ask_for_all() -> list[_netlink.Message]:
    """Ask Linux for all that there is. It makes the answer as it is read, so nothing waits here.

    The socket is one of its own, that is told nothing else: no storm of changes can make it overflow.
    """
    answers: list[_netlink.Message] = []
    with closing(open_socket()) as asking:
        asking.settimeout(0)
        for number, request in enumerate((_netlink.link_request, _netlink.address_request), 1):
            asking.send(request(number))
            answers += _answer(asking, number)
    return answers


def _answer(asking: socket.socket, number: int) -> list[_netlink.Message]:
    answer: list[_netlink.Message] = []
    for _ in range(_READS):
        messages = _receive(asking)
        answer += messages
        if _netlink.End(number, is_failure=True) in messages:
            break
        if _netlink.End(number) in messages:
            return answer
    raise OSError(errno.EIO, "netlink gave no answer")


def _receive(source: socket.socket) -> list[_netlink.Message]:
    data, (sender, _) = source.recvfrom(_READ_SIZE)
    # Other processes may send here, too; 0 is the system.
    return [] if sender else list(_netlink.parse(data))


@final
class AskingSource:
    """Anywhere: the system is asked now and then which addresses it would use.

    Args:
        known: Addresses that the machine had before.
    """

    def __init__(self, known: frozenset[str] = frozenset()) -> None:
        self.is_back = False
        self._used = _addresses.used_addresses()
        self._addresses = known
        self._closing = anyio.Event()
        self._keep_time()

    @property
    def addresses(self) -> frozenset[str]:
        return self._addresses

    async def wait(self) -> None:
        # The time of the next look is kept: one who never waits for long would see none.
        with anyio.CancelScope(deadline=self._looks_at):
            await self._closing.wait()
        if self._closing.is_set():
            raise anyio.ClosedResourceError
        used = _addresses.used_addresses()
        self.is_back |= not used <= self._used
        self._used = used
        self._keep_time()

    def close(self) -> None:
        self._closing.set()

    def _keep_time(self) -> None:
        """Keep what the machine has, used or not, and when to look again."""
        still_there = {address for address in self._addresses if _addresses.has_address(address)}
        self._addresses = self._used | still_there
        self._looks_at = anyio.current_time() + _PERIOD


@final
class Changes(ObjectReceiveStream[NetworkChange]):
    """What a watch hands out: the difference between what is there and what was told."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._told = source.addresses
        self._guard = anyio.ResourceGuard("receiving from")

    async def receive(self) -> NetworkChange:
        with self._guard:
            while True:
                while not self._has_news():
                    await self._wait()
                await self._settle()
                if self._has_news():  # what left may have come again meanwhile
                    return self._take()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def close(self) -> None:
        """Close it at once."""
        self._source.close()

    def _has_news(self) -> bool:
        return self._source.is_back or self._source.addresses != self._told

    def _take(self) -> NetworkChange:
        before, now = self._told, self._source.addresses
        change = NetworkChange(gained=now - before, lost=before - now, is_back=self._source.is_back)
        self._told, self._source.is_back = now, False
        return change

    async def _settle(self) -> None:
        with anyio.move_on_after(_LONGEST):
            is_quiet = False
            while not is_quiet:
                with anyio.move_on_after(_QUIET) as silence:
                    await self._wait()
                is_quiet = silence.cancelled_caught

    async def _wait(self) -> None:
        try:
            await self._source.wait()
        except OSError:  # it tells no more
            is_back = self._source.is_back
            self._source.close()
            self._source = AskingSource(self._source.addresses)
            self._source.is_back = is_back


def _text(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
