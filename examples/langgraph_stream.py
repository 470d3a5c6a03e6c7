# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langgraph"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A graph's streams: tokens, updates and values; and version 3, where the model's own content events come through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

QUESTION = {"messages": [("user", "Why is the sky blue?")]}


def thinker() -> ChatPromptrun:
    """Build a model that thinks before it speaks."""
    return ChatPromptrun(model="anthropic/claude-sonnet-5", reasoning_effort="low")


def two_voices(model: ChatPromptrun) -> Any:
    """Build a graph whose one node answers and whose other node criticises the answer."""

    def answer(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [model.invoke(state["messages"])]}

    def criticise(state: MessagesState) -> dict[str, list[BaseMessage]]:
        task = HumanMessage("Criticise that in one sentence.")
        return {"messages": [model.invoke([*state["messages"], task])]}

    graph = StateGraph(MessagesState).add_node(answer).add_node(criticise)
    return graph.add_edge(START, "answer").add_edge("answer", "criticise").compile()


def by_mode(graph: Any) -> dict[str, list[Any]]:
    """Run the graph once and collect what each stream mode gives."""
    collected: dict[str, list[Any]] = {"messages": [], "updates": [], "values": []}
    for mode, data in graph.stream(QUESTION, stream_mode=list(collected)):
        collected[mode].append(data)
    return collected


def by_message(graph: Any) -> list[tuple[str, list[str], str]]:
    """Run the graph once in version 3: for each message its node, its text as it came, and its reasoning."""
    run_stream = graph.stream_events(QUESTION, version="v3")
    return [(message.node, list(message.text), message.reasoning.get()) for message in run_stream.messages]


def main() -> None:
    """Show all of it."""
    graph = two_voices(thinker())
    collected = by_mode(graph)
    print("messages:", "|".join(chunk.text for chunk, _ in collected["messages"]))
    print("updates:", *(list(update) for update in collected["updates"]))
    print("values:", *(f"{len(value['messages'])} messages" for value in collected["values"]))
    for node, pieces, reasoning in by_message(graph):
        print(f"version 3, {node}: {'|'.join(pieces)} (thought: {reasoning})")


if __name__ == "__main__":
    run(main)
