"""Each content block of each dialect becomes the right part of a message."""

import base64

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.messages import content as v1

from langchain_promptrun import PromptrunInvalidMessageError

from .sending import each, result_parts, text
from .sending import parts_of as parts

PNG = "iVBORw0KGgoAAAANSUhEUg=="
PDF = "JVBERi0xLjcK"
PNG_URL = f"data:image/png;base64,{PNG}"
PDF_URL = f"data:application/pdf;base64,{PDF}"
IMAGE = {"type": "image_url", "image_url": {"url": PNG_URL}}
FILE = {"type": "file", "file": {"filename": "file.pdf", "file_data": PDF_URL}}
NAMED_FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF_URL}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
VIDEO = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}
MARKERS = ("cache_control", "prompt_cache_breakpoint")
CACHE = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def kind(name, **keys):
    return {"type": name, **keys}


def source(name, **keys):
    return {"type": name, "source": keys}


def data_url(mime_type):
    return f"data:{mime_type};base64,AAAA"


def image_at(url, **detail):
    return {"type": "image_url", "image_url": {"url": url, **detail}}


IMAGE_TYPE, PDF_TYPE, WAV_TYPE = "image/png", "application/pdf", "audio/wav"
LINK, IMAGE_LINK, VIDEO_LINK = "https://a.example/a.pdf", "https://a.example/i.png", "https://a.example/v.mp4"
REPORT, NAMELESS = "https://a.example/docs/report.pdf?sig=x/y.z#page=2", "https://a.example/download"
TEXT_BY_URL = kind("file", source_type="text", url="hi")  # of a tool, it is data
TEXT_FILE = {"filename": "file.txt", "file_data": "data:text/plain;base64,AAAA"}
FORMATS = {
    "wav": ["audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"],
    "mp3": ["audio/mpeg", "audio/mp3", "audio/mpga", "AUDIO/MPEG"],
    "pcm16": ["audio/pcm", "audio/L16", "audio/L16;codec=pcm;rate=24000"],
    "m4a": ["audio/mp4", "audio/x-m4a"],
    "flac": ["audio/flac", "audio/x-flac"],
    "ogg": ["audio/ogg; codecs=opus"],
    "webm": ["audio/webm"],
    "amr": ["audio/amr"],
}
OFFICE = "application/vnd.openxmlformats-officedocument"
EXTENSIONS = {
    **{f"application/{extension}": f".{extension}" for extension in ("json", "pdf", "rtf", "xml", "zip")},
    "application/msword": ".doc",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    f"{OFFICE}.presentationml.presentation": ".pptx",
    f"{OFFICE}.wordprocessingml.document": ".docx",
    f"{OFFICE}.spreadsheetml.sheet": ".xlsx",
    "application/vnd.oasis.opendocument.text": "",
    "application/octet-stream": ".bin",
    "audio/mpeg": ".mp3",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "text/csv;charset=utf-8": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
}
BLOCKS = [
    (
        text("hi"),
        v1.create_text_block("hi", annotations=[v1.create_citation(url="u")], index=0),
        {**text("hi"), "extras": {"signature": "s"}, "id": "lc_1"},
        kind("text", source_type="text", text="hi"),
        kind("file", source_type="text", text="hi", mime_type="text/plain"),
        TEXT_BY_URL,
        text("hi"),
        kind("input_text", text="hi"),
    ),
    (
        text("body"),
        v1.create_plaintext_block("body"),
        source("document", type="content", content="body"),
        source("document", type="content", content=[text("body")]),
        kind("resource", resource={"uri": "demo://a", "text": "body"}),
        kind("custom_tool_call_output", output="body"),
        kind("guard_content", text="body"),
        kind("guard_content", guard_content=text("body")),
        kind("guard_content", guard_content={"text": {"text": "body", "qualifiers": ["query"]}}),
        v1.create_non_standard_block(kind("guard_content", guard_content={"text": {"text": "body"}})),
        kind("custom_tool_call_output", output=[text("body")]),
    ),
    (text("T\nC\nbody"), v1.create_plaintext_block("body", title="T", context="C")),
    (text("T"), v1.create_plaintext_block("", title="T")),
    (text("T\nbody"), {**source("document", type="text", media_type="text/plain", data="body"), "title": "T"}),
    (text("No."), kind("refusal", refusal="No.")),
    (text('{"a":1}'), kind("json", json={"a": 1})),
    (text("[1,null]"), kind("json", json=[1, None])),
    (
        IMAGE,
        v1.create_image_block(base64=PNG, mime_type=IMAGE_TYPE),
        kind("image", base64=PNG),
        v1.create_image_block(base64=PNG, id="lc_1"),
        kind("image", source_type="base64", data=PNG, mime_type=IMAGE_TYPE),
        IMAGE,
        kind("input_image", image_url=PNG_URL),
        source("image", type="base64", media_type=IMAGE_TYPE, data=PNG),
        kind("media", mime_type=IMAGE_TYPE, data=PNG),
        kind("image", data=base64.b64decode(PNG)),
        kind("image", data=PNG, mimeType=IMAGE_TYPE),
        kind("image", base64=PNG_URL, mime_type="image/jpeg"),
        kind("image_generation_call", id="ig_1", result=PNG),
        kind("non_standard", value=kind("image_generation_call", result=PNG, output_format="png")),
    ),
    (
        image_at(IMAGE_LINK),
        v1.create_image_block(url=IMAGE_LINK),
        kind("image", source_type="url", url=IMAGE_LINK),
        kind("image_url", image_url=IMAGE_LINK),
        source("image", type="url", url=IMAGE_LINK),
    ),
    (
        image_at(IMAGE_LINK, detail="low"),
        v1.create_image_block(url=IMAGE_LINK, detail="low"),
        kind("image_url", image_url=IMAGE_LINK, detail="low"),
        {**image_at(IMAGE_LINK, detail="low"), "detail": "high"},
    ),
    (
        AUDIO,
        v1.create_audio_block(base64="AAAA", mime_type=WAV_TYPE),
        kind("audio", source_type="base64", data="AAAA", mime_type=WAV_TYPE),
        AUDIO,
        kind("media", mime_type=WAV_TYPE, data="AAAA"),
        kind("audio", data="AAAA", mimeType=WAV_TYPE),
    ),
    (VIDEO, v1.create_video_block(base64="AAAA", mime_type="video/mp4"), VIDEO, kind("video", base64="AAAA")),
    (
        {"type": "video_url", "video_url": {"url": VIDEO_LINK}},
        v1.create_video_block(url=VIDEO_LINK),
        kind("video_url", video_url=VIDEO_LINK),
        kind("media", mime_type="video/mp4", file_uri=VIDEO_LINK),
    ),
    (
        FILE,
        v1.create_file_block(base64=PDF, mime_type=PDF_TYPE),
        kind("file", source_type="base64", data=PDF, mime_type=PDF_TYPE),
        kind("file", file={"file_data": PDF_URL}),
        source("document", type="base64", media_type=PDF_TYPE, data=PDF),
        kind("media", mime_type=PDF_TYPE, data=PDF),
        kind("resource", resource={"uri": "demo://a", "blob": PDF, "mimeType": PDF_TYPE}),
        kind("file", base64=PDF, mime_type=PDF_TYPE, file_id="f"),
    ),
    (
        NAMED_FILE,
        v1.create_file_block(base64=PDF, mime_type=PDF_TYPE, filename="a.pdf"),
        kind("file", source_type="base64", data=PDF, filename="a.pdf", mime_type=PDF_TYPE),
        kind("file", source_type="base64", data=PDF, metadata={"filename": "a.pdf"}),
        NAMED_FILE,
        kind("input_file", filename="a.pdf", file_data=PDF_URL),
        {**source("document", type="base64", media_type=PDF_TYPE, data=PDF), "title": "a.pdf"},
    ),
    (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": LINK}},
        v1.create_file_block(url=LINK),
        kind("file", url=LINK, file_id="f"),
        kind("input_file", file_url=LINK),
        source("document", type="url", url=LINK),
        kind("file_data", file_uri=LINK),
    ),
    (
        {"type": "file", "file": {"file_id": "file-1"}},
        v1.create_file_block(file_id="file-1"),
        kind("file", source_type="id", id="file-1"),
        kind("file", file={"file_id": "file-1"}),
        kind("input_file", file_id="file-1"),
        source("document", type="file", file_id="file-1"),
    ),
    (kind("file", file=TEXT_FILE), kind("text-plain", base64="AAAA")),
    (kind("file", file={"filename": "a.pdf", "file_data": LINK}), kind("text-plain", url=LINK, mime_type="text/plain")),
    (kind("file", file={"filename": "report.pdf", "file_data": REPORT}), kind("file", url=REPORT)),
    (kind("file", file={"filename": "file", "file_data": NAMELESS}), kind("file", url=NAMELESS)),
    *(
        (
            kind("file", file={"filename": f"file{EXTENSIONS[mime_type]}", "file_data": data_url(mime_type)}),
            kind("file", base64="AAAA", mime_type=mime_type),
            kind("file", url=data_url(mime_type)),
        )
        for mime_type in EXTENSIONS
    ),
    *(
        (
            kind("input_audio", input_audio={"data": "AAAA", "format": name}),
            kind("audio", base64="AAAA", mime_type=mime_type),
            kind("audio", url=data_url(mime_type)),
        )
        for name, mime_types in FORMATS.items()
        for mime_type in mime_types
    ),
    (image_at(data_url("image/webp")), kind("image", base64="AAAA", mime_type="image/webp; charset=utf-8")),
    (
        kind("video_url", video_url={"url": data_url("video/quicktime")}),
        kind("video", base64="AAAA", mime_type="Video/QuickTime;codecs=x"),
    ),
    ({"type": "odd", "x": [1]}, v1.create_non_standard_block({"type": "odd", "x": [1]})),
]
"""Parts of the wire, and the blocks of LangChain v1 and v0, OpenAI, Anthropic, Gemini, Bedrock and MCP for each."""


