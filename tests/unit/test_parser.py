"""Streams and documents: cut anywhere, ended rightly, errors typed, bounded, in linear time."""

from __future__ import annotations

import re
import tracemalloc

import pytest

from langchain_promptrun import errors

from .wire import (
    DOCUMENT,
    READERS,
    STREAM,
    ChunkParser,
    EventParser,
    ResultParser,
    agreed,
    answer,
    by_chunks,
    by_events,
    by_result,
    call,
    document,
    read,
    reader,
    sse,
    stream,
)

LONG = stream(*({"content": f"word {number} "} for number in range(70)), {"reasoning": "r"})


def test_end_without_a_finish_reason_for_every_choice_raises():
    """A stream that answers a plain call with several choices."""
    choices = [{"index": n, "delta": {"content": str(n)}, "finish_reason": "stop"} for n in range(2)]
    both = [document(choices=[choice]) for choice in choices]
    assert len(read(ResultParser, sse(*both, done=False), n=2)[0].generations) == 2
    open_ended = document(choices=[choices[1] | {"finish_reason": None}])
    with pytest.raises(errors.PromptrunStreamTruncatedError):
        read(ResultParser, sse(both[0], open_ended, done=False), n=2)


@pytest.mark.parametrize("reader_type", READERS)
@pytest.mark.parametrize("depth", [900, 1_500, 20_000])
@pytest.mark.parametrize(
    "key", ["note", "annotations", "tool_calls", "content", "reasoning_details", "logprobs", "audio"]
)
def test_deep_nesting_is_read_or_not_understood(reader_type, depth, key):
    deep = "[" * depth + "]" * depth
    for wrapped in (deep, f'[{{"x": {deep}}}]', f'{{"x": {deep}}}'):
        for body in (
            f'{{"choices": [{{"index": 0, "message": {{"{key}": {wrapped}}}, "finish_reason": "stop"}}]}}',
            sse(f'{{"choices": [{{"index": 0, "delta": {{"{key}": {wrapped}}}}}], "{key}": {wrapped}}}').decode(),
        ):
            try:
                items = read(reader_type, body.encode())
            except errors.PromptrunResponseError:
                continue
            assert items


BULK = "x" * 100
GROWING = {
    "facts": lambda number: document({}, **{f"fact {number}": number}),
    "facts of the choice": lambda number: document(choices=[{"delta": {}, f"fact {number}": number}]),
    "usage": lambda number: document(usage={f"count {number}": number}),
    "unknown keys": lambda number: document({f"key {number}": number}),
    "annotations": lambda number: document({"annotations": [{"number": number}]}),
    "refusal": lambda _number: document({"refusal": BULK}),
    "messages": lambda number: document(choices=[{"message": {"content": f"{number:0100}"}}]),
    "reasoning details": lambda _number: document({"reasoning_details": [{"type": "x"}]}),
    "signatures": lambda _number: document({"reasoning_opaque": BULK}),
    "facts of a call": lambda number: document({"tool_calls": [call(call_id="a", **{f"key {number}": number})]}),
    "arguments": lambda _number: document({"tool_calls": [call(BULK, call_id="a", name="f")]}),
    "names of calls": lambda number: document({"tool_calls": [call("{}", index=number, name=f"{BULK}{number}")]}),
    "calls of the server": lambda number: document({"tool_calls": [{"type": "web_search", "query": f"{number}"}]}),
}
STEADY = {
    "facts": lambda number: document({}, created=number),
    "usage": lambda number: document({"content": "x"}, usage={"completion_tokens": number}),
    "facts of the choice": lambda number: document(choices=[{"delta": {}, "odd": number}]),
    "annotations": lambda _number: document({"annotations": [{"number": 1}]}),
    "fragments": lambda number: document({"reasoning_details": [{"index": 0, "type": "x", "text": f"{number % 10}"}]}),
}


