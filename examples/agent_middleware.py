# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langchain"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Middleware around an agent: retries, a second model, a limit on tool calls, personal data kept from the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    ToolCallLimitMiddleware,
)
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware

OVERLOADED = {"error": {"message": "The vendor is overloaded.", "code": 529}}


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}, 24 degrees."


def get_population(city: str) -> str:
    """Tell the population of a city."""
    return f"1258526 people live in {city}."


def ask(question: str, *middleware: AgentMiddleware[Any, Any, Any]) -> dict[str, Any]:
    """Ask an agent that has this middleware, and a model that leaves all retries to it."""
    model = ChatPromptrun(model="anthropic/claude-sonnet-5", max_retries=0)
    agent = create_agent(model, tools=[get_weather, get_population], middleware=middleware)
    return agent.invoke({"messages": [("user", question)]})


def retried() -> dict[str, Any]:
    """Retry what the error itself calls retryable, such as an overloaded vendor; a wrong key raises at once."""
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.01, on_failure="error")
    return ask("Get the weather in Tbilisi.", retry)


def with_fallback() -> dict[str, Any]:
    """Let a second model step in where the first one fails."""
    return ask("Get the weather in Tbilisi.", ModelFallbackMiddleware(ChatPromptrun(model="openai/gpt-4o")))


def limited() -> dict[str, Any]:
    """Allow one tool call; the model hears that the second one was not made."""
    return ask("Get the weather and the population of Tbilisi.", ToolCallLimitMiddleware(run_limit=1))


def redacted() -> dict[str, Any]:
    """Keep a mail address from the model."""
    return ask("My address is tamar@example.com: what do you know about me?", PIIMiddleware("email"))


def rehearse(server: PromptrunServer) -> None:
    """Fail twice, once in a body that says 200, then answer; and fail once for the fallback."""
    call = Reply(tool_calls=[{"name": "get_weather", "args": {"city": "Tbilisi"}}])
    server.queue(Fault(status=503), Fault(body=OVERLOADED), call, Reply("It is sunny."), Fault(status=500))


def main() -> None:
    """Show all of it."""
    for show in (retried, with_fallback, limited, redacted):
        print(f"{show.__name__}: {show()['messages'][-1].text}")


if __name__ == "__main__":
    run(main, rehearse)
