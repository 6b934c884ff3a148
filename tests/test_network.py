"""Changes of the network: what Linux tells, as bytes and in a network of its own; what is asked elsewhere."""

import errno
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from anysse import _addresses, _network, network
from anysse._addresses import has_address, used_addresses
from anysse._netlink import (
    Address,
    End,
    Interfaces,
    Interrupted,
    Link,
    Message,
    NewRoute,
    address_request,
    is_link_local,
    link_request,
    parse,
)
from anysse._network import AskingSource, NetworkChange, TellingSource, open_source
from tests import netns
from tests.conftest import is_importable
from tests.streams import in_virtual_time

DEADLINE: Final = 60.0  # a shared machine is slow at times

V4: Final = bytes([10, 91, 0, 2])
V6: Final = bytes.fromhex("fd000000000000000000000000000002")
LINK_LOCAL: Final = bytes.fromhex("fe800000000000000000000000000002")

UP: Final = 0x1 | 0x40  # IFF_UP, IFF_RUNNING
LOOPBACK: Final = 0x8
TENTATIVE: Final = 0x40
OPTIMISTIC: Final = 0x04
DUPLICATE: Final = 0x08
REPLACES: Final = 0x100
INTERRUPTED: Final = 0x10


# --- messages as the kernel writes them ---------------------------------------------------------------------


def message(kind: int, body: bytes, *, flags: int = 0, number: int = 0) -> bytes:
    length = 16 + len(body)
    return struct.pack("=IHHII", length, kind, flags, number, 0) + body + bytes(-length % 4)


def attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)


def link(index: int, flags: int = UP, *, family: int = 0, kind: int = 16) -> bytes:
    name = attribute(3, b"eth0\0")
    return message(kind, struct.pack("=BxHiII", family, 1, index, flags, 0) + name)


def address(
    packed: bytes, index: int = 2, *, flags: int = 0, scope: int = 0, kind: int = 20, peer: bytes = b""
) -> bytes:
    body = struct.pack("=BBBBI", 2 if len(packed) == 4 else 10, 24, flags, scope, index)
    own = attribute(1, peer) + attribute(2, packed) if peer else attribute(1, packed)
    times = attribute(6, bytes(16))
    return message(kind, body + own + times)


def route(
    destination: bytes = b"",
    *,
    table: int = 254,
    kind: int = 1,
    flags: int = 0,
    replaces: bool = False,
    gone: bool = False,
) -> bytes:
    body = struct.pack("=BBBBBBBBI", 2, 8 * len(destination), 0, 0, table, 3, 0, kind, flags)
    to = attribute(1, destination) if destination else b""
    return message(25 if gone else 24, body + to, flags=REPLACES if replaces else 0)


def end(number: int, *, is_failure: bool = False) -> bytes:
    return message(2 if is_failure else 3, bytes(4), number=number)


def interrupted(data: bytes) -> bytes:
    """Give a message as it is where something changed before it, in an answer."""
    length, kind, flags, number, port = struct.unpack_from("=IHHII", data)
    return struct.pack("=IHHII", length, kind, flags | INTERRUPTED, number, port) + data[16:]


def parsed(*data: bytes) -> list[Message]:
    return list(parse(b"".join(data)))


# --- bytes → messages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (link(2), Link(2, is_up=True)),
        (link(2, flags=0x1), Link(2, is_up=False)),  # up, but there is no cable
        (link(2, flags=0x40), Link(2, is_up=False)),
        (link(2, kind=17), Link(2, is_up=True, is_gone=True)),
        (address(V4), Address(2, V4, 24)),
        (address(V4, peer=bytes([10, 91, 0, 1])), Address(2, V4, 24)),  # a point-to-point link
        (address(V6), Address(2, V6, 24)),
        (address(V6, flags=TENTATIVE), Address(2, V6, 24, is_usable=False)),
        (address(V6, flags=TENTATIVE | OPTIMISTIC), Address(2, V6, 24)),
        (address(V6, flags=0x20), Address(2, V6, 24)),  # deprecated
        (address(V6, flags=TENTATIVE | DUPLICATE), Address(2, V6, 24, is_usable=False, is_gone=True)),
        (address(V6, kind=21), Address(2, V6, 24, is_gone=True)),
        (route(), NewRoute()),
        (route(bytes([10, 0, 0, 0])), NewRoute()),
        (end(7), End(7)),
        (end(7, is_failure=True), End(7, is_failure=True)),
    ],
)
def test_what_matters_is_read(data: bytes, expected: Message) -> None:
    assert parsed(data) == [expected]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(link(1, flags=UP | LOOPBACK), id="loopback"),
        pytest.param(link(2, family=7, kind=17), id="a bridge lost a port, which stays a link"),
        pytest.param(address(bytes([127, 0, 0, 1]), scope=254), id="an address of the loopback"),
        pytest.param(route(replaces=True), id="a route is refreshed"),
        pytest.param(route(flags=0x200), id="a cached route"),
        pytest.param(route(table=255), id="a route to an own address"),
        pytest.param(route(kind=6), id="a blackhole"),
        pytest.param(route(gone=True), id="a route is gone"),
        pytest.param(route(LINK_LOCAL), id="a route to one link alone"),
        pytest.param(message(28, bytes(12)), id="a neighbour"),
        pytest.param(message(16, bytes(15)), id="a short link"),
        pytest.param(message(20, bytes(7)), id="a short address"),
        pytest.param(message(20, struct.pack("=BBBBI", 2, 24, 0, 0, 2)), id="an address without one"),
        pytest.param(
            message(20, struct.pack("=BBBBI", 2, 24, 0, 0, 2) + attribute(2, V6)), id="the wrong family"
        ),
        pytest.param(message(20, struct.pack("=BBBBI", 9, 24, 0, 0, 2) + attribute(2, V4)), id="a family"),
        pytest.param(message(24, bytes(11)), id="a short route"),
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(16), id="no length"),
        pytest.param(b"\xff" * 64, id="a length beyond the end"),
    ],
)
def test_what_does_not_matter_is_left_out(data: bytes) -> None:
    assert parsed(data) == []
    assert not parsed(data, link(3))[1:]


