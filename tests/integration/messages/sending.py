"""What a model sends for given messages, and what its next request holds after an answer."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_promptrun import ChatPromptrun
from tests.integration.bodies import stream, whole
from tests.integration.talk import Talk


def request_of(*messages, bound=None, **fields):
    conversation = Conversation({"content": "Hi."})
    # LangChain's hook: what `invoke` does before it to the messages is LangChain's affair.
    conversation.model(**fields)._generate(list(messages), **(bound or {}))
    return conversation.requests[0]


def sent(*messages, **fields):
    return request_of(*messages, **fields)["messages"]


def parts_of(*blocks, kind=HumanMessage, **fields):
    message = kind("")
    message.content = list(blocks)  # unchecked, as what a tool returns is
    content = sent(message, **fields)[0]["content"]
    return [{"type": "text", "text": content}] if content and isinstance(content, str) else content or []


def text(value):
    return {"type": "text", "text": value}


def result_parts(content, **fields):
    """What a tool's result becomes: its own parts, then its media."""
    call = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "c1"}])
    message = ToolMessage("", tool_call_id="c1", **fields)
    message.content = content  # unchecked
    _, wire, *rest = sent(call, message)
    content = [text(wire["content"])] if isinstance(wire["content"], str) and wire["content"] else wire["content"]
    media = [part for other in rest for part in other["content"][1:]]
    return media if content == [text("(attached to the next message)")] else [*content, *media]


def each(names, table):
    """Parametrize over rows of what is expected and all that gives it."""
    return pytest.mark.parametrize(names, [(expected, given) for expected, *all_given in table for given in all_given])


STYLES = ("invoke", "invoke answered by a stream", "stream", "astream", "events", "aevents")
each_style = pytest.mark.parametrize("style", STYLES)


class Conversation:
    """Two turns with a model: the answers of the server are given, and the requests are kept."""

    def __init__(self, message, deltas=None, **facts):
        facts = {"id": "chatcmpl-1", "model": "vendor/name"} | facts
        self.whole = whole(message, **facts)
        self.streamed = stream({"role": "assistant"}, *([message] if deltas is None else deltas), **facts)
        self.requests = []

    def model(self, *, only_streams=False, **fields):
        """A model of which the server gives this answer, as it is asked, or as a stream only."""

        def answer(request):
            self.requests.append(strictly_parsed(request.content))
            is_streamed = only_streams or "stream" in self.requests[-1]
            kind = "text/event-stream" if is_streamed else "application/json"
            content = self.streamed if is_streamed else self.whole
            return httpx.Response(200, content=content, headers={"content-type": kind})

        handler = httpx.MockTransport(answer)
        fields = {"http_client": httpx.Client(transport=handler), "max_retries": 0} | fields
        fields = {"http_async_client": httpx.AsyncClient(transport=handler), "model": "vendor/name"} | fields
        return ChatPromptrun(**{"api_key": "key"} | fields)

    def ask(self, style, *history, tools=(), bound=None, **fields):
        model = self.model(only_streams=style.endswith("stream"), **fields)
        model = model.bind_tools(tools) if tools else model
        model = model.bind(**bound) if bound else model
        return asyncio.run(Talk().call(style.split()[0], model, list(history) or "Hello"))

    def turn(self, answer, *results, **fields):
        """The turn that an answer becomes in the next request."""
        self.ask("invoke", HumanMessage("Hello"), answer, *results, HumanMessage("Go on."), **fields)
        return self.requests[-1]["messages"][1]


def strictly_parsed(body):
    def refuse(constant):
        raise ValueError(constant)

    return json.loads(body.decode("utf-8"), parse_constant=refuse)


def reasoning_of(message):
    return "".join(block.get("reasoning", "") for block in message.content_blocks if block["type"] == "reasoning")
