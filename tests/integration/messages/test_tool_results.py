"""What the tools of an agent return reaches the model, and a call that broke off does not block the conversation."""

from __future__ import annotations

import json
import math
from typing import Annotated

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.messages import content as v1
from langchain_core.tools import InjectedToolCallId

from langchain_promptrun import ChatPromptrun, PromptrunInvalidMessageError
from langchain_promptrun.testing import PromptrunServer, Reply

from .sending import each, result_parts, text

agents = pytest.importorskip("langchain.agents")
Command = pytest.importorskip("langgraph.types").Command

CALL = {"name": "look_up", "args": {"key": "a"}, "id": "call_1"}


def agent_of(server, data):
    def look_up(key: str) -> object:
        """Look something up."""
        return data if key else None

    model = ChatPromptrun(model="a/b", base_url=server.base_url, api_key=server.api_key, max_retries=0)
    return agents.create_agent(model, [look_up])


FOUND = [
    {"type": "file", "name": "a.txt", "size": 3},
    {"type": "file", "id": "2", "name": "b.txt"},
    {"type": "image_url", "url": "https://a.example/x.png"},
    {"type": "search_result", "title": "T", "url": "https://a.example/"},
]


@pytest.mark.parametrize("data", [FOUND, FOUND[:1], FOUND[0]], ids=len)
def test_tool_result_of_any_data_is_read_whole_by_the_model(promptrun_server, data):
    promptrun_server.queue(Reply(tool_calls=[CALL]), Reply("Done."))
    state = agent_of(promptrun_server, data).invoke({"messages": [("user", "Look up a.")]})
    result = promptrun_server.requests[1].body["messages"][2]
    assert (result["role"], result["tool_call_id"]) == ("tool", "call_1")
    content = result["content"]
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    assert [json.loads(text) for text in texts] == (data if isinstance(data, list) else [data])
    assert state["messages"][-1].text == "Done."


def test_invalid_tool_call_beside_another_does_not_block_the_agent(promptrun_server):
    broken = {"name": "look_up", "args": '{"key": "a', "id": "call_2"}
    promptrun_server.queue(Reply(tool_calls=[CALL, broken], finish_reason="length"), Reply("Done."))
    state = agent_of(promptrun_server, "data").invoke({"messages": [("user", "Look up a.")]})
    assert state["messages"][-1].text == "Done."
    _, turn, result, *rest = promptrun_server.requests[1].body["messages"]
    answered = {message["tool_call_id"] for message in [result, *rest]}
    assert {call["id"] for call in turn["tool_calls"]} == answered


