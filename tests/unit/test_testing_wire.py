import json

import pytest

from langchain_promptrun.testing import Reply
from langchain_promptrun.testing._wire import Asked, encode, event, events, whole

ASKED = Asked(number=7, model="a/b", prompt_tokens=3)
OPENAI = Asked(number=7, model="a/b", prompt_tokens=3, dialect="openai")
OPENAI_USAGE = Asked(number=7, model="a/b", prompt_tokens=3, dialect="openai", include_usage=True)
BARE = Asked(number=7, model="a/b", prompt_tokens=3, documented_shape=True)
CALLS = [{"name": "f", "args": {"x": 1}}, {"name": "g", "args": '{"half', "id": "c9", "extra_content": {"s": 1}}]


def message(reply, asked=ASKED):
    return whole([reply], asked)["choices"][0]["message"]


def deltas(reply, asked=ASKED):
    return [
        choice["delta"] for document in events([reply], asked) for choice in document["choices"] if "delta" in choice
    ]


def test_the_documented_answer_is_exactly_that():
    assert whole([Reply("Sure!")], BARE) == {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1715325607,
        "model": "a/b",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Sure!"}}],
    }


def test_by_default_finish_reason_and_usage_are_added():
    found = whole([Reply("Two words")], ASKED)
    assert found["choices"][0]["finish_reason"] == "stop"
    assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_a_reply_decides_on_finish_reason_and_usage_itself():
    told = Reply("x", finish_reason="length", usage={"prompt_tokens": 1})
    silent = Reply("x", finish_reason=None, usage=None)
    assert whole([told], BARE)["choices"][0]["finish_reason"] == "length"
    assert whole([told], BARE)["usage"] == {"prompt_tokens": 1}
    assert "usage" not in whole([silent], ASKED)
    assert "finish_reason" not in whole([silent], ASKED)["choices"][0]


def test_the_stream_is_that_of_the_sdks_test_data():
    first, second, last = events([Reply("Two words")], ASKED)
    assert first["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": "Two"}}]
    assert second["choices"] == [{"index": 0, "delta": {"content": " words"}}]
    assert last["choices"] == [{"finish_reason": "stop"}]
    assert last["usage"]["completion_tokens"] == 2
    assert {document["object"] for document in (first, second, last)} == {"chat.completion.chunk"}


def test_the_documented_stream_has_content_alone():
    assert [list(document) for document in events([Reply("x")], BARE)] == [
        ["id", "object", "created", "model", "choices"]
    ]


def test_usage_without_a_finish_reason_has_an_event_of_its_own():
    assert list(events([Reply("x", finish_reason=None)], ASKED))[-1]["choices"] == []
    assert len(list(events([Reply("x", finish_reason=None, usage=None)], ASKED))) == 1


def test_openais_stream_opens_with_the_role_and_ends_with_an_empty_delta():
    first, *_, last = events([Reply("x")], OPENAI)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert "usage" not in last


def test_openais_usage_comes_last_when_asked_for_and_is_null_before():
    *before, last = events([Reply("x")], OPENAI_USAGE)
    assert {document["usage"] for document in before} == {None}
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 4)
    assert list(events([Reply("x", usage=None)], OPENAI_USAGE))[-1]["choices"]


def test_several_replies_are_several_choices():
    replies = [Reply("a"), Reply("b")]
    assert [choice["index"] for choice in whole(replies, ASKED)["choices"]] == [0, 1]
    assert whole(replies, ASKED)["usage"]["completion_tokens"] == 2
    found = list(events(replies, ASKED))
    assert [document["choices"][0]["index"] for document in found] == [0, 0, 1, 1]
    assert ["usage" in document for document in found] == [False, False, False, True]


def test_a_turn_of_calls_alone_has_no_content():
    found = message(Reply(tool_calls=CALLS))
    assert found["content"] is None
    assert found["tool_calls"] == [
        {"id": "call_7_0_0", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {
            "id": "c9",
            "type": "function",
            "function": {"name": "g", "arguments": '{"half'},
            "extra_content": {"s": 1},
        },
    ]
    assert whole([Reply(tool_calls=CALLS)], ASKED)["choices"][0]["finish_reason"] == "tool_calls"


def test_calls_are_streamed_with_their_arguments_in_pieces():
    long = {"name": "f", "args": {"text": "some longer text"}}
    parts = [delta["tool_calls"][0] for delta in deltas(Reply(tool_calls=[CALLS[1], long]))]
    assert parts[0]["function"] == {"name": "g", "arguments": ""}
    assert (parts[0]["id"], parts[0]["extra_content"]) == ("c9", {"s": 1})
    joined = "".join(part["function"]["arguments"] for part in parts if part["index"] == 1)
    assert json.loads(joined) == long["args"]
    assert sum(part["index"] == 1 for part in parts) > 3


@pytest.mark.parametrize("call", [{"name": "f", "args": None, "id": None}, {"name": "f", "args": "", "id": ""}])
def test_what_is_given_of_a_call_goes_out_as_it_is(call):
    (found,) = message(Reply(tool_calls=[call]))["tool_calls"]
    assert (found["id"], found["function"]["arguments"]) == (call["id"], call["args"])
    ((streamed,),) = [delta["tool_calls"] for delta in deltas(Reply(tool_calls=[call]))]
    assert (streamed["id"], streamed["function"]["arguments"]) == (call["id"], call["args"])


def test_a_call_without_arguments_has_an_empty_object():
    assert message(Reply(tool_calls=[{"name": "f"}]))["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", ("reasoning", "reasoning_content")])
