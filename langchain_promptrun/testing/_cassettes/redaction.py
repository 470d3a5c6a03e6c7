"""Secrets in recorded exchanges: patterns, and texts that a stream spreads over several events."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate, pairwise
from typing import Any

HIDDEN = "[redacted]"
_PATTERN = (
    r"\b(?:sk|pk|rk|org|proj)-[\w-]{12,}|\b(?:gsk|xai|hf|ghp|gho|ghs|glpat|pplx)[_-][\w-]{16,}|\bAIza[\w-]{30,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}|\bBearer +[\w.~+/=-]{8,}"
)
_EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_SECRET_NAMES = re.compile(r"(?i)(?:api[_-]?key|authorization|password|secret|access[_-]?token|cookie)$")
_SHORTEST_KEY = 12

Leaf = tuple[Any, Any, tuple[Any, ...]]
"""A text in a JSON document: its container, its key there, and its path."""


class Redaction:
    """Replaces secrets by `[redacted]`, in requests and in answers alike."""

    def __init__(self, *, emails: bool = False, keys: tuple[str, ...] = ()) -> None:
        literals = [re.escape(key) for key in keys if len(key) >= _SHORTEST_KEY]
        self._pattern = re.compile("|".join([*literals, _PATTERN, *([_EMAIL] if emails else [])]))

    def document(self, document: Any) -> Any:
        """Return a JSON document without secrets; the document itself is changed."""
        holder = [document]
        for container, key, path in _leaves(holder, ()):
            named = any(isinstance(part, str) and _SECRET_NAMES.search(part) for part in path[-1:])
            container[key] = HIDDEN if named else self._pattern.sub(HIDDEN, container[key])
        return holder[0]

    def body(self, text: str) -> str:
        """Return a body without secrets: JSON, server-sent events, or any text. Lines stay lines."""
        try:
            document = json.loads(text)
        except ValueError:
            return self._events(text)
        before = json.dumps(document)
        after = json.dumps(self.document(document), ensure_ascii=False)
        return text if json.dumps(document) == before else after

    def _events(self, text: str) -> str:
        """Redact each event; texts of deltas are looked at as they read when joined."""
        lines = text.split("\n")
        events = {number: document for number, line in enumerate(lines) if (document := _data(line)) is not None}
        before = {number: json.dumps(document) for number, document in events.items()}
        streams: dict[tuple[Any, ...], list[Leaf]] = defaultdict(list)
        for document in events.values():
            for leaf in _leaves(document, ()):
                streams[leaf[2] if "delta" in leaf[2] else (id(leaf[0]), leaf[1])].append(leaf)
        for leaves in streams.values():
            for (container, key, _), value in zip(leaves, self._joined(leaves), strict=True):
                container[key] = value
        for number, line in enumerate(lines):
            if number not in events:
                lines[number] = self._pattern.sub(HIDDEN, line)
            elif json.dumps(events[number]) != before[number]:
                end = "\r" if line.endswith("\r") else ""
                lines[number] = f"data: {json.dumps(events[number], ensure_ascii=False)}{end}"
        return "\n".join(lines)

    def _joined(self, leaves: list[Leaf]) -> Iterator[str]:
        """Yield the leaves' texts without secrets; one that begins in a leaf is hidden there."""
        whole = "".join(container[key] for container, key, _ in leaves)
        spans = [match.span() for match in self._pattern.finditer(whole)]
        start = 0
        for container, key, _ in leaves:
            end, at, kept = start + len(container[key]), start, ""
            for first, last in spans:
                if last > start and first < end:
                    kept += whole[at : max(at, first)] + (HIDDEN if first >= start else "")
                    at = min(last, end)
            yield kept + whole[at:end]
            start = end


def _leaves(document: Any, path: tuple[Any, ...]) -> Iterator[Leaf]:
    items: Any = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(items):
        if isinstance(value, str):
            yield document, key, (*path, key)
        elif isinstance(value, dict | list):
            yield from _leaves(value, (*path, key))


def _data(line: str) -> Any:
    """Return the JSON document of an event's `data` line, or None."""
    with suppress(ValueError):
        document = json.loads(line.removeprefix("data:")) if line.startswith("data:") else None
        return document if isinstance(document, dict | list) else None


def recut(old: bytes, new: bytes, sizes: list[int]) -> list[int]:
    """Return the sizes of a body's pieces after its lines changed; in lines that stayed the cuts stay."""
    before, after = old.split(b"\n"), new.split(b"\n")
    if len(before) != len(after):
        return [len(new)]
    cuts = [0]
    pending = list(accumulate(sizes))
    old_start = new_start = 0
    for line, changed in zip(before, after, strict=True):
        while pending and pending[0] <= old_start + len(line):
            inside = pending.pop(0) - old_start
            cuts.append(new_start + (inside if line == changed else min(inside, len(changed))))
        old_start += len(line) + 1
        new_start += len(changed) + 1
    return [end - start for start, end in pairwise(cuts)]
