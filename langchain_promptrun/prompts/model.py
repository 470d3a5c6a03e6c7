"""The chat model that a managed prompt names, and messages that remember their version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import Runnable
from pydantic import Field
from typing_extensions import override

from langchain_promptrun._config.fields import ConnectionFields
from langchain_promptrun.chat_models import ChatPromptrun

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from langchain_promptrun.prompts.record import PromptRecord

M = TypeVar("M", bound=ChatPromptrun)


class ManagedPromptValue(ChatPromptValue):
    """Messages of a managed prompt, with metadata for traces. In all else a `ChatPromptValue`."""

    promptrun_trace: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    promptrun_origin: Any = Field(default=None, exclude=True, repr=False)  # the prompt's address, and the record

    def __getstate__(self) -> dict[Any, Any]:
        """Leave the origin out of a pickle, which is to hold public names only."""
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "promptrun_origin": None}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChatPromptValue) and list(self.messages) == list(other.messages)

    def __hash__(self) -> int:
        raise TypeError(f"unhashable type: {type(self).__name__!r}")

    @classmethod
    @override
    def lc_id(cls) -> list[str]:
        return ChatPromptValue.lc_id()


# checkpoints and pickles hold the name, so it is the public one
ManagedPromptValue.__module__ = "langchain_promptrun.prompts"


class FollowingModel(Runnable[LanguageModelInput, AIMessage]):
    """Calls the model that the prompt names at the time of each call.

    For messages that the prompt made it is the model of the version that they were made of.
    """

    def __init__(self, prompt: Any, overrides: Mapping[str, Any]) -> None:
        self.name = "PromptrunModel"
        self._prompt = prompt
        self._overrides = dict(overrides)

    def _model(self, record: PromptRecord) -> ChatPromptrun:
        return make_model(ChatPromptrun, self._prompt, record, self._overrides)

    def _known(self, messages: LanguageModelInput) -> PromptRecord | None:
        address, record = getattr(messages, "promptrun_origin", None) or (None, None)
        return record if address == self._prompt.address else None

    @override
    def invoke(self, input: LanguageModelInput, *args: Any, **kwargs: Any) -> AIMessage:
        return self._model(self._known(input) or self._prompt.pull()).invoke(input, *args, **kwargs)

    @override
    async def ainvoke(self, input: LanguageModelInput, *args: Any, **kwargs: Any) -> AIMessage:
        return await self._model(self._known(input) or await self._prompt.apull()).ainvoke(input, *args, **kwargs)

    @override
    def stream(self, input: LanguageModelInput, *args: Any, **kwargs: Any) -> Iterator[AIMessage]:
        yield from self._model(self._known(input) or self._prompt.pull()).stream(input, *args, **kwargs)

    @override
    async def astream(self, input: LanguageModelInput, *args: Any, **kwargs: Any) -> AsyncIterator[AIMessage]:
        model = self._model(self._known(input) or await self._prompt.apull())
        answer = cast("AsyncGenerator[AIMessage]", model.astream(input, *args, **kwargs))
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                yield chunk


def make_model(kind: type[M], prompt: Any, record: PromptRecord, overrides: Mapping[str, Any]) -> M:
    """Return the model that a record names, reached as the prompt is; overrides win over both."""
    connection = ConnectionFields.model_fields.keys() & prompt.model_fields_set
    fields: dict[str, Any] = {name: getattr(prompt, name) for name in connection}
    if record.temperature is not None:
        fields["temperature"] = record.temperature
    if not {"model", "model_name"} & overrides.keys():
        if record.model is None or not record.model.model:
            raise ValueError(
                f"{prompt.label} names no model in version {record.version}: choose one in Promptrun's dashboard, or "
                "pass `model`."
            )
        fields["model"] = record.model.model
    return kind(**fields | dict(overrides))
