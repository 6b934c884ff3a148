"""What a ``StreamClient`` sends, what it refuses before any I/O, how long it waits, what it leaves behind."""
# ruff: noqa: SIM117 - an HTTP client, and a StreamClient on it: two lines read better than one.

import copy
import inspect
import json
import math
import types
from collections.abc import Awaitable, Callable, Iterator
from http.cookiejar import CookieJar
from operator import sub
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import anyio
import httpx
import pytest

import anysse
from anysse import Handlers, InvalidRequest, StreamClient, StreamStatus, Timeouts
from anysse._call import REQUEST_OPTIONS
from anysse._handlers import HANDLER_NAMES
from tests.conftest import is_importable
from tests.server import answer, feed, held, serve
from tests.streams import Answer, held_stream, in_virtual_time, memory_client, stream_of

URL = "https://a/"
SECRET = "hunter2"
BUSY = Answer(status=503, headers=[("Retry-After", "0")])


async def request_of(
    payload: Any = None,
    /,
    *,
    base_url: Any = URL,
    library: ModuleType = httpx,
    http: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Send one request, and give what went out.

    Args:
        payload: Of the request.
        base_url: Of the client.
        library: Which HTTP client.
        http: What the HTTP client has.
        client: What the StreamClient has.
        **options: What the request has.
    """
    async with memory_client(library, stream_of(), **(http or {})) as http_client:
        async with StreamClient(base_url, client=http_client, **(client or {})) as stream_client:
            assert await stream_client.send_request(payload, **options) == "completed"
        (sent,) = http_client.sent
        return sent


def idle_client(**options: Any) -> StreamClient:
    """Make a client that has nobody to send to."""
    return StreamClient(**{"base_url": URL, "client": memory_client(httpx)} | options)


def refusal(call: Callable[[], object], argument: str) -> str:
    """Give the text of the error with which a call refuses an argument."""
    with pytest.raises(InvalidRequest) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    assert caught.value.argument == argument
    assert str(caught.value).startswith(f"{argument}: ")
    return str(caught.value)


def endless() -> list[object]:
    around: list[object] = []
    around.append(around)
    return around


# --- where to ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "path", "url"),
    [
        ("https://a", "", "https://a"),
        ("https://a/v1/chat", "", "https://a/v1/chat"),
        ("https://a/v1/chat", "models", "https://a/v1/models"),
        ("https://a/v1/", "models", "https://a/v1/models"),
        ("https://a/v1/chat", "/models", "https://a/models"),
        ("https://a/v1/chat", "../models", "https://a/models"),
        ("https://a/v1/chat", "../../../models", "https://a/models"),
        ("https://a/v1/chat", ".", "https://a/v1/"),
        ("https://a/v1/chat", "./models:run", "https://a/v1/models:run"),
        ("https://a/v1/chat", "x/models:run", "https://a/v1/x/models:run"),
        ("https://a/v1/chat", "名 前", "https://a/v1/%E5%90%8D%20%E5%89%8D"),
        ("https://a/v1/chat", "a%2Fb%20c", "https://a/v1/a%2Fb%20c"),
        ("https://a/v1/chat", "%zz", "https://a/v1/%zz"),
        ("https://a/v1/chat", "?x=1", "https://a/v1/chat?x=1"),
        ("https://a/v1/chat?x=1", "?y=2", "https://a/v1/chat?y=2"),
        ("https://a/v1/chat?x=1", "models", "https://a/v1/models"),
        ("https://a/v1/chat?x=1", "", "https://a/v1/chat?x=1"),
        ("https://a/v1/chat", "https://a/other", "https://a/other"),
        ("https://a/v1/chat", "HTTPS://A:443/other", "https://a/other"),
        ("https://a/v1/chat", "//a/other", "https://a/other"),
        ("https://a:8443/v1/chat", "models", "https://a:8443/v1/models"),
        ("HTTPS://A/v1", "", "https://a/v1"),
        ("https://bücher.example/", "x", "https://xn--bcher-kva.example/x"),
        ("http://[::1]:8000/a", "b", "http://[::1]:8000/b"),
    ],
)
async def test_a_path_is_joined_to_base_url_as_in_a_browser(base_url: str, path: str, url: str) -> None:
    assert str((await request_of(base_url=base_url, path=path)).url) == url


@pytest.mark.parametrize(
    "path",
    [
        "https://b/",
        "//b/",
        "http://a/",
        "https://a:444/",
        "https://a.b/",
        "https://a@b/",
        f"https://b/?token={SECRET}",
        f"//u:{SECRET}@b/",
    ],
)
def test_a_path_that_leads_to_another_origin_is_refused(path: str) -> None:
    text = refusal(lambda: idle_client().stream(path=path), "path")
    assert "leads to another origin than base_url: make a client for that one" in text
    assert SECRET not in text
    assert refusal(lambda: idle_client(path=path), "path") == text


@pytest.mark.parametrize(
    "path", ["\\\\b/", "/\\b/", "//", "///b/", "https:b", "https:/b", "..//b", "%2F%2Fb"]
)
async def test_no_trick_of_a_path_leads_to_another_origin(path: str) -> None:
    sent = await request_of(path=path)
    assert (sent.url.scheme, sent.url.host, sent.headers["host"]) == ("https", "a", "a")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("a\nb", "has a control character, or white space around it"),
        (" a", "has a control character, or white space around it"),
        ("\x00", "has a control character, or white space around it"),
        ("ftp://a/", "is neither http:// nor https://"),
        ("models:run", "is neither http:// nor https://: './' before it makes it a relative one"),
        ("https://a:99999/", "has port 99999, and ports go from 1 to 65535"),
        ("https://", "names no host: write it as 'https://host:port/path'"),
        ("\ud800", "cannot be joined to the base URL"),
        ("x" * 70_000, "cannot be joined to the base URL"),
        ("//[", "has no valid host and port: write it as 'https://host:port/path'"),
    ],
    ids=lambda value: f"{value!r:.12}",
)
def test_a_path_that_is_none_is_refused(path: str, problem: str) -> None:
    assert problem in refusal(lambda: idle_client().stream(path=path), "path")


async def test_the_query_of_base_url_is_kept_beside_params_and_the_payload_of_a_get() -> None:
    sent = await request_of(
        {"q": "ü", "p": "payload"},
        base_url="https://a/x?b=1%20;+%2B&b=2",
        client={"params": {"c": "client", "r": "client", "p": "client"}},
        method="GET",
        params=[("r", 1), ("r", 2), ("p", "request")],
    )
    assert str(sent.url) == "https://a/x?b=1%20;+%2B&b=2&c=client&r=1&r=2&p=payload&q=%C3%BC"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_params_of_the_http_client_leave_the_rest_of_the_query(
    library: ModuleType, method: str
) -> None:
    """httpx would have them in the place of what a URL has."""
    sent = await request_of(
        {"q": "payload"} if method == "GET" else None,
        library=library,
        base_url="https://a/x?b=1&b=2",
        http={"params": {"h": "http", "c": "http"}},
        client={"params": {"c": "client"}},
        method=method,
    )
    pairs = [("b", "1"), ("b", "2"), ("c", "client"), ("h", "http")]
    expected = [*pairs, ("q", "payload")] if method == "GET" else pairs
    assert sorted(sent.url.params.multi_items()) == expected


async def test_a_url_may_be_of_either_library(library: ModuleType) -> None:
    sent = await request_of(base_url=library.URL("https://a/x?b=1"), path="y")
    assert str(sent.url) == "https://a/y"


async def test_credentials_of_base_url_are_sent_with_every_path() -> None:
    sent = await request_of(base_url="https://user:pass@a/x", path="y")
    assert sent.headers["authorization"] == "Basic dXNlcjpwYXNz"


# --- the method and the payload ---------------------------------------------------------------------------


async def test_a_post_is_sent_unless_told_otherwise() -> None:
    assert (await request_of()).method == "POST"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "get", "Put", "dELETE"])
async def test_a_method_is_the_clients_or_the_requests_in_any_letter_case(method: str) -> None:
    of_client = await request_of({"a": 1}, client={"method": method})
    of_request = await request_of({"a": 1}, client={"method": "PATCH"}, method=method)
    for sent in (of_client, of_request):
        assert sent.method == method.upper()
        is_get = sent.method == "GET"
        assert (sent.url.query, sent.content) == ((b"a=1", b"") if is_get else (b"", sent.content))
        assert is_get or json.loads(sent.content) == {"a": 1}


async def test_a_json_body_goes_out_as_it_is() -> None:
    async with serve(feed()) as server:
        async with StreamClient(server.url) as client:
            await client.send_request({"prompt": "你好", "n": [1, None, True, {"ü": 1.5}]})
        (request,) = server.requests
        assert (request.method, request.target) == ("POST", "/")
        assert request.headers.get("Content-Type") == "application/json"
        assert request.headers.get("Accept") == "text/event-stream"
        assert json.loads(request.body) == {"prompt": "你好", "n": [1, None, True, {"ü": 1.5}]}


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (None, {}),
        ({}, {}),
        ([], []),
        (False, False),
        (0, 0),
        ("", ""),
        ("text", "text"),
        ((1, 2), [1, 2]),
        (types.MappingProxyType({"a": (1,)}), {"a": [1]}),
    ],
)
async def test_any_payload_is_a_json_body_and_none_is_an_empty_object(payload: Any, body: Any) -> None:
    sent = await request_of(payload)
    assert json.loads(sent.content) == body
    assert sent.headers["content-type"] == "application/json"


@pytest.mark.parametrize("name", ["Content-Type", "CONTENT-TYPE", "content-type"])
@pytest.mark.parametrize("level", ["client", "request", "http"])
async def test_the_content_type_is_the_callers_where_there_is_one(name: str, level: str) -> None:
    headers = {"headers": {name: "application/vnd.api+json"}}
    levels = {"client": {"client": headers}, "request": headers, "http": {"http": headers}}
    sent = await request_of({"a": 1}, **levels[level])
    assert sent.headers.get_list("content-type") == ["application/vnd.api+json"]


async def test_the_payload_of_a_get_is_its_query_and_it_has_no_body() -> None:
    payload = {"list": [1, "b"], "nested": {"a": 1}, "true": True, "none": None, "text": "a b&ü"}
    async with serve(feed()) as server:
        async with StreamClient(f"{server.url}/x?key=k", method="GET") as client:
            await client.send_request(payload)
        (request,) = server.requests
        query = [("key", "k"), ("list", "1,b"), ("nested", '{"a":1}'), ("true", "true"), ("text", "a b&ü")]
        assert (request.method, request.path) == ("GET", "/x")
        assert parse_qsl(request.target.partition("?")[2]) == query
        assert request.body == b""
        assert request.headers.get("Content-Type") is None
        assert request.headers.get("Content-Length") is None


@pytest.mark.parametrize(
    ("payload", "query"), [(None, b""), ({}, b""), ("a&b", b"payload=a%26b"), ([1, 2], b"payload=1%2C2")]
)
async def test_the_payload_of_a_get_need_be_no_mapping(payload: Any, query: bytes) -> None:
    assert (await request_of(payload, method="GET")).url.query == query


@pytest.mark.parametrize(
    "encoded",
    [{"a": ["1", "2"]}, [("a", 1), ("a", "2")], "a=1&a=2", b"a=1&a=2", httpx.QueryParams("a=1&a=2")],
    ids=lambda value: type(value).__name__,
)
async def test_encode_params_makes_the_query_of_a_get(encoded: Any) -> None:
    asked: list[object] = []

    def encode(payload: object) -> Any:
        asked.append(payload)
        return encoded

    payload = object()
    sent = await request_of(
        payload, base_url="https://a/?b=1", client={"encode_params": encode}, method="GET"
    )
    assert str(sent.url) == "https://a/?b=1&a=1&a=2"
    assert asked == [payload]


async def test_encode_params_has_no_part_in_a_body() -> None:
    sent = await request_of({"a": 1}, client={"encode_params": pytest.fail})
    assert json.loads(sent.content) == {"a": 1}


@pytest.mark.parametrize("encoded", [5, [1], ["a"], object(), {"a": "\ud800"}, b"\xff"])
def test_what_encode_params_gives_is_checked(encoded: Any) -> None:
    client = idle_client(method="GET", encode_params=lambda payload: encoded)
    text = refusal(lambda: client.stream({"a": 1}), "encode_params")
    assert "must give a mapping, a list of pairs, or the text of a query" in text


def test_what_encode_params_raises_leaves_as_itself() -> None:
    def encode(payload: object) -> Any:
        raise LookupError("mine")

    client = idle_client(method="GET", encode_params=encode)
    with pytest.raises(LookupError, match="mine"):
        client.stream({"a": 1})


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("payload", [{"a": object()}, {"a": {1}}, {"a": b"x"}, {(1, 2): 3}, endless()])
def test_a_payload_that_cannot_be_written_is_refused(payload: Any, method: str) -> None:
    assert refusal(lambda: idle_client().stream(payload, method=method), "payload")


@pytest.mark.parametrize(
    ("argument", "options"),
    [("payload", {"payload": "x" * 70_000, "method": "GET"}), ("params", {"params": {"a": "x" * 70_000}})],
)
def test_a_query_beyond_what_a_url_may_be_is_refused(argument: str, options: dict[str, Any]) -> None:
    text = refusal(lambda: idle_client().stream(**options), argument)
    assert "too long: send it as the body of a POST" in text


# --- what goes along --------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["client", "request", "http"])
@pytest.mark.parametrize(
    ("accept", "sent"),
    [
        ("application/json", "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("text/event-stream;q=1, application/json", "text/event-stream;q=1, application/json"),
        ("Text/Event-Stream", "Text/Event-Stream"),
    ],
)
async def test_an_event_stream_is_always_asked_for(level: str, accept: str, sent: str) -> None:
    headers = {"headers": {"ACCEPT": accept}}
    levels = {"client": {"client": headers}, "request": headers, "http": {"http": headers}}
    request = await request_of(**levels[level])
    # What the HTTP client has is its own default, and for whatever else it does.
    assert request.headers.get_list("accept") == ["text/event-stream" if level == "http" else sent]


async def test_headers_of_a_request_go_over_those_of_its_client_with_all_their_values() -> None:
    async with serve(feed(), feed(), feed()) as server:
        headers = [("X-Both", "client"), ("X-Own", "1"), ("X-Own", "2"), ("User-Agent", "me")]
        async with StreamClient(server.url, headers=headers) as client:
            await client.send_request()
            await client.send_request(headers=[("x-both", "3"), ("X-BOTH", "4"), ("X-New", "5")])
            await client.send_request(headers=None)
        first, second, third = server.requests
        assert first.headers.get_list("X-Own") == second.headers.get_list("X-Own") == ["1", "2"]
        assert second.headers.get_list("X-Both") == ["3", "4"]
        assert second.headers.get("X-New") == "5"
        assert second.headers.get("User-Agent") == "me"
        assert (third.headers.get("X-Both"), third.headers.get("X-New")) == ("client", None)


@pytest.mark.parametrize("level", ["client", "request"])
@pytest.mark.parametrize(
    "headers",
    [{"X-A": "1"}, {b"X-A": b"1"}, [("X-A", "1")], [(b"X-A", b"1")], iter([("X-A", "1")])],
    ids=lambda value: f"{value!r:.12}",
)
async def test_headers_are_what_httpx_takes(headers: Any, level: str) -> None:
    if not isinstance(headers, dict | list):
        headers = iter([("X-A", "1")])  # for each backend
    options: dict[str, Any] = {"client": {"headers": headers}} if level == "client" else {"headers": headers}
    assert (await request_of(**options)).headers.get_list("x-a") == ["1"]


@pytest.mark.skipif(not is_importable("httpx2"), reason="needs both libraries")
@pytest.mark.parametrize("level", ["client", "request"])
@pytest.mark.parametrize(("of_values", "of_client"), [("httpx", "httpx2"), ("httpx2", "httpx")])
async def test_values_may_be_of_the_other_library(level: str, of_values: str, of_client: str) -> None:
    values, library = pytest.importorskip(of_values), pytest.importorskip(of_client)
    options: dict[str, Any] = {
        "params": values.QueryParams("a=1&a=2"),
        "headers": values.Headers([("X-A", "1"), ("X-A", "2"), (b"X-B", "ü".encode("latin-1"))]),
        "cookies": values.Cookies({"c": "1"}),
    }
    placed: dict[str, Any] = {"client": options} if level == "client" else options
    sent = await request_of(library=library, **placed)
    assert str(sent.url) == "https://a/?a=1&a=2"
    assert sent.headers.get_list("x-a") == ["1", "2"]
    assert (b"X-B", b"\xfc") in sent.headers.raw
    assert sent.headers["cookie"] == "c=1"


async def test_values_of_the_http_library_keep_all_they_have(library: ModuleType) -> None:
    sent = await request_of(
        library=library,
        client={
            "params": library.QueryParams("a=1&a=2"),
            "headers": library.Headers([("X", "1"), ("X", "2")]),
        },
        params=library.QueryParams("b=1&b=2"),
        headers=library.Headers([("Y", "ü".encode()), ("Y", "2")]),
        cookies=library.Cookies({"c": "1"}),
    )
    assert str(sent.url) == "https://a/?a=1&a=2&b=1&b=2"
    assert [value for _, value in sent.headers.raw if _ in (b"X", b"Y")] == [b"1", b"2", "ü".encode(), b"2"]
    assert sent.headers["cookie"] == "c=1"


async def test_cookies_of_a_request_go_over_those_of_its_client(library: ModuleType) -> None:
    async with memory_client(library, stream_of(), stream_of(), cookies={"h": "http", "c": "http"}) as http:
        async with StreamClient(URL, client=http, cookies={"c": "client", "r": "client"}) as client:
            await client.send_request(cookies=[("r", "request")])
            await client.send_request(cookies=None)
        first, second = (set(sent.headers["cookie"].split("; ")) for sent in http.sent)
        assert first == {"h=http", "c=client", "r=request"}
        assert second == {"h=http", "c=client", "r=client"}
        assert dict(http.cookies) == {"h": "http", "c": "http"}


@pytest.mark.parametrize(
    ("http", "client", "request_", "user"),
    [
        (("http", ""), {}, {}, "http"),
        (("http", ""), {"auth": ("client", "")}, {}, "client"),
        (("http", ""), {"auth": None}, {}, None),
        (("http", ""), {"auth": ("client", "")}, {"auth": ("request", "")}, "request"),
        (None, {"auth": ("client", "")}, {"auth": None}, None),
        (None, {"auth": None}, {"auth": ("request", "")}, "request"),
        (None, {}, {}, None),
    ],
)
async def test_auth_is_that_of_the_nearest_who_says(
    library: ModuleType, http: Any, client: Any, request_: Any, user: str | None
) -> None:
    sent = await request_of(library=library, http={"auth": http}, client=client, **request_)
    expected = (
        None if user is None else next(library.BasicAuth(user, "").auth_flow(sent)).headers["authorization"]
    )
    assert sent.headers.get("authorization") == expected


async def test_auth_may_be_a_flow_or_a_function(library: ModuleType) -> None:
    def signed(request: Any) -> Any:
        request.headers["X-Signed"] = "yes"
        return request

    sent = await request_of(library=library, client={"auth": library.BasicAuth("a", "b")}, auth=signed)
    assert (sent.headers.get("authorization"), sent.headers["x-signed"]) == (None, "yes")
    sent = await request_of(library=library, client={"auth": signed}, auth=library.BasicAuth("a", "b"))
    assert "authorization" in sent.headers
    assert "x-signed" not in sent.headers


@pytest.mark.parametrize(
    ("of_client", "of_request", "connect"),
    [
        ({}, {}, 10.0),
        ({"timeouts": 5}, {}, 4.5),
        ({"timeouts": 5}, {"timeouts": 2}, 1.8),
        ({"timeouts": 5}, {"timeouts": None}, None),
        ({"timeouts": None}, {}, None),
        ({"timeouts": None}, {"timeouts": Timeouts(connect=3.0)}, 3.0),
        ({"timeouts": Timeouts(connect=4.0)}, {}, 4.0),
    ],
)
async def test_timeouts_are_the_clients_or_the_requests(
    of_client: Any, of_request: Any, connect: float | None
) -> None:
    sent = await request_of(client=of_client, **of_request)
    assert sent.extensions["timeout"]["connect"] == pytest.approx(connect)


async def test_last_event_id_is_the_clients_or_the_requests() -> None:
    assert "last-event-id" not in (await request_of()).headers
    assert (await request_of(client={"last_event_id": "1"})).headers["last-event-id"] == "1"
    sent = await request_of(client={"last_event_id": "1"}, last_event_id="ü")
    assert (b"Last-Event-ID", "ü".encode()) in sent.headers.raw
    assert "last-event-id" not in (await request_of(client={"last_event_id": "1"}, last_event_id="")).headers


async def test_path_and_method_are_the_clients_or_the_requests() -> None:
    options: dict[str, Any] = {"client": {"path": "client", "method": "PUT"}}
    sent = await request_of(**options)
    assert (sent.method, sent.url.path) == ("PUT", "/client")
    sent = await request_of(**options, path="request", method="DELETE")
    assert (sent.method, sent.url.path) == ("DELETE", "/request")
    assert (await request_of(**options, path="")).url.path == "/"


@pytest.mark.parametrize(
    ("of_client", "of_request", "messages"),
    [
        ({}, {}, [1, "STOP", 2]),
        ({"done": "STOP"}, {}, [1]),
        ({"done": "STOP"}, {"done": None}, [1, "STOP", 2, "[DONE]", 3]),
        ({"done": None}, {}, [1, "STOP", 2, "[DONE]", 3]),
        ({"done": "STOP"}, {"done": lambda event: event.data == "2"}, [1, "STOP", 2]),
        ({"done": "never"}, {}, [1, "STOP", 2, "[DONE]", 3]),
        ({"decode": anysse.decoders.text}, {}, ["1", "STOP", "2"]),
        ({"decode": anysse.decoders.text}, {"decode": lambda event: len(event.data)}, [1, 4, 1]),
        ({"decode": len}, {"decode": None}, [4, 4, 4]),
    ],
)
@pytest.mark.parametrize("face", ["send_request", "stream"])
async def test_done_and_decode_are_the_clients_or_the_requests(
    of_client: Any, of_request: Any, messages: list[Any], face: str
) -> None:
    body = b"".join(b"data: %b\n\n" % data for data in (b"1", b"STOP", b"2", b"[DONE]", b"3"))
    async with memory_client(httpx, stream_of(body)) as http:
        async with StreamClient(URL, client=http, **of_client) as client:
            seen: list[Any] = []
            if face == "stream":
                async with client.stream(**of_request) as stream:
                    seen = [message async for message in stream]
            else:
                await client.send_request(on_message=lambda data, event: seen.append(data), **of_request)
            assert seen == messages
            assert client.status == "completed"


async def test_stream_and_start_send_what_send_request_does() -> None:
    options: dict[str, Any] = {
        "method": "PUT",
        "path": "x",
        "params": {"p": 1},
        "headers": {"X-A": "1"},
        "cookies": {"c": "1"},
        "auth": ("a", "b"),
        "last_event_id": "7",
    }
    async with memory_client(httpx, stream_of(), stream_of(), stream_of()) as http:
        async with StreamClient(URL, client=http) as client:
            await client.send_request({"a": 1}, **options)
            await client.start({"a": 1}, **options).wait()
            async with client.stream({"a": 1}, **options):
                pass
        one, two, three = [
            (sent.method, sent.url, sent.headers.raw, sent.content, sent.extensions) for sent in http.sent
        ]
        assert one == two == three
        assert one[2].count((b"Last-Event-ID", b"7")) == 1


# --- what is handed over ----------------------------------------------------------------------------------


def arguments() -> dict[str, Any]:
    """Give one of each that can be changed."""
    return {
        "payload": {"list": [1, {"deep": [2]}]},
        "params": {"p": ["1", "2"]},
        "headers": {"X-A": "1"},
        "cookies": {"c": "1"},
    }


def scramble(handed: dict[str, Any]) -> None:
    handed["payload"]["list"][1]["deep"].append(3)
    handed["payload"]["new"] = 1
    handed["params"]["p"].append("3")
    handed["params"]["q"] = "1"
    handed["headers"]["X-A"] = "2"
    handed["cookies"]["c"] = "2"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_nothing_that_is_handed_over_is_changed(method: str) -> None:
    of_client, of_request = arguments(), arguments()
    del of_client["payload"]
    handlers: dict[str, Any] = {"ping": print}
    before = copy.deepcopy((of_client, of_request, handlers))
    await request_of(of_request.pop("payload"), client=of_client, method=method, on=handlers, **of_request)
    of_request["payload"] = before[1]["payload"]
    assert (of_client, of_request, handlers) == before


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_changing_it_later_changes_nothing(method: str) -> None:
    jar = CookieJar()

    async def main() -> None:
        of_client, of_request = arguments(), arguments()
        of_client["payload"] = {"list": [1, {"deep": []}]}
        on: dict[str, Any] = {"ping": lambda data, event: seen.append(data)}
        seen: list[object] = []

        def change_all(*_: object) -> None:
            scramble(of_client)
            scramble(of_request)
            httpx.Cookies(jar).set("j", "2")
            on.clear()

        plain = {name: value for name, value in of_client.items() if name != "payload"}
        async with memory_client(httpx, BUSY, stream_of(b"event: ping\ndata: 1\n\n")) as http:
            client = StreamClient(URL, client=http, method=method, **plain)
            async with StreamClient(URL, client=http, cookies=jar) as other:
                assert other.status == "idle"
            async with client:
                await client.send_request(**of_request, on=on, on_retry=change_all)
            first, second = http.sent
            assert (first.url, first.content) == (second.url, second.content)
            assert first.headers.raw == second.headers.raw
            assert seen == [1]

    in_virtual_time(main)


def test_what_a_client_was_made_of_may_change_before_it_is_used() -> None:
    jar = httpx.Cookies({"j": "1"})
    handed: dict[str, Any] = {**arguments(), "cookies": jar.jar}
    del handed["payload"]
    observers: list[anysse.Observer] = []

    async def main() -> None:
        async with memory_client(httpx, stream_of()) as http:
            client = StreamClient(URL, client=http, observers=observers, **handed)
            jar.set("j", "2")
            handed["headers"]["X-A"] = "2"
            handed["params"]["p"].append("3")
            observers.append(object())  # type: ignore[arg-type]
            async with client:
                await client.send_request()
            (sent,) = http.sent
            assert sent.headers["cookie"] == "j=1"
            assert sent.headers["x-a"] == "1"
            assert sent.url.query == b"p=1&p=2"

    in_virtual_time(main)


# --- what is refused --------------------------------------------------------------------------------------


class NoRepr:
    """Cannot even be shown."""

    def __repr__(self) -> str:
        raise LookupError("shown")


class NoEquality:
    """Cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise LookupError("compared")

    __hash__ = None  # type: ignore[assignment]


def rubbish() -> Iterator[object]:
    yield from (None, True, 0, 5, -1, 1.5, math.nan, math.inf, 10**400, 10**5000, 1j)
    yield from ("", "x", " x ", "ü", "a\nb", "\x00", "\ud800", "x" * 70_000, b"x", b"\xff", bytearray(b"x"))
    yield from (
        [],
        {},
        (),
        set(),
        [1],
        ["a"],
        [("a",)],
        [("a", "b", "c")],
        [(None, None)],
        ("a", "b"),
        ("a", 5),
    )
    yield from ({"a": object()}, {"a": None}, {1: 2}, {"a": "\ud800"}, {"a": "x\ny"}, {"a": b"\n"}, endless())
    yield from (iter([]), iter([1]), iter([("a", "b")]), range(3), memoryview(b"x"))
    yield from (
        object(),
        NoRepr(),
        NoEquality(),
        types.SimpleNamespace(),
        int,
        len,
        lambda: None,
        httpx,
        Ellipsis,
    )
    yield from (httpx.Headers(), httpx.URL(URL), httpx.QueryParams("a=b"), httpx.Cookies({"a": "b"}))
    yield from (httpx.Client, httpx.AsyncClient, httpx.BasicAuth, httpx.BasicAuth("a", "b"), CookieJar())
    yield from (
        "http://[",
        "//b/",
        "https:",
        "https://a:99999/",
        "https://\ud800/",
        "https://a/\ud800",
        "?\ud800",
    )
    yield from (
        "https://xn--/",
        "https://1.2.3.999/",
        "https://[::g]/",
        f"https://{'ü' * 70}/",
        "https://a b/",
    )


CLIENT_ARGUMENTS = sorted(set(inspect.signature(StreamClient.__init__).parameters) - {"self"})


def check_all_refused_by_name(argument: str, take: Callable[..., object]) -> None:
    """Hold that whatever is given as an argument is taken, or refused by its name."""
    for value in rubbish():
        try:
            take(**{argument: value})
        except InvalidRequest as exc:
            error = exc
        else:
            continue
        assert str(error).startswith(f"{argument}: ")


@pytest.mark.parametrize("argument", CLIENT_ARGUMENTS)
def test_whatever_a_client_is_made_of_is_taken_or_refused_by_name(argument: str) -> None:
    check_all_refused_by_name(argument, idle_client)


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("argument", sorted({"payload", "decode", *REQUEST_OPTIONS}))
def test_whatever_a_request_is_made_of_is_taken_or_refused_by_name(argument: str, method: str) -> None:
    check_all_refused_by_name(argument, idle_client(method=method).stream)


@pytest.mark.parametrize("argument", sorted(HANDLER_NAMES))
def test_whatever_handlers_are_made_of_is_taken_or_refused_by_name(argument: str) -> None:
    check_all_refused_by_name(argument, Handlers)


WRONG_OF_REQUEST: list[tuple[str, list[Any]]] = [
    ("method", ["HEAD", "OPTIONS", "TRACE", "", " GET", "GE T", "GET\n", "got", None, 5, b"GET", True]),
    ("path", [None, 5, b"x", [], httpx.URL(URL)]),
    ("params", [5, True, object(), [1], ["a"], {"a": "\ud800"}, b"\xff", range(2)]),
    ("headers", [5, True, "X: y", b"x", ["X"], {"X": 5}, {"X": None}, {"X": ["a"]}, {"ü": "a"}, {"X": "€"}]),
    ("headers", [{"X": "a\nb"}, {"X": " a"}, {"X y": "a"}, {"": "a"}, {"X": "a\x00"}]),
    ("cookies", [5, True, "a=b", b"x", ["a"], [("a",)], {"a": "x\ny"}, {"a": 5}, range(2), object()]),
    ("auth", [5, True, "user:pass", ["a", "b"], ("a",), ("a", 5), ("a", "\ud800"), httpx.BasicAuth, {}]),
    ("timeouts", [0, -1, math.nan, math.inf, "5", True, [], {}, httpx.Timeout(5)]),
    ("done", [5, True, b"[DONE]", []]),
    ("decode", [5, True, "json", {}]),
    ("last_event_id", [None, 5, b"1", "a\nb", "\x00", "\ud800", "x" * 9000]),
]
WRONG_OF_CLIENT: list[tuple[str, list[Any]]] = [
    (
        "base_url",
        [None, 5, b"https://a/", "", "a", "a/b", "/x", "//a/", "ftp://a/", "https:", "https:///x", "https:a"],
    ),
    (
        "base_url",
        ["https://", "https://a:0/", "https://a:99999/", "https://a b/", "https://a/\n", " https://a/"],
    ),
    ("base_url", ["https://xn--/", "https://\ud800/", "https://a/\ud800", "https://[::g]/", "https://a..b/"]),
    ("encode_params", [5, "json", {}]),
    ("retry", [5, 1.5, True, "x", []]),
    ("resend", [None, "never", True, 5]),
    ("kind", ["FEED", "", True, 5]),
    ("close_on_done", [None, 0, 1, "no"]),
    ("exclusive", [None, 0, 1, "no"]),
    ("https_only", [None, 0, 1, "no", ""]),
    ("prepare", [5, "x"]),
    ("accept_response", [5, "x"]),
    ("on_comment", [5, "x"]),
    ("max_event_size", [None, 0, -1, 1.5, True, "1"]),
    ("oversize", [None, "drop", True]),
    ("buffer", [None, 0, -1, 1.5, True, "1"]),
    ("client", [5, True, httpx, httpx.AsyncClient, "x", object()]),
    ("limits", [5, True, {}, anysse.StreamLimits]),
    ("observers", [None, 5, [5], "x", print]),
]


def each(table: list[tuple[str, list[Any]]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in table for value in values]


@pytest.mark.parametrize(("argument", "value"), each([*WRONG_OF_CLIENT, *WRONG_OF_REQUEST]))
def test_what_is_wrong_with_a_client_is_said_as_it_is_made(argument: str, value: Any) -> None:
    refusal(lambda: idle_client(**{argument: value}), argument)


@pytest.mark.parametrize(("argument", "value"), each(WRONG_OF_REQUEST))
def test_what_is_wrong_with_a_request_is_said_at_its_call(argument: str, value: Any) -> None:
    refusal(lambda: idle_client().stream(**{argument: value}), argument)


def test_base_url_is_required() -> None:
    with pytest.raises(TypeError, match="base_url"):
        StreamClient()  # type: ignore[call-arg]


def test_handlers_may_say_what_they_are_given() -> None:
    """Python 3.11 cannot do this with a value that is both frozen and slotted."""
    assert Handlers[str](on_open=print).on_open is print


@pytest.mark.parametrize("name", sorted(HANDLER_NAMES - {"on"}))
@pytest.mark.parametrize("value", [5, True, "print", [], {}])
def test_a_handler_that_cannot_be_called_is_refused(name: str, value: Any) -> None:
    assert "must be a function or None" in refusal(lambda: Handlers(**{name: value}), name)


@pytest.mark.parametrize("on", [None, 5, [], "x", {"ping": None}, {"ping": 5}, {5: print}, {None: print}])
def test_handlers_by_type_are_functions_by_name(on: Any) -> None:
    assert "must " in refusal(lambda: Handlers(on=on), "on")


async def test_nothing_happens_where_an_argument_is_wrong() -> None:
    """Nobody is connected to, no handler is called, and no request is listed."""
    wrong = [(name, value) for name, values in WRONG_OF_REQUEST for value in values]
    wrong += [("payload", {"a": object()}), ("payload", endless())]
    of_handlers: list[tuple[str, Any]] = [(name, 5) for name in sorted(HANDLER_NAMES)]
    of_handlers += [("handlers", 5), ("handlers", {"on_message": print}), ("handlers", print)]
    called: list[object] = []

    def told(*arguments: object) -> None:
        called.append(arguments)

    handlers = Handlers[Any](on_open=told, on_error=told, on_close=told, on_status=told)
    async with serve() as server:
        async with StreamClient(server.url) as client:
            for argument, value in [*wrong, *of_handlers]:
                options = {"handlers": handlers} | {argument: value}
                with pytest.raises(InvalidRequest) as caught:
                    await client.send_request(**options)
                assert caught.value.argument == argument
                refusal(lambda options=options: client.start(**options), argument)  # type: ignore[misc]
            assert client.requests == ()
            assert client.status == "idle"
            assert client.statistics().requests == 0
        assert server.connections == []
        assert called == []


async def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="timeout"):
        StreamClient(URL, timeout=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="on_data"):
        Handlers(on_data=print)  # type: ignore[call-arg]
    async with idle_client() as client:
        loose: Any = client
        for name in ("timeout", "retry", "base_url", "client", "on_data", "json", "url", "observers"):
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                await loose.send_request(**{name: 1})
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                loose.start(**{name: 1})
            with pytest.raises(TypeError, match=f"stream got an unexpected keyword argument '{name}'"):
                loose.stream(**{name: 1})
        with pytest.raises(TypeError, match="on_message"):
            loose.stream(on_message=print)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("headers", {"Authorization": f"Bearer {SECRET}\n"}),
        ("headers", {"X-Api-Key": f"{SECRET}€"}),
        ("headers", {"X-Api-Key": [SECRET]}),
        ("headers", f"X-Api-Key: {SECRET}"),
        ("headers", [("X-Api-Key", SECRET, SECRET)]),
        ("cookies", {"sid": f"{SECRET}\n"}),
        ("cookies", f"sid={SECRET}"),
        ("cookies", [(SECRET,)]),
        ("auth", f"user:{SECRET}"),
        ("auth", ["user", SECRET]),
        ("auth", ("user", SECRET, SECRET)),
        ("auth", ("user", f"{SECRET}\ud800")),
        ("params", {"api_key": f"{SECRET}\ud800"}),
        ("params", [f"api_key={SECRET}", 5]),
        ("base_url", f"https://user:{SECRET}@[/"),
        ("base_url", f"https://user:{SECRET}@a:99999/"),
        ("base_url", f"https://user:{SECRET}@xn--/"),
        ("base_url", f"ftp://a/?token={SECRET}"),
        ("base_url", f"https://a/\ud800?api_key={SECRET}"),
        ("base_url", f"https://a/?api_key={SECRET}\n"),
        ("base_url", f"http://user:{SECRET}@b/?api_key={SECRET}"),
        ("path", f"//user:{SECRET}@b/?api_key={SECRET}"),
        ("path", f"x?api_key={SECRET}\n"),
        ("path", f"\ud800?api_key={SECRET}"),
    ],
)
def test_no_secret_is_in_the_text_of_an_error(argument: str, value: Any) -> None:
    assert SECRET not in refusal(lambda: idle_client(**{argument: value}), argument)
    if argument in REQUEST_OPTIONS:
        assert SECRET not in refusal(lambda: idle_client().stream(**{argument: value}), argument)


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("params", 5, "must be a mapping, a list of pairs, or the text of a query; httpx cannot read this"),
        (
            "headers",
            {"X": 5},
            "must be a mapping, or pairs, of ASCII text or of bytes; httpx cannot read this",
        ),
        (
            "cookies",
            5,
            "must be a dict, or a list of pairs, of text, or a cookie jar; httpx cannot read this",
        ),
        ("method", "HEAD", "must be 'GET' or 'POST' or 'PUT' or 'PATCH' or 'DELETE', not 'HEAD'"),
        ("path", 5, "must be a str, not int"),
        ("base_url", "api.example.com/v1", "names no host: write it as 'https://host/path'"),
        ("base_url", "https://xn--/", "'https://xn--/' is no URL ("),
    ],
)
def test_an_error_says_what_it_wants(argument: str, value: Any, text: str) -> None:
    assert text in refusal(lambda: idle_client(**{argument: value}), argument)


