"""What is asked for: a copy of the arguments, and a fresh request for each attempt and each redirect.

It builds requests with whichever of httpx and httpx2 it is handed, and sends none.
"""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from ._answer import EVENT_STREAM
from ._errors import InvalidRequest
from ._options import Timeouts
from ._sendable import (
    check_headers,
    check_last_event_id,
    check_method,
    check_stream,
    check_transport,
    check_url,
    check_url_text,
    is_sendable_id,
    type_name,
)

if TYPE_CHECKING:
    import httpx

    Request: TypeAlias = httpx.Request

# These describe a body, and go where it goes (Fetch, "request-body-header name").
_BODY_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-type",
    "transfer-encoding",
)


class OnceBody(AsyncIterable[bytes]):
    """A body that can be read once, and says so when it is asked again, where httpx would send nothing."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._body = body
        self.is_spent = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self.is_spent:
            raise InvalidRequest("content", "can be read only once, and had to be sent again: pass bytes")
        self.is_spent = True
        return aiter(self._body)


class _Once(AsyncIterator[bytes]):
    """Gives one piece, and ends."""

    def __init__(self, piece: bytes) -> None:
        self._pieces = [piece]

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()


@cache
def _bytes_body(library: ModuleType) -> Any:
    """Give the library's class for a body of bytes, without its generator.

    Cancelled while it sends a body, httpx leaves that to the garbage collector, and trio warns of it.
    """

    class BytesBody(library.ByteStream):  # type: ignore[misc, name-defined]
        def __aiter__(self) -> AsyncIterator[bytes]:
            return _Once(b"".join(self))

    return BytesBody


# No repr: whatever shows local variables would show what is secret.
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Body:
    """The arguments that make a request's body, as httpx has them."""

    content: Any = None
    data: Any = None
    files: Any = None
    json: Any = None

    def __post_init__(self) -> None:
        given = [name for name in ("content", "json") if getattr(self, name) is not None]
        if self.data is not None or self.files is not None:
            given.append("data" if self.data is not None else "files")
        if len(given) > 1:
            raise InvalidRequest(given[0], f"cannot be combined with {given[1]}: a request has one body")
        if not isinstance(self.content, str | bytes | AsyncIterable | None):
            wanted = "bytes, str or an async iterable"
            raise InvalidRequest("content", f"must be {wanted}, not {type_name(self.content)}")

    def arguments(self) -> dict[str, Any]:
        return {"content": self.content, "data": self.data, "files": self.files, "json": self.json}

    @property
    def is_made(self) -> bool:
        """Whether the bytes are made of something else."""
        return self.data is not None or self.json is not None

    @property
    def is_rereadable(self) -> bool:
        """Whether ``content`` gives a new iterator each time it is asked for one."""
        return self.content is not None and not isinstance(self.content, AsyncIterator)


