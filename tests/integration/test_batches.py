"""Batches on a cluster: each prompt is answered once, whatever is killed, cut off, refused or full meanwhile."""

import importlib
import itertools
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from langchain_promptrun.testing import Fault, Reply

for needed in ("filelock", "rich"):
    pytest.importorskip(needed)

EXAMPLES = Path(__file__).parents[2] / "examples"
WAIT = 60
"""Seconds after which a test gives up; nothing here is slow unless it hangs."""


def environment():
    """The environment of a program: that of the test, but its coverage is nobody's business, and costs time."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return inherited | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONPATH": str(EXAMPLES)}


@pytest.fixture
def batches(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("batches")


@contextmanager
def no_cluster(asker, workers):
    """This process does all the work; what crosses to a worker and back is pickled nevertheless."""
    there = pickle.loads(pickle.dumps(asker))
    yield lambda groups: (pickle.loads(pickle.dumps(there.ask(group))) for group in groups)


class Ended(NamedTuple):
    """How a run ended: its error or exit status, and what it printed."""

    error: str | int | None
    out: str
    err: str


@pytest.fixture
def run(batches, promptrun_server, monkeypatch, capsys, tmp_path):
    """Run a batch program without a cluster."""

    def run(*arguments, cluster=no_cluster, out=tmp_path / "answers.jsonl"):
        monkeypatch.setattr(sys, "argv", ["batch.py", "--out", str(out), *map(str, arguments)])
        error = None
        try:
            batches.main(cluster)
        except SystemExit as ended:
            error = ended.code
        return Ended(error, *capsys.readouterr())

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


def test_each_prompt_is_answered_once_with_a_progress_bar(run, file, promptrun_server):
    ended = run("--count", 40)
    assert ended.error is None
    assert ended.out == f"40 of 40 answers are in {file}\n"
    assert "40/40" in ended.err
    assert ids(file) == list(range(40))
    assert all(line["answer"] == f"Hello! You said: {line['prompt']}" for line in lines(file))
    assert sorted(asked(promptrun_server)) == sorted(map(prompt, range(40)))


def test_the_prompts_may_come_from_a_file(run, file, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Name a star.\nName a \N{OWL}.\n", "utf-8")
    assert run("--prompts", prompts).error is None
    assert {line["id"]: line["prompt"] for line in lines(file)} == {0: "Name a star.", 1: "Name a \N{OWL}."}


def test_each_line_of_a_file_is_one_prompt_whatever_it_holds_and_a_byte_order_mark_is_none_of_it(
    run, promptrun_server, tmp_path
):
    prompts = tmp_path / "prompts.txt"
    prompts.write_bytes("Name a\u2028star.\r\nName an\f\x85owl.\nBye.".encode("utf-8-sig"))
    assert run("--prompts", prompts).error is None
    assert set(asked(promptrun_server)) == {"Name a\u2028star.", "Name an\f\x85owl.", "Bye."}


def test_the_same_command_asks_only_for_the_rest_wherever_the_last_line_was_torn(run, file, promptrun_server):
    run("--count", 3)
    whole = file.read_bytes()
    for cut in [*range(0, len(whole), 23), len(whole) - 1, len(whole)]:
        file.write_bytes(whole[:cut])
        promptrun_server.clear()
        assert run("--count", 3).error is None
        assert ids(file) == [0, 1, 2]
        assert len(promptrun_server.requests) == 3 - (whole[:cut] + b"\n").count(b"}\n")


def test_an_outcome_that_comes_twice_is_written_once(run, file):
    @contextmanager
    def stuttering(asker, workers):
        yield lambda groups: (outcomes for group in groups for outcomes in [asker.ask(group)] * 2)

    assert run("--count", 20, cluster=stuttering).error is None
    assert ids(file) == list(range(20))


@pytest.mark.parametrize("limit", ["shared", "worker"])
def test_a_rate_is_kept(run, promptrun_server, limit):
    began = time.time()
    assert run("--count", 30, "--rate", 40, "--at-once", 5, "--limit", limit).error is None
    assert max(request.time for request in promptrun_server.requests) - began >= 30 / 40 - 0.05


# what goes wrong at the model


def test_failed_prompts_do_not_stop_the_others_and_the_same_command_asks_them_again(run, file, promptrun_server):
    refused = Fault(status=400, body={"error": "This prompt is not allowed."})
    promptrun_server.queue(Reply("Yes.", times=4), refused, Reply("Yes.", times=3), refused)
    ended = run("--count", 10, "--at-once", 1)
    assert ended.out == f"8 of 10 answers are in {file}\n"
    assert ended.error.startswith("error: 2 failed, the first with: This prompt is not allowed.")
    promptrun_server.clear()
    assert run("--count", 10).error is None
    assert sorted(asked(promptrun_server)) == [prompt(4), prompt(8)]
    assert ids(file) == list(range(10))


def test_an_expired_key_stops_the_run_at_once_and_nothing_is_lost(run, file, promptrun_server):
    expired = Fault(status=401, body={"error": "The API key has expired."}, times=100)
    promptrun_server.queue(Reply("Yes.", times=8), expired)
    ended = run("--count", 100, "--at-once", 4)
    assert ended.error.startswith("error: The API key has expired.\nCheck the key: the environment variable")
    assert ended.error.endswith(f"8 of 100 answers are in {file}; the same command asks for the rest")
    assert len(promptrun_server.requests) == 12
    promptrun_server.clear()
    assert run("--count", 100).error is None
    assert ids(file) == list(range(100))


def test_answers_that_come_with_or_after_a_hopeless_error_are_kept(run, file, promptrun_server):
    """Here the groups of two workers are under way when the key expires in the middle of the first."""
    expired = Fault(status=401, body={"error": "The API key has expired."})
    promptrun_server.queue("Yes.", expired, Reply("Yes.", times=100))

    @contextmanager
    def two_ahead(asker, workers):
        def spread(groups):
            under_way = [asker.ask(group) for group in itertools.islice(groups, 2)]
            yield from under_way
            yield from map(asker.ask, groups)

        yield spread

    ended = run("--count", 40, "--at-once", 4, cluster=two_ahead)
    assert ended.error.startswith("error: The API key has expired.")
    assert len(promptrun_server.requests) == 8
    assert len(ids(file)) == 7


def test_a_lost_connection_stops_the_run_when_it_lasts_and_nothing_is_lost(run, file, promptrun_server):
    promptrun_server.queue(Reply("Yes.", times=30), Fault(cut=True, times=1000))
    ended = run("--count", 200, "--at-once", 30)
    assert ended.error.startswith("error: 30 prompts in a row failed, the last with: ")
    assert ended.error.endswith(f"30 of 200 answers are in {file}; the same command asks for the rest")
    promptrun_server.clear()
    promptrun_server.queue(Fault(cut=True))
    assert run("--count", 200).error is None
    assert ids(file) == list(range(200))


def test_ctrl_c_keeps_what_is_there(run, file):
    @contextmanager
    def interrupted(asker, workers):
        def spread(groups):
            yield asker.ask(next(groups))
            raise KeyboardInterrupt

        yield spread

    ended = run("--count", 10, "--at-once", 3, cluster=interrupted)
    assert ended.error == 130
    assert "interrupted; the same command goes on with the rest" in ended.err
    assert ids(file) == [0, 1, 2]


# what goes wrong on this machine


def test_a_full_disk_is_a_clear_message(run, file, promptrun_server):
    file.symlink_to("/dev/full")
    assert run("--count", 50).error == (
        f"error: cannot write to {file}: No space left on device. "
        f"0 of 50 answers are in {file}; the same command asks for the rest"
    )
    assert len(promptrun_server.requests) < 50


FILL = """
import resource, sys
from json_lines import FileError, JsonLines
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
with JsonLines(sys.argv[1], '{') as lines:
    for number in range(1000):
        try:
            lines.add({"id": number})
        except FileError as error:
            sys.exit(f"{number}: {error}")