# --- https_only -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://a/", "http://localhost/", "http://127.0.0.1.example/", "http://10.0.0.1/", "HTTP://A/"]
)
def test_plain_http_is_refused_unless_it_is_allowed(url: str) -> None:
    text = refusal(lambda: StreamClient(url), "base_url")
    assert "https_only=False" in text
    idle_client(base_url=url, https_only=False)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://127.0.0.1:8000/x", "http://[::1]/", "https://a/"]
)
def test_loopback_literals_need_no_https(url: str) -> None:
    idle_client(base_url=url)


@pytest.mark.parametrize("location", ["http://a/", "http://b/", "http://127.0.0.1/", "//a:80/../x"])
@pytest.mark.parametrize("https_only", [True, False])
async def test_no_redirect_goes_from_https_to_http(
    library: ModuleType, location: str, https_only: bool
) -> None:
    target = location if location.startswith("http:") else "http://a:80/x"
    moved = Answer(status=302, headers=[("Location", target)])
    async with memory_client(library, moved) as http:
        async with StreamClient(URL, client=http, https_only=https_only) as client:
            with pytest.raises(anysse.StatusError, match="redirects") as caught:
                await client.send_request({"a": 1})
        assert caught.value.status_code == 302
        assert len(http.sent) == 1


# --- its own lifetime -------------------------------------------------------------------------------------


