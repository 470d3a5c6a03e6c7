"""Convert the HTTP client's exceptions to errors of this package, by two tables of their classes' names.

Their words are taken over only where they quote neither the request nor the URL.
"""

from __future__ import annotations

import re
import sys
import traceback
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import httpx

from langchain_promptrun._errors.body import tidy
from langchain_promptrun.errors import (
    PromptrunConnectionError,
    PromptrunError,
    PromptrunStreamStalledError,
    PromptrunTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from langchain_promptrun._http.request import Timeouts

_REASON_LIMIT = 300


class Row(NamedTuple):
    message: str
    is_retryable: bool = True


LOST = Row("The connection was lost before the response was complete: {reason}.")
NOT_HTTP = Row("The server's response is not valid HTTP: {reason}. Check the server and its proxies.", False)
_TABLE = {
    "ConnectError ProxyError ClientConnectorError ClientHttpProxyError": Row(
        "Cannot connect to {origin}{via}: {reason}. Check `base_url`, the network and the proxy variables."
    ),
    "SSLCertVerificationError": Row(
        "Cannot connect to {origin}{via}: {reason}. Name the file of the server's certificate authority in the "
        "environment variable SSL_CERT_FILE, or give a client that trusts it as `http_client` and `http_async_client`.",
        False,
    ),
    "WRONG_VERSION_NUMBER RECORD_LAYER_FAILURE": Row(
        'Cannot connect to {origin}{via}: this port does not speak TLS ({reason}). Use "http://" in place of '
        '"https://", or another port.',
        False,
    ),
    "InvalidURL UnsupportedProtocol": Row(
        "Cannot connect to {origin}: this is not the URL of a web server. Check `base_url`.", False
    ),
    "RemoteProtocolError BadStatusLine PayloadEncodingError ClientPayloadError ClientResponseError": NOT_HTTP,
    "LocalProtocolError": Row("The request is not valid HTTP. Check the headers.", False),
    # raised by a caller's client whose hook reads the body
    "DecodingError": Row("The response cannot be decoded: {reason}. Check its Content-Encoding.", False),
}
"""By the names of exceptions' classes, and OpenSSL's of reasons."""
_ROWS = {name: row for names, row in _TABLE.items() for name in names.split()}
_PHASES = {"ConnectTimeout": "connect", "ReadTimeout": "read", "WriteTimeout": "write", "PoolTimeout": "pool"}
_PHASES |= {"ConnectionTimeoutError": "connect", "ServerTimeoutError": "read"}  # aiohttp's
_TIMEOUTS = {
    "connect": "No connection could be made{via}{limit}. Increase `timeout` if the network is slow.",
    "read": "The server sent nothing{limit}. Increase `timeout` if the model needs longer; the request may be billed.",
    "write": "The request could not be sent{limit}. Increase `timeout` if it is large or the network is slow.",
    "pool": "No connection of the pool became free{limit}. Increase `max_connections` or `timeout`.",
}
_TELLING = {"SSLCertVerificationError", "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}
_TELLING |= {"BadStatusLine", "PayloadEncodingError"}
"""Causes that say more than the exception they are the cause of."""
# h11's, httpcore's, h2's and aiohttp's words for a connection that ended; they have one class for both
_ENDED = "closed connection|disconnected|ConnectionTerminated|StreamReset|enough data|not completed"


def convert_exception(
    exception: BaseException,
    before: BaseException | None,
    origin: str,
    timeouts: Timeouts,
    stall: float | None,
    proxy: str | None,
) -> PromptrunError:
    """Return the error for an exception of the HTTP client; `stall` is the limit for silence at the moment."""
    causes = list(linked_exceptions(exception, before))
    # httpx-aiohttp calls a refused connection, a failed lookup and an early reset all a connect time-out
    cause = causes[1] if len(causes) > 1 and "ClientError" in _names(causes[1]) else causes[0]
    cause = next((telling for telling in causes if _TELLING.intersection(_names(telling))), cause)
    name = next((name for known in (_TELLING, _ROWS, _PHASES) for name in _names(cause) if name in known), "")
    via = "" if proxy is None else f" through the proxy {proxy}"
    if (phase := _PHASES.get(name)) is not None:
        if phase == "read" and stall is not None and (timeouts.read is None or stall < timeouts.read):
            return stalled(stall)
        return timed_out(phase, getattr(timeouts, phase), via)
    row = _ROWS.get(name, LOST)
    if row is NOT_HTTP and re.search(_ENDED, str(cause)):
        row = LOST
    # all words of ClientResponseError, but for `message`, quote the URL; of ServerDisconnectedError it may be the head
    message = getattr(cause, "message", str(cause))
    reason = tidy(message, _REASON_LIMIT).rstrip(".") if isinstance(message, str) else ""
    return connection_error(row, reason or type(cause).__name__, origin, via)


def _names(exception: BaseException) -> list[str]:
    return [str(getattr(exception, "reason", "")), *(kind.__name__ for kind in type(exception).__mro__)]


def connection_error(row: Row, reason: str, origin: str = "", via: str = "") -> PromptrunConnectionError:
    error = PromptrunConnectionError(row.message.format(origin=origin, via=via, reason=reason))
    if not row.is_retryable:
        error.is_retryable = False
    return error


def timed_out(phase: str, seconds: float | None, via: str = "") -> PromptrunTimeoutError:
    return PromptrunTimeoutError(_TIMEOUTS[phase].format(limit=_within(seconds), via=via), phase=phase)


def stalled(seconds: float) -> PromptrunStreamStalledError:
    """Return the error for a stream that brought no content, keep-alive comments or not."""
    return PromptrunStreamStalledError(
        f"The stream brought no content{_within(seconds)}. "
        "Increase `stream_chunk_timeout` if the model pauses longer; None waits without limit.",
        phase="read",
    )


def _within(seconds: float | None) -> str:
    return "" if seconds is None else f" within {seconds:g} s"


_HTTPX_EXCEPTIONS: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)


def client_exceptions() -> tuple[type[Exception], ...]:
    """Return what HTTP clients raise when a connection fails, aiohttp too where it is loaded."""
    aiohttp = sys.modules.get("aiohttp")
    return _HTTPX_EXCEPTIONS if aiohttp is None else (*_HTTPX_EXCEPTIONS, aiohttp.ClientError)


def linked_exceptions(exception: BaseException, before: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it came of, up to the one that was being handled before."""
    linked: BaseException | None = exception
    while linked is not None and linked is not before:
        yield linked
        linked = linked.__cause__ or linked.__context__


def raised_by_signal_handler(exception: BaseException, before: BaseException | None) -> BaseException | None:
    """Return the exception of a signal handler that an HTTP client took for one of the network.

    httpcore and aiohttp convert every OSError, TimeoutError included, that comes up while they read or write.
    """
    for linked in linked_exceptions(exception, before):
        frames = [frame for frame, _ in traceback.walk_tb(linked.__traceback__)]
        if any(_is_handler(frame, interrupted) for interrupted, frame in pairwise(frames)):
            return linked
    return None


def _is_handler(frame: FrameType, interrupted: FrameType) -> bool:
    # a handler of any shape has the frame that it interrupts as an argument
    found = list(frame.f_locals.values())
    found += [item for value in found if isinstance(value, tuple) for item in value]
    return any(value is interrupted for value in found)
