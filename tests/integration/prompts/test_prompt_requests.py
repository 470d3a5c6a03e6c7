"""Requests of managed prompts: the request of GET /prompt, and errors that name the prompt."""

import httpx
import pytest

from langchain_promptrun import (
    PromptrunAuthenticationError,
    PromptrunConnectionError,
    PromptrunInvalidRequestError,
    PromptrunNotFoundError,
    PromptrunResponseError,
)

from .promptwire import PROJECT


@pytest.fixture(params=["http_client", "http_async_client"])
def fetch(request, wire):
    """Fetches over either kind of client, as the fields of a prompt say."""
    other = {"http_client", "http_async_client"} - {request.param}
    return lambda **fields: wire.prompt(**fields | dict.fromkeys(other)).pull()


def test_prompt_request_is_the_documented_one(wire, fetch):
    assert fetch(tag="prod").version == 1
    (request,) = wire.requests
    assert (request.method, request.content) == ("GET", b"")
    assert request.url == f"https://h.example/v1/prompt?projectId={PROJECT}&tag=prod"
    assert (request.headers["authorization"], request.headers["accept"]) == ("Bearer secret-key", "application/json")
    assert request.headers["user-agent"].startswith("langchain-promptrun/")
    assert "content-type" not in request.headers
    assert tuple(request.extensions["timeout"].values()) == (10, 10, 10, 10)


def test_prompt_request_has_headers_query_and_timeouts_of_the_caller(wire, fetch):
    headers = {"X-Team": "a", "Authorization": "Bearer other"}
    fetch(default_headers=headers, default_query={"region": "eu"}, timeout=(1, 2, 3, 4))
    (request,) = wire.requests
    assert (request.headers["x-team"], request.headers["authorization"]) == ("a", "Bearer other")
    assert request.url.params["region"] == "eu"
    assert tuple(request.extensions["timeout"].values()) == (1, 2, 3, 4)


def test_prompt_retry_follows_the_rules_of_a_model(wire, fetch):
    wire.status, wire.headers = 503, {"retry-after": "0"}
    with pytest.raises(Exception, match="tag latest"):
        fetch(max_retries=2)
    assert wire.count == 3


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, PromptrunInvalidRequestError, "no"),
        (401, PromptrunAuthenticationError, "no"),
        (404, PromptrunNotFoundError, r"no(.|\n)*Check the project id"),
        (httpx.ConnectError, PromptrunConnectionError, r"Cannot connect to https://h\.example"),
    ],
)
def test_prompt_error_names_the_prompt_and_not_the_key(wire, fetch, status, kind, said):
    wire.status = status
    with pytest.raises(kind, match=rf"^Promptrun prompt {PROJECT} \(tag prod\): {said}") as caught:
        fetch(tag="prod")
    assert caught.value.status_code == (status if isinstance(status, int) else None)
    assert "secret-key" not in f"{caught.value!r} {caught.value} {caught.value.__dict__}"


def test_prompt_answer_beyond_the_limit_is_refused(wire, fetch):
    wire.record = {"prompt": "x" * 1000, "version": 1}
    with pytest.raises(PromptrunResponseError, match="max_event_bytes"):
        fetch(max_event_bytes=500)
