# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langchain", "langgraph"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""An agent whose instructions change while it runs: they are a managed prompt, edited in Promptrun's dashboard.

With a key, PROMPTRUN_PROJECT_ID names the project of the prompt; `{{audience}}` may stand in its text.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.agents.middleware import dynamic_prompt
from langgraph.checkpoint.memory import InMemorySaver
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun, PromptrunPrompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain.agents.middleware import ModelRequest

    from langchain_promptrun import PromptRecord
    from langchain_promptrun.testing import PromptrunServer

PROJECT = "PROMPTRUN_PROJECT_ID"
THREAD = {"configurable": {"thread_id": "a conversation"}}


def guide(prompt: PromptrunPrompt) -> Any:
    """Make an agent that asks for its instructions at each call of the model, which costs no request while fresh."""

    @dynamic_prompt
    def instructions(_: ModelRequest) -> str:
        # a run of its own, so that the traces of the agent name the version; format_messages would be none
        (message,) = prompt.invoke({"audience": "children"}).to_messages()
        return message.text

    model = ChatPromptrun(model="anthropic/claude-sonnet-5")
    return create_agent(model, middleware=[instructions], checkpointer=InMemorySaver())


def ask(agent: Any, question: str) -> str:
    """Go on with the conversation."""
    return agent.invoke({"messages": [("user", question)]}, THREAD)["messages"][-1].text


def announced(event: threading.Event) -> Callable[[PromptRecord, PromptRecord], None]:
    """Make a function that tells of a change and sets an event."""

    def on_change(old: PromptRecord, new: PromptRecord) -> None:
        print(f"version {old.version} -> {new.version}: {new.version_message}")
        event.set()

    return on_change


def main() -> None:
    """Ask, wait until somebody publishes other instructions, and ask again."""
    if PROJECT not in os.environ:
        sys.exit(f"Set {PROJECT} to the id of a project in Promptrun's dashboard.")
    changed = threading.Event()
    with PromptrunPrompt(project_id=os.environ[PROJECT], refresh=1, on_change=announced(changed)) as prompt:
        agent = guide(prompt)
        print(ask(agent, "How far is the moon?"))
        print("Publish another version of the prompt.", file=sys.stderr)
        while not changed.wait(0.2):
            prompt.pull()  # at most one request a second, and never a wait for it
        print(ask(agent, "And the sun?"))


def rehearse(server: PromptrunServer) -> None:
    """Have instructions, a model that obeys them, and somebody who edits them after the first answer."""
    project = server.prompts.create("Guide")
    project.publish("Answer {{audience}} in one sentence.")
    os.environ[PROJECT] = project.id

    def answer(body: dict[str, Any]) -> str:
        if project.newest == 1:
            project.publish("Answer {{audience}} with a riddle.", message="more fun")
        system, *_, question = (message["content"] for message in body["messages"])
        return f"[{system}] So far, so good: {question}"

    server.answer = answer


if __name__ == "__main__":
    run(main, rehearse)
