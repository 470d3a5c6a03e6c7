"""Claims of `_fields`: what can be set, under which names, in which ranges, and what it says when it cannot."""

import ast
import inspect
import itertools

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from langchain_promptrun import ChatPromptrun, __version__
from langchain_promptrun._config.defaults import chosen
from langchain_promptrun._config.fields import ConnectionFields, ModelFields
from langchain_promptrun.prompts import PromptrunPrompt

KNOWN = "anthropic/claude-3.5-haiku"


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
    assert model.base_url == "https://api.promptrun.ai/v1"
    assert model.api_key.get_secret_value() == "key-from-env"
    assert model.timeouts == (10, 600, 600, 600)
    assert model.stream_chunk_timeout == 120
    assert model.max_retries == 2
    assert model.max_retry_after == 60
    assert model.max_event_bytes == 64 * 1024 * 1024
    assert model.streaming is None
    assert model.stream_usage is True
    assert model.structured_output_method == "function_calling"
    assert model.send_reasoning is True
    assert model.send_names is True
    assert model.async_transport == "auto"
    assert model.max_connections is None
    with pytest.raises(ValidationError, match="Field required"):
        ChatPromptrun()


def test_fields_are_given_by_keyword():
    with pytest.raises(TypeError):
        ChatPromptrun("vendor/name")


@pytest.mark.parametrize("name", ["model", "model_name"])
def test_the_model_has_an_alias(name):
    model = ChatPromptrun(**{name: "vendor/name"})
    assert model.model == model.model_name == "vendor/name"


@pytest.mark.parametrize("name", ["stop", "stop_sequences"])
def test_stop_has_an_alias(name):
    assert make(**{name: ["a"]}).stop == ["a"]
    assert make(**{name: "a"}).stop == "a"


def test_a_field_and_its_alias_at_once_are_refused():
    assert refused(model_name="other/name").errors()[0]["loc"] == ("model_name",)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("temprature", "temperature"),
        ("max_token", "max_tokens"),
        ("modelname", "model_name"),
        ("stop_sequence", "stop_sequences"),
        ("default_header", "default_headers"),
        ("apikey", "api_key"),
    ],
)
def test_an_unknown_keyword_names_the_nearest_field_and_the_way_out(name, near):
    text = str(refused(**{name: 1}))
    assert f"Unknown keyword `{name}`. Did you mean `{near}`?" in text
    assert "`model_kwargs` or `extra_body`" in text


def test_an_unknown_keyword_of_a_subclass_may_name_its_field():
    class Mine(ChatPromptrun):
        tenant: str = "a"

    assert Mine(model="vendor/name", tenant="b").tenant == "b"
    with pytest.raises(ValidationError, match="Did you mean `tenant`"):
        Mine(model="vendor/name", tennant="b")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model", "", "at least 1 character"),
        ("temperature", -0.1, "greater than or equal to 0"),
        ("temperature", 2.1, "less than or equal to 2"),
        ("temperature", float("nan"), "less than or equal to 2"),
        ("top_p", -0.1, "greater than or equal to 0"),
        ("top_p", 1.1, "less than or equal to 1"),
        ("max_tokens", 0, "greater than or equal to 1"),
        ("max_completion_tokens", 0, "greater than or equal to 1"),
        ("n", 0, "greater than or equal to 1"),
        ("n", 129, "less than or equal to 128"),
        ("frequency_penalty", -2.1, "greater than or equal to -2"),
        ("frequency_penalty", 2.1, "less than or equal to 2"),
        ("presence_penalty", -2.1, "greater than or equal to -2"),
        ("presence_penalty", 2.1, "less than or equal to 2"),
        ("logit_bias", {"1": 101}, "less than or equal to 100"),
        ("logit_bias", {"1": -101}, "greater than or equal to -100"),
        ("top_logprobs", -1, "greater than or equal to 0"),
        ("top_logprobs", 21, "less than or equal to 20"),
        ("seed", 0.5, "valid integer"),
        ("timeout", 0, "must be seconds greater than 0"),
        ("stream_chunk_timeout", 0, "greater than 0"),
        ("stream_chunk_timeout", float("inf"), "finite number"),
        ("max_retries", -1, "greater than or equal to 0"),
        ("max_retry_after", -1, "greater than or equal to 0"),
        ("max_connections", 0, "greater than or equal to 1"),
        ("max_event_bytes", 0, "greater than or equal to 1"),
        ("async_transport", "curl", "'auto', 'httpx' or 'aiohttp'"),
        ("structured_output_method", "magic", "'function_calling', 'json_schema' or 'json_mode'"),
        ("prompt_cache_id", "", "at least 1 character"),
        ("prompt_cache_id", "a\nb", "HTTP-Prompt-Id"),
        ("base_url", "api.promptrun.ai", "must be an http or https URL"),
        ("http_client", "client", "instance of Client"),
        ("http_async_client", httpx.Client, "instance of AsyncClient"),
    ],
)
def test_a_value_out_of_range_names_field_value_and_range(field, value, said):
    (line,) = refused(**{field: value}).errors()
    assert line["loc"][0] == field
    assert said in line["msg"]
    assert repr(line["input"]) == repr(value if not isinstance(value, dict) else value["1"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("temperature", value) for value in (0, 2)),
        *(("top_p", value) for value in (0, 1)),
        *(("n", value) for value in (1, 128)),
        *(("frequency_penalty", value) for value in (-2, 2)),
        *(("presence_penalty", value) for value in (-2, 2)),
        *(("top_logprobs", value) for value in (0, 20)),
        ("max_tokens", 1),
        ("max_completion_tokens", 1),
        ("reasoning_effort", "xhigh"),
        ("seed", -5),
        ("stream_chunk_timeout", None),
        ("max_retries", 0),
        ("max_retry_after", 0),
    ],
)
def test_the_ends_of_the_ranges_are_taken(field, value):
    """Ranges are those that OpenAI documents; nothing else is refused here."""
    assert getattr(make(**{field: value}), field) == value


