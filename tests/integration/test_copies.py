"""Claims of `_copies`: what a copy, a pickle and LangChain's JSON keep of a model, also of a used one."""

import copy
import json
import pickle
import sys
import threading

import cloudpickle
import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd, dumps, load
from langchain_core.rate_limiters import InMemoryRateLimiter
from pydantic import PrivateAttr, ValidationError

from langchain_promptrun import ChatPromptrun

KNOWN = "anthropic/claude-3.5-haiku"
OTHER = "openai/gpt-4o"
ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No variable of Promptrun's but a key."""
    monkeypatch.delenv("PROMPTRUN_BASE_URL", raising=False)
    monkeypatch.delenv("LC_OUTPUT_VERSION", raising=False)
    monkeypatch.setenv("PROMPTRUN_API_KEY", "key-from-env")


class Wire:
    """A wire that answers, and that any pickler can write; it remembers the keys of all that it was asked."""

    keys: tuple[str, ...] = ()

    def __call__(self, request):
        Wire.keys += (request.headers["authorization"].removeprefix("Bearer "),)
        return httpx.Response(200, json=ANSWER)


class OfflineModel(ChatPromptrun):
    """A model whose client is made when it is asked for, so that none has to be copied."""

    def _held(self):
        self.http_client = httpx.Client(transport=httpx.MockTransport(Wire()))
        held = super()._held()
        self.http_client = None
        self._transport = held
        return held


def make(**fields):
    return OfflineModel(**{"model": KNOWN, "temperature": 0.5, **fields})


def test_assigned_fields_are_checked_as_at_construction():
    model = ChatPromptrun(model=KNOWN)
    model.timeout = 5
    assert model.timeout == ChatPromptrun(model=KNOWN, timeout=5).timeout
    model.timeout = httpx.Timeout(3)
    assert model.timeout == ChatPromptrun(model=KNOWN, timeout=3).timeout
    model.base_url = "https://host/v1/"
    assert model.base_url == "https://host/v1"
    model.api_key = "key-secret"
    assert "key-secret" not in repr(model) + model.model_dump_json()
    assert model.api_key.get_secret_value() == "key-secret"
    model.api_key = model.base_url = None
    assert model.api_key.get_secret_value() == "key-from-env"
    assert model.base_url == ChatPromptrun(model=KNOWN).base_url
    with pytest.raises(ValidationError, match="temperature"):
        model.temperature = "hot"
    with pytest.raises(ValueError, match="nonsense"):
        model.nonsense = 1


@pytest.mark.parametrize("name", ["model", "model_name"])
def test_assigned_model_has_its_own_profile(name):
    model = ChatPromptrun(model=KNOWN)
    setattr(model, name, OTHER)
    assert (model.model, model.profile) == (OTHER, ChatPromptrun(model=OTHER).profile)
    own = ChatPromptrun(model=KNOWN, profile={"max_input_tokens": 7})
    setattr(own, name, OTHER)
    assert own.profile == {"max_input_tokens": 7}


def test_what_was_derived_before_an_assignment_is_forgotten():
    model = use(make())
    before = model._serialized
    model.temperature = 0.9
    assert model._serialized != before


def test_connections_are_kept_by_an_assignment_that_does_not_concern_them():
    model = ChatPromptrun(model=KNOWN)
    held = model._held()
    model.temperature = 0.9
    model.callbacks = []
    assert model._held() is held
    model.max_connections = 3
    assert model._held() is not held


def use(model):
    """Call a model, and have it keep all that it caches."""
    assert model.invoke("Hello").text == "Hi."
    assert model._serialized
    return model


def pickled(model):
    return pickle.loads(pickle.dumps(model))


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda model: model.model_copy(),
    "deep model_copy": lambda model: model.model_copy(deep=True),
    "pickle": pickled,
    "cloudpickle": lambda model: cloudpickle.loads(cloudpickle.dumps(model)),
}


@pytest.fixture(params=COPIES.values(), ids=COPIES)
def duplicate(request):
    return request.param


def fields_of(model):
    return {name: getattr(model, name) for name in type(model).model_fields}


@pytest.mark.parametrize("key", ["explicit", None], ids=["explicit key", "key of the environment"])
def test_a_used_model_is_copied_and_works(duplicate, key):
    model = use(make(api_key=key, stop=["x"], default_headers={"x-a": "b"}, timeout=5, metadata={"mine": 1}))
    other = duplicate(model)
    assert fields_of(other) == fields_of(model)
    assert other.model_fields_set == model.model_fields_set
    assert Wire.keys[-1] == (key or "key-from-env")
    use(other)
    assert Wire.keys[-1] == (key or "key-from-env")


DEFAULTED = {"base_url", "stream_chunk_timeout"}


def test_defaults_stay_defaults(duplicate):
    other = duplicate(use(make()))
    assert not DEFAULTED & dumpd(other)["kwargs"].keys()
    assert b"key-from-env" not in pickle.dumps(other)
    assert other.model_copy(update={"model": OTHER}).profile == make(model=OTHER).profile


