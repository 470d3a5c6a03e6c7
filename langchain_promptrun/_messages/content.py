"""Convert content blocks of all dialects to parts of a wire message, by one table of block types.

The parts `image_url`, `input_audio` and `file` are those of OpenAI's Chat Completions reference; `video_url`, and an
address in a file's `file_data`, are those of OpenRouter's API reference.
"""

from __future__ import annotations

import base64
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable

Block = dict[str, Any]  # a content block as it stands in a LangChain message
Part = dict[str, Any]  # one part of a wire message's content

MADE_ID = "lc_"  # begins the ids that langchain-core makes for blocks

UNWRAPPED = ("guard_content", "image_generation_call")
"""Blocks that are read inside LangChain's wrapping `non_standard`, too; the inside of others goes out as it is."""

MEDIA_PARTS = frozenset({"image_url", "input_audio", "video_url", "input_video", "file"})
"""Types of the parts that OpenAI's format admits in user messages only."""

MEDIA_BLOCKS = MEDIA_PARTS | {
    *("audio", "document", "file_data", "image", "input_file", "input_image", "media", "video"),
}
"""Types of the content blocks that are, or become, such parts."""

# Anthropic's marker, and OpenAI's: they end the part of a prompt that is to be cached.
_MARKERS = ("cache_control", "prompt_cache_breakpoint")
_MARKER_PLACES = frozenset({*_MARKERS, "extras"})

# The first characters of well-known formats in base64. The `mimetypes` module would read files of the system.
_SIGNATURES = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "JVBERi0": "application/pdf",
    "SUQz": "audio/mpeg",
    "T2dnUw": "audio/ogg",
    "ZkxhQw": "audio/flac",
}
# A RIFF container holds pictures, sound or video.
_RIFF_TYPES = {"image": "image/webp", "audio": "audio/wav", "video": "video/x-msvideo"}
# What most gateways take a video or an unknown file for.
_DEFAULT_TYPES = {"video": "video/mp4", "file": "application/octet-stream"}
# By mime type or subtype, where these do not end so.
_EXTENSIONS = {
    "audio/mp4": "m4a",
    "jpeg": "jpg",
    **dict.fromkeys(("l16", "pcm"), "pcm16"),
    "markdown": "md",
    **dict.fromkeys(("mpeg", "mpga"), "mp3"),
    "msword": "doc",
    "octet-stream": "bin",
    "plain": "txt",
    "quicktime": "mov",
    "svg+xml": "svg",
    "vnd.ms-excel": "xls",
    "vnd.ms-powerpoint": "ppt",
    "vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    **dict.fromkeys(("wave", "vnd.wave"), "wav"),
    "x-matroska": "mkv",
}
_DATA_KEYS = ("base64", "data", "file_data")
_ARTICLES = {"image": "an image", "audio": "audio", "video": "a video", "file": "a file"}


def add_block(block: Any, parts: list[Part]) -> None:
    """Convert a block to parts; the cache marker of an empty text goes to the part before it."""
    parts += block_parts(block)
    mark(parts, block)


def content_parts(content: Any, add: Callable[[Any, list[Part]], object] = add_block) -> list[Part]:
    """Have each block of a content added, which is a text, a list or nothing; errors name the block's place."""
    if isinstance(content, str):
        return text_parts(content)
    if content and not isinstance(content, list):
        problem = f"is of type {type(content).__name__}, not a text or a list"
        raise PromptrunInvalidMessageError(problem, path=".content")
    parts: list[Part] = []
    for index, block in enumerate(content or ()):
        try:
            add({"type": "text", "text": block} if isinstance(block, str) else block, parts)
        except PromptrunInvalidMessageError as error:
            raise error.within(f".content[{index}]") from error.__cause__
    return parts


def result_parts(content: object) -> list[Part]:
    """Convert what a tool returned: content blocks without reasoning, all other data as the text of its JSON."""
    if content is None or isinstance(content, (str, list)):
        return content_parts(content, _add_returned)
    try:
        return json_parts(content)
    except PromptrunInvalidMessageError as error:
        raise error.within(".content") from error.__cause__


def _add_returned(block: Any, parts: list[Part]) -> None:
    if isinstance(block, dict):
        kind = block_type(block)
        is_reasoning = not block.keys().isdisjoint(_REASONING.get(kind, ()))
        if is_reasoning or (kind == "non_standard" and stays_here(block)):
            return
        known = _known_parts(kind, block)
        if known is not None:
            parts += known
            mark(parts, block)
            return
        if str(block.get("id")).startswith(MADE_ID):
            block = {key: value for key, value in block.items() if key != "id"}
    parts += json_parts(block)


