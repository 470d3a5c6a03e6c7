"""The command line, in this process and, where the process is the claim, as one of its own."""

import io
import os
import runpy
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from langchain_promptrun import __version__
from langchain_promptrun.data.models import SMALL
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

TESTS = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "langchain_promptrun"]
WAIT = 60
"""Seconds after which a test gives up; nothing here is slow unless it hangs."""
BARE = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PROMPTRUN_"))}


@pytest.fixture
def server():
    with PromptrunServer() as server:
        yield server


@pytest.fixture
def cli(monkeypatch, capsys):
    """Runs the command line in this process; returns its exit status and what it printed."""
    before = signal.getsignal(signal.SIGINT)

    def run(*argv):
        monkeypatch.setattr(sys, "argv", ["langchain_promptrun", *argv])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("langchain_promptrun", run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ask(cli, server, monkeypatch):
    """Runs the command line with the server's key and address."""
    monkeypatch.setenv("PROMPTRUN_API_KEY", server.api_key)
    return lambda *argv: cli(*argv, "--base-url", server.base_url)


@pytest.fixture
def no_key(monkeypatch):
    monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def facts(stderr):
    """The lines after the answer, by name."""
    return dict(line.split(": ", 1) for line in stderr.splitlines())


def messages(server):
    return [(message["role"], message["content"]) for message in server.requests[0].body["messages"]]


@pytest.mark.parametrize(
    ("argv", "sent"),
    [
        (["Hi!"], "Hi!"),
        (["chat", "Hi!"], "Hi!"),
        (["Tell", "me", "more."], "Tell me more."),
        (["Tell", "--model", "openai/gpt-4o", "me", "more."], "Tell me more."),
        (["--model", "openai/gpt-4o", "chat"], "chat"),
        (["chat", "chat"], "chat"),
    ],
)
def test_cli_text_is_sent_with_its_words_joined(ask, server, argv, sent):
    server.queue(Reply("Hello."))
    status, out, _ = ask(*argv)
    assert (status, out) == (0, "Hello.\n")
    assert messages(server) == [("user", sent)]


def test_cli_without_options_sends_only_what_was_asked_for(ask, server):
    ask("Hi!")
    assert server.requests[0].body == {
        "model": SMALL,
        "messages": [{"role": "user", "content": "Hi!"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_cli_options_reach_the_wire(ask, server):
    ask("--model", "openai/gpt-4o", "--system", "Be brief.", "--temperature", "0.5", "--no-stream", "Hi!")
    body = server.requests[0].body
    assert (body["model"], body["temperature"], body.get("stream", False)) == ("openai/gpt-4o", 0.5, False)
    assert messages(server) == [("system", "Be brief."), ("user", "Hi!")]


def test_cli_dash_reads_the_text_from_stdin(ask, server, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Two\nlines\n"))
    assert ask("-")[0] == 0
    assert messages(server) == [("user", "Two\nlines\n")]


def test_cli_facts_follow_on_stderr(ask, server):
    usage = {"prompt_tokens": 15, "completion_tokens": 20, "cost": 0.000012}
    server.queue(Reply("Hello.", usage=usage, model="openai/gpt-4o-2024-08-06"))
    shown = facts(ask("Hi!")[2])
    assert float(shown.pop("time to first token").removesuffix(" s")) < WAIT
    assert shown == {"model": "openai/gpt-4o-2024-08-06", "tokens": "15 in, 20 out", "cost": "0.000012"}


def test_cli_unknown_facts_have_no_line(ask, server):
    server.queue(Reply("", usage=None))
    status, out, err = ask("Hi!")
    assert (status, out, list(facts(err))) == (0, "", ["model"])


@pytest.mark.parametrize("text", ["Hello.", "Hello.\n"])
def test_cli_without_streaming_prints_the_whole_answer_with_one_line_end(ask, server, text):
    server.queue(Reply(text))
    status, out, err = ask("--no-stream", "Hi!")
    assert (status, out) == (0, "Hello.\n")
    assert "time to answer" in facts(err)


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"TERM": "xterm"}, "\x1b[2mGreet.\x1b[0m\n"),
        ({"TERM": "dumb"}, "Greet.\n"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "Greet.\n"),
    ],
)
@pytest.mark.parametrize("text", ["Hello.", ""])
def test_cli_reasoning_is_dimmed_on_a_terminal_with_colours(ask, server, monkeypatch, variables, shown, text):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server.queue(Reply(text, reasoning="Greet."))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert ask("--no-stream", "Hi!")[:2] == (0, f"{text}\n" if text else "")
    assert sys.stderr.getvalue().startswith(f"{shown}model: ")


def test_cli_reasoning_in_a_pipe_is_not_printed_but_counts_as_first_token(ask, server):
    server.queue(Reply("", reasoning="Greet."))
    _, out, err = ask("Hi!")
    assert (out, "Greet" in err, "time to first token" in facts(err)) == ("", False, True)


def test_cli_offline_answers_the_demo_question_like_a_model(cli, no_key, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    status, out, err = cli("--offline", "Tell me a fun fact about space.")
    assert status == 0
    assert "You said" not in out
    assert err.startswith("offline: a stand-in server at http://127.0.0.1:")
    assert facts(err)["model"] == SMALL
    assert cli("--offline", "Are you there?")[1] == "Hello! You said: Are you there?\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "required: TEXT"),
        (["chat"], "required: TEXT"),
        (["--nonsense", "a"], "--nonsense"),
        (["--temperature", "warm", "a"], "--temperature"),
        (["--temperature", "nan", "a"], "temperature"),
        (["--temperature", "9", "a"], "temperature"),
        (["--offline", "--base-url", "http://127.0.0.1:9", "a"], "--base-url"),
        (["--base-url", "nowhere", "a"], "base_url"),
        ([" "], "empty"),
    ],
)
def test_cli_bad_argument_is_one_line_that_names_it(cli, argv, words, monkeypatch):
    monkeypatch.setenv("PROMPTRUN_API_KEY", "k")
    status, out, err = cli(*argv)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: ")
    assert words in err


