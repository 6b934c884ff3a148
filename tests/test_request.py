"""Arguments that are about the request: a wrong one is named at the call, before any I/O.

No event loop runs in most of these tests, so there was no I/O.
"""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import io
import logging
import math
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import anyio
import pytest

import anysse
from anysse._options import Timeouts
from anysse._request import Body, OnceBody, RequestTemplate
from tests.server import feed, redirect, serve
from tests.streams import Answer, held_stream, memory_client, stream_of

URL = "http://127.0.0.1:9/"
SECRET = "s3cr3t-hunter2"


@pytest.fixture(scope="module")
def client(library: ModuleType) -> Any:
    """A client that no test sends anything with."""
    return library.AsyncClient(trust_env=False, verify=False)


def refused(url: Any = URL, **arguments: Any) -> anysse.InvalidRequest:
    """Give the error of a call, and see that it shows no secret."""
    with pytest.raises(anysse.InvalidRequest) as caught:
        anysse.open_stream(url, **arguments)
    error = caught.value
    assert isinstance(error, ValueError)
    assert str(error).startswith(f"{error.argument}: ")
    for text in (str(error), repr(error), str(pickle.loads(pickle.dumps(error)))):
        assert SECRET not in text
    return error


# --- the URL ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h a/", "no valid host"),
        ("http://h/ ", "white space"),
        (" http://h/", "white space"),
        ("http://h/\u2028", "white space"),
        ("http://", "names no host"),
        ("http:", "'http:' names no host"),
        ("https:///path", "names no host"),
        ("http://@/", "names no host"),
        ("http:/path", "'http:/path' names no host"),
        ("//host/path", "'//host/path' names no host"),
        ("/path", "'/path' names no host"),
        ("host", "'host' names no host"),
        ("", "'' names no host"),
        ("localhost:8000/x", "neither http"),
        ("ftp://h/", "neither http"),
        ("file:///etc/passwd", "neither http"),
        ("http://h:99999/", "has port 99999"),
        ("http://h:65536/", "has port 65536"),
        ("http://h:0/", "has port 0"),
        ("http://h:\uff11\uff12/", "no valid host and port"),
        ("http://h:\u0663/", "no valid host and port"),
        ("http://h:+8/", "no valid host and port"),
        ("http://h:-1/", "no valid host and port"),
        ("http://h:8_0/", "no valid host and port"),
        ("http://h:80:80/", "no valid host and port"),
        ("http://a@b@c/", "no valid host and port"),
        ("http://h\\x/", "no valid host and port"),
        ("http:\\\\h\\x", "names no host"),
        ("http://h%41/", "no valid host and port"),
        ("http://<h>/", "no valid host and port"),
        ("http://[::1/", "no valid host and port"),
        ("http://[nothing]/", "IPv6"),
        ("http://256.1.1.1/", "IPv4"),
        ("http://a..b/", "empty or too long"),
        ("http://.h/", "empty or too long"),
        ("http://./", "empty or too long"),
        (f"http://{'h' * 64}.example/", "empty or too long"),
        ("http://h/\x00", "control character"),
        ("http://h/a\nb", "control character"),
        ("http://h/a\tb", "control character"),
        ("http://h\x7f/", "control character"),
        ("http://h/\ud800", "surrogates"),
        ("http://\uff48\uff0fx/", "IDNA"),
        (f"http://h/{'a' * 70_000}", "too long"),
    ],
)
def test_a_url_that_nothing_can_be_asked_of(client: Any, url: str, problem: str) -> None:
    error = refused(url, client=client)
    assert error.argument == "url"
    assert problem in str(error)


@pytest.mark.parametrize("url", [5, None, b"http://h/", object(), ["http://h/"], io.StringIO("http://h/")])
def test_a_url_that_is_no_url(client: Any, url: Any) -> None:
    assert "must be a str, a URL or a" in str(refused(url, client=client))


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "HTTP://H/",
        "http://h:65535?x",
        "http://h:1#x",
        "http://h./",
        f"http://{'h' * 63}/",
        "http://[::1]:8/",
        "http://user:pass@h/",
        "http://@h/",
        "http://exämple.com/ä?ö=ü z",
        "http://h_h/",
        "https://1.2.3.4/",
    ],
)
def test_a_url_that_is_fine(client: Any, url: str) -> None:
    anysse.open_stream(url, client=client)


