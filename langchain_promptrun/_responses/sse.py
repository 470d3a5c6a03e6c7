"""Split the bytes of an event stream into events (WHATWG HTML, section 9.2 "Server-sent events").

Lines are split on bytes, so line breaks that only Unicode knows (U+2028, U+2029, U+0085) stay part of the data.
"""

from __future__ import annotations

import re

from langchain_promptrun.errors import PromptrunResponseError

_BOM = b"\xef\xbb\xbf"
_PLAIN = b"data: "
_BLANK_LINE = [b""]
_IGNORED = frozenset({b"", b"id", b"retry"})
_OPENINGS, _ENDINGS = (b"{", b"["), (b"}", b"]")
_FIELD_NAME = re.compile(rb"[A-Za-z_-]{1,32}")
_MAX_STRAY = 65_536

Event = tuple[bytes, bytes]
"""An event's name (empty when it has none) and its data."""


class EventDecoder:
    """Push parser for an event stream; the time it takes is linear, however the bytes are cut.

    Beside events, it reads JSON documents that stand on a line of their own.

    Args:
        max_event_bytes: Size, in bytes, that one event may have, and one line of it.

    Attributes:
        stray: The lines that are neither, such as a proxy's error page; their first 64 KiB.
    """

    __slots__ = (
        "_after_cr",
        "_between",
        "_data",
        "_data_size",
        "_first",
        "_limit",
        "_name",
        "_tail",
        "_tail_size",
        "stray",
    )

    def __init__(self, max_event_bytes: int) -> None:
        self._limit = max_event_bytes
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = b""
        self._after_cr = False
        self._first = True
        self._between = False
        self.stray = bytearray()

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
        self._between = not (self._tail or self._data or self._name or self._first or self._after_cr)
        return events

    def flush(self) -> list[Event]:
        """Take the end of the stream; return the event that was still open, if any.

        Servers that close without the last blank line are common.
        """
        events: list[Event] = []
        for line in (b"".join(self._tail), b""):
            self._take_line(line, events)
        self._tail = []
        return events

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
            lines[0] = b"".join((*self._tail, lines[0]))
            self._tail = []
            self._tail_size = 0
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
            self._check(self._tail_size + self._data_size)
        return lines

    def _take_line(self, line: bytes, events: list[Event]) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(events)
        elif line.startswith(_PLAIN):
            self._add_data(line[6:])
        else:
            self._check(len(line))
            field, _, value = line.partition(b":")
            # The standard ignores a field with a blank before its name; some servers indent all of them.
            field, value = field.lstrip(), value.removeprefix(b" ")
            if field == b"data":
                self._add_data(value)
            elif field == b"event":
                self._name = value
            elif field not in _IGNORED:
                self._take_stray(line, events, is_field=_FIELD_NAME.fullmatch(field) is not None)

    def _take_stray(self, line: bytes, events: list[Event], *, is_field: bool) -> None:
        """Take a line that is no known field: JSON without `data:`, a further line of a document, an error page."""
        text = line.strip()
        if self._data and not is_field:
            self._add_data(line)
        elif text.startswith(_OPENINGS) and text.endswith(_ENDINGS):
            events.append((self._name, text))
            self._name = b""
        elif len(self.stray) < _MAX_STRAY:
            self.stray += line[:_MAX_STRAY] + b"\n"

    def _add_data(self, value: bytes) -> None:
        self._data.append(value)
        # The field's name counts, too: else a server could send empty lines of data for ever.
        self._data_size += len(_PLAIN) + len(value)
        self._check(self._data_size)

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append((self._name, b"\n".join(self._data)))
            self._data = []
            self._data_size = 0
        self._name = b""

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise too_large(f"The server sent a stream event of more than {self._limit} bytes")


def too_large(problem: str) -> PromptrunResponseError:
    """Make the error for an answer that exceeds `max_event_bytes`, as it would the next time."""
    error = PromptrunResponseError(f"{problem} (`max_event_bytes`). Increase it if such answers are expected.")
    error.is_retryable = False
    return error
