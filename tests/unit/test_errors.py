"""Errors: what is read of a body, which class it becomes, what the error says and carries; it travels whole."""

import copy
import json
import pickle
import time
from pathlib import Path

import cloudpickle
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core import exceptions as core
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_promptrun import errors
from langchain_promptrun._errors.body import BODY_LIMIT, is_context_overflow, read_error
from langchain_promptrun._errors.mapping import error_from_document, error_from_status, is_retried

CORE_REFUSAL = getattr(core, "ModelRefusalError", core.ModelError)
SAME = ("API", "Authentication", "Connection", "InvalidRequest", "NotFound", "PermissionDenied", "RateLimit", "Timeout")
PARENTS = {
    **{getattr(errors, f"Promptrun{name}Error"): getattr(core, f"Model{name}Error") for name in SAME},
    errors.PromptrunPaymentRequiredError: core.ModelError,
    errors.PromptrunContextOverflowError: core.ContextOverflowError,
    errors.PromptrunResponseError: errors.PromptrunAPIError,
    errors.PromptrunStreamTruncatedError: errors.PromptrunConnectionError,
    errors.PromptrunStreamStalledError: errors.PromptrunTimeoutError,
    errors.PromptrunRefusalError: CORE_REFUSAL,
}
CLASSES = [errors.PromptrunError, *PARENTS]
KEYS = [
    *("error", "choices", "finish_reason", "message", "msg", "detail", "code", "type", "status"),
    *("object", "provider", "native_finish_reason", "param", "metadata", "raw", "loc", "request_id"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
    max_leaves=12,
)


def made(status=400, body=b"", headers=None, **more):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_from_status(status, headers or {}, body, **more)


@pytest.mark.parametrize(("kind", "parent"), PARENTS.items(), ids=lambda kind: kind.__name__)
def test_each_class_is_also_cores(kind, parent):
    assert issubclass(kind, errors.PromptrunError)
    assert issubclass(kind, parent)
    assert kind.is_retryable is parent.is_retryable
    assert issubclass(errors.PromptrunTimeoutError, TimeoutError)
    assert "is_retryable" not in vars(errors.PromptrunError)


EMPTY_ACCOUNTS = [
    "Your account has no remaining credits",
    "Insufficient wallet balance",
    "not enough balance",
    "Your credit balance is too low to access the API",
    "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
    "Your team has either used all available credits or reached its monthly spending limit",
    "You've used all your free credits",
    "Key limit exceeded (monthly limit).",
    "This request requires more credits, or fewer max_tokens.",
    "You requested up to 4096 tokens, but can only afford 100",
    "Free quota exhausted, please pay",
    "The free tier of the model has been exhausted. If you wish to continue access the model on a paid basis",
    "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO",
    "Budget has been exceeded! Current cost: 10, Max budget: 5",
    "ExceededBudget: User=x over budget. Spend=1.2, Budget=1.0",
    "LiteLLM User: engineer-1, exceeded budget for model=claude-opus-4-8",
    "Workspace budget exceeded",
    "Payment method required",
    "Please add a payment method",
    "Please top up your account",
    "Account is in overdue status",
    "Access denied: overdue payment",
    "账户余额不足",
    "用户额度不足",
    "余额不足或无可用资源包,请充值。",
    "Your account balance is not enough, please recharge",
    "You exceeded your current quota",
    "Your account is not active, please check your billing details on our website.",
    "Your account has no credits left",
    "Billing hard limit has been reached",
    "Your project has exceeded its monthly spending cap.",
]


@pytest.mark.parametrize(
    "said",
    [
        *({"message": words} for words in EMPTY_ACCOUNTS),
        *({"message": "No.", "code": code} for code in ("insufficient_quota", "billing_hard_limit_reached")),
        *({"message": "No.", "type": kind} for kind in ("budget_exceeded", "project_spend_limit_exceeded")),
        *({"message": "No.", "type": kind} for kind in ("NOT_ENOUGH_BALANCE", "Arrearage")),
        {"message": "No.", "type": "exceeded_current_quota_error"},
    ],
)
def test_an_empty_account_is_a_rate_limit_that_no_one_retries(said):
    error = made(429, {"error": said})
    assert type(error) is errors.PromptrunRateLimitError
    assert (is_retried(error), error.is_retryable) == (False, False)
    assert "Add credits" in str(error)
    assert pickle.loads(pickle.dumps(error)).is_retryable is False


@pytest.mark.parametrize(
    "words",
    [
        "Rate limit: please top up, or try again in 3s",
        "desktop up-to-date limit",
        "rate limit overdue? retry",
        "Model is at capacity; upgrade for more credits/min",
        "too many concurrent requests for your credit tier",
        "load balancing: insufficient capacity",
        "The thinking budget exceeded the time that is left",
        "Your monthly key limits are fine; slow down",
    ],
)
def test_an_empty_account_is_not_taken_from_other_words(words):
    error = made(429, {"error": {"message": words}})
    assert is_retried(error)
    assert "Add credits" not in str(error)


@pytest.mark.parametrize(
    ("words", "wait"),
    [
        ("Rate limit reached. Please try again in 7.66s.", 7.66),
        ("Please try again in 1m30s", 90.0),
        ("try again in 350ms", 0.35),
        ("try again in 350 milliseconds", 0.35),
        ("Please try again in 2 days", 172_800.0),
        ("Please retry after 26 seconds.", 26.0),
        ("Retry your request after 5 seconds.", 5.0),
        ("Rate limit resets in 11s", 11.0),
        ("try again in about 1h2m3s", 3723.0),
        ("slow down, try again later", None),
        ("context of 128k tokens used within 60s", None),
        ("Retry after: 15", 15.0),
        ("Retry-After: 7", 7.0),
        ("retry_after=2.5", 2.5),
        ("Retry after: 1.5s", 1.5),
        ("retryDelay: 12s", 12.0),
        ("Please wait 26 seconds before retrying.", 26.0),
        ("try again in 5 minutes and 3 seconds", 303.0),
        ("try again in 1 hour, 2 minutes, and 3 seconds", 3723.0),
        ("Estimated wait time: 20 s", 20.0),
        ("请在 30 秒后重试", 30.0),
        ("请求过于频繁,请1分钟后再试", 60.0),
        ("请等待 500 毫秒", 0.5),
        ("wait time exceeded 600 s", None),
        ("Retry-After: 2026-11-30T00:00:00Z", None),
        ("We retry 3 times a minute", None),
        ("Try again later, limit 20s", None),
        ("Too many requests: 60 per 60 seconds", None),
    ],
)
def test_a_wait_is_read_from_words(words, wait):
    assert made(429, {"error": {"message": words}}).retry_after == wait


@pytest.mark.parametrize(
    ("fields", "wait"),
    [
        ({"retryDelay": {"seconds": 3}}, 3.0),
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": 12.5}, 12.5),
        ({"retryAfterSeconds": 4}, 4.0),
        ({"retry_after_ms": 1500.5}, 1.5005),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"estimated_time": 20.5}, 20.5),
        ({"resets_in_seconds": 4532}, 4532.0),
        ({"retryAfterMs": 1500}, 1.5),
        ({"retry_after_ms": None, "retryAfterSeconds": None}, None),
        ({"details": [*({"@type": str(number)} for number in range(6)), {"retryDelay": "30s"}]}, 30.0),
    ],
)
def test_a_wait_is_read_from_a_field(fields, wait):
    body = {"error": {"message": "Try again in 3s." if wait else "Slow down.", **fields}}
    assert made(429, body).retry_after == wait
    for header, seconds in (("5", 5.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 0)):
        assert made(429, body, {"retry-after": header}).retry_after == seconds


