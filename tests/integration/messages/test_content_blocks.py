"""Each content block of each dialect becomes the right part of a message."""

import base64

import pytest
from langchain_core.messages import content as v1

from langchain_promptrun import PromptrunInvalidMessageError

from .sending import parts_of as parts
from .sending import text

PNG = "iVBORw0KGgoAAAANSUhEUg=="
PDF = "JVBERi0xLjcK"
PNG_URL = f"data:image/png;base64,{PNG}"
PDF_URL = f"data:application/pdf;base64,{PDF}"
IMAGE = {"type": "image_url", "image_url": {"url": PNG_URL}}
LINKED_IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example/i.png"}}
FILE = {"type": "file", "file": {"filename": "file.pdf", "file_data": PDF_URL}}
NAMED_FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF_URL}}
STORED_FILE = {"type": "file", "file": {"file_id": "file-1"}}
LINKED_FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://a.example/a.pdf"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
VIDEO = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}
LINKED_VIDEO = {"type": "video_url", "video_url": {"url": "https://a.example/v.mp4"}}
CONVERSE_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
CACHE = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


LANGCHAIN_V1 = {
    "text": (v1.create_text_block("hi", annotations=[v1.create_citation(url="u")], index=0), text("hi")),
    "text with extras": ({**text("hi"), "extras": {"signature": "s"}, "id": "lc_1"}, text("hi")),
    "plain text": (v1.create_plaintext_block("body"), text("body")),
    "plain text, titled": (v1.create_plaintext_block("body", title="T", context="C"), text("T\nC\nbody")),
    "plain text, empty but titled": (v1.create_plaintext_block("", title="T"), text("T")),
    "plain text by base64": (
        {"type": "text-plain", "base64": "AAAA"},
        {"type": "file", "file": {"filename": "file.txt", "file_data": "data:text/plain;base64,AAAA"}},
    ),
    "plain text by URL": (
        {"type": "text-plain", "url": "https://a.example/a.txt", "mime_type": "text/plain"},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "https://a.example/a.txt"}},
    ),
    "image by base64": (v1.create_image_block(base64=PNG, mime_type="image/png"), IMAGE),
    "image by URL": (v1.create_image_block(url="https://a.example/i.png"), LINKED_IMAGE),
    "image without mime type": ({"type": "image", "base64": PNG}, IMAGE),
    "image with an id of its block": (v1.create_image_block(base64=PNG, id="lc_1"), IMAGE),
    "image with detail": (
        v1.create_image_block(url="https://a.example/i.png", detail="low"),
        {"type": "image_url", "image_url": {"url": "https://a.example/i.png", "detail": "low"}},
    ),
    "audio": (v1.create_audio_block(base64="AAAA", mime_type="audio/wav"), AUDIO),
    "video by base64": (v1.create_video_block(base64="AAAA", mime_type="video/mp4"), VIDEO),
    "video by URL": (v1.create_video_block(url="https://a.example/v.mp4"), LINKED_VIDEO),
    "file by base64": (v1.create_file_block(base64=PDF, mime_type="application/pdf"), FILE),
    "file with a name in extras": (
        v1.create_file_block(base64=PDF, mime_type="application/pdf", filename="a.pdf"),
        NAMED_FILE,
    ),
    "file by URL": (v1.create_file_block(url="https://a.example/a.pdf"), LINKED_FILE),
    "file by id": (v1.create_file_block(file_id="file-1"), STORED_FILE),
    "non-standard": (v1.create_non_standard_block({"type": "odd", "x": [1]}), {"type": "odd", "x": [1]}),
}
LANGCHAIN_V0 = {
    "text": ({"type": "text", "source_type": "text", "text": "hi"}, text("hi")),
    "text file": ({"type": "file", "source_type": "text", "text": "hi", "mime_type": "text/plain"}, text("hi")),
    "text file under url": ({"type": "file", "source_type": "text", "url": "hi"}, text("hi")),
    "image by base64": ({"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"}, IMAGE),
    "image by URL": ({"type": "image", "source_type": "url", "url": "https://a.example/i.png"}, LINKED_IMAGE),
    "audio": ({"type": "audio", "source_type": "base64", "data": "AAAA", "mime_type": "audio/wav"}, AUDIO),
    "file": ({"type": "file", "source_type": "base64", "data": PDF, "mime_type": "application/pdf"}, FILE),
    "file with a name": (
        {"type": "file", "source_type": "base64", "data": PDF, "filename": "a.pdf", "mime_type": "application/pdf"},
        NAMED_FILE,
    ),
    "file with a name in metadata": (
        {"type": "file", "source_type": "base64", "data": PDF, "metadata": {"filename": "a.pdf"}},
        NAMED_FILE,
    ),
    "file by id": ({"type": "file", "source_type": "id", "id": "file-1"}, STORED_FILE),
}
OPENAI = {
    "text": (text("hi"), text("hi")),
    "image": (IMAGE, IMAGE),
    "image as bare URL": ({"type": "image_url", "image_url": "https://a.example/i.png"}, LINKED_IMAGE),
    "image with inner detail": (
        {"type": "image_url", "image_url": {"url": "https://u", "detail": "high"}, "detail": "low"},
        {"type": "image_url", "image_url": {"url": "https://u", "detail": "high"}},
    ),
    "image with outer detail": (
        {"type": "image_url", "image_url": "https://u", "detail": "low"},
        {"type": "image_url", "image_url": {"url": "https://u", "detail": "low"}},
    ),
    "audio": (AUDIO, AUDIO),
    "file": (NAMED_FILE, NAMED_FILE),
    "file without a name": ({"type": "file", "file": {"file_data": PDF_URL}}, FILE),
    "file by id": (STORED_FILE, STORED_FILE),
    "video": (VIDEO, VIDEO),
    "video as bare URL": ({"type": "video_url", "video_url": "https://a.example/v.mp4"}, LINKED_VIDEO),
    "Responses text": ({"type": "input_text", "text": "hi"}, text("hi")),
    "Responses image": ({"type": "input_image", "image_url": PNG_URL}, IMAGE),
    "Responses file": ({"type": "input_file", "filename": "a.pdf", "file_data": PDF_URL}, NAMED_FILE),
    "Responses file by URL": ({"type": "input_file", "file_url": "https://a.example/a.pdf"}, LINKED_FILE),
    "Responses file by id": ({"type": "input_file", "file_id": "file-1"}, STORED_FILE),
    "custom tool's text": ({"type": "custom_tool_call_output", "output": "done"}, text("done")),
    "custom tool's blocks": ({"type": "custom_tool_call_output", "output": [text("done")]}, text("done")),
}
ANTHROPIC = {
    "image by base64": ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}, IMAGE),
    "image by URL": ({"type": "image", "source": {"type": "url", "url": "https://a.example/i.png"}}, LINKED_IMAGE),
    "document by base64": (
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        FILE,
    ),
    "document with title": (
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
        NAMED_FILE,
    ),
    "document by URL": ({"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}}, LINKED_FILE),
    "document by id": ({"type": "document", "source": {"type": "file", "file_id": "file-1"}}, STORED_FILE),
    "document as text": (
        {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "body"}},
        text("T\nbody"),
    ),
    "document as a content string": (
        {"type": "document", "source": {"type": "content", "content": "body"}},
        text("body"),
    ),
    "document of blocks": ({"type": "document", "source": {"type": "content", "content": [text("one")]}}, text("one")),
}
GEMINI_BEDROCK_AND_MCP = {
    "media image": ({"type": "media", "mime_type": "image/png", "data": PNG}, IMAGE),
    "media video by URI": (
        {"type": "media", "mime_type": "video/mp4", "file_uri": "https://a.example/v.mp4"},
        LINKED_VIDEO,
    ),
    "media audio": ({"type": "media", "mime_type": "audio/wav", "data": "AAAA"}, AUDIO),
    "media document": ({"type": "media", "mime_type": "application/pdf", "data": PDF}, FILE),
    "file data": ({"type": "file_data", "file_uri": "https://a.example/a.pdf"}, LINKED_FILE),
    "converse text": ({"text": "hi"}, text("hi")),
    "converse image": ({"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n\x1a\n"}}}, CONVERSE_IMAGE),
    "converse document": ({"document": {"format": "pdf", "name": "a.pdf", "source": {"bytes": PDF}}}, NAMED_FILE),
    "converse text document": ({"document": {"format": "txt", "source": {"text": "body"}}}, text("body")),
    "converse document of blocks": ({"document": {"source": {"content": [{"text": "body"}]}}}, text("body")),
    "converse video": ({"video": {"format": "mp4", "source": {"bytes": "AAAA"}}}, VIDEO),
    "converse JSON": ({"json": {"a": 1}}, text('{"a":1}')),
    "typed JSON": ({"type": "json", "json": [1, None]}, text("[1,null]")),
    "MCP image": ({"type": "image", "data": PNG, "mimeType": "image/png"}, IMAGE),
    "MCP text resource": ({"type": "resource", "resource": {"uri": "demo://a", "text": "body"}}, text("body")),
    "MCP binary resource": (
        {"type": "resource", "resource": {"uri": "demo://a", "blob": PDF, "mimeType": "application/pdf"}},
        FILE,
    ),
    "MCP audio": ({"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}, AUDIO),
}


ALL_TABLES = {
    f"{dialect}, {name}": row
    for dialect, table in {
        "v1": LANGCHAIN_V1,
        "v0": LANGCHAIN_V0,
        "OpenAI": OPENAI,
        "Anthropic": ANTHROPIC,
        "other": GEMINI_BEDROCK_AND_MCP,
    }.items()
    for name, row in table.items()
}
each_block = pytest.mark.parametrize(("block", "part"), ALL_TABLES.values(), ids=ALL_TABLES)


@each_block
def test_content_block_becomes_its_wire_part(block, part):
    assert parts(block) == [part]


@each_block
def test_content_block_keeps_its_cache_marker(block, part):
    assert parts({**block, **CACHE}) == [{**part, **CACHE}]


def test_search_result_block_becomes_title_source_and_texts():
    block = {
        "type": "search_result",
        "title": "T",
        "source": "https://a.example",
        "content": [text("one"), text("two")],
    }
    assert parts(block) == [text("T\nhttps://a.example"), text("one"), text("two")]
    assert parts({"type": "search_result"}) == []


def test_empty_text_block_is_left_out():
    empty = ["", text(""), {"type": "text"}, {"type": "text", "text": None}, {"type": "input_text", "text": ""}]
    assert parts(*empty, "a", text(" ")) == [text("a"), text(" ")]


@pytest.mark.parametrize("key", ["cache_control", "prompt_cache_breakpoint"])
def test_cache_marker_in_extras_is_found(key):
    marker = {"type": "ephemeral"}
    assert parts({**text("hi"), "extras": {key: marker, "signature": "s"}}) == [{**text("hi"), key: marker}]


def test_cache_marker_of_an_empty_text_moves_to_the_part_before_it():
    assert parts("a", {**text(""), **CACHE}) == [{**text("a"), **CACHE}]
    assert parts({**text(""), **CACHE}) == []


def test_cache_point_of_bedrock_marks_the_part_before_it():
    for ttl in ({}, {"ttl": "1h"}):
        marked = {**text("a"), "cache_control": {"type": "ephemeral", **ttl}}
        assert parts(text("a"), {"cachePoint": {"type": "default", **ttl}}) == [marked]


def test_cache_marker_leaves_the_callers_own_part_alone():
    own = {"type": "odd"}
    assert parts({"type": "non_standard", "value": own, **CACHE}) == [{**own, **CACHE}]
    assert own == {"type": "odd"}


UNSENDABLE = {
    "unknown type": ({"type": "hologram"}, ".content[1] is a content block of type 'hologram'"),
    "type of another kind": ({"type": ["x"]}, ".content[1] is a content block of type \"['x']\""),
    "no type": ({"a": 1, "b": 2}, ".content[1] is a content block without a type, with keys ['a', 'b']"),
    "text beside other keys": ({"text": "a", "score": 1}, ".content[1] is a content block without a type"),
    "text that is none": ({"type": "text", "text": 5}, ".content[1].text is of type int, not a string"),
    "document text that is none": ({"type": "text-plain", "text": 5}, ".content[1].text is of type int, not a string"),
    "title that is none": ({"type": "text-plain", "text": "a", "title": 5}, ".content[1].title is of type int"),
    "image without a source": ({"type": "image"}, ".content[1] is an image that has no data and no URL"),
    "image by id": ({"type": "image", "file_id": "f"}, ".content[1] is an image that cannot be sent by file id"),
    "v0 image by id": (
        {"type": "image", "source_type": "id", "id": "f"},
        ".content[1] is an image that cannot be sent by file id",
    ),
    "Responses image by id": ({"type": "input_image", "file_id": "f"}, ".content[1] is an image that cannot be sent"),
    "image at no string": ({"type": "image", "url": 5}, ".content[1].url is of type int, not a string"),
    "image_url without url": (
        {"type": "image_url", "image_url": {}},
        ".content[1] is a block of type 'image_url' without",
    ),
    "image_url of nothing": ({"type": "image_url"}, ".content[1] is a block of type 'image_url' without"),
    "input_audio of nothing": ({"type": "input_audio"}, ".content[1] is a block of type 'input_audio' without"),
    "audio by URL": ({"type": "audio", "url": "https://a.example/a.wav"}, ".content[1] is audio by URL"),
    "file of nothing": ({"type": "file"}, ".content[1] is a file that has no data and no URL"),
    "document elsewhere": ({"document": {"source": {"s3Location": {}}}}, ".content[1] is a file that has no data"),
    "block in a document": (
        {"type": "document", "source": {"type": "content", "content": [{"type": "odd"}]}},
        ".content[1].content[0] is a content block of type 'odd'",
    ),
    "block of another kind": (5, ".content[1] is of type int, not a content block"),
    "content of another kind": ({"type": "search_result", "content": 5}, ".content[1].content is of type int, not a"),
    "non-standard value": ({"type": "non_standard", "value": 1}, ".content[1] is a non_standard block whose value"),
    "audio by id": ({"type": "audio", "file_id": "f"}, ".content[1] is audio that cannot be sent by file id"),
    "video by id": ({"type": "video", "file_id": "f"}, ".content[1] is a video that cannot be sent by file id"),
    "image of no type": ({"type": "image", "base64": "AAAA"}, ".content[1] is an image in base64 without a mime_type"),
    "audio of no type": ({"type": "audio", "base64": "AAAA"}, ".content[1] is audio in base64 without a mime_type"),
    "file of no data": ({"type": "file", "file": {"path": "a"}}, ".content[1] is a file block without `file_data`"),
    "resource of nothing": ({"type": "resource"}, ".content[1] is a resource block without a `resource`"),
    "NaN in JSON": ({"type": "json", "json": {"a": float("nan")}}, ".content[1].a is NaN"),
}


@pytest.mark.parametrize(("block", "problem"), UNSENDABLE.values(), ids=UNSENDABLE)
def test_unsendable_block_raises_an_error_that_names_its_place(block, problem):
    with pytest.raises(PromptrunInvalidMessageError) as caught:
        parts("before", block)
    assert str(caught.value).startswith(f"messages[0]{problem}")


def test_unknown_block_type_error_tells_what_is_accepted_and_the_way_out():
    with pytest.raises(
        PromptrunInvalidMessageError, match=r"accepted types: audio, .*text-plain, .*\"non_standard\", \"value\""
    ):
        parts({"type": "hologram"})


# Formats, mime types and file names


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
        ("audio/L16;codec=pcm;rate=24000", "pcm16"),
        ("audio/amr", "amr"),
    ],
)
def test_audio_block_has_the_format_of_its_mime_type(mime_type, wire_format):
    part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": wire_format}}
    assert parts({"type": "audio", "base64": "AAAA", "mime_type": mime_type}) == [part]
    assert parts({"type": "audio", "url": f"data:{mime_type};base64,AAAA"}) == [part]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("data:application/pdf;base64,AAAA", "file.pdf"),
        ("data:text/plain;base64,AAAA", "file.txt"),
        ("data:text/markdown;base64,AAAA", "file.md"),
        ("data:image/png;base64,AAAA", "file.png"),
        ("data:text/csv;charset=utf-8;base64,AAAA", "file.csv"),
        ("data:application/octet-stream;base64,AAAA", "file.bin"),
        ("data:application/vnd.oasis.opendocument.text;base64,AAAA", "file"),
        ("https://a.example/docs/report.pdf?sig=x/y.z#page=2", "report.pdf"),
        ("https://a.example/download", "file"),
    ],
)
def test_file_block_without_a_name_is_named_by_its_address(address, name):
    assert parts({"type": "file", "url": address})[0]["file"] == {"filename": name, "file_data": address}


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
def test_document_block_has_the_extension_of_its_type_and_the_type_of_its_format(mime_type, extension):
    file = parts({"type": "file", "base64": "AAAA", "mime_type": mime_type})[0]["file"]
    assert file == {"filename": f"file.{extension}", "file_data": f"data:{mime_type};base64,AAAA"}
    assert parts({"document": {"format": extension, "source": {"bytes": "AAAA"}}})[0]["file"] == file


