"""Tell callbacks of tokens (`on_llm_new_token`)."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.utils.utils import LC_ID_PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.outputs import ChatGenerationChunk

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
