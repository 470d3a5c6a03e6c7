"""The state of one call, without any I/O and with a clock that is turned by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from langchain_promptrun._http.request import Call, Request, Timeouts, check_headers
from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunConnectionError,
    PromptrunStreamStalledError,
    PromptrunTimeoutError,
)


class Echo:
    """Every byte is an item; upper case is content."""

    finished = False

    def __init__(self, status, headers):
        self.content_seen = 0
        self.partial = ""

    def feed(self, data):
        self.content_seen += data.isupper()
        self.partial += data.decode() if data.isupper() else ""
        return list(data)

    def close(self):
        return []


class Clock:
    def __init__(self):
        self.now = 100.0
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.now


def started(clock=None, headers=None, **options):
    call = Call(request(**options), Echo, "http://host", clock or Clock())
    call.begin_answer(200, {"x-request-id": "r1"} | (headers or {}))
    return call


def request(read=60.0, **options):
    return Request(
        method="POST",
        url="http://host/v1",
        body=b"prompt",
        headers={"x-own": "header"},
        api_key=SecretStr("sk-secret"),
        timeouts=Timeouts(1.0, read, 2.0, 3.0),
        **options,
    )


def test_request_shows_neither_prompt_nor_headers_nor_key():
    shown = repr(request(query={"q": "query"}))
    for secret in ("prompt", "header", "sk-secret", "query="):
        assert secret not in shown


def test_time_outs_add_up_unless_one_is_without_limit():
    assert Timeouts(1, 2, 3, 4).total() == 10
    assert Timeouts(1, 2, None, 4).total() is None


# Silence.


def test_silence_is_counted_from_the_first_keep_alive_after_content():
    clock = Clock()
    call = started(clock, stream_chunk_timeout=10.0)
    clock.now += 50
    assert call.push(b"A") == [65]
    clock.now += 50  # the consumer's time, before the buffered keep-alive is read
    call.push(b"a")
    clock.now += 9.9
    call.push(b"a")
    clock.now += 0.1
    with pytest.raises(PromptrunStreamStalledError, match="10 s"):
        call.push(b"a")


def test_content_starts_the_count_anew():
    clock = Clock()
    call = started(clock, stream_chunk_timeout=10.0, stall_before_first=True)
    for _ in range(5):
        clock.now += 9
        call.push(b"a")
        assert call.push(b"A") == [65]


def test_silence_before_the_first_content_is_counted_from_the_head():
    clock = Clock()
    call = started(clock, stream_chunk_timeout=10.0, stall_before_first=True)
    clock.now += 10
    with pytest.raises(PromptrunStreamStalledError):
        call.push(b"a")


def test_read_limit_counts_before_the_first_content_by_default():
    clock = Clock()
    call = started(clock, stream_chunk_timeout=10.0, read=60.0)
    clock.now += 59
    call.push(b"a")
    clock.now += 1
    with pytest.raises(PromptrunTimeoutError, match=r"60 s.*`timeout`") as caught:
        call.push(b"a")
    assert not isinstance(caught.value, PromptrunStreamStalledError)


def test_without_read_limit_nothing_counts_before_the_first_content_by_default():
    clock = Clock()
    call = started(clock, stream_chunk_timeout=10.0, read=None)
    clock.now += 1e6
    call.push(b"a")


def test_without_a_stall_limit_silence_is_not_counted():
    clock = Clock()
    call = started(clock)
    clock.now += 1e6
    assert call.push(b"a") == [97]
    assert clock.asked == 0


STREAM = {"content-type": "text/event-stream; charset=utf-8"}


def test_stream_that_nobody_asked_for_is_watched_like_any_other():
    clock = Clock()
    call = started(clock, STREAM, streamed=False, stream_chunk_timeout=10.0, read=60.0)
    assert (call.patience(), call.shortest_patience()) == (60.0, 10.0)
    clock.now += 60
    with pytest.raises(PromptrunTimeoutError, match="`timeout`"):
        call.push(b"a")
    call = started(clock, STREAM, streamed=False, stream_chunk_timeout=10.0)
    call.push(b"A")
    call.push(b"a")
    clock.now += 10
    with pytest.raises(PromptrunStreamStalledError, match="10 s"):
        call.push(b"a")


def test_answer_that_is_no_stream_is_not_watched_where_none_was_asked_for():
    clock = Clock()
    document = {"content-type": "application/json"}
    call = started(clock, document, streamed=False, stream_chunk_timeout=10.0, stall_before_first=True, read=60.0)
    assert (call.patience(), call.shortest_patience()) == (60.0, 60.0)
    clock.now += 1e6
    assert call.push(b"a") == [97]


def test_next_attempt_may_bring_a_document_where_the_last_one_brought_a_stream():
    call = started(Clock(), STREAM, streamed=False, stream_chunk_timeout=10.0, stall_before_first=True)
    call.failed(PromptrunAPIError("oh"))
    call.end_attempt()
    assert call.patience() == 60.0


def test_clock_is_not_read_while_content_comes():
    clock = Clock()
    call = started(clock, stream_chunk_timeout=10.0)
    asked = clock.asked
    for _ in range(100):
        call.push(b"A")
    assert clock.asked == asked


@pytest.mark.parametrize(
    ("read", "stall", "explicit", "before", "after", "least"),
    [
        (60.0, 10.0, False, 60.0, 10.0, 10.0),
        (60.0, 10.0, True, 10.0, 10.0, 10.0),
        (5.0, 10.0, False, 5.0, 5.0, 5.0),
        (5.0, 10.0, True, 5.0, 5.0, 5.0),
        (None, 10.0, False, None, 10.0, 10.0),
        (None, 10.0, True, 10.0, 10.0, 10.0),
        (60.0, None, False, 60.0, 60.0, 60.0),
        (None, None, False, None, None, None),
    ],
)
def test_patience_is_the_least_limit_in_force(read, stall, explicit, before, after, least):
    call = started(read=read, stream_chunk_timeout=stall, stall_before_first=explicit)
    assert call.patience() == before
    call.push(b"A")
    assert call.patience() == after
    assert call.shortest_patience() == least


@pytest.mark.parametrize(
    ("read", "stall", "kind", "seconds"),
    [
        (60.0, 10.0, PromptrunStreamStalledError, "10 s"),
        (None, 10.0, PromptrunStreamStalledError, "10 s"),
        (5.0, 10.0, PromptrunTimeoutError, "5 s"),
        (5.0, None, PromptrunTimeoutError, "5 s"),
    ],
)
def test_silent_server_is_blamed_by_the_limit_in_force(read, stall, kind, seconds):
    call = started(read=read, stream_chunk_timeout=stall)
    call.push(b"A")
    error = call.silent()
    assert type(error) is kind
    assert seconds in str(error)


# Attempts.


def test_failed_attempt_tells_what_came_and_the_request_id():
    call = started()
    call.push(b"ABC")
    call.failed(PromptrunAPIError("oh"))
    error = call.end_attempt()
    assert (error.partial, error.request_id) == ("ABC", "r1")


def test_what_an_error_knows_itself_stands():
    call = started()
    call.push(b"ABC")
    call.failed(PromptrunAPIError("oh", partial="mine", request_id="r0"))
    error = call.end_attempt()
    assert (error.partial, error.request_id) == ("mine", "r0")


def test_attempt_before_an_answer_has_neither():
    call = Call(request(), Echo, "http://host", Clock())
    call.faulted(ConnectionResetError("gone"))
    error = call.end_attempt()
    assert isinstance(error, PromptrunConnectionError)
    assert (error.partial, error.request_id) == (None, None)


def test_nothing_of_an_attempt_is_left_for_the_next():
    call = started(stream_chunk_timeout=10.0)
    call.push(b"A")
    call.failed(PromptrunAPIError("oh"))
    call.end_attempt()
    assert call.parser is None
    assert call.patience() == 60.0
    call.failed(PromptrunAPIError("again"))
    assert call.end_attempt().partial is None


def test_attempt_that_ends_without_an_answer_is_a_lost_connection():
    assert isinstance(started().end_attempt(), PromptrunConnectionError)


# Headers.


@pytest.mark.parametrize("value", ["", "a", "Bearer x", "a\tb", "!~", "a  b"])
def test_proper_header_passes(value):
    check_headers({"X-Own_Header.1": value})


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0b", "й", "é", "日本", " a", "a ", "a\t", "a\x7f", "\n"])
def test_value_that_cannot_go_out_is_refused_without_being_shown(value):
    with pytest.raises(ValueError, match="'X-Own'") as caught:
        check_headers({"X-Own": "secret" + value if value.strip() == value else value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é", "a\0"])
def test_name_that_cannot_go_out_is_refused(name):
    with pytest.raises(ValueError, match="header name"):
        check_headers({name: "secret"})


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_framing_is_not_the_callers(name):
    with pytest.raises(ValueError, match=name):
        check_headers({name: "1"})


@pytest.mark.parametrize("headers", [{"X-Own": 1}, {"X-Own": None}, {"X-Own": b"secret"}, {1: "secret"}])
def test_header_that_is_no_string_is_refused(headers):
    with pytest.raises(TypeError, match="string") as caught:
        check_headers(headers)
    assert "secret" not in str(caught.value)


@given(name=st.text(max_size=20), value=st.text(max_size=20))
def test_header_that_passes_cannot_break_a_request(name, value):
    try:
        check_headers({name: value})
    except ValueError:
        return
    line = f"{name}: {value}".encode("ascii")
    assert len(line.splitlines()) == 1
    assert b"\0" not in line