def test_token_ids_of_a_logit_bias_may_be_numbers():
    assert make(logit_bias={50256: -100}).logit_bias == {"50256": -100}


@pytest.mark.parametrize("timeout", [5, (5, 5, 5, 5), httpx.Timeout(5)])
def test_a_time_out_is_kept_as_four_numbers(timeout):
    model = make(timeout=timeout)
    assert model.timeout == model.timeouts == (5, 5, 5, 5)
    assert isinstance(model.timeout, tuple)


def test_no_time_out_is_kept_as_four_times_none():
    assert make(timeout=None).timeouts == (None, None, None, None)


def test_both_limits_are_refused():
    assert "`max_tokens` and `max_completion_tokens` are both set" in str(
        refused(max_tokens=1, max_completion_tokens=1)
    )


@pytest.mark.parametrize("name", ["temperature", "model", "stop_sequences", "timeout", "api_key", "default_headers"])
def test_model_kwargs_hold_no_fields(name):
    assert f"`model_kwargs` holds `{name}`, which is a field" in str(refused(model_kwargs={name: 1}))


def test_model_kwargs_may_hold_what_langchain_keeps_for_itself():
    """OpenAI's `metadata` is a parameter; LangChain's field of that name never goes out."""
    model = make(model_kwargs={"metadata": {"a": "b"}}, metadata={"mine": 1})
    assert model.model_kwargs == {"metadata": {"a": "b"}}
    assert model.metadata["mine"] == 1


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "base_url",
        "model_kwargs",
        "extra_body",
        "max_retries",
        "max_retry_after",
        "stream_usage",
        "include_response_headers",
        "async_transport",
        "max_event_bytes",
        "structured_output_method",
        "send_reasoning",
        "send_names",
    ],
)
def test_a_none_that_says_nothing_is_the_default(name):
    assert getattr(make(**{name: None}), name) == getattr(make(), name)


@pytest.mark.parametrize(
    ("fields", "bare"),
    [
        (ModelFields, []),
        (ConnectionFields, []),
        (PromptrunPrompt, ["keyword_advice"]),
    ],
)
def test_every_field_is_documented_below_its_name(fields, bare):
    (declared,) = ast.parse(inspect.getsource(fields)).body
    undocumented = [
        ast.unparse(field.target)
        for field, below in itertools.pairwise(declared.body)
        if isinstance(field, ast.AnnAssign)
        and not isinstance(below, ast.Expr)
        and not ast.unparse(field.target).startswith("_")
    ]
    assert undocumented == bare


class TestKey:
    def test_it_comes_from_the_environment(self):
        assert make().api_key.get_secret_value() == "key-from-env"
        assert not chosen(make().api_key)

    @pytest.mark.parametrize("key", ["sk-1", SecretStr("sk-1"), " sk-1\n"])
    def test_one_that_is_given_wins(self, key):
        model = make(api_key=key)
        assert model.api_key.get_secret_value() == "sk-1"
        assert chosen(model.api_key)

    def test_it_may_be_a_function_which_is_not_asked_yet(self):
        def never():
            raise AssertionError

        async def later():
            raise AssertionError

        assert make(api_key=never).api_key is never
        assert make(api_key=later).api_key is later

    def test_a_missing_one_names_the_variable_and_the_field(self, monkeypatch):
        monkeypatch.delenv("PROMPTRUN_API_KEY")
        with pytest.raises(ValidationError, match="Set the environment variable PROMPTRUN_API_KEY, or pass `api_key`"):
            ChatPromptrun(model="vendor/name")

    def test_the_key_of_another_vendor_is_not_taken(self, monkeypatch):
        monkeypatch.delenv("PROMPTRUN_API_KEY")
        monkeypatch.setenv("OPENAI_API_KEY", "theirs")
        with pytest.raises(ValidationError, match="PROMPTRUN_API_KEY"):
            ChatPromptrun(model="vendor/name")