def test_messages_follow_each_other() -> None:
    assert parsed(link(2), message(28, b"x"), address(V4), route()) == [
        Link(2, is_up=True),
        Address(2, V4, 24),
        NewRoute(),
    ]


@pytest.mark.parametrize("whole", [link(2) + address(V6) + route(), address(V4, peer=V4) + end(1)])
def test_wherever_a_datagram_is_cut_what_was_before_is_read(whole: bytes) -> None:
    messages = parsed(whole)
    for size in range(len(whole)):
        read = parsed(whole[:size])
        assert read == messages[: len(read)]


def test_flags_of_an_attributes_kind_are_no_part_of_it() -> None:
    body = struct.pack("=BBBBI", 2, 24, 0, 0, 2)
    assert parsed(message(20, body + attribute(0x8000 | 2, V4))) == [Address(2, V4, 24)]


@pytest.mark.parametrize("odd", [b"\x03\x00\x02\x00" + V4, b"\xff\x00\x02\x00" + V4, b"\x00"], ids=repr)
def test_an_attribute_of_an_odd_length_ends_them(odd: bytes) -> None:
    body = struct.pack("=BBBBI", 2, 24, 0, 0, 2)
    assert parsed(message(20, body + odd + attribute(2, V4))) == []
    assert parsed(message(20, body + attribute(2, V4) + odd)) == [Address(2, V4, 24)]


def test_an_answer_that_was_interrupted_says_so_beside_what_it_says() -> None:
    assert parsed(address(V4), interrupted(address(V6)), interrupted(end(1))) == [
        Address(2, V4, 24),
        Interrupted(),
        Address(2, V6, 24),
        Interrupted(),
        End(1),
    ]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    assert len(parsed(data)) <= 2 * len(data) / 16


@given(st.lists(st.tuples(st.sampled_from([2, 3, 16, 17, 20, 21, 24, 25]), st.binary(max_size=80))))
def test_any_bodies_are_read_without_an_error(parts: list[tuple[int, bytes]]) -> None:
    known = Interfaces()
    known.apply(parsed(*(message(kind, body) for kind, body in parts)))
    for packed in known.addresses:
        assert socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def test_requests_ask_for_all_of_a_kind() -> None:
    links, addresses = link_request(5), address_request(6)
    assert struct.unpack_from("=IHHII", links) == (len(links), 18, 0x301, 5, 0)
    assert struct.unpack_from("=IHHII", addresses) == (len(addresses), 22, 0x301, 6, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("169.254.0.1", True),
        ("169.253.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1", True),
        ("febf::1", True),
        ("fec0::1", False),
        ("fd00::1", False),
        ("2001:db8::1", False),
    ],
)
def test_what_is_of_one_link_alone(text: str, expected: bool) -> None:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    assert is_link_local(packed) is expected


# --- messages → what there is -------------------------------------------------------------------------------


def interfaces(*data: bytes) -> Interfaces:
    known = Interfaces()
    known.renew(parsed(*data))
    return known


def test_an_address_comes_once_however_often_it_is_told() -> None:
    known = Interfaces()
    assert known.apply(parsed(address(V4)))
    assert not known.apply(parsed(address(V4)))
    assert known.addresses == {V4}


def test_an_address_of_two_links_is_there_until_both_are_without() -> None:
    known = interfaces(address(V6, 2), address(V6, 3))
    known.apply(parsed(address(V6, 2, kind=21)))
    assert known.addresses == {V6}
    known.apply(parsed(address(V6, 3, kind=21)))
    assert known.addresses == set()


