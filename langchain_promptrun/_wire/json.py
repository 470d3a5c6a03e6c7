"""Write and read JSON with integers, NaN and texts exact, and repair what a server cut in two or cut off.

orjson turns NaN into null and long integers into floats, and refuses lone surrogates and keys that are no strings: the
standard library does these.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from pydantic_core import to_jsonable_python

from langchain_promptrun.errors import PromptrunInvalidMessageError

# pydantic converts for both encoders, so what a value becomes does not depend on its neighbours.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
# The one place where a payload holds null on purpose: an assistant turn that only calls tools.
_INTENDED_NULL = b'"role":"assistant","content":null'
# Digits become "0", all else a space: a run of long integers' length is then found at memory speed.
_DIGITS_AS_ZERO = bytes(ord("0" if chr(byte) in "0123456789" else " ") for byte in range(256))
_LONG_RUN = b"0" * 19
# Python refuses to spell integers of more than 4,300 digits.
_MAX_INT_BITS = 14_000
_NUMBERS = (int, float)

HALF = "\ufffd"
"""What is left at the end of a text of half a character."""
_HEX = "0-9a-fA-F"
_FIRST_HALF, _SECOND_HALF = (rf"\\u[dD][{digits}][{_HEX}]{{2}}" for digits in ("89abAB", "c-fC-F"))
# A string as far as it goes and its closing quote, or a backslash whose character is still to come; a mark; a word.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+("|\\|)|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}
# The tokens that may follow a token; "#" stands for a word. A comma in a list counts as a colon: a value must follow.
_VALUE = '{["#'
_FOLLOWING = {
    "": _VALUE,
    ":": _VALUE,
    "[": _VALUE + "]",
    "{": '"}',
    ",": '"',
    '"': ":,}]",
    "#": "#,}]",
    "}": ",}]",
    "]": ",}]",
}


def dumps(value: object) -> bytes:
    r"""Write compact UTF-8 JSON; lone surrogates become `\udXXX` escapes.

    Other than JSON's types, it takes mappings, sets (in the order of their members' `repr`) and whatever pydantic
    turns into JSON: models, dataclasses, enums, dates, UUIDs, URLs, paths. Bytes, NaN and two keys that JSON spells
    alike are errors that name their place.
    """
    try:
        data = orjson.dumps(value, default=_simpler, option=_OPTIONS)
    except orjson.JSONEncodeError:
        data = None
    # NaN, too, has become null.
    if data is not None and (b"null" not in data or data.count(b"null") == data.count(_INTENDED_NULL)):
        return data
    try:
        plain = _plain(value)
    except RecursionError:
        raise PromptrunInvalidMessageError("is nested too deeply for JSON, or holds itself") from None
    if data is not None:
        return data
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Only lone surrogates cannot be encoded. They stand in strings, and Python's escape for them is JSON's.
    return text.encode("utf-8", "backslashreplace")


def loads(data: bytes | str) -> Any:
    """Read JSON with integers of any length exact; NaN, 1e999, lone surrogates and control characters are read too.

    Broken JSON raises a ValueError, mostly its subclass `json.JSONDecodeError`.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if _LONG_RUN not in raw.translate(_DIGITS_AS_ZERO):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(raw)
    try:
        return json.loads(raw, strict=False)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None


