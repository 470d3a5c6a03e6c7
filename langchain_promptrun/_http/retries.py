"""Whether a failed attempt is made again, and after how many seconds.

Owns the answer and nothing else: it must not wait, log, or read a clock. Asked once after each failed attempt
from which nothing was handed out; a request whose answer began to be handed out is never sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_promptrun.errors import PromptrunError

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
_DOUBLINGS = 4  # 0.5 s doubled four times is the longest pause


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
