"""Takes in what connections bring: parses it where it comes, and puts the events into the mailbox, in order.

Decides nothing about attempts. One connection at a time, the next after ``begin``.
"""

from collections.abc import Callable, Iterator

from ._clock import loop_clock, stopwatch
from ._delivery import READ_SIZE, Mailbox
from ._intake import Intake
from ._observer import DoneReceived
from ._options import StreamStatus
from ._plan import StreamPlan
from ._session import Session
from ._silence import SilenceWatch
from ._statistics import Counters
from ._steering import Steering


class Receiver:
    """The receiving end of one stream.

    Args:
        plan: How to parse.
        session: Is told what was received.
        mailbox: Where the events go.
        counters: Where it is counted.
        steering: Says when to stop.
        tell: Is called in the stream's task once the done event came, before any event of that read.
    """

    __slots__ = (
        "_bytes",
        "_clock",
        "_counters",
        "_mailbox",
        "_most",
        "_plan",
        "_session",
        "_steering",
        "_stopwatch",
        "_tell",
        "_unparsed",
        "_untold",
        "_watch",
        "intake",
    )

    def __init__(
        self,
        plan: StreamPlan,
        session: Session,
        mailbox: Mailbox,
        counters: Counters,
        steering: Steering,
        tell: Callable[[DoneReceived], None],
    ) -> None:
        self._plan = plan
        self._session = session
        self._mailbox = mailbox
        self._counters = counters
        self._steering = steering
        self._tell = tell
        self._clock = loop_clock()
        self._stopwatch = stopwatch()
        # What somebody's code is called for is parsed in the stream's task, as is a read that is large.
        self._most = 0 if plan.calls_while_parsing else READ_SIZE
        self._unparsed: list[bytes] = []
        self._untold: DoneReceived | None = None
        self._bytes = 0  # since the last batch
        self._watch: SilenceWatch
        self.intake: Intake

    async def begin(self, watch: SilenceWatch) -> None:
        """Begin with a connection: what the one before left half-read is gone, what it left behind is put."""
        self._watch = watch
        self.intake = self._plan.intake(self._session.last_event_id)
        self._bytes = 0
        self._unparsed.clear()
        await self._put_late()

    def take(self, chunk: bytes) -> bool:
        """Take a read in; tell whether to go on reading. Called in no task, or in the stream's."""
        if len(chunk) > self._most or self._session.status is StreamStatus.PAUSED:
            self._unparsed.extend(pieces_of(chunk))
            return False
        return self._take(chunk)

    async def take_rest(self) -> None:
        """Take in what could not be where it came, and deliver all that was; in the stream's task."""
        while self._unparsed and not self.intake.is_over:
            if self._session.is_paused:
                await self._steering.hold()
            if not self._take(self._unparsed.pop(0)):
                await self._put_late()
        await self._put_late()

    def cut_off(self) -> None:
        """The connection is given up: what was received by then is delivered, whoever is slow."""
        self.tell_done()
        self._mailbox.put_spare()

    def tell_done(self) -> None:
        """Tell that the done event came, if that is news."""
        fact, self._untold = self._untold, None
        if fact is not None:
            self._tell(fact)

    def _take(self, chunk: bytes) -> bool:
        """Parse what was read, and deliver it. The hot path: whatever else there is to do is done once."""
        counters, session, intake, watch = self._counters, self._session, self.intake, self._watch
        now = self._clock()
        if now >= watch.moves_at:
            watch.heard(now, counters.last_byte_at)
        counters.bytes_received += len(chunk)
        self._bytes += len(chunk)
        counters.last_byte_at = now
        began = self._stopwatch()
        events = intake.take(chunk)
        counters.parser_time += self._stopwatch() - began
        if intake.done_after is not None and not session.is_done:
            session.done()
            self._untold = DoneReceived(events_received=counters.events_received + intake.done_after)
        if events or intake.is_done:
            if watch.awaits_event:
                watch.had_event(now)
            counters.had_events(len(events), now)
        has_moved = intake.last_event_id != session.last_event_id
        session.received(
            intake.last_event_id, intake.reconnection_time, now, has_events=bool(events) or intake.is_done
        )
        if not events and not has_moved:
            if intake.is_between_events:  # a heartbeat takes no memory
                self._bytes = 0
            return not intake.is_over and self._untold is None
        batch = (events, intake.last_event_id, self._bytes)
        self._bytes = 0
        if self._untold is not None:  # first of all that is told, in the stream's task
            self._mailbox.keep(batch)
            return False
        return self._mailbox.put_or_keep(batch) and not intake.is_over

    async def _put_late(self) -> None:
        """Wait for the consumer. What is received is delivered: no restart may cut this short."""
        self.tell_done()
        if not self._mailbox.is_late:
            return
        self._watch.rest(self._clock())
        self._steering.is_delivering = True
        try:
            await self._mailbox.put_late()
        finally:
            self._steering.is_delivering = False
        if not self._session.is_paused:
            self._watch.move(self._clock())


def pieces_of(chunk: bytes) -> Iterator[bytes]:
    """Cut what came at once: an HTTP library reads 64 KiB at most, but a transport may give anything."""
    return (chunk[start : start + READ_SIZE] for start in range(0, len(chunk), READ_SIZE))
