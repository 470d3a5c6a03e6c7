"""Exceptions of HTTP clients -> errors of this package.

Knows httpx's and aiohttp's exceptions by the names of their classes, so neither is needed to read it. What they hold
of the request (headers, the key, the URL's query) goes nowhere: the errors made here refer to nothing of theirs, and
take over their words only where these are the system's or the server's. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from langchain_promptrun._http.exceptions import cannot_connect, connection_lost, timed_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_promptrun.errors import PromptrunError

Limits = Mapping[str, float | None]
_Maker = Callable[[Exception, str, Limits], "PromptrunError | None"]


def error_of_fault(fault: Exception, origin: str, limits: Limits) -> PromptrunError | None:
    """Make the error for an exception of the HTTP client.

    Args:
        fault: The exception.
        origin: Scheme, host and port that were asked.
        limits: The time-outs in seconds, by their phase.

    Returns:
        The error, not raised; None for a read time-out, whose limit the caller knows better.
    """
    cause = fault.__cause__
    # httpx-aiohttp calls a refused connection, a failed lookup and an early reset all a connect time-out
    if isinstance(cause, Exception) and "ClientError" in _names(cause):
        fault = cause
    if any("SSLCertVerificationError" in _names(one) for one in _chain(fault)):
        return _not_trusted(fault, origin, limits)
    make = next((_MAKERS[name] for name in _names(fault) if name in _MAKERS), _lost)
    return make(fault, origin, limits)


def _names(fault: BaseException) -> list[str]:
    return [kind.__name__ for kind in type(fault).__mro__]


def _chain(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__


def _words(fault: Exception) -> str:
    return str(fault) or type(fault).__name__


def _refused(fault: Exception, origin: str, limits: Limits) -> PromptrunError:
    del limits
    return cannot_connect(origin, _words(fault))


def _not_trusted(fault: Exception, origin: str, limits: Limits) -> PromptrunError:
    del limits
    error = cannot_connect(origin, _words(fault), retryable=False)
    error.is_retryable = False
    return error


def _bad_url(fault: Exception, origin: str, limits: Limits) -> PromptrunError:
    del fault, limits
    return cannot_connect(origin, "this is not the URL of a web server", retryable=False)


def _bad_request(fault: Exception, origin: str, limits: Limits) -> PromptrunError:
    del fault, origin, limits  # the words may quote a header
    return connection_lost("the request is not valid HTTP", retryable=False)


def _bad_answer(fault: Exception, origin: str, limits: Limits) -> PromptrunError:
    del origin, limits  # the words quote the URL, but for the message
    return connection_lost(str(getattr(fault, "message", "")) or type(fault).__name__)


def _lost(fault: Exception, origin: str, limits: Limits) -> PromptrunError:
    del origin, limits
    return connection_lost(_words(fault))


def _no_connection(fault: Exception, origin: str, limits: Limits) -> PromptrunError:
    del fault, origin
    return timed_out("connect", limits["connect"])


def _not_sent(fault: Exception, origin: str, limits: Limits) -> PromptrunError:
    del fault, origin
    return timed_out("write", limits["write"])


def _pool_full(fault: Exception, origin: str, limits: Limits) -> PromptrunError:
    del fault, origin
    return timed_out("pool", limits["pool"])


def _silent(fault: Exception, origin: str, limits: Limits) -> None:
    del fault, origin, limits


_MAKERS: Mapping[str, _Maker] = {
    # aiohttp
    "ClientConnectorError": _refused,
    "ClientHttpProxyError": _bad_answer,
    "ClientResponseError": _bad_answer,
    "ConnectionTimeoutError": _no_connection,
    "ServerTimeoutError": _silent,
    # httpx
    "ConnectError": _refused,
    "ProxyError": _refused,
    "ConnectTimeout": _no_connection,
    "ReadTimeout": _silent,
    "WriteTimeout": _not_sent,
    "PoolTimeout": _pool_full,
    "LocalProtocolError": _bad_request,
    "UnsupportedProtocol": _bad_url,
    # both
    "InvalidURL": _bad_url,
    # asyncio's, around all of a request; only sending has no limit of its own, over aiohttp
    "TimeoutError": _not_sent,
}
