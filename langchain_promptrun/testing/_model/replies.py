"""The replies of the small model: equal ones for equal requests.

A tool fits when the question shares words with its name or description, or has the numbers that it needs. Each tool is
called once a question; a class that stands for the answer is called last.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_promptrun.testing._items import Reply
from langchain_promptrun.testing._model import texts
from langchain_promptrun.testing._model.answers import Source, answer
from langchain_promptrun.testing._model.texts import Conversation

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
    conversation = texts.read(body["messages"])
    tools = [tool["function"] for tool in body.get("tools") or () if tool.get("type") == "function"]
    chosen = _chosen(tools, body.get("tool_choice") or "auto", conversation)
    if body.get("parallel_tool_calls") is False:
        chosen = chosen[:1]
    calls = [
        {"name": tool["name"], "args": answer(_parameters(tool), Source(conversation.source, skip))}
        for skip, tool in enumerate(chosen)
    ]
    reply = Reply(tool_calls=calls) if calls else Reply(_said(body, conversation))
    asked = body.get("reasoning_effort") or body.get("reasoning")
    if isinstance(asked, dict):
        asked = asked.get("enabled", True) and asked.get("effort", True)
    if asked and asked != "none":
        count = len(texts.tokens(conversation.question))
        reply = replace(reply, reasoning=f"The question has {count} words. A short answer will do.")
    wanted = [reply] * (body.get("n") or 1)
    if reply.text is not None and not reply.text.startswith("{"):  # JSON stays as it is
        wanted[1:] = [replace(reply, text=f"{reply.text} (answer {n})") for n in range(2, len(wanted) + 1)]
    return [_limited(reply, body) for reply in wanted]


def _said(body: Mapping[str, Any], conversation: Conversation) -> str:
    """Return JSON that was asked for; else the tools' results, a known answer or the question, and the media."""
    wanted = (body.get("response_format") or {}).get("type")
    if wanted == "json_schema":
        schema = body["response_format"].get("json_schema", {}).get("schema", {})
        return json.dumps(answer(schema, Source(conversation.source), optional=True), ensure_ascii=False)
    if wanted == "json_object":  # with the keys that the conversation quotes
        asked = "\n".join(texts.text_of(message) for message in body["messages"] if message["role"] != "assistant")
        keys = [word for word in texts.phrases(asked, texts.QUOTED) if _KEY.fullmatch(word)] or ["answer"]
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
    tokens = texts.tokens(text)
    if limit and len(tokens) > limit:
        return replace(reply, text="".join(tokens[:limit]), finish_reason="length")
    return replace(reply, text=text)


def _chosen(tools: Sequence[Function], choice: Any, conversation: Conversation) -> list[Function]:
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


def _parameters(tool: Function) -> dict[str, Any]:
    return {"type": "object", **(tool.get("parameters") or {})}


def _is_answer(tool: Function) -> bool:
    """Tell by the name whether a tool is a class for the last answer: `WeatherReport`, not `get_weather`."""
    return str(tool["name"])[:1].isupper()


def _score(tool: Function, question: str) -> float:
    """Rate how well a tool fits: up to 1 by its name, less by its description or because it takes just numbers."""
    asked, name = texts.words(question), texts.words(tool["name"])
    by_name = texts.shared(name, asked) / len(name) if name else 0.0
    is_described = texts.shared(texts.words(tool.get("description") or ""), asked) >= _TELLING_DESCRIPTION
    parameters = _parameters(tool)
    needed = [parameters.get("properties", {}).get(name, {}) for name in parameters.get("required", ())]
    takes_numbers = all(isinstance(schema, dict) and schema.get("type") in ("integer", "number") for schema in needed)
    has_numbers = bool(needed) and takes_numbers and len(texts.numbers(question)) >= len(needed)
    return max(by_name, _WEAK if is_described or has_numbers else 0.0)
