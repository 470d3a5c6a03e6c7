"""However a model is called, the same reply of the server is the same answer, over real sockets."""

from __future__ import annotations

import pytest
from langchain_core import exceptions

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import PromptrunServer, Reply

MODEL = "anthropic/claude-3.5-haiku"
NO = "I cannot do that."
HAS_REFUSALS = hasattr(exceptions, "ModelRefusalError")
KNOWN = {"id": "chatcmpl-1", "created": 1715325600}
COUNTS = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
THOUGHT = "The user greets me."
TEXT = "Hello, how are you?"
SOURCE = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 5}
NOTE = {"type": "url_citation", "url_citation": SOURCE}
CITATION = {"type": "citation", **SOURCE}
PIXEL = "iVBORw0KGgo="
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


def reply(text=None, /, *, headers=(), **parts):
    document = KNOWN | parts.pop("document", {})
    return Reply(text, **{"usage": COUNTS, "document": document, "headers": headers, **parts})


CALLS = [
    {"name": "weather", "args": {"city": "Tbilisi", "days": [1, 2]}, "id": "call_a"},
    {"name": "clock", "args": {}, "id": "call_b"},
]

REPLIES = {
    "text": (reply(TEXT), {"text": TEXT, "finish_reason": "stop"}),
    "text in one piece": (reply(TEXT, pieces=[TEXT]), {"text": TEXT}),
    "text of many scripts": (
        reply('\U0001f600 გამარჯობა \u2028 \x85 "\\" ende'),
        {"text": '\U0001f600 გამარჯობა \u2028 \x85 "\\" ende'},
    ),
    "nothing": (reply(""), {"text": ""}),
    **{
        f"reasoning in {' and '.join(fields)}": (
            reply(TEXT, reasoning=THOUGHT, reasoning_field=fields),
            {"text": TEXT, "reasoning": THOUGHT},
        )
        for fields in (
            *(("reasoning_content",), ("reasoning",), ("reasoning_details",)),
            *(("reasoning", "reasoning_content"), ("reasoning", "reasoning_details")),
        )
    },
    "parallel tool calls": (
        reply(tool_calls=CALLS),
        {
            "tool_calls": [("weather", {"city": "Tbilisi", "days": [1, 2]}, "call_a"), ("clock", {}, "call_b")],
            "finish_reason": "tool_calls",
        },
    ),
    "text, thought and a signed tool call": (
        reply(
            TEXT, reasoning=THOUGHT, tool_calls=[CALLS[0] | {"extra_content": {"google": {"thought_signature": "s"}}}]
        ),
        {"text": TEXT, "reasoning": THOUGHT, "tool_calls": [("weather", CALLS[0]["args"], "call_a")]},
    ),
    "a refusal": (reply(None, refusal=NO), {"text": "", "refusal": NO} if HAS_REFUSALS else {"text": NO}),
    "annotations": (reply(TEXT, message={"annotations": [NOTE]}), {"text": TEXT, "annotations": [CITATION]}),
    "annotations beside a tool call": (
        reply(TEXT, tool_calls=[CALLS[0]], message={"annotations": [NOTE]}),
        {"text": TEXT, "tool_calls": [("weather", CALLS[0]["args"], "call_a")], "annotations": [CITATION]},
    ),
    "an image": (
        reply(TEXT, message={"images": [IMAGE]}),
        {"text": TEXT, "images": [{"type": "image", "base64": PIXEL, "mime_type": "image/png"}]},
    ),
    "unknown keys everywhere": (
        reply(TEXT, message={"executed_tools": [{"a": 1}]}, document={"provider": "Acme", "x": {"y": [1.5, None]}}),
        {"text": TEXT},
    ),
    "cost in a header": (reply(TEXT, headers={"x-promptrun-cost": "0.00125"}), {"cost": 0.00125}),
    "the documented answer, without usage and finish reason": (
        reply(TEXT, usage=None, finish_reason=None),
        {"text": TEXT, "usage": None, "finish_reason": None},
    ),
}


@pytest.fixture(scope="module", params=["promptrun", "openai"])
def server(request):
    with PromptrunServer(dialect=request.param) as server:
        yield server


@pytest.fixture(params=["httpx", "aiohttp"])
def make(server, request):
    if request.param == "aiohttp":
        pytest.importorskip("httpx_aiohttp")

    def make(**fields):
        settings = {"api_key": server.api_key, "base_url": server.base_url, "async_transport": request.param}
        return ChatPromptrun(model=MODEL, max_retries=0, **settings, **fields)

    return make


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize("name", REPLIES)
async def test_all_styles_give_the_same_answer(server, make, talk, name, output_version):
    given, expected = REPLIES[name]
    model = make(output_version=output_version)
    answers = {}
    for style in talk.styles:
        server.queue(given)
        answers[style] = talk.facts(await talk.call(style, model))
    for style, facts in answers.items():
        assert facts == answers["invoke"], style
    found = answers["invoke"] | answers["invoke"]["metadata"]
    assert {key: found.get(key) for key in expected} == expected
    assert (found["id"], found["created"], found["model_name"]) == ("chatcmpl-1", 1715325600, MODEL)
    assert found["model_provider"] == "promptrun"


@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_log_probabilities_are_the_same_in_all_styles(server, make, talk, output_version):
    model = make(output_version=output_version, logprobs=True, top_logprobs=2)
    answers = []
    for style in talk.styles:
        server.queue(reply(TEXT))
        answers.append(talk.facts(await talk.call(style, model)))
    assert all(facts == answers[0] for facts in answers)
    tokens = [entry["token"] for entry in answers[0]["metadata"]["logprobs"]["content"]]
    assert "".join(tokens) == TEXT


@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_content_is_text_or_blocks_as_the_output_version_says(server, make, talk, output_version):
    """Protocol events always give blocks; everything else text under v0."""
    model = make(output_version=output_version)
    for style in talk.styles:
        server.queue(reply(TEXT, reasoning=THOUGHT))
        message = await talk.call(style, model)
        if output_version == "v0" and "events" not in style:
            assert message.content == TEXT
        else:
            assert [block["type"] for block in message.content] == ["reasoning", "text"]


async def test_an_answer_sent_back_gives_the_same_request_in_all_styles(server, make, talk):
    """What was answered goes back as it came: reasoning, signatures, calls."""
    details = [{"type": "reasoning.text", "text": THOUGHT, "signature": "c2ln", "format": "f", "index": 0}]
    call = CALLS[0] | {"extra_content": {"google": {"thought_signature": "s"}}}
    sent = []
    for style in talk.styles:
        model = make(output_version="v1" if "events" in style else "v0")
        server.queue(reply(TEXT, reasoning_details=details, tool_calls=[call]), reply(TEXT))
        message = await talk.call(style, model)
        await model.ainvoke(
            [("user", "Hello"), message, {"role": "tool", "tool_call_id": "call_a", "content": "Sunny."}]
        )
        sent.append(server.requests[-1].body["messages"])
    assert all(messages == sent[0] for messages in sent)
    assert sent[0][1]["reasoning_details"] == details
    assert sent[0][1]["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "s"}}
