"""The transport over real sockets: attempts, time, leaving early. Each claim in sync, over httpx and over aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import gzip
import json
import logging
import pickle
import threading
import time
import zlib

import pytest
from pydantic import SecretStr

from langchain_promptrun._http import async_response as _async_answers
from langchain_promptrun._http import sync_response as _answers
from langchain_promptrun._http.transport import Request, Timeouts, Transport, TransportSettings
from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunConnectionError,
    PromptrunError,
    PromptrunInvalidRequestError,
    PromptrunRateLimitError,
    PromptrunResponseError,
    PromptrunStreamStalledError,
    PromptrunStreamTruncatedError,
    PromptrunTimeoutError,
)

KEY = "sk-secret-0123456789"
SSE = ("content-type: text/event-stream", "transfer-encoding: chunked")
LAST = b"0\r\n\r\n"


def head(status, *headers):
    return "\r\n".join([f"HTTP/1.1 {status} X", *headers, "", ""]).encode()


def whole(body, *headers, status=200):
    return head(status, f"content-length: {len(body)}", *headers) + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Lines:
    """Each line is an item; `!` counts as an error, `#` as a keep-alive, `[DONE]` as the end."""

    def __init__(self, status, headers):
        self.status, self.headers = status, headers
        self.finished = False
        self.content_seen = 0
        self.partial = ""
        self._tail = b""

    def feed(self, data):
        *lines, self._tail = (self._tail + data).split(b"\n")
        return [line for line in map(self._take, lines) if line]

    def _take(self, line):
        if line.startswith(b"!"):
            raise PromptrunAPIError("told in the body", status_code=503, retryable=True)
        if line.startswith(b"#"):
            return None
        if line == b"[DONE]":
            self.finished = True
            return None
        self.content_seen += 1
        self.partial += line.decode()
        return line.decode()

    def close(self):
        if self._tail:
            raise PromptrunStreamTruncatedError("cut off")
        return ["end"]


class Sync:
    """Makes calls of one colour."""

    def __init__(self, **options):
        self.naps = []
        self.transport = self.make(sleep=self.naps.append, jitter=lambda: 1.0, **options)

    def make(self, settings=None, **options):
        return Transport(settings, **options)

    def all(self, request, parser=Lines):
        return list(self.transport.exchange(request, parser))

    def leave(self, request, parser=Lines):
        """Take the first item and go."""
        items = self.transport.exchange(request, parser)
        first = next(items)
        items.close()
        return first

    def close(self):
        self.transport.close()


class Async(Sync):
    name: str

    def __init__(self, **options):
        self.naps = []
        self.runner = asyncio.Runner()
        self.transport = self.make(async_sleep=self.nap, jitter=lambda: 1.0, **options)

    def make(self, settings=None, **options):
        settings = settings or TransportSettings()
        return Transport(TransportSettings(settings.max_connections, self.name), **options)

    async def nap(self, seconds):
        self.naps.append(seconds)

    def all(self, request, parser=Lines):
        return self.runner.run(self.all_async(request, parser))

    async def all_async(self, request, parser=Lines):
        return [item async for item in self.transport.aexchange(request, parser)]

    def leave(self, request, parser=Lines):
        return self.runner.run(self.leave_async(request, parser))

    async def leave_async(self, request, parser=Lines):
        async with contextlib.aclosing(self.transport.aexchange(request, parser)) as items:
            return await anext(items)

    def close(self):
        super().close()
        self.runner.close()


class OverHttpx(Async):
    name = "httpx"


class OverAiohttp(Async):
    name = "aiohttp"


COLOURS = [Sync, OverHttpx, OverAiohttp]


@pytest.fixture(params=COLOURS, ids=lambda colour: colour.__name__)
def colour(request):
    return request.param


@pytest.fixture(params=COLOURS[1:], ids=lambda colour: colour.__name__)
def async_colour(request):
    return request.param


@pytest.fixture
def calls(colour):
    caller = colour()
    yield caller
    caller.close()


@pytest.fixture
def single(colour):
    """Calls over at most one connection."""
    caller = colour(settings=TransportSettings(max_connections=1))
    yield caller
    caller.close()


@pytest.fixture
def async_single(async_colour):
    caller = async_colour(settings=TransportSettings(max_connections=1))
    yield caller
    caller.close()


def to(server, path="/v1/chat", **options):
    options = {"api_key": SecretStr(KEY), "timeouts": Timeouts(5, 5, 5, 5), "max_retries": 0} | options
    url = options.pop("url", server and server.url + path)
    headers = {"content-type": "application/json"} | options.pop("headers", {})
    return Request(method="POST", url=url, body=options.pop("body", b'{"a":1}'), headers=headers, **options)


def header(raw_request, name):
    found = [
        line.partition(":")[2].strip()
        for line in raw_request.head.decode().split("\r\n")[1:]
        if line.lower().startswith(f"{name}:")
    ]
    assert len(found) == 1, raw_request.head
    return found[0]


def gone(server, seconds=1.0):
    """Whether a connection ended within the time."""
    return server.gone.acquire(timeout=seconds)


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


def test_long_headers_are_taken(calls, raw_server):
    raw_server.answer(whole(b"one\n", "content-security-policy: " + "x" * 50_000))
    assert calls.all(to(raw_server)) == ["one", "end"]


def test_connection_is_used_again(single, raw_server):
    raw_server.answer(whole(b"one\n"))
    for _ in range(3):
        single.all(to(raw_server))
    assert raw_server.connections == 1


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
    ],
)
def test_compressed_answer_is_unpacked(calls, raw_server, coding, pack):
    packed = pack(b"one\ntwo\n")
    raw_server.answer(head(200, *SSE, f"content-encoding: {coding}"), chunk(packed[:9]), 0.01, chunk(packed[9:]), LAST)
    assert calls.all(to(raw_server)) == ["one", "two", "end"]


def test_truncated_compressed_answer_is_retried_and_then_raised(calls, raw_server):
    packed = gzip.compress(b"x" * 1000)
    raw_server.answer(whole(packed[:-9], "content-encoding: gzip"))
    with pytest.raises(PromptrunStreamTruncatedError, match="gzip"):
        calls.all(to(raw_server, max_retries=1))
    assert len(raw_server.requests) == 2


def test_unknown_compression_is_named(calls, raw_server):
    raw_server.answer(whole(b"???", "content-encoding: compress"))
    with pytest.raises(PromptrunResponseError, match="compress"):
        calls.all(to(raw_server))


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


def test_compressed_error_body_is_readable(calls, raw_server):
    raw_server.answer(whole(gzip.compress(b'{"error":"hm"}'), "content-encoding: gzip", status=400))
    with pytest.raises(PromptrunInvalidRequestError, match="hm") as caught:
        calls.all(to(raw_server))
    assert caught.value.response.json() == {"error": "hm"}


def test_error_with_a_body_that_cannot_be_decoded_is_still_that_error(calls, raw_server):
    raw_server.answer(whole(b"???", "content-encoding: compress", status=400))
    with pytest.raises(PromptrunInvalidRequestError):
        calls.all(to(raw_server))


def test_huge_error_body_is_cut(calls, raw_server):
    raw_server.answer(head(500, "transfer-encoding: chunked"), *[chunk(b"x" * 65000)] * 40, raw_server.HOLD)
    with pytest.raises(PromptrunAPIError) as caught:
        calls.all(to(raw_server))
    assert len(caught.value.response.content) == 65536
    assert gone(raw_server)


@pytest.mark.parametrize("steps", [["x"], ["x", 0.03] * 300], ids=["silent", "dripping"])
def test_slow_error_body_is_not_waited_for(calls, raw_server, monkeypatch, steps):
    for module in (_answers, _async_answers):
        monkeypatch.setattr(module, "ERROR_BODY_SECONDS", 0.1)
    steps = [chunk(step.encode()) if isinstance(step, str) else step for step in steps]
    raw_server.answer(head(503, "transfer-encoding: chunked"), *steps, raw_server.HOLD)
    started = time.monotonic()
    with pytest.raises(PromptrunAPIError) as caught:
        calls.all(to(raw_server))
    assert time.monotonic() - started < 6
    assert caught.value.response.content.startswith(b"x")
    assert gone(raw_server)


def test_connection_is_used_again_after_an_error(single, raw_server):
    raw_server.answer(whole(b"no", status=404))
    for _ in range(2):
        with pytest.raises(PromptrunError):
            single.all(to(raw_server))
    assert raw_server.connections == 1


def test_redirect_is_an_error_and_not_followed(calls, raw_server):
    raw_server.answer(whole(b"", f"Location: {raw_server.url}/other", status=307))
    with pytest.raises(PromptrunInvalidRequestError) as caught:
        calls.all(to(raw_server))
    assert caught.value.status_code == 307
    assert len(raw_server.requests) == 1


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


def test_attempts_are_max_retries_and_one(calls, raw_server):
    raw_server.answer(whole(b"", status=500))
    with pytest.raises(PromptrunAPIError):
        calls.all(to(raw_server, max_retries=3))
    assert len(raw_server.requests) == 4
    assert len(calls.naps) == 3


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422, 501, 307])
def test_lasting_errors_are_not_retried(calls, raw_server, status):
    raw_server.answer(whole(b"", status=status))
    with pytest.raises(PromptrunError):
        calls.all(to(raw_server, max_retries=3))
    assert len(raw_server.requests) == 1


def test_wait_longer_than_allowed_raises_at_once(calls, raw_server):
    raw_server.answer(whole(b"", "retry-after: 61", status=429))
    with pytest.raises(PromptrunRateLimitError) as caught:
        calls.all(to(raw_server, max_retries=3))
    assert caught.value.retry_after == 61
    assert calls.naps == []


BROKEN = {
    "reset before the head": ["RESET"],
    "end before the head": ["CLOSE"],
    "end in the head": [b"HTTP/1.1 200 OK\r\ncontent-le", "CLOSE"],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "CLOSE"],
    "reset before the body": [head(200, *SSE), "RESET"],
    "short body": [whole(b"x" * 100)[:-50], "CLOSE"],
    "short chunks": [head(200, *SSE), chunk(b"half"), "CLOSE"],
    # in one packet: aiohttp does not notice one that comes later, before the read time-out ends the wait
    "bad chunk": [head(200, *SSE) + b"zz\r\nhalf\r\n", "CLOSE"],
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_connection_is_retried_and_then_raised(calls, raw_server, name):
    steps = [getattr(raw_server, step) if isinstance(step, str) else step for step in BROKEN[name]]
    raw_server.answer(*steps)
    raw_server.answer(whole(b"one\n"))
    assert calls.all(to(raw_server, max_retries=1)) == ["one", "end"]
    assert len(raw_server.requests) == 2
    raw_server.scripts[1:] = [steps]
    with pytest.raises(PromptrunConnectionError) as caught:
        calls.all(to(raw_server))
    assert not isinstance(caught.value, PromptrunTimeoutError)


def test_refused_connection_says_where(calls, raw_server):
    raw_server.close()
    with pytest.raises(PromptrunConnectionError, match=f"Cannot connect to {raw_server.url}:") as caught:
        calls.all(to(raw_server, max_retries=2, path="/secret-path"))
    assert "secret-path" not in str(caught.value)
    assert len(calls.naps) == 2


def test_failed_lookup_is_a_connection_error(calls):
    with pytest.raises(PromptrunConnectionError, match=r"Cannot connect to http://nowhere\.invalid:"):
        calls.all(to(None, url="http://nowhere.invalid/v1"))


def test_error_told_by_the_parser_is_retried_before_the_first_item(calls, raw_server):
    raw_server.answer(whole(b"!\n"))
    raw_server.answer(whole(b"one\n"))
    assert calls.all(to(raw_server, max_retries=1)) == ["one", "end"]


def test_parser_of_an_attempt_is_a_fresh_one(calls, raw_server):
    raw_server.answer(whole(b"tail without an end"))
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


def test_failure_at_the_end_of_a_streamed_answer_is_not_retried(calls, raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\nhalf a li"), LAST)
    with pytest.raises(PromptrunStreamTruncatedError):
        calls.all(to(raw_server, max_retries=3))
    assert len(raw_server.requests) == 1


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
    assert ours[-2:] in (["exchange", "_pause"], ["aexchange", "_pause"])


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


# Time.


def test_read_time_out_counts_before_the_head(calls, raw_server):
    raw_server.answer(raw_server.HOLD)
    time.monotonic()
    with pytest.raises(PromptrunTimeoutError) as caught:
        calls.all(to(raw_server, timeouts=Timeouts(5, 0.2, 5, 5), max_retries=3))
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.phase == "read"
    assert not isinstance(caught.value, PromptrunStreamStalledError)
    assert len(raw_server.requests) == 1
    assert gone(raw_server)


def test_read_time_out_counts_in_the_body(calls, raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), raw_server.HOLD)
    time.monotonic()
    with pytest.raises(PromptrunTimeoutError) as caught:
        calls.all(to(raw_server, timeouts=Timeouts(5, 0.2, 5, 5)))
    assert caught.value.phase == "read"
    assert gone(raw_server)


@pytest.mark.parametrize(
    "drip", [b"x-more: yes\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"], ids=["headers", "early hints"]
)
@pytest.mark.parametrize("used", [False, True], ids=["new connection", "used connection"])
def test_head_that_never_ends_is_a_time_out(single, raw_server, drip, used):
    if used:
        raw_server.answer(whole(b"one\n"))
        single.all(to(raw_server))
    begun = b"HTTP/1.1 200 OK\r\n" if drip.startswith(b"x") else b""
    raw_server.answer(begun, *[drip, 0.05] * 90, raw_server.CLOSE)
    with pytest.raises(PromptrunTimeoutError):
        single.all(to(raw_server, timeouts=Timeouts(0.2, 0.2, 0.2, 0.2), max_retries=3))
    assert len(raw_server.requests) == 1 + used
    assert raw_server.connections == 1


def test_write_time_out_counts(calls, raw_server):
    """A server that takes nothing in."""
    raw_server._serve_one = lambda connection, number: threading.Event().wait(2)
    with pytest.raises(PromptrunTimeoutError) as caught:
        calls.all(to(raw_server, timeouts=Timeouts(0.2, 0.2, 0.2, 0.2), body=b"x" * (32 << 20)))
    assert caught.value.phase == "write"


@pytest.mark.parametrize("first", [True, False], ids=["from the start", "after content"])
def test_keep_alives_do_not_feed_the_stall_clock(calls, raw_server, first):
    begin = [] if first else [chunk(b"one\n")]
    raw_server.answer(head(200, *SSE), *begin, *[chunk(b"# ping\n"), 0.02] * 200, LAST)
    time.monotonic()
    with pytest.raises(PromptrunStreamStalledError) as caught:
        calls.all(to(raw_server, stream_chunk_timeout=0.2, stall_before_first=True, max_retries=3))
    assert caught.value.partial == (None if first else "one")
    assert len(raw_server.requests) == 1
    assert gone(raw_server)


@pytest.mark.parametrize("first", [True, False], ids=["from the start", "after content"])
def test_silence_is_a_stall_long_before_the_read_time_out(calls, raw_server, first):
    begin = [] if first else [chunk(b"one\n")]
    raw_server.answer(head(200, *SSE), *begin, raw_server.HOLD)
    time.monotonic()
    with pytest.raises(PromptrunStreamStalledError):
        calls.all(to(raw_server, stream_chunk_timeout=0.2, stall_before_first=first))
    assert gone(raw_server)


def test_silence_before_the_head_is_a_stall_when_the_caller_set_the_limit(calls, raw_server):
    raw_server.answer(raw_server.HOLD)
    with pytest.raises(PromptrunStreamStalledError):
        calls.all(to(raw_server, stream_chunk_timeout=0.2, stall_before_first=True))


def test_default_stall_limit_does_not_count_before_the_first_content(calls, raw_server):
    raw_server.answer(head(200, *SSE), 0.3, chunk(b"# ping\n"), 0.3, chunk(b"one\n"), LAST)
    assert calls.all(to(raw_server, stream_chunk_timeout=0.1)) == ["one", "end"]


def test_read_limit_counts_before_the_first_content_though_keep_alives_come(calls, raw_server):
    raw_server.answer(head(200, *SSE), *[chunk(b"# ping\n"), 0.02] * 200, LAST)
    time.monotonic()
    with pytest.raises(PromptrunTimeoutError):
        calls.all(to(raw_server, timeouts=Timeouts(5, 0.2, 5, 5), stream_chunk_timeout=0.1))


def test_slow_but_live_stream_is_not_cut(calls, raw_server):
    raw_server.answer(head(200, *SSE), *[chunk(b"on\n"), 0.1] * 6, LAST)
    items = calls.all(to(raw_server, timeouts=Timeouts(5, 0.3, 5, 5), stream_chunk_timeout=0.3))
    assert items == [*["on"] * 6, "end"]


def test_no_stall_limit_lets_keep_alives_go_on(calls, raw_server):
    raw_server.answer(head(200, *SSE), *[chunk(b"# ping\n"), 0.02] * 25, chunk(b"one\n"), LAST)
    assert calls.all(to(raw_server, timeouts=Timeouts(5, 0.2, 5, 5))) == ["one", "end"]


def test_without_any_limit_a_stream_is_waited_for(calls, raw_server):
    raw_server.answer(head(200, *SSE), 0.2, chunk(b"one\n"), LAST)
    assert calls.all(to(raw_server, timeouts=Timeouts())) == ["one", "end"]


def test_slow_consumer_is_not_a_stall(raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), *[chunk(b"# ping\n"), 0.02] * 20, chunk(b"two\n"), LAST)
    items = Transport().exchange(to(raw_server, stream_chunk_timeout=0.3), Lines)
    assert next(items) == "one"
    time.sleep(0.35)
    assert list(items) == ["two", "end"]


async def test_slow_consumer_is_not_a_stall_for_the_event_loops_timer(async_colour, raw_server):
    calls = async_colour()
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), 0.3, chunk(b"two\n"), LAST)
    seen = []
    async for item in calls.transport.aexchange(to(raw_server, stream_chunk_timeout=0.1), Lines):
        seen.append(item)
        await asyncio.sleep(0.35)
    assert seen == ["one", "two", "end"]
    await calls.transport.aclose()


async def test_wait_is_counted_from_its_own_beginning(async_colour, raw_server):
    """The loop's timer looks each second: after two, when the wait is 0.4 s old, it must not end it."""
    calls = async_colour()
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), 2.2, chunk(b"two\n"), LAST)
    seen = []
    async for item in calls.transport.aexchange(to(raw_server, stream_chunk_timeout=1.0), Lines):
        seen.append(item)
        await asyncio.sleep(1.6)
    assert seen == ["one", "two", "end"]
    await calls.transport.aclose()


