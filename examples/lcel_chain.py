# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Prompt, model and parser as one chain: whole, streamed, side by side, and in batches that keep to a limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableParallel
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.runnables import Runnable, RunnableConfig

    Chain = Runnable[dict[str, Any], str]

TOPICS = ["otters", "owls", "octopuses", "ocelots", "orcas"]
AT_MOST_TWO: RunnableConfig = {"max_concurrency": 2}


def chain_about(what: str) -> Chain:
    """Build a chain from a topic to a text about it."""
    prompt = ChatPromptTemplate([("system", "Answer in one sentence."), ("human", what + " about {topic}, please.")])
    return prompt | ChatPromptrun(model="anthropic/claude-haiku-4.5") | StrOutputParser()


def inputs() -> list[dict[str, Any]]:
    """Give one input of the chain for each topic."""
    return [{"topic": topic} for topic in TOPICS]


def words(chain: Chain) -> list[str]:
    """Stream through the whole chain: the parser hands on each piece as it comes."""
    return list(chain.stream({"topic": "otters"}))


def side_by_side() -> dict[str, str]:
    """Ask two chains the same thing at the same time."""
    both = RunnableParallel(fact=chain_about("A fun fact"), poem=chain_about("A short poem"))
    return both.invoke({"topic": "otters"})


def in_a_batch(chain: Chain) -> list[str]:
    """Ask about all topics, two at a time; the answers come in the order of the inputs."""
    return chain.batch(inputs(), AT_MOST_TWO)


async def in_an_async_batch(chain: Chain) -> list[str]:
    """Do the same without threads."""
    return await chain.abatch(inputs(), AT_MOST_TWO)


def as_they_finish(chain: Chain) -> Iterator[tuple[int, str]]:
    """Do the same, each answer as soon as it is there, with the number of its input."""
    yield from chain.batch_as_completed(inputs(), AT_MOST_TWO)


def main() -> None:
    """Show all of it."""
    chain = chain_about("A fun fact")
    print("whole:", chain.invoke({"topic": "otters"}))
    print("streamed:", "|".join(words(chain)))
    print("side by side:", side_by_side())
    print("batch:", in_a_batch(chain))
    print("async batch:", asyncio.run(in_an_async_batch(chain)))
    for number, answer in as_they_finish(chain):
        print(f"done, {TOPICS[number]}:", answer)


if __name__ == "__main__":
    run(main)
