"""What is known of a model steers LangChain's agents, over real sockets."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

agents = pytest.importorskip("langchain.agents")
middleware = pytest.importorskip("langchain.agents.middleware")

BY_SCHEMA = "openai/gpt-4o"
BY_TOOL = "anthropic/claude-3.5-haiku"


class Weather(BaseModel):
    """The weather."""

    city: str
    degrees: int


class Forecast(Weather):
    """The weather, and the wind where it is known."""

    wind: str | None = None


@pytest.mark.parametrize("model", [BY_SCHEMA, BY_TOOL, "google/gemini-2.5-pro", "mistralai/mistral-large-2411"])
def test_summarisation_by_a_share_of_the_context_is_built_for_known_models(promptrun_server, model):
    assert promptrun_server.requests == []
    known = ChatPromptrun(model=model)
    middleware.SummarizationMiddleware(known, trigger=("fraction", 0.8))
    assert known.profile["max_input_tokens"] > 4_000


def test_for_an_unknown_model_ones_own_profile_does(promptrun_server):
    assert promptrun_server.requests == []
    with pytest.raises(ValueError, match="profile"):
        middleware.SummarizationMiddleware(ChatPromptrun(model="no/such"), trigger=("fraction", 0.8))
    mine = ChatPromptrun(model="no/such", profile={"max_input_tokens": 8_000})
    middleware.SummarizationMiddleware(mine, trigger=("fraction", 0.8))


def test_an_agent_asks_for_a_schema_where_the_model_knows_schemas(promptrun_server):
    assert ChatPromptrun(model=BY_SCHEMA).profile["structured_output"]
    promptrun_server.queue(Reply('{"city": "Tbilisi", "degrees": 21}'))
    answer = agents.create_agent(ChatPromptrun(model=BY_SCHEMA), response_format=Weather).invoke(
        {"messages": [("user", "How is the weather?")]}
    )
    (request,) = promptrun_server.requests
    assert request.body["response_format"]["json_schema"]["name"] == "Weather"
    assert "tools" not in request.body
    assert answer["structured_response"] == Weather(city="Tbilisi", degrees=21)


def test_a_strict_strategy_asks_for_a_closed_schema(promptrun_server):
    structured_output = pytest.importorskip("langchain.agents.structured_output")
    promptrun_server.queue(Reply('{"city": "Tbilisi", "degrees": 21}'))
    strategy = structured_output.ProviderStrategy(Forecast, strict=True)
    answer = agents.create_agent(ChatPromptrun(model=BY_SCHEMA), response_format=strategy).invoke(
        {"messages": [("user", "How is the weather?")]}
    )
    spec = promptrun_server.requests[0].body["response_format"]["json_schema"]
    schema = spec["schema"]
    assert (spec["strict"], schema["additionalProperties"]) == (True, False)
    assert schema["required"] == ["city", "degrees", "wind"]
    assert "default" not in schema["properties"]["wind"]
    assert answer["structured_response"] == Forecast(city="Tbilisi", degrees=21)


def test_an_agent_uses_a_tool_where_the_model_does_not(promptrun_server):
    assert not ChatPromptrun(model=BY_TOOL).profile.get("structured_output")
    arguments = {"city": "Tbilisi", "degrees": 21}
    promptrun_server.queue(Reply(tool_calls=[{"name": "Weather", "args": arguments, "id": "call_a"}]))
    answer = agents.create_agent(ChatPromptrun(model=BY_TOOL), response_format=Weather).invoke(
        {"messages": [("user", "How is the weather?")]}
    )
    (request,) = promptrun_server.requests
    assert request.body["tools"][0]["function"]["name"] == "Weather"
    assert request.body["tool_choice"] == "required"
    assert answer["structured_response"] == Weather(**arguments)
