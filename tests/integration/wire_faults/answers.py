"""Answers with status 200 that lack an answer, hide an error, or are odd and yet right."""

from __future__ import annotations

from typing import Any

from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunAuthenticationError,
    PromptrunError,
    PromptrunPaymentRequiredError,
    PromptrunRateLimitError,
    PromptrunResponseError,
    PromptrunStreamTruncatedError,
    PromptrunTimeoutError,
)
from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, STREAMED, Answer, Failure, WireFault
from wire_faults.wire import BODY, DONE, ENDED, HEAD, JSON, SSE, TEXT, chunk, dumps, nothing, sse, streamed, whole

_RATE = {"code": 429, "message": "Slow down.", "metadata": {"raw": "upstream said no", "provider_name": "Azure"}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def _hidden(name: str, document: Any, kind: type[PromptrunError], *says: str, **facts: Any) -> WireFault:
    return WireFault(
        name=f"error-in-200-{name}", items=[Fault(body=document)], sees=Failure(kind=kind, says=says, facts=facts)
    )


def _unreadable(
    name: str, body: Any, kind: type[PromptrunError] = PromptrunResponseError, *says: str, headers: Any = JSON
) -> WireFault:
    fault = Fault(body=body if isinstance(body, bytes) else dumps(body), headers=headers)
    return WireFault(name=f"200-{name}", items=[fault], sees=Failure(kind=kind, says=says))


def _empty(name: str, fault: Fault) -> WireFault:
    return WireFault(name=name, items=[fault], sees=Failure(kind=PromptrunStreamTruncatedError))


def _read(name: str, body: Any, answer: Answer | None = None, headers: Any = JSON) -> WireFault:
    fault = Fault(body=body if isinstance(body, bytes) else dumps(body), headers=headers)
    return WireFault(name=f"200-{name}", items=[fault], styles=PLAIN, sees=answer or Answer())


def _choice(**keys: Any) -> dict[str, Any]:
    return {**keys, "finish_reason": "stop"}


def _without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in whole().items() if key not in keys}


HIDDEN = [
    _hidden("object", {"error": _RATE}, PromptrunRateLimitError, "Slow down", "upstream said no", provider="Azure"),
    _hidden("choices-null", {**HEAD, "choices": None, "error": _RATE}, PromptrunRateLimitError, "Slow down"),
    _hidden("choices-empty", {**HEAD, "choices": [], "error": _RATE}, PromptrunRateLimitError, status_code=429),
    _hidden("string", {"error": "Something broke."}, PromptrunAPIError, "Something broke."),
    _hidden("code-as-text", {"error": {"message": "No.", "code": "402"}}, PromptrunPaymentRequiredError, "No."),
    _hidden("code-by-name", {"error": {"message": "No.", "code": "rate_limit_exceeded"}}, PromptrunRateLimitError),
    _hidden("invalid-key", {"error": {"message": "No.", "code": "invalid_api_key"}}, PromptrunAuthenticationError),
    _hidden("gateway-timeout", {"error": {"message": "Too slow.", "code": 504}}, PromptrunTimeoutError, "Too slow."),
    _hidden("vllm", {"object": "error", "message": "Bad luck.", "code": 503}, PromptrunAPIError, "Bad luck."),
    _hidden(
        "anthropic",
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        PromptrunAPIError,
        "Overloaded",
        status_code=529,
        type="overloaded_error",
    ),
    _hidden("list", [{"error": {"code": 503, "message": "Gone away."}}], PromptrunAPIError, "Gone away."),
    _hidden(
        "choice",
        whole(finish="error") | {"choices": [{"index": 0, "error": {"code": 502, "message": "Vendor down."}}]},
        PromptrunAPIError,
        "Vendor down.",
        status_code=502,
    ),
    _hidden("finish-reason", whole(finish="error"), PromptrunAPIError, "error"),
]