def test_tool_result_that_comes_twice_for_one_call_is_sent_twice():
    """A server may read both; OpenAI's names the id and both positions in its 400."""

    def look_up(key: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:
        """Look something up."""
        update = [ToolMessage(said, tool_call_id=tool_call_id) for said in ("Looking.", key)]
        return Command(update={"messages": update})

    with PromptrunServer(strict=False) as server:
        server.queue(Reply(tool_calls=[CALL]), Reply("Done."))
        model = ChatPromptrun(model="a/b", base_url=server.base_url, api_key=server.api_key, max_retries=0)
        state = agents.create_agent(model, [look_up]).invoke({"messages": [("user", "Look up a.")]})
        results = server.requests[1].body["messages"][2:]
    assert results == [{"role": "tool", "tool_call_id": "call_1", "content": said} for said in ("Looking.", "a")]
    assert state["messages"][-1].text == "Done."


CACHE = {"cache_control": {"type": "ephemeral"}}
PDF = {"base64": "AAAA", "mime_type": "application/pdf"}
FILE = {"type": "file", "file": {"filename": "file.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
BYTES = {"type": "file", "file": {"filename": "file.bin", "file_data": "data:application/octet-stream;base64,AAAA"}}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
# Of types that LangChain's tools take for content blocks.
DATA = [
    {"type": "file", "name": "a.txt", "size": 3},
    {"type": "file", "id": "17", "name": "a.txt"},
    {"type": "file", "name": "a.txt", "data": "its text"},
    {"type": "file", "file": {"path": "a.txt"}},
    {"type": "file", "source": "disk", "id": "17"},
    {"type": "file", "url": "demo://x", "mime_type": "text/plain"},
    {"type": "image", "url": "demo://x.png"},
    {"type": "resource_link", "uri": "demo://x", "name": "x"},
    {"type": "document", "title": "T", "body": "B"},
    {"type": "document", "url": "https://a.example/a", "body": "B"},
    {"type": "document", "source": {"type": "content", "content": []}, "body": "B"},
    {"type": "image", "name": "x.png"},
    {"type": "image", "id": "17"},
    {"type": "image_generation_call", "status": "failed"},
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
    {"type": "thinking", "seconds": 5},
    {"type": "reasoning", "score": 5},
    {"type": "guard_content", "name": "x"},
    {"guard_content": {"a": 1}},
    {"text": "hello"},
    {"type": "odd"},
    {"type": 5},
    {"type": None, "a": 1},
    {"a": 1, "b": {"type": "text", "text": "x"}},
    {},
]


@pytest.mark.parametrize("data", DATA, ids=str)
def test_tool_result_data_that_is_no_content_block_goes_out_whole_as_its_json(data):
    before, (part), after = result_parts([text("before"), data, text("after")])
    assert (before, after) == (text("before"), text("after"))
    assert part.keys() == {"type", "text"}
    assert json.loads(part["text"]) == data


THOUGHTS = [
    {"type": "reasoning", "reasoning": "secret", "extras": {"signature": "s"}},
    {"type": "reasoning", "id": "lc_rs_1", "extras": {"encrypted_content": "secret"}},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "secret"},
    {"type": "reasoning_content", "reasoning_content": {"text": "secret", "signature": "s"}},
    {"type": "redacted_thinking", "data": "secret"},
    {"type": "thinking", "thinking": "secret", "signature": "s"},
    *({"type": "non_standard", "value": {"type": kind}} for kind in ("thinking", "container_upload", "computer_call")),
]
SILENT = [
    *("", text(""), text(None), {"type": "text-plain", "text": ""}, {"type": "custom_tool_call_output", "output": ""}),
    *THOUGHTS,
]
LINK = v1.create_file_block(url="demo://x", mime_type="text/plain")


READ = [
    ([text("hello")], ["hello"]),
    ([text("null")], [{"type": "json", "json": None}]),
    ([text("T"), text("x")], [{"type": "search_result", "title": "T", "content": [text("x")]}]),
    ([FILE], [{"type": "file", **PDF}], [{"type": "document", **PDF}]),
    ([FILE], [{"type": "file", "data": "AAAA", "mimeType": "application/pdf"}]),
    ([BYTES], [{"type": "file", "data": b"\0\0\0"}]),
    ([PNG], [{"type": "image_generation_call", "result": "AAAA"}]),
    ([], *([block] for block in SILENT)),
    ([text("said")], *([block, text("said")] for block in THOUGHTS)),
    # data of any form, as its JSON, without the id that langchain-core makes
    ([text('{"a":1}')], {"a": 1}),
    *(([text("0")], 0), ([text("5")], [5]), ([text('["a"]')], [["a"]]), ([], None, "")),
    ([text('{"type":"file","url":"demo://x","mime_type":"text/plain"}')], [LINK]),
    ([{**text("x"), **CACHE}], [{**text("x"), **CACHE}], [text("x"), {**text(""), **CACHE}]),
    ([text('{"a":1,"cache_control":{"type":"ephemeral"}}')], [{"a": 1, **CACHE}]),
]


@each("parts, content", READ)
def test_tool_result_is_read_where_it_is_readable_and_else_its_json(content, parts):
    assert result_parts(content) == parts


def test_tool_result_of_an_mcp_tool_without_content_is_its_structured_content():
    artifact = {"structured_content": {"a": 1}}
    assert result_parts([], artifact=artifact) == result_parts("", artifact=artifact) == [text('{"a":1}')]
    assert result_parts("said", artifact=artifact) == [text("said")]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([text("x"), {"a": math.nan}], r"content\[1\]\.a is NaN"),
        ([{"type": "json", "json": {"a": math.nan}}], r"content\[0\]\.json\.a is NaN"),
        ({"a": math.inf}, r"content\.a is an infinity"),
    ],
)
def test_tool_result_that_json_cannot_carry_raises_an_error_with_its_place(content, place):
    with pytest.raises(PromptrunInvalidMessageError, match=rf"^messages\[1\]\.{place}"):
        result_parts(content)
