"""A used model goes to a spawned process and works there, over real sockets."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from langchain_promptrun import ChatPromptrun, PromptrunAuthenticationError
from langchain_promptrun.testing import Fault, Reply

MODEL = "anthropic/claude-3.5-haiku"
TOOL = {"type": "function", "function": {"name": "weather", "description": "Say what the weather is."}}


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
    assert there.body == here.body
    assert there.has_key("test-key")
    assert there.connection != here.connection


def test_without_its_variable_the_other_process_says_so(promptrun_server, elsewhere):
    elsewhere(exec, "import os; os.environ.pop('PROMPTRUN_API_KEY', None)")
    model = ChatPromptrun(model=MODEL, base_url=promptrun_server.base_url)
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
