"""Limit the phases of an async call by the event loop's timers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from langchain_promptrun._http.connection_pool import on_connected
from langchain_promptrun._http.private_api import watch_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from langchain_promptrun._http.private_api import ErrorWatch

_LARGE_BODY_BYTES = 48 << 10  # aiohttp takes less than 64 KiB at once
_SLICE_BYTES = 256 << 10


class Sender(httpx.AsyncByteStream):
    """Sends a request, and limits the time until its response begins by what the call waits for.

    Neither client limits a head that drips, and aiohttp does not limit sending. Connecting has limits of its own. As a
    stream it is a large body in slices: sent at once, that would hold the event loop up.
    """

    def __init__(self, timeouts: Mapping[str, float | None], body: bytes | None) -> None:
        self.is_large = body is not None and len(body) > _LARGE_BODY_BYTES
        self._body = body or b""
        self._timeouts = timeouts
        self._is_sent = False
        self._loop = asyncio.get_running_loop()
        self._limit: asyncio.Timeout | None = None
        self._watch: ErrorWatch | None = None

    async def send(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
        """Send a request; raises httpx.WriteTimeout or httpx.ReadTimeout where time runs out."""
        on_connected.set(self._connected)
        try:
            async with asyncio.timeout(None) as limit:
                self._limit = limit
                return await transport.handle_async_request(request)
        except TimeoutError as error:
            # another's, such as a signal handler's, passes as it is
            kind = httpx.ReadTimeout if self._is_sent else httpx.WriteTimeout
            failure: Exception = kind("time ran out") if limit.expired() else error
        finally:
            self._limit = None
        raise failure

    def _connected(self, stream: object) -> None:
        if self.is_large:
            self._watch = watch_errors(stream)
        else:
            self._sent()  # a small body is taken at once

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _SLICE_BYTES):
            self._restart("write")
            yield self._body[start : start + _SLICE_BYTES]
        self._sent()

    def _sent(self) -> None:
        self._is_sent = True
        if self._watch is not None:
            self._watch.stop()
        self._restart("read")

    def _restart(self, phase: str) -> None:
        # the server may answer while the body goes out
        if self._limit is not None:
            seconds = self._timeouts.get(phase)
            self._limit.reschedule(None if seconds is None else self._loop.time() + seconds)


class StallWatchdog:
    """Cancels the wait for a response's next bytes when none came for too long.

    One timer of the event loop for each stream, and no task. It looks at steps of the shortest limit, so the wait
    ends between once and twice the limit. While the consumer has control nothing is measured. A cancellation by
    another during the wait goes first. `task` is the one that waits, and `beats` grows as each wait begins.
    """

    def __init__(self, read_timeout: Callable[[], float | None]) -> None:
        self._read_timeout = read_timeout
        self.task: asyncio.Task[Any] | None = None
        self.beats = 0
        self._beats_before = 0
        self._quiet = 0.0
        self._cancelled_before = 0
        self._cancelled: asyncio.Task[Any] | None = None
        self._handle: asyncio.TimerHandle | None = None

    def start(self, step: float | None) -> None:
        """Watch the running task's wait from now on, at steps; None for no watch."""
        if step is not None:
            self.task = asyncio.current_task()
            self._begin_wait(step)

    def _begin_wait(self, step: float) -> None:
        self._quiet = 0.0
        self._beats_before = self.beats
        self._cancelled_before = 0 if self.task is None else self.task.cancelling()
        self._handle = asyncio.get_running_loop().call_later(step, self._check, step)

    def _check(self, step: float) -> None:
        limit = self._read_timeout()
        self._quiet += step
        if self.task is None or self.beats != self._beats_before:
            self._begin_wait(step)
        elif limit is not None and self._quiet >= limit:
            self._cancelled = self.task
            self.task.cancel()
        else:
            self._handle = asyncio.get_running_loop().call_later(step, self._check, step)

    def has_fired(self) -> bool:
        """Tell whether a cancellation that arrived is this watchdog's alone."""
        return self._cancelled is not None and self._cancelled.uncancel() <= self._cancelled_before

    def stop(self) -> None:
        self.task = None
        if self._handle is not None:
            self._handle.cancel()
