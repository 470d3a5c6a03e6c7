"""What goes out and comes in: keys, errors of a status, retries, time-outs, charsets, ends, in each colour."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import logging
import time
import weakref
from contextvars import ContextVar

import pytest
from pydantic import SecretStr

from langchain_promptrun.errors import (
    PromptrunAuthenticationError,
    PromptrunError,
    PromptrunInvalidRequestError,
    PromptrunRateLimitError,
    PromptrunStreamStalledError,
    PromptrunTimeoutError,
)

from .exchanges import KEY, LAST, OK, SSE, Lines, Timeouts, Transport, acall, call, chunk, head, response, to, whole


@pytest.mark.parametrize("body", [b"{}", bytes(range(256)) * (12 << 10)], ids=["small", "large"])
def test_request_goes_out_as_given_with_the_key(calls, raw_server, body):
    raw_server.answer(whole(b"one\n"))
    calls.all(to(raw_server, query={"q": "a b", "n": 2}, headers={"x-own": "v"}, body=body))
    calls.all(to(raw_server, headers={"Accept-Encoding": "identity", "host": "own"}))
    sent, other = raw_server.requests
    assert sent.head.startswith((b"POST /v1/chat?q=a+b&n=2 ", b"POST /v1/chat?q=a%20b&n=2 "))
    assert sent.header("authorization") == f"Bearer {KEY}"
    assert sent.header("x-own") == "v"
    assert sent.header("content-type") == "application/json"
    assert sent.header("content-length") == str(len(body))
    assert sent.header("accept-encoding").startswith("gzip, deflate")
    assert sent.header("host") == raw_server.url.removeprefix("http://")
    assert sent.body == body
    assert (other.header("accept-encoding"), other.header("host")) == ("identity", "own")


def test_unstreamed_answer_takes_the_same_way_as_a_streamed_one(calls, raw_server):
    many = [f"x-header-{number}: yes" for number in range(200)]
    raw_server.answer(whole(b"one\ntwo\n", "X-Request-Id: r1", "X-Twice: a", "X-Twice: b", *many))
    raw_server.answer(head(200, *SSE), chunk(b"one\nt"), 0.01, chunk(b"wo\n"), LAST)
    begun = []

    def parser(status, headers):
        begun.append((status, headers.get("x-request-id"), headers.get("x-twice")))
        return Lines(status, headers)

    for _ in range(2):
        assert calls.all(to(raw_server), parser) == ["one", "two", "end"]
    assert begun == [(200, "r1", "a, b"), (200, None, None)]


# Errors of a status.


def test_error_status_raises_its_class_with_a_detached_response_and_leaves_its_connection(single, raw_server):
    body = json.dumps({"error": {"message": "slow down", "code": "busy"}}).encode()
    raw_server.answer(whole(body, "Set-Cookie: a=b", "x-request-id: r9", "content-type: application/json", status=429))
    for _ in range(2):
        with pytest.raises(PromptrunRateLimitError, match="slow down") as caught:
            single.all(to(raw_server))
    assert raw_server.connections == 1
    response = caught.value.response
    assert (caught.value.request_id, response.status_code, response.json()) == ("r9", 429, json.loads(body))
    assert "set-cookie" not in response.headers
    with pytest.raises(RuntimeError):
        _ = response.request


async def coroutine():
    await asyncio.sleep(0)
    return SecretStr("sk-1")


class Caller:
    def __call__(self):
        return SecretStr("sk-1")


class AsyncCaller:
    async def __call__(self):
        return "sk-1"


TENANTS_KEY = ContextVar("TENANTS_KEY")


async def of_the_tenant():
    return TENANTS_KEY.get()


SOURCES = {
    "text": "sk-1",
    "secret": SecretStr("sk-1"),
    "function": lambda: "sk-1",
    "async function": coroutine,
    "async function that reads the caller's context": of_the_tenant,
    "function that gives an awaitable": functools.partial(AsyncCaller()),
    "partial": functools.partial(coroutine),
    "object": Caller(),
    "async object": AsyncCaller(),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
async def test_key_of_any_source_reaches_the_server(raw_server, source):
    raw_server.answer(OK)
    transport = Transport()
    TENANTS_KEY.set("sk-1")
    await acall(transport, raw_server, api_key=source)
    await asyncio.to_thread(call, transport, raw_server, api_key=source)
    call(transport, raw_server, api_key=source)  # in a running loop
    assert [sent.header("authorization") for sent in raw_server.requests] == ["Bearer sk-1"] * 3
    await transport.aclose()


def raising(error):
    def source():
        raise error

    return source


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        *((raising(error), type(error), "mine") for error in (PermissionError("mine"), KeyError("mine"))),
        *((SecretStr(f"sk{rest}"), PromptrunAuthenticationError, "characters") for rest in ("-1\n", " 1", "-é", "\0")),
        *((source, PromptrunAuthenticationError, "PROMPTRUN_API_KEY") for source in ("", SecretStr(""), lambda: "")),
        (lambda: None, TypeError, "NoneType"),
        (lambda: b"sk-1", TypeError, "bytes"),
    ],
)
def test_key_that_cannot_go_out_is_refused_without_being_shown(raw_server, source, kind, words):
    request = to(raw_server, api_key=source)

    async def main():
        return [item async for item in Transport().aexchange(request, Lines)]

    for ask in (lambda: list(Transport().exchange(request, Lines)), lambda: asyncio.run(main())):
        with pytest.raises(kind, match=words) as caught:
            ask()
        assert "sk" not in str(caught.value)
    assert raw_server.requests == []


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


@pytest.mark.parametrize("information", [b"", head(102)])
def test_write_time_out_counts(calls, raw_server, noises, information):
    """A server that takes no more in; the connection is closed at once, whatever is left to send."""
    raw_server.answer_early(information, 10.0, raw_server.CLOSE)
    started = time.monotonic()
    with pytest.raises(PromptrunTimeoutError) as caught:
        calls.all(to(raw_server, timeouts=Timeouts(8, 8, 0.2, 8), body=b"x" * (8 << 20)))
    assert caught.value.phase == "write"
    assert time.monotonic() - started < 8
    calls.close()
    assert noises() == []


@pytest.mark.parametrize("streamed", [True, False])
def test_stall_limit_counts_from_the_first_content_on(calls, raw_server, streamed):
    raw_server.answer(head(200, *SSE), 0.3, chunk(b"# ping\n"), 0.3, chunk(b"one\n"), 5.0, LAST)
    with pytest.raises(PromptrunStreamStalledError) as caught:
        calls.all(to(raw_server, timeouts=Timeouts(), stream_chunk_timeout=0.1, streamed=streamed))
    assert caught.value.partial == "one"


@pytest.mark.parametrize(("limits", "deadline"), [([None] * 4, None), ([1e7] * 4, None), ([5, 5, 0.1, 5], 2.0)])
@pytest.mark.parametrize("stall", [None, 0.1])
def test_stream_is_waited_for_as_long_as_the_limits_say(calls, raw_server, limits, deadline, stall):
    raw_server.answer(head(200, *SSE), 0.6 * (deadline or 0.3), chunk(b"one\n"), LAST)
    request = to(raw_server, timeouts=Timeouts(*limits), deadline=deadline, stream_chunk_timeout=stall)
    assert calls.all(request) == ["one", "end"]


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


# Charsets.

TEXTS = {
    "Latin-1": ("Grüße Ã¼", "latin-1"),
    "Latin-1 at the end": ("caf\xe9", "latin-1"),
    "UTF-8": ("Grüße Ã¼", "utf-8"),
    "Windows": ("3 €", "windows-1252"),
    "ISO-8859-15": ("3 €", "iso-8859-15"),
}


@pytest.mark.parametrize("declared", ["ISO-8859-1", '"latin1"', "latin-1"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("sent", ["whole", "in bytes", "compressed", "as an error"])
def test_body_that_declares_a_charset_is_read_as_what_it_is(calls, raw_server, declared, text, sent):
    text, charset = TEXTS[text]
    headers = [f"content-type: application/json; charset={charset if '€' in text else declared}"]
    body = gzip.compress(text.encode(charset)) if sent == "compressed" else text.encode(charset)
    headers += ["content-encoding: gzip"] * (sent == "compressed")
    if sent == "in bytes":
        raw_server.answer(head(200, *headers, SSE[1]), *(chunk(bytes([byte])) for byte in body), LAST)
    else:
        raw_server.answer(whole(body, *headers, status=400 if sent == "as an error" else 200))
    if sent == "as an error":
        with pytest.raises(PromptrunInvalidRequestError, match=f"^{text} "):
            calls.all(to(raw_server))
    else:
        assert calls.all(to(raw_server)) == [text, "end"]


# The end, and leaving before it.


def test_server_that_goes_on_after_the_end_mark_is_left(single, raw_server, monkeypatch):
    monkeypatch.setattr(response, "LAST_CHUNK_SECONDS", 0.0)
    raw_server.answer(head(200, *SSE) + chunk(b"one\n[DONE]\n") + chunk(b"# ping\n") * 3, raw_server.HOLD)
    assert single.all(to(raw_server)) == ["one", "end"]
    assert raw_server.saw_end()


DONE = chunk(b"[DONE]\n")


@pytest.mark.parametrize(
    ("end", "connections"),
    [([DONE + LAST], 1), ([DONE, 0.01, LAST], 1), ([DONE], 3)],
    ids=["last chunk with it", "last chunk later", "body left open"],
)
def test_connection_is_free_before_the_last_items_are_handed_out(single, raw_server, monkeypatch, end, connections):
    """A consumer may never ask for the end."""
    monkeypatch.setattr(response, "LAST_CHUNK_SECONDS", 5.0 if connections == 1 else 0.05)  # however busy all is
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), *end)
    items, leave = single.begin(to(raw_server), count=2)
    assert [items, single.all(to(raw_server)), single.all(to(raw_server))] == [["one", "end"]] * 3
    assert raw_server.connections == connections
    leave()


def test_leaving_after_the_whole_body_keeps_the_connection_and_nothing_of_the_call(single, raw_server):
    raw_server.answer(whole(b"one\ntwo\n"))
    alive = weakref.WeakSet()

    class Late(Lines):
        """Gives all its items at the end, as unstreamed answers do."""

        def feed(self, data):
            self.kept = super().feed(data)
            return ()

        def close(self):
            return self.kept

    for _ in range(3):
        first, leave = single.begin(to(raw_server), lambda *args: alive.add(made := Late(*args)) or made)
        leave()
        assert first == ["one"]
        assert not alive
    assert raw_server.connections == 1


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
