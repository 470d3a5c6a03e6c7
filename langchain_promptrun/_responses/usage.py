"""What an answer cost: the wire's `usage` object -> LangChain's `UsageMetadata`, and the price.

The names are OpenAI's (Chat Completions reference, "usage"); the other spellings are those that vendors behind
gateways are known to use. A number that is not there is not invented. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_TOTALS = frozenset({*_INPUT, *_OUTPUT, "total_tokens"})
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
_REASONING = ("reasoning_tokens", "thinking_tokens")
# Every count that is not larger is one, whatever its type makes of it.
_USUAL = 1 << 53


def usage_metadata(usage: object) -> UsageMetadata | None:
    """Read the token counts of a wire `usage` object.

    Args:
        usage: The object as it came.

    Returns:
        The counts in LangChain's names, or None when the object holds no count at all.
    """
    if not isinstance(usage, dict):
        return None
    tokens_in, tokens_out = _first(usage, _INPUT), _first(usage, _OUTPUT)
    total = _first(usage, ("total_tokens",))
    if tokens_in is None and tokens_out is None and total is None:
        return None
    metadata = UsageMetadata(
        input_tokens=tokens_in or 0,
        output_tokens=tokens_out or 0,
        total_tokens=(tokens_in or 0) + (tokens_out or 0) if total is None else total,
    )
    if _TOTALS.issuperset(usage):
        return metadata
    if details := _input_details(usage):
        metadata["input_token_details"] = details
    if details_out := _output_details(usage):
        metadata["output_token_details"] = details_out
    return metadata


def cost(usage: object, headers: Mapping[str, str]) -> float | None:
    """Find the price of an answer, in the gateway's currency (US dollars where it is known).

    Args:
        usage: The wire's `usage` object; its `cost` comes first.
        headers: The answer's headers, names in lower case; one that is called `cost` or ends in `-cost` comes second.

    Returns:
        The price, or None when the gateway does not tell.
    """
    if isinstance(usage, dict) and (price := _number(usage.get("cost"))) is not None:
        return price
    prices = (_number(value) for name, value in headers.items() if name == "cost" or name.endswith("-cost"))
    return next((price for price in prices if price is not None), None)


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
    for name in names:
        if isinstance(value := usage.get(name), dict):
            return value
    return {}


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
    """Take a finite number that is not negative, also written as a string, and leave everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < float("inf") else None
