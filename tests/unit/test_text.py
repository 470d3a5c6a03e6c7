"""Halves of characters, and the open ends of JSON that was cut off."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._wire.json import SurrogateJoiner, cleaned, open_ends, without_surrogates

ROCKET = "\ud83d\ude80"
any_text = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=20)


def test_a_pair_becomes_its_character():
    assert without_surrogates(f"a{ROCKET}b") == "a🚀b"


@pytest.mark.parametrize("half", [0xD83D, 0xDE80])
def test_a_lone_half_becomes_the_replacement_character(half):
    half = chr(half)
    for before in ("", "é", "🚀"):
        for after in ("", "é", "🚀", "a"):
            assert without_surrogates(f"{before}{half}{after}") == f"{before}\ufffd{after}"


def test_halves_in_the_wrong_order_are_two_lone_ones():
    assert without_surrogates("\ude80\ud83d") == "\ufffd\ufffd"


@given(st.text(max_size=20))
def test_whole_characters_stay_as_they_are(text):
    assert without_surrogates(text) == text


@given(any_text)
def test_any_text_can_be_encoded_afterwards(text):
    assert without_surrogates(text).encode().decode() == without_surrogates(text)


def test_all_texts_of_a_value_are_cleaned():
    value = {"\ud83d": [ROCKET, 1, None, 0.5, True, {"a": "\ude80"}]}
    assert cleaned(value) == {"\ufffd": ["🚀", 1, None, 0.5, True, {"a": "\ufffd"}]}


class TestPieces:
    @given(any_text, st.lists(st.integers(0, 20), max_size=5))
    def test_say_the_same_as_the_whole_text(self, text, cuts):
        bounds = [0, *sorted(cuts), len(text)]
        joiner = SurrogateJoiner()
        pieces = [joiner.join("x", text[start:end]) for start, end in pairwise(bounds)]
        assert "".join([*pieces, joiner.end("x")]) == without_surrogates(text)

    def test_wait_for_the_second_half(self):
        joiner = SurrogateJoiner()
        assert [joiner.join("x", "a\ud83d"), joiner.join("x", ""), joiner.join("x", "\ude80b")] == ["a", "", "🚀b"]

    def test_of_different_channels_are_not_joined(self):
        joiner = SurrogateJoiner()
        assert [joiner.join("x", "\ud83d"), joiner.join("y", "\ude80"), joiner.end("x")] == ["", "\ufffd", "\ufffd"]

    def test_say_beforehand_whether_they_go_out_as_they_are(self):
        joiner = SurrogateJoiner()
        assert joiner.lets_pass("é")
        assert not joiner.lets_pass("\ud83d")
        joiner.join("x", "\ud83d")
        assert not joiner.lets_pass("a")


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("", ("", "")),
        ('{"a": 1}', ("", "")),
        ('{"a": "}]\\"{", "b": [', ("", "}]")),
        ('{"a": [{', ("", "}]}")),
        ('{"a": "x', ('"', "}")),
        ('{"a": "x\\', ('\\"', "}")),
        ('{"a": "x\\\\', ('"', "}")),
        ('{"a": "x\\"', ('"', "}")),
        ('{"a": "x\\\n', ('"', "}")),
        ("{}{", ("", "}")),
    ],
)
def test_open_ends_are_found(text, ends):
    assert open_ends(text) == tuple(ends)


@pytest.mark.parametrize("text", ["}", "{]", "[}", "{}]", '{"a": 1}}'])
def test_a_bracket_that_closes_nothing_leaves_no_ends(text):
    assert open_ends(text) is None


json_values = st.recursive(
    st.none() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.data())
def test_only_cut_off_json_has_open_ends(value, data):
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    assert open_ends(text) == ("", "")
    if text[0] in "{[":
        cut = data.draw(st.integers(1, len(text) - 1))
        assert any(open_ends(text[:cut]))
