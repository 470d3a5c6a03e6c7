"""What an answer says, the same whether it comes whole or in pieces, and to each of the three readers."""

from __future__ import annotations

import base64
from typing import ClassVar

import pytest

from .wire import ChunkParser, agreed, answer, call, document, read, reader, sse, stream


class TestText:
    def test_streamed_equals_text_whole(self):
        whole = agreed(answer({"content": "Löndon, 漢字 🚀"}))
        assert whole["text"] == "Löndon, 漢字 🚀"
        assert agreed(stream({"role": "assistant", "content": ""}, *({"content": c} for c in whole["text"]))) == whole

    @pytest.mark.parametrize("content", [None, "", [], ..., {}, [None], [{"type": "text", "text": ""}]])
    def test_that_is_null_absent_or_empty_is_empty(self, content):
        message = {} if content is ... else {"content": content}
        for body in (answer(message), stream(message), stream(message, {"content": "x"}, message)):
            facts = agreed(body)
            assert (facts["text"], facts["extras"]) == ("x" if b'"x"' in body else "", {})

    @pytest.mark.parametrize(
        "content",
        [
            [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            [{"type": "output_text", "text": "ab"}],
            [{"text": "ab"}],
            ["a", "b"],
            {"type": "text", "text": "ab"},
            ["a", {"type": "text", "text": "b", "annotations": []}],
        ],
    )
    def test_in_parts_is_joined(self, content):
        for body in (answer({"content": content}), stream({"content": content})):
            assert agreed(body)["text"] == "ab"

    @pytest.mark.parametrize(("content", "text"), [(5, "5"), (True, "True"), ([1.5, "x"], "1.5x"), (0, "0")])
    def test_that_is_a_number_is_shown(self, content, text):
        assert agreed(answer({"content": content}))["text"] == text

    def test_parts_of_unknown_types_are_kept(self):
        parts = [{"type": "reference", "reference_ids": [1]}, {"type": ["x"]}, {"type": "text", "text": 5}, {"a": 1}]
        for body in (answer({"content": parts}), stream(*({"content": [part]} for part in parts))):
            facts = agreed(body)
            assert (facts["text"], facts["extras"]) == ("", {"content_parts": parts})

    def test_after_tool_calls_is_kept(self):
        facts = agreed(stream({"content": "a"}, {"tool_calls": [call("{}", call_id="a", name="f")]}, {"content": "b"}))
        assert facts["text"] == "ab"


class TestHalvesOfCharacters:
    def test_in_two_deltas_are_joined(self):
        assert agreed(stream({"content": "a\ud83d"}, {"content": ""}, {"content": "\ude80b"}))["text"] == "a🚀b"

    def test_are_joined_after_plain_deltas(self):
        deltas = ({"content": text} for text in ("x", "y", "\ud83d", "\ude80", "z"))
        assert agreed(stream(*deltas))["text"] == "xy🚀z"

    def test_that_stay_alone_are_replaced(self):
        facts = agreed(stream({"content": "\ude80a\ud83d"}, {"reasoning": "b\ud83d"}))
        assert (facts["text"], facts["reasoning"]) == ("\ufffda\ufffd", "b\ufffd")
        assert agreed(answer({"content": "a\ud83d"}))["text"] == "a\ufffd"

    def test_are_replaced_in_everything_that_is_kept(self):
        message = {"content": "x", "note": "\ud83d", "annotations": [{"type": "\ude80"}], "\ud83d": 1}
        message["tool_calls"] = [call("{}", call_id="a\ud83d", name="f\ude80", extra="\ud83d")]
        facts = agreed(answer(message, provider=["\ud83d"], model="m\ud83d"))
        assert str(facts).encode()
        assert facts["extras"]["note"] == "\ufffd"
        assert (facts["tool_calls"][0]["id"], facts["tool_calls"][0]["name"]) == ("a\ufffd", "f\ufffd")


class TestRefusals:
    @pytest.mark.parametrize("nothing", [None, "", [], {}])
    def test_that_say_nothing_are_none(self, nothing):
        assert agreed(stream({"content": "x", "refusal": nothing}))["extras"] == {}


CITATION = {
    "type": "url_citation",
    "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1, "content": "q"},
}


class TestAnnotations:
    BODIES: ClassVar = {
        "whole": answer({"content": "x", "annotations": [CITATION]}),
        "in a late delta": stream({"content": "x"}, {"annotations": [CITATION]}),
        "in every delta": stream({"content": "x", "annotations": [CITATION]}, {"annotations": [CITATION]}),
        "in a part": answer({"content": [{"type": "text", "text": "x", "annotations": [CITATION]}]}),
        "as an object": stream({"content": "x"}, {"annotations": CITATION}),
        "before the text": stream({"annotations": [CITATION]}, {"content": "x"}),
    }

    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    def test_are_kept_once(self, body):
        facts = agreed(body)
        assert (facts["text"], facts["extras"]) == ("x", {"annotations": [CITATION]})

    def test_that_differ_are_all_kept(self):
        others = [CITATION, {"type": "x"}, {"type": "y", "index": 0}, {"type": "z", "index": 0}]
        facts = agreed(stream({"content": "x"}, *({"annotations": [entry]} for entry in others)))
        assert facts["extras"]["annotations"] == others


PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG" * 30).decode()


def image(url=PIXEL, **more):
    return {"type": "image_url", "image_url": {"url": url}} | more


class TestImages:
    def test_are_kept_once(self):
        bodies = [
            answer({"content": "x", "images": [image()]}),
            answer({"content": [{"type": "text", "text": "x"}, image()]}),
            stream({"content": "x"}, {"images": [image()]}),
            stream({"content": "x", "images": [image()]}, {"images": [image()]}),
        ]
        for body in bodies:
            assert agreed(body)["extras"] == {"images": [image()]}

    def test_at_the_same_index_are_not_mixed(self):
        """langchain-core would join what has the same index, letter by letter."""
        both = [image(index=0), image("https://a.example/b.png", index=0)]
        assert agreed(stream(*({"images": [entry]} for entry in both)))["extras"] == {"images": both}


class TestAudio:
    def test_in_pieces_is_put_together(self):
        facts = agreed(
            stream(
                {"role": "assistant", "audio": {"id": "audio_1", "transcript": "Hel"}},
                {"audio": {"transcript": "lo"}},
                {"audio": {"data": "QUJD"}},
                {"audio": {"data": "REVG", "expires_at": None}},
                {"audio": {"expires_at": 1715325600}},
            )
        )
        whole = {"id": "audio_1", "expires_at": 1715325600, "transcript": "Hello", "data": "QUJDREVG"}
        assert facts["extras"] == {"audio": whole}
        assert agreed(answer({"content": None, "audio": whole}))["extras"] == {"audio": whole}

    @pytest.mark.parametrize("nothing", [None, {}, {"data": None}, [], "x", 0])
    def test_that_says_nothing_is_left_out(self, nothing):
        assert agreed(stream({"content": "x", "audio": nothing}))["extras"] == {}

    def test_with_odd_values_is_kept(self):
        facts = agreed(stream({"audio": {"data": 5}}, {"audio": {"data": "x", "transcript": ["y"]}}))
        assert facts["extras"] == {"audio": {"data": "x", "transcript": ["y"]}}


class TestFunctionCall:
    """The form that was before `tool_calls`."""

    def test_is_a_tool_call(self):
        for body in (
            answer({"function_call": {"name": "f", "arguments": '{"a": 1}'}}, "function_call"),
            stream({"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": '{"a": 1}'}}),
        ):
            [entry] = agreed(body)["tool_calls"]
            assert (entry["name"], entry["args"]) == ("f", {"a": 1})
            assert entry["id"].startswith("call_")

    @pytest.mark.parametrize("nothing", [None, {}, {"name": "", "arguments": ""}, {"name": None}, "f", []])
    def test_that_says_nothing_is_none(self, nothing):
        facts = agreed(answer({"content": "x", "function_call": nothing}))
        assert (facts["tool_calls"], facts["extras"]) == ([], {})


