"""What the small model reads in a request's messages: the last question, what tools said since, the media, the length.

Pure. Knows the shape of Chat Completions messages and nothing of answers.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing import _words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MEDIA = {"image_url": "image", "input_audio": "audio clip", "file": "file", "video_url": "video"}
AUDIO_TOKENS = 10
"""How many tokens an audio clip counts for; other media count for one each."""


@dataclass(frozen=True)
class Conversation:
    """The messages of one request, as the model reads them."""

    question: str
    """The text of the last user message."""
    results: Sequence[tuple[str, str]]
    """Since then: the tools that answered, each with what it said."""
    called: frozenset[str]
    """Since then: the tools that were called."""
    media: Mapping[str, int]
    """How many media of which kind the last question and what follows it hold."""

    @property
    def source(self) -> str:
        """The text to take arguments from: what tools found out comes before what was asked."""
        return "\n".join([*(text for _, text in self.results), self.question])


def read(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    """The conversation from its last user message on; without one, from its last message."""
    start = max((position for position, message in enumerate(messages) if message.get("role") == "user"), default=None)
    turn = messages[-1:] if start is None else messages[start:]
    calls = {call.get("id"): _function(call).get("name", "tool") for message in turn for call in _calls(message)}
    return Conversation(
        question=text_of(turn[0]) if turn else "",
        results=[
            (calls.get(message.get("tool_call_id"), message.get("name") or "tool"), text_of(message))
            for message in turn
            if message.get("role") == "tool"
        ],
        called=frozenset(calls.values()),
        media=Counter(MEDIA[kind] for message in turn for kind in map(_kind, _parts(message)) if kind in MEDIA),
    )


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text without its media."""
    return "\n".join(part.get("text") or "" for part in _parts(message) if _kind(part) == "text")


def _parts(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from (part for part in content if isinstance(part, dict))


def _kind(part: Mapping[str, Any]) -> str:
    return str(part.get("type"))


def _calls(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return message.get("tool_calls") or ()


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    return call.get("function") or {}


def prompt_tokens(body: Mapping[str, Any]) -> tuple[int, int]:
    """How many tokens a request counts for, and how many of them are audio."""
    messages = body["messages"]
    parts = [part for message in messages for part in _parts(message)]
    kinds = Counter(map(_kind, parts))
    texts = [text_of(message) for message in messages]
    texts += [" ".join(map(str, _function(call).values())) for message in messages for call in _calls(message)]
    texts += [json.dumps(tool) for tool in body.get("tools") or ()]
    audio = AUDIO_TOKENS * kinds["input_audio"]
    media = sum(kinds[kind] for kind in MEDIA if kind != "input_audio")
    return audio + media + sum(len(_words.pieces(text)) for text in texts), audio