async def test_a_client_that_was_not_entered_says_so() -> None:
    client = idle_client()
    with pytest.raises(RuntimeError, match="enter the client before it is used: async with StreamClient"):
        await client.send_request()
    with pytest.raises(RuntimeError, match="enter the client"):
        client.start()
    with pytest.raises(RuntimeError, match="enter the client"):
        async with client.stream():
            pytest.fail("it was entered")
    client.disconnect()
    assert (client.status, client.requests, client.retry_count, client.last_event_id) == ("idle", (), 0, "")


async def test_a_client_that_was_left_says_so() -> None:
    async with idle_client() as client:
        stream = client.stream()
    with pytest.raises(RuntimeError, match="the client was left: make another one"):
        await client.send_request()
    with pytest.raises(RuntimeError, match="was left"):
        client.start()
    with pytest.raises(RuntimeError, match="was left"):
        async with stream:
            pytest.fail("it was entered")
    with pytest.raises(RuntimeError, match="can be entered once: make another one"):
        async with client:
            pytest.fail("it was entered")


async def test_a_client_is_entered_once() -> None:
    async with memory_client(httpx, stream_of()) as http:
        async with StreamClient(URL, client=http) as client:
            with pytest.raises(RuntimeError, match="entered"):
                async with client:
                    pytest.fail("it was entered")
            assert await client.send_request() == "completed"


