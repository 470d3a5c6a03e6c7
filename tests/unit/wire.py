"""Answers as bytes, and what the three readers make of them."""

import json
from copy import deepcopy
from functools import reduce
from itertools import pairwise
from operator import add

from langchain_core.language_models.chat_model_stream import ChatModelStream
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

from langchain_promptrun._responses import choice, content_blocks, events
from langchain_promptrun._responses.events import EventParser
from langchain_promptrun._responses.outputs import ChunkParser, ResultParser
from tests.integration.talk import Talk

content_blocks.register()

STREAM = {"content-type": "text/event-stream"}
DOCUMENT = {"content-type": "application/json"}
READERS = [ChunkParser, EventParser, ResultParser]


def document(delta=None, finish_reason=None, **envelope):
    """One document of a stream; without a delta it has no choice."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return {"id": "chatcmpl-1", "created": 1715325600, "model": "vendor/name", "choices": choices} | envelope


def sse(*documents, done=True):
    """A stream of documents; texts go in as they are."""
    payloads = [entry if isinstance(entry, str) else json.dumps(entry) for entry in documents]
    payloads += ["[DONE]"] if done else []
    return "".join(f"data: {payload}\n\n" for payload in payloads).encode()


def stream(*deltas, finish_reason="stop", **envelope):
    """A whole stream of deltas."""
    return sse(*[document(delta, **envelope) for delta in deltas], document({}, finish_reason, **envelope))


def answer(message, finish_reason="stop", **envelope):
    """A whole answer as one JSON document."""
    choices = [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish_reason}]
    return json.dumps(document(choices=choices) | envelope).encode()


def call(args=None, *, index=0, call_id=None, name=..., **more):
    """One entry of `tool_calls`; `...` leaves a key out."""
    entry = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": args}}
    entry["function"] = {key: value for key, value in entry["function"].items() if value is not ...}
    return {key: value for key, value in entry.items() if value is not ...} | more


def headers_of(body):
    return STREAM if body.lstrip().startswith((b"data", b"event", b":", b"id", b"retry")) else DOCUMENT


def reader(reader_type, headers=STREAM, *, max_event_bytes=1 << 26, **options):
    return reader_type(200, headers, model="vendor/name", max_event_bytes=max_event_bytes, **options)


def read(reader_type, body, *, cuts=(), headers=None, **options):
    """What a reader makes of a body, cut at the given offsets."""
    parser = reader(reader_type, headers_of(body) if headers is None else headers, **options)
    bounds = [0, *cuts, len(body)]
    items = [item for start, end in pairwise(bounds) for item in parser.feed(body[start:end])]
    return items + parser.close()


def summed(chunks):
    return reduce(add, [chunk.message for chunk in chunks])


def replayed(events):
    """The message that langchain-core makes of protocol events."""
    assert_valid_event_stream(events)
    model_stream = ChatModelStream()
    for event in deepcopy(events):
        model_stream.dispatch(event)
    return model_stream.output


def by_chunks(body, **options):
    return summed(read(ChunkParser, body, **options))


def by_events(body, **options):
    return replayed(read(EventParser, body, **options))


def by_result(body, **options):
    [result] = read(ResultParser, body, **options)
    return result.generations[0].message


facts = Talk().facts


def agreed(body, **options):
    """The facts of an answer, after all three readers have told the same."""
    told = facts(by_result(body, **options))
    assert facts(by_chunks(body, **options)) == told
    assert facts(by_events(body, **options)) == told
    return told


def with_core(monkeypatch, *, finish_reasons, refusals):
    """Have langchain-core read finish reasons, from 1.8.4 on, and blocks of refusals, from 1.7.5 on."""
    monkeypatch.setattr(choice, "KNOWS_FINISH_REASONS", finish_reasons)
    for module in (content_blocks, events):
        monkeypatch.setattr(module, "HAS_REFUSAL_BLOCKS", refusals)
