"""Prices of models, costs of messages, sums of costs, and the callback handler that collects them."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration
from langchain_core.tracers.context import register_configure_hook
from typing_extensions import override

from langchain_promptrun._profiles import known_id
from langchain_promptrun._tokens import count_messages, count_text
from langchain_promptrun.data._prices import PRICES, Prices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult

_MOST_RUNS = 4_096
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
    usage, metadata = message.usage_metadata, message.response_metadata
    figure = metadata.get("cost")
    if isinstance(figure, int | float) and not isinstance(figure, bool):
        return Cost(float(figure), "gateway")
    for name in (metadata.get("model_name"), model, metadata.get("requested_model")):
        if usage and isinstance(name, str) and (prices := prices_of(name, usage["input_tokens"])) is not None:
            return Cost(_estimate(usage, prices), "estimate")
    return Cost(None, "unknown")


def is_cached(message: AIMessage) -> bool:
    usage: object = message.usage_metadata  # langchain-core sets `total_cost` where its cache answered
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
    given = usage.get("input_token_details", {})
    read, written = given.get("cache_read") or 0, given.get("cache_creation") or 0
    reasoning = usage.get("output_token_details", {}).get("reasoning") or 0
    per_input, per_output, per_read, per_write, per_reasoning = prices
    spent = (
        max(usage["input_tokens"] - read - written, 0) * per_input
        + read * (per_input if per_read is None else per_read)
        + written * (per_input if per_write is None else per_write)
        + max(usage["output_tokens"] - reasoning, 0) * per_output
        + reasoning * (per_output if per_reasoning is None else per_reasoning)
    )
    return spent / _MILLION


@dataclass(eq=False)
class Costs:
    """Sums over calls.

    Attributes:
        total: US dollars, the gateway's figures and estimates together.
        calls: Number of calls that were answered, at least in part.
        tokens: Input and output tokens.
        estimated: US dollars of `total` that are estimates.
        unknown: Number of calls without a price.
    """

    total: float = 0.0
    calls: int = 0
    tokens: int = 0
    estimated: float = 0.0
    unknown: int = 0

    def add(self, cost: Cost, tokens: int) -> None:
        """Add a call."""
        self.calls += 1
        self.tokens += tokens
        if cost.usd is None:
            self.unknown += 1
            return
        self.total += cost.usd
        self.estimated += cost.usd if cost.source == "estimate" else 0.0


@dataclass(eq=False)
class CostsByModel(Costs):
    """Sums over calls, in all and by model.

    Attributes:
        by_model: The sums of each model that answered.
    """

    by_model: dict[str, Costs] = field(default_factory=dict)
    # reentrant: the collector may end a stream while the thread is in here
    _lock: RLock = field(default_factory=RLock, repr=False)

    def record(self, message: AIMessage, model: str | None) -> None:
        """Add the call that a message answers; `model` is the one asked for."""
        name = message.response_metadata.get("model_name") or model or "unknown"
        usage, cost = message.usage_metadata, message_cost(message, model)
        with self._lock:
            for costs in (self, self.by_model.setdefault(str(name), Costs())):
                costs.add(cost, usage["total_tokens"] if usage else 0)

    def record_estimate(self, model: str | None, messages: Sequence[BaseMessage], tools: Any, text: str) -> None:
        """Add a call that no usage came for, counted offline."""
        tokens_in, tokens_out = count_messages(messages, tools), count_text(text)
        usage = UsageMetadata(input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=tokens_in + tokens_out)
        self.record(AIMessage("", usage_metadata=usage), model)


@dataclass(eq=False)
class CostCallbackHandler(CostsByModel, BaseCallbackHandler):
    """Callback handler that sums up what calls cost.

    Pass one in `callbacks`, also to many requests, or use `track_costs`. Answers from LangChain's cache are not
    counted. A stream that broke off counts by estimate.
    """

    # in the thread of the call, so that all is counted when the call returns
    run_inline = True

    def __post_init__(self) -> None:
        self._runs: dict[UUID, tuple[str | None, list[BaseMessage], Any]] = {}

    @override
    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Keep what a stream that breaks off is estimated by."""
        parameters = kwargs.get("invocation_params") or {}
        model = parameters.get("model") or parameters.get("model_name")
        with self._lock:
            self._runs[run_id] = (model, messages[0], parameters.get("tools"))
            if len(self._runs) > _MOST_RUNS:
                # langchain-core tells of no end where a task was cancelled
                del self._runs[next(iter(self._runs))]

    @override
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Add a call."""
        model, _, _ = self._ended(run_id)
        message = _answer(response)
        if message is not None and not is_cached(message):
            self.record(message, model)

    @override
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Add a call that broke off, as far as its answer had come."""
        model, messages, tools = self._ended(run_id)
        message = _answer(kwargs.get("response"))
        if message is not None and message.usage_metadata is not None:
            self.record(message, model)
        elif text := (message.text if message else "") or getattr(error, "partial", None):
            self.record_estimate(model, messages, tools, str(text))

    def _ended(self, run_id: UUID) -> tuple[str | None, list[BaseMessage], Any]:
        with self._lock:
            return self._runs.pop(run_id, (None, [], None))


def _answer(response: LLMResult | None) -> AIMessage | None:
    """Return the message of a call that has its usage; of several choices one has."""
    generations = response.generations[0] if response and response.generations else ()
    messages = [generation.message for generation in generations if isinstance(generation, ChatGeneration)]
    found = [message for message in messages if isinstance(message, AIMessage)]
    return next((message for message in found if message.usage_metadata), found[0] if found else None)


# one for each depth of nesting; langchain-core never forgets one that was registered
_levels: list[ContextVar[CostCallbackHandler | None]] = []


@contextmanager
def track_costs() -> Iterator[CostCallbackHandler]:
    """Sum up what all calls in a `with` block cost.

    Tasks and the threads of LangChain and LangGraph belong to the block. Your own threads do where they are run by
    `contextvars.copy_context().run`. Blocks can be nested; each counts all calls in it.

    Yields:
        The handler with the sums, which stay readable after the block.
    """
    level = next((level for level in _levels if level.get() is None), None)
    if level is None:
        level = ContextVar(f"langchain_promptrun_costs_{len(_levels)}", default=None)
        _levels.append(level)
        register_configure_hook(level, inheritable=True)
    handler = CostCallbackHandler()
    level.set(handler)
    try:
        yield handler
    finally:
        # another context may end the block, such as that of a fixture's or a dependency's clean-up
        if level.get() is handler:
            level.set(None)