def test_cli_without_a_key_names_both_ways(cli, no_key):
    status, out, err = cli("Hi!")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "PROMPTRUN_API_KEY" in err
    assert "--offline" in err


@pytest.mark.parametrize("option", [True, False], ids=["by option", "by environment"])
def test_cli_server_without_keys_needs_none(cli, no_key, monkeypatch, option):
    with PromptrunServer(api_key=None) as server:
        server.queue("Hello.")
        if not option:
            monkeypatch.setenv("PROMPTRUN_BASE_URL", server.base_url)
        assert cli("Hi!", *(["--base-url", server.base_url] if option else []))[:2] == (0, "Hello.\n")
        assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("stdin", "words"), [(io.BytesIO(b"\xff"), "decode"), (None, "stdin is closed")], ids=["not text", "closed"]
)
def test_cli_stdin_that_cannot_be_read_is_one_line(ask, monkeypatch, stdin, words):
    monkeypatch.setattr(sys, "stdin", stdin and io.TextIOWrapper(stdin, encoding="utf-8"))
    status, _, err = ask("-")
    assert (status, err.count("\n")) == (1, 1)
    assert words in err


@pytest.mark.parametrize(("stream", "status"), [("stdout", 1), ("stderr", 0)])
def test_cli_closed_stdout_is_one_line_and_closed_stderr_is_ignored(ask, monkeypatch, stream, status):
    monkeypatch.setattr(sys, stream, None)
    assert ask("Hi!")[0] == status


