"""A request -> the upstream's answer, which is recorded as it passes."""

import logging
import time
import zlib
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from langchain_promptrun.testing import _http
from langchain_promptrun.testing._cassette import Cassette, is_secret_header, secrets_of
from langchain_promptrun.testing._http import Hangup, RecordedRequest, Request, Step

_KEPT_HEADERS = (
    *("content-type", "content-encoding", "location"),
    *("retry-after", "x-request-id", "x-should-retry", "x-ratelimit-"),
)
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
_NOT_PASSED = _HOP_BY_HOP | {"accept-encoding", "content-length", "expect", "host", "proxy-connection"}
_SILENCE = 0.25  # seconds after which a client that leaves was tired of waiting
_INFLATED = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB = 47
_logger = logging.getLogger("langchain_promptrun.testing")


class Recorder:
    """Forwards requests and writes the answers into a cassette."""

    def __init__(self, cassette: Cassette, upstream: str, missing: list[str]) -> None:
        self._cassette = cassette
        self._upstream = upstream.rstrip("/")
        self._missing = missing

    def open(self) -> None:
        """Make the client for the upstream; it keeps no cookies, which one caller's answer would give to another."""
        self._cassette.begin()
        timeout, limits = httpx.Timeout(None, connect=30.0), httpx.Limits()
        jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._client = httpx.AsyncClient(timeout=timeout, limits=limits, cookies=jar)
        self._writer = ThreadPoolExecutor(1)
        self._writes: list[Future[None]] = []

    async def close(self) -> None:
        await self._client.aclose()

    def finish(self) -> None:
        """Wait until all is written; raises what kept an exchange from the file."""
        self._writer.shutdown()
        for write in self._writes:
            write.result()

    async def forward(self, record: RecordedRequest, request: Request, secrets: list[str]) -> AsyncGenerator[Step]:
        """Yield the steps of the upstream's answer; what was written down is redacted and added to the cassette."""
        recording, parts = _Recording(record), urlsplit(request.target)
        url = self._upstream + urlunsplit(("", "", parts.path.removeprefix("/v1"), parts.query, ""))
        fields = {name: value for name, value in request.headers.items() if name not in _NOT_PASSED}
        fields["accept-encoding"] = "identity"  # what is written is to be text, whatever the client takes
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        asking = self._client.stream(request.method, url, headers=headers, content=request.body)
        try:
            async with asking as response, aclosing(recording.passed(response)) as pieces:
                async for piece in pieces:
                    yield piece
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            recording.end = "unreachable"
            self._missing.append(f"The upstream {self._upstream} cannot be reached: {error}.")
            _logger.warning(self._missing[-1])
            yield Hangup()
        except (httpx.HTTPError, zlib.error) as error:
            recording.end = "reset" if isinstance(error, httpx.ReadError) else "cut"
            yield Hangup(recording.end == "reset")
        finally:
            if recording.end == "left":
                was_quick = record.status is not None and recording.pause() < _SILENCE
                recording.end = "cut" if was_quick else "silence"
            recorded = recording.response | ({"end": recording.end} if recording.end else {})
            done = recorded, bytes(recording.body), secrets, recording.secrets
            self._writes.append(self._writer.submit(self._cassette.add, record, *done))


class _Recording:
    """The response of the upstream, as far as it has come."""

    def __init__(self, record: RecordedRequest) -> None:
        self.response: dict[str, Any] = {"status": None, "headers": {}, "delay": 0.0, "pieces": []}
        self.body = bytearray()
        self.secrets: list[str] = []
        self.end = "left"
        self._record = record
        self._last = time.monotonic()

    async def passed(self, response: httpx.Response) -> AsyncGenerator[bytes]:
        """Yield the bytes to pass on; a body that is compressed all the same goes on inflated."""
        inflated = response.headers.get("content-encoding", "").lower() in _INFLATED
        inflater = zlib.decompressobj(_GZIP_OR_ZLIB) if inflated else None
        fields = self._head(response, _NOT_PASSED | ({"content-encoding"} if inflated else set()))
        length = None if inflated else response.headers.get("content-length")
        is_chunked = length is None and self._record.method != "HEAD" and response.status_code not in _http.BODILESS
        fields += [("transfer-encoding", "chunked")] if is_chunked else [("content-length", length)] if length else []
        yield _http.head(response.status_code, fields)
        async for raw_piece in response.aiter_raw():
            piece = raw_piece if inflater is None else inflater.decompress(raw_piece)
            self.body += piece
            self.response["pieces"].append((self.pause(), len(piece)))
            yield _http.chunk(piece) if is_chunked else piece
        if inflater is not None and self.response["pieces"] and not inflater.eof:
            raise zlib.error("the compressed body ends early")
        self.end = ""
        yield _http.LAST_CHUNK if is_chunked else b""

    def _head(self, response: httpx.Response, gone: set[str]) -> list[tuple[str, str]]:
        """Take note of the head; return the header fields to pass on."""
        raw = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw]
        fields = [pair for pair in raw if pair[0] not in gone]
        kept = {name: value for name, value in fields if name.startswith(_KEPT_HEADERS) and not is_secret_header(name)}
        self._record.status = response.status_code
        self.response |= {"status": response.status_code, "headers": kept, "delay": self.pause()}
        self.secrets = secrets_of(response.headers.multi_items())
        return fields

    def pause(self) -> float:
        """Return the seconds since the last call."""
        now = time.monotonic()
        pause, self._last = now - self._last, now
        return round(pause, 4)
