"""THE I/O: a request is sent, as often as allowed, and what a parser makes of the answer's bytes comes out.

Owns attempts, and the two drivers, sync and async, side by side. What to do is decided elsewhere: whether to try again
by `_retry`, what an error is by `errors` and `_faults`, what the bytes mean by the parser. Streamed and unstreamed
answers take the same way. It must not know LangChain.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from langchain_promptrun._http.async_response import AsyncAnswer
from langchain_promptrun._http.credentials import current_key, current_key_async
from langchain_promptrun._http.decompression import accept_encoding
from langchain_promptrun._http.pools import TransportSettings, hold_pool
from langchain_promptrun._http.reads import HeadLimit, watch_connection
from langchain_promptrun._http.request import Call, Parser, ParserFactory, Request, Timeouts, check_headers
from langchain_promptrun._http.retries import RetryPolicy, retry_delay
from langchain_promptrun._http.sync_response import Answer, Attempt
from langchain_promptrun._http.target import target_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence

    from pydantic import SecretStr

    from langchain_promptrun._http.pools import Pool
    from langchain_promptrun._http.target import Target
    from langchain_promptrun.errors import PromptrunError

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

_SLICE_BYTES = 256 << 10


class Transport:
    """Sends requests over shared connections, or over clients of the caller's.

    Safe to use from several threads and event loops. Nothing is opened before the first call.

    Args:
        settings: Equal settings share connections.
        http_client: The caller's client for sync calls, used as it is and never closed.
        http_async_client: The caller's client for async calls, likewise.
        clock: Seconds, never going back.
        sleep: Waits before a retry in sync calls.
        async_sleep: Waits before a retry in async calls.
        jitter: Gives a number from 0 to 1.
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
        """Send a request and yield what the parser makes of the answer.

        Failed attempts are repeated as the retry policy says, until the first item was handed out. Closing the
        generator closes the response.

        Args:
            request: What to send.
            new_parser: Makes a parser for each attempt's answer.

        Yields:
            The parser's items.

        Raises:
            PromptrunError: The last attempt's error.
            ValueError: The URL, or a variable of the environment, cannot be used.
            ImportError: A package that the environment calls for is missing.
        """
        target = target_of(request)
        call = Call(request, new_parser, target.origin, self._clock)
        while True:
            key = current_key(request.api_key)
            last: Sequence[T] | None = None
            with Attempt(call), self._open(call, target, key) as answer:
                parser = answer.begin()
                for data in answer.body():
                    if items := call.push(data):
                        call.delivered = True
                        yield from items
                    if parser.finished:
                        break
                last = parser.close()
            if last is not None:
                # the connection is free by now, even if nobody takes these to the end
                yield from last
                return
            self._sleep(self._pause(call, target))

    async def aexchange(self, request: Request, new_parser: ParserFactory[T]) -> AsyncGenerator[T]:
        """Do what `exchange` does, without blocking the event loop.

        Cancelling the task, also while it waits for a retry, ends the call at once and closes the response.

        Args:
            request: What to send.
            new_parser: Makes a parser for each attempt's answer.

        Yields:
            The parser's items.

        Raises:
            PromptrunError: The last attempt's error.
            ValueError: The URL, or a variable of the environment, cannot be used.
            ImportError: A package that the settings or the environment call for is missing.
        """
        target = target_of(request)
        call = Call(request, new_parser, target.origin, self._clock)
        while True:
            key = await current_key_async(request.api_key)
            last: Sequence[T] | None = None
            with Attempt(call):
                async with await self._open_async(call, target, key) as answer:
                    parser = await answer.begin()
                    silence = answer.silence
                    async for data in answer.body():
                        if items := call.push(data):
                            call.delivered = True
                            silence.task = None
                            for item in items:
                                yield item
                            silence.task = asyncio.current_task()
                        if parser.finished:
                            break
                        silence.beats += 1
                    last = parser.close()
            if last is not None:
                for item in last:
                    yield item
                return
            await self._async_sleep(self._pause(call, target))

    def close(self) -> None:
        """Let go of the shared connections; what nobody holds is closed. The next call takes hold again."""
        self._pool = None

    async def aclose(self) -> None:
        """Let go of the shared connections, and wait until the running loop's are closed if nobody else holds them."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        own = pool.loop_client(asyncio.get_running_loop())
        watch = weakref.ref(pool)
        del pool
        if own is not None and watch() is None:
            await own.guard.aclose()

    def _hold(self) -> Pool:
        """The shared pool. A child process must not use its parent's."""
        pool = self._pool
        if pool is None or pool.pid != os.getpid():
            pool = self._pool = hold_pool(self._settings)
        return pool

    def _open(self, call: Call[T], target: Target, key: SecretStr | None) -> Answer[T]:
        parts = _parts(call, target, key)
        limits = parts["extensions"]["timeout"]
        client = self._http_client
        if client is not None:
            response = client.send(client.build_request(**parts), stream=True, follow_redirects=False)
            return Answer(call, response, client, limits)
        pool = self._hold()
        transport = pool.client().transport_for(target.url)
        parts["extensions"]["trace"] = watch_connection
        with HeadLimit(call.request.timeouts.total()):
            response = transport.handle_request(httpx.Request(**parts))
        return Answer(call, response, pool, limits)

    async def _open_async(self, call: Call[T], target: Target, key: SecretStr | None) -> AsyncAnswer[T]:
        client = self._http_async_client
        if client is not None:
            request = client.build_request(**_async_parts(call, target, key))
            response = await client.send(request, stream=True, follow_redirects=False)
            return AsyncAnswer(call, response, client)
        pool = self._hold()
        loop = asyncio.get_running_loop()
        own = pool.loop_client(loop) or await pool.open_loop_client(loop)
        transport = own.client.transport_for(target.url)
        request = httpx.Request(**_async_parts(call, target, key))
        # aiohttp has no limit for sending
        async with asyncio.timeout(call.request.timeouts.total()):
            response = await transport.handle_async_request(request)
        return AsyncAnswer(call, response, pool)

    def _pause(self, call: Call[Any], target: Target) -> float:
        """Seconds to wait before the next attempt; raises the error of this one when there is none."""
        error = call.end_attempt()
        request = call.request
        policy = RetryPolicy(request.max_retries, request.max_retry_after)
        delay = None if call.delivered else retry_delay(error, call.attempt, policy, self._jitter)
        if delay is None:
            try:
                # the frames below hold the answer
                raise error.with_traceback(None)
            finally:
                del error
        call.attempt += 1
        logger.info(
            "Retrying %s %s in %.2f s (attempt %d of %d): %s",
            request.method,
            target.label,
            delay,
            call.attempt + 1,
            request.max_retries + 1,
            _reason(error),
        )
        return delay


