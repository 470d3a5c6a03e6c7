"""Answers of the wire -> LangChain's results and chunks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_promptrun._responses.choice import LOGPROBS, REASONING, TEXT, TOOL, Choice, Part
from langchain_promptrun._responses.chunks import chunks_of, text_chunk
from langchain_promptrun._responses.parser import MOST_CHOICES, Reader
from langchain_promptrun._responses.patterns import Pattern
from langchain_promptrun._wire.size_limit import Room

if TYPE_CHECKING:
    from collections.abc import Iterable

_MESSAGE = Pattern(
    AIMessage(""),
    *("additional_kwargs", "response_metadata", "tool_calls", "invalid_tool_calls", "usage_metadata"),
)
_GENERATION = Pattern(ChatGeneration(message=AIMessage("")), "generation_info")
_RESULT = Pattern(ChatResult(generations=[]), "llm_output")

NOT_AN_OBJECT = "The arguments are not a JSON object."


class ChunkReader(Reader[ChatGenerationChunk]):
    """Reads an answer as chunks that langchain-core can sum.

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
                items += chunks_of(kind, payload)

    def _emit_text(self, text: str, items: list[ChatGenerationChunk]) -> None:
        items.append(text_chunk(text))

    def _emit_ending(self, items: list[ChatGenerationChunk]) -> None:
        choice = self._choices[0]
        ending = choice.end(self._envelope)
        self._emit([*ending.parts, *((TOOL, piece) for piece in choice.tool_calls.guards())], items, 0)
        message = AIMessageChunk(
            content="",
            additional_kwargs=ending.additional_kwargs,
            response_metadata=ending.response_metadata,
            usage_metadata=ending.usage_metadata,
            chunk_position="last",
        )
        items.append(ChatGenerationChunk(message=message, generation_info=_generation_info(ending.response_metadata)))


class ResultReader(Reader[ChatResult]):
    """Reads an answer as one result, a generation for each choice.

    A stream that answers is collected, so all of it together may be as large as one document.
    """

    def __init__(self, *args: Any, max_event_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, max_event_bytes=max_event_bytes, **kwargs)
        self._parts: dict[int, list[Part]] = {}
        self._collected = Room(max_event_bytes)

    def _take_event(self, name: bytes, payload: bytes, items: list[ChatResult], *, at_end: bool = False) -> None:
        self._collected.take(len(payload))
        super()._take_event(name, payload, items, at_end=at_end)

    def _choice_index(self, choice: dict[str, Any], position: int) -> int:
        index = choice.get("index")
        return index if isinstance(index, int) and 0 <= index < MOST_CHOICES else position

    def _emit(self, parts: list[Part], items: list[ChatResult], index: int) -> None:
        del items
        self._parts.setdefault(index, []).extend(parts)

    def _emit_text(self, text: str, items: list[ChatResult]) -> None:
        del items
        self._parts.setdefault(0, []).append((TEXT, text))

    def _emit_ending(self, items: list[ChatResult]) -> None:
        generations = []
        for position, (index, choice) in enumerate(sorted(self._choices.items())):
            message = self._message(choice, self._parts.get(index, []), first=position == 0)
            info = _generation_info(message.response_metadata)
            generations.append(_GENERATION.restore(message=message, text=message.content, generation_info=info))
        metadata = generations[0].message.response_metadata
        output = {key: value for key, value in metadata.items() if key in _OUTPUT_KEYS}
        items.append(_RESULT.restore(generations=generations, llm_output=output))

    def _message(self, choice: Choice, parts: list[Part], *, first: bool) -> AIMessage:
        ending = choice.end(self._envelope, with_usage=first)
        parts = [*parts, *ending.parts]
        metadata = ending.response_metadata
        extras: dict[str, Any] = {}
        if reasoning := "".join(_of_kind(parts, REASONING)):
            extras["reasoning_content"] = reasoning
        if logprobs := joined_logprobs(_of_kind(parts, LOGPROBS)):
            metadata["logprobs"] = logprobs
        calls, invalid_calls = _sorted_calls(choice)
        return _MESSAGE.restore(
            content="".join(_of_kind(parts, TEXT)),
            additional_kwargs=extras | ending.additional_kwargs,
            response_metadata=metadata,
            tool_calls=calls,
            invalid_tool_calls=invalid_calls,
            usage_metadata=ending.usage_metadata,
        )


def _sorted_calls(choice: Choice) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Sort the calls of a whole message into those that can be executed and those that cannot."""
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in choice.tool_calls.whole():
        if call.args is None:
            invalid.append(
                InvalidToolCall(
                    type="invalid_tool_call", id=call.id, name=call.name, args=call.text, error=NOT_AN_OBJECT
                )
            )
        else:
            calls.append(ToolCall(type="tool_call", id=call.id, name=call.name, args=call.args))
    return calls, invalid


def _of_kind(parts: Iterable[Part], kind: int) -> list[Any]:
    return [payload for part_kind, payload in parts if part_kind == kind]


def joined_logprobs(pieces: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put the log probabilities of the pieces of an answer together, as summing chunks does."""
    joined: dict[str, list[Any]] = {}
    for piece in pieces:
        for key, entries in piece.items():
            joined.setdefault(key, []).extend(entries or ())
    return {key: entries or None for key, entries in joined.items()}


def _generation_info(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: metadata[key] for key in ("finish_reason", "logprobs") if key in metadata}


_OUTPUT_KEYS = frozenset({"model_name", "model_provider", "token_usage"})