GOOGLE = {"message": "Provider returned error", "code": 429, "metadata": {"provider_name": "Google"}}
CHECK_KEY = "Check the key: the environment variable PROMPTRUN_API_KEY or the field `api_key`."
SHORTEN = "Send fewer or shorter messages, or choose a model with a larger context."
CREDITS = "Add credits to the Promptrun account: https://app.promptrun.ai."
SAID = [
    (401, {"error": {"message": "No auth\ncreds"}}, f"No auth creds\n{CHECK_KEY} (status 401, request id: req_1)"),
    (402, {"error": "m"}, f"m\n{CREDITS} (status 402, request id: req_1)"),
    (400, {"error": "prompt is too long"}, f"prompt is too long\n{SHORTEN} (status 400, request id: req_1)"),
    (308, {"error": "m"}, "m\nRedirects are not followed: check `base_url`. (status 308, request id: req_1)"),
    *((status, {"error": "m"}, f"m (status {status}, request id: req_1)") for status in (400, 403, 404, 429, 500)),
    (502, b"", "The server answered 502 Bad Gateway without saying why. (status 502, request id: req_1)"),
    (599, b"", "The server answered 599 without saying why. (status 599, request id: req_1)"),
    (429, {"error": GOOGLE}, "Provider returned error (provider: Google) (status 429, request id: req_1)"),
    (500, {"error": GOOGLE | {"message": "Google failed"}}, "Google failed (status 500, request id: req_1)"),
]


