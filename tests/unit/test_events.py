"""Protocol events: a valid stream that says what the chunks say."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from langchain_promptrun import errors

from .wire import ChunkParser, EventParser, call, document, read, replayed, sse, stream

KNOWS_FINISH_REASONS = find_spec("langchain_core.language_models._finish_reason") is not None
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CITED = {"type": "url_citation", "url_citation": {"url": "https://a.example"}}
CITATION = {"type": "citation", "url": "https://a.example"}


def events_of(*deltas, **envelope):
    events = read(EventParser, stream(*deltas, **envelope))
    replayed(events)
    return events


def outline(events):
    """The kinds of events and the indexes of their blocks, without `message-start` and `message-finish`."""
    blocks = [event for event in events if "index" in event]
    return " ".join(f"{event['event'].removeprefix('content-block-')} {event['index']}" for event in blocks)


def finished(events):
    return [event["content"] for event in events if event["event"] == "content-block-finish"]


def test_a_text_is_one_block():
    events = events_of({"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b"}, usage=USAGE)
    reasons = {"finish_reason": "stop"} | ({"normalized_finish_reason": "stop"} if KNOWS_FINISH_REASONS else {})
    assert events == [
        {
            "event": "message-start",
            "role": "ai",
            "id": "",
            "metadata": {"provider": "promptrun", "model": "vendor/name"},
        },
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "a"}},
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "b"}},
        {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "ab"}},
        {
            "event": "message-finish",
            "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            "metadata": {
                "id": "chatcmpl-1",
                "created": 1715325600,
                "model_name": "vendor/name",
                "model_provider": "promptrun",
                "token_usage": USAGE,
                **reasons,
            },
            **(reasons if KNOWS_FINISH_REASONS else {}),
        },
    ]


@pytest.mark.parametrize("message_id", ["", "lc_run--1"])
def test_the_start_carries_langchains_id_and_the_model_asked_for_where_the_answer_names_none(message_id):
    start, *_, finish = read(EventParser, stream({"content": "a"}, model=None), message_id=message_id)
    assert {"usage", "additional_kwargs"}.isdisjoint(finish)
    assert (start["id"], start["metadata"]) == (message_id, {"provider": "promptrun", "model": "vendor/name"})


def test_blocks_end_when_others_begin_but_calls_and_the_text_before_them_wait():
    events = events_of(
        {"reasoning": "r"},
        {"content": "a"},
        {"tool_calls": [call('{"a"', index=0, call_id="1", name="f")]},
        {"tool_calls": [call('{"a"', index=1, call_id="2", name="g")]},
        {"tool_calls": [call(": 1}", index=0)]},
        {"content": "b"},
        {"tool_calls": [call(": 1}", index=1)]},
    )
    begin = "start 0 delta 0 finish 0 start 1 delta 1 start 2 delta 2 start 3 delta 3 delta 2 finish 1"
    assert outline(events) == f"{begin} start 4 delta 4 delta 3 finish 4 finish 2 finish 3"
    assert [block.get("text") for block in finished(events)] == [None, "a", "b", None, None]


def test_reasoning_that_comes_twice_is_two_blocks_and_one_fact():
    events = events_of({"reasoning": "a"}, {"content": "x"}, {"reasoning": "b"})
    assert [block["type"] for block in finished(events)] == ["reasoning", "text", "reasoning"]
    assert events[-1]["additional_kwargs"] == {"reasoning_content": "ab"}


def test_a_call_starts_with_its_id_and_name_and_streams_its_arguments():
    events = events_of(
        {"tool_calls": [call("", call_id="1", name="f")]},
        {"tool_calls": [call('{"a"')]},
        {"tool_calls": [call(": 1}")]},
    )
    start = {"type": "tool_call_chunk", "id": "1", "name": "f", "args": "", "index": 0}
    assert events[1] == {"event": "content-block-start", "index": 0, "content": start}
    assert [event["delta"] for event in events if "delta" in event] == [
        {"type": "tool-call-delta", "args": '{"a"'},
        {"type": "tool-call-delta", "args": ": 1}"},
    ]
    assert finished(events) == [{"type": "tool_call", "id": "1", "name": "f", "args": {"a": 1}}]


NOTED = {"annotations": [CITED]}
CALLED = {"tool_calls": [call("{}", index=0, call_id="1", name="f")]}
CALL = {"type": "tool_call", "id": "1", "name": "f", "args": {}}
REASONING = {"type": "reasoning", "reasoning": "r"}


def text(value, **facts):
    return {"type": "text", "text": value, **facts}


@pytest.mark.parametrize(
    ("deltas", "blocks"),
    [
        ([{"content": "a"}, NOTED], [text("a", annotations=[CITATION])]),
        ([{"content": "a"}, CALLED, NOTED], [text("a", annotations=[CITATION]), CALL]),
        ([{"reasoning": "r"}, {"content": "a"}, CALLED, NOTED], [REASONING, text("a", annotations=[CITATION]), CALL]),
        ([{"reasoning": "r"}, CALLED], [REASONING, CALL]),
        ([NOTED], [text("", annotations=[CITATION])]),
        ([{"content": "a"}, {"reasoning": "r"}, NOTED], [text("a"), REASONING, text("", annotations=[CITATION])]),
    ],
)
def test_citations_hang_on_the_open_text_or_on_one_of_their_own(deltas, blocks):
    assert finished(events_of(*deltas)) == blocks


def test_images_and_audio_are_blocks_whose_data_comes_once():
    events = events_of({"content": "a"}, {"images": [PIXEL], "audio": {"id": "audio_1", "data": "BBBB"}})
    starts = [event["content"] for event in events if event["event"] == "content-block-start"]
    assert starts[1:] == [{"type": "image", "mime_type": "image/png"}, {"type": "audio", "id": "audio_1"}]
    assert finished(events)[1:] == [
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        {"type": "audio", "base64": "BBBB", "id": "audio_1"},
    ]


def test_logprobs_are_kept_only_up_to_the_limit():
    """Chunks bring each token's; events tell all of them at the end."""
    choice = {"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [{"token": "x"}]}}
    body = sse(*[document(choices=[choice])] * 1_000, document({}, "stop"))
    with pytest.raises(errors.PromptrunResponseError, match=r"kept until its end \(`max_event_bytes`"):
        read(EventParser, body, max_event_bytes=1_000)
    assert len(read(ChunkParser, body, max_event_bytes=1_000)) > 1_000
