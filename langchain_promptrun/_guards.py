"""What calls go through on their way to the transport and back: budgets, a lost prompt cache, callbacks of tokens."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, aclosing, closing, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.utils.utils import LC_ID_PREFIX
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.messages import AIMessageChunk, BaseMessage

    from langchain_promptrun._http.request import Parser, ParserFactory, Request
    from langchain_promptrun._http.transport import Transport

T = TypeVar("T")

_IGNORING = (BaseCallbackHandler.on_llm_new_token, AsyncCallbackHandler.on_llm_new_token)

logger = logging.getLogger("langchain_promptrun")

CallTransport: TypeAlias = "Transport | ObservedCall"
"""What sends a request and yields what a parser makes of the response."""

CallGuard: TypeAlias = "Callable[[CallTransport, Sequence[BaseMessage]], CallTransport]"
"""Returns a transport that sends a call with these messages if the guard allows it."""

CALL_GUARDS: ContextVar[tuple[CallGuard, ...]] = ContextVar("langchain_promptrun_call_guards", default=())
"""The guards of the running context, the outermost first."""


class ObservedCall:
    """Sends a call over a transport; subclasses see it begin, go on and end."""

    def __init__(self, transport: CallTransport) -> None:
        self._transport = transport
        self._parser: Any = None
        """The parser of the answer that came last."""

    def around(self, request: Request) -> AbstractContextManager[None]:
        """Return what is entered before the request is sent, and left after the last item."""
        del request
        return nullcontext()

    def note(self, item: object, request: Request) -> None:
        """See an item before the caller does, who may never ask for what comes after."""

    def exchange(self, request: Request, new_parser: ParserFactory[T]) -> Generator[T]:
        with (
            self.around(request),
            closing(self._transport.exchange(request, partial(self._begin, new_parser))) as items,
        ):
            for item in items:
                self.note(item, request)
                yield item

    async def aexchange(self, request: Request, new_parser: ParserFactory[T]) -> AsyncGenerator[T]:
        with self.around(request):
            async with aclosing(self._transport.aexchange(request, partial(self._begin, new_parser))) as items:
                async for item in items:
                    self.note(item, request)
                    yield item

    def _begin(self, new_parser: ParserFactory[T], status: int, headers: Mapping[str, str]) -> Parser[T]:
        parser = self._parser = new_parser(status, headers)
        return parser


class CacheLossReport(ObservedCall):
    """A call whose prompt should be read from the vendor's cache; it reports where it was not."""

    @override
    def note(self, item: object, request: Request) -> None:
        if (message := final_message(item)) is None or (usage := message.usage_metadata) is None:
            return
        if usage.get("input_token_details", {}).get("cache_read"):
            return
        message.response_metadata["prompt_cache_lost"] = True
        logger.warning(
            "The prompt cache of %s was lost: the last answer was read from it, this one was not.", request.model
        )


class LeavingReport(ObservedCall):
    """A call that tells the handlers of its run where its reader leaves it; langchain-core does not for v3."""

    def __init__(self, transport: CallTransport, run_manager: CallbackManagerForLLMRun) -> None:
        super().__init__(transport)
        self._run_manager = run_manager
        self._last: object = None

    @override
    @contextmanager
    def around(self, request: Request) -> Iterator[None]:
        try:
            yield
        except GeneratorExit as left:
            if final_message(self._last) is None:
                come = ChatGeneration(message=AIMessage(self._parser.partial))
                self._run_manager.on_llm_error(left, response=LLMResult(generations=[[come]]))
            raise

    @override
    def note(self, item: object, request: Request) -> None:
        self._last = item


def final_message(item: object) -> AIMessage | None:
    """Return the message with the facts of the whole answer; None where more of the answer is to come."""
    if isinstance(item, ChatResult):
        return cast("AIMessage", item.generations[0].message)
    if isinstance(item, ChatGenerationChunk):
        chunk = cast("AIMessageChunk", item.message)
        return chunk if chunk.chunk_position == "last" else None
    if isinstance(item, dict) and item["event"] == "message-finish":
        # the message shares the event's metadata
        facts = {"response_metadata": item["metadata"], "usage_metadata": item.get("usage")}
        return AIMessage.model_construct(None, content="", **facts)
    return None


def message_id(run_manager: Any) -> str:
    """Return the id that langchain-core gives the message of a run."""
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


def named(ident: str, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
    """Give a chunk the id of its run, by which LangGraph knows that the chunks are one message."""
    chunk.message.id = ident
    return chunk
