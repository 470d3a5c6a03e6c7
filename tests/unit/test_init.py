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


def test_the_import_alone_loads_neither_core_nor_httpx():
    code = "import sys, langchain_promptrun; print({'langchain_core', 'httpx', 'pydantic'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_the_model_loads_no_peer_no_tokenizer_and_no_sums_of_costs():
    code = "import sys; from langchain_promptrun import ChatPromptrun; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unused = {"openai", "tiktoken", "transformers", "litellm", "langchain_promptrun._spend"}
    assert not unused & set(run.stdout.split())