@pytest.mark.parametrize("nothing", [None, [], {}, "", "none", 5, False, [None], ["x"], [[]]])
def test_tool_calls_that_are_none_are_none(nothing):
    for body in (answer({"content": "x", "tool_calls": nothing}), stream({"content": "x", "tool_calls": nothing})):
        facts = agreed(body)
        assert (facts["text"], facts["tool_calls"], facts["invalid_tool_calls"]) == ("x", [], [])


def test_one_tool_call_may_come_without_its_list():
    assert agreed(answer({"tool_calls": call("{}", call_id="a", name="f")}))["tool_calls"][0]["id"] == "a"


class TestUnknownKeys:
    def test_of_a_message_are_kept(self):
        extras = {"name": "x", "executed_tools": [{"index": 0}, {"index": 0}], "extra_content": {"a": 1}, "flag": False}
        assert agreed(answer({"content": "x"} | extras))["extras"] == extras
        assert agreed(stream({"content": "x"} | extras))["extras"] == extras

    def test_whose_type_changes_are_the_last_value(self):
        assert agreed(stream({"a": [1], "b": {"x": 1}}, {"a": 2, "b": [3]}))["extras"] == {"a": 2, "b": [3]}

    def test_cannot_pass_for_what_this_package_keeps(self):
        facts = agreed(answer({"content": "x", "tool_call_extras": {"a": 1}, "role": "tool"}))
        assert facts["extras"] == {}

    def test_of_a_choice_are_metadata(self):
        choice = {"index": 0, "finish_reason": None, "native_finish_reason": None, "stop_reason": None, "seed": 1}
        first = document(choices=[choice | {"delta": {"content": "x"}}])
        last = document(choices=[choice | {"delta": {}, "finish_reason": "stop", "native_finish_reason": "end_turn"}])
        metadata = agreed(sse(first, first, last))["metadata"]
        assert (metadata["native_finish_reason"], metadata["seed"]) == ("end_turn", 1)
        assert "stop_reason" not in metadata

    def test_of_a_choice_do_not_replace_the_answers(self):
        choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop", "id": "theirs", "created": 1}
        assert agreed(answer({}, choices=[choice]))["metadata"]["id"] == "chatcmpl-1"