# The end, and leaving before it.


def test_end_mark_ends_the_stream_though_the_socket_stays_open(single, raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n[DONE]\n"), raw_server.HOLD)
    raw_server.answer(whole(b"two\n"))
    started = time.monotonic()
    assert single.all(to(raw_server)) == ["one", "end"]
    assert time.monotonic() - started < 4
    assert gone(raw_server)
    assert single.all(to(raw_server)) == ["two", "end"]


def test_endless_bytes_after_the_end_mark_are_not_read(calls, raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n[DONE]\n"), *[chunk(b"#\n"), 0.02] * 500)
    started = time.monotonic()
    assert calls.all(to(raw_server)) == ["one", "end"]
    assert time.monotonic() - started < 4
    assert gone(raw_server)


def test_server_that_goes_on_after_the_end_mark_is_left(single, raw_server, monkeypatch):
    for module in (_answers, _async_answers):
        monkeypatch.setattr(module, "LAST_CHUNK_SECONDS", 0.0)
    raw_server.answer(head(200, *SSE) + chunk(b"one\n[DONE]\n") + chunk(b"# ping\n") * 3, raw_server.HOLD)
    assert single.all(to(raw_server)) == ["one", "end"]
    assert gone(raw_server)


@pytest.mark.parametrize("pause", [0.0, 0.01], ids=["last chunk with it", "last chunk later"])
def test_streams_in_a_row_use_one_connection(single, raw_server, pause):
    end = [chunk(b"[DONE]\n") + LAST] if not pause else [chunk(b"[DONE]\n"), pause, LAST]
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), *end)
    for _ in range(4):
        assert single.all(to(raw_server)) == ["one", "end"]
    assert raw_server.connections == 1