@pytest.mark.parametrize(("status", "body", "said"), SAID)
def test_error_says_the_servers_words_then_what_to_do_then_the_facts(status, body, said):
    assert str(made(status, body, {"x-request-id": "req_1"})) == said


@pytest.mark.parametrize("kind", CLASSES)
def test_a_message_has_at_most_1000_characters(kind):
    error = kind("x" * 10**6, request_id="r" * 10**4, status_code=500)
    assert len(str(error)) == 1_000
    assert str(error).endswith(")")


def test_error_without_facts_is_its_message_and_a_request_id_set_later_is_told_too():
    """A parser makes the error, the transport knows the headers."""
    plain = errors.PromptrunError("m"), errors.PromptrunError("m", status_code=200), errors.PromptrunError()
    assert [str(error) for error in plain] == ["m", "m", ""]
    error = errors.PromptrunStreamTruncatedError("cut")
    error.request_id = "req_1"
    assert str(error) == "cut (request id: req_1)"


ID_HEADERS = ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-ms-request-id", "cf-ray"]


@pytest.mark.parametrize("name", ID_HEADERS)
def test_error_takes_the_request_id_from_a_header_before_the_body(name):
    body = {"type": "error", "error": {"message": "m"}, "request_id": "in-body"}
    assert made(500, body, {"x-request-id": "", name: "id-1"}).request_id == "id-1"
    assert made(500, body).request_id == "in-body"


