"""What is known of a model steers LangChain's agents, over real sockets."""

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


@pytest.fixture
def ask(promptrun_server):
    """Have an agent answer in a format; return the body of its request, and the object."""

    def ask(model, response_format, reply):
        promptrun_server.queue(reply)
        agent = agents.create_agent(ChatPromptrun(model=model), response_format=response_format)
        state = agent.invoke({"messages": [("user", "How is the weather?")]})
        (request,) = promptrun_server.requests
        return request.body, state["structured_response"]

    return ask


@pytest.mark.parametrize("model", [BY_SCHEMA, BY_TOOL, "google/gemini-2.5-pro", "mistralai/mistral-large-2411"])
def test_summarisation_by_a_share_of_the_context_is_built_for_known_models(promptrun_server, model):
    known = ChatPromptrun(model=model)
    middleware.SummarizationMiddleware(known, trigger=("fraction", 0.8))
    assert known.profile["max_input_tokens"] > 4_000


def test_summarisation_for_an_unknown_model_takes_ones_own_profile(promptrun_server):
    with pytest.raises(ValueError, match="profile"):
        middleware.SummarizationMiddleware(ChatPromptrun(model="no/such"), trigger=("fraction", 0.8))
    mine = ChatPromptrun(model="no/such", profile={"max_input_tokens": 8_000})
    middleware.SummarizationMiddleware(mine, trigger=("fraction", 0.8))


def test_an_agent_asks_for_a_schema_where_the_model_knows_schemas(ask):
    body, weather = ask(BY_SCHEMA, Weather, Reply('{"city": "Tbilisi", "degrees": 21}'))
    assert ("tools" in body, body["response_format"]["json_schema"]["name"]) == (False, "Weather")
    assert weather == Weather(city="Tbilisi", degrees=21)


def test_a_strict_strategy_asks_for_a_closed_schema(ask):
    structured_output = pytest.importorskip("langchain.agents.structured_output")
    strategy = structured_output.ProviderStrategy(Forecast, strict=True)
    body, forecast = ask(BY_SCHEMA, strategy, Reply('{"city": "Tbilisi", "degrees": 21}'))
    spec = body["response_format"]["json_schema"]
    assert (spec["strict"], spec["schema"]["additionalProperties"]) == (True, False)
    assert spec["schema"]["required"] == ["city", "degrees", "wind"]
    assert "default" not in spec["schema"]["properties"]["wind"]
    assert forecast == Forecast(city="Tbilisi", degrees=21)


def test_an_agent_uses_a_tool_where_the_model_does_not(ask):
    arguments = {"city": "Tbilisi", "degrees": 21}
    reply = Reply(tool_calls=[{"name": "Weather", "args": arguments, "id": "call_a"}])
    body, weather = ask(BY_TOOL, Weather, reply)
    assert (body["tools"][0]["function"]["name"], body["tool_choice"]) == ("Weather", "required")
    assert weather == Weather(**arguments)
