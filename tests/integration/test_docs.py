"""The pages in `docs/` and the docstring of `ChatPromptrun` are true: all of their code runs against the stand-in."""

import ast
import inspect
import re
import textwrap
from pathlib import Path

import pytest

from langchain_promptrun import ChatPromptrun

DOCS = Path(__file__).parents[2] / "docs"
SNIPPET = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
TEMPLATE = """
    # ChatPromptrun
    ## Overview
    ### Integration details
    ### Model features
    ## Setup
    ### Credentials
    ### Installation
    ## Instantiation
    ## Invocation
    ## Chaining
    ## API reference
"""
"""The headings that LangChain's template for chat models asks for."""


@pytest.fixture
def notebook():
    nbformat = pytest.importorskip("nbformat")
    read = nbformat.read(DOCS / "chat_promptrun.ipynb", as_version=4)
    nbformat.validate(read)
    return read


def test_the_notebook_has_the_headings_of_langchains_template_in_their_order(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
    wanted = textwrap.dedent(TEMPLATE).strip().splitlines()
    assert [heading for heading in headings if heading in wanted] == wanted
    assert notebook.cells[0].source == "---\nsidebar_label: Promptrun\n---"


def test_the_notebook_is_kept_without_outputs(notebook):
    """The stand-in's answers would not be an example of a model's."""
    assert [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.fixture
def executed(notebook, promptrun_server):
    """The notebook as it is after a run in a kernel of its own, without what would install packages."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert promptrun_server.requests
    return notebook


def shown(cell):
    """All that a cell printed and returned."""
    return "".join(output.get("text") or output["data"]["text/plain"] for output in cell.outputs)


def test_the_notebook_runs_from_top_to_bottom(executed, promptrun_server):
    cells = {cell.source.strip().splitlines()[-1]: shown(cell) for cell in executed.cells if cell.cell_type == "code"}
    assert cells["print(ai_msg.text)"] == "Hello! You said: I love mountains.\n"
    assert "'total_tokens'" in cells["full.usage_metadata"]
    assert cells['model.bind_tools([get_weather]).invoke("Get the weather in Tbilisi.").tool_calls'].startswith("[{")
    assert cells['model.with_structured_output(Joke).invoke("Tell me a joke about cats.")'].startswith("Joke(")
    assert "1 image" in cells["print(model.invoke([question]).text)"]
    assert cells['[block["type"] for block in thought.content_blocks]'] == "['reasoning', 'text']"
    assert cells['print(safe.invoke("Are you there?").text)'] == "Hello! You said: Are you there?\n"
    assert {request.status for request in promptrun_server.requests} == {200}


def snippets(text):
    """The Python blocks of a text, in its order."""
    return [textwrap.dedent(block) for _, block in SNIPPET.findall(text)]


async def run(text, source):
    """Run the snippets of a text one after the other, as a notebook would: `await` is allowed."""
    names = {}
    for snippet in snippets(text):
        code = compile(snippet, source, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        awaited = eval(code, names)
        if inspect.iscoroutine(awaited):
            await awaited
    return names


async def test_each_snippet_of_the_providers_page_runs(promptrun_server):
    pytest.importorskip("langchain")
    names = await run((DOCS / "provider.mdx").read_text(), "provider.mdx")
    assert isinstance(names["model"], ChatPromptrun)
    assert len(promptrun_server.requests) == 2


def test_the_providers_page_has_the_front_matter_of_langchains_pages():
    _, matter, _ = (DOCS / "provider.mdx").read_text().split("---\n", 2)
    assert [line.partition(":")[0] for line in matter.splitlines()] == ["title", "description"]


SECTIONS = """
    Setup
    Key init args, completion params
    Key init args, client params
    Instantiate
    Invoke
    Stream
    Async
    Tool calling
    Structured output
    Image input
    Token usage
    Response metadata
"""
"""What the docstrings of LangChain's partner packages explain."""


def test_the_docstring_has_the_sections_of_langchains_partner_packages():
    sections = re.findall(r"^(\w.*):$", inspect.cleandoc(ChatPromptrun.__doc__), re.MULTILINE)
    assert sections == textwrap.dedent(SECTIONS).strip().splitlines()


def test_the_init_args_of_the_docstring_are_fields():
    _, _, rest = inspect.cleandoc(ChatPromptrun.__doc__).partition("Key init args, completion params:")
    arguments = re.findall(r"^    ([a-z_, ]+): ", rest.partition("Every field")[0], re.MULTILINE)
    names = {name for line in arguments for name in line.split(", ")}
    assert len(names) > 10
    assert names <= ChatPromptrun.model_fields.keys()


async def test_each_snippet_of_the_docstring_runs(promptrun_server, capsys):
    await run(ChatPromptrun.__doc__, "ChatPromptrun.__doc__")
    printed = capsys.readouterr().out
    assert printed.count("A day on Venus is longer than its year") == 3
    assert "'name': 'GetWeather'" in printed
    assert "I received 1 image." in printed
    assert "'finish_reason': 'stop'" in printed
    assert {request.status for request in promptrun_server.requests} == {200}
