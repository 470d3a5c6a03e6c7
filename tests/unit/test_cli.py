"""The command line, in this process, against a stand-in server."""

import io
import os
import runpy
import signal
import subprocess
import sys

import pytest

from langchain_promptrun import __version__
from langchain_promptrun._cli.main import COMMANDS, DEFAULT_MODEL, main
from langchain_promptrun.testing import Fault, PromptrunServer, Reply


@pytest.fixture
def server():
    with PromptrunServer() as server:
        yield server


@pytest.fixture
def ask(server, monkeypatch):
    """Runs the command line with the server's key and address."""
    monkeypatch.setenv("PROMPTRUN_API_KEY", server.api_key)
    return lambda *argv: main([*argv, "--base-url", server.base_url])


@pytest.fixture
def no_key(monkeypatch):
    monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def facts(stderr):
    """The lines after the answer, by name."""
    return dict(line.split(": ", 1) for line in stderr.splitlines())


def test_a_bare_text_is_a_chat(ask, server, capsys):
    server.queue(Reply("Hello."))
    assert ask("Hi!") == 0
    assert capsys.readouterr().out == "Hello.\n"
    assert server.requests[0].body["messages"] == [{"role": "user", "content": "Hi!"}]


def test_a_chat_may_be_named(ask, server, capsys):
    server.queue(Reply("Hello."))
    assert ask("chat", "Hi!") == 0
    assert capsys.readouterr().out == "Hello.\n"


def test_a_subcommands_name_alone_is_not_a_text(no_key, capsys):
    assert main(["chat"]) == 1
    assert "required: TEXT" in capsys.readouterr().err


def test_an_option_may_come_before_a_text_that_is_a_subcommands_name(ask, server, capsys):
    server.queue(Reply("Hello."))
    assert ask("--model", "openai/gpt-4o", "chat") == 0
    assert server.requests[0].body["messages"][0]["content"] == "chat"


