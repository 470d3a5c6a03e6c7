"""Requests and event streams of managed prompts, and the one background thread of a process that sends them.

The public source of Promptrun's Node SDK: GET /prompt/stream, with the query of GET /prompt, sends unnamed server-sent
events, each a whole record; the SDK opens the stream again 5 s after an error.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import threading
import weakref
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

from typing_extensions import override

from langchain_promptrun import errors
from langchain_promptrun._http.request import current_key_async
from langchain_promptrun.errors import PromptrunError
from langchain_promptrun.prompts.record import RecordReader

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pydantic import SecretStr

    from langchain_promptrun._http.request import Request
    from langchain_promptrun._http.transport import Transport
    from langchain_promptrun.prompts.record import PromptRecord

T = TypeVar("T")

RECONNECT = 5.0  # seconds until a stream that ended is opened again, as in Promptrun's Node SDK
LONGEST_RECONNECT = 300.0
STALL_LIMIT = 60.0  # seconds without a byte, after which the connection of a stream may be half-open

_THREAD = "promptrun-prompt"
_REQUESTS_AT_ONCE = 64  # for one address
_PATIENT_FAILURES = 3
_GOOD_LIFE = 5.0  # seconds that a stream without a record must have been open to count as none that failed

logger = logging.getLogger("langchain_promptrun")


class Caught(suppress):
    """Suppresses exceptions, and keeps the one that came."""

    error: BaseException | None = None

    @override
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        self.error = error
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
            if caught.error is not None:
                future.set_exception(caught.error)

        threading.Thread(target=work, name=f"{_THREAD}-helper", daemon=True).start()
        return future

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Return at once."""


