"""A body is what the server sends, whatever it calls it; and it is bounded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._responses.body import Body
from langchain_promptrun.errors import PromptrunResponseError, PromptrunStreamTruncatedError

KINDS = ["application/json", "text/event-stream", "text/event-stream; charset=utf-8", "text/plain", ""]
EVENTS = b'data: {"a":1}\n\nevent: x\ndata: 2\n\n'


def events_of(data, kind="", cuts=(), limit=1 << 20):
    body = Body({"content-type": kind} if kind else {}, limit)
    bounds = [0, *cuts, len(data)]
    events = [event for start, end in pairwise(bounds) for event in body.feed(data[start:end])]
    events += body.close()
    return body.is_document, events


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
    assert events_of(odd, "text/plain") == (True, [(b"", odd.rstrip())])


@pytest.mark.parametrize("kind", ["application/json", ""])
@pytest.mark.parametrize("data", [b"", b"\n\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_document_is_truncated(kind, data):
    with pytest.raises(PromptrunStreamTruncatedError, match="empty"):
        events_of(data, kind)


@pytest.mark.parametrize("data", [b"", b"\n\n", b": hi\n\n"])
def test_an_empty_stream_has_no_events(data):
    assert events_of(data, "text/event-stream") == (False, [])


@pytest.mark.parametrize("data", [b"5", b"data", b"null"])
def test_a_document_may_be_shorter_than_a_fields_name(data):
    assert events_of(data) == (True, [(b"", data)])


@pytest.mark.parametrize("data", [b'{"a": "' + b"x" * 60, b"x" * 65, b"data: " + b"x" * 60, b"data:\n" * 11])
def test_a_body_larger_than_the_limit_raises_however_it_comes(data):
    for cuts in ([], [30], range(1, len(data))):
        with pytest.raises(PromptrunResponseError, match="than 64 bytes") as caught:
            events_of(data, cuts=cuts, limit=64)
        assert not caught.value.is_retryable


def test_a_document_of_just_the_limit_is_read():
    data = b'"' + b"x" * 62 + b'"'
    for cuts in ([], [30], range(1, len(data))):
        assert events_of(data, cuts=cuts, limit=64) == (True, [(b"", data)])


def test_a_packet_larger_than_the_limit_may_hold_many_events():
    data = EVENTS * 10
    assert len(events_of(data, limit=64)[1]) == 20


def test_blanks_that_keep_the_connection_alive_are_not_counted():
    body = Body({}, 64)
    for _ in range(1_000):
        assert body.feed(b" \n") == []
    assert body.feed(b'{"a":1}') == []
    assert body.close() == [(b"", b'{"a":1}')]


@given(st.binary(max_size=100), st.sampled_from(KINDS), st.randoms())
def test_any_bytes_are_the_same_events_however_they_are_cut(data, kind, rng):
    def told(cuts):
        try:
            return events_of(data, kind, cuts)
        except PromptrunStreamTruncatedError as error:
            return str(error)

    assert told(sorted(rng.choices(range(len(data) + 1), k=rng.randint(0, 6)))) == told([])
