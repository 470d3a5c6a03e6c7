"""What goes out, what comes in, and errors of a status, in sync, over httpx and over aiohttp."""

from __future__ import annotations

import json

import pytest

from langchain_promptrun.errors import (
    PromptrunError,
    PromptrunRateLimitError,
)

from .exchanges import KEY, LAST, SSE, Lines, OverAiohttp, chunk, head, header, to, whole

# What goes out and what comes in.


def test_request_goes_out_as_given_with_the_key(calls, raw_server):
    raw_server.answer(whole(b"one\n"))
    calls.all(to(raw_server, query={"q": "a b", "n": 2}, headers={"x-own": "v"}, body=b"{}"))
    (sent,) = raw_server.requests
    assert sent.head.startswith((b"POST /v1/chat?q=a+b&n=2 ", b"POST /v1/chat?q=a%20b&n=2 "))
    assert header(sent, "authorization") == f"Bearer {KEY}"
    assert header(sent, "x-own") == "v"
    assert header(sent, "content-type") == "application/json"
    assert header(sent, "content-length") == "2"
    assert header(sent, "accept-encoding").startswith("gzip, deflate")
    assert header(sent, "host") == raw_server.url.removeprefix("http://")
    assert sent.body == b"{}"


def test_callers_accept_encoding_stands(calls, raw_server):
    raw_server.answer(whole(b"one\n"))
    calls.all(to(raw_server, headers={"Accept-Encoding": "identity"}))
    assert header(raw_server.requests[0], "accept-encoding") == "identity"


def test_unstreamed_answer_takes_the_same_way_as_a_streamed_one(calls, raw_server):
    raw_server.answer(whole(b"one\ntwo\n", "X-Request-Id: r1", "X-Twice: a", "X-Twice: b"))
    raw_server.answer(head(200, *SSE), chunk(b"one\nt"), 0.01, chunk(b"wo\n"), LAST)
    parsers = []

    def parser(status, headers):
        parsers.append(Lines(status, headers))
        return parsers[-1]

    assert calls.all(to(raw_server), parser) == ["one", "two", "end"]
    assert calls.all(to(raw_server), parser) == ["one", "two", "end"]
    assert parsers[0].status == 200
    assert parsers[0].headers["x-request-id"] == "r1"
    assert parsers[0].headers["x-twice"] == "a, b"


def test_two_hundred_headers_are_taken_over_aiohttp(raw_server):
    calls = OverAiohttp()
    raw_server.answer(whole(b"one\n", *[f"x-header-{number}: yes" for number in range(200)]))
    assert calls.all(to(raw_server)) == ["one", "end"]
    calls.close()


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
