"""A session under whatever may befall it, in any order and at any time."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anysse import (
    AnysseError,
    ConnectError,
    ContentTypeError,
    EventTooLarge,
    ExponentialBackoff,
    Failure,
    InvalidRequest,
    ResponseError,
    StatusError,
    StreamDropped,
    StreamStatus,
    StreamTimeout,
)
from anysse._retry import MIN_DELAY
from anysse._session import Connect, Rest, Rules, Session, Step, Wait

S = StreamStatus
Draw = Callable[[st.SearchStrategy[Any]], Any]

small = st.floats(0, 100)
counts = st.sampled_from([None, None, 0, 1, 2, 3, 4])
backoffs = st.builds(
    ExponentialBackoff,
    initial=small | st.just(1e308),
    factor=st.floats(1, 10) | st.just(1e300) | st.just(10**300),
    maximum=small | st.just(1e308),
    jitter=st.floats(0, 2) | st.just(1e308),
    max_retries=counts,
    max_connect_retries=counts,
    reset_after=small,
    max_retry_after=st.floats(0, 1000),
    also=st.sets(st.sampled_from([404, 200, 501])),
)
delays = st.lists(
    st.sampled_from([0, 0.0, 0.05, 1, 2, 10**300, 1e308, None]) | st.floats(0, 100), min_size=1, max_size=4
)


class Scripted:
    """A policy of a caller's: whatever comes to its mind."""

    def __init__(self, answers: list[float | None]) -> None:
        self.answers = answers

    def __call__(self, failure: Failure) -> float | None:
        return self.answers[failure.retry_count % len(self.answers)]


rules = st.builds(
    Rules,
    kind=st.sampled_from(["feed", "reply"]),
    retry=st.one_of(  # None is not as likely: there is little to see
        backoffs,
        st.builds(ExponentialBackoff),
        st.builds(Scripted, delays),
        st.builds(Scripted, delays),
        st.none(),
    ),
    resend=st.sampled_from(["safe", "undelivered", "always"]),
    is_done_required=st.sampled_from([False, False, True]),
    can_reauthorize=st.booleans(),
)
at_times = st.sampled_from([False, False, False, True])
seldom = st.sampled_from([False] * 15 + [True])
pause_modes = st.sampled_from([None, None, "close", "hold"])
retry_afters = st.none() | st.floats(0, 300) | st.floats(0, 2000)
not_sent = st.builds(ConnectError) | st.builds(StreamTimeout, st.sampled_from(["pool", "connect"]))
statuses = st.builds(
    lambda code, retry_after: StatusError(status_code=code, retry_after=retry_after),
    st.sampled_from([404, 501] + 2 * [408, 425, 429, 500, 529] + 4 * [401, 503]),
    retry_afters,
)
answers = (
    statuses
    | st.builds(StreamDropped)
    | st.builds(StreamTimeout, st.just("response"))
    | st.builds(ContentTypeError)
)
losses = (
    st.builds(StreamDropped, status_code=st.sampled_from([200, 401]))
    | st.builds(StreamTimeout, st.sampled_from(["idle", "first_event"]))
    | st.builds(EventTooLarge, st.just(1), status_code=st.just(200))
    | st.builds(ResponseError)
)


def is_harmless(error: AnysseError) -> bool:
    """Whether it was not sent at all, or refused."""
    if isinstance(error, StreamTimeout):
        return error.phase in ("pool", "connect")
    if isinstance(error, StatusError):
        return error.status_code in (401, 408, 425, 429) or (
            error.status_code == 503 and error.retry_after is not None
        )
    return isinstance(error, ConnectError)


