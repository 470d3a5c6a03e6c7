"""An answer, right or spoilt -> the steps in which it goes over the connection.

Pure. The three kinds of step are bytes to send in one flush, a pause, and the end of the connection; whoever plays them
needs to know nothing of HTTP. All of `Fault` is carried out here.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing import _http, _wire

if TYPE_CHECKING:
    from langchain_promptrun.testing._items import Fault, Framing, Headers, Wait

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
_PING = b": ping\n\n"
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


@dataclass(frozen=True)
class Pause:
    """Wait; every so many seconds send a comment meanwhile."""

    until: Wait
    every: float | None = None
    comment: bytes = b""


@dataclass(frozen=True)
class Hangup:
    """Close the connection, or reset it."""

    reset: bool = False


Step = bytes | Pause | Hangup


@dataclass(frozen=True)
class Response:
    """A response before any of it is spoilt."""

    status: int
    content_type: str
    pieces: Sequence[bytes]
    headers: Headers = ()
    pace: float | None = None


def json_response(document: Any, status: int = 200, headers: Headers = ()) -> Response:
    """A response with one JSON document."""
    return Response(status, JSON, [_wire.encode(document)], headers)


def steps(response: Response, fault: Fault, *, keeps_alive: bool) -> Iterator[Step]:
    """The steps of a response, with a fault's changes.

    Args:
        response: The answer that a right server would give.
        fault: What goes wrong; `Fault()` for nothing.
        keeps_alive: Whether the connection may serve another request.
    """
    body = _Body.of(response, fault)
    if fault.delay is not None:
        yield Pause(fault.delay)
    before_head = fault.after is None and fault.after_bytes is None
    if before_head:
        if fault.pause is not None and fault.comments is None and fault.error is None:
            yield Pause(fault.pause)
        if fault.cut is True or fault.reset:
            yield Hangup(fault.reset)
            return
    headers = _headers(response, fault, body)
    yield from _joined(_head(response, fault, headers), body.steps(fault, at_point=not before_head or _inside(fault)))
    lengths = {value for name, value in headers if name == "content-length"}
    if not keeps_alive or not body.ends_itself or lengths - {str(body.length)}:
        yield Hangup()


def _inside(fault: Fault) -> bool:
    """Whether a fault without a point can only happen after the head."""
    return fault.comments is not None or fault.error is not None or fault.cut == "clean"


def _joined(head: bytes, body: Iterator[Step]) -> Iterator[Step]:
    """The head goes out in one flush with a body of one piece, on its own before a stream."""
    first = next(body, b"")
    second = next(body, None)
    if isinstance(first, bytes) and second is None:
        yield head + first
        return
    yield from (step for step in (head, first, second) if step is not None and step != b"")
    yield from body


def _head(response: Response, fault: Fault, headers: Sequence[tuple[str, str]]) -> bytes:
    status = fault.status if fault.status != HTTPStatus.OK else response.status
    return b"" if fault.framing == "raw" else _http.head(status, headers)


def pairs(headers: Headers) -> list[tuple[str, str]]:
    """Header fields as pairs, the names in lower case."""
    items = headers if isinstance(headers, Sequence) else headers.items()
    return [(name.lower(), value) for name, value in items]


def _headers(response: Response, fault: Fault, body: _Body) -> list[tuple[str, str]]:
    own = [("content-type", response.content_type), *pairs(response.headers)]
    own += {"chunked": [("transfer-encoding", "chunked")], "length": [("content-length", str(body.length))]}.get(
        body.framing, [("connection", "close")]
    )
    if fault.encoding is not None:
        own.append(("content-encoding", fault.encoding))
    told = pairs(fault.headers)
    names = {name for name, _ in told}
    return [pair for pair in own if pair[0] not in names] + told


@dataclass(frozen=True)
class _Body:
    """A body's pieces before and after the point where it goes wrong, and how its end is told."""

    before: Sequence[bytes | Pause]
    rest: Sequence[bytes | Pause]
    framing: Framing
    streams: bool

    @classmethod
    def of(cls, response: Response, fault: Fault) -> _Body:
        streams = dict(pairs(fault.headers)).get("content-type", response.content_type).startswith("text/event-stream")
        loose = fault.slices is not None or streams or fault.encoding is not None or fault.comments is not None
        pieces = response.pieces if fault.slices is None else fault.slices
        before, rest = _split(_paced(pieces, response.pace if fault.pace is None else fault.pace), fault)
        ends_early = fault.cut == "clean" or fault.error is not None
        return cls(before, [] if ends_early else rest, fault.framing or ("chunked" if loose else "length"), streams)

    @property
    def ends_itself(self) -> bool:
        """Whether the client can tell the body's end without the connection's."""
        return self.framing in {"chunked", "length"}

    @property
    def length(self) -> int:
        """How many bytes the whole body has."""
        return sum(len(piece) for piece in (*self.before, *self.rest) if isinstance(piece, bytes))

    def steps(self, fault: Fault, *, at_point: bool) -> Iterator[Step]:
        """The body's steps, framed and compressed."""
        frame = _http.chunk if self.framing == "chunked" else bytes
        squeeze, finish = _compressor(fault.encoding)
        for step in self._plain(fault, at_point=at_point):
            if isinstance(step, bytes):
                yield frame(squeeze(step))
            elif isinstance(step, Pause):
                yield Pause(step.until, step.every, frame(squeeze(step.comment)) if step.comment else b"")
            else:
                yield step
                return
        last = frame(finish()) + (_http.LAST_CHUNK if self.framing == "chunked" else b"")
        if last:
            yield last

    def _plain(self, fault: Fault, *, at_point: bool) -> Iterator[Step]:
        yield from self.before
        if at_point:
            yield from _trouble(fault, _PING if self.streams else b"\n")
        yield from self.rest


def _paced(pieces: Sequence[bytes | Wait], pace: float | None) -> list[bytes | Pause]:
    """The pieces with their pauses, and with the same pause between any two."""
    paced: list[bytes | Pause] = []
    for piece in pieces:
        if paced and pace:
            paced.append(Pause(pace))
        paced.append(piece if isinstance(piece, bytes) else Pause(piece))
    return paced


_Pieces = Sequence[bytes | Pause]


def _split(pieces: list[bytes | Pause], fault: Fault) -> tuple[_Pieces, _Pieces]:
    """The pieces before and after a fault's point; with `after_bytes` the piece that it falls into is cut in two."""
    by_bytes = fault.after_bytes is not None
    left = (fault.after_bytes if by_bytes else fault.after) or 0
    for position, piece in enumerate(pieces):
        size = 0 if isinstance(piece, Pause) else len(piece) if by_bytes else 1
        if size > left and isinstance(piece, bytes):
            inside = left if by_bytes else 0
            cut = [piece[:inside]] if inside else []
            return [*pieces[:position], *cut], [piece[inside:], *pieces[position + 1 :]]
        left -= size
    return pieces, []


def _trouble(fault: Fault, comment: bytes) -> Iterator[Step]:
    """What happens at the point, in order."""
    if fault.comments is not None:
        yield Pause(math.inf if fault.pause is None else fault.pause, fault.comments, comment)
    elif fault.pause is not None:
        yield Pause(fault.pause)
    if fault.error is not None:
        yield _wire.event(fault.error)
    if fault.cut is True or fault.reset:
        yield Hangup(fault.reset)


def _compressor(encoding: str | None) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """How a piece is compressed so that it can be read at once, and what ends the compressed body."""
    if encoding is None:
        return bytes, bytes
    stream = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
    return lambda piece: stream.compress(piece) + stream.flush(zlib.Z_SYNC_FLUSH), stream.flush
