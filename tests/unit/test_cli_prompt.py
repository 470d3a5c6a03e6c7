"""Claims of `_cli_prompt`: the subcommand `prompt`, in this process, against a stand-in server."""

import io
import sys
from types import SimpleNamespace

import pytest

from langchain_promptrun._cli import prompt as _cli_prompt
from langchain_promptrun._cli.main import main
from langchain_promptrun.prompts import prompt
from langchain_promptrun.testing import PromptrunServer

PROJECT = "d0d52c6e-85ba-4025-a84c-3c99834fe2ac"


@pytest.fixture
def server():
    with PromptrunServer() as server:
        yield server


@pytest.fixture
def project(server):
    project = server.prompts.create("Essays", project_id=PROJECT)
    project.publish("One.\nWrite {{count}} words.", message="first")
    project.publish("Two.\nWrite {{count}} words.", tags=["prod"], model="openai/gpt-4o", temperature=0.5)
    project.publish("Three.\n")
    return project


@pytest.fixture
def ask(server, project, monkeypatch):
    """Runs the subcommand with the server's key and address."""
    monkeypatch.setenv("PROMPTRUN_API_KEY", server.api_key)
    return lambda *argv: main(["prompt", PROJECT, *argv, "--base-url", server.base_url])


def test_the_rendered_text_is_printed(ask, capsys):
    assert ask("--tag", "prod", "--var", "count=200") == 0
    captured = capsys.readouterr()
    assert captured.out == "Two.\nWrite 200 words.\n"
    assert captured.err.splitlines() == [
        "version: 2",
        "tag: prod",
        "updated: 2025-07-21 04:17:41.294000+00:00",
        "model: openai/gpt-4o",
        "temperature: 0.5",
    ]


def test_a_version_may_be_pinned(ask, capsys):
    assert ask("--pin", "1") == 0
    captured = capsys.readouterr()
    assert captured.out == "One.\nWrite {{count}} words.\n"
    assert "message: first" in captured.err


@pytest.mark.parametrize("pair", ["count", "=5"])
def test_a_value_needs_a_name(ask, capsys, pair):
    assert ask("--var", pair) == 1
    assert capsys.readouterr().err == f"error: --var takes NAME=VALUE, not {pair!r}\n"


def test_a_value_that_no_variable_takes_is_refused(ask, capsys):
    assert ask("--tag", "prod", "--var", "count=5", "--var", "cuont=6") == 1
    captured = capsys.readouterr()
    assert captured.err == "error: --var: version 2 has no variable cuont; it has: count\n"
    assert captured.out == ""
    assert ask("--var", "x=5") == 1
    assert capsys.readouterr().err == "error: --var: version 3 has no variable x; it has: none\n"


def test_the_difference_from_a_version_is_unified(ask, capsys):
    assert ask("--tag", "prod", "--diff", "1") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "--- version 1",
        "+++ version 2",
        "@@ -1,2 +1,2 @@",
        "-One.",
        "+Two.",
        " Write {{count}} words.",
        "\\ No newline at end of file",
    ]
    assert captured.err == ""


def test_the_difference_may_be_in_a_line_end(ask, project, capsys):
    for text in ("Same.\nEnd.\n", "Same.\r\nEnd."):
        project.publish(text)
    assert ask("--pin", "5", "--diff", "4") == 0
    assert capsys.readouterr().out.split("\n")[3:] == [
        *("-Same.", "-End.", "+Same.\r", "+End.", "\\ No newline at end of file", "")
    ]


@pytest.mark.parametrize("argv", [["--tag", "a", "--pin", "1"], ["--diff", "1", "--watch"]])
def test_options_that_exclude_each_other(ask, capsys, argv):
    assert ask(*argv) == 1
    assert "not allowed with" in capsys.readouterr().err


def test_an_unknown_version_is_one_line(ask, capsys):
    assert ask("--diff", "9") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: Promptrun prompt {PROJECT} (version 9): The project has no version 9.")


def test_changes_are_printed_as_they_come(ask, project, monkeypatch, capsys):
    """Ctrl-C ends it; here the third piece of output does."""
    monkeypatch.setattr(prompt, "SHORTEST_POLL", 0.01)
    written = io.StringIO()
    waits = iter([lambda: project.publish("Four.\n", message="shorter"), lambda: project.edit(4, temperature=1)])

    class Screen(io.StringIO):
        def flush(self):
            written.write(self.getvalue())
            self.seek(0)
            self.truncate()
            step = next(waits, None)
            if step is None:
                raise KeyboardInterrupt
            step()

    monkeypatch.setattr(sys, "stdout", Screen())
    assert ask("--watch") == 130
    assert written.getvalue().splitlines() == [
        "Three.",
        "--- version 3",
        "+++ version 4",
        "@@ -1 +1 @@",
        "-Three.",
        "+Four.",
    ]
    told = capsys.readouterr().err
    assert "version: 3" in told
    assert "message: shorter" in told


def test_change_pushed_before_the_watching_began_is_told_first():
    shown, pushed = SimpleNamespace(), SimpleNamespace(differs=lambda record: record is shown)
    prompt = SimpleNamespace(known_record=pushed, watch=lambda: iter(["later"]))
    assert list(_cli_prompt._changes(prompt, shown)) == [(shown, pushed), "later"]


def test_a_pinned_version_is_watched_to_its_end_at_once(ask, capsys):
    assert ask("--pin", "1", "--watch") == 0
    assert capsys.readouterr().out == "One.\nWrite {{count}} words.\n"


@pytest.mark.parametrize("name", [PROJECT, "essays"])
@pytest.mark.parametrize("tag", [[], ["--tag", "prod"]])
def test_offline_there_is_a_prompt_to_try_it_with(monkeypatch, capsys, name, tag):
    monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)
    assert main(["prompt", name, "--offline", "--var", "language=Georgian", *tag]) == 0
    captured = capsys.readouterr()
    assert captured.out == "Answer in one sentence, in Georgian.\n"
    assert captured.err.startswith("offline: a stand-in server at http://127.0.0.1:")
    assert main(["prompt", name, "--offline", "--diff", "1", *tag]) == 0
    assert "+Answer in one sentence, in {{language}}." in capsys.readouterr().out


def test_offline_a_change_comes_while_one_watches(monkeypatch, capsys):
    monkeypatch.setattr(_cli_prompt, "_SECONDS_TO_NEXT_EXAMPLE", 1.0)
    monkeypatch.setattr(_cli_prompt, "_tell", Once(_cli_prompt._tell))
    assert main(["prompt", "--offline", "--watch"]) == 130
    assert capsys.readouterr().out.splitlines()[:3] == [
        "Answer in one sentence, in {{language}}.",
        "--- version 2",
        "+++ version 3",
    ]


class Once:
    """Lets a function be called once; the next call is Ctrl-C."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        if self.function is None:
            raise KeyboardInterrupt
        self.function(*args)
        self.function = None


def test_without_a_key_it_says_what_to_do(monkeypatch, capsys):
    monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)
    assert main(["prompt", PROJECT]) == 1
    assert capsys.readouterr().err.startswith("error: no API key: set PROMPTRUN_API_KEY")


def test_a_terminal_that_lacks_a_letter_gets_another(ask, project, monkeypatch):
    project.publish("თბილისი")
    raw = io.BytesIO()
    screen = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", screen)
    assert ask() == 0
    assert raw.getvalue() == b"???????\n"
