"""The facts of an answer: each exactly once, the last value that says something."""

from __future__ import annotations

import pytest

from .wire import ChunkParser, agreed, answer, document, read, sse, stream

FACTS = {
    "id": "gen-1",
    "created": 1715325600,
    "model": "anthropic/claude-3.5-haiku",
    "provider": "Anthropic",
    "system_fingerprint": "fp_1",
    "service_tier": "default",
}
METADATA = {key: value for key, value in FACTS.items() if key != "model"} | {
    "model_name": "anthropic/claude-3.5-haiku",
    "requested_model": "vendor/name",
    "model_provider": "promptrun",
    "finish_reason": "stop",
}


def test_only_the_last_chunk_tells_facts():
    """The provider's name may be on every chunk: langchain-core merges equal ones."""
    items = read(
        ChunkParser,
        stream({"content": "a"}, {"tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]}, **FACTS),
    )
    told = [set(item.message.response_metadata) - {"model_provider"} for item in items]
    assert [bool(keys) for keys in told] == [False, False, True]
    assert [item.message.chunk_position for item in items] == [None, None, "last"]


def test_a_fact_that_comes_late_is_told():
    late = document({}, "stop", service_tier="flex", sla_metrics={"ttft": 0.1})
    metadata = agreed(sse(document({"content": "x"}, service_tier=None), late))["metadata"]
    assert (metadata["service_tier"], metadata["sla_metrics"]) == ("flex", {"ttft": 0.1})


EMPTY = dict.fromkeys(FACTS, "") | {"created": None}
PADDING = {"obfuscation": "abcdef", "object": "chat.completion.chunk"}
AZURES = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"index": 0}]}


@pytest.mark.parametrize(
    ("documents", "more"),
    [
        ([document({"content": "x"}, "stop", **FACTS, **PADDING), document({}, **EMPTY)], {}),
        (
            [AZURES, document({"content": "x"}, **FACTS), document({}, "stop", **FACTS)],
            {"prompt_filter_results": [{"index": 0}]},
        ),
    ],
)
def test_empty_values_replace_nothing_and_padding_is_not_kept(documents, more):
    assert agreed(sse(*documents))["metadata"] == METADATA | more


def test_names_of_langchains_and_of_this_package_are_not_overwritten_by_the_wire():
    own = ("cost", "finish_reason", "headers", "logprobs", "model_name", "model_provider", "output_version")
    wire = dict.fromkeys((*own, "reasoning_field", "token_usage", "lc_gateway_metadata"), "theirs")
    body = sse(document({"content": "x"}, **wire), document({}, "stop"))
    assert "theirs" not in agreed(body)["metadata"].values()
    choice = {"index": 0, "message": {"content": "x"}} | wire | {"finish_reason": "stop"}
    assert "theirs" not in agreed(answer({}, choices=[choice]))["metadata"].values()


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "queue_time": 0.1}


@pytest.mark.parametrize("usage", [None, {}, [], "many", 0])
def test_usage_that_says_nothing_is_no_usage(usage):
    facts = agreed(stream({"content": "x"}, usage=usage))
    assert facts["usage"] is None
    assert "token_usage" not in facts["metadata"]


def test_the_price_and_unknown_keys_of_the_usage_are_kept():
    usage = USAGE | {"cost": 0.00042, "cost_details": {"upstream_inference_cost": None}, "is_byok": False}
    for body in (stream({"content": "x"}, usage=usage), answer({"content": "x"}, usage=usage)):
        metadata = agreed(body)["metadata"]
        assert (metadata["cost"], metadata["token_usage"]) == (0.00042, usage)


HEADERS = {"content-type": "text/event-stream", "x-request-id": "req_1", "x-ratelimit-remaining-requests": "9"}
SECRET = dict.fromkeys(
    ["authorization", "cookie", "proxy-authorization", "set-cookie", "set-cookie2", "x-api-key"], "secret"
)


def test_headers_are_told_once_when_asked_for_and_without_secrets():
    body = stream({"content": "x"})
    facts = agreed(body, headers=HEADERS | SECRET, include_headers=True)
    assert facts["metadata"]["headers"] == HEADERS
    assert "headers" not in agreed(body, headers=HEADERS)["metadata"]
    items = read(ChunkParser, body, headers=HEADERS, include_headers=True)
    assert ["headers" in item.message.response_metadata for item in items] == [False, True]


@pytest.mark.parametrize("model", ["vendor/other", "vendor/name"])
def test_facts_that_change_have_their_last_value(model):
    """Documents that bring nothing new are not looked at closely; any other is."""
    texts = [document({"content": text}) for text in "abc"]
    body = sse(*texts, document({"content": "d"}, model=model, provider="P"), *texts, document({}, "stop"))
    assert agreed(body)["metadata"]["provider"] == "P"
    last = sse(*texts, document({"content": "d"}, "stop", model=model))
    assert agreed(last)["metadata"]["model_name"] == model


def test_facts_may_come_after_the_first_document_and_be_odd():
    first = document({"role": "assistant"}, id="", model=None)
    metadata = agreed(sse(first, document({"content": "x"}), document({}, "stop")))["metadata"]
    assert (metadata["id"], metadata["model_name"]) == ("chatcmpl-1", "vendor/name")
    assert agreed(answer({"content": "x"}, model={"name": "m"}))["metadata"]["model_name"] == "{'name': 'm'}"
