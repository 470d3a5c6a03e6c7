"""The table of mistakes: what people write by mistake, and what the error must name."""

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, SecretStr, ValidationError

from langchain_promptrun import AdaptiveRateLimiter, Budget, ChatPromptrun, PromptrunError
from langchain_promptrun.testing import Fault

HTML = {"content-type": "text/html"}
ROOT = "the root of the API without /chat/completions"

UNKNOWN = {
    "`temperature`": "temprature temperatur temp Temperature",
    "`max_tokens`": "max_token maxtokens maxTokens max_output_tokens max_new_tokens max_tokens_to_sample num_predict",
    "`model_name`": "modelname modelName",
    "`model`": "modle model_id engine deployment deployment_name deployment_id azure_deployment",
    "`stop_sequences`": "stop_sequence",
    "`stop`": "stop_words stop_tokens end",
    "`seed`": "seeed seed_value random_state",
    "`logprobs`": "logprob log_probs",
    "`default_headers`": "default_header headers extra_headers betas app_url app_title",
    '`default_headers={"OpenAI-Organization"': "organization openai_organization",
    '`default_headers={"OpenAI-Project"': "project",
    "`default_query`": "query extra_query",
    '`default_query={"api-version"': "api_version openai_api_version",
    "`api_key`": (
        "apikey apiKey openai_api_key openAIApiKey promptrun_api_key anthropic_api_key google_api_key "
        "openrouter_api_key key token"
    ),
    "`base_url`": "baseUrl openai_api_base api_base base url endpoint openai_base_url anthropic_api_url azure_endpoint",
    "`timeout`": "request_timeout default_request_timeout timeout_seconds timeouts",
    "`max_retries`": "retry retries max_retry num_retries n_retries",
    "`streaming`": "stream streming",
    "`http_client`": "client proxy proxies openai_proxy",
    "SSL_CERT_FILE": "verify verify_ssl ssl_verify cert",
    "`http_async_client`": "async_client",
    "`rate_limiter`": "requests_per_second rpm",
    "max_concurrency": "max_concurrency",
    "`with Budget(": "budget max_cost",
    '`profile={"max_input_tokens"': "max_input_tokens context_length context_window",
    "`reasoning_effort`": "resoning_effort effort thinking_budget include_thoughts",
    "`model.bind_tools(...)`": "tools functions tool_choice",
    "`model.with_structured_output(...)`": "response_format schema json_mode",
    "a message of the call": "system system_prompt messages",
    "Chat Completions alone": "use_responses_api use_previous_response_id include truncation",
    "`custom_get_token_ids`": "tiktoken_model_name",
    "use_cached_prompt=True": "use_cached_prompt",
    "`model_kwargs=": "top_k min_p top_a verbosity repetition_penalty service_tier store thinking provider route",
    "`model_kwargs` or `extra_body`": "zzz my_parameter",
}
"""By what the answer to an unknown keyword must name: such keywords."""


@pytest.fixture
def make(promptrun_server):
    """Make models of the stand-in server."""
    return lambda **fields: ChatPromptrun(**{"model": "vendor/name", "max_retries": 0, **fields})


@pytest.mark.parametrize(("name", "said"), [(name, said) for said, names in UNKNOWN.items() for name in names.split()])
def test_mistake_unknown_keyword_names_what_to_write_instead(make, name, said):
    with pytest.raises(ValidationError) as caught:
        make(**{name: "s3cret"})
    assert f"Unknown keyword `{name}`." in str(caught.value)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "n": (1, 128),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "top_logprobs": (0, 20),
}
"""Those that OpenAI documents; nothing else is refused by its size."""
URLS = ("", "host/v1", "ftp://host", "https://", "https://h:port", "https://api..h/v1", "http://[::1", "http://a\n/")
VALUES = [
    *((field, low - 1, f"greater than or equal to {low}") for field, (low, _) in RANGES.items() if low < 1),
    *((field, high + 1, f"less than or equal to {high}") for field, (_, high) in RANGES.items()),
    *((field, 0, "greater than or equal to 1") for field in ("n", "max_tokens", "max_completion_tokens")),
    *((field, 0, "greater than or equal to 1") for field in ("max_connections", "max_event_bytes")),
    *((field, -1, "greater than or equal to 0") for field in ("max_retries", "max_retry_after")),
    *(("timeout", value, "must be seconds greater than 0") for value in (0, -1, True, "5", float("inf"), (1, 2))),
    ("timeout", (1, 2, 3, 0), "four such numbers"),
    *(("deadline", value, "greater than 0") for value in (0, -1)),
    ("deadline", float("inf"), "finite number"),
    ("model", "", "at least 1 character"),
    ("temperature", float("nan"), "less than or equal to 2"),
    ("temperature", "hot", "valid number"),
    ("max_tokens", "many", "valid integer"),
    ("logit_bias", {"1": 101}, "less than or equal to 100"),
    ("seed", 0.5, "valid integer"),
    ("stop", 5, "valid string"),
    ("reasoning", "low", "valid dictionary"),
    ("reasoning_effort", 3, "valid string"),
    ("profile", "x", "valid dictionary"),
    ("rate_limiter", 5, "BaseRateLimiter"),
    ("stream_chunk_timeout", 0, "greater than 0"),
    ("stream_chunk_timeout", float("inf"), "finite number"),
    ("async_transport", "curl", "'auto', 'httpx' or 'aiohttp'"),
    ("structured_output_method", "magic", "'function_calling', 'json_schema' or 'json_mode'"),
    ("prompt_cache_id", "", "at least 1 character"),
    ("prompt_cache_id", "a\nb", "HTTP-Prompt-Id"),
    ("http_client", "client", "instance of Client"),
    ("http_async_client", httpx.Client, "instance of AsyncClient"),
    *(("base_url", url, "must be an http or https URL such as") for url in URLS),
    ("base_url", "https://host#f", "no user name, password, query or fragment"),
    ("base_url", "https://host/v1/chat/completions", "leave out /chat/completions"),
]


