"""The bytes of one answer -> parts of messages, pushed to whoever makes items of them.

Owns what all answers have in common: which document says what, when errors go out, when an answer is whole. What
a part becomes (chunk, protocol event, message) is a subclass's business. Pure: no I/O, no clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

from langchain_promptrun._errors.mapping import error_from_document
from langchain_promptrun._errors.not_understood import (
    NO_CHOICES,
    NO_EVENT_HAD_CHOICES,
    coded_error,
    no_answer,
    not_json,
)
from langchain_promptrun._responses.body import Body
from langchain_promptrun._responses.choice import Choice, Part
from langchain_promptrun._responses.metadata import Envelope
from langchain_promptrun._wire import json as _json
from langchain_promptrun._wire.size_limit import Room
from langchain_promptrun.errors import PromptrunError, PromptrunResponseError, PromptrunStreamTruncatedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_promptrun._responses.sse import Event

T = TypeVar("T")

_TEXT_DELTA = frozenset({"content", "role"})
MOST_CHOICES = 128  # OpenAI's limit for `n`


class Reader(ABC, Generic[T]):
    """Reads the bytes of one answer.

    Args:
        status: The answer's status.
        headers: Its headers, names in lower case.
        model: The model asked for, for error messages.
        max_event_bytes: Size, in bytes, that one event, one line or a whole JSON body may have, and all that is kept
            of an answer until its end.
        include_headers: Whether the headers belong into the metadata.
        think_tags: Whether text between `<think>` and `</think>` is reasoning.

    Attributes:
        finished: `[DONE]` was seen; nothing more is to come.
        content_seen: Grows whenever the model is seen to work: text, reasoning, refusal, tool call, usage, finish.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        model: str,
        max_event_bytes: int,
        include_headers: bool = False,
        think_tags: bool = False,
    ) -> None:
        self._status = status
        self._headers = headers
        self._model = model
        self._think_tags = think_tags
        self._body = Body(headers, max_event_bytes)
        self._room = Room(max_event_bytes)
        self._envelope = Envelope(headers, self._room, include_headers=include_headers)
        self._choices: dict[int, Choice] = {}
        self._quiet_choice: dict[str, Any] | None = None
        self._odd = False
        self._aside: Any = None
        self._error: PromptrunError | None = None
        self.finished = False
        self.content_seen = 0

    @property
    def partial(self) -> str:
        """The text so far, its first 64 KiB at most."""
        return self._choices[0].partial if 0 in self._choices else ""

    def feed(self, data: bytes) -> list[T]:
        """Take the next bytes of the body, decoded.

        Args:
            data: Bytes, cut anywhere.

        Returns:
            The items that these bytes complete. Where an error follows them, `finished` is set, and the next call
            raises it.

        Raises:
            PromptrunError: An error of the server's in the answer, by its code; or an answer that is not understood
                or has a piece larger than `max_event_bytes`.
        """
        items: list[T] = []
        try:
            if self._error is not None:
                raise self._error
            decoder = self._body.decoder
            for name, payload in self._body.feed(data) if decoder is None else decoder.decode(data):
                self._take_event(name, payload, items)
        except (PromptrunError, RecursionError) as fault:
            error = self._failure(fault)
            if not items:
                raise error from None
            self._error = error
            self.finished = True
        return items

    def close(self) -> list[T]:
        """Take the end of the body.

        Returns:
            The last items.

        Raises:
            PromptrunStreamTruncatedError: The answer is not whole: an event stream without `[DONE]` and without a
                finish reason, a JSON document cut off, an empty body.
            PromptrunError: As `feed`.
        """
        items: list[T] = []
        try:
            if self._error is not None:
                raise self._error
            events = self._body.close()
            if self._body.is_document:
                self._take_whole_document(events[0][1], items)
            else:
                self._take_end_of_stream(events, items)
            self._emit_ending(items)
        except (PromptrunError, RecursionError) as fault:
            raise self._failure(fault) from None
        return items

    # What a subclass makes of it.

    @abstractmethod
    def _emit(self, parts: list[Part], items: list[T], index: int) -> None:
        """Make items of parts of the choice at `index`."""

    @abstractmethod
    def _emit_text(self, text: str, items: list[T]) -> None:
        """Make items of a text, the commonest part, of the first choice."""

    @abstractmethod
    def _emit_ending(self, items: list[T]) -> None:
        """Make items of the ends of all choices."""

    def _choice_index(self, choice: dict[str, Any], position: int) -> int:
        """Which message a choice belongs to: a streamed answer has one, whatever index a vendor gives it."""
        del choice, position
        return 0

    # Documents.

    def _take_whole_document(self, body: bytes, items: list[T]) -> None:
        try:
            document = _parsed(body)
        except ValueError:
            raise self._not_json(body) from None
        self._room.lift()
        self._take_document(document, b"", items)
        if not self._choices:
            raise self._no_answer(document, NO_CHOICES)

    def _take_end_of_stream(self, events: list[Event], items: list[T]) -> None:
        for name, payload in events:
            self._take_event(name, payload, items, at_end=True)
        whole = self._choices and all(choice.finish_reason for choice in self._choices.values())
        if not (whole or self.finished):
            raise coded_error(self._aside, self._status, self._headers, self._model) or PromptrunStreamTruncatedError(
                "The stream ended before the answer was whole: no finish reason, no [DONE]."
            )
        if not self._choices:
            raise self._no_answer(self._aside, NO_EVENT_HAD_CHOICES)

    def _take_event(self, name: bytes, payload: bytes, items: list[T], *, at_end: bool = False) -> None:
        if self.finished:
            return
        try:
            document = orjson.loads(payload)
        except orjson.JSONDecodeError:
            document = self._odd_document(name, payload, at_end=at_end)
        if document is not None and (name or not self._take_quietly(document, items)):
            self._take_document(document, name, items)

    def _take_quietly(self, document: Any, items: list[T]) -> bool:
        """Take a document that says nothing new beside its delta, as most documents do; return whether it did."""
        if self._quiet_choice is None:
            return False
        try:
            (choice,) = document["choices"]
            delta = choice.pop("delta")
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        if choice != self._quiet_choice or type(delta) is not dict or not self._envelope.knows(document):
            choice["delta"] = delta
            return False
        text = delta.get("content")
        if type(text) is str and text and (len(delta) == 1 or _TEXT_DELTA.issuperset(delta)):
            self.content_seen += 1
            self._choices[0].note_text(text)
            self._emit_text(text, items)
        else:
            self._take_parts(self._choices[0].take_delta(delta), delta, items)
            if self._choices[0].reads_text:
                self._quiet_choice = None
        return True

    def _take_parts(self, parts: list[Part], delta: Any, items: list[T], index: int = 0) -> None:
        # A delta may bring only what no part is made of before the end, such as audio.
        if parts or (isinstance(delta, dict) and any(value for key, value in delta.items() if key != "role")):
            self.content_seen += 1
        if parts:
            self._emit(parts, items, index)

    def _odd_document(self, name: bytes, payload: bytes, *, at_end: bool) -> Any:
        """Read what is not plain JSON: the end mark, keep-alives, numbers and texts that only Python reads."""
        payload = payload.strip()
        if payload == b"[DONE]":
            self.finished = True
            return None
        if not payload or payload.startswith(b":"):
            return None
        # Halves of characters can come from now on.
        self._odd = True
        self._quiet_choice = None
        try:
            return _parsed(payload)
        except ValueError:
            if name == b"error":
                return payload.decode("utf-8", "replace")
            if at_end:
                return None
            raise self._not_json(payload) from None

    def _take_document(self, document: Any, name: bytes, items: list[T]) -> None:
        error = error_from_document(
            document,
            status=self._status,
            headers=self._headers,
            model=self._model,
            event=name.decode("utf-8", "replace"),
        )
        if error is not None:
            raise error
        if not isinstance(document, dict):
            raise self._no_answer(document, NO_CHOICES)
        self._envelope.take(document)
        if document.get("usage"):
            self.content_seen += 1
        choices = document.get("choices")
        if not choices:
            self._aside = document
        for position, choice in enumerate(choices if isinstance(choices, list) else ()):
            if isinstance(choice, dict):
                self._take_choice(choice, position, items)

    def _take_choice(self, choice: dict[str, Any], position: int, items: list[T]) -> None:
        index = self._choice_index(choice, position)
        known = self._choices.get(index)
        if known is None:
            if not _is_answer(choice):
                return
            known = self._choices[index] = Choice(self._envelope.seed, self._room, think_tags=self._think_tags)
        parts = known.take(choice)
        if choice.get("finish_reason"):
            self.content_seen += 1
        delta = choice.pop("delta", None)
        if index == 0 and not (
            self._odd or known.reads_text or any(value for key, value in choice.items() if key != "index")
        ):
            self._quiet_choice = choice
        self._take_parts(parts, delta, items, index)

    # Errors.

    def _failure(self, fault: PromptrunError | RecursionError) -> PromptrunError:
        if not isinstance(fault, PromptrunError):
            fault = PromptrunResponseError("The server's answer is nested too deeply.")
        if isinstance(fault, PromptrunResponseError) and fault.status_code is None:
            fault.status_code = self._status
        fault.partial = self.partial or None
        return fault

    def _not_json(self, data: bytes) -> PromptrunError:
        return not_json(data, self._status, self._headers, whole=self._body.is_document)

    def _no_answer(self, document: Any, problem: str) -> PromptrunError:
        return no_answer(document, problem, self._status, self._headers, self._model)


def _parsed(data: bytes) -> Any:
    """Read JSON; a broken character does not make an answer unreadable."""
    try:
        return _json.loads(data)
    except UnicodeDecodeError:
        return _json.loads(data.decode("utf-8", "replace"))


def _is_answer(choice: dict[str, Any]) -> bool:
    return bool(
        isinstance(choice.get("delta"), dict) or isinstance(choice.get("message"), dict) or choice.get("finish_reason")
    )
