"""The small model: a request's body -> replies, always the same ones for the same request.

Pure. It echoes, calls tools, fills in schemas, and keeps to `stop`, `max_tokens`, `n` and `seed`; nothing else changes
what it says.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing import _words
from langchain_promptrun.testing._answers import answer
from langchain_promptrun.testing._conversation import Conversation, read, text_of
from langchain_promptrun.testing._items import Reply
from langchain_promptrun.testing._tool_use import tool_calls
from langchain_promptrun.testing._values import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

_GREETINGS = ("Hello!", "Hi there!", "Good day!", "Welcome!")
_KEY = re.compile(r"[A-Za-z_]\w*")


def replies(body: Mapping[str, Any]) -> list[Reply]:
    """What the model says to a request: `n` replies.

    Args:
        body: A request that passed the checks.

    Raises:
        UnanswerableError: A schema of the request cannot be answered.
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
    return Reply(_told(conversation) if conversation.results else _echo(body, conversation))


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_object(body: Mapping[str, Any], conversation: Conversation) -> dict[str, str]:
    """An object with the keys that the conversation quotes, else with `answer`."""
    texts = (text_of(message) for message in body["messages"] if message["role"] != "assistant")
    keys = [word for text in texts for word in _words.quoted(text) if _KEY.fullmatch(word)]
    return {key: f"The {key} for: {conversation.source.strip()}" for key in keys or ["answer"]}


def _told(conversation: Conversation) -> str:
    """The answer once tools have spoken."""
    said = " ".join(f"The tool {name} says: {text}" for name, text in conversation.results)
    return " ".join([said, *_seen(conversation)])


def _echo(body: Mapping[str, Any], conversation: Conversation) -> str:
    greeting = _GREETINGS[(body.get("seed") or 0) % len(_GREETINGS)]
    said = f"You said: {conversation.question}" if conversation.question else "You said nothing."
    return " ".join([greeting, said, *_seen(conversation)])


def _seen(conversation: Conversation) -> list[str]:
    media = " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in conversation.media.items())
    return [f"I received {media}."] if media else []


def _reasoning(body: Mapping[str, Any], conversation: Conversation) -> str | None:
    """Thoughts, where the request asks for them by `reasoning_effort` or `reasoning`."""
    asked = body.get("reasoning_effort") or body.get("reasoning")
    if isinstance(asked, dict):
        asked = asked.get("enabled", True) and asked.get("effort", True)
    if not asked or asked == "none":
        return None
    return f"The question has {len(_words.pieces(conversation.question))} words. A short answer will do."


def _numbered(reply: Reply, number: int) -> Reply:
    """Replies beyond the first one say which they are, where that does not break JSON."""
    if number == 1 or reply.text is None or reply.text.startswith("{"):
        return reply
    return replace(reply, text=f"{reply.text} (answer {number})")


def _limited(reply: Reply, body: Mapping[str, Any]) -> Reply:
    """A reply cut before the first stop sequence, and after `max_tokens` tokens."""
    if reply.text is None:
        return reply
    stops = body.get("stop") or ()
    found = [reply.text.find(stop) for stop in ([stops] if isinstance(stops, str) else stops)]
    ends = [end for end in found if end >= 0]
    text = reply.text[: min(ends, default=None)]
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    pieces = _words.pieces(text)
    if most and len(pieces) > most:
        return replace(reply, text="".join(pieces[:most]), finish_reason="length")
    return replace(reply, text=text)