def test_a_url_of_either_library_is_a_url(library: ModuleType, client: Any) -> None:
    httpx2 = pytest.importorskip("httpx2")
    for module in (library, httpx2):
        anysse.open_stream(module.URL("http://h/"), client=client)
        assert refused(module.URL("/x"), client=client).argument == "url"


def test_a_path_is_enough_where_the_client_has_a_base(library: ModuleType) -> None:
    with_base = library.AsyncClient(base_url="http://h/api/", verify=False)
    for url in ("/x", "x", ""):
        anysse.open_stream(url, client=with_base)


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@h a/",
        f"http://{SECRET}@h:99999/",
        f"http://user:{SECRET}@@h/",
        f"http://user:{SECRET}/@h/",
        f"ftp://user:{SECRET}@h/",
        f"http:///?api_key={SECRET}",
        f"/?token={SECRET}",
        f" http://h/?access_token={SECRET}",
        f"http://user:{SECRET}@h\n/",
        f"http://user:{SECRET}@/",
        f"http://user:{SECRET}@a..b/",
        f"http://user:{SECRET}@h/".encode(),
    ],
)
def test_no_secret_of_a_url_that_is_refused_is_shown(client: Any, url: Any) -> None:
    assert refused(url, client=client).argument == "url"


def test_no_secret_of_a_request_of_the_other_library_is_shown(library: ModuleType, client: Any) -> None:
    other = pytest.importorskip({"httpx": "httpx2", "httpx2": "httpx"}[library.__name__])
    error = refused(other.Request("GET", f"http://u:{SECRET}@h/"), client=client)
    assert str(error) == (
        f"url: must be a str, a URL or a {library.__name__}.Request, not {other.__name__}.Request"
    )


# --- https_only -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://localhost/", "http://h/", "http://0.0.0.0/", "http://[::2]/"])
def test_https_only_refuses_plain_http_and_names_the_option(client: Any, url: str) -> None:
    error = refused(url, client=client, https_only=True)
    assert error.argument == "url"
    assert "https_only" in str(error)


@pytest.mark.parametrize("url", ["https://h/", "http://127.0.0.1/", "http://127.9.9.9:8/", "http://[::1]/"])
def test_https_only_takes_loopback_literals(client: Any, url: str) -> None:
    anysse.open_stream(url, client=client, https_only=True)


# --- method, headers, cookies, params ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GE T", "", "GET\n", "ÄÖ", "\ud800", b"GET", 5, None])
def test_a_method_that_is_none(client: Any, method: Any) -> None:
    assert refused(client=client, method=method).argument == "method"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Api-Key": f"{SECRET}\nX: y"},
        {"X-Api-Key": f"{SECRET}\r\n".encode()},
        {"X-Api-Key": f"{SECRET}\0"},
        {"X-Api-Key": f"{SECRET}\x0b"},
        {"X-Api-Key": f"{SECRET}\x7f"},
        {"X-Api-Key": f" {SECRET}"},
        {"X-Api-Key": f"{SECRET} "},
        {"X-Api-Key": f"{SECRET}\t"},
        {"X-Api-Key": f"{SECRET}ä"},
        {"X-Api-Key": f"{SECRET}€"},
        {"X-Api-Key": f"{SECRET}\ud800"},
        {"X-Api-Key": [SECRET]},
        {"X-Api-Key": None},
        {"X-Api-Key": 5},
        {"bad name": SECRET},
        {"X:": SECRET},
        {"X\n": SECRET},
        {"": SECRET},
        {"é": SECRET},
        {5: SECRET},
        [(SECRET,)],
        [SECRET],
        SECRET,
        5,
        {"Last-Event-ID": "a\nb"},
        {"Last-Event-ID": "a" * 8193},
    ],
)
def test_headers_that_cannot_be_sent(client: Any, headers: Any) -> None:
    assert refused(client=client, headers=headers).argument == "headers"


