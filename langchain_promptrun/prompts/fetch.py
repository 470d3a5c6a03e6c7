"""Requests for managed prompts, and the one background thread of a process that sends them."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from typing_extensions import override

from langchain_promptrun._http.request import current_key_async
from langchain_promptrun.errors import PromptrunError, PromptrunNotFoundError
from langchain_promptrun.prompts.record import EventStreamReader, RecordReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from types import TracebackType

    from pydantic import SecretStr

    from langchain_promptrun._http.request import Request
    from langchain_promptrun._http.transport import Transport
    from langchain_promptrun.prompts.record import PromptRecord

T = TypeVar("T")

_THREAD = "promptrun-prompt"
_REQUESTS_AT_ONCE = 64
"""Most requests on their way to one address."""

_NOT_FOUND = "\nCheck the project id, and that its prompt has this tag or version."
_ON_THE_LOOP = (
    "A prompt is asked for on the event loop that fetches prompts, which would wait for itself. Use `apull` there."
)
_OTHER_LOOP = (
    "{}: `http_async_client` is bound to another event loop, and prompts are fetched on a thread with an event loop of "
    "its own. Give the prompt an `http_client`, or an `http_async_client` of its own that nothing else uses."
)


class Caught(suppress):
    """Suppresses exceptions, and keeps the one that came."""

    error: BaseException | None = None

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return super().__exit__(kind, error, trace)


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
        self._thread = threading.Thread(target=_run_until, args=(loop, stop), name=_THREAD, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            loop.close()
            raise
        self._cancel_with(self, stop.set)

    def _cancel_with(self, owner: object, cancel: Callable[[], object]) -> weakref.finalize[Any, Any]:
        ending = weakref.finalize(owner, _call_on, self.loop, os.getpid(), cancel)
        ending.atexit = False
        return ending

    def start(self, owner: object, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a coroutine, on the thread of the loop; the end of its owner cancels it."""
        task = self.loop.create_task(work)
        ending = self._cancel_with(owner, task.cancel)
        task.add_done_callback(lambda _: ending.detach())
        return task

    def result(self, function: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
        """Run a function of this object and the arguments from another thread, in a copy of the context there."""
        if threading.current_thread() is self._thread:
            raise RuntimeError(_ON_THE_LOOP)
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


def _run_until(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(stop.wait())


def _call_on(loop: asyncio.AbstractEventLoop, process: int, function: Callable[[], object]) -> None:
    # after a fork the loop shares its selector with the parent's
    if os.getpid() == process:
        loop.call_soon_threadsafe(function)


class Process:
    """The background loop of this process, and what a fork resets."""

    def __init__(self) -> None:
        self.refreshers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._inherited: list[BackgroundLoop | None] = []
        self._reset()
        # Windows cannot fork
        getattr(os, "register_at_fork", lambda **_: None)(after_in_child=self._forked)

    def _reset(self) -> None:
        # a lock that the same thread may take again: what is collected may begin or end a loop at any time
        self._lock = threading.RLock()
        self._loop: Callable[[], BackgroundLoop | None] = lambda: None

    def loop(self) -> BackgroundLoop:
        """Return the background loop, started where there is none."""
        with self._lock:
            if (found := self._loop()) is None:
                found = BackgroundLoop()
                self._loop = weakref.ref(found)
            return found

    def _forked(self) -> None:
        self._inherited.append(self._loop())  # to collect it would close what the parent uses
        self._reset()
        for refresher in tuple(self.refreshers):
            refresher.reset()


PROCESS = Process()


@dataclass(frozen=True, eq=False)
class Source:
    """Fetches the record of one prompt, on the background thread's event loop.

    Attributes:
        label: Name of the prompt in errors and logs.
        client: Which kind of client the caller gave, `sync` or `async`, if any.
    """

    label: str
    request: Request
    transport: Transport
    client: str | None
    max_event_bytes: int

    def of(self, owner: Any) -> Source:
        """Ask a key function through an owner, which is held weakly: the function may lead to the prompt."""
        owner.api_key = self.request.api_key
        if not callable(owner.api_key):
            return self
        return replace(self, request=replace(self.request, api_key=partial(_ask_for_key, weakref.ref(owner))))

    async def fetch(self) -> PromptRecord:
        """Fetch the record; a caller's sync client is used on a worker thread."""
        reader = partial(RecordReader, max_event_bytes=self.max_event_bytes)
        with self._named_errors():
            if self.client == "sync":
                return await asyncio.to_thread(self._fetch_in_thread, asyncio.get_running_loop(), reader)
            (record,) = [record async for record in self.transport.aexchange(self.request, reader)]
            return record

    def _fetch_in_thread(self, loop: asyncio.AbstractEventLoop, reader: Callable[..., RecordReader]) -> PromptRecord:
        ask = cast("Callable[[], Coroutine[Any, Any, SecretStr]]", self.request.api_key)

        def key() -> SecretStr:
            return asyncio.run_coroutine_threadsafe(ask(), loop).result()

        request = replace(self.request, api_key=key) if callable(ask) else self.request
        (record,) = self.transport.exchange(request, reader)
        return record

    async def stream(self, opened: Callable[[], object]) -> AsyncGenerator[PromptRecord]:
        """Yield the records that the server pushes."""
        reader = partial(EventStreamReader, opened=opened, max_event_bytes=self.max_event_bytes)
        with self._named_errors():
            async with aclosing(self.transport.aexchange(self.request, reader)) as records:
                async for record in records:
                    yield record

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except PromptrunError as error:
            advice = _NOT_FOUND if isinstance(error, PromptrunNotFoundError) else ""
            error.args = (f"{self.label}: {error.args[0]}{advice}",)
            raise
        except RuntimeError as error:
            if self.client == "async" and "event loop" in str(error).lower():
                raise RuntimeError(_OTHER_LOOP.format(self.label)) from None
            raise


async def _ask_for_key(owner: weakref.ref[Any]) -> SecretStr:
    """Ask the owner's function: an async one on this event loop, a plain one in a thread."""
    if (function := getattr(owner(), "api_key", None)) is None:
        raise asyncio.CancelledError("the prompt was collected")
    try:
        return cast("SecretStr", await current_key_async(function))
    except (SystemExit, KeyboardInterrupt) as error:  # it would end the thread of all prompts
        raise RuntimeError(f"The function for `api_key` raised {error!r}.") from error
