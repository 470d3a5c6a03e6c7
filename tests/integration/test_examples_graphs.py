"""The examples of graphs do what they say: streams, version 3 with native events, checkpoints that resume."""

import importlib
from pathlib import Path

import pytest

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

pytest.importorskip("langgraph")

EXAMPLES = Path(__file__).parents[2] / "examples"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


class NativeOnly(ChatPromptrun):
    """Can stream protocol events and nothing else."""

    def _generate(self, *_, **__):
        raise AssertionError("an unstreamed call was made")

    def _stream(self, *_, **__):
        raise AssertionError("a stream of chunks was made")


def queue_two_answers(server):
    server.queue(
        Reply("It scatters.", reasoning="Rayleigh.", pieces=["It", " scatters."], usage=USAGE),
        Reply("Too short.", reasoning="Be fair.", pieces=["Too", " short."], usage=USAGE),
    )


# langgraph_stream


def test_a_graphs_stream_modes_give_tokens_updates_and_values(example, promptrun_server):
    langgraph_stream = example("langgraph_stream")
    queue_two_answers(promptrun_server)
    collected = langgraph_stream.by_mode(langgraph_stream.two_voices(langgraph_stream.thinker()))
    by_node = {}
    for chunk, metadata in collected["messages"]:
        node = metadata["langgraph_node"]
        by_node[node] = chunk if node not in by_node else by_node[node] + chunk
    assert list(by_node) == ["answer", "criticise"]
    assert [chunk.text for chunk in by_node.values()] == ["It scatters.", "Too short."]
    assert [chunk.usage_metadata["total_tokens"] for chunk in by_node.values()] == [15, 15]
    assert by_node["answer"].content_blocks[0] == {"type": "reasoning", "reasoning": "Rayleigh."}
    assert [list(update) for update in collected["updates"]] == [["answer"], ["criticise"]]
    assert [len(value["messages"]) for value in collected["values"]] == [1, 2, 3]
    assert collected["values"][-1]["messages"][1].text == "It scatters."


def test_a_graphs_tokens_come_before_its_updates(example, promptrun_server):
    langgraph_stream = example("langgraph_stream")
    graph = langgraph_stream.two_voices(langgraph_stream.thinker())
    modes = [mode for mode, _ in graph.stream(langgraph_stream.QUESTION, stream_mode=["messages", "updates"])]
    assert modes.index("updates") > 5
    assert all(request.body["stream"] for request in promptrun_server.requests)


def test_version_3_of_a_graph_uses_the_native_events(example, promptrun_server):
    langgraph_stream = example("langgraph_stream")
    queue_two_answers(promptrun_server)
    model = NativeOnly(model="anthropic/claude-sonnet-5")
    assert langgraph_stream.by_message(langgraph_stream.two_voices(model)) == [
        ("answer", ["It", " scatters."], "Rayleigh."),
        ("criticise", ["Too", " short."], "Be fair."),
    ]


async def test_version_3_of_a_graph_works_in_async_code(example, promptrun_server):
    langgraph_stream = example("langgraph_stream")
    queue_two_answers(promptrun_server)
    graph = langgraph_stream.two_voices(langgraph_stream.thinker())
    stream = await graph.astream_events(langgraph_stream.QUESTION, version="v3")
    texts = [[piece async for piece in message.text] async for message in stream.messages]
    assert texts == [["It", " scatters."], ["Too", " short."]]
    output = await stream.output()
    assert [message.text for message in output["messages"][1:]] == ["It scatters.", "Too short."]


def test_the_state_of_a_graph_is_the_same_in_version_3(example, promptrun_server):
    """Version 3 assembles the message from events, and the graph keeps what the unstreamed call would give."""
    langgraph_stream = example("langgraph_stream")
    graph = langgraph_stream.two_voices(langgraph_stream.thinker())
    queue_two_answers(promptrun_server)
    streamed = graph.stream_events(langgraph_stream.QUESTION, version="v3").output["messages"][1]
    queue_two_answers(promptrun_server)
    whole = graph.invoke(langgraph_stream.QUESTION)["messages"][1]
    assert streamed.text == whole.text
    assert streamed.usage_metadata == whole.usage_metadata
    assert [block for block in streamed.content_blocks if block["type"] == "reasoning"]
    assert streamed.response_metadata["model_name"] == whole.response_metadata["model_name"]


# langgraph_resume


def test_a_graph_resumes_from_its_file_with_reasoning_and_calls_as_they_came(example, promptrun_server, tmp_path):
    pytest.importorskip("langgraph.checkpoint.sqlite")
    langgraph_resume = example("langgraph_resume")
    langgraph_resume.rehearse(promptrun_server)
    waiting = langgraph_resume.start(tmp_path / "checkpoints.db")
    assert [call["name"] for call in waiting.tool_calls] == ["get_weather"]
    assert len(promptrun_server.requests) == 1
    messages = langgraph_resume.resume(tmp_path / "checkpoints.db")
    assert messages[-1].text == "The tool get_weather says: It is sunny in Tbilisi, 24 degrees."
    assert messages[1] == waiting
    sent = promptrun_server.requests[-1].body["messages"][1]
    assert sent["reasoning_details"] == [
        {"type": "reasoning.text", "text": "I need the tool.", "signature": "c2lnbmVk", "index": 0}
    ]
    assert sent["content"] is None
    assert sent["tool_calls"] == [
        {
            "id": waiting.tool_calls[0]["id"],
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city":"Tbilisi"}'},
            "extra_content": {"signature": "c2lnbmVkIGNhbGw="},
        }
    ]
    assert promptrun_server.requests[-1].body["messages"][2]["tool_call_id"] == waiting.tool_calls[0]["id"]
