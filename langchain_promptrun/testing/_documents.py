"""Replies -> documents: the whole answer, the stream's events, the token counts.

The shapes are those of Promptrun's page "Streaming AI" and of the test data of Promptrun's Node SDK; the other dialect
is OpenAI's reference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing._model import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_promptrun.testing._checks import Dialect
    from langchain_promptrun.testing._items import Reply

FIRST_SECOND = 1715325600
"""The `created` of the documented example; later answers count on from it, so that a run can be repeated exactly."""
DONE = b"data: [DONE]\n\n"
_ARGUMENTS_PIECE = 12
_LOGPROB = -0.125
_DETAILS = "reasoning_details"
_SIGNATURE = "c3RhbmQtaW4="


@dataclass(frozen=True)
class Asked:
    """The parts of a request and of the server's settings that shape the documents."""

    number: int
    model: str
    prompt_tokens: int
    audio_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    dialect: Dialect = "promptrun"
    documented_shape: bool = False
    include_usage: bool = False
    top_logprobs: int | None = None
    cost_per_token: float | None = None


def encode(value: Any) -> bytes:
    """Return compact JSON; lone surrogates go out escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def event(document: Any, number: int | None = None) -> bytes:
    """Return a server-sent event: a text as it is, anything else as JSON; with an `id:` line for a number."""
    data = document.encode() if isinstance(document, str) else encode(document)
    return (b"" if number is None else b"id: %d\n" % number) + b"data: " + data + b"\n\n"


def whole(replies: Sequence[Reply], asked: Asked) -> dict[str, Any]:
    choices = []
    for index, reply in enumerate(replies):
        choice: dict[str, Any] = {"index": index, "message": _message(reply, asked, index)}
        if asked.top_logprobs is not None:
            choice["logprobs"] = _logprobs(words.tokens(reply.text or ""), asked.top_logprobs)
        choices.append(_finished(choice, reply, asked))
    return {**_head(replies[0], asked, "chat.completion"), "choices": choices, **_usage_key(replies, asked)}


def events(replies: Sequence[Reply], asked: Asked) -> Iterator[dict[str, Any]]:
    """Yield the documents of a stream's events, without `[DONE]`."""
    head = _head(replies[0], asked, "chat.completion.chunk")
    usage = _usage_key(replies, asked)
    openai = asked.dialect == "openai"
    filler = {"usage": None} if openai and asked.include_usage else {}
    for index, reply in enumerate(replies):
        for delta in _deltas(reply, asked, index):
            yield {**head, "choices": [_choice(index, delta, asked)], **filler}
        finish = _last_choice(index, reply, asked, is_only=len(replies) == 1)
        last = usage if index == len(replies) - 1 and not openai else {}
        if finish or last:
            yield {**head, "choices": [finish] * bool(finish), **filler, **last}
    if filler and usage:
        yield {**head, "choices": [], **usage}


def _deltas(reply: Reply, asked: Asked, choice: int) -> Iterator[dict[str, Any]]:
    parts = _parts(reply, asked, choice)
    yield {"role": "assistant", **({"content": ""} if asked.dialect == "openai" else next(parts, {"content": ""}))}
    yield from parts


def _last_choice(index: int, reply: Reply, asked: Asked, *, is_only: bool) -> dict[str, Any]:
    # In the SDK's test data the last choice has neither `delta` nor `index`.
    choice: dict[str, Any] = {} if is_only and asked.dialect == "promptrun" else {"index": index}
    more: dict[str, Any] = {"delta": {}, "logprobs": None} if asked.dialect == "openai" else {}
    finish = _finished(choice | more, reply, asked)
    return finish if "finish_reason" in finish else {}


def _head(reply: Reply, asked: Asked, kind: str) -> dict[str, Any]:
    head = {"id": f"chatcmpl-{asked.number}", "object": kind, "created": FIRST_SECOND + asked.number}
    return {**head, "model": reply.model or asked.model, **reply.document}


def _finished(choice: dict[str, Any], reply: Reply, asked: Asked) -> dict[str, Any]:
    reason = reply.finish_reason
    if reason == "auto":
        natural = "tool_calls" if reply.tool_calls else "stop"
        reason = None if asked.documented_shape else natural
    return choice if reason is None else {**choice, "finish_reason": reason}


