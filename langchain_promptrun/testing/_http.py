"""Requests as they were read, and the steps in which a response that a fault spoils goes over the connection."""

import hmac
import json
import math
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NamedTuple, Self

from langchain_promptrun.testing._items import Fault, Headers, Wait

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
PING = b": ping\n\n"
LAST_CHUNK = b"0\r\n\r\n"
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
PHRASES = {int(status): status.phrase for status in HTTPStatus}
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


@dataclass(eq=False)
class RecordedRequest:
    """One request, and what became of it. The server's thread writes its flags, any other reads them.

    Attributes:
        number: Counts from 1; the response's `x-request-id` is `req-<number>`.
        target: The target in the request line; absolute when the server was used as a proxy.
        headers: Header fields, names in lower case; keys are replaced by `***`.
        body: The body parsed as JSON; None where it is empty or not JSON.
        raw: The body's bytes.
        time: When it came in, in seconds since the epoch.
        connection: The number of its connection, from 1: equal numbers mean a connection kept alive.
        status: The answer's status; None as long as it is not known.
        answered: Whether the whole answer is on its way, or what a fault left of it.
        disconnected: Whether the client left before that.
    """

    number: int
    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    raw: bytes = field(repr=False)
    connection: int
    time: float = field(default_factory=time.time)
    status: int | None = None
    answered: bool = False
    disconnected: bool = False
    key_digest: bytes = field(default=b"", repr=False)

    def has_key(self, key: str) -> bool:
        """Return whether the request carried this API key. The record holds only its digest."""
        return hmac.compare_digest(self.key_digest, sha256(key.encode()).digest())

    @property
    def in_flight(self) -> bool:
        return not (self.answered or self.disconnected)


class Pause(NamedTuple):
    """Wait; send a comment every so many seconds meanwhile."""

    until: Wait
    every: float | None = None
    comment: bytes = b""


class Hangup(NamedTuple):
    reset: bool = False


Step = bytes | Pause | Hangup  # what a connection does next; bytes are sent in one flush


class Response(NamedTuple):
    """A response, and what spoils it; numbers and events between its pieces are pauses."""

    status: int
    content_type: str
    pieces: Sequence[bytes | Wait]
    headers: Headers = ()
    pace: float | None = None
    fault: Fault = Fault()

    def spoiled(self, fault: Fault) -> Self:
        return self._replace(fault=fault, status=self.status if fault.status == HTTPStatus.OK else fault.status)


def encode(value: Any) -> bytes:
    """Return compact JSON; lone surrogates go out escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def decode(text: str | bytes) -> Any:
    """Parse JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def event(document: Any, number: int | None = None) -> bytes:
    """Return a server-sent event: a text as it is, anything else as JSON; with an `id:` line for a number."""
    data = document.encode() if isinstance(document, str) else encode(document)
    return (b"" if number is None else b"id: %d\n" % number) + b"data: " + data + b"\n\n"


def json_response(document: Any, status: int = 200, headers: Headers = ()) -> Response:
    return Response(status, JSON, [encode(document)], headers)


def pairs(headers: Headers) -> list[tuple[str, str]]:
    items = headers if isinstance(headers, Sequence) else headers.items()
    return [(name.lower(), value) for name, value in items]


