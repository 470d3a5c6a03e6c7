"""Decide which errors are retried, and read how long a server asks to wait."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from langchain_promptrun.errors import PromptrunConnectionError, PromptrunError, PromptrunTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLIENT_STATUSES = frozenset({408, 409, 429})
_SERVER_STATUSES = range(500, 600)
# not implemented, and the HTTP version not supported: the same request fails again
_LASTING_STATUSES = frozenset({501, 505})
# an empty account answers 429 at OpenAI; waiting does not fill it
QUOTA_NAMES = frozenset(
    {
        *("insufficientquota", "insufficientcredits", "insufficientbalance", "notenoughbalance", "arrearage"),
        *("billinghardlimitreached", "organizationspendlimitexceeded", "projectspendlimitexceeded", "budgetexceeded"),
    }
)

_NUMBER = re.compile(r"\s*(\d{1,15}(?:\.\d{0,15})?)\s*", re.ASCII)


def is_retried(error: PromptrunError) -> bool:
    """Tell whether this package sends a request again that ended with an error, if nothing was handed out.

    `is_retryable` is what langchain-core's error classes say for the layers above, and an error for which it is false
    is never retried here. Beyond that, a time-out is retried only before the request was sent, since it may be billed,
    and a server's error only where its status means that the request may pass later.
    """
    if not error.is_retryable:
        return False
    if isinstance(error, PromptrunTimeoutError) and error.phase is not None:
        return error.phase == "connect"
    # the server may have said so itself (`x-should-retry`)
    if "is_retryable" in vars(error) or isinstance(error, PromptrunConnectionError):
        return True
    status = error.status_code
    return status in _CLIENT_STATUSES or (status in _SERVER_STATUSES and status not in _LASTING_STATUSES)


def retry_verdict(status: int, headers: Mapping[str, str], *, overflow: bool, is_empty: bool) -> bool | None:
    """Return whether a request may pass later, as its answer says; None where the class of the error decides."""
    advised = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    if is_empty or advised is False:
        # the status of an empty account is a rate limit's
        return False
    return True if not overflow and (advised or status in _CLIENT_STATUSES) else None


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a server asks to wait; 0 for a date that has passed, None when it does not say.

    `retry-after-ms` (milliseconds, OpenAI and Azure) goes before `retry-after` (seconds or a date, RFC 9110, 10.2.3).
    Names are in lower case; `now` is in seconds since the epoch.
    """
    if milliseconds := _NUMBER.fullmatch(headers.get("retry-after-ms", "")):
        return float(milliseconds[1]) / 1_000
    value = headers.get("retry-after", "")
    if seconds := _NUMBER.fullmatch(value):
        return float(seconds[1])
    try:
        moment = parsedate_to_datetime(value.strip())
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