def test_an_address_that_others_are_asked_about_is_not_there_yet() -> None:
    known = Interfaces()
    assert not known.apply(parsed(address(V6, flags=TENTATIVE)))
    assert known.addresses == set()
    assert known.apply(parsed(address(V6)))


def test_an_address_that_others_are_asked_about_again_stays() -> None:
    known = interfaces(address(V6))
    assert not known.apply(parsed(address(V6, flags=TENTATIVE)))
    assert not known.renew(parsed(address(V6, flags=TENTATIVE)))
    assert known.addresses == {V6}


def test_an_address_that_somebody_else_has_is_gone() -> None:
    known = interfaces(address(V6), address(V4))
    assert not known.apply(parsed(address(V6, flags=TENTATIVE | DUPLICATE)))
    assert known.addresses == {V4}
    known.apply(parsed(address(V6)))
    assert not known.renew(parsed(address(V4), address(V6, flags=TENTATIVE | DUPLICATE)))
    assert known.addresses == {V4}


def test_what_an_interrupted_answer_leaves_out_stays() -> None:
    known = interfaces(link(2), address(V4, 2))
    assert known.renew(parsed(interrupted(address(V6, 3))))
    assert known.addresses == {V4, V6}
    assert not known.apply(parsed(link(2)))  # it is known to be up
    assert not known.renew(parsed(address(V6, 3)))
    assert known.addresses == {V6}


def test_an_address_of_one_link_alone_is_there_but_no_reason() -> None:
    known = Interfaces()
    assert not known.apply(parsed(address(LINK_LOCAL)))
    assert known.addresses == {LINK_LOCAL}


def test_a_link_that_is_up_again_is_a_reason() -> None:
    known = interfaces(link(2), address(V4, 2))
    assert not known.apply(parsed(link(2)))  # a scan, a counter
    assert not known.apply(parsed(link(2, flags=0)))
    assert known.apply(parsed(link(2)))


@pytest.mark.parametrize("addresses", [[], [address(LINK_LOCAL, 2)], [address(V4, 3)]])
def test_a_link_without_an_address_is_no_reason(addresses: list[bytes]) -> None:
    known = interfaces(link(2, flags=0), *addresses)
    assert not known.apply(parsed(link(2)))


def test_a_link_that_is_gone_takes_its_addresses_along() -> None:
    known = interfaces(link(2), link(3), address(V4, 2), address(V6, 3))
    assert not known.apply(parsed(link(2, kind=17)))
    assert known.addresses == {V6}
    known.apply(parsed(link(9, kind=17)))
    assert known.addresses == {V6}


def test_a_link_that_was_not_among_all_is_new_when_it_comes() -> None:
    known = interfaces(link(2), address(V4, 2))
    known.renew(parsed(address(V4, 2)))
    assert known.apply(parsed(link(2)))


def test_a_route_is_a_reason() -> None:
    assert Interfaces().apply(parsed(route()))
    assert not Interfaces().apply(parsed(end(1)))


PACKED = st.sampled_from([V4, V6, LINK_LOCAL])
MESSAGES = st.lists(
    st.builds(Address, st.integers(1, 3), PACKED, st.just(24), is_usable=st.booleans(), is_gone=st.booleans())
    | st.builds(Link, st.integers(1, 3), is_up=st.booleans(), is_gone=st.booleans())
)


@given(MESSAGES, st.sets(st.tuples(st.integers(1, 3), PACKED)))
def test_whatever_was_told_before_what_there_is_counts(
    before: list[Message], there: set[tuple[int, bytes]]
) -> None:
    known = Interfaces()
    known.apply(before)
    had = known.addresses
    came = known.renew([Address(index, packed, 24) for index, packed in there])
    assert known.addresses == {packed for _, packed in there}
    assert came or all(map(is_link_local, known.addresses - had))


# --- which addresses there are ------------------------------------------------------------------------------

BINDS_TO_ALL: Final = Path("/proc/sys/net/ipv4/ip_nonlocal_bind")
binds_to_its_own = pytest.mark.skipif(
    BINDS_TO_ALL.exists() and BINDS_TO_ALL.read_text().strip() != "0", reason="it binds to any address"
)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_loopback_is_there(address: str) -> None:
    assert has_address(address)


@binds_to_its_own
@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77", "fe80::77%4000000"])
def test_what_nobody_has_is_not_there(address: str) -> None:
    if ":" in address and not socket.has_ipv6:
        pytest.skip("no IPv6")
    assert not has_address(address)


@pytest.mark.parametrize(
    "address", ["", "name.example", "localhost", "fe80::1%nothing", "1.2.3.4.5", "a\0b", "\ud800", "x" * 300]
)
def test_what_is_no_address_may_be_there(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_address(address)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE, errno.EAFNOSUPPORT, errno.EINVAL])
def test_an_address_may_be_there_where_the_system_does_not_tell(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "refused")

    monkeypatch.setattr(_addresses.socket, "socket", refuse)
    assert has_address("192.0.2.77")
    assert used_addresses() == set()


