"""How managed prompts stay current: when a record is stale, the background thread that asks, who is told of changes.

The waits after failures are those of Promptrun's Node SDK: a 429 doubles the wait, up to 16 times; from the third
failure in a row on, other errors stretch it by half, up to 4 times; 5 minutes is the longest. By its public source
GET /prompt/stream, with the query of GET /prompt, sends unnamed server-sent events, each a whole record; the SDK opens
the stream again 5 s after an error.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import os
import random
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, aclosing, suppress
from contextvars import Context, ContextVar
from dataclasses import dataclass, replace
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from typing_extensions import override

from langchain_promptrun import errors
from langchain_promptrun._http.request import current_key_async
from langchain_promptrun.errors import PromptrunError
from langchain_promptrun.prompts.record import PromptRecord, RecordReader, find_odd_names, stored_record, write_record

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

    from langchain_promptrun._http.request import Request
    from langchain_promptrun._http.transport import Transport

T = TypeVar("T")
OnChange = Callable[[PromptRecord, PromptRecord], object]

SHORTEST_POLL = 5.0  # seconds, as in Promptrun's Node SDK
RECONNECT = 5.0  # seconds until a stream that ended is opened again
STALL_LIMIT = 60.0  # seconds without a byte, after which the connection of a stream may be half-open
_LONGEST_WAIT, _SHORTEST_WAIT = 300.0, 1.0
_DEFAULT_REFRESH = _SECONDS_BETWEEN_WARNINGS = 60.0
_PATIENT_FAILURES = 3
_GOOD_LIFE = 5.0  # seconds that a stream without a record must have been open to count as none that failed
_REQUESTS_AT_ONCE = 64  # for one address
_MOST_ENTRIES = 1024
_THREAD = "promptrun-prompt"
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_PASSING = (  # the server or the network is at fault, and not project, tag or key
    *(errors.PromptrunConnectionError, errors.PromptrunRateLimitError, errors.PromptrunAPIError),
    *(ConnectionError, TimeoutError),  # also what a key function may raise
)

_asks_for_its_key = ContextVar("asks_for_its_key", default=0)  # the id of a source, which contexts must not keep
_jitter = random.random
logger = logging.getLogger("langchain_promptrun")


def clock() -> float:
    """Return seconds that go on while the machine sleeps; `time.monotonic` stops then on Linux and macOS."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class Caught(suppress):
    """Suppresses exceptions, and keeps the one that came as the outcome."""

    outcome: Any = None

    @override
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        self.outcome = error or self.outcome
        return super().__exit__(kind, error, None)


class _DaemonThreads(ThreadPoolExecutor):
    """Runs each job in a daemon thread of its own, for the look-up of a host name can hang."""

    @override
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            with (caught := Caught(BaseException)):
                future.set_result(fn(*args, **kwargs))
            if caught.outcome is not None:
                future.set_exception(caught.outcome)

        threading.Thread(target=work, name=f"{_THREAD}-helper", daemon=True).start()
        return future


class _BackgroundLoop:
    """An event loop on a daemon thread; both end with the last reference to this object."""

    def __init__(self) -> None:
        self.loop = loop = Context().run(asyncio.new_event_loop)  # which keeps its context as long as it lives
        loop.set_default_executor(_DaemonThreads())
        self.limits: defaultdict[str, asyncio.Semaphore] = defaultdict(partial(asyncio.Semaphore, _REQUESTS_AT_ONCE))
        self.streams: weakref.WeakSet[_Stream] = weakref.WeakSet()
        stop = asyncio.Event()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(stop.wait())

        self.thread = threading.Thread(target=run, name=_THREAD, daemon=True)
        try:
            self.thread.start()
        except RuntimeError:
            loop.close()
            raise
        self.call_at_the_end_of(self, stop.set)

    def call_at_the_end_of(self, owner: object, function: Callable[[], object]) -> None:
        loop, process = self.loop, os.getpid()

        def end() -> None:
            # after a fork the loop shares its selector with the parent's
            if os.getpid() == process:
                with suppress(RuntimeError):  # it is closed
                    loop.call_soon_threadsafe(function)

        weakref.finalize(owner, end).atexit = False


