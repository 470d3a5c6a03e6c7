"""Changes that Promptrun pushes: one event stream for each prompt and process.

The public source of Promptrun's Node SDK: GET /prompt/stream, with the query of GET /prompt, sends unnamed server-sent
events, each a whole record; the SDK opens the stream again 5 s after an error.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import weakref
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from langchain_promptrun.errors import PromptrunConnectionError, PromptrunError, PromptrunTimeoutError
from langchain_promptrun.prompts.record import NotAnEventStreamError

if TYPE_CHECKING:
    from langchain_promptrun.prompts.fetch import BackgroundLoop, Source
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
    """An event stream that is open while an object of this class is held. For the background thread only."""

    def __init__(self, background: BackgroundLoop, source: Source, *, falls_back: bool) -> None:
        self._background = background
        self._reader = _StreamReader(source.of(self), background.limits[source.request.url], falls_back=falls_back)
        self.subscribers = self._reader.subscribers
        background.start(self, self._reader.run())

    def subscribe(self, subscriber: Any) -> None:
        """Pass records on to a `Refresher`, and the current one at once where it is known."""
        self.subscribers.add(subscriber)
        if self._reader.record is not None:
            subscriber.receive(self._reader.record)


class _StreamReader:
    """Reads a stream, again and again; it does not know who holds the stream."""

    def __init__(self, source: Source, limit: asyncio.Semaphore, *, falls_back: bool) -> None:
        self.subscribers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.record: PromptRecord | None = None
        request = source.request
        connect, read, _, _ = request.timeouts
        # an idle connection may be half-open, too
        self._opens_within = None if connect is None or read is None else connect + read
        self._source = source
        headers = {**request.headers, "accept": "text/event-stream"}
        timeouts = request.timeouts._replace(read=STALL_LIMIT)
        request = replace(request, url=f"{request.url}/stream", headers=headers, timeouts=timeouts, max_retries=0)
        self._events = replace(source, request=request)
        self._limit = limit
        self._falls_back = falls_back
        self._jitter = random.random
        self._failures = 0
        self._opened_at = math.inf
        self._arrived = 0
        self.is_current = False

    async def run(self) -> None:
        """Keep the stream open, with pauses after failures."""
        while True:
            self._failures += 1
            self._opened_at = math.inf
            (error,) = await asyncio.gather(self._read(), return_exceptions=True)
            if asyncio.get_running_loop().time() - self._opened_at >= _GOOD_LIFE:
                self._failures = 0
            self._lose((error or _SHORT) if self._failures >= _PATIENT_FAILURES else None)
            status = getattr(error, "status_code", None)
            if self._falls_back and (isinstance(error, NotAnEventStreamError) or status in _NO_SUCH_ROUTE):
                logger.info("%s: the server pushes no changes; polling.", self._source.label)
                return
            await asyncio.sleep(pause(self._failures, error, self._jitter()))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        catching_up: list[asyncio.Task[None]] = []

        def opened() -> None:
            opening.reschedule(None)
            self._opened_at = loop.time()
            catching_up.append(loop.create_task(self._catch_up()))

        try:
            async with asyncio.timeout(self._opens_within) as opening, aclosing(self._events.stream(opened)) as records:
                async for record in records:
                    self._failures = 0
                    self._publish(record)
        finally:
            for task in catching_up:
                task.cancel()

    async def _catch_up(self) -> None:
        """Fetch what changed before the stream was open, unless the stream tells."""
        failures, arrived = 0, self._arrived
        while self._arrived == arrived:
            async with self._limit:
                (outcome,) = await asyncio.gather(self._source.fetch(), return_exceptions=True)
            if isinstance(outcome, BaseException):
                failures += 1
                await asyncio.sleep(pause(failures, None, self._jitter()))
            elif self._arrived == arrived:
                self._publish(outcome)
        self.is_current = True

    def _publish(self, record: PromptRecord) -> None:
        self.record = record
        self._arrived += 1
        for subscriber in tuple(self.subscribers):
            subscriber.receive(record)

    def _lose(self, problem: BaseException | None) -> None:
        self.record, self.is_current = None, False
        for subscriber in tuple(self.subscribers):
            subscriber.lose(problem)


def pause(failures: int, error: BaseException | None, jitter: float) -> float:
    """Return the seconds until a stream is opened again."""
    if not failures and isinstance(error, PromptrunTimeoutError):
        return jitter  # a silent stream: the server is there
    grown = min(RECONNECT * 2.0 ** max(failures - 1, 0), LONGEST_RECONNECT) * (0.75 + jitter / 2)
    asked_for = error.retry_after if isinstance(error, PromptrunError) else None
    return max(grown, min(asked_for or 0.0, LONGEST_RECONNECT))