def test_leaving_a_stream_drops_its_connection(single, raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), raw_server.HOLD)
    raw_server.answer(whole(b"two\n"))
    assert single.leave(to(raw_server)) == "one"
    assert gone(raw_server)
    assert single.all(to(raw_server)) == ["two", "end"]


@pytest.mark.parametrize("end", [LAST, b""], ids=["body complete", "body left open"])
def test_connection_is_free_before_the_last_items_are_handed_out(raw_server, end):
    """Whoever has the last item may never ask for the end."""
    raw_server.answer(head(200, *SSE), chunk(b"one\n[DONE]\n"), end)
    transport = Transport(TransportSettings(max_connections=1))
    items = transport.exchange(to(raw_server), Lines)
    assert [next(items), next(items)] == ["one", "end"]
    assert list(transport.exchange(to(raw_server), Lines)) == ["one", "end"]
    assert raw_server.connections == (1 if end else 2)


async def test_connection_is_free_before_the_last_items_are_handed_out_async(async_colour, raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n[DONE]\n"), LAST)
    calls = async_colour(settings=TransportSettings(max_connections=1))
    items = calls.transport.aexchange(to(raw_server), Lines)
    assert [await anext(items), await anext(items)] == ["one", "end"]
    assert await calls.all_async(to(raw_server)) == ["one", "end"]
    assert raw_server.connections == 1
    await calls.transport.aclose()


def test_leaving_after_the_whole_body_keeps_the_connection(single, raw_server):
    raw_server.answer(whole(b"one\ntwo\n"))

    class Late(Lines):
        """Gives all its items at the end, as unstreamed answers do."""

        def feed(self, data):
            self.kept = super().feed(data)
            return ()

        def close(self):
            return self.kept

    for _ in range(3):
        assert single.leave(to(raw_server), Late) == "one"
    assert raw_server.connections == 1


def test_exception_in_the_consumer_drops_the_connection(single, raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), raw_server.HOLD)

    class BoomError(Exception):
        pass

    class Bad(Lines):
        def feed(self, data):
            raise BoomError

    with pytest.raises(BoomError):
        single.all(to(raw_server), Bad)
    assert gone(raw_server)