def test_chosen_values_stay_chosen(duplicate):
    other = duplicate(make(api_key="k3y", base_url="https://h/v1", stream_chunk_timeout=120, profile={"name": "mine"}))
    assert dumpd(other)["kwargs"].keys() >= DEFAULTED
    assert b"k3y" in pickle.dumps(other)
    assert other.model_copy(update={"model": OTHER}).profile == {"name": "mine"}


def test_a_bound_model_is_copied_and_works(duplicate):
    bound = make().bind_tools([{"type": "function", "function": {"name": "weather"}}], tool_choice="any")
    assert bound.invoke("Hello").text == "Hi."
    other = duplicate(bound)
    assert other.kwargs == bound.kwargs
    assert other.invoke("Hello").text == "Hi."


def test_a_copy_has_no_hold_on_connections(duplicate):
    model = use(make())
    assert model._transport is not None
    assert duplicate(model)._transport is None


def test_a_copy_forgets_what_was_derived_from_the_fields():
    """langchain-core caches `_serialized`, which is part of its cache keys, on the instance."""
    model = use(make())
    assert "_serialized" in model.__dict__
    other = model.model_copy(update={"temperature": 1})
    assert "_serialized" not in other.__dict__
    assert other._serialized["kwargs"]["temperature"] == 1
    assert model._serialized["kwargs"]["temperature"] == 0.5


class Remembering(OfflineModel):
    _seen: list = PrivateAttr(default_factory=list)


def test_a_copy_keeps_the_private_attributes_of_a_subclass(duplicate):
    model = Remembering(model=KNOWN)
    model._seen.append(1)
    assert duplicate(model)._seen == [1]


def test_a_deep_copy_shares_what_cannot_be_copied():
    lock = threading.Lock()
    model = ChatPromptrun(
        model=KNOWN,
        api_key=lambda: "k" if lock else "",
        http_client=httpx.Client(),
        http_async_client=httpx.AsyncClient(),
        rate_limiter=InMemoryRateLimiter(),
        cache=InMemoryCache(),
        model_kwargs={"a": []},
    )
    other = copy.deepcopy(model)
    for name in ("api_key", "http_client", "http_async_client", "rate_limiter", "cache"):
        assert getattr(other, name) is getattr(model, name)
    assert other.model_kwargs == model.model_kwargs
    assert other.model_kwargs["a"] is not model.model_kwargs["a"]


def test_a_deep_copy_of_two_that_share_a_model_shares_the_copy():
    model = make()
    one, two = copy.deepcopy([model, model])
    assert one is two
    assert one is not model


