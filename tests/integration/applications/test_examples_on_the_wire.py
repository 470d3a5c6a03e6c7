"""The examples do what they say, also where only the server sees it."""

import asyncio
import importlib
import json
import threading
import time
from pathlib import Path

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import OutputParserException

from langchain_promptrun import ChatPromptrun, PromptrunAuthenticationError, PromptrunRateLimitError
from langchain_promptrun.testing import Fault, Reply

pytest.importorskip("langchain")
pytest.importorskip("langgraph")

EXAMPLES = Path(__file__).parents[3] / "examples"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


@pytest.fixture
def event():
    """An event to hold answers back with."""
    return threading.Event()


def bodies(server):
    return [request.body for request in server.requests]


def last_body(server):
    return server.requests[-1].body


def test_example_middleware_retries_what_is_retryable_and_raises_the_rest(example, promptrun_server):
    agent_middleware = example("agent_middleware")
    promptrun_server.queue(Fault(status=503), Fault(body=agent_middleware.OVERLOADED))
    assert agent_middleware.retried()["messages"][-1].text.endswith("It is sunny in Tbilisi, 24 degrees.")
    assert [request.status for request in promptrun_server.requests] == [503, 200, 200, 200]
    promptrun_server.queue(Fault(status=401))
    with pytest.raises(PromptrunAuthenticationError):
        agent_middleware.retried()
    assert len(promptrun_server.requests) == 5


def test_example_middleware_limits_tool_calls_and_tells_the_model(example, promptrun_server):
    messages = example("agent_middleware").limited()["messages"]
    results = {message.name: message.status for message in messages if message.type == "tool"}
    assert results == {"get_weather": "success", "get_population": "error"}
    sent = bodies(promptrun_server)[-1]["messages"]
    answered = [message["tool_call_id"] for message in sent if message["role"] == "tool"]
    assert sorted(answered) == sorted(call["id"] for message in sent for call in message.get("tool_calls", ()))


def test_example_middleware_keeps_personal_data_on_the_machine(example, promptrun_server):
    assert "[REDACTED_EMAIL]" in example("agent_middleware").redacted()["messages"][-1].text
    assert b"tamar@example.com" not in promptrun_server.requests[-1].raw


def test_example_summarization_after_an_overflow_that_the_server_reports(example, promptrun_server, tmp_path):
    pytest.importorskip("deepagents")
    agent_summarization = example("agent_summarization")
    agent_summarization.rehearse(promptrun_server)
    messages = agent_summarization.by_the_servers_word(str(tmp_path))["messages"]
    assert [request.status for request in promptrun_server.requests] == [400, 200, 200]
    assert [len(body["messages"]) for body in bodies(promptrun_server)] == [41, 1, 3]
    assert messages[-1].text == "Hello! You said: How many notes did I give you?"


def test_example_deep_agent_works_with_a_sub_agent_and_a_file(example, promptrun_server):
    pytest.importorskip("deepagents")
    deep_agent = example("deep_agent")
    deep_agent.rehearse(promptrun_server)
    state = deep_agent.work()
    assert state["files"]["/report.md"]["content"] == "# Tbilisi\n\n1258526 people live in Tbilisi.\n"
    assert state["messages"][-1].text == "The report says: 1258526 people live in Tbilisi."
    models = [body["model"].partition("-")[2][:5] for body in bodies(promptrun_server)]
    assert models == ["sonne", "haiku", "haiku", "sonne", "sonne", "sonne"]
    assert "researcher" not in json.dumps(bodies(promptrun_server)[1]["messages"])  # the sub-agent begins anew


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


async def test_example_chain_branches_run_at_the_same_time(example, promptrun_server, event):
    promptrun_server.queue(Fault(delay=event, times=2))
    asked = asyncio.create_task(asyncio.to_thread(example("lcel_chain").side_by_side))
    try:
        await asyncio.to_thread(promptrun_server.wait_for_requests, 2)
    finally:
        event.set()
    assert {key: answer.split(": ")[1] for key, answer in (await asked).items()} == {
        "fact": "A fun fact about otters, please.",
        "poem": "A short poem about otters, please.",
    }