class TestFinishReason:
    @pytest.mark.parametrize("nothing", [None, "", False, 0, [], {}])
    def test_that_says_nothing_is_none(self, nothing):
        assert "finish_reason" not in agreed(answer({"content": "x"}, nothing))["metadata"]
        body = sse(document({"content": "x"}, nothing), document({"content": "y"}, nothing))
        assert "finish_reason" not in agreed(body)["metadata"]


def token(text):
    return {"token": text, "logprob": -0.1, "bytes": [1], "top_logprobs": []}


class TestLogprobs:
    @staticmethod
    def documents(*texts):
        return [
            document(
                choices=[
                    {"index": 0, "delta": {"content": t}, "logprobs": {"content": [token(t or "?")], "refusal": None}}
                ]
            )
            for t in texts
        ]

    WHOLE: ClassVar = {"content": [token("a"), token("b"), token("?")], "refusal": None}

    def test_are_joined_in_order(self):
        body = sse(*self.documents("a", "b", ""), document({}, "stop"))
        assert agreed(body)["metadata"]["logprobs"] == self.WHOLE
        choice = {"index": 0, "message": {"content": "ab"}, "logprobs": self.WHOLE, "finish_reason": "stop"}
        assert agreed(answer({}, choices=[choice]))["metadata"]["logprobs"] == self.WHOLE

    def test_ride_on_the_chunk_of_their_text(self):
        body = sse(*self.documents("a", "b", ""), document({}, "stop"))
        chunks = [item.message for item in read(ChunkParser, body)]
        told = [(chunk.content, chunk.response_metadata["logprobs"]["content"]) for chunk in chunks[:-1]]
        assert told == [("a", [token("a")]), ("b", [token("b")]), ("", [token("?")])]

    def test_do_not_depend_on_the_packets(self):
        body = sse(*self.documents("a", "", "b"), document({}, "stop"))
        whole = [item.message for item in read(ChunkParser, body)]
        assert whole == [item.message for item in read(ChunkParser, body, cuts=range(1, len(body)))]

    @pytest.mark.parametrize("nothing", [None, {}, [], "x", 5, {"content": None}, {"content": []}, {"content": 5}])
    def test_that_say_nothing_are_left_out(self, nothing):
        choice = {"index": 0, "delta": {"content": "x"}, "logprobs": nothing, "finish_reason": "stop"}
        assert "logprobs" not in agreed(sse(document(choices=[choice])))["metadata"]

    def test_that_are_partly_empty_are_told_alike(self):
        choice = {"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [1], "refusal": []}}
        assert agreed(sse(document(choices=[choice])))["metadata"]["logprobs"] == {"content": [1], "refusal": None}

    def test_of_changing_types_can_be_summed(self):
        logprobs = [{"content": [1], "a": 5}, {"content": None, "a": [2]}, {"content": "x", "a": {"b": 1}}]
        documents = [
            document(choices=[{"index": 0, "delta": {"content": "x"}, "logprobs": entry}]) for entry in logprobs
        ]
        assert agreed(sse(*documents))["metadata"]["logprobs"] == {"content": [1], "a": [2]}


class TestMessages:
    def test_of_several_events_are_pieces(self):
        body = sse(*[document(choices=[{"index": 0, "message": {"content": text}}]) for text in "ab"])
        assert agreed(body)["text"] == "ab"

    @pytest.mark.parametrize("delta", [{"content": ""}, {}, None])
    def test_after_deltas_count_for_what_those_did_not_say(self, delta):
        message = {"content": "ab", "tool_calls": [call("{}", call_id="a", name="f")]}
        last = document(choices=[{"index": 0, "delta": delta, "message": message, "finish_reason": "stop"}])
        facts = agreed(sse(document({"content": "a"}), document({"content": "b"}), last))
        assert (facts["text"], [made["name"] for made in facts["tool_calls"]]) == ("ab", ["f"])

    def test_beside_an_empty_delta_are_read(self):
        choice = {"index": 0, "delta": {}, "message": {"content": "ab"}, "finish_reason": "stop"}
        assert agreed(answer({}, choices=[choice]))["text"] == "ab"


class TestPartialText:
    def test_is_what_came_so_far(self):
        parser = reader(ChunkParser)
        parser.feed(sse(document({"content": "a", "reasoning": "no"}), document({"content": "b"}), done=False))
        assert parser.partial == "ab"

    @pytest.mark.parametrize("text", ["x", "é", "🚀"])
    @pytest.mark.parametrize("size", [100, 100_000])
    def test_is_at_most_64_kib(self, text, size):
        parser = reader(ChunkParser)
        parser.feed(sse(*[document({"content": text * size})] * (100_000 // size), done=False))
        assert parser.partial == text * (65_536 // len(text.encode()))


def test_everything_at_once_agrees():
    deltas = [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "a", "reasoning": "r", "reasoning_details": [{"index": 0, "text": "r", "signature": "s"}]},
        {"content": [{"type": "text", "text": "b"}], "annotations": [CITATION], "images": [image()]},
        {"tool_calls": [call('{"a"', call_id="1", name="f", extra=1), call("{", index=1, call_id="2", name="g")]},
        {"tool_calls": [call(": 1}")]},
        {"content": "c", "audio": {"data": "QUJD"}, "channel": "final"},
    ]
    facts = agreed(stream(*deltas, usage={"prompt_tokens": 1, "cost": 0.5}))
    assert (facts["text"], facts["reasoning"], len(facts["tool_calls"]), facts["invalid_tool_calls"]) == (
        "abc",
        "r",
        1,
        [("2", "g")],
    )
    assert facts["extras"].keys() == {
        *(
            "reasoning_content",
            "reasoning_details",
            "annotations",
            "images",
            "tool_call_extras",
            "tool_call_errors",
            "audio",
            "channel",
        )
    }