def background_loop() -> _BackgroundLoop:
    process = os.getpid()
    # not the parent's lock, which may be held; the same thread may take it twice, as what is collected may want a loop
    with _locks.setdefault(process, threading.RLock()):
        if (found := _loops.get(process)) is None:
            found = _loops[process] = _BackgroundLoop()
        return found


_locks: dict[int, threading.RLock] = {}
_loops: weakref.WeakValueDictionary[int, _BackgroundLoop] = weakref.WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class Source:
    """Fetches the record of one prompt, on the background thread's event loop."""

    label: str
    request: Request
    transport: Transport
    client: str | None  # `sync` or `async`, where the caller gave one
    max_event_bytes: int

    async def key(self) -> SecretStr:
        """Ask the function for the key: an async one on this event loop, a plain one in a thread."""
        _asks_for_its_key.set(id(self))
        try:
            return cast("SecretStr", await current_key_async(self.request.api_key))
        except (SystemExit, KeyboardInterrupt) as error:  # either would end the thread of all prompts
            raise RuntimeError(f"The function for `api_key` raised {error!r}.") from error

    async def fetch(self, limit: asyncio.Semaphore) -> PromptRecord | BaseException:
        """Return the record, or the error that callers get."""
        async with limit:
            (outcome,) = await asyncio.gather(self._ask(), return_exceptions=True)
        if isinstance(outcome, PromptrunError):
            unknown = "\nCheck the project id, and that its prompt has this tag or version."
            advice = unknown if isinstance(outcome, errors.PromptrunNotFoundError) else ""
            outcome.args = (f"{self.label}: {outcome.args[0]}{advice}",)
            return outcome.with_traceback(None)  # the frames of a request hold the key
        if isinstance(outcome, RuntimeError) and self.client == "async" and "event loop" in str(outcome).lower():
            return RuntimeError(
                f"{self.label}: `http_async_client` is bound to another event loop, and prompts are fetched on a thread"
                " with an event loop of its own. Give the prompt an `http_client`, or an `http_async_client` of its own"
                " that nothing else uses."
            )
        return outcome

    async def _ask(self) -> PromptRecord:
        """Send the request; a caller's sync client is used on a worker thread."""
        request, loop = self.request, asyncio.get_running_loop()
        reader = partial(RecordReader, limit=self.max_event_bytes)
        if self.client == "sync":
            if callable(request.api_key):
                request = replace(request, api_key=lambda: asyncio.run_coroutine_threadsafe(self.key(), loop).result())
            (record,) = await asyncio.to_thread(lambda: [*self.transport.exchange(request, reader)])
        else:
            if callable(request.api_key):
                request = replace(request, api_key=self.key)
            (record,) = [record async for record in self.transport.aexchange(request, reader)]
        return record


class _Stream:
    """An event stream, open while an object of this class is held. For the background thread only."""

    def __init__(self, key: IdentityKey, background: _BackgroundLoop, source: Source, *, falls_back: bool) -> None:
        self.key = key  # may refer to what holds the prompt, so that nothing else may hold it
        background.streams.add(self)
        self.reader = _StreamReader(source, background.limits[source.request.url], falls_back=falls_back)
        background.call_at_the_end_of(self, background.loop.create_task(self.reader.run()).cancel)


