"""The life of a stream as plain values: what a server does, and what the stream does then."""

from collections.abc import Callable
from typing import Any

import pytest

from anysse import (
    AnysseError,
    CheckpointError,
    ConnectError,
    ContentTypeError,
    DecodeError,
    EventTooLarge,
    ExponentialBackoff,
    Failure,
    InvalidRequest,
    ResponseError,
    ServerSentEvent,
    StatusError,
    StreamDropped,
    StreamError,
    StreamStatus,
    StreamTimeout,
)
from anysse._options import PauseMode
from anysse._retry import RetryPolicy
from anysse._session import Connect, Rest, Rules, Session, Stop, Wait

STEADY = ExponentialBackoff(jitter=0)
"""The default policy, without chance."""


class Life(Session):
    """A session whose clock a test moves, with shorthands for what befalls it."""

    def __init__(
        self,
        *,
        kind: str = "feed",
        retry: RetryPolicy | None = STEADY,
        resend: str = "safe",
        is_done_required: bool = False,
        can_reauthorize: bool = False,
        last_event_id: str = "",
        chance: float = 0.0,
    ) -> None:
        self.now = 1000.0
        self.moves: list[StreamStatus] = []
        rules = Rules(
            kind=kind,  # type: ignore[arg-type]
            retry=retry,
            resend=resend,  # type: ignore[arg-type]
            is_done_required=is_done_required,
            can_reauthorize=can_reauthorize,
        )
        super().__init__(
            rules,
            last_event_id=last_event_id,
            chance=lambda: chance,
            on_status=lambda new, old: self.moves.append(new),
        )

    def begin(self, method: str = "GET", *, key: bool = False) -> "Life":
        assert self.start(self.now) == Connect()
        self.sending(method, has_idempotency_key=key)
        return self

    def open(self, method: str = "GET", *, key: bool = False) -> "Life":
        self.begin(method, key=key).opened(self.now)
        return self

    def take(self, *, last_id: str = "", retry: float | None = None, event: bool = True) -> "Life":
        self.received(last_id, retry, self.now, has_events=event)
        return self

    def fail(self, error: AnysseError | None = None) -> Wait | Stop:
        step = self.failed(error or StreamDropped(), self.now)
        assert not isinstance(step, Connect)
        return step

    def end(self) -> Wait | Stop:
        cut = self.cut_by_end()
        step = self.ended() if cut is None else self.fail(cut)
        assert not isinstance(step, Connect)
        return step

    def again(self, step: object, method: str = "GET", *, key: bool = False) -> "Life":
        """Wait as told, and send the next request."""
        assert isinstance(step, Wait)
        self.now += step.delay
        assert self.waited(self.now) == Connect()
        self.sending(method, has_idempotency_key=key)
        return self

    def reopen(self, step: object, method: str = "GET", *, key: bool = False) -> "Life":
        self.again(step, method, key=key).opened(self.now)
        return self


def delay_of(step: object) -> float:
    assert isinstance(step, Wait)
    return step.delay


def status(code: int, retry_after: float | None = None) -> StatusError:
    return StatusError(status_code=code, retry_after=retry_after)


def test_a_204_leaves_no_trouble_behind() -> None:
    life = Life().begin()
    life.again(life.fail())
    assert life.finished() == Stop()
    assert (life.retry_count, life.last_error) == (0, None)


# --- an answer that is taken ---


def test_a_stream_begins_by_connecting() -> None:
    assert Life().status is StreamStatus.IDLE
    life = Life().begin()
    assert life.status is StreamStatus.CONNECTING
    assert life.attempts == 1


def test_an_accepted_answer_connects_the_stream() -> None:
    life = Life().open()
    assert life.status is StreamStatus.CONNECTED
    assert life.was_open
    assert life.moves == [StreamStatus.CONNECTING, StreamStatus.CONNECTED]


def test_a_204_completes_the_stream() -> None:
    life = Life().begin()
    assert life.finished() == Stop()
    assert life.status is StreamStatus.COMPLETED
    assert life.is_over


def test_a_204_on_a_reconnection_completes_the_stream() -> None:
    life = Life().open().take()
    life.again(life.end())
    assert life.finished() == Stop()
    assert life.status is StreamStatus.COMPLETED


def test_the_done_event_completes_the_stream() -> None:
    life = Life(kind="reply", is_done_required=True).open("POST").take()
    assert life.finished() == Stop()
    assert life.status is StreamStatus.COMPLETED


# --- an answer that is refused ---


@pytest.mark.parametrize(
    "code",
    [
        *(201, 202, 203, 205, 206, 299, 300, 301, 302, 303, 304, 307, 308),
        *(400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 418, 422, 451, 499),
        *(501, 505, 511, 600, 999),
    ],
)
def test_a_status_that_will_not_pass_is_an_error_at_once(code: int) -> None:
    life, error = Life().begin(), status(code)
    assert life.fail(error) == Stop()
    assert life.status is StreamStatus.ERROR
    assert life.last_error is error


