"""Make langchain-core's chunks and results of the parts of an answer.

Most of what a message costs is pydantic's validation of fields that this package has just made. So one model of each
kind is validated, and all others are restored from its state, as unpickling does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import BaseModel

from langchain_promptrun._responses.choice import PROVIDER, Choice, Part
from langchain_promptrun._responses.content_blocks import restore_refusal
from langchain_promptrun._responses.parser import ResponseParser
from langchain_promptrun._responses.tool_calls import parse_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_protocol.protocol import MessagesData


T = TypeVar("T", bound=BaseModel)

_new, _set = object.__new__, object.__setattr__
_LONGEST_ARGS = 1024
# With the provider's name core asks this package's translator for content blocks.
_NAME = {"model_provider": PROVIDER}
_FACTS = ("model_name", "model_provider", "id", "system_fingerprint", "service_tier")
_NUMBERS = (int, float)
_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "total_tokens": "total_tokens"}


class Template(Generic[T]):
    """Restores models from the state of one: the one place that uses pydantic's, checked on pydantic 2.7 to 2.13."""

    def __init__(self, model: T) -> None:
        state = model.__getstate__()
        self._type = type(model)
        self._fields: dict[str, Any] = state.pop("__dict__")
        self._empty = [(name, type(value)()) for name, value in self._fields.items() if type(value) in {dict, list}]
        self._about_fields = list(state.items())

    def restore(self, **fields: Any) -> T:
        """Make a model with these fields, which shares nothing that can be changed with any other."""
        values = self._fields.copy()
        for name, empty in self._empty:
            values[name] = empty.copy()
        values.update(fields)
        model = _new(self._type)
        _set(model, "__dict__", values)
        for name, value in self._about_fields:
            _set(model, name, value if value is None else value.copy())
        return model


_CHUNK = Template(AIMessageChunk(content=""))
_GENERATION_CHUNK = Template(ChatGenerationChunk(message=AIMessageChunk(content="")))
_EMPTY = AIMessage(
    "", name=None, additional_kwargs={}, response_metadata={}, tool_calls=[], invalid_tool_calls=[], usage_metadata=None
)
_MESSAGE = Template(_EMPTY)
_GENERATION = Template(ChatGeneration(message=_EMPTY, generation_info={}))
_RESULT = Template(ChatResult(generations=[], llm_output=None))


class ChunkParser(ResponseParser[ChatGenerationChunk]):
    """Parses an answer into chunks that langchain-core can sum.

    Each fact goes out on one chunk only, since equal strings would be joined and equal numbers added up; facts of the
    whole answer ride on the last one, which says so in `chunk_position`.
    """

    def _emit(self, parts: list[Part], choice: Choice) -> None:
        del choice
        items = self._items
        before = len(items)
        if not parts:
            items.append(text_chunk(""))
        for kind, payload in parts:
            if kind == "text":
                items.append(text_chunk(payload))
            elif kind == "reasoning":
                items.append(_chunk("", additional_kwargs={"reasoning_content": payload}))
            elif kind == "tool":
                slot, call_id, name, args = payload
                pieces = [args]
                is_long = call_id is None and len(args) > _LONGEST_ARGS and args.lstrip().startswith("{")
                if is_long and parse_arguments(args) is None:
                    # To find that it is none, langchain-core up to 1.7 takes time by the square of its length.
                    pieces = [args[start : start + _LONGEST_ARGS] for start in range(0, len(args), _LONGEST_ARGS)]
                items += [_tool_chunk(slot, call_id, name, piece) for piece in pieces]
            elif kind == "refusal":
                facts = {"additional_kwargs": {"refusal": payload}, "response_metadata": _NAME.copy()}
                items.append(_chunk(payload, content=payload, **facts))
            elif len(items) > before:
                items[-1].message.response_metadata["logprobs"] = payload
            else:
                items.append(_chunk("", response_metadata={"logprobs": payload}))

    def _emit_ending(self) -> None:
        choice = self._choices[0]
        parts, fields = choice.end()
        if parts:
            self._emit(parts, choice)
        # The chunks of the refusal hold it.
        fields["additional_kwargs"].pop("refusal", None)
        self._items.append(_last_chunk(**fields))


def _chunk(text: str, **fields: Any) -> ChatGenerationChunk:
    return _GENERATION_CHUNK.restore(message=_CHUNK.restore(**fields), text=text)


def text_chunk(text: str, message_id: str | None = None) -> ChatGenerationChunk:
    return _GENERATION_CHUNK.restore(message=_CHUNK.restore(content=text, id=message_id), text=text)


