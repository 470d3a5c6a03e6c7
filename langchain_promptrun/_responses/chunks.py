"""Parts of an answer -> langchain-core's chunks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_promptrun._responses.arguments import parse_arguments
from langchain_promptrun._responses.choice import LOGPROBS, PROVIDER, REASONING, TEXT, TOOL
from langchain_promptrun._responses.patterns import Pattern
from langchain_promptrun._responses.tool_calls import ToolPiece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import InvalidToolCall, ToolCallChunk

_LONGEST_ARGS = 1024


_MESSAGE = Pattern(AIMessageChunk(content=""))
_GENERATION = Pattern(ChatGenerationChunk(message=AIMessageChunk(content="")))


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
    return _GENERATION.restore(message=_MESSAGE.restore(**fields), text=text)


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
