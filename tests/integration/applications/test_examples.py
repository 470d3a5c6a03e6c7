"""Each example runs with the one command that its page names, with a key and without, and says what it needs.

It does what it says, also where only the server sees it.
"""

import ast
import importlib
import os
import re
import runpy
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib import metadata
from unittest.mock import Mock

import pytest

from langchain_promptrun import ChatPromptrun, PromptrunRateLimitError
from langchain_promptrun.testing import Fault, Reply

from .conftest import EXAMPLES, WAIT, environment

ROOT = EXAMPLES.parent
SHARED = "promptrun_or_offline"
TEXTS = {path.stem: path.read_text() for path in sorted(EXAMPLES.glob("*.py"))}
SCRIPTS = [name for name, text in TEXTS.items() if f"from {SHARED} import run" in text]
HEADED = [name for name, text in TEXTS.items() if text.startswith("# /// script")]
APPLICATIONS = [name for name, text in TEXTS.items() if "except ModuleNotFoundError" in text]
"""Have options of their own and tests of their own."""
OFFLINE = re.compile(r"offline: a stand-in server at http://127\.0\.0\.1:\d+/v1 answers")
SPACE = "A day on Venus is longer than its year"
SHOWN = {
    "agent_approval": [
        "decided approve, deleted ['draft.txt']",
        "decided edit, deleted ['old-draft.txt']",
        "decided reject, deleted []",
    ],
    "agent_middleware": [
        "retried: It is sunny.",
        "with_fallback: The tool get_weather says: It is sunny in Tbilisi, 24 degrees.",
        "limited: The tool get_population says: Tool call limit exceeded.",
        "redacted: Hello! You said: My address is [REDACTED_EMAIL]",
    ],
    "agent_summarization": ["by share of the window: Hello!", "by the server's word: Hello!", "kept: session_"],
    "agent_tools": [
        "The tool get_weather says: It is sunny in Tbilisi, 24 degrees. The tool get_population says: 1258526"
    ]
    + [f"{way}: WeatherReport(city='Tbilisi'" for way in ("ProviderStrategy", "ToolStrategy", "ModelMetaclass")],
    "budget": ["stopped: The budget of usd=0.003 does not allow this call", "within the budget: 36 calls"],
    "chat_history": ["tamar: 4 questions and 4 answers are kept", "nino: 1 questions and 1 answers are kept"],
    "deadlines": ["came in time: The sea was calm that day, until", "no retry after PromptrunAPIError"],
    "deep_agent": ["The report says: 1258526 people live in Tbilisi."],
    "langgraph_resume": ["stopped before: [{'type': 'tool_call'", "It is sunny in Tbilisi, 24 degrees."],
    "langgraph_stream": [
        "messages: ||||||||||Air| scatters|",
        "updates: ['answer'] ['criticise']",
        "values: 1 messages 2 messages 3 messages",
        "version 3, criticise: Hello!| You| said:",
    ],
    "lcel_cache": ["InMemoryCache: 'Hello! You said: How far", "FileCache: 'Hello! You said: How far"],
    "lcel_callbacks": ["counted: {'anthropic/claude-haiku-4.5':", "'openai/gpt-4o': {'input_tokens': 3", SPACE],
    "lcel_chain": ["streamed: Hello!| You| said:", "side by side: {'fact': 'Hello!", "done, orcas: Hello!"],
    "lcel_configuration": [
        "chosen: openai/gpt-4o",
        "thorough: anthropic/claude-sonnet-5",
        "stopped early: Hello! You said: Name a star\n",
    ],
    "lcel_events": ["'on_chat_model_stream': 25", "v3: message-start content-block-start", "text:\nAir| scatters|"],
    "lcel_reliability": ["retried: {'city': 'Tbilisi'}", f"fallback: anthropic/claude-haiku-4.5 {SPACE}"],
    "managed_prompt_agent": ["version 1 -> 2: more fun", "[Answer children with a riddle.] So far, so good"],
    "managed_prompt_push": ["version 1 -> 2: Answer {{ reader.name }} with a riddle."],
    "mcp_tools": ["The tool multiply says: 42"],
    "model_profiles": ["nobody knows it: unknown", "for an object by a schema", "for an object by a tool call"],
    "prompt_caching": ["call 1: 0 of 1444", "call 2: 1444 of 1545 input tokens from the cache"],
    "rag": ["from otters.txt: Hello!"],
    "record_replay": [f"recorded: {SPACE}", f"replayed: {SPACE}", "was not recorded in"],
    "tracing_langsmith": ["Hello! You said: Name a star.", '"temperature": 0.9'],
    "tracing_opentelemetry": ["'http.status_code': 503}", "two questions at once"],
}
HEADER = re.compile(r"^# /// script\n(.*?)^# ///$", re.MULTILINE | re.DOTALL)
OURS = {"langchain-promptrun", "langchain-core", "pydantic", "httpx"}
"""What the package itself brings."""


