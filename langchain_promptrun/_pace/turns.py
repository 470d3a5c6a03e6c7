"""Let calls of all threads and event loops take turns."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from math import inf
from threading import Event, Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class TurnQueue:
    """Lets callers of any thread and event loop wait for their turn, in the order in which they came."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: deque[Callable[[], object]] = deque()
        self._taken = False

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, ask: Callable[[], float], ends_at: float = inf) -> None:
        """Ask until the answer is 0, when it is one's turn; raises TimeoutError at a time of the monotonic clock."""
        event = Event()
        if not self._enter(event.set):
            is_woken = False
            try:
                is_woken = event.wait(_left(ends_at))
            finally:
                if not is_woken:
                    self._give_up(event.set)
            if not is_woken:
                raise TimeoutError
        try:
            while (delay := ask()) > 0:
                time.sleep(_within(delay, ends_at))
        finally:
            self._leave()

    async def async_wait(self, ask: Callable[[], float], ends_at: float = inf) -> None:
        event = asyncio.Event()
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, event.set)
        if not self._enter(wake):
            try:
                async with asyncio.timeout(_left(ends_at)):
                    await event.wait()
            except BaseException:
                self._give_up(wake)
                raise
        try:
            while (delay := ask()) > 0:
                pause = _within(delay, ends_at)
                await asyncio.sleep(pause)
        finally:
            self._leave()

    def try_now(self, ask: Callable[[], float]) -> bool:
        """Return whether nobody waits and the answer is 0."""
        if not self._enter(None):
            return False
        try:
            return ask() <= 0
        finally:
            self._leave()

    def _enter(self, wake: Callable[[], object] | None) -> bool:
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            if wake is not None:
                self._waiting.append(wake)
            return False

    def _leave(self) -> None:
        while True:
            with self._lock:
                wake = self._waiting.popleft() if self._waiting else None
                self._taken = wake is not None
            if wake is None:
                return
            try:
                wake()
            except RuntimeError:  # the event loop of that caller is closed
                continue
            return

    def _give_up(self, wake: Callable[[], object]) -> None:
        try:
            with self._lock:
                self._waiting.remove(wake)
        except ValueError:  # woken meanwhile: it is the next one's turn
            self._leave()


def _left(ends_at: float) -> float | None:
    return None if ends_at == inf else max(0.0, ends_at - time.monotonic())


def _within(delay: float, ends_at: float) -> float:
    """Return a delay that ends in time; raises TimeoutError where none does."""
    if time.monotonic() + delay >= ends_at:
        raise TimeoutError
    return delay