@pytest.mark.parametrize(
    "headers", [{"X": ""}, {"X": "a\tb c"}, {"X": b"\xe4"}, [("X", "1"), ("X", "2")], {b"X": b"y"}, {}]
)
def test_headers_that_can_be_sent(client: Any, headers: Any) -> None:
    anysse.open_stream(URL, client=client, headers=headers)


@pytest.mark.parametrize(
    "cookies",
    [
        {"a": f"{SECRET}\nb"},
        {"a": f"{SECRET}\0"},
        {f"{SECRET}\n": "b"},
        {"a": f"{SECRET}ä"},
        {"a": f"{SECRET}\ud800"},
        {"a": f"{SECRET} "},
        {"a": 5},
        [SECRET],
        SECRET,
        5,
    ],
)
def test_cookies_that_cannot_be_sent(client: Any, cookies: Any) -> None:
    assert refused(client=client, cookies=cookies).argument == "cookies"


@pytest.mark.parametrize("params", [5, object(), [1], {"a": "\ud800"}])
def test_params_that_cannot_be_sent(client: Any, params: Any) -> None:
    assert refused(client=client, params=params).argument == "params"


def test_what_the_client_adds_is_looked_at_too(library: ModuleType) -> None:
    bad = library.AsyncClient(headers={"X-Api-Key": f"{SECRET}\n"}, verify=False)
    assert refused(client=bad).argument == "headers"
    bad = library.AsyncClient(verify=False)
    bad.cookies.set("a", f"{SECRET}ä")
    assert refused(client=bad, headers={"X": "y"}, cookies={"b": "c"}, method="POST").argument == "client"


# --- the body ---------------------------------------------------------------------------------------------


def circular() -> list[Any]:
    one: list[Any] = []
    one.append(one)
    return one


def deep() -> list[Any]:
    one: list[Any] = []
    for _ in range(100_000):
        one = [one]
    return one


@pytest.mark.parametrize(
    "json",
    [
        pytest.param(object(), id="object"),
        pytest.param({"a": {1, 2}}, id="set"),
        pytest.param(b"x", id="bytes"),
        pytest.param(math.nan, id="nan"),
        pytest.param([math.inf], id="inf"),
        pytest.param(circular(), id="circular"),
        pytest.param(deep(), id="deep"),
        pytest.param({(1,): 2}, id="key"),
        pytest.param("\ud800", id="surrogate"),
        pytest.param(10**5000, id="huge"),
    ],
)
def test_json_that_cannot_be_serialised(library: ModuleType, client: Any, json: Any) -> None:
    with suppress(Exception):
        library.Request("POST", URL, json=json)
        pytest.skip("an older httpx sends NaN and lone surrogates")
    assert refused(client=client, method="POST", json=json).argument == "json"


async def pieces() -> AsyncIterator[bytes]:
    yield b"a piece"


@pytest.mark.parametrize(
    "content",
    [
        5,
        object(),
        [b"x"],
        iter([b"x"]),
        (part for part in [b"x"]),
        io.BytesIO(b"x"),
        bytearray(b"x"),
        {"api_key": SECRET},
        "\ud800",
    ],
)
def test_content_that_cannot_be_sent(client: Any, content: Any) -> None:
    assert refused(client=client, method="POST", content=content).argument == "content"


@pytest.mark.parametrize(
    ("body", "argument"),
    [
        ({"data": "x"}, "data"),
        ({"data": [1]}, "data"),
        ({"data": {"a": "\ud800"}}, "data"),
        ({"files": 5}, "files"),
        ({"files": {"a": io.StringIO("x")}}, "files"),
        ({"content": b"", "json": 0}, "content"),
        ({"content": "x", "data": {}}, "content"),
        ({"json": 1, "data": {"a": "b"}}, "json"),
        ({"json": 1, "files": {"a": b"x"}}, "json"),
    ],
)
def test_a_body_that_is_wrong_or_two(client: Any, body: dict[str, Any], argument: str) -> None:
    assert refused(client=client, method="POST", **body).argument == argument


