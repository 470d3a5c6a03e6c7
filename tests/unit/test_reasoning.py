"""Reasoning: its text exactly once, its signed details as they came."""

from __future__ import annotations

import itertools
import json

import pytest

from langchain_promptrun._wire.reasoning import Reasoning

from .wire import agreed, answer, stream

TEXT = "Let me think: 漢字."
SPELLINGS = {
    "reasoning_content": ["reasoning_content"],
    "reasoning": ["reasoning"],
    "both": ["reasoning_content", "reasoning"],
}


def spelled(names, text):
    return dict.fromkeys(names, text)


@pytest.mark.parametrize("names", SPELLINGS.values(), ids=SPELLINGS)
class TestText:
    """`agreed` has compared invoke, the sum of the chunks and the protocol events."""

    def test_streamed_is_read_exactly_once(self, names):
        pieces = ["Let me ", "think:", " 漢字."]
        facts = agreed(stream(*[spelled(names, piece) for piece in pieces], {"content": "Done."}))
        assert (facts["reasoning"], facts["text"]) == (TEXT, "Done.")
        assert facts["extras"] == {"reasoning_content": TEXT}

    def test_whole_is_read_exactly_once(self, names):
        facts = agreed(answer(spelled(names, TEXT) | {"content": "Done."}))
        assert (facts["reasoning"], facts["text"]) == (TEXT, "Done.")
        assert facts["extras"] == {"reasoning_content": TEXT}

    def test_remembers_the_wires_spelling(self, names):
        spelling = names[0] if len(names) == 1 else names
        assert agreed(answer(spelled(names, TEXT)))["metadata"]["reasoning_field"] == spelling
        assert agreed(stream(spelled(names, TEXT)))["metadata"]["reasoning_field"] == spelling

    def test_in_the_same_delta_as_text_goes_before_it(self, names):
        facts = agreed(stream({"content": "b"} | spelled(names, "a"), {"content": "d"} | spelled(names, "c")))
        assert (facts["reasoning"], facts["text"]) == ("ac", "bd")

    @pytest.mark.parametrize("nothing", [None, "", [], {}, 0, False, 5, ["x"]])
    def test_that_says_nothing_is_left_out(self, names, nothing):
        facts = agreed(stream(spelled(names, nothing) | {"content": "x"}))
        assert (facts["reasoning"], facts["extras"]) == ("", {})
        assert "reasoning_field" not in facts["metadata"]


def test_spellings_that_change_are_all_remembered():
    facts = agreed(stream({"reasoning": "a"}, {"reasoning_content": "b"}))
    assert facts["reasoning"] == "ab"
    assert facts["metadata"]["reasoning_field"] == ["reasoning", "reasoning_content"]


def detail(text=None, **more):
    entry = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0} | more
    return entry if text is None else entry | {"text": text}


def details_of(*lists, **fields):
    """The facts of a stream whose deltas bring these lists of details."""
    return agreed(stream(*[{"reasoning_details": entries} | fields for entries in lists]))


