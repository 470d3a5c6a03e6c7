"""The replies of the small model: equal ones for equal requests."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing._items import Reply
from langchain_promptrun.testing._model import words
from langchain_promptrun.testing._model.answers import answer
from langchain_promptrun.testing._model.conversation import Conversation, read, text_of
from langchain_promptrun.testing._model.tools import tool_calls
from langchain_promptrun.testing._model.values import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """Return what the model says to a request: `n` replies.

    Raises:
        UnanswerableError: The request's schema has no answer.
    """
    conversation = read(body["messages"])
    reply = replace(_reply(body, conversation), reasoning=_reasoning(body, conversation))
    return [_limited(_numbered(reply, number), body) for number in range(1, (body.get("n") or 1) + 1)]


def _reply(body: Mapping[str, Any], conversation: Conversation) -> Reply:
    calls = tool_calls(body, conversation)
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
