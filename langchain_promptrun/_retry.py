"""Whether a failed attempt is made again, and after how many seconds.

Owns the answer and nothing else: it must not wait, log, or read a clock. Asked once after each failed attempt
from which nothing was handed out; a request whose answer began to be handed out is never sent again.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_promptrun.errors import PromptrunError

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
_DOUBLINGS = 4  # 0.5 s doubled four times is the longest pause

_CLIENT_STATUSES = frozenset({408, 409, 429})
# Not implemented, and the HTTP version not supported: the same request fails again.
_LASTING_STATUSES = frozenset({501, 505})
_SERVER_STATUSES = range(500, 600)

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{0,15})?", re.ASCII)


class RetryPolicy(NamedTuple):
    """How often to try again, and how long a server may make one wait.

    Attributes:
        max_retries: Attempts after the first one.
        max_retry_after: Most seconds that a server's `Retry-After` is obeyed; past it, the error comes at once.
    """

    max_retries: int
    max_retry_after: float = 60.0


def retry_delay(error: PromptrunError, attempt: int, policy: RetryPolicy, random: Callable[[], float]) -> float | None:
    """Decide after a failed attempt.

    A server's `Retry-After` is obeyed to the second. Without one the pause is random between 0 and 0.5 s, doubled
    with each attempt up to 8 s (exponential backoff with full jitter), so that many callers do not come back together.

    Args:
        error: What the attempt failed with.
        attempt: Its number, the first one being 0.
        policy: The limits.
        random: Gives a number from 0 to 1.

    Returns:
        Seconds to wait before the next attempt; None to give up.
    """
    if not error.retryable or attempt >= policy.max_retries:
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= policy.max_retry_after else None
    longest: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, _DOUBLINGS))
    return random() * longest


def is_retried_status(status: int) -> bool:
    """Whether a request that got this status may be sent again."""
    return status in _CLIENT_STATUSES or (status in _SERVER_STATUSES and status not in _LASTING_STATUSES)


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Read how long the server asks to wait.

    Args:
        headers: The answer's headers, names in lower case. `retry-after-ms` (milliseconds, OpenAI and Azure) goes
            before `retry-after` (seconds or a date, RFC 9110 section 10.2.3).
        now: Seconds since the epoch.

    Returns:
        Seconds, 0 for a date that has passed; None when the server does not say, or not legibly.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1_000
    value = headers.get("retry-after", "").strip()
    seconds = _number(value)
    return _until(value, now) if seconds is None else seconds


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def _until(date: str, now: float) -> float | None:
    """Seconds until an HTTP date."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
