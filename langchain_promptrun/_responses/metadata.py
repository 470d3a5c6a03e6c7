"""Collect what an answer says beside its text and calls: id, model, usage, cost, and all keys that no one expects.

One rule holds for every key that this package does not know, in a delta, a choice or a document. Of a delta, a string
joins what came before, unless it repeats or continues all of it; any other string, number or boolean replaces it.
Dictionaries merge. Lists join: a dictionary merges with the one of its `index`, it and a string are kept once, and
numbers of a choice or a delta are pieces (vLLM's `token_ids`). null, "", [] and {} erase nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from langchain_promptrun._wire.json import without_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from langchain_core.messages.ai import UsageMetadata

# Names in `response_metadata` under which LangChain or this package keep facts of their own.
_OWN_NAMES = frozenset(
    {
        *("cost", "finish_reason", "headers", "lc_gateway_metadata", "logprobs", "model_name", "model_provider"),
        *("output_version", "reasoning_field", "requested_model", "token_usage"),
    }
)
_SKIPPED = frozenset({"choices", "object", "usage", "obfuscation", "error"})
# A document without any of them may say something of the connection: some servers keep it alive with pings.
_ABOUT_THE_ANSWER = frozenset({"choices", "usage", "id"})
_ABOUT_THE_STREAM = frozenset(
    {
        *("type", "event", "message", "msg", "detail", "status", "code", "success", "errors", "time", "timestamp"),
        *("ping", "pong", "heartbeat", "keepalive", "keep_alive", "model", "created", "name", "role"),
    }
)
_KEEP_ALIVE = r"(?i)ping|pong|heart.?beat|keep.?alive"
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

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_TOTAL = ("total_tokens",)
_TOTALS = frozenset({*_INPUT, *_OUTPUT, *_TOTAL})
# Anthropic's counts, which are not part of its `input_tokens` (Messages API reference, "usage").
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
# The objects that hold details, and the spellings of each. The first spelling counts, so nothing is counted twice.
_READ = (
    "cache_read_input_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cache_read_tokens",
    "num_cached_tokens",
)
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens", "cache_write_input_tokens")
_DETAILS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "input_token_details": (
        ("prompt_tokens_details", "input_tokens_details"),
        {"audio": ("audio_tokens",), "cache_read": _READ, "cache_creation": _WRITTEN},
    ),
    "output_token_details": (
        ("completion_tokens_details", "output_tokens_details"),
        {"audio": ("audio_tokens",), "reasoning": ("reasoning_tokens", "thinking_tokens")},
    ),
}
# xAI's REST reference, "cost_in_usd_ticks".
_TICKS, _TICKS_PER_USD = "cost_in_usd_ticks", 10_000_000_000
# Vercel's AI Gateway has objects.
_GATEWAYS = {"provider_metadata": ("gateway",), "providerMetadata": ("gateway",), "gateway": ("cost",)}
# Perplexity has an object with a total, DeepInfra an estimate.
_COSTS = dict.fromkeys(
    (
        *("cost", "total_cost", "cost_usd", "estimated_cost", "response_cost", "cost_details"),
        *(_TICKS, "provider_metadata", "providerMetadata"),
    )
)
_COST_TOTALS = ("total_cost", "total", "amount", "usd")


class ResponseMetadata:
    """The facts of one answer; a fact has one value, however many documents repeat it.

    Attributes:
        repeatable: The last document, without its choices; None where it would say something again.
    """

    def __init__(self, headers: Mapping[str, str], model: str, *, include_headers: bool = False) -> None:
        self._headers = headers
        self._asked_model = model
        self._include_headers = include_headers
        self._facts, self._usage = Facts(), Facts()
        self.repeatable: dict[str, Any] | None = None

    def feed(self, document: dict[str, Any]) -> None:
        about_answer = not _ABOUT_THE_ANSWER.isdisjoint(document)
        if about_answer:
            says_more = document.get("usage") or document.get("error")
            rest = {key: value for key, value in document.items() if key not in {"choices", "obfuscation"}}
            self.repeatable = None if says_more else rest
        elif any(re.search(_KEEP_ALIVE, str(document.get(key))) for key in ("type", "event", "object", "status")):
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
        if isinstance(usage, dict) and (_has_counts(usage) or not _has_counts(self._usage.whole())):
            self._usage.update(usage)

    @property
    def id_seed(self) -> str:
        """What tells this answer from others, or an empty string; some servers give all answers one id."""
        ident = self._facts.get("id")
        return without_surrogates(f"{ident}:{self._facts.get('created') or ''}") if ident else ""

    @property
    def model(self) -> str:
        return str(self._facts.get("model") or self._asked_model)

    def whole(self, choice: dict[str, Any], extras: dict[str, Any], *, with_usage: bool) -> dict[str, Any]:
        """Return the metadata of a message with these facts of its choice; its extras may tell what it cost."""
        facts, model = self._facts.whole(), self.model
        facts.pop("model", None)
        metadata = {key: value for key, value in (choice | facts).items() if key not in _OWN_NAMES}
        metadata["model_name"] = model
        if self._asked_model and self._asked_model != model:
            # reasoning goes back to this model, and its price holds where the other's is unknown
            metadata["requested_model"] = self._asked_model
        if with_usage:
            if usage := self._usage.whole():
                metadata["token_usage"] = usage
            if (price := find_cost(usage, (facts, choice, extras), self._headers)) is not None:
                metadata["cost"] = price
        if self._include_headers:
            metadata["headers"] = {k: v for k, v in self._headers.items() if k not in _PRIVATE_HEADERS}
        return metadata


class Facts:
    def __init__(self, pieces: int = _NONE) -> None:
        self._pieces = pieces
        self._values: dict[str, Any] = {}

    def add(self, key: str, value: Any) -> None:
        known = self._values.get(key)
        if key in self._values and (says_nothing(value) or (known == value and type(known) is type(value))):
            return
        collected = value
        if isinstance(value, dict):
            pieces = _NONE if key in _FACTS else _AUDIO if key == "audio" and self._pieces else self._pieces
            collected = known if isinstance(known, Facts) else Facts(pieces)
            collected.update(value)
        elif isinstance(value, list):
            collected = known if isinstance(known, Entries) else Entries(self._pieces, merge=key not in _WHOLE_ENTRIES)
            collected.add(value)
        elif isinstance(value, str) and self._pieces >= TEXTS and key not in _LABELS:
            collected = known if isinstance(known, bytearray) else bytearray()
            self._append(collected, key, value.encode("utf-8", "surrogatepass"))
        self._values[key] = collected

    def _append(self, text: bytearray, key: str, data: bytes) -> None:
        is_piece = key in (PIECES_OF_AUDIO if self._pieces == _AUDIO else PIECES)
        if not is_piece and data.startswith(text):
            text.clear()  # the value holds all so far
        text += data

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

    def __init__(self, pieces: int, *, merge: bool = True) -> None:
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
                self._items.append(entry)
                continue
            index = entry.get("index")
            facts = self._by_index.get(index) if isinstance(index, int) else None
            if facts is None or not facts.is_continued_by(entry):
                facts = Facts(self._pieces)
                self._items.append(facts)
                if isinstance(index, int):
                    opened.setdefault(index, facts)
            facts.update(entry)
        self._seen |= seen
        self._by_index |= opened

    def whole(self) -> list[Any]:
        return [_whole(item) for item in self._items]


def _whole(value: Any) -> Any:
    if isinstance(value, bytearray):
        return value.decode("utf-8", "surrogatepass")
    return value.whole() if isinstance(value, Facts | Entries) else value


def says_nothing(value: Any) -> bool:
    """Return whether a value is null or empty; 0 and false say something."""
    return not value and not isinstance(value, _NUMBERS)


def usage_metadata(usage: dict[str, Any]) -> UsageMetadata | None:
    """Return the token counts of a wire `usage` object in LangChain's names; None where it holds none at all."""
    tokens_in, tokens_out, total = (_first(usage, names) for names in (_INPUT, _OUTPUT, _TOTAL))
    if tokens_in is tokens_out is total is None:
        return None
    # Some servers send a total of zero beside counts.
    tokens_in, tokens_out, total = tokens_in or 0, tokens_out or 0, total or None
    details: dict[str, dict[str, int]] = {}
    if not _TOTALS.issuperset(usage):
        details = {kind: found for kind in _DETAILS if (found := _details(usage, kind))}
        cached = _uncounted_cache(usage, tokens_in, tokens_out, total)
        tokens_in += cached
        if total is not None and cached:
            total = max(total, tokens_in + tokens_out)
        # xAI counts the reasoning beside the output, and in the total.
        reasoning = details.get("output_token_details", {}).get("reasoning", 0)
        tokens_out += reasoning if total == tokens_in + tokens_out + reasoning else 0
    total = tokens_in + tokens_out if total is None else total
    counts = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": total}
    return cast("UsageMetadata", counts | details)


