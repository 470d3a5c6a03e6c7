"""Answers with status 200: hidden errors, odd ones that are right, facts in odd places, tool calls by many vendors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, STREAMED, Answer, WireFault, failure
from wire_faults.wire import (
    BODY,
    DONE,
    ENDED,
    HEAD,
    JSON,
    REPLY,
    ROLE,
    SPOKEN,
    SSE,
    STOP,
    TEXT,
    USAGE,
    WORDS,
    chunk,
    dumps,
    events,
    nothing,
    sse,
    streamed,
    tail,
    whole,
)

_RATE = {"code": 429, "message": "Slow down.", "metadata": {"raw": "upstream said no", "provider_name": "Azure"}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def _hidden(name: str, document: Any, kind: str, *says: str, **facts: Any) -> WireFault:
    return WireFault(f"error-in-200-{name}", Fault(body=document), failure(kind, *says, **facts))


def _unreadable(name: str, body: Any, kind: str = "Response", *says: str, headers: Any = JSON) -> WireFault:
    fault = Fault(body=body if isinstance(body, bytes) else dumps(body), headers=headers)
    return WireFault(f"200-{name}", fault, failure(kind, *says))


def _empty(name: str, fault: Fault) -> WireFault:
    return WireFault(name, fault, failure("StreamTruncated"))


def _read(name: str, body: Any, answer: Answer | None = None, headers: Any = JSON) -> WireFault:
    fault = Fault(body=body if isinstance(body, bytes) else dumps(body), headers=headers)
    return WireFault(f"200-{name}", fault, answer or Answer(), styles=PLAIN)


def _choice(**keys: Any) -> dict[str, Any]:
    return {**keys, "finish_reason": "stop"}


def _without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in whole().items() if key not in keys}


HIDDEN = [
    _hidden("object", {"error": _RATE}, "RateLimit", "Slow down", "upstream said no", provider="Azure"),
    _hidden("choices-null", {**HEAD, "choices": None, "error": _RATE}, "RateLimit", "Slow down"),
    _hidden("choices-empty", {**HEAD, "choices": [], "error": _RATE}, "RateLimit", status_code=429),
    _hidden("string", {"error": "Something broke."}, "API", "Something broke."),
    _hidden("code-as-text", {"error": {"message": "No.", "code": "402"}}, "PaymentRequired", "No."),
    _hidden("code-by-name", {"error": {"message": "No.", "code": "rate_limit_exceeded"}}, "RateLimit"),
    _hidden("invalid-key", {"error": {"message": "No.", "code": "invalid_api_key"}}, "Authentication"),
    _hidden("gateway-timeout", {"error": {"message": "Too slow.", "code": 504}}, "Timeout", "Too slow."),
    _hidden("vllm", {"object": "error", "message": "Bad luck.", "code": 503}, "API", "Bad luck."),
    _hidden(
        "anthropic",
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "API",
        "Overloaded",
        status_code=529,
        type="overloaded_error",
    ),
    _hidden("list", [{"error": {"code": 503, "message": "Gone away."}}], "API", "Gone away."),
    _hidden(
        "choice",
        whole(finish="error") | {"choices": [{"index": 0, "error": {"code": 502, "message": "Vendor down."}}]},
        "API",
        "Vendor down.",
        status_code=502,
    ),
    _hidden("finish-reason", whole(finish="error"), "API", "error"),
]

UNREADABLE = [
    _unreadable("html-page", b"<html><title>Sign in</title></html>", headers={"content-type": "text/html"}),
    _unreadable("html-declared-as-json", b"<html><title>Sign in</title></html>"),
    _unreadable("plain-text", b"It works!", headers={"content-type": "text/plain"}),
    _unreadable("blank", b" \n\n ", "StreamTruncated"),
    _unreadable("null", None),
    _unreadable("number", 42),
    _unreadable("text", "Hello"),
    _unreadable("empty-list", []),
    _unreadable("list-of-answers", [whole()]),
    _unreadable("empty-object", {}),
    _unreadable("unknown-keys", {"output": "Hello", "status": "ok"}, "Response", "output", "status"),
    _unreadable("choices-null", whole(choices=None)),
    _unreadable("choices-empty", whole(choices=[])),
    _unreadable("choices-of-numbers", whole(choices=[1, 2])),
    _unreadable("message-null", whole(choices=[{"index": 0, "message": None}])),
    _unreadable("half-a-document", dumps(whole())[:120], "StreamTruncated"),
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
    WireFault("201-created", Fault(status=201, body=whole()), styles=PLAIN),
    _read("error-null", whole(error=None)),
    _read("html-content-type", whole(), headers={"content-type": "text/html"}),
    _read("no-content-type", whole(), headers={"content-type": ""}),
    _read("byte-order-mark", b"\xef\xbb\xbf" + dumps(whole())),
    _read("broken-character", dumps(whole()).replace(b"oon", b"\xff"), Answer(text=TEXT.replace("oon", "\ufffd"))),
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
    _read("choice-without-index", whole(choices=[_choice(message={"role": "assistant", "content": TEXT})])),
    _read("event-stream-content-type", whole(), headers=SSE),
    _read(
        "tool-call",
        whole({"content": None, "tool_calls": [_CALL]}, "tool_calls"),
        Answer(text="", tool_calls=[("f", {"x": 1})], finish="tool_calls"),
    ),
    WireFault(
        "200-white-space-before-the-document",
        Fault(slices=[b"\n", 0.02, b"\n  \n", dumps(whole())], headers=JSON),
        styles=PLAIN,
    ),
    WireFault(
        "200-document-in-many-pieces",
        Fault(slices=[bytes([byte]) for byte in dumps(whole())], headers=JSON),
        styles=PLAIN,
    ),
]

EXCHANGED = [
    WireFault("stream-for-a-plain-request", streamed(BODY), styles=PLAIN),
    WireFault("stream-for-a-plain-request-declared-as-json", streamed(BODY, headers=JSON), styles=PLAIN),
    WireFault(
        "stream-for-a-plain-request-with-tool-calls",
        streamed(
            sse(
                chunk({"tool_calls": [{**_CALL, "index": 0, "function": {"name": "f", "arguments": '{"x"'}}]}),
                chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}, finish="tool_calls"),
            )
            + DONE
        ),
        Answer(text="", tool_calls=[("f", {"x": 1})], usage=None, finish="tool_calls"),
        styles=PLAIN,
    ),
    WireFault(
        "stream-for-a-plain-request-cut-short",
        streamed(sse(*ENDED[:3])),
        failure("StreamTruncated", after="Jupiter has"),
        styles=PLAIN,
    ),
    WireFault(
        "stream-for-a-plain-request-with-an-error",
        streamed(sse(*ENDED[:3], {"error": _RATE})),
        failure("RateLimit", "Slow down", after="Jupiter has"),
        styles=PLAIN,
    ),
    WireFault("document-for-a-stream-request", Fault(body=whole()), styles=STREAMED),
]


_PARTIAL = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def _told(name: str, *documents: Any, answer: Answer | None = None, done: bool = True) -> WireFault:
    return WireFault(name, events(*documents, done=done), answer or Answer(), styles=STREAMED)


def _said(documents: Any, *usages: Any) -> list[dict[str, Any]]:
    return [{**document, "usage": usage} for document, usage in zip(documents, usages, strict=True)]


def _counted(name: str, **keys: Any) -> WireFault:
    answer = keys.pop("answer", None)
    return WireFault(name, Fault(body=whole(**keys)), answer or Answer(), styles=PLAIN)


_PRICED = [{**document, "usage": {**USAGE, "cost": 0.1 * number}} for number, document in enumerate([*SPOKEN, STOP])]
_REPEATED = [
    {**document, "provider": "Azure", "system_fingerprint": "fp_1", "service_tier": "default", "cost": 0.1 * number}
    for number, document in enumerate([*SPOKEN, STOP, tail()])
]
_SHORT = {"prompt_tokens": 7, "completion_tokens": 4}

FACTS = [
    _told("usage-on-the-finish", *SPOKEN, {**STOP, "usage": USAGE}),
    _told("usage-on-the-finish-and-again", *SPOKEN, {**STOP, "usage": USAGE}, tail()),
    _told("usage-told-three-times", *SPOKEN, STOP, tail(), tail(), tail()),
    _told("usage-that-grows", *_said([*SPOKEN, STOP], _PARTIAL, _PARTIAL, _PARTIAL, _PARTIAL, _PARTIAL, USAGE)),
    _told("usage-null-throughout", *_said([*SPOKEN, STOP], *[None] * 6), tail()),
    _told("usage-empty-throughout", *_said([*SPOKEN, STOP], *[{}] * 6), tail()),
    _told("usage-before-the-text", tail(), *SPOKEN, STOP),
    _told("usage-never", *SPOKEN, STOP, answer=Answer(usage=None)),
    _told("usage-without-choices-key", *SPOKEN, STOP, {**HEAD, "usage": USAGE}),
    _told("usage-with-choices-null", *SPOKEN, STOP, {**tail(), "choices": None}),
    _told("usage-without-done", *SPOKEN, STOP, tail(), done=False),
    _told("usage-without-total", *SPOKEN, STOP, tail(_SHORT)),
    _told("usage-in-x-groq", *SPOKEN, {**STOP, "x_groq": {"id": "req_1", "usage": USAGE}}),
    _told("usage-in-the-choice", *SPOKEN, {**STOP, "choices": [{**STOP["choices"][0], "usage": USAGE}]}),
    _told("usage-with-details-null", *SPOKEN, STOP, tail({**USAGE, "prompt_tokens_details": None})),
    _told("usage-with-a-growing-cost", *_PRICED, answer=Answer(metadata={"cost": 0.5})),
    _told(
        "facts-on-each-event",
        *_REPEATED,
        answer=Answer(metadata={"provider": "Azure", "system_fingerprint": "fp_1", "service_tier": "default"}),
    ),
    _told(
        "facts-never", *({"choices": document["choices"]} for document in [*SPOKEN, STOP]), answer=Answer(usage=None)
    ),
    _told(
        "ids-that-change",
        *({**document, "id": f"chatcmpl-{number}"} for number, document in enumerate([*SPOKEN, STOP, tail()])),
    ),
    _told(
        "first-event-empty-as-at-azure",
        {**HEAD, "id": "", "model": "", "choices": [], "prompt_filter_results": []},
        *SPOKEN,
        STOP,
        tail(),
    ),
    _told(
        "role-on-each-event",
        *(chunk({"role": "assistant", "content": word["choices"][0]["delta"]["content"]}) for word in WORDS),
        STOP,
        tail(),
    ),
    _told(
        "keys-null-on-each-event",
        *(
            {
                **doc,
                "choices": [
                    {
                        **doc["choices"][0],
                        "logprobs": None,
                        "delta": {
                            **doc["choices"][0]["delta"],
                            "tool_calls": None,
                            "refusal": None,
                            "function_call": None,
                        },
                    }
                ],
            }
            for doc in [*SPOKEN, STOP]
        ),
        tail(),
    ),
    _told("whole-message-after-the-deltas", *SPOKEN, {**STOP, "choices": whole()["choices"]}, tail()),
    _told("whole-message-as-the-only-event", whole()),
    _told("padding-in-each-event", *({**document, "obfuscation": "xyz"} for document in [*SPOKEN, STOP]), tail()),
    _told(
        "content-as-parts",
        chunk({"content": [{"type": "text", "text": "Jupiter has"}]}),
        chunk({"content": [{"type": "text", "text": " 95 moons."}]}),
        STOP,
        tail(),
    ),
    _told(
        "reasoning-under-both-names",
        ROLE,
        chunk({"reasoning": "Let me see.", "reasoning_content": "Let me see."}),
        *WORDS,
        STOP,
        tail(),
        answer=Answer(reasoning="Let me see."),
    ),
    _told(
        "reasoning-after-null-content",
        chunk({"content": None, "reasoning_content": "Let me"}),
        chunk({"content": None, "reasoning_content": " see."}),
        *WORDS,
        STOP,
        tail(),
        answer=Answer(reasoning="Let me see."),
    ),
    WireFault(
        "promptruns-own-shape",
        Fault(reply=replace(REPLY, finish_reason=None, usage=None, document={})),
        Answer(usage=None, finish=None),
    ),
    WireFault(
        "promptruns-own-stream",
        events(*SPOKEN, {"id": "chatcmpl-1", "choices": [{"finish_reason": "stop"}], "usage": _SHORT}),
        styles=STREAMED,
    ),
    _counted("usage-whole-without-total", usage=_SHORT),
    _counted("usage-whole-null", usage=None, answer=Answer(usage=None)),
    _counted(
        "usage-whole-with-details",
        usage={**USAGE, "prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": None},
    ),
    _counted("usage-whole-as-text", usage={"prompt_tokens": "7", "completion_tokens": "4", "total_tokens": "11"}),
    _counted("usage-whole-with-a-cost", usage={**USAGE, "cost": 0.25}, answer=Answer(metadata={"cost": 0.25})),
    WireFault("cost-in-a-header", replace(REPLY, headers={"x-request-cost": "0.5"}), Answer(metadata={"cost": 0.5})),
]


_ABSENT = object()
_INDEXES = {"index-missing": _ABSENT, "index-null": None, "index-0": 0, "index-as-text": "0"}
_F, _G = ("f", {"x": 1, "y": "two"}), ("g", {"z": [3]})
_F_TEXT, _G_TEXT = '{"x": 1, "y": "two"}', '{"z": [3]}'
_END = (chunk(finish="tool_calls"), tail())


def _call(
    index: Any = _ABSENT, ident: Any = _ABSENT, name: Any = _ABSENT, arguments: Any = _ABSENT, **more: Any
) -> dict[str, Any]:
    """One entry of `tool_calls`; what is absent is left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not _ABSENT}
    known = {"index": index, "id": ident, "type": "function", "function": function}
    return {key: value for key, value in known.items() if value is not _ABSENT} | more


