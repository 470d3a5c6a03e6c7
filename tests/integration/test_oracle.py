"""langchain-openai's `ChatOpenAI` as an oracle: the same bytes, the same answer; the same messages, the same request.

Promptrun declares itself compatible with OpenAI's Chat Completions, so where that client is right the two agree. Where
they are meant to differ, the difference is written down here.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, ChatMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import PromptrunServer, Reply

langchain_openai = pytest.importorskip("langchain_openai")
OpenAIError = pytest.importorskip("openai").OpenAIError

MODEL = "openai/gpt-4o"
PIXEL = "iVBORw0KGgo="
QUESTION = HumanMessage("What is the weather?")
CALL = {"name": "weather", "args": {"city": "Tbilisi", "days": 2}, "id": "call_a", "type": "tool_call"}
OTHER_CALL = {"name": "weather", "args": {}, "id": "call_b", "type": "tool_call"}


@pytest.fixture(scope="module")
def server():
    with PromptrunServer(dialect="openai", strict=False) as server:
        yield server


@pytest.fixture
def make(server):

    def make(model_class, **fields):
        settings = {"api_key": server.api_key, "base_url": server.base_url, "max_retries": 0}
        return model_class(model=MODEL, **settings, **fields)

    return make


@pytest.fixture
async def both(make):
    """The two models; the other one shares its own clients between event loops, which fails from the second loop on."""
    with httpx.Client() as client:
        async with httpx.AsyncClient() as async_client:
            clients = {"http_client": client, "http_async_client": async_client}
            yield make(ChatPromptrun), make(langchain_openai.ChatOpenAI, stream_usage=True, **clients)


REPLIES = {
    "text": Reply("Hello, how are you?"),
    "text of many scripts": Reply('გამარჯობა \U0001f600\n"x"'),
    "a tool call": Reply(tool_calls=[CALL]),
    "parallel tool calls": Reply(tool_calls=[CALL, OTHER_CALL]),
    "text and a tool call": Reply("Let me see.", tool_calls=[CALL]),
    "a cut-off tool call": Reply(tool_calls=[{"name": "weather", "args": "[1", "id": "call_a"}]),
    "usage with details": Reply(
        "Hi.",
        usage={
            "prompt_tokens": 9,
            "completion_tokens": 8,
            "total_tokens": 17,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0},
        },
    ),
}


def answer(told: dict[str, Any]) -> dict[str, Any]:
    """What both clients have to say; an empty detail of the usage says nothing."""
    facts = {name: told[name] for name in ("text", "tool_calls", "invalid_tool_calls")}
    facts["usage"] = {key: value for key, value in (told["usage"] or {}).items() if value != {}}
    return facts | {name: told["metadata"].get(name) for name in ("finish_reason", "model_name")}


@pytest.mark.parametrize("style", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("name", REPLIES)
async def test_the_same_reply_is_the_same_answer(server, both, talk, name, style):
    server.queue(REPLIES[name], REPLIES[name])
    ours, theirs = [answer(talk.facts(await talk.call(style, model))) for model in both]
    assert ours == theirs


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


@pytest.fixture
def sent(server, make):

    def sent(model_class, history=(QUESTION,), bind=lambda model: model):
        server.clear()
        server.queue(Reply('{"text": "Sunny.", "first": {"text": "a"}, "others": [], "children": []}'))
        bind(make(model_class)).invoke(list(history))
        (request,) = server.requests
        return {**request.body, "messages": [plain(message) for message in request.body["messages"]]}

    return sent


BOTH = (ChatPromptrun, langchain_openai.ChatOpenAI)


@pytest.mark.parametrize(
    "given",
    [
        *(pytest.param({"history": history}, id=name) for name, history in HISTORIES.items()),
        *(pytest.param({"bind": bind}, id=name) for name, bind in BINDINGS.items()),
    ],
)
def test_the_same_call_is_the_same_request(sent, given):
    ours, theirs = (sent(kind, **given) for kind in BOTH)
    assert ours == {key: value for key, value in theirs.items() if key in ours or key not in ONLY_THEIRS}
