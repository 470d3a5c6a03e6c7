"""The six ways to call a model, and what an answer says, however it came."""

from functools import reduce
from operator import add

STYLES = ("invoke", "ainvoke", "stream", "astream", "events", "aevents")


class Talk:
    styles = STYLES

    async def call(self, style, model, prompt="Hello", /, **keywords):
        """Call a model; the chunks of a stream are summed."""
        match style:
            case "invoke":
                return model.invoke(prompt, **keywords)
            case "ainvoke":
                return await model.ainvoke(prompt, **keywords)
            case "stream":
                return reduce(add, model.stream(prompt, **keywords))
            case "astream":
                return reduce(add, [chunk async for chunk in model.astream(prompt, **keywords)])
            case "events":
                return model.stream_events(prompt, version="v3", **keywords).output
            case "aevents":
                return await (await model.astream_events(prompt, version="v3", **keywords)).output

    def facts(self, message):
        """All that an answer says, in a form that does not depend on the style of the call or on `output_version`."""
        blocks = message.content_blocks
        metadata = {key: value for key, value in message.response_metadata.items() if key != "output_version"}
        return {
            "text": "".join(block["text"] for block in blocks if block["type"] == "text"),
            "refusal": "".join(block["refusal"] for block in blocks if block["type"] == "refusal"),
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


def _bare(block):
    """A block without its place among the others and its made-up id."""
    return {key: value for key, value in block.items() if key not in {"index", "id"}}