def test_collected_generator_drops_its_connection(raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), raw_server.HOLD)
    items = Transport().exchange(to(raw_server), Lines)
    next(items)
    del items
    gc.collect()
    assert gone(raw_server)


def test_stream_collected_while_httpcore_holds_its_lock_waits_for_no_lock_there(raw_server, standstills):
    """The collector may come in any line."""
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), raw_server.HOLD)
    raw_server.answer(whole(b"two\n"))
    transport = Transport(TransportSettings(max_connections=1))
    items = transport.exchange(to(raw_server), Lines)
    next(items)
    garbage = [items]
    garbage.append(garbage)
    del items, garbage
    found = standstills()
    assert list(transport.exchange(to(raw_server), Lines)) == ["two", "end"]
    assert found == []
    assert gone(raw_server, 10)


def test_stream_left_anywhere_else_is_closed_at_once(raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), raw_server.HOLD)
    before = set(_answers._bodies)
    items = Transport().exchange(to(raw_server), Lines)
    assert next(items) == "one"
    assert set(_answers._bodies) > before
    items.close()
    assert set(_answers._bodies) == before


async def test_collected_async_generator_drops_its_connection(async_colour, raw_server):
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), raw_server.HOLD)
    calls = async_colour()
    items = calls.transport.aexchange(to(raw_server), Lines)
    await anext(items)
    del items
    gc.collect()
    assert await asyncio.to_thread(gone, raw_server)
    await calls.transport.aclose()


