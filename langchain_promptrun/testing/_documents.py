"""Replies -> documents: the whole answer, the stream's events, the token counts.

The shapes are those of Promptrun's page "Streaming AI" and of the test data of Promptrun's Node SDK; the other dialect
is OpenAI's reference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from langchain_promptrun.testing._http import encode
from langchain_promptrun.testing._items import Reply, Settings
from langchain_promptrun.testing._model.texts import tokens
from langchain_promptrun.testing._model.usage import PromptUse

_FIRST_SECOND = 1715325600
"""The `created` of the documented example; later answers count on from it, so that a run can be repeated exactly."""
_ARGUMENTS_PIECE = 12
_LOGPROB = -0.125
_DETAILS = "reasoning_details"
_SIGNATURE = "c3RhbmQtaW4="


@dataclass(frozen=True)
class Documents:
    """The documents of an answer to one request."""

    replies: Sequence[Reply]
    number: int
    body: Mapping[str, Any]
    settings: Settings
    prompt: PromptUse

    def whole(self) -> dict[str, Any]:
        choices = []
        for index, reply in enumerate(self.replies):
            choice = {"index": index, "message": self._message(reply, index)}
            choices.append(choice | self._logprobs(tokens(reply.text or "")) | self._finish(reply))
        return {**self._head("chat.completion"), "choices": choices, **self._usage()}

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the documents of a stream's events, without `[DONE]`."""
        head, usage = self._head("chat.completion.chunk"), self._usage()
        is_openai, options = self.settings.dialect == "openai", self.body.get("stream_options") or {}
        filler = {"usage": None} if is_openai and options.get("include_usage") else {}
        nulls = {"logprobs": None, "finish_reason": None} if is_openai else {}
        for index, reply in enumerate(self.replies):
            parts = self._parts(reply, index)
            opening = {"role": "assistant", **({"content": ""} if is_openai else next(parts, {"content": ""}))}
            for delta in chain([opening], parts):
                logprobs = self._logprobs([delta["content"]]) if delta.get("content") else {}
                yield {**head, "choices": [{"index": index, "delta": delta, **nulls, **logprobs}], **filler}
            last = finish = self._finish(reply)
            if is_openai:
                last = {"index": index, "delta": {}, "logprobs": None, **finish}
            elif len(self.replies) > 1:  # in the SDK's test data the last choice has neither `delta` nor `index`
                last = {"index": index, **finish}
            ending = usage if index == len(self.replies) - 1 and not is_openai else {}
            if finish or ending:
                yield {**head, "choices": [last] if finish else [], **filler, **ending}
        if filler and usage:
            yield {**head, "choices": [], **usage}

    def _head(self, kind: str) -> dict[str, Any]:
        reply = self.replies[0]
        head = {"id": f"chatcmpl-{self.number}", "object": kind, "created": _FIRST_SECOND + self.number}
        return {**head, "model": reply.model or self.body["model"], **reply.document}

    def _finish(self, reply: Reply) -> dict[str, Any]:
        reason = reply.finish_reason
        if reason == "auto":
            reason = None if self.settings.documented_shape else "tool_calls" if reply.tool_calls else "stop"
        return {} if reason is None else {"finish_reason": reason}

    def _message(self, reply: Reply, choice: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        message |= dict.fromkeys(_reasoning_fields(reply), reply.reasoning)
        if _DETAILS in message:
            message[_DETAILS] = [_detail(text=reply.reasoning, signature=_SIGNATURE)]
        if reply.reasoning_details is not None:
            message[_DETAILS] = list(reply.reasoning_details)
        if reply.refusal is not None:
            message["refusal"] = reply.refusal
        if reply.tool_calls:
            message["tool_calls"] = self._calls(reply, choice)
        return {**message, **reply.message}

    def _parts(self, reply: Reply, choice: int) -> Iterator[dict[str, Any]]:
        names = _reasoning_fields(reply)
        for piece in tokens(reply.reasoning or ""):
            yield {name: [_detail(text=piece)] if name == _DETAILS else piece for name in names}
        details = [_detail(signature=_SIGNATURE)] if _DETAILS in names else reply.reasoning_details or ()
        yield from ({_DETAILS: [detail]} for detail in details)
        yield from ({"content": piece} for piece in reply.pieces or tokens(reply.text or ""))
        yield from ({"refusal": piece} for piece in tokens(reply.refusal or ""))
        for index, call in enumerate(self._calls(reply, choice)):
            arguments = call["function"]["arguments"]
            function = {**call["function"], "arguments": None if arguments is None else ""}
            yield {"tool_calls": [{"index": index, **call, "function": function}]}
            for start in range(0, len(arguments or ""), _ARGUMENTS_PIECE):
                part = {"arguments": arguments[start : start + _ARGUMENTS_PIECE]}
                yield {"tool_calls": [{"index": index, "function": part}]}
        if reply.message:
            yield dict(reply.message)

    def _calls(self, reply: Reply, choice: int) -> list[dict[str, Any]]:
        calls = []
        for index, call in enumerate(reply.tool_calls):
            arguments, ident = call.get("args", {}), call.get("id", f"call_{self.number}_{choice}_{index}")
            text = arguments if isinstance(arguments, str | None) else encode(arguments).decode()
            more = {key: value for key, value in call.items() if key not in {"name", "args", "id"}}
            if more.get("type") == "tool_call":  # LangChain's own mark
                del more["type"]
            function = {"name": call["name"], "arguments": text}
            calls.append({"id": ident, "type": "function", "function": function, **more})
        return calls

    def _logprobs(self, said: Sequence[str]) -> dict[str, Any]:
        if not self.body.get("logprobs"):
            return {}

        def entry(token: str, rank: int) -> dict[str, Any]:
            return {"token": token, "logprob": _LOGPROB * (rank + 1), "bytes": list(token.encode("utf-8", "replace"))}

        content = []
        for token in said:
            top = [entry(token + "'" * rank, rank) for rank in range(self.body.get("top_logprobs") or 0)]
            content.append({**entry(token, 0), "top_logprobs": top})
        return {"logprobs": {"content": content, "refusal": None}}

    def _usage(self) -> dict[str, Any]:
        first, prompt, price = self.replies[0], self.prompt, self.settings.cost_per_token
        if first.usage != "auto":
            return {} if first.usage is None else {"usage": dict(first.usage)}
        if self.settings.documented_shape:
            return {}
        reasoning = sum(len(tokens(reply.reasoning or "")) for reply in self.replies)
        said = [text or "" for reply in self.replies for text in (reply.text, reply.refusal)]
        called = [str(call.get("args")) for reply in self.replies for call in reply.tool_calls]
        completion = reasoning + sum(len(tokens(text)) for text in said + called)
        total = prompt.tokens + completion
        usage: dict[str, Any] = {"prompt_tokens": prompt.tokens, "completion_tokens": completion, "total_tokens": total}
        cached = min(prompt.tokens, prompt.read or first.cached_tokens)
        read = {"cached_tokens": cached, "cache_write_tokens": prompt.written, "audio_tokens": prompt.audio}
        usage["prompt_tokens_details"] = {name: count for name, count in read.items() if count}
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning} if reasoning else {}
        usage["cost"] = round(total * price, 12) if first.cost is None and price is not None else first.cost
        return {"usage": {name: value for name, value in usage.items() if value not in ({}, None)}}


def _reasoning_fields(reply: Reply) -> tuple[str, ...]:
    if reply.reasoning is None:
        return ()
    return (reply.reasoning_field,) if isinstance(reply.reasoning_field, str) else reply.reasoning_field


def _detail(**found: Any) -> dict[str, Any]:
    """Return a signed piece of reasoning as OpenRouter's page "Reasoning Tokens" shows it."""
    return {"type": "reasoning.text", **found, "format": "anthropic-claude-v1", "index": 0}
