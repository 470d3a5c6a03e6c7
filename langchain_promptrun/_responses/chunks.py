"""Make langchain-core's chunks of the parts of an answer.

Most of what a message costs is pydantic's validation of fields that this package has just made. So one model of each
kind is validated, and all others are restored from its state, as unpickling does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from langchain_core.messages import AIMessageChunk, InvalidToolCall
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from langchain_promptrun._responses.arguments import parse_arguments
from langchain_promptrun._responses.choice import LOGPROBS, PROVIDER, REASONING, REFUSAL, TEXT, TOOL, Part
from langchain_promptrun._responses.parser import ResponseParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import ToolCallChunk
    from langchain_protocol.protocol import MessagesData

    from langchain_promptrun._responses.partial_call import ToolPiece

T = TypeVar("T", bound=BaseModel)

_new = object.__new__
_LONGEST_ARGS = 1024
# With the provider's name core asks this package's translator for content blocks.
_NAMED = {"model_provider": PROVIDER}.copy


class Template(Generic[T]):
    """Restores models from the state of one: the one place that uses pydantic's, checked on pydantic 2.7 to 2.13."""

    __slots__ = ("_containers", "_extra", "_fields", "_fields_set", "_private", "_type")

    def __init__(self, model: T) -> None:
        state = model.__getstate__()
        self._type = type(model)
        self._fields: dict[str, Any] = state["__dict__"]
        self._containers = [(name, type(value)) for name, value in self._fields.items() if type(value) in {dict, list}]
        self._extra: dict[str, Any] | None = state["__pydantic_extra__"]
        self._private: dict[str, Any] | None = state["__pydantic_private__"]
        self._fields_set: set[str] = state["__pydantic_fields_set__"]

    def restore(self, **fields: Any) -> T:
        """Make a model with these fields, which shares nothing that can be changed with any other."""
        values = self._fields.copy()
        for name, container in self._containers:
            values[name] = container()
        values.update(fields)
        model = _new(self._type)
        model.__setstate__(
            {
                "__dict__": values,
                "__pydantic_extra__": None if self._extra is None else self._extra.copy(),
                "__pydantic_private__": None if self._private is None else self._private.copy(),
                "__pydantic_fields_set__": self._fields_set.copy(),
            }
        )
        return model


_MESSAGE = Template(AIMessageChunk(content=""))
_GENERATION = Template(ChatGenerationChunk(message=AIMessageChunk(content="")))


class ChunkParser(ResponseParser[ChatGenerationChunk]):
    """Parses an answer into chunks that langchain-core can sum.

    Each fact goes out on one chunk only, since equal strings would be joined and equal numbers added up; facts of the
    whole answer ride on the last one, which says so in `chunk_position`.
    """

    def _emit(self, parts: list[Part], items: list[ChatGenerationChunk], index: int) -> None:
        del index
        before = len(items)
        for kind, payload in parts:
            if kind == LOGPROBS and len(items) > before:
                items[-1].message.response_metadata["logprobs"] = payload
            else:
                items += _MAKERS[kind](payload)

    def _emit_text(self, text: str, items: list[ChatGenerationChunk]) -> None:
        items.append(text_chunk(text))

    def _emit_ending(self, items: list[ChatGenerationChunk]) -> None:
        final = self._choices[0].end()
        self._emit(final.parts, items, 0)
        # The chunks of the refusal hold it.
        extras = {key: value for key, value in final.additional_kwargs.items() if key != "refusal"}
        message = AIMessageChunk(
            content="",
            name=final.name,
            additional_kwargs=extras,
            response_metadata=final.response_metadata,
            usage_metadata=final.usage_metadata,
            chunk_position="last",
        )
        items.append(ChatGenerationChunk(message=message, generation_info=generation_info(final.response_metadata)))


def _chunk(text: str, **fields: Any) -> ChatGenerationChunk:
    return _GENERATION.restore(message=_MESSAGE.restore(**fields), text=text)


def text_chunk(text: str) -> ChatGenerationChunk:
    """Make a chunk of text."""
    return _chunk(text, content=text)


