"""Make whole results of the parts of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_promptrun._responses.body import SizeLimit
from langchain_promptrun._responses.choice import LOGPROBS, REASONING, REFUSAL, TEXT, Choice, Part
from langchain_promptrun._responses.parser import MOST_CHOICES, ResponseParser

if TYPE_CHECKING:
    from collections.abc import Iterable

_OUTPUT_KEYS = frozenset({"model_name", "model_provider", "token_usage"})


class ResultParser(ResponseParser[ChatResult]):
    """Parses an answer into one result, with a generation for each choice.

    A stream that answers is collected, so all of it together may be as large as one document.
    """

    def __init__(self, *args: Any, max_event_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, max_event_bytes=max_event_bytes, **kwargs)
        self._parts: dict[int, list[Part]] = {}
        self._collected = SizeLimit(max_event_bytes)

    def _take_event(self, name: bytes, payload: bytes, items: list[ChatResult], *, at_end: bool = False) -> None:
        self._collected.add(len(payload))
        super()._take_event(name, payload, items, at_end=at_end)

    def _choice_index(self, position: int, index: object, *, is_further: bool) -> int | None:
        if self._n == 1:
            return position if is_further else 0
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
            info = generation_info(message.response_metadata)
            generations.append(ChatGeneration(message=message, generation_info=info))
        metadata = generations[0].message.response_metadata
        output = {key: value for key, value in metadata.items() if key in _OUTPUT_KEYS}
        items.append(ChatResult(generations=generations, llm_output=output))

    def _message(self, choice: Choice, parts: list[Part], *, first: bool) -> AIMessage:
        final = choice.end(with_usage=first)
        parts = [*parts, *final.parts]
        metadata = final.response_metadata
        extras: dict[str, Any] = {}
        if reasoning := "".join(_of_kinds(parts, REASONING)):
            extras["reasoning_content"] = reasoning
        if logprobs := joined_logprobs(_of_kinds(parts, LOGPROBS)):
            metadata["logprobs"] = logprobs
        calls, invalid_calls = _sorted_calls(choice)
        return AIMessage(
            content="".join(_of_kinds(parts, TEXT, REFUSAL)),
            name=final.name,
            additional_kwargs=extras | final.additional_kwargs,
            response_metadata=metadata,
            tool_calls=calls,
            invalid_tool_calls=invalid_calls,
            usage_metadata=final.usage_metadata,
        )


def _sorted_calls(choice: Choice) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Sort the calls of a whole message into those that can be executed and those that cannot."""
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in choice.tool_calls.whole():
        if call.args is None:
            # Summed chunks cannot have an error, so no style has one; `tool_call_errors` tells it.
            entry = InvalidToolCall(type="invalid_tool_call", id=call.id, name=call.name, args=call.text, error=None)
            invalid.append(entry)
        else:
            calls.append(ToolCall(type="tool_call", id=call.id, name=call.name or "", args=call.args))
    return calls, invalid


def _of_kinds(parts: Iterable[Part], *kinds: int) -> list[Any]:
    return [payload for kind, payload in parts if kind in kinds]


def joined_logprobs(pieces: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Join the log probabilities of the pieces of an answer, as summing chunks does."""
    joined: dict[str, list[Any]] = {}
    for piece in pieces:
        for key, entries in piece.items():
            joined.setdefault(key, []).extend(entries or ())
    return {key: entries or None for key, entries in joined.items()}


def generation_info(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what LangChain repeats beside a message."""
    return {key: metadata[key] for key in ("finish_reason", "logprobs") if key in metadata}
