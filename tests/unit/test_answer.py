"""What an answer says, the same whether it comes whole or in pieces, and to each of the three readers."""

from __future__ import annotations

import base64

import pytest

from .wire import ChunkParser, agreed, answer, call, document, read, reader, sse, stream


def part(text, kind="text", **more):
    return {"type": kind, "text": text} | more


EMPTY = [None, "", [], ..., {}, [None], [part("")]]
TEXTS = [
    ("Löndon, 漢字 🚀", "Löndon, 漢字 🚀"),
    (list("Löndon, 漢字 🚀"), "Löndon, 漢字 🚀"),
    ([part("a"), part("b")], "ab"),
    ([part("ab", "output_text")], "ab"),
    ([{"text": "ab"}], "ab"),
    (["a", "b"], "ab"),
    (part("ab"), "ab"),
    (["a", part("b", annotations=[])], "ab"),
    *((5, "5"), (True, "True"), ([1.5, "x"], "1.5x"), (0, "0")),
]


@pytest.mark.parametrize(("content", "text"), [*TEXTS, *((nothing, "") for nothing in EMPTY)])
def test_text_is_read_in_every_shape_of_the_content(content, text):
    message, *deltas = [
        {} if entry is ... else {"content": entry}
        for entry in (content, *(content if isinstance(content, list) else [content]))
    ]
    for body in (answer(message), stream({"role": "assistant", "content": ""}, *deltas)):
        facts = agreed(body)
        assert (facts["text"], facts["extras"]) == (text, {})
    assert agreed(stream(message, {"content": "x"}, message))["text"] == f"{text}x{text}"


HALVES = [
    (stream({"content": "a\ud83d"}, {"content": ""}, {"content": "\ude80b"}), "a🚀b", ""),
    (stream(*({"content": text} for text in ("x", "y", "\ud83d", "\ude80", "z"))), "xy🚀z", ""),
    (stream({"content": "\ude80a\ud83d"}, {"reasoning": "b\ud83d"}), "\ufffda\ufffd", "b\ufffd"),
    (answer({"content": "a\ud83d"}), "a\ufffd", ""),
    # Bytes that are no text, and numbers that only Python reads.
    (stream({"content": "aXb"}, {"content": "c"}).replace(b"X", b"\xff\xc3"), "a\ufffd\ufffdbc", ""),
    (stream({"content": "a", "x": float("nan")}, {"content": "b"}, created=float("inf")), "ab", ""),
]


@pytest.mark.parametrize(("body", "text", "reasoning"), HALVES)
def test_halves_of_characters_are_joined_or_replaced(body, text, reasoning):
    facts = agreed(body)
    assert (facts["text"], facts["reasoning"]) == (text, reasoning)


def test_halves_of_characters_are_replaced_in_everything_that_is_kept():
    message = {"content": "x", "note": "\ud83d", "annotations": [{"type": "\ude80"}], "\ud83d": 1}
    message["tool_calls"] = [call("{}", call_id="a\ud83d", name="f\ude80", extra="\ud83d")]
    facts = agreed(answer(message, provider=["\ud83d"], model="m\ud83d"))
    assert str(facts).encode()
    assert facts["extras"]["note"] == "\ufffd"
    assert facts["tool_calls"] == [("f\ufffd", {}, "a\ufffd")]


NOTHING = {
    "refusal": [None, "", [], {}],
    "audio": [None, {}, {"data": None}, [], "x", 0],
    # The form that was before `tool_calls`.
    "function_call": [None, {}, {"name": "", "arguments": ""}, {"name": None}, "f", []],
    "tool_calls": [None, [], {}, "", "none", 5, False, [None], ["x"], [[]]],
}


@pytest.mark.parametrize(("key", "nothing"), [(key, value) for key, values in NOTHING.items() for value in values])
def test_key_that_says_nothing_leaves_nothing(key, nothing):
    message = {"content": "x", key: nothing}
    for body in (answer(message), stream(message)):
        facts = agreed(body)
        told = (facts["text"], facts["tool_calls"], facts["invalid_tool_calls"], facts["extras"])
        assert told == ("x", [], [], {})


