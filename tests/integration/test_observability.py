"""What observability tools are told of a call: model, provider, usage with details, cost, first token, errors.

The tools are those of the dependency group `observability`; each test skips where its package is missing.
"""

import gzip
import json
from importlib import import_module
from pathlib import Path

import httpx
import pytest

from langchain_promptrun import ChatPromptrun, PromptrunRateLimitError, message_cost
from langchain_promptrun.testing import Fault, Reply
from langchain_promptrun.tracing import CostTracer, OpenTelemetryHandler

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
WAYS = {
    "invoke": lambda model, config: model.invoke("Name a star.", config),
    "stream": lambda model, config: list(model.stream("Name a star.", config)),
    "events": lambda model, config: model.stream_events("Name a star.", config, version="v3").output,
}
ways = pytest.mark.parametrize("way", WAYS)
# MLflow and Opik warn of themselves
warns = pytest.mark.filterwarnings("default::UserWarning", "default::DeprecationWarning")


@pytest.fixture
def spans():
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    provider, exporter = trace.TracerProvider(), memory.InMemorySpanExporter()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    return provider, exporter.get_finished_spans


def ask(server, way, *callbacks):
    server.queue(Reply("Vega.", usage=USAGE | DETAILS | {"cost": 0.25}))
    WAYS[way](ChatPromptrun(model="openai/gpt-4o", temperature=0.5, stop=["."]), {"callbacks": list(callbacks)})


def fail(server, *callbacks):
    server.queue(Fault(status=429, body={"error": "Slow down."}))
    with pytest.raises(PromptrunRateLimitError):
        ChatPromptrun(model="openai/gpt-4o", max_retries=0).invoke("Hello", {"callbacks": list(callbacks)})


@ways
def test_a_span_follows_the_conventions_for_generative_ai_and_belongs_to_the_callers(spans, promptrun_server, way):
    provider, finished = spans
    with provider.get_tracer("mine").start_as_current_span("own"):
        ask(promptrun_server, way, OpenTelemetryHandler(provider))
    span, own = finished()
    attributes = dict(span.attributes)
    first = attributes.pop("gen_ai.response.time_to_first_chunk", None)
    assert (first is None) == (way == "invoke")
    assert attributes.pop("gen_ai.response.id").startswith("chatcmpl")
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "promptrun",
        "gen_ai.request.model": "openai/gpt-4o",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stop_sequences": (".",),
        "gen_ai.response.model": "openai/gpt-4o",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_creation.input_tokens": 1,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "gen_ai.usage.cost": 0.25,
    }
    assert (span.name, span.kind.name) == ("chat openai/gpt-4o", "CLIENT")
    assert span.parent.span_id == own.context.span_id


def test_a_span_of_a_failed_call_has_the_error_and_no_secret(spans, promptrun_server):
    provider, finished = spans
    fail(promptrun_server, OpenTelemetryHandler(provider))
    (span,) = finished()
    assert (span.attributes["error.type"], span.status.status_code.name) == ("PromptrunRateLimitError", "ERROR")
    assert "Slow down." in span.status.description
    assert promptrun_server.api_key not in span.to_json()


class TestLangfuse:
    @pytest.fixture
    def handler(self, spans):
        """Langfuse's handler, which tells the cost that the gateway named, too."""
        langfuse = pytest.importorskip("langfuse")
        callbacks = pytest.importorskip("langfuse.langchain")

        class CostHandler(callbacks.CallbackHandler):
            def on_llm_end(self, response, *, run_id, **kwargs):
                cost = message_cost(response.generations[0][0].message).usd
                if cost is not None:
                    self._runs[run_id].update(cost_details={"total": cost})
                return super().on_llm_end(response, run_id=run_id, **kwargs)

        key = f"pk-{id(spans)}"  # one client a key
        langfuse.Langfuse(public_key=key, secret_key="sk", base_url="http://127.0.0.1:9", tracer_provider=spans[0])
        return CostHandler(public_key=key)

    @ways
    def test_a_generation_has_model_usage_cost_first_token_and_error(self, handler, spans, promptrun_server, way):
        ask(promptrun_server, way, handler)
        told = spans[1]()[-1].attributes
        assert told["langfuse.observation.model.name"] == "openai/gpt-4o"
        assert told["langfuse.observation.metadata.ls_provider"] == '"promptrun"'
        usage = json.loads(told["langfuse.observation.usage_details"])
        assert (usage["total"], usage["input_cache_read"], usage["output_reasoning"]) == (15, 4, 2)
        assert json.loads(told["langfuse.observation.cost_details"]) == {"total": 0.25}
        assert ("langfuse.observation.completion_start_time" in told) == (way != "invoke")
        fail(promptrun_server, handler)
        assert "Slow down." in spans[1]()[-1].attributes["langfuse.observation.status_message"]


