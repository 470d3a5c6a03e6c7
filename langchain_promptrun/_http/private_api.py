"""Use what httpx and httpcore keep private; everything else in this package is their public API.

Checked on httpx 0.28.1, httpcore 1.0.9, h11 0.16.0 and anyio 4.16.0 by `tests/integration/http/test_private_api.py`.
"""

from __future__ import annotations

import socket
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RECEIVE_BYTES = 64 << 10


class SyncTransport(httpx.HTTPTransport):
    """httpx's transport, used for one call at a time."""

    def is_reusable(self) -> bool:
        return _all_idle(self._pool.connections)


class AsyncTransport(httpx.AsyncHTTPTransport):
    """Async version of `SyncTransport`."""

    def is_reusable(self) -> bool:
        return _all_idle(self._pool.connections)


def _all_idle(connections: Sequence[Any]) -> bool:
    return bool(connections) and all(one.is_idle() and not _left_over(one) for one in connections)


def _left_over(connection: Any) -> bytes:
    """Return the bytes behind the last response; h11 would read them as the beginning of the next."""
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    state = getattr(connection, "_h11_state", None)
    return b"" if state is None else bytes(state.trailing_data[0])


class ReadLimit(Protocol):
    """Limits the reads of a response's body."""

    def read_limit(self) -> float | None:
        """Return the seconds that the next read may take; None for no limit."""


def limit_reads(stream: Any, response: ReadLimit) -> Callable[[], None] | None:
    """Have each read of a network stream take its limit from a response, which the stream does not keep alive.

    httpcore takes one limit for all reads of a body. Returns what undoes it; None where the stream does not allow it.
    """
    watched = weakref.ref(response)
    try:
        read = stream.read

        def limited(size: int, timeout: float | None = None) -> Any:
            now = watched()
            return read(size, timeout if now is None else now.read_limit())

        stream.read = limited
    except AttributeError:
        return None
    return partial(delattr, stream, "read")


def read_while_sending(stream: Any) -> None:
    """Have an async network stream take what comes while a body goes out.

    anyio (4.16.0) pauses reading until the response is asked for. A server that answers early and closes resets the
    connection, and what was not read by then is lost.
    """
    inner = getattr(stream, "_stream", None)
    transport, protocol = getattr(inner, "_transport", None), getattr(inner, "_protocol", None)
    if transport is not None and protocol is not None:
        transport.resume_reading()
        protocol.connection_lost = partial(_receive_and_lose, transport, protocol)


def _receive_and_lose(transport: Any, protocol: Any, error: Exception | None) -> None:
    del protocol.connection_lost
    if error is not None:
        receive_rest(transport, protocol.data_received)
    protocol.connection_lost(error)


def receive_rest(transport: Any, take: Callable[[bytes], object]) -> None:
    """Take what has come before a failure to send: asyncio drops it, also a server's early response."""
    is_plain = transport.get_extra_info("sslcontext") is None
    found = transport.get_extra_info("socket")
    with suppress(OSError), socket.fromfd(found.fileno(), found.family, found.type) as twin:
        twin.setblocking(False)
        while is_plain and (data := twin.recv(_RECEIVE_BYTES)):
            take(data)
