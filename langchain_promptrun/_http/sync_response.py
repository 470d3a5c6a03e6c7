"""Read the response of a sync call: its body, within the time-outs, and its end."""

from __future__ import annotations

import inspect
import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Self, TypeVar, cast

from langchain_promptrun._http import response as shared
from langchain_promptrun._http.private_api import limit_reads
from langchain_promptrun._http.response import BaseResponse, client_exceptions
from langchain_promptrun.errors import PromptrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from langchain_promptrun._http.attempt import CallState
    from langchain_promptrun._http.decompression import Decoder, Latin1Decoder
    from langchain_promptrun._http.request import Parser

T = TypeVar("T")

_SHORTEST_WAIT = 0.001
_CLIENT_PACKAGES = ("httpcore", "httpx", "langchain_promptrun._http.connection_pool")


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
        with suppress(*client_exceptions()):
            try:
                if self._is_over() and self._unlimit is not None:
                    self._read_end()
            finally:
                if self._unlimit is not None:
                    self._unlimit()
                self._response.close()
        self._holder = None
        _open_bodies.pop(id(self), None)

    def begin(self) -> Parser[T]:
        if self._is_error():
            raise self._read_error()
        return self._begin()

    def body(self) -> Iterator[bytes]:
        response = self._response
        stream = (response.content,) if response.is_stream_consumed else cast("httpx.SyncByteStream", response.stream)
        self._raw = _open_bodies[id(self)] = iter(stream)
        self._timeouts["read"] = self._call.shortest_read_timeout()
        return self._raw if self._decoder is None else _decoded(self._raw, self._decoder)

    def _read_error(self) -> PromptrunError:
        body = bytearray()
        self._deadline = monotonic() + shared.ERROR_BODY_SECONDS
        with suppress(PromptrunError, *client_exceptions()):
            for data in self.body():
                body += data
                if len(body) >= shared.ERROR_BODY_BYTES or monotonic() >= self._deadline:
                    break
        return self._status_error(self._headers(), body)

    def _read_end(self) -> None:
        self._deadline = monotonic() + shared.LAST_CHUNK_SECONDS
        for _ in self._raw:
            if monotonic() >= self._deadline:
                break


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


def _decoded(raw: Iterator[bytes], decoder: Decoder | Latin1Decoder) -> Iterator[bytes]:
    for data in raw:
        yield from decoder.decode(data)
    if last := decoder.close():
        yield last