# --- a request --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beside",
    [
        {"method": "POST"},
        {"params": {}},
        {"headers": {}},
        {"cookies": {}},
        {"content": b""},
        {"data": {}},
        {"files": {}},
        {"json": 0},
    ],
)
def test_nothing_that_a_request_has_goes_beside_it(
    library: ModuleType, client: Any, beside: dict[str, Any]
) -> None:
    error = refused(library.Request("GET", URL), client=client, **beside)
    assert [error.argument] == list(beside)


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("url", ("GET", "ftp://h/")),
        ("url", ("GET", "/path")),
        ("url", ("GET", "http://a..b/")),
        ("method", ("GE T", URL)),
    ],
)
def test_a_request_is_checked(library: ModuleType, client: Any, argument: str, given: Any) -> None:
    assert refused(library.Request(*given), client=client).argument == argument


def test_the_headers_and_body_of_a_request_are_checked(library: ModuleType, client: Any) -> None:
    injected = library.Request("GET", URL, headers={"X": f"{SECRET}\r\nY: z"})
    assert refused(injected, client=client).argument == "headers"
    resumed = library.Request("GET", URL, headers={"Last-Event-ID": "a\0b"})
    assert refused(resumed, client=client).argument == "headers"
    synchronous = library.Request("POST", URL, content=iter([b"x"]))
    assert refused(synchronous, client=client).argument == "content"


def test_a_request_alone_says_which_library_it_is_of(library: ModuleType) -> None:
    anysse.open_stream(library.Request("GET", URL))


# --- the last event ID, auth, the client ------------------------------------------------------------------


@pytest.mark.parametrize(
    "last_event_id", ["a\nb", "a\0", "\x7f", "a" * 8193, "ä" * 4097, "\ud800", 5, None, b"x"]
)
def test_a_last_event_id_that_cannot_be_sent(client: Any, last_event_id: Any) -> None:
    assert refused(client=client, last_event_id=last_event_id).argument == "last_event_id"


@pytest.mark.parametrize("last_event_id", ["a\tb", " a ", "a" * 8192, "ä" * 4096, "\u2028"])
def test_a_last_event_id_that_can_be_sent(client: Any, last_event_id: str) -> None:
    anysse.open_stream(URL, client=client, last_event_id=last_event_id)


@pytest.mark.parametrize(
    "auth",
    [
        5,
        True,
        SECRET,
        (SECRET,),
        (SECRET, SECRET, SECRET),
        [SECRET, SECRET],
        (1, SECRET),
        (None, SECRET),
        (SECRET, "\ud800"),
        object(),
    ],
)
def test_auth_that_is_none(client: Any, auth: Any) -> None:
    assert refused(client=client, auth=auth).argument == "auth"


def test_the_class_of_an_auth_flow_is_no_auth(library: ModuleType, client: Any) -> None:
    assert refused(client=client, auth=library.BasicAuth).argument == "auth"


def test_auth_of_every_kind(library: ModuleType, client: Any) -> None:
    for auth in (("a", "b"), (b"a", "b"), library.DigestAuth("a", "b"), lambda request: request, None):
        anysse.open_stream(URL, client=client, auth=auth)


@pytest.mark.parametrize("other", [5, "x", object(), False, 0])
def test_a_client_that_is_none(other: Any) -> None:
    assert refused(client=other).argument == "client"


def test_a_client_that_is_not_async_or_a_class_or_a_module(library: ModuleType) -> None:
    with library.Client(verify=False) as synchronous:
        for other in (synchronous, library.AsyncClient, library):
            assert refused(client=other).argument == "client"


async def test_a_closed_client_is_refused(library: ModuleType) -> None:
    async with library.AsyncClient(verify=False) as client:
        opening = anysse.open_stream(URL, client=client)
    assert refused(client=client).argument == "client"
    with pytest.raises(anysse.InvalidRequest, match="closed") as caught:
        async with opening:
            pass
    assert caught.value.argument == "client"


# --- what is never shown ----------------------------------------------------------------------------------


