"""What version 0.1.0 pickled still loads and works; a used model goes to a spawned process and works there."""

import pickle
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessage

import langchain_promptrun
from langchain_promptrun import ChatPromptrun, PromptRecord, PromptrunAuthenticationError, PromptrunPrompt
from langchain_promptrun.testing import Fault, Reply

ARCHIVE = zipfile.ZipFile(Path(__file__).parent / "pickles-0.1.0.zip")
ERRORS = [name.removeprefix("err").removesuffix(".pkl") for name in ARCHIVE.namelist() if name.startswith("err")]
MODEL = "anthropic/claude-3.5-haiku"
TOOL = {"type": "function", "function": {"name": "weather", "description": "Say what the weather is."}}
PROJECT = "d0d52c6e-85ba-4025-a84c-3c99834fe2ac"


def load(name):
    return pickle.loads(ARCHIVE.read(f"{name}.pkl"))


def test_a_model_is_loaded_with_its_chosen_fields_and_works(promptrun_server):
    model, chosen = load("m"), load("m2")
    assert isinstance(model, ChatPromptrun)
    assert (model.model, model.stream_chunk_timeout, model.profile["name"]) == ("openai/gpt-4o", 120, "GPT-4o")
    assert model.model_copy(update={"base_url": promptrun_server.base_url}).invoke("Hello").text
    assert model.model_copy(update={"model": "no/such"}).profile is None
    assert (chosen.api_key.get_secret_value(), chosen.base_url) == ("explicit", "http://x")
    assert (chosen.timeouts, chosen.default_headers) == ((5, 5, 5, 5), {"x": "y"})
    assert chosen.profile == {"max_input_tokens": 3}


@pytest.mark.parametrize("name", ["tools", "bound"])
def test_a_binding_is_loaded_and_works(promptrun_server, name):
    load(name).bind(api_key=promptrun_server.api_key, base_url=promptrun_server.base_url).invoke("Hello")
    request = promptrun_server.requests[0]
    assert request.body["tools"] if name == "tools" else request.headers["a"] == "b"


def test_parsers_of_objects_are_loaded_and_read():
    call = {"name": "J", "args": {"a": "b"}, "id": "1", "type": "tool_call"}
    assert load("so").last.invoke(AIMessage("", tool_calls=[call])) == {"a": "b"}
    parsed = load("so2").steps[-1].invoke({"raw": AIMessage('{"a": "b"}')})
    assert (parsed["parsed"], parsed["parsing_error"]) == ({"a": "b"}, None)


def test_a_prompt_and_what_it_gave_are_loaded_and_work(promptrun_server):
    promptrun_server.prompts.create("N", project_id=PROJECT).publish("Hello {{word_count}} {{a}}.")
    prompt, partial, record, value = map(load, ("prompt", "partial", "rec", "pv"))
    assert (type(prompt), type(record)) == (PromptrunPrompt, PromptRecord)
    updated = {"base_url": promptrun_server.base_url, "api_key": promptrun_server.api_key}
    text = prompt.model_copy(update=updated).invoke({"word_count": 1, "a": "c"}).to_messages()[0].text
    assert text == "Hello 1 c."
    assert partial.model_copy(update=updated).invoke({"word_count": 1}).to_messages()[0].text == "Hello 1 b."
    assert (record.prompt, record.version, record.project.id) == ("Hello {{name}}", 1, PROJECT)
    assert value.to_messages()[0].text == "Hello Ann"
    assert load("follow")


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_loaded(name):
    error = load(f"err{name}")
    assert (type(error), isinstance(error, ModelError)) == (getattr(langchain_promptrun, name), True)
    assert (str(error), error.status_code) == ("msg", None)


def test_an_error_of_a_response_is_loaded_with_its_facts():
    error = load("live")
    assert (type(error), error.is_retryable) == (PromptrunAuthenticationError, False)
    assert (error.status_code, error.request_id, error.response.status_code) == (401, "req-3", 401)
    assert error.body == '{"error":"Invalid or missing API key."}'


@pytest.fixture(scope="module")
def elsewhere():
    """Another process, which shares nothing with this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield lambda function, *args: pool.submit(function, *args).result(60)


@pytest.mark.parametrize("key", ["test-key", None], ids=["explicit key", "key of the environment"])
def test_a_used_model_works_in_a_spawned_process(promptrun_server, elsewhere, key):
    elsewhere(exec, f"import os; os.environ['PROMPTRUN_API_KEY'] = '{'unused' if key else 'test-key'}'")
    model = ChatPromptrun(model=MODEL, api_key=key, base_url=promptrun_server.base_url, temperature=0.5)
    promptrun_server.queue(Reply("Here."), Reply("There."))
    assert model.invoke("Hello").text == "Here."
    assert elsewhere(model.invoke, "Hello").text == "There."
    here, there = promptrun_server.requests
    assert (there.body, there.has_key("test-key")) == (here.body, True)
    assert there.connection != here.connection
    elsewhere(exec, "import os; os.environ.pop('PROMPTRUN_API_KEY')")
    if key is None:
        with pytest.raises(PromptrunAuthenticationError, match="environment variable PROMPTRUN_API_KEY"):
            elsewhere(model.invoke, "Hello")


def test_tools_and_errors_travel_to_a_spawned_process_and_back(promptrun_server, elsewhere):
    bound = ChatPromptrun(model=MODEL, api_key="test-key", base_url=promptrun_server.base_url).bind_tools([TOOL])
    call = Reply(tool_calls=[{"name": "weather", "args": {}, "id": "call_a"}])
    promptrun_server.queue(call, Fault(status=401, body={"error": "No such key."}))
    assert elsewhere(bound.invoke, "Hello").tool_calls[0]["name"] == "weather"
    assert promptrun_server.requests[0].body["tools"] == [TOOL]
    with pytest.raises(PromptrunAuthenticationError, match="No such key") as caught:
        elsewhere(bound.invoke, "Hello")
    assert caught.value.status_code == 401
