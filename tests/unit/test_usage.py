"""Token counts and prices, in every spelling that is known."""

from __future__ import annotations

import pytest

from langchain_promptrun._responses.metadata import find_cost, usage_metadata

OPENAI = {
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "prompt_tokens_details": {"audio_tokens": 1, "cached_tokens": 4},
    "completion_tokens_details": {"audio_tokens": 2, "reasoning_tokens": 5, "accepted_prediction_tokens": 0},
}
ANTHROPIC = {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2}
TWICE = {
    "prompt_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 2, "cache_creation_tokens": 2},
    **dict.fromkeys(("cached_tokens", "cache_read_input_tokens", "num_cached_tokens"), 7),
    "cache_creation_input_tokens": 2,
}
NESTED = ("prompt_tokens_details", "completion_tokens_details")
NOTHING = (None, {}, [], "x", 3, {"cached_tokens": None})
READ, CREATION = ["input_token_details", "cache_read"], ["input_token_details", "cache_creation"]
REASONING = ["output_token_details", "reasoning"]


@pytest.mark.parametrize(
    ("usage", "counts", "details"),
    [
        (OPENAI, (10, 20, 30), [{"audio": 1, "cache_read": 4}, {"audio": 2, "reasoning": 5}]),
        (ANTHROPIC, (15, 20, 35), [{"cache_read": 3, "cache_creation": 2}]),
        (TWICE, (9, 0, 9), [{"cache_read": 7, "cache_creation": 2}]),
        ({"prompt_tokens": 15, "completion_tokens": 20}, (15, 20, 35), []),
        ({"prompt_tokens": 3}, (3, 0, 3), []),
        ({"completion_tokens": 4}, (0, 4, 4), []),
        ({"total_tokens": 5}, (0, 0, 5), []),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, (0, 0, 0), []),
        ({"prompt_tokens": "3", "completion_tokens": 4.0, "total_tokens": "7.0"}, (3, 4, 7), []),
        *[({"prompt_tokens": 9} | dict.fromkeys(NESTED, nothing), (9, 0, 9), []) for nothing in NOTHING],
        ({"prompt_tokens": 9, NESTED[0]: {"cached_tokens": 0}, "num_cached_tokens": 5}, (9, 0, 9), [{"cache_read": 0}]),
    ],
)
def test_usage_becomes_langchains_and_each_count_counts_once(usage, counts, details):
    read = usage_metadata(usage)
    assert tuple(read.values())[:3] == counts
    assert all(type(count) is int for count in tuple(read.values())[:3])
    assert list(read.values())[3:] == details


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": None}, {"cost": 1}, {"queue_time": 0.1}])
def test_counts_that_are_not_there_are_not_invented(usage):
    assert usage_metadata(usage) is None


CREATED = "cache_write_tokens cache_creation_tokens cache_creation_input_tokens cache_write_input_tokens"


@pytest.mark.parametrize(
    ("where", "spellings", "kind", "name"),
    [
        (NESTED[0], "cached_tokens cache_read_tokens cache_read_input_tokens", *READ),
        ("input_tokens_details", "cached_tokens", *READ),
        (None, "cache_read_input_tokens prompt_cache_hit_tokens cached_tokens num_cached_tokens", *READ),
        *((where, CREATED, *CREATION) for where in (NESTED[0], None)),
        *((where, "reasoning_tokens thinking_tokens", *REASONING) for where in (NESTED[1], None)),
    ],
)
def test_details_are_found_in_every_spelling(where, spellings, kind, name):
    for spelling in spellings.split():
        usage = {"prompt_tokens": 9} | ({where: {spelling: 7}} if where else {spelling: 7})
        assert usage_metadata(usage)[kind] == {name: 7}


@pytest.mark.parametrize(
    "number",
    [float("nan"), float("inf"), -1, -0.5, "nan", "inf", "many", "", True, None, [1], {"a": 1}, 10**400, "1e999"],
)
def test_what_is_no_count_is_left_out(number):
    assert usage_metadata({"prompt_tokens": number, "completion_tokens": 1})["input_tokens"] == 0
    assert find_cost({"cost": number}, (), {}) is None


@pytest.mark.parametrize(
    ("usage", "headers", "cost"),
    [
        ({"cost": 0.00025}, {"x-litellm-response-cost": "1"}, 0.00025),
        ({"cost": 0}, {}, 0),
        *(({"prompt_tokens": 1}, {name: "0.125"}, 0.125) for name in ("cost", "x-cost", "x-litellm-response-cost")),
        ({}, {"a-cost": "unknown", "cost": "0.125"}, 0.125),
        ({"prompt_tokens": 1}, {"costly": "1", "cost-center": "7", "x-cost": "cheap"}, None),
    ],
)
def test_the_price_is_read_from_the_usage_or_a_header(usage, headers, cost):
    assert find_cost(usage, (), headers) == cost
