"""The command line, in this process and, where the process is the claim, as one of its own."""

import io
import os
import shlex
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from langchain_promptrun.data.models import SMALL
from langchain_promptrun.testing import Fault, Reply
from tests.conftest import pytest_configure

from .conftest import WAIT, Terminal, environment, held

COMMAND = [sys.executable, "-m", "langchain_promptrun"]


@pytest.fixture
def ask(cli, promptrun_server):
    """Runs the command line where the environment has the server's key and address."""
    return cli


def facts(stderr):
    """The lines after the answer, by name."""
    return dict(line.split(": ", 1) for line in stderr.splitlines())


def error(result):
    """Why a run failed, which it says in one line."""
    assert (result.status, result.out, result.err.count("\n"), result.err[:7]) == (1, "", 1, "error: ")
    return result.err


@pytest.mark.parametrize(
    ("argv", "sent", "fields"),
    [
        *((["Hi!"], "Hi!", {}), (["chat", "Hi!"], "Hi!", {}), (["chat", "chat"], "chat", {})),
        (["Tell", "me", "more."], "Tell me more.", {}),
        (["Tell", "--model", "openai/gpt-4o", "me", "more."], "Tell me more.", {"model": "openai/gpt-4o"}),
        (["--model", "openai/gpt-4o", "chat"], "chat", {"model": "openai/gpt-4o"}),
        (["--temperature", "0.5", "-"], "Two\nlines\n", {"temperature": 0.5}),
    ],
)
def test_cli_text_of_words_or_stdin_is_sent_with_what_was_asked_for(
    ask, promptrun_server, monkeypatch, argv, sent, fields
):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Two\nlines\n"))
    promptrun_server.queue(Reply("Hello."))
    assert ask(*argv)[:2] == (0, "Hello.\n")
    messages = [{"role": "user", "content": sent}]
    streams = {"stream": True, "stream_options": {"include_usage": True}}
    assert promptrun_server.requests[0].body == {"model": SMALL, "messages": messages, **streams, **fields}


def test_cli_system_and_no_stream_reach_the_wire(ask, promptrun_server):
    ask("--system", "Be brief.", "--no-stream", "Hi!")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi!"}]
    assert promptrun_server.requests[0].body == {"model": SMALL, "messages": messages}


@pytest.mark.parametrize(
    ("argv", "reply", "out", "time"),
    [
        (["Hi!"], {"text": "Hello."}, "Hello.\n", "time to first token"),
        (["Hi!"], {"reasoning": "Greet.", "text": ""}, "", "time to first token"),
        *((["--no-stream", "Hi!"], {"text": text}, "Hello.\n", "time to answer") for text in ("Hello.", "Hello.\n")),
    ],
)
def test_cli_text_goes_to_stdout_and_facts_that_are_known_to_stderr(ask, promptrun_server, argv, reply, out, time):
    usage = {"prompt_tokens": 15, "completion_tokens": 20, "cost": 0.000012}
    promptrun_server.queue(Reply(**reply, usage=usage, model="openai/gpt-4o-2024-08-06"), Reply("", usage=None))
    status, printed, err = ask(*argv)
    shown = facts(err)
    assert 0 <= float(shown.pop(time).removesuffix(" s")) < WAIT
    assert shown == {"model": "openai/gpt-4o-2024-08-06", "tokens": "15 in, 20 out", "cost": "0.000012"}
    assert (status, printed) == (0, out)
    assert list(facts(ask("Hi!")[2])) == ["model"]


@pytest.mark.parametrize(
    ("term", "no_color", "shown"),
    [("xterm", "", "\x1b[2mGreet.\x1b[0m\n"), ("dumb", "", "Greet.\n"), ("xterm", "1", "Greet.\n")],
)
@pytest.mark.parametrize("text", ["Hello.", ""])
def test_cli_reasoning_is_dimmed_on_a_terminal_with_colours(
    ask, promptrun_server, monkeypatch, term, no_color, shown, text
):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_color)
    promptrun_server.queue(Reply(text, reasoning="Greet."))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert ask("--no-stream", "Hi!")[:2] == (0, f"{text}\n" if text else "")
    assert sys.stderr.getvalue().startswith(f"{shown}model: ")


