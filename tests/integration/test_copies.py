"""What an assignment, a copy, a pickle and LangChain's JSON keep of a model; what version 0.1.0 pickled still loads."""

import copy
import json
import pickle
import sys
import threading
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cloudpickle
import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ModelError
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from pydantic import PrivateAttr, SecretStr, ValidationError

import langchain_promptrun
from langchain_promptrun import ChatPromptrun, PromptRecord, PromptrunAuthenticationError, PromptrunPrompt
from langchain_promptrun.testing import Fault, Reply

KNOWN = "anthropic/claude-3.5-haiku"
OTHER = "openai/gpt-4o"
OWN = {"max_input_tokens": 5}
DEFAULTED = {"base_url", "stream_chunk_timeout", "profile"}
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda model: model.model_copy(),
    "deep model_copy": lambda model: model.model_copy(deep=True),
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "cloudpickle": lambda model: cloudpickle.loads(cloudpickle.dumps(model)),
}


@pytest.fixture(autouse=True)
def server(promptrun_server, monkeypatch):
    """A server that takes any key; one is in the environment."""
    monkeypatch.setenv("PROMPTRUN_API_KEY", "key-from-env")
    promptrun_server.api_key = None
    return promptrun_server


@pytest.fixture(params=COPIES.values(), ids=COPIES)
def duplicate(request):
    return request.param


class Remembering(ChatPromptrun):
    _seen: list = PrivateAttr(default_factory=list)


class Private(ChatPromptrun):
    @classmethod
    def is_lc_serializable(cls):
        return False


def make(**fields):
    return ChatPromptrun(**{"model": KNOWN, "temperature": 0.5, **fields})


def use(model):
    """Call a model, and have it keep all that it caches."""
    assert model.invoke("Hello").text
    assert model._serialized
    return model


def fields_of(model):
    return {name: getattr(model, name) for name in type(model).model_fields}


def test_assigned_fields_are_checked_as_at_construction():
    model, own = make(), make(profile=OWN)
    default = model.base_url
    for name, value, kept in (
        ("timeout", 5, (5, 5, 5, 5)),
        ("timeout", httpx.Timeout(3), (3, 3, 3, 3)),
        ("base_url", "https://host/v1/", "https://host/v1"),
        ("base_url", None, default),
        ("api_key", "key-s3cret", SecretStr("key-s3cret")),
        ("api_key", None, make().api_key),
    ):
        setattr(model, name, value)
        assert getattr(model, name) == kept
        assert "s3cret" not in repr(model) + model.model_dump_json()
    for name, wrong in (("temperature", "hot"), ("nonsense", 1)):
        with pytest.raises(ValueError, match=name):
            setattr(model, name, wrong)
    for name, other in (("model", OTHER), ("model_name", "no/such")):
        setattr(model, name, other)
        setattr(own, name, other)
        assert (model.model, model.profile, own.profile) == (other, make(model=other).profile, OWN)


def test_connections_are_kept_by_an_assignment_that_does_not_concern_them_and_what_is_derived_is_not():
    """langchain-core caches `_serialized`, which is part of its cache keys, on the instance."""
    model = use(make())
    held = model._held()
    other = model.model_copy(update={"temperature": 1})
    assert [one._serialized["kwargs"]["temperature"] for one in (model, other)] == [0.5, 1]
    model.temperature, model.callbacks = 0.9, []
    assert (model._serialized["kwargs"]["temperature"], model._held()) == (0.9, held)
    model.max_connections = 3
    assert model._held() is not held


@pytest.mark.parametrize("key", ["explicit", None], ids=["explicit key", "key of the environment"])
def test_a_used_model_is_copied_without_its_connections_and_works(server, duplicate, key):
    model = use(make(api_key=key, stop=["x"], default_headers={"x-a": "b"}, timeout=5, metadata={"mine": 1}))
    other = duplicate(model)
    assert fields_of(other) == fields_of(model)
    assert other.model_fields_set == model.model_fields_set
    assert (model._transport is None, other._transport) == (False, None)
    use(other)
    assert [request.has_key(key or "key-from-env") for request in server.requests] == [True, True]


