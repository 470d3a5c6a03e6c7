"""Answers with status 200 and event streams: hidden errors, odd ones that are right, ends, errors, tool calls."""

import gzip
import json
import math
import zlib
from dataclasses import replace

from langchain_promptrun.testing import Fault
from wire_faults.fault import (
    BEGINNING,
    BEGUN,
    BODY,
    DONE,
    ENDED,
    HEAD,
    JSON,
    PLAIN,
    REPLY,
    ROLE,
    SPOKEN,
    SSE,
    STOP,
    STREAMED,
    TEXT,
    USAGE,
    WORDS,
    Answer,
    WireFault,
    chunk,
    dumps,
    events,
    failure,
    nothing,
    sse,
    streamed,
    tail,
    whole,
)

_RATE = {"code": 429, "message": "Slow down.", "metadata": {"raw": "upstream said no", "provider_name": "Azure"}}
_OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
_FAILED_CHOICE = {"index": 0, "error": {"code": 502, "message": "Vendor down."}}
_MALFORMED = {"index": 0, "finish_reason": "error", "native_finish_reason": "BAD_CALL"}
_GOOGLE = {"code": "BAD_CALL", "provider": "Google"}
_MESSAGE = {"role": "assistant", "content": TEXT}
_HUGE = {"seed": int("9" * 30)}
_PARTS = [{"type": "text", "text": "Jupiter has"}, {"type": "text", "text": " 95 moons."}]
_CALLED = Answer(text="", tool_calls=[("f", {"x": 1})], finish="tool_calls")
_BARE = Answer(usage=None, finish=None)
_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
_WHOLE = dumps(whole())


_ASLEEP = "Cluster is asleep"
_TOO_MANY = {
    "code": {"code": 429, "message": "Too many"},
    "code-in-a-text": {"code": "429", "msg": "Too many"},
    "status-code": {"message": "Too many", "statusCode": 429},
    "named-code": {"code": "rate_limit_exceeded", "message": "Too many"},
    "list-of-errors": {"errors": [{"code": 429, "message": "Too many"}]},
    "detail": {"detail": {"code": 429, "message": "Too many"}},
    "no-choices": {"choices": [], "code": 429, "message": "Too many"},
}
_WORDS = {
    "detail": {"detail": _ASLEEP},
    "fastapis-detail": {"detail": [{"loc": ["body", "model"], "msg": _ASLEEP}]},
    "errors": {"errors": [_ASLEEP]},
    "message": {"message": _ASLEEP, "choices": None},
    "error-of-success": {"error": {"code": 0, "message": _ASLEEP}, "choices": []},
    "message-of-100-kb": {"message": f"{_ASLEEP} " + "x" * 100_000},
}
_HTML = {"content-type": "text/html"}
_ODD_FACTS = {"type": "odd", "code": "e17", "param": "p", "provider": "v"}


def _hidden(name, document, kind, *says, **facts):
    fault = Fault(body=document, headers={"retry-after": "3"})
    return WireFault(f"error-in-200-{name}", fault, failure(kind, *says, retry_after=3.0, **facts))


def _sent(body, headers=JSON):
    if isinstance(body, Fault):
        return body
    return Fault(body=body if isinstance(body, bytes) else dumps(body), headers=headers)


def _unreadable(name, body, kind="Response", *says, **headers):
    return WireFault(f"200-{name}", _sent(body, **headers), failure(kind, *says))


def _read(name, body, answer=None, **headers):
    return WireFault(f"200-{name}", _sent(body, **headers), answer or Answer(), styles=PLAIN)


def _compressed(name, body, coding):
    return _read(f"{coding}-{name}", body, headers=JSON | {"content-encoding": coding})


def _exchanged(name, documents, sees=None, headers=SSE):
    """A stream that was not asked for."""
    fault = streamed(documents, headers=headers)
    return WireFault(f"stream-for-a-plain-request{name}", fault, sees or Answer(), styles=PLAIN)


HIDDEN = [
    _hidden("object", {"error": _RATE}, "RateLimit", "Slow down", "upstream said no", provider="Azure"),
    _hidden("choices-null", {**HEAD, "choices": None, "error": _RATE}, "RateLimit", "Slow down"),
    _hidden("choices-empty", {**HEAD, "choices": [], "error": _RATE}, "RateLimit", status_code=429),
    _hidden("string", {"error": "It broke."}, "API", "It broke.", body='{"error": "It broke."}'),
    _hidden("code-as-text", {"error": {"message": "No.", "code": "402"}}, "PaymentRequired", "No."),
    _hidden("code-by-name", {"error": {"message": "No.", "code": "rate_limit_exceeded"}}, "RateLimit"),
    _hidden("invalid-key", {"error": {"message": "No.", "code": "invalid_api_key"}}, "Authentication"),
    _hidden("gateway-timeout", {"error": {"message": "Too slow.", "code": 504}}, "Timeout", "Too slow."),
    _hidden("vllm", {"object": "error", "message": "Bad luck.", "code": 503}, "API", "Bad luck."),
    _hidden("anthropic", _OVERLOADED, "API", "Overloaded", status_code=529, type="overloaded_error"),
    _hidden("list", [{"error": {"code": 503, "message": "Gone away."}}], "API", "Gone away."),
    _hidden("choice", whole(choices=[_FAILED_CHOICE]), "API", "Vendor down.", status_code=502),
    *(_hidden(f"without-choices-{name}", _TOO_MANY[name], "RateLimit", "Too many (status 429") for name in _TOO_MANY),
    _hidden("second-choice", whole(choices=[{}, {"finish_reason": "error"}]), "API", 'finish_reason "error"'),
    _hidden("choice-of-code-0", whole(choices=[_MALFORMED | {"error": {"code": 0}}]), "API", 'finish_reason "error"'),
    _hidden("code-0", {"error": {"code": 0, "message": "It broke."}}, "API", "It broke."),
    *(
        _hidden(f"code-{code}", whole(choices=[], error={"code": code, "message": "It broke."}), "API", "It broke.")
        for code in (False, [0])
    ),
    _hidden("finish-reason", whole(choices=[_MALFORMED], provider="Google"), "API", "(BAD_CALL)", **_GOOGLE),
]

