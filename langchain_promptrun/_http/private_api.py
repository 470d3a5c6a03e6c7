"""Use what httpx and httpcore keep private; everything else in this package is their public API.

Checked on httpx 0.28.1, httpcore 1.0.9, h11 0.16.0 and anyio 4.16.0 by `tests/integration/http/test_private_api.py`.
"""

from __future__ import annotations

import errno
import re
import select
import socket
import ssl
import struct
import sys
import threading
import weakref
from contextlib import suppress
from functools import partial
from importlib import import_module
from math import ceil
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from langchain_promptrun._http.threads import io_lock

if TYPE_CHECKING:
    from collections.abc import Callable

_RECEIVE_BYTES = 64 << 10
_LOOK_SECONDS = 0.05
_ERROR_RESPONSE = re.compile(rb"(?m)^HTTP/1\.[01] [3-5]")
_HEAD = b"POST "
_EARLY = "the server answered, and took no more of the request"
_CONNECTIONS = attrgetter("_pool.connections")
_TLS_PARTS = attrgetter("_read_bio", "_ssl_object")
_ASYNCIO_TLS_PARTS = attrgetter("_incoming", "_sslobj")
_BROKEN = "_broken"
_ALERT_BYTES = 100
"""More than TLS sends by itself where a connection ends, and less than a request has."""
_HAS_TCP_INFO = sys.platform == "linux"  # others lay it out in another way


def is_reusable(transport: Any) -> bool:
    """Tell whether the one connection of an httpx transport can carry another call."""
    connections = _CONNECTIONS(transport)
    return bool(connections) and all(one.is_idle() and not _left_over(one) for one in connections)


def has_ended(transport: Any) -> bool:
    """Tell whether httpcore will make a new connection in place of the idle one of an httpx transport."""
    return all(one.has_expired() for one in _CONNECTIONS(transport))


def _left_over(connection: Any) -> bytes:
    """Return the bytes behind the last response; h11 would read them as the beginning of the next."""
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    state = getattr(connection, "_h11_state", None)
    return b"" if state is None else bytes(state.trailing_data[0])


def limit_reads(stream: Any, response: Any) -> Callable[[], None] | None:
    """Have each read of a network stream ask a response's `read_limit`; the stream does not keep the response alive.

    httpcore takes one limit for all reads of a body. Returns what undoes it; None where the stream does not allow it.
    """
    watched = weakref.ref(response)
    try:
        read, own_read = stream.read, vars(stream).get("read")

        def limited(size: int, timeout: float | None = None) -> Any:
            now = watched()
            return read(size, timeout if now is None else now.read_limit())

        stream.read = limited
    except AttributeError:
        return None
    return partial(setattr, stream, "read", own_read) if own_read else partial(delattr, stream, "read")


def watch_sync(stream: Any) -> bool:
    """Have a sync network stream note its end, and read and write by a `_SyncWatch`; False for TLS within TLS."""
    note_end(stream, "close")
    if type(stream).__name__ != "SyncStream":
        return False
    watch = _SyncWatch(stream)
    stream.read, stream.write = watch.read, watch.write
    return True


