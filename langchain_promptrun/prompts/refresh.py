"""The cache of managed prompts: when a record is stale, who fetches it, and who is told of changes.

The waits after failures are those of Promptrun's Node SDK: a 429 doubles the wait, up to 16 times; from the third
failure in a row on, other errors stretch it by half, up to 4 times; 5 minutes is the longest.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from langchain_promptrun import errors
from langchain_promptrun.errors import PromptrunError
from langchain_promptrun.prompts.fetch import PROCESS
from langchain_promptrun.prompts.record import PromptChange, PromptRecord, stored_record, write_record
from langchain_promptrun.prompts.template import find_odd_names

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_promptrun.prompts.fetch import BackgroundLoop, PromptStream, Source

OnChange = Callable[[PromptRecord, PromptRecord], object]

SHORTEST_POLL = 5.0  # seconds, as in Promptrun's Node SDK

_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_LONGEST_WAIT, _SHORTEST_WAIT = 300.0, 1.0
_DEFAULT_REFRESH = _SECONDS_BETWEEN_WARNINGS = 60.0
_PATIENT_FAILURES = 3
_MOST_ENTRIES = 1024
_PASSING = (
    *(errors.PromptrunConnectionError, errors.PromptrunTimeoutError),
    *(errors.PromptrunRateLimitError, errors.PromptrunAPIError),
    *(ConnectionError, TimeoutError),  # what a key function may raise
)

logger = logging.getLogger("langchain_promptrun")


def clock() -> float:
    """Return seconds that go on while the machine sleeps; `time.monotonic` stops then on Linux and macOS."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def may_pass(error: BaseException) -> bool:
    """Return whether the server or the network is at fault, and not project, tag or key."""
    return isinstance(error, _PASSING)


@dataclass(slots=True)
class Freshness:
    """State of one cached record; `refresh` is None for a version that never changes."""

    refresh: float | None
    record: PromptRecord | None = None
    is_pushed: bool = False
    _is_good: bool = False
    _asked: float = -math.inf
    _limit: BaseException | None = None
    _asked_for: float | None = None
    _failures: int = 0
    _multiplier: float = 1.0

    @property
    def is_final(self) -> bool:
        return self.refresh is None and self._is_good

    def due_in(self, interval: float | None = None) -> float:
        """Return the seconds until the next request; `interval` takes the place of `refresh`."""
        if self.is_final or (self.is_pushed and self._is_good):
            return math.inf
        wait = self.refresh if interval is None else interval
        if self._failures:
            wait = _DEFAULT_REFRESH if wait is None else wait
            wait = max(wait if self._is_good else min(wait, SHORTEST_POLL), _SHORTEST_WAIT) * self._multiplier
            if self.record is None and self._limit is not None and self._asked_for is not None:
                # while nothing can be served, a rate limit holds no longer than it says itself
                wait = _SHORTEST_WAIT
            wait = min(max(wait, self._asked_for or 0.0), _LONGEST_WAIT)
        return self._asked + (wait or 0.0) - clock()

    def refusal(self) -> BaseException | None:
        """Return the error of a rate limit that still holds."""
        return self._limit if self.due_in() > 0 else None

    def succeed(self, record: PromptRecord) -> None:
        self.record, self._is_good, self._asked = record, True, clock()
        self._limit, self._asked_for, self._failures, self._multiplier = None, None, 0, 1.0

    def fail(self, error: BaseException, substitute: PromptRecord | None = None) -> None:
        """Take an error; one that may pass puts the substitute in the place of a record that was never there."""
        self._asked = clock()
        self._asked_for = error.retry_after if isinstance(error, PromptrunError) else None
        is_limit = getattr(error, "status_code", None) == HTTPStatus.TOO_MANY_REQUESTS
        self._limit = error if is_limit else None
        self._failures += 1
        if is_limit:
            self._multiplier = min(self._multiplier * 2, 16)
        elif self._failures >= _PATIENT_FAILURES:
            self._multiplier = max(self._multiplier, min(self._multiplier * 1.5, 4))
        if may_pass(error):
            self.record = self.record or substitute


