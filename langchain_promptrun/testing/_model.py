"""The small model: what it reads in a request, its replies, and the documents and events that carry them.

A tool fits when the question shares words with its name or description, or has the numbers that it needs. Each tool is
called once a question; a class that stands for the answer is called last.
The shapes are those of Promptrun's page "Streaming AI" and of the test data of Promptrun's Node SDK; the other dialect
is OpenAI's reference.
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import chain
from typing import Any, NamedTuple

from langchain_promptrun.data._cache_control import MARKED_VENDORS, MOST_MARKERS
from langchain_promptrun.testing._answers import QUOTED, answer, numbers, phrases
from langchain_promptrun.testing._checks import RefusedError
from langchain_promptrun.testing._http import encode
from langchain_promptrun.testing._items import Reply, Settings

_Function = Mapping[str, Any]
_TELLING_DESCRIPTION = 2

_GREETINGS = ("Hello!", "Hi there!", "Good day!", "Welcome!")
_KEY = re.compile(r"[A-Za-z_]\w*")
_KNOWN_ANSWERS = {
    "tell me a fun fact about space": (
        "A day on Venus is longer than its year: it turns once in 243 Earth days, and circles the Sun in 225."
    ),
    "why is the sky blue": "Air scatters blue light more than red light, because blue has the shorter waves.",
}
"""Questions of demonstrations, without punctuation, and what a model would answer."""
MEDIA = {"image_url": "image", "input_audio": "audio clip", "file": "file", "video_url": "video"}
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"\s*(?:[{_CJK}]|[^\s{_CJK}]+)|\s+")
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+")
_COMMON = """
    a an and are as at be by call can do does for from function get give have how i in input into is it its made make me
    my of on or output please set some tell that the this times to tool use using value was what when where which who
    will with you your
"""
_STOP_WORDS = frozenset(_COMMON.split())
_SHORTEST_STEM = 3
_STEM = 5
_FIRST_SECOND = 1715325600  # `created` of the documented example; later answers count on, so that runs are equal
_ARGUMENTS_PIECE = 12
_DETAILS = "reasoning_details"
_SIGNATURE = "c3RhbmQtaW4="
_LEAST = 1_024
_FIVE_MINUTES, _HOUR = 300.0, 3_600.0
_MARKER = "cache_control"


class _Conversation:
    """The messages from the last user message on; `results` holds tool names with what they returned."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        users = [position for position, message in enumerate(messages) if message.get("role") == "user"]
        turn = messages[max(users, default=-1) :]
        calls = {call.get("id"): made.get("name", "tool") for message in turn for call, made in calls_of(message)}
        told = [message for message in turn if message.get("role") == "tool"]
        names = [calls.get(message.get("tool_call_id"), message.get("name") or "tool") for message in told]
        kinds = Counter(str(part.get("type")) for message in turn for part in parts_of(message))
        self.question = text_of(turn[0]) if turn else ""
        self.results = list(zip(names, map(text_of, told), strict=True))
        self.called = set(calls.values())
        self.media = {MEDIA[kind]: count for kind, count in kinds.items() if kind in MEDIA}
        self.source = "\n".join([*map(text_of, told), self.question])


def text_of(message: Mapping[str, Any]) -> str:
    return "\n".join(part.get("text") or "" for part in parts_of(message) if part.get("type") == "text")


def parts_of(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from (part for part in content if isinstance(part, dict))


def calls_of(message: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    yield from ((call, call.get("function") or {}) for call in message.get("tool_calls") or ())


def tokens(text: str) -> list[str]:
    """Split a text into words with the white space before them."""
    return _TOKEN.findall(text)


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)} - _STOP_WORDS


def _shared(some: set[str], others: set[str]) -> int:
    """Count the words of `some` that equal one of `others` or begin like it."""

    def alike(one: str, other: str) -> bool:
        stem = min(len(one), len(other), _STEM)
        return one == other or (stem >= _SHORTEST_STEM and one[:stem] == other[:stem])

    return sum(any(alike(word, other) for other in others) for word in some)