def test_defaults_stay_defaults_and_chosen_values_stay_chosen(duplicate):
    other = duplicate(use(make()))
    assert not DEFAULTED & dumpd(other)["kwargs"].keys()
    assert b"key-from-env" not in pickle.dumps(other)
    assert other.model_copy(update={"model": OTHER}).profile == make(model=OTHER).profile
    other = duplicate(make(api_key="k3y", base_url="https://h/v1", stream_chunk_timeout=120, profile=OWN))
    kwargs = dumpd(other)["kwargs"]
    assert (kwargs["base_url"], kwargs["stream_chunk_timeout"]) == ("https://h/v1", 120)
    assert (b"k3y" in pickle.dumps(other), "k3y" in repr(other)) == (True, False)
    assert other.model_copy(update={"model": OTHER}).profile == OWN


def test_a_copy_keeps_the_private_attributes_of_a_subclass_and_what_is_bound(duplicate):
    model = Remembering(model=KNOWN)
    model._seen.append(1)
    bound = duplicate(model.bind_tools([{"type": "function", "function": {"name": "weather"}}], tool_choice="any"))
    assert (bound.bound._seen, bound.kwargs["tools"][0]["function"]) == ([1], {"name": "weather"})
    assert bound.invoke("Hello").tool_calls


def test_a_deep_copy_shares_what_cannot_be_copied():
    lock = threading.Lock()
    shared = {
        "api_key": lambda: "k" if lock else "",
        "http_client": httpx.Client(),
        "http_async_client": httpx.AsyncClient(),
        "rate_limiter": InMemoryRateLimiter(),
        "cache": InMemoryCache(),
    }
    model = make(**shared, model_kwargs={"a": []})
    other, again = copy.deepcopy([model, model])
    assert other is again
    assert all(getattr(other, name) is value for name, value in shared.items())
    assert other.model_kwargs == model.model_kwargs
    assert other.model_kwargs["a"] is not model.model_kwargs["a"]


@pytest.mark.parametrize(
    ("fields", "update", "expected"),
    [
        ({}, {"timeout": 5, "base_url": "https://h/v1/"}, {"timeouts": (5, 5, 5, 5), "base_url": "https://h/v1"}),
        ({}, {"model_name": OTHER, "stop_sequences": ["a"]}, {"model": OTHER, "stop": ["a"]}),
        ({}, {"api_key": "k", "stop": "a"}, {"api_key": SecretStr("k"), "stop": "a"}),
        ({"max_retries": 5}, {"max_retries": None}, {"max_retries": 5}),
        *(
            ({old: 5}, {new: 6, old: None}, {old: None, new: 6})
            for old, new in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens"))
        ),
        ({}, {"model": OTHER}, {"profile": make(api_key="k", model=OTHER).profile}),
        ({}, {"model": "no/such"}, {"profile": None}),
        ({"model": "no/such"}, {"model": KNOWN}, {"profile": make(api_key="k").profile}),
        ({"profile": OWN}, {"model": OTHER}, {"profile": OWN}),
        ({}, {"model": OTHER, "profile": OWN}, {"profile": OWN}),
    ],
)
def test_an_update_is_read_as_at_construction_and_changes_only_the_copy(fields, update, expected):
    model = make(**fields)
    before = fields_of(model)
    other = model.model_copy(update=update)
    assert {name: getattr(other, name) for name in expected} == expected
    assert fields_of(model) == before


def test_a_mistake_in_an_update_is_named_and_no_secret_shown():
    for update, said in (
        ({"temperature": 9}, "less than or equal to 2"),
        ({"temprature": 1}, "Did you mean `temperature`"),
        ({"default_headers": {"x-a": ["s3cret"]}}, "default_headers"),
        ({"model_kwargs": {"api_key": "s3cret"}}, "set the field `api_key`"),
    ):
        with pytest.raises(ValidationError, match=said) as caught:
            make(api_key="s3cret").model_copy(update=update)
        assert "s3cret" not in f"{caught.value} {caught.value.errors()}"


