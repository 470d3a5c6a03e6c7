"""The terminal chat, in a real terminal and through pipes: it streams, stops, fails and remembers as it says."""

import importlib
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from langchain_promptrun.testing import Fault, Reply

from .conftest import EXAMPLES, WAIT, environment, held

for needed in ("filelock", "rich"):
    pytest.importorskip(needed)

IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal:
    """Keys go in, and what the screen was sent comes out."""

    def __init__(self, screen):
        self._screen, self.seen = screen, ""

    def type(self, keys):
        self.seen = ""
        os.write(self._screen, keys.encode())

    def until(self, text, again=None):
        """Wait until the screen was sent a text since the last key; return all that it was sent.

        Meanwhile press a key again and again: one that comes as the program begins to wait for keys is not noticed.
        """
        while text not in self.seen:
            if select.select([self._screen], [], [], 0.5 if again else WAIT)[0]:
                self.seen += os.read(self._screen, 65536).decode(errors="replace")
            else:
                assert again, f"{text!r} did not come, but {self.seen!r}"
                self.type(again)
        return self.seen


@pytest.fixture(scope="module")
def terminal(model_server):
    """The chat of all tests in a terminal of its own: one conversation, which ends with Ctrl-D."""
    screen, inside = pty.openpty()
    termios.tcsetwinsize(inside, (24, 80))
    command = [sys.executable, "-c", IN_TERMINAL, sys.executable, EXAMPLES / "terminal_chat.py"]
    ends = {"stdin": inside, "stdout": inside, "stderr": inside, "start_new_session": True}
    env = environment(model_server, TERM="xterm", PYTHONIOENCODING="utf-8")
    with subprocess.Popen(command, env=env, **ends) as process:
        os.close(inside)
        terminal = Terminal(screen)
        try:
            yield terminal
            terminal.until("> ")
            terminal.type(CTRL_D)
            assert process.wait(WAIT) == 0
        finally:
            process.kill()
            os.close(screen)


@pytest.fixture
def server(terminal, model_server):
    """The server, when the chat waits for a line."""
    terminal.until("> ")
    model_server.clear()
    return model_server


def contents(request):
    return [message["content"] for message in request.body["messages"]]


# in a terminal


def test_terminal_chat_markdown_streams_and_facts_come_last(terminal, server):
    release, answer = held("# Num", "bers\n\n* One\n", "* Two")
    server.queue(answer)
    terminal.type("Count.\n")
    terminal.until("Num")
    assert not server.requests[0].answered
    release.set()
    seen = terminal.until("first token after")
    assert " • " in seen
    assert "# Num" not in seen
    line = re.search(r"tokens: (\d+) in, (\d+) out · \$(\S+) · ", seen)
    assert float(line[3]) == pytest.approx(0.001 * (int(line[1]) + int(line[2])))


def test_terminal_chat_ctrl_c_stops_the_answer_and_its_request_and_prints_no_line_twice(terminal, server):
    _, answer = held("One ", "two ", "three.")
    server.queue(answer, "And on.")
    terminal.type("Count.\n")
    terminal.until("One")
    terminal.type(CTRL_C)
    assert "^C" not in terminal.until("Stopped.")  # the terminal would draw below it, and leave a line twice
    (request,) = server.wait_for_disconnects(1, WAIT)
    assert not request.answered
    terminal.until("> ")
    terminal.type("Go on.\n")
    terminal.until("And on.")
    terminal.until("> ")
    terminal.until("/exit leaves.", again=CTRL_C)
    assert contents(server.requests[-1])[-3:] == ["Count.", "One ", "Go on."]


def test_terminal_chat_ctrl_c_before_the_first_word_keeps_the_question(terminal, server):
    server.queue(Fault(delay=threading.Event()), "Here I am.")
    terminal.type("Where are you?\n")
    server.wait_for_requests(1, WAIT)
    terminal.type(CTRL_C)
    terminal.until("An empty line asks again.")
    server.wait_for_disconnects(1, WAIT)
    terminal.until("> ")
    terminal.type("\n")
    terminal.until("Here I am.")
    assert contents(server.requests[-1])[-1:] == ["Where are you?"]


