"""The command line as a process of its own, over real sockets."""

import os
import shlex
import subprocess
import sys
import threading
import time

import pytest

from langchain_promptrun.testing import Fault, PromptrunServer, Reply

COMMAND = [sys.executable, "-m", "langchain_promptrun"]
WAIT = 60
"""Seconds after which a test gives up; nothing here is slow unless it hangs."""


@pytest.fixture
def server():
    with PromptrunServer() as server:
        yield server


# Unbuffered output would hide a forgotten flush.
BARE = {k: v for k, v in os.environ.items() if not k.startswith("PROMPTRUN_") and k != "PYTHONUNBUFFERED"}


@pytest.fixture
def environment(server):
    return BARE | {"PROMPTRUN_API_KEY": server.api_key, "PROMPTRUN_BASE_URL": server.base_url}


@pytest.fixture
def start(environment):
    """Starts the command line with pipes, and ends it with the test."""
    started = []

    def start(*argv):
        process = subprocess.Popen(
            [*COMMAND, *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def run(*argv, env, text=None):
    return subprocess.run(
        [*COMMAND, *argv], env=env, input=text, capture_output=True, text=True, timeout=WAIT, check=False
    )


def test_the_answer_comes_token_by_token(server, start):
    """The first word is on stdout while the server still keeps the second back."""
    release = threading.Event()
    server.queue(
        Fault(events=[delta("One "), delta("two."), "[DONE]"], after=1, pause=release),
    )
    process = start("Count.")
    assert process.stdout.read(4) == b"One "
    release.set()
    out, err = process.communicate(timeout=WAIT)
    assert out == b"two.\n"
    assert b"time to first token: " in err
    assert process.returncode == 0


def delta(text):
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]}


@pytest.fixture
def interrupt(press_ctrl_c):
    """Presses Ctrl-C and gives what the process still said, and after how many seconds it was gone."""

    def interrupt(process):
        pressed = time.monotonic()
        press_ctrl_c(process)
        out, err = process.communicate(timeout=WAIT)
        return out, err, time.monotonic() - pressed

    return interrupt


@pytest.mark.parametrize("options", [[], ["--no-stream"]])
def test_ctrl_c_before_the_first_byte_ends_at_once(server, start, interrupt, options):
    server.queue(Fault(delay=threading.Event()))
    process = start("Hi!", *options)
    server.wait_for_requests(timeout=WAIT)
    out, err, seconds = interrupt(process)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert seconds < 30


def test_ctrl_c_in_the_middle_of_an_answer_ends_at_once(server, start, interrupt):
    server.queue(Fault(events=[delta("One "), delta("two."), "[DONE]"], after=1, pause=threading.Event()))
    process = start("Count.")
    assert process.stdout.read(4) == b"One "
    out, err, seconds = interrupt(process)
    assert (process.returncode, out, err) == (130, b"\n", b"")
    assert seconds < 30


def test_ctrl_c_while_waiting_to_try_again_ends_at_once(server, start, interrupt):
    server.queue(Fault(status=503, headers={"retry-after": "50"}))
    process = start("Hi!")
    server.wait_for_requests(timeout=WAIT)
    out, err, seconds = interrupt(process)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert seconds < 30


def test_a_reader_that_stops_early_ends_the_run_quietly(server, environment):
    server.queue(Reply("One\n" + "more\n" * 10_000, pieces=["One\n", *["more\n"] * 10_000]))
    line = shlex.join([*COMMAND, "Count."]) + " | head -1"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "One\n", "")


def test_the_text_may_come_through_a_pipe(server, environment):
    result = run("-", env=environment, text="How far is the moon?\n")
    assert result.returncode == 0
    assert server.requests[0].body["messages"][0]["content"] == "How far is the moon?\n"


def test_offline_answers_without_a_key():
    result = run("--offline", "Tell me a fun fact about space.", env=BARE)
    assert result.returncode == 0
    assert result.stdout.strip()
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [
        "offline",
        "model",
        "tokens",
        "time to first token",
    ]


def test_without_a_key_and_without_offline_it_says_what_to_do():
    result = run("Hi!", env=BARE)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "PROMPTRUN_API_KEY" in result.stderr
    assert "--offline" in result.stderr


def test_a_refused_key_is_one_line_without_the_key(environment):
    result = run("Hi!", env=environment | {"PROMPTRUN_API_KEY": "wrong-secret"})
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "PROMPTRUN_API_KEY" in result.stderr
    assert "wrong-secret" not in result.stderr


def test_a_server_that_is_not_there_is_one_line(server, environment):
    url = server.base_url
    server.close()
    result = run("Hi!", "--base-url", url, env=environment)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.live
@pytest.mark.skipif("not os.environ.get('PROMPTRUN_API_KEY')", reason="needs PROMPTRUN_API_KEY")
def test_live_promptrun_answers():
    result = run("Say hello.", env=dict(os.environ))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
