"""A model with fallbacks where LangChain wants a model: tools, structured output, an agent."""

from __future__ import annotations

import pytest
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

CALL = {"name": "weather", "args": {"city": "Tbilisi"}, "id": "call_1"}


class Joke(BaseModel):
    """A joke."""

    setup: str


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}."


@pytest.fixture
def server():
    with PromptrunServer() as server:
        yield server


@pytest.fixture
def model(server):
    models = [
        ChatPromptrun(model=name, base_url=server.base_url, api_key=server.api_key, max_retries=0)
        for name in ("anthropic/claude-3.5-haiku", "openai/gpt-4o")
    ]
    return models[0].with_fallbacks(models[1:])


def asked(server):
    return [request.body["model"] for request in server.requests]


def test_tools_are_bound_to_all_models(server, model):
    server.queue(Fault(status=500), Reply(tool_calls=[CALL]))
    answer = model.bind_tools([weather]).invoke("How is the weather in Tbilisi?")
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Tbilisi"}]
    assert [request.body["tools"][0]["function"]["name"] for request in server.requests] == ["weather"] * 2
    assert asked(server) == ["anthropic/claude-3.5-haiku", "openai/gpt-4o"]


def test_structured_output_is_asked_of_all_models(server, model):
    server.queue(Fault(status=500), Reply('{"setup": "A comet walks into a bar."}'))
    joke = model.with_structured_output(Joke, method="json_schema").invoke("Tell me a joke.")
    assert joke == Joke(setup="A comet walks into a bar.")
    assert asked(server) == ["anthropic/claude-3.5-haiku", "openai/gpt-4o"]


def test_an_agent_falls_back(server, model):
    server.queue(Fault(status=500), Reply(tool_calls=[CALL]), Fault(status=500), Reply("It is sunny."))
    agents = pytest.importorskip("langchain.agents")
    state = agents.create_agent(model, [weather]).invoke({"messages": [("user", "How is the weather in Tbilisi?")]})
    assert [message.text for message in state["messages"]][2:] == ["Sunny in Tbilisi.", "It is sunny."]
    assert len(server.requests) == 4