@each("part, block", BLOCKS)
def test_content_block_becomes_its_wire_part_with_its_cache_marker_and_in_a_tools_result_too(part, block):
    assert parts(block) == [part]
    assert parts({**block, **CACHE}) == [{**part, **CACHE}]
    assert block is TEXT_BY_URL or result_parts([block]) == [part]


def test_search_result_block_becomes_title_source_and_texts():
    block = kind("search_result", title="T", source="https://a.example", content=[text("one"), text("two")])
    assert parts(block) == [text("T\nhttps://a.example"), text("one"), text("two")]
    assert parts({"type": "search_result"}) == []


def test_empty_text_block_is_left_out():
    empty = ["", text(""), {"type": "text"}, {"type": "text", "text": None}, {"type": "input_text", "text": ""}]
    assert parts(*empty, "a", text(" ")) == [text("a"), text(" ")]


STAYING = [
    *(kind("guard_content", guard_content=nothing) for nothing in ({}, 5)),
    kind("thinking", thinking="secret", signature="s"),
    kind("redacted_thinking", data="secret"),
    kind("reasoning_content", reasoning_content={"text": "secret"}),
    kind("reasoning", summary=[{"text": "secret"}]),
    kind("tool_call", id="secret", args={}),
    *(kind(name, id="secret", input={}) for name in ("tool_use", "server_tool_use", "mcp_tool_use")),
    *(kind(name, id="secret") for name in ("server_tool_call", "server_tool_call_chunk")),
    *(kind(f"{name}_tool_result", content="secret") for name in ("web_search", "bash_code_execution", "server")),
    *(kind(f"{name}_call", id="secret") for name in ("web_search", "file_search", "code_interpreter", "computer")),
    *(kind(name, tools=["secret"]) for name in ("mcp_list_tools", "tool_search_output", "additional_tools")),
    kind("computer_call_output", output="secret"),
    *(kind(name, secret="secret") for name in ("executable_code", "code_execution_result", "mcp_approval_request")),
    *(kind(name, secret="secret") for name in ("input_json_delta", "reference", "compaction", "container_upload")),
    kind("function_call_signature", signature="secret"),
]