class IdentityKey(tuple[object, ...]):
    """Values of the fields that decide how a record is asked for; some of them may have no hash."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash(tuple(part for part in self if isinstance(part, str | int | float)))


class PromptCache:
    """What was fetched, shared by a prompt and its copies. All caches are equal.

    The oldest entries make room for new ones; a prompt that holds such an entry goes on with it.
    """

    def __init__(self) -> None:
        # without a lock, which a fork could leave locked: each change is one step
        self.entries: dict[IdentityKey, Refresher] = {}

    def find_or_make(self, key: IdentityKey, make: Callable[[], Refresher]) -> Refresher:
        if (found := self.entries.get(key)) is None:
            found = self.entries.setdefault(key, make())
            for oldest in tuple(self.entries)[:-_MOST_ENTRIES]:
                self.entries.pop(oldest, None)
        return found

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptCache)

    def __hash__(self) -> int:
        return hash(PromptCache)


@dataclass(eq=False)
class Refresher:
    """Keeps one record current: one request at a time for all callers, and none waits who can be served.

    The state changes on the background thread only, and a request holds the refresher weakly: it ends with the last
    prompt that uses the refresher.
    """

    source: Source
    refresh: float | None
    on_change: OnChange | None = None
    path: Path | None = None
    fallback: PromptRecord | None = None
    open_stream: Callable[[BackgroundLoop], PromptStream] | None = None

    def __post_init__(self) -> None:
        self.source = self.source.of(self)
        self.freshness = Freshness(self.refresh)
        self._telling: asyncio.Task[None] | None = None
        self._warned = -math.inf
        self.reset()
        PROCESS.refreshers.add(self)

    def reset(self) -> None:
        """Forget what is under way; after a fork the thread is the parent's."""
        self._background: BackgroundLoop | None = None
        self._request: asyncio.Task[None] | None = None
        self._stream: PromptStream | None = None
        self._changed: asyncio.Future[BaseException | None] | None = None
        self._writing = asyncio.Lock()
        self.freshness.is_pushed = False

    # On any thread.

    def hold(self) -> BackgroundLoop:
        self._background = background = self._background or PROCESS.loop()
        return background

    def serve(self) -> PromptRecord | None:
        record = self.freshness.record
        if record is None:
            if (refusal := self.freshness.refusal()) is not None:
                raise copy.copy(refusal)
            return None
        is_due = self._request is None and self.freshness.due_in() <= 0
        is_cut_off = self.open_stream is not None and (self._stream is None or self._background is None)
        if is_due or is_cut_off:
            with suppress(RuntimeError):  # too many threads run, or the interpreter ends
                background = self.hold()
                background.loop.call_soon_threadsafe(self._look, background, context=Context())
        return record

    def close(self) -> None:
        """End what is under way, and release the connections; the next call begins again."""
        background, self._background = self._background, None
        if background is not None:
            background.loop.call_soon_threadsafe(self._stop, background)
        self.source.transport.close()

    # On the background thread, which is held by what is called there: else another one could begin meanwhile.

    async def next(
        self,
        background: BackgroundLoop,
        seen: PromptRecord | None = None,
        interval: float | None = None,
        hold: Hold | None = None,
    ) -> PromptRecord | None:
        """Wait for a record other than the one seen; None at the end of the hold, or of changes."""
        while hold is None or not hold.is_over:
            record = self.freshness.record
            if record is not None and (seen is None or record.differs(seen)):
                return record
            if record is not None and self.freshness.is_final:
                break
            request = self._look(background, interval)
            if self.freshness.record is not record:  # the stream knew it
                continue
            changed = self._changed = self._changed or asyncio.get_running_loop().create_future()
            await asyncio.wait([changed], timeout=self.freshness.due_in(interval) if request is None else None)
            error = changed.result() if changed.done() else None
            if error is not None and self.freshness.record is None:  # each caller that waited raises it
                raise copy.copy(error) if isinstance(error, PromptrunError) else error
        return None

    def _look(self, background: BackgroundLoop, interval: float | None = None) -> asyncio.Task[None] | None:
        """Return the request on its way, or begin one where the record is due."""
        self._background = background
        if self.open_stream and not self._stream:
            self._stream = self.open_stream(background)
            self._stream.reader.subscribers.add(self)
            if self._stream.reader.record is not None:
                self.receive(self._stream.reader.record)
        record = self.freshness.record
        if self._request is None and (record is None or self.freshness.due_in(interval) <= 0):
            limit = background.limits[self.source.request.url]
            self._request = background.start(self, _refresh(weakref.ref(self), self.source, limit, record))
        return self._request

    def _stop(self, _: BackgroundLoop) -> None:
        if self._stream is not None:
            self._stream.reader.subscribers.discard(self)
        if self._request is not None:
            self._request.cancel()
        self._wake()
        self.reset()

    def _wake(self, error: BaseException | None = None) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set_result(error)

    async def take(self, outcome: PromptRecord | BaseException, known: PromptRecord | None) -> None:
        """Take what a request brought; what was pushed since it began is newer."""
        stored = await self._use_file(outcome) if self.freshness.record is known else None
        self._request = None
        if not isinstance(outcome, PromptRecord):
            self.freshness.fail(outcome, stored or self.fallback)
            if (served := self.freshness.record) is not None:
                _warn_of_odd_names(self.source.label, served.version, find_odd_names(served.prompt))
                what = "the fallback text" if served.is_fallback else f"version {served.version}"
                self._warn(f"could not be refreshed ({_describe(outcome)}); {what} is served.")
            self._wake(outcome)
        elif self.freshness.record is known:
            self._succeed(outcome)

    def receive(self, record: PromptRecord) -> None:
        self.freshness.is_pushed = True
        self._succeed(record)
        self.hold().start(self, self._use_file(record))

    def lose(self, problem: BaseException | None) -> None:
        self.freshness.is_pushed = False
        self._wake()
        if problem is not None:
            self._warn(f"changes are not pushed ({_describe(problem)}); polling.")

    def _succeed(self, record: PromptRecord) -> None:
        old = self.freshness.record
        self.freshness.succeed(record)
        _warn_of_odd_names(self.source.label, record.version, find_odd_names(record.prompt))
        self._wake()
        if self.on_change is not None and old is not None and record.differs(old):
            background = self.hold()
            telling = self._tell(background, self.on_change, PromptChange(old, record), after=self._telling)
            self._telling = background.start(self, telling)

    async def _tell(
        self, background: BackgroundLoop, on_change: OnChange, change: PromptChange, after: asyncio.Task[None] | None
    ) -> None:
        """Call `on_change` in a thread, for one change after the other."""
        if after is not None and after.get_loop() is background.loop:
            await asyncio.wait([after])
        with suppress(RuntimeError):  # the interpreter ends, and starts no thread
            telling = background.loop.run_in_executor(None, on_change, *change)
            await asyncio.wait([telling])
            if (error := telling.exception()) is not None:
                logger.error("`on_change` of %s failed", self.source.label, exc_info=error)

    async def _use_file(self, outcome: PromptRecord | BaseException) -> PromptRecord | None:
        """Write a record that came; read one where none came and none is known."""
        if self.path is None:
            return None
        try:
            if isinstance(outcome, PromptRecord):
                async with self._writing:  # the newest comes last
                    await asyncio.to_thread(write_record, self.path, outcome)
            elif self.freshness.record is None and may_pass(outcome):
                return await asyncio.to_thread(stored_record, self.path)
        # ValueError: JSON cannot hold the record; RuntimeError: the interpreter ends, and starts no thread
        except (OSError, ValueError, RuntimeError) as error:
            self._warn(f"cannot be kept in `cache_dir`: {error}")
        return None

    def _warn(self, text: str) -> None:
        now = clock()
        # at the end of the interpreter all requests fail
        if now - self._warned >= _SECONDS_BETWEEN_WARNINGS and threading.main_thread().is_alive():
            self._warned = now
            logger.warning("%s %s", self.source.label, text)


async def _refresh(
    owner: weakref.ref[Refresher], source: Source, limit: asyncio.Semaphore, known: PromptRecord | None
) -> None:
    """Fetch the record for a refresher, which may be collected meanwhile."""
    outcome = await source.fetch(limit)
    if (refresher := owner()) is not None:
        await refresher.take(outcome, known)


@cache
def _warn_of_odd_names(label: str, version: int | str, names: tuple[str, ...]) -> None:
    for name in names:
        logger.warning("%s, version %s: `{{%s}}` is not a name.", label, version, name)


def _describe(error: BaseException) -> str:
    status = getattr(error, "status_code", None)
    return type(error).__name__ if status is None else f"{type(error).__name__}, status {status}"


@dataclass(eq=False, slots=True)
class Hold:
    """One prompt's hold on a refresher, until the prompt is closed."""

    refresher: Refresher
    is_over: bool = False

    def end(self) -> None:
        """End the prompt's watching, and the requests of the prompt and its copies."""
        self.is_over = True
        self.refresher.close()
