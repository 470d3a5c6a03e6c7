"""A request -> its recorded answer, or the upstream's answer, which is recorded as it passes."""

import logging
import math
import sys
import time
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import httpx

from langchain_promptrun.testing import _http
from langchain_promptrun.testing._cassette import Cassette, is_secret_header, is_unreachable, pieces_of, secrets_of
from langchain_promptrun.testing._http import Hangup, RecordedRequest, Request, Response, Step
from langchain_promptrun.testing._items import Fault, Reply, Settings
from langchain_promptrun.testing._routes import Routes

Slices = int | Callable[[bytes], Sequence[bytes]]  # cuts a replayed body: pieces of so many bytes, or a function
_KEPT_HEADERS = (
    *("content-type", "content-encoding", "location"),
    *("retry-after", "x-request-id", "x-should-retry", "x-ratelimit-"),
)
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
_NOT_PASSED = _HOP_BY_HOP | {"accept-encoding", "content-length", "expect", "host", "proxy-connection"}
_CUT = {"cut": True}
_ENDS: dict[str, Any] = {"cut": _CUT, "unreachable": _CUT, "reset": {"reset": True}, "silence": {"pause": math.inf}}
_SILENCE = 0.25  # seconds after which a client that leaves was tired of waiting
_INFLATED = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB = 47
_logger = logging.getLogger("langchain_promptrun.testing")


