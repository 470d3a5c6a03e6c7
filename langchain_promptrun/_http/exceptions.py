"""Convert the HTTP client's exceptions to errors of this package: one table of class and message.

httpx's and aiohttp's exceptions are known by the names of their classes. Their words are taken over only where they
quote neither the request nor the URL.
"""

from __future__ import annotations

import re
import sys
import traceback
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import httpx

from langchain_promptrun._errors.body import tidy
from langchain_promptrun.errors import (
    PromptrunConnectionError,
    PromptrunError,
    PromptrunStreamStalledError,
    PromptrunTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from langchain_promptrun._http.request import Timeouts

Phase = Literal["connect", "read", "write", "pool"]

_REASON_LIMIT = 300


class _Row(NamedTuple):
    message: str
    phase: Phase | None = None
    is_retryable: bool = True


_REFUSED = _Row("Cannot connect to {origin}{via}: {reason}. Check `base_url`, the network and the proxy variables.")
_UNTRUSTED = _Row(
    "Cannot connect to {origin}{via}: {reason}. Name the file of the server's certificate authority in the environment "
    "variable SSL_CERT_FILE, or give a client that trusts it as `http_client` and `http_async_client`.",
    None,
    False,
)
_NO_TLS = _Row(
    'Cannot connect to {origin}{via}: this port does not speak TLS ({reason}). Use "http://" in place of "https://", '
    "or another port.",
    None,
    False,
)
_LOST = _Row("The connection was lost before the response was complete: {reason}.")
_NOT_A_URL = _Row("Cannot connect to {origin}: this is not the URL of a web server. Check `base_url`.", None, False)
_NOT_HTTP = _Row("The server's response is not valid HTTP: {reason}. Check the server and its proxies.", None, False)
_NOT_CONNECTED = _Row("No connection could be made{via}{limit}. Increase `timeout` if the network is slow.", "connect")
_NOTHING_READ = _Row(
    "The server sent nothing{limit}. Increase `timeout` if the model needs longer; the request may be billed.", "read"
)
_NOT_SENT = _Row(
    "The request could not be sent{limit}. Increase `timeout` if it is large or the network is slow.", "write"
)
_POOL_FULL = _Row("No connection of the pool became free{limit}. Increase `max_connections` or `timeout`.", "pool")

_ROWS: Mapping[str, _Row] = {
    # any client's
    "SSLCertVerificationError": _UNTRUSTED,
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "InvalidURL": _NOT_A_URL,
    # aiohttp's
    "BadStatusLine": _NOT_HTTP,
    "PayloadEncodingError": _NOT_HTTP,
    "ClientPayloadError": _NOT_HTTP,
    "ClientHttpProxyError": _REFUSED,
    "ClientResponseError": _NOT_HTTP,
    "ClientConnectorError": _REFUSED,
    "ConnectionTimeoutError": _NOT_CONNECTED,
    "ServerTimeoutError": _NOTHING_READ,
    # httpx's
    "ConnectError": _REFUSED,
    "ProxyError": _REFUSED,
    "ConnectTimeout": _NOT_CONNECTED,
    "ReadTimeout": _NOTHING_READ,
    "WriteTimeout": _NOT_SENT,
    "PoolTimeout": _POOL_FULL,
    "RemoteProtocolError": _NOT_HTTP,
    # of a caller's client whose hook reads the body
    "DecodingError": _Row("The response cannot be decoded: {reason}. Check its Content-Encoding.", None, False),
    "LocalProtocolError": _Row("The request is not valid HTTP. Check the headers.", None, False),
    "UnsupportedProtocol": _NOT_A_URL,
}
_TELLING = frozenset(
    {
        "SSLCertVerificationError",
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "BadStatusLine",
        "PayloadEncodingError",
    }
)
"""Causes that say more than the exception they are the cause of."""
# h11's, httpcore's, h2's and aiohttp's words for a connection that ended; they have one class for both
_ENDED = "closed connection|disconnected|ConnectionTerminated|StreamReset|enough data|not completed"


def convert_exception(
    exception: BaseException, before: BaseException | None, origin: str, timeouts: Timeouts, proxy: str | None
) -> PromptrunError | None:
    """Return the error for an exception of the HTTP client; None for a read time-out, whose limit the caller knows."""
    via = "" if proxy is None else f" through the proxy {proxy}"
    cause, row = _explain(list(linked_exceptions(exception, before)))
    if row.phase == "read":
        return None
    if row.phase is not None:
        return timed_out(row.phase, getattr(timeouts, row.phase), via)
    error = PromptrunConnectionError(row.message.format(origin=origin, via=via, reason=_reason(cause)))
    if not row.is_retryable:
        error.is_retryable = False
    return error


def timed_out(phase: Phase, seconds: float | None, via: str = "") -> PromptrunTimeoutError:
    message = next(row.message for row in _ROWS.values() if row.phase == phase)
    return PromptrunTimeoutError(message.format(limit=_within(seconds), via=via), phase=phase)


def stalled(seconds: float) -> PromptrunStreamStalledError:
    """Return the error for a stream that brought no content, keep-alive comments or not."""
    return PromptrunStreamStalledError(
        f"The stream brought no content{_within(seconds)}. "
        "Increase `stream_chunk_timeout` if the model pauses longer; None waits without limit.",
        phase="read",
    )


def connection_lost(reason: str) -> PromptrunConnectionError:
    return PromptrunConnectionError(_LOST.message.format(reason=reason))


def not_http(reason: str) -> PromptrunConnectionError:
    error = PromptrunConnectionError(_NOT_HTTP.message.format(reason=reason))
    error.is_retryable = False
    return error


HTTPX_EXCEPTIONS: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)
"""What httpx raises when a connection fails."""


def client_exceptions() -> tuple[type[Exception], ...]:
    """Return what HTTP clients raise when a connection fails, aiohttp too where it is loaded."""
    aiohttp = sys.modules.get("aiohttp")
    return HTTPX_EXCEPTIONS if aiohttp is None else (*HTTPX_EXCEPTIONS, aiohttp.ClientError)


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
    """Tell a signal handler, of any shape, by its argument: the frame that it interrupts."""
    found = list(frame.f_locals.values())
    found += [item for value in found if isinstance(value, tuple) for item in value]
    return any(value is interrupted for value in found)


def _explain(causes: list[BaseException]) -> tuple[BaseException, _Row]:
    """Find what an exception goes back to, and its row.

    httpx-aiohttp calls a refused connection, a failed lookup and an early reset all a connect time-out.
    """
    for cause in causes:
        if telling := _TELLING.intersection(_names(cause)):
            name = next(iter(telling))
            break
    else:
        cause = causes[1] if len(causes) > 1 and "ClientError" in _names(causes[1]) else causes[0]
        name = next((name for name in _names(cause) if name in _ROWS), "")
    row = _ROWS.get(name, _LOST)
    return cause, _LOST if row is _NOT_HTTP and re.search(_ENDED, str(cause)) else row


def _names(exception: BaseException) -> list[str]:
    """Return the names of an exception's classes, and OpenSSL's name of the reason."""
    return [str(getattr(exception, "reason", "")), *(kind.__name__ for kind in type(exception).__mro__)]


def _reason(exception: BaseException) -> str:
    """Return an exception's words; all of ClientResponseError's, but for `message`, quote the URL."""
    message = getattr(exception, "message", None)
    words = message if isinstance(message, str) else str(exception)
    return tidy(words, _REASON_LIMIT).rstrip(".") or type(exception).__name__


def _within(seconds: float | None) -> str:
    return "" if seconds is None else f" within {seconds:g} s"
