"""Tell whether a body is an event stream or one JSON document, and bound its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_promptrun._responses.sse import Event, EventDecoder, too_large
from langchain_promptrun.errors import PromptrunStreamTruncatedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELD_NAMES = (b"data:", b"event:", b"retry:", b"id:", b":")
_LONGEST_FIELD_NAME = 6
_BLANK = b" \t\r\n\xef\xbb\xbf"
_NO_STREAM = (b"{", b"[", b"<")
_JSON_LINES = ("ndjson", "jsonl", "json-lines")


class SizeLimit:
    """Counts the bytes that are kept of an answer until its end.

    Args:
        limit: How many there may be, `max_event_bytes`; None for any number.
    """

    __slots__ = ("_used", "limit")

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._used = 0

    def add(self, size: int) -> None:
        """Count bytes; raise a PromptrunResponseError where they are too many."""
        self._used += size
        if self.limit is not None and self._used > self.limit:
            raise too_large(f"The server's answer holds more than {self.limit} bytes that are kept until its end")

    def add_value(self, value: Any, *, instead_of: Any = None) -> None:
        """Count the bytes that a value takes as JSON, at the least, beyond those of the one that it replaces."""
        if self.limit is not None:
            self.add(max(0, _weight(value) - (0 if instead_of is None else _weight(instead_of))))


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
        content_type = headers.get("content-type", "").lower()
        self._declared = "event-stream" in content_type
        self._limit = max_event_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self.is_document = False
        self.decoder: EventDecoder | None = None
        if any(name in content_type for name in _JSON_LINES):
            self.decoder = EventDecoder(max_event_bytes)

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that they complete."""
        if self.decoder is not None:
            return self.decoder.decode(data)
        self._pieces.append(data)
        self._size += len(data)
        events = [] if self.is_document else self._decide(at_end=False)
        if self.decoder is None and self._size > self._limit:
            raise too_large(f"The server's answer is larger than {self._limit} bytes")
        return events

    def close(self) -> list[Event]:
        """Take the end of the body; return the event that was still open, or the document as a nameless event.

        An empty body raises a PromptrunStreamTruncatedError.
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


def _weight(value: Any) -> int:
    kind = type(value)
    if kind is str:
        return len(value) + 2
    if kind is list:
        return 2 + sum(map(_weight, value))
    if kind is dict:
        return 2 + sum(map(_weight, value)) + sum(map(_weight, value.values()))
    return 1