def header(path):
    """Read the script metadata of a file (PEP 723)."""
    (block,) = HEADER.findall(path.read_text())
    return tomllib.loads(re.sub(r"^# ?", "", block, flags=re.MULTILINE))


def need(name):
    for dependency in header(EXAMPLES / f"{name}.py")["dependencies"]:
        try:
            metadata.version(dependency)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{dependency} is not installed")


@pytest.fixture
def run(monkeypatch, request):
    """Run an example as a script, in this process; return what it printed, and the processes that it started."""
    with suppress(ModuleNotFoundError):
        importlib.import_module("mcp.client.stdio")  # keeps the stderr that it finds when it is imported
    capfd = request.getfixturevalue("capfd")

    def run_script(name, *arguments):
        need(name)
        monkeypatch.syspath_prepend(EXAMPLES)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capfd.readouterr()

    return run_script


# langgraph announces what becomes of its own parts; the examples show these parts on purpose.
@pytest.mark.filterwarnings("ignore:The default value of `allowed_objects`:PendingDeprecationWarning")
@pytest.mark.parametrize("name", SCRIPTS)
def test_example_shows_what_it_does_offline_although_there_is_a_key(run, promptrun_server, name):
    printed = run(name, "--offline")
    assert OFFLINE.fullmatch(printed.err.splitlines()[0])
    assert [line for line in SHOWN[name] if line not in printed.out] == []
    assert (promptrun_server.requests, os.environ["PROMPTRUN_API_KEY"]) == ([], promptrun_server.api_key)


def test_with_a_key_an_example_talks_to_the_server_of_the_environment(run, promptrun_server):
    printed = run("agent_middleware")
    assert printed.err == ""
    assert len(promptrun_server.requests) > 5
    assert {request.status for request in promptrun_server.requests} == {200}


def test_without_a_key_an_example_that_runs_as_a_program_of_its_own_goes_offline_by_itself():
    command = [sys.executable, EXAMPLES / "lcel_configuration.py"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=WAIT, check=True)
    assert OFFLINE.fullmatch(done.stderr.strip())
    assert "You said: Name a star" in done.stdout


def imported(name, brought):
    """The distributions of what an example and its neighbours import: for each import, all that could bring it."""
    for node in ast.walk(ast.parse(TEXTS[name])):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            top = module.partition(".")[0]
            if top in TEXTS:
                yield from imported(top, brought)
            elif top not in sys.stdlib_module_names:
                yield module, set(brought.get(top, [top.replace("_", "-")]))


def test_the_header_of_each_example_names_what_it_imports_and_agrees_with_the_project_and_the_page_names_it():
    assert set(HEADED) <= set(re.findall(r"`(\w+)\.py`", (EXAMPLES / "README.md").read_text()))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = {
        group: {re.split(r"[<>=!~\[]", requirement)[0] for requirement in project["dependency-groups"][group]}
        for group in ("apps", "examples")
    }
    brought = metadata.packages_distributions()
    for name in HEADED:
        script = header(EXAMPLES / f"{name}.py")
        declared = set(script["dependencies"])
        assert script["requires-python"] == project["project"]["requires-python"], name
        assert declared - OURS <= groups["apps" if name in APPLICATIONS else "examples"], name
        missing = {module for module, distributions in imported(name, brought) if not distributions & (declared | OURS)}
        assert missing == set(), name


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_without_one_of_its_dependencies_says_how_to_get_it(run, monkeypatch, name):
    missing = min(set(header(EXAMPLES / f"{name}.py")["dependencies"]) - OURS).replace("-", "_")
    monkeypatch.setitem(sys.modules, missing, None)
    for module in TEXTS:
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as ended:
        run(name, "--help")
    how = f"use `uv run examples/{name}.py`, or `pip install --group apps --editable .` first (pip 25.1 or newer)"
    assert ended.value.code == f"error: {missing} is not installed: {how}"


