"""Errors, events, options, facts: the values that callers get and give."""

import copy
import io
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anysse
from anysse import (
    AnysseError,
    Attempt,
    AttemptFailed,
    AttemptStarted,
    CheckpointError,
    Connected,
    ConnectError,
    ContentTypeError,
    DecodeError,
    DoneReceived,
    Ended,
    EventTooLarge,
    Fact,
    Headers,
    InvalidRequest,
    Observer,
    ResponseError,
    ServerSentEvent,
    StatusChanged,
    StatusError,
    StreamDropped,
    StreamError,
    StreamResponse,
    StreamStatus,
    StreamTimeout,
    Timeouts,
)
from anysse._check import check_callable, check_choice, check_count, check_number, check_seconds
from anysse._log import follow_environment
from anysse._redact import REDACTED, is_secret_name, redact_headers, redact_url

EVENT = ServerSentEvent(event="tick", data="1", id="7", retry=100)
FACTS: dict[str, Any] = {
    "url": "https://me:pass@example.com/feed?token=abc&n=1",
    "status_code": 503,
    "headers": Headers([("Retry-After", "5"), ("Set-Cookie", "sid=abc")]),
    "retry_count": 2,
    "hint": "do this",
}

EVERY_ERROR: list[Callable[[], AnysseError]] = [
    lambda: AnysseError("why", **FACTS),
    lambda: InvalidRequest("url", "why", url="https://example.com"),
    lambda: StreamError("why", **FACTS),
    lambda: ConnectError("why", **FACTS),
    lambda: ResponseError("why", body=b"no\xff", retry_after=5.0, **FACTS),
    lambda: StatusError("why", body=b"no", retry_after=5.0, **FACTS),
    lambda: ContentTypeError("why", body=b"<html>", **FACTS),
    lambda: StreamDropped("why", **FACTS),
    lambda: StreamTimeout("idle", 5.0, **FACTS),
    lambda: StreamTimeout("pool"),
    lambda: EventTooLarge(10, [EVENT], **FACTS),
    lambda: DecodeError("why", event=EVENT, **FACTS),
    lambda: CheckpointError("why", **FACTS),
]


def name_of(make: Callable[[], AnysseError]) -> str:
    return type(make()).__name__


each_error = pytest.mark.parametrize("make", EVERY_ERROR, ids=name_of)

# --- errors ---


def test_the_tree_of_errors_is_what_its_page_draws() -> None:
    parents = {
        InvalidRequest: (AnysseError, ValueError),
        StreamError: (AnysseError,),
        ConnectError: (StreamError,),
        ResponseError: (StreamError,),
        StatusError: (ResponseError,),
        ContentTypeError: (ResponseError,),
        StreamDropped: (StreamError,),
        StreamTimeout: (StreamError, TimeoutError),
        EventTooLarge: (StreamError,),
        DecodeError: (AnysseError,),
        CheckpointError: (AnysseError,),
    }
    assert {cls: cls.__bases__ for cls in parents} == parents
    assert {name_of(make) for make in EVERY_ERROR} == {cls.__name__ for cls in (AnysseError, *parents)}
    drawn = anysse._errors.__doc__ or ""
    assert all(f" {cls.__name__} " in f"{drawn} ".replace("\n", " ") for cls in parents)


def test_timeouts_are_os_errors_and_bad_arguments_value_errors() -> None:
    assert issubclass(StreamTimeout, OSError)
    assert issubclass(InvalidRequest, ValueError)


@each_error
@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        *(
            lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
)
def test_copies_of_an_error_keep_all_of_it(
    make: Callable[[], AnysseError], duplicate: Callable[[AnysseError], AnysseError]
) -> None:
    error = make()
    error.add_note("a note")
    twin = duplicate(error)
    assert twin is not error
    assert type(twin) is type(error)
    assert twin.__dict__ == error.__dict__
    assert twin.args == error.args
    assert (str(twin), repr(twin), twin.headline) == (str(error), repr(error), error.headline)


def test_a_copy_is_of_its_own() -> None:
    error = EventTooLarge(10, [EVENT])
    twin = copy.copy(error)
    twin.retry_count = 7
    assert error.retry_count == 0
    assert copy.deepcopy(error).events is not error.events


def test_the_words_of_the_cause_survive_where_the_cause_does_not() -> None:
    cause = OSError("[Errno 111] Connection refused")
    error = ConnectError(str(cause), url="https://example.com")
    error.__cause__ = cause
    twin = pickle.loads(pickle.dumps(error))
    assert twin.__cause__ is None
    assert "Connection refused" in str(twin)


