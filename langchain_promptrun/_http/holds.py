"""Hold calls back where a server asked to wait, all of one origin, key and model together."""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Any

from langchain_promptrun._http.pacing import Pace, TurnQueue
from langchain_promptrun.errors import PromptrunError, PromptrunRateLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from langchain_promptrun._http.attempt import CallState
    from langchain_promptrun._http.request import Request, Target

_FIRST_RATE = 10.0
_KEPT_SECONDS = 60.0
_TOO_MANY_REQUESTS = 429


class Pacer:
    """Makes attempts wait for their turn, and learns from how they end.

    Attributes:
        pace: How fast, and how many at once.
        turns: The order of calls that a limiter has not let through yet.
        attempts: The order of attempts.
        is_shared: Whether it holds calls that did not ask for it; their deadlines count the wait.
    """

    def __init__(self, pace: Pace, *, is_shared: bool = False) -> None:
        self.pace = pace
        self.turns = TurnQueue()
        self.attempts = TurnQueue()
        self.is_shared = is_shared

    def enter(self, call: CallState[Any]) -> Pace:
        """Wait for the turn of a call's attempt; raises PromptrunError where that takes too long."""
        began_at, ends_at = self._limits(call)
        try:
            self.attempts.wait(self._question(call), ends_at)
        except TimeoutError:
            raise call.deadline_error("turn") from None
        return self._entered(call, began_at)

    async def async_enter(self, call: CallState[Any]) -> Pace:
        """Async version of `enter`."""
        began_at, ends_at = self._limits(call)
        try:
            await self.attempts.async_wait(self._question(call), ends_at)
        except TimeoutError:
            raise call.deadline_error("turn") from None
        return self._entered(call, began_at)

    def _limits(self, call: CallState[Any]) -> tuple[float, float]:
        left = self.pace.hold_left()
        if left > call.request.max_retry_after:
            raise PromptrunRateLimitError(
                f"The server asked for {left:.1f} s without requests, longer than `max_retry_after`. Nothing was sent.",
                retry_after=left,
            )
        ends_at = call.ends_at if self.is_shared else float("inf")
        if monotonic() + left >= ends_at:
            raise call.deadline_error("turn")
        return monotonic(), ends_at

    def _question(self, call: CallState[Any]) -> Callable[[], float]:
        # langchain-core has asked a limiter for the first attempt's turn
        needs_turn = self.is_shared or call.attempt > 0
        return lambda: self.pace.ask(rate=needs_turn)

    def _entered(self, call: CallState[Any], began_at: float) -> Pace:
        if not self.is_shared:
            call.ends_at += monotonic() - began_at
        return self.pace


_held: dict[tuple[str, int, str], Pacer] = {}
"""What holds calls back at the moment, and for a minute after, by origin, key and model."""
os.register_at_fork(after_in_child=_held.clear)


def pacer_of(request: Request, target: Target, key: SecretStr | None) -> Pacer | None:
    """Return what makes an attempt wait for its turn: the call's own limiter, else a hold."""
    if isinstance(request.pacer, Pacer):
        return request.pacer
    if not _held or request.max_retries == 0:
        return None
    name = _name(request, target, key)
    pacer = _held.get(name)
    if pacer is not None and pacer.pace.is_over(_KEPT_SECONDS):
        return _held.pop(name, None) and None
    return pacer


def hold(request: Request, target: Target, key: SecretStr | None, error: BaseException) -> bool:
    """Hold calls back after a refusal with a wait; return whether it was one."""
    if request.model is None or not isinstance(error, PromptrunError) or error.status_code != _TOO_MANY_REQUESTS:
        return False
    if not error.retry_after:
        return False
    shared = _held.setdefault(_name(request, target, key), Pacer(Pace(_FIRST_RATE), is_shared=True))
    shared.pace.hold(error.retry_after)
    return True


def _name(request: Request, target: Target, key: SecretStr | None) -> tuple[str, int, str]:
    return target.origin, hash(key and key.get_secret_value()), str(request.model)
