"""What can be set on a model, under which names, in which ranges, and what it says when it cannot."""

from __future__ import annotations

import ast
import inspect
import itertools
import logging

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from langchain_promptrun import ChatPromptrun, PromptrunPrompt, __version__
from langchain_promptrun.data.models import LARGE, OTHER_VENDOR, SMALL

KNOWN = "anthropic/claude-3.5-haiku"
RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "n": (1, 128),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "top_logprobs": (0, 20),
}
"""Those that OpenAI documents; nothing else is refused by its size."""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No variable of Promptrun's but a key."""
    monkeypatch.delenv("PROMPTRUN_BASE_URL", raising=False)
    monkeypatch.delenv("LC_OUTPUT_VERSION", raising=False)
    monkeypatch.setenv("PROMPTRUN_API_KEY", "key-from-env")


def make(**fields):
    return ChatPromptrun(**{"model": "vendor/name", **fields})


def refused(**fields):
    with pytest.raises(ValidationError) as caught:
        make(**fields)
    return caught.value


def test_only_the_model_is_required():
    model = ChatPromptrun(model="vendor/name")
    assert model.timeouts == (10, 600, 600, 600)
    defaults = {
        "base_url": "https://api.promptrun.ai/v1",
        "stream_chunk_timeout": 120,
        "max_retries": 2,
        "max_retry_after": 60,
        "max_event_bytes": 64 * 1024 * 1024,
        "streaming": None,
        "stream_usage": True,
        "structured_output_method": "function_calling",
        "send_reasoning": True,
        "send_names": True,
        "async_transport": "auto",
        "max_connections": None,
    }
    assert {name: getattr(model, name) for name in defaults} == defaults
    with pytest.raises(ValidationError, match="Field required"):
        ChatPromptrun()
    with pytest.raises(TypeError):
        ChatPromptrun("vendor/name")


@pytest.mark.parametrize(
    ("name", "alias", "value"), [("model", "model_name", "vendor/name"), ("stop", "stop_sequences", ["a"])]
)
def test_an_alias_sets_and_reads_its_field(name, alias, value):
    for given in (name, alias):
        model = ChatPromptrun(**{"model": "vendor/name"} | {given: value} if name == "stop" else {given: value})
        assert getattr(model, name) == getattr(model, alias) == value


def test_an_unknown_keyword_of_a_subclass_may_name_its_field():
    class Mine(ChatPromptrun):
        tenant: str = "a"

    assert Mine(model="vendor/name", tenant="b").tenant == "b"
    with pytest.raises(ValidationError, match="Did you mean `tenant`"):
        Mine(model="vendor/name", tennant="b")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, end) for field, ends in RANGES.items() for end in ends),
        *(("max_tokens", 1), ("max_completion_tokens", 1), ("reasoning_effort", "xhigh"), ("seed", -5)),
        *(("stream_chunk_timeout", None), ("max_retries", 0), ("max_retry_after", 0)),
    ],
)
def test_the_ends_of_the_ranges_are_taken(field, value):
    assert getattr(make(**{field: value}), field) == value


def test_token_ids_of_a_logit_bias_may_be_numbers():
    assert make(logit_bias={50256: -100}).logit_bias == {"50256": -100}


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (5, (5, 5, 5, 5)),
        (None, (None,) * 4),
        ([1, None, 3, 4], (1, None, 3, 4)),
        (httpx.Timeout(9, connect=1, pool=None), (1, 9, 9, None)),
    ],
)
def test_a_time_out_is_kept_as_four_numbers(given, limits):
    model = make(timeout=given)
    assert model.timeout == model.timeouts == limits
    assert isinstance(model.timeout, tuple)


@pytest.mark.parametrize("name", ["temperature", "model", "stop_sequences", "timeout", "api_key", "default_headers"])
def test_model_kwargs_hold_no_fields(name):
    assert f"`model_kwargs` holds `{name}`, which is a field" in str(refused(model_kwargs={name: 1}))


def test_model_kwargs_may_hold_what_langchain_keeps_for_itself():
    """OpenAI's `metadata` is a parameter; LangChain's field of that name never goes out."""
    model = make(model_kwargs={"metadata": {"a": "b"}}, metadata={"mine": 1})
    assert (model.model_kwargs, model.metadata["mine"]) == ({"metadata": {"a": "b"}}, 1)


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
        *((base, []) for base in ChatPromptrun.__mro__ if base.__name__ == "ModelFields"),
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


class TestKey:
    @pytest.mark.parametrize("raw", ["sk-1", " sk-1\n"])
    def test_it_comes_from_the_environment_without_its_line_break(self, monkeypatch, raw):
        monkeypatch.setenv("PROMPTRUN_API_KEY", raw)
        assert make().api_key.get_secret_value() == "sk-1"

    @pytest.mark.parametrize("key", ["sk-1", SecretStr("sk-1"), " sk-1\n"])
    def test_one_that_is_given_wins(self, key):
        assert make(api_key=key).api_key.get_secret_value() == "sk-1"

    def test_it_may_be_a_function_which_is_not_asked_yet(self):
        class Made:
            def __call__(self):
                raise AssertionError

        async def later():
            raise AssertionError

        for function in (Made(), later):
            assert make(api_key=function).api_key is function

    @pytest.mark.parametrize("others", [{}, {"OPENAI_API_KEY": "theirs"}, {"PROMPTRUN_API_KEY": " \n"}])
    def test_a_missing_one_names_the_variable_and_the_field(self, monkeypatch, others):
        monkeypatch.delenv("PROMPTRUN_API_KEY")
        for name, value in others.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ValidationError, match="Set the environment variable PROMPTRUN_API_KEY, or pass `api_key`"):
            ChatPromptrun(model="vendor/name")

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("", "must not be empty; leave it out to use PROMPTRUN_API_KEY"),
            (SecretStr(" \n"), "must not be empty"),
            ("'sk-1'", "quotation marks"),
            ('"sk-1"', "quotation marks"),
            ("Bearer sk-1", "begins with `Bearer`"),
            ([], "must be a string, or a function that returns one, not list"),
        ],
    )
    def test_one_that_cannot_be_right_is_refused(self, monkeypatch, key, said):
        assert said in str(refused(api_key=key))
        if isinstance(key, str) and key:
            monkeypatch.setenv("PROMPTRUN_API_KEY", key)
            assert said in str(refused())


