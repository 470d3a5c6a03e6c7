"""Replies -> documents: the whole answer, the stream's events, the token counts, among them those of the prompt cache.

The shapes are those of Promptrun's page "Streaming AI" and of the test data of Promptrun's Node SDK; the other dialect
is OpenAI's reference. The cache reads the longest beginning shared with earlier requests.
Anthropic's documentation, "Prompt caching": a beginning is kept up to each marked part, for 5 minutes or an hour, from
1,024 tokens on, and looked for at the marks and up to 20 parts before each. At most four parts are marked, those for an
hour first. OpenAI's, "Prompt caching": every beginning is kept without marks, from 1,024 tokens on, in steps of 128.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import Any, NamedTuple

from langchain_promptrun.data._cache_control import MARKED_VENDORS, MOST_MARKERS
from langchain_promptrun.testing._checks import RefusedError
from langchain_promptrun.testing._http import encode
from langchain_promptrun.testing._items import Reply, Settings
from langchain_promptrun.testing._model import MEDIA, calls_of, parts_of, text_of, tokens

_FIRST_SECOND = 1715325600  # `created` of the documented example; later answers count on, so that runs are equal
_ARGUMENTS_PIECE = 12
_LOGPROB = -0.125
_DETAILS = "reasoning_details"
_SIGNATURE = "c3RhbmQtaW4="
_AUDIO_TOKENS = 10
_LEAST = 1_024
_STEP = 128
_LOOK_BACK = 20
_FIVE_MINUTES = 300.0
_HOUR = 3_600.0
_MARKER = "cache_control"


class PromptUse(NamedTuple):
    """The tokens of a prompt: the audio among them, those read from the cache, and those written to it."""

    tokens: int
    audio: int = 0
    read: int = 0
    written: int = 0


def count(body: Mapping[str, Any]) -> PromptUse:
    """Count the tokens of a request; media other than audio count for one each."""
    messages = body["messages"]
    kinds = Counter(str(part.get("type")) for message in messages for part in parts_of(message))
    texts = [text_of(message) for message in messages]
    texts += [" ".join(map(str, function.values())) for message in messages for _, function in calls_of(message)]
    texts += [json.dumps(tool) for tool in body.get("tools") or ()]
    audio = _AUDIO_TOKENS * kinds["input_audio"]
    media = sum(kinds[kind] for kind in MEDIA if kind != "input_audio")
    return PromptUse(audio + media + _words(texts), audio)


def _words(texts: Iterable[str | None]) -> int:
    return sum(len(tokens(text or "")) for text in texts)


class _Part(NamedTuple):
    """The end of a part, with all before it; `ttl` is that of its mark, None without one."""

    digest: bytes
    tokens: int
    ttl: str | None


class PromptCache:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[bytes, float] = {}

    def use(self, body: Mapping[str, Any]) -> PromptUse:
        parts, now = list(_parts(body)), self._clock()
        near = kept = parts
        is_marked = str(body["model"]).partition("/")[0] in MARKED_VENDORS
        if is_marked:
            ends = [index for index, part in enumerate(parts) if part.ttl is not None]
            near = [part for end in ends for part in parts[max(0, end + 1 - _LOOK_BACK) : end + 1]]
            kept = [parts[end] for end in ends]
            are_long, marks = [part.ttl == "1h" for part in kept], len(ends) + (_MARKER in body)
            if marks > MOST_MARKERS:
                problem = f"A maximum of {MOST_MARKERS} blocks with cache_control may be provided. Found {marks}."
                raise RefusedError(HTTPStatus.BAD_REQUEST, problem, _MARKER)
            if are_long != sorted(are_long, reverse=True):
                problem = "A cache_control block with ttl '1h' must not come after one with ttl '5m'."
                raise RefusedError(HTTPStatus.BAD_REQUEST, problem, _MARKER)
        read = max((part.tokens for part in near if self._kept.get(part.digest, 0.0) > now), default=0)
        kept = [part for part in kept if part.tokens >= _LEAST]
        self._kept |= {part.digest: now + (_HOUR if part.ttl == "1h" else _FIVE_MINUTES) for part in kept}
        written = max([read, *(part.tokens for part in kept)]) - read
        total = parts[-1].tokens
        return PromptUse(total, 0, read, written) if is_marked else PromptUse(total, 0, read - read % _STEP)


def _parts(body: Mapping[str, Any]) -> Iterator[_Part]:
    pieces = [(_bare(tool, _MARKER), tool.get(_MARKER)) for tool in body.get("tools") or ()]
    for message in body["messages"]:
        content, head = message.get("content"), _bare(message, "content", _MARKER)
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        for part in parts or [{}]:
            pieces.append((head + _bare(part, _MARKER), part.get(_MARKER)))
            head = ""
    digest, count = hashlib.sha256(str(body["model"]).encode()), 0
    for text, marker in pieces:
        digest.update(text.encode("utf-8", "surrogatepass"))
        count += len(tokens(text))
        yield _Part(digest.digest(), count, None if marker is None else marker.get("ttl", "5m"))


def _bare(part: Mapping[str, Any], *without: str) -> str:
    return json.dumps({key: value for key, value in part.items() if key not in without}, sort_keys=True)


@dataclass(frozen=True)
class Documents:
    replies: Sequence[Reply]
    number: int
    body: Mapping[str, Any]
    settings: Settings
    prompt: PromptUse

    def whole(self) -> dict[str, Any]:
        choices = []
        for index, reply in enumerate(self.replies):
            choice = {"index": index, "message": self._message(reply, index)}
            choices.append(choice | self._logprobs(reply.text) | self._finish(reply))
        return {**self._head("chat.completion"), "choices": choices, **self._usage()}

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the documents of a stream's events, without `[DONE]`."""
        head, usage = self._head("chat.completion.chunk"), self._usage()
        is_openai, options = self.settings.dialect == "openai", self.body.get("stream_options") or {}
        filler = {"usage": None} if is_openai and options.get("include_usage") else {}
        nulls = {"logprobs": None, "finish_reason": None} if is_openai else {}
        for index, reply in enumerate(self.replies):
            deltas = self._deltas(reply, index)
            opening = {"role": "assistant", **({"content": ""} if is_openai else next(deltas, {"content": ""}))}
            for delta in chain([opening], deltas):
                choice = {"index": index, "delta": delta, **nulls, **self._logprobs(delta.get("content"))}
                yield {**head, "choices": [choice], **filler}
            last = self._last_choices(reply, index)
            ending = usage if index == len(self.replies) - 1 and not is_openai else {}
            if last or ending:
                yield {**head, "choices": last, **filler, **ending}
        if filler and usage:
            yield {**head, "choices": [], **usage}

    def _last_choices(self, reply: Reply, index: int) -> list[dict[str, Any]]:
        finish = self._finish(reply)
        if finish and self.settings.dialect == "openai":
            return [{"index": index, "delta": {}, "logprobs": None, **finish}]
        # in the SDK's test data the last choice has neither `delta` nor `index`
        return [finish if len(self.replies) == 1 else {"index": index, **finish}] if finish else []

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
        calls = self._calls(reply, choice)
        more = {_DETAILS: reply.reasoning_details, "refusal": reply.refusal, "tool_calls": calls or None}
        return {**message, **{name: value for name, value in more.items() if value is not None}, **reply.message}

    def _deltas(self, reply: Reply, choice: int) -> Iterator[dict[str, Any]]:
        yield from _reasoning_deltas(reply)
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
            more = dict(call)
            name, arguments = more.pop("name"), more.pop("args", {})
            ident = more.pop("id", f"call_{self.number}_{choice}_{index}")
            if more.get("type") == "tool_call":  # LangChain's own mark
                del more["type"]
            text = arguments if isinstance(arguments, str | None) else encode(arguments).decode()
            calls.append({"id": ident, "type": "function", "function": {"name": name, "arguments": text}, **more})
        return calls

    def _logprobs(self, text: str | None) -> dict[str, Any]:
        if not (text and self.body.get("logprobs")):
            return {}

        def entry(token: str, rank: int) -> dict[str, Any]:
            return {"token": token, "logprob": _LOGPROB * (rank + 1), "bytes": list(token.encode("utf-8", "replace"))}

        content = []
        for token in tokens(text):
            top = [entry(token + "'" * rank, rank) for rank in range(self.body.get("top_logprobs") or 0)]
            content.append({**entry(token, 0), "top_logprobs": top})
        return {"logprobs": {"content": content, "refusal": None}}

    def _usage(self) -> dict[str, Any]:
        first, prompt, price = self.replies[0], self.prompt, self.settings.cost_per_token
        if first.usage != "auto":
            return {} if first.usage is None else {"usage": dict(first.usage)}
        if self.settings.documented_shape:
            return {}
        reasoning = _words(reply.reasoning for reply in self.replies)
        said = [text for reply in self.replies for text in (reply.text, reply.refusal)]
        said += [str(call.get("args")) for reply in self.replies for call in reply.tool_calls]
        completion = reasoning + _words(said)
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


def _reasoning_deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    names = _reasoning_fields(reply)
    for piece in tokens(reply.reasoning or ""):
        yield {name: [_detail(text=piece)] if name == _DETAILS else piece for name in names}
    details = [_detail(signature=_SIGNATURE)] if _DETAILS in names else reply.reasoning_details or ()
    yield from ({_DETAILS: [detail]} for detail in details)


def _detail(**found: Any) -> dict[str, Any]:
    """Return a signed piece of reasoning as OpenRouter's page "Reasoning Tokens" shows it."""
    return {"type": "reasoning.text", **found, "format": "anthropic-claude-v1", "index": 0}
