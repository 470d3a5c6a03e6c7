"""langchain-openai's `ChatOpenAI` as an oracle: the same messages, tools and schemas, the same request.

Promptrun declares itself compatible with OpenAI's Chat Completions, so where that client is right the two agree. Where
they are meant to differ, the difference is written down here.
"""

from __future__ import annotations

import contextlib
import json

import pytest
from langchain_core.messages import AIMessage, ChatMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

langchain_openai = pytest.importorskip("langchain_openai")

PIXEL = "iVBORw0KGgo="
QUESTION = HumanMessage("What is the weather?")
CALL = {"name": "weather", "args": {"city": "Tbilisi", "days": 2}, "id": "call_a", "type": "tool_call"}
OTHER_CALL = {"name": "weather", "args": {}, "id": "call_b", "type": "tool_call"}


@tool
def weather(city: str, days: int = 1) -> str:
    """Say what the weather is."""
    return f"{city} {days}"


class Answer(BaseModel):
    """An answer."""

    text: str


class Trip(BaseModel):
    """A trip."""

    first: Answer = Field(description="The first leg.")
    others: list[Answer]
    note: str | None = None


class Tree(BaseModel):
    """A tree."""

    text: str
    parent: Tree | None = None
    children: list[Tree]


def human(*blocks):
    return [HumanMessage(list(blocks))]


def turn(content, **parts):
    """A conversation with one assistant turn and, for each of its calls, a result."""
    calls = parts.get("tool_calls", []) + parts.get("invalid_tool_calls", [])
    results = [ToolMessage("Sunny.", tool_call_id=call["id"]) for call in calls]
    return [QUESTION, AIMessage(content, **parts), *results, HumanMessage("Thanks.")]


def v0(kind, **parts):
    return {"type": kind, **parts}


TEXTS = [v0("text", text="a"), v0("text", text="b")]
FUNCTION_CALL = AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}})
HISTORIES = {
    "one text": [QUESTION],
    "a conversation": [SystemMessage("Be brief."), QUESTION, AIMessage("Sunny."), HumanMessage("Thanks.")],
    "names": [HumanMessage("Hello", name="me"), AIMessage("Hi", name="bot"), HumanMessage("Bye")],
    "a developer's message": [SystemMessage("x", additional_kwargs={"__openai_role__": "developer"}), QUESTION],
    "a chat message": [ChatMessage("Hello", role="user")],
    "parallel tool calls": turn("", tool_calls=[CALL, OTHER_CALL]),
    "text and a tool call": turn("Let me see.", tool_calls=[CALL]),
    "a function call": [QUESTION, FUNCTION_CALL, FunctionMessage("Sunny.", name="f")],
    "text parts": human(*TEXTS),
    "an image by URL": human(v0("image_url", image_url={"url": "https://a.example/x.png", "detail": "low"})),
    "Anthropic's image": human(v0("image", source={"type": "base64", "media_type": "image/png", "data": PIXEL})),
    "v1 audio": human(v0("audio", base64=PIXEL, mime_type="audio/wav")),
    "a v1 file": human(v0("file", base64=PIXEL, mime_type="application/pdf", filename="a.pdf")),
    "a v1 file by id": human(v0("file", file_id="file-1")),
    "an assistant's thinking": turn([v0("thinking", thinking="t", signature="s"), v0("text", text="a")]),
    "Anthropic's tool use": turn(
        [v0("text", text="a"), v0("tool_use", id="call_a", name="weather", input=CALL["args"])], tool_calls=[CALL]
    ),
    "a result in parts": [*turn("", tool_calls=[CALL])[:2], ToolMessage(TEXTS, tool_call_id="call_a")],
}


def structured(schema, **how):
    return lambda model: model.with_structured_output(schema, include_raw=True, **how)


BINDINGS = {
    "tools": lambda model: model.bind_tools([weather, Answer]),
    "any tool": lambda model: model.bind_tools([weather], tool_choice="any"),
    "a chosen tool": lambda model: model.bind_tools([weather], tool_choice="weather", parallel_tool_calls=False),
    "strict tools": lambda model: model.bind_tools([Answer], strict=True),
    "JSON": lambda model: model.bind(response_format={"type": "json_object"}),
    "structured output by a tool": structured(Answer, method="function_calling"),
    "structured output by a schema": structured(Answer, method="json_schema", strict=True),
    "strict structured output of nested classes": structured(Trip, method="json_schema", strict=True),
    "strict structured output of a recursive class": structured(Tree, method="json_schema", strict=True),
    "structured output as JSON": structured(Answer, method="json_mode"),
}
ONLY_THEIRS = {
    "stream": "a false one says nothing",
    "parallel_tool_calls": "not every vendor knows it, so it goes out when the caller sets it",
}


def plain(message):
    """A wire message with equal meaning spelled equally: spaces in arguments, and a content of a single text."""
    message = json.loads(json.dumps(message))
    for call in message.get("tool_calls") or ():
        with contextlib.suppress(ValueError):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    content = message.get("content")
    if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
        message["content"] = content[0]["text"]
    return message


@pytest.mark.parametrize(
    ("history", "bind"),
    [
        *(pytest.param(history, lambda model: model, id=name) for name, history in HISTORIES.items()),
        *(pytest.param([QUESTION], bind, id=name) for name, bind in BINDINGS.items()),
    ],
)
def test_the_same_call_is_the_same_request(promptrun_server, history, bind):
    settings = {"model": "openai/gpt-4o", "api_key": promptrun_server.api_key, "base_url": promptrun_server.base_url}
    promptrun_server.queue(Reply('{"text": "Sunny.", "first": {"text": "a"}, "others": [], "children": []}', times=2))
    for kind in (ChatPromptrun, langchain_openai.ChatOpenAI):
        bind(kind(**settings)).invoke(history)
    ours, theirs = (
        request.body | {"messages": [plain(message) for message in request.body["messages"]]}
        for request in promptrun_server.requests
    )
    assert ours == {key: value for key, value in theirs.items() if key in ours or key not in ONLY_THEIRS}