@pytest.mark.parametrize(("field", "value", "said"), VALUES)
def test_mistake_value_out_of_range_names_field_value_and_range(make, field, value, said):
    with pytest.raises(ValidationError) as caught:
        make(**{field: value})
    line = caught.value.errors()[0]
    assert line["loc"][0] == field
    assert said in line["msg"]
    assert repr(line["input"]) == repr(value if not isinstance(value, dict) else value["1"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, end) for field, ends in RANGES.items() for end in ends),
        *(("max_tokens", 1), ("max_completion_tokens", 1), ("reasoning_effort", "xhigh"), ("seed", -5)),
        *(("stream_chunk_timeout", None), ("max_retries", 0), ("max_retry_after", 0)),
    ],
)
def test_values_at_the_ends_of_the_ranges_are_no_mistake(make, field, value):
    assert getattr(make(**{field: value}), field) == value


def tool(city: str) -> str:
    """Tell the weather."""
    return city


class Weather(BaseModel):
    """The weather."""

    city: str


MAPPINGS = ("model_kwargs", "extra_headers", "extra_query", "extra_body")
OPTIONS = (*MAPPINGS[1:], "use_cached_prompt")
FIELDS = [
    *(
        ({"model_kwargs": {name: {}}}, f"`model_kwargs` holds `{name}`: set the field `{name}`")
        for name in ("temperature", "model", "stop_sequences", "timeout", "api_key", "default_headers")
    ),
    *(({"model_kwargs": {name: {}}}, f"`model_kwargs` holds `{name}`") for name in OPTIONS),
    *(({name: 5}, f"{name}\n  Input should be a valid dictionary") for name in ("model_kwargs", "extra_body")),
    ({"model_name": "other/name"}, "model_name"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, "`max_tokens` and `max_completion_tokens`"),
    ({"api_key": ""}, "must not be empty; leave it out to use PROMPTRUN_API_KEY"),
    ({"api_key": SecretStr(" \n")}, "must not be empty"),
    *(({"api_key": key}, "quotation marks") for key in ("'sk-1'", '"sk-1"')),
    ({"api_key": "Bearer sk-1"}, "begins with `Bearer`"),
    ({"api_key": []}, "must be a string, or a function that returns one, not list"),
    ({"default_headers": {"x-a": "a\nb"}}, "header 'x-a'"),
    *(({"prompt_caching": value}, "prompt_caching") for value in ({"ttl": "2h"}, {"messages": 5}, {"a": True}, "yes")),
]
HELD = {"name": "f", "parameters": {}}
HELD["parameters"]["properties"] = HELD
OBJECTS = [
    (lambda model: model.bind_tools([{"type": "function", "function": HELD}]).invoke("Hello"), "or holds itself"),
    (lambda model: model.bind_tools(tool), "`tools` must be a list of tools, not function"),
    (lambda model: model.bind_tools("tool"), "`tools` must be a list of tools, not str"),
    (lambda model: model.with_structured_output(Weather, include_rw=True).invoke("Hello"), "`include_raw`"),
    *(
        (lambda model, kind=kind: model.with_structured_output(kind), f"`schema` must describe an object, not {kind!r}")
        for kind in (list[Weather], Weather | None, str)
    ),
    (lambda model: model.bind(temprature=0).invoke("Hello"), "mean `temperature`"),
    (lambda _: Budget(), "Set `usd`, `tokens` or `calls`"),
    *(
        (lambda _, name=name, wrong=wrong: Budget(**{name: wrong}), f"`{name}` a number from 0 on, not {wrong!r}")
        for name in ("usd", "tokens", "calls")
        for wrong in (float("nan"), -1, -0.5, True, "1", float("-inf"))
    ),
    *(
        (lambda _, wrong=wrong: AdaptiveRateLimiter(**wrong), "needs 0 < `lowest_rate` <= `initial_rate`")
        for wrong in ({"initial_rate": 0}, {"lowest_rate": 20}, {"highest_rate": 1}, {"max_concurrency": 0})
    ),
]
NEARLY = (
    *(("temprature", "temperature"), ("maxTokens", "max_tokens"), ("max_token", "max_tokens"), ("modle", "model")),
    *(("seeed", "seed"), ("presense_penalty", "presence_penalty"), ("parallel_tool_call", "parallel_tool_calls")),
    *(("tool", "tools"), ("tool_choise", "tool_choice"), ("reponse_format", "response_format")),
    *(("extra_header", "extra_headers"), ("stop_sequence", "stop_sequences")),
)
KEYWORDS = [
    *(({name: 0}, f"Unknown keyword `{name}` of a call. Did you mean `{meant}`") for name, meant in NEARLY),
    *(({name: "x"}, f"`{name}` must be a mapping of names to values, not str") for name in MAPPINGS),
    *(({"model_kwargs": {name: {}}}, f"`model_kwargs` holds `{name}`") for name in OPTIONS),
    ({"model_kwargs": {"timeout": 5}}, "`model_kwargs` holds `timeout`: set the field `timeout`"),
    ({"model": None}, "`model` is None"),
    ({"temperature": 3}, "less than or equal to 2"),
    ({"temperature": "hot"}, "valid number"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, "`max_tokens` and `max_completion_tokens` are both given"),
    ({"n": 0}, "greater than or equal to 1"),
    ({"stop": 5}, "stop"),
    ({"timeout": -1}, "must be seconds greater than 0"),
    ({"verbose": True}, "`verbose` is set on the model"),
    ({"include_raw": True}, "Give it to `with_structured_output`"),
    ({"prompt_cache_id": "c", "use_cached_prompt": True}, "takes none; 1 came"),
    ({"extra_body": {"a": object()}}, "a is of type object"),
    ({"extra_headers": {"Authorization": "sk-1"}}, "`api_key`"),
    ({"api_key": "sk\n1"}, "PROMPTRUN_API_KEY or the field"),
    ({"api_key": lambda: "'sk-1'"}, "quotation marks"),
    ({"api_key": lambda: None}, "`api_key` must give a string"),
]
MESSAGES = [
    ([], "The list of messages is empty"),
    ([("usr", "Hello")], "'usr'"),
    (5, "<class 'int'>"),
    ([HumanMessage([{"type": "image_url", "image_url": {"url": "cat.png"}}])], "send the file's content as base64"),
    ([AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "c1"}]), HumanMessage("Hi")], "add its ToolMessage"),
    ([ToolMessage("x", tool_call_id="c9")], "the result of tool call 'c9'"),
]


