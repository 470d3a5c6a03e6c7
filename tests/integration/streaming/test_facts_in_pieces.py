"""Facts that a stream brings in pieces: every style says what the whole answer says."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from tests.integration.bodies import choice, sse

HEAD = {"id": "1", "model": "m"}
TEXT = {"content": "x"}


def message(text):
    return {"choices": [{"index": 0, "message": {"content": text}}]}


def stream(*documents, head=HEAD):
    return sse(*(head | document for document in (*documents, choice({}, finish_reason="stop"))))


def whole(message, head=HEAD, **more):
    choices = [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"} | more]
    return json.dumps(head | {"choices": choices}).encode()


def in_deltas(key, pieces, joined):
    """A stream whose deltas bring a fact beside a text, and the whole answer."""
    return stream(*(choice(TEXT | {key: piece}) for piece in pieces)), whole(
        {"content": "x" * len(pieces), key: joined}
    )


def in_choices(key, pieces, joined):
    text = {"content": "x" * len(pieces)}
    return stream(*(choice(TEXT, **{key: piece}) for piece in pieces)), whole(text, **{key: joined})


def in_documents(key, pieces, joined):
    text = {"content": "x" * len(pieces)}
    return stream(*(choice(TEXT) | {key: piece} for piece in pieces)), whole(text, HEAD | {key: joined})


def base64(data):
    return b64encode(data).decode()


HATE, HARM = ({name: {"filtered": False, "severity": "safe"}} for name in ("hate", "self_harm"))
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
SIGNED = {"extra_content": {"google": {"thought_signature": "SIG"}}}
SAFE, LOW = ({"hate": {"severity": severity}} for severity in ("safe", "low"))
AUDIO = {"id": "audio_1", "expires_at": 1715325600, "transcript": "Hello", "data": "QUJDREVG"}
AUDIO_PIECES = [{"id": "audio_1", "transcript": "Hel"}, {"transcript": "lo"}, {"data": "QUJD"}]
AUDIO_PIECES += [{"data": "REVG", "expires_at": None}, {"expires_at": 1715325600}]
PADDED = [{"data": base64(piece)} for piece in (b"abcd", b"efghi", b"j")]
LAUGHS = [{"transcript": piece} for piece in ("ha", "ha", "haha", "!")]
SILENCE = [{"data": piece} for piece in ("AAAA", "AAAA", "AAAAAAAA", "////")]
PRICES = [{"gateway": {"cost": cost}} for cost in ("0.01", "0.02")]
REPEATED = {"content": "xx", "reasoning_content": "r", "tool_calls": [CALL]}
REFERENCE = {"content": [{"type": "reference", "reference_ids": [0], "text": "42"}]}
IMAGE = TEXT | {"images": [{"image_url": {"url": "data:image/png;charset=utf-8;base64,AAAA"}}]}
NOTED = TEXT | {"note": "n", "reasoning_content": "r"}
EQUAL = {
    "Azure's filters": in_choices("content_filter_results", [HATE, HARM, {}], HATE | HARM),
    "a filter that becomes stricter": in_choices("content_filter_results", [SAFE, LOW], LOW),
    "vLLM's token ids": in_choices("token_ids", [[5], [5], [6, 6]], [5, 5, 6, 6]),
    "MiniMax's audio": in_deltas("audio_content", ["00ff", "01", ""], "00ff01"),
    "MiniMax's audio that begins with silence": in_deltas("audio_content", ["00", "00", "0000", "ff"], "00000000ff"),
    "audio that begins with silence": in_deltas("audio", SILENCE, {"data": "AAAAAAAAAAAAAAAA////"}),
    "audio of padded pieces": in_deltas("audio", PADDED, {"data": base64(b"abcdefghij")}),
    "audio in all its parts": in_deltas("audio", AUDIO_PIECES, AUDIO),
    "audio that is no base64": in_deltas("audio", [{"data": "a="}, {"data": "b"}], {"data": "a=b"}),
    "a transcript that laughs": in_deltas("audio", LAUGHS, {"transcript": "hahahaha!"}),
    "Cohere's plan that repeats a word": in_deltas("tool_plan", ["ha", "ha"], "haha"),
    "a gateway's metadata that changes": in_deltas("provider_metadata", PRICES, PRICES[1]),
    "Groq's channel": in_deltas("channel", ["analysis", "final"], "final"),
    "a text of a vendor's, repeated at the end": in_deltas("note", ["ab", "c", "abc"], "abc"),
    "a vendor's data, twice": in_deltas("a", [{"data": "QUI="}] * 2, {"data": "QUI="}),
    "entries by index": in_deltas(
        "steps", [[{"index": 0, "text": piece}] for piece in "ab"], [{"index": 0, "text": "ab"}]
    ),
    "an empty list": in_deltas("a", [[1], []], [1]),
    "an empty object": in_deltas("a", [{"c": 1}, {}], {"c": 1}),
    "null and zero": in_deltas("a", [1, None, 0], 0),
    "sources in every document": in_documents("search_results", [[{"url": "a"}]] * 2, [{"url": "a"}]),
    "addresses in every document": in_documents("citations", [["a", "b"]] * 2, ["a", "b"]),
    "addresses that become more": in_documents("citations", [["a"], ["a", "b"]], ["a", "b"]),
    "sources that are none": in_documents("citations", [[5]], [5]),
    "another model in the middle": (
        stream(choice(TEXT), choice({}) | {"model": "n"}, head={"id": "1"}),
        whole(TEXT, {"id": "1", "model": "n"}),
    ),
    "facts in documents of their own": (
        stream(choice(TEXT)).replace(
            b"data: [DONE]",
            b'data: {"citations": ["u"]}\n\ndata: {"timings": {"prompt_n": 5}, "type": "timings"}\n\n'
            b'data: {"type": "ping", "sent": 1}\n\ndata: {"type": "router.done", "route": "x"}\n\n'
            b'data: {"latency_ms": 12}\n\ndata: [DONE]',
        ),
        whole(TEXT, HEAD | {"citations": ["u"], "timings": {"prompt_n": 5}, "route": "x", "latency_ms": 12}),
    ),
    "facts of a part": (
        stream(choice({"content": [{"type": "text", "text": "x", "citations": ["u"], **SIGNED}]})),
        whole(TEXT | {"citations": ["u"]} | SIGNED),
    ),
    "a vendor's facts of a part": (
        stream(choice({"content": [{"type": "text", "text": "x", "extra_content": {"vendor": {"a": 1}}}]})),
        whole(TEXT | {"extra_content": {"vendor": {"a": 1}}}),
    ),
    "a message, later": (stream(choice({"reasoning_content": ""}), {"choices": [{"message": NOTED}]}), whole(NOTED)),
    "a message after a role": (stream(choice({"role": "assistant"}), {"choices": [{"message": NOTED}]}), whole(NOTED)),
    "a message beside a role": (stream(choice({"role": "assistant", "content": ""}, message=TEXT)), whole(TEXT)),
    "messages that hold all so far": (stream(*map(message, ("He", "Hello", "Hello"))), whole({"content": "Hello"})),
    "messages that hold a piece each": (stream(*map(message, "ab")), whole({"content": "ab"})),
    "messages that hold all so far, after a role": (
        stream(choice({"role": "assistant"}), *map(message, ("x", "xy"))),
        whole({"content": "xy"}),
    ),
    "a message that repeats a text and brings the rest": (
        stream(*[choice(TEXT)] * 2, *[{"choices": [{"message": REPEATED}]}] * 2),
        whole(REPEATED),
    ),
    "a message that repeats reasoning and calls": (
        stream(
            choice({"reasoning_content": "r"}),
            choice({"tool_calls": [{"index": 0, **CALL}]}),
            {"choices": [{"message": REPEATED}]},
        ),
        whole(REPEATED),
    ),
    "a message after the deltas": (
        stream(choice(TEXT), {"choices": [{"message": NOTED | {"annotations": [{"type": "file"}]}}]}),
        whole(NOTED | {"annotations": [{"type": "file"}]}),
    ),
    "a refusal that is none": (stream(choice(TEXT | {"refusal": False})), whole(TEXT | {"refusal": None})),
    "a finish reason that is an object": (
        stream(choice(TEXT), choice({}, finish_reason={"type": "stop"})),
        whole(TEXT),
    ),
    "a finish reason in a list": (stream(choice(TEXT), choice({}, finish_reason=["stop"])), whole(TEXT)),
    "texts of a completions server": (
        stream(*({"choices": [{"index": 0, "text": text}]} for text in "Hi")),
        json.dumps(HEAD | {"choices": [{"text": "Hi", "finish_reason": "stop"}]}).encode(),
    ),
    "a text beside its delta": (stream(choice(TEXT, text="x")), whole(TEXT, text="x")),
    "an image with parameters": (stream(choice(IMAGE)), whole(IMAGE)),
    "a part of another kind with a text": (stream(choice(REFERENCE)), whole(REFERENCE)),
}


@pytest.mark.parametrize("name", EQUAL)
async def test_stream_of_facts_equals_the_whole_answer(ask_in_every_style, talk, name):
    in_pieces, at_once = EQUAL[name]
    streamed = await ask_in_every_style(in_pieces)
    answered = await ask_in_every_style(at_once)
    for style, message in streamed.items():
        assert talk.facts(message) == talk.facts(answered["invoke"]), style
        assert talk.facts(answered[style]) == talk.facts(answered["invoke"]), style
    assert talk.facts(answered["invoke"])["text"]


def used(**usage):
    return choice({}) | {"usage": usage}


COUNTS = {"prompt_tokens": 4, "completion_tokens": 2}
TOLD = (4, 2, 6)
THOUGHT = {"prompt_tokens": 32, "total_tokens": 135, "completion_tokens_details": {"reasoning_tokens": 94}}
REASONING, READ = {"output_token_details": {"reasoning": 94}}, {"input_token_details": {"cache_read": 1000}}
CACHED = {"input_token_details": {"cache_read": 1000, "cache_creation": 200}}
BESIDE = {"input_tokens": 3, "cache_read_input_tokens": 1000}
USAGE = {
    "reasoning beside the output": (used(**THOUGHT, completion_tokens=9), (32, 103, 135), REASONING),
    "reasoning in the output": (used(**THOUGHT, completion_tokens=103), (32, 103, 135), REASONING),
    "caches beside the input": (used(**BESIDE, cache_creation_input_tokens=200), (1203, 0, 1203), CACHED),
    "caches beside the input and the total": (used(**BESIDE, total_tokens=4), (1003, 0, 1003), READ),
    "caches in the input": (used(prompt_tokens=1203, cache_read_input_tokens=1000), (1203, 0, 1203), READ),
    "a total of zero": (used(**COUNTS, total_tokens=0), TOLD, {}),
    "in the delta": (choice({"usage": COUNTS}), TOLD, {}),
    "in the message": ({"choices": [{"message": {"content": "x", "usage": COUNTS}}]}, TOLD, {}),
    "in the message after a delta": ({"choices": [{"delta": TEXT}, {"message": TEXT | {"usage": COUNTS}}]}, TOLD, {}),
}


@pytest.mark.parametrize(("document", "counts", "details"), USAGE.values(), ids=USAGE)
@pytest.mark.parametrize("zeros", [{}, {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}])
async def test_stream_usage_has_every_token_once(ask_in_every_style, document, counts, details, zeros):
    answers = await ask_in_every_style(stream(document, choice({}) | zeros))
    usage = dict(zip(("input_tokens", "output_tokens", "total_tokens"), counts, strict=True)) | details
    assert all(message.usage_metadata == usage for message in answers.values())


COSTS = {
    "at the top": choice({}) | {"cost": 0.25},
    "as a text": used(**COUNTS, cost="0.25"),
    **{f"as {key}": used(**COUNTS, **{key: 0.25}) for key in ("cost", "total_cost", "estimated_cost")},
    "as an object with a total": used(**COUNTS, cost={"input": 0.2, "total_cost": 0.25}),
    "in ticks": used(**COUNTS, cost_in_usd_ticks=2_500_000_000),
    "in its details": used(**COUNTS, cost_details={"input": 0.2, "total": {"usd": 0.25}}),
    "in a gateway's metadata, in camel case": choice({}) | {"providerMetadata": {"gateway": {"cost": 0.25}}},
    "in a gateway's metadata": choice({"provider_metadata": {"gateway": {"cost": "0.25"}}}),
    "in a document of its own": {"cost": 0.25},
    "in a gateway's document": {"provider_metadata": {"gateway": {"cost": "0.25"}}},
}


@pytest.mark.parametrize("document", COSTS.values(), ids=COSTS)
async def test_stream_cost_is_found_in_every_spelling(ask_in_every_style, document):
    first = f"data: {json.dumps(document)}\n\n".encode()
    answers = await ask_in_every_style(first + stream(choice(TEXT), used(**COUNTS, cost=None)))
    assert [message.response_metadata["cost"] for message in answers.values()] == [0.25] * 6


async def test_stream_without_a_model_has_the_one_asked_for(ask_in_every_style):
    answers = await ask_in_every_style(stream(choice(TEXT), head={}))
    assert {message.response_metadata["model_name"] for message in answers.values()} == {"vendor/name"}


def of_audio(start):
    return whole({"audio": {"data": base64(start + bytes(20))}})


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (of_audio(b"\xff\xd8\xff\xe0"), "image/jpeg"),
        (of_audio(b"\x89PNG\r\n"), "image/png"),
        (of_audio(b"RIFF\0\0\0\0WEBP"), "image/webp"),
        (of_audio(b"RIFF\0\0\0\0WAVE"), None),
        (EQUAL["an image with parameters"][0], "image/png"),
    ],
)
async def test_image_also_one_among_audio_is_shown_with_its_mime_type(ask_in_every_style, body, kind):
    answers = await ask_in_every_style(body)
    for message in answers.values():
        [block] = [block for block in message.content_blocks if block["type"] in {"audio", "image"}]
        assert (block["type"], block.get("mime_type")) == ("image" if kind else "audio", kind)


@pytest.mark.parametrize(
    "body",
    [
        stream(choice(TEXT | {"annotations": [{"type": "url_citation", "url": "https://a.example"}]})),
        stream(choice(TEXT) | {"citations": ["https://a.example"]}, choice({}) | {"citations": ["https://a.example"]}),
        whole(TEXT | {"citations": ["https://a.example"]}),
    ],
)
async def test_citations_in_every_place_are_standard_ones(ask_in_every_style, talk, body):
    answers = await ask_in_every_style(body)
    for message in answers.values():
        assert talk.facts(message)["annotations"] == [{"type": "citation", "url": "https://a.example"}]


async def test_name_of_a_message_is_its_name(ask_in_every_style):
    answers = await ask_in_every_style(whole(TEXT | {"name": "bob"}))
    assert answers["invoke"].name == "bob"
    assert {message.additional_kwargs["name"] for message in answers.values()} == {"bob"}
