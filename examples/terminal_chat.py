# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "filelock", "rich"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A chat in the terminal: Markdown that grows as the answer comes, and a line that says what it took.

Ctrl-C stops an answer, and with it the request to the model; /exit or Ctrl-D leaves. With --keep the conversation is in
a file and goes on next time.
"""

from __future__ import annotations

import re
import sys
from contextlib import closing, contextmanager, nullcontext, suppress
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING, Any

try:
    from chat_rehearsal import rehearse
    from endings import clear_ending, writing
    from json_lines import FileError, JsonLines
    from promptrun_or_offline import answering, command_line
    from rich.console import Console
    from rich.live import Live
    from rich.markdown import Markdown
    from rich.segment import Segment

    from langchain_promptrun import ChatPromptrun, PromptrunError
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: {missing.name.partition('.')[0]} is not installed: use `uv run examples/terminal_chat.py`, "
        "or `pip install --group apps --editable .` first (pip 25.1 or newer)"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import ConsoleOptions

BEGINS = '{"role": "'
"""How the lines of a kept conversation begin."""
MOST_CHARACTERS = 100_000
CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])
"""What could steer the terminal, were it printed; all but tab and newline."""
HELP = """\
Type a message and press Enter. A pasted text is one message.
Ctrl-C    stops the answer; an empty line then asks again
/help     shows this
/exit     leaves, as Ctrl-D does"""


class Growing:
    """The end of a Markdown text, as much of it as the screen is high."""

    def __init__(self) -> None:
        self.text = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        """Render it."""
        lines = console.render_lines(Markdown(self.text), options, pad=False)
        for line in lines[2 - console.height :]:
            yield from line
            yield Segment.line()


class Chat:
    """A conversation.

    Args:
        model: Answers.
        console: Shows it.
        file: Keeps it, and may hold an earlier one. None: it is kept in memory alone.
    """

    def __init__(self, model: ChatPromptrun, console: Console, file: JsonLines | None = None) -> None:
        self._model, self._console, self._file = model, console, file
        self.messages: list[dict[str, str]] = []
        if file is not None and file.found:
            if not all(map(_is_turn, file.found)):
                raise FileError(f"{file.path} does not hold a conversation: name another file")
            self.messages += file.found
            self._say(f"{len(self.messages)} messages of an earlier conversation are remembered.")
        self._saved = len(self.messages)

    def take(self, line: str) -> None:
        """Take a line that the user typed; an empty one asks again what has no answer yet."""
        question = line.strip()
        if len(question) > MOST_CHARACTERS:
            self._say(f"A message may have at most {MOST_CHARACTERS:,} characters; this one has {len(question):,}.")
            return
        if question:
            self.messages.append({"role": "user", "content": question})
        elif not self.messages or self.messages[-1]["role"] == "assistant":
            self._say(HELP)
            return
        self._save()
        try:
            self._answer()
        finally:
            self._save()

    def welcome(self) -> None:
        """Say who answers, and how to leave."""
        self._say(f"{self._model.model} answers. /help for help, /exit to leave.")

    def help(self) -> None:
        """Say what can be typed."""
        self._say(HELP)

    def _answer(self) -> None:
        """Show the answer as it comes, and then for good; what came of one that ends early is kept."""
        shown, took, problem = Growing(), Took(), ""
        try:
            with (
                silent_ctrl_c(),
                closing(self._model.stream(self.messages)) as stream,
                Live(shown, console=self._console, transient=True, vertical_overflow="visible"),
            ):
                for chunk in stream:
                    shown.text += chunk.text.translate(CONTROLS)
                    took.count(chunk)
        except KeyboardInterrupt:
            problem = "Stopped."
        except (PromptrunError, ImportError) as error:  # the package for a SOCKS proxy may be missing
            wait = getattr(error, "retry_after", None)
            later = f" Try again in {wait:.0f} seconds." if wait else ""
            problem = f"error: {error}{later}"
        if shown.text:
            self.messages.append({"role": "assistant", "content": shown.text})
            self._console.print(Markdown(shown.text))
        else:
            problem = (problem or took.nothing) + "\nAn empty line asks again."
        self._say(str(took))
        if problem:
            self._console.print(problem, style="red", markup=False, highlight=False)

    def _save(self) -> None:
        """Write what is not in the file yet; where that fails, it is tried again after the next answer."""
        if self._file is None:
            return
        try:
            for message in self.messages[self._saved :]:
                self._file.add(message)
                self._saved += 1
        except FileError as error:
            self._console.print(f"error: {error}. The chat goes on in memory.", style="red", markup=False)

    def _say(self, text: str) -> None:
        if text:
            self._console.print(text, style="dim", markup=False, highlight=False)


class Took:
    """What an answer took: tokens, money, and the time to its first token."""

    def __init__(self) -> None:
        self._start = perf_counter()
        self._facts: dict[str, str] = {}
        self._only, self._end = "", None

    def count(self, chunk: Any) -> None:
        """Take note of a chunk."""
        if chunk.text:
            self._facts.setdefault("first", f"first token after {perf_counter() - self._start:.1f} s")
        if usage := chunk.usage_metadata:
            self._facts["tokens"] = f"tokens: {usage['input_tokens']:,} in, {usage['output_tokens']:,} out"
        if (cost := chunk.response_metadata.get("cost")) is not None:
            self._facts["cost"] = f"${Decimal(repr(cost)):f}"
        if chunk.additional_kwargs.get("reasoning_content"):
            self._only = ", only reasoning"
        self._end = chunk.response_metadata.get("finish_reason", self._end)

    @property
    def nothing(self) -> str:
        """What to say of an answer without text."""
        return f"The model gave no answer{self._only} (finish reason: {self._end})."

    def __str__(self) -> str:
        return " · ".join(self._facts[name] for name in ("tokens", "cost", "first") if name in self._facts)


def _is_turn(line: dict[str, Any]) -> bool:
    """Whether a line of a file is what one side said."""
    known = line.keys() == {"role", "content"} and isinstance(line["content"], str)
    return known and line["role"] in ("user", "assistant")


@contextmanager
def silent_ctrl_c() -> Iterator[None]:
    """Have the terminal not print ^C, which would move what is drawn by a line, so that a line stays twice."""
    if not sys.stdin.isatty() or find_spec("termios") is None:  # a pipe, or Windows
        yield
        return
    termios = import_module("termios")
    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[3] &= ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def talk(chat: Chat) -> None:
    """Take lines until there are no more."""
    chat.welcome()
    while True:
        try:
            line = input("\n> ")
            if line.strip() in ("/exit", "/quit"):
                return
            if line.strip() == "/help":
                chat.help()
            elif re.fullmatch(r"/[a-z]+", line.strip()):
                print(f"There is no command {line.strip()}. /help shows those there are.")
            else:
                chat.take(line)
        except EOFError:
            return
        except KeyboardInterrupt:  # between two answers there is nothing to stop
            print(" /exit leaves.")


def main() -> None:
    """Chat."""
    parser = command_line()
    parser.add_argument("--model", default="anthropic/claude-haiku-4.5", help="vendor/name (default: %(default)s)")
    parser.add_argument("--keep", metavar="FILE", help="a file for the conversation, which goes on next time")
    arguments = parser.parse_args()
    if sys.stdin is None or sys.stdout is None:
        sys.exit("error: a chat needs stdin and stdout, and one of them is closed")
    for stream in sys.stdin, sys.stdout:
        stream.reconfigure(errors="replace")
    with suppress(ImportError):  # there is none on Windows, and no need of it
        import_module("readline")  # with it input() takes long lines, edits them, and takes a pasted text as one
    with (
        clear_ending(FileError),
        writing(),
        answering(arguments, rehearse),
        ChatPromptrun(model=arguments.model) as model,
        JsonLines(arguments.keep, BEGINS) if arguments.keep else nullcontext() as file,
    ):
        talk(Chat(model, Console(), file))


if __name__ == "__main__":
    main()
