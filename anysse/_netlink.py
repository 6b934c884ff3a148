"""What Linux tells of links, addresses and routes: bytes → messages → what there is now. Pure, no socket.

rtnetlink(7) has the words and numbers. What is cut off, odd or unknown is left out, and raises nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""What to be told of: links, addresses of IPv4, routes of IPv4, the same two of IPv6."""

_HEADER: Final = Struct("=IHHII")  # length, kind, flags, number, port; these are in the machine's own order
_LINK: Final = Struct("=BxHiII")  # family, type, index, flags, what changed
_ADDRESS: Final = Struct("=BBBBI")  # family, prefix, flags, scope, index
_ROUTE: Final = Struct(
    "=BBBBBBBBI"
)  # family, prefix, prefix of sources, TOS, table, origin, scope, type, flags
_ATTRIBUTE: Final = Struct("=HH")  # length, kind

# Kinds of messages.
_ERROR, _DONE = 2, 3
_NEW_LINK, _GONE_LINK, _ASK_LINKS = 16, 17, 18
_NEW_ADDRESS, _GONE_ADDRESS, _ASK_ADDRESSES = 20, 21, 22
_NEW_ROUTE = 24

_REPLACES: Final = 0x100  # in a message that tells of something
_INTERRUPTED: Final = 0x10  # in any message of an answer: NLM_F_DUMP_INTR
_ASK_ALL: Final = 0x1 | 0x300  # in a request: NLM_F_REQUEST | NLM_F_DUMP

_IPV4, _IPV6 = 2, 10
_SIZES: Final = {_IPV4: 4, _IPV6: 16}

_UP, _LOOPBACK, _RUNNING = 0x1, 0x8, 0x40
_OPTIMISTIC, _DUPLICATE, _TENTATIVE = 0x04, 0x08, 0x40
_CLONED: Final = 0x200
_LOCAL_TABLE: Final = 255
_UNICAST: Final = 1
_HOST_SCOPE: Final = 254

# Kinds of attributes. An address has its peer's, and may have its own apart from that.
_PEER, _OWN = 1, 2
_DESTINATION: Final = 1
_KIND_OF_ATTRIBUTE: Final = 0x3FFF  # the other two bits are flags

_WITHOUT_STATISTICS: Final = Struct("=HHI").pack(8, 29, 8)  # IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    index: int
    is_up: bool
    """Whether packets can pass, as far as this end knows."""
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """An address of this machine."""

    index: int
    """Of its link."""
    packed: bytes
    prefix: int
    is_usable: bool = True
    """False while IPv6 asks around whether somebody else has it."""
    is_gone: bool = False
    """Also where somebody else turned out to have it."""


@dataclass(frozen=True, slots=True)
class NewRoute:
    """A way to other machines that was not there."""


