"""Results, chunks and protocol events: what LangChain is handed, as langchain-core itself would make it."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_promptrun import errors

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
    replayed,
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
    @pytest.mark.parametrize("n", [1, 2])
    def test_takes_the_place_for_an_index_that_is_none(self, index, n):
        [result] = read(ResultParser, several(choice("a", index=index), choice("b", index=index)), n=n)
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
    at_the_top = last.get("finish_reason"), last.get("normalized_finish_reason")
    assert at_the_top == ((reason, normalized) if knows else (None, None))
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
    assert [chunk.message.tool_call_chunks[0]["args"] for chunk in chunks][: len(pieces)] == pieces


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


# Protocol events: a valid stream that says what the chunks say.

PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CITED = {"type": "url_citation", "url_citation": {"url": "https://a.example"}}
CITATION = {"type": "citation", "url": "https://a.example"}


def events_of(*deltas, **envelope):
    events = read(EventParser, stream(*deltas, **envelope))
    replayed(events)
    return events


def outline(events):
    """The kinds of events and the indexes of their blocks, without `message-start` and `message-finish`."""
    blocks = [event for event in events if "index" in event]
    return " ".join(f"{event['event'].removeprefix('content-block-')} {event['index']}" for event in blocks)


def finished(events):
    return [event["content"] for event in events if event["event"] == "content-block-finish"]


def test_an_answer_is_told_in_langchains_events():
    pieces = call("", call_id="1", name="f"), call('{"a"'), call(": 1}")
    media = {"images": [PIXEL], "audio": {"id": "audio_1", "data": "BBBB"}}
    deltas = {"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b"}, media
    _, *events, _ = events_of(*deltas, *({"tool_calls": [piece]} for piece in pieces), usage=USAGE)

    def start(place, kind, **block):
        return {"event": "content-block-start", "index": place, "content": {"type": kind, **block}}

    def delta(place, kind, **piece):
        return {"event": "content-block-delta", "index": place, "delta": {"type": f"{kind}-delta", **piece}}

    def finish(place, kind, **block):
        return start(place, kind, **block) | {"event": "content-block-finish"}

    assert events == [
        *(start(0, "text", text=""), delta(0, "text", text="a"), delta(0, "text", text="b")),
        start(1, "tool_call_chunk", id="1", name="f", args="", index=0),
        *(delta(1, "tool-call", args='{"a"'), delta(1, "tool-call", args=": 1}")),
        *(finish(0, "text", text="ab"), finish(1, "tool_call", id="1", name="f", args={"a": 1})),
        *(start(2, "image", mime_type="image/png"), finish(2, "image", base64="AAAA", mime_type="image/png")),
        *(start(3, "audio", id="audio_1"), finish(3, "audio", base64="BBBB", id="audio_1")),
    ]


@pytest.mark.parametrize("message_id", ["", "lc_run--1"])
def test_the_start_carries_langchains_id_and_the_model_asked_for_where_the_answer_names_none(message_id):
    start, *_, finish = read(EventParser, stream({"content": "a"}, model=None), message_id=message_id)
    assert {"usage", "additional_kwargs"}.isdisjoint(finish)
    assert (start["id"], start["metadata"]) == (message_id, {"provider": "promptrun", "model": "vendor/name"})


def test_blocks_end_when_others_begin_but_calls_and_the_text_before_them_wait():
    events = events_of(
        {"reasoning": "r"},
        {"content": "a"},
        {"tool_calls": [call('{"a"', index=0, call_id="1", name="f")]},
        {"tool_calls": [call('{"a"', index=1, call_id="2", name="g")]},
        {"tool_calls": [call(": 1}", index=0)]},
        {"content": "b"},
        {"tool_calls": [call(": 1}", index=1)]},
    )
    begin = "start 0 delta 0 finish 0 start 1 delta 1 start 2 delta 2 start 3 delta 3 delta 2 finish 1"
    assert outline(events) == f"{begin} start 4 delta 4 delta 3 finish 4 finish 2 finish 3"
    assert [block.get("text") for block in finished(events)] == [None, "a", "b", None, None]


def test_reasoning_that_comes_twice_is_two_blocks_and_one_fact():
    events = events_of({"reasoning": "a"}, {"content": "x"}, {"reasoning": "b"})
    assert [block["type"] for block in finished(events)] == ["reasoning", "text", "reasoning"]
    assert events[-1]["additional_kwargs"] == {"reasoning_content": "ab"}


NOTED = {"annotations": [CITED]}
CALLED = {"tool_calls": [call("{}", index=0, call_id="1", name="f")]}
MADE = {"type": "tool_call", "id": "1", "name": "f", "args": {}}
REASONING = {"type": "reasoning", "reasoning": "r"}


def text(value, **facts):
    return {"type": "text", "text": value, **facts}


@pytest.mark.parametrize(
    ("deltas", "blocks"),
    [
        ([{"content": "a"}, NOTED], [text("a", annotations=[CITATION])]),
        ([{"content": "a"}, CALLED, NOTED], [text("a", annotations=[CITATION]), MADE]),
        ([{"reasoning": "r"}, {"content": "a"}, CALLED, NOTED], [REASONING, text("a", annotations=[CITATION]), MADE]),
        ([{"reasoning": "r"}, CALLED], [REASONING, MADE]),
        ([NOTED], [text("", annotations=[CITATION])]),
        ([{"content": "a"}, {"reasoning": "r"}, NOTED], [text("a"), REASONING, text("", annotations=[CITATION])]),
    ],
)
def test_citations_hang_on_the_open_text_or_on_one_of_their_own(deltas, blocks):
    assert finished(events_of(*deltas)) == blocks


def test_logprobs_are_kept_only_up_to_the_limit():
    """Chunks bring each token's; events tell all of them at the end."""
    choice = {"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [{"token": "x"}]}}
    body = sse(*[document(choices=[choice])] * 1_000, document({}, "stop"))
    with pytest.raises(errors.PromptrunResponseError, match=r"kept until its end \(`max_event_bytes`"):
        read(EventParser, body, max_event_bytes=1_000)
    assert len(read(ChunkParser, body, max_event_bytes=1_000)) > 1_000
