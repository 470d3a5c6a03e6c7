"""Event streams: in every shape that the standard allows, where they end, and errors in them."""

from __future__ import annotations

import gzip
import math
import zlib
from typing import Any

from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, STREAMED, Answer, WireFault, failure
from wire_faults.wire import (
    BEGINNING,
    BEGUN,
    BODY,
    DONE,
    ENDED,
    REPLY,
    ROLE,
    SPOKEN,
    SSE,
    STOP,
    TEXT,
    chunk,
    dumps,
    events,
    sse,
    streamed,
    tail,
)

_ODD = "a\u2028b\u2029c\u0085d\x00e é “ü” 🪐 \U0001f468\u200d\U0001f680"
_ODD_BODY = sse(chunk({"content": _ODD}), STOP, tail()) + DONE
_HALVES = [b'{"id":"1","choices":[{"delta":{"content":"\\u%b"}}]}' % half for half in (b"d83e", b"de90")]
_PACKED = gzip.compress(BODY)
_RAW_DEFLATE = zlib.compressobj(wbits=-15)
_MANY_LINES = b"".join(b"data: " + line + b"\n" for line in dumps(STOP).replace(b",", b",\n").split(b"\n")) + b"\n"


def _same(name: str, *slices: Any, text: str = TEXT, kind: str = SSE["content-type"], coding: str = "") -> WireFault:
    """A stream that says the same in another shape."""
    return WireFault(f"framing-{name}", _coded(*slices, kind=kind, coding=coding), Answer(text=text), styles=STREAMED)


def _coded(*slices: Any, kind: str = SSE["content-type"], coding: str) -> Fault:
    return streamed(*slices, headers={"content-type": kind, **({"content-encoding": coding} if coding else {})})


def _each(lines: bytes, body: bytes = BODY) -> bytes:
    """The stream with these bytes before each of its events."""
    return body.replace(b"data: ", lines + b"data: ")


FRAMINGS = [
    _same("lf", BODY),
    _same("crlf", BODY.replace(b"\n", b"\r\n")),
    _same("cr", BODY.replace(b"\n", b"\r")),
    _same("mixed-line-ends", BODY.replace(b"\n\n", b"\r\n\n", 2).replace(b"\n\n", b"\r\r", 1)),
    _same("crlf-cut-between", *(part for line in BODY.split(b"\n") for part in (line + b"\r", b"\n"))),
    _same("byte-by-byte", *(bytes([byte]) for byte in BODY)),
    _same("all-in-one-packet", BODY),
    _same("cut-in-the-middle-of-events", *(BODY[start : start + 50] for start in range(0, len(BODY), 50))),
    _same("split-characters", *(bytes([byte]) for byte in _ODD_BODY), text=_ODD),
    _same("line-ends-of-unicode", _ODD_BODY, text=_ODD),
    _same("split-surrogate-pair", sse(*_HALVES), sse(STOP, tail()), DONE, text="🪐"),
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
    WireFault("encoding-unknown", _coded(BODY, coding="rot13"), failure("Response", "rot13")),
    WireFault("encoding-not-what-it-says", _coded(BODY, coding="gzip"), failure("Response", "gzip")),
    WireFault(
        "encoding-cut-short",
        _coded(gzip.compress(sse(*SPOKEN))[:-30], coding="gzip"),
        failure("StreamTruncated"),
        styles=PLAIN,
    ),
]


_HALF_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Tbil'}}

_BEGUN_CALL = chunk({"role": "assistant", "tool_calls": [_HALF_CALL]})
_CUT_CALL = Answer(text="", invalid=[("f", '{"city": "Tbil')], finish="length")


def _whole(name: str, fault: Fault, answer: Answer | None = None) -> WireFault:
    return WireFault(f"end-{name}", fault, answer or Answer(), styles=STREAMED)


def _cut(name: str, fault: Fault, after: str | None = None, kind: str = "StreamTruncated") -> WireFault:
    return WireFault(f"end-{name}", fault, failure(kind, after=after), styles=STREAMED)


def _finish(reason: Any) -> dict[str, Any]:
    return chunk() | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


