"""LangChain's wrappers around models, on which keywords, tools and schemas can be bound."""

from __future__ import annotations

from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable, RunnableParallel, RunnableSequence
from langchain_core.runnables.configurable import RunnableConfigurableAlternatives, RunnableConfigurableFields
from langchain_core.runnables.fallbacks import RunnableWithFallbacks
from langchain_core.runnables.retry import RunnableRetry
from pydantic import ConfigDict
from typing_extensions import override

from langchain_promptrun._config.bindings import ModelRunnable, Models, Wrappable, Wrapper

if TYPE_CHECKING:
    from langchain_core.language_models.base import LanguageModelInput
    from langchain_core.messages import AIMessage

    _Retry = RunnableRetry[LanguageModelInput, AIMessage]
    _Fields = RunnableConfigurableFields[LanguageModelInput, AIMessage]
    _Alternatives = RunnableConfigurableAlternatives[LanguageModelInput, AIMessage]
    _Fallbacks = RunnableWithFallbacks[LanguageModelInput, AIMessage]
    _Sequence = RunnableSequence[LanguageModelInput, Any]
else:  # with type arguments pydantic would check the class of the model
    _Retry, _Fields, _Alternatives = RunnableRetry, RunnableConfigurableFields, RunnableConfigurableAlternatives
    _Fallbacks, _Sequence = RunnableWithFallbacks, RunnableSequence


class RetryingModel(Wrapper, ModelRunnable, _Retry):
    """A model that is called again after errors."""

    model_config = ConfigDict(extra="forbid")


class ConfigurableModel(Wrapper, ModelRunnable, _Fields):
    """A model with fields that the config of a call may set."""


class AlternativeModels(Wrapper, Models, _Alternatives):
    """Models among which the config of a call chooses."""

    @override
    def _with_each(self, method: str, /, *args: Any, **kwargs: Any) -> AlternativeModels:
        apply = methodcaller(method, *args, **kwargs)
        alternatives = {
            key: apply(value) if isinstance(value, Runnable) else partial(_apply_later, value, apply)
            for key, value in self.alternatives.items()
        }
        return type(self)(**{**vars(self), "default": apply(self.default), "alternatives": alternatives})


class ModelsInTurn(Wrapper, Models, _Fallbacks):
    """Models of which each is called after an error of the one before."""

    @override
    def _with_each(self, method: str, /, *args: Any, **kwargs: Any) -> ModelsInTurn:
        first, *others = map(methodcaller(method, *args, **kwargs), self.runnables)
        return type(self)(**{**vars(self), "runnable": first, "fallbacks": others})


class StructuredModel(Wrapper, Wrappable, _Sequence):
    """A model and the parser of its answers; keywords go to the model."""

    model_config = ConfigDict(defer_build=True)

    @override
    def bind(self, **kwargs: Any) -> StructuredModel:
        first: Any = self.first
        if isinstance(first, RunnableParallel):
            first = RunnableParallel({key: step.bind(**kwargs) for key, step in first.steps__.items()})
        else:
            first = first.bind(**kwargs)
        return type(self)(**{**vars(self), "first": first})


_KINDS: dict[type, type] = {
    RunnableRetry: RetryingModel,
    RunnableConfigurableFields: ConfigurableModel,
    RunnableConfigurableAlternatives: AlternativeModels,
    RunnableWithFallbacks: ModelsInTurn,
    RunnableSequence: StructuredModel,
}


def wrapped(runnable: Any) -> Any:
    """Return a wrapper of LangChain's as one of these; anything else as it is."""
    kind = _KINDS.get(type(runnable))
    return runnable if kind is None else kind(**vars(runnable))


def _apply_later(make: Any, apply: Any) -> Any:
    return apply(make())
