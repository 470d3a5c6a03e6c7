"""Requests for managed prompts, and the one background thread of a process that sends them."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
import threading
import weakref
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from typing_extensions import override

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
P = ParamSpec("P")

THREAD = "promptrun-prompt"
_HELPER = f"{THREAD}-helper"
_REQUESTS_AT_ONCE = 64
"""Most requests on their way to one address."""

_NOT_FOUND = "Check the project id, and that its prompt has this tag or version."
_OTHER_LOOP = (
    "{}: `http_async_client` is bound to another event loop, and prompts are fetched on a thread with an event loop of "
    "its own. Give the prompt an `http_client`, or an `http_async_client` of its own that nothing else uses."
)


class Caught:
    """Keeps the exception of a block, but for the end of a task."""

    def __init__(self, kind: type[BaseException] = Exception) -> None:
        self._kind = kind
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        """Nothing was caught yet."""

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, self._kind) or isinstance(error, asyncio.CancelledError | GeneratorExit):
            return False
        # the frames of a request hold the key
        self.error = error.with_traceback(None) if isinstance(error, PromptrunError) else error
        return True


def is_async(function: Callable[..., object]) -> bool:
    """Return whether a call of the function must be awaited."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class DaemonThreads(ThreadPoolExecutor):
    """Runs each job in a daemon thread of its own, for the look-up of a host name can hang."""

    @override
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        job = partial(fn, *args, **kwargs)
        threading.Thread(target=_work, args=(future, job), name=_HELPER, daemon=True).start()
        return future

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Return at once."""


def _work(future: Future[T], job: Callable[[], T]) -> None:
    with (caught := Caught(BaseException)):
        future.set_result(job())
    if caught.error is not None:
        future.set_exception(caught.error)


class BackgroundLoop:
    """An event loop on a daemon thread; both end with the last reference to this object."""

    def __init__(self) -> None:
        self.streams: weakref.WeakValueDictionary[object, Any] = weakref.WeakValueDictionary()
        self.loop = loop = asyncio.new_event_loop()
        self.threads = DaemonThreads()
        loop.set_default_executor(self.threads)
        self.limits: defaultdict[str, asyncio.Semaphore] = defaultdict(partial(asyncio.Semaphore, _REQUESTS_AT_ONCE))
        stop = asyncio.Event()
        self._thread = threading.Thread(target=_run_until, args=(loop, stop), name=THREAD, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            loop.close()
            raise
        self.ending = weakref.finalize(self, loop.call_soon_threadsafe, stop.set)
        self.ending.atexit = False

    def is_running_here(self) -> bool:
        """Return whether the caller is on the loop's thread."""
        return threading.current_thread() is self._thread

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, in a copy of the current context."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)


def _run_until(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(stop.wait())


class Process:
    """The background loop of this process, and what a fork resets."""

    def __init__(self) -> None:
        self.refreshers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._reported: set[object] = set()
        self._inherited: list[object] = []
        self._reset()
        # Windows cannot fork
        getattr(os, "register_at_fork", lambda **_: None)(after_in_child=self._forked)

    def _reset(self) -> None:
        # a lock that the same thread may take again: what is collected may begin or end a loop at any time
        self.lock = threading.RLock()
        self._loop: Callable[[], BackgroundLoop | None] = lambda: None

    def loop(self) -> BackgroundLoop:
        """Return the background loop, started where there is none."""
        with self.lock:
            if (found := self._loop()) is None:
                found = BackgroundLoop()
                self._loop = weakref.ref(found)
            return found

    def is_new(self, fact: object) -> bool:
        """Return whether no prompt of the process reported the fact yet, and take note of it."""
        with self.lock:
            is_known = fact in self._reported
            self._reported.add(fact)
            return not is_known

    def _forked(self) -> None:
        inherited = self._loop()
        for held in () if inherited is None else (inherited, *inherited.streams.values()):
            # to end or collect the loop would stir the parent's, with which it shares its selector
            held.ending.detach()
            self._inherited.append(held)
        self._reset()
        for refresher in tuple(self.refreshers):
            refresher.reset()


PROCESS = Process()


@dataclasses.dataclass(frozen=True, eq=False)
class Callbacks:
    """The caller's functions. The background thread refers to them weakly, for they may lead to the prompt."""

    api_key: Any
    on_change: Any = None


class PromptSource:
    """Fetches the record of one prompt, on the background thread's event loop."""

    def __init__(
        self,
        request: Request,
        transport: Transport,
        callbacks: Callbacks,
        *,
        label: str,
        client: str | None,
        max_event_bytes: int,
    ) -> None:
        self.label = label
        self.address = request.url
        self._transport = transport
        self._client = client
        self._max_event_bytes = max_event_bytes
        self._ask_for_key = partial(_ask_for_key, weakref.ref(callbacks)) if callable(request.api_key) else None
        self._request = request
        if self._ask_for_key is not None:
            self._request = dataclasses.replace(request, api_key=self._ask_for_key)

    async def fetch(self) -> PromptRecord:
        """Fetch the record; a caller's sync client is used on a worker thread."""
        reader = partial(RecordReader, max_event_bytes=self._max_event_bytes)
        with self._named():
            if self._client == "sync":
                records = await asyncio.to_thread(self._fetch_in_thread, asyncio.get_running_loop(), reader)
            else:
                records = [record async for record in self._transport.aexchange(self._request, reader)]
        return records[0]

    def _fetch_in_thread(
        self, loop: asyncio.AbstractEventLoop, reader: Callable[..., RecordReader]
    ) -> list[PromptRecord]:
        request = self._request
        if self._ask_for_key is not None:
            request = dataclasses.replace(request, api_key=partial(_result_on, loop, self._ask_for_key))
        return list(self._transport.exchange(request, reader))

    async def stream(self, request: Request, opened: Callable[[], object]) -> AsyncGenerator[PromptRecord]:
        """Yield the records that the server pushes."""
        request = dataclasses.replace(request, api_key=self._request.api_key)
        reader = partial(EventStreamReader, opened=opened, max_event_bytes=self._max_event_bytes)
        with self._named():
            async with aclosing(self._transport.aexchange(request, reader)) as records:
                async for record in records:
                    yield record

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except PromptrunError as error:
            advice = f"\n{_NOT_FOUND}" if isinstance(error, PromptrunNotFoundError) else ""
            error.args = (f"{self.label}: {error.args[0]}{advice}",)
            raise
        except RuntimeError as error:
            if self._client == "async" and "event loop" in str(error).lower():
                raise RuntimeError(_OTHER_LOOP.format(self.label)) from None
            raise


async def _ask_for_key(callbacks: weakref.ref[Callbacks]) -> str | SecretStr:
    """Ask the caller's function: an async one on this event loop, a plain one in a thread."""
    found = callbacks()
    if found is None:
        raise asyncio.CancelledError("the prompt was collected")
    function: Callable[[], Any] = found.api_key
    del found
    try:
        given = function() if is_async(function) else await asyncio.to_thread(function)
        key: str | SecretStr = await given if inspect.isawaitable(given) else given
    except (SystemExit, KeyboardInterrupt) as error:  # it would end the thread of all prompts
        raise RuntimeError(f"The function for `api_key` raised {error!r}.") from error
    return key


def _result_on(loop: asyncio.AbstractEventLoop, ask: Callable[[], Coroutine[Any, Any, str | SecretStr]]) -> Any:
    return asyncio.run_coroutine_threadsafe(ask(), loop).result()