def head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {PHRASES.get(status, 'Unknown')}\r\n{fields}\r\n".encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    """Frame a piece; an empty one would end the body (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def steps(response: Response, method: str) -> Iterator[Step]:
    """Yield the steps of a response; what goes wrong does so before the head or at a point in the body."""
    fault = response.fault
    after_head = fault.comments is not None or fault.error is not None or fault.cut == "clean"
    if fault.delay is not None:
        yield Pause(fault.delay)
    if fault.after is None and fault.after_bytes is None and not after_head:
        yield from _trouble(fault)
        response = response._replace(fault=replace(fault, pause=None, cut=False, reset=False))
    yield from _sent(response, method)


def _sent(response: Response, method: str) -> Iterator[Step]:
    fault, told = response.fault, pairs(response.fault.headers)
    streams = dict(told).get("content-type", response.content_type).startswith("text/event-stream")
    framing = fault.framing or _framing(fault, streams=streams)
    body = list(_spoiled(response, PING if streams else b"\n"))
    length = str(sum(len(step) for step in body if isinstance(step, bytes)))
    framings = {"chunked": ("transfer-encoding", "chunked"), "length": ("content-length", length)}
    encodings = [("content-encoding", fault.encoding)] if fault.encoding else []
    own = [("content-type", response.content_type), *pairs(response.headers), *encodings]
    own.append(framings.get(framing, ("connection", "close")))
    headers = [pair for pair in own if pair[0] not in dict(told)] + told
    if method == "HEAD" or response.status in BODILESS:
        yield head(response.status, [pair for pair in headers if pair not in framings.values()])
        return
    framed = list(_framed(body, fault.encoding, is_chunked=framing == "chunked"))
    start = b"" if framing == "raw" else head(response.status, headers)
    if len(framed) == 1 and isinstance(framed[0], bytes):
        yield start + framed[0]  # a body of one piece goes out in one flush with the head, a stream after it
    else:
        yield from (start, *framed)
    if framing in {"close", "raw"} or dict(headers).get("content-length", length) != length:
        yield Hangup()


def _framing(fault: Fault, *, streams: bool) -> str:
    is_whole = fault.slices is None and fault.encoding is None and fault.comments is None
    return "length" if is_whole and not streams else "chunked"


def _spoiled(response: Response, comment: bytes) -> Iterator[Step]:
    """Yield the body's pieces, and at the fault's point what goes wrong there; `after_bytes` may cut a piece in two."""
    fault, pieces = response.fault, deque(_paced(response))
    by_bytes = fault.after_bytes is not None
    left = (fault.after_bytes if by_bytes else fault.after) or 0
    while pieces:
        step = pieces.popleft()
        size = 0 if isinstance(step, Pause) else len(step) if by_bytes else 1
        if isinstance(step, bytes) and size > left:
            inside = left if by_bytes else 0
            yield from [step[:inside]] if inside else []
            pieces.appendleft(step[inside:])
            break
        left -= size
        yield step
    yield from _trouble(fault, comment)
    if fault.cut != "clean" and fault.error is None:
        yield from pieces


def _paced(response: Response) -> Iterator[bytes | Pause]:
    pace = response.pace if response.fault.pace is None else response.fault.pace
    for number, piece in enumerate(response.pieces):
        if number and pace:
            yield Pause(pace)
        yield piece if isinstance(piece, bytes) else Pause(piece)


def _trouble(fault: Fault, comment: bytes = b"") -> Iterator[Step]:
    if fault.comments is not None:
        yield Pause(math.inf if fault.pause is None else fault.pause, fault.comments, comment)
    elif fault.pause is not None:
        yield Pause(fault.pause)
    if fault.error is not None:
        yield event(fault.error)
    if fault.cut is True or fault.reset:
        yield Hangup(fault.reset)


def _framed(body: Iterable[Step], encoding: str | None, *, is_chunked: bool) -> Iterator[Step]:
    """Yield the steps of a body, compressed so that each piece can be read at once."""
    compressor = zlib.compressobj(wbits=_WINDOW_BITS[encoding]) if encoding else None

    def framed(piece: bytes) -> bytes:
        if compressor is not None:
            piece = compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return chunk(piece) if is_chunked else piece

    for step in body:
        if isinstance(step, bytes):
            yield framed(step)
        elif isinstance(step, Pause) and step.comment:
            yield step._replace(comment=framed(step.comment))
        else:
            yield step
    end = compressor.flush() if compressor is not None else b""
    if is_chunked:
        yield chunk(end) + LAST_CHUNK
    elif end:
        yield end
