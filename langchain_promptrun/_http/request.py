"""One call on its way: what to send, how to read the answer, and where the call stands after each step.

Owns the plain data that the model hands to the transport, and the state of one call through all its attempts: what
came, whether the stream has gone silent, which error a fault of the connection is. Pure: no I/O, and the clock is
passed in.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from pydantic import SecretStr

from langchain_promptrun._errors.mapping import request_id
from langchain_promptrun._http.exceptions import connection_lost, stalled, timed_out
from langchain_promptrun._http.faults import error_of_fault

if TYPE_CHECKING:
    from langchain_promptrun.errors import PromptrunError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

ApiKey = str | SecretStr | Callable[[], str | SecretStr | Awaitable[str | SecretStr]]
"""A key, or a function, plain or async, that is asked for it at each attempt."""

# RFC 9110, 5.1 and 5.5, without obs-text: what one client sends as Latin-1, the other sends as UTF-8
_HEADER_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEADER_VALUE = r"(?:[!-~](?:[\t -~]*[!-~])?)?"
_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding"})


class Timeouts(NamedTuple):
    """Limits of one attempt, in seconds, None for no limit.

    Attributes:
        connect: For the connection to come about, TLS included.
        read: Without a byte from the server.
        write: For a piece of the request to be taken.
        pool: For a connection of a full pool to become free.
    """

    connect: float | None = None
    read: float | None = None
    write: float | None = None
    pool: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """The form that httpx takes as an extension of a request."""
        return self._asdict()

    def total(self) -> float | None:
        """The longest that it may take until the answer begins; None for no limit."""
        known = [limit for limit in self if limit is not None]
        return sum(known) if len(known) == len(self) else None


@dataclass(slots=True)
class Request:
    """What to send, and how patiently.

    Attributes:
        method: The HTTP method.
        url: The absolute URL.
        body: The request's body, None for none.
        headers: Headers, checked with `check_headers`; Authorization is not among them.
        api_key: The key, or who to ask for it; None for a server that needs none.
        timeouts: Limits of each attempt.
        query: Added to the URL's query.
        stream_chunk_timeout: Seconds without content that end a stream. None for no such limit: then only bytes
            count.
        streamed: Whether a stream was asked for. If not, `stream_chunk_timeout` counts only where one comes.
        stall_before_first: Whether `stream_chunk_timeout` counts before the first content too, instead of the read
            time-out.
        max_retries: Attempts after the first.
        max_retry_after: The longest wait, in seconds, that a server may ask for.
        model: The model's id, for error messages.
    """

    method: str
    url: str
    body: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    api_key: ApiKey | None = field(repr=False)
    timeouts: Timeouts
    query: Mapping[str, object] | None = field(default=None, repr=False)
    stream_chunk_timeout: float | None = None
    streamed: bool = True
    stall_before_first: bool = False
    max_retries: int = 2
    max_retry_after: float = 60.0
    model: str | None = None


class Parser(Protocol[T_co]):
    """Takes an answer's decoded bytes and makes items of them."""

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, so that nothing more needs to be read."""

    @property
    def content_seen(self) -> int:
        """Differs from before when `feed` saw content; keep-alives are none."""

    @property
    def partial(self) -> str:
        """The text so far, for errors."""

    def feed(self, data: bytes) -> Sequence[T_co]:
        """Take the next bytes; raises PromptrunError."""

    def close(self) -> Sequence[T_co]:
        """Take the end, after the last byte or once `finished`; raises PromptrunError."""


ParserFactory = Callable[[int, Mapping[str, str]], Parser[T_co]]
"""Makes the parser of an answer, given its 2xx status and its headers (names in lower case)."""


def check_headers(headers: Mapping[str, str]) -> None:
    """Check headers that a caller gave.

    Args:
        headers: Names and values.

    Raises:
        ValueError: A name or a value cannot go into a header, or the header is not the caller's to set. The message
            names the header and never shows its value.
        TypeError: A name or a value is not a string.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"The header {name!r} must be a string and have a string as its value.")
        if not re.fullmatch(_HEADER_NAME, name):
            raise ValueError(f"The header name {name!r} has characters that no header name may have.")
        if not re.fullmatch(_HEADER_VALUE, value):
            raise ValueError(
                f"The value of the header {name!r} has characters that it may not have: only visible ASCII is "
                "allowed, with spaces and tabs in between."
            )
        if name.lower() in _FRAMING_HEADERS:
            raise ValueError(f"The header {name!r} follows from the body and cannot be set.")


