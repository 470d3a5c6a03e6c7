"""What goes out and comes in, errors of a status, retries and time-outs, in sync, over httpx and over aiohttp."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest

from langchain_promptrun.errors import (
    PromptrunError,
    PromptrunRateLimitError,
    PromptrunStreamStalledError,
    PromptrunTimeoutError,
)

from .exchanges import KEY, LAST, SSE, Lines, Timeouts, Transport, chunk, head, header, to, whole


@pytest.mark.parametrize("body", [b"{}", bytes(range(256)) * (12 << 10)], ids=["small", "large"])
def test_request_goes_out_as_given_with_the_key(calls, raw_server, body):
    raw_server.answer(whole(b"one\n"))
    calls.all(to(raw_server, query={"q": "a b", "n": 2}, headers={"x-own": "v"}, body=body))
    (sent,) = raw_server.requests
    assert sent.head.startswith((b"POST /v1/chat?q=a+b&n=2 ", b"POST /v1/chat?q=a%20b&n=2 "))
    assert header(sent, "authorization") == f"Bearer {KEY}"
    assert header(sent, "x-own") == "v"
    assert header(sent, "content-type") == "application/json"
    assert header(sent, "content-length") == str(len(body))
    assert header(sent, "accept-encoding").startswith("gzip, deflate")
    assert header(sent, "host") == raw_server.url.removeprefix("http://")
    assert sent.body == body


def test_callers_accept_encoding_stands(calls, raw_server):
    raw_server.answer(whole(b"one\n"))
    calls.all(to(raw_server, headers={"Accept-Encoding": "identity"}))
    assert header(raw_server.requests[0], "accept-encoding") == "identity"


def test_unstreamed_answer_takes_the_same_way_as_a_streamed_one(calls, raw_server):
    many = [f"x-header-{number}: yes" for number in range(200)]
    raw_server.answer(whole(b"one\ntwo\n", "X-Request-Id: r1", "X-Twice: a", "X-Twice: b", *many[3:]))
    raw_server.answer(head(200, *SSE), chunk(b"one\nt"), 0.01, chunk(b"wo\n"), LAST)
    parsers = []

    def parser(status, headers):
        parsers.append(Lines(status, headers))
        return parsers[-1]

    for _ in range(2):
        assert calls.all(to(raw_server), parser) == ["one", "two", "end"]
    assert parsers[0].status == 200
    assert parsers[0].headers["x-request-id"] == "r1"
    assert parsers[0].headers["x-twice"] == "a, b"


# Errors of a status.


def test_error_status_raises_its_class_with_a_detached_response(calls, raw_server):
    body = json.dumps({"error": {"message": "slow down", "code": "busy"}}).encode()
    raw_server.answer(whole(body, "Set-Cookie: a=b", "x-request-id: r9", "content-type: application/json", status=429))
    with pytest.raises(PromptrunRateLimitError, match="slow down") as caught:
        calls.all(to(raw_server))
    error = caught.value
    assert (error.status_code, error.request_id) == (429, "r9")
    assert error.response.status_code == 429
    assert error.response.json() == {"error": {"message": "slow down", "code": "busy"}}
    assert "set-cookie" not in error.response.headers
    with pytest.raises(RuntimeError):
        _ = error.response.request


def test_connection_is_used_again_after_an_error(single, raw_server):
    raw_server.answer(whole(b"no", status=404))
    for _ in range(2):
        with pytest.raises(PromptrunError):
            single.all(to(raw_server))
    assert raw_server.connections == 1


# Retries.


def test_retried_until_it_works(calls, raw_server, caplog):
    caplog.set_level(logging.DEBUG, "langchain_promptrun")
    raw_server.answer(whole(b"prompt-echo", "retry-after: 3", status=429))
    raw_server.answer(whole(b"prompt-echo", status=503))
    raw_server.answer(whole(b"one\n"))
    request = to(raw_server, max_retries=5, query={"q": "query-value"}, headers={"x-own": "header-value"})
    assert calls.all(request) == ["one", "end"]
    assert len(raw_server.requests) == 3
    assert calls.naps == [3.0, 1.0]
    first, second = [record for record in caplog.records if record.name == "langchain_promptrun"]
    assert first.levelno == logging.INFO
    assert first.getMessage() == (
        f"Retrying POST {raw_server.url}/v1/chat in 3.00 s (attempt 2 of 6): PromptrunRateLimitError (429)"
    )
    assert "attempt 3 of 6" in second.getMessage()
    for secret in (KEY, "query-value", "header-value", "prompt-echo"):
        assert secret not in caplog.text


def test_traceback_of_an_error_holds_no_answer(calls, raw_server):
    raw_server.answer(whole(b"!\n"))
    with pytest.raises(PromptrunError) as caught:
        calls.all(to(raw_server))
    ours = [entry.name for entry in caught.traceback if "langchain_promptrun" in str(entry.path)]
    assert ours[-2:] in (["exchange", "end_attempt"], ["_attempts", "end_attempt"])


# Time-outs.


def test_write_time_out_counts(calls, raw_server, noises):
    """A server that takes nothing in; the connection is closed at once, whatever is left to send."""
    raw_server.take_nothing()
    started = time.monotonic()
    with pytest.raises(PromptrunTimeoutError) as caught:
        calls.all(to(raw_server, timeouts=Timeouts(8, 8, 0.2, 8), body=b"x" * (8 << 20)))
    assert caught.value.phase == "write"
    assert time.monotonic() - started < 8
    calls.close()
    assert noises() == []


def test_stall_limit_counts_from_the_first_content_on(calls, raw_server):
    raw_server.answer(head(200, *SSE), 0.3, chunk(b"# ping\n"), 0.3, chunk(b"one\n"), raw_server.HOLD)
    with pytest.raises(PromptrunStreamStalledError) as caught:
        calls.all(to(raw_server, stream_chunk_timeout=0.1))
    assert caught.value.partial == "one"


def test_without_any_limit_a_stream_is_waited_for(calls, raw_server):
    raw_server.answer(head(200, *SSE), 0.2, chunk(b"one\n"), LAST)
    assert calls.all(to(raw_server, timeouts=Timeouts())) == ["one", "end"]


def test_slow_consumer_is_not_a_stall(raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), *[chunk(b"# ping\n"), 0.05] * 6, chunk(b"two\n"), LAST)
    items = Transport().exchange(to(raw_server, stream_chunk_timeout=0.5), Lines)
    assert next(items) == "one"
    time.sleep(0.6)
    assert list(items) == ["two", "end"]


@pytest.mark.parametrize(("limit", "gap", "consumed"), [(0.1, 0.3, 0.35), (0.5, 1.1, 0.8)])
async def test_slow_consumer_is_not_a_stall_for_the_event_loops_timer(async_colour, raw_server, limit, gap, consumed):
    """The timer looks every 0.5 s: after 1.0, when the wait is 0.2 s old, it must not end it."""
    calls = async_colour()
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), gap, chunk(b"two\n"), LAST)
    seen = []
    async for item in calls.transport.aexchange(to(raw_server, stream_chunk_timeout=limit), Lines):
        seen.append(item)
        await asyncio.sleep(consumed if item == "one" else 0)
    assert seen == ["one", "two", "end"]
    await calls.transport.aclose()
