"""Send requests, as often as allowed: a sync and an async driver, and the state of a call that both share."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
import traceback
import weakref
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx

from langchain_promptrun._errors.mapping import is_retried, request_id
from langchain_promptrun._http import pools
from langchain_promptrun._http.connection_pool import on_connected
from langchain_promptrun._http.exceptions import (
    client_exceptions,
    convert_exception,
    linked_exceptions,
    raised_by_signal_handler,
    stalled,
    timed_out,
)
from langchain_promptrun._http.private_api import watch_errors
from langchain_promptrun._http.request import current_key, current_key_async, target_of
from langchain_promptrun._http.response import ACCEPT_ENCODING, SHORTEST_TIMEOUT, AsyncResponse, SyncResponse
from langchain_promptrun._pace import held, hold, hold_of
from langchain_promptrun.errors import PromptrunError, PromptrunRateLimitError, PromptrunTimeoutError

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Generator,
        Iterable,
        Mapping,
        Sequence,
    )
    from types import TracebackType

    from pydantic import SecretStr

    from langchain_promptrun._http.private_api import ErrorWatch
    from langchain_promptrun._http.request import Parser, ParserFactory, Request
    from langchain_promptrun._pace import HoldName, Pacer

T = TypeVar("T")
Passed = TypeVar("Passed")

logger = logging.getLogger("langchain_promptrun")

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
_DOUBLINGS = 4  # 0.5 s doubled four times is the longest pause
_TOLERANCE = 0.005  # seconds by which a time-out may come before the deadline that it was made of
_LARGE_BODY_BYTES = 48 << 10  # aiohttp takes less than 64 KiB at once
_SLICE_BYTES = 256 << 10
_GRACE = 0.02  # seconds after the deadline in which time-outs of phases, which say more, go first
_DOING = {
    "connect": "connecting",
    "pool": "waiting for a connection of the pool",
    "write": "sending the request",
    "read": "waiting for the response",
    "retry": "going to wait for a retry",
    "turn": "waiting for its turn",
}


class Transport:
    """Sends requests, from any thread and event loop, over shared connections or over clients of the caller's."""

    def __init__(
        self,
        settings: pools.TransportSettings | None = None,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        async_sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings or pools.TransportSettings()
        self._http_client = http_client
        self._http_async_client = http_async_client
        self._sleep = sleep
        self._async_sleep = async_sleep
        self._jitter = jitter
        self._pool: pools.Pool | None = None

    def exchange(self, request: Request, new_parser: ParserFactory[T]) -> Generator[T]:
        """Send a request and yield the parser's items; raises the PromptrunError of the last attempt.

        Failed attempts are repeated as long as no item was handed out. Closing the generator closes the response.
        """
        call = CallState(request, new_parser)
        while True:
            if (pacer := call.pacer(current_key(request.api_key))) is not None:
                try:
                    pacer.attempts.wait(pacer.asking(is_retry=call.attempt > 0), call.ends_at)
                except TimeoutError:
                    raise call.deadline_error("turn") from None
            last: Sequence[T] = ()
            with call, self._open(call) as response:
                parser = response.begin(call.begin_response, call.request.model)
                for data in response.body(call.shortest_read_timeout()):
                    yield from call.feed(parser, data)
                    if parser.finished:
                        break
                last = parser.close()
            if (error := call.error) is None:
                # the connection is free by now, even if nobody takes these to the end
                yield from call.handed_out(last)
                return
            self._sleep(call.end_attempt(error, self._jitter))

    def aexchange(self, request: Request, new_parser: ParserFactory[T]) -> AsyncGenerator[T]:
        """Async version of `exchange`. Cancelling the task ends the call at once, also while it waits for a retry."""
        pools.watch_generators()
        call = CallState(request, new_parser)
        items = self._attempts(call)
        return items if request.deadline is None else _until_deadline(items, call)

    async def _attempts(self, call: CallState[T]) -> AsyncGenerator[T]:
        while True:
            if (pacer := call.pacer(await current_key_async(call.request.api_key))) is not None:
                try:
                    await pacer.attempts.async_wait(pacer.asking(is_retry=call.attempt > 0), call.ends_at)
                except TimeoutError:
                    raise call.deadline_error("turn") from None
            last: Sequence[T] = ()
            with call:
                async with await self._open_async(call) as response:
                    parser = await response.begin(call.begin_response, call.request.model)
                    watchdog = response.watchdog
                    async for data in response.body(call.shortest_read_timeout()):
                        if items := call.feed(parser, data):
                            watchdog.task = None
                            for item in items:
                                yield item
                            watchdog.task = asyncio.current_task()
                        if parser.finished:
                            break
                        watchdog.beats += 1
                    last = parser.close()
            if (error := call.error) is None:
                for item in call.handed_out(last):
                    yield item
                return
            await self._async_sleep(call.end_attempt(error, self._jitter))

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

    def _shared_pool(self) -> pools.Pool:
        """Return the shared pool; a child process must not use its parent's."""
        pool = self._pool
        if pool is None or pool.pid != os.getpid():
            pool = self._pool = pools.process.pool(self._settings)
        return pool

    def _open(self, call: CallState[Any]) -> SyncResponse:
        timeouts = call.timeouts()
        parts = call.request_parts(timeouts)
        if (client := self._http_client) is not None:
            response = client.send(client.build_request(**parts), stream=True, follow_redirects=False)
            return SyncResponse(response, client, call.read_timeout, timeouts)
        pool = self._shared_pool()
        transport, call.proxy = pool.client().route(call.url)
        response = transport.handle_request(httpx.Request(**parts))
        return SyncResponse(response, pool, call.read_timeout, timeouts)

    async def _open_async(self, call: CallState[Any]) -> AsyncResponse:
        timeouts = call.timeouts()
        parts = call.request_parts(timeouts)
        sender = Sender(timeouts, call.request.body)
        if sender.is_large:
            parts["headers"]["Content-Length"] = str(len(parts["content"]))
            parts["content"] = sender
        if (client := self._http_async_client) is not None:
            response = await client.send(client.build_request(**parts), stream=True, follow_redirects=False)
            return AsyncResponse(response, client, call.quiet_limit)
        pool = self._shared_pool()
        loop = asyncio.get_running_loop()
        own = pool.loop_client(loop) or await pool.open_loop_client(loop)
        transport, call.proxy = own.client.route(call.url)
        response = await sender.send(transport, httpx.Request(**parts))
        return AsyncResponse(response, pool, call.quiet_limit)


class Sender(httpx.AsyncByteStream):
    """Sends a request, and limits the time until its response begins by what the call waits for.

    Neither client limits a head that drips, and aiohttp does not limit sending. Connecting has limits of its own. As a
    stream it is a large body in slices: sent at once, that would hold the event loop up.
    """

    def __init__(self, timeouts: Mapping[str, float | None], body: bytes | None) -> None:
        self.is_large = body is not None and len(body) > _LARGE_BODY_BYTES
        self._body = body or b""
        self._timeouts = timeouts
        self._phase = "write"
        self._limit: asyncio.Timeout | None = None
        self._watch: ErrorWatch | None = None

    async def send(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
        """Send a request; raises httpx.WriteTimeout or httpx.ReadTimeout where time runs out."""
        on_connected.set(self._connected)
        try:
            async with asyncio.timeout(None) as self._limit:
                return await transport.handle_async_request(request)
        except TimeoutError:
            raise (httpx.ReadTimeout if self._phase == "read" else httpx.WriteTimeout)("time ran out") from None
        finally:
            self._limit = None

    def _connected(self, stream: object) -> None:
        if self.is_large:
            self._watch = watch_errors(stream)
        else:
            self._begin("read")  # a small body is taken at once

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _SLICE_BYTES):
            self._begin("write")
            yield self._body[start : start + _SLICE_BYTES]
        if self._watch is not None:
            self._watch.stop()
        self._begin("read")

    def _begin(self, phase: str) -> None:
        self._phase = phase
        # the server may answer while the body goes out
        if self._limit is not None:
            seconds = self._timeouts.get(phase)
            self._limit.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)


