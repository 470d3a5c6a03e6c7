# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langchain"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""An agent whose growing prompt is read from the vendor's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import PromptrunServer, Reply

if TYPE_CHECKING:
    from langchain_core.messages.ai import InputTokenDetails

INSTRUCTIONS = "Answer questions on bookings. " + "Keep to the rules of the house. " * 200
TURNS = 4


def look_up(number: int) -> str:
    """Look up a booking by its number."""
    return f"Booking {number}: " + "one night, breakfast included. " * 20


def read_from_cache() -> list[tuple[int, int]]:
    """Run the agent; return the input tokens of each call, and how many of them came from the cache."""
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5", prompt_caching="auto")
    agent = create_agent(model, [look_up], system_prompt=INSTRUCTIONS)
    messages = agent.invoke({"messages": [("human", "Which of the bookings 1 to 4 include breakfast?")]})["messages"]
    return [_counts(message) for message in messages if isinstance(message, AIMessage)]


def _counts(message: AIMessage) -> tuple[int, int]:
    usage = message.usage_metadata
    if usage is None:
        return 0, 0
    details: InputTokenDetails = usage.get("input_token_details", {})
    return usage["input_tokens"], details.get("cache_read", 0)


def rehearse(server: PromptrunServer) -> None:
    """Have the model look up one booking after the other, and the server cache prompts."""
    server.prompt_cache = True
    calls = [{"name": "look_up", "args": {"number": number}, "id": f"call_{number}"} for number in range(1, TURNS + 1)]
    server.queue(*(Reply(tool_calls=[call]) for call in calls), "All four do.")


def main() -> None:
    """Show how much of each prompt was read from the cache."""
    for number, (tokens, cached) in enumerate(read_from_cache(), start=1):
        print(f"call {number}: {cached} of {tokens} input tokens from the cache")


if __name__ == "__main__":
    run(main, rehearse)
