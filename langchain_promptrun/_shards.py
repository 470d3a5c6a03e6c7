"""httpx's async transport for many calls at once.

httpcore looks at every connection of its pool for each request, so a pool of a thousand makes each call slow. Here
the connections are spread over small pools; the first with room takes a call, so few calls share few connections.
This module must not know what is sent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import httpx

from langchain_promptrun._finishing import to_the_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SHARD_CALLS = 16
"""How many calls a pool carries at once."""


class ShardedTransport(httpx.AsyncBaseTransport):
    """Spreads calls over transports.

    Args:
        make: Makes one more transport.
        keep_alive: Seconds after which a transport that carries no call is closed, when another call comes.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], keep_alive: float) -> None:
        self._make = make
        self._keep_alive = keep_alive
        self._shards: list[_Shard] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over the first transport with room for it."""
        await self._close_unused()
        shard = self._shard_with_room()
        shard.calls += 1
        try:
            response = await shard.transport.handle_async_request(request)
        except BaseException:
            shard.end_call()
            raise
        response.stream = CountedStream(cast("httpx.AsyncByteStream", response.stream), shard.end_call)
        return response

    def _shard_with_room(self) -> _Shard:
        for shard in self._shards:
            if shard.calls < SHARD_CALLS:
                return shard
        shard = _Shard(self._make())
        self._shards.append(shard)
        return shard

    async def _close_unused(self) -> None:
        """A pool closes connections that are too old only when it is used."""
        while len(self._shards) > 1:
            last = self._shards[-1]
            if last.calls or time.monotonic() - last.used < self._keep_alive:
                return
            self._shards.pop()
            await to_the_end(last.transport.aclose())

    async def aclose(self) -> None:
        """Close all transports."""
        for shard in self._shards:
            await shard.transport.aclose()


class _Shard:
    __slots__ = ("calls", "transport", "used")

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.calls = 0
        self.used = 0.0

    def end_call(self) -> None:
        self.calls -= 1
        self.used = time.monotonic()


class CountedStream(httpx.AsyncByteStream):
    """A response's body, whose end makes room for another call.

    Args:
        stream: The body.
        end_call: Called once, as the body is closed.
    """

    __slots__ = ("_end_call", "_stream")

    def __init__(self, stream: httpx.AsyncByteStream, end_call: Callable[[], None]) -> None:
        self._stream = stream
        self._end_call: Callable[[], None] | None = end_call

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's bytes, as they are."""
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        """Close the body."""
        end_call, self._end_call = self._end_call, None
        if end_call is not None:
            end_call()
        await self._stream.aclose()
