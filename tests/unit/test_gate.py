"""A limit on calls at once, by a wire that is faked."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from langchain_promptrun._http.concurrency_limit import GatedTransport


class Wire(httpx.AsyncBaseTransport):
    """Counts what it does; the path `/fail` fails."""

    def __init__(self):
        self.timeouts = []
        self.closed = False

    async def handle_async_request(self, request):
        self.timeouts.append(request.extensions["timeout"])
        if request.url.path == "/fail":
            raise httpx.ConnectError("no")
        return httpx.Response(200, stream=httpx.ByteStream(b"body"))

    async def aclose(self):
        self.closed = True


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def gate(wire):
    return GatedTransport(wire, 2)


def request(path="/", pool=60.0):
    timeouts = {"connect": 1.0, "read": 2.0, "write": 3.0, "pool": pool}
    return httpx.Request("POST", f"http://host{path}", extensions={"timeout": timeouts})


async def test_a_call_beyond_the_limit_waits_until_a_body_is_closed(gate, wire):
    first, _ = [await gate.handle_async_request(request()) for _ in range(2)]
    third = asyncio.create_task(gate.handle_async_request(request(pool=None)))
    await asyncio.sleep(0.01)
    assert len(wire.timeouts) == 2
    assert b"".join([data async for data in first.stream]) == b"body"
    await first.aclose()
    await third
    assert len(wire.timeouts) == 3


async def test_a_full_pool_ends_the_wait_in_its_own_words(gate, wire):
    for _ in range(2):
        await gate.handle_async_request(request())
    with pytest.raises(httpx.PoolTimeout):
        await gate.handle_async_request(request(pool=0.01))
    assert len(wire.timeouts) == 2


async def test_a_failed_call_makes_room(gate):
    for _ in range(5):
        with pytest.raises(httpx.ConnectError):
            await gate.handle_async_request(request("/fail", pool=0.01))


async def test_a_cancelled_wait_takes_no_room(gate):
    responses = [await gate.handle_async_request(request()) for _ in range(2)]
    waiting = asyncio.create_task(gate.handle_async_request(request()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    for response in responses:
        await response.aclose()
    for _ in range(2):
        await gate.handle_async_request(request(pool=0.01))


async def test_a_body_closed_twice_makes_room_once(gate):
    first, second = [await gate.handle_async_request(request()) for _ in range(2)]
    await first.stream.aclose()
    await first.stream.aclose()
    await gate.handle_async_request(request(pool=0.01))
    with pytest.raises(httpx.PoolTimeout):
        await gate.handle_async_request(request(pool=0.01))
    await second.aclose()


async def test_a_new_connection_has_only_its_own_time_out(gate, wire):
    await gate.handle_async_request(sent := request())
    assert wire.timeouts == [{"connect": 1.0, "read": 2.0, "write": 3.0, "pool": None}]
    assert sent.method == "POST"


async def test_closing_closes_the_transport(gate, wire):
    await gate.aclose()
    assert wire.closed