DETAILS = {
    "status_code": 429,
    "code": "c",
    "type": "t",
    "param": "p",
    "request_id": "req_1",
    "retry_after": 1.5,
    "body": '{"a": 1}',
    "response": httpx.Response(429, headers={"x": "y"}, content=b"body"),
    "provider": "Google",
    "partial": AIMessageChunk(content="so far"),
    "phase": "read",
}
COPIERS = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "oldest pickle": lambda error: pickle.loads(pickle.dumps(error, 0)),
    "cloudpickle": lambda error: pickle.loads(cloudpickle.dumps(error)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("copied", COPIERS.values(), ids=COPIERS)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_copy_has_the_message_and_all_attributes(kind, copied):
    error = kind("m" * 2_000, **DETAILS)
    error.add_note("a note")
    twin = copied(error)
    assert type(twin) is kind
    assert (str(twin), twin.args, twin.__notes__) == (str(error), error.args, ["a note"])
    for name, value in DETAILS.items():
        if name == "response":
            assert (twin.response.status_code, twin.response.text) == (429, "body")
        else:
            assert getattr(twin, name) == value


def test_details_lists_all_attributes_there_are():
    assert set(DETAILS) == errors.ErrorDetails.__optional_keys__
    assert set(DETAILS) == set(errors.PromptrunError.__annotations__)
    with pytest.raises(TypeError, match="PromptrunAPIError got unexpected keyword arguments: colour"):
        errors.PromptrunAPIError("m", colour="red")


def test_a_refusal_carries_its_message():
    raw = AIMessage(content="")
    error = errors.PromptrunRefusalError("I cannot help with that.", raw_message=raw, request_id="req_1")
    assert str(error) == "I cannot help with that. (request id: req_1)"
    assert pickle.loads(pickle.dumps(error)).raw_message == raw
    assert str(errors.PromptrunRefusalError()) == "The model refused to answer."


def test_the_body_of_a_document_is_capped_and_empty_where_that_cannot_be_written():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    found = [error_from_document({"error": "m", "at": value}, 200, {}) for value in (deep, 10**5_000)]
    assert [error.body for error in found] == ["", ""]
    assert error_from_document({"error": "m", "half": "\ud800"}, 200, {}).body.isascii()
    assert len(error_from_document({"error": "m", "long": "x" * 10**6}, 200, {}).body) == 65_536


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": {"error": {"message": "nested"}}}', "nested"),
        ('{"detail": {"error": "in a detail"}}', "in a detail"),
        ('{"Message": "AWS says"}', "AWS says"),
        ('{"error": "invalid_token", "error_description": "expired"}', "expired"),
        ('{"error": true, "message": "flag"}', "flag"),
        ('{"error": {"message": "{\\"error\\": {\\"message\\": \\"JSON in a string\\"}}"}}', "JSON in a string"),
        ('{"type": "about:blank", "title": "Gone", "detail": "It moved"}', "It moved"),
        ('{"timestamp": 1, "status": 401, "error": "Unauthorized", "path": "/v1"}', "Unauthorized"),
        ("<400> InternalError: not a page", "<400> InternalError: not a page"),
        ("[ERROR] not JSON", "[ERROR] not JSON"),
        ("\ufeff  spaced \n out  ", "spaced out"),
        ("a\x1b[31m\u2028b\ud800c\u202e\nd", "a [31m b c d"),
        ('event: error\ndata: {"message": "streamed"}\n\n', "streamed"),
        ("event: error\n\n", "event: error"),
        ("<html><title> </title><body><h1 class='x'>Sorry &amp; bye</h1>", "Sorry & bye"),
        *(("<p>no <b>title</b></p>", "no title"), ("<h1>One</h1><h1>Two</h1>", "One")),
        ('{"error": {"message": "bad escape \\uD', "bad escape \\uD"),
        ('{"unknown": "shape"}', ""),
        ('{"message": "Slow down", "metadata": {"raw": "Slow down, please"}}', "Slow down, please"),
        ('{"error": {"metadata": {"raw": "only upstream"}}}', "only upstream"),
    ],
)
def test_the_message_is_found_in(body, message):
    assert read_error(body).message == message


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Blocked", "metadata": {"reasons": ["x"], "flagged_input": "SECRET"}},
        {"message": "Tool call validation failed", "failed_generation": "SECRET"},
        {"code": 400, "input": "SECRET", "messages": [{"content": "SECRET"}]},
        {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "Field required", "input": "SECRET"}]},
    ],
)
def test_what_a_server_echoes_of_the_prompt_stays_out_of_the_message(error):
    assert "SECRET" not in read_error({"error": error}).message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429}, 429),
        ({"code": "503"}, 503),
        ({"code": 502.0}, 502),
        ({"statusCode": 401}, 401),
        ({"errorCode": "429"}, 429),
        ({"error": 500}, 500),
        ({"code": "rate_limit_exceeded"}, 429),
        ({"type": "overloaded_error"}, 529),
        ({"type": "RateLimitError"}, 429),
        ({"status": "RESOURCE_EXHAUSTED"}, 429),
        ({"error": "insufficient_quota"}, 429),
        ({"type": "ThrottlingException"}, 429),
        ({"code": "tool_use_failed", "type": "invalid_request_error"}, 400),
        ({"code": 429, "type": "invalid_request_error"}, 429),
        *(({"code": code}, None) for code in (200, 600, True, float("nan"), 10**400, 429.5, "nothing_known")),
        ({"error": "Some sentence about a timeout"}, None),
        ({}, None),
    ],
)
def test_a_code_or_a_type_stands_for_a_status(error, status):
    assert read_error(error).status == status