class TestDetails:
    def test_fragments_of_one_entry_become_that_entry(self):
        facts = details_of([detail("Let me ")], [detail("think.")], [detail(signature="EqQB/+==")])
        assert facts["extras"]["reasoning_details"] == [detail("Let me think.", signature="EqQB/+==")]

    def test_alone_give_the_text(self):
        facts = details_of([detail("Let me ")], [detail("think.")])
        assert (facts["reasoning"], facts["extras"]["reasoning_content"]) == ("Let me think.", "Let me think.")
        assert facts["metadata"]["reasoning_field"] == "reasoning_details"

    def test_give_no_text_twice(self):
        deltas = [{"reasoning": text, "reasoning_details": [detail(text)]} for text in ("Let me ", "think.")]
        facts = agreed(stream(*deltas, {"reasoning_details": [detail("")]}))
        assert facts["reasoning"] == "Let me think."
        assert facts["metadata"]["reasoning_field"] == "reasoning"
        assert facts["extras"]["reasoning_details"] == [detail("Let me think.")]

    def test_that_come_whole_at_the_end_give_no_text_twice(self):
        facts = agreed(
            stream({"reasoning": "Let me "}, {"reasoning": "think."}, {"reasoning_details": [detail("Let me think.")]})
        )
        assert facts["reasoning"] == "Let me think."

    def test_that_are_summaries_give_the_text(self):
        entries = [{"type": "reasoning.summary", "summary": text, "index": 0} for text in ("a", "b")]
        facts = details_of(*[[entry] for entry in entries])
        assert facts["reasoning"] == "ab"
        assert facts["extras"]["reasoning_details"] == [{"type": "reasoning.summary", "summary": "ab", "index": 0}]

    def test_of_a_whole_answer_stay_as_they_came(self):
        entries = [detail("a"), detail("b"), detail(None, signature="x"), {"type": "reasoning.encrypted", "data": "=="}]
        facts = agreed(answer({"content": "x", "reasoning_details": entries}))
        assert json.dumps(facts["extras"]["reasoning_details"]) == json.dumps(entries)
        assert facts["reasoning"] == "ab"

    @pytest.mark.parametrize("index", [{}, {"index": None}, {"index": 0}], ids=["no index", "null", "the same"])
    def test_that_are_encrypted_stay_apart_and_as_they_came(self, index):
        entries = [{"type": "reasoning.encrypted", "data": data, "id": None} | index for data in ("AA==", "BB==", "")]
        facts = details_of(*[[entry] for entry in entries])
        assert json.dumps(facts["extras"]["reasoning_details"]) == json.dumps(entries)
        assert facts["reasoning"] == ""

    def test_that_are_encrypted_do_not_end_a_text_at_the_same_index(self):
        encrypted = {"type": "reasoning.encrypted", "data": "AA==", "index": 0}
        facts = details_of([detail("a")], [encrypted], [detail("b")], [detail(signature="s")])
        assert facts["extras"]["reasoning_details"] == [detail("ab", signature="s"), encrypted]

    @pytest.mark.parametrize(
        "other",
        [{"index": 1}, {"type": "reasoning.summary"}, {"id": "b"}, {"index": "0"}],
        ids=["index", "type", "id", "no index"],
    )
    def test_of_another_entry_stay_apart(self, other):
        first, second = detail("a", id="a"), detail("b", id="a") | other
        facts = details_of([first], [second])
        assert facts["extras"]["reasoning_details"] == [first, second]

    def test_whose_fragments_leave_out_type_and_id_are_put_together(self):
        facts = details_of([detail("a", id="r1")], [{"index": 0, "text": "b"}], [{"index": 0, "signature": "s"}])
        assert facts["extras"]["reasoning_details"] == [detail("ab", id="r1", signature="s")]

    def test_keep_the_last_value_that_says_something(self):
        facts = details_of([detail("a", signature=None)], [detail("b", signature="s")], [detail("", signature="")])
        assert facts["extras"]["reasoning_details"] == [detail("ab", signature="s")]

    @pytest.mark.parametrize("entries", [[None, 5, "x", []], "text", 7])
    def test_that_are_no_objects_are_left_out(self, entries):
        facts = details_of(entries)
        assert (facts["reasoning"], facts["extras"]) == ("", {})

    def test_that_are_one_object_are_one_entry(self):
        assert details_of(detail("a"))["extras"]["reasoning_details"] == [detail("a")]

    def test_with_odd_values_are_kept(self):
        entries = [
            {"index": 0, "type": ["x"], "id": {"a": 1}},
            {"index": 0, "type": {"x": 1}, "id": {"a": 2}},
            {"index": True, "text": ["x"], "summary": None},
        ]
        assert details_of(*[[entry] for entry in entries])["extras"]["reasoning_details"] == entries


class TestThinkingParts:
    """Mistral's content."""

    @staticmethod
    def part(text):
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    def test_streamed_are_reasoning(self):
        facts = agreed(stream({"content": [self.part("a")]}, {"content": [self.part("b")]}, {"content": "Done."}))
        assert (facts["reasoning"], facts["text"]) == ("ab", "Done.")
        assert facts["metadata"]["reasoning_field"] == "thinking"

    def test_whole_are_reasoning(self):
        facts = agreed(answer({"content": [self.part("ab"), {"type": "text", "text": "Done."}]}))
        assert (facts["reasoning"], facts["text"]) == ("ab", "Done.")

    def test_as_plain_text_are_reasoning(self):
        assert agreed(answer({"content": [{"type": "thinking", "thinking": "ab"}]}))["reasoning"] == "ab"

    @pytest.mark.parametrize("nothing", [None, [], "", {}, 5, [None], [{"type": "reference"}], [{"text": None}]])
    def test_that_say_nothing_are_left_out(self, nothing):
        facts = agreed(stream({"content": [{"type": "thinking", "thinking": nothing}]}))
        assert (facts["reasoning"], facts["extras"]) == ("", {})
        assert "reasoning_field" not in facts["metadata"]


@pytest.mark.parametrize("first", ["reasoning_content", "reasoning_details", "thinking"])
def test_a_character_cut_in_two_is_joined(first):
    pieces = {
        "reasoning_content": [{"reasoning_content": "a\ud83d"}, {"reasoning_content": "\ude80b"}],
        "reasoning_details": [{"reasoning_details": [detail(text)]} for text in ("a\ud83d", "\ude80b")],
        "thinking": [{"content": [TestThinkingParts.part(text)]} for text in ("a\ud83d", "\ude80b")],
    }
    facts = agreed(stream(*pieces[first]))
    assert facts["reasoning"] == "a🚀b"
    if first == "reasoning_details":
        assert facts["extras"]["reasoning_details"] == [detail("a🚀b")]


def test_fragments_find_their_entry_by_looking_up_not_by_searching():
    class Counted(str):
        __slots__ = ()
        compared = 0

        def __eq__(self, other):
            Counted.compared += 1
            return str(self) == other

        __hash__ = str.__hash__

    reasoning = Reasoning()
    for index in itertools.chain(range(2_000), range(2_000)):
        reasoning.take({"reasoning_details": [{"index": index, "id": Counted(index), "text": "x"}]})
    assert len(reasoning.extras()["reasoning_details"]) == 2_000
    assert Counted.compared < 10 * 2_000
