"""What calls cost: `message_cost`, `track_costs` and `CostCallbackHandler`."""

import asyncio
import gc
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda

from langchain_promptrun import (
    Budget,
    ChatPromptrun,
    Cost,
    CostCallbackHandler,
    Costs,
    PromptrunBudgetExceededError,
    message_cost,
    track_costs,
)
from langchain_promptrun.testing import Fault, Reply

HAIKU = "anthropic/claude-haiku-4.5"  # 1 in, 5 out, 0.1 cache read, 1.25 cache write
USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000, "total_tokens": 1_100_000}


def answered(model=HAIKU, tokens_in=1_000_000, tokens_out=100_000, cost=None, **details):
    return AIMessage(
        "Hi",
        response_metadata={"model_name": model} | ({} if cost is None else {"cost": cost}),
        usage_metadata={
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
            "input_token_details": {name: details[name] for name in details.keys() - {"reasoning"}},
            "output_token_details": {name: details[name] for name in details.keys() & {"reasoning"}},
        },
    )


@pytest.fixture
def model(promptrun_server):
    return ChatPromptrun(model=HAIKU, max_retries=0)


# message_cost


@pytest.mark.parametrize(
    ("message", "usd", "source"),
    [
        (answered(cost=0.25), 0.25, "gateway"),
        (answered(cost=0), 0.0, "gateway"),
        (answered(), 1.5, "estimate"),
        (answered(cost=True), 1.5, "estimate"),
        (answered("anthropic/claude-haiku-4.5:thinking"), 1.5, "estimate"),
        (answered(cache_read=500_000, cache_creation=100_000), 0.4 + 0.05 + 0.125 + 0.5, "estimate"),
        (answered("openai/gpt-4o", cache_creation=1_000_000), 2.5 + 1, "estimate"),
        (answered("ai21/jamba-large-1.7", cache_read=1_000_000), 2 + 0.8, "estimate"),
        (answered("google/gemini-2.5-pro-preview", 0, 100_000, reasoning=50_000), 1.0, "estimate"),
        (answered("anthropic/claude-sonnet-4.6", 200_000, 0), 1.2, "estimate"),
        (answered("anthropic/claude-sonnet-4.6", 100_000, 0), 0.3, "estimate"),
        (answered("deepseek/deepseek-r1:free"), 0.0, "estimate"),
        (answered("anthropic/claude-sonnet-4.6", -1, 0), 0.0, "estimate"),
        (answered("nobody/knows"), None, "unknown"),
        (AIMessage("Hi", response_metadata={"model_name": HAIKU}), None, "unknown"),
        (AIMessage("Hi", usage_metadata=answered().usage_metadata), None, "unknown"),
    ],
)
def test_message_cost_says_how_much_and_where_from(message, usd, source):
    assert message_cost(message) == (usd if usd is None else pytest.approx(usd), source)


async def test_message_cost_of_an_answer_by_an_unknown_model_is_that_of_the_model_asked_for(
    promptrun_server, model, call
):
    promptrun_server.queue(Reply("Hi", usage=USAGE, model="nobody/knows"))
    message = await call(model)
    assert message.response_metadata["model_name"] == "nobody/knows"
    assert message_cost(message) == message_cost(answered("nobody/knows"), HAIKU) == Cost(1.5, "estimate")


async def test_message_cost_of_an_answer_from_the_cache_is_nothing(promptrun_server):
    model = ChatPromptrun(model=HAIKU, cache=InMemoryCache())
    promptrun_server.queue(Reply("Hi", usage={**USAGE, "cost": 0.5}))
    assert [message_cost(model.invoke("Hello")).usd for _ in range(2)] == [0.5, 0.0]


# track_costs


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({**USAGE, "cost": 0.25}, Costs(0.25, calls=1, tokens=1_100_000)),
        (USAGE, Costs(1.5, calls=1, tokens=1_100_000, estimated=1.5)),
        (None, Costs(0.0, calls=1, unknown=1)),
    ],
)
async def test_track_costs_counts_a_call_of_each_style(promptrun_server, model, call, usage, expected):
    promptrun_server.queue(Reply("Hi there", usage=usage))
    with track_costs() as costs:
        await call(model)
    await call(model)
    for found in (costs, costs.by_model[HAIKU]):
        assert {name: getattr(found, name) for name in asdict(expected)} == pytest.approx(asdict(expected))


