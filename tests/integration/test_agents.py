"""LangChain's agents, fallbacks and middleware over ChatPromptrun, sync and async, and its strings for models."""

import json
import sys
from functools import partial
from types import SimpleNamespace

import pytest
from langchain_core import exceptions as core
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_promptrun import (
    ChatPromptrun,
    PromptrunAPIError,
    PromptrunAuthenticationError,
    PromptrunContextOverflowError,
    PromptrunRateLimitError,
    register_provider,
)
from langchain_promptrun.testing import Fault, Reply

agents = pytest.importorskip("langchain.agents")
middleware = pytest.importorskip("langchain.agents.middleware")

FIRST, SECOND = "anthropic/claude-3.5-haiku", "openai/gpt-4o"  # the second knows schemas
SUNNY = Reply("It is sunny.")
CALL = Reply(tool_calls=[{"name": "weather", "args": {"city": "Tbilisi"}, "id": "call_1"}])
BROKEN_EVENT = Fault(events=[{"error": {"code": 502, "message": "Upstream gone."}}])
OVERFLOW = Fault(status=400, body={"error": {"message": "The prompt is too long.", "code": "context_length_exceeded"}})
QUOTA = Fault(status=429, body={"error": {"message": "You have no quota.", "code": "insufficient_quota"}})
CODE = Fault(body={"code": 429, "message": "No"})
LASTING = {
    "401": (Fault(status=401), PromptrunAuthenticationError),
    "quota": (QUOTA, PromptrunRateLimitError),
    "overflow": (OVERFLOW, PromptrunContextOverflowError),
}

in_both_colours = pytest.mark.parametrize("style", ["invoke", "ainvoke"])


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}."


@pytest.fixture
def models(promptrun_server):
    return [ChatPromptrun(model=name, max_retries=0) for name in (FIRST, SECOND)]


@pytest.fixture
def run(call, style):
    async def run(model, *layers, messages=(("user", "Hi"),), tools=()):
        agent = agents.create_agent(model, tools, middleware=layers)
        given = {"messages": list(messages)}
        if style == "aevents":  # of a graph its output is a method
            return (await (await agent.astream_events(given, version="v3")).output())["messages"]
        return (await call(agent, given))["messages"]

    return run


def asked(server):
    return [request.body["model"] for request in server.requests]


@pytest.mark.parametrize(
    ("style", "fault", "kind"),
    [
        *((style, BROKEN_EVENT, PromptrunAPIError) for style in ("stream", "astream")),
        *((style, Fault(status=429), PromptrunRateLimitError) for style in ("stream", "astream")),
        *((style, CODE, PromptrunRateLimitError) for style in ("invoke", "ainvoke")),
    ],
)
async def test_fallbacks_answer_where_the_first_model_fails(promptrun_server, models, call, fault, kind):
    promptrun_server.queue(fault, SUNNY)
    assert (await call(models[0].with_fallbacks(models[1:], exceptions_to_handle=(kind,)))).text == "It is sunny."
    assert asked(promptrun_server) == [FIRST, SECOND]


@in_both_colours
async def test_fallbacks_serve_an_agent(promptrun_server, models, run):
    promptrun_server.queue(Fault(status=500), CALL, Fault(status=500), SUNNY)
    messages = await run(models[0].with_fallbacks(models[1:]), tools=[weather])
    assert [message.text for message in messages][2:] == ["Sunny in Tbilisi.", "It is sunny."]
    assert len(promptrun_server.requests) == 4


retrying = partial(middleware.ModelRetryMiddleware, max_retries=2, initial_delay=0, jitter=False, on_failure="error")


@in_both_colours
@pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=429), BROKEN_EVENT])
async def test_retry_middleware_follows_what_may_pass(promptrun_server, models, fault, run):
    promptrun_server.queue(fault, SUNNY)
    assert (await run(models[0], retrying()))[-1].text == "It is sunny."
    assert asked(promptrun_server) == [FIRST, FIRST]


@in_both_colours
@pytest.mark.parametrize(("fault", "kind"), LASTING.values(), ids=LASTING)
async def test_lasting_error_is_not_retried_and_another_model_is_asked(promptrun_server, models, fault, kind, run):
    promptrun_server.queue(fault, fault, SUNNY)
    with pytest.raises(kind):
        await run(models[0], retrying())
    assert (await run(models[0], middleware.ModelFallbackMiddleware(models[1])))[-1].text == "It is sunny."
    assert asked(promptrun_server) == [FIRST, FIRST, SECOND]


HISTORY = (("user", "Tell me of storms. " * 50), ("ai", "Long ago. " * 50), ("user", "And then?"))
summarising = partial(middleware.SummarizationMiddleware, trigger=("messages", 3), keep=("messages", 1))


