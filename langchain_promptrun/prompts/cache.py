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

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_promptrun.prompts.record import PromptRecord

T = TypeVar("T")

SHORTEST_POLL = 5.0
"""Fewest seconds between two polls, as in Promptrun's Node SDK."""
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


def may_pass(error: BaseException) -> bool:
    """Return whether the server or the network is at fault, and not project, tag or key."""
    return isinstance(error, _PASSING)


@dataclass(slots=True)
class Freshness:
    """State of one cached record; `refresh` is None for a version that never changes."""

    refresh: float | None
    record: PromptRecord | None = None
    is_pushed: bool = False
    _is_good: bool = False
    _asked: float = -math.inf
    _warned: float = -math.inf
    _error: PromptrunError | None = None
    _failures: int = 0
    _multiplier: float = 1.0

    @property
    def is_final(self) -> bool:
        """Whether the record can never change."""
        return self.refresh is None and self._is_good

    def due_in(self, interval: float | None = None) -> float:
        """Return the seconds until the next request; `interval` takes the place of `refresh`."""
        if self.is_final or (self.is_pushed and self._is_good):
            return math.inf
        wait = self.refresh if interval is None else interval
        if self._failures:
            wait = self._wait_after_failure(_DEFAULT_REFRESH if wait is None else wait)
        return self._asked + (wait or 0.0) - clock()

    def _wait_after_failure(self, interval: float) -> float:
        error, asked_for = self._error, None if self._error is None else self._error.retry_after
        first = interval if self._is_good else min(interval, SHORTEST_POLL)
        wait = max(first, _SHORTEST_WAIT) * self._multiplier
        if self.record is None and asked_for is not None and _is_rate_limit(error):
            # while nothing can be served, a rate limit holds no longer than it says itself
            wait = _SHORTEST_WAIT
        return min(max(wait, asked_for or 0.0), LONGEST_WAIT)

    def refusal(self) -> PromptrunError | None:
        """Return the error of a rate limit that still holds."""
        error = self._error
        return error if _is_rate_limit(error) and self.due_in() > 0 else None

    def succeed(self, record: PromptRecord) -> None:
        """Take a record."""
        self.record, self._is_good = record, True
        self._asked = clock()
        self._error, self._failures, self._multiplier = None, 0, 1.0

    def fail(self, error: BaseException, substitute: PromptRecord | None = None) -> None:
        """Take an error; one that may pass puts the substitute in the place of a record that was never there."""
        self._asked = clock()
        self._error = error if isinstance(error, PromptrunError) else None
        self._failures += 1
        if _is_rate_limit(self._error):
            self._multiplier = min(self._multiplier * 2, 16)
        elif self._failures >= _PATIENT_FAILURES:
            self._multiplier = max(self._multiplier, min(self._multiplier * 1.5, 4))
        if may_pass(error):
            self.record = self.record or substitute

    def may_warn(self) -> bool:
        """Return whether the last warning is a minute ago; yes counts as a warning."""
        now = clock()
        if now - self._warned < _SECONDS_BETWEEN_WARNINGS:
            return False
        self._warned = now
        return True


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
    """Cache of entries by identity, shared by a prompt and its copies. All caches are equal.

    The oldest make room for new ones; a prompt that holds such an entry goes on with it.
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
