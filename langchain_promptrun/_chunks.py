"""Parts of an answer -> langchain-core's chunks, restored from patterns instead of validated one by one. Pure.

Most of what a chunk costs is pydantic's validation of fields that this package has just made. So each kind of chunk
is validated once, as a pattern, and every further one is restored from the pattern's state, as unpickling does it
(`__getstate__`, `__setstate__`). A restored chunk equals the one that its constructor makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_promptrun._answer import LOGPROBS, PROVIDER, REASONING, TEXT, TOOL
from langchain_promptrun._tool_calls import ToolPiece, parse_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import InvalidToolCall, ToolCallChunk
    from pydantic import BaseModel

_LONGEST_ARGS = 1024
_new = object.__new__


class _Pattern:
    """What all chunks of a kind have in common.

    Args:
        model: One of them.
    """

    __slots__ = ("_containers", "_extra", "_fields", "_fields_set", "_private")

    def __init__(self, model: BaseModel) -> None:
        state = model.__getstate__()
        self._fields: dict[str, Any] = state["__dict__"]
        self._containers = [(name, type(value)) for name, value in self._fields.items() if type(value) in {dict, list}]
        self._extra: dict[str, Any] | None = state["__pydantic_extra__"]
        self._private: dict[str, Any] | None = state["__pydantic_private__"]
        self._fields_set: set[str] = state["__pydantic_fields_set__"]

    def state(self, **fields: Any) -> dict[str, Any]:
        """The state of a model with these fields; it shares nothing that can be changed with any other."""
        values = self._fields.copy()
        for name, container in self._containers:
            values[name] = container()
        values.update(fields)
        return {
            "__dict__": values,
            "__pydantic_extra__": None if self._extra is None else self._extra.copy(),
            "__pydantic_private__": None if self._private is None else self._private.copy(),
            "__pydantic_fields_set__": self._fields_set.copy(),
        }


_MESSAGE = _Pattern(AIMessageChunk(content=""))
_GENERATION = _Pattern(ChatGenerationChunk(message=AIMessageChunk(content="")))


def text_chunk(text: str) -> ChatGenerationChunk:
    """Make a chunk of text."""
    return _chunk(text, content=text)


def chunks_of(kind: int, payload: Any) -> list[ChatGenerationChunk]:
    """Make the chunks of a part: one of each but a long piece of a tool call's arguments.

    Args:
        kind: The part's kind.
        payload: What it brings.

    Returns:
        Its chunks, in order.
    """
    return _MAKERS[kind](payload)


def _chunk(text: str, **fields: Any) -> ChatGenerationChunk:
    message = _new(AIMessageChunk)
    message.__setstate__(_MESSAGE.state(**fields))
    generation = _new(ChatGenerationChunk)
    generation.__setstate__(_GENERATION.state(message=message, text=text))
    return generation


def _text_chunks(text: str) -> list[ChatGenerationChunk]:
    return [text_chunk(text)]


def _reasoning_chunks(text: str) -> list[ChatGenerationChunk]:
    return [_chunk("", additional_kwargs={"reasoning_content": text})]


def _logprobs_chunks(logprobs: dict[str, Any]) -> list[ChatGenerationChunk]:
    return [_chunk("", response_metadata={"logprobs": logprobs})]


def _tool_chunks(piece: ToolPiece) -> list[ChatGenerationChunk]:
    args = piece.args
    if piece.id is None and args and not args.lstrip().startswith("{"):
        return [_continued(piece)]
    pieces = _cut(piece) if piece.id is None and len(args) > _LONGEST_ARGS else (piece,)
    return [
        ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                tool_call_chunks=[_tool_call_chunk(piece)],
                response_metadata={"model_provider": PROVIDER},
            )
        )
        for piece in pieces
    ]


def _continued(piece: ToolPiece) -> ChatGenerationChunk:
    """Make the chunk of further arguments.

    langchain-core tries to read each piece as JSON that was cut off, one character fewer at a time. What does not
    begin an object is always an invalid call in the end, so it need not be tried.
    """
    invalid: InvalidToolCall = {
        "name": piece.name,
        "args": piece.args,
        "id": None,
        "error": None,
        "type": "invalid_tool_call",
    }
    return _chunk(
        "",
        tool_call_chunks=[_tool_call_chunk(piece)],
        invalid_tool_calls=[invalid],
        # With the provider's name core asks this package's translator for content blocks, which keeps the index of a
        # call apart from that of a text.
        response_metadata={"model_provider": PROVIDER},
    )


def _tool_call_chunk(piece: ToolPiece) -> ToolCallChunk:
    return {"name": piece.name, "args": piece.args, "id": piece.id, "index": piece.slot, "type": "tool_call_chunk"}


def _cut(piece: ToolPiece) -> Iterator[ToolPiece]:
    """Cut long arguments that begin like an object, unless they are one.

    To find that such a piece is none, langchain-core takes time by the square of its length.
    """
    if parse_arguments(piece.args) is not None:
        yield piece
        return
    for start in range(0, len(piece.args), _LONGEST_ARGS):
        yield piece._replace(args=piece.args[start : start + _LONGEST_ARGS])


_MAKERS: dict[int, Callable[[Any], list[ChatGenerationChunk]]] = {
    REASONING: _reasoning_chunks,
    TEXT: _text_chunks,
    TOOL: _tool_chunks,
    LOGPROBS: _logprobs_chunks,
}
