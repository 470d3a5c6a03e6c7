"""Claims of `_retry`: what is tried again, after how long, and what a server may say about it."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._errors.mapping import error_from_document, error_from_status
from langchain_promptrun._errors.retryable import is_retried_status, parse_retry_after
from langchain_promptrun._http.retries import RetryPolicy, retry_delay
from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunConnectionError,
    PromptrunError,
    PromptrunRateLimitError,
    PromptrunResponseError,
    PromptrunStreamStalledError,
    PromptrunStreamTruncatedError,
    PromptrunTimeoutError,
)

POLICY = RetryPolicy(max_retries=3)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def always(value):
    return lambda: value


def failed(status=503, **headers):
    return error_from_status(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


@pytest.mark.parametrize(
    "error",
    [
        PromptrunConnectionError("refused"),
        PromptrunConnectionError("lost"),
        PromptrunStreamTruncatedError("cut"),
        PromptrunTimeoutError("slow", phase="connect"),
        *(failed(status) for status in (408, 409, 429, 500, 502, 503, 504, 529)),
        error_from_document({"error": {"code": 429, "message": "m"}}),
        error_from_document({"error": {"type": "overloaded_error"}}),
        error_from_document({"choices": [{"finish_reason": "error", "error": {"code": 502}}]}),
    ],
    ids=repr,
)
def test_tried_again(error):
    assert retry_delay(error, 0, POLICY, always(1)) == 0.5


@pytest.mark.parametrize(
    "error",
    [
        PromptrunError("any"),
        PromptrunResponseError("illegible"),
        PromptrunStreamStalledError("silent"),
        *(PromptrunTimeoutError("slow", phase=phase) for phase in ("read", "write", "pool")),
        *(failed(status) for status in (300, 307, 400, 401, 402, 403, 404, 405, 413, 415, 422, 451, 501, 505)),
        error_from_status(429, {}, b'{"error": {"code": "insufficient_quota"}}'),
        error_from_status(429, {}, b'{"error": {"code": "context_length_exceeded"}}'),
        error_from_status(500, {}, b'{"error": {"message": "prompt is too long"}}'),
        error_from_document({"error": "no code"}),
        error_from_document({"error": {"code": 401}}),
    ],
    ids=repr,
)
def test_not_tried_again(error):
    assert retry_delay(error, 0, POLICY, always(1)) is None


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_there_are_max_retries_plus_one_attempts(retries):
    policy = RetryPolicy(max_retries=retries)
    delays = [retry_delay(failed(), attempt, policy, always(0)) for attempt in range(10)]
    assert delays == [0.0] * retries + [None] * (10 - retries)


def test_the_longest_pause_doubles_up_to_eight_seconds():
    policy = RetryPolicy(max_retries=10_000)
    longest = [retry_delay(failed(), attempt, policy, always(1)) for attempt in (0, 1, 2, 3, 4, 5, 9_999)]
    assert longest == [0.5, 1, 2, 4, 8, 8, 8]


def test_a_pause_is_a_random_share_of_the_longest():
    assert retry_delay(failed(), 1, POLICY, always(0.25)) == 0.25
    assert retry_delay(failed(), 1, POLICY, always(0)) == 0


def test_retry_after_is_obeyed_to_the_second_and_without_chance():
    assert retry_delay(failed(retry_after="2"), 2, POLICY, always(0.3)) == 2


def test_retry_after_past_the_limit_gives_up_at_once():
    policy = RetryPolicy(max_retries=3, max_retry_after=10)
    assert retry_delay(failed(retry_after="10"), 0, policy, always(0)) == 10
    assert retry_delay(failed(retry_after="11"), 0, policy, always(0)) is None
    assert failed(retry_after="11").retry_after == 11


def test_the_limit_is_60_seconds_unless_set():
    assert retry_delay(failed(retry_after="60"), 0, POLICY, always(0)) == 60
    assert retry_delay(failed(retry_after="60.1"), 0, POLICY, always(0)) is None


def test_retry_after_makes_nothing_retried_that_is_not():
    assert retry_delay(failed(400, retry_after="1"), 0, POLICY, always(0)) is None
    assert retry_delay(PromptrunAPIError("m", retry_after=1.0), 0, POLICY, always(0)) is None
    assert retry_delay(PromptrunRateLimitError("m", retry_after=1.0, retryable=True), 0, POLICY, always(0)) == 1


@pytest.mark.parametrize("status", [100, 200, 307, 400, 404, 501, 505, 600, 999])
def test_statuses_of_no_use_to_repeat(status):
    assert not is_retried_status(status)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2),
        ({"retry-after": " 2 "}, 2),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=7), usegmt=True)}, 7),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:15 -0000"}, 10),
        ({"retry-after": "Friday, 02-Jan-26 03:04:15 GMT"}, 10),
        ({"retry-after": "Fri, 02 Jan 2026 05:04:15 +0200"}, 10),
        ({"retry-after": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0),
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "\u0663"}, None),
        ({"retry-after": "Fri, 99 Foo 2026 99:99:99 GMT"}, None),
        ({"retry-after": "Fri, 02 Jan 99999999999 03:04:15 GMT"}, None),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:15 +99999999999999"}, None),
    ],
)
def test_what_the_server_asks_to_wait(headers, seconds):
    assert parse_retry_after(headers, NOW.timestamp()) == seconds


@given(
    st.text()
    | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,5} \d{1,3}:\d{1,3}(:\d{1,3})? ?[-+A-Z]?\d{0,5}\Z")
)
def test_any_header_is_a_finite_wait_or_none(value):
    seconds = parse_retry_after({"retry-after": value, "retry-after-ms": value}, NOW.timestamp())
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
