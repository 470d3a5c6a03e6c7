"""What calls cost: `message_cost`, `track_costs`, `CostCallbackHandler`, and budgets that stop calls before they go."""

import asyncio
import gc
import logging
import math
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
    PromptrunError,
    PromptrunNotFoundError,
    message_cost,
    track_costs,
)
from langchain_promptrun.testing import Fault, Reply

HAIKU = "anthropic/claude-haiku-4.5"  # USD per million tokens: 1 in, 5 out, 0.1 cache read, 1.25 cache write
MANY = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000, "total_tokens": 1_100_000}  # 1.5 USD
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 200, "total_tokens": 1_200}  # 0.002 USD
SCHEMA = {"type": "object", "description": "x" * 40_000, "properties": {}}
SCHEMAS = [
    {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
]
FILES = [
    ({"type": "file", "base64": "JVBERi0" + "A" * 9_993, "mime_type": "application/pdf"}, 10_000),
    ({"type": "audio", "base64": "SUQz" + "A" * 9_996}, 10_000),
    ({"type": "video", "base64": "A" * 10_000}, 10_000),
    ({"type": "file", "base64": "JVBERi0" + "A" * 900_001}, 200_000),
    ({"type": "file", "file_id": "f-1"}, 200_000),
    ({"type": "video", "url": "https://example.com/a.mp4"}, 200_000),
    ({"type": "image", "base64": "A" * 10_000, "mime_type": "image/png"}, 1_500),
]
EXCEEDED = PromptrunBudgetExceededError


@pytest.fixture
def server(promptrun_server):
    promptrun_server.answer = lambda body: Reply("Hi there", usage=USAGE)
    return promptrun_server


@pytest.fixture
def model(promptrun_server):
    return ChatPromptrun(model=HAIKU, max_retries=0, max_tokens=200)


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
    promptrun_server.queue(Reply("Hi", usage=MANY, model="nobody/knows"))
    message = await call(model)
    assert message.response_metadata["model_name"] == "nobody/knows"
    assert message_cost(message) == message_cost(answered("nobody/knows"), HAIKU) == Cost(1.5, "estimate")


async def test_message_cost_of_an_answer_from_the_cache_is_nothing(promptrun_server):
    model = ChatPromptrun(model=HAIKU, cache=InMemoryCache())
    promptrun_server.queue(Reply("Hi", usage={**MANY, "cost": 0.5}))
    assert [message_cost(model.invoke("Hello")).usd for _ in range(2)] == [0.5, 0.0]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({**MANY, "cost": 0.25}, Costs(0.25, calls=1, tokens=1_100_000)),
        (MANY, Costs(1.5, calls=1, tokens=1_100_000, estimated=1.5)),
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
def test_track_costs_and_budget_count_once_what_is_retried_has_several_choices_or_is_cached(
    promptrun_server, settings, keywords, calls
):
    promptrun_server.queue(Fault(status=500, headers={"retry-after": "0"}), Reply("Hi", usage=MANY))
    model = ChatPromptrun(model=HAIKU, **settings)
    with track_costs() as costs, Budget(calls=1) as budget:
        for _ in range(calls):
            model.generate([[HumanMessage("Hello")]], **keywords)
    assert (costs.calls, costs.total, budget.calls) == (1, pytest.approx(1.5), 1)
    assert len(promptrun_server.requests) == 2


async def test_track_costs_and_budget_span_batches_tasks_threads_and_nested_blocks(server, model):
    budget, chain = Budget(calls=8), RunnableLambda(model.invoke)

    def in_own_thread():
        with budget:
            model.invoke("Hello")

    with ThreadPoolExecutor() as threads:
        threads.submit(in_own_thread).result()
    with budget, track_costs() as outer:
        model.batch(["a", "b"], {"max_concurrency": 2})
        with track_costs() as inner, track_costs() as innermost:
            await chain.abatch(["c", "d"])
            await asyncio.gather(model.ainvoke("e"), model.ainvoke("f"))
        await model.ainvoke("g")
        with pytest.raises(EXCEEDED):
            model.invoke("h")
    model.invoke("i")
    assert (outer.calls, inner.calls, innermost.calls, budget.calls, len(server.requests)) == (7, 4, 4, 8, 9)


async def test_track_costs_and_budget_count_parallel_nodes_and_sub_agents(promptrun_server, model):
    graphs, agents = pytest.importorskip("langgraph.graph"), pytest.importorskip("langchain.agents")
    graph = graphs.StateGraph(graphs.MessagesState).add_node("agent", agents.create_agent(model, []))
    graph.add_node("call", lambda _: {"messages": model.invoke("Hello")})
    compiled = graph.add_edge(graphs.START, "agent").add_edge(graphs.START, "call").compile()
    with track_costs() as costs, Budget(calls=4) as budget:
        compiled.invoke({"messages": "Hello"})
        await compiled.ainvoke({"messages": "Hello"})
        with pytest.raises(EXCEEDED):
            list(compiled.stream({"messages": "Hello"}, stream_mode="messages"))
    assert costs.calls == budget.calls == len(promptrun_server.requests) == 4


def test_track_costs_in_a_thread_of_ones_own_needs_the_context_and_a_callback_handler_does_not(promptrun_server, model):
    promptrun_server.queue(Reply("Hi", usage=MANY, model="nobody/knows", times=4))
    handler = CostCallbackHandler()
    with track_costs() as costs, ThreadPoolExecutor() as threads:
        threads.submit(copy_context().run, model.invoke, "a").result()
        threads.submit(model.invoke, "b").result()
        for text in ("c", "d"):
            threads.submit(model.invoke, text, {"callbacks": [handler]}).result()
    assert (costs.calls, handler.calls, handler.total) == (1, 2, pytest.approx(3.0))
    assert list(handler.by_model) == ["nobody/knows"]
    assert "calls=2" in repr(handler)


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
    promptrun_server.queue(Reply("one two three four five", pace=0.001), Reply("Hi", usage=MANY))
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


@pytest.mark.parametrize("limit", [{"usd": 0.003}, {"tokens": 2_000}, {"calls": 2}])
async def test_budget_that_is_used_up_stops_the_next_call(server, model, call, limit):
    with Budget(**limit) as budget:
        for _ in range(2):
            await call(model)
        with pytest.raises(EXCEEDED) as refused:
            await call(model)
    await call(model)
    assert (budget.calls, budget.tokens, budget.total) == (2, 2_400, pytest.approx(0.004))
    assert len(server.requests) == 3
    assert all(word in str(refused.value) for word in (HAIKU, *limit))


def test_budget_error_ends_retries_and_holds_a_fallback_to_another_model(server, model):
    retried = model.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
    for wrapped in (retried, retried.with_fallbacks([ChatPromptrun(model="openai/gpt-4o")])):
        with Budget(calls=0), pytest.raises(EXCEEDED) as refused:
            wrapped.invoke("Hello")
        assert (refused.value.is_retryable, server.requests) == (False, [])


def test_budgets_nest_and_a_budget_entered_twice_counts_once(server, model):
    with Budget(calls=3) as outer:
        with Budget(calls=1) as inner, inner, outer:
            model.invoke("Hello")
            with pytest.raises(EXCEEDED):
                model.invoke("Hello")
        model.invoke("Hello")
    assert (outer.calls, inner.calls) == (2, 1)


@pytest.mark.parametrize(
    ("name", "too_little", "enough", "content", "keywords"),
    [
        *(("usd", 0.0009, 0.0011, "Hello", {}), ("tokens", 200, 220, "Hello", {})),
        *(("tokens", 400, 440, "Hello", more) for more in ({"n": 2}, {"max_retries": 1}, {"max_tokens": 400})),
        ("tokens", 400, 440, "Hello", {"max_completion_tokens": 400}),
        ("tokens", 64_000, 65_000, "Hello", {"max_tokens": None}),
        *(("tokens", 20_000, 21_000, "Hello", schema) for schema in SCHEMAS),
        *(
            ("tokens", size, size + 2_500, [HumanMessage([{"type": "text", "text": "Hello"}, file])], {})
            for file, size in FILES
        ),
        ("tokens", 200_199, 200_200, [], {"use_cached_prompt": True, "prompt_cache_id": "p"}),
    ],
)
def test_budget_reserves_prompt_with_its_files_and_schemas_and_longest_answer_of_each_choice_and_try(
    server, model, name, too_little, enough, content, keywords
):
    with Budget(**{name: too_little}, reserve=True), pytest.raises(EXCEEDED, match="needed"):
        model.invoke(content, **keywords)
    assert server.requests == []
    with Budget(**{name: enough}, reserve=True), suppress(PromptrunNotFoundError):  # no prompt is stored
        model.invoke(content, **keywords)


@pytest.mark.parametrize("style", ["ainvoke", "astream"])
async def test_budget_with_reservations_holds_with_many_calls_at_once(server, model, call):
    server.pace = 0.001
    with Budget(usd=0.02, reserve=True) as budget:
        results = await asyncio.gather(*(call(model) for _ in range(40)), return_exceptions=True)
        refused = [result for result in results if isinstance(result, EXCEEDED)]
        assert len(server.requests) == 40 - len(refused)
        assert refused
    # what a call reserved is free again at its end
    assert budget._reserved == pytest.approx({"usd": 0, "tokens": 0, "calls": 0})


@pytest.mark.parametrize(
    ("budget", "content", "named"),
    [
        (Budget(usd=1), "Hello", "price of 'nobody/knows' is unknown"),
        (Budget(usd=1, reserve=True), "Hello", "price of 'nobody/knows' is unknown"),
        (Budget(tokens=1, reserve=True), "Hello", "output limit of 'nobody/knows' is unknown"),
        (Budget(tokens=1, reserve=True), [HumanMessage([FILES[4][0]])], "input limit of 'nobody/knows' is unknown"),
    ],
)
def test_budget_that_cannot_be_held_names_the_model(server, budget, content, named):
    with budget, pytest.raises(ValueError, match=named):
        ChatPromptrun(model="nobody/knows").invoke(content)
    assert not server.requests


@pytest.mark.parametrize("limit", [{"calls": 1}, {"tokens": 2_000}])
def test_budget_without_usd_needs_no_price(server, limit):
    with Budget(**limit, reserve=True) as budget:
        ChatPromptrun(model="nobody/knows", max_tokens=200).invoke("Hello")
    assert (budget.calls, budget.unknown) == (1, 1)


@pytest.mark.parametrize("block", [lambda: Budget(calls=1), track_costs])
def test_budget_and_track_costs_can_be_left_in_another_context(block):
    def held():
        with block() as sums:
            yield sums

    steps = held()
    copy_context().run(next, steps)
    with block() as other:
        assert next(steps, None) is None
        assert other.calls == 0


BROKEN = Fault(reply=Reply("one two three four five"), after=4, cut=True)


@pytest.mark.parametrize("reserve", [False, True])
@pytest.mark.parametrize(
    ("style", "answer"),
    [
        *((style, BROKEN) for style in ("stream", "astream", "events", "aevents")),
        *(("invoke", answer) for answer in (Reply("one two three", usage=None), Fault(delay=math.inf))),
    ],
)
async def test_budget_and_track_costs_count_by_estimate_what_broke_off_and_budget_what_has_no_usage(
    server, model, call, style, answer, reserve
):
    server.queue(answer)
    with Budget(usd=1, reserve=reserve) as budget, track_costs() as costs, suppress(PromptrunError):
        await call(model, timeout=0.2 if isinstance(answer, Fault) and answer is not BROKEN else 10)
    assert (budget.calls, budget.total) == (1, budget.estimated)
    assert (0 < budget.total < 0.001, 0 < budget.tokens < 20) == (True, True)
    assert costs.total == costs.estimated == (budget.total if style in {"stream", "astream", "events"} else 0)


async def test_budget_counts_a_cancelled_call_by_estimate(server, model):
    asked = threading.Event()
    server.answer = lambda body: asked.set() or Fault(delay=math.inf)
    with Budget(tokens=100) as budget:
        call = asyncio.create_task(model.ainvoke("Hello"))
        await asyncio.to_thread(asked.wait)
        call.cancel()
        await asyncio.wait([call])
    assert 0 < budget.tokens < 20


@pytest.mark.parametrize("status", [429, 503])
async def test_budget_does_not_count_a_call_cancelled_in_a_hold_or_before_a_retry(server, model, monkeypatch, status):
    waits = asyncio.Event()
    monkeypatch.setattr(logging.getLogger("langchain_promptrun"), "info", lambda *_: waits.set())
    server.queue(Fault(status=status, headers={"retry-after": "30"}))
    if status == 429:
        with pytest.raises(PromptrunError):
            model.invoke("Hello")
    with Budget(tokens=100) as budget:
        call = asyncio.create_task(model.ainvoke("Hello", max_retries=1))
        await (asyncio.sleep(0.05) if status == 429 else waits.wait())
        call.cancel()
        await asyncio.wait([call])
    assert (budget.calls, len(server.requests)) == (0, 1)


@pytest.mark.parametrize("status", [401, 429, 500])
def test_budget_does_not_count_a_call_that_the_server_refused(server, model, status):
    server.queue(Fault(status=status))
    with Budget(calls=1) as budget:
        with pytest.raises(PromptrunError):
            model.invoke("Hello")
        assert budget.calls == 0
        model.invoke("Hello")


@pytest.mark.parametrize(("usd", "counted"), [(0.5, 0.5), (math.inf, 1.0)])
def test_budget_counts_the_gateways_own_figure_and_of_infinity_only_sums_up(server, model, usd, counted):
    server.queue(Reply("Hi", usage={**USAGE, "cost": 0.5}, times=2))
    with Budget(usd=usd, reserve=usd == math.inf) as budget, suppress(EXCEEDED):
        for _ in range(2):
            model.invoke("Hello")
    assert (budget.total, budget.estimated) == (counted, 0.0)
