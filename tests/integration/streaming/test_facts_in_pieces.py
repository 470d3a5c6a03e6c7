"""Facts that a stream brings in pieces: every style says what the whole answer says."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

import pytest
from langchain_core.messages import HumanMessage


def choice(delta, **more):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None} | more]}


def stream(*documents, head=None):
    head = {"id": "1", "model": "m"} if head is None else head
    events = [json.dumps(head | document) for document in (*documents, choice({}, finish_reason="stop"))]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()


def whole(message, head=None, **more):
    head = {"id": "1", "model": "m"} if head is None else head
    choices = [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"} | more]
    return json.dumps(head | {"choices": choices}).encode()


def base64(data):
    return b64encode(data).decode()


HATE, HARM = ({name: {"filtered": False, "severity": "safe"}} for name in ("hate", "self_harm"))
TEXT = {"content": "x"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
SIGNED = {"extra_content": {"google": {"thought_signature": "SIG"}}}
EQUAL = {
    "Azure's filters": (
        stream(choice(TEXT, content_filter_results=HATE), choice({}, content_filter_results=HARM), choice({})),
        whole(TEXT, content_filter_results=HATE | HARM),
    ),
    "a filter that becomes stricter": (
        stream(*(choice(TEXT, content_filter_results={"hate": {"severity": level}}) for level in ("safe", "low"))),
        whole({"content": "xx"}, content_filter_results={"hate": {"severity": "low"}}),
    ),
    "vLLM's token ids": (
        stream(choice(TEXT, token_ids=[5]), choice(TEXT, token_ids=[5]), choice({}, token_ids=[6, 6])),
        whole({"content": "xx"}, token_ids=[5, 5, 6, 6]),
    ),
    "MiniMax's audio": (
        stream(
            choice(TEXT | {"audio_content": "00ff"}), choice({"audio_content": "01"}), choice({"audio_content": ""})
        ),
        whole(TEXT | {"audio_content": "00ff01"}),
    ),
    "MiniMax's audio that begins with silence": (
        stream(*(choice(TEXT | {"audio_content": piece}) for piece in ("00", "00", "0000", "ff"))),
        whole({"content": "xxxx"} | {"audio_content": "00000000ff"}),
    ),
    "audio that begins with silence": (
        stream(*(choice(TEXT | {"audio": {"data": piece}}) for piece in ("AAAA", "AAAA", "AAAAAAAA", "////"))),
        whole({"content": "xxxx"} | {"audio": {"data": "AAAAAAAAAAAAAAAA////"}}),
    ),
    "a transcript that laughs": (
        stream(*(choice(TEXT | {"audio": {"transcript": piece}}) for piece in ("ha", "ha", "haha", "!"))),
        whole({"content": "xxxx"} | {"audio": {"transcript": "hahahaha!"}}),
    ),
    "Cohere's plan that repeats a word": (
        stream(choice(TEXT | {"tool_plan": "ha"}), choice({"tool_plan": "ha"})),
        whole(TEXT | {"tool_plan": "haha"}),
    ),
    "a gateway's metadata that changes": (
        stream(*(choice(TEXT | {"provider_metadata": {"gateway": {"cost": cost}}}) for cost in ("0.01", "0.02"))),
        whole({"content": "xx"} | {"provider_metadata": {"gateway": {"cost": "0.02"}}}),
    ),
    "facts in documents of their own": (
        stream(choice(TEXT)).replace(
            b"data: [DONE]",
            b'data: {"citations": ["u"]}\n\ndata: {"timings": {"prompt_n": 5}, "type": "timings"}\n\n'
            b'data: {"type": "ping", "sent": 1}\n\ndata: [DONE]',
        ),
        whole(TEXT, {"id": "1", "model": "m", "citations": ["u"], "timings": {"prompt_n": 5}}),
    ),
    "facts of a part": (
        stream(choice({"content": [{"type": "text", "text": "x", "citations": ["u"], **SIGNED}]})),
        whole(TEXT | {"citations": ["u"], "extra_content": {"google": {"thought_signature": "SIG"}}}),
    ),
    "a vendor's facts of a part": (
        stream(choice({"content": [{"type": "text", "text": "x", "extra_content": {"vendor": {"a": 1}}}]})),
        whole(TEXT | {"extra_content": {"vendor": {"a": 1}}}),
    ),
    "a message after a role": (
        stream(choice({"role": "assistant"}), {"choices": [{"message": TEXT | {"note": "n"}}]}),
        whole(TEXT | {"note": "n"}),
    ),
    "a message beside a role": (stream(choice({"role": "assistant", "content": ""}, message=TEXT)), whole(TEXT)),
    "messages that hold all so far, after a role": (
        stream(choice({"role": "assistant"}), *({"choices": [{"message": {"content": text}}]} for text in ("x", "xy"))),
        whole({"content": "xy"}),
    ),
    "a message that repeats a text and brings the rest": (
        stream(
            choice(TEXT),
            choice(TEXT),
            *[{"choices": [{"message": {"content": "xx", "reasoning_content": "r", "tool_calls": [CALL]}}]}] * 2,
        ),
        whole({"content": "xx", "reasoning_content": "r", "tool_calls": [CALL]}),
    ),
    "a message that repeats reasoning and calls": (
        stream(
            choice({"reasoning_content": "r"}),
            choice({"tool_calls": [{"index": 0, **CALL}]}),
            {"choices": [{"message": {"content": "x", "reasoning_content": "r", "tool_calls": [CALL]}}]},
        ),
        whole({"content": "x", "reasoning_content": "r", "tool_calls": [CALL]}),
    ),
    "Groq's channel": (
        stream(choice({"channel": "analysis"}), choice(TEXT | {"channel": "final"})),
        whole(TEXT | {"channel": "final"}),
    ),
    "a text of a vendor's, repeated at the end": (
        stream(choice(TEXT | {"note": "ab"}), choice({"note": "c"}), choice({"note": "abc"})),
        whole(TEXT | {"note": "abc"}),
    ),
    "sources in every document": (
        stream(*[choice(TEXT) | {"search_results": [{"url": "a"}], "citations": ["a", "b"]}] * 2),
        whole({"content": "xx"}, {"id": "1", "model": "m", "search_results": [{"url": "a"}], "citations": ["a", "b"]}),
    ),
    "sources that become more": (
        stream(*(choice(TEXT) | {"citations": urls} for urls in (["a"], ["a", "b"]))),
        whole({"content": "xx"}, {"id": "1", "model": "m", "citations": ["a", "b"]}),
    ),
    "a transcript without its audio": (
        stream(choice(TEXT | {"audio": {"transcript": "a"}}), choice({"audio": {"transcript": "b"}})),
        whole(TEXT | {"audio": {"transcript": "ab"}}),
    ),
    "audio that is no base64": (
        stream(choice(TEXT | {"audio": {"data": "a="}}), choice({"audio": {"data": "b"}})),
        whole(TEXT | {"audio": {"data": "a=b"}}),
    ),
    "a refusal that is none, sources that are none": (
        stream(choice(TEXT | {"refusal": False}) | {"citations": [5]}),
        whole(TEXT | {"refusal": None}, {"id": "1", "model": "m", "citations": [5]}),
    ),
    "entries by index": (
        stream(choice(TEXT | {"steps": [{"index": 0, "text": "a"}]}), choice({"steps": [{"index": 0, "text": "b"}]})),
        whole(TEXT | {"steps": [{"index": 0, "text": "ab"}]}),
    ),
    "null, empty and zero": (
        stream(
            choice(TEXT | {"a": [1], "b": {"c": 1}, "d": 1}), choice({"a": [], "b": {}, "d": None}), choice({"d": 0})
        ),
        whole(TEXT | {"a": [1], "b": {"c": 1}, "d": 0}),
    ),
    "a finish reason that is an object": (
        stream(choice(TEXT), choice({}, finish_reason={"type": "stop"})),
        whole(TEXT),
    ),
    "a finish reason in a list": (stream(choice(TEXT), choice({}, finish_reason=["stop"])), whole(TEXT)),
    "another model in the middle": (
        stream(choice(TEXT), choice(TEXT) | {"model": "n"}, head={"id": "1"}),
        whole({"content": "xx"}, {"id": "1", "model": "n"}),
    ),
    "texts of a completions server": (
        stream({"choices": [{"index": 0, "text": "H"}]}, {"choices": [{"index": 0, "text": "i"}]}),
        json.dumps({"id": "1", "model": "m", "choices": [{"text": "Hi", "finish_reason": "stop"}]}).encode(),
    ),
    "a text beside its delta": (stream(choice(TEXT, text="x")), whole(TEXT, text="x")),
    "messages that hold all so far": (
        stream(*({"choices": [{"index": 0, "message": {"content": text}}]} for text in ("He", "Hello", "Hello"))),
        whole({"content": "Hello"}),
    ),
    "a message after the deltas": (
        stream(choice(TEXT), {"choices": [{"message": TEXT | {"note": "n", "annotations": [{"type": "file"}]}}]}),
        whole(TEXT | {"note": "n", "annotations": [{"type": "file"}]}),
    ),
    "an image with parameters": (
        stream(choice(TEXT | {"images": [{"image_url": {"url": "data:image/png;charset=utf-8;base64,AAAA"}}]})),
        whole(TEXT | {"images": [{"image_url": {"url": "data:image/png;charset=utf-8;base64,AAAA"}}]}),
    ),
    "a part of another kind with a text": (
        stream(choice({"content": [{"type": "reference", "reference_ids": [0], "text": "42"}]})),
        whole({"content": [{"type": "reference", "reference_ids": [0], "text": "42"}]}),
    ),
}


@pytest.mark.parametrize("name", EQUAL)
async def test_stream_of_facts_equals_the_whole_answer(ask_in_every_style, talk, name):
    in_pieces, at_once = EQUAL[name]
    streamed, _ = await ask_in_every_style(in_pieces)
    answered, _ = await ask_in_every_style(at_once)
    for style, message in streamed.items():
        assert talk.facts(message) == talk.facts(answered["invoke"]), style
        assert talk.facts(answered[style]) == talk.facts(answered["invoke"]), style
    assert talk.facts(answered["invoke"])["text"]


def used(**usage):
    return choice({}) | {"usage": usage}


COUNTS = {"prompt_tokens": 4, "completion_tokens": 2}
TOLD = (4, 2, 6)
THOUGHT = {"completion_tokens_details": {"reasoning_tokens": 94}}
REASONING, READ = {"output_token_details": {"reasoning": 94}}, {"input_token_details": {"cache_read": 1000}}
CACHED = {"input_token_details": {"cache_read": 1000, "cache_creation": 200}}
BESIDE = {"input_tokens": 3, "cache_read_input_tokens": 1000}
USAGE = {
    "reasoning beside the output": (
        used(prompt_tokens=32, completion_tokens=9, total_tokens=135, **THOUGHT),
        (32, 103, 135),
        REASONING,
    ),
    "reasoning in the output": (
        used(prompt_tokens=32, completion_tokens=103, total_tokens=135, **THOUGHT),
        (32, 103, 135),
        REASONING,
    ),
    "caches beside the input": (used(**BESIDE, cache_creation_input_tokens=200), (1203, 0, 1203), CACHED),
    "caches beside the input and the total": (used(**BESIDE, total_tokens=4), (1003, 0, 1003), READ),
    "caches in the input": (used(prompt_tokens=1203, cache_read_input_tokens=1000), (1203, 0, 1203), READ),
    "a total of zero": (used(**COUNTS, total_tokens=0), TOLD, {}),
    "in the delta": (choice({"usage": COUNTS}), TOLD, {}),
    "in the choice": (choice({}, usage=COUNTS), TOLD, {}),
    "in Groq's place": (choice({}) | {"x_groq": {"usage": COUNTS}}, TOLD, {}),
    "in the message": ({"choices": [{"message": {"content": "x", "usage": COUNTS}}]}, TOLD, {}),
    "in the message after a delta": ({"choices": [{"delta": TEXT}, {"message": TEXT | {"usage": COUNTS}}]}, TOLD, {}),
}


@pytest.mark.parametrize(("document", "counts", "details"), USAGE.values(), ids=USAGE)
@pytest.mark.parametrize("zeros", [{}, {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}])
async def test_stream_usage_has_every_token_once(ask_in_every_style, document, counts, details, zeros):
    answers, _ = await ask_in_every_style(stream(document, choice({}) | zeros))
    usage = dict(zip(("input_tokens", "output_tokens", "total_tokens"), counts, strict=True)) | details
    assert all(message.usage_metadata == usage for message in answers.values())


COSTS = {
    "at the top": choice({}) | {"cost": 0.25},
    "in the usage": used(**COUNTS, cost=0.25),
    "as a text": used(**COUNTS, cost="0.25"),
    "as an object with a total": used(**COUNTS, cost={"input": 0.2, "total_cost": 0.25}),
    "as a total": used(**COUNTS, total_cost=0.25),
    "as an estimate": used(**COUNTS, estimated_cost=0.25),
    "in ticks": used(**COUNTS, cost_in_usd_ticks=2_500_000_000),
    "in its details": used(**COUNTS, cost_details={"input": 0.2, "total": {"usd": 0.25}}),
    "in a gateway's metadata, in camel case": choice({}) | {"providerMetadata": {"gateway": {"cost": 0.25}}},
    "in a gateway's metadata": choice({"provider_metadata": {"gateway": {"cost": "0.25"}}}),
}


@pytest.mark.parametrize("document", COSTS.values(), ids=COSTS)
async def test_stream_cost_is_found_in_every_spelling(ask_in_every_style, document):
    answers, _ = await ask_in_every_style(stream(document, used(**COUNTS, cost=None)))
    assert [message.response_metadata["cost"] for message in answers.values()] == [0.25] * 6


@pytest.mark.parametrize("document", [{"cost": 0.25}, {"provider_metadata": {"gateway": {"cost": "0.25"}}}])
async def test_stream_cost_is_found_in_a_document_of_its_own(ask_in_every_style, document):
    answers, _ = await ask_in_every_style(f"data: {json.dumps(document)}\n\n".encode() + stream(choice(TEXT)))
    assert [message.response_metadata["cost"] for message in answers.values()] == [0.25] * 6


async def test_stream_without_a_model_has_the_one_asked_for(ask_in_every_style):
    answers, _ = await ask_in_every_style(stream(choice(TEXT), head={}))
    assert {message.response_metadata["model_name"] for message in answers.values()} == {"vendor/name"}


async def test_stream_of_padded_audio_decodes_whole(ask_in_every_style):
    pieces = [b"abcd", b"efghi", b"j"]
    deltas = [choice({"audio": {"id": "a", "data": base64(piece)}}) for piece in pieces]
    answers, _ = await ask_in_every_style(stream(*deltas))
    for message in answers.values():
        [block] = [block for block in message.content_blocks if block["type"] == "audio"]
        assert b64decode(block["base64"]) == b"abcdefghij"


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n", "png"),
        (b"RIFF\0\0\0\0WEBP", "webp"),
        (b"RIFF\0\0\0\0WAVE", None),
    ],
)
async def test_audio_that_is_an_image_is_shown_as_one(ask_in_every_style, start, kind):
    answers, _ = await ask_in_every_style(whole({"audio": {"data": base64(start + bytes(20))}}))
    for message in answers.values():
        [block] = [block for block in message.content_blocks if block["type"] in {"audio", "image"}]
        assert block.get("mime_type") == (f"image/{kind}" if kind else None)


async def test_image_of_a_mime_type_with_parameters_is_one_without(ask_in_every_style):
    answers, _ = await ask_in_every_style(EQUAL["an image with parameters"][0])
    for message in answers.values():
        assert message.content_blocks[-1]["mime_type"] == "image/png"


@pytest.mark.parametrize(
    "body",
    [
        stream(choice(TEXT | {"annotations": [{"type": "url_citation", "url": "https://a.example"}]})),
        stream(choice(TEXT) | {"citations": ["https://a.example"]}, choice({}) | {"citations": ["https://a.example"]}),
        whole(TEXT | {"citations": ["https://a.example"]}),
    ],
)
async def test_citations_in_every_place_are_standard_ones(ask_in_every_style, talk, body):
    answers, _ = await ask_in_every_style(body)
    for message in answers.values():
        assert talk.facts(message)["annotations"] == [{"type": "citation", "url": "https://a.example"}]


async def test_name_of_a_message_is_its_name(ask_in_every_style):
    answers, _ = await ask_in_every_style(whole(TEXT | {"name": "bob"}))
    assert answers["invoke"].name == "bob"
    assert {message.additional_kwargs["name"] for message in answers.values()} == {"bob"}


async def test_choices_with_one_index_are_generations(server_free_model):
    choices = [{"index": 0, "message": {"content": text}, "finish_reason": "stop"} for text in ("one", "two")]
    model = server_free_model(json.dumps({"choices": choices}).encode(), n=2)
    result = model.generate([[HumanMessage("x")]])
    assert [generation.text for generation in result.generations[0]] == ["one", "two"]
