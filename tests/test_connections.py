"""Connections that wait for another request, as plain values: no socket, no clock, no event loop."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysse._connections import IdleWires
from anysse._wire import Origin, Wire

A = Origin(is_tls=False, host="a", port=80, server_hostname="a")
B = A._replace(host="b", server_hostname="b")
OTHERS = [
    pytest.param(A._replace(is_tls=True), id="TLS"),
    pytest.param(A._replace(host="A"), id="host"),
    pytest.param(A._replace(port=81), id="port"),
    pytest.param(A._replace(server_hostname="b"), id="name of the certificate"),
]


def idle(*wires: Wire, room: int = 1000, expiry: float | None = None) -> IdleWires:
    """Keep these, one each second from 0 on."""
    kept = IdleWires(room, expiry)
    for now, wire in enumerate(wires):
        kept.put(wire, now)
    return kept


def test_the_last_that_came_is_the_first_that_goes() -> None:
    wires = [Wire(A) for _ in range(3)]
    kept = idle(*wires)
    assert [kept.take(A) for _ in range(4)] == [*reversed(wires), None]


@pytest.mark.parametrize("other", OTHERS)
def test_what_differs_in_anything_is_another_origin(other: Origin) -> None:
    wire, stranger = Wire(A), Wire(other)
    kept = idle(wire, stranger)
    assert (kept.take(A), kept.take(A)) == (wire, None)
    assert (kept.take(other), kept.take(other)) == (stranger, None)


def test_equal_origins_are_one() -> None:
    wire = Wire(A)
    assert idle(wire).take(Origin(*A)) is wire


def test_too_many_lose_the_one_that_has_waited_longest_whatever_its_origin() -> None:
    wires = [Wire(A), Wire(B), Wire(A), Wire(B)]
    kept = idle(*wires, room=2)
    assert kept.take_surplus(0) == wires[:2]
    assert kept.take_surplus(0) == []
    assert (kept.take(A), kept.take(B)) == (wires[2], wires[3])


def test_no_room_keeps_none() -> None:
    wire = Wire(A)
    assert idle(wire, room=0).take_surplus(0) == [wire]


def test_one_expires_to_the_second() -> None:
    wires = [Wire(A), Wire(B), Wire(A)]
    kept = idle(*wires, expiry=5)
    assert kept.take_surplus(4.9) == []
    assert kept.take_surplus(5) == wires[:1]
    assert kept.take_surplus(7) == wires[1:]
    assert kept.take_surplus(100) == []


def test_one_that_came_back_waits_anew() -> None:
    first, second = Wire(A), Wire(A)
    kept = idle(first, second, expiry=5)
    assert kept.take(A) is second
    assert kept.take(A) is first
    kept.put(second, 2)
    kept.put(first, 3)
    assert kept.take_surplus(7) == [second]
    assert kept.take_surplus(8) == [first]


def test_without_expiry_they_wait_for_ever() -> None:
    assert idle(Wire(A), expiry=None).take_surplus(1e300) == []


def test_all_can_be_taken() -> None:
    wires = [Wire(A), Wire(B), Wire(A)]
    kept = idle(*wires)
    assert kept.take_all() == wires
    assert kept.take_all() == []
    assert (kept.take(A), kept.take(B), kept.take_surplus(1e9)) == (None, None, [])


class CountedWire(Wire):
    """Counts how often anything looks it up."""

    looked_up = 0

    def __hash__(self) -> int:
        CountedWire.looked_up += 1
        return id(self)


def lookups(step: Callable[[], object]) -> int:
    CountedWire.looked_up = 0
    step()
    return CountedWire.looked_up


def test_a_step_takes_the_same_however_many_there_are() -> None:
    taken = []
    for count in (10, 10_000):
        kept = idle(*(CountedWire(A) for _ in range(count)), room=count)
        wire = CountedWire(A)
        steps = [
            lambda kept=kept, wire=wire: kept.put(wire, 1e6),
            lambda kept=kept: kept.take_surplus(1e6),
            lambda kept=kept: kept.take_surplus(1e6),
            lambda kept=kept: kept.take(A),
            lambda kept=kept: kept.take(B),
        ]
        taken.append([lookups(step) for step in steps])
    assert taken[0] == taken[1]
    assert max(taken[0]) <= 4


@given(
    room=st.integers(0, 4),
    expiry=st.none() | st.integers(1, 5),
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "take", "surplus", "all"]), st.booleans(), st.integers(0, 3))
    ),
)
def test_it_does_what_a_list_does(room: int, expiry: int | None, steps: list[tuple[str, bool, int]]) -> None:
    kept, plain, now = IdleWires(room, expiry), list[tuple[int, Wire]](), 0
    for step, is_a, passed in steps:
        now += passed
        origin = A if is_a else B
        if step == "put":
            plain.append((now, Wire(origin)))
            kept.put(plain[-1][1], now)
        elif step == "take":
            found = [entry for entry in plain if entry[1].origin == origin][-1:]
            assert kept.take(origin) is (found[0][1] if found else None)
            plain = [entry for entry in plain if entry not in found]
        elif step == "surplus":
            keep = len(plain)
            while keep and (keep > room or (expiry is not None and now - plain[-keep][0] >= expiry)):
                keep -= 1
            surplus, plain = plain[: len(plain) - keep], plain[len(plain) - keep :]
            assert kept.take_surplus(now) == [wire for _, wire in surplus]
        else:
            assert kept.take_all() == [wire for _, wire in plain]
            plain = []
