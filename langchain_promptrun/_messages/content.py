"""Convert content blocks of all dialects to parts of a wire message, by one table of block types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._messages.media import (
    Media,
    Part,
    checked_url,
    file_name,
    kind_of_mime,
    media_part,
    mime_type_of,
)
from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Block = dict[str, Any]
"""A content block as it stands in a LangChain message."""

# Anthropic's marker, and OpenAI's: they end the part of a prompt that is to be cached.
_MARKERS = ("cache_control", "prompt_cache_breakpoint")
_MARKER_PLACES = frozenset({*_MARKERS, "extras", "cachePoint"})


class BlockType(NamedTuple):
    """A converter to wire parts, the media kind that counts tokens, and keys that tell a block from data of a tool."""

    convert: Callable[[Block], list[Part]]
    is_media: bool = False
    needs: frozenset[str] = frozenset()


def indexed(content: object) -> list[tuple[int, Any]]:
    """Return the blocks of a content, text or list or nothing, each with its index."""
    if not content:
        return []
    if not isinstance(content, (str, list)):
        problem = f"is of type {type(content).__name__}, not a text or a list"
        raise PromptrunInvalidMessageError(problem, path=".content")
    return list(enumerate([content] if isinstance(content, str) else content))


def content_parts(blocks: Iterable[tuple[int, str | Block]]) -> list[Part]:
    """Convert indexed blocks; the cache marker of an empty text moves to the part before it."""
    parts: list[Part] = []
    for index, block in blocks:
        if isinstance(block, str):
            parts += text_parts(block)
            continue
        try:
            parts += block_parts(block)
        except PromptrunInvalidMessageError as error:
            raise error.within(f".content[{index}]") from error.__cause__
        mark(parts, markers_of(block))
    return parts


def block_parts(block: Block) -> list[Part]:
    """Convert one block without its cache markers: mostly to one part, to none for an empty text."""
    if not isinstance(block, dict):
        raise PromptrunInvalidMessageError(f"is of type {type(block).__name__}, not a content block")
    kind = block_type(block)
    known = BLOCK_TYPES.get(kind)
    if known is None:
        name = (
            f"a content block of type {kind!r}" if kind else f"a content block without a type, with keys {list(block)}"
        )
        raise PromptrunInvalidMessageError(
            f"is {name}, which cannot be sent here; accepted types: {', '.join(sorted(BLOCK_TYPES))}; "
            'to send a part as it is, wrap it: {"type": "non_standard", "value": {...}}'
        )
    return known.convert(block)


def stays_here(block: object) -> bool:
    """Whether a block is one that only an assistant's turn, or the provider that wrote it, can hold."""
    if not isinstance(block, dict):
        return False
    kind = block_type(block)
    if kind in CALL_TYPES or kind in _PROVIDERS_OWN:
        return True
    return kind not in BLOCK_TYPES and kind.endswith(_PROVIDERS_OWN_ENDINGS)


def block_type(block: Block) -> str:
    """Return the block's type; for an untyped block of the Converse API the key that stands for it; else empty."""
    kind = block.get("type")
    if kind is not None:
        return kind if isinstance(kind, str) else repr(kind)
    keys = [key for key in block if key not in _MARKERS]
    if len(keys) == 1 and isinstance(block[keys[0]], _UNTYPED.get(keys[0], ())):
        return keys[0]
    return ""


def string(block: Block, key: str) -> str | None:
    """Return a text of a block; None where the block has none."""
    value = block.get(key)
    if value is None or isinstance(value, str):
        return value
    raise PromptrunInvalidMessageError(f"is of type {type(value).__name__}, not a string", path=f".{key}")


def text_parts(text: object) -> list[Part]:
    """Return the wire part of a text, none for an empty text."""
    if not text:
        return []
    if not isinstance(text, str):
        raise PromptrunInvalidMessageError(f"has a text of type {type(text).__name__}")
    return [{"type": "text", "text": text}]


def json_parts(data: object) -> list[Part]:
    """Return the wire part of data: the text of its JSON."""
    return text_parts(_json.dumps(data).decode())


def markers_of(block: Block) -> dict[str, Any]:
    """Return the cache markers of a block, wherever it carries them."""
    if _MARKER_PLACES.isdisjoint(block):
        return {}
    extras = block.get("extras")
    places = (block, extras) if isinstance(extras, dict) else (block,)
    markers = {key: place[key] for place in places for key in _MARKERS if place.get(key) is not None}
    if isinstance(point := block.get("cachePoint"), dict):
        markers["cache_control"] = {**point, "type": "ephemeral"}
    return markers


def mark(parts: list[Part], markers: dict[str, Any]) -> None:
    """Put cache markers on the last part, replaced by a copy: the part may be the caller's own."""
    if markers and parts:
        parts[-1] = {**parts[-1], **markers}


