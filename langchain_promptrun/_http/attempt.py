"""Keep the state of one call through its attempts, and decide whether to make another."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from langchain_promptrun._errors.mapping import request_id
from langchain_promptrun._errors.retryable import is_retried
from langchain_promptrun._http.exceptions import connection_lost, convert_exception, stalled, timed_out
from langchain_promptrun.errors import PromptrunError, PromptrunRateLimitError, PromptrunTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langchain_promptrun._http.request import Parser, ParserFactory, Request, Timeouts
    from langchain_promptrun._pace.holds import Pacer
    from langchain_promptrun._pace.pace import Pace

T = TypeVar("T")

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
_SHORTEST_TIMEOUT = 0.001
_TOLERANCE = 0.005
"""Seconds by which a time-out may come before the deadline that it was made of."""
_DOING = {
    "connect": "connecting",
    "pool": "waiting for a connection of the pool",
    "write": "sending the request",
    "read": "waiting for the response",
    "retry": "going to wait for a retry",
    "turn": "waiting for its turn",
}
_DOUBLINGS = 4  # 0.5 s doubled four times is the longest pause


def retry_delay(error: BaseException, attempt: int, request: Request, random: Callable[[], float]) -> float | None:
    """Return the seconds to wait before the next attempt; None to give up.

    A server's `Retry-After` is obeyed to the second. Without one the pause is random between 0 and 0.5 s, doubled
    with each attempt up to 8 s (exponential backoff with full jitter), so that many callers do not come back together.
    """
    if attempt >= request.max_retries or not isinstance(error, PromptrunError) or not is_retried(error):
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= request.max_retry_after else None
    longest: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, _DOUBLINGS))
    return random() * longest


class CallState(Generic[T]):
    """The state of one call; nothing is retried once an item was `delivered`."""

    parser: Parser[T] | None
    feed: Callable[[bytes], Sequence[T]]

    def __init__(self, request: Request, new_parser: ParserFactory[T], origin: str, clock: Callable[[], float]) -> None:
        self.request = request
        self._new_parser = new_parser
        self._origin = origin
        self._clock = clock
        self.ends_at = inf if request.deadline is None else clock() + request.deadline
        self._late_error: PromptrunTimeoutError | None = None
        self.attempt = 0
        self.delivered = False
        self.proxy: str | None = None
        self._reset()

    def _reset(self) -> None:
        self._error: BaseException | None = None
        self.parser = None
        self.headers: Mapping[str, str] = {}
        self._quiet_since: float | None = None
        self._set_limits(stream=self.request.streamed)

    def _set_limits(self, *, stream: bool) -> None:
        request = self.request
        self._stall = request.stream_chunk_timeout if stream else None
        self._limit = self._stall
        if self._stall is not None and not request.stall_before_first:
            self._limit = request.timeouts.read

    def begin_response(self, status: int, headers: Mapping[str, str]) -> Parser[T]:
        self.headers = headers
        parser = self.parser = self._new_parser(status, headers)
        if "event-stream" in headers.get("content-type", ""):
            self._set_limits(stream=True)
        if self._stall is None:
            self.feed = parser.feed
        else:
            self._quiet_since = self._clock()
            self.feed = self._watched(parser)
        if self.ends_at != inf:
            self.feed = self._until_deadline(self.feed)
        return parser

    def _watched(self, parser: Parser[T]) -> Callable[[bytes], Sequence[T]]:
        """Feed the parser, and raise when bytes keep coming without content in them."""
        feed_parser = parser.feed
        seen = parser.content_seen

        def feed(data: bytes) -> Sequence[T]:
            nonlocal seen
            items = feed_parser(data)
            if parser.content_seen != seen:
                seen = parser.content_seen
                self._quiet_since = None
                self._limit = self._stall
            elif self._limit is not None:
                self._check_quiet(self._limit)
            return items

        return feed

    def _until_deadline(self, feed_parser: Callable[[bytes], Sequence[T]]) -> Callable[[bytes], Sequence[T]]:
        def feed(data: bytes) -> Sequence[T]:
            if self.time_left() <= 0:
                raise self.deadline_error("read")
            return feed_parser(data)

        return feed

    def handing_out(self, pace: Pace | None) -> Callable[[Sequence[T]], Iterable[T]] | None:
        """Return what yields items within the deadline, and as lent by a pace; None where neither limits them."""
        if pace is None:
            return None if self.ends_at == inf else self.in_time
        return lambda items: pace.lend(self.in_time(items))

    def in_time(self, items: Sequence[T]) -> Iterable[T]:
        """Return items, which come one by one within the deadline."""
        return items if self.ends_at == inf else self._until_late(items)

    def _until_late(self, items: Sequence[T]) -> Iterator[T]:
        for item in items:
            if self.time_left() <= 0:
                raise self.deadline_error("read")
            yield item

    def _check_quiet(self, limit: float) -> None:
        """Start the clock at the first bytes without content, so that it is not read while content comes."""
        now = self._clock()
        if self._quiet_since is None:
            self._quiet_since = now
        elif now - self._quiet_since >= limit:
            raise stalled(limit) if limit == self._stall else timed_out("read", limit)

    def time_left(self) -> float:
        return self.ends_at - self._clock()

    def within_deadline(self, timeout: float | None) -> float | None:
        return timeout if self.ends_at == inf else _least(timeout, max(self.time_left(), _SHORTEST_TIMEOUT))

    def deadline_error(self, phase: str) -> PromptrunTimeoutError:
        doing = "reading the response" if phase == "read" and self.parser is not None else _DOING[phase]
        self._late_error = PromptrunTimeoutError(
            f"The call did not end within its deadline of {self.request.deadline:g} s. It was {doing}, in attempt "
            f"{self.attempt + 1} of {self.request.max_retries + 1}. Increase `deadline` if it needs longer.",
            phase=phase,
            partial=None if self.parser is None else self.parser.partial or None,
        )
        return self._late_error

    def limit_of_wait(self, pacer: Pacer) -> float:
        """Return the time until which the call may wait for its turn; raises where a hold is longer."""
        left = pacer.pace.hold_left()
        if left > (longest := self.request.max_retry_after):
            instead = ", or set `max_retries=0` to send at once" if pacer.is_shared else ""
            raise PromptrunRateLimitError(
                "Nothing was sent: the server refused an earlier call of this process with status 429 and a wait. "
                f"{left:.1f} s are left, more than `max_retry_after` = {longest:g}. Increase it to wait{instead}.",
                retry_after=left,
            )
        if left >= self.time_left():
            raise self.deadline_error("turn")
        return self.ends_at

    def read_timeout(self) -> float | None:
        """Return the seconds without a byte that end the attempt now; None for no limit."""
        return self.within_deadline(_least(self.request.timeouts.read, self._limit))

    def shortest_read_timeout(self) -> float | None:
        return _least(self.request.timeouts.read, self._stall)

    def silence_error(self) -> PromptrunError:
        read, limit = self.request.timeouts.read, self._limit
        if limit is not None and (read is None or limit < read):
            return stalled(limit)
        return timed_out("read", read)

    def record_error(self, error: PromptrunError) -> None:
        """Note what the attempt ended with, and add what only the call knows."""
        if isinstance(error, PromptrunTimeoutError) and error.status_code is None and self.time_left() < _TOLERANCE:
            error = self._late_error or self.deadline_error(error.phase or "read")
        if error.request_id is None:
            error.request_id = request_id(self.headers)
        if error.partial is None and self.parser is not None:
            error.partial = self.parser.partial or None
        self._error = error

    def record_exception(self, exception: Exception, before: BaseException | None) -> None:
        """Note the exception of the HTTP client that the attempt ended with, and the one handled before it."""
        error = convert_exception(exception, before, self._origin, self.request.timeouts, self.proxy)
        self.record_error(error or self.silence_error())

    def record_interruption(self, exception: BaseException) -> None:
        self._error = exception

    def end_attempt(self, random: Callable[[], float]) -> tuple[BaseException, float | None]:
        """Forget the response; return what the attempt ended with, and the delay before the next, None to give up."""
        error = self._error or connection_lost("the attempt ended without a response")
        self._reset()
        is_last = self.delivered or error is self._late_error
        delay = None if is_last else retry_delay(error, self.attempt, self.request, random)
        if delay is not None and delay >= self.time_left():
            late = self.deadline_error("retry")
            late.__cause__ = error.with_traceback(None)
            return late, None
        self.attempt += delay is not None
        return error, delay


class ShrinkingTimeouts(dict[str, float | None]):
    """Time-outs of a request; httpcore asks for each as its phase begins."""

    def __init__(self, call: CallState[Any], timeouts: Timeouts) -> None:
        super().__init__(timeouts._asdict())
        self._call = call

    def get(self, phase: str, default: Any = None) -> Any:
        return self._call.within_deadline(super().get(phase, default))


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
