"""Handlers that show what a call asked, used and cost: in LangSmith, and as OpenTelemetry's GenAI spans."""

from __future__ import annotations

import time
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers import LangChainTracer
from typing_extensions import override

from langchain_promptrun._spend.costs import message_cost

if TYPE_CHECKING:
    from uuid import UUID

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult
    from langchain_core.tracers.schemas import Run
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["CostTracer", "OpenTelemetryHandler"]

_REQUEST = ("model", "temperature", "top_p", "top_k", "max_tokens", "seed", "frequency_penalty", "presence_penalty")


class CostTracer(LangChainTracer):
    """LangSmith's tracer, with the cost that the gateway named in the usage of a model's run."""

    def _on_llm_end(self, run: Run) -> None:
        for generation in chain.from_iterable((run.outputs or {}).get("generations", ())):
            fields = generation.get("message", {}).get("kwargs", {})
            if "cost" in fields.get("response_metadata", {}):
                # usage_metadata of a message holds whole numbers alone
                usage = fields.get("usage_metadata") or {}
                fields["usage_metadata"] = {**usage, "total_cost": fields["response_metadata"]["cost"]}
        super()._on_llm_end(run)


class OpenTelemetryHandler(BaseCallbackHandler):
    """Makes a span of each model call, by OpenTelemetry's semantic conventions for generative AI.

    Spans hold model, provider, parameters, token counts, cost (`gen_ai.usage.cost`, in US dollars), time to the first
    token of streams and errors, and no content. They are children of the span that is current when the call begins.

    Args:
        tracer_provider: Where spans go. Default: OpenTelemetry's global provider.
    """

    run_inline = True

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        trace: Any = import_module("opentelemetry.trace")
        self._tracer = trace.get_tracer("langchain_promptrun", tracer_provider=tracer_provider)
        self._kind = trace.SpanKind.CLIENT
        self._error = trace.StatusCode.ERROR
        self._open: dict[UUID, tuple[Span, float]] = {}

    @override
    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        parameters = kwargs.get("invocation_params") or {}
        facts = {f"gen_ai.request.{name}": parameters[name] for name in _REQUEST if name in parameters}
        if stop := parameters.get("stop"):
            facts["gen_ai.request.stop_sequences"] = stop
        facts["gen_ai.operation.name"] = "chat"
        facts["gen_ai.provider.name"] = (kwargs.get("metadata") or {}).get("ls_provider", "promptrun")
        span = self._tracer.start_span(f"chat {parameters.get('model', '')}".strip(), kind=self._kind, attributes=facts)
        self._open[run_id] = (span, time.perf_counter())

    @override
    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        span, start = self._open[run_id]
        if start:
            span.set_attribute("gen_ai.response.time_to_first_chunk", time.perf_counter() - start)
            self._open[run_id] = (span, 0.0)

    @override
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        span, _ = self._open.pop(run_id)
        generation: Any = response.generations[0][0]
        message, metadata = generation.message, generation.message.response_metadata
        usage = message.usage_metadata or {}
        given, made = usage.get("input_token_details", {}), usage.get("output_token_details", {})
        facts = {
            "gen_ai.response.model": metadata.get("model_name"),
            "gen_ai.response.id": metadata.get("id"),
            "gen_ai.response.finish_reasons": [metadata["finish_reason"]] if "finish_reason" in metadata else None,
            "gen_ai.usage.input_tokens": usage.get("input_tokens"),
            "gen_ai.usage.output_tokens": usage.get("output_tokens"),
            "gen_ai.usage.cache_read.input_tokens": given.get("cache_read"),
            "gen_ai.usage.cache_creation.input_tokens": given.get("cache_creation"),
            "gen_ai.usage.reasoning.output_tokens": made.get("reasoning"),
            "gen_ai.usage.cost": message_cost(message).usd,
        }
        span.set_attributes({name: fact for name, fact in facts.items() if fact is not None})
        span.end()

    @override
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        span, _ = self._open.pop(run_id)
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(self._error, str(error))
        span.end()
