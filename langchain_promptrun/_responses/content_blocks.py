"""Translate messages of this package to LangChain's standard content blocks.

langchain-core reads text, reasoning and tool calls of any message; citations, refusals, images, audio and parts of
unknown types (`content_parts`) stand in `additional_kwargs` as the wire sent them.
"""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from langchain_core import exceptions
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.block_translators import register_translator

from langchain_promptrun._responses.choice import PROVIDER
from langchain_promptrun._wire.names import is_withheld

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.messages.content import ContentBlock

Block = dict[str, Any]

HAS_REFUSAL_BLOCKS = hasattr(exceptions, "ModelRefusalError")
"""langchain-core has blocks for refusals from 1.7.5 on; before it they are text."""

# The first bytes of images, which some models send as audio.
_IMAGE_STARTS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"GIF8": "gif", b"WEBP": "webp"}
_CITATION_KEYS = {
    **{key: key for key in ("url", "title", "start_index", "end_index", "cited_text")},
    "content": "cited_text",
}


def register() -> None:
    register_translator(PROVIDER, content_blocks, content_blocks)


def content_blocks(message: AIMessage) -> list[ContentBlock]:
    """Return the reasoning, text with citations, refusal, all tool calls, images and audio of a message or a chunk."""
    extras, metadata = message.additional_kwargs, message.response_metadata
    unnamed = {key: value for key, value in metadata.items() if key != "model_provider"}
    blocks = cast("list[Block]", message.model_copy(update={"response_metadata": unnamed}).content_blocks)
    for refusal in refusals(extras, metadata):
        blocks = _with_refusal(blocks, refusal)
    if getattr(message, "chunk_position", "last") != "last":
        # A call's index is not the place of a text among the blocks: both start at 0.
        blocks = [
            block | {"index": f"lc_tc_{block.get('index', 0)}"} if block["type"] == "tool_call_chunk" else block
            for block in blocks
        ]
    else:
        # langchain-core leaves these out, unless the content holds them.
        known = {block.get("id") for block in blocks}
        blocks += [cast("Block", call) for call in message.invalid_tool_calls if call["id"] not in known]
    if annotations := citations(extras, metadata):
        # They hang on the last text.
        places = [place for place, block in enumerate(blocks) if block["type"] == "text"]
        if not places:
            places, blocks = [len(blocks)], [*blocks, {"type": "text", "text": ""}]
        block = blocks[places[-1]]
        blocks[places[-1]] = block | {"annotations": block.get("annotations") or annotations}
    shown = media(extras)
    if isinstance(message, AIMessageChunk):
        shown = [block | {"index": f"lc_media_{position}"} for position, block in enumerate(shown)]
    return cast("list[ContentBlock]", [*blocks, *shown])


def citations(extras: dict[str, Any], metadata: dict[str, Any]) -> list[Block]:
    """Return OpenAI's `annotations`, and the `citations` that Perplexity and others list beside or in the message."""
    found = [_citation(entry) for entry in _items(extras.get("annotations")) if isinstance(entry, dict)]
    known = {citation.get("url") for citation in found}
    for source in (*_items(extras.get("citations")), *_items(metadata.get("citations"))):
        citation = _citation(source if isinstance(source, dict) else {"url": source})
        if citation["type"] == "citation" and citation["url"] not in known:
            known.add(citation["url"])
            found.append(citation)
    return found


def _citation(entry: Block) -> Block:
    """Translate an entry; some servers leave out the object within."""
    cited = entry.get("url_citation", entry) if entry.get("type", "url_citation") == "url_citation" else None
    if not isinstance(cited, dict) or not isinstance(cited.get("url"), str):
        return {"type": "non_standard_annotation", "value": entry}
    known = {_CITATION_KEYS[key]: value for key, value in cited.items() if key in _CITATION_KEYS and value is not None}
    return {"type": "citation"} | known


def media(extras: Mapping[str, Any]) -> list[Block]:
    """Return the media of an answer, which end its blocks: `images` (`image_url` parts, mostly data URLs) and `audio`.

    OpenAI's Chat Completions reference has "message.audio".
    """
    found: list[Block] = []
    for image in _items(extras.get("images")):
        target = image.get("image_url") if isinstance(image, dict) else None
        url = target.get("url") if isinstance(target, dict) else target
        if isinstance(url, str) and url:
            head, _, data = url.partition(";base64,")
            kind = head.removeprefix("data:").partition(";")[0]
            is_data = head.startswith("data:") and data
            found.append({"type": "image"} | ({"base64": data, "mime_type": kind} if is_data else {"url": url}))
    audio = extras.get("audio")
    if isinstance(audio, dict) and isinstance(audio.get("data"), str):
        found.append(_audio(audio))
    return found


def _audio(audio: Block) -> Block:
    block: Block = {"type": "audio", "base64": audio["data"]}
    with suppress(ValueError):
        start = b64decode(audio["data"][:16])
        for magic, kind in _IMAGE_STARTS.items():
            if start.startswith(magic) or start[8:] == magic:
                block |= {"type": "image", "mime_type": f"image/{kind}"}
    if isinstance(audio.get("id"), str):
        block["id"] = audio["id"]
    if extras := {key: value for key, value in audio.items() if key not in {"data", "id"}}:
        block["extras"] = extras
    return block


def _with_refusal(blocks: list[Block], own: Block) -> list[Block]:
    refusal = own["refusal"]
    found: list[Block] = []
    for block in blocks:
        text = block.get("text")
        if refusal and block["type"] == "text" and isinstance(text, str) and text.endswith(refusal):
            rest = text.removesuffix(refusal)
            found += [block | {"text": rest}, own] if rest else [own]
        else:
            found.append(block)
    return found if any(block["type"] == "refusal" for block in found) else [*found, own]


def refusals(extras: dict[str, Any], metadata: dict[str, Any]) -> list[Block]:
    """Return the refusal; one without a word, as langchain-core has it of Gemini's, where the answer was withheld."""
    refusal, finish_reason = extras.get("refusal"), metadata.get("finish_reason")
    if HAS_REFUSAL_BLOCKS and isinstance(refusal, str) and refusal:
        return [{"type": "refusal", "refusal": refusal}]
    if HAS_REFUSAL_BLOCKS and is_withheld(finish_reason):
        return [{"type": "refusal", "refusal": "", "extras": {"finish_reason": finish_reason}}]
    return []


def restore_refusal(message: BaseMessage) -> None:
    """Add the refusal that langchain-core leaves out of blocks that it puts together from events."""
    content = message.content
    if isinstance(content, list) and "refusal" not in [item.get("type") for item in content if isinstance(item, dict)]:
        content += refusals(message.additional_kwargs, message.response_metadata)


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
