"""Read the response of a call: its body, within the time-outs and decoded, and its end."""

from __future__ import annotations

import asyncio
import codecs
import inspect
import re
import sys
import threading
import zlib
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from time import monotonic
from traceback import walk_stack
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

from langchain_promptrun._errors.mapping import error_from_status
from langchain_promptrun._http.exceptions import (
    NOT_HTTP,
    client_exceptions,
    connection_error,
    raised_by_signal_handler,
)
from langchain_promptrun._http.private_api import limit_reads
from langchain_promptrun.errors import PromptrunError, PromptrunResponseError, PromptrunStreamTruncatedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from types import TracebackType

    from langchain_promptrun._http.request import Parser, ParserFactory

T = TypeVar("T")

ACCEPT_ENCODING = "gzip, deflate"
PIECE_BYTES = 1 << 20  # the largest piece of a decoded body
ERROR_BODY_BYTES = 64 << 10  # what is read of an error's body at most
ERROR_BODY_SECONDS = 5.0
LAST_CHUNK_SECONDS = 0.05  # to wait for a body's end after its last item, so that its connection can be used again
_SUCCESS = range(200, 300)
_CONTROLS = bytes(range(9)) + bytes(range(14, 32))
_UNSHOWN_HEADERS = frozenset({b"set-cookie", b"content-encoding", b"content-length", b"transfer-encoding"})
SHORTEST_TIMEOUT = 0.001
_GZIP = 16 + zlib.MAX_WBITS
_WINDOW_BITS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}
# servers put these into the header although they name no compression
_NO_COMPRESSION = frozenset({"", "identity", "none", "chunked", "aws-chunked", "utf-8", "utf8", "binary", "8bit"})
_MEMBER = b"\x1f"  # RFC 1952, ID1; other bytes after a gzip member are padding
_DEFLATED = 8  # RFC 1950, CM: the low half of a zlib stream's first byte
# charsets of one byte for each character, ASCII among them
_CHARSET = r"""(?i)charset\s*=\s*['"]?(iso[-_]?8859-(?:[1-9]|1[013-6])|latin-?1|(?:windows-|cp)125[0-8])\b"""
_CLIENT_PACKAGES = ("httpcore", "httpx", "langchain_promptrun._http.connection_pool")


class BaseResponse:
    def __init__(self, response: httpx.Response, holder: object, read_timeout: Callable[[], float | None]) -> None:
        self._response = response
        self._holder = holder
        self._read_timeout = read_timeout
        self._before = sys.exception()
        self._decoder: Decoder | None = None
        self._parser: Parser[Any] | None = None
        self._headers = dict(response.headers.items())

    @contextmanager
    def _suppressing(self) -> Iterator[None]:
        """Suppress exceptions of the connection, but for those of a signal handler."""
        try:
            yield
        except client_exceptions() as error:
            if raised_by_signal_handler(error, self._before) is not None:
                raise

    def _begin(self, new_parser: ParserFactory[T]) -> Parser[T] | None:
        """Return the parser of a success."""
        if self._response.status_code not in _SUCCESS:
            return None
        # a hook of the caller's client may have read, and so decompressed, the body
        self._decoder = new_decoder(self._headers, is_compressed=not self._response.is_stream_consumed)
        parser = self._parser = new_parser(self._response.status_code, self._headers)
        return parser

    def _stream(self) -> Any:
        response = self._response
        return httpx.ByteStream(response.content) if response.is_stream_consumed else response.stream

    def _is_over(self) -> bool:
        return self._parser is not None and self._parser.finished

    def _status_error(self, begun: bytearray, model: str | None) -> PromptrunError:
        """Return the error of a status, with a response that holds nothing of the request."""
        response, data, body = self._response, bytes(begun[:ERROR_BODY_BYTES]), b""
        if response.status_code < HTTPStatus.OK:
            return connection_error(NOT_HTTP, f"the status {response.status_code}, which was not asked for")
        with suppress(PromptrunError):
            # proxies send plain text whatever encoding the header names
            is_plain = response.is_stream_consumed or _is_text(data)
            decoder = new_decoder(self._headers, is_compressed=not is_plain)
            body = data if decoder is None else next(decoder.decode(data), b"")
            body += b"" if decoder is None else decoder.close()
        body = body[:ERROR_BODY_BYTES]
        error = error_from_status(response.status_code, self._headers, body, model=model)
        shown = [pair for pair in response.headers.raw if pair[0].lower() not in _UNSHOWN_HEADERS]
        error.response = httpx.Response(response.status_code, headers=shown, content=body)
        return error


