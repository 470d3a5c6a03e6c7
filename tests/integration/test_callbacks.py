"""Tokens reach callbacks on every path, each once, as langchain-core's own bridge from chunks to events tells them."""

import asyncio
from functools import reduce
from itertools import pairwise
from operator import add
from unittest.mock import AsyncMock, Mock

import httpx
import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_promptrun import ChatPromptrun, PromptrunAPIError

from .bodies import call, choice, sse

HELLO = [HumanMessage("Hello")]
STREAM = {"content-type": "text/event-stream"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
NOTE = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0}}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


STREAMS = {
    "text": [{"role": "assistant", "content": ""}, {"content": "Hello"}, {"content": " there."}],
    "nothing": [{}],
    "reasoning": [{"reasoning_content": "Hm"}, {"reasoning_content": "."}, {"content": "Hello"}],
    "tool call": [call(0, "", id="a", name="read"), call(0, '{"path"'), call(0, ': "x"}')],
    "tool calls": [
        {"content": "Let me see."},
        *(call(0, '{"a": 1}', id="a", name="f"), call(1, "", id="b", name="g"), call(1, '{"b": 2}')),
    ],
    "broken tool call": [call(0, "", id="a", name="read"), call(0, '{"path": "x')],
    "citations": [{"content": "Hello"}, {"annotations": [NOTE]}],
    "image": [{"content": "Look:"}, {"images": [PIXEL]}],
    "refusal": [{"refusal": "I "}, {"refusal": "will not."}],
    "audio": [{"audio": {"id": "a", "data": "AAAA"}}, {"audio": {"data": "BBBB"}}, {"audio": {"transcript": "Hm"}}],
    "encrypted reasoning": [
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": data, "index": 0}]} for data in ("eA==", "eQ==")
    ],
    "held text": [{"content": "Hello"}, {"content": "\ud83d"}, {"content": "\ude00"}],
    "unknown facts": [{"executed_tools": [{"index": 0, "type": "search"}]}, {"executed_tools": [{"output": "x"}]}],
    "withheld": [{}],
    "withheld after text": [{"content": "Hello"}],
}


class Bridged(ChatPromptrun):
    """A model whose events come from langchain-core's bridge over its chunks."""

    _stream_chat_model_events = None
    _astream_chat_model_events = None


class Tokens(BaseCallbackHandler):
    run_inline = True

    def __init__(self):
        self.told = []
        self.events = []
        self.ended = asyncio.get_running_loop().create_future()

    def on_llm_new_token(self, token, *, chunk=None, run_id=None, **_):
        self.told.append((run_id, token, chunk.message))
        self.events.append({"event": "token"})

    def on_stream_event(self, event, **_):
        self.events.append(event)

    def on_llm_end(self, response, **_):
        self.ended.set_result(response.generations[0][0].message)


@pytest.fixture
def make(over):
    def make(kind, cls=ChatPromptrun):
        head = {"id": "chatcmpl-1", "created": 1715325600, "model": "vendor/name"}
        reason = "content_filter" if "withheld" in kind else "stop"
        ending = choice({}, finish_reason=reason) | {"usage": USAGE}
        body = sse(*(head | document for document in [*map(choice, STREAMS[kind]), ending]))
        return over(lambda _: httpx.Response(200, headers=STREAM, content=body), cls)

    return make


@pytest.fixture
def told(make, call):
    """What a handler is told while a model is read: tokens, events, the message at the end."""

    async def told(kind, cls=ChatPromptrun):
        handler = Tokens()
        await call(make(kind, cls), config={"callbacks": [handler]})
        return handler.told, handler.events, await asyncio.wait_for(handler.ended, 10)  # in a task of langchain-core's

    return told


@pytest.mark.parametrize("style", ["events", "aevents"])
@pytest.mark.parametrize("kind", STREAMS)
async def test_native_events_and_their_tokens_say_what_those_of_the_bridge_say(told, talk, kind):
    (native, events, end), (bridged, bridge_events, bridge_end) = await told(kind), await told(kind, Bridged)
    message, bridge_message = (reduce(add, [chunk for *_, chunk in tokens]) for tokens in (native, bridged))
    assert "".join(token for _, token, _ in native) == "".join(token for _, token, _ in bridged)
    assert talk.facts(message) == talk.facts(bridge_message)
    assert talk.facts(end) == talk.facts(bridge_end)
    assert message.usage_metadata["total_tokens"] == 5
    assert {chunk.id for *_, chunk in native} == {f"lc_run--{run_id}" for run_id, *_ in native} == {message.id}
    for name in {event["event"] for event in bridge_events}:
        keys, bridge_keys = (
            set().union(*(event for event in told if event["event"] == name)) for told in (events, bridge_events)
        )
        assert keys >= bridge_keys, name


