"""Make langchain-core's chunks of the parts of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_promptrun._responses.arguments import parse_arguments
from langchain_promptrun._responses.choice import LOGPROBS, PROVIDER, REASONING, REFUSAL, TEXT, TOOL, Part
from langchain_promptrun._responses.parser import ResponseParser
from langchain_promptrun._responses.results import Template, generation_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import InvalidToolCall, ToolCallChunk

    from langchain_promptrun._responses.partial_call import ToolPiece

_LONGEST_ARGS = 1024

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


def _text_chunks(text: str) -> list[ChatGenerationChunk]:
    return [text_chunk(text)]


def _refusal_chunks(text: str) -> list[ChatGenerationChunk]:
    # With the provider's name core asks this package's translator for the content blocks.
    metadata = {"model_provider": PROVIDER}
    return [_chunk(text, content=text, additional_kwargs={"refusal": text}, response_metadata=metadata)]


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

    To find that such a piece is none, langchain-core takes time by the square of its length (up to 1.7).
    """
    if parse_arguments(piece.args) is not None:
        yield piece
        return
    for start in range(0, len(piece.args), _LONGEST_ARGS):
        yield piece._replace(args=piece.args[start : start + _LONGEST_ARGS])


_MAKERS: dict[int, Callable[[Any], list[ChatGenerationChunk]]] = {
    REASONING: _reasoning_chunks,
    TEXT: _text_chunks,
    REFUSAL: _refusal_chunks,
    TOOL: _tool_chunks,
    LOGPROBS: _logprobs_chunks,
}
