"""Tools, the choice among them and response formats, as OpenAI's Chat Completions format writes them.

langchain-core converts Python things (functions, classes, its own tools) into OpenAI's function format; this module
decides what is converted, what passes as it is, and which keywords end up in the request. Pure: it never calls a
tool and knows nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool
from pydantic import BaseModel

from langchain_promptrun._tools.strict_schemas import standing_alone, with_root

if TYPE_CHECKING:
    from collections.abc import Sequence

ToolChoice: TypeAlias = str | bool | Mapping[str, Any]
"""What `tool_choice` may be."""

# Chat Completions reference, `tool_choice`; "any" is what other vendors and LangChain's agents say for "required".
_WORDS = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
# A dict with one of these is a function in some notation, or a JSON Schema; without, its `type` says what it is.
_FUNCTION_KEYS = frozenset({"function", "input_schema", "toolSpec", "properties", "title"})
# A response format of type "json_schema" holds one of these.
_SCHEMA_KEYS = frozenset({"json_schema", "schema"})
_FLAT_FUNCTION_KEYS = ("name", "description", "parameters", "strict")
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


def wire_tools(tools: Sequence[Any], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Convert tools to the wire's list of tools.

    Args:
        tools: Functions, pydantic classes, TypedDict classes, LangChain tools, Runnables, JSON schemas with a
            title, and tools as dicts in OpenAI's, Anthropic's or Bedrock's notation. A dict with a `type` that has
            no function in it (a server tool, `custom`) passes unchanged.
        strict: Whether the model must keep exactly to the parameters' schema; None: not said.

    Returns:
        One dict a tool. `cache_control` stays: of a dict, or from the `extras` of a LangChain tool.

    Raises:
        ValueError: A tool that cannot be converted, or one whose own `strict` contradicts the argument.
    """
    return [_wire_tool(tool, strict) for tool in tools]


def wire_tool_choice(choice: ToolChoice | None, tools: Sequence[Mapping[str, Any]]) -> str | dict[str, Any] | None:
    """Convert a tool choice to the wire's `tool_choice`.

    Args:
        choice: "auto", "none", "required" or "any" (the same), a tool's name, True (the only tool, or some tool
            where there are several), or a dict in OpenAI's or Anthropic's notation. None and False say nothing.
        tools: The tools of the same request, as `wire_tools` returns them.

    Returns:
        What goes on the wire; None for nothing, always so when there are no tools.

    Raises:
        ValueError: A name that no tool has.
        TypeError: A choice of another type.
    """
    if choice is None or choice is False or not tools:
        return None
    choices = _choices(tools)
    if choice is True:
        return next(iter(choices.values())) if len(tools) == 1 else "required"
    if isinstance(choice, str):
        return _WORDS.get(choice) or _named(choice, choices)
    if isinstance(choice, Mapping):
        return _choice_from_dict(choice, choices)
    raise TypeError(f"tool_choice must be a string, a bool or a dict, not {type(choice).__name__}.")


def wire_response_format(value: Any, strict: bool | None = None) -> dict[str, Any]:
    """Convert a schema to the wire's `response_format`.

    Args:
        value: A pydantic class, a TypedDict class, a JSON schema with a title, anything else that `wire_tools` can
            read, or a response format that is one already, whole or its `name` and `schema` only.
        strict: Whether the model must keep exactly to the schema; None: as the value says itself, if it does.

    Returns:
        A new dict; formats of other types, such as `{"type": "json_object"}`, come back as they are.

    Raises:
        ValueError: A value without a schema, or one whose own `strict` contradicts the argument.
    """
    if isinstance(value, Mapping) and _SCHEMA_KEYS.isdisjoint(value) and _passes_unchanged(value):
        return dict(value)
    spec = _format_spec(value)
    strict = spec.get("strict") if strict is None else strict
    function = _tighten({**spec, "parameters": with_root(spec.get("schema", _NO_PARAMETERS))}, strict)
    function["schema"] = function.pop("parameters")
    around = value if isinstance(value, Mapping) and "json_schema" in value else {}
    return {**around, "type": "json_schema", "json_schema": function}


