"""The replies of the small model: equal ones for equal requests.

A tool fits when the question shares words with its name or description, or has the numbers that it needs. Each tool is
called once a question; a class that stands for the answer is called last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_promptrun.testing._items import Reply
from langchain_promptrun.testing._model import words
from langchain_promptrun.testing._model.answers import answer
from langchain_promptrun.testing._model.conversation import Conversation, read, text_of
from langchain_promptrun.testing._model.values import Source

Function = Mapping[str, Any]
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
    "tell me a joke": "Why did the function stop calling? It had reached its return.",
    "what is the capital of france": "The capital of France is Paris.",
    "what is the capital of georgia": "The capital of Georgia is Tbilisi.",
    "write a haiku about the sea": "Grey waves fold and break,\nsalt wind lifts a gull.\nThe tide keeps its time.",
    "who are you": "I am a stand-in for a model, for tests and demonstrations on your own machine.",
}
"""Questions of demonstrations, without punctuation, and what a model would answer."""


def replies(body: Mapping[str, Any]) -> list[Reply]:
    conversation = read(body["messages"])
    reply = replace(_reply(body, conversation), reasoning=_reasoning(body, conversation))
    return [_limited(_numbered(reply, number), body) for number in range(1, (body.get("n") or 1) + 1)]


def _reply(body: Mapping[str, Any], conversation: Conversation) -> Reply:
    calls = _tool_calls(body, conversation)
    if calls:
        return Reply(tool_calls=calls)
    wanted = (body.get("response_format") or {}).get("type")
    if wanted == "json_schema":
        schema = body["response_format"].get("json_schema", {}).get("schema", {})
        return Reply(_dumps(answer(schema, Source(conversation.source), optional=True)))
    if wanted == "json_object":
        return Reply(_dumps(_json_object(body, conversation)))
    media = " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in conversation.media.items())
    said = _results(conversation) if conversation.results else _said(body, conversation)
    return Reply(f"{said} I received {media}." if media else said)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_object(body: Mapping[str, Any], conversation: Conversation) -> dict[str, str]:
    """Make an object with the keys that the conversation quotes, else with `answer`."""
    texts = (text_of(message) for message in body["messages"] if message["role"] != "assistant")
    keys = [word for text in texts for word in words.quoted(text) if _KEY.fullmatch(word)]
    return {key: f"The {key} for: {conversation.source.strip()}" for key in keys or ["answer"]}


def _results(conversation: Conversation) -> str:
    return " ".join(f"The tool {name} says: {text}" for name, text in conversation.results)


def _said(body: Mapping[str, Any], conversation: Conversation) -> str:
    question = conversation.question
    known = _KNOWN_ANSWERS.get(question.strip().rstrip(".?!").lower())
    greeting = _GREETINGS[(body.get("seed") or 0) % len(_GREETINGS)]
    return known or f"{greeting} You said{f': {question}' if question else ' nothing.'}"


def _reasoning(body: Mapping[str, Any], conversation: Conversation) -> str | None:
    """Think aloud where `reasoning_effort` or `reasoning` asks for it."""
    asked = body.get("reasoning_effort") or body.get("reasoning")
    if isinstance(asked, dict):
        asked = asked.get("enabled", True) and asked.get("effort", True)
    if not asked or asked == "none":
        return None
    return f"The question has {len(words.tokens(conversation.question))} words. A short answer will do."


def _numbered(reply: Reply, number: int) -> Reply:
    """Have replies beyond the first one say which they are, except JSON."""
    if number == 1 or reply.text is None or reply.text.startswith("{"):
        return reply
    return replace(reply, text=f"{reply.text} (answer {number})")


def _limited(reply: Reply, body: Mapping[str, Any]) -> Reply:
    """Cut a reply before the first stop sequence and after the most tokens asked for."""
    if reply.text is None:
        return reply
    stop = body.get("stop") or ()
    found = [reply.text.find(sequence) for sequence in ([stop] if isinstance(stop, str) else stop)]
    text = reply.text[: min((end for end in found if end >= 0), default=None)]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    tokens = words.tokens(text)
    if limit and len(tokens) > limit:
        return replace(reply, text="".join(tokens[:limit]), finish_reason="length")
    return replace(reply, text=text)


def _tool_calls(body: Mapping[str, Any], conversation: Conversation) -> list[dict[str, Any]]:
    """Return the calls that answer a request, as `Reply` takes them; an empty list: answer in text."""
    tools = [tool["function"] for tool in body.get("tools") or () if tool.get("type") == "function"]
    chosen = _chosen(tools, body.get("tool_choice") or "auto", conversation)
    if body.get("parallel_tool_calls") is False:
        chosen = chosen[:1]
    return [
        {"name": tool["name"], "args": answer(_parameters(tool), Source(conversation.source, skip))}
        for skip, tool in enumerate(chosen)
    ]


def _chosen(tools: Sequence[Function], choice: Any, conversation: Conversation) -> list[Function]:
    if not tools or choice == "none":
        return []
    if isinstance(choice, dict) and choice.get("type") == "function":
        return [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    fitting = [tool for tool in _fitting(tools, conversation.question) if tool["name"] not in conversation.called]
    actions = [tool for tool in fitting if not _is_answer(tool)]
    return actions or (_required(tools, conversation) if choice == "required" else fitting[:1])


def _required(tools: Sequence[Function], conversation: Conversation) -> list[Function]:
    """Choose where no tool fits: one that was not called yet, a class for the last answer first."""
    waiting = [tool for tool in tools if tool["name"] not in conversation.called]
    return (sorted(waiting, key=lambda tool: not _is_answer(tool)) or list(tools))[:1]


def _parameters(tool: Function) -> dict[str, Any]:
    return {"type": "object", **(tool.get("parameters") or {})}


def _is_answer(tool: Function) -> bool:
    """Tell by the name whether a tool is a class for the last answer: `WeatherReport`, not `get_weather`."""
    return str(tool["name"])[:1].isupper()


def _fitting(tools: Sequence[Function], question: str) -> list[Function]:
    scored = sorted(((_score(tool, question), tool) for tool in tools), key=lambda pair: -pair[0])
    return [tool for points, tool in scored if points and points >= _NEARLY_AS_GOOD * scored[0][0]]


def _score(tool: Function, question: str) -> float:
    """Rate how well a tool fits: up to 1 by its name, less by its description or numbers alone."""
    asked = words.words(question)
    name = words.words(tool["name"])
    by_name = words.shared(name, asked) / len(name) if name else 0.0
    described = words.shared(words.words(tool.get("description") or ""), asked) >= _TELLING_DESCRIPTION
    return max(by_name, _WEAK if described or _has_numbers_for(tool, question) else 0.0)


def _has_numbers_for(tool: Function, question: str) -> bool:
    """Tell whether a tool takes numbers alone and the question has enough of them."""
    parameters = _parameters(tool)
    needed = [parameters.get("properties", {}).get(name, {}) for name in parameters.get("required", ())]
    numeric = all(isinstance(schema, dict) and schema.get("type") in ("integer", "number") for schema in needed)
    return bool(needed) and numeric and len(words.numbers(question)) >= len(needed)
