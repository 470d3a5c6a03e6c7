"""Does a value satisfy a JSON schema? The part of JSON Schema 2020-12 that describes tools and answers.

Pure. The stand-in asks it before it sends an answer, so that it never sends a wrong one; it must not be used to judge
what a client sent. `format` is not looked at: the maker of answers knows the formats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

Schema = Any
"""A JSON schema: a mapping, or True or False."""

_NOT_SUPPORTED = """
    patternProperties propertyNames if then else dependentRequired dependentSchemas dependencies contains minContains
    maxContains unevaluatedProperties unevaluatedItems $dynamicRef $recursiveRef
"""
NOT_SUPPORTED = frozenset(_NOT_SUPPORTED.split())
"""Keywords that constrain values and that the stand-in does not know: it says so rather than guess."""


class UnanswerableError(Exception):
    """No answer to a schema can be made; the message says which part of it is the reason."""


def resolve(reference: str, root: Schema) -> Schema:
    """The schema that a local `$ref` points to.

    Raises:
        UnanswerableError: The reference leads out of the document or to nothing.
    """
    if not reference.startswith("#") or (len(reference) > 1 and reference[1] != "/"):
        raise UnanswerableError(f"`$ref` {reference!r} leads out of the schema")
    found = root
    for part in unquote(reference).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (LookupError, TypeError, ValueError):
            raise UnanswerableError(f"`$ref` {reference!r} leads to nothing") from None
    return found


def canonical(value: Any) -> str:
    """A text that is equal for what JSON Schema calls equal values: 1 and 1.0 are, 1 and true are not."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def is_type(name: str, value: Any) -> bool:
    """Whether a value has a type, by the type's name in JSON Schema."""
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, ()))


_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
    "null": type(None),
}


def valid(schema: Schema, value: Any, root: Schema) -> bool:
    """Whether a value satisfies a schema, whose references are looked up in `root`.

    Raises:
        UnanswerableError: The schema uses a keyword that is not supported, or a reference that leads to nothing.
    """
    if not isinstance(schema, Mapping):
        return bool(schema)
    for keyword, argument in schema.items():
        if keyword in NOT_SUPPORTED:
            raise UnanswerableError(f"`{keyword}` is not supported")
        check = _CHECKS.get(keyword)
        if check is not None and not check(argument, value, schema, root):
            return False
    return True


_Check = Callable[[Any, Any, Mapping[str, Any], Schema], bool]


def _for(type_name: str, holds: Callable[[Any, Any], bool]) -> _Check:
    """A check that speaks about values of one type only."""
    return lambda argument, value, _schema, _root: not is_type(type_name, value) or holds(argument, value)


def _multiple(argument: float, value: float) -> bool:
    """By decimal digits and by binary floats: validators differ, and an answer has to please all of them."""
    exact = Fraction(str(value)) / Fraction(str(argument))
    return exact.denominator == 1 and (isinstance(argument, int) or float(value / argument).is_integer())


def _matches(argument: str, value: str) -> bool:
    try:
        return re.search(argument, value) is not None
    except re.error:
        return False


def _type(argument: Any, value: Any, _schema: Mapping[str, Any], _root: Schema) -> bool:
    return any(is_type(name, value) for name in ([argument] if isinstance(argument, str) else argument))


def _properties(argument: Any, value: Any, _schema: Mapping[str, Any], root: Schema) -> bool:
    return not isinstance(value, dict) or all(
        valid(part, value[name], root) for name, part in argument.items() if name in value
    )


def _additional(argument: Any, value: Any, schema: Mapping[str, Any], root: Schema) -> bool:
    named = schema.get("properties", {})
    return not isinstance(value, dict) or all(
        valid(argument, item, root) for name, item in value.items() if name not in named
    )


def _prefix(argument: Any, value: Any, _schema: Mapping[str, Any], root: Schema) -> bool:
    return not isinstance(value, list) or all(
        valid(part, item, root) for part, item in zip(argument, value, strict=False)
    )


def _items(argument: Any, value: Any, schema: Mapping[str, Any], root: Schema) -> bool:
    if isinstance(argument, list):
        return _prefix(argument, value, schema, root)
    start = len(schema.get("prefixItems", ()))
    return not isinstance(value, list) or all(valid(argument, item, root) for item in value[start:])


_CHECKS: dict[str, _Check] = {
    "$ref": lambda argument, value, _schema, root: valid(resolve(argument, root), value, root),
    "allOf": lambda argument, value, _schema, root: all(valid(part, value, root) for part in argument),
    "anyOf": lambda argument, value, _schema, root: any(valid(part, value, root) for part in argument),
    "oneOf": lambda argument, value, _schema, root: sum(valid(part, value, root) for part in argument) == 1,
    "not": lambda argument, value, _schema, root: not valid(argument, value, root),
    "type": _type,
    "enum": lambda argument, value, _schema, _root: canonical(value) in {canonical(item) for item in argument},
    "const": lambda argument, value, _schema, _root: canonical(value) == canonical(argument),
    "properties": _properties,
    "additionalProperties": _additional,
    "prefixItems": _prefix,
    "items": _items,
    "required": _for("object", lambda argument, value: all(name in value for name in argument)),
    "minProperties": _for("object", lambda argument, value: len(value) >= argument),
    "maxProperties": _for("object", lambda argument, value: len(value) <= argument),
    "minItems": _for("array", lambda argument, value: len(value) >= argument),
    "maxItems": _for("array", lambda argument, value: len(value) <= argument),
    "uniqueItems": _for(
        "array", lambda argument, value: not argument or len({canonical(item) for item in value}) == len(value)
    ),
    "minLength": _for("string", lambda argument, value: len(value) >= argument),
    "maxLength": _for("string", lambda argument, value: len(value) <= argument),
    "pattern": _for("string", _matches),
    "minimum": _for("number", lambda argument, value: value >= argument),
    "maximum": _for("number", lambda argument, value: value <= argument),
    "exclusiveMinimum": _for("number", lambda argument, value: value > argument),
    "exclusiveMaximum": _for("number", lambda argument, value: value < argument),
    "multipleOf": _for("number", _multiple),
}
