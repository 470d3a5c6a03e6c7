"""JSON schemas: references and `allOf` merged in, values checked by the package `jsonschema`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any
from urllib.parse import unquote

Schema = Any
"""A JSON schema: a mapping, or True or False."""

_LONGEST_CHAIN = 100


class UnanswerableError(Exception):
    """A schema has no answer that the stand-in can make; the message names the part."""


@cache
def _validator_class() -> Any:
    try:
        return import_module("jsonschema").Draft202012Validator
    except ImportError:
        return None


async def load_validator() -> None:
    """Import `jsonschema` in a worker thread: an import reads files, which must not block an event loop."""
    if not _validator_class.cache_info().currsize:
        await asyncio.to_thread(_validator_class)


def checker(root: Schema) -> Callable[[Schema, Any], bool]:
    """Return a function that tells whether a part of `root` allows a value; without `jsonschema` it allows all."""
    validator = _validator_class()
    if validator is None:
        return lambda _schema, _value: True
    whole = validator(root, format_checker=validator.FORMAT_CHECKER)
    return lambda schema, value: bool(whole.evolve(schema=schema).is_valid(value))


def merged(schema: Schema, root: Schema, chain: int = 0) -> dict[str, Any]:
    """Return one mapping of a schema, its `$ref` and its `allOf`; where they disagree the outer word stands."""
    if chain > _LONGEST_CHAIN:
        raise UnanswerableError("`$ref` leads in a circle")
    if not isinstance(schema, Mapping):
        return {} if schema else {"enum": []}
    found = {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
    parts = [*schema.get("allOf", ()), *([_resolve(schema["$ref"], root)] if "$ref" in schema else ())]
    for part in (merged(part, root, chain + 1) for part in parts):
        both = {"properties": part.get("properties", {}) | found.get("properties", {})}
        both["required"] = list(dict.fromkeys([*found.get("required", ()), *part.get("required", ())]))
        found = {**part, **found, **{key: value for key, value in both.items() if value}}
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        merged(branch, root, chain + 1)  # finds circles, in which the validator's Rust parts panic
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
