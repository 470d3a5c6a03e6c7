"""JSON schema and conversation -> a value that the schema allows, checked by the package `jsonschema`."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache, partial
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from langchain_promptrun.testing._checks import spelled

Schema = Any  # a mapping, or True or False
Place = tuple[str | int, ...]  # the names and indexes that lead to a value

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w%]*[A-Za-z_])")  # a minus sign counts only without a word before
QUOTED = r"(?<!\w)'(?P<single>[^'\n]+)'(?!\w)|\"(?P<double>[^\"\n]+)\"|“(?P<curly>[^”\n]+)”|`(?P<tick>[^`\n]+)`"
_NAME = r"(?<=[a-z,] )(?P<name>(?:[A-Z][\w-]*)(?:,? [A-Z][\w-]*)*)"
_DEEP = 3
_NEIGHBOURS = 3
_REACH = 1000
_FIRST_MOMENT = datetime(2025, 1, 1, 12, tzinfo=UTC)
_FORMATS: dict[Any, tuple[str | None, str]] = {
    "date": (r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])", "{moment:%Y-%m-%d}"),
    "date-time": (None, "{moment:%Y-%m-%dT%H:%M:%SZ}"),
    "time": (None, "{moment:%H:%M:%SZ}"),
    "duration": (None, "P{number}D"),
    "email": (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "person{number}@example.com"),
    "hostname": (None, "host{number}.example.com"),
    "uri": (r"https?://[^\s\"'<>()]+[\w/]", "https://example.com/{number}"),
    "ipv4": (None, "192.0.2.{number}"),
    "ipv6": (None, "2001:db8::{number:x}"),
    "uuid": (None, "0f5c1f6e-5a3b-4c52-9d3e-{number:012x}"),
}
"""For each format a pattern to find it in the conversation, and one to make it."""
_LOWER: dict[str, Callable[[Any, Any], bool]] = {"minimum": operator.ge, "exclusiveMinimum": operator.gt}
_UPPER: dict[str, Callable[[Any, Any], bool]] = {"maximum": operator.le, "exclusiveMaximum": operator.lt}
_DEEPEST = 32
_MOST_PARTS = 20_000
_LONGEST_CHAIN = 100
_BROKEN_SCHEMA = (AttributeError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError, re.error)
_SUGGESTED = {"object": ("properties", "required"), "array": ("items", "prefixItems"), "number": ("minimum",)}
_TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")


class UnanswerableError(Exception):
    """A schema has no answer that the stand-in can make; the message names the part."""


def numbers(text: str) -> list[int | float]:
    return [float(found) if "." in found else int(found) for found in _NUMBER.findall(text)]


def phrases(text: str, pattern: str = f"{QUOTED}|{_NAME}") -> list[str]:
    return [next(filter(None, match.groups())) for match in re.finditer(pattern, text)]


def _rotated(values: list[Any], by: int) -> list[Any]:
    start = by % len(values) if values else 0
    return values[start:] + values[:start]


@cache
def validator_class() -> Any:
    try:
        return import_module("jsonschema").Draft202012Validator
    except ImportError:
        return None


def answer(schema: Schema, text: str, *, skip: int = 0, optional: bool = False) -> Any:
    """Make a value that a schema allows of a conversation, from its phrase `skip` on; `optional` properties too."""
    try:
        return _Maker(schema, text, skip, optional=optional).make(schema, ())
    except _BROKEN_SCHEMA as broken:
        raise UnanswerableError(f"this is not a JSON schema: {broken!r}") from broken


class _Maker:
    """Makes one answer of a conversation's numbers and phrases, each taken once; variants tell list members apart."""

    def __init__(self, root: Schema, text: str, skip: int, *, optional: bool) -> None:
        validator = validator_class()
        self._validator = validator and validator(root, format_checker=validator.FORMAT_CHECKER)
        self._root = root
        self._optional = optional
        self._text = self._untold = text.strip()
        self._numbers = numbers(text)
        self._phrases: list[str] = _rotated(phrases(text), skip)
        self._parts = 0
        self._reason: UnanswerableError | None = None

    def make(self, schema: Schema, place: Place, variant: int = 0) -> Any:
        self._parts += 1
        if len(place) > _DEEPEST or self._parts > _MOST_PARTS:
            raise _unanswerable(place, "nested without an end")
        for way in self._ways(_merged(schema, self._root), place, variant):
            try:
                value = way()
            except UnanswerableError as reason:
                self._reason = self._reason or reason
            else:
                if self._validator is None or self._validator.evolve(schema=schema).is_valid(value):
                    return value
        raise self._reason or _unanswerable(place, "no value was found that the schema allows")

    def _ways(self, schema: Mapping[str, Any], place: Place, variant: int) -> list[Callable[[], Any]]:
        """Return what makes a value, the likeliest first: null last, but deep down what has no parts first."""
        last = ("null",) if len(place) < _DEEP else (None, "object", "array")
        branches, kinds = schema.get("anyOf", schema.get("oneOf")), schema.get("type")
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        if values is not None:
            text = self._text.lower()
            by_mention = sorted(values, key=lambda value: str(value).lower() not in text)
            return [partial(copy, value) for value in _rotated(by_mention, variant)]
        if branches is not None:
            rest = {key: value for key, value in schema.items() if value is not branches}
            merged = [_merged({"allOf": [branch, rest]}, self._root) for branch in branches]
            in_order = _rotated(sorted(merged, key=lambda branch: branch.get("type") in last), variant)
            return [partial(self.make, branch, place, variant) for branch in in_order]
        if kinds is None:  # types that the schema's keywords suggest come first
            kinds = sorted(_TYPES, key=lambda kind: schema.keys().isdisjoint(_SUGGESTED.get(kind, ())))
        elif not isinstance(kinds, str):
            kinds = sorted(kinds, key=lambda kind: kind in last)
        makers: dict[str, list[Callable[[], Any]]] = {
            "string": [partial(self._string, schema, place, variant)],
            "number": [partial(self._number, schema, place, variant)],
            "integer": [partial(self._number, schema, place, variant, whole=True)],
            "boolean": [lambda: variant % 2 == 0, lambda: variant % 2 == 1],
            "null": [lambda: None],
            "array": [partial(self._array, schema, place, variant, short=short) for short in (False, True)],
            "object": [partial(self._object, schema, place, variant, bare=bare) for bare in (False, True)],
        }
        return [way for kind in ([kinds] if isinstance(kinds, str) else kinds) for way in makers[kind]]

    def _array(self, schema: Mapping[str, Any], place: Place, variant: int, *, short: bool) -> list[Any]:
        """Make as many members as the conversation suggests, else one and none deep down; or as few as may be."""
        prefix, items, count = schema.get("prefixItems", []), schema.get("items", True), schema.get("minItems", 0)
        if not short:
            liked = len(prefix)
            if not prefix and len(place) < _DEEP and items is not False:
                kind, many = str(_merged(items, self._root).get("type")), len(self._numbers)
                liked = {"string": len(self._phrases), "integer": many, "number": many}.get(kind, 1) or 1
            count = max(count, min(liked, schema.get("maxItems", liked)))
        step = int(bool(schema.get("uniqueItems")))
        schemas = [*prefix[:count], *[items] * (count - len(prefix))]
        return [self.make(item, (*place, index), variant + step * index) for index, item in enumerate(schemas)]

    def _object(self, schema: Mapping[str, Any], place: Place, variant: int, *, bare: bool) -> dict[str, Any]:
        """Make the required properties, and as many others as can be made, where they are wanted."""
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        needed = dict.fromkeys(schema.get("required", ()))
        made = {name: self.make(properties.get(name, other), (*place, name), variant) for name in needed}
        if self._optional and not bare and len(place) < _DEEP:
            for name in [name for name in properties if name not in needed]:
                with suppress(UnanswerableError):
                    made[name] = self.make(properties[name], (*place, name), variant)
        return made

    def _number(self, schema: Mapping[str, Any], place: Place, variant: int, *, whole: bool = False) -> float:
        """Take a number of the conversation, a multiple of the step from near zero on, or the middle of the bounds."""
        step = Fraction(str(schema.get("multipleOf", 1)))

        def fits(number: float) -> bool:
            in_bounds = all(holds(number, schema[key]) for key, holds in (_LOWER | _UPPER).items() if key in schema)
            on_grid = "multipleOf" not in schema or (Fraction(str(number)) / step).denominator == 1
            return in_bounds and on_grid and (not whole or float(number).is_integer())

        for number in filter(fits, self._numbers):
            self._numbers.remove(number)
            return int(number) if whole else number
        grid = Fraction(step.numerator) if whole else step
        lows = [Fraction(str(schema[key])) for key in _LOWER if key in schema]
        highs = [Fraction(str(schema[key])) for key in _UPPER if key in schema]
        low = max(lows, default=min([Fraction(0), *highs]) - _REACH * grid)
        high = min(highs, default=max([Fraction(0), *lows]) + _REACH * grid)
        first, last = math.ceil(low / grid), math.floor(high / grid)
        start, size = min(max(first, 0), last) - first + variant, last - first + 1
        multiples = [(first + (start + offset) % size) * grid for offset in range(min(_NEIGHBOURS, size))]
        for value in (*multiples, low + (high - low) * Fraction(variant + 1, variant + 2)):
            number = int(value) if value.denominator == 1 else float(value)
            if fits(number):
                return number
        raise _unanswerable(place, "no value was found that the schema allows")

    def _string(self, schema: Mapping[str, Any], place: Place, variant: int) -> str:
        """Take what has the format, the next quotation or name, the whole text once, or a text about the property."""
        if "pattern" in schema:
            raise _unanswerable(place, "strings with a `pattern` are not supported")
        if schema.get("format") in _FORMATS:
            pattern, example = _FORMATS[schema["format"]]
            match = re.search(pattern, self._text) if pattern and not variant else None
            moment = _FIRST_MOMENT + timedelta(days=variant, seconds=variant)
            return match.group() if match else example.format(moment=moment, number=variant + 1)
        suffix = f" {variant + 1}" if variant and not self._phrases else ""
        if self._phrases:
            text = self._phrases.pop(0)
        elif self._untold:
            text, self._untold = self._untold, ""
        else:
            name = next((key for key in reversed(place) if isinstance(key, str)), "answer")
            text = f"{name} of: {self._text}" if self._text else name
        room = max(0, int(min(schema.get("maxLength", math.inf), len(text) + len(suffix))) - len(suffix))
        return (text[:room] + suffix).ljust(schema.get("minLength", 0), ".")


