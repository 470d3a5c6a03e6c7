"""Each example runs with the one command that its page names, with a key and without, and says what it needs."""

import ast
import os
import re
import runpy
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SHARED = "promptrun_or_offline"
TEXTS = {path.stem: path.read_text() for path in sorted(EXAMPLES.glob("*.py"))}
SCRIPTS = [name for name, text in TEXTS.items() if f"from {SHARED} import run" in text]
HEADED = [name for name, text in TEXTS.items() if text.startswith("# /// script")]
APPLICATIONS = [name for name, text in TEXTS.items() if "except ModuleNotFoundError" in text]
"""Have options of their own and tests of their own."""
PROGRAM = "mcp_tools"
"""Starts a process that inherits stderr, so the tests' own stderr cannot stand in."""
OFFLINE = re.compile(r"offline: a stand-in server at http://127\.0\.0\.1:\d+/v1 answers")
HEADER = re.compile(r"^# /// script\n(.*?)^# ///$", re.MULTILINE | re.DOTALL)
OURS = {"langchain-promptrun", "langchain-core", "pydantic", "httpx"}
"""What the package itself brings."""

# Third parties announce what becomes of their own parts; the examples show these parts on purpose.
announcements = [
    pytest.mark.filterwarnings("ignore:The default value of `allowed_objects`:PendingDeprecationWarning"),
]


def header(path):
    """Read the script metadata of a file (PEP 723)."""
    (block,) = HEADER.findall(path.read_text())
    return tomllib.loads(re.sub(r"^# ?", "", block, flags=re.MULTILINE))


def need(name):
    """Skip where an example's dependencies are not installed."""
    for dependency in header(EXAMPLES / f"{name}.py")["dependencies"]:
        try:
            metadata.version(dependency)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{dependency} is not installed")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run an example as a script, in this process; return what it printed."""

    def run_script(name, *arguments):
        need(name)
        monkeypatch.syspath_prepend(EXAMPLES)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr()

    return run_script


def marked(names):
    return [pytest.param(name, marks=announcements) for name in names]


@pytest.mark.parametrize("name", marked(name for name in SCRIPTS if name != PROGRAM))
def test_each_example_runs_offline_although_there_is_a_key(run, promptrun_server, name):
    printed = run(name, "--offline")
    assert re.fullmatch(
        r"offline: a stand-in server at http://127\.0\.0\.1:\d+/v1 answers", printed.err.splitlines()[0]
    )
    assert printed.out.strip()
    assert promptrun_server.requests == []


def test_without_a_key_an_example_goes_offline_by_itself_and_leaves_the_environment_alone(run, monkeypatch):
    monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)
    printed = run("lcel_configuration")
    assert printed.err.startswith("offline: ")
    assert "You said: Name a star" in printed.out
    assert "PROMPTRUN_API_KEY" not in os.environ


def test_with_a_key_an_example_talks_to_the_server_of_the_environment(run, promptrun_server):
    printed = run("agent_middleware")
    assert printed.err == ""
    assert len(promptrun_server.requests) > 5
    assert {request.status for request in promptrun_server.requests} == {200}


@pytest.mark.parametrize("name", ["lcel_configuration", PROGRAM])
def test_an_example_runs_as_a_program_of_its_own(name):
    need(name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROMPTRUN_")}
    command = [sys.executable, EXAMPLES / f"{name}.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert OFFLINE.fullmatch(done.stderr.strip())
    assert done.stdout.strip()


distributions = cache(metadata.packages_distributions)


def imported(name):
    """The distributions of what an example and its neighbours import: for each import, all that could bring it."""
    brought = distributions()
    for node in ast.walk(ast.parse(TEXTS[name])):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            top = module.partition(".")[0]
            if top in TEXTS:
                yield from imported(top)
            elif top not in sys.stdlib_module_names:
                yield module, set(brought.get(top, [top.replace("_", "-")]))


@pytest.mark.parametrize("name", HEADED)
def test_the_header_of_each_example_names_what_it_imports(name):
    need(name)
    declared = set(header(EXAMPLES / f"{name}.py")["dependencies"]) | OURS
    assert {module for module, brought in imported(name) if not brought & declared} == set()


@pytest.mark.parametrize("name", HEADED)
def test_the_header_of_each_example_agrees_with_the_project(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = project["dependency-groups"]["apps" if name in APPLICATIONS else "examples"]
    group = {re.split(r"[<>=!~\[]", requirement)[0] for requirement in requirements}
    script = header(EXAMPLES / f"{name}.py")
    assert script["requires-python"] == project["project"]["requires-python"]
    assert set(script["dependencies"]) - OURS <= group


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_without_one_of_its_dependencies_says_how_to_get_it(name, tmp_path):
    need(name)
    path = EXAMPLES / f"{name}.py"
    missing = min(set(header(path)["dependencies"]) - OURS).replace("-", "_")
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError(name={missing!r})")
    command = [sys.executable, path, "--help"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    how = f"use `uv run examples/{name}.py`, or `pip install --group apps --editable .` first (pip 25.1 or newer)"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {missing} is not installed: {how}\n"


def test_the_page_of_the_examples_names_each_of_them():
    named = set(re.findall(r"`(\w+)\.py`", (EXAMPLES / "README.md").read_text()))
    assert set(HEADED) <= named
