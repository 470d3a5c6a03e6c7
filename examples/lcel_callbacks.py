# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Callbacks: token counts of many calls added up by model, and tokens printed as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.callbacks import (
    StreamingStdOutCallbackHandler,
    UsageMetadataCallbackHandler,
    get_usage_metadata_callback,
)
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.messages.ai import UsageMetadata

HAIKU, GPT = "anthropic/claude-haiku-4.5", "openai/gpt-4o"


def counted() -> dict[str, UsageMetadata]:
    """Add up the tokens of calls, whole and streamed, that are told of the handler."""
    handler = UsageMetadataCallbackHandler()
    haiku, gpt = ChatPromptrun(model=HAIKU), ChatPromptrun(model=GPT)
    haiku.invoke("One two three.", {"callbacks": [handler]})
    for _ in haiku.stream("One two three.", {"callbacks": [handler]}):
        pass
    gpt.invoke("One two three.", {"callbacks": [handler]})
    return handler.usage_metadata


def counted_within() -> dict[str, UsageMetadata]:
    """Add up the tokens of all calls inside a block."""
    with get_usage_metadata_callback() as handler:
        ChatPromptrun(model=HAIKU).batch(["One two three."] * 3)
    return handler.usage_metadata


def printed() -> AIMessage:
    """Print tokens as they come, also from `invoke`: the model streams underneath."""
    model = ChatPromptrun(model=HAIKU, streaming=True, callbacks=[StreamingStdOutCallbackHandler()])
    return model.invoke("Tell me a fun fact about space.")


def main() -> None:
    """Show all of it."""
    print("counted:", counted())
    print("counted within:", counted_within())
    message = printed()
    print("\nusage:", message.usage_metadata)


if __name__ == "__main__":
    run(main)
