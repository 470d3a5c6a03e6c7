"""What a model sends for given messages, and what its next request holds after an answer."""

from __future__ import annotations

import json

import httpx
from langchain_core.messages import HumanMessage

from langchain_promptrun import ChatPromptrun

ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]}


def request_of(*messages, bound=None, **fields):
    """The body of the request that these messages make."""
    seen = []

    def answer(request):
        seen.append(request.content)
        return httpx.Response(200, json=ANSWER)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        model = ChatPromptrun(**{"model": "vendor/name", "api_key": "key", "http_client": client} | fields)
        # LangChain's hook: what `invoke` does before it to the messages is LangChain's affair.
        model._generate(list(messages), **(bound or {}))
    return json.loads(seen[0])


def sent(*messages, **fields):
    """The messages that reach a server."""
    return request_of(*messages, **fields)["messages"]


def parts_of(*blocks, kind=HumanMessage, **fields):
    """The content parts that blocks become."""
    message = kind("")
    message.content = list(blocks)  # unchecked, as what a tool returns is
    content = sent(message, **fields)[0]["content"]
    return [{"type": "text", "text": content}] if content and isinstance(content, str) else content or []


def text(value):
    return {"type": "text", "text": value}