async def test_an_http_client_that_is_closed_is_refused(library: ModuleType) -> None:
    async with library.AsyncClient() as http:
        client = StreamClient(URL, client=http)
    assert "is closed" in refusal(lambda: StreamClient(URL, client=http), "client")
    async with client:
        assert "is closed" in refusal(client.start, "client")
        with pytest.raises(InvalidRequest, match="client: is closed"):
            await client.send_request()


class Mine(Exception):
    """What a block raises."""


async def leave(client: StreamClient, way: str, during: Callable[[], Awaitable[None]]) -> None:
    """Enter a client, and leave it in one way or another."""
    if way == "end":
        async with client:
            await during()
    elif way == "exception":
        with pytest.raises(Mine):  # noqa: PT012 - the block is what raises
            async with client:
                await during()
                raise Mine
    else:
        with anyio.CancelScope() as scope:
            async with client:
                await during()
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught


WAYS = pytest.mark.parametrize("way", ["end", "exception", "cancellation"])


@WAYS
async def test_its_own_http_client_is_closed_as_it_is_left(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    http = memory_client(httpx, stream_of())
    monkeypatch.setattr("anysse._client.own_client", lambda library: http)
    client = StreamClient(URL)

    async def during() -> None:
        await client.send_request()
        assert not http.is_closed

    await leave(client, way, during)
    assert http.is_closed


@WAYS
async def test_an_http_client_of_the_callers_stays_open(way: str, library: ModuleType) -> None:
    async with memory_client(library, stream_of(), held_stream(), Answer(status=204)) as http:
        client = StreamClient(URL, client=http)

        async def during() -> None:
            await client.send_request()
            await client.start().wait_for(StreamStatus.CONNECTED)

        await leave(client, way, during)
        assert not http.is_closed
        assert (await http.get(URL)).status_code == 204


@WAYS
@pytest.mark.parametrize("is_own", [True, False])
async def test_leaving_ends_every_request(way: str, is_own: bool) -> None:
    ends: dict[str, list[object]] = {"send_request": [], "start": [], "stream": [], "closed": []}
    is_reading = anyio.Event()

    def on_close(status: StreamStatus) -> None:
        ends["closed"].append(status.value)

    async with serve(then=held("data: 1\n\n")) as server, anyio.create_task_group() as tasks:
        async with httpx.AsyncClient() as http:
            client = StreamClient(server.url, client=None if is_own else http)

            async def send() -> None:
                ends["send_request"].append(await client.send_request(on_close=on_close))

            async def read() -> None:
                async with client.stream() as messages:
                    is_reading.set()
                    ends["stream"] += [message async for message in messages]

            async def during() -> None:
                tasks.start_soon(send)
                tasks.start_soon(read)
                request = client.start(on_close=on_close)
                ends["start"].append(request)
                await server.requested(3)
                for live in client.requests:
                    await live.wait_for(StreamStatus.CONNECTED)
                await is_reading.wait()
                # One that has not begun yet, too.
                ends["start"].append(client.start(on_close=on_close))

            await leave(client, way, during)
            with anyio.fail_after(5):
                await server.all_closed()
                for request in ends["start"]:
                    assert isinstance(request, anysse.StreamRequest)
                    assert await request.wait() == "idle"
    assert ends["send_request"] == ["idle"]
    assert ends["stream"] in ([], [1])
    assert ends["closed"] == ["idle"] * 3
    assert client.requests == ()
    assert client.status == "idle"


async def test_the_exception_of_the_block_leaves_as_itself_while_requests_go_on() -> None:
    error = Mine("mine")
    async with serve(then=held()) as server:
        with pytest.raises(Mine) as caught:  # noqa: PT012 - the block is what raises
            async with StreamClient(server.url) as client:
                request = client.start()
                await server.requested(1)
                raise error
        assert caught.value is error
        assert error.__cause__ is None
        assert request.status == "idle"
        await server.all_closed()


async def test_the_final_error_of_send_request_leaves_the_block_as_itself() -> None:
    async with serve(answer(404), held()) as server:
        with pytest.raises(anysse.StatusError) as caught:
            async with StreamClient(server.url) as client:
                await client.send_request()
        assert caught.value.status_code == 404
        await server.all_closed()


# --- trying again -----------------------------------------------------------------------------------------


class Attempts:
    """When requests came, in virtual time."""

    def __init__(self, *answers: Any) -> None:
        self.times: list[float] = []
        self.http = memory_client(httpx, *map(self._noted, answers))

    def _noted(self, given: Any) -> Any:
        async def script(request: Any) -> Answer:
            self.times.append(anyio.current_time())
            if isinstance(given, Exception):
                raise given
            assert isinstance(given, Answer)
            return given

        return script

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]