class SessionMachine(RuleBasedStateMachine):
    @initialize(
        rules=rules, now=st.floats(0, 1e9), last_id=st.sampled_from(["", "41"]), chance=st.floats(0, 1)
    )
    def make(self, rules: Rules, now: float, last_id: str, chance: float) -> None:
        self.said, self.now, self.last_id = rules, now, last_id
        self.session = Session(rules, last_event_id=last_id, chance=lambda: chance, on_status=self.on_status)
        self.seen = S.IDLE
        self.starts: list[float] = []
        self.due = now
        self.is_sent = False  # the request of this attempt
        self.is_at_rest = True  # nothing is under way
        self.held: StreamStatus | None = None
        self.is_ended = False
        self.is_done = False
        self.delivered = False
        self.may_send = True  # by the rule of `resend`, after what happened last
        self.method, self.key = "GET", False
        self.is_spent = self.was_acted_upon = False
        self.reconnection_time: float | None = None

    def on_status(self, new: StreamStatus, old: StreamStatus) -> None:
        assert old is self.seen
        self.seen = new

    # --- what is true at each step ---

    def took(self, step: Step) -> None:
        assert not self.is_ended, "a step after the end"
        assert not self.is_done or not isinstance(step, Connect | Wait | Rest), (
            "an attempt after the done event"
        )
        if isinstance(step, Connect):
            assert self.session.status is S.CONNECTING
            assert self.may_send, "a prompt was sent twice"
            if self.starts:
                assert self.now >= self.starts[-1] + MIN_DELAY
            assert self.is_at_rest, "two attempts at once"
            self.starts.append(self.now)
            self.is_sent = self.is_at_rest = False
            assert self.session.attempts == len(self.starts)
        elif isinstance(step, Wait):
            assert self.session.status is S.WAITING
            assert 0 <= step.delay < float("inf")
            self.is_at_rest = True
            self.due = self.now + step.delay
            assert self.due >= self.starts[-1] + MIN_DELAY
        elif isinstance(step, Rest):
            assert self.session.status is S.PAUSED
            self.is_at_rest = True
        else:
            assert self.session.is_over
            self.is_ended = True

    def lost(self, error: AnysseError | None) -> None:
        """Note whether the request may be sent again; there is no error at an end, nor at the user's word."""
        by_rule = self.method == "GET" or self.said.resend == "always"
        undelivered = (self.said.resend == "undelivered" or self.key) and not self.delivered
        is_harmless_one = error is not None and is_harmless(error) and not self.was_acted_upon
        self.may_send = not (self.is_spent or self.is_done) and (by_rule or undelivered or is_harmless_one)

    def failed(self, error: AnysseError) -> None:
        self.lost(error)
        step = self.session.failed(error, self.now)
        assert self.session.last_error is (None if self.is_done else error)
        assert not self.is_done or self.session.status is S.COMPLETED
        if isinstance(step, Wait):
            assert self.may_send
            assert step.delay >= MIN_DELAY
            asked = isinstance(error, StatusError) and error.status_code == 401 and self.said.can_reauthorize
            if isinstance(self.said.retry, ExponentialBackoff) and not asked:
                assert step.delay >= (self.reconnection_time or 0)
                assert step.delay >= (getattr(error, "retry_after", None) or 0)
        self.took(step)

    @invariant()
    def the_status_is_told(self) -> None:
        assert self.seen is self.session.status

    @invariant()
    def retries_are_bounded(self) -> None:
        policy = self.said.retry
        if isinstance(policy, ExponentialBackoff) and policy.max_retries is not None:
            # Other credentials are asked for once, whatever the bound.
            assert self.session.retry_count <= policy.max_retries + self.said.can_reauthorize

    @invariant()
    def what_the_stream_learnt_is_kept(self) -> None:
        assert self.session.last_event_id == self.last_id
        assert self.session.learnt_id in ("", self.last_id)
        assert self.session.reconnection_time == self.reconnection_time

    @invariant()
    def every_state_can_be_left(self) -> None:
        if self.is_ended:
            return
        status = self.session.status
        ways: dict[StreamStatus, Callable[[Session], object]] = {
            S.IDLE: lambda session: session.start(self.now),
            S.CONNECTING: lambda session: session.opened(self.now),
            S.CONNECTED: lambda session: session.failed(StreamDropped(), self.now),
            S.WAITING: lambda session: session.waited(max(self.now + 1, self.due)),
            S.PAUSED: lambda session: session.resume(self.now + 1),
        }
        for way in (ways[status], Session.close, lambda session: session.broken(ValueError())):
            if status is S.IDLE and way is not ways[status]:
                continue
            twin = copy.copy(self.session)
            twin._on_status = lambda new, old: None
            way(twin)
            assert twin.status is not status

    # --- what may happen ---

    # One rule for all: Hypothesis leaves rules out at random, and without some of these no life goes on.
    @precondition(lambda self: not self.is_ended)
    @rule(seconds=st.just(0) | st.floats(0, 0.2) | st.floats(0, 200), data=st.data())
    def live(self, seconds: float, data: st.DataObject) -> None:
        self.now += seconds
        in_flight = (
            [self.accept, self.accept, self.fail_attempt, self.answer_204] if self.is_sent else [self.send]
        )
        events = {
            S.IDLE: [self.start],
            S.CONNECTING: [*in_flight, *in_flight, self.pause],
            S.CONNECTED: [
                *(self.receive, self.receive, self.lose_connection, self.end_cleanly),
                *(self.be_done, self.mark_done, self.pause, self.restart),
            ],
            S.WAITING: [self.wait, self.wait, self.wait, self.pause],
            S.PAUSED: [self.come_to_rest, self.resume, self.resume, self.pause],
        }[self.session.status]
        is_last = self.session.status is not S.IDLE and data.draw(seldom)
        ends = [self.break_down, self.close] if is_last else []
        data.draw(st.sampled_from([*events, *ends]))(data.draw)

    def start(self, draw: Draw) -> None:
        self.took(self.session.start(self.now))

    def send(self, draw: Draw) -> None:
        self.method, self.key = draw(st.sampled_from(["GET", "POST", "POST", "PUT"])), draw(st.booleans())
        self.session.sending(self.method, has_idempotency_key=self.key)
        self.is_sent = True

    def sent(self, draw: Draw) -> None:
        self.is_spent, self.was_acted_upon = draw(at_times), draw(at_times)
        self.session.sent(is_body_spent=self.is_spent, was_acted_upon=self.was_acted_upon)

    def accept(self, draw: Draw) -> None:
        self.sent(draw)
        self.session.opened(self.now)
        assert self.session.was_open

    def answer_204(self, draw: Draw) -> None:
        self.sent(draw)
        self.took(self.session.finished())

    def fail_attempt(self, draw: Draw) -> None:
        self.sent(draw)
        self.failed(draw(not_sent | answers))

    def receive(self, draw: Draw) -> None:
        self.last_id = draw(st.sampled_from(["", "1", "41"]))
        retry, has_events = draw(st.none() | st.floats(0, 1e9) | st.just(10**400)), draw(st.booleans())
        self.session.received(self.last_id, retry, self.now, has_events=has_events)
        self.delivered = self.delivered or has_events
        if retry is not None:
            self.reconnection_time = min(max(retry, 0.1), 3600.0)
        assert not has_events or self.session.retry_count == 0

    def lose_connection(self, draw: Draw) -> None:
        self.failed(draw(losses))

    def end_cleanly(self, draw: Draw) -> None:
        cut = self.session.cut_by_end()
        if cut is not None:
            assert not self.is_done
            self.failed(cut)
            return
        assert self.is_done or not self.said.is_done_required
        self.lost(None)
        step = self.session.ended()
        is_taken_up = self.said.kind == "feed" and self.said.retry is not None and not self.is_done
        assert isinstance(step, Wait) == is_taken_up
        if isinstance(step, Wait):
            assert self.may_send
            assert step.delay >= (self.reconnection_time or 3.0)
        self.took(step)

    def be_done(self, draw: Draw) -> None:
        if draw(seldom):
            self.took(self.session.finished())

    def mark_done(self, draw: Draw) -> None:
        """What follows the done event is still of interest."""
        if draw(at_times):
            self.session.done()
            self.is_done = True

    def wait(self, draw: Draw) -> None:
        if draw(st.booleans()):
            self.now = max(self.now, self.due)
        else:  # it is cut short
            self.now = min(self.due, self.now + draw(st.floats(0, 1)))
        self.took(self.session.waited(self.now))

    def pause(self, draw: Draw) -> None:
        before, mode = self.session.status, draw(pause_modes)
        is_held_back = not self.is_sent and S.CONNECTING in (before, self.held)
        is_under_way = before in (S.CONNECTING, S.CONNECTED) and not is_held_back
        is_to_be_cut = mode == "close" and (is_under_way or self.held) and not is_held_back
        if is_to_be_cut and not self.session.may_restart:
            with pytest.raises(InvalidRequest):
                self.session.pause(mode)
            assert self.session.status is before
            return
        goes_on = self.said.kind == "feed" or not self.delivered or self.session.learnt_id != ""
        if is_held_back:  # it keeps its place
            self.held = S.CONNECTING if before is S.CONNECTING or mode != "close" else None
        elif is_under_way:
            is_cut = mode == "close" or (mode is None and self.session.may_restart and goes_on)
            self.held = None if is_cut else before
        elif mode == "close":
            self.held = None
        self.session.pause(mode)
        assert self.session.is_held == (self.held is not None)
        if self.held is None and is_under_way and (before is S.CONNECTED or self.is_sent):
            self.lost(None)

    def come_to_rest(self, draw: Draw) -> None:
        """What is given up is gone; what is held may be found not to have been sent."""
        if not self.is_at_rest and (self.held is None or not self.is_sent):
            self.held = None
            self.took(self.session.given_up(self.now))

    def resume(self, draw: Draw) -> None:
        if self.held is not None:
            self.session.let_go()
            assert self.session.status is self.held
            self.held = None
        else:
            self.come_to_rest(draw)
            self.took(self.session.resume(self.now))

    def restart(self, draw: Draw) -> None:
        before = self.session.retry_count
        self.lost(None)
        assert self.session.may_restart == self.may_send
        if self.may_send:
            self.took(self.session.restart(self.now))
            assert self.session.retry_count in (0, before)
        else:
            with pytest.raises(InvalidRequest):
                self.session.restart(self.now)

    def break_down(self, draw: Draw) -> None:
        error = draw(st.sampled_from([ValueError(), StreamTimeout("total")]))
        self.took(self.session.broken(error))
        is_good = self.is_done and isinstance(error, StreamTimeout)
        assert self.session.status is (S.COMPLETED if is_good else S.ERROR)
        assert self.session.last_error is (None if is_good else error)

    def close(self, draw: Draw) -> None:
        self.session.close()
        assert self.session.status is S.IDLE
        self.is_ended = True

    @precondition(lambda self: self.is_ended)
    @rule(
        event=st.sampled_from(
            [
                lambda session, now: session.start(now),
                lambda session, now: session.waited(now),
                lambda session, now: session.resume(now),
                lambda session, now: session.restart(now),
                lambda session, now: session.ended(),
                lambda session, now: session.failed(ConnectError(), now),
            ]
        )
    )
    def nothing_comes_after_the_end(self, event: Callable[[Session, float], object]) -> None:
        before, twin = self.session.status, copy.copy(self.session)
        try:
            step = event(twin, self.now + 1000)
        except (RuntimeError, InvalidRequest):
            pass
        else:
            assert not isinstance(step, Connect | Wait)
        assert twin.status is before


TestSession = SessionMachine.TestCase
# Lives end early more often than not, so some more of them than of other examples.
TestSession.settings = settings(max_examples=3 * settings().max_examples)
