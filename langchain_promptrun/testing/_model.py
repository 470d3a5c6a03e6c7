"""The small model: what it reads in a request, and its replies, equal ones for equal requests.

A tool fits when the question shares words with its name or description, or has the numbers that it needs. Each tool is
called once a question; a class that stands for the answer is called last.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_promptrun.testing._answers import QUOTED, answer, numbers, phrases
from langchain_promptrun.testing._items import Reply

_Function = Mapping[str, Any]
_NEARLY_AS_GOOD = 0.75
_WEAK = 0.25
_TELLING_DESCRIPTION = 2

_GREETINGS = ("Hello!", "Hi there!", "Good day!", "Welcome!")
_KEY = re.compile(r"[A-Za-z_]\w*")
_KNOWN_ANSWERS = {
    "tell me a fun fact about space": (
        "A day on Venus is longer than its year: it turns once in 243 Earth days, and circles the Sun in 225."
    ),
    "why is the sky blue": (
        "Air scatters blue light more than red light, because blue has the shorter waves. "
        "So blue reaches us from all over the sky."
    ),
    "what is the capital of georgia": "The capital of Georgia is Tbilisi.",
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


class _Conversation:
    """The messages from the last user message on; `results` holds tool names with what they returned."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        users = [position for position, message in enumerate(messages) if message.get("role") == "user"]
        turn = messages[max(users, default=-1) :]
        calls = {
            call.get("id"): function.get("name", "tool") for message in turn for call, function in calls_of(message)
        }
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
    calls = _tool_calls(body, conversation)
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


def _tool_calls(body: Mapping[str, Any], conversation: _Conversation) -> list[dict[str, Any]]:
    tools = [tool["function"] for tool in body.get("tools") or () if tool.get("type") == "function"]
    chosen = _chosen(tools, body.get("tool_choice") or "auto", conversation)
    if body.get("parallel_tool_calls") is False:
        chosen = chosen[:1]
    calls = []
    for skip, tool in enumerate(chosen):
        schema = {"type": "object", **(tool.get("parameters") or {})}
        calls.append({"name": tool["name"], "args": answer(schema, conversation.source, skip=skip)})
    return calls


def _chosen(tools: Sequence[_Function], choice: Any, conversation: _Conversation) -> list[_Function]:
    """Return the tools to call; none: answer in text."""
    if not tools or choice == "none":
        return []
    if isinstance(choice, dict) and choice.get("type") == "function":
        return [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    scored = sorted(((_score(tool, conversation.question), tool) for tool in tools), key=lambda pair: -pair[0])
    near = [tool for points, tool in scored if points and points >= _NEARLY_AS_GOOD * scored[0][0]]
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
    return max(by_name, _WEAK if is_described or has_numbers else 0.0)
