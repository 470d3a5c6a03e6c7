"""LangChain's retrying and configurable wrappers around a model, on which tools can be bound."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable
from langchain_core.runnables.configurable import RunnableConfigurableAlternatives, RunnableConfigurableFields
from langchain_core.runnables.retry import RunnableRetry
from pydantic import ConfigDict
from typing_extensions import override

from langchain_promptrun._config.bindings import ModelBinding, ModelRunnable, Wrapper, model_in
from langchain_promptrun._config.call_options import bindable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.language_models.base import LanguageModelInput
    from langchain_core.messages import AIMessage

    _Retry = RunnableRetry[LanguageModelInput, AIMessage]
    _Fields = RunnableConfigurableFields[LanguageModelInput, AIMessage]
    _Alternatives = RunnableConfigurableAlternatives[LanguageModelInput, AIMessage]
else:  # with type arguments pydantic would check the class of the model
    _Retry, _Fields, _Alternatives = RunnableRetry, RunnableConfigurableFields, RunnableConfigurableAlternatives


class RetryingModel(Wrapper, ModelRunnable, _Retry):
    """A model that is called again after errors."""

    model_config = ConfigDict(extra="forbid")


class ConfigurableModel(Wrapper, ModelRunnable, _Fields):
    """A model with fields that the config of a call may set."""


class AlternativeModels(Wrapper, _Alternatives):
    """Models among which the config of a call chooses; tools and schemas are bound to each in its own way."""

    @override
    def bind(self, **kwargs: Any) -> ModelBinding:
        return ModelBinding(bound=self, kwargs=bindable(type(model_in(self)), kwargs))

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> AlternativeModels:
        """Bind tools to each of the models."""
        return self._with_each("bind_tools", tools, **kwargs)

    def with_structured_output(self, schema: Any = None, **kwargs: Any) -> AlternativeModels:
        """Have each of the models answer with an object."""
        return self._with_each("with_structured_output", schema, **kwargs)

    def _with_each(self, method: str, *args: Any, **kwargs: Any) -> AlternativeModels:
        def apply(alternative: Any) -> Any:
            return getattr(alternative, method)(*args, **kwargs)

        alternatives = {
            key: apply(value) if isinstance(value, Runnable) else partial(_apply_later, value, apply)
            for key, value in self.alternatives.items()
        }
        return type(self)(**{**vars(self), "default": apply(self.default), "alternatives": alternatives})


_KINDS: dict[type, type] = {
    RunnableRetry: RetryingModel,
    RunnableConfigurableFields: ConfigurableModel,
    RunnableConfigurableAlternatives: AlternativeModels,
}


def wrapped(runnable: Any) -> Any:
    """Return a wrapper of LangChain's as one of these; anything else as it is."""
    kind = _KINDS.get(type(runnable))
    return runnable if kind is None else kind(**vars(runnable))


def _apply_later(make: Any, apply: Any) -> Any:
    return apply(make())