def _tool_chunk(index: int, call_id: str | None, name: str | None, args: str, **ids: str) -> ChatGenerationChunk:
    """Make the chunk of a call or of further arguments.

    langchain-core tries to read each piece as JSON that was cut off, one character fewer at a time. What does not
    begin an object is always an invalid call in the end, so it need not be tried.
    """
    call = {"name": name, "args": args, "id": call_id, "index": index, "type": "tool_call_chunk"}
    fields: dict[str, Any] = {"tool_call_chunks": [call], "response_metadata": _NAME.copy(), **ids}
    if call_id is None and args and not args.lstrip().startswith("{"):
        invalid = InvalidToolCall(name=name, args=args, id=None, error=None, type="invalid_tool_call")
        return _chunk("", invalid_tool_calls=[invalid], **fields)
    return ChatGenerationChunk(message=AIMessageChunk(content="", **fields))


def _last_chunk(**fields: Any) -> ChatGenerationChunk:
    message = AIMessageChunk(content="", chunk_position="last", **fields)
    return ChatGenerationChunk(message=message, generation_info=_generation_info(message))


def _generation_info(message: AIMessage) -> dict[str, Any]:
    metadata = message.response_metadata
    return {key: metadata[key] for key in ("finish_reason", "logprobs") if key in metadata}


def event_chunk(message_id: str, event: MessagesData | None) -> ChatGenerationChunk | None:
    """Make the chunk of a protocol event, as langchain-core's bridge gets it from other integrations.

    It is an empty one where an answer has no event yet, None for an event without anything new.
    """
    fields: Any = event or {}
    delta = fields.get("delta", {})
    if event is None or "text" in delta:
        return text_chunk(delta.get("text", ""), message_id)
    if "reasoning" in delta:
        return _chunk("", id=message_id, additional_kwargs={"reasoning_content": delta["reasoning"]})
    if fields["event"] == "message-finish":
        extras = {k: v for k, v in fields.get("additional_kwargs", {}).items() if k != "reasoning_content"}
        facts = {"additional_kwargs": extras, "response_metadata": fields["metadata"]}
        return _last_chunk(id=message_id, usage_metadata=fields.get("usage"), **facts)
    block = delta or fields.get("content", {})
    if block.get("type") not in {"tool-call-delta", "tool_call_chunk"}:
        return None
    return _tool_chunk(fields["index"], block.get("id"), block.get("name"), block["args"], id=message_id)


class ResultParser(ResponseParser[ChatResult]):
    _is_result = True

    def _emit(self, parts: list[Part], choice: Choice) -> None:
        choice.parts += parts

    def _emit_ending(self) -> None:
        generations: list[ChatGeneration] = []
        for _, choice in sorted(self._choices.items()):
            last_parts, fields = choice.end(with_usage=not generations)
            choice.parts += last_parts
            choice.add_collected(fields)
            text, calls = choice.collected("text", "refusal"), choice.tool_calls.announced
            fields["tool_calls"] = [call.finished() for call in calls if call.args is not None]
            fields["invalid_tool_calls"] = [call.finished() for call in calls if call.args is None]
            message = _MESSAGE.restore(content=text, **fields)
            info = _generation_info(message)
            generations.append(_GENERATION.restore(message=message, text=text, generation_info=info))
        self._items.append(_RESULT.restore(generations=generations, llm_output=_llm_output(generations[0].message)))


def _llm_output(message: Any) -> dict[str, Any]:
    """Return model, id and token usage in the shape that OpenAI's integration gave `llm_output`."""
    facts = message.response_metadata
    output = {key: facts[key] for key in _FACTS if key in facts}
    if usage := message.usage_metadata:
        output["token_usage"] = facts.get("token_usage", {}) | {name: usage[key] for name, key in _USAGE.items()}
    return output


def with_llm_output(result: ChatResult) -> ChatResult:
    """Say of a streamed answer what a whole one says; LangChain's cache marks its answers with a cost of 0."""
    message: Any = result.generations[0].message
    restore_refusal(message)
    if result.llm_output is None and "total_cost" not in (message.usage_metadata or {}):
        result.llm_output = _llm_output(message)
    return result


def combined_llm_output(model: str, outputs: Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    """Return the outputs of several answers as one, token usage summed; an id stays where there is one answer."""
    combined: dict[str, Any] = {"model_name": model, "model_provider": PROVIDER, "token_usage": {}}
    known = [output for output in outputs if output]
    for output in known:
        combined |= output | {"token_usage": _sum(combined["token_usage"], output.get("token_usage", {}))}
    if len(known) > 1:
        combined.pop("id", None)
    return combined


def _sum(total: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    """Add numbers, at any depth; of the rest the last is kept."""
    summed = dict(total)
    for name, value in usage.items():
        before = total.get(name)
        if isinstance(value, dict):
            summed[name] = _sum(before if isinstance(before, dict) else {}, value)
        elif type(value) in _NUMBERS and type(before) in _NUMBERS:
            summed[name] = before + value
        elif value is not None:
            summed[name] = value
    return summed
