import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["", "._items", "._prompts", "._server"])
def test_the_examples_in_the_docstrings_run(name):
    found = doctest.testmod(importlib.import_module(f"langchain_promptrun.testing{name}"))
    assert found.attempted > 0
    assert found.failed == 0
