"""Send requests, as often as allowed, and yield what a parser makes of the response: the sync and the async driver."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from langchain_promptrun._http.async_response import (
    LARGE_BODY_BYTES,
    AsyncResponse,
    HeadTimeout,
    SlicedBody,
    until_deadline,
)
from langchain_promptrun._http.attempt import CallState, ShrinkingTimeouts
from langchain_promptrun._http.credentials import current_key, current_key_async
from langchain_promptrun._http.decompression import ACCEPT_ENCODING
from langchain_promptrun._http.pools import TransportSettings, get_pool, watch_generators
from langchain_promptrun._http.request import Parser, ParserFactory, Request, Timeouts, check_headers, target_of
from langchain_promptrun._http.response import AttemptGuard
from langchain_promptrun._http.sync_response import SyncResponse
from langchain_promptrun._pace.holds import do_nothing, ending_of, hold, hold_of, is_any_held
from langchain_promptrun.errors import PromptrunRateLimitError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence

    from pydantic import SecretStr

    from langchain_promptrun._http.pools import Pool
    from langchain_promptrun._http.request import Target
    from langchain_promptrun._pace.holds import HoldName, Pacer
    from langchain_promptrun._pace.pace import Pace

__all__ = [
    "Parser",
    "ParserFactory",
    "Request",
    "Timeouts",
    "Transport",
    "TransportSettings",
    "check_headers",
]

T = TypeVar("T")

logger = logging.getLogger("langchain_promptrun")


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
        target = target_of(request)
        call = CallState(request, new_parser, target.origin, self._clock)
        while True:
            key = current_key(request.api_key)
            pacer = _pacer_of(request, target, key)
            pace = None if pacer is None else _take_turn(call, pacer)
            last: Sequence[T] | None = None
            give = call.handing_out(pace)
            end_hold = _ending_of_hold(request, target, key)
            with AttemptGuard(call, pace), self._open(call, target, key) as response:
                parser = response.begin()
                end_hold()
                for data in response.body():
                    if items := call.feed(data):
                        call.delivered = True
                        yield from items if give is None else give(items)
                    if parser.finished:
                        break
                last = parser.close()
            if last is not None:
                # the connection is free by now, even if nobody takes these to the end
                yield from call.in_time(last)
                return
            self._sleep(self._pause(call, target, key))

    def aexchange(self, request: Request, new_parser: ParserFactory[T]) -> AsyncGenerator[T]:
        """Async version of `exchange`. Cancelling the task ends the call at once, also while it waits for a retry."""
        watch_generators()
        target = target_of(request)
        call = CallState(request, new_parser, target.origin, self._clock)
        items = self._attempts(call, target)
        return items if request.deadline is None else until_deadline(items, call)

    async def _attempts(self, call: CallState[T], target: Target) -> AsyncGenerator[T]:
        request = call.request
        while True:
            key = await current_key_async(request.api_key)
            pacer = _pacer_of(request, target, key)
            pace = None if pacer is None else await _take_turn_async(call, pacer)
            last: Sequence[T] | None = None
            give = call.handing_out(pace)
            end_hold = _ending_of_hold(request, target, key)
            with AttemptGuard(call, pace):
                async with await self._open_async(call, target, key) as response:
                    parser = await response.begin()
                    end_hold()
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
            if last is not None:
                for item in call.in_time(last):
                    yield item
                return
            await self._async_sleep(self._pause(call, target, key))

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

    def _open(self, call: CallState[T], target: Target, key: SecretStr | None) -> SyncResponse[T]:
        timeouts = _timeout_extension(call, _timeouts(call))
        client = self._http_client
        if client is not None:
            request = client.build_request(**_parts(call, target, key, timeouts))
            return SyncResponse(call, client.send(request, stream=True, follow_redirects=False), client, timeouts)
        pool = self._hold()
        shared = pool.client()
        transport = shared.transport_for(target.url)
        call.proxy = shared.proxies.get(transport)
        response = transport.handle_request(httpx.Request(**_parts(call, target, key, timeouts)))
        return SyncResponse(call, response, pool, timeouts)

    async def _open_async(self, call: CallState[T], target: Target, key: SecretStr | None) -> AsyncResponse[T]:
        timeouts = _timeouts(call)
        client = self._http_async_client
        if client is not None:
            request = client.build_request(**_async_parts(call, target, key, timeouts, None))
            response = await client.send(request, stream=True, follow_redirects=False)
            return AsyncResponse(call, response, client)
        pool = self._hold()
        loop = asyncio.get_running_loop()
        own = pool.loop_client(loop) or await pool.open_loop_client(loop)
        head = HeadTimeout(timeouts, is_large=_is_large(call.request.body))
        request = httpx.Request(**_async_parts(call, target, key, timeouts, head))
        transport = own.client.transport_for(target.url)
        call.proxy = own.client.proxies.get(transport)
        response = await head.send(transport, request)
        return AsyncResponse(call, response, pool)

    def _pause(self, call: CallState[Any], target: Target, key: SecretStr | None) -> float:
        """Return the seconds to wait before the next attempt; raises this one's error if it was the last."""
        error, delay = call.end_attempt(self._jitter)
        is_held = _hold(call.request, target, key, error.__cause__ or error)
        if delay is None:
            try:
                # the frames below hold the response
                raise error.with_traceback(None)
            finally:
                del error
        request = call.request
        logger.info(
            "Retrying %s %s in %.2f s (attempt %d of %d): %s",
            request.method,
            target.label,
            delay,
            call.attempt + 1,
            request.max_retries + 1,
            _reason(error),
        )
        # the hold makes it wait, in its turn
        return 0.0 if is_held else delay


