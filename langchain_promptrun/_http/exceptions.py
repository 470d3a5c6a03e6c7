"""Errors of the connection itself, put into words: what happened, the limit in seconds, the field to change.

Owns the wording. Pure: what failed, and why, the transport knows and says. It must not know httpx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack

from langchain_promptrun._errors.body import tidy
from langchain_promptrun.errors import (
    ErrorDetails,
    PromptrunConnectionError,
    PromptrunStreamStalledError,
    PromptrunTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Phase = Literal["connect", "read", "write", "pool"]

_REASON_LIMIT = 300

_TIMED_OUT: Mapping[Phase, str] = {
    "connect": "No connection came about{limit}. Raise `timeout` if the network is slow.",
    "read": "The server sent nothing{limit}. Raise `timeout` if the model needs longer; the request may be billed.",
    "write": "The request could not be sent{limit}. Raise `timeout` if it is large or the network is slow.",
    "pool": "No connection of the pool became free{limit}. Raise `max_connections` or `timeout`.",
}


def timed_out(during: Phase, seconds: float | None, **details: Unpack[ErrorDetails]) -> PromptrunTimeoutError:
    """Make the error for a time-out on this side.

    Args:
        during: What took too long. Only "connect" is tried again: nothing was asked yet, so nothing is billed.
        seconds: The limit that was hit; None when it is not known.
        details: Attributes of the error.
    """
    details["phase"] = during
    return PromptrunTimeoutError(_TIMED_OUT[during].format(limit=_within(seconds)), **details)


def stalled(seconds: float, **details: Unpack[ErrorDetails]) -> PromptrunStreamStalledError:
    """Make the error for a stream that brought no content for so long, keep-alive comments or not.

    Args:
        seconds: The limit that was hit, `stream_chunk_timeout`.
        details: Attributes of the error; `partial` for what had come.
    """
    message = (
        f"The stream brought no content{_within(seconds)}. "
        "Raise `stream_chunk_timeout` if the model pauses longer; None waits without limit."
    )
    details["phase"] = "read"
    return PromptrunStreamStalledError(message, **details)


def cannot_connect(origin: str, reason: str, **details: Unpack[ErrorDetails]) -> PromptrunConnectionError:
    """Make the error for a server that cannot be reached.

    Args:
        origin: Scheme, host and port, without user, path or query.
        reason: Why, in words without key or payload.
        details: Attributes of the error; `retryable=False` where trying again cannot help.
    """
    message = f"Cannot connect to {origin}: {_words(reason)}. Check `base_url`, the network and the proxy variables."
    return PromptrunConnectionError(message, **details)


def connection_lost(reason: str, **details: Unpack[ErrorDetails]) -> PromptrunConnectionError:
    """Make the error for a connection that ended before the answer did.

    Args:
        reason: Why, in words without key or payload.
        details: Attributes of the error; `partial` for what had come.
    """
    message = f"The connection was lost before the answer was complete: {_words(reason)}."
    return PromptrunConnectionError(message, **details)


def _within(seconds: float | None) -> str:
    return "" if seconds is None else f" within {seconds:g} s"


def _words(reason: str) -> str:
    return tidy(reason, _REASON_LIMIT).rstrip(".") or "no reason given"