@pytest.mark.parametrize("where", ["before the head", "before the first chunk", "in the middle"])
def test_cancelled_task_drops_its_connection(async_single, raw_server, where):
    steps = {"before the head": 0, "before the first chunk": 1, "in the middle": 2}[where]
    raw_server.answer(*[head(200, *SSE), chunk(b"one\n")][:steps], raw_server.HOLD)
    raw_server.answer(whole(b"two\n"))

    async def main():
        task = asyncio.create_task(async_single.all_async(to(raw_server, stream_chunk_timeout=5.0)))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert await asyncio.to_thread(gone, raw_server)
        return await async_single.all_async(to(raw_server))

    assert async_single.runner.run(main()) == ["two", "end"]


async def test_cancelling_the_wait_for_a_retry_ends_at_once(raw_server):
    raw_server.answer(whole(b"", "retry-after: 30", status=429))
    transport = Transport()

    async def call():
        return [item async for item in transport.aexchange(to(raw_server, max_retries=2), Lines)]

    task = asyncio.create_task(call())
    assert await asyncio.to_thread(raw_server.came.acquire, timeout=5)
    await asyncio.sleep(0.1)
    task.cancel()
    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 4
    assert len(raw_server.requests) == 1
    await transport.aclose()


async def test_outer_cancellation_wins_over_a_stall(async_colour, raw_server):
    """Both in one step of the loop: the stall's timer is due after 0.2 s, the other one soon after."""
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), raw_server.HOLD)
    calls = async_colour()

    async def call():
        async for _ in calls.transport.aexchange(to(raw_server, stream_chunk_timeout=0.1), Lines):
            loop = asyncio.get_running_loop()
            loop.call_later(0.15, time.sleep, 0.15)
            loop.call_later(0.22, asyncio.current_task().cancel)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(call())
    await calls.transport.aclose()


def test_large_body_arrives_whole(calls, raw_server):
    body = bytes(range(256)) * (12 << 10)
    raw_server.answer(whole(b"one\n"))
    calls.all(to(raw_server, body=body))
    (sent,) = raw_server.requests
    assert sent.body == body
    assert header(sent, "content-length") == str(len(body))
