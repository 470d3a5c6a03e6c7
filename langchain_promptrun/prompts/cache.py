"""Cache of managed prompts: when a record is stale, and which copies of a prompt share one.

The waits after failures are those of Promptrun's Node SDK: a 429 doubles the wait, up to 16 times; from the third
failure in a row on, other errors stretch it by half, up to 4 times; 5 minutes is the longest.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunConnectionError,
    PromptrunError,
    PromptrunRateLimitError,
    PromptrunTimeoutError,
)
from langchain_promptrun.prompts.record import PromptChange

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_promptrun.prompts.record import PromptRecord

T = TypeVar("T")

SHORTEST_POLL = 5.0
"""Fewest seconds between two polls, as in Promptrun's Node SDK."""
LONGEST_POLL = 30 * 86_400.0
"""Most seconds between two polls, which every system's threads can wait for."""
LONGEST_WAIT = 300.0
"""Most seconds to wait after a failure."""

_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_SHORTEST_WAIT = 1.0
_SECONDS_BETWEEN_WARNINGS = 60.0
_MOST_ENTRIES = 1024
_PATIENT_FAILURES = 3
_DEFAULT_REFRESH = 60.0
_PASSING = (
    *(PromptrunConnectionError, PromptrunTimeoutError, PromptrunRateLimitError, PromptrunAPIError),
    # what a key function may raise
    *(ConnectionError, TimeoutError),
)


def clock() -> float:
    """Return seconds that go on while the machine sleeps; `time.monotonic` stops then on Linux and macOS."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


@dataclass(slots=True)
class Freshness:
    """State of one cached record, with a clock handed in."""

    refresh: float | None
    clock: Callable[[], float]
    record: PromptRecord | None = None
    is_final: bool = False
    is_pushed: bool = False
    _is_good: bool = False
    _asked: float = -math.inf
    _warned: float = -math.inf
    _error: PromptrunError | None = None
    _failures: int = 0
    _multiplier: float = 1.0

    def due_in(self, interval: float | None = None) -> float:
        """Return the seconds until the next request; `interval` takes the place of `refresh`."""
        if self.is_final or (self.is_pushed and self._is_good):
            return math.inf
        wait = self.refresh if interval is None else interval
        if self._failures:
            wait = self._wait_after_failure(_DEFAULT_REFRESH if wait is None else wait)
        return self._asked + (wait or 0.0) - self.clock()

    def refusal(self) -> PromptrunError | None:
        """Return the error of a rate limit that still holds."""
        error = self._error
        return error if _is_rate_limit(error) and self.due_in() > 0 else None

    def succeed(self, record: PromptRecord) -> PromptChange | None:
        """Take a record; return the change that it is."""
        old, self.record, self._is_good = self.record, record, True
        self._asked = self.clock()
        self._error, self._failures, self._multiplier = None, 0, 1.0
        self.is_final = self.refresh is None
        return PromptChange(old, record) if old is not None and old.differs(record) else None

    def fail(self, error: BaseException, substitute: PromptRecord | None = None) -> bool:
        """Take an error; return whether to warn that an older record is served.

        The substitute is served where there was no good record yet, and the error may pass.
        """
        self._asked = self.clock()
        self._error = error if isinstance(error, PromptrunError) else None
        self._failures += 1
        if _is_rate_limit(self._error):
            self._multiplier = min(self._multiplier * 2, 16)
        elif self._failures >= _PATIENT_FAILURES:
            self._multiplier = max(self._multiplier, min(self._multiplier * 1.5, 4))
        if may_pass(error):
            self.record = self.record or substitute
        return self.record is not None and self.may_warn()

    def may_warn(self) -> bool:
        """Return whether the last warning is a minute ago; yes counts as a warning."""
        now = self.clock()
        if now - self._warned < _SECONDS_BETWEEN_WARNINGS:
            return False
        self._warned = now
        return True

    def _wait_after_failure(self, interval: float) -> float:
        asked_for = self._error.retry_after if self._error is not None else None
        first = interval if self._is_good else min(interval, SHORTEST_POLL)
        grown = max(first, _SHORTEST_WAIT) * self._multiplier
        if self.record is None and asked_for is not None and _is_rate_limit(self._error):
            # while nothing can be served, a rate limit holds no longer than it says itself
            grown = _SHORTEST_WAIT
        return min(max(grown, asked_for or 0.0), LONGEST_WAIT)


def may_pass(error: BaseException | None) -> bool:
    """Return whether the server or the network is at fault, and not project, tag or key."""
    return isinstance(error, _PASSING)


def _is_rate_limit(error: PromptrunError | None) -> bool:
    return error is not None and error.status_code == HTTPStatus.TOO_MANY_REQUESTS


class IdentityKey:
    """Values of the fields that decide how a record is asked for; some of them may have no hash."""

    def __init__(self, identity: tuple[object, ...]) -> None:
        self._identity = identity
        self._hash = hash(tuple(part for part in identity if isinstance(part, str | int | float)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdentityKey) and self._identity == other._identity


class PromptCache(Generic[T]):
    """Cache of entries by identity, shared by a prompt and its copies.

    The oldest make room for new ones; a prompt that holds such an entry goes on with it. All caches are equal.
    """

    def __init__(self) -> None:
        # without a lock, which a fork could leave locked: each change is one step
        self._entries: dict[IdentityKey, T] = {}

    def find(self, key: IdentityKey) -> T | None:
        """Return the entry, if there is one."""
        return self._entries.get(key)

    def find_or_make(self, key: IdentityKey, make: Callable[[], T]) -> T:
        """Return the entry, made by the first thread that asks for it."""
        if (found := self._entries.get(key)) is None:
            found = self._entries.setdefault(key, make())
            for oldest in tuple(self._entries)[:-_MOST_ENTRIES]:
                self._entries.pop(oldest, None)
        return found

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptCache)

    def __hash__(self) -> int:
        return hash(PromptCache)