class TestBaseUrl:
    def test_it_comes_from_the_environment(self, monkeypatch):
        monkeypatch.setenv("PROMPTRUN_BASE_URL", "https://gateway.example/v1/")
        assert make().base_url == "https://gateway.example/v1"
        assert not chosen(make().base_url)

    def test_one_that_is_given_wins(self, monkeypatch):
        monkeypatch.setenv("PROMPTRUN_BASE_URL", "https://gateway.example/v1")
        assert make(base_url="https://mine.example/v1/").base_url == "https://mine.example/v1"

    def test_a_bad_one_in_the_environment_is_refused_and_the_variable_named(self, monkeypatch):
        monkeypatch.setenv("PROMPTRUN_BASE_URL", "gateway.example")
        with pytest.raises(ValidationError, match="PROMPTRUN_BASE_URL"):
            ChatPromptrun(model="vendor/name")

    def test_those_of_other_vendors_are_not_taken(self, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", "https://theirs.example")
        monkeypatch.setenv("OPENAI_API_BASE", "https://theirs.example")
        monkeypatch.setenv("LANGSMITH_GATEWAY", "https://theirs.example")
        assert make().base_url == "https://api.promptrun.ai/v1"


class TestHeaders:
    @pytest.mark.parametrize("headers", [{"x-a": "b\r\nx-c: d"}, {"x a": "b"}, {"x-a": "gr\u00fc\u00df"}, {"x-a": 5}])
    def test_ones_that_cannot_be_sent_are_refused_without_their_values(self, headers):
        error = refused(default_headers=headers)
        assert error.errors()[0]["loc"][0] == "default_headers"
        assert error.errors()[0]["input"] == SecretStr("hidden")

    def test_their_values_may_be_secrets(self):
        assert make(default_headers={"x-a": SecretStr("b")}).default_headers == {"x-a": "b"}
        assert make(default_query={"a": SecretStr("b"), "c": 5}).default_query == {"a": "b", "c": 5}


class TestErrors:
    @pytest.mark.parametrize(
        "fields",
        [
            {"temprature": 1},
            {"temperature": 9},
            {"max_tokens": 1, "max_completion_tokens": 1},
            {"model_kwargs": {"temperature": 1}},
            {"model": None},
            {"base_url": "https://user:s3cret@host"},
            {"openai_api_key": "s3cret"},
            {"default_headers": "s3cret"},
            {"default_headers": {"x-a": "s3cret\n"}},
            {"default_query": ["s3cret"]},
            {"api_key": ["s3cret"]},
        ],
    )
    def test_they_show_neither_key_nor_headers(self, fields):
        secrets = {"api_key": "s3cret", "default_headers": {"x-key": "s3cret"}, "default_query": {"key": "s3cret"}}
        error = refused(**{**secrets, **fields})
        assert "s3cret" not in f"{error} {error!r} {error.errors()} {error.json()}"

    def test_a_missing_model_does_not_show_the_rest(self):
        with pytest.raises(ValidationError) as caught:
            ChatPromptrun(api_key="s3cret", default_headers={"x-key": "s3cret"})
        error = caught.value
        assert error.errors()[0]["loc"] == ("model",)
        assert "s3cret" not in f"{error} {error!r} {error.errors()} {error.json()}"


class TestProfile:
    def test_a_known_model_has_one(self):
        assert ChatPromptrun(model=KNOWN).profile["max_input_tokens"] == 200_000

    def test_an_unknown_model_has_none(self):
        assert make().profile is None

    def test_ones_own_wins(self):
        assert ChatPromptrun(model=KNOWN, profile={"max_input_tokens": 5}).profile == {"max_input_tokens": 5}

    def test_models_do_not_share_theirs(self):
        ChatPromptrun(model=KNOWN).profile["max_input_tokens"] = 5
        assert ChatPromptrun(model=KNOWN).profile["max_input_tokens"] == 200_000


def test_the_packages_version_is_in_the_trace_metadata():
    given = {"mine": 1}
    model = make(metadata=given)
    assert model.metadata["lc_versions"]["langchain-promptrun"] == __version__
    assert {"langchain-core"} <= model.metadata["lc_versions"].keys()
    assert model.metadata["mine"] == 1
    assert given == {"mine": 1}


def test_a_model_can_be_validated_from_values_and_from_itself():
    model = ChatPromptrun.model_validate({"model_name": "vendor/name", "temperature": 1})
    assert model.temperature == 1
    assert ChatPromptrun.model_validate(model) is model
