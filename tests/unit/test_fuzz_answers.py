"""Whatever a server sends, only this package's errors come out, and all readers tell the same."""

from __future__ import annotations

import copy
import json
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from langchain_promptrun.errors import PromptrunError

from .wire import DOCUMENT, READERS, STREAM, by_chunks, by_events, by_result, facts, read

# Answers in the shapes of many vendors.

COUNTS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": 0.001}
COUNTS |= {"prompt_tokens_details": {"cached_tokens": 0}, "cost_details": {"upstream": None}}
LOGPROBS = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}], "refusal": None}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
SIGNED = {"extra_content": {"google": {"thought_signature": "CiQB"}}}
DETAIL = {"type": "reasoning.text", "text": "Hm", "format": "anthropic-claude-v1", "index": 0}
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
SEEN = {
    "reasoning_details": [{"type": "reasoning.text", "signature": "EqQB", "index": 0}],
    "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example", "start_index": 0}}],
    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "index": 0}],
    "audio": {"id": "a", "transcript": "Y", "data": "AAAA", "expires_at": 1},
}
DELTAS = [
    {"role": "assistant", "content": "", "refusal": None, "reasoning": "Hm", "reasoning_details": [DETAIL]},
    {"content": None, "reasoning_content": "Hm", "channel": "analysis"},
    {"content": [THOUGHT, {"type": "reference", "reference_ids": [1]}]},
    {"content": "Yes", "reasoning_content": None} | SEEN,
    {"tool_calls": [CALL | SIGNED]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Paris"}'}}]},
]
AZURES_FIRST = {"choices": [], "created": 0, "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0}]}
LAST = {"choices": [], "usage": COUNTS, "x_groq": {"id": "req_1", "usage": COUNTS | {"queue_time": 0.1}}}


def streamed(*deltas, last=None, **head):
    """A stream with a document for each delta, and one after them."""
    choices = [{"index": 0, "delta": delta, "logprobs": LOGPROBS, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    return [*(head | {"choices": [choice]} for choice in choices), *([last] if last else [])]


FAILED_STREAM = streamed({"content": "Yes"}, id="f", last={"error": {"code": 502, "message": "Provider disconnected"}})
STREAMS = [
    [AZURES_FIRST, *streamed(*DELTAS, last=LAST, id="A", created=1715325600, model="gpt-4o", provider="Anthropic")],
    *(streamed(delta) for delta in DELTAS[1:4]),
    [{"choices": [{"delta": {"content": "Yes"}}]}, {"choices": [{"finish_reason": "stop"}], "usage": COUNTS}],
    FAILED_STREAM,
]
MESSAGE = {"role": "assistant", "content": None, "annotations": [], "reasoning_content": "Hm", "audio": None}
CALLS = [CALL | SIGNED, {"id": "", "type": "function", "function": {"name": "g", "arguments": None}}]
ANSWERS = [
    {"id": "B", "model": "m", "choices": [{"index": 0, "message": MESSAGE | {"tool_calls": CALLS}}], "usage": COUNTS},
    {"error": {"code": 429, "message": "slow down", "metadata": {"raw": "{}", "provider_name": "Google"}}},
    {"error": {"message": "no", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}},
    [{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}],
    {"object": "error", "message": "no", "type": "BadRequestError", "code": 400},
]

any_text = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=6)
words = st.sampled_from(["", "x", "null", "{}", '{"a"', "error", "text", "stop", "\ud83d", "\ude80", "0"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words | any_text | st.just(2**200)
keys = st.sampled_from(
    [
        *("id", "model", "choices", "usage", "error", "index", "delta", "message", "finish_reason", "logprobs"),
        *("content", "reasoning", "reasoning_content", "reasoning_details", "tool_calls", "function", "arguments"),
        *("name", "type", "text", "thinking", "annotations", "images", "audio", "data", "refusal", "function_call"),
        *("image_url", "url", "url_citation", "summary", "signature", "code", "x_groq", "tool_call_extras", "cost"),
    ]
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | any_text, inner, max_size=4),
    max_leaves=12,
)


def as_stream(documents):
    return b"".join(b"data: " + json.dumps(entry).encode() + b"\n\n" for entry in [*documents]) + b"data: [DONE]\n\n"


def places_in(value, path=()):
    """The paths to all values inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places_in(item, (*path, key))


@st.composite
def bent(draw, documents):
    """Documents of which some values are replaced, left out or repeated."""
    documents = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(1, 4))):
        places = list(places_in(documents))
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder = documents
        for key in way:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "leave out", "repeat"]))
        if change == "leave out":
            del holder[last]
        elif change == "repeat" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        else:
            holder[last] = draw(json_values)
    return documents


@st.composite
def broken(draw):
    """The bytes of a real stream or answer, of which some are left out, repeated or replaced."""
    bodies = [as_stream(documents) for documents in STREAMS] + [json.dumps(entry).encode() for entry in ANSWERS]
    body = draw(st.sampled_from(bodies))
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        middle = draw(
            st.sampled_from([b"", body[start:end] * 2, b"\n", b"\r", b"\xff", b'"', b"}"]) | st.binary(max_size=8)
        )
        body = body[:start] + middle + body[end:]
    return body


MADE_ID = re.compile("call_[0-9a-f]{32}")


def outcome(reader_type, body, headers, cuts=()):
    """What a reader makes of a body, in a form that can be compared: NaN differs from itself."""
    try:
        items = read(reader_type, body, headers=headers, cuts=cuts)
    except PromptrunError as error:
        return type(error).__name__, str(error)
    return MADE_ID.sub("call_", repr(items))


def told(way, body, headers):
    try:
        message = way(body, headers=headers)
    except PromptrunError as error:
        return type(error).__name__, str(error), error.partial
    known = facts(message)
    known["tool_calls"] = [call[:2] for call in known["tool_calls"]]
    known["invalid_tool_calls"] = [name for name, *_ in known["invalid_tool_calls"]]
    known["extras"] = {key: value for key, value in known["extras"].items() if key != "tool_call_extras"}
    # a refusal is a block in events and text in chunks
    known |= {"text": known["text"].replace(known["extras"].get("refusal", ""), ""), "refusal": ""}
    return MADE_ID.sub("call_", json.dumps(known, sort_keys=True))


documents = bent(st.sampled_from(STREAMS)) | st.lists(json_values, max_size=4)
answers = json_values | bent(st.sampled_from(ANSWERS))
bodies = broken() | st.binary(max_size=300) | documents.map(as_stream) | answers.map(json.dumps).map(str.encode)


@settings(max_examples=300)
@given(bodies, st.lists(st.integers(0, 400), max_size=5).map(sorted), st.sampled_from([STREAM, DOCUMENT, {}]))
@example(b"", [], STREAM)
@example(as_stream(streamed({"content": "Hi", "refusal": True}, {"content": "No"})), [], STREAM)
def test_odd_answers_raise_this_packages_errors_and_tell_all_readers_the_same(body, cuts, headers):
    for reader_type in READERS:
        assert outcome(reader_type, body, headers, cuts) == outcome(reader_type, body, headers)
    assert told(by_events, body, headers) == told(by_chunks, body, headers)


def test_the_seeds_are_read():
    for stream in STREAMS:
        message = told(by_result, as_stream(stream), STREAM)
        assert ("Provider disconnected" in str(message)) == (stream is FAILED_STREAM)
        assert message == told(by_chunks, as_stream(stream), STREAM) == told(by_events, as_stream(stream), {})
    for entry in ANSWERS:
        message = told(by_result, json.dumps(entry).encode(), DOCUMENT)
        assert "reasoning" in message if entry is ANSWERS[0] else message[0].startswith("Promptrun")