CITATION = {
    "type": "url_citation",
    "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1, "content": "q"},
}
CITATIONS = [CITATION, {"type": "x"}, {"type": "y", "index": 0}, {"type": "z", "index": 0}]
TEXT = {"content": "x"}
NOTED = {"annotations": [CITATION]}
CITED = TEXT | NOTED
DIFFERENT = [{"annotations": [entry]} for entry in CITATIONS]
PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG" * 30).decode()
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL}}
SHOWN = {"images": [IMAGE]}
# langchain-core would join what has the same index, letter by letter.
IMAGES = [IMAGE | {"index": 0}, {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}, "index": 0}]
ODD_AUDIO = [{"audio": {"data": 5}}, {"audio": {"data": "x", "transcript": ["y"]}}]
PARTS = [{"type": "reference", "reference_ids": [1]}, {"type": ["x"]}, {"type": "text", "text": 5}, {"a": 1}]
UNKNOWN = {"name": "x", "executed_tools": [{"index": 0}, {"index": 0}], "extra_content": {"a": 1}, "flag": False}
# The bodies, and what each of them leaves in `additional_kwargs`.
EXTRAS = {
    "annotations, late": ([answer(CITED), stream(TEXT, NOTED)], NOTED),
    "annotations, twice": ([stream(CITED, NOTED), stream(NOTED, TEXT)], NOTED),
    "annotations, in a part": ([answer({"content": [part("x", annotations=[CITATION])]})], NOTED),
    "annotations, an object": ([stream(TEXT, {"annotations": CITATION})], NOTED),
    "annotations that differ": ([stream(TEXT, *DIFFERENT)], {"annotations": CITATIONS}),
    "images": ([answer(TEXT | SHOWN), stream(TEXT, SHOWN), stream(TEXT | SHOWN, SHOWN)], SHOWN),
    "images, in a part": ([answer({"content": [part("x"), IMAGE]})], SHOWN),
    "images at one index": ([stream(*({"images": [entry]} for entry in IMAGES))], {"images": IMAGES}),
    "audio with odd values": ([stream(*ODD_AUDIO)], {"audio": {"data": "x", "transcript": ["y"]}}),
    "parts of unknown types": ([answer({"content": PARTS}), stream({"content": PARTS})], {"content_parts": PARTS}),
    "unknown keys": ([answer(TEXT | UNKNOWN), stream(TEXT | UNKNOWN)], UNKNOWN),
    "keys whose type changes": ([stream({"a": [1], "b": {"x": 1}}, {"a": 2, "b": [3]})], {"a": 2, "b": [3]}),
    "names of this package": ([answer(TEXT | {"tool_call_extras": {"a": 1}, "role": "tool"})], {}),
}


@pytest.mark.parametrize(("bodies", "extras"), EXTRAS.values(), ids=EXTRAS)
def test_extras_are_kept_once_however_they_come(bodies, extras):
    for body in bodies:
        facts = agreed(body)
        assert facts["extras"] == extras
        assert facts["text"] in {"x", ""}


@pytest.mark.parametrize(
    "body",
    [
        answer({"function_call": {"name": "f", "arguments": '{"a": 1}'}}, "function_call"),
        stream({"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": '{"a": 1}'}}),
        answer({"tool_calls": call('{"a": 1}', name="f")}),
    ],
)
def test_tool_call_may_come_in_an_old_form_or_without_its_list(body):
    [(name, args, call_id)] = agreed(body)["tool_calls"]
    assert (name, args, call_id[:5]) == ("f", {"a": 1}, "call_")


def test_facts_of_a_choice_are_metadata_and_never_the_answers():
    choice = {"index": 0, "finish_reason": None, "native_finish_reason": None, "stop_reason": None, "seed": 1}
    first = document(choices=[choice | {"delta": {"content": "x"}, "id": "theirs", "created": 1}])
    last = document(choices=[choice | {"delta": {}, "finish_reason": "stop", "native_finish_reason": "end_turn"}])
    metadata = agreed(sse(first, first, last))["metadata"]
    told = (metadata["native_finish_reason"], metadata["seed"], metadata["id"], metadata["created"])
    assert told == ("end_turn", 1, "chatcmpl-1", 1715325600)
    assert "stop_reason" not in metadata


def token(text):
    return {"token": text, "logprob": -0.1, "bytes": [1], "top_logprobs": []}


def with_logprobs(*logprobs, text="x"):
    choices = [{"index": 0, "delta": {"content": text}, "logprobs": entry} for entry in logprobs]
    return sse(*(document(choices=[choice]) for choice in choices), document({}, "stop"))


TOKENS = {"content": [token("a"), token("b"), token("?")], "refusal": None}
PIECES_OF_TOKENS = [{"content": [entry], "refusal": None} for entry in TOKENS["content"]]
CHANGING = [{"content": [1], "a": 5}, {"content": None, "a": [2]}, {"content": "x", "a": {"b": 1}}]
LOGPROBS = {
    "in pieces": (with_logprobs(*PIECES_OF_TOKENS), TOKENS),
    "whole": (answer({}, choices=[{"index": 0, "message": TEXT, "logprobs": TOKENS, "finish_reason": "stop"}]), TOKENS),
    "partly empty": (with_logprobs({"content": [1], "refusal": []}), {"content": [1], "refusal": None}),
    "of changing types": (with_logprobs(*CHANGING), {"content": [1], "a": [2]}),
    **{
        f"none, {nothing!r}": (with_logprobs(nothing), None)
        for nothing in (None, {}, [], "x", 5, {"content": None}, {"content": []}, {"content": 5})
    },
}


@pytest.mark.parametrize(("body", "logprobs"), LOGPROBS.values(), ids=LOGPROBS)
def test_logprobs_are_joined_in_order(body, logprobs):
    assert agreed(body)["metadata"].get("logprobs") == logprobs