class _StreamReader:
    """Reads a stream again and again, without a reference to the one that holds it."""

    def __init__(self, source: Source, limit: asyncio.Semaphore, *, falls_back: bool) -> None:
        self.subscribers: weakref.WeakSet[Refresher] = weakref.WeakSet()
        self.record: PromptRecord | None = None  # the newest since the stream was opened
        self._source, self._limit, self._falls_back = source, limit, falls_back
        self._failures, self._opened_at = 0, math.inf

    async def run(self) -> None:
        while True:
            self._failures += 1
            self._opened_at = math.inf
            (error,) = await asyncio.gather(self._read(), return_exceptions=True)
            if asyncio.get_running_loop().time() - self._opened_at >= _GOOD_LIFE:
                self._failures = 0
            problem = error or errors.PromptrunConnectionError("The server ends the stream at once.")
            self._publish(None, problem if self._failures >= _PATIENT_FAILURES else None)
            no_such_route = getattr(error, "status_code", None) in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
            is_no_stream = isinstance(error, errors.PromptrunResponseError) and self._opened_at == math.inf
            if self._falls_back and (no_such_route or is_no_stream):
                logger.info("%s: the server pushes no changes; polling.", self._source.label)
                return
            await asyncio.sleep(pause(self._failures, error))

    async def _read(self) -> None:
        source, loop = self._source, asyncio.get_running_loop()
        connect, read, _, _ = source.request.timeouts

        def opened() -> None:
            opening.reschedule(None)
            self._opened_at = loop.time()
            at_the_end.callback(loop.create_task(self._catch_up()).cancel)

        # an idle connection may be half-open, too
        opens_within = None if connect is None or read is None else connect + read
        with ExitStack() as at_the_end:
            async with asyncio.timeout(opens_within) as opening:
                stream = replace(
                    source.request,
                    url=f"{source.request.url}/stream",
                    headers={**source.request.headers, "accept": "text/event-stream"},
                    api_key=await next(iter(self.subscribers)).source.key(),
                    timeouts=source.request.timeouts._replace(read=STALL_LIMIT),
                    max_retries=0,
                )
                reader = partial(RecordReader, opened=opened, limit=source.max_event_bytes)
                async with aclosing(source.transport.aexchange(stream, reader)) as records:
                    async for record in records:
                        self._failures = 0
                        self._publish(record)

    async def _catch_up(self) -> None:
        """Fetch what changed before the stream was open, unless the stream tells."""
        failures = 0
        while self.record is None:
            outcome = await next(iter(self.subscribers)).source.fetch(self._limit)
            if isinstance(outcome, BaseException):
                failures += 1
                await asyncio.sleep(pause(failures))
            elif self.record is None:
                self._publish(outcome)

    def _publish(self, record: PromptRecord | None, problem: BaseException | None = None) -> None:
        self.record = record
        for subscriber in self.subscribers:
            subscriber.receive(record, problem)


def pause(failures: int, error: BaseException | None = None) -> float:
    """Return the seconds until a stream is opened again."""
    jitter = _jitter()
    if not failures and isinstance(error, errors.PromptrunTimeoutError):
        return jitter  # a silent stream: the server is there
    grown = min(RECONNECT * 2.0 ** max(failures - 1, 0), _LONGEST_WAIT) * (0.75 + jitter / 2)
    asked_for = error.retry_after if isinstance(error, PromptrunError) else None
    return max(grown, min(asked_for or 0.0, _LONGEST_WAIT))


@dataclass(slots=True)
class Freshness:
    """State of one cached record; `refresh` is None for a version that never changes."""

    refresh: float | None
    record: PromptRecord | None = None
    is_pushed: bool = False
    _is_good: bool = False  # the record is the server's, fetched in this process
    _asked: float = -math.inf
    _error: BaseException | None = None
    _is_limited: bool = False
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
        if self._error is not None:
            wait = _DEFAULT_REFRESH if wait is None else wait
            wait = max(wait if self._is_good else min(wait, SHORTEST_POLL), _SHORTEST_WAIT) * self._multiplier
            asked_for = self._error.retry_after if isinstance(self._error, PromptrunError) else None
            if self.record is None and self._is_limited and asked_for is not None:
                # while nothing can be served, a rate limit holds no longer than it says itself
                wait = _SHORTEST_WAIT
            wait = min(max(wait, asked_for or 0.0), _LONGEST_WAIT)
        return self._asked + (wait or 0.0) - clock()

    def refuse(self) -> None:
        """Raise the error of a rate limit that still holds, where nothing can be served."""
        if self._error is not None and self.record is None and self._is_limited and self.due_in() > 0:
            raise copy.copy(self._error)

    def succeed(self, record: PromptRecord) -> None:
        self.record, self._is_good, self._asked = record, True, clock()
        self._error, self._is_limited, self._failures, self._multiplier = None, False, 0, 1.0

    def fail(self, error: BaseException, substitute: PromptRecord | None = None) -> None:
        """Take an error; one that may pass puts the substitute in the place of a record that was never there."""
        self._asked, self._error = clock(), error
        self._is_limited = getattr(error, "status_code", None) == HTTPStatus.TOO_MANY_REQUESTS
        self._failures += 1
        if self._is_limited:
            self._multiplier = min(self._multiplier * 2, 16)
        elif self._failures >= _PATIENT_FAILURES:
            self._multiplier = max(self._multiplier, min(self._multiplier * 1.5, 4))
        if isinstance(error, _PASSING):
            self.record = self.record or substitute


