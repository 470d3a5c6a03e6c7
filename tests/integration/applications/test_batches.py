"""Batches on a cluster: each prompt is answered once, whatever is killed, cut off, refused or full meanwhile."""

import importlib
import io
import json
import os
import pickle
import re
import resource
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from langchain_promptrun.testing import Fault, Reply

from .conftest import EXAMPLES, WAIT, Terminal, environment

for needed in ("filelock", "rich"):
    pytest.importorskip(needed)


@pytest.fixture
def batches(monkeypatch):
    """The module, without the slow start of its limiter."""
    monkeypatch.syspath_prepend(EXAMPLES)
    module = importlib.import_module("batches")
    monkeypatch.setattr(module, "FIRST_RATE", 1000.0)
    return module


def no_cluster(asker, workers):
    """This process does all the work; what crosses to a worker and back is pickled nevertheless."""
    there = pickle.loads(pickle.dumps(asker))
    return nullcontext(lambda groups: (pickle.loads(pickle.dumps(there.ask(group))) for group in groups))


@pytest.fixture
def run(batches, promptrun_server, run_main, file):
    """Run a batch program without a cluster."""

    def run(*arguments, cluster=no_cluster, out=file, yes=("--yes",)):
        return run_main(lambda: batches.main(cluster), "--out", out, *yes, *arguments)

    return run


@pytest.fixture
def file(tmp_path):
    return tmp_path / "answers.jsonl"


def lines(file):
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def ids(file):
    return sorted(line["id"] for line in lines(file))


def asked(server):
    return [request.body["messages"][-1]["content"] for request in server.requests]


def prompt(number):
    return f"Tell me a fun fact about the number {number}."


# what each run does


def test_batch_prompt_is_answered_once_with_a_progress_bar(run, file, promptrun_server):
    ended = run("--count", 40)
    assert ended.status is None
    assert ended.out == f"40 of 40 answers are in {file}\n"
    assert "40/40" in ended.err
    assert ids(file) == list(range(40))
    assert all(line["answer"] == f"Hello! You said: {line['prompt']}" for line in lines(file))
    assert sorted(asked(promptrun_server)) == sorted(map(prompt, range(40)))


