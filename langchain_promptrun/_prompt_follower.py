"""Keeps one managed prompt current: one request at a time, whoever asks, and nobody waits who can be served.

Owns the request that is on its way, the thread or task that refreshes behind the callers, and who is told of changes.
When to ask is decided in `_prompt_refresh`, and what a request is in `_prompt_source`. Safe to use from several threads
and event loops.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import os
import threading
import weakref
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING

from langchain_promptrun._prompt_flight import Flight, Signal
from langchain_promptrun._prompt_record import PromptChange
from langchain_promptrun.errors import PromptrunError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from langchain_promptrun._prompt_disk import Shelf
    from langchain_promptrun._prompt_record import PromptRecord
    from langchain_promptrun._prompt_refresh import Freshness
    from langchain_promptrun._prompt_source import Source

logger = logging.getLogger("langchain_promptrun")

THREAD = "promptrun-prompt"


class Follower:
    """The current record of a prompt.

    Args:
        source: Where it comes from.
        freshness: When to ask for it.
        shelf: Where the last good record is kept between processes.
        fallback: What to serve where there is none at all.
        on_change: Told of each change, in the thread that found it.
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
        self._is_over = False
        self._start()
        _followers.add(self)

    def _start(self) -> None:
        """Nothing is on its way; so it is after a fork, too."""
        # a task that is collected lands in whichever thread collects it, which may hold the lock
        self._lock = threading.RLock()
        self._flight: Flight | None = None
        self._tasks: dict[asyncio.Task[None], asyncio.AbstractEventLoop] = {}
        self._stopped = Signal()

    @property
    def record(self) -> PromptRecord | None:
        """The last record that was served, without asking."""
        return self._freshness.record

    # Serving.

    def get(self) -> PromptRecord:
        """Give the record; ask for it where there is none, and behind the caller where it is no longer fresh.

        Raises:
            PromptrunError: There is no record, and none can be had.
        """
        last = None
        while (record := self._served(last)) is None:
            last = self._ask()
        # what was waited for is new enough
        flight, is_mine = self._board(None) if last is None else (None, False)
        if flight is not None and is_mine:
            self._depart_in_thread(flight)
        return record

    async def aget(self) -> PromptRecord:
        """Do what `get` does, without blocking the event loop.

        Raises:
            PromptrunError: There is no record, and none can be had.
        """
        last = None
        while (record := self._served(last)) is None:
            last = await self._aask()
        loop = asyncio.get_running_loop()
        flight, is_mine = self._board(loop) if last is None else (None, False)
        if flight is not None and is_mine:
            # in a context of its own, for it is no part of the caller's run
            self._hold(loop.create_task(self._afly(flight), context=Context()), flight)
        return record

    def _served(self, last: Flight | None) -> PromptRecord | None:
        """The record; raises what the caller's last attempt failed with, where there is none."""
        with self._lock:
            record = self._freshness.record
            error = self._freshness.refusal() if last is None else last.caught.error
        if record is None and error is not None:
            # one error is raised by all that waited for it
            raise copy.copy(error) if isinstance(error, PromptrunError) else error
        return record

    def _board(
        self,
        loop: asyncio.AbstractEventLoop | None,
        *,
        blocked: asyncio.AbstractEventLoop | None = None,
        interval: float | None = None,
    ) -> tuple[Flight | None, bool]:
        """Find the request to wait for, where one is needed.

        Args:
            loop: The event loop that a new one would run on; None for a thread.
            blocked: The event loop that stands still while the caller waits.
            interval: Seconds between two requests, in place of `refresh`.

        Returns:
            The flight, and whether it is the caller's to make.
        """
        with self._lock:
            if self._freshness.record is not None and self._freshness.due_in(interval) > 0:
                return None, False
            flight = self._flight
            if flight is not None and not flight.is_lost() and not flight.stands_still_for(blocked):
                return flight, False
            self._flight = flight = Flight(loop)
            return flight, True

    # Asking.

    def _ask(self, interval: float | None = None) -> Flight | None:
        flight, is_mine = self._board(None, blocked=_running_loop(), interval=interval)
        if flight is not None:
            self._fly(flight) if is_mine else flight.join()
        return flight

    async def _aask(self, interval: float | None = None) -> Flight | None:
        flight, is_mine = self._board(asyncio.get_running_loop(), interval=interval)
        if flight is not None:
            await (self._afly(flight) if is_mine else flight.ajoin())
        return flight

    def _fly(self, flight: Flight) -> None:
        try:
            with flight.caught:
                flight.record = self._source.fetch()
            self._use_shelf(flight)
        finally:
            self._land(flight)

    async def _afly(self, flight: Flight) -> None:
        try:
            with flight.caught:
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
            elif self._freshness.record is None:
                flight.stored = self._shelf.read()
        except OSError as error:
            if self._freshness.may_warn():
                logger.warning("%s cannot be kept in cache_dir: %s", self._source.label, error)

    def _land(self, flight: Flight) -> None:
        """The request has ended: well, badly, or because its thread or task did."""
        change, warns = None, False
        with self._lock:
            if self._flight is flight:
                self._flight = None
                if flight.record is not None:
                    change = self._freshness.succeeded(flight.record)
                elif flight.caught.error is not None:
                    warns = self._freshness.failed(flight.caught.error, flight.stored or self._fallback)
        flight.landed.set()
        if warns:
            self._warn(flight.caught.error)
        if change is not None and self._on_change is not None:
            try:
                self._on_change(change.old, change.new)
            except Exception:
                logger.exception("on_change of %s failed", self._source.label)

    def _warn(self, error: Exception | None) -> None:
        record = self._freshness.record
        what = "the fallback text" if record is None or record.is_fallback else f"version {record.version}"
        status = getattr(error, "status_code", None)
        why = type(error).__name__ if status is None else f"{type(error).__name__}, status {status}"
        logger.warning("%s could not be refreshed (%s); %s is served.", self._source.label, why, what)

    # Behind the callers.

    def _depart_in_thread(self, flight: Flight) -> None:
        thread = threading.Thread(target=self._fly_in_thread, args=(flight,), name=THREAD, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are too many, or the interpreter is ending
            self._land(flight)

    def _fly_in_thread(self, flight: Flight) -> None:
        """Ask in an event loop of the thread's own, where that can be stopped at once; or else as any thread does."""
        if not self._source.is_interruptible:
            self._fly(flight)
            return
        try:
            asyncio.run(self._fly_held(flight))
        finally:
            self._land(flight)

    async def _fly_held(self, flight: Flight) -> None:
        task = asyncio.create_task(self._afly(flight))
        self._hold(task, flight)
        await asyncio.wait([task])

    def _hold(self, task: asyncio.Task[None], flight: Flight) -> None:
        """Keep a task alive until it is done, or the prompt is closed or collected."""
        task.add_done_callback(partial(self._let_go, flight))
        with self._lock:
            self._tasks[task] = task.get_loop()
            if self._is_over:
                task.cancel()

    def _let_go(self, flight: Flight, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._land(flight)

    # Changes.

    def watch(self, interval: float) -> Generator[PromptChange]:
        """Yield changes as they come, asking every so many seconds, until `stop`.

        Raises:
            PromptrunError: There is no record to begin with.
        """
        stopped = self._stopped
        seen = self.get()
        while (seconds := self._freshness.due_in(interval)) < math.inf and not stopped.wait(seconds):
            self._ask(interval)
            if (change := self._news(seen)) is not None:
                yield change
                seen = change.new

    async def awatch(self, interval: float) -> AsyncGenerator[PromptChange]:
        """Do what `watch` does, in async code.

        Raises:
            PromptrunError: There is no record to begin with.
        """
        stopped = self._stopped
        seen = await self.aget()
        with stopped.awaited() as waiter:
            while (seconds := self._freshness.due_in(interval)) < math.inf and not await waiter.wait(seconds):
                await self._aask(interval)
                if (change := self._news(seen)) is not None:
                    yield change
                    seen = change.new

    def _news(self, seen: PromptRecord) -> PromptChange | None:
        record = self._freshness.record
        return PromptChange(seen, record) if record is not None and record.differs(seen) else None

    # The end.

    def stop(self) -> None:
        """End what runs behind the callers, and all watching. The next call starts again."""
        with self._lock:
            tasks = dict(self._tasks)
            stopped, self._stopped = self._stopped, Signal()
        stopped.set()
        for task, loop in tasks.items():
            with suppress(RuntimeError):  # the loop is closed, and the task with it
                loop.call_soon_threadsafe(task.cancel)

    def end(self) -> None:
        """End for good: the prompt is collected, or the interpreter ends."""
        self._is_over = True
        self.stop()

    def forked(self) -> None:
        """Begin anew in the child; the parent's threads are not here."""
        self._start()


class Lease:
    """Keeps a follower at work; it ends with the last prompt that holds the lease."""

    __slots__ = ("__weakref__", "follower")

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        weakref.finalize(self, follower.end)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


_followers: weakref.WeakSet[Follower] = weakref.WeakSet()


def _forked() -> None:
    for follower in tuple(_followers):
        follower.forked()


# Windows cannot fork
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_forked)
