"""One HTTP exchange as validated byte chunks, redirects included, over whichever client of httpx or httpx2.

No retry, no parsing. What either library raises leaves here as an error of ours, with its cause.
"""

import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from ._answer import (
    MAX_REDIRECTS,
    content_codings,
    is_event_stream,
    is_same_origin,
    parse_retry_after,
    redirected_method,
)
from ._errors import (
    AnysseError,
    ConnectError,
    ContentTypeError,
    InvalidRequest,
    ResponseError,
    StatusError,
    StreamDropped,
    StreamError,
    StreamTimeout,
    TimeoutPhase,
)
from ._events import Headers, StreamResponse
from ._incoming import ResponseBody
from ._inflate import BadCoding, Inflater
from ._redact import redact_reason
from ._request import RequestTemplate
from ._sendable import check_transport, check_url
from ._transport import bare_body
from ._unwind import unwind

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    import httpx

AcceptResponse: TypeAlias = Callable[[StreamResponse], bool | Awaitable[bool]]

CLOSE_GRACE = 2.0
"""Seconds that clean-up may take once it is shielded."""
BODY_LIMIT = 65_536
"""Bytes of a refused body that its error carries."""
BODY_GRACE = 2.0
"""Seconds that a server has to send them."""
FAIR_SHARE = 32
"""Reads in a row that need not wait, before other tasks get their turn."""
DRAIN_LIMIT = 65_536
"""Bytes that are read after the end of interest, so that the connection can serve again."""
DRAIN_GRACE = 0.1
"""Seconds for that."""
MAX_CAUSES = 16
"""How far back the reason of an error is looked for."""


def check_open(client: Any) -> None:
    """Refuse a client that was closed."""
    if client.is_closed:
        raise InvalidRequest("client", "is closed: keep it open for as long as the stream")


class Exchange:
    """A response whose head was accepted, and whose body is to be read.

    One task reads it; ``aclose()`` comes after that, in the same task.
    """

    def __init__(
        self,
        response: "httpx.Response",
        bare: ResponseBody | None,
        errors: tuple[type[Exception], ...],
        translate: Callable[[Exception], AnysseError],
    ) -> None:
        # Of a response with a body of ours nothing else is kept while it is read.
        self._close = response.aclose if bare is None else bare.aclose
        self.errors = errors
        """What reading may fail with; ``translate`` makes it an error of ours."""
        self.translate = translate
        # The stream itself, and not aiter_raw(): two generators less for each chunk. Ours has none at all.
        self._network_stream = response.extensions.get("network_stream")
        self._body = bare
        self._raw: AsyncIterator[bytes] = self._body or aiter(response.stream)  # type: ignore[arg-type]
        self.chunks = self._raw
        """The body as it comes, decompressed; a plain one with no layer of ours around each chunk."""
        self.head = StreamResponse(
            status_code=response.status_code,
            headers=Headers(_text_headers(response)),
            url=str(response.url),
        )

    @property
    def local_address(self) -> str | None:
        """The IP address of this end, without its scope, where there is one, and the transport tells."""
        if self._network_stream is None:
            return None
        place = self._network_stream.get_extra_info("client_addr")
        return place[0].partition("%")[0] if isinstance(place, tuple) else None

    def pour(self, take: Callable[[bytes], bool]) -> Awaitable[bool]:
        """Hand what comes to ``take``, until that gives False or for a while; tell whether there may be more.

        Where that is sooner, it is called in no task, and in any context.
        """
        if self._body is not None and self.chunks is self._raw:
            return self._body.pour(take)
        return self._pull(take)

    async def _pull(self, take: Callable[[bytes], bool]) -> bool:
        reads = 0
        async for chunk in self.chunks:
            reads += 1
            if not take(chunk):
                return True
            if not reads % FAIR_SHARE:
                await checkpoint()
        return False

    def decompress(self) -> BadCoding | None:
        """Undo the codings that the head names from now on, or say why they cannot be undone."""
        codings = content_codings(self.head.headers.get_list("content-encoding"))
        if codings:
            try:
                self.chunks = Inflated(self._raw, Inflater(codings))
            except BadCoding as exc:
                return exc
        return None

    async def read_start(self) -> bytes:
        """Read the start of a body that is of no other use, as far as it comes in time."""
        start = b""
        with anyio.move_on_after(BODY_GRACE), suppress(*self.errors, StreamError):
            async for chunk in self.chunks:
                start += chunk[:BODY_LIMIT]
                if len(start) >= BODY_LIMIT:
                    break
        return start[:BODY_LIMIT]

    async def drain(self) -> None:
        """Read the rest of the body for a moment, so that the connection can serve again."""
        left = DRAIN_LIMIT
        with anyio.move_on_after(DRAIN_GRACE), suppress(*self.errors):
            async for chunk in self._raw:
                left -= len(chunk)
                if left <= 0:
                    break

    async def aclose(self) -> None:
        """Give the connection back where the body was read to its end, else close it."""
        if self._body is not None:
            await self._close()  # shields itself
            return
        with anyio.move_on_after(CLOSE_GRACE, shield=True):
            try:
                await unwind(self._raw)
            finally:
                with suppress(*self.errors):
                    await self._close()  # noqa: ASYNC102 - the scope around it is what it asks for


