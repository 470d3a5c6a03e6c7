# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""What happens inside: events of a whole chain (version 2), and a model's own content events (version 3)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

QUESTION = "Why is the sky blue?"


def model() -> ChatPromptrun:
    """Build a model that thinks before it speaks."""
    return ChatPromptrun(model="anthropic/claude-sonnet-5", reasoning_effort="low")


def chain() -> Runnable[dict[str, Any], str]:
    """Build a chain around it."""
    return ChatPromptTemplate([("human", "{question}")]) | model() | StrOutputParser()


async def chain_events() -> list[tuple[str, str]]:
    """Follow every step of the chain (events of version 2): what happened, and to which part."""
    events = chain().astream_events({"question": QUESTION}, version="v2")
    return [(event["event"], event["name"]) async for event in events]


async def content_events() -> list[str]:
    """Follow one answer block by block (events of version 3), as they come off the wire."""
    async with await model().astream_events(QUESTION, version="v3") as stream:
        return [event["event"] async for event in stream]


async def projections() -> tuple[list[str], str, AIMessage]:
    """Take from the same kind of stream just the text, piece by piece, then all reasoning and the message."""
    async with await model().astream_events(QUESTION, version="v3") as stream:
        pieces = [piece async for piece in stream.text]
        return pieces, await stream.reasoning, await stream.output


async def show() -> None:
    """Show all of it."""
    print("v2:", dict(Counter(name for name, _ in await chain_events())))
    print("v3:", *await content_events())
    pieces, reasoning, message = await projections()
    print("text:", "|".join(pieces), "reasoning:", reasoning, "usage:", message.usage_metadata, sep="\n")


def main() -> None:
    """Run it all in one event loop."""
    asyncio.run(show())


if __name__ == "__main__":
    run(main)
