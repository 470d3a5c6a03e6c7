"""Collect what an answer says beside its text and calls: id, model, usage, cost, and all keys that no one expects.

One rule holds for every key that this package does not know, in a delta, a choice or a document. Of a delta, a string
joins what came before, unless it repeats or continues all of it; any other string, number or boolean replaces it.
Dictionaries merge. Lists join: a dictionary merges with the one of its `index`, it and a string are kept once, and
numbers of a choice or a delta are pieces (vLLM's `token_ids`). null, "", [] and {} erase nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_promptrun._responses.body import too_large
from langchain_promptrun._responses.usage import find_cost, has_counts
from langchain_promptrun._wire.json import without_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OWN_NAMES = frozenset(
    {
        *("cost", "finish_reason", "headers", "lc_gateway_metadata", "logprobs", "model_name", "model_provider"),
        *("output_version", "reasoning_field", "requested_model", "token_usage"),
    }
)
"""Names in `response_metadata` under which LangChain or this package keep facts of their own."""

_SKIPPED = frozenset({"choices", "object", "usage", "obfuscation", "error"})
_CHANGING = frozenset({"choices", "obfuscation"})
# A document without any of them may say something of the connection: some servers keep it alive with pings.
_ABOUT_THE_ANSWER = frozenset({"choices", "usage", "id"})
_ABOUT_THE_STREAM = frozenset(
    {
        *("type", "event", "message", "msg", "detail", "status", "code", "success", "errors", "time", "timestamp"),
        *("ping", "pong", "heartbeat", "keepalive", "keep_alive", "model", "created", "name", "role"),
    }
)
_KINDS = ("type", "event", "object", "status")
_KEEP_ALIVE = re.compile(r"(?i)ping|pong|heart.?beat|keep.?alive")
_PRIVATE_HEADERS = frozenset(
    {"authorization", "cookie", "proxy-authorization", "set-cookie", "set-cookie2", "x-api-key"}
)
# Strings that name something: a further one replaces them, also in a delta.
_LABELS = frozenset({"channel", "format", "id", "mime_type", "model", "name", "object", "role", "status", "type"})
# Objects of a delta that hold facts, no pieces.
_FACTS = frozenset({"extra_content", "provider_metadata", "providerMetadata", "provider_specific_fields"})
# Lists whose dictionaries are whole.
_WHOLE_ENTRIES = frozenset({"annotations", "images", "content_parts"})
_NUMBERS = (int, float)

# What is a piece, depending on the place: nothing, numbers in lists, also texts, also the data of audio.
_NONE, NUMBERS, TEXTS, _AUDIO = range(4)
PIECES = frozenset({"audio_content", "tool_plan"})
"""Strings of a delta that are always pieces, also where one equals all before it, as silence does."""
PIECES_OF_AUDIO = frozenset({"data", "transcript"})
"""The same in the object `audio`."""


class SizeLimit:
    """Counts the bytes that are kept of an answer until its end; a `limit` of None allows any number."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._used = 0

    def add(self, size: int) -> None:
        """Count bytes; raise a PromptrunResponseError where they are too many."""
        self._used += size
        if self.limit is not None and self._used > self.limit:
            raise too_large(f"The server's answer holds more than {self.limit} bytes that are kept until its end")

    def add_value(self, value: Any, *, instead_of: Any = None) -> None:
        """Count the bytes that a value takes, beyond those of the one that it replaces."""
        if self.limit is not None:
            self.add(max(0, len(repr(value)) - (0 if instead_of is None else len(repr(instead_of)))))


