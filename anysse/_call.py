"""What one request of a client asks for: the client's options, and its own over them → arguments of a stream.

It makes values of whichever of httpx and httpx2 it is handed, and sends nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from ._answer import EVENT_STREAM, is_same_origin
from ._check import check_choice
from ._errors import InvalidRequest
from ._intake import mark_of
from ._payload import json_body_of, query_of
from ._redact import redact_url
from ._sendable import check_url, check_url_text, type_name

if TYPE_CHECKING:
    from typing import TypedDict

    from ._intake import Done
    from ._open import ClientAuth
    from ._options import Timeouts
    from ._types import AuthTypes, CookieTypes, HeaderTypes, ParamTypes

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_OPTIONS: Final = frozenset(
    {"method", "path", "params", "headers", "cookies", "auth", "timeouts", "done", "last_event_id"}
)

if TYPE_CHECKING:

    class RequestOptions(TypedDict, total=False):
        """What one request may have otherwise than its client."""

        method: str
        path: str
        params: ParamTypes | None
        headers: HeaderTypes | None
        cookies: CookieTypes | None
        auth: AuthTypes | ClientAuth | None
        timeouts: Timeouts | float | None
        done: Done | None
        last_event_id: str


class CallPlan:
    """The client's own options, copied and checked; what its requests say otherwise comes in each call.

    Args:
        library: The module, httpx or httpx2.
        client: The client that will send; its own params have a place in each query.
        base_url: What the path of a request is joined to.
        encode_params: What makes the query of a GET of its payload; None for the rule of ``query_of``.
        closes_on_done: Whether a stream is over with its done event.
        options: The others, by the names in ``REQUEST_OPTIONS``.
    """

    def __init__(
        self,
        library: ModuleType,
        client: Any,
        base_url: object,
        *,
        encode_params: Callable[[Any], Any] | None,
        closes_on_done: bool,
        options: Mapping[str, Any],
    ) -> None:
        self._library = library
        self._client = client
        self._base_url = self._checked_base(base_url)
        self._encode_params = encode_params
        self._closes_on_done = closes_on_done
        self._latest_place: tuple[str, str] | None = None
        self._latest_url: Any = None
        _checked_method(options["method"])
        self._options = {
            **options,
            "params": self._params(options["params"]),
            "headers": _with_accept(self._headers(options["headers"])),
            "cookies": self._cookies(options["cookies"]),
        }

    @property
    def place(self) -> str:
        """The base URL, as it may be shown."""
        return redact_url(str(self._base_url))

    def arguments(self, payload: object, given: Mapping[str, Any]) -> dict[str, Any]:
        """Give what ``open_stream`` is to be called with.

        Raises:
            InvalidRequest: An option or the payload is wrong; it is named.
        """
        chosen = {**self._options, **given}
        method = _checked_method(chosen["method"])
        params = self._options["params"].merge(self._params(given.get("params")))
        if is_get := method == "GET":
            params = params.merge(self._query_of(payload))
        try:
            place = self._place(chosen["path"], str(params))
        except self._library.InvalidURL as exc:
            name = "payload" if is_get and payload is not None else "params"
            raise InvalidRequest(name, "makes the URL too long: send it as the body of a POST") from exc
        mark = mark_of(chosen["done"])
        return {
            **place,
            "method": method,
            "headers": self._request_headers(given.get("headers")),
            "cookies": self._request_cookies(given.get("cookies")),
            "json": None if is_get else json_body_of(payload),
            "auth": chosen["auth"],
            "timeouts": chosen["timeouts"],
            "last_event_id": chosen["last_event_id"],
            "done": mark and replace(mark, is_required=False, is_final=self._closes_on_done),
        }

    def _checked_base(self, base_url: object) -> Any:
        if not isinstance(base_url, str) and type(base_url).__name__ != "URL":
            raise InvalidRequest("base_url", f"must be a str or a URL, not {type_name(base_url)}")
        text = str(base_url)
        try:
            check_url_text(text)
            url = self._library.URL(text)
            check_url(text, url)
        except InvalidRequest as exc:
            raise InvalidRequest("base_url", exc.reason) from exc
        except (self._library.InvalidURL, ValueError) as exc:
            raise InvalidRequest("base_url", f"{redact_url(text)!r} is no URL ({exc})") from exc
        return url

    def _place(self, path: object, params: str) -> dict[str, Any]:
        """Give the URL, with params beside its own query, as the arguments that make a request of it."""
        if not isinstance(path, str):
            raise InvalidRequest("path", f"must be a str, not {type_name(path)}")
        if (path, params) != self._latest_place:  # most requests go where the last one went
            self._latest_url = self._url(self._joined(path), params)
            self._latest_place = path, params
        url = self._latest_url
        # The params of the client take the place of a query, unless that is said as params as well.
        return {"url": url, "params": self._library.QueryParams(url.query) if self._client.params else None}

    def _url(self, url: Any, params: str) -> Any:
        # Not copy_merge_params(): it would write the URL's own query anew.
        query = "&".join(filter(None, (url.query.decode("ascii"), params)))
        return self._library.URL(str(url.copy_with(query=query.encode("ascii") or None)))

    def _joined(self, path: str) -> Any:
        if not path:
            return self._base_url
        try:
            check_url_text(path)
            url = self._base_url.join(path)
            check_url(str(url), url)
        except InvalidRequest as exc:
            is_name = ":" in path.partition("/")[0] and "://" not in path
            hint = ": './' before it makes it a relative one" if is_name else ""
            raise InvalidRequest("path", exc.reason + hint) from exc
        except (self._library.InvalidURL, ValueError) as exc:
            raise InvalidRequest("path", f"{redact_url(path)!r} cannot be joined to the base URL") from exc
        if not is_same_origin(url, self._base_url):
            # What the client puts on its requests is meant for its own origin.
            problem = "leads to another origin than base_url: make a client for that one"
            raise InvalidRequest("path", f"{redact_url(path)!r} {problem}")
        return url

    def _query_of(self, payload: object) -> Any:
        if self._encode_params is None:
            return self._library.QueryParams(query_of(payload))
        return self._params(self._encode_params(payload), "encode_params")

    def _request_headers(self, given: object) -> Any:
        if given is None:
            return self._options["headers"]
        headers = self._options["headers"].copy()
        headers.update(self._headers(given))
        return _with_accept(headers)

    def _request_cookies(self, given: object) -> Any:
        if given is None and not self._options["cookies"]:
            return None
        cookies = self._cookies(self._options["cookies"])
        cookies.update(self._cookies(given))
        return cookies

    # --- copies of what a caller wrote, in the types of the library; its own may be of the other one ---

    def _params(self, value: Any, name: str = "params") -> Any:
        def copied() -> Any:
            pairs = getattr(value, "multi_items", None)
            params = self._library.QueryParams(value if pairs is None else pairs())
            str(params)  # what UTF-8 cannot write is found now
            return params

        verb = "be" if name == "params" else "give"
        return self._read(name, f"must {verb} a mapping, a list of pairs, or the text of a query", copied)

    def _headers(self, value: Any) -> Any:
        def copied() -> Any:
            return self._library.Headers(getattr(value, "raw", value))

        return self._read("headers", "must be a mapping, or pairs, of ASCII text or of bytes", copied)

    def _cookies(self, value: Any) -> Any:
        def copied() -> Any:
            cookies = self._library.Cookies()
            cookies.update(getattr(value, "jar", value))
            return cookies

        return self._read("cookies", "must be a dict, or a list of pairs, of text, or a cookie jar", copied)

    def _read(self, name: str, wanted: str, copied: Callable[[], Any]) -> Any:
        try:
            return copied()
        except Exception as exc:
            # Without its text: that may hold the value, which may be a secret.
            problem = f"{wanted}; {self._library.__name__} cannot read this ({type(exc).__name__})"
            raise InvalidRequest(name, problem) from exc


def _with_accept(headers: Any) -> Any:
    if EVENT_STREAM not in headers.get("accept", "").lower():
        headers["Accept"] = EVENT_STREAM
    return headers


def _checked_method(method: object) -> str:
    check_choice("method", method.upper() if isinstance(method, str) else method, METHODS)
    return str(method).upper()
