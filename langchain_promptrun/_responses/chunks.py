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

from langchain_promptrun._responses.choice import LOGPROBS, PROVIDER, REASONING, REFUSAL, TEXT, TOOL, Part
from langchain_promptrun._responses.parser import ResponseParser
from langchain_promptrun._responses.partial_call import parse_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import ToolCallChunk
    from langchain_protocol.protocol import MessagesData

    from langchain_promptrun._responses.tool_calls import ToolPiece

T = TypeVar("T", bound=BaseModel)

_new, _set = object.__new__, object.__setattr__
_LONGEST_ARGS = 1024
# With the provider's name core asks this package's translator for content blocks.
_NAMED = {"model_provider": PROVIDER}.copy


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


def text_chunk(text: str, message_id: str | None = None) -> ChatGenerationChunk:
    """Make a chunk of text."""
    return _GENERATION.restore(message=_MESSAGE.restore(content=text, id=message_id), text=text)


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
        self._sent: Counter[int] = Counter()

    def __call__(self, event: MessagesData) -> ChatGenerationChunk | None:
        """Return the chunk, None for an event that brings nothing new."""
        fields: Any = event
        delta = fields.get("delta", {})
        if "text" in delta:
            return text_chunk(delta["text"], self._id)
        if "reasoning" in delta:
            return _chunk("", id=self._id, additional_kwargs={"reasoning_content": delta["reasoning"]})
        if fields["event"] == "message-finish":
            return self._of_finish(fields)
        return self._of_call(fields.get("index", 0), delta or fields.get("content") or {})

    def _of_call(self, index: int, block: dict[str, Any]) -> ChatGenerationChunk | None:
        kind = block.get("type")
        if kind not in {"tool-call-delta", "tool_call_chunk", "invalid_tool_call"}:
            return None
        is_end = kind == "invalid_tool_call"
        args = block["args"][self._sent[index] if is_end else 0 :]
        if is_end and not args:
            return None
        self._sent[index] += len(args)
        named = block if kind == "tool_call_chunk" else {}
        call = {"type": "tool_call_chunk", "index": index, "id": named.get("id"), "name": named.get("name")}
        return _made(id=self._id, tool_call_chunks=[call | {"args": args}])

    def _of_finish(self, fields: dict[str, Any]) -> ChatGenerationChunk:
        extras = fields.get("additional_kwargs", {})
        return _made(
            id=self._id,
            additional_kwargs={key: value for key, value in extras.items() if key != "reasoning_content"},
            response_metadata=fields["metadata"],
            usage_metadata=fields.get("usage"),
            chunk_position="last",
        )


def _made(**fields: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content="", **fields))