def _text(block: Block) -> list[Part]:
    return text_parts(block.get("text"))


def _document_text(block: Block) -> list[Part]:
    """Read LangChain's `text-plain`: a text document, or a file of that type."""
    if "text" not in block:
        return _media("file")({"mime_type": "text/plain", **block})
    return _titled(block, block["text"])


def _titled(block: Block, text: object) -> list[Part]:
    if text is not None and not isinstance(text, str):
        return text_parts(text)
    lines = [string(block, "title"), string(block, "context"), text]
    return text_parts("\n".join([line for line in lines if line]))


def _media(kind: str) -> Callable[[Block], list[Part]]:
    """Return a reader for LangChain's media blocks, v0 and v1, and Anthropic's with a `source`."""

    def read(block: Block) -> list[Part]:
        if isinstance(block.get("source"), dict):
            return _from_source(kind, block)
        if block.get("source_type") == "text":
            return _titled(block, block.get("text") or block.get("url"))
        media = Media(
            kind=kind,
            data=_data(block, "base64") or _data(block, "data"),
            url=string(block, "url"),
            # The id of a v0 block, and of LangChain's reading of Anthropic's, is the file's.
            file_id=string(block, "file_id") or string(block, "id"),
            # MCP servers write the second spelling.
            mime_type=string(block, "mime_type") or string(block, "mimeType"),
            name=_name(block),
            detail=_detail(block),
        )
        return [media_part(media)]

    return read


def _from_source(kind: str, block: Block) -> list[Part]:
    """Read Anthropic's `image` and `document`, and the Converse API's, which give a format instead of a type."""
    source = block["source"]
    if source.get("type") == "content" or "content" in source:
        return content_parts(indexed(source.get("content")))
    if source.get("type") == "text" or "text" in source:
        return _titled(block, source.get("data") or source.get("text"))
    media = Media(
        kind=kind,
        data=_data(source, "data") or _data(source, "bytes"),
        url=string(source, "url"),
        file_id=string(source, "file_id"),
        mime_type=string(source, "media_type") or mime_type_of(str(block.get("format"))),
        name=_name(block),
    )
    return [media_part(media)]


def _converse(kind: str) -> Callable[[Block], list[Part]]:
    """Return a reader for the Converse API's `{"image": {"format", "source"}}`, and for Anthropic's typed block."""

    def read(block: Block) -> list[Part]:
        inner = block.get(kind)
        return _media("file" if kind == "document" else kind)(inner if isinstance(inner, dict) else block)

    return read


def _gemini_media(block: Block) -> list[Part]:
    """Read Gemini's `media` and `file_data`: the kind follows from the mime type."""
    return _media(kind_of_mime(string(block, "mime_type") or ""))({**block, "url": block.get("file_uri")})


def _image_url(block: Block) -> list[Part]:
    """Read OpenAI's part; many users give the bare URL."""
    image = block.get("image_url")
    if isinstance(image, str):
        image = {"url": image}
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise PromptrunInvalidMessageError('is an image_url block without {"image_url": {"url": "..."}}')
    if block.get("detail") and "detail" not in image:
        image = {**image, "detail": block["detail"]}
    checked_url(image["url"])
    return [{"type": "image_url", "image_url": image}]


def _verbatim(key: str) -> Callable[[Block], list[Part]]:
    """Return a reader for a part that is already the wire's: `{"type": key, key: {...}}`."""

    def read(block: Block) -> list[Part]:
        value = block.get(key)
        if isinstance(value, str):
            value = {"url": value}
        if not isinstance(value, dict):
            raise PromptrunInvalidMessageError(f'is a block of type {key!r} without {{"{key}": {{...}}}}')
        return [{"type": key, key: value}]

    return read


def _file(block: Block) -> list[Part]:
    """Read OpenAI's file part, which needs a name beside its data, or LangChain's block of the same type."""
    file = block.get("file")
    if not isinstance(file, dict):
        return _media("file")(block)
    if "file_data" not in file and "file_id" not in file:
        raise PromptrunInvalidMessageError("is a file block without `file_data` and without `file_id`")
    address = file.get("file_data")
    if isinstance(address, str) and not file.get("filename"):
        file = {"filename": file_name(address), **file}
    return [{"type": "file", "file": file}]


def _responses_image(block: Block) -> list[Part]:
    if string(block, "image_url") is None:
        return _media("image")(block)
    return _image_url(block)


def _responses_file(block: Block) -> list[Part]:
    return _media("file")({**block, "base64": block.get("file_data"), "url": block.get("file_url")})


def _search_result(block: Block) -> list[Part]:
    parts = text_parts("\n".join([str(block[key]) for key in ("title", "source") if block.get(key)]))
    return parts + content_parts(indexed(block.get("content")))


