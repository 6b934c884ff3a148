"""Which failures are tried again, after how long, and that no number gets out of hand."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysse import (
    AnysseError,
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
    StreamTimeout,
)
from anysse._retry import is_transient, spread


def failure(
    error: AnysseError | None = None,
    *,
    count: int = 0,
    was_open: bool = True,
    is_transient: bool = True,
    reconnection_time: float | None = None,
    retry_after: float | None = None,
) -> Failure:
    return Failure(
        error=error or StreamDropped(),
        is_transient=is_transient,
        was_open=was_open,
        retry_count=count,
        elapsed=0.0,
        reconnection_time=reconnection_time,
        retry_after=retry_after,
    )


def delays(policy: ExponentialBackoff, upto: int, chance: float = 0.0) -> list[float | None]:
    return [policy.delay(failure(count=count), chance) for count in range(upto)]


def test_delays_double_up_to_half_a_minute() -> None:
    assert delays(ExponentialBackoff(), 7) == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_jitter_only_lengthens() -> None:
    assert delays(ExponentialBackoff(), 3, chance=1.0) == [1.5, 3.0, 6.0]
    assert delays(ExponentialBackoff(jitter=2), 2, chance=0.5) == [2.0, 4.0]


def test_a_policy_draws_its_own_chance() -> None:
    drawn = {ExponentialBackoff()(failure()) for _ in range(20)}
    assert len(drawn) > 1
    assert all(delay is not None and 1.0 <= delay <= 1.5 for delay in drawn)


def test_the_reconnection_time_takes_the_place_of_initial() -> None:
    assert ExponentialBackoff().delay(failure(reconnection_time=5.0), 0) == 5.0
    assert ExponentialBackoff().delay(failure(reconnection_time=5.0, count=2), 0) == 20.0
    assert ExponentialBackoff().delay(failure(reconnection_time=0.1), 0) == 0.1


def test_growth_never_falls_below_the_reconnection_time() -> None:
    assert ExponentialBackoff().delay(failure(reconnection_time=45.0, count=3), 0) == 45.0
    assert ExponentialBackoff(initial=60.0, maximum=30.0).delay(failure(count=3), 0) == 60.0


def test_a_zero_base_stays_zero() -> None:
    assert delays(ExponentialBackoff(initial=0), 3) == [0.0, 0.0, 0.0]
    assert ExponentialBackoff(initial=0).delay(failure(count=10**6), 1.0) == 0.0


def test_retry_after_is_a_floor() -> None:
    assert ExponentialBackoff().delay(failure(retry_after=20.0), 0) == 20.0
    assert ExponentialBackoff().delay(failure(retry_after=2.0, count=3), 0) == 8.0


def test_a_retry_after_beyond_the_bound_stops() -> None:
    assert ExponentialBackoff(max_retry_after=10).delay(failure(retry_after=10.0), 0) == 10.0
    assert ExponentialBackoff(max_retry_after=10).delay(failure(retry_after=10.1), 0) is None
    assert ExponentialBackoff(max_retry_after=0).delay(failure(retry_after=0.0), 0) == 1.0


def test_what_is_not_transient_stops() -> None:
    assert ExponentialBackoff().delay(failure(is_transient=False), 0) is None


def test_also_names_further_statuses() -> None:
    policy = ExponentialBackoff(also=[404])
    for code, expected in ((404, 1.0), (403, None)):
        error = StatusError(status_code=code)
        assert policy.delay(failure(error, is_transient=False), 0) == expected


def test_also_speaks_of_answers_that_were_refused_and_not_of_broken_streams() -> None:
    policy = ExponentialBackoff(also=[200])
    assert policy.delay(failure(ContentTypeError(status_code=200), is_transient=False), 0) == 1.0
    assert policy.delay(failure(EventTooLarge(1, status_code=200), is_transient=False), 0) is None


def test_retries_in_a_row_are_bounded() -> None:
    assert delays(ExponentialBackoff(max_retries=2), 4) == [1.0, 2.0, None, None]
    assert delays(ExponentialBackoff(max_retries=0), 1) == [None]


def test_retries_before_the_stream_was_ever_open_have_their_own_bound() -> None:
    policy = ExponentialBackoff(max_connect_retries=1)
    assert [policy.delay(failure(was_open=False, count=count), 0) for count in (0, 1)] == [1.0, None]
    assert policy.delay(failure(was_open=True, count=9), 0) == 30.0
    assert ExponentialBackoff(max_connect_retries=None).delay(failure(was_open=False, count=9), 0) == 30.0
    assert ExponentialBackoff(max_retries=0).delay(failure(was_open=False), 0) is None


@pytest.mark.parametrize("factor", [1, 1.0, 2, 1e300, 10**300], ids=["1", "1.0", "2", "1e300", "10**300"])
@pytest.mark.parametrize(
    "count", [0, 1, 2, 10**3, 10**6, 10**400], ids=["0", "1", "2", "1e3", "1e6", "1e400"]
)
@pytest.mark.parametrize("initial", [0, 1, 1e-300, 1e308])
def test_numbers_never_overflow(initial: float, factor: float, count: int) -> None:
    policy = ExponentialBackoff(initial=initial, factor=factor, maximum=1e308, jitter=1e308)
    for chance in (0.0, 0.5, 1.0):
        delay = policy.delay(failure(count=count, retry_after=300.0), chance)
        assert delay is not None
        assert 300.0 <= delay <= sys.float_info.max


@given(
    initial=st.floats(0, 1e308),
    factor=st.floats(1, 1e308) | st.integers(1, 10**300),
    maximum=st.floats(0, 1e308),
    jitter=st.floats(0, 1e308),
    count=st.integers(0, 10**7),
    reconnection_time=st.none() | st.floats(0.1, 3600),
    retry_after=st.none() | st.floats(0, 1e12),
    chance=st.floats(0, 1),
)
def test_no_delay_is_below_what_the_server_asked_for(
    initial: float,
    factor: float,
    maximum: float,
    jitter: float,
    count: int,
    reconnection_time: float | None,
    retry_after: float | None,
    chance: float,
) -> None:
    policy = ExponentialBackoff(
        initial=initial, factor=factor, maximum=maximum, jitter=jitter, max_retry_after=1e12
    )
    facts = failure(count=count, reconnection_time=reconnection_time, retry_after=retry_after)
    delay = policy.delay(facts, chance)
    assert delay is not None
    assert math.isfinite(delay)
    assert delay >= (reconnection_time or 0)
    assert delay >= (retry_after or 0)


@given(count=st.integers(0, 2000), factor=st.floats(1, 100))
def test_delays_never_shrink_from_failure_to_failure(count: int, factor: float) -> None:
    policy = ExponentialBackoff(factor=factor)
    first, second = (policy.delay(failure(count=number), 0) for number in (count, count + 1))
    assert first is not None
    assert second is not None
    assert first <= second


def test_a_delay_is_spread_from_itself_upwards() -> None:
    assert [spread(2.0, 0.5, chance) for chance in (0.0, 0.5, 1.0)] == [2.0, 2.5, 3.0]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectError(), True),
        (StreamDropped(), True),
        (StreamTimeout("idle"), True),
        (StatusError(status_code=None), False),
        (StatusError(status_code=404), False),
        (StatusError(status_code=408), True),
        (StatusError(status_code=425), True),
        (StatusError(status_code=429), True),
        (StatusError(status_code=500), True),
        (StatusError(status_code=501), False),
        (StatusError(status_code=505), False),
        (StatusError(status_code=511), False),
        (StatusError(status_code=529), True),
        (StatusError(status_code=599), True),
        (StatusError(status_code=600), False),
        (ContentTypeError(), False),
        (ResponseError(), False),
        (EventTooLarge(1), False),
        (InvalidRequest("url", "is wrong"), False),
        (DecodeError(event=ServerSentEvent()), False),
        (ZeroDivisionError(), False),
    ],
    ids=repr,
)
def test_what_may_pass_is_transient(error: Exception, expected: bool) -> None:
    assert is_transient(error) is expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("initial", "maximum", "jitter") for value in (-1, "1", None, True)),
        *((name, value) for name in ("reset_after", "max_retry_after") for value in (-1, "1", None, True)),
        *(("initial", value) for value in (float("nan"), float("inf"), 10**400, 10**5000)),
        *(("factor", value) for value in (0, 0.99, -2, "2", None, float("inf"))),
        *((name, value) for name in ("max_retries", "max_connect_retries") for value in (-1, 1.5, "1", True)),
        *(("also", value) for value in (404, "404", ["404"], None, [404.0], [99], [[404]])),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_wrong_setting_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest, match=rf"^retry\.{name}: "):
        ExponentialBackoff(**{name: value})  # type: ignore[arg-type]


def test_one_status_that_is_no_list_is_told_how_to_write_it() -> None:
    with pytest.raises(InvalidRequest) as caught:
        ExponentialBackoff(also=404)  # type: ignore[arg-type]
    assert caught.value.reason == "must be several statuses, as in also=(404,), not 404"


def test_every_status_of_http_may_be_named() -> None:
    assert ExponentialBackoff(also=range(100, 1000)).also == {*range(100, 1000)}


def test_statuses_may_come_from_any_iterable_and_are_copied() -> None:
    mine = [404]
    policy = ExponentialBackoff(also=mine)
    mine.append(403)
    assert policy.also == {404}
    assert ExponentialBackoff(also=(code for code in (404, 410))).also == {404, 410}  # type: ignore[arg-type]


def test_a_policy_is_a_value() -> None:
    assert ExponentialBackoff(also=[404]) == ExponentialBackoff(also=(404,))
    assert len({ExponentialBackoff(), ExponentialBackoff()}) == 1
    with pytest.raises(AttributeError):
        ExponentialBackoff().initial = 2.0  # type: ignore[misc]
