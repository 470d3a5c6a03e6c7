"""Split the bytes of a body into events, or keep them as one JSON document; bound what is kept of an answer.

Event streams are read as WHATWG HTML, section 9.2 "Server-sent events", says: lines are split on bytes, so line breaks
that only Unicode knows (U+2028, U+2029, U+0085) stay part of the data.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_promptrun.errors import PromptrunResponseError, PromptrunStreamTruncatedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOM = b"\xef\xbb\xbf"
_PLAIN = b"data: "
_BLANK_LINE = [b""]
_IGNORED = frozenset({b"", b"id", b"retry"})
_OPENINGS, _ENDINGS = (b"{", b"["), (b"}", b"]")
_FIELD_NAME = re.compile(rb"[A-Za-z_-]{1,32}")
_UNKNOWN_FIELD = re.compile(r"(?i)(?!error|exception|fatal)[\w-]{1,32}:")
_MAX_STRAY = 65_536

_FIELD_NAMES = (b"data:", b"event:", b"retry:", b"id:", b":")
_LONGEST_FIELD_NAME = 6
_BLANK = b" \t\r\n" + _BOM
_NO_STREAM = (b"{", b"[", b"<")
_JSON_LINES = ("ndjson", "jsonl", "json-lines")

Event = tuple[bytes, bytes]
"""An event's name (empty when it has none) and its data."""


class SizeLimit:
    """Counts the bytes that are kept of an answer until its end; a `limit` of None allows any number."""

    __slots__ = ("_used", "limit")

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._used = 0

    def add(self, size: int) -> None:
        """Count bytes; raise a PromptrunResponseError where they are too many."""
        self._used += size
        if self.limit is not None and self._used > self.limit:
            raise _too_large(f"The server's answer holds more than {self.limit} bytes that are kept until its end")

    def add_value(self, value: Any, *, instead_of: Any = None) -> None:
        """Count the bytes that a value takes, beyond those of the one that it replaces."""
        if self.limit is not None:
            self.add(max(0, len(repr(value)) - (0 if instead_of is None else len(repr(instead_of)))))


class Body:
    """Push parser for a body: an event stream, or a document; `decoder` reads the stream once it is known to be one."""

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
            raise _too_large(f"The server's answer is larger than {self._limit} bytes")
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


class EventDecoder:
    """Push parser for an event stream; it also reads documents on a line of their own, and keeps `stray` lines."""

    def __init__(self, max_event_bytes: int) -> None:
        self._limit = max_event_bytes
        self._tail = bytearray()
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = b""
        self._after_cr = False
        self._between = False
        self.has_answer = False
        self.stray = bytearray()
        self._late = bytearray()

    def decode(self, data: bytes) -> list[Event]:
        """Take the next bytes, cut anywhere; return the events that they complete, in order."""
        if self._between:
            # Most servers send exactly one plain event in a packet.
            lines = data.splitlines()
            if lines[1:] == _BLANK_LINE and lines[0].startswith(_PLAIN) and len(lines[0]) <= self._limit:
                return [(b"", lines[0][6:])]
        events: list[Event] = []
        for line in self._lines(data):
            self._take_line(line, events)
        self._between = not (self._tail or self._data or self._name or self._after_cr)
        return events

    def flush(self) -> list[Event]:
        """Take the end of the stream; return the event that was still open: many servers leave out the last line."""
        events: list[Event] = []
        for line in (bytes(self._tail), b""):
            self._take_line(line, events)
        self._tail.clear()
        return events

    def late_words(self) -> str:
        """Return the stray lines after the first event, without fields of unknown names."""
        lines = self._late.decode("utf-8", "replace").splitlines()
        return "\n".join(line for line in lines if not _UNKNOWN_FIELD.match(line))

    def _lines(self, data: bytes) -> list[bytes]:
        """Split off whole lines (LF, CRLF, CR) and keep the rest."""
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if not data:
            return []
        self._after_cr = data[-1:] == b"\r"
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._tail:
            lines[0] = bytes(self._tail + lines[0])
            self._tail.clear()
        if rest:
            self._tail += rest
            self._check(len(self._tail) + self._data_size)
        return lines

    def _take_line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            if self._data:
                events.append((self._name, b"\n".join(self._data)))
                self._data, self._data_size = [], 0
            self._name = b""
        elif line.startswith(_PLAIN):
            self._add_data(line[6:])
        else:
            self._check(len(line))
            field, _, value = line.partition(b":")
            # The standard ignores a field with a blank or a mark before its name; some servers indent all of them, and
            # some put one stream behind another.
            field, value = field.lstrip().removeprefix(_BOM), value.removeprefix(b" ")
            if field == b"data":
                self._add_data(value)
            elif field == b"event":
                self._name = value
            elif field not in _IGNORED:
                self._take_stray(line, events, is_field=_FIELD_NAME.fullmatch(field) is not None)

    def _take_stray(self, line: bytes, events: list[Event], *, is_field: bool) -> None:
        """Take a line outside the standard: JSON without `data:`, a further line of a document, an error page."""
        text = line.strip(_BLANK)
        if self._data and not is_field:
            self._add_data(line)
        elif text.startswith(_OPENINGS) and text.endswith(_ENDINGS):
            events.append((self._name, text))
            self._name = b""
        elif len(self.stray) < _MAX_STRAY:
            self.stray += line[:_MAX_STRAY] + b"\n"
            if self.has_answer or events:
                self._late += line[:_MAX_STRAY] + b"\n"

    def _add_data(self, value: bytes) -> None:
        self._data.append(value)
        # The field's name counts, too: else a server could send empty lines of data for ever.
        self._data_size += len(_PLAIN) + len(value)
        self._check(self._data_size)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise _too_large(f"The server sent a stream event of more than {self._limit} bytes")


def _too_large(problem: str) -> PromptrunResponseError:
    error = PromptrunResponseError(f"{problem} (`max_event_bytes`). Increase it if such answers are expected.")
    # The next answer would be as large.
    error.is_retryable = False
    return error
