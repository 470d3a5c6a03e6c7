"""httpx's async transport for many calls at once.

httpcore looks at every connection of its pool for each request, and at each of them again for each idle one, so large
pools make each call slow. Here every call has a pool to itself, and so a connection; the one that was used last is
used again first, so that few calls in turn share few connections. This module must not know what is sent.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, cast

import httpx

from langchain_promptrun._finishing import to_the_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class ShardedTransport(httpx.AsyncBaseTransport):
    """Spreads calls over transports, one for each call under way.

    Args:
        make: Makes one more transport.
        keep_alive: Seconds after which a transport that carries no call is closed, when another call comes.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], keep_alive: float) -> None:
        self._make = make
        self._keep_alive = keep_alive
        self._busy: set[_Shard] = set()
        # used longest ago first
        self._idle: deque[_Shard] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over a transport that carries no other."""
        shard = self._idle.pop() if self._idle else _Shard(self._make())
        self._busy.add(shard)
        try:
            await self._close_unused()
            response = await shard.transport.handle_async_request(request)
        except BaseException:
            self._end_call(shard)
            raise
        response.stream = CountedStream(cast("httpx.AsyncByteStream", response.stream), partial(self._end_call, shard))
        return response

    def _end_call(self, shard: _Shard) -> None:
        shard.used = time.monotonic()
        self._busy.discard(shard)
        self._idle.append(shard)

    async def _close_unused(self) -> None:
        """A pool closes connections that are too old only when it is used."""
        while self._idle and time.monotonic() - self._idle[0].used >= self._keep_alive:
            await to_the_end(self._idle.popleft().transport.aclose())

    async def aclose(self) -> None:
        """Close all transports."""
        for shard in (*self._busy, *self._idle):
            await shard.transport.aclose()


class _Shard:
    __slots__ = ("transport", "used")

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.used = 0.0


class CountedStream(httpx.AsyncByteStream):
    """A response's body, whose end ends a call.

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
        try:
            await self._stream.aclose()
        finally:
            if end_call is not None:
                end_call()
