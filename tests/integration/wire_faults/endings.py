"""Where a stream ends: what is a whole answer and what is a truncated one."""

from __future__ import annotations

from typing import Any

from langchain_promptrun.errors import PromptrunError, PromptrunResponseError, PromptrunStreamTruncatedError
from langchain_promptrun.testing import Fault
from wire_faults.fault import STREAMED, Answer, Failure, WireFault
from wire_faults.wire import (
    BEGINNING,
    BEGUN,
    DONE,
    ENDED,
    REPLY,
    ROLE,
    SPOKEN,
    STOP,
    TEXT,
    chunk,
    events,
    sse,
    streamed,
    tail,
)

_HALF_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Tbil'}}


def _whole(name: str, fault: Fault, answer: Answer | None = None) -> WireFault:
    return WireFault(name=f"end-{name}", items=[fault], styles=STREAMED, sees=answer or Answer())


def _none(name: str, fault: Fault, kind: type[PromptrunError], after: str | None = None) -> WireFault:
    return WireFault(name=f"end-{name}", items=[fault], styles=STREAMED, sees=Failure(kind=kind, after=after))


def _cut(name: str, fault: Fault, after: str | None = None) -> WireFault:
    return _none(name, fault, PromptrunStreamTruncatedError, after)


def _finish(reason: Any) -> dict[str, Any]:
    return chunk() | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


FAULTS = [
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
    _whole(
        "length-in-a-tool-call",
        events(chunk({"role": "assistant", "tool_calls": [_HALF_CALL]}), _finish("length"), tail()),
        Answer(text="", invalid=[("f", '{"city": "Tbil')], finish="length"),
    ),
    _cut("closed-properly-in-the-text", Fault(reply=REPLY, after=3, cut="clean"), after=BEGUN),
    _cut("without-finish-and-done", events(*SPOKEN, done=False), after=TEXT),
    _cut("without-finish-and-done-but-usage", events(*SPOKEN, tail(), done=False), after=TEXT),
    _cut("in-an-event", streamed(sse(*BEGINNING), sse(SPOKEN[3])[:-30]), after=BEGUN),
    _cut("in-the-end-mark", streamed(sse(*BEGINNING), DONE[:9]), after=BEGUN),
    _cut("in-a-tool-call", events(chunk({"role": "assistant", "tool_calls": [_HALF_CALL]}), done=False), after=""),
    _cut("empty", streamed()),
    _cut("only-comments", streamed(b": OPENROUTER PROCESSING\n\n" * 3)),
    _cut("only-a-role", events(ROLE, done=False)),
    _cut("only-half-a-line", streamed(b"data")),
    _none("only-done", streamed(DONE), PromptrunResponseError),
    _none("only-usage", events(tail()), PromptrunResponseError),
]
