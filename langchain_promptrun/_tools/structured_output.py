"""Bind a model to a schema, and read an object from its answers: from a tool call, or from JSON text."""

from __future__ import annotations

import builtins
import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_origin

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import BaseTransformOutputParser
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableMap, RunnableSerializable
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from langchain_promptrun._tools.tools import ToolChoice, bind_arguments, wire_tools
from langchain_promptrun._wire.names import is_withheld, legal_name
from langchain_promptrun.errors import PromptrunRefusalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from langchain_core.outputs import Generation

_METHODS = ("function_calling", "json_schema", "json_mode")
# Models write raw line breaks into strings; JSON proper forbids it.
_DECODER = json.JSONDecoder(strict=False)
_ROOTS: dict[str, type | tuple[type, ...]] = {"object": dict, "array": list, "value": (dict, list, str, int, float)}


class ObjectParser(BaseTransformOutputParser[Any]):
    """Reads an object from an answer: builds the class `target`, or leaves the value as it stands in JSON."""

    # pydantic builds what it needs with the first parser, not at import
    model_config = ConfigDict(defer_build=True)

    target: Any = None
    may_call_tools: bool = False

    @property
    @override
    def OutputType(self) -> Any:
        return self.target or Any

    @override
    def parse(self, text: str) -> Any:
        return self.read(AIMessage(text))

    @override
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        given = getattr(result[0], "message", None)
        message = given if isinstance(given, AIMessage) else AIMessage(result[0].text)
        return self.glimpse(message) if partial else self.read(message)

    def read(self, message: AIMessage) -> Any:
        """Read the object from a whole answer; None for a turn of tool calls where they are allowed."""
        if refusal := message.additional_kwargs.get("refusal"):
            raise PromptrunRefusalError(str(refusal), raw_message=message)
        if self.may_call_tools and message.tool_calls:
            return None
        value = self._value(message)
        try:
            return self._build(value)
        except ValueError as error:
            reason = f"The answer does not fit {self.target.__name__}: {error}"
            raise _failure(message, reason, json.dumps(value, ensure_ascii=False)) from error

    def glimpse(self, message: AIMessage) -> Any:
        # Half an object may upset a class's own validators in any way; `read` raises what is really wrong.
        with suppress(Exception):
            value = self._partial_value(message)
            return None if value is None else self._build(value)
        return None

    @abstractmethod
    def _value(self, message: AIMessage) -> Any:
        """Return the JSON value of a whole answer; raise what `_failure` makes."""

    @abstractmethod
    def _partial_value(self, message: AIMessage) -> Any:
        """Return the JSON value of an unfinished answer, None before it begins."""

    def _build(self, value: Any) -> Any:
        if self.target is None:
            return value
        if issubclass(self.target, BaseModel):
            # As JSON: in pydantic's strict mode dates, sets and the like are taken from JSON only.
            return self.target.model_validate_json(json.dumps(value))
        return self.target.parse_obj(value)

    @override
    def _transform(self, chunks: Iterator[str | BaseMessage]) -> Iterator[Any]:
        message = last = None
        for chunk in chunks:
            message = _sum(message, chunk)
            value = self.glimpse(message)
            if value is not None and value != last:
                yield (last := value)
        value = self.read(message or AIMessage(""))
        if value is not None and value != last:
            yield value

    @override
    async def _atransform(self, chunks: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        message = last = None
        async for chunk in chunks:
            message = _sum(message, chunk)
            value = self.glimpse(message)
            if value is not None and value != last:
                yield (last := value)
        value = self.read(message or AIMessage(""))
        if value is not None and value != last:
            yield value


class ToolCallParser(ObjectParser):
    """Reads the object from the arguments of a call of the tool that stands for the schema."""

    tool_name: str

    @override
    def _value(self, message: AIMessage) -> Any:
        args = self._partial_value(message)
        if args is not None:
            return args
        for call in message.invalid_tool_calls:
            if call["name"] == self.tool_name:
                why = f" ({call['error']})" if call["error"] else ""
                reason = f"The arguments of the call of {self.tool_name!r} are not a JSON object{why}."
                raise _failure(message, reason, call["args"] or "")
        raise _failure(message, f"{_what_came(message)} instead of a call of {self.tool_name!r}.")

    @override
    def _partial_value(self, message: AIMessage) -> Any:
        return next((call["args"] for call in message.tool_calls if call["name"] == self.tool_name), None)


class JsonParser(ObjectParser):
    """Reads an "object", an "array", or any "value" but null from JSON, also inside a Markdown fence."""

    root: str = "object"

    @override
    def _value(self, message: AIMessage) -> Any:
        text = str(message.text)
        if not text.strip():
            raise _failure(message, f"{_what_came(message)} instead of JSON.")
        try:
            value = _parse_json(text.strip())
        except (ValueError, RecursionError) as error:
            raise _failure(message, f"The answer is not valid JSON: {error}.", text) from error
        if not isinstance(value, _ROOTS[self.root]):
            raise _failure(message, f"The answer is JSON, but no {self.root}.", text)
        return value

    @override
    def _partial_value(self, message: AIMessage) -> Any:
        text = str(message.text).lstrip()
        if not text.startswith(("{", "[")) and (fence := _fence(text)):
            text = text[fence.end() :]
        value = None
        if text.startswith(("{", "[")):
            try:
                value, _ = _DECODER.raw_decode(text)
            except json.JSONDecodeError as error:
                # parse_partial_json drops character after character until the rest is JSON: hours for a long broken
                # answer. No token but a string is longer than -Infinity: no further text mends an error before it.
                if error.msg.startswith("Unterminated") or error.pos >= len(text) - len("-Infinity"):
                    value = parse_partial_json(text)
        return value if isinstance(value, _ROOTS[self.root]) else None


def _sum(message: Any, chunk: str | BaseMessage) -> Any:
    piece = AIMessageChunk(content=chunk) if isinstance(chunk, str) else chunk
    return piece if message is None else message + piece


def _failure(message: AIMessage, reason: str, output: str | None = None) -> Exception:
    output = str(message.text) if output is None else output
    ended = message.response_metadata.get("finish_reason")
    withheld = f' It was withheld (finish_reason "{ended}").' if is_withheld(ended) else ""
    cut = ' It was cut at max_tokens (finish_reason "length"): raise max_tokens or ask for less.'
    text = f"{reason}{cut if ended == 'length' else withheld}" + (f" Answer: {output[:200]!r}" if output else "")
    return (
        PromptrunRefusalError(text, raw_message=message) if withheld else OutputParserException(text, llm_output=output)
    )


def _what_came(message: AIMessage) -> str:
    names = [call["name"] for call in [*message.tool_calls, *message.invalid_tool_calls]]
    if names:
        return f"The model called {', '.join(map(repr, names))}"
    return "The model answered in text" if str(message.text).strip() else "The model answered nothing"


def _parse_json(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        fence = _fence(text)
        if fence is None:
            raise
    value, end = _DECODER.raw_decode(text, fence.end())
    rest = text[end:].lstrip()
    if rest and not rest.startswith("```"):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _fence(text: str) -> re.Match[str] | None:
    return re.search(r"(?i)```json\s*", text) or re.search(r"```\w*\s*", text)


def structured(
    bind: Callable[..., Runnable[Any, Any]],
    schema: Any = None,
    *,
    method: str,
    include_raw: bool = False,
    strict: bool | None = None,
    tools: Sequence[Any] | None = None,
    tool_choice: ToolChoice | None = None,
    **kwargs: Any,
) -> Runnable[Any, Any]:
    _check(schema, method, strict, has_tools=bool(tools))
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
        root = _root_of(target, sent if method == "json_schema" else schema)
        parser = JsonParser(target=target, root=root, may_call_tools=bool(tools) and include_raw)
    traced = {"kwargs": {"method": method, "strict": strict}, "schema": None}
    # Core converts what stands here at each call, slowly for a class, and fails on a `type` that is a list.
    with suppress(ValueError):
        traced["schema"] = wire_tools([schema])[0]
    bound = bind(ls_structured_output_format=traced, **arguments)
    if not include_raw:
        return bound | parser
    without_parsed = RunnableLambda(_without_parsed)
    return RunnableMap(raw=bound) | _ParseRaw(parser=parser).with_fallbacks(
        [without_parsed], exception_key="parsing_error"
    )


def _check(schema: Any, method: str, strict: bool | None, *, has_tools: bool) -> None:
    if method not in _METHODS:
        raise ValueError(f"`method` must be one of {', '.join(map(repr, _METHODS))}, not {method!r}.")
    if schema is None and method != "json_mode":
        raise ValueError(f"method {method!r} needs a schema; only 'json_mode' works without one.")
    is_builtin = isinstance(schema, type) and schema in vars(builtins).values()
    if get_origin(schema) is not None or is_builtin:
        raise ValueError(f"`schema` must describe an object, not {schema!r}: give a class with a field of this type.")
    if strict is not None and method == "json_mode":
        raise ValueError("strict needs a schema on the wire, and method 'json_mode' sends none.")
    if has_tools and method == "function_calling":
        raise ValueError("tools beside structured output need method 'json_schema' or 'json_mode'.")


def _tool_for(schema: Any, strict: bool | None) -> tuple[str, dict[str, Any]]:
    [tool] = wire_tools([schema], strict=strict)
    if "function" not in tool:
        raise ValueError(f"method 'function_calling' cannot use this schema: {schema!r}")
    name = legal_name(tool["function"]["name"])
    return name, {**tool, "function": {**tool["function"], "name": name}}


def _root_of(target: type | None, schema: Any) -> str:
    if target is not None:  # the class checks the root itself
        return "value"
    kind = schema.get("type") if isinstance(schema, Mapping) else "object"
    return kind if kind in ("object", "array") else "value"


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