class Call(Generic[T]):
    """The state of one call.

    Args:
        request: What to send.
        new_parser: Makes the parser of each attempt.
        origin: Scheme, host and port, for error messages.
        clock: Seconds, never going back.

    Attributes:
        attempt: The number of the attempt, the first one being 0.
        delivered: Whether an item was handed out; nothing is retried then.
        parser: The parser of the answer that has begun.
        push: Feeds the parser and gives its items; raises PromptrunError, also when content stays away.
    """

    __slots__ = (
        "_clock",
        "_error",
        "_headers",
        "_limit",
        "_new_parser",
        "_origin",
        "_quiet_since",
        "_stall",
        "attempt",
        "delivered",
        "parser",
        "push",
        "request",
    )

    parser: Parser[T] | None
    push: Callable[[bytes], Sequence[T]]

    def __init__(self, request: Request, new_parser: ParserFactory[T], origin: str, clock: Callable[[], float]) -> None:
        self.request = request
        self._new_parser = new_parser
        self._origin = origin
        self._clock = clock
        self.attempt = 0
        self.delivered = False
        self._forget()

    def _forget(self) -> None:
        """There is no answer yet, or no more."""
        self._error: PromptrunError | None = None
        self.parser = None
        self._headers: Mapping[str, str] = {}
        self._quiet_since: float | None = None
        self._expect(stream=self.request.streamed)

    def _expect(self, *, stream: bool) -> None:
        """Set the limits on silence before the first content."""
        request = self.request
        self._stall = request.stream_chunk_timeout if stream else None
        self._limit = self._stall
        if self._stall is not None and not request.stall_before_first:
            self._limit = request.timeouts.read

    def begin_answer(self, status: int, headers: Mapping[str, str]) -> Parser[T]:
        """A 2xx answer has begun."""
        self._headers = headers
        parser = self.parser = self._new_parser(status, headers)
        if "event-stream" in headers.get("content-type", ""):
            self._expect(stream=True)
        if self._stall is None:
            self.push = parser.feed
        else:
            self._quiet_since = self._clock()
            self.push = self._watched(parser)
        return parser

    def _watched(self, parser: Parser[T]) -> Callable[[bytes], Sequence[T]]:
        """Feed the parser, but raise when bytes keep coming without content in them."""
        feed = parser.feed
        seen = parser.content_seen

        def push(data: bytes) -> Sequence[T]:
            nonlocal seen
            items = feed(data)
            if parser.content_seen != seen:
                seen = parser.content_seen
                self._quiet_since = None
                self._limit = self._stall
            elif self._limit is not None:
                self._check_quiet(self._limit)
            return items

        return push

    def _check_quiet(self, limit: float) -> None:
        """Start the clock at the first bytes without content, so that it is not read while content comes."""
        now = self._clock()
        if self._quiet_since is None:
            self._quiet_since = now
        elif now - self._quiet_since >= limit:
            raise stalled(limit) if limit == self._stall else timed_out("read", limit)

    def patience(self) -> float | None:
        """Seconds without a byte that end the attempt now; None for no limit."""
        return _least(self.request.timeouts.read, self._limit)

    def shortest_patience(self) -> float | None:
        """The least that `patience` will be."""
        return _least(self.request.timeouts.read, self._stall)

    def silent(self) -> PromptrunError:
        """The error for a server from which no byte came for as long as `patience`."""
        read, limit = self.request.timeouts.read, self._limit
        if limit is not None and (read is None or limit < read):
            return stalled(limit)
        return timed_out("read", read)

    def failed(self, error: PromptrunError) -> None:
        """The attempt ended with an error; add what only the call knows."""
        if error.request_id is None:
            error.request_id = request_id(self._headers)
        if error.partial is None and self.parser is not None:
            error.partial = self.parser.partial or None
        self._error = error

    def faulted(self, fault: Exception) -> None:
        """The attempt ended with an exception of the HTTP client."""
        self.failed(error_of_fault(fault, self._origin, self.request.timeouts.as_dict()) or self.silent())

    def end_attempt(self) -> PromptrunError:
        """Forget the attempt's answer, and give what it failed with."""
        error = self._error or connection_lost("the attempt ended without an answer")
        self._forget()
        return error


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