def _tool_chunks(piece: ToolPiece) -> list[ChatGenerationChunk]:
    args = piece.args
    if piece.id is None and args and not args.lstrip().startswith("{"):
        return [_continued(piece)]
    pieces = _cut(piece) if piece.id is None and len(args) > _LONGEST_ARGS else (piece,)
    return [_made(tool_call_chunks=[_tool_call_chunk(piece)], response_metadata=_NAMED()) for piece in pieces]


def _continued(piece: ToolPiece) -> ChatGenerationChunk:
    """Make the chunk of further arguments.

    langchain-core tries to read each piece as JSON that was cut off, one character fewer at a time. What does not
    begin an object is always an invalid call in the end, so it need not be tried.
    """
    invalid = InvalidToolCall(name=piece.name, args=piece.args, id=None, error=None, type="invalid_tool_call")
    chunks = [_tool_call_chunk(piece)]
    return _chunk("", tool_call_chunks=chunks, invalid_tool_calls=[invalid], response_metadata=_NAMED())


def _tool_call_chunk(piece: ToolPiece) -> ToolCallChunk:
    return {"name": piece.name, "args": piece.args, "id": piece.id, "index": piece.slot, "type": "tool_call_chunk"}


def _cut(piece: ToolPiece) -> Iterator[ToolPiece]:
    """Cut long arguments that begin like an object, unless they are one.

    To find that such a piece is none, langchain-core takes time by the square of its length (up to 1.7).
    """
    if parse_arguments(piece.args) is not None:
        yield piece
        return
    for start in range(0, len(piece.args), _LONGEST_ARGS):
        yield piece._replace(args=piece.args[start : start + _LONGEST_ARGS])


_MAKERS: dict[int, Callable[[Any], list[ChatGenerationChunk]]] = {
    REASONING: lambda text: [_chunk("", additional_kwargs={"reasoning_content": text})],
    TEXT: lambda text: [text_chunk(text)],
    REFUSAL: lambda text: [_chunk(text, content=text, additional_kwargs={"refusal": text}, response_metadata=_NAMED())],
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
        self._sent: dict[int, int] = {}

    def __call__(self, event: MessagesData) -> ChatGenerationChunk | None:
        """Return the chunk, None for an event that brings nothing new."""
        fields: Any = event
        kind = fields["event"]
        chunk: ChatGenerationChunk | None
        if kind == "content-block-delta":
            chunk = self._of_delta(fields["index"], fields["delta"])
        elif kind == "message-finish":
            chunk = _of_finish(fields)
        else:
            chunk = self._of_block(kind, fields)
        if chunk is not None:
            chunk.message.id = self._id
        return chunk

    def _of_delta(self, index: int, delta: dict[str, Any]) -> ChatGenerationChunk:
        if "text" in delta:
            return text_chunk(delta["text"])
        if "reasoning" in delta:
            return _made(additional_kwargs={"reasoning_content": delta["reasoning"]})
        return self._of_call(index, delta["args"])

    def _of_block(self, kind: str, fields: dict[str, Any]) -> ChatGenerationChunk | None:
        block = fields.get("content") or {}
        if block.get("type") == "tool_call_chunk":
            return self._of_call(fields["index"], block["args"], block)
        if kind == "content-block-finish" and block["type"] == "invalid_tool_call":
            unsent = block["args"][self._sent.get(fields["index"], 0) :]
            return self._of_call(fields["index"], unsent) if unsent else None
        return None

    def _of_call(self, index: int, args: str, block: dict[str, Any] | None = None) -> ChatGenerationChunk:
        self._sent[index] = self._sent.get(index, 0) + len(args)
        named = block or {}
        call = {"type": "tool_call_chunk", "index": index, "id": named.get("id"), "name": named.get("name")}
        return _made(tool_call_chunks=[call | {"args": args}])


def _of_finish(fields: dict[str, Any]) -> ChatGenerationChunk:
    extras = {key: value for key, value in fields.get("additional_kwargs", {}).items() if key != "reasoning_content"}
    return _made(
        additional_kwargs=extras,
        response_metadata=fields["metadata"],
        usage_metadata=fields.get("usage"),
        chunk_position="last",
    )


def _made(**fields: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content="", **fields))
