"""Fields of managed prompts: what can be set, what an error says where it cannot, and the request of GET /prompt."""

from functools import partial
from pathlib import Path

import httpx
import pytest
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

from langchain_promptrun import (
    PromptrunAuthenticationError,
    PromptrunConnectionError,
    PromptrunInvalidRequestError,
    PromptrunNotFoundError,
    PromptrunPrompt,
    PromptrunResponseError,
)

from .promptwire import PROJECT


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Leave no variable of Promptrun but a key."""
    monkeypatch.delenv("PROMPTRUN_BASE_URL", raising=False)
    monkeypatch.setenv("PROMPTRUN_API_KEY", "key-from-env")


def make(**fields):
    return PromptrunPrompt(**{"project_id": "p", **fields})


def refused(**fields):
    with pytest.raises(ValidationError) as caught:
        make(**fields)
    return str(caught.value)


def test_prompt_project_is_the_only_field_required():
    prompt = make()
    assert (prompt.tag, prompt.version, prompt.role, prompt.missing) == ("latest", None, "system", "error")
    assert (prompt.refresh, prompt.cache_dir, prompt.fallback, prompt.on_change) == (60, None, None, None)
    assert (prompt.updates, prompt.timeout, prompt.partial_variables) == ("poll", (10, 10, 10, 10), {})
    assert prompt.api_key.get_secret_value() == "key-from-env"


def test_prompt_project_of_the_environment_is_the_default(monkeypatch):
    monkeypatch.delenv("PROMPTRUN_PROJECT_ID", raising=False)
    with pytest.raises(ValidationError, match=r"pass `project_id`.*PROMPTRUN_PROJECT_ID"):
        PromptrunPrompt()
    monkeypatch.setenv("PROMPTRUN_PROJECT_ID", " from-env ")
    prompt = PromptrunPrompt()
    assert prompt.project_id == PromptrunPrompt(project_id=None).project_id == "from-env"
    assert PromptrunPrompt(project_id="p").project_id == "p"
    assert "project_id" not in prompt.to_json()["kwargs"]


@pytest.mark.parametrize(("fields", "tag"), [({}, "latest"), ({"tag": "prod"}, "prod"), ({"tag": None}, "latest")])
def test_prompt_tag_is_latest_by_default(fields, tag):
    prompt = make(**fields)
    assert (prompt.selector, prompt.label) == ({"projectId": "p", "tag": tag}, f"Promptrun prompt p (tag {tag})")


def test_prompt_copy_goes_from_tag_to_version_and_back():
    assert make().model_copy(update={"version": 3}).selector == {"projectId": "p", "version": 3}
    pinned = make(tag="prod").model_copy(update={"tag": None, "version": 3})
    assert pinned.model_copy(update={"version": None, "tag": "dev"}).selector == {"projectId": "p", "tag": "dev"}
    with pytest.raises(ValidationError, match="`tag` and `version` are both set"):
        make(tag="prod").model_copy(update={"version": 3})
    found, _ = make().configurable_fields(version=ConfigurableField("v")).prepare({"configurable": {"v": 4}})
    assert found.selector == {"projectId": "p", "version": 4}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        *(("project_id", "", "at least 1"), ("tag", "", "at least 1"), ("role", "assistant", "'system' or 'user'")),
        *(
            ("missing", "ignore", "'error' or 'keep'"),
            ("refresh", -1, "greater than"),
            ("max_retries", -1, "greater than"),
        ),
        *(("refresh", float("inf"), "finite"), ("updates", "sse", "'poll', 'push' or 'auto'")),
        *(("version", value, "a number from 1 on, or text such as `v2`") for value in (0, -1, "", True, False)),
        *(("cache_dir", value, "must name a folder") for value in ("", " ", b"", Path())),
        ("projekt_id", "x", "Did you mean `project_id`?"),
        ("projekt_id", "x", "Values of the text's variables go into invoke"),
    ],
)
def test_prompt_field_out_of_range_is_refused_with_advice(name, value, said):
    text = refused(**{name: value})
    assert name in text
    assert said in text


@pytest.mark.parametrize("name", ["tag", "role", "missing", "refresh", "partial_variables", "base_url"])
def test_prompt_field_none_is_the_default_and_a_folder_may_be_a_path(name):
    assert getattr(make(**{name: None}), name) == getattr(make(), name)
    assert make(cache_dir=Path("/tmp") / "x").cache_dir == str(Path("/tmp") / "x")


async def tell(*_):
    """Nothing could wait for it."""


class Teller:
    async def __call__(self, *_):
        """Nothing could wait for it, either."""


@pytest.mark.parametrize("function", [tell, Teller(), partial(tell), partial(Teller())])
def test_prompt_function_that_nothing_waits_for_is_refused(function):
    assert "must be a plain function" in refused(on_change=function)
    with pytest.raises(ValidationError, match=r"partial_variables\.x(.|\n)*must be a plain function"):
        make().partial(x=function)
    plain = make(on_change=print, partial_variables={"x": print, "y": 5})
    assert (plain.on_change, plain.partial_variables) == (print, {"x": print, "y": 5})


def test_prompt_error_about_keys_says_where_they_come_from_and_shows_none(monkeypatch):
    assert "sk-secret" not in refused(api_key="sk-secret", tag="prod", version=1)
    monkeypatch.delenv("PROMPTRUN_API_KEY")
    assert "No API key" in refused()


@pytest.fixture(params=["http_client", "http_async_client"])
def fetch(request, wire):
    """Fetches over either kind of client, as the fields of a prompt say."""
    other = {"http_client", "http_async_client"} - {request.param}
    return lambda **fields: wire.prompt(**fields | dict.fromkeys(other)).pull()


def test_prompt_request_is_the_documented_one_with_headers_query_and_timeouts_of_the_caller(wire, fetch):
    assert fetch(tag="prod").version == 1
    headers = {"X-Team": "a", "Authorization": "Bearer other"}
    fetch(default_headers=headers, default_query={"region": "eu"}, timeout=(1, 2, 3, 4))
    request, other = wire.requests
    assert (request.method, request.content) == ("GET", b"")
    assert request.url == f"https://h.example/v1/prompt?projectId={PROJECT}&tag=prod"
    assert (request.headers["authorization"], request.headers["accept"]) == ("Bearer secret-key", "application/json")
    assert request.headers["user-agent"].startswith("langchain-promptrun/")
    assert "content-type" not in request.headers
    assert tuple(request.extensions["timeout"].values()) == (10, 10, 10, 10)
    assert (other.headers["x-team"], other.headers["authorization"]) == ("a", "Bearer other")
    assert other.url.params["region"] == "eu"
    assert tuple(other.extensions["timeout"].values()) == (1, 2, 3, 4)


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
