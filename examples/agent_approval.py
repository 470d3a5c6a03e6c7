# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langchain", "langgraph"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A human in the loop: the agent waits before what cannot be undone, until somebody approves, edits or rejects it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


def careful_agent(deleted: list[str]) -> Any:
    """Build an agent that deletes files, and asks first; what it deletes is only written down."""

    def delete_file(path: str) -> str:
        """Delete a file."""
        deleted.append(path)
        return f"{path} is deleted."

    return create_agent(
        ChatPromptrun(model="anthropic/claude-sonnet-5"),
        tools=[delete_file],
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"delete_file": True})],
        checkpointer=InMemorySaver(),
    )


def ask_then_decide(decision: dict[str, Any]) -> tuple[dict[str, Any], list[str], str]:
    """Run until the agent asks, decide, and go on; return what it asked, what was deleted, and its last words."""
    deleted: list[str] = []
    agent = careful_agent(deleted)
    config: RunnableConfig = {"configurable": {"thread_id": "cleaning"}}
    waiting = agent.invoke({"messages": [("user", 'Delete the file "draft.txt".')]}, config)
    (asked,) = waiting["__interrupt__"][0].value["action_requests"]
    done = agent.invoke(Command(resume={"decisions": [decision]}), config)
    return asked, deleted, done["messages"][-1].text


def main() -> None:
    """Show the three decisions."""
    edited = {"name": "delete_file", "args": {"path": "old-draft.txt"}}
    for decision in ({"type": "approve"}, {"type": "edit", "edited_action": edited}, {"type": "reject"}):
        asked, deleted, words = ask_then_decide(decision)
        print(f"asked for {asked['name']}({asked['args']}), decided {decision['type']}, deleted {deleted}: {words}")


if __name__ == "__main__":
    run(main)
