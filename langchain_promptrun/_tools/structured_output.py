"""Decide what is bound to a model for structured output, and which parser reads the answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableMap, RunnableSerializable
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ConfigDict
from typing_extensions import override

from langchain_promptrun._tools.output_parsers import JsonParser, ObjectParser, ToolCallParser
from langchain_promptrun._tools.tools import ToolChoice, bind_arguments, wire_tools
from langchain_promptrun._wire.names import legal_name

if TYPE_CHECKING:
    from collections.abc import Sequence


_METHODS = ("function_calling", "json_schema", "json_mode")


class Plan(NamedTuple):
    """How an object is asked for, which parser reads it, and whether the chain returns the message beside it."""

    arguments: dict[str, Any]
    parser: ObjectParser
    include_raw: bool


def plan(
    schema: Any = None,
    *,
    method: str = "function_calling",
    include_raw: bool = False,
    strict: bool | None = None,
    tools: Sequence[Any] | None = None,
    tool_choice: ToolChoice | None = None,
    **kwargs: Any,
) -> Plan:
    """Decide how an object is asked for and read, by the arguments of `with_structured_output`."""
    if method not in _METHODS:
        raise ValueError(f"`method` must be one of {', '.join(map(repr, _METHODS))}, not {method!r}.")
    if schema is None and method != "json_mode":
        raise ValueError(f"method {method!r} needs a schema; only 'json_mode' works without one.")
    if strict is not None and method == "json_mode":
        raise ValueError("strict needs a schema on the wire, and method 'json_mode' sends none.")
    if tools and method == "function_calling":
        raise ValueError("tools beside structured output need method 'json_schema' or 'json_mode'.")
    target = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
    parser: ObjectParser
    if method == "function_calling":
        name, tool = _tool_for(schema, strict)
        arguments = bind_arguments([tool], tool_choice=name if tool_choice is None else tool_choice, **kwargs)
        parser = ToolCallParser(target=target, tool_name=name)
    else:
        asked = schema if method == "json_schema" else {"type": "json_object"}
        arguments = bind_arguments(tools, tool_choice=tool_choice, strict=strict, response_format=asked, **kwargs)
        sent = arguments["response_format"].get("json_schema", {}).get("schema", {})
        # A pydantic class checks the root itself.
        root = "value" if target else _root_of(sent if method == "json_schema" else schema)
        parser = JsonParser(target=target, root=root, may_call_tools=bool(tools) and include_raw)
    traced = {"kwargs": {"method": method, "strict": strict}, "schema": None}
    # Core converts what stands here at each call, slowly for a class, and fails on a `type` that is a list.
    with suppress(ValueError):
        traced["schema"] = wire_tools([schema])[0]
    return Plan({"ls_structured_output_format": traced, **arguments}, parser, include_raw)


def _tool_for(schema: Any, strict: bool | None) -> tuple[str, dict[str, Any]]:
    [tool] = wire_tools([schema], strict=strict)
    if "function" not in tool:
        raise ValueError(f"method 'function_calling' cannot use this schema: {schema!r}")
    name = legal_name(tool["function"]["name"])
    return name, {**tool, "function": {**tool["function"], "name": name}}


def _root_of(schema: Any) -> str:
    kind = schema.get("type") if isinstance(schema, Mapping) else "object"
    return kind if kind in ("object", "array") else "value"


def assemble(bound: Runnable[Any, Any], planned: Plan) -> Runnable[Any, Any]:
    """Chain a model, with the plan's arguments bound to it, to the parser of the plan."""
    parser = planned.parser
    if not planned.include_raw:
        return bound | parser
    parse = _ParseRaw(parser=parser)
    return RunnableMap(raw=bound) | parse.with_fallbacks(
        [RunnableLambda(_without_parsed)], exception_key="parsing_error"
    )


class _ParseRaw(RunnableSerializable[dict[str, Any], dict[str, Any]]):
    """Adds the object to the dict that holds the message: one step, so that nothing is streamed before it failed."""

    model_config = ConfigDict(defer_build=True)

    parser: ObjectParser

    @override
    def invoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        return {**input, "parsed": self.parser.invoke(input["raw"], config), "parsing_error": None}

    @override
    async def ainvoke(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        return {**input, "parsed": await self.parser.ainvoke(input["raw"], config), "parsing_error": None}


def _without_parsed(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "parsed": None}
