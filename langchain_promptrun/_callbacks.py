"""Tell callbacks of tokens (`on_llm_new_token`)."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.utils.utils import LC_ID_PREFIX

from langchain_promptrun._guards import final_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.outputs import ChatGenerationChunk

    from langchain_promptrun._guards import CallTransport
    from langchain_promptrun._http.request import Parser, ParserFactory, Request

T = TypeVar("T")

_IGNORING = (BaseCallbackHandler.on_llm_new_token, AsyncCallbackHandler.on_llm_new_token)


def message_id(run_manager: Any) -> str:
    return "" if run_manager is None else f"{LC_ID_PREFIX}-{run_manager.run_id}"


def wants_tokens(run_manager: Any) -> bool:
    handlers = () if run_manager is None else run_manager.handlers
    return any(type(handler).on_llm_new_token not in _IGNORING for handler in handlers)


def report(
    items: Generator[T], run_manager: CallbackManagerForLLMRun, chunk_of: Callable[[T], ChatGenerationChunk | None]
) -> Generator[T]:
    """Tell the handlers of a run of each chunk before its item, unless it is None, is handed on."""
    with closing(items):
        for item in items:
            if (chunk := chunk_of(item)) is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            if item is not None:
                yield item


async def areport(
    items: AsyncGenerator[T],
    run_manager: AsyncCallbackManagerForLLMRun,
    chunk_of: Callable[[T], ChatGenerationChunk | None],
) -> AsyncGenerator[T]:
    async with aclosing(items):
        async for item in items:
            if (chunk := chunk_of(item)) is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            if item is not None:
                yield item


def exchange_and_report_leaving(
    transport: CallTransport, request: Request, new_parser: ParserFactory[T], run_manager: CallbackManagerForLLMRun
) -> Generator[T]:
    """Send a request, and tell the handlers of its run where the reader leaves it; langchain-core does not for v3."""
    parsers: list[Parser[T]] = []

    def begin_answer(status: int, headers: Mapping[str, str]) -> Parser[T]:
        parsers.append(new_parser(status, headers))
        return parsers[-1]

    item = None
    with closing(transport.exchange(request, begin_answer)) as items:
        try:
            for item in items:
                yield item
        except GeneratorExit as left:
            if final_message(item) is None:
                come = ChatGeneration(message=AIMessage(parsers[-1].partial))
                run_manager.on_llm_error(left, response=LLMResult(generations=[[come]]))
            raise


class NamedChunks:
    """Gives chunks the id of their run, by which LangGraph knows that they are one message."""

    def __init__(self, run_manager: Any) -> None:
        self._id = message_id(run_manager)

    def __call__(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        chunk.message.id = self._id
        return chunk