class _SyncWatch:
    """Reads and writes for a sync network stream, and takes error responses while it writes.

    It ends a write that waits where an error response has come, as RFC 9112, 9.5 says: httpcore (1.0.9) reads the
    response after a failure to write, not after a time-out.
    The head goes out with its body: httpcore writes them one after the other, the end of a request with no bytes.
    """

    def __init__(self, stream: Any) -> None:
        self._stream: Callable[[], Any] = weakref.ref(stream)
        self._socket = stream.get_extra_info("socket")
        self._early = b""
        self._head = b""

    def read(self, size: int, timeout: float | None = None) -> Any:
        if early := self._early:
            self._early = b""
            return early
        if io_lock.held[0] != threading.get_ident():
            stream = self._stream()
            return type(stream).read(stream, size, timeout)
        httpcore: Any = import_module("httpcore")
        self._never_block()
        while True:
            # `size` is more than a TLS record has, so nothing of the one before is left
            with io_lock.released():
                is_ready = wait_ready(self._socket, timeout)
            if not is_ready:
                raise httpcore.ReadTimeout("timed out")
            try:
                return self._socket.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except OSError as error:
                raise httpcore.ReadError(error) from error

    def _never_block(self) -> None:
        if self._socket.gettimeout() != 0:  # asking is cheaper than setting, which releases the interpreter's lock
            self._socket.settimeout(0)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer.startswith(_HEAD):
            self._head = buffer
            return
        head, self._head = self._head, b""
        try:
            self._never_block()
            for part in (head + buffer,) if len(buffer) < _RECEIVE_BYTES else (head, buffer):
                self._send(part, timeout)
        except OSError as error:
            # a signal handler's has no number; httpcore reads the response after a WriteError
            is_end = error.errno is None or isinstance(error, TimeoutError)
            httpcore: Any = import_module("httpcore")
            raise (httpcore.WriteTimeout if is_end else httpcore.WriteError)(error) from error

    def _send(self, part: bytes, timeout: float | None) -> None:
        rest, waited = memoryview(part), 0.0
        while rest:
            try:
                rest, waited = rest[self._socket.send(rest) :], 0.0
                continue
            except (BlockingIOError, ssl.SSLWantWriteError):
                with io_lock.released():
                    is_ready = wait_ready(self._socket, _LOOK_SECONDS, to_send=True)
            if is_ready:
                continue
            if self._error_has_come():
                raise ConnectionAbortedError(errno.ECONNABORTED, _EARLY)
            waited += _LOOK_SECONDS
            if timeout is not None and waited >= timeout:
                raise TimeoutError("timed out")

    def _error_has_come(self) -> bool:
        """Tell whether the server ended the connection or began an error response."""
        with suppress(BlockingIOError, ssl.SSLWantReadError):
            data = self._socket.recv(_RECEIVE_BYTES)
            self._early += data
            return not data or _ERROR_RESPONSE.search(self._early) is not None
        return False


def wait_ready(sock: Any, timeout: float | None, *, to_send: bool = False) -> bool:
    """Wait until a socket has something to read, or takes something to send; needs no descriptor of its own."""
    if not hasattr(select, "poll"):  # Windows
        return any(select.select([] if to_send else [sock], [sock] if to_send else [], [], timeout))
    poll = select.poll()
    poll.register(sock, select.POLLOUT if to_send else select.POLLIN)
    return bool(poll.poll(None if timeout is None else ceil(timeout * 1000)))


def note_end(stream: Any, close: str) -> None:
    """Have a network stream note, as it is closed, whether the server ended it without what was sent."""
    watched = weakref.ref(stream)

    def closing() -> Any:
        found: Any = watched()
        found.is_unseen = found.is_unseen or is_unseen(found.get_extra_info("socket"))
        return getattr(type(found), close)(found)

    stream.is_unseen = False
    setattr(stream, close, closing)


def is_unseen(sock: Any) -> bool:
    """Tell whether a server that ended a connection never had what was sent; its FIN acknowledges all that had come.

    By Linux's `struct tcp_info`, in whose `bytes_acked` the SYN counts.
    """
    with suppress(OSError, struct.error):
        if _HAS_TCP_INFO and sock is not None:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 216)
            acknowledged, sent, sent_again = struct.unpack_from("=Q72xQQ", info, 120)
            return bool(acknowledged - 1 + _ALERT_BYTES < sent - sent_again)
    return False


def read_while_sending(stream: Any) -> None:
    """Have an async network stream take what comes while a body goes out.

    anyio (4.16.0) pauses reading until the response is asked for. A server that answers early and closes resets the
    connection, and what was not read by then is lost.
    """
    transport, protocol = _asyncio_parts(stream)
    if transport is not None and protocol is not None:
        transport.resume_reading()
        _receive_before_loss(
            protocol, transport, lambda data: transport.get_protocol().data_received(data), weakref.ref(stream)
        )


