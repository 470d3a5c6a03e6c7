"""Convert tools, the choice among them and response formats to OpenAI's Chat Completions format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool
from pydantic import BaseModel

from langchain_promptrun._tools.strict_schemas import is_recursive, strict_schema, with_root
from langchain_promptrun._wire.names import is_legal, legal_name, wire_name

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

ToolChoice: TypeAlias = str | bool | Mapping[str, Any]

# Chat Completions reference, `tool_choice`; "any" is what other vendors and LangChain's agents say for "required".
_WORDS = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
# A dict with one of these is a function in some notation, or a JSON Schema; without, its `type` says what it is.
_FUNCTION_KEYS = frozenset({"input_schema", "inputSchema", "toolSpec", "properties", "title"})
# Anthropic's choices may say more beside their type.
_ONE_AT_A_TIME = "disable_parallel_tool_use"
_UNIONS = frozenset({"anyOf", "oneOf", "allOf"})
_SCHEMAS_ELSEWHERE = _UNIONS | {"$ref"}
# Keywords of JSON Schema whose values are no schemas, and those of schemas by names, which may be such a keyword.
_VALUES = frozenset({"const", "default", "enum", "examples"})
_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


def wire_tools(tools: Sequence[Any], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Convert tools in any notation to the wire's; a tool's own `strict` wins over the argument."""
    if isinstance(tools, str | Mapping) or not isinstance(tools, Iterable):
        kind = type(tools).__name__
        raise TypeError(f"`tools` must be a list of tools, not {kind}: write `[...]` around a single one.")
    return [_wire_tool(tool, strict) for tool in tools]


def wire_tool_choice(choice: ToolChoice | None, tools: Sequence[Mapping[str, Any]]) -> str | dict[str, Any] | None:
    """Convert a choice in any notation to the wire's `tool_choice`, None for nothing to send."""
    if choice is None or choice is False or not tools:
        return None
    choices: dict[str, dict[str, Any]] = {}
    for tool in tools:
        kind = str(tool.get("type"))
        body = tool.get(kind)
        if isinstance(body, Mapping) and "name" in body:
            choices[body["name"]] = {"type": kind, kind: {"name": body["name"]}}
        elif "name" in tool:
            choices[tool["name"]] = {"type": "function", "function": {"name": tool["name"]}}
        else:  # a server tool goes by its type
            choices[kind] = {"type": kind}
    if choice is True:
        return next(iter(choices.values())) if len(tools) == 1 else "required"
    if isinstance(choice, str):
        return _WORDS.get(choice) or _named(choice, choices)
    if isinstance(choice, Mapping):
        return _choice_from_dict(choice, choices)
    raise TypeError(f"`tool_choice` must be a string, a bool or a dict, not {type(choice).__name__}.")


def forbids_parallel_calls(choice: object) -> bool:
    """Whether a choice in Anthropic's notation says that tools are called one at a time."""
    return isinstance(choice, Mapping) and choice.get(_ONE_AT_A_TIME) is True


def wire_response_format(value: Any, strict: bool | None = None) -> dict[str, Any]:
    if isinstance(value, Mapping) and value.keys().isdisjoint({"json_schema", "schema"}) and _passes_unchanged(value):
        return dict(value)
    spec = _format_spec(value)
    if strict is None:
        strict = spec.get("strict")
    elif spec.get("strict", strict) is not strict:
        raise ValueError(f"strict={strict} contradicts the response format, which says strict={spec['strict']}.")
    schema = with_root(spec.get("schema", _NO_PARAMETERS))
    said = {} if strict is None else {"strict": strict}
    format_spec = {**spec, "schema": strict_schema(schema) if strict else schema, **said}
    around = value if isinstance(value, Mapping) and "json_schema" in value else {}
    return {**around, "type": "json_schema", "json_schema": format_spec}


