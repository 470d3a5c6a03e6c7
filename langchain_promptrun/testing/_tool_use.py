"""Which tools the small model calls, and with what arguments.

Pure. A tool fits when the question shares words with its name or description, or offers the numbers that it needs. Each
is called once a question; one that stands for the answer itself, once nothing else is left to be done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing import _words
from langchain_promptrun.testing._answers import answer
from langchain_promptrun.testing._values import Source

if TYPE_CHECKING:
    from langchain_promptrun.testing._conversation import Conversation

Function = Mapping[str, Any]
_NEARLY_AS_GOOD = 0.75
_TELLING_DESCRIPTION = 2


def tool_calls(body: Mapping[str, Any], conversation: Conversation) -> list[dict[str, Any]]:
    """The calls that answer a request, as `Reply` takes them; none where the model is to answer in text.

    Raises:
        UnanswerableError: A chosen tool's schema cannot be answered.
    """
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
    """Whether a tool is a class that the last answer is to fill in, by its name: `WeatherReport`, not `get_weather`."""
    return str(tool["name"])[:1].isupper()


def _fitting(tools: Sequence[Function], question: str) -> list[Function]:
    """The tools that fit best, those nearly as good included, the best one first."""
    scored = sorted(((score(tool, question), tool) for tool in tools), key=lambda pair: -pair[0])
    return [tool for points, tool in scored if points and points >= _NEARLY_AS_GOOD * scored[0][0]]


def score(tool: Function, question: str) -> float:
    """How well a tool fits a question: 0 not at all, up to 1 by its name; less by description or numbers alone."""
    asked = _words.words(question)
    name = _words.words(tool["name"])
    by_name = _words.shared(name, asked) / len(name) if name else 0.0
    told = _words.shared(_words.words(tool.get("description") or ""), asked)
    by_description = 0.25 if told >= _TELLING_DESCRIPTION else 0.0
    return max(by_name, by_description, 0.25 if _has_numbers_for(tool, question) else 0.0)


def _has_numbers_for(tool: Function, question: str) -> bool:
    """Whether a tool takes nothing but numbers and the question has enough of them."""
    parameters = _parameters(tool)
    needed = [parameters.get("properties", {}).get(name, {}) for name in parameters.get("required", ())]
    return (
        bool(needed)
        and all(isinstance(schema, dict) and schema.get("type") in ("integer", "number") for schema in needed)
        and len(_words.numbers(question)) >= len(needed)
    )
