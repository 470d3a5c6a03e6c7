"""The example of a managed prompt does what it says: its own functions, and what went over the wire."""

import importlib
import threading
from pathlib import Path

import pytest
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_promptrun import PromptrunPrompt

pytest.importorskip("langchain")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("managed_prompt_agent")


def wait_for_what_runs_behind(server):
    """The server is not to end in the middle of a request."""
    server.wait_until(lambda: server.in_flight == 0, 60)


def systems(server):
    """The instructions that the model got, call by call."""
    return [request.body["messages"][0]["content"] for request in server.requests if request.method == "POST"]


def test_the_instructions_of_a_running_agent_change(example, promptrun_server, capsys):
    project = promptrun_server.prompts.create("Guide")
    project.publish("Answer {{audience}} in one sentence.")
    changed = threading.Event()
    with PromptrunPrompt(project_id=project.id, refresh=0, on_change=example.announced(changed)) as prompt:
        agent = example.guide(prompt)
        assert example.ask(agent, "How far is the moon?") == "Hello! You said: How far is the moon?"
        project.publish("Answer {{audience}} with a riddle.", message="more fun")
        prompt.pull()
        assert changed.wait(60)
        example.ask(agent, "And the sun?")
        wait_for_what_runs_behind(promptrun_server)
    assert systems(promptrun_server) == ["Answer children in one sentence.", "Answer children with a riddle."]
    *_, last = [request.body["messages"] for request in promptrun_server.requests if request.method == "POST"]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "user"]
    assert capsys.readouterr().out == "version 1 -> 2: more fun\n"


def test_the_runs_of_the_agent_name_the_version_of_their_instructions(example, promptrun_server):
    project = promptrun_server.prompts.create("Guide")
    project.publish("Answer {{audience}} in one sentence.")
    collector = RunCollectorCallbackHandler()
    with PromptrunPrompt(project_id=project.id) as prompt:
        agent = example.guide(prompt)
        agent.invoke({"messages": [("user", "Hi.")]}, {**example.THREAD, "callbacks": [collector]})
    (root,) = collector.traced_runs
    runs = [root]
    for run in runs:
        runs += run.child_runs
    named = [run for run in runs if run.extra["metadata"].get("promptrun_prompt_version") == 1]
    assert root in named
    assert "prompt" in {run.run_type for run in named}
    (model,) = [run for run in runs if run.run_type == "llm"]
    assert model.parent_run_id in {run.id for run in named}


def test_without_a_project_it_says_what_to_set(example, promptrun_server, monkeypatch):
    monkeypatch.delenv(example.PROJECT, raising=False)
    with pytest.raises(SystemExit, match="PROMPTRUN_PROJECT_ID"):
        example.main()