@in_both_colours
async def test_summary_of_too_long_a_history_is_asked_for_again_with_a_shorter_one(promptrun_server, models, run):
    promptrun_server.queue(OVERFLOW, Reply("Storms were told of."), Reply("The sun came out."))
    messages = await run(models[0], summarising(models[1]), messages=HISTORY)
    assert messages[-1].text == "The sun came out."
    assert asked(promptrun_server) == [SECOND, SECOND, FIRST]
    first, second, third = (str(request.body["messages"]) for request in promptrun_server.requests)
    assert len(second) < len(first)
    assert "Storms were told of." in third


@in_both_colours
@pytest.mark.parametrize(("fault", "kind"), [LASTING["401"], LASTING["quota"]], ids=["401", "quota"])
async def test_summary_that_cannot_be_made_raises_at_once(promptrun_server, models, fault, kind, run):
    promptrun_server.queue(fault)
    with pytest.raises(kind):
        await run(models[0], summarising(models[1]), messages=HISTORY)
    assert asked(promptrun_server) == [SECOND]


# Each middleware that LangChain brings along


def pick(**answers):
    """A decision model with these answers."""
    decisions = pytest.importorskip("langchain_core.decisions")

    class Decider(decisions.BaseDecisionModel):
        @property
        def _provider(self):
            return "made up"

        def _classify(self, state, questions):
            return decisions.ClassifierResponse.model_validate(
                {"model": self.model, "answers": dict.fromkeys(questions, answers)}
            )

    return Decider(model="made/up")


SAFE = {"noul": 0.1, "type": "noul"}
ROUTED = {"choice": "hard", "confidence": 0.9, "probabilities": {"hard": 0.9, "easy": 0.1}, "type": "choice"}
PICKED = Reply(tool_calls=[{"name": "ToolSelectionResponse", "args": {"tools": ["weather"]}}])
# ShellToolMiddleware is left out: it leaves the pipes of its shell open.
PLAIN = ("ModelRefusalMiddleware", "ModelRetryMiddleware", "TodoListMiddleware", "ToolRetryMiddleware")
LAYERS = {
    **dict.fromkeys(PLAIN, lambda kind, _: kind()),
    "AutoModeMiddleware": lambda kind, _: kind(tools=["weather"], classifier=pick(**SAFE)),
    "ContextEditingMiddleware": lambda kind, _: kind(token_count_method="model"),
    "FilesystemFileSearchMiddleware": lambda kind, _: kind(root_path="."),
    "HumanInTheLoopMiddleware": lambda kind, _: kind(interrupt_on={"other": True}),
    "LLMToolEmulator": lambda kind, other: kind(model=other),
    "LLMToolSelectorMiddleware": lambda kind, other: kind(model=other),
    "ModelCallLimitMiddleware": lambda kind, _: kind(run_limit=2),
    "ModelFallbackMiddleware": lambda kind, other: kind(other),
    "ModelRouterMiddleware": lambda kind, other: kind(
        choices={name: middleware.ModelChoice(other, name) for name in ("easy", "hard")},
        instructions="Choose.",
        classifier=pick(**ROUTED),
    ),
    "PIIMiddleware": lambda kind, _: kind("email"),
    "SummarizationMiddleware": lambda _, other: summarising(other),
    "ToolCallLimitMiddleware": lambda kind, _: kind(run_limit=1),
    "ToolErrorMiddleware": lambda kind, _: kind(on_error=lambda error, _call: str(error)),
}
REPLIES = {
    "LLMToolEmulator": [CALL, Reply("A storm."), SUNNY],
    "LLMToolSelectorMiddleware": [PICKED, CALL, PICKED, SUNNY],
    "SummarizationMiddleware": [CALL, Reply("Storms were looked for."), SUNNY],
}


def layer_kind(name):
    if not hasattr(middleware, name):
        pytest.skip(f"langchain has no {name}")
    return getattr(middleware, name)


@in_both_colours
@pytest.mark.parametrize("name", LAYERS)
async def test_agent_with_a_built_in_middleware_calls_its_tool_and_answers(promptrun_server, models, run, name):
    replies = REPLIES.get(name, [CALL, SUNNY])
    promptrun_server.queue(*replies)
    layer = LAYERS[name](layer_kind(name), models[1])
    assert (await run(models[0], layer, tools=[weather]))[-1].text == "It is sunny."
    assert len(promptrun_server.requests) == len(replies)
    assert any(message["role"] == "tool" for message in promptrun_server.requests[-1].body["messages"])


