# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langchain", "deepagents"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Long conversations: summarised at a share of the model's context window, or when the server says that it is full."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepagents.backends import FilesystemBackend
from deepagents.middleware.summarization import SummarizationMiddleware as SummarizationOnOverflow
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessage

SMALL_WINDOW = 6_000
"""Characters of messages that the stand-in takes when it plays a model with a small context window."""


def long_conversation(turns: int) -> list[BaseMessage]:
    """Make up a conversation that goes on and on, and then a question."""
    messages: list[BaseMessage] = []
    for number in range(turns):
        messages += [HumanMessage(f"Note {number}: " + "the otter swims. " * 20), AIMessage(f"Noted {number}.")]
    return [*messages, HumanMessage("How many notes did I give you?")]


def by_share_of_the_window() -> dict[str, Any]:
    """Summarise all but the last messages at a thousandth of the window, which the model's profile knows."""
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5")
    summarize = SummarizationMiddleware(model, trigger=("fraction", 0.001), keep=("messages", 2))
    agent = create_agent(model, middleware=[summarize])
    return agent.invoke({"messages": long_conversation(20)})


def by_the_servers_word(folder: str) -> dict[str, Any]:
    """Send the whole conversation; where the server answers that it does not fit, summarise it and go on.

    What the summary replaces is kept in a file in the folder.
    """
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5")
    archive = FilesystemBackend(folder, virtual_mode=True)
    summarize = SummarizationOnOverflow(model, backend=archive, keep=("messages", 2))
    agent = create_agent(model, middleware=[summarize])
    return agent.invoke({"messages": long_conversation(20)})


def small_window(body: Mapping[str, Any]) -> Fault | Reply | None:
    """Refuse a conversation that does not fit, as a server does; one long message is the request to summarise it."""
    size = len(json.dumps(body["messages"]))
    if size <= SMALL_WINDOW:
        return None
    if len(body["messages"]) == 1:
        return Reply("The user gave 20 notes, all about an otter.")
    message = f"This model's maximum context length is {SMALL_WINDOW} tokens, and your messages have {size}."
    return Fault(status=400, body={"error": {"message": message, "code": "context_length_exceeded"}})


def rehearse(server: PromptrunServer) -> None:
    """Give the stand-in's model a small context window."""
    server.answer = small_window


def main() -> None:
    """Show both ways."""
    print("by share of the window:", by_share_of_the_window()["messages"][-1].text)
    with tempfile.TemporaryDirectory() as folder:
        print("by the server's word:", by_the_servers_word(folder)["messages"][-1].text)
        print("kept:", *(path.name for path in Path(folder).rglob("*.md")))


if __name__ == "__main__":
    run(main, rehearse)
