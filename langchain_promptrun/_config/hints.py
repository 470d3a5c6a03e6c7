"""Hints for keywords that are unknown here: names of other integrations, and parameters of gateways."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MORE_PARAMETERS = "Parameters of the request that are not fields go into `model_kwargs` or `extra_body`."
"""Advice on a keyword that is unknown to a model."""

_NAMES = {
    "`base_url`": "openai_api_base api_base base endpoint url openai_base_url azure_endpoint",
    "`api_key`": "openai_api_key promptrun_api_key openrouter_api_key key token api_token",
    "`model`": "model_id engine deployment_name azure_deployment",
    "`timeout`, in seconds": "request_timeout timeout_ms",
    "`default_headers`": "headers extra_headers http_headers",
    "`default_query`": "extra_query query",
    "`max_tokens`": "max_output_tokens max_new_tokens num_predict",
    "`max_retries`": "retries num_retries",
    "`temperature`": "temp",
    "`streaming`": "stream",
    "`http_client`": "client root_client",
    "`http_async_client`": "async_client root_async_client",
    "`custom_get_token_ids`": "tiktoken_model_name",
    "`model.bind_tools(...)`": "tools functions tool_choice",
    "`model.with_structured_output(...)`": "response_format schema output_format",
    "a message of the call": "system system_prompt messages prompt",
    "`model.invoke([], use_cached_prompt=True)`": "use_cached_prompt",
    "the variable `HTTPS_PROXY`, or a client in `http_client`": "proxy proxies openai_proxy http_proxy",
    '`default_headers={"OpenAI-Organization": ...}` where your gateway reads it': (
        "organization openai_organization project"
    ),
    "no keyword for it: this model speaks Chat Completions alone": "use_responses_api",
}
_INSTEAD = {name: place for place, names in _NAMES.items() for name in names.split()}

_GATEWAY_PARAMETERS = """
top_k min_p top_a typical_p repetition_penalty repeat_penalty length_penalty min_tokens mirostat mirostat_tau
mirostat_eta verbosity service_tier store prediction modalities audio metadata prompt_cache_key prompt_cache_retention
safety_identifier web_search_options stream_options functions function_call models provider route transforms plugins
usage include_reasoning thinking enable_thinking chat_template_kwargs reasoning_format reasoning_split cache_control
session_id user_id stop_token_ids ignore_eos guided_json guided_regex guided_choice guided_grammar structured_outputs
best_of prompt_logprobs random_seed safe_prompt prompt_mode search_parameters documents citation_options safety_mode
keep_alive num_ctx options format grammar n_probs cache_prompt priority echo suffix preset tools tool_choice
response_format
"""
GATEWAY_PARAMETERS = frozenset(_GATEWAY_PARAMETERS.split())
"""Parameters of OpenAI's and of gateways that are not fields; they go on the wire as they are."""

_NEAR_A_FIELD = 0.85  # `temprature` is at 0.95


def advice_for(name: str, known: Iterable[str], advice: str) -> str:
    """Return what to write instead of a keyword that is unknown to a model or prompt."""
    if advice == MORE_PARAMETERS and name in _INSTEAD:
        return f"Use {_INSTEAD[name]}."
    if advice == MORE_PARAMETERS and name in GATEWAY_PARAMETERS:
        return f"Use `model_kwargs={{{name!r}: ...}}`, or pass it to the call."
    near = get_close_matches(name, sorted(known), n=1)
    return f"Did you mean `{near[0]}`? {advice}" if near else advice


@lru_cache(maxsize=1024)
def misspelt(name: str, known: frozenset[str]) -> str | None:
    """Return the field that a call keyword nearly spells, None for a parameter of its own."""
    if name in GATEWAY_PARAMETERS:
        return None
    return next(iter(get_close_matches(name, sorted(known), n=1, cutoff=_NEAR_A_FIELD)), None)
