"""Read the response of a call: its body, within the time-outs, and its end."""

from __future__ import annotations

import asyncio
import codecs
import inspect
import threading
from contextlib import contextmanager, suppress
from http import HTTPStatus
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

import httpx

from langchain_promptrun._errors.mapping import error_from_status
from langchain_promptrun._http.decompression import new_decoder
from langchain_promptrun._http.exceptions import HTTPX_EXCEPTIONS, client_exceptions, not_http
from langchain_promptrun._http.private_api import limit_reads
from langchain_promptrun._http.timers import StallWatchdog
from langchain_promptrun.errors import PromptrunError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType

    from langchain_promptrun._http.attempt import CallState
    from langchain_promptrun._http.decompression import CharsetDecoder, Decoder
    from langchain_promptrun._http.request import Parser

T = TypeVar("T")

ERROR_BODY_BYTES = 64 << 10
"""How much is read of an error's body."""
ERROR_BODY_SECONDS = 5.0
"""How long an error's body is waited for."""
LAST_CHUNK_SECONDS = 0.05
"""How long the end of a body is waited for after its last item, so that its connection can be used again."""

_SUCCESS = range(200, 300)
_ERROR_PIECES = 4
_CONTROLS = bytes(range(9)) + bytes(range(14, 32))
_UNSHOWN_HEADERS = frozenset({b"set-cookie", b"content-encoding", b"content-length", b"transfer-encoding"})
_SHORTEST_WAIT = 0.001
_PIECES_AT_A_TIME = 64
_CLIENT_PACKAGES = ("httpcore", "httpx", "langchain_promptrun._http.connection_pool")


class BaseResponse(Generic[T]):
    __slots__ = ("_call", "_decoder", "_headers", "_holder", "_response")

    def __init__(self, call: CallState[T], response: httpx.Response, holder: object) -> None:
        self._call = call
        self._response = response
        self._holder = holder
        self._decoder: Decoder | CharsetDecoder | None = None
        self._headers: dict[str, str] = {}
        for raw_name, raw_value in response.headers.raw:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            self._headers[name] = f"{self._headers[name]}, {value}" if name in self._headers else value

    @contextmanager
    def _suppressing(self, exceptions: tuple[type[Exception], ...]) -> Iterator[None]:
        """Suppress exceptions, but for those of a signal handler."""
        try:
            yield
        except exceptions as error:
            if self._call.is_interrupted(error):
                raise

    def _is_error(self) -> bool:
        return self._response.status_code not in _SUCCESS

    def _begin(self) -> Parser[T]:
        # a hook of the caller's client may have read, and so decompressed, the body
        self._decoder = new_decoder(self._headers, is_compressed=not self._response.is_stream_consumed)
        return self._call.begin_response(self._response.status_code, self._headers)

    def _is_over(self) -> bool:
        return self._call.parser is not None and self._call.parser.finished

    def _status_error(self, begun: bytearray) -> PromptrunError:
        """Return the error of a status, with a response that holds nothing of the request."""
        response = self._response
        if response.status_code < HTTPStatus.OK:
            return not_http(f"the status {response.status_code}, which was not asked for")
        body = self._decode_error(bytes(begun[:ERROR_BODY_BYTES]))
        error = error_from_status(response.status_code, self._headers, body, model=self._call.request.model)
        shown = [pair for pair in response.headers.raw if pair[0].lower() not in _UNSHOWN_HEADERS]
        error.response = httpx.Response(response.status_code, headers=shown, content=body)
        return error

    def _decode_error(self, begun: bytes) -> bytes:
        """Return the body of an error; proxies send plain text whatever encoding the header names."""
        body = b""
        with suppress(PromptrunError):
            is_plain = self._response.is_stream_consumed or _is_text(begun)
            decoder = new_decoder(self._headers, is_compressed=not is_plain)
            if decoder is None:
                return begun
            body = b"".join(islice(decoder.decode(begun), _ERROR_PIECES))
            body += decoder.close()
        return body[:ERROR_BODY_BYTES]