def test_what_is_used_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(has_address(address) for address in used_addresses())
    monkeypatch.setattr(_addresses, "_ELSEWHERE", ("127.0.0.1", "::1"))
    assert "127.0.0.1" in used_addresses()
    assert all(has_address(address) for address in used_addresses())


# --- a watch over a system of ours --------------------------------------------------------------------------


class Kernel:
    """Plays Linux behind a netlink socket, and is that socket at the same time."""

    def __init__(self, *there: bytes) -> None:
        self.there = list(there)
        """What it answers with, whoever asks for whatever."""
        self.answers: Iterator[list[bytes]] = iter(())
        """What it answers with instead, and from then on."""
        self.failures: list[int] = []
        """What the next reads fail with."""
        self.refusals: list[int] = []
        """What the next questions fail with."""
        self.times: list[float] = []
        """When all was asked for."""
        self.was_unread = False
        """Whether it had told more as all was asked for."""
        self.is_open = self.is_mute = self.is_failing = False
        self.sender = 0
        self.socket, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def open(self) -> "Kernel | Question":
        """Give the socket on which it tells, then others on which it is asked."""
        if not self.is_open:
            self.is_open = True
            return self
        self.times.append(anyio.current_time())
        self.was_unread |= self.is_unread()
        self.there = next(self.answers, self.there)
        if self.refusals:
            raise OSError(self.refusals.pop(0), "as the test said")
        return Question(self)

    def tell(self, *data: bytes) -> None:
        for datagram in data:
            self._far.send(datagram)

    async def until_read(self) -> None:
        """Wait until all of it was taken in."""
        with anyio.fail_after(DEADLINE):
            while self.failures or self.is_unread():
                await checkpoint()

    def is_unread(self) -> bool:
        return bool(select.select([self.socket], [], [], 0)[0])

    # What of a socket is used:

    def fileno(self) -> int:
        return self.socket.fileno()

    def settimeout(self, seconds: float) -> None:
        self.socket.settimeout(seconds)

    def bind(self, place: tuple[int, int]) -> None:
        pass

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        if self.failures:
            raise OSError(self.failures.pop(0), "as the test said")
        return self.socket.recv(size), (self.sender, 0)

    def close(self) -> None:
        self.socket.close()
        self._far.close()


