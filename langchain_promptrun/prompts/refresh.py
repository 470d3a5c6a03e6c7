"""Refreshing of managed prompts, on one background thread for all threads and event loops of a process."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import threading
import weakref
from collections import defaultdict, deque
from concurrent.futures import Future
from contextlib import closing, suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun.errors import PromptrunError
from langchain_promptrun.prompts.cache import may_pass
from langchain_promptrun.prompts.fetch import PROCESS, Caught
from langchain_promptrun.prompts.record import PromptChange
from langchain_promptrun.prompts.template import find_odd_names

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from langchain_promptrun._http.transport import Transport
    from langchain_promptrun.prompts.cache import Freshness
    from langchain_promptrun.prompts.fetch import BackgroundLoop, Callbacks, PromptSource
    from langchain_promptrun.prompts.push import PromptStream
    from langchain_promptrun.prompts.record import PromptRecord
    from langchain_promptrun.prompts.storage import RecordFile

logger = logging.getLogger("langchain_promptrun")


class Outcome(NamedTuple):
    """What a request brought: a record, or an error and perhaps a record on disk."""

    record: PromptRecord | None = None
    error: BaseException | None = None
    stored: PromptRecord | None = None


Pending = Future["BaseException | None"]
"""A request on its way, which ends with its error, or None."""
_NOTHING_PENDING: Pending = Future()
_NOTHING_PENDING.set_result(None)

_fetching: ContextVar[tuple[Pending, ...]] = ContextVar("promptrun_fetching", default=())
"""Requests that the code which runs here is a part of."""


class Refresher:
    """Keeps one record current: one request at a time for all callers, and none waits who can be served."""

    def __init__(
        self,
        source: PromptSource,
        freshness: Freshness,
        callbacks: Callbacks,
        *,
        file: RecordFile | None = None,
        fallback: PromptRecord | None = None,
        open_stream: Callable[[BackgroundLoop], PromptStream] | None = None,
    ) -> None:
        self.freshness = freshness
        self._open_stream = open_stream
        self._source = source
        self._callbacks = weakref.ref(callbacks)
        self._file = file
        self._fallback = fallback
        self.reset()
        PROCESS.refreshers.add(self)

    def reset(self) -> None:
        """Forget what is on its way; after a fork the threads are the parent's."""
        # a lock that the same thread may take again: what is collected may end here at any time
        self._lock = threading.RLock()
        self._pending: Pending | None = None
        self._running: set[Future[Any]] = set()
        self._wakers: set[Callable[[], object]] = set()
        self._untold: deque[PromptChange] = deque()
        self._is_telling = False
        self._background: BackgroundLoop | None = None
        self._stream: PromptStream | None = None
        self._received = 0
        self.freshness.is_pushed = False

    # Serving.

    def get(self) -> PromptRecord:
        """Return the record; wait for it where there is none."""
        record = self._serve()
        while record is None:
            pending = self.request() or _NOTHING_PENDING
            self._check_not_within(pending)
            pending.result()
            record = self.served(pending)
        return record

    async def aget(self) -> PromptRecord:
        """Async version of `get`."""
        record = self._serve()
        while record is None:
            pending = self.request() or _NOTHING_PENDING
            self._check_not_within(pending, waits=True)
            await _finished(pending)
            record = self.served(pending)
        return record

    def _serve(self) -> PromptRecord | None:
        self._subscribe()
        record = self.freshness.record
        if record is None:
            with self._lock:
                refusal = self.freshness.refusal()
            if refusal is not None:
                raise copy.copy(refusal)
        elif self.freshness.due_in() <= 0:
            self.request(context=Context())
        return record

    def served(self, pending: Pending | None) -> PromptRecord | None:
        """Return the record; raise what the request ended with, where there is none."""
        record = self.freshness.record
        error = pending.result() if pending is not None and pending.done() else None
        if record is None and error is not None:
            # one error is raised by all that waited for it
            raise copy.copy(error) if isinstance(error, PromptrunError) else error
        return record

    def _check_not_within(self, pending: Pending, *, waits: bool = False) -> None:
        if pending in _fetching.get():
            raise RuntimeError(
                f"{self._source.label} is asked for within its own first request (by the function for its key, or a "
                "hook of its client), which would wait for itself."
            )
        background = self._background
        if not waits and background is not None and background.is_running_here():
            raise RuntimeError(
                f"{self._source.label} is asked for on the event loop that fetches prompts, which would wait for "
                "itself. Use `apull` there."
            )

    # Requests.

    def request(
        self, *, context: Context | None = None, interval: float | None = None, hold: Hold | None = None
    ) -> Pending | None:
        """Return the request on its way, or begin one where the record is due."""
        with self._lock:
            is_fresh = self.freshness.record is not None and self.freshness.due_in(interval) > 0
            if is_fresh or (hold is not None and hold.is_over):
                return None
            if (pending := self._pending) is None:
                self._pending = pending = Future()
                self._begin(pending, copy_context() if context is None else context)
            return pending

    def _begin(self, pending: Pending, context: Context) -> None:
        try:
            background = self._hold_background()
        except RuntimeError as error:  # there are too many threads, or the interpreter is ending
            self._land(pending, Outcome(error=error))
            return
        running = context.run(background.start, self._fetch(pending, background.limits))
        self._received = 0
        self._running.add(running)
        running.add_done_callback(partial(self._finish, pending))

    def _hold_background(self) -> BackgroundLoop:
        self._background = self._background or PROCESS.loop()
        return self._background

    async def _fetch(self, pending: Pending, limits: defaultdict[str, asyncio.Semaphore]) -> Outcome:
        _fetching.set((*_fetching.get(), pending))
        record = None
        # also what would end the thread of all prompts: SystemExit of a key function
        with (caught := Caught(BaseException)):
            async with limits[self._source.address]:
                record = await self._source.fetch()
        outcome = Outcome(record, caught.error)
        if self._file is not None:
            with suppress(RuntimeError):  # the interpreter is ending and starts no thread
                return await asyncio.to_thread(self._use_file, self._file, outcome)
        return outcome

    def _use_file(self, file: RecordFile, outcome: Outcome) -> Outcome:
        """Write a good record; read one where none came and none is known."""
        try:
            if outcome.record is not None:
                file.write(outcome.record)
            elif self.freshness.record is None and may_pass(outcome.error):
                return outcome._replace(stored=file.read())
        except (OSError, ValueError) as error:  # ValueError: the record holds what JSON cannot
            if self.freshness.may_warn():
                logger.warning("%s cannot be kept in `cache_dir`: %s", self._source.label, error)
        return outcome

    def _finish(self, pending: Pending, running: Future[Outcome]) -> None:
        is_stopped = running not in self._running
        self._running.discard(running)
        if not running.cancelled():
            self._land(pending, running.result())
        elif is_stopped:
            self._land(pending, Outcome())
        else:
            error = RuntimeError(f"{self._source.label}: the request was cancelled by a key function or a hook.")
            self._land(pending, Outcome(error=error))

    def _land(self, pending: Pending, outcome: Outcome) -> None:
        warns = False
        with self._lock:
            self._pending = None
            if outcome.record is not None and not self._received:  # what was pushed meanwhile is newer
                self._succeed(outcome.record)
            elif outcome.error is not None:
                warns = self.freshness.fail(outcome.error, outcome.stored or self._fallback)
        if warns and threading.main_thread().is_alive():  # at the end of the interpreter all requests fail
            self._warn(outcome.error)
        self._report_odd_names()
        pending.set_result(outcome.error)
        self.wake()
        self._tell()

    def _succeed(self, record: PromptRecord) -> None:
        change = self.freshness.succeed(record)
        if change is not None:
            self._untold.append(change)

    def _report_odd_names(self) -> None:
        """Warn of text between double braces that is not a name, once a version and process."""
        if (record := self.freshness.record) is None:
            return
        for name in find_odd_names(record.prompt):
            if PROCESS.is_new((self._source.label, record.version, name)):
                logger.warning("%s, version %s: `{{%s}}` is not a name.", self._source.label, record.version, name)

    def _warn(self, error: BaseException | None) -> None:
        record = self.freshness.record
        what = "the fallback text" if record is None or record.is_fallback else f"version {record.version}"
        logger.warning("%s could not be refreshed (%s); %s is served.", self._source.label, _describe(error), what)

    def stop(self) -> None:
        """End the requests on their way, also for good: the next call begins again."""
        with self._lock:
            running, self._running = self._running, set()
            stream, self._stream = self._stream, None
            self._background = None
            self.freshness.is_pushed = False
        if stream is not None:
            stream.unsubscribe(self)
        for future in running:
            future.cancel()
        self.wake()

    # Pushed changes.

    def _subscribe(self) -> None:
        if self._open_stream is None or self._stream is not None:
            return
        with self._lock, suppress(RuntimeError):  # a thread that cannot start is the error of the first request
            self._stream = self._stream or self._open_stream(self._hold_background())
            self._stream.subscribe(self)

    def receive(self, record: PromptRecord) -> None:
        """Take a record that the server pushed."""
        with self._lock:
            background = self._background
            if self._stream is None or background is None:
                return
            self._received += 1
            self.freshness.is_pushed = True
            self._succeed(record)
        self._report_odd_names()
        self.wake()
        self._tell()
        if self._file is not None:
            with suppress(RuntimeError):  # the interpreter is ending and starts no thread
                background.threads.submit(self._use_file, self._file, Outcome(record))

    def lose(self, problem: BaseException | None) -> None:
        """Take note that the server pushes no longer."""
        self.freshness.is_pushed = False
        self.wake()
        if problem is not None and self.freshness.may_warn():
            logger.warning("%s: changes are not pushed (%s); polling.", self._source.label, _describe(problem))

    # Changes.

    def _tell(self) -> None:
        """Call `on_change` in a thread, for one change after the other."""
        with self._lock:
            background = self._background
            if not self._untold or self._is_telling or background is None:
                return
            self._is_telling = True
        with suppress(RuntimeError):  # the interpreter is ending and starts no thread
            background.threads.submit(self._tell_all)

    def _tell_all(self) -> None:
        while True:
            with self._lock:
                if not self._untold:
                    self._is_telling = False
                    return
                change = self._untold.popleft()
            callbacks = self._callbacks()
            on_change = None if callbacks is None else callbacks.on_change
            del callbacks
            if on_change is not None:
                try:
                    on_change(*change)
                except Exception:
                    logger.exception("`on_change` of %s failed", self._source.label)
            del on_change

    def watch(self, interval: float, hold: Hold) -> Generator[PromptChange]:
        """Yield changes as they come, fetching the record every so many seconds, until the hold is over."""
        event = threading.Event()
        with closing(self._steps(interval, hold, event.set)) as steps:
            for step in steps:
                if isinstance(step, PromptChange):
                    yield step
                else:
                    event.wait(step)
                    event.clear()

    async def awatch(self, interval: float, hold: Hold) -> AsyncGenerator[PromptChange]:
        """Async version of `watch`."""
        event = asyncio.Event()
        with closing(self._steps(interval, hold, _setter(event))) as steps:
            for step in steps:
                if isinstance(step, PromptChange):
                    yield step
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(step):
                            await event.wait()
                    event.clear()

    def _steps(self, interval: float, hold: Hold, wake: Callable[[], object]) -> Generator[PromptChange | float | None]:
        """Yield changes, and between them the seconds to wait; None where only `wake` ends the wait."""
        self._subscribe()
        self._wakers.add(wake)
        seen: PromptRecord | None = None
        pending: Pending | None = None
        try:
            while not hold.is_over:
                record = self.served(pending)
                if seen is not None and record is not None and record.differs(seen):
                    yield PromptChange(seen, record)
                seen = record
                if seen is not None and self.freshness.is_final:
                    return
                pending = self.request(interval=interval, hold=hold)
                seconds = math.inf if pending is not None else self.freshness.due_in(interval)
                yield None if seconds == math.inf else max(seconds, 0.0)
        finally:
            self._wakers.discard(wake)

    def wake(self) -> None:
        """Make all that watch look again."""
        for wake in tuple(self._wakers):
            wake()


