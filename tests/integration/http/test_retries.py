"""Retries over real sockets."""

from __future__ import annotations

import copy
import logging
import pickle

import pytest

from langchain_promptrun.errors import PromptrunAPIError, PromptrunConnectionError, PromptrunError

from .exchanges import KEY, LAST, SSE, Lines, OverAiohttp, Timeouts, chunk, head, to, whole

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


@pytest.mark.parametrize("first", [b"!\n", b"tail without an end"])
def test_error_told_by_the_parser_is_retried_with_a_fresh_one_before_the_first_item(calls, raw_server, first):
    raw_server.answer(whole(first))
    raw_server.answer(whole(b"one\n"))
    assert calls.all(to(raw_server, max_retries=1)) == ["one", "end"]


@pytest.mark.parametrize("end", ["parser", "connection"])
def test_nothing_is_retried_after_the_first_item(calls, raw_server, end):
    bad_end = [chunk(b"!\n"), LAST] if end == "parser" else [0.05, raw_server.RESET]
    raw_server.answer(head(200, *SSE, "x-request-id: r7"), chunk(b"one\n"), 0.05, *bad_end)
    seen = []

    class Watching(Lines):
        def feed(self, data):
            seen.extend(items := super().feed(data))
            return items

    with pytest.raises(PromptrunAPIError if end == "parser" else PromptrunConnectionError) as caught:
        calls.all(to(raw_server, max_retries=3), Watching)
    assert seen == ["one"]
    assert len(raw_server.requests) == 1
    assert caught.value.partial == "one"
    assert caught.value.request_id == "r7"


def chain(error):
    """All exceptions that an error leads to."""
    found = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found


def test_traceback_of_an_error_holds_no_answer(calls, raw_server):
    raw_server.answer(whole(b"!\n"))
    with pytest.raises(PromptrunError) as caught:
        calls.all(to(raw_server))
    ours = [entry.name for entry in caught.traceback if "langchain_promptrun" in str(entry.path)]
    assert ours[-2:] in (["exchange", "end_attempt"], ["_attempts", "end_attempt"])


@pytest.mark.parametrize("how", ["refused", "reset", "status", "silent"])
def test_error_leads_to_neither_key_nor_request(calls, raw_server, how):
    raw_server.answer(*{"status": [whole(b"{}", status=401)], "silent": [raw_server.HOLD]}.get(how, [raw_server.RESET]))
    if how == "refused":
        raw_server.close()
    with pytest.raises(PromptrunError) as caught:
        calls.all(to(raw_server, timeouts=Timeouts(5, 0.1, 5, 5), body=b"prompt-text"))
    for error in chain(caught.value):
        assert isinstance(error, PromptrunError), error
        shown = f"{error!s} {error!r} {error.__dict__!r} {pickle.dumps(error)!r} {copy.copy(error)!r}"
        assert KEY not in shown
        assert "prompt-text" not in shown