def test_only_what_was_asked_for_goes_on_the_wire(ask, server, capsys):
    server.queue(Reply("Hello."))
    assert ask("Hi!") == 0
    assert server.requests[0].body == {
        "model": DEFAULT_MODEL,
        "messages": [{"role": "user", "content": "Hi!"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_options_reach_the_wire(ask, server, capsys):
    server.queue(Reply("Hello."))
    assert ask("--model", "openai/gpt-4o", "--system", "Be brief.", "--temperature", "0.5", "Hi!") == 0
    body = server.requests[0].body
    assert body["model"] == "openai/gpt-4o"
    assert body["temperature"] == 0.5
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_dash_reads_the_text_from_stdin(ask, server, monkeypatch, capsys):
    server.queue(Reply("Hello."))
    monkeypatch.setattr(sys, "stdin", io.StringIO("Two\nlines\n"))
    assert ask("-") == 0
    assert server.requests[0].body["messages"][0]["content"] == "Two\nlines\n"


def test_the_facts_follow_on_stderr(ask, server, capsys):
    usage = {"prompt_tokens": 15, "completion_tokens": 20, "cost": 0.000012}
    server.queue(Reply("Hello.", usage=usage, model="openai/gpt-4o-2024-08-06"))
    assert ask("Hi!") == 0
    shown = facts(capsys.readouterr().err)
    assert shown["model"] == "openai/gpt-4o-2024-08-06"
    assert shown["tokens"] == "15 in, 20 out"
    assert shown["cost"] == "0.000012"
    assert float(shown["time to first token"].removesuffix(" s")) < 60


def test_an_unknown_fact_has_no_line(ask, server, capsys):
    server.queue(Reply("", usage=None))
    assert ask("Hi!") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert list(facts(captured.err)) == ["model"]


def test_without_streaming_the_answer_is_whole(ask, server, capsys):
    server.queue(Reply("Hello."))
    assert ask("--no-stream", "Hi!") == 0
    captured = capsys.readouterr()
    assert captured.out == "Hello.\n"
    assert "time to answer" in facts(captured.err)
    assert not server.requests[0].body.get("stream")


def test_an_answer_that_ends_its_line_gets_no_second_end(ask, server, capsys):
    server.queue(Reply("Hello.\n"))
    assert ask("Hi!") == 0
    assert capsys.readouterr().out == "Hello.\n"


def test_reasoning_is_dimmed_on_a_terminal(ask, server, capsys, monkeypatch):
    server.queue(Reply("Hello.", reasoning="Greet."))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert ask("--no-stream", "Hi!") == 0
    assert sys.stderr.getvalue().startswith("\x1b[2mGreet.\x1b[0m\nmodel: ")
    assert capsys.readouterr().out == "Hello.\n"


def test_reasoning_alone_still_ends_its_line(ask, server, capsys, monkeypatch):
    server.queue(Reply("", reasoning="Greet."))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert ask("--no-stream", "Hi!") == 0
    assert sys.stderr.getvalue().startswith("\x1b[2mGreet.\x1b[0m\nmodel: ")


def test_reasoning_is_not_shown_where_nobody_looks(ask, server, capsys):
    server.queue(Reply("Hello.", reasoning="Greet."))
    assert ask("Hi!") == 0
    captured = capsys.readouterr()
    assert captured.out == "Hello.\n"
    assert "Greet" not in captured.err


def test_reasoning_counts_as_a_first_token(ask, server, capsys):
    server.queue(Reply("", reasoning="Greet."))
    assert ask("Hi!") == 0
    assert "time to first token" in facts(capsys.readouterr().err)


def test_offline_needs_no_key_and_says_so(no_key, capsys):
    assert main(["--offline", "Tell me a fun fact about space."]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip()
    assert captured.err.startswith("offline: a stand-in server at http://127.0.0.1:")
    assert facts(captured.err)["model"] == DEFAULT_MODEL


def test_offline_goes_past_a_proxy(no_key, capsys, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert main(["--offline", "Hi!"]) == 0


def test_without_a_key_the_error_names_both_ways(no_key, capsys):
    assert main(["Hi!"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "PROMPTRUN_API_KEY" in captured.err
    assert "--offline" in captured.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "TEXT"),
        (["a", "b"], "unrecognized arguments: b"),
        (["--nonsense", "a"], "--nonsense"),
        (["--temperature", "warm", "a"], "--temperature"),
        (["--temperature", "nan", "a"], "temperature"),
        (["--temperature", "9", "a"], "temperature"),
        (["--offline", "--base-url", "http://127.0.0.1:9", "a"], "--base-url"),
        (["--base-url", "nowhere", "a"], "base_url"),
        ([" "], "empty"),
    ],
)
def test_a_bad_argument_is_one_line_that_names_it(argv, words, monkeypatch, capsys):
    monkeypatch.setenv("PROMPTRUN_API_KEY", "k")
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err


def test_stdin_that_is_not_text_is_an_error(ask, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    assert ask("-") == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_an_error_of_the_server_is_one_line_that_does_not_steer_the_terminal(ask, server, capsys):
    server.queue(Fault(status=404, body={"error": "no such\nmodel \x1b[31m"}))
    assert ask("Hi!") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: no such model [31m")
    assert captured.err.count("\n") == 1


def test_what_came_before_an_error_is_kept_on_a_line_of_its_own(ask, server, capsys):
    server.queue(Fault(reply=Reply("Hello, you."), after=2, error={"error": {"message": "overloaded"}}))
    assert ask("Hi!") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("Hello,")
    assert captured.out.endswith("\n")
    assert captured.err.startswith("error: overloaded")


def test_ctrl_c_ends_with_130_and_no_words(ask, monkeypatch, capsys):
    class Keyboard(io.StringIO):
        def read(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Keyboard())
    assert ask("-") == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_has_gone_ends_the_run_quietly(ask, server, monkeypatch, capsys):
    server.queue(Reply("Hello."))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert ask("Hi!") == 0
    assert capsys.readouterr().err == ""


def test_what_the_terminal_cannot_show_is_replaced(ask, server, monkeypatch, capsys):
    server.queue(Reply("Grüße \N{ROCKET}"))
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert ask("Hi!") == 0
    assert stdout.buffer.getvalue() == "Grüße ?\n".encode("latin-1")


def test_any_object_that_can_be_written_to_does_as_stdout(ask, server, monkeypatch):
    server.queue(Reply("Hello."))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert ask("Hi!") == 0
    assert sys.stdout.getvalue() == "Hello.\n"


def test_help_shows_options_and_subcommands(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    options = ("--model", "--system", "--temperature", "--base-url", "--no-stream", "--offline", "--version")
    for word in (*options, *COMMANDS, DEFAULT_MODEL):
        assert word in shown


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"langchain-promptrun {__version__}\n"


def test_help_loads_no_subcommand():
    program = (
        "import sys; from langchain_promptrun._cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print('langchain_promptrun._cli.chat' in sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stderr == "False\n"


@pytest.fixture
def keyboard_handler():
    before = signal.getsignal(signal.SIGINT)
    yield before
    signal.signal(signal.SIGINT, before)


def run_as_module():
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("langchain_promptrun", run_name="__main__")
    return exit_.value.code


def test_the_package_runs_as_a_module(no_key, monkeypatch, capsys, keyboard_handler):
    monkeypatch.setattr(sys, "argv", ["langchain_promptrun", "Hi!"])
    assert run_as_module() == 1
    assert "PROMPTRUN_API_KEY" in capsys.readouterr().err


def test_a_late_ctrl_c_finds_pythons_handler_gone(no_key, monkeypatch, keyboard_handler):
    """The process then just ends; Python would print where in its own end the signal struck."""
    monkeypatch.setattr(sys, "argv", ["langchain_promptrun", "Hi!"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_as_module()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_a_ctrl_c_that_the_parent_shut_off_stays_off(no_key, monkeypatch, keyboard_handler):
    monkeypatch.setattr(sys, "argv", ["langchain_promptrun", "Hi!"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run_as_module()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
