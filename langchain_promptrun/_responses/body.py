"""The body of one answer: bytes in, its event stream's events or its one JSON document out.

Owns which of the two a body is (the server decides, not the caller) and how large a piece of it may be. It must not
know what they say. Pure: no I/O, no clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_promptrun._responses.sse import Event, EventDecoder
from langchain_promptrun._wire.size_limit import too_large
from langchain_promptrun.errors import PromptrunStreamTruncatedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELD_NAMES = (b"data:", b"event:", b"retry:", b"id:", b":")
_LONGEST_FIELD_NAME = 6
_BLANK = b" \t\r\n\xef\xbb\xbf"
_NO_STREAM = (b"{", b"[", b"<")


class Body:
    """Push parser for a body.

    Args:
        headers: The answer's headers, names in lower case.
        max_event_bytes: Size, in bytes, that one event, one line or a whole JSON body may have.

    Attributes:
        decoder: Reads the rest of the body, once it is known to be an event stream.
    """

    __slots__ = ("_declared", "_limit", "_pieces", "_size", "decoder", "is_document")

    def __init__(self, headers: Mapping[str, str], max_event_bytes: int) -> None:
        self._declared = "event-stream" in headers.get("content-type", "")
        self._limit = max_event_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self.is_document = False
        self.decoder: EventDecoder | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that they complete.

        Raises:
            PromptrunResponseError: An event, a line or a document is larger than `max_event_bytes`.
        """
        if self.decoder is not None:
            return self.decoder.decode(data)
        self._pieces.append(data)
        self._size += len(data)
        events = [] if self.is_document else self._decide(at_end=False)
        if self.decoder is None and self._size > self._limit:
            raise too_large(f"The server's answer is larger than {self._limit} bytes (max_event_bytes).")
        return events

    def close(self) -> list[Event]:
        """Take the end of the body; return the event that was still open, or the document as a nameless event.

        Raises:
            PromptrunStreamTruncatedError: There was nothing in the body.
        """
        events = [] if self.decoder or self.is_document else self._decide(at_end=True)
        if self.decoder is not None:
            return [*events, *self.decoder.flush()]
        document = b"".join(self._pieces).rstrip()
        self._pieces = []
        if not document:
            raise PromptrunStreamTruncatedError("The server's answer is empty.")
        return [(b"", document)]

    def _decide(self, *, at_end: bool) -> list[Event]:
        """Tell an event stream from a document by its first bytes; the content type decides only in doubt."""
        head = b"".join(self._pieces).lstrip(_BLANK)
        self._pieces = [head]
        self._size = len(head)
        if len(head) < _LONGEST_FIELD_NAME and not at_end:
            return []
        is_stream = not head.startswith(_NO_STREAM) if self._declared else head.startswith(_FIELD_NAMES)
        self.is_document = not is_stream
        if self.is_document:
            return []
        self._pieces = []
        self.decoder = EventDecoder(self._limit)
        return self.decoder.decode(head)
