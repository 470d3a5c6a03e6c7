"""Answers of a server as the bytes of their bodies."""

import json


def sse(*documents):
    return "".join(f"data: {event}\n\n" for event in [*map(json.dumps, documents), "[DONE]"]).encode()


def choice(delta, **more):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None} | more]}


def call(index, arguments, **named):
    function = {"name": named["name"], "arguments": arguments} if named else {"arguments": arguments}
    return {"tool_calls": [{"index": index, "function": function} | ({"id": named["id"]} if named else {})]}


def stream(*deltas, finish_reason="stop", **facts):
    documents = [*map(choice, deltas), choice({}, finish_reason=finish_reason)]
    return sse(*(facts | document for document in documents))


def whole(message, finish_reason="stop", **facts):
    choices = [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish_reason}]
    return json.dumps(facts | {"choices": choices}).encode()
