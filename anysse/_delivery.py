"""A bounded memory object stream between the task that reads and the one that consumes; knows anyio.

Nobody waits inside of it: an item that is handed to a task waiting in ``receive()`` is lost where that
task is natively cancelled in the same tick. Items stay in the buffer, and who waits, waits for a wake-up.
"""

from collections.abc import Sequence
from typing import TypeAlias

import anyio

from ._events import ServerSentEvent
from ._wakeup import Wakeup, wakeups

Batch: TypeAlias = tuple[Sequence[ServerSentEvent], str, int]
"""Events of one read or more, the last event ID after them, and of how many bytes they are.

The last event ID is not always that of the last event: blocks without data move it, too.
"""

READ_SIZE = 65_536
"""Bytes of one read, at most."""
PLACE_SIZE = 4096
"""Bytes that each place of a mailbox stands for. What waits is cheapest where it is: as bytes, in the socket.

As events, a few megabytes of it keep the garbage collector busy, and leave the processor's cache.
"""


class Mailbox:
    """One task puts batches, another takes them, in order.

    At most ``size`` of them wait, and ``size`` times 4 KiB; a batch that is larger by itself waits alone.
    There is a spare place, for what is received as its connection is given up.

    Cancelling either side at any moment loses no batch and doubles none.
    """

    def __init__(self, size: int) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Batch](size + 1)
        self._size = size
        # Who puts is woken once half of the room is free: a wake-up for each batch costs more than the batch.
        self._low_mark = size // 2
        self._count = 0
        # Large events come of many reads: what waits is bounded in bytes, too.
        self._capacity = size * PLACE_SIZE
        self._bytes = 0
        self._make_wakeup = wakeups()
        self._arrival: Wakeup | None = None
        self._room: Wakeup | None = None
        self._late: Batch | None = None
        self.is_finished = False
        """Whether no more will come."""

    async def put(self, batch: Batch) -> None:
        """Wait for room, and put a batch.

        Where waiting is cancelled, the batch still comes, after all others; before another one is put,
        ``put_late`` has to be called.
        """
        if not self.put_or_keep(batch):
            await self.put_late()

    def put_or_keep(self, batch: Batch) -> bool:
        """Put a batch, or keep it where there is no room; tell whether there was."""
        if self.put_nowait(batch):
            return True
        self.keep(batch)
        return False

    def keep(self, batch: Batch) -> None:
        """Keep a batch for ``put_late``, which has to be called before another one is put."""
        self._late = batch

    @property
    def is_late(self) -> bool:
        """Whether a batch is kept, or in the spare place."""
        return self._late is not None or self._count > self._size

    def put_spare(self) -> None:
        """Put what is kept, if anything is, into the spare place: ``put_late`` waits until that is free."""
        if self._late is not None and not self.is_finished:  # else whoever takes gets it last
            batch, self._late = self._late, None
            self._put(batch)

    async def put_late(self) -> None:
        """Wait for room for what is kept, if anything is, and put it."""
        while self._count > self._size or (self._late is not None and not self.put_nowait(self._late)):
            self._room = self._make_wakeup()
            await self._room
        self._late = None

    def put_nowait(self, batch: Batch) -> bool:
        """Put a batch if there is room, and tell whether there was.

        After the end it is dropped: who puts may be about to be cancelled, with a read in its hands.
        """
        if self.is_finished:
            return True
        is_too_much = self._bytes and self._bytes + batch[2] > self._capacity
        if self._count >= self._size or is_too_much:
            return False
        self._put(batch)
        return True

    def _put(self, batch: Batch) -> None:
        self._send.send_nowait(batch)
        self._count += 1
        self._bytes += batch[2]
        if self._arrival is not None:
            self._arrival.set()

    def take_nowait(self) -> Batch:
        """Take the next batch.

        Raises:
            anyio.WouldBlock: There is none yet.
            anyio.EndOfStream: There will be no more.
        """
        try:
            batch = self._receive.receive_nowait()
        except anyio.EndOfStream:
            late, self._late = self._late, None
            if late is None:
                raise
            return late
        self._count -= 1
        self._bytes -= batch[2]
        if self._room is not None and self._count <= self._low_mark and self._bytes * 2 <= self._capacity:
            self._room.set()
            self._room = None
        return batch

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be taken."""
        return not self._count

    async def wait(self) -> None:
        """Wait until something changed: a batch came, or no more will. For one task at a time."""
        self._arrival = self._make_wakeup()
        try:
            await self._arrival
        finally:
            self._arrival = None

    def finish(self) -> None:
        """Say that no more will come; what is there can still be taken."""
        self.is_finished = True
        self._send.close()
        self._wake()

    def discard(self) -> None:
        """Say that nobody takes any more."""
        self.finish()
        self._receive.close()

    def _wake(self) -> None:
        if self._arrival is not None:
            self._arrival.set()
