"""Calls spread over transports, by a wire that is faked."""

from __future__ import annotations

import asyncio
import gc
import weakref

import httpx
import pytest

from langchain_promptrun._http.async_pool import OneCallTransport, ShardedTransport


def request(path="/", host="host"):
    return httpx.Request("POST", f"http://{host}{path}")


class Wire(OneCallTransport):
    """Counts what it does. The path `/fail` fails, `/hang` hangs, and the body of `/slow` is closed only when let."""

    made: list[Wire]
    fails_to_close = False

    def __init__(self):
        self.requests = 0
        self.ended = asyncio.Event()
        self.fit = True
        self.let = asyncio.Event()
        self.made.append(self)

    async def handle_async_request(self, request):
        self.requests += 1
        if request.url.path == "/fail":
            raise httpx.ConnectError("no")
        if request.url.path == "/hang":
            await self.let.wait()
        slow = request.url.path == "/slow"
        return httpx.Response(200, stream=Slow(self.let) if slow else httpx.ByteStream(b"body"))

    @property
    def closed(self):
        return self.ended.is_set()

    def is_fit(self):
        return self.fit

    async def aclose(self):
        await asyncio.sleep(0)
        self.ended.set()
        if self.fails_to_close:
            raise OSError("no")


class Slow(httpx.ByteStream):
    """A body whose end waits."""

    def __init__(self, let):
        super().__init__(b"body")
        self._let = let

    async def aclose(self):
        await self._let.wait()


@pytest.fixture
def wires(monkeypatch):
    monkeypatch.setattr(Wire, "made", [], raising=False)
    return Wire.made


def sharded(keep_alive=45.0, most=None):
    return ShardedTransport(Wire, keep_alive, most)


async def begun(transport, count, **where):
    return [await transport.handle_async_request(request(**where)) for _ in range(count)]


async def done(transport, count, **where):
    for response in await begun(transport, count, **where):
        await response.aclose()


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
    await done(transport, 3)
    for _ in range(2):
        await done(transport, 1)
    assert [wire.requests for wire in wires] == [1, 1, 3]


async def test_transport_carries_no_other_call_before_its_last_one_is_closed(wires):
    transport = sharded()
    (response,) = await begun(transport, 1, path="/slow")
    closing = asyncio.create_task(response.aclose())
    await asyncio.sleep(0)
    await begun(transport, 1)
    assert [wire.requests for wire in wires] == [1, 1]
    wires[0].let.set()
    await closing
    await begun(transport, 1)
    assert [wire.requests for wire in wires] == [2, 1]


async def test_each_server_has_transports_of_its_own(wires):
    transport = sharded()
    for host in ("one", "other") * 3:
        await done(transport, 1, host=host)
    assert [wire.requests for wire in wires] == [3, 3]


async def test_failed_call_makes_room(wires):
    transport = sharded()
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await begun(transport, 1, path="/fail")
    assert [wire.closed for wire in wires] == [False]


async def test_cancelled_call_makes_room(wires):
    transport = sharded()
    for _ in range(3):
        task = asyncio.create_task(transport.handle_async_request(request("/hang")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [wire.requests for wire in wires] == [3]


async def test_transport_that_a_failed_call_left_unfit_is_closed(wires):
    transport = sharded()
    await done(transport, 1)
    wires[0].fit = False
    with pytest.raises(httpx.ConnectError):
        await begun(transport, 1, path="/fail")
    await begun(transport, 1)
    assert [(wire.closed, wire.requests) for wire in wires] == [(True, 2), (False, 1)]


async def test_transport_that_a_closed_body_left_unfit_is_closed(wires):
    transport = sharded()
    (response,) = await begun(transport, 1)
    wires[0].fit = False
    await response.aclose()
    assert wires[0].closed


async def test_transport_whose_body_was_cut_off_while_it_closed_is_looked_at(wires):
    transport = sharded()
    (response,) = await begun(transport, 1, path="/slow")
    wires[0].fit = False
    closing = asyncio.create_task(response.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert wires[0].closed


async def test_idle_transports_of_other_servers_give_way_to_a_limit(wires):
    transport = sharded(most=2)
    await done(transport, 2, host="one")
    await begun(transport, 1, host="other")
    assert [wire.closed for wire in wires] == [True, False, False]
    await begun(transport, 1, host="other")
    assert [wire.closed for wire in wires] == [True, True, False, False]


async def test_transport_that_is_not_used_any_more_is_closed_without_another_call(wires):
    transport = sharded(keep_alive=0.01)
    await done(transport, 3)
    for wire in wires:
        await wire.ended.wait()
    await done(transport, 1)
    assert [wire.requests for wire in wires] == [1, 1, 1, 1]
    await wires[3].ended.wait()


async def test_transport_in_use_is_not_closed_by_time(wires):
    transport = sharded(keep_alive=0.0)
    await begun(transport, 1)
    await done(transport, 1)
    await wires[1].ended.wait()
    assert [wire.closed for wire in wires] == [False, True]


async def test_transport_used_meanwhile_is_kept_a_while(wires):
    transport = sharded(keep_alive=45.0)
    await done(transport, 2)
    transport.sweep()
    assert transport._closing is None
    transport._idle[0].used -= 45.0
    transport.sweep()
    await wires[0].ended.wait()
    assert [wire.closed for wire in wires] == [True, False]
    assert transport._timer is not None


async def test_what_closes_in_time_keeps_neither_the_transport_nor_the_callers_context(wires):
    transport = sharded(keep_alive=0.01)
    await done(transport, 1)
    timer, seen = transport._timer, weakref.ref(transport)
    del transport
    gc.collect()
    assert seen() is None
    later = asyncio.Event()
    asyncio.get_running_loop().call_at(timer.when() + 0.001, later.set)
    await later.wait()
    assert [wire.closed for wire in wires] == [False]


async def test_closing_closes_all(wires):
    transport = sharded()
    responses = await begun(transport, 2)
    await responses[0].aclose()
    await transport.aclose()
    assert [wire.closed for wire in wires] == [True, True]
    assert transport._timer.cancelled()


async def test_closing_an_unused_one_does_nothing(wires):
    await sharded().aclose()
    assert wires == []


async def test_transport_that_fails_to_close_keeps_no_other_from_closing(wires, monkeypatch):
    monkeypatch.setattr(Wire, "fails_to_close", True)
    transport = sharded()
    await begun(transport, 2)
    await transport.aclose()
    assert [wire.closed for wire in wires] == [True, True]


async def test_call_that_ends_after_the_close_leaves_nothing(wires):
    transport = sharded()
    (response,) = await begun(transport, 1)
    await transport.aclose()
    wires[0].ended.clear()
    await response.aclose()
    assert wires[0].closed