def _parts(call: Call[Any], target: Target, key: SecretStr | None) -> dict[str, Any]:
    """What httpx builds a request from."""
    request = call.request
    headers = dict(request.headers)
    if key is not None:
        headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    if not any(name.lower() == "accept-encoding" for name in headers):
        headers["Accept-Encoding"] = accept_encoding()
    # httpcore waits for the headers, and aiohttp for every byte, as long as for reading
    timeout = request.timeouts.as_dict() | {"read": call.patience()}
    return {
        "method": request.method,
        "url": target.url,
        "headers": headers,
        "content": request.body,
        "extensions": {"timeout": timeout},
    }


def _async_parts(call: Call[Any], target: Target, key: SecretStr | None) -> dict[str, Any]:
    """Likewise, but a large body goes in slices: sent at once it would hold the event loop up."""
    parts = _parts(call, target, key)
    body = call.request.body
    if body is not None and len(body) > _SLICE_BYTES:
        parts["headers"]["Content-Length"] = str(len(body))
        parts["content"] = _Slices(body)
    return parts


class _Slices:
    """A body that is taken slice by slice."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _SLICE_BYTES):
            yield self._body[start : start + _SLICE_BYTES]


def _reason(error: PromptrunError) -> str:
    """What a log may say of an error; the server's words may quote the request."""
    return type(error).__name__ if error.status_code is None else f"{type(error).__name__} ({error.status_code})"
