"""A request's messages as the small model reads them, and their length in tokens."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing._model import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MEDIA = {"image_url": "image", "input_audio": "audio clip", "file": "file", "video_url": "video"}
_AUDIO_TOKENS = 10


@dataclass(frozen=True)
class Conversation:
    """The messages from the last user message on; `results` holds tool names with what they returned."""

    question: str
    results: Sequence[tuple[str, str]]
    called: frozenset[str]
    media: Mapping[str, int]

    @property
    def source(self) -> str:
        """The text to take arguments from: the tools' results before the question."""
        return "\n".join([*(text for _, text in self.results), self.question])


def read(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    start = max((position for position, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    turn = messages[start:]
    calls = {call.get("id"): _function(call).get("name", "tool") for message in turn for call in _calls(message)}
    return Conversation(
        question=text_of(turn[0]) if turn else "",
        results=[
            (calls.get(message.get("tool_call_id"), message.get("name") or "tool"), text_of(message))
            for message in turn
            if message.get("role") == "tool"
        ],
        called=frozenset(calls.values()),
        media=Counter(_MEDIA[kind] for message in turn for kind in map(_kind, _parts(message)) if kind in _MEDIA),
    )


def text_of(message: Mapping[str, Any]) -> str:
    return "\n".join(part.get("text") or "" for part in _parts(message) if _kind(part) == "text")


def prompt_tokens(body: Mapping[str, Any]) -> tuple[int, int]:
    """Count the tokens of a request; the second number is the audio among them. Other media count for one each."""
    messages = body["messages"]
    kinds = Counter(_kind(part) for message in messages for part in _parts(message))
    texts = [text_of(message) for message in messages]
    texts += [" ".join(map(str, _function(call).values())) for message in messages for call in _calls(message)]
    texts += [json.dumps(tool) for tool in body.get("tools") or ()]
    audio = _AUDIO_TOKENS * kinds["input_audio"]
    media = sum(kinds[kind] for kind in _MEDIA if kind != "input_audio")
    return audio + media + sum(len(words.tokens(text)) for text in texts), audio


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
