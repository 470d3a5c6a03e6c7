"""Adapt aiohttp's connector. Imported only where aiohttp is installed and used."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import httpx_aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage

from langchain_promptrun._http.connection_pool import KEEP_ALIVE_SECONDS, on_connected
from langchain_promptrun._http.private_api import is_unseen, receive_rest, receive_rest_of_tls, socket_of, wait_ready

if TYPE_CHECKING:
    import ssl

_HEADER_BYTES = 64 << 10  # aiohttp takes 8 KiB of its own accord, httpx 100
_HEADERS = 1_000  # aiohttp takes 128 of its own accord, from 3.14 on
_UNSEEN = "The server had closed the connection before the request came"


class Transport(httpx_aiohttp.AiohttpTransport):
    """Sends a request once more, over another connection, where the server had closed an idle one before it came."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        while True:
            try:
                return await super().handle_async_request(request)
            except httpx.TransportError as error:
                if str(error) != _UNSEEN:
                    raise


class _Protocol(ResponseHandler):
    """Keeps a response that came before a failure to send, and tells its reader where its framing is broken."""

    is_used = False
    _is_unseen = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        receive_rest_of_tls(transport, self.data_received)

    def eof_received(self) -> None:
        self._note_end()  # before TLS says goodbye itself
        super().eof_received()

    def _note_end(self) -> None:
        self._is_unseen = self.is_used and is_unseen(socket_of(self.transport))

    def connection_lost(self, exc: BaseException | None) -> None:
        try:
            if exc is not None:
                receive_rest(self.transport, self.data_received)
            if isinstance(exc, BrokenPipeError):  # the end came before
                self._note_end()
        finally:
            payload = self._payload
            super().connection_lost(ConnectionResetError(_UNSEEN) if self._is_unseen else exc)
        if payload is not None and payload.exception() is None and not payload.is_eof():
            payload.set_exception(aiohttp.ClientPayloadError("the framing of the body is broken"))

    def set_exception(self, exc: Any, *args: Any) -> None:
        if isinstance(exc, HttpProcessingError) and self.exception() is None:
            for message in _complete_messages(self._parser):
                self.feed_data(message, 0)
        if self.transport is not None and isinstance(exc, (aiohttp.ClientOSError, ConnectionError)):
            receive_rest(self.transport, self.data_received)
            if self.transport.is_closing() and not self._is_unseen:
                # `connection_lost` comes first, and knows more
                self._loop.call_soon(super().set_exception, exc, *args)
                return
        super().set_exception(exc, *args)

    def has_more(self) -> bool:
        """Tell whether something came behind the last response: another one, or the beginning of it."""
        return self.should_close or (self._parser is not None and self._parser.feed_eof() is not None)


class _Connection(aiohttp.connector.Connection):
    def __del__(self, *_: object) -> None:
        """Report a connection that is left open, unless its event loop is gone."""
        if not self._connector.closed:
            super().__del__()


class Connector(aiohttp.TCPConnector):
    """Opens connections of one event loop, without a limit of their number.

    Unlike aiohttp's it neither reports what is open of an event loop that is gone, nor calls that loop.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(limit=0, ssl=context, keepalive_timeout=KEEP_ALIVE_SECONDS)
        factory: Any = partial(_Protocol, loop=asyncio.get_running_loop())
        self._factory = factory
        # a callback of the loop's end comes before any `__del__`, in whichever order the collector finds the objects
        self._watch = weakref.finalize(asyncio.get_running_loop(), _nothing)

    @property
    def closed(self) -> bool:
        return self._is_loop_gone() or super().closed

    def _is_loop_gone(self) -> bool:
        watched = self._watch.peek()
        return watched is None or watched[0].is_closed()

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        """Return a connection that the server has not closed meanwhile."""
        while True:
            connection = await super().connect(*args, **kwargs)
            protocol: Any = connection.protocol
            if not protocol.is_used or not (wait_ready(socket_of(connection.transport), 0) or protocol.has_more()):
                break
            connection.close()
        protocol.is_used = True
        # its constructor is called deep within aiohttp
        connection.__class__ = _Connection
        on_connected.get()(None)
        return connection

    def _release(self, key: Any, protocol: Any, **options: Any) -> None:
        """Take a connection back, as aiohttp's private method of this name (3.14.5) does.

        A connection that is closed with bytes left to send would stay open as long as the server reads nothing.
        """
        transport, is_gone = protocol.transport, self._is_loop_gone()
        release: Any = _nothing if is_gone else super()._release
        release(key, protocol, **options)
        is_left = not is_gone and socket_of(transport) is not None
        if is_left and transport.is_closing() and transport.get_write_buffer_size():
            transport.abort()

    def __del__(self, *_: object) -> None:
        """Report nothing: `Pool` closes what is open, except of loops that are gone."""


def new_session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    """Return a session of the running loop that keeps no cookies."""
    options: dict[str, Any] = {"connector": Connector(context), "cookie_jar": aiohttp.DummyCookieJar()}
    limits = {"max_field_size": _HEADER_BYTES, "max_headers": _HEADERS}
    known = inspect.signature(aiohttp.ClientSession).parameters
    options |= {name: limit for name, limit in limits.items() if name in known}
    return aiohttp.ClientSession(**options)


def _nothing(*_: object, **__: object) -> None:
    pass


def _complete_messages(parser: Any) -> list[Any]:
    """Return the messages that a parser had read whole before it failed, and does not hand out."""
    lists = [found for found in gc.get_referents(parser) if isinstance(found, list)]
    pairs = [pair for found in lists for pair in found if isinstance(pair, tuple)]
    return [pair for pair in pairs if isinstance(pair[0], RawResponseMessage) and pair[1].is_eof()]
