"""Inputs too long for the model's context, in the words of many vendors, and errors that only look like it."""

from __future__ import annotations

from typing import Any

from langchain_promptrun.errors import (
    PromptrunContextOverflowError,
    PromptrunError,
    PromptrunInvalidRequestError,
    PromptrunRateLimitError,
)
from langchain_promptrun.testing import Fault
from wire_faults.fault import STREAMED, Failure, WireFault
from wire_faults.wire import AT_ONCE, BEGINNING, BEGUN, events

_OPENAI = {
    "error": {
        "message": "This model's maximum context length is 128000 tokens. However, your messages resulted in 130456 "
        "tokens. Please reduce the length of the messages.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
}
_PER_MINUTE = (
    "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 45250. The "
    "input or output tokens must be reduced in order to run successfully."
)


def _status(
    name: str, status: int, body: Any, kind: type[PromptrunError] = PromptrunContextOverflowError, requests: int = 1
) -> WireFault:
    return WireFault(
        name=name,
        items=[Fault(status=status, body=body, headers=AT_ONCE, times=2)],
        settings={"max_retries": 1},
        sees=Failure(kind=kind, facts={"status_code": status}),
        requests=requests,
    )


def _overflow(name: str, status: int, message: str, **error: Any) -> WireFault:
    return _status(f"overflow-{name}", status, {"error": {"message": message, **error}})


FAULTS = [
    _status("overflow-400", 400, _OPENAI),
    _overflow("413", 413, "Please reduce the length of the messages or completion.", code="context_length_exceeded"),
    _overflow("422", 422, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    _overflow("429", 429, _PER_MINUTE, type="tokens", code="rate_limit_exceeded"),
    _overflow("500", 500, "the request exceeds the available context size, try increasing it", type="server_error"),
    _overflow("anthropic", 400, "prompt is too long: 215478 tokens > 200000 maximum", type="invalid_request_error"),
    _overflow("google", 400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    _status("overflow-bedrock", 400, {"message": "Input is too long for requested model."}),
    WireFault(
        name="overflow-in-200-body",
        items=[Fault(body=_OPENAI)],
        sees=Failure(kind=PromptrunContextOverflowError, facts={"code": "context_length_exceeded"}),
    ),
    WireFault(
        name="overflow-in-the-first-event",
        items=[events({"error": {"message": "Your input exceeds the context window of this model."}})],
        styles=STREAMED,
        sees=Failure(kind=PromptrunContextOverflowError),
    ),
    WireFault(
        name="overflow-in-a-later-event",
        items=[events(*BEGINNING, _OPENAI)],
        styles=STREAMED,
        sees=Failure(kind=PromptrunContextOverflowError, after=BEGUN),
    ),
    _status(
        "no-overflow-tokens-per-minute",
        429,
        {"error": {"message": "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29800."}},
        PromptrunRateLimitError,
        requests=2,
    ),
    _status(
        "no-overflow-output-too-long",
        400,
        {"error": {"message": "max_tokens is too large: 200000. This model supports at most 16384 completion tokens."}},
        PromptrunInvalidRequestError,
    ),
    _status(
        "no-overflow-image-too-large",
        413,
        {"error": {"message": "The image is too large: 21 MB exceeds the limit of 20 MB."}},
        PromptrunInvalidRequestError,
    ),
]