async def test_no_secret_of_a_request_is_logged_or_shown(
    library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="anysse")
    secret_id = held_stream(b"retry: 100\n\n", f"id: 7\ndata: {SECRET}\n\n".encode())
    answers = [Answer(status=503, headers=[("Set-Cookie", f"session={SECRET}")]), secret_id]
    facts: list[anysse.Fact] = []

    class Everything(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            facts.append(fact)

    async with memory_client(library, *answers, Answer(status=403)) as client:
        opening = anysse.open_stream(
            f"https://user:{SECRET}@h/?api_key={SECRET}#token={SECRET}",
            client=client,
            method="POST",
            headers={"X-Api-Key": SECRET, "Authorization": SECRET, "Cookie": SECRET},
            auth=("user", SECRET),
            json={"prompt": SECRET},
            resend="always",
            retry=anysse.ExponentialBackoff(initial=0.1),
            observers=[Everything()],
        )
        async with opening as events:
            assert (await events.receive()).data == SECRET
            events.reconnect_now()
            with pytest.raises(anysse.StatusError) as caught:
                await events.receive()
    assert client.sent[0].headers["x-api-key"] == SECRET
    shown = [repr(opening), repr(events), str(caught.value), repr(caught.value), repr(events.response)]
    shown += [repr(fact) for fact in facts if not isinstance(fact, anysse.AttemptStarted)]
    shown += [repr(fact) for fact in facts[:2]]  # later attempts have a last event ID, which is no secret
    shown += [record.getMessage() for record in caplog.records if record.name == "anysse"]
    assert len(shown) > 15
    assert [text for text in shown if SECRET in text] == []


def test_a_template_shows_nothing(library: ModuleType, client: Any) -> None:
    headers = {"X": SECRET}
    template = RequestTemplate(
        library=library,
        client=client,
        given=f"http://u:{SECRET}@h/",
        method="POST",
        headers=headers,
        body=Body(content=SECRET),
        timeouts=Timeouts(),
        user_agent="x",
    )
    assert SECRET not in repr(template) + repr(template.body)


# --- what is sent -----------------------------------------------------------------------------------------


def sends(library: ModuleType, *answers: Any, url: Any = "http://h/a", **arguments: Any) -> list[Any]:
    """Open a stream in memory, and give the requests that were sent."""
    sent: list[Any] = []

    async def main() -> None:
        async with memory_client(library, *answers or [held_stream()], **client_options) as client:
            given = url(client) if callable(url) else url
            async with anysse.open_stream(given, client=client, retry=None, **arguments):
                pass
            sent.extend(client.sent)

    client_options = arguments.pop("client_options", {})
    anyio.run(main)
    return sent


def test_arguments_mean_what_they_mean_in_httpx(library: ModuleType) -> None:
    options = {"headers": {"X-Client": "1"}, "params": {"b": "2"}, "cookies": {"c": "3"}}
    [request] = sends(
        library,
        url="http://h/?a=1",
        params={"a": "4"},
        cookies={"d": "5"},
        headers={"X-Call": "6"},
        client_options=options,
    )
    assert dict(request.url.params) == {"b": "2", "a": "4"}
    assert sorted(request.headers["cookie"].split("; ")) == ["c=3", "d=5"]
    assert (request.headers["x-client"], request.headers["x-call"]) == ("1", "6")


def test_a_request_is_copied_and_asks_for_an_event_stream(library: ModuleType) -> None:
    given = library.Request(
        "POST", "http://h/a?b=c", json={"x": 1}, headers={"X": "y"}, extensions={"mine": 1}
    )
    before = dict(given.headers)
    [request] = sends(library, url=given)
    assert dict(given.headers) == before
    assert given.extensions == {"mine": 1}
    assert (request.method, str(request.url), request.headers["x"]) == ("POST", "http://h/a?b=c", "y")
    assert request.content.replace(b" ", b"") == b'{"x":1}'
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["accept-encoding"] == "identity"
    assert request.extensions["mine"] == 1


def test_the_callers_headers_are_kept_as_they_are(library: ModuleType) -> None:
    headers = {"accept": "a/b", "ACCEPT-ENCODING": "gzip", "Cache-Control": "max-age=5"}
    [request] = sends(library, headers=headers)
    for name, value in headers.items():
        assert request.headers.get_list(name) == [value]


def test_the_initial_last_event_id_may_be_a_header(library: ModuleType) -> None:
    [request] = sends(library, headers={"Last-Event-ID": "7"})
    assert request.headers.get_list("last-event-id") == ["7"]
    [request] = sends(library, headers={"last-event-id": "7"}, last_event_id="8")
    assert request.headers.get_list("last-event-id") == ["8"]


def test_no_read_timeout_of_the_client_ends_a_quiet_stream(library: ModuleType) -> None:
    [request] = sends(library, timeouts=anysse.Timeouts(connect=3.0), client_options={"timeout": 0.1})
    times = request.extensions["timeout"]
    assert times == {"connect": 3.0, "read": None, "write": None, "pool": 3.0}


def same_origin() -> list[Any]:
    cookie = [("Location", "/b"), ("Set-Cookie", "from=redirect; Path=/")]
    return [Answer(status=302, headers=cookie), held_stream()]


def test_a_cookie_of_the_jar_is_made_anew_at_a_redirect(library: ModuleType) -> None:
    _, second = sends(library, *same_origin(), cookies={"a": "b"}, client_options={"cookies": {"c": "d"}})
    assert sorted(second.headers["cookie"].split("; ")) == ["a=b", "c=d", "from=redirect"]
    again = Answer(status=302, headers=[("Location", "/c"), ("Set-Cookie", "second=redirect; Path=/")])
    _, second, third = sends(library, same_origin()[0], again, held_stream())
    assert second.headers["cookie"] == "from=redirect"
    assert sorted(third.headers["cookie"].split("; ")) == ["from=redirect", "second=redirect"]


def test_a_cookie_of_somebodys_own_stays_at_a_redirect(library: ModuleType) -> None:
    own = {"Cookie": "own=1"}

    def prepare(request: Any, attempt: anysse.Attempt) -> None:
        request.headers.update(own)

    def given(client: Any) -> Any:
        return library.Request("GET", "http://h/a", headers=own)

    variants: list[dict[str, Any]] = [
        {"headers": own},
        {"client_options": {"headers": own}},
        {"prepare": prepare},
        {"url": given},
    ]
    for variant in variants:
        answers = [same_origin()[0], *same_origin()]
        sent = sends(library, *answers, **variant)
        assert [request.headers.get("cookie") for request in sent] == ["own=1"] * 3
    _, second = sends(library, *same_origin(), url=lambda client: client.build_request("GET", "http://h/a"))
    assert second.headers["cookie"] == "from=redirect"


@pytest.mark.parametrize("kind", ["json", "data"])
def test_what_the_caller_changes_later_is_not_sent(library: ModuleType, kind: str) -> None:
    arguments: dict[str, Any] = {
        kind: {"messages": ["first"]},
        "headers": {"X-Name": "first"},
        "params": {"name": "first"},
        "cookies": {"name": "first"},
    }
    bodies: list[tuple[bytes, str]] = []

    async def main() -> None:
        async with memory_client(library, Answer(status=503), held_stream()) as client:

            def change(request: Any, attempt: anysse.Attempt) -> None:
                arguments[kind]["messages"].append("second")
                for name in ("headers", "params", "cookies"):
                    arguments[name]["Later"] = "second"

            opening = anysse.open_stream(
                "http://h/",
                client=client,
                method="POST",
                resend="always",
                prepare=change,
                retry=anysse.ExponentialBackoff(initial=0.1),
                **arguments,
            )
            async with opening:
                first, second = client.sent
                assert first.content == second.content
                assert b"second" not in second.content
                assert first.headers == second.headers
                assert first.url == second.url
                bodies.append((second.content, second.headers["content-type"]))

    anyio.run(main)
    [(_, content_type)] = bodies
    form = "application/x-www-form-urlencoded"
    assert content_type == ("application/json" if kind == "json" else form)


@pytest.mark.parametrize("name", ["headers", "params", "cookies", "base_url"])
async def test_what_the_client_has_by_the_first_attempt_is_sent(library: ModuleType, name: str) -> None:
    async with memory_client(library, held_stream(), base_url="http://h/a/") as client:
        opening = anysse.open_stream("b", client=client)
        setattr(client, name, "http://h/late/" if name == "base_url" else {"late": "1"})
        async with opening:
            [request] = client.sent
    assert "late" in f"{request.url} {request.headers}"


async def test_a_first_request_is_made_once(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    build_request = library.AsyncClient.build_request

    def counting(self: Any, *arguments: Any, **options: Any) -> Any:
        made.append(build_request(self, *arguments, **options))
        return made[-1]

    monkeypatch.setattr(library.AsyncClient, "build_request", counting)
    async with memory_client(library, not_now(), held_stream()) as client:
        async with anysse.open_stream("http://h/", client=client):
            assert len(client.sent) == len(made) == 2


async def test_a_client_with_a_way_of_its_own_makes_each_request_anew(library: ModuleType) -> None:
    async with memory_client(library, held_stream()) as client:
        made: list[Any] = []

        class Numbering(type(client)):  # type: ignore[misc]
            def build_request(self, *arguments: Any, **options: Any) -> Any:
                made.append(super().build_request(*arguments, **options))
                return made[-1]

        client.__class__ = Numbering
        async with anysse.open_stream("http://h/", client=client):
            assert (len(client.sent), len(made)) == (1, 2)


async def test_a_way_of_its_own_that_a_client_was_given_makes_each_request_anew(library: ModuleType) -> None:
    def signed(*arguments: Any, **options: Any) -> Any:
        request = build_request(*arguments, **options)
        request.headers["X-Signed-At"] = now
        return request

    async with memory_client(library, held_stream()) as client:
        build_request, client.build_request = client.build_request, signed
        now = "early"
        opening = anysse.open_stream("http://h/", client=client)
        now = "late"
        async with opening:
            [request] = client.sent
    assert request.headers["X-Signed-At"] == "late"


# --- a body that can be read once -------------------------------------------------------------------------


def test_a_body_that_can_be_read_once_says_so(library: ModuleType) -> None:
    body = OnceBody(pieces())
    assert not body.is_spent
    aiter(body)
    assert body.is_spent
    with pytest.raises(anysse.InvalidRequest, match="read only once") as caught:
        aiter(body)
    assert caught.value.argument == "content"


class Again:
    """A body that gives a new iterator each time."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return pieces()


class Once:
    """A body that is its own iterator, and no generator: httpx would send nothing the second time."""

    def __init__(self) -> None:
        self._left = [b"a ", b"piece"]

    def __aiter__(self) -> "Once":
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)


def not_now() -> Answer:
    return Answer(status=503, headers=[("Retry-After", "0")])


@pytest.mark.parametrize("make", [Once, pieces])
@pytest.mark.parametrize("headers", [{}, {"Content-Length": "7"}])
async def test_a_body_that_can_be_read_once_is_not_sent_again(
    library: ModuleType, make: Any, headers: dict[str, str]
) -> None:
    async with memory_client(library, not_now()) as client:
        with pytest.raises(anysse.StatusError, match="read only once") as caught:
            async with anysse.open_stream(
                "http://h/", method="POST", content=make(), headers=headers, client=client
            ):
                pass
    assert caught.value.status_code == 503
    assert [request.content for request in client.sent] == [b"a piece"]


@pytest.mark.parametrize("make", [Once, pieces])
async def test_a_body_of_a_request_that_can_be_read_once_is_not_sent_again(
    library: ModuleType, make: Any
) -> None:
    async with memory_client(library, not_now()) as client:
        given = library.Request("POST", "http://h/", content=make())
        with pytest.raises(anysse.StatusError, match="read only once"):
            async with anysse.open_stream(given, client=client, resend="always"):
                pass
    assert [request.content for request in client.sent] == [b"a piece"]


@pytest.mark.parametrize(
    "body",
    [
        {"content": Again()},
        {"content": b"a piece"},
        {"content": "a piece"},
        {"json": "a piece"},
        {"data": {"a": "a piece"}},
        {"files": {"a": b"a piece"}},
        {"files": {"a": io.BytesIO(b"a piece")}},
    ],
    ids=lambda body: next(iter(body)),
)
async def test_any_other_body_is_sent_again_whole(library: ModuleType, body: dict[str, Any]) -> None:
    quick = anysse.ExponentialBackoff(initial=0.1, jitter=0.0)
    async with memory_client(library, not_now(), stream_of(b"data: x\n\n")) as client:
        async with anysse.open_stream(
            "http://h/", method="POST", client=client, retry=quick, **body
        ) as events:
            assert [event.data async for event in events] == ["x"]
    first, second = client.sent
    assert b"piece" in first.content
    assert len(first.content) == len(second.content)


async def test_a_body_that_can_be_read_once_is_sent_once_more_only_where_it_was_not_read(
    library: ModuleType,
) -> None:
    quick = anysse.ExponentialBackoff(initial=0.1, jitter=0.0)
    async with memory_client(library, library.ConnectError("no way"), stream_of(b"data: x\n\n")) as client:
        async with anysse.open_stream(
            "http://h/", method="POST", content=pieces(), client=client, retry=quick
        ) as events:
            assert [event.data async for event in events] == ["x"]
    assert [request.content for request in client.sent] == [b"a piece"]


async def test_a_body_that_can_be_read_once_does_not_follow_a_redirect(library: ModuleType) -> None:
    moved = Answer(status=307, headers=[("Location", "/b")])
    async with memory_client(library, moved) as client:
        with pytest.raises(anysse.StatusError, match="can be read only once"):
            async with anysse.open_stream("http://h/a", method="POST", content=pieces(), client=client):
                pass
    assert len(client.sent) == 1


async def test_digest_auth_cannot_send_again_what_can_be_read_once(library: ModuleType) -> None:
    challenge = [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5')]
    async with memory_client(library, Answer(status=401, headers=challenge)) as client:
        with pytest.raises(anysse.InvalidRequest, match="read only once") as caught:
            async with anysse.open_stream(
                "http://h/",
                method="POST",
                content=pieces(),
                client=client,
                auth=library.DigestAuth("u", "p"),
                resend="always",
            ):
                pass
    assert caught.value.argument == "content"
    assert len(client.sent) == 1


async def test_what_the_callers_body_raises_leaves_bare(library: ModuleType) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise LookupError("mine")

    async with memory_client(library) as client:
        with pytest.raises(LookupError, match="mine"):
            async with anysse.open_stream("http://h/", method="POST", content=broken(), client=client):
                pass


# --- prepare's request ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("prepare", lambda library, request: "a str"),
        ("url", lambda library, request: library.Request("GET", "ftp://h/")),
        ("url", lambda library, request: library.Request("GET", "http://other/")),
        ("method", lambda library, request: library.Request("G T", "https://h/")),
        ("headers", lambda library, request: request.headers.update({"X": f"{SECRET}\n"})),
        ("content", lambda library, request: library.Request("POST", "https://h/", content=iter([b"x"]))),
    ],
)
async def test_what_prepare_gives_is_checked(library: ModuleType, argument: str, change: Any) -> None:
    async with memory_client(library) as client:
        with pytest.raises(anysse.InvalidRequest) as caught:
            async with anysse.open_stream(
                "https://h/",
                client=client,
                https_only=True,
                prepare=lambda request, attempt: change(library, request),
            ):
                pass
    assert caught.value.argument == argument
    assert SECRET not in str(caught.value)
    assert client.sent == []


async def test_a_url_with_an_endless_label_is_no_redirect(library: ModuleType) -> None:
    async with serve(redirect("http://a..b/"), redirect(f"http://{'h' * 64}/")) as server:
        async with library.AsyncClient(trust_env=False, verify=False) as client:
            for _ in range(2):
                with pytest.raises(anysse.StatusError, match="empty or too long"):
                    async with anysse.open_stream(server.url, client=client):
                        pass


async def test_a_file_is_sent_whole_at_each_attempt(library: ModuleType, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a piece" * 10_000)
    quick = anysse.ExponentialBackoff(initial=0.1, jitter=0.0)

    async def unavailable(connection: Any) -> None:
        await connection.respond(503, {"Retry-After": "0"}, b"")

    async with library.AsyncClient(trust_env=False, verify=False) as client:
        async with serve(unavailable, feed("data: x\n\n")) as server:
            with path.open("rb") as file:
                async with anysse.open_stream(
                    server.url, method="POST", files={"a": file}, client=client, retry=quick
                ) as events:
                    assert [event.data async for event in events] == ["x"]
    for request in server.requests:
        assert request.body.count(b"a piece") == 10_000


def test_a_generator_is_no_content(client: Any) -> None:
    def parts() -> Iterator[bytes]:
        yield b"x"

    assert "async iterable" in str(refused(client=client, content=parts(), method="POST"))
