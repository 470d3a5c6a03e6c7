"""The README is true: each snippet runs, from top to bottom, and the table of fields is complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from langchain_core.language_models.chat_models import BaseChatModel

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

README = Path(__file__).parents[2] / "README.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)`(?: \(`(\w+)`\))? \| (.*?) \|", re.MULTILINE)
FROM_ENVIRONMENT = {"model": "required", "api_key": "`PROMPTRUN_API_KEY`", "base_url": "`PROMPTRUN_BASE_URL`"}


def test_each_snippet_runs_in_the_order_of_the_page(promptrun_server, capsys):
    pytest.importorskip("langchain")
    essays = promptrun_server.prompts.create("Essays", project_id="d0d52c6e-85ba-4025-a84c-3c99834fe2ac")
    essays.publish("Write {{word_count}} words.", tags=["prod"])
    names = {}
    for snippet in SNIPPET.findall(README.read_text()):
        if "reasoning_effort" in snippet:
            promptrun_server.queue(Reply("56.", reasoning="Eight legs each."))
        exec(compile(snippet, README.name, "exec"), names)
    printed = capsys.readouterr().out
    assert "A day on Venus" in printed
    assert "It is sunny in" in printed
    assert "['Eight legs each.']" in printed
    assert "1 ['word_count']" in printed


def test_the_table_names_every_field_with_its_default():
    own = {name: field for name, field in ChatPromptrun.model_fields.items() if name in own_fields()}
    rows = {name: (alias, default) for name, alias, default in ROW.findall(README.read_text())}
    assert rows.keys() == own.keys()
    for name, field in own.items():
        default = rows[name][1]
        if name in FROM_ENVIRONMENT:
            assert default.startswith(FROM_ENVIRONMENT[name])
        else:
            assert default.strip("`") == repr(field.get_default(call_default_factory=True)), name


def own_fields():
    """Fields that are not LangChain's."""
    return ChatPromptrun.model_fields.keys() - BaseChatModel.model_fields.keys()


def test_the_figures_are_those_of_the_last_measurement():
    printed = subprocess.check_output([sys.executable, README.parent / "benchmarks" / "readme.py"], text=True)
    assert printed in README.read_text()
