"""Room for what is kept: counted once, given back when it is replaced."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._wire.size_limit import Room, weight
from langchain_promptrun.errors import PromptrunResponseError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_never_weighs_more_than_its_json(value):
    wire = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    assert 0 < weight(value) <= len(wire)


def test_a_value_weighs_what_its_texts_weigh():
    assert weight([{"key": "x" * 1_000}, "y" * 1_000]) > 2_000


def test_room_ends_at_the_limit():
    room = Room(100)
    room.take(100)
    with pytest.raises(PromptrunResponseError, match=r"more than 100 bytes .*\(max_event_bytes\)") as caught:
        room.take(1)
    assert not caught.value.is_retryable


def test_what_is_replaced_takes_no_room():
    room, facts = Room(100), {}
    for number in range(10):
        room.keep(facts, "key", f"{number}" * 80)
    assert facts == {"key": "9" * 80}
    with pytest.raises(PromptrunResponseError):
        room.keep(facts, "other", "x" * 80)


def test_without_a_limit_there_is_always_room():
    Room().take(1 << 60)
