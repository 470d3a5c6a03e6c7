"""Estimates of tokens, offline."""

from __future__ import annotations

import socket
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


@settings(max_examples=40)
@given(st.text(), st.text())
def test_token_count_of_a_longer_text_is_never_smaller(text, more):
    assert count_text(text) <= count_text(text + more)
    assert of(HumanMessage(text)) <= of(HumanMessage(text + more))


def test_token_count_four_bytes_are_a_token():
    assert [count_text("a" * length) for length in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]


def test_token_count_chinese_text_costs_about_a_token_a_character():
    assert count_text("天气怎么样" * 100) == 375


def test_token_count_text_that_utf8_cannot_carry_is_counted():
    assert count_text("\ud800") == 1


def test_token_count_a_message_costs_its_text_and_its_frame():
    assert of(HumanMessage("12345678")) == 2 + 4
    assert of(("user", "12345678")) == 2 + 4


def test_token_count_counts_of_parts_of_a_conversation_add_up():
    messages = [SystemMessage("Be brief."), HumanMessage("Hello!"), AIMessage("Hi.")]
    assert count_messages(messages) == sum(map(of, messages))
    assert count_messages([]) == 0


def test_token_count_a_name_counts():
    assert of(HumanMessage("x", name="Alice")) == of(HumanMessage("x")) + 2 + 1


def test_token_count_text_blocks_cost_what_their_text_costs():
    blocks = [{"type": "text", "text": WORDS}, WORDS, {"type": "reasoning", "reasoning": WORDS}]
    assert of(AIMessage(blocks)) == of(AIMessage(WORDS * 3))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 99_999}},
        {"type": "image", "base64": "A" * 99_999, "mime_type": "image/png"},
        {"type": "audio", "base64": "A" * 99_999},
        {"type": "input_audio", "input_audio": {"data": "A" * 99_999, "format": "wav"}},
        {"type": "file", "file": {"file_data": "A" * 99_999}},
        {"type": "document", "source": {"type": "base64", "data": "A" * 99_999}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"data": "A" * 99_999}}]},
    ],
)
def test_token_count_a_medium_costs_a_constant_wherever_it_stands(block):
    assert of(HumanMessage([block])) == MEDIA_TOKENS + 4


def test_token_count_numbers_and_labels_of_a_block_cost_little():
    assert of(HumanMessage([{"type": "other", "index": 0, "signature": "s" * 999, "value": 12}])) == 1 + 4


def test_token_count_tool_calls_count_with_name_and_arguments_also_invalid_ones():
    plain = of(AIMessage(""))
    call = {"name": "n" * 40, "args": {"a": "x" * 40}, "id": "i" * 20}
    valid = of(AIMessage("", tool_calls=[call]))
    invalid = of(AIMessage("", invalid_tool_calls=[{**call, "args": '{"a":"' + "x" * 40, "error": None}]))
    assert valid - plain == (20 + 40 + len('{"a":""}') + 40) // 4
    assert invalid - plain == valid - plain
    assert of(AIMessage("", tool_calls=[{**call, "id": None}])) == valid - 5


def test_token_count_a_tool_call_that_also_stands_in_the_content_counts_once():
    calls = [{"name": "f", "args": {"a": WORDS}, "id": "1"}]
    block = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": WORDS}}
    assert of(AIMessage([block], tool_calls=calls)) == of(AIMessage("", tool_calls=calls))


def test_token_count_a_tool_result_counts_with_its_call_id_and_without_its_artifact():
    message = ToolMessage("1234", tool_call_id="abcd", artifact=WORDS)
    assert of(message) == 2 + 4


def test_token_count_reasoning_that_is_sent_back_counts():
    thinking = AIMessage("", additional_kwargs={"reasoning_content": WORDS})
    assert of(thinking) == of(AIMessage("")) + count_text(WORDS)


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