def replies(body: Mapping[str, Any]) -> list[Reply]:
    conversation = _Conversation(body["messages"])
    calls = list(_tool_calls(body, conversation))
    reply = Reply(tool_calls=calls) if calls else Reply(_said(body, conversation))
    asked = body.get("reasoning_effort") or body.get("reasoning")
    if isinstance(asked, dict):
        asked = asked.get("enabled", True) and asked.get("effort", True)
    if asked and asked != "none":
        count = len(tokens(conversation.question))
        reply = replace(reply, reasoning=f"The question has {count} words. A short answer will do.")
    wanted = [reply] * (body.get("n") or 1)
    if reply.text is not None and not reply.text.startswith("{"):  # JSON stays as it is
        wanted[1:] = [replace(reply, text=f"{reply.text} (answer {n})") for n in range(2, len(wanted) + 1)]
    return [_limited(reply, body) for reply in wanted]


def _said(body: Mapping[str, Any], conversation: _Conversation) -> str:
    """Return JSON that was asked for; else the tools' results, a known answer or the question, and the media."""
    wanted = (body.get("response_format") or {}).get("type")
    if wanted == "json_schema":
        schema = body["response_format"].get("json_schema", {}).get("schema", {})
        return json.dumps(answer(schema, conversation.source, optional=True), ensure_ascii=False)
    if wanted == "json_object":  # with the keys that the conversation quotes
        asked = "\n".join(text_of(message) for message in body["messages"] if message["role"] != "assistant")
        keys = [word for word in phrases(asked, QUOTED) if _KEY.fullmatch(word)] or ["answer"]
        found = {key: f"The {key} for: {conversation.source.strip()}" for key in keys}
        return json.dumps(found, ensure_ascii=False)
    question = conversation.question
    said = " ".join(f"The tool {name} says: {text}" for name, text in conversation.results)
    said = said or _KNOWN_ANSWERS.get(question.strip().rstrip(".?!").lower(), "")
    greeting = _GREETINGS[(body.get("seed") or 0) % len(_GREETINGS)]
    said = said or f"{greeting} You said{f': {question}' if question else ' nothing.'}"
    media = " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in conversation.media.items())
    return f"{said} I received {media}." if media else said


def _limited(reply: Reply, body: Mapping[str, Any]) -> Reply:
    """Cut a reply before the first stop sequence and after the most tokens asked for."""
    if reply.text is None:
        return reply
    stop = body.get("stop") or ()
    found = [reply.text.find(sequence) for sequence in ([stop] if isinstance(stop, str) else stop)]
    text = reply.text[: min((end for end in found if end >= 0), default=None)]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    words = tokens(text)
    if limit and len(words) > limit:
        return replace(reply, text="".join(words[:limit]), finish_reason="length")
    return replace(reply, text=text)


def _tool_calls(body: Mapping[str, Any], conversation: _Conversation) -> Iterator[dict[str, Any]]:
    tools = [tool["function"] for tool in body.get("tools") or () if tool.get("type") == "function"]
    chosen = _chosen(tools, body.get("tool_choice") or "auto", conversation)
    if body.get("parallel_tool_calls") is False:
        chosen = chosen[:1]
    for skip, tool in enumerate(chosen):
        schema = {"type": "object", **(tool.get("parameters") or {})}
        yield {"name": tool["name"], "args": answer(schema, conversation.source, skip=skip)}