class CassetteRoutes(Routes):
    """Answers from a cassette; with an upstream, requests that it lacks are forwarded and recorded."""

    replays = True

    def __init__(
        self,
        settings: Settings,
        cassette: Cassette,
        upstream: str | None = None,
        *,
        speed: float | None = None,
        slices: Slices | None = None,
    ) -> None:
        super().__init__(settings)
        self.records = upstream is not None
        self._cassette = cassette
        self._upstream = (upstream or "").rstrip("/")
        self._speed = speed
        self._slices = slices
        self._client: httpx.AsyncClient | None = None

    def open(self) -> None:
        """Make the client for the upstream; it keeps no cookies, which one caller's answer would give to another."""
        if self.records:
            self._cassette.begin()
            timeout, limits = httpx.Timeout(None, connect=30.0), httpx.Limits()
            jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            self._client = httpx.AsyncClient(timeout=timeout, limits=limits, cookies=jar)
            self._writer = ThreadPoolExecutor(1)
            self._writes: list[Future[None]] = []

    async def close(self) -> None:
        """Close the client and wait until all is written; raises what kept an exchange from the file."""
        if self._client is not None:
            await self._client.aclose()
            self._writer.shutdown()
            for write in self._writes:
                write.result()

    async def handle(self, request: Request, connection: int) -> tuple[RecordedRequest, AsyncGenerator[Step]]:
        secrets = secrets_of(request.headers.items(), parse_qsl(urlsplit(request.target).query))
        record = self.record(request, connection)
        queue: Any = self.prompts.faults if record.path == "/v1/prompt" else self.queue
        if queue and brings_its_own(queue[0]):
            return record, self.answer(record, request)
        try:
            exchange = self._cassette.take(record, secrets)
            if exchange is not None and not (self._client and is_unreachable(exchange)):
                response, fault = self._replayed(exchange["response"], queue.popleft() if queue else Fault())
                return record, self.play(record, request, response, fault)
            if self._client is not None:
                self.requests.append(record)
                return record, self._forwarded(self._client, record, request, secrets)
            self.missing.append(self._cassette.describe_missing(record, secrets))
        except ValueError as error:  # raised by the functions `match` and `slices`
            self.missing.append(str(error))
        refused = {"message": self.missing[-1], "type": "invalid_request_error", "param": None, "code": "not_recorded"}
        return record, self.play(record, request, _http.json_response({"error": refused}, 400), Fault())

    def _replayed(self, recorded: dict[str, Any], fault: Fault) -> tuple[Response, Fault]:
        """Return a recorded response, and the fault with the delay and the end that were recorded."""
        headers = dict(recorded["headers"])
        if self._speed is None:  # a client that retries would wait as long as it had to when this was recorded
            headers |= dict.fromkeys((name for name in headers if name.startswith("retry-after")), "0")
        kind = headers.pop("content-type", "application/octet-stream")
        pieces: list[bytes | float] = []
        for pause, piece in self._cut(pieces_of(recorded)):
            pieces += [pause / self._speed, piece] if self._speed and pause else [piece]
        response = Response(recorded["status"] or HTTPStatus.OK, kind, pieces, headers)
        if self._speed and fault.delay is None:
            fault = replace(fault, delay=recorded["delay"] / self._speed)
        if "end" in recorded and not (fault.cut or fault.reset or fault.error is not None):
            point = None if recorded["status"] is None else sys.maxsize
            fault = replace(fault, framing="chunked", after=point, after_bytes=None, **_ENDS[recorded["end"]])
        if fault.error is not None and not kind.lower().startswith("text/event-stream"):
            return _http.json_response(fault.error), replace(fault, error=None)
        return response, fault

    def _cut(self, pieces: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
        if self._slices is None:
            return pieces
        body, size = b"".join(piece for _, piece in pieces), self._slices
        cut = [body[at : at + size] for at in range(0, len(body), size)] if isinstance(size, int) else size(body)
        if b"".join(cut) != body:
            raise ValueError("`slices` must give the pieces of the whole body.")
        pause = sum(pause for pause, _ in pieces) / max(1, len(cut))
        return [(pause, piece) for piece in cut]

    async def _forwarded(
        self, client: httpx.AsyncClient, record: RecordedRequest, request: Request, secrets: list[str]
    ) -> AsyncGenerator[Step]:
        recording, parts = _Recording(record), urlsplit(request.target)
        url = self._upstream + urlunsplit(("", "", parts.path.removeprefix("/v1"), parts.query, ""))
        fields = {name: value for name, value in request.headers.items() if name not in _NOT_PASSED}
        fields["accept-encoding"] = "identity"  # what is written is to be text, whatever the client takes
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        asking = client.stream(request.method, url, headers=headers, content=request.body)
        try:
            async with asking as response, aclosing(recording.passed(response)) as pieces:
                async for piece in pieces:
                    yield piece
            if not request.keeps_alive:
                yield Hangup()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            recording.end = "unreachable"
            self.missing.append(f"The upstream {self._upstream} cannot be reached: {error}.")
            _logger.warning(self.missing[-1])
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


def brings_its_own(item: Reply | Fault) -> bool:
    """Return whether an item is an answer, not something that happens to the recorded one."""
    own = isinstance(item, Reply) or item.status != HTTPStatus.OK
    return own or any(getattr(item, name) is not None for name in ("body", "events", "slices", "reply"))


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
        fields, is_chunked = self._head(response, inflated=inflated)
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

    def _head(self, response: httpx.Response, *, inflated: bool) -> tuple[list[tuple[str, str]], bool]:
        """Take note of the head; return the header fields to pass on, and whether the body goes on in chunks."""
        gone = _NOT_PASSED | ({"content-encoding"} if inflated else set())
        raw = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw]
        fields = [pair for pair in raw if pair[0] not in gone]
        kept = {name: value for name, value in fields if name.startswith(_KEPT_HEADERS) and not is_secret_header(name)}
        status = self._record.status = response.status_code
        self.response |= {"status": status, "headers": kept, "delay": self.pause()}
        self.secrets = secrets_of(response.headers.multi_items())
        length = None if inflated else response.headers.get("content-length")
        if length is not None:
            return [*fields, ("content-length", length)], False
        if self._record.method == "HEAD" or status in _http.BODILESS:
            return fields, False
        return [*fields, ("transfer-encoding", "chunked")], True

    def pause(self) -> float:
        """Return the seconds since the last call."""
        now = time.monotonic()
        pause, self._last = now - self._last, now
        return round(pause, 4)
