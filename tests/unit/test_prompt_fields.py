"""Claims of `_prompt_fields`: what can be set, and what it says when it cannot. Nothing is asked here."""

from functools import partial
from pathlib import Path

import pytest
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

from langchain_promptrun import PromptrunPrompt


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No variable of Promptrun's but a key."""
    monkeypatch.delenv("PROMPTRUN_BASE_URL", raising=False)
    monkeypatch.setenv("PROMPTRUN_API_KEY", "key-from-env")


def make(**fields):
    return PromptrunPrompt(**{"project_id": "p", **fields})


def refused(**fields):
    with pytest.raises(ValidationError) as caught:
        make(**fields)
    return str(caught.value)


def test_only_the_project_is_required():
    prompt = make()
    assert (prompt.tag, prompt.version, prompt.role, prompt.missing) == ("latest", None, "system", "error")
    assert (prompt.refresh, prompt.cache_dir, prompt.fallback, prompt.on_change) == (60, None, None, None)
    assert prompt.partial_variables == {}
    assert prompt.api_key.get_secret_value() == "key-from-env"
    with pytest.raises(ValidationError, match="pass `project_id`"):
        PromptrunPrompt()


def test_the_project_of_the_environment_is_the_default(monkeypatch):
    monkeypatch.delenv("PROMPTRUN_PROJECT_ID", raising=False)
    with pytest.raises(ValidationError, match="PROMPTRUN_PROJECT_ID"):
        PromptrunPrompt()
    monkeypatch.setenv("PROMPTRUN_PROJECT_ID", " from-env ")
    prompt = PromptrunPrompt()
    assert prompt.project_id == PromptrunPrompt(project_id=None).project_id == "from-env"
    assert PromptrunPrompt(project_id="p").project_id == "p"
    assert "project_id" not in prompt.to_json()["kwargs"]


def test_tag_and_version_exclude_each_other():
    assert "`tag` and `version` are both set" in refused(tag="prod", version=1)


@pytest.mark.parametrize(("fields", "tag"), [({}, "latest"), ({"tag": "prod"}, "prod"), ({"tag": None}, "latest")])
def test_a_tag_is_what_is_asked_for(fields, tag):
    prompt = make(**fields)
    assert prompt.selector == {"projectId": "p", "tag": tag}
    assert prompt.label == f"Promptrun prompt p (tag {tag})"


def test_a_copy_goes_from_tag_to_version_and_back():
    assert make().model_copy(update={"version": 3}).selector == {"projectId": "p", "version": 3}
    pinned = make(tag="prod").model_copy(update={"tag": None, "version": 3})
    assert pinned.selector == {"projectId": "p", "version": 3}
    assert pinned.model_copy(update={"version": None, "tag": "dev"}).selector == {"projectId": "p", "tag": "dev"}
    with pytest.raises(ValidationError, match="both set"):
        make(tag="prod").model_copy(update={"version": 3})


def test_a_configurable_version_takes_the_place_of_the_default_tag():
    prompt = make().configurable_fields(version=ConfigurableField(id="version"))
    found, _ = prompt.prepare({"configurable": {"version": 4}})
    assert found.selector == {"projectId": "p", "version": 4}


@pytest.mark.parametrize(
    "fields",
    [
        {"project_id": ""},
        {"tag": ""},
        {"version": 0},
        {"role": "assistant"},
        {"missing": "ignore"},
        {"refresh": -1},
        {"refresh": float("inf")},
        {"max_retries": -1},
    ],
)
def test_values_out_of_range_are_refused(fields):
    assert next(iter(fields)) in refused(**fields)


def test_an_unknown_name_gets_the_nearest_one():
    text = refused(projekt_id="x")
    assert "Did you mean `project_id`?" in text
    assert "Values of the text's variables go into invoke" in text


@pytest.mark.parametrize("name", ["tag", "role", "missing", "refresh", "partial_variables", "base_url"])
def test_none_is_as_if_it_were_left_out(name):
    assert getattr(make(**{name: None}), name) == getattr(make(), name)


def test_a_folder_may_be_a_path():
    assert make(cache_dir=Path("/tmp") / "x").cache_dir == str(Path("/tmp") / "x")
    assert make(cache_dir="y").cache_dir == "y"


def test_who_is_told_of_changes_is_a_plain_function():
    async def tell(old, new):
        """Nothing could wait for it."""

    class Teller:
        async def __call__(self, old, new):
            """Nothing could wait for it, either."""

    for function in (tell, Teller(), partial(tell), partial(Teller())):
        assert "must be a plain function" in refused(on_change=function)
    assert make(on_change=print).on_change is print


def test_a_function_for_a_variable_is_a_plain_one():
    async def value():
        """Sync calls could not wait for it."""

    assert "the function for `x` must be a plain one" in refused(partial_variables={"x": value})
    with pytest.raises(ValidationError, match="the function for `x`"):
        make().partial(x=value)
    assert make(partial_variables={"x": print, "y": 5}).partial_variables == {"x": print, "y": 5}


@pytest.mark.parametrize("version", [True, False])
def test_a_version_is_a_number(version):
    assert "must be a version, not True or False" in refused(version=version)
    with pytest.raises(ValidationError, match="must be a version"):
        make(tag=None).version = version


def test_without_a_key_it_says_where_keys_come_from(monkeypatch):
    monkeypatch.delenv("PROMPTRUN_API_KEY")
    assert "No API key" in refused()


def test_a_refused_value_is_shown_without_the_key():
    text = refused(api_key="sk-secret", tag="prod", version=1)
    assert "sk-secret" not in text
