"""Retries over real sockets."""

from __future__ import annotations

import logging

import pytest

from langchain_promptrun.errors import PromptrunConnectionError, PromptrunError

from .exchanges import KEY, LAST, SSE, OverAiohttp, chunk, head, to, whole

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


NOT_HTTP = {
    "length beside chunks": head(200, *SSE, "content-length: 9") + chunk(b"one\n") + LAST,
    "length twice": head(200, "content-length: 4", "content-length: 4") + b"one\n",
    "chunk without a size": head(200, *SSE) + b"zz\r\nhalf\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_retry_is_not_made_for_what_aiohttp_does_not_take(raw_server, name):
    calls = OverAiohttp()
    raw_server.answer(NOT_HTTP[name], raw_server.CLOSE)
    with pytest.raises(PromptrunConnectionError, match="not valid HTTP"):
        calls.all(to(raw_server, max_retries=2))
    assert len(raw_server.requests) == 1
    calls.close()


def test_traceback_of_an_error_holds_no_answer(calls, raw_server):
    raw_server.answer(whole(b"!\n"))
    with pytest.raises(PromptrunError) as caught:
        calls.all(to(raw_server))
    ours = [entry.name for entry in caught.traceback if "langchain_promptrun" in str(entry.path)]
    assert ours[-2:] in (["exchange", "end_attempt"], ["_attempts", "end_attempt"])
