"""One call of a model: its keywords, merged with the model's fields, and the request that goes out.

The last source wins: fields, `model_kwargs`, `extra_body`, the call's `model_kwargs`, its keywords, its `extra_body`.
A None takes a parameter out.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ConfigDict, SecretStr, create_model

from langchain_promptrun._config.defaults import NO_KEY, Defaulted, needs_key, plain_values
from langchain_promptrun._config.fields import roles_of
from langchain_promptrun._config.validators import is_secret, misspelt
from langchain_promptrun._http.request import Request, Timeouts, checked_headers
from langchain_promptrun._messages.cache_control import mark_prompt
from langchain_promptrun._messages.conversation import wire_messages
from langchain_promptrun._profiles import warn_if_retired
from langchain_promptrun._tools.tools import (
    forbids_parallel_calls,
    wire_response_format,
    wire_tool_choice,
    wire_tools,
    with_wire_names,
)
from langchain_promptrun._version import __version__
from langchain_promptrun._wire import json as _json

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_promptrun._http.request import ApiKey

BASE_HEADERS = {"content-type": "application/json", "user-agent": f"langchain-promptrun/{__version__}"}
PROMPT_ID = "http-prompt-id"  # Promptrun's Node SDK: the header HTTP-Prompt-Id
_ACCEPT = {True: "text/event-stream", False: "application/json"}

_OPTIONS = frozenset({"extra_headers", "extra_query", "extra_body", "use_cached_prompt", "model_kwargs"})
_TOOL_PARAMETERS = ("tools", "tool_choice", "parallel_tool_calls")
_BOUND = frozenset({"tools", "tool_choice", "response_format", "include_raw"})
"""Keywords of the methods that bind, which may be misspelt like fields."""
_DROPPED = frozenset({"stream", "run_manager", "structured_output_format"})
_DROPPED_PREFIXES = ("ls_", "lc_")
_LIMITS = ("max_tokens", "max_completion_tokens")

_started: ContextVar[CallOptions | None] = ContextVar("langchain_promptrun_call", default=None)


class CallOptions:
    """The keywords of one call: parameters of the request, settings that are fields of the model, further options."""

    __slots__ = ("_keywords", "_model", "_stop", "options", "parameters", "settings")

    def __init__(self, model: BaseModel, stop: list[str] | None, keywords: Mapping[str, Any]) -> None:
        self._model = weakref.ref(model)
        self._stop = stop
        self._keywords = keywords
        self.settings: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        roles = roles_of(type(model))
        given: dict[str, Any] = {}
        for key, value in keywords.items():
            name = roles.aliases.get(key, key)
            if name in roles.settings:
                self.settings[name] = SecretStr(value) if isinstance(value, str) and is_secret(name, value) else value
            elif name in _OPTIONS:
                self.options[name] = value
            elif name in _DROPPED or name.startswith(_DROPPED_PREFIXES):
                continue
            elif name in roles.foreign:
                raise ValueError(f"`{name}` is set on the model or in the config, not as a keyword of a call.")
            elif name not in roles.known and (near := misspelt(name, roles.known | _OPTIONS | _BOUND)):
                advice = "Give it to `with_structured_output`." if near == name else f"Did you mean `{near}`?"
                raise ValueError(
                    f"Unknown keyword `{name}` of a call. {advice} A parameter that is really called `{name}` goes "
                    "into `extra_body`."
                )
            else:
                given[name] = value
        if stop is not None:
            given["stop"] = stop
        if given.get("model") is not None:
            warn_if_retired(str(given["model"]))
        self.parameters = self._merge(model, given)
        _make_sendable(self.parameters)

    def _merge(self, model: BaseModel, given: dict[str, Any]) -> dict[str, Any]:
        kind, values = type(model), vars(model)
        layers = [
            *(values["model_kwargs"], values["extra_body"]),
            check_model_kwargs(kind, self.options.get("model_kwargs"), of_call=True),
            _checked(kind, given),
            _mapping("extra_body", self.options.get("extra_body")),
        ]
        merged = {name: value for name in roles_of(kind).parameters if (value := values[name]) is not None}
        for layer in filter(None, layers):
            if any(layer.get(name) is not None for name in _LIMITS):
                merged |= dict.fromkeys(_LIMITS)  # one limit replaces the other
            merged = {name: value for name, value in {**merged, **layer}.items() if value is not None}
            if all(name in merged for name in _LIMITS):
                raise ValueError(
                    "`max_tokens` and `max_completion_tokens` are both given; give the one your model accepts."
                )
        return merged

    def is_for(self, model: BaseModel, stop: list[str] | None, keywords: Mapping[str, Any]) -> bool:
        """Return whether these are the keywords of the same call: the same objects."""
        mine = self._keywords
        return (
            self._model() is model
            and self._stop is stop
            and len(mine) == len(keywords)
            and all(mine.get(name) is value for name, value in keywords.items())
        )


def options_of_call(
    model: BaseModel, stop: list[str] | None, keywords: Mapping[str, Any], *, first: bool = False, last: bool = False
) -> CallOptions:
    """Return the merged keywords of a call, which its first hook keeps for the others, until the last."""
    options = None if first else _started.get()
    if options is None or not options.is_for(model, stop, keywords):
        options = CallOptions(model, stop, keywords)
    if first or last:
        _started.set(options if first else None)
    return options


def check_model_kwargs(kind: type[BaseModel], model_kwargs: Any, *, of_call: bool = False) -> Mapping[str, Any]:
    """Refuse names in `model_kwargs` that have a place of their own."""
    names = _mapping("model_kwargs", model_kwargs)
    roles = roles_of(kind)
    for name in names:
        is_field = name in roles.settings or (not of_call and (name in roles.parameters or name in roles.aliases))
        if is_field or name in _OPTIONS:
            field = {"extra_headers": "default_headers", "extra_query": "default_query"}.get(name, name)
            raise ValueError(f"`model_kwargs` holds `{name}`: set the field `{field}`, or pass `{name}` to the call.")
    return names


def _checked(kind: type[BaseModel], given: dict[str, Any]) -> dict[str, Any]:
    names = roles_of(kind).parameters
    fields = {name: value for name, value in given.items() if value is not None and name in names}
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


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` must be a mapping of names to values, not {type(value).__name__}.")
    return value


def _merged(name: str, first: Mapping[str, Any] | None, second: Any) -> dict[str, Any]:
    """Merge a field's mapping with the call's, which wins; secrets among the values are unwrapped."""
    return {**(first or {}), **({} if second is None else plain_values(_mapping(name, second)))}


def build_request(fields: Any, messages: list[BaseMessage], call: CallOptions, *, stream: bool) -> Request:
    """Build the request of one call; `fields` are the model's with the settings of the call."""
    parameters = dict(call.parameters)
    if parameters.get("tools"):
        parameters = with_wire_names(parameters)
    model = parameters.pop("model")
    _check_messages(messages, fields.prompt_cache_id, use_cached=call.options.get("use_cached_prompt"))
    said = wire_messages(messages, model=str(model), send_reasoning=fields.send_reasoning, send_names=fields.send_names)
    body = {"model": model, "messages": said, **parameters}
    if fields.prompt_caching is not None:
        mark_prompt(body, fields.prompt_caching)
    options = body.pop("stream_options", None)
    if stream:
        if (body.get("n") or 1) > 1:
            raise ValueError(
                f"`n={body['n']}`: several answers cannot be streamed; use `invoke` or `generate` unstreamed."
            )
        body["stream"] = True
        if fields.stream_usage:
            options = {"include_usage": True, **(options or {})}
        if options is not None:
            body["stream_options"] = options
    headers = caller_headers(fields, call.options.get("extra_headers"))
    if fields.prompt_cache_id is not None:
        headers[PROMPT_ID] = fields.prompt_cache_id
    return Request(
        method="POST",
        url=f"{fields.base_url}/chat/completions",
        api_key=key_of(fields, headers),
        headers=BASE_HEADERS | {"accept": _ACCEPT[stream]} | headers,
        query=_merged("extra_query", fields.default_query, call.options.get("extra_query")),
        timeouts=Timeouts(*fields.timeout),
        stream_chunk_timeout=fields.stream_chunk_timeout,
        streamed=stream,
        stall_before_first=not isinstance(fields.stream_chunk_timeout, Defaulted),
        max_retries=fields.max_retries,
        max_retry_after=fields.max_retry_after,
        model=str(model),
        deadline=fields.deadline,
        pacer=getattr(fields.rate_limiter, "pacer", None),
        body=_json.dumps(body),
    )


