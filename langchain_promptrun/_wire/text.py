"""Text as it comes: halves of characters that JSON lets through, and JSON that was cut off. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Hashable

_SURROGATE = re.compile("[\ud800-\udfff]")
# A string with its closing quote, or without one at the end of the text; or a bracket.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)|[{}\[\]]', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}


def without_surrogates(text: str) -> str:
    """Join the surrogate pairs of a text, and replace each lone half by U+FFFD, as no encoding can carry it."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def cleaned(value: Any) -> Any:
    """Apply `without_surrogates` to all texts of a JSON value, keys included."""
    try:
        # which refuses them, and looks faster than anything written in Python
        orjson.dumps(value)
    except TypeError:
        return _cleaned(value)
    return value


def _cleaned(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return without_surrogates(value)
    if kind is dict:
        return {without_surrogates(key): _cleaned(item) for key, item in value.items()}
    if kind is list:
        return [_cleaned(item) for item in value]
    return value


class SurrogateJoiner:
    """Joins characters that a server cut in two at the border of two deltas, each written as a JSON escape."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[Hashable, str] = {}

    def join(self, channel: Hashable, text: str) -> str:
        """Take a piece of text.

        Args:
            channel: What the piece belongs to; pieces of different channels are never joined.
            text: The piece.

        Returns:
            What may go out now: all but a first half at the end, which waits for its second one.
        """
        if self.lets_pass(text):
            return text
        text = self._held.pop(channel, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held[channel] = text[-1]
            text = text[:-1]
        return without_surrogates(text)

    def lets_pass(self, text: str) -> bool:
        """Whether `join` would return the text as it is."""
        return not self._held and (text.isascii() or not _SURROGATE.search(text))

    def end(self, channel: Hashable) -> str:
        """Return what is left of a channel at its end: nothing, or U+FFFD for half a character."""
        return "\ufffd" if self._held.pop(channel, "") else ""


class OpenEnds(NamedTuple):
    """What would close a JSON text that was cut off: the end of its last string, and its brackets, outermost first."""

    string: str
    brackets: str


def open_ends(text: str) -> OpenEnds | None:
    """Find what is open at the end of a JSON text.

    Args:
        text: The text; only its quotes and brackets are looked at.

    Returns:
        What is open; empty strings when nothing is. None when a bracket closes what is not open.
    """
    brackets: list[str] = []
    string = ""
    for token in _TOKEN.finditer(text):
        bracket = token[0]
        if bracket in _CLOSING:
            brackets.append(_CLOSING[bracket])
        elif token[1] is not None:
            # A lone backslash at the end is not part of the token; it would make of a quote a character.
            string = "" if token[1] else '\\"' if token.end() < len(text) else '"'
        elif not brackets or brackets.pop() != bracket:
            return None
    return OpenEnds(string, "".join(brackets))