def answered(status: int, **headers: str) -> Answer:
    return Answer(status=status, headers=[(name.replace("_", "-"), value) for name, value in headers.items()])


@pytest.mark.parametrize("failing", ["busy", "unreachable"])
def test_by_default_it_is_tried_again_after_one_two_and_four_seconds_and_then_fails(failing: str) -> None:
    async def main() -> None:
        def failure() -> Any:
            return answered(503, Retry_After="0") if failing == "busy" else httpx.ConnectError("no route")

        attempts = Attempts(failure(), failure(), failure(), failure())
        told: list[tuple[int, float | None]] = []
        waits: list[float] = []
        async with StreamClient(URL, client=attempts.http) as client:
            with pytest.raises(anysse.StreamError) as caught:
                await client.send_request(
                    {"prompt": "?"},
                    on_error=lambda error, count: told.append((count, error.retry_in)),
                    on_retry=lambda error, delay: waits.append(delay),
                )
            assert (client.status, client.retry_count) == ("error", 3)
        assert caught.value.retry_count == 3
        assert isinstance(caught.value, anysse.StatusError if failing == "busy" else anysse.ConnectError)
        assert attempts.pauses == pytest.approx(waits, abs=0.01)
        for least, pause in zip((1.0, 2.0, 4.0), attempts.pauses, strict=True):
            assert least <= pause <= 1.5 * least + 0.01
        assert [count for count, _ in told] == [0, 1, 2, 3]
        assert [wait for _, wait in told] == [*waits, None]

    in_virtual_time(main)


