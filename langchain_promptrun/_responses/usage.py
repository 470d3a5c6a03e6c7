"""Convert the wire's `usage` to LangChain's `UsageMetadata`, and find the cost.

Names are OpenAI's (Chat Completions reference, "usage") and those that vendors are known to use instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from langchain_core.messages.ai import UsageMetadata

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_TOTAL = ("total_tokens",)
_TOTALS = frozenset({*_INPUT, *_OUTPUT, *_TOTAL})
# Anthropic's counts, which are not part of its `input_tokens` (Messages API reference, "usage").
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
# The objects that hold details, and the spellings of each. The first spelling counts, so nothing is counted twice.
_DETAILS = {
    "input_token_details": (
        ("prompt_tokens_details", "input_tokens_details"),
        {
            "audio": ("audio_tokens",),
            "cache_read": (
                *("cache_read_input_tokens", "prompt_cache_hit_tokens"),
                *("cached_tokens", "cache_read_tokens", "num_cached_tokens"),
            ),
            "cache_creation": (
                *("cache_write_tokens", "cache_creation_tokens"),
                *("cache_creation_input_tokens", "cache_write_input_tokens"),
            ),
        },
    ),
    "output_token_details": (
        ("completion_tokens_details", "output_tokens_details"),
        {"audio": ("audio_tokens",), "reasoning": ("reasoning_tokens", "thinking_tokens")},
    ),
}
# Every count that is not larger is one, whatever its type makes of it.
_USUAL = 1 << 53

# xAI's REST reference, "cost_in_usd_ticks".
_TICKS, _TICKS_PER_USD = "cost_in_usd_ticks", 10_000_000_000
# Vercel's AI Gateway has objects.
_GATEWAYS = {"provider_metadata": ("gateway",), "providerMetadata": ("gateway",), "gateway": ("cost",)}
# Perplexity has an object with a total, DeepInfra an estimate.
_COSTS = (
    *("cost", "total_cost", "cost_usd", "estimated_cost", "response_cost", "cost_details"),
    *(_TICKS, "provider_metadata", "providerMetadata"),
)
_COST_KEYS = frozenset(_COSTS)
_COST_TOTALS = ("total_cost", "total", "amount", "usd")


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
        value = counts.get(name)
        if type(value) is int and 0 <= value <= _USUAL:
            return value
        if value is not None and (number := _number(value)) is not None:
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


def has_counts(usage: dict[str, Any]) -> bool:
    """Return whether a usage object holds a number that is not zero, however deep."""
    return any(has_counts(value) if isinstance(value, dict) else _number(value) for value in usage.values())


def find_cost(usage: dict[str, Any], places: Iterable[dict[str, Any]], headers: Mapping[str, str]) -> float | None:
    """Find the cost of an answer: in its usage, in further places, last in a header `cost` or `...-cost`."""
    costs = [cost for place in (usage, *places) if not _COST_KEYS.isdisjoint(place) for cost in _costs_in(place)]
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