def test_cli_socks_proxy_without_its_package_is_one_line(ask, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socksio", None)
    status, out, err = ask("Hi!")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "socks" in err


def test_cli_error_of_the_server_is_one_line_that_does_not_steer_the_terminal(ask, server):
    server.queue(Fault(status=404, body={"error": "no such\nmodel \x1b[31m"}))
    status, out, err = ask("Hi!")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: no such model [31m")


def test_cli_text_before_an_error_keeps_a_line_of_its_own(ask, server):
    server.queue(Fault(reply=Reply("Hello, you."), after=2, error={"error": {"message": "overloaded"}}))
    status, out, err = ask("Hi!")
    assert (status, out[:6], out[-1]) == (1, "Hello,", "\n")
    assert err.startswith("error: overloaded")


def test_cli_reader_that_has_gone_ends_the_run_quietly(ask, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        status, _, err = ask("Hi!")
    assert (status, err) == (0, "")


def test_cli_character_that_the_terminal_lacks_is_replaced(ask, server, monkeypatch):
    server.queue(Reply("Grüße \N{ROCKET}"))
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert ask("Hi!")[0] == 0
    assert stdout.buffer.getvalue() == "Grüße ?\n".encode("latin-1")


def test_cli_stdout_may_be_any_object_that_takes_text(ask, server, monkeypatch):
    server.queue("Hello.")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert ask("Hi!")[0] == 0
    assert sys.stdout.getvalue() == "Hello.\n"


def test_cli_help_shows_options_and_subcommands(cli):
    status, out, _ = cli("--help")
    options = ("--model", "--system", "--temperature", "--base-url", "--no-stream", "--offline", "--version")
    assert status == 0
    assert [word for word in (*options, "chat", "prompt", SMALL) if word not in out] == []


def test_cli_version_is_the_packages(cli):
    assert cli("--version") == (0, f"langchain-promptrun {__version__}\n", "")


@pytest.mark.parametrize(
    ("before", "after"), [(signal.default_int_handler, signal.SIG_DFL), (signal.SIG_IGN, signal.SIG_IGN)]
)
def test_cli_late_ctrl_c_prints_nothing_and_stays_off_where_the_parent_shut_it_off(cli, no_key, before, after):
    """At its end Python would print where the signal struck."""
    signal.signal(signal.SIGINT, before)
    cli("Hi!")
    assert signal.getsignal(signal.SIGINT) is after


def test_cli_ctrl_c_ends_with_130(ask, monkeypatch):
    class Keyboard(io.StringIO):
        def read(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Keyboard())
    assert ask("-") == (130, "", "")


class Pipe(io.RawIOBase):
    """A stdout that sets an event when its reader gets a text."""

    def __init__(self, awaited, event):
        self.got, self._awaited, self._event = b"", awaited, event

    def writable(self):
        return True

    def write(self, data):
        self.got += data
        if self.got == self._awaited:
            self._event.set()
        return len(data)


def test_cli_answer_streams_token_by_token(ask, server, monkeypatch):
    """The server keeps the second word back until the first is read."""
    release = threading.Event()
    pipe = Pipe(b"One ", release)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(pipe)))
    server.queue(Fault(reply=Reply("One two.", pieces=["One ", "two."]), after=1, pause=release))
    assert ask("Count.")[0] == 0
    assert pipe.got == b"One two.\n"


def test_cli_refused_key_is_one_line_without_the_key(ask, monkeypatch):
    monkeypatch.setenv("PROMPTRUN_API_KEY", "wrong-secret")
    status, out, err = ask("Hi!")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "PROMPTRUN_API_KEY" in err
    assert "wrong-secret" not in err


# as a process of its own


@pytest.fixture
def environment(server):
    return BARE | {"PROMPTRUN_API_KEY": server.api_key, "PROMPTRUN_BASE_URL": server.base_url}


def run(command, env):
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=WAIT, check=False)


@pytest.mark.parametrize(
    ("fault", "printed"),
    [
        (Fault(delay=threading.Event()), b""),
        (Fault(reply=Reply("One two.", pieces=["One ", "two."]), after=1, pause=threading.Event()), b"One \n"),
        (Fault(status=503, headers={"retry-after": "50"}), b""),
    ],
    ids=["before the first byte", "in the middle", "between two tries"],
)
def test_cli_ctrl_c_ends_at_once(server, environment, press_ctrl_c, fault, printed):
    server.queue(fault)
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, "Hi!"], env=environment, **pipes) as process:
        try:
            server.wait_for_requests(timeout=WAIT)
            first = process.stdout.read(len(printed) - 1) if printed else b""
            press_ctrl_c(process)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, first + out, err) == (130, printed, b"")


def test_cli_reader_that_stops_early_ends_the_run_quietly(server, environment):
    server.queue(Reply("One\n" + "more\n" * 10_000, pieces=["One\n", *["more\n"] * 10_000]))
    line = shlex.join([*COMMAND, "Count."]) + " | head -1"
    result = run(["bash", "-o", "pipefail", "-c", line], environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, "One\n", "")


def test_cli_help_imports_no_subcommand():
    program = (
        "import runpy, sys\n"
        "try: runpy.run_module('langchain_promptrun', run_name='__main__')\n"
        "except SystemExit: print([name for name in sys.modules if name.endswith('_cli.chat')], file=sys.stderr)"
    )
    assert run([sys.executable, "-c", program, "--help"], BARE).stderr == "[]\n"


@pytest.mark.live
def test_live_promptrun_answers():
    result = run([*COMMAND, "Say hello."], dict(os.environ))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


@pytest.mark.parametrize("chosen", ["not live", "live"])
def test_live_tests_alone_see_a_key_in_the_environment(pytestconfig, monkeypatch, chosen):
    """And they run only where they are named."""
    assert "not live" in pytestconfig.getini("addopts")
    (configure,) = {
        plugin.pytest_configure
        for plugin in pytestconfig.pluginmanager.get_plugins()
        if getattr(plugin, "__file__", None) == str(TESTS / "conftest.py")
    }
    monkeypatch.setenv("PROMPTRUN_API_KEY", "k")
    configure(SimpleNamespace(option=SimpleNamespace(markexpr=chosen)))
    assert ("PROMPTRUN_API_KEY" in os.environ) == (chosen == "live")
