"""How a pace is learned, against servers that exist in numbers alone, and how calls take turns."""

import asyncio
import heapq
import sys
import threading
import time
from math import inf

import pytest

from langchain_promptrun._pace import Pacer, TurnQueue, _forked, hold, hold_of

LATENCY = 0.05


class Server:
    """A bucket of requests that fills at a rate; the clock stands still between the steps of a run."""

    def __init__(self, rate, burst, concurrency=inf):
        self.rate, self.burst, self.concurrency = rate, burst, concurrency
        self.now, self.left, self.since = 0.0, burst, 0.0

    def clock(self):
        return self.now

    def takes(self, under_way):
        self.left = min(self.burst, self.left + (self.now - self.since) * self.rate)
        self.since = self.now
        if self.left < 1 or under_way >= self.concurrency:
            return False
        self.left -= 1
        return True

    def run(self, pace, calls, wait):
        """Send calls as the pace allows until each was taken; return the seconds and the number refused."""
        waiting, under_way, refused = calls, [], 0
        while waiting or under_way:
            asked = pace.ask() if waiting else inf
            if asked == 0:
                taken = self.takes(len(under_way))
                end = self.now + (LATENCY if taken else LATENCY / 10)
                heapq.heappush(under_way, (end, self.now, taken))
                waiting -= 1
                continue
            self.now = min(self.now + asked, under_way[0][0] if under_way else inf)
            while under_way and under_way[0][0] <= self.now:
                _, began, taken = heapq.heappop(under_way)
                pace.end(began, refused=not taken, wait=None if taken else wait, headers={})
                waiting += not taken
                refused += not taken
        return self.now, refused


@pytest.mark.parametrize("wait", [1.0, None])
@pytest.mark.parametrize("burst", [100, 300])
def test_pace_learns_the_rate_of_a_server(burst, wait):
    server = Server(100, burst)
    seconds, refused = server.run(Pacer(10, clock=server.clock), 2_000, wait)
    assert seconds <= 1.15 * (2_000 - burst) / 100
    assert refused <= 0.03 * 2_000


@pytest.mark.parametrize("concurrency", [5, 50])
def test_pace_learns_the_concurrency_of_a_server(concurrency):
    server = Server(1_000_000, 1_000_000, concurrency)
    pace = Pacer(10, clock=server.clock)
    _, refused = server.run(pace, 1_000, 1.0)
    assert refused <= 0.03 * 1_000
    assert pace.concurrency < 4 * concurrency
    pace = Pacer(9)
    assert [pace.ask(rate=False) for _ in range(8)] == [0] * 8
    assert not any(pace.end(0.0, refused=True, wait=None, headers={}) for _ in range(6))
    assert pace.concurrency == 2 * (8 - 6)


def test_pace_keeps_to_its_bounds():
    server = Server(0.01, 1)
    pace = Pacer(2, lowest=1, highest=3, concurrency=2, clock=server.clock)
    assert (pace.ask(), pace.ask(rate=False), pace.ask(rate=False) > 0) == (0, 0, True)
    for _ in range(2):
        pace.end(server.now, refused=False, wait=None, headers={})
        server.now += 60
        assert pace.ask() == 0
    assert pace.rate <= 3
    assert pace.concurrency == 2
    for _ in range(9):
        server.now += 1
        pace.end(server.now, refused=True, wait=None, headers={})
        pace.ask()
        server.now += 60
        pace.ask()
    assert pace.rate >= 1


@pytest.mark.parametrize(
    ("headers", "rate"),
    [
        ({"limit": "100", "remaining": "10", "reset": "9s"}, 10),
        ({"limit": "100", "remaining": "40", "reset": "1m0s"}, 1),
        ({"limit": "100", "remaining": "40", "reset": "600ms"}, 50),
        ({"limit": "100", "remaining": "40", "reset": "6.0"}, 10),
        ({"limit": "100", "remaining": "90", "reset": "1s"}, 50),
        ({"limit": "100", "remaining": "40", "reset": "soon"}, 50),
        ({"limit": "100", "remaining": "40", "reset": "1717171717"}, 50),
        ({"limit": "100", "remaining": "40", "reset": "1d2h"}, 50),
        ({"limit": "100"}, 50),
    ],
)
def test_pace_keeps_to_the_headers_of_a_server(headers, rate):
    pace = Pacer(50)
    assert pace.ask() == 0
    named = {f"x-ratelimit-{name}-requests": value for name, value in headers.items()}
    pace.end(0.0, refused=False, wait=None, headers=named)
    assert pace.rate == pytest.approx(rate)


async def test_turn_queue_goes_on_past_a_loop_that_was_closed():
    queue = TurnQueue()
    holds = asyncio.Event()
    first = asyncio.create_task(queue.async_wait(lambda: 0 if holds.is_set() else 0.001))
    await asyncio.sleep(0)

    def wait_in_a_loop_that_closes():
        loop = asyncio.new_event_loop()
        waiting = loop.create_task(queue.async_wait(lambda: 0))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        return waiting

    left = await asyncio.to_thread(wait_in_a_loop_that_closes)
    last = asyncio.create_task(queue.async_wait(lambda: 0))
    await asyncio.sleep(0)
    assert len(queue) == 2
    holds.set()
    await asyncio.gather(first, last)
    assert not left.done()
    left._log_destroy_pending = False


async def test_turn_queue_lets_callers_go_in_the_order_in_which_they_came():
    queue, gone = TurnQueue(), []

    async def wait(number):
        delays = iter([0.001, 0])
        await queue.async_wait(lambda: next(delays))
        gone.append(number)

    await asyncio.gather(*map(wait, range(20)))
    assert gone == [*range(20)]


@pytest.mark.parametrize("step", range(1, 60))
async def test_turn_queue_goes_on_wherever_the_garbage_collector_drops_the_caller_before(step):
    queue, steps = TurnQueue(), iter(range(step))
    before = [queue.async_wait(lambda: 1)]
    before[0].send(None)

    def trace(*_):
        if next(steps, None) is None and before:
            before.pop().close()
        return trace

    waiting = threading.Thread(target=lambda: sys.settrace(trace) or queue.wait(lambda: 0), daemon=True)
    waiting.start()
    waiting.join(0.01)
    while before:
        before.pop().close()
    waiting.join(10)
    assert not waiting.is_alive()


async def test_pacer_begins_without_its_parents_calls_in_a_forked_child():
    pacer = Pacer(0.001, concurrency=1)
    ask = pacer.asking(is_retry=False)
    await pacer.attempts.async_wait(ask)
    of_the_parent = asyncio.create_task(pacer.attempts.async_wait(ask))
    await asyncio.sleep(0)
    _forked()
    await pacer.attempts.async_wait(ask)
    assert pacer.in_flight == 1
    of_the_parent.cancel()


def test_hold_is_forgotten_a_minute_after_its_end():
    name = ("https://host", 1, "vendor/name")
    hold(name, 0)
    held = hold_of(name)
    held.clock = lambda: time.monotonic() + 59
    assert hold_of(name) is held
    held.clock = lambda: time.monotonic() + 61
    assert hold_of(name) is None
    hold(name, 0)
    assert hold_of(name) is not held