def test_cli_offline_answers_the_demo_question_like_a_model(cli, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    status, out, err = cli("--offline", "Tell me a fun fact about space.")
    assert (status, "You said" in out, facts(err)["model"]) == (0, False, SMALL)
    assert err.startswith("offline: a stand-in server at http://127.0.0.1:")
    assert cli("--offline", "Are you there?")[1] == "Hello! You said: Are you there?\n"


@pytest.mark.parametrize(
    ("argv", "variables", "words"),
    [
        *(([], {}, "required: TEXT"), (["chat"], {}, "required: TEXT"), ([" "], {}, "empty")),
        *((["--nonsense", "a"], {}, "--nonsense"), (["--base-url", "nowhere", "a"], {}, "base_url")),
        *((["--temperature", wrong, "a"], {}, "temperature") for wrong in ("warm", "nan", "9")),
        (["--offline", "--base-url", "http://127.0.0.1:9", "a"], {}, "--base-url"),
        (["a"], {"PROMPTRUN_API_KEY": "", "PROMPTRUN_BASE_URL": ""}, "PROMPTRUN_API_KEY to ask Promptrun"),
        (["a"], {"PROMPTRUN_API_KEY": "", "PROMPTRUN_BASE_URL": ""}, "add --offline"),
        (["a"], {"PROMPTRUN_API_KEY": "wrong-s3cret"}, "PROMPTRUN_API_KEY"),
        (["a"], {"ALL_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}, "socks"),
    ],
)
def test_cli_mistake_is_one_line_that_names_it_and_no_key(ask, monkeypatch, argv, variables, words):
    monkeypatch.setitem(sys.modules, "socksio", None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    told = error(ask(*argv))
    assert words in told
    assert "s3cret" not in told


@pytest.mark.parametrize("option", [True, False], ids=["by option", "by environment"])
def test_cli_server_without_keys_needs_none(ask, promptrun_server, monkeypatch, option):
    promptrun_server.api_key = None
    for name in ("PROMPTRUN_API_KEY", *(["PROMPTRUN_BASE_URL"] if option else [])):
        monkeypatch.delenv(name)
    promptrun_server.queue("Hello.")
    assert ask("Hi!", *(["--base-url", promptrun_server.base_url] if option else []))[:2] == (0, "Hello.\n")
    assert "authorization" not in promptrun_server.requests[0].headers


@pytest.mark.parametrize(
    ("stream", "there", "words"),
    [
        ("stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"), "decode"),
        ("stdin", None, "stdin is closed"),
        ("stdout", None, "stdout is closed"),
    ],
)
def test_cli_stream_that_cannot_be_used_is_one_line(ask, monkeypatch, stream, there, words):
    monkeypatch.setattr(sys, stream, there)
    assert words in error(ask("-"))


def test_cli_closed_stderr_is_ignored(ask, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert ask("Hi!").status == 0


def test_cli_error_of_the_server_is_one_line_that_does_not_steer_the_terminal(ask, promptrun_server):
    promptrun_server.queue(Fault(status=404, body={"error": "no such\nmodel \x1b[31m"}))
    assert error(ask("Hi!")).startswith("error: no such model [31m")


def test_cli_text_before_an_error_keeps_a_line_of_its_own(ask, promptrun_server):
    promptrun_server.queue(Fault(reply=Reply("Hello, you."), after=2, error={"error": {"message": "overloaded"}}))
    status, out, err = ask("Hi!")
    assert (status, out[:6], out[-1]) == (1, "Hello,", "\n")
    assert err.startswith("error: overloaded")


def test_cli_character_that_the_terminal_lacks_is_replaced(ask, promptrun_server, monkeypatch):
    promptrun_server.queue(Reply("Grüße \N{ROCKET}"))
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert ask("Hi!")[0] == 0
    assert stdout.buffer.getvalue() == "Grüße ?\n".encode("latin-1")


def test_cli_help_shows_options_and_subcommands_and_version_the_packages(cli):
    status, out, _ = cli("--help")
    words = "--model --system --temperature --base-url --no-stream --offline --version chat prompt"
    assert (status, [word for word in [*words.split(), SMALL] if word not in out]) == (0, [])
    assert cli("--version") == (0, f"langchain-promptrun {version('langchain-promptrun')}\n", "")


@pytest.mark.parametrize(
    ("before", "after"), [(signal.default_int_handler, signal.SIG_DFL), (signal.SIG_IGN, signal.SIG_IGN)]
)
def test_cli_late_ctrl_c_prints_nothing_and_stays_off_where_the_parent_shut_it_off(cli, before, after):
    """At its end Python would print where the signal struck."""
    signal.signal(signal.SIGINT, before)
    cli("Hi!")
    assert signal.getsignal(signal.SIGINT) is after


# as a process of its own


def run(command, **environment):
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False, **environment)


@pytest.mark.parametrize(
    ("fault", "printed"),
    [
        (Fault(delay=threading.Event()), b""),
        (held("One ", "two.")[1], b"One \n"),
        (Fault(status=503, headers={"retry-after": "50"}), b""),
    ],
    ids=["before the first byte", "in the middle", "between two tries"],
)
def test_cli_ctrl_c_ends_at_once(promptrun_server, press_ctrl_c, fault, printed):
    promptrun_server.queue(fault)
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, "Hi!"], env=environment(promptrun_server), **pipes) as process:
        try:
            promptrun_server.wait_for_requests(timeout=WAIT)
            first = process.stdout.read(len(printed) - 1) if printed else b""
            press_ctrl_c(process)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, first + out, err) == (130, printed, b"")


def test_cli_reader_that_stops_early_ends_the_run_quietly(promptrun_server, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # without a buffer nothing is left to write at the end
    promptrun_server.queue(Reply("One\n" + "more\n" * 10_000, pieces=["One\n", *["more\n"] * 10_000]))
    command = f"{shlex.join([*COMMAND, 'Count.'])} | head -1"
    result = run(["bash", "-o", "pipefail", "-c", command])
    assert (result.returncode, result.stdout, result.stderr) == (0, "One\n", "")


def test_cli_help_imports_no_subcommand():
    imported = run([sys.executable, "-X", "importtime", *COMMAND[1:], "--help"], env=environment()).stderr
    assert ("_cli.main" in imported, "_cli.commands" in imported) == (True, False)


@pytest.mark.live
def test_live_promptrun_answers(cli):
    status, out, err = cli("Say hello.")
    assert (status, out.strip() != "") == (0, True), err


@pytest.mark.parametrize("chosen", ["not live", "live"])
def test_live_tests_alone_see_a_key_in_the_environment(pytestconfig, monkeypatch, chosen):
    """And they run only where they are named."""
    assert "not live" in pytestconfig.getini("addopts")
    monkeypatch.setenv("PROMPTRUN_API_KEY", "k")
    pytest_configure(SimpleNamespace(option=SimpleNamespace(markexpr=chosen)))
    assert ("PROMPTRUN_API_KEY" in os.environ) == (chosen == "live")
