"""Claims of `_error_bodies`: every known shape of an error is read, and no shape at all makes it raise."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._errors.body import BODY_LIMIT, read_error, tidy

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("error", "message", "msg", "detail", "code", "type", "status"),
                    *("param", "metadata", "raw", "loc", "provider_name", "request_id"),
                ]
            ),
            inner,
        )
    ),
    max_leaves=30,
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": "You must provide either `version` or `tag`."}', "You must provide either `version` or `tag`."),
        ('{"error": {"message": "No such model", "type": "t"}}', "No such model"),
        ('{"error": {"error": {"message": "nested"}}}', "nested"),
        ('{"error": ["first", "second"]}', "first; second"),
        ('[{"error": {"code": 400, "message": "Google says", "status": "INVALID_ARGUMENT"}}]', "Google says"),
        ('{"detail": "Not Found"}', "Not Found"),
        ('{"detail": {"error": "in a detail"}}', "in a detail"),
        ('{"message": "plain message"}', "plain message"),
        ('{"Message": "AWS says"}', "AWS says"),
        ('{"object": "error", "message": "vLLM says", "code": 40303}', "vLLM says"),
        ('{"error": "invalid_token", "error_description": "expired"}', "expired"),
        ('{"error": true, "message": "flag"}', "flag"),
        ('{"error": {"message": "{\\"error\\": {\\"message\\": \\"JSON in a string\\"}}"}}', "JSON in a string"),
        ('{"success": false, "errors": [{"code": 7003, "message": "Cloudflare says"}]}', "Cloudflare says"),
        ('{"type": "about:blank", "title": "Gone", "detail": "It moved"}', "It moved"),
        ('{"timestamp": 1, "status": 401, "error": "Unauthorized", "path": "/v1"}', "Unauthorized"),
        ('"a JSON string"', "a JSON string"),
        ("upstream connect error", "upstream connect error"),
        ("<400> InternalError: not a page", "<400> InternalError: not a page"),
        ("[ERROR] not JSON", "[ERROR] not JSON"),
        ("\ufeff  spaced \n out  ", "spaced out"),
        ('event: error\ndata: {"message": "streamed"}\n\n', "streamed"),
        ("event: error\n\n", "event: error"),
        ("<!DOCTYPE html><html><head><title>502 Bad\nGateway</title></head>", "502 Bad Gateway"),
        ("<html><title> </title><body><h1 class='x'>Sorry &amp; bye</h1>", "Sorry & bye"),
        ("<?xml version='1.0'?><Error><Code>A</Code><Message>No key</Message></Error>", "No key"),
        ("<p>no <b>title</b></p>", "no title"),
        ('{"error": {"message": "cut \\"off\\" in the mid', 'cut "off" in the mid'),
        ('{"error": {"message": "bad escape \\uD', "bad escape \\uD"),
        ('{"unknown": "shape"}', ""),
        ("{}", ""),
        ("[]", ""),
        ("", ""),
    ],
)
def test_the_message_is_found_in(body, message):
    assert read_error(body).message == message


def test_an_upstream_error_is_told_with_its_vendor():
    """OpenRouter's shape, with the vendor's answer as JSON in a string."""
    raw = json.dumps({"error": {"message": "Too long.", "type": "invalid_request_error", "code": "overflow"}})
    error = {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw, "provider_name": "OpenAI"}}
    found = read_error({"error": error, "user_id": "user_1"})
    assert found.message == "Provider returned error: Too long."
    assert (found.provider, found.code, found.type, found.status) == (
        "OpenAI",
        "overflow",
        "invalid_request_error",
        400,
    )


def test_an_upstream_message_is_not_told_twice():
    assert read_error({"message": "Slow down", "metadata": {"raw": "Slow down, please"}}).message == "Slow down, please"


def test_an_upstream_message_alone_is_told():
    assert read_error({"error": {"metadata": {"raw": "only upstream"}}}).message == "only upstream"


def test_a_validation_error_names_the_place_and_leaves_out_the_input():
    """FastAPI echoes the input; it may be the prompt."""
    detail = [
        {"loc": ["body", "messages", 0, "content"], "msg": "Field required", "type": "missing", "input": "SECRET"},
        {"loc": ["query", "n"], "msg": "Not a number", "input": "SECRET"},
    ]
    found = read_error({"detail": detail})
    assert found.message == "messages.0.content: Field required; query.n: Not a number"
    assert found.param == "messages.0.content"


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Blocked", "metadata": {"reasons": ["x"], "flagged_input": "SECRET"}},
        {"message": "Tool call validation failed", "failed_generation": "SECRET"},
        {"code": 400, "input": "SECRET", "messages": [{"content": "SECRET"}]},
    ],
)
def test_what_a_server_echoes_of_the_prompt_stays_out_of_the_message(error):
    assert "SECRET" not in read_error({"error": error}).message


def test_a_name_goes_before_a_number_as_code():
    nested = {"code": 400, "metadata": {"raw": {"code": "model_not_found"}}}
    assert read_error(nested).code == "model_not_found"
    assert read_error({"code": 20015}).code == "20015"
    assert read_error({"code": True}).code is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429}, 429),
        ({"code": "503"}, 503),
        ({"code": 502.0}, 502),
        ({"statusCode": 401}, 401),
        ({"error": 500}, 500),
        ({"code": "rate_limit_exceeded"}, 429),
        ({"type": "overloaded_error"}, 529),
        ({"type": "RateLimitError"}, 429),
        ({"status": "RESOURCE_EXHAUSTED"}, 429),
        ({"error": "insufficient_quota"}, 429),
        ({"type": "ThrottlingException"}, 429),
        ({"code": "tool_use_failed", "type": "invalid_request_error"}, 400),
        ({"code": 429, "type": "invalid_request_error"}, 429),
        ({"code": 200}, None),
        ({"code": 600}, None),
        ({"code": True}, None),
        ({"code": float("nan")}, None),
        ({"code": 10**400}, None),
        ({"code": 429.5}, None),
        ({"code": "nothing_known"}, None),
        ({"error": "Some sentence about a timeout"}, None),
        ({}, None),
    ],
)
def test_a_code_or_a_type_stands_for_a_status(error, status):
    assert read_error(error).status == status


def test_the_type_is_a_name():
    """Anthropic's outer type is only "error", Google's `status` may be a number."""
    assert read_error({"type": "error", "error": {"type": "overloaded_error"}}).type == "overloaded_error"
    assert read_error({"status": 429}).type is None


def test_the_request_id_in_a_body_is_read():
    assert read_error({"type": "error", "error": {"message": "m"}, "request_id": "req_1"}).request_id == "req_1"


def test_names_are_plain():
    assert read_error({"code": "Context_Length-exceeded", "type": "BadRequestError"}).names == (
        "contextlengthexceeded",
        "badrequest",
    )


def test_control_characters_and_surrogates_do_not_survive():
    assert tidy("a\x1b[31m\u2028b\ud800c\u202e\nd", 100) == "a [31m b c d"


def test_a_text_is_cut_with_dots():
    assert tidy("x" * 50, 10) == "xxxxxxx..."


@given(JSON)
def test_no_document_makes_it_raise(document):
    found = read_error(document)
    assert len(found.message) <= 4_000
    for value in (found.code, found.type, found.param, found.provider, found.request_id):
        assert value is None or 0 < len(value) <= 200


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")) | JSON.map(json.dumps))
def test_no_text_makes_it_raise(text):
    assert "\n" not in read_error(text).message


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
    ],
    ids=range(11),
)
def test_hostile_bodies_are_read_quickly(body):
    start = time.process_time()
    assert len(read_error(body).message) <= 4_000
    assert time.process_time() - start < 5


def test_a_value_deeper_than_any_error_is_ignored():
    value = "deep"
    for _ in range(20):
        value = {"error": value}
    assert read_error(value).message == ""


def test_no_more_is_read_than_the_limit():
    assert read_error(" " * BODY_LIMIT + "hidden").message == ""