"""


def test_a_line_that_did_not_fit_on_the_disk_leaves_nothing_behind(file):
    command = [sys.executable, "-c", FILL, file]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=WAIT, check=False)
    number = int(re.fullmatch(rf"(\d+): cannot write to {file}: File too large\n", done.stderr)[1])
    assert ids(file) == list(range(number))
    assert len(file.read_bytes()) > 980


def test_two_runs_do_not_share_a_file(run, batches, file):
    with batches.JsonLines(file, ""):
        assert run("--count", 3).error == f"error: {file} is in use by another run of this program"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"Dear diary,\n", "{}, line 1, is not a line that this program wrote: name another file"),
        (b"[1]\n", "{}, line 1, is not a line that this program wrote: name another file"),
        (b"Dear diary", "{}, line 1, is not a line that this program wrote: name another file"),
        (b"{draft}", "{}, line 1, is not a line that this program wrote: name another file"),
        (b'{"name": "Nino"}', "{} holds answers to other prompts: name another file"),
        (b'{"id": 1, "prompt": "Hello"}\n{"id": 2', "{} holds answers to other prompts: name another file"),
        (b'{"id": 1}\n', "{} holds answers to other prompts: name another file"),
        (b'{"id": 1, "prompt": "Hello"}\n', "{} holds answers to other prompts: name another file"),
        (b'{"id": [], "prompt": "Hello"}\n', "{} holds answers to other prompts: name another file"),
        (b'{"id": 999, "prompt": "Hello"}\n', "{} holds answers to other prompts: name another file"),
    ],
)
def test_a_file_of_something_else_is_left_alone(run, file, promptrun_server, content, problem):
    file.write_bytes(content)
    assert run("--count", 3).error == f"error: {problem.format(file)}"
    assert file.read_bytes() == content
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
def test_prompts_that_cannot_be_used_are_a_clear_message(run, tmp_path, file, content, problem):
    prompts = tmp_path / "prompts.txt"
    if content is not None:
        prompts.write_bytes(content)
    assert run("--prompts", prompts).error == f"error: {problem.format(prompts)}"
    assert not file.exists()


@pytest.mark.parametrize("arguments", [("--count", "0"), ("--rate", "nan"), ("--rate", "-1"), ("--workers", "many")])
def test_numbers_that_make_no_sense_are_refused(run, arguments):
    ended = run(*arguments)
    assert ended.error == 2
    assert f"argument {arguments[0]}: invalid positive" in ended.err


def test_a_folder_is_no_file_for_answers(run, tmp_path):
    folder = tmp_path / "answers"
    folder.mkdir()
    assert run("--count", 3, out=folder).error == f"error: cannot open {folder}: Is a directory"


def test_a_pipe_is_no_file_for_answers(run, file):
    os.mkfifo(file)
    assert run("--count", 3).error == f"error: {file} is a pipe, which keeps nothing: name a file"


def test_a_folder_that_is_not_there_is_a_clear_message_and_is_not_made(run, tmp_path):
    file = tmp_path / "anwsers" / "answers.jsonl"
    assert run("--count", 3, out=file).error == f"error: there is no folder {file.parent}"
    assert not file.parent.exists()


# workers that die


class Cluster:
    """Workers that die of some prompts, and what they were given."""

    def __init__(self, batches, *deadly):
        self._batches, self._deadly = batches, deadly
        self.given = []

    @contextmanager
    def __call__(self, asker, workers):
        yield lambda groups: (self._ask(asker, group) for group in groups)

    def _ask(self, asker, group):
        self.given.append([number for number, _ in group])
        return self._batches.died(group) if set(self.given[-1]) & set(self._deadly) else asker.ask(group)


def test_a_prompt_that_kills_its_workers_fails_alone_and_last_and_the_same_command_asks_it_again(run, batches, file):
    cluster = Cluster(batches, 4)
    ended = run("--count", 9, "--at-once", 3, cluster=cluster)
    assert ended.out == f"8 of 9 answers are in {file}\n"
    assert ended.error == (
        f"error: 1 failed, the first with: each worker that was asked this died: {prompt(4)}; "
        "the same command asks them again"
    )
    assert cluster.given == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [3], [4], [5]]
    assert run("--count", 9).error is None
    assert ids(file) == list(range(9))


def test_workers_that_all_die_stop_the_run(run, batches):
    cluster = Cluster(batches, *range(1000))
    ended = run("--count", 1000, "--at-once", 2, cluster=cluster)
    assert ended.error.startswith("error: 30 prompts in a row failed, the last with: each worker that was asked")
    assert len(cluster.given) == 30


def test_an_address_that_cannot_be_is_a_clear_message(run, monkeypatch):
    monkeypatch.setenv("PROMPTRUN_BASE_URL", "nonsense")
    assert re.match(r"error: base_url: .* PROMPTRUN_BASE_URL", run("--count", 3).error)


# a program of its own

WITHOUT_CLUSTER = """
from contextlib import contextmanager
from batches import main

