"""Results and chunks: what LangChain is handed."""

from __future__ import annotations

import json

import pytest
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
    summed,
    with_core,
)

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def several(*choices, **envelope):
    return json.dumps(document(choices=list(choices), **envelope)).encode()


def choice(text, **more):
    return {"index": 0, "message": {"content": text}, "finish_reason": "stop"} | more


class TestResult:
    def test_is_one_message_and_a_summary_and_leaves_its_id_to_langchain(self):
        [result] = read(ResultParser, answer({"content": "x"}, usage=USAGE))
        [generation] = result.generations
        assert (type(result), type(generation), type(generation.message)) == (ChatResult, ChatGeneration, AIMessage)
        assert (generation.text, generation.generation_info) == ("x", {"finish_reason": "stop"})
        facts = {"model_name": "vendor/name", "model_provider": "promptrun", "id": "chatcmpl-1"}
        assert result.llm_output == facts | {"token_usage": USAGE}
        assert generation.message.id is None
        assert all(item.message.id is None for item in read(ChunkParser, stream({"content": "x"})))

    def test_of_several_choices_has_a_generation_for_each_in_order(self):
        calls = {"content": None, "tool_calls": [call("{}", call_id="a", name="f")]}
        body = several(choice("b", index=1), choice("a"), choice("", index=2, message=calls), usage=USAGE)
        [result] = read(ResultParser, body, n=3)
        messages = [generation.message for generation in result.generations]
        assert [message.text for message in messages] == ["a", "b", ""]
        assert [len(message.tool_calls) for message in messages] == [0, 0, 1]
        assert [message.response_metadata["id"] for message in messages] == ["chatcmpl-1"] * 3

    def test_counts_the_tokens_of_several_choices_once(self):
        [result] = read(ResultParser, several(choice("a"), choice("b", index=1), usage=USAGE | {"cost": 0.5}))
        messages = [generation.message for generation in result.generations]
        assert [bool(message.usage_metadata) for message in messages] == [True, False]
        assert ["cost" in message.response_metadata for message in messages] == [True, False]
        assert ["token_usage" in message.response_metadata for message in messages] == [True, False]

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


class TestChunks:
    def test_bring_one_fact_each_and_the_last_one_the_rest(self):
        body = stream(
            {"role": "assistant", "content": ""},
            {"reasoning": "r"},
            {"content": "x"},
            {"tool_calls": [call('{"a"', call_id="a", name="f")]},
            {"tool_calls": [call(": 1}")]},
            usage=USAGE,
        )
        items = read(ChunkParser, body)
        assert all(type(item) is ChatGenerationChunk and type(item.message) is AIMessageChunk for item in items)
        reasoning, text, first, second, last = (item.message for item in items)
        assert (reasoning.content, reasoning.additional_kwargs) == ("", {"reasoning_content": "r"})
        assert (text.content, text.additional_kwargs, text.response_metadata) == ("x", {}, {})
        assert first.tool_call_chunks == [
            {"type": "tool_call_chunk", "id": "a", "name": "f", "args": '{"a"', "index": 0}
        ]
        assert second.tool_call_chunks == [
            {"type": "tool_call_chunk", "id": None, "name": None, "args": ": 1}", "index": 0}
        ]
        assert (last.content, last.chunk_position) == ("", "last")
        assert last.usage_metadata == {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        assert [item.generation_info for item in items] == [None] * 4 + [{"finish_reason": "stop"}]

    @pytest.mark.parametrize(
        ("body", "texts"),
        [
            # What fails before the first content fails before any chunk.
            (stream({"role": "assistant", "content": ""}, {"content": "x"}), ["x", ""]),
            (stream({"role": "assistant", "content": ""}), [""]),
            (answer({"content": "x", "reasoning": "r"}), ["", "x", ""]),
        ],
    )
    def test_end_with_the_last_one_and_never_begin_with_an_empty_one(self, body, texts):
        items = read(ChunkParser, body)
        assert [item.text for item in items] == texts
        assert [item.message.chunk_position for item in items] == [None] * (len(texts) - 1) + ["last"]

    def test_can_be_summed_in_any_grouping(self):
        body = stream({"content": "a"}, {"reasoning": "r"}, {"content": "b"}, usage=USAGE)
        items = read(ChunkParser, body)
        messages = [item.message for item in items]
        assert summed(items) == messages[0] + (messages[1] + messages[2]) + messages[3]

    def test_bring_long_arguments(self):
        long = "0123456789" * 1000
        body = stream(
            {"tool_calls": [call('{"x": ["' + long + '", ', call_id="a", name="f")]},
            {"tool_calls": [call('{"y": "' + long + '"}, ')]},
            {"tool_calls": [call('"' + long)]},
            {"tool_calls": [call('"]}')]},
        )
        [found] = summed(read(ChunkParser, body)).tool_calls
        assert found == {"type": "tool_call", "id": "a", "name": "f", "args": {"x": [long, {"y": long}, long]}}


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