class TestLimits:
    @pytest.mark.parametrize("reader_type", READERS)
    @pytest.mark.parametrize(
        "body",
        [
            stream({"content": "x" * 2_000}),
            stream({"content": "x"}, {"content": "x" * 2_000}),
            answer({"content": "x" * 2_000}),
            b"data: " + b"x" * 2_000,
            b": " + b"x" * 2_000,
            b"event: " + b"x" * 2_000 + b"\n",
            b"x" * 2_000,
            b"data:\n" * 1_000,
            b" " * 2_000 + b"{" + b" " * 2_000,
        ],
        ids=["event", "second event", "document", "line", "comment", "name", "no field", "empty lines", "blanks"],
    )
    def test_are_kept_however_the_bytes_come(self, reader_type, body):
        ends = [end.end() for end in re.finditer(rb"\n\n", body)]
        for cuts in ([], ends, range(1, len(body)), range(7, len(body), 100)):
            with pytest.raises(errors.PromptrunResponseError, match=r"than 1000 bytes \(`max_event_bytes`"):
                read(reader_type, body, cuts=cuts, max_event_bytes=1_000)

    def test_are_for_one_event_unless_one_result_is_made_of_all(self):
        assert len(LONG) > 10_000
        messages = by_chunks(LONG, max_event_bytes=1_000), by_events(LONG, max_event_bytes=1_000)
        for message in (*messages, by_result(LONG, max_event_bytes=len(LONG))):
            assert str(message.text).startswith("word 0 word 1")
        with pytest.raises(errors.PromptrunResponseError, match=r"`max_event_bytes`") as caught:
            read(ResultParser, LONG, cuts=range(100, len(LONG), 100), max_event_bytes=len(LONG) // 2)
        assert caught.value.partial.startswith("word 0 word 1")

    @pytest.mark.parametrize("reader_type", READERS)
    @pytest.mark.parametrize("grow", GROWING.values(), ids=GROWING)
    def test_are_for_all_that_is_kept_until_the_end(self, reader_type, grow):
        body = sse(document({"role": "assistant", "content": ""}), *map(grow, range(1_000)))
        with pytest.raises(errors.PromptrunResponseError, match=r"kept until its end \(`max_event_bytes`") as caught:
            read(reader_type, body, max_event_bytes=1_000)
        assert caught.value.status_code == 200

    @pytest.mark.parametrize("reader_type", [ChunkParser, EventParser])
    @pytest.mark.parametrize("grow", STEADY.values(), ids=STEADY)
    def test_leave_out_what_replaces_what_was_kept(self, reader_type, grow):
        body = sse(*[document({"content": "x"}), *map(grow, range(1_000)), document({}, "stop")])
        assert read(reader_type, body, max_event_bytes=3_000)

    @pytest.mark.parametrize("reader_type", READERS)
    def test_of_a_document_are_for_it_alone(self, reader_type):
        """Whatever fits into one document is also kept."""
        body = answer({"content": "x", "refusal": "no", "odd": {"a": [0] * 300}}, facts={"b": [1.5] * 100})
        assert read(reader_type, body, max_event_bytes=len(body))


@pytest.mark.parametrize("reader_type", READERS)
@pytest.mark.parametrize("as_stream", [True, False])
def test_a_text_of_5_mb_is_read_and_held_a_few_times_at_most(reader_type, as_stream):
    text = "x" * 5_000_000
    body = stream({"content": text}) if as_stream else answer({"content": text})
    size = 65_536
    parser = reader(reader_type, STREAM if as_stream else DOCUMENT)
    tracemalloc.start()
    items = []
    for start in range(0, len(body), size):
        items += parser.feed(body[start : start + size])
    items += parser.close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert text in str(items)
    # orjson alone takes 13 times the document while it reads.
    assert peak < 18 * len(text)


@pytest.mark.parametrize("reader_type", [ChunkParser, EventParser])
@pytest.mark.parametrize(
    "delta",
    [
        lambda number: {"content": f"{number:090}"},
        lambda number: {"role": "assistant", "content": f"{number:090}", "refusal": None},
        lambda number: {"reasoning": f"{number:090}", "channel": "analysis"},
    ],
    ids=["text", "text with a role", "reasoning"],
)
def test_stream_holds_nothing_of_the_past_but_the_text_of_the_open_block(reader_type, delta):
    """Only the end of a block tells its whole text again, so only protocol events need it."""
    parser = reader(reader_type)
    packets = [sse(document(delta(number)), done=False) for number in range(300)]

    def run(times):
        for _ in range(times):
            for packet in packets:
                parser.feed(packet)

    run(3)
    tracemalloc.start()
    run(1)
    before = tracemalloc.get_traced_memory()[0]
    run(4)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < (5_000 if reader_type is ChunkParser else 1.5 * 90 * 4 * len(packets))


SEEN = [
    *(document({key: "x"}) for key in ("content", "reasoning", "reasoning_content", "refusal")),
    document({"role": "assistant", "content": "x", "refusal": None}),
    document({"reasoning_details": [{"type": "reasoning.encrypted", "data": "AA=="}]}),
    *(document({"tool_calls": [call("", call_id="a", name=name)]}) for name in ("f", ...)),
    document({"audio": {"data": "AA=="}}),
    document({"images": [{"image_url": "x"}]}),
    document({"annotations": [{}]}),
    document({}, "stop"),
    document(usage={"prompt_tokens": 1}),
    document({}, usage={"prompt_tokens": 1}),
]
UNSEEN = [
    *(b": ping\n\n", b"\n", b"data: : ping\n\n", b'event: ping\ndata: {"type": "ping"}\n\n'),
    document({}),
    document({"content": ""}),
    document({"role": "assistant", "content": "", "reasoning": None, "tool_calls": []}),
    document({"content": None}, "", usage=None),
    document(),
    document(choices=[{"index": 0}]),
]


@pytest.mark.parametrize(
    ("entry", "grows"), [*((entry, True) for entry in SEEN), *((entry, False) for entry in UNSEEN)]
)
def test_content_seen_grows_with_content_alone(entry, grows):
    """The stall clock looks at it."""
    parser = reader(ChunkParser)
    parser.feed(sse(document({"role": "assistant", "content": ""}), done=False))
    for _ in range(2):
        before = parser.content_seen
        parser.feed(sse(entry, done=False) if isinstance(entry, dict) else entry)
        assert (parser.content_seen > before) == (entry in SEEN)


def test_a_document_that_is_like_the_one_before_is_read_alike():
    """Most documents bring a delta and nothing new, and take a shorter way; what differs must not take it."""
    usual = {"index": 0, "finish_reason": None, "logprobs": None}
    logprobs = {"content": [{"token": "c"}]}
    documents = [
        document(choices=[usual | {"delta": {"content": "a"}}]),
        document(choices=[usual | {"delta": {"content": "b"}}]),
        document(choices=[usual | {"delta": {"content": "c"}, "logprobs": logprobs}]),
        document(choices=[usual | {"delta": {"content": "d"}}], provider="late"),
        document(choices=[{"delta": {"content": "e"}}]),
        document(choices=[usual | {"delta": None}]),
        document(choices=[usual | {"delta": "x"}]),
        document(choices=[usual]),
        document(choices=[usual | {"delta": {"content": "f", "annotations": [{"type": "x"}]}}]),
        document(choices=[usual | {"delta": {"content": ["g"]}}]),
        document(choices=[usual | {"delta": {"content": "h"}}], choice=1),
        document(choices=[]),
        document(choices=[None]),
        document(choices=["x"]),
        document(choices={"x": 1}),
        document(choices=[usual | {"delta": {"content": "i"}, "note": 1}]),
        document(choices=[usual | {"delta": {}, "finish_reason": "stop"}]),
    ]
    facts = agreed(sse(*documents))
    assert facts["text"] == "abcdefghi"
    assert facts["metadata"]["logprobs"] == logprobs
    assert facts["metadata"]["provider"] == "late"
    assert facts["metadata"]["note"] == 1
    assert facts["extras"] == {"annotations": [{"type": "x"}]}
