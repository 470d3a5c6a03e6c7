"""Answers with status 200: hidden errors, odd ones that are right, facts in odd places, tool calls by many vendors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, STREAMED, Answer, WireFault, failure
from wire_faults.wire import (
    BEGINNING,
    BEGUN,
    BODY,
    DONE,
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
_OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
_FAILED_CHOICE = {"index": 0, "error": {"code": 502, "message": "Vendor down."}}
_MESSAGE = {"role": "assistant", "content": TEXT}
_HUGE = {"seed": int("9" * 30)}
_PARTS = [{"type": "text", "text": "Jupiter has"}, {"type": "text", "text": " 95 moons."}]
_CALLED = Answer(text="", tool_calls=[("f", {"x": 1})], finish="tool_calls")
_BARE = Answer(usage=None, finish=None)
_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def _hidden(name: str, document: Any, kind: str, *says: str, **facts: Any) -> WireFault:
    return WireFault(f"error-in-200-{name}", Fault(body=document), failure(kind, *says, **facts))


def _sent(body: Any, headers: Any = JSON) -> Fault:
    return (
        body
        if isinstance(body, Fault)
        else Fault(body=body if isinstance(body, bytes) else dumps(body), headers=headers)
    )


def _unreadable(name: str, body: Any, kind: str = "Response", *says: str, **headers: Any) -> WireFault:
    return WireFault(f"200-{name}", _sent(body, **headers), failure(kind, *says))


def _read(name: str, body: Any, answer: Answer | None = None, **headers: Any) -> WireFault:
    return WireFault(f"200-{name}", _sent(body, **headers), answer or Answer(), styles=PLAIN)


def _exchanged(name: str, documents: bytes, sees: Any = None, headers: Any = SSE) -> WireFault:
    """A stream that was not asked for."""
    fault = streamed(documents, headers=headers)
    return WireFault(f"stream-for-a-plain-request{name}", fault, sees or Answer(), styles=PLAIN)


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
    _hidden("anthropic", _OVERLOADED, "API", "Overloaded", status_code=529, type="overloaded_error"),
    _hidden("list", [{"error": {"code": 503, "message": "Gone away."}}], "API", "Gone away."),
    _hidden("choice", whole(choices=[_FAILED_CHOICE]), "API", "Vendor down.", status_code=502),
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
    _unreadable("empty", nothing(), "StreamTruncated"),
    _unreadable("empty-without-a-content-type", nothing(headers={"content-type": ""}), "StreamTruncated"),
    WireFault("204-no-content", nothing(204), failure("StreamTruncated")),
]

READ = [
    _read("without-id-created-model-object", {key: whole()[key] for key in ("choices", "usage")}),
    _read("without-usage-and-finish", whole(finish=None, usage=None), _BARE),
    _read("documented-shape", {**HEAD, "choices": [{"index": 0, "message": _MESSAGE}]}, _BARE),
    WireFault("201-created", Fault(status=201, body=whole()), styles=PLAIN),
    _read("error-null", whole(error=None)),
    _read("html-content-type", whole(), headers={"content-type": "text/html"}),
    _read("no-content-type", whole(), headers={"content-type": ""}),
    _read("byte-order-mark", b"\xef\xbb\xbf" + dumps(whole())),
    _read("broken-character", dumps(whole()).replace(b"oon", b"\xff"), Answer(text=TEXT.replace("oon", "\ufffd"))),
    _read("lone-surrogate", dumps(whole()).replace(b"oo", b"\\ud83d"), Answer(text=TEXT.replace("oo", "\ufffd"))),
    _read("nan-and-infinity", dumps(whole(score=0)).replace(b'"score":0', b'"score":NaN,"best":-Infinity,"big":1e999')),
    _read("huge-integer", dumps(whole(seed=0)).replace(b'seed":0', b'seed":' + b"9" * 30), Answer(metadata=_HUGE)),
    _read("content-null", whole({"content": None}), Answer(text="")),
    _read("content-absent", whole(choices=[{"message": {}, "finish_reason": "stop"}]), Answer(text="")),
    _read("content-as-parts", whole({"content": _PARTS})),
    _read("choice-without-index", whole(choices=[{"message": _MESSAGE, "finish_reason": "stop"}])),
    _read("event-stream-content-type", whole(), headers=SSE),
    _read("tool-call", whole({"content": None, "tool_calls": [_CALL]}, "tool_calls"), _CALLED),
    _read("white-space-before-the-document", Fault(slices=[b"\n", 0.02, b"\n  \n", dumps(whole())], headers=JSON)),
    _read("document-in-many-pieces", Fault(slices=[bytes([byte]) for byte in dumps(whole())], headers=JSON)),
]

_CALL_PIECES = [
    chunk({"tool_calls": [{**_CALL, "index": 0, "function": {"name": "f", "arguments": '{"x"'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}, finish="tool_calls"),
]

EXCHANGED = [
    _exchanged("", BODY),
    _exchanged("-declared-as-json", BODY, headers=JSON),
    _exchanged("-with-tool-calls", sse(*_CALL_PIECES) + DONE, replace(_CALLED, usage=None)),
    _exchanged("-cut-short", sse(*BEGINNING), failure("StreamTruncated", after=BEGUN)),
    _exchanged("-with-an-error", sse(*BEGINNING, {"error": _RATE}), failure("RateLimit", "Slow down", after=BEGUN)),
    WireFault("document-for-a-stream-request", Fault(body=whole()), styles=STREAMED),
]


_SAID = [*SPOKEN, STOP]
_PARTIAL = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def _told(name: str, *documents: Any, answer: Answer | None = None, done: bool = True) -> WireFault:
    return WireFault(name, events(*documents, done=done), answer or Answer(), styles=STREAMED)


def _with(*usages: Any) -> list[dict[str, Any]]:
    return [{**document, "usage": usage} for document, usage in zip(_SAID, usages, strict=True)]


def _changed(document: Any, **delta: Any) -> dict[str, Any]:
    (choice,) = document["choices"]
    return {**document, "choices": [{**choice, "logprobs": None, "delta": {**choice["delta"], **delta}}]}


def _counted(name: str, **keys: Any) -> WireFault:
    answer = keys.pop("answer", None)
    return WireFault(name, Fault(body=whole(**keys)), answer or Answer(), styles=PLAIN)


_PRICED = [{**document, "usage": {**USAGE, "cost": 0.1 * number}} for number, document in enumerate(_SAID)]
_FACTS = {"provider": "Azure", "system_fingerprint": "fp_1", "service_tier": "default"}
_REPEATED = [{**document, **_FACTS, "cost": 0.1 * number} for number, document in enumerate([*_SAID, tail()])]
_NULL = {"tool_calls": None, "refusal": None, "function_call": None}
_NO_DETAILS = {"prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": None}
_REASONED = Answer(reasoning="Let me see.")
_BOTH = {"reasoning": "Let me see.", "reasoning_content": "Let me see."}
_NULL_CONTENT = [{"content": None, "reasoning_content": part} for part in ("Let me", " see.")]
_SHORT = {"prompt_tokens": 7, "completion_tokens": 4}

FACTS = [
    _told("usage-on-the-finish", *SPOKEN, {**STOP, "usage": USAGE}),
    _told("usage-on-the-finish-and-again", *SPOKEN, {**STOP, "usage": USAGE}, tail()),
    _told("usage-told-three-times", *_SAID, tail(), tail(), tail()),
    _told("usage-that-grows", *_with(*[_PARTIAL] * 5, USAGE)),
    _told("usage-null-throughout", *_with(*[None] * 6), tail()),
    _told("usage-empty-throughout", *_with(*[{}] * 6), tail()),
    _told("usage-before-the-text", tail(), *SPOKEN, STOP),
    _told("usage-never", *_SAID, answer=Answer(usage=None)),
    _told("usage-without-choices-key", *_SAID, {**HEAD, "usage": USAGE}),
    _told("usage-with-choices-null", *_SAID, {**tail(), "choices": None}),
    _told("usage-without-done", *_SAID, tail(), done=False),
    _told("usage-without-total", *_SAID, tail(_SHORT)),
    _told("usage-in-x-groq", *SPOKEN, {**STOP, "x_groq": {"id": "req_1", "usage": USAGE}}),
    _told("usage-in-the-choice", *SPOKEN, {**STOP, "choices": [{**STOP["choices"][0], "usage": USAGE}]}),
    _told("usage-with-details-null", *_SAID, tail({**USAGE, "prompt_tokens_details": None})),
    _told("usage-with-a-growing-cost", *_PRICED, answer=Answer(metadata={"cost": 0.5})),
    _told("facts-on-each-event", *_REPEATED, answer=Answer(metadata=_FACTS)),
    _told("facts-never", *({"choices": document["choices"]} for document in _SAID), answer=Answer(usage=None)),
    _told("ids-that-change", *({**document, "id": f"id-{number}"} for number, document in enumerate([*_SAID, tail()]))),
    _told("first-event-empty-as-at-azure", {**HEAD, "id": "", "model": "", "choices": [], "x": []}, *_SAID, tail()),
    _told("role-on-each-event", *(_changed(word, role="assistant") for word in WORDS), STOP, tail()),
    _told("keys-null-on-each-event", *(_changed(document, **_NULL) for document in _SAID), tail()),
    _told("whole-message-after-the-deltas", *SPOKEN, {**STOP, "choices": whole()["choices"]}, tail()),
    _told("whole-message-as-the-only-event", whole()),
    _told("padding-in-each-event", *({**document, "obfuscation": "xyz"} for document in _SAID), tail()),
    _told("content-as-parts", *(chunk({"content": [part]}) for part in _PARTS), STOP, tail()),
    _told("reasoning-under-both-names", ROLE, chunk(_BOTH), *WORDS, STOP, tail(), answer=_REASONED),
    _told("reasoning-after-null-content", *map(chunk, _NULL_CONTENT), *WORDS, STOP, tail(), answer=_REASONED),
    WireFault("promptruns-own-shape", replace(REPLY, finish_reason=None, usage=None, document={}), _BARE),
    _told("promptruns-own-stream", *SPOKEN, {"choices": [{"finish_reason": "stop"}], "usage": _SHORT}, done=True),
    _counted("usage-whole-without-total", usage=_SHORT),
    _counted("usage-whole-null", usage=None, answer=Answer(usage=None)),
    _counted("usage-whole-with-details", usage={**USAGE, **_NO_DETAILS}),
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
    chunks = [chunk({"tool_calls": delta if isinstance(delta, list) else [delta]}) for delta in deltas]
    answer = Answer(text="", tool_calls=calls, finish="tool_calls", **more)
    return WireFault(f"tools-{name}", events(*chunks, *_END), answer, styles=STREAMED)


def _whole_calls(name: str, *entries: Any, calls: Any = (_F,), **more: Any) -> WireFault:
    fault = Fault(body=whole({"content": None, "tool_calls": list(entries)}, "tool_calls"))
    answer = Answer(text="", tool_calls=calls, finish="tool_calls", **more)
    return WireFault(f"tools-whole-{name}", fault, answer, styles=PLAIN)


def _matrix(label: str, index: Any) -> list[WireFault]:
    """One call in pieces, two at once, two one after the other, two interleaved by their ids."""
    both = [_F, _G]
    first, second = _call(index, "a", "f", _F_TEXT), _call(index, "b", "g", _G_TEXT)
    pieces = [_call(index, "a", "f", ""), _call(index, arguments=_F_TEXT[:9]), _call(index, arguments=_F_TEXT[9:])]
    opened = [_call(index, "a", "f", _F_TEXT[:5]), _call(index, "b", "g", _G_TEXT[:5])]
    ended = [_call(index, "a", arguments=_F_TEXT[5:]), _call(index, "b", arguments=_G_TEXT[5:])]
    return [
        _streamed(f"{label}-one-in-pieces", *pieces),
        _streamed(f"{label}-two-at-once", [first, second], calls=both),
        _streamed(f"{label}-two-in-a-row", first, second, calls=both),
        _streamed(f"{label}-two-interleaved", *opened, *ended, calls=both),
    ]


def _no_arguments(label: str, arguments: Any) -> list[WireFault]:
    return [
        _streamed(f"no-arguments-as-{label}", _call(0, "a", "f", arguments), calls=[("f", {})]),
        _whole_calls(f"no-arguments-as-{label}", _call(_ABSENT, "a", "f", arguments), calls=[("f", {})]),
    ]


_EMPTY = {"null": None, "empty-text": "", "null-as-text": "null", "braces": "{}", "nothing": _ABSENT}
_OPEN = _call(0, "a", "f", "")
_HALVES = (_call(0, arguments=_F_TEXT[:9]), _call(0, arguments=_F_TEXT[9:]))


def _renamed(name: Any, **more: Any) -> list[dict[str, Any]]:
    return [{**call, **more, "function": {**call["function"], "name": name}} for call in _HALVES]


TOOLS = [
    *(fault for label, index in _INDEXES.items() for fault in _matrix(label, index)),
    *(fault for label, arguments in _EMPTY.items() for fault in _no_arguments(label, arguments)),
    _streamed("id-missing", _call(0, name="f", arguments=_F_TEXT)),
    _streamed("id-null", _call(0, None, "f", _F_TEXT)),
    _streamed("id-empty", _call(0, "", "f", _F_TEXT)),
    _streamed("id-same-for-two", _call(0, "a", "f", _F_TEXT), _call(1, "a", "g", _G_TEXT), calls=[_F, _G]),
    _streamed("id-in-each-delta", *_renamed("f", id="a")),
    _streamed("id-empty-in-later-deltas", _call(0, "a", "f", _F_TEXT[:9]), _call(0, "", arguments=_F_TEXT[9:])),
    _streamed("name-in-each-delta", _OPEN, *_renamed("f")),
    _streamed("name-blank-in-later-deltas", _OPEN, *_renamed("")),
    _streamed("name-null-in-later-deltas", _OPEN, *_renamed(None)),
    _streamed("name-blank-at-first", _call(0, "a", "", ""), _call(0, name="f"), *_HALVES),
    _streamed("name-in-two-pieces", _call(0, "a", "g", ""), _call(0, name="et"), *_HALVES, calls=[("get", _F[1])]),
    _streamed("type-missing", {"index": 0, "id": "a", "function": {"name": "f", "arguments": _F_TEXT}}),
    _streamed("unknown-keys", _call(0, "a", "f", _F_TEXT, extra_content={"google": {"thought_signature": "c2ln"}})),
    _streamed("arguments-as-object", _call(0, "a", "f", _F[1])),
    _streamed("arguments-letter-by-letter", _OPEN, *(_call(0, arguments=letter) for letter in _F_TEXT)),
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