@pytest.mark.slow
async def test_the_delays_are_kept_in_real_time() -> None:
    busy = answer(503, {"Retry-After": "0"})
    async with serve(busy, busy, busy, busy) as server, StreamClient(server.url) as client:
        with pytest.raises(anysse.StatusError):
            await client.send_request({"prompt": "?"})
    times = [request.time for request in server.requests]
    for least, pause in zip((1.0, 2.0, 4.0), map(sub, times[1:], times), strict=True):
        assert least <= pause <= 1.5 * least + 0.5


def test_a_good_connection_makes_the_count_start_anew() -> None:
    async def main() -> None:
        bad = [answered(503, Retry_After="0") for _ in range(4)]
        cut = Answer(parts=[b"data: 1\n\n"], after=_cut)
        attempts = Attempts(*bad[:2], cut, *bad[2:], stream_of(b"data: 2\n\n"))
        counts: list[int] = []
        messages: list[object] = []
        async with StreamClient(URL, client=attempts.http, resend="always") as client:
            end = await client.send_request(
                on_error=lambda error, count: counts.append(count),
                on_message=lambda data, event: messages.append(data),
            )
        assert end == "completed"
        assert counts == [0, 1, 0, 1, 2]
        assert messages == [1, 2]
        for least, pause in zip((1.0, 2.0, 1.0, 2.0, 4.0), attempts.pauses, strict=True):
            assert least <= pause <= 1.5 * least + 0.01

    in_virtual_time(main)