def _streamed(name: str, *deltas: Any, calls: Any = (_F,), **more: Any) -> WireFault:
    """Each delta is one entry, or a list of entries."""
    lists = [delta if isinstance(delta, list) else [delta] for delta in deltas]
    return WireFault(
        f"tools-{name}",
        events(*(chunk({"tool_calls": entries}) for entries in lists), *_END),
        Answer(text="", tool_calls=calls, finish="tool_calls", **more),
        styles=STREAMED,
    )


def _whole_calls(name: str, *entries: Any, calls: Any = (_F,), **more: Any) -> WireFault:
    return WireFault(
        f"tools-whole-{name}",
        Fault(body=whole({"content": None, "tool_calls": list(entries)}, "tool_calls")),
        Answer(text="", tool_calls=calls, finish="tool_calls", **more),
        styles=PLAIN,
    )


def _matrix(label: str, index: Any) -> list[WireFault]:
    """One call in pieces, two at once, two one after the other, two interleaved by their ids."""
    both = [_F, _G]
    first, second = _call(index, "a", "f", _F_TEXT), _call(index, "b", "g", _G_TEXT)
    return [
        _streamed(
            f"{label}-one-in-pieces",
            _call(index, "a", "f", ""),
            _call(index, arguments=_F_TEXT[:9]),
            _call(index, arguments=_F_TEXT[9:]),
        ),
        _streamed(f"{label}-two-at-once", [first, second], calls=both),
        _streamed(f"{label}-two-in-a-row", first, second, calls=both),
        _streamed(
            f"{label}-two-interleaved",
            _call(index, "a", "f", _F_TEXT[:5]),
            _call(index, "b", "g", _G_TEXT[:5]),
            _call(index, "a", arguments=_F_TEXT[5:]),
            _call(index, "b", arguments=_G_TEXT[5:]),
            calls=both,
        ),
    ]


