"""Calls spread over small pools, by a wire that is faked."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from langchain_promptrun._shards import SHARD_CALLS, ShardedTransport

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
        return httpx.Response(200, stream=httpx.ByteStream(b"body"))

    async def aclose(self):
        await asyncio.sleep(0)
        self.closed = True


@pytest.fixture
def wires(monkeypatch):
    monkeypatch.setattr(Wire, "made", [], raising=False)
    return Wire.made


def sharded(keep_alive=45.0):
    return ShardedTransport(Wire, keep_alive)


async def begun(transport, count):
    return [await transport.handle_async_request(REQUEST) for _ in range(count)]


async def test_calls_in_a_row_use_one_pool(wires):
    transport = sharded()
    for _ in range(3 * SHARD_CALLS):
        (response,) = await begun(transport, 1)
        assert b"".join([data async for data in response.stream]) == b"body"
        await response.aclose()
    assert [wire.requests for wire in wires] == [3 * SHARD_CALLS]


async def test_full_pool_passes_calls_on_until_one_ends(wires):
    transport = sharded()
    responses = await begun(transport, SHARD_CALLS + 1)
    assert [wire.requests for wire in wires] == [SHARD_CALLS, 1]
    await responses[0].aclose()
    await responses[0].stream.aclose()  # counts once
    await begun(transport, 2)
    assert [wire.requests for wire in wires] == [SHARD_CALLS + 1, 2]


async def test_failed_call_makes_room(wires):
    transport = sharded()
    for _ in range(SHARD_CALLS + 1):
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(httpx.Request("POST", "http://host/fail"))
    assert len(wires) == 1


async def test_pool_that_is_not_used_any_more_is_closed(wires):
    transport = sharded(keep_alive=0.05)
    for response in await begun(transport, 2 * SHARD_CALLS + 1):
        await response.aclose()
    await begun(transport, 1)
    assert [wire.closed for wire in wires] == [False, False, False]
    await asyncio.sleep(0.06)
    await begun(transport, 1)
    assert [wire.closed for wire in wires] == [False, True, True]


async def test_pool_in_use_is_not_closed(wires):
    transport = sharded(keep_alive=0.0)
    await begun(transport, SHARD_CALLS + 2)
    assert [wire.closed for wire in wires] == [False, False]


async def test_closing_closes_all(wires):
    transport = sharded()
    await begun(transport, SHARD_CALLS + 1)
    await transport.aclose()
    assert [wire.closed for wire in wires] == [True, True]
