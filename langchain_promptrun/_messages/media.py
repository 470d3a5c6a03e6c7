"""Make the wire parts of images, audio, videos and files.

The parts `image_url`, `input_audio` and `file` are those of OpenAI's Chat Completions reference; `video_url`, and an
address in a file's `file_data`, are those of OpenRouter's API reference.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from langchain_promptrun.errors import PromptrunInvalidMessageError

Block = dict[str, Any]
"""A content block as it stands in a LangChain message."""

Part = dict[str, Any]
"""One part of a wire message's content."""

MEDIA_PARTS = frozenset({"image_url", "input_audio", "video_url", "input_video", "file"})
"""Types of the parts that OpenAI's format admits in user messages only."""

MEDIA_BLOCKS = MEDIA_PARTS | {
    *("audio", "document", "file_data", "image", "input_file", "input_image", "media", "video"),
}
"""Types of the content blocks that are, or become, such parts."""

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
_RIFF = "UklGR"
_RIFF_TYPES = {"image": "image/webp", "audio": "audio/wav", "video": "video/x-msvideo"}
# What most gateways take a video or an unknown file for.
_DEFAULT_TYPES = {"video": "video/mp4", "file": "application/octet-stream"}
_AUDIO_FORMATS = {
    **dict.fromkeys(("audio/mpeg", "audio/mpga"), "mp3"),
    **dict.fromkeys(("audio/wave", "audio/vnd.wave"), "wav"),
    **dict.fromkeys(("audio/l16", "audio/pcm"), "pcm16"),
    "audio/mp4": "m4a",
}
_OFFICE = "application/vnd.openxmlformats-officedocument."
_EXTENSIONS = {
    "application/msword": "doc",
    "application/octet-stream": "bin",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    f"{_OFFICE}presentationml.presentation": "pptx",
    f"{_OFFICE}spreadsheetml.sheet": "xlsx",
    f"{_OFFICE}wordprocessingml.document": "docx",
    "image/jpeg": "jpg",
    "image/svg+xml": "svg",
    "text/markdown": "md",
    "text/plain": "txt",
    **{f"application/{extension}": extension for extension in ("json", "pdf", "rtf", "xml", "zip")},
    **{f"text/{extension}": extension for extension in ("csv", "html")},
}
# Bedrock's Converse API names formats.
_FORMATS = {extension: mime for mime, extension in _EXTENSIONS.items()} | {
    **{extension: f"image/{extension}" for extension in ("jpeg", "png", "gif", "webp")},
    **{extension: f"video/{extension}" for extension in ("mp4", "webm")},
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two letters at least, for C: begins a path
_DATA_KEYS = ("base64", "data", "bytes", "file_data")
_ARTICLES = {"image": "an image", "audio": "audio", "video": "a video", "file": "a file"}


def media_part(kind: str, source: Block, *, name: str | None, detail: str) -> Part:
    """Make a part of one of the types in `MEDIA_PARTS`; the mime type tells a kind that is empty.

    A source has base64 text or raw bytes, a URL or a file's id, and perhaps a mime type, under any dialect's keys.
    """
    mime_type = string(source, "mime_type", "mimeType", "media_type") or _FORMATS.get(str(source.get("format")))
    kind = kind or _kind_of_mime(mime_type)
    raw = next((source[key] for key in _DATA_KEYS if isinstance(source.get(key), bytes)), None)
    data = raw or string(source, *_DATA_KEYS)
    url = string(source, "url", "file_uri", "file_url")
    # The id of a v0 block, and of LangChain's reading of Anthropic's, is the file's.
    file_id = string(source, "file_id", "id")
    if data:
        address = _data_url(kind, data, mime_type)
    elif url:
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
    return _audio_part(address)


def _kind_of_mime(mime_type: str | None) -> str:
    kind = (mime_type or "").partition("/")[0]
    return kind if kind in _ARTICLES else "file"


def _audio_part(address: str) -> Part:
    mime_type, is_data, base64_text = _split(address)
    if not is_data:
        raise PromptrunInvalidMessageError("is audio by URL, for which the wire has no part: send it as base64")
    audio_format = _AUDIO_FORMATS.get(mime_type) or mime_type.partition("/")[2].removeprefix("x-")
    return {"type": "input_audio", "input_audio": {"data": base64_text, "format": audio_format}}


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
    said = [part for part in parts if part.get("type") not in MEDIA_PARTS]
    return said, [part for part in parts if part.get("type") in MEDIA_PARTS]


def file_name(address: str) -> str:
    """Name a file without a name: by its URL's path, else "file" with its mime type's extension."""
    mime_type, is_data, _ = _split(address)
    if not is_data:
        last = address.partition("?")[0].partition("#")[0].rpartition("/")[2]
        return last if "." in last else "file"
    extension = _EXTENSIONS.get(mime_type) or mime_type.partition("/")[2]
    return f"file.{extension}" if extension.isalnum() else "file"


def checked_url(url: str) -> str:
    """Return a URL; a path of a file on this machine is refused, since the server cannot read it."""
    if not _SCHEME.match(url):
        raise PromptrunInvalidMessageError(f"has the path {url!r} for a URL: send the file's content as base64 instead")
    return url


def _split(address: str) -> tuple[str, bool, str]:
    """Split a data URL into its bare mime type, as of `audio/L16; rate=24000`, True and its base64."""
    mime_type, found, data = address.removeprefix("data:").partition(";base64,")
    return _bare(mime_type), bool(found), data


def _bare(mime_type: str) -> str:
    return mime_type.partition(";")[0].strip().lower()


def _data_url(kind: str, data: str | bytes, mime_type: str | None) -> str:
    if isinstance(data, bytes):
        data = base64.b64encode(data).decode()
    elif data.startswith("data:"):
        return data
    if not mime_type and data.startswith(_RIFF):
        mime_type = _RIFF_TYPES.get(kind)
    if not mime_type:
        guesses = (known for start, known in _SIGNATURES.items() if data.startswith(start))
        mime_type = next(guesses, _DEFAULT_TYPES.get(kind))
    if not mime_type:
        raise PromptrunInvalidMessageError(f"is {_ARTICLES[kind]} in base64 without a mime_type")
    return f"data:{mime_type if kind == 'file' else _bare(mime_type)};base64,{data}"
