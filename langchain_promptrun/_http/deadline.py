"""End calls at their deadline: time-outs that shrink towards it, and a timer for async calls."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from langchain_promptrun._http.attempt import CallState
    from langchain_promptrun._http.request import Timeouts

T = TypeVar("T")

_GRACE = 0.02
"""Seconds after the deadline for the time-outs of the phases, which say more than the timer."""


class ShrinkingTimeouts(dict[str, float | None]):
    """Time-outs of a request; httpcore asks for each as its phase begins."""

    def __init__(self, call: CallState[Any], timeouts: Timeouts) -> None:
        super().__init__(timeouts._asdict())
        self._call = call

    def get(self, phase: str, default: Any = None) -> Any:
        """Return the time-out of a phase, which ends with the call at the latest."""
        return self._call.within_deadline(super().get(phase, default))


async def until_deadline(items: AsyncGenerator[T], call: CallState[T]) -> AsyncGenerator[T]:
    """Yield what an async call yields, and end it at its deadline."""
    async with aclosing(items):
        while True:
            try:
                async with asyncio.timeout(max(call.time_left(), 0.0) + _GRACE) as limit:
                    item = await anext(items)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not limit.expired():
                    raise
                raise call.deadline_error("read") from None
            yield item
