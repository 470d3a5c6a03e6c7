"""What can be set on a model, under which names, and what it says when it cannot; ranges are in test_mistakes.py."""

import ast
import inspect
import itertools
import logging

import httpx
import pytest
from pydantic import Field, SecretStr, ValidationError

from langchain_promptrun import ChatPromptrun, PromptrunPrompt
from langchain_promptrun.data.models import LARGE, OTHER_VENDOR, SMALL

KNOWN = "anthropic/claude-3.5-haiku"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("PROMPTRUN_API_KEY", "key-from-env")


def make(**fields):
    return ChatPromptrun(**{"model": "vendor/name", **fields})


def refused(**fields):
    with pytest.raises(ValidationError) as caught:
        make(**fields)
    return caught.value


def test_only_the_model_is_required_and_all_is_by_keyword_or_alias():
    model = ChatPromptrun.model_validate({"model_name": "vendor/name"})
    assert ChatPromptrun.model_validate(model) is model
    assert (model.model, model.model_name, model.timeouts) == (*["vendor/name"] * 2, (10, 600, 600, 600))
    assert make(stop_sequences=["a"]).stop == make(stop=["a"]).stop_sequences == ["a"]
    with pytest.raises(ValidationError, match="Field required"):
        ChatPromptrun()
    with pytest.raises(TypeError):
        ChatPromptrun("vendor/name")


def test_an_unknown_keyword_of_a_subclass_may_name_its_field():
    class Mine(ChatPromptrun):
        tenant: str = Field(default="a", json_schema_extra=lambda schema: schema.clear())

    assert Mine(model="vendor/name", tenant="b").tenant == "b"
    with pytest.raises(ValidationError, match="Did you mean `tenant`"):
        Mine(model="vendor/name", tennant="b")


def unasked():
    raise AssertionError


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        *(("timeout", 5, (5, 5, 5, 5)), ("timeout", None, (None,) * 4), ("timeout", [1, None, 3, 4], (1, None, 3, 4))),
        ("timeout", httpx.Timeout(9, connect=1, pool=None), (1, 9, 9, None)),
        ("logit_bias", {50256: -100}, {"50256": -100}),
        ("default_headers", {"x-a": SecretStr("b")}, {"x-a": "b"}),
        ("default_query", {"a": SecretStr("b"), "c": 5}, {"a": "b", "c": 5}),
        # OpenAI's `metadata` is a parameter; LangChain's field of that name never goes out.
        ("model_kwargs", {"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
        *(("api_key", key, SecretStr("sk-1")) for key in ("sk-1", SecretStr("sk-1"), " sk-1\n")),
        ("api_key", unasked, unasked),
        *(("base_url", f"{before}https://h/v1{after}", "https://h/v1") for before, after in (("", "/"), (" ", "\n"))),
    ],
)
def test_a_value_is_kept_in_the_form_in_which_it_is_used(field, given, kept):
    assert getattr(make(**{field: given}), field) == kept


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "base_url", "model_kwargs", "extra_body", "max_retries", "max_retry_after", "stream_usage"),
        *("include_response_headers", "async_transport", "max_event_bytes", "structured_output_method"),
        *("send_reasoning", "send_names"),
    ],
)
def test_a_none_that_says_nothing_is_the_default(name):
    assert getattr(make(**{name: None}), name) == getattr(make(), name)


@pytest.mark.parametrize(
    ("fields", "bare"),
    [
        (ChatPromptrun, []),
        *((base, ["_transport"]) for base in ChatPromptrun.__mro__ if base.__name__ == "ConnectionFields"),
        (PromptrunPrompt, ["keyword_advice", "_hold", "_unfilled"]),
    ],
)
def test_every_field_is_documented_below_its_name(fields, bare):
    (declared,) = ast.parse(inspect.getsource(fields)).body
    undocumented = [
        ast.unparse(field.target)
        for field, below in itertools.pairwise(declared.body)
        if isinstance(field, ast.AnnAssign) and not isinstance(below, ast.Expr)
    ]
    assert undocumented == bare


GATEWAY = "https://gateway.example/v1"
PROMPTRUN = "https://api.promptrun.ai/v1"
OTHERS = ("OPENAI_BASE_URL", "OPENAI_API_BASE", "LANGSMITH_GATEWAY")