@each_error
def test_copies_of_an_error_keep_when_the_stream_tries_again(make: Callable[[], AnysseError]) -> None:
    error = make()
    assert error.retry_in is None
    error.retry_in = 2.5
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert twin.retry_in == 2.5


@each_error
def test_every_error_says_where_it_stands(make: Callable[[], AnysseError]) -> None:
    error = make()
    for attribute in ("reason", "url", "status_code", "headers", "retry_count", "hint"):
        assert hasattr(error, attribute)
    assert error.reason
    assert str(error).startswith(error.headline)
    assert "\n" not in str(error)


@each_error
def test_no_error_shows_a_secret(make: Callable[[], AnysseError]) -> None:
    error = make()
    for shown in (str(error), repr(error), error.headline, repr(error.headers)):
        assert "pass@" not in shown
        assert "abc" not in shown


@each_error
def test_every_error_says_what_to_do(make: Callable[[], AnysseError]) -> None:
    error = make()
    assert error.hint in str(error)
    if error.retry_count:
        assert "after 2 retries" in str(error)


def test_an_error_can_be_made_of_nothing() -> None:
    assert str(AnysseError()) == "the stream failed"
    assert str(StreamDropped()) == "the event stream of the server was cut off"
    assert str(StatusError()) == "the server answered 0, not with an event stream"
    assert AnysseError().headers == {}


