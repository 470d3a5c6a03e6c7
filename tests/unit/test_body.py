"""Bodies: event streams in every framing, or documents, whatever they are called; cut anywhere, bounded, linear."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._responses.parser import Body
from langchain_promptrun.errors import PromptrunStreamTruncatedError

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
    for document in (odd, b"5", b"data", b"null"):
        assert events_of(document, "text/plain") == (True, [(b"", document.rstrip())])


@pytest.mark.parametrize("data", [b"", b"\n\n \r\n", b"\xef\xbb\xbf"])
def test_empty_body_is_truncated_or_a_stream_without_events(data):
    for kind in ("application/json", ""):
        with pytest.raises(PromptrunStreamTruncatedError, match="empty"):
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
