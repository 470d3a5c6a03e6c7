"""Describe images, audio, videos and files in one form, and make their wire parts.

The parts `image_url`, `input_audio` and `file` are those of OpenAI's Chat Completions reference; `video_url`, and an
address in a file's `file_data`, are those of OpenRouter's API reference.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable

Part = dict[str, Any]
"""One part of a wire message's content."""

MEDIA_PARTS = frozenset({"image_url", "input_audio", "video_url", "input_video", "file"})
"""Types of the parts that OpenAI's format admits in user messages only."""

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
# Bedrock's Converse API names formats, not mime types.
_FORMATS = {extension: mime for mime, extension in _EXTENSIONS.items()} | {
    **{extension: f"image/{extension}" for extension in ("jpeg", "png", "gif", "webp")},
    **{extension: f"video/{extension}" for extension in ("mp4", "webm")},
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
}


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two letters at least, for C: begins a path


class Media(NamedTuple):
    """An image, audio, a video or a file, in whatever dialect it was described; base64 text or raw bytes."""

    kind: str
    data: str | bytes | None = None
    url: str | None = None
    file_id: str | None = None
    mime_type: str | None = None
    name: str | None = None
    detail: str | None = None


def media_part(media: Media) -> Part:
    """Make a part of one of the types in `MEDIA_PARTS`."""
    return _PARTS[media.kind](media)


def mime_type_of(extension: str) -> str | None:
    """Return the mime type of a file name's extension, without its dot; None for an unknown one."""
    return _FORMATS.get(extension)


def kind_of_mime(mime_type: str) -> str:
    """Return the kind of media that a mime type stands for: "image", "audio", "video" or else "file"."""
    kind = mime_type.partition("/")[0]
    return kind if kind in _PARTS else "file"


def _image(media: Media) -> Part:
    image: Part = {"url": _address(media)}
    if media.detail:
        image["detail"] = media.detail
    return {"type": "image_url", "image_url": image}


def _audio(media: Media) -> Part:
    mime_type, _, data = _address(media).removeprefix("data:").partition(";base64,")
    if not data:
        raise PromptrunInvalidMessageError("is audio by URL, for which the wire has no part: send it as base64")
    mime_type = _without_parameters(mime_type)
    audio_format = _AUDIO_FORMATS.get(mime_type) or mime_type.partition("/")[2].removeprefix("x-")
    return {"type": "input_audio", "input_audio": {"data": data, "format": audio_format}}


def _video(media: Media) -> Part:
    return {"type": "video_url", "video_url": {"url": _address(media)}}


def _file(media: Media) -> Part:
    if media.file_id and not media.data and not media.url:
        return {"type": "file", "file": {"file_id": media.file_id}}
    address = _address(media)
    return {"type": "file", "file": {"filename": media.name or file_name(address), "file_data": address}}


def file_name(address: str) -> str:
    """Name a file without a name: by its URL's path, else "file" with its mime type's extension."""
    mime_type, found, _ = address.removeprefix("data:").partition(";base64,")
    if not found:
        last = address.partition("?")[0].partition("#")[0].rpartition("/")[2]
        return last if "." in last else "file"
    mime_type = _without_parameters(mime_type)
    extension = _EXTENSIONS.get(mime_type) or mime_type.partition("/")[2]
    return f"file.{extension}" if extension.isalnum() else "file"


def _address(media: Media) -> str:
    if media.data:
        data = media.data if isinstance(media.data, str) else base64.b64encode(media.data).decode()
        if data.startswith("data:"):
            return data
        mime_type = media.mime_type or _guess(media.kind, data)
        return f"data:{mime_type if media.kind == 'file' else _without_parameters(mime_type)};base64,{data}"
    if media.url:
        return checked_url(media.url)
    problem = "cannot be sent by file id: send base64 or a URL" if media.file_id else "has no data and no URL"
    raise PromptrunInvalidMessageError(f"is {_ARTICLES[media.kind]} that {problem}")


def checked_url(url: str) -> str:
    """Return a URL; a path of a file on this machine is refused, since the server cannot read it."""
    if not _SCHEME.match(url):
        raise PromptrunInvalidMessageError(f"has the path {url!r} for a URL: send the file's content as base64 instead")
    return url


def _without_parameters(mime_type: str) -> str:
    """Return the bare type of `audio/L16; rate=24000`."""
    return mime_type.partition(";")[0].strip().lower()


def _guess(kind: str, data: str) -> str:
    if data.startswith(_RIFF) and kind in _RIFF_TYPES:
        return _RIFF_TYPES[kind]
    for start, mime_type in _SIGNATURES.items():
        if data.startswith(start):
            return mime_type
    if kind in _DEFAULT_TYPES:
        return _DEFAULT_TYPES[kind]
    raise PromptrunInvalidMessageError(f"is {_ARTICLES[kind]} in base64 without a mime_type")


_ARTICLES = {"image": "an image", "audio": "audio", "video": "a video", "file": "a file"}
_PARTS: dict[str, Callable[[Media], Part]] = {"image": _image, "audio": _audio, "video": _video, "file": _file}