def _known_parts(kind: str, block: Block) -> list[Part] | None:
    """Return the parts of a content block; None for data that only has a `type`, and for links to elsewhere."""
    try:
        parts = block_parts(block)
    except PromptrunInvalidMessageError:
        return None
    _, needs = BLOCK_TYPES[kind]
    # `source` and `file` must hold more than a name.
    found = [key for key in needs if key not in {"source", "file"} or isinstance(block.get(key), dict)]
    if needs and block.keys().isdisjoint(found) and not isinstance(block.get("data"), bytes):
        return None
    url = block.get("url") if kind in MEDIA_BLOCKS else None
    if isinstance(url, str) and not url.startswith(("http://", "https://", "data:")):
        return None
    # Empty text is a block that says nothing; a content of which nothing was readable is data.
    return parts if parts or not any(map(block.get, needs)) else None


def block_parts(block: Block) -> list[Part]:
    """Convert one block without its cache markers: mostly to one part, to none for an empty text."""
    if not isinstance(block, dict):
        raise PromptrunInvalidMessageError(f"is of type {type(block).__name__}, not a content block")
    kind = block_type(block)
    if kind not in BLOCK_TYPES:
        name = f"of type {kind!r}" if kind else f"without a type, with keys {list(block)}"
        raise PromptrunInvalidMessageError(
            f"is a content block {name}, which cannot be sent here; accepted types: {', '.join(sorted(BLOCK_TYPES))}; "
            'to send a part as it is, wrap it: {"type": "non_standard", "value": {...}}'
        )
    convert, _ = BLOCK_TYPES[kind]
    return convert(block)


def stays_here(block: object) -> bool:
    """Whether a block is one, wrapped or not, that only an assistant's turn or the provider that wrote it can hold."""
    if isinstance(block, dict) and block.get("type") == "non_standard":
        block = block.get("value")
    kind = block_type(block) if isinstance(block, dict) else ""
    is_known = kind in CALL_TYPES or kind in _PROVIDERS_OWN
    return is_known or (kind.endswith(_PROVIDERS_OWN_ENDINGS) and kind not in BLOCK_TYPES)


def block_type(block: Block) -> str:
    kind = block.get("type")
    return kind if isinstance(kind, str) else "" if kind is None else repr(kind)


def text_parts(text: str) -> list[Part]:
    return [{"type": "text", "text": text}] if text else []


def json_parts(data: object) -> list[Part]:
    return text_parts(_json.dumps(data).decode())


def markers_of(block: Block) -> dict[str, Any]:
    if _MARKER_PLACES.isdisjoint(block):
        return {}
    extras = block.get("extras")
    places = (block, extras) if isinstance(extras, dict) else (block,)
    return {key: place[key] for place in places for key in _MARKERS if place.get(key) is not None}


def mark(parts: list[Part], block: Block) -> None:
    """Put a block's cache markers on the last part, replaced by a copy: the part may be the caller's own."""
    if parts and (markers := markers_of(block)):
        parts[-1] = {**parts[-1], **markers}


def _titled(block: Block, text: str) -> list[Part]:
    return text_parts("\n".join([line for line in (string(block, "title"), string(block, "context"), text) if line]))


def _plain_text(block: Block) -> list[Part]:
    is_file = "text" not in block
    return _media("file", {"mime_type": "text/plain", **block}) if is_file else _titled(block, string(block, "text"))


def _media(kind: str, block: Block) -> list[Part]:
    """Read a medium in any dialect; the mime type tells the kind where that is empty.

    LangChain's v0 and v1, MCP's (`mimeType`), Gemini's (`file_uri`) and the Responses API's (`file_url`) have their
    keys in the block, Anthropic's in its `source`.
    """
    source = block.get("source")
    if not isinstance(source, dict):
        source = block
        if block.get("source_type") == "text":
            return _titled(block, string(block, "text", "url"))
    elif source.get("type") == "content":
        return content_parts(source.get("content"))
    elif source.get("type") == "text":
        return _titled(block, string(source, "data"))
    # v1 blocks carry their name and detail in `extras`, v0 ones the name in `metadata`; documents have a title.
    places = [place for place in (block, block.get("extras"), block.get("metadata")) if isinstance(place, dict)]
    names = [place.get(key) for key in ("filename", "name", "title") for place in places]
    name = next((name for name in names if name and isinstance(name, str)), None)
    detail = next(filter(None, (string(place, "detail") for place in places)), "")
    return [_media_part(kind, source, name=name, detail=detail)]