def bind_arguments(
    tools: Sequence[Any],
    *,
    tool_choice: ToolChoice | None = None,
    strict: bool | None = None,
    parallel_tool_calls: bool | None = None,
    response_format: Any = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Return the keywords that `bind_tools` binds to a model.

    Args:
        tools: As in `wire_tools`. Without any, nothing that belongs to tools is bound: several servers answer 400
            to an empty list, or to a choice among nothing.
        tool_choice: As in `wire_tool_choice`.
        strict: For the tools and for `response_format`; None: not said.
        parallel_tool_calls: Bound only when it is not None.
        response_format: As in `wire_response_format`; None for none.
        **kwargs: Bound as they are.

    Returns:
        The keywords for `bind`.

    Raises:
        ValueError: As in the three functions above.
        TypeError: A tool choice of an unknown type.
    """
    wire = wire_tools(tools, strict=strict)
    found: dict[str, Any] = {}
    if wire:
        found["tools"] = wire
        found["tool_choice"] = wire_tool_choice(tool_choice, wire)
        found["parallel_tool_calls"] = parallel_tool_calls
    if response_format is not None:
        found["response_format"] = wire_response_format(response_format, strict)
    return kwargs | {key: value for key, value in found.items() if value is not None}


def legal_name(name: str) -> str:
    """Return a name that the wire accepts for a function or a schema, equal to `name` when that is one.

    OpenAI's reference: letters, digits, underscores and dashes, at most 64 of them. Titles such as "Cat joke" and
    generic classes such as `Box[int]` break it.
    """
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


def _wire_tool(tool: Any, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        return _wire_dict_tool(tool, strict)
    if isinstance(tool, Runnable) and not hasattr(tool, "tool_call_schema"):
        tool = tool.as_tool()
    wire = _with_strict(convert_to_openai_tool(tool), strict)
    if wire["type"] == "custom":
        # langchain-core writes it flat, as OpenAI's Responses API does; Chat Completions nests it.
        wire = {"type": wire.pop("type"), "custom": wire}
    # The attribute, not isinstance: `import langchain_promptrun` need not import langchain_core.tools.
    return wire | _cache_control(getattr(tool, "extras", None))


def _wire_dict_tool(tool: Mapping[str, Any], strict: bool | None) -> dict[str, Any]:
    if _passes_unchanged(tool):
        return dict(tool)
    if tool.get("type") != "function":
        function = convert_to_openai_function(dict(tool))
        return _with_strict({"type": "function", "function": function}, strict) | _cache_control(tool)
    if "function" in tool:
        return _with_strict(dict(tool), strict)
    # OpenAI's newer Responses API writes the function's keys beside `type`.
    function = {key: tool[key] for key in _FLAT_FUNCTION_KEYS if key in tool}
    around = {key: value for key, value in tool.items() if key not in function}
    return _with_strict(around | {"function": function}, strict)


def _passes_unchanged(value: Mapping[str, Any]) -> bool:
    """Whether a dict says by its type that it is no function and no schema."""
    kind = value.get("type")
    return isinstance(kind, str) and kind not in {"function", "object"} and value.keys().isdisjoint(_FUNCTION_KEYS)


def _cache_control(source: object) -> dict[str, Any]:
    if isinstance(source, Mapping) and "cache_control" in source:
        return {"cache_control": source["cache_control"]}
    return {}


def _with_strict(tool: dict[str, Any], strict: bool | None) -> dict[str, Any]:
    if "function" not in tool:
        return tool
    return tool | {"function": _tighten(tool["function"], strict)}


def _tighten(function: Mapping[str, Any], strict: bool | None) -> dict[str, Any]:
    """Copy a function; with `strict`, rework its parameters as OpenAI's strict mode wants them."""
    if strict is None:
        return dict(function)
    named = {"name": "", "parameters": _NO_PARAMETERS, **function}
    if strict:
        named["parameters"] = standing_alone(named["parameters"])
    return {**function, **convert_to_openai_function(named, strict=strict)}


def _choices(tools: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Map each tool's name to the wire's way of choosing it; a server tool without a name goes by its type."""
    choices: dict[str, dict[str, Any]] = {}
    for tool in tools:
        kind = str(tool.get("type"))
        body = tool.get(kind)
        if isinstance(body, Mapping) and "name" in body:
            choices[body["name"]] = {"type": kind, kind: {"name": body["name"]}}
        elif "name" in tool:
            choices[tool["name"]] = {"type": "function", "function": {"name": tool["name"]}}
        else:
            choices[kind] = {"type": kind}
    return choices


def _named(name: object, choices: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if name not in choices:
        known = ", ".join(repr(known) for known in choices)
        words = ", ".join(repr(word) for word in _WORDS)
        raise ValueError(f"tool_choice {name!r} is none of the bound tools ({known}) and none of {words}.")
    return choices[str(name)]


def _choice_from_dict(choice: Mapping[str, Any], choices: dict[str, dict[str, Any]]) -> str | dict[str, Any]:
    """Check the name in OpenAI's `{"type": "function", "function": {"name"}}`; translate shorter notations."""
    kind = choice.get("type")
    if choice.keys() == {"type"} and kind in _WORDS:
        return _WORDS[kind]
    if kind in {"tool", "function"} and "name" in choice:
        return _named(choice["name"], choices)
    if kind == "function":
        function = choice.get("function")
        _named(function.get("name") if isinstance(function, Mapping) else None, choices)
    return dict(choice)


def _format_spec(value: Any) -> dict[str, Any]:
    """Return `name`, `schema` and what else belongs into `response_format.json_schema`."""
    if isinstance(value, Mapping):
        return _format_spec_from_dict(value)
    if isinstance(value, type) and issubclass(value, BaseModel):
        # The class's own schema, not langchain-core's conversion: that one loses recursive references.
        schema = with_root(value.model_json_schema())
        return {"name": legal_name(schema.get("title", value.__name__)), "schema": schema}
    return _format_spec_from_tool(value)


def _format_spec_from_dict(value: Mapping[str, Any]) -> dict[str, Any]:
    if "json_schema" in value:
        return dict(value["json_schema"])
    if {"name", "schema"} <= value.keys():
        return {key: item for key, item in value.items() if key != "type"}
    schema = with_root(value)
    if "title" in schema and "name" not in value:
        return {"name": legal_name(schema["title"]), "schema": schema}
    return _format_spec_from_tool(value)


def _format_spec_from_tool(value: Any) -> dict[str, Any]:
    function = wire_tools([value])[0]["function"]
    spec = {key: item for key, item in function.items() if key != "parameters"}
    spec["name"] = legal_name(function["name"])
    return spec | {"schema": function.get("parameters", _NO_PARAMETERS)}
