"""The examples of chains, retrieval, memory and tracing do what they say, on the wire and in what they return."""

import asyncio
import importlib
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import OutputParserException

from langchain_promptrun import ChatPromptrun, PromptrunAuthenticationError, PromptrunRateLimitError
from langchain_promptrun.testing import Fault, Reply

EXAMPLES = Path(__file__).parents[2] / "examples"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
# At its import, and in its own call of `loads`; nobody else has SQLiteCache.


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


@pytest.fixture
def event():
    """An event to hold answers back with."""
    return threading.Event()


def last_body(server):
    return server.requests[-1].body


# lcel_chain


def test_example_chain_stream_hands_on_each_piece(example, promptrun_server):
    lcel_chain = example("lcel_chain")
    promptrun_server.queue(Reply("Otters hold hands.", pieces=["Otters", " hold", " hands."]))
    pieces = [piece for piece in lcel_chain.words(lcel_chain.chain_about("A fun fact")) if piece]
    assert pieces == ["Otters", " hold", " hands."]
    assert last_body(promptrun_server)["stream"] is True


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


# lcel_reliability


def test_example_reliability_retries_the_wire_and_the_parser(example, promptrun_server):
    lcel_reliability = example("lcel_reliability")
    lcel_reliability.rehearse(promptrun_server)
    assert lcel_reliability.retried() == {"city": "Tbilisi"}
    assert [request.status for request in promptrun_server.requests] == [200, 503, 200]


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


def test_example_reliability_stream_falls_back_after_an_error_in_its_first_event(example, promptrun_server):
    lcel_reliability = example("lcel_reliability")
    promptrun_server.queue(Fault(status=500), Fault(error=lcel_reliability.OVERLOADED, after=0))
    name, _ = lcel_reliability.streamed()
    models = ["anthropic/claude-sonnet-5", "openai/gpt-4o", "anthropic/claude-haiku-4.5"]
    assert name == models[-1]
    assert [request.body["model"] for request in promptrun_server.requests] == models


def test_example_reliability_rate_limiter_spaces_requests_out(example, promptrun_server):
    example("lcel_reliability").in_rhythm(3, per_second=20)
    times = [request.time for request in promptrun_server.requests]
    assert [later - earlier > 0.025 for earlier, later in pairwise(times)] == [True, True]


# lcel_configuration


def test_example_configuration_chooses_fields_models_and_keywords(example, promptrun_server):
    module = example("lcel_configuration")
    module.with_fields().invoke("Hello", {"configurable": {"model": "openai/gpt-4o", "temperature": 1.5}})
    assert (last_body(promptrun_server)["model"], last_body(promptrun_server)["temperature"]) == ("openai/gpt-4o", 1.5)
    module.with_alternatives().invoke("Hello", {"configurable": {"care": "thorough"}})
    assert last_body(promptrun_server)["reasoning_effort"] == "high"
    assert module.with_bound_keywords().invoke("Stop. Now.").text == "Hello! You said: Stop"


# lcel_events


async def test_example_events_version_2_tells_each_step(example, promptrun_server):
    events = await example("lcel_events").chain_events()
    model = [name for name, part in events if part == "ChatPromptrun"]
    assert (model[0], model[-1]) == ("on_chat_model_start", "on_chat_model_end")
    assert events[0] == ("on_chain_start", "RunnableSequence")


async def test_example_events_version_3_gives_text_reasoning_and_message_apart(example, promptrun_server):
    promptrun_server.queue(Reply("It scatters.", reasoning="Rayleigh.", pieces=["It", " scatters."], usage=USAGE))
    pieces, reasoning, message = await example("lcel_events").projections()
    assert (pieces, reasoning) == (["It", " scatters."], "Rayleigh.")
    assert message.usage_metadata["total_tokens"] == 15


# lcel_cache, lcel_callbacks


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


def test_example_callbacks_count_tokens_once_for_each_model(example, promptrun_server):
    promptrun_server.queue(Reply("Yes.", usage=USAGE, times=3))
    assert example("lcel_callbacks").counted() == {
        "anthropic/claude-haiku-4.5": {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30},
        "openai/gpt-4o": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
    }


def test_example_callbacks_print_each_token_once(example, promptrun_server, capsys):
    message = example("lcel_callbacks").printed()
    assert capsys.readouterr().out == message.text != ""


# rag, chat_history


@pytest.mark.parametrize(
    ("question", "source"),
    [("Why do otters hold hands?", "otters.txt"), ("How many hearts do octopuses have?", "octopuses.txt")],
)
def test_example_rag_answer_comes_with_its_source(example, promptrun_server, question, source):
    pytest.importorskip("numpy")
    rag = example("rag")
    state = rag.chain().invoke(question)
    assert [document.metadata["source"] for document in state["sources"]] == [source]
    assert rag.LIBRARY[source] in last_body(promptrun_server)["messages"][0]["content"]
    keys = [key for key, _ in rag.streamed(question)]
    assert keys.index("sources") < keys.index("answer")


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


# tracing_langsmith


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


# tracing_opentelemetry


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
