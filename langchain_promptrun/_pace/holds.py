"""Let calls take turns, and wait together where the server asked one of equal origin, key and model to wait."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from functools import partial
from math import inf
from threading import Event, Lock
from typing import TYPE_CHECKING
from weakref import WeakSet

from langchain_promptrun._pace.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_RATE = 10.0
_GROWTH = 1.0  # a hold has nothing to learn: calls go on slowly, but not for long
_KEPT_SECONDS = 60.0


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
            except RuntimeError:  # its event loop is closed
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


class Pacer:
    """Makes calls wait for their turn, and attempts; with `is_shared` also calls that have no limiter."""

    def __init__(self, pace: Pace, *, is_shared: bool = False) -> None:
        self.pace = pace
        self.is_shared = is_shared
        self.begin()
        _pacers.add(self)

    def begin(self) -> None:
        """Begin with nobody waiting and nothing under way."""
        self.turns = TurnQueue()
        self.attempts = TurnQueue()
        self.pace.begin()

    def asking(self, *, is_retry: bool) -> Callable[[], float]:
        """Return what asks for the turn of an attempt; langchain-core has asked a limiter for the first one's."""
        return partial(self.pace.ask, rate=self.is_shared or is_retry)


_pacers: WeakSet[Pacer] = WeakSet()

HoldName = tuple[str, int, str]
"""Origin, hash of the key, and model."""

held: dict[HoldName, Pacer] = {}
"""What holds calls back at the moment, and for a minute after."""


def _forked() -> None:
    """Forget, in a child process, the calls of its parent, whose threads it does not have."""
    held.clear()
    for pacer in _pacers:
        pacer.begin()


# Windows has neither forks nor this function
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_forked)


def hold_of(name: HoldName) -> Pacer | None:
    """Return what holds calls back; None where nothing does, or its hold is long over."""
    pacer = held.get(name)
    if pacer is not None and pacer.pace.is_over(_KEPT_SECONDS):
        held.pop(name, None)
        return None
    return pacer


def hold(name: HoldName, seconds: float) -> None:
    """Hold calls back for so many seconds; then they go on slowly, and in turn."""
    held.setdefault(name, Pacer(Pace(_FIRST_RATE, growth=_GROWTH), is_shared=True)).pace.hold(seconds)