def _check_messages(messages: list[BaseMessage], prompt_id: str | None, *, use_cached: Any) -> None:
    if not use_cached:
        if not messages:
            raise ValueError("The list of messages is empty; a call without messages needs `use_cached_prompt=True`.")
    elif prompt_id is None:
        raise ValueError("`use_cached_prompt=True` needs `prompt_cache_id`, the id under which the prompt was stored.")
    elif messages:
        raise ValueError(
            f"`use_cached_prompt=True` uses the stored messages and takes none; {len(messages)} came. Pass [] instead."
        )


def caller_headers(fields: Any, extra: Any = None) -> dict[str, str]:
    """Merge the caller's headers, names in lower case, so that one given twice is sent once."""
    if not (headers := _merged("extra_headers", fields.default_headers, extra)):
        return {}
    return {name.lower(): value for name, value in checked_headers(headers, " of `extra_headers`").items()}


def key_of(fields: Any, headers: dict[str, str]) -> ApiKey | None:
    """Take the key out of the caller's headers, or from the field; None for a server that needs none."""
    if (authorization := headers.pop("authorization", None)) is not None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ValueError("The header 'authorization' must be 'Bearer <key>'; a key goes into `api_key`.")
        return SecretStr(key.strip())
    if fields.api_key is None and needs_key(fields.base_url):
        raise ValueError(NO_KEY)
    return cast("ApiKey | None", fields.api_key)