@pytest.mark.parametrize(
    ("variables", "fields", "key", "url"),
    [
        ({"PROMPTRUN_BASE_URL": f"{GATEWAY}/"}, {}, "key-from-env", GATEWAY),
        ({"PROMPTRUN_API_KEY": " sk-1\n", "PROMPTRUN_BASE_URL": f" {GATEWAY}\n"}, {}, "sk-1", GATEWAY),
        ({"PROMPTRUN_BASE_URL": GATEWAY}, {"api_key": "mine", "base_url": PROMPTRUN}, "mine", PROMPTRUN),
        *(({name: GATEWAY, "PROMPTRUN_BASE_URL": " "}, {}, "key-from-env", PROMPTRUN) for name in OTHERS),
    ],
)
def test_key_and_url_come_from_promptruns_variables_unless_they_are_given(monkeypatch, variables, fields, key, url):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    model = make(**fields)
    assert (model.api_key.get_secret_value(), model.base_url) == (key, url)


NO_KEY = "Set the environment variable PROMPTRUN_API_KEY, or pass `api_key`"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        *(({"PROMPTRUN_API_KEY": ""}, NO_KEY), ({"PROMPTRUN_API_KEY": " \n", "OPENAI_API_KEY": "theirs"}, NO_KEY)),
        *(({"PROMPTRUN_API_KEY": key}, "quotation marks") for key in ("'sk-1'", '"sk-1"')),
        ({"PROMPTRUN_API_KEY": "Bearer sk-1"}, "begins with `Bearer`"),
        ({"PROMPTRUN_BASE_URL": "gateway.example"}, "PROMPTRUN_BASE_URL"),
    ],
)
def test_a_variable_that_is_missing_or_cannot_be_right_is_named(monkeypatch, variables, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert said in str(refused())


@pytest.mark.parametrize(
    "fields",
    [
        *({"temprature": 1}, {"temperature": 9}, {"max_tokens": 1, "max_completion_tokens": 1}, {"model": None}),
        *({"model_kwargs": {"temperature": 1}}, {"base_url": "https://user:s3cret@host"}, {"openai_api_key": "s3cret"}),
        *({"default_headers": "s3cret"}, {"default_headers": {"x-a": "s3cret\n"}}, {"default_query": ["s3cret"]}),
        *({"default_headers": headers} for headers in ({"x-a: s3cret": "b"}, {"x-a: s3cret": 5}, {("s3cret",): "b"})),
        *({"api_key": ["s3cret"]}, {"base_url": "https://host/v1?key=s3cret"}, {"model_kwargs": {"api_key": "s3cret"}}),
        *({"model_kwargs": kwargs} for kwargs in ({"extra_headers": {"x": "s3cret"}}, "s3cret", ["s3cret"])),
        *({"extra_body": "s3cret"}, {"extra_body": "s3cret", "temperature": 9}, {"model_kwargs": {("s3cret",): 1}}),
    ],
)
def test_an_error_shows_neither_key_nor_headers(fields):
    secrets = {"api_key": "s3cret", "default_headers": {"x-key": "s3cret"}, "default_query": {"key": "s3cret"}}
    with pytest.raises(ValidationError) as without_model:
        ChatPromptrun(**{**secrets, **fields})
    for error in (refused(**{**secrets, **fields}), without_model.value):  # the latter shows all fields
        assert "s3cret" not in f"{error} {error!r} {error.errors()} {error.json()}"


def test_profile_of_a_retired_model_logs_one_warning(promptrun_server, caplog):
    for _ in range(2):
        ChatPromptrun(model=f"{KNOWN}:once")
        make().invoke("x", model=f"{KNOWN}:of-a-call")
    assert [(r.levelno, KNOWN in r.getMessage()) for r in caplog.records] == [(logging.WARNING, True)] * 2


@pytest.mark.parametrize("model", [SMALL, LARGE, OTHER_VENDOR])
def test_profile_of_a_model_that_we_name_is_known_and_not_retired(caplog, model):
    """Choose others in `data/models.py` where this fails."""
    assert ChatPromptrun(model=model).profile.get("status") not in {"retired", "deprecated"}
    assert caplog.records == []