def _unanswerable(place: Place, problem: str) -> UnanswerableError:
    return UnanswerableError(f"{spelled(('$', *place))}: {problem}")


def _merged(schema: Schema, root: Schema, chain: int = 0) -> dict[str, Any]:
    """Return one mapping of a schema, its `$ref` and its `allOf`; where they disagree the outer word stands."""
    if chain > _LONGEST_CHAIN:
        raise UnanswerableError("`$ref` leads in a circle")
    if not isinstance(schema, Mapping):
        return {} if schema else {"enum": []}
    found = {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
    parts = [*schema.get("allOf", ()), *([_resolve(schema["$ref"], root)] if "$ref" in schema else ())]
    for part in (_merged(part, root, chain + 1) for part in parts):
        both = {"properties": part.get("properties", {}) | found.get("properties", {})}
        both["required"] = list(dict.fromkeys([*found.get("required", ()), *part.get("required", ())]))
        found = {**part, **found, **{key: value for key, value in both.items() if value}}
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        _merged(branch, root, chain + 1)  # finds circles, in which the validator's Rust parts panic
    return found


def _resolve(reference: str, root: Schema) -> Schema:
    """Return the schema that a local `$ref` points to (RFC 6901)."""
    start, *path = unquote(reference).split("/")
    if start != "#":
        raise UnanswerableError(f"`$ref` {reference!r} leads out of the schema")
    found = root
    for part in path:
        key = part.replace("~1", "/").replace("~0", "~")
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found