def _wire_part(key: str, block: Block) -> list[Part]:
    """Read a part that is the wire's, `{"type": key, key: {...}}`; many users give a bare URL, as `input_image` has."""
    value = block.get(key)
    if not value and block.get("type") == "input_image":
        return _media("image", block)
    if isinstance(value, str):
        value = {"url": value}
    is_url = key.endswith("_url")
    if not isinstance(value, dict) or (is_url and not isinstance(value.get("url"), str)):
        needed = '{"url": "..."}' if is_url else "{...}"
        raise PromptrunInvalidMessageError(f'is a block of type {key!r} without {{"{key}": {needed}}}')
    if is_url:
        checked_url(value["url"])
        if block.get("detail") and "detail" not in value:
            value = {**value, "detail": block["detail"]}
    return [{"type": key, key: value}]


def _file(block: Block) -> list[Part]:
    """Read OpenAI's file part, which needs a name beside its data, or LangChain's block of the same type."""
    file = block.get("file")
    if not isinstance(file, dict):
        return _media("file", block)
    if "file_data" not in file and "file_id" not in file:
        raise PromptrunInvalidMessageError("is a file block without `file_data` and without `file_id`")
    address = file.get("file_data")
    if isinstance(address, str) and not file.get("filename"):
        file = {"filename": file_name(address), **file}
    return [{"type": "file", "file": file}]


def _search_result(block: Block) -> list[Part]:
    parts = text_parts("\n".join([str(block[key]) for key in ("title", "source") if block.get(key)]))
    return parts + content_parts(block.get("content"))


def _resource(block: Block) -> list[Part]:
    resource = block.get("resource")
    if not isinstance(resource, dict):
        raise PromptrunInvalidMessageError("is a resource block without a `resource`")
    if "blob" not in resource:
        return text_parts(string(resource, "text"))
    return _media("", {"data": resource["blob"], "mimeType": resource.get("mimeType")})


def _non_standard(block: Block) -> list[Part]:
    if not isinstance(block.get("value"), dict):
        raise PromptrunInvalidMessageError("is a non_standard block whose value is not a dictionary")
    value: Block = block["value"]
    return block_parts(value) if block_type(value) in UNWRAPPED else [value]


def _generated_image(block: Block) -> list[Part]:
    if not block.get("result"):
        return []
    return _media("image", {"base64": block["result"], "mime_type": f"image/{block.get('output_format', 'png')}"})


def _guarded(block: Block) -> list[Part]:
    """Read the text that Bedrock's guardrail is to check, in the block itself, or one or two levels deeper."""
    inner = block.get("guard_content", block)
    if isinstance(inner, dict) and isinstance(inner.get("text"), dict):
        inner = inner["text"]
    return text_parts(string(inner, "text")) if isinstance(inner, dict) else []


def _media_part(kind: str, source: Block, *, name: str | None, detail: str) -> Part:
    """Make a part of `MEDIA_PARTS` of base64, bytes, a URL or an id; the mime type tells a kind that is empty."""
    mime_type = string(source, "mime_type", "mimeType", "media_type")
    kind = kind or next((known for known in _ARTICLES if mime_type.startswith(f"{known}/")), "file")
    raw = next((source[key] for key in _DATA_KEYS if isinstance(source.get(key), bytes)), None)
    # The id of a v0 block, and of LangChain's reading of Anthropic's, is the file's.
    file_id = string(source, "file_id", "id")
    if data := raw or string(source, *_DATA_KEYS):
        address = _data_url(kind, data, mime_type)
    elif url := string(source, "url", "file_uri", "file_url"):
        address = checked_url(url)
    elif file_id and kind == "file":
        return {"type": "file", "file": {"file_id": file_id}}
    else:
        problem = "cannot be sent by file id: send base64 or a URL" if file_id else "has no data and no URL"
        raise PromptrunInvalidMessageError(f"is {_ARTICLES[kind]} that {problem}")
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": address} | ({"detail": detail} if detail else {})}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": address}}
    if kind == "file":
        return {"type": "file", "file": {"filename": name or file_name(address), "file_data": address}}
    mime_type, is_data, base64_text = _split(address)
    if not is_data:
        raise PromptrunInvalidMessageError("is audio by URL, for which the wire has no part: send it as base64")
    return {"type": "input_audio", "input_audio": {"data": base64_text, "format": _extension(mime_type)}}


def string(block: Block, *keys: str) -> str:
    """Return the first text that a block has under one of the keys; an empty one where it has none."""
    for key in keys:
        if (value := block.get(key)) is not None and not isinstance(value, str):
            raise PromptrunInvalidMessageError(f"is of type {type(value).__name__}, not a string", path=f".{key}")
        if value:
            return value
    return ""


def without_media(parts: list[Part]) -> tuple[list[Part], list[Part]]:
    """Part a content into what any message may say, and the media that only a user message may hold."""
    media = [part for part in parts if part.get("type") in MEDIA_PARTS]
    said = [part for part in parts if part not in media] if media else parts
    return said, media


