"""What a caller may pass, in the words of httpx and httpx2; for type checkers, nothing at run time."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import httpx
    import httpx2

    from ._observer import Attempt

    URLTypes: TypeAlias = str | httpx.URL | httpx2.URL
    RequestTypes: TypeAlias = httpx.Request | httpx2.Request
    ClientTypes: TypeAlias = httpx.AsyncClient | httpx2.AsyncClient
    HeaderTypes: TypeAlias = (
        httpx.Headers
        | httpx2.Headers
        | Mapping[str, str]
        | Mapping[bytes, bytes]
        | Sequence[tuple[str, str]]
        | Sequence[tuple[bytes, bytes]]
    )
    ParamTypes: TypeAlias = (
        httpx.QueryParams
        | httpx2.QueryParams
        | Mapping[str, object]
        | Sequence[tuple[str, object]]
        | str
        | bytes
    )
    CookieTypes: TypeAlias = httpx.Cookies | httpx2.Cookies | dict[str, str] | list[tuple[str, str]]
    AuthTypes: TypeAlias = (
        tuple[str | bytes, str | bytes]
        | httpx.Auth
        | httpx2.Auth
        | Callable[[httpx.Request], httpx.Request]
        | Callable[[httpx2.Request], httpx2.Request]
    )
    FileContent: TypeAlias = IO[bytes] | bytes | str
    FileTypes: TypeAlias = (
        FileContent
        | tuple[str | None, FileContent]
        | tuple[str | None, FileContent, str | None]
        | tuple[str | None, FileContent, str | None, Mapping[str, str]]
    )
    FilesTypes: TypeAlias = Mapping[str, FileTypes] | Sequence[tuple[str, FileTypes]]
    Prepare: TypeAlias = (
        Callable[[httpx.Request, Attempt], httpx.Request | Awaitable[httpx.Request | None] | None]
        | Callable[[httpx2.Request, Attempt], httpx2.Request | Awaitable[httpx2.Request | None] | None]
    )
