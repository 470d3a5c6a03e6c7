"""What the tools of an agent return reaches the model, and a call that broke off does not block the conversation."""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import HumanMessage

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

agents = pytest.importorskip("langchain.agents")

CALL = {"name": "look_up", "args": {"key": "a"}, "id": "call_1"}


def agent_of(server, data):
    def look_up(key: str) -> object:
        """Look something up."""
        return data if key else None

    model = ChatPromptrun(model="a/b", base_url=server.base_url, api_key=server.api_key, max_retries=0)
    return agents.create_agent(model, [look_up])


@pytest.mark.parametrize(
    "data",
    [
        [{"type": "file", "name": "a.txt", "size": 3}, {"type": "file", "id": "2", "name": "b.txt"}],
        [{"type": "document", "title": "T", "body": "B"}],
        [{"type": "image", "name": "x.png"}],
        [{"type": "image_url", "url": "https://a.example/x.png"}],
        [{"type": "text", "content": "hello"}],
        [{"type": "json", "foo": 1}],
        [{"type": "search_result", "title": "T", "url": "https://a.example/"}],
        {"type": "file", "name": "a.txt"},
    ],
    ids=str,
)
def test_whatever_data_a_tool_returns_the_model_reads_all_of_it(promptrun_server, data):
    promptrun_server.queue(Reply(tool_calls=[CALL]), Reply("Done."))
    state = agent_of(promptrun_server, data).invoke({"messages": [("user", "Look up a.")]})
    result = promptrun_server.requests[1].body["messages"][2]
    assert (result["role"], result["tool_call_id"]) == ("tool", "call_1")
    content = result["content"]
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    assert [json.loads(text) for text in texts] == (data if isinstance(data, list) else [data])
    assert state["messages"][-1].text == "Done."


def test_media_that_a_tool_returns_are_still_seen(promptrun_server):
    promptrun_server.queue(Reply(tool_calls=[CALL]), Reply("A cat."))
    image = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
    agent_of(promptrun_server, [image]).invoke({"messages": [("user", "Look up a.")]})
    media = promptrun_server.requests[1].body["messages"][3]["content"][1]
    assert media == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize("style", ["invoke", "ainvoke", "stream", "astream", "events", "aevents"])
async def test_a_conversation_goes_on_after_a_tool_call_that_broke_off(promptrun_server, talk, style, output_version):
    broken = {"name": "look_up", "args": '{"key": "a'}
    promptrun_server.queue(Reply("Let me", tool_calls=[broken], finish_reason="length"), Reply("Sure."))
    model = ChatPromptrun(model="a/b", max_retries=0, output_version=output_version)
    history = [HumanMessage("Look up a.")]
    history += [await talk.call(style, model, history), HumanMessage("Go on.")]
    assert len(history[1].invalid_tool_calls) == 1
    assert (await talk.call(style, model, history)).text == "Sure."
    assert promptrun_server.requests[1].body["messages"] == [
        {"role": "user", "content": "Look up a."},
        {"role": "assistant", "content": "Let me"},
        {"role": "user", "content": "Go on."},
    ]


def test_an_agent_goes_on_after_a_tool_call_that_broke_off_beside_another(promptrun_server):
    broken = {"name": "look_up", "args": '{"key": "a', "id": "call_2"}
    promptrun_server.queue(Reply(tool_calls=[CALL, broken], finish_reason="length"), Reply("Done."))
    state = agent_of(promptrun_server, "data").invoke({"messages": [("user", "Look up a.")]})
    assert state["messages"][-1].text == "Done."
    _, turn, result, *rest = promptrun_server.requests[1].body["messages"]
    answered = {message["tool_call_id"] for message in [result, *rest]}
    assert {call["id"] for call in turn["tool_calls"]} == answered
