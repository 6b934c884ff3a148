"""Which addresses this machine has: asks the system, and sends nothing. Knows sockets, and no event loop."""

import errno
import socket
from contextlib import suppress
from typing import Final

_ELSEWHERE: Final = ("192.0.2.1", "2001:db8::1")
"""Documentation's own (RFC 5737, RFC 3849): no machine has them, and the way there is the way to anybody."""
_ANY_PORT: Final = 9
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.ENODEV)  # the latter: the link of a scope is gone


def has_address(address: str) -> bool:
    """Tell whether this machine has an address now; yes, where there is no telling.

    A socket may be bound to nothing else. Where the system lets it be bound to anything
    (``net.ipv4.ip_nonlocal_bind``) the answer is always yes, as it is for what is no address.

    Args:
        address: As ``socket.getsockname()`` gives it, or with a scope: ``fe80::1%eth0``.
    """
    try:
        # A name would be looked up, which takes its time: only numbers are.
        flags = socket.AI_NUMERICHOST
        found = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, ValueError):  # a ValueError: what cannot be a name either
        return True
    family, kind, _, _, place = found[0]
    try:
        with socket.socket(family, kind) as probe:
            probe.bind(place)
    except OSError as exc:
        return exc.errno not in _NOT_HERE
    return True


def used_addresses() -> frozenset[str]:
    """Give the addresses from which others would be spoken to: one of IPv4 and one of IPv6, at most."""
    found: set[str] = set()
    for place in _ELSEWHERE:
        family = socket.AF_INET6 if ":" in place else socket.AF_INET
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((place, _ANY_PORT))  # of UDP, that is a note to the system alone
            found.add(probe.getsockname()[0])
    return frozenset(found)
