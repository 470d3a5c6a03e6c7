"""LangChain's fallbacks and middleware tell our errors apart as they should, sync and async."""

from functools import partial

import pytest
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_promptrun import (
    ChatPromptrun,
    PromptrunAuthenticationError,
    PromptrunContextOverflowError,
    PromptrunRateLimitError,
)
from langchain_promptrun.testing import Fault, Reply

agents = pytest.importorskip("langchain.agents")
middleware = pytest.importorskip("langchain.agents.middleware")

FIRST, SECOND = "anthropic/claude-3.5-haiku", "openai/gpt-4o"
SUNNY = Reply("It is sunny.")
CALL = Reply(tool_calls=[{"name": "weather", "args": {"city": "Tbilisi"}, "id": "call_1"}])
BROKEN_EVENT = Fault(events=[{"error": {"code": 502, "message": "Upstream gone."}}])
OVERFLOW = Fault(status=400, body={"error": {"message": "The prompt is too long.", "code": "context_length_exceeded"}})
QUOTA = Fault(status=429, body={"error": {"message": "You have no quota.", "code": "insufficient_quota"}})
LASTING = {
    "401": (Fault(status=401), PromptrunAuthenticationError),
    "quota": (QUOTA, PromptrunRateLimitError),
    "overflow": (OVERFLOW, PromptrunContextOverflowError),
}
COLOURS = ("invoke", "ainvoke")

in_both_colours = pytest.mark.parametrize("style", COLOURS)
lasting = pytest.mark.parametrize(("fault", "kind"), LASTING.values(), ids=LASTING)


class Joke(BaseModel):
    """A joke."""

    setup: str


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}."


@pytest.fixture
def models(promptrun_server):
    return [ChatPromptrun(model=name, max_retries=0) for name in (FIRST, SECOND)]


@pytest.fixture
def either(models):
    return models[0].with_fallbacks(models[1:])


@pytest.fixture
def run(call):
    """Run an agent."""

    async def run(model, *layers, messages=(("user", "Hi"),), tools=()):
        agent = agents.create_agent(model, tools, middleware=layers)
        return (await call(agent, {"messages": list(messages)}))["messages"]

    return run


def asked(server):
    return [request.body["model"] for request in server.requests]


@pytest.mark.parametrize(
    ("style", "fault"),
    [
        *((style, BROKEN_EVENT) for style in ("stream", "astream")),
        *((style, Fault(status=429)) for style in ("invoke", "ainvoke", "stream", "astream")),
    ],
)
async def test_fallbacks_answer_where_the_first_model_fails(promptrun_server, either, call, fault):
    promptrun_server.queue(fault, SUNNY)
    assert (await call(either)).text == "It is sunny."
    assert asked(promptrun_server) == [FIRST, SECOND]


@in_both_colours
async def test_fallbacks_answer_where_a_rate_limit_hides_in_a_successful_answer(promptrun_server, models, call):
    promptrun_server.queue(Fault(body={"code": 429, "message": "Too many"}), SUNNY)
    either = models[0].with_fallbacks(models[1:], exceptions_to_handle=(PromptrunRateLimitError,))
    assert (await call(either)).text == "It is sunny."
    assert asked(promptrun_server) == [FIRST, SECOND]


def test_fallbacks_have_tools_bound_to_all_models(promptrun_server, either):
    promptrun_server.queue(Fault(status=500), CALL)
    answer = either.bind_tools([weather]).invoke("How is the weather in Tbilisi?")
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Tbilisi"}]
    names = [request.body["tools"][0]["function"]["name"] for request in promptrun_server.requests]
    assert (names, asked(promptrun_server)) == (["weather"] * 2, [FIRST, SECOND])


def test_fallbacks_are_all_asked_for_structured_output(promptrun_server, either):
    promptrun_server.queue(Fault(status=500), Reply('{"setup": "A comet walks into a bar."}'))
    joke = either.with_structured_output(Joke, method="json_schema").invoke("Tell me a joke.")
    assert (joke, asked(promptrun_server)) == (Joke(setup="A comet walks into a bar."), [FIRST, SECOND])


@in_both_colours
async def test_fallbacks_serve_an_agent(promptrun_server, either, run):
    promptrun_server.queue(Fault(status=500), CALL, Fault(status=500), SUNNY)
    messages = await run(either, tools=[weather])
    assert [message.text for message in messages][2:] == ["Sunny in Tbilisi.", "It is sunny."]
    assert len(promptrun_server.requests) == 4


retrying = partial(middleware.ModelRetryMiddleware, max_retries=2, initial_delay=0, jitter=False, on_failure="error")


@in_both_colours
@pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=429), BROKEN_EVENT])
async def test_retry_middleware_follows_what_may_pass(promptrun_server, models, fault, run):
    promptrun_server.queue(fault, SUNNY)
    assert (await run(models[0], retrying()))[-1].text == "It is sunny."
    assert len(promptrun_server.requests) == 2


@in_both_colours
@lasting
async def test_retry_middleware_does_not_follow_what_stays(promptrun_server, models, fault, kind, run):
    promptrun_server.queue(fault)
    with pytest.raises(kind):
        await run(models[0], retrying())
    assert len(promptrun_server.requests) == 1


@in_both_colours
@lasting
async def test_fallback_middleware_asks_another_model_after_any_error(promptrun_server, models, fault, kind, run):
    promptrun_server.queue(fault, SUNNY)
    assert (await run(models[0], middleware.ModelFallbackMiddleware(models[1])))[-1].text == "It is sunny."
    assert asked(promptrun_server) == [FIRST, SECOND]


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
