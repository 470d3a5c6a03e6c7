"""Prices of models and costs of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails

from langchain_promptrun._profiles import known_id
from langchain_promptrun.data._prices import PRICES, Prices

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.messages.ai import UsageMetadata

_MILLION = 1_000_000
_FREE: Prices = (0.0, 0.0, None, None, None)


class Cost(NamedTuple):
    """What a message cost.

    Attributes:
        usd: US dollars; None where `source` is "unknown".
        source: "gateway" for the gateway's own figure, "estimate" for token counts times prices of models.dev.
    """

    usd: float | None
    source: Literal["gateway", "estimate", "unknown"]


def message_cost(message: AIMessage, model: str | None = None) -> Cost:
    """Return what a message cost.

    Args:
        message: A model's answer.
        model: The model asked for, if the message does not say. It is priced where the model that answered has no
            known price.

    Returns:
        The gateway's figure, else an estimate, else a `Cost` whose `usd` is None. An answer from LangChain's cache
        costs nothing.
    """
    if is_cached(message):
        return Cost(0.0, "estimate")
    figure = message.response_metadata.get("cost")
    if isinstance(figure, int | float) and not isinstance(figure, bool):
        return Cost(float(figure), "gateway")
    if (usage := message.usage_metadata) is not None:
        metadata = message.response_metadata
        for name in (metadata.get("model_name"), model, metadata.get("requested_model")):
            if isinstance(name, str) and (prices := prices_of(name, usage["input_tokens"])) is not None:
                return Cost(_estimate(usage, prices), "estimate")
    return Cost(None, "unknown")


def is_cached(message: AIMessage) -> bool:
    """Return whether LangChain's cache answered; langchain-core then sets `total_cost` to 0."""
    usage: object = message.usage_metadata
    return isinstance(usage, dict) and usage.get("total_cost") == 0


def prices_of(model: str, input_tokens: int) -> Prices | None:
    """Return the prices of a model at the size of a prompt; None where they are unknown."""
    if model.endswith(":free") and model not in PRICES:
        return _FREE
    lists = PRICES.get(known_id(model) or model)
    if lists is None:
        return None
    return lists[max(size for size in lists if size <= max(input_tokens, 0))]


def _estimate(usage: UsageMetadata, prices: Prices) -> float:
    details_in = usage.get("input_token_details", InputTokenDetails())
    details_out = usage.get("output_token_details", OutputTokenDetails())
    read, written = details_in.get("cache_read") or 0, details_in.get("cache_creation") or 0
    reasoning = details_out.get("reasoning") or 0
    per_input, per_output, per_read, per_write, per_reasoning = prices
    spent = (
        max(usage["input_tokens"] - read - written, 0) * per_input
        + read * (per_input if per_read is None else per_read)
        + written * (per_input if per_write is None else per_write)
        + max(usage["output_tokens"] - reasoning, 0) * per_output
        + reasoning * (per_output if per_reasoning is None else per_reasoning)
    )
    return spent / _MILLION
