"""Learn from a server's refusals how fast requests may be sent, and hold calls back where it asks to wait."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from contextlib import suppress
from functools import partial
from math import inf, sqrt
from queue import Empty, SimpleQueue
from threading import RLock
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from langchain_promptrun._errors.body import seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

_LONGEST_HOLD = 600.0  # seconds for which one refusal holds calls back; then the server is asked again
_FIRST_RATE = 10.0  # requests a second after a hold
_HOLD_GROWTH = 1.0  # a hold has nothing to learn: calls go on slowly, but not for long
_KEPT_SECONDS = 60.0
_SEARCH_SECONDS = 0.5  # in which the rate doubles, until the first refusal
_GROWTH = 0.03  # share by which the rate grows in a second, after the first refusal
_BACKOFF = 0.95  # share of what the server took
_LEAST_SHARE = 0.5  # share of the rate that one refusal leaves at least: few requests say little about the server
_CATCH_UP = 0.05  # seconds by which a late request may be made up for
_LONGEST_STEP = 0.25  # seconds of growth that one turn counts at most: the process may have stood still
_MORE = 4.0
_POLL = 0.005
_HOLD_POLL = 0.25  # a hold may end early
_LONGEST_RESET = 86_400.0  # more is a point in time, as some gateways write


class TurnQueue:
    """Lets callers of any thread and event loop wait for their turn, in the order in which they came.

    The first one in the queue has the turn. The garbage collector may end a wait in the middle of another's step, which
    a put into a SimpleQueue bears, and `threading.Event` does not.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._queue: deque[Callable[[], object]] = deque()

    def __len__(self) -> int:
        return max(0, len(self._queue) - 1)

    def wait(self, ask: Callable[[], float], ends_at: float = inf) -> None:
        """Ask until the answer is 0, when it is one's turn; raises TimeoutError at a time of the monotonic clock."""
        turn: SimpleQueue[None] = SimpleQueue()
        wake = partial(turn.put, None)
        try:
            if not self._enter(wake):
                turn.get(timeout=_left(ends_at))
            for pause in _pauses(ask, ends_at):
                time.sleep(pause)
        except Empty:
            raise TimeoutError from None
        finally:
            self._leave(wake)

    async def async_wait(self, ask: Callable[[], float], ends_at: float = inf) -> None:
        event = asyncio.Event()
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, event.set)
        try:
            if not self._enter(wake):
                async with asyncio.timeout(_left(ends_at)):
                    await event.wait()
            for pause in _pauses(ask, ends_at):
                await asyncio.sleep(pause)
        finally:
            self._leave(wake)

    def try_now(self, ask: Callable[[], float]) -> bool:
        """Return whether nobody waits and the answer is 0."""
        return not self._queue and not ask()

    def _enter(self, wake: Callable[[], object]) -> bool:
        with self._lock:
            self._queue.append(wake)
            return self._queue[0] == wake

    def _leave(self, wake: Callable[[], object]) -> None:
        with self._lock, suppress(IndexError):  # nobody is left
            while True:
                with suppress(ValueError):  # it was taken out before
                    self._queue.remove(wake)
                wake = self._queue[0]
                with suppress(RuntimeError):  # its event loop is closed
                    wake()
                    return


def _left(ends_at: float) -> float | None:
    return None if ends_at == inf else max(0.0, ends_at - time.monotonic())


def _pauses(ask: Callable[[], float], ends_at: float) -> Iterator[float]:
    while pause := ask():
        if time.monotonic() + pause >= ends_at:
            raise TimeoutError
        yield pause