class ErrorWatch:
    """Has an async network stream end sending where an error response comes (RFC 9112, 9.5), until `stop`.

    It takes what asyncio tells of the connection in place of anyio's protocol, which has the response wait.
    """

    def __init__(self, stream: Any, transport: Any, protocol: Any) -> None:
        self._transport, self._protocol = transport, protocol
        self._inner = getattr(stream, "_stream", None)
        self._tls = _TLS_PARTS(self._inner) if hasattr(self._inner, "transport_stream") else None
        self._stream: Callable[[], Any] = weakref.ref(stream)
        self._early = b""
        transport.set_protocol(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def data_received(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.data_received(data)
        data = b"".join(protocol.read_queue)
        protocol.read_queue.clear()
        protocol.read_event.clear()
        data = data if self._tls is None else _decrypted(*self._tls, data)
        self._early += data
        if data:
            self._stream().read = self._read
        if _ERROR_RESPONSE.search(self._early):
            self.stop()
            anyio: Any = import_module("anyio")
            protocol.exception = anyio.BrokenResourceError(_EARLY)
            protocol.write_event.set()

    async def _read(self, *_: object, **__: object) -> bytes:
        """Return what came while the request went out; only sending has ended."""
        setattr(self._inner, _BROKEN, False)  # anyio's TLS reads nothing after a failure to send
        self._protocol.exception = None
        del self._stream().read
        early, self._early = self._early, b""
        return early

    def stop(self) -> None:
        self._transport.set_protocol(self._protocol)


def watch_errors(stream: Any) -> ErrorWatch | None:
    """Return the watch over an async network stream; None for a stream of another kind, such as TLS within TLS."""
    transport, protocol = _asyncio_parts(stream)
    carrier = getattr(getattr(stream, "_stream", None), "transport_stream", None)
    if transport is None or protocol is None or hasattr(carrier, "transport_stream"):
        return None
    return ErrorWatch(stream, transport, protocol)


def _decrypted(bio: ssl.MemoryBIO, tls: ssl.SSLObject, data: bytes) -> bytes:
    bio.write(data)
    data = b""
    with suppress(ssl.SSLError):  # the rest of a record is to come
        while piece := tls.read(_RECEIVE_BYTES):
            data += piece
    return data


def _asyncio_parts(stream: Any) -> tuple[Any, Any]:
    inner = getattr(stream, "_stream", None)
    while (carrier := getattr(inner, "transport_stream", None)) is not None:
        inner = carrier
    return getattr(inner, "_transport", None), getattr(inner, "_protocol", None)


def socket_of(transport: Any) -> Any:
    """Return the socket of an asyncio transport; None where there is none any more, as after a reset of TLS."""
    with suppress(AttributeError):
        return transport.get_extra_info("socket")
    return None


def receive_rest(transport: Any, take: Callable[[bytes], object]) -> None:
    """Take what has come before a failure to send: asyncio drops it, also a server's early response."""
    tls = getattr(transport, "_ssl_protocol", None)
    if (found := socket_of(transport)) is None or (tls is None and transport.get_extra_info("sslcontext")):
        return
    data = b""
    with suppress(OSError), socket.fromfd(found.fileno(), found.family, found.type) as twin:
        twin.setblocking(False)
        while piece := twin.recv(_RECEIVE_BYTES):
            data += piece
    if tls is not None:
        data = _decrypted(*_ASYNCIO_TLS_PARTS(tls), data)
    if data:
        take(data)


def receive_rest_of_tls(transport: Any, take: Callable[[bytes], object]) -> None:
    """Have `receive_rest` done as asyncio's TLS loses its connection, whose socket it closes then."""
    if (tls := getattr(transport, "_ssl_protocol", None)) is not None:
        _receive_before_loss(tls, transport, take)


def _receive_before_loss(protocol: Any, transport: Any, take: Callable[[bytes], object], stream: Any = None) -> None:
    def lose(error: Exception | None) -> None:
        del protocol.connection_lost
        if error is not None:
            receive_rest(transport, take)
        if stream is not None and isinstance(error, BrokenPipeError):  # the end came before
            stream().is_unseen = is_unseen(transport.get_extra_info("socket"))
            error = None
        protocol.connection_lost(error)

    protocol.connection_lost = lose
