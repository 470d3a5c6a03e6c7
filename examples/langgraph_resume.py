# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langgraph", "langgraph-checkpoint-sqlite"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A graph that stops before its tools, is kept in a SQLite file, and goes on in another process as if nothing was."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import PromptrunServer, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import RunnableConfig

CONFIG: RunnableConfig = {"configurable": {"thread_id": "weather"}}


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}, 24 degrees."


@contextmanager
def graph_in(path: Path) -> Iterator[Any]:
    """Build a graph whose checkpoints are in a file, with a new model: nothing else is carried over."""
    model = ChatPromptrun(model="anthropic/claude-sonnet-5", reasoning_effort="low").bind_tools([get_weather])

    def think(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node(think).add_node("tools", ToolNode([get_weather]))
    graph.add_edge(START, "think").add_conditional_edges("think", tools_condition).add_edge("tools", "think")
    with SqliteSaver.from_conn_string(str(path)) as saver:
        yield graph.compile(checkpointer=saver, interrupt_before=["tools"])


def start(path: Path) -> AIMessage:
    """Run until the model asks for a tool, and stop there."""
    with graph_in(path) as graph:
        return graph.invoke({"messages": [("user", "Get the weather in Tbilisi.")]}, CONFIG)["messages"][-1]


def resume(path: Path) -> list[BaseMessage]:
    """Go on from the file alone; the model gets its own reasoning and its call back as it sent them."""
    with graph_in(path) as graph:
        return graph.invoke(None, CONFIG)["messages"]


def rehearse(server: PromptrunServer) -> None:
    """Think with a signature and call with one, as vendors do that check them on the next turn."""
    call = {"name": "get_weather", "args": {"city": "Tbilisi"}, "extra_content": {"signature": "c2lnbmVkIGNhbGw="}}
    details = [{"type": "reasoning.text", "text": "I need the tool.", "signature": "c2lnbmVk", "index": 0}]
    server.queue(Reply(reasoning_details=details, tool_calls=[call]))


def main() -> None:
    """Show it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoints.db"
        waiting = start(path)
        print("stopped before:", waiting.tool_calls)
        for message in resume(path):
            message.pretty_print()


if __name__ == "__main__":
    run(main, rehearse)
