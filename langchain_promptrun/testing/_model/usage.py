"""The tokens of a request, and the prompt cache, which reads the longest beginning shared with earlier requests.

Anthropic's documentation, "Prompt caching": a beginning is kept up to each marked part, for 5 minutes or an hour, from
1,024 tokens on, and looked for at the marks and up to 20 parts before each. At most four parts are marked, those for an
hour first. OpenAI's, "Prompt caching": every beginning is kept without marks, from 1,024 tokens on, in steps of 128.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from langchain_promptrun.data._cache_control import MARKED_VENDORS, MOST_MARKERS
from langchain_promptrun.testing._checks import RefusedError
from langchain_promptrun.testing._model.texts import MEDIA, calls_of, parts_of, text_of, tokens

_AUDIO_TOKENS = 10
_LEAST = 1_024
_STEP = 128
_LOOK_BACK = 20
_FIVE_MINUTES = 300.0
_HOUR = 3_600.0
_MARKER = "cache_control"


class PromptUse(NamedTuple):
    """The tokens of a prompt: the audio among them, those read from the cache, and those written to it."""

    tokens: int
    audio: int = 0
    read: int = 0
    written: int = 0


def count(body: Mapping[str, Any]) -> PromptUse:
    """Count the tokens of a request; media other than audio count for one each."""
    messages = body["messages"]
    kinds = Counter(str(part.get("type")) for message in messages for part in parts_of(message))
    texts = [text_of(message) for message in messages]
    texts += [" ".join(map(str, function.values())) for message in messages for _, function in calls_of(message)]
    texts += [json.dumps(tool) for tool in body.get("tools") or ()]
    audio = _AUDIO_TOKENS * kinds["input_audio"]
    media = sum(kinds[kind] for kind in MEDIA if kind != "input_audio")
    return PromptUse(audio + media + sum(len(tokens(text)) for text in texts), audio)


class _Part(NamedTuple):
    """The end of a part, with all before it; `ttl` is that of its mark, None without one."""

    digest: bytes
    tokens: int
    ttl: str | None


class PromptCache:
    """Beginnings of prompts, by model."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[bytes, float] = {}

    def use(self, body: Mapping[str, Any]) -> PromptUse:
        parts, now = list(_parts(body)), self._clock()
        is_marked = str(body["model"]).partition("/")[0] in MARKED_VENDORS
        ends = [index for index, part in enumerate(parts) if part.ttl is not None or not is_marked]
        near = parts
        if is_marked:
            are_long, problem = [parts[end].ttl == "1h" for end in ends], ""
            marks = len(ends) + (_MARKER in body)
            if marks > MOST_MARKERS:
                problem = f"A maximum of {MOST_MARKERS} blocks with cache_control may be provided. Found {marks}."
            elif are_long != sorted(are_long, reverse=True):
                problem = "A cache_control block with ttl '1h' must not come after one with ttl '5m'."
            if problem:
                raise RefusedError(HTTPStatus.BAD_REQUEST, problem, _MARKER)
            near = [part for end in ends for part in parts[max(0, end + 1 - _LOOK_BACK) : end + 1]]
        read = max((part.tokens for part in near if self._kept.get(part.digest, 0.0) > now), default=0)
        kept = [parts[end] for end in ends if parts[end].tokens >= _LEAST]
        self._kept |= {part.digest: now + (_HOUR if part.ttl == "1h" else _FIVE_MINUTES) for part in kept}
        longest = max([read, *(part.tokens for part in kept)])
        total = parts[-1].tokens
        return PromptUse(total, 0, read, longest - read) if is_marked else PromptUse(total, 0, read - read % _STEP)


def _parts(body: Mapping[str, Any]) -> Iterator[_Part]:
    digest, count = hashlib.sha256(str(body["model"]).encode()), 0
    for text, marker in _texts(body):
        digest.update(text.encode("utf-8", "surrogatepass"))
        count += len(tokens(text))
        yield _Part(digest.digest(), count, None if marker is None else marker.get("ttl", "5m"))


def _texts(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    for tool in body.get("tools") or ():
        yield _bare(tool, _MARKER), tool.get(_MARKER)
    for message in body["messages"]:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        head = _bare(message, "content", _MARKER)
        for part in parts or [{}]:
            yield head + _bare(part, _MARKER), part.get(_MARKER)
            head = ""


def _bare(part: Mapping[str, Any], *without: str) -> str:
    return json.dumps({key: value for key, value in part.items() if key not in without}, sort_keys=True)