@dataclass(slots=True, kw_only=True, repr=False)
class RequestTemplate:
    """Everything that stays the same from attempt to attempt.

    Args:
        library: The module, httpx or httpx2.
        client: The client whose defaults a request has.
        given: A URL, or a request that is to be copied.
        https_only: Whether plain http is refused, but for loopback addresses.
    """

    library: ModuleType
    client: Any
    given: Any
    method: str
    params: Any = None
    headers: Any = None
    cookies: Any = None
    body: Body = field(default_factory=Body)
    timeouts: Timeouts
    https_only: bool = False
    user_agent: str
    _content_type: str | None = None
    """What goes with a body that was made of ``data`` or ``json``."""
    _once: OnceBody | None = None
    _given_id: str = ""
    """The last event ID that the last request had before the stream's own took its place."""
    _jar_cookie: str | None = None
    """What the cookie jar put on the last request; any other ``Cookie`` is somebody's own."""
    _first: "tuple[Request, object] | None" = None
    """The request that was built ahead, and what it was built of."""

    def __post_init__(self) -> None:
        check_method(self.method)
        if self._is_request:
            self._check_nothing_beside()
            check_stream(self.given.stream)
        elif isinstance(self.given, str):
            check_url_text(self.given)
        elif type(self.given) is self.library.URL:
            pass  # nobody can change it, and nobody has to parse it again
        elif type(self.given).__name__ == "URL":
            self.given = str(self.given)  # the client may be of the other library
        else:
            wanted = f"a str, a URL or a {self.library.__name__}.Request"
            raise InvalidRequest("url", f"must be {wanted}, not {type_name(self.given)}")
        self._copy_arguments()

    def _copy_arguments(self) -> None:
        """Keep what was handed over as it is now: the caller may change it while the stream goes on."""
        library = self.library
        kinds = {"params": library.QueryParams, "headers": library.Headers, "cookies": library.Cookies}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if value is None:
                continue
            try:
                setattr(self, name, kind(value))
            except Exception as exc:
                raise self._blamed({name: value}, exc) from exc

    def _check_nothing_beside(self) -> None:
        beside = {"params": self.params, "headers": self.headers, "cookies": self.cookies}
        if self.method != "GET":
            beside["method"] = self.method
        for name, value in (beside | self.body.arguments()).items():
            if value is not None:
                raise InvalidRequest(name, "cannot be given beside a request, which has its own")

    # --- for each attempt ---

    def build_first(self, last_event_id: str) -> "Request":
        """Make the request of the first attempt ahead; it is built anew if it would be another one by then.

        Raises:
            InvalidRequest: An argument is wrong; it is named.
        """
        request = self.build(last_event_id)
        if self._is_lasting:
            self._first = request, self._variables(last_event_id)
        return request

    def build(self, last_event_id: str) -> "Request":
        """Make the request of one attempt.

        Raises:
            InvalidRequest: An argument is wrong; it is named.
        """
        first, self._first = self._first, None
        if first is not None and self._is_lasting and first[1] == self._variables(last_event_id):
            return first[0]
        request = self._copied() if self._is_request else self._built()
        check_url(str(request.url if self._is_request else self.given), request.url)
        self._jar_cookie = None if self._has_own_cookie else request.headers.get("cookie")
        self._dress(request)
        self._given_id = str(request.headers.get("last-event-id", ""))
        self._set_last_event_id(request, last_event_id)
        if self._is_read_once(request):
            self._once = OnceBody(request.stream)  # type: ignore[arg-type]
            request = self._with_body(request, self._once)
        self.check(request)
        return request

    def check(self, request: "Request") -> None:
        """Refuse what must not be sent, from whomever it comes; set what only the stream may say.

        Raises:
            InvalidRequest: The URL or a header is wrong; the argument is named.
        """
        if not isinstance(request, self.library.Request):
            wanted = f"{self.library.__name__}.Request"
            raise InvalidRequest("prepare", f"must give a {wanted} or None, not {type_name(request)}")
        check_method(request.method)
        check_url(str(request.url), request.url)
        check_transport(request.url, https_only=self.https_only)
        check_headers(request.headers.raw)
        check_stream(request.stream)
        if type(request.stream) is self.library.ByteStream:
            request.stream = _bytes_body(self.library)(b"".join(request.stream))
        # Silence is the stream's own timeout: httpx's read timeout would end a quiet stream.
        times = self.library.Timeout(None, connect=self.timeouts.connect, pool=self.timeouts.connect)
        request.extensions = {**request.extensions, "timeout": times.as_dict()}

    @property
    def is_body_read_once(self) -> bool:
        """Whether the request that was built last has such a body."""
        return self._once is not None

    @property
    def is_body_spent(self) -> bool:
        """Whether the body was read, and cannot be read again."""
        return self._once is not None and self._once.is_spent

    def check_given_id(self) -> str:
        """Give the ``Last-Event-ID`` that the caller put among the headers, or the empty string; once built.

        Raises:
            InvalidRequest: It cannot be sent.
        """
        check_last_event_id(self._given_id, "headers")
        return self._given_id

    # --- for each redirect ---

    def redirected(
        self, request: "Request", method: str, url: Any, *, is_trusted: bool, learnt_id: str
    ) -> "Request":
        """Make the request that follows a redirect.

        Args:
            request: The one that was redirected.
            method: The method to follow with; where it is another one, the body stays behind.
            url: Where to.
            is_trusted: Whether all hops so far stayed within the first origin. If not, nothing goes along
                that the caller or the client put on the request.
            learnt_id: The last event ID that the stream itself learnt.
        """
        if not is_trusted:
            return self._stranger(request, method, url, learnt_id)
        headers = request.headers.copy()
        if method != request.method:
            for name in _BODY_HEADERS:
                headers.pop(name, None)
        is_of_jar = headers.get("cookie") == self._jar_cookie
        if is_of_jar:
            headers.pop("cookie", None)  # the redirect may have set another one
        keeps_body = method == request.method
        following: Request = self.library.Request(
            method,
            url,
            headers=headers,
            cookies=self._jar() if is_of_jar else None,
            stream=request.stream if keeps_body else self.library.ByteStream(b""),
            extensions=request.extensions,
        )
        self._jar_cookie = following.headers.get("cookie") if is_of_jar else None
        return following

    def _stranger(self, request: "Request", method: str, url: Any, learnt_id: str) -> "Request":
        bare: Request = self.library.Request(
            method,
            url,
            headers={
                "Accept": EVENT_STREAM,
                "Accept-Encoding": "identity",
                "Cache-Control": "no-cache",
                "User-Agent": self.user_agent,
            },
            extensions={"timeout": request.extensions["timeout"]},
        )
        self._set_last_event_id(bare, learnt_id)
        return bare

    # --- how a request is made ---

    @property
    def _is_lasting(self) -> bool:
        """Whether a request depends on nothing but its ``_variables``: cookies expire, and files grow."""
        client = self.client
        return not (
            self._is_request
            or self.cookies
            or client.cookies
            or self.body.files is not None
            or getattr(client.build_request, "__func__", None) is not self.library.AsyncClient.build_request
        )

    def _variables(self, last_event_id: str) -> object:
        client = self.client
        return last_event_id, client.headers.raw, client.params, client.base_url

    @property
    def _is_request(self) -> bool:
        return isinstance(self.given, self.library.Request)

    def _built(self) -> "Request":
        arguments = {
            "params": self.params,
            "headers": self.headers,
            "cookies": self.cookies,
        } | self.body.arguments()
        try:
            request: Request = self.client.build_request(self.method, self.given, **arguments)
        except Exception as exc:
            raise self._blamed(arguments, exc) from exc
        if self._content_type is not None:
            request.headers.setdefault("Content-Type", self._content_type)
        elif self.body.is_made and isinstance(request.stream, self.library.ByteStream):
            # Made once: the caller may change what it was made of.
            self._content_type = request.headers["content-type"]
            self.body = Body(content=request.content)
        return request

    def _blamed(self, arguments: Mapping[str, Any], error: Exception) -> InvalidRequest:
        """Find what the library choked on: an argument, what the client adds to every request, or the URL."""
        for name, value in {"client": None, **arguments}.items():
            only = {} if value is None else {name: value}
            try:
                self.client.build_request("POST", "http://localhost/", **only)
            except Exception as exc:  # noqa: BLE001 - likewise
                # The text of an error may hold the value, and headers and cookies are secrets.
                is_plain = name in ("content", "data", "files", "json", "params")
                why = f"{type(exc).__name__}: {exc}" if is_plain else type(exc).__name__
                return InvalidRequest(name, f"{self.library.__name__} cannot send it ({why})")
        if isinstance(error, UnicodeEncodeError) and error.encoding == "ascii":  # a server set it
            return InvalidRequest(
                "client", f"has a cookie for this URL that {self.library.__name__} cannot send"
            )
        return InvalidRequest("url", f"{error}")

    def _copied(self) -> "Request":
        given: Request = self.given
        return self.library.Request(  # type: ignore[no-any-return]
            given.method,
            given.url,
            headers=given.headers.copy(),
            stream=given.stream,
            extensions=given.extensions,
        )

    def _with_body(self, request: "Request", body: OnceBody) -> "Request":
        return self.library.Request(  # type: ignore[no-any-return]
            request.method, request.url, headers=request.headers, content=body, extensions=request.extensions
        )

    def _is_read_once(self, request: "Request") -> bool:
        if self.body.is_rereadable or isinstance(request.stream, self.library.ByteStream):
            return False
        # What else has a length is guarded by it: an empty second time is an error of the HTTP library.
        return isinstance(self.body.content, AsyncIterator) or "transfer-encoding" in request.headers

    def _dress(self, request: "Request") -> None:
        """Ask for an event stream, as https://html.spec.whatwg.org/#the-eventsource-interface has it."""
        said = self._said_by_caller
        headers = request.headers
        if "accept" not in said and headers.get("accept", "*/*") == "*/*":
            headers["Accept"] = EVENT_STREAM
        if "accept-encoding" not in said:
            headers["Accept-Encoding"] = "identity"
        if "cache-control" not in headers:
            headers["Cache-Control"] = "no-cache"

    @property
    def _said_by_caller(self) -> Any:
        """The headers of this call alone; those of a request that was given may all be the client's."""
        return () if self._is_request or self.headers is None else self.headers

    @property
    def _has_own_cookie(self) -> bool:
        return self._is_request or "cookie" in self._said_by_caller or "cookie" in self.client.headers

    def _jar(self) -> Any:
        jar = self.library.Cookies(self.client.cookies)
        jar.update(self.cookies)
        return jar

    def _set_last_event_id(self, request: "Request", last_event_id: str) -> None:
        value = last_event_id.strip(" \t")
        request.headers.pop("Last-Event-ID", None)
        if value and is_sendable_id(value):
            # As bytes, and so in UTF-8: a str goes out in whatever encoding the other headers have.
            line = (b"Last-Event-ID", value.encode())
            request.headers = self.library.Headers([*request.headers.raw, line])
