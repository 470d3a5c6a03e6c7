"""README, docs and the docstring of `ChatPromptrun` are true: their code runs and prints what they show."""

import ast
import inspect
import logging
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from langchain_core.language_models.chat_models import BaseChatModel

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.data import models

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PACKAGE = "langchain_promptrun"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
SNIPPET = re.compile(
    r"(?P<skip><!-- test: skip -->\n)?^(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```$"
    r"(?:\n\n```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
MODEL = re.compile(r"\b(?:anthropic|openai|google|meta-llama|mistralai)/[\w.-]*\w")
ROW = re.compile(r"^\| `(\w+)`(?: \(`(\w+)`\))? \| (.*?) \|", re.MULTILINE)
FROM_ENVIRONMENT = {"model": "required", "api_key": "`PROMPTRUN_API_KEY`", "base_url": "`PROMPTRUN_BASE_URL`"}
PROJECT = "d0d52c6e-85ba-4025-a84c-3c99834fe2ac"
"""The project that pages about managed prompts name."""


async def run(text, source, capsys):
    """Run the snippets of a text one after the other, as a notebook would: `await` is allowed."""
    names = {}
    shown = []
    for snippet in SNIPPET.finditer(text):
        if snippet["skip"]:
            continue
        code = compile(textwrap.dedent(snippet["code"]), source, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        awaited = eval(code, names)
        if inspect.iscoroutine(awaited):
            await awaited
        printed = capsys.readouterr().out.removesuffix("\n")
        shown.append(((snippet["printed"] or printed).removesuffix("\n"), printed))
    return shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_docs_snippets_run_in_the_order_of_the_page_and_print_what_it_shows(
    page, promptrun_server, capsys, caplog
):
    pytest.importorskip("langchain")
    caplog.set_level(logging.NOTSET, "httpx")  # a page sets it; it is restored
    essays = promptrun_server.prompts.create("Essays", project_id=PROJECT)
    essays.publish("Write {{word_count}} words.", tags=["prod"])
    shown = await run(page.read_text(), page.name, capsys)
    assert [stated for stated, _ in shown] == [printed for _, printed in shown]


async def test_docs_snippets_of_the_docstring_run(promptrun_server, capsys):
    await run(ChatPromptrun.__doc__, "ChatPromptrun.__doc__", capsys)
    assert len(promptrun_server.requests) == 4
    assert {request.status for request in promptrun_server.requests} == {200}


def test_docs_and_examples_name_current_models_and_nothing_that_langchain_deprecated():
    """What a vendor retires is replaced in `data/models.py`, and then here, until this passes."""
    current = {models.SMALL, models.LARGE, models.OTHER_VENDOR}
    deprecated = re.compile(r"RunnableWithMessageHistory|astream_log|langchain[-_]community")
    pages = [*PAGES, *(path for path in (ROOT / "examples").iterdir() if path.is_file())]
    modules = [path for path in (ROOT / PACKAGE).rglob("*.py") if "data" not in path.parts]
    named = {str(path): set(MODEL.findall(path.read_text())) - current for path in [*pages, *modules]}
    assert {path: ids for path, ids in named.items() if ids} == {}
    assert [path.name for path in pages if deprecated.search(path.read_text())] == []


def test_docs_contents_and_navigation_and_links_lead_to_every_page_section_and_file():
    text = README.read_text()
    named = set(re.findall(r'"([\w-]+\.md)"', (ROOT / "zensical.toml").read_text()))
    assert {page.name for page in PAGES if page != README} <= named
    sections = [name.lower().replace(" ", "-") for name in re.findall(r"^## (.+)", text, re.MULTILINE)]
    assert re.findall(r"\(#([\w-]+)\)", text)[: len(sections)] == sections
    pages = re.findall(r"promptrun-ai\.github\.io/langchain-promptrun/([\w-]+)/\)", text)
    files = re.findall(r"(?:blob/main|langchain-promptrun/main)/([\w./-]+)\)", text)
    assert len(pages) > 5
    assert [file for file in [*(f"docs/{page}.md" for page in pages), *files] if not (ROOT / file).exists()] == []


def test_docs_outside_links_are_asked_for_and_a_missing_page_is_named():
    """`make links` does it with a network."""
    script = runpy.run_path(ROOT / "scripts" / "check_links.py")
    known = script["links"]()
    assert "https://app.promptrun.ai" in known
    assert len(known) > 20
    answers = {"https://a/": 200, "https://b/": 404, "https://c/": 403}
    transport = httpx.MockTransport(lambda request: httpx.Response(answers[str(request.url)]))
    with httpx.Client(transport=transport) as client:
        assert [script["problem"](client, link) for link in answers] == [None, "https://b/: 404", None]


def test_docs_modules_and_names_in_them_that_the_contribution_guide_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"(?:`(\w+)` in )?`([\w/]+\.py)`", text)
    found = {module: next(filter(Path.exists, (ROOT / PACKAGE / module, ROOT / module)), None) for _, module in named}
    assert len(found) > 20
    assert [module for module, path in found.items() if path is None] == []
    texts = {module: path.read_text() for module, path in found.items()}
    defined = [(rf"^(?:(?:def|class) )?{name}\b", module) for name, module in named if name]
    assert [name for name, module in defined if not re.search(name, texts[module], re.MULTILINE)] == []


def test_docs_readme_table_names_every_field_with_its_default():
    fields = ChatPromptrun.model_fields
    rows = {name: default for name, _, default in ROW.findall(README.read_text())}
    assert rows.keys() == fields.keys() - BaseChatModel.model_fields.keys()
    for name, default in rows.items():
        if name in FROM_ENVIRONMENT:
            assert default.startswith(FROM_ENVIRONMENT[name])
        else:
            assert default.strip("`") == repr(fields[name].get_default(call_default_factory=True)), name


def test_docs_readme_figures_are_those_of_the_last_measurement():
    printed = subprocess.check_output([sys.executable, ROOT / "benchmarks" / "readme.py"], text=True)
    assert printed in README.read_text()
