"""Keywords that are no fields: names of other integrations with what to write instead, and parameters of gateways."""

FOREIGN = {
    "`base_url`": "openai_api_base api_base base endpoint url api_url openai_base_url azure_endpoint anthropic_api_url",
    "`api_key`": (
        "openai_api_key promptrun_api_key openrouter_api_key anthropic_api_key google_api_key mistral_api_key "
        "groq_api_key azure_api_key key token api_token"
    ),
    "`model`": "model_id engine deployment deployment_name deployment_id azure_deployment",
    "`timeout`, in seconds": "request_timeout default_request_timeout timeout_ms timeout_seconds",
    "`default_headers`": "headers extra_headers http_headers betas app_url app_title site_url",
    "`default_query`": "extra_query query",
    '`default_query={"api-version": ...}` where your gateway reads it': "api_version openai_api_version",
    "`max_tokens`": "max_output_tokens max_new_tokens max_tokens_to_sample num_predict",
    "`max_retries`": "retry retries num_retries n_retries",
    "`temperature`": "temp",
    "`stop`": "end stop_words stop_tokens stop_texts",
    "`seed`": "seed_value random_state",
    "`reasoning_effort`, or `reasoning={...}`": "effort thinking_budget reasoning_tokens include_thoughts",
    "`streaming`": "stream",
    "`http_client`": "client root_client",
    "`http_client=httpx.Client(verify=...)`, or the variable `SSL_CERT_FILE`": "verify verify_ssl ssl_verify cert",
    "`http_async_client`": "async_client root_async_client",
    "`rate_limiter`": "requests_per_second rate_limit rpm",
    '`model.batch(prompts, {"max_concurrency": ...})`': "max_concurrency concurrency",
    "`with Budget(usd=...):` around the calls": "budget max_budget max_cost",
    '`profile={"max_input_tokens": ...}`': "max_input_tokens context_length context_window context_size",
    "`custom_get_token_ids`": "tiktoken_model_name",
    "`model.bind_tools(...)`": "tools functions tool_choice",
    "`model.with_structured_output(...)`": "response_format schema output_format json_mode",
    "a message of the call": "system system_prompt messages prompt",
    "`model.invoke([], use_cached_prompt=True)`": "use_cached_prompt",
    "the variable `HTTPS_PROXY`, or a client in `http_client`": "proxy proxies openai_proxy http_proxy",
    '`default_headers={"OpenAI-Organization": ...}` where your gateway reads it': "organization openai_organization",
    '`default_headers={"OpenAI-Project": ...}` where your gateway reads it': "project openai_project",
    "Leave it out: this model speaks Chat Completions alone.": (
        "use_responses_api use_previous_response_id previous_response_id include truncation"
    ),
}

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
