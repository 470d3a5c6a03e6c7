"""How much of a streamed answer is kept until its end, and where that ends.

Text and arguments are handed out as they come, and one event is bounded by its size. What no chunk is made of before
the end (facts, images, audio, unknown keys) would grow for as long as a server sends it. It is counted as the JSON
that it came in takes at the least, so what fits into one document always fits. Pure.
"""

from __future__ import annotations

from typing import Any

from langchain_promptrun.errors import PromptrunResponseError

_QUOTES = 2
_NUMBER = 1


class Room:
    """Room for what is kept of one answer.

    Args:
        limit: Bytes, `max_event_bytes`; without it there is no limit.
    """

    __slots__ = ("_limit", "_used")

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._used = 0

    def lift(self) -> None:
        """There is no limit any more, and nothing to be counted: all that comes is in one document."""
        self._limit = None

    def take(self, size: int) -> None:
        """Count bytes that are kept from now on.

        Raises:
            PromptrunResponseError: There is no room for them.
        """
        self._used += size
        if self._limit is not None and self._used > self._limit:
            raise too_large(
                f"The server's answer holds more than {self._limit} bytes that are kept until its end "
                "(max_event_bytes)."
            )

    def keep(self, facts: dict[str, Any], key: str, value: Any) -> None:
        """Put a value into `facts`, where it may replace another one.

        Raises:
            PromptrunResponseError: There is no room for it.
        """
        if self._limit is not None:
            self.take(weight(value) - weight(facts[key]) if key in facts else weight(value) + weight(key))
        facts[key] = value


def weight(value: Any) -> int:
    """Bytes that a value takes as JSON, at the least."""
    kind = type(value)
    if kind is str:
        return len(value) + _QUOTES
    if kind is list:
        return _QUOTES + sum(map(weight, value))
    if kind is dict:
        return _QUOTES + sum(map(weight, value)) + sum(map(weight, value.values()))
    return _NUMBER


def too_large(message: str) -> PromptrunResponseError:
    """Make the error for an answer beyond a limit of the caller's, which it is the next time, too."""
    error = PromptrunResponseError(message)
    error.is_retryable = False
    return error