@pytest.mark.parametrize(
    "error",
    [
        ContentTypeError(status_code=200),
        ResponseError("the body is coded as 'br'"),
        EventTooLarge(10),
        InvalidRequest("request", "httpx refused to send it"),
        StreamError(),
        DecodeError(event=ServerSentEvent()),
        CheckpointError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_trying_again_cannot_help_is_an_error_at_once(error: AnysseError) -> None:
    life = Life().open()
    assert life.fail(error) == Stop()
    assert life.status is StreamStatus.ERROR
    assert life.last_error is error


@pytest.mark.parametrize(
    "code", [408, 425, 429, 500, 502, 503, 504, 506, 507, 520, 521, 522, 523, 524, 529, 599]
)
def test_a_status_that_may_pass_is_tried_again(code: int) -> None:
    life = Life().begin()
    assert life.fail(status(code)) == Wait(1.0)
    assert life.status is StreamStatus.WAITING
    assert life.retry_count == 1


def test_retry_after_is_the_least_delay() -> None:
    assert delay_of(Life().begin().fail(status(503, 7.0))) == 7.0
    assert 7.0 <= delay_of(Life(retry=ExponentialBackoff()).begin().fail(status(503, 7.0))) <= 10.5


def test_a_short_retry_after_does_not_shorten_the_backoff() -> None:
    assert delay_of(Life().begin().fail(status(503, 0.0))) == 1.0


def test_a_retry_after_beyond_the_bound_is_an_error_that_carries_it() -> None:
    life = Life().begin()
    assert life.fail(status(429, 300.0)) == Wait(300.0)
    life = Life().begin()
    assert life.fail(status(429, 300.5)) == Stop()
    assert isinstance(life.last_error, StatusError)
    assert life.last_error.retry_after == 300.5


# --- failures ---

TRANSIENT: list[Callable[[], StreamError]] = [
    ConnectError,
    StreamDropped,
    lambda: StreamTimeout("pool"),
    lambda: StreamTimeout("connect"),
    lambda: StreamTimeout("response"),
    lambda: StreamTimeout("first_event"),
    lambda: StreamTimeout("idle"),
]


@pytest.mark.parametrize("error", TRANSIENT)
def test_network_failures_and_timeouts_go_to_the_policy(error: Callable[[], StreamError]) -> None:
    life = Life().begin()
    assert life.fail(error()) == Wait(1.0)
    assert life.status is StreamStatus.WAITING


def test_silence_is_a_failure_for_the_policy() -> None:
    life = Life().open().take()
    assert life.fail(StreamTimeout("idle", 300.0)) == Wait(1.0)


def test_a_server_that_was_never_there_is_an_error_after_three_retries() -> None:
    life, delays = Life().begin(), []
    while isinstance(step := life.fail(ConnectError()), Wait):
        delays.append(step.delay)
        life.again(step)
    assert delays == [1.0, 2.0, 4.0]
    assert life.attempts == 4
    assert isinstance(life.last_error, ConnectError)
    assert life.last_error.retry_count == 3


def test_a_stream_that_was_open_once_is_tried_again_without_end() -> None:
    life = Life().open().take()
    step = life.fail()
    for _ in range(100):
        step = life.again(step).fail(ConnectError())
    assert step == Wait(30.0)
    assert life.retry_count == 101


def test_max_retries_bounds_consecutive_failures() -> None:
    life = Life(retry=ExponentialBackoff(max_retries=2)).open().take()
    life.again(life.fail())
    life.again(life.fail())
    assert life.fail() == Stop()
    assert life.last_error is not None
    assert "after 2 retries" in str(life.last_error)


def test_the_count_starts_anew_once_a_connection_delivered() -> None:
    life = Life(retry=ExponentialBackoff(max_retries=1)).open()
    life.reopen(life.fail()).take()
    assert life.retry_count == 0
    assert life.last_error is None
    assert isinstance(life.fail(), Wait)


def test_the_count_starts_anew_once_a_connection_lasted() -> None:
    life = Life(retry=ExponentialBackoff(jitter=0, max_retries=1, reset_after=30.0)).open()
    life.reopen(life.fail())
    life.now += 30.0
    assert isinstance(life.fail(), Wait)
    assert life.retry_count == 1


def test_the_count_stays_while_a_connection_neither_delivered_nor_lasted() -> None:
    life = Life(retry=ExponentialBackoff(jitter=0, max_retries=1, reset_after=30.0)).open()
    life.reopen(life.fail()).take(last_id="7", event=False)
    life.now += 29.0
    assert life.fail() == Stop()


def test_a_restart_after_a_connection_that_lasted_starts_the_count_anew() -> None:
    life = Life().open()
    life.reopen(life.fail())
    life.now += 30.0
    life.restart(life.now)
    assert life.retry_count == 0


def test_the_error_knows_how_often_it_was_tried() -> None:
    life = Life().begin()
    error = ConnectError()
    life.again(life.fail(ConnectError())).fail(error)
    assert error.retry_count == 1


def test_without_a_policy_a_failure_is_final() -> None:
    life = Life(retry=None).begin()
    assert life.fail(ConnectError()) == Stop()
    assert life.retry_count == 0


def test_what_no_policy_is_asked_about_ends_the_stream() -> None:
    life, error = Life().open(), StreamTimeout("total", 5.0)
    life.reopen(life.fail())
    assert life.broken(error) == Stop()
    assert life.status is StreamStatus.ERROR
    assert life.last_error is error
    assert error.retry_count == 1


def test_a_bug_ends_the_stream_and_is_kept() -> None:
    life, bug = Life().open(), ZeroDivisionError()
    assert life.broken(bug) == Stop()
    assert life.last_error is bug


# --- the policy of a caller ---


def test_a_policy_of_the_caller_is_told_all_and_asked_about_everything() -> None:
    told: list[Failure] = []

    def policy(failure: Failure) -> float | None:
        told.append(failure)
        return 2.0

    life = Life(retry=policy).open().take(retry=5.0)
    life.now += 60.0
    life.again(life.fail())
    life.now += 1.0
    error = status(404, 9.0)
    assert life.fail(error) == Wait(2.0)
    first, second = told
    assert (first.was_open, first.is_transient, first.retry_count, first.elapsed) == (True, True, 0, 0.0)
    assert (first.reconnection_time, first.retry_after) == (5.0, None)
    assert (second.error, second.is_transient, second.retry_count) == (error, False, 1)
    assert (second.elapsed, second.retry_after) == (3.0, 9.0)


def noting(told: list[Failure]) -> RetryPolicy:
    def policy(failure: Failure) -> float:
        told.append(failure)
        return 1.0

    return policy


def test_elapsed_counts_from_the_end_of_a_good_connection() -> None:
    told: list[Failure] = []
    life = Life(retry=noting(told)).open().take()
    life.now += 86_400.0
    life.again(life.end())
    life.now += 4.0
    life.fail(ConnectError())
    assert told[0].elapsed == pytest.approx(4.0)


def test_elapsed_counts_from_the_beginning_where_nothing_was_ever_good() -> None:
    told: list[Failure] = []
    life = Life(retry=noting(told)).begin()
    life.now += 2.0
    life.again(life.fail(ConnectError()))
    life.fail(ConnectError())
    assert [failure.elapsed for failure in told] == [2.0, 3.0]


def test_a_policy_of_the_caller_may_stop() -> None:
    assert Life(retry=lambda failure: None).begin().fail() == Stop()


@pytest.mark.parametrize("delay", [0, 0.0, 1e-9, 0.099])
def test_no_policy_goes_below_the_floor(delay: float) -> None:
    assert Life(retry=lambda failure: delay).begin().fail() == Wait(0.1)


@pytest.mark.parametrize(
    "delay", [-1, -0.001, float("nan"), float("inf"), True, "1", 10**400, 10**5000], ids=lambda _: ""
)
def test_what_is_no_delay_is_refused_by_name(delay: float) -> None:
    with pytest.raises(InvalidRequest, match=r"^retry: "):
        Life(retry=lambda failure: delay).begin().fail()


def test_a_policy_of_the_caller_gets_the_default_spread_at_clean_ends() -> None:
    life = Life(retry=lambda failure: 1.0, chance=1.0).open().take()
    assert life.end() == Wait(4.5)


@pytest.mark.parametrize("retry", [STEADY, lambda failure: 1.0])
@pytest.mark.parametrize(("lasted", "retry_count"), [(29.9, 2), (30.0, 1)])
def test_a_connection_is_good_after_half_a_minute_where_nobody_says_otherwise(
    retry: RetryPolicy, lasted: float, retry_count: int
) -> None:
    life = Life(retry=retry).open()
    life.reopen(life.fail())
    life.now += lasted
    life.fail()
    assert life.retry_count == retry_count


# --- the clean end ---


def test_a_feed_reconnects_after_its_end() -> None:
    life = Life().open().take()
    assert life.end() == Wait(3.0)
    assert life.retry_count == 0
    assert life.last_error is None


def test_a_feed_reconnects_after_the_time_that_its_server_set() -> None:
    life = Life().open().take(retry=0.5)
    assert life.end() == Wait(0.5)


def test_the_reconnection_time_is_spread_upwards() -> None:
    life = Life(retry=ExponentialBackoff(jitter=0.5), chance=0.5).open().take(retry=2.0)
    assert life.end() == Wait(2.5)


def test_a_feeds_end_without_an_event_counts_as_a_failure() -> None:
    life, delays = Life().open(), []
    for _ in range(3):
        step = life.end()
        delays.append(delay_of(step))
        life.reopen(step)
    assert delays == [1.0, 2.0, 4.0]
    assert isinstance(life.last_error, StreamDropped)
    assert "without an event" in str(life.last_error)


def test_each_connection_of_a_feed_has_to_bring_an_event() -> None:
    life = Life().open().take()
    life.reopen(life.end())
    assert life.end() == Wait(1.0)
    assert life.retry_count == 1


def test_a_replys_end_completes_it() -> None:
    for life in (Life(kind="reply").open("POST").take(), Life(kind="reply").open("POST")):
        assert life.end() == Stop()
        assert life.status is StreamStatus.COMPLETED


def test_a_feeds_end_is_its_end_where_nothing_is_tried_again() -> None:
    life = Life(retry=None).open().take()
    assert life.end() == Stop()
    assert life.status is StreamStatus.COMPLETED


@pytest.mark.parametrize("kind", ["feed", "reply"])
def test_an_end_before_the_done_event_is_a_cut(kind: str) -> None:
    life = Life(kind=kind, is_done_required=True).open("POST").take()
    assert life.end() == Stop()
    assert isinstance(life.last_error, StreamDropped)
    assert "done" in str(life.last_error)


def test_an_end_before_the_done_event_of_a_get_goes_to_the_policy() -> None:
    assert Life(kind="reply", is_done_required=True).open().take().end() == Wait(1.0)


def test_a_feed_by_post_that_may_not_be_sent_again_is_cut_off_by_its_end() -> None:
    life = Life().open("POST").take()
    assert life.end() == Stop()
    assert isinstance(life.last_error, StreamDropped)
    assert "resend=" in str(life.last_error)


def test_a_feed_by_post_goes_on_where_the_caller_says_so() -> None:
    assert Life(resend="always").open("POST").take().end() == Wait(3.0)


@pytest.mark.parametrize(
    ("life", "reason"),
    [
        (Life(is_done_required=True).open().take(), "it ended before its done event"),
        (Life().open(), "it ended without an event"),
        (Life().open("POST").take(), "it ended, and a feed goes on"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_end_that_is_a_failure_says_why(life: Life, reason: str) -> None:
    cut = life.cut_by_end()
    assert isinstance(cut, StreamDropped)
    assert cut.reason == reason


# --- the reconnection time ---


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (0.0, 0.1),
        (0.05, 0.1),
        (0.1, 0.1),
        (3.0, 3.0),
        (3600.0, 3600.0),
        (3600.5, 3600.0),
        (float(10**300), 3600.0),
    ],
)
def test_the_reconnection_time_is_clamped_before_it_is_used(sent: float, kept: float) -> None:
    life = Life().open().take(retry=sent)
    assert life.reconnection_time == kept
    assert life.end() == Wait(kept)


def test_a_reconnection_time_of_any_number_of_digits_is_clamped() -> None:
    life = Life().open().take(retry=10**400)
    assert life.reconnection_time == 3600.0


def test_the_reconnection_time_stays_from_then_on() -> None:
    life = Life().open().take(retry=0.2, event=False).take()
    life.reopen(life.end()).take()
    assert life.end() == Wait(0.2)


def test_the_reconnection_time_takes_the_place_of_the_first_backoff() -> None:
    life = Life().open().take(retry=45.0)
    step = life.fail()
    assert step == Wait(45.0)
    assert life.again(step).fail() == Wait(45.0)
    life = Life().open().take(retry=0.2)
    step = life.fail()
    assert step == Wait(0.2)
    assert life.again(step).fail() == Wait(0.4)


# --- what a stream takes from its policy, beside the delays ---


def test_the_jitter_of_the_policy_spreads_clean_ends_too() -> None:
    life = Life(retry=ExponentialBackoff(jitter=2.0), chance=0.5).open().take(retry=2.0)
    assert life.end() == Wait(4.0)


@pytest.mark.parametrize(("lasted", "retry_count"), [(4.9, 2), (5.0, 1), (29.0, 1)])
def test_the_policy_says_after_what_time_a_connection_is_good(lasted: float, retry_count: int) -> None:
    life = Life(retry=ExponentialBackoff(jitter=0, reset_after=5.0)).open()
    life.reopen(life.fail())
    life.now += lasted
    life.fail()
    assert life.retry_count == retry_count


# --- the last event ID ---


def test_the_last_event_id_starts_where_the_caller_says() -> None:
    life = Life(last_event_id="41")
    assert (life.last_event_id, life.learnt_id) == ("41", "")


def test_the_last_event_id_persists_across_connections() -> None:
    life = Life().open().take(last_id="7")
    life.reopen(life.end())
    assert (life.last_event_id, life.learnt_id) == ("7", "7")


def test_an_id_that_the_stream_did_not_move_is_still_the_callers() -> None:
    life = Life(last_event_id="41").open().take(last_id="41")
    assert (life.last_event_id, life.learnt_id) == ("41", "")


def test_a_block_without_data_moves_the_last_event_id() -> None:
    assert Life().open().take(last_id="7", event=False).last_event_id == "7"


def test_an_empty_id_removes_the_last_one() -> None:
    life = Life(last_event_id="41").open().take(last_id="42").take(last_id="")
    assert (life.last_event_id, life.learnt_id) == ("", "")
    assert life.take(last_id="").last_event_id == ""


# --- never send a prompt twice by accident ---

LOST: list[Callable[[], StreamError]] = [
    StreamDropped,
    lambda: StreamTimeout("response"),
    lambda: StreamTimeout("idle"),
    lambda: status(500),
    lambda: status(503),
]
NOT_SENT: list[Callable[[], StreamError]] = [
    ConnectError,
    lambda: StreamTimeout("pool"),
    lambda: StreamTimeout("connect"),
]
REFUSED: list[Callable[[], StreamError]] = [
    lambda: status(408),
    lambda: status(425),
    lambda: status(429),
    lambda: status(503, 1.0),
]


@pytest.mark.parametrize("error", LOST + NOT_SENT + REFUSED)
def test_a_get_may_always_be_sent_again(error: Callable[[], StreamError]) -> None:
    assert isinstance(Life().begin("GET").fail(error()), Wait)
    assert isinstance(Life().begin("get").fail(error()), Wait)


@pytest.mark.parametrize("error", NOT_SENT + REFUSED)
@pytest.mark.parametrize("method", ["POST", "PUT", "REPORT"])
def test_a_prompt_that_was_not_acted_upon_is_sent_again(
    method: str, error: Callable[[], StreamError]
) -> None:
    assert isinstance(Life(kind="reply").begin(method).fail(error()), Wait)


@pytest.mark.parametrize("error", LOST)
@pytest.mark.parametrize("method", ["POST", "PUT", "REPORT"])
def test_a_prompt_that_may_have_been_acted_upon_is_not_sent_again(
    method: str, error: Callable[[], StreamError]
) -> None:
    life, cause = Life(kind="reply").begin(method), error()
    assert life.fail(cause) == Stop()
    assert "not sent again" in str(cause)
    assert "resend=" in str(cause)
    assert "Idempotency-Key" in str(cause)


@pytest.mark.parametrize("error", NOT_SENT + REFUSED)
def test_a_prompt_whose_result_is_elsewhere_was_acted_upon(error: Callable[[], StreamError]) -> None:
    """A redirect led on with a GET: that this GET fails says nothing about the prompt."""
    life = Life(kind="reply").begin("POST")
    life.sent(is_body_spent=False, was_acted_upon=True)
    assert life.fail(error()) == Stop()


@pytest.mark.parametrize("error", LOST)
def test_an_idempotency_key_lets_a_prompt_be_sent_again(error: Callable[[], StreamError]) -> None:
    assert isinstance(Life(kind="reply").begin("POST", key=True).fail(error()), Wait)


@pytest.mark.parametrize("error", LOST)
def test_resend_undelivered_lets_a_prompt_be_sent_again(error: Callable[[], StreamError]) -> None:
    assert isinstance(Life(kind="reply", resend="undelivered").begin("POST").fail(error()), Wait)


@pytest.mark.parametrize(("key", "resend"), [(True, "safe"), (False, "undelivered")])
def test_a_prompt_with_an_answer_is_not_sent_again(key: bool, resend: str) -> None:
    life = Life(kind="reply", resend=resend).open("POST", key=key).take()
    assert life.fail() == Stop()


def test_a_prompt_is_not_sent_again_for_an_answer_of_an_earlier_connection() -> None:
    life = Life(kind="feed", resend="undelivered").open("GET").take()
    life.reopen(life.end(), "POST")
    assert life.fail() == Stop()


@pytest.mark.parametrize("error", NOT_SENT + REFUSED)
def test_a_prompt_whose_result_a_redirect_led_on_to_is_not_sent_again(
    error: Callable[[], StreamError],
) -> None:
    life = Life(kind="reply").begin("POST")
    life.sent(is_body_spent=False, was_acted_upon=True)
    assert life.fail(error()) == Stop()
    life = Life(kind="reply", resend="undelivered").begin("POST")
    life.sent(is_body_spent=False, was_acted_upon=True)
    assert isinstance(life.fail(error()), Wait)


def test_resend_always_is_the_callers_word() -> None:
    life = Life(kind="reply", resend="always").open("POST").take()
    assert isinstance(life.fail(), Wait)


def test_a_body_that_is_used_up_is_never_sent_again() -> None:
    life, error = Life(resend="always").begin("POST"), ConnectError()
    life.sent(is_body_spent=True)
    assert life.fail(error) == Stop()
    assert "read only once" in str(error)
    assert "check the host" in str(error)


def test_a_body_that_is_used_up_ends_even_a_feed_that_ended_well() -> None:
    life = Life(resend="always").open("POST").take()
    life.sent(is_body_spent=True)
    assert life.end() == Stop()
    assert "read only once" in str(life.last_error)


def test_a_request_that_no_redirect_led_on_was_not_acted_upon_by_one() -> None:
    life = Life(kind="reply").begin("POST")
    life.sent(is_body_spent=False)
    assert isinstance(life.fail(status(429)), Wait)


def test_a_body_that_was_not_begun_is_sent() -> None:
    life = Life(resend="always").begin("POST")
    life.sent(is_body_spent=False)
    assert isinstance(life.fail(ConnectError()), Wait)


def test_an_error_without_a_hint_tells_why_it_was_not_sent_again() -> None:
    error = StreamDropped("reset")
    Life(kind="reply").open("POST").fail(error)
    assert error.hint.startswith("it was not sent again")


def test_what_was_not_sent_again_says_what_would_allow_it() -> None:
    lost, spent = StreamDropped("reset"), StreamDropped("reset", hint="try this")
    Life(kind="reply").open("POST").fail(lost)
    assert lost.hint == (
        "it was not sent again, since the server may have acted upon it: pass resend= to allow that, "
        "or an Idempotency-Key header"
    )
    life = Life(resend="always").open("POST")
    life.sent(is_body_spent=True)
    life.fail(spent)
    assert spent.hint == (
        "try this; it was not sent again, since its body can be read only once: pass bytes instead"
    )


def test_a_failure_that_the_policy_gives_up_needs_no_such_reason() -> None:
    error = StreamDropped("reset")
    Life(kind="reply", retry=None).open("POST").fail(error)
    assert error.hint == ""


def test_each_attempt_is_judged_by_its_own_request() -> None:
    life = Life().begin("POST")
    life.again(life.fail(ConnectError()), "GET")
    assert isinstance(life.fail(), Wait)


# --- other credentials ---


def test_a_401_asks_for_other_credentials_once() -> None:
    life = Life(can_reauthorize=True).begin()
    assert life.fail(status(401)) == Wait(0.1)
    assert life.again(Wait(0.1)).fail(status(401)) == Stop()


def test_a_401_lets_a_prompt_be_sent_again() -> None:
    life = Life(kind="reply", can_reauthorize=True).begin("POST")
    assert life.fail(status(401)) == Wait(0.1)


def test_a_401_is_an_error_where_there_is_nobody_to_ask() -> None:
    assert Life().begin().fail(status(401)) == Stop()


def test_a_401_is_an_error_where_nothing_is_tried_again() -> None:
    assert Life(retry=None, can_reauthorize=True).begin().fail(status(401)) == Stop()


def test_credentials_are_asked_for_again_after_a_good_connection() -> None:
    life = Life(can_reauthorize=True).begin()
    life.reopen(life.fail(status(401))).take()
    life.again(life.fail())
    assert life.fail(status(401)) == Wait(0.1)


def test_a_drop_of_a_stream_that_was_accepted_with_401_asks_for_nothing() -> None:
    life = Life(kind="reply", can_reauthorize=True).open("POST")
    assert life.fail(StreamDropped(status_code=401)) == Stop()
    assert Life(can_reauthorize=True).open().fail(StreamDropped(status_code=401)) == Wait(1.0)


# --- at the user's word ---


def test_a_closed_stream_is_idle_and_not_over() -> None:
    life = Life().open()
    life.close()
    life.close()
    assert life.status is StreamStatus.IDLE
    assert not life.is_over
    assert life.moves[-1] is StreamStatus.IDLE


@pytest.mark.parametrize("end", ["finished", "broken"])
def test_closing_a_stream_that_is_over_changes_nothing(end: str) -> None:
    life = Life().open()
    life.finished() if end == "finished" else life.broken(ZeroDivisionError())
    before = life.status
    life.close()
    assert life.status is before


@pytest.mark.parametrize("end", ["completed", "error", "closed", "closed before it began"])
def test_nothing_begins_after_the_end(end: str) -> None:
    life = Life()
    if end != "closed before it began":
        life.open()
    {"completed": life.finished, "error": lambda: life.broken(ValueError())}.get(end, life.close)()
    before = life.status
    events: list[Callable[[], object]] = [
        lambda: life.start(life.now + 9),
        lambda: life.waited(life.now + 9),
        lambda: life.resume(life.now + 9),
        lambda: life.restart(life.now + 9),
        lambda: life.opened(life.now),
        life.ended,
        lambda: life.failed(StreamDropped(), life.now),
    ]
    for event in events:
        with pytest.raises(RuntimeError, match="cannot become"):
            event()
        assert life.status is before
    modes: list[PauseMode | None] = [None, "close", "hold"]
    for mode in modes:
        life.pause(mode)
        assert not life.is_held
        life.let_go()
        assert life.status is before


@pytest.mark.parametrize("act", ["restart", "ended", "failed", "opened", "finished", "broken"])
def test_nothing_befalls_a_stream_that_has_not_begun(act: str) -> None:
    life = Life()
    acts: dict[str, Callable[[], object]] = {
        "restart": lambda: life.restart(life.now),
        "ended": life.ended,
        "failed": life.fail,
        "opened": lambda: life.opened(life.now),
        "finished": life.finished,
        "broken": lambda: life.broken(ValueError()),
    }
    with pytest.raises(RuntimeError, match="that is idle cannot become"):
        acts[act]()
    assert life.status is StreamStatus.IDLE


@pytest.mark.parametrize(
    ("before", "act"),
    [(StreamStatus.WAITING, "opened"), (StreamStatus.WAITING, "finished"), (StreamStatus.PAUSED, "opened")],
)
def test_no_answer_comes_where_nothing_was_asked(before: StreamStatus, act: str) -> None:
    life = Life().open().take()
    life.pause() if before is StreamStatus.PAUSED else life.end()
    with pytest.raises(RuntimeError, match=f"that is {before} cannot become"):
        life.finished() if act == "finished" else life.opened(life.now)
    assert life.status is before


@pytest.mark.parametrize("connect", [Life.start, Life.waited, Life.resume])
def test_a_stream_that_is_connected_does_not_connect_beside_that(
    connect: Callable[[Life, float], object],
) -> None:
    life = Life().open()
    with pytest.raises(RuntimeError, match="that is connected cannot become connecting"):
        connect(life, life.now + 9)
    assert life.status is StreamStatus.CONNECTED


def test_two_attempts_are_never_closer_than_the_floor() -> None:
    life = Life().begin()
    life.pause()
    life.now += 0.04
    step = life.resume(life.now)
    assert delay_of(step) == pytest.approx(0.06)
    assert life.status is StreamStatus.WAITING
    life.again(step)


def test_a_wait_that_is_cut_short_keeps_the_floor() -> None:
    life = Life().begin()
    life.fail()
    assert delay_of(life.waited(life.now)) == pytest.approx(0.1)


def test_a_pause_holds_and_a_resume_connects_at_once() -> None:
    life = Life().open()
    life.pause()
    assert life.status is StreamStatus.PAUSED
    assert life.resume(life.now + 1) == Connect()


def test_a_wait_can_be_paused() -> None:
    life = Life(kind="reply").begin("POST")
    life.fail(ConnectError())
    life.pause()
    assert life.resume(life.now + 1) == Connect()


def test_what_a_pause_gives_up_rests_until_it_is_resumed() -> None:
    life = Life().open().take()
    life.pause()
    assert (life.is_paused, life.is_held) == (True, False)
    assert life.given_up(life.now) == Rest()
    assert (life.retry_count, life.last_error) == (0, None)


@pytest.mark.parametrize("mode", [None, "close", "hold"])
def test_a_stream_can_be_paused_before_it_begins(mode: PauseMode | None) -> None:
    life = Life()
    life.pause(mode)
    assert life.start(life.now) == Rest()
    assert not life.is_held
    assert life.resume(life.now) == Connect()


@pytest.mark.parametrize("mode", [None, "close", "hold"])
def test_a_wait_that_is_paused_does_not_end(mode: PauseMode | None) -> None:
    life = Life().begin()
    life.fail()
    life.pause(mode)
    assert (life.waited(life.now + 99), life.is_held) == (Rest(), False)


@pytest.mark.parametrize("mode", [None, "hold"])
def test_what_may_not_be_sent_again_is_held_and_goes_on_where_it_was(mode: PauseMode | None) -> None:
    for life in (Life(kind="reply").begin("POST"), Life(kind="reply").open("POST")):
        before = life.status
        life.pause(mode)
        assert (life.status, life.is_held) == (StreamStatus.PAUSED, True)
        life.let_go()
        assert (life.status, life.is_held) == (before, False)


def test_what_may_be_sent_again_is_held_at_the_users_word() -> None:
    life = Life().open()
    life.pause("hold")
    assert life.is_held
    life.pause()
    assert life.is_held
    life.pause("close")
    assert (life.status, life.is_held) == (StreamStatus.PAUSED, False)
    life.pause("hold")  # what is given up stays so
    life.let_go()
    assert (life.status, life.is_held) == (StreamStatus.PAUSED, False)


def test_what_is_held_and_may_not_be_sent_again_is_not_given_up() -> None:
    life = Life(kind="reply").open("POST")
    life.pause()
    with pytest.raises(InvalidRequest, match="resend"):
        life.pause("close")
    assert life.is_held


def test_the_done_event_may_be_there_as_it_is_held() -> None:
    life = done_life()
    life.pause()
    assert life.is_held
    assert life.finished() == Stop()
    assert (life.status, life.is_held) == (StreamStatus.COMPLETED, False)


def test_a_connection_that_was_given_up_was_good_until_then() -> None:
    life = Life(retry=ExponentialBackoff(reset_after=30.0)).begin()
    life.again(life.fail()).opened(life.now)
    life.now += 31
    life.pause()
    assert life.retry_count == 1
    life.given_up(life.now)
    assert life.retry_count == 0


def test_a_pause_is_no_time_spent_failing() -> None:
    failures: list[Failure] = []

    def retry(failure: Failure) -> float:
        failures.append(failure)
        return 1.0

    life = Life(retry=retry).begin()
    life.fail()
    life.pause()
    life.now += 3600
    life.resume(life.now)
    life.now += 2
    life.fail()
    assert [failure.elapsed for failure in failures] == [0.0, 2.0]


def test_an_attempt_that_is_held_back_keeps_its_place_whoever_pauses_it() -> None:
    modes: list[PauseMode | None] = [None, "hold", "close"]
    for mode in modes:
        life = Life(kind="reply")
        assert life.start(life.now) == Connect()
        life.pause(mode)  # nothing is under way, so that there is nothing to refuse
        assert life.is_held
        life.pause("close")
        assert not life.is_held
        assert life.given_up(life.now) == Rest()
        assert not life.is_held


def test_an_attempt_begins_once_nobody_holds_it_back() -> None:
    life = Life(kind="reply")
    life.start(life.now)
    life.now += 60
    life.admitted(life.now)
    assert life.started_at == life.now
    life.pause()
    assert not life.is_held
    life.given_up(life.now)
    life.now += 0.04
    assert delay_of(life.resume(life.now)) == pytest.approx(0.06)


def test_an_attempt_that_is_being_sent_is_not_held_back() -> None:
    life = Life().begin()
    life.pause()
    assert not life.is_held


def test_a_second_attempt_of_a_prompt_is_not_under_way_before_it_is_sent() -> None:
    life = Life(kind="reply").begin("POST")
    life.sent(is_body_spent=False)
    life.now += delay_of(life.fail(status(503, 1.0)))
    assert life.waited(life.now) == Connect()
    life.admitted(life.now)
    assert life.is_safe
    assert life.may_restart
    life.sending("POST", has_idempotency_key=False)
    assert not life.is_safe
    assert not life.may_restart


def test_a_body_that_was_read_stays_so_in_the_next_attempt() -> None:
    life = Life(retry=lambda failure: 1.0).begin("POST")
    life.sent(is_body_spent=True)
    life.pause("hold")
    life.given_up(life.now)
    life.now += 1
    life.resume(life.now)
    assert not life.may_restart


@pytest.mark.parametrize("is_body_read_once", [True, False])
def test_a_body_that_can_be_read_once_may_be_spent_while_it_is_sent(is_body_read_once: bool) -> None:
    life = Life(resend="always").begin("POST")
    life.sending("POST", has_idempotency_key=False, is_body_read_once=is_body_read_once)
    assert life.may_restart is not is_body_read_once
    life.sent(is_body_spent=False)  # there was no connection to send it over
    assert life.may_restart


@pytest.mark.parametrize("kind", ["feed", "reply"])
@pytest.mark.parametrize("last_event_id", ["", "7"])
def test_a_reply_that_would_begin_anew_is_held(kind: str, last_event_id: str) -> None:
    life = Life(kind=kind).open()
    life.pause()
    assert not life.is_held  # nothing came yet
    life = Life(kind=kind).open()
    life.received(last_event_id, None, life.now, has_events=True)
    life.pause()
    assert life.is_held is (kind == "reply" and not last_event_id)


@pytest.mark.parametrize("mode", [None, "hold"])
def test_a_policy_may_pause_and_has_the_last_word(mode: PauseMode | None) -> None:
    def retry(failure: Failure) -> float:
        life.pause(mode)
        return 1.0

    life = Life(retry=retry).open().take()
    assert life.fail() == Rest()
    assert (life.status, life.is_held, life.retry_count) == (StreamStatus.PAUSED, False, 1)
    assert life.resume(life.now + 1) == Connect()


def test_what_is_held_goes_back_to_where_it_was_and_nowhere_else() -> None:
    life = Life().begin()
    life.pause("hold")
    with pytest.raises(RuntimeError, match="that is paused cannot become connected"):
        life.opened(life.now)
    life.let_go()
    life.opened(life.now)
    assert life.status is StreamStatus.CONNECTED


def test_a_connection_counts_as_good_once() -> None:
    life = Life(retry=ExponentialBackoff(jitter=0, reset_after=30.0)).begin()
    life.reopen(life.fail())
    life.now += 31
    assert life.again(life.fail()).retry_count == 1  # it was good, and this is the first since then
    life.now += 31  # spent on an attempt, and not on a connection
    life.fail()
    assert life.retry_count == 2


def test_an_attempt_that_came_early_counts_for_nothing_if_it_fails() -> None:
    delays: list[int] = []

    def retry(failure: Failure) -> float:
        delays.append(failure.retry_count)
        return 10.0

    life = Life(retry=retry).open().take()
    for is_hurried in (False, False, True, True, False):
        life.fail()
        if is_hurried:
            life.hurried()
        life.now += 1
        life.waited(life.now)
    life.fail()
    assert delays == [0, 1, 2, 2, 2, 3]


def test_an_attempt_that_came_early_and_was_accepted_is_as_any_other() -> None:
    life = Life().begin()
    life.hurried()  # with nothing that it could be taken from
    life.again(life.fail())
    assert life.retry_count == 1
    step = life.fail()
    life.hurried()
    life.reopen(step)
    life.fail()
    assert life.retry_count == 3


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (status(503, 60.0), 60.0),
        (status(503), 0.0),
        (ResponseError("odd"), 0.0),
        (StreamDropped(), 0.0),
        (ConnectError(), 0.0),
    ],
    ids=repr,
)
def test_a_server_may_ask_to_be_left_alone(error: AnysseError, delay: float) -> None:
    life = Life(retry=lambda failure: 100.0).open()
    assert life.asked_delay == 0.0
    life.received("", 5.0, life.now, has_events=True)
    assert life.asked_delay == 5.0  # as its clean end would have it
    life.fail(error)
    assert life.asked_delay == delay


def test_a_restart_is_no_failure() -> None:
    life = Life().open().take()
    life.now += 5
    assert life.restart(life.now) == Wait(0.0)
    assert (life.retry_count, life.last_error) == (0, None)


def test_a_restart_keeps_the_floor() -> None:
    life = Life().open()
    life.now += 0.03
    assert delay_of(life.restart(life.now)) == pytest.approx(0.07)


@pytest.mark.parametrize("resend", ["safe", "undelivered"])
def test_a_refused_restart_names_the_argument_that_would_allow_it(resend: str) -> None:
    life = Life(resend=resend).open("POST").take()
    with pytest.raises(InvalidRequest) as caught:
        life.check_restart()
    assert caught.value.argument == "resend"
    assert caught.value.reason == f"{resend!r} does not let this request be sent again"


@pytest.mark.parametrize("act", ["pause", "restart"])
def test_what_may_not_be_sent_again_is_not_cut(act: str) -> None:
    life = Life(kind="reply").open("POST")
    with pytest.raises(InvalidRequest, match="resend"):
        life.pause("close") if act == "pause" else life.restart(life.now)
    assert life.status is StreamStatus.CONNECTED


def test_a_request_on_its_way_is_not_cut_where_it_may_not_be_sent_again() -> None:
    life = Life(kind="reply").begin("POST")
    with pytest.raises(InvalidRequest, match="resend"):
        life.pause("close")
    assert life.status is StreamStatus.CONNECTING


def test_the_floor_is_reached_whatever_the_clock_says() -> None:
    for now in (0.0, 0.1, 1 / 3, 12_345.678, 1e9 + 0.1, 2**40 + 0.3):
        life = Life()
        life.now = now
        life.begin().fail()
        life.again(life.waited(now))


def test_a_session_needs_nobody_who_listens() -> None:
    session = Session(Rules(kind="feed", retry=None), chance=lambda: 0.0)
    assert session.start(0.0) == Connect()


def test_a_session_that_has_not_begun_has_learnt_nothing() -> None:
    session = Session(Rules(kind="feed", retry=None), chance=lambda: 0.0)
    assert (session.status, session.attempts, session.retry_count) == (StreamStatus.IDLE, 0, 0)
    assert (session.last_event_id, session.learnt_id) == ("", "")
    assert (session.reconnection_time, session.last_error) == (None, None)
    assert (session.was_open, session.is_done, session.is_over) == (False, False, False)


# --- what follows the done event ---


def done_life(**options: Any) -> Life:
    life = Life(**options).open().take()
    life.done()
    return life


@pytest.mark.parametrize(
    "error",
    [StreamDropped(), StreamTimeout("idle"), StreamTimeout("first_event"), EventTooLarge(1)],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["feed", "reply"])
def test_a_cut_after_the_done_event_is_the_end_and_a_good_one(kind: str, error: AnysseError) -> None:
    life = done_life(kind=kind, is_done_required=True, resend="always")
    assert life.fail(error) == Stop()
    assert (life.status, life.last_error, life.retry_count) == (StreamStatus.COMPLETED, None, 0)


@pytest.mark.parametrize("kind", ["feed", "reply"])
def test_a_clean_end_after_the_done_event_is_the_end(kind: str) -> None:
    life = done_life(kind=kind, is_done_required=True)
    assert life.cut_by_end() is None
    assert life.end() == Stop()
    assert life.status is StreamStatus.COMPLETED


def test_a_done_event_that_brought_no_event_is_the_end_all_the_same() -> None:
    life = Life().open()
    life.done()
    assert life.end() == Stop()
    assert life.status is StreamStatus.COMPLETED


def test_the_time_for_the_whole_stream_being_up_after_the_done_event_is_the_end() -> None:
    life = done_life()
    assert life.broken(StreamTimeout("total", 1.0)) == Stop()
    assert (life.status, life.last_error) == (StreamStatus.COMPLETED, None)


def test_a_bug_is_one_after_the_done_event_too() -> None:
    life, error = done_life(), ValueError()
    assert life.broken(error) == Stop()
    assert (life.status, life.last_error) == (StreamStatus.ERROR, error)


def test_a_restart_after_the_done_event_is_refused_for_that_event() -> None:
    with pytest.raises(InvalidRequest) as caught:
        done_life().check_restart()
    assert caught.value.argument == "done"
    assert caught.value.reason == "its event came: this request is not sent again"


@pytest.mark.parametrize("resend", ["safe", "undelivered", "always"])
def test_nothing_is_sent_again_after_the_done_event(resend: str) -> None:
    life = done_life(resend=resend)
    assert not life.may_restart
    for act in (lambda: life.pause("close"), life.check_restart, lambda: life.restart(life.now)):
        with pytest.raises(InvalidRequest, match="its event came"):
            act()
    assert life.status is StreamStatus.CONNECTED


def test_no_policy_is_asked_after_the_done_event() -> None:
    def never(failure: Failure) -> float:
        raise AssertionError

    assert done_life(retry=never).fail() == Stop()


def test_an_end_without_a_done_event_that_is_not_required_is_that_of_its_kind() -> None:
    assert Life(kind="reply").open("POST").take().end() == Stop()
    assert isinstance(Life(kind="feed").open().take().end(), Wait)
