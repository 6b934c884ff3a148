"""What others ask of a stream, from any task: noted at once, and met by the stream's own task.

Nobody is woken without a state that says why, and that is looked at before each wait: no wake-up is lost.
"""

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import anyio

from ._options import PauseMode, StreamStatus
from ._session import Session
from ._silence import SilenceWatch
from ._visibility import Visibility

PauseReason: TypeAlias = Literal["user", "hidden"]

NETWORK_FLOOR: Final = 0.5
"""Seconds between attempts that a network's coming back gives rise to: one that flaps makes no storm."""
PROBE_GRACE: Final = 5.0
"""Seconds that a connection has to show life once the machine slept."""


class Steering:
    """The wheel of one stream.

    Args:
        session: What is asked for is told to it.
        clock: That of the event loop.
    """

    __slots__ = (
        "_change",
        "_clock",
        "_is_begun_anew",
        "_reasons",
        "_scope",
        "_session",
        "_visibility",
        "_wait",
        "_waiting_since",
        "_watch",
        "is_cut_off",
        "is_delivering",
        "is_restarting",
        "local_address",
        "next_attempt_at",
    )

    def __init__(self, session: Session, clock: Callable[[], float]) -> None:
        self._session = session
        self._clock = clock
        self.next_attempt_at: float | None = None
        self.is_restarting: bool = False
        """Whether what is under way is to be given up for another attempt."""
        self.is_cut_off: bool = False
        """Whether nothing more will come of the connection, even if it may not be made anew."""
        self.is_delivering: bool = False
        """Whether what was received waits for the consumer: a restart may not cut this short."""
        self.local_address: str | None = None
        """Where this end of the connection is, if anyone wants to know."""
        self._visibility: Visibility | None = None
        self._reasons: frozenset[PauseReason] = frozenset()  # one for all streams that run
        self._scope: anyio.CancelScope | None = None  # around what may be given up
        self._watch: SilenceWatch | None = None  # of the connection that is read
        self._is_begun_anew = False  # the attempt under way, for the network's sake
        self._wait: anyio.CancelScope | None = None
        self._waiting_since = 0.0
        self._change: anyio.Event | None = None

    # --- what others ask; never waits ---

    def pause(self, mode: PauseMode | None, reason: PauseReason = "user") -> None:
        """Pause for a reason more.

        Raises:
            InvalidRequest: What is under way would be given up, and may not be sent again.
        """
        self._session.check_pause(mode)
        self._reasons |= {reason}  # before anybody is told, who may resume
        self._session.pause(mode)
        if self._session.is_held:
            self._rest()
        elif self._session.is_paused:
            self.next_attempt_at = None
            self._cut()
        self._tell()

    def resume(self, reason: PauseReason = "user") -> None:
        """Have one reason less; without any, go on."""
        self._reasons -= {reason}
        if self._reasons:
            return
        self._session.let_go()
        if self._watch is not None and not (self._session.is_paused or self.is_delivering):
            self._watch.move(self._clock())
        if self.is_cut_off and not self._session.is_paused:
            self._replace()
        self._tell()

    def reconnect(self) -> None:
        """Make the next attempt now: cut a wait short, or give up a connection for a new one.

        Raises:
            InvalidRequest: There is a connection, and its request may not be sent again.
        """
        if self._session.status is StreamStatus.CONNECTED:
            self._session.check_restart()
            self._replace()
        else:
            self._hurry(self._clock())

    # --- what its surroundings tell; never waits ---

    def network_is_back(self) -> None:
        """Do not wait for what may work now, nor for packets that were lost on the way to a connection.

        Where the server asked to be left alone for a while, it is. It may also be that the server takes its
        time to answer: an attempt is begun anew once, and only if that does nothing twice.
        """
        is_stuck = self._clock() >= self._session.started_at + NETWORK_FLOOR
        is_under_way = self._session.status is StreamStatus.CONNECTING and self._scope is not None
        may_be_sent_twice = self._session.is_safe and self._session.may_restart
        if is_under_way and is_stuck and may_be_sent_twice and not self._is_begun_anew:
            self._is_begun_anew = True
            self._replace()
        elif self._session.status is StreamStatus.WAITING:
            soonest = self._session.started_at + NETWORK_FLOOR
            patience = self._waiting_since + self._session.asked_delay
            if self._hurry(max(self._clock(), soonest, patience)):
                self._session.hurried()

    def addresses_are_gone(self, addresses: frozenset[str]) -> None:
        """Give up a connection that has lost its end."""
        if self.local_address not in addresses:
            return
        self.is_restarting = self.is_cut_off = True
        if not self._session.is_held:
            self._replace()
        elif self._session.may_restart:
            self._session.pause("close")
            self._cut()
            self._tell()

    def woke_up(self, seconds: float) -> None:
        """The machine slept for so long: nobody waited meanwhile, and a connection may have died."""
        if self._watch is None:
            self._waiting_since -= seconds
            self.network_is_back()
        elif self._session.may_restart:
            self._watch.probe(self._clock(), PROBE_GRACE)

    # --- what the stream's own task calls ---

    def follow(self, visibility: Visibility) -> None:
        """Be paused for as long as something cannot be seen."""
        self._visibility = visibility
        visibility._subscribe(self._look)
        self._look()

    def leave_off(self) -> None:
        """Follow nothing any more."""
        if self._visibility is not None:
            self._visibility._unsubscribe(self._look)

    def _look(self) -> None:
        if self._visibility is None or self._visibility.is_visible:
            self.resume("hidden")
        else:
            self.pause(None, "hidden")

    def begin(self, scope: anyio.CancelScope, watch: SilenceWatch | None = None) -> None:
        """Begin with what may be given up, by cancelling a scope."""
        self._scope, self._watch = scope, watch
        if watch is None:  # an attempt: what was asked of those before is done
            self.is_restarting = self.is_cut_off = False
        if self._session.is_held:
            self._rest()
        elif self._session.is_paused or self.is_restarting:
            scope.cancel()

    def end(self) -> None:
        """It is over."""
        self._scope = self._watch = self.local_address = None

    def settled(self) -> None:
        """The attempt came to something: whoever asked for another one has it."""
        self._is_begun_anew = self.is_restarting = False

    def due_in(self, delay: float) -> float:
        """Keep when the next attempt is due, and give it; it is sooner if someone said so."""
        if self.next_attempt_at is None:
            self._waiting_since = self._clock()
            self.next_attempt_at = self._waiting_since + delay
        return self.next_attempt_at

    async def until_due(self, delay: float) -> None:
        """Wait until the next attempt is due, or it is paused.

        Args:
            delay: Seconds from now on, if it was not said before.
        """
        due = self.due_in(delay)  # from when it was decided: closing a connection takes its time
        try:
            with anyio.CancelScope(deadline=due) as self._wait:
                if not self._session.is_paused:
                    await anyio.sleep_forever()
        finally:
            self.next_attempt_at = self._wait = None

    async def until_resumed(self) -> None:
        """Wait until nobody wants it paused."""
        while self._reasons:
            await self._changed()

    async def until_let_go(self) -> None:
        """Wait until it is not held any more, but goes on, or is given up."""
        while self._session.is_held:
            await self._changed()

    async def hold(self) -> None:
        """Stay, within the scope that was begun with, for as long as it is paused."""
        await self.until_let_go()
        if self._session.is_paused:
            await anyio.sleep_forever()  # given up: that scope is cancelled

    # --- how ---

    def _hurry(self, at: float) -> bool:
        """Wait no longer than until a time; tell whether that is sooner."""
        if self._session.status is not StreamStatus.WAITING:
            return False
        if self.next_attempt_at is not None and self.next_attempt_at <= at:
            return False
        self.next_attempt_at = at
        if self._wait is not None:
            self._wait.deadline = at
        return True

    def _replace(self) -> None:
        self.is_restarting = True
        if self._scope is not None and not self.is_delivering:
            self._scope.cancel()

    def _cut(self) -> None:
        for scope in (self._scope, self._wait):
            if scope is not None:
                scope.cancel()

    def _rest(self) -> None:
        if self._watch is not None:
            self._watch.rest(self._clock())

    def _tell(self) -> None:
        if self._change is not None:
            self._change.set()

    async def _changed(self) -> None:
        self._change = anyio.Event()
        try:
            await self._change.wait()
        finally:
            self._change = None
