"""Numbers and strings for schema answers, taken from the conversation where they fit."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from langchain_promptrun.testing._model import texts

_NEIGHBOURS = 3
_REACH = 1000
_DAYS = 28
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}


class Source:
    """The numbers and phrases of a conversation, each handed out once from phrase `skip` on, and its text."""

    def __init__(self, text: str, skip: int = 0) -> None:
        self.text = text.strip()
        self.numbers = texts.numbers(text)
        phrases = texts.phrases(text)
        start = skip % len(phrases) if phrases else 0
        self.phrases = phrases[start:] + phrases[:start]
        self._told = False

    def phrase(self, name: str) -> str:
        """Take the next quotation or name, else the whole text once, else a text about `name`."""
        if self.phrases:
            return self.phrases.pop(0)
        if self.text and not self._told:
            self._told = True
            return self.text
        return f"{name} of: {self.text}" if self.text else name


def number_candidates(schema: Mapping[str, Any], source: Source, variant: int, *, whole: bool) -> Iterator[int | float]:
    """Yield numbers within a flat schema's bounds, the conversation's first; variants start elsewhere."""
    step = Fraction(str(schema.get("multipleOf", 1)))

    def fits(number: float) -> bool:
        in_bounds = all(holds(number, schema[key]) for key, holds in _BOUNDS.items() if key in schema)
        on_grid = "multipleOf" not in schema or (Fraction(str(number)) / step).denominator == 1
        return in_bounds and on_grid and (not whole or float(number).is_integer())

    taken = next(filter(fits, source.numbers), None)
    if taken is not None:
        source.numbers.remove(taken)
        yield int(taken) if whole else taken
    for value in _grid(schema, Fraction(step.numerator) if whole else step, variant):
        number = int(value) if value.denominator == 1 else float(value)
        if fits(number):
            yield number


def _grid(schema: Mapping[str, Any], step: Fraction, variant: int) -> Iterator[Fraction]:
    """Yield multiples of a step from near zero on, then the middle between the bounds."""
    lows = [Fraction(str(schema[key])) for key in ("minimum", "exclusiveMinimum") if key in schema]
    highs = [Fraction(str(schema[key])) for key in ("maximum", "exclusiveMaximum") if key in schema]
    low = max(lows) if lows else min([Fraction(0), *highs]) - _REACH * step
    high = min(highs) if highs else max([Fraction(0), *lows]) + _REACH * step
    first, last = math.ceil(low / step), math.floor(high / step)
    start = min(max(first, 0), last)
    for offset in range(min(_NEIGHBOURS, last - first + 1)):
        yield (first + (start - first + variant + offset) % (last - first + 1)) * step
    yield low + (high - low) * Fraction(variant + 1, variant + 2)


def string_candidates(schema: Mapping[str, Any], name: str, source: Source, variant: int) -> Iterator[str]:
    if schema.get("format") in _FORMATS:
        pattern, make = _FORMATS[schema["format"]]
        match = re.search(pattern, source.text) if pattern and not variant else None
        yield match.group() if match else make(variant)
        return
    low, high = schema.get("minLength", 0), schema.get("maxLength", math.inf)

    def fitted(text: str, suffix: str) -> str:
        room = max(0, int(min(high, len(text) + len(suffix))) - len(suffix))
        return (text[:room] + suffix).ljust(low, ".")

    if source.phrases:
        yield fitted(source.phrase(name), "")
    yield fitted(source.phrase(name), f" {variant + 1}" if variant else "")
    yield fitted(f"{variant:x}", "")


def _day(variant: int) -> str:
    return f"{2025 + variant // _DAYS}-01-{variant % _DAYS + 1:02d}"


_FORMATS: dict[Any, tuple[str | None, Callable[[int], str]]] = {
    "date": (r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])", _day),
    "date-time": (None, lambda variant: f"{_day(variant)}T12:00:00Z"),
    "time": (None, lambda variant: f"12:{variant // 60 % 60:02d}:{variant % 60:02d}Z"),
    "duration": (None, lambda variant: f"P{variant + 1}D"),
    "email": (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", lambda variant: f"person{variant + 1}@example.com"),
    "hostname": (None, lambda variant: f"host{variant + 1}.example.com"),
    "uri": (r"https?://[^\s\"'<>()]+[\w/]", lambda variant: f"https://example.com/{variant + 1}"),
    "ipv4": (None, lambda variant: f"192.0.2.{variant % 255 + 1}"),
    "ipv6": (None, lambda variant: f"2001:db8::{variant + 1:x}"),
    "uuid": (None, "0f5c1f6e-5a3b-4c52-9d3e-{:012x}".format),
}
"""For each format a pattern to find it in the conversation, and a maker."""