@pytest.mark.parametrize("style", ["stream", "astream", "events", "aevents"])
@pytest.mark.parametrize("kind", STREAMS)
async def test_each_delta_that_brings_something_is_told_when_it_comes_before_its_event(told, kind):
    tokens, events, end = await told(kind)
    names = [event["event"] for event in events]
    if kind in {"text", "reasoning", "tool calls"}:
        assert {before for before, name in pairwise(names) if name == "content-block-delta"} <= {"token"}
    brought = sum(any(value for key, value in delta.items() if key != "role") for delta in STREAMS[kind])
    assert len(tokens) > brought  # one more has the facts of the whole answer
    assert "".join(token for _, token, _ in tokens) in {end.text, end.additional_kwargs.get("refusal")}


@pytest.mark.parametrize("style", ["stream", "astream", "events", "aevents"])
async def test_empty_texts_of_an_answer_are_told_but_its_beginning(told, monkeypatch):
    monkeypatch.setitem(STREAMS, "empty", [{"role": "assistant", "content": ""}, {"content": ""}, {"content": ""}])
    tokens, _, end = await told("empty")
    assert [token for _, token, _ in tokens] == ["", "", ""]
    assert end.text == ""


async def test_chunks_report_tokens_to_a_run_manager_that_they_are_given(make):
    sync, other = Mock(run_id="7"), AsyncMock(run_id="7")
    chunks = list(make("text")._stream(HELLO, run_manager=sync))
    assert [chunk async for chunk in make("text")._astream(HELLO, run_manager=other)] == chunks
    assert [(chunk.text, chunk.message.id) for chunk in chunks] == [
        (text, "lc_run--7") for text in ("Hello", " there.", "")
    ]
    told = [((chunk.text,), {"chunk": chunk}) for chunk in chunks]
    assert sync.on_llm_new_token.call_args_list == other.on_llm_new_token.call_args_list == told


@pytest.mark.parametrize("handlers", [[], [BaseCallbackHandler()], [AsyncCallbackHandler()]])
async def test_no_chunk_is_made_where_no_handler_listens_to_tokens(make, handlers):
    """Events without a listener cost what they cost without callbacks."""
    sync, other = Mock(run_id="7", handlers=handlers), AsyncMock(run_id="7", handlers=handlers)
    list(make("text")._stream_chat_model_events(HELLO, run_manager=sync))
    _ = [event async for event in make("text")._astream_chat_model_events(HELLO, run_manager=other)]
    assert sync.on_llm_new_token.call_args_list == other.on_llm_new_token.call_args_list == []


class Failed(BaseCallbackHandler):
    def on_llm_error(self, error, *, response, **_):
        self.told = error, response.generations[0][0].text


@pytest.mark.parametrize("style", ["stream", "astream"])
async def test_what_came_before_an_error_is_in_the_trace_and_told_to_callbacks(over, call):
    handlers = failed, collector = Failed(), RunCollectorCallbackHandler()
    body = sse(choice({"content": "Once"}), {"error": {"code": 502, "message": "Gone."}})
    with pytest.raises(PromptrunAPIError) as caught:
        await call(over(lambda _: httpx.Response(200, headers=STREAM, content=body)), config={"callbacks": [*handlers]})
    [run] = collector.traced_runs
    assert failed.told == (caught.value, "Once")
    assert caught.value.partial == run.outputs["generations"][0][0]["text"] == "Once"
    assert "PromptrunAPIError" in run.error


def test_each_message_of_a_graph_comes_once(make):
    """LangGraph streams messages by their tokens, and whole ones whose id it has not seen."""
    graphs = pytest.importorskip("langgraph.graph")

    def node(state):
        return {"messages": [make("text").stream_events(state["messages"], version="v3").output]}

    graph = graphs.StateGraph(graphs.MessagesState).add_node("node", node).add_edge(graphs.START, "node").compile()
    seen = [message for message, _ in graph.stream({"messages": "Hello"}, stream_mode="messages")]
    assert "".join(message.text for message in seen) == "Hello there."
    assert len({message.id for message in seen}) == 1


async def test_a_living_stream_is_no_idle_node_of_a_graph(over):
    """LangGraph ends a node in which no callback fires for some time; a stream in it lasts longer here."""
    graphs, types = pytest.importorskip("langgraph.graph"), pytest.importorskip("langgraph.types")

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self):
            for _ in range(8):
                await asyncio.sleep(0.1)
                yield b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
            yield b"data: [DONE]\n\n"

    model = over(lambda _: httpx.Response(200, headers=STREAM, stream=Slow()))

    async def node(state):
        return {"messages": [await (await model.astream_events(state["messages"], version="v3")).output]}

    graph = graphs.StateGraph(graphs.MessagesState).add_edge(graphs.START, "node")
    graph.add_node("node", node, timeout=types.TimeoutPolicy(idle_timeout=0.6))
    state = await graph.compile().ainvoke({"messages": "Hello"})
    assert [message.text for message in state["messages"]] == ["Hello", "a" * 8]
