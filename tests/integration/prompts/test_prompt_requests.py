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
    assert request.headers["authorization"] == "Bearer secret-key"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("langchain-promptrun/")
    assert "content-type" not in request.headers


def test_prompt_request_has_headers_and_query_of_the_caller(wire, fetch):
    fetch(default_headers={"X-Team": "a", "Authorization": "Bearer other"}, default_query={"region": "eu"})
    (request,) = wire.requests
    assert request.headers["x-team"] == "a"
    assert request.headers["authorization"] == "Bearer other"
    assert request.url.params["region"] == "eu"


def test_prompt_timeouts_are_10_seconds_or_the_callers(wire, fetch):
    fetch()
    fetch(timeout=(1, 2, 3, 4))
    found = [tuple(request.extensions["timeout"].values()) for request in wire.requests]
    assert found == [(10, 10, 10, 10), (1, 2, 3, 4)]


def test_prompt_retry_follows_the_rules_of_a_model(wire, fetch):
    wire.status, wire.headers = 503, {"retry-after": "0"}
    with pytest.raises(Exception, match="tag latest"):
        fetch(max_retries=2)
    assert wire.count == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, PromptrunInvalidRequestError), (401, PromptrunAuthenticationError), (404, PromptrunNotFoundError)],
)
def test_prompt_error_names_the_prompt_and_not_the_key(wire, fetch, status, kind):
    wire.status = status
    with pytest.raises(kind) as caught:
        fetch(tag="prod")
    assert str(caught.value).startswith(f"Promptrun prompt {PROJECT} (tag prod): no")
    assert caught.value.status_code == status
    assert "secret-key" not in f"{caught.value!r} {caught.value} {caught.value.__dict__}"


def test_prompt_error_of_an_unknown_version_says_what_to_check(wire, fetch):
    wire.status = 404
    with pytest.raises(PromptrunNotFoundError, match=r"\(version 9\)(.|\n)*Check the project id"):
        fetch(version=9)


def test_prompt_answer_beyond_the_limit_is_refused(wire, fetch):
    wire.record = {"prompt": "x" * 1000, "version": 1}
    with pytest.raises(PromptrunResponseError, match="max_event_bytes"):
        fetch(max_event_bytes=500)


def test_prompt_error_of_a_lost_connection_names_the_prompt(wire, fetch):
    def lost(_):
        raise httpx.ConnectError("refused")

    client, async_client = (
        httpx.Client(transport=httpx.MockTransport(lost)),
        httpx.AsyncClient(transport=httpx.MockTransport(lost)),
    )
    with pytest.raises(PromptrunConnectionError, match=r"\(tag latest\): Cannot connect to https://h\.example"):
        fetch(http_client=client, http_async_client=async_client)
