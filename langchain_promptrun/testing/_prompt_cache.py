"""The prompt cache of the stand-in server: a request reads the longest beginning that it shares with earlier ones.

Anthropic's documentation, "Prompt caching": a beginning is kept up to each marked part, for 5 minutes or an hour, from
1,024 tokens on, and looked for at the marks and up to 20 parts before each. OpenAI's, "Prompt caching": every beginning
is kept without marks, from 1,024 tokens on, in steps of 128.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

_LEAST = 1_024
_STEP = 128
_LOOK_BACK = 20
_SECONDS = {"5m": 300.0, "1h": 3_600.0}
_MARKER = "cache_control"


class CacheUse(NamedTuple):
    """How many tokens of a prompt were read from the cache, and how many were written to it."""

    read: int
    written: int


class _Part(NamedTuple):
    digest: bytes
    tokens: int
    marker: Mapping[str, Any] | None


class PromptCache:
    """Beginnings of prompts, by model.

    Args:
        count: Counts the tokens of a text.
        clock: Gives seconds.
    """

    def __init__(self, count: Callable[[str], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._kept: dict[bytes, float] = {}

    def use(self, body: Mapping[str, Any], *, marked: bool) -> CacheUse:
        """Read and write the beginnings of a request's prompt.

        Args:
            body: The request.
            marked: Whether the model caches up to markers only.
        """
        parts = list(self._parts(body))
        ends = [index for index, part in enumerate(parts) if part.marker is not None or not marked]
        reach = {index - back for index in ends for back in range(_LOOK_BACK if marked else 1)}
        known = [parts[i].tokens for i in reach if i >= 0 and self._kept.get(parts[i].digest, 0) > self._clock()]
        read = max([tokens for tokens in known if tokens >= _LEAST], default=0)
        for index in ends:
            part = parts[index]
            if part.tokens >= _LEAST:
                seconds = _SECONDS.get(str((part.marker or {}).get("ttl", "5m")), 300.0)
                self._kept[part.digest] = self._clock() + seconds
        if not marked:
            return CacheUse(read - read % _STEP, 0)
        longest = max([parts[i].tokens for i in ends if parts[i].tokens >= _LEAST], default=0)
        return CacheUse(read, max(0, longest - read))

    def _parts(self, body: Mapping[str, Any]) -> Iterator[_Part]:
        """Give the ends of a prompt's parts: tools, then the parts of each message; a text is one part."""
        digest = hashlib.sha256(str(body["model"]).encode())
        tokens = 0
        for text, marker in _texts(body):
            digest.update(text.encode("utf-8", "surrogatepass"))
            tokens += self._count(text)
            yield _Part(digest.digest(), tokens, marker)


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