def _chosen(tools: Sequence[_Function], choice: Any, conversation: _Conversation) -> list[_Function]:
    if not tools or choice == "none":
        return []
    if isinstance(choice, dict) and choice.get("type") == "function":
        return [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    scored = sorted(((_score(tool, conversation.question), tool) for tool in tools), key=lambda pair: -pair[0])
    near = [tool for points, tool in scored if points and points >= 0.75 * scored[0][0]]
    fitting = [tool for tool in near if tool["name"] not in conversation.called]
    actions = [tool for tool in fitting if not _is_answer(tool)]
    if choice != "required" or actions:
        return actions or fitting[:1]
    waiting = [tool for tool in tools if tool["name"] not in conversation.called]
    return (sorted(waiting, key=lambda tool: not _is_answer(tool)) or list(tools))[:1]  # a class for the answer first


def _is_answer(tool: _Function) -> bool:
    """Tell by the name whether a tool is a class for the last answer: `WeatherReport`, not `get_weather`."""
    return str(tool["name"])[:1].isupper()


def _score(tool: _Function, question: str) -> float:
    """Rate how well a tool fits: up to 1 by its name, less by its description or because it takes just numbers."""
    asked, name = _words(question), _words(tool["name"])
    by_name = _shared(name, asked) / len(name) if name else 0.0
    is_described = _shared(_words(tool.get("description") or ""), asked) >= _TELLING_DESCRIPTION
    parameters = tool.get("parameters") or {}
    needed = [parameters.get("properties", {}).get(name, {}) for name in parameters.get("required", ())]
    takes_numbers = all(isinstance(schema, dict) and schema.get("type") in ("integer", "number") for schema in needed)
    has_numbers = bool(needed) and takes_numbers and len(numbers(question)) >= len(needed)
    return max(by_name, 0.25 if is_described or has_numbers else 0.0)


class PromptUse(NamedTuple):
    """The tokens of a prompt: the audio among them, those read from the cache, and those written to it."""

    tokens: int
    audio: int = 0
    read: int = 0
    written: int = 0


def count(body: Mapping[str, Any]) -> PromptUse:
    """Count the tokens of a request; media count for one each, audio for ten."""
    messages = body["messages"]
    kinds = Counter(str(part.get("type")) for message in messages for part in parts_of(message))
    texts = [text_of(message) for message in messages]
    texts += [" ".join(map(str, function.values())) for message in messages for _, function in calls_of(message)]
    texts += [json.dumps(tool) for tool in body.get("tools") or ()]
    audio = 10 * kinds["input_audio"]
    media = sum(kinds[kind] for kind in MEDIA if kind != "input_audio")
    return PromptUse(audio + media + _word_count(texts), audio)


def _word_count(texts: Iterable[str | None]) -> int:
    return sum(len(tokens(text or "")) for text in texts)


class _Part(NamedTuple):
    """The end of a part, with all before it; `ttl` is that of its mark, None without one."""

    digest: bytes
    tokens: int
    ttl: str | None


class PromptCache:
    """Reads the longest beginning shared with earlier requests.

    Anthropic's documentation, "Prompt caching": a beginning is kept up to each marked part, for 5 minutes or an hour,
    from 1,024 tokens on, and looked for at the marks and up to 20 parts before each. At most four parts are marked,
    those for an hour first. OpenAI's, "Prompt caching": every beginning is kept without marks, from 1,024 tokens on, in
    steps of 128.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[bytes, float] = {}

    def use(self, body: Mapping[str, Any]) -> PromptUse:
        parts, now = list(_parts(body)), self._clock()
        near = kept = parts
        is_marked = str(body["model"]).partition("/")[0] in MARKED_VENDORS
        if is_marked:
            ends = [index for index, part in enumerate(parts) if part.ttl is not None]
            near = [part for end in ends for part in parts[max(0, end + 1 - 20) : end + 1]]
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
        return PromptUse(total, 0, read, written) if is_marked else PromptUse(total, 0, read - read % 128)


def _parts(body: Mapping[str, Any]) -> Iterator[_Part]:
    pieces = [(_bare(tool, _MARKER), tool.get(_MARKER)) for tool in body.get("tools") or ()]
    for message in body["messages"]:
        head = _bare(message, "content", _MARKER)
        for part in list(parts_of(message)) or [{}]:
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
        calls = list(self._calls(reply, choice))
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

    def _calls(self, reply: Reply, choice: int) -> Iterator[dict[str, Any]]:
        for index, call in enumerate(reply.tool_calls):
            more = dict(call)
            name, arguments = more.pop("name"), more.pop("args", {})
            ident = more.pop("id", f"call_{self.number}_{choice}_{index}")
            if more.get("type") == "tool_call":  # LangChain's own mark
                del more["type"]
            text = arguments if isinstance(arguments, str | None) else encode(arguments).decode()
            yield {"id": ident, "type": "function", "function": {"name": name, "arguments": text}, **more}

    def _logprobs(self, text: str | None) -> dict[str, Any]:
        if not (text and self.body.get("logprobs")):
            return {}

        def entry(token: str, rank: int) -> dict[str, Any]:
            return {"token": token, "logprob": -0.125 * (rank + 1), "bytes": list(token.encode("utf-8", "replace"))}

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
        reasoning = _word_count(reply.reasoning for reply in self.replies)
        said = [text for reply in self.replies for text in (reply.text, reply.refusal)]
        said += [str(call.get("args")) for reply in self.replies for call in reply.tool_calls]
        completion = reasoning + _word_count(said)
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
