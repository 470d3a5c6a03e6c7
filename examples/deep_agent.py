# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "deepagents"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A deep agent at a task of several steps: it sends a sub-agent for the facts, writes a file, and reads it again."""

from __future__ import annotations

from typing import Any

from deepagents import SubAgent, create_deep_agent
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import PromptrunServer, Reply

TASK = (
    "Find out from the researcher how many people live in Tbilisi, write it into the file /report.md, "
    "read the file to check it, and tell me what it says."
)


def get_population(city: str) -> str:
    """Tell the population of a city."""
    return f"1258526 people live in {city}."


def build() -> Any:
    """Build an agent that leaves the finding of facts to a sub-agent with a cheaper model and the tool for it."""
    researcher: SubAgent = {
        "name": "researcher",
        "description": "Finds facts about cities.",
        "system_prompt": "Answer in one sentence, with the tool.",
        "tools": [get_population],
        "model": ChatPromptrun(model="anthropic/claude-haiku-4.5"),
    }
    return create_deep_agent(ChatPromptrun(model="anthropic/claude-sonnet-5"), subagents=[researcher])


def work() -> dict[str, Any]:
    """Give the agent its task; return its messages and its files."""
    return build().invoke({"messages": [("user", TASK)]})


def rehearse(server: PromptrunServer) -> None:
    """Say what a capable model would: the agent's turns, and between the first two those of the sub-agent."""
    fact = "1258526 people live in Tbilisi."
    steps = [
        {"name": "task", "args": {"description": "Population of Tbilisi?", "subagent_type": "researcher"}},
        {"name": "get_population", "args": {"city": "Tbilisi"}},
        fact,
        {"name": "write_file", "args": {"file_path": "/report.md", "content": f"# Tbilisi\n\n{fact}\n"}},
        {"name": "read_file", "args": {"file_path": "/report.md"}},
        f"The report says: {fact}",
    ]
    server.queue(*(Reply(step) if isinstance(step, str) else Reply(tool_calls=[step]) for step in steps))


def main() -> None:
    """Show the conversation and the files."""
    state = work()
    for message in state["messages"]:
        message.pretty_print()
    for path, file in state["files"].items():
        print(f"\n{path}: {file['content']!r}")


if __name__ == "__main__":
    run(main, rehearse)
