"""_tool_data: what a tool returned is read as blocks where it is some, and is else sent as its JSON."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._messages.tool_data import data_parts
from langchain_promptrun.errors import PromptrunInvalidMessageError

CACHE = {"cache_control": {"type": "ephemeral"}}
PDF = {"base64": "AAAA", "mime_type": "application/pdf"}
FILE = {"type": "file", "file": {"filename": "file.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
BYTES = {"type": "file", "file": {"filename": "file.bin", "file_data": "data:application/octet-stream;base64,AAAA"}}
KNOWN = {"type": "file", "file": {"file_id": "f1"}}
SOURCE = {"type": "base64", "data": "AAAA", "media_type": "application/pdf"}
# Of types that LangChain's tools take for content blocks.
DATA = [
    {"type": "file", "name": "a.txt", "size": 3},
    {"type": "file", "id": "17", "name": "a.txt"},
    {"type": "file", "name": "a.txt", "data": "its text"},
    {"type": "file", "file": {"path": "a.txt"}},
    {"type": "file", "source": "disk", "id": "17"},
    {"type": "document", "title": "T", "body": "B"},
    {"type": "document", "url": "https://a.example/a", "body": "B"},
    {"type": "document", "source": {"type": "content", "content": []}, "body": "B"},
    {"type": "image", "name": "x.png"},
    {"type": "image", "id": "17"},
    {"type": "image_url", "url": "https://a.example/x.png"},
    {"type": "text", "content": "hello"},
    {"type": "text", "text": 5},
    {"type": "text-plain", "id": "17"},
    {"type": "json", "foo": 1},
    {"type": "search_result", "title": "T", "url": "https://a.example/"},
    {"type": "search_result", "content": [{"type": "text", "body": "B"}]},
    {"type": "search_result", "content": [{"type": "odd"}]},
    {"type": "custom_tool_call_output", "result": "x"},
    {"type": "non_standard", "value": 5},
    {"type": "odd"},
    {"type": 5},
    {"type": None, "a": 1},
    {"a": 1, "b": {"type": "text", "text": "x"}},
    {},
]


def text(value):
    return {"type": "text", "text": value}


@pytest.mark.parametrize("data", DATA, ids=str)
def test_data_that_is_no_content_block_goes_out_whole_as_its_json(data):
    before, (part), after = data_parts([text("before"), data, text("after")])
    assert (before, after) == (text("before"), text("after"))
    assert part.keys() == {"type", "text"}
    assert json.loads(part["text"]) == data


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ("hello", [text("hello")]),
        ("", []),
        (text("hello") | {"id": "b1"}, [text("hello")]),
        (text(""), []),
        (text(None), []),
        ({"text": "hello"}, [text("hello")]),
        ({"type": "json", "json": None}, [text("null")]),
        ({"type": "json", "json": {"a": 1}}, [text('{"a":1}')]),
        ({"type": "text-plain", "text": ""}, []),
        ({"type": "text-plain", "base64": "AAAA"}, None),
        ({"type": "search_result", "title": "T", "content": [text("x")]}, [text("T"), text("x")]),
        ({"type": "custom_tool_call_output", "output": ""}, []),
        ({"type": "file", **PDF}, [FILE]),
        ({"type": "file", "source": SOURCE}, [FILE]),
        ({"type": "file", "data": b"\0\0\0"}, [BYTES]),
        ({"type": "file", "data": "AAAA", "mimeType": "application/pdf"}, [FILE]),
        ({"type": "file", "file_id": "f1"}, [KNOWN]),
        ({"type": "file", "source_type": "id", "id": "f1"}, [KNOWN]),
        (KNOWN, [KNOWN]),
        (FILE, [FILE]),
        ({"type": "document", **PDF}, [FILE]),
        ({"type": "document", "source": SOURCE}, [FILE]),
        ({"document": {"format": "pdf", "source": {"bytes": "AAAA"}}}, [FILE]),
        ({"type": "non_standard", "value": {"type": "own"}}, [{"type": "own"}]),
    ],
    ids=str,
)
def test_a_readable_block_is_read(block, parts):
    found = data_parts([block])
    assert found == parts or (parts is None and found[0]["type"] == "file")


def test_cache_markers_stay_on_blocks_and_within_data():
    assert data_parts([{**text("x"), **CACHE}]) == [{**text("x"), **CACHE}]
    assert data_parts([text("x"), {"cachePoint": {"type": "default"}}]) == [{**text("x"), **CACHE}]
    assert json.loads(data_parts([{"a": 1, **CACHE}])[0]["text"]) == {"a": 1, **CACHE}


@pytest.mark.parametrize(("content", "expected"), [({"a": 1}, '{"a":1}'), (0, "0"), ([5], "5"), ([["a"]], '["a"]')])
def test_data_of_any_form_goes_out_as_its_json(content, expected):
    assert data_parts(content) == [text(expected)]


@pytest.mark.parametrize("nothing", [None, "", []])
def test_nothing_is_no_part(nothing):
    assert data_parts(nothing) == []


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([text("x"), {"a": math.nan}], r"^content\[1\]\.a is NaN"),
        ([{"type": "json", "json": {"a": math.nan}}], r"^content\[0\]\.json\.a is NaN"),
        ({"a": math.inf}, r"^content\.a is an infinity"),
    ],
)
def test_what_json_cannot_carry_is_an_error_that_names_its_place(content, place):
    with pytest.raises(PromptrunInvalidMessageError, match=place):
        data_parts(content)


def records(inner):
    keys = st.sampled_from(["type", "text", "json", "url", "file", "source", "content", "title", "id", "data", "body"])
    kinds = st.sampled_from(["text", "image_url", "image", "json", "search_result", "document", "file", "odd", 1])
    return st.dictionaries(keys, inner, max_size=4) | st.builds(
        lambda kind, rest: {**rest, "type": kind}, kinds, st.dictionaries(keys, inner, max_size=3)
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=2) | records(inner),
    max_leaves=6,
)


@given(st.lists(records(json_values), min_size=1, max_size=3))
def test_no_data_of_a_tool_is_ever_refused(content):
    assert all(isinstance(part, dict) for part in data_parts(content))
