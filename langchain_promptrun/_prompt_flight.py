"""One request on its way, and everybody who waits for it, in any thread and any event loop.

Whoever began it must say how it ended. Where that cannot happen any more (its event loop stopped, or this process is a
fork of the one that began it) those who wait find out by themselves. This module must not send requests.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_promptrun.errors import PromptrunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from langchain_promptrun._prompt_record import PromptRecord

LIVENESS = 1.0
"""Seconds after which those who wait look whether there is still something to wait for."""


class Signal:
    """An event that threads and tasks can wait for."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: concurrent.futures.Future[None] = concurrent.futures.Future()
        # a task that gives up waiting must not cancel it for the others
        self._future.set_running_or_notify_cancel()

    def set(self) -> None:
        """Wake everybody, once."""
        if not self._future.done():
            self._future.set_result(None)

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._future.done()

    def wait(self, seconds: float) -> bool:
        """Wait in a thread; returns whether it was set."""
        concurrent.futures.wait([self._future], seconds)
        return self.is_set()

    @contextmanager
    def awaited(self) -> Iterator[Waiter]:
        """Wait in a task."""
        future = asyncio.wrap_future(self._future)
        try:
            yield Waiter(future)
        finally:
            future.cancel()


class Waiter:
    """A task's view of a signal."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    async def wait(self, seconds: float) -> bool:
        """Wait; returns whether the signal was set."""
        await asyncio.wait([self._future], timeout=seconds)
        return self._future.done()


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


class Flight:
    """One request.

    Args:
        loop: The event loop that it runs on; None in a thread.

    Attributes:
        record: What came.
        stored: What an earlier process left on disk, where nothing came.
        caught: The error, where one came.
        landed: Set at the end.
    """

    __slots__ = ("_loop", "_pid", "caught", "landed", "record", "stored")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._pid = os.getpid()
        self.record: PromptRecord | None = None
        self.stored: PromptRecord | None = None
        self.caught = Caught()
        self.landed = Signal()

    def is_lost(self) -> bool:
        """Whether nobody is left who could say how it ended."""
        return self._pid != os.getpid() or (self._loop is not None and not self._loop.is_running())

    def stands_still_for(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether it cannot go on while this loop's thread waits."""
        return loop is not None and self._loop is loop

    def join(self) -> None:
        """Wait for the end, in a thread."""
        while not self.landed.wait(LIVENESS) and not self.is_lost():
            pass

    async def ajoin(self) -> None:
        """Wait for the end, in a task."""
        with self.landed.awaited() as waiter:
            while not await waiter.wait(LIVENESS) and not self.is_lost():
                pass
