"""Send requests, as often as allowed: a sync and an async driver, and the state of a call that both share."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import sys
import threading
import time
import traceback
import weakref
from contextlib import aclosing, closing, suppress
from functools import partial
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import httpx

from langchain_promptrun._errors.mapping import error_from_status, is_retried, request_id
from langchain_promptrun._http import exceptions, pools
from langchain_promptrun._http.decoding import ACCEPT_ENCODING, decoded, decoded_async, is_text, new_decoder
from langchain_promptrun._http.private_api import limit_reads
from langchain_promptrun._http.request import current_key, current_key_async, target_of
from langchain_promptrun._http.watchdog import Sender, Watchdog
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
        Iterator,
        Mapping,
        Sequence,
    )
    from types import TracebackType

    from pydantic import SecretStr

    from langchain_promptrun._http.decoding import Decoder
    from langchain_promptrun._http.request import Parser, ParserFactory, Request
    from langchain_promptrun._pace import HoldName, Pacer

T = TypeVar("T")
Passed = TypeVar("Passed")

logger = logging.getLogger("langchain_promptrun")

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
_DOUBLINGS = 4  # 0.5 s doubled four times is the longest pause
_TOLERANCE = 0.005  # seconds by which a time-out may come before the deadline that it was made of
_SHORTEST_TIMEOUT = 0.001
LAST_CHUNK_SECONDS = 0.05  # to wait for a body's end after its last item, so that its connection can be used again
_ERROR_BODY_BYTES = 64 << 10  # what is read of an error's body at most
ERROR_BODY_SECONDS = 5.0
_SUCCESS = range(200, 300)
_UNSHOWN_HEADERS = frozenset({b"set-cookie", b"content-encoding", b"content-length", b"transfer-encoding"})
_CLIENT_PACKAGES = ("httpcore", "httpx", "langchain_promptrun._http.connection_pool")
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
                parser = response.begin()
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
            with call, Watchdog(call.left, call.shortest_limit()) as watchdog:
                async with await self._open_async(call, watchdog) as response:
                    parser = await response.begin()
                    async for data in response.body():
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
        own = pool.clients.of(asyncio.get_running_loop())
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

    def _open(self, call: CallState[T]) -> _SyncResponse[T]:
        parts = call.request_parts()
        if (client := self._http_client) is not None:
            response = client.send(client.build_request(**parts), stream=True, follow_redirects=False)
            return _SyncResponse(response, client, call)
        pool = self._shared_pool()
        transport, call.proxy = pool.clients.sync().route(call.url)
        return _SyncResponse(transport.handle_request(_new_request(**parts)), pool, call)

    async def _open_async(self, call: CallState[T], watchdog: Watchdog) -> _AsyncResponse[T]:
        parts = call.request_parts()
        sender = Sender(call.request.body)
        if sender.is_large:
            parts["content"] = sender
        if (client := self._http_async_client) is not None:
            response = await client.send(client.build_request(**parts), stream=True, follow_redirects=False)
            return _AsyncResponse(response, client, call, watchdog)
        pool = self._shared_pool()
        loop = asyncio.get_running_loop()
        own = pool.clients.of(loop) or await pool.clients.open(loop)
        transport, call.proxy = own.client.route(call.url)
        return _AsyncResponse(await sender.send(transport, _new_request(**parts), watchdog), pool, call, watchdog)


def _new_request(*, url: httpx.URL, headers: dict[str, str], content: Any, **parts: Any) -> httpx.Request:
    """Make a request as httpx does, which would read the headers twice to find what is missing."""
    if "host" not in map(str.lower, headers):
        headers = {"Host": url.netloc.decode("ascii")} | headers
    stream = content if isinstance(content, Sender) else httpx.ByteStream(content or b"")
    return httpx.Request(url=url, headers=headers, stream=stream, **parts)


class _Response(Generic[T]):
    """The response of a call: its body, within the time-outs and decoded, and its end."""

    def __init__(self, response: httpx.Response, holder: object, call: CallState[T]) -> None:
        self._response = response
        self._holder = holder
        self._call = call
        self._headers = dict(response.headers.items())
        self._decoder: Decoder | None = None

    def _begin(self) -> Parser[T] | None:
        """Return the parser of a success."""
        if self._response.status_code not in _SUCCESS:
            return None
        # a hook of the caller's client may have read, and so decompressed, the body
        self._decoder = new_decoder(self._headers, is_compressed=not self._response.is_stream_consumed)
        return self._call.begin_response(self._response.status_code, self._headers)

    def _stream(self) -> Any:
        response = self._response
        return httpx.ByteStream(response.content) if response.is_stream_consumed else response.stream

    def _status_error(self, begun: bytearray) -> PromptrunError:
        """Return the error of a status, with a response that holds nothing of the request."""
        response, status = self._response, self._response.status_code
        if status < HTTPStatus.OK:
            return exceptions.connection_error(exceptions.NOT_HTTP, f"the status {status}, which was not asked for")
        data, body = bytes(begun[:_ERROR_BODY_BYTES]), b""
        with suppress(PromptrunError):
            # proxies send plain text whatever encoding the header names
            is_plain = response.is_stream_consumed or is_text(data)
            decoder = new_decoder(self._headers, is_compressed=not is_plain)
            body = data if decoder is None else next(decoder.decode(data), b"")
            body += b"" if decoder is None else decoder.close()
        body = body[:_ERROR_BODY_BYTES]
        error = error_from_status(status, self._headers, body, model=self._call.request.model)
        shown = [pair for pair in response.headers.raw if pair[0].lower() not in _UNSHOWN_HEADERS]
        error.response = httpx.Response(status, headers=shown, content=body)
        return error


class _SyncResponse(_Response[T]):
    """The response of a sync call.

    The socket's own time-out is the only timer. Where the response's network stream, an extension of httpx's, does not
    allow a limit for each read, the shortest limit counts throughout.
    """

    _raw: Iterator[bytes]

    def __init__(self, response: httpx.Response, holder: object, call: CallState[T]) -> None:
        super().__init__(response, holder, call)
        self._deadline: float | None = None
        self._unlimit: Callable[[], None] | None = None
        # HTTP/2's is shared by all requests on the connection
        if response.extensions.get("http_version") != b"HTTP/2":
            self._unlimit = limit_reads(response.extensions.get("network_stream"), self)

    def read_limit(self) -> float | None:
        left = None if self._deadline is None else max(self._deadline - time.monotonic(), _SHORTEST_TIMEOUT)
        return _least(self._call.read_timeout(), left)

    def begin(self) -> Parser[T]:
        if (parser := self._begin()) is not None:
            return parser
        body = bytearray()
        self._deadline = time.monotonic() + ERROR_BODY_SECONDS
        try:
            for data in self.body(ERROR_BODY_SECONDS):
                body += data
                if len(body) >= _ERROR_BODY_BYTES or time.monotonic() >= self._deadline:
                    break
        except exceptions.client_exceptions() as error:
            self._call.suppress(error)
        raise self._status_error(body)

    def body(self, read_timeout: float | None) -> Iterator[bytes]:
        self._raw = _open_bodies[id(self)] = iter(self._stream())
        self._call.sent_timeouts["read"] = read_timeout
        return self._raw if self._decoder is None else decoded(self._raw, self._decoder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the response. Its connection is kept when the body is complete, or nearly so, and dropped otherwise."""
        if kind is GeneratorExit and _inside_client():
            # a garbage collection in the middle of the client, whose lock this thread may hold
            threading.Thread(target=self._close, daemon=True).start()
        else:
            self._close()

    def _close(self) -> None:
        try:
            with closing(self._response):
                try:
                    if self._call.is_over() and self._unlimit is not None:
                        self._deadline = time.monotonic() + LAST_CHUNK_SECONDS
                        for _ in self._raw:
                            if time.monotonic() >= self._deadline:
                                break
                finally:
                    if self._unlimit is not None:
                        self._unlimit()
        except exceptions.client_exceptions() as error:
            self._call.suppress(error)
        finally:
            self._holder = None
            _open_bodies.pop(id(self), None)