def test_logprobs_ride_on_the_chunk_of_their_text_however_the_packets_come():
    texts = {"a": "a", "": "?", "b": "b"}
    choices = [
        {"index": 0, "delta": {"content": text}, "logprobs": {"content": [token(mark)], "refusal": None}}
        for text, mark in texts.items()
    ]
    body = sse(*(document(choices=[choice]) for choice in choices), document({}, "stop"))
    chunks = [item.message for item in read(ChunkParser, body)]
    told = [(chunk.content, chunk.response_metadata["logprobs"]["content"]) for chunk in chunks[:-1]]
    assert told == [(text, [token(mark)]) for text, mark in texts.items()]
    assert chunks == [item.message for item in read(ChunkParser, body, cuts=range(1, len(body)))]


@pytest.mark.parametrize("text", ["x", "é", "🚀"])
@pytest.mark.parametrize("size", [100, 100_000])
def test_partial_text_is_at_most_64_kib(text, size):
    parser = reader(ChunkParser)
    parser.feed(sse(*[document({"content": text * size})] * (100_000 // size), done=False))
    assert parser.partial == text * (65_536 // len(text.encode()))


FACTS = {"id": "gen-1", "created": 1715325600, "provider": "Anthropic", "system_fingerprint": "fp_1"}
METADATA = FACTS | {"model_name": "vendor/a", "requested_model": "vendor/name", "finish_reason": "stop"}
FACTS |= {"model": "vendor/a"}
NO_FACTS = dict.fromkeys(FACTS, "") | {"created": None}
LATE = {"sla_metrics": {"ttft": 0.1}}
FILTERS = {"prompt_filter_results": [{"index": 0}]}
AZURES = {"choices": [], "created": 0, "id": "", "model": "", "object": ""} | FILTERS
NAMELESS = document({"role": "assistant"}, id="", model=None)
END = document({}, "stop")
ABC = [document({"content": text}) for text in "abc"]
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "queue_time": 0.1, "cost": 0.00042}
USAGE |= {"cost_details": {"upstream_inference_cost": None}, "is_byok": False}
# Bodies, and facts that they tell; None for those that are not there.
TOLD = {
    "late facts": (sse(document(TEXT, service_tier=None), document({}, "stop", **FACTS, **LATE)), METADATA | LATE),
    "empty values": (sse(document(TEXT, "stop", **FACTS), document({}, **NO_FACTS)), METADATA),
    "Azure's first document": (sse(AZURES, document(TEXT, **FACTS), document({}, "stop", **FACTS)), METADATA | FILTERS),
    "a first document without facts": (sse(NAMELESS, *ABC, END), {"id": "chatcmpl-1", "model_name": "vendor/name"}),
    "a model that is no text": (answer(TEXT, model={"name": "m"}), {"model_name": "{'name': 'm'}"}),
    # Documents that bring nothing new are not looked at closely; any other is.
    "a fact in the middle": (sse(*ABC, document(TEXT, provider="P"), *ABC, END), {"provider": "P"}),
    "another model at the end": (sse(*ABC, document({}, "stop", model="vendor/b")), {"model_name": "vendor/b"}),
    "the price and unknown keys": (stream(TEXT, usage=USAGE), {"cost": 0.00042, "token_usage": USAGE}),
    **{f"usage {none!r}": (stream(TEXT, usage=none), {"token_usage": None}) for none in ([], "many", 0)},
}


@pytest.mark.parametrize(("body", "facts"), TOLD.values(), ids=TOLD)
def test_facts_have_the_last_value_that_says_something(body, facts):
    metadata = agreed(body)["metadata"]
    assert {key: metadata.get(key) for key in facts} == facts


def test_names_of_langchains_and_of_this_package_are_not_overwritten_by_the_wire():
    own = ("cost", "finish_reason", "headers", "logprobs", "model_name", "model_provider", "output_version")
    wire = dict.fromkeys((*own, "reasoning_field", "token_usage", "lc_gateway_metadata"), "theirs")
    body = sse(document({"content": "x"}, **wire), document({}, "stop"))
    assert "theirs" not in agreed(body)["metadata"].values()
    choice = {"index": 0, "message": {"content": "x"}} | wire | {"finish_reason": "stop"}
    assert "theirs" not in agreed(answer({}, choices=[choice]))["metadata"].values()


HEADERS = {"content-type": "text/event-stream", "x-request-id": "req_1", "x-ratelimit-remaining-requests": "9"}
SECRET = dict.fromkeys(
    ["authorization", "cookie", "proxy-authorization", "set-cookie", "set-cookie2", "x-api-key"], "secret"
)


def test_headers_are_told_once_when_asked_for_and_without_secrets():
    body = stream({"content": "x"})
    facts = agreed(body, headers=HEADERS | SECRET, include_headers=True)
    assert facts["metadata"]["headers"] == HEADERS
    assert "headers" not in agreed(body, headers=HEADERS)["metadata"]
    items = read(ChunkParser, body, headers=HEADERS, include_headers=True)
    told = [("headers" in item.message.response_metadata, item.message.chunk_position) for item in items]
    assert told == [(False, None), (True, "last")]