UNREADABLE = [
    *(_unreadable(f"words-in-{name}", _WORDS[name], "Response", _ASLEEP, str(sorted(_WORDS[name]))) for name in _WORDS),
    WireFault(
        "200-facts-of-an-error", _sent({"message": "No."} | _ODD_FACTS), failure("Response", "No.", **_ODD_FACTS)
    ),
    WireFault("200-huge-text", _sent(b"x" * 100_000), failure("Response", body="x" * 65_536, status_code=200)),
    _unreadable("html-page", b"<title>Sign in</title>", "Response", "not JSON (text/html): Sign in", headers=_HTML),
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
    _unreadable("choices-of-empty-objects", whole(choices=[{}])),
    _unreadable("choices-as-an-object", whole(choices={"0": {"message": {}}})),
    _unreadable("choices-as-text", whole(choices="x")),
    _unreadable("message-null", whole(choices=[{"index": 0, "message": None}])),
    _unreadable("half-a-document", _WHOLE[:120], "StreamTruncated"),
    _unreadable("two-documents", _WHOLE * 2),
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
    _read("html-content-type", whole(), headers=_HTML),
    _read("no-content-type", whole(), headers={"content-type": ""}),
    _read("byte-order-mark", b"\xef\xbb\xbf" + _WHOLE),
    _read("broken-character", _WHOLE.replace(b"oon", b"\xff"), Answer(text=TEXT.replace("oon", "\ufffd"))),
    _read("lone-surrogate", _WHOLE.replace(b"oo", b"\\ud83d"), Answer(text=TEXT.replace("oo", "\ufffd"))),
    _read("nan-and-infinity", dumps(whole(score=0)).replace(b'"score":0', b'"score":NaN,"best":-Infinity,"big":1e999')),
    _read("huge-integer", dumps(whole(seed=0)).replace(b'seed":0', b'seed":' + b"9" * 30), Answer(metadata=_HUGE)),
    _read("content-null", whole({"content": None}), Answer(text="")),
    _read("content-absent", whole(choices=[{"message": {}, "finish_reason": "stop"}]), Answer(text="")),
    _read("content-as-parts", whole({"content": _PARTS})),
    _read("choice-without-index", whole(choices=[{"message": _MESSAGE, "finish_reason": "stop"}])),
    _read("event-stream-content-type", whole(), headers=SSE),
    _read("tool-call", whole({"content": None, "tool_calls": [_CALL]}, "tool_calls"), _CALLED),
    _read("white-space-before-the-document", Fault(slices=[b"\n", 0.02, b"\n  \n", _WHOLE], headers=JSON)),
    _compressed("and-zeros", gzip.compress(_WHOLE) + bytes(9), "gzip"),
    _compressed("and-text", gzip.compress(_WHOLE) + b"padding", "gzip"),
    _compressed("and-more", zlib.compress(_WHOLE) + gzip.compress(_WHOLE), "deflate"),
    _read("document-in-many-pieces", Fault(slices=[bytes([byte]) for byte in _WHOLE], headers=JSON)),
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


_BASE = [*SPOKEN, STOP]
_PARTIAL = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def _told(name, *documents, answer=None, done=True):
    return WireFault(name, events(*documents, done=done), answer or Answer(), styles=STREAMED)


def _with(*usages):
    return [{**document, "usage": usage} for document, usage in zip(_BASE, usages, strict=True)]


def _changed(document, **delta):
    (choice,) = document["choices"]
    return {**document, "choices": [{**choice, "logprobs": None, "delta": {**choice["delta"], **delta}}]}


def _counted(name, **keys):
    answer = keys.pop("answer", None)
    return WireFault(name, Fault(body=whole(**keys)), answer or Answer(), styles=PLAIN)


_PRICED = [{**document, "usage": {**USAGE, "cost": 0.1 * number}} for number, document in enumerate(_BASE)]
_FACTS = {"provider": "Azure", "system_fingerprint": "fp_1", "service_tier": "default"}
_REPEATED = [{**document, **_FACTS, "cost": 0.1 * number} for number, document in enumerate([*_BASE, tail()])]
_NULL = {"tool_calls": None, "refusal": None, "function_call": None}
_NO_DETAILS = {"prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": None}
_REASONED = Answer(reasoning="Let me see.")
_BOTH = {"reasoning": "Let me see.", "reasoning_content": "Let me see."}
_NULL_CONTENT = [{"content": None, "reasoning_content": part} for part in ("Let me", " see.")]
_SHORT = {"prompt_tokens": 7, "completion_tokens": 4}

FACTS = [
    _told("usage-on-the-finish", *SPOKEN, {**STOP, "usage": USAGE}),
    _told("usage-on-the-finish-and-again", *SPOKEN, {**STOP, "usage": USAGE}, tail()),
    _told("usage-told-three-times", *_BASE, tail(), tail(), tail()),
    _told("usage-that-grows", *_with(*[_PARTIAL] * 5, USAGE)),
    _told("usage-null-throughout", *_with(*[None] * 6), tail()),
    _told("usage-empty-throughout", *_with(*[{}] * 6), tail()),
    _told("usage-before-the-text", tail(), *SPOKEN, STOP),
    _told("usage-never", *_BASE, answer=Answer(usage=None)),
    _told("usage-without-choices-key", *_BASE, {**HEAD, "usage": USAGE}),
    _told("usage-with-choices-null", *_BASE, {**tail(), "choices": None}),
    _told("usage-without-done", *_BASE, tail(), done=False),
    _told("usage-without-total", *_BASE, tail(_SHORT)),
    _told("usage-in-x-groq", *SPOKEN, {**STOP, "x_groq": {"id": "req_1", "usage": USAGE}}),
    _told("usage-in-the-choice", *SPOKEN, {**STOP, "choices": [{**STOP["choices"][0], "usage": USAGE}]}),
    _told("usage-with-details-null", *_BASE, tail({**USAGE, "prompt_tokens_details": None})),
    _told("usage-with-a-growing-cost", *_PRICED, answer=Answer(metadata={"cost": 0.5})),
    _told("facts-on-each-event", *_REPEATED, answer=Answer(metadata=_FACTS)),
    _told("facts-never", *({"choices": document["choices"]} for document in _BASE), answer=Answer(usage=None)),
    _told("ids-that-change", *({**document, "id": f"id-{number}"} for number, document in enumerate([*_BASE, tail()]))),
    _told("first-event-empty-as-at-azure", {**HEAD, "id": "", "model": "", "choices": [], "x": []}, *_BASE, tail()),
    _told("role-on-each-event", *(_changed(word, role="assistant") for word in WORDS), STOP, tail()),
    _told("keys-null-on-each-event", *(_changed(document, **_NULL) for document in _BASE), tail()),
    _told("whole-message-after-the-deltas", *SPOKEN, {**STOP, "choices": whole()["choices"]}, tail()),
    _told("whole-message-as-the-only-event", whole()),
    _told("padding-in-each-event", *({**document, "obfuscation": "xyz"} for document in _BASE), tail()),
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
_F, _G = ("f", {"x": 1, "y": "two"}), ("g", {"z": [3]})
_F_TEXT, _G_TEXT = '{"x": 1, "y": "two"}', '{"z": [3]}'
_END = (chunk(finish="tool_calls"), tail())


def _call(index=_ABSENT, ident=_ABSENT, name=_ABSENT, arguments=_ABSENT):
    """One entry of `tool_calls`; what is absent is left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not _ABSENT}
    known = {"index": index, "id": ident, "type": "function", "function": function}
    return {key: value for key, value in known.items() if value is not _ABSENT}


def _streamed(name, *deltas, calls=(_F,), **more):
    """Each delta is one entry, or a list of entries."""
    chunks = [chunk({"tool_calls": delta if isinstance(delta, list) else [delta]}) for delta in deltas]
    answer = Answer(text="", tool_calls=calls, finish="tool_calls", **more)
    return WireFault(f"tools-{name}", events(*chunks, *_END), answer, styles=STREAMED)


# The usual ways of sending calls; `tests/integration/tool_calls` has the others.
TOOLS = [
    _streamed("in-pieces", _call(0, "a", "f", ""), *(_call(0, arguments=letter) for letter in _F_TEXT)),
    _streamed("two-at-once", [_call(0, "a", "f", _F_TEXT), _call(1, "b", "g", _G_TEXT)], calls=[_F, _G]),
    _streamed("index-missing", _call(_ABSENT, "a", "f", _F_TEXT), _call(_ABSENT, "b", "g", _G_TEXT), calls=[_F, _G]),
    _streamed("id-missing", _call(0, name="f", arguments=_F_TEXT)),
    _streamed("id-and-name-in-each-delta", _call(0, "a", "f", _F_TEXT[:9]), _call(0, "a", "f", _F_TEXT[9:])),
    _streamed("name-null-in-later-deltas", _call(0, "a", "f", _F_TEXT[:9]), _call(0, None, None, _F_TEXT[9:])),
    _streamed("arguments-as-object", _call(0, "a", "f", _F[1])),
    _streamed("arguments-broken", _call(0, "a", "f", "{x: 1}"), calls=(), invalid=[("f", "{x: 1}")]),
    WireFault(
        "tools-on-the-finish",
        events(chunk({"tool_calls": [_call(0, "a", "f", _F_TEXT)]}, finish="tool_calls"), tail()),
        Answer(text="", tool_calls=[_F], finish="tool_calls"),
        styles=STREAMED,
    ),
]


_ODD = "a\u2028b\u2029c\u0085d\x00e é “ü” 🪐 \U0001f468\u200d\U0001f680"
_ODD_BODY = sse(chunk({"content": _ODD}), STOP, tail()) + DONE
_SURROGATES = [b'{"id":"1","choices":[{"delta":{"content":"\\u%b"}}]}' % half for half in (b"d83e", b"de90")]
_PACKED = gzip.compress(BODY)
_RAW_DEFLATE = zlib.compressobj(wbits=-15)
_MANY_LINES = b"".join(b"data: " + line + b"\n" for line in dumps(STOP).replace(b",", b",\n").split(b"\n")) + b"\n"


def _same(name, *slices, text=TEXT, kind=SSE["content-type"], coding=""):
    """A stream that says the same in another shape."""
    return WireFault(f"framing-{name}", _coded(*slices, kind=kind, coding=coding), Answer(text=text), styles=STREAMED)


def _coded(*slices, kind=SSE["content-type"], coding):
    return streamed(*slices, headers={"content-type": kind, **({"content-encoding": coding} if coding else {})})


def _unknown_encoding(coding):
    sees = failure("Response", f"'{coding}'", "gzip, deflate", is_retryable=False)
    return WireFault(f"encoding-unknown-{coding[:5]}", _coded(BODY, coding=coding), sees)


def _each(lines, body=BODY):
    """The stream with these bytes before each of its events."""
    return body.replace(b"data: ", lines + b"data: ")


FRAMINGS = [
    _same("lf", BODY),
    _same("crlf", BODY.replace(b"\n", b"\r\n")),
    _same("cr", BODY.replace(b"\n", b"\r")),
    _same("mixed-line-ends", BODY.replace(b"\n\n", b"\r\n\n", 2).replace(b"\n\n", b"\r\r", 1)),
    _same("crlf-cut-between", *(part for line in BODY.split(b"\n") for part in (line + b"\r", b"\n"))),
    _same("byte-by-byte", *(bytes([byte]) for byte in BODY)),
    _same("cut-in-the-middle-of-events", *(BODY[start : start + 50] for start in range(0, len(BODY), 50))),
    _same("split-characters", *(bytes([byte]) for byte in _ODD_BODY), text=_ODD),
    _same("line-ends-of-unicode", _ODD_BODY, text=_ODD),
    _same("split-surrogate-pair", sse(*_SURROGATES), sse(STOP, tail()), DONE, text="🪐"),
    _same("byte-order-mark", b"\xef\xbb\xbf" + BODY),
    _same("no-space", BODY.replace(b"data: ", b"data:")),
    _same("two-spaces", BODY.replace(b"data: ", b"data:  ")),
    _same("comments", _each(b": OPENROUTER PROCESSING\n\n")),
    _same("comment-inside-an-event", _each(b":\n")),
    _same("large-comments", b": " + b"x" * 300_000 + b"\n\n" + BODY),
    _same("id-event-retry", _each(b"id: 7\nevent: message\nretry: 3000\n")),
    _same("unknown-fields", _each(b"wat: yes\nnocolon\n")),
    _same("named-events", _each(b"event: completion\n")),
    _same("field-names-without-colon", b"data\n\n" + BODY),
    _same("empty-data", _each(b"data:\n\n")),
    _same("null-data", _each(b"data: null\n\n")),
    _same("keepalive-data", _each(b"data: : keepalive\n\n")),
    _same("ping-events", _each(b'event: ping\ndata: {"type": "ping"}\n\n')),
    _same("blank-lines", b"\n\n\n" + BODY.replace(b"\n\n", b"\n\n\n\n")),
    _same("data-in-many-lines", sse(*SPOKEN), _MANY_LINES, sse(tail()), DONE),
    _same("no-blank-line-at-the-end", BODY.rstrip(b"\n")),
    _same("done-without-space", BODY.replace(b"data: [DONE]", b"data:[DONE]")),
    _same("done-with-spaces", BODY.replace(b"[DONE]", b" [DONE] ")),
    _same("done-and-an-open-socket", BODY, math.inf),
    _same("done-and-endless-comments", BODY, *[0.01, b": ping\n\n"] * 300),
    _same("text-after-done", BODY + sse(chunk({"content": " Or 96."})) + DONE),
    _same("error-after-done", BODY + sse({"error": {"message": "Too late."}})),
    _same("no-content-type", BODY, kind=""),
    _same("plain-text-content-type", BODY, kind="text/plain"),
    _same("json-content-type", BODY, kind="application/json"),
    _same("content-type-in-capitals", BODY, kind="Text/Event-Stream;Charset=UTF-8"),
    _same("comments-under-a-json-content-type", b": hello\n\n" + BODY, kind="application/json"),
    _same("gzip", _PACKED, coding="gzip"),
    _same("gzip-byte-by-byte", *(bytes([byte]) for byte in _PACKED), coding="gzip"),
    _same("gzip-of-two-members", gzip.compress(BODY[:200]) + gzip.compress(BODY[200:]), coding="gzip"),
    _same("x-gzip", _PACKED, coding="x-gzip"),
    _same("deflate", zlib.compress(BODY), coding="deflate"),
    _same("deflate-without-its-header", _RAW_DEFLATE.compress(BODY) + _RAW_DEFLATE.flush(), coding="deflate"),
    _same("identity", BODY, coding="identity"),
    _same("content-encoding-in-capitals", _PACKED, coding="GZIP"),
    WireFault(
        "framing-gzip-flushed-at-each-event",
        Fault(slices=[sse(document) for document in ENDED] + [DONE], headers=SSE, encoding="gzip", pace=0.01),
        styles=STREAMED,
    ),
    *(_same(f"encoding-{name[:8]}", BODY, coding=name) for name in ("none", "UTF-8", "identity,chunked")),
    *map(_unknown_encoding, ("rot13", "br", "gzip,gzip")),
    WireFault("encoding-not-what-it-says", _coded(BODY, coding="gzip"), failure("Response", "gzip", "corrupt")),
    WireFault(
        "encoding-cut-short",
        _coded(gzip.compress(sse(*SPOKEN))[:-30], coding="gzip"),
        failure("StreamTruncated", "gzip"),
        styles=PLAIN,
    ),
]


_HALF_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Tbil'}}

_BEGUN_CALL = chunk({"role": "assistant", "tool_calls": [_HALF_CALL]})
_CUT_CALL = Answer(text="", invalid=[("f", '{"city": "Tbil')], finish="length")


def _whole(name, fault, answer=None):
    return WireFault(f"end-{name}", fault, answer or Answer(), styles=STREAMED)


def _cut(name, fault, after=None, kind="StreamTruncated"):
    return WireFault(f"end-{name}", fault, failure(kind, after=after), styles=STREAMED)


def _finish(reason):
    return chunk() | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


ENDINGS = [
    _whole("finish-without-done", events(*ENDED, done=False)),
    _whole("finish-on-the-last-word", events(*SPOKEN[:-1], chunk({"content": " moons."}, finish="stop"), tail())),
    _whole("done-without-finish", events(*SPOKEN, tail()), Answer(finish=None)),
    _whole("done-with-finish-null-throughout", events(*SPOKEN, _finish(None), tail()), Answer(finish=None)),
    _whole("done-with-finish-empty", events(*SPOKEN, _finish(""), tail()), Answer(finish=None)),
    _whole("finish-without-delta", events(*SPOKEN, {**STOP, "choices": [{"finish_reason": "stop"}]}, tail())),
    _whole("finish-told-twice", events(*SPOKEN, STOP, STOP, tail())),
    _whole("finish-in-an-event-cut-short", streamed(sse(*SPOKEN), sse(STOP)[:-2]), Answer(usage=None)),
    _whole("finish-before-half-an-event", streamed(sse(*SPOKEN, STOP), b'data: {"id": "chatc'), Answer(usage=None)),
    _whole("text-after-the-finish", events(*SPOKEN[:3], STOP, *SPOKEN[3:], tail())),
    _whole("length", events(*SPOKEN, _finish("length"), tail()), Answer(finish="length")),
    _whole("content-filter", events(ROLE, _finish("content_filter"), tail()), Answer(text="", finish="content_filter")),
    _whole("nothing-but-a-finish", events(_finish("stop"), tail()), Answer(text="")),
    _whole("role-and-done", events(ROLE), Answer(text="", usage=None, finish=None)),
    _whole("length-in-a-tool-call", events(_BEGUN_CALL, _finish("length"), tail()), _CUT_CALL),
    _cut("closed-properly-in-the-text", Fault(reply=REPLY, after=3, cut="clean"), after=BEGUN),
    _cut("without-finish-and-done", events(*SPOKEN, done=False), after=TEXT),
    _cut("without-finish-and-done-but-usage", events(*SPOKEN, tail(), done=False), after=TEXT),
    _cut("in-an-event", streamed(sse(*BEGINNING), sse(SPOKEN[3])[:-30]), after=BEGUN),
    _cut("in-the-end-mark", streamed(sse(*BEGINNING), DONE[:9]), after=BEGUN),
    _cut("in-a-tool-call", events(_BEGUN_CALL, done=False), after=""),
    _cut("empty", streamed()),
    _cut("only-comments", streamed(b": OPENROUTER PROCESSING\n\n" * 3)),
    _cut("only-a-role", events(ROLE, done=False)),
    _cut("only-a-ping", events({"type": "ping"}, done=False)),
    _cut("only-a-status", events({"status": "queued"}, done=False)),
    _cut("only-usage-and-not-done", events(tail(), done=False)),
    _cut("only-half-a-line", streamed(b"data")),
    _cut("finish-empty-throughout", events(*SPOKEN, _finish(""), done=False), after=TEXT),
    _cut("only-done", streamed(DONE), kind="Response"),
    _cut("only-usage", events(tail()), kind="Response"),
]


_SAID = "The vendor went away."
_ERROR = {"error": {"code": 502, "message": _SAID, "metadata": {"provider_name": "Mistral"}}}
_TOO_LONG = {"error": {"message": "Too long.", "code": "context_length_exceeded"}}
_MISTRAL = {"status_code": 502, "provider": "Mistral"}


def _first(name, fault, kind="API", *says, **facts):
    """An error before anything was said: nothing may be handed out."""
    return WireFault(f"first-event-{name}", fault, failure(kind, *says, **facts), styles=STREAMED)


def _later(name, fault, *says, kind="API", after=BEGUN, **facts):
    """An error after something was said: that stays with the caller, and nothing is tried again."""
    return WireFault(
        f"later-event-{name}", fault, failure(kind, *says, after=after, **facts), styles=STREAMED, retries=2
    )


def _in_choice(**choice):
    return {**chunk(), "choices": [{"index": 0, "delta": {"content": ""}, **choice}]}


def _named(data):
    return b"event: error\ndata: " + data + b"\n\n"


FIRST = [
    _first("error", events(_ERROR, done=False), "API", _SAID, "Mistral", **_MISTRAL),
    _first("error-then-done", events(_ERROR), "API", _SAID, **_MISTRAL),
    _first("error-string", events({"error": _SAID}), "API", _SAID),
    _first("error-true", events({"error": True}), "API"),
    _first("error-list", events([{"error": {"code": 429, "message": _SAID}}]), "RateLimit", _SAID),
    _first("named-error", streamed(_named(b'{"message": "' + _SAID.encode() + b'", "code": 429}')), "RateLimit", _SAID),
    _first("named-error-in-plain-text", streamed(_named(_SAID.encode())), "API", _SAID),
    _first("named-error-without-data", streamed(_named(b"{}")), "API"),
    _first("finish-reason-error", events(_in_choice(finish_reason="error")), "API", "error"),
    _first("error-in-the-choice", events(_in_choice(**_ERROR, finish_reason="error")), "API", _SAID, status_code=502),
    _first("after-comments", streamed(b": OPENROUTER PROCESSING\n\n" * 3, sse(_ERROR)), "API", _SAID),
    _first("html", streamed(b"<html><title>Maintenance</title></html>"), "Response"),
    _first("not-json", streamed(b"data: upstream connect error\n\n"), "Response", "upstream connect error"),
    _first("number", events(42), "Response"),
    _first("list", events([]), "Response"),
    _first("half-a-document", events('{"id": "chatcmpl-1", "choi'), "Response"),
    _first("after-an-empty-role", events(ROLE, _ERROR), "API", _SAID),
]

LATER = [
    _later("error", events(*BEGINNING, _ERROR, done=False), _SAID, **_MISTRAL),
    _later("error-then-text", events(*BEGINNING, _ERROR, *SPOKEN), _SAID),
    _later("error-in-the-same-packet", streamed(sse(*BEGINNING, _ERROR)), _SAID),
    _later("error-with-empty-choices", events(*BEGINNING, {**chunk(), "choices": [], **_ERROR}), _SAID),
    _later("named-error", streamed(sse(*BEGINNING), _named(b'{"detail": "' + _SAID.encode() + b'"}'), DONE), _SAID),
    _later("named-error-in-plain-text", streamed(sse(*BEGINNING), _named(_SAID.encode())), _SAID),
    _later("finish-reason-error", events(*BEGINNING, _in_choice(finish_reason="error")), "error"),
    _later("error-in-the-choice", events(*BEGINNING, _in_choice(**_ERROR, finish_reason="error")), _SAID),
    _later("error-in-a-choice-that-goes-on", events(*BEGINNING, _in_choice(**_ERROR)), _SAID),
    _later("rate-limit", events(*BEGINNING, {"error": {"code": 429}}), kind="RateLimit", status_code=429),
    _later("context-overflow", events(*BEGINNING, _TOO_LONG), kind="ContextOverflow"),
    _later("error-after-the-finish", events(*SPOKEN, STOP, _ERROR), _SAID, after=TEXT),
    _later("not-json", events(*BEGINNING, "<html>504</html>"), "504", kind="Response"),
    _later("text-without-json", events(*BEGINNING, '"stopped"'), kind="Response"),
    _later("error-after-half-a-tool-call", events(_BEGUN_CALL, _ERROR), _SAID, after=""),
    _later("error-after-reasoning", events(chunk({"reasoning_content": "Let me see."}), _ERROR), _SAID, after=""),
]


# As servers really send it, in an answer that says "x".
_X = '{"id":"1","choices":[{"index":0,"delta":{"content":"x"}}]}'
_X_END = '{"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
_DONE = "data: [DONE]\n\n"
_X_WHOLE = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
_BAD = '{"error":{"code":400,"message":"bad request"}}'
_LOGIN = '{"base_resp":{"status_code":1004,"status_msg":"login fail"}}'
_PRETTY = '{\n  "error": {\n    "message": "model is overheated"\n  }\n}'
_PAGE = "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>"
_TENCENT = '{"Response":{"Error":{"Code":"AuthFailure","Message":"bad signature"},"RequestId":"r"}}'
_ALIBABA = '{"code":"InvalidParameter.DataInspection","message":"bad parameter"}'
_COUNTS = '{"id":"1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
_STOPPED = Answer(text="x", usage=None)
_BOOM = failure("", "boom", after="x", exact=False)
_BROKE_OFF = failure("API", after="x")
_NOT_JSON = failure("Response", "not JSON", after="x")
_ENDED = replace(_STOPPED, finish=None)
_FAILURES = {
    "error-and-end-mark-in-one-event": (f"data: {_BAD}\n{_DONE}", "InvalidRequest", "bad"),
    "words-and-the-end": ('data: {"message":"model is loading"}\n\n', "Response", "is loading"),
    "words-under-another-key": ('data: {"detail":"model is loading"}\n\n', "Response", "is loading"),
    "error-without-a-field": (f": hi\n\n{_BAD}\n\n", "InvalidRequest", "bad request"),
    "error-on-many-lines": (f": hi\n\n{_PRETTY}\n", "Response", "overheated"),
    "page": (f": hi\n\n{_PAGE}\n", "Response", "502 Bad Gateway"),
    "plain-words": (": hi\n\nInternal Server Error\n", "Response", "Internal Server Error"),
    "minimax-in-a-document": (_LOGIN, "Authentication", "login fail"),
    "minimax-in-a-stream": (f"data: {_LOGIN}\n\n", "Authentication", "login fail"),
    "minimax-of-unknown-status": (_LOGIN.replace("1004", "1"), "API", "login fail"),
    "tencent": (_TENCENT, "Authentication", "bad signature"),
    "tencent-in-a-stream": ('data: {"ErrorMsg":{"Msg":"busy","Code":4001}}\n\n', "Response", "busy"),
    "alibabas-kind-and-cause": (_ALIBABA, "InvalidRequest", "bad parameter"),
    "sparks-header": ('{"header":{"code":10013,"message":"refused"}}', "Response", "refused"),
}
_AFTER_TEXT = ("error-without-a-field", "error-on-many-lines", "page", "plain-words", "words-and-the-end")
_BEFORE_THE_END_MARK = {
    "words": 'data: {"message":"boom"}',
    "words-under-another-key": 'data: {"detail":"boom"}',
    "list-of-errors": 'data: {"success":false,"errors":[{"message":"boom"}]}',
    "tencent": 'data: {"Response":{"Error":{"Code":"X","Message":"boom"}}}',
    "tencents-other-error": 'data: {"ErrorMsg":{"Msg":"boom","Code":4001},"Choices":[]}',
    "baidu": 'data: {"error_code":17,"error_msg":"boom"}',
    "words-in-a-document-of-the-stream": 'data: {"id":"x","message":"boom","code":400,"choices":[]}',
    "words-then-counts": f'data: {{"message":"boom"}}\n\ndata: {_COUNTS}',
    "plain-words": "Internal Server Error: boom",
    "plain-words-like-a-field": "Error: boom",
    "page": "<html><title>boom</title></html>",
    "exception-event": "event: exception\ndata: boom",
    "exception-event-in-json": 'event: exception\ndata: {"message":"boom"}',
    "failure-event": "event: response.failed\ndata: boom happened",
    "bedrocks-exception": 'data: {"internalServerException":{"message":"boom"}}',
    "network-error": 'data: {"choices":[{"finish_reason":"network_error","native_finish_reason":"boom"}]}',
    "error-in-a-delta": 'data: {"choices":[{"delta":{"error":{"message":"boom"}}}]}',
    "error-in-a-message": 'data: {"choices":[{"message":{"content":"x","error":"boom"}}]}',
}
_NO_ERRORS = {
    "title": f'data: {_X}\n\ndata: {{"id":"1","title":"A chat","choices":[]}}',
    "words-of-success": f'data: {_X}\n\ndata: {{"code":0,"message":"success"}}',
    "code-of-success": f'data: {{"error":{{"code":"200","message":"ok"}},"choices":[]}}\n\ndata: {_X}',
    "code-of-success-in-a-choice": f'data: {_X}\n\ndata: {{"choices":[{{"error":{{"code":200,"message":"ok"}}}}]}}',
    **{
        f"error-{none}": f'data: {{"error":{none},"choices":[]}}\n\ndata: {_X}'
        for none in ("null", '""', "false", "{}", "[]", '{"message":"","code":null}', '{"code":0,"message":"success"}')
    },
    "words-of-an-end": f'data: {_X}\n\ndata: {{"status":"completed","message":"bye"}}',
    "fact": f'data: {_X}\n\ndata: {{"citations":["u"]}}',
    "words-before-the-text": f'data: {{"type":"status","message":"Searching"}}\n\ndata: {_X}',
    "plain-words-before-the-text": f"connected to upstream\ndata: {_X}",
    "field-of-an-unknown-name": f"data: {_X}\n\nx-time: 12",
    "end-mark-as-json": f'data: {_X}\n\ndata: "[DONE]"',
    "end-mark-in-small-letters": f"data: {_X}\n\ndata: [done]",
}
_ODDLY_FRAMED = {
    "byte-order-mark-in-the-middle": f"data: \n\n\ufeffdata: {_X}\n\n\ufeffdata: {_X_END}\n\n",
    "two-documents-in-one-event": f"data: {_X}\ndata: {_X_END}\n\n",
    "whole-stream-of-such-events": f"data: {_X}\ndata: {_X_END}\n{_DONE}",
    "document-on-two-lines": f"data: {_X[:20]}\n{_X[20:]}\n\ndata: {_X_END}\n\n",
    "empty-list": f"data: []\n\ndata: {_X}\n\ndata: {_X_END}\n\n",
    "two-documents-side-by-side": f"data: {_X}{_X_END}\n\n",
    "event-named-ping": f"event: ping\ndata: ping\n\ndata: {_X}\n\ndata: {_X_END}\n\n",
    "time-in-an-event-named-ping": f"event: ping\ndata: 1764500000\n\ndata: {_X}\n\ndata: {_X_END}\n\n",
    "event-in-an-event": f"data: data: {_X}\n\ndata: data: {_X_END}\n\ndata: {_DONE}",
    "two-events-on-one-line": f"data: {_X}data: {_X_END}\n\n",
    "keep-alive-without-a-name": f"data: ping\n\ndata: {_X}\n\ndata: {_X_END}\n\n",
    "blank-before-the-field": f" data: {_X}\n\n data: {_X_END}\n\n",
    "byte-order-mark-and-blank": f": hi\n\n\ufeff data: {_X}\n\ndata: {_X_END}\n\n",
    "raw-tab-in-a-text": f'data: {{"note":"a\tb","choices":[]}}\n\ndata: {_X}\n\ndata: {_X_END}\n\n',
    "raw-tab-in-a-document": json.dumps(_X_WHOLE).replace("{", '{"note":"a\tb",', 1),
    "no-field-at-all": f": hi\n\n{_X}\n\n{_X_END}\n\n",
    "plain-words-after-the-finish": f"data: {_X}\n\ndata: {_X_END}\n\ndata: [EOS]\n\n",
    "long-page-after-the-finish": f"data: {_X}\n\ndata: {_X_END}\n\n" + "not JSON\n" * 10_000,
    "page-after-the-finish": f"data: {_X}\n\ndata: {_X_END}\n\n{_PAGE}\n",
    "document-before-an-end-mark": json.dumps(_X_WHOLE, indent=1) + f"\n\n{_DONE}",
    "documents-a-line-called-a-document": f"{_X}\n{_X_END}\n",
    "minimax-of-success": json.dumps(_X_WHOLE | {"base_resp": {"status_code": 0, "status_msg": ""}}),
}


def _sent_as(name, body, sees, kind="", retries=2):
    """An answer in each style, which is asked for once."""
    kind = kind or (JSON if body.startswith("{") else SSE)["content-type"]
    return WireFault(f"sent-{name}", Fault(body=body, headers={"content-type": kind}), sees, retries=retries)


SENT = [
    *(_sent_as(name, body, failure(kind, words)) for name, (body, kind, words) in _FAILURES.items()),
    *(
        _sent_as(f"{name}-after-text", f"data: {_X}\n\n{body}", failure(kind, words, after="x"))
        for name, (body, kind, words) in _FAILURES.items()
        if name in _AFTER_TEXT
    ),
    *(
        _sent_as(f"before-the-end-mark-{name}", f"data: {_X}\n\n{event}\n\n{_DONE}", _BOOM, retries=0)
        for name, event in _BEFORE_THE_END_MARK.items()
    ),
    _sent_as("event-error-without-words", f"data: {_X}\n\nevent: error\ndata:\n\n{_DONE}", _BROKE_OFF, retries=0),
    _sent_as("half-a-document-behind-another", f'data: {_X}{{"choices":\n\n', _NOT_JSON),
    _sent_as("counts-alone", f"data: {_X}\n\ndata: {_COUNTS}\n\n{_DONE}", replace(_ENDED, usage=(1, 1, 2))),
    *(_sent_as(f"no-error-{name}", f"{body}\n\n{_DONE}", _ENDED) for name, body in _NO_ERRORS.items()),
    *(_sent_as(name, body, _STOPPED) for name, body in _ODDLY_FRAMED.items()),
    _sent_as("lines-of-x-ndjson", f"{_X}\n{_X_END}\n", _STOPPED, "application/x-ndjson"),
    _sent_as("lines-of-jsonl", f"{_X}\n{_X_END}\n", _STOPPED, "application/jsonl"),
]

FAULTS = [*HIDDEN, *UNREADABLE, *READ, *EXCHANGED, *FACTS, *TOOLS, *FRAMINGS, *ENDINGS, *FIRST, *LATER, *SENT]
