"""The chat model that a managed prompt names: of its record, reached as the prompt is, following its versions."""

import pickle

import pytest
from langchain_core.load import dumps
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

from langchain_promptrun import ChatPromptrun

from .promptwire import PROJECT, run_apart, until


@pytest.fixture
def wire(wire):
    wire.record |= {"model": {"model": "openai/gpt-4o"}, "temperature": 0.5}
    return wire


class Own(ChatPromptrun):
    """Somebody's own kind of model."""


WAYS = {
    "chat_model": lambda prompt, **more: prompt.chat_model(**more),
    "achat_model": lambda prompt, **more: run_apart(prompt.achat_model(**more)),
    "from_prompt": ChatPromptrun.from_prompt,
    "afrom_prompt": lambda prompt, **more: run_apart(ChatPromptrun.afrom_prompt(prompt, **more)),
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def model_of(request):
    return request.param


def test_prompt_model_is_that_of_the_record_and_reached_as_the_prompt_is_unless_overridden(wire, model_of, monkeypatch):
    prompt = wire.prompt(timeout=5, default_headers={"x-team": "a"})
    model = model_of(prompt)
    assert type(model) is ChatPromptrun
    assert (model.model, model.temperature) == ("openai/gpt-4o", 0.5)
    assert (model.base_url, model.timeouts, model.max_retries) == (prompt.base_url, (5, 5, 5, 5), 0)
    assert model.api_key.get_secret_value() == "secret-key"
    assert model.default_headers == {"x-team": "a"}
    assert model.http_client is prompt.http_client
    assert model.invoke("Hi").text == "Hi you."
    wire.record["temperature"] = None
    monkeypatch.setenv("PROMPTRUN_API_KEY", "key-from-env")
    model = model_of(wire.prompt(api_key=None))
    assert model.temperature is None
    more = {"temperature": 0, "max_tokens": 5, "timeout": 3, "base_url": "https://other.example/v1"}
    other = model_of(wire.prompt(), **more)
    assert (other.temperature, other.max_tokens, other.timeouts) == (0, 5, (3, 3, 3, 3))
    assert other.base_url == "https://other.example/v1"
    assert model.model_fields_set.isdisjoint({"api_key", "async_transport", "max_connections"})


@pytest.mark.parametrize("model", [None, {"name": "GPT-4o"}, {"model": ""}])
def test_prompt_model_missing_is_an_error_that_says_what_to_do(wire, model_of, model):
    wire.record["model"] = model
    with pytest.raises(
        ValueError, match=rf"prompt {PROJECT} \(tag prod\) names no model in version 1: .* pass `model`"
    ):
        model_of(wire.prompt(tag="prod"))
    for name in ("model", "model_name"):
        assert model_of(wire.prompt(), **{name: "v/mine"}).model == "v/mine"


class TestFromPrompt:
    async def test_prompt_model_from_an_id_is_of_the_class_that_is_asked(self, wire):
        model = ChatPromptrun.from_prompt(PROJECT, tag="prod", max_tokens=5, **wire.connection())
        assert (model.model, model.max_tokens, model.max_retries) == ("openai/gpt-4o", 5, 0)
        assert wire.requests[0].url.params["tag"] == "prod"
        model = await Own.afrom_prompt(project_id=PROJECT, version=1, **wire.connection())
        assert (type(model), model.model) == (Own, "openai/gpt-4o")
        assert wire.requests[1].url.params["version"] == "1"
        assert type(Own.from_prompt(wire.prompt())) is Own

    @pytest.mark.parametrize("known", ["a prompt", "an id"])
    async def test_prompt_model_unknown_keyword_is_refused_before_any_request(self, wire, known):
        prompt = wire.prompt()
        first, more = (prompt, {}) if known == "a prompt" else (PROJECT, wire.connection())
        for model in (ChatPromptrun, Own):
            with pytest.raises(ValidationError, match="Unknown keyword `verison`"):
                model.from_prompt(first, verison=1, **more)
            with pytest.raises(ValidationError, match="Unknown keyword `verison`"):
                await model.afrom_prompt(first, verison=1, **more)
        said = r"Unknown keyword `modle`\. Did you mean `model`"
        with pytest.raises(ValidationError, match=said):
            prompt.chat_model(modle="v/m")
        with pytest.raises(ValidationError, match=said):
            await prompt.achat_model(follow_model=True, modle="v/m")
        assert wire.count == 0


class TestFollowing:
    @pytest.mark.parametrize("style", ["invoke", "ainvoke", "stream", "astream"])
    async def test_prompt_model_following_is_of_the_version_of_the_text(self, wire, talk, style):
        prompt = wire.prompt(refresh=0)
        fields = {"follow_model": True, "max_tokens": 5}
        model = await prompt.achat_model(**fields) if style.startswith("a") else prompt.chat_model(**fields)
        value = await prompt.ainvoke({"x": 1})
        wire.publish("Two.", model={"model": "vendor/other"})
        await prompt.apull()
        await until(lambda: prompt.known_record.version == 2)
        for made in (RunnableLambda(lambda _: value), RunnableLambda(lambda _: "Hi"), prompt):
            assert (await talk.call(style, made | model, {"x": 1})).text == "Hi you."
        asked = [(body["model"], body["max_tokens"]) for body in wire.bodies]
        assert asked == [("openai/gpt-4o", 5), ("vendor/other", 5), ("vendor/other", 5)]

    @pytest.mark.parametrize("other", [{"tag": "dev"}, {"version": 7}, {"base_url": "https://o.example"}])
    def test_prompt_model_following_ignores_messages_of_another_prompt(self, wire, other):
        value = wire.prompt(**other).invoke({"x": 1})
        wire.record["model"] = {"model": "vendor/other"}
        wire.prompt().chat_model(follow_model=True).invoke(value)
        assert wire.bodies[-1]["model"] == "vendor/other"

    def test_prompt_model_following_and_its_messages_are_pickled(self, wire):
        prompt = wire.prompt()
        value = pickle.loads(pickle.dumps(prompt.invoke({"x": 1})))
        assert prompt.chat_model(follow_model=True).invoke(value).text == "Hi you."
        bare = wire.prompt(http_client=None, http_async_client=None)
        model = pickle.loads(pickle.dumps(bare.chat_model(follow_model=True, max_tokens=5)))
        assert (model._prompt.project_id, model._overrides) == (PROJECT, {"max_tokens": 5})
        assert model.get_name() == "PromptrunModel"

    def test_prompt_model_following_shows_no_key(self, wire):
        chain = wire.prompt() | wire.prompt().chat_model(follow_model=True, api_key="other-key")
        assert "-key" not in f"{chain!r} {dumps(chain)}"

    async def test_prompt_model_following_closes_a_stream_that_is_left(self, wire):
        chunks = wire.prompt().chat_model(follow_model=True).astream("Hi")
        assert (await anext(chunks)).text == "Hi "
        await chunks.aclose()