PLACE = "https://example.com/feed"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InvalidRequest("url", "is no URL"), "url: is no URL"),
        (
            ConnectError("refused", url=PLACE),
            f"cannot connect to {PLACE}: refused; check the host, the port and that the server is up",
        ),
        (
            ResponseError("the body is coded as 'br'", url=PLACE),
            f"cannot read the answer of {PLACE}: the body is coded as 'br'",
        ),
        (
            StatusError(url=PLACE, status_code=404, body=b" no\nsuch\x1b[2J feed "),
            (
                f"{PLACE} answered 404 Not Found, not with an event stream; check the URL. "
                "The body begins: 'no\\nsuch\\x1b[2J feed'"
            ),
        ),
        (
            StatusError("it redirects", url=PLACE, status_code=302),
            f"{PLACE} answered 302 Found, not with an event stream: it redirects",
        ),
        (
            StatusError(url=PLACE, status_code=529, retry_count=1),
            f"{PLACE} answered 529, not with an event stream (after 1 retry)",
        ),
        (
            StatusError(url=PLACE, status_code=503, retry_after=600.0, hint="or ask less"),
            (
                f"{PLACE} answered 503 Service Unavailable, not with an event stream; "
                "come back in 600 s; or ask less"
            ),
        ),
        (
            ContentTypeError(url=PLACE, headers={"Content-Type": "text/html"}),
            (
                f"{PLACE} answered with content type 'text/html', not text/event-stream; "
                "check the URL, or pass accept_response= to take another type"
            ),
        ),
        (
            ContentTypeError(url=PLACE, hint=""),
            f"{PLACE} answered with no content type, not text/event-stream",
        ),
        (
            StreamDropped("reset by peer", url=PLACE),
            f"the event stream of {PLACE} was cut off: reset by peer",
        ),
        (
            StreamTimeout("idle", 300.0, url=PLACE),
            (
                f"not a byte from {PLACE} within 300 s; "
                "raise timeouts.idle if the stream may be quiet for longer"
            ),
        ),
        (
            StreamTimeout("pool", hint="wait"),
            "the HTTP client had no free connection to the server in time; wait",
        ),
        (
            EventTooLarge(10, url=PLACE),
            (
                f"an event is larger than 10 bytes, in the event stream of {PLACE}; "
                'raise max_event_size, or pass oversize="skip" to leave it out'
            ),
        ),
        (
            DecodeError("no JSON", event=EVENT),
            "cannot decode an event of type 'tick': no JSON",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_tells_what_happened_and_what_to_do(error: AnysseError, text: str) -> None:
    assert str(error) == text
    assert repr(error) == f"{type(error).__name__}({text!r})"


@pytest.mark.parametrize("phase", ["pool", "connect", "response", "first_event", "idle", "total"])
def test_every_timeout_says_which_it_was(phase: Any) -> None:
    error = StreamTimeout(phase, 1.5, url=PLACE)
    assert (error.phase, error.seconds) == (phase, 1.5)
    assert PLACE in str(error)
    assert "within 1.5 s; " in str(error)


def test_a_headline_may_be_logged_and_has_nothing_of_the_body() -> None:
    error = StatusError(url=PLACE, status_code=500, body=b"private")
    assert "private" in str(error)
    assert "private" not in error.headline


def test_a_body_is_quoted_in_part_and_as_text() -> None:
    error = ResponseError(body=b"\xff" + b"x" * 1000)
    assert error.text == "\N{REPLACEMENT CHARACTER}" + "x" * 1000
    assert len(str(error)) < 300
    assert "begins" not in str(ResponseError(body=b" \n "))


def test_an_error_copies_the_headers_that_it_is_given() -> None:
    mine = {"X-Kind": "a"}
    error = StatusError(headers=mine)
    mine["X-Kind"] = "b"
    assert error.headers["x-kind"] == "a"


def test_an_error_copies_the_events_that_it_is_given() -> None:
    mine = [EVENT]
    error = EventTooLarge(10, mine)
    mine.clear()
    assert error.events == [EVENT]


# --- events ---


def test_an_event_has_the_defaults_of_the_standard() -> None:
    assert ServerSentEvent() == ("message", "", "", None)


def test_an_event_gives_its_data_as_json() -> None:
    assert ServerSentEvent(data='{"a": [1]}').json() == {"a": [1]}
    with pytest.raises(json.JSONDecodeError):
        ServerSentEvent(data="[DONE]").json()


HEADERS = Headers([("X-One", "1"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2")])


def test_headers_read_in_any_letter_case() -> None:
    assert HEADERS["x-ONE"] == "1"
    assert "X-one" in HEADERS
    assert HEADERS.get("nothing") is None
    with pytest.raises(KeyError):
        HEADERS["nothing"]


def test_a_repeated_header_reads_as_one_value() -> None:
    assert HEADERS["Set-Cookie"] == "a=1, b=2"
    assert HEADERS.get_list("SET-COOKIE") == ["a=1", "b=2"]
    assert HEADERS.multi_items() == [("x-one", "1"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]
    assert list(HEADERS) == ["x-one", "set-cookie"]
    assert len(HEADERS) == 2


def test_headers_do_not_change() -> None:
    with pytest.raises(TypeError):
        HEADERS["x"] = "y"  # type: ignore[index]
    HEADERS.multi_items().clear()
    assert len(HEADERS) == 2
    with pytest.raises(AttributeError):
        HEADERS.more = 1  # type: ignore[attr-defined]


def test_headers_show_no_secret() -> None:
    assert (
        repr(HEADERS)
        == f"Headers([('x-one', '1'), ('set-cookie', '{REDACTED}'), ('set-cookie', '{REDACTED}')])"
    )


def test_facts_and_responses_show_no_secret() -> None:
    url = FACTS["url"]
    response = StreamResponse(status_code=200, headers=FACTS["headers"], url=url)
    attempt = Attempt(number=1, last_event_id="7", last_error=StreamDropped(url=url))
    facts = (
        response,
        Connected(response=response),
        AttemptStarted(attempt=attempt, url=url),
        AttemptFailed(error=StreamDropped(url=url), retry_in=1.0),
    )
    for value in facts:
        assert "example.com/feed" in repr(value)
        assert "pass@" not in repr(value)
        assert "abc" not in repr(value)


def test_values_are_frozen_and_survive_pickle() -> None:
    response = StreamResponse(status_code=200, headers=HEADERS, url=PLACE)
    attempt = Attempt(number=1, last_event_id="", last_error=None)
    for value in (
        response,
        attempt,
        StatusChanged(status=StreamStatus.CONNECTED, previous=StreamStatus.CONNECTING),
        AttemptStarted(attempt=attempt, url=PLACE),
        Connected(response=response),
        DoneReceived(events_received=3),
        Ended(retry_in=3.0),
        Timeouts(),
        anysse.ExponentialBackoff(),
        HEADERS,
        EVENT,
    ):
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value
        with pytest.raises((AttributeError, TypeError)):
            value.anything = 1  # type: ignore[union-attr]
    assert AttemptFailed(error=ValueError(), retry_in=None).retry_in is None


def test_every_fact_has_its_place_among_the_events() -> None:
    response = StreamResponse(status_code=200, headers=HEADERS, url=PLACE)
    attempt = Attempt(number=1, last_event_id="", last_error=None)
    arguments: dict[type[Fact], dict[str, Any]] = {
        StatusChanged: {"status": StreamStatus.CONNECTED, "previous": StreamStatus.CONNECTING},
        AttemptStarted: {"attempt": attempt, "url": PLACE},
        Connected: {"response": response},
        AttemptFailed: {"error": ValueError(), "retry_in": None},
        DoneReceived: {},
        Ended: {"retry_in": None},
    }
    public = {value for value in vars(anysse).values() if isinstance(value, type)}
    assert {Fact, *arguments} == {value for value in public if issubclass(value, Fact)}
    for cls, options in arguments.items():
        assert cls(**options).events_received == 0
        fact = cls(events_received=7, **options)
        assert isinstance(fact, Fact)
        assert fact.events_received == 7
        with pytest.raises((AttributeError, TypeError)):
            fact.events_received = 8  # type: ignore[misc]


def test_a_status_is_its_word() -> None:
    assert [str(status) for status in StreamStatus] == [
        "idle",
        "connecting",
        "connected",
        "waiting",
        "paused",
        "completed",
        "error",
    ]


# --- options ---


def test_timeouts_have_the_documented_defaults() -> None:
    times = Timeouts()
    assert (times.connect, times.response, times.first_event, times.total) == (10.0, 60.0, None, None)
    assert (times.idle_of("feed"), times.idle_of("reply")) == (300.0, None)


def test_an_idle_timeout_that_is_given_holds_for_both_kinds() -> None:
    for idle in (None, 5.0):
        assert Timeouts(idle=idle).idle_of("feed") == Timeouts(idle=idle).idle_of("reply") == idle


@pytest.mark.parametrize(("seconds", "connect"), [(5, 4.5), (0.5, 0.45), (60.0, 10.0)])
def test_a_number_is_the_seconds_until_the_response(seconds: float, connect: float) -> None:
    """A tenth is left after connecting: what was never sent is known as such, and may be sent again."""
    assert Timeouts.of(seconds) == Timeouts(connect=connect, response=seconds)


def test_none_is_no_timeout_at_all() -> None:
    assert Timeouts.of(None) == Timeouts(connect=None, response=None, idle=None)
    mine = Timeouts(total=1)
    assert Timeouts.of(mine) is mine


BAD_SECONDS: list[Any] = [
    0,
    0.0,
    -1,
    float("nan"),
    float("inf"),
    "1",
    "default",
    True,
    10**400,
    10**5000,
    object(),
]


@pytest.mark.parametrize("name", ["connect", "response", "first_event", "idle", "total"])
@pytest.mark.parametrize("value", BAD_SECONDS, ids=lambda value: type(value).__name__)
def test_a_wrong_timeout_is_refused_by_name(name: str, value: Any) -> None:
    if (name, value) == ("idle", "default"):
        return
    words = ", 'default', 'auto'" if name == "idle" else ""
    with pytest.raises(
        InvalidRequest, match=rf"^timeouts\.{name}: must be seconds above zero{words} or None, not "
    ) as caught:
        Timeouts(**{name: value})
    assert caught.value.argument == f"timeouts.{name}"


@pytest.mark.parametrize("value", BAD_SECONDS, ids=lambda value: type(value).__name__)
def test_a_wrong_number_of_seconds_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^timeouts: "):
        Timeouts.of(value)


# --- checks ---


def refusal(check: Callable[..., None], *args: Any, **options: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        check("it", *args, **options)
    assert caught.value.argument == "it"
    return caught.value.reason


def test_checks_let_good_values_pass() -> None:
    check_seconds("it", 1)
    check_number("it", 0.0, minimum=0)
    check_count("it", 10**5000, minimum=0)
    check_choice("it", "a", ("a", "b"))
    check_callable("it", print)
    check_callable("it", None)


def test_checks_say_what_they_want() -> None:
    assert refusal(check_seconds, 0) == "must be seconds above zero or None, not 0"
    assert refusal(check_number, -1, minimum=0) == "must be a number from 0 on, not -1"
    assert refusal(check_count, 1.5, minimum=1) == "must be a whole number from 1 on, not 1.5"
    assert refusal(check_count, True, minimum=1) == "must be a whole number from 1 on, not True"
    assert refusal(check_choice, "c", (None, "b")) == "must be None or 'b', not 'c'"
    assert refusal(check_choice, [], ("a",)) == "must be 'a', not []"
    assert refusal(check_callable, 5) == "must be a function or None, not 5"


@pytest.mark.parametrize("check", [check_seconds, lambda name, value: check_number(name, value, minimum=0)])
def test_checks_quote_little_and_never_choke(check: Callable[..., None]) -> None:
    assert refusal(check, 10**5000).endswith("not this int")
    assert len(refusal(check, "x" * 10_000)) < 150
    assert len(refusal(check, 10**400)) < 150


# --- what may be shown ---


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "apiKey", "api_keys"),
        *("token", "access_token", "tokens", "client_secret", "password", "passphrase", "sig", "sid", "jwt"),
        "X-Amz-Signature",
    ],
)
def test_secrets_are_known_by_their_names(name: str) -> None:
    assert is_secret_name(name)
    assert redact_headers([(name, "x")]) == [(name, REDACTED)]


@pytest.mark.parametrize("name", ["Accept", "Content-Type", "Last-Event-ID", "keyboard", "author", "q"])
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert not is_secret_name(name)
    assert redact_headers([(name, "x")]) == [(name, "x")]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/a?b=c#d", None),
        ("https://example.com:8443/@me?x=@y", None),
        ("http://[::1]:80/@me", None),
        ("http://[::1]/a@b", None),
        ("", None),
        ("/path?n=1&&m", None),
        ("https://me:pw@example.com/", "https://***@example.com/"),
        ("https://me@example.com/@me", "https://***@example.com/@me"),
        ("https://a@b:pw@example.com/", "https://***@example.com/"),
        ("https://x/?token=abc&n=1", "https://x/?token=***&n=1"),
        ("https://x/?n=1;token=abc", "https://x/?n=1;token=***"),
        ("https://x/?to%6Ben=abc", "https://x/?to%6Ben=***"),
        ("https://x/?api_key=a=b=c", "https://x/?api_key=***"),
        ("https://x/?token", None),
        ("https://x/#access_token=abc&state=1", "https://x/#access_token=***&state=1"),
        # Refused for being no URL, and quoted in the refusal.
        ("me:pw@example.com/x", "me:***@example.com/x"),
        ("https:me:pw@example.com", "https:***@example.com"),
        ("https:/me:pw@example.com/x", "https:/***@example.com/x"),
        ("https:\\\\me:pw@example.com/x", "https:\\\\***@example.com/x"),
        ("https://me:p/w@example.com/x", "https://***@example.com/x"),
        ("https://me:p?w@example.com/x", "https://***@example.com/x"),
        ("https://me:p#w@example.com/x", "https://***@example.com/x"),
        ("https://h:99999x/", None),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str | None) -> None:
    assert redact_url(url) == (url if shown is None else shown)


@given(st.text(alphabet="ahtps:/\\?#@[]&;=token.%6B0 ") | st.text())
def test_no_text_is_too_strange_to_be_redacted(url: str) -> None:
    redact_url(url)


@given(secret=st.from_regex(r"[A-Z][A-Z0-9/?#:]{4,12}", fullmatch=True))
def test_a_password_is_never_shown(secret: str) -> None:
    assert secret not in redact_url(f"https://me:{secret}Q@example.com/path?a=1")


# --- observers ---


async def test_an_observer_may_look_at_nothing_and_admits_every_attempt() -> None:
    class Idle(Observer):
        pass

    idle = Idle()
    idle.observe(Ended(retry_in=None))
    async with idle.admit(Attempt(number=1, last_event_id="", last_error=None)):
        pass


# --- the log ---


@pytest.fixture
def bare_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("anysse")
    handlers, level = logger.handlers[:], logger.level
    logger.handlers.clear()
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_the_log_is_silent_unless_asked(bare_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", "loud"):
        monkeypatch.delenv("ANYSSE_LOG", raising=False)
        if value is not None:
            monkeypatch.setenv("ANYSSE_LOG", value)
        follow_environment()
        assert bare_logger.handlers == []


def test_the_environment_turns_the_log_on_once(
    bare_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYSSE_LOG", "debug")
    follow_environment()
    follow_environment()
    [handler] = bare_logger.handlers
    assert bare_logger.level == logging.DEBUG
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(shown := io.StringIO())
    bare_logger.debug("hello %s", "there")
    assert shown.getvalue().endswith(" DEBUG anysse: hello there\n")
