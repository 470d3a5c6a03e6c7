"""Event streams in every shape that the standard allows and servers are known to send: all say the same."""

from __future__ import annotations

import gzip
import math
import zlib
from typing import Any

from langchain_promptrun.errors import PromptrunResponseError, PromptrunStreamTruncatedError
from langchain_promptrun.testing import Fault
from wire_faults.fault import STREAMED, Answer, Failure, WireFault
from wire_faults.wire import (
    BODY,
    DONE,
    ENDED,
    SPOKEN,
    SSE,
    STOP,
    TEXT,
    chunk,
    dumps,
    sse,
    streamed,
    tail,
)

_ODD = "a\u2028b\u2029c\u0085d\x00e é “ü” 🪐 \U0001f468\u200d\U0001f680"
_ODD_BODY = sse(chunk({"content": _ODD}), STOP, tail()) + DONE
_PACKED = gzip.compress(BODY)
_RAW_DEFLATE = zlib.compressobj(wbits=-15)
_MANY_LINES = b"".join(b"data: " + line + b"\n" for line in dumps(STOP).replace(b",", b",\n").split(b"\n")) + b"\n"


def _same(name: str, *slices: Any, text: str = TEXT, headers: dict[str, str] | None = None, **more: Any) -> WireFault:
    """A stream that says the same in another shape."""
    return WireFault(
        name=f"framing-{name}",
        items=[streamed(*slices, headers={**SSE, **(headers or {})})],
        styles=STREAMED,
        sees=Answer(text=text),
        **more,
    )


def _each(lines: bytes, body: bytes = BODY) -> bytes:
    """The stream with these bytes before each of its events."""
    return body.replace(b"data: ", lines + b"data: ")


FAULTS = [
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
    _same(
        "split-surrogate-pair",
        sse(rb'{"id":"1","choices":[{"delta":{"content":"\ud83e"}}]}'),
        sse(rb'{"id":"1","choices":[{"delta":{"content":"\ude90"}}]}'),
        sse(STOP, tail()),
        DONE,
        text="🪐",
    ),
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
    _same("no-content-type", BODY, headers={"content-type": ""}),
    _same("plain-text-content-type", BODY, headers={"content-type": "text/plain"}),
    _same("json-content-type", BODY, headers={"content-type": "application/json"}),
    _same("content-type-in-capitals", BODY, headers={"content-type": "Text/Event-Stream;Charset=UTF-8"}),
    _same("comments-under-a-json-content-type", b": hello\n\n" + BODY, headers={"content-type": "application/json"}),
    _same("gzip", _PACKED, headers={"content-encoding": "gzip"}),
    _same("gzip-byte-by-byte", *(bytes([byte]) for byte in _PACKED), headers={"content-encoding": "gzip"}),
    _same(
        "gzip-of-two-members",
        gzip.compress(BODY[:200]) + gzip.compress(BODY[200:]),
        headers={"content-encoding": "gzip"},
    ),
    _same("x-gzip", _PACKED, headers={"content-encoding": "x-gzip"}),
    _same("deflate", zlib.compress(BODY), headers={"content-encoding": "deflate"}),
    _same(
        "deflate-without-its-header",
        _RAW_DEFLATE.compress(BODY) + _RAW_DEFLATE.flush(),
        headers={"content-encoding": "deflate"},
    ),
    _same("identity", BODY, headers={"content-encoding": "identity"}),
    _same("content-encoding-in-capitals", _PACKED, headers={"content-encoding": "GZIP"}),
    WireFault(
        name="framing-gzip-flushed-at-each-event",
        items=[Fault(slices=[sse(document) for document in ENDED] + [DONE], headers=SSE, encoding="gzip", pace=0.01)],
        styles=STREAMED,
    ),
    WireFault(
        name="encoding-unknown",
        items=[streamed(BODY, headers={**SSE, "content-encoding": "rot13"})],
        sees=Failure(kind=PromptrunResponseError, says=["rot13"]),
    ),
    WireFault(
        name="encoding-not-what-it-says",
        items=[streamed(BODY, headers={**SSE, "content-encoding": "gzip"})],
        sees=Failure(kind=PromptrunResponseError, says=["gzip"]),
    ),
    WireFault(
        name="encoding-cut-short",
        items=[streamed(gzip.compress(sse(*SPOKEN))[:-30], headers={**SSE, "content-encoding": "gzip"})],
        styles=("invoke", "ainvoke"),
        sees=Failure(kind=PromptrunStreamTruncatedError),
    ),
]
