"""Claims of `_field_checks`: what a value must be, and that no error shows a secret."""

import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from langchain_promptrun._config.defaults import DefaultUrl, EnvironmentKey
from langchain_promptrun._config.validators import (
    checked_header_value,
    checked_headers,
    checked_key,
    checked_url,
    four_timeouts,
    text_keys,
    unknown_keyword,
    without_secrets,
)


@pytest.mark.parametrize(
    ("given_", "limits"),
    [
        (5, (5, 5, 5, 5)),
        (0.5, (0.5, 0.5, 0.5, 0.5)),
        (None, (None, None, None, None)),
        ((1, 2, 3, 4), (1, 2, 3, 4)),
        ([1, None, 3, 4], (1, None, 3, 4)),
        (httpx.Timeout(7), (7, 7, 7, 7)),
        (httpx.Timeout(None), (None, None, None, None)),
        (httpx.Timeout(9, connect=1, pool=None), (1, 9, 9, None)),
    ],
)
def test_time_outs_become_four_numbers(given_, limits):
    found = four_timeouts(given_)
    assert found == limits
    assert all(limit is None or type(limit) is float for limit in found)


@pytest.mark.parametrize(
    "value", [0, -1, True, "5", float("inf"), float("nan"), (1, 2), (1, 2, 3, 0), {}, httpx.Timeout(0)]
)
def test_other_time_outs_are_refused(value):
    with pytest.raises(ValueError, match=r"must be seconds greater than 0, an httpx\.Timeout, four such numbers"):
        four_timeouts(value)


def url(value):
    return checked_url(value, str)


@pytest.mark.parametrize(
    "value",
    ["https://api.promptrun.ai/v1", "http://127.0.0.1:8000/v1", "http://[::1]:80", "https://localhost", "HTTPS://h/v1"],
)
def test_a_base_url_is_taken_as_it_is(value):
    assert url(value) == value


@pytest.mark.parametrize("value", ["https://host/v1/", "https://host/v1//", " https://host/v1\n"])
def test_a_base_url_loses_slashes_and_spaces_at_its_ends(value):
    assert url(value) == "https://host/v1"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "host",
        "host/v1",
        "ftp://host",
        "https://",
        "https:///v1",
        "https://host:port",
        "http://[::1",
        "https://a\n/v1",
    ],
)
def test_a_base_url_that_is_none_is_refused_with_an_example(value):
    with pytest.raises(
        ValueError, match=r"http or https URL such as https://api\.promptrun\.ai/v1 .*PROMPTRUN_BASE_URL"
    ):
        url(value)


@pytest.mark.parametrize("value", ["https://u:p@host", "https://u@host", "https://host/v1?a=b", "https://host/v1#f"])
def test_a_base_url_holds_no_credentials_and_no_query(value):
    with pytest.raises(ValueError, match="no user name, password, query or fragment"):
        url(value)


def test_a_base_url_that_nobody_chose_stays_one():
    assert type(url(DefaultUrl("https://host/v1/"))) is DefaultUrl
    assert type(url("https://host/v1/")) is str


@given(st.text(st.characters(codec="ascii"), max_size=40))
def test_any_base_url_is_refused_or_can_be_called(text):
    with contextlib.suppress(ValueError):
        assert httpx.URL(f"{url(text)}/chat/completions").host


@pytest.mark.parametrize("value", ["sk-1", " sk-1\n", SecretStr("sk-1"), SecretStr("sk-1\n")])
def test_a_key_loses_spaces_and_line_breaks_at_its_ends(value):
    assert checked_key(value) == SecretStr("sk-1")


def test_a_key_function_stays_as_it_is():
    assert checked_key(len) is len
    assert checked_key(None) is None


def test_a_key_of_the_environment_stays_one():
    key = EnvironmentKey("sk-1")
    assert checked_key(key) is key


class Made:
    """A function that is an object."""

    def __call__(self):
        return "sk-1"


def test_a_key_function_may_be_an_object():
    made = Made()
    assert checked_key(made) is made


class Fields(BaseModel):
    """A model with the names whose values are secret, each to be refused in a different way."""

    api_key: SecretStr | None = None
    default_headers: dict[str, str] | None = None
    base_url: str = ""
    number: int = 0
    needed: int


def refused(make, *args):
    with pytest.raises(ValidationError) as caught:
        make(*args)
    return caught.value


def redacted(**values):
    return without_secrets(refused(lambda: Fields(**values)))


def shown(error):
    """All that an error can be made to say."""
    return f"{error} {error!r} {error.errors()} {error.json()}"


@pytest.mark.parametrize(
    "values",
    [
        {"api_key": ["s3cret"], "needed": 1},
        {"default_headers": "s3cret", "needed": 1},
        {"default_headers": {"x": ["s3cret"]}, "needed": 1},
        {"base_url": ["https://u:s3cret@host"], "needed": 1},
        {"api_key": "s3cret", "default_headers": {"x": "s3cret"}},
    ],
)
def test_an_error_shows_no_secret(values):
    error = redacted(**values)
    assert error.error_count() == 1
    assert "s3cret" not in shown(error)


def test_an_error_still_shows_the_field_the_value_and_the_range():
    error = redacted(number="many", needed=1)
    (line,) = error.errors()
    assert (line["type"], line["loc"], line["input"]) == ("int_parsing", ("number",), "many")
    assert "valid integer" in line["msg"]


def test_an_error_about_all_fields_shows_those_that_are_no_secrets():
    (line,) = redacted(api_key="s3cret", number=5).errors()
    assert (line["type"], line["loc"]) == ("missing", ("needed",))
    assert line["input"] == {"api_key": SecretStr("hidden"), "number": 5}


@pytest.mark.parametrize(("value", "kind"), [([], "list"), (5, "int"), (b"sk-1", "bytes")])
def test_a_key_that_is_no_string_is_refused_by_its_type(value, kind):
    with pytest.raises(ValueError, match=f"must be a string, or a function that returns one, not {kind}"):
        checked_key(value)


@pytest.mark.parametrize("value", ["", " \n", SecretStr("")])
def test_an_empty_key_is_refused_and_the_variable_named(value):
    with pytest.raises(ValueError, match="must not be empty; leave it out to use PROMPTRUN_API_KEY"):
        checked_key(value)


def test_headers_are_checked():
    assert checked_headers({"x-a": "1"}) == {"x-a": "1"}
    with pytest.raises(ValueError, match="header 'x-a' has characters"):
        checked_headers({"x-a": "1\r\nx-b: 2"})


def test_the_prompts_cache_id_is_checked_as_a_header():
    assert checked_header_value("cache-1") == "cache-1"
    with pytest.raises(ValueError, match="HTTP-Prompt-Id"):
        checked_header_value("cache\n1")


def test_token_ids_may_be_numbers():
    assert text_keys({50256: -100, "1": 5}) == {"50256": -100, "1": 5}
    assert text_keys(None) is None
    assert text_keys("no mapping") == "no mapping"


def test_an_unknown_keyword_names_the_nearest_field():
    error = unknown_keyword("Model", "temprature", {"temperature", "top_p"})
    assert "Unknown keyword `temprature`. Did you mean `temperature`?" in str(error)
    assert "model_kwargs or extra_body" in str(error)
    assert error.errors()[0]["loc"] == ("temprature",)


def test_an_unknown_keyword_like_no_field_names_none():
    text = str(unknown_keyword("Model", "zzz", {"temperature"}))
    assert "Did you mean" not in text
    assert "model_kwargs or extra_body" in text
