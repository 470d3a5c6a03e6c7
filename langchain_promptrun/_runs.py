"""What is around a call: guards such as budgets, what its run's handlers are told, the prompt that it comes from."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, aclosing, closing, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.utils.utils import LC_ID_PREFIX
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.callbacks.manager import BaseRunManager
    from langchain_core.language_models.chat_models import BaseChatModel as _Model
    from langchain_core.messages import BaseMessage

    from langchain_promptrun._http.request import Parser, ParserFactory, Request
    from langchain_promptrun._http.transport import Transport
else:
    _Model = object  # what pydantic builds for a further class takes time at import

T = TypeVar("T")
Config = RunnableConfig | None

_IGNORING = (BaseCallbackHandler.on_llm_new_token, AsyncCallbackHandler.on_llm_new_token)

PROJECT, TAG, VERSION = "promptrun_prompt_project", "promptrun_prompt_tag", "promptrun_prompt_version"
"""Names in the metadata of a run."""

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


def traced(config: Config, facts: dict[str, Any]) -> RunnableConfig:
    config = ensure_config(config)
    config["metadata"] = {**config.get("metadata", {}), **facts}
    return config


def name_ancestors(manager: BaseRunManager, facts: dict[str, Any]) -> None:
    """Add a prompt's metadata to the runs above, which began before its version was known; the first prompt counts.

    LangChain's tracers keep their unfinished runs in `run_map`, and report the metadata as it is at a run's end.
    """
    for handler in manager.handlers:
        runs = getattr(handler, "run_map", None)
        if not isinstance(runs, dict):
            continue
        run: Any = runs.get(str(manager.parent_run_id))
        while isinstance(getattr(run, "extra", None), dict):
            # replaced, not changed: the tracer's thread may be reading
            run.extra = {**run.extra, "metadata": {**facts, **(run.extra.get("metadata") or {})}}
            run = runs.get(str(run.parent_run_id))


class PromptedModel(_Model):
    """A chat model whose runs carry the metadata of the prompt that they come from."""

    @override
    def invoke(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> AIMessage:
        return super().invoke(input, _config_for(input, config), **kwargs)

    @override
    async def ainvoke(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> AIMessage:
        return await super().ainvoke(input, _config_for(input, config), **kwargs)

    @override
    def stream(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> Iterator[AIMessageChunk]:
        return super().stream(input, _config_for(input, config), **kwargs)

    @override
    def astream(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> AsyncIterator[AIMessageChunk]:
        return super().astream(input, _config_for(input, config), **kwargs)

    @override
    def _chat_model_stream_v3(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> Any:
        return super()._chat_model_stream_v3(input, _config_for(input, config), **kwargs)

    @override
    def _achat_model_stream_v3(self, input: LanguageModelInput, config: Config = None, **kwargs: Any) -> Any:
        return super()._achat_model_stream_v3(input, _config_for(input, config), **kwargs)


def _config_for(input_: LanguageModelInput, config: Config) -> Config:
    facts = getattr(input_, "promptrun_trace", None)  # of a prompt's value
    return config if facts is None else traced(config, facts)