class BackgroundLoop:
    """An event loop on a daemon thread; both end with the last reference to this object."""

    def __init__(self) -> None:
        self.loop = loop = asyncio.new_event_loop()
        loop.set_default_executor(_DaemonThreads())
        self.limits: defaultdict[str, asyncio.Semaphore] = defaultdict(partial(asyncio.Semaphore, _REQUESTS_AT_ONCE))
        self.streams: weakref.WeakValueDictionary[object, Any] = weakref.WeakValueDictionary()
        stop = asyncio.Event()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(stop.wait())

        self._thread = threading.Thread(target=run, name=_THREAD, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            loop.close()
            raise
        self._call_at_the_end_of(self, stop.set)

    def _call_at_the_end_of(self, owner: object, function: Callable[[], object]) -> weakref.finalize[Any, Any]:
        loop, process = self.loop, os.getpid()

        def end() -> None:
            # after a fork the loop shares its selector with the parent's
            if os.getpid() == process:
                loop.call_soon_threadsafe(function)

        ending = weakref.finalize(owner, end)
        ending.atexit = False
        return ending

    def start(self, owner: object, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a coroutine, on the thread of the loop; the end of its owner cancels it."""
        task = self.loop.create_task(work)
        ending = self._call_at_the_end_of(owner, task.cancel)
        task.add_done_callback(lambda _: ending.detach())
        return task

    def result(self, function: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
        """Run a function of this object and the arguments from another thread, in a copy of the context there."""
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "A prompt is asked for on the event loop that fetches prompts, which would wait for itself. "
                "Use `apull` there."
            )
        return asyncio.run_coroutine_threadsafe(function(self, *args), self.loop).result()

    async def aresult(self, function: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
        """Async version of `result`, for any event loop; it may be closed or dropped meanwhile."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        wake = weakref.WeakMethod(done.set)

        def finish(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed, and the task with it
                if (found := wake()) is not None:
                    loop.call_soon_threadsafe(found)

        future = asyncio.run_coroutine_threadsafe(function(self, *args), self.loop)
        future.add_done_callback(finish)
        try:
            await done.wait()
            return future.result()
        finally:
            future.cancel()
            del future  # whose error holds this frame


class Process:
    """The background loop of this process, and what a fork resets."""

    def __init__(self) -> None:
        self.refreshers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._inherited: list[BackgroundLoop | None] = []
        self._loop: Callable[[], BackgroundLoop | None] = lambda: None
        self._begin()
        # Windows cannot fork
        getattr(os, "register_at_fork", lambda **_: None)(after_in_child=self._begin)

    def _begin(self) -> None:
        self._inherited.append(self._loop())  # to collect it would close what the parent uses
        self._loop = lambda: None
        # a lock that the same thread may take again: what is collected may begin or end a loop at any time
        self._lock = threading.RLock()
        for refresher in tuple(self.refreshers):
            refresher.reset()

    def loop(self) -> BackgroundLoop:
        with self._lock:
            if (found := self._loop()) is None:
                found = BackgroundLoop()
                self._loop = weakref.ref(found)
            return found


PROCESS = Process()


@dataclass(frozen=True, eq=False)
class Source:
    """Fetches the record of one prompt, on the background thread's event loop."""

    label: str
    request: Request
    transport: Transport
    client: str | None  # `sync` or `async`, where the caller gave one
    max_event_bytes: int

    def of(self, owner: Any) -> Source:
        """Ask a key function through an owner, which is held weakly: the function may lead to the prompt."""
        owner.api_key = self.request.api_key
        if not callable(owner.api_key):
            return self
        return replace(self, request=replace(self.request, api_key=partial(_ask_for_key, weakref.ref(owner))))

    async def fetch(self, limit: asyncio.Semaphore) -> PromptRecord | BaseException:
        """Return the record, or the error that callers get. A caller's sync client is used on a worker thread."""
        async with limit:
            if self.client == "sync":
                work = asyncio.to_thread(self._exchange, asyncio.get_running_loop())
            else:
                work = self._aexchange()
            (outcome,) = await asyncio.gather(work, return_exceptions=True)
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

    async def _aexchange(self) -> PromptRecord:
        reader = partial(RecordReader, limit=self.max_event_bytes)
        (record,) = [record async for record in self.transport.aexchange(self.request, reader)]
        return record

    def _exchange(self, loop: asyncio.AbstractEventLoop) -> PromptRecord:
        request, ask = self.request, cast("Callable[[], Coroutine[Any, Any, SecretStr]]", self.request.api_key)
        if callable(ask):
            request = replace(request, api_key=lambda: asyncio.run_coroutine_threadsafe(ask(), loop).result())
        (record,) = self.transport.exchange(request, partial(RecordReader, limit=self.max_event_bytes))
        return record


async def _ask_for_key(owner: weakref.ref[Any]) -> SecretStr:
    """Ask the owner's function: an async one on this event loop, a plain one in a thread."""
    if (function := getattr(owner(), "api_key", None)) is None:
        raise asyncio.CancelledError("the prompt was collected")
    try:
        return cast("SecretStr", await current_key_async(function))
    except (SystemExit, KeyboardInterrupt) as error:  # either would end the thread of all prompts
        raise RuntimeError(f"The function for `api_key` raised {error!r}.") from error


class PromptStream:
    """An event stream that is open while an object of this class is held. For the background thread only."""

    def __init__(self, background: BackgroundLoop, source: Source, *, falls_back: bool) -> None:
        self.reader = _StreamReader(source.of(self), background.limits[source.request.url], falls_back=falls_back)
        background.start(self, self.reader.run())


class _StreamReader:
    """Reads a stream again and again, without a reference to the one that holds it."""

    def __init__(self, source: Source, limit: asyncio.Semaphore, *, falls_back: bool) -> None:
        self.subscribers: weakref.WeakSet[Any] = weakref.WeakSet()  # each a `Refresher`
        self.record: PromptRecord | None = None
        request = source.request
        connect, read, _, _ = request.timeouts
        # an idle connection may be half-open, too
        self._opens_within = None if connect is None or read is None else connect + read
        self._source = source
        headers = {**request.headers, "accept": "text/event-stream"}
        timeouts = request.timeouts._replace(read=STALL_LIMIT)
        self._request = replace(request, url=f"{request.url}/stream", headers=headers, timeouts=timeouts, max_retries=0)
        self._limit = limit
        self._falls_back = falls_back
        self._jitter = random.random
        self._failures = 0
        self._opened_at = math.inf
        self._arrived = 0

    async def run(self) -> None:
        while True:
            self._failures += 1
            self._opened_at = math.inf
            (error,) = await asyncio.gather(self._read(), return_exceptions=True)
            if asyncio.get_running_loop().time() - self._opened_at >= _GOOD_LIFE:
                self._failures = 0
            problem = error or errors.PromptrunConnectionError("The server ends the stream at once.")
            self._lose(problem if self._failures >= _PATIENT_FAILURES else None)
            no_such_route = getattr(error, "status_code", None) in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
            is_no_stream = isinstance(error, errors.PromptrunResponseError) and self._opened_at == math.inf
            if self._falls_back and (no_such_route or is_no_stream):
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

        reader = partial(RecordReader, opened=opened, limit=self._source.max_event_bytes)
        records = self._source.transport.aexchange(self._request, reader)
        try:
            async with asyncio.timeout(self._opens_within) as opening, aclosing(records):
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
            outcome = await self._source.fetch(self._limit)
            if isinstance(outcome, BaseException):
                failures += 1
                await asyncio.sleep(pause(failures, None, self._jitter()))
            elif self._arrived == arrived:
                self._publish(outcome)

    def _publish(self, record: PromptRecord) -> None:
        self.record = record
        self._arrived += 1
        for subscriber in tuple(self.subscribers):
            subscriber.receive(record)

    def _lose(self, problem: BaseException | None) -> None:
        self.record = None
        for subscriber in tuple(self.subscribers):
            subscriber.lose(problem)


def pause(failures: int, error: BaseException | None, jitter: float) -> float:
    """Return the seconds until a stream is opened again."""
    if not failures and isinstance(error, errors.PromptrunTimeoutError):
        return jitter  # a silent stream: the server is there
    grown = min(RECONNECT * 2.0 ** max(failures - 1, 0), LONGEST_RECONNECT) * (0.75 + jitter / 2)
    asked_for = error.retry_after if isinstance(error, PromptrunError) else None
    return max(grown, min(asked_for or 0.0, LONGEST_RECONNECT))
