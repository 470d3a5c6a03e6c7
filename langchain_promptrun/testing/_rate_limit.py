"""A rate limit of the stand-in server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_promptrun.testing._requests import RecordedRequest


@dataclass
class RateLimit:
    """Answers status 429 where requests come too fast; a bucket of `burst` requests fills at the rate.

    Args:
        per_second: Requests a second that the server bears.
        burst: Requests that may come at once after a rest. None: those of a second.
        retry_after: Seconds that a refused request is told to wait; None: it is told nothing.
        concurrent: Requests that may be under way at once; None: any number.
        headers: Whether responses carry `x-ratelimit-*` headers, as OpenAI documents them.

    Attributes:
        refused: How many requests were refused.
    """

    per_second: float
    burst: float | None = None
    retry_after: float | None = 1.0
    concurrent: int | None = None
    headers: bool = False
    refused: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._left = self._size
        self._since = time.monotonic()

    @property
    def _size(self) -> float:
        return max(1.0, self.per_second if self.burst is None else self.burst)

    def admits(self, requests: Sequence[RecordedRequest]) -> bool:
        """Take a request out of the bucket, if it may come now beside earlier ones."""
        now = time.monotonic()
        self._left = min(self._size, self._left + (now - self._since) * self.per_second)
        self._since = now
        full = self.concurrent is not None and sum(request.in_flight for request in requests) >= self.concurrent
        if self._left < 1 or full:
            self.refused += 1
            return False
        self._left -= 1
        return True

    def response_headers(self, status: int) -> list[tuple[str, str]]:
        """Return the headers of a response."""
        found = []
        if status == HTTPStatus.TOO_MANY_REQUESTS and self.retry_after is not None:
            found.append(("retry-after", f"{self.retry_after:g}"))
        if self.headers:
            full = (self._size - self._left) / self.per_second
            found += [
                ("x-ratelimit-limit-requests", f"{self._size:g}"),
                ("x-ratelimit-remaining-requests", f"{int(self._left)}"),
                ("x-ratelimit-reset-requests", f"{full:.3f}s"),
            ]
        return found
