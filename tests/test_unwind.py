"""The nested generators of an HTTP library leave in order, and nobody waits for them long."""

from collections.abc import AsyncIterator

import anyio
import pytest

from anysse import _unwind
from anysse._unwind import unwind


async def test_generators_that_are_parked_leave_from_the_inside_out() -> None:
    left: list[str] = []

    async def socket() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await anyio.sleep_forever()
        finally:
            left.append("socket")

    async def body() -> AsyncIterator[bytes]:
        try:
            async for chunk in socket():
                yield chunk
        finally:
            left.append("body")

    chunks = body()
    assert await anext(chunks) == b"a"
    await unwind(chunks)
    assert left == ["socket", "body"]


async def test_what_is_not_begun_or_at_its_end_is_no_matter() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"

    await unwind(body())
    chunks = body()
    assert [chunk async for chunk in chunks] == [b"a"]
    await unwind(chunks)


async def test_an_iterator_that_is_no_generator_is_asked_once_more() -> None:
    class Chunks:
        asked = 0

        def __aiter__(self) -> "Chunks":
            return self

        async def __anext__(self) -> bytes:
            self.asked += 1
            raise RuntimeError

    chunks = Chunks()
    await unwind(chunks)
    assert chunks.asked == 1


async def flood(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"a"


async def test_a_flood_is_left_after_a_moment(
    monkeypatch: pytest.MonkeyPatch, anyio_backend_name: str
) -> None:
    """But not on trio: it sees a cancellation anyway, and would warn of what is left."""
    monkeypatch.setattr(_unwind, "UNWIND_GRACE", -1.0)
    given: list[int] = []

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(1000):
            given.append(number)
            yield b"a"

    await unwind(chunks())
    assert len(given) == (1000 if anyio_backend_name == "trio" else 1)


async def test_what_was_read_is_taken_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_unwind, "MAX_PULLS", 3)
    monkeypatch.setattr(_unwind, "UNWIND_GRACE", 60.0)
    chunks = flood(4)
    await unwind(chunks)
    assert [chunk async for chunk in chunks] == []
