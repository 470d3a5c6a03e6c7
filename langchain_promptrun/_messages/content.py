"""LangChain's content blocks -> the parts of a wire message.

Owns the table of block types: LangChain's own (v0 with `source_type`, and v1), OpenAI's Chat Completions and
Responses parts, and those of Anthropic, Gemini and Bedrock's Converse API. One small function reads each; a type
that is not in the table is an error, never dropped. Cache markers stay on the block they stand on. It must not
know of messages, roles or tool calls, and must not read files or URLs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_promptrun._messages.media import Media, Part, file_name, kind_of_mime, media_part, mime_type_of
from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Block = dict[str, Any]
"""A content block as it stands in a LangChain message."""

# Anthropic's marker, and OpenAI's: they end the part of a prompt that is to be cached.
_MARKERS = ("cache_control", "prompt_cache_breakpoint")
_MARKER_PLACES = frozenset({*_MARKERS, "extras", "cachePoint"})


def indexed(content: object) -> list[tuple[int, Any]]:
    """The blocks of a content, text or list or nothing, each with its index; an error for any other thing."""
    if not content:
        return []
    if not isinstance(content, (str, list)):
        raise PromptrunInvalidMessageError(
            f"is of type {type(content).__name__}, not a text or a list", path=".content"
        )
    return list(enumerate([content] if isinstance(content, str) else content))


def content_parts(blocks: Iterable[tuple[int, str | Block]]) -> list[Part]:
    """Convert the content of a system, human or tool message.

    Args:
        blocks: The blocks, each with its index in the message's content.

    Returns:
        The wire parts in their order. Empty text is left out; its cache marker moves to the part before it.

    Raises:
        PromptrunInvalidMessageError: A block has an unknown type, or lacks what its type needs.
    """
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


def string(block: Block, key: str) -> str | None:
    """A text of a block, None where it has none; an error for any other thing."""
    value = block.get(key)
    if value is None or isinstance(value, str):
        return value
    raise PromptrunInvalidMessageError(f"is of type {type(value).__name__}, not a string", path=f".{key}")


def block_parts(block: Block) -> list[Part]:
    """Convert one block, without its cache markers.

    Args:
        block: A block of any dialect.

    Returns:
        The wire parts: mostly one, none for empty text, several for a document made of blocks.

    Raises:
        PromptrunInvalidMessageError: The block has an unknown type, or lacks what its type needs.
    """
    if not isinstance(block, dict):
        raise PromptrunInvalidMessageError(f"is of type {type(block).__name__}, not a content block")
    kind = block_type(block)
    convert = _CONVERTERS.get(kind)
    if convert is None:
        name = (
            f"a content block of type {kind!r}" if kind else f"a content block without a type, with keys {list(block)}"
        )
        raise PromptrunInvalidMessageError(
            f"is {name}, which cannot be sent here; accepted types: {', '.join(sorted(_CONVERTERS))}; "
            'to send a part as it is, wrap it: {"type": "non_standard", "value": {...}}',
        )
    return convert(block)


def block_type(block: Block) -> str:
    """The block's type; for an untyped block of the Converse API the key that stands for it; else empty."""
    kind = block.get("type")
    if kind is not None:
        return kind if isinstance(kind, str) else repr(kind)
    keys = [key for key in block if key not in _MARKERS]
    if len(keys) == 1 and isinstance(block[keys[0]], _UNTYPED.get(keys[0], ())):
        return keys[0]
    return ""


def text_parts(text: object) -> list[Part]:
    """The wire part for a text; none when it is empty."""
    if not text:
        return []
    if not isinstance(text, str):
        raise PromptrunInvalidMessageError(f"has a text of type {type(text).__name__}")
    return [{"type": "text", "text": text}]


def markers_of(block: Block) -> dict[str, Any]:
    """The cache markers of a block, wherever it carries them."""
    if _MARKER_PLACES.isdisjoint(block):
        return {}
    extras = block.get("extras")
    places = (block, extras) if isinstance(extras, dict) else (block,)
    markers = {key: place[key] for place in places for key in _MARKERS if place.get(key) is not None}
    if isinstance(point := block.get("cachePoint"), dict):
        markers["cache_control"] = {**point, "type": "ephemeral"}
    return markers


def mark(parts: list[Part], markers: dict[str, Any]) -> None:
    """Put cache markers on the last part, replaced by a copy: it may be the caller's own."""
    if markers and parts:
        parts[-1] = {**parts[-1], **markers}


def _text(block: Block) -> list[Part]:
    return text_parts(block.get("text"))


def _document_text(block: Block) -> list[Part]:
    """LangChain's `text-plain`: a text document, or a file of that type."""
    if "text" not in block:
        return _media("file")({"mime_type": "text/plain", **block})
    return _titled(block, block["text"])


def _titled(block: Block, text: object) -> list[Part]:
    """A text after the title and the context that its block gives."""
    if text is not None and not isinstance(text, str):
        return text_parts(text)
    lines = [string(block, "title"), string(block, "context"), text]
    return text_parts("\n".join([line for line in lines if line]))


