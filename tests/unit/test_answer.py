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


@pytest.mark.parametrize(("content", "text"), TEXTS)
def test_text_is_read_in_every_shape_of_the_content(content, text):
    assert agreed(answer({"content": content}))["text"] == text
    entries = content if isinstance(content, list) else [content]
    body = stream({"role": "assistant", "content": ""}, *({"content": entry} for entry in entries))
    assert agreed(body)["text"] == text


@pytest.mark.parametrize("content", EMPTY)
def test_text_that_is_null_absent_or_empty_is_empty(content):
    message = {} if content is ... else {"content": content}
    for body in (answer(message), stream(message), stream(message, {"content": "x"}, message)):
        facts = agreed(body)
        assert (facts["text"], facts["extras"]) == ("x" if b'"x"' in body else "", {})


def test_text_after_tool_calls_is_kept():
    facts = agreed(stream({"content": "a"}, {"tool_calls": [call("{}", call_id="a", name="f")]}, {"content": "b"}))
    assert facts["text"] == "ab"


HALVES = [
    (stream({"content": "a\ud83d"}, {"content": ""}, {"content": "\ude80b"}), "a🚀b", ""),
    (stream(*({"content": text} for text in ("x", "y", "\ud83d", "\ude80", "z"))), "xy🚀z", ""),
    (stream({"content": "\ude80a\ud83d"}, {"reasoning": "b\ud83d"}), "\ufffda\ufffd", "b\ufffd"),
    (answer({"content": "a\ud83d"}), "a\ufffd", ""),
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
    assert (facts["tool_calls"][0]["id"], facts["tool_calls"][0]["name"]) == ("a\ufffd", "f\ufffd")


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
CITED = TEXT | {"annotations": [CITATION]}
PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG" * 30).decode()
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL}}
# langchain-core would join what has the same index, letter by letter.
IMAGES = [IMAGE | {"index": 0}, {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}, "index": 0}]
AUDIO = {"id": "audio_1", "expires_at": 1715325600, "transcript": "Hello", "data": "QUJDREVG"}
AUDIO_PIECES = [
    {"role": "assistant", "audio": {"id": "audio_1", "transcript": "Hel"}},
    {"audio": {"transcript": "lo"}},
    {"audio": {"data": "QUJD"}},
    {"audio": {"data": "REVG", "expires_at": None}},
    {"audio": {"expires_at": 1715325600}},
]
PARTS = [{"type": "reference", "reference_ids": [1]}, {"type": ["x"]}, {"type": "text", "text": 5}, {"a": 1}]
UNKNOWN = {"name": "x", "executed_tools": [{"index": 0}, {"index": 0}], "extra_content": {"a": 1}, "flag": False}
# The bodies, and what each of them leaves in `additional_kwargs`.
EXTRAS = {
    "annotations, whole": ([answer(CITED)], {"annotations": [CITATION]}),
    "annotations, late": ([stream(TEXT, {"annotations": [CITATION]})], {"annotations": [CITATION]}),
    "annotations, twice": ([stream(CITED, {"annotations": [CITATION]})], {"annotations": [CITATION]}),
    "annotations, in a part": ([answer({"content": [part("x", annotations=[CITATION])]})], {"annotations": [CITATION]}),
    "annotations, an object": ([stream(TEXT, {"annotations": CITATION})], {"annotations": [CITATION]}),
    "annotations, first": ([stream({"annotations": [CITATION]}, TEXT)], {"annotations": [CITATION]}),
    "annotations that differ": (
        [stream(TEXT, *({"annotations": [entry]} for entry in CITATIONS))],
        {"annotations": CITATIONS},
    ),
    "images": ([answer(TEXT | {"images": [IMAGE]}), stream(TEXT, {"images": [IMAGE]})], {"images": [IMAGE]}),
    "images, in a part": ([answer({"content": [part("x"), IMAGE]})], {"images": [IMAGE]}),
    "images, twice": ([stream(TEXT | {"images": [IMAGE]}, {"images": [IMAGE]})], {"images": [IMAGE]}),
    "images at one index": ([stream(*({"images": [entry]} for entry in IMAGES))], {"images": IMAGES}),
    "audio": ([stream(*AUDIO_PIECES), answer({"content": None, "audio": AUDIO})], {"audio": AUDIO}),
    "audio with odd values": (
        [stream({"audio": {"data": 5}}, {"audio": {"data": "x", "transcript": ["y"]}})],
        {"audio": {"data": "x", "transcript": ["y"]}},
    ),
    "parts of unknown types": (
        [answer({"content": PARTS}), stream(*({"content": [entry]} for entry in PARTS))],
        {"content_parts": PARTS},
    ),
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


def test_function_call_is_a_tool_call():
    for body in (
        answer({"function_call": {"name": "f", "arguments": '{"a": 1}'}}, "function_call"),
        stream({"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": '{"a": 1}'}}),
    ):
        [entry] = agreed(body)["tool_calls"]
        assert (entry["name"], entry["args"]) == ("f", {"a": 1})
        assert entry["id"].startswith("call_")


