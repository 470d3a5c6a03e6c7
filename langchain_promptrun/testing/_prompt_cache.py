"""The prompt cache of the stand-in server: a request reads the longest beginning that it shares with earlier ones.

Anthropic's documentation, "Prompt caching": a beginning is kept up to each marked part, for 5 minutes or an hour, from
1,024 tokens on, and looked for at the marks and up to 20 parts before each. At most four parts are marked, those for an
hour first. OpenAI's, "Prompt caching": every beginning is kept without marks, from 1,024 tokens on, in steps of 128.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from langchain_promptrun.data._cache_control import MARKED_VENDORS, MOST_MARKERS
from langchain_promptrun.testing._checks import RefusedError
from langchain_promptrun.testing._model.words import tokens

_LEAST = 1_024
_STEP = 128
_LOOK_BACK = 20
_FIVE_MINUTES = 300.0
_SECONDS = {"1h": 3_600.0}
_MARKER = "cache_control"


class CacheUse(NamedTuple):
    """The tokens of a prompt, those read from the cache, and those written to it."""

    tokens: int
    read: int
    written: int


class _Part(NamedTuple):
    """The end of a part, with all before it."""

    digest: bytes
    tokens: int
    marker: Mapping[str, Any] | None


class PromptCache:
    """Beginnings of prompts, by model."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[bytes, float] = {}

    def use(self, body: Mapping[str, Any]) -> CacheUse:
        is_marked = str(body["model"]).partition("/")[0] in MARKED_VENDORS
        parts = list(_parts(body))
        if is_marked:
            _check_marks([part.marker for part in parts if part.marker is not None], body)
        ends = [index for index, part in enumerate(parts) if part.marker is not None or not is_marked]
        near = {index - back for index in ends for back in range(_LOOK_BACK if is_marked else 1) if index >= back}
        now = self._clock()
        longest = read = max(
            (part.tokens for part in map(parts.__getitem__, near) if self._keeps(part, now)), default=0
        )
        for part in (parts[index] for index in ends):
            if part.tokens >= _LEAST:
                self._kept[part.digest] = now + _SECONDS.get((part.marker or {}).get("ttl", ""), _FIVE_MINUTES)
                longest = max(longest, part.tokens)
        total = parts[-1].tokens
        return CacheUse(total, read, longest - read) if is_marked else CacheUse(total, read - read % _STEP, 0)

    def _keeps(self, part: _Part, now: float) -> bool:
        return self._kept.get(part.digest, 0.0) > now


def _check_marks(marks: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> None:
    count = len(marks) + (_MARKER in body)
    if count > MOST_MARKERS:
        message = f"A maximum of {MOST_MARKERS} blocks with cache_control may be provided. Found {count}."
        raise RefusedError(HTTPStatus.BAD_REQUEST, message, _MARKER)
    are_long = [mark.get("ttl") == "1h" for mark in marks]
    if are_long != sorted(are_long, reverse=True):
        message = "A cache_control block with ttl '1h' must not come after one with ttl '5m'."
        raise RefusedError(HTTPStatus.BAD_REQUEST, message, _MARKER)


def _parts(body: Mapping[str, Any]) -> Iterator[_Part]:
    digest = hashlib.sha256(str(body["model"]).encode())
    count = 0
    for text, marker in _texts(body):
        digest.update(text.encode("utf-8", "surrogatepass"))
        count += len(tokens(text))
        yield _Part(digest.digest(), count, marker)


def _texts(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    for tool in body.get("tools") or ():
        yield _bare(tool), tool.get(_MARKER)
    for message in body["messages"]:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        head = _bare({key: value for key, value in message.items() if key != "content"})
        for part in parts or [{}]:
            yield head + _bare(part), part.get(_MARKER)
            head = ""


def _bare(part: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in part.items() if key != _MARKER}, sort_keys=True)
