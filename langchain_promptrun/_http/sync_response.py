"""An open HTTP response as a sync call uses it: a body to iterate, a limit on silence, an end.

Owns what depends on the HTTP client below: how long to wait for bytes, decompression, and leaving a connection fit for
the next call. It must not decide about retries and must not know what the bytes mean.
"""

from __future__ import annotations

import inspect
import sys
import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

import httpx

from langchain_promptrun._errors.mapping import error_from_status
from langchain_promptrun._http.decompression import BodyDecoder
from langchain_promptrun._http.reads import limit_reads
from langchain_promptrun.errors import PromptrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from langchain_promptrun._http.request import Call, Parser

T = TypeVar("T")

ERROR_BODY_BYTES = 64 << 10
"""How much is read of an error's body."""
ERROR_BODY_SECONDS = 5.0
"""How long an error's body is waited for."""
LAST_CHUNK_SECONDS = 0.05
"""How long a body is waited for to end after the answer in it ended, so that its connection can be used again."""

_SHORTEST_WAIT = 0.001
_SUCCESS = range(200, 300)
_UNSHOWN_HEADERS = frozenset({b"set-cookie", b"content-encoding", b"content-length", b"transfer-encoding"})
_CLIENT_PACKAGES = frozenset({"httpcore", "httpx"})


def faults() -> tuple[type[Exception], ...]:
    """What HTTP clients raise when a connection fails, aiohttp too where it is loaded."""
    found: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)
    aiohttp = sys.modules.get("aiohttp")
    return found if aiohttp is None else (*found, aiohttp.ClientError)