@pytest.mark.parametrize("style", ["invoke", "ainvoke", "events", "aevents"])
@pytest.mark.parametrize(("refusal", "reason"), [("I'm sorry.", "stop"), (None, "content_filter")])
@pytest.mark.parametrize("text", [None, "Well. "])
async def test_refusal_middleware_raises_and_a_fallback_before_it_answers(
    promptrun_server, models, run, refusal, reason, text
):
    layer = layer_kind("ModelRefusalMiddleware")()
    message = {"role": "assistant", "content": text, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    promptrun_server.queue(Fault(body={"choices": [choice]}, times=2), SUNNY)
    with pytest.raises(core.ModelRefusalError) as caught:
        await run(models[0], layer)
    assert caught.value.raw_message.response_metadata["model_provider"] == "promptrun"
    fallback = middleware.ModelFallbackMiddleware(models[1])
    assert (await run(models[0], fallback, layer))[-1].text == "It is sunny."
    assert asked(promptrun_server) == [FIRST, FIRST, SECOND]


# What is known of a model steers agents


class Weather(BaseModel):
    """The weather."""

    city: str
    degrees: int


class Forecast(Weather):
    """The weather, and the wind where it is known."""

    wind: str | None = None


@pytest.fixture
def ask(promptrun_server):
    """Have an agent answer in a format; return the body of its request, and the object."""

    def ask(model, response_format, reply):
        promptrun_server.queue(reply)
        agent = agents.create_agent(ChatPromptrun(model=model), response_format=response_format)
        state = agent.invoke({"messages": [("user", "How is the weather?")]})
        return promptrun_server.requests[-1].body, state["structured_response"]

    return ask


def test_summarisation_by_a_share_of_the_context_is_built_for_known_models_and_by_ones_own_profile(promptrun_server):
    for model in (SECOND, FIRST, "google/gemini-2.5-pro", "mistralai/mistral-large-2411"):
        known = ChatPromptrun(model=model)
        middleware.SummarizationMiddleware(known, trigger=("fraction", 0.8))
        assert known.profile["max_input_tokens"] > 4_000
    with pytest.raises(ValueError, match="profile"):
        middleware.SummarizationMiddleware(ChatPromptrun(model="no/such"), trigger=("fraction", 0.8))
    mine = ChatPromptrun(model="no/such", profile={"max_input_tokens": 8_000})
    middleware.SummarizationMiddleware(mine, trigger=("fraction", 0.8))


FOUND = {"city": "Tbilisi", "degrees": 21}


def test_an_agent_asks_for_a_schema_where_the_model_knows_schemas_and_else_uses_a_tool(ask):
    body, weather = ask(SECOND, Weather, Reply(json.dumps(FOUND)))
    assert ("tools" in body, body["response_format"]["json_schema"]["name"]) == (False, "Weather")
    assert weather == Weather(**FOUND)
    body, weather = ask(FIRST, Weather, Reply(tool_calls=[{"name": "Weather", "args": FOUND, "id": "call_a"}]))
    assert (body["tools"][0]["function"]["name"], body["tool_choice"]) == ("Weather", "required")
    assert weather == Weather(**FOUND)


def test_a_strict_strategy_asks_for_a_closed_schema(ask):
    structured_output = pytest.importorskip("langchain.agents.structured_output")
    strategy = structured_output.ProviderStrategy(Forecast, strict=True)
    body, forecast = ask(SECOND, strategy, Reply(json.dumps(FOUND)))
    spec = body["response_format"]["json_schema"]
    assert (spec["strict"], spec["schema"]["additionalProperties"]) == (True, False)
    assert spec["schema"]["required"] == ["city", "degrees", "wind"]
    assert "default" not in spec["schema"]["properties"]["wind"]
    assert forecast == Forecast(**FOUND)


# Strings for models


@pytest.fixture
def registered(monkeypatch):
    base = pytest.importorskip("langchain.chat_models.base")
    monkeypatch.setattr(base, "_BUILTIN_PROVIDERS", dict(base._BUILTIN_PROVIDERS))
    register_provider()
    register_provider()
    return base


@pytest.mark.parametrize("name", [FIRST, f"{FIRST}:thinking"])
def test_a_string_makes_a_model_and_a_configurable_model_may_be_one(registered, promptrun_server, name):
    made = registered.init_chat_model(f"promptrun:{name}", temperature=0)
    assert isinstance(made, ChatPromptrun)
    made.invoke("Hello")
    config = {"configurable": {"model": name, "model_provider": "promptrun", "temperature": 0}}
    registered.init_chat_model(configurable_fields="any").invoke("Hello", config)
    sent = [(request.body["model"], request.body["temperature"]) for request in promptrun_server.requests]
    assert sent == [(name, 0)] * 2


@pytest.mark.parametrize(
    ("package", "name"), [("langchain.agents", "create_agent"), ("deepagents", "create_deep_agent")]
)
def test_an_agent_takes_the_string(registered, promptrun_server, package, name):
    make = getattr(pytest.importorskip(package), name)
    make(f"promptrun:{FIRST}").invoke({"messages": [("user", "Hello")]})
    assert asked(promptrun_server) == [FIRST]


@pytest.mark.parametrize(
    ("tables", "kind", "said"),
    [
        *(([table], RuntimeError, r"no table .*ChatPromptrun\(model=") for table in (None, {}, {"openai": ""})),
        ([], ImportError, "needs langchain"),
    ],
)
def test_a_missing_langchain_or_one_without_the_table_is_named(monkeypatch, tables, kind, said):
    modules = [SimpleNamespace(_BUILTIN_PROVIDERS=table) for table in tables]
    monkeypatch.setitem(sys.modules, "langchain.chat_models.base", *(modules or [None]))
    with pytest.raises(kind, match=said):
        register_provider()