def test_a_pickle_takes_its_key_from_the_environment_again(monkeypatch):
    monkeypatch.delenv("PROMPTRUN_BASE_URL")
    data = pickle.dumps(make())
    monkeypatch.setenv("PROMPTRUN_API_KEY", "another")
    assert pickle.loads(data).api_key.get_secret_value() == "another"
    monkeypatch.delenv("PROMPTRUN_API_KEY")
    model = pickle.loads(data)
    assert model.api_key is None
    with pytest.raises(ValueError, match="Set the environment variable PROMPTRUN_API_KEY"):
        model.invoke("Hello")


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("name", "value", "dump"),
    [
        ("http_client", httpx.Client(), pickle.dumps),
        ("http_async_client", httpx.AsyncClient(), pickle.dumps),
        ("rate_limiter", InMemoryRateLimiter(), pickle.dumps),
        ("api_key", lambda: "k", pickle.dumps),
        ("api_key", lambda lock=LOCK: str(lock), pickle.dumps),
        ("api_key", lambda lock=LOCK: str(lock), cloudpickle.dumps),
    ],
)
def test_what_a_pickler_can_write_of_a_key_function_travels_and_what_it_cannot_is_named(monkeypatch, name, value, dump):
    assert pickle.loads(pickle.dumps(make(api_key=threading.current_thread))).api_key is threading.current_thread
    assert cloudpickle.loads(cloudpickle.dumps(make(api_key=lambda: "k"))).api_key() == "k"
    if dump is pickle.dumps:
        monkeypatch.delitem(sys.modules, "cloudpickle")  # which can write local functions
    with pytest.raises(TypeError, match=rf"whose `{name}` cannot be pickled.*{type(value).__name__}"):
        dump(make(**{name: value}))


@pytest.mark.parametrize("key", ["s3cret", None, lambda: "k"], ids=["explicit", "environment", "function"])
def test_in_json_any_key_is_a_secret_id_and_headers_are_nowhere(key):
    text = dumps(use(make(api_key=key, default_headers={"x-a": "s3cret"}, default_query={"q": "s3cret"})))
    assert "s3cret" not in text
    kwargs = json.loads(text)["kwargs"]
    assert kwargs["api_key"] == {"lc": 1, "type": "secret", "id": ["PROMPTRUN_API_KEY"]}
    assert not {"default_headers", "default_query", "http_client", "http_async_client"} & kwargs.keys()


@pytest.mark.parametrize(
    "secrets", [{"secrets_from_env": True}, {"secrets_map": {"PROMPTRUN_API_KEY": "key-from-env"}}]
)
def test_json_can_be_loaded_again(secrets):
    model = make(stop=["a"], timeout=(1, None, 3, 4), max_tokens=5, logit_bias={"1": 2})
    again = load(dumpd(model), allowed_objects=[ChatPromptrun], valid_namespaces=["langchain_promptrun"], **secrets)
    # a secret that LangChain read from the environment comes as an explicit one
    assert {name for name in fields_of(model) if getattr(again, name) != getattr(model, name)} == {"api_key"}
    assert again.api_key.get_secret_value() == model.api_key.get_secret_value()
    assert not DEFAULTED & dumpd(again)["kwargs"].keys()
    assert dumpd(again)["id"] == ["langchain_promptrun", "chat_models", "ChatPromptrun"]
    assert dumpd(Private(model=KNOWN))["type"] == "not_implemented"


ARCHIVE = zipfile.ZipFile(Path(__file__).parent / "pickles-0.1.0.zip")
ERRORS = [name.removeprefix("err").removesuffix(".pkl") for name in ARCHIVE.namelist() if name.startswith("err")]
TOOL = {"type": "function", "function": {"name": "weather", "description": "Say what the weather is."}}
PROJECT = "d0d52c6e-85ba-4025-a84c-3c99834fe2ac"


def unpickled(name):
    return pickle.loads(ARCHIVE.read(f"{name}.pkl"))


def test_a_model_of_0_1_0_is_loaded_with_its_chosen_fields_and_works(server):
    model, chosen = unpickled("m"), unpickled("m2")
    assert isinstance(model, ChatPromptrun)
    assert (model.model, model.stream_chunk_timeout, model.profile["name"]) == ("openai/gpt-4o", 120, "GPT-4o")
    assert model.model_copy(update={"base_url": server.base_url}).invoke("Hello").text
    assert model.model_copy(update={"model": "no/such"}).profile is None
    assert (chosen.api_key.get_secret_value(), chosen.base_url) == ("explicit", "http://x")
    assert (chosen.timeouts, chosen.default_headers) == ((5, 5, 5, 5), {"x": "y"})
    assert chosen.profile == {"max_input_tokens": 3}