class Question:
    """Plays a socket on which Linux is asked for all."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._answers: list[bytes] = []

    def settimeout(self, seconds: float) -> None:
        assert not seconds

    def send(self, request: bytes) -> None:
        _, kind, _, number, _ = struct.unpack_from("=IHHII", request)
        mine = [data for data in self._kernel.there if struct.unpack_from("=IH", data)[1] == kind - 2]
        if not self._kernel.is_mute:
            self._answers += [*mine, end(number - 1), end(number, is_failure=self._kernel.is_failing)]

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        if not self._answers:
            raise BlockingIOError(errno.EAGAIN, "there is nothing")
        return self._answers.pop(0), (0, 0)

    def close(self) -> None:
        pass


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Generator[Kernel]:
    made = Kernel(link(2), address(V4, 2))
    monkeypatch.setattr(_network, "open_socket", made.open)
    monkeypatch.setattr("sys.platform", "linux")
    yield made
    made.close()


def change(gained: Iterable[str] = (), lost: Iterable[str] = (), *, is_back: bool) -> NetworkChange:
    return NetworkChange(gained=frozenset(gained), lost=frozenset(lost), is_back=is_back)


async def receive_one(changes: Any, told: list[NetworkChange]) -> None:
    told.append(await changes.receive())


async def test_what_is_told_is_what_changed(kernel: Kernel) -> None:
    async with network.watch() as changes:
        kernel.tell(address(V6), route())
        assert await changes.receive() == change(["fd00::2"], is_back=True)
        kernel.tell(address(V4, kind=21))
        assert await changes.receive() == change(lost=["10.91.0.2"], is_back=False)
        kernel.tell(address(LINK_LOCAL))
        assert await changes.receive() == change(["fe80::2"], is_back=False)


async def test_a_for_loop_reads_changes(kernel: Kernel) -> None:
    async with network.watch() as changes:
        kernel.tell(route())
        async for told in changes:
            assert told == change(is_back=True)
            break


async def test_what_changes_nothing_is_not_told(kernel: Kernel) -> None:
    async with network.watch() as changes:
        kernel.tell(link(2), address(V4), route(replaces=True), b"", b"\xff" * 99, link(2, flags=0))
        kernel.tell(address(LINK_LOCAL), address(LINK_LOCAL, kind=21))
        kernel.tell(link(2))
        assert await changes.receive() == change(is_back=True)  # and nothing before it


async def test_an_address_that_went_and_came_is_a_reason(kernel: Kernel) -> None:
    async with network.watch() as changes:
        kernel.tell(address(V4, kind=21), address(V4))
        assert await changes.receive() == change(is_back=True)


async def test_one_who_reads_late_gets_one_change(kernel: Kernel) -> None:
    async with network.watch() as changes:
        for _ in range(3):
            kernel.tell(address(V4, kind=21), address(V6))
            await checkpoint()
        assert await changes.receive() == change(["fd00::2"], ["10.91.0.2"], is_back=True)


async def test_other_processes_are_not_listened_to(kernel: Kernel) -> None:
    told: list[NetworkChange] = []
    async with network.watch() as changes, anyio.create_task_group() as tasks:
        tasks.start_soon(receive_one, changes, told)
        kernel.sender = 4711
        kernel.tell(address(V6))
        await kernel.until_read()
        kernel.sender = 0
        kernel.tell(route())
    assert told == [change(is_back=True)]


async def test_where_messages_were_lost_all_is_asked_for_again(kernel: Kernel) -> None:
    async with network.watch() as changes:
        kernel.there = [link(2), address(V6, 2)]
        kernel.failures = [errno.ENOBUFS]
        kernel.tell(b"")
        assert await changes.receive() == change(["fd00::2"], ["10.91.0.2"], is_back=True)


async def test_where_messages_were_lost_there_is_a_reason(kernel: Kernel) -> None:
    async with network.watch() as changes:
        kernel.failures = [errno.ENOBUFS]
        kernel.tell(b"")
        assert await changes.receive() == change(is_back=True)  # there may be another route


def lose(kernel: Kernel) -> None:
    kernel.failures = [errno.ENOBUFS]
    kernel.tell(b"")


def told_by(
    kernel: Kernel, *steps: tuple[float, Callable[[], object]]
) -> tuple[list[tuple[float, NetworkChange]], list[float]]:
    """Do things some seconds after a watch began; give what is told, and when all was asked for."""
    told: list[tuple[float, NetworkChange]] = []
    asked: list[float] = []

    async def read(start: float) -> None:
        async with network.watch() as changes:
            async for one in changes:
                seconds = round(anyio.current_time() - start, 3)
                told.append((seconds, one))

    async def main() -> None:
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, start)
            for seconds, step in steps:
                await anyio.sleep_until(start + seconds)
                step()
            await anyio.sleep(5)
            asked.extend(round(at - start, 3) for at in kernel.times[1:])
            tasks.cancel_scope.cancel()

    in_virtual_time(main)
    return told, asked


PASSING: Final = [errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN]


@pytest.mark.parametrize("code", PASSING, ids=errno.errorcode.get)
def test_what_cannot_be_asked_for_now_is_asked_for_later(kernel: Kernel, code: int) -> None:
    def lose_and_refuse() -> None:
        kernel.there = [link(2), address(V6, 2)]
        kernel.refusals = [code, code]
        lose(kernel)

    told, asked = told_by(kernel, (1, lose_and_refuse), (5, lambda: kernel.tell(address(V4, 2))))
    assert asked == [1, 2, 3]
    assert told == [
        (1.05, change(is_back=True)),
        (3.05, change(["fd00::2"], ["10.91.0.2"], is_back=True)),
        (5.05, change(["10.91.0.2"], is_back=True)),
    ]


def test_in_a_storm_all_is_asked_for_once_a_second(kernel: Kernel) -> None:
    _, asked = told_by(kernel, *((1 + 0.1 * turn, partial(lose, kernel)) for turn in range(25)))
    assert asked == [1, 2, 3, 4]


def test_an_answer_that_is_interrupted_is_asked_for_again(kernel: Kernel) -> None:
    answers = iter([[interrupted(link(2))], [link(2), address(V6, 2)]])

    def lose_and_answer() -> None:
        kernel.answers = answers
        lose(kernel)

    told, asked = told_by(kernel, (1, lose_and_answer))
    assert asked == [1, 1]
    assert told == [(1.05, change(["fd00::2"], ["10.91.0.2"], is_back=True))]


def test_a_loss_is_not_believed_while_answers_are_interrupted(kernel: Kernel) -> None:
    answers = iter([*[[interrupted(link(2)), address(V6, 2)]] * 3, [link(2)]])

    def lose_and_answer() -> None:
        kernel.answers = answers
        lose(kernel)

    told, asked = told_by(kernel, (1, lose_and_answer))
    assert asked == [1, 1, 1, 2]
    assert told == [
        (1.05, change(["fd00::2"], is_back=True)),
        (2.05, change(lost=["fd00::2", "10.91.0.2"], is_back=False)),
    ]


async def test_all_is_asked_for_once_what_was_told_is_read(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network.watch() as changes:
        monkeypatch.setattr(_network, "_READS", 3)  # an answer has so many datagrams
        kernel.failures = [errno.ENOBUFS]
        kernel.tell(*[b""] * 4, address(V6))
        assert await changes.receive() == change(is_back=True)
        assert not kernel.was_unread


async def test_more_than_is_read_at_once_is_read_in_turns(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network.watch() as changes:
        monkeypatch.setattr(_network, "_READS", 1)
        kernel.tell(address(V6), route(), address(V4, kind=21))
        assert await changes.receive() == change(["fd00::2"], ["10.91.0.2"], is_back=True)


@pytest.mark.parametrize("how", ["is_mute", "is_failing"])
async def test_a_system_that_does_not_answer_is_asked_the_other_way(kernel: Kernel, how: str) -> None:
    setattr(kernel, how, True)
    assert isinstance(open_source(), AskingSource)
    assert kernel.fileno() == -1


async def test_an_answer_without_an_end_is_none(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_network, "_READS", 1)
    with pytest.raises(OSError, match="no answer"):
        TellingSource()


async def test_where_sockets_are_refused_the_system_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "refused")

    monkeypatch.setattr(_network, "open_socket", refuse)
    assert isinstance(open_source(), AskingSource)


async def test_elsewhere_the_system_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("sys.platform", "darwin")
        source = open_source()
    assert isinstance(source, AskingSource)


async def test_a_system_that_tells_no_more_is_asked(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, "10.91.0.9")
    monkeypatch.setattr(_network, "open_source", TellingSource)
    async with network.watch() as changes:
        kernel.is_failing = True
        kernel.failures = [errno.ENOBUFS]
        kernel.tell(route())  # told, and not forgotten
        assert await changes.receive() == change(["10.91.0.9"], ["10.91.0.2"], is_back=True)
        assert kernel.fileno() == -1


async def test_where_the_socket_is_dead_the_system_is_asked(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(monkeypatch, "10.91.0.9")
    monkeypatch.setattr(_network, "open_source", TellingSource)
    async with network.watch() as changes:
        kernel.failures = [errno.EBADF]
        kernel.tell(b"")
        assert await changes.receive() == change(["10.91.0.9"], ["10.91.0.2"], is_back=False)


async def test_cancelling_loses_no_change(kernel: Kernel) -> None:
    async with network.watch() as changes:
        kernel.tell(address(V6))
        for delay in (0, 0.01, 0.02):
            with anyio.move_on_after(delay):
                await changes.receive()
        assert await changes.receive() == change(["fd00::2"], is_back=True)


# --- when it is told ----------------------------------------------------------------------------------------


class Scripted:
    """A source that has news at given times, in seconds from now."""

    def __init__(self, *news: tuple[float, Iterable[str], bool]) -> None:
        self.is_back = False
        self.addresses: frozenset[str] = frozenset()
        self._news = list(news)
        self._start = anyio.current_time()

    async def wait(self) -> None:
        if not self._news:
            await anyio.sleep_forever()
        at, addresses, is_back = self._news[0]
        await anyio.sleep_until(self._start + at)
        del self._news[0]
        self.addresses = frozenset(addresses)
        self.is_back |= is_back

    def close(self) -> None:
        pass


def told_at(*news: tuple[float, Iterable[str], bool]) -> list[tuple[float, NetworkChange]]:
    """Give what is told within a minute, and after how many seconds."""
    told: list[tuple[float, NetworkChange]] = []

    async def main() -> None:
        start = anyio.current_time()
        changes = _network.Changes(Scripted(*news))
        with anyio.move_on_after(60):
            async for one in changes:
                seconds = round(anyio.current_time() - start, 3)
                told.append((seconds, one))

    in_virtual_time(main)
    return told


def test_a_change_is_told_once_it_is_quiet() -> None:
    assert told_at((1.0, [], True), (1.04, ["a"], False), (1.08, ["a", "b"], True)) == [
        (1.13, change(["a", "b"], is_back=True))
    ]


def test_a_change_is_told_though_it_never_becomes_quiet() -> None:
    news = [(1.0 + 0.04 * turn, [f"{turn}"], False) for turn in range(20)]
    told = told_at(*news)
    assert told[0] == (1.3, change(["7"], is_back=False))
    assert told[1] == (1.62, change(["15"], ["7"], is_back=False))
    assert told[2] == (1.81, change(["19"], ["15"], is_back=False))


def test_what_belongs_apart_is_told_apart() -> None:
    assert told_at((1.0, ["a"], True), (1.06, [], False)) == [
        (1.05, change(["a"], is_back=True)),
        (1.11, change(lost=["a"], is_back=False)),
    ]


def test_what_went_and_came_in_one_go_is_no_change() -> None:
    assert told_at((1.0, ["a"], False), (1.04, [], False)) == []


# --- where the system does not tell -------------------------------------------------------------------------


class Machine:
    """Plays a machine that is asked for its addresses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *used: str) -> None:
        self.used = set(used)
        self.others: set[str] = set()
        """What it has and does not use."""
        monkeypatch.setattr(_addresses, "used_addresses", lambda: frozenset(self.used))
        monkeypatch.setattr(_addresses, "has_address", self._has)
        monkeypatch.setattr(_network, "open_source", AskingSource)

    def _has(self, address: str) -> bool:
        return address in self.used | self.others


