"""Parse the bytes of one answer into parts of messages; subclasses make items of them.

Event streams are read as WHATWG HTML, section 9.2 "Server-sent events", says: lines are split on bytes, so line breaks
that only Unicode knows (U+2028, U+2029, U+0085) stay part of the data.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import orjson

from langchain_promptrun._errors.mapping import (
    NO_CHOICES,
    NO_EVENT_HAD_CHOICES,
    UNFINISHED,
    error_from_document,
    no_answer,
    not_json,
    said_in_place_of_an_end,
)
from langchain_promptrun._responses.choice import MAX_PARTIAL, Choice, Part
from langchain_promptrun._responses.metadata import ResponseMetadata
from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunError, PromptrunResponseError, PromptrunStreamTruncatedError

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_PLAIN = b"data: "
_BLANK = b" \t\r\n\xef\xbb\xbf"  # with the mark of the byte order
_IGNORED = frozenset({b"", b"id", b"retry"})
_FIELD_NAME = rb"[A-Za-z_-]{1,32}"
_UNKNOWN_FIELD = r"(?i)(?!error|exception|fatal)[\w-]{1,32}:"
_MAX_STRAY = 65_536
# How a body begins that is a stream, or, where a stream is declared, none.
_STREAM_STARTS = (b"data:", b"event:", b"retry:", b"id:", b":")
_LONGEST_START = 6
_NO_STREAM = (b"{", b"[", b"<")

_TEXT_DELTA = frozenset({"content", "role"})
_KEEP_ALIVES = frozenset({b"", b"ping", b"pong", b"keepalive", b"keep-alive", b"heartbeat", b"null"})
# Names of events whose text always says something.
_CONTENT_EVENTS = frozenset({b"", b"message", b"data"})
_ERROR_EVENT = rb"(?i)(?:.*[._-])?(?:error|exception|fail|failed|failure)(?:[._-].*)?"
# Some servers put an event into an event, or two on one line.
_BETWEEN = re.compile(r"(?:\s|data:)*")

Event = tuple[bytes, bytes]
"""An event's name (empty when it has none) and its data."""


class Body:
    """Push parser for a body: an event stream, or a document.

    A stream may also bring documents on a line of their own; its other lines outside the standard are kept as `stray`.
    Set `has_answer` once an answer has begun: further stray lines are kept as `late`, too.
    """

    def __init__(self, headers: Mapping[str, str], max_event_bytes: int, *, is_stream: bool = False) -> None:
        content_type = headers.get("content-type", "").lower()
        self._declared = "event-stream" in content_type
        self._limit = max_event_bytes
        self.is_stream = is_stream or any(name in content_type for name in ("ndjson", "jsonl", "json-lines"))
        self.is_document = self.has_answer = self._after_cr = self._between = False
        # The rest of a stream's last line, all of a document.
        self._tail = bytearray()
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = b""
        self.stray, self.late = bytearray(), bytearray()

    def feed(self, data: bytes, *, at_end: bool = False) -> list[Event]:
        if self._between:
            # Most servers send exactly one plain event in a packet.
            lines = data.splitlines()
            if lines[1:] == [b""] and lines[0].startswith(_PLAIN) and len(lines[0]) <= self._limit:
                return [(b"", lines[0][6:])]
        if not self.is_stream:
            self._tail += data
            if self.is_document or not self._decide(at_end=at_end):
                if len(self._tail) > self._limit:
                    raise _too_large(f"The server's answer is larger than {self._limit} bytes")
                return []
            data, self._tail = bytes(self._tail), bytearray()
        events: list[Event] = []
        for line in self._lines(data):
            self._take_line(line, events)
        self._between = not (self._tail or self._data or self._name or self._after_cr)
        return events

    def close(self) -> list[Event]:
        """Return the event that was still open (many servers leave out the last line), or the document as an event."""
        events = self.feed(b"", at_end=True)
        if self.is_stream:
            for line in (bytes(self._tail), b""):
                self._take_line(line, events)
        elif document := bytes(self._tail.rstrip()):
            events.append((b"", document))
        else:
            raise PromptrunStreamTruncatedError("The server's answer is empty.")
        return events

    def _decide(self, *, at_end: bool) -> bool:
        """Tell a stream from a document by its first bytes, by its declared type in doubt."""
        head = self._tail = self._tail.lstrip(_BLANK)
        if len(head) >= _LONGEST_START or at_end:
            self.is_stream = not head.startswith(_NO_STREAM) if self._declared else head.startswith(_STREAM_STARTS)
            self.is_document = not self.is_stream
        return self.is_stream

    def _lines(self, data: bytes) -> list[bytes]:
        if not data:
            return []
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines()
        rest = lines.pop() if lines and not data.endswith((b"\n", b"\r")) else b""
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
            field, value = field.lstrip(_BLANK), value.removeprefix(b" ")
        if field == b"data" or (self._data and not (field in _IGNORED or re.fullmatch(_FIELD_NAME, field))):
            # Without a field's name it is a further line of a document.
            self._data.append(value if field == b"data" else line)
            # The field's name counts, too: else a server could send empty lines of data for ever.
            self._data_size += len(_PLAIN) + len(self._data[-1])
            self._check(self._data_size)
        elif field == b"event":
            self._name = value
        elif field not in _IGNORED:
            # JSON without `data:`, or a part of an error page.
            text = line.strip(_BLANK)
            if text.startswith((b"{", b"[")) and text.endswith((b"}", b"]")):
                events.append((self._name, text))
                self._name = b""
            elif len(self.stray) < _MAX_STRAY:
                self.stray += line[:_MAX_STRAY] + b"\n"
                self.late += line[:_MAX_STRAY] + b"\n" if self.has_answer or events else b""

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise _too_large(f"The server sent a stream event of more than {self._limit} bytes")


