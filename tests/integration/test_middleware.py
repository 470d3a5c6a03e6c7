"""LangChain's fallbacks and middleware tell our errors apart as they should, sync and async."""

from __future__ import annotations

from functools import partial

import pytest

from langchain_promptrun import (
    ChatPromptrun,
    PromptrunAuthenticationError,
    PromptrunContextOverflowError,
    PromptrunRateLimitError,
)
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

agents = pytest.importorskip("langchain.agents")
middleware = pytest.importorskip("langchain.agents.middleware")

FIRST, SECOND = "anthropic/claude-3.5-haiku", "openai/gpt-4o"
BROKEN_EVENT = Fault(events=[{"error": {"code": 502, "message": "Upstream gone."}}])
OVERFLOW = Fault(status=400, body={"error": {"message": "The prompt is too long.", "code": "context_length_exceeded"}})
QUOTA = Fault(status=429, body={"error": {"message": "You have no quota.", "code": "insufficient_quota"}})
LASTING = {
    "401": (Fault(status=401), PromptrunAuthenticationError),
    "quota": (QUOTA, PromptrunRateLimitError),
    "overflow": (OVERFLOW, PromptrunContextOverflowError),
}
COLOURS = ["sync", "async"]

pytestmark = pytest.mark.parametrize("colour", COLOURS)
lasting = pytest.mark.parametrize(("fault", "kind"), LASTING.values(), ids=LASTING)


@pytest.fixture
def server():
    with PromptrunServer() as server:
        yield server


@pytest.fixture
def models(server):
    settings = {"base_url": server.base_url, "api_key": server.api_key, "max_retries": 0}
    return [ChatPromptrun(model=name, **settings) for name in (FIRST, SECOND)]


async def invoke(runnable, value, colour):
    return await runnable.ainvoke(value) if colour == "async" else runnable.invoke(value)


async def stream(runnable, value, colour):
    chunks = [chunk async for chunk in runnable.astream(value)] if colour == "async" else runnable.stream(value)
    return "".join(chunk.text for chunk in chunks)


def asked(server):
    return [request.body["model"] for request in server.requests]


class TestFallbacks:
    """`with_fallbacks`."""

    async def test_answer_where_the_first_event_of_a_stream_is_an_error(self, server, models, colour):
        server.queue(BROKEN_EVENT, Reply("It is sunny."))
        assert await stream(models[0].with_fallbacks(models[1:]), "Hi", colour) == "It is sunny."
        assert asked(server) == [FIRST, SECOND]

    @pytest.mark.parametrize("call", [invoke, stream])
    async def test_answer_where_a_rate_limit_is_met(self, server, models, call, colour):
        server.queue(Fault(status=429), Reply("It is sunny."))
        told = await call(models[0].with_fallbacks(models[1:]), "Hi", colour)
        assert getattr(told, "text", told) == "It is sunny."
        assert asked(server) == [FIRST, SECOND]

    async def test_answer_where_a_rate_limit_hides_in_a_successful_answer(self, server, models, colour):
        server.queue(Fault(body={"code": 429, "message": "Too many"}), Reply("It is sunny."))
        both = models[0].with_fallbacks(models[1:], exceptions_to_handle=(PromptrunRateLimitError,))
        assert (await invoke(both, "Hi", colour)).text == "It is sunny."
        assert asked(server) == [FIRST, SECOND]


async def run(model, layer, colour, *messages):
    agent = agents.create_agent(model, middleware=[layer])
    state = await invoke(agent, {"messages": list(messages) or [("user", "Hi")]}, colour)
    return state["messages"]


class TestRetries:
    """`ModelRetryMiddleware`."""

    layer = staticmethod(
        partial(middleware.ModelRetryMiddleware, max_retries=2, initial_delay=0, jitter=False, on_failure="error")
    )

    @pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=429), BROKEN_EVENT])
    async def test_follow_what_may_pass(self, server, models, fault, colour):
        server.queue(fault, Reply("It is sunny."))
        assert (await run(models[0], self.layer(), colour))[-1].text == "It is sunny."
        assert len(server.requests) == 2

    @lasting
    async def test_do_not_follow_what_stays(self, server, models, fault, kind, colour):
        server.queue(fault)
        with pytest.raises(kind):
            await run(models[0], self.layer(), colour)
        assert len(server.requests) == 1


@lasting
async def test_the_fallback_middleware_asks_another_model_after_any_error(server, models, fault, kind, colour):
    del kind
    server.queue(fault, Reply("It is sunny."))
    layer = middleware.ModelFallbackMiddleware(models[1])
    assert (await run(models[0], layer, colour))[-1].text == "It is sunny."
    assert asked(server) == [FIRST, SECOND]


class TestSummaries:
    """`SummarizationMiddleware`, whose own call to the model may be too long, too."""

    HISTORY = (("user", "Tell me of storms. " * 50), ("ai", "Long ago. " * 50), ("user", "And then?"))

    def layer(self, model):
        return middleware.SummarizationMiddleware(model, trigger=("messages", 3), keep=("messages", 1))

    async def test_of_too_long_a_history_are_asked_for_again_with_a_shorter_one(self, server, models, colour):
        server.queue(OVERFLOW, Reply("Storms were told of."), Reply("The sun came out."))
        messages = await run(models[0], self.layer(models[1]), colour, *self.HISTORY)
        assert messages[-1].text == "The sun came out."
        assert asked(server) == [SECOND, SECOND, FIRST]
        first, second, _ = (len(str(request.body["messages"])) for request in server.requests)
        assert second < first
        assert "Storms were told of." in str(server.requests[-1].body["messages"])

    @pytest.mark.parametrize(("fault", "kind"), [LASTING["401"], LASTING["quota"]], ids=["401", "quota"])
    async def test_that_cannot_be_made_raise_at_once(self, server, models, fault, kind, colour):
        server.queue(fault)
        with pytest.raises(kind):
            await run(models[0], self.layer(models[1]), colour, *self.HISTORY)
        assert asked(server) == [SECOND]