def _media(kind: str) -> Callable[[Block], list[Part]]:
    """A reader for LangChain's media blocks, v0 and v1, and Anthropic's with a `source`."""

    def read(block: Block) -> list[Part]:
        if isinstance(block.get("source"), dict):
            return _from_source(kind, block)
        if block.get("source_type") == "text":
            return _titled(block, block.get("text") or block.get("url"))
        return [
            media_part(
                Media(
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
            )
        ]

    return read


def _from_source(kind: str, block: Block) -> list[Part]:
    """Anthropic's `image` and `document`, and the Converse API's, which give a format instead of a type."""
    source = block["source"]
    if source.get("type") == "content":
        return content_parts(indexed(source.get("content")))
    if source.get("type") == "text" or "text" in source:
        return _titled(block, source.get("data") or source.get("text"))
    if "content" in source:
        return content_parts(indexed(source["content"]))
    return [
        media_part(
            Media(
                kind=kind,
                data=_data(source, "data") or _data(source, "bytes"),
                url=string(source, "url"),
                file_id=string(source, "file_id"),
                mime_type=string(source, "media_type") or mime_type_of(str(block.get("format"))),
                name=_name(block),
            )
        )
    ]


def _converse(kind: str) -> Callable[[Block], list[Part]]:
    """A reader for the Converse API's untyped `{"image": {"format", "source"}}`, and the typed one for Anthropic's."""

    def read(block: Block) -> list[Part]:
        inner = block.get(kind)
        return _media("file" if kind == "document" else kind)(inner if isinstance(inner, dict) else block)

    return read


def _gemini_media(block: Block) -> list[Part]:
    """Gemini's `media` and `file_data`: the kind follows from the mime type."""
    return _media(kind_of_mime(string(block, "mime_type") or ""))({**block, "url": block.get("file_uri")})


def _image_url(block: Block) -> list[Part]:
    """OpenAI's part; many users give the bare URL."""
    image = block.get("image_url")
    if isinstance(image, str):
        image = {"url": image}
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise PromptrunInvalidMessageError('is an image_url block without {"image_url": {"url": "..."}}')
    if block.get("detail") and "detail" not in image:
        image = {**image, "detail": block["detail"]}
    return [{"type": "image_url", "image_url": image}]


def _verbatim(key: str) -> Callable[[Block], list[Part]]:
    """A reader for a part that is already the wire's: `{"type": key, key: {...}}`."""

    def read(block: Block) -> list[Part]:
        value = block.get(key)
        if isinstance(value, str):
            value = {"url": value}
        if not isinstance(value, dict):
            raise PromptrunInvalidMessageError(f'is a block of type {key!r} without {{"{key}": {{...}}}}')
        return [{"type": key, key: value}]

    return read


def _file(block: Block) -> list[Part]:
    """OpenAI's file part, which needs a name beside its data, or LangChain's block of the same type."""
    file = block.get("file")
    if not isinstance(file, dict):
        return _media("file")(block)
    address = file.get("file_data")
    if isinstance(address, str) and not file.get("filename"):
        file = {"filename": file_name(address), **file}
    return [{"type": "file", "file": file}]


def _responses_image(block: Block) -> list[Part]:
    """The Responses API's `input_image`."""
    if string(block, "image_url") is None:
        return _media("image")(block)
    return _image_url(block)


def _responses_file(block: Block) -> list[Part]:
    """The Responses API's `input_file`."""
    return _media("file")({**block, "base64": block.get("file_data"), "url": block.get("file_url")})


def _search_result(block: Block) -> list[Part]:
    """Anthropic's search result, as text: title, source and content."""
    parts = text_parts("\n".join([str(block[key]) for key in ("title", "source") if block.get(key)]))
    return parts + content_parts(indexed(block.get("content")))


def _json_text(block: Block) -> list[Part]:
    """A tool's `json` block, as the text of its JSON."""
    return text_parts(_json.dumps(block.get("json")).decode())


def _tool_output(block: Block) -> list[Part]:
    """The output of OpenAI's custom tools: text or blocks."""
    return content_parts(indexed(block.get("output")))


def _non_standard(block: Block) -> list[Part]:
    """The caller's own part, as it is."""
    if not isinstance(block.get("value"), dict):
        raise PromptrunInvalidMessageError("is a non_standard block whose value is not a dictionary")
    return [block["value"]]


def _nothing(_block: Block) -> list[Part]:
    return []


def _data(block: Block, key: str) -> str | bytes | None:
    value = block.get(key)
    return value if isinstance(value, bytes) else string(block, key)


def _name(block: Block) -> str | None:
    """A file's name; v1 blocks carry it in `extras`, v0 ones in `metadata`, documents have a title."""
    places = [place for place in (block, block.get("extras"), block.get("metadata")) if isinstance(place, dict)]
    names = [place.get(key) for key in ("filename", "name", "title") for place in places]
    return next((name for name in names if name and isinstance(name, str)), None)


def _detail(block: Block) -> str | None:
    extras = block.get("extras")
    return string(block, "detail") or (string(extras, "detail") if isinstance(extras, dict) else None)


_CONVERTERS: dict[str, Callable[[Block], list[Part]]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "text-plain": _document_text,
    "image": _converse("image"),
    "audio": _media("audio"),
    "video": _converse("video"),
    "file": _file,
    "document": _converse("document"),
    "image_url": _image_url,
    "input_audio": _verbatim("input_audio"),
    "video_url": _verbatim("video_url"),
    "input_video": _verbatim("input_video"),
    "media": _gemini_media,
    "file_data": _gemini_media,
    "input_image": _responses_image,
    "input_file": _responses_file,
    "search_result": _search_result,
    "json": _json_text,
    "custom_tool_call_output": _tool_output,
    "cachePoint": _nothing,
    "non_standard": _non_standard,
}
# The Converse API's blocks have one key and no type; a tool's own data may have such a key, too.
_UNTYPED: dict[str, type] = {
    "text": str,
    "image": dict,
    "video": dict,
    "document": dict,
    "image_url": dict,
    "json": object,
    "cachePoint": dict,
}