class ResponseParser(ABC, Generic[T]):
    """Parses the bytes of one answer.

    Attributes:
        finished: `[DONE]` was seen; nothing more is to come.
        content_seen: Grows whenever the model is seen to work: text, reasoning, refusal, tool call, usage, finish.
    """

    # Whether all items are one result: it may be as large as one document, and a further choice with a text is kept
    # where one was asked for, while a stream has one message.
    _is_result: ClassVar = False

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        model: str,
        max_event_bytes: int,
        include_headers: bool = False,
        think_tags: bool = False,
        n: int = 1,
        tool_names: Mapping[str, str] | None = None,
    ) -> None:
        self._source = status, headers, model
        self._think_tags = think_tags
        self._n = n
        self._tool_names = tool_names
        self._body = Body(headers, max_event_bytes)
        self._limit = max_event_bytes
        self._unmeasured = 0
        self._metadata = ResponseMetadata(headers, model, include_headers=include_headers)
        self._choices: dict[int, Choice] = {}
        self._items: list[T] = []
        # What a choice says beside its delta, as long as the fast path may look for no more.
        self._quiet_choice: dict[str, Any] | None = None
        self._odd = False
        self._aside: Any = None
        self._seen_before_aside = 0
        self._error: PromptrunError | None = None
        self.finished = False
        self.content_seen = 0

    @property
    def partial(self) -> str:
        return self._choices[0].begun[:MAX_PARTIAL].decode("utf-8", "ignore") if 0 in self._choices else ""

    def feed(self, data: bytes) -> list[T]:
        """Take the next bytes of the body, decoded and cut anywhere; return the items that they complete.

        Where items come before an error, `finished` is set, and `close` raises the error.
        """
        self._items = []
        try:
            for name, payload in self._body.feed(data):
                self._take_event(name, payload)
        except (PromptrunError, RecursionError) as fault:
            error = self._failure(fault)
            if not self._items:
                raise error from None
            self._error = error
            self.finished = True
        return self._items

    def close(self) -> list[T]:
        """Take the end of the body; return the last items. An answer that is cut off raises an error that says so."""
        self._items = []
        try:
            if self._error is not None:
                raise self._error
            events = self._body.close()
            if self._body.is_document:
                self._take_documents(events[0][1])
            else:
                self._take_end_of_stream(events)
            self._emit_ending()
        except (PromptrunError, RecursionError) as fault:
            raise self._failure(fault) from None
        return self._items

    def _failure(self, fault: PromptrunError | RecursionError) -> PromptrunError:
        if not isinstance(fault, PromptrunError):
            fault = PromptrunResponseError("The server's answer is nested too deeply.")
        if isinstance(fault, PromptrunResponseError) and fault.status_code is None:
            fault.status_code = self._source[0]
        fault.partial = self.partial or None
        return fault

    @abstractmethod
    def _emit(self, parts: list[Part], choice: Choice) -> None:
        """Make items of parts of a choice; no parts are a sign of life: a document with what is told later."""

    @abstractmethod
    def _emit_ending(self) -> None:
        """Make items of the ends of all choices."""

    def _take_documents(self, body: bytes) -> None:
        """Take a body of one document, or of several, or of one before an end mark."""
        documents, rest = _split_documents(body)
        is_single = len(documents) == 1
        lists = [found for one in documents if isinstance(one, dict) and isinstance(found := one.get("choices"), list)]
        is_whole = any(isinstance(choice, dict) and "message" in choice for choices in lists for choice in choices)
        if not documents or (is_whole and not is_single):
            raise not_json(body, *self._source[:2], whole=True)
        for document in documents:
            self._take_document(document, b"")
        if rest or not is_single:
            self._body = Body({}, len(body), is_stream=True)
            self._take_end_of_stream([*self._body.feed(rest), *self._body.close()])
        elif not self._choices:
            raise no_answer(documents[0], NO_CHOICES, *self._source)

    def _take_end_of_stream(self, events: list[Event]) -> None:
        for name, payload in events:
            self._take_event(name, payload, at_end=True)
        is_whole = self._is_whole()
        if self._body.stray and not self._aside:
            self._aside = self._body.stray.decode("utf-8", "replace")
        if not (is_whole or self.finished):
            raise no_answer(self._aside, UNFINISHED, *self._source)
        if not self._choices:
            raise no_answer(self._aside, NO_EVENT_HAD_CHOICES, *self._source)
        if is_whole:
            return
        # An error may follow all of the answer in a document or in lines of their own.
        aside = self._aside
        if not isinstance(aside, dict) or self._seen_before_aside != self.content_seen:
            lines = self._body.late.decode("utf-8", "replace").splitlines()
            aside = "\n".join(line for line in lines if not re.match(_UNKNOWN_FIELD, line))
        if (error := said_in_place_of_an_end(aside, *self._source)) is not None:
            raise error

    def _is_whole(self) -> bool:
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    def _take_event(self, name: bytes, payload: bytes, *, at_end: bool = False) -> None:
        if self.finished:
            return
        self._unmeasured += len(payload)
        if self._unmeasured > self._limit:
            # What is kept until the end is measured each time that as many bytes have come.
            kept = len(repr(self._metadata.whole({}, {}, with_usage=True)))
            if self._is_result or kept + sum(choice.size for choice in self._choices.values()) > self._limit:
                raise _too_large(f"The server's answer holds more than {self._limit} bytes that are kept until its end")
            self._unmeasured = 0
        try:
            document = orjson.loads(payload)
        except orjson.JSONDecodeError:
            self._take_odd_event(name, payload.strip(), at_end=at_end)
            return
        if document is not None and (name or not self._feed_fast_path(document)):
            self._take_document(document, name)

    def _take_odd_event(self, name: bytes, payload: bytes, *, at_end: bool) -> None:
        """Take what orjson refuses: end marks, keep-alives, several documents, NaN, halves of characters."""
        self.finished = _is_end_mark(payload)
        is_error = re.fullmatch(_ERROR_EVENT, name) is not None
        is_ping = payload.startswith(b":") or payload.lower() in _KEEP_ALIVES
        # Any text stands for nothing in an event with a name such as `ping`.
        is_ping = is_ping or (name not in _CONTENT_EVENTS and b"{" not in payload)
        if self.finished or (is_ping and not is_error):
            return
        # Halves of characters can come from now on.
        self._odd, self._quiet_choice = True, None
        documents, rest = _split_documents(payload)
        for document in documents:
            self._take_document(document, name)
        if _is_end_mark(rest.removeprefix(b"data:")):
            self.finished = True
        elif is_error and not documents:
            self._take_document(payload.decode("utf-8", "replace"), name)
        elif rest and not (at_end or self._is_whole()):
            raise not_json(payload, *self._source[:2], whole=False)

    def _feed_fast_path(self, document: Any) -> bool:
        """Take a document that says nothing new beside its delta, as most documents do; return whether it did."""
        if self._quiet_choice is None:
            return False
        try:
            (choice,) = document["choices"]
            delta = choice.pop("delta")
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        choices = document.pop("choices")
        document.pop("obfuscation", None)
        if document != self._metadata.repeatable or choice != self._quiet_choice or type(delta) is not dict:
            choice["delta"] = delta
            document["choices"] = choices
            return False
        text, known = delta.get("content"), self._choices[0]
        if type(text) is str and text and (len(delta) == 1 or _TEXT_DELTA.issuperset(delta)):
            self.content_seen += 1
            if len(known.begun) < MAX_PARTIAL:
                known.begun += text[:MAX_PARTIAL].encode()
            self._emit([("text", text)], known)
        else:
            before = len(self._items)
            self._take_parts(known.feed_delta(delta), delta, known)
            if text == "" and len(self._items) == before:
                self._emit([], known)
            if known.reasoning.reads_text:
                self._quiet_choice = None
        return True

    def _take_parts(self, parts: list[Part], delta: Any, choice: Choice) -> None:
        # A delta may bring only what no part is made of before the end, such as audio.
        before = len(self._items)
        says_more = isinstance(delta, dict) and any(value for key, value in delta.items() if key != "role")
        if parts or says_more:
            self.content_seen += 1
        if parts:
            self._emit(parts, choice)
        if says_more and len(self._items) == before:
            self._emit([], choice)

    def _take_document(self, document: Any, name: bytes) -> None:
        if isinstance(document, str) and _is_end_mark(document.encode("utf-8", "replace")):
            self.finished = True
            return
        is_error = bool(name and re.fullmatch(_ERROR_EVENT, name))
        if (error := error_from_document(document, *self._source, is_error=is_error)) is not None:
            raise error
        if document == [] or (name not in _CONTENT_EVENTS and not isinstance(document, dict)):
            return
        if not isinstance(document, dict):
            raise no_answer(document, NO_CHOICES, *self._source)
        self._metadata.feed(document)
        choices, has_usage = document.get("choices"), bool(document.get("usage"))
        self.content_seen += has_usage
        if not choices:
            # It may be why the answer ends early; counts may follow it.
            if has_usage and self._aside:
                self._seen_before_aside += 1
            else:
                self._aside, self._seen_before_aside = document, self.content_seen
        elif isinstance(choices, list):
            self._take_choices([choice for choice in choices if isinstance(choice, dict)])

    def _take_choices(self, choices: list[dict[str, Any]]) -> None:
        indexes = [choice.get("index") for choice in choices]
        has_text = False
        for position, choice in enumerate(choices):
            index = 0  # whatever index a vendor gives its only choice
            if self._n > 1:
                index, given = position, indexes[position]
                if isinstance(given, int) and given >= 0 and indexes.count(given) == 1:
                    index = given
            elif isinstance(message := choice.get("message"), dict) and message.get("content"):
                if has_text and not self._is_result:
                    continue
                index = position if has_text else 0
                has_text = True
            self._take_choice(choice, index)

    def _take_choice(self, choice: dict[str, Any], index: int) -> None:
        known = self._choices.get(index)
        if known is None:
            has_object = isinstance(choice.get("delta"), dict) or isinstance(choice.get("message"), dict)
            if not (has_object or isinstance(choice.get("text"), str) or choice.get("finish_reason")):
                return
            known = Choice(self._metadata, self._tool_names, think_tags=self._think_tags)
            self._choices[index] = known
            self._body.has_answer = True
        parts = known.feed(choice)
        if choice.get("finish_reason"):
            self.content_seen += 1
        delta = choice.pop("delta", None)
        says_more = any(value for key, value in choice.items() if key != "index")
        if index == 0 and not (self._odd or known.reasoning.reads_text or says_more):
            self._quiet_choice = choice
        self._take_parts(parts, delta, known)


def _split_documents(data: bytes) -> tuple[list[Any], bytes]:
    """Return the documents at the beginning, and the rest."""
    with suppress(ValueError):
        return [_json.loads(data)], b""
    text, position, documents = data.decode("utf-8", "replace"), 0, []
    decoder = json.JSONDecoder(strict=False)
    with suppress(ValueError):
        while True:
            between = next(_BETWEEN.finditer(text, position))
            document, position = decoder.raw_decode(text, between.end())
            documents.append(document)
    return documents, text[position:].strip().encode()


def _is_end_mark(data: bytes) -> bool:
    return data.strip(b'[]" \r\n').upper() == b"DONE"


def _too_large(problem: str) -> PromptrunResponseError:
    error = PromptrunResponseError(f"{problem} (`max_event_bytes`). Increase it if such answers are expected.")
    # The next answer would be as large.
    error.is_retryable = False
    return error
