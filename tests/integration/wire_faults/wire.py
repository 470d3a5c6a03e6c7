"""The answer that all faults spoil, and the bytes of a stream."""

from __future__ import annotations

import json
from typing import Any

from langchain_promptrun.testing import Fault, Reply

MODEL = "openai/gpt-4o"
KEY = "sk-not-to-be-seen"
QUESTION = "How many moons, not to be seen, has Jupiter?"
PIECES = ("Jupiter", " has", " 95", " moons.")
TEXT = "".join(PIECES)
BEGUN = "Jupiter has"
USAGE = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
COUNTS = (7, 4, 11)
REPLY = Reply(TEXT, pieces=PIECES, usage=USAGE, document={"system_fingerprint": None})

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream; charset=utf-8"}
AT_ONCE = {"retry-after": "0"}
"""Makes a retry come without a pause."""

HEAD = {"id": "chatcmpl-1", "created": 1715325600, "model": MODEL, "system_fingerprint": None}
DONE = b"data: [DONE]\n\n"
BEGUN_EVENTS = 3
"""How many events of `REPLY` bring `BEGUN`."""


def dumps(document: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """The document of one event."""
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion.chunk", "choices": [choice], **more}


def tail(usage: Any = USAGE, **more: Any) -> dict[str, Any]:
    """The document that brings the usage, without choices."""
    return {**chunk(), "choices": [], "usage": usage, **more}


def whole(message: Any = None, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """The document of an unstreamed answer."""
    message = {"role": "assistant", "content": TEXT} | (message or {})
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}


ROLE = chunk({"role": "assistant", "content": ""})
WORDS = [chunk({"content": piece}) for piece in PIECES]
STOP = chunk(finish="stop")
SPOKEN = [ROLE, *WORDS]
ENDED = [*SPOKEN, STOP, tail()]
BEGINNING = SPOKEN[:BEGUN_EVENTS]


def sse(*documents: Any) -> bytes:
    """Events; a text or bytes as they are, anything else as JSON."""
    datas = [
        doc if isinstance(doc, bytes) else doc.encode() if isinstance(doc, str) else dumps(doc) for doc in documents
    ]
    return b"".join(b"data: " + data + b"\n\n" for data in datas)


BODY = sse(*ENDED) + DONE
"""A whole stream, as it ought to be."""


def streamed(*slices: Any, headers: dict[str, str] = SSE, **more: Any) -> Fault:
    """A stream of these slices."""
    return Fault(slices=slices, headers=headers, **more)


def events(*documents: Any, done: bool = True) -> Fault:
    """A stream of these documents, one packet each, and `[DONE]`."""
    return streamed(*(sse(document) for document in documents), *([DONE] if done else []))


def nothing(status: int = 200, headers: dict[str, str] | None = None) -> Fault:
    """An answer without a body."""
    return Fault(status=status, slices=(), framing="length", headers=headers or {})


def raw(*slices: Any, **more: Any) -> Fault:
    """A response of these bytes, status line included; then the connection is closed."""
    return Fault(slices=slices, framing="raw", **more)


def head(*lines: str, status: str = "HTTP/1.1 200 OK", kind: str = "text/event-stream") -> bytes:
    """A response's head."""
    return "\r\n".join([status, f"content-type: {kind}", *lines, "", ""]).encode("latin-1")


CHUNKED = head("transfer-encoding: chunked")


def framed(data: bytes) -> bytes:
    """One chunk of chunked framing."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
