"""httpx's async transport for many calls at once.

httpcore looks at every connection of its pool for each request, and at each of them again for each idle one, so large
pools make each call slow. Here every call has a transport to itself, and so a connection; the one that was used last
is used again first, so that few calls in turn share few connections. This module must not know what is sent.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import httpx

from langchain_promptrun._http.finishing import to_the_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

Origin = tuple[str, str, int | None]


class OneCallTransport(httpx.AsyncHTTPTransport):
    """httpx's transport, which can say whether it is fit for another call."""

    def is_fit(self) -> bool:
        """Whether its connections are free.

        One whose call was cancelled in the wrong moment is taken for ever, to httpcore.
        """
        return all(connection.is_idle() or connection.is_closed() for connection in self._pool.connections)


class ShardedTransport(httpx.AsyncBaseTransport):
    """Spreads calls over transports, one for each call under way.

    Args:
        make: Makes one more transport.
        keep_alive: Seconds after which a transport that carries no call is closed.
        most: How many there may be at once, if callers keep to it; None for no limit.
    """

    def __init__(self, make: Callable[[], OneCallTransport], keep_alive: float, most: int | None = None) -> None:
        self._make = make
        self._keep_alive = keep_alive
        self._most = most
        self._busy: set[_Shard] = set()
        # used longest ago first
        self._idle: list[_Shard] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over a transport that carries no other."""
        shard = self._take(request.url)
        try:
            await self._make_room()
            response = await shard.transport.handle_async_request(request)
        except (Exception, asyncio.CancelledError):
            await self._end_call(shard)
            raise
        response.stream = CountedStream(cast("httpx.AsyncByteStream", response.stream), partial(self._end_call, shard))
        return response

    def _take(self, url: httpx.URL) -> _Shard:
        origin = (url.scheme, url.host, url.port)
        places = range(len(self._idle) - 1, -1, -1)
        found = next((place for place in places if self._idle[place].origin == origin), None)
        shard = _Shard(self._make(), origin) if found is None else self._idle.pop(found)
        self._busy.add(shard)
        return shard

    async def _make_room(self) -> None:
        """Idle connections to other servers give way."""
        while self._most is not None and self._idle and len(self._busy) + len(self._idle) > self._most:
            await _close(self._idle.pop(0))

    async def _end_call(self, shard: _Shard) -> None:
        self._busy.discard(shard)
        if self._is_closed or not shard.transport.is_fit():
            await _close(shard)
            return
        shard.used = time.monotonic()
        self._idle.append(shard)
        if self._timer is None:
            self._sweep_after(self._keep_alive)

    def _sweep_after(self, seconds: float) -> None:
        """A pool closes connections that are too old only when it is used; this one may never be again."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, _sweep, weakref.ref(self), context=Context())

    def sweep(self) -> None:
        """Close what was not used for too long."""
        self._timer = None
        oldest = time.monotonic() - self._keep_alive
        old = [shard for shard in self._idle if shard.used <= oldest]
        self._idle = self._idle[len(old) :]
        if old:
            self._closing = asyncio.get_running_loop().create_task(_close_all(old))
        if self._idle:
            self._sweep_after(self._idle[0].used - oldest)

    async def aclose(self) -> None:
        """Close all transports."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        await _close_all([*self._busy, *self._idle])
        self._idle = []


class _Shard:
    __slots__ = ("origin", "transport", "used")

    def __init__(self, transport: OneCallTransport, origin: Origin) -> None:
        self.transport = transport
        self.origin = origin
        self.used = 0.0


def _sweep(transport: weakref.ref[ShardedTransport]) -> None:
    if (found := transport()) is not None:
        found.sweep()


async def _close(shard: _Shard) -> None:
    # no call is to blame for it, and others are to be closed
    with suppress(Exception):
        await to_the_end(shard.transport.aclose())


async def _close_all(shards: list[_Shard]) -> None:
    for shard in shards:
        await _close(shard)


class CountedStream(httpx.AsyncByteStream):
    """A response's body, whose end ends a call.

    Args:
        stream: The body.
        end_call: Called once, when the body is closed.
    """

    __slots__ = ("_end_call", "_stream")

    def __init__(self, stream: httpx.AsyncByteStream, end_call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._stream = stream
        self._end_call: Callable[[], Coroutine[Any, Any, None]] | None = end_call

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
                await end_call()