ENDINGS = [
    _whole("finish-without-done", events(*ENDED, done=False)),
    _whole("finish-on-the-last-word", events(*SPOKEN[:-1], chunk({"content": " moons."}, finish="stop"), tail())),
    _whole("done-without-finish", events(*SPOKEN, tail()), Answer(finish=None)),
    _whole("done-with-finish-null-throughout", events(*SPOKEN, _finish(None), tail()), Answer(finish=None)),
    _whole("done-with-finish-empty", events(*SPOKEN, _finish(""), tail()), Answer(finish=None)),
    _whole("finish-without-delta", events(*SPOKEN, {**STOP, "choices": [{"finish_reason": "stop"}]}, tail())),
    _whole("finish-told-twice", events(*SPOKEN, STOP, STOP, tail())),
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
    _cut("only-half-a-line", streamed(b"data")),
    _cut("only-done", streamed(DONE), kind="Response"),
    _cut("only-usage", events(tail()), kind="Response"),
]


_SAID = "The vendor went away."
_ERROR = {"error": {"code": 502, "message": _SAID, "metadata": {"provider_name": "Mistral"}}}
_TOO_LONG = {"error": {"message": "Too long.", "code": "context_length_exceeded"}}
_FACTS = {"status_code": 502, "provider": "Mistral"}


def _first(name: str, fault: Fault, kind: str = "API", *says: str, **facts: Any) -> WireFault:
    """An error before anything was said: nothing may be handed out."""
    return WireFault(f"first-event-{name}", fault, failure(kind, *says, **facts), styles=STREAMED)


def _later(name: str, fault: Fault, *says: str, kind: str = "API", after: str = BEGUN, **facts: Any) -> WireFault:
    """An error after something was said: that stays with the caller, and nothing is tried again."""
    return WireFault(
        f"later-event-{name}", fault, failure(kind, *says, after=after, **facts), styles=STREAMED, retries=2
    )


def _in_choice(**choice: Any) -> dict[str, Any]:
    return {**chunk(), "choices": [{"index": 0, "delta": {"content": ""}, **choice}]}


def _named(data: bytes) -> bytes:
    return b"event: error\ndata: " + data + b"\n\n"


FIRST = [
    _first("error", events(_ERROR, done=False), "API", _SAID, "Mistral", **_FACTS),
    _first("error-then-done", events(_ERROR), "API", _SAID, **_FACTS),
    _first("error-then-text", events(_ERROR, *ENDED), "API", _SAID),
    _first("error-with-empty-choices", events({**chunk(), "choices": [], **_ERROR}), "API", _SAID),
    _first("error-string", events({"error": _SAID}), "API", _SAID),
    _first("error-list", events([{"error": {"code": 429, "message": _SAID}}]), "RateLimit", _SAID),
    _first("rate-limit-by-name", events({"error": {"message": _SAID, "type": "rate_limit_error"}}), "RateLimit"),
    _first("invalid-key", events({"error": {"message": _SAID, "code": 401}}), "Authentication", "PROMPTRUN_API_KEY"),
    _first("gateway-timeout", events({"error": {"message": _SAID, "code": "504"}}), "Timeout", _SAID),
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
    _later("rate-limit", events(*BEGINNING, {"error": {"code": 429}}), kind="RateLimit", status_code=429),
    _later("context-overflow", events(*BEGINNING, _TOO_LONG), kind="ContextOverflow"),
    _later("error-after-the-finish", events(*SPOKEN, STOP, _ERROR), _SAID, after=TEXT),
    _later("not-json", events(*BEGINNING, "<html>504</html>"), "504", kind="Response"),
    _later("text-without-json", events(*BEGINNING, '"stopped"'), kind="Response"),
    _later("error-after-half-a-tool-call", events(_BEGUN_CALL, _ERROR), _SAID, after=""),
    _later("error-after-reasoning", events(chunk({"reasoning_content": "Let me see."}), _ERROR), _SAID, after=""),
]

FAULTS = [*FRAMINGS, *ENDINGS, *FIRST, *LATER]
