"""Makes httpx and httpx2 take classes of ours for their own: transports and bodies. Sends nothing."""

import functools
import sys
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any, Protocol, TypeVar

from ._check import shown
from ._errors import InvalidRequest

T = TypeVar("T")


class Body(Protocol):
    """The body of a response: an iterator that is read once, by whoever then closes it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """Let go of it."""


def new_transport(cls: type[T]) -> T:
    """Make an instance that both libraries take for a transport of their own; neither is imported before."""
    return object.__new__(_dressed(cls, sys.modules.get("httpx2")))  # type: ignore[arg-type, no-any-return]


@functools.cache
def _dressed(cls: type[T], httpx2: ModuleType | None) -> type[T]:
    import httpx

    bases = [library.AsyncBaseTransport for library in (httpx, httpx2) if library]
    return type(cls.__name__, (cls, *bases), {"__module__": cls.__module__, "__doc__": cls.__doc__})


@functools.cache
def body_class(library: ModuleType) -> Any:
    """Give a class of bodies that the library takes for one of its own; ``body`` is what was given."""

    class LibraryBody(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        __slots__ = ("body",)

        def __init__(self, body: Body) -> None:
            self.body = body

        def __aiter__(self) -> AsyncIterator[bytes]:
            return aiter(self.body)

        async def aclose(self) -> None:
            await self.body.aclose()

    return LibraryBody


def library_of(request: object) -> ModuleType:
    """Give the library that a request is of.

    Raises:
        InvalidRequest: It is of neither.
    """
    for name in ("httpx", "httpx2"):
        library = sys.modules.get(name)
        if library is not None and isinstance(request, library.Request):
            return library
    raise InvalidRequest("request", f"must be a Request of httpx or httpx2, not {shown(request)}")
