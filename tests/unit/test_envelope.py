"""The facts of an answer: each exactly once, the last value that says something."""

from __future__ import annotations

import pytest

from .wire import ChunkParser, agreed, answer, by_chunks, document, read, sse, stream

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


def test_facts_that_every_document_repeats_are_told_once():
    body = stream({"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b"}, **FACTS)
    assert agreed(body)["metadata"] == METADATA


def test_only_the_last_chunk_tells_facts():
    """The provider's name may be on every chunk: langchain-core merges equal ones."""
    items = read(
        ChunkParser,
        stream({"content": "a"}, {"tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]}, **FACTS),
    )
    told = [set(item.message.response_metadata) - {"model_provider"} for item in items]
    assert [bool(keys) for keys in told] == [False, False, True]
    assert [item.message.chunk_position for item in items] == [None, None, "last"]


@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
def test_two_finish_events_are_one_finish(reason):
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a": 1}'}}
    facts = agreed(
        sse(
            document({"content": "x", "tool_calls": [call]}, **FACTS),
            document({}, reason, **FACTS),
            document({"content": ""}, reason, **FACTS),
        )
    )
    assert facts["metadata"] == METADATA | {"finish_reason": reason}
    assert [entry["args"] for entry in facts["tool_calls"]] == [{"a": 1}]


def test_missing_facts_are_no_error_and_not_invented():
    """Promptrun's page shows no finish reason and no usage; its SDK's finish event has neither index nor delta."""
    whole = agreed(b'{"choices": [{"message": {"content": "x"}}]}')
    assert (whole["text"], whole["metadata"], whole["usage"]) == (
        "x",
        {"model_name": "vendor/name", "model_provider": "promptrun"},
        None,
    )
    streamed = agreed(
        b'id: 1\ndata: {"id":"chatcmpl-123","choices":[{"delta":{"content":"x"}}]}\n\n'
        b'id: 2\ndata: {"id":"chatcmpl-123","choices":[{"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":15,"completion_tokens":20}}\n\n'
    )
    assert (streamed["text"], streamed["metadata"]["finish_reason"]) == ("x", "stop")
    assert streamed["usage"] == {"input_tokens": 15, "output_tokens": 20, "total_tokens": 35}


def test_a_fact_that_comes_late_is_told():
    late = document({}, "stop", service_tier="flex", sla_metrics={"ttft": 0.1})
    metadata = agreed(sse(document({"content": "x"}, service_tier=None), late))["metadata"]
    assert (metadata["service_tier"], metadata["sla_metrics"]) == ("flex", {"ttft": 0.1})


EMPTY = dict.fromkeys(FACTS, "") | {"created": None}
AZURES = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"index": 0}]}


@pytest.mark.parametrize(
    ("documents", "more"),
    [
        ([document({"content": "x"}, "stop", **FACTS), document({}, **EMPTY)], {}),
        (
            [AZURES, document({"content": "x"}, **FACTS), document({}, "stop", **FACTS)],
            {"prompt_filter_results": [{"index": 0}]},
        ),
    ],
)
def test_empty_values_replace_nothing(documents, more):
    assert agreed(sse(*documents))["metadata"] == METADATA | more


def test_names_of_langchains_and_of_this_package_are_not_overwritten_by_the_wire():
    own = ("cost", "finish_reason", "headers", "logprobs", "model_name", "model_provider", "output_version")
    wire = dict.fromkeys((*own, "reasoning_field", "token_usage", "lc_gateway_metadata"), "theirs")
    body = sse(document({"content": "x"}, **wire), document({}, "stop"))
    assert "theirs" not in agreed(body)["metadata"].values()
    choice = {"index": 0, "message": {"content": "x"}} | wire | {"finish_reason": "stop"}
    assert "theirs" not in agreed(answer({}, choices=[choice]))["metadata"].values()


def test_keep_alive_documents_tell_nothing():
    ping = '{"type": "ping", "cost": 3}'
    body = sse(ping, document({"content": "x"}), ping, document({}, "stop")).replace(
        b'data: {"type', b'event: ping\ndata: {"type'
    )
    assert agreed(body) == agreed(stream({"content": "x"}))


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "queue_time": 0.1}
COUNTS = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}


def test_usage_that_comes_twice_is_on_one_chunk():
    body = sse(document({"content": "x"}, usage=USAGE | {"completion_tokens": 1}), document({}, "stop", usage=USAGE))
    counted = [item.message.usage_metadata for item in read(ChunkParser, body + sse(document(usage=USAGE)))]
    assert [counts for counts in counted if counts] == [COUNTS]
    assert agreed(body)["metadata"]["token_usage"] == USAGE


@pytest.mark.parametrize("usage", [None, {}, [], "many", 0])
def test_usage_that_says_nothing_is_no_usage(usage):
    facts = agreed(stream({"content": "x"}, usage=usage))
    assert facts["usage"] is None
    assert "token_usage" not in facts["metadata"]


def test_counts_and_price_may_come_in_two_events():
    first, second = USAGE | {"cost": 0}, {"cost": 0.5}
    facts = agreed(sse(document({"content": "x"}), document({}, "stop", usage=first), document(usage=second)))
    assert (facts["usage"], facts["metadata"]["cost"]) == (COUNTS, 0.5)


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


def test_padding_is_not_kept():
    assert "obfuscation" not in agreed(stream({"content": "x"}, obfuscation="abcdef"))["metadata"]
    assert "object" not in by_chunks(stream({"content": "x"}, object="chat.completion.chunk")).response_metadata


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
