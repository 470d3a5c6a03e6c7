"""Parse the command line of ``python -m langchain_promptrun`` and run a subcommand."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import NoReturn

from langchain_promptrun._version import __version__
from langchain_promptrun.data.models import SMALL

_PROGRAM = "python -m langchain_promptrun"
_COMMANDS = {
    "chat": "ask a model and print its answer",
    "prompt": "show a managed prompt",
    "record": "record answers for tests",
    "replay": "serve recorded answers",
}


class CommandError(Exception):
    """Ends the program; its text is what the user sees."""


def show(text: str) -> None:
    """Write to stdout at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def tell(text: str) -> None:
    """Write to stderr, unless it is closed."""
    if sys.stderr is not None:
        sys.stderr.write(text)
        sys.stderr.flush()


def main() -> int:
    """Return the exit status: 0, also where the reader of stdout has gone, 1 after an error, 130 after Ctrl-C."""
    words = sys.argv[1:]
    name = words.pop(0) if words and words[0] in _COMMANDS else "chat"
    try:
        _run(name, words)
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells report it
    except BrokenPipeError:
        # Buffered output goes nowhere, or the interpreter complains about the closed pipe when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    # an ImportError names a package that is missing, an OverflowError a port that cannot be
    except (CommandError, ImportError, OSError, OverflowError, ValueError) as error:
        tell(f"error: {' '.join(str(error).split()) or type(error).__name__}\n")
        return 1
    return 0


def _run(name: str, words: list[str]) -> None:
    end = words.index("--") if name == "record" and "--" in words else len(words)
    arguments = _parser(name).parse_intermixed_args(words[:end])
    arguments.command = words[end + 1 :]
    if sys.stdout is None:
        raise CommandError("stdout is closed, so the answer cannot be printed")
    # imported here, so that `--help` answers at once
    commands = import_module("langchain_promptrun._cli.commands")
    getattr(commands, f"run_{name}")(arguments)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (--help shows the usage)")


def _parser(name: str) -> _Parser:
    parser = _Parser(
        prog=f"{_PROGRAM} {'[chat]' if name == 'chat' else name}",
        description=_COMMANDS[name],
        epilog="subcommands: " + "; ".join(f"{key}: {told}" for key, told in _COMMANDS.items()),
        allow_abbrev=False,
    )
    add = parser.add_argument
    if name == "chat":
        add("text", metavar="TEXT", nargs="+", help="what to ask; - reads it from stdin")
        add("--model", default=SMALL, help="vendor/name (default: %(default)s)")
        add("--system", help="instructions that come before the text")
        add("--temperature", type=float, help="how freely the model picks its words, 0 to 2")
        add("--no-stream", action="store_true", help="print the answer when it is complete")
    elif name == "prompt":
        add("project", metavar="PROJECT", nargs="?", help="its project (default: PROMPTRUN_PROJECT_ID)")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--tag", help="the version with this tag, such as prod (default: latest)")
        which.add_argument("--pin", metavar="N", type=_version, help="version N")
        add("--var", action="append", default=[], metavar="NAME=VALUE", help="value of a variable")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--diff", metavar="N", type=_version, help="show what is different from version N")
        what.add_argument("--watch", action="store_true", help="go on, and show changes as they come")
    elif name == "record":
        parser.usage = f"{_PROGRAM} record [-h] --out FILE [--keep] -- COMMAND ..."
        add("--out", metavar="FILE", required=True, help="where to write the answers, a JSON object a line")
        add("--keep", action="store_true", help="answer from FILE what it holds; record only the rest")
    else:
        add("file", metavar="FILE", help="what `record` wrote")
        add("--port", type=int, default=0, help="the port (default: a free one)")
        add("--speed", type=float, help="1: with the recorded pauses; 10: ten times as fast")
    if name in {"chat", "prompt"}:
        server = parser.add_mutually_exclusive_group()
        server.add_argument("--base-url", help="where Promptrun is (default: PROMPTRUN_BASE_URL, else the public one)")
        server.add_argument("--offline", action="store_true", help="use a stand-in server on this machine; no key")
    else:
        add("--redact-emails", action="store_true", help="hide e-mail addresses, as keys and tokens are")
    add("--version", action="version", version=f"langchain-promptrun {__version__}")
    return parser


def _version(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
