# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "opentelemetry-sdk", "opentelemetry-instrumentation-httpx"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""OpenTelemetry: a span for each HTTP request that a model makes, below the span of your own that it belongs to."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Fault, PromptrunServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def instrumented(provider: TracerProvider) -> Iterator[None]:
    """Have httpx report its requests."""
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    try:
        yield
    finally:
        HTTPXClientInstrumentor().uninstrument()


def sync_calls(provider: TracerProvider) -> None:
    """Ask twice, whole and streamed, below a span of our own; a request that is sent again has its own span."""
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5")
    with trace.get_tracer("example", tracer_provider=provider).start_as_current_span("two questions"):
        model.invoke("Name a star.")
        for _ in model.stream("Name a planet."):
            pass


async def async_calls(provider: TracerProvider) -> None:
    """Ask both at once, over httpx: aiohttp, which carries async calls where it is installed, reports elsewhere."""
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5", async_transport="httpx")
    with trace.get_tracer("example", tracer_provider=provider).start_as_current_span("two questions at once"):
        await asyncio.gather(model.ainvoke("Name a star."), model.ainvoke("Name a planet."))


def rehearse(server: PromptrunServer) -> None:
    """Turn the first request away."""
    server.queue(Fault(status=503, headers={"retry-after": "0"}))


def main() -> None:
    """Show the spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with instrumented(provider):
        sync_calls(provider)
        asyncio.run(async_calls(provider))
    for span in exporter.get_finished_spans():
        print(span.name, "below" if span.parent else "", dict(span.attributes or {}))


if __name__ == "__main__":
    run(main, rehearse)