class IdentityKey(tuple[object, ...]):
    """Values of the fields that decide how a record is asked for; some of them may have no hash."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash(tuple(part for part in self if isinstance(part, str | int | float)))


class PromptCache(dict[IdentityKey, "Refresher"]):
    """What was fetched, shared by a prompt and its copies; the oldest entries make room for new ones."""

    # without a lock, which a fork could leave locked: each change is one step
    def find_or_make(self, key: IdentityKey, make: Callable[[], Refresher]) -> Refresher:
        if (found := self.get(key)) is None:
            found = self.setdefault(key, make())
            for oldest in tuple(self)[:-_MOST_ENTRIES]:
                self.pop(oldest, None)
        return found

    def __deepcopy__(self, memo: object) -> Self:
        return self


@dataclass(eq=False)
class Refresher:
    """Keeps one record current by one request at a time; its state changes on the background thread only."""

    source: Source
    refresh: float | None
    on_change: OnChange | None = None
    path: Path | None = None  # of the last good record on disk
    fallback: PromptRecord | None = None
    stream: tuple[IdentityKey, Source, bool] | None = None  # what shares a stream, how it asks, whether it falls back

    def __post_init__(self) -> None:
        self.freshness = Freshness(self.refresh)
        self._warned = -math.inf
        self._telling: threading.Thread | None = None
        self.forget_loop()
        _refreshers.add(self)

    def forget_loop(self) -> None:
        self._background: _BackgroundLoop | None = None
        self._request: asyncio.Task[None] | None = None
        self._stream: _Stream | None = None
        self._changed: asyncio.Future[BaseException | None] | None = None
        self._writing = asyncio.Lock()
        self.freshness.is_pushed = False

    # On any thread.

    def _hold(self) -> _BackgroundLoop:
        self._background = background = self._background or background_loop()
        return background

    def serve(self) -> PromptRecord | None:
        """Return the record that is known; begin a request where it is stale."""
        record = self.freshness.record
        is_cut_off = self._background is None or self._stream is None
        is_due = self._request is None and self.freshness.due_in() <= 0
        if record is not None and (is_due or (self.stream and is_cut_off)):
            with suppress(RuntimeError):  # too many threads run, or the interpreter ends
                background = self._hold()
                background.loop.call_soon_threadsafe(self._look, background, context=Context())
        return record

    def next(self, *arguments: Any) -> Any:
        background = self._hold()
        if threading.current_thread() is background.thread:
            raise RuntimeError("The event loop that fetches prompts would wait for itself here. Use `apull` there.")
        future = asyncio.run_coroutine_threadsafe(self._next(background, *arguments), background.loop)
        try:
            return future.result()
        finally:
            future.cancel()  # where Ctrl-C ends the wait, else it would go on for ever

    async def anext(self, *arguments: Any) -> Any:
        """Async version of `next`; its event loop may be closed or dropped meanwhile, and holds nothing then."""
        background = self._hold()
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        wake = weakref.WeakMethod(done.set)

        def finish(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed, and the task with it
                if (found := wake()) is not None:
                    loop.call_soon_threadsafe(found)

        future = asyncio.run_coroutine_threadsafe(self._next(background, *arguments), background.loop)
        future.add_done_callback(finish)
        try:
            await done.wait()
            return future.result()
        finally:
            future.cancel()
            del future  # whose error holds this frame

    def close(self) -> None:
        """End what is under way, and release the connections; the next call begins again."""
        background, self._background = self._background, None
        if background is not None:
            background.loop.call_soon_threadsafe(self._stop, background)
        self.source.transport.close()

    # On the background thread, which is held by what is called there: else another one could begin meanwhile.

    async def _next(
        self,
        background: _BackgroundLoop,
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
            if _asks_for_its_key.get() == id(self.source):
                raise RuntimeError(f"{self.source.label} waits for a key, and the function for it for the prompt.")
            self.freshness.refuse()
            request = self._look(background, interval)
            if self.freshness.record is not record:  # the stream knew it
                continue
            changed = self._changed = self._changed or asyncio.get_running_loop().create_future()
            await asyncio.wait([changed], timeout=self.freshness.due_in(interval) if request is None else None)
            error = changed.result() if changed.done() else None
            if error is not None and self.freshness.record is None:  # each caller that waited raises it
                raise copy.copy(error) if isinstance(error, PromptrunError) else error
        return None

    def _look(self, background: _BackgroundLoop, interval: float | None = None) -> asyncio.Task[None] | None:
        """Return the request on its way, or begin one where the record is due."""
        self._background = background
        if self.stream and not self._stream:
            key, source, falls_back = self.stream
            found = next((stream for stream in background.streams if stream.key == key), None)
            self._stream = stream = found or _Stream(key, background, source, falls_back=falls_back)
            stream.reader.subscribers.add(self)
            if stream.reader.record is not None:
                self.receive(stream.reader.record)
        if self._request is None and (self.freshness.record is None or self.freshness.due_in(interval) <= 0):
            self._request = background.loop.create_task(self._fetch(background.limits[self.source.request.url]))
        return self._request

    def _stop(self, _: _BackgroundLoop) -> None:
        if self._stream is not None:
            self._stream.reader.subscribers.discard(self)
        if self._request is not None:
            self._request.cancel()
        self._wake()
        self.forget_loop()

    def _wake(self, error: BaseException | None = None) -> None:
        if (record := self.freshness.record) is not None:
            _warn_of_odd_names(self.source.label, record.version, find_odd_names(record.prompt))
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set_result(error)

    async def _fetch(self, limit: asyncio.Semaphore) -> None:
        known, stored = self.freshness.record, None
        outcome = await self.source.fetch(limit)
        if isinstance(outcome, PromptRecord):
            self._request = None
            if self.freshness.record is known:  # else a newer one was pushed
                self._succeed(outcome)
                await self._write()
            self._wake()
            return
        if self.freshness.record is None and isinstance(outcome, _PASSING):
            stored = await self._on_disk(stored_record)
        self._request = None
        self.freshness.fail(outcome, stored or self.fallback)
        if (served := self.freshness.record) is not None:
            what = "the fallback text" if served.is_fallback else f"version {served.version}"
            self._warn(f"could not be refreshed ({_describe(outcome)}); {what} is served.")
        self._wake(outcome)

    def receive(self, record: PromptRecord | None, problem: BaseException | None = None) -> None:
        """Take a record that is pushed; None goes back to polling, and the problem is worth a warning."""
        self.freshness.is_pushed = record is not None
        if record is not None:
            self._succeed(record)
            self._saving = self._hold().loop.create_task(self._write())
        self._wake()
        if problem is not None:
            self._warn(f"changes are not pushed ({_describe(problem)}); polling.")

    def _succeed(self, record: PromptRecord) -> None:
        old = self.freshness.record
        self.freshness.succeed(record)
        if self.on_change is not None and old is not None and record.differs(old):
            tell = partial(self._tell, self._telling, partial(self.on_change, old, record))
            telling = threading.Thread(target=tell, name=f"{_THREAD}-on-change", daemon=True)
            with suppress(RuntimeError):  # the interpreter ends, and starts no thread
                telling.start()
                self._telling = telling

    def _tell(self, before: threading.Thread | None, on_change: Callable[[], object]) -> None:
        """Tell of a change after the one before."""
        if before is not None:
            before.join()
        try:
            on_change()
        except Exception:
            logger.exception("`on_change` of %s failed", self.source.label)

    async def _write(self) -> None:
        async with self._writing:  # the newest comes last
            await self._on_disk(write_record, self.freshness.record)

    async def _on_disk(self, function: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return await asyncio.to_thread(function, self.path, *arguments) if self.path else None
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


_refreshers: weakref.WeakSet[Refresher] = weakref.WeakSet()


def forked() -> None:
    """Forget what is the parent's, before a thread of the child can use it."""
    for refresher in tuple(_refreshers):
        refresher.forget_loop()


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=forked)  # Windows cannot fork


@cache
def _warn_of_odd_names(label: str, version: int | str, names: tuple[str, ...]) -> None:
    for name in names:
        logger.warning("%s, version %s: `{{%s}}` is not a name.", label, version, name)


def _describe(error: BaseException) -> str:
    status = getattr(error, "status_code", None)
    return type(error).__name__ if status is None else f"{type(error).__name__}, status {status}"


@dataclass(eq=False, slots=True)
class Hold:
    """One prompt's hold on a refresher, until the prompt is closed, which ends its watching."""

    refresher: Refresher
    is_over: bool = False