class TestBaseUrl:
    @pytest.mark.parametrize("raw", ["https://gateway.example/v1/", " https://gateway.example/v1\n"])
    def test_it_comes_from_the_environment_or_the_field_without_its_slash(self, monkeypatch, raw):
        assert make(base_url=raw).base_url == "https://gateway.example/v1"
        monkeypatch.setenv("PROMPTRUN_BASE_URL", raw)
        assert make().base_url == "https://gateway.example/v1"
        assert make(base_url="https://mine.example/v1").base_url == "https://mine.example/v1"

    def test_a_bad_one_in_the_environment_is_refused_and_the_variable_named(self, monkeypatch):
        monkeypatch.setenv("PROMPTRUN_BASE_URL", "gateway.example")
        with pytest.raises(ValidationError, match="PROMPTRUN_BASE_URL"):
            ChatPromptrun(model="vendor/name")

    @pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "OPENAI_API_BASE", "LANGSMITH_GATEWAY"])
    def test_those_of_other_vendors_are_not_taken(self, monkeypatch, name):
        monkeypatch.setenv(name, "https://theirs.example")
        monkeypatch.setenv("PROMPTRUN_BASE_URL", " ")
        assert make().base_url == "https://api.promptrun.ai/v1"


@pytest.mark.parametrize("headers", [{"x-a": "b\r\nx-c: d"}, {"x a": "b"}, {"x-a": "gr\u00fc\u00df"}, {"x-a": 5}])
def test_headers_that_cannot_be_sent_are_refused_without_their_values(headers):
    error = refused(default_headers=headers)
    assert error.errors()[0]["loc"][0] == "default_headers"
    assert error.errors()[0]["input"] == SecretStr("hidden")


def test_values_of_headers_and_query_may_be_secrets():
    assert make(default_headers={"x-a": SecretStr("b")}).default_headers == {"x-a": "b"}
    assert make(default_query={"a": SecretStr("b"), "c": 5}).default_query == {"a": "b", "c": 5}


@pytest.mark.parametrize(
    "fields",
    [
        *({"temprature": 1}, {"temperature": 9}, {"max_tokens": 1, "max_completion_tokens": 1}, {"model": None}),
        *({"model_kwargs": {"temperature": 1}}, {"base_url": "https://user:s3cret@host"}, {"openai_api_key": "s3cret"}),
        *({"default_headers": "s3cret"}, {"default_headers": {"x-a": "s3cret\n"}}, {"default_query": ["s3cret"]}),
        {"api_key": ["s3cret"]},
    ],
)
def test_an_error_shows_neither_key_nor_headers(fields):
    secrets = {"api_key": "s3cret", "default_headers": {"x-key": "s3cret"}, "default_query": {"key": "s3cret"}}
    error = refused(**{**secrets, **fields})
    assert "s3cret" not in f"{error} {error!r} {error.errors()} {error.json()}"


class TestProfile:
    def test_a_known_model_has_one_and_an_unknown_one_none(self):
        assert ChatPromptrun(model=KNOWN).profile["max_input_tokens"] == 200_000
        assert make().profile is None
        assert ChatPromptrun(model=KNOWN, profile={"max_input_tokens": 5}).profile == {"max_input_tokens": 5}

    def test_models_do_not_share_theirs(self):
        ChatPromptrun(model=KNOWN).profile["max_input_tokens"] = 5
        assert ChatPromptrun(model=KNOWN).profile["max_input_tokens"] == 200_000

    def test_a_retired_model_logs_one_warning(self, caplog):
        for _ in range(2):
            ChatPromptrun(model=f"{KNOWN}:once")
        assert [(r.levelno, KNOWN in r.getMessage()) for r in caplog.records] == [(logging.WARNING, True)]

    def test_a_retired_model_of_a_call_logs_one_warning(self, promptrun_server, caplog):
        model = ChatPromptrun(model="other/model")
        for _ in range(2):
            model.invoke("x", model=f"{KNOWN}:twice")
        assert [(r.levelno, KNOWN in r.getMessage()) for r in caplog.records] == [(logging.WARNING, True)]

    @pytest.mark.parametrize("model", [SMALL, LARGE, OTHER_VENDOR])
    def test_a_model_that_we_name_is_known_and_not_retired(self, caplog, model):
        """Choose others in `data/models.py` where this fails."""
        assert ChatPromptrun(model=model).profile.get("status") not in {"retired", "deprecated"}
        assert caplog.records == []


def test_the_packages_version_is_in_the_trace_metadata():
    given = {"mine": 1}
    versions = make(metadata=given).metadata["lc_versions"]
    assert versions["langchain-promptrun"] == __version__
    assert "langchain-core" in versions
    assert given == {"mine": 1}


def test_a_model_can_be_validated_from_values_and_from_itself():
    model = ChatPromptrun.model_validate({"model_name": "vendor/name", "temperature": 1})
    assert model.temperature == 1
    assert ChatPromptrun.model_validate(model) is model