def test_batch_line_of_a_file_is_one_prompt(run, promptrun_server, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_bytes("Name a\u2028star.\r\nName an\f\x85owl.\nBye.".encode("utf-8-sig"))
    assert run("--prompts", prompts).status is None
    assert set(asked(promptrun_server)) == {"Name a\u2028star.", "Name an\f\x85owl.", "Bye."}


def test_batch_torn_output_asks_only_for_the_rest(run, file, promptrun_server):
    run("--count", 3)
    whole = file.read_bytes()
    for cut in [*range(0, len(whole), 23), len(whole) - 1, len(whole)]:
        file.write_bytes(whole[:cut])
        promptrun_server.clear()
        assert run("--count", 3).status is None
        assert ids(file) == [0, 1, 2]
        assert len(promptrun_server.requests) == 3 - (whole[:cut] + b"\n").count(b"}\n")


def test_batch_outcome_that_comes_twice_is_written_once(run, file):
    def stuttering(asker, workers):
        return nullcontext(lambda groups: (outcomes for group in groups for outcomes in [asker.ask(group)] * 2))

    assert run("--count", 20, cluster=stuttering).status is None
    assert ids(file) == list(range(20))


@pytest.mark.parametrize("limit", ["shared", "worker"])
def test_batch_rate_is_kept(run, promptrun_server, limit):
    began = time.time()
    assert run("--count", 20, "--rate", 40, "--at-once", 5, "--limit", limit).status is None
    assert max(request.time for request in promptrun_server.requests) - began >= (20 - 6) / 40


# what goes wrong at the model


def test_batch_failed_prompt_does_not_stop_the_others(run, file, promptrun_server):
    refused = Fault(status=400, body={"error": "This prompt is not allowed."})
    promptrun_server.queue(Reply("Yes.", times=4), refused, Reply("Yes.", times=3), refused)
    ended = run("--count", 10, "--at-once", 1)
    assert ended.out == f"8 of 10 answers are in {file}\n"
    assert ended.status.startswith("error: 2 failed, the first with: This prompt is not allowed.")
    promptrun_server.clear()
    assert run("--count", 10).status is None
    assert sorted(asked(promptrun_server)) == [prompt(4), prompt(8)]
    assert ids(file) == list(range(10))


@pytest.mark.parametrize(
    ("at_once", "status", "message", "requests"),
    [(4, 401, "No. Check the key", 8), (30, 400, "30 prompts in a row failed, the last with: No.", 60)],
    ids=["expired key", "refused"],
)
def test_batch_error_that_lasts_stops_the_run_and_loses_nothing(
    run, file, promptrun_server, at_once, status, message, requests
):
    promptrun_server.queue(Reply("Yes.", times=at_once), Fault(status=status, body={"error": "No."}, times=1000))
    ended = run("--count", 100, "--at-once", at_once)
    assert ended.status.replace("\n", " ").startswith(f"error: {message}")
    assert ended.status.endswith(f"{at_once} of 100 answers are in {file}; the same command asks for the rest")
    assert len(promptrun_server.requests) == requests
    promptrun_server.clear()
    assert run("--count", 100).status is None
    assert ids(file) == list(range(100))


def test_batch_ctrl_c_keeps_what_is_there(run, file):
    def interrupted(asker, workers):
        def spread(groups):
            yield asker.ask(next(groups))
            raise KeyboardInterrupt

        return nullcontext(spread)

    ended = run("--count", 10, "--at-once", 3, cluster=interrupted)
    assert ended.status == 130
    assert "interrupted; the same command goes on with the rest" in ended.err
    assert ids(file) == [0, 1, 2]


# what goes wrong on this machine


def test_batch_full_disk_is_one_line(run, file, promptrun_server):
    file.symlink_to("/dev/full")
    problem = f"cannot write to {file}: No space left on device. 0 of 50 answers are in {file}"
    assert run("--count", 50).status == f"error: {problem}; the same command asks for the rest"
    assert len(promptrun_server.requests) < 50


def test_batch_line_that_did_not_fit_leaves_nothing_behind(batches, file):
    before, documents = resource.getrlimit(resource.RLIMIT_FSIZE), [{"id": number} for number in range(1000)]
    with batches.JsonLines(file, "{") as written:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(batches.FileError, match=f"cannot write to {file}: File too large"):
                list(map(written.add, documents))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert lines(file) == documents[: len(lines(file))]
    assert len(file.read_bytes()) > 980


def test_batch_file_is_for_one_run_at_a_time(run, batches, file):
    with batches.JsonLines(file, ""):
        assert run("--count", 3).status == f"error: {file} is in use by another run of this program"


OTHERS = "{}, line 1, is not a line that this program wrote: name another file"
OTHER_PROMPTS = "{} holds answers to other prompts: name another file"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (Path.mkdir, "cannot open {}: Is a directory"),
        (os.mkfifo, "{} is a pipe, which keeps nothing: name a file"),
        (lambda file: file.parent.rmdir(), "there is no folder {0.parent}"),
        *((content, OTHERS) for content in (b"Dear diary,\n", b"[1]\n", b"Dear diary", b"{draft}")),
        (b'{"id": 1}\n', OTHER_PROMPTS),
        (b'{"id": 1, "prompt": "Hello"}\n', OTHER_PROMPTS),
        (b'{"id": [], "prompt": "Hello"}\n', OTHER_PROMPTS),
        (b'{"id": 999, "prompt": "Hello"}\n', OTHER_PROMPTS),
        (b'{"id": 1, "prompt": 1}\n{"id": 2}\n', OTHER_PROMPTS),
    ],
)
def test_batch_impossible_output_is_one_line_and_left_as_it_is(run, promptrun_server, tmp_path, make, problem):
    out = tmp_path / "folder" / "answers"
    out.parent.mkdir()
    if isinstance(make, bytes):
        out.write_bytes(make)
    else:
        make(out)
    assert run("--count", 3, out=out).status == f"error: {problem.format(out)}"
    assert not isinstance(make, bytes) or out.read_bytes() == make
    assert promptrun_server.requests == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot read {}: No such file or directory"),
        (b"\xff\xfe", "{} is not text in UTF-8"),
        (b"", "{}, line 1: there is no prompt"),
        (b"Name a star.\n  \nName an owl.\n", "{}, line 2: there is no prompt"),
    ],
)
def test_batch_unusable_prompts_are_one_line(run, tmp_path, file, content, problem):
    prompts = tmp_path / "prompts.txt"
    if content is not None:
        prompts.write_bytes(content)
    assert run("--prompts", prompts).status == f"error: {problem.format(prompts)}"
    assert not file.exists()


