"""The core of retries: which errors are retried, after how long, and the state of a call through its attempts."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_promptrun._errors.mapping import error_from_status, parse_retry_after
from langchain_promptrun._http.request import Request, Timeouts
from langchain_promptrun._http.transport import CallState, retry_delay
from langchain_promptrun.errors import PromptrunAPIError, PromptrunRateLimitError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def delay(error, attempt=0, *, share=1.0, retries=3, longest=60.0):
    return retry_delay(error, attempt, request(max_retries=retries, max_retry_after=longest), lambda: share)


def failed(status=503, **headers):
    return error_from_status(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def test_retry_pause_is_a_random_share_of_what_doubles_up_to_eight_seconds():
    longest = [delay(failed(), attempt, retries=10_000) for attempt in (0, 1, 2, 3, 4, 5, 9_999)]
    assert longest == [0.5, 1, 2, 4, 8, 8, 8]
    assert [delay(failed(), 1, share=share) for share in (0.25, 0)] == [0.25, 0]


def test_retry_after_is_obeyed_to_the_second_up_to_its_limit_where_a_retry_may_help():
    assert delay(failed(retry_after="2"), 2, share=0.3) == 2
    assert delay(failed(retry_after="10"), longest=10) == 10
    assert delay(failed(retry_after="11"), longest=10) is None
    assert delay(PromptrunAPIError("m", retry_after=1.0)) is None
    assert delay(PromptrunRateLimitError("m", status_code=429, retry_after=1.0)) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2),
        *(({"retry-after": text}, float(text)) for text in (" 2 ", "1.5", "0")),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=7), usegmt=True)}, 7),
        ({"retry-after": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:15 -0000"}, 10),
        ({"retry-after": "Friday, 02-Jan-26 03:04:15 GMT"}, 10),
        ({"retry-after": "Fri, 02 Jan 2026 05:04:15 +0200"}, 10),
        ({}, None),
        *(({"retry-after": text}, None) for text in ("", "-1", "soon", "inf", "nan", "1e3", "9" * 400, "\u0663")),
        ({"retry-after": "Fri, 99 Foo 2026 99:99:99 GMT"}, None),
        ({"retry-after": "Fri, 02 Jan 99999999999 03:04:15 GMT"}, None),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:15 +99999999999999"}, None),
    ],
)
def test_retry_after_header_is_read(headers, seconds):
    assert parse_retry_after(headers, NOW.timestamp()) == seconds


@settings(max_examples=30)
@given(
    st.text()
    | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,5} \d{1,3}:\d{1,3}(:\d{1,3})? ?[-+A-Z]?\d{0,5}\Z")
)
def test_retry_after_of_any_text_is_a_finite_wait_or_none(value):
    seconds = parse_retry_after({"retry-after": value, "retry-after-ms": value}, NOW.timestamp())
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


# The state of a call, with a clock that is turned by hand.


class Echo:
    """Every byte is an item, and content."""

    finished, partial, content_seen = False, "", 0

    def __init__(self, status, headers):
        """What begins an answer is of no interest here."""

    def feed(self, data):
        self.content_seen += 1
        return list(data)


def request(read=60.0, **options):
    return Request("POST", "http://host/v1", b"{}", {}, "sk-1", Timeouts(1.0, read, 2.0, 3.0), **options)


def started(clock=lambda: 100.0, headers=(), **options):
    call = CallState(request(**options), Echo, clock)
    call.feed = partial(call.feed, call.begin_response(200, dict(headers)))
    return call


def test_retry_next_attempt_may_bring_a_document_where_the_last_one_brought_a_stream():
    stream = {"content-type": "text/event-stream; charset=utf-8"}
    call = started(headers=stream, streamed=False, stream_chunk_timeout=10.0, stall_before_first=True)
    call.error = PromptrunAPIError("oh")
    call.delivered = True
    with pytest.raises(PromptrunAPIError):
        call.end_attempt(call.error, lambda: 1.0)
    assert call.read_timeout() == 60.0


def test_timeout_clock_is_not_read_while_content_comes():
    asked = []
    call = started(lambda: asked.append(1) or 100.0, stream_chunk_timeout=10.0)
    before = len(asked)
    for _ in range(100):
        call.feed(b"A")
    assert len(asked) == before


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
def test_timeout_is_the_least_limit_in_force(read, stall, explicit, before, after, least):
    call = started(read=read, stream_chunk_timeout=stall, stall_before_first=explicit)
    assert call.read_timeout() == before
    call.feed(b"A")
    assert call.read_timeout() == after
    assert call.shortest_read_timeout() == least
