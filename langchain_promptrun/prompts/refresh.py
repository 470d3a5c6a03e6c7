"""When a managed prompt is asked for again, and what counts as news: a state machine with a clock handed in. Pure.

A prompt is fresh for so many seconds. After failures it is left alone as Promptrun's Node SDK does it: a 429 doubles
the wait, up to 16 times; from the third failure in a row on, other errors stretch it by half, up to 4 times; it is
never longer than 5 minutes. The wait grows from those seconds where a good record is served, and from 5 at most where
there is none, or only a substitute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

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

SHORTEST_POLL = 5.0
"""Fewest seconds between two polls, as in Promptrun's Node SDK."""
LONGEST_POLL = 30 * 86_400.0
"""Most seconds between two polls, which every system's threads can wait for."""
LONGEST_WAIT = 300.0
"""Most seconds to wait after a failure."""

_SHORTEST_WAIT = 1.0
_SECONDS_BETWEEN_WARNINGS = 60.0
_PATIENT_FAILURES = 3
_DEFAULT_REFRESH = 60.0
_PASSING = (
    *(PromptrunConnectionError, PromptrunTimeoutError, PromptrunRateLimitError, PromptrunAPIError),
    # what a key function may raise
    *(ConnectionError, TimeoutError),
)


@dataclass(slots=True)
class Freshness:
    """What is known of a prompt, and for how long.

    Attributes:
        refresh: Seconds that a record is fresh; None: for ever, as a version never changes.
        clock: Seconds, never going back.
        record: The last good record.
        is_lasting: Whether the record is all that will ever be needed.
    """

    refresh: float | None
    clock: Callable[[], float]
    record: PromptRecord | None = None
    is_lasting: bool = False
    _is_good: bool = False
    _asked: float = -math.inf
    _warned: float = -math.inf
    _error: PromptrunError | None = None
    _failures: int = 0
    _multiplier: float = 1.0

    def due_in(self, interval: float | None = None) -> float:
        """Seconds until it is time to ask again; 0 or less when it is.

        Args:
            interval: Seconds between two requests, in place of `refresh`.
        """
        if self.is_lasting:
            return math.inf
        wait = self.refresh if interval is None else interval
        if self._failures:
            wait = self._wait_after_failure(_DEFAULT_REFRESH if wait is None else wait)
        return self._asked + (wait or 0.0) - self.clock()

    def refusal(self) -> PromptrunError | None:
        """The error of a rate limit that still holds, while there is no record to serve."""
        error = self._error
        return error if _is_rate_limit(error) and self.due_in() > 0 else None

    def succeeded(self, record: PromptRecord) -> PromptChange | None:
        """A record came; returns the change that it is."""
        old, self.record, self._is_good = self.record, record, True
        self._asked = self.clock()
        self._error, self._failures, self._multiplier = None, 0, 1.0
        self.is_lasting = self.refresh is None
        return PromptChange(old, record) if old is not None and old.differs(record) else None

    def failed(self, error: Exception, substitute: PromptRecord | None = None) -> bool:
        """No record came.

        Args:
            error: Why.
            substitute: What to serve where there was no good record yet, and the error may pass.

        Returns:
            Whether to warn that an older record is served; true once a minute.
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
        """Whether the last warning is a minute ago; the answer yes counts as one."""
        now = self.clock()
        if now - self._warned < _SECONDS_BETWEEN_WARNINGS:
            return False
        self._warned = now
        return True

    def _wait_after_failure(self, interval: float) -> float:
        """What the interval has grown to, or what the server asked for.

        While there is nothing to serve, a rate limit holds no longer than it says itself.
        """
        asked_for = self._error.retry_after if self._error is not None else None
        first = interval if self._is_good else min(interval, SHORTEST_POLL)
        grown = max(first, _SHORTEST_WAIT) * self._multiplier
        if self.record is None and asked_for is not None and _is_rate_limit(self._error):
            grown = _SHORTEST_WAIT
        return min(max(grown, asked_for or 0.0), LONGEST_WAIT)


def may_pass(error: Exception | None) -> bool:
    """Whether the server or the way to it is at fault, and not the request: the project, the tag, the key."""
    return isinstance(error, _PASSING)


def _is_rate_limit(error: PromptrunError | None) -> bool:
    return error is not None and error.status_code == HTTPStatus.TOO_MANY_REQUESTS
