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
    from collections.abc import Callable, Sequence


class Plan(NamedTuple):
    """How an object is asked for, which parser reads it, and whether the chain returns the message beside it."""

    arguments: dict[str, Any]
    parser: ObjectParser
    include_raw: bool


class _Request(NamedTuple):
    schema: Any
    strict: bool | None
    tools: Sequence[Any]
    tool_choice: ToolChoice | None
    include_raw: bool
    options: dict[str, Any]

    @property
    def target(self) -> Any:
        """The pydantic class to build, None for another kind of schema."""
        return self.schema if isinstance(self.schema, type) and is_basemodel_subclass(self.schema) else None


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
    request = _Request(schema, strict, tools or (), tool_choice, include_raw, kwargs)
    ask = _METHODS.get(method)
    if ask is None:
        raise ValueError(f"`method` must be one of {', '.join(map(repr, _METHODS))}, not {method!r}.")
    if schema is None and method != "json_mode":
        raise ValueError(f"method {method!r} needs a schema; only 'json_mode' works without one.")
    arguments, parser = ask(request)
    traced = {"kwargs": {"method": method, "strict": strict}, "schema": _traced(schema)}
    return Plan({"ls_structured_output_format": traced, **arguments}, parser, include_raw)


def assemble(bound: Runnable[Any, Any], planned: Plan) -> Runnable[Any, Any]:
    """Chain a model, with the plan's arguments bound to it, to the parser of the plan."""
    if not planned.include_raw:
        return bound | planned.parser
    parse = _ParseRaw(parser=planned.parser)
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


def _by_function_calling(request: _Request) -> tuple[dict[str, Any], ObjectParser]:
    if request.tools:
        raise ValueError("tools beside structured output need method 'json_schema' or 'json_mode'.")
    tool = wire_tools([request.schema], strict=request.strict)[0]
    if "function" not in tool:
        raise ValueError(f"method 'function_calling' cannot use this schema: {request.schema!r}")
    name = legal_name(tool["function"]["name"])
    tool["function"] = {**tool["function"], "name": name}
    choice = name if request.tool_choice is None else request.tool_choice
    arguments = bind_arguments([tool], tool_choice=choice, **request.options)
    return arguments, ToolCallParser(target=request.target, tool_name=name)


def _by_json_schema(request: _Request) -> tuple[dict[str, Any], ObjectParser]:
    arguments = _with_response_format(request, request.schema)
    spec = arguments["response_format"].get("json_schema", {})
    return arguments, _json_parser(request, spec.get("schema", {}))


def _by_json_mode(request: _Request) -> tuple[dict[str, Any], ObjectParser]:
    if request.strict is not None:
        raise ValueError("strict needs a schema on the wire, and method 'json_mode' sends none.")
    schema = request.schema if isinstance(request.schema, Mapping) else {"type": "object"}
    return _with_response_format(request, {"type": "json_object"}), _json_parser(request, schema)


def _with_response_format(request: _Request, response_format: Any) -> dict[str, Any]:
    return bind_arguments(
        request.tools,
        tool_choice=request.tool_choice,
        strict=request.strict,
        response_format=response_format,
        **request.options,
    )


def _json_parser(request: _Request, schema: Mapping[str, Any]) -> JsonParser:
    """Make the parser for a JSON schema; a pydantic class checks the root itself."""
    kind = None if request.target else schema.get("type")
    return JsonParser(
        target=request.target,
        root="value" if kind not in ("object", "array") else kind,
        may_call_tools=bool(request.tools) and request.include_raw,
    )


def _traced(schema: Any) -> dict[str, Any] | None:
    """Return the schema as a tool, for traces; None where it is not one that core could show.

    Core converts what stands here at each call, which is slow for a class, and fails on a schema whose `type` is a
    list.
    """
    with suppress(ValueError):
        return wire_tools([schema])[0]
    return None


_METHODS: dict[str, Callable[[_Request], tuple[dict[str, Any], ObjectParser]]] = {
    "function_calling": _by_function_calling,
    "json_schema": _by_json_schema,
    "json_mode": _by_json_mode,
}
