"""`register_provider` makes LangChain's strings mean ChatPromptrun."""

import sys
from types import ModuleType

import pytest

from langchain_promptrun import ChatPromptrun, register_provider
from langchain_promptrun.testing import Reply

MODEL = "anthropic/claude-haiku-4.5"


@pytest.fixture
def registered(monkeypatch):
    base = pytest.importorskip("langchain.chat_models.base")
    monkeypatch.setattr(base, "_BUILTIN_PROVIDERS", dict(base._BUILTIN_PROVIDERS))
    register_provider()
    register_provider()
    return base


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}:thinking"])
def test_a_string_makes_a_model(registered, name):
    model = registered.init_chat_model(f"promptrun:{name}", temperature=0, api_key="k")
    assert isinstance(model, ChatPromptrun)
    assert (model.model, model.temperature) == (name, 0)


def test_a_configurable_model_may_be_of_promptrun(registered, promptrun_server):
    model = registered.init_chat_model(configurable_fields="any")
    config = {"configurable": {"model": MODEL, "model_provider": "promptrun"}}
    assert model.invoke("Hello", config).response_metadata["model_provider"] == "promptrun"
    assert promptrun_server.requests[0].body["model"] == MODEL


@pytest.mark.parametrize(
    ("package", "name"), [("langchain.agents", "create_agent"), ("deepagents", "create_deep_agent")]
)
def test_an_agent_takes_the_string(registered, promptrun_server, package, name):
    make = getattr(pytest.importorskip(package), name)
    promptrun_server.queue(Reply("Hello."))
    state = make(f"promptrun:{MODEL}").invoke({"messages": [("user", "Hello")]})
    assert state["messages"][-1].text == "Hello."
    assert promptrun_server.requests[0].body["model"] == MODEL


@pytest.mark.parametrize("table", [None, {}, {"openai": "langchain_openai"}])
def test_a_langchain_without_the_table_is_named(monkeypatch, table):
    module = ModuleType("langchain.chat_models.base")
    module._BUILTIN_PROVIDERS = table
    monkeypatch.setitem(sys.modules, "langchain.chat_models.base", module)
    with pytest.raises(RuntimeError, match=r"no table of providers.*ChatPromptrun\(model="):
        register_provider()


def test_a_missing_langchain_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain.chat_models.base", None)
    with pytest.raises(ImportError, match="needs langchain"):
        register_provider()
