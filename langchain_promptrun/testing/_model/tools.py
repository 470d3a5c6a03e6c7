"""The tool calls that the small model makes.

A tool fits when the question shares words with its name or description, or has the numbers that it needs. Each tool is
called once a question; a class that stands for the answer is called last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing._model import words
from langchain_promptrun.testing._model.answers import answer
from langchain_promptrun.testing._model.values import Source

if TYPE_CHECKING:
    from langchain_promptrun.testing._model.conversation import Conversation

Function = Mapping[str, Any]
_NEARLY_AS_GOOD = 0.75
_WEAK = 0.25
_TELLING_DESCRIPTION = 2


def tool_calls(body: Mapping[str, Any], conversation: Conversation) -> list[dict[str, Any]]:
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
    waiting = [tool for tool in tools if tool["name"] not in conversation.called]
    fitting = [tool for tool in _fitting(tools, conversation.question) if tool in waiting]
    actions = [tool for tool in fitting if not _is_answer(tool)]
    if choice == "required":
        return actions or next(([tool] for tool in waiting if _is_answer(tool)), waiting[:1]) or list(tools[:1])
    return actions or fitting[:1]


def _parameters(tool: Function) -> dict[str, Any]:
    return {"type": "object", **(tool.get("parameters") or {})}


def _is_answer(tool: Function) -> bool:
    """Tell by the name whether a tool is a class for the last answer: `WeatherReport`, not `get_weather`."""
    return str(tool["name"])[:1].isupper()


def _fitting(tools: Sequence[Function], question: str) -> list[Function]:
    """Return the tools that fit best or nearly as well, the best one first."""
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