def _plain(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _plain_dict(value)
    if isinstance(value, list):
        return [_plain_at(index, item) for index, item in enumerate(value)]
    if isinstance(value, int) and value.bit_length() > _MAX_INT_BITS:
        raise PromptrunInvalidMessageError("is an integer of more than 4,000 digits")
    if isinstance(value, float) and not math.isfinite(value):
        name = "NaN" if math.isnan(value) else "an infinity"
        raise PromptrunInvalidMessageError(f"is {name}, which JSON cannot carry")
    return value if isinstance(value, _NUMBERS) else _plain(_simpler(value))


def _plain_dict(value: dict[object, object]) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        name = key if isinstance(key, str) else _plain_at(repr(key), key)
        if isinstance(name, (dict, list)):
            raise PromptrunInvalidMessageError(f"has a key of type {type(key).__name__}, which JSON cannot carry")
        name = name if isinstance(name, str) else json.dumps(name)
        if name in plain:
            raise PromptrunInvalidMessageError(f"has two keys that JSON spells {name!r}")
        plain[name] = _plain_at(name, item)
    return plain


def _plain_at(place: int | str, value: object) -> object:
    try:
        return _plain(value)
    except PromptrunInvalidMessageError as error:
        is_name = str(place).isidentifier()
        raise error.within(f".{place}" if is_name else f"[{place!r}]") from error.__cause__


def _simpler(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        raise PromptrunInvalidMessageError(f"is of type {type(value).__name__}; JSON carries text: send base64")
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return to_jsonable_python(value, by_alias=False)
    except ValueError as error:
        problem = f"is of type {type(value).__name__}, which JSON cannot carry"
        raise PromptrunInvalidMessageError(problem) from error


def without_surrogates(text: str) -> str:
    """Join the surrogate pairs of a text, and replace each lone half by U+FFFD, as no encoding can carry it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def cleaned(value: Any) -> Any:
    try:
        # orjson refuses lone surrogates, and looks faster than anything written in Python.
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
    return [_cleaned(item) for item in value] if kind is list else value


def cut_escape(text: str) -> str:
    r"""Return the beginning of an escaped surrogate pair (`\ud83d\ude80`) at the end of a text of JSON."""
    cut = rf"(?:{_FIRST_HALF})?(?:\\(?:u(?:[dD][{_HEX}]{{0,2}})?)?)?"
    return re.split(rf"(?<!\\)(?:\\\\)*({cut})\Z", text)[1]


def without_halves(text: str) -> str:
    """Replace each escape of a lone surrogate in a text of JSON by that of U+FFFD."""
    if "\\u" not in text:
        return text
    known = rf"{_FIRST_HALF}{_SECOND_HALF}|\\[^u]"
    return re.sub(rf"(?s)({known})|{_FIRST_HALF}|{_SECOND_HALF}", lambda found: found[1] or r"\ufffd", text)


class SurrogateJoiner:
    """Joins characters that a server cut in two at the border of two deltas; `held` has first halves by channel."""

    def __init__(self) -> None:
        self.held: dict[object, str] = {}

    def join(self, channel: object, text: str) -> str:
        """Return what of a text may go out: all but a first half at its end, which waits for the second."""
        if self.lets_pass(text):
            return text
        text = self.held.pop(channel, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self.held[channel] = text[-1]
            text = text[:-1]
        return without_surrogates(text)

    def lets_pass(self, text: str) -> bool:
        return not self.held and (text.isascii() or without_surrogates(text) is text)


class JsonScanner:
    """Tells, piece by piece and in linear time, whether a text can still become JSON.

    Numbers and words are not looked into. Brackets are counted, and strings closed, also in a text that is illegal.
    """

    def __init__(self, text: str = "") -> None:
        self._last = ""  # the last token
        self._brackets: list[str] = []
        self._open_string = ""
        self._closes_nothing = False
        self.feed(text)

    @property
    def is_complete(self) -> bool:
        return self.is_legal and not (self._brackets or self._open_string or self._last in {"", "#"})

    @property
    def ends(self) -> tuple[str, str] | None:
        if self._closes_nothing:
            return None
        # After a lone backslash a quote would be a character.
        return self._open_string and self._open_string[1:] + '"', "".join(self._brackets)

    def feed(self, text: str) -> bool:
        is_known = bool(self._open_string)
        for token in _TOKEN.finditer(self._open_string + text):
            end = token[1]
            self._open_string = "" if end in {None, '"'} else f'"{end}'
            if is_known:
                is_known = False
                continue
            kind = '"' if end is not None else token[0] if token[0] in ":,{}[]" else "#"
            is_after_all = self._last and not self._brackets and kind != "#"
            is_illegal = is_after_all or kind not in _FOLLOWING.get(self._last, "")
            if kind in _CLOSING:
                self._brackets.append(_CLOSING[kind])
            elif kind in "}]" and (not self._brackets or self._brackets.pop() != kind):
                self._closes_nothing = is_illegal = True
            elif kind == "," and self._brackets[-1:] == ["]"]:
                kind = ":"
            self._last = "illegal" if is_illegal else kind
        self.is_legal = self._last in _FOLLOWING
        return self.is_legal