def file_name(address: str) -> str:
    """Name a file without a name: by its URL's path, else "file" with its mime type's extension."""
    mime_type, is_data, _ = _split(address)
    if not is_data:
        last = address.partition("?")[0].partition("#")[0].rpartition("/")[2]
        return last if "." in last else "file"
    extension = _extension(mime_type)
    return f"file.{extension}" if extension.isalnum() else "file"


def _extension(mime_type: str) -> str:
    subtype = mime_type.partition("/")[2]
    return _EXTENSIONS.get(mime_type) or _EXTENSIONS.get(subtype, subtype.removeprefix("x-"))


def checked_url(url: str) -> str:
    """Return a URL; a path of a file on this machine is refused, since the server cannot read it."""
    if not re.match("[A-Za-z][A-Za-z0-9+.-]+:", url):  # two letters at least, for C: begins a path
        raise PromptrunInvalidMessageError(f"has the path {url!r} for a URL: send the file's content as base64 instead")
    return url


def _split(address: str) -> tuple[str, bool, str]:
    """Split a data URL into its bare mime type, as of `audio/L16; rate=24000`, True and its base64."""
    mime_type, found, data = address.removeprefix("data:").partition(";base64,")
    return _bare(mime_type), bool(found), data


def _bare(mime_type: str) -> str:
    return mime_type.partition(";")[0].strip().lower()


def _data_url(kind: str, data: str | bytes, mime_type: str) -> str:
    if isinstance(data, bytes):
        data = base64.b64encode(data).decode()
    elif data.startswith("data:"):
        return data
    if not mime_type:
        signatures = _SIGNATURES | {"UklGR": _RIFF_TYPES.get(kind)}
        guesses = (known for start, known in signatures.items() if data.startswith(start))
        mime_type = next(guesses, None) or _DEFAULT_TYPES.get(kind, "")
    if not mime_type:
        raise PromptrunInvalidMessageError(f"is {_ARTICLES[kind]} in base64 without a mime_type")
    return f"data:{mime_type if kind == 'file' else _bare(mime_type)};base64,{data}"


_ADDRESSES = ("base64", "url", "file_id", "source_type", "source")
_FILE_KEYS = (*_ADDRESSES, "file", "file_uri", "file_data", "file_url", "mime_type", "mimeType")
BLOCK_TYPES: dict[str, tuple[Callable[[Block], list[Part]], tuple[str, ...]]] = {
    **dict.fromkeys(
        ("text", "input_text", "output_text"), (lambda block: text_parts(string(block, "text")), ("text",))
    ),
    "text-plain": (_plain_text, (*_ADDRESSES, "text")),
    "refusal": (lambda block: text_parts(string(block, "refusal")), ("refusal",)),
    **{kind: (partial(_media, kind), ()) for kind in ("image", "audio", "video")},
    "file": (_file, _FILE_KEYS),
    "input_file": (partial(_media, "file"), _FILE_KEYS),
    "document": (partial(_media, "file"), ("source", "base64")),
    **dict.fromkeys(("media", "file_data"), (partial(_media, ""), _FILE_KEYS)),
    **{kind: (partial(_wire_part, kind), ()) for kind in ("image_url", "input_audio", "video_url", "input_video")},
    "input_image": (partial(_wire_part, "image_url"), ()),
    "search_result": (_search_result, ("content",)),
    "json": (lambda block: json_parts(block.get("json")), ("json",)),
    "resource": (_resource, ()),
    "resource_link": (json_parts, ()),
    "custom_tool_call_output": (lambda block: content_parts(block.get("output")), ("output",)),
    "guard_content": (_guarded, ("guard_content", "text")),
    "image_generation_call": (_generated_image, ("result",)),
    "non_standard": (_non_standard, ()),
}
"""Every block type that can be sent: its converter, and keys of which one tells a block from a tool's data."""

CALL_TYPES = frozenset(
    {"tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use", "function_call", "custom_tool_call"}
)
"""Blocks that are tool calls; the same calls mostly stand in a message's `tool_calls`."""

# Blocks of reasoning, with the keys of which each has one.
_REASONING = {
    "reasoning": ("reasoning", "summary", "encrypted_content", "extras"),
    "reasoning_content": ("reasoning_content",),
    "redacted_thinking": ("data",),
    "thinking": ("thinking",),
}
# Blocks that only the provider that wrote them can read back.
_PROVIDERS_OWN = _REASONING.keys() | {
    *("additional_tools", "code_execution_result", "compaction", "container_upload", "executable_code"),
    *("function_call_signature", "input_json_delta", "mcp_approval_request", "mcp_list_tools", "reference"),
    *("server_tool_call", "server_tool_call_chunk", "server_tool_result"),
}
_PROVIDERS_OWN_ENDINGS = ("_tool_use", "_tool_result", "_call", "_call_output", "_search_output")
