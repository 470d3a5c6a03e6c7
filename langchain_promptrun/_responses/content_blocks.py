"""Messages of this package -> LangChain's standard content blocks.

langchain-core reads text, reasoning and tool calls of any message; citations, images and audio of an answer stand in
`additional_kwargs` as the wire sent them, and this module adds them. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.block_translators import register_translator

from langchain_promptrun._responses.choice import PROVIDER

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.messages.content import ContentBlock

Block = dict[str, Any]


def register() -> None:
    """Tell langchain-core how to read messages whose `model_provider` is this package's."""
    register_translator(PROVIDER, content_blocks, content_blocks)


def content_blocks(message: AIMessage) -> list[ContentBlock]:
    """Read a message, or a chunk of one.

    Args:
        message: The message; it is not changed.

    Returns:
        Its reasoning, text with citations, tool calls, invalid ones included, images and audio.
    """
    unnamed = {key: value for key, value in message.response_metadata.items() if key != "model_provider"}
    blocks = cast("list[Block]", message.model_copy(update={"response_metadata": unnamed}).content_blocks)
    if isinstance(message, AIMessageChunk) and message.chunk_position != "last":
        blocks = [_with_own_index(block) for block in blocks]
    else:
        blocks = [*blocks, *_invalid_calls(message, blocks)]
    extras = message.additional_kwargs
    annotations = citations(extras.get("annotations"))
    if annotations:
        blocks = _annotated(blocks, annotations)
    return cast("list[ContentBlock]", [*blocks, *images(extras.get("images")), *audio(extras.get("audio"))])


def citations(annotations: object) -> list[Block]:
    """Read the wire's `annotations` (OpenAI Chat Completions reference, "message.annotations")."""
    return (
        [_citation(entry) for entry in annotations if isinstance(entry, dict)] if isinstance(annotations, list) else []
    )


def images(images: object) -> list[Block]:
    """Read the `images` of an answer: a list of `image_url` parts, mostly data URLs."""
    if not isinstance(images, list):
        return []
    urls = [_url(image) for image in images]
    return [_image(url) for url in urls if url]


def audio(audio: object) -> list[Block]:
    """Read the `audio` of an answer (OpenAI Chat Completions reference, "message.audio")."""
    if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
        return []
    block: Block = {"type": "audio", "base64": audio["data"]}
    if isinstance(audio.get("id"), str):
        block["id"] = audio["id"]
    if extras := {key: value for key, value in audio.items() if key not in {"data", "id"}}:
        block["extras"] = extras
    return [block]


def _invalid_calls(message: AIMessage, blocks: list[Block]) -> list[Block]:
    """Return the calls that langchain-core leaves out, unless the content holds them."""
    known = {block.get("id") for block in blocks}
    return [cast("Block", call) for call in message.invalid_tool_calls if call["id"] not in known]


def _with_own_index(block: Block) -> Block:
    """Keep a call's index apart from the place of a text among the blocks: both start at 0."""
    if block["type"] != "tool_call_chunk":
        return block
    return block | {"index": f"lc_tc_{block.get('index', 0)}"}


def _annotated(blocks: list[Block], annotations: list[Block]) -> list[Block]:
    """Hang citations on the last text."""
    for position in reversed(range(len(blocks))):
        if blocks[position]["type"] == "text":
            known = blocks[position].get("annotations") or annotations
            return [*blocks[:position], blocks[position] | {"annotations": known}, *blocks[position + 1 :]]
    return [*blocks, {"type": "text", "text": "", "annotations": annotations}]


def _citation(entry: Block) -> Block:
    cited = entry.get("url_citation")
    if entry.get("type") != "url_citation" or not isinstance(cited, dict):
        return {"type": "non_standard_annotation", "value": entry}
    names = {"url": "url", "title": "title", "start_index": "start_index", "end_index": "end_index"}
    names["content"] = "cited_text"
    return {"type": "citation"} | {
        names[key]: value for key, value in cited.items() if key in names and value is not None
    }


def _url(image: object) -> str:
    target = image.get("image_url") if isinstance(image, dict) else None
    url = target.get("url") if isinstance(target, dict) else target
    return url if isinstance(url, str) else ""


def _image(url: str) -> Block:
    head, _, data = url.partition(";base64,")
    if head.startswith("data:") and data:
        return {"type": "image", "base64": data, "mime_type": head.removeprefix("data:")}
    return {"type": "image", "url": url}
