"""Read the arguments of a tool call: JSON that comes in pieces, and may be cut off."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from langchain_promptrun._wire import json as _json
from langchain_promptrun._wire.json import open_ends

PLACEHOLDERS = frozenset({"", "{}", "{ }", "[]", "[ ]", "null", '""'})
"""Arguments that stand for none."""
_PLACEHOLDER_STARTS = frozenset(text[:size] for text in PLACEHOLDERS for size in range(len(text) + 1))
BYTE_ORDER_MARK = "\ufeff"
_LONGEST_PLACEHOLDER = 64  # with blanks around it

INCOMPLETE, COMPLETE, ILLEGAL = range(3)
"""What a `JsonScanner` says of a text."""

_TOKEN = re.compile(r'\s+|[{}\[\]:,"]|[^\s{}\[\]:,"]+')
_STRING_END = re.compile(r'["\\]')
_CLOSING = {"{": "}", "[": "]"}
_NEEDS_BRACKET = frozenset(",}]")
# Per state, the state after a token; "#" stands for a number or a word, and a quote for a whole string.
_VALUE = {"{": "key or end", "[": "value or end", '"': "after", "#": "scalar"}
_AFTER = dict.fromkeys(",}]", "after")
_STATES = {
    "value": _VALUE,
    "value or end": {**_VALUE, "]": "after"},
    "key or end": {'"': "colon", "}": "after"},
    "key": {'"': "colon"},
    "colon": {":": "value"},
    "after": _AFTER,
    "scalar": {**_AFTER, "#": "scalar"},
    "complete": {},
    "illegal": {},
}


def may_be_placeholder(text: str) -> bool:
    """Return whether a text is or begins one of `PLACEHOLDERS`."""
    return len(text) <= _LONGEST_PLACEHOLDER and text.strip() in _PLACEHOLDER_STARTS


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Read arguments that are complete; return None where they are no JSON object.

    Raw line breaks inside strings are let through, as langchain-core does.
    """
    if text.strip() in PLACEHOLDERS:
        return {}
    if text.startswith(BYTE_ORDER_MARK):
        return None
    try:
        arguments = _json.loads(text)
    except (ValueError, RecursionError):
        try:
            arguments = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return None
    return arguments if isinstance(arguments, dict) else None


def decoded_once_more(text: str) -> str:
    """Return the arguments inside a JSON string that holds them; any other string as it is."""
    try:
        inner = _json.loads(text)
    except (ValueError, RecursionError):
        return text
    inner = str(inner).removeprefix(BYTE_ORDER_MARK)
    return text if parse_arguments(inner) is None else inner


def meaning(text: str) -> bytes | None:
    """Return what two spellings of the same arguments share; None where a text holds none, or orjson cannot tell."""
    arguments = parse_arguments(text)
    try:
        return None if arguments is None else orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None


def grows(text: str, later: str) -> bool:
    """Return whether arguments may be later, longer ones of the same call."""
    first, second = parse_arguments(text), parse_arguments(later)
    if first is None or second is None:
        return False
    return all(key in second and _may_become(value, second[key]) for key, value in first.items())


def _may_become(value: object, later: object) -> bool:
    if isinstance(value, dict | list):
        return type(value) is type(later)
    return str(later).startswith(str(value))


def spellings(value: object) -> tuple[str, ...]:
    """Write arguments that came as an object, as the two usual spellings of JSON text; a text stays as it is."""
    if isinstance(value, str):
        return (value,)
    if value is None or value == []:
        return ("",)
    try:
        compact = _json.dumps(value).decode()
    except ValueError:
        return ("[",)  # no JSON object, so the call is invalid
    return (compact, json.dumps(value, ensure_ascii=False)) if isinstance(value, dict) else (compact,)


def can_be_written(text: str, arguments: dict[str, Any]) -> bool:
    """Return whether arguments that were read from a text can be written: NaN and infinities cannot."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            _json.dumps(arguments)
        except ValueError:
            return False
    return True


def guard(text: str) -> str:
    """Return what must follow arguments so that langchain-core completes them to no object.

    langchain-core closes cut-off JSON when it sums chunks, drops what it cannot read at the end, and gives up only
    where a bracket closes what is not open.
    """
    ends = open_ends(text) if not text or text.lstrip().startswith("{") else None
    if ends is None:
        return ""
    string, brackets = ends
    return string + ("}" if brackets.endswith("]") else "]")


class JsonScanner:
    """Tells, piece by piece and in linear time, whether a text can still become JSON.

    Numbers and words are not looked into, and line breaks may stand in strings.
    """

    def __init__(self) -> None:
        self._state = "value"
        self._brackets: list[str] = []
        self._in_string = False
        self._escaped = False

    def copy(self) -> JsonScanner:
        """Return a scanner that stands where this one does."""
        other = JsonScanner()
        other._state, other._brackets = self._state, self._brackets.copy()
        other._in_string, other._escaped = self._in_string, self._escaped
        return other

    @property
    def verdict(self) -> int:
        """INCOMPLETE, COMPLETE or ILLEGAL."""
        if self._state == "illegal":
            return ILLEGAL
        return COMPLETE if self._state == "complete" and not self._in_string else INCOMPLETE

    def feed(self, text: str) -> int:
        """Take a piece; return the verdict on all pieces."""
        for token in self._tokens(text):
            if not token.isspace():
                self._step(token)
            if self._state == "illegal":
                break
            if token.isspace() and self._state == "scalar":
                self._state = "after"
        return self.verdict

    def _tokens(self, text: str) -> list[str]:
        """Split a text into what stands outside strings; a quote stands for the string that it opens."""
        found: list[str] = []
        position = 0
        while position < len(text):
            if self._in_string:
                position = self._skip_string(text, position)
                continue
            for token in _TOKEN.finditer(text, position):
                found.append(token[0])
                position = token.end()
                if token[0] == '"':
                    self._in_string = True
                    break
        return found

    def _skip_string(self, text: str, position: int) -> int:
        if self._escaped:
            self._escaped = False
            return position + 1
        found = _STRING_END.search(text, position)
        if found is None:
            return len(text)
        self._in_string = self._escaped = found[0] == "\\"
        return found.end()

    def _step(self, text: str) -> None:
        kind = text if text in '{}[]:,"' else "#"
        state = _STATES[self._state].get(kind, "illegal")
        if state == "illegal" or (kind in _NEEDS_BRACKET and not self._brackets):
            self._state = "illegal"
        elif kind in _CLOSING:
            self._brackets.append(_CLOSING[kind])
            self._state = state
        elif kind in _CLOSING.values():
            self._state = self._after_value() if self._brackets.pop() == kind else "illegal"
        elif kind == ",":
            self._state = "key" if self._brackets[-1] == "}" else "value"
        else:
            self._state = self._after_value() if state == "after" else state

    def _after_value(self) -> str:
        return "after" if self._brackets else "complete"
