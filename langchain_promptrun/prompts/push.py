"""Changes that Promptrun pushes: one event stream for each prompt and process.

The public source of Promptrun's Node SDK: GET /prompt/stream, with the query of GET /prompt, sends unnamed server-sent
events, each a whole record; the SDK opens the stream again 5 s after an error.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import random
import threading
import weakref
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from langchain_promptrun.errors import PromptrunConnectionError, PromptrunError, PromptrunTimeoutError
from langchain_promptrun.prompts.fetch import BackgroundLoop, Callbacks, Caught, PromptSource
from langchain_promptrun.prompts.record import NotAnEventStreamError

if TYPE_CHECKING:
    from langchain_promptrun._http.request import Request
    from langchain_promptrun.prompts.record import PromptRecord

RECONNECT = 5.0
"""Seconds until a stream that ended is opened again, as in Promptrun's Node SDK."""
LONGEST_RECONNECT = 300.0
STALL_LIMIT = 60.0
"""Seconds without a byte after which a stream is opened again; its connection may be half-open."""

_PATIENT_FAILURES = 3
_GOOD_LIFE = 5.0
"""Seconds for which a stream without a record must have been open to count as none that failed."""
_SHORT = PromptrunConnectionError("The server ends the stream at once.")
_NO_SUCH_ROUTE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})

logger = logging.getLogger("langchain_promptrun")


class PromptStream:
    """An event stream that is open while an object of this class is held."""

    def __init__(
        self,
        background: BackgroundLoop,
        source: PromptSource,
        request: Request,
        callbacks: Callbacks,
        *,
        falls_back: bool,
    ) -> None:
        limit = background.limits[source.address]
        self._reader = _StreamReader(source, request, limit, falls_back=falls_back)
        self._held = (background, callbacks)
        self.ending = weakref.finalize(self, background.start(self._reader.run()).cancel)
        self.ending.atexit = False

    def subscribe(self, subscriber: Any) -> None:
        """Pass records on to a `Refresher`, and the current one at once where it is known."""
        with self._reader.lock:
            self._reader.subscribers.add(subscriber)
            record = self._reader.record
        if record is not None:
            subscriber.receive(record)

    def unsubscribe(self, subscriber: Any) -> None:
        """Pass on no more records."""
        with self._reader.lock:
            self._reader.subscribers.discard(subscriber)


class _StreamReader:
    """Reads a stream, again and again; it does not know who holds the stream."""

    def __init__(self, source: PromptSource, request: Request, limit: asyncio.Semaphore, *, falls_back: bool) -> None:
        self.lock = threading.RLock()
        self.subscribers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.record: PromptRecord | None = None
        connect, read = request.timeouts.connect, request.timeouts.read
        # an idle connection may be half-open, too
        self._opens_within = None if connect is None or read is None else connect + read
        self._source = source
        self._request = dataclasses.replace(
            request, timeouts=request.timeouts._replace(read=STALL_LIMIT), max_retries=0
        )
        self._limit = limit
        self._falls_back = falls_back
        self._jitter = random.random
        self._failures = 0
        self._opened_at = math.inf
        self._arrived = 0
        self._catching_up: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Keep the stream open, with pauses after failures."""
        while True:
            error = await self._read()
            status = getattr(error, "status_code", None)
            if self._falls_back and (isinstance(error, NotAnEventStreamError) or status in _NO_SUCH_ROUTE):
                logger.info("%s: the server pushes no changes; polling.", self._source.label)
                return
            await asyncio.sleep(pause(self._failures, error, self._jitter()))

    async def _read(self) -> BaseException | None:
        self._failures += 1
        self._opened_at = math.inf
        caught = Caught()
        try:
            with caught:
                async with (
                    asyncio.timeout(self._opens_within) as opening,
                    aclosing(self._source.stream(self._request, partial(self._opened, opening))) as records,
                ):
                    async for record in records:
                        self._failures = 0
                        self._publish(record)
        finally:
            if asyncio.get_running_loop().time() - self._opened_at >= _GOOD_LIFE:
                self._failures = 0
            if self._catching_up is not None:
                self._catching_up.cancel()
            for subscriber in self._publish_to(None):
                subscriber.lose((caught.error or _SHORT) if self._failures >= _PATIENT_FAILURES else None)
        return caught.error

    def _opened(self, opening: asyncio.Timeout) -> None:
        opening.reschedule(None)
        self._opened_at = asyncio.get_running_loop().time()
        self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Fetch what changed before the stream was open, unless the stream tells."""
        failures, arrived = 0, self._arrived
        while self._arrived == arrived:
            with Caught():
                async with self._limit:
                    record = await self._source.fetch()
                if self._arrived == arrived:
                    self._publish(record)
                return
            failures += 1
            await asyncio.sleep(pause(failures, None, self._jitter()))

    def _publish(self, record: PromptRecord) -> None:
        self._arrived += 1
        for subscriber in self._publish_to(record):
            subscriber.receive(record)

    def _publish_to(self, record: PromptRecord | None) -> tuple[Any, ...]:
        with self.lock:
            self.record = record
            return tuple(self.subscribers)


def pause(failures: int, error: BaseException | None, jitter: float) -> float:
    """Return the seconds until a stream is opened again."""
    if not failures and isinstance(error, PromptrunTimeoutError):
        return jitter  # a silent stream: the server is there
    grown = min(RECONNECT * 2.0 ** max(failures - 1, 0), LONGEST_RECONNECT) * (0.75 + jitter / 2)
    asked_for = error.retry_after if isinstance(error, PromptrunError) else None
    return max(grown, min(asked_for or 0.0, LONGEST_RECONNECT))
