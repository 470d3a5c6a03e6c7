"""What the server answers, made beforehand, and the same answers as texts for a model that needs no server.

Both processes import this module, so it knows the standard library alone.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

MODEL = "anthropic/claude-haiku-4.5"
TOOL = "write_file"
CALL_ID = "call_1"
KINDS = ("text", "tools", "reasoning")

_SENTENCE = "One day on Venus is longer than one of its years, and the sun rises there in the west."
_TOKENS = tuple(f" {word}" for word in _SENTENCE.split())
_WHOLE_TOKENS = 60
_USAGE = {"prompt_tokens": 15, "completion_tokens": 60, "total_tokens": 75}
_FACTS = {"id": "chatcmpl-1234567890", "created": 1715325600, "model": MODEL}
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_STREAM_END = b"0\r\n\r\n"


def tokens(kind: str, count: int) -> list[str]:
    """The pieces of an answer; those of a tool call spell one JSON object."""
    pieces = [_TOKENS[position % len(_TOKENS)] for position in range(count)]
    if kind == "tools":
        pieces[0] = '{"text": "'
        pieces[-1] = '"}'
    return pieces


@cache
def stream(kind: str, count: int) -> tuple[bytes, ...]:
    """A streamed answer; each piece is sent by itself, and each event is an HTTP chunk of its own."""
    return (*opening(kind, count), *(sse(finish) for finish in _finish(kind)), chunk(b"data: [DONE]\n\n"), _STREAM_END)


@cache
def opening(kind: str, count: int) -> tuple[bytes, ...]:
    """The beginning of a streamed answer, up to its last token."""
    deltas = [_FIRST[kind], *(_DELTAS[kind](token) for token in tokens(kind, count))]
    return (_STREAM_HEAD, *(sse(_document(delta)) for delta in deltas))


@cache
def whole() -> bytes:
    """An answer in one piece."""
    message = {"role": "assistant", "content": "".join(tokens("text", _WHOLE_TOKENS))}
    document = {
        **_FACTS,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _USAGE,
    }
    body = _compact(document)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def text_event(text: str) -> bytes:
    """One event that brings a text."""
    return sse(_document({"content": text}))


def sse(document: dict[str, Any]) -> bytes:
    """A document as a server-sent event in an HTTP chunk."""
    return chunk(b"data: " + _compact(document) + b"\n\n")


def chunk(data: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _document(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {**_FACTS, "object": "chat.completion.chunk", "choices": [choice]}


def _finish(kind: str) -> tuple[dict[str, Any], ...]:
    finish = _document({}, "tool_calls" if kind == "tools" else "stop")
    return finish, {**_FACTS, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}


def _compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


_FIRST: dict[str, dict[str, Any]] = {
    "text": {"role": "assistant", "content": ""},
    "reasoning": {"role": "assistant", "content": ""},
    "tools": {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"index": 0, "id": CALL_ID, "type": "function", "function": {"name": TOOL, "arguments": ""}}],
    },
}
_DELTAS = {
    "text": lambda token: {"content": token},
    "reasoning": lambda token: {"reasoning_content": token},
    "tools": lambda token: {"tool_calls": [{"index": 0, "function": {"arguments": token}}]},
}