def bind_arguments(
    tools: Sequence[Any] | None,
    *,
    tool_choice: ToolChoice | None = None,
    strict: bool | None = None,
    parallel_tool_calls: bool | None = None,
    response_format: Any = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Return what `bind_tools` binds; without tools nothing of tools: several servers answer 400 to an empty list."""
    wire = wire_tools([] if tools is None else tools, strict=strict)
    found: dict[str, Any] = {}
    if wire:
        is_single = parallel_tool_calls is None and forbids_parallel_calls(tool_choice)
        found = {"tools": wire, "tool_choice": wire_tool_choice(tool_choice, wire)}
        found["parallel_tool_calls"] = False if is_single else parallel_tool_calls
    if response_format is not None:
        found["response_format"] = wire_response_format(response_format, strict)
    return kwargs | {key: value for key, value in found.items() if value is not None}


def own_names(tools: Iterable[object]) -> dict[str, str]:
    """Map the wire's name of each function with an illegal name to its own; a ValueError tells of two that meet."""
    names = [name for tool in tools if (name := _function_name(tool))]
    own = {wire_name(name): name for name in names if not is_legal(name)}
    for name in own.keys() & names:
        raise ValueError(f"The tools {own[name]!r} and {name!r} would both be sent as {name!r}: rename one of them.")
    return own


def with_wire_names(parameters: dict[str, Any]) -> dict[str, Any]:
    if not own_names(parameters["tools"]):
        return parameters
    return parameters | {key: _renamed(parameters[key]) for key in ("tools", "tool_choice") if key in parameters}


def _function_name(tool: object) -> str:
    """Return the name of a function, or of the choice of one; other kinds of tools keep whatever name they have."""
    function = tool.get("function") if isinstance(tool, Mapping) and tool.get("type") == "function" else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""


def _renamed(value: Any) -> Any:
    """Rename functions wherever they stand, as in OpenAI's allowed tools."""
    if name := _function_name(value):
        return {**value, "function": {**value["function"], "name": wire_name(name)}}
    if isinstance(value, Mapping):
        return {key: _renamed(item) for key, item in value.items()}
    return [_renamed(item) for item in value] if isinstance(value, list) else value


def _wire_tool(tool: Any, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        return _wire_dict_tool(tool, strict)
    if isinstance(tool, Runnable) and not hasattr(tool, "tool_call_schema"):
        tool = tool.as_tool()
    if isinstance(tool, FunctionType | MethodType):
        # The class of its arguments as langchain-core makes it, whose conversion would lose what refers to itself.
        make_class = import_module("langchain_core.tools").create_schema_from_function
        checks = {"filter_args": (), "error_on_invalid_docstring": False, "include_injected": False}
        tool = make_class(tool.__name__, tool, parse_docstring=True, **checks)
    try:
        wire = convert_to_openai_tool(tool)
    except (AttributeError, RecursionError, TypeError) as error:  # callables without a name, NotRequired and the like
        name = getattr(tool, "__name__", tool)
        why = "refers to itself" if isinstance(error, RecursionError) else error
        raise ValueError(f"{name!r} cannot be converted ({why}): use a pydantic class or a LangChain tool.") from None
    if wire["type"] == "custom":
        wire = _wire_dict_tool(wire, strict)
    # The attribute, not isinstance: `import langchain_promptrun` need not import langchain_core.tools.
    finished = _finished(wire, strict, getattr(tool, "tool_call_schema", tool))
    return finished | _cache_control(getattr(tool, "extras", None))


def _wire_dict_tool(tool: Mapping[str, Any], strict: bool | None) -> dict[str, Any]:
    if _passes_unchanged(tool):
        if tool["type"] != "custom" or "custom" in tool:
            return dict(tool)
        # The Responses API and langchain-core write the body flat.
        body = {key: value for key, value in tool.items() if key not in {"type", "cache_control"}}
        return {"type": "custom", "custom": body} | _cache_control(tool)
    strict = own if isinstance(own := tool.get("strict"), bool) else strict
    if tool.get("type") != "function":
        if "inputSchema" in tool:  # as MCP spells it
            tool = {"input_schema": tool["inputSchema"], **tool}
        schema = with_root(tool)
        wire = {"type": "function", "function": convert_to_openai_function(schema)}
        return _finished(wire, strict, schema) | _cache_control(tool)
    if "function" in tool:
        return _finished(dict(tool), strict)
    # OpenAI's newer Responses API writes the function's keys beside `type`.
    function = {key: tool[key] for key in ("name", "description", "parameters", "strict") if key in tool}
    around = {key: value for key, value in tool.items() if key not in function}
    return _finished(around | {"function": function}, strict)


def _passes_unchanged(value: Mapping[str, Any]) -> bool:
    kind = value.get("type")
    return isinstance(kind, str) and kind not in {"function", "object"} and value.keys().isdisjoint(_FUNCTION_KEYS)


def _cache_control(source: Any) -> dict[str, Any]:
    has_marker = isinstance(source, Mapping) and "cache_control" in source
    return {"cache_control": source["cache_control"]} if has_marker else {}


def _finished(tool: dict[str, Any], strict: bool | None, source: Any = None) -> dict[str, Any]:
    """Copy a function with parameters that every vendor takes, and that strict mode takes where it is asked for."""
    if "function" not in tool:
        return tool
    function = {key: value for key, value in tool["function"].items() if value is not None}
    strict = function.get("strict", strict)
    if isinstance(source, type) and issubclass(source, BaseModel):
        source = source.model_json_schema()
    if isinstance(source, Mapping):
        # langchain-core loses parameters that refer to themselves, or are a union.
        is_lost = "parameters" not in function and not _UNIONS.isdisjoint(source)
        if is_lost or is_recursive(source):
            parameters = with_root(source)
            function["parameters"] = {k: v for k, v in parameters.items() if k not in {"title", "description"}}
    if isinstance(function.get("parameters"), Mapping):
        function["parameters"] = _with_properties(function["parameters"], may_lack_items=not strict)
    if strict is not None:
        function["strict"] = strict
    if strict:
        function["parameters"] = strict_schema(function.get("parameters", _NO_PARAMETERS))
    return {**tool, "function": function}


def _with_properties(schema: Mapping[str, Any], *, may_lack_items: bool) -> dict[str, Any]:
    """Complete an object at the root: OpenAI refuses one without `properties`, as MCP servers say "no arguments"."""
    parameters = {key: value for key, value in with_root(schema).items() if value is not None}
    is_object = parameters["type"] == "object" if "type" in parameters else _SCHEMAS_ELSEWHERE.isdisjoint(parameters)
    if not is_object:
        return parameters
    with suppress(RecursionError):  # of one that holds itself, which no request can carry
        parameters = _with_items(parameters) if may_lack_items else parameters
    return _NO_PARAMETERS | parameters


def _with_items(schema: Any, values: Container[str] = _VALUES) -> Any:
    """Give arrays their `items`: OpenAI refuses the whole request without, and MCP servers leave them out."""
    if isinstance(schema, list):
        return [_with_items(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {
        key: value if key in values else _with_items(value, () if values and key in _BY_NAME else _VALUES)
        for key, value in schema.items()
    }
    is_array = "array" in (schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type")])
    return copy | {"items": {}} if is_array and "items" not in schema else copy


def _named(name: object, choices: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if not isinstance(name, str) or name not in choices:
        known, words = ", ".join(map(repr, choices)), ", ".join(map(repr, _WORDS))
        raise ValueError(f"`tool_choice` {name!r} names neither a bound tool ({known}) nor one of {words}.")
    return choices[name]


def _choice_from_dict(given: Mapping[str, Any], choices: dict[str, dict[str, Any]]) -> str | dict[str, Any]:
    """Translate Anthropic's, Bedrock's and the Responses API's notations; check the name in OpenAI's own."""
    choice = _typed(given)
    kind = choice.get("type")
    if kind in _WORDS and choice.keys() <= {"type", _ONE_AT_A_TIME}:
        return _WORDS[kind]
    if kind in {"tool", "function", "custom"} and "name" in choice:
        return _named(choice["name"], choices)
    # The Responses API writes the allowed tools and their names flat.
    flat = {key: value for key, value in choice.items() if key != "type"} if kind == "allowed_tools" else None
    body = choice.get(str(kind), flat)
    if kind in {"function", "custom"}:
        _named(body.get("name") if isinstance(body, Mapping) else None, choices)
    elif kind == "allowed_tools" and isinstance(body, Mapping) and isinstance(body.get("tools"), list):
        tools = [
            _choice_from_dict(tool, choices) if isinstance(tool, Mapping) else _named(tool, choices)
            for tool in body["tools"]
        ]
        return {"type": kind, kind: {**body, "tools": tools}}
    elif kind in {None, "tool", "allowed_tools", *_WORDS} or choice is not given:
        raise ValueError(
            f"`tool_choice` {dict(given)!r} is in no known notation; give a tool's name, "
            '"auto", "none", "required", or {"type": "function", "function": {"name": ...}}.'
        )
    return dict(choice)


def _typed(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rewrite Converse's `{"auto": {}}`, `{"any": {}}` and `{"tool": {"name": ...}}` as Anthropic writes them."""
    kind, body = next(iter(choice.items()), ("", None))
    return {**body, "type": kind} if len(choice) == 1 and isinstance(body, Mapping) else choice


def _format_spec(value: Any) -> dict[str, Any]:
    schema = None
    if isinstance(value, Mapping):
        if "json_schema" in value:
            return dict(value["json_schema"])
        if {"name", "schema"} <= value.keys():
            return {key: item for key, item in value.items() if key != "type"}
        schema = with_root(value) if "name" not in value else None
    elif isinstance(value, type) and issubclass(value, BaseModel):
        # The class's own schema, not langchain-core's conversion: that one loses recursive references.
        schema = {"title": value.__name__, **with_root(value.model_json_schema())}
    if schema and "title" in schema:
        return {"name": legal_name(schema["title"]), "schema": schema}
    function = wire_tools([value])[0]["function"]
    spec = {key: item for key, item in function.items() if key != "parameters"}
    return {**spec, "name": legal_name(spec["name"]), "schema": function.get("parameters", _NO_PARAMETERS)}
