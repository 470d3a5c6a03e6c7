"""Errors inside a stream that began with status 200: at its start, in its middle, at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunAuthenticationError,
    PromptrunContextOverflowError,
    PromptrunError,
    PromptrunRateLimitError,
    PromptrunResponseError,
    PromptrunTimeoutError,
)
from wire_faults.fault import STREAMED, Failure, WireFault
from wire_faults.wire import (
    BEGINNING,
    BEGUN,
    DONE,
    ENDED,
    ROLE,
    SPOKEN,
    STOP,
    TEXT,
    chunk,
    events,
    sse,
    streamed,
)

if TYPE_CHECKING:
    from langchain_promptrun.testing import Fault

_SAID = "The vendor went away."
_ERROR = {"error": {"code": 502, "message": _SAID, "metadata": {"provider_name": "Mistral"}}}
_FACTS = {"status_code": 502, "provider": "Mistral"}


def _first(
    name: str, fault: Fault, kind: type[PromptrunError] = PromptrunAPIError, *says: str, **facts: Any
) -> WireFault:
    """An error before anything was said: nothing may be handed out."""
    return WireFault(
        name=f"first-event-{name}",
        items=[fault],
        styles=STREAMED,
        sees=Failure(kind=kind, says=says, facts=facts),
    )


def _later(
    name: str,
    fault: Fault,
    *says: str,
    kind: type[PromptrunError] = PromptrunAPIError,
    after: str = BEGUN,
    **facts: Any,
) -> WireFault:
    """An error after something was said: that stays with the caller, and nothing is tried again."""
    return WireFault(
        name=f"later-event-{name}",
        items=[fault],
        styles=STREAMED,
        settings={"max_retries": 2},
        sees=Failure(kind=kind, says=says, after=after, facts=facts),
    )


def _in_choice(**choice: Any) -> dict[str, Any]:
    return {**chunk(), "choices": [{"index": 0, "delta": {"content": ""}, **choice}]}


def _named(data: bytes) -> bytes:
    return b"event: error\ndata: " + data + b"\n\n"


FIRST = [
    _first("error", events(_ERROR, done=False), PromptrunAPIError, _SAID, "Mistral", **_FACTS),
    _first("error-then-done", events(_ERROR), PromptrunAPIError, _SAID, **_FACTS),
    _first("error-then-text", events(_ERROR, *ENDED), PromptrunAPIError, _SAID),
    _first("error-with-empty-choices", events({**chunk(), "choices": [], **_ERROR}), PromptrunAPIError, _SAID),
    _first("error-string", events({"error": _SAID}), PromptrunAPIError, _SAID),
    _first("error-list", events([{"error": {"code": 429, "message": _SAID}}]), PromptrunRateLimitError, _SAID),
    _first(
        "rate-limit-by-name", events({"error": {"message": _SAID, "type": "rate_limit_error"}}), PromptrunRateLimitError
    ),
    _first(
        "invalid-key",
        events({"error": {"message": _SAID, "code": 401}}),
        PromptrunAuthenticationError,
        "PROMPTRUN_API_KEY",
    ),
    _first("gateway-timeout", events({"error": {"message": _SAID, "code": "504"}}), PromptrunTimeoutError, _SAID),
    _first(
        "named-error",
        streamed(_named(b'{"message": "' + _SAID.encode() + b'", "code": 429}')),
        PromptrunRateLimitError,
        _SAID,
    ),
    _first("named-error-in-plain-text", streamed(_named(_SAID.encode())), PromptrunAPIError, _SAID),
    _first("named-error-without-data", streamed(_named(b"{}")), PromptrunAPIError),
    _first("finish-reason-error", events(_in_choice(finish_reason="error")), PromptrunAPIError, "error"),
    _first(
        "error-in-the-choice",
        events(_in_choice(**_ERROR, finish_reason="error")),
        PromptrunAPIError,
        _SAID,
        status_code=502,
    ),
    _first("after-comments", streamed(b": OPENROUTER PROCESSING\n\n" * 3, sse(_ERROR)), PromptrunAPIError, _SAID),
    _first("html", streamed(b"<html><title>Maintenance</title></html>"), PromptrunResponseError),
    _first("not-json", streamed(b"data: upstream connect error\n\n"), PromptrunResponseError, "upstream connect error"),
    _first("number", events(42), PromptrunResponseError),
    _first("list", events([]), PromptrunResponseError),
    _first("half-a-document", events('{"id": "chatcmpl-1", "choi'), PromptrunResponseError),
    _first("after-an-empty-role", events(ROLE, _ERROR), PromptrunAPIError, _SAID),
]

LATER = [
    _later("error", events(*BEGINNING, _ERROR, done=False), _SAID, **_FACTS),
    _later("error-then-done", events(*BEGINNING, _ERROR), _SAID, **_FACTS),
    _later("error-then-text", events(*BEGINNING, _ERROR, *SPOKEN), _SAID),
    _later("error-in-the-same-packet", streamed(sse(*BEGINNING, _ERROR)), _SAID),
    _later("error-with-empty-choices", events(*BEGINNING, {**chunk(), "choices": [], **_ERROR}), _SAID),
    _later("error-string", events(*BEGINNING, {"error": _SAID}), _SAID),
    _later("named-error", streamed(sse(*BEGINNING), _named(b'{"detail": "' + _SAID.encode() + b'"}'), DONE), _SAID),
    _later("named-error-in-plain-text", streamed(sse(*BEGINNING), _named(_SAID.encode())), _SAID),
    _later("finish-reason-error", events(*BEGINNING, _in_choice(finish_reason="error")), "error"),
    _later("error-in-the-choice", events(*BEGINNING, _in_choice(**_ERROR, finish_reason="error")), _SAID),
    _later(
        "rate-limit",
        events(*BEGINNING, {"error": {"message": _SAID, "code": 429}}),
        kind=PromptrunRateLimitError,
        status_code=429,
    ),
    _later(
        "context-overflow",
        events(*BEGINNING, {"error": {"message": "Too long.", "code": "context_length_exceeded"}}),
        kind=PromptrunContextOverflowError,
    ),
    _later("error-after-the-finish", events(*SPOKEN, STOP, _ERROR), _SAID, after=TEXT),
    _later("not-json", events(*BEGINNING, "<html>504</html>"), "504", kind=PromptrunResponseError),
    _later("text-without-json", events(*BEGINNING, '"stopped"'), kind=PromptrunResponseError),
    _later(
        "error-after-half-a-tool-call",
        events(chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a'}}]}), _ERROR),
        _SAID,
        after="",
    ),
    _later(
        "error-after-reasoning",
        events(chunk({"role": "assistant", "reasoning_content": "Let me see."}), _ERROR),
        _SAID,
        after="",
    ),
]

FAULTS = [*FIRST, *LATER]