_open_bodies: dict[int, Iterator[bytes]] = {}
"""Keeps bodies from the garbage collector, which would close them by itself, wherever it runs."""


def _inside_client() -> bool:
    frames = (frame for frame, _ in traceback.walk_stack(inspect.currentframe()))
    return any(str(frame.f_globals.get("__name__")).startswith(_CLIENT_PACKAGES) for frame in frames)


class _AsyncResponse(_Response[T]):
    _raw: AsyncIterator[bytes]

    def __init__(self, response: httpx.Response, holder: object, call: CallState[T], watchdog: Watchdog) -> None:
        super().__init__(response, holder, call)
        self._watchdog = watchdog

    async def begin(self) -> Parser[T]:
        if (parser := self._begin()) is not None:
            self._watchdog.begin("read")
            return parser
        self._watchdog.stop()
        body = bytearray()
        deadline = time.monotonic() + ERROR_BODY_SECONDS
        try:
            async with asyncio.timeout(ERROR_BODY_SECONDS):
                async for data in self.body():
                    body += data
                    # what has come already is read without giving way, and no timer counts
                    if len(body) >= _ERROR_BODY_BYTES or time.monotonic() >= deadline:
                        break
        except exceptions.client_exceptions() as error:
            self._call.suppress(error)
        raise self._status_error(body)

    def body(self) -> AsyncIterator[bytes]:
        self._raw = aiter(self._stream())
        return self._raw if self._decoder is None else decoded_async(self._raw, self._decoder)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_details: object) -> None:
        """Async version of `_SyncResponse.__exit__`."""
        self._holder = None
        self._watchdog.stop()
        try:
            try:
                if self._call.is_over():
                    async with asyncio.timeout(LAST_CHUNK_SECONDS):
                        async for _ in self._raw:
                            pass
            finally:
                await self._response.aclose()
        except exceptions.client_exceptions() as error:
            self._call.suppress(error)


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
        self._before: BaseException | None = None
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

    def request_parts(self) -> dict[str, Any]:
        """Return what httpx builds a request from."""
        headers = dict(self.request.headers)
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        if "accept-encoding" not in map(str.lower, headers):
            headers["Accept-Encoding"] = ACCEPT_ENCODING
        method, body = self.request.method, self.request.body
        if body is not None:
            headers["Content-Length"] = str(len(body))
        # httpcore waits for the headers, and aiohttp for every byte, as long as for reading
        timeouts = self.request.timeouts._asdict() | {"read": self.read_timeout()}
        self.sent_timeouts = timeouts if self.ends_at == inf else ShrinkingTimeouts(timeouts, self.within_deadline)
        extensions = {"timeout": self.sent_timeouts}
        return {"method": method, "url": self.url, "headers": headers, "content": body, "extensions": extensions}

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
                raise exceptions.stalled(limit) if limit == self._stall else exceptions.timed_out("read", limit)
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
        return timeout if self.ends_at == inf else _least(timeout, max(self.time_left(), _SHORTEST_TIMEOUT))

    def read_timeout(self) -> float | None:
        """Return the seconds without a byte that end the attempt now; None for no limit."""
        return self.within_deadline(_least(self.request.timeouts.read, self._limit))

    def shortest_read_timeout(self) -> float | None:
        return _least(self.request.timeouts.read, self._stall)

    def left(self, phase: str, quiet: float) -> float:
        """Return the seconds that sending (`write`) or reading has left, after so many without progress."""
        timeouts = self.request.timeouts
        limit = timeouts.write if phase == "write" else _least(timeouts.read, self._limit)
        return min(inf if limit is None else limit - quiet, self.time_left())

    def shortest_limit(self) -> float | None:
        request = self.request  # which may be answered by a stream that was not asked for
        stream_or_read = _least(request.stream_chunk_timeout, request.timeouts.read)
        return _least(_least(stream_or_read, request.timeouts.write), request.deadline)

    def deadline_error(self, phase: str) -> PromptrunTimeoutError:
        doing = "reading the response" if phase == "read" and self._parser is not None else _DOING[phase]
        self._late_error = PromptrunTimeoutError(
            f"The call did not end within its deadline of {self.request.deadline:g} s. It was {doing}, in attempt "
            f"{self.attempt + 1} of {self.request.max_retries + 1}. Increase `deadline` if it needs longer.",
            phase=phase,
            partial=None if self._parser is None else self._parser.partial or None,
        )
        return self._late_error

    def is_over(self) -> bool:
        """Return whether the response is whole."""
        return self._parser is not None and self._parser.finished

    def suppress(self, error: Exception) -> None:
        """Suppress an exception of the connection, but for one of a signal handler."""
        if exceptions.raised_by_signal_handler(error, self._before) is not None:
            raise error

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
        self.sent_timeouts = {}  # they refer to this
        if error is None or isinstance(error, PromptrunError):
            self.error = error and self._completed(error)
            return error is not None
        is_clients = isinstance(error, exceptions.client_exceptions())
        self.error = exceptions.raised_by_signal_handler(error, self._before) if is_clients else None
        if is_clients and self.error is None:
            timeouts, stall = self.request.timeouts, self._limit
            converted = exceptions.convert_exception(error, self._before, self._origin, timeouts, stall, self.proxy)
            self.error = self._completed(converted)
            return True
        # tools that show tracebacks would show the key and the prompt in the locals below
        for linked in exceptions.linked_exceptions(error, self._before):
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
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