@dataclass(frozen=True, slots=True)
class End:
    """The answer to a request is over."""

    number: int
    """The request's."""
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Something changed while it was told of all that there is: some of it may be left out."""


Message: TypeAlias = Link | Address | NewRoute | End | Interrupted


def link_request(number: int) -> bytes:
    """Ask for all links; the number is below 2**32."""
    return _request(_ASK_LINKS, number, bytes(_LINK.size) + _WITHOUT_STATISTICS)


def address_request(number: int) -> bytes:
    """Ask for all addresses; the number is below 2**32."""
    return _request(_ASK_ADDRESSES, number, bytes(_ADDRESS.size))


def parse(data: bytes) -> Iterator[Message]:
    """Give what a datagram says that matters here."""
    start = 0
    while start + _HEADER.size <= len(data):
        length, kind, flags, number, _ = _HEADER.unpack_from(data, start)
        if not _HEADER.size <= length <= len(data) - start:
            return
        if flags & _INTERRUPTED:
            yield Interrupted()
        message = _message(kind, flags, number, data[start + _HEADER.size : start + length])
        if message is not None:
            yield message
        start += _aligned(length)


def is_link_local(packed: bytes) -> bool:
    """Tell whether an address is of one link alone: 169.254.0.0/16 or fe80::/10."""
    if len(packed) == _SIZES[_IPV4]:
        return packed[:2] == b"\xa9\xfe"
    return len(packed) == _SIZES[_IPV6] and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


class Interfaces:
    """Which links and addresses there are, message by message; and which of them is a reason to try again."""

    def __init__(self) -> None:
        self._are_up: dict[int, bool] = {}
        self._addresses: set[tuple[int, bytes, int]] = set()

    @property
    def addresses(self) -> frozenset[bytes]:
        """Those of any link, packed: one may be of several."""
        return frozenset(packed for _, packed, _ in self._addresses)

    def renew(self, messages: Sequence[Message]) -> bool:
        """Take in all that there is: what is not among it is gone. Tell what ``apply`` tells.

        Where that was interrupted, what is not among it may still be there, and stays.
        """
        came = self.apply(messages)
        if Interrupted() in messages:
            return came
        links = {message.index for message in messages if isinstance(message, Link)}
        self._are_up = {index: is_up for index, is_up in self._are_up.items() if index in links}
        self._addresses &= {_key(message) for message in messages if isinstance(message, Address)}
        return came

    def apply(self, messages: Iterable[Message]) -> bool:
        """Take in what is told, and tell whether something came by which others may be reached."""
        came = False
        for message in messages:
            came |= self._apply_one(message)
        return came

    def _apply_one(self, message: Message) -> bool:
        match message:
            case Link():
                return self._apply_link(message)
            case Address():
                return self._apply_address(message)
            case _:
                return isinstance(message, NewRoute)

    def _apply_link(self, link: Link) -> bool:
        was_up = self._are_up.pop(link.index, False)
        if link.is_gone:
            self._addresses = {key for key in self._addresses if key[0] != link.index}
            return False
        self._are_up[link.index] = link.is_up
        # A link without such an address leads to nobody; the host's end of a container's mostly has none. But
        # a bridge that has one comes up with its first container, and is told as any other link.
        return link.is_up and not was_up and self._leads_out(link.index)

    def _apply_address(self, address: Address) -> bool:
        key = _key(address)
        if address.is_gone:
            self._addresses.discard(key)
            return False
        if not address.is_usable or key in self._addresses:
            return False  # one that is asked about again was this machine's, and mostly stays
        self._addresses.add(key)
        return not is_link_local(address.packed)

    def _leads_out(self, link: int) -> bool:
        return any(index == link and not is_link_local(packed) for index, packed, _ in self._addresses)


def _key(address: Address) -> tuple[int, bytes, int]:
    return address.index, address.packed, address.prefix


def _request(kind: int, number: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _ASK_ALL, number, 0) + body


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _message(kind: int, flags: int, number: int, body: bytes) -> Message | None:
    if kind in (_NEW_LINK, _GONE_LINK):
        return _link(body, is_gone=kind == _GONE_LINK)
    if kind in (_NEW_ADDRESS, _GONE_ADDRESS):
        return _address(body, is_gone=kind == _GONE_ADDRESS)
    if kind in (_DONE, _ERROR):
        return End(number, is_failure=kind == _ERROR)
    # What replaces a route may be the same again: a daemon refreshes them.
    is_new_route = kind == _NEW_ROUTE and not flags & _REPLACES and _leads_to_others(body)
    return NewRoute() if is_new_route else None


def _link(body: bytes, *, is_gone: bool) -> Link | None:
    if len(body) < _LINK.size:
        return None
    family, _, index, flags, _ = _LINK.unpack_from(body)
    if family or flags & _LOOPBACK:  # with a family it is about a port of a bridge, and the link stays
        return None
    return Link(index, is_up=bool(flags & _UP and flags & _RUNNING), is_gone=is_gone)


def _address(body: bytes, *, is_gone: bool) -> Address | None:
    if len(body) < _ADDRESS.size:
        return None
    family, prefix, flags, scope, index = _ADDRESS.unpack_from(body)
    attributes = _attributes(body[_ADDRESS.size :])
    packed = attributes.get(_OWN) or attributes.get(_PEER, b"")
    if scope == _HOST_SCOPE or len(packed) != _SIZES.get(family):  # 127.0.0.1 and ::1 lead nowhere
        return None
    is_usable = not flags & _TENTATIVE or bool(flags & _OPTIMISTIC)
    is_gone |= bool(flags & _DUPLICATE)
    return Address(index, packed, prefix, is_usable=is_usable, is_gone=is_gone)


def _leads_to_others(body: bytes) -> bool:
    if len(body) < _ROUTE.size:
        return False
    _, _, _, _, table, _, _, kind, flags = _ROUTE.unpack_from(body)
    if kind != _UNICAST or table == _LOCAL_TABLE or flags & _CLONED:
        return False
    destination = _attributes(body[_ROUTE.size :]).get(_DESTINATION, b"")
    return not is_link_local(destination)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    start = 0
    while start + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if not _ATTRIBUTE.size <= length <= len(data) - start:
            break
        found[kind & _KIND_OF_ATTRIBUTE] = data[start + _ATTRIBUTE.size : start + length]
        start += _aligned(length)
    return found