class TestOpenInference:
    @pytest.fixture(autouse=True)
    def instrumented(self, spans):
        """Phoenix and others read these spans."""
        module = pytest.importorskip("openinference.instrumentation.langchain")
        module.LangChainInstrumentor().instrument(tracer_provider=spans[0])
        yield
        module.LangChainInstrumentor().uninstrument()

    @ways
    def test_a_span_has_model_provider_usage_and_error(self, spans, promptrun_server, way):
        ask(promptrun_server, way)
        attributes = spans[1]()[-1].attributes
        assert (attributes["llm.model_name"], attributes["llm.provider"]) == ("openai/gpt-4o", "promptrun")
        assert attributes["llm.token_count.total"] == 15
        assert attributes["llm.token_count.prompt_details.cache_read"] == 4
        assert attributes["llm.token_count.completion_details.reasoning"] == 2
        fail(promptrun_server)
        assert [event.name for event in spans[1]()[-1].events] == ["exception"]


@warns
def test_mlflow_has_model_provider_usage_and_errors(promptrun_server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.langchain.autolog()
    try:
        ask(promptrun_server, "stream")
        span = mlflow.get_trace(mlflow.get_last_active_trace_id(), flush=True).data.spans[0]
        assert [span.attributes[f"mlflow.llm.{name}"] for name in ("model", "provider")] == [
            "openai/gpt-4o",
            "promptrun",
        ]
        assert span.attributes["mlflow.chat.tokenUsage"]["total_tokens"] == 15
        assert "new_token" in [event.name for event in span.events]
        fail(promptrun_server)
        failed = mlflow.get_trace(mlflow.get_last_active_trace_id(), flush=True).data.spans[0]
        assert "Slow down." in failed.status.description
    finally:
        mlflow.langchain.autolog(disable=True)


@warns
def test_opik_has_model_and_provider_in_the_metadata_usage_in_the_output_and_errors(promptrun_server):
    opik = pytest.importorskip("opik")
    hooks = pytest.importorskip("opik.hooks")
    langchain = pytest.importorskip("opik.integrations.langchain")
    spans = {}

    def receive(request):
        packed = request.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(request.content) if packed else request.content
        for span in json.loads(body or "{}").get("spans", ()) if "/spans/" in request.url.path else ():
            spans.setdefault(span["id"], {}).update({key: fact for key, fact in span.items() if fact is not None})
        return httpx.Response(200, json={})

    hooks.add_httpx_client_hook(hooks.HttpxClientHook(None, {"transport": httpx.MockTransport(receive)}))
    opik.set_global_client(opik.Opik(host="http://127.0.0.1:9/api", project_name="p"), context_wise=True)
    tracer = langchain.OpikTracer()
    ask(promptrun_server, "stream", tracer)
    fail(promptrun_server, tracer)
    tracer.flush()
    told, failed = spans.values()
    assert (told["metadata"]["ls_model_name"], told["metadata"]["ls_provider"]) == ("openai/gpt-4o", "promptrun")
    assert '"total_tokens": 15' in json.dumps(told["output"])
    assert "Slow down." in failed["error_info"]["traceback"]


@pytest.mark.parametrize("cost", [{}, {"cost": 0.25}])
def test_langsmith_has_usage_and_the_cost_where_the_gateway_names_one(promptrun_server, monkeypatch, cost):
    pytest.importorskip("requests")
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    client, shelf = import_module("tracing_langsmith").client_and_shelf()
    promptrun_server.queue(Reply("Vega.", usage=USAGE | cost))
    ChatPromptrun(model="openai/gpt-4o").invoke("Name a star.", {"callbacks": [CostTracer(client=client)]})
    told = shelf.run()["extra"]["metadata"]["usage_metadata"]
    assert (told["total_tokens"], told.get("total_cost")) == (15, cost.get("cost"))