def _no_arguments(label: str, arguments: Any) -> list[WireFault]:
    return [
        _streamed(f"no-arguments-as-{label}", _call(0, "a", "f", arguments), calls=[("f", {})]),
        _whole_calls(f"no-arguments-as-{label}", _call(_ABSENT, "a", "f", arguments), calls=[("f", {})]),
    ]


_EMPTY = {"null": None, "empty-text": "", "null-as-text": "null", "braces": "{}", "nothing": _ABSENT}
_HALVES = (_call(0, arguments=_F_TEXT[:9]), _call(0, arguments=_F_TEXT[9:]))

TOOLS = [
    *(fault for label, index in _INDEXES.items() for fault in _matrix(label, index)),
    *(fault for label, arguments in _EMPTY.items() for fault in _no_arguments(label, arguments)),
    _streamed("id-missing", _call(0, name="f", arguments=_F_TEXT)),
    _streamed("id-null", _call(0, None, "f", _F_TEXT)),
    _streamed("id-empty", _call(0, "", "f", _F_TEXT)),
    _streamed("id-same-for-two", _call(0, "a", "f", _F_TEXT), _call(1, "a", "g", _G_TEXT), calls=[_F, _G]),
    _streamed(
        "id-in-each-delta",
        *(
            _call(0, "a", arguments=text) | {"function": {"name": "f", "arguments": text}}
            for text in (_F_TEXT[:9], _F_TEXT[9:])
        ),
    ),
    _streamed("id-empty-in-later-deltas", _call(0, "a", "f", _F_TEXT[:9]), _call(0, "", arguments=_F_TEXT[9:])),
    _streamed(
        "name-in-each-delta",
        _call(0, "a", "f", ""),
        *(call | {"function": call["function"] | {"name": "f"}} for call in _HALVES),
    ),
    _streamed(
        "name-blank-in-later-deltas",
        _call(0, "a", "f", ""),
        *(call | {"function": call["function"] | {"name": ""}} for call in _HALVES),
    ),
    _streamed("name-blank-at-first", _call(0, "a", "", ""), _call(0, name="f"), *_HALVES),
    _streamed(
        "name-null-in-later-deltas",
        _call(0, "a", "f", ""),
        *(call | {"function": call["function"] | {"name": None}} for call in _HALVES),
    ),
    _streamed(
        "name-in-two-pieces",
        _call(0, "a", "get_", ""),
        _call(0, name="weather"),
        *_HALVES,
        calls=[("get_weather", _F[1])],
    ),
    _streamed("type-missing", {"index": 0, "id": "a", "function": {"name": "f", "arguments": _F_TEXT}}),
    _streamed("unknown-keys", _call(0, "a", "f", _F_TEXT, extra_content={"google": {"thought_signature": "c2ln"}})),
    _streamed("arguments-as-object", _call(0, "a", "f", _F[1])),
    _streamed(
        "arguments-letter-by-letter", _call(0, "a", "f", ""), *(_call(0, arguments=letter) for letter in _F_TEXT)
    ),
    _streamed("arguments-broken", _call(0, "a", "f", "{x: 1}"), calls=(), invalid=[("f", "{x: 1}")]),
    _streamed("all-again-at-the-end", _call(0, "a", "f", _F_TEXT), _call(0, "a", "f", _F_TEXT)),
    _streamed("index-does-not-begin-at-0", _call(7, "a", "f", _F_TEXT), _call(9, "b", "g", _G_TEXT), calls=[_F, _G]),
    _streamed("finish-told-twice", _call(0, "a", "f", _F_TEXT), calls=[_F]),
    WireFault(
        "tools-with-text-before",
        events(chunk({"content": "Wait."}), chunk({"tool_calls": [_call(0, "a", "f", _F_TEXT)]}), *_END),
        Answer(text="Wait.", tool_calls=[_F], finish="tool_calls"),
        styles=STREAMED,
    ),
    WireFault(
        "tools-on-the-finish",
        events(chunk({"tool_calls": [_call(0, "a", "f", _F_TEXT)]}, finish="tool_calls"), tail()),
        Answer(text="", tool_calls=[_F], finish="tool_calls"),
        styles=STREAMED,
    ),
    _whole_calls("arguments-as-object", _call(_ABSENT, "a", "f", _F[1])),
    _whole_calls("id-null", _call(_ABSENT, None, "f", _F_TEXT)),
    _whole_calls(
        "id-same-for-two", _call(_ABSENT, "a", "f", _F_TEXT), _call(_ABSENT, "a", "g", _G_TEXT), calls=[_F, _G]
    ),
    _whole_calls("arguments-broken", _call(_ABSENT, "a", "f", '{"x": '), calls=(), invalid=[("f", '{"x": ')]),
]

FAULTS = [*HIDDEN, *UNREADABLE, *READ, *EXCHANGED, *FACTS, *TOOLS]