@pytest.mark.parametrize(
    ("settings", "keywords", "calls"), [({}, {}, 1), ({}, {"n": 2}, 1), ({"cache": InMemoryCache()}, {}, 3)]
)
def test_track_costs_counts_once_what_is_retried_has_several_choices_or_is_cached(
    promptrun_server, settings, keywords, calls
):
    promptrun_server.queue(Fault(status=500, headers={"retry-after": "0"}), Reply("Hi", usage=USAGE))
    model = ChatPromptrun(model=HAIKU, **settings)
    with track_costs() as costs:
        for _ in range(calls):
            model.generate([[HumanMessage("Hello")]], **keywords)
    assert (costs.calls, costs.total, len(promptrun_server.requests)) == (1, pytest.approx(1.5), 2)


async def test_track_costs_counts_batches_tasks_and_nested_blocks(promptrun_server, model):
    chain = RunnableLambda(model.invoke)
    with track_costs() as outer:
        model.batch(["a", "b", "c"], {"max_concurrency": 2})
        with track_costs() as inner, track_costs() as innermost:
            await chain.abatch(["d", "e"])
            await asyncio.gather(model.ainvoke("f"), model.ainvoke("g"))
        await model.ainvoke("h")
    model.invoke("i")
    assert (outer.calls, inner.calls, innermost.calls) == (8, 4, 4)


async def test_track_costs_and_budget_count_parallel_nodes_and_sub_agents(promptrun_server, model):
    graphs, agents = pytest.importorskip("langgraph.graph"), pytest.importorskip("langchain.agents")
    agent = agents.create_agent(model, [])
    graph = graphs.StateGraph(dict)
    graph.add_node("call", lambda state: {"said": model.invoke("Hello").text})
    graph.add_node("agent", lambda state: {"said": len(agent.invoke({"messages": [("human", "Hello")]}))})
    graph.add_edge(graphs.START, "call")
    graph.add_edge("call", "agent")
    compiled = graph.compile()
    with track_costs() as costs, Budget(calls=4) as budget:
        compiled.invoke({})
        await compiled.ainvoke({})
        with pytest.raises(PromptrunBudgetExceededError):
            list(compiled.stream({}, stream_mode="messages"))
    assert costs.calls == budget.calls == len(promptrun_server.requests) == 4


def test_track_costs_in_a_thread_of_ones_own_needs_the_context(promptrun_server, model):
    handler = CostCallbackHandler()
    with track_costs() as costs, ThreadPoolExecutor() as threads:
        threads.submit(copy_context().run, model.invoke, "a").result()
        threads.submit(model.invoke, "b").result()
        threads.submit(model.invoke, "c", {"callbacks": [handler]}).result()
    assert (costs.calls, handler.calls) == (1, 1)
    assert "calls=1" in repr(handler)


def test_cost_callback_handler_spans_requests_and_prices_the_model_asked_for(promptrun_server, model):
    promptrun_server.queue(Reply("Hi", usage=USAGE, model="nobody/knows", times=2))
    handler = CostCallbackHandler()
    for _ in range(2):
        model.invoke("Hello", {"callbacks": [handler]})
    assert (handler.calls, handler.total, list(handler.by_model)) == (2, pytest.approx(3.0), ["nobody/knows"])


@pytest.mark.parametrize(
    ("stream", "is_some", "is_last"),
    [
        (lambda model: model.stream("Hello"), lambda chunk: chunk.text, lambda chunk: chunk.usage_metadata),
        (
            lambda model: model.stream_events("Hello", version="v3"),
            lambda event: event["event"] == "content-block-delta",
            lambda event: event["event"] == "message-finish",
        ),
    ],
    ids=["stream", "events"],
)
def test_track_costs_counts_a_stream_left_early_by_what_had_come(promptrun_server, model, stream, is_some, is_last):
    promptrun_server.queue(Reply("one two three four five", pace=0.001), Reply("Hi", usage=USAGE))
    tokens = []
    with track_costs() as costs:
        for is_enough in (is_some, is_last):
            items = stream(model)
            next(filter(is_enough, items))
            del items
            gc.collect()
            tokens.append(costs.tokens)
    assert 0 < tokens[0] < 50
    assert (costs.calls, costs.tokens) == (2, tokens[0] + 1_100_000)


def test_cost_callback_handler_forgets_calls_whose_end_it_is_not_told():
    """langchain-core tells of no end where a task was cancelled."""
    handler = CostCallbackHandler()
    for _ in range(5_000):
        handler.on_chat_model_start({}, [[]], run_id=uuid.uuid4())
    assert len(handler._runs) == 4_096
