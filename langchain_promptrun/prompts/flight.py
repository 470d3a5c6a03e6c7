"""One request on its way, and everybody who waits for it, in any thread and any event loop.

Whoever began it must say how it ended. Where that cannot happen any more (its event loop stopped or gives no sign of
life, or this process is a fork of the one that began it) those who wait find out by themselves. This module must not
send requests.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from langchain_promptrun.errors import PromptrunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from langchain_promptrun.prompts.record import PromptRecord

LIVENESS = 1.0
"""Seconds after which those who wait look whether there is still something to wait for."""


class Signal:
    """An event that threads and tasks can wait for."""

    __slots__ = ("_waiters", "future")

    def __init__(self) -> None:
        self.future: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._waiters: dict[Waiter, None] = {}

    def set(self) -> None:
        """Wake everybody, once."""
        with suppress(concurrent.futures.InvalidStateError):  # it is set
            self.future.set_result(None)
        for waiter in tuple(self._waiters):
            waiter.wake()
        self._waiters.clear()

    def is_set(self) -> bool:
        """Whether it was set."""
        return self.future.done()

    def wait(self, seconds: float, other: Signal | None = None) -> bool:
        """Wait in a thread for this signal or the other one; returns whether one was set."""
        futures = [self.future] if other is None else [self.future, other.future]
        done, _ = concurrent.futures.wait(futures, seconds, concurrent.futures.FIRST_COMPLETED)
        return bool(done)

    @contextmanager
    def awaited(self) -> Iterator[Waiter]:
        """Wait in a task."""
        waiter = Waiter(asyncio.get_running_loop())
        self._waiters[waiter] = None
        if self.is_set():
            waiter.wake()
        try:
            yield waiter
        finally:
            # nothing is asked of the loop, which may be closed
            self._waiters.pop(waiter, None)


class Waiter:
    """A task's view of a signal.

    Args:
        loop: The task's event loop.
    """

    __slots__ = ("_loop", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def wake(self) -> None:
        """Wake the task, from any thread."""
        with suppress(RuntimeError):  # the loop is closed, and the task with it
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    async def wait(self, seconds: float, other: Waiter | None = None) -> bool:
        """Wait for this signal or the other one; returns whether one was set."""
        futures = [self.future] if other is None else [self.future, other.future]
        done, _ = await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)


class Caught:
    """Keeps the exception of a block, unless it ends the thread or the task."""

    error: Exception | None = None

    def __enter__(self) -> None:
        """Nothing was done yet."""

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if isinstance(error, Exception):
            # the frames of a request hold the key
            self.error = error.with_traceback(None) if isinstance(error, PromptrunError) else error
            return True
        return False


class Pulse:
    """Whether an event loop still does what it is told.

    Args:
        loop: The event loop; None for a thread, which cannot be told anything.
    """

    __slots__ = ("_is_felt", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._is_felt = True

    def is_felt(self) -> bool:
        """Whether the loop gave a sign of life since the last look; asks it for the next one."""
        if self._loop is None:
            return True
        was_felt, self._is_felt = self._is_felt, False
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._feel)
        return was_felt

    def _feel(self) -> None:
        self._is_felt = True


class Flight:
    """One request.

    Args:
        loop: The event loop that it runs on; None in a thread.
        stopped: Set when it is to end before its time.

    Attributes:
        record: What came.
        stored: What an earlier process left on disk, where nothing came.
        caught: The error, where one came.
        landed: Set at the end.
        stopped: As handed in.
    """

    __slots__ = ("_is_silent", "_loop", "_pid", "caught", "landed", "record", "stopped", "stored")

    def __init__(self, loop: asyncio.AbstractEventLoop | None, stopped: Signal) -> None:
        self._loop = loop
        self._pid = os.getpid()
        self._is_silent = False
        self.record: PromptRecord | None = None
        self.stored: PromptRecord | None = None
        self.caught = Caught()
        self.landed = Signal()
        self.stopped = stopped

    @property
    def is_empty(self) -> bool:
        """Whether it brought neither a record nor an error."""
        return self.record is None and self.caught.error is None

    def is_lost(self) -> bool:
        """Whether nobody is left who could say how it ended."""
        return self._is_silent or self._pid != os.getpid() or (self._loop is not None and not self._loop.is_running())

    def stands_still_for(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether it cannot go on while this loop's thread waits."""
        return loop is not None and self._loop is loop

    def join(self, stopped: Signal | None = None) -> None:
        """Wait in a thread for the end, or for `stopped`."""
        pulse = Pulse(self._loop)
        while not self.landed.wait(LIVENESS, stopped) and not self._is_vain(pulse):
            pass

    async def lands_within(self, seconds: float) -> bool:
        """Wait in a task for the end, so long at most; returns whether it came."""
        with self.landed.awaited() as waiter:
            return await waiter.wait(seconds)

    async def ajoin(self, stopped: Waiter | None = None) -> None:
        """Wait in a task for the end, or for `stopped`."""
        pulse = Pulse(self._loop)
        with self.landed.awaited() as waiter:
            while not await waiter.wait(LIVENESS, stopped) and not self._is_vain(pulse):
                pass

    def _is_vain(self, pulse: Pulse) -> bool:
        """Whether to wait no longer. A loop without a sign of life may itself be waiting for the one who asks."""
        if not pulse.is_felt():
            self._is_silent = True
        return self.is_lost()
