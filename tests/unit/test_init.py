"""What `import langchain_promptrun` gives."""

import subprocess
import sys

import pytest

import langchain_promptrun
from langchain_promptrun import chat_models, errors


def test_every_public_name_is_there():
    for name in langchain_promptrun.__all__:
        assert getattr(langchain_promptrun, name) is not None
    assert langchain_promptrun.__getattr__("ChatPromptrun") is chat_models.ChatPromptrun
    assert langchain_promptrun.__getattr__("PromptrunError") is errors.PromptrunError


def test_every_error_is_public():
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and name.startswith("Promptrun")}
    assert defined <= set(langchain_promptrun.__all__)


def test_dir_lists_the_public_names():
    assert dir(langchain_promptrun) == sorted(langchain_promptrun.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="ChatPromptRun"):
        _ = langchain_promptrun.ChatPromptRun


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_the_import_alone_loads_neither_core_nor_httpx():
    loaded = run("import sys, langchain_promptrun; print(*sys.modules)")
    assert not {"langchain_core", "httpx", "pydantic"} & set(loaded)


def test_the_model_loads_no_peer_no_tokenizer_and_no_sums_of_costs():
    loaded = run("import sys; from langchain_promptrun import ChatPromptrun; print(*sys.modules)")
    assert not {"openai", "tiktoken", "transformers", "litellm", "langchain_promptrun._spend"} & set(loaded)


def test_the_first_models_may_be_made_by_threads_at_once():
    code = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from langchain_promptrun import ChatPromptrun

sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)

def make(number):
    barrier.wait()
    return ChatPromptrun(model="a/b", api_key="k", seed=number).seed

with ThreadPoolExecutor(8) as pool:
    print(*pool.map(make, range(8)))
"""
    assert run(code) == list("01234567")


def test_the_signature_has_all_fields_before_the_first_model():
    code = (
        "import inspect, langchain_promptrun; print(*inspect.signature(langchain_promptrun.ChatPromptrun).parameters)"
    )
    assert {"model", "temperature", "api_key", "metadata"} <= set(run(code))
