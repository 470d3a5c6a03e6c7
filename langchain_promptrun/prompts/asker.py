"""Asks for one managed prompt: one request at a time for all threads and event loops, and who is told what came.

Owns the request that is on its way. When to ask is decided in `_prompt_refresh`, what a request is in `_prompt_source`,
and how that ends which runs behind the callers in `_prompt_behind`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections import deque
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING

from langchain_promptrun.prompts.behind import THREAD, Behind, DaemonThreads
from langchain_promptrun.prompts.flight import Flight
from langchain_promptrun.prompts.refresh import may_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_promptrun.prompts.fetch import Source
    from langchain_promptrun.prompts.flight import Signal
    from langchain_promptrun.prompts.record import PromptRecord
    from langchain_promptrun.prompts.refresh import Freshness
    from langchain_promptrun.prompts.storage import Shelf

logger = logging.getLogger("langchain_promptrun")


class Asker:
    """What is known of a prompt, and who asks for more.

    Args:
        source: Where it comes from.
        freshness: When to ask for it.
        shelf: Where the last good record is kept between processes.
        fallback: What to serve where there is none at all.
        on_change: Told of each change, one after the other, in a thread or event loop that found one.

    Attributes:
        behind: What runs behind the callers.
    """

    def __init__(
        self,
        source: Source,
        freshness: Freshness,
        *,
        shelf: Shelf | None = None,
        fallback: PromptRecord | None = None,
        on_change: Callable[[PromptRecord, PromptRecord], object] | None = None,
    ) -> None:
        self._source = source
        self._freshness = freshness
        self._shelf = shelf
        self._fallback = fallback
        self._on_change = on_change
        self.behind = Behind()
        self._start()
        _askers.add(self)

    def _start(self) -> None:
        # a task that is collected lands in whichever thread collects it, which may hold the lock
        self._lock = threading.RLock()
        self._flight: Flight | None = None
        self._was_cut_off = False
        self._untold: deque[Callable[[], object]] = deque()
        self._telling = threading.Lock()

    def forked(self) -> None:
        """Begin anew in the child; the parent's threads are not here."""
        self._start()
        self.behind.forked()

    @property
    def record(self) -> PromptRecord | None:
        """The last record that was served, without asking."""
        return self._freshness.record

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return self._flight is None and self.behind.is_idle

    # Asking.

    def _board(
        self,
        loop: asyncio.AbstractEventLoop | None,
        *,
        stopped: Signal | None = None,
        blocked: asyncio.AbstractEventLoop | None = None,
        interval: float | None = None,
    ) -> tuple[Flight | None, bool]:
        """Find the request to wait for, where one is needed.

        Args:
            loop: The event loop that a new one would run on; None for a thread.
            stopped: What ends a new one before its time; by default, the next stop.
            blocked: The event loop that stands still while the caller waits.
            interval: Seconds between two requests, in place of `refresh`.

        Returns:
            The flight, and whether it is the caller's to make.
        """
        with self._lock:
            if self._freshness.record is not None and self._freshness.due_in(interval) > 0:
                return None, False
            flight = self._flight
            if flight is not None:
                if not flight.is_lost() and not flight.stands_still_for(blocked):
                    return flight, False
                self._was_cut_off = True
            self._flight = flight = Flight(loop, stopped or self.behind.stopped)
            return flight, True

    def _ask(self) -> Flight | None:
        self._check_ring()
        flight, is_mine = self._board(None, blocked=running_loop())
        if flight is not None:
            self._fly(flight) if is_mine else flight.join()
        return flight

    async def _aask(self) -> Flight | None:
        self._check_ring()
        loop = asyncio.get_running_loop()
        flight, is_mine = self._board(loop)
        if flight is not None:
            # a request of the prompt's: who began it may give up, and the others still get what it brings
            task = self._depart_on(loop, flight, copy_context()) if is_mine else None
            await flight.ajoin()
            if task is not None and flight.is_empty and (self.behind.is_over or not flight.stopped.is_set()):
                await task  # raises what ended it
        return flight

    def _check_ring(self) -> None:
        """Refuse to wait for a request that cannot go on before the one who would wait does."""
        if self._flight in _flying.get():
            raise RuntimeError(
                f"{self._source.label} is asked for within its own first request (by the function for its key, a hook "
                "of its client, or a signal handler), which would wait for itself."
            )

    def _fly(self, flight: Flight) -> None:
        try:
            with flight.caught, _within(flight):
                flight.record = self._source.fetch()
            self._use_shelf(flight)
        finally:
            self._land(flight)

    async def _afly(self, flight: Flight) -> None:
        try:
            with flight.caught, _within(flight):
                flight.record = await self._source.afetch()
            if self._shelf is not None:
                with suppress(RuntimeError):  # the interpreter is ending, and starts no thread
                    await asyncio.to_thread(self._use_shelf, flight)
        finally:
            self._land(flight)

    def _use_shelf(self, flight: Flight) -> None:
        """Keep a good record on disk, and look for one there where none came and none is known."""
        if self._shelf is None:
            return
        try:
            if flight.record is not None:
                self._shelf.write(flight.record)
            elif self._freshness.record is None and may_pass(flight.caught.error):
                flight.stored = self._shelf.read()
        except (OSError, ValueError) as error:  # ValueError: the record holds what JSON cannot
            if self._freshness.may_warn():
                logger.warning("%s cannot be kept in cache_dir: %s", self._source.label, error)

    def _land(self, flight: Flight) -> None:
        """The request has ended: well, badly, or because its thread or task did."""
        warns = False
        with self._lock:
            if self._flight is flight:
                self._flight = None
                self._was_cut_off = flight.is_empty and not flight.stopped.is_set()
                if flight.record is not None:
                    self._succeeded(flight.record)
                elif flight.caught.error is not None:
                    warns = self._freshness.failed(flight.caught.error, flight.stored or self._fallback)
        flight.landed.set()
        if warns and not self.behind.is_over:
            self._warn(flight.caught.error)
        self._tell()

    def _succeeded(self, record: PromptRecord) -> None:
        change = self._freshness.succeeded(record)
        if change is not None and self._on_change is not None:
            self._untold.append(partial(self._on_change, change.old, change.new))

    def _tell(self) -> None:
        """Tell of changes in their order, one at a time; who finds another at it leaves the telling to that one."""
        while self._untold and self._telling.acquire(blocking=False):
            try:
                while self._untold:
                    self._tell_one(self._untold.popleft())
            finally:
                self._telling.release()

    def _tell_one(self, job: Callable[[], object]) -> None:
        try:
            job()
        except Exception:
            logger.exception("on_change of %s failed", self._source.label)

    def _late(self, flight: Flight, error: Exception) -> None:
        """Count a request that is still on its way as a failure."""
        with self._lock:
            warns = self._flight is flight and self._freshness.failed(error)
        if warns:
            self._warn(error)

    def _warn(self, error: Exception | None) -> None:
        record = self._freshness.record
        what = "the fallback text" if record is None or record.is_fallback else f"version {record.version}"
        status = getattr(error, "status_code", None)
        why = type(error).__name__ if status is None else f"{type(error).__name__}, status {status}"
        logger.warning("%s could not be refreshed (%s); %s is served.", self._source.label, why, what)

    # Behind the callers.

    def _depart(self, flight: Flight, *, apart: bool) -> None:
        """Ask in a thread; `apart`, in an event loop of its own, where the request can be stopped at once."""
        thread = threading.Thread(target=self._fly_behind, args=(flight, apart), name=THREAD, daemon=True)
        with flight.caught:  # there are too many, or the interpreter is ending
            thread.start()
        if flight.caught.error is not None:
            self._land(flight)

    def _fly_behind(self, flight: Flight, apart: bool) -> None:
        try:
            with flight.caught:
                if apart:
                    asyncio.run(self._fly_apart(flight))
                elif not flight.stopped.is_set():
                    self._fly(flight)
        finally:
            self._land(flight)

    async def _fly_apart(self, flight: Flight) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(DaemonThreads())
        await asyncio.wait([self._depart_on(loop, flight)])

    def _depart_on(
        self, loop: asyncio.AbstractEventLoop, flight: Flight, context: Context | None = None
    ) -> asyncio.Task[None]:
        """Ask in a task; without a context, in one of its own, as it is no part of the caller's run."""
        task = loop.create_task(self._afly(flight), context=Context() if context is None else context)
        task.add_done_callback(lambda _: self._land(flight))
        self.behind.hold(task, flight.stopped)
        return task


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread."""
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


_flying: ContextVar[tuple[Flight, ...]] = ContextVar("promptrun_prompt_flying", default=())
"""Requests that the code which runs here is a part of."""


@contextmanager
def _within(flight: Flight) -> Iterator[None]:
    token = _flying.set((*_flying.get(), flight))
    try:
        yield
    finally:
        with suppress(ValueError):  # a task that is collected ends outside its context
            _flying.reset(token)


_askers: weakref.WeakSet[Asker] = weakref.WeakSet()


def _forked() -> None:
    for asker in tuple(_askers):
        asker.forked()


# Windows cannot fork
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_forked)
