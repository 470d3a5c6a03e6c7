"""Keywords of a call, checked and merged with the fields of its model.

The last source wins: fields, `model_kwargs`, `extra_body`, the call's `model_kwargs`, its keywords, its `extra_body`.
A None takes a parameter out.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, SecretStr, create_model

from langchain_promptrun._config.hints import misspelt
from langchain_promptrun._config.roles import roles_of
from langchain_promptrun._profiles import warn_if_retired
from langchain_promptrun._tools.tools import forbids_parallel_calls, wire_response_format, wire_tool_choice, wire_tools

if TYPE_CHECKING:
    from langchain_promptrun._config.roles import Roles

_SECRET_OPTIONS = frozenset({"extra_headers", "extra_query"})
_OPTIONS = _SECRET_OPTIONS | {"extra_body", "use_cached_prompt", "model_kwargs"}
_TOOL_PARAMETERS = ("tools", "tool_choice", "parallel_tool_calls")
_BOUND = frozenset({"tools", "tool_choice", "response_format", "include_raw"})
"""Keywords of the methods that bind, which may be misspelt like fields."""
_DROPPED = frozenset({"stream", "run_manager", "structured_output_format"})
_DROPPED_PREFIXES = ("ls_", "lc_")
_LIMITS = ("max_tokens", "max_completion_tokens")

_started: ContextVar[CallOptions | None] = ContextVar("langchain_promptrun_call", default=None)


class CallOptions:
    """The keywords of one call.

    Attributes:
        parameters: What goes on the wire beside the messages.
        settings: Fields of the model that the call sets.
        options: `extra_headers`, `extra_query` and `use_cached_prompt`, too.
    """

    __slots__ = ("_keywords", "_model", "_stop", "options", "parameters", "settings")

    def __init__(self, model: BaseModel, stop: list[str] | None, keywords: Mapping[str, Any]) -> None:
        self._model = weakref.ref(model)
        self._stop = stop
        self._keywords = keywords
        self.settings: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        kind = type(model)
        roles = roles_of(kind)
        given: dict[str, Any] = {}
        for key, value in keywords.items():
            name = roles.aliases.get(key, key)
            if name in roles.settings:
                self.settings[name] = value
            elif name in _OPTIONS:
                self.options[name] = value
            elif name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES):
                _check_name(name, roles)
                given[name] = value
        if stop is not None:
            given["stop"] = stop
        if given.get("model") is not None:
            warn_if_retired(str(given["model"]))
        values = vars(model)
        layers = [values["model_kwargs"], values["extra_body"]]
        if self.options:
            layers.append(check_model_kwargs(kind, self.options.get("model_kwargs"), of_call=True))
        if given:
            layers.append(_checked(kind, given))
        layers.append(_mapping("extra_body", self.options.get("extra_body")))
        self.parameters = {name: value for name in roles.parameters if (value := values[name]) is not None}
        for layer in filter(None, layers):
            self._overlay(layer)
        _make_sendable(self.parameters)

    def _overlay(self, layer: Mapping[str, Any]) -> None:
        """Merge parameters over those that came before; one limit replaces the other."""
        merged = self.parameters
        if any(layer.get(name) is not None for name in _LIMITS):
            merged |= dict.fromkeys(_LIMITS)
        merged |= layer
        self.parameters = {name: value for name, value in merged.items() if value is not None}
        if all(name in self.parameters for name in _LIMITS):
            raise ValueError(
                "`max_tokens` and `max_completion_tokens` are both given; give the one your model accepts."
            )

    def is_for(self, model: BaseModel, stop: list[str] | None, keywords: Mapping[str, Any]) -> bool:
        """Return whether these are the keywords of the same call: the same objects."""
        mine = self._keywords
        return (
            self._model() is model
            and self._stop is stop
            and len(mine) == len(keywords)
            and all(mine.get(name) is value for name, value in keywords.items())
        )


def start_call(model: BaseModel, stop: list[str] | None, keywords: Mapping[str, Any]) -> CallOptions:
    """Merge the keywords of a call that langchain-core announces, for its further hooks."""
    options = CallOptions(model, stop, keywords)
    _started.set(options)
    return options


def options_of_call(
    model: BaseModel, stop: list[str] | None, keywords: Mapping[str, Any], *, last: bool = False
) -> CallOptions:
    """Return the keywords that `start_call` merged, or merge them; `last` forgets them."""
    options = _started.get()
    if options is None or not options.is_for(model, stop, keywords):
        return CallOptions(model, stop, keywords)
    if last:
        _started.set(None)
    return options


def check_model_kwargs(kind: type[BaseModel], model_kwargs: Any, *, of_call: bool = False) -> Mapping[str, Any]:
    """Refuse names in `model_kwargs` that have a place of their own."""
    names = _mapping("model_kwargs", model_kwargs)
    roles = roles_of(kind)
    for name in names:
        if name in roles.settings or (not of_call and (name in roles.parameters or name in roles.aliases)):
            raise ValueError(f"`model_kwargs` holds `{name}`, which is a field: set the field.")
        if name in _OPTIONS:
            field = {"extra_headers": "default_headers", "extra_query": "default_query"}.get(name, name)
            raise ValueError(f"`model_kwargs` holds `{name}`: set the field `{field}`, or pass `{name}` to the call.")
    return names


def _check_name(name: str, roles: Roles) -> None:
    if name in roles.foreign:
        raise ValueError(f"`{name}` is set on the model or in the config, not as a keyword of a call.")
    if name not in roles.known and (near := misspelt(name, roles.known | _OPTIONS | _BOUND)):
        raise ValueError(
            f"Unknown keyword `{name}` of a call. Did you mean `{near}`? A parameter that is really called `{name}` "
            "goes into `extra_body`."
        )


def _checked(kind: type[BaseModel], given: dict[str, Any]) -> dict[str, Any]:
    """Check the values of parameters that are fields like fields."""
    fields = {name: given[name] for name in roles_of(kind).parameters if given.get(name) is not None}
    if not fields:
        return given
    checked = _checker(kind).__pydantic_validator__.validate_python(fields)
    return given | {name: getattr(checked, name) for name in fields}


@cache
def _checker(kind: type[BaseModel]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (kind.model_fields[name].rebuild_annotation(), None) for name in roles_of(kind).parameters
    }
    return create_model(kind.__name__, __config__=ConfigDict(protected_namespaces=()), **fields)


def _make_sendable(parameters: dict[str, Any]) -> None:
    """Convert tools and formats to the wire's form, and drop what means nothing without tools."""
    if "model" not in parameters:
        raise ValueError("`model` is None; a request needs a model.")
    if tools := parameters.get("tools"):
        if not all(isinstance(tool, dict) for tool in tools):
            parameters["tools"] = tools = wire_tools(tools)
        choice = parameters.pop("tool_choice", None)
        if forbids_parallel_calls(choice):
            parameters.setdefault("parallel_tool_calls", False)
        if (choice := wire_tool_choice(choice, tools)) is not None:
            parameters["tool_choice"] = choice
    else:
        for name in _TOOL_PARAMETERS:
            parameters.pop(name, None)
    if isinstance(parameters.get("response_format"), type):
        parameters["response_format"] = wire_response_format(parameters["response_format"])
    if not parameters.get("stop", True):
        del parameters["stop"]


def merged_mapping(name: str, first: Mapping[str, Any] | None, second: Any) -> dict[str, Any]:
    """Merge a field's mapping with the call's, which wins; secrets among the values are unwrapped."""
    return {**(first or {}), **plain_values(_mapping(name, second))}


def plain_values(value: Any) -> Any:
    """Unwrap a secret, or the secrets among the values of a mapping."""
    if isinstance(value, Mapping):
        return {name: plain_values(inner) for name, inner in value.items()}
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def bindable(kind: type[BaseModel], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap the secrets among keywords that are bound, since a binding is printed and serialised."""
    secret = _SECRET_OPTIONS | roles_of(kind).secret
    return {name: hidden(value) if name in secret else value for name, value in keywords.items()}


def hidden(value: Any) -> Any:
    """Wrap the strings in a value as secrets."""
    if isinstance(value, Mapping):
        return {name: hidden(inner) for name, inner in value.items()}
    return SecretStr(value) if isinstance(value, str) else value


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` must be a mapping of names to values, not {type(value).__name__}.")
    return value
