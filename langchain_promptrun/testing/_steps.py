"""A response and a fault -> the steps in which it goes over the connection: bytes, pauses, the connection's end."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing import _documents

if TYPE_CHECKING:
    from langchain_promptrun.testing._items import Fault, Framing, Headers, Wait
    from langchain_promptrun.testing._requests import Request

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
LAST_CHUNK = b"0\r\n\r\n"
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_PING = b": ping\n\n"
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


@dataclass(frozen=True)
class Pause:
    """Wait; send a comment every so many seconds meanwhile."""

    until: Wait
    every: float | None = None
    comment: bytes = b""


@dataclass(frozen=True)
class Hangup:
    reset: bool = False


Step = bytes | Pause | Hangup
"""What a connection does next; bytes are sent in one flush."""


@dataclass(frozen=True)
class Response:
    """A response before a fault; numbers and events between its pieces are pauses."""

    status: int
    content_type: str
    pieces: Sequence[bytes | Wait]
    headers: Headers = ()
    pace: float | None = None


def json_response(document: Any, status: int = 200, headers: Headers = ()) -> Response:
    return Response(status, JSON, [_documents.encode(document)], headers)


def body_response(body: Any) -> Response:
    """Return a response with a text, bytes, or a JSON document."""
    if not isinstance(body, bytes | str):
        return json_response(body)
    return Response(200, "text/plain; charset=utf-8", [body.encode() if isinstance(body, str) else body])


def steps(response: Response, fault: Fault, request: Request) -> Iterator[Step]:
    if fault.delay is not None:
        yield Pause(fault.delay)
    before_head = fault.after is None and fault.after_bytes is None
    inside = fault.comments is not None or fault.error is not None
    if before_head and fault.pause is not None and not inside:
        yield Pause(fault.pause)
    if before_head and (fault.cut is True or fault.reset):
        yield Hangup(fault.reset)
    else:
        at_point = inside or fault.cut == "clean" or not before_head
        yield from _sent(response, fault, request, at_point=at_point)


def _sent(response: Response, fault: Fault, request: Request, *, at_point: bool) -> Iterator[Step]:
    body = _Body(response, fault)
    headers = _headers(response, fault, body)
    status = response.status if fault.status == HTTPStatus.OK else fault.status
    if request.method == "HEAD" or status in BODILESS:
        yield head(status, [pair for pair in headers if pair[0] not in {"content-length", "transfer-encoding"}])
        return
    yield from _joined(b"" if fault.framing == "raw" else head(status, headers), body.steps(at_point=at_point))
    lengths = {value for name, value in headers if name == "content-length"}
    if not request.keeps_alive or body.framing in {"close", "raw"} or lengths - {str(body.length)}:
        yield Hangup()


def _joined(head: bytes, body: Iterator[Step]) -> Iterator[Step]:
    """Send the head in one flush with a body of one piece, on its own before a stream."""
    first, second = next(body, b""), next(body, None)
    if isinstance(first, bytes) and second is None:
        yield head + first
        return
    yield from (step for step in (head, first, second) if step is not None and step != b"")
    yield from body


def head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} {phrase(status)}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def pairs(headers: Headers) -> list[tuple[str, str]]:
    items = headers if isinstance(headers, Sequence) else headers.items()
    return [(name.lower(), value) for name, value in items]


def _headers(response: Response, fault: Fault, body: _Body) -> list[tuple[str, str]]:
    framings = {"chunked": ("transfer-encoding", "chunked"), "length": ("content-length", str(body.length))}
    own = [("content-type", response.content_type), *pairs(response.headers)]
    own.append(framings.get(body.framing, ("connection", "close")))
    if fault.encoding is not None:
        own.append(("content-encoding", fault.encoding))
    told = pairs(fault.headers)
    names = {name for name, _ in told}
    return [pair for pair in own if pair[0] not in names] + told


class _Body:
    """A body's pieces before and after the point where it goes wrong."""

    def __init__(self, response: Response, fault: Fault) -> None:
        kind = dict(pairs(fault.headers)).get("content-type", response.content_type)
        self._fault = fault
        self._streams = kind.startswith("text/event-stream")
        unknown_length = self._streams or fault.slices is not None or fault.encoding or fault.comments is not None
        self.framing: Framing = fault.framing or ("chunked" if unknown_length else "length")
        pieces = response.pieces if fault.slices is None else fault.slices
        self._before, rest = _split(_paced(pieces, response.pace if fault.pace is None else fault.pace), fault)
        self._rest = [] if fault.cut == "clean" or fault.error is not None else rest

    @property
    def length(self) -> int:
        return sum(len(piece) for piece in (*self._before, *self._rest) if isinstance(piece, bytes))

    def steps(self, *, at_point: bool) -> Iterator[Step]:
        frame = chunk if self.framing == "chunked" else bytes
        compress, finish = _compressor(self._fault.encoding)
        for step in self._plain(at_point=at_point):
            if isinstance(step, bytes):
                yield frame(compress(step))
            elif isinstance(step, Pause):
                yield Pause(step.until, step.every, frame(compress(step.comment)) if step.comment else b"")
            else:
                yield step
                return
        last = frame(finish()) + (LAST_CHUNK if self.framing == "chunked" else b"")
        if last:
            yield last

    def _plain(self, *, at_point: bool) -> Iterator[Step]:
        yield from self._before
        if at_point:
            yield from _trouble(self._fault, _PING if self._streams else b"\n")
        yield from self._rest


def chunk(data: bytes) -> bytes:
    """Frame a piece; an empty one would end the body (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


_Pieces = Sequence[bytes | Pause]


def _paced(pieces: Sequence[bytes | Wait], pace: float | None) -> _Pieces:
    paced: list[bytes | Pause] = []
    for piece in pieces:
        if paced and pace:
            paced.append(Pause(pace))
        paced.append(piece if isinstance(piece, bytes) else Pause(piece))
    return paced


def _split(pieces: _Pieces, fault: Fault) -> tuple[_Pieces, _Pieces]:
    """Split the pieces at a fault's point; `after_bytes` may cut a piece in two."""
    by_bytes = fault.after_bytes is not None
    left = (fault.after_bytes if by_bytes else fault.after) or 0
    for position, piece in enumerate(pieces):
        size = 0 if isinstance(piece, Pause) else len(piece) if by_bytes else 1
        if size > left and isinstance(piece, bytes):
            inside = left if by_bytes else 0
            start = [piece[:inside]] if inside else []
            return [*pieces[:position], *start], [piece[inside:], *pieces[position + 1 :]]
        left -= size
    return pieces, []


def _trouble(fault: Fault, comment: bytes) -> Iterator[Step]:
    if fault.comments is not None:
        yield Pause(math.inf if fault.pause is None else fault.pause, fault.comments, comment)
    elif fault.pause is not None:
        yield Pause(fault.pause)
    if fault.error is not None:
        yield _documents.event(fault.error)
    if fault.cut is True or fault.reset:
        yield Hangup(fault.reset)


def _compressor(encoding: str | None) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """Return what compresses a piece so that it can be read at once, and what ends the compressed body."""
    if encoding is None:
        return bytes, bytes
    stream = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
    return lambda piece: stream.compress(piece) + stream.flush(zlib.Z_SYNC_FLUSH), stream.flush
