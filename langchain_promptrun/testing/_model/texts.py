"""What the small model reads in a request: its last turn, and the words, numbers, quotations and names in a text."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MEDIA = {"image_url": "image", "input_audio": "audio clip", "file": "file", "video_url": "video"}
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"\s*(?:[{_CJK}]|[^\s{_CJK}]+)|\s+")
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w%]*[A-Za-z_])")
QUOTED = r"(?<!\w)'(?P<single>[^'\n]+)'(?!\w)|\"(?P<double>[^\"\n]+)\"|“(?P<curly>[^”\n]+)”|`(?P<tick>[^`\n]+)`"
_NAME = r"(?<=[a-z,] )(?P<name>(?:[A-Z][\w-]*)(?:,? [A-Z][\w-]*)*)"
_COMMON = """
    a an and are as at be by call can do does for from function get give have how i in input into is it its made make me
    my of on or output please set some tell that the this times to tool use using value was what when where which who
    will with you your
"""
_STOP_WORDS = frozenset(_COMMON.split())
_SHORTEST_STEM = 3
_STEM = 5


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
    calls = {call.get("id"): function.get("name", "tool") for message in turn for call, function in calls_of(message)}
    kinds = Counter(str(part.get("type")) for message in turn for part in parts_of(message))
    return Conversation(
        question=text_of(turn[0]) if turn else "",
        results=[
            (calls.get(message.get("tool_call_id"), message.get("name") or "tool"), text_of(message))
            for message in turn
            if message.get("role") == "tool"
        ],
        called=frozenset(calls.values()),
        media={MEDIA[kind]: count for kind, count in kinds.items() if kind in MEDIA},
    )


def text_of(message: Mapping[str, Any]) -> str:
    return "\n".join(part.get("text") or "" for part in parts_of(message) if part.get("type") == "text")


def parts_of(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from (part for part in content if isinstance(part, dict))


def calls_of(message: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield a message's tool calls, each with its function."""
    yield from ((call, call.get("function") or {}) for call in message.get("tool_calls") or ())


def tokens(text: str) -> list[str]:
    """Split a text into words with the white space before them."""
    return _TOKEN.findall(text)


def words(text: str) -> set[str]:
    """Return the words of a text or an identifier in lower case, without stop words."""
    return {word.lower() for word in _WORD.findall(text)} - _STOP_WORDS


def shared(some: set[str], others: set[str]) -> int:
    """Count the words of `some` that equal one of `others` or begin like it."""

    def alike(one: str, other: str) -> bool:
        stem = min(len(one), len(other), _STEM)
        return one == other or (stem >= _SHORTEST_STEM and one[:stem] == other[:stem])

    return sum(any(alike(word, other) for other in others) for word in some)


def numbers(text: str) -> list[int | float]:
    """Return the numbers in a text; a minus sign counts where no word or number stands before it."""
    return [float(found) if "." in found else int(found) for found in _NUMBER.findall(text)]


def phrases(text: str, pattern: str = f"{QUOTED}|{_NAME}") -> list[str]:
    """Return the quotations and names in a text."""
    return [next(filter(None, match.groups())) for match in re.finditer(pattern, text)]
