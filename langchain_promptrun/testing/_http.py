"""HTTP/1.1 as far as a server on loopback needs it: bytes -> requests, and the head and chunks of a response -> bytes.

Pure: no sockets, no waiting. RFC 9112.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_HEAD = 65_536
LAST_CHUNK = b"0\r\n\r\n"


class BadRequestError(Exception):
    """The bytes are no HTTP/1.1 request."""


@dataclass(frozen=True)
class Request:
    """One request as it stood on the wire; header names in lower case, repeated ones joined by a comma."""

    method: str
    target: str
    version: str
    headers: dict[str, str]
    body: bytes

    @property
    def keeps_alive(self) -> bool:
        """Whether the client lets the connection serve another request."""
        options = self.headers.get("connection", "").lower()
        return "close" not in options and (self.version == "HTTP/1.1" or "keep-alive" in options)


class RequestParser:
    """Takes bytes as they come and gives the requests that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: tuple[str, str, str, dict[str, str]] | None = None
        self._chunks = _Chunks()

    def feed(self, data: bytes) -> Sequence[Request]:
        """The requests that these bytes complete.

        Raises:
            BadRequestError: The bytes are no HTTP.
        """
        self._buffer += data
        found = []
        while (request := self._next()) is not None:
            found.append(request)
        return found

    def _next(self) -> Request | None:
        if self._head is None:
            self._head = self._take_head()
        if self._head is None:
            return None
        body = self._take_body(self._head[3])
        if body is None:
            return None
        method, target, version, headers = self._head
        self._head, self._chunks = None, _Chunks()
        return Request(method, target, version, headers, body)

    def _take_head(self) -> tuple[str, str, str, dict[str, str]] | None:
        while self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if max(end, len(self._buffer) if end < 0 else 0) > _LONGEST_HEAD:
            raise BadRequestError("the head is too long")
        if end < 0:
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        try:
            method, target, version = first.split(" ")
        except ValueError:
            raise BadRequestError("the request line is malformed") from None
        if not version.startswith("HTTP/1."):
            raise BadRequestError("the protocol is not HTTP/1")
        return method, target, version, _headers(lines)

    def _take_body(self, headers: dict[str, str]) -> bytes | None:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks.take(self._buffer)
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise BadRequestError("the content-length is no number")
        if len(self._buffer) < int(length):
            return None
        body = bytes(self._buffer[: int(length)])
        del self._buffer[: int(length)]
        return body


class _Chunks:
    """A body in chunks: collects their data until the last one. Trailers are dropped."""

    def __init__(self) -> None:
        self._data = bytearray()

    def take(self, buffer: bytearray) -> bytes | None:
        """The whole body once its last chunk is in the buffer; removes what it has read."""
        while (end := buffer.find(b"\r\n")) >= 0:
            try:
                size = int(bytes(buffer[:end]).split(b";")[0], 16)
            except ValueError:
                raise BadRequestError("a chunk's size is no number") from None
            if size == 0:
                return self._finish(buffer, end)
            if len(buffer) < end + size + 4:
                return None
            self._data += buffer[end + 2 : end + 2 + size]
            del buffer[: end + size + 4]
        return None

    def _finish(self, buffer: bytearray, end: int) -> bytes | None:
        trailers_end = buffer.find(b"\r\n\r\n", end)
        if trailers_end < 0:
            return None
        del buffer[: trailers_end + 4]
        return bytes(self._data)


def _headers(lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequestError("a header field has no colon")
        key = name.lower()
        found[key] = f"{found[key]}, {value.strip()}" if key in found else value.strip()
    return found


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """A response's status line and header fields."""
    lines = [f"HTTP/1.1 {status} {phrase(status)}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def phrase(status: int) -> str:
    """A status in words."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def chunk(data: bytes) -> bytes:
    """One piece of a body in chunked framing; an empty piece is no chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
