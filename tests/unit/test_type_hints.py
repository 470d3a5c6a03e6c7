"""The hints of public methods, which LangChain reads: `with_fallbacks` hands on each method that returns a Runnable."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest
from langchain_core.runnables import Runnable

from langchain_promptrun import ChatPromptrun, PromptrunPrompt

METHODS = [
    pytest.param(getattr(kind, name), id=f"{kind.__name__}.{name}")
    for kind in (ChatPromptrun, PromptrunPrompt)
    for name in dir(kind)
    if not name.startswith("_")
    and inspect.isfunction(getattr(kind, name))
    and getattr(kind, name).__module__.startswith("langchain_promptrun")
]


@pytest.mark.parametrize("method", METHODS)
def test_hints_of_a_public_method_can_be_read(method):
    assert "return" in get_type_hints(method)


@pytest.mark.parametrize("name", ["bind_tools", "with_structured_output"])
def test_methods_that_give_runnables_say_so(name):
    returned = get_type_hints(getattr(ChatPromptrun, name))["return"]
    assert issubclass(returned.__origin__, Runnable)