async def _cut() -> None:
    raise httpx.ReadError("cut")


def test_a_server_that_asks_for_more_time_gets_it() -> None:
    async def main() -> None:
        attempts = Attempts(answered(503, Retry_After="20"), stream_of())
        async with StreamClient(URL, client=attempts.http) as client:
            assert await client.send_request() == "completed"
        assert 20.0 <= attempts.pauses[0] <= 30.01

    in_virtual_time(main)


def test_a_function_is_the_strategy_and_is_told_of_each_failure() -> None:
    async def main() -> None:
        attempts = Attempts(httpx.ConnectError("no route"), answered(503, Retry_After="7"), answered(404))
        failures: list[anysse.Failure] = []

        def policy(failure: anysse.Failure) -> float | None:
            failures.append(failure)
            return None if len(failures) == 3 else 10.0 * len(failures)

        async with StreamClient(URL, client=attempts.http, retry=policy) as client:
            with pytest.raises(anysse.StatusError) as caught:
                await client.send_request()
        assert caught.value is failures[2].error
        assert attempts.pauses == pytest.approx([10.0, 20.0], abs=0.01)
        assert [failure.retry_count for failure in failures] == [0, 1, 2]
        assert [failure.is_transient for failure in failures] == [True, True, False]
        assert [failure.retry_after for failure in failures] == [None, 7.0, None]
        assert [type(failure.error).__name__ for failure in failures] == [
            "ConnectError",
            "StatusError",
            "StatusError",
        ]

    in_virtual_time(main)