def _resource(block: Block) -> list[Part]:
    """Read MCP's embedded resource: a text, or data of some type."""
    resource = block.get("resource")
    if not isinstance(resource, dict):
        raise PromptrunInvalidMessageError("is a resource block without a `resource`")
    if "blob" not in resource:
        return _text(resource)
    mime_type = string(resource, "mimeType") or ""
    return _media(kind_of_mime(mime_type))({"base64": resource["blob"], "mime_type": mime_type or None})


def _tool_output(block: Block) -> list[Part]:
    return content_parts(indexed(block.get("output")))


def _non_standard(block: Block) -> list[Part]:
    if not isinstance(block.get("value"), dict):
        raise PromptrunInvalidMessageError("is a non_standard block whose value is not a dictionary")
    return [block["value"]]


def _data(block: Block, key: str) -> str | bytes | None:
    value = block.get(key)
    return value if isinstance(value, bytes) else string(block, key)


def _name(block: Block) -> str | None:
    """Find a file's name; v1 blocks carry it in `extras`, v0 ones in `metadata`, documents have a title."""
    places = [place for place in (block, block.get("extras"), block.get("metadata")) if isinstance(place, dict)]
    names = [place.get(key) for key in ("filename", "name", "title") for place in places]
    return next((name for name in names if name and isinstance(name, str)), None)


def _detail(block: Block) -> str | None:
    extras = block.get("extras")
    return string(block, "detail") or (string(extras, "detail") if isinstance(extras, dict) else None)


_ADDRESSES = frozenset({"base64", "url", "file_id", "source_type", "source"})
_FILE_KEYS = _ADDRESSES | {"file", "file_uri", "file_data", "file_url", "mime_type", "mimeType"}
_TEXT = BlockType(_text, needs=frozenset({"text"}))
BLOCK_TYPES: dict[str, BlockType] = {
    **dict.fromkeys(("text", "input_text", "output_text"), _TEXT),
    "text-plain": BlockType(_document_text, needs=_ADDRESSES | {"text"}),
    "refusal": BlockType(lambda block: text_parts(block.get("refusal")), needs=frozenset({"refusal"})),
    "image": BlockType(_converse("image"), is_media=True),
    "audio": BlockType(_media("audio"), is_media=True),
    "video": BlockType(_converse("video"), is_media=True),
    "file": BlockType(_file, is_media=True, needs=_FILE_KEYS),
    "document": BlockType(_converse("document"), is_media=True, needs=frozenset({"source", "document", "base64"})),
    "image_url": BlockType(_image_url, is_media=True),
    "input_audio": BlockType(_verbatim("input_audio"), is_media=True),
    "video_url": BlockType(_verbatim("video_url"), is_media=True),
    "input_video": BlockType(_verbatim("input_video"), is_media=True),
    "media": BlockType(_gemini_media, is_media=True, needs=_FILE_KEYS),
    "file_data": BlockType(_gemini_media, is_media=True, needs=_FILE_KEYS),
    "input_image": BlockType(_responses_image, is_media=True),
    "input_file": BlockType(_responses_file, is_media=True, needs=_FILE_KEYS),
    "search_result": BlockType(_search_result, needs=frozenset({"content"})),
    "json": BlockType(lambda block: json_parts(block.get("json")), needs=frozenset({"json"})),
    "resource": BlockType(_resource),
    "resource_link": BlockType(json_parts),
    "custom_tool_call_output": BlockType(_tool_output, needs=frozenset({"output"})),
    "cachePoint": BlockType(lambda _block: []),
    "non_standard": BlockType(_non_standard),
}
"""Every block type that can be sent, with its converter, its kind, and what tells it from data of a tool."""

CALL_TYPES = frozenset(
    {"tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use", "function_call", "custom_tool_call"}
)
"""Blocks that are tool calls; the same calls mostly stand in a message's `tool_calls`."""

# Blocks that only the provider that wrote them can read back.
_PROVIDERS_OWN = frozenset(
    {
        *("additional_tools", "code_execution_result", "compaction", "container_upload", "executable_code"),
        *("function_call_signature", "input_json_delta", "mcp_approval_request", "mcp_list_tools", "reasoning"),
        *("reasoning_content", "redacted_thinking", "reference", "server_tool_call", "server_tool_call_chunk"),
        *("server_tool_result", "thinking"),
    }
)
_PROVIDERS_OWN_ENDINGS = ("_tool_use", "_tool_result", "_call", "_call_output", "_search_output")

# The Converse API's blocks have one key and no type; a tool's own data may have such a key, too.
_UNTYPED: dict[str, type] = {
    "text": str,
    "json": object,
    **dict.fromkeys(("image", "video", "document", "image_url", "cachePoint"), dict),
}
