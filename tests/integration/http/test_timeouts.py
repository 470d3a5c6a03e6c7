"""Time-outs over real sockets."""

from __future__ import annotations

import asyncio
import time

import pytest

from langchain_promptrun.errors import PromptrunTimeoutError

from .exchanges import LAST, SSE, Lines, Timeouts, Transport, chunk, head, to, whole

# Time.


@pytest.mark.parametrize(
    "drip", [b"x-more: yes\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"], ids=["headers", "early hints"]
)
@pytest.mark.parametrize("used", [False, True], ids=["new connection", "used connection"])
@pytest.mark.parametrize("size", [10, 100_000], ids=["small body", "large body"])
def test_timeout_of_reading_ends_a_head_that_never_ends_in_async_calls(async_single, raw_server, drip, used, size):
    if used:
        raw_server.answer(whole(b"one\n"))
        async_single.all(to(raw_server))
    begun = b"HTTP/1.1 200 OK\r\n" if drip.startswith(b"x") else b""
    raw_server.answer(begun, *[drip, 0.05] * 300, raw_server.CLOSE)
    started = time.monotonic()
    with pytest.raises(PromptrunTimeoutError, match="sent nothing") as caught:
        async_single.all(to(raw_server, timeouts=Timeouts(8, 0.2, 8, 8), max_retries=3, body=b"x" * size))
    assert time.monotonic() - started < 8
    assert caught.value.phase == "read"
    assert len(raw_server.requests) == 1 + used
    assert raw_server.connections == 1


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
