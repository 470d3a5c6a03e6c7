"""Chunks restored from patterns: no different from those that langchain-core's constructors make."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_promptrun._responses.choice import LOGPROBS, REASONING, TEXT, TOOL
from langchain_promptrun._responses.chunks import chunks_of, text_chunk
from langchain_promptrun._responses.tool_calls import ToolPiece

LONG = "0123456789" * 1000
LOGPROBS_OF_ONE = {"content": [{"token": "a", "logprob": -0.1}]}


def constructed(text="", **fields):
    return ChatGenerationChunk(message=AIMessageChunk(content=text, **fields))


def constructed_tool(piece):
    call = {"type": "tool_call_chunk", "name": piece.name, "args": piece.args, "id": piece.id, "index": piece.slot}
    return constructed(tool_call_chunks=[call], response_metadata={"model_provider": "promptrun"})


def assert_same(restored, made):
    assert restored == made
    assert repr(restored) == repr(made)
    assert restored.text == made.text
    assert restored.model_dump() == made.model_dump()
    assert vars(restored.message) == vars(made.message)
    assert list(vars(restored.message)) == list(vars(made.message))


@given(st.text())
def test_text_is_as_constructed(text):
    assert_same(text_chunk(text), constructed(text))
    assert chunks_of(TEXT, text) == [text_chunk(text)]


@given(st.text())
def test_reasoning_is_as_constructed(text):
    [chunk] = chunks_of(REASONING, text)
    assert_same(chunk, constructed(additional_kwargs={"reasoning_content": text}))


def test_log_probabilities_are_as_constructed():
    [chunk] = chunks_of(LOGPROBS, LOGPROBS_OF_ONE)
    assert_same(chunk, constructed(response_metadata={"logprobs": LOGPROBS_OF_ONE}))


@given(
    args=st.text(alphabet='{}[]":,\\ \t\nan01é') | st.text(),
    name=st.none() | st.just("f"),
    call_id=st.none() | st.just("call_1"),
)
def test_piece_of_a_tool_call_is_as_constructed(args, name, call_id):
    piece = ToolPiece(1, call_id, name, args)
    [chunk] = chunks_of(TOOL, piece)
    assert_same(chunk, constructed_tool(piece))


def test_no_two_chunks_share_what_can_be_changed():
    one, other = text_chunk("a"), text_chunk("b")
    message = one.message
    message.additional_kwargs["x"] = message.response_metadata["x"] = 1
    for names in (message.tool_calls, message.invalid_tool_calls, message.tool_call_chunks):
        names.append({})
    message.id = "run-1"
    message.unheard_of = True
    one.generation_info = {"x": 1}
    assert_same(other, constructed("b"))
    assert_same(text_chunk("c"), constructed("c"))
    assert other.message.model_fields_set == {"content"}
    assert not other.message.model_extra


@pytest.mark.parametrize("kind", [TEXT, REASONING])
def test_chunk_can_be_changed_copied_pickled_and_summed(kind):
    [chunk] = chunks_of(kind, "a")
    chunk.message.id = "run-1"
    assert_same(pickle.loads(pickle.dumps(chunk)), chunk)
    assert_same(chunk.model_copy(deep=True), chunk)
    assert (chunk + chunk).message == chunk.message + chunk.message
    assert (chunk + chunk).message.id == "run-1"


def test_long_piece_from_the_middle_is_one_chunk():
    piece = ToolPiece(0, None, None, LONG)
    assert chunks_of(TOOL, piece)[0].message.tool_call_chunks[0]["args"] == LONG


@pytest.mark.parametrize("call_id", ["call_1", None])
def test_long_whole_object_is_one_chunk(call_id):
    args = json.dumps({"x": LONG})
    [chunk] = chunks_of(TOOL, ToolPiece(0, call_id, "f", args))
    assert chunk.message.tool_calls[0]["args"] == {"x": LONG}


def test_long_piece_from_the_middle_that_begins_like_an_object_is_cut():
    """langchain-core takes time by the square of its length to find that it is none."""
    args = '{"x": 1}, ' * 1000
    chunks = chunks_of(TOOL, ToolPiece(3, None, None, args))
    pieces = [piece for chunk in chunks for piece in chunk.message.tool_call_chunks]
    assert "".join(piece["args"] for piece in pieces) == args
    assert max(len(piece["args"]) for piece in pieces) == 1024
    assert {(piece["index"], piece["id"], piece["name"]) for piece in pieces} == {(3, None, None)}


def test_long_first_piece_is_one_chunk():
    [chunk] = chunks_of(TOOL, ToolPiece(0, "call_1", "f", '{"x": "' + LONG))
    assert chunk.message.tool_calls[0]["args"] == {"x": LONG}
