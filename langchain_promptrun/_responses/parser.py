"""Parse the bytes of one answer into parts of messages; subclasses make items of them."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
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
from langchain_promptrun._responses.body import Body
from langchain_promptrun._responses.choice import MAX_PARTIAL, TEXT, Choice, Part, says_more_than_a_role
from langchain_promptrun._responses.metadata import ResponseMetadata, SizeLimit
from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunError, PromptrunResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_promptrun._responses.body import Event

T = TypeVar("T")

_TEXT_DELTA = frozenset({"content", "role"})
_KEEP_ALIVES = frozenset({b"", b"ping", b"pong", b"keepalive", b"keep-alive", b"heartbeat", b"null"})
# Names of events whose text always says something.
_CONTENT_EVENTS = frozenset({b"", b"message", b"data"})
_ERROR_EVENT = re.compile(rb"(?i)(?:.*[._-])?(?:error|exception|fail|failed|failure)(?:[._-].*)?")
_NOT_BLANK = re.compile(r"\S")
_MOST_CHOICES = 128  # OpenAI's limit for `n`


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
        self._limit = SizeLimit(max_event_bytes)
        self._collected = SizeLimit(max_event_bytes)
        self._metadata = ResponseMetadata(headers, model, self._limit, include_headers=include_headers)
        self._choices: dict[int, Choice] = {}
        self._quiet_choice: dict[str, Any] | None = None
        self._odd = False
        self._aside: Any = None
        self._seen_before_aside = 0
        self._error: PromptrunError | None = None
        self.finished = False
        self.content_seen = 0

    @property
    def partial(self) -> str:
        """The text so far, its first 64 KiB at most."""
        return self._choices[0].begun[:MAX_PARTIAL].decode("utf-8", "ignore") if 0 in self._choices else ""

    def feed(self, data: bytes) -> list[T]:
        """Take the next bytes of the body, decoded and cut anywhere; return the items that they complete.

        An error in the answer is raised by its code. Where items come before it, `finished` is set, and the next call
        raises it.
        """
        items: list[T] = []
        try:
            if self._error is not None:
                raise self._error
            for name, payload in self._body.feed(data):
                self._take_event(name, payload, items)
        except (PromptrunError, RecursionError) as fault:
            error = self._failure(fault)
            if not items:
                raise error from None
            self._error = error
            self.finished = True
        return items

    def close(self) -> list[T]:
        """Take the end of the body; return the last items.

        An answer that is not whole raises a PromptrunStreamTruncatedError: an event stream without `[DONE]` and
        without a finish reason, a JSON document cut off, an empty body.
        """
        items: list[T] = []
        try:
            if self._error is not None:
                raise self._error
            events = self._body.close()
            if self._body.is_document:
                self._take_documents(events[0][1], items)
            else:
                self._take_end_of_stream(events, items)
            self._emit_ending(items)
        except (PromptrunError, RecursionError) as fault:
            raise self._failure(fault) from None
        return items

    def _failure(self, fault: PromptrunError | RecursionError) -> PromptrunError:
        if not isinstance(fault, PromptrunError):
            fault = PromptrunResponseError("The server's answer is nested too deeply.")
        if isinstance(fault, PromptrunResponseError) and fault.status_code is None:
            fault.status_code = self._source[0]
        fault.partial = self.partial or None
        return fault

    @abstractmethod
    def _emit(self, parts: list[Part], items: list[T], choice: Choice) -> None:
        """Make items of parts of a choice; no parts are a sign of life: a document with what is told later."""

    @abstractmethod
    def _emit_ending(self, items: list[T]) -> None:
        """Make items of the ends of all choices."""

    def _take_documents(self, body: bytes, items: list[T]) -> None:
        """Take a body of one document, or of several, or of one before an end mark."""
        self._limit.limit = None
        try:
            documents, rest = [_json.loads(body)], b""
        except ValueError:
            documents, rest = _split_documents(body)
        is_single = len(documents) == 1
        if not documents or (not is_single and any(map(_is_whole_answer, documents))):
            raise not_json(body, *self._source[:2], whole=True)
        for document in documents:
            self._take_document(document, b"", items)
        if rest or not is_single:
            self._body = Body({}, len(body), is_stream=True)
            self._take_end_of_stream([*self._body.feed(rest), *self._body.close()], items)
        elif not self._choices:
            raise no_answer(documents[0], NO_CHOICES, *self._source)

    def _take_end_of_stream(self, events: list[Event], items: list[T]) -> None:
        for name, payload in events:
            self._take_event(name, payload, items, at_end=True)
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
            aside = self._body.late_words()
        if (error := said_in_place_of_an_end(aside, *self._source)) is not None:
            raise error

    def _is_whole(self) -> bool:
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    def _take_event(self, name: bytes, payload: bytes, items: list[T], *, at_end: bool = False) -> None:
        if self.finished:
            return
        if self._is_result:
            self._collected.add(len(payload))
        try:
            document = orjson.loads(payload)
        except orjson.JSONDecodeError:
            self._take_odd_event(name, payload.strip(), items, at_end=at_end)
            return
        if document is not None and (name or not self._feed_fast_path(document, items)):
            self._take_document(document, name, items)

    def _take_odd_event(self, name: bytes, payload: bytes, items: list[T], *, at_end: bool) -> None:
        """Take what orjson refuses: end marks, keep-alives, several documents, NaN, halves of characters."""
        is_error = _ERROR_EVENT.fullmatch(name) is not None
        self.finished = _is_end_mark(payload.decode("utf-8", "replace"))
        if self.finished or (not is_error and _is_keep_alive(name, payload)):
            return
        # Halves of characters can come from now on.
        self._odd, self._quiet_choice = True, None
        documents, rest = _split_documents(payload)
        for document in documents:
            self._take_document(document, name, items)
        if _is_end_mark(rest.decode("utf-8", "replace")):
            self.finished = True
        elif is_error and not documents:
            self._take_document(payload.decode("utf-8", "replace"), name, items)
        elif rest and not (documents or at_end or self._is_whole()):
            raise not_json(payload, *self._source[:2], whole=False)

    def _feed_fast_path(self, document: Any, items: list[T]) -> bool:
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
            self._emit([(TEXT, text)], items, known)
        else:
            before = len(items)
            self._take_parts(known.feed_delta(delta), delta, items, known)
            if text == "" and len(items) == before:
                self._emit([], items, known)
            if known.reasoning.reads_text:
                self._quiet_choice = None
        return True

    def _take_parts(self, parts: list[Part], delta: Any, items: list[T], choice: Choice) -> None:
        # A delta may bring only what no part is made of before the end, such as audio.
        before, says_more = len(items), isinstance(delta, dict) and says_more_than_a_role(delta)
        if parts or says_more:
            self.content_seen += 1
        if parts:
            self._emit(parts, items, choice)
        if says_more and len(items) == before:
            self._emit([], items, choice)

    def _take_document(self, document: Any, name: bytes, items: list[T]) -> None:
        if isinstance(document, str) and _is_end_mark(document):
            self.finished = True
            return
        status, headers, model = self._source
        event = "error" if _ERROR_EVENT.fullmatch(name) else None
        error = error_from_document(document, status=status, headers=headers, model=model, event=event)
        if error is not None:
            raise error
        if document == []:
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
            self._take_choices([choice for choice in choices if isinstance(choice, dict)], items)

    def _take_choices(self, choices: list[dict[str, Any]], items: list[T]) -> None:
        indexes = [choice.get("index") for choice in choices]
        has_text = False
        for position, choice in enumerate(choices):
            index = 0  # whatever index a vendor gives its only choice
            if self._n > 1:
                index, given = position, indexes[position]
                if isinstance(given, int) and 0 <= given < _MOST_CHOICES and indexes.count(given) == 1:
                    index = given
            elif isinstance(message := choice.get("message"), dict) and message.get("content"):
                if has_text and not self._is_result:
                    continue
                index = position if has_text else 0
                has_text = True
            self._take_choice(choice, index, items)

    def _take_choice(self, choice: dict[str, Any], index: int, items: list[T]) -> None:
        known = self._choices.get(index)
        if known is None:
            if not _is_answer(choice):
                return
            known = Choice(self._metadata, self._limit, self._tool_names, think_tags=self._think_tags)
            self._choices[index] = known
            self._body.has_answer = True
        parts = known.feed(choice)
        if choice.get("finish_reason"):
            self.content_seen += 1
        delta = choice.pop("delta", None)
        says_more = any(value for key, value in choice.items() if key != "index")
        if index == 0 and not (self._odd or known.reasoning.reads_text or says_more):
            self._quiet_choice = choice
        self._take_parts(parts, delta, items, known)


def _split_documents(data: bytes) -> tuple[list[Any], bytes]:
    """Read the JSON documents at the beginning of data; return them and what follows."""
    text, position, documents = data.decode("utf-8", "replace"), 0, []
    decoder = json.JSONDecoder()
    while (start := _NOT_BLANK.search(text, position)) is not None:
        position = start.start()
        try:
            document, position = decoder.raw_decode(text, position)
        except ValueError:
            break
        documents.append(document)
    return documents, text[position:].strip().encode()


def _is_end_mark(text: str) -> bool:
    return text.strip('[]" \r\n').upper() == "DONE"


def _is_keep_alive(name: bytes, payload: bytes) -> bool:
    """Return whether data beside JSON stands for nothing, such as `ping`, or any text in an event named `ping`."""
    if payload.startswith(b":") or payload.lower() in _KEEP_ALIVES:
        return True
    return name not in _CONTENT_EVENTS and b"{" not in payload


def _is_whole_answer(document: Any) -> bool:
    choices = document.get("choices") if isinstance(document, dict) else None
    return isinstance(choices, list) and any(isinstance(choice, dict) and "message" in choice for choice in choices)


def _is_answer(choice: dict[str, Any]) -> bool:
    is_object = isinstance(choice.get("delta"), dict) or isinstance(choice.get("message"), dict)
    return bool(is_object or isinstance(choice.get("text"), str) or choice.get("finish_reason"))
