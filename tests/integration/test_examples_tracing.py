"""The examples of tracing do what they say: what LangSmith is told of a run, and the spans of OpenTelemetry."""

import importlib
from pathlib import Path

import pytest

import langchain_promptrun
from langchain_promptrun import ChatPromptrun, PromptrunRateLimitError
from langchain_promptrun.testing import Fault, Reply
from langchain_promptrun.tracing import CostTracer

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


# tracing_langsmith


@pytest.fixture
def langsmith(example):
    pytest.importorskip("langsmith")
    pytest.importorskip("requests")
    return example("tracing_langsmith")


@pytest.fixture
def tracer_and_shelf(langsmith):
    client, shelf = langsmith.client_and_shelf()
    return CostTracer(client=client), shelf


def test_a_run_names_provider_model_and_settings_as_the_call_set_them(langsmith, tracer_and_shelf, promptrun_server):
    tracer, shelf = tracer_and_shelf
    langsmith.ask(tracer)
    metadata = shelf.run()["extra"]["metadata"]
    assert {key: value for key, value in metadata.items() if key.startswith("ls_")} == {
        "ls_provider": "promptrun",
        "ls_model_type": "chat",
        "ls_model_name": "anthropic/claude-haiku-4.5",
        "ls_temperature": 0.9,
        "ls_max_tokens": 200,
        "ls_stop": ["Betelgeuse"],
        "ls_integration": "langchain_chat_model",
    }
    assert metadata["lc_versions"]["langchain-promptrun"] == langchain_promptrun.__version__
    assert shelf.run()["run_type"] == "llm"
    assert promptrun_server.requests[-1].body["temperature"] == 0.9


def test_a_run_shows_parameters_messages_and_no_key(langsmith, tracer_and_shelf, promptrun_server):
    tracer, shelf = tracer_and_shelf
    langsmith.ask(tracer)
    run = shelf.run()
    parameters = run["extra"]["invocation_params"]
    assert (parameters["model"], parameters["temperature"]) == ("anthropic/claude-haiku-4.5", 0.9)
    assert "Name a star." in str(run["inputs"])
    assert "You said: Name a star." in str(run["outputs"])
    assert promptrun_server.api_key not in str(shelf.documents)


WAYS = {
    "invoke": lambda model, config: model.invoke("Name a star.", config),
    "stream": lambda model, config: list(model.stream("Name a star.", config)),
    "events": lambda model, config: model.stream_events("Name a star.", config, version="v3").output,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_shows_usage_and_the_cost_that_promptrun_named(tracer_and_shelf, promptrun_server, way):
    tracer, shelf = tracer_and_shelf
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": 0.25}
    promptrun_server.queue(Reply("Vega.", usage=usage))
    WAYS[way](ChatPromptrun(model="openai/gpt-4o"), {"callbacks": [tracer]})
    assert shelf.run()["extra"]["metadata"]["usage_metadata"] == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "total_cost": 0.25,
    }


def test_without_a_cost_the_run_shows_none(tracer_and_shelf, promptrun_server):
    tracer, shelf = tracer_and_shelf
    message = ChatPromptrun(model="openai/gpt-4o").invoke("Name a star.", {"callbacks": [tracer]})
    assert shelf.run()["extra"]["metadata"]["usage_metadata"] == message.usage_metadata
    assert len(promptrun_server.requests) == 1


def test_a_failed_run_shows_the_error(langsmith, tracer_and_shelf, promptrun_server):
    tracer, shelf = tracer_and_shelf
    promptrun_server.queue(Fault(status=429, body={"error": "Slow down."}, times=3))
    with pytest.raises(PromptrunRateLimitError):
        langsmith.ask(tracer)
    assert "Slow down." in shelf.run()["error"]


# tracing_opentelemetry


@pytest.fixture
def otel(example):
    pytest.importorskip("opentelemetry.sdk")
    pytest.importorskip("opentelemetry.instrumentation.httpx")
    return example("tracing_opentelemetry")


@pytest.fixture
def spans(otel):
    """Traces httpx, and gives the spans so far: requests, then the span they belong to."""
    exporter, provider = otel.InMemorySpanExporter(), otel.TracerProvider()
    provider.add_span_processor(otel.SimpleSpanProcessor(exporter))
    with otel.instrumented(provider):
        yield provider, exporter.get_finished_spans


def statuses(requests):
    return [span.attributes["http.status_code"] for span in requests]


def test_each_attempt_has_a_span_below_the_callers_own(otel, spans, promptrun_server):
    provider, finished = spans
    otel.rehearse(promptrun_server)
    otel.sync_calls(provider)
    *requests, own = finished()
    assert statuses(requests) == [503, 200, 200]
    assert {span.parent.span_id for span in requests} == {own.context.span_id}
    assert {span.attributes["http.url"] for span in requests} == {f"{promptrun_server.base_url}/chat/completions"}
    assert promptrun_server.api_key not in "".join(span.to_json() for span in finished())


def test_the_trace_goes_on_at_the_server(otel, spans, promptrun_server):
    provider, finished = spans
    otel.sync_calls(provider)
    first = finished()[0].context
    _, trace_id, span_id, _ = promptrun_server.requests[0].headers["traceparent"].split("-")
    assert (int(trace_id, 16), int(span_id, 16)) == (first.trace_id, first.span_id)


async def test_async_calls_have_spans_over_httpx(otel, spans, promptrun_server):
    provider, finished = spans
    await otel.async_calls(provider)
    *requests, own = finished()
    assert statuses(requests) == [200, 200]
    assert {span.parent.span_id for span in requests} == {own.context.span_id}
    assert len(promptrun_server.requests) == 2


def test_no_spans_come_once_tracing_has_ended(otel, promptrun_server):
    exporter, provider = otel.InMemorySpanExporter(), otel.TracerProvider()
    provider.add_span_processor(otel.SimpleSpanProcessor(exporter))
    with otel.instrumented(provider):
        pass
    ChatPromptrun(model="openai/gpt-4o").invoke("Hello")
    assert exporter.get_finished_spans() == ()
    assert len(promptrun_server.requests) == 1
