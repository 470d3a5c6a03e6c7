"""Bodies, streams and documents: in every framing, cut anywhere, ended rightly, bounded, in linear time."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun import errors
from langchain_promptrun._responses.parser import Body

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

ROOM = 1 << 20
TWO_EVENTS = [(b"", b'{"a":1}'), (b"", b'{"b":2}')]
FRAMINGS = {
    "LF": b'data: {"a":1}\n\ndata: {"b":2}\n\n',
    "CRLF": b'data: {"a":1}\r\n\r\ndata: {"b":2}\r\n\r\n',
    "CR": b'data: {"a":1}\r\rdata: {"b":2}\r\r',
    "mixed line ends": b'data: {"a":1}\r\n\ndata: {"b":2}\n\r\n',
    "documents after a byte order mark": b'\xef\xbb\xbf{"a":1}\n{"b":2}\n',
    "a name that is replaced": b'event: a\nevent: \ndata: {"a":1}\n\nevent: x\n\ndata: {"b":2}\n\n',
}
UNICODE = 'data: {"a":"ünï → 漢字 🚀 x\u2028y\u2029z\u0085w\x0b\x0c\x1c"}\n\n'.encode()
LINES = [b"event: x", b"data: a", b"data: b", b"", b"data: c", b"", b""]
CASES = {name: (data, TWO_EVENTS) for name, data in FRAMINGS.items()} | {
    "lines of data": (b"data: a\ndata:\ndata:  b\ndata\n\n", [(b"", b"a\n\n b\n")]),
    "lines of data, CRLF": (b"\r\n".join(LINES), [(b"x", b"a\nb"), (b"", b"c")]),
    "lines of data, CR": (b"\r".join(LINES), [(b"x", b"a\nb"), (b"", b"c")]),
    "the last name counts": (b"event: a\nevent:error\ndata: x\n\ndata: y\n\n", [(b"error", b"x"), (b"", b"y")]),
    "no data": (b"event: ping\nid: 3\n\nevent\n\n", []),
    "line ends of Unicode": (b"data: 1\n\n" + UNICODE, [(b"", b"1"), (b"", UNICODE[6:-2])]),
}


def events_of(data, kind="", cuts=(), limit=ROOM, **options):
    body = Body({"content-type": kind} if kind else {}, limit, **options)
    bounds = [0, *cuts, len(data)]
    events = [event for start, end in pairwise(bounds) for event in body.feed(data[start:end])]
    events += body.close()
    return body.is_document, events


def decode(data, cuts=(), room=ROOM):
    return events_of(data, "", cuts, room, is_stream=True)[1]


@pytest.mark.parametrize(("data", "events"), CASES.values(), ids=CASES)
def test_stream_in_each_framing_is_read_however_it_is_cut(data, events):
    for cuts in (range(1, len(data)), *([cut] for cut in range(len(data) + 1))):
        assert decode(data, cuts) == events


@pytest.mark.parametrize("following", [b"data: b\n\n", b"data: b\r\n\r\n", b"data: b\r\r"])
@pytest.mark.parametrize("first", [b"data: a\n\n", b"data: a\r\n\r\n", b"data: a\r\r"])
def test_packets_of_one_event_may_change_their_line_ends(first, following):
    body = Body({}, ROOM, is_stream=True)
    events = []
    for packet in (first, first, following, b"\n", following):
        events += body.feed(packet)
    assert events == [(b"", b"a"), (b"", b"a"), (b"", b"b"), (b"", b"b")]


field = st.sampled_from([b"data", b"event", b"id", b"retry", b"", b"dat", b"data "])
value = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8).map(str.encode)
line = st.one_of(
    st.builds(lambda name, space, rest: name + b":" + space + rest, field, st.sampled_from([b"", b" "]), value),
    st.just(b""),
    value,
)


@given(st.lists(line, max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.randoms())
def test_cuts_never_change_the_events(lines, end, rng):
    data = end.join([*lines, b"", b""])
    cuts = sorted(rng.choices(range(len(data) + 1), k=rng.randint(0, 8)))
    assert decode(data, cuts) == decode(data) == decode(end.join(lines).replace(end, b"\n") + b"\n\n")


def counted(name):
    def method(self, *args):
        CountedBytes.looked_at += len(self)
        return getattr(bytes, name)(self, *args)

    return method


class CountedBytes(bytes):
    """Bytes that count how many of them are looked at."""

    looked_at = 0
    split, splitlines, replace, __contains__ = map(counted, ("split", "splitlines", "replace", "__contains__"))


@pytest.mark.parametrize("size", [100, 1_000, 65_536])
def test_an_event_of_5_mb_is_looked_at_once_however_small_its_packets_are(size):
    text = b"x" * 5_000_000
    data = b"data: 1\n\ndata: " + text + b"\n\n"
    body = Body({}, 1 << 26, is_stream=True)
    CountedBytes.looked_at = 0
    events = []
    for start in range(0, len(data), size):
        events += body.feed(CountedBytes(data[start : start + size]))
    assert events == [(b"", b"1"), (b"", text)]
    assert CountedBytes.looked_at <= 3 * len(data)


KINDS = ["application/json", "text/event-stream", "text/event-stream; charset=utf-8", "text/plain", ""]
EVENTS = b'data: {"a":1}\n\nevent: x\ndata: 2\n\n'


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", ["", "\n\n", ": OPENROUTER PROCESSING\n\n", "\ufeff", "id: 1\n", "retry:1\n", ":\n"])
def test_an_event_stream_is_one_whatever_it_is_called(kind, start):
    data = start.encode() + EVENTS
    for cuts in ([], range(1, len(data)), *([cut] for cut in range(len(data)))):
        assert events_of(data, kind, cuts) == (False, [(b"", b'{"a":1}'), (b"x", b"2")])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("document", [b'{"id": "data: x"}', b"[1, 2, 3]", b"{}", b"<html>data: x</html>"])
@pytest.mark.parametrize("start", [b"", b" \n", b"\xef\xbb\xbf"])
def test_a_document_is_one_whatever_it_is_called(kind, document, start):
    data = start + document + b"\n"
    for cuts in ([], range(1, len(data)), *([cut] for cut in range(len(data)))):
        assert events_of(data, kind, cuts) == (True, [(b"", document)])


def test_the_declared_type_decides_in_doubt():
    odd = b"whatever: 1\ndata: x\n\n"
    assert events_of(odd, "text/event-stream") == (False, [(b"", b"x")])
    for plain in (odd, b"5", b"data", b"null"):
        assert events_of(plain, "text/plain") == (True, [(b"", plain.rstrip())])


@pytest.mark.parametrize("data", [b"", b"\n\n \r\n", b"\xef\xbb\xbf"])
def test_empty_body_is_truncated_or_a_stream_without_events(data):
    for kind in ("application/json", ""):
        with pytest.raises(errors.PromptrunStreamTruncatedError, match="empty"):
            events_of(data, kind)
    assert events_of(data + b": hi\n\n", "text/event-stream") == events_of(data, "text/event-stream") == (False, [])


def test_events_and_documents_of_just_the_limit_are_read():
    event, document = b"data: " + b"x" * 58 + b"\n\n", b'"' + b"x" * 62 + b'"'
    for cuts in ([], [30], [len(event)], range(1, len(event * 3))):
        assert decode(event * 3, cuts, room=64) == [(b"", b"x" * 58)] * 3
        assert events_of(document, cuts=[cut for cut in cuts if cut < 64], limit=64) == (True, [(b"", document)])


def test_blanks_that_keep_the_connection_alive_are_not_counted():
    body = Body({}, 64)
    for _ in range(1_000):
        assert body.feed(b" \n") == []
    assert body.feed(b'{"a":1}') == []
    assert body.close() == [(b"", b'{"a":1}')]


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


@pytest.mark.parametrize("entry", [*SEEN, *UNSEEN])
def test_content_seen_grows_with_content_alone(entry):
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
