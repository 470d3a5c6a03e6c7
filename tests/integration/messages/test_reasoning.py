"""Reasoning in every spelling: shown once, and sent back as it came to the model that wrote it, and to no other."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, messages_from_dict, messages_to_dict

from .sending import Conversation, each_style, reasoning_of, sent, text

SIGNED = {"type": "thinking", "thinking": "hm", "signature": "S"}
REDACTED = {"type": "redacted_thinking", "data": "R"}
MISTRAL = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
DETAIL = {"type": "reasoning.text", "text": "hm", "signature": "S", "format": "anthropic-claude-v1", "index": 0}
MARK = {"extra_content": {"google": {"thought": True}}}
THOUGHT = {"type": "text", "text": "<thought>hm</thought>", **MARK}


def under(name, whole, *pieces, back=None):
    """A text, entries or an object beside the content, or its parts: the message, its deltas, and what goes back."""
    return {name: whole}, [{name: piece} for piece in pieces], {name: back or whole}


def part(block, *fragments, **back):
    return under("content", [block], *([fragment] for fragment in fragments), **back)


def growing(*texts, whole="hmm", **facts):
    """An entry without a format, whose texts hold all so far, or may."""
    pieces = [[{"type": "reasoning.text", "text": text, **facts}] for text in texts]
    return under("reasoning_details", [{"type": "reasoning.text", "text": whole, **facts}], *pieces)


def repeating(facts, *pieces, beside=False):
    """Entries in pieces, each of which may look like a repetition; with the plain text beside them."""
    told = [("".join(pieces)), *pieces]
    entry = {"type": "reasoning.text", "index": 0, "signature": "S", **facts}
    texts = [{"reasoning_details": [{**entry, "text": text}]} for text in told]
    message, *deltas = [{**wire, "reasoning": text} if beside else wire for wire, text in zip(texts, told, strict=True)]
    return message, deltas, message


def beside_text(carrier):
    """A signature of its own beside plain reasoning."""
    message = {"reasoning_content": "hm", **carrier}
    return message, [{"reasoning_content": "hm"}, carrier], message


def thinking(text, **facts):
    return {"type": "thinking", "thinking": text, **facts}


def openrouters(text, **facts):
    return {"reasoning": text, "reasoning_details": [{**DETAIL, "text": text, **facts}]}


def summary(text):
    return {"type": "summary_text", "text": text}


END = {"text": "m", "signature": "S"}
SUMMARIES = {"type": "reasoning", "summary": [summary("h"), summary("m")]}
SIGNED_M = thinking("m", signature="T")
BEDROCK = {"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "S"}}
TWO_KEYS = {"reasoning_content": "hm", "reasoning": "hm"}
TWO_TEXTS = {"reasoning_content": "hm", "reasoning": "h!", "cot_summary": "om"}
SIGN = {"signature": "S"}
COPILOT = {"reasoning_text": "hm", "reasoning_opaque": "OPAQUE"}
LITELLM = {"reasoning_content": "hm", "thinking_blocks": [SIGNED, REDACTED]}
STORED = [{**DETAIL, "id": "rs_1"}]
PIECES = ("hm", "h", "m")


def with_text(message):
    content = message.get("content")
    return {**message, "content": [*content, text("Hi")] if content else "Hi"}


TEXT_KEYS = ("reasoning_content", "reasoning", "reasoning_text", "cot_summary", "thinking")
CARRIERS = {
    **{name: under(name, "hm", "h", "m") for name in TEXT_KEYS},
    "two keys": (TWO_KEYS, [dict.fromkeys(TWO_KEYS, piece) for piece in "hm"], TWO_KEYS),
    "two texts": (TWO_TEXTS, [dict(zip(TWO_TEXTS, pieces, strict=True)) for pieces in ("hho", "m!m")], TWO_TEXTS),
    "Copilot": (
        COPILOT,
        [{"reasoning_text": "h", "reasoning_opaque": "OPA"}, {"reasoning_text": "m"}, {"reasoning_opaque": "QUE"}],
        COPILOT,
    ),
    "Anthropic's part": part(SIGNED, thinking("h"), thinking("m"), thinking("", signature="S")),
    "Mistral's part": part(*({**MISTRAL, "thinking": [text(piece)]} for piece in PIECES)),
    "Mistral's part, then its signature": part({**MISTRAL, "signature": "S"}, MISTRAL, thinking("", signature="S")),
    "Mistral's part that goes on as a text": part(MISTRAL, {**MISTRAL, "thinking": [text("h")]}, thinking("m")),
    "Mistral's part that begins as a text": part(MISTRAL, thinking("h"), {**MISTRAL, "thinking": [text("m")]}),
    "Databricks' part": part(*({"type": "reasoning", "summary": [summary(piece)]} for piece in PIECES)),
    "Databricks' part, two summaries": part(SUMMARIES, SUMMARIES),
    "a part with its text": part(*({"type": "reasoning", "text": piece} for piece in PIECES)),
    "Bedrock's part": part(BEDROCK, *[{**BEDROCK, "reasoning_content": piece} for piece in ({"text": "h"}, END)]),
    "two parts, one redacted": under("content", [SIGNED, REDACTED], [SIGNED], [REDACTED]),
    "LiteLLM": (
        LITELLM,
        [
            {"reasoning_content": "h", "thinking_blocks": [thinking("h")]},
            {"reasoning_content": "m", "thinking_blocks": [thinking("m", signature=None)]},
            {"thinking_blocks": [thinking("", signature="S")]},
            {"thinking_blocks": [REDACTED]},
        ],
        LITELLM,
    ),
    "LiteLLM, blocks alone": under("thinking_blocks", [SIGNED], [thinking("h")], [{**SIGNED, "thinking": "m"}]),
    "OpenRouter": (openrouters("hm"), [openrouters("h", signature=None), openrouters("m")], openrouters("hm")),
    "MiniMax, all so far": growing("h", "hm", "hmm", "hmm"),
    "MiniMax, all so far, with an index": growing("h", "hm", "hmm", index=0),
    "all again at the end": growing("h", "mm", "hmm", index=0),
    "OpenRouter, pieces that begin alike": repeating({"format": "anthropic-claude-v1"}, "h", "hm", "hmm", "hmmhmm"),
    "pieces that begin alike, with the text beside": repeating({}, "h", "hm", beside=True),
    "pieces that begin alike and go on": repeating({}, "h", "hh", "m"),
    "pieces that begin with a blank line and go on": repeating({}, "\n", "\n\nO", " K", beside=True),
    "a piece that equals all before and goes on": repeating({}, "h", "m", "hm", "!"),
    "a piece that equals all before, with the text beside": repeating({}, "h", "m", "hm", beside=True),
    "LiteLLM, pieces that begin alike": under(
        "thinking_blocks", [thinking("hhmhmm", **SIGN)], [thinking("h")], [thinking("hm")], [thinking("hmm", **SIGN)]
    ),
    "Gemini's signature of a text": beside_text({"extra_content": {"google": {"thought_signature": "SIG"}}}),
    "LiteLLM's signatures of a text": beside_text({"provider_specific_fields": {"thought_signatures": ["S1", "S2"]}}),
    "a signature in a field of its own": beside_text({"reasoning_signature": "SIG"}),
    "xAI's encrypted reasoning": beside_text({"encrypted_content": "E"}),
    "LiteLLM's items": beside_text({"reasoning_items": [{"type": "reasoning", "encrypted_content": "E"}]}),
    "stored by OpenAI": under("reasoning_details", STORED, STORED, back=[DETAIL]),
    **{
        f"{name} as an object": under(name, {"content": "hm", **SIGN}, {"content": "h"}, {"content": "m", **SIGN})
        for name in ("reasoning", "thinking")
    },
    "a list": under("reasoning", *([summary(piece)] for piece in PIECES)),
    "a list of texts": under("reasoning", ["h", "m"], ["h"], ["m"], back="hm"),
    "an object under a text's name": under("reasoning_content", *({"text": piece} for piece in PIECES), back="hm"),
    "Gemini's part": part(THOUGHT, *({**THOUGHT, "text": piece} for piece in ("<tho", "ught>h", "m</thought>"))),
    "Gemini's part without tags": part(*({**THOUGHT, "text": piece} for piece in PIECES), back=[THOUGHT]),
}


@each_style
@pytest.mark.parametrize(("message", "deltas", "back"), CARRIERS.values(), ids=CARRIERS)
def test_reasoning_of_each_carrier_is_shown_once_and_goes_back_as_it_came(style, message, deltas, back):
    conversation = Conversation(with_text(message), [*deltas, {"content": "Hi"}])
    entries = [*message.get("reasoning_details", ()), *message.get("thinking_blocks", ())]
    said = "".join(entry.get("text") or entry.get("thinking") or "" for entry in entries) or "hm"
    for version in ("v0", "v1"):
        answer = conversation.ask(style, output_version=version)
        assert (reasoning_of(answer), str(answer.text)) == (said, "Hi")
        assert [key for key, kept in answer.additional_kwargs.items() if kept == said] == ["reasoning_content"]
        if version == "v1":
            assert [block["type"] for block in answer.content] == ["reasoning", "text"]
        for copied in (answer, messages_from_dict(json.loads(json.dumps(messages_to_dict([answer]))))[0]):
            assert conversation.turn(copied) == {"role": "assistant", **with_text(back)}


@each_style
def test_reasoning_that_gemini_marks_on_the_whole_delta_ends_with_its_tag(style):
    message = {"content": "<thought>hm</thought>Hi", **MARK}
    pieces = [{"content": piece} for piece in ("<thought>h", "m", "</tho", "ught>H", "i")]
    deltas = [pieces[0] | MARK, *pieces[1:]]
    conversation = Conversation(message, deltas)
    answer = conversation.ask(style)
    assert (reasoning_of(answer), str(answer.text)) == ("hm", "Hi")
    assert conversation.turn(answer)["content"] == [THOUGHT, text("Hi")]


REASONED = {"reasoning": "hm", "reasoning_details": [DETAIL], "content": "Hi"}
KEYS = {"reasoning", "reasoning_details"}


@pytest.mark.parametrize(
    ("first", "then", "goes_back"),
    [
        ("vendor/name", "vendor/name", True),
        ("vendor/name", "vendor/other", False),
        ("vendor/name", "openai/gpt-4o", False),
        ("openai/gpt-4o", "vendor/name", False),
        ("anthropic/claude-sonnet-4", "mistralai/mistral-large", False),
        ("anthropic/claude-sonnet-4", "anthropic/claude-3.7-sonnet", True),
        ("anthropic/claude-sonnet-4", "anthropic/claude-opus-4", False),
        ("openai/gpt-5", "openai/gpt-4o", True),
    ],
)
def test_reasoning_goes_back_to_the_model_and_family_that_wrote_it(first, then, goes_back):
    conversation = Conversation(REASONED, model=first)
    answer = conversation.ask("invoke", model=first)
    for sending, goes in ((True, goes_back), (False, False), ("always", True)):
        turn = conversation.turn(answer, model=then, send_reasoning=sending)
        assert turn.keys() & KEYS == (KEYS if goes else set())


@each_style
@pytest.mark.parametrize(("asked", "named"), [("vendor/alias", "deployment-7"), ("vendor/auto", "anthropic/claude-3")])
def test_reasoning_goes_back_to_the_id_that_was_asked_for_and_to_the_one_that_answered(style, asked, named):
    conversation = Conversation(REASONED, model=named)
    answer = conversation.ask(style, model=asked)
    for model, goes_back in ((asked, True), (named, True), ("deployment-8", False)):
        assert (conversation.turn(answer, model=model).keys() >= KEYS) is goes_back


@pytest.mark.parametrize(
    ("metadata", "goes_back"),
    [
        ({"model_provider": "promptrun", "model_name": "vendor/name"}, True),
        ({"model_provider": "promptrun", "model_name": "vendor/other"}, False),
        ({"model_provider": "promptrun"}, True),
        ({}, True),
        ({"model_provider": "openrouter", "model_name": "vendor/name"}, False),
    ],
)
def test_reasoning_of_a_history_without_the_mark_goes_by_the_name_of_its_model(metadata, goes_back):
    message = AIMessage("Hi", additional_kwargs=TWO_TEXTS, response_metadata=metadata)
    assert sent(message)[0].keys() & TWO_TEXTS.keys() == ({"reasoning_content"} if goes_back else set())


@pytest.mark.parametrize("reasoning", [{"send_reasoning": "sometimes"}, {"think_tags": "perhaps"}])
def test_reasoning_field_of_another_value_is_an_error(reasoning):
    with pytest.raises(ValueError, match=next(iter(reasoning))):
        sent(AIMessage("Hi"), **reasoning)


def tagged(body, pieces=None, style="stream", **fields):
    conversation = Conversation({"content": body}, [{"content": piece} for piece in pieces or body])
    answer = conversation.ask(style, **fields)
    return reasoning_of(answer), str(answer.text), conversation, answer


@each_style
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<think>hm</think>Hi", ("hm", "Hi")),
        *((f"<think>{open_end}", (open_end, "")) for open_end in ("hm", "hm</thin")),
    ],
)
def test_think_tags_are_text_unless_the_field_says_so(style, body, said):
    assert tagged(body, style=style)[:2] == ("", body)
    assert tagged(body, style=style, bound={"think_tags": True})[:2] == said
    *read, conversation, answer = tagged(body, style=style, think_tags=True)
    assert ((*read,), answer.response_metadata["reasoning_field"]) == (said, "think_tags")
    assert conversation.turn(answer)["content"].startswith(body)
    assert "think_tags" not in conversation.requests[0]


@given(st.lists(st.integers(0, 40)), st.sampled_from(["stream", "invoke answered by a stream", "events"]))
def test_think_tags_are_read_however_the_text_is_cut(cuts, style):
    body = "a<b <think>h</thi nk>m</think>\n<thinkHi</think> <"
    cuts = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in itertools.pairwise(cuts)]
    assert tagged(body, pieces, style, think_tags=True)[:2] == ("h</thi nk>m", "a<b \n<thinkHi</think> <")


def entries_of(*lists, style="stream", key="reasoning_details"):
    answer = Conversation({}, [{key: entries} for entries in lists]).ask(style)
    return answer.additional_kwargs.get(key), reasoning_of(answer), answer.response_metadata.get("reasoning_field")


AT_NONE, AT_0 = {"index": None}, {"index": 0}


def detail(value=None, **more):
    entry = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0} | more
    return entry if value is None else entry | {"text": value}


def encrypted(data, **more):
    return {"type": "reasoning.encrypted", "data": data} | more


SECRET = encrypted("A=", index=0)


def apart(*entries, said=""):
    """Entries that stay as they are."""
    return entries, list(entries), said


OTHERS = [{"index": 1}, {"type": "reasoning.summary"}, {"id": "b"}, {"index": "0"}]


@pytest.mark.parametrize(
    ("pieces", "entries", "said"),
    [
        *(apart(*(encrypted(data, id=None, **index) for data in ("A=", "B=", ""))) for index in ({}, AT_NONE, AT_0)),
        apart(
            {"index": 0, "type": ["x"], "id": {"a": 1}},
            {"index": 0, "type": {"x": 1}, "id": {"a": 2}},
            {"index": True, "text": ["x"], "summary": None},
        ),
        *(
            apart(detail("a", id="a", index=index), detail("b", id="a", index=index) | other, said="ab")
            for index in (0, None)
            for other in OTHERS
        ),
        ([detail("a"), SECRET, detail("b"), detail(signature="s")], [detail("ab", signature="s"), SECRET], "ab"),
        ([SIGNED, thinking("m"), thinking("", signature="T")], [SIGNED, SIGNED_M], "hmm"),
        ([detail("a", id=1), {**AT_0, "text": "b"}, {**AT_0, **SIGN}], [detail("ab", id=1, **SIGN)], "ab"),
        ([detail("a", signature=None), detail("b", **SIGN), detail("", signature="")], [detail("ab", **SIGN)], "ab"),
    ],
)
def test_reasoning_in_fragments_of_entries_is_put_together_where_they_belong_together(pieces, entries, said):
    key = "thinking_blocks" if SIGNED in pieces else "reasoning_details"
    assert entries_of(*([piece] for piece in pieces), key=key) == (entries, said, key)


def test_reasoning_details_of_a_whole_answer_stay_as_they_came():
    entries = [detail("a"), detail("b"), detail(None, signature="x"), {"type": "reasoning.encrypted", "data": "=="}]
    answer = Conversation({"content": "x", "reasoning_details": entries}).ask("invoke")
    assert json.dumps(answer.additional_kwargs["reasoning_details"]) == json.dumps(entries)
    assert reasoning_of(answer) == "ab"


@pytest.mark.parametrize("entries", [[None, 5, "x", []], "text", 7])
def test_reasoning_details_that_are_no_objects_are_left_out(entries):
    assert entries_of(entries) == (None, "", None)


def beside(name):
    return lambda nothing: {name: nothing, "content": "x"}


UNDER_DEEPSEEKS_KEY = beside("reasoning_content")


def inside(nothing):
    return {"content": [*map(thinking, (nothing, [{"type": "reference"}], [{"text": None}])), text("x")]}


@pytest.mark.parametrize("said", [UNDER_DEEPSEEKS_KEY, *map(beside, ("reasoning", "thinking")), inside])
@pytest.mark.parametrize("nothing", [None, "", [], {}, 0, False, 5, [5], [None]])
@each_style
def test_reasoning_that_says_nothing_is_left_out_and_goes_back_where_it_came_as_an_empty_text(said, nothing, style):
    conversation = Conversation(said(nothing))
    answer = conversation.ask(style)
    assert (reasoning_of(answer), answer.additional_kwargs) == ("", {})
    came_empty = said is UNDER_DEEPSEEKS_KEY and nothing == ""
    assert answer.response_metadata.get("reasoning_field") == ("reasoning_content" if came_empty else None)
    assert (conversation.turn(answer).get("reasoning_content") == "") is came_empty


def test_reasoning_in_spellings_that_change_is_all_remembered():
    answer = Conversation({}, [{"reasoning": "a"}, {"reasoning_content": "b"}]).ask("stream")
    assert reasoning_of(answer) == "ab"
    assert answer.response_metadata["reasoning_field"] == ["reasoning", "reasoning_content"]
    answer = Conversation({}, [{"reasoning_content": "a", "reasoning": "b"}, {"reasoning": "c"}]).ask("stream")
    assert (reasoning_of(answer), answer.additional_kwargs["reasoning"]) == ("ac", "bc")


def test_reasoning_in_the_same_delta_as_text_goes_before_it():
    deltas = [{"content": "b", "reasoning": "a"}, {"content": "d", "reasoning": "c"}]
    answer = Conversation({}, deltas).ask("events")
    assert (reasoning_of(answer), str(answer.text)) == ("ac", "bd")


@each_style
@pytest.mark.parametrize("carrier", ["reasoning_content", "reasoning_details", "thinking part"])
def test_reasoning_character_that_is_cut_in_two_is_joined(style, carrier):
    wrapped = {
        "reasoning_content": lambda piece: {"reasoning_content": piece},
        "reasoning_details": lambda piece: {"reasoning_details": [detail(piece)]},
        "thinking part": lambda piece: {"content": [{"type": "thinking", "thinking": [text(piece)]}]},
    }[carrier]
    conversation = Conversation(wrapped("a\U0001f680b"), [wrapped("a\ud83d"), wrapped("\ude80b")])
    answer = conversation.ask(style)
    assert reasoning_of(answer) == "a\U0001f680b"
    assert "a\U0001f680b" in json.dumps(conversation.turn(answer), ensure_ascii=False)


def test_reasoning_details_in_many_fragments_take_linear_time():
    deltas = [{"reasoning_details": [{"index": index % 2_000, "text": f"{index} "}]} for index in range(4_000)]
    kept = Conversation({}, deltas).ask("invoke answered by a stream").additional_kwargs["reasoning_details"]
    assert [entry["text"] for entry in kept[:2]] == ["0 2000 ", "1 2001 "]
    assert len(kept) == 2_000


HM = {"reasoning_content": "hm"}
BLOCKS = [{"type": "reasoning", "reasoning": "h"}, {"type": "reasoning", "reasoning": "m"}, text("Hi")]
EMPTY = {"reasoning_details": [], "reasoning_parts": "odd"}


@pytest.mark.parametrize(
    ("content", "kwargs", "field", "back"),
    [
        ("Hi", HM, ["reasoning", "reasoning_details"], {"reasoning": "hm"}),
        ("Hi", HM, "reasoning_details", {}),
        *(("Hi", HM, odd, HM) for odd in (None, "content", 7)),
        ("Hi", HM, "thinking", {"content": [MISTRAL, text("Hi")]}),
        *(("Hi", {"reasoning_content": nothing, **EMPTY}, "reasoning", {}) for nothing in ("", None, ["hm"])),
        *((BLOCKS, kwargs, "reasoning", {"reasoning": "hm"}) for kwargs in ({}, HM, {"reasoning_content": None})),
        ([{"type": "reasoning"}, text("Hi")], {}, None, {}),
    ],
)
def test_reasoning_of_an_older_history_goes_back_in_its_spelling(content, kwargs, field, back):
    metadata = {"model_provider": "promptrun", "reasoning_field": field}
    message = AIMessage(content, additional_kwargs=kwargs, response_metadata=metadata)
    assert sent(message)[0] == {"role": "assistant", "content": "Hi", **back}
    assert sent(AIMessage(BLOCKS))[0] == {"role": "assistant", "content": "Hi"}  # of an unknown author
