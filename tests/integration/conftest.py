"""What the tests over real sockets share: the six ways to call a model, and what an answer says."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

STYLES = ("invoke", "ainvoke", "stream", "astream", "events", "aevents")


class Talk:
    """Calls models in any style and takes answers apart."""

    styles = STYLES

    async def call(self, style: str, model: Any, prompt: Any = "Hello", **keywords: Any) -> AIMessage:
        """Call a model; the chunks of a stream are summed."""
        return await getattr(self, style)(model, prompt, **keywords)

    async def invoke(self, model, prompt, **keywords):
        return model.invoke(prompt, **keywords)

    async def ainvoke(self, model, prompt, **keywords):
        return await model.ainvoke(prompt, **keywords)

    async def stream(self, model, prompt, **keywords):
        return reduce(add, model.stream(prompt, **keywords))

    async def astream(self, model, prompt, **keywords):
        return reduce(add, [chunk async for chunk in model.astream(prompt, **keywords)])

    async def events(self, model, prompt, **keywords):
        return model.stream_events(prompt, version="v3", **keywords).output

    async def aevents(self, model, prompt, **keywords):
        return await (await model.astream_events(prompt, version="v3", **keywords)).output

    def facts(self, message: AIMessage) -> dict[str, Any]:
        """All that an answer says, in a form that does not depend on the style of the call or on `output_version`."""
        blocks = message.content_blocks
        metadata = {key: value for key, value in message.response_metadata.items() if key != "output_version"}
        return {
            "text": message.text,
            "reasoning": "".join(block.get("reasoning", "") for block in blocks if block["type"] == "reasoning"),
            "tool_calls": [(call["name"], call["args"], call["id"]) for call in message.tool_calls],
            "invalid_tool_calls": [(call["name"], call["args"], call["id"]) for call in message.invalid_tool_calls],
            "images": [_bare(block) for block in blocks if block["type"] == "image"],
            "audio": [_bare(block) for block in blocks if block["type"] == "audio"],
            "annotations": [note for block in blocks for note in block.get("annotations") or ()],
            "usage": message.usage_metadata,
            "metadata": metadata,
            "extras": message.additional_kwargs,
        }


def _bare(block: Any) -> dict[str, Any]:
    """A block without its place among the others and its made-up id."""
    return {key: value for key, value in block.items() if key not in {"index", "id"}}


@pytest.fixture
def talk() -> Talk:
    return Talk()
