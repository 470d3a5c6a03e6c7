"""The examples do what they say, also where only the server sees it."""

import importlib
from pathlib import Path

import pytest

from langchain_promptrun import ChatPromptrun, PromptrunRateLimitError
from langchain_promptrun.testing import Fault, Reply

pytest.importorskip("langchain")
pytest.importorskip("langgraph")

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def bodies(server):
    return [request.body for request in server.requests]


class NativeOnly(ChatPromptrun):
    """Can stream protocol events and nothing else."""

    def _generate(self, *_, **__):
        raise AssertionError("an unstreamed call was made")

    def _stream(self, *_, **__):
        raise AssertionError("a stream of chunks was made")


def test_example_graph_version_3_uses_the_native_events(example, promptrun_server):
    langgraph_stream = example("langgraph_stream")
    promptrun_server.queue(
        Reply("It scatters.", reasoning="Rayleigh.", pieces=["It", " scatters."]),
        Reply("Too short.", reasoning="Be fair.", pieces=["Too", " short."]),
    )
    model = NativeOnly(model="anthropic/claude-sonnet-5")
    assert langgraph_stream.by_message(langgraph_stream.two_voices(model)) == [
        ("answer", ["It", " scatters."], "Rayleigh."),
        ("criticise", ["Too", " short."], "Be fair."),
    ]


def test_example_graph_resumes_with_reasoning_and_calls_as_they_came(example, promptrun_server, tmp_path):
    pytest.importorskip("langgraph.checkpoint.sqlite")
    langgraph_resume = example("langgraph_resume")
    langgraph_resume.rehearse(promptrun_server)
    waiting = langgraph_resume.start(tmp_path / "checkpoints.db")
    messages = langgraph_resume.resume(tmp_path / "checkpoints.db")
    assert messages[1] == waiting
    sent = bodies(promptrun_server)[-1]["messages"][1]
    assert sent["reasoning_details"][0]["signature"] == "c2lnbmVk"
    assert sent["tool_calls"][0]["extra_content"] == {"signature": "c2lnbmVkIGNhbGw="}


def test_example_history_remembers_a_session_and_trims_a_long_one(example, promptrun_server):
    conversations = example("chat_history").Conversations(most_tokens=60)
    for number in range(6):
        conversations.say("tamar", f"This is what I say in turn {number}.")
    sent = bodies(promptrun_server)[-1]["messages"]
    assert [message["role"] for message in sent[:2]] == ["system", "user"]
    assert sent[-1]["content"] == "This is what I say in turn 5."
    assert len(sent) < 12
    conversations.say("nino", "Who am I?")
    assert len(bodies(promptrun_server)[-1]["messages"]) == 2
    assert len(conversations.histories["tamar"]) == 13


def test_example_langsmith_failed_run_shows_the_error_and_no_key(example, promptrun_server):
    pytest.importorskip("langsmith")
    pytest.importorskip("requests")
    langsmith = example("tracing_langsmith")
    client, shelf = langsmith.client_and_shelf()
    promptrun_server.queue(Fault(status=429, body={"error": "Slow down."}, times=3))
    with pytest.raises(PromptrunRateLimitError):
        langsmith.ask(langsmith.CostTracer(client=client))
    assert "Slow down." in shelf.run()["error"]
    assert promptrun_server.api_key not in str(shelf.documents)


async def test_example_opentelemetry_each_attempt_has_a_span_that_the_server_sees(example, promptrun_server):
    pytest.importorskip("opentelemetry.sdk")
    pytest.importorskip("opentelemetry.instrumentation.httpx")
    otel = example("tracing_opentelemetry")
    exporter, provider = otel.InMemorySpanExporter(), otel.TracerProvider()
    provider.add_span_processor(otel.SimpleSpanProcessor(exporter))
    with otel.instrumented(provider):
        otel.rehearse(promptrun_server)
        otel.sync_calls(provider)
        await otel.async_calls(provider)
    ChatPromptrun(model="openai/gpt-4o").invoke("Not traced any more.")
    requests = [span for span in exporter.get_finished_spans() if "http.status_code" in span.attributes]
    assert [span.attributes["http.status_code"] for span in requests] == [503, 200, 200, 200, 200]
    assert all(span.parent for span in requests)
    seen = [request.headers.get("traceparent", "--").split("-")[1] for request in promptrun_server.requests]
    assert seen == [*(f"{span.context.trace_id:032x}" for span in requests), ""]
    assert promptrun_server.api_key not in "".join(span.to_json() for span in requests)
