"""Connections between calls: reused, refused, dead, or with more on them than was asked for."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpcore
import pytest

from langchain_promptrun.errors import PromptrunConnectionError, PromptrunInvalidRequestError, PromptrunTimeoutError

from .exchanges import (
    HALF,
    LAST,
    SSE,
    Lines,
    OverAiohttp,
    OverHttpx,
    RawServer,
    Sync,
    Timeouts,
    Transport,
    call_at_once,
    chunk,
    head,
    io_lock,
    to,
    whole,
)

EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nevil\n"
LEFT_OVER = {"a response": EVIL, "half a head": EVIL[:20], "a byte": b"x", "a page": b"<p>x</p>\n", "zeros": bytes(8)}


@pytest.mark.parametrize("kind", LEFT_OVER)
@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["in one packet", "later"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_connection_with_more_than_its_response_is_not_used_again(single, raw_server, kind, pause, framing):
    begun = whole(b"one\n") if framing == "length" else head(200, *SSE) + chunk(b"one\n[DONE]\n") + LAST
    steps = [begun, pause, LEFT_OVER[kind]] if pause else [begun + LEFT_OVER[kind]]
    sent = threading.Event()
    raw_server.answer(*steps, sent.set, raw_server.HOLD)
    raw_server.answer(whole(b"two\n"))
    assert single.all(to(raw_server)) == ["one", "end"]
    assert sent.wait(5)
    assert single.all(to(raw_server)) == ["two", "end"]
    assert raw_server.connections == 2


@pytest.mark.parametrize("kind", LEFT_OVER)
def test_connection_on_which_more_came_while_idle_is_not_used_again(async_single, raw_server, kind):
    """The event loop goes on meanwhile, and takes what comes."""
    more, sent = threading.Event(), threading.Event()
    raw_server.answer(whole(b"one\n"), more, LEFT_OVER[kind], sent.set, raw_server.HOLD)
    raw_server.answer(whole(b"two\n"))

    async def main():
        assert await async_single.all_async(to(raw_server)) == ["one", "end"]
        more.set()
        assert await asyncio.to_thread(sent.wait, 5)
        for _ in range(5):
            await asyncio.sleep(0)
        assert await async_single.all_async(to(raw_server)) == ["two", "end"]

    async_single.runner.run(main())
    assert raw_server.connections == 2


@pytest.mark.parametrize("has_poll", [True, False], ids=["poll", "select, as on Windows"])
def test_connection_that_the_server_closed_while_idle_is_not_used_again(single, raw_server, monkeypatch, has_poll):
    """The event loop is busy meanwhile, so nothing has told of the end."""
    raw_server.answer(whole(b"one\n"), raw_server.CLOSE)
    if not has_poll:
        monkeypatch.delattr("select.poll")

    def calls_in_a_row():
        for _ in range(5):
            assert list(single.transport.exchange(to(raw_server), Lines)) == ["one", "end"]
            assert raw_server.saw_end()

    async def async_calls_in_a_row():
        for _ in range(5):
            assert await single.all_async(to(raw_server)) == ["one", "end"]
            assert raw_server.saw_end()  # blocks the loop

    calls_in_a_row() if type(single) is Sync else single.runner.run(async_calls_in_a_row())
    assert len(raw_server.requests) == raw_server.connections == 5


IS_READABLE = {
    Sync: "httpcore._backends.sync.is_socket_readable",
    OverHttpx: "httpcore._backends.anyio.is_socket_readable",
    OverAiohttp: "langchain_promptrun._http.aiohttp_connector.wait_ready",
}


@pytest.mark.parametrize(("size", "is_told"), [(1, True), (3 << 20, True), (1, False)])
def test_connection_that_had_ended_before_the_request_came_costs_no_attempt(
    calls, raw_server, monkeypatch, colour, size, is_told
):
    """The end is under way as the connection is taken; the server's kernel has never acknowledged the request.

    Where the system does not tell, it may have been processed.
    """
    ending = threading.Event()

    def look(*_):
        if not ending.is_set():
            ending.set()
            assert raw_server.saw_end()
        return False

    monkeypatch.setattr(IS_READABLE[colour], look)
    monkeypatch.setattr("langchain_promptrun._http.private_api._HAS_TCP_INFO", is_told)
    raw_server.answer(whole(b"one\n"), ending, raw_server.CLOSE)
    raw_server.answer(whole(b"two\n"))
    assert calls.all(to(raw_server)) == ["one", "end"]
    with contextlib.nullcontext() if is_told else pytest.raises(PromptrunConnectionError):
        assert calls.all(to(raw_server, body=b"x" * size)) == ["two", "end"]
    assert len(raw_server.requests) == raw_server.connections == (2 if is_told else 1)


def test_connections_of_many_threads_are_not_searched_through(raw_server, monkeypatch):
    """Httpcore looks at all connections of a pool for each request: 500 threads took 95 s for 1,000 calls."""
    sizes = set()
    assign = httpcore.ConnectionPool._assign_requests_to_connections

    def noted(pool):
        sizes.add(len(pool.connections))
        return assign(pool)

    monkeypatch.setattr(httpcore.ConnectionPool, "_assign_requests_to_connections", noted)
    together = threading.Barrier(30)
    raw_server.answer(whole(b"one\n"))
    transport = Transport()

    def work(_):
        for _ in range(3):
            together.wait(20)
            assert list(transport.exchange(to(raw_server, timeouts=Timeouts(20, 20, 20, 20)), Lines)) == ["one", "end"]

    with ThreadPoolExecutor(30) as threads:
        list(threads.map(work, range(30)))
    assert sizes <= {0, 1}
    assert raw_server.connections <= 30
    transport.close()


@pytest.mark.parametrize(("count", "is_taken"), [(10, False), (60, True)])
def test_lock_that_is_not_released_is_taken_by_one_of_many_threads(raw_server, monkeypatch, count, is_taken):
    monkeypatch.setattr(io_lock, "seconds", 0.05)
    io_lock.acquire()
    calls = call_at_once(raw_server, count, whole(b"one\n"))
    assert [call.result() for call in calls] == [["one", "end"]] * count
    assert io_lock.held[0] == (0 if is_taken else threading.get_ident())
    io_lock.release()


def test_main_thread_takes_no_lock_which_a_signal_handler_could_keep(raw_server, monkeypatch):
    monkeypatch.setattr(io_lock, "acquire", pytest.fail)
    raw_server.answer(HALF, RawServer.HOLD)
    transport = Transport()
    streams = [transport.exchange(to(raw_server), Lines) for _ in range(60)]
    assert [next(stream) for stream in streams] == ["ok"] * 60
    for stream in streams:
        stream.close()
    transport.close()


def test_lock_that_many_threads_take_from_each_other_is_released_quietly():
    lock = type(io_lock)(seconds=0)

    def work(_):
        for _ in range(300):
            lock.acquire()
            with lock.released():
                pass
            lock.release()

    with ThreadPoolExecutor(60) as threads:
        list(threads.map(work, range(60)))


@pytest.mark.parametrize(
    ("step", "error"), [(RawServer.HOLD, PromptrunTimeoutError), (RawServer.RESET, PromptrunConnectionError)]
)
def test_threads_that_share_a_lock_raise_what_their_connection_ends_with(raw_server, step, error):
    calls = call_at_once(raw_server, 60, step, read_timeout=1)
    assert {type(call.exception()) for call in calls} == {error}


@pytest.mark.parametrize("then", ["closes", "holds"])
@pytest.mark.parametrize("pieces", [[], [9], [len(head(102))], [len(head(102)) + 10]], ids=str)
def test_early_response_to_a_large_body_is_the_response_and_asked_once(calls, raw_server, then, pieces):
    """The server reads no more than the head, and either closes or waits; its response may come in two pieces."""
    response = head(102) * len(pieces) + whole(b'{"error": "too large"}', status=413)
    begun = [step for end in pieces for step in (response[:end], 0.15)]
    raw_server.answer_early(*begun, response[sum(pieces) :], 10.0 if then == "holds" else 0.0, raw_server.CLOSE)
    began = time.monotonic()
    with pytest.raises(PromptrunInvalidRequestError, match="too large") as caught:
        calls.all(to(raw_server, body=b"x" * (20 << 20), max_retries=2, timeouts=Timeouts(5, 5, 20, 5)))
    assert time.monotonic() - began < 10
    assert caught.value.status_code == 413
    assert raw_server.came.acquire(timeout=1)
    assert not raw_server.came.acquire(blocking=False)


def test_early_response_over_a_connection_in_place_of_one_that_ended_is_the_response(calls, raw_server):
    taken = threading.Event()
    raw_server.answer(whole(b"one\n"), taken, raw_server.CLOSE)
    assert calls.all(to(raw_server)) == ["one", "end"]
    taken.set()
    assert raw_server.saw_end()
    raw_server.answer_early(whole(b'{"error": "too large"}', status=413), 10.0, raw_server.CLOSE)
    with pytest.raises(PromptrunInvalidRequestError, match="too large"):
        calls.all(to(raw_server, body=b"x" * (20 << 20), timeouts=Timeouts(5, 5, 2, 5)))
    assert raw_server.connections == 2


def test_large_body_goes_out_where_no_descriptor_is_free(calls, raw_server):
    raw_server.answer(whole(b"one\n"))
    assert calls.all(to(raw_server)) == ["one", "end"]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert calls.all(to(raw_server, body=b"x" * (20 << 20))) == ["one", "end"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raw_server.connections == 1


def test_early_response_is_taken_while_the_body_goes_on(async_single, raw_server):
    def answers_and_drains(connection):
        connection.recv(1024)
        connection.sendall(head(200, *SSE) + chunk(b"one\n"))
        threading.Event().wait(0.2)
        left = (4 << 20) - 2048
        while left > 0:
            left -= len(connection.recv(1 << 20))
        connection.sendall(chunk(b"[DONE]\n") + LAST)
        return False

    raw_server._serve_one = answers_and_drains
    assert async_single.all(to(raw_server, body=b"x" * (4 << 20)))[0] == "one"


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
def test_connection_of_a_call_that_ends_in_the_tls_handshake_is_closed_at_once(async_single, raw_server, how):
    limits = Timeouts(0.3 if how == "timed out" else 5, 5, 5, 5)
    request = to(None, url=raw_server.url.replace("http:", "https:"), timeouts=limits)

    async def main():
        task = asyncio.create_task(async_single.all_async(request))
        await asyncio.sleep(0.2)
        if how == "cancelled":
            task.cancel()
        with pytest.raises((asyncio.CancelledError, PromptrunConnectionError, TimeoutError)):
            await task
        assert await asyncio.to_thread(raw_server.saw_end)

    async_single.runner.run(main())


@pytest.mark.parametrize("colour", [Sync, OverHttpx])
def test_connections_that_are_idle_give_way_to_another_server_where_there_is_a_limit(single, raw_server):
    other = RawServer()
    for server in (raw_server, other):
        server.answer(whole(b"one\n"))
        assert single.all(to(server)) == ["one", "end"]
    assert raw_server.saw_end()
    other.close()
