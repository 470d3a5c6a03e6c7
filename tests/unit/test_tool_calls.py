"""Tool calls: the same right calls, whatever a vendor does with index, id, name and arguments."""

from __future__ import annotations

import json
import sys
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk

from langchain_promptrun._responses.partial_call import JsonScanner, PartialCall
from langchain_promptrun._responses.tool_calls import ToolCalls

from .wire import ChunkParser, agreed, answer, by_chunks, call, document, read, sse, stream

LONDON = {"city": "Löndon", "days": 2}
PARIS = {"city": "Paris 🚀", "days": 30000000000000000001}
LONDON_TEXT = json.dumps(LONDON, ensure_ascii=False)
PARIS_TEXT = json.dumps(PARIS)


def streamed(*entry_lists, finish_reason="tool_calls"):
    """The facts of a stream whose deltas bring these lists of entries."""
    return agreed(stream(*[{"tool_calls": entries} for entries in entry_lists], finish_reason=finish_reason))


def named(facts):
    return [(entry["name"], entry["args"]) for entry in facts["tool_calls"]]


def halves(text):
    return text[: len(text) // 2], text[len(text) // 2 :]


INDEXES = {
    "as documented": (0, 1),
    "missing": (..., ...),
    "null": (None, None),
    "a string": ("0", "1"),
    "0 for all": (0, 0),
    "a number of the vendor's": (-5, 2**70),
    "nonsense": ([], "one"),
}


@pytest.mark.parametrize(("first", "second"), INDEXES.values(), ids=INDEXES)
def test_calls_of_any_index_are_told_apart_by_their_ids(first, second):
    london, paris = halves(LONDON_TEXT), halves(PARIS_TEXT)
    deltas = [
        [call(london[0], index=first, call_id="a", name="weather")],
        [call(paris[0], index=second, call_id="b", name="time")],
        [call(london[1], index=first, call_id="a")],
        [call(paris[1], index=second, call_id="b")],
    ]
    assert named(streamed(*deltas)) == [("weather", LONDON), ("time", PARIS)]
    assert named(streamed(deltas[0], deltas[2], deltas[1], deltas[3])) == [("weather", LONDON), ("time", PARIS)]
    chunks = read(ChunkParser, stream(*({"tool_calls": entries} for entries in deltas)))
    assert [piece["index"] for item in chunks for piece in item.message.tool_call_chunks] == [0, 1, 0, 1]


IDS = {"null": None, "blank": "", "absent": ..., "the same for both": "same", "no text": 7}


@pytest.mark.parametrize("wire_id", IDS.values(), ids=IDS)
class TestIds:
    """Every call has an id of its own, whatever the wire gives."""

    @pytest.mark.parametrize("index", [(0, 1), (..., ...), (0, 0)], ids=["index", "no index", "index 0"])
    def test_of_two_calls_are_unique(self, wire_id, index):
        facts = streamed(
            [call(LONDON_TEXT, index=index[0], call_id=wire_id, name="weather")],
            [call(PARIS_TEXT, index=index[1], call_id=wire_id, name="weather")],
        )
        ids = [entry["id"] for entry in facts["tool_calls"]]
        assert named(facts) == [("weather", LONDON), ("weather", PARIS)]
        assert len(set(ids)) == 2
        assert all(ids)

    def test_go_out_once_for_each_call(self, wire_id):
        body = stream(
            {"tool_calls": [call('{"a"', call_id=wire_id, name="f")]},
            {"tool_calls": [call("", call_id=wire_id)]},
            {"tool_calls": [call(": 1}", call_id=wire_id)]},
        )
        pieces = [piece for item in read(ChunkParser, body) for piece in item.message.tool_call_chunks]
        assert [bool(piece["id"]) for piece in pieces] == [True, False]


def test_an_id_that_comes_late_does_not_replace_the_one_that_went_out():
    facts = streamed([call("{", name="weather")], [call("}", call_id="late")])
    [entry] = facts["tool_calls"]
    assert entry["id"].startswith("call_")
    assert entry["args"] == {}


def test_ids_that_are_missing_differ_from_answer_to_answer():
    entries = [call("{}", name="f")]
    by_id = [agreed(stream({"tool_calls": entries}, id=name)) for name in ("chatcmpl-1", "chatcmpl-2")]
    by_time = [agreed(stream({"tool_calls": entries}, created=time)) for time in (1, 2)]
    ids = {facts["tool_calls"][0]["id"] for facts in [*by_id, *by_time]}
    assert len(ids) == 4


def test_ids_are_random_where_the_answer_has_none_itself():
    body = stream({"tool_calls": [call("{}", name="f")]}, id="")
    ids = {by_chunks(body).tool_calls[0]["id"] for _ in range(3)}
    assert len(ids) == 3


def test_ids_are_made_from_the_answers_id_though_the_first_document_has_none():
    """Azure begins with a document about the prompt."""
    first = document(id="", model="", created=0, prompt_filter_results=[])
    body = sse(first, document({"tool_calls": [call("{}", name="f")]}), document({}, "tool_calls"))
    assert agreed(body)["tool_calls"][0]["id"].startswith("call_")


NAMES = {
    "on every delta": ("weather", "weather", "weather"),
    "blank first": ("", "weather", ""),
    "blank afterwards": ("weather", "", ""),
    "null afterwards": ("weather", None, None),
    "absent afterwards": ("weather", ..., ...),
    "in two parts": ("wea", "ther", ""),
    "cumulative": ("wea", "weather", "weather"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("call_id", ["a", None], ids=["id", "no id"])
def test_a_name_is_right_however_it_is_repeated(names, call_id):
    london = halves(LONDON_TEXT)
    facts = streamed(
        [call("", call_id=call_id, name=names[0])],
        [call(london[0], call_id=call_id, name=names[1])],
        [call(london[1], call_id=call_id, name=names[2])],
    )
    assert named(facts) == [("weather", LONDON)]


def test_a_name_after_the_first_arguments_is_taken_when_there_was_none():
    facts = streamed([call('{"a"', call_id="a", name="")], [call(": 1}", call_id="a", name="weather")])
    assert named(facts) == [("weather", {"a": 1})]


NO_ARGUMENTS = [None, "", "null", "{}", ..., {}, [], "  ", " null ", "\n"]


@pytest.mark.parametrize("args", NO_ARGUMENTS)
class TestNoArguments:
    def test_streamed_are_an_empty_object(self, args):
        facts = streamed([call(args, call_id="a", name="now")])
        assert (named(facts), facts["invalid_tool_calls"]) == ([("now", {})], [])

    def test_whole_are_an_empty_object(self, args):
        facts = agreed(answer({"tool_calls": [call(args, call_id="a", name="now")]}))
        assert (named(facts), facts["invalid_tool_calls"]) == ([("now", {})], [])


def test_null_in_pieces_is_no_arguments():
    facts = streamed(*[[call(piece, call_id="a", name="now")] for piece in ("n", "ul", "l")])
    assert named(facts) == [("now", {})]


def test_what_only_begins_like_null_is_kept():
    facts = streamed(*[[call(piece, call_id="a", name="now")] for piece in ("nul", "led")])
    assert facts["invalid_tool_calls"] == [("a", "now")]
    [entry] = by_chunks(stream({"tool_calls": [call("nu", call_id="a", name="now")]})).invalid_tool_calls
    assert entry["args"] == "nu"


@pytest.mark.parametrize("args", [7, True, [1], "[1]", '"text"', "x", '{"a": 1} trailing', '{"a": 1,}', "{'a': 1}"])
def test_arguments_that_are_no_json_object_make_the_call_invalid(args):
    facts = streamed([call(args, call_id="a", name="weather")])
    assert (facts["tool_calls"], facts["invalid_tool_calls"]) == ([], [("a", "weather")])


def test_arguments_with_raw_line_breaks_are_read():
    assert named(streamed([call('{"a": "x\ny"}', call_id="a", name="f")])) == [("f", {"a": "x\ny"})]


@pytest.mark.parametrize(
    ("args", "guard"), [('{"a": 1', "]"), ('{"a": "1', '"]'), ('{"a": [', "}"), ('{"a": "\\', '\\"]'), ("[1]", "")]
)
def test_an_invalid_call_has_its_text_and_what_keeps_it_invalid(args, guard):
    facts = agreed(answer({"tool_calls": [call(args, call_id="a", name="f")]}))
    assert facts["invalid_texts"] == [(args + guard, None)]
    problem = {"error": "The arguments are not a JSON object.", "guard": guard}
    assert facts["extras"]["tool_call_errors"] == {"a": problem}


@pytest.mark.parametrize("cut", range(1, len(PARIS_TEXT)))
def test_a_call_cut_off_by_the_length_limit_is_invalid_wherever_it_is_cut(cut):
    facts = streamed([call(PARIS_TEXT[:cut], call_id="a", name="weather")], finish_reason="length")
    assert (facts["tool_calls"], facts["invalid_tool_calls"]) == ([], [("a", "weather")])
    assert facts["metadata"]["finish_reason"] == "length"


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
    assert streamed([call(deep, call_id="a", name="f")])["invalid_tool_calls"] == [("a", "f")]
    deep_value = 1
    for _ in range(600):
        deep_value = {"a": deep_value}
    facts = streamed([call(deep_value, call_id="a", name="f")])
    assert facts["invalid_tool_calls"] == [("a", "f")]


def test_arguments_keep_long_integers():
    text = '{"a": 123456789012345678901234567890}'
    assert named(streamed([call(text, call_id="a", name="f")])) == [("f", {"a": 123456789012345678901234567890})]


def test_a_character_cut_in_two_between_pieces_is_joined():
    facts = streamed([call('{"a": "', call_id="a", name="f")], [call("\ud83d")], [call("")], [call('\ude80"}')])
    assert named(facts) == [("f", {"a": "🚀"})]


def test_half_a_character_at_the_end_is_replaced():
    body = stream({"tool_calls": [call('{"a": "\ud83d', call_id="a", name="f")]})
    assert by_chunks(body).invalid_tool_calls[0]["args"].startswith('{"a": "\ufffd')


SIGNATURE = {"google": {"thought_signature": "CiQB/+=="}}


class TestUnknownKeys:
    def test_of_a_call_are_kept_under_its_id(self):
        facts = streamed(
            [call("", call_id="a", name="f", extra_content=SIGNATURE)],
            [call("{}", note=None)],
            [call("{}", index=1, call_id="b", name="g", vertex=1)],
        )
        assert facts["extras"] == {"tool_call_extras": {"a": {"extra_content": SIGNATURE}, "b": {"vertex": 1}}}

    def test_inside_the_function_are_kept(self):
        entry = call("{}", call_id="a", name="f")
        entry["function"] |= {"thought_signature": "x", "strict": None}
        assert streamed([entry])["extras"] == {"tool_call_extras": {"a": {"function": {"thought_signature": "x"}}}}

    def test_that_come_late_are_kept(self):
        entry = call("1}", call_id=None)
        entry["function"]["signature"] = "late"
        facts = streamed([call('{"a":', call_id="a", name="f")], [entry], [call("", extra_content=SIGNATURE)])
        assert named(facts) == [("f", {"a": 1})]
        extras = {"function": {"signature": "late"}, "extra_content": SIGNATURE}
        assert facts["extras"] == {"tool_call_extras": {"a": extras}}

    def test_of_a_call_without_an_id_are_kept_under_the_made_one(self):
        facts = streamed([call("{}", name="f", extra_content=SIGNATURE)])
        assert facts["extras"] == {"tool_call_extras": {facts["tool_calls"][0]["id"]: {"extra_content": SIGNATURE}}}


def test_a_whole_call_followed_by_empty_pieces_is_one_call():
    facts = streamed([call(LONDON_TEXT, call_id="a", name="weather")], [call("", name="weather")], [call("")])
    assert named(facts) == [("weather", LONDON)]


def test_two_calls_with_neither_index_nor_id_are_told_apart_by_the_first_being_whole():
    facts = streamed(
        [call('{"a": {}', index=..., name="f")],
        [call("}", index=..., name="f")],
        [call("{}", index=..., name="f")],
        [call("", index=..., name="g")],
    )
    assert named(facts) == [("f", {"a": {}}), ("f", {}), ("g", {})]


@pytest.mark.parametrize("entries", [[], [None, 5, "x", []], [{}], [{"index": 0}], [{"id": "a", "function": None}]])
def test_entries_that_say_nothing_are_no_calls(entries):
    facts = streamed(entries)
    assert (facts["tool_calls"], facts["invalid_tool_calls"]) == ([], [])


def test_a_call_that_has_only_a_name_goes_out_at_once():
    calls = ToolCalls()
    assert calls.feed([call("", call_id="a", name="f")]) == [(0, "a", "f", "")]
    assert calls.end() == [(0, None, None, "{}")]


def test_calls_stand_in_the_order_in_which_they_went_out():
    """`agreed` has compared the order of the chunks with that of the events."""
    facts = streamed([call("", call_id="a", extra=1), call("{}", index=1, call_id="b", name="g")])
    assert [entry["id"] for entry in facts["tool_calls"]] == ["b"]
    assert facts["invalid_tool_calls"] == [("a", None)]


def test_a_call_that_never_got_a_name_goes_out_at_the_end():
    calls = ToolCalls()
    assert calls.feed([call("", call_id="a", extra=1)]) == []
    assert calls.end() == [(0, "a", None, "]")]


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


def test_a_call_that_gets_its_id_late_stays_behind_a_newer_one_with_the_same_id():
    calls = ToolCalls()
    calls.feed([call('{"a"', index=0, name="f")])
    calls.feed([call("{}", index=1, call_id="x", name="g")])
    calls.feed([call(": 1", index=0, call_id="x")])
    calls.feed([call("", index=..., call_id="x", late=1)])
    calls.feed([call("}", index=0, call_id="x")])
    calls.end()
    assert [(whole.name, whole.args) for whole in calls.announced] == [("f", {"a": 1}), ("g", {})]
    [(owner, extras)] = calls.facts()["tool_call_extras"].items()
    assert (owner, extras) == ("x", {"late": 1})