async def _until_deadline(items: AsyncGenerator[T], call: CallState[T]) -> AsyncGenerator[T]:
    async with aclosing(items):
        while True:
            try:
                async with asyncio.timeout(max(call.time_left(), 0.0) + _GRACE) as limit:
                    item = await anext(items)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not limit.expired():
                    raise
                raise call.deadline_error("read" if call.request.under_way else "turn") from None
            yield item


class CallState(Generic[T]):
    """The state of one call; nothing is retried once an item was `delivered`.

    As a context it is an attempt, and notes what that fails with. Outside of any `except` the error is raised again
    without a trace of the HTTP client's exception, which holds the request and the key. An exception that is not of
    the connection goes on, without the locals of the frames below.
    """

    def __init__(
        self, request: Request, new_parser: ParserFactory[T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.request = request
        self.attempt = 0
        self.delivered = False
        self.proxy: str | None = None
        self.ends_at = inf if request.deadline is None else clock() + request.deadline
        self._key: SecretStr | None = None
        self._pacer: Pacer | None = None
        self._new_parser = new_parser
        self._clock = clock
        self._late_error: PromptrunTimeoutError | None = None
        self._end_hold: Callable[[], None] | None = None
        self._reset()
        self.url, self._origin = target_of(request)

    def _reset(self) -> None:
        self.error: BaseException | None = None
        self._parser: Parser[T] | None = None
        self._headers: Mapping[str, str] = {}
        self._seen = 0
        self._quiet_since: float | None = None
        self._set_limits(stream=self.request.streamed)

    def _set_limits(self, *, stream: bool) -> None:
        request = self.request
        self._stall = request.stream_chunk_timeout if stream else None
        self._limit = self._stall
        if self._stall is not None and not request.stall_before_first:
            self._limit = request.timeouts.read

    def pacer(self, key: SecretStr | None) -> Pacer | None:
        """Return what makes the next attempt, with this key, wait for its turn: the call's own limiter, else a hold."""
        self._key = key
        pacer, longest = self.request.pacer, self.request.max_retry_after
        if pacer is None and held and self.request.max_retries:
            pacer = hold_of(self._hold_name())
        if pacer is None:
            return None
        if (left := pacer.hold_left()) > longest:
            instead = ", or set `max_retries=0` to send at once" if pacer.is_shared else ""
            raise PromptrunRateLimitError(
                "Nothing was sent: the server refused an earlier call of this process with status 429 and a wait. "
                f"{left:.1f} s are left, more than `max_retry_after` = {longest:g}. Increase it to wait{instead}.",
                retry_after=left,
            )
        if left >= self.time_left():
            raise self.deadline_error("turn")
        self._pacer = pacer
        return pacer

    def _hold_name(self) -> HoldName:
        secret = None if self._key is None else self._key.get_secret_value()
        return self._origin, hash(secret), str(self.request.model)

    def request_parts(self, timeouts: dict[str, float | None]) -> dict[str, Any]:
        """Return what httpx builds a request from."""
        headers = dict(self.request.headers)
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        if not any(name.lower() == "accept-encoding" for name in headers):
            headers["Accept-Encoding"] = ACCEPT_ENCODING
        return {
            "method": self.request.method,
            "url": self.url,
            "headers": headers,
            "content": self.request.body,
            "extensions": {"timeout": timeouts},
        }

    def begin_response(self, status: int, headers: Mapping[str, str]) -> Parser[T]:
        self._headers = headers
        self._parser = self._new_parser(status, headers)
        if "event-stream" in headers.get("content-type", ""):
            self._set_limits(stream=True)
        self._quiet_since = self._clock()
        if self._end_hold is not None:
            self._end_hold()
        return self._parser

    def feed(self, parser: Parser[T], data: bytes) -> Iterable[T]:
        """Feed the parser; raise at the deadline, and when bytes keep coming without content in them."""
        if self.ends_at != inf:
            self._in_time(data)
        items = parser.feed(data)
        if parser.content_seen != self._seen:
            self._seen = parser.content_seen
            self._quiet_since = None
            self._limit = self._stall
        elif (limit := self._limit) is not None:
            # the clock starts at the first bytes without content, so that it is not read while content comes
            now = self._clock()
            if self._quiet_since is None:
                self._quiet_since = now
            elif now - self._quiet_since >= limit:
                raise stalled(limit) if limit == self._stall else timed_out("read", limit)
        if items:
            self.delivered = True
        return items if self._pacer is None and self.ends_at == inf else self.handed_out(items)

    def handed_out(self, items: Sequence[T]) -> Iterable[T]:
        """Return items, which come one by one within the deadline, and as lent by a pace."""
        in_time = map(self._in_time, items)
        return in_time if self._pacer is None else self._pacer.lend(in_time)

    def _in_time(self, passed: Passed) -> Passed:
        if self.time_left() <= 0:
            raise self.deadline_error("read")
        return passed

    def time_left(self) -> float:
        return self.ends_at - self._clock()

    def within_deadline(self, timeout: float | None) -> float | None:
        return timeout if self.ends_at == inf else _least(timeout, max(self.time_left(), SHORTEST_TIMEOUT))

    def timeouts(self) -> dict[str, float | None]:
        # httpcore waits for the headers, and aiohttp for every byte, as long as for reading
        timeouts = self.request.timeouts._asdict() | {"read": self.read_timeout()}
        return timeouts if self.ends_at == inf else ShrinkingTimeouts(timeouts, self.within_deadline)

    def read_timeout(self) -> float | None:
        """Return the seconds without a byte that end the attempt now; None for no limit."""
        return self.within_deadline(self.quiet_limit())

    def quiet_limit(self) -> float | None:
        return _least(self.request.timeouts.read, self._limit)

    def shortest_read_timeout(self) -> float | None:
        return _least(self.request.timeouts.read, self._stall)

    def deadline_error(self, phase: str) -> PromptrunTimeoutError:
        doing = "reading the response" if phase == "read" and self._parser is not None else _DOING[phase]
        self._late_error = PromptrunTimeoutError(
            f"The call did not end within its deadline of {self.request.deadline:g} s. It was {doing}, in attempt "
            f"{self.attempt + 1} of {self.request.max_retries + 1}. Increase `deadline` if it needs longer.",
            phase=phase,
            partial=None if self._parser is None else self._parser.partial or None,
        )
        return self._late_error

    def __enter__(self) -> None:
        self._before = sys.exception()
        self.request.under_way = True
        # an answer ends only a hold that began before the request
        pacer = held.get(self._hold_name()) if held else None
        self._end_hold = None if pacer is None else partial(pacer.release, pacer.holds)
        self._began_at = 0.0 if self._pacer is None else self._pacer.clock()

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if self._pacer is not None:
            status, wait = getattr(error, "status_code", None), getattr(error, "retry_after", None)
            is_refused = status == HTTPStatus.TOO_MANY_REQUESTS and getattr(error, "is_retryable", True)
            self._pacer.end(self._began_at, refused=is_refused, wait=wait, headers=self._headers)
            self._pacer = None
        self.request.under_way = False
        if error is None or isinstance(error, PromptrunError):
            self.error = error and self._completed(error)
            return error is not None
        is_clients = isinstance(error, client_exceptions())
        self.error = raised_by_signal_handler(error, self._before) if is_clients else None
        if is_clients and self.error is None:
            timeouts, stall = self.request.timeouts, self._limit
            converted = convert_exception(error, self._before, self._origin, timeouts, stall, self.proxy)
            self.error = self._completed(converted)
            return True
        # tools that show tracebacks would show the key and the prompt in the locals below
        for linked in linked_exceptions(error, self._before):
            traceback.clear_frames(linked.__traceback__)
        self.request.under_way = not is_clients
        return is_clients

    def _completed(self, error: PromptrunError) -> PromptrunError:
        """Add what only the call knows."""
        if isinstance(error, PromptrunTimeoutError) and error.status_code is None and self.time_left() < _TOLERANCE:
            error = self._late_error or self.deadline_error(error.phase or "read")
        if error.request_id is None:
            error.request_id = request_id(self._headers)
        if error.partial is None and self._parser is not None:
            error.partial = self._parser.partial or None
        return error

    def end_attempt(self, error: BaseException, random: Callable[[], float]) -> float:
        """Forget the response; return the delay before the next attempt, or raise what this one ended with."""
        self._reset()
        request = self.request
        is_last = self.delivered or error is self._late_error
        delay = None if is_last else retry_delay(error, self.attempt, request, random)
        is_held = self._hold(error)
        if delay is not None and delay >= self.time_left():
            late = self.deadline_error("retry")
            late.__cause__ = error.with_traceback(None)
            error, delay = late, None
        if delay is None:
            try:
                # the frames below hold the response
                raise error.with_traceback(None)
            finally:
                del error
        self.attempt += 1
        # without the server's words, which may quote the request
        status = getattr(error, "status_code", None)
        name = type(error).__name__ if status is None else f"{type(error).__name__} ({status})"
        where, attempts = self._origin + self.url.path, (self.attempt + 1, request.max_retries + 1)
        logger.info("Retrying %s %s in %.2f s (attempt %d of %d): %s", request.method, where, delay, *attempts, name)
        # the hold makes it wait, in its turn
        return 0.0 if is_held else delay

    def _hold(self, error: BaseException) -> bool:
        """Hold calls back after a refusal with a wait; return whether it was one."""
        wait = error.retry_after if isinstance(error, PromptrunRateLimitError) and error.is_retryable else None
        if not wait or self.request.model is None:
            return False
        hold(self._hold_name(), wait)
        return True


def retry_delay(error: BaseException, attempt: int, request: Request, random: Callable[[], float]) -> float | None:
    """Return the seconds to wait before the next attempt; None to give up.

    A server's `Retry-After` is obeyed to the second. Without one the pause is random between 0 and 0.5 s, doubled
    with each attempt up to 8 s (exponential backoff with full jitter), so that many callers do not come back together.
    """
    if attempt >= request.max_retries or not isinstance(error, PromptrunError) or not is_retried(error):
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= request.max_retry_after else None
    longest: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, _DOUBLINGS))
    return random() * longest


class ShrinkingTimeouts(dict[str, float | None]):
    """Time-outs of a request; httpcore asks for each as its phase begins."""

    def __init__(self, timeouts: dict[str, float | None], limit: Callable[[float | None], float | None]) -> None:
        super().__init__(timeouts)
        self._limit = limit

    def get(self, phase: str, default: Any = None) -> Any:
        return self._limit(super().get(phase, default))


def _least(one: float | None, other: float | None) -> float | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)
