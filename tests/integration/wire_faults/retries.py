"""What is sent again, how often, and after how long."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunError,
    PromptrunRateLimitError,
)
from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, SOME, STREAMED, Failure, WireFault
from wire_faults.wire import AT_ONCE, REPLY, dumps, nothing, streamed, whole

_LATER = format_datetime(datetime(2100, 1, 1, tzinfo=UTC), usegmt=True)
_BEFORE = format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)
_BUSY = {"error": {"message": "Busy.", "code": 503}}


def _recovers(name: str, *faults: Fault, requests: int = 0, **more: Any) -> WireFault:
    """Faults, and then the answer."""
    settings = {"max_retries": len(faults), **more.pop("settings", {})}
    return WireFault(name=f"retry-{name}", items=[*faults, REPLY], settings=settings, requests=len(faults) + 1, **more)


def _fails(
    name: str, fault: Fault, kind: type[PromptrunError], requests: int, *, retries: int, **more: Any
) -> WireFault:
    settings = {"max_retries": retries, **more.pop("settings", {})}
    facts = more.pop("facts", {})
    return WireFault(
        name=f"retry-{name}",
        items=[fault] * (requests + 1),
        settings=settings,
        sees=Failure(kind=kind, facts=facts),
        requests=requests,
        **more,
    )


def _limit(**headers: str) -> Fault:
    return Fault(status=429, headers={name.replace("_", "-"): value for name, value in headers.items()})


FAULTS = [
    _recovers("429-503-then-the-answer", Fault(status=429, headers=AT_ONCE), Fault(status=503, headers=AT_ONCE)),
    _recovers("after-a-date-that-has-passed", _limit(retry_after=_BEFORE)),
    _recovers("after-milliseconds", _limit(retry_after_ms="120"), at_least=0.12, styles=SOME),
    _recovers("after-part-of-a-second", _limit(retry_after="0.12"), at_least=0.12, styles=SOME),
    _recovers("milliseconds-before-seconds", _limit(retry_after_ms="1", retry_after="30")),
    _recovers("after-a-second", _limit(retry_after="1"), at_least=1.0, styles=("invoke", "astream")),
    _recovers("after-an-illegible-time", _limit(retry_after="soon"), styles=("invoke", "astream")),
    _recovers("after-a-negative-time", _limit(retry_after="-5"), styles=("stream", "ainvoke")),
    _recovers("code-in-a-200-body", Fault(body=_BUSY, headers=AT_ONCE), styles=PLAIN),
    _recovers(
        "code-in-the-first-event", streamed(b'data: {"error": {"code": 503}}\n\n', headers=AT_ONCE), styles=STREAMED
    ),
    _recovers("truncated-document", Fault(body=dumps(whole())[:99]), styles=PLAIN),
    _recovers("empty-answer", nothing(), styles=("invoke", "astream")),
    _recovers("connection-reset", Fault(reset=True), styles=("invoke", "av3", "ainvoke")),
    _recovers("connection-closed", Fault(cut=True), styles=("v3", "astream")),
    _fails("exactly-one-more", Fault(status=500, headers=AT_ONCE), PromptrunAPIError, 2, retries=1),
    _fails("exactly-two-more", Fault(status=429, headers=AT_ONCE), PromptrunRateLimitError, 3, retries=2),
    _fails("none-when-none-is-allowed", Fault(status=503, headers=AT_ONCE), PromptrunAPIError, 1, retries=0),
    _fails(
        "no-quota",
        Fault(status=429, headers=AT_ONCE, body={"error": {"message": "Pay.", "code": "insufficient_quota"}}),
        PromptrunRateLimitError,
        1,
        retries=2,
        facts={"is_retryable": False},
    ),
    _fails(
        "not-after-an-hour",
        _limit(retry_after="3600"),
        PromptrunRateLimitError,
        1,
        retries=2,
        facts={"retry_after": 3600.0},
    ),
    _fails("not-in-the-next-century", _limit(retry_after=_LATER), PromptrunRateLimitError, 1, retries=2),
    _fails(
        "not-after-more-than-the-caller-allows",
        _limit(retry_after_ms="300"),
        PromptrunRateLimitError,
        1,
        retries=2,
        settings={"max_retry_after": 0.2},
        facts={"retry_after": 0.3},
    ),
]