def _choice(index: int, delta: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": index, "delta": delta}
    if asked.dialect == "openai":
        choice |= {"logprobs": None, "finish_reason": None}
    if asked.top_logprobs is not None and delta.get("content"):
        choice["logprobs"] = _logprobs([delta["content"]], asked.top_logprobs)
    return choice


def _message(reply: Reply, asked: Asked, choice: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    for name in _fields(reply):
        message[name] = [_detail(text=reply.reasoning, signature=_SIGNATURE)] if name == _DETAILS else reply.reasoning
    if reply.reasoning_details is not None:
        message[_DETAILS] = list(reply.reasoning_details)
    if reply.refusal is not None:
        message["refusal"] = reply.refusal
    if reply.tool_calls:
        message["tool_calls"] = _calls(reply, asked, choice)
    return {**message, **reply.message}


def _fields(reply: Reply) -> tuple[str, ...]:
    if reply.reasoning is None:
        return ()
    return (reply.reasoning_field,) if isinstance(reply.reasoning_field, str) else reply.reasoning_field


def _detail(**found: Any) -> dict[str, Any]:
    """Return a signed piece of reasoning as OpenRouter's page "Reasoning Tokens" shows it."""
    return {"type": "reasoning.text", **found, "format": "anthropic-claude-v1", "index": 0}


def _calls(reply: Reply, asked: Asked, choice: int) -> list[dict[str, Any]]:
    calls = []
    for index, call in enumerate(reply.tool_calls):
        arguments, ident = call.get("args", {}), call.get("id", f"call_{asked.number}_{choice}_{index}")
        text = arguments if isinstance(arguments, str | None) else encode(arguments).decode()
        more = {key: value for key, value in call.items() if key not in {"name", "args", "id"}}
        more = {key: value for key, value in more.items() if value != "tool_call"}  # LangChain's own mark
        function = {"name": call["name"], "arguments": text}
        calls.append({"id": ident, "type": "function", "function": function, **more})
    return calls


def _parts(reply: Reply, asked: Asked, choice: int) -> Iterator[dict[str, Any]]:
    yield from _reasoning_parts(reply)
    pieces = words.tokens(reply.text or "") if reply.pieces is None else reply.pieces
    yield from ({"content": piece} for piece in pieces)
    yield from ({"refusal": piece} for piece in words.tokens(reply.refusal or ""))
    for index, call in enumerate(_calls(reply, asked, choice)):
        arguments = call["function"]["arguments"]
        function = {**call["function"], "arguments": None if arguments is None else ""}
        yield {"tool_calls": [{"index": index, **call, "function": function}]}
        for start in range(0, len(arguments or ""), _ARGUMENTS_PIECE):
            part = {"arguments": arguments[start : start + _ARGUMENTS_PIECE]}
            yield {"tool_calls": [{"index": index, "function": part}]}
    if reply.message:
        yield dict(reply.message)


def _reasoning_parts(reply: Reply) -> Iterator[dict[str, Any]]:
    names = _fields(reply)
    for piece in words.tokens(reply.reasoning or ""):
        yield {name: [_detail(text=piece)] if name == _DETAILS else piece for name in names}
    details = [_detail(signature=_SIGNATURE)] if _DETAILS in names else reply.reasoning_details or ()
    yield from ({_DETAILS: [detail]} for detail in details)


def _logprobs(tokens: Sequence[str], alternatives: int) -> dict[str, Any]:
    def entry(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}

    content = []
    for token in tokens:
        top = [entry(token + "'" * rank, _LOGPROB * (rank + 1)) for rank in range(alternatives)]
        content.append({**entry(token, _LOGPROB), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _usage_key(replies: Sequence[Reply], asked: Asked) -> dict[str, Any]:
    usage = replies[0].usage
    if usage == "auto":
        return {} if asked.documented_shape else {"usage": _counted(replies, asked)}
    return {} if usage is None else {"usage": dict(usage)}


def _counted(replies: Sequence[Reply], asked: Asked) -> dict[str, Any]:
    reasoning = sum(len(words.tokens(reply.reasoning or "")) for reply in replies)
    said = [text for reply in replies for text in (reply.text, reply.refusal)]
    called = [str(call.get("args")) for reply in replies for call in reply.tool_calls]
    completion = reasoning + sum(len(words.tokens(text or "")) for text in said + called)
    total = asked.prompt_tokens + completion
    usage: dict[str, Any] = {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": total,
    }
    cached = min(asked.prompt_tokens, asked.cached_tokens or replies[0].cached_tokens)
    prompt_details = {
        "cached_tokens": cached,
        "cache_write_tokens": asked.cache_write_tokens,
        "audio_tokens": asked.audio_tokens,
    }
    usage |= _details("prompt_tokens_details", prompt_details)
    usage |= _details("completion_tokens_details", {"reasoning_tokens": reasoning})
    cost = _cost(replies[0], asked, total)
    return usage if cost is None else {**usage, "cost": cost}


def _cost(reply: Reply, asked: Asked, tokens: int) -> float | None:
    price = asked.cost_per_token
    return reply.cost if reply.cost is not None or price is None else round(tokens * price, 12)


def _details(name: str, counts: Mapping[str, int]) -> dict[str, Any]:
    found = {key: count for key, count in counts.items() if count}
    return {name: found} if found else {}
