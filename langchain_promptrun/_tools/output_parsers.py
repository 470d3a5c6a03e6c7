"""Parse one object from an answer: from a tool call, or from JSON text; from a stream, what can be read so far."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import BaseTransformOutputParser
from langchain_core.utils.json import parse_partial_json
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from langchain_promptrun._wire.names import is_withheld
from langchain_promptrun.errors import PromptrunRefusalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.outputs import Generation

# Models write raw line breaks into strings; JSON proper forbids it.
_DECODER = json.JSONDecoder(strict=False)
_JSON_FENCE = re.compile(r"```json\s*", re.IGNORECASE)
_ANY_FENCE = re.compile(r"```\w*\s*")
# No token of JSON that is not a string is longer: an error farther from the end is one that no further text mends.
_LONGEST_TOKEN = len("-Infinity")
_SHOWN_CHARACTERS = 200
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
        try:
            value = self._value(message)
            try:
                return self._build(value)
            except ValueError as error:
                reason = f"The answer does not fit {self.target.__name__}: {error}"
                raise _failure(message, reason, json.dumps(value, ensure_ascii=False)) from error
        except OutputParserException as error:
            if is_withheld(message.response_metadata.get("finish_reason")):
                raise PromptrunRefusalError(str(error), raw_message=message) from error
            raise

    def glimpse(self, message: AIMessage) -> Any:
        """Read what an unfinished answer already holds: a valid object or value, or None."""
        # Half an object may upset a class's own validators in any way; `read` raises what is really wrong.
        with suppress(Exception):
            value = self._partial_value(message)
            return None if value is None else self._build(value)
        return None

    @abstractmethod
    def _value(self, message: AIMessage) -> Any:
        """Return the JSON value of a whole answer; raise OutputParserException."""

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
        value = _parse_unfinished_json(str(message.text).lstrip())
        return value if isinstance(value, _ROOTS[self.root]) else None


def _sum(message: Any, chunk: str | BaseMessage) -> Any:
    piece = AIMessageChunk(content=chunk) if isinstance(chunk, str) else chunk
    return piece if message is None else message + piece


def _failure(message: AIMessage, reason: str, output: str | None = None) -> OutputParserException:
    """Make the error: the reason, how the answer ended where that explains it, and the beginning of the answer."""
    output = str(message.text) if output is None else output
    ending = _ending(message.response_metadata.get("finish_reason"))
    shown = f" Answer: {output[:_SHOWN_CHARACTERS]!r}" if output else ""
    return OutputParserException(f"{reason}{ending}{shown}", llm_output=output)


def _ending(finish_reason: object) -> str:
    if finish_reason == "length":
        return ' It was cut at max_tokens (finish_reason "length"): raise max_tokens or ask for less.'
    return f' It was withheld (finish_reason "{finish_reason}").' if is_withheld(finish_reason) else ""


def _what_came(message: AIMessage) -> str:
    names = [call["name"] for call in [*message.tool_calls, *message.invalid_tool_calls]]
    if names:
        return f"The model called {', '.join(map(repr, names))}"
    return "The model answered in text" if str(message.text).strip() else "The model answered nothing"


def _parse_json(text: str) -> Any:
    """Read a whole JSON text, or the JSON at the head of a Markdown fence in it."""
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


def _parse_unfinished_json(text: str) -> Any:
    """Read the beginning of a JSON text; None where it is not one."""
    fence = None if text.startswith(("{", "[")) else _fence(text)
    text = text[fence.end() :] if fence else text
    if not text.startswith(("{", "[")):
        return None
    try:
        return _DECODER.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        # parse_partial_json drops character after character until the rest is JSON: hours for a long broken answer.
        unfinished = error.msg.startswith("Unterminated") or error.pos >= len(text) - _LONGEST_TOKEN
        return parse_partial_json(text) if unfinished else None


def _fence(text: str) -> re.Match[str] | None:
    return _JSON_FENCE.search(text) or _ANY_FENCE.search(text)