class Inflated:
    """The pieces of a compressed body, as an async iterator: each of at most 64 KiB."""

    def __init__(self, raw: AsyncIterator[bytes], inflater: Inflater) -> None:
        self._raw = raw
        self._inflater = inflater
        self._pieces: Iterator[bytes] = iter(())

    def __aiter__(self) -> "Inflated":
        return self

    async def __anext__(self) -> bytes:
        while True:
            for piece in self._pieces:
                return piece
            try:
                self._pieces = self._inflater.feed(await anext(self._raw))
            except StopAsyncIteration:
                if not self._inflater.is_complete:
                    raise StreamDropped("the compressed body ended too soon") from None
                raise


class Connection:
    """How one stream talks HTTP: its template, its client, what it accepts.

    Args:
        template: What is sent.
        auth: As httpx has it, for the first origin alone.
        accept_response: Takes the place of the check of status and content type.
        owns_client: Whether the client is to be closed with the stream.
    """

    def __init__(
        self,
        template: RequestTemplate,
        *,
        auth: Any,
        accept_response: AcceptResponse | None,
        owns_client: bool,
    ) -> None:
        check_open(template.client)
        self._template = template
        self._owns_client = owns_client
        self._library = template.library
        self._client = template.client
        self._auth = auth
        self._accept_response = accept_response
        self._response_timeout = template.timeouts.response
        self.was_acted_upon: bool = False
        """Whether a redirect of the last request led on to its result, with another method."""
        library = template.library
        # What a connection may fail with; anything else is a bug, and leaves as itself.
        self._errors: tuple[type[Exception], ...] = (
            library.HTTPError,
            library.InvalidURL,
            library.StreamError,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,
            BadCoding,
            OSError,
        )

    async def exchange(self, request: "httpx.Request", *, learnt_id: str) -> Exchange:
        """Send a request, follow where it is sent, and give the answer once it is one to read.

        The answer to a 204 is given too; nothing can be read from it.

        Args:
            request: The request of this attempt, checked.
            learnt_id: The last event ID that the stream itself learnt.

        Raises:
            StreamError: There is no connection, no answer in time, or the answer is no event stream.
            InvalidRequest: The client is closed, or an auth flow had to send again what can be read once.
        """
        check_open(self._client)
        self.was_acted_upon = False
        exchange, refusal = await self._answer(request, learnt_id)
        try:
            await self._check(exchange, refusal)
        except BaseException:
            await exchange.aclose()
            raise
        return exchange

    async def aclose(self) -> None:
        """Close the client, if it is the stream's own."""
        if self._owns_client:
            with anyio.move_on_after(CLOSE_GRACE, shield=True), suppress(*self._errors):
                await self._client.aclose()

    # --- the way to an answer ---

    async def _answer(self, request: "httpx.Request", learnt_id: str) -> tuple[Exchange, str]:
        with anyio.move_on_after(self._response_timeout), self._translated():
            return await self._follow(request, learnt_id)
        raise StreamTimeout("response", self._response_timeout)

    async def _follow(self, request: "httpx.Request", learnt_id: str) -> tuple[Exchange, str]:
        """Follow redirects; the answer comes with the reason why it was not followed, if it is one.

        A loop of our own: the libraries carry secrets, and bodies, to other origins.
        """
        auth, is_trusted, hops = self._auth, True, 0
        while True:
            exchange = await self._send(request, auth)
            method = redirected_method(exchange.head.status_code, request.method)
            if method is None:
                return exchange, ""
            url, refusal = self._target(request, method, exchange)
            if refusal or hops == MAX_REDIRECTS:
                return exchange, refusal or f"it redirects more than {MAX_REDIRECTS} times"
            # Once something was left behind, it stays behind, even where the way leads back.
            is_trusted = is_trusted and is_same_origin(request.url, url)
            self.was_acted_upon = self.was_acted_upon or method != request.method
            auth = auth if is_trusted else None
            await self._leave(exchange)
            request = self._template.redirected(
                request, method, url, is_trusted=is_trusted, learnt_id=learnt_id
            )
            hops += 1

    async def _send(self, request: "httpx.Request", auth: Any) -> Exchange:
        try:
            response = await self._client.send(request, stream=True, auth=auth, follow_redirects=False)
        except UnicodeEncodeError as exc:
            # Of the jar: both libraries build what a redirect asks for. Else of a hook or an auth flow.
            if not _is_about_cookies(exc, self._client.cookies.jar):
                raise
            # The text may hold the value: the cause has it.
            raise ResponseError(f"it sets a cookie that {self._library.__name__} cannot send back") from exc
        bare = bare_body(self._library, response)
        return Exchange(response, bare, self._errors, functools.partial(self._translate, silence="idle"))

    async def _leave(self, exchange: Exchange) -> None:
        try:
            await exchange.drain()
        finally:
            await exchange.aclose()

    def _target(self, request: "httpx.Request", method: str, exchange: Exchange) -> tuple[Any, str]:
        """Where a redirect leads, and why it is not followed, if it is not."""
        location = exchange.head.headers.get("location")
        if location is None:
            return None, "it redirects, but names no Location"
        try:
            url = request.url.join(location)
            check_url(str(url), url)
            check_transport(url, https_only=self._template.https_only)
        except InvalidRequest as exc:
            return None, f"it redirects to a URL that is refused ({exc.reason})"
        except (self._library.InvalidURL, ValueError):
            return None, "it redirects to what is no URL"
        if request.url.scheme == "https" and url.scheme != "https":
            return None, "it redirects from https to http"
        return url, self._body_refusal(request, method, url)

    def _body_refusal(self, request: "httpx.Request", method: str, url: Any) -> str:
        has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
        if method != request.method or not has_body:
            return ""
        if not is_same_origin(request.url, url):
            return "it redirects a request with a body to another origin"
        return "it redirects a body that can be read only once" if self._template.is_body_spent else ""

    # --- what an answer is worth ---

    async def _check(self, exchange: Exchange, refusal: str) -> None:
        """Let a 204 and an event stream pass; raise for anything else."""
        if exchange.head.status_code == 204:
            return
        unreadable = exchange.decompress()
        if not refusal and await self._is_accepted(exchange.head):
            if unreadable is not None:
                raise self._told(ResponseError(str(unreadable)), exchange) from unreadable
            return
        body = await exchange.read_start()
        raise self._refused(exchange, refusal, body)

    async def _is_accepted(self, head: StreamResponse) -> bool:
        if self._accept_response is None:
            return head.status_code == 200 and is_event_stream(head.headers.get_list("content-type"))
        answer = self._accept_response(head)
        return bool(await answer if isawaitable(answer) else answer)

    def _refused(self, exchange: Exchange, refusal: str, body: bytes) -> ResponseError:
        if exchange.head.status_code == 200:
            if self._accept_response is None:
                return self._told(ContentTypeError(body=body), exchange)
            return self._told(ResponseError("accept_response did not take it", body=body), exchange)
        retry_after = parse_retry_after(exchange.head.headers.get("retry-after"), time.time())
        return self._told(StatusError(refusal, body=body, retry_after=retry_after), exchange)

    @staticmethod
    def _told(error: ResponseError, exchange: Exchange) -> ResponseError:
        error.status_code, error.headers = exchange.head.status_code, exchange.head.headers
        return error

    # --- whose errors are whose ---

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as exc:
            raise self._translate(exc) from exc

    def _translate(self, exc: Exception, silence: TimeoutPhase = "response") -> AnysseError:
        """Say in our words what a library of HTTP said in its own.

        Args:
            exc: Its error.
            silence: What a timeout of reading or writing means at this point.
        """
        library, reason = self._library, _reason(exc)
        if isinstance(exc, library.TimeoutException):
            phase = self._phase(exc) or silence
            times = self._template.timeouts
            return StreamTimeout(phase, times.connect if phase in ("pool", "connect") else None)
        if isinstance(exc, library.ConnectError | library.ProxyError | library.UnsupportedProtocol):
            return ConnectError(reason)
        if isinstance(exc, library.HTTPStatusError):  # a hook of the client's called raise_for_status()
            headers = Headers(_text_headers(exc.response))
            retry_after = parse_retry_after(headers.get("retry-after"), time.time())
            return StatusError(status_code=exc.response.status_code, headers=headers, retry_after=retry_after)
        if isinstance(exc, library.InvalidURL) or _is_about_location(exc):
            # Ours was checked: both libraries look at where a redirect leads even if they are not to follow.
            return ResponseError("it redirects to what is no URL")
        if isinstance(exc, library.LocalProtocolError):
            # The text may quote what was to be sent, secrets and all: the cause has it.
            return InvalidRequest("request", f"{library.__name__} refused to send it ({type(exc).__name__})")
        if isinstance(exc, BadCoding):
            return ResponseError(reason)
        return StreamDropped(reason)

    def _phase(self, exc: Exception) -> TimeoutPhase | None:
        library = self._library
        if isinstance(exc, library.PoolTimeout):
            return "pool"
        if isinstance(exc, library.ConnectTimeout):
            return "connect"
        return None


def _text_headers(response: "httpx.Response") -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw]


def _is_about_location(exc: Exception) -> bool:
    return type(exc).__name__ == "RemoteProtocolError" and "location header" in str(exc)


def _is_about_cookies(exc: UnicodeEncodeError, jar: "CookieJar") -> bool:
    """Tell whether what has no encoding has a cookie in it to blame."""
    texts = (text for cookie in jar for text in (cookie.name, cookie.value or ""))
    return any(text in exc.object for text in texts if not text.isascii())


def _reason(exc: BaseException) -> str:
    """The words of an error: those of the system where it had any, since libraries often hide them."""
    causes = list(_causes(exc))
    said = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    text = next((text for text in [*said, *map(str, causes)] if text), type(exc).__name__)
    return redact_reason(text)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """An error and what led to it; of several connections that failed, the first."""
    link: BaseException | None = exc
    for _ in range(MAX_CAUSES):
        if link is None:
            return
        yield link
        link = (
            link.exceptions[0] if isinstance(link, BaseExceptionGroup) else link.__cause__ or link.__context__
        )
