"""What is bound to a model: keywords, tools and schemas are kept together, and secrets among them are hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast, overload

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBinding,
    RunnableParallel,
    RunnableSerializable,
)
from pydantic import BaseModel, ConfigDict, SecretStr

from langchain_promptrun._config.fields import roles_of
from langchain_promptrun._config.validators import Method, is_secret
from langchain_promptrun._tools.tools import ToolChoice, bind_arguments

if TYPE_CHECKING:
    # to type checkers BaseChatModel.bind returns this private class; it is never imported
    from langchain_core.language_models.chat_models import _ChatModelBinding

T = TypeVar("T", bound=BaseModel)

_Schema = type[Any] | Mapping[str, Any]

# Imported at the first use: what pydantic builds for their classes takes time at import.
_WRAPPERS = "langchain_promptrun._config.wrappers"
_STRUCTURED = "langchain_promptrun._tools.structured_output"


def _wrapping(name: str) -> Any:
    @wraps(getattr(RunnableSerializable, name))
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _wrapped(getattr(super(Wrappable, self), name)(*args, **kwargs))

    return method


class Wrappable:
    """Makes LangChain's wrappers around models such on which keywords, tools and schemas can be bound."""

    held: ClassVar[str] = ""
    """Attribute of a wrapper with the model in it; empty where there are several."""

    if TYPE_CHECKING:  # langchain-core's types of the others are exact
        with_config: Any
        configurable_fields: Any
        configurable_alternatives: Any

        def with_retry(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]: ...
    else:

        def with_config(self, config: Any = None, **kwargs: Any) -> Any:
            config = {**(config or {}), **kwargs}
            if values := config.get("configurable"):
                secret = _secret_ids(self)
                config["configurable"] = {
                    name: _hidden(value) if name.rpartition("/")[2] in secret else value
                    for name, value in values.items()
                }
            return _wrapped(super().with_config(config))

        with_retry = _wrapping("with_retry")
        with_fallbacks = _wrapping("with_fallbacks")
        with_types = _wrapping("with_types")
        with_listeners = _wrapping("with_listeners")
        with_alisteners = _wrapping("with_alisteners")
        configurable_fields = _wrapping("configurable_fields")
        configurable_alternatives = _wrapping("configurable_alternatives")

    def _with_each(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method of what a wrapper holds, and put the result in its place."""
        inner = getattr(vars(self)[self.held], method)(*args, **kwargs)
        return type(self)(**{**vars(self), self.held: inner})


class ModelRunnable(Wrappable):
    """A model, or a Runnable around one, on which keywords, tools and schemas can be bound in any order."""

    def bind(self, **kwargs: Any) -> ModelBinding:
        """Bind keywords of a call; secrets among them are hidden, since a binding is printed and serialised."""
        model: BaseModel | None = _model_in(self)
        if model is None:
            return cast("ModelBinding", self._with_each("bind", **kwargs))
        secret = roles_of(type(model)).secret | {"extra_headers", "extra_query"}
        kwargs = {name: _hidden(value) if is_secret(name, value, secret) else value for name, value in kwargs.items()}
        return cast("ModelBinding", _wrapped(cast("Any", super()).bind(**kwargs)))

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: ToolChoice | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools to the model.

        Args:
            tools: Functions, pydantic classes, TypedDict classes, LangChain tools, JSON schemas, or tools as dicts.
                An empty list binds no tools.
            tool_choice: `auto`, `none`, `required` (or `any`), a tool's name, True for the only tool, or a dict.
            strict: Whether arguments must keep exactly to the schema. None: not said.
            parallel_tool_calls: Whether the model may call several tools at once. None: not said.
            response_format: Schema of the final answer: a pydantic class, a TypedDict class, a JSON schema or a dict.
            **kwargs: Bound as they are.

        Returns:
            A Runnable that calls this model with the tools.

        Raises:
            ValueError: A tool that cannot be converted, or a choice that no tool has.
        """
        named = {
            "tool_choice": tool_choice,
            "strict": strict,
            "parallel_tool_calls": parallel_tool_calls,
            "response_format": response_format,
        }
        kwargs |= {name: value for name, value in named.items() if value is not None}
        if _model_in(self) is None:
            return cast("ModelBinding", self._with_each("bind_tools", tools, **kwargs))
        return self.bind(**bind_arguments(tools, **kwargs))

    @overload
    def with_structured_output(
        self, schema: type[T], *, method: Method | None = None, include_raw: Literal[False] = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, T]: ...

    @overload
    def with_structured_output(
        self, schema: type[T], *, method: Method | None = None, include_raw: Literal[True], **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any]]: ...

    @overload
    def with_structured_output(
        self, schema: type[T], *, method: Method | None = None, include_raw: bool, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | T]: ...

    @overload
    def with_structured_output(
        self, schema: _Schema | None = None, *, method: Method | None = None, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any]]: ...

    def with_structured_output(
        self,
        schema: type[Any] | Mapping[str, Any] | None = None,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a Runnable that answers with an object.

        Args:
            schema: A pydantic class, a TypedDict class, a JSON schema or a tool as a dict.
            method: `function_calling`, `json_schema` or `json_mode`. Default: the field `structured_output_method`.
            include_raw: Whether to return `{"raw", "parsed", "parsing_error"}` instead of raising.
            strict: Whether the answer must keep exactly to the schema. None: not said.
            **kwargs: `tools`, `tool_choice`, and further keywords to bind.

        Returns:
            A Runnable; a pydantic class gives instances, everything else dicts.

        Raises:
            ValueError: An unknown method or a schema that cannot be converted.
        """
        named = {"method": method, "include_raw": include_raw, "strict": strict}
        kwargs |= {name: value for name, value in named.items() if value is not None}
        model: Any = _model_in(self)
        if model is None:
            return cast("ModelBinding", self._with_each("with_structured_output", schema, **kwargs))
        kwargs.setdefault("method", model.structured_output_method)
        return cast("ModelBinding", _wrapped(import_module(_STRUCTURED).structured(self.bind, schema, **kwargs)))


if TYPE_CHECKING:

    class ModelBinding(ModelRunnable, _ChatModelBinding):
        model_config = ConfigDict(extra="forbid")
else:  # for those who read the hints of `bind`
    ModelBinding = RunnableBinding


def _wrapped(runnable: Any) -> Any:
    return import_module(_WRAPPERS).wrapped(runnable)


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _hidden(inner) for name, inner in value.items()}
    return SecretStr(value) if isinstance(value, str) else value


def _model_in(runnable: Any) -> Any:
    """Return the model that wrappers hold; None where they hold several parts."""
    while "structured_output_method" not in type(runnable).model_fields:
        if not (held := getattr(type(runnable), "held", "")):
            return None
        runnable = vars(runnable)[held]
    return runnable


def _secret_ids(held: Any) -> frozenset[str]:
    """Return the names by which a config sets secret fields of the models in a wrapper."""
    if isinstance(held, (Wrappable, RunnableParallel)):
        values = vars(held)
        fields = values.get("fields", {})
        model: Any = type(values.get("default"))
        secret = roles_of(model).secret & fields.keys() if fields else ()
        ids = frozenset(fields[name].id for name in secret if isinstance(fields[name], ConfigurableField))
        return ids.union(*map(_secret_ids, values.values()))
    if isinstance(held, Mapping):
        held = list(held.values())
    return frozenset().union(*map(_secret_ids, held)) if isinstance(held, list) else frozenset()
