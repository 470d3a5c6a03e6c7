"""The arguments of a tool call: JSON text, an object, or what a vendor makes of them. Pure."""

from __future__ import annotations

import json
from typing import Any

from langchain_promptrun._wire import json as _json
from langchain_promptrun._wire.text import open_ends

# Stands for arguments that no JSON text can be made of; it is no JSON object, so the call is invalid.
_UNREADABLE = "["


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Read a tool call's arguments.

    Args:
        text: The JSON text; empty stands for no arguments. Raw line breaks inside strings are let through.

    Returns:
        The arguments, or None when the text is not a JSON object.
    """
    if not text.strip():
        return {}
    try:
        arguments = _json.loads(text)
    except (ValueError, RecursionError):
        try:
            arguments = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return None
    return arguments if isinstance(arguments, dict) else None


def arguments_text(value: object) -> str:
    """Write arguments as text: some servers send the object itself, and PHP an empty list for an empty object."""
    if isinstance(value, str):
        return value
    if value is None or value == []:
        return ""
    try:
        return _json.dumps(value).decode()
    except ValueError:
        return _UNREADABLE


def mismatch(args: str) -> str:
    """Return what makes arguments that are not a JSON object impossible to complete."""
    if not args.lstrip().startswith("{") or parse_arguments(args) is not None:
        return ""
    ends = open_ends(args)
    if ends is None:
        return ""
    return ends.string + ("}" if ends.brackets.endswith("]") else "]")
