"""Keep the state of one call through its attempts, and decide whether to make another."""

from __future__ import annotations

import logging
import sys
import traceback
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from langchain_promptrun._errors.mapping import is_retried, request_id
from langchain_promptrun._http.exceptions import (
    client_exceptions,
    connection_lost,
    convert_exception,
    linked_exceptions,
    raised_by_signal_handler,
    stalled,
    timed_out,
)
from langchain_promptrun._http.request import target_of
from langchain_promptrun._pace.holds import ending_of, held, hold, hold_of
from langchain_promptrun.errors import PromptrunError, PromptrunRateLimitError, PromptrunTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from pydantic import SecretStr

    from langchain_promptrun._http.request import Parser, ParserFactory, Request, Timeouts
    from langchain_promptrun._pace.holds import HoldName, Pacer
    from langchain_promptrun._pace.pace import Pace

T = TypeVar("T")

logger = logging.getLogger("langchain_promptrun")

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
    """The state of one call; nothing is retried once an item was `delivered`.

    As a context it is an attempt, and notes what that fails with. Outside of any `except` the error is raised again
    without a trace of the HTTP client's exception, which holds the request and the key. An exception that is not of
    the connection goes on, without the locals of the frames below.
    """

    parser: Parser[T] | None
    feed: Callable[[bytes], Sequence[T]]

    def __init__(self, request: Request, new_parser: ParserFactory[T], clock: Callable[[], float]) -> None:
        self.request = request
        self.target = target_of(request)
        self.key: SecretStr | None = None
        self.attempt = 0
        self.delivered = False
        self.proxy: str | None = None
        self.pace: Pace | None = None
        self.ends_at = inf if request.deadline is None else clock() + request.deadline
        self._new_parser = new_parser
        self._clock = clock
        self._late_error: PromptrunTimeoutError | None = None
        self._reset()

    def _reset(self) -> None:
        self.error: BaseException | None = None
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

    # The turn of an attempt.

    def pacer(self, key: SecretStr | None) -> Pacer | None:
        """Return what makes the next attempt, with this key, wait for its turn: the call's own limiter, else a hold."""
        self.key = key
        if self.request.pacer is not None or not self.request.max_retries or not held:
            return self.request.pacer
        return hold_of(self._hold_name())

    def _hold_name(self) -> HoldName:
        secret = None if self.key is None else self.key.get_secret_value()
        return self.target.origin, hash(secret), str(self.request.model)

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
        self.pace = pacer.pace
        return self.ends_at

    # The response of an attempt.

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
                # the clock starts at the first bytes without content, so that it is not read while content comes
                now = self._clock()
                if self._quiet_since is None:
                    self._quiet_since = now
                elif now - self._quiet_since >= (limit := self._limit):
                    raise stalled(limit) if limit == self._stall else timed_out("read", limit)
            return items

        return feed

    def _until_deadline(self, feed_parser: Callable[[bytes], Sequence[T]]) -> Callable[[bytes], Sequence[T]]:
        def feed(data: bytes) -> Sequence[T]:
            if self.time_left() <= 0:
                raise self.deadline_error("read")
            return feed_parser(data)

        return feed

    def handing_out(self) -> Callable[[Sequence[T]], Iterable[T]] | None:
        """Return what yields items within the deadline, and as lent by a pace; None where neither limits them."""
        pace = self.pace
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

    # Time.

    def time_left(self) -> float:
        return self.ends_at - self._clock()

    def within_deadline(self, timeout: float | None) -> float | None:
        return timeout if self.ends_at == inf else _least(timeout, max(self.time_left(), _SHORTEST_TIMEOUT))

    def timeouts(self) -> Timeouts:
        # httpcore waits for the headers, and aiohttp for every byte, as long as for reading
        return self.request.timeouts._replace(read=self.read_timeout())

    def timeout_extension(self) -> dict[str, float | None]:
        timeouts = self.timeouts()
        return timeouts._asdict() if self.request.deadline is None else ShrinkingTimeouts(self, timeouts)

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

    def deadline_error(self, phase: str) -> PromptrunTimeoutError:
        doing = "reading the response" if phase == "read" and self.parser is not None else _DOING[phase]
        self._late_error = PromptrunTimeoutError(
            f"The call did not end within its deadline of {self.request.deadline:g} s. It was {doing}, in attempt "
            f"{self.attempt + 1} of {self.request.max_retries + 1}. Increase `deadline` if it needs longer.",
            phase=phase,
            partial=None if self.parser is None else self.parser.partial or None,
        )
        return self._late_error

    # The end of an attempt.

    def __enter__(self) -> None:
        self._before = sys.exception()
        self.request.under_way = True
        # an answer ends only a hold that began before the request
        self.end_hold = ending_of(self._hold_name()) if held else None
        self._began_at = 0.0 if self.pace is None else self.pace.now()

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if self.pace is not None:
            status, wait = getattr(error, "status_code", None), getattr(error, "retry_after", None)
            is_refused = status == HTTPStatus.TOO_MANY_REQUESTS and getattr(error, "is_retryable", True)
            self.pace.end(self._began_at, refused=is_refused, wait=wait, headers=self.headers)
            self.pace = None
        is_ended = error is not None and self._ends(error)
        self.request.under_way = error is not None and not is_ended
        return is_ended

    def _ends(self, error: BaseException) -> bool:
        if isinstance(error, PromptrunError):
            self.record_error(error)
            return True
        is_clients = isinstance(error, client_exceptions())
        interruption = raised_by_signal_handler(error, self._before) if is_clients else None
        if is_clients and interruption is None:
            timeouts = self.request.timeouts
            converted = convert_exception(error, self._before, self.target.origin, timeouts, self.proxy)
            self.record_error(converted or self.silence_error())
            return True
        # tools that show tracebacks would show the key and the prompt in the locals below
        for linked in linked_exceptions(error, self._before):
            traceback.clear_frames(linked.__traceback__)
        self.error = interruption
        return is_clients

    def is_interrupted(self, error: BaseException) -> bool:
        return raised_by_signal_handler(error, self._before) is not None

    def record_error(self, error: PromptrunError) -> None:
        """Note what the attempt ended with, and add what only the call knows."""
        if isinstance(error, PromptrunTimeoutError) and error.status_code is None and self.time_left() < _TOLERANCE:
            error = self._late_error or self.deadline_error(error.phase or "read")
        if error.request_id is None:
            error.request_id = request_id(self.headers)
        if error.partial is None and self.parser is not None:
            error.partial = self.parser.partial or None
        self.error = error

    def end_attempt(self, random: Callable[[], float]) -> float:
        """Forget the response; return the delay before the next attempt, or raise what this one ended with."""
        error = self.error or connection_lost("the attempt ended without a response")
        self._reset()
        is_last = self.delivered or error is self._late_error
        delay = None if is_last else retry_delay(error, self.attempt, self.request, random)
        is_held = self._hold(error)
        if delay is not None and delay >= self.time_left():
            late = self.deadline_error("retry")
            late.__cause__ = error.with_traceback(None)
            error, delay = late, None
        if delay is None:
            try:
                # the frames below hold the response
                raise error.with_traceback(None)
            finally:
                del error
        self.attempt += 1
        _log_retry(self, delay, error)
        # the hold makes it wait, in its turn
        return 0.0 if is_held else delay

    def _hold(self, error: BaseException) -> bool:
        """Hold calls back after a refusal with a wait; return whether it was one."""
        wait = error.retry_after if isinstance(error, PromptrunRateLimitError) and error.is_retryable else None
        if not wait or self.request.model is None:
            return False
        hold(self._hold_name(), wait)
        return True


def _log_retry(call: CallState[Any], delay: float, error: BaseException) -> None:
    """Log a retry without the server's words, which may quote the request."""
    request, status = call.request, getattr(error, "status_code", None)
    logger.info(
        "Retrying %s %s in %.2f s (attempt %d of %d): %s",
        request.method,
        call.target.label,
        delay,
        call.attempt + 1,
        request.max_retries + 1,
        type(error).__name__ if status is None else f"{type(error).__name__} ({status})",
    )


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