class Pacer:
    """Adapts a rate and a number of requests at once to what a server takes. Thread-safe.

    Calls take turns to ask it, and attempts do; with `is_shared` also those of calls that have no limiter.
    """

    def __init__(
        self,
        rate: float,
        *,
        lowest: float = 0.1,
        highest: float = inf,
        concurrency: float = inf,
        is_shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate, self.concurrency = rate, concurrency
        self.sent = self.refused = self.holds = 0
        self.is_shared = is_shared
        self.clock = clock
        self._lowest, self._highest, self._most = lowest, highest, concurrency
        self._growth = _HOLD_GROWTH if is_shared else _GROWTH
        self._held_until = 0.0
        self._last_at = -inf
        self._is_awaited = False
        self._searching = rate < highest
        self._grown_at = self._epoch = clock()
        self._epoch_sent = 0  # since the epoch, which begins with the first request and at each refusal
        # what requests that were refused together say: when, the rate then, and what the server took of the epoch
        self._refused_at, self._rate_then = -inf, rate
        self._taken = self._taken_at_once = 0
        self._taken_in = 1.0
        self.begin()
        _pacers.add(self)

    def begin(self) -> None:
        """Begin with nobody waiting and nothing under way; what was learned stays."""
        self.turns = TurnQueue()
        self.attempts = TurnQueue()
        self._lock = RLock()
        self.in_flight = 0
        self._lent = 0

    def hold_left(self) -> float:
        """Return the seconds for which the server asked not to send."""
        return max(0.0, self._held_until - self.clock())

    def hold(self, seconds: float) -> None:
        with self._lock:
            self.holds += 1
            self._held_until = max(self._held_until, self.clock() + min(seconds, _LONGEST_HOLD))

    def release(self, holds: int) -> None:
        """End the hold unless the server asked for another since there were so many."""
        with self._lock:
            if self.holds == holds:
                self._held_until = min(self._held_until, self.clock())

    def is_over(self) -> bool:
        """Return whether nothing was held for a minute, and nothing is under way."""
        return self.clock() > self._held_until + _KEPT_SECONDS and not self.in_flight

    def lend(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items to a reader, who may make other calls before the next."""
        with self._lock:
            self._lent += 1
        try:
            yield from items
        finally:
            with self._lock:
                self._lent -= 1

    def asking(self, *, is_retry: bool) -> Callable[[], float]:
        """Return what asks for the turn of an attempt; langchain-core has asked a limiter for the first one's."""
        return partial(self.ask, rate=self.is_shared or is_retry)

    def ask(self, *, rate: bool = True, place: bool = True) -> float:
        """Take a turn, a place among the requests under way, or both; return the seconds to wait, 0 if all is taken."""
        with self._lock:
            now = self.clock()
            if now < self._held_until:
                return min(self._held_until - now, _HOLD_POLL)
            # what was learned binds only while a request goes on by itself
            is_full = self.in_flight >= self.concurrency and self.in_flight > self._lent
            if place and (is_full or self.in_flight >= self._most):
                return _POLL
            if rate:
                growing, self._grown_at = min(now - self._grown_at, _LONGEST_STEP), now
                # a rate that keeps nobody waiting teaches nothing
                if self._is_awaited and self.rate < self._highest:
                    factor = 2 ** (growing / _SEARCH_SECONDS) if self._searching else 1 + self._growth * growing
                    self.rate = min(self._highest, self.rate * factor)
                at = max(self._last_at + 1 / self.rate, now - _CATCH_UP)
                self._is_awaited = at > now
                if at > now:
                    return min(at - now, _CATCH_UP)
                self._last_at = at
            if place:
                if not self.sent:
                    self._epoch = now
                self.in_flight += 1
                self.sent += 1
                self._epoch_sent += 1
            return 0.0

    def end(self, began_at: float, *, refused: bool, wait: float | None, headers: Mapping[str, str]) -> None:
        """Note how a request ended that had begun at a time of the clock."""
        with self._lock:
            saturated = self.in_flight >= self.concurrency
            self.in_flight -= 1
            if refused:
                self._note_refusal(began_at, wait)
            elif saturated:
                self.concurrency = min(self._most, self.concurrency + _MORE / self.concurrency)
            self._note_headers(headers)

    def _note_refusal(self, began_at: float, wait: float | None) -> None:
        now = self.clock()
        self.refused += 1
        if began_at > self._refused_at:
            seconds = max(now - self._epoch, _CATCH_UP)
            sending = max(now - max(self._epoch, self._held_until), _CATCH_UP)
            if self._searching:
                sending = max(self._epoch_sent, 1) / self.rate
            # a server that makes up for a rest takes the lower rate, one that does not the higher
            self._taken_in = sqrt(seconds * sending)
            self._taken, self._taken_at_once = self._epoch_sent, self.in_flight
            self._rate_then, self._epoch_sent = self.rate, 0
            self._refused_at = self._epoch = now
            self._searching = False
        # twice the rest, since the rate may have been the reason
        self.concurrency = max(1.0, min(self.concurrency, 2.0 * self._taken_at_once))
        # what was under way may be refused, too
        self._taken_at_once -= 1
        self._taken -= 1
        learned = max(self._lowest, _BACKOFF * self._taken / self._taken_in, _LEAST_SHARE * self._rate_then)
        self.rate = min(self.rate, learned)
        if wait is not None:
            self.hold(wait)

    def _note_headers(self, headers: Mapping[str, str]) -> None:
        """Keep to the rate at which the allowance fills, once half of it is used (OpenAI's guide "Rate limits")."""
        try:
            limit, left = (float(headers[f"x-ratelimit-{name}-requests"]) for name in ("limit", "remaining"))
        except (KeyError, ValueError):
            return
        reset = seconds_of(headers.get("x-ratelimit-reset-requests"))  # such as `6m0s`, `250ms` or `1.5`
        if left <= limit / 2 and reset and reset <= _LONGEST_RESET:
            self._searching = False
            self.rate = max(self._lowest, min(self.rate, (limit - left) / reset))


_pacers: WeakSet[Pacer] = WeakSet()

HoldName = tuple[str, int, str]
"""Origin, hash of the key, and model."""

held: dict[HoldName, Pacer] = {}
"""What holds calls back at the moment, and for a minute after."""


def hold_of(name: HoldName) -> Pacer | None:
    """Return what holds calls back; None where nothing does, or its hold is long over."""
    if (pacer := held.get(name)) is None or not pacer.is_over():
        return pacer
    held.pop(name, None)
    return None


def hold(name: HoldName, seconds: float) -> None:
    """Hold calls back; then they go on slowly, and in turn."""
    held.setdefault(name, Pacer(_FIRST_RATE, is_shared=True)).hold(seconds)


def _forked() -> None:
    """Forget, in a child process, the calls of its parent, whose threads it does not have."""
    held.clear()
    for pacer in _pacers:
        pacer.begin()


# Windows has neither forks nor this function
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_forked)
