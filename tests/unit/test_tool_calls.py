"""Tool calls: the same right calls, whatever a vendor does with index, id, name and arguments."""

from __future__ import annotations

import json
import sys
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk

from langchain_promptrun._responses.tool_calls import PartialCall, ToolCalls
from langchain_promptrun._wire.json import JsonScanner

from .wire import agreed, by_chunks, call, stream


def test_ids_that_are_missing_differ_from_answer_to_answer():
    entries = [call("{}", name="f")]
    answers = [{"id": "chatcmpl-1"}, {"id": "chatcmpl-2"}, {"created": 1}, {"created": 2}]
    ids = {agreed(stream({"tool_calls": entries}, **facts))["tool_calls"][0][2] for facts in answers}
    assert len(ids) == 4
    # They are random where the answer itself has none.
    body = stream({"tool_calls": entries}, id="")
    assert len({by_chunks(body).tool_calls[0]["id"] for _ in range(3)}) == 3


def as_core_sums_it(text):
    """The call that langchain-core makes of arguments and their guard."""
    calls = ToolCalls()
    pieces = [*calls.feed([call(text, call_id="a", name="f")]), *calls.end()]
    entries = [{"name": piece.name, "args": piece.args, "id": piece.id, "index": 0} for piece in pieces]
    chunks = [AIMessageChunk(content="", tool_call_chunks=[entry]) for entry in entries]
    message = chunks[0] + chunks[1:]
    return message, calls.announced[0]


json_objects = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@settings(max_examples=30)
@given(json_objects, st.data())
def test_half_a_call_never_looks_like_one_that_may_be_executed(arguments, data):
    text = json.dumps(arguments, ensure_ascii=data.draw(st.booleans()))
    cut = data.draw(st.integers(1, len(text) - 1))
    message, whole = as_core_sums_it(text[:cut])
    assert whole.args is None
    assert (message.tool_calls, len(message.invalid_tool_calls)) == ([], 1)


@given(st.text(st.sampled_from('{}[]":,\\ \n a1nul'), min_size=1, max_size=12))
@example("{}{}")
@example('{"a": "\\')
@example('{"a": ["\\')
@example('{"a": 1}]')
@example("nu")
def test_langchain_core_reads_any_arguments_as_this_package_does(text):
    message, whole = as_core_sums_it(text)
    if whole.args is None:
        assert (message.tool_calls, len(message.invalid_tool_calls)) == ([], 1)
    else:
        assert [entry["args"] for entry in message.tool_calls] == [whole.args]


def test_arguments_nested_too_deeply_make_the_call_invalid():
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    deep_value = 1
    for _ in range(600):
        deep_value = {"a": deep_value}
    for args in (deep, deep_value):
        facts = agreed(stream({"tool_calls": [call(args, call_id="a", name="f")]}))
        assert [name for name, *_ in facts["invalid_tool_calls"]] == ["f"]


def test_unknown_keys_of_a_call_without_an_id_are_kept_under_the_made_one():
    signature = {"google": {"thought_signature": "CiQB/+=="}}
    facts = agreed(stream({"tool_calls": [call("{}", name="f", extra_content=signature)]}))
    [(_, _, made)] = facts["tool_calls"]
    assert facts["extras"] == {"tool_call_extras": {made: {"extra_content": signature}}}


@pytest.mark.parametrize("name", ["f", ...], ids=["name on each", "name once"])
@pytest.mark.parametrize("piece", ["x" * 4, '\\"}{', "{   "], ids=["text", "brackets in a text", "objects that begin"])
def test_arguments_in_pieces_take_linear_time(monkeypatch, name, piece):
    """Each character is scanned once, and all of them are read at the end only."""
    scanned, texts = [], []
    feed, text = JsonScanner.feed, PartialCall.text.fget
    monkeypatch.setattr(JsonScanner, "feed", lambda self, piece: scanned.append(len(piece)) or feed(self, piece))
    monkeypatch.setattr(PartialCall, "text", property(lambda self: texts.append(1) or text(self)))
    calls = ToolCalls()
    calls.feed([call('{"a": "', call_id="a", name="f")])
    for _ in range(1_000):
        calls.feed([call(piece, name=name)])
    calls.feed([call('"}', call_id="a")])
    calls.end()
    assert calls.announced[0].args is not None
    assert sum(scanned) <= 4_009
    assert len(texts) < 20


def test_pieces_are_held_as_one_text():
    calls = ToolCalls()
    calls.feed([call('{"a": "', call_id="a", name="f")])
    tracemalloc.start()
    for number in range(4_000):
        calls.feed([call(f"{number:010}")])
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 2 * 40_000


BY_INDEX = "index", lambda number: call("{}", index=number, name="f")
BY_ID = "id", lambda number: call("{}", index=..., call_id=f"call {number}", name="f")
BY_BOTH = "both", lambda number: call("{}", index=number, call_id=f"call {number}", name="f")


def steps(run):
    """How many calls of functions a run takes."""
    counted = []
    sys.setprofile(lambda *_: counted.append(1))
    try:
        run()
    finally:
        sys.setprofile(None)
    return len(counted)


@pytest.mark.parametrize(("_told_apart_by", "entry"), [BY_INDEX, BY_ID, BY_BOTH])
def test_many_calls_take_time_by_their_number(_told_apart_by, entry):
    def feed(number):
        calls = ToolCalls("seed")
        for position in range(number):
            calls.feed([entry(position)])
        assert len({whole.id for whole in calls.announced}) == number

    assert steps(lambda: feed(800)) < 5 * steps(lambda: feed(200))


def test_blanks_before_the_arguments_are_not_held_back_for_ever():
    calls = ToolCalls()
    pieces = [piece for _ in range(100) for piece in calls.feed([call(" ", call_id="a", name="f")])]
    assert sum(len(piece.args) for piece in pieces) > 90
    calls.end()
    assert [whole.args for whole in calls.announced] == [{}]
