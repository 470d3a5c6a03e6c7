"""Send a request of an async call, and end it where it waits too long for the server."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, Self

import httpx

from langchain_promptrun._http.connection_pool import on_connected
from langchain_promptrun._http.private_api import watch_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from langchain_promptrun._http.private_api import ErrorWatch

_LARGE_BODY_BYTES = 48 << 10  # aiohttp takes less than 64 KiB at once
_SLICE_BYTES = 256 << 10


class Watchdog:
    """Cancels a wait for the server that takes too long: to send, for a response, or for its next bytes.

    One timer of the event loop for each attempt, and no task. It looks at steps of the shortest limit, so a wait ends
    between once and twice its limit. While the consumer has control nothing is measured. A cancellation by another
    during the wait goes first. `task` is the one that waits, and `beats` grows as each wait begins.
    """

    def __init__(self, left: Callable[[str, float], float], step: float | None) -> None:
        self._left = left
        self._step = step
        self._phase = ""
        self.task: asyncio.Task[Any] | None = None
        self.beats = 0
        self._beats_before = 0
        self._quiet = 0.0
        self._cancelled_before = 0
        self._cancelled: asyncio.Task[Any] | None = None
        self._handle: asyncio.TimerHandle | None = None

    def begin(self, phase: str) -> None:
        """Begin a wait, the first one by the running task."""
        self._phase = phase
        self.beats += 1
        if self._handle is None and self._step is not None:
            self.task = asyncio.current_task()
            self._look(0.0, self._step)

    def _look(self, passed: float, step: float) -> None:
        self._quiet += passed
        if self.task is None or self.beats != self._beats_before:
            self._quiet, self._beats_before = 0.0, self.beats
            self._cancelled_before = 0 if self.task is None else self.task.cancelling()
            left = self._left(self._phase, 0.0)
        elif (left := self._left(self._phase, self._quiet)) <= 0:
            self._cancelled = self.task
            self.task.cancel()
            return
        pause = min(step, left) if left > 0 else step  # the consumer may have control after the deadline
        # asyncio keeps cancelled timers for a while, and the call's context would keep its request and response
        self._handle = asyncio.get_running_loop().call_later(pause, self._look, pause, step, context=Context())

    def stop(self) -> None:
        """Stop for good."""
        self.task = self._step = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> None:
        """Raise a time-out in place of a cancellation that is this watchdog's alone."""
        self.stop()
        is_ours = self._cancelled is not None and self._cancelled.uncancel() <= self._cancelled_before
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise (httpx.WriteTimeout if self._phase == "write" else httpx.ReadTimeout)("time ran out") from None


class Sender(httpx.AsyncByteStream):
    """Sends a request while a watchdog limits the time until its response begins.

    Neither client limits a head that drips, and aiohttp does not limit sending. Connecting has limits of its own. As a
    stream it is a large body in slices: sent at once, that would hold the event loop up.
    """

    def __init__(self, body: bytes | None) -> None:
        self.is_large = body is not None and len(body) > _LARGE_BODY_BYTES
        self._body = body or b""
        self._watchdog: Watchdog | None = None
        self._watch: ErrorWatch | None = None

    async def send(
        self, transport: httpx.AsyncBaseTransport, request: httpx.Request, watchdog: Watchdog
    ) -> httpx.Response:
        on_connected.set(self._connected)
        self._watchdog = watchdog
        try:
            return await transport.handle_async_request(request)
        finally:
            # the server may answer while the body goes out, and the context of a connection that is kept holds this
            self._watchdog = None

    def _connected(self, stream: object) -> None:
        self._begin("write" if self.is_large else "read")  # a small body is taken at once
        if self.is_large:
            self._watch = watch_errors(stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _SLICE_BYTES):
            self._begin("write")
            yield self._body[start : start + _SLICE_BYTES]
        if self._watch is not None:
            self._watch.stop()
        self._begin("read")

    def _begin(self, phase: str) -> None:
        if self._watchdog is not None:
            self._watchdog.begin(phase)
