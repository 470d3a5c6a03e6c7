"""JSON schema and conversation -> a value that the schema allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from langchain_promptrun.testing._model.schemas import Schema, UnanswerableError, checker, merged
from langchain_promptrun.testing._model.values import Source, number_candidates, string_candidates

_DEEP = 3
_DEEPEST = 32
_MOST_PARTS = 20_000
_BROKEN_SCHEMA = (AttributeError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError, re.error)


def answer(schema: Schema, source: Source, *, optional: bool = False) -> Any:
    """Make a value that a schema allows of the conversation, or raise UnanswerableError; `optional` properties too."""
    try:
        return _Maker(schema, source, optional=optional).make(schema, _Place("$", "answer", 0, 0))
    except _BROKEN_SCHEMA as broken:
        raise UnanswerableError(f"this is not a JSON schema: {broken!r}") from broken


class _Place(NamedTuple):
    """The place of a value in the answer; `variant` tells the members of a list apart."""

    path: str
    name: str
    depth: int
    variant: int

    def inside(self, key: str | int, variant: int) -> _Place:
        path = f"{self.path}.{key}" if isinstance(key, str) else f"{self.path}[{key}]"
        return _Place(path, key if isinstance(key, str) else self.name, self.depth + 1, variant)


class _Maker:
    """Makes one answer and remembers the first reason why a part failed."""

    def __init__(self, root: Schema, source: Source, *, optional: bool) -> None:
        self._root = root
        self._allows = checker(root)
        self._source = source
        self._optional = optional
        self._parts = 0
        self._reason: UnanswerableError | None = None

    def make(self, schema: Schema, place: _Place) -> Any:
        self._parts += 1
        if place.depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise UnanswerableError(f"{place.path}: nested without an end")
        for candidate in self._candidates(merged(schema, self._root), place):
            if self._allows(schema, candidate):
                return candidate
        raise self._reason or UnanswerableError(f"{place.path}: no value was found that the schema allows")

    def _candidates(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        if "const" in schema:
            yield schema["const"]
        elif "enum" in schema:
            text = self._source.text.lower()
            by_mention = sorted(schema["enum"], key=lambda value: str(value).lower() not in text)
            yield from _rotated(by_mention, place.variant)
        elif "anyOf" in schema or "oneOf" in schema:
            yield from self._chosen(dict(schema), place)
        else:
            for name in _types(schema, place):
                yield from self._attempt(_MAKERS[name](self, schema, place))

    def _attempt(self, candidates: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from candidates
        except UnanswerableError as reason:
            self._reason = self._reason or reason

    def _chosen(self, schema: dict[str, Any], place: _Place) -> Iterator[Any]:
        group = schema.pop("anyOf" if "anyOf" in schema else "oneOf")
        branches = [merged({"allOf": [branch, schema]}, self._root) for branch in group]
        for branch in _rotated(sorted(branches, key=lambda branch: _weight(branch, place)), place.variant):
            yield from self._attempt(self._candidates(branch, place))

    # The following methods yield the candidates of one type; _MAKERS names them.

    def string(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        if "pattern" in schema:
            raise UnanswerableError(f"{place.path}: strings with a `pattern` are not supported")
        yield from string_candidates(schema, place.name, self._source, place.variant)

    def number(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        yield from number_candidates(schema, self._source, place.variant, whole=False)

    def integer(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        yield from number_candidates(schema, self._source, place.variant, whole=True)

    def boolean(self, _schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        yield from _rotated([True, False], place.variant)

    def null(self, _schema: Mapping[str, Any], _place: _Place) -> Iterator[Any]:
        yield None

    def array(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        low = schema.get("minItems", 0)
        liked = len(schema.get("prefixItems", ())) or self._offered(schema.get("items", True), place)
        for count in dict.fromkeys([max(low, min(liked, schema.get("maxItems", liked))), low]):
            yield from self._attempt(self._members(schema, count, place))

    def _offered(self, items: Schema, place: _Place) -> int:
        """Count the members that the conversation suggests: its numbers or phrases, else one, and none deep down."""
        if place.depth >= _DEEP or items is False:
            return 0
        kind = str(merged(items, self._root).get("type"))
        numbers = len(self._source.numbers)
        return max(1, {"string": len(self._source.phrases), "integer": numbers, "number": numbers}.get(kind, 1))

    def _members(self, schema: Mapping[str, Any], count: int, place: _Place) -> Iterator[list[Any]]:
        prefix, rest = schema.get("prefixItems", []), schema.get("items", True)
        step = int(bool(schema.get("uniqueItems")))
        yield [
            self.make(prefix[index] if index < len(prefix) else rest, place.inside(index, place.variant + step * index))
            for index in range(count)
        ]

    def object(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        required = list(dict.fromkeys(schema.get("required", ())))
        more = [name for name in schema.get("properties", {}) if name not in required]
        if self._optional and place.depth < _DEEP:
            yield from self._attempt(self._filled(schema, required, more, place))
        yield from self._attempt(self._filled(schema, required, [], place))

    def _filled(
        self, schema: Mapping[str, Any], required: list[str], more: list[str], place: _Place
    ) -> Iterator[dict[str, Any]]:
        """Fill in the required properties, and as many more as can be made."""
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        filled = {name: self.make(properties.get(name, other), place.inside(name, place.variant)) for name in required}
        for name in more:
            with suppress(UnanswerableError):
                filled[name] = self.make(properties[name], place.inside(name, place.variant))
        yield filled


def _rotated(values: list[Any], by: int) -> list[Any]:
    start = by % len(values) if values else 0
    return values[start:] + values[:start]


def _weight(branch: Mapping[str, Any], place: _Place) -> int:
    """Rank an alternative: null last, but deep down what has no parts first."""
    kind = branch.get("type")
    if place.depth < _DEEP:
        return int(kind == "null")
    return int(kind in (None, "object", "array"))


_MAKERS: dict[str, Callable[[_Maker, Mapping[str, Any], _Place], Iterator[Any]]] = {
    name: getattr(_Maker, name) for name in ("string", "integer", "number", "boolean", "object", "array", "null")
}


def _types(schema: Mapping[str, Any], place: _Place) -> list[str]:
    """Return the types to try; where the schema names none, those that its keywords suggest come first."""
    named = schema.get("type")
    if named is None:
        suggested = {"object": ("properties", "required"), "array": ("items", "prefixItems"), "number": ("minimum",)}
        likely = [name for name, keys in suggested.items() if any(key in schema for key in keys)]
        return list(dict.fromkeys([*likely, *_MAKERS]))
    return sorted([named] if isinstance(named, str) else named, key=lambda name: _weight({"type": name}, place))
