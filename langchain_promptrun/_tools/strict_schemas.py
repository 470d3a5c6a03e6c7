"""References in JSON Schemas, as OpenAI's strict mode takes them.

Owns the copying of a definition to where a schema refers to it. OpenAI's guide "Structured Outputs": the root is an
object, and a reference stands alone, without a description beside it. Pure, and the given schemas are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Keywords of JSON Schema under which schemas stand: by name, in a list, one.
_NAMED = frozenset({"$defs", "definitions", "properties", "patternProperties"})
_LISTS = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties", "not"})


def with_root(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema whose root says itself what it is; a recursive class's root only refers to its definition.

    Args:
        schema: Any JSON Schema; its definitions stay, for the references further in.
    """
    own = _unwrapped(schema)
    definition = _resolve(schema, own.pop("$ref", None))
    return dict(schema) if definition is None else {**definition, **own}


def standing_alone(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema in which references have no neighbours, and nothing has null for its default.

    A reference with a description or a default becomes a copy of its definition; within that definition itself, where
    this would have no end, the only variant of an `anyOf`.

    Args:
        schema: Any JSON Schema.
    """
    copied: dict[str, Any] = _Copy(schema).of(schema, frozenset())
    return copied


class _Copy:
    """The copying of one schema, whose definitions are looked up in its root."""

    __slots__ = ("_root",)

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def of(self, schema: Any, inside: frozenset[str]) -> Any:
        """Copy a schema; `inside` are the references whose definitions it is part of."""
        if not isinstance(schema, Mapping):
            return schema
        own = {key: value for key, value in _unwrapped(schema).items() if key != "default" or value is not None}
        ref = own.get("$ref")
        definition = _resolve(self._root, ref) if len(own) > 1 else None
        if definition is None or not isinstance(ref, str):
            return {key: self._part(key, part, inside) for key, part in own.items()}
        del own["$ref"]
        if ref in inside:
            return {"anyOf": [{"$ref": ref}], **own}
        return self.of({**definition, **own}, inside | {ref})

    def _part(self, key: str, part: Any, inside: frozenset[str]) -> Any:
        """Copy the schemas that stand under a keyword."""
        if key in _NAMED and isinstance(part, Mapping):
            return {name: self.of(schema, inside | {f"#/{key}/{name}"}) for name, schema in part.items()}
        if key in _LISTS and isinstance(part, list):
            return [self.of(schema, inside) for schema in part]
        return self.of(part, inside) if key in _SINGLE else part


def _unwrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without an `allOf` of one, as pydantic before 2.9 writes a reference with neighbours."""
    variants = schema.get("allOf")
    if not isinstance(variants, list) or len(variants) != 1 or not isinstance(variants[0], Mapping):
        return dict(schema)
    return {**variants[0], **{key: value for key, value in schema.items() if key != "allOf"}}


def _resolve(root: Mapping[str, Any], ref: object) -> Mapping[str, Any] | None:
    """The schema that a reference within the document names; None for another reference, or none."""
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return None
    found: Any = root
    for step in ref[2:].split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None
