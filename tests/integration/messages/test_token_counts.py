"""Estimates of tokens, offline."""

from __future__ import annotations

import socket
import sys

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_promptrun import ChatPromptrun

MODEL = ChatPromptrun(model="vendor/name", api_key="key")
MEDIA_TOKENS = 765
WORDS = "word " * 100


class Weather(BaseModel):
    """Say what the weather is."""

    city: str


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def double(x: int) -> int:
    """Double a number."""
    return 2 * x


def count_text(text) -> int:
    return MODEL.get_num_tokens(text)


def count_messages(messages, tools=None) -> int:
    return MODEL.get_num_tokens_from_messages(messages, tools)


def of(message) -> int:
    return count_messages([message])


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        *(("", 0), ("a", 1), ("a" * 4, 1), ("a" * 5, 2), ("a" * 8, 2), ("   a ", 2)),
        *(("天气怎么样" * 100, 375), ("\ud800", 1)),
    ],
)
def test_token_count_of_a_text_is_a_fourth_of_its_bytes(said, tokens):
    assert count_text(said) == tokens


FRAME, NAME = 4, 1
CALL = {"name": "n" * 40, "args": {"a": "x" * 40}, "id": "i" * 20}
CALL_TOKENS = (20 + 40 + len('{"a":""}') + 40) // 4
IMAGE = {"type": "image", "source": {"data": "A" * 99_999}}
MEDIA = [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 99_999}},
    {"type": "image", "base64": "A" * 99_999, "mime_type": "image/png"},
    {"type": "audio", "base64": "A" * 99_999},
    {"type": "input_audio", "input_audio": {"data": "A" * 99_999, "format": "wav"}},
    {"type": "file", "file": {"file_data": "A" * 99_999}},
    {"type": "document", "source": {"type": "base64", "data": "A" * 99_999}},
    {"type": "tool_result", "content": [IMAGE]},
]
TOOL_USE = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": WORDS}}
LISTED = [{"name": "f", "args": {"a": WORDS}, "id": "1"}]
THREE_TIMES = [{"type": "text", "text": WORDS}, WORDS, {"type": "reasoning", "reasoning": WORDS}]


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        (HumanMessage("12345678"), 2),
        (("user", "12345678"), 2),
        (HumanMessage("x", name="Alice"), 1 + 2 + NAME),
        (AIMessage(THREE_TIMES), count_text(WORDS * 3)),
        *[(HumanMessage([block]), MEDIA_TOKENS) for block in MEDIA],
        (HumanMessage([{"type": "other", "index": 0, "signature": "s" * 999, "value": 12}]), 1),
        (AIMessage("", tool_calls=[CALL]), CALL_TOKENS),
        (AIMessage("", tool_calls=[{**CALL, "id": None}]), CALL_TOKENS - 5),
        (AIMessage("", invalid_tool_calls=[{**CALL, "args": '{"a":"' + "x" * 40, "error": None}]), CALL_TOKENS),
        (AIMessage([TOOL_USE], tool_calls=LISTED), of(AIMessage("", tool_calls=LISTED)) - FRAME),
        (ToolMessage("1234", tool_call_id="abcd", artifact=WORDS), 2),
        (AIMessage("", additional_kwargs={"reasoning_content": WORDS}), count_text(WORDS)),
    ],
)
def test_token_count_of_a_message_is_that_of_its_texts_media_and_frame(message, tokens):
    assert of(message) == tokens + FRAME


def test_token_count_counts_of_parts_of_a_conversation_add_up():
    messages = [SystemMessage("Be brief."), HumanMessage("Hello!"), AIMessage("Hi.")]
    assert count_messages(messages) == sum(map(of, messages))
    assert count_messages([]) == 0


@pytest.mark.parametrize(
    "source", [add, Weather, double, {"type": "function", "function": {"name": "f", "description": "d" * 40}}]
)
def test_token_count_tools_of_every_kind_count(source):
    assert count_messages([HumanMessage("x")], [source]) > of(HumanMessage("x")) + 10


def test_token_count_nothing_is_loaded_or_fetched_to_count(monkeypatch):
    def forbidden(*args):
        raise AssertionError(args)

    monkeypatch.setattr(socket, "socket", forbidden)
    for tokenizers in ("tiktoken", "transformers"):
        monkeypatch.setitem(sys.modules, tokenizers, None)
    assert (count_text("hello"), of(HumanMessage("hello"))) == (2, 6)
