"""The request that the transport sends for one call of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import SecretStr

from langchain_promptrun._config.call_options import merged_mapping
from langchain_promptrun._config.defaults import NO_KEY, Defaulted, needs_key
from langchain_promptrun._http.request import Request, Timeouts, check_headers
from langchain_promptrun._messages.cache_control import mark_prompt
from langchain_promptrun._messages.conversation import wire_messages
from langchain_promptrun._tools.tools import with_wire_names
from langchain_promptrun._version import __version__
from langchain_promptrun._wire import json as _json

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_promptrun._config.call_options import CallOptions
    from langchain_promptrun._http.request import ApiKey

BASE_HEADERS = {"content-type": "application/json", "user-agent": f"langchain-promptrun/{__version__}"}
_ACCEPT = {True: "text/event-stream", False: "application/json"}
PROMPT_ID = "http-prompt-id"  # Promptrun's Node SDK: the header HTTP-Prompt-Id


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
        body=_json.dumps(body),
        headers=BASE_HEADERS | {"accept": _ACCEPT[stream]} | headers,
        query=merged_mapping("extra_query", fields.default_query, call.options.get("extra_query")),
        timeouts=Timeouts(*fields.timeout),
        stream_chunk_timeout=fields.stream_chunk_timeout,
        streamed=stream,
        stall_before_first=not isinstance(fields.stream_chunk_timeout, Defaulted),
        max_retries=fields.max_retries,
        max_retry_after=fields.max_retry_after,
        model=str(model),
        deadline=fields.deadline,
        pacer=getattr(fields.rate_limiter, "pacer", None),
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
    headers = merged_mapping("extra_headers", fields.default_headers, extra)
    check_headers(headers)
    return {name.lower(): value for name, value in headers.items()}


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