# workers that die


@pytest.fixture
def deadly(batches):
    """Make clusters whose workers die of some prompts, with the list of what they were given."""

    def deadly(*prompts):
        given = []

        def ask(asker, group):
            given.append([number for number, _ in group])
            return batches.died(group) if set(given[-1]) & set(prompts) else asker.ask(group)

        return given, lambda asker, _: nullcontext(lambda groups: (ask(asker, group) for group in groups))

    return deadly


def test_batch_prompt_that_kills_its_workers_fails_alone(run, deadly, file):
    given, cluster = deadly(4)
    ended = run("--count", 9, "--at-once", 3, cluster=cluster)
    assert ended.out == f"8 of 9 answers are in {file}\n"
    problem = f"1 failed, the first with: each worker that was asked this died: {prompt(4)}"
    assert ended.status == f"error: {problem}; the same command asks them again"
    assert given == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [3], [4], [5]]
    assert run("--count", 9).status is None
    assert ids(file) == list(range(9))


def test_batch_workers_that_all_die_stop_the_run(run, deadly):
    given, cluster = deadly(*range(1000))
    ended = run("--count", 1000, "--at-once", 2, cluster=cluster)
    assert ended.status.startswith("error: 30 prompts in a row failed, the last with: each worker that was asked")
    assert len(given) == 30


@pytest.mark.parametrize("arguments", [("--count", "0"), ("--rate", "nan"), ("--rate", "-1"), ("--workers", "many")])
def test_batch_senseless_number_is_refused(run, arguments):
    ended = run(*arguments)
    assert ended.status == 2
    assert f"argument {arguments[0]}: invalid positive" in ended.err


def test_batch_impossible_address_is_one_line(run, monkeypatch):
    monkeypatch.setenv("PROMPTRUN_BASE_URL", "nonsense")
    assert re.match(r"error: base_url: .* PROMPTRUN_BASE_URL", run("--count", 3).status)


# a program of its own

WITHOUT_CLUSTER = """
from contextlib import nullcontext
from batches import main

main(lambda asker, workers: nullcontext(lambda groups: map(asker.ask, groups)))
"""


@pytest.fixture
def start(promptrun_server, file):
    """Start a program; it is ended with the test."""
    started = []

    def run(*command, **variables):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        command = [sys.executable, *command, "--yes", "--out", file]
        started.append(subprocess.Popen(command, env=environment(promptrun_server, **variables), **pipes))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_batch_killed_program_loses_nothing(start, run, promptrun_server, file):
    promptrun_server.queue(Reply("Yes.", times=10), Fault(delay=threading.Event(), times=100))
    first = start("-c", WITHOUT_CLUSTER, "--count", "20", "--at-once", "4")
    promptrun_server.wait_until(lambda: len(promptrun_server.requests) == 12, WAIT)
    first.kill()
    first.communicate()
    assert ids(file) == list(range(8))
    with file.open("a") as torn:
        torn.write('{"id": 8, "prompt": "Tell me a fun f')
    promptrun_server.clear()
    assert run("--count", 20).status is None
    assert ids(file) == list(range(20))
    assert len(promptrun_server.requests) == 12


