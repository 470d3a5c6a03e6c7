"""What a tool returned -> the parts of a wire message.

A tool may return any data, and data may have a `type`: files of a directory, documents of an index. Owns the line
between a content block that the table of `_content` reads and data, which goes out as the text of its JSON; nothing
that a tool returned is lost or refused for its form. It must not know of messages or of tool calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_promptrun._messages.content import block_parts, block_type, indexed, mark, markers_of, text_parts
from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_promptrun._messages.content import Block
    from langchain_promptrun._messages.media import Part

# The key without which a block of this type says nothing, or says null.
_CARRIERS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "text-plain": "text",
    "json": "json",
    "search_result": "content",
    "custom_tool_call_output": "output",
}
# Where a file block has its file. A bare `id` may be any record's, and `data` without a mime type any text.
_FILE_PLACES = frozenset({"base64", "url", "file_id", "source_type", "file_uri", "file_data", "file_url"})
_MIME_TYPES = frozenset({"mime_type", "mimeType"})


def data_parts(content: object) -> list[Part]:
    """Convert the content of a tool's result.

    Args:
        content: A text, a list of texts, content blocks and data, other data, or None for nothing.

    Returns:
        The wire parts in their order. What is no readable content block is the text of its JSON.

    Raises:
        PromptrunInvalidMessageError: Data that JSON cannot carry.
    """
    if content is not None and not isinstance(content, (str, list)):
        return _json_parts(content, ".content")
    parts: list[Part] = []
    for index, block in indexed(content):
        if isinstance(block, str):
            parts += text_parts(block)
        elif (read := _read(block)) is None:
            parts += _json_parts(block, f".content[{index}]")
        else:
            parts += read
            mark(parts, markers_of(block))
    return parts


def _json_parts(data: object, place: str) -> list[Part]:
    try:
        return text_parts(_json.dumps(data).decode())
    except PromptrunInvalidMessageError as error:
        raise error.within(place) from error.__cause__


def _read(block: Any) -> list[Part] | None:
    """The parts of a content block; None for data."""
    try:
        parts = block_parts(block)
    except PromptrunInvalidMessageError:
        return None
    kind = block_type(block)
    holds = _HOLDERS.get(kind)
    if holds is not None and not holds(block):
        return None
    # Empty text is a block that says nothing; a content of which nothing was readable is data.
    return parts if parts or not block.get(_CARRIERS.get(kind, "type")) else None


def _holds_key(key: str) -> Callable[[Block], bool]:
    return lambda block: key in block


def _holds_document(block: Block) -> bool:
    """Whether it is some dialect's: a document with a bare address may have its text beside it."""
    return any(isinstance(block.get(key), dict) for key in ("source", "document")) or "base64" in block


def _holds_file(block: Block) -> bool:
    file = block.get("file")
    if isinstance(file, dict):
        return "file_data" in file or "file_id" in file
    if isinstance(block.get("source"), dict) or not _FILE_PLACES.isdisjoint(block):
        return True
    return isinstance(block.get("data"), bytes) or ("data" in block and not _MIME_TYPES.isdisjoint(block))


def _holds_text_or_file(block: Block) -> bool:
    return "text" in block or _holds_file(block)


_HOLDERS: dict[str, Callable[[Block], bool]] = {
    **{kind: _holds_key(key) for kind, key in _CARRIERS.items()},
    **dict.fromkeys(("file", "file_data", "input_file", "media"), _holds_file),
    "document": _holds_document,
    "text-plain": _holds_text_or_file,
}
