"""Which errors are sent again, and after what wait, as the server says."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLIENT_STATUSES = frozenset({408, 409, 429})
# Not implemented, and the HTTP version not supported: the same request fails again.
_LASTING_STATUSES = frozenset({501, 505})
_SERVER_STATUSES = range(500, 600)

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{0,15})?", re.ASCII)


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