async def test_a_prompt_is_not_sent_twice() -> None:
    async with serve(answer(500), feed()) as server:
        async with StreamClient(server.url) as client:
            with pytest.raises(anysse.StatusError) as caught:
                await client.send_request({"prompt": "?"})
        assert caught.value.status_code == 500
        assert len(server.requests) == 1


@pytest.mark.parametrize(("options", "count"), [({"method": "GET"}, 2), ({"resend": "always"}, 2), ({}, 1)])
def test_what_may_be_sent_again_is(options: dict[str, Any], count: int) -> None:
    async def main() -> None:
        attempts = Attempts(answered(500), stream_of())
        async with StreamClient(URL, client=attempts.http, **options) as client:
            try:
                assert await client.send_request({"a": 1}) == "completed"
            except anysse.StatusError:
                assert count == 1
        assert len(attempts.times) == count

    in_virtual_time(main)


def test_without_a_policy_nothing_is_tried_again() -> None:
    async def main() -> None:
        attempts = Attempts(httpx.ConnectError("no route"))
        async with StreamClient(URL, client=attempts.http, retry=None) as client:
            with pytest.raises(anysse.ConnectError):
                await client.send_request()
        assert len(attempts.times) == 1

    in_virtual_time(main)


# --- timeouts ---------------------------------------------------------------------------------------------


async def _heartbeats() -> Any:
    while True:
        await anyio.sleep(1)
        yield b": alive\n\n"


async def _events() -> Any:
    while True:
        await anyio.sleep(1)
        yield b"data: 1\n\n"


async def _no_answer(request: Any) -> Answer:
    await anyio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("level", ["client", "request"])
@pytest.mark.parametrize(
    ("timeouts", "reply", "phase", "seconds"),
    [
        (5, lambda: _no_answer, "response", 5.0),
        (Timeouts(), lambda: _no_answer, "response", 60.0),
        (Timeouts(response=7.0), lambda: _no_answer, "response", 7.0),
        (Timeouts(first_event=7.0), lambda: stream_of_parts(_heartbeats()), "first_event", 7.0),
        (Timeouts(idle=7.0), lambda: held_stream(b"data: 1\n\n"), "idle", 7.0),
        (Timeouts(total=7.5), lambda: stream_of_parts(_events()), "total", 7.5),
    ],
)
def test_a_timeout_is_an_error_with_its_phase(
    timeouts: Any, reply: Callable[[], Any], phase: str, seconds: float, level: str
) -> None:
    options = {"timeouts": timeouts}

    async def main() -> None:
        began = anyio.current_time()
        errors: list[anysse.AnysseError] = []
        async with memory_client(httpx, reply()) as http:
            async with StreamClient(URL, client=http, **(options if level == "client" else {})) as client:
                with pytest.raises(anysse.StreamTimeout) as caught:
                    await client.send_request(
                        on_error=lambda error, count: errors.append(error),
                        **(options if level == "request" else {}),
                    )
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.phase, caught.value.seconds) == (phase, seconds)
        assert seconds <= anyio.current_time() - began <= 1.07 * seconds + 0.01
        assert errors == [caught.value]

    in_virtual_time(main)


def stream_of_parts(parts: Any) -> Answer:
    return Answer(parts=parts)


def test_a_timeout_of_connecting_is_tried_again_and_has_its_phase(library: ModuleType) -> None:
    async def main() -> None:
        tries = [library.ConnectTimeout("slow") for _ in range(4)]
        async with memory_client(library, *tries) as http:
            async with StreamClient(URL, client=http, timeouts=Timeouts(connect=3.0)) as client:
                with pytest.raises(anysse.StreamTimeout) as caught:
                    await client.send_request()
        assert (caught.value.phase, caught.value.seconds, caught.value.retry_count) == ("connect", 3.0, 3)

    in_virtual_time(main)


def test_none_is_no_timeout_at_all() -> None:
    async def main() -> None:
        async with memory_client(httpx, _no_answer) as http:
            async with StreamClient(URL, client=http, timeouts=None) as client:
                with anyio.move_on_after(1e6) as scope:
                    await client.send_request()
        assert scope.cancelled_caught

    in_virtual_time(main)


def test_a_header_line_that_is_given_as_a_name_is_not_shown() -> None:
    with pytest.raises(InvalidRequest) as caught:
        StreamClient(URL, headers={"Authorization: s3cret": ""})
    assert "'Authorization'" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_client_does_not_guess_its_kind() -> None:
    with pytest.raises(InvalidRequest, match="kind: must be 'feed' or 'reply'"):
        StreamClient(URL, kind=None)  # type: ignore[arg-type]
