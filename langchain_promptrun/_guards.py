"""What calls go through on their way to the transport: budgets, and the report of a lost prompt cache."""

from __future__ import annotations

import logging
from contextlib import aclosing, closing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from langchain_core.outputs import ChatGenerationChunk, ChatResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_core.messages.ai import UsageMetadata

    from langchain_promptrun._http.request import ParserFactory, Request

T = TypeVar("T")

logger = logging.getLogger("langchain_promptrun")


class CallTransport(Protocol):
    """Sends a request and yields what a parser makes of the response."""

    def exchange(self, request: Request, new_parser: ParserFactory[T]) -> Generator[T]:
        """Send a request."""

    def aexchange(self, request: Request, new_parser: ParserFactory[T]) -> AsyncGenerator[T]:
        """Async version of `exchange`."""


class CallGuard(Protocol):
    """Decides whether a call is sent, and learns how it ended."""

    def guard(self, transport: CallTransport, messages: Sequence[BaseMessage]) -> CallTransport:
        """Return a transport that sends a call with these messages through the guard."""


CALL_GUARDS: ContextVar[tuple[CallGuard, ...]] = ContextVar("langchain_promptrun_call_guards", default=())
"""The guards of the running context, the outermost first."""


class FinalFacts(NamedTuple):
    """What the last item of an answer says of the whole answer."""

    metadata: dict[str, Any]
    usage: UsageMetadata | None


def final_facts(item: object) -> FinalFacts | None:
    """Return the facts of the whole answer; None where more of it is to come."""
    if isinstance(item, ChatResult):
        message = cast("AIMessage", item.generations[0].message)
        return FinalFacts(message.response_metadata, message.usage_metadata)
    if isinstance(item, ChatGenerationChunk):
        chunk = cast("AIMessageChunk", item.message)
        return FinalFacts(chunk.response_metadata, chunk.usage_metadata) if chunk.chunk_position == "last" else None
    if isinstance(item, dict) and item["event"] == "message-finish":
        return FinalFacts(item["metadata"], item.get("usage"))
    return None


class CacheLossReport:
    """Sends a call whose prompt should be read from the cache, and reports where it was not."""

    def __init__(self, transport: CallTransport) -> None:
        self._transport = transport

    def exchange(self, request: Request, new_parser: ParserFactory[T]) -> Generator[T]:
        """Send a request."""
        with closing(self._transport.exchange(request, new_parser)) as items:
            for item in items:
                _report_cache_loss(item, request)
                yield item

    async def aexchange(self, request: Request, new_parser: ParserFactory[T]) -> AsyncGenerator[T]:
        """Async version of `exchange`."""
        async with aclosing(self._transport.aexchange(request, new_parser)) as items:
            async for item in items:
                _report_cache_loss(item, request)
                yield item


def _report_cache_loss(item: object, request: Request) -> None:
    facts = final_facts(item)
    if facts is None or facts.usage is None or facts.usage.get("input_token_details", {}).get("cache_read"):
        return
    facts.metadata["prompt_cache_lost"] = True
    logger.warning(
        "The prompt cache of %s was lost: the last answer was read from it, this one was not.", request.model
    )