def test_a_code_is_rather_a_name_than_a_number_and_a_type_says_more_than_error():
    nested = {"code": 400, "metadata": {"raw": {"code": "model_not_found"}}}
    codes = [read_error(value).details["code"] for value in (nested, {"code": 20015}, {"code": True})]
    assert codes == ["model_not_found", "20015", None]
    types = [read_error({"type": "error", "error": {"type": "overloaded_error"}}), read_error({"status": 429})]
    assert [error.details["type"] for error in types] == ["overloaded_error", None]


@pytest.mark.parametrize(
    "body",
    [
        "[" * 60_000,
        '{"error":' * 6_000,
        json.dumps("x" * 30_000).join(['{"error":', "}"]),
        '{"message":"' * 5_000,
        "<title>" * 9_000,
        "<h1" * 20_000,
        "<" * 60_000,
        "data:" * 12_000,
        '{"a":' + "9" * 60_000 + "}",
        "\\" * 60_000,
        '"' + "\\u00" * 15_000,
        *("exceed " * 600, "context " * 500, "input tokens " * 300, "too large: 1" * 300, "( " * 2_000),
        "request too large for " * 180,
    ],
    ids=range(17),
)
def test_hostile_bodies_are_read_quickly(body):
    start = time.process_time()
    assert len(made(429, body.encode()).body) == len(body)
    assert time.process_time() - start < 5


def test_error_body_is_read_no_deeper_and_no_further_than_the_limits():
    value = "deep"
    for _ in range(20):
        value = {"error": value}
    assert read_error(value).message == ""
    assert read_error(" " * BODY_LIMIT + "hidden").message == ""
    assert read_error("x" * 5_000).message == "x" * 3_997 + "..."


@given(
    status=st.integers(100, 999),
    headers=st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-request-id", "cf-ray"]), st.text()),
    body=st.binary() | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()),
    document=JSON,
    is_error=st.booleans(),
)
def test_no_answer_makes_it_raise(status, headers, body, document, is_error):
    error = error_from_status(status, headers, body)
    assert isinstance(error, errors.PromptrunError)
    assert error.retry_after is None or error.retry_after >= 0
    assert len(str(error)) <= 1_000
    assert str(error).count("\n") <= 1
    assert pickle.loads(pickle.dumps(error)).body == error.body
    error = error_from_document(document, 200, {}, is_error=is_error)
    assert error is not None or not is_error
    assert error is None or len(str(error)) <= 1_000
    for value in (error and (error.code, error.type, error.param, error.provider, error.request_id)) or ():
        assert value is None or 0 < len(value) <= 200


# Which words mean that the input is too long. `context_overflow.json` has what servers answered. The rules were written
# from the lists of that name; the others were collected apart and only check: no rule was made or changed for one of
# them.

TEXTS = json.loads(Path(__file__).with_name("context_overflow.json").read_text("utf-8"))
ROWS = [pytest.param(text, kind, id=f"{kind}: {name}") for kind in TEXTS for name, text in TEXTS[kind].items()]


@pytest.mark.parametrize(("text", "kind"), ROWS)
def test_context_overflow_is_told_by_the_words_of_servers(text, kind):
    # a shorter input would not help an output that alone is over the limit, whatever the code says
    names = ["contextlengthexceeded"] if kind == "output alone" and "context" in text else []
    assert is_context_overflow(text, names) is kind.startswith("too long")


NAMES = {
    True: ["contextlengthexceeded", "exceedcontextsize", "contextwindowexceeded", "modelcontextwindowexceeded"],
    False: ["ratelimitexceeded", "requesttoolarge", "stringabovemaxlength", "invalidrequest"],
}


@pytest.mark.parametrize(("name", "is_overflow"), [(name, told) for told, names in NAMES.items() for name in names])
def test_context_overflow_is_told_by_a_code_or_type_without_words(name, is_overflow):
    assert is_context_overflow("no", ["invalidrequest", name]) is is_overflow