def _describe(error: BaseException | None) -> str:
    status = getattr(error, "status_code", None)
    return type(error).__name__ if status is None else f"{type(error).__name__}, status {status}"


class Entry:
    """Refresher, transport and callbacks of prompts that ask in the same way; the last of them ends the requests."""

    __slots__ = ("__weakref__", "_callbacks", "refresher", "transport")

    def __init__(self, refresher: Refresher, transport: Transport, callbacks: Callbacks) -> None:
        self.refresher = refresher
        self.transport = transport
        self._callbacks = callbacks
        # weakly, as the refresher may lead to the prompt through a client of the caller's
        weakref.finalize(self, _stop, weakref.ref(refresher)).atexit = False


def _stop(refresher: weakref.ref[Refresher]) -> None:
    if (found := refresher()) is not None:
        found.stop()


class Hold:
    """One prompt's hold on an entry, until the prompt is closed."""

    __slots__ = ("entry", "is_over")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.is_over = False

    def end(self) -> None:
        """End the prompt's watching, and the requests of the prompt and its copies."""
        self.is_over = True
        self.entry.refresher.stop()


def _setter(event: asyncio.Event) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def set_event() -> None:
        with suppress(RuntimeError):  # the loop is closed, and the task with it
            loop.call_soon_threadsafe(event.set)

    return set_event


async def _finished(pending: Pending) -> None:
    """Wait in a task; one that gives up leaves the request to the others."""
    event = asyncio.Event()
    set_event = _setter(event)
    pending.add_done_callback(lambda _: set_event())
    await event.wait()
