"""Split the bytes of a body into events, or keep them as one JSON document.

Event streams are read as WHATWG HTML, section 9.2 "Server-sent events", says: lines are split on bytes, so line breaks
that only Unicode knows (U+2028, U+2029, U+0085) stay part of the data.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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


class Body:
    """Push parser for a body: an event stream, or a document.

    A stream may also bring documents on a line of their own; its other lines outside the standard are kept as `stray`.
    Set `has_answer` once an answer has begun: further stray lines are late words.
    """

    def __init__(self, headers: Mapping[str, str], max_event_bytes: int, *, is_stream: bool = False) -> None:
        content_type = headers.get("content-type", "").lower()
        self._declared = "event-stream" in content_type
        self._limit = max_event_bytes
        self.is_stream = is_stream or any(name in content_type for name in _JSON_LINES)
        self.is_document = False
        # The rest of a stream's last line, all of a document.
        self._tail = bytearray()
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = b""
        self._after_cr = False
        self._between = False
        self.has_answer = False
        self.stray = bytearray()
        self._late = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes, cut anywhere; return the events that they complete, in order."""
        if self._between:
            # Most servers send exactly one plain event in a packet.
            lines = data.splitlines()
            if lines[1:] == _BLANK_LINE and lines[0].startswith(_PLAIN) and len(lines[0]) <= self._limit:
                return [(b"", lines[0][6:])]
        if not self.is_stream:
            self._tail += data
            data = b"" if self.is_document else self._decide(at_end=False)
            if len(self._tail) > self._limit:
                raise too_large(f"The server's answer is larger than {self._limit} bytes")
            if not self.is_stream:
                return []
        events: list[Event] = []
        for line in self._lines(data):
            self._take_line(line, events)
        self._between = not (self._tail or self._data or self._name or self._after_cr)
        return events

    def close(self) -> list[Event]:
        """Take the end of the body; return the event that was still open, or the document as a nameless event.

        Many servers leave out a stream's last line. An empty body raises a PromptrunStreamTruncatedError.
        """
        events = []
        if not (self.is_stream or self.is_document) and (head := self._decide(at_end=True)):
            events = self.feed(head)
        tail = bytes(self._tail)
        self._tail.clear()
        if self.is_stream:
            for line in (tail, b""):
                self._take_line(line, events)
        elif document := tail.rstrip():
            events.append((b"", document))
        else:
            raise PromptrunStreamTruncatedError("The server's answer is empty.")
        return events

    def late_words(self) -> str:
        """Return the stray lines after the first event, without fields of unknown names."""
        lines = self._late.decode("utf-8", "replace").splitlines()
        return "\n".join(line for line in lines if not _UNKNOWN_FIELD.match(line))

    def _decide(self, *, at_end: bool) -> bytes:
        """Tell a stream from a document by its first bytes, by its declared type in doubt; return a stream's head."""
        head = self._tail.lstrip(_BLANK)
        self._tail = head
        if len(head) < _LONGEST_FIELD_NAME and not at_end:
            return b""
        self.is_stream = not head.startswith(_NO_STREAM) if self._declared else head.startswith(_FIELD_NAMES)
        self.is_document = not self.is_stream
        if self.is_document:
            return b""
        self._tail = bytearray()
        return bytes(head)

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
            return
        if line.startswith(_PLAIN):
            field, value = b"data", line[6:]
        else:
            self._check(len(line))
            field, _, value = line.partition(b":")
            # The standard ignores a field with a blank or a mark before its name; some servers indent all of them, and
            # some put one stream behind another.
            field, value = field.lstrip().removeprefix(_BOM), value.removeprefix(b" ")
        if field == b"data" or (self._data and not (field in _IGNORED or _FIELD_NAME.fullmatch(field))):
            # Without a field's name it is a further line of a document.
            self._data.append(value if field == b"data" else line)
            # The field's name counts, too: else a server could send empty lines of data for ever.
            self._data_size += len(_PLAIN) + len(self._data[-1])
            self._check(self._data_size)
        elif field == b"event":
            self._name = value
        elif field not in _IGNORED:
            self._take_stray(line, events)

    def _take_stray(self, line: bytes, events: list[Event]) -> None:
        """Take a line outside the standard: JSON without `data:`, or a part of an error page."""
        text = line.strip(_BLANK)
        if text.startswith(_OPENINGS) and text.endswith(_ENDINGS):
            events.append((self._name, text))
            self._name = b""
        elif len(self.stray) < _MAX_STRAY:
            self.stray += line[:_MAX_STRAY] + b"\n"
            if self.has_answer or events:
                self._late += line[:_MAX_STRAY] + b"\n"

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise too_large(f"The server sent a stream event of more than {self._limit} bytes")


def too_large(problem: str) -> PromptrunResponseError:
    error = PromptrunResponseError(f"{problem} (`max_event_bytes`). Increase it if such answers are expected.")
    # The next answer would be as large.
    error.is_retryable = False
    return error