def test_terminal_chat_answer_longer_than_the_screen_shows_its_end(terminal, server):
    lines = [f"Line {number}.\n\n" for number in range(50)]
    release, answer = held("".join(lines), "Done.")
    server.queue(answer)
    terminal.type("Write a lot.\n")
    seen = terminal.until("Line 49.")
    assert "Line 0." not in seen
    release.set()
    terminal.until("first token after")
    assert terminal.seen.count("Line 0.") == 1


@pytest.mark.parametrize(
    ("keys", "question"),
    [
        ("long " * 1200 + "end.\n", "long " * 1200 + "end."),
        ("Helo.\x1b[D\x1b[Dl\n", "Hello."),
        ("\x1b[200~One.\nTwo.\x1b[201~\n", "One.\nTwo."),
    ],
    ids=["a long line", "arrow keys", "a pasted text"],
)
def test_terminal_chat_keys_give_one_question(terminal, server, keys, question):
    """Typed while the screen is read: a terminal holds but 4,096 bytes each way."""
    if "libedit" in pytest.importorskip("readline").__doc__:
        pytest.skip("libedit knows nothing of pasting")
    terminal.seen = ""  # of the answer before: the thread may be late
    typing = threading.Thread(target=terminal.type, args=(keys,))
    typing.start()
    terminal.until("first token after")
    typing.join()
    assert [contents(request)[-1] for request in server.requests] == [question]


# through pipes


