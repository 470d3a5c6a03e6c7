"""Names that the wire forbids are legal in requests, and themselves again in answers and for the caller."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool

from .sending import Conversation, each_style, request_of

LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
ILLEGAL = ["server.tool/v1", "y" + "x" * 64, "ünïcode", "with space", "a.b", "a/b"]


def tool_of(name):
    return StructuredTool(name=name, description="d", args_schema={"type": "object"}, func=dict)


def names_sent(*names, **bound):
    body = request_of(HumanMessage("x"), bound={"tools": [wire_tool(name) for name in names], **bound})
    return [tool["function"]["name"] for tool in body["tools"]], body.get("tool_choice")


def wire_tool(name):
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


@each_style
@pytest.mark.parametrize("name", ILLEGAL)
def test_tool_name_that_is_illegal_is_legal_on_the_wire_and_itself_in_the_answer(style, name):
    [wire_name], _ = names_sent(name)
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": wire_name, "arguments": "{}"}}
    first, rest = wire_name[:3], wire_name[3:]
    pieces = [
        {"tool_calls": [{**call, "function": {"name": first, "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"name": rest, "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
    ]
    for deltas in (None, pieces):
        conversation = Conversation({"content": None, "tool_calls": [call]}, deltas, finish_reason="tool_calls")
        answer = conversation.ask(style, tools=[tool_of(name), tool_of("other")])
        assert [(made["name"], made["id"]) for made in answer.tool_calls] == [(name, "c")]
        assert [block["name"] for block in answer.content_blocks if block["type"] == "tool_call"] == [name]
        turn = conversation.turn(answer, ToolMessage("!", tool_call_id="c", name=name))
        assert turn["tool_calls"][0]["function"]["name"] == wire_name
    assert LEGAL.fullmatch(wire_name)
    assert conversation.requests[0]["tools"][1]["function"]["name"] == "other"


@settings(max_examples=25)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True))
def test_tool_names_on_the_wire_are_legal_stable_and_different(names):
    wire, _ = names_sent(*names)
    assert all(LEGAL.fullmatch(name) for name in wire)
    assert len(set(wire)) == len(names)
    assert [names_sent(name)[0][0] for name in names] == wire
    assert [ours for ours, name in zip(wire, names, strict=True) if LEGAL.fullmatch(name)] == [
        name for name in names if LEGAL.fullmatch(name)
    ]


@pytest.mark.parametrize(
    "choice",
    [
        "a.b",
        {"type": "function", "function": {"name": "a.b"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [wire_tool("a.b")]}},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "a.b"}]},
    ],
)
def test_tool_choice_of_an_illegal_name_names_the_same_tool(choice):
    [name], sent_choice = names_sent("a.b", tool_choice=choice)
    assert name in json.dumps(sent_choice)
    assert '"a.b"' not in json.dumps(sent_choice)


def test_tool_name_that_another_tool_has_on_the_wire_is_refused():
    [taken], _ = names_sent("a.b")
    with pytest.raises(ValueError, match=f"'a.b' and '{taken}' would both be sent as '{taken}'"):
        names_sent("a.b", taken)


def test_tool_name_of_a_builtin_function_stays():
    tool = {"type": "builtin_function", "function": {"name": "$web_search"}}
    assert request_of(HumanMessage("x"), bound={"tools": [tool]})["tools"] == [tool]