@pytest.mark.parametrize(("fields", "said"), FIELDS)
def test_mistake_in_a_model_names_parameter_and_advice(make, fields, said):
    with pytest.raises(ValidationError) as caught:
        make(**fields)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        *OBJECTS,
        *((lambda model, it=it: model.invoke("Hello", **it), said) for it, said in KEYWORDS),
        *((lambda model, it=it: model.invoke(it), said) for it, said in MESSAGES),
        (lambda model: model.invoke([], use_cached_prompt=True), "needs `prompt_cache_id`"),
    ],
)
def test_mistake_in_a_call_names_parameter_and_advice_before_anything_is_sent(make, promptrun_server, action, said):
    with pytest.raises((ValueError, TypeError, PromptrunError)) as caught:
        action(make())
    assert said in str(caught.value)
    assert promptrun_server.requests == []


ANSWERS = [
    (Fault(status=404, body={"error": {"message": "No such model.", "code": "model_not_found"}}), 'id "vendor/name"'),
    (Fault(status=404, body={"error": {"code": "DeploymentNotFound"}}), 'model id "vendor/name"'),
    (Fault(status=404, body={"error": "vendor/name has no endpoints"}), 'model id "vendor/name"'),
    (Fault(status=404, body={"detail": "Not Found"}), ROOT),
    (Fault(status=404, body={"error": {"message": "Unknown URL: POST /v1/models/chat/completions"}}), ROOT),
    (Fault(body={"error": {"code": 404, "message": "No such model."}}), 'model id "vendor/name"'),
    (Fault(status=404, body="404 page not found"), ROOT),
    (Fault(status=404, headers=HTML, body="<title>404 Not Found</title>"), ROOT),
    (Fault(status=404), ROOT),
    (Fault(status=405), ROOT),
    (Fault(status=200, headers=HTML, body="<!doctype html><title>Welcome</title>"), ROOT),
    (Fault(status=301, headers={"location": "https://host"}), "Redirects are not followed: check `base_url`."),
    (Fault(status=401), "PROMPTRUN_API_KEY or the field `api_key`"),
    (Fault(status=402), "Add credits"),
]


@pytest.mark.parametrize(("answer", "said"), ANSWERS)
def test_mistake_that_the_server_answers_names_its_cause(make, promptrun_server, answer, said):
    promptrun_server.queue(answer)
    with pytest.raises(PromptrunError) as caught:
        make().invoke("Hello")
    assert said in str(caught.value)
    assert ("`base_url`" in str(caught.value)) == (said.startswith(("the root", "Redirects")))
