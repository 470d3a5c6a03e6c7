"""Convert the wire's `usage` to LangChain's `UsageMetadata`, and find the cost.

Names are OpenAI's (Chat Completions reference, "usage") and those that vendors are known to use instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_TOTAL = ("total_tokens",)
_TOTALS = frozenset({*_INPUT, *_OUTPUT, *_TOTAL})
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")

# Where the same fact is spelled twice, the first spelling found counts, so nothing is counted twice.
_CACHE_READ = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens")
_CACHE_READ_TOP = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")
_CACHE_CREATION = (
    "cache_write_tokens",
    "cache_creation_tokens",
    "cache_creation_input_tokens",
    "cache_write_input_tokens",
)
# Anthropic's counts, which are not part of its `input_tokens` (Messages API reference, "usage").
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
_REASONING = ("reasoning_tokens", "thinking_tokens")
# Every count that is not larger is one, whatever its type makes of it.
_USUAL = 1 << 53

# Perplexity has an object with a total, DeepInfra an estimate.
_COSTS = ("cost", "total_cost", "cost_usd", "estimated_cost", "response_cost", "cost_details")
_COST_TOTALS = ("total_cost", "total", "amount", "usd")
# xAI's REST reference, "cost_in_usd_ticks".
_TICKS, _TICKS_PER_USD = "cost_in_usd_ticks", 10_000_000_000
_GATEWAYS = ("provider_metadata", "providerMetadata")
_COST_KEYS = frozenset({*_COSTS, _TICKS, *_GATEWAYS})


def usage_metadata(usage: dict[str, Any]) -> UsageMetadata | None:
    """Return the token counts of a wire `usage` object in LangChain's names; None where it holds none at all."""
    tokens_in, tokens_out, total = (_first(usage, names) for names in (_INPUT, _OUTPUT, _TOTAL))
    if tokens_in is None and tokens_out is None and total is None:
        return None
    counted_in, counted_out = tokens_in or 0, tokens_out or 0
    details_in, details_out = InputTokenDetails(), OutputTokenDetails()
    if not _TOTALS.issuperset(usage):
        details_in, details_out = _input_details(usage), _output_details(usage)
        counted_in += _uncounted_cache(usage, counted_in, counted_out, total)
        # xAI counts the reasoning beside the output, and in the total.
        reasoning = details_out.get("reasoning", 0)
        counted_out += reasoning if total == counted_in + counted_out + reasoning else 0
    metadata = UsageMetadata(
        input_tokens=counted_in,
        output_tokens=counted_out,
        total_tokens=counted_in + counted_out if total is None else total,
    )
    if total is not None and counted_in > (tokens_in or 0):
        metadata["total_tokens"] = max(total, counted_in + counted_out)
    if details_in:
        metadata["input_token_details"] = details_in
    if details_out:
        metadata["output_token_details"] = details_out
    return metadata


def has_counts(usage: dict[str, Any]) -> bool:
    """Return whether a usage object holds a number that is not zero, however deep."""
    return any(has_counts(value) if isinstance(value, dict) else _number(value) for value in usage.values())


def find_cost(usage: dict[str, Any], places: Iterable[dict[str, Any]], headers: Mapping[str, str]) -> float | None:
    """Find the cost of an answer: in its usage, in further places, last in a header `cost` or `...-cost`."""
    places = [place for place in (usage, *places) if not _COST_KEYS.isdisjoint(place)]
    costs = (cost for place in places for cost in _costs_in(place))
    priced = (value for name, value in headers.items() if name == "cost" or name.endswith("-cost"))
    found = (number for value in (*costs, *priced) if (number := _number(value)) is not None)
    return next(found, None)


def _costs_in(place: dict[str, Any]) -> Iterator[Any]:
    for name in _COSTS:
        yield from _totals(place.get(name))
    if (ticks := _number(place.get(_TICKS))) is not None:
        yield ticks / _TICKS_PER_USD
    # Vercel's AI Gateway.
    for name in _GATEWAYS:
        metadata = place.get(name)
        gateway = metadata.get("gateway") if isinstance(metadata, dict) else None
        if isinstance(gateway, dict):
            yield gateway.get("cost")


def _totals(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name in _COST_TOTALS:
            yield from _totals(value.get(name))
    else:
        yield value


def _uncounted_cache(usage: dict[str, Any], tokens_in: int, tokens_out: int, total: int | None) -> int:
    """Return the cached tokens that the input does not count: the total tells, else the spelling."""
    cached = sum(_first(usage, (name,)) or 0 for name in _BESIDE_INPUT)
    if cached > tokens_in:
        return cached
    if total is not None and total in {tokens_in + tokens_out, tokens_in + tokens_out + cached}:
        return total - tokens_in - tokens_out
    return 0 if "prompt_tokens" in usage else cached


def _input_details(usage: dict[str, Any]) -> InputTokenDetails:
    nested = _nested(usage, _INPUT_DETAILS)
    details = InputTokenDetails()
    if (audio := _first(nested, ("audio_tokens",))) is not None:
        details["audio"] = audio
    if (read := _first_of_two(nested, _CACHE_READ, usage, _CACHE_READ_TOP)) is not None:
        details["cache_read"] = read
    if (written := _first_of_two(nested, _CACHE_CREATION, usage, _CACHE_CREATION)) is not None:
        details["cache_creation"] = written
    return details


def _output_details(usage: dict[str, Any]) -> OutputTokenDetails:
    nested = _nested(usage, _OUTPUT_DETAILS)
    details = OutputTokenDetails()
    if (audio := _first(nested, ("audio_tokens",))) is not None:
        details["audio"] = audio
    if (reasoning := _first_of_two(nested, _REASONING, usage, _REASONING)) is not None:
        details["reasoning"] = reasoning
    return details


def _nested(usage: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return next((value for name in names if isinstance(value := usage.get(name), dict)), {})


def _first_of_two(
    nested: dict[str, Any], names: Iterable[str], usage: dict[str, Any], top_names: Iterable[str]
) -> int | None:
    count = _first(nested, names)
    return _first(usage, top_names) if count is None else count


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
