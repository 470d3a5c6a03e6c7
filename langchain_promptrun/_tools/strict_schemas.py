"""Rework JSON Schemas into what OpenAI's strict mode takes.

OpenAI's guide "Structured Outputs", section "Supported schemas": the root is an object, each object lists all its keys
and requires them, unions are `anyOf`, references stand alone, recursion is fine, and few other keywords are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Keywords of JSON Schema under which schemas stand: by name, in a list, one.
_DEFINITIONS = frozenset({"$defs", "definitions"})
_NAMED = _DEFINITIONS | {"properties"}
_KEPT = _NAMED | {
    *("$ref", "anyOf", "const", "description", "enum", "exclusiveMaximum", "exclusiveMinimum", "items", "maxItems"),
    *("maximum", "minItems", "minimum", "multipleOf", "pattern", "title", "type"),
}
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
# What a model can at least be told.
_TOLD = (
    *("format", "pattern", "minLength", "maxLength", "uniqueItems", "contains", "minContains", "maxContains"),
    *("minProperties", "maxProperties", "propertyNames", "contentEncoding", "contentMediaType"),
)
# OpenAI's error of them: "regex lookaround is not supported". pydantic writes one for every Decimal.
_LOOK_AROUND = r"\(\?<?[=!]"
_REFUSED = ("allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "prefixItems")
_TYPES = frozenset({"$ref", "anyOf", "const", "enum", "items", "oneOf", "properties", "type"})
_UNIONS = frozenset({"anyOf", "oneOf"})
_OPEN = ("additionalProperties", "patternProperties", "unevaluatedProperties")


def with_root(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema whose root says itself what it is; a recursive class's root only refers to its definition."""
    own = _unwrapped(schema)
    definition = _resolve(schema, own.pop("$ref", None))
    return dict(schema) if definition is None else {**definition, **own}


def is_recursive(schema: Mapping[str, Any]) -> bool:
    definitions = schema.get("$defs")
    if not isinstance(definitions, Mapping):
        return False
    refers = {f"#/$defs/{name}": _refs(definition) for name, definition in definitions.items()}
    while ends := [ref for ref, others in refers.items() if refers.keys().isdisjoint(others)]:
        for ref in ends:
            del refers[ref]
    return bool(refers)


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema for strict mode; a ValueError names the field that describes what strict mode cannot."""
    root = with_root(schema)
    if root.get("type") != "object" or not _UNIONS.isdisjoint(root):
        kind = root.get("type", "a schema without a type") if _UNIONS.isdisjoint(root) else "a union"
        raise ValueError(f"strict mode needs an object at the root of a schema, not {kind!r}.")
    root.setdefault("properties", {})
    return _Copy(root).of(root, frozenset(), "")


class _Copy:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._seen: set[str] = set()

    def of(self, schema: Any, inside: frozenset[str], place: str) -> dict[str, Any]:
        """Copy a schema; `inside` are the references whose definitions it is part of."""
        if not isinstance(schema, Mapping):  # true and false
            schema = {}
        if schema.get("nullable") is True:  # OpenAPI 3.0's word
            rest = {key: value for key, value in schema.items() if key != "nullable"}
            return self.of({"anyOf": [rest, {"type": "null"}]}, inside, place)
        own = _in_known_words(schema, f"field `{place}`" if place else "the schema")
        if "$ref" in own:
            return self._of_reference(own, inside, place)
        copied = dict(own)
        # Definitions last, so that an error names the field that uses them.
        for key in sorted(own, key=_DEFINITIONS.__contains__):
            part = own[key]
            if key in _NAMED and isinstance(part, Mapping):
                start = f"{place}." if place and key == "properties" else ""
                copied[key] = {
                    name: self.of(schema, inside | {f"#/{key}/{name}"}, start + name) for name, schema in part.items()
                }
            elif key == "anyOf" and isinstance(part, list):
                copied[key] = [self.of(schema, inside, place) for schema in part]
            elif key == "items":
                copied[key] = self.of(part, inside, f"{place}[]")
        return copied

    def _of_reference(self, own: dict[str, Any], inside: frozenset[str], place: str) -> dict[str, Any]:
        ref = own.pop("$ref")
        definition = self._root if ref == "#" else _resolve(self._root, ref)
        if definition is None:
            raise ValueError(
                f"strict mode needs references within the schema, and {f'field `{place}`' if place else 'the schema'} "
                f"refers to {ref!r}: put that under `$defs`, or drop `strict`."
            )
        if own and (ref == "#" or ref in inside):
            return {"anyOf": [{"$ref": ref}], **own}
        if own:
            return self.of({**definition, **own}, inside | {ref}, place)
        if ref != "#" and ref not in inside | self._seen:
            self._seen.add(ref)
            self.of(definition, inside | {ref}, place)
        return {"$ref": ref}


def _in_known_words(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Copy a schema in the words that strict mode knows; refuse what it does not take."""
    own = _unwrapped(schema)
    kinds = own["type"] if isinstance(own.get("type"), list) else [own.get("type")]
    is_object = "object" in kinds or isinstance(own.get("properties"), Mapping)
    _check(own, kinds, where, is_object=is_object)
    kept = _KEPT | {"format"} if own.get("format") in _FORMATS else _KEPT
    if re.search(_LOOK_AROUND, str(own.get("pattern"))):
        kept -= {"pattern"}
    known = {key: value for key, value in own.items() if key in kept}
    if "oneOf" in own:
        known["anyOf"] = own["oneOf"]
    if told := [f"{key}: {own[key]}" for key in _TOLD if key in own and key not in kept]:
        known["description"] = f"{known.get('description', '')} ({', '.join(told)})".strip()
    return known | {"required": list(own["properties"]), "additionalProperties": False} if is_object else known


def _check(own: Mapping[str, Any], kinds: Sequence[Any], where: str, *, is_object: bool) -> None:
    is_open = any(own.get(key) not in (None, False) for key in _OPEN) or "properties" not in own
    faults = {
        f"takes one union, and {where} has `oneOf` beside `anyOf`: keep one of them": {"oneOf", "anyOf"} <= own.keys(),
        **{f"does not know `{key}`, which {where} uses: change it, or drop `strict`": key in own for key in _REFUSED},
        f"needs a type, and {where} takes any value: give it one, or drop `strict`": _TYPES.isdisjoint(own),
        f"needs `items` of an array, and {where} has none: say them, or drop `strict`": (
            "array" in kinds and "items" not in own
        ),
        f"needs all keys of an object by name, and {where} allows any: make it a class with these fields or a list of "
        "key and value, or drop `strict`": is_object and is_open,
    }
    for fault, is_found in faults.items():
        if is_found:
            raise ValueError(f"strict mode {fault}.")


def _unwrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a schema without an `allOf` of one, as pydantic before 2.9 writes a reference with neighbours."""
    variants = schema.get("allOf")
    if not isinstance(variants, list) or len(variants) != 1 or not isinstance(variants[0], Mapping):
        return dict(schema)
    return {**variants[0], **{key: value for key, value in schema.items() if key != "allOf"}}


def _resolve(root: Mapping[str, Any], ref: object) -> Mapping[str, Any] | None:
    """Return the schema that a reference within the document names; None for another reference, or none."""
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return None
    found: Any = root
    for step in ref[2:].split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _refs(schema: Any) -> set[str]:
    if isinstance(schema, Mapping):
        ref = schema.get("$ref")
        return set().union({ref} if isinstance(ref, str) else (), *map(_refs, schema.values()))
    return set().union(*map(_refs, schema)) if isinstance(schema, list) else set()
