"""What sync and async responses share."""

from __future__ import annotations

import codecs
import sys
import traceback
from contextlib import suppress
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx

from langchain_promptrun._errors.mapping import error_from_status
from langchain_promptrun._http.decompression import new_decoder
from langchain_promptrun._http.exceptions import linked_exceptions, not_http, raised_by_signal_handler
from langchain_promptrun.errors import PromptrunError

if TYPE_CHECKING:
    from types import TracebackType

    from langchain_promptrun._http.attempt import CallState
    from langchain_promptrun._http.decompression import Decoder, Latin1Decoder
    from langchain_promptrun._http.request import Parser
    from langchain_promptrun._pace.pace import Pace

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


def client_exceptions() -> tuple[type[Exception], ...]:
    """Return what HTTP clients raise when a connection fails, aiohttp too where it is loaded."""
    found: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)
    aiohttp = sys.modules.get("aiohttp")
    return found if aiohttp is None else (*found, aiohttp.ClientError)


class AttemptGuard:
    """Notes what an attempt fails with, and ends the exception there.

    Outside of any `except` the error is raised again without a trace of the HTTP client's exception, which holds the
    request and the key. An exception that is not of the connection goes on, without the locals of the frames below.
    """

    __slots__ = ("_before", "_began_at", "_call", "_pace")

    def __init__(self, call: CallState[Any], pace: Pace | None = None) -> None:
        self._call = call
        self._pace = pace

    def __enter__(self) -> None:
        self._before = sys.exception()
        self._call.request.under_way = True
        self._began_at = None if self._pace is None else self._pace.now()

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if self._pace is not None and self._began_at is not None:
            status, wait = getattr(error, "status_code", None), getattr(error, "retry_after", None)
            is_refused = status == HTTPStatus.TOO_MANY_REQUESTS and getattr(error, "is_retryable", True)
            self._pace.end(self._began_at, refused=is_refused, wait=wait, headers=self._call.headers)
        is_ended = error is not None and self._ends(error)
        self._call.request.under_way = error is not None and not is_ended
        return is_ended

    def _ends(self, error: BaseException) -> bool:
        if isinstance(error, PromptrunError):
            self._call.record_error(error)
            return True
        if not isinstance(error, client_exceptions()):
            self._clear_frames(error)
            return False
        if (interruption := raised_by_signal_handler(error, self._before)) is None:
            self._call.record_exception(error, self._before)
        else:
            self._clear_frames(error)
            self._call.record_interruption(interruption)
        return True

    def _clear_frames(self, error: BaseException) -> None:
        """Forget the locals below: tools that show tracebacks would show the key and the prompt in them."""
        for linked in linked_exceptions(error, self._before):
            traceback.clear_frames(linked.__traceback__)


class BaseResponse(Generic[T]):
    __slots__ = ("_call", "_decoder", "_holder", "_response")

    def __init__(self, call: CallState[T], response: httpx.Response, holder: object) -> None:
        self._call = call
        self._response = response
        self._holder = holder
        self._decoder: Decoder | Latin1Decoder | None = None

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
        # a hook of the caller's client may have read, and so decompressed, the body
        self._decoder = new_decoder(headers, is_compressed=not self._response.is_stream_consumed)
        return self._call.begin_response(self._response.status_code, headers)

    def _decode_error(self, headers: dict[str, str], begun: bytes) -> bytes:
        """Return the body of an error; proxies send plain text whatever encoding the header names."""
        body = b""
        with suppress(PromptrunError):
            is_plain = self._response.is_stream_consumed or _is_text(begun)
            decoder = new_decoder(headers, is_compressed=not is_plain)
            if decoder is None:
                return begun
            body = b"".join(islice(decoder.decode(begun), _ERROR_PIECES))
            body += decoder.close()
        return body[:ERROR_BODY_BYTES]

    def _is_over(self) -> bool:
        return self._call.parser is not None and self._call.parser.finished

    def _status_error(self, headers: dict[str, str], begun: bytearray) -> PromptrunError:
        """Return the error of a status, with a response that holds nothing of the request."""
        response = self._response
        if response.status_code < HTTPStatus.OK:
            return not_http(f"the status {response.status_code}, which was not asked for")
        body = self._decode_error(headers, bytes(begun[:ERROR_BODY_BYTES]))
        error = error_from_status(response.status_code, headers, body, model=self._call.request.model)
        shown = [pair for pair in response.headers.raw if pair[0].lower() not in _UNSHOWN_HEADERS]
        error.response = httpx.Response(response.status_code, headers=shown, content=body)
        return error


def _is_text(data: bytes) -> bool:
    """Tell text, which may be cut off, from compressed data."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return data.translate(None, _CONTROLS) == data
