"""Claims of `_defaults`: what nobody chose says so, and the environment is read when asked."""

import copy
import pickle

import pytest
from pydantic import SecretStr

from langchain_promptrun._config.defaults import (
    BASE_URL,
    DefaultProfile,
    DefaultSeconds,
    DefaultUrl,
    EnvironmentKey,
    chosen,
    environment_key,
    environment_url,
)

DEFAULTS = [DefaultUrl("https://x/v1"), DefaultSeconds(2.5), DefaultProfile(name="x"), EnvironmentKey("k")]


@pytest.mark.parametrize("value", DEFAULTS, ids=repr)
def test_a_default_is_not_chosen(value):
    assert not chosen(value)


@pytest.mark.parametrize("value", [None, "https://x/v1", 2.5, {"name": "x"}, SecretStr("k"), len])
def test_everything_else_is_chosen(value):
    assert chosen(value)


@pytest.mark.parametrize("value", DEFAULTS, ids=repr)
@pytest.mark.parametrize("rebuilt", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_default_stays_one_through_copies(value, rebuilt):
    other = rebuilt(value)
    assert other == value
    assert not chosen(other)


def test_a_default_is_what_it_stands_for():
    assert DefaultUrl("https://x/v1") == "https://x/v1"
    assert DefaultSeconds(2.5) == 2.5
    assert DefaultProfile(name="x") == {"name": "x"}
    assert EnvironmentKey("k").get_secret_value() == "k"


def test_an_environment_key_is_not_shown():
    assert "k3y" not in f"{EnvironmentKey('k3y')!r} {EnvironmentKey('k3y')}"


@pytest.mark.parametrize("raw", ["sk-1", " sk-1\n"])
def test_the_key_is_read_from_the_environment_without_its_line_break(monkeypatch, raw):
    monkeypatch.setenv("PROMPTRUN_API_KEY", raw)
    assert environment_key().get_secret_value() == "sk-1"


@pytest.mark.parametrize("raw", ["", "  \n"])
def test_an_empty_key_is_none(monkeypatch, raw):
    monkeypatch.setenv("PROMPTRUN_API_KEY", raw)
    assert environment_key() is None


def test_no_key_is_none(monkeypatch):
    monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)
    assert environment_key() is None


def test_the_base_url_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("PROMPTRUN_BASE_URL", " https://gateway.example/v1 ")
    assert environment_url() == "https://gateway.example/v1"
    assert not chosen(environment_url())


@pytest.mark.parametrize("raw", [None, "", " "])
def test_without_a_base_url_it_is_promptruns(monkeypatch, raw):
    monkeypatch.delenv("PROMPTRUN_BASE_URL", raising=False)
    if raw is not None:
        monkeypatch.setenv("PROMPTRUN_BASE_URL", raw)
    assert environment_url() == BASE_URL == "https://api.promptrun.ai/v1"


def test_variables_of_other_vendors_are_not_read(monkeypatch):
    """OPENAI_* and LangSmith's gateway belong to others."""
    monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)
    monkeypatch.delenv("PROMPTRUN_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://theirs.example")
    monkeypatch.setenv("OPENAI_API_BASE", "https://theirs.example")
    monkeypatch.setenv("LANGSMITH_GATEWAY", "https://theirs.example")
    assert environment_key() is None
    assert environment_url() == BASE_URL
