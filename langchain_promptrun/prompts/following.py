"""A Runnable that follows the model which a managed prompt names. What the model is, is `_prompt_model`'s matter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig
from typing_extensions import override

from langchain_promptrun.chat_models import ChatPromptrun
from langchain_promptrun.prompts.model import model_of
from langchain_promptrun.prompts.value import ORIGIN

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from langchain_promptrun.prompts.current import CurrentPrompt
    from langchain_promptrun.prompts.record import PromptRecord
    from langchain_promptrun.prompts.value import Origin


class FollowingModel(Runnable[LanguageModelInput, AIMessage]):
    """Asks, at each call, the model that the prompt names then.

    For messages that the prompt made it is the model of the version that they were made of.

    Args:
        prompt: The prompt.
        overrides: Fields of the model that win over the prompt's.
    """

    def __init__(self, prompt: CurrentPrompt, overrides: Mapping[str, Any]) -> None:
        self.name = "PromptrunModel"
        self._prompt = prompt
        self._overrides = dict(overrides)

    def _model(self, record: PromptRecord) -> ChatPromptrun:
        return model_of(ChatPromptrun, self._prompt, record, self._overrides)

    def _record_of(self, input_: LanguageModelInput) -> PromptRecord | None:
        origin: Origin | None = getattr(input_, ORIGIN, None)
        return origin.record if origin is not None and origin.address == self._prompt.address else None

    def _current(self, input_: LanguageModelInput) -> ChatPromptrun:
        return self._model(self._record_of(input_) or self._prompt.pull())

    async def _acurrent(self, input_: LanguageModelInput) -> ChatPromptrun:
        return self._model(self._record_of(input_) or await self._prompt.apull())

    @override
    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        return self._current(input).invoke(input, config, **kwargs)

    @override
    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        model = await self._acurrent(input)
        return await model.ainvoke(input, config, **kwargs)

    @override
    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessage]:
        yield from self._current(input).stream(input, config, **kwargs)

    @override
    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessage]:
        model = await self._acurrent(input)
        answer = cast("AsyncGenerator[AIMessage]", model.astream(input, config, **kwargs))
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                yield chunk