def _details(usage: dict[str, Any], kind: str) -> dict[str, int]:
    places, spellings = _DETAILS[kind]
    nested = next((value for name in places if isinstance(value := usage.get(name), dict)), {})
    counts: dict[str, int] = {}
    for key, names in spellings.items():
        count = _first(nested, names)
        if count is None and key != "audio":
            count = _first(usage, names)
        if count is not None:
            counts[key] = count
    return counts


def _uncounted_cache(usage: dict[str, Any], tokens_in: int, tokens_out: int, total: int | None) -> int:
    """Return the cached tokens that the input does not count: the total tells, else the spelling."""
    cached = sum(_first(usage, (name,)) or 0 for name in _BESIDE_INPUT)
    if cached > tokens_in:
        return cached
    if total is not None and total in {tokens_in + tokens_out, tokens_in + tokens_out + cached}:
        return total - tokens_in - tokens_out
    return 0 if "prompt_tokens" in usage else cached


def _first(counts: dict[str, Any], names: Iterable[str]) -> int | None:
    for name in names:
        if name in counts and (number := _number(counts[name])) is not None:
            return int(number)
    return None


def _number(value: object) -> float | None:
    """Read a finite number that is not negative, also written as a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < float("inf") else None


def _has_counts(usage: dict[str, Any]) -> bool:
    return any(_has_counts(value) if isinstance(value, dict) else _number(value) for value in usage.values())


def find_cost(usage: dict[str, Any], places: Iterable[dict[str, Any]], headers: Mapping[str, str]) -> float | None:
    """Find the cost of an answer: in its usage, in further places, last in a header `cost` or `...-cost`."""
    costs = [cost for place in (usage, *places) if _COSTS.keys() & place for cost in _costs_in(place)]
    costs += [value for name, value in headers.items() if name == "cost" or name.endswith("-cost")]
    return next((number for cost in costs if (number := _number(cost)) is not None), None)


def _costs_in(place: dict[str, Any], names: Iterable[str] = _COSTS) -> Iterator[Any]:
    for name in names:
        value = place.get(name)
        if isinstance(value, dict):
            yield from _costs_in(value, _GATEWAYS.get(name, _COST_TOTALS))
        elif name == _TICKS:
            yield None if (ticks := _number(value)) is None else ticks / _TICKS_PER_USD
        elif name not in _GATEWAYS:
            yield value