@pytest.mark.parametrize("role", [HumanMessage, SystemMessage, AIMessage])
@pytest.mark.parametrize("block", STAYING, ids=str)
def test_block_of_its_provider_or_without_a_text_stays_here_wrapped_or_not(block, role):
    assert parts("a", block, kind("non_standard", value=block), kind=role) == [text("a")]


MARKER = {"type": "ephemeral"}
OWN = {"type": "odd"}


@pytest.mark.parametrize(
    ("blocks", "marked"),
    [
        *(([{**text("a"), "extras": {key: MARKER}}], [{**text("a"), key: MARKER}]) for key in MARKERS),
        (["a", {**text(""), **CACHE}], [{**text("a"), **CACHE}]),
        ([{**text(""), **CACHE}], []),
        ([kind("non_standard", value=OWN, **CACHE)], [{**OWN, **CACHE}]),
    ],
)
def test_cache_marker_is_found_in_extras_and_an_empty_text(blocks, marked):
    assert parts(*blocks) == marked
    assert OWN == {"type": "odd"}


PATHS = ["/tmp/cat.png", "cat.png", "C:\\cat.png", "~/cat.png"]
NO_TYPE = " is a content block without a type, with keys"
BY_ID = "cannot be sent by file id"
UNSENDABLE = [
    (" is a content block of type 'hologram'", kind("hologram")),
    (" is a content block of type \"['x']\"", {"type": ["x"]}),
    (f"{NO_TYPE} ['a', 'b']", {"a": 1, "b": 2}),
    (f"{NO_TYPE} ['text']", {"text": "a"}),
    (" is of type int, not a content block", 5),
    (".text is of type int, not a string", kind("text", text=5), kind("text-plain", text=5)),
    (".title is of type int", kind("text-plain", text="a", title=5)),
    (".url is of type int, not a string", kind("image", url=5)),
    (".content is of type int, not a", kind("search_result", content=5)),
    (" is an image that has no data and no URL", kind("image")),
    (" is a file that has no data and no URL", kind("file")),
    (f" is an image that {BY_ID}", kind("image", file_id="f"), kind("image", source_type="id", id="f")),
    (f" is an image that {BY_ID}", kind("input_image", file_id="f")),
    (f" is audio that {BY_ID}", kind("audio", file_id="f")),
    (f" is a video that {BY_ID}", kind("video", file_id="f")),
    (" is a block of type 'image_url' without", kind("image_url", image_url={}), kind("image_url")),
    (" is a block of type 'input_audio' without", kind("input_audio")),
    (" is audio by URL", kind("audio", url="https://a.example/a.wav")),
    (" is an image in base64 without a mime_type", kind("image", base64="AAAA")),
    (" is audio in base64 without a mime_type", kind("audio", base64="AAAA")),
    (" is a file block without `file_data`", kind("file", file={"path": "a"})),
    (" is a resource block without a `resource`", kind("resource")),
    (" is a non_standard block whose value", kind("non_standard", value=1)),
    (".content[0] is a content block of type 'odd'", source("document", type="content", content=[kind("odd")])),
    (".a is NaN", kind("json", json={"a": float("nan")})),
    *((f" has the path {at!r} for a URL", kind("image", url=at), kind("file", url=at), image_at(at)) for at in PATHS),
]