def told_of(*steps: Callable[[], object]) -> list[NetworkChange]:
    """Do one thing every three seconds, and give what is told of it."""
    told: list[NetworkChange] = []

    async def read() -> None:
        async with network.watch() as changes:
            async for one in changes:
                told.append(one)  # noqa: PERF401 - it has no end

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for step in steps:
                await anyio.sleep(3)
                step()
            await anyio.sleep(3)
            tasks.cancel_scope.cancel()

    in_virtual_time(main)
    return told


def test_a_network_that_went_and_came_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "a")
    assert told_of(machine.used.clear, lambda: machine.used.add("a")) == [
        change(lost=["a"], is_back=False),
        change(["a"], is_back=True),
    ]


def test_an_address_that_is_not_used_any_more_may_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "a")

    def prefer_another() -> None:
        machine.used, machine.others = {"b"}, {"a"}

    def lose_the_first() -> None:
        machine.others = set()

    assert told_of(prefer_another, lose_the_first) == [
        change(["b"], is_back=True),
        change(lost=["a"], is_back=False),
    ]


def test_an_address_that_is_used_again_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "a")

    def lose_the_route() -> None:
        machine.used, machine.others = set(), {"a"}

    assert told_of(lose_the_route, lambda: machine.used.add("a")) == [change(is_back=True)]


