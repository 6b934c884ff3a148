"""A transport of ours is one for both libraries."""

from typing import assert_type

import httpx
import httpx2

import anysse

transport = anysse.StreamingTransport(verify=False, max_keepalive_connections=0, keepalive_expiry=None)
httpx.AsyncClient(transport=transport, mounts={"https://": transport})
httpx2.AsyncClient(transport=transport)


async def answers() -> None:
    async with anysse.StreamingTransport() as entered:
        assert_type(entered, anysse.StreamingTransport)
        assert_type(await entered.handle_async_request(httpx.Request("GET", "http://a/")), httpx.Response)
        assert_type(await entered.handle_async_request(httpx2.Request("GET", "http://a/")), httpx2.Response)


anysse.StreamingTransport(True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
anysse.StreamingTransport(verify="no")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