class TestUpdate:
    def test_values_are_checked_as_at_construction(self):
        other = make().model_copy(update={"timeout": 5, "api_key": "k", "base_url": "https://h/v1/", "stop": "a"})
        assert other.timeouts == (5, 5, 5, 5)
        assert other.api_key.get_secret_value() == "k"
        assert other.base_url == "https://h/v1"
        assert other.stop == "a"

    def test_a_value_out_of_range_is_refused(self):
        with pytest.raises(ValidationError, match="less than or equal to 2"):
            make().model_copy(update={"temperature": 9})

    def test_an_unknown_name_is_refused_and_the_nearest_named(self):
        with pytest.raises(ValidationError, match="Did you mean `temperature`"):
            make().model_copy(update={"temprature": 1})

    def test_a_refusal_shows_no_secret(self):
        with pytest.raises(ValidationError) as caught:
            make(api_key="s3cret").model_copy(update={"default_headers": {"x-a": ["s3cret"]}})
        assert "s3cret" not in f"{caught.value} {caught.value.errors()}"

    def test_aliases_are_names(self):
        other = make().model_copy(update={"model_name": OTHER, "stop_sequences": ["a"]})
        assert (other.model, other.stop) == (OTHER, ["a"])

    def test_a_none_without_a_meaning_of_its_own_changes_nothing(self):
        assert make(max_retries=5).model_copy(update={"max_retries": None}).max_retries == 5

    @pytest.mark.parametrize(
        ("old", "new"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
    )
    def test_one_limit_can_take_the_place_of_the_other(self, old, new):
        other = make(**{old: 5}).model_copy(update={new: 6, old: None})
        assert (getattr(other, old), getattr(other, new)) == (None, 6)

    def test_the_original_is_not_changed(self):
        model = make()
        model.model_copy(update={"temperature": 1, "model": OTHER})
        assert (model.temperature, model.model) == (0.5, KNOWN)

    def test_a_looked_up_profile_is_looked_up_again(self):
        model = make()
        assert model.model_copy(update={"model": OTHER}).profile["name"] != model.profile["name"]
        assert model.model_copy(update={"model": "no/such"}).profile is None
        unknown = model.model_copy(update={"model": "no/such"})
        assert unknown.model_copy(update={"model": KNOWN}).profile == model.profile

    def test_ones_own_profile_stays(self):
        mine = make(profile={"max_input_tokens": 5})
        assert mine.model_copy(update={"model": OTHER}).profile == {"max_input_tokens": 5}

    def test_a_new_profile_wins(self):
        update = {"model": OTHER, "profile": {"max_input_tokens": 5}}
        assert make().model_copy(update=update).profile == {"max_input_tokens": 5}


class TestPickle:
    def test_a_key_of_the_environment_is_not_in_it(self):
        assert b"key-from-env" not in pickle.dumps(use(make()))

    def test_a_key_of_the_environment_is_read_again(self, monkeypatch):
        data = pickle.dumps(make())
        monkeypatch.setenv("PROMPTRUN_API_KEY", "another")
        key = pickle.loads(data).api_key
        assert key.get_secret_value() == "another"

    def test_without_the_variable_the_call_says_so(self, monkeypatch):
        data = pickle.dumps(make())
        monkeypatch.delenv("PROMPTRUN_API_KEY")
        model = pickle.loads(data)
        assert model.api_key is None
        with pytest.raises(ValueError, match="Set the environment variable PROMPTRUN_API_KEY"):
            model.invoke("Hello")

    def test_an_explicit_key_is_in_it_but_not_shown(self):
        model = pickled(make(api_key="explicit"))
        assert model.api_key.get_secret_value() == "explicit"
        assert "explicit" not in repr(model)

    def test_headers_are_in_it(self):
        assert pickled(make(default_headers={"x-a": "b"})).default_headers == {"x-a": "b"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("http_client", httpx.Client()),
            ("http_async_client", httpx.AsyncClient()),
            ("rate_limiter", InMemoryRateLimiter()),
        ],
    )
    def test_what_no_pickler_can_write_is_named(self, name, value):
        with pytest.raises(TypeError, match=rf"whose `{name}` cannot be pickled.*{type(value).__name__}"):
            pickle.dumps(ChatPromptrun(model=KNOWN, **{name: value}))

    def test_a_local_key_function_is_named(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "cloudpickle")  # which could write it
        with pytest.raises(TypeError, match=r"whose `api_key` cannot be pickled.*function"):
            pickle.dumps(ChatPromptrun(model=KNOWN, api_key=lambda: "k"))

    def test_a_key_function_that_no_pickler_can_write_is_named(self):
        lock = threading.Lock()
        model = ChatPromptrun(model=KNOWN, api_key=lambda: str(lock))
        for dumps_ in (pickle.dumps, cloudpickle.dumps):
            with pytest.raises(TypeError, match=r"whose `api_key` cannot be pickled.*function"):
                dumps_(model)

    def test_a_key_function_of_a_module_travels(self):
        assert pickled(make(api_key=threading.current_thread)).api_key is threading.current_thread

    def test_a_local_key_function_travels_by_cloudpickle(self):
        model = cloudpickle.loads(cloudpickle.dumps(make(api_key=lambda: "k")))
        assert model.api_key() == "k"


class TestSerialisation:
    def test_the_key_is_a_secret_id_and_headers_are_nowhere(self):
        text = dumps(use(make(api_key="s3cret", default_headers={"x-a": "s3cret"}, default_query={"q": "s3cret"})))
        assert "s3cret" not in text
        kwargs = json.loads(text)["kwargs"]
        assert kwargs["api_key"] == {"lc": 1, "type": "secret", "id": ["PROMPTRUN_API_KEY"]}
        assert not {"default_headers", "default_query", "http_client", "http_async_client"} & kwargs.keys()

    @pytest.mark.parametrize("key", ["explicit", None, lambda: "k"], ids=["explicit", "environment", "function"])
    def test_any_key_is_a_secret_id(self, key):
        assert dumpd(make(api_key=key))["kwargs"]["api_key"]["id"] == ["PROMPTRUN_API_KEY"]

    def test_what_nobody_chose_is_left_out(self):
        assert not {"base_url", "stream_chunk_timeout", "profile"} & dumpd(make())["kwargs"].keys()
        chosen_ones = dumpd(make(base_url="https://h/v1", stream_chunk_timeout=5))["kwargs"]
        assert (chosen_ones["base_url"], chosen_ones["stream_chunk_timeout"]) == ("https://h/v1", 5)

    def test_a_class_that_is_not_to_be_serialised_is_not(self):
        class Private(ChatPromptrun):
            @classmethod
            def is_lc_serializable(cls):
                return False

        assert dumpd(Private(model=KNOWN))["type"] == "not_implemented"

    @pytest.mark.parametrize(
        "secrets", [{"secrets_from_env": True}, {"secrets_map": {"PROMPTRUN_API_KEY": "key-from-env"}}]
    )
    def test_it_can_be_loaded_again(self, secrets):
        model = ChatPromptrun(
            model=KNOWN, temperature=0.5, stop=["a"], timeout=(1, None, 3, 4), max_tokens=5, logit_bias={"1": 2}
        )
        again = load(
            dumpd(model),
            allowed_objects=[ChatPromptrun],
            valid_namespaces=["langchain_promptrun"],
            **secrets,
        )
        different = {name for name in fields_of(model) if getattr(again, name) != getattr(model, name)}
        # a secret that LangChain read from the environment comes as an explicit one
        assert different == {"api_key"}
        assert again.api_key.get_secret_value() == model.api_key.get_secret_value()
        assert not DEFAULTED & dumpd(again)["kwargs"].keys()