class Attempt:
    """Takes note of what an attempt fails with, and ends the exception there.

    Outside of any `except` the error can be raised again without a trace of the HTTP client's exception, which holds
    the request and the key in it.

    Args:
        call: The call that is attempted.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Call[Any]) -> None:
        self._call = call

    def __enter__(self) -> None:
        """Nothing was done yet."""

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if isinstance(error, PromptrunError):
            self._call.failed(error)
        elif isinstance(error, faults()):
            self._call.faulted(error)
        else:
            return False
        return True


class OpenAnswer(Generic[T]):
    """What sync and async answers share.

    Args:
        call: The call that is answered.
        response: The response, its body not read.
        holder: Whoever must live as long as the answer.
    """

    __slots__ = ("_call", "_decoder", "_holder", "_response")

    def __init__(self, call: Call[T], response: httpx.Response, holder: object) -> None:
        self._call = call
        self._response = response
        self._holder = holder
        self._decoder: BodyDecoder | None = None

    def _is_error(self) -> bool:
        return self._response.status_code not in _SUCCESS

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._response.headers.raw:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    def _begin(self) -> Parser[T]:
        headers = self._headers()
        self._choose_decoder(headers)
        return self._call.begin_answer(self._response.status_code, headers)

    def _choose_decoder(self, headers: dict[str, str]) -> None:
        # a hook of the caller's client may have read, and so decoded, the body
        if "content-encoding" in headers and not self._response.is_stream_consumed:
            self._decoder = _decoder_of(headers["content-encoding"])

    def _is_over(self) -> bool:
        return self._call.parser is not None and self._call.parser.finished

    def _error(self, headers: dict[str, str], begun: bytearray) -> PromptrunError:
        """The error of a status, with a response that knows nothing of the request."""
        body = bytes(begun[:ERROR_BODY_BYTES])
        response = self._response
        error = error_from_status(response.status_code, headers, body, model=self._call.request.model)
        shown = [pair for pair in response.headers.raw if pair[0].lower() not in _UNSHOWN_HEADERS]
        error.response = httpx.Response(response.status_code, headers=shown, content=body)
        return error


class Answer(OpenAnswer[T]):
    """The answer of a sync call.

    The socket's own time-out is the only timer. httpcore fixes it as the body begins, so the reads of the response's
    network stream, an extension of httpx's, get the limit of the moment instead. Where there is no such stream the
    shortest limit counts throughout.

    Args:
        call: The call that is answered.
        response: The response, its body not read.
        holder: Whoever must live as long as the answer.
        limits: The request's time-outs, which httpcore reads as the body begins.
    """

    __slots__ = ("__weakref__", "_deadline", "_limits", "_raw", "_unlimit")

    def __init__(
        self, call: Call[T], response: httpx.Response, holder: object, limits: dict[str, float | None]
    ) -> None:
        super().__init__(call, response, holder)
        self._limits = limits
        self._deadline: float | None = None
        self._raw: Iterator[bytes] = iter(())
        self._unlimit: Callable[[], None] | None = None
        # HTTP/2's is shared by all requests on the connection
        if response.extensions.get("http_version") != b"HTTP/2":
            self._unlimit = limit_reads(response.extensions.get("network_stream"), self)

    def limit(self) -> float | None:
        """Seconds that the next read may take; None for no limit."""
        patience = self._call.patience()
        if self._deadline is None:
            return patience
        left = max(self._deadline - monotonic(), _SHORTEST_WAIT)
        return left if patience is None else min(left, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the response. Its connection is kept when the body is complete, or nearly so, and dropped otherwise."""
        if kind is GeneratorExit and _inside_the_client():
            # a collection in the middle of the client, whose lock this thread may hold
            threading.Thread(target=self._close, daemon=True).start()
        else:
            self._close()

    def _close(self) -> None:
        with suppress(*faults()):
            try:
                if self._is_over() and self._unlimit is not None:
                    self._read_end()
            finally:
                if self._unlimit is not None:
                    self._unlimit()
                self._response.close()
        self._holder = None
        _bodies.pop(id(self), None)

    def begin(self) -> Parser[T]:
        """Begin to read.

        Returns:
            The parser for the body.

        Raises:
            PromptrunError: The status is an error's, or the answer's compression is not known here.
        """
        if self._is_error():
            raise self._read_error()
        return self._begin()

    def body(self) -> Iterator[bytes]:
        """The body's bytes, decoded."""
        response = self._response
        stream = (response.content,) if response.is_stream_consumed else cast("httpx.SyncByteStream", response.stream)
        self._raw = _bodies[id(self)] = iter(stream)
        self._limits["read"] = self._call.shortest_patience()
        return self._raw if self._decoder is None else _decoded(self._raw, self._decoder)

    def _read_error(self) -> PromptrunError:
        """The error for the status, with what comes of the body in time."""
        headers = self._headers()
        body = bytearray()
        self._deadline = monotonic() + ERROR_BODY_SECONDS
        with suppress(PromptrunError, *faults()):
            self._choose_decoder(headers)
            for data in self.body():
                body += data
                if len(body) >= ERROR_BODY_BYTES or monotonic() >= self._deadline:
                    break
        return self._error(headers, body)

    def _read_end(self) -> None:
        self._deadline = monotonic() + LAST_CHUNK_SECONDS
        for _ in self._raw:
            if monotonic() >= self._deadline:
                break


def _decoder_of(content_encoding: str) -> BodyDecoder:
    try:
        return BodyDecoder(content_encoding)
    except PromptrunError as error:
        # the next answer has the same
        error.is_retryable = False
        raise


_bodies: dict[int, Iterator[bytes]] = {}
"""Keeps bodies that are read from the collector, which would close them by itself, wherever it runs."""


def _inside_the_client() -> bool:
    """Whether this is run in the middle of the HTTP client's work, as only the collector does."""
    frame = inspect.currentframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _CLIENT_PACKAGES:
            return True
        frame = frame.f_back
    return False


def _decoded(raw: Iterator[bytes], decoder: BodyDecoder) -> Iterator[bytes]:
    for data in raw:
        yield from decoder.decode(data)
    decoder.close()
