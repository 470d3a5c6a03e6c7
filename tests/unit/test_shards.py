"""Calls spread over transports, by a wire that is faked."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from langchain_promptrun._shards import ShardedTransport

REQUEST = httpx.Request("POST", "http://host")


class Wire(httpx.AsyncBaseTransport):
    """Counts what it does; the path `/fail` fails."""

    made: list[Wire]

    def __init__(self):
        self.requests = 0
        self.closed = False
        self.made.append(self)

    async def handle_async_request(self, request):
        self.requests += 1
        if request.url.path == "/fail":
            raise httpx.ConnectError("no")
        return httpx.Response(200, stream=Slow() if request.url.path == "/slow" else httpx.ByteStream(b"body"))

    async def aclose(self):
        await asyncio.sleep(0)
        self.closed = True


class Slow(httpx.ByteStream):
    """A body that is closed only when it is let."""

    def __init__(self):
        super().__init__(b"body")
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def aclose(self):
        self.asked.set()
        await self.let.wait()


@pytest.fixture
def wires(monkeypatch):
    monkeypatch.setattr(Wire, "made", [], raising=False)
    return Wire.made


def sharded(keep_alive=45.0):
    return ShardedTransport(Wire, keep_alive)


async def begun(transport, count):
    return [await transport.handle_async_request(REQUEST) for _ in range(count)]


async def test_calls_in_a_row_use_one_transport(wires):
    transport = sharded()
    for _ in range(3):
        (response,) = await begun(transport, 1)
        assert b"".join([data async for data in response.stream]) == b"body"
        await response.aclose()
    assert [wire.requests for wire in wires] == [3]


async def test_each_call_under_way_has_a_transport_of_its_own(wires):
    transport = sharded()
    responses = await begun(transport, 3)
    assert [wire.requests for wire in wires] == [1, 1, 1]
    await responses[1].aclose()
    await responses[1].stream.aclose()  # counts once
    await begun(transport, 2)
    assert [wire.requests for wire in wires] == [1, 2, 1, 1]


async def test_transport_used_last_is_used_again_first(wires):
    transport = sharded()
    for response in await begun(transport, 3):
        await response.aclose()
    for _ in range(2):
        (response,) = await begun(transport, 1)
        await response.aclose()
    assert [wire.requests for wire in wires] == [1, 1, 3]


async def test_transport_carries_no_other_call_before_its_last_one_is_closed(wires):
    transport = sharded()
    response = await transport.handle_async_request(httpx.Request("POST", "http://host/slow"))
    slow = response.stream._stream
    closing = asyncio.create_task(response.aclose())
    await slow.asked.wait()
    await begun(transport, 1)
    assert [wire.requests for wire in wires] == [1, 1]
    slow.let.set()
    await closing
    await begun(transport, 1)
    assert [wire.requests for wire in wires] == [2, 1]


async def test_failed_call_makes_room(wires):
    transport = sharded()
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(httpx.Request("POST", "http://host/fail"))
    assert len(wires) == 1


async def test_transport_that_is_not_used_any_more_is_closed(wires):
    transport = sharded(keep_alive=0.05)
    for response in await begun(transport, 3):
        await response.aclose()
    await begun(transport, 1)
    assert [wire.closed for wire in wires] == [False, False, False]
    await asyncio.sleep(0.06)
    await begun(transport, 1)
    assert [(wire.closed, wire.requests) for wire in wires] == [(True, 1), (False, 2), (False, 2)]


async def test_transport_in_use_is_not_closed(wires):
    transport = sharded(keep_alive=0.0)
    await begun(transport, 3)
    assert [wire.closed for wire in wires] == [False, False, False]


async def test_closing_closes_all(wires):
    transport = sharded()
    responses = await begun(transport, 2)
    await responses[0].aclose()
    await transport.aclose()
    assert [wire.closed for wire in wires] == [True, True]
