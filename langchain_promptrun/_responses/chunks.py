"""Make langchain-core's chunks of the parts of an answer.

Most of what a message costs is pydantic's validation of fields that this package has just made. So one model of each
kind is validated, and all others are restored from its state, as unpickling does it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from langchain_core.messages import AIMessageChunk, InvalidToolCall
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from langchain_promptrun._responses.choice import LOGPROBS, PROVIDER, REASONING, REFUSAL, TEXT, TOOL, Choice, Part
from langchain_promptrun._responses.parser import ResponseParser
from langchain_promptrun._responses.partial_call import parse_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_protocol.protocol import MessagesData

    from langchain_promptrun._responses.tool_calls import ToolPiece

T = TypeVar("T", bound=BaseModel)

_new, _set = object.__new__, object.__setattr__
_LONGEST_ARGS = 1024
# With the provider's name core asks this package's translator for content blocks.
_NAME = {"model_provider": PROVIDER}


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


_MESSAGE = Template(AIMessageChunk(content=""))
_GENERATION = Template(ChatGenerationChunk(message=AIMessageChunk(content="")))


class ChunkParser(ResponseParser[ChatGenerationChunk]):
    """Parses an answer into chunks that langchain-core can sum.

    Each fact goes out on one chunk only, since equal strings would be joined and equal numbers added up; facts of the
    whole answer ride on the last one, which says so in `chunk_position`.
    """

    def _emit(self, parts: list[Part], items: list[ChatGenerationChunk], choice: Choice) -> None:
        del choice
        before = len(items)
        if not parts:
            items.append(text_chunk(""))
        for kind, payload in parts:
            if kind == TEXT:
                items.append(text_chunk(payload))
            elif kind == LOGPROBS and len(items) > before:
                items[-1].message.response_metadata["logprobs"] = payload
            else:
                items += _MAKERS[kind](payload)

    def _emit_ending(self, items: list[ChatGenerationChunk]) -> None:
        choice = self._choices[0]
        parts, fields = choice.end()
        if parts:
            self._emit(parts, items, choice)
        # The chunks of the refusal hold it.
        fields["additional_kwargs"].pop("refusal", None)
        items.append(_last_chunk(**fields))


def _chunk(text: str, **fields: Any) -> ChatGenerationChunk:
    return _GENERATION.restore(message=_MESSAGE.restore(**fields), text=text)


def text_chunk(text: str, message_id: str | None = None) -> ChatGenerationChunk:
    return _GENERATION.restore(message=_MESSAGE.restore(content=text, id=message_id), text=text)


def _tool_chunks(piece: ToolPiece) -> list[ChatGenerationChunk]:
    args = piece.args
    pieces = [args]
    if piece.id is None and len(args) > _LONGEST_ARGS and _begins_object(args) and parse_arguments(args) is None:
        # To find that it is none, langchain-core up to 1.7 takes time by the square of its length.
        pieces = [args[start : start + _LONGEST_ARGS] for start in range(0, len(args), _LONGEST_ARGS)]
    return [_tool_chunk(piece.slot, piece.id, piece.name, args) for args in pieces]


def _begins_object(args: str) -> bool:
    return args.lstrip().startswith("{")


def _tool_chunk(index: int, call_id: str | None, name: str | None, args: str, **ids: str) -> ChatGenerationChunk:
    """Make the chunk of a call or of further arguments.

    langchain-core tries to read each piece as JSON that was cut off, one character fewer at a time. What does not
    begin an object is always an invalid call in the end, so it need not be tried.
    """
    call = {"name": name, "args": args, "id": call_id, "index": index, "type": "tool_call_chunk"}
    fields: dict[str, Any] = {"tool_call_chunks": [call], "response_metadata": _NAME.copy(), **ids}
    if call_id is None and args and not _begins_object(args):
        invalid = InvalidToolCall(name=name, args=args, id=None, error=None, type="invalid_tool_call")
        return _chunk("", invalid_tool_calls=[invalid], **fields)
    return ChatGenerationChunk(message=AIMessageChunk(content="", **fields))


def _last_chunk(**fields: Any) -> ChatGenerationChunk:
    message = AIMessageChunk(content="", chunk_position="last", **fields)
    return ChatGenerationChunk(message=message, generation_info=generation_info(message.response_metadata))


_MAKERS: dict[int, Callable[[Any], list[ChatGenerationChunk]]] = {
    REASONING: lambda text: [_chunk("", additional_kwargs={"reasoning_content": text})],
    REFUSAL: lambda text: [
        _chunk(text, content=text, additional_kwargs={"refusal": text}, response_metadata=_NAME.copy())
    ],
    TOOL: _tool_chunks,
    LOGPROBS: lambda logprobs: [_chunk("", response_metadata={"logprobs": logprobs})],
}


def generation_info(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what LangChain repeats beside a message."""
    return {key: metadata[key] for key in ("finish_reason", "logprobs") if key in metadata}


class EventChunks:
    """Makes the chunk of a protocol event, as langchain-core's bridge gets it from other integrations."""

    def __init__(self, message_id: str) -> None:
        self._id = message_id
        self._sent: Counter[int] = Counter()

    def __call__(self, event: MessagesData | None) -> ChatGenerationChunk | None:
        """Return the chunk, an empty one where an answer has no event yet, None for an event without anything new."""
        if event is None:
            return text_chunk("", self._id)
        fields: Any = event
        delta = fields.get("delta", {})
        if "text" in delta:
            return text_chunk(delta["text"], self._id)
        if "reasoning" in delta:
            return _chunk("", id=self._id, additional_kwargs={"reasoning_content": delta["reasoning"]})
        if fields["event"] == "message-finish":
            extras = {k: v for k, v in fields.get("additional_kwargs", {}).items() if k != "reasoning_content"}
            usage = fields.get("usage")
            facts = {"id": self._id, "additional_kwargs": extras, "usage_metadata": usage}
            return _last_chunk(response_metadata=fields["metadata"], **facts)
        return self._of_call(fields.get("index", 0), delta or fields.get("content") or {})

    def _of_call(self, index: int, block: dict[str, Any]) -> ChatGenerationChunk | None:
        kind = block.get("type")
        is_end = kind == "invalid_tool_call"
        if kind not in {"tool-call-delta", "tool_call_chunk", "invalid_tool_call"}:
            return None
        args = block["args"][self._sent[index] if is_end else 0 :]
        if is_end and not args:
            return None
        self._sent[index] += len(args)
        call_id, name = (None, None) if is_end else (block.get("id"), block.get("name"))
        return _tool_chunk(index, call_id, name, args, id=self._id)