def test_one_who_never_waits_for_long_sees_it_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "a")
    told: list[NetworkChange] = []

    async def main() -> None:
        async with network.watch() as changes:
            machine.used.add("b")
            for _ in range(30):
                with anyio.move_on_after(0.1):
                    told.append(await changes.receive())

    in_virtual_time(main)
    assert told == [change(["b"], is_back=True)]


# --- closing ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["told", "asked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either source, in the network of this machine."""
    if request.param == "asked":
        monkeypatch.setattr(_network, "open_source", AskingSource)
    return str(request.param)


async def receive_until_closed(changes: Any, is_over: anyio.Event) -> None:
    try:
        async for _ in changes:  # this machine may have a busy network
            pass
    except anyio.ClosedResourceError:
        is_over.set()


async def test_closing_tells_who_waits(way: str) -> None:
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            is_over = anyio.Event()
            async with network.watch() as changes:
                tasks.start_soon(receive_until_closed, changes, is_over)
                await anyio.wait_all_tasks_blocked()
            await is_over.wait()


async def test_one_that_is_closed_as_there_is_news_tells_who_waits(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network.watch() as changes:

        async def close_it(_: object) -> None:
            await changes.aclose()

        monkeypatch.setattr(anyio, "wait_readable", close_it)
        with pytest.raises(anyio.ClosedResourceError):
            await changes.receive()


async def test_one_that_is_closed_cannot_be_read(way: str) -> None:
    async with network.watch() as changes:
        await changes.aclose()
        await changes.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await changes.receive()
    with pytest.raises(anyio.ClosedResourceError):
        await changes.receive()


async def test_only_one_task_reads(way: str) -> None:
    async with network.watch() as changes, anyio.create_task_group() as tasks:
        tasks.start_soon(receive_until_closed, changes, anyio.Event())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await changes.receive()
        await changes.aclose()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell of descriptors")
async def test_a_watch_that_is_cancelled_leaves_nothing_open(way: str) -> None:
    open_before = open_descriptors()
    for delay in (0, 0.001, 0.01):
        with anyio.move_on_after(delay):
            async with network.watch() as changes, network.watch():
                async for _ in changes:
                    pass
    assert open_descriptors() == open_before


async def test_watches_do_not_know_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = [Kernel(), Kernel()]
    later = iter([kernels[0]] * 2 + [kernels[1]] * 2)  # each tells, and is asked
    monkeypatch.setattr(_network, "open_socket", lambda: next(later).open())
    monkeypatch.setattr("sys.platform", "linux")
    async with network.watch() as first, network.watch() as second:
        kernels[1].tell(address(V6))
        assert await second.receive() == change(["fd00::2"], is_back=True)
        await second.aclose()
        kernels[0].tell(route())
        assert await first.receive() == change(is_back=True)
    for kernel in kernels:
        kernel.close()


# --- in a network of its own --------------------------------------------------------------------------------

in_a_network_of_its_own = pytest.mark.skipif(bool(netns.missing()), reason=netns.missing() or "")

CHILD: Final = """
import sys

import anyio

from anysse.network import watch


async def main():
    async with watch() as changes:
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        with anyio.fail_after(60):
            async for change in changes:
                print(sorted(change.gained), sorted(change.lost), change.is_back, flush=True)


name = sys.argv[1]
options = {"use_uvloop": True} if name == "uvloop" else {}
anyio.run(main, backend="trio" if name == "trio" else "asyncio", backend_options=options)
"""

each_loop = pytest.mark.parametrize(
    "loop",
    [
        pytest.param(name, marks=pytest.mark.skipif(not is_importable(name), reason=f"no {name}"))
        for name in ("asyncio", "uvloop", "trio")
    ],
)


class Reader:
    """Reads what a watch in another process tells."""

    def __init__(self, end: netns.Namespace, loop: str) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._child = end.popen([sys.executable, "-c", CHILD, loop], **pipes)
        assert self._child.stdout is not None
        self._lines = self._child.stdout
        assert self.next() == "ready"

    def begin(self) -> None:
        """Let it receive what there is, and what will be."""
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):
            self._child.stdin.close()

    def next(self) -> str:
        line = self._lines.readline()
        assert line, "it ended"
        return line.strip()

    def until(self, last: str) -> list[str]:
        """Read up to a line, and give those before it."""
        before: list[str] = []
        while (line := self.next()) != last:
            before.append(line)
        return before