def test_batch_full_stdout_keeps_the_answers(run, file, monkeypatch):
    with suppress(OSError), Path("/dev/full").open("w", encoding="utf-8") as full:  # closing it fails too
        monkeypatch.setattr(sys, "stdout", full)
        ended = run("--count", 3)
    problem = "cannot write to the terminal: No space left on device"
    assert ended.status == f"error: {problem}. 3 of 3 answers are in {file}"
    assert ids(file) == [0, 1, 2]


def test_batch_offline_asks_20_prompts_of_the_stand_in(run, file, promptrun_server):
    ended = run("--offline")
    assert ended.err.startswith("offline: a stand-in server at ")
    assert ids(file) == list(range(20))
    assert promptrun_server.requests == []


@pytest.mark.parametrize(
    ("keyboard", "arguments", "error", "asked"),
    [
        (io.StringIO(), ["--count", 21], "cost about $0.01: add --yes to ask them", 0),
        (io.StringIO(), ["--count", 20], None, 20),
        (io.StringIO(), ["--count", 21, "--yes"], None, 21),
        (Terminal("y\n"), ["--count", 21], None, 21),
        (Terminal("\n"), ["--count", 21], "nothing was asked", 0),
    ],
)
def test_batch_with_a_key_asks_before_more_than_20_prompts(
    run, promptrun_server, monkeypatch, keyboard, arguments, error, asked
):
    monkeypatch.setattr(sys, "stdin", keyboard)
    ended = run(*arguments, yes=())
    assert (error or "") in (ended.status or "")
    assert (ended.status is None) == (error is None)
    assert len(promptrun_server.requests) == asked


# on a real cluster

CLUSTERS = {"dask": "distributed", "ray": "ray"}
DEADLY = """
import os, signal, sys
import batches
batches.TRIES = 1
from langchain_core.runnables import RunnableLambda
from batch_{name} import {name}_cluster

def deadly(text):
    if text.endswith(" 7."):
        with open(os.environ["DEATHS"], "a") as deaths:
            if deaths.tell() == 0:
                deaths.write("x")
                deaths.flush()
                os.kill(os.getpid(), signal.SIGKILL)
    return text

harmless = batches.chain
batches.chain = lambda rate: RunnableLambda(deadly) | harmless(rate)
batches.main({name}_cluster)
"""


@pytest.mark.parametrize("name", CLUSTERS)
def test_batch_on_a_cluster_killed_worker_loses_nothing(name, start, file, tmp_path):
    """A prompt kills the worker that is asked it with others, and is then asked alone."""
    pytest.importorskip(CLUSTERS[name])
    deaths = tmp_path / "deaths"
    arguments = ["--count", "24", "--workers", "2", "--at-once", "4"]
    program = start("-c", DEADLY.format(name=name), *arguments, DEATHS=str(deaths))
    printed, on_stderr = program.communicate(timeout=100)
    assert (program.returncode, deaths.read_text()) == (0, "x")
    assert printed.endswith(f"24 of 24 answers are in {file}\n")  # before it Ray tells of the worker that died
    assert "24/24" in on_stderr
    assert "Traceback" not in on_stderr
    assert ids(file) == list(range(24))
    assert program.pid not in {line["worker"] for line in lines(file)}


PRESSED = """
import os, signal
from batch_dask import ctrl_c_waits
try:
    with ctrl_c_waits():
        os.kill(os.getpid(), signal.SIGINT)
        print("the cluster is up")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_batch_ctrl_c_while_a_dask_cluster_starts_waits_until_it_is_up():
    """So that it can be closed."""
    pytest.importorskip("distributed")
    done = subprocess.run([sys.executable, "-c", PRESSED], env=environment(), capture_output=True, check=True)
    assert done.stdout == b"the cluster is up\ninterrupted\n"
