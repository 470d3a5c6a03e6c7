"""LangChain's wrappers around models, on which keywords, tools and schemas can be bound."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableBinding, RunnableParallel, RunnableSequence
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import RunnableConfigurableAlternatives, RunnableConfigurableFields
from langchain_core.runnables.fallbacks import RunnableWithFallbacks
from langchain_core.runnables.retry import RunnableRetry
from pydantic import ConfigDict
from typing_extensions import override

from langchain_promptrun._config.bindings import ModelRunnable, Wrappable

if TYPE_CHECKING:
    _Fields = RunnableConfigurableFields[LanguageModelInput, AIMessage]
    _Alternatives = RunnableConfigurableAlternatives[LanguageModelInput, AIMessage]
else:  # with type arguments pydantic would check the class of the model
    _Fields, _Alternatives = RunnableConfigurableFields, RunnableConfigurableAlternatives


class _Wrapper:
    """Serialises a wrapper as the class of LangChain's that it extends."""

    @classmethod
    def lc_id(cls) -> list[str]:
        plain: Any = next(base for base in cls.__mro__ if base.__module__.startswith("langchain_core"))
        return cast("list[str]", plain.lc_id())


class ModelBinding(_Wrapper, ModelRunnable, RunnableBinding[LanguageModelInput, AIMessage]):
    """A model with keywords or a config bound to it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    held: ClassVar[str] = "bound"


class RetryingModel(_Wrapper, ModelRunnable, RunnableRetry[LanguageModelInput, AIMessage]):
    model_config = ConfigDict(extra="forbid")
    held: ClassVar[str] = "bound"


class ConfigurableModel(_Wrapper, ModelRunnable, _Fields):
    held: ClassVar[str] = "default"


class AlternativeModels(_Wrapper, ModelRunnable, _Alternatives):
    @override
    def _with_each(self, method: str, /, *args: Any, **kwargs: Any) -> Self:
        apply = partial(_apply, method, args, kwargs)
        alternatives = {
            key: apply(value) if isinstance(value, Runnable) else partial(_apply_later, value, apply)
            for key, value in self.alternatives.items()
        }
        return type(self)(**{**vars(self), "default": apply(self.default), "alternatives": alternatives})


class ModelsInTurn(_Wrapper, ModelRunnable, RunnableWithFallbacks[LanguageModelInput, AIMessage]):
    @override
    def _with_each(self, method: str, /, *args: Any, **kwargs: Any) -> Self:
        first, *others = (_apply(method, args, kwargs, model) for model in self.runnables)
        return type(self)(**{**vars(self), "runnable": first, "fallbacks": others})


class StructuredModel(_Wrapper, Wrappable, RunnableSequence[LanguageModelInput, Any]):
    """A model and the parser of its answers; keywords go to the model."""

    model_config = ConfigDict(defer_build=True)

    @override
    def bind(self, **kwargs: Any) -> Self:
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
    kind = ModelBinding if isinstance(runnable, RunnableBinding) else _KINDS.get(type(runnable))
    return runnable if kind in {None, type(runnable)} else kind(**vars(runnable))


def _apply(method: str, args: Any, kwargs: Any, model: Any) -> Any:
    """Call a method of a model; LangChain's binding has none of the model's, and would lose what it binds."""
    if isinstance(model, RunnableBinding) and not hasattr(type(model), method):
        return _bound_as(model, getattr(model.bound, method)(*args, **kwargs))
    return getattr(model, method)(*args, **kwargs)


def _bound_as(binding: RunnableBinding[Any, Any], made: Any) -> Any:
    """Bind what a binding binds to a model, or to the model in a sequence, that was made of its model."""
    if isinstance(made, RunnableSequence):
        return type(made)(**{**vars(made), "first": _bound_as(binding, made.first)})
    if isinstance(made, RunnableParallel):
        return RunnableParallel({key: _bound_as(binding, step) for key, step in made.steps__.items()})
    if isinstance(made, RunnableBinding):
        merged = {
            "kwargs": {**binding.kwargs, **made.kwargs},
            "config": merge_configs(binding.config, made.config),
            "config_factories": [*binding.config_factories, *made.config_factories],
        }
        return type(made)(**{**vars(made), **merged})
    return binding if made is binding.bound else made


def _apply_later(make: Any, apply: Any) -> Any:
    return apply(make())
