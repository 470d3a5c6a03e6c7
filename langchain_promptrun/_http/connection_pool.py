"""Pool httpx's transports so that each carries one call at a time.

httpcore looks at every connection of its pool for each request, and at each of them again for each idle one, so calls
over large pools are slow. Here the connection that was used last is used again first, and finding it takes one step.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx

from langchain_promptrun._http.private_api import has_ended, is_reusable, note_end, read_while_sending, watch_sync
from langchain_promptrun._http.threads import io_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping

KEEP_ALIVE_SECONDS = 45.0
_HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
_MANY = 50 if _HAS_GIL else inf  # calls at once from which on threads take the lock
_SENDING = "send_request_headers.started"
_CONNECTED = ("connect_tcp.complete", "start_tls.complete")

on_connected: ContextVar[Callable[[Any], object]] = ContextVar("on_connected", default=lambda _: None)
"""Called when an async call has got its connection, with httpcore's network stream or None."""

_Origin = tuple[str, str, int | None]


class _Connection:
    def __init__(self, transport: Any, origin: _Origin) -> None:
        self.transport = transport
        self.origin = origin
        self.stream: Any = None  # httpcore's
        self.is_watched = False  # a sync one that is not would hold the lock while it waits
        self.is_new = True
        self.idle_since = 0.0

    def had_ended(self, error: BaseException) -> bool:
        """Tell whether the server had closed the connection, which was idle, before a request came."""
        return not self.is_new and isinstance(error, httpx.RemoteProtocolError) and self.stream.is_unseen

    def trace(self, event: str, info: Mapping[str, Any], *, takes_lock: bool) -> None:
        """Take note of a new connection's network stream, as httpcore's extension `trace` tells of it."""
        if event.endswith(_CONNECTED):
            self.stream = info["return_value"]
            self.is_watched = watch_sync(self.stream)
        elif takes_lock and self.is_watched and event.endswith(_SENDING) and info["request"].method != b"CONNECT":
            io_lock.acquire()

    async def trace_async(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(_CONNECTED):
            self.stream = info["return_value"]
            note_end(self.stream, "aclose")
        elif event.endswith(_SENDING):
            if info["request"].method == b"CONNECT":  # a proxy answers this before the request goes out
                on_connected.get()(None)
            else:
                self.begin_to_send()

    def begin_to_send(self) -> None:
        read_while_sending(self.stream)
        on_connected.get()(self.stream)


class _Pool:
    """Keeps connections by atomic steps, without a lock, which the garbage collector might want in the middle."""

    def __init__(self, make: Callable[[], object], limit: int | None) -> None:
        self._make = make
        self._limit = limit
        self._busy: set[_Connection] = set()
        self._idle: dict[_Origin, deque[_Connection]] = {}
        self._is_closed = False

    def _take(self, url: httpx.URL) -> _Connection:
        origin = (url.scheme, url.host, url.port)
        try:
            connection = self._idle[origin].pop()
            connection.is_new = has_ended(connection.transport)
        except LookupError:
            connection = _Connection(self._make(), origin)
        self._busy.add(connection)
        return connection

    def _give_back(self, connection: _Connection, *, keep: bool) -> bool:
        """Keep a connection for the next call; False where it is to be closed instead."""
        self._busy.discard(connection)
        if not keep or self._is_closed or not is_reusable(connection.transport):
            return False
        connection.is_new = False
        connection.idle_since = monotonic()
        self._idle.setdefault(connection.origin, deque()).append(connection)
        return True

    def _surplus(self) -> list[Any]:
        """Remove the idle connections that are too old, or that must make room for busy ones."""
        found = []
        oldest = monotonic() - KEEP_ALIVE_SECONDS
        for idle in list(self._idle.values()):
            with suppress(IndexError):
                while idle[0].idle_since < oldest or self._is_over_limit():
                    found.append(idle.popleft().transport)
        return found

    def _is_over_limit(self) -> bool:
        return self._limit is not None and len(self._busy) + sum(map(len, list(self._idle.values()))) > self._limit

    def _close(self) -> list[Any]:
        self._is_closed = True
        idle = [connection for connections in list(self._idle.values()) for connection in connections]
        self._idle = {}
        return [connection.transport for connection in (*self._busy, *idle)]


class SyncPool(_Pool, httpx.BaseTransport):
    """Sends each call over a connection of its own; `limit` bounds the calls at once."""

    def __init__(self, make: Callable[[], httpx.HTTPTransport], limit: int | None) -> None:
        super().__init__(make, limit)
        self._free = None if limit is None else threading.Semaphore(limit)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._free is not None and not self._free.acquire(timeout=request.extensions["timeout"].get("pool")):
            raise httpx.PoolTimeout("no connection became free")
        connection = self._take(request.url)
        # an exception of a signal handler, in the main thread, could keep it from releasing the lock
        takes_lock = len(self._busy) > _MANY and threading.current_thread() is not threading.main_thread()
        if connection.is_new:
            request.extensions["trace"] = partial(connection.trace, takes_lock=takes_lock)
        try:
            close_all(self._surplus())
            if takes_lock and connection.is_watched and not connection.is_new:
                io_lock.acquire()
            try:
                response: httpx.Response = connection.transport.handle_request(request)
            finally:
                if takes_lock:
                    io_lock.release()
        except BaseException as error:
            self._end_call(connection, keep=False)
            if not connection.had_ended(error):
                raise
        else:
            response.stream = Body(response.stream, partial(self._end_call, connection))
            return response
        return self.handle_request(request)

    def _end_call(self, connection: _Connection, *, keep: bool = True) -> None:
        try:
            if not self._give_back(connection, keep=keep):
                connection.transport.close()
        finally:
            if self._free is not None:
                self._free.release()

    def close(self) -> None:
        close_all(self._close())


class AsyncPool(_Pool, httpx.AsyncBaseTransport):
    """Async version of `SyncPool`; what bounds the calls at once is `ConcurrencyLimit`."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = self._take(request.url)
        if connection.is_new:
            request.extensions["trace"] = connection.trace_async
        else:
            connection.begin_to_send()
        try:
            await aclose_all(self._surplus())
            response: httpx.Response = await connection.transport.handle_async_request(request)
        except (Exception, asyncio.CancelledError) as error:
            await self._end_call(connection, keep=False)
            if connection.is_new and connection.stream is not None:
                # httpcore forgets it where the task is cancelled during the TLS handshake
                await aclose_all([connection.stream])
            if not connection.had_ended(error):
                raise
        else:
            response.stream = Body(response.stream, partial(self._end_call, connection))
            return response
        return await self.handle_async_request(request)

    async def _end_call(self, connection: _Connection, *, keep: bool = True) -> None:
        if not self._give_back(connection, keep=keep):
            await aclose_all([connection.transport])

    async def aclose(self) -> None:
        await aclose_all(self._close())


class ConcurrencyLimit(httpx.AsyncBaseTransport):
    """Bounds the calls at once; the others wait as long as the pool time-out.

    aiohttp has one time-out for a full pool and for a new connection, so it could not be told which one struck.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, limit: int) -> None:
        self._transport = transport
        self._free = asyncio.Semaphore(limit)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions["timeout"]
        try:
            async with asyncio.timeout(timeouts.get("pool")):
                await self._free.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection became free") from None
        timeouts["pool"] = None  # the wait is over; a new connection has a time-out of its own
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException:
            self._free.release()
            raise
        response.stream = Body(response.stream, self._end_call)
        return response

    async def _end_call(self) -> None:
        self._free.release()

    async def aclose(self) -> None:
        await self._transport.aclose()


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response's body, whose end ends a call."""

    def __init__(self, stream: Any, end_call: Callable[[], Any]) -> None:
        self._stream = stream
        self._end_call = end_call

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._end_call()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            await self._end_call()


def close_all(transports: Iterable[Any]) -> None:
    for transport in transports:
        with suppress(Exception):
            transport.close()


async def aclose_all(transports: Iterable[Any]) -> None:
    """Close each transport; where the task ends meanwhile, the rest of them without waiting."""
    waiting = list(transports)
    try:
        while waiting:
            with suppress(Exception):
                await waiting.pop().aclose()
    finally:
        for transport in waiting:
            close_without_waiting(transport.aclose())


def close_without_waiting(closing: Coroutine[Any, Any, None]) -> None:
    """Run what closes a connection as far as it goes without its event loop."""
    with suppress(StopIteration, Exception):
        closing.send(None)
    with suppress(RuntimeError):
        closing.close()