class SyncResponse(BaseResponse[T]):
    """The response of a sync call.

    The socket's own time-out is the only timer. Where the response's network stream, an extension of httpx's, does not
    allow a limit for each read, the shortest limit counts throughout.
    """

    __slots__ = ("__weakref__", "_deadline", "_raw", "_timeouts", "_unlimit")

    def __init__(
        self, call: CallState[T], response: httpx.Response, holder: object, timeouts: dict[str, float | None]
    ) -> None:
        super().__init__(call, response, holder)
        self._timeouts = timeouts
        self._deadline: float | None = None
        self._raw: Iterator[bytes] = iter(())
        self._unlimit: Callable[[], None] | None = None
        # HTTP/2's is shared by all requests on the connection
        if response.extensions.get("http_version") != b"HTTP/2":
            self._unlimit = limit_reads(response.extensions.get("network_stream"), self)

    def read_limit(self) -> float | None:
        timeout = self._call.read_timeout()
        if self._deadline is None:
            return timeout
        left = max(self._deadline - monotonic(), _SHORTEST_WAIT)
        return left if timeout is None else min(left, timeout)

    def begin(self) -> Parser[T]:
        if not self._is_error():
            return self._begin()
        body = bytearray()
        self._deadline = monotonic() + ERROR_BODY_SECONDS
        with self._suppressing((PromptrunError, *HTTPX_EXCEPTIONS)):
            for data in self.body():
                body += data
                if len(body) >= ERROR_BODY_BYTES or monotonic() >= self._deadline:
                    break
        raise self._status_error(body)

    def body(self) -> Iterator[bytes]:
        response = self._response
        stream = (response.content,) if response.is_stream_consumed else cast("httpx.SyncByteStream", response.stream)
        self._raw = _open_bodies[id(self)] = iter(stream)
        self._timeouts["read"] = self._call.shortest_read_timeout()
        return self._raw if self._decoder is None else _decoded(self._raw, self._decoder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the response. Its connection is kept when the body is complete, or nearly so, and dropped otherwise."""
        if kind is GeneratorExit and _inside_client():
            # a collection in the middle of the client, whose lock this thread may hold
            threading.Thread(target=self._close, daemon=True).start()
        else:
            self._close()

    def _close(self) -> None:
        try:
            with self._suppressing(HTTPX_EXCEPTIONS):
                self._end()
        finally:
            self._holder = None
            _open_bodies.pop(id(self), None)

    def _end(self) -> None:
        try:
            if self._is_over() and self._unlimit is not None:
                self._deadline = monotonic() + LAST_CHUNK_SECONDS
                for _ in self._raw:
                    if monotonic() >= self._deadline:
                        break
        finally:
            if self._unlimit is not None:
                self._unlimit()
            self._response.close()


_open_bodies: dict[int, Iterator[bytes]] = {}
"""Keeps bodies from the garbage collector, which would close them by itself, wherever it runs."""


def _inside_client() -> bool:
    """Tell whether this runs in the middle of the HTTP client's work, as only the garbage collector does."""
    frame = inspect.currentframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(_CLIENT_PACKAGES):
            return True
        frame = frame.f_back
    return False


class AsyncResponse(BaseResponse[T]):
    __slots__ = ("_raw", "watchdog")

    def __init__(self, call: CallState[T], response: httpx.Response, holder: object) -> None:
        super().__init__(call, response, holder)
        self.watchdog = StallWatchdog(call)
        self._raw: AsyncIterator[bytes] = _pieces(())

    async def begin(self) -> Parser[T]:
        if not self._is_error():
            parser = self._begin()
            self.watchdog.start()
            return parser
        body = bytearray()
        pieces = 0
        with self._suppressing((PromptrunError, *client_exceptions())):
            async with asyncio.timeout(ERROR_BODY_SECONDS):
                async for data in self.body():
                    body += data
                    if len(body) >= ERROR_BODY_BYTES:
                        break
                    pieces += 1
                    if pieces % _PIECES_AT_A_TIME == 0:
                        # what has come already is read without giving way, and the limit would not count
                        await asyncio.sleep(0)
        raise self._status_error(body)

    def body(self) -> AsyncIterator[bytes]:
        response = self._response
        is_read = response.is_stream_consumed
        self._raw = _pieces((response.content,)) if is_read else aiter(cast("httpx.AsyncByteStream", response.stream))
        return self._raw if self._decoder is None else _decoded_async(self._raw, self._decoder)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Async version of `SyncResponse.__exit__`; a cancellation by the watchdog ends here."""
        self._holder = None
        self.watchdog.stop()
        with self._suppressing(client_exceptions()):
            try:
                if self._is_over():
                    async with asyncio.timeout(LAST_CHUNK_SECONDS):
                        async for _ in self._raw:
                            pass
            finally:
                await self._response.aclose()
        if isinstance(error, asyncio.CancelledError) and self.watchdog.has_fired():
            self._call.record_error(self._call.silence_error())
            return True
        return False


def _decoded(raw: Iterator[bytes], decoder: Decoder | CharsetDecoder) -> Iterator[bytes]:
    for data in raw:
        yield from decoder.decode(data)
    if last := decoder.close():
        yield last


async def _decoded_async(raw: AsyncIterator[bytes], decoder: Decoder | CharsetDecoder) -> AsyncIterator[bytes]:
    async for data in raw:
        for piece in decoder.decode(data):
            yield piece
    if last := decoder.close():
        yield last


async def _pieces(pieces: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _is_text(data: bytes) -> bool:
    """Tell text, which may be cut off, from compressed data."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return data.translate(None, _CONTROLS) == data
