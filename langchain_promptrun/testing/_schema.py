"""A JSON schema made flat: `$ref` and `allOf` merged in, the alternatives of `anyOf` and `oneOf` set aside.

Pure. Owns how two schemas become one that both allow; what cannot be merged is left to the check of the finished
answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any

from langchain_promptrun.testing._validation import NOT_SUPPORTED, Schema, UnanswerableError, canonical, resolve

CHOICES = "\0choices"
"""The key of a flat schema that holds its alternatives: a list of lists of schemas, one of each to be chosen."""

_LONGEST_CHAIN = 100


def flat(schema: Schema, root: Schema, chain: int = 0) -> dict[str, Any]:
    """One mapping without `$ref`, `allOf`, `anyOf` and `oneOf`; alternatives stand under `CHOICES`.

    Raises:
        UnanswerableError: A reference leads to nothing or in a circle, or the schema allows nothing.
    """
    if chain > _LONGEST_CHAIN:
        raise UnanswerableError("`$ref` leads in a circle")
    if not isinstance(schema, Mapping):
        return {CHOICES: []} if schema else {"type": [], CHOICES: []}
    rest = {key: value for key, value in schema.items() if key not in _COMBINING}
    _check_keywords(rest)
    if isinstance(rest.get("items"), list):
        rest["prefixItems"] = rest.pop("items")
    rest[CHOICES] = [schema[key] for key in ("anyOf", "oneOf") if key in schema]
    parts = list(schema.get("allOf", ()))
    if "$ref" in schema:
        parts.append(resolve(schema["$ref"], root))
    for part in parts:
        rest = merge(rest, flat(part, root, chain + 1))
    return rest


_COMBINING = frozenset({"$ref", "allOf", "anyOf", "oneOf"})


def _check_keywords(schema: Mapping[str, Any]) -> None:
    unknown = sorted(NOT_SUPPORTED & schema.keys())
    if unknown:
        raise UnanswerableError(f"`{unknown[0]}` is not supported")


def merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What two flat schemas demand together; where they cannot be joined, the first one's word stands."""
    merged = dict(one)
    for key, value in other.items():
        if key in one and key in _MERGERS:
            merged[key] = _MERGERS[key](one[key], value)
        else:
            merged.setdefault(key, value)
    return merged


def _both(one: Schema, other: Schema) -> Schema:
    return {"allOf": [one, other]}


def _common_types(one: str | list[str], other: str | list[str]) -> list[str]:
    left, right = ([names] if isinstance(names, str) else names for names in (one, other))
    whole = ["integer"] if "integer" in [*left, *right] and _counts(left) and _counts(right) else []
    return [name for name in left if name in right and name not in whole] + whole


def _counts(names: list[str]) -> bool:
    return "integer" in names or "number" in names


def _common_values(one: list[Any], other: list[Any]) -> list[Any]:
    allowed = {canonical(value) for value in other}
    return [value for value in one if canonical(value) in allowed]


def _common_properties(one: Mapping[str, Schema], other: Mapping[str, Schema]) -> dict[str, Schema]:
    shared = {name: _both(schema, other[name]) for name, schema in one.items() if name in other}
    return {**one, **other, **shared}


def _common_prefix(one: list[Schema], other: list[Schema]) -> list[Schema]:
    return [_both(left, right) for left, right in zip_longest(one, other, fillvalue=True)]


def _common_multiple(one: float, other: float) -> float:
    return math.lcm(one, other) if isinstance(one, int) and isinstance(other, int) else max(one, other)


def _joined(one: list[Any], other: list[Any]) -> list[Any]:
    return [*one, *(item for item in other if item not in one)]


_MERGERS: dict[str, Callable[[Any, Any], Any]] = {
    "type": _common_types,
    "enum": _common_values,
    "properties": _common_properties,
    "prefixItems": _common_prefix,
    "items": _both,
    "additionalProperties": _both,
    "required": _joined,
    "multipleOf": _common_multiple,
    "uniqueItems": lambda one, other: one or other,
    CHOICES: lambda one, other: [*one, *other],
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}
