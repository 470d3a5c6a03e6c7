"""Results and chunks: what LangChain is handed, no different from what langchain-core's constructors make."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from .wire import (
    ChunkParser,
    EventParser,
    ResultParser,
    answer,
    by_chunks,
    by_events,
    by_result,
    call,
    document,
    read,
    sse,
    stream,
    with_core,
)

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def several(*choices, **envelope):
    return json.dumps(document(choices=list(choices), **envelope)).encode()


def choice(text, **more):
    return {"index": 0, "message": {"content": text}, "finish_reason": "stop"} | more


class TestResult:
    def test_of_several_choices_has_a_generation_for_each_in_order(self):
        calls = {"content": None, "tool_calls": [call("{}", call_id="a", name="f")]}
        choices = choice("b", index=1), choice("a"), choice("", index=2, message=calls)
        [result] = read(ResultParser, several(*choices, usage=USAGE | {"cost": 0.5}), n=3)
        messages = [generation.message for generation in result.generations]
        assert [message.text for message in messages] == ["a", "b", ""]
        assert [len(message.tool_calls) for message in messages] == [0, 0, 1]
        assert [message.response_metadata["id"] for message in messages] == ["chatcmpl-1"] * 3
        # Tokens count once.
        assert [bool(message.usage_metadata) for message in messages] == [True, False, False]
        priced = [message.response_metadata.keys() >= {"cost", "token_usage"} for message in messages]
        assert priced == [True, False, False]

    @pytest.mark.parametrize("index", [None, "0", -1, 2**70, 128, [], {}, 1.5])
    def test_takes_the_place_for_an_index_that_is_none(self, index):
        [result] = read(ResultParser, several(choice("a", index=index), choice("b", index=index)))
        assert [generation.text for generation in result.generations] == ["a", "b"]

    @pytest.mark.parametrize(
        ("n", "deltas", "texts"),
        [
            (1, [(None, "a"), (None, "b"), (None, "c")], ["abc"]),
            (2, [(0, "a"), (1, "b"), (0, "c"), (0, "d"), (1, "e")], ["acd", "be"]),
        ],
    )
    def test_of_a_stream_has_a_generation_for_each_choice(self, n, deltas, texts):
        body = sse(*[document(choices=[{"index": index, "delta": {"content": text}}]) for index, text in deltas])
        [result] = read(ResultParser, body, n=n)
        assert [generation.text for generation in result.generations] == texts

    def test_shows_logprobs_as_generation_info(self):
        logprobs = {"content": [{"token": "x"}], "refusal": None}
        [result] = read(ResultParser, several(choice("x", logprobs=logprobs)))
        assert result.generations[0].generation_info == {"finish_reason": "stop", "logprobs": logprobs}

    @pytest.mark.parametrize(
        "message", [{"content": "x", "reasoning": "r"}, {"tool_calls": [call("{", call_id="a", name="f")]}]
    )
    def test_is_as_constructed(self, message):
        [result] = read(ResultParser, answer(message, usage=USAGE))
        [generation] = result.generations
        given = {name: getattr(generation.message, name) for name in generation.message.model_fields_set}
        made = ChatGeneration(message=AIMessage(**given), generation_info=generation.generation_info)
        assert repr(generation) == repr(made)
        assert generation.__getstate__() == made.__getstate__()
        assert result == ChatResult(generations=[made], llm_output=result.llm_output)


CALL = {"tool_calls": [call("{}", call_id="a", name="f")]}
REASONS = [
    ({"refusal": "Sorry."}, "stop", "refusal"),
    ({"content": "x"}, "stop", "stop"),
    ({"content": "x"}, "length", "length"),
    ({"content": "x"}, "max_tokens", "length"),
    ({"content": "x"}, "FINISH_REASON_STOP", "stop"),
    ({"content": "x"}, "content_filter", "refusal"),
    ({"content": "x"}, "whatever", "other"),
    (CALL, "stop", "tool_call"),
    (CALL, "tool_calls", "tool_call"),
]


@pytest.mark.parametrize(("delta", "reason", "normalized"), REASONS)
@pytest.mark.parametrize("knows", [True, False])
def test_finish_reason_is_normalized_and_refusal_a_block_where_core_knows_them(
    monkeypatch, knows, delta, reason, normalized
):
    with_core(monkeypatch, finish_reasons=knows, refusals=knows)
    body = stream(delta, finish_reason=reason)
    last = read(EventParser, body)[-1]
    for told in (by_result(body).response_metadata, by_chunks(body).response_metadata, last["metadata"]):
        assert (told["finish_reason"], told.get("normalized_finish_reason")) == (reason, normalized if knows else None)
    assert last.get("normalized_finish_reason") == (normalized if knows else None)
    kinds = [block["type"] for block in by_result(body).content_blocks]
    assert ("refusal" in kinds) == (knows and normalized == "refusal")


def test_a_stream_that_answers_with_several_choices_keeps_the_first_text():
    body = several(choice("a"), choice("b", index=1))
    assert (by_chunks(body).text, by_events(body).text) == ("a", "a")


LONG = "0123456789" * 1000
LOGPROBS = {"content": [{"token": "a", "logprob": -0.1}]}
TOOL = {"response_metadata": {"model_provider": "promptrun"}}


def chunks_of(*deltas, **choice):
    """The chunks of deltas, without the last one, which tells the facts."""
    body = stream(*deltas)
    if choice:
        body = sse(*[document(choices=[{"index": 0, "delta": delta, **choice}]) for delta in deltas])
    return read(ChunkParser, body)[:-1]


def constructed(text="", **fields):
    return ChatGenerationChunk(message=AIMessageChunk(content=text, **fields))


def assert_same(restored, made):
    """Restoring a model from pydantic's state was checked on pydantic 2.7, 2.12 and 2.13."""
    assert restored == made
    assert repr(restored) == repr(made)
    assert restored.text == made.text
    assert restored.model_dump() == made.model_dump()
    assert vars(restored.message) == vars(made.message)
    assert list(vars(restored.message)) == list(vars(made.message))
    assert restored.message.model_fields_set <= made.message.model_fields_set | {"invalid_tool_calls"}


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_chunk_of_text_or_reasoning_is_as_constructed(text):
    [chunk] = chunks_of({"content": text})
    assert_same(chunk, constructed(text))
    [chunk] = chunks_of({"reasoning": text})
    assert_same(chunk, constructed(additional_kwargs={"reasoning_content": text}))


