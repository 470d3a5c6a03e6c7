# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A deadline for a whole call: its retries, its waits and its stream."""

from __future__ import annotations

import math

from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun, PromptrunTimeoutError
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

SECONDS = 1.0
QUESTION = "Tell me a long story about the sea."


def read_in_time(model: ChatPromptrun) -> str:
    """Stream an answer; return what came before the deadline."""
    try:
        return "".join(chunk.text for chunk in model.stream(QUESTION))
    except PromptrunTimeoutError as late:
        print("late:", late)
        return late.partial or ""


def retried_in_time(model: ChatPromptrun) -> str:
    """Return an answer, or say why the call was not tried once more."""
    try:
        return model.invoke(QUESTION, deadline=SECONDS / 2).text
    except PromptrunTimeoutError as late:
        return f"no retry after {type(late.__cause__).__name__}: {late}"


def rehearse(server: PromptrunServer) -> None:
    """Fall silent in the middle of an answer, then be overloaded for longer than the call may take."""
    server.queue(
        Fault(reply=Reply("The sea was calm that day, until"), after=7, pause=math.inf),
        Fault(status=503, headers={"retry-after": "20"}),
    )


def main() -> None:
    """Show both."""
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5", deadline=SECONDS)
    print("came in time:", read_in_time(model))
    print(retried_in_time(model))


if __name__ == "__main__":
    run(main, rehearse)
