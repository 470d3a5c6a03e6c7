"""Tokens for callbacks: what `on_llm_new_token` is told of chunks and of protocol events."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.utils.utils import LC_ID_PREFIX

from langchain_promptrun._responses.chunks import text_chunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_protocol.protocol import MessagesData

T = TypeVar("T")

_IGNORING = (BaseCallbackHandler.on_llm_new_token, AsyncCallbackHandler.on_llm_new_token)


def message_id(run_manager: Any) -> str:
    """Return the id that langchain-core gives the message of a run."""
    return "" if run_manager is None else f"{LC_ID_PREFIX}-{run_manager.run_id}"


def wants_tokens(run_manager: Any) -> bool:
    """Return whether a handler of the run listens to tokens."""
    handlers = () if run_manager is None else run_manager.handlers
    return any(type(handler).on_llm_new_token not in _IGNORING for handler in handlers)


def report(
    items: Generator[T], run_manager: CallbackManagerForLLMRun, chunk_of: Callable[[T], ChatGenerationChunk | None]
) -> Generator[T]:
    """Tell the handlers of a run of each chunk before its item is handed on."""
    with closing(items):
        for item in items:
            if (chunk := chunk_of(item)) is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield item


async def areport(
    items: AsyncGenerator[T],
    run_manager: AsyncCallbackManagerForLLMRun,
    chunk_of: Callable[[T], ChatGenerationChunk | None],
) -> AsyncGenerator[T]:
    """Async version of `report`."""
    async with aclosing(items):
        async for item in items:
            if (chunk := chunk_of(item)) is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield item


class NamedChunks:
    """Gives chunks the id of their run, by which LangGraph knows that they are one message."""

    def __init__(self, run_manager: Any) -> None:
        self._id = message_id(run_manager)

    def __call__(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """Return the chunk."""
        chunk.message.id = self._id
        return chunk


class EventChunks:
    """Makes the chunk of a protocol event, as langchain-core's bridge gets it from other integrations."""

    def __init__(self, run_manager: Any) -> None:
        self._id = message_id(run_manager)
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
            return _chunk(additional_kwargs={"reasoning_content": delta["reasoning"]})
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
        return _chunk(tool_call_chunks=[call | {"args": args}])


def _of_finish(fields: dict[str, Any]) -> ChatGenerationChunk:
    extras = {key: value for key, value in fields.get("additional_kwargs", {}).items() if key != "reasoning_content"}
    return _chunk(
        additional_kwargs=extras,
        response_metadata=fields["metadata"],
        usage_metadata=fields.get("usage"),
        chunk_position="last",
    )


def _chunk(**fields: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content="", **fields))
