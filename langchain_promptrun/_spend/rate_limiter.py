"""A rate limiter that learns what a server bears."""

from __future__ import annotations

from functools import partial
from math import inf
from operator import attrgetter
from typing import Any

from langchain_core.rate_limiters import BaseRateLimiter
from typing_extensions import override

from langchain_promptrun._pace import Pacer


class AdaptiveRateLimiter(BaseRateLimiter):
    """Learns how many requests a second, and how many at once, a server bears.

    Set it as `rate_limiter` of one or more models that share a limit. The rate doubles twice a second until the server
    refuses a request with status 429; from then on it keeps below what the server took, and grows slowly. Waits that
    the server asks for, and `x-ratelimit-*` headers, are kept to. ChatPromptrun reports how each attempt ended, and
    holds a place until it ended. Models of other packages are paced only.
    """

    def __init__(
        self,
        *,
        initial_rate: float = 10.0,
        lowest_rate: float = 0.1,
        highest_rate: float | None = None,
        max_concurrency: int | None = None,
    ) -> None:
        """Set where to begin and how far to go.

        Args:
            initial_rate: Requests a second to begin with.
            lowest_rate: Requests a second that are always tried.
            highest_rate: Most requests a second. None: no limit of its own.
            max_concurrency: Most requests of ChatPromptrun at once. None: no limit of its own.

        Raises:
            ValueError: Rates that are not above 0 and in order, or no concurrency.
        """
        highest = inf if highest_rate is None else highest_rate
        most = inf if max_concurrency is None else max_concurrency
        if not 0 < lowest_rate <= initial_rate <= highest or most < 1:
            raise ValueError(
                "AdaptiveRateLimiter needs 0 < `lowest_rate` <= `initial_rate` <= `highest_rate` and "
                f"`max_concurrency` >= 1, not {lowest_rate}, {initial_rate}, {highest_rate} and {max_concurrency}."
            )
        rates: dict[str, Any] = {"initial_rate": initial_rate, "lowest_rate": lowest_rate, "highest_rate": highest_rate}
        self._settings = {**rates, "max_concurrency": max_concurrency}
        self.pacer = Pacer(initial_rate, lowest=lowest_rate, highest=highest, concurrency=most)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings; what was learned belongs to this process."""
        return partial(type(self), **self._settings), ()

    def __repr__(self) -> str:
        figures = f"rate={self.rate:.1f}, in_flight={self.in_flight}, sent={self.sent}, refused={self.refused}"
        return f"AdaptiveRateLimiter({figures})"

    @override
    def acquire(self, *, blocking: bool = True) -> bool:
        if not blocking:
            return self.pacer.turns.try_now(self._ask)
        self.pacer.turns.wait(self._ask)
        return True

    @override
    async def aacquire(self, *, blocking: bool = True) -> bool:
        if blocking:
            await self.pacer.turns.async_wait(self._ask)
        return blocking or self.pacer.turns.try_now(self._ask)

    def _ask(self) -> float:
        return self.pacer.ask(place=False)

    rate = property(attrgetter("pacer.rate"), doc="Requests a second that are tried now.")
    concurrency = property(attrgetter("pacer.concurrency"), doc="Requests at once that are tried now.")
    in_flight = property(attrgetter("pacer.in_flight"), doc="Requests under way.")
    sent = property(attrgetter("pacer.sent"), doc="Number of requests sent so far.")
    refused = property(attrgetter("pacer.refused"), doc="Number of requests refused with status 429 so far.")

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return len(self.pacer.turns) + len(self.pacer.attempts)