@pytest.mark.parametrize(
    ("kind", "extension", "mime_type"),
    [
        ("image", "png", "image/png"),
        ("image", "jpeg", "image/jpeg"),
        ("image", "gif", "image/gif"),
        ("image", "webp", "image/webp"),
        ("video", "mp4", "video/mp4"),
        ("video", "mov", "video/quicktime"),
        ("video", "mkv", "video/x-matroska"),
        ("video", "webm", "video/webm"),
        ("video", "odd", "video/mp4"),
    ],
)
def test_converse_block_has_the_mime_type_of_its_format(kind, extension, mime_type):
    [part] = parts({kind: {"format": extension, "source": {"bytes": "AAAA"}}})
    assert part[part["type"]]["url"] == f"data:{mime_type};base64,AAAA"


@pytest.mark.parametrize(("kind", "mime_type"), [("image", "image/png"), ("video", "video/mp4")])
def test_media_block_of_a_mime_type_with_parameters_is_sent_without_them(kind, mime_type):
    [part] = parts({"type": kind, "base64": "AAAA", "mime_type": f"{mime_type}; charset=utf-8"})
    assert part[part["type"]]["url"] == f"data:{mime_type};base64,AAAA"


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
def test_media_block_without_a_mime_type_is_told_by_its_first_bytes(kind, start, mime_type):
    [part] = parts({"type": kind, "base64": base64.b64encode(start).decode()})
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
def test_audio_block_without_a_mime_type_is_told_by_its_first_bytes(start, wire_format):
    [part] = parts({"type": "audio", "base64": base64.b64encode(start).decode()})
    assert part["input_audio"]["format"] == wire_format


def test_media_block_with_a_data_url_is_not_wrapped_twice():
    block = {"type": "image", "base64": PNG_URL, "mime_type": "image/jpeg"}
    assert parts(block) == [IMAGE]


@pytest.mark.parametrize("place", [{"base64": "AAAA"}, {"url": "https://a.example/a.pdf"}])
def test_file_block_with_data_or_url_goes_before_its_id(place):
    assert "file_id" not in parts({"type": "file", "file_id": "f", **place})[0]["file"]