def test_tool_call_may_come_without_its_list():
    assert agreed(answer({"tool_calls": call("{}", call_id="a", name="f")}))["tool_calls"][0]["id"] == "a"


def test_facts_of_a_choice_are_metadata_and_never_the_answers():
    choice = {"index": 0, "finish_reason": None, "native_finish_reason": None, "stop_reason": None, "seed": 1}
    first = document(choices=[choice | {"delta": {"content": "x"}, "id": "theirs", "created": 1}])
    last = document(choices=[choice | {"delta": {}, "finish_reason": "stop", "native_finish_reason": "end_turn"}])
    metadata = agreed(sse(first, first, last))["metadata"]
    told = (metadata["native_finish_reason"], metadata["seed"], metadata["id"], metadata["created"])
    assert told == ("end_turn", 1, "chatcmpl-1", 1715325600)
    assert "stop_reason" not in metadata


@pytest.mark.parametrize("nothing", [None, "", False, 0, [], {}])
def test_finish_reason_that_says_nothing_is_left_out(nothing):
    body = sse(document({"content": "x"}, nothing), document({"content": "y"}, nothing))
    for facts in (agreed(answer({"content": "x"}, nothing)), agreed(body)):
        assert "finish_reason" not in facts["metadata"]


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


def test_messages_of_several_events_are_pieces():
    body = sse(*[document(choices=[{"index": 0, "message": {"content": text}}]) for text in "ab"])
    assert agreed(body)["text"] == "ab"


@pytest.mark.parametrize("delta", [{"content": ""}, {}, None])
def test_message_after_deltas_counts_for_what_they_did_not_say(delta):
    message = {"content": "ab", "tool_calls": [call("{}", call_id="a", name="f")]}
    last = {"index": 0, "delta": delta, "message": message, "finish_reason": "stop"}
    for documents in ([document({"content": "a"}), document({"content": "b"})], []):
        facts = agreed(sse(*documents, document(choices=[last])))
        assert (facts["text"], [made["name"] for made in facts["tool_calls"]]) == ("ab", ["f"])


def test_partial_text_is_what_came_so_far():
    parser = reader(ChunkParser)
    parser.feed(sse(document({"content": "a", "reasoning": "no"}), document({"content": "b"}), done=False))
    assert parser.partial == "ab"


@pytest.mark.parametrize("text", ["x", "é", "🚀"])
@pytest.mark.parametrize("size", [100, 100_000])
def test_partial_text_is_at_most_64_kib(text, size):
    parser = reader(ChunkParser)
    parser.feed(sse(*[document({"content": text * size})] * (100_000 // size), done=False))
    assert parser.partial == text * (65_536 // len(text.encode()))