# on the wire


@pytest.fixture
def example(monkeypatch):
    def load(name):
        need(name)
        monkeypatch.syspath_prepend(EXAMPLES)
        return importlib.import_module(name)

    return load


def bodies(server):
    return [request.body for request in server.requests]


def test_example_graph_version_3_uses_the_native_events_and_nothing_else(example, promptrun_server, monkeypatch):
    langgraph_stream = example("langgraph_stream")
    for name in ("_generate", "_stream"):
        monkeypatch.setattr(ChatPromptrun, name, Mock(side_effect=AssertionError))
    promptrun_server.queue(
        Reply("It scatters.", reasoning="Rayleigh.", pieces=["It", " scatters."]),
        Reply("Too short.", reasoning="Be fair.", pieces=["Too", " short."]),
    )
    model = ChatPromptrun(model="anthropic/claude-sonnet-5")
    assert langgraph_stream.by_message(langgraph_stream.two_voices(model)) == [
        ("answer", ["It", " scatters."], "Rayleigh."),
        ("criticise", ["Too", " short."], "Be fair."),
    ]


def test_example_graph_resumes_with_reasoning_and_calls_as_they_came(example, promptrun_server, tmp_path):
    langgraph_resume = example("langgraph_resume")
    langgraph_resume.rehearse(promptrun_server)
    waiting = langgraph_resume.start(tmp_path / "checkpoints.db")
    messages = langgraph_resume.resume(tmp_path / "checkpoints.db")
    assert messages[1] == waiting
    sent = bodies(promptrun_server)[-1]["messages"][1]
    assert sent["reasoning_details"][0]["signature"] == "c2lnbmVk"
    assert sent["tool_calls"][0]["extra_content"] == {"signature": "c2lnbmVkIGNhbGw="}


def test_example_history_remembers_a_session_and_trims_a_long_one(example, promptrun_server):
    conversations = example("chat_history").Conversations(most_tokens=60)
    for number in range(6):
        conversations.say("tamar", f"This is what I say in turn {number}.")
    sent = bodies(promptrun_server)[-1]["messages"]
    assert [message["role"] for message in sent[:2]] == ["system", "user"]
    assert sent[-1]["content"] == "This is what I say in turn 5."
    assert len(sent) < 12
    conversations.say("nino", "Who am I?")
    assert len(bodies(promptrun_server)[-1]["messages"]) == 2
    assert len(conversations.histories["tamar"]) == 13


def test_example_langsmith_failed_run_shows_the_error_and_no_key(example, promptrun_server):
    langsmith = example("tracing_langsmith")
    client, shelf = langsmith.client_and_shelf()
    promptrun_server.queue(Fault(status=429, body={"error": "Slow down."}, times=3))
    with pytest.raises(PromptrunRateLimitError):
        langsmith.ask(langsmith.CostTracer(client=client))
    assert "Slow down." in shelf.run()["error"]
    assert promptrun_server.api_key not in str(shelf.documents)


async def test_example_opentelemetry_each_attempt_has_a_span_that_the_server_sees(example, promptrun_server):
    otel = example("tracing_opentelemetry")
    exporter, provider = otel.InMemorySpanExporter(), otel.TracerProvider()
    provider.add_span_processor(otel.SimpleSpanProcessor(exporter))
    with otel.instrumented(provider):
        otel.rehearse(promptrun_server)
        otel.sync_calls(provider)
        await otel.async_calls(provider)
    ChatPromptrun(model="openai/gpt-4o").invoke("Not traced any more.")
    requests = [span for span in exporter.get_finished_spans() if "http.status_code" in span.attributes]
    assert [span.attributes["http.status_code"] for span in requests] == [503, 200, 200, 200, 200]
    assert all(span.parent for span in requests)
    seen = [request.headers.get("traceparent", "--").split("-")[1] for request in promptrun_server.requests]
    assert seen == [*(f"{span.context.trace_id:032x}" for span in requests), ""]
    assert promptrun_server.api_key not in "".join(span.to_json() for span in requests)