def test_reasoning_goes_out_under_its_names_before_the_text(field):
    reply = Reply("So.", reasoning="One two", reasoning_field=field)
    names = [field] if isinstance(field, str) else list(field)
    assert all(message(reply)[name] == "One two" for name in names)
    found = deltas(reply)
    assert ["".join(delta.get(name, "") for delta in found) for name in names] == ["One two"] * len(names)
    assert found[-1] == {"content": "So."}


def test_reasoning_goes_out_as_signed_details():
    reply = Reply("So.", reasoning="One two", reasoning_field="reasoning_details")
    (detail,) = message(reply)["reasoning_details"]
    assert (detail["type"], detail["text"], detail["index"]) == ("reasoning.text", "One two", 0)
    found = [delta["reasoning_details"][0] for delta in deltas(reply)[:-1]]
    assert "".join(part.get("text", "") for part in found) == "One two"
    assert [part.get("signature") for part in found] == [None, None, detail["signature"]]


def test_exact_details_go_out_one_an_event():
    details = [{"type": "reasoning.encrypted", "data": "x"}, {"type": "reasoning.summary", "summary": "y"}]
    reply = Reply("So.", reasoning_details=details)
    assert message(reply)["reasoning_details"] == details
    assert [delta["reasoning_details"] for delta in deltas(reply)[:-1]] == [[detail] for detail in details]


def test_refusals_and_further_keys_go_out():
    reply = Reply(refusal="I will not.", message={"annotations": [1]}, document={"provider": "P"}, model="c/d")
    assert message(reply) == {"role": "assistant", "content": None, "refusal": "I will not.", "annotations": [1]}
    assert "".join(delta.get("refusal", "") for delta in deltas(reply)) == "I will not."
    assert deltas(reply)[-1] == {"annotations": [1]}
    assert {(document["provider"], document["model"]) for document in events([reply], ASKED)} == {("P", "c/d")}


def test_an_empty_reply_still_has_a_first_delta():
    assert deltas(Reply()) == [{"role": "assistant", "content": ""}]


def test_pieces_decide_how_the_text_is_cut():
    assert [delta["content"] for delta in deltas(Reply("abc", pieces=["a", "", "bc"]))] == ["a", "", "bc"]


def test_logprobs_come_with_each_token():
    asked = Asked(number=1, model="a/b", prompt_tokens=1, top_logprobs=2)
    content = whole([Reply("Hi you")], asked)["choices"][0]["logprobs"]["content"]
    assert [(entry["token"], len(entry["top_logprobs"])) for entry in content] == [("Hi", 2), (" you", 2)]
    assert content[0]["top_logprobs"][0] == {"token": "Hi", "logprob": -0.125, "bytes": [72, 105]}
    streamed = [document["choices"][0].get("logprobs") for document in events([Reply("Hi", message={"x": 1})], asked)]
    assert [bool(entry) for entry in streamed] == [True, False, False]


def test_usage_counts_reasoning_calls_and_what_the_request_brought():
    asked = Asked(number=1, model="a/b", prompt_tokens=30, audio_tokens=10, cost_per_token=0.5)
    reply = Reply("one", reasoning="two three", tool_calls=[{"name": "f", "args": "x"}], cached_tokens=99)
    assert whole([reply], asked)["usage"] == {
        "prompt_tokens": 30,
        "completion_tokens": 4,
        "total_tokens": 34,
        "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": 17.0,
    }


def test_a_reply_names_its_own_cost():
    assert whole([Reply("x", cost=0.0)], Asked(1, "a/b", 3, cost_per_token=1.0))["usage"]["cost"] == 0.0


def test_json_is_compact_and_keeps_what_is_no_unicode():
    assert encode({"a": "ä"}) == '{"a":"ä"}'.encode()
    assert json.loads(encode({"a": "\ud800"})) == {"a": "\ud800"}


def test_an_event_has_a_number_or_none():
    assert event({"a": 1}, 3) == b'id: 3\ndata: {"a":1}\n\n'
    assert event("[DONE]") == b"data: [DONE]\n\n"