@each("problem, block", UNSENDABLE)
def test_unsendable_block_raises_an_error_that_names_its_place(problem, block):
    with pytest.raises(PromptrunInvalidMessageError) as caught:
        parts("before", block)
    assert str(caught.value).startswith(f"messages[0].content[1]{problem}")


def test_unknown_block_type_error_tells_what_is_accepted_and_the_way_out():
    accepted = r"accepted types: audio, .*text-plain, .*\"non_standard\", \"value\""
    with pytest.raises(PromptrunInvalidMessageError, match=accepted):
        parts({"type": "hologram"})


@pytest.mark.parametrize(
    ("kind", "start", "said"),
    [
        ("image", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("image", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("image", b"GIF89a", "image/gif"),
        ("image", b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        ("video", b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        ("video", b"RIFF\x00\x00\x00\x00AVI ", "video/x-msvideo"),
        ("file", b"RIFF\x00\x00\x00\x00AVI ", "application/octet-stream"),
        ("file", b"%PDF-1.7", "application/pdf"),
        ("file", b"anything", "application/octet-stream"),
        ("audio", b"RIFF\x00\x00\x00\x00WAVE", "wav"),
        ("audio", b"ID3\x04\x00\x00", "mp3"),
        ("audio", b"OggS\x00\x02", "ogg"),
        ("audio", b"fLaC\x00\x00", "flac"),
    ],
)
def test_media_block_without_a_mime_type_is_told_by_its_first_bytes(kind, start, said):
    [part] = parts({"type": kind, "base64": base64.b64encode(start + bytes(8)).decode()})
    inner = part[part["type"]]
    address = inner.get("url") or inner.get("file_data")
    assert inner["format"] == said if kind == "audio" else address.startswith(f"data:{said};base64,")