@pytest.mark.parametrize("name", ["tools", "bound"])
def test_a_binding_of_0_1_0_is_loaded_and_works(server, name):
    unpickled(name).bind(api_key=server.api_key, base_url=server.base_url).invoke("Hello")
    request = server.requests[0]
    assert request.body["tools"] if name == "tools" else request.headers["a"] == "b"


def test_parsers_of_objects_of_0_1_0_are_loaded_and_read():
    call = {"name": "J", "args": {"a": "b"}, "id": "1", "type": "tool_call"}
    assert unpickled("so").last.invoke(AIMessage("", tool_calls=[call])) == {"a": "b"}
    parsed = unpickled("so2").steps[-1].invoke({"raw": AIMessage('{"a": "b"}')})
    assert (parsed["parsed"], parsed["parsing_error"]) == ({"a": "b"}, None)


def test_a_prompt_of_0_1_0_and_what_it_gave_are_loaded_and_work(server):
    server.prompts.create("N", project_id=PROJECT).publish("Hello {{word_count}} {{a}}.")
    prompt, partial, record, value = map(unpickled, ("prompt", "partial", "rec", "pv"))
    assert (type(prompt), type(record)) == (PromptrunPrompt, PromptRecord)
    assert vars(prompt).keys() == PromptrunPrompt.model_fields.keys()
    updated = {"base_url": server.base_url, "api_key": server.api_key}
    text = prompt.model_copy(update=updated).invoke({"word_count": 1, "a": "c"}).to_messages()[0].text
    assert text == "Hello 1 c."
    assert partial.model_copy(update=updated).invoke({"word_count": 1}).to_messages()[0].text == "Hello 1 b."
    assert (record.prompt, record.version, record.project.id) == ("Hello {{name}}", 1, PROJECT)
    assert value.to_messages()[0].text == "Hello Ann"
    assert unpickled("follow")


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_0_1_0_is_loaded(name):
    error = unpickled(f"err{name}")
    assert (type(error), isinstance(error, ModelError)) == (getattr(langchain_promptrun, name), True)
    assert (str(error), error.status_code) == ("msg", None)


def test_an_error_of_a_response_of_0_1_0_is_loaded_with_its_facts():
    error = unpickled("live")
    assert (type(error), error.is_retryable) == (PromptrunAuthenticationError, False)
    assert (error.status_code, error.request_id, error.response.status_code) == (401, "req-3", 401)
    assert error.body == '{"error":"Invalid or missing API key."}'


@pytest.fixture(scope="module")
def elsewhere():
    """A spawned process, which shares nothing with this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield lambda function, *args: pool.submit(function, *args).result(60)


@pytest.mark.parametrize("key", ["test-key", None], ids=["explicit key", "key of the environment"])
def test_a_used_model_works_in_a_spawned_process(server, elsewhere, key):
    server.api_key = key or "key-from-env"
    elsewhere(exec, f"import os; os.environ['PROMPTRUN_API_KEY'] = '{'unused' if key else 'key-from-env'}'")
    model = make(api_key=key)
    server.queue(Reply("Here."), Reply("There."))
    assert model.invoke("Hello").text == "Here."
    assert elsewhere(model.invoke, "Hello").text == "There."
    here, there = server.requests
    assert (there.body, there.has_key(server.api_key)) == (here.body, True)
    assert there.connection != here.connection
    elsewhere(exec, "import os; os.environ.pop('PROMPTRUN_API_KEY')")
    if key is None:
        with pytest.raises(PromptrunAuthenticationError, match="environment variable PROMPTRUN_API_KEY"):
            elsewhere(model.invoke, "Hello")


def test_tools_and_errors_travel_to_a_spawned_process_and_back(server, elsewhere):
    bound = make(api_key="test-key").bind_tools([TOOL])
    call = Reply(tool_calls=[{"name": "weather", "args": {}, "id": "call_a"}])
    server.queue(call, Fault(status=401, body={"error": "No such key."}))
    assert elsewhere(bound.invoke, "Hello").tool_calls[0]["name"] == "weather"
    assert server.requests[0].body["tools"] == [TOOL]
    with pytest.raises(PromptrunAuthenticationError, match="No such key") as caught:
        elsewhere(bound.invoke, "Hello")
    assert caught.value.status_code == 401