@contextmanager
def no_cluster(asker, workers):
    yield lambda groups: map(asker.ask, groups)

main(no_cluster)
"""


@pytest.fixture
def start(promptrun_server, file):
    """Start a program; it is ended with the test."""
    started = []

    def run(*command, stdout=subprocess.PIPE):
        process = subprocess.Popen(
            [sys.executable, *command, "--out", file],
            env=environment(),
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_program_loses_nothing_and_goes_on_where_it_was(start, run, promptrun_server, file):
    promptrun_server.queue(Reply("Yes.", times=100), Fault(delay=threading.Event(), times=100))
    first = start("-c", WITHOUT_CLUSTER, "--count", "200")
    promptrun_server.wait_until(lambda: len(promptrun_server.requests) == 112, WAIT)
    first.kill()
    first.communicate()
    assert ids(file) == list(range(96))
    with file.open("a") as torn:
        torn.write('{"id": 96, "prompt": "Tell me a fun f')
    promptrun_server.clear()
    assert run("--count", 200).error is None
    assert ids(file) == list(range(200))
    assert len(promptrun_server.requests) == 104


def test_where_nothing_can_be_shown_the_answers_are_kept_and_that_is_said(start, file):
    with Path("/dev/full").open("wb") as full:
        program = start("-c", WITHOUT_CLUSTER, "--count", "3", stdout=full)
    _, on_stderr = program.communicate(timeout=WAIT)
    assert program.returncode == 1
    assert on_stderr.endswith(
        f"error: cannot write to the terminal: No space left on device. 3 of 3 answers are in {file}\n"
    )
    assert "Traceback" not in on_stderr
    assert ids(file) == [0, 1, 2]


def test_offline_it_needs_no_key_and_asks_10_000_prompts_unless_told_otherwise(run, file, promptrun_server):
    ended = run("--offline", "--count", 5)
    assert ended.err.startswith("offline: a stand-in server at ")
    assert ids(file) == list(range(5))
    assert promptrun_server.requests == []
    assert re.search(r"--count COUNT\s+made-up prompts \(default: 10000\)", run("--help").out)


# on a real cluster

CLUSTERS = {"batch_dask.py": "distributed", "batch_ray.py": "ray"}


def callers(program, port):
    """The processes below a program that are connected to a port."""
    psutil = pytest.importorskip("psutil")
    below = psutil.Process(program.pid).children(recursive=True)
    return [
        process.pid for process in below if any(c.raddr and c.raddr.port == port for c in process.net_connections())
    ]


@pytest.mark.parametrize("name", CLUSTERS)
def test_on_a_cluster_a_killed_worker_loses_nothing_and_repeats_nothing(name, start, promptrun_server, file):
    pytest.importorskip(CLUSTERS[name])
    worker_dies = threading.Event()
    promptrun_server.queue(Fault(delay=worker_dies, times=32))
    program = start(EXAMPLES / name, "--count", "300", "--workers", "2", "--at-once", "16", "--rate", "200")
    promptrun_server.wait_for_requests(32, WAIT)
    killed, other = callers(program, promptrun_server.port)
    assert program.pid not in {killed, other}
    os.kill(killed, signal.SIGKILL)
    assert len(promptrun_server.wait_for_disconnects(16, WAIT)) == 16
    worker_dies.set()
    released = time.time()
    printed, on_stderr = program.communicate(timeout=WAIT)
    assert program.returncode == 0
    assert printed.endswith(f"300 of 300 answers are in {file}\n")  # before it Ray tells of the worker that died
    assert "300/300" in on_stderr
    assert "Traceback" not in on_stderr
    assert ids(file) == list(range(300))
    workers = {line["worker"] for line in lines(file)}
    assert other in workers
    assert not workers & {killed, program.pid}
    assert len(promptrun_server.requests) == 316
    handed_out = 4 * 16  # before the calls were let go
    assert max(request.time for request in promptrun_server.requests) - released >= (300 - handed_out) / 200 - 0.05
    assert len({request.connection for request in promptrun_server.requests}) <= 48


def test_ctrl_c_while_a_dask_cluster_comes_up_ends_it_all_without_a_traceback(start):
    """As a terminal sends it: to the program and to the processes that it started."""
    pytest.importorskip("distributed")
    psutil = pytest.importorskip("psutil")
    program = start(EXAMPLES / "batch_dask.py", "--count", "100000")
    family = psutil.Process(program.pid)
    end = time.monotonic() + WAIT
    while len(begun := family.children(recursive=True)) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(program.pid, signal.SIGINT)
    _, on_stderr = program.communicate(timeout=WAIT)
    assert program.returncode == 130
    assert on_stderr.endswith("interrupted; the same command goes on with the rest\n")
    assert "Traceback" not in on_stderr
    _, left = psutil.wait_procs(begun, WAIT)
    assert left == []


@pytest.mark.parametrize("name", CLUSTERS)
def test_where_a_part_of_a_cluster_is_missing_its_package_is_named_and_the_pip_that_it_takes(name, tmp_path):
    package = CLUSTERS[name]
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"import {package}.parts")
    there = environment() | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, EXAMPLES / name]
    done = subprocess.run(command, env=there, capture_output=True, text=True, timeout=WAIT, check=False)
    how = f"use `uv run examples/{name}`, or `pip install --group apps --editable .` first (pip 25.1 or newer)"
    assert (done.returncode, done.stderr) == (1, f"error: {package} is not installed: {how}\n")


DEADLY = """
import os, signal, sys
import batches
from langchain_core.runnables import RunnableLambda
from {module} import {cluster}