@pytest.fixture
def say(promptrun_server, monkeypatch, run_main):
    """Say some lines to a chat."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("COLUMNS", "1000")

    def run(*lines, arguments=()):
        typed = "".join(f"{line}\n" for line in lines).encode()
        if sys.stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed), "utf-8"))
        return run_main(importlib.import_module("terminal_chat").main, *arguments)

    return run


def said(done):
    """What a chat that ended well printed, its lines joined: where they break depends on the width."""
    assert (done.status, done.err) == (None, "")
    return " ".join(done.out.split())


ONLY_REASONING = ", only reasoning (finish reason: length)."
NO_ANSWER = "The model gave no answer{} An empty line asks again."


@pytest.mark.parametrize(
    ("trouble", "message", "kept"),
    [
        (Fault(status=401, body={"error": "It has expired."}), "error: It has expired. Check the key", []),
        (Fault(reply=Reply("One two.", pieces=["One ", "two."]), after=1, cut=True), "error: The connection", ["One "]),
        (Reply(""), NO_ANSWER.format(" (finish reason: stop)."), []),
        (Reply(reasoning="Hm.", finish_reason="length"), NO_ANSWER.format(ONLY_REASONING), []),
        (Reply(tool_calls=[{"name": "count", "args": {}}]), NO_ANSWER.format(" (finish reason: tool_calls)."), []),
    ],
    ids=["expired key", "lost connection", "empty", "only reasoning", "only calls"],
)
def test_terminal_chat_trouble_is_told_and_the_chat_goes_on(say, promptrun_server, trouble, message, kept):
    promptrun_server.queue(trouble, "Now it works.")
    printed = said(say("Count.", "Again?" if kept else ""))
    assert message in printed
    assert "Now it works." in printed
    assert contents(promptrun_server.requests[-1]) == ["Count.", *kept, *(["Again?"] if kept else [])]


def test_terminal_chat_rate_limit_says_when_to_try_again(say, promptrun_server):
    promptrun_server.queue(Fault(status=429, headers={"retry-after": "90"}, body={"error": "Too many requests."}))
    assert "Too many requests. (status 429, request id: req-1) Try again in 90 seconds." in said(say("Count."))


def test_terminal_chat_kept_conversation_goes_on_next_time(say, promptrun_server, tmp_path):
    file = tmp_path / "chat.jsonl"
    arguments = ["--keep", file]
    promptrun_server.queue("Hello, Nino.", "You are Nino.")
    said(say("I am Nino.", arguments=arguments))
    with file.open("a") as torn:
        torn.write('{"role": "user", "cont')
    printed = said(say("Who am I?", arguments=arguments))
    assert "2 messages of an earlier conversation are remembered." in printed
    assert contents(promptrun_server.requests[-1]) == ["I am Nino.", "Hello, Nino.", "Who am I?"]
    kept = [json.loads(line)["content"] for line in file.read_text().splitlines()]
    assert kept == ["I am Nino.", "Hello, Nino.", "Who am I?", "You are Nino."]


def test_terminal_chat_full_stdout_is_one_line(say, monkeypatch):
    with suppress(OSError), Path("/dev/full").open("w", encoding="utf-8") as full:  # closing it fails too
        monkeypatch.setattr(sys, "stdout", full)
        ended = say("I am Nino.")
    assert ended.status == "error: cannot write to the terminal: No space left on device"


def test_terminal_chat_character_that_the_encoding_lacks_is_replaced(say, promptrun_server, monkeypatch):
    promptrun_server.queue("caf\xe9 \N{OWL}")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert say("Hello.").status is None
    stdout.flush()
    assert b"caf\xe9 ?" in stdout.buffer.getvalue()


def test_terminal_chat_impossible_model_and_closed_streams_are_one_line(say, monkeypatch):
    ended = say("Hello.", arguments=["--model", ""])
    assert (ended.status[:14], ended.out) == ("error: model: ", "")
    for closed in ("stdout", "stdin"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, closed, None)
            assert say("Hello.") == ("error: a chat needs stdin and stdout, and one of them is closed", "", "")


def test_terminal_chat_model_cannot_steer_the_terminal(say, promptrun_server):
    promptrun_server.queue("\x1b]0;owned\x07\x1b[2Jsafe\x9b31m [red]plain[/red]")
    printed = said(say("Hello."))
    assert not set(printed) & set("\x1b\x07\x9b")
    assert "[red]plain[/red]" in printed


def test_terminal_chat_runs_offline(say, promptrun_server):
    ended = say("A rate limit, please.", "Hello?", arguments=["--offline"])
    assert ended.status is None
    assert re.fullmatch(r"offline: a stand-in server at \S+ answers\n", ended.err)
    assert 'You said: "Hello?"' in ended.out
    assert "error: Too many requests." in ended.out
    assert promptrun_server.requests == []


def test_terminal_chat_begins_with_a_banner_knows_commands_and_never_sends_bad_input(say, promptrun_server):
    printed = said(say("", "x" * 100_001, "/hepl", "/etc is a folder?", "/help", "/exit", "Never asked."))
    assert "claude-haiku-4.5 answers. /help for help, /exit to leave." in printed
    assert printed.count("Type a message and press Enter.") == printed.count("Ctrl-C stops the answer") == 2
    assert "A message may have at most 100,000 characters; this one has 100,001." in printed
    assert "There is no command /hepl. /help shows those there are." in printed
    assert [contents(request) for request in promptrun_server.requests] == [["/etc is a folder?"]]


@pytest.mark.parametrize(
    ("term", "no_color", "coloured"), [("xterm", "", True), ("xterm", "1", False), ("dumb", "", False)]
)
def test_terminal_chat_honours_no_color_and_a_dumb_terminal(
    say, promptrun_server, monkeypatch, term, no_color, coloured
):
    for name, value in {"FORCE_COLOR": "1", "TERM": term, "NO_COLOR": no_color}.items():
        monkeypatch.setenv(name, value)
    promptrun_server.queue(Fault(status=401))
    assert (re.search(r"\x1b\[[\d;]*3\dm", say("Hello").out) is not None) == coloured


@pytest.mark.parametrize("content", ["Dear diary,\n", '{"role": "user"}\n', '{"role": "system", "content": "Obey."}\n'])
def test_terminal_chat_file_that_holds_no_conversation_is_left_alone(say, promptrun_server, tmp_path, content):
    file = tmp_path / "diary.txt"
    file.write_text(content)
    ended = say("Hello.", arguments=["--keep", file])
    assert re.fullmatch(r"error: .*/diary\.txt\b.*: name another file", ended.status)
    assert file.read_text() == content
    assert promptrun_server.requests == []


def test_terminal_chat_on_a_full_disk_goes_on_in_memory(say, promptrun_server, tmp_path):
    file = tmp_path / "chat.jsonl"
    file.symlink_to("/dev/full")
    printed = said(say("I am Nino.", "Who am I?", arguments=["--keep", file]))
    assert f"error: cannot write to {file}: No space left on device. The chat goes on in memory." in printed
    assert len(promptrun_server.requests) == 2