class SyncResponse(BaseResponse):
    """The response of a sync call.

    The socket's own time-out is the only timer. Where the response's network stream, an extension of httpx's, does not
    allow a limit for each read, the shortest limit counts throughout.
    """

    _raw: Iterator[bytes]

    def __init__(
        self,
        response: httpx.Response,
        holder: object,
        read_timeout: Callable[[], float | None],
        timeouts: dict[str, float | None],
    ) -> None:
        super().__init__(response, holder, read_timeout)
        self._timeouts = timeouts
        self._deadline: float | None = None
        self._unlimit: Callable[[], None] | None = None
        # HTTP/2's is shared by all requests on the connection
        if response.extensions.get("http_version") != b"HTTP/2":
            self._unlimit = limit_reads(response.extensions.get("network_stream"), self)

    def read_limit(self) -> float | None:
        timeout = self._read_timeout()
        if self._deadline is None:
            return timeout
        left = max(self._deadline - monotonic(), SHORTEST_TIMEOUT)
        return left if timeout is None else min(left, timeout)

    def begin(self, new_parser: ParserFactory[T], model: str | None) -> Parser[T]:
        if (parser := self._begin(new_parser)) is not None:
            return parser
        body = bytearray()
        self._deadline = monotonic() + ERROR_BODY_SECONDS
        with self._suppressing():
            for data in self.body(ERROR_BODY_SECONDS):
                body += data
                if len(body) >= ERROR_BODY_BYTES or monotonic() >= self._deadline:
                    break
        raise self._status_error(body, model)

    def body(self, read_timeout: float | None) -> Iterator[bytes]:
        self._raw = _open_bodies[id(self)] = iter(self._stream())
        self._timeouts["read"] = read_timeout
        return self._raw if self._decoder is None else _decoded(self._raw, self._decoder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the response. Its connection is kept when the body is complete, or nearly so, and dropped otherwise."""
        if kind is GeneratorExit and _inside_client():
            # a garbage collection in the middle of the client, whose lock this thread may hold
            threading.Thread(target=self._close, daemon=True).start()
        else:
            self._close()

    def _close(self) -> None:
        try:
            with self._suppressing(), closing(self._response):
                try:
                    if self._is_over() and self._unlimit is not None:
                        self._deadline = monotonic() + LAST_CHUNK_SECONDS
                        for _ in self._raw:
                            if monotonic() >= self._deadline:
                                break
                finally:
                    if self._unlimit is not None:
                        self._unlimit()
        finally:
            self._holder = None
            _open_bodies.pop(id(self), None)


_open_bodies: dict[int, Iterator[bytes]] = {}
"""Keeps bodies from the garbage collector, which would close them by itself, wherever it runs."""


def _inside_client() -> bool:
    frames = (frame for frame, _ in walk_stack(inspect.currentframe()))
    return any(str(frame.f_globals.get("__name__")).startswith(_CLIENT_PACKAGES) for frame in frames)


class AsyncResponse(BaseResponse):
    _raw: AsyncIterator[bytes]

    def __init__(self, response: httpx.Response, holder: object, read_timeout: Callable[[], float | None]) -> None:
        super().__init__(response, holder, read_timeout)
        self.watchdog = StallWatchdog(read_timeout)

    async def begin(self, new_parser: ParserFactory[T], model: str | None) -> Parser[T]:
        if (parser := self._begin(new_parser)) is not None:
            return parser
        body = bytearray()
        deadline = monotonic() + ERROR_BODY_SECONDS
        with self._suppressing():
            async with asyncio.timeout(ERROR_BODY_SECONDS):
                async for data in self.body(None):
                    body += data
                    # what has come already is read without giving way, and no timer counts
                    if len(body) >= ERROR_BODY_BYTES or monotonic() >= deadline:
                        break
        raise self._status_error(body, model)

    def body(self, read_timeout: float | None) -> AsyncIterator[bytes]:
        self.watchdog.start(read_timeout)
        self._raw = aiter(self._stream())
        return self._raw if self._decoder is None else _decoded_async(self._raw, self._decoder)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> None:
        """Async version of `SyncResponse.__exit__`; a cancellation by the watchdog is a time-out."""
        self._holder = None
        self.watchdog.stop()
        with self._suppressing():
            try:
                if self._is_over():
                    async with asyncio.timeout(LAST_CHUNK_SECONDS):
                        async for _ in self._raw:
                            pass
            finally:
                await self._response.aclose()
        if isinstance(error, asyncio.CancelledError) and self.watchdog.has_fired():
            raise httpx.ReadTimeout("no content came")


class StallWatchdog:
    """Cancels the wait for a response's next bytes when none came for too long.

    One timer of the event loop for each stream, and no task. It looks at steps of the shortest limit, so the wait
    ends between once and twice the limit. While the consumer has control nothing is measured. A cancellation by
    another during the wait goes first. `task` is the one that waits, and `beats` grows as each wait begins.
    """

    def __init__(self, read_timeout: Callable[[], float | None]) -> None:
        self._read_timeout = read_timeout
        self.task: asyncio.Task[Any] | None = None
        self.beats = 0
        self._beats_before = -1
        self._quiet = 0.0
        self._cancelled_before = 0
        self._cancelled: asyncio.Task[Any] | None = None
        self._handle: asyncio.TimerHandle | None = None

    def start(self, step: float | None) -> None:
        """Watch the running task's wait from now on, at steps; None for no watch."""
        if step is not None:
            self.task = asyncio.current_task()
            self._check(step)

    def _check(self, step: float) -> None:
        limit = self._read_timeout()
        self._quiet += step
        if self.task is None or self.beats != self._beats_before:
            self._quiet, self._beats_before = 0.0, self.beats
            self._cancelled_before = 0 if self.task is None else self.task.cancelling()
        elif limit is not None and self._quiet >= limit:
            self._cancelled = self.task
            self.task.cancel()
            return
        self._handle = asyncio.get_running_loop().call_later(step, self._check, step)

    def has_fired(self) -> bool:
        """Tell whether a cancellation that arrived is this watchdog's alone."""
        return self._cancelled is not None and self._cancelled.uncancel() <= self._cancelled_before

    def stop(self) -> None:
        self.task = None
        if self._handle is not None:
            self._handle.cancel()


def _decoded(raw: Iterator[bytes], decoder: Decoder) -> Iterator[bytes]:
    for data in raw:
        yield from decoder.decode(data)
    if last := decoder.close():
        yield last


async def _decoded_async(raw: AsyncIterator[bytes], decoder: Decoder) -> AsyncIterator[bytes]:
    async for data in raw:
        for piece in decoder.decode(data):
            yield piece
    if last := decoder.close():
        yield last


def _is_text(data: bytes) -> bool:
    """Tell text, which may be cut off, from compressed data."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return data.translate(None, _CONTROLS) == data


def new_decoder(headers: Mapping[str, str], *, is_compressed: bool = True) -> Decoder | None:
    """Return the decoder for a body of these headers; None where its bytes are taken as they are."""
    encoding = headers.get("content-encoding", "") if is_compressed else ""
    names = [name for part in encoding.split(",") if (name := part.strip().lower()) not in _NO_COMPRESSION]
    if len(names) > 1 or not _WINDOW_BITS.keys() >= set(names):
        error = PromptrunResponseError(
            f"The response has the Content-Encoding {encoding[:100]!r}, which is not supported. "
            f"Have the server send one of: {ACCEPT_ENCODING}."
        )
        error.is_retryable = False
        raise error
    charset = re.search(_CHARSET, headers.get("content-type", ""))
    return Decoder("".join(names), charset[1] if charset else "") if names or charset else None


class Decoder:
    """Decodes a body, in pieces of bounded size, by its Content-Encoding (RFC 9110, 8.4.1) and its charset.

    A charset counts from the first byte on that cannot be UTF-8.
    """

    def __init__(self, coding: str, charset: str) -> None:
        self._coding = coding
        self._charset = charset
        self._stream: Any = None
        self._text: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")()

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the plain bytes of the next part of a body; take all before the next call."""
        for piece in self._decompressed(data) if self._coding else (data,):
            if plain := self._as_utf8(piece) if self._charset else piece:
                yield plain

    def _decompressed(self, data: bytes) -> Iterator[bytes]:
        piece = b""
        while data or len(piece) >= PIECE_BYTES:
            if data and self._stream is None:
                # the RFC means zlib streams by `deflate`; some servers send raw ones
                is_raw = self._coding == "deflate" and data[0] & 0x0F != _DEFLATED
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if is_raw else _WINDOW_BITS[self._coding])
            elif data and self._stream.eof:
                if self._coding == "deflate" or not data.startswith(_MEMBER):
                    return  # padding
                self._stream = zlib.decompressobj(_GZIP)
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise PromptrunResponseError(f"The response's {self._coding} data is corrupt: {error}.") from None
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            yield piece

    def close(self) -> bytes:
        """Return the last bytes; raise PromptrunStreamTruncatedError where the compressed data goes on."""
        if self._stream is not None and not self._stream.eof:
            raise PromptrunStreamTruncatedError(f"The response's {self._coding} data ended early.")
        return self._as_utf8(b"", final=True) if self._charset else b""

    def _as_utf8(self, data: bytes, *, final: bool = False) -> bytes:
        waiting = self._text.getstate()[0]
        try:
            return self._text.decode(data, final).encode()
        except UnicodeDecodeError:
            self._text = codecs.getincrementaldecoder(self._charset)("replace")
            return self._text.decode(waiting + data).encode()
