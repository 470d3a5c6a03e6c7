"""Keeps one managed prompt current: nobody waits who can be served, and changes are told to those who watch.

How it is asked for is `_prompt_asker`'s matter, and when, `_prompt_refresh`'s. Safe to use from several threads and
event loops.
"""

from __future__ import annotations

import asyncio
import copy
import math
from typing import TYPE_CHECKING

from langchain_promptrun.errors import PromptrunError, PromptrunTimeoutError
from langchain_promptrun.prompts.asker import Asker, running_loop
from langchain_promptrun.prompts.record import PromptChange

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from langchain_promptrun.prompts.flight import Flight, Signal
    from langchain_promptrun.prompts.record import PromptRecord

SHORT_WAIT = 1.0
"""Most seconds that a call waits which has a record to serve."""


class Follower(Asker):
    """The current record of a prompt."""

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
            self._depart(flight, apart=self._source.is_interruptible)
        return record

    async def aget(self) -> PromptRecord:
        """Do what `get` does, without blocking the event loop.

        Raises:
            PromptrunError: There is no record, and none can be had.
        """
        last = None
        while (record := self._served(last)) is None:
            last = await self._aask()
        loop = asyncio.get_running_loop() if self._source.is_bound_to_loop else None
        flight, is_mine = self._board(loop) if last is None else (None, False)
        if flight is None or not is_mine:
            return record
        if loop is None:
            # a thread goes on when the loop of this call has ended
            self._depart(flight, apart=True)
        else:
            await self._refresh_on(loop, flight)
        return self._freshness.record or record

    async def _refresh_on(self, loop: asyncio.AbstractEventLoop, flight: Flight) -> None:
        """Ask in a task of this loop; wait for it a little where the last loop ended before it knew.

        Where each call has a loop of its own, nothing would ever come otherwise.
        """
        was_cut_off = self._was_cut_off
        self._depart_on(loop, flight)
        if was_cut_off and not await flight.lands_within(SHORT_WAIT):
            # the next calls are not to wait, too
            self._late(flight, PromptrunTimeoutError(f"no answer within {SHORT_WAIT:g} s"))

    def _served(self, last: Flight | None) -> PromptRecord | None:
        """The record; raises what the caller's last attempt failed with, where there is none."""
        with self._lock:
            record = self._freshness.record
            error = self._freshness.refusal() if last is None else last.caught.error
        if record is None and error is not None:
            # one error is raised by all that waited for it
            raise copy.copy(error) if isinstance(error, PromptrunError) else error
        return record

    # Changes.

    def watch(self, interval: float, stopped: Signal) -> Generator[PromptChange]:
        """Yield changes as they come, asking every so many seconds, until `stopped`.

        Raises:
            PromptrunError: There is no record to begin with.
        """
        seen = self._served(None)
        behind = self.behind.stopped
        while (seconds := self._pause(interval)) < math.inf and not stopped.wait(seconds):
            flight, is_mine = self._board(None, stopped=behind, blocked=running_loop(), interval=interval)
            if flight is not None:
                if is_mine:
                    # this thread could not be told to stop
                    self._depart(flight, apart=self._source.is_interruptible)
                flight.join(stopped)
            if seen is None:
                seen = self._served(flight)
            elif (change := self._news(seen)) is not None:
                yield change
                seen = change.new
            behind = self.behind.stopped

    async def awatch(self, interval: float, stopped: Signal) -> AsyncGenerator[PromptChange]:
        """Do what `watch` does, in async code.

        Raises:
            PromptrunError: There is no record to begin with.
        """
        loop = asyncio.get_running_loop()
        seen = self._served(None)
        behind = self.behind.stopped
        with stopped.awaited() as waiter:
            while (seconds := self._pause(interval)) < math.inf and not await waiter.wait(seconds):
                flight, is_mine = self._board(loop, stopped=behind, interval=interval)
                if flight is not None:
                    if is_mine:
                        self._depart_on(loop, flight)
                    await flight.ajoin(waiter)
                if seen is None:
                    seen = self._served(flight)
                elif (change := self._news(seen)) is not None:
                    yield change
                    seen = change.new
                behind = self.behind.stopped

    def _pause(self, interval: float) -> float:
        """Seconds until the next poll; infinite when there is none."""
        return math.inf if self.behind.is_over else max(self._freshness.due_in(interval), 0.0)

    def _news(self, seen: PromptRecord) -> PromptChange | None:
        record = self._freshness.record
        return PromptChange(seen, record) if record is not None and record.differs(seen) else None
