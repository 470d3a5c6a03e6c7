"""Fields and call keywords -> what goes into a request.

Order of precedence, the last one wins: fields, `model_kwargs`, `extra_body`, keywords of the call (or bound), the
`extra_body` of the call. A None takes a parameter out. Of the two limits on tokens the one that comes later takes the
place of the other. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from langchain_promptrun._tools.tools import wire_response_format, wire_tool_choice, wire_tools

WIRE_FIELDS = (
    "model",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "reasoning",
    "parallel_tool_calls",
    "user",
)
"""Fields that go on the wire under their own names."""

SETTINGS = frozenset(
    {
        "api_key",
        "base_url",
        "default_headers",
        "default_query",
        "timeout",
        "stream_chunk_timeout",
        "max_retries",
        "max_retry_after",
        "streaming",
        "stream_usage",
        "include_response_headers",
        "http_client",
        "http_async_client",
        "max_connections",
        "async_transport",
        "max_event_bytes",
        "prompt_cache_id",
        "structured_output_method",
        "send_reasoning",
        "send_names",
    }
)
"""Fields that do not go on the wire, and that a call may set."""

CONNECTION_SETTINGS = frozenset({"http_client", "http_async_client", "max_connections", "async_transport"})
"""Settings that decide which connections a call uses."""

ALIASES = {"model_name": "model", "stop_sequences": "stop"}

UNTRACED = frozenset(
    {"api_key", "default_headers", "default_query", "extra_headers", "extra_query", "http_async_client", "http_client"}
    | {"timeout"}
)
"""Call keywords that may hold secrets or clients: they reach neither traces nor cache keys."""

_OPTIONS = frozenset({"extra_headers", "extra_query", "extra_body", "use_cached_prompt", "model_kwargs"})
_DROPPED = frozenset({"stream", "run_manager", "structured_output_format"})
_DROPPED_PREFIXES = ("ls_", "lc_")
_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
_LIMITS = ("max_tokens", "max_completion_tokens")
_MAPPINGS_WITH_SECRETS = frozenset({"default_headers", "default_query", "extra_headers", "extra_query"})


class Keywords:
    """The keywords of one call, sorted by where they go."""

    __slots__ = ("options", "settings", "wire")

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.wire: dict[str, Any] = {}


def sort_keywords(keywords: Mapping[str, Any], foreign: frozenset[str]) -> Keywords:
    """Sort the keywords of a call.

    Args:
        keywords: What the caller passed or bound.
        foreign: Names of LangChain's own fields, which a call cannot set.

    Returns:
        Settings of the model, options of the call, and everything else, which goes on the wire.

    Raises:
        ValueError: A keyword that is a field of LangChain's.
    """
    found = Keywords()
    for key, value in keywords.items():
        name = ALIASES.get(key, key)
        if name in SETTINGS:
            found.settings[name] = value
        elif name in _OPTIONS:
            found.options[name] = value
        elif name in foreign:
            raise ValueError(f"`{name}` is set on the model or in the config, not as a keyword of a call.")
        elif name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES):
            found.wire[name] = value
    return found


def wire_parameters(values: Mapping[str, Any], keywords: Keywords, stop: list[str] | None) -> dict[str, Any]:
    """Merge all parameters of a request but its messages.

    Args:
        values: The model's field values.
        keywords: The call's keywords.
        stop: LangChain's `stop` argument.

    Returns:
        The parameters that were set, none of them null.

    Raises:
        ValueError: No model, both limits on tokens in one call, or a tool or a choice that cannot be sent.
        TypeError: A mapping that is none.
    """
    parameters = {name: value for name in WIRE_FIELDS if (value := values[name]) is not None}
    if layers := _layers(values, keywords, stop):
        parameters = _overlaid(parameters, layers)
    if "model" not in parameters:
        raise ValueError("model is None; a request needs a model.")
    return _sendable(parameters)


def _layers(values: Mapping[str, Any], keywords: Keywords, stop: list[str] | None) -> list[Mapping[str, Any]]:
    """Give the sources of parameters beside the fields that hold any, the last one being the strongest."""
    options = keywords.options
    layers = [
        values["model_kwargs"],
        values["extra_body"],
        _mapping("model_kwargs", options.get("model_kwargs")),
        keywords.wire if stop is None else {**keywords.wire, "stop": stop},
        _mapping("extra_body", options.get("extra_body")),
    ]
    return [layer for layer in layers if layer]


def _overlaid(parameters: dict[str, Any], layers: list[Mapping[str, Any]]) -> dict[str, Any]:
    for layer in layers:
        if any(layer.get(name) is not None for name in _LIMITS):
            parameters |= dict.fromkeys(_LIMITS)
        parameters |= layer
    parameters = {name: value for name, value in parameters.items() if value is not None}
    if all(name in parameters for name in _LIMITS):
        raise ValueError("max_tokens and max_completion_tokens are both given; give the one that your model accepts.")
    return parameters


def merged_mapping(name: str, first: Mapping[str, Any] | None, second: Any) -> dict[str, Any]:
    """Merge a field's mapping with the call's; the call wins.

    Raises:
        TypeError: The call's value is not a mapping.
    """
    return {**(first or {}), **plain_values(_mapping(name, second))}


def bindable(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap what may be secret of keywords that are bound: a binding is printed and serialised."""
    wrapped = dict(keywords)
    for name in wrapped.keys() & _MAPPINGS_WITH_SECRETS:
        if isinstance(wrapped[name], Mapping):
            wrapped[name] = {key: _wrapped(value) for key, value in wrapped[name].items()}
    if "api_key" in wrapped:
        wrapped["api_key"] = _wrapped(wrapped["api_key"])
    return wrapped


def plain_values(mapping: Any) -> Any:
    """Unwrap the secrets among the values of a mapping."""
    if not isinstance(mapping, Mapping):
        return mapping
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in mapping.items()
    }


def _wrapped(value: Any) -> Any:
    return SecretStr(value) if isinstance(value, str) else value


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of names to values, not {type(value).__name__}.")
    return value


def _sendable(parameters: dict[str, Any]) -> dict[str, Any]:
    """Bring tools and formats into the wire's form, and leave out what says nothing without tools."""
    if parameters.get("tools"):
        _send_tools(parameters)
    else:
        for name in _OF_TOOLS:
            parameters.pop(name, None)
    if isinstance(parameters.get("response_format"), type):
        parameters["response_format"] = wire_response_format(parameters["response_format"])
    if not parameters.get("stop", True):
        del parameters["stop"]
    return parameters


def _send_tools(parameters: dict[str, Any]) -> None:
    tools = parameters["tools"]
    if not all(isinstance(tool, dict) for tool in tools):
        parameters["tools"] = tools = wire_tools(tools)
    choice = parameters.get("tool_choice")
    if isinstance(choice, str | bool):
        parameters["tool_choice"] = wire_tool_choice(choice, tools)
        if parameters["tool_choice"] is None:
            del parameters["tool_choice"]
