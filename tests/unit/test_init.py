"""What `import langchain_promptrun` gives."""

import subprocess
import sys

import pytest

import langchain_promptrun
from langchain_promptrun import chat_models, errors


def test_every_public_name_is_there_and_listed_and_every_error_is_public():
    for name in langchain_promptrun.__all__:
        assert getattr(langchain_promptrun, name) is not None
    assert langchain_promptrun.__getattr__("ChatPromptrun") is chat_models.ChatPromptrun
    assert langchain_promptrun.__getattr__("PromptrunError") is errors.PromptrunError
    assert dir(langchain_promptrun) == sorted(langchain_promptrun.__all__)
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and name.startswith("Promptrun")}
    assert defined <= set(langchain_promptrun.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="ChatPromptRun"):
        _ = langchain_promptrun.ChatPromptRun


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import langchain_promptrun", {"langchain_core", "httpx", "pydantic"}),
        (
            "from langchain_promptrun import ChatPromptrun",
            {"openai", "tiktoken", "transformers", "litellm"}
            | {f"langchain_promptrun.{name}" for name in ("_spend", "data._profiles")},
        ),
    ],
)
def test_an_import_loads_no_more_than_it_needs(code, absent):
    assert not absent & set(run(f"import sys; {code}; print(*sys.modules)"))


def test_the_signature_has_all_fields_before_the_first_model():
    code = "import inspect, langchain_promptrun as it; print(*inspect.signature(it.ChatPromptrun).parameters)"
    assert {"model", "temperature", "api_key", "metadata"} <= set(run(code))


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
