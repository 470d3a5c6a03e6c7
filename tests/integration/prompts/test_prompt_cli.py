"""The subcommand `prompt` of the command line, in this process, against a stand-in server."""

import io
import os
import re
import shlex
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from langchain_promptrun.prompts import prompt as prompts

from .promptwire import PROJECT, WAIT

PAGE = Path(__file__).parents[3] / "docs" / "prompts.md"
README = PAGE.parents[1] / "README.md"
# unbuffered output would hide a forgotten flush
BARE = {k: v for k, v in os.environ.items() if not k.startswith("PROMPTRUN_") and k != "PYTHONUNBUFFERED"}


def commands(page):
    """The command lines that a page shows, with this interpreter."""
    found = re.findall(r"^(?:    )?python (-m langchain_promptrun prompt --offline.*)$", page.read_text(), re.MULTILINE)
    return [[sys.executable, *shlex.split(line)] for line in found]


@pytest.fixture
def cli(cli):
    """Runs the subcommand."""
    return partial(cli, "prompt")


@pytest.fixture
def project(promptrun_server):
    project = promptrun_server.prompts.create("Essays", project_id=PROJECT)
    project.publish("One.\nWrite {{count}} words.", message="first")
    project.publish("Two.\nWrite {{count}} words.", tags=["prod"], model="openai/gpt-4o", temperature=0.5)
    project.publish("Three.\n")
    return project


@pytest.fixture
def ask(cli, project):
    """Runs the subcommand for the project."""
    return lambda *argv: cli(PROJECT, *argv)


def test_prompt_cli_prints_the_rendered_text_and_its_facts(ask):
    status, out, err = ask("--tag", "prod", "--var", "count=200")
    assert (status, out) == (0, "Two.\nWrite 200 words.\n")
    assert err.splitlines() == [
        "version: 2",
        "tag: prod",
        "updated: 2025-07-21 04:17:41.294000+00:00",
        "model: openai/gpt-4o",
        "temperature: 0.5",
    ]


@pytest.mark.parametrize("more", [[], ["--watch"]])
def test_prompt_cli_pinned_version_is_printed_and_never_changes(ask, more):
    status, out, err = ask("--pin", "1", *more)
    assert (status, out) == (0, "One.\nWrite {{count}} words.\n")
    assert "message: first" in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--var", "count"], "--var takes NAME=VALUE, not 'count'\n"),
        (["--var", "=5"], "--var takes NAME=VALUE, not '=5'\n"),
        (
            ["--tag", "prod", "--var", "count=5", "--var", "cuont=6"],
            "--var: version 2 has no variable cuont; it has: count\n",
        ),
        (["--var", "x=5"], "--var: version 3 has no variable x; it has: none\n"),
        (["--diff", "9"], f"Promptrun prompt {PROJECT} (version 9): The project has no version 9."),
    ],
)
def test_prompt_cli_error_is_one_line(ask, argv, said):
    status, out, err = ask(*argv)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith(f"error: {said}")


@pytest.mark.parametrize("argv", [["--tag", "a", "--pin", "1"], ["--diff", "1", "--watch"]])
def test_prompt_cli_options_that_exclude_each_other_are_refused(ask, argv):
    status, _, err = ask(*argv)
    assert status == 1
    assert "not allowed with" in err


def test_prompt_cli_difference_from_a_version_is_unified(ask, project):
    status, out, err = ask("--tag", "prod", "--diff", "1")
    assert out.splitlines() == [
        "--- version 1",
        "+++ version 2",
        "@@ -1,2 +1,2 @@",
        "-One.",
        "+Two.",
        " Write {{count}} words.",
        "\\ No newline at end of file",
    ]
    assert (status, err) == (0, "")
    for text in ("Same.\nEnd.\n", "Same.\r\nEnd."):
        project.publish(text)
    _, out, _ = ask("--pin", "5", "--diff", "4")
    assert out.split("\n")[3:] == ["-Same.", "-End.", "+Same.\r", "+End.", "\\ No newline at end of file", ""]


@pytest.mark.parametrize("name", [PROJECT, "essays"])
@pytest.mark.parametrize("tag", [[], ["--tag", "prod"]])
def test_prompt_cli_offline_takes_any_project_and_tag(cli, name, tag):
    status, out, err = cli(name, "--offline", "--var", "language=Georgian", *tag)
    assert (status, out) == (0, "Answer in one sentence, in Georgian.\n")
    assert err.startswith("offline: a stand-in server at http://127.0.0.1:")


class Screen(io.StringIO):
    """Takes a step after each piece of output, and ends the program by Ctrl-C after the last."""

    def __init__(self, *steps):
        super().__init__()
        self.written, self.steps = "", iter(steps)

    def flush(self):
        self.written += self.getvalue()
        self.seek(0)
        self.truncate()
        step = next(self.steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()


def test_prompt_cli_watch_prints_changes_since_the_text_was_shown(ask, promptrun_server, project, monkeypatch):
    def publish():
        promptrun_server.wait_for_requests(2, WAIT)
        project.publish("Four.\n", message="shorter")
        time.sleep(0.2)  # the prompt knows it then, before the watch begins

    monkeypatch.setattr(prompts, "SHORTEST_POLL", 0.01)
    screen = Screen(publish, lambda: project.edit(4, temperature=1))
    monkeypatch.setattr(sys, "stdout", screen)
    status, _, err = ask("--watch")
    assert status == 130
    assert screen.written.splitlines() == [
        "Three.",
        "--- version 3",
        "+++ version 4",
        "@@ -1 +1 @@",
        "-Three.",
        "+Four.",
    ]
    assert "version: 3" in err
    assert "message: shorter" in err


class TestPages:
    """Commands run as README and page print them, without key and account."""

    def test_prompt_cli_commands_of_the_readme_are_those_of_the_page(self):
        assert commands(README) == commands(PAGE)
        assert len(commands(PAGE)) == 3

    def test_prompt_cli_commands_of_the_page_print_a_text_and_a_difference(self, cli, monkeypatch):
        monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)
        show, diff, _ = [line[line.index("prompt") + 1 :] for line in commands(PAGE)]
        assert cli(*show)[:2] == (0, "Answer in one sentence, in {{language}}.\n")
        status, out, _ = cli(*diff)
        assert (status, out.splitlines()[:2]) == (0, ["--- version 1", "+++ version 2"])

    def test_prompt_cli_command_of_the_page_shows_a_change_come_until_ctrl_c(self, tmp_path, press_ctrl_c):
        told = tmp_path / "stderr"
        with (
            told.open("w") as stderr,
            subprocess.Popen(commands(PAGE)[2], env=BARE, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
        ):
            lines = [process.stdout.readline() for _ in range(7)]
            assert [lines[number] for number in (0, 1, 2, 6)] == [
                "Answer in one sentence, in Georgian.\n",
                "--- version 2\n",
                "+++ version 3\n",
                "+Answer in one short sentence, in {{language}}, for {{ reader.name }}.\n",
            ], told.read_text()
            press_ctrl_c(process)
            out, _ = process.communicate(timeout=WAIT)
        assert (process.returncode, out) == (130, "")
