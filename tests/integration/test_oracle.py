"""langchain-openai's `ChatOpenAI` as an oracle: the same bytes, the same answer; the same messages, the same request.

Promptrun declares itself compatible with OpenAI's Chat Completions, so where that client is right the two agree. Where
they are meant to differ, the difference is written down here.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import LangChainException
from langchain_core.messages import AIMessage, ChatMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

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
    """Makes the two models alike."""

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


# The same bytes.

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


def answer(message: AIMessage) -> dict[str, Any]:
    """What both clients have to say; an empty detail of the usage says nothing."""
    usage = {key: value for key, value in (message.usage_metadata or {}).items() if value != {}}
    return {
        "text": message.text,
        "tool_calls": [(call["name"], call["args"], call["id"]) for call in message.tool_calls],
        "invalid_tool_calls": [(call["name"], call["id"]) for call in message.invalid_tool_calls],
        "usage": usage,
        "finish_reason": message.response_metadata.get("finish_reason"),
        "model_name": message.response_metadata.get("model_name"),
    }


@pytest.mark.parametrize("style", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("name", REPLIES)
async def test_the_same_reply_is_the_same_answer(server, both, talk, name, style):
    server.queue(REPLIES[name], REPLIES[name])
    ours, theirs = [answer(await talk.call(style, model)) for model in both]
    assert ours == theirs


FOLDER = os.environ.get("PROMPTRUN_RECORDINGS")


def recorded():
    if not FOLDER:
        return []
    with gzip.open(Path(FOLDER) / "exchanges.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.skipif(not FOLDER, reason="PROMPTRUN_RECORDINGS is not set")
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")  # the other client's
@pytest.mark.parametrize("part", range(4))
async def test_the_same_recording_is_the_same_answer(server, both, talk, part):
    """Each recorded answer in one of its styles; what the other client fails with or has not cannot be compared."""
    disagreements = []
    compared = dict.fromkeys(("text", "tool_calls", "usage", "finish_reason", "model_name"), 0)
    for number, exchange in list(enumerate(recorded()))[part::4]:
        streamed = exchange["content_type"].startswith("text/event-stream")
        fault = Fault(headers={"content-type": exchange["content_type"]}, slices=[exchange["response"].encode()])
        style = (("stream", "astream") if streamed else ("invoke", "ainvoke"))[number // 4 % 2]
        server.queue(replace(fault, status=exchange["status"], times=2))
        ours, theirs = [await _answer(talk, style, model) for model in both]
        for fact in [fact for fact in compared if _is_right(fact, theirs.get(fact))]:
            compared[fact] += 1
            if not _holds(ours.get(fact), theirs[fact]):
                disagreements.append((number, style, fact, ours.get(fact), theirs[fact]))
    assert disagreements == []
    assert min(compared.values()) >= 20


def _is_right(fact, value):
    """Whether the other client has a fact, and not one of its known errors: a doubled text, a call without an id."""
    if fact in {"finish_reason", "model_name"}:
        half = len(value or "") // 2
        return bool(value) and value[:half] != value[half:]
    return all(ident for *_, ident in value) if fact == "tool_calls" and value else bool(value)


def _holds(ours, theirs):
    """Whether all that the other client says is said here, too; there may be more."""
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and all(_holds(ours.get(key), value) for key, value in theirs.items())
    return ours == theirs


async def _answer(talk, style, model):
    """The answer, or nothing for an error; the other client has many kinds."""
    try:
        return answer(await talk.call(style, model))
    except (LangChainException, OpenAIError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}


OTHER = HumanMessage("Bye")
GENERATED = {
    "one": ({}, [[QUESTION]]),
    "streamed": ({"streaming": True}, [[QUESTION]]),
    "several answers": ({"n": 2}, [[QUESTION]]),
    "two prompts": ({}, [[QUESTION], [OTHER]]),
    "two prompts streamed": ({"streaming": True}, [[QUESTION], [OTHER]]),
    "cached": ({"cached": True}, [[QUESTION]]),
    "streamed and cached": ({"cached": True, "streaming": True}, [[QUESTION]]),
    "one of two cached": ({"cached": True}, [[QUESTION], [OTHER]]),
}


@pytest.mark.filterwarnings("ignore:Unexpected type for token usage:UserWarning")  # the other client's
@pytest.mark.parametrize("method", ["generate", "agenerate"])
@pytest.mark.parametrize("name", GENERATED)
async def test_generate_says_in_llm_output_all_that_the_other_client_says(server, both, name, method):
    """And more where that says nothing: the tokens of a stream, the id of the only answer."""
    fields, prompts = GENERATED[name]
    outputs = []
    for bare in both:
        cached = {"cache": InMemoryCache()} if fields.get("cached") else {}
        model = bare.model_copy(update={key: fields[key] for key in fields if key != "cached"} | cached)
        server.clear()
        server.queue(replace(REPLIES["usage with details"], document={"system_fingerprint": "fp"}, times=2))
        if cached:
            await model.ainvoke([QUESTION])
        result = getattr(model, method)(prompts)
        outputs.append((await result if method == "agenerate" else result).llm_output)
    ours, theirs = outputs
    assert _holds(ours, theirs)
    assert theirs.keys() <= ours.keys()
    assert ours["token_usage"] or "cached" in name


# The same request.


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


HISTORIES = {
    "one text": [QUESTION],
    "a conversation": [SystemMessage("Be brief."), QUESTION, AIMessage("Sunny."), HumanMessage("Thanks.")],
    "names": [HumanMessage("Hello", name="me"), AIMessage("Hi", name="bot"), HumanMessage("Bye")],
    "a developer's message": [SystemMessage("x", additional_kwargs={"__openai_role__": "developer"}), QUESTION],
    "a chat message": [ChatMessage("Hello", role="user")],
    "parallel tool calls": turn("", tool_calls=[CALL, OTHER_CALL]),
    "text and a tool call": turn("Let me see.", tool_calls=[CALL]),
    "a function call": [
        QUESTION,
        AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
        FunctionMessage("Sunny.", name="f"),
    ],
    "text parts": human(v0("text", text="a"), v0("text", text="b")),
    "an image by URL": human(v0("image_url", image_url={"url": "https://a.example/x.png", "detail": "low"})),
    "a v0 image by URL": human(v0("image", source_type="url", url="https://a.example/x.png")),
    "a v0 image": human(v0("image", source_type="base64", data=PIXEL, mime_type="image/png")),
    "a v1 image by URL": human(v0("image", url="https://a.example/x.png")),
    "a v1 image": human(v0("image", base64=PIXEL, mime_type="image/png")),
    "Anthropic's image": human(v0("image", source={"type": "base64", "media_type": "image/png", "data": PIXEL})),
    "OpenAI's audio": human(v0("input_audio", input_audio={"data": PIXEL, "format": "wav"})),
    "v0 audio": human(v0("audio", source_type="base64", data=PIXEL, mime_type="audio/wav")),
    "v1 audio": human(v0("audio", base64=PIXEL, mime_type="audio/wav")),
    "a v0 file": human(v0("file", source_type="base64", data=PIXEL, mime_type="application/pdf", filename="a.pdf")),
    "a v1 file": human(v0("file", base64=PIXEL, mime_type="application/pdf", filename="a.pdf")),
    "a v0 file by id": human(v0("file", source_type="id", id="file-1")),
    "a v1 file by id": human(v0("file", file_id="file-1")),
    "an assistant's thinking": turn([v0("thinking", thinking="t", signature="s"), v0("text", text="a")]),
    "Anthropic's tool use": turn(
        [v0("text", text="a"), v0("tool_use", id="call_a", name="weather", input=CALL["args"])], tool_calls=[CALL]
    ),
    "a result in parts": [
        *turn("", tool_calls=[CALL])[:2],
        ToolMessage([v0("text", text="Sunny."), v0("text", text="Warm.")], tool_call_id="call_a"),
    ],
}
PARAMETERS = {
    "sampling": {"temperature": 0.5, "top_p": 0.9, "seed": 7, "frequency_penalty": 0.1, "presence_penalty": -0.1},
    "several answers": {"n": 2},
    "log probabilities": {"logprobs": True, "top_logprobs": 2, "logit_bias": {"5": 3}},
    "the newer limit": {"max_completion_tokens": 5},
    "stop": {"stop": ["a", "b"]},
    "effort": {"reasoning_effort": "low"},
    "model_kwargs": {"model_kwargs": {"modalities": ["text"]}},
    "extra_body": {"extra_body": {"top_k": 5}},
}
BINDINGS = {
    "tools": lambda model: model.bind_tools([weather, Answer]),
    "any tool": lambda model: model.bind_tools([weather], tool_choice="any"),
    "a chosen tool": lambda model: model.bind_tools([weather], tool_choice="weather", parallel_tool_calls=False),
    "strict tools": lambda model: model.bind_tools([Answer], strict=True),
    "JSON": lambda model: model.bind(response_format={"type": "json_object"}),
    "structured output by a tool": lambda model: model.with_structured_output(
        Answer, method="function_calling", include_raw=True
    ),
    "structured output by a schema": lambda model: model.with_structured_output(
        Answer, method="json_schema", include_raw=True, strict=True
    ),
    "strict structured output of nested classes": lambda model: model.with_structured_output(
        Trip, method="json_schema", include_raw=True, strict=True
    ),
    "strict structured output of a recursive class": lambda model: model.with_structured_output(
        Tree, method="json_schema", include_raw=True, strict=True
    ),
    "structured output as JSON": lambda model: model.with_structured_output(
        Answer, method="json_mode", include_raw=True
    ),
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
    """The body of the request that a model sends."""

    def sent(model_class, history, bind=lambda model: model, fields=None):
        server.clear()
        server.queue(Reply('{"text": "Sunny.", "first": {"text": "a"}, "others": [], "children": []}'))
        bind(make(model_class, **(fields or {}))).invoke(history)
        (request,) = server.requests
        return {**request.body, "messages": [plain(message) for message in request.body["messages"]]}

    return sent


def assert_agree(ours, theirs):
    assert ours == {key: value for key, value in theirs.items() if key in ours or key not in ONLY_THEIRS}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_same_history_is_the_same_request(sent, name):
    assert_agree(sent(ChatPromptrun, HISTORIES[name]), sent(langchain_openai.ChatOpenAI, HISTORIES[name]))


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_same_parameters_are_the_same_request(sent, name):
    ours, theirs = (
        sent(kind, [QUESTION], fields=PARAMETERS[name]) for kind in (ChatPromptrun, langchain_openai.ChatOpenAI)
    )
    assert_agree(ours, theirs)


@pytest.mark.parametrize("name", BINDINGS)
def test_the_same_binding_is_the_same_request(sent, name):
    ours, theirs = (sent(kind, [QUESTION], BINDINGS[name]) for kind in (ChatPromptrun, langchain_openai.ChatOpenAI))
    assert_agree(ours, theirs)


class TestMeantToDiffer:
    """What langchain-openai does for OpenAI's own service, and this package does not do for all vendors."""

    def test_the_text_of_an_invalid_tool_call_is_sent_as_json(self, sent):
        broken = {"name": "weather", "args": '{"ci', "id": "c", "error": "x"}
        texts = []
        for kind in (ChatPromptrun, langchain_openai.ChatOpenAI):
            messages = sent(kind, turn("", invalid_tool_calls=[broken]))["messages"]
            texts.append(messages[1]["tool_calls"][0]["function"]["arguments"])
        assert texts == [{"invalid_arguments": '{"ci'}, '{"ci']

    def test_a_default_that_strict_mode_does_not_take_is_left_out(self, sent):
        days = [
            sent(kind, [QUESTION], lambda model: model.bind_tools([weather], strict=True))["tools"][0]["function"][
                "parameters"
            ]["properties"]["days"]
            for kind in (ChatPromptrun, langchain_openai.ChatOpenAI)
        ]
        assert days == [{"type": "integer"}, {"type": "integer", "default": 1}]

    def test_a_limit_keeps_its_name(self, sent):
        fields = {"max_tokens": 5}
        assert sent(ChatPromptrun, [QUESTION], fields=fields)["max_tokens"] == 5
        assert sent(langchain_openai.ChatOpenAI, [QUESTION], fields=fields)["max_completion_tokens"] == 5

    def test_a_name_that_is_none_for_the_wire_is_left_out(self, sent):
        history = [HumanMessage("Hello", name="me too")]
        assert "name" not in sent(ChatPromptrun, history)["messages"][0]
        assert sent(langchain_openai.ChatOpenAI, history)["messages"][0]["name"] == "me too"

    def test_a_refusal_is_sent_back(self, sent):
        history = turn("No.", additional_kwargs={"refusal": "No."})
        assert sent(ChatPromptrun, history)["messages"][1]["refusal"] == "No."
        assert "refusal" not in sent(langchain_openai.ChatOpenAI, history)["messages"][1]

    def test_texts_in_a_list_become_parts(self, sent):
        history = [*turn("", tool_calls=[CALL])[:2], ToolMessage(["a", "b"], tool_call_id="call_a")]
        assert sent(ChatPromptrun, history)["messages"][2]["content"] == [v0("text", text="a"), v0("text", text="b")]
        assert sent(langchain_openai.ChatOpenAI, history)["messages"][2]["content"] == ["a", "b"]

    def test_an_assistants_texts_become_one(self, sent):
        history = turn([v0("text", text="a"), v0("text", text="b")])
        assert sent(ChatPromptrun, history)["messages"][1]["content"] == "ab"
        assert len(sent(langchain_openai.ChatOpenAI, history)["messages"][1]["content"]) == 2

    def test_usage_is_asked_for_wherever_the_server_is(self, server, make):
        for kind, expected in ((ChatPromptrun, {"include_usage": True}), (langchain_openai.ChatOpenAI, None)):
            server.clear()
            list(make(kind).stream("Hello"))
            assert server.requests[0].body.get("stream_options") == expected

    def test_a_schema_is_strict_only_when_the_caller_says_so(self, sent):
        def bind(model):
            return model.with_structured_output(Answer, method="json_schema", include_raw=True)

        ours, theirs = (sent(kind, [QUESTION], bind) for kind in (ChatPromptrun, langchain_openai.ChatOpenAI))
        assert "strict" not in ours["response_format"]["json_schema"]
        assert theirs["response_format"]["json_schema"]["strict"] is True