def _pacer_of(request: Request, target: Target, key: SecretStr | None) -> Pacer | None:
    """Return what makes an attempt wait for its turn: the call's own limiter, else a hold."""
    if request.pacer is not None or not request.max_retries or not is_any_held():
        return request.pacer
    return hold_of(_hold_name(request, target, key))


def _ending_of_hold(request: Request, target: Target, key: SecretStr | None) -> Callable[[], None]:
    return ending_of(_hold_name(request, target, key)) if is_any_held() else do_nothing


def _hold(request: Request, target: Target, key: SecretStr | None, error: BaseException) -> bool:
    """Hold calls back after a refusal with a wait; return whether it was one."""
    if not isinstance(error, PromptrunRateLimitError) or not error.is_retryable or not error.retry_after:
        return False
    if request.model is None:
        return False
    hold(_hold_name(request, target, key), error.retry_after)
    return True


def _hold_name(request: Request, target: Target, key: SecretStr | None) -> HoldName:
    secret = None if key is None else key.get_secret_value()
    return target.origin, hash(secret), str(request.model)


def _take_turn(call: CallState[Any], pacer: Pacer) -> Pace:
    ends_at = call.limit_of_wait(pacer)
    try:
        pacer.wait(ends_at, is_retry=call.attempt > 0)
    except TimeoutError:
        raise call.deadline_error("turn") from None
    return pacer.pace


async def _take_turn_async(call: CallState[Any], pacer: Pacer) -> Pace:
    ends_at = call.limit_of_wait(pacer)
    try:
        await pacer.async_wait(ends_at, is_retry=call.attempt > 0)
    except TimeoutError:
        raise call.deadline_error("turn") from None
    return pacer.pace


def _timeout_extension(call: CallState[Any], timeouts: Timeouts) -> dict[str, float | None]:
    return timeouts._asdict() if call.request.deadline is None else ShrinkingTimeouts(call, timeouts)


def _timeouts(call: CallState[Any]) -> Timeouts:
    # httpcore waits for the headers, and aiohttp for every byte, as long as for reading
    return call.request.timeouts._replace(read=call.read_timeout())


def _parts(
    call: CallState[Any], target: Target, key: SecretStr | None, timeouts: dict[str, float | None]
) -> dict[str, Any]:
    """Return what httpx builds a request from."""
    request = call.request
    headers = dict(request.headers)
    if key is not None:
        headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    if not any(name.lower() == "accept-encoding" for name in headers):
        headers["Accept-Encoding"] = ACCEPT_ENCODING
    return {
        "method": request.method,
        "url": target.url,
        "headers": headers,
        "content": request.body,
        "extensions": {"timeout": timeouts},
    }


def _async_parts(
    call: CallState[Any], target: Target, key: SecretStr | None, timeouts: Timeouts, head: HeadTimeout | None
) -> dict[str, Any]:
    """Async version of `_parts`: a large body goes in slices."""
    parts = _parts(call, target, key, _timeout_extension(call, timeouts))
    body = call.request.body
    if body is not None and _is_large(body):
        parts["headers"]["Content-Length"] = str(len(body))
        parts["content"] = SlicedBody(body, head)
    return parts


def _is_large(body: bytes | None) -> bool:
    return body is not None and len(body) > LARGE_BODY_BYTES


def _reason(error: BaseException) -> str:
    """Return what a log may say of an error; the server's words may quote the request."""
    status = getattr(error, "status_code", None)
    return type(error).__name__ if status is None else f"{type(error).__name__} ({status})"
