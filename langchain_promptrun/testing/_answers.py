"""JSON schema and conversation -> a value that the schema allows.

Pure. Every value is checked against its schema before it is handed out, part by part; where none can be found the
reason is an `UnanswerableError`. Recursive schemas end: the deeper a place is, the plainer the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from langchain_promptrun.testing._schema import CHOICES, flat, merge
from langchain_promptrun.testing._validation import Schema, UnanswerableError, canonical, valid
from langchain_promptrun.testing._values import Source, number_grid, string_candidates

_DEEP = 3
_DEEPEST = 32
_MOST_PARTS = 20_000
_MOST_TRIES = 16


def answer(schema: Schema, source: Source, *, optional: bool = False) -> Any:
    """A value that satisfies a JSON schema, made of a conversation's numbers, quotations and names where they fit.

    Args:
        schema: The schema. `format` is honoured; so are all keywords of JSON Schema 2020-12 about a value's shape
            and bounds. A string with a `pattern` is only answered where `enum` or `const` says how.
        source: What the conversation offers.
        optional: Also give the properties that are not required.

    Raises:
        UnanswerableError: No value was found; the message names the place and the keyword.
    """
    try:
        return _Maker(schema, source, optional=optional).make(schema, _Place("$", "answer", 0, 0))
    except RecursionError:
        raise UnanswerableError("the schema refers to itself without an end") from None
    except (AttributeError, TypeError, ValueError, ArithmeticError) as broken:
        raise UnanswerableError(f"this is not a JSON schema: {broken}") from broken


class _Place(NamedTuple):
    """Where in the answer a value stands; `variant` tells the members of a list apart."""

    path: str
    name: str
    depth: int
    variant: int

    def inside(self, key: str | int, variant: int) -> _Place:
        """The place of a part."""
        path = f"{self.path}.{key}" if isinstance(key, str) else f"{self.path}[{key}]"
        return _Place(path, key if isinstance(key, str) else self.name, self.depth + 1, variant)


class _Maker:
    """Makes one answer; keeps what the conversation still has to offer, and the first reason why a part failed."""

    def __init__(self, root: Schema, source: Source, *, optional: bool) -> None:
        self._root = root
        self._source = source
        self._optional = optional
        self._parts = 0
        self._reason: UnanswerableError | None = None

    def make(self, schema: Schema, place: _Place) -> Any:
        """The first candidate that the schema allows."""
        self._parts += 1
        if place.depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise UnanswerableError(f"{place.path}: nested without an end")
        for candidate in self._candidates(flat(schema, self._root), place):
            if valid(schema, candidate, self._root):
                return candidate
        raise self._reason or UnanswerableError(f"{place.path}: no value was found that the schema allows")

    def _candidates(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        if "const" in schema:
            yield schema["const"]
        elif "enum" in schema:
            yield from self._listed(schema["enum"], place)
        elif schema[CHOICES]:
            yield from self._chosen(schema, place)
        else:
            for name in _types(schema, place):
                yield from self._attempt(_MAKERS[name](self, schema, place))

    def _attempt(self, candidates: Iterator[Any]) -> Iterator[Any]:
        """One of several ways: its failure is remembered, and the next way is tried."""
        try:
            yield from candidates
        except UnanswerableError as reason:
            self._reason = self._reason or reason

    def _listed(self, values: list[Any], place: _Place) -> Iterator[Any]:
        """An enum's values, those that the conversation mentions first."""
        text = self._source.text.lower()
        by_mention = sorted(values, key=lambda value: str(value).lower() not in text)
        yield from _rotated(by_mention, place.variant)

    def _chosen(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        group, *others = schema[CHOICES]
        rest = {**schema, CHOICES: others}
        branches = sorted(group, key=lambda branch: _weight(branch, place))
        within = place._replace(variant=place.variant // max(1, len(branches)))
        for branch in _rotated(branches, place.variant):
            yield from self._attempt(self._branch(rest, branch, within))

    def _branch(self, rest: Mapping[str, Any], branch: Schema, place: _Place) -> Iterator[Any]:
        yield from self._candidates(merge(rest, flat(branch, self._root)), place)

    # What follows gives the candidates of one type; _MAKERS names them.

    def string(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        if "pattern" in schema:
            raise UnanswerableError(f"{place.path}: strings with a `pattern` are not supported")
        yield from string_candidates(schema, place.name, self._source, place.variant)

    def number(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        yield from self._numeric(schema, place, whole=False)

    def integer(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        yield from self._numeric(schema, place, whole=True)

    def _numeric(self, schema: Mapping[str, Any], place: _Place, *, whole: bool) -> Iterator[Any]:
        bounds = {**schema, "type": "integer" if whole else "number"}
        found = self._source.number(lambda number: valid(bounds, number, self._root))
        if found is not None:
            yield int(found) if whole else found
        yield from number_grid(schema, whole=whole, variant=place.variant)

    def boolean(self, _schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        yield from _rotated([True, False], place.variant)

    def null(self, _schema: Mapping[str, Any], _place: _Place) -> Iterator[Any]:
        yield None

    def array(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        low, high = schema.get("minItems", 0), schema.get("maxItems", _MOST_PARTS)
        liked = len(schema.get("prefixItems", ())) or self._evidence(schema.get("items", True), place)
        counts = dict.fromkeys([max(low, min(liked, high)), low])
        for count in counts:
            yield from self._attempt(_once(self._members, schema, count, place))

    def _evidence(self, items: Schema, place: _Place) -> int:
        """How many members the conversation suggests: all its numbers or phrases, else one, and none deep down."""
        if place.depth >= _DEEP or items is False:
            return 0
        kinds = flat(items, self._root).get("type", ())
        offered = self._source.phrases if kinds == "string" else self._source.numbers
        return max(1, len(offered)) if kinds in ("string", "integer", "number") else 1

    def _members(self, schema: Mapping[str, Any], count: int, place: _Place) -> list[Any]:
        prefix = schema.get("prefixItems", [])
        rest = schema.get("items", True)
        make = self._other_member if schema.get("uniqueItems") else self._member
        members: list[Any] = []
        for index in range(count):
            members.append(make(prefix[index] if index < len(prefix) else rest, members, place))
        return members

    def _member(self, schema: Schema, before: list[Any], place: _Place) -> Any:
        return self.make(schema, place.inside(len(before), place.variant))

    def _other_member(self, schema: Schema, before: list[Any], place: _Place) -> Any:
        """The next member of a list whose members differ."""
        known = {canonical(value) for value in before}
        for attempt in range(_MOST_TRIES + len(before)):
            member = self.make(schema, place.inside(len(before), place.variant + len(before) + attempt))
            if canonical(member) not in known:
                return member
        raise UnanswerableError(f"{place.path}: not enough different members were found")

    def object(self, schema: Mapping[str, Any], place: _Place) -> Iterator[Any]:
        required = list(dict.fromkeys(schema.get("required", ())))
        more = [name for name in schema.get("properties", {}) if name not in required]
        wanted = more if self._optional and place.depth < _DEEP else []
        yield from self._attempt(_once(self._filled, schema, required, wanted, place))
        if wanted:
            yield from self._attempt(_once(self._filled, schema, required, [], place))
        invented = [f"property_{number}" for number in range(1, schema.get("minProperties", 0) + 1)]
        if invented:
            yield from self._attempt(_once(self._filled, schema, required, [*more, *invented], place))

    def _filled(self, schema: Mapping[str, Any], required: list[str], more: list[str], place: _Place) -> dict[str, Any]:
        """An object of the required properties and as many more as the schema allows and can be made."""
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        filled = {name: self.make(properties.get(name, other), place.inside(name, place.variant)) for name in required}
        for name in more:
            if len(filled) < schema.get("maxProperties", _MOST_PARTS):
                part, where = properties.get(name, other), place.inside(name, place.variant)
                filled.update((name, value) for value in self._attempt(_once(self.make, part, where)))
        return filled


def _once(make: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """One candidate, made when it is asked for."""
    yield make(*arguments)


def _rotated(values: list[Any], by: int) -> list[Any]:
    start = by % len(values) if values else 0
    return values[start:] + values[:start]


def _weight(branch: Schema, place: _Place) -> int:
    """How late an alternative is tried: nothing comes last, but deep down what has no parts comes first."""
    kind = branch.get("type") if isinstance(branch, Mapping) else None
    if place.depth < _DEEP:
        return int(kind == "null")
    return int(kind in (None, "object", "array"))


_MAKERS: dict[str, Callable[[_Maker, Mapping[str, Any], _Place], Iterator[Any]]] = {
    "string": _Maker.string,
    "integer": _Maker.integer,
    "number": _Maker.number,
    "boolean": _Maker.boolean,
    "object": _Maker.object,
    "array": _Maker.array,
    "null": _Maker.null,
}
_TYPE_OF = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "minProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}


def _types(schema: Mapping[str, Any], place: _Place) -> list[str]:
    """The types that a flat schema allows, in the order to try them; where it names none, what its keywords suggest."""
    named = schema.get("type")
    if named is None:
        return list(dict.fromkeys([_TYPE_OF[key] for key in schema if key in _TYPE_OF] + list(_MAKERS)))
    names = [named] if isinstance(named, str) else list(named)
    unknown = [name for name in names if name not in _MAKERS]
    if unknown:
        raise UnanswerableError(f"{place.path}: the type {unknown[0]!r} is not known")
    return sorted(names, key=lambda name: _weight({"type": name}, place))
