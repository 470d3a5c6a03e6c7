"""Numbers and strings for the answers that a JSON schema asks for, taken from a conversation where it has fitting ones.

Pure. Each function gives candidates in order of liking; whether one satisfies the whole schema is checked elsewhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from langchain_promptrun.testing import _words

_LETTERS = 26
_NEIGHBOURS = 3


class Source:
    """What a conversation offers: its numbers and phrases, each handed out once, and the text itself.

    Args:
        text: The conversation.
        skip: With which phrase to begin; of two tools called at once the second begins with the second.
    """

    def __init__(self, text: str, skip: int = 0) -> None:
        self.text = text.strip()
        self.numbers = _words.numbers(text)
        phrases = _words.fragments(text)
        start = skip % len(phrases) if phrases else 0
        self.phrases = phrases[start:] + phrases[:start]
        self._told = False

    def number(self, fits: Callable[[float], bool]) -> int | float | None:
        """The next number that fits."""
        for position, number in enumerate(self.numbers):
            if fits(number):
                return self.numbers.pop(position)
        return None

    def phrase(self, name: str) -> str:
        """The next quotation or name; then the whole text, once; then something that says what it stands for."""
        if self.phrases:
            return self.phrases.pop(0)
        if self.text and not self._told:
            self._told = True
            return self.text
        return f"{name} of: {self.text}" if self.text else name


def number_grid(schema: Mapping[str, Any], *, whole: bool, variant: int) -> Iterator[int | float]:
    """Numbers within a flat schema's bounds, on the grid of its `multipleOf`; another variant starts elsewhere."""
    low = _bound(schema, ("minimum", "exclusiveMinimum"), max)
    high = _bound(schema, ("maximum", "exclusiveMaximum"), min)
    step = Fraction(str(schema.get("multipleOf", 1)))
    step = Fraction(step.numerator) if whole else step
    start = _start(low, high, step)
    first, count = _span(low, high, step)
    for distance in range(_NEIGHBOURS):
        for index in (start + variant + distance, start - variant - distance):
            yield _number((first + (index - first) % count if count else index) * step)
    if low is not None and high is not None and not whole:
        yield _number(low + (high - low) * Fraction(variant + 1, variant + 2))


def _bound(
    schema: Mapping[str, Any], names: tuple[str, str], choose: Callable[[list[Fraction]], Fraction]
) -> Fraction | None:
    found = [Fraction(str(schema[name])) for name in names if name in schema]
    return choose(found) if found else None


def _start(low: Fraction | None, high: Fraction | None, step: Fraction) -> int:
    """The grid's index nearest to zero within the bounds."""
    if low is not None and low > 0:
        return math.ceil(low / step)
    if high is not None and high < 0:
        return math.floor(high / step)
    return 0


def _span(low: Fraction | None, high: Fraction | None, step: Fraction) -> tuple[int, int]:
    """The grid's first index within the bounds and how many there are; a count of 0: there is no end to them."""
    if low is None or high is None:
        return 0, 0
    first = math.ceil(low / step)
    return first, max(0, math.floor(high / step) - first + 1)


def _number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def string_candidates(schema: Mapping[str, Any], name: str, source: Source, variant: int) -> Iterator[str]:
    """Strings of a flat schema's format or length."""
    found = _FORMATS.get(schema.get("format", ""))
    if found is not None:
        pattern, make = found
        match = re.search(pattern, source.text) if pattern and not variant else None
        yield match.group() if match else make(variant)
        return
    low, high = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    if source.phrases:
        yield _fitted(source.phrase(name), low, high, "")
    yield _fitted(source.phrase(name), low, high, f" {variant + 1}" if variant else "")
    yield _spelled(variant).ljust(low, "a")


def _fitted(text: str, low: int, high: float, suffix: str) -> str:
    """A text cut or padded to a length, which keeps its suffix."""
    room = max(0, int(min(high, len(text) + len(suffix))) - len(suffix))
    return (text[:room] + suffix).ljust(low, ".")


def _spelled(variant: int) -> str:
    """As short a word as can be, another one for each variant: a, b, ..., z, ab, ..."""
    letters = chr(ord("a") + variant % _LETTERS)
    return letters if variant < _LETTERS else letters + _spelled(variant // _LETTERS - 1)


_UUID = "0f5c1f6e-5a3b-4c52-9d3e-{:012x}"
_Format = tuple[str | None, Callable[[int], str]]
_DATE = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])"
_URI = r"https?://[^\s\"'<>()]+[\w/]"
_EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_DAYS = 28

_FORMATS: dict[str, _Format] = {
    "date": (_DATE, lambda variant: f"{2025 + variant // _DAYS}-01-{variant % _DAYS + 1:02d}"),
    "date-time": (None, lambda variant: f"{2025 + variant // _DAYS}-01-{variant % _DAYS + 1:02d}T12:00:00Z"),
    "time": (None, lambda variant: f"12:{variant // 60 % 60:02d}:{variant % 60:02d}Z"),
    "duration": (None, lambda variant: f"P{variant + 1}D"),
    "email": (_EMAIL, lambda variant: f"person{variant + 1}@example.com"),
    "idn-email": (_EMAIL, lambda variant: f"person{variant + 1}@example.com"),
    "hostname": (None, lambda variant: f"host{variant + 1}.example.com"),
    "idn-hostname": (None, lambda variant: f"host{variant + 1}.example.com"),
    "ipv4": (None, lambda variant: f"192.0.2.{variant % 255 + 1}"),
    "ipv6": (None, lambda variant: f"2001:db8::{variant + 1:x}"),
    "uri": (_URI, lambda variant: f"https://example.com/{variant + 1}"),
    "uri-reference": (_URI, lambda variant: f"https://example.com/{variant + 1}"),
    "iri": (_URI, lambda variant: f"https://example.com/{variant + 1}"),
    "iri-reference": (_URI, lambda variant: f"https://example.com/{variant + 1}"),
    "uri-template": (None, lambda variant: f"https://example.com/{variant + 1}/{{name}}"),
    "uuid": (None, _UUID.format),
    "json-pointer": (None, lambda variant: f"/part{variant + 1}"),
    "relative-json-pointer": (None, lambda variant: f"{variant + 1}/part"),
    "regex": (None, lambda variant: f"part{variant + 1}"),
}
