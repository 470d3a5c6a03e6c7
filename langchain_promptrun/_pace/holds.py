"""Make calls of one origin, key and model wait together where the server asked one of them to wait."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet

from langchain_promptrun._pace.pace import Pace
from langchain_promptrun._pace.turns import TurnQueue

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_RATE = 10.0
_GROWTH = 1.0  # a hold has nothing to learn: calls go on slowly, but not for long
_KEPT_SECONDS = 60.0


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

    def wait(self, ends_at: float, *, is_retry: bool) -> None:
        """Wait for the turn of an attempt; raises TimeoutError at a time."""
        self.attempts.wait(self._ask(is_retry=is_retry), ends_at)

    async def async_wait(self, ends_at: float, *, is_retry: bool) -> None:
        """Async version of `wait`."""
        await self.attempts.async_wait(self._ask(is_retry=is_retry), ends_at)

    def _ask(self, *, is_retry: bool) -> Callable[[], float]:
        # langchain-core has asked a limiter for the first attempt's turn
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


def ending_of(name: HoldName) -> Callable[[], None] | None:
    """Return what ends the hold of now: an answer to a request that is sent after it began."""
    pacer = held.get(name)
    return None if pacer is None else partial(pacer.pace.release, pacer.pace.holds)


def hold(name: HoldName, seconds: float) -> None:
    """Hold calls back for so many seconds; then they go on slowly, and in turn."""
    held.setdefault(name, Pacer(Pace(_FIRST_RATE, growth=_GROWTH), is_shared=True)).pace.hold(seconds)