def deadly(text):
    if text.endswith(" 7."):
        with open(os.environ["DEATHS"], "a") as deaths:
            deaths.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return text

harmless = batches.chain
batches.chain = lambda: RunnableLambda(deadly) | harmless()
batches.main({cluster})
"""


@pytest.mark.parametrize("name", CLUSTERS)
def test_on_a_cluster_a_prompt_that_kills_four_workers_fails_and_the_others_come_through(
    name, start, monkeypatch, file, tmp_path
):
    pytest.importorskip(CLUSTERS[name])
    module = name.removesuffix(".py")
    deaths = tmp_path / "deaths"
    monkeypatch.setenv("DEATHS", str(deaths))
    code = DEADLY.format(module=module, cluster=f"{module.removeprefix('batch_')}_cluster")
    program = start("-c", code, "--count", "40", "--workers", "2", "--at-once", "4")
    printed, on_stderr = program.communicate(timeout=2 * WAIT)
    assert program.returncode == 1
    assert printed.endswith(f"39 of 40 answers are in {file}\n")
    assert on_stderr.endswith(
        f"error: 1 failed, the first with: each worker that was asked this died: {prompt(7)}; "
        "the same command asks them again\n"
    )
    assert ids(file) == [number for number in range(40) if number != 7]
    assert deaths.read_text() == "xxxx"
