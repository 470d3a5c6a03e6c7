"""Send requests, as often as allowed, and yield what a parser makes of the response: the sync and the async driver."""

from __future__ import annotations

import asyncio
import os
import random
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from langchain_promptrun._http.attempt import CallState
from langchain_promptrun._http.clients import TransportSettings
from langchain_promptrun._http.decompression import ACCEPT_ENCODING
from langchain_promptrun._http.pools import get_pool, watch_generators
from langchain_promptrun._http.request import current_key, current_key_async
from langchain_promptrun._http.response import AsyncResponse, SyncResponse
from langchain_promptrun._http.timers import LARGE_BODY_BYTES, HeadTimeout, SlicedBody, until_deadline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence

    from langchain_promptrun._http.pools import Pool
    from langchain_promptrun._http.request import ParserFactory, Request

T = TypeVar("T")


class Transport:
    """Sends requests over shared connections, or over clients of the caller's.

    Safe to use from several threads and event loops. Nothing is opened before the first call.
    """

    def __init__(
        self,
        settings: TransportSettings | None = None,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        async_sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings or TransportSettings()
        self._http_client = http_client
        self._http_async_client = http_async_client
        self._clock = clock
        self._sleep = sleep
        self._async_sleep = async_sleep
        self._jitter = jitter
        self._pool: Pool | None = None

    def exchange(self, request: Request, new_parser: ParserFactory[T]) -> Generator[T]:
        """Send a request and yield the parser's items; raises the PromptrunError of the last attempt.

        Failed attempts are repeated as long as no item was handed out. Closing the generator closes the response.
        """
        call = CallState(request, new_parser, self._clock)
        while True:
            if (pacer := call.pacer(current_key(request.api_key))) is not None:
                ends_at = call.limit_of_wait(pacer)
                try:
                    pacer.wait(ends_at, is_retry=call.attempt > 0)
                except TimeoutError:
                    raise call.deadline_error("turn") from None
            last: Sequence[T] | None = None
            give = call.handing_out()
            with call, self._open(call) as response:
                parser = response.begin()
                if call.end_hold is not None:
                    call.end_hold()
                for data in response.body():
                    if items := call.feed(data):
                        call.delivered = True
                        yield from items if give is None else give(items)
                    if parser.finished:
                        break
                last = parser.close()
            if last is not None and call.error is None:
                # the connection is free by now, even if nobody takes these to the end
                yield from call.in_time(last)
                return
            self._sleep(call.end_attempt(self._jitter))

    def aexchange(self, request: Request, new_parser: ParserFactory[T]) -> AsyncGenerator[T]:
        """Async version of `exchange`. Cancelling the task ends the call at once, also while it waits for a retry."""
        watch_generators()
        call = CallState(request, new_parser, self._clock)
        items = self._attempts(call)
        return items if request.deadline is None else until_deadline(items, call)

    async def _attempts(self, call: CallState[T]) -> AsyncGenerator[T]:
        while True:
            if (pacer := call.pacer(await current_key_async(call.request.api_key))) is not None:
                ends_at = call.limit_of_wait(pacer)
                try:
                    await pacer.async_wait(ends_at, is_retry=call.attempt > 0)
                except TimeoutError:
                    raise call.deadline_error("turn") from None
            last: Sequence[T] | None = None
            give = call.handing_out()
            with call:
                async with await self._open_async(call) as response:
                    parser = await response.begin()
                    if call.end_hold is not None:
                        call.end_hold()
                    watchdog = response.watchdog
                    async for data in response.body():
                        if items := call.feed(data):
                            call.delivered = True
                            watchdog.task = None
                            for item in items if give is None else give(items):
                                yield item
                            watchdog.task = asyncio.current_task()
                        if parser.finished:
                            break
                        watchdog.beats += 1
                    last = parser.close()
            if last is not None and call.error is None:
                for item in call.in_time(last):
                    yield item
                return
            await self._async_sleep(call.end_attempt(self._jitter))

    def close(self) -> None:
        """Give up the shared connections, which close with their last holder. The next call takes hold again."""
        self._pool = None

    async def aclose(self) -> None:
        """Async version of `close`; waits until the running loop's connections are closed, if this was the last."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        own = pool.loop_client(asyncio.get_running_loop())
        watched = weakref.ref(pool)
        del pool
        if own is not None and watched() is None:
            await own.guard.aclose()

    def _hold(self) -> Pool:
        """Return the shared pool; a child process must not use its parent's."""
        pool = self._pool
        if pool is None or pool.pid != os.getpid():
            pool = self._pool = get_pool(self._settings)
        return pool

    def _open(self, call: CallState[T]) -> SyncResponse[T]:
        timeouts = call.timeout_extension()
        client = self._http_client
        if client is not None:
            request = client.build_request(**_parts(call, timeouts))
            return SyncResponse(call, client.send(request, stream=True, follow_redirects=False), client, timeouts)
        pool = self._hold()
        shared = pool.client()
        transport = shared.transport_for(call.target.url)
        call.proxy = shared.proxies.get(transport)
        response = transport.handle_request(httpx.Request(**_parts(call, timeouts)))
        return SyncResponse(call, response, pool, timeouts)

    async def _open_async(self, call: CallState[T]) -> AsyncResponse[T]:
        parts = _parts(call, call.timeout_extension())
        body = call.request.body
        is_large = body is not None and len(body) > LARGE_BODY_BYTES
        head = HeadTimeout(call.timeouts(), is_large=is_large)
        if body is not None and is_large:
            parts["headers"]["Content-Length"] = str(len(body))
            parts["content"] = SlicedBody(body, head)
        client = self._http_async_client
        if client is not None:
            response = await client.send(client.build_request(**parts), stream=True, follow_redirects=False)
            return AsyncResponse(call, response, client)
        pool = self._hold()
        loop = asyncio.get_running_loop()
        own = pool.loop_client(loop) or await pool.open_loop_client(loop)
        transport = own.client.transport_for(call.target.url)
        call.proxy = own.client.proxies.get(transport)
        return AsyncResponse(call, await head.send(transport, httpx.Request(**parts)), pool)


def _parts(call: CallState[Any], timeouts: dict[str, float | None]) -> dict[str, Any]:
    """Return what httpx builds a request from."""
    request = call.request
    headers = dict(request.headers)
    if call.key is not None:
        headers["Authorization"] = f"Bearer {call.key.get_secret_value()}"
    if not any(name.lower() == "accept-encoding" for name in headers):
        headers["Accept-Encoding"] = ACCEPT_ENCODING
    return {
        "method": request.method,
        "url": call.target.url,
        "headers": headers,
        "content": request.body,
        "extensions": {"timeout": timeouts},
    }