def test_chunk_of_log_probabilities_is_as_constructed():
    [chunk] = chunks_of({"role": "assistant"}, logprobs=LOGPROBS)
    assert_same(chunk, constructed(response_metadata={"logprobs": LOGPROBS}))


@settings(max_examples=30)
@given(st.lists(st.text(alphabet='{}[]":,\\ \t\nan01é', min_size=1), min_size=2))
def test_chunk_of_a_tool_call_is_as_constructed(pieces):
    deltas = [{"tool_calls": [call(pieces[0], call_id="a", name="f")]}]
    deltas += [{"tool_calls": [call(piece)]} for piece in pieces[1:]]
    chunks = chunks_of(*deltas)
    for chunk in chunks:
        if not chunk.message.tool_call_chunks:
            assert_same(chunk, constructed())  # of a piece that is held back
            continue
        assert_same(chunk, constructed(tool_call_chunks=chunk.message.tool_call_chunks, **TOOL))
    assert chunks[0].message.tool_call_chunks[0]["id"] == "a"


def test_chunks_share_nothing_that_can_be_changed():
    one, other = chunks_of({"content": "a"}, {"content": "b"})
    message = one.message
    message.additional_kwargs["x"] = message.response_metadata["x"] = 1
    for names in (message.tool_calls, message.invalid_tool_calls, message.tool_call_chunks):
        names.append({})
    message.id = "run-1"
    message.unheard_of = True
    one.generation_info = {"x": 1}
    assert_same(other, constructed("b"))
    assert_same(chunks_of({"content": "c"})[0], constructed("c"))
    assert other.message.model_fields_set == {"content"}
    assert not other.message.model_extra


@pytest.mark.parametrize("delta", [{"content": "a"}, {"reasoning": "a"}])
def test_chunk_can_be_changed_copied_pickled_and_summed(delta):
    [chunk] = chunks_of(delta)
    chunk.message.id = "run-1"
    assert_same(pickle.loads(pickle.dumps(chunk)), chunk)
    assert_same(chunk.model_copy(deep=True), chunk)
    assert (chunk + chunk).message == chunk.message + chunk.message
    assert (chunk + chunk).message.id == "run-1"


WRITTEN = json.dumps({"x": LONG})


@pytest.mark.parametrize("pieces", [["", WRITTEN], [WRITTEN], [WRITTEN[:-2]]])
def test_long_tool_call_in_its_first_or_second_piece_is_one_chunk(pieces):
    calls = [call(pieces[0], call_id="a", name="f"), *map(call, pieces[1:])]
    chunks = chunks_of(*({"tool_calls": [entry]} for entry in calls))
    assert [chunk.message.tool_call_chunks[0]["args"] for chunk in chunks] == pieces


def test_long_piece_of_a_tool_call_that_begins_like_an_object_is_cut():
    """langchain-core up to 1.7 takes time by the square of its length to find that it is none."""
    inside = '{"x": 1}, ' * 1000
    deltas = [call('{"a": [', call_id="a", name="f"), call(inside), call(LONG)]
    chunks = chunks_of(*({"tool_calls": [entry]} for entry in deltas))[1:]
    pieces = [piece for chunk in chunks for piece in chunk.message.tool_call_chunks]
    assert "".join(piece["args"] for piece in pieces).startswith(inside + LONG)
    assert [len(piece["args"]) for piece in pieces][:9] == [1024] * 9
    assert LONG in [piece["args"] for piece in pieces]
    assert {(piece["index"], piece["id"], piece["name"]) for piece in pieces} == {(0, None, None)}
