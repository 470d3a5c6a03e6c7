"""Refreshing of managed prompts, on one background thread for all threads and event loops of a process."""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from langchain_promptrun.errors import PromptrunError
from langchain_promptrun.prompts.cache import may_pass
from langchain_promptrun.prompts.fetch import PROCESS
from langchain_promptrun.prompts.record import PromptChange, PromptRecord
from langchain_promptrun.prompts.template import find_odd_names

if TYPE_CHECKING:
    from langchain_promptrun.prompts.cache import Freshness
    from langchain_promptrun.prompts.fetch import BackgroundLoop, Source
    from langchain_promptrun.prompts.push import PromptStream
    from langchain_promptrun.prompts.record import RecordFile

OnChange = Callable[[PromptRecord, PromptRecord], object]

logger = logging.getLogger("langchain_promptrun")

_within: ContextVar[tuple[object, ...]] = ContextVar("promptrun_within", default=())
"""Requests that the code which runs here is a part of."""


class Refresher:
    """Keeps one record current: one request at a time for all callers, and none waits who can be served.

    The state changes on the background thread only, and a request holds the refresher weakly: it ends with the last
    prompt that uses the refresher.
    """

    def __init__(
        self,
        source: Source,
        freshness: Freshness,
        *,
        on_change: OnChange | None = None,
        file: RecordFile | None = None,
        fallback: PromptRecord | None = None,
        open_stream: Callable[[BackgroundLoop], PromptStream] | None = None,
    ) -> None:
        self.freshness = freshness
        self._source = source.of(self)
        self._on_change = on_change
        self._file = file
        self._fallback = fallback
        self._open_stream = open_stream
        self.reset()
        PROCESS.refreshers.add(self)

    def reset(self) -> None:
        """Forget what is under way; after a fork the thread is the parent's."""
        self._background: BackgroundLoop | None = None
        self._request: asyncio.Task[None] | None = None
        self._was_pushed = False
        self._stream: PromptStream | None = None
        self._writing = asyncio.Lock()
        self._changed: asyncio.Future[BaseException | None] | None = None
        self._untold: deque[PromptChange] = deque()
        self._is_telling = False
        self.freshness.is_pushed = False

    # On any thread.

    def get(self) -> PromptRecord:
        """Return the record; wait for it where there is none."""
        return self._serve() or cast("PromptRecord", self._hold().result(self._next))

    async def aget(self) -> PromptRecord:
        """Async version of `get`."""
        return self._serve() or cast("PromptRecord", await self._hold().aresult(self._next))

    def next(self, hold: Hold, seen: PromptRecord | None, interval: float) -> PromptRecord | None:
        """Wait for a record other than the one seen; None at the end of the hold, or of changes.

        Args:
            hold: What may end meanwhile.
            seen: The last record; None for the first.
            interval: Seconds between two requests.
        """
        return None if hold.is_over else self._hold().result(self._next, seen, interval, hold)

    async def anext(self, hold: Hold, seen: PromptRecord | None, interval: float) -> PromptRecord | None:
        """Async version of `next`."""
        return None if hold.is_over else await self._hold().aresult(self._next, seen, interval, hold)

    def close(self) -> None:
        """End what is under way, and release the connections; the next call begins again."""
        background, self._background = self._background, None
        if background is not None:
            background.loop.call_soon_threadsafe(self._stop, background)
        self._source.transport.close()

    def _hold(self) -> BackgroundLoop:
        self._background = background = self._background or PROCESS.loop()
        return background

    def _serve(self) -> PromptRecord | None:
        record = self.freshness.record
        is_due = self._request is None and self.freshness.due_in() <= 0
        is_cut_off = self._open_stream is not None and (self._stream is None or self._background is None)
        if record is None:
            if (refusal := self.freshness.refusal()) is not None:
                raise copy.copy(refusal)
        elif is_due or is_cut_off:
            with suppress(RuntimeError):  # too many threads run, or the interpreter ends
                background = self._hold()
                background.loop.call_soon_threadsafe(self._look, background, context=Context())
        return record

    # On the background thread, which is held by what is called there: else another one could begin meanwhile.

    async def _next(
        self,
        background: BackgroundLoop,
        seen: PromptRecord | None = None,
        interval: float | None = None,
        hold: Hold | None = None,
    ) -> PromptRecord | None:
        while hold is None or not hold.is_over:
            record = self.freshness.record
            if record is not None and (seen is None or record.differs(seen)):
                return record
            if record is not None and self.freshness.is_final:
                break
            request = self._look(background, interval)
            if self.freshness.record is not record:  # the stream knew it
                continue
            if request in _within.get():
                raise RuntimeError(
                    f"{self._source.label} is asked for within its own first request (by the function for its key, or "
                    "a hook of its client), which would wait for itself."
                )
            changed = self._changed = self._changed or asyncio.get_running_loop().create_future()
            await asyncio.wait([changed], timeout=self.freshness.due_in(interval) if request is None else None)
            error = changed.result() if changed.done() else None
            if error is not None and self.freshness.record is None:
                # one error is raised by all that waited for it
                raise copy.copy(error) if isinstance(error, PromptrunError) else error
        return None

    def _look(self, background: BackgroundLoop, interval: float | None = None) -> asyncio.Task[None] | None:
        """Return the request on its way, or begin one where the record is due."""
        self._background = background
        if self._open_stream and not self._stream:
            self._stream = self._open_stream(background)
            self._stream.subscribe(self)
        if self._request is None and (self.freshness.record is None or self.freshness.due_in(interval) <= 0):
            self._was_pushed = False
            limit = background.limits[self._source.request.url]
            self._request = background.start(self, _refresh(weakref.ref(self), self._source, limit))
        return self._request

    def _stop(self, _: BackgroundLoop) -> None:
        if self._stream is not None:
            self._stream.subscribers.discard(self)
        if self._request is not None:
            self._request.cancel()
        self._background = self._request = self._stream = None
        self._writing = asyncio.Lock()
        self.freshness.is_pushed = False
        self._wake()

    def _wake(self, error: BaseException | None = None) -> None:
        """Make all that wait look again."""
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set_result(error)

    async def take(self, outcome: PromptRecord | BaseException) -> None:
        """Take what a request brought."""
        stored = None if self._was_pushed else await self._use_file(outcome)
        self._request = None
        if not isinstance(outcome, PromptRecord):
            self.freshness.fail(outcome, stored or self._fallback)
            if (served := self.freshness.record) is not None:
                _warn_of_odd_names(self._source.label, served)
                what = "the fallback text" if served.is_fallback else f"version {served.version}"
                self._warn(f"could not be refreshed ({_describe(outcome)}); {what} is served.")
            self._wake(outcome)
        elif not self._was_pushed:  # what was pushed meanwhile is newer
            self._succeed(outcome)

    def receive(self, record: PromptRecord) -> None:
        """Take a record that the server pushed."""
        self._was_pushed = self.freshness.is_pushed = True
        self._succeed(record)
        self._hold().start(self, self._use_file(record))

    def lose(self, problem: BaseException | None) -> None:
        """Take note that the server pushes no longer."""
        self.freshness.is_pushed = False
        self._wake()
        if problem is not None:
            self._warn(f"changes are not pushed ({_describe(problem)}); polling.")

    def _succeed(self, record: PromptRecord) -> None:
        old = self.freshness.record
        self.freshness.succeed(record)
        _warn_of_odd_names(self._source.label, record)
        self._wake()
        if self._on_change is not None and old is not None and record.differs(old):
            self._untold.append(PromptChange(old, record))
            if not self._is_telling:
                self._is_telling = True
                background = self._hold()
                background.start(self, self._tell(background, self._on_change))

    async def _tell(self, _: BackgroundLoop, on_change: OnChange) -> None:
        """Call `on_change` in a thread, for one change after the other."""
        while self._untold:
            with suppress(RuntimeError):  # the interpreter ends, and starts no thread
                telling = asyncio.get_running_loop().run_in_executor(None, on_change, *self._untold.popleft())
                await asyncio.wait([telling])
                if (error := telling.exception()) is not None:
                    logger.error("`on_change` of %s failed", self._source.label, exc_info=error)
        self._is_telling = False

    async def _use_file(self, outcome: PromptRecord | BaseException) -> PromptRecord | None:
        """Write a record that came; read one where none came and none is known."""
        if self._file is None:
            return None
        try:
            if isinstance(outcome, PromptRecord):
                async with self._writing:  # the newest comes last
                    await asyncio.to_thread(self._file.write, outcome)
            elif self.freshness.record is None and may_pass(outcome):
                return await asyncio.to_thread(self._file.read)
        # ValueError: JSON cannot hold the record; RuntimeError: the interpreter ends, and starts no thread
        except (OSError, ValueError, RuntimeError) as error:
            self._warn(f"cannot be kept in `cache_dir`: {error}")
        return None

    def _warn(self, text: str) -> None:
        # at the end of the interpreter all requests fail
        if self.freshness.may_warn() and threading.main_thread().is_alive():
            logger.warning("%s %s", self._source.label, text)


async def _refresh(owner: weakref.ref[Refresher], source: Source, limit: asyncio.Semaphore) -> None:
    """Fetch the record for a refresher, which may be collected meanwhile."""
    _within.set((*_within.get(), asyncio.current_task()))
    async with limit:
        (outcome,) = await asyncio.gather(source.fetch(), return_exceptions=True)
    if isinstance(outcome, asyncio.CancelledError):
        outcome = RuntimeError(f"{source.label}: the request was cancelled by a key function or a hook.")
    if isinstance(outcome, PromptrunError):
        outcome = outcome.with_traceback(None)  # the frames of a request hold the key
    if (refresher := owner()) is not None:
        await refresher.take(outcome)


def _warn_of_odd_names(label: str, record: PromptRecord) -> None:
    for name in find_odd_names(record.prompt):
        _warn_once(label, record.version, name)


@cache
def _warn_once(label: str, version: int | str, name: str) -> None:
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
