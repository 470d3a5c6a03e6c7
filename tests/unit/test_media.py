"""_media: mime types, formats, file names, and what has no wire part."""

import base64

import pytest

from langchain_promptrun._messages.media import Media, file_name, kind_of_mime, media_part, mime_type_of
from langchain_promptrun.errors import PromptrunInvalidMessageError

DATA = "AAAA"


@pytest.mark.parametrize(
    ("mime_type", "wire_format"),
    [
        ("audio/wav", "wav"),
        ("audio/x-wav", "wav"),
        ("audio/wave", "wav"),
        ("audio/vnd.wave", "wav"),
        ("audio/mpeg", "mp3"),
        ("audio/mp3", "mp3"),
        ("audio/mpga", "mp3"),
        ("audio/pcm", "pcm16"),
        ("AUDIO/MPEG", "mp3"),
        ("audio/mp4", "m4a"),
        ("audio/x-m4a", "m4a"),
        ("audio/flac", "flac"),
        ("audio/x-flac", "flac"),
        ("audio/ogg; codecs=opus", "ogg"),
        ("audio/webm", "webm"),
        ("audio/L16", "pcm16"),
        ("audio/amr", "amr"),
    ],
)
def test_audio_mime_types_become_formats(mime_type, wire_format):
    part = media_part(Media("audio", data=DATA, mime_type=mime_type))
    assert part == {"type": "input_audio", "input_audio": {"data": DATA, "format": wire_format}}


def test_audio_in_a_data_url_is_audio_in_base64():
    part = media_part(Media("audio", url=f"data:audio/mpeg;base64,{DATA}"))
    assert part["input_audio"] == {"data": DATA, "format": "mp3"}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("data:application/pdf;base64,AAAA", "file.pdf"),
        ("data:text/plain;base64,AAAA", "file.txt"),
        ("data:text/markdown;base64,AAAA", "file.md"),
        ("data:image/png;base64,AAAA", "file.png"),
        ("data:application/octet-stream;base64,AAAA", "file.bin"),
        ("data:application/vnd.oasis.opendocument.text;base64,AAAA", "file"),
        ("https://a.example/docs/report.pdf?sig=x/y.z#page=2", "report.pdf"),
        ("https://a.example/download", "file"),
    ],
)
def test_a_file_without_a_name_gets_one_from_its_address(address, name):
    assert file_name(address) == name


OFFICE = "application/vnd.openxmlformats-officedocument"


@pytest.mark.parametrize(
    ("mime_type", "extension"),
    [
        ("application/json", "json"),
        ("application/msword", "doc"),
        ("application/pdf", "pdf"),
        ("application/rtf", "rtf"),
        ("application/vnd.ms-excel", "xls"),
        ("application/vnd.ms-powerpoint", "ppt"),
        (f"{OFFICE}.presentationml.presentation", "pptx"),
        (f"{OFFICE}.spreadsheetml.sheet", "xlsx"),
        (f"{OFFICE}.wordprocessingml.document", "docx"),
        ("application/xml", "xml"),
        ("application/zip", "zip"),
        ("image/jpeg", "jpg"),
        ("image/svg+xml", "svg"),
        ("text/csv", "csv"),
        ("text/html", "html"),
        ("text/markdown", "md"),
        ("text/plain", "txt"),
    ],
)
def test_documents_have_the_extension_of_their_type_and_the_type_of_their_extension(mime_type, extension):
    assert file_name(f"data:{mime_type};base64,AAAA") == f"file.{extension}"
    assert mime_type_of(extension) == mime_type


@pytest.mark.parametrize(
    ("kind", "start", "mime_type"),
    [
        ("image", b"\x89PNG\r\n\x1a\n" + bytes(8), "image/png"),
        ("image", b"\xff\xd8\xff\xe0" + bytes(8), "image/jpeg"),
        ("image", b"GIF89a" + bytes(8), "image/gif"),
        ("image", b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        ("video", b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        ("video", b"RIFF\x00\x00\x00\x00AVI ", "video/x-msvideo"),
        ("file", b"RIFF\x00\x00\x00\x00AVI ", "application/octet-stream"),
        ("file", b"%PDF-1.7" + bytes(8), "application/pdf"),
        ("file", b"anything", "application/octet-stream"),
    ],
)
def test_a_missing_mime_type_is_told_by_the_first_bytes(kind, start, mime_type):
    part = media_part(Media(kind, data=base64.b64encode(start).decode()))
    inner = part[part["type"]]
    assert (inner.get("url") or inner.get("file_data")).startswith(f"data:{mime_type};base64,")


@pytest.mark.parametrize(
    ("start", "wire_format"),
    [
        (b"RIFF\x00\x00\x00\x00WAVE", "wav"),
        (b"ID3\x04\x00\x00", "mp3"),
        (b"OggS\x00\x02", "ogg"),
        (b"fLaC\x00\x00", "flac"),
    ],
)
def test_audio_without_a_mime_type_is_told_by_its_first_bytes(start, wire_format):
    part = media_part(Media("audio", data=base64.b64encode(start).decode()))
    assert part["input_audio"]["format"] == wire_format


def test_raw_bytes_are_sent_as_base64():
    part = media_part(Media("image", data=b"abc", mime_type="image/png"))
    assert part["image_url"]["url"] == "data:image/png;base64,YWJj"


def test_data_that_is_already_a_data_url_is_not_wrapped_twice():
    url = "data:image/png;base64,AAAA"
    assert media_part(Media("image", data=url, mime_type="image/jpeg"))["image_url"]["url"] == url


def test_data_and_url_go_before_an_id():
    for media in (Media("file", data=DATA, file_id="f"), Media("file", url="https://a.example/a.pdf", file_id="f")):
        assert "file_id" not in media_part(media)["file"]


def test_a_stored_file_is_named_by_its_id():
    assert media_part(Media("file", file_id="file-1")) == {"type": "file", "file": {"file_id": "file-1"}}


@pytest.mark.parametrize(
    ("media", "problem"),
    [
        (Media("audio", url="https://a.example/a.wav"), "is audio by URL, for which the wire has no part"),
        (Media("audio", file_id="f"), "is audio that cannot be sent by file id"),
        (Media("image", file_id="f"), "is an image that cannot be sent by file id"),
        (Media("video", file_id="f"), "is a video that cannot be sent by file id"),
        (Media("image"), "is an image that has no data and no URL"),
        (Media("file"), "is a file that has no data and no URL"),
        (Media("image", data=DATA), "is an image in base64 without a mime_type"),
        (Media("audio", data=DATA), "is audio in base64 without a mime_type"),
    ],
)
def test_what_has_no_wire_part_is_an_error_that_says_why(media, problem):
    with pytest.raises(PromptrunInvalidMessageError) as caught:
        media_part(media)
    assert caught.value.args[0].startswith(problem)


def test_mime_types_tell_the_kind_of_media():
    mimes = ["image/png", "audio/wav", "video/mp4", "application/pdf", "text/plain", ""]
    assert [kind_of_mime(mime) for mime in mimes] == ["image", "audio", "video", "file", "file", "file"]


def test_formats_of_the_converse_api_have_mime_types():
    formats = ["png", "jpeg", "gif", "webp", "mp4", "mov", "mkv", "webm", "mp3", "wav", "odd"]
    assert [mime_type_of(name) for name in formats] == [
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "video/mp4",
        "video/quicktime",
        "video/x-matroska",
        "video/webm",
        "audio/mpeg",
        "audio/wav",
        None,
    ]