def wait_for(holds: Callable[[], bool]) -> None:
    """Ask until something holds; each time is a process, so this is no busy loop."""
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline


@contextmanager
def reading(loop: str) -> Generator[tuple[netns.Link, Reader]]:
    with netns.linked_namespaces() as cable:
        reader = Reader(cable.client, loop)
        reader.begin()
        yield cable, reader


@each_loop
@in_a_network_of_its_own
def test_linux_tells_of_another_address(loop: str) -> None:
    with reading(loop) as (cable, reader):
        cable.replace_client_address("10.91.0.9/24")
        assert reader.next() == "['10.91.0.9'] ['10.91.0.2'] True"
        cable.client.ip("address", "flush", "dev", netns.INTERFACE)
        assert reader.next() == "[] ['10.91.0.9'] False"


@each_loop
@in_a_network_of_its_own
@pytest.mark.parametrize("end", ["client", "server"])
def test_linux_tells_of_a_link_that_is_back(loop: str, end: str) -> None:
    with reading(loop) as (cable, reader):
        moved: netns.Namespace = getattr(cable, end)  # the server's end: the cable is pulled
        moved.ip("link", "set", netns.INTERFACE, "down")
        wait_for(lambda: "LOWER_UP" not in cable.client.ip("link", "show", netns.INTERFACE))
        moved.ip("link", "set", netns.INTERFACE, "up")
        wait_for(lambda: "LOWER_UP" in cable.client.ip("link", "show", netns.INTERFACE))
        assert reader.next() == "[] [] True"
        cable.client.ip("address", "flush", "dev", netns.INTERFACE)
        more = reader.until("[] ['10.91.0.2'] False")
        assert more in ([], ["[] [] True"])  # Linux may tell of the carrier up to a second later


@each_loop
@in_a_network_of_its_own
def test_linux_tells_of_a_route(loop: str) -> None:
    with reading(loop) as (cable, reader):
        cable.client.ip("route", "add", "default", "via", cable.server_address)
        assert reader.next() == "[] [] True"


@each_loop
@in_a_network_of_its_own
def test_linux_tells_of_an_address_of_ipv6_once_nobody_else_has_it(loop: str) -> None:
    with reading(loop) as (cable, reader):
        if cable.client.run(["ip", "address", "add", "fd00::2/64", "dev", "eth0"], check=False).returncode:
            pytest.skip("no IPv6")
        assert reader.next() == "[] [] True"  # there is a route
        assert reader.next() == "['fd00::2'] [] True"
        times = ("preferred_lft", "100", "valid_lft", "1000")
        cable.client.ip("address", "change", "fd00::2/64", "dev", "eth0", *times)
        cable.client.ip("link", "set", netns.INTERFACE, "mtu", "1400")
        cable.client.ip("address", "del", "fd00::2/64", "dev", "eth0")
        assert reader.next() == "[] ['fd00::2'] False"  # and nothing between them


@each_loop
@in_a_network_of_its_own
def test_more_than_linux_keeps_is_one_change(loop: str) -> None:
    with netns.linked_namespaces() as cable:
        reader = Reader(cable.client, loop)
        batch = "".join(f"address add 10.92.{i // 200}.{i % 200}/32 dev eth0\n" for i in range(1000))
        cable.client.run(["ip", "-batch", "-"], input=batch)
        reader.begin()
        told = reader.next()
        assert told.count("10.92.") == 1000
        assert told.endswith("] [] True")


@in_a_network_of_its_own
def test_where_there_is_no_link_no_address_is_used() -> None:
    with netns.linked_namespaces() as cable:
        program = "from anysse._addresses import used_addresses; print(*used_addresses())"
        run = partial(cable.client.run, [sys.executable, "-c", program])
        assert run().stdout.split() == []
        cable.client.ip("route", "add", "default", "via", cable.server_address)
        assert run().stdout.split() == ["10.91.0.2"]
        cable.down()
        assert run().stdout.split() == []
