# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langchain"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Agents: tools called in parallel, and a final answer that is an object, however the model makes it."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from promptrun_or_offline import run
from pydantic import BaseModel, Field

from langchain_promptrun import ChatPromptrun


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}, 24 degrees."


def get_population(city: str) -> str:
    """Tell the population of a city."""
    return f"1258526 people live in {city}."


class WeatherReport(BaseModel):
    """The weather in a city."""

    city: str
    degrees: float = Field(description="Temperature in degrees Celsius.")


def with_parallel_tools() -> dict[str, Any]:
    """Ask what takes two tools, which the model calls at once."""
    agent = create_agent(ChatPromptrun(model="anthropic/claude-sonnet-5"), tools=[get_weather, get_population])
    return agent.invoke({"messages": [("user", "Get the weather and the population of Tbilisi.")]})


def with_structured_response(response_format: Any) -> dict[str, Any]:
    """Ask for an object; a bare schema leaves the way to what the model's profile says that it can do."""
    model = ChatPromptrun(model="openai/gpt-4o")
    agent = create_agent(model, tools=[get_weather], response_format=response_format)
    return agent.invoke({"messages": [("user", "Get the weather in Tbilisi and report it.")]})


def main() -> None:
    """Show all of it."""
    for message in with_parallel_tools()["messages"]:
        message.pretty_print()
    for response_format in (ProviderStrategy(WeatherReport), ToolStrategy(WeatherReport), WeatherReport):
        state = with_structured_response(response_format)
        print(f"\n{type(response_format).__name__}: {state['structured_response']!r}")


if __name__ == "__main__":
    run(main)
