"""Token counts and prices, in every spelling that is known."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_promptrun._responses.usage import find_cost, usage_metadata


def test_openais_names_become_langchains():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "prompt_tokens_details": {"audio_tokens": 1, "cached_tokens": 4},
        "completion_tokens_details": {"audio_tokens": 2, "reasoning_tokens": 5, "accepted_prediction_tokens": 0},
    }
    assert usage_metadata(usage) == {
        "input_tokens": 10,
        "output_tokens": 20,
        "total_tokens": 30,
        "input_token_details": {"audio": 1, "cache_read": 4},
        "output_token_details": {"audio": 2, "reasoning": 5},
    }


def test_anthropics_names_become_langchains():
    usage = {
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
    }
    assert usage_metadata(usage) == {
        "input_tokens": 15,
        "output_tokens": 20,
        "total_tokens": 35,
        "input_token_details": {"cache_read": 3, "cache_creation": 2},
    }


def test_a_missing_total_is_the_sum():
    """Promptrun's own usage has none."""
    assert usage_metadata({"prompt_tokens": 15, "completion_tokens": 20}) == {
        "input_tokens": 15,
        "output_tokens": 20,
        "total_tokens": 35,
    }


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 3}, (3, 0, 3)),
        ({"completion_tokens": 4}, (0, 4, 4)),
        ({"total_tokens": 5}, (0, 0, 5)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, (0, 0, 0)),
        ({"prompt_tokens": "3", "completion_tokens": 4.0, "total_tokens": "7.0"}, (3, 4, 7)),
    ],
)
def test_counts_that_are_there_are_read(usage, counts):
    read = usage_metadata(usage)
    assert (read["input_tokens"], read["output_tokens"], read["total_tokens"]) == counts
    assert all(type(count) is int for count in read.values())


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": None}, {"cost": 1}, {"queue_time": 0.1}])
def test_counts_that_are_not_there_are_not_invented(usage):
    assert usage_metadata(usage) is None


@pytest.mark.parametrize(
    ("where", "spelling"),
    [
        *(("prompt_tokens_details", name) for name in ("cached_tokens", "cache_read_tokens")),
        ("prompt_tokens_details", "cache_read_input_tokens"),
        ("input_tokens_details", "cached_tokens"),
        *((None, name) for name in ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens")),
        (None, "num_cached_tokens"),
    ],
)
def test_cache_reads_are_found_in_every_spelling(where, spelling):
    usage = {"prompt_tokens": 9} | ({where: {spelling: 7}} if where else {spelling: 7})
    assert usage_metadata(usage)["input_token_details"] == {"cache_read": 7}


@pytest.mark.parametrize(
    "spelling",
    ["cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens", "cache_write_input_tokens"],
)
@pytest.mark.parametrize("nested", [True, False])
def test_cache_writes_are_found_in_every_spelling(nested, spelling):
    usage = {"prompt_tokens": 9} | ({"prompt_tokens_details": {spelling: 7}} if nested else {spelling: 7})
    assert usage_metadata(usage)["input_token_details"] == {"cache_creation": 7}


@pytest.mark.parametrize("spelling", ["reasoning_tokens", "thinking_tokens"])
@pytest.mark.parametrize("nested", [True, False])
def test_reasoning_is_found_in_every_spelling(nested, spelling):
    usage = {"prompt_tokens": 9} | ({"completion_tokens_details": {spelling: 7}} if nested else {spelling: 7})
    assert usage_metadata(usage)["output_token_details"] == {"reasoning": 7}


def test_a_count_that_is_spelled_twice_counts_once():
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 2, "cache_creation_tokens": 2},
        "cached_tokens": 7,
        "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": 2,
        "num_cached_tokens": 7,
    }
    assert usage_metadata(usage)["input_token_details"] == {"cache_read": 7, "cache_creation": 2}


def test_a_zero_in_the_details_is_a_count():
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}, "num_cached_tokens": 5}
    assert usage_metadata(usage)["input_token_details"] == {"cache_read": 0}


@pytest.mark.parametrize("details", [None, {}, [], "x", 3, {"cached_tokens": None}])
def test_empty_details_are_left_out(details):
    usage = {"prompt_tokens": 9, "prompt_tokens_details": details, "completion_tokens_details": details}
    assert usage_metadata(usage) == {"input_tokens": 9, "output_tokens": 0, "total_tokens": 9}


@pytest.mark.parametrize(
    "number",
    [float("nan"), float("inf"), -1, -0.5, "nan", "inf", "many", "", True, None, [1], {"a": 1}, 10**400, "1e999"],
)
def test_what_is_no_count_is_left_out(number):
    assert usage_metadata({"prompt_tokens": number, "completion_tokens": 1})["input_tokens"] == 0
    assert find_cost({"cost": number}, (), {}) is None


def test_the_price_is_read_from_the_usage():
    assert find_cost({"cost": 0.00025}, (), {"x-litellm-response-cost": "1"}) == 0.00025
    assert find_cost({"cost": "0.5"}, (), {}) == 0.5
    assert find_cost({"cost": 0}, (), {}) == 0


@pytest.mark.parametrize("name", ["cost", "x-cost", "x-litellm-response-cost"])
def test_the_price_is_read_from_a_header(name):
    assert find_cost({"prompt_tokens": 1}, (), {"content-type": "x", name: "0.125"}) == 0.125
    assert find_cost({}, (), {"a-cost": "unknown", name: "0.125"}) == 0.125


def test_a_price_that_is_not_told_is_not_invented():
    assert find_cost({"prompt_tokens": 1}, (), {"costly": "1", "cost-center": "7", "x-cost": "cheap"}) is None


names = st.sampled_from(
    [
        *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"),
        *("cached_tokens", "reasoning_tokens", "cost", "cache_read_input_tokens"),
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(names, json_values))
def test_any_usage_is_read_as_whole_numbers_or_not_at_all(usage):
    read = usage_metadata(usage)
    if read is not None:
        counts = [*read.values()]
        counts += [count for details in counts if isinstance(details, dict) for count in details.values()]
        assert all(type(count) is int and count >= 0 for count in counts if not isinstance(count, dict))
    assert (price := find_cost(usage, (), {})) is None or price >= 0