class ResponseMetadata:
    """The facts of one answer; a fact has one value, however many documents repeat it.

    Attributes:
        repeatable: The last document, without its choices; None where it would say something again.
    """

    def __init__(
        self, headers: Mapping[str, str], model: str, limit: SizeLimit, *, include_headers: bool = False
    ) -> None:
        self._headers = headers
        self._asked_model = model
        self._include_headers = include_headers
        self._facts = Facts(limit)
        self._usage = Facts(limit)
        self.repeatable: dict[str, Any] | None = None

    def feed(self, document: dict[str, Any]) -> None:
        about_answer = not _ABOUT_THE_ANSWER.isdisjoint(document)
        if about_answer:
            says_more = document.get("usage") or document.get("error")
            rest = {key: value for key, value in document.items() if key not in _CHANGING}
            self.repeatable = None if says_more else rest
        elif any(_KEEP_ALIVE.search(str(document.get(key))) for key in _KINDS):
            return
        for key, value in document.items():
            if key in _SKIPPED or value is None or value == "":
                continue
            if about_answer or not (key in _ABOUT_THE_STREAM or says_nothing(value)):
                self._facts.add(key, value)
        self.add_usage(document.get("usage"))
        if isinstance(groq := document.get("x_groq"), dict):
            self.add_usage(groq.get("usage"))

    def add_usage(self, usage: Any) -> None:
        """Keep a usage object; one of zeros only says nothing after one with counts."""
        if isinstance(usage, dict) and usage and (has_counts(usage) or not has_counts(self._usage.whole())):
            self._usage.update(usage)

    @property
    def id_seed(self) -> str:
        """What tells this answer from others, or an empty string; some servers give all answers one id."""
        ident = self._facts.get("id")
        return without_surrogates(f"{ident}:{self._facts.get('created') or ''}") if ident else ""

    @property
    def model(self) -> str:
        return str(self._facts.get("model") or self._asked_model)

    def whole(self, *, with_usage: bool, places_of_cost: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
        """Return LangChain's `response_metadata`, as far as the whole answer goes."""
        facts, model = self._facts.whole(), self.model
        metadata = {key: value for key, value in facts.items() if key != "model" and key not in OWN_NAMES}
        metadata["model_name"] = model
        if self._asked_model and self._asked_model != model:
            # reasoning goes back to this model, and its price holds where the other's is unknown
            metadata["requested_model"] = self._asked_model
        if with_usage:
            if usage := self._usage.whole():
                metadata["token_usage"] = usage
            if (price := find_cost(usage, (facts, *places_of_cost), self._headers)) is not None:
                metadata["cost"] = price
        if self._include_headers:
            metadata["headers"] = {k: v for k, v in self._headers.items() if k not in _PRIVATE_HEADERS}
        return metadata


class Facts:
    """Keys and their values so far."""

    def __init__(self, limit: SizeLimit, pieces: int = _NONE) -> None:
        self._limit = limit
        self._pieces = pieces
        self._values: dict[str, Any] = {}

    def add(self, key: str, value: Any) -> None:
        known = self._values.get(key)
        if key not in self._values:
            self._limit.add_value(key)
        elif says_nothing(value) or (known == value and type(known) is type(value)):
            return
        kind = type(value)
        if kind is dict:
            pieces = _NONE if key in _FACTS else _AUDIO if key == "audio" and self._pieces else self._pieces
            collected: Any = known if isinstance(known, Facts) else Facts(self._limit, pieces)
            collected.update(value)
        elif kind is list:
            merge = key not in _WHOLE_ENTRIES
            collected = known if isinstance(known, Entries) else Entries(self._limit, self._pieces, merge=merge)
            collected.add(value)
        elif kind is str and self._pieces >= TEXTS and key not in _LABELS:
            collected = known if isinstance(known, bytearray) else bytearray()
            self._append(collected, key, value)
        else:
            collected = value
            self._limit.add_value(value, instead_of=known)
        self._values[key] = collected

    def _append(self, text: bytearray, key: str, value: str) -> None:
        data = value.encode("utf-8", "surrogatepass")
        is_piece = key in (PIECES_OF_AUDIO if self._pieces == _AUDIO else PIECES)
        if not is_piece and data.startswith(text):
            text.clear()  # the value holds all so far
        text += data
        self._limit.add_value(value)

    def update(self, values: dict[str, Any]) -> None:
        for key, value in values.items():
            self.add(key, value)

    def get(self, key: str) -> Any:
        return _whole(self._values.get(key))

    def whole(self) -> dict[str, Any]:
        """Return all values as JSON values, which share nothing with this object."""
        return {key: _whole(value) for key, value in self._values.items()}

    def is_continued_by(self, values: dict[str, Any]) -> bool:
        """Whether names are equal and no text comes again, as Groq's `executed_tools` do before and after they ran."""
        shared = values.keys() & self._values.keys()
        return all((values[k] == self.get(k)) == (k in _LABELS) for k in shared if isinstance(values[k], str))


class Entries:
    """A list in pieces; with `merge`, dictionaries of the same `index` are pieces of one."""

    def __init__(self, limit: SizeLimit, pieces: int, *, merge: bool = True) -> None:
        self._limit = limit
        self._pieces = pieces
        self._merge = merge
        self._items: list[Any] = []
        self._by_index: dict[int, Facts] = {}
        self._seen: set[int] = set()

    def add(self, entries: list[Any]) -> None:
        """Take a further list; what stands in one list twice is kept twice."""
        if entries == self._items and not self._pieces:
            return
        seen: set[int] = set()
        opened: dict[int, Facts] = {}
        for entry in entries:
            if not isinstance(entry, _NUMBERS):
                mark = hash(repr(entry))
                if mark in self._seen:
                    continue
                seen.add(mark)
            if not isinstance(entry, dict) or not self._merge:
                self._limit.add_value(entry)
                self._items.append(entry)
                continue
            index = entry.get("index")
            facts = self._by_index.get(index) if isinstance(index, int) else None
            if facts is None or not facts.is_continued_by(entry):
                facts = Facts(self._limit, self._pieces)
                self._items.append(facts)
                if isinstance(index, int):
                    opened.setdefault(index, facts)
            facts.update(entry)
        self._seen |= seen
        self._by_index |= opened

    def whole(self) -> list[Any]:
        return [_whole(item) for item in self._items]


_COLLECTED = (Facts, Entries)


def _whole(value: Any) -> Any:
    if isinstance(value, bytearray):
        return value.decode("utf-8", "surrogatepass")
    return value.whole() if isinstance(value, _COLLECTED) else value


def says_nothing(value: Any) -> bool:
    """Return whether a value is null or empty; 0 and false say something."""
    return not value and not isinstance(value, _NUMBERS)