UNREADABLE = [
    _unreadable("html-page", b"<html><title>Sign in</title></html>", headers={"content-type": "text/html"}),
    _unreadable("html-declared-as-json", b"<html><title>Sign in</title></html>"),
    _unreadable("plain-text", b"It works!", headers={"content-type": "text/plain"}),
    _unreadable("blank", b" \n\n ", PromptrunStreamTruncatedError),
    _unreadable("null", None),
    _unreadable("number", 42),
    _unreadable("text", "Hello"),
    _unreadable("empty-list", []),
    _unreadable("list-of-answers", [whole()]),
    _unreadable("empty-object", {}),
    _unreadable("unknown-keys", {"output": "Hello", "status": "ok"}, PromptrunResponseError, "output", "status"),
    _unreadable("choices-null", whole(choices=None)),
    _unreadable("choices-empty", whole(choices=[])),
    _unreadable("choices-of-numbers", whole(choices=[1, 2])),
    _unreadable("message-null", whole(choices=[{"index": 0, "message": None}])),
    _unreadable("half-a-document", dumps(whole())[:120], PromptrunStreamTruncatedError),
    _unreadable("two-documents", dumps(whole()) * 2),
    _unreadable("nested-too-deep", b'{"choices":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    _unreadable("binary", bytes(range(128, 256))),
    _empty("200-empty", nothing()),
    _empty("200-empty-without-a-content-type", nothing(headers={"content-type": ""})),
    _empty("204-no-content", nothing(204)),
]

READ = [
    _read("without-id-created-model-object", _without("id", "created", "model", "object")),
    _read("without-usage-and-finish", whole(finish=None, usage=None), Answer(usage=None, finish=None)),
    _read(
        "documented-shape",
        {**HEAD, "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}}]},
        Answer(usage=None, finish=None),
    ),
    WireFault(name="201-created", items=[Fault(status=201, body=whole())], styles=PLAIN),
    _read("error-null", whole(error=None)),
    _read("html-content-type", whole(), headers={"content-type": "text/html"}),
    _read("no-content-type", whole(), headers={"content-type": ""}),
    _read("byte-order-mark", b"\xef\xbb\xbf" + dumps(whole())),
    _read(
        "broken-character",
        dumps(whole()).replace(b"oon", b"\xff"),
        Answer(text=TEXT.replace("oon", "\ufffd")),
    ),
    _read("lone-surrogate", dumps(whole()).replace(b"oo", b"\\ud83d"), Answer(text=TEXT.replace("oo", "\ufffd"))),
    _read("nan-and-infinity", dumps(whole(score=0)).replace(b'"score":0', b'"score":NaN,"best":-Infinity,"big":1e999')),
    _read(
        "huge-integer",
        dumps(whole(seed=0)).replace(b'"seed":0', b'"seed":' + b"9" * 30),
        Answer(metadata={"seed": int("9" * 30)}),
    ),
    _read("content-null", whole({"content": None}), Answer(text="")),
    _read(
        "content-absent",
        whole(choices=[{"index": 0, "message": {"role": "assistant"}, "finish_reason": "stop"}]),
        Answer(text=""),
    ),
    _read(
        "content-as-parts",
        whole({"content": [{"type": "text", "text": "Jupiter has"}, {"type": "text", "text": " 95 moons."}]}),
    ),
    _read(
        "choice-without-index",
        whole(choices=[_choice(message={"role": "assistant", "content": TEXT})]),
    ),
    _read("event-stream-content-type", whole(), headers=SSE),
    _read(
        "tool-call",
        whole({"content": None, "tool_calls": [_CALL]}, "tool_calls"),
        Answer(text="", tool_calls=[("f", {"x": 1})], finish="tool_calls"),
    ),
    WireFault(
        name="200-white-space-before-the-document",
        items=[Fault(slices=[b"\n", 0.02, b"\n  \n", dumps(whole())], headers=JSON)],
        styles=PLAIN,
    ),
    WireFault(
        name="200-document-in-many-pieces",
        items=[Fault(slices=[bytes([byte]) for byte in dumps(whole())], headers=JSON)],
        styles=PLAIN,
    ),
]

EXCHANGED = [
    WireFault(name="stream-for-a-plain-request", items=[streamed(BODY)], styles=PLAIN),
    WireFault(name="stream-for-a-plain-request-declared-as-json", items=[streamed(BODY, headers=JSON)], styles=PLAIN),
    WireFault(
        name="stream-for-a-plain-request-with-tool-calls",
        items=[
            streamed(
                sse(
                    chunk({"tool_calls": [{**_CALL, "index": 0, "function": {"name": "f", "arguments": '{"x"'}}]}),
                    chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}, finish="tool_calls"),
                )
                + DONE
            )
        ],
        styles=PLAIN,
        sees=Answer(text="", tool_calls=[("f", {"x": 1})], usage=None, finish="tool_calls"),
    ),
    WireFault(
        name="stream-for-a-plain-request-cut-short",
        items=[streamed(sse(*ENDED[:3]))],
        styles=PLAIN,
        sees=Failure(kind=PromptrunStreamTruncatedError, after="Jupiter has"),
    ),
    WireFault(
        name="stream-for-a-plain-request-with-an-error",
        items=[streamed(sse(*ENDED[:3], {"error": _RATE}))],
        styles=PLAIN,
        sees=Failure(kind=PromptrunRateLimitError, says=["Slow down"], after="Jupiter has"),
    ),
    WireFault(name="document-for-a-stream-request", items=[Fault(body=whole())], styles=STREAMED),
]

FAULTS = [*HIDDEN, *UNREADABLE, *READ, *EXCHANGED]