WAYS = {
    "batch": lambda module, chain: asyncio.to_thread(module.in_a_batch, chain),
    "abatch": lambda module, chain: module.in_an_async_batch(chain),
    "as completed": lambda module, chain: asyncio.to_thread(
        lambda: [answer for _, answer in sorted(module.as_they_finish(chain))]
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_example_chain_batch_keeps_to_its_limit_and_order(example, promptrun_server, event, way):
    """With two requests held back, no third one comes before they are let go."""
    lcel_chain = example("lcel_chain")
    promptrun_server.queue(Fault(delay=event, times=2))
    running = asyncio.create_task(WAYS[way](lcel_chain, lcel_chain.chain_about("A fact")))
    try:
        await asyncio.to_thread(promptrun_server.wait_for_requests, 2)
    finally:
        let_go = time.time()
        event.set()
    assert await running == [f"Hello! You said: A fact about {topic}, please." for topic in lcel_chain.TOPICS]
    assert min([request.time for request in promptrun_server.requests][2:]) >= let_go


@pytest.mark.parametrize(
    ("item", "error", "requests"),
    [(Reply("No JSON.", times=3), OutputParserException, 3), (Fault(status=401), PromptrunAuthenticationError, 1)],
)
def test_example_reliability_gives_up_after_three_tries_and_at_once_where_none_helps(
    example, promptrun_server, item, error, requests
):
    promptrun_server.queue(item)
    with pytest.raises(error):
        example("lcel_reliability").retried()
    assert len(promptrun_server.requests) == requests


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_example_cache_answers_the_second_time_and_not_another_temperature(example, promptrun_server, tmp_path, kind):
    lcel_cache = example("lcel_cache")
    promptrun_server.queue(Reply("384,400 km.", reasoning="I know that."))

    def check(cache):
        asked, cached = lcel_cache.ask_twice(cache)
        assert (cached.text, cached.additional_kwargs) == ("384,400 km.", asked.additional_kwargs)
        assert lcel_cache.ask_differently(cache).text.startswith("Hello!")
        assert len(promptrun_server.requests) == 2

    if kind == "memory":
        check(InMemoryCache())
    else:
        with lcel_cache.file_cache(tmp_path / "answers.db") as cache:
            check(cache)


def test_example_history_remembers_a_session_and_trims_a_long_one(example, promptrun_server):
    conversations = example("chat_history").Conversations(most_tokens=60)
    for number in range(6):
        conversations.say("tamar", f"This is what I say in turn {number}.")
    sent = last_body(promptrun_server)["messages"]
    assert [message["role"] for message in sent[:2]] == ["system", "user"]
    assert sent[-1]["content"] == "This is what I say in turn 5."
    assert len(sent) < 12
    conversations.say("nino", "Who am I?")
    assert len(last_body(promptrun_server)["messages"]) == 2
    assert len(conversations.histories["tamar"]) == 13


@pytest.fixture
def langsmith(example):
    pytest.importorskip("langsmith")
    pytest.importorskip("requests")
    return example("tracing_langsmith")


def test_example_langsmith_run_shows_settings_usage_cost_and_no_key(langsmith, promptrun_server):
    client, shelf = langsmith.client_and_shelf()
    promptrun_server.queue(Reply("Vega.", usage=USAGE | {"cost": 0.25}))
    langsmith.ask(langsmith.CostTracer(client=client))
    metadata = shelf.run()["extra"]["metadata"]
    assert (metadata["ls_provider"], metadata["ls_temperature"]) == ("promptrun", 0.9)
    assert metadata["usage_metadata"]["total_cost"] == 0.25
    assert promptrun_server.api_key not in str(shelf.documents)


def test_example_langsmith_failed_run_shows_the_error(langsmith, promptrun_server):
    client, shelf = langsmith.client_and_shelf()
    promptrun_server.queue(Fault(status=429, body={"error": "Slow down."}, times=3))
    with pytest.raises(PromptrunRateLimitError):
        langsmith.ask(langsmith.CostTracer(client=client))
    assert "Slow down." in shelf.run()["error"]


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
